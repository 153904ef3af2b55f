//! One shard's part of the disk: its budgets, its caches, its queues and the partitions that use them.
//!
//! Made once per shard, on the shard; everything in it is `!Send`. The log dirs themselves are shared by all shards.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use ottla::metrics::{Gauge, ShardMetrics, Snapshot};

use super::cache::ChunkCache;
use super::checkpoint::Checkpoints;
use super::dirs::{LogDir, LogDirs};
use super::fds::FdCache;
use super::flush::FlushQueue;
use super::index_cache::IndexCache;
use super::journal::Journal;
use super::left::Sweeps;
use super::pace::Pace;
use super::partition::Partition;
use super::patient;
use super::prealloc::ZeroBudget;
use super::settings::DiskSettings;
use super::tail::MemoryGauge;
use crate::host;
use crate::host::sync::Semaphore;

/// New segments whose names are made durable at a time; the kernel has fewer workers for that.
const NAMED_TOGETHER: usize = 8;

/// Files of segments that are made ahead at a time: nobody waits for them.
const SPARES_TOGETHER: usize = 2;

/// However many log dirs share the budget of unflushed bytes, each has a few batches' worth.
const UNFLUSHED_OF_DIR_MIN: usize = 8 << 20;

/// What the partitions of one shard share.
pub struct ShardDisk {
    pub(super) settings: DiskSettings,
    pub(super) dirs: LogDirs,
    pub(super) fds: Rc<FdCache>,
    pub(super) gauge: MemoryGauge,
    /// Bytes that are appended and not on disk, by log dir in their order: what a full or slow one holds is not taken
    /// from the others.
    unflushed: Vec<Rc<Semaphore>>,
    /// Bytes of segment writes in flight.
    pub(super) writes: Rc<Semaphore>,
    pub(super) flushes: FlushQueue,
    /// One per log dir, in their order.
    pub(super) journals: Vec<Rc<Journal>>,
    /// Segments that are written from the journals' backlog.
    pub(super) write_backs: Rc<Semaphore>,
    /// Closed segments that are being finished.
    pub(super) finishing: Rc<Semaphore>,
    pub(super) cache: ChunkCache,
    pub(super) indexes: IndexCache,
    pub(super) zeroed: Rc<ZeroBudget>,
    pub(super) checkpoints: Checkpoints,
    pub(super) loads: Rc<Semaphore>,
    pub(super) sweeps: Sweeps,
    /// Whose new segment's name is being made durable.
    pub(super) naming: Rc<Semaphore>,
    /// Files of segments that are being made ahead.
    pub(super) spares: Rc<Semaphore>,
    /// How background work leaves the disk to commits.
    pub(super) pace: Pace,
    /// Where the shard counts.
    pub(super) metrics: Rc<ShardMetrics>,
    /// What the cleaner has seen and done.
    pub(super) cleaner: CleanerFigures,
    partitions: RefCell<BTreeMap<u32, Weak<Partition>>>,
    next_number: Cell<u32>,
}

/// What is told of the cleaner beside its counters.
#[derive(Default)]
pub(super) struct CleanerFigures {
    /// The highest dirty ratio of the last look at all logs.
    pub dirty_ratio: Cell<f64>,
    /// How long the last cleaning took.
    pub last_pass: Cell<Duration>,
}

impl ShardDisk {
    /// The part of the calling shard.
    #[must_use]
    pub fn new(dirs: LogDirs, settings: DiskSettings) -> Rc<ShardDisk> {
        let fds = Rc::new(FdCache::new(settings.open_files_max));
        patient::relieve_by(&fds);
        Rc::new(ShardDisk {
            fds,
            gauge: MemoryGauge::default(),
            unflushed: {
                let each = (settings.unflushed_bytes_max / dirs.for_topics().len()).max(UNFLUSHED_OF_DIR_MIN);
                let each = each.min(settings.unflushed_bytes_max);
                dirs.all().iter().map(|_| Semaphore::new(each)).collect()
            },
            writes: Semaphore::new(settings.write_bytes_in_flight_max),
            flushes: FlushQueue::new(settings.flushes_in_flight_max),
            journals: dirs.all().iter().map(|dir| Journal::new(dir, &settings)).collect(),
            write_backs: Semaphore::new(settings.write_backs_in_flight_max),
            finishing: Semaphore::new(settings.finished_together_max),
            cache: ChunkCache::default(),
            indexes: IndexCache::new(settings.index_cache_bytes_max),
            zeroed: ZeroBudget::new(settings.zeroed_bytes_max),
            checkpoints: Checkpoints::default(),
            loads: Semaphore::new(settings.loads_in_flight_max),
            sweeps: Sweeps::default(),
            naming: Semaphore::new(NAMED_TOGETHER),
            spares: Semaphore::new(SPARES_TOGETHER),
            pace: Pace::default(),
            metrics: host::shard_slot(),
            cleaner: CleanerFigures::default(),
            partitions: RefCell::default(),
            next_number: Cell::new(0),
            settings,
            dirs,
        })
    }

