//! The segments of a log: the active one, which grows, and the closed ones, which only go.
//!
//! Owned by the partition's owner shard. On disk a segment is Kafka's `<base offset>.log` with its indexes
//! (`LogSegment.java`); here are only the numbers that decisions need. The active segment has its indexes in
//! memory, without their oldest entries where those were released; of a closed one 40 bytes remain, and whoever
//! needs its indexes reads them from their files.
//!
//! Invariants: the largest timestamp never falls; an index entry is added for the first batch behind each
//! `index.interval.bytes`, so no lookup is further than that and one batch from what it looks for.

use super::config::LogConfig;
use super::load::EntryCounts;
use super::offset_index::OffsetIndex;
use super::time_index::{TimeIndex, TimestampOffset};
use super::txn_index::TransactionIndex;
use crate::ids::{FilePosition, Offset, TimestampMs};
use crate::limits::SEGMENT_BYTES_MAX;
use crate::mix::mix;
use crate::protocol::records::BatchHeader;
use crate::time::Monotonic;

/// A place in a log: an offset, and where in which segment the batch that holds it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogPosition {
    /// The first offset of the batch, or the log's end.
    pub offset: Offset,
    /// The base offset of the segment.
    pub segment_base: Offset,
    /// The byte in the segment.
    pub position: FilePosition,
}

/// The three indexes of one segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentIndexes {
    /// From offsets to positions.
    pub offsets: OffsetIndex,
    /// From timestamps to offsets.
    pub times: TimeIndex,
    /// The aborted transactions that end in the segment.
    pub aborted: TransactionIndex,
}

impl SegmentIndexes {
    /// Puts the offset and time index, built anew from the segment's batches up to some moment, in the place of these,
    /// which may have newer entries. Nothing of them counts as written.
    pub fn renew(&mut self, rebuilt: &SegmentIndexes) {
        let (mut offsets, mut times) = (rebuilt.offsets.clone(), rebuilt.times.clone());
        offsets.go_on_with(&self.offsets);
        times.go_on_with(&self.times);
        (self.offsets, self.times) = (offsets, times);
    }

    /// The indexes of an empty segment; `index_bytes_max` is `segment.index.bytes`.
    #[must_use]
    pub fn new(base_offset: Offset, index_bytes_max: usize) -> SegmentIndexes {
        SegmentIndexes {
            offsets: OffsetIndex::new(base_offset, index_bytes_max),
            times: TimeIndex::new(base_offset, index_bytes_max),
            aborted: TransactionIndex::new(),
        }
    }

    /// Sets anew how large each may become; one that is larger counts as full.
    pub fn set_bytes_max(&mut self, index_bytes_max: usize) {
        self.offsets.set_bytes_max(index_bytes_max);
        self.times.set_bytes_max(index_bytes_max);
    }

    /// Forgets all but the newest `keep` entries of each, as far as they are among the `written` that the files have:
    /// while they were being written more may have come.
    pub fn release(&mut self, keep: usize, written: EntryCounts) {
        let keep_of = |entries: usize, written: usize| keep.max(entries.saturating_sub(written));
        self.offsets.release(keep_of(self.offsets.len(), written.offsets));
        self.times.release(keep_of(self.times.len(), written.times));
        self.aborted.release(keep_of(self.aborted.len(), written.aborted));
    }

    /// Bytes of memory that the entries take.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.offsets.memory_bytes() + self.times.memory_bytes() + self.aborted.memory_bytes()
    }
}

/// A segment to which nothing is appended any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClosedSegment {
    /// The offset in its file names.
    pub base_offset: Offset,
    /// Bytes of its batches.
    pub bytes: u64,
    /// The largest timestamp and its batch; `None` until somebody needs it, reads the last entry of the time index
    /// and says so. A timestamp of -1 means that no record has one.
    pub largest_timestamp: Option<TimestampOffset>,
    /// When it was last appended to, by the wall clock: what retention goes by where no record has a timestamp.
    pub modified: TimestampMs,
    /// Whether it has a transaction index: aborted transactions end in it.
    pub has_aborted: bool,
}

