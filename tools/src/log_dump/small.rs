//! The small files of a partition: producer snapshots and transaction indexes, entry by entry as they stand there.

use std::io::{Read, Write};
use std::path::Path;

use ottla::log::producer_entry::NO_SEQUENCE;
use ottla::log::txn_index::ABORTED_ENTRY_BYTES;
use ottla_wire::Reader;

use super::{DumpError, unreadable};

/// The version of a snapshot.
const SNAPSHOT_VERSION: i16 = 1;
/// Bytes of version and checksum, which are not under the checksum.
const SNAPSHOT_HEAD_BYTES: usize = 6;
/// The most bytes of a snapshot: two million producers.
const SNAPSHOT_BYTES_MAX: u64 = 128 << 20;
/// The version of an aborted transaction.
const ABORTED_VERSION: i16 = 0;

/// Prints a producer snapshot. One that is damaged is a line on standard error, and no failure.
pub fn dump_producers(path: &Path, out: &mut dyn Write, err: &mut dyn Write) -> Result<(), DumpError> {
    let file = std::fs::File::open(path).map_err(|error| unreadable(path, error))?;
    let mut bytes = Vec::new();
    file.take(SNAPSHOT_BYTES_MAX).read_to_end(&mut bytes).map_err(|error| unreadable(path, error))?;
    let entries = match producers(&bytes) {
        Ok(entries) => entries,
        Err(finding) => {
            out.flush()?;
            return Ok(writeln!(err, "{finding}")?);
        }
    };
    for entry in entries {
        write!(
            out,
            "producerId: {} producerEpoch: {} coordinatorEpoch: {} currentTxnFirstOffset: {} lastTimestamp: {}",
            entry.producer_id,
            entry.epoch,
            entry.coordinator_epoch,
            entry
                .first_offset
                .map_or("OptionalLong.empty".to_owned(), |offset| format!("OptionalLong[{offset}]")),
            entry.timestamp,
        )?;
        if entry.last_offset >= 0 {
            let first_sequence = match entry.last_sequence {
                NO_SEQUENCE => NO_SEQUENCE,
                last => first_sequence(last, entry.offset_delta),
            };
            write!(
                out,
                " firstSequence: {first_sequence} lastSequence: {} lastOffset: {} offsetDelta: {} timestamp: {}",
                entry.last_sequence, entry.last_offset, entry.offset_delta, entry.timestamp,
            )?;
        }
        writeln!(out)?;
    }
    Ok(())
}

/// The sequence number that lies `delta` before `last`, as Kafka's `DefaultRecordBatch.decrementSequence` counts; of a
/// damaged file it is no use, and the same.
pub(super) fn first_sequence(last: i32, delta: i32) -> i32 {
    if last < delta {
        i32::MAX.wrapping_sub(delta.wrapping_sub(last)).wrapping_add(1)
    } else {
        last.wrapping_sub(delta)
    }
}

/// One entry of a producer snapshot.
struct Producer {
    producer_id: i64,
    epoch: i16,
    last_sequence: i32,
    last_offset: i64,
    offset_delta: i32,
    timestamp: i64,
    coordinator_epoch: i32,
    first_offset: Option<i64>,
}

/// The entries of a snapshot, or what is wrong with it in Kafka's words.
fn producers(bytes: &[u8]) -> Result<Vec<Producer>, String> {
    let schema = |error: ottla_wire::DecodeError| format!("Snapshot failed schema validation: {error}");
    let mut reader = Reader::new(bytes);
    let version = reader.i16().map_err(schema)?;
    if version != SNAPSHOT_VERSION {
        return Err(format!(
            "Snapshot failed schema validation: Snapshot contained an unknown file version {version}"
        ));
    }
    let stored = reader.u32().map_err(schema)?;
    let count = reader.i32().map_err(schema)?;
    if count < 0 {
        let null = "non-nullable field producerEntries was serialized as null";
        return Err(format!("Snapshot failed schema validation: {null}"));
    }
    let mut entries = Vec::new();
    for _ in 0..count {
        entries.push(producer(&mut reader).map_err(schema)?);
    }
    let computed = crc32c::crc32c(&bytes[SNAPSHOT_HEAD_BYTES..]);
    if stored != computed {
        return Err(format!(
            "Snapshot is corrupt (CRC is no longer valid). Stored crc: {stored}. Computed crc: {computed}"
        ));
    }
    Ok(entries)
}

fn producer(reader: &mut Reader<'_>) -> Result<Producer, ottla_wire::DecodeError> {
    Ok(Producer {
        producer_id: reader.i64()?,
        epoch: reader.i16()?,
        last_sequence: reader.i32()?,
        last_offset: reader.i64()?,
        offset_delta: reader.i32()?,
        timestamp: reader.i64()?,
        coordinator_epoch: reader.i32()?,
        first_offset: Some(reader.i64()?).filter(|offset| *offset >= 0),
    })
}

/// Prints a transaction index; one that is not there is empty.
pub fn dump_aborted(path: &Path, out: &mut dyn Write) -> Result<(), DumpError> {
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(unreadable(path, error)),
    };
    let mut reader = std::io::BufReader::new(file);
    let mut entry = [0; ABORTED_ENTRY_BYTES];
    loop {
        match reader.read_exact(&mut entry) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(()),
            Err(error) => return Err(unreadable(path, error)),
        }
        let [high, low, words @ ..] = entry;
        let version = i16::from_be_bytes([high, low]);
        if version > ABORTED_VERSION {
            return Err(DumpError::Refused(format!(
                "Unexpected aborted transaction version {version} in transaction index {}, current version is \
                 {ABORTED_VERSION}",
                super::absolute(path)
            )));
        }
        let word = |place: usize| i64::from_be_bytes(words.as_chunks::<8>().0[place]);
        writeln!(
            out,
            "version: {version} producerId: {} firstOffset: {} lastOffset: {} lastStableOffset: {}",
            word(0),
            word(1),
            word(2),
            word(3)
        )?;
    }
}
