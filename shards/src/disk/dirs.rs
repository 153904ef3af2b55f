//! Log directories: opened and locked once per process, shared by every shard that has a partition in them.
//!
//! On disk, beside the partitions' directories: `.lock` (held by a lock of the system while a broker runs), Kafka's
//! offset checkpoints ([`offsets_file`](super::offsets_file)), and after a clean shutdown `.kafka_cleanshutdown` with
//! our [`clean`](super::clean) archive.
//!
//! Invariants:
//! - One process uses a directory at a time.
//! - A failed write or sync takes the directory offline for the life of the process: [`LogDir::fail`] is never undone,
//!   and whoever is about to acknowledge something asks [`LogDir::check`] first.
//! - The clean marker is gone, durably, before any partition of the directory is loaded, let alone appended to.
//! - A checkpoint file on disk is at least as new as the last [`LogDir::write_offsets`] that returned.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use ottla::canary::{self, Canary};
use ottla::ids::{Offset, TopicId, TopicPartition, Uuid};
use ottla::limits::BLOCK_BYTES;
use ottla::log::files::{DirStage, PARTITION_METADATA, PartitionDir, decode_partition_metadata};
use thiserror::Error;

use super::clean::{self, CLEAN_FILE, CleanLog, CleanPartition, MARKER_FILE};
use super::compact::CleanerShare;
use super::error::{Context as _, DiskError, IoFailure};
use super::offsets_file::{self, Offsets};
use super::patient;
use crate::host::{self, AlignedBuf, DiskSpace, Durability, File, OpenHow, Queue, SharedFd, WriteSlice};

/// The lock's file name (`LogManager.scala`).
const LOCK_FILE: &str = ".lock";

/// Where the probe for direct I/O writes, for a moment.
const PROBE_FILE: &str = ".ottla-probe";

/// The most bytes of a checkpoint file or clean archive that are read.
const FILE_BYTES_MAX: usize = 1 << 30;

/// Why a log dir cannot be used at start; each is one line for the operator.
#[derive(Debug, Error)]
pub enum OpenError {
    /// Another process holds the lock.
    #[error(
        "log directory {0} is in use by another broker (its .lock file is locked): stop that one, or set log.dirs"
    )]
    InUse(PathBuf),
    /// The same directory is configured twice.
    #[error("log.dirs names {0} twice")]
    Twice(PathBuf),
    /// The system refuses.
    #[error("log directory is unusable: {0}; a directory is needed that this process may create and write")]
    Io(#[from] IoFailure),
}

/// Which of Kafka's offset checkpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum OffsetsKind {
    /// Up to here a partition is known to be on disk with its indexes; recovery begins here.
    RecoveryPoint,
    /// The first offset that is still served.
    LogStart,
    /// The high watermark.
    HighWatermark,
    /// The first offset that compaction has not seen yet.
    FirstDirty,
}

impl OffsetsKind {
    /// Every kind.
    pub const ALL: [OffsetsKind; 4] = [
        OffsetsKind::RecoveryPoint,
        OffsetsKind::LogStart,
        OffsetsKind::HighWatermark,
        OffsetsKind::FirstDirty,
    ];

    /// Kafka's file name.
    #[must_use]
    pub const fn file_name(self) -> &'static str {
        match self {
            OffsetsKind::RecoveryPoint => "recovery-point-offset-checkpoint",
            OffsetsKind::LogStart => "log-start-offset-checkpoint",
            OffsetsKind::HighWatermark => "replication-offset-checkpoint",
            OffsetsKind::FirstDirty => "cleaner-offset-checkpoint",
        }
    }
}

/// The content of one checkpoint file and how far it is on disk.
#[derive(Default)]
struct Checkpoint {
    offsets: Offsets,
    /// Counts changes of `offsets`.
    version: u64,
    /// The version that is on disk.
    written: u64,
    /// Some shard is writing.
    writing: bool,
}

/// Whose turn it is to write what several shards want written.
enum Turn<T> {
    /// It is written.
    Done,
    /// Another shard is writing.
    Wait,
    /// The caller's, with what to write.
    Mine(T),
}

/// How often a shard looks whether another one has finished writing.
const TURN_WAIT: Duration = Duration::from_millis(1);

