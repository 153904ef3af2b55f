//! What a clean stop has left of a partition, and whether it is still there.
//!
//! The note of a clean stop saves a start the reading of files, and says nothing of what has happened to them since: a
//! disk that was mended, a copy that was cut short, a hand that has removed a file. So a start asks for the size of
//! every file that it relies on, and for nothing else. Where one is another than that of the note the partition is
//! loaded from its files, and every byte from the first segment on that has another size is read: what is damaged is
//! found, and named in the log, before a reader stands before it.
//!
//! A look into the directory would cost ten times as much and waits until the broker serves: by it goes what an earlier
//! run had no time to remove. The note does not know those files, and they are below its first segment.
//!
//! What must hold: a log that is restored from its note has every segment of the note with the size in it; no file of
//! a log is removed that a start after a crash would need.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::rc::{Rc, Weak};
use std::time::Duration;

use ottla::ids::{LeaderEpoch, Offset, TimestampMs, TopicPartition};
use ottla::log::files::{FileStage, SegmentFile, SegmentFileKind};
use ottla::log::leader_epochs::LeaderEpochs;
use ottla::log::offset_index::OFFSET_ENTRY_BYTES;
use ottla::log::restore::LeftLog;
use ottla::log::segment::ResumedSegment;
use ottla::log::time_index::TIME_ENTRY_BYTES;
use ottla::log::{
    ClosedSegment, Log, OffsetIndex, SegmentIndexes, TimeIndex, TimestampOffset, TransactionIndex,
};

use super::clean::{CleanActive, CleanIndex, CleanPartition, CleanSegment, CleanTimestamp};
use super::dirs::Found;
use super::partition::{IndexFiles, Partition};
use super::patient;
use super::recover::OpenWith;
use super::shard_disk::ShardDisk;
use crate::host::{self, Queue};

/// Partitions whose files are examined by one job. A job for each would wake up all that wait each time.
const EXAMINED_TOGETHER: usize = 256;

/// How long after the first restored partition the directories are looked at, one at a time.
const SWEEP_AFTER: Duration = Duration::from_secs(1);

/// What a look at a partition that was left in order has shown.
pub(super) enum Left {
    /// It is as it was left.
    AsNoted(Box<Restored>),
    /// It has to be loaded from its files, with this known of it.
    Changed(Box<Found>, Changes),
}

/// A log put together from the note.
pub(super) struct Restored {
    pub log: Log,
    /// Whether the active segment has a file.
    pub created: bool,
    /// Entries in the active segment's index files.
    pub files: IndexFiles,
    /// The log never had records.
    pub is_new: bool,
    /// What stays of a look at the directory.
    pub kept: Kept,
}

/// The sizes of the files that a note relies on, in its order; `None` for one that is gone.
pub type FileSizes = Vec<Option<u64>>;

/// One way in which the files are not those that were left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// A segment is gone.
    Missing {
        /// Its base offset.
        base: Offset,
        /// The offset behind its last.
        next: Offset,
        /// Whether any of it was above the log start offset.
        is_lost: bool,
    },
    /// A segment has another size.
    Resized {
        /// Its base offset.
        base: Offset,
        /// The offset behind its last.
        next: Offset,
        /// Bytes of its file.
        bytes: u64,
        /// Bytes that were left.
        left: u64,
    },
    /// An index file of the active segment has another size, or is gone.
    Index {
        /// The segment's base offset.
        base: Offset,
        /// Which of them.
        kind: SegmentFileKind,
    },
}

/// How the files of a partition differ from those that a clean stop has left; nothing for most.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes(Vec<Change>);

impl Changes {
    /// The first segment whose bytes cannot be trusted.
    pub(super) fn doubted_from(&self) -> Option<Offset> {
        let doubted = self.0.iter().filter_map(|change| match change {
            Change::Resized { base, .. } => Some(*base),
            Change::Missing { .. } | Change::Index { .. } => None,
        });
        doubted.min()
    }

    /// The first of them that took records along, in words.
    pub(super) fn loss(&self, dir: &Path) -> Option<String> {
        self.0.iter().find_map(|change| change.loss(dir))
    }

