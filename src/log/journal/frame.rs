//! The bytes of a journal: its header, its frames and their entries, all numbers little-endian.
//!
//! The header stands in the first block and again in the second:
//!
//! | at | bytes | field |
//! |---|---|---|
//! | 0 | 8 | `ottla\0jh` |
//! | 8 | 4 | version, 1 |
//! | 12 | 4 | CRC-32C of byte 16 to 32 |
//! | 16 | 8 | epoch |
//! | 24 | 8 | bytes of the file |
//!
//! A frame begins on a block and is padded with zeros to whole blocks:
//!
//! | at | bytes | field |
//! |---|---|---|
//! | 0 | 8 | `ottla\0jf` |
//! | 8 | 4 | version, 1 |
//! | 12 | 4 | CRC-32C of byte 16 to the end of the entries |
//! | 16 | 8 | epoch |
//! | 24 | 8 | sequence |
//! | 32 | 8 | sequence of the oldest frame that is needed |
//! | 40 | 8 | position of the frame in the file |
//! | 48 | 4 | bytes of the entries |
//! | 52 | 4 | number of entries |
//! | 56 | 8 | zero |
//!
//! An entry: topic id (16), partition (4), base offset of the segment (8), position in the segment's file (8), bytes
//! (4), bytes of the topic's name (2), zero (2), the name, the bytes.
//!
//! What must hold: nothing of a file is believed but frames whose every byte is as it was written, in the place where
//! it was written, in this life of the file; reading never goes by a length that was not checked against what is there.

use thiserror::Error;

use crate::ids::{FilePosition, Offset, TopicIdPartition, Uuid};
use crate::limits::{BLOCK_BYTES, JOURNAL_FRAME_BYTES_MAX, TOPIC_NAME_BYTES_MAX};

/// Where the ring begins in the file: behind the two copies of the header.
pub const RING_START: u64 = 2 * BLOCK_BYTES as u64;

/// Bytes of a frame's header.
pub const FRAME_HEADER_BYTES: usize = 64;

/// Bytes of an entry beside the topic's name and the segment's bytes.
pub const ENTRY_HEADER_BYTES: usize = 44;

const HEADER_BYTES: usize = 32;
const VERSION: u32 = 1;
const FILE_MAGIC: &[u8; 8] = b"ottla\0jh";
const FRAME_MAGIC: &[u8; 8] = b"ottla\0jf";
const CRC_FROM: usize = 16;

/// The header of a journal file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JournalHeader {
    /// A random number, drawn when the file was made.
    pub epoch: u64,
    /// Bytes of the whole file.
    pub file_bytes: u64,
}

/// Why nothing of a journal is believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum JournalError {
    /// The file was never finished: behind where its headers would be there are zeros, or nothing.
    #[error("it was never finished")]
    Unfinished,
    /// Neither header can be read, though something was written behind them.
    #[error("both of its headers are damaged")]
    Damaged,
}

/// What a frame says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameStamp {
    /// That of the file's header.
    pub epoch: u64,
    /// Frames are numbered from 1 on.
    pub sequence: u64,
    /// The oldest frame that was needed when this one was written; at most its own sequence.
    pub oldest: u64,
    /// Where the frame begins in the file.
    pub position: u64,
}

/// The place of an entry's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryHead<'a> {
    /// Topic id and partition.
    pub id: TopicIdPartition,
    /// The topic's name, which names the directory.
    pub topic: &'a str,
    /// The segment.
    pub segment_base: Offset,
    /// Where the bytes begin in the segment's file; a batch begins there.
    pub position: FilePosition,
}

/// A piece of a segment: whole batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Its place.
    pub head: EntryHead<'a>,
    /// Its bytes.
    pub bytes: &'a [u8],
}

impl JournalHeader {
    /// The header as it stands at the start of each of the first two blocks.
    #[must_use]
    pub fn encode(self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..8].copy_from_slice(FILE_MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.epoch.to_le_bytes());
        bytes[24..].copy_from_slice(&self.file_bytes.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[CRC_FROM..]);
        bytes[12..16].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<JournalHeader> {
        let bytes = bytes.get(..HEADER_BYTES)?;
        let valid = bytes[..8] == *FILE_MAGIC
            && u32_at(bytes, 8)? == VERSION
            && u32_at(bytes, 12)? == crc32c::crc32c(&bytes[CRC_FROM..]);
        if !valid {
            return None;
        }
        Some(JournalHeader { epoch: u64_at(bytes, 16)?, file_bytes: u64_at(bytes, 24)? })
    }
}

