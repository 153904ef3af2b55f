//! The archive of a clean shutdown: what a start would otherwise find out by opening every file of every partition.
//!
//! On disk it is `ottla.clean` in the log dir, beside Kafka's `.kafka_cleanshutdown`: a header of 32 bytes {magic,
//! schema, version, length, CRC-32C}, then an rkyv archive that is read by checked access only. Any shard may read
//! it; boot writes it when every shard has closed its partitions.
//!
//! It only saves work, so it may always be thrown away. What must hold is that it is never believed when it is not
//! true: it is written and synced before the marker, and the marker names its checksum; the marker is removed before
//! anything is appended; a Kafka broker that used the directory in between has replaced the marker by its own.

use std::collections::BTreeMap;

use ottla::ids::TopicPartition;
use ottla::limits::WHOLE_FILE_BYTES_MAX;
use rkyv::rancor::Error as RkyvError;
use rkyv::{Archive, Deserialize, Serialize};
use thiserror::Error;

/// The archive's file name.
pub const CLEAN_FILE: &str = "ottla.clean";

/// Kafka's marker of a clean shutdown (`CleanShutdownFileHandler.java`).
pub const MARKER_FILE: &str = ".kafka_cleanshutdown";

const MAGIC: [u8; 8] = *b"ottla\0cl";

/// The shape of [`CleanLog`]: another number whenever a field changes.
const SCHEMA: u32 = 1;

/// The shape of the header.
const VERSION: u32 = 1;

const HEADER_BYTES: usize = 32;

/// A timestamp, and the last offset of the batch that has it.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub struct CleanTimestamp {
    /// Milliseconds since 1970, -1 for none.
    pub timestamp_ms: i64,
    /// The offset.
    pub offset: i64,
}

/// A closed segment as it was left.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub struct CleanSegment {
    /// The base offset, which names the files.
    pub base_offset: i64,
    /// Bytes of the `.log` file.
    pub bytes: u64,
    /// The largest timestamp, where it was known.
    pub largest: Option<CleanTimestamp>,
    /// When it was last appended to, in milliseconds since 1970.
    pub modified_ms: i64,
    /// Whether it has a `.txnindex` file.
    pub has_aborted: bool,
}

/// The newest entries of an index file.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct CleanIndex {
    /// Entries of the file before `bytes`.
    pub skipped_entries: u32,
    /// The entries behind them, as they are in the file.
    pub bytes: Vec<u8>,
}

/// The active segment as it was left.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct CleanActive {
    /// The base offset, which names the files.
    pub base_offset: i64,
    /// Whether there is a `.log` file; an empty segment may have none yet.
    pub created: bool,
    /// Bytes of the `.log` file.
    pub bytes: u64,
    /// The largest timestamp.
    pub largest: CleanTimestamp,
    /// The timestamp of the first batch, which a roll by time counts from.
    pub first_timestamp_ms: Option<i64>,
    /// When it was last appended to, in milliseconds since 1970.
    pub modified_ms: i64,
    /// Bytes appended since the last index entry.
    pub bytes_since_entry: u64,
    /// The last entry of the offset index, if it has one.
    pub offsets: CleanIndex,
    /// The last entry of the time index, if it has one.
    pub times: CleanIndex,
    /// The whole transaction index.
    pub aborted: Vec<u8>,
}

/// A leader epoch and the offset where it began.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub struct CleanEpoch {
    /// The epoch.
    pub epoch: i32,
    /// Its first offset.
    pub start_offset: i64,
}

/// A partition as it was left.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct CleanPartition {
    /// The topic's name.
    pub topic: String,
    /// The partition's index.
    pub partition: i32,
    /// The topic's id, as `partition.metadata` has it.
    pub topic_id: [u8; 16],
    /// The log start offset.
    pub log_start_offset: i64,
    /// The log end offset.
    pub log_end_offset: i64,
    /// The high watermark.
    pub high_watermark: i64,
    /// The closed segments, oldest first.
    pub closed: Vec<CleanSegment>,
    /// The active segment.
    pub active: CleanActive,
    /// The leader epochs, oldest first.
    pub epochs: Vec<CleanEpoch>,
    /// The bytes of the producer snapshot at the log end offset.
    pub producers: Vec<u8>,
    /// The offsets of the producer snapshots on disk.
    pub snapshots: Vec<i64>,
}

