//! Time indexes, compared with their segments by way of the offset index.

use std::io::Write;
use std::path::Path;

use ottla::protocol::compression::{Codec, Decompressor};
use ottla::protocol::records::{BatchHeader, RecordIter};

use super::findings::Findings;
use super::offset_index::{IndexFile, OffsetIndexFile};
use super::segment_file::SegmentFile;
use super::{DumpArgs, DumpError, absolute, base_offset, segment_name, sibling};

/// Bytes of an entry: a timestamp and a relative offset.
const ENTRY_BYTES: usize = 12;
/// What a batch without a record has.
const NO_TIMESTAMP: i64 = -1;
/// The most bytes that the records of one batch may take when they are decompressed.
const DECOMPRESSED_BYTES_MAX: usize = 1 << 30;

struct TimeIndexFile {
    file: IndexFile,
    base_offset: i64,
}

impl TimeIndexFile {
    /// The timestamp and the offset of an entry.
    fn entry(&mut self, slot: u64) -> Result<(i64, i64), DumpError> {
        let bytes = self.file.entry::<ENTRY_BYTES>(slot)?;
        let [a, b, c, d, e, f, g, h, relative @ ..] = bytes;
        let timestamp = i64::from_be_bytes([a, b, c, d, e, f, g, h]);
        Ok((timestamp, self.base_offset + i64::from(i32::from_be_bytes(relative))))
    }

    /// The check of a broker's start.
    fn sanity_check(&mut self, path: &Path) -> Result<(), DumpError> {
        let (name, bytes) = (absolute(path), self.file.bytes());
        if let Some(last) = self.file.entries().checked_sub(1) {
            let ((first_time, _), (time, offset)) = (self.entry(0)?, self.entry(last)?);
            let found = format!("Corrupt time index found, time index file ({name}) has non-zero size but");
            if time < first_time {
                return Err(DumpError::Refused(format!(
                    "{found} the last timestamp is {time} which is less than the first timestamp {first_time}"
                )));
            }
            if offset < self.base_offset {
                let base = self.base_offset;
                return Err(DumpError::Refused(format!(
                    "{found} the last offset is {offset} which is less than the first offset {base}"
                )));
            }
        }
        if !bytes.is_multiple_of(ENTRY_BYTES as u64) {
            return Err(DumpError::Refused(format!(
                "Time index file {name} is corrupt, found {bytes} bytes which is neither positive nor a multiple of \
                 {ENTRY_BYTES}"
            )));
        }
        Ok(())
    }
}

/// Prints an index, or compares it alone.
pub fn dump(
    path: &Path,
    args: &DumpArgs,
    out: &mut dyn Write,
    findings: &mut Findings,
) -> Result<(), DumpError> {
    let (name, base_offset) = (segment_name(path), base_offset(path)?);
    let segment = SegmentFile::open(&sibling(path, &name, "log"))?;
    let mut offsets = OffsetIndexFile::open(&sibling(path, &name, "index"), base_offset)?;
    let mut index = TimeIndexFile { file: IndexFile::open(path, ENTRY_BYTES)?, base_offset };
    if args.index_sanity_check {
        index.sanity_check(path)?;
        writeln!(out, "{} passed sanity check.", path.display())?;
        return Ok(());
    }
    let mut previous = NO_TIMESTAMP;
    for slot in 0..index.file.entries() {
        let (timestamp, offset) = index.entry(slot)?;
        // Behind the entries of an index that was never trimmed stand zeros.
        if offset == base_offset && slot > 0 {
            break;
        }
        let position = offsets.lookup(offset)?;
        compare(&Entry { timestamp, offset, previous, path }, &segment, position, findings)?;
        if !args.verify_index_only {
            writeln!(out, "timestamp: {timestamp} offset: {offset}")?;
        }
        previous = timestamp;
    }
    Ok(())
}

struct Entry<'a> {
    timestamp: i64,
    offset: i64,
    /// The timestamp of the entry before.
    previous: i64,
    path: &'a Path,
}

/// Looks for the batch of an entry from `position` on.
fn compare(
    entry: &Entry<'_>,
    segment: &SegmentFile,
    position: i32,
    findings: &mut Findings,
) -> Result<(), DumpError> {
    let path = absolute(entry.path);
    let from = u64::try_from(position).map_err(|_| {
        DumpError::Refused(format!("Invalid position: {position} in the offset index of {path}"))
    })?;
    let mut batches = segment.batches(from, i32::MAX)?;
    let found = loop {
        match batches.next()? {
            None => break None,
            Some(batch) if batch.header.last_offset().0 >= entry.offset => break Some(batch),
            Some(_) => {}
        }
    };
    let Some(batch) = found.filter(|batch| batch.header.last_offset().0 == entry.offset) else {
        let last = found.map_or(-1, |batch| batch.header.last_offset().0);
        findings.offsets_not_found.add(&path, (entry.offset, last));
        return Ok(());
    };
    let latest = latest_timestamp(&batch.header, batches.whole(&batch)?)?;
    if latest != entry.timestamp {
        findings.time_mismatches.add(&path, (entry.timestamp, latest));
    }
    if entry.previous >= entry.timestamp {
        findings.times_out_of_order.add(&path, (entry.timestamp, entry.previous));
    }
    Ok(())
}

/// The latest timestamp of the records themselves.
fn latest_timestamp(header: &BatchHeader, bytes: &[u8]) -> Result<i64, DumpError> {
    let damaged = |why: String| {
        DumpError::Refused(format!("the batch at offset {} holds no records: {why}", header.base_offset.0))
    };
    let codec = header.attributes.compression().ok_or_else(|| damaged("unknown codec".to_owned()))?;
    let payload = &bytes[ottla::limits::BATCH_HEADER_BYTES..];
    let mut decompressor = Decompressor::new();
    let payload = match codec {
        Codec::None => payload,
        codec => decompressor
            .decompress(codec, payload, DECOMPRESSED_BYTES_MAX)
            .map_err(|error| damaged(error.to_string()))?,
    };
    let mut latest = NO_TIMESTAMP;
    for record in RecordIter::new(payload, header.record_count) {
        let record = record.map_err(|error| damaged(error.to_string()))?;
        latest = latest.max(record.timestamp(header).0);
    }
    Ok(latest)
}
