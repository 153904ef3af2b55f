//! The machine of a start: which snapshot, which index entry, which segments, and where the log ends.
//!
//! Owned by the partition's owner shard for as long as the start takes. One phase at a time says what has to be read
//! or written; each answer moves it on. A segment that its index misplaced is scanned again from its first byte, and
//! a snapshot that is ahead of the log is given up for an older one, so that every phase is entered a bounded number
//! of times.

use std::collections::VecDeque;

use super::{Cut, EntryCounts, FoundSegment, IndexFiles, LoadInput, LoadStep, Loaded, RebuiltIndexes};
use crate::canary::{self, Canary};
use crate::ids::{FilePosition, LeaderEpoch, Offset, TimestampMs};
use crate::limits::{
    BATCH_HEADER_BYTES, INDEX_TAIL_ENTRIES, SEARCH_BYTES_BEHIND_DAMAGE, SEARCH_BYTES_BEHIND_ZEROS,
};
use crate::log::damage::{Damage, DamageSearch, LaterBatch};
use crate::log::leader_epochs::LeaderEpochs;
use crate::log::offset_index::OffsetIndex;
use crate::log::partition_log::Log;
use crate::log::producer_snapshot::decode_snapshot;
use crate::log::producers::Producers;
use crate::log::recovery::{BatchSink, PrefixEnd, ScanBounds, ScannedBatch, SegmentScan};
use crate::log::segment::{ActiveSegment, ClosedSegment, ResumedSegment, SegmentIndexes};
use crate::log::sparse_index::CorruptIndex;
use crate::log::time_index::{TimeIndex, TimestampOffset};
use crate::log::txn_index::{AbortedTransaction, TransactionIndex};
use crate::protocol::records::BatchHeader;
use crate::time::Monotonic;

/// What the scan has rebuilt so far, across segments.
#[derive(Debug)]
struct Rebuilt {
    producers: Producers,
    epochs: LeaderEpochs,
    now: Monotonic,
    high_watermark: Option<Offset>,
    /// The last offset of the batch to which an index entry led; cleared when that batch was seen.
    expected: Option<Offset>,
    /// The index entry led to another batch.
    misled: bool,
}

impl BatchSink for Rebuilt {
    fn batch(&mut self, batch: &ScannedBatch) -> Option<AbortedTransaction> {
        let header = &batch.header;
        if self.expected.take().is_some_and(|expected| expected != header.last_offset()) {
            self.misled = true;
        }
        if self.misled {
            return None;
        }
        let epoch = header.partition_leader_epoch;
        if epoch > self.epochs.latest_epoch() && epoch > LeaderEpoch::NONE {
            self.epochs.assign(epoch, header.base_offset);
        }
        self.producers.replay(batch.sequenced(), self.now, self.high_watermark)
    }
}

#[derive(Debug)]
enum Phase {
    Snapshot(Offset),
    Indexes { last_entries: Option<usize> },
    Scan { scan: Box<SegmentScan>, from: FilePosition },
    Search { search: Box<DamageSearch>, scan: Box<SegmentScan>, from: FilePosition },
    Split { scan: Box<SegmentScan>, later: LaterBatch },
    Write(Box<RebuiltIndexes>),
    Done,
}

/// The start of one log.
#[derive(Debug)]
pub struct LogLoader {
    input: LoadInput,
    now: Monotonic,
    phase: Phase,
    /// The segment that is being looked at.
    at: usize,
    /// Where the scan has to begin at the latest.
    start_offset: Offset,
    rebuilt: Rebuilt,
    closed: VecDeque<ClosedSegment>,
    active: Option<ActiveSegment>,
    kept: EntryCounts,
    next_offset: Offset,
    cuts: Vec<Cut>,
    dropped: Vec<Offset>,
    bad_snapshots: Vec<Offset>,
    damage: Vec<Damage>,
    scanned_bytes: u64,
}

