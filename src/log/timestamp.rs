//! A search by timestamp: which offset ListOffsets answers.
//!
//! Owned by the partition's owner shard; nothing here is on disk. [`Log::timestamp_plan`] answers the special
//! timestamps at once and names the segment for the others (Kafka's `UnifiedLog.fetchOffsetByTimestamp`). The shell
//! walks that segment's headers with a [`TimestampWalk`], and gives the batches that it stops at to
//! [`TimestampSearch::find_in`].
//!
//! What must hold: no answer lies before the log start offset, and none but the one for the largest timestamp at
//! `up_to` or later; a record's leader epoch goes with it, and not the current one; the first record in offset order
//! wins, however timestamps jump. Where the only candidates of a segment were cut off by DeleteRecords, the search goes
//! on with later segments.

use thiserror::Error;

use super::offset_index::OffsetIndex;
use super::partition_log::Log;
use super::read::{BatchAt, HeaderWalk, Hop, ReadError};
use super::segment::SegmentIndexes;
use super::time_index::TimestampOffset;
use crate::ids::{FilePosition, LeaderEpoch, Offset, TimestampMs};
use crate::limits::DECOMPRESSED_BYTES_MAX;
use crate::protocol::compression::{Codec, CompressionError, decompress};
use crate::protocol::records::{Batch, BatchHeader, RecordError, RecordIter};

/// What ListOffsets asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimestampQuery {
    /// -1: where a reader of this kind stops, `up_to`.
    Latest,
    /// -2, and -4 without tiered storage: the log start offset.
    Earliest,
    /// -3: the first record that has the largest timestamp (KIP-734), whether a reader may see it yet or not.
    Largest,
    /// The first record with this timestamp or a later one.
    AtOrAfter(TimestampMs),
}

/// An answer; timestamp -1 for the special ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoundOffset {
    /// The record's timestamp.
    pub timestamp: TimestampMs,
    /// The record's offset.
    pub offset: Offset,
    /// The epoch of the leader that appended the record; -1 where it is not known.
    pub leader_epoch: LeaderEpoch,
}

/// How to answer a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimestampPlan {
    /// With this.
    Found(FoundOffset),
    /// With offset -1, timestamp -1 and no error.
    NotFound,
    /// The last entry of this segment's time index has to be read first, and
    /// [`Log::set_largest_timestamp`] called; then ask again.
    NeedsLargest {
        /// The segment's base offset.
        segment_base: Offset,
    },
    /// With what a search in one segment finds.
    Search(TimestampSearch),
    /// The record with the largest timestamp of this segment is before the log start offset: the others have to be
    /// looked at, and [`Log::set_largest_timestamp`] called; then ask again.
    Measure(LargestSearch),
}

/// Why a batch could not be searched.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SearchError {
    /// Its codec is unknown or its payload is not what the codec makes.
    #[error("the batch at offset {0} cannot be decompressed: {1}")]
    Compression(Offset, CompressionError),
    /// Its codec has no meaning.
    #[error("the batch at offset {0} has an unknown codec")]
    Codec(Offset),
    /// Its records are malformed.
    #[error("the batch at offset {0} has malformed records: {1}")]
    Records(Offset, RecordError),
}

/// What is searched in one segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimestampSearch {
    /// The segment's base offset.
    pub segment_base: Offset,
    /// Where the segment ends.
    pub bytes: FilePosition,
    /// The query that is being answered.
    pub query: TimestampQuery,
    /// Where to begin to walk; `None` until the segment's indexes are at hand.
    pub start: Option<FilePosition>,
    /// What every offset of the segment is below.
    before: Offset,
    target: TimestampMs,
    /// Where the index entry for the target lies, for [`TimestampQuery::Largest`].
    hint: Option<Offset>,
    from: Offset,
    up_to: Offset,
}

impl TimestampSearch {
    /// The search with the segment's indexes at hand, read from their files.
    #[must_use]
    pub fn with_indexes(self, indexes: &SegmentIndexes) -> TimestampSearch {
        let start = self.start_in(indexes).expect("whole indexes know every offset");
        TimestampSearch { start: Some(start), ..self }
    }

    fn start_in(&self, indexes: &SegmentIndexes) -> Option<FilePosition> {
        let lowest = match self.hint {
            Some(offset) => offset,
            None => indexes.times.lookup(self.target)?.offset,
        };
        let position = |index: &OffsetIndex, offset| index.lookup(offset).map(|entry| entry.position);
        position(&indexes.offsets, lowest.max(self.from))
    }

