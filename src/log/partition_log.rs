//! One partition's log: its segments, its offsets and what is known of its epochs and producers.
//!
//! Owned by the partition's owner shard, which alone changes it; nothing here does I/O. On disk it is Kafka's
//! partition directory (`UnifiedLog.scala`, `LocalLog.scala`). The verbs are spread by what they decide: appends in
//! [`append`](super::append), reads in [`read`](super::read), searches by time in
//! [`timestamp`](super::timestamp), deletion in [`retention`](super::retention), start and truncation in
//! [`load`](super::load).
//!
//! Invariants: log start offset ≤ last stable offset ≤ high watermark ≤ log end offset, recovery point ≤ durable
//! end offset ≤ log end offset. Segments are in order and share no offset; the active one is the last and may be
//! empty. A log without followers has its high watermark at its durable end, or at its end where `flush.messages`
//! above 1 relaxes that.

use std::collections::{BTreeSet, VecDeque};

use super::append::segment_end;
use super::config::LogConfig;
use super::leader_epochs::{EpochEndOffset, LeaderEpochs};
use super::load::EntryCounts;
use super::producer_snapshot::encode_snapshot;
use super::producers::Producers;
use super::read::{ReadError, ReadPlan, ReadRequest, ReadSlice, WalkLimit, WalkPlan, WalkStart};
use super::segment::{ActiveSegment, ClosedSegment, LogPosition, SegmentIndexes, roll_jitter_ms};
use super::tail::Tail;
use super::time_index::TimestampOffset;
use crate::canary::{self, Canary};
use crate::ids::{FilePosition, LeaderEpoch, Offset};
use crate::time::Monotonic;

/// One partition's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    pub(super) config: LogConfig,
    pub(super) closed: VecDeque<ClosedSegment>,
    pub(super) active: ActiveSegment,
    pub(super) tail: Tail,
    pub(super) log_start_offset: Offset,
    pub(super) log_end_offset: Offset,
    pub(super) durable_end_offset: Offset,
    pub(super) high_watermark: Offset,
    pub(super) recovery_point: Offset,
    pub(super) epochs: LeaderEpochs,
    pub(super) leader_epoch: LeaderEpoch,
    pub(super) producers: Producers,
    pub(super) snapshots: BTreeSet<Offset>,
    pub(super) replicated: bool,
    /// The largest timestamp of the active segment from the log start offset on, where that was measured because of a
    /// larger one before it.
    pub(super) measured: Option<TimestampOffset>,
    pub(super) jitter_seed: u64,
}

/// The offsets of a log at one moment: take them once and decide with them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogOffsets {
    /// The first offset that may be read.
    pub log_start: Offset,
    /// Behind it a transaction is undecided: readers of committed records stop there.
    pub last_stable: Offset,
    /// What is replicated: consumers stop there.
    pub high_watermark: Offset,
    /// What is on this broker's disk.
    pub durable_end: Offset,
    /// The next offset.
    pub log_end: Offset,
}

impl Log {
    /// An empty log that begins at `start`; `jitter_seed` is random.
    #[must_use]
    pub fn new(config: LogConfig, start: Offset, jitter_seed: u64, now: Monotonic) -> Log {
        let active = ActiveSegment::new(start, &config, now);
        let producers = Producers::new(start, config.producers_max);
        Log {
            config,
            closed: VecDeque::new(),
            active,
            tail: Tail::default(),
            log_start_offset: start,
            log_end_offset: start,
            durable_end_offset: start,
            high_watermark: start,
            recovery_point: start,
            epochs: LeaderEpochs::new(),
            leader_epoch: LeaderEpoch::NONE,
            producers,
            snapshots: BTreeSet::new(),
            replicated: false,
            measured: None,
            jitter_seed,
        }
    }

    /// The settings in force.
    #[must_use]
    pub fn config(&self) -> &LogConfig {
        &self.config
    }

    /// Takes over changed settings; they hold from the next append on.
    pub fn set_config(&mut self, config: LogConfig) {
        self.producers.set_producers_max(config.producers_max);
        self.config = config;
        self.follow_high_watermark();
    }

