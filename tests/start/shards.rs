//! Shards and directories: any number of shards over the same data, several directories, one without direct I/O.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use ottla_tests::broker::{Broker, Options};
use ottla_tests::topics::create_topic;
use ottla_tools::client::Client;
use ottla_wire::ApiKey;
use ottla_wire::describe_log_dirs_request::DescribeLogDirsRequest;
use ottla_wire::describe_log_dirs_response::DescribeLogDirsResponse;
use ottla_wire::metadata_request::MetadataRequest;
use ottla_wire::metadata_response::{MetadataResponse, MetadataResponseTopic};

use crate::support::{FREE, count, line_of, produce, refusal, start_with};

/// Partitions of the topic that these tests fill.
const PARTITIONS: i32 = 4;

fn fill(address: SocketAddr, producer: &str, records: i64) {
    for partition in 0..PARTITIONS {
        produce(address, "t", partition, producer, records);
    }
}

fn counts(address: SocketAddr) -> Vec<usize> {
    (0..PARTITIONS).map(|partition| count(address, "t", partition)).collect()
}

#[test]
fn another_number_of_shards_finds_all_data() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut expected = 0;
    for (round, shards) in [1, 2, 5, 3, 1].into_iter().enumerate() {
        let overrides = [FREE, &format!("shards={shards}")];
        let broker = Broker::run(start_with(directory.path(), &overrides));
        assert!(line_of(&broker, "shards").starts_with(&format!("{shards}")), "{}", broker.output());
        if round == 0 {
            create_topic(broker.address(), "t", PARTITIONS, &[]);
        }
        assert_eq!(counts(broker.address()), vec![expected; 4], "{shards} shards");
        fill(broker.address(), &format!("p{round}"), 20);
        expected += 20;
        assert_eq!(counts(broker.address()), vec![expected; 4], "{shards} shards");
        assert!(!broker.output().contains("recovered"), "{}", broker.output());
        // A crash and a clean stop in turn: data moves to other shards after both.
        if round % 2 == 0 {
            assert_eq!(broker.stop(), 0);
        } else {
            broker.kill();
            let same = Broker::run(start_with(directory.path(), &overrides));
            assert_eq!(same.stop(), 0);
        }
    }
}

#[test]
fn cpus_that_are_named_are_shared_by_more_shards() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let broker = Broker::run(start_with(directory.path(), &[FREE, "shards=3", "cpus=0"]));
    assert_eq!(line_of(&broker, "shards"), "3 on cpu 0");
    create_topic(broker.address(), "t", PARTITIONS, &[]);
    fill(broker.address(), "p", 5);
    assert_eq!(counts(broker.address()), vec![5; 4]);
    assert_eq!(broker.stop(), 0);
}

/// Each directory with its partitions, as DescribeLogDirs tells.
fn described(address: SocketAddr) -> Vec<(String, usize)> {
    let mut client = Client::connect(address, "tests").expect("the broker listens");
    let reply: DescribeLogDirsResponse<'_> = client
        .call(ApiKey::DescribeLogDirs, 4, &DescribeLogDirsRequest { topics: None })
        .expect("the broker answers");
    assert_eq!(reply.error_code, 0);
    let dir = |result: &ottla_wire::describe_log_dirs_response::DescribeLogDirsResult<'_>| {
        assert_eq!(result.error_code, 0);
        assert!(result.total_bytes > 0 && result.usable_bytes > 0);
        (result.log_dir.to_string(), result.topics.iter().map(|topic| topic.partitions.len()).sum())
    };
    let mut all: Vec<_> = reply.results.iter().map(dir).collect();
    all.sort();
    all
}

fn has(directory: &Path, name: &str) -> bool {
    directory.join(name).exists()
}

