//! Written chunks as a read cache: consumers that keep up are served from memory, the oldest chunks make room.
//!
//! One per shard. Every partition that has written chunks stands in one list, ordered by the age of its oldest; the
//! entry may be older than that chunk (an append replaces small chunks all the time) and is put right when its turn
//! comes. While the list is empty nothing runs.
//!
//! What must hold: only bytes that are on disk leave memory, and the bytes of all chunks stay within the limit as long
//! as any such are left.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::{Rc, Weak};
use std::time::Duration;

use ottla::time::Monotonic;

use super::partition::Partition;
use super::shard_disk::ShardDisk;
use crate::host::{self, Queue};

/// The partitions of a shard that have written chunks in memory.
#[derive(Default)]
pub struct ChunkCache {
    /// By the time of the oldest chunk, or earlier; then by the partition's number.
    by_age: RefCell<BTreeMap<(Monotonic, u32), Weak<Partition>>>,
    sweeping: Cell<bool>,
}

impl ChunkCache {
    #[cfg(all(test, not(feature = "sim")))]
    pub(super) fn is_sweeping(&self) -> bool {
        self.sweeping.get()
    }
}

impl ShardDisk {
    /// Notes that the partition has a written chunk, and makes room if memory is used up.
    pub(super) fn note_cached(self: &Rc<Self>, partition: &Rc<Partition>) {
        self.note_loaded(partition);
        while self.gauge.get() > self.settings.cache_bytes_max && self.evict_older_than(None) {}
    }

    /// Notes that a written block of the partition was brought back because somebody is about to use it. No room is
    /// made for it: where everything else in memory waits for the disk, this block would be the first to go again.
    pub(super) fn note_loaded(self: &Rc<Self>, partition: &Rc<Partition>) {
        if !partition.cached.get() {
            let Some(age) = partition.oldest_written() else { return };
            self.list(age, partition);
        }
        if !self.cache.sweeping.replace(true) {
            let (disk, idle) = (Rc::downgrade(self), self.settings.cache_idle);
            drop(host::spawn_in(Queue::Background, sweep(disk, idle)));
        }
    }

    fn list(&self, age: Monotonic, partition: &Rc<Partition>) {
        partition.cached.set(true);
        self.cache.by_age.borrow_mut().insert((age, partition.number), Rc::downgrade(partition));
    }

    /// Drops the oldest chunk of all, if there is one that was written before `limit`.
    fn evict_older_than(&self, limit: Option<Monotonic>) -> bool {
        loop {
            let Some(((age, _), partition)) = self.cache.by_age.borrow_mut().pop_first() else {
                return false;
            };
            let Some(partition) = partition.upgrade() else { continue };
            let Some(oldest) = partition.oldest_written() else {
                partition.cached.set(false);
                continue;
            };
            if oldest > age {
                self.list(oldest, &partition);
                continue;
            }
            let evict = limit.is_none_or(|limit| oldest < limit);
            if evict {
                partition.evict_oldest();
            }
            match partition.oldest_written() {
                Some(next) => self.list(next, &partition),
                None => partition.cached.set(false),
            }
            return evict;
        }
    }

    /// Drops the oldest written chunk of all, whatever the limit says.
    #[cfg(all(test, not(feature = "sim")))]
    pub(super) fn evict_for_test(&self) -> bool {
        self.evict_older_than(None)
    }

    /// Bytes of memory that the chunks of all partitions take.
    #[must_use]
    pub fn chunk_bytes(&self) -> usize {
        self.gauge.get()
    }
}

/// Lets chunks go that were written a while ago, until none is left. While it waits it keeps nothing of the shard
/// alive.
async fn sweep(disk: Weak<ShardDisk>, idle: Duration) {
    loop {
        host::sleep(idle / 2).await;
        let Some(disk) = disk.upgrade() else { return };
        let now = host::now();
        let limit = Monotonic(now.0.saturating_sub(u64::try_from(idle.as_nanos()).unwrap_or(u64::MAX)));
        while disk.evict_older_than(Some(limit)) {}
        if disk.cache.by_age.borrow().is_empty() {
            disk.cache.sweeping.set(false);
            host::trim_pool();
            return;
        }
    }
}

impl Partition {
    /// When the oldest chunk was written that may go.
    fn oldest_written(&self) -> Option<Monotonic> {
        let state = self.state.borrow();
        let first = state.tails.iter().find(|segment| segment.tail.start() < segment.tail.end())?;
        first.tail.oldest_written()
    }

    fn evict_oldest(&self) {
        let mut state = self.state.borrow_mut();
        let state = &mut *state;
        let segment = state.tails.iter_mut().find(|segment| segment.tail.start() < segment.tail.end());
        let segment = segment.expect("a chunk that may go was found before");
        segment.tail.evict_oldest();
        let (base, is_empty) = (segment.base, segment.tail.start() == segment.tail.end());
        let is_active = state.tails.back().is_some_and(|active| active.base == base);
        if is_empty && !is_active && !state.unfinished.contains_key(&base) {
            state.tails.retain(|segment| segment.base != base);
        }
    }
}
