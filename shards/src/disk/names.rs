//! The names on disk: partition directories and the files inside them, as Kafka spells them.
//!
//! Nothing here touches a disk; every shard may use it. The names are Kafka's (`LocalLog.scala`, `LogFileUtils.java`),
//! because Kafka's own tools and a Kafka broker must be able to read the directory. What must hold: parsing is the
//! inverse of formatting, and a name that neither side would write parses to nothing instead of to a guess.

use std::sync::Arc;

use ottla::ids::{Offset, TopicPartition};

/// The most bytes of one file name on the file systems that we know (`NAME_MAX`).
const NAME_BYTES_MAX: usize = 255;

/// What a directory inside a log dir is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DirName {
    /// A live partition.
    Partition(TopicPartition),
    /// A deleted partition whose files wait for their removal.
    Deleted,
    /// A replica that belongs to no known topic (KIP-858); kept for the operator.
    Stray,
    /// A copy that moves between log dirs (`-future`); we never make one.
    Future,
    /// Not a name that Kafka gives to a directory of a log dir.
    Other,
}

/// Reads a directory's name the way Kafka's loader does.
#[must_use]
pub fn parse_dir_name(name: &str) -> DirName {
    for (suffix, meaning) in
        [("-delete", DirName::Deleted), ("-stray", DirName::Stray), ("-future", DirName::Future)]
    {
        if let Some(stem) = name.strip_suffix(suffix) {
            let is_partition = stem.rsplit_once('.').is_some_and(|(partition, unique)| {
                !unique.is_empty() && parse_partition(partition).is_some()
            });
            return if is_partition { meaning } else { DirName::Other };
        }
    }
    parse_partition(name).map_or(DirName::Other, DirName::Partition)
}

/// `<topic>-<partition>`; the topic may itself hold dashes, so the last one counts.
fn parse_partition(name: &str) -> Option<TopicPartition> {
    let (topic, partition) = name.rsplit_once('-')?;
    let digits = !partition.is_empty() && partition.bytes().all(|byte| byte.is_ascii_digit());
    if topic.is_empty() || !digits {
        return None;
    }
    Some(TopicPartition { topic: Arc::from(topic), partition: partition.parse().ok()? })
}

/// The name a partition's directory gets while it waits for removal: `<topic>-<partition>.<unique>-delete`, with the
/// topic cut so that the name stays a legal one. `unique` must not repeat within the directory.
#[must_use]
pub fn deleted_dir_name(partition: &TopicPartition, unique: u128) -> String {
    let suffix = format!("-{}.{unique:032x}-delete", partition.partition);
    let room = NAME_BYTES_MAX - suffix.len();
    let topic = &partition.topic[..partition.topic.len().min(room)];
    format!("{topic}{suffix}")
}

/// The kinds of file that belong to a segment, or to an offset of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FileKind {
    /// `.log`: the record batches.
    Log,
    /// `.index`: offset to position.
    OffsetIndex,
    /// `.timeindex`: timestamp to offset.
    TimeIndex,
    /// `.txnindex`: aborted transactions.
    TxnIndex,
    /// `.snapshot`: producer state before the offset of the name.
    ProducerSnapshot,
}

impl FileKind {
    /// Every kind, the data first.
    pub const ALL: [FileKind; 5] = [
        FileKind::Log,
        FileKind::OffsetIndex,
        FileKind::TimeIndex,
        FileKind::TxnIndex,
        FileKind::ProducerSnapshot,
    ];

    /// The file name's ending, with its dot.
    #[must_use]
    pub const fn suffix(self) -> &'static str {
        match self {
            FileKind::Log => ".log",
            FileKind::OffsetIndex => ".index",
            FileKind::TimeIndex => ".timeindex",
            FileKind::TxnIndex => ".txnindex",
            FileKind::ProducerSnapshot => ".snapshot",
        }
    }
}

/// The ending of a file that waits for its removal.
pub const DELETED_SUFFIX: &str = ".deleted";

