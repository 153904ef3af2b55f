//! One topic's configuration: its own settings over the broker's, as the log needs it.
//!
//! Made on every shard whenever a topic's or the broker's settings change; the settings themselves are config
//! records of the metadata log. Defaults, synonyms and rules are those of Kafka's `LogConfig`.
//! Invariant: whatever this type holds passed every rule, so that the log checks nothing again.

use super::key::ConfigKey;
use super::settings::{Overrides, Settings, default_value};
use super::table::{self, Resource};
use super::value::{ConfigError, Value};
use crate::protocol::compression::Codec;
use crate::protocol::records::{Recompression, TimestampType};

/// A topic's configuration. Durations are milliseconds.
#[derive(Clone, Debug, PartialEq)]
pub struct TopicConfig {
    /// Bytes at which a segment is rolled; `internal.segment.bytes` where a test sets it.
    pub segment_bytes: u32,
    /// Age at which a segment is rolled.
    pub segment_ms: i64,
    /// The most by which that age is shortened at random.
    pub segment_jitter_ms: i64,
    /// The most bytes of one index file.
    pub index_bytes_max: u32,
    /// Bytes of records between two index entries.
    pub index_interval_bytes: u32,
    /// Records after which a sync is due. 1 means that every acknowledgement waits for the disk.
    pub flush_messages: i64,
    /// The longest that a record waits for its sync; `i64::MAX` for no limit.
    pub flush_ms: i64,
    /// How long records are kept; `None` for ever.
    pub retention_ms: Option<i64>,
    /// Bytes of a partition that are kept; `None` for all.
    pub retention_bytes: Option<u64>,
    /// The most bytes of one record batch.
    pub message_bytes_max: u32,
    /// How long removed segments stay on disk.
    pub file_delete_delay_ms: i64,
    /// How long tombstones survive compaction.
    pub delete_retention_ms: i64,
    /// How long a record is safe from compaction.
    pub min_compaction_lag_ms: i64,
    /// How long a record may wait for compaction.
    pub max_compaction_lag_ms: i64,
    /// The share of a log that must be dirty before it is compacted, 0 to 1.
    pub min_cleanable_dirty_ratio: f64,
    /// Whether old values of a key are compacted away; then every record needs a key.
    pub compact: bool,
    /// Whether old segments are deleted. With neither this nor `compact`, everything is kept.
    pub delete: bool,
    /// Whether a replica that may lack records may lead.
    pub unclean_leader_election: bool,
    /// Replicas that must have a record before acks=all is answered.
    pub min_insync_replicas: i32,
    /// The codec that batches are stored with; `None` for what the producer sent.
    pub compression: Option<Recompression>,
    /// Whose timestamps records carry.
    pub timestamp_type: TimestampType,
    /// How far a record's timestamp may lie in the past.
    pub timestamp_before_max_ms: i64,
    /// How far a record's timestamp may lie in the future.
    pub timestamp_after_max_ms: i64,
}

impl TopicConfig {
    /// The configuration of a topic with these settings of its own.
    ///
    /// # Errors
    /// With Kafka's words when a name is unknown, a value breaks its rule or two values do not go together. The
    /// error code for all of them is `INVALID_CONFIG`.
    pub fn new(broker: &Settings, overrides: &Overrides) -> Result<TopicConfig, ConfigError> {
        if let Some(name) = overrides.keys().find(|name| table::find(Resource::Topic, name).is_none()) {
            return Err(ConfigError::rule(format!("Unknown topic config name: {name}")));
        }
        let topic = Topic { broker, overrides };
        for key in table::keys(Resource::Topic) {
            // The broker's value must satisfy the topic's rule too: log.flush.interval.ms has none of its own.
            if let Some(text) = topic.value(key)?.and_then(|value| value.to_text()) {
                Value::parse(key, &text)?;
            }
        }
        topic.check_rules()?;
        topic.build()
    }

    /// The age at which a segment is rolled: a compacted topic rolls no later than its records must be compacted.
    #[must_use]
    pub fn segment_ms_max(&self) -> i64 {
        if self.compact { self.segment_ms.min(self.max_compaction_lag_ms) } else { self.segment_ms }
    }

    /// The longest that a segment may stay active, shortened by a share of the jitter that `random` picks.
    #[must_use]
    pub fn jittered_segment_ms(&self, random: u64) -> i64 {
        let most = self.segment_jitter_ms.min(self.segment_ms).max(0);
        let jitter = u64::try_from(most).map_or(0, |most| if most == 0 { 0 } else { random % most });
        self.segment_ms_max() - i64::try_from(jitter).expect("the jitter is below an i64")
    }
}

/// The value of one topic key: the topic's own, else the broker's, else the default; `None` where Kafka has null.
///
/// # Errors
/// When the topic's text breaks the key's rule.
pub fn topic_value(
    broker: &Settings,
    overrides: &Overrides,
    key: &ConfigKey,
) -> Result<Option<Value>, ConfigError> {
    if let Some(text) = overrides.get(key.name) {
        return Value::parse(key, text).map(Some);
    }
    for synonym in key.synonyms {
        let broker_key = table::find(Resource::Broker, synonym.name).expect("synonyms are broker keys");
        if let Some(value) = broker.value(broker_key)? {
            return Ok(Some(from_broker(key, synonym.factor, value)));
        }
    }
    default_value(key)
}

/// A broker's value as the topic's: in milliseconds, and unlimited retention always as -1.
fn from_broker(key: &ConfigKey, factor: i64, value: Value) -> Value {
    let Value::Long(number) = value else {
        return match value.as_long() {
            Some(number) if factor != 1 => in_ms(key, number, factor),
            _ => value,
        };
    };
    in_ms(key, number, factor)
}

