//! A broker whose disk fails or fills up under it, on real file systems of the kernel's own.
//!
//! A file system in a file, mounted by a loop device, is told by an ioctl to fail everything from now on, as a disk
//! that is pulled does; another is just small. Where this process may not mount, the tests say so and end.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use ottla::errors::ErrorCode;
use ottla_tests::broker::{Broker, Options};
use ottla_tests::reader::read_partition;
use ottla_tests::topics::{create_topic, set_topic_config};
use ottla_tools::client::Client;
use ottla_wire::ApiKey;
use ottla_wire::delete_topics_request::DeleteTopicsRequest;
use ottla_wire::delete_topics_response::DeleteTopicsResponse;
use ottla_wire::metadata_request::MetadataRequest;
use ottla_wire::metadata_response::MetadataResponse;

mod mounted;
mod sender;

use mounted::{Mounted, ballast};
use sender::Sender;

const NAMES: [&str; 4] = ["one", "two", "three", "four"];

/// Long enough for anything that comes at all.
const PATIENCE: Duration = Duration::from_secs(30);

fn directories(first: &Path, second: &Path) -> Options {
    Options::new(first).set("log.dirs", format!("{},{}", first.display(), second.display()))
}

/// The topics whose partition lies in a directory.
fn topics_in(directory: &Path) -> Vec<&'static str> {
    NAMES.into_iter().filter(|name| directory.join(format!("{name}-0")).exists()).collect()
}

