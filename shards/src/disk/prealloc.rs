//! Zeroing ahead of the log's end, so that a small durable write costs no journal commit of the file system.
//!
//! Owned by one segment of one partition on its owner shard; the writes run in the background queue. A synced write
//! into space that was never written has to make its extent durable too, which costs about as much again as the
//! write (tuning.md has the figures); into zeroed space it does not. Zeroing writes every byte twice, so it pays
//! for small flushes only: a partition that flushes rarely takes just its blocks, one that flushes large pieces
//! extends the file as it goes.
//!
//! Invariants:
//! - A piece that is being zeroed lies wholly behind every byte that was appended when the piece was begun, and a
//!   flush that reaches into it waits for its end: zeros never overwrite records.
//! - Nothing is zeroed at or behind `segment.bytes`, nor in a segment that was closed.
//! - All partitions of a shard together have at most `zeroed_bytes_max` zeroed and unused.

use std::cell::{Cell, RefCell};
use std::ops::{Range, RangeInclusive};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use ottla::ids::{FilePosition, Offset};
use ottla::limits::BLOCK_BYTES;
use ottla::time::Monotonic;

use super::error::{Context as _, IoFailure};
use super::partition::Partition;
use super::tail::{Flush, block_ceil, block_floor};
use crate::host::{self, AlignedBuf, Durability, File, Queue, WriteSlice};

/// The first window of a segment that begins to be busy.
const WINDOW_BYTES_MIN: u64 = 256 << 10;

/// The largest window.
const WINDOW_BYTES_MAX: u64 = 16 << 20;

/// A segment takes this part of what is left of the budget at most.
const PART_OF_LEFT: u64 = 16;

/// One write of zeros is as long as so many flushes. A flush may have to wait for it, and the first flush behind each
/// has to have the file system's journal committed, for its extents have changed.
const PIECE_FLUSHES: u64 = 32;

/// The bounds of one write of zeros.
const PIECE_BYTES: RangeInclusive<u64> = 256 << 10..=1 << 20;

/// The block of zeros that a piece consists of, over and over.
const ZEROS_BYTES: u64 = 256 << 10;

/// Over this time flushes are counted.
const SPELL: Duration = Duration::from_secs(1);

/// So many flushes within a spell make a segment busy.
const FLUSHES_MIN: u64 = 8;

/// Flushes that are on average larger extend the file themselves.
const FLUSH_BYTES_MAX: u64 = 128 << 10;

/// What a shard's segments have zeroed and not used, and the block of zeros that they write.
pub struct ZeroBudget {
    bytes: Cell<u64>,
    bytes_max: u64,
    zeros: RefCell<Option<Bytes>>,
}

impl ZeroBudget {
    /// Nothing zeroed yet, and at most `bytes_max`.
    #[must_use]
    pub fn new(bytes_max: u64) -> Rc<ZeroBudget> {
        Rc::new(ZeroBudget { bytes: Cell::new(0), bytes_max, zeros: RefCell::new(None) })
    }

    /// Bytes that are zeroed, or being zeroed, ahead of the logs' ends.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes.get()
    }

    /// A piece of zeros; the memory is made once per shard, by the first busy segment.
    fn zeros(&self, bytes: u64) -> Vec<WriteSlice> {
        let size = |bytes| usize::try_from(bytes).expect("a piece is small");
        let mut zeros = self.zeros.borrow_mut();
        let zeros = zeros.get_or_insert_with(|| AlignedBuf::zeroed(size(ZEROS_BYTES)).freeze());
        let blocks = (0..bytes).step_by(size(ZEROS_BYTES));
        blocks.map(|at| zeros.slice(..size((bytes - at).min(ZEROS_BYTES))).into()).collect()
    }
}

/// A share of the budget.
struct Share {
    budget: Rc<ZeroBudget>,
    bytes: u64,
}

impl Share {
    /// Gives back what is above `bytes`.
    fn shrink_to(&mut self, bytes: u64) {
        let back = self.bytes.saturating_sub(bytes);
        self.budget.bytes.set(self.budget.bytes.get() - back);
        self.bytes -= back;
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.bytes.set(self.budget.bytes.get() - self.bytes);
    }
}

