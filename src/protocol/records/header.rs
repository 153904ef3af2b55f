//! The 61-byte header of a record batch, read without a look at its records.
//!
//! Parsing proves only that the header is whole, of magic 2 and of a possible length; whether the bytes are those
//! that were written is the CRC's business ([`crc_is_valid`]), and whether the counts make sense is the
//! validator's. Nothing here can panic or overflow on any input.

use thiserror::Error;

use super::{LENGTH_PREFIX_BYTES, MAGIC, at};
use crate::ids::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, TimestampMs};
use crate::limits::BATCH_HEADER_BYTES;
use crate::protocol::compression::Codec;

/// Why bytes are no record batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BatchError {
    /// The bytes end before the header or the batch does: at the end of a log a torn write, in a request an error.
    #[error("{have} bytes where a record batch needs {need}")]
    Partial {
        /// Bytes that are there.
        have: usize,
        /// Bytes that the header or the batch takes.
        need: usize,
    },
    /// The length field cannot be that of a batch of magic 2: below the rest of the header.
    #[error("a record batch cannot have a length of {0}")]
    Length(i32),
    /// The batch is of another format: 0 and 1 are those of Kafka before 0.11.
    #[error("magic {0} where record batches have magic 2")]
    Magic(i8),
}

/// Whose clock a batch's timestamps come from: bit 3 of the attributes (KIP-32).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TimestampType {
    /// The producer's: each record has its own.
    #[default]
    CreateTime,
    /// The broker's at the append: every record of the batch has the batch's max timestamp.
    LogAppendTime,
}

/// The attributes of a batch, as the 16 bits of the header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Attributes(pub i16);

impl Attributes {
    const COMPRESSION_MASK: i16 = 0x07;
    const LOG_APPEND_TIME: i16 = 0x08;
    const TRANSACTIONAL: i16 = 0x10;
    const CONTROL: i16 = 0x20;
    const DELETE_HORIZON: i16 = 0x40;

    /// The codec of the records; `None` for the numbers 5 to 7, which Kafka has not given out.
    #[must_use]
    pub const fn compression(self) -> Option<Codec> {
        Codec::from_id((self.0 & Self::COMPRESSION_MASK) as u8)
    }

    /// Whose clock the timestamps come from.
    #[must_use]
    pub const fn timestamp_type(self) -> TimestampType {
        if self.0 & Self::LOG_APPEND_TIME == 0 {
            TimestampType::CreateTime
        } else {
            TimestampType::LogAppendTime
        }
    }

    /// Whether the batch belongs to a transaction; its markers do too.
    #[must_use]
    pub const fn is_transactional(self) -> bool {
        self.0 & Self::TRANSACTIONAL != 0
    }

    /// Whether the records are control records, which consumers never hand to the application.
    #[must_use]
    pub const fn is_control(self) -> bool {
        self.0 & Self::CONTROL != 0
    }

    /// Whether the base timestamp is the cleaner's delete horizon instead (KIP-534).
    #[must_use]
    pub const fn has_delete_horizon(self) -> bool {
        self.0 & Self::DELETE_HORIZON != 0
    }

    /// The same attributes with another codec.
    #[must_use]
    pub const fn with_compression(self, codec: Codec) -> Attributes {
        Attributes(self.0 & !Self::COMPRESSION_MASK | codec.id() as i16)
    }

    /// The same attributes with another clock.
    #[must_use]
    pub const fn with_timestamp_type(self, timestamp_type: TimestampType) -> Attributes {
        self.with_bit(Self::LOG_APPEND_TIME, matches!(timestamp_type, TimestampType::LogAppendTime))
    }

    /// The same attributes, in a transaction or not.
    #[must_use]
    pub const fn with_transactional(self, on: bool) -> Attributes {
        self.with_bit(Self::TRANSACTIONAL, on)
    }

    /// The same attributes, of control records or not.
    #[must_use]
    pub const fn with_control(self, on: bool) -> Attributes {
        self.with_bit(Self::CONTROL, on)
    }

