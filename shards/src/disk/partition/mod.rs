//! One partition on its owner shard: the log's arithmetic, its bytes in memory and its files.
//!
//! [`ottla::log::Log`] decides; here it is carried out. The verbs are spread over this folder by what they do:
//! appends in [`append`], reads in [`read`], files in [`files`], how a segment gets its own in [`naming`], what a roll
//! leaves to do in [`roll`], deletion in [`delete`], the end in [`close`], the replacement of segments in [`layout`];
//! writes to disk are started by [`flush`](super::flush).
//!
//! On disk is Kafka's partition directory, and while it is open an empty file for the next segment.
//!
//! Invariants:
//! - Nobody but the owner shard touches a [`Partition`]; no borrow of its state lives across an await.
//! - The log's end in memory is the active tail's end; every segment of the log that has bytes in memory has its tail
//!   here, oldest first, the active one last.
//! - Bytes reach the segments in the log's order: no segment is written, or has a name, before the one in front of it
//!   is whole. The journal may have later bytes before that.
//! - An offset is announced as durable after the write of everything before it, to its segment or to the journal, has
//!   ended well, and while the log dir
//!   is online; what is announced is never taken back.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use ottla::canary::{self, Canary};
use ottla::ids::{LeaderEpoch, Offset, TopicId, TopicIdPartition, TopicPartition};
use ottla::log::{ClosedSegment, EpochEndOffset, Log, LogConfig, LogOffsets, SegmentIndexes};
use ottla::time::Monotonic;

use self::layout::Layout;
use self::naming::Spare;
use self::settle::Unsettled;
use super::compact::CleaningState;
use super::dirs::LogDir;
use super::error::{DiskError, IoFailure};
use super::journal::{Journal, Journaled};
use super::prealloc::ZeroAhead;
use super::shard_disk::ShardDisk;
use super::tail::Tail;
use super::told;
use super::watch::{OffsetWatch, Reach, Subscription};
use crate::host::sync::{Notify, Permit, Semaphore};

pub mod append;
mod close;
mod delete;
pub(super) mod files;
pub(super) mod layout;
pub(super) mod naming;
pub mod read;
mod rebuild;
mod roll;
mod search;
mod settle;

/// A segment's bytes in memory and what its file is like.
pub(super) struct SegmentTail {
    /// The segment.
    pub base: Offset,
    /// Its bytes.
    pub tail: Tail,
    /// Whether the file exists and its name is durable.
    pub created: bool,
    /// How much of the file is zeroed ahead.
    pub zero: ZeroAhead,
}

/// When a commit began and when its bytes were on disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CommitSpan {
    /// It took what was pending.
    pub begun: Monotonic,
    /// The write and its sync had ended.
    pub ended: Monotonic,
}

/// Where a partition stands with its flushes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FlushState {
    /// Nothing to write, or nothing that has to be written yet.
    Idle,
    /// In the shard's queue.
    Queued,
    /// A write is in flight.
    Running,
}

/// How many entries of the active segment's indexes are in their files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct IndexFiles {
    pub offsets: usize,
    pub times: usize,
    pub aborted: usize,
}

/// A segment that was closed and whose files are not finished.
pub(super) struct Unfinished {
    pub indexes: Rc<SegmentIndexes>,
    pub written: IndexFiles,
    /// Bytes of the segment: what its file is cut to.
    pub bytes: u64,
    /// The offset and bytes of the producer snapshot taken at the roll.
    pub snapshot: (Offset, Vec<u8>),
    /// A task is at it.
    pub running: bool,
    /// A full disk has refused one of its files; it is tried again for ever.
    pub refused: bool,
}

/// What the log has let go of and whose files are still there under their names.
#[derive(Default)]
pub(super) struct Retiring {
    pub segments: Vec<ClosedSegment>,
    /// Producer snapshots.
    pub snapshots: Vec<Offset>,
    /// There is something to do, if only to write offsets.
    pub begun: bool,
}

