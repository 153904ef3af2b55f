//! Builds record batches: for coordinators, the metadata log, the cleaner, clients and tests.
//!
//! A builder collects records in their final encoding and compresses them once at the end, so its memory is that
//! of the records. What it builds has a valid CRC and passes every check of a produce request, unless
//! it was asked for something that only a broker may write.

use super::control::EndTransactionMarker;
use super::header::{Attributes, BatchHeader, TimestampType};
use super::record::{Record, RecordHeader};
use super::varint::{put_varint, put_varlong, varlong_bytes};
use super::{MAGIC, edit};
use crate::ids::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, TimestampMs};
use crate::limits::BATCH_HEADER_BYTES;
use crate::protocol::compression::{Codec, compress};

/// A record to be appended to a batch.
#[derive(Clone, Copy, Debug, Default)]
pub struct NewRecord<'a> {
    /// The record's time; of no effect in a batch with the broker's time.
    pub timestamp: TimestampMs,
    /// The key, or `None` for null.
    pub key: Option<&'a [u8]>,
    /// The value, or `None` for a tombstone.
    pub value: Option<&'a [u8]>,
    /// The headers, in order.
    pub headers: &'a [RecordHeader<'a>],
}

/// A batch in the making.
#[derive(Clone, Debug)]
pub struct BatchBuilder {
    attributes: Attributes,
    level: Option<i32>,
    base_offset: Offset,
    leader_epoch: LeaderEpoch,
    producer_id: ProducerId,
    producer_epoch: ProducerEpoch,
    base_sequence: i32,
    base_timestamp: Option<TimestampMs>,
    max_timestamp: TimestampMs,
    append_time: Option<TimestampMs>,
    last_offset_delta: Option<i32>,
    next_offset_delta: i32,
    record_count: i32,
    payload: Vec<u8>,
}

impl Default for BatchBuilder {
    fn default() -> BatchBuilder {
        BatchBuilder::new()
    }
}

impl BatchBuilder {
    /// An empty batch as a plain producer begins it: base offset 0, uncompressed, no producer id, producer's time.
    #[must_use]
    pub fn new() -> BatchBuilder {
        BatchBuilder {
            attributes: Attributes(0),
            level: None,
            base_offset: Offset::ZERO,
            leader_epoch: LeaderEpoch::NONE,
            producer_id: ProducerId::NONE,
            producer_epoch: ProducerEpoch::NONE,
            base_sequence: -1,
            base_timestamp: None,
            max_timestamp: TimestampMs::NONE,
            append_time: None,
            last_offset_delta: None,
            next_offset_delta: 0,
            record_count: 0,
            payload: Vec::new(),
        }
    }

    /// An empty batch with everything of `header` but its records: what the cleaner fills with those it keeps.
    ///
    /// Base and last offset stay although records between them go (KIP-98), and so does the delete horizon.
    /// Without a record, the max timestamp stays as well, as Kafka's `writeEmptyHeader` leaves it.
    #[must_use]
    pub fn like(header: &BatchHeader) -> BatchBuilder {
        let append_time = match header.attributes.timestamp_type() {
            TimestampType::CreateTime => None,
            TimestampType::LogAppendTime => Some(header.max_timestamp),
        };
        BatchBuilder {
            attributes: header.attributes,
            base_offset: header.base_offset,
            leader_epoch: header.partition_leader_epoch,
            producer_id: header.producer_id,
            producer_epoch: header.producer_epoch,
            base_sequence: header.base_sequence,
            base_timestamp: header.delete_horizon(),
            max_timestamp: header.max_timestamp,
            append_time,
            last_offset_delta: Some(header.last_offset_delta),
            ..BatchBuilder::new()
        }
    }

    /// Compresses the records with `codec`, at one of [`Codec::levels`] or its default.
    #[must_use]
    pub fn compression(mut self, codec: Codec, level: Option<i32>) -> BatchBuilder {
        self.attributes = self.attributes.with_compression(codec);
        self.level = level;
        self
    }

    /// Gives the first record this offset.
    #[must_use]
    pub fn base_offset(mut self, base_offset: Offset) -> BatchBuilder {
        self.base_offset = base_offset;
        self
    }

