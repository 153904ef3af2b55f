//! Workload files in the shape of the OpenMessaging Benchmark: what is produced and consumed, and its Kafka driver's
//! files: with which settings.
//!
//! Keys, their meaning and their defaults are those of OpenMessaging's `Workload` and of the `Config` of its
//! `driver-kafka`. No shard owns this. What must hold: a file is taken whole or refused with one line that names the
//! file, the line in it and the key; a key that this program does not know is refused, for a benchmark that ignores
//! half of its description measures something else.

use std::fs;
use std::io;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use ottla::limits::PARTITIONS_PER_REQUEST_MAX;
use thiserror::Error;

use crate::args::plan::{CLIENTS_MAX, RECORD_BYTES_MAX};
use crate::mapping::{Entry, Mapping};

/// Most bytes of a workload or driver file.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// What a count may be: Kafka's own numbers of this kind are signed 32-bit ones.
const COUNT_MAX: u64 = i32::MAX as u64;
/// Bytes of all different values of a load, which are kept in memory.
const POOL_BYTES_MAX: u64 = 1 << 30;
/// A year.
const MINUTES_MAX: u64 = 366 * 24 * 60;
/// Kafka's replication factors are signed 16-bit numbers.
const REPLICAS_MAX: u64 = i16::MAX as u64;
/// The only driver whose files are understood.
const DRIVER_CLASS: &str = "io.openmessaging.benchmark.driver.kafka.KafkaBenchmarkDriver";

/// Why a file is refused: one line for the person who named it.
#[derive(Debug, Error)]
pub enum WorkloadError {
    /// The system refuses.
    #[error("{}: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The file says something that it cannot say.
    #[error("{}: line {line}: {what}", path.display())]
    Refused {
        /// The file.
        path: PathBuf,
        /// Where, from 1.
        line: usize,
        /// What is wrong and what would be right.
        what: String,
    },
    /// The file lacks something.
    #[error("{}: {key} is missing", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
        /// What it lacks.
        key: &'static str,
    },
}

/// How records get their keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeyDistributor {
    /// No keys: `NO_KEY`.
    #[default]
    None,
    /// A limited number of keys, in turn: `KEY_ROUND_ROBIN`.
    RoundRobin,
    /// A key at random for each record: `RANDOM_NANO`.
    Random,
}

/// A workload, as a file describes it.
#[derive(Clone, Debug, PartialEq)]
pub struct Workload {
    /// What it is called; the file's name without its extension, where it does not say.
    pub name: String,
    /// Topics that are made.
    pub topics: u32,
    /// Partitions of each.
    pub partitions_per_topic: u32,
    /// How records get their keys.
    pub key_distributor: KeyDistributor,
    /// Bytes of a record's value; a payload file has to be as long.
    pub message_bytes: u32,
    /// A file with the value that every record has, beside the workload where it is no absolute path.
    pub payload_file: Option<PathBuf>,
    /// Whether values are made of random bytes; else they are zeros.
    pub use_randomized_payloads: bool,
    /// The part of a randomized value that is random, 0 to 1; the rest is zeros.
    pub random_bytes_ratio: f64,
    /// Different randomized values.
    pub randomized_payload_pool_size: u32,
    /// Groups that read each topic; none reads nothing.
    pub subscriptions_per_topic: u32,
    /// Members of each group.
    pub consumers_per_subscription: u32,
    /// Producers of each topic.
    pub producers_per_topic: u32,
    /// Records per second of all producers together; `None`, written as 0, for as many as can be.
    pub producer_rate: Option<u32>,
    /// Bytes of values that wait before the consumers are released to drain them, each counted once for every
    /// subscription; 0 for consumers that are never held back.
    pub consumer_backlog_bytes: u64,
    /// The part of the backlog that has to be drained, 0 to 1.
    pub backlog_drain_ratio: f64,
    /// How long is measured; with a backlog, how long the load lasts once it is drained.
    pub test_duration_minutes: u32,
    /// How long runs before.
    pub warmup_duration_minutes: u32,
}

