//! Group commit: from pending bytes in memory to bytes on disk, for all partitions of a shard.
//!
//! A partition with something to commit stands in the shard's queue once. What is small goes through the
//! [`journal`](super::journal) when several partitions commit at the same time: one write for all of them. The others,
//! and every partition while there is no journal, write their segments, as many as the budget allows at the same time.
//! Per partition there is one commit at a time: what is appended meanwhile gathers in memory and goes with the
//! next. The queue is first looked at after the tasks that appended have given way, so that the batches of one turn
//! share a write even on an idle disk.
//!
//! One flush of a segment is one synced direct write of whole blocks, or, above a mebibyte, several writes in flight
//! together and one sync behind them. It takes all that the segment's file lacks, what was journaled included.
//!
//! What must hold:
//! - The durable end moves when a flush has ended well and the log dir is online, by exactly what the flush held.
//! - A failed write or sync takes the log dir offline; nothing of it is acknowledged, ever again.
//! - One exception, which loses nothing: a *write* (not a sync) that a full disk refuses. Direct and buffered writes
//!   alike report that before the bytes count as written, memory still has all of them, and the file beyond the
//!   durable end is not believed by anyone. Those who wait are told REQUEST_TIMED_OUT, because their records may still
//!   become durable; appends are refused with KAFKA_STORAGE_ERROR, because theirs will not; and the same bytes are
//!   written again later from the start; their sync covers them all. After a crash in between, recovery finds a torn
//!   tail of records that were never acknowledged.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use ottla::canary::{self, Canary};
use ottla::ids::{FilePosition, Offset};
use ottla::log::LogConfig;
use ottla::metrics::{Counter, Timing};
use ottla::time::Monotonic;

use super::error::{Context as _, IoFailure};
use super::journal::{Journaled, Turn};
use super::partition::{CommitSpan, FlushState, Partition, State};
use super::prealloc::ZeroAhead;
use super::shard_disk::ShardDisk;
use super::tail::{CHUNK_BYTES_MAX, Flush, FlushWrite, block_ceil};
use crate::host::{self, Durability, File, Queue};

/// Pending bytes of a relaxed partition that are written without waiting for more.
const RELAXED_BYTES: u64 = CHUNK_BYTES_MAX as u64 / 2;

/// The partitions of a shard that want a commit, and those that write their segments.
pub struct FlushQueue {
    /// Those that nobody has looked at.
    arrived: RefCell<VecDeque<Rc<Partition>>>,
    /// A task is about to look.
    looking: Cell<bool>,
    /// Those that write their segments as soon as fewer do.
    direct: RefCell<VecDeque<Rc<Partition>>>,
    in_flight: Cell<usize>,
    in_flight_max: usize,
}

impl FlushQueue {
    /// An empty queue; `in_flight_max` partitions may commit to their segments at once.
    #[must_use]
    pub fn new(in_flight_max: usize) -> FlushQueue {
        assert!(in_flight_max > 0, "at least one flush can be in flight");
        FlushQueue {
            arrived: RefCell::default(),
            looking: Cell::new(false),
            direct: RefCell::default(),
            in_flight: Cell::new(0),
            in_flight_max,
        }
    }

    /// Partitions with a flush in flight or waiting for one, the journal's not counted.
    #[must_use]
    pub fn len(&self) -> usize {
        self.arrived.borrow().len() + self.direct.borrow().len() + self.in_flight.get()
    }

    /// Whether nothing is in flight or waiting.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many more may write their segments now.
    pub(super) fn room(&self) -> usize {
        self.in_flight_max.saturating_sub(self.in_flight.get() + self.direct.borrow().len())
    }

    /// Puts a partition among those that write their segments.
    pub(super) fn add_direct(&self, partition: Rc<Partition>) {
        self.direct.borrow_mut().push_back(partition);
    }
}

/// A flush that was begun: what to write, and what it makes durable.
pub(super) struct Begun {
    base: Offset,
    flush: Flush,
    end: Offset,
    /// Somebody waits for it; else it only brings to the segment what the journal has.
    is_commit: bool,
    at: Monotonic,
}

/// Why a flush did not end well.
pub(super) enum Failure {
    /// A write was refused for want of room.
    Full,
    /// Anything else.
    Broken(IoFailure),
}

