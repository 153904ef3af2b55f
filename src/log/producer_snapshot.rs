//! The file that keeps a partition's producers over a restart: `<offset>.snapshot`.
//!
//! Written by the owner shard when a segment is rolled, at a checkpoint and at a clean stop; the offset in the name
//! is the log's end at that moment. On disk it is Kafka's schema `ProducerSnapshot` version 1: the version (16 bits),
//! a CRC-32C of what follows it, the number of entries (32 bits), and 46 bytes per entry, all big-endian.
//!
//! Kafka writes one entry per producer, with its newest batch alone: after a restart it cannot tell a repetition of
//! the four batches before. We write an entry for each remembered batch, oldest first. Kafka's reader keeps the last
//! entry of a producer, so it takes from our file just what it would take from its own.

use std::collections::BTreeMap;

use thiserror::Error;

use super::producer_entry::{NO_SEQUENCE, ProducerEntry, SequencedBatch};
use super::producers::Producers;
use crate::ids::{Offset, ProducerEpoch, ProducerId, TimestampMs};
use crate::time::Monotonic;

/// Bytes of one entry.
const ENTRY_BYTES: usize = 46;

/// Bytes before the entries: version, CRC, count.
const PREFIX_BYTES: usize = 10;

/// Where the CRC-covered bytes begin.
const CRC_FROM: usize = 6;

const VERSION: i16 = 1;

/// Why a snapshot cannot be read; the next older one is taken, and the batches behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SnapshotError {
    /// The file is shorter than its first fields.
    #[error("{0} bytes are no producer snapshot")]
    Short(usize),
    /// The file is of another version.
    #[error("version {0} where producer snapshots have version 1")]
    Version(i16),
    /// The file's length does not fit its number of entries.
    #[error("{entries} entries do not fit into {bytes} bytes")]
    Count {
        /// What the file says.
        entries: i32,
        /// Bytes of the file.
        bytes: usize,
    },
    /// The entries are not those that were written.
    #[error("the CRC does not fit the entries")]
    Crc,
    /// An entry that no broker writes.
    #[error("entry {0} is malformed")]
    Entry(usize),
}

/// The bytes of the snapshot of `producers` as they are.
#[must_use]
pub fn encode_snapshot(producers: &Producers) -> Vec<u8> {
    let count: usize = producers.iter().map(|(_, entry)| entry.batches().len().max(1)).sum();
    let count = i32::try_from(count).expect("few producers are remembered, with few batches each");
    let mut bytes = Vec::with_capacity(PREFIX_BYTES + count as usize * ENTRY_BYTES);
    bytes.extend_from_slice(&VERSION.to_be_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&count.to_be_bytes());
    for (id, entry) in producers.iter() {
        let Some((newest, older)) = entry.batches().split_last() else {
            encode_entry(&mut bytes, id, entry, None);
            continue;
        };
        for batch in older {
            encode_entry(&mut bytes, id, entry, Some(*batch));
        }
        // The newest entry carries the time of the last marker too, as Kafka's one entry does.
        let newest = SequencedBatch { timestamp: entry.last_timestamp, ..*newest };
        encode_entry(&mut bytes, id, entry, Some(newest));
    }
    let crc = crc32c::crc32c(&bytes[CRC_FROM..]);
    bytes[2..CRC_FROM].copy_from_slice(&crc.to_be_bytes());
    assert_eq!(bytes.len(), PREFIX_BYTES + count as usize * ENTRY_BYTES, "every entry has its 46 bytes");
    bytes
}

fn encode_entry(bytes: &mut Vec<u8>, id: ProducerId, entry: &ProducerEntry, batch: Option<SequencedBatch>) {
    let batch = batch.unwrap_or(SequencedBatch {
        last_sequence: NO_SEQUENCE,
        last_offset: Offset::NONE,
        offset_delta: 0,
        timestamp: entry.last_timestamp,
    });
    bytes.extend_from_slice(&id.0.to_be_bytes());
    bytes.extend_from_slice(&entry.epoch.0.to_be_bytes());
    bytes.extend_from_slice(&batch.last_sequence.to_be_bytes());
    bytes.extend_from_slice(&batch.last_offset.0.to_be_bytes());
    bytes.extend_from_slice(&batch.offset_delta.to_be_bytes());
    bytes.extend_from_slice(&batch.timestamp.0.to_be_bytes());
    bytes.extend_from_slice(&entry.coordinator_epoch.to_be_bytes());
    let first_offset = entry.transaction_first_offset.unwrap_or(Offset::NONE);
    bytes.extend_from_slice(&first_offset.0.to_be_bytes());
}

