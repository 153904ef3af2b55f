//! What a run of `ottla bench` found: the one value that tables, files and pages are made from.
//!
//! The engine fills a [`RunResult`] and everything that people read is derived from it. No shard owns it. On disk it
//! is one JSON document ([`file`]); what must hold: every name says its unit, histograms come back from a file with
//! every count that they had, and a file of another [`SCHEMA_VERSION`] is refused rather than guessed at.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

pub mod file;
pub mod hgrm;
pub mod machine;
pub mod table;

pub use file::{FileError, read, write};
pub use machine::Machine;

/// The version of the JSON document. A change that an older reader would misread gets a new one.
pub const SCHEMA_VERSION: u32 = 1;

/// The latency from when a record was due to its acknowledgement.
pub const ACK: &str = "ack";
/// The latency from when a record was due to its arrival at a consumer.
pub const END_TO_END: &str = "end_to_end";
/// The flow of records that a broker acknowledged.
pub const PRODUCED: &str = "produced";
/// The flow of records that consumers got.
pub const CONSUMED: &str = "consumed";

/// The flow of records that a cold reader got.
pub const COLD_READ: &str = "cold_read";
/// The counter of how long it took, which its rate is over: it begins late and ends when it has drained its topic.
pub const COLD_READ_MILLISECONDS: &str = "cold_read_milliseconds";

/// Everything about one run.
///
/// Names of latencies and flows are short words of `a-z` and `_`, as [`ACK`] and [`PRODUCED`]; people see them with
/// spaces for underscores.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunResult {
    /// [`SCHEMA_VERSION`] of the program that wrote it.
    pub schema_version: u32,
    /// What the run is called in legends: one line.
    pub title: String,
    /// `produce`, `consume`, `end-to-end`, …
    pub mode: String,
    /// The words that were typed, the program's name first.
    pub command_line: Vec<String>,
    /// When the measurement began, warm-up excluded: RFC 3339 in UTC, as `2026-11-21T11:16:13Z`.
    pub started_at: String,
    /// How long was measured, warm-up excluded.
    pub duration_seconds: f64,
    /// User and system time of the generator's process while it measured.
    pub generator_cpu_seconds: f64,
    /// Where the generator ran.
    pub machine: Machine,
    /// The broker, as far as it is known.
    pub broker: BrokerInfo,
    /// What the run was told, by name, defaults included.
    pub settings: BTreeMap<String, String>,
    /// Records and bytes of the measured time, by flow ([`PRODUCED`], [`CONSUMED`], …).
    pub totals: BTreeMap<String, Flow>,
    /// What happened when, in order, without overlap.
    pub intervals: Vec<Interval>,
    /// All latencies in nanoseconds, by name ([`ACK`], [`END_TO_END`], …).
    #[serde(with = "file::histograms")]
    pub latencies_ns: BTreeMap<String, Histogram<u64>>,
    /// Whatever else was counted, by name with its unit last: `requests`, `due_and_unsent_records`.
    pub counters: BTreeMap<String, u64>,
    /// What failed, by reason as Kafka names it, in records.
    pub errors: BTreeMap<String, u64>,
    /// What reading everything back showed; `None` where nothing was read.
    pub verification: Option<Verification>,
    /// Sentences that must stand beside the figures: `the generator was the limit: …`.
    pub notes: Vec<String>,
}

/// What is known of a broker.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BrokerInfo {
    /// `Ottla`, `Apache Kafka`, …
    pub name: Option<String>,
    /// As it calls its version itself.
    pub version: Option<String>,
}

/// Records that went one way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Flow {
    /// Records.
    pub records: u64,
    /// Bytes of their keys and values, before compression, as Kafka's perf tools count them.
    pub bytes: u64,
}

/// A stretch of the run, a second or a few of them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Interval {
    /// Since the measurement began.
    pub start_seconds: f64,
    /// How long it is.
    pub length_seconds: f64,
    /// Records and bytes by flow, under the names of [`RunResult::totals`].
    pub flows: BTreeMap<String, Flow>,
    /// Records that failed.
    pub errors: u64,
    /// Latencies by name, under the names of [`RunResult::latencies_ns`]; none where nothing was measured.
    pub latencies: BTreeMap<String, IntervalLatency>,
}

