//! What a roll leaves to do, in the background: the closed segment's file is cut to its bytes, its indexes and the
//! producer snapshot are written.
//!
//! The append that rolls only starts the next segment in memory and does not wait; that segment's file was made
//! [ahead](super::naming). Until a closed segment is finished its indexes stay in memory, and the recovery point stays
//! before its end.
//!
//! To make a file holds a directory and a core for as long as a commit takes, and three in a row held up one commit
//! behind the other. So they come one at a time, some milliseconds apart and behind the roll.
//!
//! What must hold: nothing is finished before the last byte of the segment is on disk; after it is finished its file
//! holds exactly its batches and its indexes are whole. Durable all that is once it is [settled](super::settle).

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use ottla::ids::{FilePosition, Offset};
use ottla::log::Roll;
use ottla::log::files::SegmentFileKind;
use ottla::metrics::Counter;

use super::files::{IndexBytes, IndexWrite};
use super::naming::Spare;
use super::settle::Unsettled;
use super::{Partition, SegmentTail, State, Unfinished};
use crate::disk::error::{Context as _, DiskError, IoFailure};
use crate::disk::fds::Use;
use crate::disk::patient;
use crate::disk::prealloc::ZeroAhead;
use crate::disk::tail::{MemoryGauge, Tail};
use crate::host::{self, Queue};

/// How long the files of a closed segment are left alone: until the first commits of the next one are over.
const REST_FIRST: Duration = Duration::from_millis(5);

/// And how long between two of them.
const REST_BETWEEN: Duration = Duration::from_millis(2);

/// A partition with more closed segments to finish than this rests no more: there would never be an end of them.
const RESTED_MAX: usize = 8;

impl State {
    /// See [`Partition::begin_segment`].
    fn begin_segment(&mut self, roll: Roll, gauge: &MemoryGauge) {
        let Roll { closed, indexes, new_base, snapshot } = roll;
        let written = std::mem::take(&mut self.index_files);
        if self.spare == Spare::Refused {
            self.spare = Spare::Unmade;
        }
        let unfinished = Unfinished {
            indexes: Rc::new(indexes),
            written,
            bytes: closed.bytes,
            snapshot: (new_base, snapshot),
            running: false,
            refused: false,
        };
        self.unfinished.insert(closed.base_offset, unfinished);
        self.tails.push_back(SegmentTail {
            base: new_base,
            tail: Tail::new(FilePosition(0), Rc::clone(gauge)),
            created: false,
            zero: ZeroAhead::new(FilePosition(0)),
        });
    }
}

impl Partition {
    /// Starts the segment that a roll begins, in memory.
    pub(super) fn begin_segment(&self, state: &mut State, roll: Roll) {
        self.disk.metrics.add(Counter::SegmentsRolled, 1);
        // What is cached of an active segment's indexes is what they had then.
        self.disk.indexes.forget((self.number, roll.closed.base_offset));
        state.begin_segment(roll, &self.disk.gauge);
    }

    /// Starts to finish the closed segments whose bytes are all on disk.
    pub(in crate::disk) fn finish_closed_segments(self: &Rc<Self>) {
        let mut state = self.state.borrow_mut();
        let State { unfinished, tails, .. } = &mut *state;
        let ready: Vec<Offset> = unfinished
            .iter_mut()
            .filter(|(base, unfinished)| {
                let written = |tail: &SegmentTail| tail.base != **base || tail.tail.pending_bytes() == 0;
                !unfinished.running && tails.iter().all(written)
            })
            .map(|(base, unfinished)| {
                unfinished.running = true;
                *base
            })
            .collect();
        drop(state);
        for base in ready {
            let partition = Rc::clone(self);
            drop(host::spawn_in(Queue::Background, async move { partition.finish_segment(base).await }));
        }
    }