    /// The same attributes, with the base timestamp standing for a delete horizon or for itself.
    #[must_use]
    pub const fn with_delete_horizon(self, on: bool) -> Attributes {
        self.with_bit(Self::DELETE_HORIZON, on)
    }

    const fn with_bit(self, bit: i16, on: bool) -> Attributes {
        if on { Attributes(self.0 | bit) } else { Attributes(self.0 & !bit) }
    }
}

/// The header of a batch, in host order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    /// The offset of the first record that the batch had when it was appended; what producers send means nothing.
    pub base_offset: Offset,
    /// Bytes of the whole batch with the 12 bytes of base offset and length: at least 61, at most 2^31 + 11.
    pub batch_bytes: usize,
    /// The epoch of the leader that appended the batch.
    pub partition_leader_epoch: LeaderEpoch,
    /// Always [`MAGIC`](super::MAGIC).
    pub magic: i8,
    /// The CRC-32C that the batch claims for its bytes from 21 on.
    pub crc: u32,
    /// Codec, clock and kind.
    pub attributes: Attributes,
    /// The last offset less the base offset; stays as it was when the cleaner removes records.
    pub last_offset_delta: i32,
    /// What the records' timestamp deltas count from; a delete horizon where the attributes say so.
    pub base_timestamp: TimestampMs,
    /// The latest timestamp of the records, or the time of the append.
    pub max_timestamp: TimestampMs,
    /// The idempotent producer, or -1.
    pub producer_id: ProducerId,
    /// The producer's epoch, or -1.
    pub producer_epoch: ProducerEpoch,
    /// The sequence number of the first record, or -1.
    pub base_sequence: i32,
    /// Records in the payload; 0 in a batch that the cleaner emptied but had to keep.
    pub record_count: i32,
}

impl BatchHeader {
    /// Reads the header at the start of `bytes`; the rest of the batch need not be there.
    ///
    /// # Errors
    /// [`BatchError`], with `Partial` only where the bytes so far could still begin a batch.
    pub fn parse(bytes: &[u8]) -> Result<BatchHeader, BatchError> {
        let have = bytes.len();
        if have > at::MAGIC && bytes[at::MAGIC] as i8 != MAGIC {
            return Err(BatchError::Magic(bytes[at::MAGIC] as i8));
        }
        let batch_bytes =
            peek_batch_bytes(bytes)?.ok_or(BatchError::Partial { have, need: BATCH_HEADER_BYTES })?;
        let Some(header) = bytes.first_chunk::<BATCH_HEADER_BYTES>() else {
            return Err(BatchError::Partial { have, need: BATCH_HEADER_BYTES });
        };
        Ok(BatchHeader::from_whole(header, batch_bytes))
    }

    fn from_whole(header: &[u8; BATCH_HEADER_BYTES], batch_bytes: usize) -> BatchHeader {
        BatchHeader {
            base_offset: Offset(i64_at(header, at::BASE_OFFSET)),
            batch_bytes,
            partition_leader_epoch: LeaderEpoch(i32_at(header, at::LEADER_EPOCH)),
            magic: header[at::MAGIC] as i8,
            crc: i32_at(header, at::CRC) as u32,
            attributes: Attributes(i16_at(header, at::ATTRIBUTES)),
            last_offset_delta: i32_at(header, at::LAST_OFFSET_DELTA),
            base_timestamp: TimestampMs(i64_at(header, at::BASE_TIMESTAMP)),
            max_timestamp: TimestampMs(i64_at(header, at::MAX_TIMESTAMP)),
            producer_id: ProducerId(i64_at(header, at::PRODUCER_ID)),
            producer_epoch: ProducerEpoch(i16_at(header, at::PRODUCER_EPOCH)),
            base_sequence: i32_at(header, at::BASE_SEQUENCE),
            record_count: i32_at(header, at::RECORD_COUNT),
        }
    }

    /// The offset of the batch's last record, saturating on a header that no broker wrote.
    #[must_use]
    pub const fn last_offset(&self) -> Offset {
        Offset(self.base_offset.0.saturating_add(self.last_offset_delta as i64))
    }