/// The leader of a topic's only partition; -1 for none.
fn leader(broker: &Broker, topic: &str) -> i32 {
    let mut client = Client::connect(broker.address(), "disk").expect("the broker listens");
    let request = MetadataRequest { topics: None, ..Default::default() };
    let reply: MetadataResponse<'_> = client.call(ApiKey::Metadata, 9, &request).expect("the broker answers");
    let found = reply.topics.iter().find(|found| found.name.as_deref() == Some(topic));
    found.expect("the topic is known").partitions[0].leader_id
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The values of a topic's partition are records 0 to `count`.
fn assert_holds(broker: &Broker, sender: &Sender, topic: &str, count: u64) {
    let found = read_partition(broker.address(), topic, 0);
    assert_eq!(found.len() as u64, count, "records of {topic}");
    for (number, (_, value)) in found.iter().enumerate() {
        assert!(*value == sender.value(number as u64), "record {number} of {topic}");
    }
}

#[test]
fn a_disk_that_fails_takes_its_own_partitions_and_nothing_else() {
    let Some(disk) = Mounted::ext4(64) else { return };
    let healthy = tempfile::tempdir().expect("a temporary directory");
    let broker = Broker::start(&directories(healthy.path(), &disk.path()));
    let mut sender = Sender::new(broker.address(), 100);
    for name in NAMES {
        create_topic(broker.address(), name, 1, &[]);
        assert!((0..10).all(|number| sender.send(name, number) == ErrorCode::None));
    }
    let (well, ill) = (topics_in(healthy.path()), topics_in(&disk.path()));
    assert_eq!((well.len(), ill.len()), (2, 2), "new partitions go where there are fewest");
    if !disk.fail() {
        return;
    }
    // Whoever writes there finds out; nothing is acknowledged any more, however often it is tried.
    for name in &ill {
        let errors = [ErrorCode::KafkaStorageError, ErrorCode::NotLeaderOrFollower];
        let refusals: Vec<_> = (0..5).map(|_| sender.send(name, 10)).collect();
        assert!(refusals.iter().all(|code| errors.contains(code)), "{refusals:?}");
        wait_until("the partition has no leader", || leader(&broker, name) == -1);
    }
    assert!(broker.output().contains("offline"), "{}", broker.output());
    for name in &well {
        assert_eq!(sender.send(name, 10), ErrorCode::None);
        assert_holds(&broker, &sender, name, 11);
        assert_ne!(leader(&broker, name), -1);
    }
    create_topic(broker.address(), "later", 1, &[]);
    assert!(healthy.path().join("later-0").exists(), "new partitions go to the disk that is left");
    assert_eq!(broker.stop(), 0);

    // The same disk, well again: everything that was acknowledged is there.
    disk.again();
    let broker = Broker::start(&directories(healthy.path(), &disk.path()));
    let mut sender = Sender::new(broker.address(), 100);
    for name in &ill {
        assert_holds(&broker, &sender, name, 10);
        assert_eq!(sender.send(name, 10), ErrorCode::None);
    }
    assert_eq!(broker.stop(), 0);

    // A new and empty disk in its place: what was on it is gone and says so, the rest goes on, and it is used.
    disk.replace();
    let broker = Broker::start(&directories(healthy.path(), &disk.path()));
    let mut sender = Sender::new(broker.address(), 100);
    for name in &well {
        assert_holds(&broker, &sender, name, 11);
    }
    for name in &ill {
        assert_eq!(leader(&broker, name), -1, "no empty partition takes the place of a lost one");
    }
    create_topic(broker.address(), "newest", 1, &[]);
    assert!(disk.path().join("newest-0").exists());
    assert_eq!(sender.send("newest", 0), ErrorCode::None);
    assert_eq!(broker.stop(), 0);
}

/// What is at `/healthz`, with its head.
fn health(broker: &Broker) -> String {
    let mut stream = TcpStream::connect(broker.metrics_place()).expect("the broker listens");
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").expect("it reads");
    let mut reply = String::new();
    stream.read_to_string(&mut reply).expect("it answers");
    reply
}

#[test]
fn a_broker_whose_only_disk_has_failed_is_not_healthy() {
    let Some(disk) = Mounted::ext4(64) else { return };
    let options = Options::new(&disk.path())
        .set("metrics.listener", "127.0.0.1:0")
        .set("log.retention.check.interval.ms", 5);
    let broker = Broker::start(&options);
    create_topic(broker.address(), "one", 1, &[]);
    let mut sender = Sender::new(broker.address(), 100);
    assert_eq!(sender.send("one", 0), ErrorCode::None);
    assert!(health(&broker).starts_with("HTTP/1.1 200 "));
    if !disk.fail() {
        return;
    }
    wait_until("a write finds out", || sender.send("one", 1) != ErrorCode::None);
    let reply = health(&broker);
    assert!(reply.starts_with("HTTP/1.1 503 ") && reply.contains(" is offline: "), "{reply}");
    // Retention has come by some times meanwhile.
    std::thread::sleep(Duration::from_millis(100));
    let output = broker.output();
    // It may have been the one that found out, and says so once; of what is offline already it says nothing.
    let again =
        |line: &&str| line.contains("retention could not be enforced") && line.contains(" is offline");
    assert_eq!(output.lines().find(again), None, "{output}");
    broker.kill();
}

#[test]
fn a_full_disk_refuses_records_until_there_is_room() {
    const MEGABYTES: u64 = 64;
    let Some(disk) = Mounted::ext4(MEGABYTES) else { return };
    let data = disk.path().join("data");
    let broker = Broker::start(&Options::new(&data));
    create_topic(broker.address(), "one", 1, &[]);
    create_topic(broker.address(), "two", 1, &[]);
    let mut sender = Sender::new(broker.address(), 100_000);
    assert_eq!(sender.send("two", 0), ErrorCode::None);
    let ballast = ballast(&disk.path(), 16, MEGABYTES - 8);
    let mut acknowledged = 0;
    let refusal = loop {
        match sender.send("one", acknowledged) {
            ErrorCode::None => acknowledged += 1,
            error => break error,
        }
        assert!(acknowledged < 1_000, "the disk is full some time");
    };
    assert_eq!(refusal, ErrorCode::RequestTimedOut, "this one is in the log, and may still become durable");
    let asked = Instant::now();
    assert_eq!(sender.send("one", acknowledged), ErrorCode::KafkaStorageError);
    eprintln!("a full disk refuses after {:?}", asked.elapsed());
    // What was acknowledged is read meanwhile; the record that was refused is not a reader's yet.
    assert!(read_partition(broker.address(), "one", 0).len() as u64 >= acknowledged);
    assert_holds(&broker, &sender, "two", 1);
    assert_ne!(leader(&broker, "one"), -1, "a full disk is no failed one");

    std::fs::remove_file(ballast).expect("it is there");
    wait_until("writing goes on", || sender.send("two", 1) == ErrorCode::None);
    wait_until("writing goes on", || sender.send("one", 1_000_000) == ErrorCode::None);
    let found = read_partition(broker.address(), "one", 0);
    for number in 0..acknowledged {
        assert!(found[number as usize].1 == sender.value(number), "record {number}");
    }
    assert_eq!(found.last().expect("records").1, sender.value(1_000_000));
    assert_eq!(broker.stop(), 0);
    let broker = Broker::start(&Options::new(&data));
    assert_eq!(read_partition(broker.address(), "one", 0), found);
    assert_eq!(broker.stop(), 0);
}

/// The segments of a topic's only partition that are there under their names.
fn segments(data: &Path, topic: &str) -> usize {
    let entries = std::fs::read_dir(data.join(format!("{topic}-0"))).expect("the partition is there");
    entries
        .filter(|entry| entry.as_ref().is_ok_and(|it| it.path().extension() == Some("log".as_ref())))
        .count()
}

#[test]
fn retention_makes_room_on_a_full_disk() {
    const MEGABYTES: u64 = 64;
    let Some(disk) = Mounted::ext4(MEGABYTES) else { return };
    let data = disk.path().join("data");
    let options = Options::new(&data).set("log.retention.check.interval.ms", 200);
    let broker = Broker::start(&options);
    let small_segments =
        [("segment.bytes", "1048576"), ("file.delete.delay.ms", "0"), ("retention.ms", "-1")];
    create_topic(broker.address(), "one", 1, &small_segments);
    let mut sender = Sender::new(broker.address(), 100_000);
    let _ballast = ballast(&disk.path(), 40, MEGABYTES - 8);
    let mut acknowledged = 0;
    while sender.send("one", acknowledged) == ErrorCode::None {
        acknowledged += 1;
        assert!(acknowledged < 1_000, "the disk is full some time");
    }
    let before = segments(&data, "one");
    assert!(before > 8, "{before} segments");
    set_topic_config(broker.address(), "one", "retention.bytes", "4194304");
    wait_until("old segments go", || segments(&data, "one") <= 6);
    wait_until("writing goes on", || sender.send("one", 1_000_000) == ErrorCode::None);
    let found = read_partition(broker.address(), "one", 0);
    assert_eq!(found.last().expect("records").1, sender.value(1_000_000));
    let first = u64::from_be_bytes(found[0].1[..8].try_into().expect("eight bytes"));
    for (at, number) in (first..acknowledged).enumerate() {
        assert!(found[at].1 == sender.value(number), "record {number}");
    }
    broker.kill();
    let broker = Broker::start(&options);
    assert_eq!(read_partition(broker.address(), "one", 0), found, "after a crash");
    assert_eq!(broker.stop(), 0);
    assert!(segments(&data, "one") <= 6, "nothing came back");
}

#[test]
fn a_segment_that_cannot_be_opened_is_told_of_and_taken_up_when_it_can() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let options = Options::new(&directory.path().join("data"));
    let broker = Broker::start(&options);
    create_topic(broker.address(), "one", 1, &[]);
    assert_eq!(Sender::new(broker.address(), 100).send("one", 0), ErrorCode::None);
    assert_eq!(broker.stop(), 0);
    let broker = Broker::start(&options);
    let segment = directory.path().join("data").join("one-0").join("00000000000000000000.log");
    let elsewhere = directory.path().join("elsewhere");
    std::fs::rename(&segment, &elsewhere).expect("nobody has opened it");
    let mut sender = Sender::new(broker.address(), 100);
    for _ in 0..3 {
        assert_eq!(sender.send("one", 1), ErrorCode::KafkaStorageError);
    }
    let told = |broker: &Broker| broker.output().matches("an append failed").count();
    wait_until("a line says why", || told(&broker) > 0);
    let output = broker.output();
    let line = output.lines().find(|line| line.contains("an append failed")).expect("it was just there");
    let cause = format!("partition=one-0 error=cannot open {}: No such file", segment.display());
    assert!(line.contains("ERROR") && line.contains(&cause), "{line}");
    std::fs::rename(&elsewhere, &segment).expect("it is put back");
    assert_eq!(sender.send("one", 1), ErrorCode::None);
    assert_holds(&broker, &sender, "one", 2);
    assert_eq!(told(&broker), 1, "a file is told of once a minute");
    assert_eq!(broker.stop(), 0);
}

