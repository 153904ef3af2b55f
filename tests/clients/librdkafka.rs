//! librdkafka, through the `rdkafka` crate: every compression, idempotence, both classic assignors, offsets,
//! timestamps, headers, large messages and many topics.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use ottla_tests::broker::{Broker, Options};
use ottla_tests::topics::{create_topic, create_topics};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::message::{Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

const PATIENCE: Duration = Duration::from_secs(60);

fn start(directory: &tempfile::TempDir) -> Broker {
    Broker::start(&Options::new(directory.path()).set("message.max.bytes", 16 << 20))
}

fn client(broker: &Broker) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", broker.address().to_string()).set("message.max.bytes", "15000000");
    config
}

fn consumer(broker: &Broker, group: &str, strategy: &str) -> BaseConsumer {
    let mut config = client(broker);
    config
        .set("group.id", group)
        .set("auto.offset.reset", "earliest")
        .set("enable.auto.commit", "false")
        .set("fetch.message.max.bytes", "15000000")
        .set("session.timeout.ms", "6000")
        .set("heartbeat.interval.ms", "500")
        .set("partition.assignment.strategy", strategy);
    config.create().expect("the configuration is valid")
}

/// Consumes until `wanted` records came.
fn take(consumer: &BaseConsumer, wanted: usize) -> Vec<rdkafka::message::OwnedMessage> {
    let deadline = Instant::now() + PATIENCE;
    let mut taken = Vec::new();
    while taken.len() < wanted {
        assert!(Instant::now() < deadline, "{} of {wanted} records came", taken.len());
        if let Some(message) = consumer.poll(Duration::from_millis(100)) {
            taken.push(message.expect("no error").detach());
        }
    }
    taken
}

#[test]
fn every_compression_with_and_without_idempotence() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let broker = start(&directory);
    create_topic(broker.address(), "codecs", 1, &[]);
    let mut sent = 0;
    for idempotence in ["false", "true"] {
        for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
            let mut config = client(&broker);
            config
                .set("compression.type", codec)
                .set("enable.idempotence", idempotence)
                .set("linger.ms", "5");
            let producer: BaseProducer = config.create().expect("the configuration is valid");
            for number in 0..200 {
                let value = format!("{codec} {idempotence} {number} {}", "x".repeat(100));
                let record = BaseRecord::to("codecs").key(codec).payload(&value);
                producer.send(record).expect("the queue has room");
                sent += 1;
            }
            producer.flush(PATIENCE).expect("everything is acknowledged");
        }
    }
    let consumer = consumer(&broker, "codecs", "range");
    consumer.subscribe(&["codecs"]).expect("a valid name");
    let messages = take(&consumer, sent);
    for (number, message) in messages.iter().enumerate() {
        assert_eq!(message.offset(), i64::try_from(number).expect("few"));
        let value = String::from_utf8(message.payload().expect("a value").to_vec()).expect("text");
        let fields: Vec<_> = value.split(' ').collect();
        assert_eq!(fields[2], (number % 200).to_string());
        assert_eq!(message.key(), Some(fields[0].as_bytes()));
    }
    drop(consumer);
    assert_eq!(broker.stop(), 0);
}

#[test]
fn headers_timestamps_and_large_messages() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let broker = start(&directory);
    create_topic(broker.address(), "shapes", 1, &[("max.message.bytes", "16000000")]);
    let producer: BaseProducer = client(&broker).create().expect("the configuration is valid");
    let headers = OwnedHeaders::new()
        .insert(Header { key: "a", value: Some("1") })
        .insert(Header { key: "a", value: Some("2") })
        .insert::<str>(Header { key: "null", value: None });
    let record = BaseRecord::to("shapes").key("k").payload("v").timestamp(1_000_000).headers(headers);
    producer.send(record).expect("the queue has room");
    let large: Vec<u8> =
        (0..10 << 20).map(|index: u32| (index.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    producer.send(BaseRecord::<str, [u8]>::to("shapes").payload(&large).timestamp(2_000_000)).expect("room");
    let empty = BaseRecord::<str, str>::to("shapes").key("tombstone").timestamp(3_000_000);
    producer.send(empty).expect("the queue has room");
    producer.flush(PATIENCE).expect("everything is acknowledged");

    let consumer = consumer(&broker, "shapes", "range");
    let mut list = TopicPartitionList::new();
    list.add_partition_offset("shapes", 0, Offset::Offset(1_500_000)).expect("a valid offset");
    let found = consumer.offsets_for_times(list.clone(), PATIENCE).expect("offsets are found");
    assert_eq!(found.elements()[0].offset(), Offset::Offset(1), "the first record at or after the time");
    list.set_partition_offset("shapes", 0, Offset::Offset(9_000_000)).expect("a valid offset");
    let found = consumer.offsets_for_times(list, PATIENCE).expect("offsets are found");
    assert_eq!(found.elements()[0].offset(), Offset::End, "no record is that young");
    assert_eq!(consumer.fetch_watermarks("shapes", 0, PATIENCE).expect("they are known"), (0, 3));

    consumer.subscribe(&["shapes"]).expect("a valid name");
    let messages = take(&consumer, 3);
    let headers = messages[0].headers().expect("it has headers");
    let headers: Vec<_> = headers.iter().map(|header| (header.key, header.value)).collect();
    assert_eq!(headers, vec![("a", Some(&b"1"[..])), ("a", Some(&b"2"[..])), ("null", None)]);
    assert_eq!(messages[0].timestamp().to_millis(), Some(1_000_000));
    assert_eq!(messages[1].payload(), Some(large.as_slice()), "ten megabytes come back as they were");
    assert_eq!((messages[2].key(), messages[2].payload()), (Some(&b"tombstone"[..]), None));
    drop(consumer);
    assert_eq!(broker.stop(), 0);
}

#[test]
fn both_classic_assignors_share_a_topic_and_keep_their_offsets() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let broker = start(&directory);
    create_topic(broker.address(), "shared", 6, &[]);
    let producer: BaseProducer = client(&broker).create().expect("the configuration is valid");
    for number in 0..600 {
        let (key, value) = (format!("k{number}"), number.to_string());
        producer.send(BaseRecord::to("shared").key(&key).payload(&value)).expect("the queue has room");
    }
    producer.flush(PATIENCE).expect("everything is acknowledged");
    for strategy in ["range", "cooperative-sticky"] {
        let consumers = [consumer(&broker, strategy, strategy), consumer(&broker, strategy, strategy)];
        for consumer in &consumers {
            consumer.subscribe(&["shared"]).expect("a valid name");
        }
        let seen = take_shared(&consumers, 600);
        assert_eq!(seen.len(), 600, "{strategy}: every record once or more");
        for consumer in &consumers {
            consumer.commit_consumer_state(CommitMode::Sync).expect("commits are served");
        }
        drop(consumers);
        let after = consumer(&broker, strategy, strategy);
        let mut list = TopicPartitionList::new();
        list.add_partition_range("shared", 0, 5);
        let committed = after.committed_offsets(list, PATIENCE).expect("offsets are served");
        let total: i64 = committed.elements().iter().filter_map(|element| element.offset().to_raw()).sum();
        assert_eq!(total, 600, "{strategy}: everything read is committed");
    }
    assert_eq!(broker.stop(), 0);
}

