//! Records that say who they are: what is sent can be recognised, byte for byte, wherever it turns up.
//!
//! A record's value begins with the number of its batch and its index in it; the rest follows from those two, so that
//! nothing but a short description is kept of what was sent. A tombstone carries the two numbers in a header instead.

use std::collections::BTreeMap;
use std::rc::Rc;

use ottla::ids::{ProducerEpoch, ProducerId, TimestampMs};
use ottla::protocol::compression::{Codec, decompress};
use ottla::protocol::records::record::RecordIter;
use ottla::protocol::records::{
    Batch, BatchBuilder, BatchError, BatchHeader, BatchIter, NewRecord, Record, RecordHeader, crc_is_valid,
};

use crate::random::mix;

/// Bytes of a record's identity: the batch and the index.
pub const IDENTITY_BYTES: u32 = 8;
/// The key of the header that holds a tombstone's identity.
const IDENTITY_HEADER: &[u8] = b"id";
/// No batch that is sent decompresses to more.
const BATCH_BYTES_MAX: usize = 64 << 20;

/// A batch that was made by this client; numbers are never reused within a seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BatchId(pub u32);

/// A record: its batch and its index in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RecordId {
    /// The batch.
    pub batch: BatchId,
    /// The record's index in it.
    pub index: u32,
}

/// What a record holds besides its identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordSpec {
    /// The number of its key; `None` for a null key.
    pub key: Option<u32>,
    /// Bytes of its value, at least [`IDENTITY_BYTES`]; `None` for a tombstone.
    pub value_bytes: Option<u32>,
    /// Its time in milliseconds.
    pub timestamp: i64,
}

/// An idempotent producer's place in its sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sequenced {
    /// The producer's id.
    pub producer_id: i64,
    /// Its epoch.
    pub epoch: i16,
    /// The sequence number of the batch's first record.
    pub sequence: i32,
}

/// A batch as it is sent, however often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchSpec {
    /// Its number.
    pub id: BatchId,
    /// Its place in its producer's sequence; `None` for a plain producer.
    pub producer: Option<Sequenced>,
    /// How it is compressed.
    pub codec: Codec,
    /// Its records.
    pub records: Vec<RecordSpec>,
}

/// A record as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenRecord {
    /// Its offset.
    pub offset: i64,
    /// Which record it is.
    pub sighting: Sighting,
}

/// Which record was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sighting {
    /// This one, every byte of it.
    Known(RecordId),
    /// It says that it is this one, and this differs from what was sent.
    Altered(RecordId, &'static str),
    /// None that was ever sent.
    Stranger,
}

/// The batches of a history by their numbers.
pub type Batches = BTreeMap<BatchId, Rc<BatchSpec>>;

impl BatchSpec {
    /// A batch of a plain producer, uncompressed: `records` records without keys, with values of so many bytes.
    #[must_use]
    pub fn plain(id: u32, records: u32, value_bytes: u32) -> BatchSpec {
        let record = RecordSpec { key: None, value_bytes: Some(value_bytes), timestamp: 1_735_689_600_000 };
        let records = (0..records).map(|_| record).collect();
        BatchSpec { id: BatchId(id), producer: None, codec: Codec::None, records }
    }

    /// How many offsets the batch takes.
    #[must_use]
    pub fn count(&self) -> i64 {
        i64::try_from(self.records.len()).expect("a batch has few records")
    }

