//! A segment's tail in memory: what was appended and is not yet on disk, and what was written lately.
//!
//! Owned by the partition's owner shard. A tail is a row of chunks; each lies at a file position that is a multiple
//! of 4,096 and may be written to the file as it is, padded with zeros to whole blocks. Three kinds follow each
//! other: written chunks (a read cache, oldest first), chunks whose write is in flight, and pending ones, of which
//! the last takes appends.
//!
//! Invariants:
//! - Chunks are contiguous and end at the log's end: a position that the tail covers is covered to the end.
//! - From the moment a write takes a chunk, none of its bytes changes. The partial last block is *carried*: copied
//!   to the start of a new chunk by the first append that follows, and cut from the old chunk's readable part.
//! - Pending bytes are never dropped; a chunk leaves the front of the row, and only once it is written.
//! - What is journaled and not written is on disk all the same, so that it may be acknowledged; it stays in memory, as
//!   pending bytes, until a write of the segment has taken it.
//! - A write begins at the last block boundary at or before the written end, so that the file's blocks up to the
//!   written end always hold exactly the log's bytes.

use std::cell::Cell;
use std::collections::VecDeque;
use std::rc::Rc;

use bytes::Bytes;
use ottla::canary::{self, Canary};
use ottla::ids::FilePosition;
use ottla::limits::BLOCK_BYTES;
use ottla::time::Monotonic;

use crate::host::{AppendBuf, WriteSlice};

/// Chunk sizes, in bytes; those that the buffer pool keeps.
const CLASSES: [usize; 5] = [4 << 10, 16 << 10, 64 << 10, 256 << 10, CHUNK_BYTES_MAX];

/// The largest chunk, which is also the largest single write.
pub const CHUNK_BYTES_MAX: usize = 1 << 20;

const BLOCK: u64 = BLOCK_BYTES as u64;

const _: () = assert!(CLASSES[0] == BLOCK_BYTES);

/// The last block boundary at or before `position`: up to here a file's blocks never change again.
#[must_use]
pub fn block_floor(position: FilePosition) -> FilePosition {
    FilePosition(position.0 - position.0 % BLOCK)
}

/// The first block boundary at or after `position`.
#[must_use]
pub fn block_ceil(position: FilePosition) -> FilePosition {
    FilePosition(position.0.next_multiple_of(BLOCK))
}

/// The size of a chunk for `bytes` bytes: one that holds them, unless that wastes more than half of it; then one that
/// they fill, and what is left goes to the next.
fn chunk_class(bytes: usize) -> usize {
    let holds = CLASSES.iter().position(|&class| class >= bytes).unwrap_or(CLASSES.len() - 1);
    if holds > 0 && bytes <= CLASSES[holds] / 2 { CLASSES[holds - 1] } else { CLASSES[holds] }
}

/// Bytes of memory that all tails of a shard hold; chunks add themselves and take themselves off.
pub type MemoryGauge = Rc<Cell<usize>>;

/// A chunk's share of a [`MemoryGauge`].
struct Charge {
    gauge: MemoryGauge,
    bytes: usize,
}

impl Charge {
    fn new(gauge: &MemoryGauge, bytes: usize) -> Charge {
        gauge.set(gauge.get() + bytes);
        Charge { gauge: Rc::clone(gauge), bytes }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.gauge.set(self.gauge.get() - self.bytes);
    }
}

struct Chunk {
    start: FilePosition,
    buf: AppendBuf,
    /// Bytes of the chunk that readers see; less than appended once its last block was carried on.
    readable: usize,
    /// A write has taken the chunk: it takes no more bytes.
    frozen: bool,
    /// When its write ended; zero before.
    written_at: Monotonic,
    _charge: Charge,
}

impl Chunk {
    fn end(&self) -> FilePosition {
        self.start.plus(self.readable as u64)
    }
}