/// Polls both consumers until each has partitions and `wanted` distinct records came.
fn take_shared(consumers: &[BaseConsumer; 2], wanted: usize) -> BTreeSet<String> {
    let deadline = Instant::now() + PATIENCE;
    let mut seen = BTreeSet::new();
    loop {
        for consumer in consumers {
            if let Some(message) = consumer.poll(Duration::from_millis(20)) {
                let message = message.expect("no error");
                let value = message.payload().expect("a value").to_vec();
                seen.insert(String::from_utf8(value).expect("text"));
            }
        }
        let counts =
            consumers.each_ref().map(|consumer| consumer.assignment().map_or(0, |list| list.count()));
        if seen.len() == wanted && counts == [3, 3] {
            return seen;
        }
        assert!(Instant::now() < deadline, "{} of {wanted} records, {counts:?} partitions", seen.len());
    }
}

#[test]
fn a_thousand_topics() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let broker = start(&directory);
    let names: Vec<String> = (0..1000).map(|number| format!("many-{number}")).collect();
    create_topics(broker.address(), &names, 1, &[]);
    let mut config = client(&broker);
    config.set("linger.ms", "5");
    let producer: BaseProducer = config.create().expect("the configuration is valid");
    for name in &names {
        producer.send(BaseRecord::<str, str>::to(name).payload(name)).expect("the queue has room");
        producer.poll(Duration::ZERO);
    }
    producer.flush(PATIENCE).expect("everything is acknowledged");
    let consumer = consumer(&broker, "many", "range");
    let metadata = consumer.fetch_metadata(None, PATIENCE).expect("metadata is served");
    assert_eq!(metadata.topics().iter().filter(|topic| topic.name().starts_with("many-")).count(), 1000);
    consumer.subscribe(&["^many-.*"]).expect("a valid pattern");
    let seen: BTreeSet<_> = take(&consumer, 1000).iter().map(|message| message.topic().to_owned()).collect();
    assert_eq!(seen.len(), 1000);
    drop(consumer);
    assert_eq!(broker.stop(), 0);
}

#[test]
fn an_unreachable_coordinator_is_tried_again() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut options = Options::new(directory.path());
    options.port = ottla_tests::kafka::free_port();
    let broker = Broker::start(&options);
    create_topic(broker.address(), "again", 1, &[]);
    let producer: BaseProducer = client(&broker).create().expect("the configuration is valid");
    let consumer = consumer(&broker, "again", "range");
    consumer.subscribe(&["again"]).expect("a valid name");
    producer.send(BaseRecord::<str, str>::to("again").payload("before")).expect("the queue has room");
    producer.flush(PATIENCE).expect("everything is acknowledged");
    take(&consumer, 1);
    consumer.commit_consumer_state(CommitMode::Sync).expect("commits are served");
    assert_eq!(broker.stop(), 0);
    let broker = Broker::start(&options);
    producer.send(BaseRecord::<str, str>::to("again").payload("after")).expect("the queue has room");
    producer.flush(PATIENCE).expect("everything is acknowledged");
    let deadline = Instant::now() + PATIENCE;
    let message = loop {
        assert!(Instant::now() < deadline, "the consumer comes back");
        if let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) {
            break message.detach();
        }
    };
    assert_eq!(message.payload(), Some(&b"after"[..]));
    drop(consumer);
    assert_eq!(broker.stop(), 0);
}
