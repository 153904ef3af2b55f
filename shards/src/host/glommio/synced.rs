//! Synced writes under way, to which reads of old bytes leave the disk.
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

/// How long after a synced write another one is expected.
const WRITES_GO_ON: Duration = Duration::from_millis(200);
/// The longest that a read waits for commits to end.
const WAY_GIVEN: Duration = Duration::from_millis(1);
/// How soon the end of another shard's commit is noticed.
const LOOK: Duration = Duration::from_micros(200);

/// When a shard of this process last began a synced write, in nanoseconds of [`now`].
static LAST_BEGUN: AtomicU64 = AtomicU64::new(0);
/// Synced writes of all shards that the kernel has.
static UNDER_WAY: AtomicUsize = AtomicUsize::new(0);

/// A synced write, as long as it is under way.
pub(super) struct SyncedWrite(Rc<Driver>);

impl SyncedWrite {
    /// One begins.
    pub(super) fn begin() -> SyncedWrite {
        LAST_BEGUN.store(now().0, Ordering::Relaxed);
        UNDER_WAY.fetch_add(1, Ordering::Relaxed);
        SyncedWrite(driver::current())
    }
}

impl Drop for SyncedWrite {
    fn drop(&mut self) {
        if UNDER_WAY.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.0.cold.way_is_free();
        }
    }
}

/// Whether a synced write was begun a moment ago.
pub(super) fn go_on() -> bool {
    let last = Monotonic(LAST_BEGUN.load(Ordering::Relaxed));
    last != Monotonic::ZERO && now() < last.after(WRITES_GO_ON)
}

/// Waits until no synced write is under way, but not for long; false where one still is.
pub(super) async fn give_way(driver: &Driver) -> bool {
    let until = now().after(WAY_GIVEN);
    while UNDER_WAY.load(Ordering::Relaxed) > 0 && now() < until {
        let _ = timeout(LOOK, Box::pin(driver.cold.way_freed())).await;
    }
    UNDER_WAY.load(Ordering::Relaxed) == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host;

    #[test]
    fn a_read_waits_for_the_end_of_a_commit_and_not_for_long() {
        host::run_local(async {
            let driver = driver::current();
            // Other tests of this process have commits of their own, so that only one side of each is certain.
            let write = SyncedWrite::begin();
            let before = now();
            assert!(!give_way(&driver).await, "it is under way");
            assert!(now().since(before) >= WAY_GIVEN);
            assert!(go_on());
            let ends = host::spawn(async move {
                host::sleep(Duration::from_micros(100)).await;
                drop(write);
            });
            while !give_way(&driver).await {
                host::yield_now().await;
            }
            ends.await;
        });
    }
}
