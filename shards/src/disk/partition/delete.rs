//! Letting go: old segments by retention, and whole partitions.
//!
//! A file is renamed first, so that it counts no more, and removed after `file.delete.delay.ms` in the background, so
//! that readers that were given it finish. What is left over by a crash the next start removes.
//!
//! What must hold: before the last segment that holds records goes, the file of the next one exists durably: its name
//! is all that remembers the log's end; and the recovery point on disk lies behind everything that goes, with a durable
//! snapshot of its producers. No file is made here while the segment before it lacks what only the journal has: a start
//! takes a segment that is followed by another one to be whole.

use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use ottla::canary::{self, Canary};
use ottla::ids::Offset;
use ottla::log::files::{FileStage, SegmentFile, SegmentFileKind};
use ottla::log::retention::{Retention, Retired};
use ottla::metrics::Counter;

use super::{Partition, Retiring};
use crate::disk::dirs::{OffsetsKind, remove_whole};
use crate::disk::error::DiskError;
use crate::host::{self, Queue};

impl Partition {
    /// Lets go of the segments that `retention.ms`, `retention.bytes` and the log start offset no longer keep; their
    /// files are removed `delay` (`file.delete.delay.ms`) later. Idle producers are forgotten on the way
    /// (`producer.id.expiration.ms`). Returns how many segments went.
    ///
    /// # Errors
    /// The disk's failures.
    pub async fn enforce_retention(self: &Rc<Self>, delay: Duration) -> Result<usize, DiskError> {
        self.check()?;
        self.state.borrow_mut().log.expire_producers(host::now());
        // Its closed segments stay what they are while the log is cleaned; what is due goes with the next retention.
        let Some(_turn) = self.cleaning.turn.try_acquire(1) else { return Ok(0) };
        loop {
            let retention = self.state.borrow_mut().log.enforce_retention(host::now(), host::wall_ms());
            match retention {
                Retention::Done(retired) => {
                    self.take_leave(retired);
                    return self.retire(delay).await;
                }
                Retention::NeedsLargest { segment_base } => self.read_largest_timestamp(segment_base).await?,
            }
        }
    }

    /// Takes over what the log has let go of: it is the log's no more, and its files go as soon as they may.
    fn take_leave(self: &Rc<Self>, retired: Retired) {
        if retired.is_empty() {
            return;
        }
        let Retired { segments, snapshots, roll, epochs_changed } = retired;
        self.untouched.set(false);
        let mut state = self.state.borrow_mut();
        if let Some(roll) = roll {
            self.begin_segment(&mut state, *roll);
        }
        state.epochs_dirty |= epochs_changed;
        state.retiring.segments.extend(segments);
        state.retiring.snapshots.extend(snapshots);
        // Even where only the epochs have changed.
        state.retiring.begun = true;
    }

    /// Removes the files of everything that the log has let go of. What fails here, as on a full disk, is left for the
    /// next time.
    pub(super) async fn retire(self: &Rc<Self>, delay: Duration) -> Result<usize, DiskError> {
        let (seen, active) = {
            let state = self.state.borrow();
            if !state.retiring.begun {
                return Ok(0);
            }
            (state.log.log_start_offset(), state.log.active_segment().base_offset())
        };
        match self.prepare_to_retire().await {
            Err(error) if error.may_be_retried() => self.keep_known_producers().await?,
            prepared => prepared?,
        }
        let turn = self.housekeeping_turn().await?;
        if self.synced_together.get() {
            // Nothing that a start would go by is durable yet: it finds them below the log's start.
            return Ok(0);
        }
        let created = self.create_segment(self.first_that_may_follow(active)?).await;
        created.inspect_err(|failure| self.housekeeping_failed(failure))?;
        // As it is now: DeleteRecords may have moved it on while this waited.
        let start = match canary::is(Canary::DeletionTakenBack) {
            true => seen,
            false => self.state.borrow().log.log_start_offset(),
        };
        self.dir.set_offset(OffsetsKind::LogStart, &self.name, start);
        if !canary::is(Canary::EndForgotten) {
            self.dir.write_offsets(OffsetsKind::LogStart).await?;
        }
        let Retiring { segments, snapshots, .. } = std::mem::take(&mut self.state.borrow_mut().retiring);
        let mut files = Vec::new();
        for segment in &segments {
            self.forget_segment(segment.base_offset);
            for kind in SegmentFileKind::ALL {
                self.rename_deleted(segment.base_offset, kind, &mut files).await;
            }
        }
        for offset in snapshots {
            self.rename_deleted(offset, SegmentFileKind::ProducerSnapshot, &mut files).await;
        }
        drop(turn);
        self.disk.remove_later(files, delay);
        self.disk.metrics.add(Counter::SegmentsDeleted, segments.len() as u64);
        Ok(segments.len())
    }