/// How long a directory may stay locked by a process that was killed, whose last writes are ending.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);

/// How often the lock is tried meanwhile.
const LOCK_RETRY: Duration = Duration::from_millis(5);

type Listener = Box<dyn Fn() + Send + Sync>;

/// One log dir of this process.
pub struct LogDir {
    path: PathBuf,
    /// The id in its `meta.properties`, once that is known.
    id: OnceLock<Uuid>,
    direct: bool,
    lock: SharedFd,
    offline: AtomicBool,
    /// The last write here met a full disk.
    full: AtomicBool,
    reason: OnceLock<String>,
    listeners: Mutex<Vec<Listener>>,
    checkpoints: [Mutex<Checkpoint>; OffsetsKind::ALL.len()],
    names: Mutex<Names>,
    /// Partitions that are open on any shard.
    open: AtomicUsize,
    closed: Mutex<Vec<CleanPartition>>,
    /// Journals that were made in this life.
    journals: Mutex<Vec<PathBuf>>,
    /// Partitions were closed with files that are not synced yet.
    sync_at_finish: AtomicBool,
}

/// How far the names in the directory are durable; changes are counted.
#[derive(Default)]
struct Names {
    changes: u64,
    synced: u64,
    syncing: bool,
}

/// A partition that a directory holds, with what its checkpoints say about it.
#[derive(Clone, Debug)]
pub struct Found {
    /// The partition, by the name of its directory.
    pub partition: TopicPartition,
    /// How it was left, where the clean shutdown left a note.
    pub clean: Option<CleanPartition>,
    /// Whether the last shutdown was a clean one: the files are whole.
    pub was_clean: bool,
    /// Where recovery begins; zero when nothing is known.
    pub recovery_point: Offset,
    /// The checkpointed log start offset; zero when there is none.
    pub log_start: Offset,
    /// The checkpointed high watermark, if there is one.
    pub high_watermark: Option<Offset>,
}