    /// The walk; the start must not need the indexes any more.
    #[must_use]
    pub fn walk(&self) -> TimestampWalk {
        let start = self.start.expect("a search that needs indexes gets them before the walk");
        let headers = HeaderWalk::new(start..self.bytes, self.segment_base..self.before);
        TimestampWalk { search: *self, headers }
    }

    /// Whether the batch may hold the answer.
    fn is_candidate(&self, header: &BatchHeader) -> bool {
        // The header of a batch that the log start cuts speaks for records that are gone: where the largest timestamp
        // is known to be behind it, it has nothing to say.
        let speaks =
            header.base_offset >= self.from || self.hint.is_none_or(|hint| hint <= header.last_offset());
        let is_seen = header.last_offset() >= self.from && header.base_offset < self.up_to;
        header.max_timestamp >= self.target && is_seen && speaks
    }

    /// Whether a batch that promised the largest timestamp, and offers `found`, had it in a record that is before the
    /// log start offset. Then the segment has to be measured.
    #[must_use]
    pub fn cut(&self, batch: &BatchAt, found: Option<FoundOffset>) -> Option<LargestSearch> {
        let has_it = found.is_some_and(|found| found.timestamp >= self.target);
        let is_cut = self.query == TimestampQuery::Largest && batch.header.base_offset < self.from && !has_it;
        let nothing = TimestampOffset { timestamp: TimestampMs::NONE, offset: self.from };
        is_cut.then_some(LargestSearch {
            segment_base: self.segment_base,
            bytes: self.bytes,
            start: Some(batch.position),
            before: self.before,
            from: self.from,
            remainder: Some(found.map_or(nothing, |found| TimestampOffset {
                timestamp: found.timestamp,
                offset: found.offset,
            })),
        })
    }

    /// The record of a batch that answers the query; `None` sends the walk on.
    ///
    /// # Errors
    /// [`SearchError`] where the batch cannot be read: the reply is an error, and not a later offset.
    pub fn find_in(&self, batch: &Batch<'_>) -> Result<Option<FoundOffset>, SearchError> {
        let (header, base) = (&batch.header, batch.header.base_offset);
        let codec = header.attributes.compression().ok_or(SearchError::Codec(base))?;
        let decompressed;
        let payload = if codec == Codec::None {
            batch.payload()
        } else {
            decompressed = decompress(codec, batch.payload(), DECOMPRESSED_BYTES_MAX)
                .map_err(|error| SearchError::Compression(base, error))?;
            &decompressed
        };
        let mut best: Option<FoundOffset> = None;
        for record in RecordIter::new(payload, header.record_count) {
            let record = record.map_err(|error| SearchError::Records(base, error))?;
            let (offset, timestamp) = (record.offset(header), record.timestamp(header));
            if offset < self.from || offset >= self.up_to {
                continue;
            }
            let found = FoundOffset { timestamp, offset, leader_epoch: header.partition_leader_epoch };
            match self.query {
                TimestampQuery::Largest if best.is_none_or(|best| best.timestamp < timestamp) => {
                    best = Some(found);
                }
                TimestampQuery::AtOrAfter(target) if timestamp >= target => return Ok(Some(found)),
                TimestampQuery::Largest
                | TimestampQuery::AtOrAfter(_)
                | TimestampQuery::Latest
                | TimestampQuery::Earliest => {}
            }
        }
        Ok(best)
    }
}

/// A look for the largest timestamp of a segment from the log start offset on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LargestSearch {
    /// The segment's base offset.
    pub segment_base: Offset,
    /// Where the segment ends.
    pub bytes: FilePosition,
    /// Where to begin to walk; `None` until the segment's offset index is at hand.
    pub start: Option<FilePosition>,
    /// What every offset of the segment is below.
    before: Offset,
    from: Offset,
    /// What the batch that the log start cuts still has, where somebody has looked into it.
    remainder: Option<TimestampOffset>,
}

impl LargestSearch {
    /// The search with the segment's offset index at hand, read from its file.
    #[must_use]
    pub fn with_index(self, index: &OffsetIndex) -> LargestSearch {
        let entry = index.lookup(self.from).expect("a whole index knows every offset");
        LargestSearch { start: Some(entry.position), ..self }
    }

    /// The walk; the start must not need the index any more.
    #[must_use]
    pub fn walk(&self) -> LargestWalk {
        let start = self.start.expect("a search that needs the index gets it before the walk");
        let nothing = TimestampOffset { timestamp: TimestampMs::NONE, offset: self.from };
        LargestWalk {
            headers: HeaderWalk::new(start..self.bytes, self.segment_base..self.before),
            from: self.from,
            knows_cut: self.remainder.is_some(),
            largest: self.remainder.unwrap_or(nothing),
        }
    }
}

