//! DeleteRecords (key 21, versions 0-2): moves a partition's log start offset up, so that everything before it is
//! gone for readers at once and from the disk later (KIP-107).

use ottla_wire::delete_records_request::DeleteRecordsRequest;
use ottla_wire::delete_records_response::{
    DeleteRecordsPartitionResult, DeleteRecordsResponse, DeleteRecordsTopicResult,
};

use crate::controller::image::Image;
use crate::controller::names;
use crate::errors::ErrorCode;
use crate::ids::{Offset, TopicIdPartition};
use crate::request::partition_by_name;
use crate::request::places::Places;

/// What a request has for the high watermark in place of an offset.
const HIGH_WATERMARK: i64 = -1;

/// One partition's order for its owner shard.
#[derive(Clone, Copy, Debug)]
pub struct DeleteRecordsPart {
    /// The place in the plan that the outcome goes back to.
    pub slot: u32,
    /// The partition.
    pub partition: TopicIdPartition,
    /// The new log start offset; `None` for the high watermark (-1 in the request). Whether it is an offset at all the
    /// owner says, after it has looked at the topic's `cleanup.policy`.
    pub before: Option<Offset>,
}

/// A DeleteRecords request between its frame and its reply.
#[derive(Debug)]
pub struct DeleteRecordsPlan {
    places: Places<Result<Offset, ErrorCode>>,
}

impl DeleteRecordsPlan {
    /// Cuts a request into orders for owner shards. Internal topics are refused, as Kafka refuses them.
    #[must_use]
    pub fn new(image: &Image, request: &DeleteRecordsRequest<'_>) -> (Self, Vec<DeleteRecordsPart>) {
        let mut places = Places::default();
        let mut parts = Vec::new();
        for topic in &request.topics {
            places.topic(&topic.name, ottla_wire::Uuid::ZERO);
            for asked in &topic.partitions {
                let slot = places.partition(asked.partition_index);
                match target(image, &topic.name, asked.partition_index, asked.offset) {
                    Ok((partition, before)) => parts.push(DeleteRecordsPart { slot, partition, before }),
                    Err(error) => places.answer(slot, Err(error)),
                }
            }
        }
        (Self { places }, parts)
    }

    /// Puts one part's outcome, the new low watermark, into its place.
    pub fn answer(&mut self, slot: u32, outcome: Result<Offset, ErrorCode>) {
        self.places.answer(slot, outcome);
    }

    /// The reply, in the request's order.
    #[must_use]
    pub fn into_reply(self) -> DeleteRecordsResponse<'static> {
        let topics = self.places.into_topics().map(|topic| DeleteRecordsTopicResult {
            name: topic.name.into(),
            partitions: topic.partitions.into_iter().map(partition_reply).collect(),
        });
        DeleteRecordsResponse { topics: topics.collect(), ..DeleteRecordsResponse::default() }
    }
}

/// The partition and the offset of one order, or why it is refused.
fn target(
    image: &Image,
    topic: &str,
    index: i32,
    offset: i64,
) -> Result<(TopicIdPartition, Option<Offset>), ErrorCode> {
    let partition = partition_by_name(image, topic, index)?;
    if names::is_internal(topic) {
        return Err(ErrorCode::InvalidTopicException);
    }
    Ok((partition, (offset != HIGH_WATERMARK).then_some(Offset(offset))))
}

fn partition_reply(
    (partition_index, outcome): (i32, Result<Offset, ErrorCode>),
) -> DeleteRecordsPartitionResult {
    let (error, low) = outcome.map_or_else(|error| (error, Offset::NONE), |low| (ErrorCode::None, low));
    DeleteRecordsPartitionResult { partition_index, low_watermark: low.0, error_code: error.code() }
}
