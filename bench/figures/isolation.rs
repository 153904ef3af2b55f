//! What a consumer that drains old records does to those who work with new ones: latency of the acknowledgement and
//! from end to end, alone and beside the drain; and what the drain itself takes.
//!
//! Both brokers are filled with the same load, their files are dropped from the page cache, and then one connection
//! reads them whole while a producer goes on at a fixed rate and a consumer follows it. Latency counts from the
//! moment at which a record was due, so that a broker that stalls cannot hide what it kept waiting.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use ottla_tests::broker::{binary, cpu_time};
use ottla_tests::kafka::{RealKafka, kafka_jars};
use ottla_tests::topics::create_topic;

use crate::live::{self, Live};
use crate::{Figure, broker, median};

/// Gigabytes that are drained, unless `OTTLA_BENCH_GB` says otherwise.
const COLD_GB: u64 = 10;
/// Bytes of a record of the drained topic.
const RECORD_BYTES: u64 = 1024;
/// What is drained for the figure of a hot drain, at most.
const HOT_BYTES_MAX: u64 = 500_000_000;
/// How often it is drained before.
const HOT_AFTER: usize = 3;
/// Pairs of measurements, alone and beside a drain.
const ROUNDS: usize = 3;
/// How long one measurement lasts without a drain.
const ALONE: Duration = Duration::from_secs(10);

/// What one broker showed, a value per round.
#[derive(Default)]
struct Shown {
    alone: Vec<Latency>,
    beside: Vec<Latency>,
    cold: Vec<Drain>,
    hot: Vec<Drain>,
}

/// Milliseconds.
#[derive(Clone, Copy)]
struct Latency {
    ack_p99: f64,
    end_to_end_p99: f64,
}

/// One drain.
#[derive(Clone, Copy)]
struct Drain {
    megabytes_per_second: f64,
    cpu_seconds_per_gb: f64,
}

/// A broker that is measured.
struct Subject<'a> {
    address: SocketAddr,
    pid: u32,
    data: &'a Path,
    bytes: u64,
}

/// All figures, of both brokers where Kafka's are installed.
pub fn measure() -> Vec<Figure> {
    let gigabytes =
        std::env::var("OTTLA_BENCH_GB").ok().and_then(|text| text.parse().ok()).unwrap_or(COLD_GB);
    let bytes = gigabytes * 1_000_000_000;
    let directory = tempfile::tempdir().expect("a temporary directory");
    let data = directory.path().join("ours");
    let running = broker(&data);
    let subject = Subject { address: running.address(), pid: running.pid(), data: &data, bytes };
    let ours = subject.measure();
    assert_eq!(running.stop(), 0);
    std::fs::remove_dir_all(&data).expect("it is ours");
    let theirs = kafka_jars().map(|jars| {
        let data = directory.path().join("kafka");
        std::fs::create_dir(&data).expect("it is new");
        let running = RealKafka::start(&jars, &data, &[]);
        let address = running.address().parse().expect("an address");
        Subject { address, pid: running.pid(), data: &data, bytes }.measure()
    });
    rows(&ours, theirs.as_ref())
}

fn rows(ours: &Shown, theirs: Option<&Shown>) -> Vec<Figure> {
    let row = |what: &str, unit: &str, of: &dyn Fn(&Shown) -> Vec<f64>| {
        let text = |shown: &Shown| format!("{:.2} {unit}", median(of(shown)));
        Figure { what: what.to_owned(), ours: text(ours), theirs: theirs.map(text).unwrap_or_default() }
    };
    let latency = |of: fn(&Latency) -> f64| {
        (
            move |shown: &Shown| shown.alone.iter().map(of).collect::<Vec<_>>(),
            move |shown: &Shown| shown.beside.iter().map(of).collect::<Vec<_>>(),
            move |shown: &Shown| {
                let pairs = shown.alone.iter().zip(&shown.beside);
                pairs.map(|(alone, beside)| of(beside) / of(alone)).collect::<Vec<_>>()
            },
        )
    };
    let (ack_alone, ack_beside, ack_ratio) = latency(|latency| latency.ack_p99);
    let (seen_alone, seen_beside, seen_ratio) = latency(|latency| latency.end_to_end_p99);
    vec![
        row("live acknowledgement p99, alone", "ms", &ack_alone),
        row("the same beside a cold drain", "ms", &ack_beside),
        row("moved by", "×", &ack_ratio),
        row("live end to end p99, alone", "ms", &seen_alone),
        row("the same beside a cold drain", "ms", &seen_beside),
        row("moved by", "×", &seen_ratio),
        row("cold drain", "MB/s", &|shown| {
            shown.cold.iter().map(|drain| drain.megabytes_per_second).collect()
        }),
        row("broker CPU per cold GB, live load included", "s", &|shown| {
            shown.cold.iter().map(|drain| drain.cpu_seconds_per_gb).collect()
        }),
        row("hot drain", "MB/s", &|shown| shown.hot.iter().map(|drain| drain.megabytes_per_second).collect()),
        row("broker CPU per hot GB", "s", &|shown| {
            shown.hot.iter().map(|drain| drain.cpu_seconds_per_gb).collect()
        }),
    ]
}

