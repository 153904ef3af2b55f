//! One file per API: decode, decide or plan, merge. Pure: a handler gets the request, the image and the time, and
//! gives back a reply or the parts that owner shards must perform.
//!
//! The connection's shard runs these; nothing here is kept between two requests but fetch sessions.

use ottla_wire::ApiKey;

use crate::controller::image::Image;
use crate::errors::ErrorCode;
use crate::ids::{TimestampMs, TopicIdPartition};
use crate::time::Monotonic;

pub mod delete_records;
pub mod describe_log_dirs;
pub mod fetch;
pub mod fetch_session;
pub mod init_producer_id;
pub mod list_offsets;
pub mod offset_for_leader_epoch;
pub mod places;
pub mod produce;

/// What is known of a request before its body is read.
#[derive(Clone, Copy, Debug)]
pub struct RequestContext<'a> {
    /// The API asked for.
    pub api: ApiKey,
    /// The version of the request and so of the reply.
    pub version: i16,
    /// The number that the reply repeats.
    pub correlation_id: i32,
    /// The client's own name for itself.
    pub client_id: Option<&'a str>,
    /// The client's address, without its port, in Kafka's form (`/127.0.0.1`).
    pub client_host: &'a str,
    /// The name of the listener that the connection came through.
    pub listener: &'a str,
    /// The monotonic time at which the request was read.
    pub now: Monotonic,
    /// The wall clock at that moment.
    pub now_wall: TimestampMs,
}

/// The topic that holds committed offsets and group metadata.
pub const OFFSETS_TOPIC: &str = "__consumer_offsets";
/// The topic that holds the states of transactions.
pub const TRANSACTIONS_TOPIC: &str = "__transaction_state";

/// Whether a topic is the broker's own, as Kafka's `Topic.isInternal` counts them.
#[must_use]
pub fn names::is_internal(name: &str) -> bool {
    matches!(name, OFFSETS_TOPIC | TRANSACTIONS_TOPIC | "__share_group_state")
}

/// Finds a partition by its topic's name and its index.
///
/// # Errors
/// `UNKNOWN_TOPIC_OR_PARTITION` when there is none.
pub fn partition_by_name(image: &Image, topic: &str, index: i32) -> Result<TopicIdPartition, ErrorCode> {
    let topic = image.topics.by_name(topic).ok_or(ErrorCode::UnknownTopicOrPartition)?;
    if index < 0 || index as usize >= topic.partitions.len() {
        return Err(ErrorCode::UnknownTopicOrPartition);
    }
    Ok(TopicIdPartition { topic_id: topic.id, partition: index })
}
