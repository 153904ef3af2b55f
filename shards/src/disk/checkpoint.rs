//! Checkpoints: moving the point from which a start after a crash has to scan.
//!
//! One background task per shard, alive only while some partition has changed since its last checkpoint. Per partition
//! it makes durable, in this order: the records, the index entries, the leader epochs, a producer snapshot at the end
//! of the records, and the files of the segments that were closed; then, for all partitions of a log dir together, the
//! checkpoint files that rely on them.
//!
//! What must hold: a recovery point on disk is never ahead of anything that a start believes because of it.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::time::Duration;

use ottla::canary::{self, Canary};
use ottla::ids::Offset;
use ottla::log::files::SegmentFileKind;
use ottla::log::load::EntryCounts;

use super::dirs::OffsetsKind;
use super::error::DiskError;
use super::partition::files::{IndexBytes, IndexWrite};
use super::partition::{IndexFiles, Partition};
use super::shard_disk::ShardDisk;
use crate::host::sync::{Notify, Permit, Semaphore};
use crate::host::{self, Queue};

/// Partitions whose checkpoint is made at the same time.
const TOGETHER: usize = 8;

/// Index entries of an active segment that stay in memory when the older ones are in their files.
const INDEX_ENTRIES_KEPT: usize = 512;

/// Bytes of index entries in memory from which on the older ones are written to their files.
const INDEX_BYTES_SPILLED: usize = 64 << 10;

/// What a shard's checkpoint task goes by.
#[derive(Default)]
pub struct Checkpoints {
    /// Not kept alive by this: a partition that nobody holds any more was closed or deleted.
    due: RefCell<Vec<Weak<Partition>>>,
    written: Cell<u64>,
    running: Cell<bool>,
    /// What loads together is not durable yet, and no recovery point may rely on it.
    held: Cell<bool>,
    hurry: Rc<Notify>,
}

impl Checkpoints {
    /// No checkpoint begins until [`resume`](ShardDisk::resume_checkpoints).
    pub(super) fn hold(&self) {
        self.held.set(true);
    }

    #[cfg(all(test, not(feature = "sim")))]
    pub(super) fn is_running(&self) -> bool {
        self.running.get()
    }
}

impl ShardDisk {
    /// Notes that the partition has new bytes on disk.
    pub(super) fn note_written(self: &Rc<Self>, partition: &Rc<Partition>, bytes: u64) {
        let checkpoints = &self.checkpoints;
        partition.untouched.set(false);
        if !partition.checkpoint_due.replace(true) {
            checkpoints.due.borrow_mut().push(Rc::downgrade(partition));
        }
        checkpoints.written.set(checkpoints.written.get() + bytes);
        if checkpoints.written.get() >= self.settings.checkpoint_bytes {
            checkpoints.hurry.notify_one();
        }
        self.begin_checkpoints();
        partition.spill_indexes();
    }

    /// What was loaded is durable: checkpoints may rely on it.
    pub(super) fn resume_checkpoints(self: &Rc<Self>) {
        self.checkpoints.held.set(false);
        self.begin_checkpoints();
    }

    fn begin_checkpoints(self: &Rc<Self>) {
        let checkpoints = &self.checkpoints;
        let is_due = !checkpoints.due.borrow().is_empty() && !checkpoints.held.get();
        if is_due && !checkpoints.running.replace(true) {
            let (disk, interval) = (Rc::downgrade(self), self.settings.checkpoint_interval);
            let hurry = Rc::clone(&checkpoints.hurry);
            drop(host::spawn_in(Queue::Background, make_checkpoints(disk, hurry, interval)));
        }
    }

