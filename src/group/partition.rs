//! The groups of one partition of `__consumer_offsets`, and the writes that are under way for them.
//!
//! Held by the shard that owns the partition. On disk: the partition's log, from which the groups are loaded. What
//! must hold: records take effect in the order of the log, whatever order their durability is reported in; a group
//! with a write under way is not forgotten and its offsets do not expire.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use crate::canary::{self, Canary};
use crate::errors::ErrorCode;
use crate::group::coordinator::AppendId;
use crate::group::group::Group;
use crate::group::offsets::delete::OffsetKey;
use crate::group::offsets::{CommittedOffset, GroupOffsets, fetch};
use crate::group::records::Change;
use crate::group::reply::GroupReply;
use crate::group::request::{FetchOffsets, NO_TOPIC_ID};
use crate::group::state::GroupState;
use crate::group::step::{Append, Clock, Step, Then, Token, append_error_to_response};
use crate::ids::{Offset, TopicId};
use crate::limits::GROUP_FETCHES_PARKED_MAX;
use crate::time::Monotonic;

/// A topic that was deleted: its name may live on with another id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeletedTopic {
    /// The topic's name.
    pub name: String,
    /// The id of the topic that is gone.
    pub topic_id: TopicId,
}

/// How far a partition is.
#[derive(Debug)]
pub(crate) enum Phase {
    /// Its records are being replayed; topics deleted meanwhile are dealt with afterwards.
    Loading { deleted_topics: Vec<DeletedTopic> },
    /// Its groups are served.
    Active,
}

/// An append that was handed out.
#[derive(Debug)]
struct InFlight {
    id: AppendId,
    append: Append,
    groups: BTreeSet<Arc<str>>,
    bytes: usize,
    /// What became of it, once known: the offset of the last record.
    result: Option<Result<Offset, ErrorCode>>,
    /// Though it failed, its records are in the log, and may be on disk some time.
    is_delayed: bool,
}

/// An append that was answered as failed and is in the log.
#[derive(Debug)]
struct Late {
    changes: Vec<Change>,
    groups: BTreeSet<Arc<str>>,
}

/// An OffsetFetch that waits until commits before it are decided.
#[derive(Debug)]
struct ParkedFetch {
    after: AppendId,
    token: Token,
    request: FetchOffsets,
}

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Partition {
    pub(crate) phase: Phase,
    pub(crate) groups: BTreeMap<Arc<str>, Group>,
    in_flight: VecDeque<InFlight>,
    late: BTreeMap<AppendId, Late>,
    /// How many of both there are of each group that has any.
    writes_of: BTreeMap<Arc<str>, usize>,
    parked_fetches: VecDeque<ParkedFetch>,
    /// When to look for expired offsets next.
    pub(crate) sweep_at: Option<Monotonic>,
    /// The group that the present search has come to.
    pub(crate) sweep_from: Option<Arc<str>>,
}

/// What one finished append brought about.
pub(crate) struct Finished<'a> {
    pub(crate) step: Step<'a>,
    pub(crate) groups: BTreeSet<Arc<str>>,
    pub(crate) bytes: usize,
}

impl Partition {
    /// A partition whose records are about to be replayed.
    pub(crate) fn loading() -> Self {
        Partition {
            phase: Phase::Loading { deleted_topics: Vec::new() },
            groups: BTreeMap::new(),
            in_flight: VecDeque::new(),
            late: BTreeMap::new(),
            writes_of: BTreeMap::new(),
            parked_fetches: VecDeque::new(),
            sweep_at: None,
            sweep_from: None,
        }
    }

    /// Whether requests are served.
    pub(crate) fn is_active(&self) -> bool {
        matches!(self.phase, Phase::Active)
    }

