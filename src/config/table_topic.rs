//! Configuration keys (table): one topic, and the broker keys that they fall back to.
//!
//! Constants without an owner; every shard reads them. Names, types, ranges and defaults are facts of Kafka 4.4,
//! checked by a test against a dump of Kafka's own tables; the sentences are ours. Nothing of it is on disk.

use super::key::{ConfigKey, Rule, boolean, double, hours, int, list, long, minutes, same, string};

/// Every key of a topic.
pub static KEYS: &[ConfigKey] = &[
    list("cleanup.policy")
        .or("delete")
        .distinct()
        .of(&["compact", "delete"])
        .from(&[same("log.cleanup.policy")])
        .resource()
        .acts("What becomes of old segments: delete, compact, both or, if empty, nothing."),
    string("compression.type")
        .or("producer")
        .one_of(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"])
        .from(&[same("compression.type")])
        .resource()
        .acts("What is stored: what the producer sent, or this codec."),
    int("compression.gzip.level")
        .or("-1")
        .rule(Rule::GzipLevel)
        .from(&[same("compression.gzip.level")])
        .resource()
        .acts("The effort of gzip where the broker compresses."),
    int("compression.lz4.level")
        .or("9")
        .between(1, 17)
        .from(&[same("compression.lz4.level")])
        .resource()
        .without_effect("The effort of lz4; here it has one speed, and the format is the same."),
    int("compression.zstd.level")
        .or("3")
        .between(-131072, 22)
        .from(&[same("compression.zstd.level")])
        .resource()
        .acts("The effort of zstd where the broker compresses."),
    long("delete.retention.ms")
        .or("86400000")
        .at_least(0)
        .from(&[same("log.cleaner.delete.retention.ms")])
        .resource()
        .acts("How long tombstones survive compaction, in milliseconds."),
    boolean("errors.deadletterqueue.group.enable")
        .or("false")
        .resource()
        .not_yet("Whether share groups may use this topic for dead letters."),
    long("file.delete.delay.ms")
        .or("60000")
        .at_least(0)
        .from(&[same("log.segment.delete.delay.ms")])
        .resource()
        .acts("How long a removed segment stays on disk before its files go, in milliseconds."),
    long("flush.messages").or("1").at_least(1).from(&[same("log.flush.interval.messages")]).resource().acts(
        "Records after which a partition is synced. 1, the default here: every acknowledgement is on disk.",
    ),
    long("flush.ms")
        .or("9223372036854775807")
        .at_least(0)
        .from(&[same("log.flush.interval.ms"), same("log.flush.scheduler.interval.ms")])
        .resource()
        .acts("The longest that a written record waits for its sync, in milliseconds."),
    list("follower.replication.throttled.replicas")
        .or("")
        .rule(Rule::ThrottledReplicas)
        .resource()
        .not_yet("Replicas whose fetching is throttled, as partition:broker; * for all."),
    list("leader.replication.throttled.replicas")
        .or("")
        .rule(Rule::ThrottledReplicas)
        .resource()
        .not_yet("Replicas whose leader's sending is throttled, as partition:broker; * for all."),
    int("index.interval.bytes")
        .or("4096")
        .at_least(0)
        .from(&[same("log.index.interval.bytes")])
        .resource()
        .acts("How many bytes of records lie between two index entries."),
    int("internal.segment.bytes")
        .internal()
        .resource()
        .acts("A segment size below the usual minimum, for tests, in bytes."),
    long("local.retention.bytes")
        .or("-2")
        .at_least(-2)
        .from(&[same("log.local.retention.bytes")])
        .resource()
        .not_yet("How many bytes of a tiered partition stay on local disk; -2: as retention.bytes."),
    long("local.retention.ms")
        .or("-2")
        .at_least(-2)
        .from(&[same("log.local.retention.ms")])
        .resource()
        .not_yet(
            "How long a tiered topic's records stay on local disk, in milliseconds; -2: as retention.ms.",
        ),
    long("max.compaction.lag.ms")
        .or("9223372036854775807")
        .at_least(1)
        .from(&[same("log.cleaner.max.compaction.lag.ms")])
        .resource()
        .acts("The longest that a record may wait for compaction, in milliseconds."),
    int("max.message.bytes")
        .or("1048588")
        .at_least(0)
        .from(&[same("message.max.bytes")])
        .resource()
        .acts("The largest record batch that is taken, in bytes."),
    long("message.timestamp.after.max.ms")
        .or("3600000")
        .at_least(0)
        .from(&[same("log.message.timestamp.after.max.ms")])
        .resource()
        .acts("How far a record's time may lie in the future, in milliseconds."),
    long("message.timestamp.before.max.ms")
        .or("9223372036854775807")
        .at_least(0)
        .from(&[same("log.message.timestamp.before.max.ms")])
        .resource()
        .acts("How far a record's time may lie in the past, in milliseconds."),
    string("message.timestamp.type")
        .or("CreateTime")
        .one_of(&["CreateTime", "LogAppendTime"])
        .from(&[same("log.message.timestamp.type")])
        .resource()
        .acts("Whether a record's time is the producer's or that of its append."),
    double("min.cleanable.dirty.ratio")
        .or("0.5")
        .share_between(0.0, 1.0)
        .from(&[same("log.cleaner.min.cleanable.ratio")])
        .resource()
        .acts("The share of a log that must be uncompacted before it is compacted."),
    long("min.compaction.lag.ms")
        .or("0")
        .at_least(0)
        .from(&[same("log.cleaner.min.compaction.lag.ms")])
        .resource()
        .acts("How long a record is safe from compaction, in milliseconds."),
    int("min.insync.replicas")
        .or("1")
        .at_least(1)
        .from(&[same("min.insync.replicas")])
        .resource()
        .acts("How many replicas must have a record before acks=all is answered."),
    boolean("preallocate")
        .or("false")
        .from(&[same("log.preallocate")])
        .resource()
        .without_effect("Reserves a segment's space when it is made; always done here."),
    long("remote.copy.lag.bytes")
        .or("-1")
        .at_least(-1)
        .from(&[same("log.remote.copy.lag.bytes")])
        .resource()
        .not_yet("How many newer bytes lie behind a segment before it goes to remote storage."),
    long("remote.copy.lag.ms")
        .or("0")
        .at_least(-1)
        .from(&[same("log.remote.copy.lag.ms")])
        .resource()
        .not_yet("How old a closed segment is before it goes to remote storage, in milliseconds."),
    boolean("remote.log.copy.disable")
        .or("false")
        .resource()
        .not_yet("Stops copying to remote storage; what is there stays readable."),
    boolean("remote.log.delete.on.disable")
        .or("false")
        .resource()
        .not_yet("Whether remote data goes when remote storage is turned off."),
    boolean("remote.storage.enable")
        .or("false")
        .resource()
        .not_yet("Whether this topic's segments may be moved to remote storage."),
    long("retention.bytes")
        .or("-1")
        .from(&[same("log.retention.bytes")])
        .resource()
        .acts("How many bytes of a partition are kept; -1 for no limit."),
    long("retention.ms")
        .or("604800000")
        .at_least(-1)
        .from(&[same("log.retention.ms"), minutes("log.retention.minutes"), hours("log.retention.hours")])
        .resource()
        .acts("How long records are kept, in milliseconds; -1 for ever."),
    int("segment.bytes")
        .or("1073741824")
        .at_least(1048576)
        .from(&[same("log.segment.bytes")])
        .resource()
        .acts("The size at which a segment file is closed and the next one begun, in bytes."),
    int("segment.index.bytes")
        .or("10485760")
        .at_least(4)
        .from(&[same("log.index.size.max.bytes")])
        .resource()
        .acts("The largest offset or time index of one segment, in bytes."),
    long("segment.jitter.ms")
        .or("0")
        .at_least(0)
        .from(&[same("log.roll.jitter.ms"), hours("log.roll.jitter.hours")])
        .resource()
        .acts("The most by which segment.ms is shortened at random, in milliseconds."),
    long("segment.ms")
        .or("604800000")
        .at_least(1)
        .from(&[same("log.roll.ms"), hours("log.roll.hours")])
        .resource()
        .acts("The age at which a segment is closed, in milliseconds."),
    boolean("unclean.leader.election.enable")
        .or("false")
        .from(&[same("unclean.leader.election.enable")])
        .resource()
        .not_yet("Whether a replica that may lack records can become leader."),
];
