//! Kafka's offset checkpoint files, as text: one offset per partition of a log dir.
//!
//! On disk (`OffsetCheckpointFile.java`): the version, the number of entries, then `topic partition offset` on a line
//! each. Three files of a log dir have this shape: `recovery-point-offset-checkpoint`,
//! `log-start-offset-checkpoint` and `replication-offset-checkpoint` (high watermarks). What must hold: a file that
//! was cut anywhere never reads as a shorter valid one, which is what the count is for.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use ottla::ids::{Offset, TopicPartition};

/// The only version that Kafka ever wrote.
const VERSION: i32 = 0;

/// One offset per partition, in the order in which it is written.
pub type Offsets = BTreeMap<TopicPartition, Offset>;

/// Why a checkpoint file cannot be believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OffsetsFileError {
    /// The first line is not the version that we know.
    #[error("unknown version {0:?}")]
    Version(String),
    /// A line does not have the form that the format asks for.
    #[error("malformed line {0:?}")]
    Line(String),
    /// The file announces another number of entries than it holds: it was cut, or two were mixed.
    #[error("{announced} entries announced and {found} found")]
    Count {
        /// The number of the second line.
        announced: usize,
        /// The lines that follow.
        found: usize,
    },
}

/// The bytes of the file that holds `offsets`.
#[must_use]
pub fn encode(offsets: &Offsets) -> Vec<u8> {
    let mut text = String::with_capacity(16 + offsets.len() * 40);
    writeln!(text, "{VERSION}\n{}", offsets.len()).expect("writing to a string does not fail");
    for (partition, offset) in offsets {
        writeln!(text, "{} {} {offset}", partition.topic, partition.partition)
            .expect("writing to a string does not fail");
    }
    text.into_bytes()
}

/// Reads a whole file; an empty one holds no offsets, because Kafka creates it empty.
///
/// # Errors
/// When any line is not of the format. A caller treats that like a missing file and says so in the log: every
/// checkpoint only saves work, none is needed for correctness.
pub fn decode(bytes: &[u8]) -> Result<Offsets, OffsetsFileError> {
    let text = std::str::from_utf8(bytes)
        .map_err(|_| OffsetsFileError::Line(String::from_utf8_lossy(bytes).chars().take(80).collect()))?;
    let mut lines = text.lines();
    let Some(version) = lines.next() else { return Ok(Offsets::new()) };
    if version.parse() != Ok(VERSION) {
        return Err(OffsetsFileError::Version(version.to_owned()));
    }
    let Some(count) = lines.next() else { return Ok(Offsets::new()) };
    let announced = count.parse::<usize>().map_err(|_| OffsetsFileError::Line(count.to_owned()))?;
    let mut offsets = Offsets::new();
    let mut found = 0;
    for line in lines {
        let (partition, offset) = parse_line(line).ok_or_else(|| OffsetsFileError::Line(line.to_owned()))?;
        offsets.insert(partition, offset);
        found += 1;
    }
    if found != announced || !text.ends_with('\n') {
        return Err(OffsetsFileError::Count { announced, found });
    }
    Ok(offsets)
}

fn parse_line(line: &str) -> Option<(TopicPartition, Offset)> {
    let mut words = line.split_ascii_whitespace();
    let topic = Arc::from(words.next()?);
    let partition = words.next()?.parse().ok()?;
    let offset = words.next()?.parse().ok()?;
    words.next().is_none().then_some((TopicPartition { topic, partition }, Offset(offset)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Offsets {
        [("b", 1, 5), ("a", 0, i64::MAX), ("a", 10, 0)]
            .into_iter()
            .map(|(topic, partition, offset)| {
                (TopicPartition { topic: Arc::from(topic), partition }, Offset(offset))
            })
            .collect()
    }

    #[test]
    fn the_bytes_are_kafkas() {
        assert_eq!(encode(&sample()), b"0\n3\na 0 9223372036854775807\na 10 0\nb 1 5\n");
        assert_eq!(encode(&Offsets::new()), b"0\n0\n");
        assert_eq!(decode(&encode(&sample())), Ok(sample()));
    }

    #[test]
    fn an_empty_file_and_a_file_of_only_a_version_hold_nothing() {
        assert_eq!(decode(b""), Ok(Offsets::new()));
        assert_eq!(decode(b"0\n"), Ok(Offsets::new()));
    }

    #[test]
    fn a_cut_file_is_never_a_shorter_one() {
        let whole = encode(&sample());
        for length in 3..whole.len() {
            assert!(decode(&whole[..length]).is_err(), "cut after {length} bytes");
        }
    }

    #[test]
    fn other_versions_and_malformed_lines_are_refused() {
        assert_eq!(decode(b"1\n0\n"), Err(OffsetsFileError::Version("1".into())));
        assert_eq!(decode(b"0\n1\na 0\n"), Err(OffsetsFileError::Line("a 0".into())));
        assert_eq!(decode(b"0\n1\na 0 1 2\n"), Err(OffsetsFileError::Line("a 0 1 2".into())));
        assert_eq!(decode(b"0\nx\n"), Err(OffsetsFileError::Line("x".into())));
        assert!(decode(b"0\n1\n\xff 0 1\n").is_err());
    }
}
