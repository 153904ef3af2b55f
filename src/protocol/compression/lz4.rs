//! The LZ4 frame format as Kafka uses it: independent blocks of 64 KiB, and a frame that ends with its mark.
//!
//! Java's decoder reads independent blocks alone and one frame alone, so anything else is refused here too: what it
//! cannot read must not reach a log.

use std::io::Write;

use lz4_flex::frame::{BlockMode, BlockSize, FrameDecoder, FrameEncoder, FrameInfo};

use super::decompress::read_all;
use super::{Codec, CompressionError};

const MAGIC: u32 = 0x184d_2204;
/// Bits of the frame descriptor's flags.
const INDEPENDENT_BLOCKS: u8 = 0x20;
const BLOCK_CHECKSUMS: u8 = 0x10;
const CONTENT_SIZE: u8 = 0x08;
const CONTENT_CHECKSUM: u8 = 0x04;
const DICTIONARY: u8 = 0x01;
/// The bit of a block's length that marks it as stored without compression.
const STORED: u32 = 0x8000_0000;

/// One frame of independent 64 KiB blocks without checksums, as Kafka's `Lz4BlockOutputStream` writes it.
pub(super) fn compress(input: &[u8]) -> Vec<u8> {
    let info = FrameInfo::new()
        .block_mode(BlockMode::Independent)
        .block_size(BlockSize::Max64KB)
        .block_checksums(false)
        .content_checksum(false);
    let mut encoder = FrameEncoder::with_frame_info(info, Vec::with_capacity(input.len() / 2));
    encoder.write_all(input).expect("a write to memory does not fail");
    encoder.finish().expect("a write to memory does not fail")
}

/// Appends the content of the one frame that `input` must be.
pub(super) fn decompress(input: &[u8], limit: usize, output: &mut Vec<u8>) -> Result<(), CompressionError> {
    match frame_bytes(input) {
        Some(bytes) if bytes == input.len() => {}
        Some(_) => return Err(CompressionError::corrupt(Codec::Lz4, "bytes behind the end of the frame")),
        None => return Err(CompressionError::corrupt(Codec::Lz4, "not a whole frame of independent blocks")),
    }
    let mut decoder = FrameDecoder::new(input);
    read_all(Codec::Lz4, &mut decoder, limit, output)?;
    if decoder.get_ref().is_empty() {
        Ok(())
    } else {
        Err(CompressionError::corrupt(Codec::Lz4, "an empty block"))
    }
}

/// The bytes from the magic to the end mark and its checksum; `None` unless all of them are there.
fn frame_bytes(input: &[u8]) -> Option<usize> {
    if u32_at(input, 0)? != MAGIC {
        return None;
    }
    let flags = *input.get(4)?;
    if flags & INDEPENDENT_BLOCKS == 0 || flags & DICTIONARY != 0 {
        return None;
    }
    let checksum_if = |bit: u8| if flags & bit == 0 { 0 } else { 4 };
    let mut at = if flags & CONTENT_SIZE == 0 { 7 } else { 15 };
    loop {
        let block = u32_at(input, at)?;
        at += 4;
        if block == 0 {
            at += checksum_if(CONTENT_CHECKSUM);
            return (at <= input.len()).then_some(at);
        }
        at = at.checked_add(usize::try_from(block & !STORED).ok()?)?;
        at = at.checked_add(checksum_if(BLOCK_CHECKSUMS))?;
    }
}

fn u32_at(input: &[u8], at: usize) -> Option<u32> {
    let bytes = input.get(at..)?.first_chunk::<4>()?;
    Some(u32::from_le_bytes(*bytes))
}
