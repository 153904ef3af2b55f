//! The questions: each starts a broker in a fresh directory, loads it, and says what it saw.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use ottla_bench::result::{ACK, END_TO_END, PRODUCED, RunResult};
use ottla_tests::topics::create_topic;

use super::driver::Driver;
use super::field::Field;
use super::load::{self, Length, Outcome, Produce};
use super::many;
use super::running::Running;

const MEGABYTE: f64 = 1e6;
/// Kafka's `batch.size`, by default.
const BATCH_BYTES: u64 = 16_384;
const LARGE_BATCH_BYTES: u64 = 131_072;
const KIB: u64 = 1024;
/// Partitions of the question of many.
const PARTITIONS: i32 = 1_000;
/// Partitions of what is fetched.
const FETCHED_PARTITIONS: i32 = 4;

/// What one broker showed in one round.
#[derive(Debug, Default)]
pub struct Answer {
    /// Figures by their ids.
    pub figures: Vec<(&'static str, f64)>,
    /// Loads by their labels.
    pub runs: Vec<(&'static str, RunResult)>,
}

impl Answer {
    fn figure(&mut self, id: &'static str, value: f64) {
        self.figures.push((id, value));
    }

    /// Three quantiles of a latency.
    fn quantiles(&mut self, outcome: &Outcome, latency: &str, ids: [&'static str; 3]) {
        for (id, quantile) in ids.into_iter().zip([0.5, 0.99, 0.999]) {
            self.figure(id, outcome.ms(latency, quantile));
        }
    }
}

/// Puts a question to a broker.
///
/// # Panics
/// When the broker or a load fails: there is no figure then.
#[must_use]
pub fn ask(question: &str, field: &Field, driver: &Driver) -> Answer {
    let mut answer = Answer::default();
    match question {
        "small" => small(field, driver, &mut answer),
        "single" => single(field, driver, &mut answer),
        "max" => most(field, driver, KIB, &mut answer),
        "max100" => most(field, driver, 100, &mut answer),
        "fetch" => fetch(field, driver, &mut answer),
        "drain" => drain(field, driver, &mut answer),
        "start" => start(field, driver, &mut answer),
        "many" => with_many_partitions(field, driver, &mut answer),
        other => panic!("no question is called {other}"),
    }
    answer
}

/// Makes a topic with a record in each partition: Kafka names the leaders of partitions before they take any.
fn topic(broker: &Running<'_>, name: &str, partitions: i32) {
    create_topic(broker.address(), name, partitions, &[]);
    many::write_once(broker.address(), name, partitions);
}

fn small(field: &Field, driver: &Driver, answer: &mut Answer) {
    let steady = Steady {
        label: "small",
        seen_label: "small-seen",
        partitions: 12,
        rate: 5_000,
        linger_ms: 1,
        cpu: "small.cpu",
        ack: ["small.ack_p50", "small.ack_p99", "small.ack_p999"],
        memory: Some("small.memory"),
        seen: ["small.seen_p50", "small.seen_p99", "small.seen_p999"],
    };
    steady.ask(field, driver, answer);
}

fn single(field: &Field, driver: &Driver, answer: &mut Answer) {
    let steady = Steady {
        label: "single",
        seen_label: "single-seen",
        partitions: 1,
        rate: 10_000,
        linger_ms: 0,
        cpu: "single.cpu",
        ack: ["single.ack_p50", "single.ack_p99", "single.ack_p999"],
        memory: None,
        seen: ["single.seen_p50", "single.seen_p99", "single.seen_p999"],
    };
    steady.ask(field, driver, answer);
}

/// A load of 1 KiB records at a fixed rate, and the ids of what it shows.
struct Steady {
    /// The topic, and what the load is called.
    label: &'static str,
    seen_label: &'static str,
    partitions: i32,
    /// Records per second.
    rate: u64,
    linger_ms: u64,
    cpu: &'static str,
    ack: [&'static str; 3],
    memory: Option<&'static str>,
    seen: [&'static str; 3],
}

impl Steady {
    fn ask(&self, field: &Field, driver: &Driver, answer: &mut Answer) {
        let (broker, _) = Running::fresh(field, driver);
        topic(&broker, self.label, self.partitions);
        let load = Produce {
            topic: self.label,
            record_bytes: KIB,
            rate: Some(self.rate),
            linger_ms: self.linger_ms,
            batch_bytes: BATCH_BYTES,
            clients: 1,
            is_urgent: false,
        };
        let outcome = load.measured(&broker, self.label);
        answer.figure(self.cpu, outcome.cpu_us_per_record(PRODUCED));
        answer.quantiles(&outcome, ACK, self.ack);
        if let Some(id) = self.memory {
            answer.figure(id, broker.resident_bytes() as f64 / MEGABYTE);
        }
        answer.runs.push((self.label, outcome.run));
        if driver.fetches {
            seen(&load, &broker, (self.seen_label, self.seen), answer);
        }
        broker.stop();
    }
}

/// The same load with a consumer that follows it.
fn seen(
    load: &Produce,
    broker: &Running<'_>,
    (label, ids): (&'static str, [&'static str; 3]),
    answer: &mut Answer,
) {
    let outcome = load.end_to_end(broker, label);
    answer.quantiles(&outcome, END_TO_END, ids);
    answer.runs.push((label, outcome.run));
}

fn most(field: &Field, driver: &Driver, record_bytes: u64, answer: &mut Answer) {
    let (broker, _) = Running::fresh(field, driver);
    topic(&broker, "most", 12);
    let load = flood("most", record_bytes);
    let (label, [rate, cpu, p99]) = if record_bytes == KIB {
        ("max", ["max.rate", "max.cpu", "max.ack_p99"])
    } else {
        ("max100", ["max100.rate", "max100.cpu", "max100.ack_p99"])
    };
    let outcome = load.measured(&broker, label);
    answer.figure(rate, load::produced_per_second(&outcome.run) / 1e3);
    answer.figure(cpu, outcome.cpu_us_per_record(PRODUCED));
    answer.figure(p99, outcome.ms(ACK, 0.99));
    if record_bytes == KIB {
        answer.figure("max.memory", broker.resident_bytes() as f64 / MEGABYTE);
    }
    answer.runs.push((label, outcome.run));
    broker.stop();
}

/// As many records as it takes.
fn flood(topic: &'static str, record_bytes: u64) -> Produce {
    Produce {
        topic,
        record_bytes,
        rate: None,
        linger_ms: 5,
        batch_bytes: LARGE_BATCH_BYTES,
        clients: 2,
        is_urgent: false,
    }
}

fn fill(broker: &Running<'_>, name: &'static str, bytes: u64) {
    topic(broker, name, FETCHED_PARTITIONS);
    flood(name, KIB).run(broker, Length::Records(bytes / KIB), "fill");
}

fn fetch(field: &Field, driver: &Driver, answer: &mut Answer) {
    let (broker, _) = Running::fresh(field, driver);
    fill(&broker, "hot", field.lengths.hot_bytes);
    let hot = load::consume(&broker, "hot", "fetch-hot");
    answer.figure("fetch.hot_cpu", hot.cpu_s_per_gb());
    answer.figure("fetch.hot_rate", load::consumed_mb_per_second(&hot.run));
    answer.runs.push(("fetch-hot", hot.run));
    fill(&broker, "cold", field.lengths.cold_bytes);
    chill(broker.directory());
    let cold = load::consume(&broker, "cold", "fetch-cold");
    answer.figure("fetch.cold_cpu", cold.cpu_s_per_gb());
    let rate = load::consumed_mb_per_second(&cold.run);
    answer.figure("fetch.cold_rate", rate);
    answer.runs.push(("fetch-cold", cold.run));
    chill(broker.directory());
    if let Some(ceiling) = read_ceiling(broker.directory()) {
        answer.figure("fetch.of_ceiling", 100.0 * rate / ceiling);
    }
    broker.stop();
}

fn drain(field: &Field, driver: &Driver, answer: &mut Answer) {
    let (broker, _) = Running::fresh(field, driver);
    fill(&broker, "cold", field.lengths.drained_bytes);
    topic(&broker, "live", FETCHED_PARTITIONS);
    let live = Produce {
        topic: "live",
        record_bytes: KIB,
        rate: Some(1_000),
        linger_ms: 0,
        batch_bytes: BATCH_BYTES,
        clients: 1,
        is_urgent: true,
    };
    let alone = live.end_to_end(&broker, "drain-alone");
    // How long a drain takes shows one without the live load.
    chill(broker.directory());
    let drain = load::consume(&broker, "cold", "drain");
    let time = Duration::from_secs(((drain.run.duration_seconds * 0.9) as u64).max(1));
    chill(broker.directory());
    let drain = load::start_consume(&broker, "cold", "drain");
    let run = live.start_end_to_end(&broker, time, "drain-beside").finish();
    let beside = Outcome { run, broker_cpu: Duration::ZERO };
    drop(drain.finish());
    for (latency, [alone_id, beside_id, moved]) in [
        (ACK, ["drain.alone_p99", "drain.beside_p99", "drain.moved"]),
        (END_TO_END, ["drain.seen_alone_p99", "drain.seen_beside_p99", "drain.seen_moved"]),
    ] {
        let [alone, beside] = [&alone, &beside].map(|outcome| outcome.ms(latency, 0.99));
        answer.figure(alone_id, alone);
        answer.figure(beside_id, beside);
        answer.figure(moved, beside / alone);
    }
    answer.runs.extend([("drain-alone", alone.run), ("drain-beside", beside.run)]);
    broker.stop();
}

fn start(field: &Field, driver: &Driver, answer: &mut Answer) {
    let (mut broker, fresh) = Running::fresh(field, driver);
    answer.figure("start.fresh", fresh.as_secs_f64() * 1e3);
    std::thread::sleep(field.lengths.settle);
    answer.figure("start.memory", broker.resident_bytes() as f64 / MEGABYTE);
    let before = broker.thread_nanos();
    std::thread::sleep(field.lengths.idle);
    let nanos = broker.thread_nanos().saturating_sub(before);
    answer.figure("start.cpu", nanos as f64 / 1e6 / field.lengths.idle.as_secs_f64());
    broker.kill();
    answer.figure("start.killed", broker.start().as_secs_f64() * 1e3);
    broker.stop();
}

fn with_many_partitions(field: &Field, driver: &Driver, answer: &mut Answer) {
    let (mut broker, _) = Running::fresh(field, driver);
    let started = Instant::now();
    create_topic(broker.address(), "many", PARTITIONS, &[]);
    many::write_once(broker.address(), "many", PARTITIONS);
    answer.figure("many.written", started.elapsed().as_secs_f64());
    std::thread::sleep(field.lengths.settle);
    answer.figure("many.memory", broker.resident_bytes() as f64 / MEGABYTE);
    broker.kill();
    answer.figure("many.killed", broker.start().as_secs_f64());
    broker.stop();
}

/// Drops the segments below `directory` from the page cache, by the tool that every Linux has.
fn chill(directory: &Path) {
    for path in segments(directory) {
        File::open(&path).and_then(|file| file.sync_all()).expect("it can be synced");
        let mut drop = Command::new("dd");
        drop.arg(format!("if={}", path.display())).args(["iflag=nocache", "count=0", "status=none"]);
        assert!(drop.status().expect("dd is there").success(), "{} is dropped", path.display());
    }
}

fn segments(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).expect("a directory").flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(segments(&path));
        } else if path.extension().is_some_and(|extension| extension == "log") {
            found.push(path);
        }
    }
    found
}

/// What the disk gives to one reader of large blocks past the page cache, in MB/s; `None` where that cannot be asked.
fn read_ceiling(directory: &Path) -> Option<f64> {
    let size = |path: &PathBuf| std::fs::metadata(path).map_or(0, |metadata| metadata.len());
    let largest = segments(directory).into_iter().max_by_key(size)?;
    let bytes = size(&largest);
    let mut read = Command::new("dd");
    read.arg(format!("if={}", largest.display())).args([
        "of=/dev/null",
        "bs=4M",
        "iflag=direct",
        "status=none",
    ]);
    let started = Instant::now();
    let is_read = read.status().is_ok_and(|status| status.success());
    is_read.then(|| bytes as f64 / 1e6 / started.elapsed().as_secs_f64())
}
