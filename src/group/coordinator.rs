//! The group coordinator of one shard: requests, durability, time and loaded records in, replies and appends out.
//!
//! One per shard; it owns the groups of every partition of `__consumer_offsets` that the shard owns. On disk is the
//! log of those partitions, from which [`Coordinator::replay`] makes the groups again. It never asks for the time and
//! never waits: `now` and random numbers are passed in, outputs are polled, the next deadline can be asked for.
//!
//! What must hold: every token is answered once; a reply that stands for records comes out after
//! [`Coordinator::on_persisted`] of them; one call does a bounded amount of work; a call that has nothing to do does
//! nothing.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use crate::errors::ErrorCode;
use crate::group::config::GroupConfig;
use crate::group::group::Group;
use crate::group::partition::{DeletedTopic, Finished, Partition, Phase};
use crate::group::records::{Change, CoordinatorRecord, ReplayError};
use crate::group::reply::GroupReply;
use crate::group::request::GroupRequest;
use crate::group::step::{Arrival, Clock, Step, Token};
use crate::ids::Offset;
use crate::limits::{GROUP_APPEND_BYTES_IN_FLIGHT_MAX, GROUP_TIMERS_PER_CALL_MAX, GROUPS_PER_SHARD_MAX};
use crate::time::Monotonic;

/// Names one [`Output::Append`] until its fate is known; later appends have greater ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AppendId(pub u64);

/// What the shard is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Answer a request.
    Reply {
        /// The request's.
        token: Token,
        /// The answer.
        reply: GroupReply,
    },
    /// Append records to a partition of `__consumer_offsets`, all or none, as one batch, in the order of the ids, and
    /// report with [`Coordinator::on_persisted`].
    Append {
        /// Names the append.
        id: AppendId,
        /// The partition of `__consumer_offsets`.
        partition: i32,
        /// At least one.
        records: Vec<CoordinatorRecord>,
    },
}

/// Whether a loaded record was of use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replayed {
    /// It changed a group or an offset.
    Applied,
    /// Its kind belongs to groups that are not served here.
    Skipped,
}

/// What a timer of the queue is for; partitions' searches come before their groups.
type TimerKey = (Monotonic, i32, Option<Arc<str>>);

/// See the module's documentation.
#[derive(Debug)]
pub struct Coordinator {
    config: Arc<GroupConfig>,
    partitions: BTreeMap<i32, Partition>,
    outputs: VecDeque<Output>,
    timers: BTreeSet<TimerKey>,
    next_append: u64,
    append_partitions: BTreeMap<AppendId, i32>,
    bytes_in_flight: usize,
}

impl Coordinator {
    /// A coordinator that owns nothing yet.
    #[must_use]
    pub fn new(config: GroupConfig) -> Self {
        Coordinator {
            config: Arc::new(config.checked()),
            partitions: BTreeMap::new(),
            outputs: VecDeque::new(),
            timers: BTreeSet::new(),
            next_append: 0,
            append_partitions: BTreeMap::new(),
            bytes_in_flight: 0,
        }
    }

