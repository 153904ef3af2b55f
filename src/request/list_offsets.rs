//! ListOffsets (key 2, versions 1-11): the offset that a timestamp, or a special timestamp, stands for.
//!
//! The owner shard answers from its log; this file cuts the request, refuses what a version does not have, and
//! merges. A timestamp that no record reaches is offset -1 and timestamp -1 without an error.

use std::collections::BTreeSet;

use ottla_wire::list_offsets_request::{ListOffsetsRequest, ListOffsetsTopic};
use ottla_wire::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsResponse, ListOffsetsTopicResponse,
};

use crate::controller::image::Image;
use crate::errors::ErrorCode;
use crate::ids::{LeaderEpoch, Offset, TimestampMs, TopicIdPartition};
use crate::log::timestamp::FoundOffset;
use crate::request::places::Places;
use crate::request::{RequestContext, partition_by_name};

/// What an offset is looked up by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffsetSpec {
    /// -1: the end that the isolation level may see.
    Latest,
    /// -2: the log start offset.
    Earliest,
    /// -3 (KIP-734): the record with the largest timestamp.
    MaxTimestamp,
    /// -4 (KIP-405): the first offset on this broker's own disk.
    EarliestLocal,
    /// -5 (KIP-1005): the last offset in tiered storage, of which there is none.
    LatestTiered,
    /// -6 (KIP-1023): the first offset still to be tiered, of which there is none.
    EarliestPendingUpload,
    /// The first record at or after a time.
    At(TimestampMs),
}

impl OffsetSpec {
    /// Reads a request's timestamp, as far as `version` has it.
    fn from_timestamp(timestamp: i64, version: i16) -> Result<Self, ErrorCode> {
        let (spec, version_min) = match timestamp {
            -1 => (Self::Latest, 1),
            -2 => (Self::Earliest, 1),
            -3 => (Self::MaxTimestamp, 7),
            -4 => (Self::EarliestLocal, 8),
            -5 => (Self::LatestTiered, 9),
            -6 => (Self::EarliestPendingUpload, 11),
            0.. => (Self::At(TimestampMs(timestamp)), 1),
            _ => return Err(ErrorCode::UnsupportedVersion),
        };
        if version < version_min { Err(ErrorCode::UnsupportedVersion) } else { Ok(spec) }
    }
}

/// One partition's question for its owner shard.
#[derive(Clone, Copy, Debug)]
pub struct ListOffsetsPart {
    /// The place in the plan that the outcome goes back to.
    pub slot: u32,
    /// The partition.
    pub partition: TopicIdPartition,
    /// What is looked up.
    pub spec: OffsetSpec,
    /// Whether only what is decided may be seen: the last stable offset instead of the high watermark.
    pub read_committed: bool,
    /// The leader epoch that the client knows; -1 for none.
    pub current_leader_epoch: i32,
}

/// No record is that young.
pub const NOT_FOUND: FoundOffset =
    FoundOffset { timestamp: TimestampMs::NONE, offset: Offset::NONE, leader_epoch: LeaderEpoch::NONE };

/// From this version on the reply carries the record's leader epoch (KIP-320).
const LEADER_EPOCH_VERSION_MIN: i16 = 4;

/// A ListOffsets request between its frame and its reply.
#[derive(Debug)]
pub struct ListOffsetsPlan {
    with_epochs: bool,
    places: Places<Result<FoundOffset, ErrorCode>>,
}

