//! Every workload, every moment, every model: spread over threads, counted, and replayed one by one.
//!
//! Each thread plays every workload itself, which gives the same moments in each, and takes every so-manieth of them:
//! nothing is shared but the figures.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use ottla_shards::host::sim::CrashModel;

use super::catalog::Workload;
use super::recover::{Crash, Failure, Then};
use super::report::{Failed, Totals, Which};
use super::stage::{Recording, Stage};
use crate::check::{Invariant, Violation};
use crate::random::mix;

/// One crash in so many has a second one in its recovery.
const SECOND_ONE_IN: u64 = 10;
/// Moments of a recovery at which the second crash comes.
const SECOND_MOMENTS: usize = 6;
/// One crash in so many is followed by another when its recovery is over.
const AFTER_ONE_IN: u64 = 7;

/// What is run.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Decides everything that is random.
    pub seed: u64,
    /// Every moment under all models, instead of under one in turn.
    pub all_models: bool,
    /// Take every so-manieth moment; 1 takes all.
    pub stride: usize,
    /// Threads.
    pub jobs: usize,
    /// Stop after so many failures.
    pub failures_max: usize,
    /// Say after each workload how far it is.
    pub progress: bool,
}

/// One crash to be seen again.
#[derive(Clone, Copy, Debug)]
pub struct Replay {
    /// The operation after which it comes, and the model.
    pub first: (u64, CrashModel),
    /// The same of the second one, in the first's recovery.
    pub second: Option<(u64, CrashModel)>,
}

/// Runs the workloads.
#[must_use]
pub fn run(workloads: &[Workload], options: Options) -> Totals {
    let begun = Instant::now();
    let totals = Mutex::new(Totals::default());
    std::thread::scope(|scope| {
        for job in 0..options.jobs {
            let totals = &totals;
            scope.spawn(move || {
                for workload in workloads {
                    let seconds = begun.elapsed();
                    Task { workload, options, job, totals }.run();
                    totals.lock().expect("no thread panics").took(workload.name, begun.elapsed() - seconds);
                    if options.progress {
                        let totals = totals.lock().expect("no thread panics");
                        eprintln!("{:>14} {}", workload.name, totals.line(begun.elapsed()));
                    }
                }
            });
        }
    });
    let mut totals = totals.into_inner().expect("no thread panics");
    totals.real = begun.elapsed();
    totals
}

/// Plays one crash again with a trace.
///
/// # Errors
/// There is no such moment, or what is wrong there.
pub fn replay(workload: &Workload, seed: u64, replay: Replay) -> Result<(), Failure> {
    let (operation, model) = replay.first;
    let recording = record(workload, seed, true)?;
    let at = find(&recording, operation)?;
    let crash = Crash::of(&recording, at, model, seed);
    eprintln!("---- crash after operation {operation}: {model:?}");
    let Some((operation, model)) = replay.second else {
        return crash.recover(&recording, then(&crash), true).map(drop);
    };
    let recovery = crash.record_recovery(&recording, true)?;
    let at = find(&recovery, operation)?;
    eprintln!("---- second crash after operation {operation}: {model:?}");
    let second = Crash::of(&recovery, at, model, crash.seed);
    second.recover(&recovery, Then::Nothing, true).map(drop)
}

fn find(recording: &Recording, operation: u64) -> Result<usize, Failure> {
    recording.moments.iter().position(|moment| moment.operation == operation).ok_or_else(|| {
        let detail = format!("no moment is kept after operation {operation}");
        Failure::new(Violation::new(Invariant::Stuck, detail), &recording.history)
    })
}

/// Plays a workload, and keeps its moments.
///
/// # Errors
/// What went wrong although nothing hinders the broker.
pub fn record(workload: &Workload, seed: u64, trace: bool) -> Result<Recording, Failure> {
    let mut stage = Stage::new(&(workload.setup)(), seed, trace);
    match (workload.play)(&mut stage) {
        Ok(()) => Ok(stage.into_recording()),
        Err(violation) => Err(Failure::new(violation, stage.history())),
    }
}

/// Whether a crash is followed by another when everything was looked at.
fn then(crash: &Crash) -> Then {
    if mix(crash.seed).is_multiple_of(AFTER_ONE_IN) { Then::CrashAfter } else { Then::Nothing }
}

/// One thread's part of one workload.
struct Task<'a> {
    workload: &'a Workload,
    options: Options,
    job: usize,
    totals: &'a Mutex<Totals>,
}

impl Task<'_> {
    fn run(&self) {
        let Options { seed, stride, jobs, .. } = self.options;
        let recording = match record(self.workload, seed, false) {
            Ok(recording) => recording,
            Err(failure) => return self.failed(None, None, failure),
        };
        let operations = recording.moments.last().map_or(0, |last| last.operation)
            - recording.moments.first().map_or(0, |first| first.operation);
        if self.job == 0 {
            let mut totals = self.totals.lock().expect("no thread panics");
            totals.recorded(self.workload.name, operations, recording.moments.len());
        }
        let chosen = (0..recording.moments.len()).step_by(stride);
        for (number, at) in chosen.enumerate().filter(|(number, _)| number % jobs == self.job) {
            for (index, model) in CrashModel::ALL.into_iter().enumerate() {
                let is_due = self.options.all_models || number % CrashModel::ALL.len() == index;
                if is_due && !self.is_over() {
                    self.crash(&recording, Crash::of(&recording, at, model, seed));
                }
            }
        }
    }

    fn is_over(&self) -> bool {
        self.totals.lock().expect("no thread panics").failed.len() >= self.options.failures_max
    }

    fn crash(&self, recording: &Recording, crash: Crash) {
        let begun = Instant::now();
        let first = Which { operation: recording.moments[crash.at].operation, model: crash.model };
        match crash.recover(recording, then(&crash), false) {
            Ok(found) => self.counted(crash.model, found.recoveries, begun.elapsed()),
            Err(failure) => return self.failed(Some(first), None, failure),
        }
        if !(crash.seed >> 20).is_multiple_of(SECOND_ONE_IN) {
            return;
        }
        let recovery = match crash.record_recovery(recording, false) {
            Ok(recovery) => recovery,
            Err(failure) => return self.failed(Some(first), None, failure),
        };
        let stride = recovery.moments.len().div_ceil(SECOND_MOMENTS).max(1);
        let offset = usize::try_from(crash.seed >> 40).expect("24 bits") % stride;
        for (index, at) in (offset..recovery.moments.len()).step_by(stride).enumerate() {
            let begun = Instant::now();
            let model = CrashModel::ALL[(index + at) % CrashModel::ALL.len()];
            let second = Which { operation: recovery.moments[at].operation, model };
            match Crash::of(&recovery, at, model, crash.seed).recover(&recovery, Then::Nothing, false) {
                Ok(found) => self.counted_second(found.recoveries, begun.elapsed()),
                Err(failure) => return self.failed(Some(first), Some(second), failure),
            }
        }
    }

    fn counted(&self, model: CrashModel, recoveries: u64, took: Duration) {
        self.totals.lock().expect("no thread panics").crashed(model, recoveries, took);
    }

    fn counted_second(&self, recoveries: u64, took: Duration) {
        self.totals.lock().expect("no thread panics").crashed_twice(recoveries, took);
    }

    fn failed(&self, first: Option<Which>, second: Option<Which>, failure: Failure) {
        let (workload, seed) = (self.workload.name, self.options.seed);
        let failed = Failed { workload, seed, first, second, failure };
        if self.options.progress {
            eprintln!("{failed}");
        }
        self.totals.lock().expect("no thread panics").failed.push(failed);
    }
}
