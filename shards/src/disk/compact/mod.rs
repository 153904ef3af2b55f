//! Compaction at work: which partition of this shard is cleaned, and its cleaned segments on the way into the log.
//!
//! | module | does |
//! |---|---|
//! | [`run`] | looks for the dirtiest partition, and cleans one |
//! | [`cleaned`] | writes a `.cleaned` segment and swaps it in |
//! | [`recover`] | finishes or undoes at a start what a crash has interrupted |
//! | [`share`] | what the cleanings of all shards have in common: how many, and how many bytes per second |
//!
//! [`ottla::log::cleaner`] decides; here it is carried out, in the background queue, on the partition's owner shard.
//!
//! What must hold: one cleaning or one retention of a partition at a time; nothing is renamed before every byte of the
//! cleaned segment is durable; readers go over to it at one moment (see [`layout`](super::partition)); a partition
//! whose bytes are damaged is not cleaned any more and loses nothing.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use ottla::ids::{Offset, TimestampMs};

use crate::host::sync::Semaphore;

pub mod cleaned;
pub mod recover;
pub mod run;
pub mod share;

pub use run::{CleanJob, CleanWith, Cleaned};
pub use share::{CleanerShare, CleanerSlot};

/// What the cleaner keeps of a partition.
pub struct CleaningState {
    /// Whoever changes the closed segments: a cleaning, retention, the end of the partition.
    pub turn: Rc<Semaphore>,
    /// A cleaning has met damage: none is tried before the next start.
    pub uncleanable: Cell<bool>,
    /// Max timestamps of the first batches of closed segments, for `max.compaction.lag.ms`.
    pub first_timestamps: RefCell<BTreeMap<Offset, TimestampMs>>,
}

impl Default for CleaningState {
    fn default() -> CleaningState {
        CleaningState {
            turn: Semaphore::new(1),
            uncleanable: Cell::new(false),
            first_timestamps: RefCell::default(),
        }
    }
}

/// What a test does at each step.
#[cfg(test)]
pub(super) type Probe = Box<dyn FnMut(&'static str)>;

#[cfg(test)]
thread_local! {
    /// Called before each change of names and after each piece that was written, with what comes next.
    pub(super) static PROBE: RefCell<Option<Probe>> = const { RefCell::new(None) };
}

/// Lets a test look at the directory here.
#[cfg(test)]
fn probe(step: &'static str) {
    PROBE.with(|probe| {
        if let Some(probe) = probe.borrow_mut().as_mut() {
            probe(step);
        }
    });
}

#[cfg(not(test))]
fn probe(_: &'static str) {}
