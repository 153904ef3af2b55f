//! The flags of `ottla bench`, and the plans that they make.
//!
//! Numbers are taken as they come and checked here, so that every refusal is one line that names the flag and what
//! it may be.

use std::ops::RangeInclusive;
use std::time::Duration;

use clap::{Args, Subcommand};
use ottla::limits::PARTITIONS_PER_REQUEST_MAX;
use ottla::protocol::compression::Codec;

use crate::error::BenchError;
use crate::payload::PayloadSpec;
use crate::schedule::Schedule;

/// Connections of one load: each is a socket and up to two threads.
const CONNECTIONS_MAX: u64 = 1_000;
/// Requests of one connection that wait for their answers.
const IN_FLIGHT_MAX: u64 = 10_000;
/// What a broker remembers of an idempotent producer per partition bounds what may be in flight (KIP-98).
const IN_FLIGHT_IDEMPOTENT_MAX: u64 = 5;
/// Bytes of a batch: Kafka's default for `socket.request.max.bytes`, which no request may pass.
const BATCH_BYTES_MAX: u64 = 100 * 1024 * 1024;
/// Records of a batch.
const BATCH_RECORDS_MAX: u64 = 1_000_000;
/// Records per second, and records of a load.
const RECORDS_MAX: u64 = 1_000_000_000_000;
/// Seconds of a load: a year.
const SECONDS_MAX: u64 = 366 * 24 * 60 * 60;
/// Bytes and milliseconds of Kafka's requests are signed 32-bit numbers.
const I32_MAX: u64 = i32::MAX as u64;

/// How long a produce load runs if nothing else ends it.
const DEFAULT_SECONDS: u64 = 10;

/// Arguments of `ottla bench`.
#[derive(Args, Debug)]
pub struct BenchArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: BenchCommand,
}

/// What `ottla bench` can do.
#[derive(Subcommand, Debug)]
pub enum BenchCommand {
    /// Produce records, and report throughput and the latency of their acknowledgements
    Produce(ProduceArgs),
    /// Fetch all partitions of a topic, and report throughput
    Consume(ConsumeArgs),
}

/// Arguments of `ottla bench produce`.
#[derive(Args, Debug)]
pub struct ProduceArgs {
    /// Brokers to begin with, as HOST:PORT,HOST:PORT
    #[arg(long, value_name = "ADDRESSES", default_value = "localhost:9092")]
    pub bootstrap_server: String,
    /// The topic, created if it is missing
    #[arg(long, default_value = "ottla-bench")]
    pub topic: String,
    /// Partitions of the topic; 6 for a new one
    #[arg(long, value_name = "N")]
    pub partitions: Option<u64>,
    /// Connections, spread over the brokers that lead partitions
    #[arg(long, value_name = "N", default_value_t = 4)]
    pub connections: u64,
    /// Requests per connection that may wait for their answers
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub in_flight: u64,
    /// Bytes of each record's value
    #[arg(long, value_name = "BYTES", default_value_t = 1024)]
    pub record_size: u64,
    /// Records of each batch; a request carries one batch
    #[arg(long, value_name = "N", default_value_t = 16)]
    pub batch_records: u64,
    /// What to wait for: 0 (nothing), 1 (the leader) or all
    #[arg(long, default_value = "all", allow_hyphen_values = true)]
    pub acks: String,
    /// none, gzip, snappy, lz4 or zstd
    #[arg(long, value_name = "CODEC", default_value = "none")]
    pub compression: String,
    /// Records per second over all connections, and latency from when a record was due; whole speed without it
    #[arg(long, value_name = "RECORDS")]
    pub rate: Option<u64>,
    /// Stop after this time; 10 without --records
    #[arg(long, value_name = "N")]
    pub seconds: Option<u64>,
    /// Stop after this many records
    #[arg(long, value_name = "N")]
    pub records: Option<u64>,
    /// Produce idempotently, each connection with a producer id of its own
    #[arg(long)]
    pub idempotent: bool,
}