impl ListOffsetsPlan {
    /// Cuts a request into questions for owner shards. A partition asked twice is refused both times, as Kafka does.
    #[must_use]
    pub fn new(
        context: &RequestContext<'_>,
        image: &Image,
        request: &ListOffsetsRequest<'_>,
    ) -> (Self, Vec<ListOffsetsPart>) {
        let mut places = Places::default();
        let mut parts = Vec::new();
        let repeated = repeated(&request.topics);
        for topic in &request.topics {
            places.topic(&topic.name, ottla_wire::Uuid::ZERO);
            for partition in &topic.partitions {
                let slot = places.partition(partition.partition_index);
                let checked = if repeated.contains(&(&*topic.name, partition.partition_index)) {
                    Err(ErrorCode::InvalidRequest)
                } else {
                    OffsetSpec::from_timestamp(partition.timestamp, context.version)
                };
                let target = partition_by_name(image, &topic.name, partition.partition_index);
                match checked.and_then(|spec| Ok((spec, target?))) {
                    Ok((spec, id)) => parts.push(ListOffsetsPart {
                        slot,
                        partition: id,
                        spec,
                        read_committed: request.isolation_level == 1,
                        current_leader_epoch: partition.current_leader_epoch,
                    }),
                    Err(error) => places.answer(slot, Err(error)),
                }
            }
        }
        (Self { with_epochs: context.version >= LEADER_EPOCH_VERSION_MIN, places }, parts)
    }

    /// Puts one part's outcome into its place.
    pub fn answer(&mut self, slot: u32, outcome: Result<FoundOffset, ErrorCode>) {
        self.places.answer(slot, outcome);
    }

    /// The reply, in the request's order.
    #[must_use]
    pub fn into_reply(self) -> ListOffsetsResponse<'static> {
        let with_epochs = self.with_epochs;
        let topics = self.places.into_topics().map(|topic| ListOffsetsTopicResponse {
            name: topic.name.into(),
            partitions: topic
                .partitions
                .into_iter()
                .map(|found| partition_reply(found, with_epochs))
                .collect(),
        });
        ListOffsetsResponse { topics: topics.collect(), ..ListOffsetsResponse::default() }
    }
}

/// The partitions that are named more than once, be it under one topic or under the same one again.
fn repeated<'a>(topics: &'a [ListOffsetsTopic<'_>]) -> BTreeSet<(&'a str, i32)> {
    let numbers = |topic: &'a ListOffsetsTopic<'_>| {
        topic.partitions.iter().map(|partition| (&*topic.name, partition.partition_index))
    };
    let mut named: Vec<(&str, i32)> = topics.iter().flat_map(numbers).collect();
    named.sort_unstable();
    named.windows(2).filter(|two| two[0] == two[1]).map(|two| two[0]).collect()
}

fn partition_reply(
    (partition_index, outcome): (i32, Result<FoundOffset, ErrorCode>),
    with_epochs: bool,
) -> ListOffsetsPartitionResponse {
    let (error, found) = match outcome {
        Ok(found) => (ErrorCode::None, found),
        Err(error) => (error, NOT_FOUND),
    };
    ListOffsetsPartitionResponse {
        partition_index,
        error_code: error.code(),
        timestamp: found.timestamp.0,
        offset: found.offset.0,
        leader_epoch: if with_epochs { found.leader_epoch.0 } else { LeaderEpoch::NONE.0 },
    }
}

#[cfg(test)]
mod tests {
    use ottla_wire::list_offsets_request::ListOffsetsPartition;

    use super::*;

    #[test]
    fn special_timestamps_begin_with_their_versions() {
        for (timestamp, version_min) in [(-1, 1), (-2, 1), (-3, 7), (-4, 8), (-5, 9), (-6, 11), (0, 1)] {
            assert!(OffsetSpec::from_timestamp(timestamp, version_min).is_ok(), "{timestamp}");
            if version_min > 1 {
                let refused = OffsetSpec::from_timestamp(timestamp, version_min - 1);
                assert_eq!(refused, Err(ErrorCode::UnsupportedVersion), "{timestamp}");
            }
        }
        assert_eq!(OffsetSpec::from_timestamp(-7, 11), Err(ErrorCode::UnsupportedVersion));
    }

    #[test]
    fn a_partition_is_named_again_wherever_that_is() {
        let topic = |name: &'static str, partitions: &[i32]| ListOffsetsTopic {
            name: name.into(),
            partitions: partitions
                .iter()
                .map(|index| ListOffsetsPartition { partition_index: *index, ..Default::default() })
                .collect(),
        };
        let topics = [topic("a", &[0, 1, 1]), topic("b", &[0, 2]), topic("a", &[2, 0]), topic("a", &[])];
        assert_eq!(repeated(&topics), [("a", 0), ("a", 1)].into());
    }
}
