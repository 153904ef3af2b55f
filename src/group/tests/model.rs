//! Random members, a random log and random time against what must hold whatever happens.
//!
//! Clients join, sync, heartbeat, commit, leave, crash and come back; the log is slow, fails, and the coordinator is
//! restarted from it. After every event: the coordinator's own invariants; nothing was acknowledged that is not in
//! the log; one owner per partition and generation; generations grow; what is answered about offsets is what the log
//! says. At the end: everything was answered, and a coordinator that loads the log agrees with the live one.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::harness::{GROUP, World, commit, fetch, join, leaving, protocol, sync, topic_id};
use crate::errors::ErrorCode;
use crate::group::records::{Change, GroupMetadata};
use crate::group::{
    AppendId, CoordinatorRecord, DeleteOffsets, DeletedTopic, GroupConfig, GroupReply, GroupRequest,
    GroupState, Heartbeat, JoinGroup, JoinReply, LeaveGroup, LeavingMember, Token,
};

const PARTITIONS: i32 = 6;
const TOPICS: [&str; 2] = ["topic", "other"];

/// A small generator of numbers; a test needs no better one.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, n: u64) -> u64 {
        (self.next() >> 16) % n
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// What a client does now.
#[derive(Debug)]
enum Phase {
    Idle,
    Joining(Token),
    Syncing(Token, JoinReply),
    Member(JoinReply),
}

#[derive(Debug)]
struct ClientModel {
    instance_id: Option<String>,
    member_id: String,
    phase: Phase,
    requires_member_id: bool,
}

struct Model {
    world: World,
    random: Random,
    clients: Vec<ClientModel>,
    /// Requests whose acknowledgement means that an append is durable.
    promises: BTreeMap<Token, AppendId>,
    durable: BTreeSet<AppendId>,
    sent: Vec<Token>,
    /// Which client holds which partitions, by life of the coordinator and generation.
    owners: BTreeMap<(u32, i32), BTreeMap<String, Bytes>>,
    life: u32,
    generation_seen: i32,
    /// A group's record could not be written since the last one that was: memory is ahead of the log.
    ahead_of_log: bool,
    next_offset: i64,
}

