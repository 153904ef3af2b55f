//! Creation of topics: every refusal with Kafka's code and words, as Apache Kafka 4.3.1 answered the same requests.

use ottla_wire::Message;
use ottla_wire::create_topics_request::CreatableReplicaAssignment;

use super::*;
use crate::config::BrokerConfig;
use crate::controller::record_version;
use crate::controller::testing::{self, DIR, config, image, image_with, random, replayed};
use crate::ids::NodeId;

const NOT_CONSECUTIVE: &str = "partitions should be a consecutive 0-based integer sequence";
const FEW_BROKERS: &str = "The target replication factor of 2 cannot be reached because only 1 broker(s) are \
                           registered or some brokers have all their log directories cordoned.";

fn topic(name: &str, partitions: i32, replicas: i16) -> CreatableTopic<'_> {
    CreatableTopic {
        name: name.into(),
        num_partitions: partitions,
        replication_factor: replicas,
        ..Default::default()
    }
}

fn with_config<'a>(name: &'a str, configs: &[(&'a str, Option<&'a str>)]) -> CreatableTopic<'a> {
    let configs = configs
        .iter()
        .map(|(name, value)| CreatableTopicConfig { name: (*name).into(), value: value.map(Cow::Borrowed) })
        .collect();
    CreatableTopic { configs, ..topic(name, 1, 1) }
}

fn assigned(name: &'static str, assignments: &[(i32, &[i32])]) -> CreatableTopic<'static> {
    let assignments = assignments
        .iter()
        .map(|(index, ids)| CreatableReplicaAssignment { partition_index: *index, broker_ids: ids.to_vec() })
        .collect();
    CreatableTopic { assignments, ..topic(name, -1, -1) }
}

fn ask<'a>(topics: Vec<CreatableTopic<'a>>) -> CreateTopicsRequest<'a> {
    CreateTopicsRequest { topics, ..Default::default() }
}

