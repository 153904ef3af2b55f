//! Whether a batch that a client produced may enter the log, and as which bytes (Kafka's `LogValidator`).
//!
//! Runs on the shard that owns the partition, before offsets are assigned. A batch that passes has one CRC-proved
//! header whose counts match its records, records that can all be read, and timestamps, keys and a codec that the
//! topic allows; nothing else may be appended on behalf of a client. The bytes stay the producer's unless the topic
//! names another codec. Every batch is walked to its last record, as Kafka does: without a walk, a count that lies
//! would give offsets to records that do not exist. The walk allocates nothing; a compressed batch is decompressed
//! into a buffer that the shard reuses.
//!
//! Kafka's answers are kept, but for three that are accidents of its implementation. Offset deltas other than 0,
//! 1, 2 … are `INVALID_RECORD`, where Kafka stores them, rewrites them or fails with `UNKNOWN_SERVER_ERROR`,
//! depending on the codec. Records that cannot be decompressed are `INVALID_RECORD` and an unassigned codec is
//! `UNSUPPORTED_COMPRESSION_TYPE`, not `UNKNOWN_SERVER_ERROR`; to clients all of them are final. Bytes behind the
//! batch are `INVALID_RECORD` rather than dropped without a word.

use super::header::{BatchError, BatchHeader, TimestampType, crc_is_valid};
use super::record::{Record, RecordError, RecordIter};
use super::{MAGIC, edit};
use crate::errors::ErrorCode;
use crate::ids::{Offset, TimestampMs};
use crate::limits::{BATCH_HEADER_BYTES, DECOMPRESSED_BYTES_MAX, RECORD_ERRORS_MAX};
use crate::protocol::compression::{Codec, CompressionError, Decompressor, compress};

/// What a topic and a request's version demand of a batch.
#[derive(Clone, Copy, Debug)]
pub struct ValidationPolicy {
    /// Whether `cleanup.policy` contains compact: every record needs a key.
    pub compacted: bool,
    /// The topic's `message.timestamp.type`.
    pub timestamp_type: TimestampType,
    /// `message.timestamp.before.max.ms`: how far in the past a record's time may lie.
    pub before_max_ms: i64,
    /// `message.timestamp.after.max.ms`: how far in the future a record's time may lie.
    pub after_max_ms: i64,
    /// `max.message.bytes`: the most that the batch may take, compressed and with its header.
    pub max_message_bytes: usize,
    /// The topic's `compression.type`; `None` for `producer`, which keeps whatever codec a batch has.
    pub compression: Option<Recompression>,
    /// The broker's time, for the range above and for the append time.
    pub now: TimestampMs,
    /// Whether the request's version may carry zstd: from Produce 7 on (KIP-110).
    pub zstd_allowed: bool,
}

/// The codec that a topic insists on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recompression {
    /// The codec; batches that have it already are kept as they are, whatever their level.
    pub codec: Codec,
    /// One of [`Codec::levels`], or the codec's default.
    pub level: Option<i32>,
}

/// A batch that may be appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Validated {
    /// The batch to append in place of the producer's, complete with time and CRC; `None` to keep the producer's,
    /// once [`Validated::apply`] has been called on it.
    pub rewritten: Option<Vec<u8>>,
    /// Whose time the appended batch carries.
    pub timestamp_type: TimestampType,
    /// The latest time of the records, or the append time; -1 where no record has a time.
    pub max_timestamp: TimestampMs,
    /// The offset delta of the first record with the max timestamp; the last record's for an append time.
    pub max_timestamp_offset_delta: i32,
    /// What the response says as its log append time; -1 in a topic with the producer's time.
    pub log_append_time: TimestampMs,
}

impl Validated {
    /// Whether [`Validated::apply`] would change a batch with this header.
    #[must_use]
    pub fn changes(&self, header: &BatchHeader) -> bool {
        header.attributes.timestamp_type() != self.timestamp_type
            || header.max_timestamp != self.max_timestamp
    }