impl LogLoader {
    /// The start of the log that `input` describes, at `now`.
    #[must_use]
    pub fn new(mut input: LoadInput, now: Monotonic) -> LogLoader {
        input.segments.sort_by_key(|segment| segment.base_offset);
        input.segments.dedup_by_key(|segment| segment.base_offset);
        input.snapshots.sort();
        let empty = Producers::new(Offset::ZERO, input.config.producers_max);
        let rebuilt = Rebuilt {
            producers: empty,
            epochs: input.epochs.clone().unwrap_or_default(),
            now,
            high_watermark: input.high_watermark,
            expected: None,
            misled: false,
        };
        let mut loader = LogLoader {
            input,
            now,
            phase: Phase::Done,
            at: 0,
            start_offset: Offset::ZERO,
            rebuilt,
            closed: VecDeque::new(),
            active: None,
            kept: EntryCounts::default(),
            next_offset: Offset::ZERO,
            cuts: Vec::new(),
            dropped: Vec::new(),
            bad_snapshots: Vec::new(),
            damage: Vec::new(),
            scanned_bytes: 0,
        };
        if !loader.input.segments.is_empty() {
            loader.choose_snapshot(loader.trusted_end());
        }
        loader
    }

    /// What to do next; asking again changes nothing.
    #[must_use]
    pub fn step(&self) -> LoadStep {
        match &self.phase {
            Phase::Snapshot(offset) => LoadStep::ReadSnapshot { offset: *offset },
            Phase::Indexes { last_entries } => LoadStep::ReadIndexes {
                segment_base: self.segment().base_offset,
                last_entries: *last_entries,
            },
            Phase::Scan { from, .. } | Phase::Search { from, .. } => {
                LoadStep::Read { segment_base: self.segment().base_offset, from: *from }
            }
            Phase::Split { later, .. } => LoadStep::Split {
                segment_base: self.segment().base_offset,
                from: later.position,
                new_base: later.base_offset,
            },
            Phase::Write(rebuilt) => LoadStep::WriteIndexes { segment_base: rebuilt.segment_base },
            Phase::Done => LoadStep::Done,
        }
    }

    /// The offset up to which the files are known to be as they were written.
    fn trusted_end(&self) -> Offset {
        let trusted = if self.input.clean { Offset(i64::MAX) } else { self.input.recovery_point };
        let trusted = self.input.doubted_from.map_or(trusted, |doubted| doubted.min(trusted));
        // Nothing stands before the first segment, so a snapshot there is not ahead of anything.
        self.input.limit.map_or(trusted, |limit| limit.min(trusted)).max(self.first_base())
    }

    fn segment(&self) -> FoundSegment {
        self.input.segments[self.at]
    }

    fn first_base(&self) -> Offset {
        self.input.segments[0].base_offset
    }

    fn is_last(&self) -> bool {
        self.at + 1 == self.input.segments.len()
    }

    /// Takes the newest snapshot that is not ahead of `ceiling`, or begins without.
    fn choose_snapshot(&mut self, ceiling: Offset) {
        let is_whole = |offset: &Offset| *offset <= ceiling || canary::is(Canary::SnapshotAhead);
        let usable = |offset: &&Offset| is_whole(offset) && !self.bad_snapshots.contains(*offset);
        if self.input.epochs.is_none() {
            // Every batch is read for its epoch, and the transaction indexes are built anew with the others.
            self.begin(Producers::new(self.first_base(), self.input.config.producers_max));
            return;
        }
        if let Some(&offset) = self.input.snapshots.iter().rev().find(usable) {
            self.phase = Phase::Snapshot(offset);
            return;
        }
        // A clean directory without any snapshot is one that never had producers, as Kafka takes it.
        let never_had_any = self.input.clean && self.input.snapshots.is_empty() && self.input.limit.is_none();
        let end_offset = if never_had_any { Offset(i64::MAX) } else { self.first_base() };
        self.begin(Producers::new(end_offset, self.input.config.producers_max));
    }