/// The settings of a driver's file, as Kafka names them, in the order of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Driver {
    /// What it is called.
    pub name: String,
    /// Replicas of each topic; 1 where it does not say.
    pub replication_factor: u32,
    /// Whether topics of earlier runs are deleted first, as OpenMessaging's driver does; here none is.
    pub reset: bool,
    /// Settings of topics.
    pub topic_config: Vec<(String, String)>,
    /// Settings of every client.
    pub common_config: Vec<(String, String)>,
    /// Settings of producers.
    pub producer_config: Vec<(String, String)>,
    /// Settings of consumers.
    pub consumer_config: Vec<(String, String)>,
}

impl Workload {
    /// Reads a workload.
    ///
    /// # Errors
    /// [`WorkloadError`].
    pub fn read(path: &Path) -> Result<Self, WorkloadError> {
        Self::parse(&text_of(path)?, path)
    }

    fn parse(text: &str, path: &Path) -> Result<Self, WorkloadError> {
        let mut file =
            Fields { path, mapping: Mapping::parse(text).map_err(|(line, what)| refused(path, line, what))? };
        let workload = Self {
            name: file.text("name")?.unwrap_or_else(|| stem(path)),
            topics: file.required("topics", 1..=CLIENTS_MAX)?,
            partitions_per_topic: file
                .required("partitionsPerTopic", 1..=PARTITIONS_PER_REQUEST_MAX as u64)?,
            key_distributor: file.key_distributor()?,
            message_bytes: file.required("messageSize", 0..=RECORD_BYTES_MAX)?,
            payload_file: file.text("payloadFile")?.map(|file| beside(path, &file)),
            use_randomized_payloads: file.truth("useRandomizedPayloads")?,
            random_bytes_ratio: file.ratio("randomBytesRatio", 0.0)?,
            randomized_payload_pool_size: file.count("randomizedPayloadPoolSize", 0..=COUNT_MAX, 0)?,
            subscriptions_per_topic: file.count("subscriptionsPerTopic", 0..=CLIENTS_MAX, 0)?,
            consumers_per_subscription: file.count("consumerPerSubscription", 0..=CLIENTS_MAX, 0)?,
            producers_per_topic: file.required("producersPerTopic", 1..=CLIENTS_MAX)?,
            producer_rate: Some(file.required("producerRate", 0..=COUNT_MAX)?).filter(|rate| *rate > 0),
            consumer_backlog_bytes: u64::from(file.count("consumerBacklogSizeGB", 0..=COUNT_MAX, 0)?) << 30,
            backlog_drain_ratio: file.ratio("backlogDrainRatio", 1.0)?,
            test_duration_minutes: file.required("testDurationMinutes", 1..=MINUTES_MAX)?,
            warmup_duration_minutes: file.count("warmupDurationMinutes", 0..=MINUTES_MAX, 1)?,
        };
        file.finish()?;
        workload.check(path)
    }

    /// Producers of all topics.
    pub(crate) fn producers(&self) -> u64 {
        u64::from(self.topics) * u64::from(self.producers_per_topic)
    }

    /// Consumers of all topics and subscriptions.
    pub(crate) fn consumers(&self) -> u128 {
        let of_each = u128::from(self.consumers_per_subscription);
        u128::from(self.topics) * u128::from(self.subscriptions_per_topic) * of_each
    }

