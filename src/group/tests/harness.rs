//! A coordinator with a clock, a log and clients that the test moves by hand.
//!
//! After every event the coordinator's own invariants are checked, and that no token is answered twice.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;

use crate::errors::ErrorCode;
use crate::group::{
    AppendId, Clock, CommitOffsets, CommitPartition, CommitReply, CommitTopic, Coordinator,
    CoordinatorRecord, DescribeReply, FetchOffsets, FetchReply, FetchTopic, GroupConfig, GroupReply,
    GroupRequest, Heartbeat, JoinGroup, JoinReply, LeaveGroup, LeaveReply, LeavingMember, Output, Protocol,
    SyncGroup, SyncReply, Token,
};
use crate::ids::{Offset, TimestampMs, TopicId, Uuid};
use crate::time::Monotonic;

pub(super) const GROUP: &str = "group";
pub(super) const WALL_START: i64 = 1_700_000_000_000;

/// The id of the topic `name` in these tests.
pub(super) fn topic_id(name: &str) -> TopicId {
    let mut id = [7; 16];
    for (byte, letter) in id.iter_mut().zip(name.bytes()) {
        *byte = letter;
    }
    Uuid(id)
}

pub(super) struct World {
    pub(super) coordinator: Coordinator,
    pub(super) now: Monotonic,
    pub(super) wall: i64,
    /// Appends are made durable as soon as they come out.
    pub(super) persists: bool,
    pub(super) appends: VecDeque<(AppendId, i32, Vec<CoordinatorRecord>)>,
    /// What is durable, by partition, with the offset of each record.
    pub(super) log: BTreeMap<i32, Vec<CoordinatorRecord>>,
    answered: BTreeMap<Token, GroupReply>,
    taken: BTreeSet<Token>,
    next_token: u64,
    random: u128,
}

impl World {
    /// A coordinator that serves partition 0 with Kafka's defaults.
    pub(super) fn new() -> Self {
        World::with(GroupConfig::default())
    }

    /// The same without the initial delay: the first member to join is a generation at once.
    pub(super) fn eager() -> Self {
        World::with(GroupConfig { initial_rebalance_delay_ms: 0, ..GroupConfig::default() })
    }

    pub(super) fn with(config: GroupConfig) -> Self {
        let mut world = World::unloaded(config);
        world.coordinator.start_loading(0);
        world.coordinator.finish_loading(world.clock(), 0);
        world.settle();
        world
    }

    pub(super) fn unloaded(config: GroupConfig) -> Self {
        World {
            coordinator: Coordinator::new(config),
            now: Monotonic::ZERO.after_ms(1_000),
            wall: WALL_START,
            persists: true,
            appends: VecDeque::new(),
            log: BTreeMap::new(),
            answered: BTreeMap::new(),
            taken: BTreeSet::new(),
            next_token: 0,
            random: 0x5eed,
        }
    }

    pub(super) fn clock(&self) -> Clock {
        Clock { now: self.now, wall: TimestampMs(self.wall) }
    }

    /// A coordinator that loads what this one made durable.
    pub(super) fn restarted(&self, config: GroupConfig) -> World {
        let mut world = World::unloaded(config);
        world.now = self.now;
        world.wall = self.wall;
        world.log = self.log.clone();
        world.random = self.random;
        let partitions: Vec<i32> =
            [0].into_iter().chain(self.log.keys().copied().filter(|p| *p != 0)).collect();
        for partition in partitions {
            world.coordinator.start_loading(partition);
            for (offset, record) in self.log.get(&partition).into_iter().flatten().enumerate() {
                let offset = Offset(i64::try_from(offset).expect("few records"));
                let replayed =
                    world.coordinator.replay(partition, &record.key, record.value.as_deref(), offset);
                replayed.expect("a record that was written is readable");
            }
            world.coordinator.finish_loading(world.clock(), partition);
        }
        world.settle();
        world
    }

    /// Sends a request and lets everything happen that needs no time.
    pub(super) fn send(&mut self, request: GroupRequest) -> Token {
        self.send_to(0, request)
    }