    /// Writes time and kind of time into the producer's bytes, and a new CRC if that changed anything.
    pub fn apply(&self, batch: &mut [u8]) {
        edit::set_max_timestamp(batch, self.timestamp_type, self.max_timestamp);
    }
}

/// Why a batch may not be appended; nothing of it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidBatch {
    /// The partition's error code in the response.
    pub error: ErrorCode,
    /// The partition's error message, from Produce 8 on.
    pub message: String,
    /// The records at fault, by ascending index and at most [`RECORD_ERRORS_MAX`], from Produce 8 on.
    pub record_errors: Vec<InvalidRecord>,
}

/// A record that its topic does not allow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidRecord {
    /// The record's index in the batch, 0-based.
    pub batch_index: i32,
    /// What is wrong with it.
    pub message: String,
}

impl InvalidBatch {
    fn new(error: ErrorCode, message: impl Into<String>) -> InvalidBatch {
        InvalidBatch { error, message: message.into(), record_errors: Vec::new() }
    }

    fn record(error: RecordError) -> InvalidBatch {
        InvalidBatch::new(ErrorCode::InvalidRecord, error.to_string())
    }
}

/// Decides on the records of one partition of a produce request: `batch` is all of its bytes.
///
/// # Errors
/// [`InvalidBatch`] with Kafka's error code for the first check that fails; record by record where the topic's
/// demands on keys and times are not met.
pub fn validate(
    policy: &ValidationPolicy,
    batch: &[u8],
    scratch: &mut Decompressor,
) -> Result<Validated, InvalidBatch> {
    let header = only_batch(batch)?;
    let codec = check_codec(policy, &header)?;
    check_bytes(policy, &header, batch)?;
    check_counts(&header)?;
    check_kind(&header)?;
    let payload = &batch[BATCH_HEADER_BYTES..];
    let records = match codec {
        Codec::None => payload,
        Codec::Gzip | Codec::Snappy | Codec::Lz4 | Codec::Zstd => {
            scratch.decompress(codec, payload, DECOMPRESSED_BYTES_MAX).map_err(undecompressed)?
        }
    };
    let latest = Walk::new(policy, &header).over(records)?;
    let mut validated = stamp(policy, &header, latest);
    if let Some(target) = policy.compression
        && target.codec != codec
    {
        validated.rewritten = Some(recompress(policy, target, stamped(header, &validated), records)?);
    }
    Ok(validated)
}

/// The header of the one batch that a request's version 3 and up must carry, whole and alone.
fn only_batch(bytes: &[u8]) -> Result<BatchHeader, InvalidBatch> {
    let header = BatchHeader::parse(bytes).map_err(|error| {
        let code = match error {
            BatchError::Partial { .. } | BatchError::Magic(0 | 1) => ErrorCode::InvalidRecord,
            BatchError::Length(_) | BatchError::Magic(_) => ErrorCode::CorruptMessage,
        };
        InvalidBatch::new(code, error.to_string())
    })?;
    assert_eq!(header.magic, MAGIC, "no other magic is parsed");
    let (have, need) = (bytes.len(), header.batch_bytes);
    if have < need {
        let error = BatchError::Partial { have, need };
        return Err(InvalidBatch::new(ErrorCode::InvalidRecord, error.to_string()));
    }
    if have > need {
        let message = format!("a partition takes one batch per request, but {} bytes follow it", have - need);
        return Err(InvalidBatch::new(ErrorCode::InvalidRecord, message));
    }
    Ok(header)
}

fn check_codec(policy: &ValidationPolicy, header: &BatchHeader) -> Result<Codec, InvalidBatch> {
    let unsupported = |message| InvalidBatch::new(ErrorCode::UnsupportedCompressionType, message);
    match header.attributes.compression() {
        Some(Codec::Zstd) if !policy.zstd_allowed => {
            Err(unsupported("this version of the request cannot carry zstd"))
        }
        Some(codec) => Ok(codec),
        None => Err(unsupported("the batch names a codec that does not exist")),
    }
}