    /// Each of them.
    #[must_use]
    pub fn as_slice(&self) -> &[Change] {
        &self.0
    }

    /// Says in the log what has happened to the partition in `dir`.
    pub(super) fn tell(&self, dir: &Path) {
        for change in &self.0 {
            match (change.loss(dir), *change) {
                (Some(loss), _) => tracing::error!("{loss}"),
                (None, Change::Missing { base, .. }) => tracing::warn!(
                    "{} is gone since the last stop; nothing of it is missed",
                    segment_file(dir, base, SegmentFileKind::Log).display()
                ),
                (None, Change::Resized { base, bytes, left, .. }) => tracing::warn!(
                    "{} was left with {left} bytes and has {bytes}; the log is read again from there",
                    segment_file(dir, base, SegmentFileKind::Log).display()
                ),
                (None, Change::Index { base, kind }) => {
                    tracing::warn!(
                        "{} is not as it was left; built anew",
                        segment_file(dir, base, kind).display()
                    );
                }
            }
        }
    }
}

impl Change {
    /// Which records it took along, in words; `None` where it took none.
    fn loss(self, dir: &Path) -> Option<String> {
        match self {
            Change::Missing { base, next, is_lost: true } => Some(format!(
                "offsets {base} to {} ARE LOST: {} is gone since the last stop",
                next.0 - 1,
                segment_file(dir, base, SegmentFileKind::Log).display()
            )),
            Change::Resized { base, next, bytes, left } if bytes < left => Some(format!(
                "{} was left with {left} bytes and has {bytes}: the last of the offsets {base} to {} ARE LOST",
                segment_file(dir, base, SegmentFileKind::Log).display(),
                next.0 - 1
            )),
            Change::Missing { .. } | Change::Resized { .. } | Change::Index { .. } => None,
        }
    }
}

fn segment_file(dir: &Path, base: Offset, kind: SegmentFileKind) -> PathBuf {
    dir.join(SegmentFile::live(base, kind).to_string())
}

/// Asks for the sizes of the files that notes rely on, of very many partitions at a time; a partition whose files
/// cannot be examined is left out.
pub(super) async fn sizes_of(
    dir: &Path,
    clean: &BTreeMap<TopicPartition, CleanPartition>,
) -> BTreeMap<TopicPartition, FileSizes> {
    let all: Vec<_> = clean.iter().collect();
    let jobs = all.chunks(EXAMINED_TOGETHER).map(|some| {
        let mut paths = Vec::with_capacity(some.len() * 3);
        let mut counts = Vec::with_capacity(some.len());
        for (name, clean) in some {
            let (dir, noted) = (dir.join(name.to_string()), noted_files(clean));
            paths.extend(noted.iter().map(|(file, _)| dir.join(file.to_string())));
            counts.push(((*name).clone(), noted.len()));
        }
        (counts, host::spawn(host::file_sizes(paths)))
    });
    let jobs: Vec<_> = jobs.collect();
    let mut found = BTreeMap::new();
    for (counts, job) in jobs {
        let Ok(mut sizes) = job.await else { continue };
        for (name, count) in counts {
            let behind = sizes.split_off(count);
            found.insert(name, std::mem::replace(&mut sizes, behind));
        }
    }
    found
}

/// Puts a partition together from its note, where the files have the sizes in it.
///
/// # Panics
/// When there is no note.
pub(super) fn restore(found: Found, with: &OpenWith) -> Left {
    let clean = found.clean.as_ref().expect("the caller has seen the note");
    let noted = noted_files(clean);
    let (Some(restored), Some(sizes)) = (of_note(clean, with), &found.sizes) else {
        // What cannot be examined is a failure of the load.
        return Left::Changed(Box::new(Found { clean: None, ..found }), Changes::default());
    };
    let changes = compare(clean, &noted, sizes);
    if changes.0.is_empty() {
        return Left::AsNoted(Box::new(restored));
    }
    Left::Changed(Box::new(doubted(&found, clean, &changes)), changes)
}