    /// The offset that the batch behind this one begins with.
    #[must_use]
    pub const fn next_offset(&self) -> Offset {
        Offset(self.last_offset().0.saturating_add(1))
    }

    /// The sequence number of the last record; -1 where the producer is not idempotent.
    #[must_use]
    pub const fn last_sequence(&self) -> i32 {
        if self.base_sequence < 0 {
            return -1;
        }
        sequence_plus(self.base_sequence, self.last_offset_delta)
    }

    /// Whether the batch comes from an idempotent producer.
    #[must_use]
    pub const fn has_producer_id(&self) -> bool {
        self.producer_id.0 > ProducerId::NONE.0
    }

    /// When the cleaner may drop the tombstones and markers of this batch; `None` before its first cleaning.
    #[must_use]
    pub fn delete_horizon(&self) -> Option<TimestampMs> {
        self.attributes.has_delete_horizon().then_some(self.base_timestamp)
    }
}

/// The sequence number `records` after `sequence`: 0 follows 2^31 - 1. Negative `records` go back the same way.
#[must_use]
pub const fn sequence_plus(sequence: i32, records: i32) -> i32 {
    const MODULUS: i64 = 1 << 31;
    (sequence as i64 + records as i64).rem_euclid(MODULUS) as i32
}

/// The total bytes that the batch at the start of `bytes` claims, its 12-byte prefix included.
///
/// `Ok(None)` while fewer than 12 bytes are there. The number is the peer's or the disk's: compare it, never
/// allocate from it.
///
/// # Errors
/// [`BatchError::Length`] where the length is too small for a header, as it is in a zeroed block.
pub fn peek_batch_bytes(bytes: &[u8]) -> Result<Option<usize>, BatchError> {
    let Some(prefix) = bytes.first_chunk::<LENGTH_PREFIX_BYTES>() else {
        return Ok(None);
    };
    let length = i32_at(prefix, at::LENGTH);
    match usize::try_from(length) {
        Ok(rest) if rest >= BATCH_HEADER_BYTES - LENGTH_PREFIX_BYTES => Ok(Some(rest + LENGTH_PREFIX_BYTES)),
        _ => Err(BatchError::Length(length)),
    }
}

/// Whether `batch`, which is one whole batch and nothing else, has the CRC that it claims.
///
/// False for bytes too short to be a batch.
#[must_use]
pub fn crc_is_valid(batch: &[u8]) -> bool {
    batch.len() >= BATCH_HEADER_BYTES && i32_at(batch, at::CRC) as u32 == crc_of(batch)
}

/// The CRC that `batch` ought to have.
pub(super) fn crc_of(batch: &[u8]) -> u32 {
    crc32c::crc32c(&batch[at::ATTRIBUTES..])
}

/// The `N` bytes at `from`, which the caller has proved to be there.
fn array_at<const N: usize>(bytes: &[u8], from: usize) -> [u8; N] {
    bytes[from..from + N].try_into().expect("a range of N bytes is an array of N")
}

fn i16_at(bytes: &[u8], from: usize) -> i16 {
    i16::from_be_bytes(array_at(bytes, from))
}

fn i32_at(bytes: &[u8], from: usize) -> i32 {
    i32::from_be_bytes(array_at(bytes, from))
}