#[test]
fn partitions_spread_over_directories_and_metadata_has_its_own() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let dir = |name: &str| directory.path().join(name);
    let dirs = ["a", "b", "c"].map(|name| dir(name).display().to_string());
    let log_dirs = format!("log.dirs={}", dirs.join(","));
    let metadata = format!("metadata.log.dir={}", dir("meta").display());
    let overrides = [FREE, &log_dirs, &metadata, "shards=2"];
    let broker = Broker::run(start_with(directory.path(), &overrides));
    let address = broker.address();
    create_topic(address, "t", 6, &[]);
    for name in ["one", "two", "three"] {
        create_topic(address, name, 1, &[]);
    }
    for partition in 0..6 {
        produce(address, "t", partition, "p", 3);
    }
    let expected: Vec<_> = dirs.iter().map(|dir| (dir.clone(), 3)).collect();
    assert_eq!(described(address), expected, "each of three directories has a third of nine partitions");
    assert!(has(&dir("meta"), "__cluster_metadata-0") && has(&dir("meta"), "meta.properties"));
    assert!(["a", "b", "c"].iter().all(|name| !has(&dir(name), "__cluster_metadata-0")));
    assert_eq!(broker.output().matches(", new)").count(), 4, "{}", broker.output());
    assert_eq!(broker.stop(), 0);

    // One more directory: it alone is new, takes what comes, and nothing moves.
    let more = format!("{log_dirs},{}", dir("d").display());
    let broker = Broker::run(start_with(directory.path(), &[FREE, &more, &metadata]));
    assert_eq!(broker.output().matches(", new)").count(), 1, "{}", broker.output());
    create_topic(broker.address(), "late", 1, &[]);
    assert!(has(&dir("d"), "late-0"));
    assert!((0..6).all(|partition| count(broker.address(), "t", partition) == 3));
    assert_eq!(broker.stop(), 0);
}

/// That the partitions of all topics, by name, have so many records, or are offline where that is `None`. Which are,
/// clients hear a moment after the start.
fn assert_available(address: SocketAddr, expected: &[Option<usize>]) {
    let deadline = Instant::now() + Duration::from_secs(30);
    let topics = loop {
        let topics = leaders(address);
        let is_online = |(_, leader): &(String, i32)| *leader >= 0;
        if topics.iter().map(is_online).eq(expected.iter().map(Option::is_some)) {
            break topics;
        }
        assert!(Instant::now() < deadline, "{topics:?} should be {expected:?}");
        std::thread::sleep(Duration::from_millis(5));
    };
    for ((name, _), records) in topics.iter().zip(expected) {
        assert_eq!(records.map(|_| count(address, name, 0)), *records, "{name}");
    }
}

/// Every topic with the leader of its first partition, by name.
fn leaders(address: SocketAddr) -> Vec<(String, i32)> {
    let mut client = Client::connect(address, "tests").expect("the broker listens");
    let reply: MetadataResponse<'_> = client
        .call(ApiKey::Metadata, 9, &MetadataRequest { topics: None, ..Default::default() })
        .expect("the broker answers");
    let leader = |topic: &MetadataResponseTopic<'_>| {
        (topic.name.as_deref().expect("it has a name").to_owned(), topic.partitions[0].leader_id)
    };
    let mut leaders: Vec<_> = reply.topics.iter().map(leader).collect();
    leaders.sort();
    leaders
}

#[test]
fn a_directory_that_is_missing_takes_its_partitions_offline_and_brings_them_back() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let dir = |name: &str| directory.path().join(name);
    let broker = Broker::run(start_with(directory.path(), &[FREE, "log.dirs=a,b"]));
    for name in ["one", "two", "three", "four"] {
        create_topic(broker.address(), name, 1, &[]);
        produce(broker.address(), name, 0, "p", 1);
    }
    assert_eq!(broker.stop(), 0);
    let of_b = ["four", "one", "three", "two"].map(|name| has(&dir("b"), &format!("{name}-0")));
    assert_eq!(of_b.iter().filter(|is_there| **is_there).count(), 2);

    let broker = Broker::run(start_with(directory.path(), &[FREE, "log.dirs=a"]));
    let expected: Vec<_> = of_b.iter().map(|is_there| (!is_there).then_some(1)).collect();
    assert_available(broker.address(), &expected);
    assert!(broker.output().contains("its log directory is not here"), "{}", broker.output());
    assert_eq!(broker.stop(), 0);
    let broker = Broker::run(start_with(directory.path(), &[FREE, "log.dirs=b,a"]));
    assert_available(broker.address(), &[Some(1); 4]);
    assert_eq!(broker.stop(), 0);

    // Without the metadata's directory there is no start that would take the others' partitions for strays.
    let line = refusal(start_with(directory.path(), &[FREE, "log.dirs=b"]));
    assert!(line.contains("there is no metadata log in b, but b has "), "{line}");
    let line = refusal(start_with(directory.path(), &[FREE, "log.dirs=c,b"]));
    assert!(line.contains("there is no metadata log in c, and b belongs to a cluster "), "{line}");
    std::fs::remove_dir_all(dir("c")).expect("the refused start made it");
    let broker = Broker::run(start_with(directory.path(), &[FREE, "log.dirs=a,b"]));
    assert_available(broker.address(), &[Some(1); 4]);
    assert_eq!(broker.stop(), 0);
}