    /// The log dirs.
    #[must_use]
    pub fn dirs(&self) -> &LogDirs {
        &self.dirs
    }

    /// The journals of this shard, in the order of the log dirs.
    #[must_use]
    pub fn journals(&self) -> &[Rc<Journal>] {
        &self.journals
    }

    /// The journal of a log dir.
    pub(super) fn journal_of(&self, dir: &Arc<LogDir>) -> &Rc<Journal> {
        &self.journals[self.place_of(dir)]
    }

    /// The budget of a log dir's bytes that are appended and not on disk.
    pub(super) fn unflushed_of(&self, dir: &Arc<LogDir>) -> &Rc<Semaphore> {
        &self.unflushed[self.place_of(dir)]
    }

    fn place_of(&self, dir: &Arc<LogDir>) -> usize {
        let place = self.dirs.all().iter().position(|known| Arc::ptr_eq(known, dir));
        place.expect("a partition lives in one of the shard's log dirs")
    }

    /// How many partitions are worked on at a time where all of them need work.
    #[must_use]
    pub fn together_max(&self) -> usize {
        self.settings.together_max
    }

    /// How many segment files one answer may hold.
    #[must_use]
    pub fn files_of_answer_max(&self) -> usize {
        self.settings.files_of_answer_max
    }

    /// Bytes that are appended and not on disk, over all partitions.
    #[must_use]
    pub fn unflushed_bytes(&self) -> usize {
        self.unflushed.iter().map(|of_dir| of_dir.taken()).sum()
    }

    /// Segment files that are kept open.
    #[must_use]
    pub fn open_files(&self) -> usize {
        self.fds.len()
    }

    /// Sets the gauges of the disk.
    pub fn tell(&self, snapshot: &mut Snapshot) {
        let limit: usize = self.unflushed.iter().map(|of_dir| of_dir.total()).sum();
        snapshot.set(Gauge::UnflushedBytes, self.unflushed_bytes() as f64);
        snapshot.set(Gauge::UnflushedLimit, limit as f64);
        snapshot.set(Gauge::TailBytes, self.gauge.get() as f64);
        snapshot.set(Gauge::TailLimit, self.settings.cache_bytes_max as f64);
        snapshot.set(Gauge::SegmentFilesOpen, self.fds.len() as f64);
        snapshot.set(Gauge::FlushQueue, self.flushes.len() as f64);
        snapshot.set(Gauge::CleanerDirtyRatio, self.cleaner.dirty_ratio.get());
        snapshot.set(Gauge::CleanerLastPass, self.cleaner.last_pass.get().as_secs_f64());
    }

    /// A number for a partition, unlike that of any other of this shard's life.
    pub(super) fn next_number(&self) -> u32 {
        let number = self.next_number.get();
        self.next_number.set(number.checked_add(1).expect("fewer than 2^32 partitions live in one process"));
        number
    }

    pub(super) fn register(&self, partition: &Rc<Partition>) {
        self.partitions.borrow_mut().insert(partition.number, Rc::downgrade(partition));
    }

    pub(super) fn unregister(&self, partition: &Partition) {
        self.partitions.borrow_mut().remove(&partition.number);
    }

    /// The partitions that are open on this shard, oldest first.
    #[must_use]
    pub fn partitions(&self) -> Vec<Rc<Partition>> {
        self.partitions.borrow().values().filter_map(Weak::upgrade).collect()
    }

    /// Whether no task of this shard's disk runs or waits for a moment to come.
    #[cfg(all(test, not(feature = "sim")))]
    pub(super) fn is_idle_for_test(&self) -> bool {
        self.flushes.is_empty() && !self.cache.is_sweeping() && !self.checkpoints.is_running()
    }

    /// Ends the waits of every partition whose log dir has gone offline; called when
    /// [`LogDir::on_offline`](super::dirs::LogDir::on_offline) has told this shard. Returns those partitions.
    pub fn end_offline(&self) -> Vec<Rc<Partition>> {
        let mut offline = self.partitions();
        offline.retain(|partition| match partition.dir.check() {
            Ok(()) => false,
            Err(error) => {
                partition.end_waits(&error);
                true
            }
        });
        offline
    }
}

impl std::fmt::Debug for ShardDisk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let partitions = self.partitions.borrow().len();
        write!(f, "ShardDisk({partitions} partitions, {} bytes of chunks)", self.gauge.get())
    }
}
