//! OffsetCommit, versions 2 to 10.
//!
//! On the connection's shard; the plan lives as long as the request. Topics are looked up before the coordinator is
//! asked: an offset of a topic or partition that does not exist is refused here. What must hold: every partition of
//! the request is answered, in its order; the coordinator is asked only for what exists.

use ottla_wire::offset_commit_request::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use ottla_wire::offset_commit_response::{
    OffsetCommitResponse, OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};

use super::{TopicNames, expect_reply, owned, text};
use crate::errors::ErrorCode;
use crate::group::reply::GroupReply;
use crate::group::request::{CommitOffsets, CommitPartition, CommitTopic, GroupRequest, NO_TOPIC_ID};
use crate::ids::TopicId;

/// Topics are named by id (KIP-848).
const TOPIC_IDS_FROM: i16 = 10;
/// An unknown group is GROUP_ID_NOT_FOUND.
const GROUP_ID_NOT_FOUND_FROM: i16 = 9;

/// What the response will say, as far as it is known without the coordinator.
#[derive(Debug)]
pub struct CommitPlan {
    topics: Vec<PlannedTopic>,
}

#[derive(Debug)]
struct PlannedTopic {
    name: String,
    topic_id: TopicId,
    /// NONE where the coordinator decides.
    partitions: Vec<(i32, ErrorCode)>,
}

/// The plan, and the coordinator's request unless nothing of it exists.
#[must_use]
pub fn decode(
    version: i16,
    request: &OffsetCommitRequest<'_>,
    names: &impl TopicNames,
) -> (CommitPlan, Option<GroupRequest>) {
    let mut planned = Vec::with_capacity(request.topics.len());
    let mut asked = Vec::new();
    for topic in &request.topics {
        let found = identify(version, topic, names);
        let (name, topic_id) = match &found {
            Ok((name, topic_id)) => (name.clone(), *topic_id),
            Err(_) => (topic.name.to_string(), topic.topic_id),
        };
        let partitions = topic.partitions.iter().map(|partition| match found {
            Err(error) => (partition.partition_index, error),
            Ok((_, topic_id)) if !names.has_partition(topic_id, partition.partition_index) => {
                (partition.partition_index, ErrorCode::UnknownTopicOrPartition)
            }
            Ok(_) => (partition.partition_index, ErrorCode::None),
        });
        let partitions: Vec<(i32, ErrorCode)> = partitions.collect();
        let existing = topic.partitions.iter().zip(&partitions).filter(|(_, (_, error))| error.is_none());
        let existing: Vec<CommitPartition> = existing.map(|(partition, _)| commit(partition)).collect();
        if !existing.is_empty() {
            asked.push(CommitTopic { name: name.clone(), topic_id, partitions: existing });
        }
        planned.push(PlannedTopic { name, topic_id, partitions });
    }
    let request = (!asked.is_empty()).then(|| GroupRequest::CommitOffsets(ask(version, request, asked)));
    (CommitPlan { topics: planned }, request)
}

/// The topic that the request means, if it exists.
fn identify(
    version: i16,
    topic: &OffsetCommitRequestTopic<'_>,
    names: &impl TopicNames,
) -> Result<(String, TopicId), ErrorCode> {
    if version >= TOPIC_IDS_FROM {
        let name = names.name_of(topic.topic_id).ok_or(ErrorCode::UnknownTopicId)?;
        return Ok((name.to_owned(), topic.topic_id));
    }
    let topic_id = names.id_of(&topic.name).filter(|topic_id| *topic_id != NO_TOPIC_ID);
    let topic_id = topic_id.ok_or(ErrorCode::UnknownTopicOrPartition)?;
    Ok((topic.name.to_string(), topic_id))
}

fn commit(partition: &OffsetCommitRequestPartition<'_>) -> CommitPartition {
    CommitPartition {
        partition: partition.partition_index,
        offset: partition.committed_offset,
        leader_epoch: partition.committed_leader_epoch,
        metadata: owned(&partition.committed_metadata),
    }
}

fn ask(version: i16, request: &OffsetCommitRequest<'_>, topics: Vec<CommitTopic>) -> CommitOffsets {
    CommitOffsets {
        group_id: request.group_id.to_string(),
        member_id: request.member_id.to_string(),
        group_instance_id: owned(&request.group_instance_id),
        generation_id: request.generation_id_or_member_epoch,
        knows_group_id_not_found: version >= GROUP_ID_NOT_FOUND_FROM,
        retention_time_ms: (request.retention_time_ms != -1).then_some(request.retention_time_ms),
        topics,
    }
}

impl CommitPlan {
    /// The response of any version; `reply` is the coordinator's, if it was asked.
    ///
    /// # Panics
    /// If the reply is of another kind, or does not answer what was asked.
    #[must_use]
    pub fn encode(self, reply: Option<GroupReply>) -> OffsetCommitResponse<'static> {
        let topics = reply.map(|reply| expect_reply!(reply, CommitOffsets).topics).unwrap_or_default();
        let mut outcomes = topics.into_iter().flat_map(|topic| topic.partitions);
        let topics = self.topics.into_iter().map(|topic| {
            let partitions = topic.partitions.into_iter().map(|(partition_index, planned)| {
                let error = match planned {
                    ErrorCode::None => {
                        let outcome = outcomes.next().expect("every existing partition is answered");
                        assert_eq!(outcome.0, partition_index, "outcomes stand in the order of the request");
                        outcome.1
                    }
                    error => error,
                };
                OffsetCommitResponsePartition { partition_index, error_code: error.code() }
            });
            let partitions = partitions.collect();
            OffsetCommitResponseTopic { name: text(topic.name), topic_id: topic.topic_id, partitions }
        });
        OffsetCommitResponse { throttle_time_ms: 0, topics: topics.collect() }
    }
}
