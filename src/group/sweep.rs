//! The search for expired offsets and groups, and the tombstones that it and deletions write.
//!
//! Runs on the shard that owns the partition, a bounded number of groups and offsets at a time, so that it never
//! holds up requests for long. On disk: tombstones, in appends of a bounded size. What must hold: a group with a
//! write under way is passed over, else a commit that is not yet durable could be followed by the tombstone of the
//! offset that it replaces.

use std::collections::BTreeSet;
use std::ops::Bound;

use crate::group::group::Group;
use crate::group::offsets::delete::{OffsetKey, group_tombstones, tombstone};
use crate::group::offsets::expiry::{is_expired, retention};
use crate::group::partition::{DeletedTopic, Partition};
use crate::group::records::Change;
use crate::group::state::GroupState;
use crate::group::step::{Step, Then};
use crate::limits::{
    GROUP_SWEEP_GROUPS_MAX, GROUP_SWEEP_OFFSETS_MAX, GROUP_TOMBSTONE_BYTES_PER_APPEND_MAX,
    GROUP_TOMBSTONES_PER_APPEND_MAX,
};

/// Milliseconds between two steps of one search: what waits for the shard comes first.
const STEP_INTERVAL_MS: i64 = 1;

impl Partition {
    /// One step of the search; arms the next step, or the next search.
    pub(crate) fn sweep(&mut self, step: &mut Step<'_>) {
        let from = self.sweep_from.take();
        let start = from.map_or(Bound::Unbounded, Bound::Included);
        let mut looked_at = 0;
        let mut groups = Vec::new();
        for (group_id, group) in self.groups.range((start, Bound::Unbounded)) {
            if groups.len() >= GROUP_SWEEP_GROUPS_MAX || looked_at >= GROUP_SWEEP_OFFSETS_MAX {
                self.sweep_from = Some(group_id.clone());
                break;
            }
            looked_at += group.offsets.len();
            groups.push(group_id.clone());
        }
        let mut changes = Vec::new();
        let mut buried = Vec::new();
        for group_id in groups {
            if self.has_in_flight(&group_id) {
                continue;
            }
            let group = self.groups.get_mut(&group_id).expect("the groups were just read");
            let (expired, ends) = expired(group, step);
            if ends {
                group.become_state_dead(step);
                changes.extend(group_tombstones(&group_id, &expired));
                buried.push(group_id);
            } else {
                changes
                    .extend(expired.iter().map(|(topic, partition)| tombstone(&group_id, topic, *partition)));
            }
        }
        append_tombstones(step, changes, Then::Bury(buried));
        let interval_ms = match self.sweep_from {
            Some(_) => STEP_INTERVAL_MS,
            None => step.config.offsets_retention_check_interval_ms,
        };
        self.sweep_at = Some(step.clock.now.after_ms(interval_ms));
    }

    /// Ends the offsets of topics that are gone.
    pub(crate) fn forget_topics(&self, step: &mut Step<'_>, topics: &[DeletedTopic]) {
        let keys = self.offsets_of_deleted(topics);
        let changes = keys.iter().map(|(group, topic, partition)| tombstone(group, topic, *partition));
        append_tombstones(step, changes.collect(), Then::Nothing);
    }
}

impl Group {
    /// The group's tombstones are under way; how long it has been empty stays known in case they fail.
    pub(crate) fn become_state_dead(&mut self, step: &Step<'_>) {
        let since = self.state_since;
        self.become_state(GroupState::Dead, step.clock.wall);
        self.state_since = since;
    }
}

/// The offsets of `group` that are past their retention, and whether the group itself ends with them.
fn expired(group: &Group, step: &Step<'_>) -> (BTreeSet<OffsetKey>, bool) {
    let rule = retention(group);
    let retention_ms = step.config.offsets_retention_ms;
    let mut keys = BTreeSet::new();
    for (topic, partitions) in group.offsets.topics().filter(|(topic, _)| !group.is_subscribed_to(topic)) {
        let expired = partitions.iter().filter(|(_, o)| is_expired(rule, o, step.clock.wall, retention_ms));
        keys.extend(expired.map(|(partition, _)| (topic.clone(), *partition)));
    }
    let ends =
        group.is(GroupState::Empty) && group.pending_joins.is_empty() && keys.len() == group.offsets.len();
    (keys, ends)
}

/// Appends tombstones in pieces of a bounded size; `then` follows the last of them, because the last record of a
/// group is its own tombstone.
pub(crate) fn append_tombstones(step: &mut Step<'_>, changes: Vec<Change>, then: Then) {
    let mut piece = Vec::new();
    let mut bytes = 0;
    for change in changes {
        let size = change.encode().bytes();
        let full = piece.len() >= GROUP_TOMBSTONES_PER_APPEND_MAX
            || (!piece.is_empty() && bytes + size > GROUP_TOMBSTONE_BYTES_PER_APPEND_MAX);
        if full {
            step.append(std::mem::take(&mut piece), Then::Nothing);
            bytes = 0;
        }
        bytes += size;
        piece.push(change);
    }
    if !piece.is_empty() {
        step.append(piece, then);
    }
}
