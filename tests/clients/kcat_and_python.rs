//! A million keyed lines through kcat, read back by kcat and by a group of three Python consumers, one of which is
//! killed half-way.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use ottla_tests::broker::{Broker, Options};
use ottla_tests::kafka::{kcat, python, run};
use ottla_tests::topics::create_topic;

const TOPIC: &str = "million";
const KEYS: u64 = 1000;
const PARTITIONS: i32 = 6;
/// How long the group may take on a loaded machine.
const GROUP_PATIENCE: Duration = Duration::from_secs(300);

/// Lines written; `OTTLA_LINES` sets another number.
fn lines() -> u64 {
    std::env::var("OTTLA_LINES").map_or(1_000_000, |text| text.parse().expect("a number"))
}

#[test]
fn a_million_lines_come_back_as_they_were() {
    let Some(kcat) = kcat() else { return };
    let directory = tempfile::tempdir().expect("a temporary directory");
    let broker = Broker::start(&Options::new(&directory.path().join("data")));
    create_topic(broker.address(), TOPIC, PARTITIONS, &[]);
    let text: String = (0..lines()).map(|line| format!("k{}:{line}\n", line % KEYS)).collect();
    let address = broker.address().to_string();
    let produce = ["-P", "-b", &address, "-t", TOPIC, "-K:", "-X", "linger.ms=5"];
    assert_eq!(run(Command::new(&kcat).args(produce), text.as_bytes()).code, 0);

    let consume = ["-C", "-b", &address, "-t", TOPIC, "-o", "beginning", "-e", "-q", "-f", "%k %s\n"];
    let read = run(Command::new(&kcat).args(consume), b"").success();
    check_order(read.lines().map(|line| line.split_once(' ').expect("a key and a value")), lines());

    if let Some(python) = python() {
        group_of_three(&python, broker.address(), directory.path());
    }
    assert_eq!(broker.stop(), 0);
}

/// Every line is there once, and the lines of a key ascend.
fn check_order<'a>(records: impl Iterator<Item = (&'a str, &'a str)>, expected: u64) {
    let mut last: HashMap<&str, u64> = HashMap::new();
    let mut count = 0;
    for (key, value) in records {
        let value: u64 = value.parse().expect("values are numbers");
        assert_eq!(key, format!("k{}", value % KEYS), "a value keeps its key");
        let expected_next = last.get(key).map_or(value % KEYS, |last| last + KEYS);
        assert_eq!(value, expected_next, "key {key}: order, loss or duplicate");
        last.insert(key, value);
        count += 1;
    }
    assert_eq!(count, expected);
}

fn group_of_three(python: &Path, address: SocketAddr, directory: &Path) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/group_member.py");
    let paths: Vec<PathBuf> = (0..3).map(|member| directory.join(format!("member-{member}"))).collect();
    let mut members: Vec<Child> = paths
        .iter()
        .map(|path| {
            let mut command = Command::new(python);
            command.arg(&script).arg(address.to_string()).args([TOPIC, "three"]).arg(path).arg("12");
            command.stdin(Stdio::null()).spawn().expect("python is there")
        })
        .collect();
    let deadline = Instant::now() + GROUP_PATIENCE;
    while records_in(&paths) < lines() / 2 {
        assert!(Instant::now() < deadline, "the group reads: {} records so far", records_in(&paths));
        std::thread::sleep(Duration::from_millis(50));
    }
    members[0].kill().expect("a child can be killed");
    for (number, member) in members.iter_mut().enumerate() {
        let status = member.wait().expect("a child can be waited for");
        assert!(number == 0 || status.success(), "member {number} ended with {status}");
    }
    check_group(&paths);
}

fn records_in(paths: &[PathBuf]) -> u64 {
    let count = |path: &PathBuf| {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        text.lines().filter(|line| line.starts_with("R ")).count() as u64
    };
    paths.iter().map(count).sum()
}

/// No record is missing, and one that was seen twice was not committed by the member that was killed.
fn check_group(paths: &[PathBuf]) {
    let mut seen: BTreeMap<(i32, i64), (String, u64)> = BTreeMap::new();
    let mut committed_by_killed: BTreeMap<i32, i64> = BTreeMap::new();
    let mut duplicates = Vec::new();
    for (member, path) in paths.iter().enumerate() {
        let text = std::fs::read_to_string(path).expect("each member wrote its file");
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        for line in whole.lines() {
            let fields: Vec<&str> = line.split(' ').collect();
            let place = (fields[1].parse().expect("a partition"), fields[2].parse().expect("an offset"));
            if fields[0] == "C" {
                if member == 0 {
                    committed_by_killed.insert(place.0, place.1);
                }
                continue;
            }
            let value: u64 = fields[4].parse().expect("values are numbers");
            if let Some(before) = seen.insert(place, (fields[3].to_owned(), value)) {
                assert_eq!(before, (fields[3].to_owned(), value), "one offset, one record");
                duplicates.push(place);
            }
        }
    }
    for (partition, offset) in &duplicates {
        let committed = committed_by_killed.get(partition).copied().unwrap_or(0);
        assert!(*offset >= committed, "{partition}-{offset} was committed up to {committed} and came again");
    }
    eprintln!("{} records, {} seen twice after the kill", seen.len(), duplicates.len());
    check_order(
        seen.values()
            .map(|(key, value)| (key.as_str(), value.to_string()))
            .collect::<Vec<_>>()
            .iter()
            .map(|(key, value)| (*key, value.as_str())),
        lines(),
    );
}