#[test]
fn a_cluster_does_not_begin_again_where_its_metadata_is_not_mounted() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let dir = |name: &str| directory.path().join(name);
    let start = |dirs: &str| start_with(directory.path(), &[FREE, dirs]);
    let broker = Broker::run(start("log.dirs=a,b"));
    create_topic(broker.address(), "one", 1, &[]);
    assert_eq!(broker.stop(), 0);
    // The second one has nothing but its file, and the first is an empty mount point.
    let b = dir("b").join("one-0");
    if b.is_dir() {
        std::fs::rename(&b, dir("a").join("one-0")).expect("the directory is the test's own");
    }
    std::fs::rename(dir("a"), dir("elsewhere")).expect("as before");
    std::fs::create_dir(dir("a")).expect("as before");
    for _ in 0..2 {
        let line = refusal(start("log.dirs=a,b"));
        assert!(
            line.starts_with("metadata.log.dir: there is no metadata log in a, and b belongs to a "),
            "{line}"
        );
    }
    // The metadata log is used where it is found, which is said, and not begun again where it was not looked for.
    std::fs::remove_dir_all(dir("a")).expect("the directory is the test's own");
    std::fs::rename(dir("elsewhere"), dir("a")).expect("as before");
    let broker = Broker::run(start("log.dirs=b,a"));
    assert_available(broker.address(), &[Some(0)]);
    assert!(broker.output().contains("the metadata log is in a and not in b: set metadata.log.dir=a"));
    assert_eq!(broker.stop(), 0);
    std::fs::rename(dir("a"), dir("elsewhere")).expect("as before");
    std::fs::write(dir("a"), "no directory").expect("as before");
    let output = start("log.dirs=b,a").output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr);
    let expected =
        "metadata.log.dir: there is no metadata log in b, and a, which may have it, cannot be used";
    assert!(!output.status.success() && said.contains(expected), "{said}");
}

#[test]
fn a_partition_may_be_moved_between_starts_and_not_be_in_two_places() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let dir = |name: &str| directory.path().join(name);
    let broker = Broker::run(start_with(directory.path(), &[FREE, "log.dirs=a"]));
    create_topic(broker.address(), "one", 1, &[]);
    produce(broker.address(), "one", 0, "p", 5);
    assert_eq!(broker.stop(), 0);
    std::fs::create_dir_all(dir("b")).expect("the directory is the test's own");
    std::fs::rename(dir("a").join("one-0"), dir("b").join("one-0")).expect("it is there");
    for dirs in ["log.dirs=a,b", "log.dirs=b,a"] {
        let broker = Broker::run(start_with(directory.path(), &[FREE, dirs]));
        assert_available(broker.address(), &[Some(5)]);
        assert_eq!(broker.stop(), 0);
    }
    std::fs::create_dir_all(dir("a").join("one-0")).expect("the directory is the test's own");
    let id = |name: &str| dir(name).join("one-0").join("partition.metadata");
    std::fs::copy(id("b"), id("a")).expect("it is there");
    let line = refusal(start_with(directory.path(), &[FREE, "log.dirs=a,b"]));
    assert_eq!(line, "log.dirs: one-0 is both in a and in b; move one of them away");
}

#[test]
fn a_partition_without_an_id_is_kept_aside_where_another_has_its_name_and_id() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let dir = |name: &str| directory.path().join(name);
    let broker = Broker::run(start_with(directory.path(), &[FREE, "log.dirs=a,b"]));
    create_topic(broker.address(), "one", 1, &[]);
    produce(broker.address(), "one", 0, "p", 5);
    assert_eq!(broker.stop(), 0);
    let (with, without) = if dir("a").join("one-0").is_dir() { ("a", "b") } else { ("b", "a") };
    let segment = "00000000000000000000.log";
    let bytes = std::fs::read(dir(with).join("one-0").join(segment)).expect("it is there");
    std::fs::create_dir_all(dir(without).join("one-0")).expect("the directory is the test's own");
    std::fs::write(dir(without).join("one-0").join(segment), &bytes)
        .expect("the directory is the test's own");
    let broker = Broker::run(start_with(directory.path(), &[FREE, "log.dirs=a,b"]));
    assert_available(broker.address(), &[Some(5)]);
    assert_eq!(broker.stop(), 0);
    let entries = std::fs::read_dir(dir(without)).expect("a directory");
    let mut paths = entries.map(|entry| entry.expect("an entry").path());
    let stray = paths.find(|path| path.to_string_lossy().ends_with("-stray")).expect("it is kept");
    assert_eq!(std::fs::read(stray.join(segment)).expect("it is there"), bytes);
}

