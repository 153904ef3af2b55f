//! A partition that this shard owns, with what its topic's configuration says to the log and to the validation.
//!
//! The settings are replaced whole when the image brings another configuration; the log takes them over from the next
//! append on.

use std::cell::RefCell;
use std::rc::Rc;

use ottla::config::{TimestampType as ConfiguredTime, TopicCompression, TopicConfig};
use ottla::ids::TimestampMs;
use ottla::limits::PRODUCERS_PER_PARTITION_MAX;
use ottla::log::LogConfig;
use ottla::protocol::compression::Codec;
use ottla::protocol::records::TimestampType;
use ottla::protocol::records::validate::{Recompression, ValidationPolicy};

use crate::disk::Partition;

/// One partition of this shard.
pub struct Hosted {
    /// Its log.
    pub partition: Rc<Partition>,
    config: RefCell<Rc<TopicConfig>>,
}

impl Hosted {
    /// A partition whose log has its settings already.
    pub fn new(partition: Rc<Partition>, config: Rc<TopicConfig>) -> Rc<Self> {
        Rc::new(Self { partition, config: RefCell::new(config) })
    }

    /// Takes over another configuration.
    pub fn set_config(&self, config: Rc<TopicConfig>, producer_id_expiration_ms: i64) {
        self.partition.set_config(log_config(&config, producer_id_expiration_ms));
        self.config.replace(config);
    }

    /// How batches of clients are validated; the time and what the request's version allows are the caller's.
    pub fn policy(&self) -> ValidationPolicy {
        let config = self.config.borrow();
        ValidationPolicy {
            compacted: config.compact,
            timestamp_type: timestamp_type(&config),
            before_max_ms: config.timestamp_before_max_ms,
            after_max_ms: config.timestamp_after_max_ms,
            max_message_bytes: config.message_bytes_max as usize,
            compression: recompression(config.compression),
            now: TimestampMs::NONE,
            zstd_allowed: true,
        }
    }
}

/// What a topic's configuration says to its logs.
pub fn log_config(config: &TopicConfig, producer_id_expiration_ms: i64) -> LogConfig {
    LogConfig {
        segment_bytes: u64::from(config.segment_bytes),
        segment_ms: config.segment_ms,
        segment_jitter_ms: config.segment_jitter_ms,
        segment_index_bytes: config.index_bytes_max as usize,
        index_interval_bytes: u64::from(config.index_interval_bytes),
        retention_ms: config.retention_ms,
        retention_bytes: config.retention_bytes,
        delete: config.delete,
        compact: config.compact,
        max_message_bytes: config.message_bytes_max as usize,
        flush_messages: config.flush_messages,
        flush_ms: Some(config.flush_ms).filter(|ms| *ms < i64::MAX),
        timestamp_type: timestamp_type(config),
        producer_id_expiration_ms,
        producers_max: PRODUCERS_PER_PARTITION_MAX,
    }
}

fn timestamp_type(config: &TopicConfig) -> TimestampType {
    match config.timestamp_type {
        ConfiguredTime::CreateTime => TimestampType::CreateTime,
        ConfiguredTime::LogAppendTime => TimestampType::LogAppendTime,
    }
}

fn recompression(compression: TopicCompression) -> Option<Recompression> {
    let (codec, level) = match compression {
        TopicCompression::Producer => return None,
        TopicCompression::Uncompressed => (Codec::None, None),
        TopicCompression::Gzip { level } => (Codec::Gzip, Some(level)),
        TopicCompression::Snappy => (Codec::Snappy, None),
        TopicCompression::Lz4 { level } => (Codec::Lz4, Some(level)),
        TopicCompression::Zstd { level } => (Codec::Zstd, Some(level)),
    };
    Some(Recompression { codec, level })
}