/// What only the owner shard sees.
pub(super) struct State {
    pub log: Log,
    pub tails: VecDeque<SegmentTail>,
    pub flush: FlushState,
    /// The share of the flush in flight in the budget of unflushed bytes.
    pub in_flight: Option<Permit>,
    /// The share of what was appended since.
    pub pending: Option<Permit>,
    /// When relaxed records have to be written at the latest.
    pub relaxed_deadline: Option<Monotonic>,
    /// The end of what has been asked to be written for a relaxed log.
    pub relaxed_until: Offset,
    /// The end of what somebody wants on disk at once, however relaxed the log is.
    pub hastened: Offset,
    pub index_files: IndexFiles,
    pub unfinished: BTreeMap<Offset, Unfinished>,
    /// Closed segments that are finished and not durable in everything, in the order in which they were finished.
    pub unsettled: Vec<Unsettled>,
    pub retiring: Retiring,
    /// What the journal has and the segments' files do not, oldest first.
    pub journaled: VecDeque<Journaled>,
    /// The file of the next segment.
    pub spare: Spare,
    /// The disk was full at the last write.
    pub full: bool,
    /// A commit was, which is not over before it is tried again.
    pub commit_refused: bool,
    /// The leader epoch checkpoint differs from the log's epochs.
    pub epochs_dirty: bool,
    /// Closed or deleted.
    pub closed: bool,
}

impl State {
    /// The tail that takes appends.
    pub fn active(&mut self) -> &mut SegmentTail {
        self.tails.back_mut().expect("the active segment always has a tail")
    }

    /// The tail of a segment, if it has one.
    pub fn tail_of(&mut self, base: Offset) -> Option<&mut SegmentTail> {
        self.tails.iter_mut().find(|tail| tail.base == base)
    }

    /// Bytes that are not in their segments' files.
    pub fn pending_bytes(&self) -> u64 {
        self.tails.iter().map(|tail| tail.tail.pending_bytes()).sum()
    }
}

/// One partition; `Rc` of it is what the rest of the shard holds.
pub struct Partition {
    pub(super) disk: Rc<ShardDisk>,
    /// Its number on this shard: what the caches know it by.
    pub(super) number: u32,
    pub(super) name: TopicPartition,
    pub(super) topic_id: TopicId,
    pub(super) dir: Arc<LogDir>,
    pub(super) path: PathBuf,
    /// The journal of its log dir.
    pub(super) journal: Rc<Journal>,
    /// The budget of its log dir's bytes that are appended and not on disk.
    pub(super) unflushed: Rc<Semaphore>,
    /// Its `partition.metadata` is durable, so that the journal may take it.
    pub(super) identified: Cell<bool>,
    /// That is being seen to, or was.
    pub(super) identifying: Cell<bool>,
    /// A write back of the segment waits for its turn.
    pub(super) write_back_queued: Cell<bool>,
    /// What a full disk has refused is going to be tried again.
    pub(super) retry_queued: Cell<bool>,
    pub(super) state: RefCell<State>,
    /// Whoever appends and has to wait for something keeps its turn, so that appends stay in order.
    pub(super) turn: Rc<Semaphore>,
    pub(super) durable: Rc<OffsetWatch>,
    pub(super) high_watermark: Rc<OffsetWatch>,
    /// Those who wait until every closed segment is finished.
    pub(super) finish_awaited: Cell<usize>,
    /// One at a time makes files of segments and gives them their names.
    pub(super) naming: Rc<Semaphore>,
    /// One at a time writes index files, snapshots and the epoch checkpoint.
    pub(super) housekeeping: Rc<Semaphore>,
    /// Which files the closed segments have.
    pub(super) layout: Layout,
    /// What the cleaner keeps of it.
    pub(super) cleaning: CleaningState,
    /// Tells those who wait for a piece of zeroing, a finished segment or a flush to end.
    pub(super) progress: Notify,
    /// Its place in the cache of written chunks, if any.
    pub(super) cached: Cell<bool>,
    /// Whether a checkpoint will look at it.
    pub(super) checkpoint_due: Cell<bool>,
    /// When the last commit began and ended: for the times of those who waited for it.
    pub(super) last_commit: Cell<CommitSpan>,
    /// Its files are as a clean stop leaves them: nothing was written since it was made or restored from the
    /// note of one.
    pub(super) untouched: Cell<bool>,
    /// It is being closed with many others: its files are synced by one sync of the file system, before anything relies
    /// on them.
    pub(super) synced_together: Cell<bool>,
}