/// How far one segment's file is zeroed, and how busy the segment is.
pub struct ZeroAhead {
    /// Before this the file's space was written at least once.
    zeroed_end: FilePosition,
    /// The piece that is being written.
    busy: Option<Range<FilePosition>>,
    /// What the running task goes for.
    target: Option<FilePosition>,
    window: u64,
    /// Bytes of one write.
    piece: u64,
    last_begun: Option<Monotonic>,
    spell_begun: Monotonic,
    flushes: u64,
    flushed_bytes: u64,
    share: Option<Share>,
}

impl ZeroAhead {
    /// Of a file that ends at `end`.
    #[must_use]
    pub fn new(end: FilePosition) -> ZeroAhead {
        ZeroAhead {
            zeroed_end: block_ceil(end),
            busy: None,
            target: None,
            window: WINDOW_BYTES_MIN,
            piece: *PIECE_BYTES.start(),
            last_begun: None,
            spell_begun: Monotonic::ZERO,
            flushes: 0,
            flushed_bytes: 0,
            share: None,
        }
    }

    /// Whether the piece in flight reaches into the blocks of a flush.
    #[must_use]
    pub fn is_in_the_way(&self, flush: &Flush) -> bool {
        self.busy.as_ref().is_some_and(|busy| busy.start < flush.blocks_end() && flush.position() < busy.end)
    }

    /// Whether a piece is in flight.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.busy.is_some()
    }

    /// Counts a flush of `bytes` bytes that ended, and says up to where to zero now, if that is worth it.
    fn count(
        &mut self,
        bytes: u64,
        end: FilePosition,
        segment_bytes: u64,
        now: Monotonic,
    ) -> Option<FilePosition> {
        if now.since(self.spell_begun) > SPELL {
            (self.spell_begun, self.flushes, self.flushed_bytes) = (now, 0, 0);
        }
        self.flushes += 1;
        self.flushed_bytes += bytes;
        let average = self.flushed_bytes / self.flushes;
        let ahead = self.zeroed_end.0.saturating_sub(end.0);
        if let Some(share) = &mut self.share {
            share.shrink_to(self.target.map_or(ahead, |target| ahead.max(target.0.saturating_sub(end.0))));
        }
        if self.flushes < FLUSHES_MIN
            || average > FLUSH_BYTES_MAX
            || ahead > self.window / 2
            || self.target.is_some()
        {
            return None;
        }
        self.window = match self.last_begun {
            Some(last) if now.since(last) <= SPELL => (self.window * 2).min(WINDOW_BYTES_MAX),
            Some(last) if now.since(last) > 4 * SPELL => (self.window / 2).max(WINDOW_BYTES_MIN),
            Some(_) | None => self.window,
        };
        let piece = PIECE_FLUSHES * average;
        self.piece =
            piece.next_multiple_of(BLOCK_BYTES as u64).clamp(*PIECE_BYTES.start(), *PIECE_BYTES.end());
        // The last block of a segment may pass segment.bytes; zeros never do.
        let limit = block_floor(FilePosition(segment_bytes)).0;
        let target = FilePosition((block_ceil(end).0 + self.window).min(limit));
        (target > self.zeroed_end).then_some(target)
    }

    fn begin(
        &mut self,
        target: FilePosition,
        end: FilePosition,
        budget: &Rc<ZeroBudget>,
        now: Monotonic,
    ) -> bool {
        // A part of what is left and no more: segments that were busy once keep what they have until they roll.
        let own = self.share.as_ref().map_or(0, |share| share.bytes);
        let left = budget.bytes_max.saturating_sub(budget.bytes() - own);
        let most = (left / PART_OF_LEFT).max(WINDOW_BYTES_MIN);
        let target = target.min(block_floor(FilePosition(block_ceil(end).0 + most)));
        let bytes = target.0.saturating_sub(end.0);
        if bytes > left || target <= self.zeroed_end {
            return false;
        }
        self.share = None;
        budget.bytes.set(budget.bytes() + bytes);
        self.share = Some(Share { budget: Rc::clone(budget), bytes });
        self.target = Some(target);
        self.last_begun = Some(now);
        true
    }

    /// The next piece, behind everything that was appended to a segment that ends at `end`.
    fn next_piece(&mut self, end: FilePosition) -> Option<Range<FilePosition>> {
        assert!(self.busy.is_none(), "one piece at a time");
        let target = self.target?;
        let start = self.zeroed_end.max(block_ceil(end));
        if start >= target {
            return None;
        }
        let piece = start..FilePosition((start.0 + self.piece).min(target.0));
        self.busy = Some(piece.clone());
        Some(piece)
    }

    /// Pretends that a piece is in flight, or that it has ended.
    #[cfg(all(test, not(feature = "sim")))]
    pub(super) fn hold_for_test(&mut self, piece: Option<Range<FilePosition>>) {
        self.busy = piece;
    }

    fn piece_done(&mut self, written: bool) {
        let piece = self.busy.take().expect("a piece that ends was begun");
        if written {
            self.zeroed_end = piece.end;
        } else {
            self.target = None;
        }
    }
}

