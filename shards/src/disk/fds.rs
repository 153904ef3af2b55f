//! Open segment files: a cache with a limit, one per shard.
//!
//! A partition asks for its file each time that it needs it; the cache hands out clones of one open file and closes
//! those that nobody asked for lately (second chance, so a hit costs a table look-up). Ten thousand partitions with
//! data therefore need no more descriptors than the limit.
//!
//! Invariants: at most `limit` files are cached; a file that is in use elsewhere stays open until its last clone goes.
//! When the system has no descriptor left, [`patient`](super::patient) takes some from here.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::PathBuf;

use ottla::ids::Offset;

use super::error::IoFailure;
use super::patient;
use crate::host::{File, OpenHow};

/// What a file was opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Use {
    /// Reads and writes of whole blocks, past the page cache where the file system can.
    Blocks,
    /// Reads through the page cache, and `sendfile`.
    Cached,
}

/// Names an open file: a partition's number on this shard, a segment of it, which of its files, and the purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FdKey {
    /// The number that the shard gave the partition.
    pub partition: u32,
    /// The segment.
    pub base_offset: Offset,
    /// How often the cleaner has replaced the segment's file.
    pub generation: u32,
    /// What for.
    pub purpose: Use,
}

struct Entry {
    file: File,
    used: Cell<bool>,
}

/// The open files of a shard.
pub struct FdCache {
    limit: usize,
    entries: RefCell<BTreeMap<FdKey, Entry>>,
    /// Every cached key, and keys that were forgotten since; the front is asked first to go.
    ring: RefCell<VecDeque<FdKey>>,
    /// How often a file was forgotten.
    forgotten: Cell<u64>,
}

impl FdCache {
    /// An empty cache of at most `limit` open files.
    #[must_use]
    pub fn new(limit: usize) -> FdCache {
        assert!(limit > 0, "at least one file can be open");
        FdCache { limit, entries: RefCell::default(), ring: RefCell::default(), forgotten: Cell::new(0) }
    }

    /// Files that are cached now.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.borrow().len()
    }

    /// Whether no file is cached.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The cached file, if there is one.
    #[must_use]
    pub fn peek(&self, key: FdKey) -> Option<File> {
        let entries = self.entries.borrow();
        let entry = entries.get(&key)?;
        entry.used.set(true);
        Some(entry.file.clone())
    }

    /// The file, opened at `path` if it is not cached; most are, and no path is made for them.
    ///
    /// # Errors
    /// When the system refuses for another reason than that descriptors are used up, for which this waits.
    pub async fn open(
        &self,
        key: FdKey,
        path: impl FnOnce() -> PathBuf,
        how: OpenHow,
    ) -> Result<File, IoFailure> {
        if let Some(file) = self.peek(key) {
            return Ok(file);
        }
        let forgotten = self.forgotten.get();
        let file = patient::open(&path(), how).await?;
        // What was forgotten meanwhile may have been this one, which nobody would ask for again.
        if self.forgotten.get() == forgotten {
            self.insert(key, file.clone());
        }
        Ok(file)
    }

    /// Drops `count` files that were not asked for lately.
    pub(super) fn give_back(&self, count: usize) {
        for _ in 0..count {
            self.evict_one();
        }
    }

    /// Puts a file in the place of the one that is cached.
    #[cfg(all(test, not(feature = "sim")))]
    pub(super) fn put_for_test(&self, key: FdKey, file: File) {
        self.insert(key, file);
    }

    fn insert(&self, key: FdKey, file: File) {
        while self.len() >= self.limit {
            self.evict_one();
        }
        let entry = Entry { file, used: Cell::new(false) };
        // Two tasks may have opened the same file at once; one of the two stays.
        if self.entries.borrow_mut().insert(key, entry).is_none() {
            let mut ring = self.ring.borrow_mut();
            ring.push_back(key);
            if ring.len() > 2 * self.limit {
                let (entries, mut seen) = (self.entries.borrow(), BTreeSet::new());
                ring.retain(|key| entries.contains_key(key) && seen.insert(*key));
            }
        }
    }

    /// Drops one file that was not asked for since the last round; the oldest if all were.
    fn evict_one(&self) {
        let (mut entries, mut ring) = (self.entries.borrow_mut(), self.ring.borrow_mut());
        while let Some(key) = ring.pop_front() {
            match entries.get(&key) {
                None => {}
                Some(entry) if entry.used.replace(false) => ring.push_back(key),
                Some(_) => {
                    entries.remove(&key);
                    return;
                }
            }
        }
    }

    /// Drops a file, which was deleted or will be opened anew.
    pub fn forget(&self, key: FdKey) {
        self.forgotten.set(self.forgotten.get() + 1);
        self.entries.borrow_mut().remove(&key);
    }
}

impl std::fmt::Debug for FdCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "FdCache({} of {})", self.len(), self.limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host;

    fn key(partition: u32) -> FdKey {
        FdKey { partition, base_offset: Offset(0), generation: 0, purpose: Use::Cached }
    }

    fn path(dir: &tempfile::TempDir, partition: u32) -> PathBuf {
        dir.path().join(partition.to_string())
    }

    const HOW: OpenHow =
        OpenHow { read: true, write: true, create: true, create_new: false, direct: false, exact: false };

    #[test]
    fn at_most_the_limit_stays_open_and_the_used_stay_longest() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        host::run_local(async move {
            let cache = FdCache::new(4);
            for partition in 0..20 {
                cache.open(key(partition), || path(&dir, partition), HOW).await.expect("a file");
                assert!(cache.peek(key(0)).is_some(), "a file that is always asked for stays");
                assert!(cache.len() <= 4);
            }
            assert_eq!(cache.len(), 4);
        });
    }

    #[test]
    fn a_forgotten_file_is_opened_anew() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        host::run_local(async move {
            let cache = FdCache::new(4);
            cache.open(key(1), || path(&dir, 1), HOW).await.expect("a file");
            for _ in 0..40 {
                cache.forget(key(1));
                assert!(cache.is_empty());
                cache.open(key(1), || path(&dir, 1), HOW).await.expect("a file");
                assert!(cache.ring.borrow().len() <= 8, "forgotten keys do not pile up");
            }
            cache.forget(key(1));
            let missing = OpenHow { create: false, ..HOW };
            assert!(cache.open(key(2), || path(&dir, 2), missing).await.is_err());
            assert!(cache.is_empty());
        });
    }
}
