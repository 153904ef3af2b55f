//! Kafka's own producer-perf-test against both brokers in turn, with the broker's CPU per record.

use std::path::Path;

use ottla_tests::broker::cpu_time;
use ottla_tests::kafka::{RealKafka, kafka_jars, run, tool};
use ottla_tests::topics::create_topic;

use crate::{Figure, broker, median};

const ROUNDS: usize = 3;

/// One kind of load.
struct Load {
    what: &'static str,
    record_bytes: &'static str,
    records: u64,
}

const LOADS: [Load; 2] = [
    Load { what: "1 KiB", record_bytes: "1024", records: 1_000_000 },
    Load { what: "100 B", record_bytes: "100", records: 5_000_000 },
];

/// What one run showed.
#[derive(Clone, Copy)]
struct Run {
    records_per_second: f64,
    cpu_us_per_record: f64,
    p99_ms: f64,
}

/// Both loads on both brokers; nothing where Kafka's tools are not installed.
pub fn measure() -> Vec<Figure> {
    let Some(jars) = kafka_jars() else { return Vec::new() };
    let directory = tempfile::tempdir().expect("a temporary directory");
    let ours = broker(&directory.path().join("ours"));
    let kafka_directory = directory.path().join("kafka");
    std::fs::create_dir(&kafka_directory).expect("it is new");
    let theirs = RealKafka::start(&jars, &kafka_directory, &[]);
    let mut figures = Vec::new();
    for (number, load) in LOADS.iter().enumerate() {
        let topic = format!("perf-{number}");
        create_topic(ours.address(), &topic, 6, &[]);
        let their_address: std::net::SocketAddr = theirs.address().parse().expect("an address");
        create_topic(their_address, &topic, 6, &[]);
        let pairs: Vec<_> = (0..ROUNDS)
            .map(|_| {
                let ours = perform(&jars, load, &topic, &ours.address().to_string(), ours.pid());
                let theirs = perform(&jars, load, &topic, &theirs.address(), theirs.pid());
                (ours, theirs)
            })
            .collect();
        figures.extend(rows(load, &pairs));
    }
    assert_eq!(ours.stop(), 0);
    figures
}

fn rows(load: &Load, pairs: &[(Run, Run)]) -> Vec<Figure> {
    let row = |what: &str, of: fn(&Run) -> f64, unit: &str| {
        let ours = median(pairs.iter().map(|(ours, _)| of(ours)).collect());
        let theirs = median(pairs.iter().map(|(_, theirs)| of(theirs)).collect());
        let ratio = median(pairs.iter().map(|(ours, theirs)| of(ours) / of(theirs)).collect());
        Figure {
            what: format!("producer-perf-test {}: {what}", load.what),
            ours: format!("{ours:.2} {unit} ({ratio:.2} ×)"),
            theirs: format!("{theirs:.2} {unit}"),
        }
    };
    vec![
        row("throughput", |run| run.records_per_second / 1e3, "k records/s"),
        row("broker CPU per record", |run| run.cpu_us_per_record, "µs"),
        row("p99 latency", |run| run.p99_ms, "ms"),
    ]
}

fn perform(jars: &Path, load: &Load, topic: &str, address: &str, pid: u32) -> Run {
    let before = cpu_time(pid);
    let records = load.records.to_string();
    let mut command = tool(jars, "producer-perf-test");
    command.args(["--bootstrap-server", address, "--topic", topic, "--num-records", &records]);
    command.args(["--record-size", load.record_bytes, "--throughput", "-1"]);
    let printed = run(&mut command, b"").success();
    let cpu = cpu_time(pid) - before;
    let summary = printed.lines().rev().find(|line| line.contains("99th")).expect("a summary is printed");
    Run {
        records_per_second: number_before(summary, " records/sec"),
        cpu_us_per_record: cpu.as_secs_f64() * 1e6 / load.records as f64,
        p99_ms: number_before(summary, " ms 99th"),
    }
}

/// The number that stands directly before `unit`.
fn number_before(line: &str, unit: &str) -> f64 {
    let end = line.find(unit).unwrap_or_else(|| panic!("no {unit:?} in {line:?}"));
    let word = line[..end].rsplit([' ', ',']).next().expect("a word stands there");
    word.parse().unwrap_or_else(|_| panic!("{word:?} is no number in {line:?}"))
}