/// A lock that a panicking thread may have held: the data is plain values, always whole.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl LogDir {
    /// Creates the directory if need be, locks it, and finds out whether its file system does direct I/O.
    ///
    /// # Errors
    /// [`OpenError`], to be printed as it is.
    pub async fn open(path: &Path) -> Result<LogDir, OpenError> {
        create_with_parents(path).await?;
        let lock_path = path.join(LOCK_FILE);
        let how = OpenHow { read: true, write: true, create: true, ..OpenHow::default() };
        let lock = patient::open(&lock_path, how).await?;
        let deadline = host::now().after(LOCK_PATIENCE);
        while !lock.try_lock().at("lock", &lock_path)? {
            if host::now() >= deadline {
                return Err(OpenError::InUse(path.to_owned()));
            }
            host::sleep(LOCK_RETRY).await;
        }
        let indirect = host::indirect_file_system(path).await.at("examine", path)?;
        let direct = match probe(path).await {
            Ok(()) if indirect == Some("tmpfs") => false,
            Ok(()) => true,
            Err(error) if is_unsupported(&error) => false,
            // It has taken the file and has no room for the block: a full disk does not stop a start.
            Err(error) if IoFailure::new("write to", path, &error).is_full() => indirect.is_none(),
            Err(error) => return Err(IoFailure::new("write to", path, &error).into()),
        };
        Ok(LogDir::assemble(path, direct, lock.shared_fd()))
    }

    fn assemble(path: &Path, direct: bool, lock: SharedFd) -> LogDir {
        LogDir {
            path: path.to_owned(),
            id: OnceLock::new(),
            direct,
            lock,
            offline: AtomicBool::new(false),
            full: AtomicBool::new(false),
            reason: OnceLock::new(),
            listeners: Mutex::default(),
            checkpoints: Default::default(),
            names: Mutex::default(),
            open: AtomicUsize::new(0),
            closed: Mutex::default(),
            journals: Mutex::default(),
            sync_at_finish: AtomicBool::new(false),
        }
    }

    /// The directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The id by which the metadata knows the directory; `None` before the start has read it.
    #[must_use]
    pub fn id(&self) -> Option<Uuid> {
        self.id.get().copied()
    }

    /// Says the id; once.
    pub fn set_id(&self, id: Uuid) {
        assert!(self.id.set(id).is_ok(), "a directory has one id");
    }

    /// Whether segments are written past the page cache here.
    #[must_use]
    pub fn is_direct(&self) -> bool {
        self.direct
    }

    /// Free and total bytes of the file system.
    ///
    /// # Errors
    /// What the system says.
    pub async fn space(&self) -> Result<DiskSpace, IoFailure> {
        host::disk_space(&self.path).await.at("examine", &self.path)
    }

    /// How a segment's blocks are opened here.
    #[must_use]
    pub fn open_blocks(&self) -> OpenHow {
        OpenHow { read: true, write: true, direct: self.direct, ..OpenHow::default() }
    }

    /// Takes the directory offline for good. The first reason is the one that is told.
    pub fn fail(&self, failure: &IoFailure) {
        if self.reason.set(failure.to_string()).is_err() {
            return;
        }
        self.offline.store(true, Ordering::Release);
        tracing::error!("log directory {} goes offline: {failure}", self.path.display());
        for listener in locked(&self.listeners).iter() {
            listener();
        }
    }

    /// Calls `listener` when the directory goes offline, on the thread that finds out; at once if it has.
    pub fn on_offline(&self, listener: impl Fn() + Send + Sync + 'static) {
        let mut listeners = locked(&self.listeners);
        if self.is_offline() {
            drop(listeners);
            listener();
        } else {
            listeners.push(Box::new(listener));
        }
    }

    /// Whether a write or sync has failed here.
    #[must_use]
    pub fn is_offline(&self) -> bool {
        self.offline.load(Ordering::Acquire)
    }

    /// Whether the last write of a segment here met a full disk.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.full.load(Ordering::Relaxed)
    }

    /// Notes how the last write of a segment ended.
    pub(super) fn set_full(&self, full: bool) {
        if self.is_full() != full {
            self.full.store(full, Ordering::Relaxed);
        }
    }

    /// Asked before every acknowledgement.
    ///
    /// # Errors
    /// [`DiskError::Offline`] with the first failure.
    pub fn check(&self) -> Result<(), DiskError> {
        if !self.is_offline() {
            return Ok(());
        }
        let reason = self.reason.get().cloned().unwrap_or_default();
        Err(DiskError::Offline { dir: self.path.clone(), reason })
    }

    fn checkpoint(&self, kind: OffsetsKind) -> MutexGuard<'_, Checkpoint> {
        locked(&self.checkpoints[kind as usize])
    }

    /// The offset of a partition that the next [`write_offsets`](LogDir::write_offsets) writes.
    #[must_use]
    pub fn offset(&self, kind: OffsetsKind, partition: &TopicPartition) -> Option<Offset> {
        self.checkpoint(kind).offsets.get(partition).copied()
    }

    /// Sets it.
    pub fn set_offset(&self, kind: OffsetsKind, partition: &TopicPartition, offset: Offset) {
        let mut checkpoint = self.checkpoint(kind);
        if let Some(known) = checkpoint.offsets.get_mut(partition) {
            if *known == offset {
                return;
            }
            *known = offset;
        } else {
            checkpoint.offsets.insert(partition.clone(), offset);
        }
        checkpoint.version += 1;
    }

    /// Takes a deleted partition out of every checkpoint.
    pub fn forget(&self, partition: &TopicPartition) {
        for kind in OffsetsKind::ALL {
            let mut checkpoint = self.checkpoint(kind);
            if checkpoint.offsets.remove(partition).is_some() {
                checkpoint.version += 1;
            }
        }
    }

    /// Writes a checkpoint file if anything was set since it was last written; every offset that was set before the
    /// call is on disk when it returns. Shards that call at the same time share one write.
    ///
    /// # Errors
    /// When the directory is offline or goes offline by this.
    pub async fn write_offsets(&self, kind: OffsetsKind) -> Result<(), DiskError> {
        let wanted = self.checkpoint(kind).version;
        loop {
            self.check()?;
            let (bytes, version) = match self.begin_write(kind, wanted) {
                Turn::Done => return Ok(()),
                Turn::Wait => {
                    host::sleep(TURN_WAIT).await;
                    continue;
                }
                Turn::Mine(content) => content,
            };
            let path = self.path.join(kind.file_name());
            let turn = WriterTurn { dir: self, kind };
            let result = patient::write_whole_durably(&path, &bytes).await;
            drop(turn);
            match result {
                Ok(()) => {
                    let mut checkpoint = self.checkpoint(kind);
                    checkpoint.written = checkpoint.written.max(version);
                }
                Err(failure) => {
                    if !failure.may_be_retried() {
                        self.fail(&failure);
                    }
                    return Err(failure.into());
                }
            }
        }
    }

    fn begin_write(&self, kind: OffsetsKind, wanted: u64) -> Turn<(Vec<u8>, u64)> {
        let mut checkpoint = self.checkpoint(kind);
        if checkpoint.written >= wanted {
            return Turn::Done;
        }
        if std::mem::replace(&mut checkpoint.writing, true) {
            return Turn::Wait;
        }
        Turn::Mine((offsets_file::encode(&checkpoint.offsets), checkpoint.version))
    }

    /// Reads what the directory holds, at start: its partitions, and what the checkpoints and the clean archive say
    /// of them. Afterwards the marker is gone, and what was in journals is in the segments. Directories that were
    /// waiting for removal are removed meanwhile.
    ///
    /// # Errors
    /// When the directory or a checkpoint in it cannot be read, or the marker cannot be removed. A checkpoint that is
    /// not there, or holds something else, is named in the log and done without.
    pub async fn scan(&self) -> Result<Vec<Found>, DiskError> {
        let (was_clean, mut clean) = self.take_clean().await?;
        if !was_clean && !canary::is(Canary::NamesUnsynced) {
            // The process before may have been killed between making a name and syncing it: what is found here is
            // relied on from now on, and must not go with the next loss of power.
            patient::sync_dir(&self.path).await?;
        }
        let entries = patient::read_dir(&self.path).await?;
        self.play_journals(&entries, was_clean).await?;
        let mut live = Vec::new();
        for entry in entries.iter().filter(|entry| entry.is_dir) {
            let name = entry.name.to_string_lossy();
            match PartitionDir::parse(&name) {
                Some(PartitionDir { topic, partition, stage: DirStage::Live }) => {
                    live.push(TopicPartition { topic: topic.into(), partition });
                }
                Some(PartitionDir { stage: DirStage::Delete, .. }) => {
                    self.remove_in_background(self.path.join(&entry.name));
                }
                Some(_) | None => {
                    tracing::warn!("{}: {name} is no partition of ours; left alone", self.path.display());
                }
            }
        }
        live.sort();
        for kind in OffsetsKind::ALL {
            let mut offsets = self.read_offsets(kind).await?;
            offsets.retain(|partition, _| live.binary_search(partition).is_ok());
            self.checkpoint(kind).offsets = offsets;
        }
        let found = live.into_iter().map(|partition| Found {
            clean: clean.remove(&partition),
            was_clean,
            recovery_point: self.offset(OffsetsKind::RecoveryPoint, &partition).unwrap_or(Offset::ZERO),
            log_start: self.offset(OffsetsKind::LogStart, &partition).unwrap_or(Offset::ZERO),
            high_watermark: self.offset(OffsetsKind::HighWatermark, &partition),
            partition,
        });
        Ok(found.collect())
    }

    /// Removes a partition that no topic has any more: it has another name when this returns, so that a topic of
    /// its name may be made, and its bytes go in the background. What a crash leaves of it is found again by the
    /// next scan.
    ///
    /// # Errors
    /// When it cannot be renamed.
    pub async fn remove_stray(&self, partition: &TopicPartition) -> Result<(), DiskError> {
        tracing::info!("{}: {partition} belongs to no topic any more and is removed", self.path.display());
        self.forget(partition);
        let unique = u128::from(host::random_u64()) << 64 | u128::from(host::random_u64());
        let name = PartitionDir::staged_name(&partition.topic, partition.partition, DirStage::Delete, unique);
        let (from, to) = (self.path.join(partition.to_string()), self.path.join(name));
        host::rename(&from, &to).await.at("rename", &from)?;
        self.remove_in_background(to);
        Ok(())
    }

    fn remove_in_background(&self, path: PathBuf) {
        drop(host::spawn_in(Queue::Background, async move {
            if let Err(error) = host::remove_dir_all(&path).await {
                tracing::warn!("cannot remove {}: {error}; the next start tries again", path.display());
            }
        }));
    }

    /// A file that is not there, or holds something else, is done without, as Kafka does. One that is there and cannot
    /// be read is another matter: without the log start offsets, deleted records would be back.
    async fn read_offsets(&self, kind: OffsetsKind) -> Result<Offsets, DiskError> {
        let path = self.path.join(kind.file_name());
        let Some(bytes) = patient::read_if_there(&path, FILE_BYTES_MAX).await? else {
            return Ok(Offsets::new());
        };
        Ok(offsets_file::decode(&bytes).unwrap_or_else(|error| {
            tracing::warn!("{}: {error}; doing without", path.display());
            Offsets::new()
        }))
    }

    /// Reads and removes marker and archive. Without a marker there is no clean partition.
    async fn take_clean(&self) -> Result<(bool, BTreeMap<TopicPartition, CleanPartition>), DiskError> {
        let (marker_path, clean_path) = (self.path.join(MARKER_FILE), self.path.join(CLEAN_FILE));
        let marker = patient::read_if_there(&marker_path, FILE_BYTES_MAX).await?;
        let partitions = match (&marker, patient::read_whole(&clean_path, FILE_BYTES_MAX).await) {
            (None, _) => BTreeMap::new(),
            (Some(marker), Ok(bytes)) => clean::decode(&bytes, marker).unwrap_or_else(|error| {
                tracing::info!("{}: {error}; opening every partition instead", clean_path.display());
                BTreeMap::new()
            }),
            (Some(_), Err(_)) => BTreeMap::new(),
        };
        if marker.is_some() && !canary::is(Canary::CleanMarkerKept) {
            host::remove_file(&marker_path).await.at("remove", &marker_path)?;
            patient::sync_dir(&self.path).await?;
        }
        Ok((marker.is_some(), partitions))
    }

    /// The topic id of a partition that was found, from the note of a clean shutdown or from its file; `None` where
    /// its directory was made and never finished.
    ///
    /// # Errors
    /// When the file is there and cannot be read.
    pub async fn topic_id(&self, found: &Found) -> Result<Option<TopicId>, DiskError> {
        if let Some(clean) = &found.clean {
            return Ok(Some(Uuid(clean.topic_id)));
        }
        let path = self.path.join(found.partition.to_string()).join(PARTITION_METADATA);
        match patient::read_if_there(&path, 4096).await? {
            // A crash while the partition was made may leave the file empty.
            Some(bytes) if !bytes.is_empty() => match decode_partition_metadata(&bytes) {
                Ok(topic_id) => Ok(Some(topic_id)),
                Err(error) => Err(DiskError::corrupt(&path, error)),
            },
            Some(_) | None => Ok(None),
        }
    }

    /// Makes the names in the directory durable: partitions that were created, renamed or removed before the call.
    /// Shards that call at the same time share one sync.
    ///
    /// # Errors
    /// When the directory is offline or goes offline by this.
    pub async fn sync_names(&self) -> Result<(), DiskError> {
        let wanted = {
            let mut names = locked(&self.names);
            names.changes += 1;
            names.changes
        };
        loop {
            self.check()?;
            let version = match self.begin_sync(wanted) {
                Turn::Done => return Ok(()),
                Turn::Wait => {
                    host::sleep(TURN_WAIT).await;
                    continue;
                }
                Turn::Mine(version) => version,
            };
            let turn = SyncTurn(self);
            let result = patient::sync_dir(&self.path).await;
            drop(turn);
            match result {
                Ok(()) => self.names_synced(version),
                Err(failure) => {
                    self.fail(&failure);
                    return Err(failure.into());
                }
            }
        }
    }

    fn begin_sync(&self, wanted: u64) -> Turn<u64> {
        let mut names = locked(&self.names);
        if names.synced >= wanted {
            return Turn::Done;
        }
        if std::mem::replace(&mut names.syncing, true) {
            return Turn::Wait;
        }
        Turn::Mine(names.changes)
    }

    fn names_synced(&self, version: u64) {
        let mut names = locked(&self.names);
        names.synced = names.synced.max(version);
    }

    /// Counts a partition that is open on some shard.
    pub(super) fn add_open(&self) {
        self.open.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes one off that was closed in order or deleted.
    pub(super) fn remove_open(&self) {
        let before = self.open.fetch_sub(1, Ordering::Relaxed);
        assert!(before > 0, "a partition that ends was open");
    }

    /// Notes how a partition was left; part of a clean shutdown.
    pub fn add_closed(&self, partition: CleanPartition) {
        locked(&self.closed).push(partition);
    }

    /// Notes a journal, which goes with the clean shutdown.
    pub(super) fn add_journal(&self, path: PathBuf) {
        locked(&self.journals).push(path);
    }

    /// Has [`finish_clean`](LogDir::finish_clean) sync what partitions have left unsynced.
    pub(super) fn sync_at_finish(&self) {
        self.sync_at_finish.store(true, Ordering::Relaxed);
    }

    /// Syncs the whole file system; only then may a checkpoint rely on what closed partitions have written.
    async fn sync_closed(&self) -> Result<(), DiskError> {
        let synced = patient::sync_file_system(&self.path).await;
        synced.inspect_err(|failure| self.fail(failure))?;
        for closed in locked(&self.closed).iter() {
            let name = TopicPartition { topic: closed.topic.as_str().into(), partition: closed.partition };
            self.set_offset(OffsetsKind::RecoveryPoint, &name, Offset(closed.log_end_offset));
            self.set_offset(OffsetsKind::HighWatermark, &name, Offset(closed.high_watermark));
        }
        Ok(())
    }

    /// Ends the clean shutdown, when every shard has closed its partitions: checkpoints, archive, marker, in this
    /// order, each durable before the next.
    ///
    /// # Errors
    /// When the directory is offline or a partition of it was not closed; the next start recovers then.
    pub async fn finish_clean(&self) -> Result<(), DiskError> {
        let open = self.open.load(Ordering::Relaxed);
        if (open > 0 || self.is_offline()) && canary::is(Canary::CleanDespiteFailure) {
            return self.mark_clean().await;
        }
        if open > 0 {
            let reason = format!("{open} partitions were not closed");
            return Err(DiskError::Offline { dir: self.path.clone(), reason });
        }
        self.check()?;
        if self.sync_at_finish.load(Ordering::Relaxed) {
            self.sync_closed().await?;
        }
        for kind in OffsetsKind::ALL {
            self.write_offsets(kind).await?;
        }
        self.check()?;
        // Every partition was closed: everything is in the segments. With the marker a journal would not be believed.
        let journals = std::mem::take(&mut *locked(&self.journals));
        for path in journals {
            if let Err(error) = host::remove_file(&path).await {
                tracing::debug!("cannot remove {}: {error}", path.display());
            }
        }
        self.mark_clean().await
    }

    async fn mark_clean(&self) -> Result<(), DiskError> {
        let archive = clean::encode(&CleanLog { partitions: std::mem::take(&mut *locked(&self.closed)) });
        let (marker_path, clean_path) = (self.path.join(MARKER_FILE), self.path.join(CLEAN_FILE));
        patient::write_whole_durably(&clean_path, &archive).await?;
        let marker = clean::marker_for(&archive);
        patient::write_whole_durably(&marker_path, &marker).await?;
        Ok(())
    }
}

