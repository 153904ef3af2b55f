//! One classic group: who is in it, in which generation, with which protocol (Kafka's `ClassicGroup`).
//!
//! Held by the shard that owns the group's partition of `__consumer_offsets`. On disk is one record per group (the
//! last stable generation, or that the group is empty) and one per committed offset. Membership is soft: it changes
//! with each event, and what a restart finds is the last stable generation. Offsets are hard: they change only by
//! replaying durable records.
//!
//! What must hold, and [`Group::assert_consistent`] checks: the static index and the members name each other; counts
//! equal what they count; a leader exists exactly if there are members; a group that waits for something has a timer
//! or a write that ends the wait.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::group::member::{Member, protocols_bytes};
use crate::group::offsets::GroupOffsets;
use crate::group::records::{GroupMetadata, MemberMetadata};
use crate::group::request::Protocol;
use crate::group::state::GroupState;
use crate::group::subscription;
use crate::ids::TimestampMs;
use crate::time::Monotonic;

/// The protocol type of consumers, whose subscriptions the coordinator can read.
pub(crate) const CONSUMER_PROTOCOL_TYPE: &str = "consumer";

/// What ends the joining phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum JoinTimer {
    /// The first generation of an empty group: wait while more members come, up to their rebalance timeout.
    Initial { deadline: Monotonic, delay_ms: i32, remaining_ms: i32 },
    /// Any other: wait for the known members to come back.
    Rebalance { deadline: Monotonic },
}

impl JoinTimer {
    /// When it fires.
    pub(crate) fn deadline(self) -> Monotonic {
        match self {
            JoinTimer::Initial { deadline, .. } | JoinTimer::Rebalance { deadline } => deadline,
        }
    }
}

/// A group, see the module's documentation.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) id: Arc<str>,
    pub(crate) state: GroupState,
    pub(crate) previous_state: GroupState,
    /// When the group entered its state; `None` if loaded from a record without it.
    pub(crate) state_since: Option<TimestampMs>,
    /// `None` for consumers that assign themselves.
    pub(crate) protocol_type: Option<String>,
    /// The assignor of the generation.
    pub(crate) protocol: Option<String>,
    pub(crate) generation_id: i32,
    pub(crate) leader: Option<String>,
    pub(crate) members: BTreeMap<String, Member>,
    /// `group.instance.id` to member id.
    pub(crate) static_members: BTreeMap<String, String>,
    /// Member ids that were handed out (KIP-394) and when each is forgotten.
    pub(crate) pending_joins: BTreeMap<String, Monotonic>,
    /// Members of the generation that have not asked for their assignment.
    pub(crate) pending_syncs: BTreeSet<String>,
    pub(crate) awaiting_join_count: usize,
    /// How many members offer each protocol.
    protocol_counts: BTreeMap<String, usize>,
    metadata_bytes: usize,
    /// A member came during the initial delay, which prolongs it.
    pub(crate) new_member_added: bool,
    /// The topics of all members; `None` if they cannot be known.
    pub(crate) subscribed_topics: Option<BTreeSet<String>>,
    pub(crate) join_timer: Option<JoinTimer>,
    pub(crate) sync_deadline: Option<Monotonic>,
    /// The leader's assignment is on its way to the disk.
    pub(crate) assignment_in_flight: bool,
    /// The log has a record of the group, so its end needs a tombstone.
    pub(crate) recorded: bool,
    /// Offsets were deleted: were they the last, the group stays empty until the next search for expired ones.
    pub(crate) awaits_sweep: bool,
    pub(crate) offsets: GroupOffsets,
    /// No deadline of the group is earlier; a later one may be what is armed.
    pub(crate) earliest_deadline: Option<Monotonic>,
    /// What the coordinator's timer queue holds for the group.
    pub(crate) armed_at: Option<Monotonic>,
}

impl Group {
    /// A group without members.
    pub(crate) fn new(id: Arc<str>, since: Option<TimestampMs>) -> Self {
        Group {
            id,
            state: GroupState::Empty,
            previous_state: GroupState::Dead,
            state_since: since,
            protocol_type: None,
            protocol: None,
            generation_id: 0,
            leader: None,
            members: BTreeMap::new(),
            static_members: BTreeMap::new(),
            pending_joins: BTreeMap::new(),
            pending_syncs: BTreeSet::new(),
            awaiting_join_count: 0,
            protocol_counts: BTreeMap::new(),
            metadata_bytes: 0,
            new_member_added: false,
            subscribed_topics: None,
            join_timer: None,
            sync_deadline: None,
            assignment_in_flight: false,
            recorded: false,
            awaits_sweep: false,
            offsets: GroupOffsets::default(),
            earliest_deadline: None,
            armed_at: None,
        }
    }

