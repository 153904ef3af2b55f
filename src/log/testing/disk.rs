//! A directory of files in memory, driven by what the log says as the shell drives the true one.

use std::collections::BTreeMap;

use super::TestBatch;
use crate::ids::{FilePosition, Offset, TimestampMs};
use crate::log::aborted::AbortedStep;
use crate::log::append::{Appended, Roll};
use crate::log::cleaner::{CleanError, CleanStep, CleanedGroup, Cleaning};
use crate::log::leader_epochs::LeaderEpochs;
use crate::log::load::{FoundSegment, IndexBytes, IndexFiles, LoadInput, LoadStep, Loaded, LogLoader};
use crate::log::read::{ReadPlan, ReadRequest, ReadSlice, WalkPlan, WalkStep};
use crate::log::retention::Retired;
use crate::log::segment::SegmentIndexes;
use crate::log::{AbortedTransaction, Log, LogConfig, NewBatch, OffsetIndex, TimeIndex, TransactionIndex};
use crate::protocol::compression::Decompressor;
use crate::protocol::records::{Batch, BatchIter, edit};
use crate::time::Monotonic;

pub const NOW: Monotonic = Monotonic(7_000_000_000);
pub const WALL: TimestampMs = TimestampMs(1_000_000);

/// The index files of a segment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IndexFile {
    pub offsets: Vec<u8>,
    pub times: Vec<u8>,
    pub aborted: Vec<u8>,
}

/// The files of one partition.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    pub segments: BTreeMap<Offset, Vec<u8>>,
    pub indexes: BTreeMap<Offset, IndexFile>,
    pub snapshots: BTreeMap<Offset, Vec<u8>>,
    pub epochs: Option<Vec<u8>>,
    pub log_start_offset: Offset,
    pub recovery_point: Offset,
    /// Bytes that a load is fed with at once.
    pub piece_bytes: usize,
}

impl Disk {
    pub fn new(log: &Log) -> Disk {
        let mut disk = Disk { piece_bytes: 1 << 16, epochs: Some(b"0\n0\n".to_vec()), ..Disk::default() };
        disk.segments.insert(log.active_segment().base_offset(), Vec::new());
        disk
    }

    /// Appends to the log, which must not refuse, and to the files.
    pub fn append(&mut self, log: &mut Log, batch: TestBatch) -> Appended {
        self.append_as(log, batch, NewBatch::of_client(batch.header()))
    }

    pub fn append_as(&mut self, log: &mut Log, batch: TestBatch, new: NewBatch) -> Appended {
        self.append_bytes(log, batch.bytes(), new)
    }

    /// Appends a batch of any contents.
    pub fn append_bytes(&mut self, log: &mut Log, mut bytes: Vec<u8>, new: NewBatch) -> Appended {
        let outcome = log.append(&new, NOW, WALL).expect("the batch is in order");
        let crate::log::AppendOutcome::Appended(mut appended) = outcome else {
            panic!("a duplicate: {outcome:?}");
        };
        if let Some(roll) = appended.roll.take() {
            self.roll(&roll);
            appended.roll = Some(roll);
        }
        edit::set_base_offset(&mut bytes, appended.base_offset);
        edit::set_leader_epoch(&mut bytes, appended.leader_epoch);
        let segment = self.segments.get_mut(&appended.at.segment_base).expect("the active segment");
        assert_eq!(appended.at.position.0, segment.len() as u64, "batches stand end to end");
        segment.extend_from_slice(&bytes);
        assert_eq!(appended.end.position.0, segment.len() as u64);
        if appended.epochs_changed {
            self.epochs = Some(log.epochs().encode().into_bytes());
        }
        appended
    }

    pub fn roll(&mut self, roll: &Roll) {
        self.snapshots.insert(roll.new_base, roll.snapshot.clone());
        if roll.closed.bytes == 0 {
            self.segments.remove(&roll.closed.base_offset);
        } else {
            let segment = &self.segments[&roll.closed.base_offset];
            assert_eq!(roll.closed.bytes, segment.len() as u64);
            self.write_indexes(roll.closed.base_offset, &roll.indexes);
        }
        let old = self.segments.insert(roll.new_base, Vec::new());
        assert!(old.is_none(), "a new segment has a name of its own");
    }

