//! The walk through Kafka's tools, in order: later steps rely on what earlier ones left behind. Arguments are words
//! between spaces; a last `@` stands for the broker's address, `@FILE` for a file that holds the step's input, a `+`
//! inside a word for a space.

use super::{Check, Step};

const fn step(check: Check, tool: &'static str, args: &'static str, expect: &'static str) -> Step {
    Step { check, tool, args, input: "", expect }
}

const fn same(tool: &'static str, args: &'static str, expect: &'static str) -> Step {
    step(Check::Same, tool, args, expect)
}

const fn refused(tool: &'static str, args: &'static str, expect: &'static str) -> Step {
    step(Check::Refused, tool, args, expect)
}

const fn differs(tool: &'static str, args: &'static str, expect: &'static str) -> Step {
    step(Check::Differs, tool, args, expect)
}

const fn unserved(tool: &'static str, args: &'static str, expect: &'static str) -> Step {
    step(Check::Unserved, tool, args, expect)
}

const fn with_input(input: &'static str, step: Step) -> Step {
    Step { input, ..step }
}

/// Topics: created, described, altered, and every way of asking for one wrongly.
pub const TOPICS: &[Step] = &[
    differs("broker-api-versions", "", "Produce(0): 0 to 13"),
    same("topics", "--create --topic walk --partitions 3", "Created topic walk."),
    same("topics", "--create --topic walk --if-not-exists", ""),
    refused("topics", "--create --topic walk", "Topic 'walk' already exists."),
    same("topics", "--create --topic one --partitions 1", "Created topic one."),
    same("topics", "--create --topic assigned --replica-assignment 1,1", "Created topic assigned."),
    same("topics", "--create --topic a.b --config retention.ms=3600000", "Created topic a.b."),
    same("topics", "--list", "walk"),
    same("topics", "--describe --topic walk", "PartitionCount: 3"),
    same("topics", "--alter --topic walk --partitions 5", ""),
    same("topics", "--describe --exclude-internal", "PartitionCount: 5"),
    same("topics", "--describe --under-replicated-partitions", ""),
    same("topics", "--describe --unavailable-partitions", ""),
    same("topics", "--describe --under-min-isr-partitions", ""),
    same("topics", "--describe --topics-with-overrides --exclude-internal", "retention.ms=3600000"),
    refused("topics", "--alter --topic walk --partitions 2", "2 would not be an increase."),
    refused("topics", "--alter --topic nope --partitions 2", "Topic 'nope' does not exist as expected"),
    refused("topics", "--create --topic bad+name", "other than ASCII alphanumerics"),
    refused("topics", "--create --topic ..", "'..' is not allowed"),
    refused("topics", "--create --topic a_b", "Topic 'a_b' collides with existing topic: a.b"),
    refused("topics", "--create --topic many --partitions 100000", "Excessively large number of partitions"),
    refused(
        "topics",
        "--create --topic rf --replication-factor 3",
        "Unable to replicate the partition 3 time(s)",
    ),
    refused("topics", "--create --topic rf --replica-assignment 7", "no such broker is registered"),
    refused("topics", "--create --topic bad --config nosuch=1", "Unknown topic config name: nosuch"),
    refused("topics", "--create --topic bad --config retention.ms=abc", "Not a number of type LONG"),
    refused("topics", "--create --topic bad --config retention.ms=-5", "Value must be at least -1"),
    refused("topics", "--create --topic bad --config cleanup.policy=burn", "must be one of: compact, delete"),
];

/// Configurations of topics, brokers, loggers and groups.
pub const CONFIGS: &[Step] = &[
    same(
        "configs",
        "--alter --entity-type topics --entity-name walk --add-config \
         retention.ms=3600000,cleanup.policy=[compact,delete]",
        "Completed updating config for topic walk.",
    ),
    same("configs", "--describe --entity-type topics --entity-name walk", "retention.ms=3600000"),
    same("configs", "--describe --all --entity-type topics --entity-name walk", "flush.messages=1 "),
    same(
        "configs",
        "--alter --entity-type topics --entity-name walk --delete-config retention.ms,cleanup.policy",
        "Completed updating config for topic walk.",
    ),
    refused(
        "configs",
        "--alter --entity-type topics --entity-name walk --add-config nosuch=1",
        "Unknown topic config name: nosuch",
    ),
    refused(
        "configs",
        "--alter --entity-type topics --entity-name nope --add-config retention.ms=1",
        "The topic 'nope' does not exist.",
    ),
    same("configs", "--describe --all --entity-type brokers --entity-name 1", "log.segment.bytes=1073741824"),
    same(
        "configs",
        "--alter --entity-type brokers --entity-default --add-config log.retention.ms=7200000",
        "Completed updating default config for brokers in the cluster.",
    ),
    same("configs", "--describe --entity-type brokers --entity-default", "log.retention.ms=7200000"),
    same(
        "configs",
        "--describe --all --entity-type topics --entity-name walk",
        "DYNAMIC_DEFAULT_BROKER_CONFIG:log.retention.ms=7200000",
    ),
    same(
        "configs",
        "--alter --entity-type brokers --entity-default --delete-config log.retention.ms",
        "Completed updating default config for brokers in the cluster.",
    ),
    same("configs", "--describe --entity-type brokers", "Default configs for brokers"),
    same(
        "configs",
        "--alter --entity-type brokers --entity-name 1 --add-config log.cleaner.threads=2",
        "Completed updating config for broker 1.",
    ),
    same("configs", "--describe --entity-type brokers --entity-name 1", "log.cleaner.threads=2"),
    refused(
        "configs",
        "--alter --entity-type brokers --entity-name 1 --add-config log.dirs=/tmp",
        "Cannot update these configs dynamically",
    ),
    differs("configs", "--describe --entity-type broker-loggers --entity-name 1", "root=INFO"),
    refused(
        "configs",
        "--alter --entity-type broker-loggers --entity-name 1 --add-config no.such.Logger=DEBUG",
        "Invalid broker logger(s): no.such.Logger",
    ),
    same(
        "configs",
        "--alter --entity-type groups --entity-name grouped --add-config consumer.session.timeout.ms=50000",
        "Completed updating config for group grouped.",
    ),
    same(
        "configs",
        "--describe --entity-type groups --entity-name grouped",
        "consumer.session.timeout.ms=50000",
    ),
];