/// What a load from files goes by: what the note says was durable, and no more trust than the files deserve.
fn doubted(found: &Found, clean: &CleanPartition, changes: &Changes) -> Found {
    Found {
        clean: None,
        was_clean: changes.doubted_from().is_none(),
        recovery_point: found.recovery_point.max(Offset(clean.log_end_offset)),
        log_start: found.log_start.max(Offset(clean.log_start_offset)),
        ..found.clone()
    }
}

/// The files that a log from this note relies on, with their sizes: its segments, and the index files of which the
/// note has the last entry and not the whole.
fn noted_files(clean: &CleanPartition) -> Vec<(SegmentFile, u64)> {
    let CleanPartition { closed, active, .. } = clean;
    let active_log = active.created.then_some((active.base_offset, active.bytes));
    let logs = closed.iter().map(|segment| (segment.base_offset, segment.bytes)).chain(active_log);
    let logs = logs.map(|(base, bytes)| (SegmentFile::live(Offset(base), SegmentFileKind::Log), bytes));
    let bytes = |index: &CleanIndex, entry_bytes: usize| {
        let is_whole = index.skipped_entries == 0;
        let skipped = u64::from(index.skipped_entries) * entry_bytes as u64;
        (!is_whole).then_some(skipped + index.bytes.len() as u64)
    };
    let indexes = [
        (SegmentFileKind::OffsetIndex, bytes(&active.offsets, OFFSET_ENTRY_BYTES)),
        (SegmentFileKind::TimeIndex, bytes(&active.times, TIME_ENTRY_BYTES)),
    ];
    let indexes = indexes.into_iter().filter_map(|(kind, bytes)| Some((kind, bytes?)));
    let base = Offset(active.base_offset);
    logs.chain(indexes.map(|(kind, bytes)| (SegmentFile::live(base, kind), bytes))).collect()
}

/// How the sizes that files have differ from those of the note.
fn compare(clean: &CleanPartition, noted: &[(SegmentFile, u64)], sizes: &[Option<u64>]) -> Changes {
    let bases = clean.closed.iter().map(|segment| segment.base_offset);
    let bases: Vec<_> = bases.chain([clean.active.base_offset, clean.log_end_offset]).collect();
    let differs = noted.iter().zip(sizes).filter(|((_, left), size)| **size != Some(*left));
    let change = |(&(file, left), size): (&(SegmentFile, u64), &Option<u64>)| {
        let SegmentFile { base_offset: base, kind, .. } = file;
        let next = bases.iter().find(|next| **next > base.0).map_or(base, |next| Offset(*next));
        match (kind, *size) {
            (SegmentFileKind::Log, Some(bytes)) => Change::Resized { base, next, bytes, left },
            (SegmentFileKind::Log, None) => {
                let is_lost = next.0 > clean.log_start_offset.max(base.0);
                Change::Missing { base, next, is_lost }
            }
            (kind, _) => Change::Index { base, kind },
        }
    };
    Changes(differs.map(change).collect())
}

/// What a note says of the files that stay.
#[derive(Clone, Debug, Default)]
pub(super) struct Kept {
    /// The base offset of the first segment.
    pub first: Offset,
    /// The producer snapshots.
    pub snapshots: Vec<i64>,
}

impl Kept {
    fn of(clean: &CleanPartition) -> Kept {
        let first = clean.closed.first().map_or(clean.active.base_offset, |segment| segment.base_offset);
        Kept { first: Offset(first), snapshots: clean.snapshots.clone() }
    }

    /// Whether a file is one that an earlier run had no time to remove.
    fn is_outdated(&self, file: SegmentFile) -> bool {
        let SegmentFile { base_offset: base, kind, stage } = file;
        match stage {
            FileStage::Deleted => true,
            FileStage::Live if kind == SegmentFileKind::ProducerSnapshot => {
                base < self.first && !self.snapshots.contains(&base.0)
            }
            FileStage::Live => base < self.first,
            // The cleaner may be at it by now.
            FileStage::Cleaned | FileStage::Swap => false,
        }
    }
}

/// Partitions that were restored from their notes, in whose directories nobody has looked yet.
#[derive(Default)]
pub(super) struct Sweeps {
    waiting: RefCell<VecDeque<(Weak<Partition>, Kept)>>,
    is_running: Cell<bool>,
}