    /// Brings the files up to what the indexes in memory have.
    fn write_indexes(&mut self, base: Offset, indexes: &SegmentIndexes) {
        let file = self.indexes.entry(base).or_default();
        file.offsets.extend(indexes.offsets.encode_from(file.offsets.len() / 8));
        file.times.extend(indexes.times.encode_from(file.times.len() / 12));
        file.aborted.extend(indexes.aborted.encode_from(file.aborted.len() / 34));
    }

    pub fn write_active_indexes(&mut self, log: &Log) {
        self.write_indexes(log.active_segment().base_offset(), log.active_segment().indexes());
    }

    /// Writes everything that a recovery point needs, and moves it to the log's end.
    pub fn checkpoint(&mut self, log: &mut Log) {
        log.mark_durable(log.log_end_offset());
        self.write_active_indexes(log);
        if let Some((offset, bytes)) = log.take_snapshot() {
            log.note_snapshot(offset);
            self.snapshots.insert(offset, bytes);
        }
        for offset in log.retire_snapshots() {
            self.snapshots.remove(&offset);
        }
        log.advance_recovery_point(log.log_end_offset());
        self.recovery_point = log.recovery_point();
        self.epochs = Some(log.epochs().encode().into_bytes());
        self.log_start_offset = log.log_start_offset();
    }

    pub fn retire(&mut self, log: &Log, retired: &Retired) {
        if let Some(roll) = &retired.roll {
            self.roll(roll);
        }
        for segment in &retired.segments {
            self.segments.remove(&segment.base_offset).expect("a segment goes once");
            self.indexes.remove(&segment.base_offset);
        }
        for snapshot in &retired.snapshots {
            self.snapshots.remove(snapshot).expect("a snapshot goes once");
        }
        self.epochs = Some(log.epochs().encode().into_bytes());
        self.log_start_offset = log.log_start_offset();
    }

    pub fn input(&self, config: &LogConfig, clean: bool) -> LoadInput {
        let found = |(&base_offset, bytes): (&Offset, &Vec<u8>)| FoundSegment {
            base_offset,
            bytes: bytes.len() as u64,
            modified: WALL,
            has_aborted: self.indexes.get(&base_offset).is_some_and(|file| !file.aborted.is_empty()),
        };
        LoadInput {
            config: config.clone(),
            segments: self.segments.iter().map(found).collect(),
            snapshots: self.snapshots.keys().copied().collect(),
            epochs: self.epochs.as_ref().and_then(|text| LeaderEpochs::decode(text).ok()),
            log_start_offset: self.log_start_offset,
            recovery_point: self.recovery_point,
            doubted_from: None,
            clean,
            limit: None,
            high_watermark: None,
            jitter_seed: 1,
        }
    }

    /// Loads the log and does what it asks for.
    pub fn load(&mut self, input: LoadInput) -> Loaded {
        let mut loader = LogLoader::new(input, NOW);
        let mut steps = 0;
        loop {
            assert_eq!(loader.step(), loader.step(), "asking changes nothing");
            match loader.step() {
                LoadStep::ReadSnapshot { offset } => {
                    loader.snapshot(self.snapshots.get(&offset).map(Vec::as_slice));
                }
                LoadStep::ReadIndexes { segment_base, last_entries } => {
                    self.feed_indexes(&mut loader, segment_base, last_entries);
                }
                LoadStep::Read { segment_base, from } => {
                    let bytes = &self.segments[&segment_base][usize::try_from(from.0).expect("small")..];
                    let _ = bytes.chunks(self.piece_bytes).all(|piece| loader.feed(piece));
                    loader.end_of_bytes();
                }
                LoadStep::Split { segment_base, from, new_base } => {
                    let from = usize::try_from(from.0).expect("small");
                    let rest = self.segments[&segment_base][from..].to_vec();
                    loader.split_done(rest.len() as u64);
                    self.segments.insert(new_base, rest);
                }
                LoadStep::WriteIndexes { segment_base } => {
                    let rebuilt = loader.take_rebuilt().expect("the step said so");
                    assert_eq!(rebuilt.segment_base, segment_base);
                    self.indexes.remove(&segment_base);
                    self.write_indexes(segment_base, &rebuilt.indexes);
                }
                LoadStep::Done => break,
            }
            steps += 1;
            assert!(steps < 10_000, "a load comes to an end");
        }
        let loaded = loader.finish();
        self.settle(&loaded);
        loaded
    }

