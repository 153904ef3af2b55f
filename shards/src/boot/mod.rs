//! The start, in order: settings, the machine, directories, who this node is, the metadata, every shard's partitions,
//! and only then clients.
//!
//! Shard 0 leads; the others wait for [`Query::Begin`](crate::drive::messages::Query) over the mesh. What must hold:
//! nothing is served before everything that was acknowledged is in place; what makes a start impossible is one line on
//! standard error that names the setting and what to do, and exit code 1.

use std::fmt::Display;
use std::process::ExitCode;
use std::sync::Arc;

use ottla::config::BrokerConfig;
use ottla::ids::ShardId;
use ottla::limits::SHARDS_MAX;
use ottla::time::Monotonic;

use crate::host::{self, ShardSpec, available_cpus};
use crate::logs::{self, Loggers};
use crate::mesh;

mod admission;
mod banner;
mod identity;
mod leader;
mod listeners;
mod settings;
mod shard;

pub use settings::{SettingsError, Start, StartArgs, read_file};
pub use shard::Begin;

/// Values that each ring of the mesh holds: enough for the requests of many connections between two turns.
const MESH_CAPACITY: usize = 256;

/// `ottla start`: runs the broker until it is told to stop.
#[must_use]
pub fn start(args: &StartArgs) -> ExitCode {
    let started = host::now();
    match settings::gather(args).map_err(|error| error.to_string()).and_then(|start| run(start, started)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(line) => refuse(&line),
    }
}

/// Says why there is no broker.
fn refuse(line: &dyn Display) -> ExitCode {
    host::say_why(line);
    ExitCode::from(1)
}

fn run(start: Start, started: Monotonic) -> Result<(), String> {
    let broker = Broker::prepare(start, started)?;
    let logs = logs::start(&broker.plan.loggers);
    let outcome = broker.run();
    drop(logs);
    outcome
}

/// A broker that is ready to run on this machine.
pub struct Broker {
    specs: Vec<ShardSpec>,
    plan: Arc<Plan>,
}

impl Broker {
    /// Finds out whether the machine lets a broker with these settings run, and takes the signals. Before this the
    /// process has one thread.
    ///
    /// # Errors
    /// One line that says what is missing.
    pub fn prepare(start: Start, started: Monotonic) -> Result<Broker, String> {
        let Start { config, cluster_id } = start;
        let specs = shard_specs(&config)?;
        host::probe(&specs).map_err(|error| error.to_string())?;
        let descriptors = host::raise_descriptor_limit();
        host::catch_signals().map_err(|error| format!("signals cannot be taken: {error}"))?;
        let plan = Arc::new(Plan {
            config: Arc::new(config),
            cluster_id,
            shards: u16::try_from(specs.len()).expect("bounded by SHARDS_MAX"),
            descriptors,
            started,
            cpus: cpus_of(&specs),
            loggers: Loggers::new(),
        });
        Ok(Broker { specs, plan })
    }

    /// Runs every shard until a signal has ended them.
    ///
    /// # Errors
    /// One line that says which shard does not start.
    pub fn run(self) -> Result<(), String> {
        let Broker { specs, plan } = self;
        let seats = mesh::seats(plan.shards, MESH_CAPACITY).into_iter().map(Some).collect::<Vec<_>>();
        let seats = Arc::new(std::sync::Mutex::new(seats));
        let outcome = host::run_shards(specs, move |id: ShardId| {
            let mut seats = seats.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            let seat = seats[usize::from(id.0)].take().expect("a shard starts once");
            let plan = Arc::clone(&plan);
            async move { shard::run(seat, plan).await }
        });
        outcome.map_err(|error| error.to_string())
    }
}

/// What every shard knows before it runs.
struct Plan {
    config: Arc<BrokerConfig>,
    /// The id that a first start gives the cluster; random where there is none.
    cluster_id: Option<String>,
    shards: u16,
    /// The limit of open descriptors of the process.
    descriptors: u64,
    started: Monotonic,
    /// The CPUs of the shards, for people; empty where the scheduler places them.
    cpus: Vec<usize>,
    loggers: Loggers,
}

/// How many shards, and where: on the CPUs of `cpus` in turn where it is set, else on the process's own. More shards
/// than CPUs of its own are not pinned.
fn shard_specs(config: &BrokerConfig) -> Result<Vec<ShardSpec>, String> {
    let named = config.runtime.cpus.as_slice();
    let cpus = if named.is_empty() { available_cpus() } else { named.to_vec() };
    let wanted = config.runtime.shards.map_or(cpus.len(), |shards| shards as usize);
    if wanted == 0 || wanted > usize::from(SHARDS_MAX) {
        return Err(format!(
            "Invalid value {wanted} for configuration shards: 1 to {SHARDS_MAX} are allowed"
        ));
    }
    let is_pinned = !named.is_empty() || wanted <= cpus.len();
    let spec = |index: usize| ShardSpec {
        shard: ShardId(u16::try_from(index).expect("bounded by SHARDS_MAX")),
        cpu: is_pinned.then(|| cpus[index % cpus.len()]),
    };
    Ok((0..wanted).map(spec).collect())
}

fn cpus_of(specs: &[ShardSpec]) -> Vec<usize> {
    let mut cpus: Vec<usize> = specs.iter().filter_map(|spec| spec.cpu).collect();
    cpus.sort_unstable();
    cpus.dedup();
    cpus
}
