//! What both sparse indexes of a segment are: entries that rise, the oldest of which only the file may have.
//!
//! Owned by the partition's owner shard, in [`SegmentIndexes`](super::segment::SegmentIndexes). On disk an index is its
//! entries one behind the other (`AbstractIndex.java`); what an entry is and which may follow which is its [`Slot`]'s:
//! the [offset index](super::offset_index)'s or the [time index](super::time_index)'s.
//!
//! Invariants: each entry rises above the one before it, and offsets lie within the segment. The oldest entries may
//! have been *released*: they are in the file and count, but only the file has them.

use thiserror::Error;

use crate::ids::Offset;

/// Why the bytes of an index file are not an index: the index is rebuilt from the segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum CorruptIndex {
    /// The length is no whole number of entries.
    #[error("{bytes} bytes are no whole number of index entries")]
    Length {
        /// Bytes of the file.
        bytes: usize,
    },
    /// An entry does not rise above the one before it, as in a block that was never written.
    #[error("index entry {slot} does not rise above the entry before it")]
    NotRising {
        /// The entry's place in the file, 0-based.
        slot: usize,
    },
    /// An entry's offset is below the segment's base.
    #[error("index entry {slot} lies before the segment's base offset")]
    BeforeBase {
        /// The entry's place in the file, 0-based.
        slot: usize,
    },
    /// The last entry points behind the segment's end.
    #[error("the last index entry points at byte {position} of a segment of {segment_bytes} bytes")]
    BehindSegment {
        /// Where the entry points.
        position: u64,
        /// Bytes of the segment.
        segment_bytes: u64,
    },
    /// The file has more entries than a segment may have.
    #[error("{entries} index entries are more than a segment has")]
    TooMany {
        /// Entries of the file.
        entries: usize,
    },
}

/// An entry as an index keeps it: its offset relative to the segment's base.
pub trait Slot: Copy {
    /// The entry with its place in the log.
    type Entry;
    /// The bytes of one on disk.
    type Bytes: for<'a> TryFrom<&'a [u8]>;
    /// Entries that stay free for what a roll appends.
    const RESERVED: usize;

    /// Reads one.
    fn decode(bytes: Self::Bytes) -> Self;

    /// Appends it as the file has it.
    fn encode(self, into: &mut Vec<u8>);

    /// Whether it may be entry number `at`, behind `last`; that is `None` where only the file has it, too.
    fn rises(self, last: Option<Self>, at: usize) -> bool;

    /// Its offset, less the segment's base.
    fn relative_offset(self) -> u32;

    /// The entry in a segment that begins at `base_offset`.
    fn resolve(self, base_offset: Offset) -> Self::Entry;
}

/// An index of one segment, whole or without its oldest entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SparseIndex<S> {
    pub(super) base_offset: Offset,
    entries_max: usize,
    released: usize,
    slots: Vec<S>,
}

impl<S: Slot> SparseIndex<S> {
    const ENTRY_BYTES: usize = size_of::<S::Bytes>();

    /// An empty index of the segment that begins at `base_offset`; `index_bytes_max` is `segment.index.bytes`.
    #[must_use]
    pub fn new(base_offset: Offset, index_bytes_max: usize) -> SparseIndex<S> {
        assert!(base_offset.0 >= 0, "a segment begins at offset 0 or later");
        let entries_max = index_bytes_max / Self::ENTRY_BYTES;
        SparseIndex { base_offset, entries_max, released: 0, slots: Vec::new() }
    }

    /// Reads a whole index file.
    ///
    /// # Errors
    /// [`CorruptIndex`] where any entry breaks the order; Kafka checks the last one alone.
    pub fn decode(
        base_offset: Offset,
        index_bytes_max: usize,
        bytes: &[u8],
    ) -> Result<SparseIndex<S>, CorruptIndex> {
        SparseIndex::decode_tail(base_offset, index_bytes_max, 0, bytes)
    }

    /// Reads the end of an index file whose first `released` entries are not in `bytes` and stay in the file.
    ///
    /// # Errors
    /// [`CorruptIndex`] where any entry that was read breaks the order.
    pub fn decode_tail(
        base_offset: Offset,
        index_bytes_max: usize,
        released: usize,
        bytes: &[u8],
    ) -> Result<SparseIndex<S>, CorruptIndex> {
        let entries = bytes.chunks_exact(Self::ENTRY_BYTES);
        if !entries.remainder().is_empty() {
            return Err(CorruptIndex::Length { bytes: bytes.len() });
        }
        let mut index = SparseIndex::new(base_offset, index_bytes_max);
        assert!(released == 0 || !bytes.is_empty(), "the last entry is always among those that were read");
        index.released = released;
        index.slots.reserve_exact(entries.len());
        for entry in entries {
            let Ok(entry) = S::Bytes::try_from(entry) else { unreachable!("chunks have an entry's length") };
            index.accept(S::decode(entry))?;
        }
        Ok(index)
    }