/// One step of a look for the largest timestamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LargestStep {
    /// Feed a window that begins here or before and holds 61 bytes from here on.
    Need(FilePosition),
    /// The largest timestamp and its batch, for [`Log::set_largest_timestamp`].
    Done(TimestampOffset),
}

/// Finds the largest timestamp of a segment from an offset on, by headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LargestWalk {
    headers: HeaderWalk,
    from: Offset,
    /// The batch that begins before `from` is in `largest` already.
    knows_cut: bool,
    largest: TimestampOffset,
}

impl LargestWalk {
    /// Goes on as far as the window reaches, whose first byte is the segment's byte `window_at`.
    ///
    /// # Errors
    /// Those of [`HeaderWalk::hop`].
    pub fn feed(&mut self, window_at: FilePosition, window: &[u8]) -> Result<LargestStep, ReadError> {
        loop {
            let header = match self.headers.hop(window_at, window)? {
                Hop::Need(position) => return Ok(LargestStep::Need(position)),
                Hop::End => return Ok(LargestStep::Done(self.largest)),
                Hop::Batch(batch) => batch.header,
            };
            let first = if self.knows_cut { header.base_offset } else { header.last_offset() };
            if first >= self.from && header.max_timestamp > self.largest.timestamp {
                self.largest =
                    TimestampOffset { timestamp: header.max_timestamp, offset: header.last_offset() };
            }
        }
    }
}

/// One step of a search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimestampStep {
    /// Feed a window that begins here or before and holds 61 bytes from here on.
    Need(FilePosition),
    /// Look into this batch with [`TimestampSearch::find_in`]; where it holds no answer, feed on.
    Candidate(BatchAt),
    /// The segment holds no answer: go on with [`Log::timestamp_plan_behind`].
    Nothing,
}

/// Finds the batches of a segment that may hold the answer, by headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimestampWalk {
    search: TimestampSearch,
    headers: HeaderWalk,
}

impl TimestampWalk {
    /// Goes on as far as the window reaches, whose first byte is the segment's byte `window_at`.
    ///
    /// # Errors
    /// Those of [`HeaderWalk::hop`].
    pub fn feed(&mut self, window_at: FilePosition, window: &[u8]) -> Result<TimestampStep, ReadError> {
        loop {
            match self.headers.hop(window_at, window)? {
                Hop::Need(position) => return Ok(TimestampStep::Need(position)),
                Hop::End => return Ok(TimestampStep::Nothing),
                Hop::Batch(batch) if batch.header.base_offset >= self.search.up_to => {
                    return Ok(TimestampStep::Nothing);
                }
                Hop::Batch(batch) if self.search.is_candidate(&batch.header) => {
                    return Ok(TimestampStep::Candidate(batch));
                }
                Hop::Batch(_) => {}
            }
        }
    }
}

impl Log {
    /// How to answer a query of a reader that may see what lies before `up_to`.
    #[must_use]
    pub fn timestamp_plan(&self, query: TimestampQuery, up_to: Offset) -> TimestampPlan {
        assert!(up_to <= self.log_end_offset, "a reader may see what was appended and no more");
        let special = |offset, leader_epoch| {
            TimestampPlan::Found(FoundOffset { timestamp: TimestampMs::NONE, offset, leader_epoch })
        };
        match query {
            TimestampQuery::Latest => special(up_to, self.leader_epoch),
            TimestampQuery::Earliest => {
                special(self.log_start_offset, self.epochs.epoch_for(self.log_start_offset))
            }
            TimestampQuery::Largest => self.plan_largest(),
            TimestampQuery::AtOrAfter(_) => {
                let (first, _) = self.segment_of(self.log_start_offset);
                self.plan_from(first, query, up_to)
            }
        }
    }

    /// The same query in the segments behind the one at `segment_base`, where a walk found nothing.
    #[must_use]
    pub fn timestamp_plan_behind(
        &self,
        segment_base: Offset,
        query: TimestampQuery,
        up_to: Offset,
    ) -> TimestampPlan {
        match (query, self.next_segment(segment_base)) {
            (TimestampQuery::AtOrAfter(_), Some(next)) => self.plan_from(next, query, up_to),
            (_, _) => TimestampPlan::NotFound,
        }
    }

