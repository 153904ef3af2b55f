//! From flags to plans: what a mode will do, with every value checked.

use std::path::PathBuf;
use std::time::Duration;

use ottla::limits::PARTITIONS_PER_REQUEST_MAX;
use ottla_shards::host::available_cpus;

use super::check::{self, refused, within};
use super::{
    ConnectionsArgs, ConsumeArgs, EndToEndArgs, FetchArgs, GroupsArgs, MaxArgs, MixedArgs, ProduceArgs,
    ProducerArgs, RecordArgs, RunArgs, SoakArgs, TargetArgs,
};
use crate::backlog::BacklogPlan;
use crate::consumer::ConsumePlan;
use crate::engine::Cores;
use crate::error::BenchError;
use crate::filler::Filler;
use crate::interrupt::Interrupt;
use crate::keys::KeySpec;
use crate::pace::Pace;
use crate::producer::ProducePlan;
use crate::result::hgrm;
use crate::tally::Kind;

/// Clients of one load: a stamp has 16 bits for them.
pub(crate) const CLIENTS_MAX: u64 = 50_000;
/// Executors of one load.
const THREADS_MAX: u64 = 256;
/// Bytes of a value: Kafka's default for `socket.request.max.bytes`, which no request may pass.
pub(crate) const RECORD_BYTES_MAX: u64 = 100 * 1024 * 1024;
/// Records of a load, and records per second.
pub(crate) const RECORDS_MAX: u64 = 1_000_000_000_000;
/// Bytes and milliseconds of Kafka's requests are signed 32-bit numbers.
const I32_MAX: u64 = i32::MAX as u64;
/// Idle connections.
const IDLE_MAX: u64 = 1_000_000;
/// Members of a group.
const MEMBERS_MAX: u64 = 10_000;

const RECORD_BYTES_DEFAULT: &str = "1024";
const ROUND_DEFAULT: &str = "5s";
const DELIMITER_DEFAULT: &str = "\\n";
const BOOTSTRAP_DEFAULT: &str = "localhost:9092";
const LENGTH_DEFAULT: Duration = Duration::from_secs(10);
const MIXED_DEFAULT: Duration = Duration::from_secs(30);
/// How long records that are there may take to come.
const LAST_PATIENCE: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 30 });
const SOAK_DEFAULT: Duration = Duration::from_secs(3_600);

/// The modes, by their names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Produce,
    Consume,
    EndToEnd,
    Mixed,
    Max,
    Connections,
    Groups,
    Soak,
}

impl Mode {
    /// As the command line has it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Mode::Produce => "produce",
            Mode::Consume => "consume",
            Mode::EndToEnd => "end-to-end",
            Mode::Mixed => "mixed",
            Mode::Max => "max",
            Mode::Connections => "connections",
            Mode::Groups => "groups",
            Mode::Soak => "soak",
        }
    }
}

/// The cluster and its topics.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub bootstrap: String,
    pub topic: String,
    /// With more than one, `topic` is what their names begin with.
    pub topics: usize,
    /// Of each topic.
    pub partitions: Option<i32>,
    /// What asks for the partitions: a flag or a key.
    pub partitions_name: &'static str,
    /// Whether a missing topic is made.
    pub create: bool,
    /// Settings of a topic that is made.
    pub topic_config: Vec<(String, String)>,
    /// Its replicas; -1 for the broker's own default.
    pub replication_factor: i16,
}

impl Target {
    /// The topics' names; with more than one each has its number behind it, in seven digits as in OpenMessaging's.
    pub(crate) fn names(&self) -> Vec<String> {
        match self.topics {
            1 => vec![self.topic.clone()],
            topics => (0..topics).map(|number| format!("{}-{number:07}", self.topic)).collect(),
        }
    }
}

