//! How background work on small files leaves the disk to the commits of its shard.
//!
//! To make a file, or to sync one, keeps the disk and a core busy for as long as a commit takes; a row of them stands
//! in the way of every commit that comes meanwhile. While there are commits such work goes in small steps with rests
//! between them, and syncs one step at a time for the whole shard. Without commits, and where somebody waits for its
//! end, it does not rest.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use ottla::time::Monotonic;

use crate::host;
use crate::host::sync::{Permit, Semaphore};

/// How long after a commit another one is expected.
const GOES_ON: Duration = Duration::from_millis(20);

/// A step that is followed by a rest leaves the disk alone for so many times as long as it took,
const REST_TIMES: u32 = 3;

/// and for no longer than this.
const REST_MAX: Duration = Duration::from_millis(20);

/// When a shard's commits go on, and whose step it is.
pub struct Pace {
    last_commit: Cell<Monotonic>,
    turn: Rc<Semaphore>,
}

impl Default for Pace {
    fn default() -> Pace {
        Pace { last_commit: Cell::new(Monotonic::ZERO), turn: Semaphore::new(1) }
    }
}

impl Pace {
    /// A commit has ended.
    pub fn note_commit(&self, ended: Monotonic) {
        self.last_commit.set(ended);
    }

    /// Whether there was a commit a moment ago.
    #[must_use]
    pub fn is_committing(&self) -> bool {
        let last = self.last_commit.get();
        last != Monotonic::ZERO && host::now().since(last) < GOES_ON
    }

    /// Waits for the turn to make a step.
    pub async fn step(&self) -> Step {
        let turn = self.turn.acquire(1).await;
        Step { _turn: turn, begun: host::now() }
    }
}

/// A step of background work among commits.
#[must_use]
pub struct Step {
    _turn: Permit,
    begun: Monotonic,
}

impl Step {
    /// Ends the step: nobody makes the next one before the rest is over.
    pub async fn rest(self) {
        let took = host::now().since(self.begun);
        host::sleep((took * REST_TIMES).min(REST_MAX)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commits_go_on_for_a_moment() {
        host::run_local(async {
            let pace = Pace::default();
            assert!(!pace.is_committing(), "there was none");
            pace.note_commit(host::now());
            assert!(pace.is_committing());
            host::sleep(GOES_ON).await;
            assert!(!pace.is_committing());
        });
    }

    #[test]
    fn one_step_follows_the_rest_of_another() {
        host::run_local(async {
            let pace = Rc::new(Pace::default());
            let step = pace.step().await;
            let took = Duration::from_millis(4);
            host::sleep(took).await;
            let (begun, other) = (host::now(), Rc::clone(&pace));
            let next = host::spawn(async move {
                drop(other.step().await);
                host::now()
            });
            step.rest().await;
            assert!(next.await.since(begun) >= took * REST_TIMES);
        });
    }
}
