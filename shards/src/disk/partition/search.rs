//! Searches: offsets by timestamp, the aborted transactions of a range, and the indexes that both need.
//!
//! A closed segment's indexes are in their files, and so are the older entries of the active one's; they are read when
//! somebody needs them and kept for a while. What is missing or does not fit its segment is
//! [built anew](super::rebuild).

use std::rc::Rc;

use ottla::ids::Offset;
use ottla::limits::WHOLE_FILE_BYTES_MAX;
use ottla::log::aborted::{AbortedSearch, AbortedStep};
use ottla::log::files::SegmentFileKind;
use ottla::log::offset_index::OFFSET_ENTRY_BYTES;
use ottla::log::read::BatchAt;
use ottla::log::time_index::TIME_ENTRY_BYTES;
use ottla::log::timestamp::{
    FoundOffset, LargestSearch, LargestStep, TimestampPlan, TimestampQuery, TimestampSearch, TimestampStep,
};
use ottla::log::txn_index::ABORTED_ENTRY_BYTES;
use ottla::log::{
    AbortedTransaction, CorruptIndex, OffsetIndex, ReadSlice, SegmentIndexes, TimeIndex, TransactionIndex,
};
use ottla::protocol::records::Batch;

use super::files::IndexBytes;
use super::read::Fed;
use super::{IndexFiles, Partition};
use crate::disk::error::{DiskError, IoFailure};
use crate::disk::patient;

/// What a look into a segment has come to.
enum Searched {
    Found(FoundOffset),
    /// The segments behind it are next.
    Nothing,
    /// More is known than before: the log plans anew.
    Again,
    /// This has to be measured first.
    Cut(LargestSearch),
}

impl Partition {
    /// Which offset answers a ListOffsets query of a reader that may see what lies before `up_to`; `None` where no
    /// record does.
    ///
    /// # Errors
    /// The disk's failures, and a batch that cannot be read.
    pub async fn offset_for_timestamp(
        self: &Rc<Self>,
        query: TimestampQuery,
        up_to: Offset,
    ) -> Result<Option<FoundOffset>, DiskError> {
        self.steadily(|| self.try_offset_for_timestamp(query, up_to)).await
    }

    async fn try_offset_for_timestamp(
        self: &Rc<Self>,
        query: TimestampQuery,
        up_to: Offset,
    ) -> Result<Option<FoundOffset>, DiskError> {
        self.check()?;
        let mut plan = self.state.borrow().log.timestamp_plan(query, up_to);
        loop {
            let (base, step) = match plan {
                TimestampPlan::Found(found) => return Ok(Some(found)),
                TimestampPlan::NotFound => return Ok(None),
                TimestampPlan::NeedsLargest { segment_base } => {
                    (segment_base, self.find_largest_timestamp(segment_base).await.map(|()| Searched::Again))
                }
                TimestampPlan::Measure(search) => {
                    (search.segment_base, self.measure_largest(search).await.map(|()| Searched::Again))
                }
                TimestampPlan::Search(search) => (search.segment_base, self.search(search).await),
            };
            plan = match step {
                Ok(Searched::Found(found)) => return Ok(Some(found)),
                Ok(Searched::Nothing) => self.state.borrow().log.timestamp_plan_behind(base, query, up_to),
                Ok(Searched::Again) => self.state.borrow().log.timestamp_plan(query, up_to),
                Ok(Searched::Cut(search)) => TimestampPlan::Measure(search),
                // Deleted while it was looked at.
                Err(_) if !self.state.borrow().closed && !self.has_segment(base) => {
                    self.state.borrow().log.timestamp_plan(query, up_to)
                }
                Err(error) => return Err(error),
            };
        }
    }

    async fn search(self: &Rc<Self>, search: TimestampSearch) -> Result<Searched, DiskError> {
        let base = search.segment_base;
        let search = match search.start {
            Some(_) => search,
            None => search.with_indexes(&*self.indexes(base).await?),
        };
        let mut walk = search.walk();
        loop {
            let candidate = self.feed(base, |at, window| {
                Ok(match walk.feed(at, window)? {
                    TimestampStep::Need(position) => Fed::Need(position),
                    TimestampStep::Candidate(batch) => Fed::Done(Some(batch)),
                    TimestampStep::Nothing => Fed::Done(None),
                })
            });
            let Some(at @ BatchAt { header, position }) = candidate.await? else {
                return Ok(Searched::Nothing);
            };
            let bytes = self.batch_bytes(base, position, header.batch_bytes).await?;
            let unreadable = |reason: String| DiskError::corrupt(&self.segment_path(base), reason);
            let batch = Batch { header, position: 0, bytes: &bytes };
            let found = search.find_in(&batch).map_err(|error| unreadable(error.to_string()))?;
            match (search.cut(&at, found), found) {
                (Some(cut), _) => return Ok(Searched::Cut(cut)),
                (None, Some(found)) => return Ok(Searched::Found(found)),
                (None, None) => {}
            }
        }
    }