fn check_bytes(policy: &ValidationPolicy, header: &BatchHeader, batch: &[u8]) -> Result<(), InvalidBatch> {
    if header.base_offset != Offset::ZERO {
        let message = format!("a produced batch has base offset 0, not {}", header.base_offset);
        return Err(InvalidBatch::new(ErrorCode::InvalidRecord, message));
    }
    check_size(policy, batch.len())?;
    if crc_is_valid(batch) {
        Ok(())
    } else {
        let message = format!("the batch does not have its CRC of {:#010x}", header.crc);
        Err(InvalidBatch::new(ErrorCode::CorruptMessage, message))
    }
}

fn check_size(policy: &ValidationPolicy, bytes: usize) -> Result<(), InvalidBatch> {
    if bytes <= policy.max_message_bytes {
        return Ok(());
    }
    let message = format!("a batch of {bytes} bytes is beyond the topic's {}", policy.max_message_bytes);
    Err(InvalidBatch::new(ErrorCode::MessageTooLarge, message))
}

fn check_counts(header: &BatchHeader) -> Result<(), InvalidBatch> {
    let (count, last) = (header.record_count, header.last_offset_delta);
    if count > 0 && last == count - 1 {
        return Ok(());
    }
    let message = format!("a batch of {count} records cannot have a last offset delta of {last}");
    Err(InvalidBatch::new(ErrorCode::InvalidRecord, message))
}

fn check_kind(header: &BatchHeader) -> Result<(), InvalidBatch> {
    if header.attributes.is_control() {
        return Err(InvalidBatch::new(ErrorCode::InvalidRecord, "clients do not write control records"));
    }
    if header.attributes.is_transactional() && !header.has_producer_id() {
        // Nobody's transaction: no marker would ever end it.
        let message = "a batch of a transaction has a producer id";
        return Err(InvalidBatch::new(ErrorCode::InvalidRecord, message));
    }
    if header.has_producer_id() && header.base_sequence < 0 {
        let (sequence, id) = (header.base_sequence, header.producer_id);
        let message = format!("producer {id} cannot have the sequence number {sequence}");
        return Err(InvalidBatch::new(ErrorCode::InvalidRecord, message));
    }
    Ok(())
}

fn undecompressed(error: CompressionError) -> InvalidBatch {
    let code = match error {
        CompressionError::TooLarge { .. } => ErrorCode::MessageTooLarge,
        CompressionError::Corrupt { .. } => ErrorCode::InvalidRecord,
    };
    InvalidBatch::new(code, error.to_string())
}

/// The time of the records, and where it stands.
#[derive(Clone, Copy)]
struct Latest {
    timestamp: TimestampMs,
    offset_delta: i32,
}

/// One pass over the records of a batch.
struct Walk<'a> {
    policy: &'a ValidationPolicy,
    header: &'a BatchHeader,
    latest: Latest,
    errors: Vec<InvalidRecord>,
    error_count: usize,
    untimely: bool,
}