/// Arguments of `ottla bench consume`.
#[derive(Args, Debug)]
pub struct ConsumeArgs {
    /// Brokers to begin with, as HOST:PORT,HOST:PORT
    #[arg(long, value_name = "ADDRESSES", default_value = "localhost:9092")]
    pub bootstrap_server: String,
    /// The topic
    #[arg(long, default_value = "ottla-bench")]
    pub topic: String,
    /// Connections; the partitions are divided among them
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub connections: u64,
    /// Where to begin in each partition: earliest or latest
    #[arg(long, value_name = "WHERE", default_value = "earliest")]
    pub from: String,
    /// How long a broker may wait for --min-bytes
    #[arg(long, value_name = "MS", default_value_t = 500)]
    pub max_wait_ms: u64,
    /// Bytes that a broker waits for before it answers
    #[arg(long, value_name = "BYTES", default_value_t = 1)]
    pub min_bytes: u64,
    /// Bytes of one answer
    #[arg(long, value_name = "BYTES", default_value_t = 50 * 1024 * 1024)]
    pub max_bytes: u64,
    /// Bytes of one partition in an answer
    #[arg(long, value_name = "BYTES", default_value_t = 1024 * 1024)]
    pub partition_max_bytes: u64,
    /// Stop after this time; without this and --records, stop at what was the end of each partition at the start
    #[arg(long, value_name = "N")]
    pub seconds: Option<u64>,
    /// Stop after this many records
    #[arg(long, value_name = "N")]
    pub records: Option<u64>,
}

/// A produce load whose flags were checked.
#[derive(Debug)]
pub(crate) struct ProducePlan {
    pub bootstrap: String,
    pub topic: String,
    pub partitions: Option<i32>,
    pub connections: usize,
    pub in_flight: usize,
    pub payload: PayloadSpec,
    /// As on the wire: 0, 1, or -1 for all.
    pub acks: i16,
    pub schedule: Schedule,
    pub idempotent: bool,
}

/// A consume load whose flags were checked.
#[derive(Debug)]
pub(crate) struct ConsumePlan {
    pub bootstrap: String,
    pub topic: String,
    pub connections: usize,
    pub from: StartAt,
    pub max_wait_ms: i32,
    pub min_bytes: i32,
    pub max_bytes: i32,
    pub partition_max_bytes: i32,
    pub end: Option<Duration>,
    pub records: Option<u64>,
}

impl ConsumePlan {
    /// Whether each partition is read up to what was its end when the load began.
    pub(crate) fn to_log_end(&self) -> bool {
        self.end.is_none() && self.records.is_none()
    }
}

/// Where a consumer begins in each partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StartAt {
    /// At the log start offset.
    Earliest,
    /// At the log end offset.
    Latest,
}

impl ProduceArgs {
    /// Checks the flags.
    pub(crate) fn plan(&self) -> Result<ProducePlan, BenchError> {
        let acks = match self.acks.as_str() {
            "0" => 0,
            "1" => 1,
            "all" | "-1" => -1,
            _ => return Err(refused("--acks", &self.acks, "must be 0, 1 or all")),
        };
        let codec = Codec::from_name(&self.compression).ok_or_else(|| {
            refused("--compression", &self.compression, "must be none, gzip, snappy, lz4 or zstd")
        })?;
        let batch_records = within("--batch-records", self.batch_records, 1..=BATCH_RECORDS_MAX)?;
        let record_bytes = within("--record-size", self.record_size, 0..=BATCH_BYTES_MAX)?;
        if record_bytes * batch_records > BATCH_BYTES_MAX {
            let allowed = format!(
                "with --batch-records {batch_records} makes batches of {} bytes, and {BATCH_BYTES_MAX} are the most",
                record_bytes * batch_records
            );
            return Err(refused("--record-size", record_bytes, allowed));
        }
        if self.idempotent && acks != -1 {
            return Err(refused("--acks", &self.acks, "--idempotent needs --acks all"));
        }
        let in_flight = within("--in-flight", self.in_flight, 1..=IN_FLIGHT_MAX)?;
        if self.idempotent && in_flight > IN_FLIGHT_IDEMPOTENT_MAX {
            let allowed = format!("--idempotent allows at most {IN_FLIGHT_IDEMPOTENT_MAX}");
            return Err(refused("--in-flight", in_flight, allowed));
        }
        let batch_records = u32::try_from(batch_records).expect("it was checked against its range");
        Ok(ProducePlan {
            bootstrap: bootstrap(&self.bootstrap_server)?,
            topic: topic(&self.topic)?,
            partitions: optional("--partitions", self.partitions, PARTITIONS_PER_REQUEST_MAX as u64)?
                .map(|n| i32::try_from(n).expect("it was checked against its range")),
            connections: within("--connections", self.connections, 1..=CONNECTIONS_MAX)? as usize,
            in_flight: in_flight as usize,
            payload: PayloadSpec { record_bytes: record_bytes as usize, batch_records, codec },
            acks,
            schedule: self.schedule(batch_records)?,
            idempotent: self.idempotent,
        })
    }