/// All partitions of one log dir.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct CleanLog {
    /// The partitions, each once.
    pub partitions: Vec<CleanPartition>,
}

/// Why an archive is not believed; the start then loads every partition from its files.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CleanError {
    /// Too short, or not begun as our archives are.
    #[error("not an archive of a clean shutdown")]
    NotAnArchive,
    /// Written by another version of this program.
    #[error("schema {schema}, version {version} is not the one of this program")]
    Version {
        /// The shape of the content.
        schema: u32,
        /// The shape of the header.
        version: u32,
    },
    /// The bytes are not those that were written.
    #[error("length or checksum do not match")]
    Checksum,
    /// The marker names another archive, or none: something else has used the directory.
    #[error("the clean shutdown marker belongs to another archive")]
    Stale,
    /// The checksum is right and the content is not: written wrongly.
    #[error("malformed content: {0}")]
    Malformed(String),
}

/// The bytes of the archive file.
#[must_use]
pub fn encode(log: &CleanLog) -> Vec<u8> {
    let content = rkyv::to_bytes::<RkyvError>(log).expect("serialising into memory does not fail");
    let mut bytes = Vec::with_capacity(HEADER_BYTES + content.len());
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&SCHEMA.to_le_bytes());
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&(content.len() as u64).to_le_bytes());
    bytes.extend_from_slice(&crc32c::crc32c(&content).to_le_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&content);
    bytes
}

/// The checksum in the header of an encoded archive: what ties the marker to it.
#[must_use]
pub fn checksum(bytes: &[u8]) -> Option<u32> {
    bytes.get(24..28)?.try_into().ok().map(u32::from_le_bytes)
}

/// Reads an archive whose marker holds `marker`, by partition.
///
/// # Errors
/// [`CleanError`] for every reason not to believe it.
pub fn decode(bytes: &[u8], marker: &[u8]) -> Result<BTreeMap<TopicPartition, CleanPartition>, CleanError> {
    let content = content_of(bytes)?;
    if marker != marker_for(bytes).as_slice() {
        return Err(CleanError::Stale);
    }
    // rkyv reads in place only where the bytes are aligned as the types are.
    let mut aligned = rkyv::util::AlignedVec::<16>::with_capacity(content.len());
    aligned.extend_from_slice(content);
    let malformed = |error: RkyvError| CleanError::Malformed(error.to_string());
    let archived = rkyv::access::<ArchivedCleanLog, RkyvError>(&aligned).map_err(malformed)?;
    let log: CleanLog = rkyv::deserialize::<CleanLog, RkyvError>(archived).map_err(malformed)?;
    let mut partitions = BTreeMap::new();
    for partition in log.partitions {
        let key = TopicPartition { topic: partition.topic.as_str().into(), partition: partition.partition };
        if partitions.insert(key, partition).is_some() {
            return Err(CleanError::Malformed("a partition appears twice".into()));
        }
    }
    Ok(partitions)
}

fn content_of(bytes: &[u8]) -> Result<&[u8], CleanError> {
    let Some((header, content)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
        return Err(CleanError::NotAnArchive);
    };
    if header[..8] != MAGIC {
        return Err(CleanError::NotAnArchive);
    }
    let u32_at = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    let (schema, version) = (u32_at(8), u32_at(12));
    if (schema, version) != (SCHEMA, VERSION) {
        return Err(CleanError::Version { schema, version });
    }
    let length = u64::from(u32_at(16)) | u64::from(u32_at(20)) << 32;
    let right = content.len() <= WHOLE_FILE_BYTES_MAX && length == content.len() as u64;
    if !right || crc32c::crc32c(content) != u32_at(24) {
        return Err(CleanError::Checksum);
    }
    Ok(content)
}

