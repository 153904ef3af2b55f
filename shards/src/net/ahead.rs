//! Who reads files from front to back on one connection, and what such a reader wants next.
//!
//! Owned by the connection's shard. A reader is recognised when a range that is sent begins where an earlier one of
//! the same file has ended; from then on what follows is asked of the disk while the client is still taking what it
//! got. The window doubles with each range that follows, so that a reader that turns away costs little.
//!
//! What must hold: nothing is asked for twice in a row, and nothing at or behind the end that the owner of the file
//! has named: there are the blocks that are still being written.

use std::collections::VecDeque;
use std::ops::Range;

/// Files that one connection reads at the same time and that are kept in mind.
const READERS_MAX: usize = 32;

/// What is asked for ahead at first, in bytes.
const WINDOW_MIN: u64 = 256 << 10;

/// And at most.
const WINDOW_MAX: u64 = 1 << 20;

struct Reader {
    file: usize,
    /// Where the next range begins if it goes on.
    next: u64,
    window: u64,
    /// What was asked for ends here.
    asked: u64,
}

/// The readers of one connection, the one that was served last at the back.
#[derive(Default)]
pub(super) struct Readers(VecDeque<Reader>);

impl Readers {
    /// A range of a file was sent, of which the bytes before `end` may be read. Returns what to ask for ahead.
    pub(super) fn sent(&mut self, file: usize, range: Range<u64>, end: u64) -> Option<Range<u64>> {
        let known = self.0.iter().position(|reader| reader.file == file && reader.next == range.start);
        let Some(mut reader) = known.and_then(|place| self.0.remove(place)) else {
            if self.0.len() == READERS_MAX {
                self.0.pop_front();
            }
            self.0.push_back(Reader { file, next: range.end, window: WINDOW_MIN, asked: range.end });
            return None;
        };
        let ahead = reader.asked.max(range.end)..end.min(range.end + reader.window);
        reader.next = range.end;
        reader.window = (reader.window * 2).min(WINDOW_MAX);
        reader.asked = reader.asked.max(ahead.end);
        self.0.push_back(reader);
        (!ahead.is_empty()).then_some(ahead)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KB: u64 = 1 << 10;

    #[test]
    fn a_reader_that_goes_on_gets_growing_windows_up_to_the_end() {
        let mut readers = Readers::default();
        let (mut at, mut asked) = (0, Vec::new());
        while at < 8_000 * KB {
            asked.extend(readers.sent(1, at..at + 100 * KB, 8_100 * KB));
            at += 100 * KB;
        }
        assert_eq!(asked[0], 200 * KB..456 * KB);
        assert!(asked.windows(2).all(|pair| pair[0].end == pair[1].start), "each byte once, none left out");
        assert!(asked.iter().all(|range| range.end - range.start <= WINDOW_MAX));
        assert_eq!(asked.last().expect("windows").end, 8_100 * KB, "never behind the end");
    }

    #[test]
    fn one_that_jumps_gets_nothing() {
        let mut readers = Readers::default();
        for at in [0, 500, 200, 1_000] {
            assert_eq!(readers.sent(1, at * KB..(at + 100) * KB, 1 << 30), None);
        }
        assert_eq!(readers.sent(2, 1_100 * KB..1_200 * KB, 1 << 30), None, "another file");
        assert!(readers.sent(1, 1_100 * KB..1_200 * KB, 1 << 30).is_some());
    }

    #[test]
    fn many_files_are_read_in_turn_and_few_are_kept_in_mind() {
        let mut readers = Readers::default();
        for round in 0..3 {
            for file in 0..READERS_MAX {
                let ahead = readers.sent(file, round * KB..(round + 1) * KB, 1 << 30);
                assert_eq!(ahead.is_some(), round > 0);
            }
        }
        for file in 0..1_000 {
            assert_eq!(readers.sent(1_000 + file, 0..KB, 1 << 30), None);
        }
        assert_eq!(readers.0.len(), READERS_MAX);
    }
}