    /// The batch as a produce request carries it.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut builder = BatchBuilder::new().compression(self.codec, None);
        if let Some(Sequenced { producer_id, epoch, sequence }) = self.producer {
            builder = builder.producer(ProducerId(producer_id), ProducerEpoch(epoch), sequence);
        }
        for (index, record) in (0..).zip(&self.records) {
            let identity = identity_bytes(RecordId { batch: self.id, index });
            let key = record.key.map(key_bytes);
            let value = self.value_of(index, record);
            let headers = [RecordHeader { key: IDENTITY_HEADER, value: Some(&identity) }];
            builder.append(&NewRecord {
                timestamp: TimestampMs(record.timestamp),
                key: key.as_deref(),
                value: value.as_deref(),
                headers: if value.is_some() { &[] } else { &headers },
            });
        }
        builder.build()
    }

    /// The value of a record: its identity, and bytes that follow from it. Batches with a codec get bytes that repeat.
    fn value_of(&self, index: u32, record: &RecordSpec) -> Option<Vec<u8>> {
        let bytes = record.value_bytes? as usize;
        let identity = identity_bytes(RecordId { batch: self.id, index });
        let mut value = Vec::with_capacity(bytes + 8);
        value.extend_from_slice(&identity);
        let mut word = mix(u64::from_be_bytes(identity));
        while value.len() < bytes {
            value.extend_from_slice(&word.to_le_bytes());
            if self.codec == Codec::None || value.len() % 256 == 0 {
                word = mix(word.wrapping_add(1));
            }
        }
        value.truncate(bytes);
        Some(value)
    }
}

fn identity_bytes(record: RecordId) -> [u8; 8] {
    (u64::from(record.batch.0) << 32 | u64::from(record.index)).to_be_bytes()
}

fn key_bytes(key: u32) -> Vec<u8> {
    format!("key-{key}").into_bytes()
}

/// The records of a fetch response in the order of the log, without a batch that was cut off at the end, and the offset
/// behind the last batch; 0 where there is none.
///
/// # Errors
/// What is wrong with the bytes: no broker may send these.
pub fn read(batches: &Batches, bytes: &[u8]) -> Result<(Vec<SeenRecord>, i64), String> {
    let (mut seen, mut end) = (Vec::new(), 0);
    for batch in BatchIter::new(bytes) {
        match batch {
            Ok(batch) => {
                read_batch(batches, &batch, &mut seen)?;
                end = batch.header.next_offset().0;
            }
            Err(BatchError::Partial { .. }) => break,
            Err(error) => return Err(format!("no batch after {} records: {error}", seen.len())),
        }
    }
    Ok((seen, end))
}

fn read_batch(batches: &Batches, batch: &Batch<'_>, seen: &mut Vec<SeenRecord>) -> Result<(), String> {
    let header = &batch.header;
    let at = header.base_offset;
    if !crc_is_valid(batch.bytes) {
        return Err(format!("the batch at {at} has another CRC than it claims"));
    }
    let codec = header.attributes.compression().ok_or_else(|| format!("the batch at {at} has no codec"))?;
    let decompressed;
    let payload = match codec {
        Codec::None => batch.payload(),
        codec => {
            decompressed = decompress(codec, batch.payload(), BATCH_BYTES_MAX)
                .map_err(|error| format!("the batch at {at}: {error}"))?;
            &decompressed
        }
    };
    for record in RecordIter::new(payload, header.record_count) {
        let record = record.map_err(|error| format!("the batch at {at}: {error}"))?;
        let sighting = recognise(batches, header, &record);
        seen.push(SeenRecord { offset: record.offset(header).0, sighting });
    }
    Ok(())
}

/// Compares a record with what was sent under its identity.
fn recognise(batches: &Batches, header: &BatchHeader, record: &Record<'_>) -> Sighting {
    let Some(id) = identity_of(record) else { return Sighting::Stranger };
    let Some(batch) = batches.get(&id.batch) else { return Sighting::Stranger };
    let Some(sent) = batch.records.get(id.index as usize) else { return Sighting::Stranger };
    let sequenced = header.has_producer_id().then_some(Sequenced {
        producer_id: header.producer_id.0,
        epoch: header.producer_epoch.0,
        sequence: header.base_sequence,
    });
    if sequenced != batch.producer {
        return Sighting::Altered(id, "producer");
    }
    if record.timestamp(header).0 != sent.timestamp {
        return Sighting::Altered(id, "timestamp");
    }
    if record.key != sent.key.map(key_bytes).as_deref() {
        return Sighting::Altered(id, "key");
    }
    if record.value != batch.value_of(id.index, sent).as_deref() {
        return Sighting::Altered(id, "value");
    }
    if record.headers.len() != usize::from(sent.value_bytes.is_none()) {
        return Sighting::Altered(id, "headers");
    }
    Sighting::Known(id)
}