    /// The snapshot that [`LoadStep::ReadSnapshot`] named; `None` where it cannot be read.
    pub fn snapshot(&mut self, bytes: Option<&[u8]>) {
        let Phase::Snapshot(offset) = self.phase else {
            return;
        };
        match bytes.map(|bytes| decode_snapshot(bytes, self.now)) {
            Some(Ok(entries)) => {
                self.begin(Producers::from_snapshot(entries, offset, self.input.config.producers_max));
            }
            Some(Err(_)) | None => {
                self.bad_snapshots.push(offset);
                self.choose_snapshot(offset);
            }
        }
    }

    /// Finds where to begin, now that the producers are known up to some offset.
    fn begin(&mut self, producers: Producers) {
        let known = producers.end_offset();
        let producers = match canary::is(Canary::ProducersForgotten) {
            true => Producers::new(known, self.input.config.producers_max),
            false => producers,
        };
        let trusted = if self.input.epochs.is_none() { self.first_base() } else { self.trusted_end() };
        self.start_offset = known.min(trusted);
        let (start, is_clean) = (self.start_offset, self.input.clean);
        // A crash may have come between a roll at the very point and the cut of the segment before it.
        let trusts_roll = is_clean || canary::is(Canary::RollAtPointTrusted);
        let is_before = |base: Offset| base < start || (trusts_roll && base == start);
        let after = self.input.segments.partition_point(|segment| is_before(segment.base_offset));
        self.at = after.saturating_sub(1);
        self.rebuilt.producers = producers;
        let segments = self.input.segments[..self.at].iter();
        self.closed = segments
            .map(|segment| ClosedSegment {
                base_offset: segment.base_offset,
                bytes: segment.bytes,
                largest_timestamp: None,
                modified: segment.modified,
                has_aborted: segment.has_aborted,
            })
            .collect();
        if self.start_offset <= self.segment().base_offset {
            self.scan_whole(self.segment().base_offset, TransactionIndex::new());
        } else {
            let tail_is_enough = self.input.clean && self.is_last() && self.input.limit.is_none();
            self.phase = Phase::Indexes { last_entries: tail_is_enough.then_some(INDEX_TAIL_ENTRIES) };
        }
    }

    fn bounds(&self) -> ScanBounds {
        let FoundSegment { bytes, modified, .. } = self.segment();
        ScanBounds { file_bytes: bytes, modified, limit: self.input.limit }
    }

    /// Scans the segment from its first byte; `aborted` are transactions that are known from its index.
    fn scan_whole(&mut self, next_offset: Offset, aborted: TransactionIndex) {
        let base = self.segment().base_offset;
        let mut indexes = SegmentIndexes::new(base, usize::MAX);
        indexes.aborted = aborted;
        // They stay in their file: no other tells of them.
        self.kept = EntryCounts { aborted: indexes.aborted.len(), ..EntryCounts::default() };
        let resumed = ResumedSegment::empty(base, self.segment().modified, indexes);
        self.rebuilt.expected = None;
        self.rebuilt.misled = false;
        let next_offset = next_offset.max(base);
        let scan = SegmentScan::resume(base, resumed, next_offset, self.bounds(), &self.input.config);
        self.phase = Phase::Scan { scan: Box::new(scan), from: FilePosition(0) };
    }