impl Subject<'_> {
    fn measure(&self) -> Shown {
        create_topic(self.address, "cold", 4, &[]);
        create_topic(self.address, live::TOPIC, live::PARTITIONS, &[]);
        self.fill();
        let mut shown = Shown::default();
        for round in 1..=ROUNDS {
            eprintln!("  round {round} of {ROUNDS}: alone, beside a cold drain, a hot drain …");
            let stop = AtomicBool::new(false);
            let alone = Live::run(self.address, &stop, Some(ALONE));
            shown.alone.push(latency(&alone));
            chill(self.data);
            let (beside, cold) = self.beside_a_drain();
            shown.beside.push(latency(&beside));
            shown.cold.push(cold);
            // As much as fits the page cache and the figure is drained until it is hot: who reads only once leaves
            // nothing there.
            for _ in 0..HOT_AFTER {
                self.drain(Some(self.bytes.min(HOT_BYTES_MAX)));
            }
            shown.hot.push(self.drain(Some(self.bytes.min(HOT_BYTES_MAX))));
        }
        shown
    }

    /// The records that are drained.
    fn fill(&self) {
        let records = (self.bytes / RECORD_BYTES).to_string();
        let mut load = Command::new(binary());
        load.args(["bench", "produce", "--topic", "cold", "--clients", "2", "--in-flight", "4"]);
        load.args(["--batch-size", "256k", "--partitioner", "round-robin", "--num-records", &records]);
        load.args(["--record-size", &RECORD_BYTES.to_string()]);
        load.args(["--bootstrap-server", &self.address.to_string()]);
        let status = load.stdout(Stdio::null()).status();
        assert!(status.expect("the load runs").success(), "the topic is filled");
    }

    fn beside_a_drain(&self) -> (Live, Drain) {
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let live = scope.spawn(|| Live::run(self.address, &stop, None));
            let drain = self.drain(None);
            stop.store(true, Ordering::Release);
            (live.join().expect("the live load does not panic"), drain)
        })
    }

    /// Reads the old topic from its start, wholly or the first so many bytes of it.
    fn drain(&self, bytes: Option<u64>) -> Drain {
        let (cpu, started) = (cpu_time(self.pid), Instant::now());
        let mut load = Command::new(binary());
        load.args(["bench", "consume", "--topic", "cold", "--bootstrap-server", &self.address.to_string()]);
        if let Some(bytes) = bytes {
            load.args(["--num-records", &(bytes / RECORD_BYTES).to_string()]);
        }
        let mut load: Child = load.stdout(Stdio::null()).spawn().expect("the load runs");
        assert!(load.wait().expect("the load ends").success(), "the topic is read");
        let gigabytes = bytes.unwrap_or(self.bytes) as f64 / 1e9;
        Drain {
            megabytes_per_second: gigabytes * 1e3 / started.elapsed().as_secs_f64(),
            cpu_seconds_per_gb: (cpu_time(self.pid) - cpu).as_secs_f64() / gigabytes,
        }
    }
}

fn latency(live: &Live) -> Latency {
    let p99 = |histogram: &Histogram<u64>| histogram.value_at_quantile(0.99) as f64 / 1e6;
    Latency { ack_p99: p99(&live.acknowledged), end_to_end_p99: p99(&live.seen) }
}

/// Drops the files below `directory` from the page cache, by the tool that every Linux has.
fn chill(directory: &Path) {
    for entry in std::fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            chill(&path);
        } else if path.extension().is_some_and(|extension| extension == "log") {
            std::fs::File::open(&path).and_then(|file| file.sync_all()).expect("it can be synced");
            let mut drop = Command::new("dd");
            drop.arg(format!("if={}", path.display())).args(["iflag=nocache", "count=0", "status=none"]);
            assert!(drop.status().expect("dd is there").success(), "{} is dropped", path.display());
        }
    }
}
