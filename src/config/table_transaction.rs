//! Configuration keys (table): idempotent producers and transactions.
//!
//! Constants without an owner; every shard reads them. Names, types, ranges and defaults are facts of Kafka 4.4,
//! checked by a test against a dump of Kafka's own tables; the sentences are ours. Nothing of it is on disk.

use super::key::{ConfigKey, boolean, int, short};

/// The keys of this area.
pub static KEYS: &[ConfigKey] = &[
    int("producer.id.expiration.ms")
        .or("86400000")
        .at_least(1)
        .low()
        .cluster_wide()
        .acts("How long an idle producer's sequence numbers are remembered, in milliseconds."),
    int("producer.id.expiration.check.interval.ms").or("600000").at_least(1).low().internal().without_effect(
        "How often forgotten producers are looked for; here with log.retention.check.interval.ms.",
    ),
    int("transactional.id.expiration.ms")
        .or("604800000")
        .at_least(1)
        .high()
        .not_yet("How long an idle transactional id is remembered, in milliseconds."),
    int("transaction.max.timeout.ms")
        .or("900000")
        .at_least(1)
        .high()
        .not_yet("The longest transaction timeout that a producer may ask for, in milliseconds."),
    int("transaction.state.log.num.partitions")
        .or("50")
        .at_least(1)
        .high()
        .not_yet("Partitions of the topic of transaction states; not to be changed later."),
    short("transaction.state.log.replication.factor")
        .or("1")
        .at_least(1)
        .high()
        .not_yet("Replicas of that topic; 1 here while there is one node."),
    int("transaction.state.log.min.isr")
        .or("1")
        .at_least(1)
        .high()
        .not_yet("In-sync replicas that it needs; 1 here while there is one node."),
    int("transaction.state.log.segment.bytes")
        .or("104857600")
        .at_least(1)
        .high()
        .not_yet("The segment size of that topic, in bytes."),
    int("transaction.state.log.load.buffer.size")
        .or("5242880")
        .at_least(1)
        .high()
        .without_effect("How many bytes Kafka reads at once when it loads transaction states."),
    int("transaction.abort.timed.out.transaction.cleanup.interval.ms")
        .or("10000")
        .at_least(1)
        .low()
        .not_yet("How often overdue transactions are looked for, in milliseconds."),
    int("transaction.remove.expired.transaction.cleanup.interval.ms")
        .or("3600000")
        .at_least(1)
        .low()
        .not_yet("How often expired transactional ids are looked for, in milliseconds."),
    boolean("transaction.partition.verification.enable")
        .or("true")
        .low()
        .cluster_wide()
        .not_yet("Whether a write checks that its partition belongs to the transaction."),
    boolean("transaction.two.phase.commit.enable")
        .or("false")
        .low()
        .not_yet("Whether producers may take part in two-phase commits of others."),
    int("add.partitions.to.txn.retry.backoff.ms")
        .or("20")
        .at_least(1)
        .high()
        .not_yet("The first pause before a busy transaction is asked again, in milliseconds."),
    int("add.partitions.to.txn.retry.backoff.max.ms")
        .or("100")
        .at_least(0)
        .high()
        .not_yet("The longest time spent asking again, in milliseconds."),
];
