//! The start of a log from what is in its directory, and its truncation, which is a start that ends earlier.
//!
//! Owned by the partition's owner shard. Nothing here reads: [`LogLoader::step`] names what the shell has to read or
//! write next, the shell hands it in, and [`LogLoader::finish`] gives the [`Log`] and what has to be done before it
//! serves. Segments before the recovery point are trusted by their names and sizes. From there on, or from the
//! newest usable producer snapshot before it, every batch is scanned and the indexes are built anew, as Kafka's
//! `LogLoader.java` does; unlike Kafka's the scan begins in the middle of a segment where the offset index has an
//! entry that a batch confirms. After a clean stop that leaves the last index interval.
//!
//! The order of what must be durable at run time: index entries, the epoch checkpoint and a snapshot first, then the
//! recovery point that relies on them; the epoch checkpoint before the first batch of an epoch. A journal is played
//! into the segments before the load, or appended to the log after it.
//!
//! What must hold: the log that comes out is a prefix of what was appended, ends with a whole batch, and holds every
//! batch before the first damage; damage to what was durable is reported.

mod machine;

use super::config::LogConfig;
use super::damage::Damage;
use super::leader_epochs::LeaderEpochs;
use super::partition_log::Log;
use super::recovery::PrefixEnd;
use super::segment::SegmentIndexes;
use crate::ids::{FilePosition, Offset, TimestampMs};

pub use machine::LogLoader;

/// A live `.log` file of the directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoundSegment {
    /// The offset in its name.
    pub base_offset: Offset,
    /// Bytes of the file.
    pub bytes: u64,
    /// When it was last changed.
    pub modified: TimestampMs,
    /// Whether a live `.txnindex` stands beside it.
    pub has_aborted: bool,
}

/// What a start knows before it reads any batch.
#[derive(Clone, Debug)]
pub struct LoadInput {
    /// The settings of the log.
    pub config: LogConfig,
    /// The live segments, in any order.
    pub segments: Vec<FoundSegment>,
    /// The offsets of the live snapshots, in any order.
    pub snapshots: Vec<Offset>,
    /// The leader epoch checkpoint; `None` where it cannot be read, so that every batch has to be.
    pub epochs: Option<LeaderEpochs>,
    /// The log start offset of the last checkpoint.
    pub log_start_offset: Offset,
    /// The recovery point of the last checkpoint.
    pub recovery_point: Offset,
    /// The files from this segment on are not as they were left, wherever the recovery point is: all of them are
    /// scanned. What is missing before the recovery point was durable once.
    pub doubted_from: Option<Offset>,
    /// The broker stopped in order after it had written everything.
    pub clean: bool,
    /// Truncate: no batch stays that holds this offset or a later one.
    pub limit: Option<Offset>,
    /// The high watermark of the last checkpoint, for a log with followers; `None` for one without.
    pub high_watermark: Option<Offset>,
    /// A random number, for `segment.jitter.ms`.
    pub jitter_seed: u64,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoadStep {
    /// Read the snapshot of this offset, whole, and call [`LogLoader::snapshot`].
    ReadSnapshot {
        /// The offset in its name.
        offset: Offset,
    },
    /// Read the indexes of this segment and call [`LogLoader::indexes`].
    ReadIndexes {
        /// The segment's base offset.
        segment_base: Offset,
        /// How many of the last entries of the offset and the time index are enough; `None` for all.
        last_entries: Option<usize>,
    },
    /// Read the segment from `from` to its end and call [`LogLoader::feed`] with each piece until it returns false,
    /// then [`LogLoader::end_of_bytes`].
    Read {
        /// The segment's base offset.
        segment_base: Offset,
        /// The first byte to feed.
        from: FilePosition,
    },
    /// Copy what stands in the segment from `from` on into a segment of its own, durably and under its name at once,
    /// and call [`LogLoader::split_done`]: what stands before it is damaged. The copied bytes are cut off the old
    /// segment with the other cuts, when everything else is in place.
    Split {
        /// The segment's base offset.
        segment_base: Offset,
        /// The first byte that is kept.
        from: FilePosition,
        /// The offset that stands there, and the base offset of the new segment.
        new_base: Offset,
    },
    /// Take the indexes of a closed segment by [`LogLoader::take_rebuilt`] and write them over its files.
    WriteIndexes {
        /// The segment's base offset.
        segment_base: Offset,
    },
    /// Call [`LogLoader::finish`].
    Done,
}

/// The bytes of an index file, or of its end.
#[derive(Clone, Copy, Debug, Default)]
pub struct IndexBytes<'a> {
    /// Whole entries that stand before `bytes` in the file.
    pub skipped_entries: usize,
    /// The entries.
    pub bytes: &'a [u8],
}

