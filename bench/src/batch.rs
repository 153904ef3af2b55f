//! One record batch in the making: records are encoded where they will be sent from, and the header is put in front
//! at the end, so that an uncompressed record is copied once.
//!
//! Pure. The layout is that of `ottla::protocol::records`; what is made here passes a broker's validation.

use ottla::ids::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, TimestampMs};
use ottla::limits::BATCH_HEADER_BYTES;
use ottla::protocol::compression::{Codec, compress};
use ottla::protocol::records::{Attributes, BatchHeader, edit};

/// The magic of the batches that all brokers speak today.
const MAGIC: i8 = 2;
/// Where the length of a batch stands, and what it does not count.
const LENGTH_AT: usize = 8;
const UNCOUNTED_BYTES: usize = 12;
/// The most that a record takes beside its key and value: its lengths, times and counts.
const RECORD_OVERHEAD_BYTES: usize = 5 + 1 + 10 + 5 + 5 + 5 + 1;

/// The idempotent producer that a batch comes from, and the place of its first record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sequence {
    /// The producer's id.
    pub producer_id: ProducerId,
    /// The producer's epoch.
    pub producer_epoch: ProducerEpoch,
    /// The sequence number of the first record.
    pub base_sequence: i32,
}

/// A record: its value comes in two parts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NewRecord<'a> {
    /// Its time.
    pub timestamp: TimestampMs,
    /// Its key, if it has one.
    pub key: Option<&'a [u8]>,
    /// The first part of its value.
    pub head: &'a [u8],
    /// The rest.
    pub tail: &'a [u8],
}

impl NewRecord<'_> {
    /// Bytes of the value.
    pub(crate) fn value_bytes(&self) -> usize {
        self.head.len() + self.tail.len()
    }

    /// Bytes of the key and the value, as Kafka's perf tools count what records have.
    pub(crate) fn own_bytes(&self) -> usize {
        self.key.map_or(0, <[u8]>::len) + self.value_bytes()
    }

    /// The most bytes that the record takes in a batch.
    pub(crate) fn bytes_max(&self) -> usize {
        RECORD_OVERHEAD_BYTES + self.own_bytes()
    }
}

/// A batch that takes records.
#[derive(Debug)]
pub(crate) struct BatchWriter {
    /// Room for the header, and the records behind it.
    bytes: Vec<u8>,
    records: i32,
    base_timestamp: TimestampMs,
    max_timestamp: TimestampMs,
}

impl BatchWriter {
    /// An empty batch in `buffer`, whose contents are dropped.
    pub(crate) fn new(mut buffer: Vec<u8>) -> BatchWriter {
        buffer.clear();
        buffer.resize(BATCH_HEADER_BYTES, 0);
        let none = TimestampMs::NONE;
        BatchWriter { bytes: buffer, records: 0, base_timestamp: none, max_timestamp: none }
    }

    /// Bytes so far, the header among them, before compression.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Appends a record.
    pub(crate) fn append(&mut self, record: &NewRecord<'_>) {
        if self.records == 0 {
            self.base_timestamp = record.timestamp;
            self.max_timestamp = record.timestamp;
        }
        self.max_timestamp = self.max_timestamp.max(record.timestamp);
        let timestamp_delta = record.timestamp.0 - self.base_timestamp.0;
        let value = record.value_bytes() as i64;
        let key = record.key.map_or(-1, |key| key.len() as i64);
        let body = 1
            + varint_bytes(timestamp_delta)
            + varint_bytes(i64::from(self.records))
            + varint_bytes(key)
            + record.key.map_or(0, <[u8]>::len)
            + varint_bytes(value)
            + record.value_bytes()
            + 1;
        put_varint(&mut self.bytes, body as i64);
        self.bytes.push(0);
        put_varint(&mut self.bytes, timestamp_delta);
        put_varint(&mut self.bytes, i64::from(self.records));
        put_varint(&mut self.bytes, key);
        self.bytes.extend_from_slice(record.key.unwrap_or_default());
        put_varint(&mut self.bytes, value);
        self.bytes.extend_from_slice(record.head);
        self.bytes.extend_from_slice(record.tail);
        // No headers.
        self.bytes.push(0);
        self.records += 1;
    }

    /// The whole batch, in the buffer that the records were written to unless they were compressed; then that buffer
    /// comes back for further use.
    pub(crate) fn finish(mut self, codec: Codec, sequence: Option<Sequence>) -> (Vec<u8>, Option<Vec<u8>>) {
        assert!(self.records > 0, "a batch has a record");
        let header = self.header(codec, sequence);
        if codec != Codec::None {
            let payload = compress(codec, None, &self.bytes[BATCH_HEADER_BYTES..]);
            let batch = edit::assemble(&header, &payload).expect("a batch is far below 2 GiB");
            return (batch, Some(self.bytes));
        }
        let head = edit::assemble(&header, &[]).expect("a header alone is short");
        self.bytes[..BATCH_HEADER_BYTES].copy_from_slice(&head);
        let length = i32::try_from(self.bytes.len() - UNCOUNTED_BYTES).expect("a batch is far below 2 GiB");
        self.bytes[LENGTH_AT..LENGTH_AT + 4].copy_from_slice(&length.to_be_bytes());
        edit::set_crc(&mut self.bytes);
        (self.bytes, None)
    }

