//! Configuration keys (table): the group coordinator, committed offsets, classic and consumer groups.
//!
//! Constants without an owner; every shard reads them. Names, types, ranges and defaults are facts of Kafka 4.4,
//! checked by a test against a dump of Kafka's own tables; the sentences are ours. Nothing of it is on disk.

use super::key::{ConfigKey, boolean, int, list, long, short, string};

/// The keys of this area.
pub static KEYS: &[ConfigKey] = &[
    int("group.min.session.timeout.ms")
        .or("6000")
        .acts("The shortest session timeout that a classic member may ask for, in milliseconds."),
    int("group.max.session.timeout.ms")
        .or("1800000")
        .acts("The longest session timeout that a classic member may ask for, in milliseconds."),
    int("group.initial.rebalance.delay.ms")
        .or("3000")
        .acts("How long an empty classic group waits for more members to join, in milliseconds."),
    int("group.max.size").or("2147483647").at_least(1).acts("The most members of one classic group."),
    list("group.coordinator.rebalance.protocols")
        .or("classic,consumer,streams")
        .not_empty()
        .of(&["consumer", "classic", "share", "streams"])
        .not_yet("Which kinds of group are served."),
    int("group.coordinator.append.linger.ms")
        .or("-1")
        .at_least(-1)
        .without_effect("How long group records wait to share a write; group commit does it here."),
    int("group.coordinator.threads").or("4").at_least(1).high().without_effect(
        "Kafka's coordinator threads; here the shard of each offsets partition does the work.",
    ),
    int("group.coordinator.background.threads")
        .or("2")
        .at_least(1)
        .high()
        .without_effect("Kafka's threads for regular expressions and assignments of groups."),
    int("group.coordinator.cached.buffer.max.bytes")
        .or("1048588")
        .at_least(524288)
        .cluster_wide()
        .without_effect("The largest write buffer that Kafka keeps for its next group records, in bytes."),
    int("offsets.topic.num.partitions")
        .or("50")
        .at_least(1)
        .high()
        .acts("Partitions of the topic that holds committed offsets; not to be changed later."),
    short("offsets.topic.replication.factor")
        .or("1")
        .at_least(1)
        .high()
        .acts("Replicas of the offsets topic; 1 here while there is one node."),
    int("offsets.topic.segment.bytes")
        .or("104857600")
        .at_least(1)
        .high()
        .acts("The segment size of the offsets topic, in bytes."),
    int("offsets.topic.compression.codec")
        .or("0")
        .high()
        .not_yet("The codec of the offsets topic's batches, by number; 0 for none."),
    int("offsets.load.buffer.size")
        .or("5242880")
        .at_least(1)
        .high()
        .without_effect("How many bytes Kafka reads at once when it loads offsets."),
    int("offsets.retention.minutes")
        .or("10080")
        .at_least(1)
        .high()
        .acts("How long the offsets of an empty group are kept, in minutes."),
    long("offsets.retention.check.interval.ms")
        .or("600000")
        .at_least(1)
        .high()
        .acts("How often expired offsets are looked for, in milliseconds."),
    int("offsets.commit.timeout.ms")
        .or("5000")
        .at_least(1)
        .high()
        .not_yet("How long an offset commit may wait for its replicas, in milliseconds."),
    int("offset.metadata.max.bytes")
        .or("4096")
        .high()
        .acts("The longest text that may accompany a committed offset, in bytes."),
    int("group.consumer.session.timeout.ms")
        .or("45000")
        .at_least(1)
        .not_yet("When a silent member of a consumer group is removed, in milliseconds."),
    int("group.consumer.min.session.timeout.ms")
        .or("45000")
        .at_least(1)
        .not_yet("The shortest session timeout that a consumer group may set, in milliseconds."),
    int("group.consumer.max.session.timeout.ms")
        .or("60000")
        .at_least(1)
        .not_yet("The longest session timeout that a consumer group may set, in milliseconds."),
    int("group.consumer.heartbeat.interval.ms")
        .or("5000")
        .at_least(1)
        .not_yet("How often members of a consumer group report, in milliseconds."),
    int("group.consumer.min.heartbeat.interval.ms")
        .or("5000")
        .at_least(1)
        .not_yet("The shortest heartbeat interval that a consumer group may set, in milliseconds."),
    int("group.consumer.max.heartbeat.interval.ms")
        .or("15000")
        .at_least(1)
        .not_yet("The longest heartbeat interval that a consumer group may set, in milliseconds."),
    int("group.consumer.assignment.interval.ms")
        .or("1000")
        .at_least(0)
        .cluster_wide()
        .not_yet("The least time between two assignments of a consumer group, in milliseconds."),
    int("group.consumer.min.assignment.interval.ms")
        .or("0")
        .at_least(0)
        .not_yet("The lowest assignment interval that a consumer group may set, in milliseconds."),
    int("group.consumer.max.assignment.interval.ms")
        .or("15000")
        .at_least(0)
        .not_yet("The highest assignment interval that a consumer group may set, in milliseconds."),
    boolean("group.consumer.assignor.offload.enable")
        .or("true")
        .internal()
        .cluster_wide()
        .not_yet("Whether assignments are computed outside the coordinator's own thread."),
    int("group.consumer.max.size")
        .or("2147483647")
        .at_least(1)
        .not_yet("The most members of one consumer group."),
    list("group.consumer.assignors")
        .or("uniform,range")
        .not_empty()
        .not_yet("The assignors of consumer groups, the default one first."),
    string("group.consumer.migration.policy")
        .or("bidirectional")
        .one_of_any_case(&["BIDIRECTIONAL", "DISABLED", "DOWNGRADE", "UPGRADE"])
        .not_yet("Which way groups may turn between the classic and the consumer protocol."),
    int("group.consumer.regex.refresh.interval.ms")
        .or("600000")
        .at_least(10000)
        .internal()
        .not_yet("How often a subscribed regular expression is matched again, in milliseconds."),
];