/// Where a load runs, how long, and what becomes of its figures.
#[derive(Clone, Debug)]
pub(crate) struct RunPlan {
    pub cores: Cores,
    /// What is measured; `None` for as long as there is something to do.
    pub duration: Option<Duration>,
    pub warmup: Duration,
    pub quiet: bool,
    pub json: Option<PathBuf>,
    pub hgrm: Option<PathBuf>,
    pub report: Option<PathBuf>,
    /// What ends the load before its time.
    pub interrupt: Interrupt,
    /// What has to stand beside the figures, whatever they are.
    pub notes: Vec<String>,
}

impl RunPlan {
    /// When the load ends, from its start.
    pub(crate) fn end(&self) -> Option<Duration> {
        self.duration.map(|duration| self.warmup + duration)
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

/// Consumers of the load's topics.
#[derive(Clone, Debug)]
pub(crate) struct ConsumerPlan {
    /// Of each topic and subscription.
    pub clients: usize,
    /// So many sets of such consumers for each topic, each of which reads everything.
    pub subscriptions: usize,
    pub fetch: ConsumePlan,
    pub from: StartAt,
}

/// A reader of another topic.
#[derive(Clone, Debug)]
pub(crate) struct ColdPlan {
    pub topic: String,
    pub clients: usize,
    pub delay: Duration,
    pub fetch: ConsumePlan,
}

/// Producers and what their values are made of.
#[derive(Clone, Debug)]
pub(crate) struct ProducersPlan {
    pub produce: ProducePlan,
    pub filler: Filler,
    /// What they are made of, in a few words.
    pub payload: String,
}

impl ProducersPlan {
    fn bootstrap(&self) -> Option<String> {
        self.produce.settings.bootstrap.clone()
    }
}

/// A load of records: all modes but connections and groups.
#[derive(Clone, Debug)]
pub(crate) struct TrafficPlan {
    pub mode: Mode,
    pub target: Target,
    pub producers: Option<ProducersPlan>,
    pub consumers: Option<ConsumerPlan>,
    pub cold: Option<ColdPlan>,
    /// A backlog for the consumers; it decides when the producers end.
    pub backlog: Option<BacklogPlan>,
    pub run: RunPlan,
    /// How often a line goes to standard output.
    pub line_every: Option<Duration>,
}

/// A search for the highest rate.
#[derive(Clone, Debug)]
pub(crate) struct MaxPlan {
    pub traffic: TrafficPlan,
    /// What the 99th percentile must stay below, and how long each rate is tried.
    pub search: Option<(Duration, Duration)>,
}

/// Connections that come and go.
#[derive(Clone, Debug)]
pub(crate) struct ConnectionsPlan {
    pub bootstrap: String,
    /// Connections per second; `None` for none.
    pub pace: Option<Pace>,
    pub idle: u64,
    pub run: RunPlan,
}

/// A group whose membership changes.
#[derive(Clone, Debug)]
pub(crate) struct GroupsPlan {
    pub target: Target,
    pub members: usize,
    pub group: Option<String>,
    pub change_every: Duration,
    pub heartbeat: Duration,
    pub session_timeout: Duration,
    pub run: RunPlan,
}

impl TargetArgs {
    fn plan(&self, other_bootstrap: Option<String>) -> Result<Target, BenchError> {
        let bootstrap = self.bootstrap_server.clone().or(other_bootstrap);
        let partitions =
            self.partitions.map(|n| within("--partitions", n, 1..=PARTITIONS_PER_REQUEST_MAX as u64));
        Ok(Target {
            bootstrap: check::bootstrap(bootstrap.as_deref().unwrap_or(BOOTSTRAP_DEFAULT))?,
            topic: check::topic("--topic", &self.topic)?,
            topics: 1,
            partitions_name: "--partitions",
            partitions: partitions
                .transpose()?
                .map(|n| i32::try_from(n).expect("it was checked against its range")),
            create: !self.no_create,
            topic_config: Vec::new(),
            replication_factor: -1,
        })
    }
}

impl RunArgs {
    /// The plan, with a length for the loads that have to have one.
    fn plan(&self, default: Option<Duration>) -> Result<RunPlan, BenchError> {
        let cpus = match &self.client_cpus {
            Some(text) => check::cpus(text, &available_cpus())?,
            None => Vec::new(),
        };
        let threads =
            self.threads.map(|threads| within("--threads", threads, 1..=THREADS_MAX)).transpose()?;
        let count = threads.map_or(cpus.len().max(1), |threads| threads as usize);
        self.check_outputs()?;
        let duration = self.duration.as_deref().map(|text| check::positive_time("--duration", text));
        Ok(RunPlan {
            cores: Cores { count, cpus },
            duration: duration.transpose()?.or(default),
            warmup: check::time("--warmup", &self.warmup)?,
            quiet: self.quiet,
            json: self.json.clone(),
            hgrm: self.hgrm.clone(),
            report: self.report.clone(),
            interrupt: Interrupt::default(),
            notes: Vec::new(),
        })
    }

    /// Refuses a file that cannot be written and one that another would be written over, before the load.
    fn check_outputs(&self) -> Result<(), BenchError> {
        let mut outputs = Vec::new();
        for (flag, path) in [("--json", &self.json), ("--hgrm", &self.hgrm), ("--report", &self.report)] {
            check::output(flag, path.as_deref())?;
            outputs.extend(path.as_deref().map(|path| (flag, path)));
        }
        // Several latencies have files of their own.
        let beside: Vec<PathBuf> = self
            .hgrm
            .iter()
            .flat_map(|path| Kind::LATENCIES.map(|kind| hgrm::beside(path, kind.latency_name())))
            .collect();
        for path in &beside {
            check::output("--hgrm", Some(path))?;
            outputs.push(("--hgrm", path));
        }
        check::apart(&outputs)
    }
}

impl RecordArgs {
    fn records(&self) -> Result<Option<u64>, BenchError> {
        self.num_records
            .as_deref()
            .map(|text| check::count("--num-records", text, 1..=RECORDS_MAX))
            .transpose()
    }

    /// When records are due in the load that is `run`.
    fn pace(&self, run: &RunPlan) -> Result<Pace, BenchError> {
        let rate = match (&self.rate, self.throughput.as_deref()) {
            (Some(_), Some(throughput)) => {
                return Err(refused("--throughput", throughput, "says the same as --rate: give one of them"));
            }
            (None, None | Some("-1")) => None,
            (Some(rate), None) => Some(check::rate("--rate", rate)?),
            (None, Some(throughput)) => Some(check::throughput("--throughput", throughput)?),
        };
        Pace::new(rate, run.warmup, run.duration).ok_or_else(|| {
            refused("--rate", self.rate.as_deref().unwrap_or_default(), "a ramp needs --duration")
        })
    }

    /// Refuses a second flag that says what values are: as in Kafka's tool there is one.
    fn check_payload(&self) -> Result<(), BenchError> {
        let size = self.record_size.clone().map(|size| ("--record-size", size));
        let file = self.payload_file.as_ref().map(|path| ("--payload-file", path.display().to_string()));
        let part = self.compressibility.map(|part| ("--compressibility", part.to_string()));
        let refuse = |other: Option<(&str, String)>, by: &str| match other {
            Some((flag, value)) => {
                Err(refused(flag, value, format!("{by} says what values are: give one of them")))
            }
            None => Ok(()),
        };
        if let (Some(delimiter), None) = (&self.payload_delimiter, &self.payload_file) {
            return Err(refused("--payload-delimiter", format!("{delimiter:?}"), "needs --payload-file"));
        }
        if self.payload_monotonic {
            return refuse(size.or(file).or(part), "--payload-monotonic");
        }
        if self.payload_file.is_some() { refuse(size.or(part), "--payload-file") } else { Ok(()) }
    }

    fn filler(&self, batch_bytes: usize, record_bytes: usize) -> Result<Filler, BenchError> {
        self.check_payload()?;
        if self.payload_monotonic {
            return Ok(Filler::Numbers);
        }
        if let Some(path) = &self.payload_file {
            let delimiter = self.payload_delimiter.as_deref().unwrap_or(DELIMITER_DEFAULT);
            let delimiter = delimiter.replace("\\n", "\n").replace("\\t", "\t");
            if delimiter.is_empty() {
                return Err(refused("--payload-delimiter", "\"\"", "must have a character"));
            }
            return Filler::from_file(path, &delimiter)
                .map_err(|error| refused("--payload-file", path.display(), error.to_string()));
        }
        match self.compressibility {
            None => Ok(Filler::letters(batch_bytes, record_bytes)),
            Some(part) if (0.0..=1.0).contains(&part) => {
                Ok(Filler::compressible(part, batch_bytes, record_bytes))
            }
            Some(part) => Err(refused("--compressibility", part, "must be 0 to 1")),
        }
    }
}

/// The producers that these flags make, in a load that ends as `run` says.
fn producers(
    records: &RecordArgs,
    producer: &ProducerArgs,
    run: &RunPlan,
) -> Result<ProducersPlan, BenchError> {
    let settings = producer.settings()?;
    let record_bytes = records.record_size.as_deref().unwrap_or(RECORD_BYTES_DEFAULT);
    let record_bytes = check::bytes("--record-size", record_bytes, 0..=RECORD_BYTES_MAX)? as usize;
    let filler = records.filler(settings.limits.batch_bytes, record_bytes)?;
    let keys = KeySpec::parse(&records.keys).ok_or_else(|| {
        refused("--keys", &records.keys, "must be none, uniform:N, zipf:N:S (N up to 1M) or sequential:N")
    })?;
    let clients = within("--clients", producer.clients, 1..=CLIENTS_MAX)?;
    // Each has a connection to one broker at least.
    check::connections("--clients", clients, run.cores.count)?;
    let produce = ProducePlan {
        clients: clients as usize,
        topics: 1,
        settings,
        record_bytes: filler.longest().unwrap_or(record_bytes),
        keys,
        keys_name: records.keys.clone(),
        pace: records.pace(run)?,
        records: records.records()?,
        end: run.end(),
        comes_back: false,
    };
    let payload = match (&records.payload_file, records.payload_monotonic, records.compressibility) {
        (Some(path), ..) => format!("the values of {}", path.display()),
        (None, true, _) => "increasing numbers".to_owned(),
        (None, false, Some(part)) => format!("compressibility {part}"),
        (None, false, None) => "random letters".to_owned(),
    };
    Ok(ProducersPlan { produce, filler, payload })
}

impl FetchArgs {
    fn plan(&self, end: Option<Duration>, records: Option<u64>) -> Result<ConsumePlan, BenchError> {
        Ok(ConsumePlan {
            max_wait_ms: check::signed("--max-wait-ms", self.max_wait_ms, 0..=30_000)?,
            min_bytes: check::signed_bytes("--min-bytes", &self.min_bytes, 0..=I32_MAX)?,
            max_bytes: check::signed_bytes("--max-bytes", &self.max_bytes, 1..=I32_MAX)?,
            partition_max_bytes: check::signed_bytes(
                "--partition-max-bytes",
                &self.partition_max_bytes,
                1..=I32_MAX,
            )?,
            session: !self.no_fetch_session,
            patience: LAST_PATIENCE,
            verify: !self.no_verify,
            end,
            records,
            comes_back: false,
        })
    }
}

impl ProduceArgs {
    /// Checks the flags.
    pub(crate) fn plan(&self, mode: Mode) -> Result<TrafficPlan, BenchError> {
        let default = self.records.num_records.is_none().then_some(LENGTH_DEFAULT);
        let run = self.run.plan(default)?;
        let producers = producers(&self.records, &self.producer, &run)?;
        let target = self.target.plan(producers.bootstrap())?;
        let producers = Some(producers);
        Ok(TrafficPlan {
            mode,
            target,
            producers,
            consumers: None,
            cold: None,
            backlog: None,
            run,
            line_every: None,
        })
    }
}

impl ConsumeArgs {
    /// Checks the flags.
    pub(crate) fn plan(&self) -> Result<TrafficPlan, BenchError> {
        let from = match self.from.as_str() {
            "earliest" => StartAt::Earliest,
            "latest" => StartAt::Latest,
            _ => return Err(refused("--from", &self.from, "must be earliest or latest")),
        };
        let run = self.run.plan(None)?;
        let records = self.num_records.as_deref();
        let records = records.map(|text| check::count("--num-records", text, 1..=RECORDS_MAX)).transpose()?;
        if from == StartAt::Latest && run.duration.is_none() && records.is_none() {
            return Err(refused(
                "--from",
                "latest",
                "needs --duration or --num-records to know when to stop",
            ));
        }
        let clients = within("--clients", self.clients, 1..=CLIENTS_MAX)? as usize;
        let consumers =
            ConsumerPlan { clients, subscriptions: 1, fetch: self.fetch.plan(run.end(), records)?, from };
        Ok(TrafficPlan {
            mode: Mode::Consume,
            // There is nothing in a topic that is missing.
            target: Target { create: false, ..self.target.plan(None)? },
            producers: None,
            consumers: Some(consumers),
            cold: None,
            backlog: None,
            run,
            line_every: None,
        })
    }
}

impl EndToEndArgs {
    /// Checks the flags.
    pub(crate) fn plan(&self, mode: Mode) -> Result<TrafficPlan, BenchError> {
        let length = match mode {
            Mode::Mixed => MIXED_DEFAULT,
            Mode::Soak => SOAK_DEFAULT,
            _ => LENGTH_DEFAULT,
        };
        let run = self.run.plan(self.records.num_records.is_none().then_some(length))?;
        let producers = producers(&self.records, &self.producer, &run)?;
        let clients = within("--consumers", self.consumers, 1..=CLIENTS_MAX)? as usize;
        let fetch = self.fetch.plan(None, None)?;
        let consumers = ConsumerPlan { clients, subscriptions: 1, fetch, from: StartAt::Latest };
        Ok(TrafficPlan {
            mode,
            target: self.target.plan(producers.bootstrap())?,
            producers: Some(producers),
            consumers: Some(consumers),
            cold: None,
            backlog: None,
            run,
            line_every: None,
        })
    }
}

impl MixedArgs {
    /// Checks the flags.
    pub(crate) fn plan(&self) -> Result<TrafficPlan, BenchError> {
        let live = self.live.plan(Mode::Mixed)?;
        if let (Some(records), None) = (&self.live.records.num_records, live.run.duration) {
            return Err(refused(
                "--num-records",
                records,
                "needs --duration beside it, for the cold reader's end",
            ));
        }
        let third = live.run.end().unwrap_or(MIXED_DEFAULT) / 3;
        let delay = self.cold_delay.as_deref().map(|text| check::time("--cold-delay", text)).transpose()?;
        let cold = ColdPlan {
            topic: check::topic("--cold-topic", &self.cold_topic)?,
            clients: within("--cold-clients", self.cold_clients, 1..=CLIENTS_MAX)? as usize,
            delay: delay.unwrap_or(third),
            fetch: self.live.fetch.plan(live.run.end(), None)?,
        };
        if let (Some(end), Some(text)) = (live.run.end(), &self.cold_delay)
            && cold.delay >= end
        {
            return Err(refused(
                "--cold-delay",
                text,
                "the load ends before it: it must be less than --duration",
            ));
        }
        if cold.topic == live.target.topic {
            return Err(refused("--cold-topic", &cold.topic, "is the live topic: give it another one"));
        }
        Ok(TrafficPlan { cold: Some(cold), ..live })
    }
}

impl MaxArgs {
    /// Checks the flags.
    pub(crate) fn plan(&self) -> Result<MaxPlan, BenchError> {
        let traffic = self.produce.plan(Mode::Max)?;
        if traffic.producers.as_ref().is_some_and(|plan| plan.produce.pace != Pace::Free) {
            let RecordArgs { rate, throughput, .. } = &self.produce.records;
            let given = [("--rate", rate), ("--throughput", throughput)].into_iter();
            let (flag, value) = given
                .filter_map(|(flag, value)| Some((flag, value.as_deref()?)))
                .next()
                .expect("a pace comes from one of them");
            return Err(refused(flag, value, "max finds the rate by itself"));
        }
        let search = match (&self.p99, &self.round) {
            (None, None) => None,
            (None, Some(round)) => {
                return Err(refused("--round", round, "is about rates that --p99 has tried"));
            }
            (Some(text), round) => {
                let p99 = check::positive_time("--p99", text)?;
                let round = round.as_deref().unwrap_or(ROUND_DEFAULT);
                Some((p99, check::positive_time("--round", round)?))
            }
        };
        Ok(MaxPlan { traffic, search })
    }
}

impl ConnectionsArgs {
    /// Checks the flags.
    pub(crate) fn plan(&self) -> Result<ConnectionsPlan, BenchError> {
        let run = self.run.plan(Some(LENGTH_DEFAULT))?;
        let pace = match self.rate.as_str() {
            "0" => None,
            text => Pace::new(Some(check::rate("--rate", text)?), run.warmup, run.duration),
        };
        let idle = check::count("--idle", &self.idle, 0..=IDLE_MAX)?;
        check::connections("--idle", idle, run.cores.count)?;
        if pace.is_none() && idle == 0 {
            return Err(refused("--rate", "0", "without --idle there is nothing to do"));
        }
        let bootstrap = check::bootstrap(self.bootstrap_server.as_deref().unwrap_or(BOOTSTRAP_DEFAULT))?;
        Ok(ConnectionsPlan { bootstrap, pace, idle, run })
    }
}

impl GroupsArgs {
    /// Checks the flags.
    pub(crate) fn plan(&self) -> Result<GroupsPlan, BenchError> {
        if let Some(threads) = self.run.threads.filter(|threads| *threads > 1) {
            return Err(refused(
                "--threads",
                threads,
                "must be 1: a group has one coordinator and one executor",
            ));
        }
        let members = within("--members", self.members, 1..=MEMBERS_MAX)?;
        check::connections("--members", members, 1)?;
        Ok(GroupsPlan {
            target: self.target.plan(None)?,
            members: members as usize,
            group: self.group_id.clone().filter(|name| !name.is_empty()),
            change_every: check::positive_time("--change-every", &self.change_every)?,
            heartbeat: check::positive_time("--heartbeat", &self.heartbeat)?,
            session_timeout: check::positive_time("--session-timeout", &self.session_timeout)?,
            run: self.run.plan(Some(LENGTH_DEFAULT))?,
        })
    }
}

impl SoakArgs {
    /// Checks the flags.
    pub(crate) fn plan(&self) -> Result<TrafficPlan, BenchError> {
        let mut plan = self.load.plan(Mode::Soak)?;
        plan.line_every = Some(check::positive_time("--line-every", &self.line_every)?);
        // Who watches a broker for days wants to know what became of the records when it was gone for a moment.
        if let Some(producers) = &mut plan.producers {
            producers.produce.comes_back = true;
        }
        if let Some(consumers) = &mut plan.consumers {
            consumers.fetch.comes_back = true;
        }
        Ok(plan)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::BenchCommand;
    use crate::fake::Command;
    use clap::Parser;

    fn traffic(line: &str) -> Result<TrafficPlan, BenchError> {
        let words = std::iter::once("bench").chain(line.split_whitespace());
        match Command::try_parse_from(words).expect("the flags exist").bench.command {
            BenchCommand::Produce(args) => args.plan(Mode::Produce),
            BenchCommand::Consume(args) => args.plan(),
            BenchCommand::EndToEnd(args) => args.plan(Mode::EndToEnd),
            BenchCommand::Mixed(args) => args.plan(),
            BenchCommand::Max(args) => args.plan().map(|plan| plan.traffic),
            BenchCommand::Soak(args) => args.plan(),
            BenchCommand::Connections(args) => args.plan().map(|_| panic!("no traffic")),
            BenchCommand::Groups(args) => args.plan().map(|_| panic!("no traffic")),
            BenchCommand::Workload(args) => args.plan(),
            BenchCommand::Report(_) => panic!("no load"),
        }
    }

    fn producers_of(line: &str) -> ProducePlan {
        traffic(line).expect(line).producers.expect("a producer").produce
    }

    #[test]
    fn without_flags_a_load_is_ten_seconds_of_whole_speed() {
        let plan = producers_of("produce");
        assert_eq!((plan.clients, plan.record_bytes, plan.records), (1, 1_024, None));
        assert_eq!((plan.pace, plan.end), (Pace::Free, Some(Duration::from_secs(10))));
        let plan = producers_of("produce --num-records 5k --throughput 100");
        assert_eq!((plan.end, plan.records, plan.pace), (None, Some(5_000), Pace::Steady(100)));
        assert_eq!(producers_of("produce --throughput -1").pace, Pace::Free);
        let plan = producers_of("produce --rate 10k..200k --duration 20s --warmup 5s");
        assert_eq!(plan.end, Some(Duration::from_secs(25)));
        assert_eq!(plan.pace, Pace::Ramp { after: 5.0, from: 1e4, to: 2e5, over: 20.0 });
        assert_eq!(traffic("consume").expect("defaults").run.duration, None);
        assert_eq!(traffic("soak").expect("defaults").run.duration, Some(SOAK_DEFAULT));
        let mixed = traffic("mixed --cold-topic old").expect("defaults");
        assert_eq!(mixed.cold.map(|cold| cold.delay), Some(Duration::from_secs(10)));
    }

    #[test]
    fn brokers_may_come_from_the_producer_s_settings() {
        let bootstrap = |line| traffic(line).expect(line).target.bootstrap;
        assert_eq!(bootstrap("produce"), "localhost:9092");
        assert_eq!(bootstrap("produce --producer-props bootstrap.servers=a:1"), "a:1");
        assert_eq!(bootstrap("produce --bootstrap-server b:2 --producer-props bootstrap.servers=a:1"), "b:2");
    }

    #[test]
    fn a_negative_number_is_refused_as_the_value_that_it_is() {
        for flag in ["clients", "threads", "partitions", "in-flight"] {
            let words = format!("bench produce --{flag} -1");
            let error = Command::try_parse_from(words.split_whitespace()).map(drop).expect_err("no number");
            let text = error.to_string();
            assert!(
                text.starts_with(&format!("error: invalid value '-1' for '--{flag} <N>': must be")),
                "{text}"
            );
        }
        for flag in ["record-size", "linger", "duration", "warmup", "batch-size", "num-records", "rate"] {
            let text = traffic(&format!("produce --{flag} -1")).expect_err("negative").to_string();
            assert!(text.starts_with(&format!("--{flag} ")) && text.contains("-1"), "{text}");
        }
    }

    #[test]
    fn executors_are_as_many_as_asked_for_or_one_per_cpu() {
        let cpu = available_cpus()[0];
        let count = |flags: &str| traffic(&format!("produce {flags}")).expect(flags).run.cores.count;
        let two = format!("--client-cpus {cpu},{cpu}");
        assert_eq!((count(""), count("--threads 3"), count(&two)), (1, 3, 2));
        assert_eq!(count(&format!("--threads 1 {two}")), 1);
        let groups = |flags: &str| match Command::try_parse_from(["bench", "groups", "--threads", flags]) {
            Ok(Command { bench }) => match bench.command {
                BenchCommand::Groups(args) => args.plan().map(drop),
                _ => panic!("it is a group"),
            },
            Err(error) => panic!("{error}"),
        };
        groups("1").expect("allowed");
        let text = groups("4").expect_err("refused").to_string();
        assert_eq!(text, "--threads 4: must be 1: a group has one coordinator and one executor");
    }

    #[test]
    fn every_refusal_is_one_line_with_flag_value_and_what_is_allowed() {
        let refusals = [
            (
                "produce --record-size -1",
                "--record-size \"-1\": must be 0 to 104857600 bytes, as 1024 or 64k",
            ),
            ("produce --rate -5", "--rate \"-5\": must be a rate above 0, as 5000, 50k or 10k..200k"),
            ("produce --compressibility -1", "--compressibility -1: must be 0 to 1"),
            (
                "produce --duration -1s",
                "--duration \"-1s\": must be a time of up to a year, as 500ms, 30s or 5m",
            ),
            ("produce --clients 0", "--clients 0: must be 1 to 50000"),
            ("produce --threads 0", "--threads 0: must be 1 to 256"),
            ("produce --partitions 0", "--partitions 0: must be 1 to 10000"),
            ("produce --rate 1..2 --num-records 9", "--rate 1..2: a ramp needs --duration"),
            ("produce --rate 5 --throughput 6", "--throughput 6: says the same as --rate: give one of them"),
            ("produce --compressibility 2", "--compressibility 2: must be 0 to 1"),
            ("consume --from 7", "--from 7: must be earliest or latest"),
            (
                "consume --from latest",
                "--from latest: needs --duration or --num-records to know when to stop",
            ),
            ("consume --max-wait-ms 99999999", "--max-wait-ms 99999999: must be 0 to 30000"),
            ("consume --max-bytes 0", "--max-bytes \"0\": must be 1 to 2147483647 bytes, as 1024 or 64k"),
            (
                "mixed --cold-topic ottla-bench",
                "--cold-topic ottla-bench: is the live topic: give it another one",
            ),
            (
                "mixed --cold-topic old --duration 5s --cold-delay 10s",
                "--cold-delay 10s: the load ends before it: it must be less than --duration",
            ),
            (
                "mixed --cold-topic old --num-records 5k",
                "--num-records 5k: needs --duration beside it, for the cold reader's end",
            ),
            ("max --rate 5", "--rate 5: max finds the rate by itself"),
            ("max --throughput 5", "--throughput 5: max finds the rate by itself"),
            ("max --round 3s", "--round 3s: is about rates that --p99 has tried"),
            ("produce --payload-delimiter ;", "--payload-delimiter \";\": needs --payload-file"),
            (
                "produce --throughput 100..200",
                "--throughput \"100..200\": must be records per second, as 5000 or 50k, or -1 for as many as go",
            ),
            ("produce --linger -1", "--linger \"-1\": must be a time of up to a year, as 500ms, 30s or 5m"),
            ("connections --rate 0", "--rate 0: without --idle there is nothing to do"),
        ];
        for (line, text) in refusals {
            assert_eq!(traffic(line).expect_err(line).to_string(), text);
        }
        let twice = [
            ("--payload-monotonic --record-size 9", "--record-size 9: --payload-monotonic"),
            ("--payload-monotonic --payload-file /x", "--payload-file /x: --payload-monotonic"),
            ("--payload-monotonic --compressibility 0.5", "--compressibility 0.5: --payload-monotonic"),
            ("--payload-file /x --record-size 9", "--record-size 9: --payload-file"),
            ("--payload-file /x --compressibility 0.5", "--compressibility 0.5: --payload-file"),
        ];
        for (flags, beginning) in twice {
            let text = traffic(&format!("produce {flags}")).expect_err(flags).to_string();
            assert_eq!(text, format!("{beginning} says what values are: give one of them"));
        }
        let keys = traffic("produce --keys hot").expect_err("unknown").to_string();
        assert!(keys.starts_with("--keys hot: must be none, uniform:N"), "{keys}");
        let file = traffic("produce --payload-file /nowhere/x").expect_err("no file").to_string();
        assert!(file.starts_with("--payload-file /nowhere/x: ") && file.lines().count() == 1, "{file}");
    }
}
