//! Reads: which bytes a fetch gets, as memory or as ranges of files, without a look at any record.
//!
//! One snapshot of the log is taken, the arithmetic plans, and where the plan needs batch headers they are read from
//! memory if they are there, else from the file. What comes out may be sent as it is, on any shard.
//!
//! What must hold:
//! - A file range of the active segment ends at a block boundary at or before its written end; those blocks never
//!   change again. The rest of it comes from memory, into which the last block is loaded if it was dropped.
//! - The active segment is never read through the page cache here, so that no read-ahead keeps its tail cached.
//! - No byte at or behind the asked limit is part of a reply.
//! - A file that is shorter than the log says, and a batch with offsets that are not those of its place, are errors:
//!   no reader passes over what stands there.

use std::rc::Rc;

use bytes::Bytes;
use ottla::ids::{FilePosition, Offset};
use ottla::limits::BATCH_HEADER_BYTES;
use ottla::log::read::WalkStart;
use ottla::log::{
    AbortedTransaction, BatchWalk, LogOffsets, ReadError, ReadPlan, ReadRequest, ReadSlice, WalkPlan,
    WalkStep,
};

use super::Partition;
use crate::disk::error::{Context as _, DiskError};
use crate::disk::fds::Use;
use crate::disk::tail::{block_ceil, block_floor};
use crate::host::{self, SharedFd};

/// Bytes that are read from a file to look at headers: about four index intervals.
const WINDOW_BYTES: u64 = 16 << 10;

/// A part of a reply.
#[derive(Clone, Debug)]
pub enum Slice {
    /// These bytes.
    Memory(Bytes),
    /// Bytes of a file that was opened for buffered reading; they do not change.
    File {
        /// The file, which stays open as long as this.
        fd: SharedFd,
        /// The first byte.
        position: FilePosition,
        /// How many.
        bytes: u64,
        /// Before this no block of the file changes any more: what may be read ahead.
        readable_end: FilePosition,
    },
}

/// The answer to a read.
#[derive(Clone, Debug)]
pub struct Read {
    /// The bytes, in order; they begin with the batch that holds the offset asked for. Empty where there is nothing
    /// to read yet, or nothing that fits.
    pub slices: Vec<Slice>,
    /// Their number.
    pub bytes: u64,
    /// Where in the log they were when they were read.
    pub slice: Option<ReadSlice>,
    /// A batch is there, but larger than the bytes wanted, and need not come.
    pub withheld: bool,
    /// The log's offsets when the read was planned.
    pub offsets: LogOffsets,
}

/// What a walk over headers says to a window that it was fed with.
pub(super) enum Fed<T> {
    /// It goes on here.
    Need(FilePosition),
    /// It is over.
    Done(T),
}

impl Partition {
    /// The batches from `request.from` on that lie before `request.up_to`, of one segment. What is in memory is
    /// answered without giving way.
    ///
    /// # Errors
    /// [`DiskError::OutOfRange`] before the log start offset or behind the log end offset; the disk's failures.
    pub async fn read(self: &Rc<Self>, request: ReadRequest) -> Result<Read, DiskError> {
        self.steadily(|| self.try_read(request)).await
    }

    /// A read with the aborted transactions that a reader of committed records has to be told with it, by ascending
    /// first offset.
    ///
    /// # Errors
    /// Those of [`read`](Partition::read).
    pub async fn read_committed(
        self: &Rc<Self>,
        request: ReadRequest,
    ) -> Result<(Read, Vec<AbortedTransaction>), DiskError> {
        let attempt = || async {
            loop {
                let read = self.try_read(request).await?;
                let Some(slice) = read.slice else { return Ok((read, Vec::new())) };
                let aborted = self.aborted_transactions(request.from, &slice).await;
                // A segment that is deleted meanwhile takes along what would have been named.
                if self.has_segment(slice.segment_base) {
                    return Ok((read, aborted?));
                }
            }
        };
        self.steadily(attempt).await
    }