    /// What stands against the backlog that is asked for, in words that follow its name.
    pub(crate) fn refusal_of_backlog(&self) -> Option<&'static str> {
        if self.consumer_backlog_bytes == 0 {
            None
        } else if self.consumers() == 0 {
            Some("needs subscriptionsPerTopic and consumerPerSubscription of 1 or more")
        } else if self.producer_rate.is_none() {
            Some("needs a producerRate of 1 or more: no highest rate is looked for beside a backlog")
        } else if self.message_bytes == 0 {
            Some("needs a messageSize of 1 or more")
        } else {
            None
        }
    }

    /// What no field says by itself.
    fn check(self, path: &Path) -> Result<Self, WorkloadError> {
        let refused = |what: &str| Err(refused(path, 1, what.to_owned()));
        let producers = self.producers();
        if producers > CLIENTS_MAX {
            let what = format!("topics {} times producersPerTopic {}", self.topics, self.producers_per_topic);
            return refused(&format!("{what} is {producers}: must be at most {CLIENTS_MAX} producers"));
        }
        let (topics, subscriptions) = (self.topics, self.subscriptions_per_topic);
        let consumers = self.consumers();
        if consumers > u128::from(CLIENTS_MAX) {
            let of_each = self.consumers_per_subscription;
            let what = format!("topics {topics} times subscriptionsPerTopic {subscriptions}");
            let what = format!("{what} times consumerPerSubscription {of_each} is {consumers}");
            return refused(&format!("{what}: must be at most {CLIENTS_MAX} consumers"));
        }
        if self.use_randomized_payloads && self.randomized_payload_pool_size == 0 {
            return refused("useRandomizedPayloads needs a randomizedPayloadPoolSize of 1 or more");
        }
        let (values, bytes) = (self.randomized_payload_pool_size, self.message_bytes);
        if self.use_randomized_payloads && u64::from(values) * u64::from(bytes) > POOL_BYTES_MAX {
            let what = format!("randomizedPayloadPoolSize {values} times messageSize {bytes}");
            return refused(&format!("{what}: must be at most {POOL_BYTES_MAX} bytes"));
        }
        if self.use_randomized_payloads && self.payload_file.is_some() {
            return refused("useRandomizedPayloads and payloadFile are two kinds of payload: give one");
        }
        match self.refusal_of_backlog() {
            Some(what) => refused(&format!("consumerBacklogSizeGB {what}")),
            None => Ok(self),
        }
    }
}

impl Driver {
    /// Reads a driver's file.
    ///
    /// # Errors
    /// [`WorkloadError`], for a driver of another system, too.
    pub fn read(path: &Path) -> Result<Self, WorkloadError> {
        Self::parse(&text_of(path)?, path)
    }

    fn parse(text: &str, path: &Path) -> Result<Self, WorkloadError> {
        let mut file =
            Fields { path, mapping: Mapping::parse(text).map_err(|(line, what)| refused(path, line, what))? };
        if let Some(class) = file.mapping.take("driverClass")
            && class.value != DRIVER_CLASS
        {
            let what = format!("driverClass {}: must be {DRIVER_CLASS}", class.value);
            return Err(refused(path, class.line, what));
        }
        let driver = Self {
            name: file.text("name")?.unwrap_or_else(|| stem(path)),
            replication_factor: file.count("replicationFactor", 1..=REPLICAS_MAX, 1)?,
            reset: file.truth("reset")?,
            topic_config: file.properties("topicConfig")?,
            common_config: file.properties("commonConfig")?,
            producer_config: file.properties("producerConfig")?,
            consumer_config: file.properties("consumerConfig")?,
        };
        file.finish()?;
        Ok(driver)
    }
}

/// What a file says and nobody has asked for yet.
struct Fields<'p> {
    path: &'p Path,
    mapping: Mapping,
}