    /// The offsets as they are now.
    #[must_use]
    pub fn offsets(&self) -> LogOffsets {
        let offsets = LogOffsets {
            log_start: self.log_start_offset,
            last_stable: self.last_stable_offset(),
            high_watermark: self.high_watermark,
            durable_end: self.durable_end_offset,
            log_end: self.log_end_offset,
        };
        assert!(offsets.log_start <= offsets.last_stable, "what is deleted is decided");
        assert!(
            offsets.last_stable <= offsets.high_watermark,
            "what is undecided is below the high watermark"
        );
        assert!(offsets.high_watermark <= offsets.log_end, "what is replicated was appended");
        assert!(offsets.durable_end <= offsets.log_end, "what is on disk was appended");
        offsets
    }

    /// The first offset that may be read.
    #[must_use]
    pub fn log_start_offset(&self) -> Offset {
        self.log_start_offset
    }

    /// The next offset.
    #[must_use]
    pub fn log_end_offset(&self) -> Offset {
        self.log_end_offset
    }

    /// The offset up to which this broker's disk has every batch.
    #[must_use]
    pub fn durable_end_offset(&self) -> Offset {
        self.durable_end_offset
    }

    /// The offset up to which consumers may read.
    #[must_use]
    pub fn high_watermark(&self) -> Offset {
        self.high_watermark
    }

    /// The offset from which a start after a crash has to scan.
    #[must_use]
    pub fn recovery_point(&self) -> Offset {
        self.recovery_point
    }

    /// The offset up to which readers of committed records may read.
    #[must_use]
    pub fn last_stable_offset(&self) -> Offset {
        match self.producers.first_unstable_offset() {
            Some(unstable) => unstable.max(self.log_start_offset).min(self.high_watermark),
            None => self.high_watermark,
        }
    }

    /// The log's end as a place.
    #[must_use]
    pub fn end_position(&self) -> LogPosition {
        LogPosition {
            offset: self.log_end_offset,
            segment_base: self.active.base_offset(),
            position: segment_end(&self.active),
        }
    }

    /// The segments that only go, oldest first.
    pub fn closed_segments(&self) -> impl DoubleEndedIterator<Item = &ClosedSegment> {
        self.closed.iter()
    }

    /// The segment that grows.
    #[must_use]
    pub fn active_segment(&self) -> &ActiveSegment {
        &self.active
    }