    pub(super) fn send_to(&mut self, partition: i32, request: GroupRequest) -> Token {
        let token = Token(self.next_token);
        self.next_token += 1;
        self.random =
            self.random.wrapping_mul(0x2360_ed05_1fc6_5da4_4385_df64_9fcc_f645).wrapping_add(0x1357_9bdf);
        self.coordinator.on_request(self.clock(), self.random, token, partition, request);
        self.settle();
        token
    }

    /// Takes outputs, persists if the log does so by itself, and serves deadlines that are now.
    pub(super) fn settle(&mut self) {
        loop {
            while let Some(output) = self.coordinator.poll() {
                self.take(output);
            }
            self.coordinator.assert_consistent();
            if self.persists && !self.appends.is_empty() {
                self.persist_next();
            } else if self.coordinator.next_deadline().is_some_and(|deadline| deadline <= self.now) {
                self.coordinator.on_timeout(self.clock());
            } else {
                return;
            }
        }
    }

    fn take(&mut self, output: Output) {
        match output {
            Output::Reply { token, reply } => {
                assert!(self.taken.insert(token), "a token is answered once");
                self.answered.insert(token, reply);
            }
            Output::Append { id, partition, records } => {
                assert!(!records.is_empty());
                self.appends.push_back((id, partition, records));
            }
        }
    }

    /// The oldest append becomes durable.
    pub(super) fn persist_next(&mut self) {
        let (id, partition, records) = self.appends.pop_front().expect("an append is under way");
        let log = self.log.entry(partition).or_default();
        log.extend(records);
        let last = Offset(i64::try_from(log.len()).expect("few records") - 1);
        self.coordinator.on_persisted(self.clock(), id, Ok(last));
        if !self.persists {
            self.settle();
        }
    }

    /// The two oldest appends become durable and are reported the other way round.
    pub(super) fn persist_two_swapped(&mut self) {
        let mut reports = Vec::new();
        for _ in 0..2 {
            let (id, partition, records) = self.appends.pop_front().expect("an append is under way");
            let log = self.log.entry(partition).or_default();
            log.extend(records);
            reports.push((id, Offset(i64::try_from(log.len()).expect("few records") - 1)));
        }
        for (id, last) in reports.into_iter().rev() {
            self.coordinator.on_persisted(self.clock(), id, Ok(last));
            self.settle();
        }
    }

    /// The oldest append cannot be written.
    pub(super) fn fail_next(&mut self, error: ErrorCode) {
        let (id, _, _) = self.appends.pop_front().expect("an append is under way");
        self.coordinator.on_persisted(self.clock(), id, Err(error));
        self.settle();
    }

    /// The oldest append is in the log, whose disk is full; returns what [`written_late`](Self::written_late) takes.
    pub(super) fn delay_next(&mut self) -> (AppendId, Offset) {
        let (id, partition, records) = self.appends.pop_front().expect("an append is under way");
        let log = self.log.entry(partition).or_default();
        log.extend(records);
        let last = Offset(i64::try_from(log.len()).expect("few records") - 1);
        self.coordinator.on_delayed(self.clock(), id, ErrorCode::RequestTimedOut);
        self.settle();
        (id, last)
    }

    /// There is room again.
    pub(super) fn written_late(&mut self, (id, last): (AppendId, Offset)) {
        self.coordinator.on_written_late(self.clock(), id, Ok(last));
        self.settle();
    }

    /// Lets time pass, serving each deadline at its moment.
    pub(super) fn advance(&mut self, ms: i64) {
        let end = self.now.after_ms(ms);
        let wall_end = self.wall + ms;
        while let Some(deadline) = self.coordinator.next_deadline().filter(|deadline| *deadline <= end) {
            let passed = i64::try_from(deadline.since(self.now).as_millis()).expect("not that long");
            self.wall = (self.wall + passed).min(wall_end);
            self.now = self.now.max(deadline);
            self.coordinator.on_timeout(self.clock());
            self.settle();
        }
        self.now = end;
        self.wall = wall_end;
    }

