//! The names of a partition's directory and of the files in it, as Kafka spells them.
//!
//! Names alone: nothing is opened here. A live partition's directory is `<topic>-<partition>`; one that is being
//! deleted, moved or was not expected carries a unique id and a suffix (`LocalLog.scala`). A segment's files are
//! its base offset in 20 digits and a suffix (`LogFileUtils.java`), behind which stands a second suffix while the
//! file is on its way in (`.cleaned`, `.swap`) or out (`.deleted`).
//!
//! Parsing accepts exactly what the functions here write; any other name is none of ours and is left alone.

use std::fmt;

use thiserror::Error;

use crate::controller::names;
use crate::ids::{Offset, TopicId};

/// The file with the epochs of a log, see [`LeaderEpochs`](super::leader_epochs::LeaderEpochs).
pub const LEADER_EPOCH_CHECKPOINT: &str = "leader-epoch-checkpoint";

/// The file with the topic id of a partition, see [`encode_partition_metadata`].
pub const PARTITION_METADATA: &str = "partition.metadata";

/// Bytes that a file name may have on the filesystems that Kafka runs on.
const FILE_NAME_BYTES_MAX: usize = 255;

/// Digits of a base offset in a file name.
const OFFSET_DIGITS: usize = 20;

/// What a segment's file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SegmentFileKind {
    /// The record batches.
    Log,
    /// The offset index.
    OffsetIndex,
    /// The time index.
    TimeIndex,
    /// The aborted transactions.
    TransactionIndex,
    /// The producers as they were when the offset in the name was the log's end.
    ProducerSnapshot,
}

impl SegmentFileKind {
    /// Every kind, the log itself first.
    pub const ALL: [SegmentFileKind; 5] = [
        SegmentFileKind::Log,
        SegmentFileKind::OffsetIndex,
        SegmentFileKind::TimeIndex,
        SegmentFileKind::TransactionIndex,
        SegmentFileKind::ProducerSnapshot,
    ];

    /// What stands behind the base offset, with its dot.
    #[must_use]
    pub const fn suffix(self) -> &'static str {
        match self {
            SegmentFileKind::Log => ".log",
            SegmentFileKind::OffsetIndex => ".index",
            SegmentFileKind::TimeIndex => ".timeindex",
            SegmentFileKind::TransactionIndex => ".txnindex",
            SegmentFileKind::ProducerSnapshot => ".snapshot",
        }
    }
}

/// Whether a segment's file counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FileStage {
    /// It is part of the log.
    Live,
    /// It was taken out of the log and is removed after `file.delete.delay.ms`, or at the next start.
    Deleted,
    /// The cleaner was writing it: worthless after a crash.
    Cleaned,
    /// The cleaner finished it and was putting it in place: after a crash it is renamed into place.
    Swap,
}

impl FileStage {
    const ALL: [FileStage; 4] = [FileStage::Live, FileStage::Deleted, FileStage::Cleaned, FileStage::Swap];

    /// What stands behind the kind's suffix; nothing for a live file.
    #[must_use]
    pub const fn suffix(self) -> &'static str {
        match self {
            FileStage::Live => "",
            FileStage::Deleted => ".deleted",
            FileStage::Cleaned => ".cleaned",
            FileStage::Swap => ".swap",
        }
    }
}

/// A segment's file as its name tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SegmentFile {
    /// The segment's base offset, or the offset at which a snapshot was taken.
    pub base_offset: Offset,
    /// What it holds.
    pub kind: SegmentFileKind,
    /// Whether it counts.
    pub stage: FileStage,
}

impl SegmentFile {
    /// The live file of a segment.
    #[must_use]
    pub const fn live(base_offset: Offset, kind: SegmentFileKind) -> SegmentFile {
        SegmentFile { base_offset, kind, stage: FileStage::Live }
    }

    /// The same file at another stage: what it is renamed to.
    #[must_use]
    pub const fn at_stage(self, stage: FileStage) -> SegmentFile {
        SegmentFile { stage, ..self }
    }

    /// Reads a file name; `None` for a name that no segment's file has.
    #[must_use]
    pub fn parse(name: &str) -> Option<SegmentFile> {
        let (digits, suffix) = name.split_at_checked(OFFSET_DIGITS)?;
        if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let base_offset = Offset(digits.parse().ok()?);
        for kind in SegmentFileKind::ALL {
            let Some(rest) = suffix.strip_prefix(kind.suffix()) else {
                continue;
            };
            let stage = FileStage::ALL.into_iter().find(|stage| stage.suffix() == rest);
            return stage.map(|stage| SegmentFile { base_offset, kind, stage });
        }
        None
    }
}

