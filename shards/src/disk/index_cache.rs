//! Indexes of segments that are read again and again: a cache with a limit in bytes, one per shard.
//!
//! The active segment of a log has its newest entries in memory; a reader further behind needs the file. What the
//! cache holds is a copy that may be dropped at any time. It is thrown away with its segment.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use ottla::ids::Offset;
use ottla::log::SegmentIndexes;

/// A segment: its partition's number on this shard, and its base offset.
pub type SegmentKey = (u32, Offset);

struct Entry {
    indexes: Rc<SegmentIndexes>,
    bytes: usize,
    used: Cell<bool>,
}

#[derive(Default)]
struct Content {
    entries: BTreeMap<SegmentKey, Entry>,
    /// The keys, and keys that were forgotten since; the front is asked first to go.
    ring: VecDeque<SegmentKey>,
    bytes: usize,
}

/// The indexes in memory of one shard.
pub struct IndexCache {
    bytes_max: usize,
    content: RefCell<Content>,
}

impl IndexCache {
    /// An empty cache of at most `bytes_max` bytes of entries.
    #[must_use]
    pub fn new(bytes_max: usize) -> IndexCache {
        IndexCache { bytes_max, content: RefCell::default() }
    }

    /// The indexes of a segment, if they are here.
    #[must_use]
    pub fn get(&self, key: SegmentKey) -> Option<Rc<SegmentIndexes>> {
        let content = self.content.borrow();
        let entry = content.entries.get(&key)?;
        entry.used.set(true);
        Some(Rc::clone(&entry.indexes))
    }

    /// Keeps the indexes of a segment in place of those that nobody asked for lately. Indexes that alone pass the
    /// limit are not kept.
    pub fn put(&self, key: SegmentKey, indexes: &Rc<SegmentIndexes>) {
        let bytes = indexes.memory_bytes();
        self.forget(key);
        if bytes > self.bytes_max {
            return;
        }
        let mut content = self.content.borrow_mut();
        content.make_room(self.bytes_max - bytes);
        content.bytes += bytes;
        content.entries.insert(key, Entry { indexes: Rc::clone(indexes), bytes, used: Cell::new(false) });
        content.ring.push_back(key);
    }

    /// Drops the indexes of a segment.
    pub fn forget(&self, key: SegmentKey) {
        let mut content = self.content.borrow_mut();
        if let Some(entry) = content.entries.remove(&key) {
            content.bytes -= entry.bytes;
            content.ring.retain(|other| *other != key);
        }
    }

    /// Bytes of the entries that are here.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.content.borrow().bytes
    }
}

impl Content {
    fn make_room(&mut self, bytes_max: usize) {
        while self.bytes > bytes_max {
            let key = self.ring.pop_front().expect("bytes belong to entries, and entries stand in the ring");
            let used = self.entries.get(&key).is_some_and(|entry| entry.used.replace(false));
            if used {
                self.ring.push_back(key);
            } else if let Some(entry) = self.entries.remove(&key) {
                self.bytes -= entry.bytes;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ottla::ids::FilePosition;

    fn indexes(entries: i64) -> Rc<SegmentIndexes> {
        let mut indexes = SegmentIndexes::new(Offset(0), 1 << 20);
        for entry in 0..entries {
            indexes.offsets.append(Offset(entry), FilePosition(entry.unsigned_abs() * 5_000));
        }
        Rc::new(indexes)
    }

    #[test]
    fn the_limit_holds_and_the_used_stay() {
        let one = indexes(64);
        let cache = IndexCache::new(one.memory_bytes() * 3);
        for partition in 0..20 {
            cache.put((partition, Offset(0)), &indexes(64));
            assert!(cache.get((0, Offset(0))).is_some());
            assert!(cache.bytes() <= one.memory_bytes() * 3);
        }
        cache.put((0, Offset(0)), &indexes(64));
        assert_eq!(cache.bytes(), one.memory_bytes() * 3, "a segment is there once");
        cache.put((99, Offset(0)), &indexes(100_000));
        assert!(cache.get((99, Offset(0))).is_none());
        for partition in 0..20 {
            cache.forget((partition, Offset(0)));
        }
        assert_eq!(cache.bytes(), 0);
        assert!(cache.content.borrow().ring.is_empty());
    }
}
