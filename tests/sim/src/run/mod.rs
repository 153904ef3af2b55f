//! One seed, one world: a broker on a machine of its own, a client that loads it, and what befalls both.
//!
//! [`run_seed`] is a function of the seed alone: the same seed has the same events on every machine. A seed goes
//! through rounds of load with a fault between them; then everything heals, the actors come to an end, and what exists
//! for sure is read and written once more, before and after a clean stop.

mod faults;
mod report;
mod scenario;

use std::collections::BTreeMap;
use std::time::Duration;

use crate::check::{Invariant, Violation};
use crate::workload::PlanOptions;

pub use faults::Fault;
pub use report::Totals;

use scenario::Scenario;

/// How seeds are run.
#[derive(Clone, Copy, Debug, Default)]
pub struct RunOptions {
    /// What plans may draw.
    pub plan: PlanOptions,
    /// A line on standard error for every operation, event and change of the world.
    pub trace: bool,
}

/// What became of a seed.
#[derive(Clone, Debug)]
pub struct SeedResult {
    /// The seed.
    pub seed: u64,
    /// Events of the world.
    pub events: u64,
    /// All of them as one number.
    pub fingerprint: u64,
    /// Virtual time.
    pub virtual_time: Duration,
    /// Operations of the client.
    pub operations: u64,
    /// How often which fault and which state was reached.
    pub reached: BTreeMap<String, u64>,
    /// What no correct broker could have done.
    pub failure: Option<Failure>,
}

/// A seed that failed.
#[derive(Clone, Debug)]
pub struct Failure {
    /// What was broken.
    pub violation: Violation,
    /// The last operations that concern it, one per line.
    pub story: String,
}

/// Events of the story of a failure.
const STORY_EVENTS: usize = 60;

/// Runs one seed to its end, or to the first thing that no correct broker could have done.
#[must_use]
pub fn run_seed(seed: u64, options: RunOptions) -> SeedResult {
    let mut scenario = Scenario::new(seed, options);
    scenario.run();
    let violation = scenario.history.violation();
    let failure = violation
        .map(|violation| Failure { story: scenario.history.tell(violation.place, STORY_EVENTS), violation });
    SeedResult {
        seed,
        events: scenario.world.events(),
        fingerprint: scenario.world.fingerprint(),
        virtual_time: Duration::from_nanos(scenario.world.now().0),
        operations: u64::from(scenario.history.operations()),
        reached: scenario.reached(),
        failure,
    }
}

/// Runs one seed and turns a panic of the harness itself into a failure of the seed.
#[must_use]
pub fn run_seed_safely(seed: u64, options: RunOptions) -> SeedResult {
    let run = std::panic::catch_unwind(|| run_seed(seed, options));
    run.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        let violation = Violation::new(Invariant::Stuck, format!("the harness panicked: {text:?}"));
        SeedResult {
            seed,
            events: 0,
            fingerprint: 0,
            virtual_time: Duration::ZERO,
            operations: 0,
            reached: BTreeMap::new(),
            failure: Some(Failure { violation, story: String::new() }),
        }
    })
}
