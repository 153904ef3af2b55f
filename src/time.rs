//! Time as a core sees it: always passed in, never asked for.
//!
//! Durations and deadlines are monotonic; the wall clock appears only as [`TimestampMs`](crate::ids::TimestampMs)
//! inside records and retention, because correctness never depends on it.

use std::time::Duration;

/// Nanoseconds of a clock that never goes back, counted from the start of the process (or of the simulation).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Monotonic(pub u64);

impl Monotonic {
    /// The start of the clock.
    pub const ZERO: Monotonic = Monotonic(0);

    /// The moment `duration` later; saturates at the end of the clock, some 584 years on.
    #[must_use]
    pub fn after(self, duration: Duration) -> Monotonic {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Monotonic(self.0.saturating_add(nanos))
    }

    /// The moment `ms` milliseconds later; a negative number counts as zero.
    #[must_use]
    pub fn after_ms(self, ms: i64) -> Monotonic {
        self.after(Duration::from_millis(u64::try_from(ms).unwrap_or(0)))
    }

    /// How long ago `earlier` was; zero if it is still to come.
    #[must_use]
    pub fn since(self, earlier: Monotonic) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}