    async fn measure_largest(self: &Rc<Self>, search: LargestSearch) -> Result<(), DiskError> {
        let base = search.segment_base;
        let search = match search.start {
            Some(_) => search,
            None => search.with_index(&self.indexes(base).await?.offsets),
        };
        let mut walk = search.walk();
        let largest = self.feed(base, |at, window| {
            Ok(match walk.feed(at, window)? {
                LargestStep::Need(position) => Fed::Need(position),
                LargestStep::Done(largest) => Fed::Done(largest),
            })
        });
        let largest = largest.await?;
        self.state.borrow_mut().log.set_largest_timestamp(base, Some(largest));
        Ok(())
    }

    /// Reads the last entry of a closed segment's time index, for retention and searches.
    pub(in crate::disk) async fn read_largest_timestamp(
        self: &Rc<Self>,
        base: Offset,
    ) -> Result<(), DiskError> {
        self.steadily(|| self.find_largest_timestamp(base)).await
    }

    async fn find_largest_timestamp(self: &Rc<Self>, base: Offset) -> Result<(), DiskError> {
        let indexes = self.indexes(base).await?;
        let largest = indexes.times.last_entry();
        self.state.borrow_mut().log.set_largest_timestamp(base, largest);
        Ok(())
    }

    /// The aborted transactions that overlap `from..to`, by ascending first offset.
    ///
    /// # Errors
    /// The disk's failures.
    pub(in crate::disk) async fn aborted_between(
        self: &Rc<Self>,
        from: Offset,
        to: Offset,
    ) -> Result<Vec<AbortedTransaction>, DiskError> {
        let search = self.state.borrow().log.aborted_between(from, to);
        self.search_aborted(search).await
    }

    /// The aborted transactions that a read_committed fetch from `from` on has to name with the slice that it got, by
    /// ascending first offset. The segments must be those that the slice was read from.
    ///
    /// # Errors
    /// The disk's failures.
    pub(in crate::disk) async fn aborted_transactions(
        self: &Rc<Self>,
        from: Offset,
        slice: &ReadSlice,
    ) -> Result<Vec<AbortedTransaction>, DiskError> {
        let index = self.disk.indexes.get((self.number, slice.segment_base));
        let offsets = index.as_ref().map(|indexes| &indexes.offsets);
        let search = self.state.borrow().log.aborted_search(from, slice, offsets);
        self.search_aborted(search).await
    }

    async fn search_aborted(
        self: &Rc<Self>,
        mut search: AbortedSearch,
    ) -> Result<Vec<AbortedTransaction>, DiskError> {
        loop {
            let step = search.step(&self.state.borrow().log);
            match step {
                AbortedStep::Done(transactions) => return Ok(transactions),
                AbortedStep::ReadIndex { segment_base } => {
                    let indexes = self.indexes(segment_base).await?;
                    search.feed(&self.state.borrow().log, &indexes.aborted);
                }
            }
        }
    }

    /// The whole indexes of a segment, from memory, from the cache or from their files.
    pub(super) async fn indexes(self: &Rc<Self>, base: Offset) -> Result<Rc<SegmentIndexes>, DiskError> {
        let key = (self.number, base);
        if let Some(indexes) = self.disk.indexes.get(key)
            && self.covers(base, &indexes)
        {
            return Ok(indexes);
        }
        loop {
            self.wait_settled(base).await;
            let generation = self.generation(base);
            let result = self.load_indexes(base).await;
            if generation == self.generation(base) {
                return result;
            }
        }
    }

    async fn load_indexes(self: &Rc<Self>, base: Offset) -> Result<Rc<SegmentIndexes>, DiskError> {
        let generation = self.generation(base);
        let was_active = self.is_active(base);
        let (written, behind) = self.entries_in_memory(base);
        let indexes = match self.read_indexes(base, written, &behind).await {
            Ok(Ok(indexes)) => indexes,
            Ok(Err((kind, reason))) => {
                let reason = format!("{} is corrupt: {reason}", self.file_path(base, kind).display());
                self.rebuild_indexes(base, &reason).await?
            }
            Err(failure) if failure.is_missing() => self.rebuild_indexes(base, &failure.to_string()).await?,
            Err(failure) => return Err(failure.into()),
        };
        let indexes = Rc::new(indexes);
        // What was read of an active segment is not all of it once it has rolled.
        let is_as_before = generation == self.generation(base) && was_active == self.is_active(base);
        if self.has_segment(base) && is_as_before {
            self.disk.indexes.put((self.number, base), &indexes);
        }
        Ok(indexes)
    }

