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

/// What Kafka's dump tool prints of one segment with a decoder of its records.
fn decoded(jars: &Path, decoder: &str, segment: &Path) -> String {
    let printed = run(tool(jars, "dump-log").arg(decoder).arg("--files").arg(segment), b"");
    assert!(!printed.stderr.contains("Exception"), "{}", printed.stderr);
    let text = printed.success();
    let lowercase = text.to_lowercase();
    for sign in ["error", "exception", "unknown", "could not", "isvalid: false"] {
        assert!(!lowercase.contains(sign), "{sign} in {text}");
    }
    text
}

/// A checkpoint of Kafka's: a version, the number of entries, the entries.
fn checkpoint_entries(path: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert!(text.ends_with('\n'), "{}: {text:?}", path.display());
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("0"), "{}: the version of the format", path.display());
    let count: usize = lines.next().and_then(|line| line.parse().ok()).expect("the number of entries");
    let entries: Vec<String> = lines.map(str::to_owned).collect();
    assert_eq!(entries.len(), count, "{}", path.display());
    entries
}

/// Checks the checkpoints of the directory and of one partition in it whose log ends at `end`.
fn check_checkpoints(data: &Path, partition: (&str, i32), end: i64) {
    let (topic, index) = partition;
    for name in ["recovery-point-offset-checkpoint", "replication-offset-checkpoint"] {
        let entries = checkpoint_entries(&data.join(name));
        for entry in &entries {
            let words: Vec<&str> = entry.split(' ').collect();
            let [_topic, partition, offset] = words[..] else { panic!("{name}: {entry:?}") };
            assert!(partition.parse::<i32>().is_ok_and(|partition| partition >= 0), "{name}: {entry:?}");
            assert!(offset.parse::<i64>().is_ok_and(|offset| offset >= 0), "{name}: {entry:?}");
        }
        assert!(entries.contains(&format!("{topic} {index} {end}")), "{name}: {entries:?}");
    }
    let directory = data.join(format!("{topic}-{index}"));
    assert_eq!(
        checkpoint_entries(&directory.join("leader-epoch-checkpoint")),
        ["0 0"],
        "epoch 0 from offset 0"
    );
    let metadata = std::fs::read_to_string(directory.join("partition.metadata")).expect("it is there");
    let id = metadata.strip_prefix("version: 0\ntopic_id: ").expect("Kafka's two lines").trim_end();
    assert_eq!(id.len(), 22, "a topic id in URL-safe base64: {id}");
}

#[test]
fn kafka_decodes_metadata_and_committed_offsets() {
    let Some(jars) = kafka_jars() else { return };
    let directory = tempfile::tempdir().expect("a temporary directory");
    let data = directory.path().join("data");
    let broker = Broker::start(&Options::new(&data).set("offsets.topic.num.partitions", 1));
    let address = broker.address().to_string();
    create_topic(broker.address(), "dump", 2, &[("retention.ms", "3600000")]);
    let mut producer = IdempotentProducer::new(broker.address(), "dump", 0, "dump").expect("a producer id");
    producer.send(400, Instant::now() + Duration::from_secs(30));
    let consume = ["--topic", "dump", "--group", "dumped", "--from-beginning", "--max-messages", "400"];
    let mut consumer = tool(&jars, "console-consumer");
    let _ = run(consumer.args(["--bootstrap-server", &address]).args(consume), b"").success();
    assert_eq!(broker.stop(), 0);

    let segment = |topic: &str| files(&data.join(format!("{topic}-0")), "log").remove(0);
    let metadata = decoded(&jars, "--cluster-metadata-decoder", &segment("__cluster_metadata"));
    for (kind, count) in
        [("REGISTER_BROKER", 1), ("TOPIC", 2), ("PARTITION", 3), ("CONFIG", 4), ("PRODUCER_IDS", 1)]
    {
        let found = metadata.matches(&format!("\"type\":\"{kind}_RECORD\"")).count();
        assert_eq!(found, count, "{kind}_RECORD in {metadata}");
    }
    assert!(metadata.contains("\"name\":\"dump\""), "{metadata}");
    let (batches, led) = (metadata.matches("baseOffset: "), metadata.matches("partitionLeaderEpoch: 1 "));
    assert_eq!(batches.count(), led.count(), "every batch has the quorum's epoch: {metadata}");

    let offsets = decoded(&jars, "--offsets-decoder", &segment("__consumer_offsets"));
    for (key, payload) in [
        (r#"{"type":"1","data":{"group":"dumped","topic":"dump","partition":0}}"#, r#""offset":400,"#),
        (r#"{"type":"2","data":{"group":"dumped"}}"#, r#""protocolType":"consumer""#),
    ] {
        let has = |line: &str| line.contains(&format!("key: {key} payload: {{")) && line.contains(payload);
        assert!(offsets.lines().any(has), "no {key} with {payload} in {offsets}");
    }
    check_checkpoints(&data, ("dump", 0), 400);
}
