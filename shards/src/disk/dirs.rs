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

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use ottla::ids::{TopicPartition, Uuid};

use self::checkpoints::Checkpoint;
use super::clean::CleanPartition;
use super::error::{Context as _, DiskError, IoFailure};
use super::patient;
use crate::host::{self, DiskSpace, OpenHow, SharedFd};

pub use self::checkpoints::OffsetsKind;
pub use self::finish::NotClean;
pub use self::open::{LogDirs, OpenError};
pub use self::scan::Found;
pub(in crate::disk) use self::scan::remove_whole;

mod checkpoints;
mod finish;
mod open;
mod scan;

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

type Listener = Box<dyn Fn() + Send + Sync>;

/// One log dir of this process.
pub struct LogDir {
    path: PathBuf,
    /// The id in its `meta.properties`, once that is known.
    id: OnceLock<Uuid>,
    direct: bool,
    /// Held as long as the process lives; `None` where the directory could not be opened.
    lock: Option<SharedFd>,
    /// The last write here met a full disk.
    full: AtomicBool,
    /// Why it is offline. One value for both: whoever loses the race to say why finds it offline all the same.
    reason: OnceLock<String>,
    listeners: Mutex<Vec<Listener>>,
    checkpoints: [Mutex<Checkpoint>; OffsetsKind::ALL.len()],
    names: Mutex<Names>,
    /// Partitions that are open on any shard.
    open: AtomicUsize,
    /// Partitions that the scan has found and nobody has loaded.
    unloaded: Mutex<BTreeSet<TopicPartition>>,
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

/// A lock that a panicking thread may have held: the data is plain values, always whole.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl LogDir {
    fn assemble(path: &Path, direct: bool, lock: Option<SharedFd>) -> LogDir {
        LogDir {
            path: path.to_owned(),
            id: OnceLock::new(),
            direct,
            lock,
            full: AtomicBool::new(false),
            reason: OnceLock::new(),
            listeners: Mutex::default(),
            checkpoints: Default::default(),
            names: Mutex::default(),
            open: AtomicUsize::new(0),
            unloaded: Mutex::default(),
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

    /// The id by which the metadata knows the directory; `None` where the start has not read it.
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

    /// Takes the directory offline for good, for everybody before this returns. The first reason is the one that is
    /// told.
    pub fn fail(&self, failure: &IoFailure) {
        if self.reason.set(failure.to_string()).is_err() {
            return;
        }
        tracing::error!("log directory {} goes offline: {failure}", self.path.display());
        for listener in locked(&self.listeners).iter() {
            listener();
        }
    }

    /// Takes the directory offline for what the system has refused, unless that was for want of room.
    pub(super) fn fail_unless_full(&self, error: &DiskError) {
        if let DiskError::Io(failure) = error
            && !failure.may_be_retried()
        {
            self.fail(failure);
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
        self.reason.get().is_some()
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
        match self.reason.get() {
            None => Ok(()),
            Some(reason) => Err(DiskError::Offline { dir: self.path.clone(), reason: reason.clone() }),
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
}

impl std::fmt::Debug for LogDir {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "LogDir({}, direct {}, offline {})", self.path.display(), self.direct, self.is_offline())
    }
}

/// The right to sync the names; given up on drop.
struct SyncTurn<'a>(&'a LogDir);

impl Drop for SyncTurn<'_> {
    fn drop(&mut self) {
        locked(&self.0.names).syncing = false;
    }
}

#[cfg(test)]
mod tests;
