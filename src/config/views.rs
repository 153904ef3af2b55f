//! What other modules take from the configuration, in their own types.
//!
//! Pure conversions, made again whenever a configuration changes. Nothing of it is on disk.

use super::broker::{BrokerConfig, CleanerConfig, ProducersConfig};
use super::topic::TopicConfig;
use crate::group::GroupConfig;
use crate::ids::TimestampMs;
use crate::limits::BLOCK_BYTES;
use crate::log::cleaner::MapBounds;
use crate::log::cleaner::dirty::RATIO_ONE;
use crate::log::config::LogConfig;
use crate::protocol::records::ValidationPolicy;

impl TopicConfig {
    /// What one partition's log needs to know; fields that are no topic setting keep the log's own value.
    #[must_use]
    pub fn log_config(&self, producers: &ProducersConfig) -> LogConfig {
        LogConfig {
            segment_bytes: u64::from(self.segment_bytes),
            segment_ms: self.segment_ms_max(),
            segment_jitter_ms: self.segment_jitter_ms,
            segment_index_bytes: self.index_bytes_max as usize,
            index_interval_bytes: u64::from(self.index_interval_bytes),
            retention_ms: self.retention_ms,
            retention_bytes: self.retention_bytes,
            delete: self.delete,
            compact: self.compact,
            delete_retention_ms: self.delete_retention_ms,
            min_compaction_lag_ms: self.min_compaction_lag_ms,
            max_compaction_lag_ms: self.max_compaction_lag_ms,
            min_cleanable_millionths: millionths(self.min_cleanable_dirty_ratio),
            max_message_bytes: self.message_bytes_max as usize,
            flush_messages: self.flush_messages,
            flush_ms: Some(self.flush_ms).filter(|ms| *ms != i64::MAX),
            timestamp_type: self.timestamp_type,
            producer_id_expiration_ms: producers.expiration_ms,
            ..LogConfig::default()
        }
    }

    /// What a produced batch must satisfy at the broker's time `now`; `zstd_allowed` from Produce 7 on.
    #[must_use]
    pub fn validation_policy(&self, now: TimestampMs, zstd_allowed: bool) -> ValidationPolicy {
        ValidationPolicy {
            compacted: self.compact,
            timestamp_type: self.timestamp_type,
            before_max_ms: self.timestamp_before_max_ms,
            after_max_ms: self.timestamp_after_max_ms,
            max_message_bytes: self.message_bytes_max as usize,
            compression: self.compression,
            now,
            zstd_allowed,
        }
    }
}

impl BrokerConfig {
    /// What the group coordinator needs to know, with values that its timers can work with.
    #[must_use]
    pub fn group_config(&self) -> GroupConfig {
        GroupConfig {
            initial_rebalance_delay_ms: self.groups.initial_rebalance_delay_ms,
            min_session_timeout_ms: self.groups.session_timeout_ms_min,
            max_session_timeout_ms: self.groups.session_timeout_ms_max,
            max_size: self.groups.members_max,
            offset_metadata_bytes_max: self.offsets.metadata_bytes_max,
            offsets_retention_ms: self.offsets.retention_ms,
            offsets_retention_check_interval_ms: self.offsets.retention_check_interval_ms,
            ..GroupConfig::default()
        }
        .checked()
    }
}

/// A share of 1 in millionths. No log is dirtier than NaN, as none is dirtier than 1.
fn millionths(share: f64) -> u32 {
    // The table allows 0 to 1 and NaN, which Kafka compares with as well.
    let share = if share.is_nan() { 1.0 } else { share };
    (share * f64::from(RATIO_ONE)).round() as u32
}

impl CleanerConfig {
    /// How large the map of keys of one cleaning may be.
    #[must_use]
    pub fn map_bounds(&self) -> MapBounds {
        let bytes = self.dedupe_buffer_bytes / u64::from(self.threads.max(1));
        // Kafka's own bound of one table.
        let bytes = bytes.min(i32::MAX as u64);
        let permille = (self.load_factor * 1_000.0).round() as u32;
        MapBounds { bytes_max: usize::try_from(bytes).unwrap_or(usize::MAX), load_permille: permille }
    }

    /// Bytes of a segment that one cleaning reads at a time: half of its part of the memory for reads and writes, and
    /// a block at least.
    #[must_use]
    pub fn window_bytes(&self) -> u64 {
        (u64::from(self.io_buffer_bytes) / u64::from(self.threads.max(1)) / 2).max(BLOCK_BYTES as u64)
    }

