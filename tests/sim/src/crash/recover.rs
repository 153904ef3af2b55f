//! One crash: what is left of a moment, the broker that boots on it, and what is asked of that.

use std::fmt::Write as _;

use ottla_shards::host::sim::CrashModel;

use super::stage::{Recording, Stage};
use super::verify::look;
use crate::check::Violation;
use crate::history::History;
use crate::random::mix;

/// Events of the story of a failure.
const STORY_EVENTS: usize = 40;

/// Which crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crash {
    /// The moment's index in its recording.
    pub at: usize,
    /// What is left of what was not synced.
    pub model: CrashModel,
    /// Decides what is left of that, and the recovery.
    pub seed: u64,
}

/// What follows a recovery that went well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// Nothing.
    Nothing,
    /// The power goes again after everything was looked at, and what was appended meanwhile is looked for.
    CrashAfter,
}

/// What a crash has shown.
#[derive(Clone, Copy, Debug, Default)]
pub struct Found {
    /// Brokers that were booted.
    pub recoveries: u64,
    /// Events of the worlds.
    pub operations: u64,
}

/// What no correct broker could have done.
#[derive(Clone, Debug)]
pub struct Failure {
    /// What it is.
    pub violation: Violation,
    /// The last operations that concern it, one per line.
    pub story: String,
}

impl Failure {
    /// What a history says about it.
    #[must_use]
    pub fn new(violation: Violation, history: &History) -> Failure {
        let mut story = history.tell(violation.place, STORY_EVENTS);
        if story.is_empty() {
            writeln!(story, "  nothing was asked").expect("a string takes everything");
        }
        Failure { violation, story }
    }
}

impl Crash {
    /// The crash of a moment under a model; what else is random about it follows from these and `seed`.
    #[must_use]
    pub fn of(recording: &Recording, at: usize, model: CrashModel, seed: u64) -> Crash {
        let operation = recording.moments[at].operation;
        Crash { at, model, seed: mix(seed ^ mix(operation << 3 | model as u64)) }
    }

    /// Boots the broker after the crash and judges it.
    ///
    /// # Errors
    /// What is wrong.
    pub fn recover(self, recording: &Recording, then: Then, trace: bool) -> Result<Found, Failure> {
        let mut stage = Stage::after(recording, self.at, self.model, self.seed, trace);
        let judged = judge(&mut stage, then, self.seed);
        judged.map_err(|violation| Failure::new(violation, stage.history()))
    }

    /// Boots the broker after the crash until it is ready, with every moment of that kept.
    ///
    /// # Errors
    /// It does not boot.
    pub fn record_recovery(self, recording: &Recording, trace: bool) -> Result<Recording, Failure> {
        let mut stage = Stage::after(recording, self.at, self.model, self.seed, trace);
        stage.keep(true);
        match stage.start() {
            Ok(()) => Ok(stage.into_recording()),
            Err(violation) => Err(Failure::new(violation, stage.history())),
        }
    }
}

fn judge(stage: &mut Stage, then: Then, seed: u64) -> Result<Found, Violation> {
    stage.start()?;
    stage.act("look", |hand| look(hand, true))?;
    let mut recoveries = 1;
    if then == Then::CrashAfter {
        let model = CrashModel::ALL[usize::try_from(seed % 5).expect("an index")];
        stage.power_cut(model);
        stage.start()?;
        stage.act("look again", |hand| look(hand, false))?;
        recoveries += 1;
    }
    stage.history().finish();
    match stage.history().violation() {
        Some(violation) => Err(violation),
        None => Ok(Found { recoveries, operations: stage.operations() }),
    }
}