    /// Removes what an earlier retention could not, at the end of the partition: nobody would know of it any more.
    pub(super) async fn retire_rest(self: &Rc<Self>) -> Result<(), DiskError> {
        if self.state.borrow().retiring.begun {
            let _turn = self.cleaning.turn.acquire(1).await;
            self.retire(Duration::ZERO).await?;
        }
        Ok(())
    }

    /// Has everything durable that a start will go by once the old segments are gone.
    async fn prepare_to_retire(self: &Rc<Self>) -> Result<(), DiskError> {
        self.finish_closed_segments();
        self.finish_and_settle().await?;
        self.keep_producers().await
    }

    /// The same on a full disk, which takes none of the newest records: the recovery point moves only to where the
    /// first segment that stays begins, as far as the snapshot that was written there goes. That is enough for the
    /// old segments to go, and their room is what the others wait for.
    async fn keep_known_producers(self: &Rc<Self>) -> Result<(), DiskError> {
        let turn = self.housekeeping_turn().await?;
        let first = {
            let state = self.state.borrow();
            let first = state.log.first_base_offset();
            let is_written = state.unfinished.values().all(|closed| closed.snapshot.0 != first);
            let is_known = is_written && state.log.snapshots().contains(&first);
            let is_durable = state.log.offsets().durable_end >= first;
            if state.log.needs_checkpoint_to_retire() && !(is_known && is_durable) {
                return Err(self.no_room());
            }
            first
        };
        self.settle().await.inspect_err(|failure| self.housekeeping_failed(failure))?;
        let recovery_point = {
            let mut state = self.state.borrow_mut();
            if state.log.needs_checkpoint_to_retire() {
                state.log.advance_recovery_point(first);
            }
            state.log.recovery_point()
        };
        drop(turn);
        self.dir.set_offset(OffsetsKind::RecoveryPoint, &self.name, recovery_point);
        self.dir.write_offsets(OffsetsKind::RecoveryPoint).await
    }

    /// The segment at or before `active` whose file may be made: everything before it is whole in the segments' files.
    /// On a full disk that may be an older one than `active`, and remembers as well that the log did not end before it.
    fn first_that_may_follow(&self, active: Offset) -> Result<Offset, DiskError> {
        let state = self.state.borrow();
        let unwritten = state.tails.iter().find(|segment| segment.tail.pending_bytes() > 0);
        let may_follow = unwritten.map_or(active, |segment| segment.base.min(active));
        if may_follow < state.log.first_base_offset() {
            return Err(self.no_room());
        }
        Ok(may_follow)
    }

    /// Sees to it that a start after a crash knows the producers of the segments that go: where the recovery point lies
    /// before the first that stays, the snapshot that the start would begin with went with the others.
    async fn keep_producers(self: &Rc<Self>) -> Result<(), DiskError> {
        if self.state.borrow().log.needs_checkpoint_to_retire() {
            self.checkpoint().await?;
        }
        self.dir.write_offsets(OffsetsKind::RecoveryPoint).await
    }