impl Partition {
    /// Zeroes ahead of the active segment in the background if the flush that has just ended shows that it pays.
    pub(super) fn consider_zeroing(self: &Rc<Self>, base: Offset, flushed_bytes: u64) {
        if !self.dir.is_direct() {
            return;
        }
        let now = host::now();
        let mut state = self.state.borrow_mut();
        let segment_bytes = state.log.config().segment_bytes;
        let active = state.active();
        if active.base != base {
            return;
        }
        let end = active.tail.end();
        let target = active.zero.count(flushed_bytes, end, segment_bytes, now);
        let Some(target) = target else { return };
        if active.zero.begin(target, end, &self.disk.zeroed, now) {
            let partition = Rc::clone(self);
            drop(host::spawn_in(Queue::Background, async move { partition.zero_ahead(base).await }));
        }
    }

    async fn zero_ahead(self: Rc<Self>, base: Offset) {
        let result = match self.block_file(base).await {
            Ok(file) => self.zero_pieces(base, &file).await,
            Err(failure) => Err(failure),
        };
        // Without room there is just nothing to be had ahead, and a write that fails will fail for the flush as well. A
        // sync that fails may have been told what a flush of the same file should hear.
        match result {
            Err(failure) if failure.operation == "sync" => self.housekeeping_failed(&failure),
            Err(failure) => tracing::debug!("{}: no space is zeroed ahead: {failure}", self.name),
            Ok(()) => {}
        }
        if let Some(segment) = self.state.borrow_mut().tail_of(base) {
            segment.zero.target = None;
        }
    }

    async fn zero_pieces(&self, base: Offset, file: &File) -> Result<(), IoFailure> {
        let path = self.segment_path(base);
        while let Some(piece) = self.begin_piece(base) {
            let slices = self.disk.zeroed.zeros(piece.end.0 - piece.start.0);
            let result = file.write_at(slices, piece.start.0, Durability::None).await;
            if let Some(segment) = self.state.borrow_mut().tail_of(base) {
                segment.zero.piece_done(result.is_ok());
            }
            self.progress.notify_all();
            result.at("zero", &path)?;
        }
        // Now the extents are made durable, so that no flush has to.
        file.sync_data().await.at("sync", &path)?;
        Ok(())
    }