impl ShardDisk {
    /// Has the partition's pending bytes written, now or when its relaxed settings say.
    pub(super) fn schedule_flush(self: &Rc<Self>, partition: &Rc<Partition>) {
        let mut state = partition.state.borrow_mut();
        if state.log.config().acknowledges_durable() || state.relaxed_is_due() {
            drop(state);
            self.enqueue_flush(partition);
            return;
        }
        if state.relaxed_deadline.is_some() {
            return;
        }
        let wait = match state.log.config() {
            LogConfig { flush_ms: Some(ms), .. } => {
                let ms = std::time::Duration::from_millis(u64::try_from(*ms).unwrap_or(0));
                ms.min(self.settings.relaxed_flush)
            }
            LogConfig { flush_ms: None, .. } => self.settings.relaxed_flush,
        };
        state.relaxed_deadline = Some(host::now().after(wait));
        drop(state);
        let (disk, partition) = (Rc::clone(self), Rc::clone(partition));
        host::spawn_detached(async move {
            host::sleep(wait).await;
            partition.state.borrow_mut().relaxed_deadline = None;
            disk.enqueue_flush(&partition);
        });
    }

    /// Puts the partition into the queue, unless it is there or has nothing to write.
    pub(super) fn enqueue_flush(self: &Rc<Self>, partition: &Rc<Partition>) {
        {
            let mut state = partition.state.borrow_mut();
            if state.flush != FlushState::Idle || state.uncommitted_bytes() == 0 {
                return;
            }
            state.flush = FlushState::Queued;
        }
        self.flushes.arrived.borrow_mut().push_back(Rc::clone(partition));
        if !self.flushes.looking.replace(true) {
            let disk = Rc::clone(self);
            host::spawn_detached(async move {
                disk.flushes.looking.set(false);
                disk.sort_arrived();
                disk.serve_journals();
            });
        }
    }

    /// Sends everybody who wants a commit to the journal or to the segments.
    pub(super) fn sort_arrived(self: &Rc<Self>) {
        let arrived = self.flushes.arrived.take();
        for partition in arrived {
            if partition.suits_journal() {
                Rc::clone(&partition.journal).add_waiting(partition);
            } else {
                self.flushes.add_direct(partition);
            }
        }
        self.begin_direct();
    }

    /// Lets each journal that pays commit; elsewhere those who wait for one write their segments.
    pub(super) fn serve_journals(self: &Rc<Self>) {
        for journal in self.journals.iter() {
            while journal.waiting() > 0 {
                match journal.turn(self.flushes.in_flight.get(), self.settings.journal_commits_min) {
                    Turn::Wait => break,
                    Turn::Frame if self.commit_journal(journal) => continue,
                    // The ring is full: whatever ends next looks again.
                    Turn::Frame => break,
                    Turn::Prepare => journal.prepare(self),
                    Turn::Segments => {}
                }
                self.flushes.direct.borrow_mut().extend(journal.take_waiting());
            }
        }
        self.begin_direct();
    }

    /// Begins as many flushes of segments as may be in flight.
    pub(super) fn begin_direct(self: &Rc<Self>) {
        let flushes = &self.flushes;
        while flushes.in_flight.get() < flushes.in_flight_max {
            let Some(partition) = flushes.direct.borrow_mut().pop_front() else { return };
            flushes.in_flight.set(flushes.in_flight.get() + 1);
            let disk = Rc::clone(self);
            host::spawn_detached(async move {
                let written = partition.write_pending().await;
                disk.flushes.in_flight.set(disk.flushes.in_flight.get() - 1);
                if let Some((begun, result)) = written {
                    partition.end_flush(begun, result);
                }
                disk.serve_journals();
            });
        }
    }
}

impl State {
    /// Takes what the oldest unfinished segment's file lacks; `None` where it lacks nothing or is being written.
    fn begin_flush(&mut self, is_commit: bool) -> Option<Begun> {
        let log_end = self.log.log_end_offset();
        let mut lacking = (0..self.tails.len()).filter(|&at| self.tails[at].tail.pending_bytes() > 0);
        let newest_first = canary::is(Canary::LaterSegmentFirst);
        let at = if newest_first { lacking.next_back()? } else { lacking.next()? };
        let end = self.tails.get(at + 1).map_or(log_end, |next| next.base);
        let segment = &mut self.tails[at];
        let base = segment.base;
        let flush = segment.tail.begin_flush()?;
        self.relaxed_until = self.relaxed_until.max(end);
        Some(Begun { base, flush, end, is_commit, at: host::now() })
    }