impl fmt::Display for SegmentFile {
    /// The name of the file.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        assert!(self.base_offset.0 >= 0, "a segment begins at offset 0 or later");
        write!(f, "{:020}{}{}", self.base_offset.0, self.kind.suffix(), self.stage.suffix())
    }
}

/// Whether a partition's directory counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DirStage {
    /// It is the partition.
    Live,
    /// The partition was deleted; the directory is removed after `file.delete.delay.ms`, or at the next start.
    Delete,
    /// The partition is being moved here from another log directory.
    Future,
    /// The broker did not expect the partition (KAFKA-16157) and took it out of the way.
    Stray,
}

impl DirStage {
    /// What the directory's name ends with; nothing for a live one.
    #[must_use]
    pub const fn suffix(self) -> &'static str {
        match self {
            DirStage::Live => "",
            DirStage::Delete => "-delete",
            DirStage::Future => "-future",
            DirStage::Stray => "-stray",
        }
    }
}

/// A partition's directory as its name tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionDir {
    /// The topic's name, cut short where a long name of a directory that goes would pass 255 bytes.
    pub topic: String,
    /// The partition's index.
    pub partition: i32,
    /// Whether it counts.
    pub stage: DirStage,
}

impl PartitionDir {
    /// The name of a live partition's directory.
    #[must_use]
    pub fn live_name(topic: &str, partition: i32) -> String {
        assert!(partition >= 0, "a partition has an index from 0 on");
        format!("{topic}-{partition}")
    }

    /// The name that a directory gets when it leaves its stage; `unique_id` is random, so that a topic that is
    /// deleted and created again and again never meets its own remains.
    #[must_use]
    pub fn staged_name(topic: &str, partition: i32, stage: DirStage, unique_id: u128) -> String {
        assert!(stage != DirStage::Live, "a live directory has no id in its name");
        assert!(topic.is_ascii(), "topic names are ASCII");
        let rest = format!("-{partition}.{unique_id:032x}{}", stage.suffix());
        let topic_bytes = topic.len().min(FILE_NAME_BYTES_MAX - rest.len());
        format!("{}{rest}", &topic[..topic_bytes])
    }

    /// Reads a directory's name; `None` for a name that no partition's directory has.
    #[must_use]
    pub fn parse(name: &str) -> Option<PartitionDir> {
        let staged = [DirStage::Delete, DirStage::Future, DirStage::Stray];
        let stage = staged.into_iter().find(|stage| name.ends_with(stage.suffix()));
        let name = match stage {
            Some(stage) => {
                let (partition, unique_id) = name.strip_suffix(stage.suffix())?.rsplit_once('.')?;
                if unique_id.is_empty() {
                    return None;
                }
                partition
            }
            None => name,
        };
        let (topic, partition) = name.rsplit_once('-')?;
        let digits = partition.bytes().all(|byte| byte.is_ascii_digit());
        let is_index = digits && (partition == "0" || !partition.starts_with('0'));
        if !names::is_valid(topic) || !is_index {
            return None;
        }
        Some(PartitionDir {
            topic: topic.to_owned(),
            partition: partition.parse().ok()?,
            stage: stage.unwrap_or(DirStage::Live),
        })
    }
}

/// Why a `partition.metadata` cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PartitionMetadataError {
    /// The text is not the two lines that the file has.
    #[error("the file is not the two lines of a partition.metadata")]
    Malformed,
    /// The file is of another version than 0.
    #[error("version {0} where partition.metadata has version 0")]
    Version(i32),
    /// The id is that of no topic.
    #[error("the topic id is no id of a topic")]
    TopicId,
}

/// The text of a `partition.metadata` file (`PartitionMetadata.java`).
#[must_use]
pub fn encode_partition_metadata(topic_id: TopicId) -> String {
    format!("version: 0\ntopic_id: {}", topic_id)
}

