//! The sparse time index of one segment: from which offset on a search for a timestamp has to look.
//!
//! Owned by the partition's owner shard, in [`SegmentIndexes`](super::segment::SegmentIndexes). On disk it is Kafka's
//! `<base offset>.timeindex` (`TimeIndex.java`): 12 bytes per entry, big-endian, the largest timestamp of the
//! segment so far (64 bits) and the last offset of the batch that has it, relative to the segment's base (32 bits).
//!
//! Invariants: timestamps rise strictly, so out-of-order records never move the index back; offsets never fall.
//! Every record with an offset up to an entry's own has at most the entry's timestamp. The oldest entries may have
//! been *released*, as in the offset index.

use super::offset_index::CorruptIndex;
use crate::ids::{Offset, TimestampMs};

/// Bytes of one entry on disk.
pub const TIME_ENTRY_BYTES: usize = 12;

/// A timestamp and the last offset of the batch that has it as its maximum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimestampOffset {
    /// Milliseconds since 1970; [`TimestampMs::NONE`] where no record has a timestamp.
    pub timestamp: TimestampMs,
    /// The last offset of the batch.
    pub offset: Offset,
}

/// One entry in the 12 bytes that it takes on disk too: a busy segment has a quarter of a million.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(Rust, packed(4))]
struct Slot {
    timestamp: i64,
    relative_offset: u32,
}

/// The time index of one segment, whole or without its oldest entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimeIndex {
    base_offset: Offset,
    entries_max: usize,
    released: usize,
    slots: Vec<Slot>,
}

impl TimeIndex {
    /// An empty index of the segment that begins at `base_offset`; `index_bytes_max` is `segment.index.bytes`.
    #[must_use]
    pub fn new(base_offset: Offset, index_bytes_max: usize) -> TimeIndex {
        assert!(base_offset.0 >= 0, "a segment begins at offset 0 or later");
        TimeIndex {
            base_offset,
            entries_max: index_bytes_max / TIME_ENTRY_BYTES,
            released: 0,
            slots: Vec::new(),
        }
    }

