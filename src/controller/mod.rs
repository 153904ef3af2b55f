//! The metadata of the cluster: an immutable image, the decisions that change it, and the replay that applies them.
//!
//! The controller shard decides (`topics`, `delete`, `partitions`, `configs`, `producer_ids`, `registration`) and
//! appends the records of a decision as one batch to `__cluster_metadata-0`. It decides on the image that has replayed
//! all that it appended, durable or not, so that two decisions in a row never contradict each other; once a batch is
//! durable every shard replays it, clients see it and the reply leaves. A decision reads an image and changes nothing;
//! `replay` alone makes a new image, at start-up as well. Invariant: the image that a log replays to is the one that
//! its writer had.

mod assign;
mod chunked;
pub mod configs;
pub mod delete;
pub mod effective;
pub mod features;
pub mod image;
pub mod loggers;
pub mod names;
pub mod partitions;
pub mod producer_ids;
pub mod registration;
pub mod replay;
pub mod snapshot;
pub mod topics;

use std::borrow::Cow;

pub use chunked::ChunkMap;
pub use features::record_version;
pub use image::Image;
use ottla_wire::MetadataRecord;
pub use replay::{ImageBuilder, ImageDelta, ReplayError};

use crate::errors::ErrorCode;
use crate::ids::Uuid;
use crate::sentences;

/// What a request leads to: records that must be durable before the reply may leave.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision<R> {
    /// The records, to be appended as one batch; none when nothing changes. [`record_version`] says in which version.
    pub records: Vec<MetadataRecord<'static>>,
    /// What the client hears once the records are durable and replayed.
    pub reply: R,
}

/// An error for one item of a request: Kafka's code and, where Kafka says more than the code, its words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ApiError {
    pub code: ErrorCode,
    pub message: Option<Cow<'static, str>>,
}

impl ApiError {
    pub fn new(code: ErrorCode, message: impl Into<Cow<'static, str>>) -> ApiError {
        ApiError { code, message: Some(sentences::cut(message)) }
    }

    /// The code alone, where Kafka's reply has no text.
    pub fn bare(code: ErrorCode) -> ApiError {
        ApiError { code, message: None }
    }
}

/// A source of 16 random bytes at a time, which never repeats itself for long.
pub type Random<'a> = &'a mut dyn FnMut() -> [u8; 16];

/// A random id as Kafka makes them (`Uuid.randomUuid`): version 4, none of the first hundred, which are reserved, and
/// without a `-` in its text, which tools would take for an option.
pub fn random_uuid(random: Random<'_>) -> Uuid {
    const ATTEMPTS_MAX: usize = 10_000;
    for _ in 0..ATTEMPTS_MAX {
        let mut bytes = random();
        bytes[6] = (bytes[6] & 0x0f) | 0x40;
        bytes[8] = (bytes[8] & 0x3f) | 0x80;
        let id = Uuid(bytes);
        if !id.to_string().contains('-') {
            return id;
        }
    }
    panic!("the source of random bytes is stuck");
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
