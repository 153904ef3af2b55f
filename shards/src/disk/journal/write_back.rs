//! From the journal to the segments: large writes in the background of what small commits have gathered.
//!
//! A write back is a write of the segment like that of a commit; it takes everything that the segment's file lacks. A
//! bounded number runs at once. One task per journal sees to it that the ring keeps room, that memory stays within its
//! budget, and that nothing stays in the journal for long; while it waits it keeps nothing of the shard alive.
//!
//! What must hold: after [`Partition::write_back_all`] the segments hold everything that was appended before the call.

use std::path::Path;
use std::rc::{Rc, Weak};

use ottla::ids::TopicId;
use ottla::limits::BLOCK_BYTES;
use ottla::log::files::{PARTITION_METADATA, decode_partition_metadata};
use ottla::time::Monotonic;

use super::Journal;
use crate::disk::error::{Context as _, DiskError, IoFailure};
use crate::disk::partition::Partition;
use crate::disk::patient;
use crate::disk::shard_disk::ShardDisk;
use crate::host::sync::Permit;
use crate::host::{self, OpenHow, Queue};

impl Journal {
    /// Notes that a frame was written: the ring may have to be emptied now, or in a while.
    pub(super) fn note_frame(self: &Rc<Self>, disk: &Rc<ShardDisk>) {
        let is_short = {
            let ring = self.ring.borrow();
            ring.used_blocks() * 4 > ring.blocks() * 3
        };
        if is_short || disk.chunk_bytes() > disk.settings.cache_bytes_max {
            self.pressure.notify_one();
        }
        if !self.reclaiming.replace(true) {
            let (disk, journal) = (Rc::downgrade(disk), Rc::downgrade(self));
            host::spawn_detached(reclaim(disk, journal));
        }
    }

    /// Whether a frame has to be emptied now.
    fn is_due(&self, disk: &ShardDisk, written: Monotonic) -> bool {
        let ring = self.ring.borrow();
        ring.used_blocks() * 2 > ring.blocks()
            || disk.chunk_bytes() > disk.settings.cache_bytes_max
            || host::now().since(written) >= disk.settings.cache_idle
    }

    /// Has the partitions of due frames written back, oldest frame first.
    async fn write_back_due(&self, disk: &Rc<ShardDisk>) {
        let mut sequence = self.ring.borrow().oldest();
        loop {
            let oldest = self.ring.borrow().oldest();
            sequence = sequence.max(oldest);
            let index = usize::try_from(sequence - oldest).expect("as many as there are blocks");
            let partitions = match self.members.borrow().get(index) {
                Some(frame) if self.is_due(disk, frame.at) => frame.partitions.clone(),
                Some(_) | None => return,
            };
            for partition in partitions.iter().filter_map(Weak::upgrade) {
                if !partition.has_journaled(sequence) {
                    continue;
                }
                let turn = disk.write_backs.acquire(1).await;
                host::spawn_detached(async move { partition.write_back(turn).await });
            }
            sequence += 1;
        }
    }
}

/// Empties the journal as far as it has to be, until nothing is in it.
async fn reclaim(disk: Weak<ShardDisk>, journal: Weak<Journal>) {
    loop {
        let (Some(now_disk), Some(now_journal)) = (disk.upgrade(), journal.upgrade()) else { return };
        now_journal.write_back_due(&now_disk).await;
        if now_journal.ring.borrow().is_empty() {
            now_journal.reclaiming.set(false);
            return;
        }
        let (wait, pressure) = (now_disk.settings.cache_idle / 2, Rc::clone(&now_journal.pressure));
        drop((now_disk, now_journal));
        let _ = host::timeout(wait, Box::pin(pressure.notified())).await;
    }
}

impl Partition {
    /// Whether bytes of it are in this frame, or an older one, and not in their segment.
    fn has_journaled(&self, sequence: u64) -> bool {
        self.state.borrow().journaled.front().is_some_and(|oldest| oldest.sequence <= sequence)
    }

    /// Has the segment's file take what it lacks, soon.
    pub(in crate::disk) fn request_write_back(self: &Rc<Self>) {
        if self.write_back_queued.replace(true) {
            return;
        }
        let partition = Rc::clone(self);
        host::spawn_detached(async move {
            let turn = partition.disk.write_backs.acquire(1).await;
            partition.write_back_queued.set(false);
            partition.write_back(turn).await;
        });
    }

    async fn write_back(self: Rc<Self>, turn: Permit) {
        if let Some((begun, result)) = self.write_gathered().await {
            self.end_flush(begun, result);
        }
        drop(turn);
    }

    /// Waits until the segments' files hold everything that was appended before the call.
    ///
    /// # Errors
    /// When they will not: the partition is closed, its log dir offline or full.
    pub(in crate::disk) async fn write_back_all(self: &Rc<Self>) -> Result<(), DiskError> {
        let (base, end) = {
            let mut state = self.state.borrow_mut();
            let active = state.active();
            (active.base, active.tail.end())
        };
        loop {
            self.check()?;
            let (is_written, is_full) = {
                let state = self.state.borrow();
                let mut before = state.tails.iter().filter(|segment| segment.base <= base);
                let is_written = before.all(|segment| {
                    let written = segment.tail.written_end();
                    if segment.base == base { written >= end } else { segment.tail.pending_bytes() == 0 }
                });
                (is_written, state.full)
            };
            if is_written {
                return Ok(());
            }
            if is_full {
                return Err(self.no_room());
            }
            self.request_write_back();
            self.progress.notified().await;
        }
    }

    /// Has its `partition.metadata` made durable, once in its life; the journal takes it from then on. False for now.
    pub(super) fn begin_to_identify(self: &Rc<Self>) -> bool {
        if self.identifying.replace(true) {
            return false;
        }
        let partition = Rc::clone(self);
        drop(host::spawn_in(Queue::Background, async move {
            let path = partition.path.join(PARTITION_METADATA);
            let turn = partition.disk.write_backs.acquire(1).await;
            let identified = sync_identity(&path, partition.topic_id).await;
            drop(turn);
            let is_over = partition.state.borrow().closed;
            match identified {
                Ok(true) => partition.identified.set(true),
                // A crash has emptied it since; a start after a crash writes it anew.
                Ok(false) => tracing::debug!("{} does not name the topic", path.display()),
                // Its directory has another name, or will: it commits into its segments until then.
                Err(failure) if is_over || failure.is_missing() => tracing::debug!("{failure}"),
                Err(failure) => partition.housekeeping_failed(&failure),
            }
        }));
        false
    }

    /// Lets the journal forget what is left of a partition that ends.
    pub(in crate::disk) fn leave_journal(&self) {
        let left = std::mem::take(&mut self.state.borrow_mut().journaled);
        for entry in left {
            self.journal.release(entry.sequence);
        }
    }
}

/// Makes a `partition.metadata` durable that names the topic; false where it does not.
async fn sync_identity(path: &Path, topic_id: TopicId) -> Result<bool, IoFailure> {
    let file = patient::open(path, OpenHow { read: true, ..OpenHow::default() }).await?;
    let bytes = file.read_at(0, BLOCK_BYTES).await.at("read", path)?;
    if decode_partition_metadata(&bytes) != Ok(topic_id) {
        return Ok(false);
    }
    file.sync_data().await.at("sync", path)?;
    Ok(true)
}
