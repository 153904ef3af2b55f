//! The JSON document of a run: writing it, and reading it with a line for each thing that can be wrong.
//!
//! A histogram is its bounds and the values that were recorded with their counts: `[[value, count], …]` in rising
//! order. What must hold: a document that is read has the counts of the histogram that was written; nothing is
//! allocated from a number in the document before it was held against what a histogram may be.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{RunResult, SCHEMA_VERSION};

/// Most bytes of a document: a day in seconds is below 100 MB.
const FILE_BYTES_MAX: u64 = 1 << 30;
/// Most significant digits of a histogram that is read: five would take 50 MB each.
const DIGITS_MAX: u8 = 4;

/// Why a result cannot be read or written: one line for the person who named the file.
#[derive(Debug, Error)]
pub enum FileError {
    /// The system refuses.
    #[error("{}: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// It is no JSON, or JSON of something else.
    #[error("{}: not a result of `ottla bench`: {what}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong and where.
        what: String,
    },
    /// Another version of this program wrote it.
    #[error(
        "{}: schema version {version}, and this program reads version {SCHEMA_VERSION}: run the load again",
        path.display()
    )]
    Schema {
        /// The file.
        path: PathBuf,
        /// What it says.
        version: u64,
    },
}

/// Writes a result as JSON, over what stands there.
///
/// # Errors
/// [`FileError::Io`].
pub fn write(result: &RunResult, path: &Path) -> Result<(), FileError> {
    let mut text = to_json(result);
    text.push('\n');
    fs::write(path, text).map_err(|error| FileError::Io { path: path.to_owned(), error })
}

/// The document on one line.
#[must_use]
pub fn to_json(result: &RunResult) -> String {
    serde_json::to_string(result).expect("every key of the document is text")
}

/// Reads a result.
///
/// # Errors
/// [`FileError`] for a file that is not there, is no such document, or has another schema.
pub fn read(path: &Path) -> Result<RunResult, FileError> {
    let io = |error| FileError::Io { path: path.to_owned(), error };
    let bytes = fs::metadata(path).map_err(io)?.len();
    if bytes > FILE_BYTES_MAX {
        let what = format!("{bytes} bytes, and {FILE_BYTES_MAX} are the most");
        return Err(FileError::Damaged { path: path.to_owned(), what });
    }
    from_json(&fs::read(path).map_err(io)?, path)
}

/// Reads a document that came from `path`.
///
/// # Errors
/// As [`read`], but for those of the system.
pub fn from_json(text: &[u8], path: &Path) -> Result<RunResult, FileError> {
    /// What every version has.
    #[derive(Deserialize)]
    struct Versioned {
        schema_version: u64,
    }
    let damaged =
        |error: serde_json::Error| FileError::Damaged { path: path.to_owned(), what: error.to_string() };
    let Versioned { schema_version } = serde_json::from_slice(text).map_err(damaged)?;
    if schema_version != u64::from(SCHEMA_VERSION) {
        return Err(FileError::Schema { path: path.to_owned(), version: schema_version });
    }
    serde_json::from_slice(text).map_err(damaged)
}

/// A histogram as it stands in the document.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Recorded {
    lowest_ns: u64,
    highest_ns: u64,
    significant_digits: u8,
    /// Each value with how often it was recorded.
    counts: Vec<(u64, u64)>,
}

impl Recorded {
    fn of(histogram: &Histogram<u64>) -> Self {
        Self {
            lowest_ns: histogram.low(),
            highest_ns: histogram.high(),
            significant_digits: histogram.sigfig(),
            counts: histogram
                .iter_recorded()
                .map(|step| (step.value_iterated_to(), step.count_at_value()))
                .collect(),
        }
    }

    fn restore(&self) -> Result<Histogram<u64>, String> {
        if self.significant_digits > DIGITS_MAX {
            return Err(format!("significant_digits {}: at most {DIGITS_MAX}", self.significant_digits));
        }
        let (lowest, highest) = (self.lowest_ns, self.highest_ns);
        let mut histogram = Histogram::new_with_bounds(lowest, highest, self.significant_digits)
            .map_err(|error| format!("lowest_ns {lowest}, highest_ns {highest}: {error}"))?;
        let mut total: u64 = 0;
        for &(value, count) in &self.counts {
            total = total.checked_add(count).ok_or("the counts do not fit 64 bits")?;
            histogram.record_n(value, count).map_err(|_| format!("value {value} is above {highest}"))?;
        }
        Ok(histogram)
    }
}

/// How serde writes and reads a map of histograms.
pub(super) mod histograms {
    use serde::de::Error as _;
    use serde::{Deserializer, Serializer};

    use super::{BTreeMap, Deserialize, Histogram, Recorded};

    pub fn serialize<S: Serializer>(
        map: &BTreeMap<String, Histogram<u64>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_map(map.iter().map(|(name, histogram)| (name, Recorded::of(histogram))))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<String, Histogram<u64>>, D::Error> {
        let recorded = BTreeMap::<String, Recorded>::deserialize(deserializer)?;
        let restored = recorded.into_iter().map(|(name, recorded)| {
            let histogram = recorded.restore();
            let histogram = histogram.map_err(|what| D::Error::custom(format!("latency {name}: {what}")))?;
            Ok((name, histogram))
        });
        restored.collect()
    }
}
