//! Workload and driver files, as they should be and as they should not.

use std::path::Path;

use super::*;

/// The shape of the files in OpenMessaging's `workloads`.
const WORKLOAD: &str = "\
# A comment.
name: 1 topic / 16 partitions / 1Kb

topics: 1
partitionsPerTopic: 16
keyDistributor: \"KEY_ROUND_ROBIN\"
messageSize: 1024
useRandomizedPayloads: true
randomBytesRatio: 0.5
randomizedPayloadPoolSize: 1000

subscriptionsPerTopic: 2
consumerPerSubscription: 3
producersPerTopic: 4
producerRate: 50000
consumerBacklogSizeGB: 2
backlogDrainRatio: 0.99
testDurationMinutes: 15
warmupDurationMinutes: 0
";

const LEAST: &str = "topics: 1\npartitionsPerTopic: 1\nmessageSize: 100\npayloadFile: payload/payload-100b.data\n\
                     producersPerTopic: 1\nproducerRate: 0\ntestDurationMinutes: 5\n";

fn workload(text: &str) -> Result<Workload, String> {
    Workload::parse(text, Path::new("/w/load.yaml")).map_err(|error| error.to_string())
}

fn driver(text: &str) -> Result<Driver, String> {
    Driver::parse(text, Path::new("kafka.yaml")).map_err(|error| error.to_string())
}

#[test]
fn a_workload_is_read_whole() {
    let expected = Workload {
        name: "1 topic / 16 partitions / 1Kb".to_owned(),
        topics: 1,
        partitions_per_topic: 16,
        key_distributor: KeyDistributor::RoundRobin,
        message_bytes: 1024,
        payload_file: None,
        use_randomized_payloads: true,
        random_bytes_ratio: 0.5,
        randomized_payload_pool_size: 1000,
        subscriptions_per_topic: 2,
        consumers_per_subscription: 3,
        producers_per_topic: 4,
        producer_rate: Some(50_000),
        consumer_backlog_bytes: 2 << 30,
        backlog_drain_ratio: 0.99,
        test_duration_minutes: 15,
        warmup_duration_minutes: 0,
    };
    assert_eq!(workload(WORKLOAD), Ok(expected));
}

#[test]
fn what_is_not_said_is_as_openmessaging_has_it() {
    let load = workload(LEAST).expect("it has what it needs");
    assert_eq!((load.name.as_str(), load.producer_rate), ("load", None));
    assert_eq!(load.payload_file.as_deref(), Some(Path::new("/w/payload/payload-100b.data")));
    assert_eq!((load.warmup_duration_minutes, load.subscriptions_per_topic), (1, 0));
    assert_eq!((load.key_distributor, load.backlog_drain_ratio), (KeyDistributor::None, 1.0));
    let absolute = LEAST.replace("payload/", "/p/").replace("producerRate", "name:\nproducerRate");
    let load = workload(&absolute).expect("no name is no mistake");
    assert_eq!(load.payload_file.as_deref(), Some(Path::new("/p/payload-100b.data")));
}

#[test]
fn a_bad_workload_is_refused_with_its_line() {
    for (from, to, line) in [
        ("name:", "nane:", "line 2: unknown key \"nane\""),
        ("topics: 1", "topics: 0", "line 4: topics \"0\": must be a whole number of 1 to 50000"),
        ("topics: 1", "topics: 1.5", "line 4: topics \"1.5\": must be a whole number of 1 to 50000"),
        ("topics: 1", "topics: 2147483648", "line 4: topics \"2147483648\": must be a whole number"),
        ("topics: 1", "topics: -1", "line 4: topics \"-1\": must be a whole number"),
        ("topics: 1", "topics: [1]", "line 4: \"topics\" must have a plain value, not a list or mapping"),
        ("topics: 1", "topics:\n  a: 1", "line 4: \"topics\" must have a plain value, not a list or mapping"),
        ("topics: 1", "topics: 1\ntopics: 2", "line 5: \"topics\" is there twice"),
        ("topics: 1\n", "", "topics is missing"),
        ("0.5", "1.5", "line 9: randomBytesRatio \"1.5\": must be a number of 0 to 1"),
        ("0.5", "NaN", "line 9: randomBytesRatio \"NaN\": must be a number of 0 to 1"),
        ("true", "maybe", "line 8: useRandomizedPayloads \"maybe\": must be true or false"),
        ("KEY_ROUND_ROBIN", "ZIPF", "must be NO_KEY, KEY_ROUND_ROBIN or RANDOM_NANO"),
        ("Size: 1000", "Size: 0", "needs a randomizedPayloadPoolSize of 1 or more"),
        ("Size: 1000", "Size: 2000000", "2000000 times messageSize 1024: must be at most 1073741824 bytes"),
        ("subscriptionsPerTopic: 2", "subscriptionsPerTopic: 0", "consumerBacklogSizeGB needs subscriptions"),
        ("Rate: 50000", "Rate: 0", "consumerBacklogSizeGB needs a producerRate of 1 or more"),
        ("Size: 1024", "Size: 0", "consumerBacklogSizeGB needs a messageSize of 1 or more"),
        ("GB: 2", "GB: 0.5", "consumerBacklogSizeGB \"0.5\": must be a whole number of 0 to 2147483647"),
        ("Topic: 16", "Topic: 10001", "partitionsPerTopic \"10001\": must be a whole number of 1 to 10000"),
        ("Topic: 4", "Topic: 50001", "producersPerTopic \"50001\": must be a whole number of 1 to 50000"),
        ("15", "0", "testDurationMinutes \"0\": must be a whole number of 1 to 527040"),
        (
            "topics: 1",
            "topics: 12501",
            "topics 12501 times producersPerTopic 4 is 50004: must be at most 50000 producers",
        ),
        (
            "topics: 1",
            "topics: 10000",
            "topics 10000 times subscriptionsPerTopic 2 times consumerPerSubscription 3 is 60000: must be at \
             most 50000 consumers",
        ),
        ("warmup", "---\nwarmup", "a second document"),
    ] {
        assert!(WORKLOAD.contains(from), "{from}");
        let error = workload(&WORKLOAD.replacen(from, to, 1)).expect_err(to);
        assert!(error.starts_with("/w/load.yaml: ") && error.contains(line), "{error}, not {line}");
        assert!(!error.contains('\n'), "{error}");
    }
    for text in
        ["", "# only a comment\n", "just words", "- a\n- list\n", "a: &x 1\nb: *x\n", "{", "a: \"", "\t"]
    {
        let error = workload(text).expect_err(text);
        assert!(error.starts_with("/w/load.yaml: line ") && !error.contains('\n'), "{text:?}: {error}");
    }
    assert!(
        workload(&format!("{LEAST}useRandomizedPayloads: true\nrandomizedPayloadPoolSize: 1\n")).is_err()
    );
}

