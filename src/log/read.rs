//! A read of a log: which bytes of which segment hold the batches from an offset on.
//!
//! Owned by the partition's owner shard; nothing here is on disk. [`Log::read_plan`](super::partition_log::Log)
//! answers at once where the log's tail knows every boundary. Elsewhere it names a segment and a bound, and the
//! shell walks the headers from there: [`BatchWalk`] is fed with whatever windows of the segment the shell has, in
//! memory or read from the file, needs 61 bytes of each batch and no more, and never looks at records.
//!
//! What must hold (KIP-74): the batch that holds the offset comes first and whole, however large it is, unless the
//! caller may return nothing; no byte of a batch at or behind `up_to` is ever part of a slice. A batch's base offset
//! stands outside of its CRC, and one that was damaged would have a reader pass over records: of every header that a
//! walk sees the offsets have to follow those before it and stay below the next segment's.

use std::ops::Range;

use thiserror::Error;

use super::offset_index::{OffsetIndex, OffsetPosition};
use crate::errors::ErrorCode;
use crate::ids::{FilePosition, Offset};
use crate::limits::BATCH_HEADER_BYTES;
use crate::protocol::records::{BatchError, BatchHeader};

/// What a reader asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadRequest {
    /// The first offset wanted.
    pub from: Offset,
    /// The offset to stop before: the high watermark, the last stable offset, or the log's end for a follower.
    pub up_to: Offset,
    /// Bytes wanted at most.
    pub max_bytes: u64,
    /// Whether the first batch comes whole even where it alone passes `max_bytes`.
    pub at_least_one: bool,
}

/// Why there is nothing to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ReadError {
    /// The offset is before the log's start or behind its end.
    #[error("offset {got} is not in {start}..={end}")]
    OutOfRange {
        /// What was asked for.
        got: Offset,
        /// The log start offset.
        start: Offset,
        /// The log end offset.
        end: Offset,
    },
    /// The bytes of a segment are not the batches that they were.
    #[error("no batch at byte {position} of the segment: {error}")]
    Corrupt {
        /// Where a batch should begin.
        position: u64,
        /// What stands there.
        error: BatchError,
    },
    /// The offsets of a batch are not those that its place allows.
    #[error(
        "the batch at byte {position} of the segment has offsets {got} to {last}, where they are from {least} on and \
         before {before}"
    )]
    Offsets {
        /// Where the batch begins.
        position: u64,
        /// Its base offset.
        got: Offset,
        /// Its last offset.
        last: Offset,
        /// The lowest that its base offset can be.
        least: Offset,
        /// What its last offset is below: the next segment's base, or the log's end.
        before: Offset,
    },
}

impl ReadError {
    /// The code of the reply.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        match self {
            ReadError::OutOfRange { .. } => ErrorCode::OffsetOutOfRange,
            ReadError::Corrupt { .. } | ReadError::Offsets { .. } => ErrorCode::CorruptMessage,
        }
    }
}

/// Bytes of one segment that a reader gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadSlice {
    /// The segment's base offset.
    pub segment_base: Offset,
    /// The first byte, of the batch that holds the offset asked for.
    pub start: FilePosition,
    /// Where the first batch ends, and so the least that a reader can use.
    pub first_batch_end: FilePosition,
    /// The first byte that is no longer part.
    pub end: FilePosition,
    /// More is there, and the bytes wanted have ended the slice, perhaps within a batch.
    pub limited: bool,
}

impl ReadSlice {
    /// Bytes of the slice.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.end.0 - self.start.0
    }

    /// The same slice ending with a whole batch, as far as the index of its segment can tell: at most one index
    /// interval shorter. Clients ignore a partial batch at the end, so this saves bytes and not correctness. One that
    /// ends with what may be read ends with a whole batch already.
    #[must_use]
    pub fn cut_by(self, index: &OffsetIndex) -> ReadSlice {
        match index.batch_start_at_or_before(self.end).filter(|_| self.limited) {
            Some(boundary) if boundary >= self.first_batch_end => ReadSlice { end: boundary, ..self },
            Some(_) | None => self,
        }
    }
}

/// Where a walk begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WalkStart {
    /// At the batch that begins here, which lies at or before the one wanted.
    At(FilePosition),
    /// Where the segment's offset index says, which is not in memory: see [`WalkPlan::with_index`].
    Index,
}

/// Where a walk must end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WalkLimit {
    /// Every batch before this position may be read.
    Position(FilePosition),
    /// Every batch up to this offset may be read, and `bytes` is where the segment ends.
    Offset {
        /// The first offset that may not be read.
        up_to: Offset,
        /// The segment's bytes.
        bytes: FilePosition,
    },
}