    /// Takes the bytes of the flush in flight, which did not take place, as pending again.
    fn abandon_flush(&mut self) {
        for segment in &mut self.tails {
            if segment.tail.is_flushing() {
                segment.tail.flush_failed();
            }
        }
    }

    /// Takes out the journaled pieces that the segment's file has now; returns their frames.
    fn take_written(&mut self, base: Offset, end: FilePosition) -> Vec<u64> {
        let is_written = |piece: &&Journaled| piece.base < base || (piece.base == base && piece.end <= end);
        let count = self.journaled.iter().take_while(is_written).count();
        self.journaled.drain(..count).map(|piece| piece.sequence).collect()
    }

    /// Whether size or number of records asks for a write of a relaxed log, or somebody who waits for it.
    fn relaxed_is_due(&self) -> bool {
        let records = self.log.log_end_offset().0 - self.relaxed_until.0;
        self.uncommitted_bytes() >= RELAXED_BYTES
            || records >= self.log.config().flush_messages
            || self.hastened > self.relaxed_until
            || self.tails.len() > 1
    }
}

impl Partition {
    /// Commits what is pending to its segment. Called by the shard's queue alone.
    async fn write_pending(self: &Rc<Self>) -> Option<(Begun, Result<(), Failure>)> {
        let begun = self.begin_commit()?;
        let mut result = self.write(&begun).await;
        if result.is_err() && canary::is(Canary::SyncRetried) {
            result = self.sync_again(&begun).await;
        }
        self.give_back_space(&begun, &result).await;
        Some((begun, result))
    }

    /// Writes what the segment's file lacks, beside whatever commits are under way.
    pub(super) async fn write_gathered(self: &Rc<Self>) -> Option<(Begun, Result<(), Failure>)> {
        let begun = {
            let mut state = self.state.borrow_mut();
            if state.closed || self.dir.is_offline() {
                return None;
            }
            state.begin_flush(false)?
        };
        let result = self.write(&begun).await;
        self.give_back_space(&begun, &result).await;
        Some((begun, result))
    }

    /// A refused write has often taken the last blocks of the disk before it was refused. They go back, so that what is
    /// small finds room: the checkpoints without which nothing can be deleted. The flush still counts as in flight,
    /// so that nobody writes there meanwhile.
    async fn give_back_space(self: &Rc<Self>, begun: &Begun, result: &Result<(), Failure>) {
        if !matches!(result, Err(Failure::Full)) || self.state.borrow().closed {
            return;
        }
        while self.state.borrow_mut().tail_of(begun.base).is_some_and(|segment| segment.zero.is_busy()) {
            self.progress.notified().await;
        }
        let end = {
            let mut state = self.state.borrow_mut();
            let Some(segment) = state.tail_of(begun.base) else { return };
            let end = block_ceil(segment.tail.written_end());
            segment.zero = ZeroAhead::new(end);
            end
        };
        let Ok(file) = self.block_file(begun.base).await else { return };
        if let Err(error) = file.set_len(end.0).await {
            tracing::debug!("{}: no space is given back: {error}", self.name);
        }
    }

    fn begin_commit(&self) -> Option<Begun> {
        let mut state = self.state.borrow_mut();
        assert_eq!(state.flush, FlushState::Queued, "the queue holds those that wait");
        state.flush = FlushState::Idle;
        if state.closed {
            return None;
        }
        if let Err(error) = self.dir.check() {
            drop(state);
            self.end_waits(&error);
            return None;
        }
        if state.uncommitted_bytes() == 0 {
            state.pending = None;
            return None;
        }
        // A write back in flight has the segment's last block; its end sees that there is more to commit.
        let begun = state.begin_flush(true)?;
        let is_last = state.tails.back().is_some_and(|active| active.base == begun.base);
        // A share is given back when all that it stands for is on disk.
        let share = if is_last { state.pending.take() } else { None };
        state.in_flight = share;
        state.flush = FlushState::Running;
        Some(begun)
    }