    /// Reads a whole index file.
    ///
    /// # Errors
    /// [`CorruptIndex`] where any entry breaks the order.
    pub fn decode(
        base_offset: Offset,
        index_bytes_max: usize,
        bytes: &[u8],
    ) -> Result<TimeIndex, CorruptIndex> {
        TimeIndex::decode_tail(base_offset, index_bytes_max, 0, bytes)
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
    ) -> Result<TimeIndex, CorruptIndex> {
        let (entries, rest) = bytes.as_chunks::<TIME_ENTRY_BYTES>();
        if !rest.is_empty() {
            return Err(CorruptIndex::Length { bytes: bytes.len() });
        }
        let mut index = TimeIndex::new(base_offset, index_bytes_max);
        assert!(released == 0 || !bytes.is_empty(), "the last entry is always among those that were read");
        index.released = released;
        index.slots.reserve_exact(entries.len());
        for entry in entries {
            let [t0, t1, t2, t3, t4, t5, t6, t7, o0, o1, o2, o3] = *entry;
            let slot = Slot {
                timestamp: i64::from_be_bytes([t0, t1, t2, t3, t4, t5, t6, t7]),
                relative_offset: u32::from_be_bytes([o0, o1, o2, o3]),
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
            Some(last) => last.timestamp < slot.timestamp && { last.relative_offset } <= slot.relative_offset,
            None => slot.timestamp > TimestampMs::NONE.0,
        };
        if !rises {
            return Err(CorruptIndex::NotRising { slot: at });
        }
        self.slots.push(slot);
        Ok(())
    }

    /// Sets anew how large the file may become; an index that is larger counts as full.
    pub fn set_bytes_max(&mut self, index_bytes_max: usize) {
        self.entries_max = index_bytes_max / TIME_ENTRY_BYTES;
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

    /// Whether `segment.index.bytes` is used up but for the entry that a roll appends.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.len() + 1 >= self.entries_max
    }

    /// The newest entry, which has the largest timestamp; `None` where there is none or only the file has it.
    #[must_use]
    pub fn last_entry(&self) -> Option<TimestampOffset> {
        self.slots.last().map(|&slot| self.resolve(slot))
    }

    /// Appends the segment's largest timestamp so far, unless the last entry has it already.
    ///
    /// Returns whether an entry was added. A roll may use the slot that [`is_full`](TimeIndex::is_full) reserves.
    pub fn append(&mut self, largest: TimestampOffset) -> bool {
        let last = self.last_entry();
        assert!(
            last.is_none_or(|last| last.timestamp <= largest.timestamp),
            "the largest timestamp of a segment never falls"
        );
        if largest.timestamp <= last.map_or(TimestampMs::NONE, |last| last.timestamp) {
            return false;
        }
        assert!(largest.offset >= self.base_offset, "an offset of this segment");
        let relative_offset = u32::try_from(largest.offset.0 - self.base_offset.0)
            .expect("a segment is rolled before its offsets pass 32 bits");
        let slot = Slot { timestamp: largest.timestamp.0, relative_offset };
        self.accept(slot).expect("a later timestamp belongs to a later batch");
        true
    }

    /// The last entry whose timestamp is at most `target`: no record before its offset has a later timestamp.
    /// `(-1, base offset)` where every entry is later; `None` where only the file can tell.
    #[must_use]
    pub fn lookup(&self, target: TimestampMs) -> Option<TimestampOffset> {
        let below = self.slots.partition_point(|slot| { slot.timestamp } <= target.0);
        match below.checked_sub(1) {
            Some(before) => Some(self.resolve(self.slots[before])),
            None if self.released > 0 => None,
            None => Some(TimestampOffset { timestamp: TimestampMs::NONE, offset: self.base_offset }),
        }
    }

    fn resolve(&self, slot: Slot) -> TimestampOffset {
        TimestampOffset {
            timestamp: TimestampMs(slot.timestamp),
            offset: Offset(self.base_offset.0 + i64::from(slot.relative_offset)),
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
        let mut bytes = Vec::with_capacity((self.slots.len() - skip) * TIME_ENTRY_BYTES);
        for slot in &self.slots[skip..] {
            bytes.extend_from_slice(&{ slot.timestamp }.to_be_bytes());
            bytes.extend_from_slice(&{ slot.relative_offset }.to_be_bytes());
        }
        bytes
    }

    /// Takes over the entries in memory of `other`, of the same segment, that lie behind the last one here.
    pub fn go_on_with(&mut self, other: &Self) {
        let last = self.slots.last().copied();
        let is_behind = |slot: &&Slot| last.is_none_or(|last| last.timestamp < slot.timestamp);
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

    const BASE: Offset = Offset(500);

    fn entry(timestamp: i64, offset: i64) -> TimestampOffset {
        TimestampOffset { timestamp: TimestampMs(timestamp), offset: Offset(offset) }
    }

    fn filled(entries: &[(i64, i64)]) -> TimeIndex {
        let mut index = TimeIndex::new(BASE, 1 << 20);
        for &(timestamp, offset) in entries {
            index.append(entry(timestamp, offset));
        }
        index
    }

    #[test]
    fn an_entry_takes_12_bytes_in_memory_too() {
        assert_eq!(size_of::<Slot>(), TIME_ENTRY_BYTES);
        let index = filled(&[(1, 500), (2, 501)]);
        assert!(index.memory_bytes() >= 24);
    }

    #[test]
    fn bytes_are_kafkas() {
        let index = filled(&[(0x0102, 500), (0x0103, 515)]);
        let bytes = index.encode_from(0);
        assert_eq!(bytes, [0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 3, 0, 0, 0, 15]);
        assert_eq!(TimeIndex::decode(BASE, 1 << 20, &bytes), Ok(index));
    }

    #[test]
    fn only_a_larger_timestamp_is_appended() {
        let mut index = TimeIndex::new(BASE, 1 << 20);
        assert!(!index.append(entry(-1, 500)), "records without a timestamp leave no entry");
        assert!(index.append(entry(10, 501)));
        assert!(!index.append(entry(10, 501)));
        assert!(index.append(entry(11, 504)));
        assert_eq!(index.last_entry(), Some(entry(11, 504)));
    }

    #[test]
    fn one_slot_is_reserved_for_the_roll() {
        let mut index = TimeIndex::new(BASE, 36);
        index.append(entry(1, 500));
        assert!(!index.is_full());
        index.append(entry(2, 501));
        assert!(index.is_full());
        assert!(index.append(entry(3, 502)));
        assert_eq!(index.len(), 3);
    }

    #[test]
    fn corrupt_files_are_refused() {
        let bytes = filled(&[(5, 501), (6, 501)]).encode_from(0);
        let decode = |bytes: &[u8]| TimeIndex::decode(BASE, 1 << 20, bytes);
        assert!(decode(&bytes).is_ok());
        assert_eq!(decode(&bytes[1..]), Err(CorruptIndex::Length { bytes: 23 }));
        let zeroed = [&bytes[..12], &[0; 12][..]].concat();
        assert_eq!(decode(&zeroed), Err(CorruptIndex::NotRising { slot: 1 }));
        let mut negative = bytes.clone();
        negative[8] = 0x80;
        assert_eq!(decode(&negative), Err(CorruptIndex::BeforeBase { slot: 0 }));
    }

    #[test]
    fn a_released_index_says_when_it_does_not_know() {
        let mut index = filled(&[(5, 501), (6, 502), (7, 503)]);
        let whole = index.encode_from(0);
        index.release(2);
        assert_eq!(index.lookup(TimestampMs(5)), None);
        assert_eq!(index.lookup(TimestampMs(6)), Some(entry(6, 502)));
        assert!(!index.truncate_to(Offset(502)));
        assert!(index.truncate_to(Offset(503)));
        assert_eq!(index.encode_from(1), whole[12..24]);
        assert_eq!(TimeIndex::decode_tail(BASE, 1 << 20, 1, &whole[12..24]), Ok(index));
    }

    proptest! {
        #[test]
        fn lookup_and_truncation_agree_with_a_linear_search(
            steps in prop::collection::vec((1_i64..100, 0_i64..20), 0..100),
            timestamp in -2_i64..6_000,
            cut in 490_i64..1_500,
        ) {
            let mut entries = Vec::new();
            let (mut at, mut offset) = (-1, BASE.0);
            for &(ms, records) in &steps {
                at += ms;
                offset += records;
                entries.push((at, offset));
            }
            let mut index = filled(&entries);
            let decoded = TimeIndex::decode(BASE, 1 << 20, &index.encode_from(0)).expect("own bytes");
            prop_assert_eq!(&decoded, &index);
            let linear = entries.iter().rfind(|entry| entry.0 <= timestamp);
            let &(expected, offset) = linear.unwrap_or(&(-1, BASE.0));
            prop_assert_eq!(index.lookup(TimestampMs(timestamp)), Some(entry(expected, offset)));
            prop_assert!(index.truncate_to(Offset(cut)));
            prop_assert_eq!(index.len(), entries.iter().filter(|entry| entry.1 < cut).count());
        }
    }
}