    fn schedule(&self, batch_records: u32) -> Result<Schedule, BenchError> {
        let records = optional("--records", self.records, RECORDS_MAX)?;
        let seconds = optional("--seconds", self.seconds, SECONDS_MAX)?;
        let seconds = seconds.or(records.is_none().then_some(DEFAULT_SECONDS));
        Ok(Schedule {
            batch_records,
            records,
            rate: optional("--rate", self.rate, RECORDS_MAX)?,
            end: seconds.map(Duration::from_secs),
        })
    }
}

impl ConsumeArgs {
    /// Checks the flags.
    pub(crate) fn plan(&self) -> Result<ConsumePlan, BenchError> {
        let from = match self.from.as_str() {
            "earliest" => StartAt::Earliest,
            "latest" => StartAt::Latest,
            _ => return Err(refused("--from", &self.from, "must be earliest or latest")),
        };
        let seconds = optional("--seconds", self.seconds, SECONDS_MAX)?;
        let records = optional("--records", self.records, RECORDS_MAX)?;
        if from == StartAt::Latest && seconds.is_none() && records.is_none() {
            return Err(refused("--from", "latest", "needs --seconds or --records to know when to stop"));
        }
        Ok(ConsumePlan {
            bootstrap: bootstrap(&self.bootstrap_server)?,
            topic: topic(&self.topic)?,
            connections: within("--connections", self.connections, 1..=CONNECTIONS_MAX)? as usize,
            from,
            max_wait_ms: signed("--max-wait-ms", self.max_wait_ms, 0..=30_000)?,
            min_bytes: signed("--min-bytes", self.min_bytes, 0..=I32_MAX)?,
            max_bytes: signed("--max-bytes", self.max_bytes, 1..=I32_MAX)?,
            partition_max_bytes: signed("--partition-max-bytes", self.partition_max_bytes, 1..=I32_MAX)?,
            end: seconds.map(Duration::from_secs),
            records,
        })
    }
}

fn refused(flag: &'static str, value: impl ToString, allowed: impl Into<String>) -> BenchError {
    BenchError::Argument { flag, value: value.to_string(), allowed: allowed.into() }
}

fn within(flag: &'static str, value: u64, range: RangeInclusive<u64>) -> Result<u64, BenchError> {
    if range.contains(&value) {
        return Ok(value);
    }
    Err(refused(flag, value, format!("must be {} to {}", range.start(), range.end())))
}

fn signed(flag: &'static str, value: u64, range: RangeInclusive<u64>) -> Result<i32, BenchError> {
    assert!(*range.end() <= I32_MAX, "the range is one of signed 32-bit numbers");
    let value = within(flag, value, range)?;
    Ok(i32::try_from(value).expect("it was checked against its range"))
}

/// A flag that may be left out, and is 1 to `max` where it is not.
fn optional(flag: &'static str, value: Option<u64>, max: u64) -> Result<Option<u64>, BenchError> {
    value.map(|value| within(flag, value, 1..=max)).transpose()
}

fn topic(name: &str) -> Result<String, BenchError> {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let named = !name.is_empty() && name.len() <= ottla::limits::TOPIC_NAME_BYTES_MAX;
    if named && name != "." && name != ".." && name.chars().all(legal) {
        return Ok(name.to_owned());
    }
    Err(refused("--topic", format!("{name:?}"), "must be 1 to 249 of a-z A-Z 0-9 . _ - and not . or .."))
}