    pub(super) fn is_answered(&self, token: Token) -> bool {
        self.taken.contains(&token)
    }

    /// The answer to `token`, if it is there.
    pub(super) fn try_answer(&mut self, token: Token) -> Option<GroupReply> {
        self.answered.remove(&token)
    }

    /// The answer to `token`, which must be there.
    pub(super) fn answer(&mut self, token: Token) -> GroupReply {
        self.answered.remove(&token).unwrap_or_else(|| panic!("{token:?} is not answered"))
    }

    pub(super) fn joined(&mut self, token: Token) -> JoinReply {
        match self.answer(token) {
            GroupReply::Join(reply) => reply,
            other => panic!("not a join: {other:?}"),
        }
    }

    pub(super) fn synced(&mut self, token: Token) -> SyncReply {
        match self.answer(token) {
            GroupReply::Sync(reply) => reply,
            other => panic!("not a sync: {other:?}"),
        }
    }

    /// Sends a heartbeat and returns its error.
    pub(super) fn heartbeat(&mut self, member_id: &str, generation_id: i32) -> ErrorCode {
        let request = Heartbeat {
            group_id: GROUP.to_owned(),
            member_id: member_id.to_owned(),
            group_instance_id: None,
            generation_id,
        };
        let token = self.send(GroupRequest::Heartbeat(request));
        match self.answer(token) {
            GroupReply::Heartbeat(error) => error,
            other => panic!("not a heartbeat: {other:?}"),
        }
    }

    pub(super) fn leave(&mut self, members: Vec<LeavingMember>) -> LeaveReply {
        let token = self.send(GroupRequest::Leave(LeaveGroup { group_id: GROUP.to_owned(), members }));
        match self.answer(token) {
            GroupReply::Leave(reply) => reply,
            other => panic!("not a leave: {other:?}"),
        }
    }

    pub(super) fn describe(&mut self, group_id: &str) -> DescribeReply {
        let token = self.send(GroupRequest::Describe { group_id: group_id.to_owned() });
        match self.answer(token) {
            GroupReply::Describe(reply) => reply,
            other => panic!("not a description: {other:?}"),
        }
    }

    pub(super) fn committed(&mut self, token: Token) -> CommitReply {
        match self.answer(token) {
            GroupReply::CommitOffsets(reply) => reply,
            other => panic!("not a commit: {other:?}"),
        }
    }

    /// The one error of a commit of one partition.
    pub(super) fn commit(&mut self, request: CommitOffsets) -> ErrorCode {
        let token = self.send(GroupRequest::CommitOffsets(request));
        self.committed(token).topics[0].partitions[0].1
    }

    pub(super) fn fetch(&mut self, topics: Option<Vec<FetchTopic>>) -> FetchReply {
        let token = self.send(fetch(topics, false));
        match self.answer(token) {
            GroupReply::FetchOffsets(reply) => reply,
            other => panic!("not a fetch: {other:?}"),
        }
    }

    /// The committed offset of a partition, -1 for none.
    pub(super) fn offset(&mut self, topic: &str, partition: i32) -> i64 {
        let topic = FetchTopic { name: topic.to_owned(), topic_id: Uuid::ZERO, partitions: vec![partition] };
        let reply = self.fetch(Some(vec![topic]));
        assert_eq!(reply.error, ErrorCode::None);
        assert_eq!(reply.topics[0].partitions[0].error, ErrorCode::None);
        reply.topics[0].partitions[0].offset
    }

    /// Makes the described consumers one stable generation; each gets its own member id as its assignment.
    pub(super) fn stable(&mut self, requests: Vec<JoinGroup>) -> Vec<JoinReply> {
        let tokens: Vec<Token> = requests.into_iter().map(|r| self.send(GroupRequest::Join(r))).collect();
        while tokens.iter().any(|token| !self.is_answered(*token)) {
            let deadline = self.coordinator.next_deadline().expect("something ends the joining phase");
            self.advance(i64::try_from(deadline.since(self.now).as_millis()).expect("not that long"));
        }
        let joined: Vec<JoinReply> = tokens.into_iter().map(|token| self.joined(token)).collect();
        self.sync_all(&joined);
        joined
    }