/// Reads a `partition.metadata` file.
///
/// # Errors
/// [`PartitionMetadataError`] where the text is another.
pub fn decode_partition_metadata(bytes: &[u8]) -> Result<TopicId, PartitionMetadataError> {
    let text = std::str::from_utf8(bytes).map_err(|_| PartitionMetadataError::Malformed)?;
    let mut lines = text.lines();
    let version = lines.next().and_then(|line| line.strip_prefix("version:"));
    let version = version.and_then(|version| version.trim().parse::<i32>().ok());
    match version.ok_or(PartitionMetadataError::Malformed)? {
        0 => {}
        other => return Err(PartitionMetadataError::Version(other)),
    }
    let id = lines.next().and_then(|line| line.strip_prefix("topic_id:"));
    let id = id.ok_or(PartitionMetadataError::Malformed)?.trim();
    match id.parse::<TopicId>() {
        Ok(id) if id != TopicId::default() => Ok(id),
        Ok(_) | Err(_) => Err(PartitionMetadataError::TopicId),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Uuid;
    use proptest::prelude::*;

    #[test]
    fn names_are_kafkas() {
        let file = SegmentFile::live(Offset(1_234), SegmentFileKind::TimeIndex);
        assert_eq!(file.to_string(), "00000000000000001234.timeindex");
        assert_eq!(file.at_stage(FileStage::Swap).to_string(), "00000000000000001234.timeindex.swap");
        let last = SegmentFile::live(Offset(i64::MAX), SegmentFileKind::Log);
        assert_eq!(last.to_string(), "09223372036854775807.log");
    }

    #[test]
    fn every_name_is_read_back() {
        for kind in SegmentFileKind::ALL {
            for stage in FileStage::ALL {
                let file = SegmentFile { base_offset: Offset(77), kind, stage };
                assert_eq!(SegmentFile::parse(&file.to_string()), Some(file));
            }
        }
    }

    #[test]
    fn other_names_are_none_of_ours() {
        for name in [
            "",
            "0.log",
            "00000000000000000000",
            "00000000000000000000.",
            "00000000000000000000.logs",
            "00000000000000000000.log.tmp",
            "0000000000000000000x.log",
            "-0000000000000000001.log",
            "99999999999999999999.log",
            "000000000000000000000.log",
            "00000000000000000\u{e9}00.log",
            LEADER_EPOCH_CHECKPOINT,
            PARTITION_METADATA,
        ] {
            assert_eq!(SegmentFile::parse(name), None, "{name}");
        }
    }

    #[test]
    fn directory_names_are_kafkas() {
        let parse = |name| PartitionDir::parse(name).map(|dir| (dir.topic, dir.partition, dir.stage));
        let live = |topic: &str, partition| Some((topic.to_owned(), partition, DirStage::Live));
        assert_eq!(parse("orders-0"), live("orders", 0));
        assert_eq!(parse("a-b.c-17"), live("a-b.c", 17));
        assert_eq!(parse("odd--1"), live("odd-", 1));
        let deleted = PartitionDir::staged_name("orders", 3, DirStage::Delete, 0xabc);
        assert_eq!(deleted, "orders-3.00000000000000000000000000000abc-delete");
        assert_eq!(parse(&deleted), Some(("orders".to_owned(), 3, DirStage::Delete)));
        assert_eq!(parse("t-1.x-stray"), Some(("t".to_owned(), 1, DirStage::Stray)));
        for name in [
            "",
            "orders",
            "-0",
            "orders-",
            "orders-x",
            "orders-+1",
            "orders-99999999999",
            "o-0-delete",
            "o-00",
            "my o-1",
        ] {
            assert_eq!(parse(name), None, "{name}");
        }
    }

    #[test]
    fn a_long_topic_leaves_room_for_the_suffix() {
        let topic = "t".repeat(249);
        assert_eq!(PartitionDir::live_name(&topic, 12).len(), 252);
        let name = PartitionDir::staged_name(&topic, 12, DirStage::Future, u128::MAX);
        assert_eq!(name.len(), 255);
        let dir = PartitionDir::parse(&name).expect("own name");
        assert_eq!((dir.partition, dir.stage), (12, DirStage::Future));
        assert!(topic.starts_with(&dir.topic));
    }

    #[test]
    fn partition_metadata_is_kafkas_text() {
        let id = Uuid([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]);
        assert_eq!(encode_partition_metadata(id), "version: 0\ntopic_id: AQIDBAUGBwgJCgsMDQ4PEA");
        let decode = |text: &str| decode_partition_metadata(text.as_bytes());
        assert_eq!(decode("version: 0\ntopic_id: AQIDBAUGBwgJCgsMDQ4PEA\n"), Ok(id));
        assert_eq!(decode("version: 1\ntopic_id: x"), Err(PartitionMetadataError::Version(1)));
        assert_eq!(decode("version: 0"), Err(PartitionMetadataError::Malformed));
        assert_eq!(decode(""), Err(PartitionMetadataError::Malformed));
        let zero = "version: 0\ntopic_id: AAAAAAAAAAAAAAAAAAAAAA";
        assert_eq!(decode(zero), Err(PartitionMetadataError::TopicId));
    }

    proptest! {
        #[test]
        fn parsing_never_panics(name in "\\PC{0,60}") {
            let _ = SegmentFile::parse(&name);
            let _ = PartitionDir::parse(&name);
            let _ = decode_partition_metadata(name.as_bytes());
        }
    }
}