    /// Makes a checkpoint of every partition that has changed since its last. A partition that cannot have one keeps
    /// its old recovery point; why has been said when its log dir went offline.
    pub async fn checkpoint_now(self: &Rc<Self>) {
        self.checkpoints.written.set(0);
        let due = self.checkpoints.due.take();
        let together = Semaphore::new(TOGETHER.min(self.settings.together_max));
        let mut tasks = Vec::with_capacity(due.len());
        for partition in due {
            let Some(partition) = partition.upgrade() else { continue };
            let turn = together.acquire(1).await;
            partition.checkpoint_due.set(false);
            tasks.push(host::spawn_in(Queue::Background, async move {
                let result = partition.checkpoint().await;
                drop(turn);
                if let Err(error) = result {
                    tracing::debug!("{}: no checkpoint: {error}", partition.name);
                }
            }));
        }
        for task in tasks {
            task.await;
        }
        for dir in self.dirs.all() {
            for kind in OffsetsKind::ALL {
                if let Err(error) = dir.write_offsets(kind).await {
                    tracing::debug!("no checkpoint: {error}");
                }
            }
        }
    }
}

/// Makes checkpoints until nothing is due. While it waits it keeps nothing of the shard alive.
async fn make_checkpoints(disk: Weak<ShardDisk>, hurry: Rc<Notify>, interval: Duration) {
    loop {
        let _ = host::timeout(interval, Box::pin(hurry.notified())).await;
        let Some(disk) = disk.upgrade() else { return };
        disk.checkpoint_now().await;
        if disk.checkpoints.due.borrow().is_empty() {
            disk.checkpoints.running.set(false);
            return;
        }
    }
}

impl Partition {
    /// Moves the recovery point to the log's end as it is now; the checkpoint file is the caller's to write.
    ///
    /// # Errors
    /// When something before it cannot be made durable.
    pub(super) async fn checkpoint(self: &Rc<Self>) -> Result<(), DiskError> {
        self.check()?;
        let (end, snapshot) = {
            let state = self.state.borrow();
            let snapshot = state.log.take_snapshot();
            (state.log.log_end_offset(), snapshot)
        };
        if canary::is(Canary::SnapshotAhead) {
            self.write_ahead(&snapshot).await?;
        }
        self.write_back_all().await?;
        let turn = match canary::is(Canary::RollNotAwaited) {
            true => None,
            false => Some(self.turn_with_all_finished().await?),
        };
        let result = self.write_checkpoint(end, snapshot).await;
        drop(turn);
        if let Err(DiskError::Io(failure)) = &result {
            self.housekeeping_failed(failure);
        }
        result
    }

    /// The partition's turn of housekeeping, with no closed segment that is unfinished: one may close while the turn is
    /// waited for, and the entries of its indexes would be in no file.
    async fn turn_with_all_finished(&self) -> Result<Permit, DiskError> {
        loop {
            self.wait_finished().await?;
            let turn = self.housekeeping_turn().await?;
            if self.state.borrow().unfinished.is_empty() {
                return Ok(turn);
            }
        }
    }

    /// A planted bug: a snapshot of records that may never be on disk.
    async fn write_ahead(&self, snapshot: &Option<(Offset, Vec<u8>)>) -> Result<(), DiskError> {
        if let Some((offset, bytes)) = snapshot {
            self.write_small(&self.file_path(*offset, SegmentFileKind::ProducerSnapshot), bytes).await?;
            self.sync_names().await?;
        }
        Ok(())
    }

    async fn write_checkpoint(
        &self,
        end: Offset,
        snapshot: Option<(Offset, Vec<u8>)>,
    ) -> Result<(), DiskError> {
        self.write_active_indexes(IndexWrite::Synced).await?;
        self.write_epochs().await?;
        if let Some((offset, bytes)) = &snapshot {
            assert_eq!(*offset, end, "a snapshot is taken at the log's end");
            self.write_small(&self.file_path(end, SegmentFileKind::ProducerSnapshot), bytes).await?;
        }
        self.settle().await?;
        let (recovery_point, high_watermark, stale) = {
            let mut state = self.state.borrow_mut();
            if snapshot.is_some() {
                state.log.note_snapshot(end);
            }
            state.log.advance_recovery_point(end);
            if self.synced_together.get() {
                // The log dir takes the offsets over from the note of the stop, when everything is synced.
                return Ok(());
            }
            (state.log.recovery_point(), state.log.high_watermark(), state.log.retire_snapshots())
        };
        self.dir.set_offset(OffsetsKind::RecoveryPoint, &self.name, recovery_point);
        self.dir.set_offset(OffsetsKind::HighWatermark, &self.name, high_watermark);
        for offset in stale {
            let path = self.file_path(offset, SegmentFileKind::ProducerSnapshot);
            if let Err(error) = host::remove_file(&path).await {
                tracing::debug!("cannot remove {}: {error}", path.display());
            }
        }
        Ok(())
    }