/// Why a segment is rolled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RollReason {
    /// The batch does not fit below `segment.bytes`.
    Bytes,
    /// The first batch is `segment.ms` older than this one.
    Age,
    /// An index has reached `segment.index.bytes`.
    IndexFull,
    /// The batch's last offset is 2^31 or more above the segment's base.
    OffsetSpan,
}

/// The segment that batches are appended to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActiveSegment {
    base_offset: Offset,
    bytes: u64,
    largest_timestamp: TimestampOffset,
    first_timestamp: Option<TimestampMs>,
    created: Monotonic,
    modified: TimestampMs,
    bytes_since_entry: u64,
    indexes: SegmentIndexes,
}

/// What recovery or a clean start knows of the segment that goes on growing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResumedSegment {
    /// Bytes of its valid batches.
    pub bytes: u64,
    /// The largest timestamp of its records, -1 for none.
    pub largest_timestamp: TimestampOffset,
    /// The max timestamp of its first batch, where it has one.
    pub first_timestamp: Option<TimestampMs>,
    /// When its file was last changed.
    pub modified: TimestampMs,
    /// Bytes appended since the last index entry.
    pub bytes_since_entry: u64,
    /// Its indexes, whole or without their oldest entries.
    pub indexes: SegmentIndexes,
}

impl ResumedSegment {
    /// A segment without batches, whose indexes may know more than its batches will tell.
    #[must_use]
    pub fn empty(base_offset: Offset, modified: TimestampMs, indexes: SegmentIndexes) -> ResumedSegment {
        ResumedSegment {
            bytes: 0,
            largest_timestamp: TimestampOffset { timestamp: TimestampMs::NONE, offset: base_offset },
            first_timestamp: None,
            modified,
            bytes_since_entry: 0,
            indexes,
        }
    }
}

impl ActiveSegment {
    /// An empty segment that begins at `base_offset`.
    #[must_use]
    pub fn new(base_offset: Offset, config: &LogConfig, now: Monotonic) -> ActiveSegment {
        ActiveSegment {
            base_offset,
            bytes: 0,
            largest_timestamp: TimestampOffset { timestamp: TimestampMs::NONE, offset: base_offset },
            first_timestamp: None,
            created: now,
            modified: TimestampMs::NONE,
            bytes_since_entry: 0,
            indexes: SegmentIndexes::new(base_offset, config.segment_index_bytes),
        }
    }

    /// A segment that was appended to before this start; its age by the clock counts anew, as in Kafka.
    #[must_use]
    pub fn resume(base_offset: Offset, resumed: ResumedSegment, now: Monotonic) -> ActiveSegment {
        assert!(resumed.bytes <= SEGMENT_BYTES_MAX, "positions in a segment are 32-bit");
        ActiveSegment {
            base_offset,
            bytes: resumed.bytes,
            largest_timestamp: resumed.largest_timestamp,
            first_timestamp: resumed.first_timestamp,
            created: now,
            modified: resumed.modified,
            bytes_since_entry: resumed.bytes_since_entry,
            indexes: resumed.indexes,
        }
    }

    /// The same segment, its age by the clock counted from `now`.
    #[must_use]
    pub fn created_at(mut self, now: Monotonic) -> ActiveSegment {
        self.created = now;
        self
    }

    /// The same segment with indexes that may become as large as `segment.index.bytes` says.
    #[must_use]
    pub fn with_index_bytes_max(mut self, index_bytes_max: usize) -> ActiveSegment {
        self.indexes.set_bytes_max(index_bytes_max);
        self
    }

    /// The offset in its file names.
    #[must_use]
    pub fn base_offset(&self) -> Offset {
        self.base_offset
    }

    /// Bytes of its batches.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The largest timestamp of its records and the last offset of that batch; a timestamp of -1 for none.
    #[must_use]
    pub fn largest_timestamp(&self) -> TimestampOffset {
        self.largest_timestamp
    }

    /// When it was last appended to, by the wall clock.
    #[must_use]
    pub fn modified(&self) -> TimestampMs {
        self.modified
    }

    /// The max timestamp of its first batch, which its age counts from; `None` while it is empty.
    #[must_use]
    pub fn first_timestamp(&self) -> Option<TimestampMs> {
        self.first_timestamp
    }

    /// Bytes appended since the last index entry.
    #[must_use]
    pub fn bytes_since_entry(&self) -> u64 {
        self.bytes_since_entry
    }