    fn header(&self, codec: Codec, sequence: Option<Sequence>) -> BatchHeader {
        BatchHeader {
            base_offset: Offset::ZERO,
            batch_bytes: self.bytes.len(),
            partition_leader_epoch: LeaderEpoch::NONE,
            magic: MAGIC,
            crc: 0,
            attributes: Attributes(0).with_compression(codec),
            last_offset_delta: self.records - 1,
            base_timestamp: self.base_timestamp,
            max_timestamp: self.max_timestamp,
            producer_id: sequence.map_or(ProducerId::NONE, |s| s.producer_id),
            producer_epoch: sequence.map_or(ProducerEpoch::NONE, |s| s.producer_epoch),
            base_sequence: sequence.map_or(-1, |s| s.base_sequence),
            record_count: self.records,
        }
    }
}

/// Zig-zag, seven bits per byte, lowest first.
fn put_varint(out: &mut Vec<u8>, value: i64) {
    let mut rest = zigzag(value);
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

fn varint_bytes(value: i64) -> usize {
    let bits = 64 - (zigzag(value) | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use ottla::protocol::compression::Decompressor;
    use ottla::protocol::records::{
        BatchBuilder, NewRecord as BuilderRecord, TimestampType, ValidationPolicy, validate,
    };

    const NOW: TimestampMs = TimestampMs(1_700_000_000_000);

    fn check(batch: &[u8]) -> BatchHeader {
        let policy = ValidationPolicy {
            compacted: false,
            timestamp_type: TimestampType::CreateTime,
            before_max_ms: 1_000,
            after_max_ms: 1_000,
            max_message_bytes: usize::MAX,
            compression: None,
            now: NOW,
            zstd_allowed: true,
        };
        validate(&policy, batch, &mut Decompressor::new()).expect("a batch that brokers take");
        BatchHeader::parse(batch).expect("it was just validated")
    }

    fn records() -> Vec<(TimestampMs, Option<Vec<u8>>, Vec<u8>)> {
        let sizes = [0, 1, 23, 24, 100, 8_192, 70_000];
        let record = |(n, size): (usize, &usize)| {
            let key = (n % 2 == 0).then(|| format!("key-{n}").into_bytes());
            (TimestampMs(NOW.0 + 3 * n as i64 - 5), key, vec![b'x'; *size])
        };
        sizes.iter().enumerate().map(record).collect()
    }

    fn written(codec: Codec, sequence: Option<Sequence>) -> Vec<u8> {
        let mut writer = BatchWriter::new(vec![9; 5]);
        for (timestamp, key, value) in &records() {
            let (head, tail) = value.split_at(value.len() / 3);
            let record = NewRecord { timestamp: *timestamp, key: key.as_deref(), head, tail };
            let before = writer.len();
            writer.append(&record);
            assert!(writer.len() - before <= record.bytes_max());
        }
        writer.finish(codec, sequence).0
    }

    #[test]
    fn batches_are_those_of_the_broker_s_own_builder() {
        for codec in Codec::ALL {
            let mut builder = BatchBuilder::new().compression(codec, None);
            for (timestamp, key, value) in &records() {
                let (key, value) = (key.as_deref(), Some(&value[..]));
                builder.append(&BuilderRecord { timestamp: *timestamp, key, value, headers: &[] });
            }
            let batch = written(codec, None);
            assert_eq!(batch, builder.build(), "{}", codec.name());
            assert_eq!(check(&batch).record_count, 7);
        }
    }

    #[test]
    fn a_batch_carries_its_sequence() {
        let sequence = Sequence {
            producer_id: ProducerId(7),
            producer_epoch: ProducerEpoch(2),
            base_sequence: i32::MAX - 1,
        };
        let header = check(&written(Codec::None, Some(sequence)));
        assert_eq!((header.producer_id, header.producer_epoch), (ProducerId(7), ProducerEpoch(2)));
        assert_eq!((header.base_sequence, header.last_sequence()), (i32::MAX - 1, 4));
    }

    #[test]
    fn lengths_of_numbers_are_known_before_they_are_written() {
        for value in [0, -1, 1, 63, 64, -64, -65, 8_191, 8_192, i64::from(i32::MAX), i64::MAX, i64::MIN] {
            let mut out = Vec::new();
            put_varint(&mut out, value);
            assert_eq!(out.len(), varint_bytes(value), "{value}");
        }
    }
}