    async fn finish_segment(self: Rc<Self>, base: Offset) {
        while self.state.borrow_mut().tail_of(base).is_some_and(|segment| segment.zero.is_busy()) {
            self.progress.notified().await;
        }
        self.rest_after_roll(REST_FIRST).await;
        loop {
            let among_few = self.disk.finishing.acquire(1).await;
            // Everybody else who wants the turn goes before.
            let Some(turn) = self.housekeeping.try_acquire(1) else {
                drop(among_few);
                host::sleep(REST_BETWEEN).await;
                continue;
            };
            if self.check().is_err() {
                // Closed, deleted or offline: whoever waits for this finds that out.
                self.progress.notify_all();
                return;
            }
            let result = self.write_finished(base).await;
            drop((turn, among_few));
            match result {
                Ok(()) => break,
                Err(failure) => {
                    self.housekeeping_failed(&failure);
                    if let Some(unfinished) = self.state.borrow_mut().unfinished.get_mut(&base) {
                        unfinished.refused = true;
                    }
                    self.progress.notify_all();
                }
            }
            host::sleep(self.disk.settings.full_retry).await;
        }
        {
            let mut state = self.state.borrow_mut();
            state.unfinished.remove(&base);
            let last = state.active().base;
            state.tails.retain(|segment| segment.base == last || segment.tail.start() < segment.tail.end());
        }
        self.progress.notify_all();
    }

    async fn write_finished(self: &Rc<Self>, base: Offset) -> Result<(), IoFailure> {
        let (entries, bytes, (new_base, snapshot)) = {
            let state = self.state.borrow();
            let Some(unfinished) = state.unfinished.get(&base) else { return Ok(()) };
            let entries = IndexBytes::behind(unfinished.written, &unfinished.indexes);
            (entries, unfinished.bytes, unfinished.snapshot.clone())
        };
        if bytes > 0 {
            let path = self.segment_path(base);
            let file = self.block_file(base).await?;
            file.set_len(bytes).await.at("cut", &path)?;
            self.write_indexes(base, &entries, IndexWrite::Rolled).await?;
        }
        self.rest_between_files().await;
        let snapshot_path = self.file_path(new_base, SegmentFileKind::ProducerSnapshot);
        patient::write_unsynced(&snapshot_path, 0, &snapshot).await?;
        self.create_segment(new_base).await?;
        if bytes == 0 {
            // An empty segment is no part of the log once another one follows.
            for kind in SegmentFileKind::ALL {
                self.remove_if_there(&self.file_path(base, kind)).await?;
            }
        }
        self.state.borrow_mut().unsettled.push(Unsettled { base, next: new_base });
        self.disk.fds.forget(self.fd_key(base, Use::Blocks));
        self.disk.fds.forget(self.fd_key(base, Use::Cached));
        Ok(())
    }

    /// Leaves the disk to the commits for a while, before another file of a closed segment is made.
    pub(super) async fn rest_between_files(&self) {
        self.rest_after_roll(REST_BETWEEN).await;
    }

    async fn rest_after_roll(&self, rest: Duration) {
        if !self.is_housekeeping_awaited()
            && !self.disk.finishing.has_waiters()
            && self.disk.pace.is_committing()
        {
            host::sleep(rest).await;
        }
    }

    /// Whether somebody waits for the files of closed segments, or too many of those do.
    pub(super) fn is_housekeeping_awaited(&self) -> bool {
        let is_late = {
            let state = self.state.borrow();
            state.closed || state.unfinished.len() > RESTED_MAX
        };
        is_late || self.finish_awaited.get() > 0 || self.housekeeping.has_waiters() || self.dir.is_offline()
    }

    /// Waits until every closed segment is finished.
    ///
    /// # Errors
    /// When one cannot be: the partition is closed, or the log dir offline or full.
    pub(in crate::disk) async fn wait_finished(&self) -> Result<(), DiskError> {
        let _waits = FinishAwaited::new(&self.finish_awaited);
        loop {
            self.check()?;
            let refused = {
                let unfinished = &self.state.borrow().unfinished;
                if unfinished.is_empty() {
                    return Ok(());
                }
                unfinished.values().any(|segment| segment.refused)
            };
            if refused || self.dir.is_full() {
                return Err(self.no_room());
            }
            self.progress.notified().await;
        }
    }
}

/// Somebody waits until every closed segment is finished.
struct FinishAwaited<'a>(&'a Cell<usize>);

impl FinishAwaited<'_> {
    fn new(count: &Cell<usize>) -> FinishAwaited<'_> {
        count.set(count.get() + 1);
        FinishAwaited(count)
    }
}

impl Drop for FinishAwaited<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}
