//! The flags of `ottla bench`, in the groups that its modes share.
//!
//! Where Kafka's perf tools have a flag, it has their name. Values are taken as they come and checked in [`plan`], so
//! that every refusal is one line that names the flag and what it may be.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::error::BenchError;
use crate::html::ReportArgs;

pub(crate) mod check;
pub(crate) mod plan;
pub(crate) mod props;
pub(crate) mod workload;

/// Reads a number without a suffix. Flags of numbers and times take words that begin with a hyphen, so that a negative
/// one is refused by what it is and not as a flag that does not exist.
fn whole_number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| "must be a whole number, 0 or more".to_owned())
}

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
    /// Produce records; report throughput and the latency of their acknowledgements
    Produce(ProduceArgs),
    /// Fetch all partitions of a topic and verify what comes
    Consume(ConsumeArgs),
    /// Produce and consume one topic at once; report the way from due to seen, and verify every record
    EndToEnd(EndToEndArgs),
    /// Live traffic on one topic while another topic is read from its start
    Mixed(MixedArgs),
    /// The highest rate that the broker sustains, or sustains below a latency
    Max(MaxArgs),
    /// Connections that come and go, and connections that only stay
    Connections(ConnectionsArgs),
    /// Consumers that join and leave a group; report how long a rebalance takes
    Groups(GroupsArgs),
    /// End to end for a long time, with a line every minute; clients come back to a broker that was gone
    Soak(SoakArgs),
    /// A workload file in OpenMessaging Benchmark's shape
    Workload(WorkloadArgs),
    /// Draw results that --json wrote, over each other, as one page of HTML
    Report(ReportArgs),
}

impl ReportArgs {
    /// Refuses a page that would be written over what it is drawn from.
    pub(crate) fn check(&self) -> Result<(), BenchError> {
        match self.results.iter().any(|result| check::is_same_file(result, &self.output)) {
            true => Err(check::refused(
                "--output",
                self.output.display(),
                "is one of the results: give it another one",
            )),
            false => Ok(()),
        }
    }
}

/// The cluster and its topic.
#[derive(Args, Debug)]
pub struct TargetArgs {
    /// Brokers to begin with, as HOST:PORT,HOST:PORT; localhost:9092 if nothing else says so
    #[arg(long, value_name = "ADDRESSES")]
    pub bootstrap_server: Option<String>,
    /// The topic; what produces creates it if it is missing
    #[arg(long, default_value = "ottla-bench")]
    pub topic: String,
    /// Partitions of the topic; 6 for a new one
    #[arg(long, value_name = "N", allow_hyphen_values = true, value_parser = whole_number)]
    pub partitions: Option<u64>,
    /// Refuse a topic that does not exist
    #[arg(long)]
    pub no_create: bool,
}

/// Where the load runs, how long, and what becomes of its figures.
#[derive(Args, Debug)]
pub struct RunArgs {
    /// Executors, each on a thread; one per core of load [default: 1, or one per CPU of --client-cpus]
    #[arg(long, value_name = "N", allow_hyphen_values = true, value_parser = whole_number)]
    pub threads: Option<u64>,
    /// The CPUs to pin them to, as 2,3 or 4-7
    #[arg(long, value_name = "LIST")]
    pub client_cpus: Option<String>,
    /// How long to measure, as 30s or 5m
    #[arg(long, visible_alias = "seconds", value_name = "TIME", allow_hyphen_values = true)]
    pub duration: Option<String>,
    /// How long to run before that without counting
    #[arg(long, value_name = "TIME", default_value = "0s", allow_hyphen_values = true)]
    pub warmup: String,
    /// No live line
    #[arg(long)]
    pub quiet: bool,
    /// Write everything that was measured to this file
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Write the latencies' percentile distribution to this file; several kinds to FILE-KIND beside it
    #[arg(long, value_name = "FILE")]
    pub hgrm: Option<PathBuf>,
    /// Draw what was measured as one page of HTML
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
}