/// What the marker says when it belongs to an archive of these bytes.
///
/// Kafka reads the version and the broker epoch (KIP-966; -1 tells its controller nothing) and ignores the rest.
#[must_use]
pub fn marker_for(archive: &[u8]) -> Vec<u8> {
    let checksum = checksum(archive).expect("an encoded archive has a header");
    let bytes = archive.len();
    format!("{{\"version\":0,\"brokerEpoch\":-1,\"ottlaClean\":\"{checksum:08x}-{bytes}\"}}\n").into_bytes()
}

#[cfg(test)]
pub(in crate::disk) mod tests {
    use super::*;

    pub(in crate::disk) fn sample() -> CleanLog {
        let largest = CleanTimestamp { timestamp_ms: 9, offset: 16 };
        let segment = CleanSegment {
            base_offset: 0,
            bytes: 1_234,
            largest: Some(largest),
            modified_ms: 17,
            has_aborted: true,
        };
        let active = CleanActive {
            base_offset: 17,
            created: true,
            bytes: 100,
            largest,
            first_timestamp_ms: Some(3),
            modified_ms: 18,
            bytes_since_entry: 4,
            offsets: CleanIndex { skipped_entries: 3, bytes: vec![1; 8] },
            times: CleanIndex::default(),
            aborted: Vec::new(),
        };
        let partition = |topic: &str, partition| CleanPartition {
            topic: topic.to_owned(),
            partition,
            topic_id: [7; 16],
            log_start_offset: 3,
            log_end_offset: 20,
            high_watermark: 19,
            closed: vec![segment; 2],
            active: active.clone(),
            epochs: vec![CleanEpoch { epoch: 1, start_offset: 0 }],
            producers: vec![1, 2, 3],
            snapshots: vec![17, 20],
        };
        CleanLog { partitions: vec![partition("b", 1), partition("a", 0)] }
    }

    #[test]
    fn what_was_written_is_read() {
        let bytes = encode(&sample());
        let read = decode(&bytes, &marker_for(&bytes)).expect("own bytes");
        let mut partitions: Vec<_> = read.into_values().collect();
        partitions.reverse();
        assert_eq!(partitions, sample().partitions);
    }

    #[test]
    fn any_changed_byte_is_noticed() {
        let whole = encode(&sample());
        let marker = marker_for(&whole);
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 0x40;
            let padding = (28..HEADER_BYTES).contains(&at);
            assert_eq!(decode(&changed, &marker).is_ok(), padding, "byte {at}");
        }
        for length in 0..whole.len() {
            assert!(decode(&whole[..length], &marker).is_err(), "cut after {length}");
        }
    }

    #[test]
    fn an_archive_without_its_own_marker_is_stale() {
        let bytes = encode(&sample());
        let of_kafka = b"{\"version\":0,\"brokerEpoch\":12}";
        assert_eq!(decode(&bytes, of_kafka), Err(CleanError::Stale));
        assert_eq!(decode(&bytes, b""), Err(CleanError::Stale));
        let other = encode(&CleanLog::default());
        assert_eq!(decode(&bytes, &marker_for(&other)), Err(CleanError::Stale));
    }

    #[test]
    fn content_with_a_right_checksum_is_still_checked() {
        let mut bytes = encode(&sample());
        bytes.truncate(HEADER_BYTES);
        let content = vec![0xFF; 64];
        bytes[16..24].copy_from_slice(&64_u64.to_le_bytes());
        bytes[24..28].copy_from_slice(&crc32c::crc32c(&content).to_le_bytes());
        bytes.extend_from_slice(&content);
        assert!(matches!(decode(&bytes, &marker_for(&bytes)), Err(CleanError::Malformed(_))));
    }

    #[test]
    fn another_schema_is_another_programs() {
        let mut bytes = encode(&sample());
        bytes[8] = 2;
        let error = decode(&bytes, &marker_for(&bytes)).expect_err("another schema");
        assert_eq!(error, CleanError::Version { schema: 2, version: 1 });
    }
}