    fn feed_indexes(&self, loader: &mut LogLoader, base: Offset, last_entries: Option<usize>) {
        let tail = |bytes: &'_ [u8], entry: usize| {
            let skipped = last_entries.map_or(0, |last| (bytes.len() / entry).saturating_sub(last));
            (skipped, skipped * entry)
        };
        let file = self.indexes.get(&base);
        let offsets = file.map(|file| {
            let (skipped_entries, from) = tail(&file.offsets, 8);
            IndexBytes { skipped_entries, bytes: &file.offsets[from..] }
        });
        let times = file.map(|file| {
            let (skipped_entries, from) = tail(&file.times, 12);
            IndexBytes { skipped_entries, bytes: &file.times[from..] }
        });
        let segment = &self.segments[&base];
        let head = &segment[..segment.len().min(61)];
        loader.indexes(IndexFiles { head, offsets, times, aborted: file.map(|file| &file.aborted[..]) });
    }

    fn settle(&mut self, loaded: &Loaded) {
        for cut in &loaded.cuts {
            let bytes = usize::try_from(cut.bytes.0).expect("small");
            if let Some(segment) = self.segments.get_mut(&cut.segment_base) {
                segment.truncate(bytes);
            }
        }
        for base in &loaded.remove_segments {
            self.segments.remove(base);
            self.indexes.remove(base);
        }
        for offset in &loaded.remove_snapshots {
            self.snapshots.remove(offset);
        }
        let active = loaded.log.active_segment();
        let file = self.indexes.entry(active.base_offset()).or_default();
        file.offsets.truncate(loaded.index_entries_kept.offsets * 8);
        file.times.truncate(loaded.index_entries_kept.times * 12);
        file.aborted.truncate(loaded.index_entries_kept.aborted * 34);
        self.write_active_indexes(&loaded.log);
        self.segments.entry(active.base_offset()).or_default();
        if loaded.epochs_changed {
            self.epochs = Some(loaded.log.epochs().encode().into_bytes());
        }
        assert_eq!(self.segments[&active.base_offset()].len() as u64, active.bytes());
        let bases: Vec<_> = loaded.log.closed_segments().map(|segment| segment.base_offset).collect();
        assert!(self.segments.keys().eq(bases.iter().chain([&active.base_offset()])));
    }

    /// Every aborted transaction that overlaps `from..to`, as the shell finds them.
    pub fn aborted(&self, log: &Log, from: Offset, to: Offset) -> Vec<AbortedTransaction> {
        let mut search = log.aborted_between(from, to);
        loop {
            match search.step(log) {
                AbortedStep::Done(found) => return found,
                AbortedStep::ReadIndex { segment_base } => {
                    search.feed(log, &self.indexes_of(segment_base).aborted);
                }
            }
        }
    }

    /// Cleans the log as the shell does, with windows of `piece_bytes`; a swap changes the files at once.
    pub fn clean(&mut self, log: &mut Log, mut cleaning: Cleaning) -> Result<Cleaning, CleanError> {
        let mut decompressor = Decompressor::new();
        let mut cleaned = Vec::new();
        loop {
            assert_eq!(cleaning.step(), cleaning.step(), "asking changes nothing");
            match cleaning.step() {
                CleanStep::Aborted { from, to } => cleaning.aborted(self.aborted(log, from, to)),
                CleanStep::Read { segment_base, from, bytes } => {
                    let place = |at: u64| usize::try_from(at).expect("small");
                    let mut window = &self.segments[&segment_base][place(from.0)..place(from.0 + bytes)];
                    let mut at = from;
                    while let used @ 1.. = cleaning.feed(window, &mut decompressor)? {
                        (window, at) = (&window[used..], at.plus(used as u64));
                        let CleanStep::Read { segment_base: base, from: next, .. } = cleaning.step() else {
                            break;
                        };
                        if (base, next) != (segment_base, at) {
                            break;
                        }
                    }
                }
                CleanStep::Write { .. } => cleaned.append(&mut cleaning.take_output()),
                CleanStep::Swap => {
                    let group = cleaning.take_group().expect("the step said so");
                    self.swap(log, &group, std::mem::take(&mut cleaned));
                }
                CleanStep::Done => return Ok(cleaning),
            }
        }
    }

    fn swap(&mut self, log: &mut Log, group: &CleanedGroup, bytes: Vec<u8>) {
        assert_eq!(bytes.len() as u64, group.segment.bytes, "everything was written");
        let base = group.segment.base_offset;
        if group.is_unchanged {
            assert_eq!(self.segments[&base], bytes, "it was called unchanged");
            return;
        }
        for source in &group.sources {
            self.segments.remove(source).expect("a source is there");
            self.indexes.remove(source);
        }
        self.segments.insert(base, bytes);
        self.write_indexes(base, &group.indexes);
        log.replace_segments(&group.sources, group.segment);
    }

    /// The indexes of a segment as its files have them.
    pub fn indexes_of(&self, base: Offset) -> SegmentIndexes {
        let file = self.indexes.get(&base).cloned().unwrap_or_default();
        SegmentIndexes {
            offsets: OffsetIndex::decode(base, 1 << 30, &file.offsets).expect("own bytes"),
            times: TimeIndex::decode(base, 1 << 30, &file.times).expect("own bytes"),
            aborted: TransactionIndex::decode(base, &file.aborted).expect("own bytes"),
        }
    }

    /// The window of a segment that a walk is fed with: from `at`, as long as the smallest read.
    pub fn window(&self, base: Offset, at: FilePosition) -> &[u8] {
        let from = usize::try_from(at.0).expect("small");
        let segment = &self.segments[&base];
        &segment[from..segment.len().min(from + 61.max(self.piece_bytes))]
    }

    /// Reads as the shell does; the whole batches of the answer.
    pub fn read(&self, log: &Log, request: ReadRequest) -> Vec<(Offset, Offset)> {
        let mut plan = log.read_plan(request).expect("the offset is in range");
        loop {
            let walk = match plan {
                ReadPlan::Empty | ReadPlan::Withheld => return Vec::new(),
                ReadPlan::Slice(slice) => return self.batches(slice),
                ReadPlan::Walk(walk) => walk,
            };
            match self.walk(walk) {
                WalkStep::Found(slice) => return self.batches(slice),
                WalkStep::Withheld => return Vec::new(),
                WalkStep::Nothing => plan = log.read_next_segment(walk.segment_base, request),
                WalkStep::Need(_) => unreachable!("the walk was fed"),
            }
        }
    }

    fn walk(&self, plan: WalkPlan) -> WalkStep {
        let plan = match plan.start {
            crate::log::read::WalkStart::Index => {
                // The active segment's newest entries may be in memory alone; older ones are in the file.
                plan.with_index(&self.indexes_of(plan.segment_base).offsets)
            }
            crate::log::read::WalkStart::At(_) => plan,
        };
        let mut walk = plan.walk();
        let mut at = FilePosition(0);
        let mut window: &[u8] = &[];
        loop {
            match walk.feed(at, window).expect("batches stand end to end") {
                WalkStep::Need(position) => {
                    (at, window) = (position, self.window(plan.segment_base, position));
                }
                done => return done,
            }
        }
    }

    fn batches(&self, slice: ReadSlice) -> Vec<(Offset, Offset)> {
        let place = |position: FilePosition| usize::try_from(position.0).expect("small");
        let bytes = &self.segments[&slice.segment_base][place(slice.start)..place(slice.end)];
        let whole = BatchIter::new(bytes).map_while(Result::ok);
        let offsets = |batch: Batch<'_>| (batch.header.base_offset, batch.header.last_offset());
        let batches: Vec<_> = whole.map(offsets).collect();
        assert!(!batches.is_empty(), "a slice holds its first batch");
        assert!(slice.first_batch_end <= slice.end);
        batches
    }
}
