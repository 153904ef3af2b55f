//! The sparse offset index of one segment: where in the `.log` file a reader of an offset begins to look.
//!
//! Owned by the partition's owner shard, in [`SegmentIndexes`](super::segment::SegmentIndexes). On disk it is Kafka's
//! `<base offset>.index` (`OffsetIndex.java`): 8 bytes per entry, big-endian, the last offset of a batch relative
//! to the segment's base and the position at which that batch begins, both 32 bits.
//!
//! Invariants: offsets and positions rise strictly from entry to entry; an entry's position is the first byte of a
//! batch. The oldest entries may have been *released*: they are in the file and count, but only the file has them.

use thiserror::Error;

use crate::ids::{FilePosition, Offset};

/// Bytes of one entry on disk.
pub const OFFSET_ENTRY_BYTES: usize = 8;

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

/// A batch that the index knows: its last offset and where it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OffsetPosition {
    /// The last offset of the batch.
    pub offset: Offset,
    /// The first byte of the batch in the segment.
    pub position: FilePosition,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Slot {
    relative_offset: u32,
    position: u32,
}

/// The index of one segment, whole or without its oldest entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OffsetIndex {
    base_offset: Offset,
    entries_max: usize,
    released: usize,
    slots: Vec<Slot>,
}

impl OffsetIndex {
    /// An empty index of the segment that begins at `base_offset`; `index_bytes_max` is `segment.index.bytes`.
    #[must_use]
    pub fn new(base_offset: Offset, index_bytes_max: usize) -> OffsetIndex {
        assert!(base_offset.0 >= 0, "a segment begins at offset 0 or later");
        OffsetIndex {
            base_offset,
            entries_max: index_bytes_max / OFFSET_ENTRY_BYTES,
            released: 0,
            slots: Vec::new(),
        }
    }

    /// Reads a whole index file.
    ///
    /// # Errors
    /// [`CorruptIndex`] where any entry breaks the order; Kafka checks the last one alone.
    pub fn decode(
        base_offset: Offset,
        index_bytes_max: usize,
        bytes: &[u8],
    ) -> Result<OffsetIndex, CorruptIndex> {
        OffsetIndex::decode_tail(base_offset, index_bytes_max, 0, bytes)
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
    ) -> Result<OffsetIndex, CorruptIndex> {
        let (entries, rest) = bytes.as_chunks::<OFFSET_ENTRY_BYTES>();
        if !rest.is_empty() {
            return Err(CorruptIndex::Length { bytes: bytes.len() });
        }
        let mut index = OffsetIndex::new(base_offset, index_bytes_max);
        assert!(released == 0 || !bytes.is_empty(), "the last entry is always among those that were read");
        index.released = released;
        index.slots.reserve_exact(entries.len());
        for entry in entries {
            let slot = Slot {
                relative_offset: u32::from_be_bytes([entry[0], entry[1], entry[2], entry[3]]),
                position: u32::from_be_bytes([entry[4], entry[5], entry[6], entry[7]]),
            };
            index.accept(slot)?;
        }
        Ok(index)
    }

    fn accept(&mut self, slot: Slot) -> Result<(), CorruptIndex> {
        let at = self.len();
        if slot.relative_offset > i32::MAX as u32 {
            return Err(CorruptIndex::BeforeBase { slot: at });
        }
        let rises = match self.slots.last() {
            Some(last) => last.relative_offset < slot.relative_offset && last.position < slot.position,
            None => at == 0 || slot.position > 0,
        };
        if !rises || slot.position > i32::MAX as u32 {
            return Err(CorruptIndex::NotRising { slot: at });
        }
        self.slots.push(slot);
        Ok(())
    }

