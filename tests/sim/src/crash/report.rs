//! What a run has counted, and what it has found, for people.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Write as _};
use std::time::Duration;

use ottla_shards::host::sim::CrashModel;

use super::recover::Failure;

/// A crash by operation and model.
#[derive(Clone, Copy, Debug)]
pub struct Which {
    /// The operation after which it came.
    pub operation: u64,
    /// What it left.
    pub model: CrashModel,
}

/// A crash that a broker did not stand.
#[derive(Debug)]
pub struct Failed {
    /// The workload's name.
    pub workload: &'static str,
    /// The run's seed.
    pub seed: u64,
    /// The crash; `None` when the workload itself failed.
    pub first: Option<Which>,
    /// The crash in its recovery.
    pub second: Option<Which>,
    /// What is wrong.
    pub failure: Failure,
}

impl Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Failed { workload, seed, first, second, failure } = self;
        write!(f, "{workload} (seed {seed})")?;
        let mut replay = workload.to_string();
        for (which, number) in [(first, "operation"), (second, "then operation")] {
            if let Some(Which { operation, model }) = which {
                write!(f, ", {number} {operation}, {model:?}")?;
                write!(replay, " {operation} {model:?}")?;
            }
        }
        writeln!(f, ": {}", failure.violation)?;
        write!(f, "{}", failure.story)?;
        write!(f, "  make crash SEED={seed} AT='{replay}'")
    }
}

/// The figures of a run.
#[derive(Debug, Default)]
pub struct Totals {
    /// Workloads that were played.
    pub workloads: u64,
    /// Operations of the disk while moments were kept.
    pub operations: u64,
    /// Moments that were kept.
    pub moments: u64,
    /// Crashes under each model.
    pub crashes: BTreeMap<CrashModel, u64>,
    /// Crashes in the recovery from another.
    pub second_crashes: u64,
    /// Brokers that were booted after a crash.
    pub recoveries: u64,
    /// What was found.
    pub failed: Vec<Failed>,
    /// Real time.
    pub real: Duration,
    slowest: Duration,
    by_workload: BTreeMap<&'static str, (usize, Duration)>,
}

impl Totals {
    pub(super) fn recorded(&mut self, workload: &'static str, operations: u64, moments: usize) {
        self.by_workload.entry(workload).or_default().0 = moments;
        self.workloads += 1;
        self.operations += operations;
        self.moments += moments as u64;
    }

    pub(super) fn crashed(&mut self, model: CrashModel, recoveries: u64, took: Duration) {
        *self.crashes.entry(model).or_insert(0) += 1;
        self.recoveries += recoveries;
        self.slowest = self.slowest.max(took);
    }

    pub(super) fn crashed_twice(&mut self, recoveries: u64, took: Duration) {
        self.second_crashes += 1;
        self.recoveries += recoveries;
        self.slowest = self.slowest.max(took);
    }

    pub(super) fn took(&mut self, workload: &'static str, time: Duration) {
        self.by_workload.entry(workload).or_default().1 += time;
    }

    /// One line on how far it has come.
    #[must_use]
    pub fn line(&self, real: Duration) -> String {
        let crashes: u64 = self.crashes.values().sum();
        let per_second = self.recoveries as f64 / real.as_secs_f64().max(1e-9);
        format!(
            "{} workloads, {crashes} crashes, {} second, {} recoveries, {} failures, {:.0} s, {per_second:.0}/s",
            self.workloads,
            self.second_crashes,
            self.recoveries,
            self.failed.len(),
            real.as_secs_f64(),
        )
    }

    /// Everything, at the end.
    #[must_use]
    pub fn table(&self) -> String {
        let mut text = String::new();
        let mut line = |what: &str, value: String| {
            writeln!(text, "{what:<24}{value:>12}").expect("a string takes everything");
        };
        line("workloads", self.workloads.to_string());
        line("disk operations", self.operations.to_string());
        line("crash points", self.moments.to_string());
        for (model, crashes) in &self.crashes {
            line(&format!("crashes {model:?}"), crashes.to_string());
        }
        line("second crashes", self.second_crashes.to_string());
        line("recoveries", self.recoveries.to_string());
        line("failures", self.failed.len().to_string());
        line("slowest recovery", format!("{:.0} ms", self.slowest.as_secs_f64() * 1e3));
        line("real time", format!("{:.1} s", self.real.as_secs_f64()));
        for (workload, (moments, took)) in &self.by_workload {
            line(&format!("  {workload}"), format!("{moments} in {:.1} s", took.as_secs_f64()));
        }
        text
    }
}