    /// Takes a record that is durable: the one way in which offsets change and groups come from and leave the log.
    /// Of a group that is served live only the tombstone acts, for its membership is ahead of the log.
    pub(crate) fn replay(&mut self, change: Change, record_offset: Offset) {
        match change {
            Change::Offset { group, topic, partition, value } => {
                let value = value.map(|value| CommittedOffset { record_offset, ..value });
                let loading = !self.is_active();
                match self.groups.get_mut(&group) {
                    Some(group)
                        if loading
                            && group.offsets.get(&topic, partition).is_some()
                            && canary::is(Canary::OlderCommitWins) => {}
                    Some(group) => {
                        group.awaits_sweep |= value.is_none() && !loading;
                        group.offsets.replay(&topic, partition, value);
                    }
                    None if value.is_none() => {}
                    None => {
                        let mut simple = Group::new(group.clone(), None);
                        simple.offsets.replay(&topic, partition, value);
                        self.groups.insert(group, simple);
                    }
                }
            }
            Change::Group { group, value: None } => self.end_group(&group),
            Change::Group { group, value: Some(metadata) } => {
                let loading = !self.is_active();
                let offsets = match self.groups.get_mut(&group) {
                    Some(live) if !loading => {
                        live.recorded = true;
                        return;
                    }
                    Some(loaded) => std::mem::take(&mut loaded.offsets),
                    None => GroupOffsets::default(),
                };
                let restored = Group::restored(group.clone(), metadata, offsets);
                self.groups.insert(group, restored);
            }
        }
    }

    /// A tombstone ends a group; offsets that it still has make it a simple group.
    fn end_group(&mut self, group_id: &Arc<str>) {
        let Some(group) = self.groups.get_mut(group_id) else { return };
        let offsets = std::mem::take(&mut group.offsets);
        if offsets.is_empty() {
            self.groups.remove(group_id);
        } else {
            let armed_at = group.armed_at;
            *group = Group::new(group_id.clone(), None);
            group.offsets = offsets;
            group.armed_at = armed_at;
        }
    }

    /// Whether a write of `group` is under way, or in the log and not on disk.
    pub(crate) fn has_in_flight(&self, group_id: &str) -> bool {
        self.writes_of.contains_key(group_id)
    }

    /// Every offset of a group, those included whose commits are on their way to the disk.
    pub(crate) fn offset_keys(&self, group_id: &str) -> BTreeSet<OffsetKey> {
        let group = self.groups.get(group_id);
        let durable = group.into_iter().flat_map(|group| group.offsets.iter());
        let mut keys: BTreeSet<OffsetKey> =
            durable.map(|(topic, partition, _)| (topic.clone(), partition)).collect();
        if !self.has_in_flight(group_id) {
            return keys;
        }
        for change in self.changes_under_way() {
            if let Change::Offset { group, topic, partition, value: Some(_) } = change
                && **group == *group_id
            {
                keys.insert((topic.clone(), *partition));
            }
        }
        keys
    }

    /// What is in no group yet and may come to be.
    fn changes_under_way(&self) -> impl Iterator<Item = &Change> {
        let in_flight = self.in_flight.iter().flat_map(|in_flight| &in_flight.append.changes);
        self.late.values().flat_map(|late| &late.changes).chain(in_flight)
    }

    /// Every offset of the deleted topics, with its group, those under way included. An offset of a topic with the
    /// same name and another id stays.
    pub(crate) fn offsets_of_deleted(&self, deleted: &[DeletedTopic]) -> BTreeSet<(Arc<str>, Arc<str>, i32)> {
        let ids: BTreeSet<(&str, TopicId)> =
            deleted.iter().map(|topic| (&*topic.name, topic.topic_id)).collect();
        let names: BTreeSet<&str> = ids.iter().map(|(name, _)| *name).collect();
        let concerns = |topic: &str, value: &CommittedOffset| {
            value.topic_id == NO_TOPIC_ID || ids.contains(&(topic, value.topic_id))
        };
        let mut keys = BTreeSet::new();
        for group in self.groups.values() {
            for (topic, partitions) in group.offsets.topics().filter(|(topic, _)| names.contains(&***topic)) {
                let offsets = partitions.iter().filter(|(_, value)| concerns(topic, value));
                keys.extend(offsets.map(|(partition, _)| (group.id.clone(), topic.clone(), *partition)));
            }
        }
        for change in self.changes_under_way() {
            if let Change::Offset { group, topic, partition, value: Some(value) } = change
                && names.contains(&**topic)
                && concerns(topic, value)
            {
                keys.insert((group.clone(), topic.clone(), *partition));
            }
        }
        keys
    }