/// What a file inside a partition's directory is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileName {
    /// A file of the live log, with the offset of its name.
    Live(FileKind, Offset),
    /// Renamed for removal, or left by a cleaner or a writer that did not finish: a loader removes it.
    Leftover,
    /// A compaction's or a split's finished segment that was not yet renamed into place (Kafka's `.swap`).
    Swap(FileKind, Offset),
    /// Anything else: left alone.
    Other,
}

/// Reads the name of a file in a partition's directory.
#[must_use]
pub fn parse_file_name(name: &str) -> FileName {
    if name.ends_with(DELETED_SUFFIX) || name.ends_with(".cleaned") || name.ends_with(".tmp") {
        return FileName::Leftover;
    }
    if let Some(stem) = name.strip_suffix(".swap") {
        return match parse_live(stem) {
            Some((kind, offset)) => FileName::Swap(kind, offset),
            None => FileName::Other,
        };
    }
    parse_live(name).map_or(FileName::Other, |(kind, offset)| FileName::Live(kind, offset))
}

fn parse_live(name: &str) -> Option<(FileKind, Offset)> {
    let (stem, kind) =
        FileKind::ALL.iter().find_map(|kind| Some((name.strip_suffix(kind.suffix())?, *kind)))?;
    let digits = stem.len() == 20 && stem.bytes().all(|byte| byte.is_ascii_digit());
    if !digits {
        return None;
    }
    Some((kind, Offset(stem.parse().ok()?)))
}

/// The name of a file of the segment (or snapshot) at `offset`: twenty digits and the kind's ending.
#[must_use]
pub fn file_name(kind: FileKind, offset: Offset) -> String {
    assert!(offset.0 >= 0, "a file is named by an offset that exists");
    format!("{:020}{}", offset.0, kind.suffix())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partition(topic: &str, partition: i32) -> TopicPartition {
        TopicPartition { topic: Arc::from(topic), partition }
    }

    #[test]
    fn directories_read_back_as_they_were_written() {
        for tp in [partition("a", 0), partition("a-b.c_d", 12), partition("x-0", 2_147_483_647)] {
            assert_eq!(parse_dir_name(&tp.to_string()), DirName::Partition(tp.clone()));
            assert_eq!(parse_dir_name(&deleted_dir_name(&tp, 7)), DirName::Deleted);
        }
        let stray = "a-1.0123456789abcdef0123456789abcdef-stray";
        assert_eq!(parse_dir_name(stray), DirName::Stray);
        assert_eq!(parse_dir_name("a-1.u-future"), DirName::Future);
    }

    #[test]
    fn names_that_are_no_partition_are_not_guessed_at() {
        for name in
            ["", "a", "-1", "a-", "a-x", "a--delete", "topic-delete", "a-99999999999", "a-+1", "lost+found"]
        {
            assert_eq!(parse_dir_name(name), DirName::Other, "{name}");
        }
    }

    #[test]
    fn a_deleted_name_of_the_longest_topic_is_still_legal() {
        let tp = partition(&"t".repeat(249), 99_999);
        let name = deleted_dir_name(&tp, u128::MAX);
        assert_eq!(name.len(), NAME_BYTES_MAX);
        assert_eq!(parse_dir_name(&name), DirName::Deleted);
    }

    #[test]
    fn files_read_back_as_they_were_written() {
        for kind in FileKind::ALL {
            for offset in [Offset(0), Offset(42), Offset(i64::MAX)] {
                let name = file_name(kind, offset);
                assert_eq!(parse_file_name(&name), FileName::Live(kind, offset));
                assert_eq!(parse_file_name(&format!("{name}.deleted")), FileName::Leftover);
                assert_eq!(parse_file_name(&format!("{name}.swap")), FileName::Swap(kind, offset));
            }
        }
        assert_eq!(file_name(FileKind::TimeIndex, Offset(7)), "00000000000000000007.timeindex");
    }

    #[test]
    fn files_of_others_are_left_alone() {
        for name in [
            "leader-epoch-checkpoint",
            "partition.metadata",
            "7.log",
            "0000000000000000000x.log",
            ".swap",
            "99999999999999999999.log",
        ] {
            assert_eq!(parse_file_name(name), FileName::Other, "{name}");
        }
    }
}