impl<'a> Walk<'a> {
    fn new(policy: &'a ValidationPolicy, header: &'a BatchHeader) -> Walk<'a> {
        let latest = Latest { timestamp: TimestampMs::NONE, offset_delta: header.last_offset_delta };
        Walk { policy, header, latest, errors: Vec::new(), error_count: 0, untimely: false }
    }

    fn over(mut self, payload: &[u8]) -> Result<Latest, InvalidBatch> {
        let mut index = 0;
        for record in RecordIter::new(payload, self.header.record_count) {
            let record = record.map_err(InvalidBatch::record)?;
            record.headers.check().map_err(InvalidBatch::record)?;
            if record.offset_delta != index {
                let message = format!("record {index} has the offset delta {}", record.offset_delta);
                return Err(InvalidBatch::new(ErrorCode::InvalidRecord, message));
            }
            self.check(&record);
            index += 1;
        }
        assert_eq!(index, self.header.record_count, "the walk yields every record or an error");
        if self.error_count == 0 { Ok(self.latest) } else { Err(self.into_error()) }
    }

    #[inline]
    fn check(&mut self, record: &Record<'_>) {
        let timestamp = record.timestamp(self.header);
        if self.policy.compacted && record.key.is_none() {
            self.fault(record, || "a record of a compacted topic needs a key".to_owned());
        } else if let Some(message) = self.check_time(timestamp) {
            self.untimely = true;
            self.fault(record, || message);
        } else if timestamp > self.latest.timestamp {
            self.latest = Latest { timestamp, offset_delta: record.offset_delta };
        }
    }

    #[inline]
    fn check_time(&self, timestamp: TimestampMs) -> Option<String> {
        let policy = self.policy;
        if policy.timestamp_type == TimestampType::CreateTime && timestamp != TimestampMs::NONE {
            let (now, time) = (policy.now.0, timestamp.0);
            let old = now.saturating_sub(time) > policy.before_max_ms;
            let early = time.saturating_sub(now) > policy.after_max_ms;
            (old || early).then(|| {
                let from = now.saturating_sub(policy.before_max_ms);
                let to = now.saturating_add(policy.after_max_ms);
                format!("the timestamp {time} is not between {from} and {to}")
            })
        } else {
            let type_of_batch = self.header.attributes.timestamp_type();
            (type_of_batch == TimestampType::LogAppendTime)
                .then(|| "a producer cannot set the log append time".to_owned())
        }
    }

    #[cold]
    fn fault(&mut self, record: &Record<'_>, message: impl FnOnce() -> String) {
        self.error_count += 1;
        if self.errors.len() < RECORD_ERRORS_MAX {
            self.errors.push(InvalidRecord { batch_index: record.offset_delta, message: message() });
        }
    }

    fn into_error(self) -> InvalidBatch {
        let count = self.error_count;
        let (error, why) = if self.untimely {
            (ErrorCode::InvalidTimestamp, "at least one for its timestamp")
        } else {
            (ErrorCode::InvalidRecord, "none for its timestamp")
        };
        let message = format!("the batch is rejected for {count} of its records, {why}");
        InvalidBatch { error, message, record_errors: self.errors }
    }
}

/// The times that the batch is appended with.
fn stamp(policy: &ValidationPolicy, header: &BatchHeader, latest: Latest) -> Validated {
    let (latest, log_append_time) = match policy.timestamp_type {
        TimestampType::CreateTime => (latest, TimestampMs::NONE),
        TimestampType::LogAppendTime => {
            let latest = Latest { timestamp: policy.now, offset_delta: header.last_offset_delta };
            (latest, policy.now)
        }
    };
    Validated {
        rewritten: None,
        timestamp_type: policy.timestamp_type,
        max_timestamp: latest.timestamp,
        max_timestamp_offset_delta: latest.offset_delta,
        log_append_time,
    }
}

/// The header with the times that the batch is appended with.
fn stamped(header: BatchHeader, validated: &Validated) -> BatchHeader {
    let attributes = header.attributes.with_timestamp_type(validated.timestamp_type);
    BatchHeader { attributes, max_timestamp: validated.max_timestamp, ..header }
}

/// The batch of this header with its records under another codec.
fn recompress(
    policy: &ValidationPolicy,
    target: Recompression,
    mut header: BatchHeader,
    records: &[u8],
) -> Result<Vec<u8>, InvalidBatch> {
    let payload = compress(target.codec, target.level, records);
    check_size(policy, BATCH_HEADER_BYTES + payload.len())?;
    header.attributes = header.attributes.with_compression(target.codec);
    edit::assemble(&header, &payload)
        .ok_or_else(|| InvalidBatch::new(ErrorCode::MessageTooLarge, "a batch stays below 2 GiB"))
}

#[cfg(test)]
pub(super) mod tests;