impl Model {
    fn new(seed: u64) -> Self {
        let mut world = World::with(config());
        world.persists = false;
        let clients = (0..5).map(|n| ClientModel {
            instance_id: (n < 2).then(|| format!("i{n}")),
            member_id: String::new(),
            phase: Phase::Idle,
            requires_member_id: n % 2 == 0,
        });
        Model {
            world,
            random: Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1),
            clients: clients.collect(),
            promises: BTreeMap::new(),
            durable: BTreeSet::new(),
            sent: Vec::new(),
            owners: BTreeMap::new(),
            life: 0,
            generation_seen: 0,
            ahead_of_log: false,
            next_offset: 0,
        }
    }

    fn step(&mut self) {
        match self.random.below(100) {
            0..=54 => {
                let client = usize::try_from(self.random.below(5)).expect("small");
                self.act(client);
            }
            55..=77 => self.persist(),
            78..=79 => self.fail(),
            80..=91 => {
                let ms = self.random.below(4_000);
                self.world.advance(i64::try_from(ms).expect("small"));
            }
            92 => self.world.advance(15_000),
            93..=95 => self.administrate(),
            96 => self.restart(),
            _ => self.check_offsets(),
        }
        self.receive();
    }

    fn send(&mut self, request: GroupRequest) -> Token {
        let last = self.world.appends.back().map(|append| append.0);
        let token = self.world.send(request);
        self.sent.push(token);
        let appended = self.world.appends.back().map(|append| append.0).filter(|id| Some(*id) != last);
        if let Some(id) = appended {
            self.promises.insert(token, id);
        }
        token
    }

    fn act(&mut self, index: usize) {
        if self.random.one_in(25) {
            return self.crash(index);
        }
        match &self.clients[index].phase {
            Phase::Idle => self.join(index),
            Phase::Joining(_) | Phase::Syncing(..) => {
                // Now and then a client gives a connection up and asks again.
                if self.random.one_in(12) {
                    self.join(index);
                }
            }
            Phase::Member(joined) => {
                let joined = joined.clone();
                self.live(index, &joined);
            }
        }
    }

    fn join(&mut self, index: usize) {
        let topics: &[&str] = if self.random.one_in(4) { &["topic", "other"] } else { &["topic"] };
        let client = &self.clients[index];
        let request = JoinGroup {
            group_instance_id: client.instance_id.clone(),
            requires_member_id: client.requires_member_id,
            supports_skip_assignment: client.requires_member_id,
            rebalance_timeout_ms: 20_000,
            protocols: vec![protocol("range", topics), protocol("sticky", topics)],
            ..join(&client.member_id)
        };
        let token = self.send(GroupRequest::Join(request));
        self.promises.remove(&token);
        self.clients[index].phase = Phase::Joining(token);
    }

    fn live(&mut self, index: usize, joined: &JoinReply) {
        let group_instance_id = self.clients[index].instance_id.clone();
        match self.random.below(20) {
            0..=8 => {
                let heartbeat = Heartbeat {
                    group_id: GROUP.to_owned(),
                    member_id: joined.member_id.clone(),
                    group_instance_id,
                    generation_id: joined.generation_id,
                };
                let token = self.send(GroupRequest::Heartbeat(heartbeat));
                if self.world.try_answer(token) != Some(GroupReply::Heartbeat(ErrorCode::None)) {
                    self.clients[index].phase = Phase::Idle;
                }
            }
            9..=16 => {
                self.next_offset += 1;
                let topic = TOPICS[usize::try_from(self.random.below(2)).expect("small")];
                let partition = i32::try_from(self.random.below(3)).expect("small");
                let mut request =
                    commit(&joined.member_id, joined.generation_id, topic, partition, self.next_offset);
                request.group_instance_id = group_instance_id;
                self.send(GroupRequest::CommitOffsets(request));
            }
            17 => {
                let member = LeavingMember { member_id: joined.member_id.clone(), group_instance_id };
                let request = LeaveGroup { group_id: GROUP.to_owned(), members: vec![member] };
                self.send(GroupRequest::Leave(request));
                self.clients[index].member_id.clear();
                self.clients[index].phase = Phase::Idle;
            }
            _ => self.clients[index].phase = Phase::Idle,
        }
    }

    /// The process is gone; it comes back without a member id.
    fn crash(&mut self, index: usize) {
        self.clients[index].member_id.clear();
        self.clients[index].phase = Phase::Idle;
    }

    fn administrate(&mut self) {
        if self.random.one_in(6) {
            let deleted = DeletedTopic { name: "other".to_owned(), topic_id: topic_id("other") };
            self.world.coordinator.on_topics_deleted(self.world.clock(), &[deleted]);
            return self.world.settle();
        }
        let request = match self.random.below(5) {
            0 => GroupRequest::Delete { group_id: GROUP.to_owned() },
            1 => GroupRequest::DeleteOffsets(DeleteOffsets {
                group_id: GROUP.to_owned(),
                topics: vec![("other".to_owned(), vec![0, 1, 2])],
            }),
            2 => {
                let member =
                    LeavingMember { member_id: String::new(), group_instance_id: Some("i0".to_owned()) };
                GroupRequest::Leave(LeaveGroup { group_id: GROUP.to_owned(), members: vec![member] })
            }
            3 => GroupRequest::Leave(LeaveGroup { group_id: GROUP.to_owned(), members: vec![leaving("?")] }),
            _ => GroupRequest::CommitOffsets(commit("", -1, "topic", 0, 0)),
        };
        self.send(request);
    }

    fn persist(&mut self) {
        let swapped = self.world.appends.len() >= 2 && self.random.one_in(5);
        let appends: Vec<_> = self.world.appends.iter().take(1 + usize::from(swapped)).cloned().collect();
        for (id, _, records) in &appends {
            self.durable.insert(*id);
            self.written(records);
        }
        match appends.len() {
            0 => {}
            1 => self.world.persist_next(),
            _ => self.world.persist_two_swapped(),
        }
    }

    fn written(&mut self, records: &[CoordinatorRecord]) {
        for record in records {
            match Change::decode(&record.key, record.value.as_deref()) {
                Ok(Some(Change::Group { value: None, .. })) => {
                    self.generation_seen = 0;
                    self.life += 1;
                    self.ahead_of_log = false;
                }
                Ok(Some(Change::Group { value: Some(_), .. })) => self.ahead_of_log = false,
                Ok(Some(Change::Offset { .. })) => {}
                other => panic!("the coordinator wrote what it cannot read: {other:?}"),
            }
        }
    }

    fn fail(&mut self) {
        let Some((_, _, records)) = self.world.appends.front() else { return };
        let of_group = |record: &CoordinatorRecord| {
            matches!(Change::decode(&record.key, record.value.as_deref()), Ok(Some(Change::Group { .. })))
        };
        self.ahead_of_log |= records.iter().any(of_group);
        self.world.fail_next(ErrorCode::KafkaStorageError);
    }

    /// The coordinator is gone with everything that is not in the log; every connection breaks.
    fn restart(&mut self) {
        self.receive();
        self.world = self.world.restarted(config());
        self.world.persists = false;
        self.promises.clear();
        self.sent.clear();
        self.durable.clear();
        self.life += 1;
        self.generation_seen = 0;
        self.ahead_of_log = false;
        for client in &mut self.clients {
            if !matches!(client.phase, Phase::Member(_)) {
                client.phase = Phase::Idle;
            }
        }
    }

    /// Takes what was answered, checks it, and moves the clients on.
    fn receive(&mut self) {
        for token in std::mem::take(&mut self.sent) {
            let Some(reply) = self.world.try_answer(token) else {
                if !self.world.is_answered(token) {
                    self.sent.push(token);
                }
                continue;
            };
            self.check_promise(token, &reply);
            match reply {
                GroupReply::Join(reply) => self.joined(token, reply),
                GroupReply::Sync(reply) if reply.error.is_none() => self.synced(token, &reply.assignment),
                GroupReply::Sync(_) => {
                    if let Some(index) = self.waiting(token) {
                        self.clients[index].phase = Phase::Idle;
                    }
                }
                _ => {}
            }
        }
    }

    fn waiting(&self, token: Token) -> Option<usize> {
        self.clients.iter().position(|client| match &client.phase {
            Phase::Joining(waiting) | Phase::Syncing(waiting, _) => *waiting == token,
            Phase::Idle | Phase::Member(_) => false,
        })
    }

    fn joined(&mut self, token: Token, reply: JoinReply) {
        if reply.error.is_none() {
            assert!(reply.generation_id >= self.generation_seen, "generations never go back");
            self.generation_seen = reply.generation_id;
        }
        let Some(index) = self.waiting(token) else { return };
        match reply.error {
            ErrorCode::None => {
                self.clients[index].member_id.clone_from(&reply.member_id);
                let leads = reply.leader == reply.member_id && !reply.skip_assignment;
                let assignments = if leads { self.assign(&reply) } else { Vec::new() };
                let token = self.send(sync(&reply, assignments));
                self.promises.remove(&token);
                self.clients[index].phase = Phase::Syncing(token, reply);
            }
            ErrorCode::MemberIdRequired => {
                self.clients[index].member_id = reply.member_id;
                self.clients[index].phase = Phase::Idle;
            }
            ErrorCode::RebalanceInProgress | ErrorCode::CoordinatorNotAvailable => {
                self.clients[index].phase = Phase::Idle;
            }
            _ => self.crash(index),
        }
    }

    /// Each partition goes to one member; sometimes the leader forgets a member.
    fn assign(&mut self, reply: &JoinReply) -> Vec<(String, Bytes)> {
        let mut parts: BTreeMap<&str, Vec<u8>> = BTreeMap::new();
        for partition in 0..PARTITIONS {
            let member = usize::try_from(self.random.below(reply.members.len() as u64)).expect("small");
            let part = parts.entry(&reply.members[member].member_id).or_default();
            part.push(u8::try_from(partition).expect("small"));
        }
        parts.into_iter().map(|(member_id, part)| (member_id.to_owned(), Bytes::from(part))).collect()
    }

    fn synced(&mut self, token: Token, assignment: &Bytes) {
        let Some(index) = self.waiting(token) else { return };
        let Phase::Syncing(_, joined) = std::mem::replace(&mut self.clients[index].phase, Phase::Idle) else {
            panic!("only a sync is answered with an assignment")
        };
        let recorded = self.last_group_record().expect("an assignment is in the log before it is handed out");
        if recorded.generation_id == joined.generation_id {
            let member = recorded.members.iter().find(|member| member.member_id == joined.member_id);
            let member = member.expect("a member of the generation is in its record");
            assert_eq!(member.assignment, *assignment, "what is handed out is what is in the log");
        }
        let owner = self.clients[index].instance_id.clone().unwrap_or(joined.member_id.clone());
        let owners = self.owners.entry((self.life, joined.generation_id)).or_default();
        let before = owners.insert(owner, assignment.clone());
        assert!(before.is_none_or(|before| before == *assignment), "an assignment is for a generation");
        let given: Vec<u8> = owners.values().flatten().copied().collect();
        let distinct: BTreeSet<u8> = given.iter().copied().collect();
        assert_eq!(given.len(), distinct.len(), "a partition has one owner per generation: {owners:?}");
        self.clients[index].phase = Phase::Member(joined);
    }

    fn last_group_record(&self) -> Option<GroupMetadata> {
        self.world.log.get(&0)?.iter().rev().find_map(|record| {
            match Change::decode(&record.key, record.value.as_deref()) {
                Ok(Some(Change::Group { value, .. })) => value,
                _ => None,
            }
        })
    }

    /// A success that stands for records comes after them.
    fn check_promise(&mut self, token: Token, reply: &GroupReply) {
        let Some(append) = self.promises.remove(&token) else { return };
        let acknowledged = match reply {
            GroupReply::CommitOffsets(reply) => reply.topics[0].partitions[0].1.is_none(),
            GroupReply::Delete(reply) => reply.error.is_none(),
            GroupReply::DeleteOffsets(reply) => reply.error.is_none(),
            GroupReply::Leave(reply) => reply.error.is_none(),
            _ => false,
        };
        assert!(
            !acknowledged || self.durable.contains(&append),
            "{reply:?} came before its records were durable"
        );
    }

    /// The offsets by the plain reading of the log: the last record of each key.
    fn offsets_of_log(&self) -> BTreeMap<(String, i32), i64> {
        let mut offsets = BTreeMap::new();
        for record in self.world.log.get(&0).into_iter().flatten() {
            if let Ok(Some(Change::Offset { topic, partition, value, .. })) =
                Change::decode(&record.key, record.value.as_deref())
            {
                let key = (topic.to_string(), partition);
                match value {
                    Some(value) => offsets.insert(key, value.offset),
                    None => offsets.remove(&key),
                };
            }
        }
        offsets
    }

    fn check_offsets(&mut self) {
        let token = self.world.send(fetch(None, false));
        let GroupReply::FetchOffsets(reply) = self.world.answer(token) else { panic!("not a fetch") };
        let found = reply
            .topics
            .iter()
            .flat_map(|topic| topic.partitions.iter().map(|p| ((topic.name.clone(), p.partition), p.offset)));
        let found: BTreeMap<(String, i32), i64> = found.collect();
        assert_eq!(found, self.offsets_of_log(), "what is answered is what is durable");
    }

    /// No client acts any more: everything is answered, and the log tells the same as the memory.
    fn end(&mut self) {
        while !self.world.appends.is_empty() {
            self.persist();
        }
        self.receive();
        for _ in 0..40 {
            self.world.advance(15_000);
            while !self.world.appends.is_empty() {
                self.persist();
            }
            self.receive();
            if self.random.one_in(3) {
                self.check_restart();
            }
        }
        let left: Vec<&Token> = self.sent.iter().filter(|token| !self.world.is_answered(**token)).collect();
        assert!(left.is_empty(), "never answered: {left:?}");
        self.check_offsets();
        self.check_restart();
        assert_eq!(self.world.coordinator.bytes_in_flight(), 0);
        let group = self.world.coordinator.group(0, GROUP);
        assert!(group.is_none_or(|group| group.is(GroupState::Empty)), "without heartbeats nobody is left");
    }

    fn check_restart(&self) {
        let restarted = self.world.restarted(config());
        let loaded = restarted.coordinator.group(0, GROUP);
        let Some(live) = self.world.coordinator.group(0, GROUP) else {
            assert!(loaded.is_none() || self.ahead_of_log, "a group came back");
            return;
        };
        let comparable = matches!(live.state, GroupState::Stable | GroupState::Empty) && live.recorded;
        let Some(loaded) = loaded else {
            assert!(!comparable && live.offsets.is_empty(), "a group was lost");
            return;
        };
        assert_eq!(loaded.offsets, live.offsets);
        if comparable && !self.ahead_of_log {
            assert_eq!((loaded.state, loaded.generation_id), (live.state, live.generation_id));
            assert_eq!((&loaded.leader, &loaded.protocol), (&live.leader, &live.protocol));
            assert_eq!(loaded.protocol_type, live.protocol_type);
            assert_eq!(loaded.static_members, live.static_members);
            assert_eq!(loaded.subscribed_topics, live.subscribed_topics);
            let assignments = |group: &crate::group::group::Group| -> Vec<(String, Bytes)> {
                group.members.values().map(|m| (m.member_id.clone(), m.assignment.clone())).collect()
            };
            assert_eq!(assignments(loaded), assignments(live));
        }
    }
}

fn config() -> GroupConfig {
    GroupConfig { initial_rebalance_delay_ms: 1_000, ..GroupConfig::default() }
}

fn run(seed: u64, steps: u32) {
    println!("seed {seed}");
    let mut model = Model::new(seed);
    for _ in 0..steps {
        model.step();
    }
    model.end();
}

#[test]
fn whatever_happens_what_must_hold_holds() {
    for seed in 0..150 {
        run(seed, 500);
    }
}

#[test]
fn the_model_reaches_what_it_is_meant_to_check() {
    let mut reached = BTreeMap::new();
    for seed in 1_000..1_030 {
        let mut model = Model::new(seed);
        for _ in 0..500 {
            model.step();
            if let Some(group) = model.world.coordinator.group(0, GROUP) {
                *reached.entry(group.state).or_insert(0) += 1;
            }
        }
        let shared = model.owners.values().filter(|owners| owners.len() > 1).count();
        assert!(
            model.life > 0 && shared > 0,
            "seed {seed}: {} lives, {shared} shared generations",
            model.life
        );
    }
    assert!(GroupState::ALL.iter().all(|state| reached.contains_key(state)), "{reached:?}");
}