    async fn try_read(self: &Rc<Self>, request: ReadRequest) -> Result<Read, DiskError> {
        self.check()?;
        let offsets = self.offsets();
        let mut plan = self.plan(request)?;
        loop {
            let walk = match plan {
                ReadPlan::Empty | ReadPlan::Withheld => {
                    let withheld = matches!(plan, ReadPlan::Withheld);
                    return Ok(Read { slices: Vec::new(), bytes: 0, slice: None, withheld, offsets });
                }
                ReadPlan::Slice(slice) => match self.slices(slice).await {
                    Ok(slices) => {
                        let bytes = slice.bytes();
                        return Ok(Read { slices, bytes, slice: Some(slice), withheld: false, offsets });
                    }
                    Err(error) => {
                        plan = self.plan_again(slice.segment_base, request, error)?;
                        continue;
                    }
                },
                ReadPlan::Walk(walk) => walk,
            };
            let base = walk.segment_base;
            plan = match self.walk(walk).await {
                Ok(WalkStep::Found(slice)) => ReadPlan::Slice(slice),
                Ok(WalkStep::Withheld) => ReadPlan::Withheld,
                Ok(WalkStep::Nothing) => self.state.borrow().log.read_next_segment(base, request),
                Ok(WalkStep::Need(position)) => unreachable!("a walk that needs byte {position} goes on"),
                Err(error) => self.plan_again(base, request, error)?,
            };
        }
    }

    fn plan(&self, request: ReadRequest) -> Result<ReadPlan, DiskError> {
        let plan = self.state.borrow().log.read_plan(request);
        plan.map_err(|error| self.read_failed(request.from, error))
    }

    /// What becomes of a read that failed in a segment: where that was deleted meanwhile, the next plan says what it
    /// means.
    fn plan_again(
        &self,
        base: Offset,
        request: ReadRequest,
        error: DiskError,
    ) -> Result<ReadPlan, DiskError> {
        if self.state.borrow().closed {
            return Err(DiskError::Closed);
        }
        if self.has_segment(base) { Err(error) } else { self.plan(request) }
    }

    pub(super) fn read_failed(&self, base: Offset, error: ReadError) -> DiskError {
        match error {
            ReadError::OutOfRange { got, start, end } => DiskError::OutOfRange { offset: got, start, end },
            ReadError::Corrupt { .. } | ReadError::Offsets { .. } => {
                DiskError::corrupt(&self.segment_path(base), error)
            }
        }
    }

    pub(super) fn has_segment(&self, base: Offset) -> bool {
        let state = self.state.borrow();
        let active = state.log.active_segment().base_offset();
        active == base || state.log.closed_segments().any(|segment| segment.base_offset == base)
    }

    async fn walk(self: &Rc<Self>, plan: WalkPlan) -> Result<WalkStep, DiskError> {
        let base = plan.segment_base;
        let (plan, indexes) = match plan.start {
            WalkStart::At(_) => (plan, None),
            WalkStart::Index => {
                let indexes = self.indexes(base).await?;
                (plan.with_index(&indexes.offsets), Some(indexes))
            }
        };
        let plan = self.begun_nearer(plan).await;
        let mut walk: BatchWalk = plan.walk();
        let step = self.feed(base, |at, window| {
            Ok(match walk.feed(at, window)? {
                WalkStep::Need(position) => Fed::Need(position),
                step @ (WalkStep::Found(_) | WalkStep::Nothing | WalkStep::Withheld) => Fed::Done(step),
            })
        });
        let step = step.await?;
        let WalkStep::Found(slice) = step else { return Ok(step) };
        let cut = match indexes {
            Some(indexes) => slice.cut_by(&indexes.offsets),
            None => self.cut_by_memory(slice),
        };
        Ok(WalkStep::Found(cut))
    }