    /// Notes the largest timestamp of a closed segment: the last entry of its time index, `None` where that is empty,
    /// or what a [`LargestWalk`] found. A segment that is gone is passed over.
    pub fn set_largest_timestamp(&mut self, segment_base: Offset, largest: Option<TimestampOffset>) {
        let none = TimestampOffset { timestamp: TimestampMs::NONE, offset: self.log_start_offset };
        let largest = largest.unwrap_or(none);
        if segment_base == self.active.base_offset() {
            self.measured = Some(largest);
        }
        if let Ok(at) = self.closed.binary_search_by_key(&segment_base, |segment| segment.base_offset) {
            self.closed[at].largest_timestamp = Some(largest);
        }
    }

    /// The first segment from `first` on that has a late enough timestamp.
    fn plan_from(&self, first: Offset, query: TimestampQuery, up_to: Offset) -> TimestampPlan {
        let TimestampQuery::AtOrAfter(target) = query else {
            return TimestampPlan::NotFound;
        };
        for (segment_base, largest) in self.largest_timestamps() {
            if segment_base < first {
                continue;
            }
            if segment_base >= up_to {
                return TimestampPlan::NotFound;
            }
            match largest {
                None => return TimestampPlan::NeedsLargest { segment_base },
                Some(largest) if largest.timestamp >= target => {
                    return self.search_in(segment_base, query, target, up_to);
                }
                Some(_) => {}
            }
        }
        TimestampPlan::NotFound
    }

    fn plan_largest(&self) -> TimestampPlan {
        let up_to = self.log_end_offset;
        let mut best: Option<(Offset, TimestampOffset)> = None;
        let (first, _) = self.segment_of(self.log_start_offset);
        for (segment_base, largest) in self.largest_timestamps() {
            if segment_base < first {
                continue;
            }
            let Some(largest) = largest else {
                return TimestampPlan::NeedsLargest { segment_base };
            };
            let is_gone = largest.offset < self.log_start_offset && largest.timestamp > TimestampMs::NONE;
            if is_gone {
                return self.measure(segment_base);
            }
            if best.is_none_or(|(_, best)| best.timestamp < largest.timestamp) {
                best = Some((segment_base, largest));
            }
        }
        match best {
            Some((segment_base, largest)) if largest.timestamp > TimestampMs::NONE => {
                let plan = self.search_in(segment_base, TimestampQuery::Largest, largest.timestamp, up_to);
                self.with_hint(plan, largest.offset)
            }
            Some(_) | None => TimestampPlan::NotFound,
        }
    }

    fn measure(&self, segment_base: Offset) -> TimestampPlan {
        let (_, bytes) = self.segment_of(segment_base);
        TimestampPlan::Measure(LargestSearch {
            segment_base,
            bytes,
            start: None,
            before: self.offsets_before(segment_base),
            from: self.log_start_offset,
            remainder: None,
        })
    }

    /// The batch that has the largest timestamp is known: the walk begins with it.
    fn with_hint(&self, plan: TimestampPlan, offset: Offset) -> TimestampPlan {
        let TimestampPlan::Search(search) = plan else {
            return plan;
        };
        let mut search = TimestampSearch { hint: Some(offset), start: None, ..search };
        search.start = self.indexes_of(search.segment_base).and_then(|indexes| search.start_in(indexes));
        TimestampPlan::Search(search)
    }

    fn search_in(
        &self,
        segment_base: Offset,
        query: TimestampQuery,
        target: TimestampMs,
        up_to: Offset,
    ) -> TimestampPlan {
        let (_, bytes) = self.segment_of(segment_base);
        let mut search = TimestampSearch {
            segment_base,
            bytes,
            query,
            start: None,
            before: self.offsets_before(segment_base),
            target,
            hint: None,
            from: self.log_start_offset,
            up_to,
        };
        search.start = self.indexes_of(segment_base).and_then(|indexes| search.start_in(indexes));
        TimestampPlan::Search(search)
    }

    /// Takes a batch of the active segment into what was measured of it.
    pub(super) fn measure_appended(&mut self, header: &BatchHeader) {
        if let Some(measured) = &mut self.measured
            && header.max_timestamp > measured.timestamp
        {
            *measured = TimestampOffset { timestamp: header.max_timestamp, offset: header.last_offset() };
        }
    }

    /// The base offset and largest timestamp of each segment, oldest first.
    fn largest_timestamps(&self) -> impl Iterator<Item = (Offset, Option<TimestampOffset>)> {
        let closed = self.closed.iter().map(|segment| (segment.base_offset, segment.largest_timestamp));
        let active = (
            self.active.base_offset(),
            Some(self.measured.unwrap_or_else(|| self.active.largest_timestamp())),
        );
        closed.chain(std::iter::once(active))
    }
}

#[cfg(test)]
mod tests;