    /// Stores the epoch of the leader that writes the batch.
    #[must_use]
    pub fn leader_epoch(mut self, epoch: LeaderEpoch) -> BatchBuilder {
        self.leader_epoch = epoch;
        self
    }

    /// Makes the batch an idempotent producer's, its first record of sequence number `base_sequence`.
    #[must_use]
    pub fn producer(mut self, id: ProducerId, epoch: ProducerEpoch, base_sequence: i32) -> BatchBuilder {
        self.producer_id = id;
        self.producer_epoch = epoch;
        self.base_sequence = base_sequence;
        self
    }

    /// Puts the batch into its producer's transaction.
    #[must_use]
    pub fn transactional(mut self) -> BatchBuilder {
        self.attributes = self.attributes.with_transactional(true);
        self
    }

    /// Makes the records control records, which applications never see.
    #[must_use]
    pub fn control(mut self) -> BatchBuilder {
        self.attributes = self.attributes.with_control(true);
        self
    }

    /// Gives every record the broker's time `now`.
    #[must_use]
    pub fn log_append_time(mut self, now: TimestampMs) -> BatchBuilder {
        self.attributes = self.attributes.with_timestamp_type(TimestampType::LogAppendTime);
        self.append_time = Some(now);
        self
    }

    /// Stores in place of the base timestamp when tombstones and markers may go (KIP-534).
    ///
    /// Must come before the first record, whose timestamp counts from it.
    #[must_use]
    pub fn delete_horizon(mut self, horizon: TimestampMs) -> BatchBuilder {
        assert_eq!(self.record_count, 0, "timestamps count from the horizon");
        self.attributes = self.attributes.with_delete_horizon(true);
        self.base_timestamp = Some(horizon);
        self
    }

    /// Fixes the last offset whatever records follow, as the cleaner must.
    #[must_use]
    pub fn last_offset_delta(mut self, delta: i32) -> BatchBuilder {
        self.last_offset_delta = Some(delta);
        self
    }

    /// Fixes the max timestamp of a batch that stays without records.
    #[must_use]
    pub fn max_timestamp(mut self, max: TimestampMs) -> BatchBuilder {
        self.max_timestamp = max;
        self
    }

    /// Appends a record at the next offset.
    pub fn append(&mut self, record: &NewRecord<'_>) -> &mut BatchBuilder {
        self.append_at(self.next_offset_delta, record)
    }

    /// Appends a record at `offset_delta` from the base offset; deltas ascend.
    pub fn append_at(&mut self, offset_delta: i32, record: &NewRecord<'_>) -> &mut BatchBuilder {
        let timestamp_delta = self.begin(offset_delta, record.timestamp);
        put_varint(&mut self.payload, length_i32(record_bytes(offset_delta, timestamp_delta, record)));
        self.payload.push(0);
        put_varlong(&mut self.payload, timestamp_delta);
        put_varint(&mut self.payload, offset_delta);
        put_nullable(&mut self.payload, record.key);
        put_nullable(&mut self.payload, record.value);
        put_varint(&mut self.payload, length_i32(record.headers.len()));
        for header in record.headers {
            put_nullable(&mut self.payload, Some(header.key));
            put_nullable(&mut self.payload, header.value);
        }
        self
    }

    /// Appends a record of another batch as it is, with a new offset delta and its timestamp made absolute.
    pub fn append_copy(
        &mut self,
        offset_delta: i32,
        timestamp: TimestampMs,
        record: &Record<'_>,
    ) -> &mut BatchBuilder {
        let timestamp_delta = self.begin(offset_delta, timestamp);
        let head = 1 + varlong_bytes(timestamp_delta) + varlong_bytes(i64::from(offset_delta));
        put_varint(&mut self.payload, length_i32(head + record.body.len()));
        self.payload.push(record.attributes as u8);
        put_varlong(&mut self.payload, timestamp_delta);
        put_varint(&mut self.payload, offset_delta);
        self.payload.extend_from_slice(record.body);
        self
    }

    /// Appends the record that ends a transaction; the batch must be a control batch of the transaction.
    pub fn append_marker(
        &mut self,
        timestamp: TimestampMs,
        marker: &EndTransactionMarker,
    ) -> &mut BatchBuilder {
        assert!(
            self.attributes.is_control() && self.attributes.is_transactional(),
            "markers end transactions"
        );
        let (key, value) = (marker.key(), marker.value());
        self.append(&NewRecord { timestamp, key: Some(&key), value: Some(&value), headers: &[] })
    }

