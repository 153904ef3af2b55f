//! Segments and snapshots of the metadata log: a line per batch, and one per record where they are asked for.

use std::io::Write;
use std::path::Path;

use ottla::controller::snapshot::SnapshotId;
use ottla::protocol::compression::{Codec, Decompressor};
use ottla::protocol::records::header::sequence_plus;
use ottla::protocol::records::{
    BatchHeader, ControlRecordType, EndTransactionMarker, Record, RecordIter, TimestampType, crc_is_valid,
};
use ottla_wire::k_raft_version_record::KRaftVersionRecord;
use ottla_wire::leader_change_message::LeaderChangeMessage;
use ottla_wire::snapshot_footer_record::SnapshotFooterRecord;
use ottla_wire::snapshot_header_record::SnapshotHeaderRecord;
use ottla_wire::voters_record::VotersRecord;
use ottla_wire::{DecodeError, Json, Message, ToJson, decode_version};

use super::decode::Decoder;
use super::findings::Findings;
use super::segment_file::{FoundBatch, SegmentFile};
use super::{DumpError, absolute, base_offset, file_name};

/// The most bytes that the records of one batch may take when they are decompressed.
const DECOMPRESSED_BYTES_MAX: usize = 1 << 30;
/// What a start without a cluster writes beside the metadata log.
const BOOTSTRAP: &str = "bootstrap.checkpoint";

/// What is printed of a segment.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// A line for each record.
    pub is_deep: bool,
    /// How keys and values are printed, if they are.
    pub decoder: Option<Decoder>,
    /// Nothing but keys and values.
    pub skip_metadata: bool,
    /// Bytes that are read of the file.
    pub bytes_max: i32,
}

/// Prints a file.
pub fn dump(
    path: &Path,
    options: &Options,
    out: &mut dyn Write,
    findings: &mut Findings,
) -> Result<(), DumpError> {
    heading(path, out)?;
    let file = SegmentFile::open(path)?;
    let mut batches = file.batches(0, options.bytes_max)?;
    let mut records = Records {
        options,
        path: absolute(path),
        findings,
        last_offset: -1,
        decompressor: Decompressor::new(),
    };
    let mut valid_bytes = 0;
    while let Some(batch) = batches.next()? {
        valid_bytes = batch.position + batch.header.batch_bytes as u64;
        let bytes = batches.whole(&batch)?;
        print_batch(&batch, crc_is_valid(bytes), out)?;
        if options.is_deep {
            records.print(&batch.header, bytes, out)?;
        }
    }
    let trailing = batches.bytes() - valid_bytes;
    if trailing > 0 && options.bytes_max == i32::MAX {
        writeln!(out, "Found {trailing} invalid bytes at the end of {}", file_name(path))?;
    }
    Ok(())
}

fn heading(path: &Path, out: &mut dyn Write) -> Result<(), DumpError> {
    let name = file_name(path);
    if name == BOOTSTRAP {
        writeln!(out, "KRaft bootstrap snapshot")?;
    } else if let Some(id) = SnapshotId::parse(&name) {
        writeln!(out, "Snapshot end offset: {}, epoch: {}", id.end, id.epoch)?;
    } else if name.ends_with(ottla::controller::snapshot::SUFFIX) {
        return Err(DumpError::Refused(format!("{}: the name is not that of a snapshot", path.display())));
    } else {
        writeln!(out, "Log starting offset: {}", base_offset(path)?)?;
    }
    Ok(())
}

fn timestamp_type(header: &BatchHeader) -> &'static str {
    match header.attributes.timestamp_type() {
        TimestampType::CreateTime => "CreateTime",
        TimestampType::LogAppendTime => "LogAppendTime",
    }
}

fn print_batch(batch: &FoundBatch, is_valid: bool, out: &mut dyn Write) -> Result<(), DumpError> {
    let header = &batch.header;
    let codec = header.attributes.compression().ok_or_else(|| {
        DumpError::Refused(format!("Unknown compression type id: {}", header.attributes.0 & 7))
    })?;
    let horizon = match header.delete_horizon() {
        Some(horizon) => format!("OptionalLong[{}]", horizon.0),
        None => "OptionalLong.empty".to_owned(),
    };
    writeln!(
        out,
        "baseOffset: {} lastOffset: {} count: {} baseSequence: {} lastSequence: {} producerId: {} producerEpoch: {} \
         partitionLeaderEpoch: {} isTransactional: {} isControl: {} deleteHorizonMs: {horizon} position: {} {}: {} \
         size: {} magic: {} compresscodec: {} crc: {} isvalid: {is_valid}",
        header.base_offset.0,
        header.last_offset().0,
        header.record_count,
        header.base_sequence,
        header.last_sequence(),
        header.producer_id.0,
        header.producer_epoch.0,
        header.partition_leader_epoch.0,
        header.attributes.is_transactional(),
        header.attributes.is_control(),
        batch.position,
        timestamp_type(header),
        header.max_timestamp.0,
        header.batch_bytes,
        batch.magic,
        codec.name(),
        header.crc,
    )?;
    Ok(())
}

/// The records of a file, one batch after the other.
struct Records<'a> {
    options: &'a Options,
    path: String,
    findings: &'a mut Findings,
    last_offset: i64,
    decompressor: Decompressor,
}