    /// Whoever reads on wants the batch behind the one to which the index leads, and has left its header in memory.
    async fn begun_nearer(&self, plan: WalkPlan) -> WalkPlan {
        let Some(entry) = plan.nearer else { return plan };
        let mut header = [0; BATCH_HEADER_BYTES];
        let is_there = self.peek_piece(plan.segment_base, entry.position, &mut header).await;
        if is_there { plan.begun_at(&header) } else { plan }
    }

    /// Lets a slice of the active segment end with a whole batch, as far as the indexes in memory know.
    fn cut_by_memory(&self, slice: ReadSlice) -> ReadSlice {
        let state = self.state.borrow();
        let active = state.log.active_segment();
        if active.base_offset() != slice.segment_base {
            slice
        } else {
            slice.cut_by(&active.indexes().offsets)
        }
    }

    /// Runs a walk over the headers of a segment to its end.
    pub(super) async fn feed<T>(
        self: &Rc<Self>,
        base: Offset,
        mut feed: impl FnMut(FilePosition, &[u8]) -> Result<Fed<T>, ReadError>,
    ) -> Result<T, DiskError> {
        let failed = |error| self.read_failed(base, error);
        let mut fed = feed(FilePosition(0), &[]).map_err(failed)?;
        loop {
            let position = match fed {
                Fed::Done(result) => return Ok(result),
                Fed::Need(position) => position,
            };
            let mut header = [0; BATCH_HEADER_BYTES];
            fed = if self.peek(base, position, &mut header)
                || self.peek_piece(base, position, &mut header).await
            {
                feed(position, &header).map_err(failed)?
            } else {
                let window = self.window(base, position, WINDOW_BYTES).await?;
                feed(position, &window).map_err(failed)?
            };
            if let Fed::Need(again) = fed
                && again == position
            {
                let path = self.segment_path(base);
                return Err(DiskError::corrupt(
                    &path,
                    format!("it ends within the header at byte {position}"),
                ));
            }
        }
    }

    /// Copies a header from memory; false where it is not, or not wholly, there.
    fn peek(&self, base: Offset, position: FilePosition, into: &mut [u8]) -> bool {
        let mut state = self.state.borrow_mut();
        state.tail_of(base).is_some_and(|segment| segment.tail.peek(position, into) == Some(into.len()))
    }

    /// Copies a header from what the reader before has left of the file in memory: who reads on begins there.
    async fn peek_piece(&self, base: Offset, position: FilePosition, into: &mut [u8]) -> bool {
        let Some(file) = self.disk.fds.peek(self.fd_key(base, Use::Cached)) else { return false };
        host::peek_piece(&file.shared_fd(), position.0, into).await
    }

    /// Up to `wanted` bytes of a segment from `from` on, copied from wherever they are; fewer only at its end.
    pub(in crate::disk) async fn window(
        &self,
        base: Offset,
        from: FilePosition,
        wanted: u64,
    ) -> Result<Vec<u8>, DiskError> {
        let wanted = usize::try_from(wanted).expect("memory is addressable");
        let (is_active, in_memory, end) = {
            let mut state = self.state.borrow_mut();
            let is_active = state.active().base == base;
            match state.tail_of(base) {
                Some(segment) => (is_active, segment.tail.start(), segment.tail.end()),
                None => (false, self.closed_bytes(&state.log, base), self.closed_bytes(&state.log, base)),
            }
        };
        let to = FilePosition(from.0 + wanted as u64).min(end);
        let mut bytes = Vec::with_capacity(wanted);
        if from < in_memory {
            self.read_file_bytes(base, is_active, from..to.min(in_memory), &mut bytes).await?;
        }
        let at = from.plus(bytes.len() as u64);
        if at < to {
            let have = bytes.len();
            bytes.resize(have + usize::try_from(to.0 - at.0).expect("at most what is wanted"), 0);
            if !self.peek(base, at, &mut bytes[have..]) {
                // It was dropped from memory meanwhile, which it only is once it is on disk.
                bytes.truncate(have);
                self.read_file_bytes(base, is_active, at..to, &mut bytes).await?;
            }
        }
        Ok(bytes)
    }

