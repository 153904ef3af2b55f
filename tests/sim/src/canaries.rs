//! The hunt for planted bugs: the proof that the simulator sees what it is there to see.
//!
//! A bug of [`ottla::canary`] is planted on the thread that hunts it, and seeds are run until one fails that does not
//! fail without it. What must hold: every bug is caught within its budget, or why not is known; a seed that fails
//! without any bug planted counts for nothing here, and is told.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use ottla::canary::{self, Canary};
use ottla_shards::host::sim::CrashModel;

use crate::check::{Invariant, Violation};
use crate::crash::{self, Crash, Then};
use crate::run::{RunOptions, SeedResult, run_seed_safely};

/// The seed of the crash workloads.
const CRASH_SEED: u64 = 1;

/// How long to look for one bug.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// The first seed.
    pub from: u64,
    /// How many seeds.
    pub seeds_max: u64,
    /// How much time.
    pub time_max: Duration,
}

/// What became of a hunt.
#[derive(Clone, Debug)]
pub struct Hunt {
    /// The bug.
    pub canary: Canary,
    /// Seeds that were run.
    pub seeds: u64,
    /// Crashes of workloads that were run, where no seed had shown it.
    pub crashes: u64,
    /// Seeds in which the code of the bug was reached.
    pub struck: u64,
    /// What showed it.
    pub catch: Option<Catch>,
    /// Seeds that failed with the bug and fail without it too.
    pub red: Vec<u64>,
    /// Real time.
    pub took: Duration,
}

/// What showed a planted bug.
#[derive(Clone, Debug)]
pub struct Catch {
    /// The seed, or the crash of a workload.
    pub at: String,
    /// What is broken.
    pub violation: Violation,
}

impl Catch {
    /// Who saw it: the broker's own assertion, or the checker's invariant.
    #[must_use]
    pub fn seen_by(&self) -> String {
        match (self.violation.invariant, self.violation.detail.strip_prefix("the broker panicked: ")) {
            (Invariant::Stuck, Some(text)) => {
                format!("an assertion: {}", text.lines().next().unwrap_or(text))
            }
            (Invariant::Stuck, None) => format!("Stuck: {}", self.violation.detail),
            (invariant, _) => format!("{invariant:?}"),
        }
    }
}

/// Runs a seed with a bug planted, or none; says how often the bug's code was reached.
#[must_use]
pub fn run_planted(canary: Option<Canary>, seed: u64, options: RunOptions) -> (SeedResult, u64) {
    canary::select(canary);
    let result = run_seed_safely(seed, options);
    let struck = canary::struck();
    canary::select(None);
    (result, struck)
}

/// Runs seeds until the bug is caught or the budget is used up; `tell` hears of every seed.
pub fn hunt(canary: Canary, budget: Budget, options: RunOptions, mut tell: impl FnMut(&Hunt)) -> Hunt {
    let begun = Instant::now();
    let mut hunt =
        Hunt { canary, seeds: 0, crashes: 0, struck: 0, catch: None, red: Vec::new(), took: Duration::ZERO };
    for seed in (budget.from..).take(usize::try_from(budget.seeds_max).unwrap_or(usize::MAX)) {
        let (result, struck) = run_planted(Some(canary), seed, options);
        hunt.seeds += 1;
        hunt.struck += u64::from(struck > 0);
        hunt.took = begun.elapsed();
        if let Some(failure) = result.failure {
            match run_planted(None, seed, options).0.failure {
                None => {
                    let at = format!("seed {seed}");
                    hunt.catch = Some(Catch { at, violation: failure.violation });
                }
                Some(_) => hunt.red.push(seed),
            }
        }
        tell(&hunt);
        if hunt.catch.is_some() || begun.elapsed() >= budget.time_max {
            break;
        }
    }
    hunt
}

/// Takes the power away at every operation of the workloads until the bug is caught or the time is over.
pub fn hunt_crashes(hunt: &mut Hunt, time_max: Duration) {
    let begun = Instant::now();
    for workload in crash::all() {
        let record = |canary| {
            canary::select(canary);
            let recording = crash::record(&workload, CRASH_SEED, false);
            canary::select(None);
            recording
        };
        let Ok(plain) = record(None) else { continue };
        let planted = match record(Some(hunt.canary)) {
            Ok(planted) => planted,
            Err(failure) => {
                hunt.catch = Some(Catch { at: workload.name.to_owned(), violation: failure.violation });
                return;
            }
        };
        for at in 0..planted.moments.len() {
            if begun.elapsed() >= time_max {
                return;
            }
            hunt.crashes += 1;
            let (model, operation) =
                (CrashModel::ALL[at % CrashModel::ALL.len()], planted.moments[at].operation);
            canary::select(Some(hunt.canary));
            let seen = Crash::of(&planted, at, model, CRASH_SEED).recover(&planted, Then::CrashAfter, false);
            canary::select(None);
            let Err(failure) = seen else { continue };
            let same = at.min(plain.moments.len() - 1);
            let alone = Crash::of(&plain, same, model, CRASH_SEED).recover(&plain, Then::CrashAfter, false);
            if alone.is_ok() {
                let at = format!("{} {operation} {model:?}", workload.name);
                hunt.catch = Some(Catch { at, violation: failure.violation });
                return;
            }
        }
    }
}

/// The result of all hunts, one line each.
#[must_use]
pub fn table(hunts: &[Hunt]) -> String {
    let mut text = String::from(
        "| canary | breaks | known as | seeds | crashes | reached in | seen by |\n|---|---|---|---|---|---|---|\n",
    );
    for Hunt { canary, seeds, crashes, struck, catch, .. } in hunts {
        let seen = match catch {
            Some(catch) => format!("{}: {}", catch.at, catch.seen_by()),
            None => "NOT CAUGHT".to_owned(),
        };
        let (number, breaks, known) = (canary.number(), canary.breaks(), canary.known_as());
        writeln!(
            text,
            "| {number} {canary:?} | {breaks} | {known} | {seeds} | {crashes} | {struck} | {seen} |"
        )
        .expect("a string takes everything");
    }
    text
}