fn delete_topic(broker: &Broker, topic: &str) {
    let mut client = Client::connect(broker.address(), "disk").expect("the broker listens");
    let request =
        DeleteTopicsRequest { topic_names: vec![topic.into()], timeout_ms: 30_000, ..Default::default() };
    let reply: DeleteTopicsResponse<'_> =
        client.call(ApiKey::DeleteTopics, 4, &request).expect("the broker answers");
    assert_eq!(reply.responses[0].error_code, 0);
}

/// Its files make way for a new topic of its name, and for a clean stop; those of another topic are kept aside.
#[test]
fn a_topic_that_cannot_be_opened_can_be_deleted_and_made_again() {
    let metadata_of_another = "version: 0\ntopic_id: AAAAAAAAAAAAAAAAAAAAAQ\n";
    for (file, content, kept) in [
        ("partition.metadata", metadata_of_another, true),
        ("00000000000000000000.log.swap", "not a segment", false),
    ] {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let options = Options::new(directory.path());
        let broker = Broker::start(&options);
        create_topic(broker.address(), "one", 1, &[]);
        assert_eq!(Sender::new(broker.address(), 100).send("one", 0), ErrorCode::None);
        // A start behind a clean stop would not look at these files.
        broker.kill();
        std::fs::write(directory.path().join("one-0").join(file), content).expect("a file");

        let broker = Broker::start(&options);
        assert_eq!(Sender::new(broker.address(), 100).send("one", 1), ErrorCode::KafkaStorageError, "{file}");
        delete_topic(&broker, "one");
        create_topic(broker.address(), "one", 1, &[]);
        assert_eq!(Sender::new(broker.address(), 100).send("one", 0), ErrorCode::None, "{file}");
        let names = std::fs::read_dir(directory.path()).expect("it is there");
        let names = names.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned());
        assert_eq!(names.filter(|name| name.ends_with("-stray")).count(), usize::from(kept), "{file}");
        assert_eq!(broker.stop(), 0);
        assert!(directory.path().join(".kafka_cleanshutdown").exists(), "{file}: a clean stop");

        let broker = Broker::start(&options);
        let sender = Sender::new(broker.address(), 100);
        assert_holds(&broker, &sender, "one", 1);
        assert_eq!(broker.stop(), 0);
    }
}
