//! Closed loops over many partitions, each way in turn.

use std::cell::{Cell, RefCell};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use ottla::ids::{TopicPartition, Uuid};
use ottla::log::{LogConfig, NewBatch};
use ottla_shards::disk::{DiskSettings, JournalUse, LogDirs, OpenWith, Partition, ShardDisk};
use ottla_shards::host::{self, run_local};

use crate::batch::batch;
use crate::{Plan, directory, micros, table, thousands, way_name, way_word};

/// Commits of each partition before anything counts.
const WARM_COMMITS: usize = 5;

/// What a load came to, in the order in which a child process prints it.
#[derive(Clone, Copy, Default)]
pub struct Outcome {
    pub commits_per_second: f64,
    pub p50: f64,
    pub p99: f64,
    pub p999: f64,
    pub p9999: f64,
    pub cpu_micros: f64,
    pub frames_per_second: f64,
}

impl Outcome {
    fn fields(&mut self) -> [&mut f64; 7] {
        [
            &mut self.commits_per_second,
            &mut self.p50,
            &mut self.p99,
            &mut self.p999,
            &mut self.p9999,
            &mut self.cpu_micros,
            &mut self.frames_per_second,
        ]
    }

    /// The median of each figure.
    fn median(runs: &mut [Outcome]) -> Outcome {
        let mut median = Outcome::default();
        for (at, field) in median.fields().into_iter().enumerate() {
            *field = crate::median(runs.iter_mut().map(|run| *run.fields()[at]));
        }
        median
    }
}

/// What to do to a disk.
#[derive(Clone)]
pub struct Load {
    pub way: JournalUse,
    pub partitions: usize,
    pub batch_bytes: usize,
    /// Batches of a partition in flight.
    pub deep: usize,
    pub time: Duration,
    pub segment_bytes: u64,
    pub path: PathBuf,
    pub zeroed_bytes: u64,
}

pub fn measure(plan: &Plan) {
    let header = [
        "partitions",
        "batch",
        "in flight of each",
        "way",
        "commits/s",
        "MB/s",
        "p50",
        "p99",
        "p99.9",
        "p99.99",
        "CPU µs",
        "frames/s",
    ];
    let mut rows = table(&header);
    for case in cases(plan) {
        let Case { partitions, batch_bytes, deep } = case;
        for (way, outcome) in alternate(plan, case) {
            let rate = outcome.commits_per_second;
            let (done, way_is) = (thousands(rate), way_name(way));
            eprintln!("{partitions} partitions, {deep} × {batch_bytes} bytes, {way_is}: {done} commits/s");
            let time = |nanos: f64| micros(nanos as u64);
            rows.add_row([
                partitions.to_string(),
                batch_bytes.to_string(),
                deep.to_string(),
                way_name(way).to_owned(),
                thousands(rate),
                format!("{:.1}", rate * batch_bytes as f64 / 1e6),
                time(outcome.p50),
                time(outcome.p99),
                time(outcome.p999),
                time(outcome.p9999),
                format!("{:.1}", outcome.cpu_micros),
                thousands(outcome.frames_per_second),
            ]);
        }
    }
    println!("{rows}\n");
}

/// What a line of the table is about.
#[derive(Clone, Copy)]
struct Case {
    partitions: usize,
    batch_bytes: usize,
    deep: usize,
}

fn cases(plan: &Plan) -> Vec<Case> {
    let mut cases = Vec::new();
    for &partitions in &plan.partitions {
        for &batch_bytes in &plan.batch_bytes {
            for &deep in &plan.deep {
                cases.push(Case { partitions, batch_bytes, deep });
            }
        }
    }
    cases
}

/// Every way in turn, as often as there are rounds; the medians of each way's rounds. Each run is a process of its own,
/// so that none has the descriptors and the memory of those before it.
fn alternate(plan: &Plan, case: Case) -> Vec<(JournalUse, Outcome)> {
    let mut runs: Vec<(JournalUse, Vec<Outcome>)> = plan.ways.iter().map(|way| (*way, Vec::new())).collect();
    for _ in 0..plan.rounds {
        for (way, runs) in &mut runs {
            runs.push(in_child(plan, case, *way));
        }
    }
    runs.into_iter().map(|(way, mut runs)| (way, Outcome::median(&mut runs))).collect()
}

fn in_child(plan: &Plan, case: Case, way: JournalUse) -> Outcome {
    let program = std::env::current_exe().expect("a program");
    let mut command = std::process::Command::new(program);
    command.args([
        "child".to_owned(),
        format!("partitions={}", case.partitions),
        format!("batch={}", case.batch_bytes),
        format!("deep={}", case.deep),
        format!("ways={}", way_word(way)),
        format!("seconds={}", plan.time.as_secs_f64()),
        format!("zeroed={}", plan.zeroed_bytes),
        format!("dir={}", plan.dir.display()),
    ]);
    let output = command.stderr(std::process::Stdio::inherit()).output().expect("a process");
    assert!(output.status.success(), "a run failed");
    let text = String::from_utf8(output.stdout).expect("figures");
    let mut outcome = Outcome::default();
    for (field, word) in outcome.fields().into_iter().zip(text.split_whitespace()) {
        *field = word.parse().expect("a figure");
    }
    outcome
}