#[test]
fn a_file_that_is_not_there_or_not_text_is_said_so() {
    let missing = Workload::read(Path::new("/nowhere/load.yaml")).expect_err("not there").to_string();
    assert!(missing.starts_with("/nowhere/load.yaml: No such file"), "{missing}");
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("load.yaml");
    fs::write(&path, [0xff, 0xfe, 0x00]).expect("it is written");
    assert!(Workload::read(&path).expect_err("no text").to_string().contains("UTF-8"));
    fs::write(&path, WORKLOAD).expect("it is written");
    assert_eq!(Workload::read(&path).expect("it is right").topics, 1);
}

#[test]
fn a_driver_has_the_settings_of_its_clients() {
    let text = "name: Kafka\ndriverClass: io.openmessaging.benchmark.driver.kafka.KafkaBenchmarkDriver\n\
                # Kafka client-specific configuration\nreplicationFactor: 3\nreset: true\n\n\
                topicConfig: |\n  min.insync.replicas=2\n\ncommonConfig: |\n  bootstrap.servers=localhost:9092\n\n\
                producerConfig: |\n  acks=all\n  # no comment is a setting\n  linger.ms = 1\n  \
                sasl.jaas.config=a b=\"c\";\n\nconsumerConfig:\n";
    let pairs = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    let expected = Driver {
        name: "Kafka".to_owned(),
        replication_factor: 3,
        reset: true,
        topic_config: pairs(&[("min.insync.replicas", "2")]),
        common_config: pairs(&[("bootstrap.servers", "localhost:9092")]),
        producer_config: pairs(&[("acks", "all"), ("linger.ms", "1"), ("sasl.jaas.config", "a b=\"c\";")]),
        consumer_config: Vec::new(),
    };
    assert_eq!(driver(text), Ok(expected));
    assert_eq!(driver("reset: false\n").map(|driver| driver.replication_factor), Ok(1));
}

#[test]
fn a_bad_driver_is_refused_with_its_line() {
    for (text, line) in [
        (
            "name: Kafka\ndriverClass: org.other.Driver\n",
            "kafka.yaml: line 2: driverClass org.other.Driver: must be ",
        ),
        ("name: x\nproducer: |\n  acks=all\n", "kafka.yaml: line 2: unknown key \"producer\""),
        (
            "producerConfig: |\n  acks\n",
            "kafka.yaml: line 1: producerConfig: \"acks\": must be lines of setting=value",
        ),
        (
            "replicationFactor: 0\n",
            "kafka.yaml: line 1: replicationFactor \"0\": must be a whole number of 1",
        ),
    ] {
        let error = driver(text).expect_err(text);
        assert!(error.starts_with(line), "{error}");
    }
}

#[test]
fn a_file_is_found_beside_the_workload_or_where_the_runner_stands() {
    let workload = Path::new("/nowhere/simple.yaml");
    assert_eq!(beside(workload, "payload/x.data"), Path::new("/nowhere/payload/x.data"));
    assert_eq!(beside(workload, "Cargo.toml"), Path::new("Cargo.toml"), "tests run beside that one");
    let there = Path::new(env!("CARGO_MANIFEST_DIR"));
    assert_eq!(beside(&there.join("w.yaml"), "Cargo.toml"), there.join("Cargo.toml"));
}
