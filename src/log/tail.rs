//! Where the newest batches begin, so that a consumer at the log's end costs no look into any file.
//!
//! Owned by the partition's owner shard, in its [`Log`](super::partition_log::Log); nothing of it is on disk. The
//! offset index knows one batch per 4 KiB and the consumer that keeps up asks for the very last ones: for those
//! each boundary is kept, 24 bytes per batch. Such a read, its end at a whole batch, and the positions of the high
//! watermark and of a flush are then exact without a scan. Readers further behind use the index and walk headers.
//!
//! Invariants: boundaries rise by offset, and every batch from the first one to the log's end has its own. At
//! least [`TAIL_BATCHES`] are kept where there are as many, more while they are above the high watermark, never
//! more than [`TAIL_BATCHES_MAX`].

use std::collections::VecDeque;

use super::segment::LogPosition;
use crate::ids::{FilePosition, Offset};
use crate::limits::{TAIL_BATCHES, TAIL_BATCHES_MAX};

/// A batch in 24 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Boundary {
    base_offset: Offset,
    segment_base: Offset,
    position: u32,
    last_offset_delta: i32,
}

impl Boundary {
    fn place(&self) -> LogPosition {
        LogPosition {
            offset: self.base_offset,
            segment_base: self.segment_base,
            position: FilePosition(u64::from(self.position)),
        }
    }

    fn last_offset(&self) -> Offset {
        Offset(self.base_offset.0 + i64::from(self.last_offset_delta))
    }
}

/// The boundaries of the newest batches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tail {
    boundaries: VecDeque<Boundary>,
}

impl Tail {
    /// Notes a batch that was appended at the log's end.
    pub fn push(&mut self, batch: LogPosition, last_offset: Offset, high_watermark: Offset) {
        let last = self.boundaries.back();
        assert!(last.is_none_or(|last| last.last_offset() < batch.offset), "batches are appended in order");
        let delta = last_offset.0.checked_sub(batch.offset.0).and_then(|delta| i32::try_from(delta).ok());
        self.boundaries.push_back(Boundary {
            base_offset: batch.offset,
            segment_base: batch.segment_base,
            position: u32::try_from(batch.position.0).expect("positions in a segment are 32-bit"),
            last_offset_delta: delta.expect("the offsets of a batch span at most 2^31"),
        });
        self.trim(high_watermark);
        assert!(self.boundaries.len() <= TAIL_BATCHES_MAX, "the oldest boundary made room");
    }

    fn trim(&mut self, high_watermark: Offset) {
        while self.boundaries.len() > TAIL_BATCHES
            && (self.boundaries.len() > TAIL_BATCHES_MAX || self.boundaries[1].base_offset <= high_watermark)
        {
            self.boundaries.pop_front();
        }
        if self.boundaries.len() <= TAIL_BATCHES && self.boundaries.capacity() > 4 * TAIL_BATCHES {
            self.boundaries.shrink_to(2 * TAIL_BATCHES);
        }
    }

    /// The first batch whose last offset is at least `offset`; `None` where it is too old, or not there.
    #[must_use]
    pub fn batch_of(&self, offset: Offset) -> Option<LogPosition> {
        let at = self.boundaries.partition_point(|batch| batch.last_offset() < offset);
        let batch = self.boundaries.get(at)?;
        // Before the first boundary only the files know whether an older batch holds the offset.
        let is_oldest = at == 0 && offset < batch.base_offset;
        (!is_oldest).then(|| batch.place())
    }

    /// Where a read of whole batches that begins with the batch at `from` ends: the last boundary of its segment
    /// at or before `to`, but behind the first batch in any case. `limit` is a boundary that bounds both.
    #[must_use]
    pub fn whole_batches_end(
        &self,
        from: LogPosition,
        to: FilePosition,
        limit: FilePosition,
    ) -> FilePosition {
        assert!(from.position < limit, "a read of at least one batch");
        if limit <= to {
            return limit;
        }
        let first = self.boundaries.partition_point(|batch| batch.base_offset <= from.offset);
        let place = |batch: &Boundary| (batch.segment_base, u64::from(batch.position));
        let within = self.boundaries.partition_point(|batch| place(batch) <= (from.segment_base, to.0));
        let cut = within.saturating_sub(1).max(first);
        match self.boundaries.get(cut) {
            Some(batch) if batch.segment_base == from.segment_base => {
                FilePosition(u64::from(batch.position)).min(limit)
            }
            Some(_) | None => limit,
        }
    }