/// Records written, read, counted and deleted.
pub const RECORDS: &[Step] = &[
    with_input(
        "a:1\nb:2\na:3\n",
        same(
            "console-producer",
            "--topic one --reader-property parse.key=true --reader-property key.separator=:",
            "",
        ),
    ),
    same(
        "console-consumer",
        "--topic one --from-beginning --max-messages 3 --group readers --formatter-property print.key=true \
         --formatter-property print.offset=true",
        "Offset:2\ta\t3",
    ),
    with_input("gzip\n", same("console-producer", "--topic assigned --compression-codec gzip", "")),
    with_input("snappy\n", same("console-producer", "--topic assigned --compression-codec snappy", "")),
    with_input("lz4\n", same("console-producer", "--topic assigned --compression-codec lz4", "")),
    with_input("zstd\n", same("console-producer", "--topic assigned --compression-codec zstd", "")),
    with_input(
        "h:1,i:2\theaded\n",
        same("console-producer", "--topic assigned --reader-property parse.headers=true", ""),
    ),
    same(
        "console-consumer",
        "--topic assigned --from-beginning --max-messages 5 --isolation-level read_committed \
         --formatter-property print.headers=true",
        "h:1,i:2\theaded",
    ),
    same("get-offsets", "--topic one", "one:0:3"),
    same("get-offsets", "--topic one --time -2", "one:0:0"),
    // Which record has the largest timestamp depends on the milliseconds in which the producer made them.
    differs("get-offsets", "--topic one --time -3", "one:0:"),
    same("get-offsets", "--topic one --time -4", "one:0:0"),
    same("get-offsets", "--exclude-internal-topics --topic-partitions one:0,walk:1-3", "walk:2:0"),
];

/// Groups without members: listed, described, their offsets reset and deleted.
pub const GROUPS: &[Step] = &[
    same("consumer-groups", "--list", "readers"),
    same("consumer-groups", "--list --state", "Empty"),
    same("consumer-groups", "--list --type", "Classic"),
    same("groups", "--list", "readers"),
    same("consumer-groups", "--describe --group readers", "readers one 0 3 3 0"),
    same("consumer-groups", "--describe --group readers --state", "Empty"),
    refused("consumer-groups", "--describe --group nope", "Group nope not found."),
    same("consumer-groups", "--reset-offsets --group readers --topic one --to-earliest --dry-run", "one 0 0"),
    same("consumer-groups", "--reset-offsets --group readers --topic one --shift-by -2 --execute", "one 0 1"),
    same(
        "consumer-groups",
        "--reset-offsets --group readers --topic one --by-duration PT1H --dry-run",
        "one 0 0",
    ),
    same(
        "consumer-groups",
        "--reset-offsets --group readers --topic one --to-datetime 2020-01-01T00:00:00.000 --dry-run",
        "one 0 0",
    ),
    same(
        "consumer-groups",
        "--reset-offsets --group readers --topic one --to-datetime 2099-01-01T00:00:00.000 --dry-run",
        "one 0 3",
    ),
    same(
        "consumer-groups",
        "--reset-offsets --group readers --all-topics --to-latest --export --dry-run",
        "one,0,3",
    ),
    same("consumer-groups", "--reset-offsets --group readers --topic one --to-offset 2 --execute", "one 0 2"),
    same("consumer-groups", "--reset-offsets --group fresh --topic walk --to-earliest --execute", "walk 4 0"),
    refused(
        "consumer-groups",
        "--reset-offsets --group readers --topic nope --to-earliest --execute",
        "UnknownTopicOrPartitionException",
    ),
    same("consumer-groups", "--delete-offsets --group readers --topic one", "one 0 Successful"),
    refused("consumer-groups", "--delete-offsets --group nope --topic one", "GroupIdNotFoundException"),
    same("consumer-groups", "--delete --group readers", "was successful"),
    refused("consumer-groups", "--delete --group readers", "GroupIdNotFoundException"),
    with_input(
        r#"{"partitions":[{"topic":"one","partition":0,"offset":2}],"version":1}"#,
        same("delete-records", "--offset-json-file @FILE", "low_watermark: 2"),
    ),
    with_input(
        r#"{"partitions":[{"topic":"one","partition":0,"offset":-1},
            {"topic":"walk","partition":0,"offset":50}],"version":1}"#,
        refused("delete-records", "--offset-json-file @FILE", "OffsetOutOfRangeException"),
    ),
    same("get-offsets", "--topic one --time -2", "one:0:3"),
];