impl std::fmt::Debug for LogDir {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "LogDir({}, direct {}, offline {})", self.path.display(), self.direct, self.is_offline())
    }
}

/// The right to write one checkpoint file; given up on drop, also when the writing task is dropped.
struct WriterTurn<'a> {
    dir: &'a LogDir,
    kind: OffsetsKind,
}

impl Drop for WriterTurn<'_> {
    fn drop(&mut self) {
        self.dir.checkpoint(self.kind).writing = false;
    }
}

/// The right to sync the names; given up on drop.
struct SyncTurn<'a>(&'a LogDir);

impl Drop for SyncTurn<'_> {
    fn drop(&mut self) {
        locked(&self.0.names).syncing = false;
    }
}

/// The log dirs of this process, in the order of the configuration.
#[derive(Clone, Debug)]
pub struct LogDirs {
    dirs: Vec<Arc<LogDir>>,
    /// The first so many are for partitions of topics.
    for_topics: usize,
    cleaners: Arc<CleanerShare>,
}

impl LogDirs {
    /// Keeps the directories locked until every write of the calling shard has ended, even when the process is killed:
    /// the next broker must not read or write what is still on its way to the disk.
    ///
    /// # Errors
    /// The system's.
    pub fn hold_locks(&self) -> io::Result<()> {
        let locks: Vec<SharedFd> = self.dirs.iter().map(|dir| SharedFd::clone(&dir.lock)).collect();
        host::hold_until_the_end(&locks)
    }

