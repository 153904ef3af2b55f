//! Configuration keys (table): remote (tiered) storage.
//!
//! Constants without an owner; every shard reads them. Names, types, ranges and defaults are facts of Kafka 4.4,
//! checked by a test against a dump of Kafka's own tables; the sentences are ours. Nothing of it is on disk.

use super::key::{ConfigKey, boolean, double, int, long, string};

/// The keys of this area.
pub static KEYS: &[ConfigKey] = &[
    boolean("remote.log.storage.system.enable")
        .or("false")
        .not_yet("Whether segments may be moved to remote storage; refused at start until that is here."),
    string("remote.log.storage.manager.class.name")
        .not_empty()
        .not_yet("The class that stores segments remotely."),
    string("remote.log.storage.manager.class.path").not_yet("Where that class is found."),
    string("remote.log.storage.manager.impl.prefix")
        .or("rsm.config.")
        .not_empty()
        .not_yet("How settings meant for that class begin."),
    string("remote.log.metadata.manager.class.name")
        .or("org.apache.kafka.server.log.remote.metadata.storage.TopicBasedRemoteLogMetadataManager")
        .not_empty()
        .not_yet("The class that keeps track of remote segments."),
    string("remote.log.metadata.manager.class.path").not_yet("Where that class is found."),
    string("remote.log.metadata.manager.impl.prefix")
        .or("rlmm.config.")
        .not_empty()
        .not_yet("How settings meant for that class begin."),
    string("remote.log.metadata.manager.listener.name")
        .not_empty()
        .not_yet("The listener that the keeper of remote metadata connects to."),
    int("remote.log.metadata.custom.metadata.max.bytes")
        .or("128")
        .at_least(0)
        .low()
        .not_yet("The most bytes that a store may attach to a remote segment."),
    long("remote.log.index.file.cache.total.size.bytes")
        .or("1073741824")
        .at_least(1)
        .low()
        .cluster_wide()
        .not_yet("Local disk for copies of remote indexes, in bytes."),
    long("remote.log.index.file.cache.ttl.ms")
        .or("900000")
        .at_least(-1)
        .low()
        .internal()
        .not_yet("How long an unused copy of a remote index is kept, in milliseconds."),
    int("remote.log.manager.thread.pool.size")
        .or("2")
        .at_least(1)
        .not_yet("Kafka's threads for remote housekeeping."),
    int("remote.log.manager.copier.thread.pool.size")
        .or("10")
        .at_least(1)
        .cluster_wide()
        .not_yet("Kafka's threads that copy segments out."),
    int("remote.log.manager.expiration.thread.pool.size")
        .or("10")
        .at_least(1)
        .cluster_wide()
        .not_yet("Kafka's threads that delete remote segments."),
    int("remote.log.manager.follower.thread.pool.size")
        .or("2")
        .at_least(1)
        .cluster_wide()
        .not_yet("Kafka's threads that follow remote state on followers."),
    long("remote.log.manager.task.interval.ms")
        .or("30000")
        .at_least(1)
        .low()
        .not_yet("How often remote work is looked for, in milliseconds."),
    long("remote.log.manager.task.retry.backoff.ms")
        .or("500")
        .at_least(1)
        .low()
        .internal()
        .not_yet("The first pause after failed remote work, in milliseconds."),
    long("remote.log.manager.task.retry.backoff.max.ms")
        .or("30000")
        .at_least(1)
        .low()
        .internal()
        .not_yet("The longest pause after failed remote work, in milliseconds."),
    double("remote.log.manager.task.retry.jitter")
        .or("0.2")
        .share_between(0.0, 0.5)
        .low()
        .internal()
        .not_yet("The share by which those pauses vary at random."),
    int("remote.log.reader.threads")
        .or("10")
        .at_least(1)
        .cluster_wide()
        .not_yet("Kafka's threads that read remote segments."),
    int("remote.log.reader.max.pending.tasks")
        .or("100")
        .at_least(1)
        .not_yet("The most remote reads that may wait."),
    long("remote.log.manager.copy.max.bytes.per.second")
        .or("9223372036854775807")
        .at_least(1)
        .cluster_wide()
        .not_yet("The most bytes per second that are copied out."),
    int("remote.log.manager.copy.quota.window.num")
        .or("11")
        .at_least(1)
        .not_yet("How many windows that limit is averaged over."),
    int("remote.log.manager.copy.quota.window.size.seconds")
        .or("1")
        .at_least(1)
        .not_yet("The length of one such window, in seconds."),
    long("remote.log.manager.fetch.max.bytes.per.second")
        .or("9223372036854775807")
        .at_least(1)
        .cluster_wide()
        .not_yet("The most bytes per second that are read back."),
    int("remote.log.manager.fetch.quota.window.num")
        .or("11")
        .at_least(1)
        .not_yet("How many windows that limit is averaged over."),
    int("remote.log.manager.fetch.quota.window.size.seconds")
        .or("1")
        .at_least(1)
        .not_yet("The length of one such window, in seconds."),
    int("remote.fetch.max.wait.ms")
        .or("500")
        .at_least(1)
        .cluster_wide()
        .not_yet("How long a fetch may wait for remote bytes, in milliseconds."),
    long("remote.list.offsets.request.timeout.ms")
        .or("30000")
        .at_least(1)
        .cluster_wide()
        .not_yet("How long a search by time may wait for remote storage, in milliseconds."),
];
