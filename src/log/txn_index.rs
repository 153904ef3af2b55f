//! The aborted transactions of one segment: what a reader of committed records has to skip.
//!
//! Owned by the partition's owner shard, in [`SegmentIndexes`](super::segment::SegmentIndexes). On disk it is Kafka's
//! `<base offset>.txnindex` (`TransactionIndex.java`, `AbortedTxn.java`), a file that exists only where there is an
//! entry: 34 bytes each, big-endian, version 0, producer id, first offset, offset of the abort marker, and the last
//! stable offset as it was behind that marker. An entry stands in the segment of its marker.
//!
//! Invariants: the offsets of the markers rise strictly. The oldest entries may have been *released*, as in the
//! offset index.

use super::sparse_index::CorruptIndex;
use crate::ids::{Offset, ProducerId};

/// Bytes of one entry on disk.
pub const ABORTED_ENTRY_BYTES: usize = 34;

/// The only version of an entry.
const VERSION: [u8; 2] = [0; 2];

/// A transaction that was aborted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AbortedTransaction {
    /// Whose it was.
    pub producer_id: ProducerId,
    /// Its first record.
    pub first_offset: Offset,
    /// Its abort marker.
    pub last_offset: Offset,
    /// The last stable offset when the marker was appended: later aborts cannot lie before it.
    pub last_stable_offset: Offset,
}

/// What one segment's index says about a range of offsets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AbortedRange {
    /// The transactions that overlap the range, by ascending marker.
    pub transactions: Vec<AbortedTransaction>,
    /// Whether later segments can hold no more of them.
    pub complete: bool,
}

/// The aborted transactions whose markers are in one segment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TransactionIndex {
    released: usize,
    entries: Vec<AbortedTransaction>,
}

impl TransactionIndex {
    /// No aborted transaction.
    #[must_use]
    pub fn new() -> TransactionIndex {
        TransactionIndex::default()
    }

    /// Reads the whole file of the segment that begins at `base_offset`.
    ///
    /// # Errors
    /// [`CorruptIndex`] where an entry is of another version, before the segment, or out of order.
    pub fn decode(base_offset: Offset, bytes: &[u8]) -> Result<TransactionIndex, CorruptIndex> {
        let (chunks, rest) = bytes.as_chunks::<ABORTED_ENTRY_BYTES>();
        if !rest.is_empty() {
            return Err(CorruptIndex::Length { bytes: bytes.len() });
        }
        let mut index = TransactionIndex { released: 0, entries: Vec::with_capacity(chunks.len()) };
        for (slot, chunk) in chunks.iter().enumerate() {
            let (words, _) = chunk[VERSION.len()..].as_chunks::<8>();
            let [producer_id, first_offset, last_offset, last_stable_offset] =
                [0, 1, 2, 3].map(|word: usize| i64::from_be_bytes(words[word]));
            let last = index.entries.last().map_or(Offset::NONE, |last| last.last_offset);
            if chunk[..VERSION.len()] != VERSION || last_offset <= last.0 || first_offset > last_offset {
                return Err(CorruptIndex::NotRising { slot });
            }
            if last_offset < base_offset.0 {
                return Err(CorruptIndex::BeforeBase { slot });
            }
            index.entries.push(AbortedTransaction {
                producer_id: ProducerId(producer_id),
                first_offset: Offset(first_offset),
                last_offset: Offset(last_offset),
                last_stable_offset: Offset(last_stable_offset),
            });
        }
        Ok(index)
    }

