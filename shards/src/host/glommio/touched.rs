//! Which parts of files were read from the disk a moment ago: what reader after reader comes for is worth a place in
//! the page cache.
//!
//! A place costs two to three times what a direct read does, and saves half of one each time that it is used: it pays
//! where at least three more readers follow, and who comes as the fourth is likely to be one of many.
//!
//! A table of fixed size per shard, made when the first part is noted. A part is 256 KiB of a file; a range of bytes
//! stands for the part whose middle it has, so that whoever reads from front to back names each part once, wherever
//! the ranges begin. Only the last GiB counts: two who read the same old records an hour apart are not helped by
//! 10 GB of them in memory. Two parts may rarely be taken for each other, or one be forgotten early: either costs a
//! detour and nothing else.

use std::ops::Range;

use ottla::mix::mix;

/// Bytes of one part.
const PART_BYTES: u64 = 256 << 10;
/// The last parts that were read and that count: a GiB.
const PARTS_MAX: u32 = 4096;
/// The read that brings a part into the page cache.
const READS: u8 = 4;
/// Places in the table.
const SLOTS: usize = 4 * PARTS_MAX as usize;

#[derive(Clone, Copy, Default)]
struct Slot {
    /// Some bits of what the part is mixed to.
    tag: u32,
    /// The how manieth part it was when it was read last; zero for an empty slot.
    turn: u32,
    /// How often it was read.
    reads: u8,
}

/// The parts that were read.
#[derive(Default)]
pub(super) struct Touched {
    slots: Vec<Slot>,
    turn: u32,
}

impl Touched {
    /// A range of a file is read. Returns whether that was often so a moment ago.
    pub(super) fn often(&mut self, file: (u64, u64), range: Range<u64>) -> bool {
        if self.slots.is_empty() {
            self.slots = vec![Slot::default(); SLOTS];
        }
        let first = (range.start + PART_BYTES / 2 - 1) / PART_BYTES;
        let mut often = false;
        for part in (first..).take_while(|part| part * PART_BYTES + PART_BYTES / 2 < range.end) {
            often |= self.part_read(file, part) >= READS;
        }
        often
    }

    /// A part is read: for the how manieth time.
    fn part_read(&mut self, file: (u64, u64), part: u64) -> u8 {
        self.turn = self.turn.checked_add(1).unwrap_or(1);
        let mixed = mix(mix(mix(file.0) ^ file.1) ^ part);
        let place = usize::try_from(mixed % SLOTS as u64).expect("a place in the table");
        let tag = u32::try_from(mixed >> 32).expect("half of 64 bits");
        let slot = &mut self.slots[place];
        let is_known = slot.turn != 0 && slot.tag == tag && self.turn.wrapping_sub(slot.turn) <= PARTS_MAX;
        let reads = if is_known { slot.reads.saturating_add(1) } else { 1 };
        *slot = Slot { tag, turn: self.turn, reads };
        reads
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fourth_reader_is_told_from_the_first_wherever_ranges_begin() {
        let read_all = |touched: &mut Touched, first: u64, step: u64| {
            let mut often = 0;
            for start in (0..1_000).map(|at| first + at * step) {
                often += usize::from(touched.often((1, 2), start..start + step));
            }
            often
        };
        for step in [100_000, 200_704, PART_BYTES] {
            let mut touched = Touched::default();
            for first in [4_096, 12_288, 0] {
                assert_eq!(read_all(&mut touched, first, step), 0, "steps of {step}");
            }
            let parts = usize::try_from(1_000 * step / PART_BYTES).expect("few");
            assert!(read_all(&mut touched, 8_192, step) >= parts - parts / 20, "steps of {step}");
        }
    }

    #[test]
    fn files_and_devices_are_told_apart_and_old_parts_are_forgotten() {
        let mut touched = Touched::default();
        let part = |at: u64| at * PART_BYTES..(at + 1) * PART_BYTES;
        for _ in 1..READS {
            assert!(!touched.often((1, 1), part(5)));
            assert!(!touched.often((1, 2), part(5)));
            assert!(!touched.often((2, 1), part(5)));
        }
        assert!(touched.often((1, 1), part(5)));
        assert!(touched.often((1, 1), part(5)));
        for at in 0..u64::from(PARTS_MAX) {
            touched.often((3, 3), part(at));
        }
        assert!(!touched.often((1, 1), part(5)));
    }
}