/// While a console consumer of the group `live` reads the topic `walk`.
pub const LIVE: &[Step] = &[
    same("consumer-groups", "--describe --group live --state", "live ADDRESS (1) range Stable 1"),
    same("consumer-groups", "--describe --group live", "live walk 4"),
    same("consumer-groups", "--list --state stable", "live Stable"),
    refused("consumer-groups", "--delete --group live", "GroupNotEmptyException"),
    refused(
        "consumer-groups",
        "--reset-offsets --group live --topic walk --to-earliest --execute",
        "only be reset if the group 'live' is inactive",
    ),
    refused(
        "consumer-groups",
        "--delete-offsets --group live --topic walk",
        "GroupSubscribedToTopicException",
    ),
];

/// Load, and the tools that check what comes back.
pub const LOAD: &[Step] = &[
    differs(
        "producer-perf-test",
        "--topic walk --num-records 20000 --record-size 100 --throughput -1",
        "20000 records sent",
    ),
    differs("consumer-perf-test", "--topic walk --num-records 20000", "data.consumed.in.MB"),
    differs(
        "e2e-latency",
        "--topic one --num-records 200 --producer-acks all --record-size 100",
        "Percentiles",
    ),
    same("topics", "--create --topic verified --partitions 1", "Created topic verified."),
    differs(
        "verifiable-producer",
        "--topic verified --max-messages 100 --acks -1",
        "\"sent\":100,\"acked\":100",
    ),
    differs(
        "verifiable-consumer",
        "--topic verified --group-id verified --max-messages 60 --reset-policy earliest",
        "partitions_assigned",
    ),
    differs(
        "verifiable-consumer",
        "--topic verified --group-id verified --group-instance-id still --max-messages 40 \
         --assignment-strategy org.apache.kafka.clients.consumer.CooperativeStickyAssignor",
        "records_consumed",
    ),
    same("get-offsets", "--topic verified", "verified:0:100"),
];

/// The cluster as a whole, and what is not served here: a clear error at once, never silence.
pub const CLUSTER: &[Step] = &[
    differs("log-dirs", "--describe --topic-list walk", "\"partition\":\"walk-0\""),
    differs("metadata-quorum", "describe --status", "LeaderId: 1"),
    differs("metadata-quorum", "describe --replication", "Leader"),
    differs("cluster", "cluster-id --bootstrap-server @", "Cluster ID:"),
    differs("cluster", "list-endpoints --bootstrap-server @", "unfenced"),
    differs("features", "describe", "metadata.version"),
    same("client-metrics", "--list", ""),
    same("share-groups", "--list", ""),
    same("transactions", "find-hanging --broker-id 1", "ProducerId"),
    same("leader-election", "--election-type preferred --all-topic-partitions", ""),
    same(
        "leader-election",
        "--election-type unclean --topic walk --partition 0",
        "Valid replica already elected for partitions walk-0",
    ),
    refused(
        "leader-election",
        "--election-type preferred --topic walk --partition 99",
        "No such partition as walk-99",
    ),
    differs("transactions", "describe-producers --topic walk --partition 0", "ProducerId"),
    same("reassign-partitions", "--list", "No partition reassignments found."),
    unserved("features", "upgrade --feature group.version=1", "does not support UPDATE_FEATURES"),
    unserved("transactions", "list", "does not support LIST_TRANSACTIONS"),
    unserved("configs", "--describe --entity-type users", "does not support DESCRIBE_CLIENT_QUOTAS"),
    unserved(
        "producer-perf-test",
        "--topic walk --num-records 1000 --record-size 100 --throughput -1 --transactional-id x \
         --transaction-duration-ms 100",
        "Transactional Id authorization failed.",
    ),
    unserved(
        "console-consumer",
        "--topic walk --command-property group.protocol=consumer --from-beginning --max-messages 3",
        "Set group.protocol=classic on the consumer configs",
    ),
    unserved(
        "console-share-consumer",
        "--topic walk --max-messages 1 --timeout-ms 3000",
        "The cluster does not support the share group protocol",
    ),
    same("topics", "--delete --topic one", ""),
    refused("topics", "--describe --topic one", "Topic 'one' does not exist as expected"),
];