    /// The group that a record describes, with the offsets that were replayed before it.
    pub(crate) fn restored(id: Arc<str>, metadata: GroupMetadata, offsets: GroupOffsets) -> Self {
        let mut group = Group::new(id, metadata.state_since);
        group.recorded = true;
        group.offsets = offsets;
        group.generation_id = metadata.generation_id;
        group.protocol_type = metadata.protocol_type.filter(|kind| !kind.is_empty());
        group.protocol = metadata.protocol;
        let protocol = group.protocol.clone().unwrap_or_default();
        for member in metadata.members {
            let known = group.members.contains_key(&member.member_id)
                || member.group_instance_id.as_ref().is_some_and(|id| group.static_members.contains_key(id));
            if !known {
                group.insert(restored_member(member, &protocol));
            }
        }
        if let Some(leader) = metadata.leader.filter(|leader| group.members.contains_key(leader)) {
            group.leader = Some(leader);
        }
        group.state = if group.members.is_empty() { GroupState::Empty } else { GroupState::Stable };
        group.subscribed_topics = group.compute_subscribed_topics();
        group
    }

    /// What the log is to say about the group, with `assignment` telling each member's part.
    pub(crate) fn metadata(&self, assignment: impl Fn(&Member) -> bytes::Bytes) -> GroupMetadata {
        let protocol = self.protocol.as_deref();
        assert!(self.members.is_empty() || protocol.is_some(), "a generation with members has a protocol");
        let members = self.members.values().map(|member| MemberMetadata {
            member_id: member.member_id.clone(),
            group_instance_id: member.group_instance_id.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            rebalance_timeout_ms: member.rebalance_timeout_ms,
            session_timeout_ms: member.session_timeout_ms,
            subscription: member.metadata(protocol.unwrap_or_default()),
            assignment: assignment(member),
        });
        GroupMetadata {
            protocol_type: self.protocol_type.clone(),
            generation_id: self.generation_id,
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            state_since: self.state_since,
            members: members.collect(),
        }
    }

    /// Whether the group is in `state`.
    pub(crate) fn is(&self, state: GroupState) -> bool {
        self.state == state
    }

    /// Moves to `next`, which began at `wall`.
    pub(crate) fn become_state(&mut self, next: GroupState, wall: TimestampMs) {
        assert!(self.state.may_become(next), "group {} may not go from {} to {next}", self.id, self.state);
        self.previous_state = self.state;
        self.state = next;
        self.state_since = Some(wall);
    }

    /// Whether `member_id` leads the generation.
    pub(crate) fn is_leader(&self, member_id: &str) -> bool {
        self.leader.as_deref() == Some(member_id)
    }

    /// Whether the group's members are consumers, whose subscriptions are readable.
    pub(crate) fn is_consumer(&self) -> bool {
        self.protocol_type.as_deref() == Some(CONSUMER_PROTOCOL_TYPE)
    }

    /// Whether every member and every promised member has a parked JoinGroup.
    pub(crate) fn has_all_members_joined(&self) -> bool {
        self.members.len() == self.awaiting_join_count && self.pending_joins.is_empty()
    }

    /// The longest rebalance timeout of the members, at least a millisecond so that a timer makes progress.
    pub(crate) fn rebalance_timeout_ms(&self) -> i32 {
        self.members.values().map(|m| m.rebalance_timeout_ms).max().unwrap_or(0).max(1)
    }

    /// Bytes of the subscriptions of all members.
    pub(crate) fn metadata_bytes(&self) -> usize {
        self.metadata_bytes
    }

    /// Adds a member; the first one leads and decides the protocol type.
    pub(crate) fn insert(&mut self, member: Member) {
        let id = member.member_id.clone();
        self.pending_joins.remove(&id);
        if let Some(instance_id) = &member.group_instance_id {
            let previous = self.static_members.insert(instance_id.clone(), id.clone());
            assert!(previous.is_none(), "instance {instance_id} of group {} has a member already", self.id);
        }
        if self.leader.is_none() {
            self.leader = Some(id.clone());
        }
        self.count(&member, true);
        let previous = self.members.insert(id, member);
        assert!(previous.is_none(), "a member of group {} was added twice", self.id);
    }