/// One write of pending bytes, as it goes to the file.
#[derive(Debug)]
pub struct FlushWrite {
    /// Where in the file; a multiple of 4,096.
    pub position: FilePosition,
    /// The bytes, of a length that is a multiple of 4,096 and at most [`CHUNK_BYTES_MAX`] in all.
    pub slices: Vec<WriteSlice>,
}

impl FlushWrite {
    /// Bytes that it writes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.slices.iter().map(WriteSlice::len).sum()
    }
}

/// Everything pending at one moment, cut into writes that may be in flight together.
#[derive(Debug)]
pub struct Flush {
    /// The writes, in file order, disjoint and without a gap.
    pub writes: Vec<FlushWrite>,
    /// The end of the last appended byte that they hold.
    pub end: FilePosition,
}

impl Flush {
    /// Where the first write begins.
    #[must_use]
    pub fn position(&self) -> FilePosition {
        self.writes[0].position
    }

    /// Where the last block of the last write ends.
    #[must_use]
    pub fn blocks_end(&self) -> FilePosition {
        block_ceil(self.end)
    }
}

/// The tail of one segment.
pub struct Tail {
    chunks: VecDeque<Chunk>,
    /// Where the segment's bytes end.
    end: FilePosition,
    /// Up to here the bytes are on disk in the segment's file.
    written_end: FilePosition,
    /// The end of the last bytes that were written to the journal.
    journaled_end: FilePosition,
    /// The end of the write in flight.
    in_flight: Option<FilePosition>,
    /// About how much one flush takes lately: what the next chunk is sized by.
    flush_bytes: usize,
    gauge: MemoryGauge,
}

impl Tail {
    /// The tail of a segment that ends at `end`, with nothing in memory.
    #[must_use]
    pub fn new(end: FilePosition, gauge: MemoryGauge) -> Tail {
        let (written_end, journaled_end) = (end, end);
        Tail {
            chunks: VecDeque::new(),
            end,
            written_end,
            journaled_end,
            in_flight: None,
            flush_bytes: 0,
            gauge,
        }
    }

    /// Where the segment's bytes end.
    #[must_use]
    pub fn end(&self) -> FilePosition {
        self.end
    }

    /// Up to here the segment's bytes are on disk in its file.
    #[must_use]
    pub fn written_end(&self) -> FilePosition {
        self.written_end
    }

    /// The first position that is in memory; the end when nothing is.
    #[must_use]
    pub fn start(&self) -> FilePosition {
        self.chunks.front().map_or(self.end, |chunk| chunk.start)
    }

    /// Bytes that are not in the segment's file yet.
    #[must_use]
    pub fn pending_bytes(&self) -> u64 {
        self.end.0 - self.written_end.0
    }

    /// Up to here the segment's bytes are on disk, in its file or in the journal.
    #[must_use]
    pub fn committed_end(&self) -> FilePosition {
        self.written_end.max(self.journaled_end)
    }

    /// Bytes that are nowhere but in memory.
    #[must_use]
    pub fn uncommitted_bytes(&self) -> u64 {
        self.end.0 - self.committed_end().0
    }

    /// Notes that the bytes before `end` are in the journal.
    pub fn journal_done(&mut self, end: FilePosition) {
        assert!(end <= self.end, "what is journaled was appended");
        let bytes =
            usize::try_from(end.0.saturating_sub(self.committed_end().0)).expect("memory is addressable");
        self.flush_bytes = (self.flush_bytes * 3 + bytes) / 4;
        self.journaled_end = self.journaled_end.max(end);
    }

    /// Whether a write is in flight.
    #[must_use]
    pub fn is_flushing(&self) -> bool {
        self.in_flight.is_some()
    }

    /// The range of the file that has to be loaded before anything can be appended: the begun last block, when it
    /// is not in memory any more.
    #[must_use]
    pub fn missing_block(&self) -> Option<std::ops::Range<FilePosition>> {
        let floor = block_floor(self.end);
        (self.chunks.is_empty() && floor < self.end).then_some(floor..self.end)
    }

