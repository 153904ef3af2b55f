//! The loads: `ottla bench` with the same flags for every broker.
//!
//! This is the only file that knows those flags. Each load runs in a process of its own on the load's CPUs, with a
//! warm-up before it that is not measured, so that the broker's CPU is that of the measured records alone.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use ottla_bench::result::{self, PRODUCED, RunResult};

use super::field::Field;
use super::running::Running;

/// What is produced, and how.
#[derive(Clone, Copy, Debug)]
pub struct Produce {
    /// To which topic.
    pub topic: &'static str,
    /// Of each record's value.
    pub record_bytes: u64,
    /// Per second; as many as go without it.
    pub rate: Option<u64>,
    /// How long a batch waits for more records.
    pub linger_ms: u64,
    /// Where a batch is full.
    pub batch_bytes: u64,
    /// Producers.
    pub clients: u64,
    /// Whether it goes before everything else on its CPUs, so that its own delays are not measured beside others.
    pub is_urgent: bool,
}

/// How long a load runs.
#[derive(Clone, Copy, Debug)]
pub enum Length {
    /// So long.
    Time(Duration),
    /// So many records.
    Records(u64),
}

/// A load, and what its broker used meanwhile.
#[derive(Debug)]
pub struct Outcome {
    /// What the generator says.
    pub run: RunResult,
    /// The broker's user and system time.
    pub broker_cpu: Duration,
}

impl Outcome {
    /// The broker's microseconds of CPU for each record of a flow.
    #[must_use]
    pub fn cpu_us_per_record(&self, flow: &str) -> f64 {
        self.broker_cpu.as_secs_f64() * 1e6 / self.records(flow)
    }

    /// The broker's seconds of CPU for each GB of batches that was fetched.
    #[must_use]
    pub fn cpu_s_per_gb(&self) -> f64 {
        self.broker_cpu.as_secs_f64() / (self.run.counters["fetched_batch_bytes"] as f64 / 1e9)
    }

    /// A quantile of a latency in milliseconds.
    ///
    /// # Panics
    /// When the generator did not measure it.
    #[must_use]
    pub fn ms(&self, latency: &str, quantile: f64) -> f64 {
        let histogram = self.run.latencies_ns.get(latency);
        histogram.expect("the mode measures it").value_at_quantile(quantile) as f64 / 1e6
    }

    fn records(&self, flow: &str) -> f64 {
        self.run.totals.get(flow).map_or(0, |flow| flow.records) as f64
    }
}

/// A load that runs.
#[derive(Debug)]
pub struct Started<'f> {
    field: &'f Field,
    child: Child,
    json: PathBuf,
    what: String,
}

impl Produce {
    /// Runs it twice: first to warm the broker up, then measured.
    #[must_use]
    pub fn measured(&self, broker: &Running<'_>, label: &str) -> Outcome {
        let lengths = broker.field().lengths;
        self.run(broker, Length::Time(lengths.warm_up), "warm-up");
        self.run(broker, Length::Time(lengths.load), label)
    }

    /// Runs it once.
    pub fn run(&self, broker: &Running<'_>, length: Length, label: &str) -> Outcome {
        let cpu = broker.cpu();
        let run = self.start("produce", broker, length, label).finish();
        Outcome { run, broker_cpu: broker.cpu() - cpu }
    }

    /// Produces and consumes at once, warmed up by the same.
    #[must_use]
    pub fn end_to_end(&self, broker: &Running<'_>, label: &str) -> Outcome {
        let lengths = broker.field().lengths;
        let _ = self.start_end_to_end(broker, lengths.warm_up, "warm-up").finish();
        let cpu = broker.cpu();
        let run = self.start_end_to_end(broker, lengths.load, label).finish();
        Outcome { run, broker_cpu: broker.cpu() - cpu }
    }

