//! Produce (key 0, versions 3-13): a request is cut into one part per partition, the parts go to their owner
//! shards, and the outcomes come back into the places that the request gave them.
//!
//! The connection's shard owns a plan from the frame to the reply. Record bytes are never copied here: a part
//! holds a counted slice of the frame. What must hold: every partition of the request is answered exactly once,
//! in the request's order (KIP-110, KIP-467, KIP-516 for ids from version 13 on).

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use ottla_wire::Records;
use ottla_wire::produce_request::{PartitionProduceData, ProduceRequest};
use ottla_wire::produce_response::{
    BatchIndexAndErrorMessage, PartitionProduceResponse, ProduceResponse, TopicProduceResponse,
};

use crate::controller::image::{Image, TopicImage};
use crate::controller::names;
use crate::errors::ErrorCode;
use crate::ids::{Offset, TimestampMs, TopicIdPartition};
use crate::protocol::records::BatchHeader;
use crate::request::RequestContext;
use crate::request::places::Places;

/// From this version on a batch may be compressed with zstd (KIP-110).
const ZSTD_VERSION_MIN: i16 = 7;
/// From this version on topics are named by id (KIP-516).
const TOPIC_ID_VERSION_MIN: i16 = 13;
/// The one client that may write to internal topics, as in Kafka's `AdminUtils`.
const ADMIN_CLIENT_ID: &str = "__admin_client";

/// The acknowledgement that a producer asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acks {
    /// `acks=0`: no reply at all; an error closes the connection.
    None,
    /// `acks=1`: the leader has the records, durably unless the topic relaxes it.
    Leader,
    /// `acks=all`: every in-sync replica has them.
    All,
}

/// One partition's records on their way to the owner shard.
#[derive(Clone, Debug)]
pub struct ProducePart {
    /// The place in the plan that the outcome goes back to.
    pub slot: u32,
    /// The partition.
    pub partition: TopicIdPartition,
    /// The batch, as it came: a slice of the request's frame.
    pub records: Bytes,
    /// Whether this request's version may carry zstd.
    pub zstd_allowed: bool,
}

/// What became of one part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProduceOutcome {
    /// The error, or none.
    pub error: ErrorCode,
    /// One sentence for the client's log.
    pub message: Option<Cow<'static, str>>,
    /// The offset of the batch's first record; -1 with an error.
    pub base_offset: Offset,
    /// The broker's time on the records where the topic says so; else -1.
    pub log_append_time: TimestampMs,
    /// The partition's log start offset; -1 where unknown.
    pub log_start_offset: Offset,
    /// The records that were refused, by their index in the batch (KIP-467).
    pub record_errors: Vec<(i32, String)>,
}

impl ProduceOutcome {
    /// A refusal without further detail.
    #[must_use]
    pub fn refused(error: ErrorCode) -> Self {
        Self {
            error,
            message: None,
            base_offset: Offset::NONE,
            log_append_time: TimestampMs::NONE,
            log_start_offset: Offset::NONE,
            record_errors: Vec::new(),
        }
    }

    /// A refusal with a sentence for the client's log.
    #[must_use]
    pub fn refused_because(error: ErrorCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self { message: Some(message.into()), ..Self::refused(error) }
    }
}

/// A Produce request between its frame and its reply.
#[derive(Debug)]
pub struct ProducePlan {
    /// What the producer waits for.
    pub acks: Acks,
    /// How long the producer allows the replicas, in milliseconds.
    pub timeout_ms: i32,
    places: Places<ProduceOutcome>,
}

impl ProducePlan {
    /// Cuts `request`, whose bytes lie in `frame`, into parts. Partitions that cannot be served already have
    /// their outcome in the plan and make no part.
    #[must_use]
    pub fn new(
        context: &RequestContext<'_>,
        image: &Image,
        frame: &Bytes,
        request: &ProduceRequest<'_>,
    ) -> (Self, Vec<ProducePart>) {
        let acks = match request.acks {
            0 => Some(Acks::None),
            1 => Some(Acks::Leader),
            -1 => Some(Acks::All),
            _ => None,
        };
        let request_error = request_error(request, acks);
        let mut places = Places::default();
        let mut parts = Vec::new();
        for data in &request.topic_data {
            let topic = if context.version >= TOPIC_ID_VERSION_MIN {
                image.topics.by_id(data.topic_id).ok_or(ErrorCode::UnknownTopicId)
            } else {
                image.topics.by_name(&data.name).ok_or(ErrorCode::UnknownTopicOrPartition)
            };
            places.topic(&data.name, data.topic_id);
            for partition in &data.partition_data {
                let slot = places.partition(partition.index);
                let checked = match &request_error {
                    Some(outcome) => Err(outcome.clone()),
                    None => target(context, topic, partition.index),
                };
                match checked.and_then(|id| Ok((id, slice_of(frame, partition.records.as_ref())?))) {
                    Ok((partition, records)) => {
                        let zstd_allowed = context.version >= ZSTD_VERSION_MIN;
                        parts.push(ProducePart { slot, partition, records, zstd_allowed });
                    }
                    Err(outcome) => places.answer(slot, outcome),
                }
            }
        }
        let acks = acks.unwrap_or(Acks::Leader);
        (Self { acks, timeout_ms: request.timeout_ms, places }, parts)
    }

