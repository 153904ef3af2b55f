//! Configuration keys (table): partitions' logs: directories, segments, retention, syncs, timestamps, compaction.
//!
//! Constants without an owner; every shard reads them. Names, types, ranges and defaults are facts of Kafka 4.4,
//! checked by a test against a dump of Kafka's own tables; the sentences are ours. Nothing of it is on disk.

use super::key::{
    ConfigKey, FLUSH_INTERVAL, RETENTION, ROLL, ROLL_JITTER, boolean, double, int, list, long, string,
};

/// The keys of this area.
pub static KEYS: &[ConfigKey] = &[
    int("num.partitions").or("1").at_least(1).acts("Partitions of a topic that is created without a count."),
    int("default.replication.factor").or("1").acts("Replicas of a topic that is created without a count."),
    boolean("auto.create.topics.enable")
        .or("true")
        .high()
        .acts("Whether a client that asks for an unknown topic creates it by doing so."),
    list("log.dir")
        .or("./ottla-data")
        .not_empty()
        .high()
        .acts("The directory of the partitions' data, where log.dirs is not given."),
    list("log.dirs").not_empty().high().acts("The directories of the partitions' data, one per disk."),
    list("cordoned.log.dirs")
        .or("")
        .distinct()
        .per_broker()
        .not_yet("Directories that take no new partitions; * for all of them."),
    long("log.dir.failure.timeout.ms").or("30000").at_least(1).low().not_yet(
        "How long a broker may fail to report an offline directory before it stops, in milliseconds.",
    ),
    int("log.segment.bytes")
        .or("1073741824")
        .at_least(1048576)
        .high()
        .cluster_wide()
        .acts("The size at which a segment file is closed and the next one begun, in bytes."),
    long("log.roll.ms")
        .high()
        .cluster_wide()
        .from(ROLL)
        .acts("The age at which a segment is closed, in milliseconds; before log.roll.hours."),
    int("log.roll.hours")
        .or("168")
        .at_least(1)
        .high()
        .from(ROLL)
        .acts("The age at which a segment is closed, in hours."),
    long("log.roll.jitter.ms")
        .high()
        .cluster_wide()
        .from(ROLL_JITTER)
        .acts("The most by which log.roll.ms is shortened at random, in milliseconds."),
    int("log.roll.jitter.hours")
        .or("0")
        .at_least(0)
        .high()
        .from(ROLL_JITTER)
        .acts("The most by which log.roll.hours is shortened at random, in hours."),
    long("log.retention.ms")
        .high()
        .cluster_wide()
        .from(RETENTION)
        .acts("How long records are kept, in milliseconds; -1 for ever. Before the minutes and hours."),
    int("log.retention.minutes")
        .high()
        .from(RETENTION)
        .acts("How long records are kept, in minutes, where log.retention.ms is not given."),
    int("log.retention.hours")
        .or("168")
        .high()
        .from(RETENTION)
        .acts("How long records are kept, in hours, where neither finer setting is given."),
    long("log.retention.bytes")
        .or("-1")
        .high()
        .cluster_wide()
        .acts("How many bytes of a partition are kept; -1 for no limit."),
    long("log.retention.check.interval.ms")
        .or("300000")
        .at_least(1)
        .acts("How often segments are looked at for deletion, in milliseconds."),
    list("log.cleanup.policy")
        .or("delete")
        .distinct()
        .of(&["compact", "delete"])
        .cluster_wide()
        .acts("What becomes of old segments: delete, compact, both or, if empty, nothing."),
    int("log.index.size.max.bytes")
        .or("10485760")
        .at_least(4)
        .cluster_wide()
        .acts("The largest offset or time index of one segment, in bytes."),
    int("log.index.interval.bytes")
        .or("4096")
        .at_least(0)
        .cluster_wide()
        .acts("How many bytes of records lie between two index entries."),
    long("log.flush.interval.messages").or("1").at_least(1).high().cluster_wide().acts(
        "Records after which a partition is synced. 1, the default here: every acknowledgement is on disk.",
    ),
    long("log.flush.interval.ms")
        .high()
        .cluster_wide()
        .from(FLUSH_INTERVAL)
        .acts("The longest that a written record waits for its sync, in milliseconds."),
    long("log.flush.scheduler.interval.ms").or("9223372036854775807").high().without_effect(
        "How often partitions are looked at for log.flush.interval.ms; here each has a timer.",
    ),
    int("log.flush.offset.checkpoint.interval.ms")
        .or("60000")
        .at_least(0)
        .high()
        .acts("How often recovery points are written down, in milliseconds."),
    int("log.flush.start.offset.checkpoint.interval.ms")
        .or("60000")
        .at_least(0)
        .high()
        .without_effect("How often log start offsets are written down; here with the recovery points."),
    long("log.segment.delete.delay.ms")
        .or("60000")
        .at_least(0)
        .high()
        .cluster_wide()
        .acts("How long a removed segment stays on disk before its files go, in milliseconds."),
    boolean("log.preallocate")
        .or("false")
        .cluster_wide()
        .without_effect("Reserves a segment's space when it is made; always done here."),
    long("log.initial.task.delay.ms").or("30000").at_least(0).low().internal().without_effect(
        "How long after the start the log's periodic work begins; here each has its interval alone.",
    ),
    int("min.insync.replicas")
        .or("1")
        .at_least(1)
        .high()
        .cluster_wide()
        .acts("How many replicas must have a record before acks=all is answered."),
    string("log.message.timestamp.type")
        .or("CreateTime")
        .one_of(&["CreateTime", "LogAppendTime"])
        .cluster_wide()
        .acts("Whether a record's time is the producer's or that of its append."),
    long("log.message.timestamp.before.max.ms")
        .or("9223372036854775807")
        .at_least(0)
        .cluster_wide()
        .acts("How far a record's time may lie in the past, in milliseconds."),
    long("log.message.timestamp.after.max.ms")
        .or("3600000")
        .at_least(0)
        .cluster_wide()
        .acts("How far a record's time may lie in the future, in milliseconds."),
    long("log.local.retention.ms")
        .or("-2")
        .at_least(-2)
        .cluster_wide()
        .not_yet("How long a tiered topic's records stay on local disk, in milliseconds; -2: as retention."),
    long("log.local.retention.bytes")
        .or("-2")
        .at_least(-2)
        .cluster_wide()
        .not_yet("How many bytes of a tiered partition stay on local disk; -2: as retention."),
    long("log.remote.copy.lag.ms")
        .or("0")
        .at_least(-1)
        .cluster_wide()
        .not_yet("How old a closed segment is before it goes to remote storage, in milliseconds."),
    long("log.remote.copy.lag.bytes")
        .or("-1")
        .at_least(-1)
        .cluster_wide()
        .not_yet("How many newer bytes lie behind a segment before it goes to remote storage."),
    boolean("log.cleaner.enable").or("true").acts("Whether compaction runs at all."),
    int("log.cleaner.threads")
        .or("1")
        .at_least(0)
        .cluster_wide()
        .acts("Logs that are compacted at a time; 0 stops compaction."),
    double("log.cleaner.io.max.bytes.per.second")
        .or("1.7976931348623157E308")
        .cluster_wide()
        .acts("The most bytes per second that compaction reads and writes."),
    int("log.cleaner.io.buffer.size")
        .or("524288")
        .at_least(0)
        .cluster_wide()
        .acts("Memory for compaction's reads and writes, in bytes."),
    double("log.cleaner.io.buffer.load.factor")
        .or("0.9")
        .cluster_wide()
        .acts("How full compaction's table of keys may become, as a share of 1."),
    long("log.cleaner.dedupe.buffer.size")
        .or("134217728")
        .cluster_wide()
        .acts("Memory for compaction's table of keys, in bytes."),
    long("log.cleaner.backoff.ms")
        .or("15000")
        .at_least(0)
        .cluster_wide()
        .acts("How long compaction sleeps when there is nothing to do, in milliseconds."),
    double("log.cleaner.min.cleanable.ratio")
        .or("0.5")
        .share_between(0.0, 1.0)
        .cluster_wide()
        .acts("The share of a log that must be uncompacted before it is compacted."),
    long("log.cleaner.delete.retention.ms")
        .or("86400000")
        .at_least(0)
        .cluster_wide()
        .acts("How long tombstones survive compaction, in milliseconds."),
    long("log.cleaner.min.compaction.lag.ms")
        .or("0")
        .at_least(0)
        .cluster_wide()
        .acts("How long a record is safe from compaction, in milliseconds."),
    long("log.cleaner.max.compaction.lag.ms")
        .or("9223372036854775807")
        .at_least(1)
        .cluster_wide()
        .acts("The longest that a record may wait for compaction, in milliseconds."),
];