impl Partition {
    /// Puts a loaded or new log in place.
    pub(super) fn assemble(place: Place, log: Log, created: bool, written: IndexFiles) -> Rc<Partition> {
        let end = log.end_position();
        let tail = SegmentTail {
            base: end.segment_base,
            tail: Tail::new(end.position, Rc::clone(&place.disk.gauge)),
            created,
            zero: ZeroAhead::new(end.position),
        };
        let offsets = log.offsets();
        assert_eq!(offsets.durable_end, offsets.log_end, "a log begins with all of it on disk");
        let state = State {
            tails: VecDeque::from([tail]),
            flush: FlushState::Idle,
            in_flight: None,
            pending: None,
            relaxed_deadline: None,
            relaxed_until: offsets.log_end,
            hastened: offsets.log_end,
            index_files: written,
            unfinished: BTreeMap::new(),
            unsettled: Vec::new(),
            retiring: Retiring::default(),
            journaled: VecDeque::new(),
            spare: Spare::default(),
            full: false,
            commit_refused: false,
            epochs_dirty: false,
            closed: false,
            log,
        };
        Rc::new(Partition {
            number: place.disk.next_number(),
            journal: Rc::clone(place.disk.journal_of(&place.dir)),
            unflushed: Rc::clone(place.disk.unflushed_of(&place.dir)),
            identified: Cell::new(false),
            identifying: Cell::new(false),
            write_back_queued: Cell::new(false),
            retry_queued: Cell::new(false),
            disk: place.disk,
            name: place.name,
            topic_id: place.topic_id,
            dir: place.dir,
            path: place.path,
            state: RefCell::new(state),
            turn: Semaphore::new(1),
            durable: OffsetWatch::new(offsets.durable_end),
            high_watermark: OffsetWatch::new(offsets.high_watermark),
            finish_awaited: Cell::new(0),
            naming: Semaphore::new(1),
            housekeeping: Semaphore::new(1),
            layout: Layout::default(),
            cleaning: CleaningState::default(),
            progress: Notify::new(),
            cached: Cell::new(false),
            checkpoint_due: Cell::new(false),
            last_commit: Cell::default(),
            untouched: Cell::new(false),
            synced_together: Cell::new(false),
        })
    }

    /// The topic's name and the partition's index.
    #[must_use]
    pub fn name(&self) -> &TopicPartition {
        &self.name
    }

    /// The topic's id and the partition's index.
    #[must_use]
    pub fn id(&self) -> TopicIdPartition {
        TopicIdPartition { topic_id: self.topic_id, partition: self.name.partition }
    }

    /// The directory of its files.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The log dir that holds it.
    #[must_use]
    pub fn dir(&self) -> &Arc<LogDir> {
        &self.dir
    }

    /// Log start, last stable offset, high watermark, durable end and log end, at one moment.
    #[must_use]
    pub fn offsets(&self) -> LogOffsets {
        self.state.borrow().log.offsets()
    }

    /// A look at the log's arithmetic, which must not be kept over an await.
    pub fn with_log<T>(&self, look: impl FnOnce(&Log) -> T) -> T {
        look(&self.state.borrow().log)
    }