/// What stands in the index files of a segment; `None` for a file that is missing.
#[derive(Clone, Copy, Debug, Default)]
pub struct IndexFiles<'a> {
    /// The first 61 bytes of the segment, or as many as it has.
    pub head: &'a [u8],
    /// The offset index.
    pub offsets: Option<IndexBytes<'a>>,
    /// The time index.
    pub times: Option<IndexBytes<'a>>,
    /// The transaction index, always whole.
    pub aborted: Option<&'a [u8]>,
}

/// Indexes of a closed segment that were built anew.
#[derive(Debug, PartialEq, Eq)]
pub struct RebuiltIndexes {
    /// The segment's base offset.
    pub segment_base: Offset,
    /// What its index files must hold.
    pub indexes: SegmentIndexes,
}

/// A segment whose file holds more than the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The segment's base offset.
    pub segment_base: Offset,
    /// Bytes that stay. What follows is cut off or zeroed before anything is appended: stale batches behind the end
    /// would come to life when the log reaches them.
    pub bytes: FilePosition,
    /// Why the log ends there.
    pub end: PrefixEnd,
}

/// A log and what has to be done before it serves.
#[derive(Debug)]
pub struct Loaded {
    /// The log. What it holds counts as durable: where the files were not written with a sync, sync them first.
    pub log: Log,
    /// Segments that hold more than the log.
    pub cuts: Vec<Cut>,
    /// Segments that are no part of the log.
    pub remove_segments: Vec<Offset>,
    /// Snapshots that are ahead of the log, older than it, or unreadable.
    pub remove_snapshots: Vec<Offset>,
    /// Entries of the active segment's index files that stay; the rest of the files is what the log's indexes have
    /// from these numbers on.
    pub index_entries_kept: EntryCounts,
    /// The leader epoch checkpoint has to be written.
    pub epochs_changed: bool,
    /// Acknowledged records that may be lost: report each, and keep the bytes behind it.
    pub damage: Vec<Damage>,
    /// Bytes of batches that were scanned.
    pub scanned_bytes: u64,
}

/// Numbers of entries in the three index files of a segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EntryCounts {
    /// Of the offset index.
    pub offsets: usize,
    /// Of the time index.
    pub times: usize,
    /// Of the transaction index.
    pub aborted: usize,
}

/// How a log is cut back to an offset.
#[derive(Debug)]
pub enum Truncation {
    /// It ends there or before already.
    Nothing {
        /// The leader epoch checkpoint has to be written: an epoch without records went.
        epochs_changed: bool,
    },
    /// It begins behind the offset: [`Log::start_anew`] there.
    Anew,
    /// Write what is pending, load the log by this input and put it in the place of the old one.
    Load(Box<LoadInput>),
}

impl Log {
    /// How the log is cut so that it holds no batch with `offset` or a later one; a batch that spans the offset goes
    /// whole (Kafka's `UnifiedLog.truncateTo`).
    pub fn truncation(&mut self, offset: Offset) -> Truncation {
        if offset >= self.log_end_offset {
            return Truncation::Nothing {
                epochs_changed: self.epochs.truncate_from_end(self.log_end_offset),
            };
        }
        let (first, _) = self.segment_of(Offset::ZERO);
        if offset < first {
            return Truncation::Anew;
        }
        let active = FoundSegment {
            base_offset: self.active.base_offset(),
            bytes: self.active.bytes(),
            modified: self.active.modified(),
            has_aborted: !self.active.indexes().aborted.is_empty(),
        };
        let closed = self.closed.iter().map(|segment| FoundSegment {
            base_offset: segment.base_offset,
            bytes: segment.bytes,
            modified: segment.modified,
            has_aborted: segment.has_aborted,
        });
        Truncation::Load(Box::new(LoadInput {
            config: self.config.clone(),
            segments: closed.chain(std::iter::once(active)).collect(),
            snapshots: self.snapshots.iter().copied().collect(),
            epochs: Some(self.epochs.clone()),
            log_start_offset: self.log_start_offset,
            recovery_point: self.recovery_point.min(offset),
            doubted_from: None,
            clean: true,
            limit: Some(offset),
            high_watermark: self.replicated.then_some(self.high_watermark),
            jitter_seed: self.jitter_seed,
        }))
    }
}

#[cfg(test)]
mod tests;
