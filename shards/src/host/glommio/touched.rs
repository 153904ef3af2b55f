//! Which parts of files were read from the disk a moment ago: what another reader follows into is worth a place in the
//! page cache.
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
/// Places in the table.
const SLOTS: usize = 4 * PARTS_MAX as usize;

#[derive(Clone, Copy, Default)]
struct Slot {
    /// Some bits of what the part is mixed to.
    tag: u32,
    /// The how manieth part it was; zero for an empty slot.
    turn: u32,
}

/// The parts that were read.
#[derive(Default)]
pub(super) struct Touched {
    slots: Vec<Slot>,
    turn: u32,
}

impl Touched {
    /// A range of a file is read. Returns whether a part of it was a moment ago.
    pub(super) fn again(&mut self, file: (u64, u64), range: Range<u64>) -> bool {
        if self.slots.is_empty() {
            self.slots = vec![Slot::default(); SLOTS];
        }
        let first = (range.start + PART_BYTES / 2 - 1) / PART_BYTES;
        let mut again = false;
        for part in (first..).take_while(|part| part * PART_BYTES + PART_BYTES / 2 < range.end) {
            again |= self.part_again(file, part);
        }
        again
    }

    fn part_again(&mut self, file: (u64, u64), part: u64) -> bool {
        self.turn = self.turn.checked_add(1).unwrap_or(1);
        let mixed = mix(mix(mix(file.0) ^ file.1) ^ part);
        let place = usize::try_from(mixed % SLOTS as u64).expect("a place in the table");
        let now = Slot { tag: u32::try_from(mixed >> 32).expect("half of 64 bits"), turn: self.turn };
        let before = std::mem::replace(&mut self.slots[place], now);
        before.turn != 0 && before.tag == now.tag && now.turn.wrapping_sub(before.turn) <= PARTS_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_reader_is_told_from_the_first_wherever_ranges_begin() {
        let read_all = |touched: &mut Touched, first: u64, step: u64| {
            let mut again = 0;
            for start in (0..1_000).map(|at| first + at * step) {
                again += usize::from(touched.again((1, 2), start..start + step));
            }
            again
        };
        for step in [100_000, 200_704, PART_BYTES] {
            let mut touched = Touched::default();
            assert_eq!(read_all(&mut touched, 4_096, step), 0, "steps of {step}");
            let parts = usize::try_from(1_000 * step / PART_BYTES).expect("few");
            assert!(read_all(&mut touched, 12_288, step) >= parts - parts / 20, "steps of {step}");
        }
    }

    #[test]
    fn files_and_devices_are_told_apart_and_old_parts_are_forgotten() {
        let mut touched = Touched::default();
        let part = |at: u64| at * PART_BYTES..(at + 1) * PART_BYTES;
        assert!(!touched.again((1, 1), part(5)));
        assert!(!touched.again((1, 2), part(5)));
        assert!(!touched.again((2, 1), part(5)));
        assert!(touched.again((1, 1), part(5)));
        for at in 0..u64::from(PARTS_MAX) {
            touched.again((3, 3), part(at));
        }
        assert!(!touched.again((1, 1), part(5)));
    }
}
