//! What is written before a directory changes hands: everything that leaves a trace of its own in the files.

use std::time::{Duration, Instant};

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

/// How long a client may take.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// The codecs of producers.
pub const CODECS: [&str; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];
/// A time of the producer's own choice, so that time indexes have more than the hour of the test in them.
const LONG_AGO: i64 = 1_600_000_000_000;

/// A client's settings.
#[must_use]
pub fn client(address: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", address).set("linger.ms", "5").set("message.timeout.ms", "30000");
    config
}

fn producer(address: &str, settings: &[(&str, &str)]) -> BaseProducer {
    let mut config = client(address);
    for (key, value) in settings {
        config.set(*key, *value);
    }
    config.create().expect("the configuration is valid")
}

fn send(producer: &BaseProducer, record: BaseRecord<'_, str, str>) {
    let mut record = Some(record);
    while let Some(this) = record.take() {
        if let Err((error, back)) = producer.send(this) {
            assert_eq!(error.rdkafka_error_code(), Some(rdkafka::types::RDKafkaErrorCode::QueueFull));
            producer.poll(Duration::from_millis(10));
            record = Some(back);
        }
    }
}

/// Every codec, with keys, headers, tombstones and times of its own, in a topic each.
pub fn codecs(address: &str, run: &str) {
    for codec in CODECS {
        let producer = producer(address, &[("compression.type", codec)]);
        let topic = format!("codec-{codec}");
        for number in 0..200 {
            let (key, value) = (format!("{run}-{number}"), format!("{codec} {} {number}", "x".repeat(100)));
            let header = Header { key: "run", value: Some(run) };
            let headers = OwnedHeaders::new().insert(header).insert(Header { key: "", value: None::<&str> });
            let record = BaseRecord::to(&topic).partition(0).timestamp(LONG_AGO + number * 1_000);
            let record = if number % 7 == 3 { record } else { record.payload(value.as_str()) };
            send(&producer, if number % 5 == 4 { record } else { record.key(key.as_str()).headers(headers) });
        }
        producer.flush(PATIENCE).expect("everything is acknowledged");
    }
}

/// An idempotent producer that fills several segments.
pub fn segments(address: &str) {
    let producer = producer(address, &[("enable.idempotence", "true"), ("batch.size", "16000")]);
    for number in 0..4_000 {
        let value = format!("{number} {}", "y".repeat(700));
        send(&producer, BaseRecord::to("segments").partition(number % 2).key("k").payload(value.as_str()));
    }
    producer.flush(PATIENCE).expect("everything is acknowledged");
}

/// Transactions that commit and abort, between records outside of any; the third commits offsets of a group, and the
/// fourth means to.
pub fn transactions(address: &str, id: &str) {
    let settings = [("transactional.id", id), ("enable.idempotence", "true")];
    let transactional = producer(address, &settings);
    let plain = producer(address, &[]);
    transactional.init_transactions(PATIENCE).expect("a coordinator");
    let group = reader(address, "in-transactions");
    for transaction in 0..6_i64 {
        transactional.begin_transaction().expect("one at a time");
        for number in 0..20 {
            let value = format!("{transaction} {number}");
            send(&transactional, BaseRecord::to("transactions").partition(0).key(id).payload(value.as_str()));
        }
        transactional.flush(PATIENCE).expect("everything is acknowledged");
        send(&plain, BaseRecord::to("transactions").partition(0).key("outside").payload("between"));
        plain.flush(PATIENCE).expect("everything is acknowledged");
        if transaction == 2 || transaction == 3 {
            let offsets = offsets("transactions", 0, transaction * 10, "");
            let metadata = group.group_metadata().expect("a group");
            transactional.send_offsets_to_transaction(&offsets, &metadata, PATIENCE).expect("accepted");
        }
        match transaction % 2 {
            0 => transactional.commit_transaction(PATIENCE).expect("committed"),
            _ => transactional.abort_transaction(PATIENCE).expect("aborted"),
        }
    }
}

fn offsets(topic: &str, partition: i32, offset: i64, metadata: &str) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    let mut one = list.add_partition(topic, partition);
    one.set_offset(Offset::Offset(offset)).expect("a valid offset");
    one.set_metadata(metadata);
    list
}

/// A consumer of a group, which reads from the beginning.
pub fn reader(address: &str, group: &str) -> BaseConsumer {
    let mut config = client(address);
    config.set("group.id", group).set("enable.auto.commit", "false").set("auto.offset.reset", "earliest");
    config.create().expect("the configuration is valid")
}

/// Commits offsets of a group, with words beside them. Its coordinator may just be coming up.
pub fn commit(address: &str, group: &str, position: i64) {
    let consumer = reader(address, group);
    for topic in ["codec-zstd", "segments"] {
        let offsets = offsets(topic, 0, position, &format!("at {position}"));
        let deadline = Instant::now() + PATIENCE;
        while let Err(error) = consumer.commit(&offsets, CommitMode::Sync) {
            assert!(Instant::now() < deadline, "{group}: {error}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

/// Overwrites a few keys again and again, slowly enough for segments to roll by time, until the cleaner has left gaps.
pub fn compacted(address: &str) {
    let producer = producer(address, &[("compression.type", "lz4")]);
    let deadline = Instant::now() + PATIENCE;
    for round in 0.. {
        for key in ["a", "b", "c"] {
            let value = format!("{key} {round}");
            let record = BaseRecord::to("compacted").partition(0).key(key);
            send(
                &producer,
                if key == "c" && round % 4 == 3 { record } else { record.payload(value.as_str()) },
            );
        }
        producer.flush(PATIENCE).expect("everything is acknowledged");
        std::thread::sleep(Duration::from_millis(110));
        if round % 8 != 7 {
            continue;
        }
        let rows = super::check::rows(address, &[("compacted", 0)], "read_uncommitted");
        let offsets: Vec<i64> = rows.values().flatten().map(|row| row.offset).collect();
        let has_gap = offsets.windows(2).any(|pair| pair[1] != pair[0] + 1) || offsets[0] > 0;
        if has_gap {
            break;
        }
        assert!(Instant::now() < deadline, "the cleaner has left no gap: {offsets:?}");
    }
}

/// A member of a group that has joined, been assigned something and left its offsets behind.
pub fn member(address: &str, group: &str) {
    let consumer = reader(address, group);
    consumer.subscribe(&["codec-gzip"]).expect("a valid name");
    let deadline = Instant::now() + PATIENCE;
    while !matches!(consumer.poll(Duration::from_millis(100)), Some(Ok(_))) {
        assert!(Instant::now() < deadline, "no record came");
    }
    consumer.commit_consumer_state(CommitMode::Sync).expect("committed");
}