/// A read that needs a walk over headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WalkPlan {
    /// The segment's base offset.
    pub segment_base: Offset,
    /// Where to begin.
    pub start: WalkStart,
    /// Where to end.
    pub limit: WalkLimit,
    /// What was asked for.
    pub request: ReadRequest,
    /// The next segment's base, or the log's end: no batch of the segment has it.
    pub before: Offset,
    /// The batch of the index that may be the one wanted: the walk can begin there if its header says so, see
    /// [`WalkPlan::begun_at`].
    pub nearer: Option<OffsetPosition>,
}

impl WalkPlan {
    /// The plan with the segment's index at hand, read from its file.
    #[must_use]
    pub fn with_index(self, index: &OffsetIndex) -> WalkPlan {
        let plan = self.led_by(index);
        assert_ne!(plan.start, WalkStart::Index, "a whole index knows every offset");
        plan
    }

    /// The plan with a walk that begins where an index leads, which may not have all of its entries in memory.
    pub(super) fn led_by(self, index: &OffsetIndex) -> WalkPlan {
        let from = self.request.from;
        let Some(entry) = index.lookup(from) else { return self };
        WalkPlan { start: WalkStart::At(entry.position), nearer: index.entry_from(from), ..self }
    }

    /// The plan with a walk that begins at [`nearer`](WalkPlan::nearer), whose header is at hand: it has the offset
    /// that is wanted and ends with the one that the index names. Else the plan as it was, which passes the batches
    /// before: a header whose base offset was turned shows there.
    #[must_use]
    pub fn begun_at(self, header: &[u8]) -> WalkPlan {
        let Some(entry) = self.nearer else { return self };
        let is_wanted = BatchHeader::parse(header).is_ok_and(|header| {
            header.base_offset <= self.request.from && header.last_offset() == entry.offset
        });
        if is_wanted { WalkPlan { start: WalkStart::At(entry.position), nearer: None, ..self } } else { self }
    }

    /// The walk; the start must not need an index any more.
    #[must_use]
    pub fn walk(&self) -> BatchWalk {
        let WalkStart::At(start) = self.start else {
            panic!("a plan that needs the index gets it before the walk");
        };
        let end = match self.limit {
            WalkLimit::Position(end) | WalkLimit::Offset { bytes: end, .. } => end,
        };
        let mut headers = HeaderWalk::new(start..end, self.segment_base..self.before);
        if start > FilePosition(0) {
            // Where the index leads to begins at or before what is looked for.
            headers.first_at_most = self.request.from;
        }
        BatchWalk { plan: *self, headers, first: None }
    }
}

/// How to answer a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadPlan {
    /// There is nothing yet: the reader waits.
    Empty,
    /// The batch is larger than the bytes wanted and need not come: the reader gets nothing.
    Withheld,
    /// Just these bytes.
    Slice(ReadSlice),
    /// A walk over headers finds the bytes.
    Walk(WalkPlan),
}

/// A batch on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchAt {
    /// Its header.
    pub header: BatchHeader,
    /// Its first byte.
    pub position: FilePosition,
}

impl BatchAt {
    /// The first byte behind it.
    #[must_use]
    pub fn end(&self) -> FilePosition {
        self.position.plus(self.header.batch_bytes as u64)
    }
}

/// One step from header to header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hop {
    /// The next batch.
    Batch(BatchAt),
    /// The window does not hold the next header, which begins here: feed a window with at least 61 bytes from there
    /// on, or up to the walk's end.
    Need(FilePosition),
    /// Every batch before the end was seen. A batch that passes the end is not.
    End,
}

/// Steps from header to header through a part of a segment that begins with a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeaderWalk {
    next: FilePosition,
    end: FilePosition,
    /// What the next base offset is at least.
    least: Offset,
    /// What every offset is below.
    before: Offset,
    /// What the first base offset is at most.
    first_at_most: Offset,
}

impl HeaderWalk {
    /// A walk over the batches of a part of a segment, whose offsets are among `offsets`.
    #[must_use]
    pub fn new(part: Range<FilePosition>, offsets: Range<Offset>) -> HeaderWalk {
        assert!(part.start <= part.end, "a walk goes forward");
        HeaderWalk {
            next: part.start,
            end: part.end,
            least: offsets.start,
            before: offsets.end,
            first_at_most: offsets.end,
        }
    }

