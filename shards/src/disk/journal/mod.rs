//! The journal of a shard in one log dir: small commits of many partitions as one synced write.
//!
//! What is on disk, and what a start believes of it, is decided in [`ottla::log::journal`]; here it is written
//! ([`commit`]), made ([`create`]), emptied into the segments ([`write_back`]) and played after a crash ([`replay`]).
//! The file is made when it first pays, and goes with the next clean stop.
//!
//! A commit through the journal copies what partitions have appended into one frame and writes it. The bytes stay in
//! the partitions' tails, where readers find them, until a write back of the segment has taken them: when a partition
//! has gathered enough for a large write, when it rolls, is checkpointed or closed, when the ring or memory runs short,
//! and when they are old.
//!
//! What must hold:
//! - The durable end passes a journaled byte when the frame's write has ended well and the log dir is online.
//! - Frames in flight at the same time, two at most, hold different partitions, so that none depends on another.
//! - A partition commits in one way at a time; a write back may run beside its commit to the journal.
//! - The ring holds a frame until each of its entries is durable in its segment, or its partition is deleted.
//! - Only partitions whose `partition.metadata` is durable are in frames: a start must know whose directory it plays
//!   into.
//! - A failed write of a frame takes the log dir offline; a file system without room for one (some write nothing in
//!   place) sends the commits to their segments instead.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use ottla::ids::{FilePosition, Offset};
use ottla::limits::{BLOCK_BYTES, JOURNAL_FRAME_BYTES_MAX};
use ottla::log::journal::frame::RING_START;
use ottla::log::journal::{Reserved, Ring};
use ottla::time::Monotonic;

use super::dirs::LogDir;
use super::partition::Partition;
use super::settings::{DiskSettings, JournalUse};
use crate::host::sync::Notify;
use crate::host::{self, File};

pub use self::replay::Unplayed;

mod commit;
mod create;
mod replay;
mod write_back;

/// A partition with this much to commit writes its segment at once: large bytes are not written twice.
pub(super) const SMALL_BYTES_MAX: u64 = 64 << 10;

/// A frame takes no further partition when it is this large.
const FRAME_BYTES: usize = 1 << 20;

/// How long a journal is left alone when the disk had no room for it.
const REST: Duration = Duration::from_secs(30);

const _: () = assert!(FRAME_BYTES <= JOURNAL_FRAME_BYTES_MAX);

/// The file, once it is there.
#[derive(Clone)]
enum Stage {
    /// Not needed so far.
    Unmade,
    /// On its way.
    Making,
    /// Ready to take frames.
    Ready { file: File, epoch: u64 },
}

/// What partitions that want a commit have to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Go into a frame now.
    Frame,
    /// Wait for a frame in flight.
    Wait,
    /// Write their segments, and have a journal made for the next time.
    Prepare,
    /// Write their segments.
    Segments,
}

/// A frame and whose bytes are in it.
struct Members {
    at: Monotonic,
    partitions: Vec<Weak<Partition>>,
}

/// A piece of a segment that is in the journal alone.
#[derive(Clone, Copy, Debug)]
pub(super) struct Journaled {
    /// The frame.
    pub sequence: u64,
    /// The segment.
    pub base: Offset,
    /// Where the piece ends in it.
    pub end: FilePosition,
}

/// The journal of the calling shard in one log dir.
pub struct Journal {
    dir: Arc<LogDir>,
    usage: JournalUse,
    stage: RefCell<Stage>,
    ring: RefCell<Ring>,
    /// From the ring's oldest frame on.
    members: RefCell<VecDeque<Members>>,
    /// Partitions that want a commit.
    waiting: RefCell<VecDeque<Rc<Partition>>>,
    /// Frames in flight.
    frames_in_flight: Cell<usize>,
    /// The partitions in them.
    committing: Cell<usize>,
    /// A task looks for what has to be written back.
    reclaiming: Cell<bool>,
    pressure: Rc<Notify>,
    /// Until then nothing is tried.
    rests_until: Cell<Option<Monotonic>>,
    frames_written: Cell<u64>,
}

