//! Configuration keys (table): one group or client metrics subscription, and the dynamic broker throttles.
//!
//! Constants without an owner; every shard reads them. Names, types, ranges and defaults are facts of Kafka 4.4,
//! checked by a test against a dump of Kafka's own tables; the sentences are ours. Nothing of it is on disk.

use super::key::{ConfigKey, Rule, boolean, int, list, long, same, string};

/// Every key of a group (KIP-848, KIP-932, KIP-1071).
pub static GROUP_KEYS: &[ConfigKey] = &[
    int("consumer.session.timeout.ms")
        .or("45000")
        .at_least(1)
        .from(&[same("group.consumer.session.timeout.ms")])
        .resource()
        .not_yet("When a silent member of this consumer group is removed, in milliseconds."),
    int("consumer.heartbeat.interval.ms")
        .or("5000")
        .at_least(1)
        .from(&[same("group.consumer.heartbeat.interval.ms")])
        .resource()
        .not_yet("How often members of this consumer group report, in milliseconds."),
    int("consumer.assignment.interval.ms")
        .or("1000")
        .at_least(0)
        .from(&[same("group.consumer.assignment.interval.ms")])
        .resource()
        .not_yet("The least time between two assignments of this consumer group, in milliseconds."),
    boolean("consumer.assignor.offload.enable")
        .or("true")
        .internal()
        .from(&[same("group.consumer.assignor.offload.enable")])
        .resource()
        .not_yet("Whether this consumer group's assignments are computed in the background."),
    int("share.session.timeout.ms")
        .or("45000")
        .at_least(1)
        .from(&[same("group.share.session.timeout.ms")])
        .resource()
        .not_yet("When a silent member of this share group is removed, in milliseconds."),
    int("share.heartbeat.interval.ms")
        .or("5000")
        .at_least(1)
        .from(&[same("group.share.heartbeat.interval.ms")])
        .resource()
        .not_yet("How often members of this share group report, in milliseconds."),
    int("share.record.lock.duration.ms")
        .or("30000")
        .at_least(1000)
        .from(&[same("group.share.record.lock.duration.ms")])
        .resource()
        .not_yet("How long this share group locks an acquired record, in milliseconds."),
    int("share.delivery.count.limit")
        .or("5")
        .at_least(2)
        .from(&[same("group.share.delivery.count.limit")])
        .resource()
        .not_yet("How often this share group delivers a record before it is given up."),
    int("share.partition.max.record.locks")
        .or("2000")
        .at_least(100)
        .from(&[same("group.share.partition.max.record.locks")])
        .resource()
        .not_yet("The most records of one share partition that this group locks at once."),
    string("share.auto.offset.reset")
        .or("latest")
        .rule(Rule::ShareOffsetReset)
        .resource()
        .not_yet("Where a new share partition begins: earliest, latest or by_duration:PnDTnHnMnS."),
    string("share.isolation.level")
        .or("read_uncommitted")
        .one_of(&["read_committed", "read_uncommitted"])
        .resource()
        .not_yet("Whether records of open and aborted transactions are delivered."),
    boolean("share.renew.acknowledge.enable")
        .or("true")
        .resource()
        .not_yet("Whether members may extend a lock by acknowledging with renew."),
    int("share.assignment.interval.ms")
        .or("1000")
        .at_least(0)
        .from(&[same("group.share.assignment.interval.ms")])
        .resource()
        .not_yet("The least time between two assignments of this share group, in milliseconds."),
    boolean("share.assignor.offload.enable")
        .or("true")
        .internal()
        .from(&[same("group.share.assignor.offload.enable")])
        .resource()
        .not_yet("Whether this share group's assignments are computed in the background."),
    int("streams.session.timeout.ms")
        .or("45000")
        .at_least(1)
        .from(&[same("group.streams.session.timeout.ms")])
        .resource()
        .not_yet("When a silent member of this streams group is removed, in milliseconds."),
    int("streams.heartbeat.interval.ms")
        .or("5000")
        .at_least(1)
        .from(&[same("group.streams.heartbeat.interval.ms")])
        .resource()
        .not_yet("How often members of this streams group report, in milliseconds."),
    int("streams.num.standby.replicas")
        .or("0")
        .at_least(0)
        .from(&[same("group.streams.num.standby.replicas")])
        .resource()
        .not_yet("How many standby copies of each task this streams group keeps."),
    int("streams.initial.rebalance.delay.ms")
        .or("3000")
        .at_least(0)
        .from(&[same("group.streams.initial.rebalance.delay.ms")])
        .resource()
        .not_yet("How long this streams group waits for more members when empty, in milliseconds."),
    int("streams.assignment.interval.ms")
        .or("1000")
        .at_least(0)
        .from(&[same("group.streams.assignment.interval.ms")])
        .resource()
        .not_yet("The least time between two assignments of this streams group, in milliseconds."),
    boolean("streams.assignor.offload.enable")
        .or("true")
        .internal()
        .from(&[same("group.streams.assignor.offload.enable")])
        .resource()
        .not_yet("Whether this streams group's assignments are computed in the background."),
    string("streams.assignor.name")
        .from(&[same("group.streams.assignors")])
        .resource()
        .not_yet("The task assignor of this streams group; the broker's first one when not given."),
    int("streams.task.offset.interval.ms")
        .or("60000")
        .at_least(1)
        .internal()
        .from(&[same("group.streams.task.offset.interval.ms")])
        .resource()
        .not_yet("How often members report the offsets of their tasks, in milliseconds."),
    int("streams.num.warmup.replicas")
        .or("2")
        .at_least(0)
        .internal()
        .from(&[same("group.streams.num.warmup.replicas")])
        .resource()
        .not_yet("How many warm-up copies of tasks this streams group may have."),
    list("streams.rack.aware.assignment.tags")
        .or("")
        .distinct()
        .low()
        .from(&[same("group.streams.rack.aware.assignment.tags")])
        .resource()
        .not_yet("Client tags over which this streams group spreads standby copies."),
    long("streams.acceptable.recovery.lag")
        .or("10000")
        .at_least(0)
        .internal()
        .from(&[same("group.streams.acceptable.recovery.lag")])
        .resource()
        .not_yet("How many offsets behind a client may be and still take an active task."),
    string("errors.deadletterqueue.topic.name")
        .or("")
        .resource()
        .not_yet("The topic that takes this share group's undeliverable records; empty for none."),
    boolean("errors.deadletterqueue.copy.record.enable")
        .or("false")
        .resource()
        .not_yet("Whether a dead letter carries the whole record or its headers alone."),
];