    /// Forgets the batches of the segment at `segment_base` and of those before it, which have other places now.
    pub fn forget_up_to(&mut self, segment_base: Offset) {
        while self.boundaries.front().is_some_and(|batch| batch.segment_base <= segment_base) {
            self.boundaries.pop_front();
        }
    }

    /// Forgets every boundary, as a log does that starts anew.
    pub fn clear(&mut self) {
        self.boundaries = VecDeque::new();
    }

    /// Bytes of memory that the boundaries take.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.boundaries.capacity() * size_of::<Boundary>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn place(offset: i64, segment_base: i64, position: u64) -> LogPosition {
        LogPosition {
            offset: Offset(offset),
            segment_base: Offset(segment_base),
            position: FilePosition(position),
        }
    }

    #[test]
    fn a_boundary_takes_24_bytes() {
        assert_eq!(size_of::<Boundary>(), 24);
    }

    #[test]
    fn a_gap_belongs_to_the_batch_behind_it() {
        let mut tail = Tail::default();
        tail.push(place(10, 0, 500), Offset(14), Offset(0));
        tail.push(place(20, 0, 600), Offset(20), Offset(0));
        assert_eq!(tail.batch_of(Offset(9)), None);
        assert_eq!(tail.batch_of(Offset(14)), Some(place(10, 0, 500)));
        assert_eq!(tail.batch_of(Offset(15)), Some(place(20, 0, 600)));
        assert_eq!(tail.batch_of(Offset(21)), None);
    }

    #[test]
    fn boundaries_above_the_high_watermark_stay() {
        let mut tail = Tail::default();
        for at in 0..2_000 {
            tail.push(place(at, 0, 70 * at.unsigned_abs()), Offset(at), Offset(100));
        }
        assert_eq!(tail.batch_of(Offset(99)), None);
        assert!(tail.batch_of(Offset(100)).is_some());
        tail.push(place(2_000, 0, 140_000), Offset(2_000), Offset(2_000));
        assert_eq!(tail.boundaries.len(), TAIL_BATCHES);
        assert!(tail.memory_bytes() <= 4 * TAIL_BATCHES * size_of::<Boundary>());
        for at in 2_001..40_000 {
            tail.push(place(at, 0, 70 * at.unsigned_abs()), Offset(at), Offset(100));
        }
        assert_eq!(tail.boundaries.len(), TAIL_BATCHES_MAX);
        tail.clear();
        assert_eq!((tail.batch_of(Offset(39_999)), tail.memory_bytes()), (None, 0));
    }

    proptest! {
        #[test]
        fn a_read_ends_where_a_linear_search_ends_it(
            steps in prop::collection::vec((1_i32..5, 61_u64..300, prop::bool::weighted(0.1)), 1..80),
            first in 0_usize..80,
            max_bytes in 0_u64..3_000,
            limit in 0_usize..80,
        ) {
            let mut tail = Tail::default();
            let (mut batches, mut offset, mut base, mut position) = (Vec::new(), 0, 0, 0);
            for (records, bytes, roll) in steps {
                if roll {
                    (base, position) = (offset, 0);
                }
                let start = place(offset, base, position);
                tail.push(start, Offset(offset + i64::from(records) - 1), Offset(0));
                offset += i64::from(records);
                position += bytes;
                batches.push((start, FilePosition(position)));
            }
            let first = first % batches.len();
            let from = batches[first].0;
            let same = |batch: &&(LogPosition, FilePosition)| batch.0.segment_base == from.segment_base;
            let ends: Vec<_> = batches[first..].iter().take_while(same).map(|batch| batch.1).collect();
            let limit = ends[limit % ends.len()];
            let to = from.position.plus(max_bytes);
            let fits = ends.iter().rfind(|&&end| end <= to && end <= limit);
            let expected = *fits.unwrap_or(&ends[0].min(limit));
            prop_assert_eq!(tail.whole_batches_end(from, to, limit), expected);
        }
    }
}
