//! Opening the log dirs of a process: made where they are missing, locked, probed for direct I/O.
//!
//! Runs on shard 0, first of all. What must hold: one process uses a directory at a time, and none is named twice. A
//! directory that the disk refuses is offline from the start and the others do their work, as with Kafka; only the one
//! with the metadata log is needed.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ottla::limits::BLOCK_BYTES;
use thiserror::Error;

use super::LogDir;
use crate::disk::compact::CleanerShare;
use crate::disk::error::{Context as _, DiskError, IoFailure};
use crate::disk::patient;
use crate::host::{self, AlignedBuf, Durability, File, OpenHow, SharedFd, WriteSlice};

/// The lock's file name (`LogManager.scala`).
const LOCK_FILE: &str = ".lock";

/// Where the probe for direct I/O writes, for a moment.
pub(super) const PROBE_FILE: &str = ".ottla-probe";

/// How long a directory may stay locked by a process that was killed, whose last writes are ending.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);

/// How often the lock is tried meanwhile.
const LOCK_RETRY: Duration = Duration::from_millis(5);

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
        Ok(LogDir::assemble(path, direct, Some(lock.shared_fd())))
    }

    /// A directory that cannot be opened: offline from the start.
    fn lost(path: &Path, failure: &IoFailure) -> LogDir {
        let dir = LogDir::assemble(path, false, None);
        dir.fail(failure);
        dir
    }
}

/// The log dirs of this process, in the order of the configuration.
#[derive(Clone, Debug)]
pub struct LogDirs {
    dirs: Vec<Arc<LogDir>>,
    /// The first so many are for partitions of topics.
    for_topics: usize,
    /// The index of the one with the metadata log: of the one that is to have it, until it is found in another one.
    metadata: Arc<AtomicUsize>,
    cleaners: Arc<CleanerShare>,
}

impl LogDirs {
    /// Keeps the directories locked until every write of the calling shard has ended, even when the process is killed:
    /// the next broker must not read or write what is still on its way to the disk.
    ///
    /// # Errors
    /// The system's.
    pub fn hold_locks(&self) -> io::Result<()> {
        let locks: Vec<SharedFd> = self.dirs.iter().filter_map(|dir| dir.lock.clone()).collect();
        host::hold_until_the_end(&locks)
    }

    /// Opens every directory; the first one has the metadata log.
    ///
    /// # Errors
    /// Those of [`open_with_metadata`](LogDirs::open_with_metadata).
    pub async fn open(paths: &[PathBuf]) -> Result<LogDirs, OpenError> {
        LogDirs::open_with_metadata(paths, &paths[0]).await
    }

    /// Opens every directory, `metadata` besides if it is none of them. One that the disk refuses is offline.
    ///
    /// # Errors
    /// When one is in use or named twice, the metadata's cannot be used, or none that is for topics.
    pub async fn open_with_metadata(paths: &[PathBuf], metadata: &PathBuf) -> Result<LogDirs, OpenError> {
        assert!(!paths.is_empty(), "a broker has at least one log dir");
        let known = paths.iter().position(|path| path == metadata);
        let apart = known.is_none().then_some(metadata);
        let mut dirs: Vec<Arc<LogDir>> = Vec::with_capacity(paths.len() + 1);
        let mut canonical: Vec<PathBuf> = Vec::with_capacity(paths.len() + 1);
        let mut refusal = None;
        for path in paths.iter().chain(apart) {
            match open_another(path, &mut canonical).await {
                Ok(dir) => dirs.push(Arc::new(dir)),
                Err(OpenError::Io(failure)) if path != metadata => {
                    dirs.push(Arc::new(LogDir::lost(path, &failure)));
                    refusal.get_or_insert(failure);
                }
                Err(error) => return Err(error),
            }
        }
        match refusal {
            Some(failure) if dirs[..paths.len()].iter().all(|dir| dir.is_offline()) => Err(failure.into()),
            Some(_) | None => Ok(LogDirs {
                dirs,
                for_topics: paths.len(),
                metadata: Arc::new(AtomicUsize::new(known.unwrap_or(paths.len()))),
                cleaners: Arc::default(),
            }),
        }
    }

    /// The directory that has the metadata log.
    #[must_use]
    pub fn metadata(&self) -> &Arc<LogDir> {
        &self.dirs[self.metadata.load(Ordering::Relaxed)]
    }

    /// The metadata log was found in the directory of this index.
    pub fn metadata_is_in(&self, index: usize) {
        assert!(index < self.dirs.len(), "it is one of the directories");
        self.metadata.store(index, Ordering::Relaxed);
    }

    /// Goes on without a directory in which something cannot be read or written: it is offline from now on.
    ///
    /// # Errors
    /// The failure, where the directory is the one with the metadata log, which is needed.
    pub fn lose(&self, dir: &LogDir, failure: IoFailure) -> Result<(), IoFailure> {
        if std::ptr::eq(dir, &raw const **self.metadata()) {
            return Err(failure);
        }
        dir.fail(&failure);
        Ok(())
    }

    /// Whether a broker can do its work with those that are online.
    ///
    /// # Errors
    /// Why the metadata's is offline, or the first of those for topics where all of them are.
    pub fn check(&self) -> Result<(), DiskError> {
        self.metadata().check()?;
        let online = self.for_topics().iter().any(|dir| !dir.is_offline());
        if online { Ok(()) } else { self.for_topics()[0].check() }
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

/// Opens one more directory than those in `canonical`.
async fn open_another(path: &Path, canonical: &mut Vec<PathBuf>) -> Result<LogDir, OpenError> {
    create_with_parents(path).await?;
    let real = host::canonicalize(path).await.at("resolve", path)?;
    if canonical.contains(&real) {
        return Err(OpenError::Twice(path.to_owned()));
    }
    canonical.push(real);
    LogDir::open(path).await
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