    /// `log.cleaner.io.max.bytes.per.second` as a whole number; `None` where it is beyond any disk.
    #[must_use]
    pub fn bytes_per_second(&self) -> Option<u64> {
        (self.io_bytes_per_second_max < u64::MAX as f64).then_some(self.io_bytes_per_second_max as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::super::settings::Layers;
    use super::*;

    fn broker(text: &str) -> BrokerConfig {
        let file = super::super::properties::parse(text).expect("a properties text");
        BrokerConfig::new(&Layers { file: Some(file), ..Layers::default() }).expect("the settings are fine")
    }

    #[test]
    fn the_defaults_of_all_tables_agree() {
        let config = broker("");
        assert_eq!(config.log.log_config(&config.producers), LogConfig::default());
        assert_eq!(config.group_config(), GroupConfig::default());
    }

    #[test]
    fn settings_arrive() {
        let config = broker(
            "log.segment.bytes=1048577\nlog.roll.ms=11\nlog.roll.jitter.ms=12\nlog.index.size.max.bytes=13\n\
             log.index.interval.bytes=14\nlog.retention.ms=15\nlog.retention.bytes=16\nlog.cleanup.policy=compact\n\
             message.max.bytes=17\nlog.flush.interval.messages=18\nlog.flush.interval.ms=19\n\
             log.message.timestamp.type=LogAppendTime\nproducer.id.expiration.ms=20\n\
             log.cleaner.delete.retention.ms=30\nlog.cleaner.min.compaction.lag.ms=31\n\
             log.cleaner.max.compaction.lag.ms=32\nlog.cleaner.min.cleanable.ratio=0.25\n\
             log.message.timestamp.before.max.ms=21\nlog.message.timestamp.after.max.ms=22\n\
             group.initial.rebalance.delay.ms=23\ngroup.min.session.timeout.ms=24\n\
             group.max.session.timeout.ms=25\ngroup.max.size=26\noffset.metadata.max.bytes=27\n\
             offsets.retention.minutes=28\noffsets.retention.check.interval.ms=29",
        );
        let log = config.log.log_config(&config.producers);
        let numbers = [log.segment_bytes, log.index_interval_bytes, log.retention_bytes.expect("set")];
        assert_eq!(numbers, [1_048_577, 14, 16]);
        let times = [log.segment_ms, log.segment_jitter_ms, log.retention_ms.expect("set")];
        assert_eq!(times, [11, 12, 15]);
        assert_eq!((log.segment_index_bytes, log.max_message_bytes), (13, 17));
        assert_eq!((log.flush_messages, log.flush_ms, log.producer_id_expiration_ms), (18, Some(19), 20));
        assert!(log.compact && !log.delete);
        let cleaning = [log.delete_retention_ms, log.min_compaction_lag_ms, log.max_compaction_lag_ms];
        assert_eq!((cleaning, log.min_cleanable_millionths), ([30, 31, 32], 250_000));
        let policy = config.log.validation_policy(TimestampMs(5), true);
        assert_eq!((policy.before_max_ms, policy.after_max_ms, policy.max_message_bytes), (21, 22, 17));
        assert!(policy.compacted && policy.zstd_allowed && policy.timestamp_type == log.timestamp_type);
        let group = config.group_config();
        assert_eq!((group.initial_rebalance_delay_ms, group.min_session_timeout_ms), (23, 24));
        assert_eq!(
            (group.max_session_timeout_ms, group.max_size, group.offset_metadata_bytes_max),
            (25, 26, 27)
        );
        assert_eq!(
            (group.offsets_retention_ms, group.offsets_retention_check_interval_ms),
            (28 * 60_000, 29)
        );
    }

    #[test]
    fn the_cleaners_memory_is_shared_by_its_threads() {
        let defaults = broker("").cleaner;
        assert!(defaults.enabled);
        assert_eq!(defaults.map_bounds(), MapBounds { bytes_max: 128 << 20, load_permille: 900 });
        assert_eq!((defaults.window_bytes(), defaults.bytes_per_second()), (256 << 10, None));
        let config = broker(
            "log.cleaner.threads=4\nlog.cleaner.dedupe.buffer.size=8388608\nlog.cleaner.io.buffer.size=65536\n\
             log.cleaner.io.buffer.load.factor=0.5\nlog.cleaner.io.max.bytes.per.second=1048576.5\n\
             log.cleaner.backoff.ms=7\nlog.cleaner.enable=false",
        );
        let cleaner = config.cleaner;
        assert_eq!(cleaner.map_bounds(), MapBounds { bytes_max: 2 << 20, load_permille: 500 });
        assert_eq!((cleaner.window_bytes(), cleaner.bytes_per_second()), (8 << 10, Some(1 << 20)));
        assert_eq!((cleaner.threads, cleaner.backoff_ms, cleaner.enabled), (4, 7, false));
    }
}
