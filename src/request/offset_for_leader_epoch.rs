//! OffsetForLeaderEpoch (key 23, versions 2-4): where an epoch's records end, for a client that validates its
//! position after a leader change (KIP-101, KIP-279, KIP-320).

use ottla_wire::offset_for_leader_epoch_request::OffsetForLeaderEpochRequest;
use ottla_wire::offset_for_leader_epoch_response as wire;
use ottla_wire::offset_for_leader_epoch_response::{
    OffsetForLeaderEpochResponse, OffsetForLeaderTopicResult,
};

use crate::controller::image::Image;
use crate::errors::ErrorCode;
use crate::ids::{LeaderEpoch, TopicIdPartition};
use crate::log::EpochEndOffset;
use crate::request::partition_by_name;
use crate::request::places::Places;

/// One partition's question for its owner shard.
#[derive(Clone, Copy, Debug)]
pub struct EpochPart {
    /// The place in the plan that the outcome goes back to.
    pub slot: u32,
    /// The partition.
    pub partition: TopicIdPartition,
    /// The leader epoch that the client knows; -1 for none.
    pub current_leader_epoch: i32,
    /// The epoch whose end is asked for.
    pub leader_epoch: LeaderEpoch,
}

/// An OffsetForLeaderEpoch request between its frame and its reply.
#[derive(Debug)]
pub struct EpochPlan {
    places: Places<Result<EpochEndOffset, ErrorCode>>,
}

impl EpochPlan {
    /// Cuts a request into questions for owner shards.
    #[must_use]
    pub fn new(image: &Image, request: &OffsetForLeaderEpochRequest<'_>) -> (Self, Vec<EpochPart>) {
        let mut places = Places::default();
        let mut parts = Vec::new();
        for topic in &request.topics {
            places.topic(&topic.topic, ottla_wire::Uuid::ZERO);
            for asked in &topic.partitions {
                let slot = places.partition(asked.partition);
                match partition_by_name(image, &topic.topic, asked.partition) {
                    Ok(partition) => parts.push(EpochPart {
                        slot,
                        partition,
                        current_leader_epoch: asked.current_leader_epoch,
                        leader_epoch: LeaderEpoch(asked.leader_epoch),
                    }),
                    Err(error) => places.answer(slot, Err(error)),
                }
            }
        }
        (Self { places }, parts)
    }

    /// Puts one part's outcome into its place.
    pub fn answer(&mut self, slot: u32, outcome: Result<EpochEndOffset, ErrorCode>) {
        self.places.answer(slot, outcome);
    }

    /// The reply, in the request's order.
    #[must_use]
    pub fn into_reply(self) -> OffsetForLeaderEpochResponse<'static> {
        let topics = self.places.into_topics().map(|topic| OffsetForLeaderTopicResult {
            topic: topic.name.into(),
            partitions: topic.partitions.into_iter().map(partition_reply).collect(),
        });
        OffsetForLeaderEpochResponse { topics: topics.collect(), ..OffsetForLeaderEpochResponse::default() }
    }
}

fn partition_reply((partition, outcome): (i32, Result<EpochEndOffset, ErrorCode>)) -> wire::EpochEndOffset {
    let unknown = |error| (error, EpochEndOffset::UNDEFINED);
    let (error, end) = outcome.map_or_else(unknown, |end| (ErrorCode::None, end));
    wire::EpochEndOffset {
        error_code: error.code(),
        partition,
        leader_epoch: end.epoch.0,
        end_offset: end.end_offset.0,
    }
}