impl Records<'_> {
    fn print(&mut self, header: &BatchHeader, bytes: &[u8], out: &mut dyn Write) -> Result<(), DumpError> {
        let damaged = |why: String| {
            DumpError::Refused(format!(
                "{}: the batch at offset {} holds no records: {why}",
                self.path, header.base_offset.0
            ))
        };
        let payload = &bytes[ottla::limits::BATCH_HEADER_BYTES..];
        let codec = header.attributes.compression().expect("its line is printed");
        let payload = match codec {
            Codec::None => payload,
            codec => self
                .decompressor
                .decompress(codec, payload, DECOMPRESSED_BYTES_MAX)
                .map_err(|error| damaged(error.to_string()))?,
        };
        for record in RecordIter::new(payload, header.record_count) {
            let record = record.map_err(|error| damaged(error.to_string()))?;
            let offset = record.offset(header).0;
            if offset != self.last_offset.wrapping_add(1) {
                self.findings.not_consecutive.add(&self.path, (self.last_offset, offset));
            }
            self.last_offset = offset;
            if !self.options.skip_metadata {
                print_metadata(header, &record, out)?;
            }
            if let Some(decoder) = self.options.decoder.filter(|_| !header.attributes.is_control()) {
                let prefix = if self.options.skip_metadata { "| " } else { " " };
                print_contents(decoder.decode(offset, record.key, record.value)?, prefix, out)?;
            }
            writeln!(out)?;
        }
        Ok(())
    }
}

/// Bytes of a key or value, -1 for none.
fn size(bytes: Option<&[u8]>) -> i64 {
    bytes.map_or(-1, |bytes| i64::try_from(bytes.len()).expect("a batch has at most 2 GiB"))
}

fn print_metadata(header: &BatchHeader, record: &Record<'_>, out: &mut dyn Write) -> Result<(), DumpError> {
    let sequence = match header.base_sequence {
        base if base >= 0 => sequence_plus(base, record.offset_delta),
        _ => -1,
    };
    let keys: Result<Vec<String>, _> = record
        .headers
        .iter()
        .map(|header| header.map(|header| String::from_utf8_lossy(header.key).into_owned()))
        .collect();
    let keys = keys.map_err(|error| DumpError::Refused(format!("the headers of a record: {error}")))?;
    write!(
        out,
        "| offset: {} {}: {} keySize: {} valueSize: {} sequence: {sequence} headerKeys: [{}]",
        record.offset(header).0,
        timestamp_type(header),
        record.timestamp(header).0,
        size(record.key),
        size(record.value),
        keys.join(","),
    )?;
    if header.attributes.is_control() {
        print_control(record, out)?;
    }
    Ok(())
}

fn print_contents(
    (key, value): (Option<String>, Option<String>),
    prefix: &str,
    out: &mut dyn Write,
) -> Result<(), DumpError> {
    let mut prefix = prefix;
    if let Some(key) = key {
        write!(out, "{prefix}key: {key}")?;
        prefix = " ";
    }
    if let Some(value) = value {
        write!(out, "{prefix}payload: {value}")?;
    }
    Ok(())
}

fn print_control(record: &Record<'_>, out: &mut dyn Write) -> Result<(), DumpError> {
    let refused = |why: String| DumpError::Refused(format!("a control record: {why}"));
    let kind = record.key.and_then(ControlRecordType::from_key);
    let kind = kind.ok_or_else(|| refused("its key says nothing".to_owned()))?;
    let value = record.value.unwrap_or_default();
    let json = |read: Result<Json, DecodeError>| read.map_err(|error| refused(error.to_string()));
    match kind {
        ControlRecordType::Abort | ControlRecordType::Commit => {
            let marker = EndTransactionMarker::from_record(record);
            let marker = marker.ok_or_else(|| refused("it is no marker".to_owned()))?;
            let name = if marker.committed { "COMMIT" } else { "ABORT" };
            write!(out, " endTxnMarker: {name} coordinatorEpoch: {}", marker.coordinator_epoch)?;
        }
        ControlRecordType::LeaderChange => {
            write!(out, " LeaderChange: {}", json(control_json::<LeaderChangeMessage>(value))?)?;
        }
        ControlRecordType::SnapshotHeader => {
            write!(out, " SnapshotHeader {}", json(control_json::<SnapshotHeaderRecord>(value))?)?;
        }
        ControlRecordType::SnapshotFooter => {
            write!(out, " SnapshotFooter {}", json(control_json::<SnapshotFooterRecord>(value))?)?;
        }
        ControlRecordType::KRaftVersion => {
            write!(out, " KRaftVersion {}", json(control_json::<KRaftVersionRecord>(value))?)?;
        }
        ControlRecordType::KRaftVoters => {
            write!(out, " KRaftVoters {}", json(control_json::<VotersRecord<'_>>(value))?)?;
        }
        ControlRecordType::Unknown(number) => write!(out, " controlType: UNKNOWN({number})")?,
    }
    Ok(())
}

/// The message of a control record of the quorum, whose first field is the version that it is in.
fn control_json<'a, M: Message<'a> + ToJson>(value: &'a [u8]) -> Result<Json, DecodeError> {
    let (version, _) = decode_version(value)?;
    Ok(M::decode(&mut ottla_wire::Reader::new(value), version)?.json(version))
}
