//! OffsetDelete, version 0.
//!
//! On the connection's shard; the plan lives as long as the request. What must hold: every partition of the request is
//! answered in its order, unless the group as a whole is the error.

use ottla_wire::offset_delete_request::OffsetDeleteRequest;
use ottla_wire::offset_delete_response::{
    OffsetDeleteResponse, OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};

use super::{TopicNames, expect_reply, text};
use crate::errors::ErrorCode;
use crate::group::reply::GroupReply;
use crate::group::request::{DeleteOffsets, GroupRequest};

/// What the response will say, as far as it is known without the coordinator: NONE where it decides.
#[derive(Debug)]
pub struct DeletePlan {
    topics: Vec<(String, Vec<(i32, ErrorCode)>)>,
}

/// The plan and the coordinator's request, which is asked in any case: it knows whether the group exists.
#[must_use]
pub fn decode(request: &OffsetDeleteRequest<'_>, names: &impl TopicNames) -> (DeletePlan, GroupRequest) {
    let mut planned = Vec::with_capacity(request.topics.len());
    let mut asked = Vec::new();
    for topic in &request.topics {
        let topic_id = names.id_of(&topic.name);
        let partitions = topic.partitions.iter().map(|partition| {
            let index = partition.partition_index;
            let exists = topic_id.is_some_and(|topic_id| names.has_partition(topic_id, index));
            (index, if exists { ErrorCode::None } else { ErrorCode::UnknownTopicOrPartition })
        });
        let partitions: Vec<(i32, ErrorCode)> = partitions.collect();
        let existing = partitions.iter().filter(|(_, error)| error.is_none()).map(|(index, _)| *index);
        let existing: Vec<i32> = existing.collect();
        if !existing.is_empty() {
            asked.push((topic.name.to_string(), existing));
        }
        planned.push((topic.name.to_string(), partitions));
    }
    let request = DeleteOffsets { group_id: request.group_id.to_string(), topics: asked };
    (DeletePlan { topics: planned }, GroupRequest::DeleteOffsets(request))
}

impl DeletePlan {
    /// The response.
    ///
    /// # Panics
    /// If the reply is of another kind, or does not answer what was asked.
    #[must_use]
    pub fn encode(self, reply: GroupReply) -> OffsetDeleteResponse<'static> {
        let reply = expect_reply!(reply, DeleteOffsets);
        let error_code = reply.error.code();
        if !reply.error.is_none() {
            return OffsetDeleteResponse { error_code, throttle_time_ms: 0, topics: Vec::new() };
        }
        let mut outcomes = reply.topics.into_iter().flat_map(|(_, partitions)| partitions);
        let topics = self.topics.into_iter().map(|(name, partitions)| {
            let partitions = partitions.into_iter().map(|(partition_index, planned)| {
                let error = match planned {
                    ErrorCode::None => outcomes.next().expect("every existing partition is answered").1,
                    error => error,
                };
                OffsetDeleteResponsePartition { partition_index, error_code: error.code() }
            });
            OffsetDeleteResponseTopic { name: text(name), partitions: partitions.collect() }
        });
        OffsetDeleteResponse { error_code, throttle_time_ms: 0, topics: topics.collect() }
    }
}