/// Bytes that an entry takes in a frame.
#[must_use]
pub fn entry_bytes(topic: &str, bytes: usize) -> usize {
    ENTRY_HEADER_BYTES + topic.len() + bytes
}

/// Writes a frame into a buffer of whole blocks.
pub struct FrameWriter<'a> {
    into: &'a mut [u8],
    at: usize,
    entries: u32,
}

impl<'a> FrameWriter<'a> {
    /// A frame without entries.
    #[must_use]
    pub fn new(into: &'a mut [u8]) -> FrameWriter<'a> {
        assert!(into.len().is_multiple_of(BLOCK_BYTES), "a frame is made of whole blocks");
        assert!(!into.is_empty(), "a frame has a header");
        assert!(into.len() <= JOURNAL_FRAME_BYTES_MAX, "a frame is of a size that is read again");
        FrameWriter { into, at: FRAME_HEADER_BYTES, entries: 0 }
    }

    /// Adds an entry of `bytes` bytes, which `fill` writes. It must fit.
    pub fn entry(&mut self, head: &EntryHead<'_>, bytes: usize, fill: impl FnOnce(&mut [u8])) {
        assert!(head.topic.len() <= TOPIC_NAME_BYTES_MAX, "topic names are short");
        let length = u32::try_from(bytes).expect("an entry fits a frame");
        let name_length = u16::try_from(head.topic.len()).expect("topic names are short");
        let end = self.at + entry_bytes(head.topic, bytes);
        assert!(end <= self.into.len(), "an entry fits what is left of the frame");
        let (fixed, rest) = self.into[self.at..end].split_at_mut(ENTRY_HEADER_BYTES);
        fixed[..16].copy_from_slice(&head.id.topic_id.0);
        fixed[16..20].copy_from_slice(&head.id.partition.to_le_bytes());
        fixed[20..28].copy_from_slice(&head.segment_base.0.to_le_bytes());
        fixed[28..36].copy_from_slice(&head.position.0.to_le_bytes());
        fixed[36..40].copy_from_slice(&length.to_le_bytes());
        fixed[40..42].copy_from_slice(&name_length.to_le_bytes());
        fixed[42..].fill(0);
        let (name, segment) = rest.split_at_mut(head.topic.len());
        name.copy_from_slice(head.topic.as_bytes());
        fill(segment);
        self.at = end;
        self.entries += 1;
    }

    /// Stamps and seals the frame; what is left of the buffer becomes zero.
    pub fn finish(self, stamp: FrameStamp) {
        assert!(self.entries > 0, "an empty frame is not written");
        assert!(stamp.oldest <= stamp.sequence, "a frame is needed when it is written");
        assert!(stamp.position >= RING_START, "the headers are not overwritten");
        let into = self.into;
        into[..8].copy_from_slice(FRAME_MAGIC);
        into[8..12].copy_from_slice(&VERSION.to_le_bytes());
        into[16..24].copy_from_slice(&stamp.epoch.to_le_bytes());
        into[24..32].copy_from_slice(&stamp.sequence.to_le_bytes());
        into[32..40].copy_from_slice(&stamp.oldest.to_le_bytes());
        into[40..48].copy_from_slice(&stamp.position.to_le_bytes());
        let payload = u32::try_from(self.at - FRAME_HEADER_BYTES).expect("a frame is small");
        into[48..52].copy_from_slice(&payload.to_le_bytes());
        into[52..56].copy_from_slice(&self.entries.to_le_bytes());
        into[56..64].fill(0);
        into[self.at..].fill(0);
        let crc = crc32c::crc32c(&into[CRC_FROM..self.at]);
        into[12..16].copy_from_slice(&crc.to_le_bytes());
    }
}

/// A frame that is believed.
#[derive(Clone, Copy, Debug)]
struct Frame<'a> {
    stamp: FrameStamp,
    entries: u32,
    payload: &'a [u8],
}