    fn forget_segment(&self, base: Offset) {
        self.forget_files(base);
        self.forget_generation(base);
        let mut state = self.state.borrow_mut();
        state.tails.retain(|segment| segment.base != base);
        // Whoever would finish it waits for room, and would find its file gone.
        state.unfinished.remove(&base);
        drop(state);
        self.progress.notify_all();
    }

    async fn rename_deleted(&self, base: Offset, kind: SegmentFileKind, renamed: &mut Vec<PathBuf>) {
        let from = self.file_path(base, kind);
        let to = SegmentFile::live(base, kind).at_stage(FileStage::Deleted);
        let to = self.path.join(to.to_string());
        match host::rename(&from, &to).await {
            Ok(()) => renamed.push(to),
            // Not every segment has every file.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            // A full disk may have no block for the longer name, and the log knows the file no more.
            Err(error) => {
                tracing::debug!("cannot rename {}: {error}", from.display());
                if let Err(error) = host::remove_file(&from).await {
                    tracing::warn!("cannot remove {}: {error}", from.display());
                }
            }
        }
    }

    /// Deletes the partition: it ends for everybody at once, its directory is renamed durably before this returns,
    /// and removed `delay` (`file.delete.delay.ms`) later; on a full disk at once.
    ///
    /// # Errors
    /// When the directory can neither be renamed nor removed: its log dir is offline then.
    pub async fn delete(self: &Rc<Self>, delay: Duration) -> Result<(), DiskError> {
        self.dir.check()?;
        if std::mem::replace(&mut self.state.borrow_mut().closed, true) {
            return Err(DiskError::Closed);
        }
        self.end_waits(&DiskError::Closed);
        // Nothing may look for its files by their old names any more.
        let _cleaning = self.cleaning.turn.acquire(1).await;
        self.wait_idle().await;
        let turn = self.housekeeping.acquire(1).await;
        let gone = match canary::is(Canary::DirectoryReused) {
            true => Ok(None),
            false => self.dir.take_away(&self.name).await,
        };
        let gone = gone.inspect_err(|failure| self.dir.fail(failure))?;
        self.dir.sync_names().await?;
        self.dir.forget(&self.name);
        self.leave_journal();
        self.disk.unregister(self);
        self.dir.remove_open();
        self.let_go();
        drop(turn);
        let partition = Rc::clone(self);
        drop(host::spawn_in(Queue::Background, async move {
            host::sleep(delay).await;
            drop(partition);
            if let Some(gone) = gone {
                remove_whole(&gone).await;
            }
        }));
        Ok(())
    }

    /// Gives back the descriptors and cached indexes of every segment.
    pub(super) fn let_go(&self) {
        let bases: Vec<Offset> = {
            let state = self.state.borrow();
            let closed = state.log.closed_segments().map(|segment| segment.base_offset);
            closed.chain(std::iter::once(state.log.active_segment().base_offset())).collect()
        };
        for base in bases {
            self.forget_files(base);
        }
    }

    /// Waits until no write of this partition is in flight and no file of it is being made.
    pub(super) async fn wait_idle(&self) {
        drop(self.naming.acquire(1).await);
        loop {
            let busy = {
                let state = self.state.borrow();
                let in_flight =
                    |segment: &super::SegmentTail| segment.tail.is_flushing() || segment.zero.is_busy();
                !self.dir.is_offline() && state.tails.iter().any(in_flight)
            };
            if !busy {
                return;
            }
            self.progress.notified().await;
        }
    }
}

impl crate::disk::ShardDisk {
    /// Removes files of this shard's partitions after a while.
    pub(in crate::disk) fn remove_later(self: &Rc<Self>, files: Vec<PathBuf>, delay: Duration) {
        if files.is_empty() {
            return;
        }
        drop(host::spawn_in(Queue::Background, async move {
            host::sleep(delay).await;
            for file in files {
                match host::remove_file(&file).await {
                    Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                        tracing::warn!(
                            "cannot remove {}: {error}; the next start tries again",
                            file.display()
                        );
                    }
                    Ok(()) | Err(_) => {}
                }
            }
        }));
    }
}