fn decide(image: &Image, request: &CreateTopicsRequest<'_>) -> Decision<CreateTopicsResponse<'static>> {
    create(image, &config(&[]), 7, request, &mut random(1))
}

/// What a client hears of each topic: name, code and message.
fn heard(reply: &CreateTopicsResponse<'_>) -> Vec<(String, i16, Option<String>)> {
    let text = |message: &Option<Cow<'_, str>>| message.as_deref().map(str::to_owned);
    reply.topics.iter().map(|t| (t.name.to_string(), t.error_code, text(&t.error_message))).collect()
}

#[test]
fn refusals_are_kafkas() {
    let long = "a".repeat(250);
    let too_long =
        format!("Topic name is invalid: the length of '{long}' is longer than the max allowed length 249");
    let non_positive = "Number of partitions was set to an invalid non-positive value.";
    let factor = "Replication factor must be larger than 0, or -1 to use the default value.";
    let few = format!("Unable to replicate the partition 2 time(s): {FEW_BROKERS}");
    let manual = "A manual partition assignment was specified, but";
    let replicas_set = format!("{manual} replication factor was not set to -1.");
    let partitions_set = format!("{manual} numPartitions was not set to -1.");
    let no_broker = "The manual partition assignment includes broker 2, but no such broker is registered.";
    let bad_char = "contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'";
    let bad_space = format!("Topic name is invalid: 'a b' {bad_char}");
    let both = CreatableTopic { replication_factor: 1, num_partitions: 1, ..assigned("t", &[(0, &[1])]) };
    let count = CreatableTopic { num_partitions: 1, ..assigned("t", &[(0, &[1])]) };
    let cases: Vec<(CreatableTopic<'_>, i16, &str)> = vec![
        (topic("", 1, 1), 17, "Topic name is invalid: the empty string is not allowed"),
        (topic(".", 1, 1), 17, "Topic name is invalid: '.' is not allowed"),
        (topic("..", 1, 1), 17, "Topic name is invalid: '..' is not allowed"),
        (topic(&long, 1, 1), 17, &too_long),
        (topic("a b", 1, 1), 17, &bad_space),
        (topic("t", 0, 1), 37, non_positive),
        (topic("t", -2, 1), 37, non_positive),
        (topic("t", 1, 0), 38, factor),
        (topic("t", 1, -2), 38, factor),
        (topic("t", 1, 2), 38, &few),
        (both, 42, &replicas_set),
        (count, 42, &partitions_set),
        (assigned("t", &[(0, &[])]), 39, "The manual partition assignment includes an empty replica list."),
        (assigned("t", &[(0, &[2])]), 39, no_broker),
        (
            assigned("t", &[(0, &[1, 1])]),
            39,
            "The manual partition assignment includes the broker 1 more than once.",
        ),
        (assigned("t", &[(0, &[1]), (1, &[1, 2])]), 39, no_broker),
        (assigned("t", &[(1, &[1])]), 39, NOT_CONSECUTIVE),
        (assigned("t", &[(-1, &[1])]), 39, NOT_CONSECUTIVE),
        (
            assigned("t", &[(0, &[1]), (0, &[1])]),
            39,
            "Found multiple manual partition assignments for partition 0",
        ),
    ];
    for (topic, code, message) in cases {
        let decision = decide(&image(), &ask(vec![topic.clone()]));
        assert_eq!(heard(&decision.reply), [(topic.name.to_string(), code, Some(message.to_owned()))]);
        assert!(decision.records.is_empty(), "{topic:?}");
    }
}

#[test]
fn refused_configs_are_kafkas() {
    type Setting = (&'static str, Option<&'static str>);
    let cases: &[(&[Setting], &str)] = &[
        (&[("nope", Some("1"))], "Unknown topic config name: nope"),
        (
            &[("retention.ms", Some("x"))],
            "Invalid value x for configuration retention.ms: Not a number of type LONG",
        ),
        (&[("retention.ms", None)], "Null value not supported for topic configs: retention.ms"),
        (
            &[("retention.ms", None), ("cleanup.policy", None)],
            "Null value not supported for topic configs: retention.ms,cleanup.policy",
        ),
        (
            &[("segment.bytes", Some("1"))],
            "Invalid value 1 for configuration segment.bytes: Value must be at least 1048576",
        ),
        (
            &[("compression.type", Some("bzip"))],
            "Invalid value bzip for configuration compression.type: String must be one of: uncompressed, zstd, lz4, \
             snappy, gzip, producer",
        ),
        (
            &[("min.compaction.lag.ms", Some("10")), ("max.compaction.lag.ms", Some("5"))],
            "conflict topic config setting min.compaction.lag.ms (10) > max.compaction.lag.ms (5)",
        ),
        (
            &[("remote.storage.enable", Some("true"))],
            "Tiered Storage functionality is disabled in the broker. Topic cannot be configured with remote log \
             storage.",
        ),
    ];
    for (configs, message) in cases {
        let decision = decide(&image(), &ask(vec![with_config("t", configs)]));
        assert_eq!(heard(&decision.reply), [("t".to_owned(), 40, Some((*message).to_owned()))]);
        assert!(decision.records.is_empty());
    }
}

#[test]
fn a_created_topic_is_records_as_kafka_writes_them() {
    let request = ask(vec![CreatableTopic {
        num_partitions: 2,
        ..with_config("t", &[("retention.ms", Some("1000")), ("cleanup.policy", Some("compact"))])
    }]);
    let decision = decide(&image(), &request);
    let names: Vec<&str> = decision.records.iter().map(MetadataRecord::name).collect();
    assert_eq!(names, ["TopicRecord", "ConfigRecord", "ConfigRecord", "PartitionRecord", "PartitionRecord"]);
    let id = decision.reply.topics[0].topic_id;
    assert!(!id.is_zero() && !id.to_string().contains('-'));
    let MetadataRecord::PartitionRecord(partition) = &decision.records[4] else {
        panic!("it is a partition")
    };
    assert_eq!((partition.partition_id, partition.leader, partition.leader_epoch), (1, 1, 0));
    assert_eq!((&partition.replicas[..], &partition.isr[..]), (&[1][..], &[1][..]));
    assert_eq!((partition.topic_id, &partition.directories[..]), (id, &[DIR][..]));
    let (after, delta) = replayed(&image(), &decision.records);
    let topic = after.topics.by_name("t").expect("it was created");
    assert_eq!((topic.id, topic.partitions.len()), (id, 2));
    assert_eq!(after.configs.of(&ConfigResource::topic("t")).map(BTreeMap::len), Some(2));
    assert!(delta.topics_created.contains(&id) && delta.partitions_added.len() == 2);
}

/// The log of Apache Kafka 4.3.1 after `kafka-topics --create --topic t1 --partitions 2 --config retention.ms=1000`.
const KAFKAS_RECORDS: [&str; 4] = [
    "010200037431095af32d53984efba7bed202392ccc0700",
    "010400020374310d726574656e74696f6e2e6d73053130303000",
    "01030200000000095af32d53984efba7bed202392ccc070200000001020000000101010000000100000000000000000\
     2b022b866cc8376caade874dce5da830200",
    "01030200000001095af32d53984efba7bed202392ccc070200000001020000000101010000000100000000000000000\
     2b022b866cc8376caade874dce5da830200",
];

#[test]
fn the_records_are_byte_for_byte_kafkas() {
    let id: Uuid = "CVrzLVOYTvunvtICOSzMBw".parse().expect("it is an id");
    let mut image = image();
    let mut broker = (*image.brokers[&NodeId(1)]).clone();
    broker.log_dirs = vec!["sCK4ZsyDdsqt6HTc5dqDAg".parse().expect("it is an id")];
    image.brokers.insert(NodeId(1), broker.into());
    let request = ask(vec![CreatableTopic {
        num_partitions: 2,
        ..with_config("t1", &[("retention.ms", Some("1000"))])
    }]);
    let decision = create(&image, &config(&[]), 7, &request, &mut || id.0);
    let hex = |bytes: Vec<u8>| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let records: Vec<String> =
        decision.records.iter().map(|record| hex(record.encode(record_version(record)))).collect();
    assert_eq!(records, KAFKAS_RECORDS);
}

#[test]
fn the_reply_describes_the_topic() {
    let request = ask(vec![with_config("t", &[("retention.ms", Some("77"))])]);
    let decision = decide(&image(), &request);
    let reply = &decision.reply.topics[0];
    assert_eq!((reply.num_partitions, reply.replication_factor, reply.topic_config_error_code), (1, 1, 0));
    let configs = reply.configs.as_ref().expect("version 7 describes");
    assert!(configs.windows(2).all(|pair| pair[0].name < pair[1].name));
    let entry =
        |name: &str| configs.iter().find(|config| config.name == name).expect("every key is described");
    let retention = entry("retention.ms");
    assert_eq!((retention.value.as_deref(), retention.config_source), (Some("77"), 1));
    assert_eq!(entry("cleanup.policy").value.as_deref(), Some("delete"));
    for version in 2..=7 {
        let decision = create(&image(), &config(&[]), version, &request, &mut random(1));
        decision.reply.size(version).expect("the version carries it");
        assert_eq!(decision.reply.topics[0].configs.as_ref().is_some_and(|c| !c.is_empty()), version >= 5);
    }
}

#[test]
fn defaults_are_the_brokers() {
    let config = config(&[("num.partitions", "5"), ("default.replication.factor", "1")]);
    let request = ask(vec![topic("t", -1, -1)]);
    let decision = create(&image(), &config, 7, &request, &mut random(1));
    assert_eq!(decision.reply.topics[0].num_partitions, 5);
    for factor in ["3", "0", "-1", "40000"] {
        let config = testing::config(&[("default.replication.factor", factor)]);
        let decision = create(&image(), &config, 7, &request, &mut random(1));
        assert_eq!(decision.reply.topics[0].error_code, 38, "{factor}");
    }
}

#[test]
fn good_topics_of_a_mixed_request_are_created() {
    let request = ask(vec![topic("a", 1, 1), topic("b/c", 1, 1), topic("d", 1, 5), topic("e", 2, 1)]);
    let decision = decide(&image(), &request);
    let codes: Vec<i16> = decision.reply.topics.iter().map(|topic| topic.error_code).collect();
    assert_eq!(codes, [0, 17, 38, 0]);
    let (after, _) = replayed(&image(), &decision.records);
    let names: Vec<&str> = after.topics.iter().map(|topic| &*topic.name).collect();
    assert_eq!(names, ["a", "e"]);
}

#[test]
fn duplicates_come_last_and_once() {
    let request = ask(vec![topic("dup", 1, 1), topic("dup", 1, 1), topic("fine", 1, 1), topic("dup", 1, 1)]);
    let decision = decide(&image(), &request);
    let duplicate = ("dup".to_owned(), 42, Some("Duplicate topic name.".to_owned()));
    assert_eq!(heard(&decision.reply), [("fine".to_owned(), 0, None), duplicate]);
    let text = "Creation of internal topic __cluster_metadata is prohibited.".to_owned();
    let decision = decide(&image(), &ask(vec![topic("__cluster_metadata", 1, 1)]));
    assert_eq!(heard(&decision.reply), [("__cluster_metadata".to_owned(), 42, Some(text))]);
}

#[test]
fn names_exist_once_and_do_not_collide_with_what_exists() {
    let image = image_with(&[testing::topic("good.x", 1, 1), testing::topic("plain", 2, 1)]);
    let request = ask(vec![topic("good_x", 1, 1), topic("good.x", 1, 1), topic("plain", 1, 1)]);
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(
        heard(&decide(&image, &request).reply),
        [
            ("good_x".to_owned(), 17, text("Topic 'good_x' collides with existing topic: good.x")),
            ("good.x".to_owned(), 36, text("Topic 'good.x' already exists.")),
            ("plain".to_owned(), 36, text("Topic 'plain' already exists.")),
        ]
    );
    // Within one request Kafka creates both, and then both are there.
    let decision = decide(&image, &ask(vec![topic("cc.y", 1, 1), topic("cc_y", 1, 1)]));
    assert!(decision.reply.topics.iter().all(|topic| topic.error_code == 0));
    let (after, _) = replayed(&image, &decision.records);
    assert!(after.topics.by_name("cc.y").is_some() && after.topics.by_name("cc_y").is_some());
}

#[test]
fn validation_alone_writes_nothing_and_checks_everything() {
    let request =
        CreateTopicsRequest { validate_only: true, ..ask(vec![topic("t", 3, 1), topic("u", 1, 9)]) };
    let decision = decide(&image(), &request);
    assert!(decision.records.is_empty());
    let codes: Vec<i16> = decision.reply.topics.iter().map(|topic| topic.error_code).collect();
    assert_eq!((codes, decision.reply.topics[0].num_partitions), (vec![0, 38], 3));
}

#[test]
fn too_many_partitions_refuse_the_request_as_a_whole() {
    for topics in [vec![topic("big", 10_001, 1)], vec![topic("a", 6_000, 1), topic("b", 4_001, 1)]] {
        let decision = decide(&image(), &ask(topics));
        assert!(decision.records.is_empty());
        for (_, code, message) in heard(&decision.reply) {
            assert_eq!((code, message.as_deref()), (44, Some(TOO_MANY)));
        }
    }
    let fits = decide(&image(), &ask(vec![topic("a", 6_000, 1), topic("bad name", 4_000, 1)]));
    assert_eq!(fits.reply.topics.iter().map(|topic| topic.error_code).collect::<Vec<_>>(), [0, 17]);
    assert_eq!(fits.records.len(), 6_001);
}

#[test]
fn the_cluster_holds_so_many_partitions_and_no_more() {
    let mut image = image();
    let mut random = random(3);
    let names: Vec<String> = (0..20).map(|n| format!("t{n}")).collect();
    for name in &names {
        let decision = create(&image, &config(&[]), 2, &ask(vec![topic(name, 10_000, 1)]), &mut random);
        image = replayed(&image, &decision.records).0;
    }
    assert_eq!(image.topics.partition_count(), PARTITIONS_TOTAL_MAX);
    let decision = decide(&image, &ask(vec![topic("one-more", 1, 1)]));
    let text = "The cluster has 200000 partitions of the 200000 that it can have.".to_owned();
    assert_eq!(heard(&decision.reply), [("one-more".to_owned(), 44, Some(text))]);
}

#[test]
fn several_directories_fill_evenly() {
    let dirs = [DIR, Uuid([8; 16]), Uuid([9; 16])];
    let mut image = image_with(&[testing::topic("old", 1, 2)]);
    let mut broker = (*image.brokers[&NodeId(1)]).clone();
    broker.log_dirs = dirs.to_vec();
    image.brokers.insert(NodeId(1), broker.into());
    let decision = decide(&image, &ask(vec![topic("a", 4, 1), topic("b", 3, 1)]));
    let (after, _) = replayed(&image, &decision.records);
    for dir in dirs {
        let partitions = after.topics.iter().flat_map(|topic| &topic.partitions);
        assert_eq!(partitions.filter(|partition| partition.directory_of(NodeId(1)) == Some(dir)).count(), 3);
    }
}

#[test]
fn without_a_broker_nothing_is_placed() {
    let empty = Image::empty("c", NodeId(1));
    let decision = decide(&empty, &ask(vec![topic("t", 1, 1)]));
    let text = "Unable to replicate the partition 1 time(s): All brokers are currently fenced, or have all their log \
                directories cordoned.";
    assert_eq!(heard(&decision.reply), [("t".to_owned(), 38, Some(text.to_owned()))]);
}

#[test]
fn ids_are_fresh_whatever_the_random_source_gives() {
    let taken = Uuid([0x41; 16]);
    let mut image = image();
    let mut given = vec![[0xff; 16], [0x41; 16], [0x41; 16], [0x42; 16], [0x42; 16], [0x44; 16]].into_iter();
    let first = ask(vec![topic("first", 1, 1)]);
    let mut source = move || given.next().expect("the ids below need no more");
    let decision = create(&image, &config(&[]), 7, &first, &mut source);
    let id = decision.reply.topics[0].topic_id;
    assert_eq!(id.0[0], taken.0[0], "the first source gives a text with dashes and is passed over");
    assert_eq!((id.0[6] >> 4, id.0[8] >> 6), (4, 2), "version 4, variant 2");
    image = replayed(&image, &decision.records).0;
    let next = ask(vec![topic("second", 1, 1), topic("third", 1, 1)]);
    let decision = create(&image, &config(&[]), 7, &next, &mut source);
    let ids: Vec<u8> = decision.reply.topics.iter().map(|topic| topic.topic_id.0[0]).collect();
    assert_eq!(ids, [0x42, 0x44]);
}

fn auto(image: &Image, config: &BrokerConfig, names: &[&str]) -> Decision<CreateTopicsResponse<'static>> {
    auto_create(image, config, names, &mut random(5))
}