/// Reads a snapshot; its producers count as used at `now`.
///
/// # Errors
/// [`SnapshotError`] where any byte is not as it was written.
pub fn decode_snapshot(
    bytes: &[u8],
    now: Monotonic,
) -> Result<BTreeMap<ProducerId, ProducerEntry>, SnapshotError> {
    let Some(prefix) = bytes.first_chunk::<PREFIX_BYTES>() else {
        return Err(SnapshotError::Short(bytes.len()));
    };
    let version = i16::from_be_bytes([prefix[0], prefix[1]]);
    if version != VERSION {
        return Err(SnapshotError::Version(version));
    }
    let crc = u32::from_be_bytes([prefix[2], prefix[3], prefix[4], prefix[5]]);
    if crc != crc32c::crc32c(&bytes[CRC_FROM..]) {
        return Err(SnapshotError::Crc);
    }
    let count = i32::from_be_bytes([prefix[6], prefix[7], prefix[8], prefix[9]]);
    let (chunks, rest) = bytes[PREFIX_BYTES..].as_chunks::<ENTRY_BYTES>();
    if !rest.is_empty() || usize::try_from(count) != Ok(chunks.len()) {
        return Err(SnapshotError::Count { entries: count, bytes: bytes.len() });
    }
    let mut entries = BTreeMap::new();
    for (slot, chunk) in chunks.iter().enumerate() {
        take_entry(&mut entries, chunk, now).ok_or(SnapshotError::Entry(slot))?;
    }
    Ok(entries)
}

/// Adds one entry of the file, whose batch is the newest of its producer so far.
fn take_entry(
    entries: &mut BTreeMap<ProducerId, ProducerEntry>,
    chunk: &[u8; ENTRY_BYTES],
    now: Monotonic,
) -> Option<()> {
    let mut fields = Fields(chunk);
    let id = ProducerId(i64::from_be_bytes(fields.take()));
    let epoch = ProducerEpoch(i16::from_be_bytes(fields.take()));
    let batch = SequencedBatch {
        last_sequence: i32::from_be_bytes(fields.take()),
        last_offset: Offset(i64::from_be_bytes(fields.take())),
        offset_delta: i32::from_be_bytes(fields.take()),
        timestamp: TimestampMs(i64::from_be_bytes(fields.take())),
    };
    let coordinator_epoch = i32::from_be_bytes(fields.take());
    let first_offset = Offset(i64::from_be_bytes(fields.take()));
    assert!(fields.0.is_empty(), "the fields of an entry take its 46 bytes");
    if id.0 < 0 || batch.offset_delta < 0 || i64::from(batch.offset_delta) > batch.last_offset.0.max(0) {
        return None;
    }
    let entry = entries.entry(id).or_insert_with(|| ProducerEntry::new(epoch, now));
    entry.last_timestamp = batch.timestamp;
    entry.coordinator_epoch = coordinator_epoch;
    entry.transaction_first_offset = (first_offset.0 >= 0).then_some(first_offset);
    let last = entry.batches().last().map_or(Offset::NONE, |last| last.last_offset);
    if batch.last_offset.0 >= 0 {
        if last >= batch.last_offset {
            return None;
        }
        entry.add_batch(epoch, batch);
    } else if entry.epoch != epoch {
        return None;
    }
    Some(())
}