    fn is_active(&self, base: Offset) -> bool {
        self.state.borrow().log.active_segment().base_offset() == base
    }

    /// Whether cached indexes hold every entry that is not in memory any more; those of a closed segment do.
    fn covers(&self, base: Offset, indexes: &SegmentIndexes) -> bool {
        let state = self.state.borrow();
        let active = state.log.active_segment();
        active.base_offset() != base
            || (indexes.offsets.len() >= active.indexes().offsets.released()
                && indexes.times.len() >= active.indexes().times.released()
                && indexes.aborted.len() >= active.indexes().aborted.released())
    }

    /// How many entries of a segment's indexes are in the files for certain, and those behind them; `None` where the
    /// files have all.
    pub(super) fn entries_in_memory(&self, base: Offset) -> (Option<IndexFiles>, IndexBytes) {
        let state = self.state.borrow();
        if let Some(unfinished) = state.unfinished.get(&base) {
            return (Some(unfinished.written), IndexBytes::behind(unfinished.written, &unfinished.indexes));
        }
        let active = state.log.active_segment();
        if active.base_offset() == base {
            return (Some(state.index_files), IndexBytes::behind(state.index_files, active.indexes()));
        }
        (None, IndexBytes::default())
    }

    pub(super) async fn read_indexes(
        &self,
        base: Offset,
        written: Option<IndexFiles>,
        behind: &IndexBytes,
    ) -> Result<Result<SegmentIndexes, (SegmentFileKind, CorruptIndex)>, IoFailure> {
        let counts = written.map(|files| {
            let IndexFiles { offsets, times, aborted } = files;
            [offsets * OFFSET_ENTRY_BYTES, times * TIME_ENTRY_BYTES, aborted * ABORTED_ENTRY_BYTES]
        });
        let [offsets, times, aborted] = match counts {
            Some([offsets, times, aborted]) => [Some(offsets), Some(times), Some(aborted)],
            None => [None; 3],
        };
        let mut bytes = Vec::with_capacity(3);
        for (kind, count, more) in [
            (SegmentFileKind::OffsetIndex, offsets, &behind.offsets),
            (SegmentFileKind::TimeIndex, times, &behind.times),
            (SegmentFileKind::TransactionIndex, aborted, &behind.aborted),
        ] {
            let mut entries = self.read_index_file(base, kind, count).await?;
            entries.extend_from_slice(more);
            bytes.push(entries);
        }
        let of = |kind| move |reason| (kind, reason);
        let decoded = || {
            let offsets = OffsetIndex::decode(base, usize::MAX, &bytes[0]).and_then(|offsets| {
                let end = self.closed_bytes(&self.state.borrow().log, base);
                if counts.is_none() && end.0 > 0 {
                    offsets.check_within(end.0)?;
                }
                Ok(offsets)
            });
            let times = TimeIndex::decode(base, usize::MAX, &bytes[1]);
            let aborted = TransactionIndex::decode(base, &bytes[2]);
            Ok(SegmentIndexes {
                offsets: offsets.map_err(of(SegmentFileKind::OffsetIndex))?,
                times: times.map_err(of(SegmentFileKind::TimeIndex))?,
                aborted: aborted.map_err(of(SegmentFileKind::TransactionIndex))?,
            })
        };
        Ok(decoded())
    }

    pub(super) async fn read_index_file(
        &self,
        base: Offset,
        kind: SegmentFileKind,
        bytes: Option<usize>,
    ) -> Result<Vec<u8>, IoFailure> {
        if bytes == Some(0) {
            return Ok(Vec::new());
        }
        let path = self.file_path(base, kind);
        match patient::read_whole(&path, WHOLE_FILE_BYTES_MAX).await {
            Ok(mut read) => {
                read.truncate(bytes.unwrap_or(usize::MAX));
                Ok(read)
            }
            // Only a segment with aborted transactions has such a file.
            Err(failure) if kind == SegmentFileKind::TransactionIndex && failure.is_missing() => {
                Ok(Vec::new())
            }
            Err(failure) => Err(failure),
        }
    }
}