    /// Puts the bytes of [`missing_block`](Tail::missing_block), read from the file, back in place.
    pub fn load_block(&mut self, bytes: &[u8], now: Monotonic) {
        let missing = self.missing_block().expect("a block is loaded only when it is missing");
        assert_eq!(bytes.len() as u64, missing.end.0 - missing.start.0, "exactly the missing bytes");
        let chunk = self.add_chunk(missing.start, BLOCK_BYTES);
        chunk.buf.append(bytes);
        chunk.readable = bytes.len();
        chunk.frozen = true;
        chunk.written_at = now;
    }

    /// Appends `parts` as one piece. The begun last block must be in memory.
    pub fn append(&mut self, parts: [&[u8]; 2]) {
        assert!(self.missing_block().is_none(), "the begun block is loaded before an append");
        let mut wanted = parts[0].len() + parts[1].len();
        for mut part in parts {
            while !part.is_empty() {
                let chunk = self.writable(wanted);
                let take = part.len().min(chunk.buf.remaining());
                chunk.buf.append(&part[..take]);
                chunk.readable = chunk.buf.len();
                part = &part[take..];
                wanted -= take;
                self.end = self.end.plus(take as u64);
            }
        }
        assert_eq!(wanted, 0, "every byte was placed");
    }

    /// The chunk that takes the next byte; `wanted` more bytes are about to come.
    fn writable(&mut self, wanted: usize) -> &mut Chunk {
        let usable = self.chunks.back().is_some_and(|chunk| !chunk.frozen && chunk.buf.remaining() > 0);
        if !usable {
            self.begin_chunk(wanted);
        }
        self.chunks.back_mut().expect("a chunk was there or was added")
    }

    fn begin_chunk(&mut self, wanted: usize) {
        let start = block_floor(self.end);
        let carried = usize::try_from(self.end.0 - start.0).expect("less than a block");
        let bytes = (carried + wanted).max(self.flush_bytes);
        let mut carry = self.carry(start);
        if carried > 0 && canary::is(Canary::TailBlockNotCarried) {
            carry.fill(0);
        }
        let chunk = self.add_chunk(start, bytes);
        chunk.buf.append(&carry[..carried]);
        chunk.readable = carried;
    }

    /// Takes the begun block from the last chunk, which keeps only what is before it.
    fn carry(&mut self, start: FilePosition) -> Vec<u8> {
        let Some(last) = self.chunks.back_mut() else { return Vec::new() };
        if last.end() <= start {
            return Vec::new();
        }
        let keep = usize::try_from(start.0 - last.start.0).expect("a chunk is small");
        let carry = last.buf.filled()[keep..].to_vec();
        last.readable = keep;
        if keep == 0 {
            self.chunks.pop_back();
        }
        carry
    }

    fn add_chunk(&mut self, start: FilePosition, bytes: usize) -> &mut Chunk {
        let class = chunk_class(bytes);
        let chunk = Chunk {
            start,
            buf: AppendBuf::new(class),
            readable: 0,
            frozen: false,
            written_at: Monotonic::ZERO,
            _charge: Charge::new(&self.gauge, class),
        };
        self.chunks.push_back(chunk);
        self.chunks.back_mut().expect("it was just added")
    }

    /// Takes everything pending for writing; `None` when there is nothing or a write is in flight.
    #[must_use]
    pub fn begin_flush(&mut self) -> Option<Flush> {
        if self.in_flight.is_some() || self.end == self.written_end {
            return None;
        }
        let from = block_floor(self.written_end);
        let mut writes: Vec<FlushWrite> = Vec::new();
        let mut room = 0;
        let first = self.chunks.partition_point(|chunk| chunk.start < from);
        for chunk in self.chunks.range_mut(first..) {
            chunk.frozen = true;
            let bytes = chunk.readable.next_multiple_of(BLOCK_BYTES);
            let slice = chunk.buf.write_slice(0..bytes);
            match writes.last_mut() {
                Some(write) if bytes <= room => write.slices.push(slice),
                Some(_) | None => {
                    writes.push(FlushWrite { position: chunk.start, slices: vec![slice] });
                    room = CHUNK_BYTES_MAX;
                }
            }
            room -= bytes;
        }
        assert_eq!(writes.first().map(|write| write.position), Some(from), "a flush misses no pending byte");
        // What the journal has gathered says nothing about the size of the next commit.
        let new = usize::try_from(self.uncommitted_bytes()).expect("memory is addressable");
        if new > 0 {
            self.flush_bytes = (self.flush_bytes * 3 + new) / 4;
        }
        self.in_flight = Some(self.end);
        Some(Flush { writes, end: self.end })
    }

