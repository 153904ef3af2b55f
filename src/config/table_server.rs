//! Configuration keys (table): the broker as a whole: identity, roles, limits of requests, quotas, metrics, policies.
//!
//! Constants without an owner; every shard reads them. Names, types, ranges and defaults are facts of Kafka 4.4,
//! checked by a test against a dump of Kafka's own tables; the sentences are ours. Nothing of it is on disk.

use super::key::{ConfigKey, Rule, boolean, class, int, list, long, string};

/// The keys of this area.
pub static KEYS: &[ConfigKey] = &[
    int("node.id")
        .or("1")
        .at_least(0)
        .high()
        .acts("This node's number, the same for its broker and its controller."),
    int("broker.id").or("1").high().acts("The old name of node.id; the two must agree where both are given."),
    list("process.roles")
        .or("broker,controller")
        .not_empty()
        .of(&["broker", "controller"])
        .high()
        .acts("What this process does: broker, controller or both."),
    string("broker.rack").acts("The rack or zone that clients and replica placement see for this broker."),
    int("num.io.threads")
        .or("8")
        .at_least(1)
        .high()
        .cluster_wide()
        .without_effect("Kafka's request threads; here one shard per core does this work (see shards)."),
    int("background.threads")
        .or("10")
        .at_least(1)
        .high()
        .cluster_wide()
        .without_effect("Kafka's housekeeping threads; here each shard has its own task queues."),
    int("num.recovery.threads.per.data.dir")
        .or("2")
        .at_least(1)
        .high()
        .cluster_wide()
        .without_effect("Kafka's threads that read logs back at start; here every shard recovers its own."),
    int("num.replica.alter.log.dirs.threads")
        .high()
        .without_effect("Kafka's threads that move replicas between directories."),
    int("request.timeout.ms")
        .or("30000")
        .high()
        .not_yet("How long this broker waits for another node's answer, in milliseconds."),
    int("message.max.bytes")
        .or("1048588")
        .at_least(0)
        .high()
        .cluster_wide()
        .acts("The largest record batch that a topic takes unless it says otherwise, in bytes."),
    string("compression.type")
        .or("producer")
        .one_of(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"])
        .high()
        .cluster_wide()
        .acts("What topics store: what the producer sent, or this codec."),
    int("compression.gzip.level")
        .or("-1")
        .rule(Rule::GzipLevel)
        .cluster_wide()
        .acts("The effort of gzip where the broker compresses."),
    int("compression.lz4.level")
        .or("9")
        .between(1, 17)
        .cluster_wide()
        .without_effect("The effort of lz4; here it has one speed, and the format is the same."),
    int("compression.zstd.level")
        .or("3")
        .between(-131072, 22)
        .cluster_wide()
        .acts("The effort of zstd where the broker compresses."),
    boolean("delete.topic.enable").or("true").high().acts("Whether topics can be deleted at all."),
    int("fetch.max.bytes")
        .or("57671680")
        .at_least(1024)
        .acts("The most bytes that one fetch answer carries, whatever the client asks for."),
    int("max.incremental.fetch.session.cache.slots")
        .or("1000")
        .at_least(0)
        .acts("How many incremental fetch sessions are remembered at once."),
    int("max.request.partition.size.limit")
        .or("2000")
        .at_least(1)
        .acts("The most partitions that one DescribeTopicPartitions answer lists."),
    boolean("controlled.shutdown.enable")
        .or("true")
        .without_effect("A stop on SIGTERM is always a controlled one here."),
    long("server.max.startup.time.ms")
        .or("9223372036854775807")
        .at_least(0)
        .internal()
        .without_effect("Kafka's patience with its own start."),
    string("authorizer.class.name")
        .or("")
        .low()
        .not_yet("The class that checks ACLs; refused at start until ACLs are here."),
    list("early.start.listeners")
        .distinct()
        .high()
        .without_effect("Listeners that Kafka opens before its authorizer is ready."),
    list("config.providers")
        .or("")
        .distinct()
        .low()
        .cluster_wide()
        .not_yet("Names of the providers that resolve ${provider:path:key} values."),
    boolean("unstable.api.versions.enable")
        .or("false")
        .high()
        .internal()
        .without_effect("Serves API versions that are still changing; only finished ones are served here."),
    boolean("unstable.feature.versions.enable")
        .or("false")
        .high()
        .internal()
        .without_effect("Allows feature levels that are still changing."),
    class("client.quota.callback.class")
        .low()
        .not_yet("A class that decides client quotas in place of the built-in rules."),
    int("quota.window.num")
        .or("11")
        .at_least(1)
        .low()
        .not_yet("How many windows a client quota is averaged over."),
    int("quota.window.size.seconds")
        .or("1")
        .at_least(1)
        .low()
        .not_yet("The length of one client quota window, in seconds."),
    int("controller.quota.window.num")
        .or("11")
        .at_least(1)
        .low()
        .not_yet("How many windows the quota on topic changes is averaged over."),
    int("controller.quota.window.size.seconds")
        .or("1")
        .at_least(1)
        .low()
        .not_yet("The length of one window of the quota on topic changes, in seconds."),
    list("metric.reporters")
        .or("org.apache.kafka.common.metrics.JmxReporter")
        .distinct()
        .low()
        .cluster_wide()
        .without_effect("Classes that Kafka tells about its metrics."),
    int("metrics.num.samples")
        .or("2")
        .at_least(1)
        .low()
        .without_effect("How many samples Kafka keeps for a windowed metric."),
    long("metrics.sample.window.ms")
        .or("30000")
        .at_least(1)
        .low()
        .without_effect("The length of one such sample, in milliseconds."),
    string("metrics.recording.level")
        .or("INFO")
        .low()
        .without_effect("Which metrics Kafka records: INFO, DEBUG or TRACE."),
    int("kafka.metrics.polling.interval.secs")
        .or("10")
        .at_least(1)
        .low()
        .without_effect("How often Kafka's second family of metric reporters is asked, in seconds."),
    list("kafka.metrics.reporters")
        .or("")
        .distinct()
        .low()
        .without_effect("Kafka's second family of metric reporters."),
    int("telemetry.max.bytes")
        .or("1048576")
        .at_least(1)
        .low()
        .not_yet("The largest batch of metrics that a client may push, in bytes."),
    class("create.topic.policy.class.name").low().not_yet("A class that may veto the creation of a topic."),
    class("alter.config.policy.class.name").low().not_yet("A class that may veto a change of configuration."),
];
