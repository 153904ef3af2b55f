//! What a log lets go of: whole segments by age, by size and by the log start offset, and everything when it starts
//! anew.
//!
//! Owned by the partition's owner shard. The rules are Kafka's (`UnifiedLog.deleteOldSegments`): oldest first, never
//! at or above the high watermark, and the active segment only where nothing of it is worth keeping. The core lets
//! go at once; the shell renames the files to `.deleted` and removes them after `file.delete.delay.ms`, so that
//! reads under way finish. After a crash in between, the log start offset checkpoint hides what is still there.

use super::append::Roll;
use super::partition_log::Log;
use super::producers::Producers;
use super::segment::{ActiveSegment, ClosedSegment};
use crate::errors::ErrorCode;
use crate::ids::{Offset, TimestampMs};
use crate::time::Monotonic;

/// What the log let go of, for the shell to remove.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Retired {
    /// Segments whose files are no part of the log any more.
    pub segments: Vec<ClosedSegment>,
    /// Producer snapshots that no start needs any more.
    pub snapshots: Vec<Offset>,
    /// The roll that made room for the last segment to go; its closed segment is among `segments`.
    pub roll: Option<Box<Roll>>,
    /// The leader epoch checkpoint changed.
    pub epochs_changed: bool,
}

impl Retired {
    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.segments.is_empty() && self.snapshots.is_empty() && self.roll.is_none() && !self.epochs_changed
    }
}

/// What retention decides.
#[derive(Debug, PartialEq, Eq)]
pub enum Retention {
    /// It has let go of this, perhaps of nothing.
    Done(Retired),
    /// The last entry of this segment's time index has to be read first, and
    /// [`Log::set_largest_timestamp`] called; then ask again.
    NeedsLargest {
        /// The segment's base offset.
        segment_base: Offset,
    },
}

/// A segment as retention sees it.
struct Candidate {
    bytes: u64,
    /// The offset behind its last one.
    end: Offset,
    is_active: bool,
    /// Its largest timestamp; `None` where that is still in a file.
    latest: Option<TimestampMs>,
}

impl Log {
    /// Lets go of the segments that `retention.ms`, `retention.bytes` and the log start offset no longer keep.
    pub fn enforce_retention(&mut self, now: Monotonic, now_wall: TimestampMs) -> Retention {
        // `None` where the log is smaller than it may be; at just that size the empty segments that the cleaner
        // leaves go.
        let mut surplus = match self.config.retention_bytes {
            Some(kept) if self.config.delete => self.bytes().checked_sub(kept),
            Some(_) | None => None,
        };
        let mut count = 0;
        for at in 0..=self.closed.len() {
            let segment = self.candidate(at);
            if self.high_watermark < segment.end || (segment.is_active && segment.bytes == 0) {
                break;
            }
            let outside = !segment.is_active && segment.end <= self.log_start_offset;
            let too_much = surplus.is_some_and(|surplus| surplus >= segment.bytes);
            if !outside && !too_much {
                match self.is_expired(&segment, now_wall) {
                    Some(true) => {}
                    Some(false) => break,
                    None => {
                        return Retention::NeedsLargest { segment_base: self.closed[at].base_offset };
                    }
                }
            }
            surplus = surplus.and_then(|surplus| surplus.checked_sub(segment.bytes));
            count += 1;
        }
        Retention::Done(self.retire(count, now))
    }

    fn candidate(&self, at: usize) -> Candidate {
        // Kafka goes by the file's age where no record has a timestamp.
        let or_modified = |latest: TimestampMs, modified: TimestampMs| {
            if latest > TimestampMs::NONE { latest } else { modified }
        };
        match self.closed.get(at) {
            Some(segment) => Candidate {
                bytes: segment.bytes,
                end: self.closed.get(at + 1).map_or(self.active.base_offset(), |next| next.base_offset),
                is_active: false,
                latest: segment
                    .largest_timestamp
                    .map(|largest| or_modified(largest.timestamp, segment.modified)),
            },
            None => Candidate {
                bytes: self.active.bytes(),
                end: self.log_end_offset,
                is_active: true,
                latest: Some(or_modified(self.active.largest_timestamp().timestamp, self.active.modified())),
            },
        }
    }

