//! What a topic's configuration says to one partition's log, with the units in the names.
//!
//! The owner shard holds one per partition and replaces it whole when the topic's configuration changes. Names and
//! defaults are those of Kafka's `LogConfig.java`, but for `flush.messages`: here an acknowledged record is on disk.

use crate::limits::PRODUCERS_PER_PARTITION_MAX;
use crate::protocol::records::TimestampType;

/// The settings of one log; each field names the topic setting that it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// `segment.bytes`: a segment is rolled before it passes this.
    pub segment_bytes: u64,
    /// `segment.ms`: a segment is rolled when its first batch is older than this.
    pub segment_ms: i64,
    /// `segment.jitter.ms`: up to this much is taken from `segment.ms`, another amount for each segment.
    pub segment_jitter_ms: i64,
    /// `segment.index.bytes`: a segment is rolled when an index would pass this.
    pub segment_index_bytes: usize,
    /// `index.interval.bytes`: an index entry is added when more than this was appended since the last.
    pub index_interval_bytes: u64,
    /// `retention.ms`: a segment whose latest record is older is deleted; `None` for -1, no limit.
    pub retention_ms: Option<i64>,
    /// `retention.bytes`: the oldest segments are deleted while the others hold this much; `None` for -1, no limit.
    pub retention_bytes: Option<u64>,
    /// Whether `cleanup.policy` holds `delete`: else only records before the log start offset are deleted.
    pub delete: bool,
    /// Whether `cleanup.policy` holds `compact`.
    pub compact: bool,
    /// `delete.retention.ms`: how long a tombstone stays after the cleaning that first saw it.
    pub delete_retention_ms: i64,
    /// `min.compaction.lag.ms`: how long a record is safe from compaction.
    pub min_compaction_lag_ms: i64,
    /// `max.compaction.lag.ms`: the longest that a record may wait for it; `i64::MAX` for no limit.
    pub max_compaction_lag_ms: i64,
    /// `min.cleanable.dirty.ratio` in millionths: a log is cleaned when a larger share of it is dirty.
    pub min_cleanable_millionths: u32,
    /// `max.message.bytes`: a larger batch of a client is refused.
    pub max_message_bytes: usize,
    /// `flush.messages`: 1 means that nothing is acknowledged or read before it is on disk; more relaxes that.
    pub flush_messages: i64,
    /// `flush.ms`: the longest that a relaxed log leaves appended records unflushed; `None` for no limit.
    pub flush_ms: Option<i64>,
    /// `message.timestamp.type`.
    pub timestamp_type: TimestampType,
    /// `producer.id.expiration.ms`, a broker setting: an idle producer is forgotten after this.
    pub producer_id_expiration_ms: i64,
    /// How many producers are remembered; beyond it those idle longest are forgotten, as if they had expired.
    pub producers_max: usize,
}

impl LogConfig {
    /// Whether the high watermark of a log without followers waits for the disk.
    #[must_use]
    pub fn acknowledges_durable(&self) -> bool {
        self.flush_messages <= 1
    }
}

impl Default for LogConfig {
    fn default() -> LogConfig {
        const DAY_MS: i64 = 24 * 60 * 60 * 1000;
        LogConfig {
            segment_bytes: 1024 * 1024 * 1024,
            segment_ms: 7 * DAY_MS,
            segment_jitter_ms: 0,
            segment_index_bytes: 10 * 1024 * 1024,
            index_interval_bytes: 4096,
            retention_ms: Some(7 * DAY_MS),
            retention_bytes: None,
            delete: true,
            compact: false,
            delete_retention_ms: DAY_MS,
            min_compaction_lag_ms: 0,
            max_compaction_lag_ms: i64::MAX,
            min_cleanable_millionths: 500_000,
            max_message_bytes: 1024 * 1024 + 12,
            flush_messages: 1,
            flush_ms: None,
            timestamp_type: TimestampType::CreateTime,
            producer_id_expiration_ms: DAY_MS,
            producers_max: PRODUCERS_PER_PARTITION_MAX,
        }
    }
}