/// The bytes of an entry that are still to be read.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let (field, rest) = self.0.split_first_chunk().expect("the fields of an entry take its 46 bytes");
        self.0 = rest;
        *field
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::producers::{AppendOrigin, ProducerBatch, Verdict};
    use crate::log::testing::{batch, control};
    use crate::protocol::records::EndTransactionMarker;

    const NOW: Monotonic = Monotonic(9);

    fn some_producers() -> Producers {
        let mut producers = Producers::new(Offset(0), 100);
        for at in 0..7 {
            let header = batch(at * 2, 2).producer(5, 1, i32::try_from(at * 2).expect("small")).header();
            producers.apply(ProducerBatch { header: &header, marker: None }, NOW);
        }
        let open = batch(14, 1).producer(6, 0, 0).transactional().header();
        producers.apply(ProducerBatch { header: &open, marker: None }, NOW);
        let ended = control(15, 9, 3).header();
        let marker = EndTransactionMarker { committed: true, coordinator_epoch: 8 };
        producers.apply(ProducerBatch { header: &ended, marker: Some(marker) }, NOW);
        producers
    }

    #[test]
    fn the_layout_is_kafkas() {
        let mut producers = Producers::new(Offset(0), 100);
        let header = batch(70, 3).producer(5, 1, 20).timestamp(99).header();
        producers.apply(ProducerBatch { header: &header, marker: None }, NOW);
        let bytes = encode_snapshot(&producers);
        assert_eq!(bytes[..2], [0, 1]);
        assert_eq!(bytes[6..10], [0, 0, 0, 1]);
        let mut entry = Vec::new();
        entry.extend_from_slice(&5_i64.to_be_bytes());
        entry.extend_from_slice(&1_i16.to_be_bytes());
        entry.extend_from_slice(&22_i32.to_be_bytes());
        entry.extend_from_slice(&72_i64.to_be_bytes());
        entry.extend_from_slice(&2_i32.to_be_bytes());
        entry.extend_from_slice(&99_i64.to_be_bytes());
        entry.extend_from_slice(&(-1_i32).to_be_bytes());
        entry.extend_from_slice(&(-1_i64).to_be_bytes());
        assert_eq!(bytes[10..], entry);
        assert_eq!(encode_snapshot(&Producers::new(Offset(0), 1))[6..], [0; 4]);
    }

    #[test]
    fn every_remembered_batch_survives() {
        let producers = some_producers();
        let bytes = encode_snapshot(&producers);
        assert_eq!(bytes.len(), 10 + 46 * (5 + 1 + 1));
        let decoded = decode_snapshot(&bytes, NOW).expect("own bytes");
        let loaded = Producers::from_snapshot(decoded, producers.end_offset(), 100);
        assert_eq!(loaded.iter().collect::<Vec<_>>(), producers.iter().collect::<Vec<_>>());
        assert_eq!(loaded.first_undecided_offset(), Some(Offset(14)));
        let oldest = batch(999, 2).producer(5, 1, 4).header();
        let verdict = loaded.check(
            ProducerBatch { header: &oldest, marker: None },
            AppendOrigin::Client,
            Default::default(),
        );
        let Ok(Verdict::Duplicate(duplicate)) = verdict else { panic!("{verdict:?}") };
        assert_eq!((duplicate.base_offset, duplicate.last_offset), (Offset(4), Offset(5)));
    }

    #[test]
    fn any_flipped_bit_is_noticed() {
        let bytes = encode_snapshot(&some_producers());
        for at in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[at] ^= 0x40;
            assert!(decode_snapshot(&bad, NOW).is_err(), "byte {at}");
        }
        for at in 0..bytes.len() {
            assert!(decode_snapshot(&bytes[..at], NOW).is_err(), "cut at {at}");
        }
    }

    fn with_crc(mut bytes: Vec<u8>) -> Vec<u8> {
        let crc = crc32c::crc32c(&bytes[CRC_FROM..]);
        bytes[2..CRC_FROM].copy_from_slice(&crc.to_be_bytes());
        bytes
    }

    #[test]
    fn entries_that_no_broker_writes_are_refused() {
        let bytes = encode_snapshot(&some_producers());
        let mut backwards = bytes.clone();
        backwards[10..56].copy_from_slice(&bytes[56..102]);
        assert_eq!(decode_snapshot(&with_crc(backwards), NOW), Err(SnapshotError::Entry(1)));
        let mut negative = bytes.clone();
        negative[10] = 0xff;
        assert_eq!(decode_snapshot(&with_crc(negative), NOW), Err(SnapshotError::Entry(0)));
        let mut huge = bytes.clone();
        huge[6] = 0x7f;
        assert!(matches!(decode_snapshot(&with_crc(huge), NOW), Err(SnapshotError::Count { .. })));
        assert_eq!(decode_snapshot(&[0, 2, 0, 0, 0, 0, 0, 0, 0, 0], NOW), Err(SnapshotError::Version(2)));
        assert_eq!(decode_snapshot(&[], NOW), Err(SnapshotError::Short(0)));
    }
}
