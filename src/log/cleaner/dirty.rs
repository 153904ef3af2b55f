//! What of a log is dirty, how much of that may be cleaned, and how urgent it is.
//!
//! Owned by the partition's owner shard. The first dirty offset of a log is in its log dir's
//! `cleaner-offset-checkpoint`, which only saves work: without it the whole log is dirty. The rules are those of
//! Kafka's `LogCleanerManager.cleanableOffsets` and `grabFilthiestCompactedLog`.
//!
//! What must hold: nothing at or above the last stable offset is cleaned, nor the active segment, nor a segment with a
//! record that is younger than `min.compaction.lag.ms`, nor anything behind such a segment.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use crate::ids::{Offset, TimestampMs};
use crate::log::partition_log::Log;

/// Thousandths of thousandths: what a dirty ratio is counted in.
pub const RATIO_ONE: u32 = 1_000_000;

/// The part of a log that a cleaning would look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cleanable {
    /// Records from here on were never cleaned.
    pub first_dirty: Offset,
    /// The base offset of the first segment that must not be cleaned.
    pub upper: Offset,
    /// Bytes of the segments before the first dirty offset.
    pub clean_bytes: u64,
    /// Bytes of the dirty segments before `upper`.
    pub dirty_bytes: u64,
    /// A dirty record is older than `max.compaction.lag.ms`, by so many milliseconds; 0 where none is.
    pub overdue_ms: i64,
    /// The checkpoint named an offset that the log does not have: write the first dirty offset in its place.
    pub is_reset: bool,
}

impl Cleanable {
    /// Whether the log is to be cleaned: it is dirtier than `min_ratio`, in [`RATIO_ONE`]ths, or overdue.
    #[must_use]
    pub fn is_due(&self, min_ratio: u32) -> bool {
        let total = u128::from(self.clean_bytes) + u128::from(self.dirty_bytes);
        let dirtier = u128::from(self.dirty_bytes) * u128::from(RATIO_ONE) > total * u128::from(min_ratio);
        self.dirty_bytes > 0 && (dirtier || self.overdue_ms > 0)
    }

    /// The part of the log's closed bytes that was never cleaned; 0 of an empty log.
    #[must_use]
    pub fn ratio(&self) -> f64 {
        let total = self.clean_bytes as f64 + self.dirty_bytes as f64;
        if total > 0.0 { self.dirty_bytes as f64 / total } else { 0.0 }
    }

    /// Orders logs by their dirty ratio: the greatest is cleaned first.
    #[must_use]
    pub fn compare(&self, other: &Cleanable) -> Ordering {
        let total = |one: &Cleanable| u128::from(one.clean_bytes) + u128::from(one.dirty_bytes);
        let left = u128::from(self.dirty_bytes) * total(other);
        left.cmp(&(u128::from(other.dirty_bytes) * total(self)))
    }
}

/// What a look at a log finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DirtyLook {
    /// This, which may be nothing at all.
    Found(Cleanable),
    /// Read the last entry of this segment's time index, call [`Log::set_largest_timestamp`] and look again.
    NeedsLargest {
        /// The segment's base offset.
        segment_base: Offset,
    },
    /// Read the max timestamp of this segment's first batch (-1 where it has none), note it and look again.
    NeedsFirst {
        /// The segment's base offset.
        segment_base: Offset,
    },
}

impl Log {
    /// How dirty the log is at `now`, where `checkpoint` is its first dirty offset as it was noted last. `first` are
    /// the max timestamps of the first batches of closed segments, as far as they were read.
    #[must_use]
    pub fn look_for_dirt(
        &self,
        checkpoint: Option<Offset>,
        now: TimestampMs,
        first: &BTreeMap<Offset, TimestampMs>,
    ) -> DirtyLook {
        let noted = checkpoint.unwrap_or(self.log_start_offset);
        let is_reset = noted < self.log_start_offset || noted > self.log_end_offset;
        let first_dirty = if is_reset { self.log_start_offset } else { noted };
        let dirty = self.segments_from(first_dirty);
        let lagging = match self.first_lagging(dirty, now) {
            Ok(lagging) => lagging,
            Err(segment_base) => return DirtyLook::NeedsLargest { segment_base },
        };
        let overdue_ms = match self.overdue_ms(dirty, now, first) {
            Ok(overdue_ms) => overdue_ms,
            Err(segment_base) => return DirtyLook::NeedsFirst { segment_base },
        };
        let bound = self.last_stable_offset().min(self.active.base_offset());
        let bound = lagging.map_or(bound, |lagging| lagging.min(bound)).max(first_dirty);
        let upper = self.segment_of(bound).0.min(self.active.base_offset());
        let before = |offset: Offset| self.closed.partition_point(|segment| segment.base_offset < offset);
        let bytes = |from: usize, to: usize| {
            self.closed.range(from.min(to)..to).map(|segment| segment.bytes).sum::<u64>()
        };
        DirtyLook::Found(Cleanable {
            first_dirty,
            upper,
            clean_bytes: bytes(0, before(first_dirty)),
            dirty_bytes: bytes(self.closed.len() - dirty, before(upper)),
            overdue_ms,
            is_reset,
        })
    }

    /// How many closed segments hold `offset` or a later one.
    fn segments_from(&self, offset: Offset) -> usize {
        if offset >= self.active.base_offset() {
            return 0;
        }
        let after = self.closed.partition_point(|segment| segment.base_offset <= offset);
        self.closed.len() - after.saturating_sub(1)
    }

    /// The first of the last `dirty` closed segments with a record that is too young.
    fn first_lagging(&self, dirty: usize, now: TimestampMs) -> Result<Option<Offset>, Offset> {
        let lag_ms = self.config.min_compaction_lag_ms;
        if lag_ms <= 0 {
            return Ok(None);
        }
        for segment in self.closed.iter().skip(self.closed.len() - dirty) {
            let largest = segment.largest_timestamp.ok_or(segment.base_offset)?.timestamp;
            let largest = if largest > TimestampMs::NONE { largest } else { segment.modified };
            if largest.0 > now.0.saturating_sub(lag_ms) {
                return Ok(Some(segment.base_offset));
            }
        }
        Ok(None)
    }

    /// By how much the oldest of the last `dirty` closed segments has passed `max.compaction.lag.ms`.
    fn overdue_ms(
        &self,
        dirty: usize,
        now: TimestampMs,
        first: &BTreeMap<Offset, TimestampMs>,
    ) -> Result<i64, Offset> {
        let lag_ms = self.config.max_compaction_lag_ms;
        if lag_ms == i64::MAX {
            return Ok(0);
        }
        let mut earliest = i64::MAX;
        for segment in self.closed.iter().skip(self.closed.len() - dirty) {
            let timestamp = first.get(&segment.base_offset).ok_or(segment.base_offset)?;
            if timestamp.0 > 0 {
                earliest = earliest.min(timestamp.0);
            }
        }
        Ok(now.0.saturating_sub(lag_ms.max(0)).saturating_sub(earliest).max(0))
    }
}