    /// Entries of the index, the released ones included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.released + self.entries.len()
    }

    /// Whether the segment has no aborted transaction, and so no file.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Entries that only the file has.
    #[must_use]
    pub fn released(&self) -> usize {
        self.released
    }

    /// Appends the transaction that was just aborted.
    pub fn append(&mut self, aborted: AbortedTransaction) {
        assert!(aborted.first_offset <= aborted.last_offset, "a marker stands behind what it ends");
        assert!(
            self.entries.last().is_none_or(|last| last.last_offset < aborted.last_offset),
            "markers are appended in order"
        );
        self.entries.push(aborted);
    }

    /// The aborted transactions that overlap `from..to`; `None` where only the file can tell.
    #[must_use]
    pub fn overlapping(&self, from: Offset, to: Offset) -> Option<AbortedRange> {
        if self.released > 0 && self.entries.first().is_none_or(|first| from <= first.last_offset) {
            return None;
        }
        let mut transactions = Vec::new();
        let start = self.entries.partition_point(|entry| entry.last_offset < from);
        for entry in &self.entries[start..] {
            if entry.first_offset < to {
                transactions.push(*entry);
            }
            if entry.last_stable_offset >= to {
                return Some(AbortedRange { transactions, complete: true });
            }
        }
        Some(AbortedRange { transactions, complete: false })
    }

    /// Removes every transaction whose marker is at `offset` or later. False where the cut lies among the released
    /// entries: then nothing changed, and the index has to be read from its file first.
    #[must_use]
    pub fn truncate_to(&mut self, offset: Offset) -> bool {
        let keep = self.entries.partition_point(|entry| entry.last_offset < offset);
        if keep == 0 && self.released > 0 {
            return false;
        }
        self.entries.truncate(keep);
        true
    }

    /// Forgets all but the newest `keep` entries; the caller has written the others to the file.
    pub fn release(&mut self, keep: usize) {
        let surplus = self.entries.len().saturating_sub(keep);
        self.entries.drain(..surplus);
        self.entries.shrink_to_fit();
        self.released += surplus;
    }

    /// The entries from number `first` on as the file has them; with 0 the whole file.
    #[must_use]
    pub fn encode_from(&self, first: usize) -> Vec<u8> {
        let skip = first.checked_sub(self.released).expect("a released entry was written before");
        assert!(skip <= self.entries.len(), "no more entries are written than there are");
        let mut bytes = Vec::with_capacity((self.entries.len() - skip) * ABORTED_ENTRY_BYTES);
        for entry in &self.entries[skip..] {
            bytes.extend_from_slice(&VERSION);
            bytes.extend_from_slice(&entry.producer_id.0.to_be_bytes());
            bytes.extend_from_slice(&entry.first_offset.0.to_be_bytes());
            bytes.extend_from_slice(&entry.last_offset.0.to_be_bytes());
            bytes.extend_from_slice(&entry.last_stable_offset.0.to_be_bytes());
        }
        bytes
    }

    /// Bytes of memory that the entries take.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.entries.capacity() * size_of::<AbortedTransaction>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn aborted(producer_id: i64, first: i64, last: i64, stable: i64) -> AbortedTransaction {
        AbortedTransaction {
            producer_id: ProducerId(producer_id),
            first_offset: Offset(first),
            last_offset: Offset(last),
            last_stable_offset: Offset(stable),
        }
    }

    fn filled(entries: &[AbortedTransaction]) -> TransactionIndex {
        let mut index = TransactionIndex::new();
        entries.iter().for_each(|&entry| index.append(entry));
        index
    }

    #[test]
    fn bytes_are_kafkas() {
        let index = filled(&[aborted(7, 1, 2, 3)]);
        let mut bytes = vec![0; 34];
        for (at, value) in [(9, 7), (17, 1), (25, 2), (33, 3)] {
            bytes[at] = value;
        }
        assert_eq!(index.encode_from(0), bytes);
        assert_eq!(TransactionIndex::decode(Offset(0), &bytes), Ok(index));
        assert_eq!(TransactionIndex::decode(Offset(3), &bytes), Err(CorruptIndex::BeforeBase { slot: 0 }));
        let twice = bytes.repeat(2);
        assert_eq!(TransactionIndex::decode(Offset(0), &twice), Err(CorruptIndex::NotRising { slot: 1 }));
        bytes[1] = 1;
        assert_eq!(TransactionIndex::decode(Offset(0), &bytes), Err(CorruptIndex::NotRising { slot: 0 }));
        assert_eq!(TransactionIndex::decode(Offset(0), &bytes[1..]), Err(CorruptIndex::Length { bytes: 33 }));
    }

    #[test]
    fn a_range_stops_at_the_last_stable_offset() {
        let index = filled(&[aborted(1, 10, 20, 15), aborted(2, 15, 30, 31), aborted(3, 40, 50, 51)]);
        let ids = |from, to| {
            let range = index.overlapping(Offset(from), Offset(to)).expect("nothing was released");
            (range.transactions.iter().map(|entry| entry.producer_id.0).collect::<Vec<_>>(), range.complete)
        };
        assert_eq!(ids(0, 10), (vec![], true));
        assert_eq!(ids(0, 11), (vec![1], true));
        assert_eq!(ids(20, 31), (vec![1, 2], true));
        assert_eq!(ids(21, 40), (vec![2], true));
        assert_eq!(ids(31, 60), (vec![3], false));
        assert_eq!(ids(51, 60), (vec![], false));
    }

    #[test]
    fn a_released_index_says_when_it_does_not_know() {
        let mut index = filled(&[aborted(1, 10, 20, 21), aborted(2, 25, 30, 31), aborted(3, 40, 50, 51)]);
        let whole = index.encode_from(0);
        index.release(1);
        assert_eq!(index.overlapping(Offset(50), Offset(60)), None);
        assert!(index.overlapping(Offset(51), Offset(60)).is_some());
        assert!(!index.truncate_to(Offset(50)));
        assert!(index.truncate_to(Offset(51)));
        assert_eq!((index.len(), index.encode_from(2)), (3, whole[68..].to_vec()));
        index.release(0);
        assert_eq!(index.overlapping(Offset(99), Offset(100)), None);
    }

    proptest! {
        #[test]
        fn ranges_and_truncation_agree_with_a_linear_search(
            steps in prop::collection::vec((1_i64..30, 0_i64..40), 0..60),
            from in 0_i64..900,
            records in 1_i64..200,
            cut in 0_i64..900,
        ) {
            let mut entries = Vec::new();
            let mut marker = 0;
            for (at, (gap, length)) in steps.into_iter().enumerate() {
                marker += gap;
                let first = (marker - length).max(0);
                entries.push(aborted(i64::try_from(at).expect("few"), first, marker, i64::MAX - 1));
            }
            // With a last stable offset that never says "complete", the range is a plain overlap.
            let entries: Vec<_> = entries
                .into_iter()
                .map(|entry| AbortedTransaction { last_stable_offset: Offset(0), ..entry })
                .collect();
            let index = filled(&entries);
            prop_assert_eq!(&TransactionIndex::decode(Offset(0), &index.encode_from(0)), &Ok(index.clone()));
            let range = index.overlapping(Offset(from), Offset(from + records)).expect("nothing was released");
            let overlaps = |entry: &&AbortedTransaction| {
                entry.last_offset.0 >= from && entry.first_offset.0 < from + records
            };
            let linear: Vec<_> = entries.iter().filter(overlaps).copied().collect();
            prop_assert_eq!(range, AbortedRange { transactions: linear, complete: false });
            let mut truncated = index;
            prop_assert!(truncated.truncate_to(Offset(cut)));
            prop_assert_eq!(truncated.len(), entries.iter().filter(|entry| entry.last_offset.0 < cut).count());
        }
    }
}
