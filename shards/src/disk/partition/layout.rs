//! Which file holds a segment now: what readers go by while the cleaner replaces closed segments by others.
//!
//! A reader plans with the log's numbers, waits for files and answers. Where the segments were replaced meanwhile its
//! numbers are those of other files, so it is begun anew before it runs on: [`Partition::steadily`]. Between the
//! first rename of a swap and its end the names of the segments that are replaced lead nowhere, or too far: who has
//! to open one of them waits. Descriptors that were opened before stay good for what was planned before.
//!
//! What must hold: bytes of a closed segment are never read with numbers of another one of the same base offset;
//! the log, the caches and the names change for readers at one moment.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use ottla::ids::Offset;
use ottla::log::ClosedSegment;

use super::Partition;
use crate::disk::fds::{FdKey, Use};

/// What a partition keeps for that.
#[derive(Default)]
pub(in crate::disk) struct Layout {
    /// Counts the swaps that have ended.
    version: Cell<u64>,
    /// Base offsets of segments whose files are being replaced.
    moving: RefCell<BTreeSet<Offset>>,
    /// How often the file of a segment was replaced; nothing for most.
    generations: RefCell<BTreeMap<Offset, u32>>,
}

impl Layout {
    fn generation(&self, base: Offset) -> u32 {
        self.generations.borrow().get(&base).copied().unwrap_or(0)
    }

    fn replace(&self, base: Offset) {
        let mut generations = self.generations.borrow_mut();
        let generation = generations.entry(base).or_default();
        *generation = generation.wrapping_add(1);
    }
}

impl Partition {
    /// The key of a segment's file in the cache of descriptors.
    pub(in crate::disk) fn fd_key(&self, base: Offset, purpose: Use) -> FdKey {
        FdKey { partition: self.number, base_offset: base, generation: self.layout.generation(base), purpose }
    }

    /// Waits until the name of a segment leads to its file.
    pub(in crate::disk) async fn wait_settled(&self, base: Offset) {
        while self.layout.moving.borrow().contains(&base) {
            self.progress.notified().await;
        }
    }

    /// How often a segment's file was replaced: who has waited for it asks again, and compares.
    pub(in crate::disk) fn generation(&self, base: Offset) -> u32 {
        self.layout.generation(base)
    }

    /// The result of `attempt`, which is dropped and made again where segments were replaced while it waited.
    pub(in crate::disk) async fn steadily<F: Future>(&self, attempt: impl Fn() -> F) -> F::Output {
        loop {
            let version = self.layout.version.get();
            let mut attempt = pin!(attempt());
            let result = poll_fn(|context| {
                if version != self.layout.version.get() {
                    return Poll::Ready(None);
                }
                attempt.as_mut().poll(context).map(Some)
            });
            if let Some(result) = result.await {
                return result;
            }
        }
    }

    /// Has whoever wants to open one of these segments wait, until the result is dropped.
    pub(in crate::disk) fn begin_moving(self: &Rc<Self>, bases: &[Offset]) -> Moving {
        for &base in bases {
            self.disk.fds.forget(self.fd_key(base, Use::Cached));
            self.disk.fds.forget(self.fd_key(base, Use::Blocks));
            self.layout.replace(base);
        }
        self.layout.moving.borrow_mut().extend(bases);
        Moving { partition: Rc::clone(self), bases: bases.to_vec() }
    }

    /// Forgets how often the file of a segment that is gone was replaced.
    pub(in crate::disk) fn forget_generation(&self, base: Offset) {
        self.layout.generations.borrow_mut().remove(&base);
    }
}

/// A swap between its first rename and its end.
pub(in crate::disk) struct Moving {
    partition: Rc<Partition>,
    bases: Vec<Offset>,
}

impl Moving {
    /// Lets the log and its readers go over to the cleaned segment, whose files are in their places.
    pub(in crate::disk) fn finish(self, cleaned: ClosedSegment) {
        let partition = &self.partition;
        let mut state = partition.state.borrow_mut();
        state.log.replace_segments(&self.bases, cleaned);
        state.tails.retain(|segment| !self.bases.contains(&segment.base));
        drop(state);
        for &base in &self.bases {
            partition.disk.indexes.forget((partition.number, base));
            partition.layout.replace(base);
        }
        partition.layout.version.set(partition.layout.version.get() + 1);
    }
}

impl Drop for Moving {
    fn drop(&mut self) {
        self.partition.layout.moving.borrow_mut().retain(|base| !self.bases.contains(base));
        self.partition.progress.notify_all();
    }
}