    /// Removes a member or a promised member; another member leads if it led.
    pub(crate) fn remove(&mut self, member_id: &str) -> Option<Member> {
        let removed = self.members.remove(member_id);
        if let Some(member) = &removed {
            self.count(member, false);
            if let Some(instance_id) = &member.group_instance_id {
                self.static_members.remove(instance_id);
            }
        }
        if self.is_leader(member_id) {
            self.leader = self.members.keys().next().cloned();
        }
        self.pending_joins.remove(member_id);
        self.pending_syncs.remove(member_id);
        removed
    }

    /// Changes a member through `change`, keeping the counts right.
    ///
    /// # Panics
    /// If there is no such member.
    pub(crate) fn change<R>(&mut self, member_id: &str, change: impl FnOnce(&mut Member) -> R) -> R {
        let mut member = self.members.remove(member_id).expect("only members are changed");
        self.count(&member, false);
        let result = change(&mut member);
        assert_eq!(member.member_id, member_id, "a member keeps its id");
        self.count(&member, true);
        self.members.insert(member_id.to_owned(), member);
        result
    }

    /// Adds or takes away what `member` contributes to the group's counts.
    fn count(&mut self, member: &Member, add: bool) {
        for protocol in &member.protocols {
            if add {
                *self.protocol_counts.entry(protocol.name.clone()).or_default() += 1;
            } else {
                let count =
                    self.protocol_counts.get_mut(&protocol.name).expect("a member's protocol is counted");
                *count -= 1;
                if *count == 0 {
                    self.protocol_counts.remove(&protocol.name);
                }
            }
        }
        let awaiting = usize::from(member.awaiting_join.is_some());
        if add {
            self.awaiting_join_count += awaiting;
            self.metadata_bytes += member.metadata_bytes();
        } else {
            self.awaiting_join_count -= awaiting;
            self.metadata_bytes -= member.metadata_bytes();
        }
    }

    /// Whether a member of that type with these protocols fits the group: the same type, and a protocol that all
    /// members have.
    pub(crate) fn supports(&self, protocol_type: &str, protocols: &[Protocol]) -> bool {
        if self.is(GroupState::Empty) {
            return !protocol_type.is_empty() && !protocols.is_empty();
        }
        let everyone = self.members.len();
        self.protocol_type.as_deref() == Some(protocol_type)
            && protocols.iter().any(|p| self.protocol_counts.get(&p.name).copied().unwrap_or(0) == everyone)
    }

    /// The protocol of the next generation: of those that all members have, the one that most members prefer. Where
    /// votes are equal the leader's preference decides, so that the choice does not depend on any map's order.
    pub(crate) fn select_protocol(&self) -> Option<String> {
        let everyone = self.members.len();
        let common = self.protocol_counts.iter().filter(|(_, count)| **count == everyone);
        let candidates: Vec<&str> = common.map(|(name, _)| name.as_str()).collect();
        let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
        for vote in self.members.values().filter_map(|member| member.vote(&candidates)) {
            *votes.entry(vote).or_default() += 1;
        }
        let most = votes.values().copied().max()?;
        let leader = self.leader.as_deref().and_then(|id| self.members.get(id))?;
        let preferred = leader.protocols.iter().find(|p| votes.get(p.name.as_str()) == Some(&most));
        preferred.map(|p| p.name.clone())
    }

    /// The topics that the members subscribe to; `None` where they are not consumers or cannot be read.
    pub(crate) fn compute_subscribed_topics(&self) -> Option<BTreeSet<String>> {
        if !self.is_consumer() {
            return None;
        }
        if self.members.is_empty() {
            return Some(BTreeSet::new());
        }
        let protocol = self.protocol.as_deref()?;
        let mut topics = BTreeSet::new();
        for member in self.members.values() {
            topics.extend(subscription::topics(&member.metadata(protocol))?);
        }
        Some(topics)
    }

    /// Whether a member may be reading `topic`: a group of consumers whose subscriptions are unreadable may.
    pub(crate) fn is_subscribed_to(&self, topic: &str) -> bool {
        match &self.subscribed_topics {
            Some(topics) => topics.contains(topic),
            None => self.is_consumer(),
        }
    }

    /// Whether nothing of the group would be missed: no members, no promises, no offsets, no record, and nobody who
    /// deleted the last offset and may still look at the group.
    pub(crate) fn is_forgettable(&self) -> bool {
        self.is(GroupState::Empty)
            && self.pending_joins.is_empty()
            && self.offsets.is_empty()
            && !self.recorded
            && !self.awaits_sweep
            && !self.assignment_in_flight
    }
}