    /// The index files that [`LoadStep::ReadIndexes`] named.
    pub fn indexes(&mut self, files: IndexFiles<'_>) {
        let Phase::Indexes { last_entries } = self.phase else {
            return;
        };
        let base = self.segment().base_offset;
        // The producers are known from their snapshot on: older aborted transactions only this file has.
        let aborted = TransactionIndex::decode(base, files.aborted.unwrap_or(&[]));
        let Ok(mut aborted) = aborted else {
            self.choose_snapshot(base);
            return;
        };
        let known = self.rebuilt.producers.end_offset();
        assert!(aborted.truncate_to(known), "a whole index is cut anywhere");
        match self.resume_by(&files, &aborted) {
            Ok(Resume::At(resumed, entry_offset)) => {
                self.kept = EntryCounts {
                    offsets: resumed.indexes.offsets.len(),
                    times: resumed.indexes.times.len(),
                    aborted: aborted.len(),
                };
                self.rebuilt.expected = Some(entry_offset);
                let from = FilePosition(resumed.bytes);
                let scan = SegmentScan::resume(base, resumed, base, self.bounds(), &self.input.config);
                self.phase = Phase::Scan { scan: Box::new(scan), from };
            }
            Ok(Resume::NeedsAll) if last_entries.is_some() => {
                self.phase = Phase::Indexes { last_entries: None };
            }
            Ok(Resume::NeedsAll | Resume::Whole) | Err(_) => self.scan_whole(base, aborted),
        }
    }

    /// Where the indexes let a scan begin.
    fn resume_by(&self, files: &IndexFiles<'_>, aborted: &TransactionIndex) -> Result<Resume, CorruptIndex> {
        let FoundSegment { base_offset: base, bytes, modified, .. } = self.segment();
        let (Some(offsets), Some(times)) = (files.offsets, files.times) else {
            return Ok(Resume::Whole);
        };
        let (skipped_offsets, skipped_times) = (offsets.skipped_entries, times.skipped_entries);
        let mut offsets = OffsetIndex::decode_tail(base, usize::MAX, skipped_offsets, offsets.bytes)?;
        let mut times = TimeIndex::decode_tail(base, usize::MAX, skipped_times, times.bytes)?;
        // One offset less, so that a batch that ends with the start offset is not passed over.
        let Some(entry) = offsets.lookup(Offset(self.start_offset.0 - 1)) else {
            return Ok(Resume::NeedsAll);
        };
        let Ok(first) = BatchHeader::parse(files.head) else {
            return Ok(Resume::Whole);
        };
        if entry.position.0 == 0 || entry.position.0 >= bytes {
            return Ok(Resume::Whole);
        }
        let behind = entry.offset.plus(1);
        if !offsets.truncate_to(behind) || !times.truncate_to(behind) {
            return Ok(Resume::NeedsAll);
        }
        let none = TimestampOffset { timestamp: TimestampMs::NONE, offset: base };
        Ok(Resume::At(
            ResumedSegment {
                bytes: entry.position.0,
                largest_timestamp: times.last_entry().unwrap_or(none),
                first_timestamp: Some(first.max_timestamp),
                modified,
                bytes_since_entry: 0,
                indexes: SegmentIndexes { offsets, times, aborted: aborted.clone() },
            },
            entry.offset,
        ))
    }

    /// The next piece of the segment that [`LoadStep::Read`] named; returns whether more of it is wanted.
    pub fn feed(&mut self, bytes: &[u8]) -> bool {
        match &mut self.phase {
            Phase::Scan { scan, .. } => {
                self.scanned_bytes += bytes.len() as u64;
                scan.feed(bytes, &mut self.rebuilt) && !self.rebuilt.misled
            }
            Phase::Search { search, .. } => search.feed(bytes),
            Phase::Snapshot(_)
            | Phase::Indexes { .. }
            | Phase::Split { .. }
            | Phase::Write(_)
            | Phase::Done => false,
        }
    }

    /// Ends the reading that [`LoadStep::Read`] asked for, at the end of the file or when no more was wanted.
    pub fn end_of_bytes(&mut self) {
        match std::mem::replace(&mut self.phase, Phase::Done) {
            Phase::Scan { scan, .. } => self.end_scan(*scan),
            Phase::Search { search, scan, .. } => self.end_search(&search, *scan),
            other @ (Phase::Snapshot(_)
            | Phase::Indexes { .. }
            | Phase::Split { .. }
            | Phase::Write(_)
            | Phase::Done) => {
                self.phase = other;
            }
        }
    }

