//! One file per API: what a request leads to, with the facts of its versions.
//!
//! A handler is a pure function of the request, its context and what the shard holds (an image, a configuration); it
//! returns the response's fields, and the connection encodes them in the request's version. Where a reply must wait for
//! the disk the handler returns a decision or a plan instead.

pub mod api_versions;
pub mod describe_cluster;
pub mod describe_configs;
pub mod describe_quorum;
pub mod describe_topic_partitions;
pub mod list_config_resources;
pub mod metadata;
pub mod operations;
mod replicas;
pub mod served;

use ottla_wire::ApiKey;

use crate::ids::TimestampMs;
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

#[cfg(test)]
pub(crate) mod tests;