    /// Bytes of all segments, as DescribeLogDirs reports them.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.state.borrow().log.bytes()
    }

    /// Bytes that are appended and not on disk.
    #[must_use]
    pub fn pending_bytes(&self) -> u64 {
        self.state.borrow().uncommitted_bytes()
    }

    /// Takes over changed settings of the topic; they hold from the next append on.
    pub fn set_config(self: &Rc<Self>, config: LogConfig) {
        let durable = config.acknowledges_durable();
        self.state.borrow_mut().log.set_config(config);
        self.publish_high_watermark();
        if durable && self.pending_bytes() > 0 {
            self.disk.enqueue_flush(self);
        }
    }

    /// Says whether followers decide the high watermark or this log alone.
    pub fn set_replicated(&self, replicated: bool) {
        self.state.borrow_mut().log.set_replicated(replicated);
        self.publish_high_watermark();
    }

    /// Moves the high watermark of a replicated log.
    pub fn advance_high_watermark(&self, offset: Offset) {
        self.state.borrow_mut().log.advance_high_watermark(offset);
        self.publish_high_watermark();
    }

    /// Where the largest epoch that is at most `requested` ends.
    #[must_use]
    pub fn epoch_end_offset(&self, requested: LeaderEpoch) -> EpochEndOffset {
        self.state.borrow().log.epoch_end_offset(requested)
    }

    /// The last commit that has ended. Who has just been told that an offset is durable finds the one that made it so,
    /// or one that ended since.
    #[must_use]
    pub fn last_commit(&self) -> CommitSpan {
        self.last_commit.get()
    }

    /// Wakes those who wait for a high watermark that the log has reached.
    pub(super) fn publish_high_watermark(&self) {
        let offset = self.state.borrow().log.high_watermark();
        self.high_watermark.advance(offset);
    }

    /// Waits until everything before `offset` is on this broker's disk.
    ///
    /// # Errors
    /// When it will not be: the write failed, the partition is gone. On a full disk it may still be, later.
    pub fn wait_durable(&self, offset: Offset) -> Reach {
        self.durable.reach(offset)
    }

    /// Has everything before `offset` written now, also where `flush.messages` lets it wait: for records of the
    /// broker's own, which count when they are on disk.
    pub fn hasten(self: &Rc<Self>, offset: Offset) {
        let is_new = {
            let mut state = self.state.borrow_mut();
            let is_new = offset > state.hastened;
            state.hastened = state.hastened.max(offset);
            is_new
        };
        if is_new {
            self.disk.schedule_flush(self);
        }
    }

    /// Waits until this broker may vouch for everything before `offset` (acks=1): it is on disk, or, where
    /// `flush.messages` relaxes that, appended.
    ///
    /// # Errors
    /// As [`wait_durable`](Partition::wait_durable).
    pub async fn wait_acknowledged(&self, offset: Offset) -> Result<(), DiskError> {
        let waits = self.state.borrow().log.config().acknowledges_durable();
        if waits && !canary::is(Canary::AckedBeforeWritten) {
            if self.state.borrow().full && self.durable.get() < offset {
                return Err(self.unwritten());
            }
            self.durable.reach(offset).await?;
        }
        Ok(())
    }

    /// Waits until the high watermark is at least `offset` (acks=all).
    ///
    /// # Errors
    /// When the partition is gone or its log dir offline.
    pub fn wait_high_watermark(&self, offset: Offset) -> Reach {
        self.high_watermark.reach(offset)
    }

    /// Tells `notify` when the high watermark is above `known`, or at once if it is: for a fetch that waits for any
    /// of many partitions. Ends when the result is dropped.
    pub fn subscribe(&self, known: Offset, notify: &Rc<Notify>) -> Subscription {
        self.high_watermark.subscribe(known.plus(1), notify)
    }

    /// The turn to write index files, snapshots and the epoch checkpoint.
    ///
    /// # Errors
    /// When the partition was closed or deleted, or its log dir is offline.
    pub(super) async fn housekeeping_turn(&self) -> Result<Permit, DiskError> {
        let turn = self.housekeeping.acquire(1).await;
        self.check()?;
        Ok(turn)
    }

    /// What follows from a failed write of such a file: nothing where the disk is just full and the file is written
    /// again later, else the end of the log dir.
    pub(super) fn housekeeping_failed(&self, failure: &IoFailure) {
        if failure.may_be_retried() {
            // Every partition of a full disk meets this, again and again.
            if told::is_due(self.dir.path()) {
                tracing::warn!("{}: {failure}; it is tried again", self.name);
            }
        } else {
            self.dir.fail(failure);
        }
    }

    /// What is told where the disk takes nothing more.
    pub(super) fn no_room(&self) -> DiskError {
        DiskError::Full { dir: self.dir.path().to_owned() }
    }

    /// What those are told whose records it holds and has no room to write.
    pub(super) fn unwritten(&self) -> DiskError {
        DiskError::Unwritten { dir: self.dir.path().to_owned() }
    }

    /// Whether the partition can be used.
    ///
    /// # Errors
    /// [`DiskError::Closed`] or [`DiskError::Offline`].
    pub fn check(&self) -> Result<(), DiskError> {
        if self.state.borrow().closed {
            return Err(DiskError::Closed);
        }
        self.dir.check()
    }

    /// Ends all waits: nothing will become durable here any more.
    pub(super) fn end_waits(&self, error: &DiskError) {
        {
            let mut state = self.state.borrow_mut();
            (state.pending, state.in_flight) = (None, None);
        }
        self.durable.end(error);
        self.high_watermark.end(error);
        self.progress.notify_all();
    }
}

impl std::fmt::Debug for Partition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Partition({})", self.name)
    }
}

/// Where a partition lives.
pub(super) struct Place {
    pub disk: Rc<ShardDisk>,
    pub name: TopicPartition,
    pub topic_id: TopicId,
    pub dir: Arc<LogDir>,
    pub path: PathBuf,
}