    async fn write(self: &Rc<Self>, begun: &Begun) -> Result<(), Failure> {
        let (file, unnamed) = self.open_blocks(begun.base).await.map_err(Failure::of_write)?;
        let Some(turn) = unnamed else { return self.write_blocks(begun, &file).await };
        // A new segment's name becomes durable while its first bytes do; the flush is over when both are.
        let (partition, base) = (Rc::clone(self), begun.base);
        let naming = host::spawn(async move { partition.name_segment(base, turn).await });
        let written = self.write_blocks(begun, &file).await;
        let named = naming.await.map_err(Failure::of_write);
        // A name that could not be made durable is no matter of room, whatever became of the bytes.
        match (written, named) {
            (_, Err(broken @ Failure::Broken(_))) => Err(broken),
            (written, named) => written.and(named),
        }
    }

    /// A planted bug: what a failed sync threw away is not written again.
    async fn sync_again(self: &Rc<Self>, begun: &Begun) -> Result<(), Failure> {
        let path = self.segment_path(begun.base);
        let file = self.block_file(begun.base).await.map_err(Failure::of_write)?;
        file.sync_data().await.at("sync", &path).map_err(Failure::Broken)
    }

    async fn write_blocks(self: &Rc<Self>, begun: &Begun, file: &File) -> Result<(), Failure> {
        while self.is_zeroing_in_the_way(begun) {
            self.progress.notified().await;
        }
        let path = || self.segment_path(begun.base);
        match begun.flush.writes.as_slice() {
            [write] if self.dir.is_direct() => {
                let _share = self.disk.writes.acquire(write.bytes()).await;
                let slices = write.slices.clone();
                let result = file.write_at(slices, write.position.0, flush_durability()).await;
                result.at_made("write", path).map_err(Failure::of_write)
            }
            writes => {
                self.write_together(file, writes).await.at_made("write", path).map_err(Failure::of_write)?;
                file.sync_data().await.at_made("sync", path).map_err(Failure::Broken)
            }
        }
    }

    fn is_zeroing_in_the_way(&self, begun: &Begun) -> bool {
        let mut state = self.state.borrow_mut();
        let segment = state.tail_of(begun.base).expect("a segment with pending bytes has its tail");
        segment.zero.is_in_the_way(&begun.flush) && !canary::is(Canary::ZeroedOverRecords)
    }

    /// Several writes of one flush, in flight together as far as the shard's budget goes.
    async fn write_together(&self, file: &File, writes: &[FlushWrite]) -> std::io::Result<()> {
        let mut tasks = Vec::with_capacity(writes.len());
        for write in writes {
            let share = self.disk.writes.acquire(write.bytes()).await;
            let (file, slices, position) = (file.clone(), write.slices.clone(), write.position.0);
            tasks.push(host::spawn(async move {
                let result = file.write_at(slices, position, Durability::None).await;
                drop(share);
                result
            }));
        }
        // Every write is awaited, also behind one that failed: none may be in flight when the flush is over.
        let mut outcome = Ok(());
        for task in tasks {
            let result = task.await;
            outcome = outcome.and(result);
        }
        outcome
    }

    pub(super) fn end_flush(self: &Rc<Self>, begun: Begun, result: Result<(), Failure>) {
        if self.state.borrow().closed {
            // Deleted meanwhile: nobody waits for it, and its directory may have another name already.
            self.state.borrow_mut().abandon_flush();
            self.progress.notify_all();
            return;
        }
        match result {
            Ok(()) => match self.dir.check() {
                Ok(()) => self.flushed(&begun),
                Err(error) => self.end_waits(&error),
            },
            Err(Failure::Full) if canary::is(Canary::FullDiskIgnored) => self.flushed(&begun),
            Err(Failure::Full) => self.disk_is_full(begun.is_commit),
            Err(Failure::Broken(_)) if canary::is(Canary::IoErrorIgnored) => self.flushed(&begun),
            Err(Failure::Broken(_)) if canary::is(Canary::ServedAfterIoError) => self.skip_flush(&begun),
            Err(Failure::Broken(failure)) => {
                self.dir.fail(&failure);
                let error = self.dir.check().expect_err("it has just gone offline");
                self.end_waits(&error);
            }
        }
    }

    /// A planted bug: those who wait hear of the failure, and the log goes on behind the hole.
    fn skip_flush(self: &Rc<Self>, begun: &Begun) {
        {
            let mut state = self.state.borrow_mut();
            state.tail_of(begun.base).expect("its flush was in flight").tail.flush_done(host::now());
            (state.in_flight, state.flush) = (None, FlushState::Idle);
        }
        self.durable.fail(&self.no_room());
        self.progress.notify_all();
        self.disk.schedule_flush(self);
    }