/// What is produced.
#[derive(Args, Debug)]
pub struct RecordArgs {
    /// Records of the whole load
    #[arg(long, visible_alias = "records", value_name = "N", allow_hyphen_values = true)]
    pub num_records: Option<String>,
    /// Bytes of each record's value; 1024 where nothing else says what values are
    #[arg(long, value_name = "BYTES", allow_hyphen_values = true)]
    pub record_size: Option<String>,
    /// Records per second over all clients; -1 for as many as go
    #[arg(long, value_name = "RECORDS", allow_hyphen_values = true)]
    pub throughput: Option<String>,
    /// The same with suffixes, or a ramp: 50k, 10k..200k; a ramp begins behind the warm-up
    #[arg(long, value_name = "RATE", allow_hyphen_values = true)]
    pub rate: Option<String>,
    /// Values from the lines of this file, drawn at random
    #[arg(long, value_name = "FILE")]
    pub payload_file: Option<PathBuf>,
    /// What stands between the values of --payload-file [default: \n]
    #[arg(long, value_name = "TEXT")]
    pub payload_delimiter: Option<String>,
    /// Values are the records' numbers as text: 0, 1, 2, and so on over all clients
    #[arg(long)]
    pub payload_monotonic: bool,
    /// The part of each value that compresses to nothing, 0 to 1; random letters without it
    #[arg(long, value_name = "PART", allow_hyphen_values = true)]
    pub compressibility: Option<f64>,
    /// Keys: none, uniform:N, zipf:N:S or sequential:N
    #[arg(long, value_name = "KEYS", default_value = "none")]
    pub keys: String,
}

/// How it is produced. Each flag is one of the producer's settings and goes before --producer-props.
#[derive(Args, Debug)]
pub struct ProducerArgs {
    /// Producers, each with a connection to every broker that leads partitions
    #[arg(
        long, visible_alias = "connections", value_name = "N", default_value_t = 1,
        allow_hyphen_values = true, value_parser = whole_number
    )]
    pub clients: u64,
    /// Settings of a Kafka producer, as key=value key=value
    #[arg(long, visible_alias = "command-property", value_name = "KEY=VALUE", num_args = 1..)]
    pub producer_props: Vec<String>,
    /// A file of such settings
    #[arg(long = "command-config", visible_alias = "producer.config", value_name = "FILE")]
    pub command_config: Option<PathBuf>,
    /// What to wait for: 0 (nothing), 1 (the leader) or all
    #[arg(long, allow_hyphen_values = true)]
    pub acks: Option<String>,
    /// linger.ms, as 5 or 500us
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub linger: Option<String>,
    /// batch.size
    #[arg(long, value_name = "BYTES", allow_hyphen_values = true)]
    pub batch_size: Option<String>,
    /// compression.type: none, gzip, snappy, lz4 or zstd
    #[arg(long, value_name = "CODEC")]
    pub compression: Option<String>,
    /// enable.idempotence
    #[arg(long)]
    pub idempotent: bool,
    /// max.in.flight.requests.per.connection
    #[arg(long, value_name = "N", allow_hyphen_values = true, value_parser = whole_number)]
    pub in_flight: Option<u64>,
    /// Where records without a key go: sticky, as Kafka's producer does it, or round-robin
    #[arg(long, value_name = "WAY", default_value = "sticky")]
    pub partitioner: String,
}