    fn begin_piece(&self, base: Offset) -> Option<Range<FilePosition>> {
        let mut state = self.state.borrow_mut();
        if state.closed || self.dir.is_offline() {
            return None;
        }
        let active = state.active();
        if active.base != base {
            return None;
        }
        let end = active.tail.end();
        active.zero.next_piece(end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MB: u64 = 1 << 20;

    fn at(ms: u64) -> Monotonic {
        Monotonic(1 + ms * 1_000_000)
    }

    #[test]
    fn a_segment_that_is_flushed_rarely_takes_only_its_blocks() {
        let mut zero = ZeroAhead::new(FilePosition(0));
        for second in 0..100 {
            assert_eq!(zero.count(200, FilePosition(second * 200), 1 << 30, at(second * 200)), None);
        }
    }

    #[test]
    fn large_flushes_extend_the_file_themselves() {
        let mut zero = ZeroAhead::new(FilePosition(0));
        for flush in 0..100 {
            assert_eq!(zero.count(MB, FilePosition(flush * MB), 1 << 30, at(flush)), None);
        }
    }

    #[test]
    fn windows_grow_with_the_rate_and_stop_at_the_segments_end() {
        let budget = ZeroBudget::new(256 * MB);
        let mut zero = ZeroAhead::new(FilePosition(0));
        let (mut end, mut windows) = (FilePosition(0), Vec::new());
        for flush in 0..30_000_u64 {
            end = end.plus(4_000);
            if let Some(target) = zero.count(4_000, end, 100 * MB, at(flush / 10)) {
                assert!(target.0 <= 100 * MB);
                windows.push(target.0 - end.0);
                assert!(zero.begin(target, end, &budget, at(flush / 10)));
                while let Some(piece) = zero.next_piece(end) {
                    assert!(piece.start >= end, "zeros never reach a record");
                    zero.piece_done(true);
                }
                zero.target = None;
            }
            assert!(budget.bytes() <= 256 * MB);
        }
        assert!(windows[0] <= WINDOW_BYTES_MIN + 4096);
        assert!(windows.iter().any(|&window| window > 15 * MB), "a busy segment gets large windows");
        drop(zero);
        assert_eq!(budget.bytes(), 0);
    }

    #[test]
    fn the_budget_is_shared() {
        let budget = ZeroBudget::new(MB);
        let mut segments: Vec<_> = (0..5).map(|_| ZeroAhead::new(FilePosition(0))).collect();
        let mut begin = |zero: &mut ZeroAhead| zero.begin(FilePosition(MB), FilePosition(0), &budget, at(0));
        let begun: Vec<bool> = segments.iter_mut().map(&mut begin).collect();
        assert_eq!(begun, [true, true, true, true, false]);
        segments.swap_remove(0);
        assert!(begin(&mut segments[0]), "what one had is another's");
        // Half of what another had is used.
        let (used, mut late) = (&mut segments[1], ZeroAhead::new(FilePosition(0)));
        while used.next_piece(FilePosition(0)).is_some() {
            used.piece_done(true);
        }
        used.target = None;
        assert_eq!(used.count(4096, FilePosition(WINDOW_BYTES_MIN / 2), 1 << 30, at(1)), None);
        assert_eq!(budget.bytes(), MB - WINDOW_BYTES_MIN / 2);
        assert!(late.begin(FilePosition(WINDOW_BYTES_MIN / 2), FilePosition(0), &budget, at(1)));
    }

    #[test]
    fn what_is_zeroed_counts_also_where_no_more_is_to_be_had() {
        let budget = ZeroBudget::new(MB);
        let mut zero = ZeroAhead::new(FilePosition(0));
        let begin = |zero: &mut ZeroAhead| zero.begin(FilePosition(MB), FilePosition(0), &budget, at(0));
        assert!(begin(&mut zero));
        while zero.next_piece(FilePosition(0)).is_some() {
            zero.piece_done(true);
        }
        zero.target = None;
        assert!(!begin(&mut zero), "it has its part");
        assert_eq!(budget.bytes(), WINDOW_BYTES_MIN);
    }

    #[test]
    fn segments_that_were_busy_once_leave_something_to_others() {
        let budget = ZeroBudget::new(256 * MB);
        let mut segments: Vec<_> = (0..60).map(|_| ZeroAhead::new(FilePosition(0))).collect();
        for zero in &mut segments {
            assert!(zero.begin(FilePosition(16 * MB), FilePosition(0), &budget, at(0)));
            let target = zero.target.expect("it has just begun");
            assert_eq!(target, block_floor(target), "whole blocks are written");
        }
        assert_eq!(segments[0].target, Some(FilePosition(16 * MB)), "the first have all they want");
        assert!(budget.bytes() <= 256 * MB);
    }

    #[test]
    fn a_flush_waits_for_the_piece_that_it_reaches_into() {
        let budget = ZeroBudget::new(64 * MB);
        let mut zero = ZeroAhead::new(FilePosition(100));
        assert!(zero.begin(FilePosition(3 * MB), FilePosition(100), &budget, at(0)));
        assert_eq!(
            zero.next_piece(FilePosition(5_000)),
            Some(FilePosition(8192)..FilePosition(8192 + PIECE_BYTES.start()))
        );
        let flush = |from, to| Flush {
            writes: vec![super::super::tail::FlushWrite { position: FilePosition(from), slices: Vec::new() }],
            end: FilePosition(to),
        };
        assert!(!zero.is_in_the_way(&flush(0, 8192)));
        assert!(zero.is_in_the_way(&flush(0, 8193)));
        assert!(zero.is_in_the_way(&flush(8192, 2_000_000)));
        assert!(!zero.is_in_the_way(&flush(8192 + PIECE_BYTES.start(), 2_000_000)));
        zero.piece_done(false);
        assert_eq!(zero.next_piece(FilePosition(5_000)), None, "a failed piece ends the window");
    }
}
