//! Configuration keys (table): the controller quorum, the metadata log and broker registration.
//!
//! Constants without an owner; every shard reads them. Names, types, ranges and defaults are facts of Kafka 4.4,
//! checked by a test against a dump of Kafka's own tables; the sentences are ours. Nothing of it is on disk.

use super::key::{ConfigKey, Rule, boolean, int, list, long, string};

/// The keys of this area.
pub static KEYS: &[ConfigKey] = &[
    list("controller.quorum.voters")
        .or("")
        .rule(Rule::QuorumVoters)
        .high()
        .acts("The controllers of the cluster as id@host:port; today this node alone."),
    list("controller.quorum.bootstrap.servers")
        .or("")
        .rule(Rule::BootstrapServers)
        .high()
        .acts("Where controllers are found first, as host:port; today this node alone."),
    int("controller.quorum.election.timeout.ms")
        .or("1000")
        .at_least(0)
        .high()
        .not_yet("How long a candidate waits for votes, in milliseconds."),
    int("controller.quorum.fetch.timeout.ms")
        .or("2000")
        .at_least(0)
        .high()
        .not_yet("How long a voter does without its leader before an election, in milliseconds."),
    int("controller.quorum.election.backoff.max.ms")
        .or("1000")
        .at_least(0)
        .high()
        .not_yet("The longest random pause after a lost election, in milliseconds."),
    int("controller.quorum.append.linger.ms").or("25").at_least(0).without_effect(
        "How long the metadata log collects records for one write; group commit does it here.",
    ),
    int("controller.quorum.request.timeout.ms")
        .or("2000")
        .at_least(0)
        .not_yet("How long a request between controllers may take, in milliseconds."),
    int("controller.quorum.retry.backoff.ms")
        .or("20")
        .at_least(0)
        .low()
        .not_yet("The pause before a request between controllers is repeated, in milliseconds."),
    boolean("controller.quorum.auto.join.enable")
        .or("false")
        .low()
        .not_yet("Whether a new controller asks to become a voter by itself."),
    int("controller.quorum.fetch.snapshot.max.bytes")
        .or("1048576")
        .at_least(1)
        .low()
        .not_yet("The most bytes of a snapshot that one request fetches."),
    int("controller.quorum.fetch.max.bytes")
        .or("1048576")
        .at_least(1)
        .low()
        .not_yet("The most bytes of the metadata log that one request fetches."),
    long("controller.performance.sample.period.ms")
        .or("60000")
        .at_least(100)
        .internal()
        .without_effect("How often Kafka's controller reports its slow events, in milliseconds."),
    long("controller.performance.always.log.threshold.ms")
        .or("2000")
        .at_least(0)
        .internal()
        .without_effect("The length at which Kafka's controller reports an event at once, in milliseconds."),
    string("metadata.log.dir")
        .high()
        .acts("The directory of the metadata log; the first of log.dirs when not given."),
    int("metadata.log.segment.bytes")
        .or("1073741824")
        .at_least(8388608)
        .high()
        .acts("The size at which the metadata log begins a new segment, in bytes."),
    long("metadata.log.segment.ms")
        .or("604800000")
        .high()
        .not_yet("The age at which the metadata log begins a new segment, in milliseconds."),
    long("metadata.log.max.record.bytes.between.snapshots")
        .or("20971520")
        .at_least(1)
        .high()
        .not_yet("Bytes of metadata records after which a snapshot is written."),
    long("metadata.log.max.snapshot.interval.ms")
        .or("3600000")
        .at_least(0)
        .high()
        .not_yet("The longest time between two snapshots while records arrive; 0 for no limit."),
    long("metadata.max.retention.bytes")
        .or("104857600")
        .high()
        .not_yet("How many bytes of metadata log and snapshots are kept."),
    long("metadata.max.retention.ms")
        .or("604800000")
        .high()
        .not_yet("How long metadata log and snapshots are kept, in milliseconds."),
    int("metadata.max.idle.interval.ms")
        .or("500")
        .at_least(0)
        .low()
        .without_effect("How often Kafka writes a record to an idle metadata log; none is needed here."),
    int("internal.metadata.log.segment.bytes")
        .low()
        .internal()
        .without_effect("A segment size of the metadata log for Kafka's own tests, in bytes."),
    int("internal.metadata.max.batch.size.in.bytes")
        .or("8388608")
        .low()
        .internal()
        .without_effect("The largest batch of the metadata log for Kafka's own tests, in bytes."),
    long("internal.metadata.delete.delay.millis")
        .or("60000")
        .low()
        .internal()
        .without_effect("How long Kafka's tests keep deleted metadata files, in milliseconds."),
    int("broker.heartbeat.interval.ms")
        .or("2000")
        .not_yet("How often a broker tells the controller that it is alive, in milliseconds."),
    int("broker.session.timeout.ms")
        .or("9000")
        .not_yet("How long a silent broker counts as alive, in milliseconds."),
    int("initial.broker.registration.timeout.ms")
        .or("60000")
        .not_yet("How long a starting broker tries to register before it gives up, in milliseconds."),
    string("sasl.mechanism.controller.protocol")
        .or("GSSAPI")
        .high()
        .not_yet("The SASL mechanism towards controllers."),
];
