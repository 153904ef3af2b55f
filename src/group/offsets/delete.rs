//! The ends of offsets and groups by request: OffsetDelete, DeleteGroups, deleted topics.
//!
//! Decides on the shard that owns the group and changes nothing but the state Dead of a group whose tombstones are
//! under way. What must hold: a tombstone is written also for an offset whose commit is still on its way to the disk,
//! so that what was committed before a deletion does not come back after it.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::errors::ErrorCode;
use crate::group::group::Group;
use crate::group::records::Change;
use crate::group::reply::DeleteOffsetsReply;
use crate::group::request::DeleteOffsets;
use crate::group::state::GroupState;

/// A topic and partition with an offset of some group.
pub(crate) type OffsetKey = (Arc<str>, i32);

/// Whether offsets of `group` may be deleted at all: only consumers say which topics they still read.
fn validate(group: Option<&Group>) -> Result<&Group, ErrorCode> {
    let group = group.ok_or(ErrorCode::GroupIdNotFound)?;
    match group.state {
        GroupState::Dead => Err(ErrorCode::GroupIdNotFound),
        GroupState::Empty => Ok(group),
        GroupState::PreparingRebalance | GroupState::CompletingRebalance | GroupState::Stable => {
            if group.is_consumer() { Ok(group) } else { Err(ErrorCode::NonEmptyGroup) }
        }
    }
}

/// The tombstones of an OffsetDelete and the answer that stands once they are durable. `keys` are the offsets of the
/// group, those under way included.
pub(crate) fn decide(
    group: Option<&Group>,
    request: &DeleteOffsets,
    keys: &BTreeSet<OffsetKey>,
) -> (Vec<Change>, DeleteOffsetsReply) {
    let group = match validate(group) {
        Ok(group) => group,
        Err(error) => return (Vec::new(), DeleteOffsetsReply { error, topics: Vec::new() }),
    };
    let mut changes = Vec::new();
    let mut topics = Vec::with_capacity(request.topics.len());
    for (name, partitions) in &request.topics {
        let subscribed = group.is_subscribed_to(name);
        let error = if subscribed { ErrorCode::GroupSubscribedToTopic } else { ErrorCode::None };
        topics.push((name.clone(), partitions.iter().map(|partition| (*partition, error)).collect()));
        let topic: Arc<str> = Arc::from(name.as_str());
        for partition in partitions.iter().filter(|_| !subscribed) {
            if keys.contains(&(topic.clone(), *partition)) {
                changes.push(tombstone(&group.id, &topic, *partition));
            }
        }
    }
    (changes, DeleteOffsetsReply { error: ErrorCode::None, topics })
}

/// Whether `group` may be deleted.
pub(crate) fn validate_group(group: Option<&Group>) -> Result<(), ErrorCode> {
    match group.map(|group| group.state) {
        None | Some(GroupState::Dead) => Err(ErrorCode::GroupIdNotFound),
        Some(GroupState::Empty) => Ok(()),
        Some(GroupState::PreparingRebalance | GroupState::CompletingRebalance | GroupState::Stable) => {
            Err(ErrorCode::NonEmptyGroup)
        }
    }
}

/// The tombstones of a group and of its offsets `keys`, the group's last.
pub(crate) fn group_tombstones(group: &Arc<str>, keys: &BTreeSet<OffsetKey>) -> Vec<Change> {
    let offsets = keys.iter().map(|(topic, partition)| tombstone(group, topic, *partition));
    offsets.chain([Change::Group { group: group.clone(), value: None }]).collect()
}

/// The end of one offset.
pub(crate) fn tombstone(group: &Arc<str>, topic: &Arc<str>, partition: i32) -> Change {
    Change::Offset { group: group.clone(), topic: topic.clone(), partition, value: None }
}