    /// Appends an entry.
    pub(super) fn accept(&mut self, slot: S) -> Result<(), CorruptIndex> {
        let at = self.len();
        if slot.relative_offset() > i32::MAX as u32 {
            return Err(CorruptIndex::BeforeBase { slot: at });
        }
        if !slot.rises(self.slots.last().copied(), at) {
            return Err(CorruptIndex::NotRising { slot: at });
        }
        self.slots.push(slot);
        Ok(())
    }

    /// Sets anew how large the file may become; an index that is larger counts as full.
    pub fn set_bytes_max(&mut self, index_bytes_max: usize) {
        self.entries_max = index_bytes_max / Self::ENTRY_BYTES;
    }

    /// Entries of the index, the released ones included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.released + self.slots.len()
    }

    /// Whether no entry was ever appended.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Entries that only the file has.
    #[must_use]
    pub fn released(&self) -> usize {
        self.released
    }

    /// Whether `segment.index.bytes` is used up, but for what a roll appends: the segment is rolled before its next
    /// batch.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.len() + S::RESERVED >= self.entries_max
    }

    /// The newest entry; `None` where there is none or only the file has it.
    #[must_use]
    pub fn last_entry(&self) -> Option<S::Entry> {
        self.slots.last().map(|slot| slot.resolve(self.base_offset))
    }

    /// The last entry of those for which `is_before` holds, `first` where it holds for none; `None` where only the
    /// file can tell. The entries for which it holds come before all others.
    pub(super) fn last_where(&self, is_before: impl Fn(S) -> bool, first: S::Entry) -> Option<S::Entry> {
        let below = self.slots.partition_point(|&slot| is_before(slot));
        match below.checked_sub(1) {
            Some(before) => Some(self.slots[before].resolve(self.base_offset)),
            None if self.released > 0 => None,
            None => Some(first),
        }
    }

    /// The first entry in memory behind those for which `is_before` holds.
    pub(super) fn first_behind(&self, is_before: impl Fn(S) -> bool) -> Option<S::Entry> {
        let below = self.slots.partition_point(|&slot| is_before(slot));
        self.slots.get(below).map(|slot| slot.resolve(self.base_offset))
    }

    /// Removes every entry of `offset` or later. False where the cut lies among the released entries: then nothing
    /// changed, and the index has to be read from its file first.
    #[must_use]
    pub fn truncate_to(&mut self, offset: Offset) -> bool {
        let is_kept = |slot: &S| self.base_offset.0 + i64::from(slot.relative_offset()) < offset.0;
        let keep = self.slots.partition_point(is_kept);
        if keep == 0 && self.released > 0 {
            return false;
        }
        self.slots.truncate(keep);
        true
    }

    /// Forgets all but the newest `keep` entries; the caller has written the others to the file. The last one stays
    /// in any case: the next has to rise above it.
    pub fn release(&mut self, keep: usize) {
        let surplus = self.slots.len().saturating_sub(keep.max(1));
        self.slots.drain(..surplus);
        self.slots.shrink_to_fit();
        self.released += surplus;
    }

    /// The entries from number `first` on as the file has them; with 0 the whole file.
    #[must_use]
    pub fn encode_from(&self, first: usize) -> Vec<u8> {
        let skip = first.checked_sub(self.released).expect("a released entry was written before");
        assert!(skip <= self.slots.len(), "no more entries are written than there are");
        let mut bytes = Vec::with_capacity((self.slots.len() - skip) * Self::ENTRY_BYTES);
        self.slots[skip..].iter().for_each(|slot| slot.encode(&mut bytes));
        bytes
    }

    /// Takes over the entries in memory of `other`, of the same segment, that lie behind the last one here.
    pub fn go_on_with(&mut self, other: &Self) {
        let (last, at) = (self.slots.last().copied(), self.len());
        let is_behind = |slot: &&S| last.is_none() || slot.rises(last, at);
        self.slots.extend(other.slots.iter().filter(is_behind));
    }

    /// Bytes of memory that the entries take.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.slots.capacity() * size_of::<S>()
    }
}