    fn end_scan(&mut self, scan: SegmentScan) {
        let (base, end, valid) = (scan.base_offset(), scan.end(), scan.valid_end());
        if self.rebuilt.misled || self.rebuilt.expected.is_some() {
            // The index named a place where its batch is not: it is of no use.
            let aborted = scan.into_active().indexes().aborted.clone();
            self.scan_whole(base, aborted);
            return;
        }
        self.next_offset = scan.next_offset();
        if valid.0 < self.segment().bytes {
            self.cuts.push(Cut { segment_base: base, bytes: valid, end });
        }
        if self.goes_on(end) {
            self.close(scan);
            return;
        }
        match end {
            PrefixEnd::Whole | PrefixEnd::Limit => self.end_log(scan, None, true),
            PrefixEnd::Zeros | PrefixEnd::Torn | PrefixEnd::Crc | PrefixEnd::NoBatch | PrefixEnd::Offsets => {
                self.search_behind(scan, valid);
            }
        }
    }

    /// The segment takes no more; the load goes on with the next when its indexes are written.
    fn close(&mut self, scan: SegmentScan) {
        let segment_base = scan.base_offset();
        let (closed, indexes) = scan.into_closed();
        self.closed.push_back(closed);
        self.phase = Phase::Write(Box::new(RebuiltIndexes { segment_base, indexes }));
    }

    /// Whether the next segment continues the log. What stands behind the batches of a segment that was rolled but
    /// not trimmed yet does not matter where the next one begins with the very next offset.
    fn goes_on(&self, end: PrefixEnd) -> bool {
        let Some(next) = self.input.segments.get(self.at + 1) else {
            return false;
        };
        let within_limit = self.input.limit.is_none_or(|limit| next.base_offset <= limit);
        match end {
            PrefixEnd::Limit => false,
            PrefixEnd::Whole => within_limit && next.base_offset >= self.next_offset,
            PrefixEnd::Zeros | PrefixEnd::Torn | PrefixEnd::Crc | PrefixEnd::NoBatch | PrefixEnd::Offsets => {
                within_limit && next.base_offset == self.next_offset
            }
        }
    }

    fn search_behind(&mut self, scan: SegmentScan, from: FilePosition) {
        let FoundSegment { base_offset, bytes, .. } = self.segment();
        let end = scan.end();
        let search_bytes = if self.is_certain(end) {
            bytes
        } else if end == PrefixEnd::Zeros {
            SEARCH_BYTES_BEHIND_ZEROS
        } else {
            SEARCH_BYTES_BEHIND_DAMAGE
        };
        let search = DamageSearch::new(base_offset, self.next_offset, from, bytes, search_bytes)
            .behind(scan.damaged_bytes());
        self.phase = Phase::Search { search: Box::new(search), scan: Box::new(scan), from };
        if !self.step_wants_bytes() {
            self.end_of_bytes();
        }
    }

    /// Behind the valid prefix stands what is no batch. The log goes on behind it where that is known to be damage
    /// and not the half of a write that nobody was told of.
    fn end_search(&mut self, search: &DamageSearch, scan: SegmentScan) {
        let (found, searched_all) = search.outcome();
        if self.input.limit.is_some() {
            self.end_log(scan, None, searched_all);
            return;
        }
        let next = self.next_with_batches();
        // A later segment is begun when everything before it is on disk.
        let is_damage = self.is_certain(scan.end()) || !search.looks_torn() || next.is_some();
        let later = found.filter(|later| is_damage && next.is_none_or(|next| later.base_offset < next));
        let Some(resumes_at) = later.map(|later| later.base_offset).or(next) else {
            self.end_log(scan, found, searched_all);
            return;
        };
        self.damage.push(Damage {
            segment_base: scan.base_offset(),
            from: scan.valid_end(),
            next_offset: self.next_offset,
            end: scan.end(),
            resumes: later,
            resumes_at: Some(resumes_at),
            searched_all,
            dropped_segments: Vec::new(),
            certain: true,
        });
        match later {
            Some(later) => self.phase = Phase::Split { scan: Box::new(scan), later },
            None => self.close(scan),
        }
    }