    /// Writes the entries of the active segment's indexes that are not in their files, and lets go of all but the
    /// newest in memory. The caller has the turn for housekeeping.
    pub(super) async fn write_active_indexes(&self, how: IndexWrite) -> Result<(), DiskError> {
        let (base, entries) = {
            let state = self.state.borrow();
            let active = state.log.active_segment();
            (active.base_offset(), IndexBytes::behind(state.index_files, active.indexes()))
        };
        self.write_indexes(base, &entries, how).await?;
        let mut state = self.state.borrow_mut();
        // After a roll in between the closed segment is finished from where its files were before.
        if state.log.active_segment().base_offset() == base {
            state.index_files = entries.end;
            let IndexFiles { offsets, times, aborted } = entries.end;
            state.log.release_indexes(INDEX_ENTRIES_KEPT, EntryCounts { offsets, times, aborted });
        }
        Ok(())
    }

    /// Keeps the memory of a busy segment's indexes small.
    fn spill_indexes(self: &Rc<Self>) {
        let bytes = self.state.borrow().log.active_segment().indexes().memory_bytes();
        if bytes < INDEX_BYTES_SPILLED {
            return;
        }
        let Some(turn) = self.housekeeping.try_acquire(1) else { return };
        let partition = Rc::clone(self);
        drop(host::spawn_in(Queue::Background, async move {
            let result = partition.write_active_indexes(IndexWrite::Spilled).await;
            drop(turn);
            if let Err(DiskError::Io(failure)) = result {
                partition.housekeeping_failed(&failure);
            }
        }));
    }

    /// Takes over as the leader of `epoch`. The epoch is in its checkpoint before this returns where followers may
    /// ask for it (KAFKA-7415), else before the next checkpoint of the log.
    ///
    /// # Errors
    /// When the checkpoint cannot be written.
    pub async fn become_leader(self: &Rc<Self>, epoch: ottla::ids::LeaderEpoch) -> Result<(), DiskError> {
        self.check()?;
        let must_write = {
            let mut state = self.state.borrow_mut();
            let known = state.log.leader_epoch();
            if known > epoch {
                tracing::warn!(
                    "{}: its files know leader epoch {}, and the metadata says {}, which holds",
                    self.name,
                    known.0,
                    epoch.0
                );
            }
            let changed = state.log.become_leader(epoch);
            state.epochs_dirty |= changed;
            changed && state.log.is_replicated()
        };
        if must_write {
            let _turn = self.housekeeping_turn().await?;
            self.write_epochs().await?;
        }
        Ok(())
    }

    /// Cuts off every record before `offset` (-1: before the high watermark); the new log start offset is durable
    /// when this returns. The segments go with the next retention.
    ///
    /// # Errors
    /// `OFFSET_OUT_OF_RANGE` above the high watermark; the disk's failures.
    pub async fn delete_records(self: &Rc<Self>, offset: Offset) -> Result<Offset, DiskError> {
        self.check()?;
        let offsets = self.offsets();
        let offset = if offset == Offset::NONE { offsets.high_watermark } else { offset };
        if offset > offsets.durable_end && offset <= offsets.high_watermark {
            // A start that is durable before what lies before it would look like a log that has lost its end.
            self.hasten(offset);
            self.wait_durable(offset).await?;
        }
        let start = {
            let mut state = self.state.borrow_mut();
            let offsets = state.log.offsets();
            let changed = state.log.delete_records_to(offset).map_err(|_| DiskError::OutOfRange {
                offset,
                start: offsets.log_start,
                end: offsets.high_watermark,
            })?;
            state.epochs_dirty |= changed;
            state.log.log_start_offset()
        };
        self.dir.set_offset(OffsetsKind::LogStart, &self.name, start);
        if !canary::is(Canary::DeletionEarly) {
            self.dir.write_offsets(OffsetsKind::LogStart).await?;
        }
        Ok(start)
    }
}
