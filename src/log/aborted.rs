//! Which aborted transactions go with the bytes of a read: a reader of committed records skips them.
//!
//! Owned by the partition's owner shard. Each segment's transaction index lists the transactions whose abort markers
//! it holds, so a search begins with the segment of the read and goes on until an entry's last stable offset shows
//! that no later marker can reach back (Kafka's `LocalLog.collectAbortedTransactions`). Segments without an index
//! are passed over without a look at the disk; for the others the shell reads the file.
//!
//! What must hold: every aborted transaction that overlaps the bytes is named, ordered by its first offset.

use super::offset_index::OffsetIndex;
use super::partition_log::Log;
use super::read::ReadSlice;
use super::txn_index::{AbortedTransaction, TransactionIndex};
use crate::ids::Offset;

/// A search for the aborted transactions that overlap `from..to`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AbortedSearch {
    from: Offset,
    to: Offset,
    /// The segment whose index is looked at next; `None` when no more can overlap.
    next: Option<Offset>,
    found: Vec<AbortedTransaction>,
}

/// One step of a search.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AbortedStep {
    /// Read the transaction index of this segment, whole, and call [`AbortedSearch::feed`].
    ReadIndex {
        /// The segment's base offset.
        segment_base: Offset,
    },
    /// The transactions, by ascending first offset.
    Done(Vec<AbortedTransaction>),
}

impl Log {
    /// A search for the aborted transactions of a slice that was read from offset `from` on; `index` is the offset
    /// index of its segment where the shell has it at hand.
    #[must_use]
    pub fn aborted_search(
        &self,
        from: Offset,
        slice: &ReadSlice,
        index: Option<&OffsetIndex>,
    ) -> AbortedSearch {
        let to = self.offset_behind(slice, index);
        AbortedSearch { from, to, next: Some(slice.segment_base), found: Vec::new() }
    }

    /// An offset that is behind every record of the slice, and not far behind where that is known.
    fn offset_behind(&self, slice: &ReadSlice, index: Option<&OffsetIndex>) -> Offset {
        let end = self.next_segment(slice.segment_base).unwrap_or(self.log_end_offset);
        let in_memory = self.indexes_of(slice.segment_base).map(|indexes| &indexes.offsets);
        let entry = index.or(in_memory).and_then(|index| index.entry_at_or_behind(slice.end));
        entry.map_or(end, |entry| entry.offset.min(end))
    }

    /// Whether the segment may have an index of aborted transactions.
    fn has_aborted(&self, segment_base: Offset) -> bool {
        match self.closed.binary_search_by_key(&segment_base, |segment| segment.base_offset) {
            Ok(at) => self.closed[at].has_aborted,
            Err(_) => segment_base == self.active.base_offset() && !self.active.indexes().aborted.is_empty(),
        }
    }
}

impl AbortedSearch {
    /// A search from the segment at `segment_base` on, which holds `from`.
    #[must_use]
    pub(super) fn between(segment_base: Offset, from: Offset, to: Offset) -> AbortedSearch {
        AbortedSearch { from, to, next: Some(segment_base), found: Vec::new() }
    }

    /// Goes on as far as memory reaches.
    pub fn step(&mut self, log: &Log) -> AbortedStep {
        while let Some(segment_base) = self.next {
            if !log.has_aborted(segment_base) {
                self.next = log.next_segment(segment_base);
                continue;
            }
            match log.indexes_of(segment_base) {
                Some(indexes) if self.take(&indexes.aborted) => self.advance(log, segment_base),
                Some(_) | None => return AbortedStep::ReadIndex { segment_base },
            }
        }
        let mut found = std::mem::take(&mut self.found);
        found.sort_by_key(|transaction| transaction.first_offset);
        AbortedStep::Done(found)
    }

    /// The index that [`AbortedStep::ReadIndex`] named.
    pub fn feed(&mut self, log: &Log, index: &TransactionIndex) {
        let Some(segment_base) = self.next else {
            return;
        };
        assert!(self.take(index), "a whole index knows every offset");
        self.advance(log, segment_base);
    }

    fn advance(&mut self, log: &Log, segment_base: Offset) {
        if self.next.is_some() {
            self.next = log.next_segment(segment_base);
        }
    }

    /// Takes what overlaps from one index; false where only its file can tell.
    fn take(&mut self, index: &TransactionIndex) -> bool {
        let Some(range) = index.overlapping(self.from, self.to) else {
            return false;
        };
        self.found.extend(range.transactions);
        if range.complete {
            self.next = None;
        }
        true
    }
}

#[cfg(test)]
mod tests;