#[test]
fn a_directory_that_cannot_be_used_at_start_leaves_the_others_at_work() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let dir = |name: &str| directory.path().join(name);
    let start = || Broker::run(start_with(directory.path(), &[FREE, "log.dirs=a,b"]));
    let broker = start();
    for number in 0..4 {
        create_topic(broker.address(), &format!("t{number}"), 1, &[]);
        produce(broker.address(), &format!("t{number}"), 0, "p", 5);
    }
    assert_eq!(broker.stop(), 0);
    let in_a: Vec<bool> = (0..4).map(|number| dir("a").join(format!("t{number}-0")).is_dir()).collect();
    assert!(in_a.contains(&true) && in_a.contains(&false), "{in_a:?}");
    let some_of_a: Vec<Option<usize>> = in_a.iter().map(|is_there| is_there.then_some(5)).collect();
    // The whole directory is not one; then a file that every start reads is none.
    let (away, checkpoint) = (dir("away"), dir("b").join("recovery-point-offset-checkpoint"));
    std::fs::rename(dir("b"), &away).expect("it is there");
    std::fs::write(dir("b"), "no directory").expect("the directory is the test's own");
    let broker = start();
    assert!(broker.output().contains("b (OFFLINE"), "{}", broker.output());
    assert_available(broker.address(), &some_of_a);
    broker.stop();
    std::fs::remove_file(dir("b")).expect("it is the test's own");
    std::fs::rename(&away, dir("b")).expect("it was moved");
    std::fs::rename(&checkpoint, dir("kept")).expect("it is there");
    std::fs::create_dir(&checkpoint).expect("the directory is the test's own");
    let broker = start();
    assert!(broker.output().contains("b (OFFLINE"), "{}", broker.output());
    assert_available(broker.address(), &some_of_a);
    broker.stop();
    std::fs::remove_dir(&checkpoint).expect("it is the test's own");
    std::fs::rename(dir("kept"), &checkpoint).expect("it was moved");
    let broker = start();
    assert_available(broker.address(), &[Some(5); 4]);
    assert_eq!(broker.stop(), 0);
    // The one with the metadata log is needed, and so is one for topics.
    std::fs::rename(dir("a"), &away).expect("it is there");
    std::fs::write(dir("a"), "no directory").expect("the directory is the test's own");
    let line = refusal(start_with(directory.path(), &[FREE, "log.dirs=a,b"]));
    assert!(line.contains("log.dirs: log directory is unusable: "), "{line}");
}

#[test]
fn a_directory_in_memory_is_named_and_survives_a_kill() {
    let memory = Path::new("/dev/shm");
    if !memory.is_dir() {
        eprintln!("skipped: no tmpfs at /dev/shm");
        return;
    }
    let directory = tempfile::tempdir_in(memory).expect("a temporary directory");
    let options = Options::new(directory.path());
    let broker = Broker::start(&options);
    let output = broker.output();
    assert_eq!(output.matches("direct I/O").count(), 1, "one line is enough:\n{output}");
    assert!(line_of(&broker, "log dir").contains("no direct I/O"), "{output}");
    create_topic(broker.address(), "t", PARTITIONS, &[]);
    fill(broker.address(), "p", 50);
    broker.kill();
    let broker = Broker::start(&options);
    assert_eq!(counts(broker.address()), vec![50; 4]);
    fill(broker.address(), "q", 50);
    assert_eq!(broker.stop(), 0);
    let broker = Broker::start(&options);
    assert_eq!(counts(broker.address()), vec![100; 4]);
    assert!(!broker.output().contains("recovered"), "{}", broker.output());
    let held =
        refusal(start_with(directory.path(), &[FREE, &format!("log.dirs={}", directory.path().display())]));
    assert!(held.contains("in use by another broker"), "{held}");
    assert_eq!(broker.stop(), 0);
}
