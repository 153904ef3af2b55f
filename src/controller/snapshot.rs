//! The names of the snapshots of the metadata log, which stand beside its segments.
//!
//! A broker of Kafka's writes them as its log grows and then removes the segments before: what is left of the log is
//! only to be understood behind the newest one. A snapshot is a file of record batches: a control batch with a header,
//! the records of the whole image, a control batch with a footer, without which it is not whole (KIP-630, `Snapshots`
//! and `RecordsSnapshotWriter`). Names alone: nothing is opened here. Owned by the controller shard.

use std::fmt;

use crate::ids::{LeaderEpoch, Offset};

/// What a snapshot's name ends with.
pub const SUFFIX: &str = ".checkpoint";
/// Digits of the offset in the name.
const OFFSET_DIGITS: usize = 20;
/// Digits of the epoch in the name.
const EPOCH_DIGITS: usize = 10;

/// Up to where a snapshot goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SnapshotId {
    /// The first offset of the log that is not in it.
    pub end: Offset,
    /// The epoch of the last record that is in it.
    pub epoch: LeaderEpoch,
}

impl SnapshotId {
    /// Reads a file's name; `None` for any other file, one that was never finished (`.checkpoint.part`) or that is to
    /// be removed (`.checkpoint.deleted`).
    #[must_use]
    pub fn parse(name: &str) -> Option<SnapshotId> {
        let (end, epoch) = name.strip_suffix(SUFFIX)?.split_once('-')?;
        let is_number =
            |text: &str, digits| text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit());
        if !is_number(end, OFFSET_DIGITS) || !is_number(epoch, EPOCH_DIGITS) {
            return None;
        }
        Some(SnapshotId { end: Offset(end.parse().ok()?), epoch: LeaderEpoch(epoch.parse().ok()?) })
    }
}

impl fmt::Display for SnapshotId {
    /// The name of the file.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:020}-{:010}{SUFFIX}", self.end.0, self.epoch.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_kafkas() {
        let id = SnapshotId { end: Offset(1234), epoch: LeaderEpoch(7) };
        assert_eq!(id.to_string(), "00000000000000001234-0000000007.checkpoint");
        assert_eq!(SnapshotId::parse(&id.to_string()), Some(id));
        for name in [
            "bootstrap.checkpoint",
            "00000000000000001234-0000000007.checkpoint.part",
            "00000000000000001234-0000000007.checkpoint.deleted",
            "00000000000000001234-000000007.checkpoint",
            "0000000000000000123x-0000000007.checkpoint",
            "99999999999999999999-0000000007.checkpoint",
            "00000000000000001234.log",
        ] {
            assert_eq!(SnapshotId::parse(name), None, "{name}");
        }
    }

    #[test]
    fn the_newest_is_the_largest() {
        let id = |end, epoch| SnapshotId { end: Offset(end), epoch: LeaderEpoch(epoch) };
        assert!(id(5, 9) < id(6, 1) && id(6, 1) < id(6, 2));
    }
}
