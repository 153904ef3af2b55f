//! How long a shard's loop takes for its turns.
//!
//! Owned by the driver, which reads the clock once per turn anyway. A turn lasts from one look at the kernel to the
//! next, sleep not counted; nothing else of the shard runs meanwhile, and what arrives is not seen.

use std::cell::Cell;
use std::time::Duration;

use ottla::metrics::Histogram;
use ottla::time::Monotonic;

use crate::host::types::LoopTimes;

/// How long the longest turn is remembered at least, and at most twice as long.
const WINDOW: Duration = Duration::from_secs(10);

/// The turns of one shard.
#[derive(Default)]
pub(super) struct Turns {
    /// When the turn under way has looked at the kernel.
    began: Cell<Monotonic>,
    /// The shard has slept since.
    slept: Cell<bool>,
    times: Histogram,
    /// The longest of this window and of the one before, in nanoseconds.
    longest: Cell<(u64, u64)>,
    window_ends: Cell<Monotonic>,
}

impl Turns {
    /// The loop has looked at the kernel. `ran`: tasks have run since the last look.
    pub(super) fn turned(&self, now: Monotonic, ran: bool) {
        let nanos = now.0.saturating_sub(self.began.replace(now).0);
        if self.slept.take() || !ran {
            return;
        }
        self.times.observe(nanos);
        self.move_window(now);
        let (longest, before) = self.longest.get();
        if nanos > longest {
            self.longest.set((nanos, before));
        }
    }

    fn move_window(&self, now: Monotonic) {
        let end = self.window_ends.get();
        if now < end {
            return;
        }
        let (longest, _) = self.longest.get();
        let before = if now < end.after(WINDOW) { longest } else { 0 };
        self.longest.set((0, before));
        self.window_ends.set(now.after(WINDOW));
    }

    /// The shard goes to sleep.
    pub(super) fn sleeps(&self) {
        self.slept.set(true);
    }

    /// When the loop has last looked at the kernel.
    pub(super) fn began(&self) -> Monotonic {
        self.began.get()
    }

    /// What was observed so far.
    pub(super) fn times(&self, now: Monotonic) -> LoopTimes {
        self.move_window(now);
        let (longest, before) = self.longest.get();
        LoopTimes { turns: self.times.times(), longest: Duration::from_nanos(longest.max(before)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Monotonic {
        Monotonic::ZERO.after(Duration::from_millis(ms))
    }

    #[test]
    fn sleep_and_looks_that_find_nothing_are_no_turns() {
        let turns = Turns::default();
        turns.sleeps();
        turns.turned(at(10), true);
        turns.turned(at(15), true);
        turns.turned(at(40), false);
        turns.sleeps();
        turns.turned(at(90), true);
        turns.turned(at(92), true);
        let LoopTimes { turns: times, longest } = turns.times(at(92));
        assert_eq!((times.count(), times.sum_nanos), (2, 7_000_000));
        assert_eq!(longest, Duration::from_millis(5));
        assert_eq!(turns.began(), at(92));
    }

    #[test]
    fn the_longest_turn_is_forgotten_after_a_while() {
        let turns = Turns::default();
        turns.turned(at(20_000), false);
        turns.turned(at(20_500), true);
        assert_eq!(turns.times(at(29_000)).longest, Duration::from_millis(500));
        assert_eq!(turns.times(at(33_000)).longest, Duration::from_millis(500), "in the window before");
        assert_eq!(turns.times(at(45_000)).longest, Duration::ZERO);
    }
}