    /// Its indexes.
    #[must_use]
    pub fn indexes(&self) -> &SegmentIndexes {
        &self.indexes
    }

    /// Its indexes, to release what was written or to take back what was read.
    #[must_use]
    pub fn indexes_mut(&mut self) -> &mut SegmentIndexes {
        &mut self.indexes
    }

    /// Whether the batch has to begin a new segment; `roll_ms` is `segment.ms` less this segment's jitter.
    ///
    /// The age is that of the first batch when this one was made, by their timestamps; without timestamps it is
    /// the time since the segment was created (Kafka's `LogSegment.shouldRoll`). An empty segment is rolled only
    /// where its base is too low for the batch's offsets.
    #[must_use]
    pub fn should_roll(
        &self,
        config: &LogConfig,
        header: &BatchHeader,
        roll_ms: i64,
        now: Monotonic,
    ) -> Option<RollReason> {
        if !self.indexes.offsets.can_hold(header.last_offset()) {
            return Some(RollReason::OffsetSpan);
        }
        if self.bytes == 0 {
            return None;
        }
        let waited_ms = match self.first_timestamp {
            Some(first) if first > TimestampMs::NONE => header.max_timestamp.0.saturating_sub(first.0),
            Some(_) | None => i64::try_from(now.since(self.created).as_millis()).unwrap_or(i64::MAX),
        };
        if self.bytes + header.batch_bytes as u64 > config.segment_bytes.min(SEGMENT_BYTES_MAX) {
            Some(RollReason::Bytes)
        } else if waited_ms > roll_ms {
            Some(RollReason::Age)
        } else if self.indexes.offsets.is_full() || self.indexes.times.is_full() {
            Some(RollReason::IndexFull)
        } else {
            None
        }
    }

    /// Appends a batch whose offsets are assigned; returns where it begins and whether the indexes grew.
    pub fn append(
        &mut self,
        header: &BatchHeader,
        index_interval_bytes: u64,
        now_wall: TimestampMs,
    ) -> (FilePosition, bool) {
        assert!(
            header.base_offset >= self.base_offset,
            "a batch belongs to the segment that begins before it"
        );
        let position = FilePosition(self.bytes);
        if self.bytes == 0 {
            self.first_timestamp = Some(header.max_timestamp);
        }
        if header.max_timestamp > self.largest_timestamp.timestamp {
            self.largest_timestamp =
                TimestampOffset { timestamp: header.max_timestamp, offset: header.last_offset() };
        }
        let indexed = self.bytes_since_entry > index_interval_bytes;
        if indexed {
            self.indexes.offsets.append(header.last_offset(), position);
            self.indexes.times.append(self.largest_timestamp);
            self.bytes_since_entry = 0;
        }
        self.bytes_since_entry += header.batch_bytes as u64;
        self.bytes += header.batch_bytes as u64;
        self.modified = now_wall;
        assert!(self.bytes <= SEGMENT_BYTES_MAX, "a segment is rolled before its positions pass 32 bits");
        (position, indexed)
    }

    /// Whether the time index ends with the largest timestamp, as whoever opens the files next expects it.
    #[must_use]
    pub fn is_largest_indexed(&self) -> bool {
        let indexed = self.indexes.times.last_entry().map_or(TimestampMs::NONE, |last| last.timestamp);
        indexed >= self.largest_timestamp.timestamp
    }

    /// Gives the time index the largest timestamp for its last entry (`LogSegment.close`). A segment that grows on
    /// afterwards has one entry more than it needs, in the slot that is reserved for a roll: a segment whose index is
    /// full then is rolled before it gets another batch.
    pub fn index_largest_timestamp(&mut self) {
        self.indexes.times.append(self.largest_timestamp);
    }

    /// Ends the segment: the time index gets its last entry, by which retention will go.
    #[must_use]
    pub fn close(mut self) -> (ClosedSegment, SegmentIndexes) {
        self.index_largest_timestamp();
        let closed = ClosedSegment {
            base_offset: self.base_offset,
            bytes: self.bytes,
            largest_timestamp: Some(self.largest_timestamp),
            modified: self.modified,
            has_aborted: !self.indexes.aborted.is_empty(),
        };
        (closed, self.indexes)
    }
}