/// One run, whose figures go to standard output.
pub fn run_child(plan: &Plan) {
    let root = directory(plan);
    let load = Load {
        way: plan.ways[0],
        partitions: plan.partitions[0],
        batch_bytes: plan.batch_bytes[0],
        deep: plan.deep[0],
        time: plan.time,
        segment_bytes: 1 << 30,
        path: root.path().to_owned(),
        zeroed_bytes: plan.zeroed_bytes,
    };
    let mut outcome = run_local(closed_loops(load));
    let words: Vec<String> = outcome.fields().iter().map(|field| field.to_string()).collect();
    println!("{}", words.join(" "));
}

/// CPU seconds of this process so far, the kernel's workers included.
pub fn cpu() -> f64 {
    ottla_tests::broker::cpu_time(std::process::id()).as_secs_f64()
}

pub fn histogram() -> Histogram<u64> {
    Histogram::new(3).expect("three digits")
}

/// A shard's disk in an empty directory.
pub async fn disk(load: &Load) -> Rc<ShardDisk> {
    let dirs = LogDirs::open(std::slice::from_ref(&load.path)).await.expect("a log dir");
    dirs.all()[0].scan().await.expect("a scan");
    let settings =
        DiskSettings { journal: load.way, zeroed_bytes_max: load.zeroed_bytes, ..DiskSettings::default() };
    ShardDisk::new(dirs, settings)
}

pub async fn create(disk: &Rc<ShardDisk>, load: &Load) -> Vec<Rc<Partition>> {
    let dir = Arc::clone(&disk.dirs().all()[0]);
    let mut partitions = Vec::with_capacity(load.partitions);
    for partition in 0..load.partitions {
        let name =
            TopicPartition { topic: "orders".into(), partition: i32::try_from(partition).expect("few") };
        let config =
            LogConfig { segment_bytes: load.segment_bytes, retention_ms: None, ..LogConfig::default() };
        let with = OpenWith { topic_id: Uuid([7; 16]), config, replicated: false, whole: false };
        partitions.push(disk.create(&dir, &name, with).await.expect("a partition"));
    }
    partitions
}

async fn closed_loops(load: Load) -> Outcome {
    let disk = disk(&load).await;
    let partitions = create(&disk, &load).await;
    let batch = batch(load.batch_bytes);
    let (stop, counts) = (Rc::new(Cell::new(false)), Rc::new(Cell::new(false)));
    let (nanos, batches) = (Rc::new(RefCell::new(histogram())), Rc::new(Cell::new(0_u64)));
    let warm = Rc::new(Cell::new(0_usize));
    let tasks: Vec<_> = partitions
        .iter()
        .flat_map(|partition| std::iter::repeat_n(partition, load.deep))
        .map(|partition| {
            let (partition, batch) = (Rc::clone(partition), Rc::clone(&batch));
            let (stop, counts) = (Rc::clone(&stop), Rc::clone(&counts));
            let (nanos, batches) = (Rc::clone(&nanos), Rc::clone(&batches));
            let (warm, mut done) = (Rc::clone(&warm), 0);
            host::spawn(async move {
                while !stop.get() {
                    let begun = Instant::now();
                    let new = NewBatch::of_client(batch.1);
                    let appended = partition.append(&batch.0, new).await.expect("an append");
                    partition.wait_acknowledged(appended.end).await.expect("an acknowledgement");
                    done += 1;
                    warm.set(warm.get() + usize::from(done == WARM_COMMITS));
                    if counts.get() {
                        let took = u64::try_from(begun.elapsed().as_nanos()).expect("short");
                        nanos.borrow_mut().record(took).expect("within the bounds");
                        batches.set(batches.get() + 1);
                    }
                }
            })
        })
        .collect();
    // The first commits name the segments, and make what is made once.
    while warm.get() < load.partitions * load.deep {
        host::sleep(Duration::from_millis(20)).await;
    }
    host::sleep(Duration::from_millis(300)).await;
    counts.set(true);
    let frames = || disk.journals()[0].frames_written();
    let (started, cpu_before, frames_before) = (Instant::now(), cpu(), frames());
    host::sleep(load.time).await;
    counts.set(false);
    let (seconds, cpu_used) = (started.elapsed().as_secs_f64(), cpu() - cpu_before);
    let (count, nanos) = (batches.get() as f64, nanos.replace(histogram()));
    let at = |quantile| nanos.value_at_quantile(quantile) as f64;
    let outcome = Outcome {
        commits_per_second: count / seconds,
        p50: at(0.5),
        p99: at(0.99),
        p999: at(0.999),
        p9999: at(0.9999),
        cpu_micros: cpu_used / count.max(1.0) * 1e6,
        frames_per_second: (frames() - frames_before) as f64 / seconds,
    };
    stop.set(true);
    for task in tasks {
        task.await;
    }
    outcome
}