    /// All members of a generation sync, the leader with an assignment for each.
    pub(super) fn sync_all(&mut self, joined: &[JoinReply]) {
        let assignments: Vec<(String, Bytes)> = joined
            .iter()
            .map(|reply| (reply.member_id.clone(), Bytes::from(reply.member_id.clone())))
            .collect();
        let mut tokens = Vec::new();
        for reply in joined {
            assert_eq!(reply.error, ErrorCode::None);
            let assignments = if reply.leader == reply.member_id { assignments.clone() } else { Vec::new() };
            tokens.push(self.send(sync(reply, assignments)));
        }
        for (token, reply) in tokens.into_iter().zip(joined) {
            let synced = self.synced(token);
            assert_eq!(synced.error, ErrorCode::None);
            assert_eq!(synced.assignment, reply.member_id.as_bytes());
        }
    }
}

/// A JoinGroup of a dynamic consumer before KIP-394, which becomes a member at once.
pub(super) fn join(member_id: &str) -> JoinGroup {
    JoinGroup {
        group_id: GROUP.to_owned(),
        member_id: member_id.to_owned(),
        group_instance_id: None,
        client_id: "client".to_owned(),
        client_host: "/127.0.0.1".to_owned(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 60_000,
        protocol_type: "consumer".to_owned(),
        protocols: vec![protocol("range", &["topic"])],
        requires_member_id: false,
        supports_skip_assignment: false,
    }
}

/// A JoinGroup of a static consumer.
pub(super) fn join_static(instance_id: &str) -> JoinGroup {
    JoinGroup { group_instance_id: Some(instance_id.to_owned()), supports_skip_assignment: true, ..join("") }
}

/// An assignor with a consumer's subscription to `topics`.
pub(super) fn protocol(name: &str, topics: &[&str]) -> Protocol {
    let mut metadata = 1_i16.to_be_bytes().to_vec();
    metadata.extend(i32::try_from(topics.len()).expect("few topics").to_be_bytes());
    for topic in topics {
        metadata.extend(i16::try_from(topic.len()).expect("short topics").to_be_bytes());
        metadata.extend(topic.as_bytes());
    }
    metadata.extend((-1_i32).to_be_bytes());
    metadata.extend(0_i32.to_be_bytes());
    Protocol { name: name.to_owned(), metadata: Bytes::from(metadata) }
}

/// The SyncGroup that follows a JoinGroup.
pub(super) fn sync(joined: &JoinReply, assignments: Vec<(String, Bytes)>) -> GroupRequest {
    GroupRequest::Sync(SyncGroup {
        group_id: GROUP.to_owned(),
        member_id: joined.member_id.clone(),
        group_instance_id: None,
        generation_id: joined.generation_id,
        protocol_type: joined.protocol_type.clone(),
        protocol_name: joined.protocol_name.clone(),
        assignments,
    })
}

/// A commit of one partition of a member, or of nobody with generation -1.
pub(super) fn commit(
    member_id: &str,
    generation_id: i32,
    topic: &str,
    partition: i32,
    offset: i64,
) -> CommitOffsets {
    let partition = CommitPartition { partition, offset, leader_epoch: -1, metadata: None };
    CommitOffsets {
        group_id: GROUP.to_owned(),
        member_id: member_id.to_owned(),
        group_instance_id: None,
        generation_id,
        knows_group_id_not_found: true,
        retention_time_ms: None,
        topics: vec![CommitTopic {
            name: topic.to_owned(),
            topic_id: topic_id(topic),
            partitions: vec![partition],
        }],
    }
}

pub(super) fn fetch(topics: Option<Vec<FetchTopic>>, require_stable: bool) -> GroupRequest {
    GroupRequest::FetchOffsets(FetchOffsets { group_id: GROUP.to_owned(), require_stable, topics })
}

pub(super) fn leaving(member_id: &str) -> LeavingMember {
    LeavingMember { member_id: member_id.to_owned(), group_instance_id: None }
}