/// How it is fetched.
#[derive(Args, Debug)]
pub struct FetchArgs {
    /// How long a broker may wait for --min-bytes (fetch.max.wait.ms)
    #[arg(
        long, value_name = "MS", default_value_t = 500, allow_hyphen_values = true,
        value_parser = whole_number
    )]
    pub max_wait_ms: u64,
    /// Bytes that a broker waits for before it answers (fetch.min.bytes)
    #[arg(long, value_name = "BYTES", default_value = "1", allow_hyphen_values = true)]
    pub min_bytes: String,
    /// Bytes of one answer (fetch.max.bytes)
    #[arg(long, value_name = "BYTES", default_value = "50m", allow_hyphen_values = true)]
    pub max_bytes: String,
    /// Bytes of one partition in an answer (max.partition.fetch.bytes)
    #[arg(long, value_name = "BYTES", default_value = "1m", allow_hyphen_values = true)]
    pub partition_max_bytes: String,
    /// Name all partitions in each request
    #[arg(long)]
    pub no_fetch_session: bool,
    /// Check CRCs and nothing else, as for a compacted topic
    #[arg(long)]
    pub no_verify: bool,
}

/// Arguments of `ottla bench produce`.
#[derive(Args, Debug)]
#[allow(missing_docs)]
pub struct ProduceArgs {
    #[command(flatten)]
    pub target: TargetArgs,
    #[command(flatten)]
    pub records: RecordArgs,
    #[command(flatten)]
    pub producer: ProducerArgs,
    #[command(flatten)]
    pub run: RunArgs,
}

/// Arguments of `ottla bench consume`.
#[derive(Args, Debug)]
#[allow(missing_docs)]
pub struct ConsumeArgs {
    #[command(flatten)]
    pub target: TargetArgs,
    /// Consumers; the partitions are divided among them
    #[arg(
        long, visible_alias = "connections", value_name = "N", default_value_t = 1,
        allow_hyphen_values = true, value_parser = whole_number
    )]
    pub clients: u64,
    /// Where to begin in each partition: earliest or latest
    #[arg(long, value_name = "WHERE", default_value = "earliest")]
    pub from: String,
    /// Stop after this many records; without this and --duration, at what was the end of each partition at the start
    #[arg(long, visible_aliases = ["records", "messages"], value_name = "N", allow_hyphen_values = true)]
    pub num_records: Option<String>,
    #[command(flatten)]
    pub fetch: FetchArgs,
    #[command(flatten)]
    pub run: RunArgs,
}

/// Arguments of `ottla bench end-to-end`.
#[derive(Args, Debug)]
#[allow(missing_docs)]
pub struct EndToEndArgs {
    #[command(flatten)]
    pub target: TargetArgs,
    #[command(flatten)]
    pub records: RecordArgs,
    #[command(flatten)]
    pub producer: ProducerArgs,
    /// Consumers; the partitions are divided among them
    #[arg(
        long, value_name = "N", default_value_t = 1, allow_hyphen_values = true,
        value_parser = whole_number
    )]
    pub consumers: u64,
    #[command(flatten)]
    pub fetch: FetchArgs,
    #[command(flatten)]
    pub run: RunArgs,
}

/// Arguments of `ottla bench mixed`.
#[derive(Args, Debug)]
#[allow(missing_docs)]
pub struct MixedArgs {
    #[command(flatten)]
    pub live: EndToEndArgs,
    /// The topic that is read from its start; it must exist
    #[arg(long, value_name = "TOPIC")]
    pub cold_topic: String,
    /// Consumers that read it
    #[arg(
        long, value_name = "N", default_value_t = 1, allow_hyphen_values = true,
        value_parser = whole_number
    )]
    pub cold_clients: u64,
    /// When they begin; a third of the way through the load without it
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub cold_delay: Option<String>,
}

/// Arguments of `ottla bench max`.
#[derive(Args, Debug)]
#[allow(missing_docs)]
pub struct MaxArgs {
    #[command(flatten)]
    pub produce: ProduceArgs,
    /// Search for the highest rate whose 99th percentile stays below this
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub p99: Option<String>,
    /// How long each rate of the search is tried [default: 5s]
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub round: Option<String>,
}

