//! What the tests share: a broker's disk in a temporary directory, batches with known content, and reading all back.

use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use ottla::ids::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, TimestampMs, TopicPartition, Uuid};
use ottla::log::{LogConfig, NewBatch, ReadRequest, TransactionCheck};
use ottla::protocol::records::{BatchBuilder, BatchHeader, EndTransactionMarker, NewRecord};

use crate::disk::{
    AppendFailure, AppendedBatch, DiskSettings, Found, LogDir, LogDirs, OpenWith, Partition, Read, ShardDisk,
    Slice,
};

/// A directory of the disk that holds the temporary directory, or of a tmpfs.
pub fn directory(tmpfs: bool) -> tempfile::TempDir {
    if tmpfs { tempfile::tempdir_in("/dev/shm") } else { tempfile::tempdir() }.expect("a temporary directory")
}

/// A log dir with one shard's disk on it.
pub struct Broker {
    pub disk: Rc<ShardDisk>,
    pub dir: Arc<LogDir>,
    pub found: Vec<Found>,
}

impl Broker {
    pub async fn start(path: &Path) -> Broker {
        Broker::start_with(path, DiskSettings::default()).await
    }

    pub async fn start_with(path: &Path, settings: DiskSettings) -> Broker {
        let dirs = LogDirs::open(&[path.to_owned()]).await.expect("a log dir");
        let dir = Arc::clone(&dirs.all()[0]);
        let found = dir.scan().await.expect("a scan");
        Broker { disk: ShardDisk::new(dirs, settings), dir, found }
    }

    pub async fn create(&self, name: &TopicPartition, config: LogConfig) -> Rc<Partition> {
        self.disk.create(&self.dir, name, with(config)).await.expect("a new partition")
    }

    /// Loads a partition that the start has found.
    pub async fn load(&self, name: &TopicPartition, config: LogConfig) -> Rc<Partition> {
        let found =
            self.found.iter().find(|found| found.partition == *name).expect("the partition was found");
        assert_eq!(self.dir.topic_id(found).await.expect("a topic id"), Some(TOPIC_ID));
        let loaded = self.disk.load(&self.dir, found.clone(), with(config)).await.expect("a load");
        assert_eq!(loaded.damage, [], "nothing is damaged");
        loaded.partition
    }

    /// Closes the one partition that is open, and marks the end as clean.
    pub async fn end_cleanly(&self, partition: Rc<Partition>) {
        partition.close().await.expect("a close");
        self.dir.finish_clean().await.expect("a clean shutdown");
        abandon(partition).await;
    }
}

pub const TOPIC_ID: Uuid = Uuid(*b"the-topic-its-id");

pub fn with(config: LogConfig) -> OpenWith {
    OpenWith { topic_id: TOPIC_ID, config, replicated: false, whole: false }
}

pub fn name(partition: i32) -> TopicPartition {
    TopicPartition { topic: "topic".into(), partition }
}

pub fn small_segments(segment_bytes: u64) -> LogConfig {
    LogConfig { segment_bytes, index_interval_bytes: 200, retention_ms: None, ..LogConfig::default() }
}

/// A batch of one record whose value is `bytes` bytes that depend on `seed`.
pub fn batch(seed: u64, bytes: usize) -> Vec<u8> {
    batch_at(seed, bytes, 1_000 + i64::try_from(seed).expect("small"))
}

pub fn batch_at(seed: u64, bytes: usize, timestamp: i64) -> Vec<u8> {
    let value: Vec<u8> = (0..bytes).map(|at| (seed as usize * 31 + at) as u8).collect();
    let mut builder = BatchBuilder::new();
    builder.append(&NewRecord {
        timestamp: TimestampMs(timestamp),
        value: Some(&value),
        ..NewRecord::default()
    });
    builder.build()
}

pub fn sequenced(producer: i64, sequence: i32, bytes: usize) -> Vec<u8> {
    let value = vec![sequence as u8; bytes];
    let mut builder = BatchBuilder::new().producer(ProducerId(producer), ProducerEpoch(0), sequence);
    builder.append(&NewRecord { timestamp: TimestampMs(1_000), value: Some(&value), ..NewRecord::default() });
    builder.build()
}

pub fn new_batch(bytes: &[u8]) -> NewBatch {
    NewBatch::of_client(BatchHeader::parse(bytes).expect("a batch"))
}

pub async fn append(partition: &Rc<Partition>, bytes: &[u8]) -> Result<AppendedBatch, AppendFailure> {
    partition.append(bytes, new_batch(bytes)).await
}

/// Appends and waits for the acknowledgement.
pub async fn produce(partition: &Rc<Partition>, bytes: &[u8]) -> AppendedBatch {
    let appended = append(partition, bytes).await.expect("an append");
    partition.wait_acknowledged(appended.end).await.expect("an acknowledgement");
    appended
}

/// Appends a transaction of one record and its marker; returns the two offsets.
pub async fn transaction_of(
    partition: &Rc<Partition>,
    producer: i64,
    sequence: i32,
    committed: bool,
) -> (i64, i64) {
    let first = in_transaction(partition, producer, sequence).await;
    (first, end_transaction(partition, producer, committed).await)
}

/// Appends a record of a producer's transaction, the first or a later one; returns its offset.
pub async fn in_transaction(partition: &Rc<Partition>, producer: i64, sequence: i32) -> i64 {
    let builder = BatchBuilder::new().transactional();
    let mut records = builder.producer(ProducerId(producer), ProducerEpoch(0), sequence);
    records.append(&NewRecord {
        timestamp: TimestampMs(5),
        value: Some(b"in doubt"),
        ..NewRecord::default()
    });
    let bytes = records.build();
    let transaction = TransactionCheck { verified: true, ..TransactionCheck::default() };
    let new = NewBatch { transaction, ..new_batch(&bytes) };
    partition.append(&bytes, new).await.expect("an append").base_offset.0
}

