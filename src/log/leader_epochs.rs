//! Which leader epoch wrote which offsets: what followers and consumers compare to find where logs part.
//!
//! Owned by the partition's owner shard, as part of its [`Log`](super::partition_log::Log). On disk it is Kafka's
//! `leader-epoch-checkpoint` (`LeaderEpochFileCache.java`, `CheckpointFile.java`): the lines `0`, the number of
//! entries, and per entry `<epoch> <start offset>`. An epoch that wrote nothing is in that file alone; the others
//! can be rebuilt from the batches.
//!
//! Invariants: epochs and start offsets both rise strictly from entry to entry.

use thiserror::Error;

use crate::ids::{LeaderEpoch, Offset};
use crate::limits::LEADER_EPOCHS_MAX;

/// The first offset of a leader epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochEntry {
    /// The epoch, never negative.
    pub epoch: LeaderEpoch,
    /// The log end offset at which its leader took over.
    pub start_offset: Offset,
}

/// The answer to OffsetForLeaderEpoch; both are -1 where the epoch is unknown (KIP-101, KIP-279).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochEndOffset {
    /// The largest epoch that is at most the requested one.
    pub epoch: LeaderEpoch,
    /// The offset at which the next larger epoch begins, or the log's end.
    pub end_offset: Offset,
}

impl EpochEndOffset {
    /// The epoch is unknown: the asker falls back to its high watermark.
    pub const UNDEFINED: EpochEndOffset =
        EpochEndOffset { epoch: LeaderEpoch::NONE, end_offset: Offset::NONE };
}

/// Why a `leader-epoch-checkpoint` cannot be read; the log rebuilds what its batches tell.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CheckpointError {
    /// The file is of another version than 0.
    #[error("version {0:?} where leader epoch checkpoints have version 0")]
    Version(String),
    /// A line is not what stands in its place, or the bytes are no text.
    #[error("line {0} is malformed")]
    Line(usize),
    /// The file has another number of entries than it says.
    #[error("{found} entries where {expected} were announced")]
    Count {
        /// What the second line says.
        expected: usize,
        /// Lines that follow.
        found: usize,
    },
    /// Epochs or offsets do not rise.
    #[error("entry {0} does not rise above the entry before it")]
    NotRising(usize),
}

/// The epochs of one log, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeaderEpochs {
    entries: Vec<EpochEntry>,
}

impl LeaderEpochs {
    /// No epoch known.
    #[must_use]
    pub fn new() -> LeaderEpochs {
        LeaderEpochs::default()
    }

    /// The known epochs, oldest first.
    #[must_use]
    pub fn entries(&self) -> &[EpochEntry] {
        &self.entries
    }

    /// The newest epoch; -1 where none is known.
    #[must_use]
    pub fn latest_epoch(&self) -> LeaderEpoch {
        self.entries.last().map_or(LeaderEpoch::NONE, |entry| entry.epoch)
    }

    /// Notes that `epoch` begins at `start_offset`; returns whether the checkpoint has to be written.
    ///
    /// Nothing changes where the latest epoch is this one and began no later. Entries that contradict the new one,
    /// by an epoch or offset that is no smaller, go: an epoch that wrote nothing leaves no trace (KAFKA-7415).
    pub fn assign(&mut self, epoch: LeaderEpoch, start_offset: Offset) -> bool {
        assert!(epoch.0 >= 0, "only a known epoch is assigned");
        assert!(start_offset.0 >= 0, "an epoch begins at offset 0 or later");
        if let Some(last) = self.entries.last()
            && last.epoch == epoch
            && last.start_offset <= start_offset
        {
            return false;
        }
        let keep =
            self.entries.partition_point(|entry| entry.epoch < epoch && entry.start_offset < start_offset);
        self.entries.truncate(keep);
        if self.entries.len() == LEADER_EPOCHS_MAX {
            self.entries.remove(0);
        }
        self.entries.push(EpochEntry { epoch, start_offset });
        assert!(self.entries.len() <= LEADER_EPOCHS_MAX, "the oldest epoch made room");
        true
    }

    /// The epoch of the record at `offset`; -1 where it is older than what is known.
    #[must_use]
    pub fn epoch_for(&self, offset: Offset) -> LeaderEpoch {
        let after = self.entries.partition_point(|entry| entry.start_offset <= offset);
        match after.checked_sub(1) {
            Some(at) => self.entries[at].epoch,
            None => LeaderEpoch::NONE,
        }
    }

    /// Where the largest epoch that is at most `requested` ends (KIP-101, KIP-279, KIP-320).
    ///
    /// The latest epoch ends at the log's end. An epoch older than all known ones ends where the first known one
    /// begins: its records are gone. One newer than all known ones is undefined.
    #[must_use]
    pub fn end_offset_for(&self, requested: LeaderEpoch, log_end_offset: Offset) -> EpochEndOffset {
        if requested == LeaderEpoch::NONE {
            return EpochEndOffset::UNDEFINED;
        }
        if requested == self.latest_epoch() {
            return EpochEndOffset { epoch: requested, end_offset: log_end_offset };
        }
        let higher = self.entries.partition_point(|entry| entry.epoch <= requested);
        let Some(next) = self.entries.get(higher) else {
            return EpochEndOffset::UNDEFINED;
        };
        let epoch = match higher.checked_sub(1) {
            Some(floor) => self.entries[floor].epoch,
            None => requested,
        };
        EpochEndOffset { epoch, end_offset: next.start_offset }
    }