fn i64_at(bytes: &[u8], from: usize) -> i64 {
    i64::from_be_bytes(array_at(bytes, from))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A batch that Kafka's console producer wrote is in the fixtures; this one has a different value per field.
    fn distinct_fields() -> Vec<u8> {
        let mut batch = Vec::new();
        batch.extend_from_slice(&1_000_i64.to_be_bytes());
        batch.extend_from_slice(&52_i32.to_be_bytes());
        batch.extend_from_slice(&7_i32.to_be_bytes());
        batch.push(2);
        batch.extend_from_slice(&[0; 4]);
        batch.extend_from_slice(&0x7b_i16.to_be_bytes());
        batch.extend_from_slice(&4_i32.to_be_bytes());
        batch.extend_from_slice(&111_i64.to_be_bytes());
        batch.extend_from_slice(&222_i64.to_be_bytes());
        batch.extend_from_slice(&333_i64.to_be_bytes());
        batch.extend_from_slice(&44_i16.to_be_bytes());
        batch.extend_from_slice(&i32::MAX.to_be_bytes());
        batch.extend_from_slice(&5_i32.to_be_bytes());
        batch.extend_from_slice(b"abc");
        let crc = crc32c::crc32c(&batch[21..]);
        batch[17..21].copy_from_slice(&crc.to_be_bytes());
        batch
    }

    #[test]
    fn each_field_is_read_from_its_place() {
        let bytes = distinct_fields();
        let header = BatchHeader::parse(&bytes).expect("a whole header");
        assert_eq!(header.base_offset, Offset(1_000));
        assert_eq!(header.batch_bytes, 64);
        assert_eq!(header.partition_leader_epoch, LeaderEpoch(7));
        assert_eq!(header.magic, 2);
        assert_eq!(header.attributes, Attributes(0x7b));
        assert_eq!(header.attributes.compression(), Some(Codec::Lz4));
        assert_eq!(header.attributes.timestamp_type(), TimestampType::LogAppendTime);
        assert!(header.attributes.is_transactional() && header.attributes.is_control());
        assert_eq!(header.delete_horizon(), Some(TimestampMs(111)));
        assert_eq!((header.last_offset(), header.next_offset()), (Offset(1_004), Offset(1_005)));
        assert_eq!(header.max_timestamp, TimestampMs(222));
        assert_eq!((header.producer_id, header.producer_epoch), (ProducerId(333), ProducerEpoch(44)));
        assert_eq!((header.base_sequence, header.last_sequence()), (i32::MAX, 3));
        assert_eq!(header.record_count, 5);
        assert!(crc_is_valid(&bytes));
    }

    #[test]
    fn any_flipped_bit_under_the_crc_is_noticed() {
        let good = distinct_fields();
        for byte in at::CRC..good.len() {
            let mut bad = good.clone();
            bad[byte] ^= 0x10;
            assert!(!crc_is_valid(&bad), "byte {byte}");
        }
        assert!(!crc_is_valid(&good[..60]));
    }

    #[test]
    fn a_header_is_whole_or_an_error() {
        let bytes = distinct_fields();
        for have in 0..BATCH_HEADER_BYTES {
            let error = BatchHeader::parse(&bytes[..have]).expect_err("61 bytes are needed");
            assert_eq!(error, BatchError::Partial { have, need: 61 });
        }
        assert_eq!(BatchHeader::parse(&[0; 4096]), Err(BatchError::Magic(0)));
        let mut short = bytes.clone();
        short[8..12].copy_from_slice(&48_i32.to_be_bytes());
        assert_eq!(BatchHeader::parse(&short), Err(BatchError::Length(48)));
        short[8..12].copy_from_slice(&(-1_i32).to_be_bytes());
        assert_eq!(peek_batch_bytes(&short), Err(BatchError::Length(-1)));
        assert_eq!(peek_batch_bytes(&bytes[..11]), Ok(None));
        assert_eq!(peek_batch_bytes(&bytes[..12]), Ok(Some(64)));
    }

    #[test]
    fn arithmetic_on_a_hostile_header_never_overflows() {
        let mut bytes = distinct_fields();
        bytes[..8].copy_from_slice(&i64::MAX.to_be_bytes());
        bytes[23..27].copy_from_slice(&i32::MIN.to_be_bytes());
        let mut header = BatchHeader::parse(&bytes).expect("a whole header");
        assert!(header.last_sequence() >= 0);
        header.last_offset_delta = 1;
        assert_eq!(header.next_offset(), Offset(i64::MAX));
    }

    #[test]
    fn sequences_wrap_to_zero() {
        assert_eq!(sequence_plus(i32::MAX, 0), i32::MAX);
        assert_eq!(sequence_plus(i32::MAX, 1), 0);
        assert_eq!(sequence_plus(i32::MAX - 1, 5), 3);
        assert_eq!(sequence_plus(i32::MAX, i32::MAX), i32::MAX - 1);
        assert_eq!(sequence_plus(0, -1), i32::MAX);
    }
}
