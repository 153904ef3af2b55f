//! The sparse time index of one segment: from which offset on a search for a timestamp has to look.
//!
//! Owned by the partition's owner shard, in [`SegmentIndexes`](super::segment::SegmentIndexes). On disk it is Kafka's
//! `<base offset>.timeindex` (`TimeIndex.java`): 12 bytes per entry, big-endian, the largest timestamp of the
//! segment so far (64 bits) and the last offset of the batch that has it, relative to the segment's base (32 bits).
//!
//! Invariants: timestamps rise strictly, so out-of-order records never move the index back; offsets never fall.
//! Every record with an offset up to an entry's own has at most the entry's timestamp.

use super::sparse_index::{Slot, SparseIndex};
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

/// An entry of the time index in the 12 bytes that it takes on disk too: a busy segment has a quarter of a million.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(Rust, packed(4))]
pub struct TimeSlot {
    timestamp: i64,
    relative_offset: u32,
}

impl Slot for TimeSlot {
    type Entry = TimestampOffset;
    type Bytes = [u8; TIME_ENTRY_BYTES];
    const RESERVED: usize = 1;

    fn decode([t0, t1, t2, t3, t4, t5, t6, t7, o0, o1, o2, o3]: Self::Bytes) -> TimeSlot {
        TimeSlot {
            timestamp: i64::from_be_bytes([t0, t1, t2, t3, t4, t5, t6, t7]),
            relative_offset: u32::from_be_bytes([o0, o1, o2, o3]),
        }
    }

    fn encode(self, into: &mut Vec<u8>) {
        into.extend_from_slice(&{ self.timestamp }.to_be_bytes());
        into.extend_from_slice(&{ self.relative_offset }.to_be_bytes());
    }

    fn rises(self, last: Option<TimeSlot>, _at: usize) -> bool {
        match last {
            Some(last) => last.timestamp < self.timestamp && { last.relative_offset } <= self.relative_offset,
            None => self.timestamp > TimestampMs::NONE.0,
        }
    }

    fn relative_offset(self) -> u32 {
        self.relative_offset
    }

    fn resolve(self, base_offset: Offset) -> TimestampOffset {
        TimestampOffset {
            timestamp: TimestampMs(self.timestamp),
            offset: Offset(base_offset.0 + i64::from(self.relative_offset)),
        }
    }
}

/// The time index of one segment, whole or without its oldest entries.
pub type TimeIndex = SparseIndex<TimeSlot>;

impl TimeIndex {
    /// Appends the segment's largest timestamp so far, unless the last entry has it already.
    ///
    /// Returns whether an entry was added. A roll may use the slot that [`is_full`](SparseIndex::is_full) reserves.
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
        let slot = TimeSlot { timestamp: largest.timestamp.0, relative_offset };
        self.accept(slot).expect("a later timestamp belongs to a later batch");
        true
    }

    /// The last entry whose timestamp is at most `target`: no record before its offset has a later timestamp.
    /// `(-1, base offset)` where every entry is later; `None` where only the file can tell.
    #[must_use]
    pub fn lookup(&self, target: TimestampMs) -> Option<TimestampOffset> {
        let first = TimestampOffset { timestamp: TimestampMs::NONE, offset: self.base_offset };
        self.last_where(|slot| { slot.timestamp } <= target.0, first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::CorruptIndex;
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
        assert_eq!(size_of::<TimeSlot>(), TIME_ENTRY_BYTES);
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