    /// Puts one part's outcome into its place.
    ///
    /// # Panics
    /// When the slot is not of this plan or is answered twice.
    pub fn answer(&mut self, slot: u32, outcome: ProduceOutcome) {
        self.places.answer(slot, outcome);
    }

    /// Whether any partition failed: with `acks=0` that closes the connection, for want of a reply.
    #[must_use]
    pub fn has_error(&self) -> bool {
        self.places.outcomes().any(|outcome| !outcome.error.is_none())
    }

    /// The reply, in the request's order.
    ///
    /// # Panics
    /// When a part was never answered.
    #[must_use]
    pub fn into_reply(self) -> ProduceResponse<'static> {
        let responses = self.places.into_topics().map(|topic| TopicProduceResponse {
            name: topic.name.into(),
            topic_id: topic.id,
            partition_responses: topic.partitions.into_iter().map(partition_reply).collect(),
        });
        ProduceResponse { responses: responses.collect(), ..ProduceResponse::default() }
    }
}

/// The error that refuses every partition of the request alike. One transactional batch is enough: whose transaction
/// it is, only the request's transactional id says (Kafka's `KafkaApis.handleProduceRequest`).
fn request_error(request: &ProduceRequest<'_>, acks: Option<Acks>) -> Option<ProduceOutcome> {
    let refused = |why: &'static str| {
        ProduceOutcome::refused_because(ErrorCode::TransactionalIdAuthorizationFailed, why)
    };
    if request.transactional_id.is_some() {
        return Some(refused("This broker does not serve transactions yet."));
    }
    if request.topic_data.iter().flat_map(|topic| &topic.partition_data).any(is_transactional) {
        return Some(refused("A batch of a transaction comes with a transactional id."));
    }
    acks.is_none().then(|| ProduceOutcome::refused(ErrorCode::InvalidRequiredAcks))
}

/// Whether a partition's batch says that it belongs to a transaction. What is no batch is refused by its owner.
fn is_transactional(data: &PartitionProduceData<'_>) -> bool {
    match &data.records {
        Some(Records::Inline(bytes)) => {
            BatchHeader::parse(bytes).is_ok_and(|header| header.attributes.is_transactional())
        }
        Some(Records::Splice { .. }) | None => false,
    }
}

/// The partition that a part goes to, or why it cannot.
fn target(
    context: &RequestContext<'_>,
    topic: Result<&Arc<TopicImage>, ErrorCode>,
    index: i32,
) -> Result<TopicIdPartition, ProduceOutcome> {
    let topic = topic.map_err(ProduceOutcome::refused)?;
    if names::is_internal(&topic.name) && context.client_id != Some(ADMIN_CLIENT_ID) {
        return Err(ProduceOutcome::refused_because(
            ErrorCode::InvalidTopicException,
            format!("Cannot append to internal topic {}", topic.name),
        ));
    }
    if index < 0 || index as usize >= topic.partitions.len() {
        return Err(ProduceOutcome::refused(ErrorCode::UnknownTopicOrPartition));
    }
    Ok(TopicIdPartition { topic_id: topic.id, partition: index })
}

/// The records of one partition as a counted slice of the frame.
fn slice_of(frame: &Bytes, records: Option<&Records<'_>>) -> Result<Bytes, ProduceOutcome> {
    match records {
        Some(Records::Inline(bytes)) if !bytes.is_empty() => Ok(frame.slice_ref(bytes)),
        Some(Records::Inline(_) | Records::Splice { .. }) | None => Err(ProduceOutcome::refused_because(
            ErrorCode::InvalidRecord,
            "A Produce request must have exactly one record batch per partition",
        )),
    }
}

/// One partition of the reply.
fn partition_reply((index, outcome): (i32, ProduceOutcome)) -> PartitionProduceResponse<'static> {
    let errors = outcome.record_errors.into_iter().map(|(batch_index, message)| BatchIndexAndErrorMessage {
        batch_index,
        batch_index_error_message: Some(message.into()),
    });
    PartitionProduceResponse {
        index,
        error_code: outcome.error.code(),
        base_offset: outcome.base_offset.0,
        log_append_time_ms: outcome.log_append_time.0,
        log_start_offset: outcome.log_start_offset.0,
        record_errors: errors.collect(),
        error_message: outcome.message,
        ..PartitionProduceResponse::default()
    }
}

#[cfg(test)]
mod tests;
