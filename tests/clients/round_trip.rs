//! A directory that changes hands: written by the real Kafka, opened by this broker, which adds to it, and opened by
//! the real Kafka again.
//!
//! What must hold: clients see the same topic ids, offsets, bytes, timestamps and committed offsets before and after,
//! with both isolation levels; and after a clean stop of this broker Kafka finds nothing to mend.

mod check;
pub mod load;

use std::collections::BTreeMap;
use std::path::Path;

use crate::dump::compare_all;
use check::{View, view};
use load::{PATIENCE, client};
use ottla_tests::broker::{Broker, Options};
use ottla_tests::kafka::{RealKafka, kafka_jars, run, tool};
use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;

/// The broker waits for a session to end where the one before it has not said goodbye; and the cleaner is not to
/// change what is being compared once it has shown what it does.
const SETTINGS: &[&str] = &["broker.session.timeout.ms=1500", "broker.heartbeat.interval.ms=300"];
const CLEANING: &[&str] = &["log.cleaner.backoff.ms=200", "log.initial.task.delay.ms=100"];
const NOT_CLEANING: &[&str] = &["log.cleaner.enable=false"];

const TOPICS: &[(&str, i32)] = &[
    ("codec-none", 1),
    ("codec-gzip", 1),
    ("codec-snappy", 1),
    ("codec-lz4", 1),
    ("codec-zstd", 1),
    ("segments", 2),
    ("transactions", 1),
    ("compacted", 1),
    ("empty", 2),
];
const GROUPS: &[(&str, &[&str])] =
    &[("readers", &["codec-zstd", "segments"]), ("in-transactions", &["transactions"])];

fn admin(address: &str) -> AdminClient<DefaultClientContext> {
    client(address).create().expect("the configuration is valid")
}