    /// The base of the next segment, if it holds anything.
    fn next_with_batches(&self) -> Option<Offset> {
        let next = self.input.segments.get(self.at + 1)?;
        (next.bytes >= BATCH_HEADER_BYTES as u64).then_some(next.base_offset)
    }

    /// The shell has carried out [`LoadStep::Split`]: the new segment has `bytes` bytes and is durable.
    pub fn split_done(&mut self, bytes: u64) {
        match std::mem::replace(&mut self.phase, Phase::Done) {
            Phase::Split { scan, later } => {
                let modified = self.segment().modified;
                let base_offset = later.base_offset;
                let new = FoundSegment { base_offset, bytes, modified, has_aborted: false };
                self.input.segments.insert(self.at + 1, new);
                self.close(*scan);
            }
            other => self.phase = other,
        }
    }

    fn step_wants_bytes(&self) -> bool {
        matches!(&self.phase, Phase::Search { search, .. } if search.wants_more())
    }

    /// Whether records that were durable are lost.
    fn is_certain(&self, end: PrefixEnd) -> bool {
        if self.input.limit.is_some() {
            return false;
        }
        let broken = !matches!(end, PrefixEnd::Whole | PrefixEnd::Limit | PrefixEnd::Zeros);
        self.next_offset < self.input.recovery_point || (self.input.clean && broken)
    }

    fn end_log(&mut self, scan: SegmentScan, resumes: Option<LaterBatch>, searched_all: bool) {
        let end = scan.end();
        let later = &self.input.segments[self.at + 1..];
        self.dropped.extend(later.iter().map(|segment| segment.base_offset));
        let active = self.active.insert(scan.into_active());
        let (segment_base, from) = (active.base_offset(), FilePosition(active.bytes()));
        let known = self.rebuilt.producers.end_offset();
        let is_ahead = known > self.next_offset && known < Offset(i64::MAX);
        if is_ahead && self.input.limit.is_none() && !canary::is(Canary::SnapshotAhead) {
            self.start_over(known);
            return;
        }
        let certain = self.is_certain(end);
        let is_truncation = self.input.limit.is_some();
        if !is_truncation && (certain || resumes.is_some() || !self.dropped.is_empty()) {
            self.damage.push(Damage {
                segment_base,
                from,
                next_offset: self.next_offset,
                end,
                resumes,
                resumes_at: None,
                searched_all,
                dropped_segments: self.dropped.clone(),
                certain,
            });
        }
        self.phase = Phase::Done;
    }

    /// The snapshot is ahead of the log: what it counts was durable once. An older one has to do.
    fn start_over(&mut self, snapshot: Offset) {
        self.input.clean = false;
        self.input.recovery_point = self.input.recovery_point.max(snapshot);
        self.bad_snapshots.extend(self.input.snapshots.iter().filter(|offset| **offset > self.next_offset));
        self.rebuilt.epochs = self.input.epochs.clone().unwrap_or_default();
        self.active = None;
        self.cuts.clear();
        self.dropped.clear();
        self.choose_snapshot(self.next_offset);
    }

    /// The indexes that [`LoadStep::WriteIndexes`] names; the load goes on with the next segment.
    pub fn take_rebuilt(&mut self) -> Option<RebuiltIndexes> {
        match std::mem::replace(&mut self.phase, Phase::Done) {
            Phase::Write(rebuilt) => {
                self.at += 1;
                self.scan_whole(self.next_offset, TransactionIndex::new());
                Some(*rebuilt)
            }
            other => {
                self.phase = other;
                None
            }
        }
    }