    /// Whether the last entry points into a segment of that many bytes.
    ///
    /// # Errors
    /// [`CorruptIndex::BehindSegment`] where it does not.
    pub fn check_within(&self, segment_bytes: u64) -> Result<(), CorruptIndex> {
        match self.slots.last() {
            Some(last) if u64::from(last.position) >= segment_bytes => {
                Err(CorruptIndex::BehindSegment { position: u64::from(last.position), segment_bytes })
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Sets anew how large the file may become; an index that is larger counts as full.
    pub fn set_bytes_max(&mut self, index_bytes_max: usize) {
        self.entries_max = index_bytes_max / OFFSET_ENTRY_BYTES;
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

    /// Whether `segment.index.bytes` is used up: the segment is rolled before its next batch.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.len() >= self.entries_max
    }

    /// The newest entry; `None` where there is none or only the file has it.
    #[must_use]
    pub fn last_entry(&self) -> Option<OffsetPosition> {
        self.slots.last().map(|&slot| self.resolve(slot))
    }

    /// Whether the offset can be stored relative to this segment's base (KAFKA-6264: else the segment is rolled).
    #[must_use]
    pub fn can_hold(&self, offset: Offset) -> bool {
        offset.0 >= self.base_offset.0 && offset.0 - self.base_offset.0 <= i64::from(i32::MAX)
    }

    /// Appends the batch that ends with `last_offset` and begins at `position`.
    pub fn append(&mut self, last_offset: Offset, position: FilePosition) {
        assert!(!self.is_full(), "a segment with a full index is rolled before its next batch");
        assert!(self.can_hold(last_offset), "a segment is rolled before its offsets pass 32 bits");
        let slot = Slot {
            relative_offset: u32::try_from(last_offset.0 - self.base_offset.0)
                .expect("the offset was just found to be near the base"),
            position: u32::try_from(position.0).expect("segment.bytes is below 2^31"),
        };
        self.accept(slot).expect("batches are appended in order of offset and position");
    }

    /// The last entry whose offset is at most `target`: no batch before its position holds `target` or a later
    /// offset. `(base offset, 0)` where every entry is later; `None` where only the file can tell.
    #[must_use]
    pub fn lookup(&self, target: Offset) -> Option<OffsetPosition> {
        let below = self.slots.partition_point(|&slot| self.resolve(slot).offset <= target);
        self.entry_before(below)
    }

    /// The start of the last indexed batch that begins at or before `position`: a place where a reply may be cut
    /// without parting a batch. `None` where only the file can tell.
    #[must_use]
    pub fn batch_start_at_or_before(&self, position: FilePosition) -> Option<FilePosition> {
        let below = self.slots.partition_point(|slot| u64::from(slot.position) <= position.0);
        self.entry_before(below).map(|entry| entry.position)
    }

    /// The first entry in memory whose batch begins at or behind `position`; `None` where none does.
    #[must_use]
    pub fn entry_at_or_behind(&self, position: FilePosition) -> Option<OffsetPosition> {
        let below = self.slots.partition_point(|slot| u64::from(slot.position) < position.0);
        self.slots.get(below).map(|&slot| self.resolve(slot))
    }

    fn entry_before(&self, slot: usize) -> Option<OffsetPosition> {
        match slot.checked_sub(1) {
            Some(before) => Some(self.resolve(self.slots[before])),
            None if self.released > 0 => None,
            None => Some(OffsetPosition { offset: self.base_offset, position: FilePosition(0) }),
        }
    }

    fn resolve(&self, slot: Slot) -> OffsetPosition {
        OffsetPosition {
            offset: Offset(self.base_offset.0 + i64::from(slot.relative_offset)),
            position: FilePosition(u64::from(slot.position)),
        }
    }

    /// Removes every entry of `offset` or later. False where the cut lies among the released entries: then nothing
    /// changed, and the index has to be read from its file first.
    #[must_use]
    pub fn truncate_to(&mut self, offset: Offset) -> bool {
        let keep = self.slots.partition_point(|&slot| self.resolve(slot).offset < offset);
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
        let mut bytes = Vec::with_capacity((self.slots.len() - skip) * OFFSET_ENTRY_BYTES);
        for slot in &self.slots[skip..] {
            bytes.extend_from_slice(&slot.relative_offset.to_be_bytes());
            bytes.extend_from_slice(&slot.position.to_be_bytes());
        }
        bytes
    }

    /// Takes over the entries in memory of `other`, of the same segment, that lie behind the last one here.
    pub fn go_on_with(&mut self, other: &Self) {
        let last = self.slots.last().copied();
        let is_behind = |slot: &&Slot| {
            last.is_none_or(|last| {
                last.relative_offset < slot.relative_offset && last.position < slot.position
            })
        };
        self.slots.extend(other.slots.iter().filter(is_behind));
    }

    /// Bytes of memory that the entries take.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.slots.capacity() * size_of::<Slot>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BASE: Offset = Offset(1_000);

    fn filled(steps: &[(i64, u64)]) -> OffsetIndex {
        let mut index = OffsetIndex::new(BASE, 1 << 20);
        let (mut offset, mut position) = (BASE.0, 0);
        for &(records, bytes) in steps {
            offset += records;
            position += bytes;
            index.append(Offset(offset), FilePosition(position));
        }
        index
    }

    #[test]
    fn bytes_are_kafkas() {
        let index = filled(&[(41, 4_097), (1, 8_000)]);
        let bytes = index.encode_from(0);
        assert_eq!(bytes, [0, 0, 0, 41, 0, 0, 0x10, 0x01, 0, 0, 0, 42, 0, 0, 0x2f, 0x41]);
        assert_eq!(index.encode_from(1), bytes[8..]);
        assert_eq!(index.encode_from(2), []);
        assert_eq!(OffsetIndex::decode(BASE, 1 << 20, &bytes), Ok(index));
    }

    #[test]
    fn corrupt_files_are_refused() {
        let decode = |bytes: &[u8]| OffsetIndex::decode(BASE, 1 << 20, bytes);
        let bytes = filled(&[(5, 10), (5, 10), (5, 10)]).encode_from(0);
        assert_eq!(decode(&bytes[..23]), Err(CorruptIndex::Length { bytes: 23 }));
        let zeroed = [&bytes[..8], &[0; 16][..]].concat();
        assert_eq!(decode(&zeroed), Err(CorruptIndex::NotRising { slot: 1 }));
        let negative = [0xff, 0xff, 0xff, 0xff, 0, 0, 0, 9];
        assert_eq!(decode(&negative), Err(CorruptIndex::BeforeBase { slot: 0 }));
        let index = decode(&bytes).expect("the entries rise");
        assert_eq!(index.check_within(31), Ok(()));
        assert_eq!(
            index.check_within(30),
            Err(CorruptIndex::BehindSegment { position: 30, segment_bytes: 30 })
        );
        assert_eq!(decode(&[]).expect("no entry is no fault").check_within(0), Ok(()));
    }

    #[test]
    fn full_at_segment_index_bytes() {
        let mut index = OffsetIndex::new(BASE, 17);
        assert!(!index.is_full());
        index.append(Offset(1_001), FilePosition(1));
        assert!(!index.is_full());
        index.append(Offset(1_002), FilePosition(2));
        assert!(index.is_full());
    }

    #[test]
    fn offsets_beyond_32_bits_do_not_fit() {
        let index = OffsetIndex::new(BASE, 80);
        assert!(index.can_hold(Offset(BASE.0 + i64::from(i32::MAX))));
        assert!(!index.can_hold(Offset(BASE.0 + i64::from(i32::MAX) + 1)));
        assert!(!index.can_hold(Offset(BASE.0 - 1)));
    }

    #[test]
    fn a_released_index_says_when_it_does_not_know() {
        let mut index = filled(&[(5, 10), (5, 10), (5, 10)]);
        let whole = index.encode_from(0);
        index.release(1);
        assert_eq!((index.len(), index.released()), (3, 2));
        assert_eq!(index.encode_from(2), whole[16..]);
        assert_eq!(index.lookup(Offset(1_014)), None);
        assert_eq!(index.lookup(Offset(1_015)).map(|entry| entry.position), Some(FilePosition(30)));
        assert_eq!(index.batch_start_at_or_before(FilePosition(29)), None);
        assert!(!index.clone().truncate_to(Offset(1_015)), "the cut may lie before what is in memory");
        assert!(index.truncate_to(Offset(1_016)));
        let tail = OffsetIndex::decode_tail(BASE, 1 << 20, 2, &whole[16..]).expect("a tail");
        assert_eq!(tail, index);
        index.append(Offset(1_020), FilePosition(40));
        assert_eq!(index.len(), 4);
    }

    proptest! {
        #[test]
        fn lookup_agrees_with_a_linear_search(
            steps in prop::collection::vec((1_i64..50, 1_u64..9_000), 0..200),
            target in 990_i64..12_000,
        ) {
            let index = filled(&steps);
            let decoded = OffsetIndex::decode(BASE, 1 << 20, &index.encode_from(0)).expect("own bytes");
            prop_assert_eq!(&decoded, &index);
            let (mut at, mut expected) = ((BASE.0, 0), (BASE.0, 0));
            let mut cut = 0;
            for &(records, bytes) in &steps {
                at = (at.0 + records, at.1 + bytes);
                if at.0 <= target {
                    expected = at;
                }
                cut += usize::from(at.0 < target);
            }
            let found = index.lookup(Offset(target)).expect("nothing was released");
            prop_assert_eq!((found.offset.0, found.position.0), expected);
            let mut truncated = index.clone();
            prop_assert!(truncated.truncate_to(Offset(target)));
            prop_assert_eq!(truncated.len(), cut);
            let position = FilePosition(u64::try_from(target).expect("positive") * 7);
            let start = index.batch_start_at_or_before(position).expect("nothing was released");
            let linear = steps.iter().scan(0, |at, step| { *at += step.1; Some(*at) });
            prop_assert_eq!(start.0, linear.filter(|&at| at <= position.0).last().unwrap_or(0));
        }
    }
}
