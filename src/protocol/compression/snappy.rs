//! Snappy in the framing of xerial's snappy-java, which every Kafka client writes for batches.
//!
//! A stream is a header of 16 bytes (magic, version, lowest compatible version) and blocks of a 4-byte big-endian
//! length and one raw snappy block each; headers may stand between blocks where streams were put end to end. Bytes
//! that do not begin with the magic are one raw snappy block, which snappy-java's decoder takes as well.

use super::decompress::within;
use super::{Codec, CompressionError};

const HEADER: [u8; 16] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0, 0, 0, 0, 1, 0, 0, 0, 1];
const MAGIC_BYTES: usize = 8;
/// The bytes of input per block that snappy-java takes by default.
const BLOCK_BYTES: usize = 32 * 1024;
/// No element of a raw block yields more than 64 bytes from 3, so a claim beyond this many times is a lie.
const EXPANSION_MAX: usize = 22;

/// The framed form of `input`.
pub(super) fn compress(input: &[u8]) -> Vec<u8> {
    let mut output = Vec::with_capacity(HEADER.len() + input.len() / 2);
    output.extend_from_slice(&HEADER);
    let mut encoder = snap::raw::Encoder::new();
    let mut block = vec![0; snap::raw::max_compress_len(input.len().min(BLOCK_BYTES))];
    for chunk in input.chunks(BLOCK_BYTES) {
        let bytes = encoder.compress(chunk, &mut block).expect("the block is as long as its bound");
        let length = u32::try_from(bytes).expect("a block of 32 KiB has a short length");
        output.extend_from_slice(&length.to_be_bytes());
        output.extend_from_slice(&block[..bytes]);
    }
    output
}

/// Appends the content of `input`, framed or raw.
pub(super) fn decompress(
    mut input: &[u8],
    limit: usize,
    output: &mut Vec<u8>,
) -> Result<(), CompressionError> {
    if !input.starts_with(&HEADER[..MAGIC_BYTES]) {
        return block(input, limit, output);
    }
    while !input.is_empty() {
        if input.starts_with(&HEADER[..MAGIC_BYTES]) {
            input = input.get(HEADER.len()..).ok_or_else(cut_short)?;
            continue;
        }
        let (length, rest) = input.split_first_chunk::<4>().ok_or_else(cut_short)?;
        let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| cut_short())?;
        let (this, rest) = rest.split_at_checked(length).ok_or_else(cut_short)?;
        block(this, limit, output)?;
        input = rest;
    }
    Ok(())
}

/// Appends the content of one raw block, whose claim of its length is believed only within what is possible.
fn block(input: &[u8], limit: usize, output: &mut Vec<u8>) -> Result<(), CompressionError> {
    let corrupt = |error| CompressionError::corrupt(Codec::Snappy, error);
    let claimed = snap::raw::decompress_len(input).map_err(corrupt)?;
    if claimed > input.len().saturating_mul(EXPANSION_MAX) {
        return Err(CompressionError::corrupt(Codec::Snappy, "a length that no such block can have"));
    }
    let start = output.len();
    within(limit, start.saturating_add(claimed))?;
    output.resize(start + claimed, 0);
    let bytes = snap::raw::Decoder::new().decompress(input, &mut output[start..]).map_err(corrupt)?;
    output.truncate(start + bytes);
    Ok(())
}

fn cut_short() -> CompressionError {
    CompressionError::corrupt(Codec::Snappy, "the stream ends within a block")
}