impl Fields<'_> {
    fn text(&mut self, key: &str) -> Result<Option<String>, WorkloadError> {
        Ok(self.mapping.take(key).filter(|entry| !entry.is_null()).map(|entry| entry.value))
    }

    fn required(&mut self, key: &'static str, range: RangeInclusive<u64>) -> Result<u32, WorkloadError> {
        match self.mapping.take(key) {
            Some(entry) => self.number(key, &entry, range),
            None => Err(WorkloadError::Missing { path: self.path.to_owned(), key }),
        }
    }

    fn count(
        &mut self,
        key: &'static str,
        range: RangeInclusive<u64>,
        default: u32,
    ) -> Result<u32, WorkloadError> {
        self.mapping.take(key).map_or(Ok(default), |entry| self.number(key, &entry, range))
    }

    fn number(&self, key: &str, entry: &Entry, range: RangeInclusive<u64>) -> Result<u32, WorkloadError> {
        let number = entry.value.parse::<u32>().ok().filter(|number| range.contains(&u64::from(*number)));
        let allowed = || format!("a whole number of {} to {}", range.start(), range.end());
        number.ok_or_else(|| self.refuse(key, entry, &allowed()))
    }

    fn ratio(&mut self, key: &'static str, default: f64) -> Result<f64, WorkloadError> {
        let Some(entry) = self.mapping.take(key) else { return Ok(default) };
        let number = entry.value.parse::<f64>().ok().filter(|ratio| (0.0..=1.0).contains(ratio));
        number.ok_or_else(|| self.refuse(key, &entry, "a number of 0 to 1"))
    }

    fn truth(&mut self, key: &'static str) -> Result<bool, WorkloadError> {
        let Some(entry) = self.mapping.take(key) else { return Ok(false) };
        entry.value.parse().map_err(|_| self.refuse(key, &entry, "true or false"))
    }

    fn key_distributor(&mut self) -> Result<KeyDistributor, WorkloadError> {
        let Some(entry) = self.mapping.take("keyDistributor") else { return Ok(KeyDistributor::None) };
        match entry.value.as_str() {
            "NO_KEY" => Ok(KeyDistributor::None),
            "KEY_ROUND_ROBIN" => Ok(KeyDistributor::RoundRobin),
            "RANDOM_NANO" => Ok(KeyDistributor::Random),
            _ => Err(self.refuse("keyDistributor", &entry, "NO_KEY, KEY_ROUND_ROBIN or RANDOM_NANO")),
        }
    }

    /// A text of lines `key=value`, as properties files have them, without their escapes.
    fn properties(&mut self, key: &'static str) -> Result<Vec<(String, String)>, WorkloadError> {
        let Some(entry) = self.mapping.take(key).filter(|entry| !entry.is_null()) else {
            return Ok(Vec::new());
        };
        let lines = entry.value.lines().map(str::trim);
        let settings = lines.filter(|line| !line.is_empty() && !line.starts_with(['#', '!']));
        let pairs = settings.map(|line| match line.split_once('=') {
            Some((name, value)) if !name.trim().is_empty() => {
                Ok((name.trim().to_owned(), value.trim().to_owned()))
            }
            Some(_) | None => {
                let what = format!("{key}: {line:?}: must be lines of setting=value");
                Err(refused(self.path, entry.line, what))
            }
        });
        pairs.collect()
    }

    fn refuse(&self, key: &str, entry: &Entry, allowed: &str) -> WorkloadError {
        refused(self.path, entry.line, format!("{key} {:?}: must be {allowed}", entry.value))
    }

    /// Refuses the first key that nobody asked for.
    fn finish(self) -> Result<(), WorkloadError> {
        match self.mapping.first() {
            Some((key, line)) => Err(refused(self.path, line, format!("unknown key {key:?}"))),
            None => Ok(()),
        }
    }
}

fn refused(path: &Path, line: usize, what: String) -> WorkloadError {
    WorkloadError::Refused { path: path.to_owned(), line, what }
}

fn text_of(path: &Path) -> Result<String, WorkloadError> {
    let io = |error| WorkloadError::Io { path: path.to_owned(), error };
    let bytes = fs::metadata(path).map_err(io)?.len();
    if bytes > FILE_BYTES_MAX {
        return Err(refused(path, 1, format!("{bytes} bytes, and {FILE_BYTES_MAX} are the most")));
    }
    fs::read_to_string(path).map_err(io)
}

fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

/// A file that another one names: relative to where that one lies, or, as OpenMessaging's own runner has it, to the
/// working directory where it is there alone.
fn beside(path: &Path, name: &str) -> PathBuf {
    let beside = path.parent().map_or_else(|| PathBuf::from(name), |folder| folder.join(name));
    if !beside.exists() && Path::new(name).exists() { PathBuf::from(name) } else { beside }
}

#[cfg(test)]
mod tests;