    fn flushed(self: &Rc<Self>, begun: &Begun) {
        let ended = host::now();
        let (bytes, end, released) = {
            let mut state = self.state.borrow_mut();
            let log_end = state.log.log_end_offset();
            let segment = state.tail_of(begun.base).expect("a segment with a flush in flight has its tail");
            let bytes = begun.flush.end.0 - segment.tail.written_end().0;
            segment.tail.flush_done(ended);
            assert_eq!(segment.tail.written_end(), begun.flush.end, "the flush wrote what it took");
            assert!(begun.end <= log_end, "what is durable was appended");
            if begun.is_commit {
                state.in_flight = None;
                state.flush = FlushState::Idle;
            }
            if state.uncommitted_bytes() == 0 {
                state.pending = None;
            }
            if std::mem::take(&mut state.full) {
                tracing::info!("{}: there is room again; its producers are served", self.name);
            }
            let end = if canary::is(Canary::DurableByLogEnd) { log_end } else { begun.end };
            state.log.mark_durable(end);
            (bytes, end, state.take_written(begun.base, begun.flush.end))
        };
        for sequence in released {
            self.journal.release(sequence);
        }
        self.dir.set_full(false);
        self.count_flush(begun, ended);
        self.durable.advance(end);
        self.publish_high_watermark();
        self.progress.notify_all();
        self.disk.note_cached(self);
        self.disk.note_written(self, bytes);
        self.finish_closed_segments();
        self.consider_spare(begun.base);
        self.consider_zeroing(begun.base, bytes);
        self.go_on();
    }

    fn count_flush(&self, begun: &Begun, ended: Monotonic) {
        let (timing, counter) = match begun.is_commit {
            true => (Timing::CommitSegment, Counter::SegmentBytes),
            false => (Timing::WriteBack, Counter::WriteBackBytes),
        };
        let bytes: usize = begun.flush.writes.iter().map(FlushWrite::bytes).sum();
        self.disk.metrics.span(timing, begun.at, ended);
        self.disk.metrics.add(counter, bytes as u64);
        self.last_commit.set(CommitSpan { begun: begun.at, ended });
        if begun.is_commit {
            self.disk.pace.note_commit(ended);
        }
    }

    /// Commits what came in between, and brings a rolled segment's rest to its file.
    fn go_on(self: &Rc<Self>) {
        let (uncommitted, rolled) = {
            let state = self.state.borrow();
            (state.uncommitted_bytes(), state.tails.len() > 1 && state.tails[0].tail.pending_bytes() > 0)
        };
        if uncommitted > 0 {
            self.disk.schedule_flush(self);
        } else if rolled {
            self.request_write_back();
        }
    }

    /// Nothing was lost and nothing is acknowledged: see the module's text.
    fn disk_is_full(self: &Rc<Self>, is_commit: bool) {
        self.dir.set_full(true);
        {
            let mut state = self.state.borrow_mut();
            if !state.full {
                let full = self.no_room();
                tracing::error!("{}: {full}; its producers get errors until there is room", self.name);
            }
            state.full = true;
            state.abandon_flush();
            let share = state.in_flight.take();
            state.give_back(share);
            // A commit still runs, as far as the queue is concerned: the retry below takes it up again.
            state.commit_refused |= is_commit;
        }
        let unwritten = self.unwritten();
        self.durable.fail(&unwritten);
        self.high_watermark.fail(&unwritten);
        if self.retry_queued.replace(true) {
            // A commit and a write back may both have failed: one retry asks for both.
            return;
        }
        let partition = Rc::clone(self);
        drop(host::spawn_in(Queue::Background, async move {
            host::sleep(partition.disk.settings.full_retry).await;
            partition.retry_queued.set(false);
            {
                let mut state = partition.state.borrow_mut();
                if std::mem::take(&mut state.commit_refused) {
                    state.flush = FlushState::Idle;
                }
            }
            partition.progress.notify_all();
            partition.disk.enqueue_flush(&partition);
            partition.request_write_back();
        }));
    }
}

/// How the one write of a small flush becomes durable.
fn flush_durability() -> Durability {
    if canary::is(Canary::FlushUnsynced) { Durability::None } else { Durability::DataSync }
}

impl Failure {
    fn of_write(failure: IoFailure) -> Failure {
        if failure.may_be_retried() { Failure::Full } else { Failure::Broken(failure) }
    }
}