/// Arguments of `ottla bench connections`.
#[derive(Args, Debug)]
#[allow(missing_docs)]
pub struct ConnectionsArgs {
    /// Brokers, as HOST:PORT,HOST:PORT; localhost:9092 if nothing else says so
    #[arg(long, value_name = "ADDRESSES")]
    pub bootstrap_server: Option<String>,
    /// Connections per second that come, ask for versions and metadata, and go; 0 for none
    #[arg(
        long,
        visible_alias = "churn",
        value_name = "RATE",
        default_value = "100",
        allow_hyphen_values = true
    )]
    pub rate: String,
    /// Connections that are opened before and stay to the end
    #[arg(long, value_name = "N", default_value = "0", allow_hyphen_values = true)]
    pub idle: String,
    #[command(flatten)]
    pub run: RunArgs,
}

/// Arguments of `ottla bench groups`.
#[derive(Args, Debug)]
#[allow(missing_docs)]
pub struct GroupsArgs {
    #[command(flatten)]
    pub target: TargetArgs,
    /// Members of the group
    #[arg(
        long, visible_alias = "clients", value_name = "N", default_value_t = 10,
        allow_hyphen_values = true, value_parser = whole_number
    )]
    pub members: u64,
    /// The group's name; one of its own without it
    #[arg(long, visible_alias = "group", value_name = "NAME")]
    pub group_id: Option<String>,
    /// From one change of the membership to the next: a member leaves and another one comes
    #[arg(long, value_name = "TIME", default_value = "1s", allow_hyphen_values = true)]
    pub change_every: String,
    /// heartbeat.interval.ms
    #[arg(long, value_name = "TIME", default_value = "500ms", allow_hyphen_values = true)]
    pub heartbeat: String,
    /// session.timeout.ms
    #[arg(long, value_name = "TIME", default_value = "45s", allow_hyphen_values = true)]
    pub session_timeout: String,
    #[command(flatten)]
    pub run: RunArgs,
}

/// Arguments of `ottla bench soak`.
#[derive(Args, Debug)]
#[allow(missing_docs)]
pub struct SoakArgs {
    #[command(flatten)]
    pub load: EndToEndArgs,
    /// How often to print a line
    #[arg(long, value_name = "TIME", default_value = "60s", allow_hyphen_values = true)]
    pub line_every: String,
}

/// Arguments of `ottla bench workload`. What the files say and a flag says too is as the flag has it.
#[derive(Args, Debug)]
#[allow(missing_docs)]
pub struct WorkloadArgs {
    /// The workload
    #[arg(value_name = "WORKLOAD.yaml")]
    pub workload: PathBuf,
    /// The file of OpenMessaging's Kafka driver, with the settings of topics and clients
    #[arg(long, value_name = "DRIVER.yaml")]
    pub driver: Option<PathBuf>,
    /// Brokers, as HOST:PORT,HOST:PORT
    #[arg(long, value_name = "ADDRESSES")]
    pub bootstrap_server: Option<String>,
    /// The topic, or what the names of several begin with; new ones without it
    #[arg(long)]
    pub topic: Option<String>,
    /// How long to measure; with a backlog, from its drain on; testDurationMinutes without it
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub duration: Option<String>,
    /// How long to run before that without counting; without it warmupDurationMinutes, which is 1m where the file does
    /// not say it, however short --duration is
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub warmup: Option<String>,
    /// The backlog that consumers are to drain, in place of consumerBacklogSizeGB; 0 for none
    #[arg(long, value_name = "BYTES", allow_hyphen_values = true)]
    pub backlog: Option<String>,
    /// Executors, each on a thread [default: 1, or one per CPU of --client-cpus]
    #[arg(long, value_name = "N", allow_hyphen_values = true, value_parser = whole_number)]
    pub threads: Option<u64>,
    /// The CPUs to pin them to
    #[arg(long, value_name = "LIST")]
    pub client_cpus: Option<String>,
    /// No live line
    #[arg(long)]
    pub quiet: bool,
    /// Write everything that was measured to this file
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Write the latencies' percentile distribution to this file
    #[arg(long, value_name = "FILE")]
    pub hgrm: Option<PathBuf>,
    /// Draw what was measured as one page of HTML
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
}