/// Appends the marker that ends a producer's transaction, and waits for it; returns its offset.
pub async fn end_transaction(partition: &Rc<Partition>, producer: i64, committed: bool) -> i64 {
    let marker = EndTransactionMarker { committed, coordinator_epoch: 0 };
    let builder = BatchBuilder::new().transactional();
    let mut control = builder.producer(ProducerId(producer), ProducerEpoch(0), -1).control();
    control.append_marker(TimestampMs(6), &marker);
    let bytes = control.build();
    let header = BatchHeader::parse(&bytes).expect("a batch");
    let new = NewBatch { marker: Some(marker), ..NewBatch::of_coordinator(header) };
    let last = partition.append(&bytes, new).await.expect("an append");
    partition.wait_acknowledged(last.end).await.expect("an acknowledgement");
    last.base_offset.0
}

/// Lets go of a partition without closing it, once no task uses it any more.
pub async fn abandon(partition: Rc<Partition>) {
    for _ in 0..5_000 {
        if Rc::strong_count(&partition) == 1 {
            return;
        }
        crate::host::sleep(std::time::Duration::from_millis(1)).await;
    }
    panic!("every task of a partition ends");
}

/// The batch as the log stores it.
pub fn stored(bytes: &[u8], offset: i64, epoch: i32) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    ottla::protocol::records::edit::set_base_offset(&mut bytes, Offset(offset));
    ottla::protocol::records::edit::set_leader_epoch(&mut bytes, LeaderEpoch(epoch));
    bytes
}

/// The bytes of a reply, as a client gets them.
pub fn bytes_of(read: &Read) -> Vec<u8> {
    let mut all = Vec::new();
    for slice in &read.slices {
        match slice {
            Slice::Memory(bytes) => all.extend_from_slice(bytes),
            Slice::File { fd, position, bytes, .. } => {
                let mut piece = vec![0; usize::try_from(*bytes).expect("small")];
                let at = i64::try_from(position.0).expect("small");
                // SAFETY: the pointer and length are those of the vector.
                let read = unsafe { libc::pread(fd.as_raw_fd(), piece.as_mut_ptr().cast(), piece.len(), at) };
                assert_eq!(read, piece.len() as isize, "a file range is wholly in its file");
                all.extend_from_slice(&piece);
            }
        }
    }
    assert_eq!(all.len() as u64, read.bytes);
    all
}

pub fn request(from: i64, up_to: Offset, max_bytes: u64) -> ReadRequest {
    ReadRequest { from: Offset(from), up_to, max_bytes, at_least_one: true }
}

/// Every stored batch from an offset up to the high watermark, read in steps of about `max_bytes`; none is missing.
pub async fn consume(partition: &Rc<Partition>, from: i64, max_bytes: u64) -> Vec<Vec<u8>> {
    let batches = consume_what_is_there(partition, from, max_bytes).await;
    let mut next = from;
    for batch in &batches {
        let header = BatchHeader::parse(batch).expect("a batch");
        assert_eq!(header.base_offset.0, next, "no batch is passed over");
        next = header.next_offset().0;
    }
    batches
}

/// The same of a log that may have holes.
pub async fn consume_what_is_there(partition: &Rc<Partition>, from: i64, max_bytes: u64) -> Vec<Vec<u8>> {
    let up_to = partition.offsets().high_watermark;
    let (mut batches, mut next) = (Vec::new(), from);
    while next < up_to.0 {
        let read = partition.read(request(next, up_to, max_bytes)).await.expect("a read");
        let bytes = bytes_of(&read);
        let before = next;
        let mut rest = bytes.as_slice();
        // A partial batch at the end is not looked at, as clients do it.
        while let Ok(header) = BatchHeader::parse(rest)
            && header.batch_bytes <= rest.len()
        {
            assert!(header.last_offset() < up_to);
            if header.last_offset().0 >= next {
                batches.push(rest[..header.batch_bytes].to_vec());
                next = header.next_offset().0;
            }
            rest = &rest[header.batch_bytes..];
        }
        assert!(next > before, "there is a whole batch to read at {next} before {up_to}");
    }
    batches
}

/// Copies the log dir of a shard that runs on this thread, as if its process was killed just now: this thread begins
/// nothing more, and what is in flight ends before the copy is made. A copy beside writes would have older bytes in
/// front of newer ones.
pub fn copy_as_killed(from: &Path, to: &Path) {
    std::thread::sleep(Duration::from_millis(30));
    copy_dir(from, to);
}

/// A copy of a directory, as a crash of the machine may leave it.
pub fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a directory");
    let entries = std::fs::read_dir(from).expect("a directory");
    let mut entries: Vec<_> = entries.map(|entry| entry.expect("an entry")).collect();
    // Under load a copy takes a while: what the journals lose meanwhile is in the segments by then.
    entries.sort_by_key(|entry| (entry.file_type().is_ok_and(|kind| kind.is_dir()), entry.file_name()));
    for entry in entries {
        let target = to.join(entry.file_name());
        if entry.file_type().expect("a type").is_dir() {
            copy_dir(&entry.path(), &target);
        } else {
            match std::fs::copy(entry.path(), &target) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => panic!("{error}"),
                Ok(_) | Err(_) => {}
            }
        }
    }
}

pub fn files(dir: &Path, suffix: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).expect("a directory");
    let mut files: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.retain(|path| path.to_string_lossy().ends_with(suffix));
    files.sort();
    files
}

/// A small generator: the tests need variety, not quality.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}
