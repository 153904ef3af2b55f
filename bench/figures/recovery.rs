//! A start over a lot of data: after kill -9 under load, and after a clean stop.
//!
//! After the kill only what lies behind the recovery points is read; how much that is the broker says itself.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use ottla_tests::broker::{Broker, binary};
use ottla_tests::topics::create_topic;

use crate::{Figure, broker};

/// Gigabytes in all partitions together, unless `OTTLA_BENCH_GB` says otherwise.
const GIGABYTES: u64 = 10;
const PARTITIONS: i32 = 1000;
const RECORD_BYTES: u64 = 1024;

/// All figures of starts.
pub fn measure() -> Vec<Figure> {
    let gigabytes =
        std::env::var("OTTLA_BENCH_GB").ok().and_then(|text| text.parse().ok()).unwrap_or(GIGABYTES);
    let directory = tempfile::tempdir().expect("a temporary directory");
    let data = directory.path().join("data");
    let filling = broker(&data);
    create_topic(filling.address(), "many", PARTITIONS, &[]);
    let records = gigabytes * 1_000_000_000 / RECORD_BYTES;
    fill(&filling, &records.to_string());
    // The load goes on when the broker is killed.
    let mut load = produce(&filling, &records.to_string()).spawn().expect("the load runs");
    std::thread::sleep(Duration::from_secs(2));
    filling.kill();
    let _ = load.kill();
    load.wait().expect("the load ends");

    let started = Instant::now();
    let recovered = broker(&data);
    let after_kill = started.elapsed();
    let output = recovered.output();
    let scanned: u64 = output.lines().filter_map(scanned_bytes).sum();
    assert_eq!(recovered.stop(), 0);
    let started = Instant::now();
    let clean = broker(&data);
    let after_stop = started.elapsed();
    assert_eq!(clean.stop(), 0);
    let what = |how: &str| format!("{gigabytes} GB in {PARTITIONS} partitions, ready after {how}");
    vec![
        Figure::ours(&what("kill -9 under load"), format!("{:.2} s", after_kill.as_secs_f64())),
        Figure::ours("of it read behind the recovery points", format!("{:.0} MB", scanned as f64 / 1e6)),
        Figure::ours(&what("a clean stop"), format!("{:.3} s", after_stop.as_secs_f64())),
    ]
}

fn produce(broker: &Broker, records: &str) -> Command {
    let mut load = Command::new(binary());
    load.args(["bench", "produce", "--topic", "many", "--clients", "2", "--in-flight", "8"]);
    load.args(["--batch-size", "64k", "--partitioner", "round-robin"]);
    load.args(["--record-size", &RECORD_BYTES.to_string(), "--num-records", records]);
    load.args(["--bootstrap-server", &broker.address().to_string()]);
    load.stdout(Stdio::null()).stderr(Stdio::null());
    load
}

fn fill(broker: &Broker, records: &str) {
    assert!(produce(broker, records).status().expect("the load runs").success(), "the topic is filled");
}

/// The number in a line `recovered 500 partitions: 123456 bytes scanned in 12ms`, one per shard.
fn scanned_bytes(line: &str) -> Option<u64> {
    let (_, rest) = line.split_once(" partitions: ")?;
    rest.split_once(" bytes scanned")?.0.parse().ok()
}
