//! Whether valid batches follow where a segment's valid prefix ends: the difference between a torn write and damage.
//!
//! Owned by the partition's owner shard at a start. A crash may leave the last write half done, and its batches were
//! never acknowledged: the log ends there. But where a whole later batch stands behind bytes that are none, and those
//! bytes are not what a half-done write leaves, acknowledged records are damaged: they are lost, with the place and
//! the offsets reported, and the log goes on with the later batch.
//!
//! [`DamageSearch`] is fed with the bytes from the end of the prefix on, in pieces of any size. It tries each byte
//! as the start of a header, which nearly all fail at once, and runs the CRC of the few that could be one; it holds
//! at most [`CANDIDATES_MAX`] running CRCs. Records may themselves hold bytes that look like batches: nothing is
//! looked for within a batch whose header is whole and whose CRC is wrong.
//!
//! What a half-done write leaves: a disk writes sectors, whole, and a segment's bytes that were never written are
//! zeros. So at least one sector of a torn batch holds nothing but zeros, as far as it lies in the batch. A batch
//! of which every sector was written and that is none was damaged later.

use std::ops::Range;

use super::recovery::PrefixEnd;
use crate::ids::{FilePosition, Offset};
use crate::limits::BATCH_HEADER_BYTES;
use crate::protocol::records::BatchHeader;

/// Headers whose CRCs are computed at the same time; any more at once are passed over, and the report says so.
pub const CANDIDATES_MAX: usize = 8;

const CRC_FROM: usize = 21;

/// What a disk writes whole.
const SECTOR_BYTES: u64 = 512;

/// Zeros at the start of a batch that say nothing: the upper half of its base offset.
const ZEROS_THAT_TELL: u64 = 8;

/// A batch behind the end of the valid prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaterBatch {
    /// Its first byte in the segment.
    pub position: FilePosition,
    /// Its first offset.
    pub base_offset: Offset,
}

/// What a start found out about records that may be lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The segment that is damaged.
    pub segment_base: Offset,
    /// Where its valid prefix ends. Keep a copy of what follows before it is cut off.
    pub from: FilePosition,
    /// The first offset that is lost.
    pub next_offset: Offset,
    /// What stands there.
    pub end: PrefixEnd,
    /// The first valid batch behind it in its segment, if any was found.
    pub resumes: Option<LaterBatch>,
    /// The offset with which the log goes on; `None` where it ends.
    pub resumes_at: Option<Offset>,
    /// Whether every place behind it was looked at, as far as the search went.
    pub searched_all: bool,
    /// Later segments that are lost with it: they hold no batch.
    pub dropped_segments: Vec<Offset>,
    /// The lost records were on disk before the crash for certain: the recovery point is behind `next_offset`.
    pub certain: bool,
}

/// A header whose CRC is being computed.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    later: LaterBatch,
    claimed: u32,
    crc: u32,
    /// The first byte of the segment that the CRC has not seen.
    next: u64,
    end: u64,
}

/// Looks for the first sector that is nothing but zeros.
#[derive(Clone, Debug)]
struct ZeroSectors {
    /// The byte behind the last one seen.
    at: u64,
    /// Bytes seen of the sector of `at`, while all are zeros.
    zeros: Option<u64>,
    /// The zeros of the first such sector, as far as they were seen.
    first: Option<Range<u64>>,
}

impl ZeroSectors {
    fn new(at: u64) -> ZeroSectors {
        ZeroSectors { at, zeros: Some(0), first: None }
    }

    fn feed(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && self.first.is_none() {
            let left = SECTOR_BYTES - self.at % SECTOR_BYTES;
            let piece = bytes.len().min(usize::try_from(left).expect("a sector is short"));
            let (now, rest) = bytes.split_at(piece);
            let is_zero = now.iter().all(|&byte| byte == 0);
            self.zeros = self.zeros.filter(|_| is_zero).map(|zeros| zeros + piece as u64);
            self.at += piece as u64;
            bytes = rest;
            if self.at.is_multiple_of(SECTOR_BYTES) {
                let telling = self.zeros.filter(|&zeros| zeros >= ZEROS_THAT_TELL);
                self.first = telling.map(|zeros| self.at - zeros..self.at);
                self.zeros = Some(0);
            }
        }
    }
}

/// The search behind the valid prefix of one segment.
#[derive(Clone, Debug)]
pub struct DamageSearch {
    zero_sectors: ZeroSectors,
    /// No header is looked for before this.
    search_from: u64,
    next_offset: Offset,
    segment_base: Offset,
    file_bytes: u64,
    /// No header is looked for from here on.
    search_end: u64,
    /// The position of the first byte in `carried`, which holds less than a header.
    at: u64,
    carried: Vec<u8>,
    candidates: Vec<Candidate>,
    passed_over: bool,
    found: Option<LaterBatch>,
}

impl DamageSearch {
    /// A search that begins at `from`, the end of the valid prefix, for a batch of `next_offset` or later within
    /// `search_bytes`.
    #[must_use]
    pub fn new(
        segment_base: Offset,
        next_offset: Offset,
        from: FilePosition,
        file_bytes: u64,
        search_bytes: u64,
    ) -> DamageSearch {
        assert!(from.0 <= file_bytes, "the valid prefix is part of the file");
        DamageSearch {
            zero_sectors: ZeroSectors::new(from.0),
            search_from: from.0,
            next_offset,
            segment_base,
            file_bytes,
            search_end: file_bytes.min(from.0.saturating_add(search_bytes)),
            at: from.0,
            carried: Vec::with_capacity(BATCH_HEADER_BYTES),
            candidates: Vec::new(),
            passed_over: false,
            found: None,
        }
    }