    /// Bytes of all segments.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.closed.iter().map(|segment| segment.bytes).sum::<u64>() + self.active.bytes()
    }

    /// The producers.
    #[must_use]
    pub fn producers(&self) -> &Producers {
        &self.producers
    }

    /// The leader epochs.
    #[must_use]
    pub fn epochs(&self) -> &LeaderEpochs {
        &self.epochs
    }

    /// The epoch that appended batches get.
    #[must_use]
    pub fn leader_epoch(&self) -> LeaderEpoch {
        self.leader_epoch
    }

    /// Takes over as the leader of `epoch`; returns whether the leader epoch checkpoint has to be written before
    /// anything is appended (KAFKA-7415). Who leads is the metadata's to say: what the log knows of later epochs, out
    /// of a damaged file or from before an older copy of the metadata was put back, is forgotten.
    pub fn become_leader(&mut self, epoch: LeaderEpoch) -> bool {
        self.leader_epoch = epoch;
        self.epochs.assign(epoch, self.log_end_offset)
    }

    /// Where the largest epoch that is at most `requested` ends (KIP-101, KIP-279, KIP-320).
    #[must_use]
    pub fn epoch_end_offset(&self, requested: LeaderEpoch) -> EpochEndOffset {
        self.epochs.end_offset_for(requested, self.log_end_offset)
    }

    /// Says whether followers decide the high watermark, by [`advance_high_watermark`](Log::advance_high_watermark),
    /// or this log alone.
    pub fn set_replicated(&mut self, replicated: bool) {
        self.replicated = replicated;
        self.follow_high_watermark();
    }

    /// Notes that every batch before `offset` is on disk. An older offset than the last changes nothing.
    pub fn mark_durable(&mut self, offset: Offset) {
        assert!(offset <= self.log_end_offset, "what is on disk was appended");
        self.durable_end_offset = self.durable_end_offset.max(offset);
        self.follow_high_watermark();
    }

    /// Moves the high watermark of a replicated log; it never goes back, nor beyond the log's end.
    pub fn advance_high_watermark(&mut self, offset: Offset) {
        let high_watermark = offset.min(self.log_end_offset).max(self.high_watermark);
        if high_watermark > self.high_watermark {
            self.high_watermark = high_watermark;
            self.producers.on_high_watermark(high_watermark);
        }
    }

    /// Without followers the high watermark is what this broker vouches for.
    pub(super) fn follow_high_watermark(&mut self) {
        if self.replicated {
            return;
        }
        let durable = self.config.acknowledges_durable() && !canary::is(Canary::DirtyRead);
        self.advance_high_watermark(if durable { self.durable_end_offset } else { self.log_end_offset });
    }

    /// Notes that a start after a crash need not scan before `offset`: what it relies on there is on disk. That is
    /// the closed segments before it, without a byte behind their batches, every index entry before it, the leader
    /// epoch checkpoint, and a producer snapshot taken at it or not long before.
    pub fn advance_recovery_point(&mut self, offset: Offset) {
        assert!(offset <= self.durable_end_offset, "only what is on disk need not be scanned");
        self.recovery_point = self.recovery_point.max(offset);
    }

    /// The contents of a producer snapshot, to be written as the file of the returned offset and
    /// [noted](Self::note_snapshot) then; `None` where there is one already.
    #[must_use]
    pub fn take_snapshot(&self) -> Option<(Offset, Vec<u8>)> {
        let offset = self.producers.end_offset();
        assert_eq!(offset, self.log_end_offset, "producers account for every batch");
        (!self.snapshots.contains(&offset)).then(|| (offset, encode_snapshot(&self.producers)))
    }

    /// A snapshot is on disk.
    pub fn note_snapshot(&mut self, offset: Offset) {
        self.snapshots.insert(offset);
    }

    /// The offsets of the snapshots on disk.
    #[must_use]
    pub fn snapshots(&self) -> &BTreeSet<Offset> {
        &self.snapshots
    }

    /// The snapshots that no start needs, but for the newest two and those at segments' bases; they are forgotten.
    pub fn retire_snapshots(&mut self) -> Vec<Offset> {
        let newest: Vec<_> = self.snapshots.iter().rev().take(2).copied().collect();
        let is_base = |offset: Offset| {
            offset == self.active.base_offset()
                || self.closed.binary_search_by_key(&offset, |segment| segment.base_offset).is_ok()
        };
        let stale = self.snapshots.iter().filter(|&offset| !newest.contains(offset) && !is_base(*offset));
        let stale: Vec<_> = stale.copied().collect();
        stale.iter().for_each(|offset| {
            self.snapshots.remove(offset);
        });
        stale
    }

    /// Forgets the producers that have been idle for `producer.id.expiration.ms`; returns how many.
    pub fn expire_producers(&mut self, now: Monotonic) -> usize {
        let ms = u64::try_from(self.config.producer_id_expiration_ms).unwrap_or(u64::MAX);
        self.producers.remove_expired(now, std::time::Duration::from_millis(ms))
    }

    /// Forgets all but the newest `keep` entries of the active segment's indexes, and none that is not among the
    /// `written` that their files have.
    pub fn release_indexes(&mut self, keep: usize, written: EntryCounts) {
        self.active.indexes_mut().release(keep, written);
    }

    /// Takes over the active segment's offset and time index, built anew from its batches.
    pub fn renew_indexes(&mut self, rebuilt: &SegmentIndexes) {
        self.active.indexes_mut().renew(rebuilt);
    }

    /// Bytes of memory that grow with the log: the active segment's indexes and the tail.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.active.indexes().memory_bytes() + self.tail.memory_bytes()
    }

    /// `segment.ms` of the active segment.
    pub(super) fn roll_ms(&self) -> i64 {
        self.config.segment_ms - roll_jitter_ms(&self.config, self.active.base_offset(), self.jitter_seed)
    }

    /// The base offset of the segment that follows the one at `segment_base`.
    #[must_use]
    pub fn next_segment(&self, segment_base: Offset) -> Option<Offset> {
        let next = self.closed.partition_point(|segment| segment.base_offset <= segment_base);
        match self.closed.get(next) {
            Some(segment) => Some(segment.base_offset),
            None => (self.active.base_offset() > segment_base).then(|| self.active.base_offset()),
        }
    }

    /// The segment that holds `offset`, with its bytes; the first one for an older offset.
    pub(super) fn segment_of(&self, offset: Offset) -> (Offset, FilePosition) {
        if offset >= self.active.base_offset() {
            return (self.active.base_offset(), segment_end(&self.active));
        }
        let after = self.closed.partition_point(|segment| segment.base_offset <= offset);
        match self.closed.get(after.saturating_sub(1)) {
            Some(segment) => (segment.base_offset, FilePosition(segment.bytes)),
            None => (self.active.base_offset(), segment_end(&self.active)),
        }
    }

    /// The indexes of a segment, where they are in memory.
    pub(super) fn indexes_of(&self, segment_base: Offset) -> Option<&SegmentIndexes> {
        (segment_base == self.active.base_offset()).then(|| self.active.indexes())
    }

    /// How to read the batches from `request.from` on.
    ///
    /// # Errors
    /// [`ReadError::OutOfRange`] before the log start offset and behind the log end offset. An offset between
    /// `up_to` and the end is legal, and empty.
    pub fn read_plan(&self, request: ReadRequest) -> Result<ReadPlan, ReadError> {
        let (from, start, end) = (request.from, self.log_start_offset, self.log_end_offset);
        if from < start || from > end {
            return Err(ReadError::OutOfRange { got: from, start, end });
        }
        assert!(request.up_to <= end, "a reader may see what was appended and no more");
        let wants_nothing = request.max_bytes == 0 && !request.at_least_one;
        if from >= request.up_to || wants_nothing {
            return Ok(ReadPlan::Empty);
        }
        match self.tail.batch_of(from) {
            Some(first) => Ok(self.read_tail(first, request)),
            None => Ok(ReadPlan::Walk(self.read_segment(self.segment_of(from), request))),
        }
    }

    /// The same read in the segment behind `segment_base`, in which a walk found nothing at or behind the offset:
    /// the cleaner leaves such segments.
    #[must_use]
    pub fn read_next_segment(&self, segment_base: Offset, request: ReadRequest) -> ReadPlan {
        match self.next_segment(segment_base) {
            Some(next) if next < request.up_to => {
                ReadPlan::Walk(self.read_segment(self.segment_of(next), request))
            }
            Some(_) | None => ReadPlan::Empty,
        }
    }

    fn read_segment(&self, (base, bytes): (Offset, FilePosition), request: ReadRequest) -> WalkPlan {
        let limit = self.walk_limit(base, bytes, request.up_to);
        let (start, before) = (WalkStart::Index, self.offsets_before(base));
        let plan = WalkPlan { segment_base: base, start, limit, request, before, nearer: None };
        // The cleaner leaves segments without a batch, in which there is nothing to look up.
        if request.from <= base || bytes == FilePosition(0) {
            return WalkPlan { start: WalkStart::At(FilePosition(0)), ..plan };
        }
        match self.indexes_of(base) {
            Some(indexes) => plan.led_by(&indexes.offsets),
            None => plan,
        }
    }

    /// What every offset of a segment is below.
    pub(super) fn offsets_before(&self, segment_base: Offset) -> Offset {
        self.next_segment(segment_base).unwrap_or(self.log_end_offset)
    }

    fn walk_limit(&self, base: Offset, bytes: FilePosition, up_to: Offset) -> WalkLimit {
        if self.next_segment(base).is_some_and(|next| next <= up_to) || up_to == self.log_end_offset {
            return WalkLimit::Position(bytes);
        }
        match self.tail.batch_of(up_to) {
            Some(batch) if batch.segment_base == base => WalkLimit::Position(batch.position),
            Some(_) | None => WalkLimit::Offset { up_to, bytes },
        }
    }

    /// A read that begins in the tail, where every boundary is known.
    fn read_tail(&self, first: LogPosition, request: ReadRequest) -> ReadPlan {
        let (_, bytes) = self.segment_of(first.segment_base);
        let limit = match self.tail.batch_of(request.up_to) {
            Some(batch) if batch.segment_base == first.segment_base => batch.position,
            Some(_) | None => bytes,
        };
        if limit <= first.position {
            // The limit lies before or within the first batch: it is whole or not at all.
            return ReadPlan::Empty;
        }
        let first_batch_end = self.tail.whole_batches_end(first, first.position, limit);
        if first_batch_end.0 - first.position.0 > request.max_bytes && !request.at_least_one {
            return ReadPlan::Withheld;
        }
        let to = first.position.plus(request.max_bytes);
        ReadPlan::Slice(ReadSlice {
            segment_base: first.segment_base,
            start: first.position,
            first_batch_end,
            end: self.tail.whole_batches_end(first, to, limit),
            limited: to < limit,
        })
    }
}

#[cfg(test)]
mod tests;