    /// The write in flight is on disk: its chunks are a read cache from now on.
    pub fn flush_done(&mut self, now: Monotonic) {
        let end = self.in_flight.take().expect("a flush that ends was begun");
        assert!(end > self.written_end, "a flush moves the written end on");
        for chunk in self.chunks.iter_mut().rev() {
            if chunk.written_at != Monotonic::ZERO {
                break;
            }
            if chunk.frozen {
                chunk.written_at = now;
            }
        }
        self.written_end = end;
    }

    /// The write in flight did not take place: what it held is pending again.
    pub fn flush_failed(&mut self) {
        assert!(self.in_flight.take().is_some(), "a flush that ends was begun");
    }

    /// When the oldest chunk that may go was written; `None` when none may go.
    #[must_use]
    pub fn oldest_written(&self) -> Option<Monotonic> {
        let front = self.chunks.front()?;
        let written = front.frozen && front.end() <= self.written_end;
        // The chunk that holds the begun block is the source of the next carry while later bytes are pending.
        written.then_some(front.written_at)
    }

    /// Drops the oldest chunk, which [`oldest_written`](Tail::oldest_written) has named.
    pub fn evict_oldest(&mut self) {
        assert!(self.oldest_written().is_some(), "only written chunks leave memory");
        self.chunks.pop_front();
    }

    /// The bytes from `from` up to `to`, shared without a copy; `None` when they are not all in memory.
    #[must_use]
    pub fn bytes(&self, from: FilePosition, to: FilePosition) -> Option<Vec<Bytes>> {
        assert!(from <= to, "a range does not run backwards");
        assert!(to <= self.end, "a range ends inside the log");
        if from < self.start() {
            return None;
        }
        let first = self.chunks.partition_point(|chunk| chunk.end() <= from);
        let mut pieces = Vec::new();
        for chunk in self.chunks.range(first..).take_while(|chunk| chunk.start < to) {
            let begin = from.0.saturating_sub(chunk.start.0);
            let end = (to.0 - chunk.start.0).min(chunk.readable as u64);
            let range = usize::try_from(begin).expect("small")..usize::try_from(end).expect("small");
            pieces.push(chunk.buf.bytes(range));
        }
        Some(pieces)
    }

    /// Copies bytes from `from` on into `into`; returns how many were there, `None` when `from` is not in memory.
    pub fn peek(&self, from: FilePosition, into: &mut [u8]) -> Option<usize> {
        if from < self.start() || from > self.end {
            return None;
        }
        let first = self.chunks.partition_point(|chunk| chunk.end() <= from);
        let mut copied = 0;
        for chunk in self.chunks.range(first..) {
            let at = from.plus(copied as u64);
            let begin = usize::try_from(at.0 - chunk.start.0).expect("a chunk is small");
            let source = &chunk.buf.filled()[begin..chunk.readable];
            let take = source.len().min(into.len() - copied);
            into[copied..copied + take].copy_from_slice(&source[..take]);
            copied += take;
            if copied == into.len() {
                break;
            }
        }
        Some(copied)
    }
}

impl std::fmt::Debug for Tail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (start, written, end) = (self.start(), self.written_end, self.end);
        write!(f, "Tail({} chunks from {start}, written to {written}, end {end})", self.chunks.len())
    }
}

#[cfg(test)]
mod tests;
