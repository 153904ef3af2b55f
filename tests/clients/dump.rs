//! `ottla log dump` beside Kafka's own dump tool, on the same files: every line, every finding, the exit code.

use std::path::{Path, PathBuf};
use std::process::Command;

use ottla_tests::broker::{Broker, Options, binary};
use ottla_tests::kafka::{Printed, kafka_jars, run, tool};

use crate::round_trip::load;

/// The flags with which segments of topics are dumped.
const OF_SEGMENTS: &[&[&str]] = &[
    &[],
    &["--deep-iteration"],
    &["--print-data-log"],
    &["--print-data-log", "--skip-record-metadata", "--max-bytes", "50000"],
];
/// The flags with which everything else is.
const OF_INDEXES: &[&[&str]] = &[&[], &["--verify-index-only"], &["--index-sanity-check"]];
/// The topics with records of their own, and the flag for them.
const DECODED: &[(&str, &str)] = &[
    ("__consumer_offsets-", "--offsets-decoder"),
    ("__transaction_state-", "--transaction-log-decoder"),
    ("__cluster_metadata-", "--cluster-metadata-decoder"),
];

/// Dumps every file below a data directory with both tools. Returns how many lines were the same.
pub fn compare_all(jars: &Path, data: &Path) -> usize {
    let (mut segments, mut indexes) = (Vec::new(), Vec::new());
    let mut decoded = vec![Vec::new(); DECODED.len()];
    for directory in entries(data).into_iter().filter(|path| path.is_dir()) {
        let name = directory.file_name().expect("an entry has a name").to_string_lossy().into_owned();
        let known = DECODED.iter().position(|(topic, _)| name.starts_with(topic));
        for file in entries(&directory) {
            let is_log = file.extension().is_some_and(|ending| ending == "log" || ending == "checkpoint");
            match known {
                Some(known) if is_log => decoded[known].push(file),
                _ if is_log => segments.push(file),
                _ => indexes.push(file),
            }
        }
    }
    let mut lines = 0;
    for (flags, files) in OF_SEGMENTS
        .iter()
        .map(|flags| (*flags, &segments))
        .chain(OF_INDEXES.iter().map(|flags| (*flags, &indexes)))
    {
        lines += compare(jars, flags, files);
    }
    for ((_, flag), files) in DECODED.iter().zip(&decoded).filter(|(_, files)| !files.is_empty()) {
        lines += compare(jars, &[flag], files);
    }
    lines
}

fn entries(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).expect("it is there");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    paths
}

/// Runs both tools and compares what they print.
fn compare(jars: &Path, flags: &[&str], files: &[PathBuf]) -> usize {
    let list = files.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(",");
    let arguments = |command: &mut Command| run(command.args(flags).args(["--files", &list]), b"");
    let ours = arguments(Command::new(binary()).args(["log", "dump"]));
    let theirs = arguments(&mut tool(jars, "dump-log"));
    assert_same(flags, &theirs, &ours);
    theirs.stdout.lines().count()
}

fn assert_same(flags: &[&str], theirs: &Printed, ours: &Printed) {
    for (what, theirs, ours) in
        [("finding", &theirs.stderr, &ours.stderr), ("line", &theirs.stdout, &ours.stdout)]
    {
        let mut file = "";
        for (theirs, ours) in theirs.lines().zip(ours.lines()) {
            file = theirs.strip_prefix("Dumping ").unwrap_or(file);
            assert_eq!(theirs, ours, "{what} of {file}, {flags:?}");
        }
        assert_eq!(theirs.lines().count(), ours.lines().count(), "{what}s, {flags:?}");
    }
    assert_eq!(theirs.code, ours.code, "{flags:?}");
}

#[test]
fn what_this_broker_writes_is_dumped_as_kafka_dumps_it() {
    let Some(jars) = kafka_jars() else { return };
    let directory = tempfile::tempdir().expect("a temporary directory");
    let data = directory.path().join("data");
    let broker = Broker::start(&Options::new(&data).set("offsets.topic.num.partitions", 2));
    let address = broker.address().to_string();
    crate::round_trip::create_some(&address);
    load::codecs(&address, "first");
    load::segments(&address);
    load::commit(&address, "readers", 7);
    load::member(&address, "members");
    assert_eq!(broker.stop(), 0);
    let lines = compare_all(&jars, &data);
    assert!(lines > 10_000, "{lines} lines are the same");
}

#[test]
fn damage_is_found_as_kafka_finds_it() {
    let Some(jars) = kafka_jars() else { return };
    let directory = tempfile::tempdir().expect("a temporary directory");
    let data = directory.path().join("data");
    let broker = Broker::start(&Options::new(&data));
    let address = broker.address().to_string();
    crate::round_trip::create_some(&address);
    load::segments(&address);
    assert_eq!(broker.stop(), 0);
    let partition = data.join("segments-0");
    let segment = partition.join("00000000000000000000.log");
    let bytes = std::fs::read(&segment).expect("it is there");
    let write = |name: &str, bytes: &[u8]| {
        let path = partition.join(name);
        std::fs::write(&path, bytes).expect("it can be written");
        path
    };

    let mut flipped = bytes.clone();
    flipped[bytes.len() / 2] ^= 1;
    let flipped = write("00000000000000000000.log", &flipped);
    compare(&jars, &[], &[flipped]);
    compare(&jars, &["--deep-iteration"], &[write("00000000000000000001.log", &bytes[..bytes.len() - 9])]);
    let index = std::fs::read(partition.join("00000000000000000000.index")).expect("it is there");
    let mut wrong = index.clone();
    wrong[3] ^= 1;
    let (index, times) =
        (write("00000000000000000000.index", &wrong), partition.join("00000000000000000000.timeindex"));
    compare(&jars, &["--verify-index-only"], &[index, times.clone()]);
    let mut shuffled = std::fs::read(&times).expect("it is there");
    shuffled[..24].rotate_left(12);
    compare(&jars, &[], &[write("00000000000000000000.timeindex", &shuffled)]);

    let snapshot =
        entries(&partition).into_iter().find(|path| path.extension().is_some_and(|e| e == "snapshot"));
    let mut wrong = std::fs::read(snapshot.expect("there is one")).expect("it is there");
    wrong[20] ^= 1;
    compare(&jars, &[], &[write("00000000000000009999.snapshot", &wrong)]);

    // Where Kafka ends with a stack trace there is one line, and the same exit code.
    for (flags, file) in [
        (&["--deep-iteration"][..], partition.join("00000000000000000777.log")),
        (&[], write("00000000000000000002.log", &[&bytes[..], &[0; 4096]].concat())),
        (&["--offsets-decoder"], partition.join("name.log")),
        (&["--no-such-flag"], segment),
    ] {
        let list = file.display().to_string();
        let ours =
            run(Command::new(binary()).args(["log", "dump"]).args(flags).args(["--files", &list]), b"");
        let theirs = run(tool(&jars, "dump-log").args(flags).args(["--files", &list]), b"");
        assert_eq!((ours.code, theirs.code), (1, 1), "{flags:?} {list}");
        assert_eq!(ours.stdout, theirs.stdout, "{flags:?} {list}");
        assert!(!ours.stderr.is_empty() && !ours.stderr.contains("panicked"), "{}", ours.stderr);
    }
}