    /// Looks for nothing within the next `bytes` bytes, which are a batch with a whole header.
    #[must_use]
    pub fn behind(mut self, bytes: u64) -> DamageSearch {
        self.search_from += bytes;
        self.search_end = self.file_bytes.min(self.search_end.saturating_add(bytes));
        self
    }

    /// Goes on with the bytes that follow those fed before; returns whether it wants more.
    pub fn feed(&mut self, bytes: &[u8]) -> bool {
        if !self.wants_more() {
            return false;
        }
        self.zero_sectors.feed(bytes);
        let window_at = self.at;
        let mut window = std::mem::take(&mut self.carried);
        let seen = window.len();
        window.extend_from_slice(bytes);
        self.advance(window_at + seen as u64, bytes);
        let headers = (window.len() + 1).saturating_sub(BATCH_HEADER_BYTES);
        for start in 0..headers {
            let at = window_at + start as u64;
            if self.found.is_some() || at >= self.search_end {
                break;
            }
            if at >= self.search_from
                && could_be_header(&window[start..], self.next_offset, self.segment_base)
            {
                self.try_header(&window[start..], at);
            }
        }
        window.drain(..headers);
        self.at = window_at + headers as u64;
        self.carried = window;
        self.wants_more()
    }

    /// Whether there is anything left to look at.
    #[must_use]
    pub fn wants_more(&self) -> bool {
        let fed = self.at + self.carried.len() as u64;
        let header_fits = self.at < self.search_end && self.at + BATCH_HEADER_BYTES as u64 <= self.file_bytes;
        self.found.is_none() && fed < self.file_bytes && (header_fits || !self.candidates.is_empty())
    }

    /// The first valid batch that was found, and whether every place was looked at.
    #[must_use]
    pub fn outcome(&self) -> (Option<LaterBatch>, bool) {
        (self.found, !self.passed_over)
    }

    /// Whether what stands before the batch that was found could be the half of a write. True where none was found.
    #[must_use]
    pub fn looks_torn(&self) -> bool {
        let Some(found) = self.found else { return true };
        // The first bytes of the batch that was found may be zeros of that sector, too.
        let zeros_before = |zeros: &Range<u64>| zeros.end.min(found.position.0).saturating_sub(zeros.start);
        self.zero_sectors.first.as_ref().is_some_and(|zeros| zeros_before(zeros) >= ZEROS_THAT_TELL)
    }

    /// Feeds the running CRCs with the bytes at `from`.
    fn advance(&mut self, from: u64, bytes: &[u8]) {
        let mut running = std::mem::take(&mut self.candidates);
        running.retain_mut(|candidate| !self.finish(candidate, from, bytes));
        self.candidates = running;
    }

    /// Runs one CRC on; returns whether the candidate is done with.
    fn finish(&mut self, candidate: &mut Candidate, from: u64, bytes: &[u8]) -> bool {
        assert!(candidate.next >= from, "bytes are fed in order");
        let skip = usize::try_from(candidate.next - from).expect("a place in a window");
        let left = usize::try_from(candidate.end - candidate.next).expect("a batch is shorter than 2^31");
        let rest = bytes.get(skip..).unwrap_or(&[]);
        let used = rest.len().min(left);
        candidate.crc = crc32c::crc32c_append(candidate.crc, &rest[..used]);
        candidate.next += used as u64;
        if candidate.next < candidate.end {
            return false;
        }
        if candidate.crc == candidate.claimed && self.found.is_none() {
            self.found = Some(candidate.later);
        }
        true
    }

    fn try_header(&mut self, window: &[u8], at: u64) {
        let Ok(header) = BatchHeader::parse(window) else {
            return;
        };
        let end = at + header.batch_bytes as u64;
        if !is_plausible(&header) || end > self.file_bytes {
            return;
        }
        if self.candidates.len() == CANDIDATES_MAX {
            self.passed_over = true;
            return;
        }
        let mut candidate = Candidate {
            later: LaterBatch { position: FilePosition(at), base_offset: header.base_offset },
            claimed: header.crc,
            crc: 0,
            next: at + CRC_FROM as u64,
            end,
        };
        if !self.finish(&mut candidate, at, window) {
            self.candidates.push(candidate);
        }
    }
}

/// The test that nearly every byte fails: magic 2 and an offset that this segment may hold.
fn could_be_header(bytes: &[u8], next_offset: Offset, segment_base: Offset) -> bool {
    if bytes[16] != 2 {
        return false;
    }
    let Some(offset) = bytes.first_chunk::<8>() else {
        return false;
    };
    let offset = i64::from_be_bytes(*offset);
    offset >= next_offset.0 && offset - segment_base.0 <= i64::from(i32::MAX)
}

/// What every batch that a broker wrote has in its header.
fn is_plausible(header: &BatchHeader) -> bool {
    let attributes_known = header.attributes.0 & !0x7f == 0;
    let counts = header.last_offset_delta >= 0
        && header.record_count >= 0
        && i64::from(header.record_count) <= i64::from(header.last_offset_delta) + 1;
    attributes_known
        && header.attributes.compression().is_some()
        && counts
        && header.partition_leader_epoch.0 >= -1
        && header.producer_id.0 >= -1
}

#[cfg(test)]
mod tests;
