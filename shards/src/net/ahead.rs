//! Who reads files from front to back on one connection.
//!
//! Owned by the connection's shard. A reader is recognised when a range that is sent begins where an earlier one of
//! the same file has ended; from then on what follows is read from the disk while the client is still taking what it
//! got, if the page cache does not have it.

use std::collections::VecDeque;
use std::ops::Range;

/// Files that one connection reads at the same time and that are kept in mind.
const READERS_MAX: usize = 32;

struct Reader {
    file: usize,
    /// Where the next range begins if it goes on.
    next: u64,
}

/// The readers of one connection, the one that was served last at the back.
#[derive(Default)]
pub(super) struct Readers(VecDeque<Reader>);

impl Readers {
    /// A range of a file was sent. Returns whether its reader has come from what is before it, and is likely to go on.
    pub(super) fn sent(&mut self, file: usize, range: Range<u64>) -> bool {
        let known = self.0.iter().position(|reader| reader.file == file && reader.next == range.start);
        if let Some(place) = known {
            self.0.remove(place);
        } else if self.0.len() == READERS_MAX {
            self.0.pop_front();
        }
        self.0.push_back(Reader { file, next: range.end });
        known.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KB: u64 = 1 << 10;

    #[test]
    fn a_reader_that_goes_on_is_recognised() {
        let mut readers = Readers::default();
        assert!(!readers.sent(1, 0..100 * KB));
        for step in 1..50 {
            assert!(readers.sent(1, step * 100 * KB..(step + 1) * 100 * KB));
        }
    }

    #[test]
    fn one_that_jumps_is_not() {
        let mut readers = Readers::default();
        for at in [0, 500, 200, 1_000] {
            assert!(!readers.sent(1, at * KB..(at + 100) * KB));
        }
        assert!(!readers.sent(2, 1_100 * KB..1_200 * KB), "another file");
        assert!(readers.sent(1, 1_100 * KB..1_200 * KB));
    }

    #[test]
    fn many_files_are_read_in_turn_and_few_are_kept_in_mind() {
        let mut readers = Readers::default();
        for round in 0..3 {
            for file in 0..READERS_MAX {
                assert_eq!(readers.sent(file, round * KB..(round + 1) * KB), round > 0);
            }
        }
        for file in 0..1_000 {
            assert!(!readers.sent(1_000 + file, 0..KB));
        }
        assert_eq!(readers.0.len(), READERS_MAX);
    }
}
