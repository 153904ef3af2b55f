//! What of a journal's entry a segment lacks.
//!
//! Decided at a start, before any log is loaded. An entry holds whole batches; the segment's file may have all of them
//! (they were written back), a part (the write back was cut off by the crash), none, or others: then another broker has
//! used the directory since, and its log stays as it is.
//!
//! What must hold: a valid batch in a segment is never overwritten; deciding again after a crash in the middle of the
//! playing gives the same log.

use super::frame::Entry;
use crate::ids::Offset;
use crate::limits::BATCH_HEADER_BYTES;
use crate::protocol::records::{BatchHeader, crc_is_valid};

/// What is to be done with an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replay {
    /// The segment has it.
    There,
    /// The segment lacks its bytes from here on.
    Write {
        /// Bytes of the entry that the segment has.
        from: usize,
    },
    /// The segment has a valid batch of another life in its place: this entry and the partition's later ones are not
    /// played.
    Diverged,
    /// As many bytes of the segment, from the entry's position on, are needed to tell.
    Need {
        /// Their number.
        bytes: usize,
    },
}

/// Whether entries of a segment are played at all, in a directory whose last segment is `last`: what is before that one
/// is whole, and may have been cleaned since.
#[must_use]
pub fn is_played(segment_base: Offset, last: Option<Offset>) -> bool {
    last.is_none_or(|last| segment_base >= last)
}

/// What the segment lacks of `entry`, where its file has `there` from the entry's position on, cut at the file's end or
/// anywhere behind the entry's own length.
#[must_use]
pub fn decide(entry: &Entry<'_>, there: &[u8], is_end: bool) -> Replay {
    let mut at = 0;
    while at < entry.bytes.len() {
        let Ok(ours) = BatchHeader::parse(&entry.bytes[at..]) else {
            // Not written by us: entries hold whole batches.
            return Replay::Diverged;
        };
        let end = at + ours.batch_bytes;
        if end > entry.bytes.len() {
            return Replay::Diverged;
        }
        if there.get(at..end) == Some(&entry.bytes[at..end]) {
            at = end;
            continue;
        }
        return compare(&ours, &there[at.min(there.len())..], at, is_end);
    }
    Replay::There
}

/// What stands in the segment where the entry has the batch `ours`, `at` bytes behind the entry's start.
fn compare(ours: &BatchHeader, there: &[u8], at: usize, is_end: bool) -> Replay {
    let header = if there.len() < BATCH_HEADER_BYTES { None } else { BatchHeader::parse(there).ok() };
    match header {
        // Offset and epoch stand outside the CRC: a torn write may lack them alone.
        Some(theirs) if (theirs.batch_bytes, theirs.crc) == (ours.batch_bytes, ours.crc) => {
            Replay::Write { from: at }
        }
        Some(theirs) if theirs.batch_bytes > there.len() && !is_end => {
            Replay::Need { bytes: at + theirs.batch_bytes }
        }
        Some(theirs) if theirs.batch_bytes <= there.len() && crc_is_valid(&there[..theirs.batch_bytes]) => {
            Replay::Diverged
        }
        Some(_) | None => Replay::Write { from: at },
    }
}

#[cfg(test)]
mod tests;
