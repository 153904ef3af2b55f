//! Closed loops over many partitions, each way in turn.

use std::cell::{Cell, RefCell};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use ottla::ids::{TimestampMs, TopicPartition, Uuid};
use ottla::log::{LogConfig, NewBatch};
use ottla::protocol::records::{BatchBuilder, BatchHeader, NewRecord};
use ottla_shards::disk::{DiskSettings, JournalUse, LogDirs, OpenWith, Partition, ShardDisk};
use ottla_shards::host::{self, run_local};

use crate::{Plan, directory, micros, table, thousands, way_name};

/// Commits of each partition before anything counts.
const WARM_COMMITS: usize = 5;

/// What a load came to.
pub struct Outcome {
    pub batches: u64,
    pub seconds: f64,
    pub cpu: f64,
    pub nanos: Histogram<u64>,
    pub frames: u64,
}

/// What to do to a disk.
#[derive(Clone)]
pub struct Load {
    pub way: JournalUse,
    pub partitions: usize,
    pub batch_bytes: usize,
    pub time: Duration,
    pub segment_bytes: u64,
    pub path: PathBuf,
    pub zeroed_bytes: u64,
}

pub fn measure(plan: &Plan) {
    let header = [
        "partitions",
        "batch",
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
    for &partitions in &plan.partitions {
        for &batch_bytes in &plan.batch_bytes {
            for (way, outcome) in alternate(plan, partitions, batch_bytes) {
                let rate = outcome.batches as f64 / outcome.seconds;
                let at = |quantile| micros(outcome.nanos.value_at_quantile(quantile));
                rows.add_row([
                    partitions.to_string(),
                    batch_bytes.to_string(),
                    way_name(way).to_owned(),
                    thousands(rate),
                    format!("{:.1}", rate * batch_bytes as f64 / 1e6),
                    at(0.5),
                    at(0.99),
                    at(0.999),
                    at(0.9999),
                    format!("{:.1}", outcome.cpu / outcome.batches as f64 * 1e6),
                    thousands(outcome.frames as f64 / outcome.seconds),
                ]);
            }
            eprintln!("{partitions} partitions, {batch_bytes} bytes");
        }
    }
    println!("{rows}\n");
}

/// Every way in turn, as often as there are rounds; each way's rounds together.
fn alternate(plan: &Plan, partitions: usize, batch_bytes: usize) -> Vec<(JournalUse, Outcome)> {
    let mut sums: Vec<(JournalUse, Option<Outcome>)> = plan.ways.iter().map(|way| (*way, None)).collect();
    for _ in 0..plan.rounds {
        for (way, sum) in &mut sums {
            let root = directory(plan);
            let load = Load {
                way: *way,
                partitions,
                batch_bytes,
                time: plan.time,
                segment_bytes: 1 << 30,
                path: root.path().to_owned(),
                zeroed_bytes: plan.zeroed_bytes,
            };
            let outcome = run_local(closed_loops(load));
            *sum = Some(match sum.take() {
                None => outcome,
                Some(sum) => sum.plus(outcome),
            });
        }
    }
    sums.into_iter().map(|(way, sum)| (way, sum.expect("at least one round"))).collect()
}

impl Outcome {
    fn plus(mut self, other: Outcome) -> Outcome {
        self.batches += other.batches;
        self.seconds += other.seconds;
        self.cpu += other.cpu;
        self.frames += other.frames;
        self.nanos.add(other.nanos).expect("the same bounds");
        self
    }
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
        let with = OpenWith { topic_id: Uuid([7; 16]), config, replicated: false };
        partitions.push(disk.create(&dir, &name, with).await.expect("a partition"));
    }
    partitions
}

/// One batch of one record.
pub fn batch(bytes: usize) -> Rc<(Vec<u8>, BatchHeader)> {
    let value: Vec<u8> = (0..bytes).map(|at| (at * 31 % 251) as u8).collect();
    let mut builder = BatchBuilder::new();
    builder.append(&NewRecord { timestamp: TimestampMs(1_000), value: Some(&value), ..NewRecord::default() });
    let bytes = builder.build();
    let header = BatchHeader::parse(&bytes).expect("a batch");
    Rc::new((bytes, header))
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
    while warm.get() < load.partitions {
        host::sleep(Duration::from_millis(20)).await;
    }
    host::sleep(Duration::from_millis(300)).await;
    counts.set(true);
    let frames = || disk.journals()[0].frames_written();
    let (started, cpu_before, frames_before) = (Instant::now(), cpu(), frames());
    host::sleep(load.time).await;
    counts.set(false);
    let outcome = Outcome {
        batches: batches.get(),
        seconds: started.elapsed().as_secs_f64(),
        cpu: cpu() - cpu_before,
        nanos: nanos.replace(histogram()),
        frames: frames() - frames_before,
    };
    stop.set(true);
    for task in tasks {
        task.await;
    }
    outcome
}