impl ShardDisk {
    /// Has what an earlier run has left in a partition's directory removed, when the start is over.
    pub(super) fn sweep_later(self: &Rc<Self>, partition: &Rc<Partition>, kept: Kept) {
        self.sweeps.waiting.borrow_mut().push_back((Rc::downgrade(partition), kept));
        if self.sweeps.is_running.replace(true) {
            return;
        }
        let disk = Rc::clone(self);
        drop(host::spawn_in(Queue::Background, async move {
            host::sleep(SWEEP_AFTER).await;
            loop {
                let next = disk.sweeps.waiting.borrow_mut().pop_front();
                let Some((partition, kept)) = next else { break };
                if let Some(partition) = partition.upgrade() {
                    partition.sweep(&kept).await;
                }
            }
            disk.sweeps.is_running.set(false);
        }));
    }
}

impl Partition {
    /// Removes what an earlier run has left in the directory. With the turn for housekeeping nobody else gives the
    /// directory to another partition of the same name, or renames what is in it.
    async fn sweep(&self, kept: &Kept) {
        let Ok(_turn) = self.housekeeping_turn().await else { return };
        let Ok(entries) = patient::read_dir(self.path()).await else { return };
        let files = entries.iter().filter_map(|entry| SegmentFile::parse(&entry.name.to_string_lossy()));
        let mut live = 0;
        for file in files.filter(|file| kept.is_outdated(*file)) {
            let path = self.path().join(file.to_string());
            match self.remove_if_there(&path).await {
                Ok(()) => live += usize::from(file.stage == FileStage::Live),
                Err(failure) => tracing::warn!("{failure}; the next start tries again"),
            }
        }
        if live > 0 {
            let (name, first) = (self.name(), kept.first);
            tracing::info!(
                "{name}: {live} files from before the first segment {first} were left behind and are gone"
            );
        }
    }
}

/// The log of a clean stop's note; `None` where the note is of another topic or contradicts itself.
fn of_note(clean: &CleanPartition, with: &OpenWith) -> Option<Restored> {
    if clean.topic_id != with.topic_id.0 {
        return None;
    }
    let mut epochs = LeaderEpochs::new();
    for entry in &clean.epochs {
        epochs.assign(LeaderEpoch(entry.epoch), Offset(entry.start_offset));
    }
    let active = restore_active(&clean.active)?;
    let files = IndexFiles {
        offsets: active.indexes.offsets.len(),
        times: active.indexes.times.len(),
        aborted: active.indexes.aborted.len(),
    };
    let left = LeftLog {
        log_start_offset: Offset(clean.log_start_offset),
        log_end_offset: Offset(clean.log_end_offset),
        high_watermark: with.replicated.then_some(Offset(clean.high_watermark)),
        closed: clean.closed.iter().map(restore_closed).collect(),
        active_base: Offset(clean.active.base_offset),
        active,
        epochs,
        producers: clean.producers.clone(),
        snapshots: clean.snapshots.iter().map(|offset| Offset(*offset)).collect(),
        jitter_seed: host::random_u64(),
    };
    let log = Log::restore(with.config.clone(), left, host::now())?;
    let (created, is_new) = (clean.active.created, clean.log_end_offset == 0);
    Some(Restored { log, created, files, is_new, kept: Kept::of(clean) })
}

fn restore_timestamp(largest: CleanTimestamp) -> TimestampOffset {
    TimestampOffset { timestamp: TimestampMs(largest.timestamp_ms), offset: Offset(largest.offset) }
}

fn restore_closed(segment: &CleanSegment) -> ClosedSegment {
    ClosedSegment {
        base_offset: Offset(segment.base_offset),
        bytes: segment.bytes,
        largest_timestamp: segment.largest.map(restore_timestamp),
        modified: TimestampMs(segment.modified_ms),
        has_aborted: segment.has_aborted,
    }
}