    /// Remembers an append that was handed out.
    pub(crate) fn sent(&mut self, id: AppendId, append: Append, bytes: usize) {
        let groups: BTreeSet<Arc<str>> = append.changes.iter().map(|change| change.group().clone()).collect();
        for group in &groups {
            *self.writes_of.entry(group.clone()).or_default() += 1;
        }
        self.in_flight.push_back(InFlight { id, append, groups, bytes, result: None, is_delayed: false });
    }

    /// Answers an OffsetFetch, at once or when the writes before it are decided.
    pub(crate) fn fetch(&mut self, token: Token, request: FetchOffsets) -> Option<GroupReply> {
        let concerns = |append: &InFlight| append.groups.contains(&*request.group_id);
        // Most groups have none, and need not be looked for among those of all.
        let is_undecided = || self.has_in_flight(&request.group_id) && self.in_flight.iter().any(concerns);
        if request.require_stable && is_undecided() {
            if self.parked_fetches.len() >= GROUP_FETCHES_PARKED_MAX {
                return Some(GroupReply::FetchOffsets(request.refusal(ErrorCode::UnstableOffsetCommit)));
            }
            let after = self.in_flight.back().expect("a write is under way").id;
            self.parked_fetches.push_back(ParkedFetch { after, token, request });
            return None;
        }
        Some(self.fetched(&request))
    }

    fn fetched(&self, request: &FetchOffsets) -> GroupReply {
        GroupReply::FetchOffsets(fetch::answer(self.groups.get(&*request.group_id), request))
    }

    /// Notes what became of an append.
    pub(crate) fn decided(&mut self, id: AppendId, result: Result<Offset, ErrorCode>) {
        if let Ok(index) = self.in_flight.binary_search_by_key(&id, |append| append.id) {
            let append = &mut self.in_flight[index];
            assert!(append.result.is_none(), "an append is decided once");
            append.result = Some(result);
        }
    }

    /// Notes that an append fails for whoever waits, and that its records are in the log for all that.
    pub(crate) fn delayed(&mut self, id: AppendId, error: ErrorCode) {
        if let Ok(index) = self.in_flight.binary_search_by_key(&id, |append| append.id) {
            self.in_flight[index].is_delayed = true;
        }
        self.decided(id, Err(error));
    }

    /// Lets an append take effect that was answered as failed, if its records are on disk after all. Returns its
    /// groups.
    pub(crate) fn written_late(
        &mut self,
        id: AppendId,
        result: Result<Offset, ErrorCode>,
    ) -> BTreeSet<Arc<str>> {
        let Some(Late { changes, groups }) = self.late.remove(&id) else { return BTreeSet::new() };
        self.no_longer_writes(&groups);
        if let Ok(last_offset) = result {
            for (change, offset) in with_offsets(changes, last_offset) {
                if self.still_acts(&change) {
                    self.replay(change, offset);
                }
            }
        }
        groups
    }

    /// Whether a record that comes late says what is so: a group that was to end may have members again, whose own
    /// records come behind it.
    fn still_acts(&mut self, change: &Change) -> bool {
        match change {
            Change::Offset { .. } => true,
            Change::Group { group, value: None } => self.groups.get_mut(group).is_some_and(|group| {
                let is_over = group.is(GroupState::Empty) || group.is(GroupState::Dead);
                group.recorded &= is_over;
                is_over
            }),
            Change::Group { group, value: Some(_) } => self.groups.contains_key(group),
        }
    }

    fn no_longer_writes(&mut self, groups: &BTreeSet<Arc<str>>) {
        for group in groups {
            let writes = self.writes_of.get_mut(group).expect("each of its groups was counted");
            *writes -= 1;
            if *writes == 0 {
                self.writes_of.remove(group);
            }
        }
    }

