//! Configuration keys (table): share groups and streams groups.
//!
//! Constants without an owner; every shard reads them. Names, types, ranges and defaults are facts of Kafka 4.4,
//! checked by a test against a dump of Kafka's own tables; the sentences are ours. Nothing of it is on disk.

use super::key::{ConfigKey, boolean, class, int, list, long, short, string};

/// The keys of this area.
pub static KEYS: &[ConfigKey] = &[
    int("group.share.session.timeout.ms")
        .or("45000")
        .at_least(1)
        .not_yet("When a silent member of a share group is removed, in milliseconds."),
    int("group.share.min.session.timeout.ms")
        .or("45000")
        .at_least(1)
        .not_yet("The shortest session timeout that a share group may set, in milliseconds."),
    int("group.share.max.session.timeout.ms")
        .or("60000")
        .at_least(1)
        .not_yet("The longest session timeout that a share group may set, in milliseconds."),
    int("group.share.heartbeat.interval.ms")
        .or("5000")
        .at_least(1)
        .not_yet("How often members of a share group report, in milliseconds."),
    int("group.share.min.heartbeat.interval.ms")
        .or("5000")
        .at_least(1)
        .not_yet("The shortest heartbeat interval that a share group may set, in milliseconds."),
    int("group.share.max.heartbeat.interval.ms")
        .or("15000")
        .at_least(1)
        .not_yet("The longest heartbeat interval that a share group may set, in milliseconds."),
    int("group.share.assignment.interval.ms")
        .or("1000")
        .at_least(0)
        .cluster_wide()
        .not_yet("The least time between two assignments of a share group, in milliseconds."),
    int("group.share.min.assignment.interval.ms")
        .or("0")
        .at_least(0)
        .not_yet("The lowest assignment interval that a share group may set, in milliseconds."),
    int("group.share.max.assignment.interval.ms")
        .or("15000")
        .at_least(0)
        .not_yet("The highest assignment interval that a share group may set, in milliseconds."),
    boolean("group.share.assignor.offload.enable")
        .or("true")
        .internal()
        .cluster_wide()
        .not_yet("Whether assignments are computed outside the coordinator's own thread."),
    int("group.share.max.size").or("200").between(1, 1000).not_yet("The most members of one share group."),
    list("group.share.assignors")
        .or("simple")
        .not_empty()
        .not_yet("The assignor of share groups; exactly one."),
    int("group.share.max.share.sessions")
        .or("2000")
        .at_least(1)
        .not_yet("The most share sessions of this broker."),
    int("group.share.initialize.retry.interval.ms")
        .or("30000")
        .at_least(1)
        .low()
        .internal()
        .not_yet("How often a share partition's first state is tried again, in milliseconds."),
    int("group.share.delivery.count.limit")
        .or("5")
        .between(2, 10)
        .not_yet("How often a record is delivered before it is given up."),
    int("group.share.min.delivery.count.limit")
        .or("2")
        .between(2, 5)
        .not_yet("The lowest delivery limit that a share group may set."),
    int("group.share.max.delivery.count.limit")
        .or("10")
        .between(5, 25)
        .not_yet("The highest delivery limit that a share group may set."),
    int("group.share.record.lock.duration.ms")
        .or("30000")
        .between(1000, 3600000)
        .not_yet("How long an acquired record is locked, in milliseconds."),
    int("group.share.min.record.lock.duration.ms")
        .or("15000")
        .between(1000, 30000)
        .not_yet("The shortest lock that a share group may set, in milliseconds."),
    int("group.share.max.record.lock.duration.ms")
        .or("60000")
        .between(30000, 3600000)
        .not_yet("The longest lock that a share group may set, in milliseconds."),
    int("group.share.partition.max.record.locks")
        .or("2000")
        .between(100, 10000)
        .not_yet("The most records of one share partition that are locked at once."),
    int("group.share.min.partition.max.record.locks")
        .or("100")
        .between(100, 2000)
        .not_yet("The lowest lock count that a share group may set."),
    int("group.share.max.partition.max.record.locks")
        .or("4000")
        .between(2000, 10000)
        .not_yet("The highest lock count that a share group may set."),
    string("group.share.persister.class.name")
        .or("org.apache.kafka.server.share.persister.DefaultStatePersister")
        .internal()
        .not_yet("The class that stores share state in Kafka's own tests."),
    string("group.share.dlq.manager.class.name")
        .or("org.apache.kafka.server.share.dlq.DefaultShareGroupDLQManager")
        .internal()
        .not_yet("The class that writes dead letters in Kafka's own tests."),
    boolean("errors.deadletterqueue.auto.create.topics.enable")
        .or("false")
        .cluster_wide()
        .not_yet("Whether a share group's dead-letter topic is created when it is missing."),
    string("errors.deadletterqueue.topic.name.prefix")
        .or("dlq.")
        .cluster_wide()
        .not_yet("How the names of dead-letter topics must begin; empty for no rule."),
    int("share.coordinator.append.linger.ms")
        .or("-1")
        .at_least(-1)
        .not_yet("How long share state records wait to share a write, in milliseconds."),
    int("share.coordinator.cached.buffer.max.bytes")
        .or("1048588")
        .at_least(524288)
        .cluster_wide()
        .not_yet("The largest write buffer kept for the next share state records, in bytes."),
    int("share.coordinator.cold.partition.snapshot.interval.ms")
        .or("300000")
        .at_least(1)
        .low()
        .internal()
        .not_yet("When an idle share partition's state is written out whole, in milliseconds."),
    int("share.coordinator.load.buffer.size")
        .or("5242880")
        .at_least(1)
        .high()
        .not_yet("How many bytes are read at once when share state is loaded."),
    int("share.coordinator.snapshot.update.records.per.snapshot")
        .or("500")
        .between(0, 500)
        .not_yet("How many changes lie between two whole states of a share partition."),
    int("share.coordinator.state.topic.compression.codec")
        .or("0")
        .high()
        .not_yet("The codec of the share state topic's batches, by number; 0 for none."),
    short("share.coordinator.state.topic.min.isr")
        .or("1")
        .at_least(1)
        .high()
        .not_yet("In-sync replicas that the share state topic needs; 1 here while there is one node."),
    int("share.coordinator.state.topic.num.partitions")
        .or("50")
        .at_least(1)
        .high()
        .not_yet("Partitions of the share state topic; not to be changed later."),
    int("share.coordinator.state.topic.prune.interval.ms")
        .or("300000")
        .at_least(1)
        .low()
        .internal()
        .not_yet("How often outdated share state is cut off, in milliseconds."),
    short("share.coordinator.state.topic.replication.factor")
        .or("1")
        .at_least(1)
        .high()
        .not_yet("Replicas of the share state topic; 1 here while there is one node."),
    int("share.coordinator.state.topic.segment.bytes")
        .or("104857600")
        .at_least(1)
        .high()
        .not_yet("The segment size of the share state topic, in bytes."),
    int("share.coordinator.threads").or("1").at_least(1).not_yet("Kafka's share coordinator threads."),
    int("share.coordinator.write.timeout.ms")
        .or("5000")
        .at_least(1)
        .high()
        .not_yet("How long a share state write may wait for its replicas, in milliseconds."),
    int("share.fetch.purgatory.purge.interval.requests")
        .or("1000")
        .not_yet("How Kafka tidies its waiting share fetches."),
    int("group.streams.session.timeout.ms")
        .or("45000")
        .at_least(1)
        .not_yet("When a silent member of a streams group is removed, in milliseconds."),
    int("group.streams.min.session.timeout.ms")
        .or("45000")
        .at_least(1)
        .not_yet("The shortest session timeout that a streams group may set, in milliseconds."),
    int("group.streams.max.session.timeout.ms")
        .or("60000")
        .at_least(1)
        .not_yet("The longest session timeout that a streams group may set, in milliseconds."),
    int("group.streams.heartbeat.interval.ms")
        .or("5000")
        .at_least(1)
        .not_yet("How often members of a streams group report, in milliseconds."),
    int("group.streams.min.heartbeat.interval.ms")
        .or("5000")
        .at_least(1)
        .not_yet("The shortest heartbeat interval that a streams group may set, in milliseconds."),
    int("group.streams.max.heartbeat.interval.ms")
        .or("15000")
        .at_least(1)
        .not_yet("The longest heartbeat interval that a streams group may set, in milliseconds."),
    int("group.streams.assignment.interval.ms")
        .or("1000")
        .at_least(0)
        .cluster_wide()
        .not_yet("The least time between two assignments of a streams group, in milliseconds."),
    int("group.streams.min.assignment.interval.ms")
        .or("0")
        .at_least(0)
        .not_yet("The lowest assignment interval that a streams group may set, in milliseconds."),
    int("group.streams.max.assignment.interval.ms")
        .or("15000")
        .at_least(0)
        .not_yet("The highest assignment interval that a streams group may set, in milliseconds."),
    boolean("group.streams.assignor.offload.enable")
        .or("true")
        .internal()
        .cluster_wide()
        .not_yet("Whether assignments are computed outside the coordinator's own thread."),
    list("group.streams.assignors")
        .or("sticky")
        .not_empty()
        .not_yet("The task assignors of streams groups, the default one first."),
    int("group.streams.max.size")
        .or("2147483647")
        .at_least(1)
        .not_yet("The most members of one streams group."),
    int("group.streams.num.standby.replicas")
        .or("0")
        .at_least(0)
        .not_yet("How many standby copies of each task are kept."),
    int("group.streams.max.standby.replicas")
        .or("2")
        .at_least(0)
        .not_yet("The most standby copies that a streams group may set."),
    int("group.streams.num.warmup.replicas")
        .or("2")
        .at_least(0)
        .internal()
        .not_yet("How many warm-up copies of tasks may exist at once."),
    int("group.streams.max.warmup.replicas")
        .or("20")
        .at_least(0)
        .internal()
        .not_yet("The most warm-up copies that a streams group may set."),
    long("group.streams.acceptable.recovery.lag")
        .or("10000")
        .at_least(0)
        .internal()
        .not_yet("How many offsets behind a client may be and still take an active task."),
    int("group.streams.initial.rebalance.delay.ms")
        .or("3000")
        .at_least(0)
        .not_yet("How long an empty streams group waits for more members, in milliseconds."),
    list("group.streams.rack.aware.assignment.tags")
        .or("")
        .distinct()
        .low()
        .not_yet("Client tags over which standby copies are spread."),
    int("group.streams.task.offset.interval.ms")
        .or("60000")
        .at_least(1)
        .internal()
        .not_yet("How often members report the offsets of their tasks, in milliseconds."),
    int("group.streams.min.task.offset.interval.ms")
        .or("15000")
        .at_least(1)
        .internal()
        .not_yet("The shortest such interval that a streams group may set, in milliseconds."),
    class("group.streams.topology.description.plugin.class")
        .not_yet("A class that receives descriptions of topologies; none turns it off."),
];