    /// Opens every directory.
    ///
    /// # Errors
    /// The first that cannot be used.
    pub async fn open(paths: &[PathBuf]) -> Result<LogDirs, OpenError> {
        LogDirs::open_with_metadata(paths, None).await
    }

    /// Opens every directory, and one more that is for the metadata log alone.
    ///
    /// # Errors
    /// The first that cannot be used.
    pub async fn open_with_metadata(
        paths: &[PathBuf],
        metadata: Option<&PathBuf>,
    ) -> Result<LogDirs, OpenError> {
        assert!(!paths.is_empty(), "a broker has at least one log dir");
        let mut dirs: Vec<Arc<LogDir>> = Vec::with_capacity(paths.len());
        let mut canonical: Vec<PathBuf> = Vec::with_capacity(paths.len());
        for path in paths.iter().chain(metadata) {
            create_with_parents(path).await?;
            let real = host::canonicalize(path).await.at("resolve", path)?;
            if canonical.contains(&real) {
                return Err(OpenError::Twice(path.clone()));
            }
            canonical.push(real);
            dirs.push(Arc::new(LogDir::open(path).await?));
        }
        Ok(LogDirs { dirs, for_topics: paths.len(), cleaners: Arc::default() })
    }

    /// The directories.
    #[must_use]
    pub fn all(&self) -> &[Arc<LogDir>] {
        &self.dirs
    }

