//! What other modules take from the configuration, in their own types.
//!
//! Pure conversions, made again whenever a configuration changes. Nothing of it is on disk.

use super::broker::{BrokerConfig, ProducersConfig};
use super::topic::TopicConfig;
use crate::group::GroupConfig;
use crate::ids::TimestampMs;
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
}