/// Every key of a client metrics subscription (KIP-714).
pub static CLIENT_METRICS_KEYS: &[ConfigKey] = &[
    int("interval.ms")
        .or("300000")
        .resource()
        .not_yet("How often a subscribed client pushes its metrics, in milliseconds."),
    list("match")
        .or("")
        .distinct()
        .resource()
        .not_yet("Which clients this subscription is for, as name=pattern pairs; all when empty."),
    list("metrics")
        .or("")
        .distinct()
        .resource()
        .not_yet("The prefixes of the metrics that clients push; * for all."),
];

/// Broker keys that exist as dynamic settings only; shown when set.
pub static THROTTLE_KEYS: &[ConfigKey] = &[
    long("leader.replication.throttled.rate")
        .or("9223372036854775807")
        .at_least(0)
        .internal()
        .cluster_wide()
        .not_yet("The most bytes per second that throttled leaders send to followers."),
    long("follower.replication.throttled.rate")
        .or("9223372036854775807")
        .at_least(0)
        .internal()
        .cluster_wide()
        .not_yet("The most bytes per second that throttled followers fetch."),
    long("replica.alter.log.dirs.io.max.bytes.per.second")
        .or("9223372036854775807")
        .at_least(0)
        .internal()
        .cluster_wide()
        .not_yet("The most bytes per second that moves between directories read and write."),
];
