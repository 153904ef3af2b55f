//! One file per API: what a request leads to, with the facts of its versions.
//!
//! A handler is a pure function of the request, its context and what the shard holds (an image, a configuration); it
//! returns the response's fields, and the connection encodes them in the request's version. Where a reply must wait for
//! the disk the handler returns a decision or a plan instead.

pub mod acls;
pub mod api_versions;
pub mod delete_records;
pub mod describe_cluster;
pub mod describe_configs;
pub mod describe_log_dirs;
pub mod describe_producers;
pub mod describe_quorum;
pub mod describe_topic_partitions;
pub mod elect_leaders;
pub mod fetch;
pub mod fetch_session;
pub mod init_producer_id;
pub mod list_config_resources;
pub mod list_offsets;
pub mod list_partition_reassignments;
pub mod metadata;
pub mod offset_for_leader_epoch;
pub mod operations;
pub mod places;
pub mod produce;
mod replicas;
pub mod sasl;
pub mod served;

use ottla_wire::ApiKey;

use crate::controller::image::Image;
use crate::errors::ErrorCode;
use crate::ids::{TimestampMs, TopicIdPartition};
use crate::time::Monotonic;

/// What a handler knows of a request beyond its body.
#[derive(Clone, Copy, Debug)]
pub struct RequestContext<'a> {
    /// The API.
    pub api: ApiKey,
    /// The version of the request, which is that of the response too.
    pub version: i16,
    /// The number that the client matches the response by.
    pub correlation_id: i32,
    /// The name that the client gives itself.
    pub client_id: Option<&'a str>,
    /// The address that the client connects from.
    pub client_host: &'a str,
    /// The name of the listener that it connected to.
    pub listener: &'a str,
    /// When the request was read.
    pub now: Monotonic,
    /// The same on the wall clock, for timestamps and never for durations.
    pub now_wall: TimestampMs,
}

/// Finds a partition by its topic's name and its index.
///
/// # Errors
/// `UNKNOWN_TOPIC_OR_PARTITION` when there is none.
pub fn partition_by_name(image: &Image, topic: &str, index: i32) -> Result<TopicIdPartition, ErrorCode> {
    let topic = image.topics.by_name(topic).ok_or(ErrorCode::UnknownTopicOrPartition)?;
    topic.partition(index).ok_or(ErrorCode::UnknownTopicOrPartition)?;
    Ok(TopicIdPartition { topic_id: topic.id, partition: index })
}

#[cfg(test)]
pub(crate) mod tests;