fn in_ms(key: &ConfigKey, number: i64, factor: i64) -> Value {
    let ms = number.checked_mul(factor).expect("an i32 of hours fits an i64 of milliseconds");
    Value::Long(if key.name == "retention.ms" { ms.max(-1) } else { ms })
}

/// One topic's settings over the broker's.
struct Topic<'a> {
    broker: &'a Settings,
    overrides: &'a Overrides,
}

impl Topic<'_> {
    fn value(&self, key: &ConfigKey) -> Result<Option<Value>, ConfigError> {
        topic_value(self.broker, self.overrides, key)
    }

    fn read(&self, name: &str) -> Result<Value, ConfigError> {
        let key = table::find(Resource::Topic, name).expect("only keys of the table are read");
        Ok(self.value(key)?.expect("the key has a default"))
    }

    fn long(&self, name: &str) -> Result<i64, ConfigError> {
        Ok(self.read(name)?.as_long().expect("the key is a number"))
    }

    fn int(&self, name: &str) -> Result<i32, ConfigError> {
        Ok(i32::try_from(self.long(name)?).expect("the key's type is INT"))
    }

    fn bytes(&self, name: &str) -> Result<u32, ConfigError> {
        Ok(u32::try_from(self.long(name)?).expect("the key's rule forbids negative sizes"))
    }

    fn boolean(&self, name: &str) -> Result<bool, ConfigError> {
        Ok(self.read(name)? == Value::Boolean(true))
    }

    fn text(&self, name: &str) -> Result<String, ConfigError> {
        Ok(self.read(name)?.to_text().expect("no topic key is a secret"))
    }

    fn check_rules(&self) -> Result<(), ConfigError> {
        let (min, max) = (self.long("min.compaction.lag.ms")?, self.long("max.compaction.lag.ms")?);
        if min > max {
            return Err(ConfigError::rule(format!(
                "conflict topic config setting min.compaction.lag.ms ({min}) > max.compaction.lag.ms ({max})"
            )));
        }
        if self.boolean("remote.storage.enable")? {
            return Err(ConfigError::rule(
                "Tiered Storage functionality is disabled in the broker. Topic cannot be configured with remote \
                 log storage.",
            ));
        }
        Ok(())
    }

    fn build(&self) -> Result<TopicConfig, ConfigError> {
        let policy = self.text("cleanup.policy")?;
        let has = |word: &str| policy.split(',').any(|entry| entry == word);
        Ok(TopicConfig {
            segment_bytes: self.segment_bytes()?,
            segment_ms: self.long("segment.ms")?,
            segment_jitter_ms: self.long("segment.jitter.ms")?,
            index_bytes_max: self.bytes("segment.index.bytes")?,
            index_interval_bytes: self.bytes("index.interval.bytes")?,
            flush_messages: self.long("flush.messages")?,
            flush_ms: self.long("flush.ms")?,
            retention_ms: Some(self.long("retention.ms")?).filter(|ms| *ms >= 0),
            retention_bytes: u64::try_from(self.long("retention.bytes")?).ok(),
            message_bytes_max: self.bytes("max.message.bytes")?,
            file_delete_delay_ms: self.long("file.delete.delay.ms")?,
            delete_retention_ms: self.long("delete.retention.ms")?,
            min_compaction_lag_ms: self.long("min.compaction.lag.ms")?,
            max_compaction_lag_ms: self.long("max.compaction.lag.ms")?,
            min_cleanable_dirty_ratio: self.share("min.cleanable.dirty.ratio")?,
            compact: has("compact"),
            delete: has("delete"),
            unclean_leader_election: self.boolean("unclean.leader.election.enable")?,
            min_insync_replicas: self.int("min.insync.replicas")?,
            compression: self.compression()?,
            timestamp_type: match self.text("message.timestamp.type")?.as_str() {
                "LogAppendTime" => TimestampType::LogAppendTime,
                _ => TimestampType::CreateTime,
            },
            timestamp_before_max_ms: self.long("message.timestamp.before.max.ms")?,
            timestamp_after_max_ms: self.long("message.timestamp.after.max.ms")?,
        })
    }

    fn share(&self, name: &str) -> Result<f64, ConfigError> {
        match self.read(name)? {
            Value::Double(number) => Ok(number),
            _ => unreachable!("{name} is a DOUBLE"),
        }
    }

    fn segment_bytes(&self) -> Result<u32, ConfigError> {
        const INTERNAL: &str = "internal.segment.bytes";
        let key = table::find(Resource::Topic, INTERNAL).expect("the key is in the table");
        match self.value(key)?.and_then(|value| value.as_long()) {
            None => self.bytes("segment.bytes"),
            Some(bytes) => u32::try_from(bytes)
                .map_err(|_| ConfigError::invalid(INTERNAL, bytes, "Value must be at least 0")),
        }
    }

    fn compression(&self) -> Result<Option<Recompression>, ConfigError> {
        let of = |codec, level| Some(Recompression { codec, level });
        Ok(match self.text("compression.type")?.as_str() {
            "uncompressed" => of(Codec::None, None),
            "gzip" => of(Codec::Gzip, Some(self.int("compression.gzip.level")?)),
            "snappy" => of(Codec::Snappy, None),
            "lz4" => of(Codec::Lz4, Some(self.int("compression.lz4.level")?)),
            "zstd" => of(Codec::Zstd, Some(self.int("compression.zstd.level")?)),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests;