    fn is_expired(&self, segment: &Candidate, now_wall: TimestampMs) -> Option<bool> {
        match self.config.retention_ms {
            Some(kept_ms) if self.config.delete => {
                segment.latest.map(|latest| now_wall.0.saturating_sub(latest.0) > kept_ms)
            }
            Some(_) | None => Some(false),
        }
    }

    /// Lets go of the oldest `count` segments; where the active one is among them, a new one takes its place.
    fn retire(&mut self, count: usize, now: Monotonic) -> Retired {
        let roll = (count > self.closed.len()).then(|| Box::new(self.roll_to(self.log_end_offset, now)));
        let segments: Vec<_> = self.closed.drain(..count).collect();
        let (first, _) = self.segment_of(Offset::ZERO);
        let mut retired = Retired { segments, roll, ..Retired::default() };
        if count > 0 {
            retired.epochs_changed = self.move_log_start(first.max(self.log_start_offset));
            let kept = self.snapshots.split_off(&first);
            retired.snapshots = std::mem::replace(&mut self.snapshots, kept).into_iter().collect();
        }
        retired
    }

    /// Whether a start after a crash would find no snapshot to begin with among the segments that are left. Before the
    /// files of older ones go the recovery point has to move on then: the producers that they alone tell of are in its
    /// snapshot afterwards.
    #[must_use]
    pub fn needs_checkpoint_to_retire(&self) -> bool {
        let (first, _) = self.segment_of(Offset::ZERO);
        let newest = self.snapshots.range(..=self.recovery_point).next_back();
        newest.is_none_or(|snapshot| *snapshot < first)
    }

    /// The base offset of the oldest segment.
    #[must_use]
    pub fn first_base_offset(&self) -> Offset {
        self.segment_of(Offset::ZERO).0
    }

    /// Lets DeleteRecords or a leader's log start offset cut off everything before `offset`; -1 stands for the high
    /// watermark. Returns whether the leader epoch checkpoint changed; segments go with the next retention.
    ///
    /// # Errors
    /// `OFFSET_OUT_OF_RANGE` above the high watermark, or for any other negative offset.
    pub fn delete_records_to(&mut self, offset: Offset) -> Result<bool, ErrorCode> {
        let offset = if offset == Offset::NONE { self.high_watermark } else { offset };
        if offset.0 < 0 || offset > self.high_watermark {
            return Err(ErrorCode::OffsetOutOfRange);
        }
        Ok(offset > self.log_start_offset && self.move_log_start(offset))
    }

    fn move_log_start(&mut self, offset: Offset) -> bool {
        assert!(offset >= self.log_start_offset, "a log start offset never falls");
        assert!(offset <= self.high_watermark, "what is not replicated is not deleted");
        self.log_start_offset = offset;
        self.producers.on_log_start_offset(offset);
        self.epochs.truncate_from_start(offset)
    }

    /// Lets go of everything and begins again at `offset`, as a follower does whose leader's log begins behind its
    /// own end. The shell moves the old files away before it creates those of the new segment.
    pub fn start_anew(&mut self, offset: Offset, now: Monotonic) -> Retired {
        let mut segments: Vec<_> = self.closed.drain(..).collect();
        let next = ActiveSegment::new(offset, &self.config, now);
        let (last, _) = std::mem::replace(&mut self.active, next).close();
        segments.push(last);
        self.tail.clear();
        self.producers = Producers::new(offset, self.config.producers_max);
        self.log_start_offset = offset;
        self.log_end_offset = offset;
        self.durable_end_offset = offset;
        self.high_watermark = offset;
        self.recovery_point = offset;
        Retired {
            segments,
            snapshots: std::mem::take(&mut self.snapshots).into_iter().collect(),
            roll: None,
            epochs_changed: self.epochs.clear(),
        }
    }
}

#[cfg(test)]
mod tests;