fn identity_of(record: &Record<'_>) -> Option<RecordId> {
    let bytes = match record.value {
        Some(value) => value,
        None => {
            let header = record.headers.iter().next()?.ok()?;
            (header.key == IDENTITY_HEADER).then_some(header.value).flatten()?
        }
    };
    let number = u64::from_be_bytes(*bytes.first_chunk::<8>()?);
    let batch = BatchId(u32::try_from(number >> 32).expect("the upper half of 64 bits"));
    Some(RecordId { batch, index: u32::try_from(number & 0xffff_ffff).expect("the lower half") })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(id: u32, codec: Codec) -> BatchSpec {
        let records = vec![
            RecordSpec { key: None, value_bytes: Some(8), timestamp: 1_000 },
            RecordSpec { key: Some(3), value_bytes: Some(1_000), timestamp: 900 },
            RecordSpec { key: Some(4), value_bytes: None, timestamp: 1_001 },
        ];
        let producer = Some(Sequenced { producer_id: 5, epoch: 0, sequence: 7 });
        BatchSpec { id: BatchId(id), producer, codec, records }
    }

    fn known(batches: &Batches, bytes: &[u8]) -> Vec<Sighting> {
        let (seen, _) = read(batches, bytes).expect("whole batches");
        seen.into_iter().map(|record| record.sighting).collect()
    }

    #[test]
    fn what_is_sent_is_recognised() {
        for codec in [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
            let batch = Rc::new(spec(9, codec));
            let batches = Batches::from([(batch.id, Rc::clone(&batch))]);
            let id = |index| Sighting::Known(RecordId { batch: BatchId(9), index });
            let mut bytes = batch.encode();
            assert_eq!(known(&batches, &bytes), [id(0), id(1), id(2)]);
            // A second batch that is cut off is not looked at.
            let whole = bytes.len();
            bytes.extend_from_within(..whole - 1);
            assert_eq!(known(&batches, &bytes).len(), 3);
        }
    }

    #[test]
    fn another_byte_is_another_record() {
        let batch = Rc::new(spec(9, Codec::None));
        let bytes = batch.encode();
        let mut flipped = bytes.clone();
        *flipped.last_mut().expect("a batch has bytes") ^= 1;
        let batches = Batches::from([(batch.id, Rc::clone(&batch))]);
        assert!(read(&batches, &flipped).expect_err("the CRC is wrong").contains("CRC"));
        // The same identity with other contents, under a right CRC.
        for (change, what) in [
            (RecordSpec { value_bytes: Some(9), ..batch.records[0] }, "value"),
            (RecordSpec { key: Some(1), ..batch.records[0] }, "key"),
            (RecordSpec { timestamp: 1, ..batch.records[0] }, "timestamp"),
        ] {
            let mut other = (*batch).clone();
            other.records[0] = change;
            let id = RecordId { batch: BatchId(9), index: 0 };
            assert_eq!(known(&batches, &other.encode())[0], Sighting::Altered(id, what));
        }
        let mut other = (*batch).clone();
        other.producer = None;
        assert!(matches!(known(&batches, &other.encode())[0], Sighting::Altered(_, "producer")));
    }

    #[test]
    fn what_was_never_sent_is_a_stranger() {
        let batch = spec(9, Codec::None);
        assert_eq!(known(&Batches::new(), &batch.encode())[0], Sighting::Stranger);
        let mut shorter = batch.clone();
        shorter.records.truncate(1);
        let batches = Batches::from([(batch.id, Rc::new(shorter))]);
        assert_eq!(known(&batches, &batch.encode())[2], Sighting::Stranger);
    }
}
