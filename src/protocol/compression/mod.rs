//! The compression of record batches: Kafka's five codecs.
//!
//! The functions are pure and belong to no shard. A decompression always carries a limit for its output, which
//! holds while it runs: no buffer is ever sized from a length that the compressed bytes claim.

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
}
