//! The orderly end of a partition: everything written, every file cut to what it holds, and a note of how it was left.
//!
//! What must hold: after it has returned, the files hold the whole log and their indexes, all durable; the note that
//! goes to the clean archive says exactly what is in them.

use std::rc::Rc;

use ottla::ids::Offset;
use ottla::log::producer_snapshot::encode_snapshot;
use ottla::log::{ActiveSegment, ClosedSegment, TimestampOffset};

use super::Partition;
use super::files::IndexWrite;
use crate::disk::clean::{CleanActive, CleanEpoch, CleanIndex, CleanPartition, CleanSegment, CleanTimestamp};
use crate::disk::error::{Context as _, DiskError};

impl Partition {
    /// Ends the partition: no append is taken any more, what was appended is written, the files are left as a clean
    /// start expects them. The log dir learns how it was left.
    ///
    /// # Errors
    /// When something cannot be written; the next start recovers the partition then.
    pub async fn close(self: &Rc<Self>) -> Result<(), DiskError> {
        self.check()?;
        let turn = self.turn.acquire(1).await;
        if !self.is_as_left() {
            self.checkpoint().await?;
        }
        self.retire_rest().await?;
        {
            let mut state = self.state.borrow_mut();
            assert_eq!(state.pending_bytes(), 0, "whoever appends has the turn");
            state.closed = true;
        }
        drop(turn);
        // A cleaning under way ends at its next step, and leaves the log as it is then.
        let _cleaning = self.cleaning.turn.acquire(1).await;
        self.wait_idle().await;
        let result = if self.is_as_left() { Ok(()) } else { self.trim().await };
        if let Err(DiskError::Io(failure)) = &result {
            self.housekeeping_failed(failure);
        }
        self.end_waits(&DiskError::Closed);
        self.leave_journal();
        self.disk.unregister(self);
        self.let_go();
        result?;
        if let Some(clean) = self.describe() {
            self.dir.add_closed(clean);
        }
        self.dir.remove_open();
        Ok(())
    }

    /// Like [`close`](Partition::close), for one of very many: its files are durable only when
    /// [`LogDir::finish_clean`](crate::disk::LogDir::finish_clean) has synced the whole file system, and no checkpoint
    /// relies on them before.
    ///
    /// # Errors
    /// Those of [`close`](Partition::close).
    pub async fn close_with_others(self: &Rc<Self>) -> Result<(), DiskError> {
        self.dir.sync_at_finish();
        self.synced_together.set(true);
        let result = self.close().await;
        self.synced_together.set(result.is_ok());
        result
    }

    /// Whether a clean stop has nothing to do to its files: nothing was written, rolled or pending since they
    /// were left so.
    pub fn is_as_left(&self) -> bool {
        let state = self.state.borrow();
        self.untouched.get()
            && state.log.log_end_offset() == state.log.recovery_point()
            && state.unfinished.is_empty()
            && state.unsettled.is_empty()
            && state.log.active_segment().is_largest_indexed()
            && (!state.epochs_dirty || state.log.log_end_offset() == Offset::ZERO)
    }

    /// Cuts the active segment to its bytes. Beside its file stand its indexes even when they are empty: a broker of
    /// Kafka's takes a segment without them for damaged and reads it whole. The time index ends with the largest
    /// timestamp, by which Kafka's retention goes after its next start.
    async fn trim(self: &Rc<Self>) -> Result<(), DiskError> {
        let (base, bytes) = {
            let state = self.state.borrow();
            let active = state.log.active_segment();
            (active.base_offset(), active.bytes())
        };
        let turn = self.housekeeping.acquire(1).await;
        self.state.borrow_mut().log.index_largest_timestamp();
        self.remove_spare().await;
        let has_file = self.state.borrow_mut().active().created || base.0 > 0;
        if has_file {
            let path = self.segment_path(base);
            let file = self.block_file(base).await?;
            if file.len().await.at("examine", &path)? != bytes {
                file.set_len(bytes).await.at("cut", &path)?;
                self.sync_file(&file, &path).await?;
            }
        }
        let how = if has_file { IndexWrite::Finished } else { IndexWrite::Synced };
        self.write_active_indexes(how).await?;
        drop(turn);
        Ok(())
    }

    /// How the partition was left; `None` where that takes a look at its files.
    fn describe(&self) -> Option<CleanPartition> {
        let state = self.state.borrow();
        let log = &state.log;
        let created = state.tails.back().is_some_and(|active| active.created);
        let epochs = log.epochs().entries().iter();
        Some(CleanPartition {
            topic: self.name.topic.to_string(),
            partition: self.name.partition,
            topic_id: self.topic_id.0,
            log_start_offset: log.log_start_offset().0,
            log_end_offset: log.log_end_offset().0,
            high_watermark: log.high_watermark().0,
            closed: log.closed_segments().map(describe_closed).collect(),
            active: describe_active(log.active_segment(), created)?,
            epochs: epochs
                .map(|entry| CleanEpoch { epoch: entry.epoch.0, start_offset: entry.start_offset.0 })
                .collect(),
            producers: encode_snapshot(log.producers()),
            snapshots: log.snapshots().iter().map(|offset| offset.0).collect(),
        })
    }
}

fn describe_timestamp(largest: TimestampOffset) -> CleanTimestamp {
    CleanTimestamp { timestamp_ms: largest.timestamp.0, offset: largest.offset.0 }
}

fn describe_closed(segment: &ClosedSegment) -> CleanSegment {
    CleanSegment {
        base_offset: segment.base_offset.0,
        bytes: segment.bytes,
        largest: segment.largest_timestamp.map(describe_timestamp),
        modified_ms: segment.modified.0,
        has_aborted: segment.has_aborted,
    }
}

fn describe_active(active: &ActiveSegment, created: bool) -> Option<CleanActive> {
    let indexes = active.indexes();
    if indexes.aborted.released() > 0 {
        return None;
    }
    Some(CleanActive {
        base_offset: active.base_offset().0,
        created,
        bytes: active.bytes(),
        largest: describe_timestamp(active.largest_timestamp()),
        first_timestamp_ms: active.first_timestamp().map(|first| first.0),
        modified_ms: active.modified().0,
        bytes_since_entry: active.bytes_since_entry(),
        offsets: last_entry(indexes.offsets.len(), |from| indexes.offsets.encode_from(from)),
        times: last_entry(indexes.times.len(), |from| indexes.times.encode_from(from)),
        aborted: indexes.aborted.encode_from(0),
    })
}

fn last_entry(entries: usize, encode_from: impl Fn(usize) -> Vec<u8>) -> CleanIndex {
    let Some(last) = entries.checked_sub(1) else { return CleanIndex::default() };
    let skipped_entries = u32::try_from(last).expect("a segment has fewer than 2^32 index entries");
    CleanIndex { skipped_entries, bytes: encode_from(last) }
}