/// Waits for what an admin client was asked, without an executor of its own.
fn wait<T>(asked: impl Future<Output = rdkafka::error::KafkaResult<T>>) -> T {
    let mut asked = std::pin::pin!(asked);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let deadline = std::time::Instant::now() + PATIENCE;
    loop {
        if let std::task::Poll::Ready(answer) = asked.as_mut().poll(&mut context) {
            return answer.expect("the broker answers");
        }
        assert!(std::time::Instant::now() < deadline, "no answer");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

fn create(address: &str, topics: &[(&str, i32)]) {
    let settings = |topic: &str| -> &[(&str, &str)] {
        match topic {
            "segments" => &[("segment.bytes", "1048576"), ("index.interval.bytes", "4096")],
            "codec-zstd" => &[("compression.type", "zstd"), ("message.timestamp.type", "LogAppendTime")],
            "compacted" => &[
                ("cleanup.policy", "compact"),
                ("segment.ms", "100"),
                ("min.cleanable.dirty.ratio", "0.01"),
                ("delete.retention.ms", "100"),
                ("file.delete.delay.ms", "100"),
            ],
            _ => &[],
        }
    };
    let topic = |(name, partitions): &(&'static str, i32)| {
        let new = NewTopic::new(name, *partitions, TopicReplication::Fixed(1));
        settings(name).iter().fold(new, |new, (key, value)| new.set(key, value))
    };
    let topics: Vec<_> = TOPICS.iter().filter(|one| topics.contains(one)).map(topic).collect();
    for result in wait(admin(address).create_topics(&topics, &AdminOptions::new())) {
        result.expect("it is created");
    }
}

/// Creates the topics that need no transactions.
pub fn create_some(address: &str) {
    create(address, &TOPICS[..6]);
}

/// Lets the real Kafka write everything; some of it in a second life, so that there are leader epochs above 0.
fn written_by_kafka(jars: &Path, dir: &Path) -> RealKafka {
    let kafka = RealKafka::open(jars, dir, &[SETTINGS, CLEANING].concat());
    let address = kafka.address();
    create(&address, TOPICS);
    load::codecs(&address, "first");
    load::segments(&address);
    load::transactions(&address, "t1");
    load::commit(&address, "readers", 7);
    load::compacted(&address);
    kafka.stop();

    let kafka = RealKafka::open(jars, dir, &[SETTINGS, NOT_CLEANING].concat());
    let address = kafka.address();
    load::codecs(&address, "second");
    load::transactions(&address, "t2");
    load::commit(&address, "readers", 42);
    kafka
}

fn ours(dir: &Path) -> Broker {
    let options = Options::new(&dir.join("data"));
    Broker::start(&options.set("node.id", 1).set("log.cleaner.enable", false))
}

/// What this broker adds: records behind those that are there, offsets, a topic, a setting; and one topic goes.
fn added_by_ours(address: &str) -> View {
    load::codecs(address, "ours");
    load::segments(address);
    load::commit(address, "readers", 99);
    let admin = admin(address);
    let new = NewTopic::new("ours", 2, TopicReplication::Fixed(1)).set("retention.ms", "86400000");
    wait(admin.create_topics([&new], &AdminOptions::new())).remove(0).expect("it is created");
    wait(admin.delete_topics(&["empty"], &AdminOptions::new())).remove(0).expect("it is deleted");
    let change = AlterConfig::new(ResourceSpecifier::Topic("segments")).set("segment.bytes", "2097152");
    wait(admin.alter_configs([&change], &AdminOptions::new())).remove(0).expect("it is altered");
    seen_after(address)
}

fn seen_after(address: &str) -> View {
    let topics: Vec<_> =
        TOPICS.iter().copied().filter(|(name, _)| *name != "empty").chain([("ours", 2)]).collect();
    view(address, &topics, GROUPS)
}

fn configured(address: &str, topic: &str, key: &str) -> Option<String> {
    let resources = [ResourceSpecifier::Topic(topic)];
    let mut described = wait(admin(address).describe_configs(&resources, &AdminOptions::new()));
    let config = described.remove(0).expect("it exists");
    config.entry_map().get(key).and_then(|entry| entry.value.clone())
}

/// Checks that Kafka has found nothing to mend, by what it warns of.
fn assert_nothing_mended(dir: &Path) {
    let log = std::fs::read_to_string(dir.join("server.log")).expect("it is there");
    for line in log.lines() {
        let lower = line.to_lowercase();
        let signs = ["corrupt", "rebuil", "recover", "truncat", "could not find", "unclean"];
        let found = signs.iter().find(|sign| lower.contains(**sign));
        assert_eq!(found, None, "{line}");
    }
}

/// Kafka, then this broker, then Kafka; `is_clean` says how the brokers end in between.
fn there_and_back(is_clean: bool) {
    let Some(jars) = kafka_jars() else { return };
    let directory = tempfile::tempdir().expect("a temporary directory");
    let dir = directory.path();
    let kafka = written_by_kafka(&jars, dir);
    let written = view(&kafka.address(), TOPICS, GROUPS);
    assert_eq!(
        written.groups[&("in-transactions".into(), "transactions".into())].0,
        20,
        "the aborted is not"
    );
    let transactions = &written.partitions[&("transactions".into(), 0)];
    assert!(transactions.committed.len() < transactions.records.len(), "some were aborted");
    if is_clean {
        kafka.stop()
    } else {
        kafka.kill()
    }

    let broker = ours(dir);
    let address = broker.address().to_string();
    written.assert_same(&view(&address, TOPICS, GROUPS), "opened by this broker");
    assert_eq!(configured(&address, "compacted", "segment.ms").as_deref(), Some("100"));
    let after = added_by_ours(&address);
    if is_clean {
        assert_eq!(broker.stop(), 0)
    } else {
        broker.kill()
    }

    let kafka = RealKafka::open(&jars, dir, &[SETTINGS, NOT_CLEANING].concat());
    let address = kafka.address();
    after.assert_same(&seen_after(&address), "opened by Kafka again");
    assert_eq!(configured(&address, "segments", "segment.bytes").as_deref(), Some("2097152"));
    assert_eq!(configured(&address, "ours", "retention.ms").as_deref(), Some("86400000"));
    load::codecs(&address, "third");
    load::transactions(&address, "t1");
    kafka.stop();
    if is_clean {
        assert_nothing_mended(dir);
        let lines = compare_all(&jars, &dir.join("data"));
        assert!(lines > 20_000, "{lines} lines of both dump tools are the same");
    }
}

#[test]
fn kafkas_directory_goes_there_and_back_after_clean_stops() {
    there_and_back(true);
}

#[test]
fn kafkas_directory_goes_there_and_back_over_crashes() {
    there_and_back(false);
}

/// The other way round: this broker writes first, and Kafka opens what it has never formatted.
#[test]
fn a_directory_of_ours_goes_to_kafka_and_back() {
    let Some(jars) = kafka_jars() else { return };
    let directory = tempfile::tempdir().expect("a temporary directory");
    let dir = directory.path();
    let broker = ours(dir);
    let address = broker.address().to_string();
    create_some(&address);
    load::codecs(&address, "first");
    load::segments(&address);
    load::commit(&address, "readers", 7);
    let groups = &GROUPS[..1];
    let written = view(&address, &TOPICS[..6], groups);
    assert_eq!(broker.stop(), 0);

    let kafka = RealKafka::open(&jars, dir, &[SETTINGS, NOT_CLEANING].concat());
    let address = kafka.address();
    written.assert_same(&view(&address, &TOPICS[..6], groups), "opened by Kafka");
    create(&address, &TOPICS[6..]);
    load::codecs(&address, "second");
    load::transactions(&address, "t1");
    load::commit(&address, "readers", 42);
    let added = view(&address, TOPICS, GROUPS);
    kafka.stop();
    assert_nothing_mended(dir);

    let broker = ours(dir);
    added.assert_same(&view(&broker.address().to_string(), TOPICS, GROUPS), "opened by this broker again");
    assert_eq!(broker.stop(), 0);
}

/// Settings with which Kafka makes a snapshot of its metadata after every record.
const SNAPSHOTS: &[&str] = &["metadata.log.max.record.bytes.between.snapshots=1"];

/// Leaves of a metadata log what is behind its newest snapshot that records follow, as Kafka does when the log has
/// grown: the segments before are gone, and the first that is left begins where the snapshot ends.
fn forget_beginning(log: &Path) {
    let bytes = std::fs::read(log.join("00000000000000000000.log")).expect("it is there");
    let (batches, end) = batches(&bytes);
    let names =
        std::fs::read_dir(log).expect("it is there").map(|entry| entry.expect("an entry").file_name());
    let names = names.filter_map(|name| name.into_string().ok());
    let mut snapshots: Vec<_> =
        names.filter(|name| name.ends_with(".checkpoint") && name.starts_with('0')).collect();
    snapshots.sort_unstable();
    let (base, from) = loop {
        let newest = snapshots.pop().expect("a snapshot that records follow");
        let offset: i64 = newest[..20].parse().expect("an offset");
        match batches.get(&offset) {
            Some(position) => break (offset, *position),
            None => std::fs::remove_file(log.join(newest)).expect("it was there"),
        }
    };
    assert!(from > 0, "something is forgotten");
    for suffix in ["log", "index", "timeindex"] {
        std::fs::remove_file(log.join(format!("00000000000000000000.{suffix}"))).expect("it was there");
    }
    std::fs::write(log.join(format!("{base:020}.log")), &bytes[from..end]).expect("it can be written");
}

/// Where the batch of each base offset begins, and where the last one ends.
fn batches(bytes: &[u8]) -> (BTreeMap<i64, usize>, usize) {
    let (mut batches, mut at) = (BTreeMap::new(), 0);
    while let Some(header) = bytes.get(at..at + 12) {
        let length = u32::from_be_bytes(header[8..].try_into().expect("4 bytes"));
        if length == 0 {
            break;
        }
        batches.insert(i64::from_be_bytes(header[..8].try_into().expect("8 bytes")), at);
        at += 12 + length as usize;
    }
    (batches, at)
}

#[test]
fn a_metadata_log_without_its_beginning_is_read_from_the_snapshot() {
    let Some(jars) = kafka_jars() else { return };
    let directory = tempfile::tempdir().expect("a temporary directory");
    let dir = directory.path();
    let kafka = RealKafka::open(&jars, dir, &[SETTINGS, SNAPSHOTS].concat());
    let address = kafka.address();
    create(&address, &TOPICS[..6]);
    load::commit(&address, "readers", 7);
    let alter = |entity: &[&str], add: &str| {
        let mut configs = tool(&jars, "configs");
        configs.args(["--bootstrap-server", &address, "--alter", "--add-config", add]).args(entity);
        let _ = run(&mut configs, b"").success();
    };
    alter(&["--entity-type", "users", "--entity-name", "u"], "SCRAM-SHA-256=[iterations=4096,password=p]");
    alter(&["--entity-type", "clients", "--entity-name", "c"], "producer_byte_rate=1000000");
    load::codecs(&address, "first");
    let groups = &GROUPS[..1];
    let written = view(&address, &TOPICS[..6], groups);
    kafka.stop();
    forget_beginning(&dir.join("data/__cluster_metadata-0"));

    let broker = ours(dir);
    let address = broker.address().to_string();
    for kept in ["UserScramCredentialRecord", "ClientQuotaRecord"] {
        assert!(broker.output().contains(kept), "{}", broker.output());
    }
    written.assert_same(&view(&address, &TOPICS[..6], groups), "opened by this broker");
    create(&address, &TOPICS[8..]);
    load::codecs(&address, "ours");
    let added = view(&address, &TOPICS[..6], groups);
    assert_eq!(broker.stop(), 0);

    let kafka = RealKafka::open(&jars, dir, &[SETTINGS, SNAPSHOTS].concat());
    let address = kafka.address();
    added.assert_same(&view(&address, &TOPICS[..6], groups), "opened by Kafka again");
    let mut describe = tool(&jars, "configs");
    describe.args(["--bootstrap-server", &address, "--describe", "--entity-type", "clients"]);
    let quotas = run(&mut describe, b"").success();
    assert!(quotas.contains("producer_byte_rate=1000000"), "what has no effect here is kept: {quotas}");
    kafka.stop();
}