impl Journal {
    /// A journal that is not there yet.
    #[must_use]
    pub(super) fn new(dir: &Arc<LogDir>, settings: &DiskSettings) -> Rc<Journal> {
        let usage = if dir.is_direct() { settings.journal } else { JournalUse::Never };
        let blocks = settings.journal_bytes.saturating_sub(RING_START) / BLOCK_BYTES as u64;
        Rc::new(Journal {
            dir: Arc::clone(dir),
            usage: if blocks == 0 { JournalUse::Never } else { usage },
            stage: RefCell::new(Stage::Unmade),
            ring: RefCell::new(Ring::new(blocks.max(1))),
            members: RefCell::default(),
            waiting: RefCell::default(),
            frames_in_flight: Cell::new(0),
            committing: Cell::new(0),
            reclaiming: Cell::new(false),
            pressure: Rc::new(Notify::new()),
            rests_until: Cell::new(None),
            frames_written: Cell::new(0),
        })
    }

    /// Frames that were written.
    #[must_use]
    pub fn frames_written(&self) -> u64 {
        self.frames_written.get()
    }

    /// Bytes of the ring that hold frames which are needed.
    #[must_use]
    pub fn used_bytes(&self) -> u64 {
        self.ring.borrow().used_blocks() * BLOCK_BYTES as u64
    }

    /// Whether it may be used at all, now.
    pub(super) fn is_usable(&self) -> bool {
        match (self.usage, self.rests_until.get()) {
            (JournalUse::Never, _) => false,
            (JournalUse::Auto | JournalUse::Always, Some(until)) if host::now() < until => false,
            (JournalUse::Auto | JournalUse::Always, _) => true,
        }
    }

    /// Whether frames can be written now.
    pub(super) fn is_ready(&self) -> bool {
        matches!(&*self.stage.borrow(), Stage::Ready { .. }) && self.is_usable()
    }

    /// Whether the file was never needed so far.
    fn is_unmade(&self) -> bool {
        matches!(&*self.stage.borrow(), Stage::Unmade)
    }

    /// Puts a partition among those that want a commit.
    pub(super) fn add_waiting(&self, partition: Rc<Partition>) {
        self.waiting.borrow_mut().push_back(partition);
    }

    /// Partitions that wait for a commit.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.borrow().len()
    }

    /// Those that wait, who have to find another way.
    pub(super) fn take_waiting(&self) -> VecDeque<Rc<Partition>> {
        self.waiting.take()
    }

    /// What those who wait have to do, beside `in_flight` commits into segments.
    pub(super) fn turn(&self, in_flight: usize, commits_min: usize) -> Turn {
        let (waiting, committing) = (self.waiting(), self.committing.get());
        match self.frames_in_flight.get() {
            0 if !self.pays(waiting + in_flight, commits_min) => Turn::Segments,
            0 if self.is_ready() => Turn::Frame,
            0 => Turn::Prepare,
            // A second frame keeps the disk busy while those of the first are told; it is worth one when it is no
            // smaller than that one was.
            1 if self.is_ready() && waiting >= committing.min(commits_min.max(2)) => Turn::Frame,
            _ => Turn::Wait,
        }
    }

    fn pays(&self, commits: usize, commits_min: usize) -> bool {
        match self.usage {
            JournalUse::Never => false,
            JournalUse::Always => true,
            JournalUse::Auto => commits >= commits_min,
        }
    }

    fn rest(&self) {
        self.rests_until.set(Some(host::now().after(REST)));
    }

    fn reserve(&self, bytes: usize, entries: u32) -> Option<Reserved> {
        let blocks = bytes.div_ceil(BLOCK_BYTES) as u64;
        self.ring.borrow_mut().reserve(blocks, entries)
    }

    /// Notes that an entry of a frame is in its segment, or not needed any more.
    pub(super) fn release(&self, sequence: u64) {
        self.release_entries(sequence, 1);
    }

    fn release_entries(&self, sequence: u64, entries: u32) {
        let mut ring = self.ring.borrow_mut();
        let before = ring.oldest();
        ring.release(sequence, entries);
        let gone = usize::try_from(ring.oldest() - before).expect("as many as there are blocks");
        drop(self.members.borrow_mut().drain(..gone));
    }
}

#[cfg(all(test, not(feature = "sim")))]
impl Journal {
    /// Waits until frames can be written.
    pub(super) async fn ready_for_test(self: &Rc<Self>, disk: &Rc<super::ShardDisk>) {
        self.prepare(disk);
        while !self.is_ready() {
            host::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Puts another file in the place of the journal's.
    pub(super) fn replace_for_test(&self, file: File) {
        if let Stage::Ready { file: known, .. } = &mut *self.stage.borrow_mut() {
            *known = file;
        }
    }
}

impl std::fmt::Debug for Journal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Journal({}, {} bytes needed)", self.dir.path().display(), self.used_bytes())
    }
}
