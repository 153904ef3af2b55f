//! Configuration keys (table): the few that Kafka does not have.
//!
//! Constants without an owner; every shard reads them. Nothing of it is on disk.
//! Invariant: none of these names is one of Kafka's.

use super::key::{ConfigKey, Rule, int, list, long, string};

/// Ottla's own keys.
pub static KEYS: &[ConfigKey] = &[
    int("shards")
        .at_least(1)
        .high()
        .acts("How many shards run; one per core that the process may use when not given."),
    list("cpus").rule(Rule::CpuList).high().acts(
        "The cores that shards are pinned to, such as 0,2-5; all that the process may use when not given.",
    ),
    string("metrics.listener").rule(Rule::HostPort).acts(
        "Where metrics are served as Prometheus reads them, such as localhost:9644; nowhere when not given.",
    ),
    long("ottla.tail.cache.bytes")
        .or("33554432")
        .at_least(1_048_576)
        .acts("Memory per shard for the newest blocks of its partitions, in bytes."),
    int("ottla.segment.files.open.max")
        .or("-1")
        .at_least(-1)
        .acts("How many segment files stay open; -1: a quarter of what the process may open."),
    int("ottla.journal.commits.min").or("8").at_least(1).acts(
        "Small commits under way at once, per shard, from which on its journal takes them in one write.",
    ),
];