    /// Lets the oldest append take effect, if what became of it is known.
    pub(crate) fn finish_next<'a>(&mut self, mut step: Step<'a>) -> Option<Finished<'a>> {
        let oldest = self.in_flight.front()?;
        let result = oldest.result?;
        if result.is_ok() && self.late.first_key_value().is_some_and(|(late, _)| *late < oldest.id) {
            // Its records are before these in the log: they are on disk as well, and that will be said.
            return None;
        }
        let InFlight { id, append, groups, bytes, is_delayed, .. } = self.in_flight.pop_front()?;
        let Append { changes, then, replies } = append;
        match result {
            Err(_) if is_delayed => {
                self.late.insert(id, Late { changes, groups: groups.clone() });
            }
            Err(_) => self.no_longer_writes(&groups),
            Ok(last_offset) => {
                self.no_longer_writes(&groups);
                for (change, offset) in with_offsets(changes, last_offset) {
                    self.replay(change, offset);
                }
            }
        }
        let outcome = result.map(|_| ());
        self.follow_up(&mut step, then, outcome);
        for (token, reply) in replies {
            let reply = match outcome {
                Ok(()) => self.still_true(reply),
                Err(error) => reply.failed(append_error_to_response(error)),
            };
            step.reply(token, reply);
        }
        while let Some(parked) = self.parked_fetches.pop_front_if(|parked| parked.after <= id) {
            let reply = self.fetched(&parked.request);
            step.reply(parked.token, reply);
        }
        Some(Finished { step, groups, bytes })
    }

    /// A group's tombstones may be several appends: if an earlier one failed, offsets are left and the deletion did
    /// not succeed.
    fn still_true(&self, reply: GroupReply) -> GroupReply {
        let survived = |group_id: &str| self.groups.contains_key(group_id);
        if matches!(&reply, GroupReply::Delete(deleted) if survived(&deleted.group_id)) {
            return reply.failed(ErrorCode::CoordinatorNotAvailable);
        }
        reply
    }

    fn follow_up(&mut self, step: &mut Step<'_>, then: Then, outcome: Result<(), ErrorCode>) {
        match then {
            Then::Nothing => {}
            Then::Assign(written) => {
                if let Some(group) = self.groups.get_mut(&written.group_id) {
                    group.assigned(step, written, outcome);
                }
            }
            Then::ReplaceStatic(replaced) => {
                if let Some(group) = self.groups.get_mut(&replaced.group_id) {
                    group.static_replaced(step, *replaced, outcome);
                }
            }
            Then::Bury(group_ids) => self.bury(step.clock, &group_ids),
        }
    }

    /// The tombstones are durable and replayed, or the groups were not deleted after all: those of one sweep are
    /// several appends, of which a disk that is full may take the last and not the one before.
    fn bury(&mut self, clock: Clock, group_ids: &[Arc<str>]) {
        for group_id in group_ids {
            if let Some(group) = self.groups.get_mut(group_id).filter(|group| group.is(GroupState::Dead)) {
                let since = group.state_since;
                group.become_state(GroupState::Empty, clock.wall);
                group.state_since = since;
            }
        }
    }

    /// Answers everything that waits here with NOT_COORDINATOR, because another broker or shard serves the groups
    /// from now on. Returns the bytes and ids of the writes that were under way.
    pub(crate) fn unload(mut self, step: &mut Step<'_>) -> (usize, Vec<AppendId>) {
        let error = ErrorCode::NotCoordinator;
        let mut bytes = 0;
        let mut ids: Vec<AppendId> = self.late.keys().copied().collect();
        for in_flight in self.in_flight {
            bytes += in_flight.bytes;
            ids.push(in_flight.id);
            for (token, reply) in in_flight.append.replies {
                step.reply(token, reply.failed(error));
            }
        }
        for parked in self.parked_fetches {
            step.reply(parked.token, GroupReply::FetchOffsets(parked.request.refusal(error)));
        }
        for group in self.groups.values_mut() {
            group.unload(step);
        }
        (bytes, ids)
    }
}

/// The records of an append with their offsets, the last of which is known.
fn with_offsets(changes: Vec<Change>, last_offset: Offset) -> impl Iterator<Item = (Change, Offset)> {
    let count = i64::try_from(changes.len()).expect("an append has fewer records than offsets");
    changes.into_iter().zip((last_offset.0 - count + 1..).map(Offset))
}