    /// Drops the epochs that begin at `end_offset` or later; returns whether the checkpoint has to be written.
    pub fn truncate_from_end(&mut self, end_offset: Offset) -> bool {
        let keep = self.entries.partition_point(|entry| entry.start_offset < end_offset);
        let changed = keep < self.entries.len();
        self.entries.truncate(keep);
        changed
    }

    /// Drops the epochs that end before `start_offset` and lets the one that holds it begin there; returns whether
    /// the checkpoint has to be written.
    pub fn truncate_from_start(&mut self, start_offset: Offset) -> bool {
        let before = self.entries.partition_point(|entry| entry.start_offset <= start_offset);
        let Some(floor) = before.checked_sub(1) else {
            return false;
        };
        let changed = floor > 0 || self.entries[0].start_offset < start_offset;
        self.entries.drain(..floor);
        self.entries[0].start_offset = start_offset;
        changed
    }

    /// Forgets every epoch, as a log does that starts anew; returns whether the checkpoint has to be written.
    pub fn clear(&mut self) -> bool {
        let changed = !self.entries.is_empty();
        self.entries.clear();
        changed
    }

    /// The text of the `leader-epoch-checkpoint` file.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut text = format!("0\n{}\n", self.entries.len());
        for entry in &self.entries {
            text.push_str(&format!("{} {}\n", entry.epoch, entry.start_offset));
        }
        text
    }

    /// Reads a `leader-epoch-checkpoint` file; an empty file has no epochs, as Kafka reads it.
    ///
    /// # Errors
    /// [`CheckpointError`] where the text is not a checkpoint; nothing is taken from it then.
    pub fn decode(bytes: &[u8]) -> Result<LeaderEpochs, CheckpointError> {
        let text = std::str::from_utf8(bytes).map_err(|_| CheckpointError::Line(1))?;
        let mut lines = text.lines();
        match lines.next() {
            None => return Ok(LeaderEpochs::new()),
            Some("0") => {}
            Some(other) => return Err(CheckpointError::Version(other.chars().take(20).collect())),
        }
        let Some(count) = lines.next() else {
            return Ok(LeaderEpochs::new());
        };
        let expected: usize = count.parse().map_err(|_| CheckpointError::Line(2))?;
        let mut epochs = LeaderEpochs::new();
        for (slot, line) in lines.enumerate() {
            let entry = decode_line(line).ok_or(CheckpointError::Line(slot + 3))?;
            epochs.accept(entry, slot)?;
        }
        let found = epochs.entries.len();
        if found == expected { Ok(epochs) } else { Err(CheckpointError::Count { expected, found }) }
    }

    fn accept(&mut self, entry: EpochEntry, slot: usize) -> Result<(), CheckpointError> {
        let rises = match self.entries.last() {
            Some(last) => last.epoch < entry.epoch && last.start_offset < entry.start_offset,
            None => entry.epoch.0 >= 0 && entry.start_offset.0 >= 0,
        };
        if !rises {
            return Err(CheckpointError::NotRising(slot));
        }
        if slot >= LEADER_EPOCHS_MAX {
            return Err(CheckpointError::Line(slot + 3));
        }
        self.entries.push(entry);
        Ok(())
    }
}