    /// Starts to produce and to consume at once.
    #[must_use]
    pub fn start_end_to_end<'f>(&self, broker: &Running<'f>, time: Duration, label: &str) -> Started<'f> {
        self.start("end-to-end", broker, Length::Time(time), label)
    }

    fn start<'f>(&self, mode: &str, broker: &Running<'f>, length: Length, label: &str) -> Started<'f> {
        let mut words = self.words(mode);
        words.extend(length.words());
        Started::new(broker, words, (label, self.is_urgent))
    }

    fn words(&self, mode: &str) -> Vec<String> {
        let mut words = vec![mode.to_owned(), "--topic".to_owned(), self.topic.to_owned()];
        let mut flag = |name: &str, value: u64| words.extend([name.to_owned(), value.to_string()]);
        flag("--record-size", self.record_bytes);
        flag("--linger", self.linger_ms);
        flag("--batch-size", self.batch_bytes);
        flag("--clients", self.clients);
        if let Some(rate) = self.rate {
            flag("--throughput", rate);
        }
        words
    }
}

/// Reads a topic from its start to what is its end now.
#[must_use]
pub fn consume(broker: &Running<'_>, topic: &str, label: &str) -> Outcome {
    let cpu = broker.cpu();
    let run = start_consume(broker, topic, label).finish();
    Outcome { run, broker_cpu: broker.cpu() - cpu }
}

/// Starts to read a topic.
#[must_use]
pub fn start_consume<'f>(broker: &Running<'f>, topic: &str, label: &str) -> Started<'f> {
    Started::new(broker, ["consume", "--topic", topic].map(str::to_owned).to_vec(), (label, false))
}

impl Length {
    fn words(self) -> [String; 2] {
        match self {
            Length::Time(time) => ["--duration".to_owned(), format!("{}s", time.as_secs())],
            Length::Records(records) => ["--num-records".to_owned(), records.to_string()],
        }
    }
}

impl<'f> Started<'f> {
    fn new(broker: &Running<'f>, words: Vec<String>, (label, is_urgent): (&str, bool)) -> Self {
        let field = broker.field();
        let json = field.data.join(format!("{label}.json"));
        let _ = std::fs::remove_file(&json);
        let said = std::fs::File::create(json.with_extension("txt"));
        let said = said.expect("the directory of the comparison can be written");
        let mut command = Command::new("chrt");
        match is_urgent && field.can_be_urgent {
            true => command.args(["--fifo", "1"]).arg(&field.surroundings.ottla),
            false => command.args(["--other", "0"]).arg(&field.surroundings.ottla),
        };
        let what = format!("ottla bench {} --threads {}", words.join(" "), field.load_cpu_count);
        field.note(what.clone());
        command.arg("bench").args(&words).args(["--threads", &field.load_cpu_count.to_string(), "--quiet"]);
        command.args(["--bootstrap-server", &broker.address().to_string(), "--json"]).arg(&json);
        command.stdin(Stdio::null()).stdout(said.try_clone().expect("a file can be cloned")).stderr(said);
        let child = command.process_group(0).spawn().expect("chrt is part of util-linux");
        field.watchdog.watch(child.id());
        Self { field, child, json, what }
    }

    /// Waits for its end. A load that was not what was asked for, or of which some failed, says so in its notes.
    ///
    /// # Panics
    /// When it could not be measured at all.
    #[must_use]
    pub fn finish(mut self) -> RunResult {
        let status = self.child.wait().expect("a child can be waited for");
        self.field.watchdog.forget(self.child.id());
        let said = std::fs::read_to_string(self.json.with_extension("txt")).unwrap_or_default();
        let mut run = result::read(&self.json)
            .unwrap_or_else(|error| panic!("{}: {status}, {error}\n{}", self.what, said.trim_end()));
        let errors = run.errors.iter().map(|(reason, records)| format!("{records} records failed: {reason}"));
        run.notes.extend(errors.collect::<Vec<_>>());
        if let Some(found) = run.verification.as_ref().filter(|found| !found.is_clean()) {
            run.notes.push(result::table::verified(found));
        }
        run
    }
}

impl Drop for Started<'_> {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Keeps what a load said among the report's files.
///
/// # Panics
/// When the report's directory cannot be written.
pub fn keep(run: &RunResult, path: &Path) {
    result::write(run, path).unwrap_or_else(|error| panic!("{error}"));
}

/// Records per second of a produce load.
#[must_use]
pub fn produced_per_second(run: &RunResult) -> f64 {
    run.rate(PRODUCED).0
}

/// MB of batches per second of a consume load.
#[must_use]
pub fn consumed_mb_per_second(run: &RunResult) -> f64 {
    run.counters["fetched_batch_bytes"] as f64 / run.duration_seconds / 1e6
}
