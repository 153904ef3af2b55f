//! What a comparison is held on: CPUs, directories, lengths, and a record of what was run.

use std::cell::RefCell;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::driver::{Driver, Surroundings};
use super::watchdog::Watchdog;

/// The playing field of all brokers.
#[derive(Debug)]
pub struct Field {
    /// Where brokers have their data: below the report's directory, and gone at the end.
    pub data: PathBuf,
    /// Where the report and what it is made from are kept.
    pub kept: PathBuf,
    /// What scripts may expect.
    pub surroundings: Surroundings,
    /// The CPUs of the broker, as `taskset` lists them.
    pub broker_cpus: String,
    /// The CPUs of the load and of this program.
    pub load_cpus: String,
    /// How many those are.
    pub load_cpu_count: usize,
    /// Whether a load may be given priority over everything else on its CPUs.
    pub can_be_urgent: bool,
    /// Ends what is left over.
    pub watchdog: Watchdog,
    /// How long things are measured.
    pub lengths: Lengths,
    /// Every command that was given, once, in order.
    pub commands: RefCell<Vec<String>>,
}

/// How long things are measured, and how much is read.
#[derive(Clone, Copy, Debug)]
pub struct Lengths {
    /// A load before it is measured.
    pub warm_up: Duration,
    /// A load.
    pub load: Duration,
    /// Idleness.
    pub idle: Duration,
    /// How long memory may settle before it is read.
    pub settle: Duration,
    /// Bytes that are fetched hot.
    pub hot_bytes: u64,
    /// Bytes that are fetched cold.
    pub cold_bytes: u64,
    /// Bytes that are drained cold beside a live load.
    pub drained_bytes: u64,
}

impl Lengths {
    /// Enough for a figure that is quoted.
    pub const WHOLE: Lengths = Lengths {
        warm_up: Duration::from_secs(15),
        load: Duration::from_secs(20),
        idle: Duration::from_secs(20),
        settle: Duration::from_secs(3),
        hot_bytes: 1_000_000_000,
        cold_bytes: 6_000_000_000,
        drained_bytes: 10_000_000_000,
    };
    /// Enough to see that everything runs.
    pub const QUICK: Lengths = Lengths {
        warm_up: Duration::from_secs(5),
        load: Duration::from_secs(4),
        idle: Duration::from_secs(4),
        settle: Duration::from_secs(1),
        hot_bytes: 200_000_000,
        cold_bytes: 500_000_000,
        drained_bytes: 500_000_000,
    };
}

impl Field {
    /// Where a broker has its files.
    #[must_use]
    pub fn directory(&self, driver: &Driver) -> PathBuf {
        self.data.join(&driver.id)
    }

    /// Keeps what a broker that failed has printed, where it got so far.
    pub fn keep_log(&self, driver: &Driver, label: &str) {
        let log = self.directory(driver).join("broker.log");
        let _ = std::fs::copy(log, self.kept.join(format!("{label}.log")));
    }

    /// Remembers a command for the report, where it is a new one.
    pub fn note(&self, command: String) {
        let mut commands = self.commands.borrow_mut();
        if !commands.contains(&command) {
            commands.push(command);
        }
    }
}

/// The CPUs that this process may use, ascending, as `taskset` says.
///
/// # Panics
/// When there is no `taskset`.
#[must_use]
pub fn allowed_cpus() -> Vec<usize> {
    let mut command = Command::new("taskset");
    let output = command.args(["--cpu-list", "--pid", &std::process::id().to_string()]).output();
    let text = String::from_utf8_lossy(&output.expect("taskset is part of util-linux").stdout).into_owned();
    cpus(text.rsplit(':').next().unwrap_or_default())
}

/// The numbers in a list like `0-3,8`.
#[must_use]
pub fn cpus(list: &str) -> Vec<usize> {
    let ranges = list.trim().split(',').filter_map(|part| {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        Some(from.trim().parse::<usize>().ok()?..=to.trim().parse::<usize>().ok()?)
    });
    ranges.flatten().collect()
}

/// Numbers as `taskset` takes them.
#[must_use]
pub fn list(cpus: &[usize]) -> String {
    cpus.iter().map(usize::to_string).collect::<Vec<_>>().join(",")
}

/// Keeps this process and all that it starts on some CPUs.
///
/// # Panics
/// When the system does not allow it.
pub fn pin_to(cpus: &str) {
    let mut command = Command::new("taskset");
    command.args(["--all-tasks", "--cpu-list", "--pid", cpus, &std::process::id().to_string()]);
    let output = command.output().expect("taskset is part of util-linux");
    assert!(output.status.success(), "CPUs {cpus}: {}", String::from_utf8_lossy(&output.stderr).trim());
}

/// Whether the system gives a program of this user real-time priority.
#[must_use]
pub fn can_be_urgent() -> bool {
    let mut attempt = Command::new("chrt");
    attempt.args(["--fifo", "1", "true"]).stdout(Stdio::null()).stderr(Stdio::null());
    attempt.status().is_ok_and(|status| status.success())
}