#[test]
fn topics_asked_about_get_the_brokers_defaults() {
    let image = image_with(&[testing::topic("there", 1, 1)]);
    let decision = auto(&image, &config(&[("num.partitions", "4")]), &["there", "a", "b"]);
    assert_eq!(heard(&decision.reply), [("a".to_owned(), 0, None), ("b".to_owned(), 0, None)]);
    let (after, _) = replayed(&image, &decision.records);
    assert_eq!(after.topics.by_name("a").expect("created").partitions.len(), 4);
}

#[test]
fn the_offsets_topic_is_compacted_and_fits_one_broker() {
    let config = config(&[("offsets.topic.num.partitions", "7"), ("offsets.topic.segment.bytes", "2097152")]);
    let decision = auto(&image(), &config, &[CONSUMER_OFFSETS, "__transaction_state", "__share_group_state"]);
    assert_eq!(heard(&decision.reply), [(CONSUMER_OFFSETS.to_owned(), 0, None)]);
    let (after, _) = replayed(&image(), &decision.records);
    assert_eq!(after.topics.by_name(CONSUMER_OFFSETS).expect("created").partitions.len(), 7);
    let overrides = after.configs.of(&ConfigResource::topic(CONSUMER_OFFSETS)).expect("it has settings");
    let overrides: Vec<(&str, &str)> = overrides.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    assert_eq!(
        overrides,
        [("cleanup.policy", "compact"), ("compression.type", "producer"), ("segment.bytes", "2097152")]
    );
}

#[test]
fn one_request_creates_no_more_than_one_batch_of_topics() {
    let names: Vec<String> = (0..25).map(|n| format!("t{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let decision = auto(&image(), &config(&[("num.partitions", "1000")]), &names);
    let created = decision.reply.topics.iter().filter(|topic| topic.error_code == 0).count();
    assert_eq!((created, decision.reply.topics.len()), (10, 25));
    assert_eq!(decision.records.len(), 10 * 1_001);
}