    pub(super) fn closed_bytes(&self, log: &ottla::log::Log, base: Offset) -> FilePosition {
        let segment = log.closed_segments().find(|segment| segment.base_offset == base);
        FilePosition(segment.map_or(0, |segment| segment.bytes))
    }

    async fn read_file_bytes(
        &self,
        base: Offset,
        is_active: bool,
        range: std::ops::Range<FilePosition>,
        into: &mut Vec<u8>,
    ) -> Result<(), DiskError> {
        let (from, to, file) = if is_active {
            (block_floor(range.start), block_ceil(range.end), self.block_file(base).await?)
        } else {
            (range.start, range.end, self.read_file(base).await?)
        };
        let path = || self.segment_path(base);
        let bytes = usize::try_from(to.0 - from.0).expect("memory is addressable");
        let read = file.read_at(from.0, bytes).await.at_made("read", path)?;
        let skip = usize::try_from(range.start.0 - from.0).expect("less than a block");
        let wanted = usize::try_from(range.end.0 - range.start.0).expect("memory is addressable");
        match read.get(skip..skip + wanted) {
            Some(found) => into.extend_from_slice(found),
            None => return Err(DiskError::corrupt(&path(), "it is shorter than it was left")),
        }
        Ok(())
    }

    /// The bytes of a slice, as memory and file ranges.
    async fn slices(self: &Rc<Self>, slice: ReadSlice) -> Result<Vec<Slice>, DiskError> {
        loop {
            let needs_block = {
                let mut state = self.state.borrow_mut();
                let active = state.active();
                let begun = active.tail.missing_block();
                active.base == slice.segment_base && begun.is_some_and(|block| slice.end > block.start)
            };
            if !needs_block {
                break;
            }
            self.load_begun_block().await?;
        }
        let (file_end, readable_end, memory) = self.memory_part(slice);
        let mut slices = Vec::with_capacity(memory.len() + 1);
        if slice.start < file_end {
            let fd = self.read_file(slice.segment_base).await?.shared_fd();
            // Whoever sends it could only end the connection where it finds less, each time again.
            let path = || self.segment_path(slice.segment_base);
            let there = fd.bytes().at_made("examine", path)?;
            if there < file_end.0 {
                let (from, to) = (slice.start, file_end);
                let reason = format!("it ends at byte {there}, and bytes {from} to {to} of it were written");
                return Err(DiskError::corrupt(&path(), reason));
            }
            let bytes = file_end.0 - slice.start.0;
            slices.push(Slice::File { fd, position: slice.start, bytes, readable_end });
        }
        slices.extend(memory.into_iter().map(Slice::Memory));
        Ok(slices)
    }

    /// Where the file's part of a slice ends, where its unchanging blocks end, and the rest from memory.
    fn memory_part(&self, slice: ReadSlice) -> (FilePosition, FilePosition, Vec<Bytes>) {
        let mut state = self.state.borrow_mut();
        let Some(segment) = state.tail_of(slice.segment_base) else {
            let end = self.closed_bytes(&state.log, slice.segment_base);
            return (slice.end, end, Vec::new());
        };
        let in_memory = segment.tail.start();
        if slice.end <= in_memory {
            return (slice.end, block_floor(in_memory), Vec::new());
        }
        let from = in_memory.max(slice.start);
        let memory = segment.tail.bytes(from, slice.end).expect("from the tail's start on all is in memory");
        (in_memory, block_floor(in_memory), memory)
    }

    /// The bytes of a whole batch, copied.
    pub(super) async fn batch_bytes(
        self: &Rc<Self>,
        base: Offset,
        position: FilePosition,
        bytes: usize,
    ) -> Result<Vec<u8>, DiskError> {
        let read = self.window(base, position, bytes as u64).await?;
        if read.len() == bytes {
            return Ok(read);
        }
        Err(DiskError::corrupt(&self.segment_path(base), format!("the batch at byte {position} is cut")))
    }
}
