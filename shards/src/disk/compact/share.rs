//! What the cleanings of all shards have in common: `log.cleaner.threads` and `log.cleaner.io.max.bytes.per.second`.
//!
//! One per process, in the log dirs; shards on other threads use it at the same time. Whoever finds no slot free says
//! that it waits, so that a shard with much to clean gives way between two cleanings.
//!
//! What must hold: at most as many slots are out as the setting says; a slot comes back however its cleaning ends.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use ottla::log::cleaner::Throttle;
use ottla::time::Monotonic;

/// No limit, as the stored rate says it.
const NO_LIMIT: u64 = u64::MAX;

/// What the shards share.
pub struct CleanerShare {
    /// Cleanings that run.
    running: AtomicU32,
    /// Shards that wait for a slot.
    waiting: AtomicU32,
    bytes_per_second: AtomicU64,
    throttle: Mutex<Throttle>,
}

impl Default for CleanerShare {
    fn default() -> CleanerShare {
        CleanerShare {
            running: AtomicU32::new(0),
            waiting: AtomicU32::new(0),
            bytes_per_second: AtomicU64::new(NO_LIMIT),
            throttle: Mutex::default(),
        }
    }
}

impl std::fmt::Debug for CleanerShare {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CleanerShare({} running)", self.running.load(Ordering::Relaxed))
    }
}

/// The right to run one cleaning, given back on drop.
#[derive(Debug)]
pub struct CleanerSlot(Arc<CleanerShare>);

impl Drop for CleanerSlot {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A shard that waits for a slot, until this is dropped.
#[derive(Debug)]
pub struct SlotWait(Arc<CleanerShare>);

impl Drop for SlotWait {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::AcqRel);
    }
}

impl CleanerShare {
    /// A slot, where fewer than `threads` are out.
    #[must_use]
    pub fn try_slot(self: &Arc<Self>, threads: u32) -> Option<CleanerSlot> {
        let more = |running: u32| (running < threads).then(|| running + 1);
        let taken = self.running.fetch_update(Ordering::AcqRel, Ordering::Acquire, more);
        taken.ok().map(|_| CleanerSlot(Arc::clone(self)))
    }

    /// Says that the caller waits for a slot.
    #[must_use]
    pub fn wait(self: &Arc<Self>) -> SlotWait {
        self.waiting.fetch_add(1, Ordering::AcqRel);
        SlotWait(Arc::clone(self))
    }

    /// Whether any shard waits for a slot.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        self.waiting.load(Ordering::Acquire) > 0
    }

    /// Takes over a changed rate; it holds for cleanings that run, too, whatever they owe by the one before.
    pub fn set_rate(&self, bytes_per_second: Option<u64>) {
        let rate = bytes_per_second.unwrap_or(NO_LIMIT);
        let mut throttle = self.throttle.lock().unwrap_or_else(PoisonError::into_inner);
        if self.bytes_per_second.swap(rate, Ordering::Relaxed) != rate {
            *throttle = Throttle::default();
        }
    }

    /// The rate in force.
    #[must_use]
    pub fn rate(&self) -> u64 {
        self.bytes_per_second.load(Ordering::Relaxed)
    }

    /// Takes note of bytes that were read or written; returns until when to wait before the next, as long as the rate
    /// is the one that is returned with it.
    #[must_use]
    pub fn take(&self, now: Monotonic, bytes: u64) -> (Monotonic, u64) {
        let mut throttle = self.throttle.lock().unwrap_or_else(PoisonError::into_inner);
        let rate = self.rate();
        (throttle.take(now, bytes, (rate != NO_LIMIT).then_some(rate)), rate)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn slots_come_back_and_no_more_are_out_than_the_setting_says() {
        let share = Arc::new(CleanerShare::default());
        assert!(share.try_slot(0).is_none());
        let first = share.try_slot(2).expect("a slot");
        let second = share.try_slot(2).expect("a slot");
        assert!(share.try_slot(2).is_none());
        assert!(share.try_slot(1).is_none(), "a smaller setting holds for the next");
        drop(first);
        assert!(share.try_slot(1).is_none());
        drop(second);
        assert!(share.try_slot(1).is_some());
        let wait = share.wait();
        assert!(share.is_wanted());
        drop(wait);
        assert!(!share.is_wanted());
    }

    #[test]
    fn a_changed_rate_holds_at_once() {
        let share = CleanerShare::default();
        let now = Monotonic(1 << 40);
        assert_eq!(share.take(now, 1 << 30).0, now);
        share.set_rate(Some(1 << 20));
        assert!(share.take(now, 1 << 20).0 > now);
        share.set_rate(Some(100));
        let (until, rate) = share.take(now, 256 << 10);
        assert!(until.since(now) > Duration::from_secs(2_000));
        share.set_rate(Some(100));
        assert_eq!(share.rate(), rate, "the same is no change");
        share.set_rate(Some(1 << 30));
        assert_ne!(share.rate(), rate, "whoever waits by the old one does so no longer");
        assert!(share.take(now, 1 << 20).0.since(now) < Duration::from_millis(1), "and nobody owes by it");
        share.set_rate(None);
        assert_eq!(share.take(now, 1 << 30).0, now);
    }
}