/// What `segment.jitter.ms` takes from `segment.ms` for the segment that begins at `base_offset`: the same number
/// each time for the same seed, so that a simulation repeats itself.
#[must_use]
pub fn roll_jitter_ms(config: &LogConfig, base_offset: Offset, seed: u64) -> i64 {
    let bound = config.segment_jitter_ms.min(config.segment_ms);
    let Ok(bound) = u64::try_from(bound) else {
        return 0;
    };
    if bound == 0 {
        return 0;
    }
    let mixed = mix(seed ^ base_offset.0.unsigned_abs().wrapping_mul(0x9e37_79b9_7f4a_7c15));
    i64::try_from(mixed % bound).expect("less than a bound that was an i64")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::testing::batch;

    const NOW: Monotonic = Monotonic(5_000_000_000);
    const WALL: TimestampMs = TimestampMs(77);

    fn config() -> LogConfig {
        LogConfig { segment_bytes: 1_000, segment_ms: 100, index_interval_bytes: 150, ..LogConfig::default() }
    }

    fn segment() -> ActiveSegment {
        ActiveSegment::new(Offset(10), &config(), NOW)
    }

    #[test]
    fn an_entry_is_added_behind_each_interval() {
        let mut segment = segment();
        let mut indexed = Vec::new();
        for at in 0..6 {
            let header = batch(10 + at, 1).bytes_total(100).timestamp(50 - at).header();
            let (position, entry) = segment.append(&header, 150, WALL);
            assert_eq!(position.0, u64::try_from(at).expect("small") * 100);
            indexed.push(entry);
        }
        // Kafka adds the entry before it counts the batch: the third batch is the first with more than 150 before.
        assert_eq!(indexed, [false, false, true, false, true, false]);
        assert_eq!(segment.indexes().offsets.encode_from(0), {
            let mut bytes = Vec::new();
            bytes.extend_from_slice(&[0, 0, 0, 2, 0, 0, 0, 200]);
            bytes.extend_from_slice(&[0, 0, 0, 4, 0, 0, 1, 144]);
            bytes
        });
        let largest = TimestampOffset { timestamp: TimestampMs(50), offset: Offset(10) };
        assert_eq!(segment.indexes().times.last_entry(), Some(largest));
        assert_eq!(segment.indexes().times.len(), 1, "later timestamps alone are added");
    }

    #[test]
    fn an_entry_that_is_in_no_file_yet_stays() {
        let mut segment = segment();
        for at in 0..10 {
            segment.append(&batch(10 + at, 1).bytes_total(100).timestamp(50 + at).header(), 0, WALL);
        }
        let indexes = segment.indexes_mut();
        let entries = indexes.offsets.len();
        let written = EntryCounts { offsets: 3, times: 4, aborted: 0 };
        indexes.release(2, written);
        assert_eq!((indexes.offsets.released(), indexes.times.released()), (3, 4));
        assert_eq!(indexes.offsets.encode_from(3).len(), (entries - 3) * 8);
        indexes.release(2, EntryCounts { offsets: entries, times: entries, aborted: 0 });
        assert_eq!(indexes.offsets.released(), entries - 2);
    }

    #[test]
    fn a_segment_that_was_left_and_grows_on_has_each_timestamp_once() {
        let mut segment = segment();
        segment.append(&batch(10, 1).bytes_total(100).timestamp(50).header(), 150, WALL);
        assert!(!segment.is_largest_indexed());
        for _ in 0..2 {
            segment.index_largest_timestamp();
            assert!(segment.is_largest_indexed());
        }
        for (offset, timestamp) in [(11, 40), (12, 50), (13, 60)] {
            segment.append(&batch(offset, 1).bytes_total(200).timestamp(timestamp).header(), 150, WALL);
        }
        let (_, indexes) = segment.close();
        let entry = |timestamp, offset| TimestampOffset { timestamp: TimestampMs(timestamp), offset };
        assert_eq!(indexes.times.lookup(TimestampMs(59)), Some(entry(50, Offset(10))));
        assert_eq!((indexes.times.last_entry(), indexes.times.len()), (Some(entry(60, Offset(13))), 2));
    }

    #[test]
    fn a_segment_that_was_left_with_a_full_time_index_is_rolled_next() {
        let config = LogConfig { segment_index_bytes: 36, index_interval_bytes: 0, ..config() };
        let mut segment = ActiveSegment::new(Offset(10), &config, NOW);
        for at in 0..3 {
            let header = batch(10 + at, 1).bytes_total(100).timestamp(50 + at).header();
            assert_eq!(segment.should_roll(&config, &header, config.segment_ms, NOW), None);
            segment.append(&header, 0, WALL);
        }
        segment.index_largest_timestamp();
        assert_eq!(segment.indexes().times.len(), 2, "the last append has left the largest timestamp");
        let header = batch(13, 1).bytes_total(100).timestamp(53).header();
        assert_eq!(
            segment.should_roll(&config, &header, config.segment_ms, NOW),
            Some(RollReason::IndexFull)
        );
        assert_eq!(segment.close().1.times.len(), 2, "and there is nothing to add");
    }

    #[test]
    fn bytes_age_index_and_span_roll() {
        let config = config();
        let roll = |segment: &ActiveSegment, offset, bytes, timestamp, now| {
            let header = batch(offset, 1).bytes_total(bytes).timestamp(timestamp).header();
            segment.should_roll(&config, &header, config.segment_ms, now)
        };
        let mut segment = segment();
        assert_eq!(roll(&segment, 10, 2_000, 999, NOW), None, "an empty segment takes what there is");
        segment.append(&batch(10, 1).bytes_total(900).timestamp(1_000).header(), 150, WALL);
        assert_eq!(roll(&segment, 11, 100, 1_000, NOW), None);
        assert_eq!(roll(&segment, 11, 101, 1_000, NOW), Some(RollReason::Bytes));
        assert_eq!(roll(&segment, 11, 100, 1_100, NOW.after_ms(999)), None);
        assert_eq!(roll(&segment, 11, 100, 1_101, NOW), Some(RollReason::Age));
        let span = 10 + i64::from(i32::MAX);
        assert_eq!(roll(&segment, span, 100, 1_000, NOW), None);
        assert_eq!(roll(&segment, span + 1, 100, 1_000, NOW), Some(RollReason::OffsetSpan));
    }

    #[test]
    fn without_timestamps_the_age_is_that_of_the_segment() {
        let config = config();
        let mut segment = segment();
        segment.append(&batch(10, 1).timestamp(-1).header(), 150, WALL);
        let next = batch(11, 1).timestamp(-1).header();
        assert_eq!(segment.should_roll(&config, &next, 100, NOW.after_ms(100)), None);
        assert_eq!(segment.should_roll(&config, &next, 100, NOW.after_ms(101)), Some(RollReason::Age));
    }

    #[test]
    fn a_full_index_rolls_and_the_close_still_has_room() {
        let config = LogConfig { segment_index_bytes: 36, index_interval_bytes: 0, ..config() };
        let mut segment = ActiveSegment::new(Offset(0), &config, NOW);
        let mut appended = 0;
        loop {
            let header = batch(appended, 1).timestamp(appended * 2).header();
            if let Some(reason) = segment.should_roll(&config, &header, 100, NOW) {
                assert_eq!(reason, RollReason::IndexFull);
                break;
            }
            segment.append(&header, 0, WALL);
            appended += 1;
        }
        assert_eq!(appended, 3, "the first batch has no entry, and one entry is kept free");
        let (closed, indexes) = segment.close();
        assert_eq!((indexes.times.len(), indexes.offsets.len()), (2, 2));
        assert_eq!(closed.largest_timestamp.map(|largest| largest.timestamp), Some(TimestampMs(4)));
    }

    #[test]
    fn jitter_is_bounded_and_repeats() {
        let config = LogConfig { segment_jitter_ms: 50, segment_ms: 40, ..config() };
        let jitters: Vec<_> = (0..100).map(|base| roll_jitter_ms(&config, Offset(base), 7)).collect();
        assert!(jitters.iter().all(|jitter| (0..40).contains(jitter)));
        assert!(jitters.iter().any(|&jitter| jitter != jitters[0]));
        assert_eq!(jitters[3], roll_jitter_ms(&config, Offset(3), 7));
        assert_eq!(roll_jitter_ms(&LogConfig { segment_jitter_ms: 0, ..config }, Offset(3), 7), 0);
    }
}
