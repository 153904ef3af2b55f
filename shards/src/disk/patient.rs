//! Calls that need a file descriptor, and wait for one when the process or the system has none left.
//!
//! Running out is back-pressure: the call gives back descriptors that its shard's cache keeps, waits a moment and asks
//! again. None of these calls has had any effect when it is refused for want of a descriptor, so it may be repeated
//! as it is; every other failure is the caller's. One line in the log says so, and another one a while later if it goes
//! on.
//!
//! A call that waits here while it holds a descriptor must not be one of as many as there are descriptors, or
//! all of them wait for each other: `DiskSettings::together_max` bounds them.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::{Rc, Weak};
use std::time::Duration;

use ottla::time::Monotonic;

use super::error::{Context as _, IoFailure};
use super::fds::FdCache;
use crate::host::{self, AlignedBuf, DirEntry, Durability, File, OpenHow, WriteSlice};

/// How long a call waits before it asks the system again.
const RETRY: Duration = Duration::from_millis(20);

/// The line about the want of descriptors comes from each shard no more often than this.
const TELL_EVERY: Duration = Duration::from_secs(30);

/// What each shard knows.
#[derive(Default)]
struct Patience {
    /// The cache that can give descriptors back.
    cache: RefCell<Weak<FdCache>>,
    /// When the line was last written.
    told: Cell<Option<Monotonic>>,
}

/// Names the cache of the calling shard that gives descriptors back.
pub fn relieve_by(cache: &Rc<FdCache>) {
    *host::shard_slot::<Patience>().cache.borrow_mut() = Rc::downgrade(cache);
}

async fn patiently<T, F: Future<Output = io::Result<T>>>(
    operation: &'static str,
    path: &Path,
    call: impl Fn() -> F,
) -> Result<T, IoFailure> {
    loop {
        match call().await.at(operation, path) {
            Err(failure) if failure.is_out_of_descriptors() => wait(&failure).await,
            result => return result,
        }
    }
}

async fn wait(failure: &IoFailure) {
    let patience = host::shard_slot::<Patience>();
    let cache = patience.cache.borrow().upgrade();
    let open = cache.as_ref().map_or(0, |cache| cache.len());
    if patience.is_to_be_told() {
        tracing::warn!(
            "{failure}; waiting for a descriptor with {open} segment files open (raise `ulimit -n`)"
        );
    }
    if let Some(cache) = cache {
        cache.give_back(open / 8 + 1);
    }
    host::sleep(RETRY).await;
}

impl Patience {
    fn is_to_be_told(&self) -> bool {
        let now = host::now();
        let is_due = self.told.get().is_none_or(|told| now.since(told) >= TELL_EVERY);
        if is_due {
            self.told.set(Some(now));
        }
        is_due
    }
}

/// Opens a file.
///
/// # Errors
/// Any failure but the want of a descriptor.
pub async fn open(path: &Path, how: OpenHow) -> Result<File, IoFailure> {
    patiently("open", path, || File::open(path, how)).await
}

/// Writes `bytes` into a file from `position` on, unsynced; it is made where it is not there. What was there is cut
/// behind the new bytes and not before them: a full disk takes bytes in the place of others, and may take none where
/// they were cut off, and a crash in between leaves what was there.
///
/// # Errors
/// Any failure but the want of a descriptor.
pub async fn write_unsynced(path: &Path, position: u64, bytes: &[u8]) -> Result<File, IoFailure> {
    // Most of those that are written from their beginning are new, and have nothing to cut.
    let made = if position == 0 { make(path).await? } else { None };
    let is_new = made.is_some();
    let how = OpenHow { write: true, create: true, ..OpenHow::default() };
    let file = if let Some(made) = made { made } else { open(path, how).await? };
    if !bytes.is_empty() {
        let slices: Vec<WriteSlice> = vec![AlignedBuf::copy_of(bytes).into()];
        file.write_at(slices, position, Durability::None).await.at("write", path)?;
    }
    if !is_new {
        file.set_len(position + bytes.len() as u64).await.at("cut", path)?;
    }
    Ok(file)
}

/// Makes a file to write; `None` where it is there already.
async fn make(path: &Path) -> Result<Option<File>, IoFailure> {
    let how = OpenHow { write: true, create_new: true, ..OpenHow::default() };
    match open(path, how).await {
        Err(failure) if failure.is_there() => Ok(None),
        made => made.map(Some),
    }
}

/// Makes the names in a directory durable.
///
/// # Errors
/// As [`open`].
pub async fn sync_dir(path: &Path) -> Result<(), IoFailure> {
    patiently("sync", path, || host::sync_dir(path)).await
}

/// Makes everything on the file system of a directory durable.
///
/// # Errors
/// As [`open`].
pub async fn sync_file_system(path: &Path) -> Result<(), IoFailure> {
    patiently("sync", path, || host::sync_file_system(path)).await
}

/// The entries of a directory.
///
/// # Errors
/// As [`open`].
pub async fn read_dir(path: &Path) -> Result<Vec<DirEntry>, IoFailure> {
    patiently("read", path, || host::read_dir(path)).await
}

/// The whole of a file of at most `limit` bytes.
///
/// # Errors
/// As [`open`].
pub async fn read_whole(path: &Path, limit: usize) -> Result<Vec<u8>, IoFailure> {
    patiently("read", path, || host::read_whole(path, limit)).await
}

/// The whole of a file, or `None` where there is no such file.
///
/// # Errors
/// As [`open`].
pub async fn read_if_there(path: &Path, limit: usize) -> Result<Option<Vec<u8>>, IoFailure> {
    match read_whole(path, limit).await {
        Ok(bytes) => Ok(Some(bytes)),
        Err(failure) if failure.is_missing() => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// Replaces a file durably: after a crash it is the old or the new one.
///
/// # Errors
/// As [`open`]; those of the syncs, of the file and of its name, say so.
pub async fn write_whole_durably(path: &Path, bytes: &[u8]) -> Result<(), IoFailure> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".tmp");
    let temporary = PathBuf::from(temporary);
    let file = write_unsynced(&temporary, 0, bytes).await?;
    file.sync_all().await.at("sync", &temporary)?;
    host::rename(&temporary, path).await.at("rename", &temporary)?;
    sync_dir(path.parent().expect("it lies in a log dir")).await
}