    /// Records so far.
    #[must_use]
    pub fn record_count(&self) -> i32 {
        self.record_count
    }

    /// Bytes that the batch would have without compression.
    #[must_use]
    pub fn uncompressed_bytes(&self) -> usize {
        BATCH_HEADER_BYTES + self.payload.len()
    }

    /// The finished batch.
    ///
    /// A batch has records, or a last offset delta that was fixed, as an emptied batch of the cleaner has.
    #[must_use]
    pub fn build(&self) -> Vec<u8> {
        let fixed = self.last_offset_delta;
        assert!(self.record_count > 0 || fixed.is_some(), "a batch without records has a fixed last offset");
        let codec = self.attributes.compression().expect("a builder takes its codec from the enum");
        if self.record_count == 0 {
            let attributes = self.attributes.with_compression(Codec::None).with_delete_horizon(false);
            return self.assemble(attributes, TimestampMs::NONE, &[]);
        }
        let base_timestamp = self.base_timestamp.expect("the first record sets it");
        if codec == Codec::None {
            return self.assemble(self.attributes, base_timestamp, &self.payload);
        }
        self.assemble(self.attributes, base_timestamp, &compress(codec, self.level, &self.payload))
    }

    fn assemble(&self, attributes: Attributes, base_timestamp: TimestampMs, payload: &[u8]) -> Vec<u8> {
        let header = BatchHeader {
            base_offset: self.base_offset,
            batch_bytes: BATCH_HEADER_BYTES + payload.len(),
            partition_leader_epoch: self.leader_epoch,
            magic: MAGIC,
            crc: 0,
            attributes,
            last_offset_delta: self.last_offset_delta.unwrap_or(self.next_offset_delta - 1),
            base_timestamp,
            max_timestamp: self.append_time.unwrap_or(self.max_timestamp),
            producer_id: self.producer_id,
            producer_epoch: self.producer_epoch,
            base_sequence: self.base_sequence,
            record_count: self.record_count,
        };
        edit::assemble(&header, payload).expect("what a builder is given stays below 2 GiB")
    }

    /// Counts a record in and returns its timestamp delta.
    fn begin(&mut self, offset_delta: i32, timestamp: TimestampMs) -> i64 {
        assert!(offset_delta >= self.next_offset_delta, "offset deltas ascend");
        let timestamp = self.append_time.unwrap_or(timestamp);
        let base = *self.base_timestamp.get_or_insert(timestamp);
        self.max_timestamp =
            if self.record_count == 0 { timestamp } else { self.max_timestamp.max(timestamp) };
        self.record_count += 1;
        self.next_offset_delta =
            offset_delta.checked_add(1).expect("a batch has fewer than 2^31 - 1 offsets");
        timestamp.0.wrapping_sub(base.0)
    }
}

/// Bytes of a record behind its length.
fn record_bytes(offset_delta: i32, timestamp_delta: i64, record: &NewRecord<'_>) -> usize {
    let headers: usize =
        record.headers.iter().map(|h| nullable_bytes(Some(h.key)) + nullable_bytes(h.value)).sum();
    1 + varlong_bytes(timestamp_delta)
        + varlong_bytes(i64::from(offset_delta))
        + nullable_bytes(record.key)
        + nullable_bytes(record.value)
        + varlong_bytes(i64::from(length_i32(record.headers.len())))
        + headers
}

fn nullable_bytes(bytes: Option<&[u8]>) -> usize {
    match bytes {
        Some(bytes) => varlong_bytes(i64::from(length_i32(bytes.len()))) + bytes.len(),
        None => varlong_bytes(-1),
    }
}

fn put_nullable(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        Some(bytes) => {
            put_varint(out, length_i32(bytes.len()));
            out.extend_from_slice(bytes);
        }
        None => put_varint(out, -1),
    }
}

fn length_i32(length: usize) -> i32 {
    i32::try_from(length).expect("what a builder is given stays below 2 GiB")
}

#[cfg(test)]
mod tests;