fn decode_line(line: &str) -> Option<EpochEntry> {
    let mut words = line.split_whitespace();
    let (epoch, start_offset) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    if words.next().is_some() {
        return None;
    }
    Some(EpochEntry { epoch: LeaderEpoch(epoch), start_offset: Offset(start_offset) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn epochs(entries: &[(i32, i64)]) -> LeaderEpochs {
        let mut epochs = LeaderEpochs::new();
        for &(epoch, start) in entries {
            assert!(epochs.assign(LeaderEpoch(epoch), Offset(start)));
        }
        epochs
    }

    fn pairs(epochs: &LeaderEpochs) -> Vec<(i32, i64)> {
        epochs.entries().iter().map(|entry| (entry.epoch.0, entry.start_offset.0)).collect()
    }

    fn end(epochs: &LeaderEpochs, requested: i32) -> (i32, i64) {
        let end = epochs.end_offset_for(LeaderEpoch(requested), Offset(100));
        (end.epoch.0, end.end_offset.0)
    }

    #[test]
    fn assigning_the_latest_epoch_again_changes_nothing() {
        let mut epochs = epochs(&[(2, 10)]);
        assert!(!epochs.assign(LeaderEpoch(2), Offset(10)));
        assert!(!epochs.assign(LeaderEpoch(2), Offset(15)));
        assert!(epochs.assign(LeaderEpoch(2), Offset(9)));
        assert_eq!(pairs(&epochs), [(2, 9)]);
    }

    #[test]
    fn an_epoch_without_records_is_replaced() {
        assert_eq!(pairs(&epochs(&[(0, 0), (3, 7), (5, 7)])), [(0, 0), (5, 7)]);
        assert_eq!(pairs(&epochs(&[(0, 0), (3, 7), (5, 9), (4, 8)])), [(0, 0), (3, 7), (4, 8)]);
        assert_eq!(pairs(&epochs(&[(3, 7), (2, 9)])), [(2, 9)]);
    }

    #[test]
    fn end_offsets_are_kafkas() {
        let epochs = epochs(&[(2, 10), (4, 20), (7, 30)]);
        assert_eq!(end(&epochs, -1), (-1, -1));
        assert_eq!(end(&epochs, 1), (1, 10));
        assert_eq!(end(&epochs, 2), (2, 20));
        assert_eq!(end(&epochs, 3), (2, 20));
        assert_eq!(end(&epochs, 4), (4, 30));
        assert_eq!(end(&epochs, 6), (4, 30));
        assert_eq!(end(&epochs, 7), (7, 100));
        assert_eq!(end(&epochs, 8), (-1, -1));
        assert_eq!(end(&LeaderEpochs::new(), 0), (-1, -1));
    }

    #[test]
    fn an_offset_has_the_epoch_that_wrote_it() {
        let epochs = epochs(&[(2, 10), (4, 20)]);
        let of = |offset| epochs.epoch_for(Offset(offset)).0;
        assert_eq!([of(9), of(10), of(19), of(20), of(99)], [-1, 2, 2, 4, 4]);
    }

    #[test]
    fn truncation_from_both_ends() {
        let whole = epochs(&[(2, 10), (4, 20), (7, 30)]);
        let from_end = |offset| {
            let mut epochs = whole.clone();
            (epochs.truncate_from_end(Offset(offset)), pairs(&epochs))
        };
        assert_eq!(from_end(31), (false, pairs(&whole)));
        assert_eq!(from_end(30), (true, vec![(2, 10), (4, 20)]));
        assert_eq!(from_end(0), (true, vec![]));
        let from_start = |offset| {
            let mut epochs = whole.clone();
            (epochs.truncate_from_start(Offset(offset)), pairs(&epochs))
        };
        assert_eq!(from_start(9), (false, pairs(&whole)));
        assert_eq!(from_start(10), (false, pairs(&whole)));
        assert_eq!(from_start(15), (true, vec![(2, 15), (4, 20), (7, 30)]));
        assert_eq!(from_start(20), (true, vec![(4, 20), (7, 30)]));
        assert_eq!(from_start(99), (true, vec![(7, 99)]));
    }

    #[test]
    fn the_checkpoint_is_kafkas_text() {
        let epochs = epochs(&[(0, 0), (3, 12)]);
        assert_eq!(epochs.encode(), "0\n2\n0 0\n3 12\n");
        assert_eq!(LeaderEpochs::decode(b"0\n2\n0 0\n3   12"), Ok(epochs));
        assert_eq!(LeaderEpochs::decode(b""), Ok(LeaderEpochs::new()));
        assert_eq!(LeaderEpochs::decode(b"0\n"), Ok(LeaderEpochs::new()));
        let error = |text: &[u8]| LeaderEpochs::decode(text).expect_err("no checkpoint");
        assert_eq!(error(b"1\n0\n"), CheckpointError::Version("1".into()));
        assert_eq!(error(b"0\nx\n"), CheckpointError::Line(2));
        assert_eq!(error(b"0\n1\n3\n"), CheckpointError::Line(3));
        assert_eq!(error(b"0\n1\n3 4 5\n"), CheckpointError::Line(3));
        assert_eq!(error(b"0\n2\n3 4\n"), CheckpointError::Count { expected: 2, found: 1 });
        assert_eq!(error(b"0\n2\n3 4\n3 5\n"), CheckpointError::NotRising(1));
        assert_eq!(error(&[0xff, 0xfe]), CheckpointError::Line(1));
    }

    proptest! {
        #[test]
        fn entries_always_rise_and_survive_the_file(
            steps in prop::collection::vec((0_i32..20, 0_i64..50, 0_u8..8), 0..60),
        ) {
            let mut epochs = LeaderEpochs::new();
            for (epoch, offset, what) in steps {
                match what {
                    0 => { epochs.truncate_from_end(Offset(offset)); }
                    1 => { epochs.truncate_from_start(Offset(offset)); }
                    2.. => { epochs.assign(LeaderEpoch(epoch), Offset(offset)); }
                }
                for pair in epochs.entries().windows(2) {
                    prop_assert!(pair[0].epoch < pair[1].epoch);
                    prop_assert!(pair[0].start_offset < pair[1].start_offset);
                }
                let decoded = LeaderEpochs::decode(epochs.encode().as_bytes());
                prop_assert_eq!(decoded.as_ref(), Ok(&epochs));
            }
        }
    }
}
