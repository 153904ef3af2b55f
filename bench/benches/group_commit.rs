//! What a durable commit costs beside what the disk itself takes for such a write: on a real disk, below the target
//! directory, through a shard's own disk path. No network.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use ottla::ids::{TopicPartition, Uuid};
use ottla::log::{LogConfig, NewBatch};
use ottla::protocol::records::BatchHeader;
use ottla_shards::disk::{DiskSettings, LogDirs, OpenWith, Partition, ShardDisk};
use ottla_shards::host::{self, AlignedBuf, Durability, File, OpenHow, WriteSlice};

use crate::batch::batch;
use crate::suite::Suite;
use crate::worker::Worker;

/// Bytes of the file that the disk's own writes go to.
const FILE_BYTES: u64 = 64 << 20;

/// Writes in place, each durable before the next.
fn bare_disk(dir: &Path, bytes: usize) -> Worker {
    let path = dir.join("in-place");
    Worker::start(1, move |_, orders| {
        let path = path.clone();
        async move {
            let how = OpenHow { read: true, write: true, create: true, direct: true, ..OpenHow::default() };
            let file = File::open(&path, how).await.expect("a file");
            let zeros = AlignedBuf::zeroed(1 << 20).freeze();
            for at in (0..FILE_BYTES).step_by(1 << 20) {
                let slices: Vec<WriteSlice> = vec![zeros.clone().into()];
                file.write_at(slices, at, Durability::None).await.expect("a write");
            }
            file.sync_all().await.expect("a sync");
            let content = zeros.slice(..bytes);
            let at = Cell::new(0);
            let job = async |times| {
                let begun = Instant::now();
                for _ in 0..times {
                    let slices: Vec<WriteSlice> = vec![content.clone().into()];
                    file.write_at(slices, at.get(), Durability::DataSync).await.expect("a write");
                    at.set((at.get() + bytes as u64) % FILE_BYTES);
                }
                begun.elapsed()
            };
            orders.expect("there is one shard").obey(job).await;
        }
    })
}

/// A shard's disk with so many partitions, each with one batch in flight.
fn partitions(dir: &Path, count: usize, batch_bytes: usize) -> Worker {
    let path = dir.join("log");
    std::fs::create_dir_all(&path).expect("a directory");
    Worker::start(1, move |_, orders| {
        let path = path.clone();
        async move {
            let disk = open(path).await;
            let partitions = create(&disk, count).await;
            let batch = batch(batch_bytes);
            let job = async |times: u64| {
                let each = times.div_ceil(count as u64);
                let begun = Instant::now();
                let tasks = partitions
                    .iter()
                    .map(|partition| host::spawn(commit(Rc::clone(partition), Rc::clone(&batch), each)));
                for task in tasks.collect::<Vec<_>>() {
                    task.await;
                }
                // What was done beyond the order is not charged.
                begun.elapsed().mul_f64(times as f64 / (each * count as u64) as f64)
            };
            orders.expect("there is one shard").obey(job).await;
        }
    })
}

async fn open(path: PathBuf) -> Rc<ShardDisk> {
    let dirs = LogDirs::open(std::slice::from_ref(&path)).await.expect("a log dir");
    dirs.all()[0].scan().await.expect("a scan");
    ShardDisk::new(dirs, DiskSettings::default())
}

async fn create(disk: &Rc<ShardDisk>, count: usize) -> Vec<Rc<Partition>> {
    let dir = Arc::clone(&disk.dirs().all()[0]);
    let mut partitions = Vec::with_capacity(count);
    for partition in 0..count {
        let partition = i32::try_from(partition).expect("few");
        let name = TopicPartition { topic: "orders".into(), partition };
        let config = LogConfig { retention_ms: None, ..LogConfig::default() };
        let with = OpenWith { topic_id: Uuid([7; 16]), config, replicated: false, whole: false };
        partitions.push(disk.create(&dir, &name, with).await.expect("a partition"));
    }
    partitions
}

async fn commit(partition: Rc<Partition>, batch: Rc<(Vec<u8>, BatchHeader)>, times: u64) {
    for _ in 0..times {
        let appended = partition.append(&batch.0, NewBatch::of_client(batch.1)).await.expect("an append");
        partition.wait_acknowledged(appended.end).await.expect("an acknowledgement");
    }
}

fn in_directory(measure: impl FnOnce(&Path)) {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    measure(dir.path());
}

pub fn measure(suite: &mut Suite) {
    for (questions, disk_bytes, batch_bytes) in [
        (["disk, 4 KiB durable in place", "commit of 100 B, one partition"], 4 << 10, 100),
        (["disk, 64 KiB durable in place", "commit of 64 KiB, one partition"], 64 << 10, 64 << 10),
    ] {
        in_directory(|dir| {
            let mut disk = bare_disk(dir, disk_bytes);
            let mut shard = partitions(dir, 1, batch_bytes);
            suite.time_beside(questions, |times| disk.run(times), |times| shard.run(times));
        });
    }
    in_directory(|dir| {
        let mut shard = partitions(dir, 100, 100);
        suite.time_many("commit of 100 B in 100 partitions, each", |times| shard.run(times));
    });
}