impl<'a> Frame<'a> {
    /// The frame that begins with `bytes`, at `position` of a file of this epoch.
    fn decode(bytes: &'a [u8], epoch: u64, position: u64) -> Option<Frame<'a>> {
        let header = bytes.get(..FRAME_HEADER_BYTES)?;
        let stamp = FrameStamp {
            epoch: u64_at(header, 16)?,
            sequence: u64_at(header, 24)?,
            oldest: u64_at(header, 32)?,
            position: u64_at(header, 40)?,
        };
        let is_ours = header[..8] == *FRAME_MAGIC
            && u32_at(header, 8)? == VERSION
            && stamp.epoch == epoch
            && stamp.position == position;
        let length = usize::try_from(u32_at(header, 48)?).ok()?;
        if !is_ours || length > JOURNAL_FRAME_BYTES_MAX {
            return None;
        }
        let whole = bytes.get(..FRAME_HEADER_BYTES + length)?;
        if crc32c::crc32c(&whole[CRC_FROM..]) != u32_at(header, 12)? {
            return None;
        }
        Some(Frame { stamp, entries: u32_at(header, 52)?, payload: &whole[FRAME_HEADER_BYTES..] })
    }

    fn blocks(&self) -> usize {
        (FRAME_HEADER_BYTES + self.payload.len()).div_ceil(BLOCK_BYTES)
    }

    /// The entries; `None` where their lengths contradict each other, which a right checksum rules out.
    fn entries(&self) -> Option<Vec<Entry<'a>>> {
        let mut rest = self.payload;
        let mut entries = Vec::new();
        for _ in 0..self.entries {
            let (entry, behind) = decode_entry(rest)?;
            entries.push(entry);
            rest = behind;
        }
        rest.is_empty().then_some(entries)
    }
}

fn decode_entry(bytes: &[u8]) -> Option<(Entry<'_>, &[u8])> {
    let (fixed, rest) = bytes.split_at_checked(ENTRY_HEADER_BYTES)?;
    let length = usize::try_from(u32_at(fixed, 36)?).ok()?;
    let name_length = usize::from(u16::from_le_bytes([fixed[40], fixed[41]]));
    if name_length > TOPIC_NAME_BYTES_MAX {
        return None;
    }
    let (name, rest) = rest.split_at_checked(name_length)?;
    let (segment, behind) = rest.split_at_checked(length)?;
    let head = EntryHead {
        id: TopicIdPartition {
            topic_id: Uuid(*fixed.first_chunk()?),
            partition: i32::from_le_bytes(*fixed[16..].first_chunk()?),
        },
        topic: std::str::from_utf8(name).ok()?,
        segment_base: Offset(i64::from_le_bytes(*fixed[20..].first_chunk()?)),
        position: FilePosition(u64_at(fixed, 28)?),
    };
    Some((Entry { head, bytes: segment }, behind))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// What a journal file holds that may be needed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contents<'a> {
    /// The entries of the needed frames, in the order in which they were written.
    pub entries: Vec<Entry<'a>>,
    /// Frames from the oldest needed one to the newest.
    pub frames: usize,
    /// Numbers missing among them. A torn newest frame may have been written over some that were not needed any more;
    /// any other reason is damage, which the load of the segments finds out.
    pub missing: u64,
}

/// Reads a whole journal file.
///
/// # Errors
/// When it has no header that can be read.
pub fn read(file: &[u8]) -> Result<Contents<'_>, JournalError> {
    let headers = file.chunks(BLOCK_BYTES).take(2);
    let Some(header) = headers.filter_map(JournalHeader::decode).next() else {
        let ring = file.get(RING_START as usize..).unwrap_or_default();
        let is_blank = ring.iter().all(|&byte| byte == 0);
        return Err(if is_blank { JournalError::Unfinished } else { JournalError::Damaged });
    };
    let mut frames = Vec::new();
    let mut at = usize::try_from(RING_START).expect("two blocks");
    while at < file.len() {
        let frame = Frame::decode(&file[at..], header.epoch, at as u64);
        at += BLOCK_BYTES * frame.as_ref().map_or(1, Frame::blocks);
        frames.extend(frame);
    }
    frames.sort_by_key(|frame| frame.stamp.sequence);
    let Some(newest) = frames.last().map(|frame| frame.stamp) else { return Ok(Contents::default()) };
    frames.retain(|frame| frame.stamp.sequence >= newest.oldest);
    let wanted = newest.sequence - newest.oldest.min(newest.sequence) + 1;
    let entries = frames.iter().filter_map(Frame::entries).flatten().collect();
    Ok(Contents { entries, frames: frames.len(), missing: wanted.saturating_sub(frames.len() as u64) })
}

#[cfg(test)]
mod tests;
