//! The compression of record batches: Kafka's five codecs.
//!
//! The functions are pure and belong to no shard; a [`Decompressor`] is what a shard keeps to reuse its buffers. A
//! decompression always carries a limit for its output, which holds while it runs: no buffer is ever sized from a
//! length that the compressed bytes claim, only from their own length and from the limit.

mod decompress;
mod lz4;
mod snappy;
#[cfg(test)]
mod tests;

use std::io::Write;

use thiserror::Error;

pub use decompress::{Decompressor, decompress};

/// A codec by the number that a batch's attributes carry in their lowest three bits (Kafka's `CompressionType`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Codec {
    /// Number 0: the records as they are.
    #[default]
    None,
    /// Number 1: RFC 1952.
    Gzip,
    /// Number 2: snappy, in the framing of xerial's snappy-java.
    Snappy,
    /// Number 3: the LZ4 frame format.
    Lz4,
    /// Number 4: RFC 8878, since KIP-110.
    Zstd,
}

/// The levels that a codec takes (KIP-390), which are those of its `compression.<codec>.level` setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Levels {
    /// The fastest.
    pub min: i32,
    /// The smallest output.
    pub max: i32,
    /// What no level stands for; for gzip -1, which lies outside `min` and `max` and is allowed all the same.
    pub default: i32,
}

impl Levels {
    /// Whether Kafka's setting would accept `level`.
    #[must_use]
    pub const fn allow(self, level: i32) -> bool {
        level == self.default || (level >= self.min && level <= self.max)
    }
}

/// Why compressed bytes could not be decompressed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CompressionError {
    /// The output is longer than the caller allows; it was given up on the way.
    #[error("the records decompress to more than {limit} bytes")]
    TooLarge {
        /// The limit that the caller gave, in bytes.
        limit: usize,
    },
    /// The bytes are not what their codec writes.
    #[error("corrupt {} data: {detail}", codec.name())]
    Corrupt {
        /// The codec that the batch claims.
        codec: Codec,
        /// What the codec says about it.
        detail: String,
    },
}

impl CompressionError {
    fn corrupt(codec: Codec, detail: impl ToString) -> CompressionError {
        CompressionError::Corrupt { codec, detail: detail.to_string() }
    }
}

impl Codec {
    /// Every codec, by ascending number.
    pub const ALL: [Codec; 5] = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];

    /// The codec of a number in a batch's attributes; 5 to 7 have none.
    #[must_use]
    pub const fn from_id(id: u8) -> Option<Codec> {
        match id {
            0 => Some(Codec::None),
            1 => Some(Codec::Gzip),
            2 => Some(Codec::Snappy),
            3 => Some(Codec::Lz4),
            4 => Some(Codec::Zstd),
            _ => None,
        }
    }

    /// The number in a batch's attributes, 0 to 4.
    #[must_use]
    pub const fn id(self) -> u8 {
        self as u8
    }

    /// The name that `compression.type` and Kafka's tools use; "none" for no compression.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Codec::None => "none",
            Codec::Gzip => "gzip",
            Codec::Snappy => "snappy",
            Codec::Lz4 => "lz4",
            Codec::Zstd => "zstd",
        }
    }

    /// The codec of a name as `compression.type` spells it; the topic's "uncompressed" is no compression too.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Codec> {
        match name {
            "uncompressed" => Some(Codec::None),
            _ => Codec::ALL.into_iter().find(|codec| codec.name() == name),
        }
    }

    /// The levels of the codec; `None` for the two that have none.
    #[must_use]
    pub const fn levels(self) -> Option<Levels> {
        match self {
            Codec::None | Codec::Snappy => None,
            Codec::Gzip => Some(Levels { min: 1, max: 9, default: -1 }),
            Codec::Lz4 => Some(Levels { min: 1, max: 17, default: 9 }),
            Codec::Zstd => Some(Levels { min: -131_072, max: 22, default: 3 }),
        }
    }
}

/// The compressed form of `input`, as Kafka's own clients write it.
///
/// `level` is one of [`Codec::levels`]: a setting was checked against them when it was read, so another is a
/// mistake of the caller. LZ4 has one speed here, that of its fast compressor, whatever the level: the format is
/// the same for all of them.
#[must_use]
pub fn compress(codec: Codec, level: Option<i32>, input: &[u8]) -> Vec<u8> {
    if let (Some(level), Some(levels)) = (level, codec.levels()) {
        assert!(levels.allow(level), "{} has no level {level}", codec.name());
    }
    match codec {
        Codec::None => input.to_vec(),
        Codec::Gzip => gzip(level, input),
        Codec::Snappy => snappy::compress(input),
        Codec::Lz4 => lz4::compress(input),
        Codec::Zstd => {
            let level = level.unwrap_or(zstd::DEFAULT_COMPRESSION_LEVEL);
            zstd::bulk::compress(input, level)
                .expect("zstd compresses any bytes into a buffer of its own bound")
        }
    }
}

fn gzip(level: Option<i32>, input: &[u8]) -> Vec<u8> {
    let level = match level.and_then(|level| u32::try_from(level).ok()) {
        Some(level) => flate2::Compression::new(level),
        None => flate2::Compression::default(),
    };
    let mut encoder = flate2::write::GzEncoder::new(Vec::with_capacity(input.len() / 2), level);
    encoder.write_all(input).expect("a write to memory does not fail");
    encoder.finish().expect("a write to memory does not fail")
}