fn bootstrap(addresses: &str) -> Result<String, BenchError> {
    let has_port = |address: &str| {
        address.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
    };
    if addresses.split(',').all(|address| has_port(address.trim())) {
        return Ok(addresses.to_owned());
    }
    Err(refused("--bootstrap-server", format!("{addresses:?}"), "must be HOST:PORT, or several with commas"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        bench: BenchArgs,
    }

    fn parse(line: &str) -> BenchCommand {
        let words = std::iter::once("bench").chain(line.split_whitespace());
        Command::try_parse_from(words).expect("the flags exist").bench.command
    }

    fn produce(line: &str) -> Result<ProducePlan, BenchError> {
        match parse(&format!("produce {line}")) {
            BenchCommand::Produce(args) => args.plan(),
            BenchCommand::Consume(_) => panic!("not what was asked for"),
        }
    }

    fn consume(line: &str) -> Result<ConsumePlan, BenchError> {
        match parse(&format!("consume {line}")) {
            BenchCommand::Consume(args) => args.plan(),
            BenchCommand::Produce(_) => panic!("not what was asked for"),
        }
    }

    #[test]
    fn without_flags_a_load_is_ten_seconds_of_whole_speed() {
        let plan = produce("").expect("defaults are allowed");
        assert_eq!((plan.connections, plan.in_flight, plan.acks), (4, 5, -1));
        assert_eq!(plan.schedule.end, Some(Duration::from_secs(10)));
        assert_eq!((plan.schedule.rate, plan.schedule.records), (None, None));
        let plan = produce("--records 5 --acks -1 --rate 100").expect("allowed");
        assert_eq!((plan.schedule.end, plan.schedule.records), (None, Some(5)));
        assert!(consume("").expect("defaults are allowed").to_log_end());
        assert!(!consume("--seconds 3").expect("allowed").to_log_end());
    }

    #[test]
    fn every_refusal_is_one_line_with_flag_value_and_what_is_allowed() {
        let refusals = [
            ("--connections 0", "--connections 0: must be 1 to 1000"),
            ("--in-flight 0", "--in-flight 0: must be 1 to 10000"),
            ("--in-flight 6 --idempotent", "--in-flight 6: --idempotent allows at most 5"),
            ("--acks 1 --idempotent", "--acks 1: --idempotent needs --acks all"),
            ("--acks 2", "--acks 2: must be 0, 1 or all"),
            ("--compression brotli", "--compression brotli: must be none, gzip, snappy, lz4 or zstd"),
            ("--batch-records 0", "--batch-records 0: must be 1 to 1000000"),
            ("--rate 0", "--rate 0: must be 1 to 1000000000000"),
            ("--seconds 0", "--seconds 0: must be 1 to 31622400"),
            ("--records 0", "--records 0: must be 1 to 1000000000000"),
            ("--partitions 0", "--partitions 0: must be 1 to 10000"),
            ("--topic a/b", "--topic \"a/b\": must be 1 to 249 of a-z A-Z 0-9 . _ - and not . or .."),
            (
                "--bootstrap-server localhost",
                "--bootstrap-server \"localhost\": must be HOST:PORT, or several with commas",
            ),
            (
                "--record-size 1048576 --batch-records 101",
                "--record-size 1048576: with --batch-records 101 makes batches of 105906176 bytes, \
                 and 104857600 are the most",
            ),
        ];
        for (line, expected) in refusals {
            let error = produce(line).expect_err(line);
            assert_eq!(error.to_string(), expected);
        }
        let refusals = [
            ("--from middle", "--from middle: must be earliest or latest"),
            ("--from latest", "--from latest: needs --seconds or --records to know when to stop"),
            ("--max-wait-ms 30001", "--max-wait-ms 30001: must be 0 to 30000"),
            ("--max-bytes 0", "--max-bytes 0: must be 1 to 2147483647"),
        ];
        for (line, expected) in refusals {
            let error = consume(line).expect_err(line);
            assert_eq!(error.to_string(), expected);
        }
    }

    #[test]
    fn several_brokers_and_ipv6_are_addresses() {
        for addresses in ["a:1,b:2", "a:1, b:2", "[::1]:9092", "127.0.0.1:65535"] {
            assert!(bootstrap(addresses).is_ok(), "{addresses}");
        }
        for addresses in ["", "a", ":1", "a:65536", "a:1,", "a:b"] {
            assert!(bootstrap(addresses).is_err(), "{addresses}");
        }
    }
}
