//! Decompression with an output limit that holds while it runs.
//!
//! A [`Decompressor`] is owned by one shard and reused batch after batch; told to [rest](Decompressor::rest), and
//! at the next batch, it keeps no more than [`KEPT_BYTES_MAX`], so that one large batch does not pin its memory for
//! good.

use std::io::Read;

use zstd::zstd_safe;

use super::{Codec, CompressionError, lz4, snappy};

/// Memory that a [`Decompressor`] keeps between two batches, in bytes.
pub const KEPT_BYTES_MAX: usize = 1024 * 1024;

/// The largest window that Kafka's own clients decompress, as a power of two (the default of zstd's streams).
const ZSTD_WINDOW_LOG_MAX: u32 = 27;

/// The buffers of decompression, to be used for one batch after the other.
#[derive(Default)]
pub struct Decompressor {
    output: Vec<u8>,
    produced: usize,
    zstd: Option<zstd_safe::DCtx<'static>>,
}

impl std::fmt::Debug for Decompressor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decompressor").field("kept_bytes", &self.output.capacity()).finish_non_exhaustive()
    }
}

impl Decompressor {
    /// A decompressor without any memory of its own yet.
    #[must_use]
    pub fn new() -> Decompressor {
        Decompressor::default()
    }

    /// Bytes that the output buffer takes at the moment.
    #[must_use]
    pub fn kept_bytes(&self) -> usize {
        self.output.capacity()
    }

    /// Bytes that came out since this was last asked, also of what turned out bad.
    pub fn take_produced(&mut self) -> usize {
        std::mem::take(&mut self.produced)
    }

    /// Gives back the memory of a large batch.
    pub fn rest(&mut self) {
        self.output.clear();
        self.output.shrink_to(KEPT_BYTES_MAX);
    }

    /// The decompressed form of `input`, at most `limit` bytes long.
    ///
    /// # Errors
    /// [`CompressionError`]: `TooLarge` as soon as the output passes the limit, `Corrupt` for anything that Java's
    /// and librdkafka's decoders could not read either.
    pub fn decompress(
        &mut self,
        codec: Codec,
        input: &[u8],
        limit: usize,
    ) -> Result<&[u8], CompressionError> {
        self.rest();
        let outcome = self.decompress_into(codec, input, limit);
        // zstd leaves nothing of what did not fit, which was made nevertheless.
        self.produced += match &outcome {
            Err(CompressionError::TooLarge { .. }) => self.output.capacity(),
            Ok(()) | Err(_) => self.output.len(),
        };
        outcome?;
        assert!(self.output.len() <= limit, "every codec keeps to the limit");
        Ok(&self.output)
    }

    fn decompress_into(&mut self, codec: Codec, input: &[u8], limit: usize) -> Result<(), CompressionError> {
        match codec {
            Codec::None => {
                within(limit, input.len())?;
                self.output.extend_from_slice(input);
                Ok(())
            }
            Codec::Gzip => gzip(input, limit, &mut self.output),
            Codec::Snappy => snappy::decompress(input, limit, &mut self.output),
            Codec::Lz4 => lz4::decompress(input, limit, &mut self.output),
            Codec::Zstd => {
                let context = self.zstd.get_or_insert_with(zstd_safe::DCtx::create);
                zstd(context, input, limit, &mut self.output)
            }
        }
    }
}

/// The decompressed form of `input` in a buffer of its own; see [`Decompressor::decompress`].
///
/// # Errors
/// Those of [`Decompressor::decompress`].
pub fn decompress(codec: Codec, input: &[u8], limit: usize) -> Result<Vec<u8>, CompressionError> {
    let mut decompressor = Decompressor::new();
    decompressor.decompress(codec, input, limit)?;
    Ok(decompressor.output)
}

/// Refuses a length beyond the limit.
pub(super) fn within(limit: usize, bytes: usize) -> Result<(), CompressionError> {
    if bytes > limit { Err(CompressionError::TooLarge { limit }) } else { Ok(()) }
}

/// Reads a decoder to its end into `output`, and not a byte beyond the one that passes the limit.
pub(super) fn read_all(
    codec: Codec,
    decoder: impl Read,
    limit: usize,
    output: &mut Vec<u8>,
) -> Result<(), CompressionError> {
    let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    decoder.take(most).read_to_end(output).map_err(|error| CompressionError::corrupt(codec, error))?;
    within(limit, output.len())
}

fn gzip(input: &[u8], limit: usize, output: &mut Vec<u8>) -> Result<(), CompressionError> {
    read_all(Codec::Gzip, flate2::bufread::MultiGzDecoder::new(input), limit, output)
}

/// Decompresses in one call into a buffer that grows until the output fits, which needs no window beside it.
fn zstd(
    context: &mut zstd_safe::DCtx<'static>,
    input: &[u8],
    limit: usize,
    output: &mut Vec<u8>,
) -> Result<(), CompressionError> {
    if let Ok(Some(claimed)) = zstd_safe::get_frame_content_size(input) {
        within(limit, usize::try_from(claimed).unwrap_or(usize::MAX))?;
    }
    check_zstd_windows(input)?;
    let mut capacity = input.len().saturating_mul(8).max(KEPT_BYTES_MAX / 16).min(limit);
    loop {
        output.reserve_exact(capacity);
        match context.decompress(output, input) {
            // The buffer may be a longer one of an earlier batch.
            Ok(_) => return within(limit, output.len()),
            Err(code) if code != too_small() => {
                return Err(CompressionError::corrupt(Codec::Zstd, zstd_safe::get_error_name(code)));
            }
            Err(_) if output.capacity() >= limit => return Err(CompressionError::TooLarge { limit }),
            Err(_) => capacity = output.capacity().saturating_mul(2).min(limit),
        }
    }
}

/// What zstd returns when the output does not fit: errors are negative numbers in an unsigned word.
fn too_small() -> zstd_safe::ErrorCode {
    let code = zstd_safe::zstd_sys::ZSTD_ErrorCode::ZSTD_error_dstSize_tooSmall as usize;
    0_usize.wrapping_sub(code)
}

/// Refuses frames with a window that stream decoders, and so Kafka's consumers, would refuse.
fn check_zstd_windows(mut input: &[u8]) -> Result<(), CompressionError> {
    while !input.is_empty() {
        if let Some(window) = zstd_window(input)
            && window > 1 << ZSTD_WINDOW_LOG_MAX
        {
            return Err(CompressionError::corrupt(Codec::Zstd, "the window is above 128 MiB"));
        }
        let frame = zstd_safe::find_frame_compressed_size(input)
            .map_err(|code| CompressionError::corrupt(Codec::Zstd, zstd_safe::get_error_name(code)))?;
        input = input.get(frame..).unwrap_or_default();
    }
    Ok(())
}

/// The window of the frame at the start of `input` in bytes; `None` where the frame has none of its own.
fn zstd_window(input: &[u8]) -> Option<u64> {
    const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
    const SINGLE_SEGMENT: u8 = 0x20;
    let descriptor = *input.strip_prefix(&MAGIC)?.first()?;
    if descriptor & SINGLE_SEGMENT != 0 {
        return None;
    }
    let window = *input.get(MAGIC.len() + 1)?;
    let base = 1_u64 << (10 + (window >> 3));
    Some(base + base / 8 * u64::from(window & 7))
}