fn restore_active(active: &CleanActive) -> Option<ResumedSegment> {
    let base = Offset(active.base_offset);
    let (offsets, times) = (&active.offsets, &active.times);
    let skipped = |count: u32| usize::try_from(count).expect("32 bits fit");
    Some(ResumedSegment {
        bytes: active.bytes,
        largest_timestamp: restore_timestamp(active.largest),
        first_timestamp: active.first_timestamp_ms.map(TimestampMs),
        modified: TimestampMs(active.modified_ms),
        bytes_since_entry: active.bytes_since_entry,
        indexes: SegmentIndexes {
            offsets: OffsetIndex::decode_tail(
                base,
                usize::MAX,
                skipped(offsets.skipped_entries),
                &offsets.bytes,
            )
            .ok()?,
            times: TimeIndex::decode_tail(base, usize::MAX, skipped(times.skipped_entries), &times.bytes)
                .ok()?,
            aborted: TransactionIndex::decode(base, &active.aborted).ok()?,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::clean::tests::sample;

    /// Segments 3, 10 and 17 of 1,234, 1,234 and 100 bytes; the log is 5..20.
    fn note() -> CleanPartition {
        let mut clean = sample().partitions.swap_remove(0);
        (clean.closed[0].base_offset, clean.closed[1].base_offset) = (3, 10);
        clean.log_start_offset = 5;
        clean
    }

    fn compared(change: impl FnOnce(&mut [Option<u64>])) -> Changes {
        let noted = noted_files(&note());
        let mut sizes: Vec<_> = noted.iter().map(|(_, bytes)| Some(*bytes)).collect();
        change(&mut sizes);
        compare(&note(), &noted, &sizes)
    }

    #[test]
    fn what_is_missing_or_of_another_size_is_found() {
        assert_eq!(compared(|_| {}), Changes::default());
        let missing = compared(|sizes| sizes[0] = None);
        assert_eq!(missing.0, [Change::Missing { base: Offset(3), next: Offset(10), is_lost: true }]);
        assert_eq!(missing.doubted_from(), None);
        let both = compared(|sizes| (sizes[1], sizes[2]) = (Some(9), Some(101)));
        let one = Change::Resized { base: Offset(10), next: Offset(17), bytes: 9, left: 1_234 };
        let other = Change::Resized { base: Offset(17), next: Offset(20), bytes: 101, left: 100 };
        assert_eq!((both.0.as_slice(), both.doubted_from()), (&[one, other][..], Some(Offset(10))));
        let index = compared(|sizes| sizes[3] = Some(24));
        assert_eq!(index.0, [Change::Index { base: Offset(17), kind: SegmentFileKind::OffsetIndex }]);
    }

    #[test]
    fn a_file_that_was_never_made_is_not_missed() {
        let mut clean = note();
        clean.active.created = false;
        clean.active.offsets = CleanIndex::default();
        assert_eq!(noted_files(&clean).len(), 2);
    }

    #[test]
    fn a_segment_of_deleted_records_is_missed_by_nobody() {
        let clean = CleanPartition { log_start_offset: 10, ..note() };
        let noted = noted_files(&clean);
        let mut sizes: Vec<_> = noted.iter().map(|(_, bytes)| Some(*bytes)).collect();
        sizes[0] = None;
        let missing = Change::Missing { base: Offset(3), next: Offset(10), is_lost: false };
        assert_eq!(compare(&clean, &noted, &sizes).0, [missing]);
    }

    #[test]
    fn what_an_earlier_run_has_left_is_known_by_its_name() {
        let kept = Kept { snapshots: vec![2, 17], ..Kept::of(&note()) };
        for (name, is_outdated) in [
            ("00000000000000000000.log", true),
            ("00000000000000000002.timeindex", true),
            ("00000000000000000001.snapshot", true),
            ("00000000000000000002.snapshot", false),
            ("00000000000000000010.log.deleted", true),
            ("00000000000000000010.log.cleaned", false),
            ("00000000000000000010.log.swap", false),
            ("00000000000000000003.log", false),
            ("00000000000000000012.log", false),
        ] {
            let file = SegmentFile::parse(name).expect("a segment's file");
            assert_eq!(kept.is_outdated(file), is_outdated, "{name}");
        }
    }
}