    /// The next header, if the window, whose first byte is the segment's byte `window_at`, holds it.
    ///
    /// # Errors
    /// [`ReadError::Corrupt`] where no batch begins, [`ReadError::Offsets`] where one has offsets of another place; the
    /// walk is over then.
    pub fn hop(&mut self, window_at: FilePosition, window: &[u8]) -> Result<Hop, ReadError> {
        if self.next.0 + BATCH_HEADER_BYTES as u64 > self.end.0 {
            return Ok(Hop::End);
        }
        let skip = self.next.0.checked_sub(window_at.0).and_then(|skip| usize::try_from(skip).ok());
        let Some(bytes) = skip.and_then(|skip| window.get(skip..)) else {
            return Ok(Hop::Need(self.next));
        };
        if bytes.len() < BATCH_HEADER_BYTES {
            return Ok(Hop::Need(self.next));
        }
        let header =
            BatchHeader::parse(bytes).map_err(|error| ReadError::Corrupt { position: self.next.0, error })?;
        let batch = BatchAt { header, position: self.next };
        if batch.end() > self.end {
            return Ok(Hop::End);
        }
        self.check_offsets(&header)?;
        self.next = batch.end();
        self.least = header.next_offset();
        self.first_at_most = self.before;
        Ok(Hop::Batch(batch))
    }

    fn check_offsets(&self, header: &BatchHeader) -> Result<(), ReadError> {
        let (got, last) = (header.base_offset, header.last_offset());
        let follows = self.least <= got && got <= last && last < self.before;
        if follows && got <= self.first_at_most {
            return Ok(());
        }
        let before = if follows { self.first_at_most.plus(1) } else { self.before };
        Err(ReadError::Offsets { position: self.next.0, got, last, least: self.least, before })
    }

    /// Looks at the header behind the last batch, where the window has it: it tells a base offset that was raised.
    ///
    /// # Errors
    /// [`ReadError::Offsets`] where it does not follow.
    fn check_next(&self, window_at: FilePosition, window: &[u8]) -> Result<(), ReadError> {
        match HeaderWalk::hop(&mut self.clone(), window_at, window) {
            Err(error @ ReadError::Offsets { .. }) => Err(error),
            // Who reads on finds out what is wrong there.
            Ok(_) | Err(ReadError::Corrupt { .. } | ReadError::OutOfRange { .. }) => Ok(()),
        }
    }
}

/// What a walk found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WalkStep {
    /// Feed a window that begins here or before and holds 61 bytes from here on.
    Need(FilePosition),
    /// The bytes of the reply.
    Found(ReadSlice),
    /// The batch is larger than the bytes wanted and need not come: the reader gets nothing.
    Withheld,
    /// What may be read holds nothing at or behind the offset: go on with the next segment, or wait.
    Nothing,
}

/// Finds the bytes of a read by headers.
///
/// With a limit by position the walk ends at the batch that holds the offset, and the slice ends where the bytes
/// run out, perhaps within a batch: clients ignore a partial one. With a limit by offset the walk goes on
/// to the last batch that may be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchWalk {
    plan: WalkPlan,
    headers: HeaderWalk,
    first: Option<BatchAt>,
}

impl BatchWalk {
    /// Goes on as far as the window reaches, whose first byte is the segment's byte `window_at`.
    ///
    /// # Errors
    /// Those of [`HeaderWalk::hop`].
    pub fn feed(&mut self, window_at: FilePosition, window: &[u8]) -> Result<WalkStep, ReadError> {
        loop {
            let batch = match self.headers.hop(window_at, window)? {
                Hop::Need(position) => return Ok(WalkStep::Need(position)),
                Hop::End => return Ok(self.slice(self.headers.next, false)),
                Hop::Batch(batch) => batch,
            };
            if let WalkLimit::Offset { up_to, .. } = self.plan.limit
                && batch.header.last_offset() >= up_to
            {
                return Ok(self.slice(batch.position, false));
            }
            if self.first.is_none() && batch.header.last_offset() >= self.plan.request.from {
                self.first = Some(batch);
            }
            if let Some(first) = self.first
                && let Some((end, limited)) = self.end_by_bytes(first, batch)
            {
                self.headers.check_next(window_at, window)?;
                return Ok(self.slice(end, limited));
            }
        }
    }

    /// Where the slice ends because its bytes run out, or because the limit is known without a look; and whether it is
    /// the bytes.
    fn end_by_bytes(&self, first: BatchAt, batch: BatchAt) -> Option<(FilePosition, bool)> {
        let to = first.position.plus(self.plan.request.max_bytes).max(first.end());
        match self.plan.limit {
            WalkLimit::Position(limit) => Some((limit.min(to), to < limit)),
            WalkLimit::Offset { .. } if batch.end() > to => Some((to, true)),
            WalkLimit::Offset { .. } => None,
        }
    }

    fn slice(&self, end: FilePosition, limited: bool) -> WalkStep {
        let Some(first) = self.first else {
            return WalkStep::Nothing;
        };
        assert!(first.end() <= end, "a slice holds its first batch whole");
        let request = self.plan.request;
        if !request.at_least_one && first.header.batch_bytes as u64 > request.max_bytes {
            return WalkStep::Withheld;
        }
        WalkStep::Found(ReadSlice {
            segment_base: self.plan.segment_base,
            start: first.position,
            first_batch_end: first.end(),
            end,
            limited,
        })
    }
}

#[cfg(test)]
mod tests;