    /// The next thing to do, in the order in which things came up.
    #[must_use]
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Coordinator::on_timeout`] is to be called at the latest; calling it earlier does no harm.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Monotonic> {
        self.timers.first().map(|(deadline, _, _)| *deadline)
    }

    /// Bytes of records whose durability is not known yet.
    #[must_use]
    pub fn bytes_in_flight(&self) -> usize {
        self.bytes_in_flight
    }

    /// Groups of all partitions, loading ones included.
    #[must_use]
    pub fn group_count(&self) -> usize {
        self.partitions.values().map(|partition| partition.groups.len()).sum()
    }

    /// Takes a partition on: its records follow through [`Coordinator::replay`].
    ///
    /// # Panics
    /// If the partition is owned already.
    pub fn start_loading(&mut self, partition: i32) {
        let previous = self.partitions.insert(partition, Partition::loading());
        assert!(previous.is_none(), "partition {partition} of __consumer_offsets was loaded before");
    }

    /// Takes one record of a partition that is loading, in the order of the log, without control records.
    ///
    /// # Panics
    /// If the partition is not loading.
    pub fn replay(
        &mut self,
        partition: i32,
        key: &[u8],
        value: Option<&[u8]>,
        offset: Offset,
    ) -> Result<Replayed, ReplayError> {
        let loading = self.partitions.get_mut(&partition).filter(|partition| !partition.is_active());
        let loading = loading.expect("records are replayed into a partition that is loading");
        let Some(change) = Change::decode(key, value)? else { return Ok(Replayed::Skipped) };
        loading.replay(change, offset);
        Ok(Replayed::Applied)
    }

    /// Every record of a partition was replayed: its groups are served from now on. Their members have a session's
    /// time to be heard of.
    ///
    /// # Panics
    /// If the partition is not loading.
    pub fn finish_loading(&mut self, clock: Clock, partition: i32) {
        let config = Arc::clone(&self.config);
        let mut step = Step::new(clock, &config);
        let loading = self.partitions.get_mut(&partition).filter(|partition| !partition.is_active());
        let loading = loading.expect("a partition that is loading finishes to load");
        let Phase::Loading { deleted_topics } = std::mem::replace(&mut loading.phase, Phase::Active) else {
            unreachable!("the phase was just seen")
        };
        loading.groups.retain(|_, group| !group.is_forgettable());
        for group in loading.groups.values_mut() {
            group.reset_all_sessions(clock.now);
            group.shrink_if_over_capacity(&mut step);
        }
        loading.forget_topics(&mut step, &deleted_topics);
        let groups: Vec<Arc<str>> = loading.groups.keys().cloned().collect();
        let sweep_at = clock.now.after_ms(config.offsets_retention_check_interval_ms);
        loading.sweep_at = Some(sweep_at);
        self.timers.insert((sweep_at, partition, None));
        self.finish(partition, step, groups);
    }

    /// Clients can be heard from now on: members have a session's time, however long it took until then.
    pub fn on_serving(&mut self, clock: Clock) {
        let config = Arc::clone(&self.config);
        let active = self.partitions.iter().filter(|(_, partition)| partition.is_active());
        let active: Vec<i32> = active.map(|(index, _)| *index).collect();
        for index in active {
            let partition = self.partitions.get_mut(&index).expect("the keys were just read");
            for group in partition.groups.values_mut() {
                group.reset_all_sessions(clock.now);
            }
            let groups: Vec<Arc<str>> = partition.groups.keys().cloned().collect();
            self.finish(index, Step::new(clock, &config), groups);
        }
    }

    /// Gives a partition up: everything that waits is answered NOT_COORDINATOR, and so is what comes later.
    pub fn unload(&mut self, clock: Clock, partition: i32) {
        let Some(unloaded) = self.partitions.remove(&partition) else { return };
        let config = Arc::clone(&self.config);
        let mut step = Step::new(clock, &config);
        let (bytes, appends) = unloaded.unload(&mut step);
        self.bytes_in_flight -= bytes;
        for append in appends {
            self.append_partitions.remove(&append);
        }
        self.timers.retain(|(_, of, _)| *of != partition);
        assert!(step.appends.is_empty(), "a partition that was given up is not written to");
        self.push_replies(step.replies);
    }

    /// The offsets of topics that were deleted end, in every group.
    pub fn on_topics_deleted(&mut self, clock: Clock, topics: &[DeletedTopic]) {
        let config = Arc::clone(&self.config);
        let partitions: Vec<i32> = self.partitions.keys().copied().collect();
        for index in partitions {
            let mut step = Step::new(clock, &config);
            let partition = self.partitions.get_mut(&index).expect("the keys were just read");
            match &mut partition.phase {
                Phase::Loading { deleted_topics } => deleted_topics.extend_from_slice(topics),
                Phase::Active => partition.forget_topics(&mut step, topics),
            }
            self.finish(index, step, Vec::new());
        }
    }

    /// Takes a request for a group of `partition` of `__consumer_offsets`; a listing concerns all partitions of the
    /// shard. `random` makes a new member's id.
    pub fn on_request(
        &mut self,
        clock: Clock,
        random: u128,
        token: Token,
        partition: i32,
        request: GroupRequest,
    ) {
        if let GroupRequest::List(request) = &request {
            let reply = self.list(request);
            self.outputs.push_back(Output::Reply { token, reply });
            return;
        }
        if let Some(reply) = self.refusal(partition, &request) {
            self.outputs.push_back(Output::Reply { token, reply });
            return;
        }
        let config = Arc::clone(&self.config);
        let mut step = Step::new(clock, &config);
        let group_id: Arc<str> = Arc::from(request.group_id().unwrap_or_default());
        let owned = self.partitions.get_mut(&partition).expect("the partition was just seen to be active");
        owned.handle(&mut step, Arrival { token, random }, request);
        self.finish(partition, step, vec![group_id]);
    }

    /// Why a request goes no further, as an answer.
    fn refusal(&self, partition: i32, request: &GroupRequest) -> Option<GroupReply> {
        if let Some(reply) = request.invalid(&self.config) {
            return Some(reply);
        }
        let error = match self.partitions.get(&partition) {
            None => ErrorCode::NotCoordinator,
            Some(owned) if !owned.is_active() => ErrorCode::CoordinatorLoadInProgress,
            Some(owned)
                if request.creates_group(&owned.groups) && self.group_count() >= GROUPS_PER_SHARD_MAX =>
            {
                ErrorCode::CoordinatorNotAvailable
            }
            Some(_)
                if request.is_bulk_write() && self.bytes_in_flight >= GROUP_APPEND_BYTES_IN_FLIGHT_MAX =>
            {
                // The one retriable code for which clients do not look for another coordinator.
                ErrorCode::CoordinatorLoadInProgress
            }
            Some(_) => return None,
        };
        Some(request.refused_by_coordinator(error))
    }

    /// The records of an append are durable, with the offset of the last one, or could not be written. Appends of one
    /// partition may be reported in any order; they take effect in theirs. Unknown ids are ignored: the partition was
    /// given up meanwhile.
    pub fn on_persisted(&mut self, clock: Clock, append: AppendId, result: Result<Offset, ErrorCode>) {
        let Some(partition) = self.append_partitions.remove(&append) else { return };
        let owned = self.partitions.get_mut(&partition).expect("an append under way has its partition");
        owned.decided(append, result);
        self.finish_decided(clock, partition);
    }

    /// The records of an append are in the log and not on disk, which is full: whoever waits is answered with `error`,
    /// and what becomes of them is for [`on_written_late`](Self::on_written_late) to say.
    pub fn on_delayed(&mut self, clock: Clock, append: AppendId, error: ErrorCode) {
        let Some(&partition) = self.append_partitions.get(&append) else { return };
        let owned = self.partitions.get_mut(&partition).expect("an append under way has its partition");
        owned.delayed(append, error);
        self.finish_decided(clock, partition);
    }

    /// The records of an append that was delayed are on disk after all, with the offset of the last one: they take
    /// effect, for a start would find them. Or they never will be.
    pub fn on_written_late(&mut self, clock: Clock, append: AppendId, result: Result<Offset, ErrorCode>) {
        let Some(partition) = self.append_partitions.remove(&append) else { return };
        let owned = self.partitions.get_mut(&partition).expect("an append under way has its partition");
        let groups = owned.written_late(append, result);
        let config = Arc::clone(&self.config);
        self.finish(partition, Step::new(clock, &config), groups);
        self.finish_decided(clock, partition);
    }

    /// Lets appends take effect in their order, as far as what became of them is known.
    fn finish_decided(&mut self, clock: Clock, partition: i32) {
        let config = Arc::clone(&self.config);
        loop {
            let owned = self.partitions.get_mut(&partition).expect("finishing an append gives nothing up");
            let Some(finished) = owned.finish_next(Step::new(clock, &config)) else { break };
            let Finished { step, groups, bytes } = finished;
            self.bytes_in_flight -= bytes;
            self.finish(partition, step, groups);
        }
    }

    /// Serves the deadlines that have passed, some of them if there are many: the next deadline then has passed too.
    pub fn on_timeout(&mut self, clock: Clock) {
        let config = Arc::clone(&self.config);
        for _ in 0..GROUP_TIMERS_PER_CALL_MAX {
            if self.next_deadline().is_none_or(|deadline| deadline > clock.now) {
                return;
            }
            let (_, index, group_id) = self.timers.pop_first().expect("a deadline comes from a timer");
            let partition = self.partitions.get_mut(&index).expect("timers of a given up partition are gone");
            let mut step = Step::new(clock, &config);
            match group_id {
                Some(group_id) => {
                    if let Some(group) = partition.groups.get_mut(&group_id) {
                        group.armed_at = None;
                        group.fire(&mut step);
                    }
                    self.finish(index, step, vec![group_id]);
                }
                None => {
                    partition.sweep(&mut step);
                    let next = partition.sweep_at.expect("a search arms the next one");
                    self.timers.insert((next, index, None));
                    self.finish(index, step, Vec::new());
                }
            }
        }
    }

    /// Turns what an event caused into outputs, and brings the timers of the groups that it touched up to date.
    fn finish(&mut self, index: i32, step: Step<'_>, groups: impl IntoIterator<Item = Arc<str>>) {
        self.push_replies(step.replies);
        let partition = self.partitions.get_mut(&index).expect("an event belongs to an owned partition");
        for append in step.appends {
            let id = AppendId(self.next_append);
            self.next_append += 1;
            let records: Vec<CoordinatorRecord> = append.changes.iter().map(Change::encode).collect();
            let bytes = records.iter().map(CoordinatorRecord::bytes).sum();
            self.bytes_in_flight += bytes;
            self.append_partitions.insert(id, index);
            partition.sent(id, append, bytes);
            self.outputs.push_back(Output::Append { id, partition: index, records });
        }
        for group_id in groups {
            let Some(group) = partition.groups.get_mut(&group_id) else { continue };
            arm(&mut self.timers, index, group);
            if group.is_forgettable() && !partition.has_in_flight(&group_id) {
                forget(&mut self.timers, index, partition, &group_id);
            }
        }
    }

    fn push_replies(&mut self, replies: Vec<(Token, GroupReply)>) {
        self.outputs.extend(replies.into_iter().map(|(token, reply)| Output::Reply { token, reply }));
    }

    fn list(&self, request: &crate::group::request::ListGroups) -> GroupReply {
        crate::group::describe::list(request, &self.partitions)
    }
}

/// Moves the group's timer forward if it has a deadline before it.
fn arm(timers: &mut BTreeSet<TimerKey>, index: i32, group: &mut Group) {
    let Some(deadline) = group.earliest_deadline else { return };
    if group.armed_at.is_some_and(|armed| armed <= deadline) {
        return;
    }
    if let Some(armed) = group.armed_at {
        timers.remove(&(armed, index, Some(group.id.clone())));
    }
    timers.insert((deadline, index, Some(group.id.clone())));
    group.armed_at = Some(deadline);
}

/// Drops a group of which the log knows nothing and nobody waits for.
fn forget(timers: &mut BTreeSet<TimerKey>, index: i32, partition: &mut Partition, group_id: &Arc<str>) {
    if let Some(armed) = partition.groups.remove(group_id).and_then(|group| group.armed_at) {
        timers.remove(&(armed, index, Some(group_id.clone())));
    }
}

impl Coordinator {
    /// Checks what must hold of all groups between two events; for tests and simulations, as it looks at everything.
    ///
    /// # Panics
    /// If it does not.
    pub fn assert_consistent(&self) {
        for (index, partition) in &self.partitions {
            for group in partition.groups.values() {
                if partition.is_active() {
                    group.assert_consistent();
                    let armed = group.armed_at.map(|at| (at, *index, Some(group.id.clone())));
                    let queued = armed.is_none_or(|timer| self.timers.contains(&timer));
                    assert!(queued, "the timer of group {} is not queued", group.id);
                    let due = group.next_deadline();
                    let covered = due.is_none_or(|due| group.armed_at.is_some_and(|armed| armed <= due));
                    assert!(covered, "nothing wakes group {} at its deadline", group.id);
                }
            }
        }
    }

    /// A group as it is, for tests.
    #[cfg(test)]
    pub(crate) fn group(&self, partition: i32, group_id: &str) -> Option<&Group> {
        self.partitions.get(&partition)?.groups.get(group_id)
    }
}