/// The latencies of an interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IntervalLatency {
    /// How many were measured.
    pub count: u64,
    /// The median in nanoseconds.
    pub p50_ns: u64,
    /// What 99 of 100 do not exceed, in nanoseconds.
    pub p99_ns: u64,
    /// What 999 of 1,000 do not exceed, in nanoseconds.
    pub p999_ns: u64,
    /// The longest in nanoseconds.
    pub max_ns: u64,
}

impl IntervalLatency {
    /// What is kept of an interval's histogram of nanoseconds; `None` for an empty one.
    #[must_use]
    pub fn of(histogram: &Histogram<u64>) -> Option<Self> {
        let at = |quantile| histogram.value_at_quantile(quantile);
        (!histogram.is_empty()).then(|| Self {
            count: histogram.len(),
            p50_ns: at(0.5),
            p99_ns: at(0.99),
            p999_ns: at(0.999),
            max_ns: histogram.max(),
        })
    }
}

/// What was found by holding the records that were read against those that were acknowledged.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Verification {
    /// Records that were read and looked at.
    pub checked_records: u64,
    /// Records that were acknowledged and not found.
    pub lost_records: u64,
    /// Records that were found more than once.
    pub repeated_records: u64,
    /// Records that stood before one that was produced earlier to the same partition.
    pub disordered_records: u64,
    /// Batches whose checksum or content is not what was sent.
    pub corrupt_batches: u64,
    /// Numbers of other runs that are not there: they were never acknowledged, or are lost.
    #[serde(default)]
    pub unknown_records: u64,
    /// Records without numbers beside as many as were sent: they came twice, or are somebody else's.
    #[serde(default)]
    pub surplus_records: u64,
    /// Partitions that were read, each as often as it was.
    #[serde(default)]
    pub read_partitions: u64,
    /// Those of them that were given up before their ends.
    #[serde(default)]
    pub incomplete_partitions: u64,
    /// Records of a load that did not send them which carry no number: their batches and offsets are all that is known.
    #[serde(default)]
    pub unnumbered_records: u64,
    /// Batches were looked at, and neither offsets nor numbers.
    #[serde(default)]
    pub only_batches: bool,
    /// The first few findings, a line each.
    pub details: Vec<String>,
}

impl Verification {
    /// Whether everything was as it should be, as far as is certain.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.lost_records == 0
            && self.repeated_records == 0
            && self.disordered_records == 0
            && self.corrupt_batches == 0
    }
}

impl RunResult {
    /// A run that begins now on this machine by this process's command line, with nothing counted yet.
    #[must_use]
    pub fn begin(mode: &str, title: &str) -> Self {
        Self {
            schema_version: SCHEMA_VERSION,
            title: title.to_owned(),
            mode: mode.to_owned(),
            command_line: std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect(),
            started_at: rfc3339(SystemTime::now()),
            duration_seconds: 0.0,
            generator_cpu_seconds: 0.0,
            machine: Machine::here(None),
            broker: BrokerInfo::default(),
            settings: BTreeMap::new(),
            totals: BTreeMap::new(),
            intervals: Vec::new(),
            latencies_ns: BTreeMap::new(),
            counters: BTreeMap::new(),
            errors: BTreeMap::new(),
            verification: None,
            notes: Vec::new(),
        }
    }

    /// A flow's records and bytes per second of the measured time, or of its own where that is counted; zeros for a
    /// flow that is not there.
    #[must_use]
    pub fn rate(&self, flow: &str) -> (f64, f64) {
        let Flow { records, bytes } = self.totals.get(flow).copied().unwrap_or_default();
        let own = self.counters.get(COLD_READ_MILLISECONDS).filter(|_| flow == COLD_READ);
        let seconds = own.map_or(self.duration_seconds, |milliseconds| *milliseconds as f64 / 1e3);
        if seconds > 0.0 { (records as f64 / seconds, bytes as f64 / seconds) } else { (0.0, 0.0) }
    }

    /// All failures in records.
    #[must_use]
    pub fn error_count(&self) -> u64 {
        self.errors.values().sum()
    }
}

/// A moment as RFC 3339 has it, in UTC with whole seconds.
#[must_use]
pub fn rfc3339(moment: SystemTime) -> String {
    let seconds = moment.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
    let (days, second_of_day) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (second_of_day / 3_600, second_of_day / 60 % 60, second_of_day % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Year, month and day of a number of days since 1970: counted from the first of March, so that leap days come last.
fn civil(days: u64) -> (u64, u64, u64) {
    let from_march = days + 719_468;
    let (era, day_of_era) = (from_march / 146_097, from_march % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
pub(crate) mod tests;
