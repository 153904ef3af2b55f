//! Synced writes and reads of old bytes: what goes on of either, and how the reads leave the disk to the writes.
//!
//! On a disk without FUA a synced write is two requests, the bytes and a flush, and each waits behind the reads that
//! came before it: with one read on its way at any time a commit takes two reads longer. So none begins while a commit
//! is under way, and a commit waits for the rest of one at most. Where commits never cease, reads go on among them,
//! each [`WAY_GIVEN`] behind the one before.
//!
//! What must hold: a write counts from before the kernel has it until after its result is there, or nobody waits for
//! it any more.

use std::rc::Rc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use ottla::time::Monotonic;

use super::driver::{self, Driver};
use super::timer::{now, timeout};

/// How long after a synced write, or a read of old bytes, another one is expected.
const GOES_ON: Duration = Duration::from_millis(200);
/// The longest that a read waits for commits to end.
const WAY_GIVEN: Duration = Duration::from_millis(1);
/// How soon the end of another shard's commit is noticed.
const LOOK: Duration = Duration::from_micros(200);

/// The synced writes of all shards.
struct Commits {
    /// When the last one began, in nanoseconds of [`now`].
    last_begun: AtomicU64,
    /// Those that the kernel has.
    under_way: AtomicUsize,
}

/// Those of this process.
static COMMITS: Commits = Commits::new();
/// When the last read of old bytes began, in nanoseconds of [`now`].
static LAST_READ: AtomicU64 = AtomicU64::new(0);

impl Commits {
    const fn new() -> Commits {
        Commits { last_begun: AtomicU64::new(0), under_way: AtomicUsize::new(0) }
    }

    fn begin(&'static self) -> SyncedWrite {
        self.last_begun.store(now().0, Ordering::Relaxed);
        self.under_way.fetch_add(1, Ordering::Relaxed);
        SyncedWrite { commits: self, driver: driver::current() }
    }

    fn are_under_way(&self) -> bool {
        self.under_way.load(Ordering::Relaxed) > 0
    }

    fn go_on(&self) -> bool {
        was_lately(&self.last_begun)
    }

    async fn give_way(&self, driver: &Driver) -> bool {
        let until = now().after(WAY_GIVEN);
        while self.are_under_way() && now() < until {
            let _ = timeout(LOOK, Box::pin(driver.cold.way_freed())).await;
        }
        !self.are_under_way()
    }
}

/// A synced write, as long as it is under way.
pub(super) struct SyncedWrite {
    commits: &'static Commits,
    driver: Rc<Driver>,
}

impl SyncedWrite {
    /// One begins.
    pub(super) fn begin() -> SyncedWrite {
        COMMITS.begin()
    }
}

impl Drop for SyncedWrite {
    fn drop(&mut self) {
        if self.commits.under_way.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.driver.cold.way_is_free();
        }
    }
}

/// Whether what began last, in nanoseconds of [`now`], began a moment ago.
fn was_lately(last: &AtomicU64) -> bool {
    let last = Monotonic(last.load(Ordering::Relaxed));
    last != Monotonic::ZERO && now() < last.after(GOES_ON)
}

/// A read of old bytes begins.
pub(super) fn read_begins() {
    LAST_READ.store(now().0, Ordering::Relaxed);
}

/// Whether old bytes were read a moment ago, by whichever shard.
pub(super) fn reads_go_on() -> bool {
    was_lately(&LAST_READ)
}

/// Whether a synced write was begun a moment ago.
pub(super) fn go_on() -> bool {
    COMMITS.go_on()
}

/// Waits until no synced write is under way, but not for long; false where one still is.
pub(super) async fn give_way(driver: &Driver) -> bool {
    COMMITS.give_way(driver).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host;

    #[test]
    fn a_read_waits_for_the_end_of_a_commit_and_not_for_long() {
        // Other tests have commits of their own.
        static COMMITS: Commits = Commits::new();
        host::run_local(async {
            let driver = driver::current();
            assert!(!COMMITS.go_on() && COMMITS.give_way(&driver).await, "there was none");
            let write = COMMITS.begin();
            let before = now();
            assert!(!COMMITS.give_way(&driver).await, "it is under way");
            assert!(now().since(before) >= WAY_GIVEN && COMMITS.go_on());
            let ends = host::spawn(async move { drop(write) });
            while !COMMITS.give_way(&driver).await {}
            ends.await;
            assert_eq!(COMMITS.under_way.load(Ordering::Relaxed), 0);
        });
    }
}
