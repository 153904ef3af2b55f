//! The files on disk, read by Kafka's own dump tool: every segment, every index.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ottla_tests::broker::{Broker, Options};
use ottla_tests::kafka::{kafka_jars, run, tool};
use ottla_tests::producer::IdempotentProducer;
use ottla_tests::topics::create_topic;

/// Every file of a partition whose name ends so, in order.
fn files(partition: &Path, ending: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(partition).expect("the partition has a directory");
    let mut files: Vec<_> = entries
        .map(|entry| entry.expect("it can be read").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == ending))
        .collect();
    files.sort();
    files
}

#[test]
fn kafka_reads_every_segment_and_index() {
    let Some(jars) = kafka_jars() else { return };
    let directory = tempfile::tempdir().expect("a temporary directory");
    let data = directory.path().join("data");
    let broker = Broker::start(&Options::new(&data));
    create_topic(
        broker.address(),
        "dump",
        1,
        &[("segment.bytes", "1048576"), ("index.interval.bytes", "4096")],
    );
    let mut producer = IdempotentProducer::new(broker.address(), "dump", 0, "dump").expect("a producer id");
    for _ in 0..300 {
        producer.send(400, Instant::now() + Duration::from_secs(30));
    }
    assert_eq!(broker.stop(), 0);

    let partition = data.join("dump-0");
    let segments = files(&partition, "log");
    assert!(segments.len() > 2, "the log has rolled: {segments:?}");
    let list =
        |paths: &[PathBuf]| paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(",");
    let dumped =
        run(tool(&jars, "dump-log").args(["--deep-iteration", "--files", &list(&segments)]), b"").success();
    let records = dumped.lines().filter(|line| line.starts_with("| offset: ")).count();
    assert_eq!(records, 300 * 400, "every record is dumped");
    assert!(dumped.lines().all(|line| !line.contains("isvalid: false")), "every CRC is right");

    for ending in ["index", "timeindex"] {
        let indexes = files(&partition, ending);
        assert_eq!(indexes.len(), segments.len(), "each segment has its {ending}");
        let checked =
            run(tool(&jars, "dump-log").args(["--index-sanity-check", "--files", &list(&indexes)]), b"");
        let checked = checked.success();
        assert_eq!(checked.matches("passed sanity check").count(), indexes.len(), "{checked}");
    }
    let snapshots = files(&partition, "snapshot");
    assert!(!snapshots.is_empty(), "producers have snapshots");
    let dumped = run(tool(&jars, "dump-log").args(["--files", &list(&snapshots)]), b"").success();
    assert!(dumped.contains("producerId: "), "{dumped}");
}