    /// What the cleanings of all shards have in common.
    #[must_use]
    pub fn cleaners(&self) -> &Arc<CleanerShare> {
        &self.cleaners
    }

    /// Those of `log.dirs`: all but the one that is for the metadata log alone.
    #[must_use]
    pub fn for_topics(&self) -> &[Arc<LogDir>] {
        &self.dirs[..self.for_topics]
    }
}

/// Creates a directory with those above it, each name durable in the one above.
async fn create_with_parents(path: &Path) -> Result<(), IoFailure> {
    if host::exists(path).await.at("open", path)? {
        return Ok(());
    }
    host::create_dir_all(path).await.at("create", path)?;
    // How many of the directories above are new is not known; syncing one that is not costs little, once.
    for directory in path.ancestors().skip(1) {
        let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
        if host::sync_dir(directory).await.is_err() {
            break;
        }
    }
    Ok(())
}

/// Writes and reads one block past the page cache.
async fn probe(dir: &Path) -> io::Result<()> {
    let path = dir.join(PROBE_FILE);
    let how = OpenHow { read: true, write: true, create: true, direct: true, ..OpenHow::default() };
    let result = probe_file(&path, how).await;
    match host::remove_file(&path).await {
        Err(error) if error.kind() != io::ErrorKind::NotFound => result.and(Err(error)),
        Ok(()) | Err(_) => result,
    }
}

async fn probe_file(path: &Path, how: OpenHow) -> io::Result<()> {
    let file = File::open(path, how).await?;
    let mut block = AlignedBuf::zeroed(BLOCK_BYTES);
    block.fill(0x5A);
    let slices: Vec<WriteSlice> = vec![block.into()];
    file.write_at(slices, 0, Durability::DataSync).await?;
    let read = file.read_at(0, BLOCK_BYTES).await?;
    if read.len() == BLOCK_BYTES && read.iter().all(|&byte| byte == 0x5A) {
        return Ok(());
    }
    Err(io::Error::other("a block that was written is not read back"))
}

/// Whether a file system says that it cannot do direct or synced writes, rather than that it is broken.
fn is_unsupported(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EINVAL | libc::EOPNOTSUPP | libc::ENOTTY | libc::ENOSYS))
}

#[cfg(test)]
mod tests;