    /// The log, once [`LogLoader::step`] says that nothing is left to do.
    #[must_use]
    pub fn finish(mut self) -> Loaded {
        assert!(matches!(self.phase, Phase::Done), "a load is finished when all was read");
        let first = self.input.segments.first().map(|segment| segment.base_offset);
        let start = self.input.log_start_offset.max(first.unwrap_or(Offset::ZERO));
        match self.active.take() {
            Some(active) if self.next_offset >= start => self.finish_log(active, start),
            Some(active) if self.input.limit.is_some() => {
                let start = self.next_offset;
                self.finish_log(active, start)
            }
            Some(active) => self.finish_behind_end(&active, start),
            None => self.finish_empty(start),
        }
    }

    /// The log start offset is behind everything that is there: nothing of it may be read.
    fn finish_behind_end(mut self, active: &ActiveSegment, start: Offset) -> Loaded {
        self.damage.push(Damage {
            segment_base: active.base_offset(),
            from: FilePosition(active.bytes()),
            next_offset: self.next_offset,
            end: PrefixEnd::Whole,
            resumes: None,
            resumes_at: None,
            searched_all: true,
            dropped_segments: self.input.segments.iter().map(|segment| segment.base_offset).collect(),
            certain: true,
        });
        self.finish_empty(start)
    }

    fn finish_empty(self, start: Offset) -> Loaded {
        let log = Log::new(self.input.config, start, self.input.jitter_seed, self.now);
        Loaded {
            epochs_changed: self.input.epochs.is_none_or(|epochs| !epochs.entries().is_empty()),
            log,
            cuts: Vec::new(),
            remove_segments: self.input.segments.iter().map(|segment| segment.base_offset).collect(),
            remove_snapshots: self.input.snapshots,
            index_entries_kept: EntryCounts::default(),
            damage: self.damage,
            scanned_bytes: self.scanned_bytes,
        }
    }

    fn finish_log(self, active: ActiveSegment, start: Offset) -> Loaded {
        // What a crash has left behind the point may never have become durable, and nothing would make it so.
        let trusted_end = self.trusted_end();
        let (input, end) = (self.input, self.next_offset);
        let mut log = Log::new(input.config, start, input.jitter_seed, self.now);
        let first = self.closed.front().map_or(active.base_offset(), |segment| segment.base_offset);
        log.closed = self.closed;
        let active = active.with_index_bytes_max(log.config.segment_index_bytes);
        log.active = active.created_at(self.now);
        log.log_end_offset = end;
        log.durable_end_offset = end;
        let is_stop = input.clean && input.limit.is_none();
        log.recovery_point = if is_stop { end } else { input.recovery_point.min(trusted_end).min(end) };
        log.epochs = self.rebuilt.epochs;
        log.epochs.truncate_from_end(end);
        log.epochs.truncate_from_start(start);
        log.leader_epoch = log.epochs.latest_epoch();
        let producers = self.rebuilt.producers;
        log.producers = if producers.end_offset() == Offset(i64::MAX) {
            Producers::new(end, log.config.producers_max)
        } else {
            producers
        };
        log.producers.skip_to(end);
        log.producers.on_log_start_offset(start);
        log.replicated = input.high_watermark.is_some();
        log.high_watermark = input.high_watermark.unwrap_or(end).clamp(start, end);
        log.producers.on_high_watermark(log.high_watermark);
        let bad = self.bad_snapshots;
        let (kept, gone): (Vec<_>, Vec<_>) = input
            .snapshots
            .into_iter()
            .partition(|offset| (first..=end.min(trusted_end)).contains(offset) && !bad.contains(offset));
        log.snapshots = kept.into_iter().collect();
        Loaded {
            epochs_changed: input.epochs.as_ref() != Some(&log.epochs),
            log,
            cuts: self.cuts,
            remove_segments: self.dropped,
            remove_snapshots: gone,
            index_entries_kept: self.kept,
            damage: self.damage,
            scanned_bytes: self.scanned_bytes,
        }
    }
}

/// How a scan begins.
enum Resume {
    /// At the batch whose last offset is given, where the resumed segment ends.
    At(ResumedSegment, Offset),
    /// At the segment's first byte.
    Whole,
    /// Only the whole index files can tell.
    NeedsAll,
}
