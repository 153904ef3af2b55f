//! OffsetCommit: who may commit, and which records that makes.
//!
//! Decides on the shard that owns the group and changes nothing: the offsets change when the records are durable and
//! replayed. What must hold: a member of an older generation never overwrites what a newer one committed; a consumer
//! without a group commits only where no group is active.

use std::sync::Arc;

use crate::errors::ErrorCode;
use crate::group::group::Group;
use crate::group::offsets::CommittedOffset;
use crate::group::records::Change;
use crate::group::reply::{CommitReply, CommittedTopic};
use crate::group::request::{CommitOffsets, CommitPartition, CommitTopic, NO_TOPIC_ID};
use crate::group::state::GroupState;
use crate::group::step::Clock;
use crate::ids::{Offset, TimestampMs};

/// Whether `request` may commit to `group`, `None` for a group that does not exist.
pub(crate) fn validate(group: Option<&Group>, request: &CommitOffsets) -> Result<(), ErrorCode> {
    let Some(group) = group else {
        // A consumer that assigns itself makes a simple group by committing.
        return match (request.generation_id, request.knows_group_id_not_found) {
            (..0, _) => Ok(()),
            (_, true) => Err(ErrorCode::GroupIdNotFound),
            (_, false) => Err(ErrorCode::IllegalGeneration),
        };
    };
    if group.is(GroupState::Dead) {
        return Err(ErrorCode::CoordinatorNotAvailable);
    }
    if request.generation_id < 0 && group.is(GroupState::Empty) {
        return Ok(());
    }
    let instance_id = request.group_instance_id.as_deref();
    if request.generation_id >= 0 || !request.member_id.is_empty() || instance_id.is_some() {
        group.validate_member(&request.member_id, instance_id)?;
        if request.generation_id != group.generation_id {
            return Err(ErrorCode::IllegalGeneration);
        }
    } else if !group.is(GroupState::Empty) {
        return Err(ErrorCode::UnknownMemberId);
    }
    if group.is(GroupState::CompletingRebalance) {
        // The member knows the new generation and not yet its assignment: it syncs first.
        return Err(ErrorCode::RebalanceInProgress);
    }
    Ok(())
}

/// Whether a valid commit of a member also keeps its session.
pub(crate) fn keeps_session(group: &Group) -> bool {
    matches!(group.state, GroupState::Stable | GroupState::PreparingRebalance)
}

/// The records of `request`, and the answer that stands once they are durable.
pub(crate) fn decide(
    request: &CommitOffsets,
    clock: Clock,
    metadata_units_max: i32,
) -> (Vec<Change>, CommitReply) {
    let group: Arc<str> = Arc::from(request.group_id.as_str());
    let retention = request.retention_time_ms;
    let expires_at = retention.map(|ms| TimestampMs(clock.wall.0.saturating_add(ms)));
    let mut changes = Vec::new();
    let mut reply = CommitReply::default();
    for topic in &request.topics {
        let name: Arc<str> = Arc::from(topic.name.as_str());
        let mut outcomes = Vec::with_capacity(topic.partitions.len());
        for partition in &topic.partitions {
            let error = metadata_error(partition, metadata_units_max);
            outcomes.push((partition.partition, error));
            if error.is_none() {
                let value = committed(topic, partition, clock.wall).expiring(expires_at);
                let (group, topic, partition) = (group.clone(), name.clone(), partition.partition);
                changes.push(Change::Offset { group, topic, partition, value: Some(value) });
            }
        }
        let (name, topic_id) = (topic.name.clone(), topic.topic_id);
        reply.topics.push(CommittedTopic { name, topic_id, partitions: outcomes });
    }
    (changes, reply)
}

fn committed(topic: &CommitTopic, partition: &CommitPartition, wall: TimestampMs) -> CommittedOffset {
    CommittedOffset {
        offset: partition.offset,
        leader_epoch: partition.leader_epoch,
        metadata: partition.metadata.as_deref().unwrap_or_default().into(),
        committed_at: wall,
        expires_at: None,
        topic_id: topic.topic_id,
        record_offset: Offset::NONE,
    }
}

impl CommittedOffset {
    /// The same with an expiry: the one version of the record that has it has no epoch and no topic id.
    fn expiring(self, expires_at: Option<TimestampMs>) -> Self {
        match expires_at {
            Some(_) => CommittedOffset { expires_at, leader_epoch: -1, topic_id: NO_TOPIC_ID, ..self },
            None => self,
        }
    }
}

/// Kafka counts the characters of a Java string, that is UTF-16 units.
fn metadata_error(partition: &CommitPartition, units_max: i32) -> ErrorCode {
    let Some(metadata) = &partition.metadata else { return ErrorCode::None };
    let units_max = usize::try_from(units_max).unwrap_or(0);
    // A string has no more UTF-16 units than bytes, which settles nearly every case without counting.
    if metadata.len() <= units_max || metadata.encode_utf16().count() <= units_max {
        ErrorCode::None
    } else {
        ErrorCode::OffsetMetadataTooLarge
    }
}
