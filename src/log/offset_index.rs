//! The sparse offset index of one segment: where in the `.log` file a reader of an offset begins to look.
//!
//! Owned by the partition's owner shard, in [`SegmentIndexes`](super::segment::SegmentIndexes). On disk it is Kafka's
//! `<base offset>.index` (`OffsetIndex.java`): 8 bytes per entry, big-endian, the last offset of a batch relative
//! to the segment's base and the position at which that batch begins, both 32 bits.
//!
//! Invariants: offsets and positions rise strictly from entry to entry; an entry's position is the first byte of a
//! batch.

use super::sparse_index::{CorruptIndex, Slot, SparseIndex};
use crate::ids::{FilePosition, Offset};

/// Bytes of one entry on disk.
pub const OFFSET_ENTRY_BYTES: usize = 8;

/// A batch that the index knows: its last offset and where it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OffsetPosition {
    /// The last offset of the batch.
    pub offset: Offset,
    /// The first byte of the batch in the segment.
    pub position: FilePosition,
}

/// An entry of the offset index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OffsetSlot {
    relative_offset: u32,
    position: u32,
}

impl Slot for OffsetSlot {
    type Entry = OffsetPosition;
    type Bytes = [u8; OFFSET_ENTRY_BYTES];
    const RESERVED: usize = 0;

    fn decode([o0, o1, o2, o3, p0, p1, p2, p3]: Self::Bytes) -> OffsetSlot {
        OffsetSlot {
            relative_offset: u32::from_be_bytes([o0, o1, o2, o3]),
            position: u32::from_be_bytes([p0, p1, p2, p3]),
        }
    }

    fn encode(self, into: &mut Vec<u8>) {
        into.extend_from_slice(&self.relative_offset.to_be_bytes());
        into.extend_from_slice(&self.position.to_be_bytes());
    }

    fn rises(self, last: Option<OffsetSlot>, at: usize) -> bool {
        let is_higher = match last {
            Some(last) => last.relative_offset < self.relative_offset && last.position < self.position,
            None => at == 0 || self.position > 0,
        };
        is_higher && self.position <= i32::MAX as u32
    }

    fn relative_offset(self) -> u32 {
        self.relative_offset
    }

    fn resolve(self, base_offset: Offset) -> OffsetPosition {
        OffsetPosition {
            offset: Offset(base_offset.0.wrapping_add(i64::from(self.relative_offset))),
            position: FilePosition(u64::from(self.position)),
        }
    }
}

/// The offset index of one segment, whole or without its oldest entries.
pub type OffsetIndex = SparseIndex<OffsetSlot>;

impl OffsetIndex {
    /// Whether the last entry points into a segment of that many bytes.
    ///
    /// # Errors
    /// [`CorruptIndex::BehindSegment`] where it does not.
    pub fn check_within(&self, segment_bytes: u64) -> Result<(), CorruptIndex> {
        match self.last_entry() {
            Some(last) if last.position.0 >= segment_bytes => {
                Err(CorruptIndex::BehindSegment { position: last.position.0, segment_bytes })
            }
            Some(_) | None => Ok(()),
        }
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
        let slot = OffsetSlot {
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
        let base = self.base_offset;
        self.last_where(|slot| slot.resolve(base).offset <= target, self.first())
    }

    /// The first entry in memory whose offset is at least `target`; `None` where none is.
    #[must_use]
    pub fn entry_from(&self, target: Offset) -> Option<OffsetPosition> {
        let base = self.base_offset;
        self.first_behind(|slot| slot.resolve(base).offset < target)
    }

    /// The start of the last indexed batch that begins at or before `position`: a place where a reply may be cut
    /// without parting a batch. `None` where only the file can tell.
    #[must_use]
    pub fn batch_start_at_or_before(&self, position: FilePosition) -> Option<FilePosition> {
        let entry = self.last_where(|slot| u64::from(slot.position) <= position.0, self.first());
        entry.map(|entry| entry.position)
    }

    /// The first entry in memory whose batch begins at or behind `position`; `None` where none does.
    #[must_use]
    pub fn entry_at_or_behind(&self, position: FilePosition) -> Option<OffsetPosition> {
        self.first_behind(|slot| u64::from(slot.position) < position.0)
    }

    fn first(&self) -> OffsetPosition {
        OffsetPosition { offset: self.base_offset, position: FilePosition(0) }
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
