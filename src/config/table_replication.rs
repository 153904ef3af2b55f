//! Configuration keys (table): replication, leadership and replication throttling.
//!
//! Constants without an owner; every shard reads them. Names, types, ranges and defaults are facts of Kafka 4.4,
//! checked by a test against a dump of Kafka's own tables; the sentences are ours. Nothing of it is on disk.

use super::key::{ConfigKey, boolean, int, long, string};

/// The keys of this area.
pub static KEYS: &[ConfigKey] =
    &[
        long("replica.lag.time.max.ms")
            .or("30000")
            .high()
            .not_yet("How long a follower may be behind before it leaves the in-sync set, in milliseconds."),
        int("replica.socket.timeout.ms")
            .or("30000")
            .high()
            .not_yet("How long a follower waits for its leader on the wire, in milliseconds."),
        int("replica.socket.receive.buffer.bytes")
            .or("65536")
            .high()
            .not_yet("The kernel's receive buffer of a follower's connection, in bytes."),
        int("replica.fetch.max.bytes")
            .or("1048576")
            .at_least(0)
            .not_yet("How many bytes of one partition a follower asks for at once."),
        int("replica.fetch.wait.max.ms")
            .or("500")
            .high()
            .not_yet("How long a leader may hold a follower's fetch, in milliseconds."),
        int("replica.fetch.backoff.ms")
            .or("1000")
            .at_least(0)
            .not_yet("How long a follower waits after a failed fetch, in milliseconds."),
        int("replica.fetch.min.bytes")
            .or("1")
            .high()
            .not_yet("How many bytes a leader collects before it answers a follower."),
        int("replica.fetch.response.max.bytes")
            .or("10485760")
            .at_least(0)
            .not_yet("How many bytes one answer to a follower may have."),
        int("num.replica.fetchers").or("1").at_least(1).high().cluster_wide().without_effect(
            "Kafka's fetch threads per leader; here every shard fetches for its own partitions.",
        ),
        long("replica.high.watermark.checkpoint.interval.ms")
            .or("5000")
            .high()
            .without_effect("How often high watermarks are written down; here with the recovery points."),
        string("replica.selector.class").not_yet("A class that sends consumers to a nearby follower."),
        boolean("follower.fetch.last.tiered.offset.enable")
            .or("false")
            .cluster_wide()
            .not_yet("Whether a new follower starts after what is in remote storage already."),
        int("fetch.purgatory.purge.interval.requests")
            .or("1000")
            .without_effect("How Kafka tidies its waiting fetches; here they are removed at once."),
        int("producer.purgatory.purge.interval.requests")
            .or("1000")
            .without_effect("How Kafka tidies its waiting produce requests; here they are removed at once."),
        int("delete.records.purgatory.purge.interval.requests")
            .or("1")
            .without_effect("How Kafka tidies its waiting deletions; here they are removed at once."),
        boolean("auto.leader.rebalance.enable")
            .or("true")
            .high()
            .not_yet("Whether leadership goes back to preferred replicas by itself."),
        long("leader.imbalance.check.interval.seconds")
            .or("300")
            .at_least(1)
            .high()
            .not_yet("How often preferred leadership is looked at, in seconds."),
        boolean("unclean.leader.election.enable")
            .or("false")
            .high()
            .cluster_wide()
            .not_yet("Whether a replica that may lack records can become leader."),
        long("unclean.leader.election.interval.ms")
            .or("300000")
            .at_least(1)
            .internal()
            .not_yet("How often leaderless partitions are tried for an unclean election, in milliseconds."),
        int("controller.socket.timeout.ms")
            .or("30000")
            .not_yet("How long a broker waits for the controller on the wire, in milliseconds."),
        int("replication.quota.window.num")
            .or("11")
            .at_least(1)
            .low()
            .not_yet("How many windows replication throttling is averaged over."),
        int("replication.quota.window.size.seconds")
            .or("1")
            .at_least(1)
            .low()
            .not_yet("The length of one window of replication throttling, in seconds."),
        int("alter.log.dirs.replication.quota.window.num")
            .or("11")
            .at_least(1)
            .low()
            .not_yet("How many windows throttled moves between directories are averaged over."),
        int("alter.log.dirs.replication.quota.window.size.seconds")
            .or("1")
            .at_least(1)
            .low()
            .not_yet("The length of one window of throttled moves, in seconds."),
    ];