/// The member of a record; it offers the one protocol that the record knows of.
fn restored_member(member: MemberMetadata, protocol: &str) -> Member {
    Member {
        member_id: member.member_id,
        group_instance_id: member.group_instance_id,
        client_id: member.client_id,
        client_host: member.client_host,
        rebalance_timeout_ms: member.rebalance_timeout_ms,
        session_timeout_ms: member.session_timeout_ms,
        protocols: vec![Protocol { name: protocol.to_owned(), metadata: member.subscription }],
        assignment: member.assignment,
        awaiting_join: None,
        awaiting_sync: None,
        is_new: false,
        session_deadline: None,
    }
}

impl Group {
    /// Checks what must hold of the group between two events.
    ///
    /// # Panics
    /// If it does not.
    pub(crate) fn assert_consistent(&self) {
        let id = &self.id;
        for (instance_id, member_id) in &self.static_members {
            let member = self.members.get(member_id);
            let holder = member.and_then(|m| m.group_instance_id.as_ref());
            assert_eq!(holder, Some(instance_id), "static index of group {id}");
        }
        let holders = self.members.values().filter(|m| m.group_instance_id.is_some()).count();
        assert_eq!(holders, self.static_members.len(), "static members of group {id}");
        self.assert_counts();
        match &self.leader {
            Some(leader) => {
                assert!(self.members.contains_key(leader), "the leader of group {id} is a member")
            }
            None => assert!(self.members.is_empty(), "group {id} has members and no leader"),
        }
        let pending_members = self.pending_joins.keys().filter(|p| self.members.contains_key(*p)).count();
        assert_eq!(pending_members, 0, "a member of group {id} is also promised");
        assert!(
            self.pending_syncs.iter().all(|m| self.members.contains_key(m)),
            "pending syncs of group {id}"
        );
        self.assert_state();
        self.assert_timers();
    }

    fn assert_counts(&self) {
        let id = &self.id;
        let awaiting = self.members.values().filter(|m| m.awaiting_join.is_some()).count();
        assert_eq!(awaiting, self.awaiting_join_count, "parked joins of group {id}");
        let bytes: usize = self.members.values().map(|m| protocols_bytes(&m.protocols)).sum();
        assert_eq!(bytes, self.metadata_bytes, "metadata bytes of group {id}");
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for protocol in self.members.values().flat_map(|m| &m.protocols) {
            *counts.entry(&protocol.name).or_default() += 1;
        }
        let counted = self.protocol_counts.iter().map(|(name, count)| (name.as_str(), *count));
        assert!(counted.eq(counts), "protocol counts of group {id}");
    }

    fn assert_state(&self) {
        let id = &self.id;
        let syncing = self.members.values().any(|m| m.awaiting_sync.is_some());
        assert!(
            !syncing || self.is(GroupState::CompletingRebalance),
            "group {id} parks a sync in {}",
            self.state
        );
        match self.state {
            GroupState::Empty | GroupState::Dead => {
                assert!(self.members.is_empty(), "group {id} is {} with members", self.state);
            }
            GroupState::PreparingRebalance => {
                assert!(self.join_timer.is_some(), "group {id} prepares a rebalance that nothing ends");
            }
            GroupState::CompletingRebalance => {
                assert!(!self.members.is_empty(), "group {id} completes a rebalance of nobody");
                let ends = self.sync_deadline.is_some() || self.assignment_in_flight;
                assert!(ends, "group {id} completes a rebalance that nothing ends");
            }
            GroupState::Stable => assert!(!self.members.is_empty(), "group {id} is stable without members"),
        }
        let preparing = self.is(GroupState::PreparingRebalance);
        assert!(preparing || self.join_timer.is_none(), "group {id} is {} with a join timer", self.state);
    }

    fn assert_timers(&self) {
        let id = &self.id;
        for member in self.members.values() {
            let parked = member.awaiting_join.is_some() || member.awaiting_sync.is_some();
            assert!(parked || member.session_deadline.is_some(), "a member of group {id} never expires");
        }
        if let Some(next) = self.next_deadline() {
            let earliest = self.earliest_deadline.expect("a group with a deadline knows a lower bound");
            assert!(earliest <= next, "group {id} would miss a deadline");
        }
    }
}
