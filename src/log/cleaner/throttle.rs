//! The bytes per second that all cleanings of the process may read and write together.
//!
//! Plain numbers, kept by whoever shares them between shards; nothing is on disk. A cleaning says what it has read or
//! written and waits as long as it is told: time that was not used is not saved up for more than a moment, so that a
//! cleaner that was idle for long does not take the disk for itself.
//!
//! What must hold: over any second, at most the rate and one request's bytes are let through.

use std::time::Duration;

use crate::time::Monotonic;

/// Unused time that a request may still use.
const SAVED: Duration = Duration::from_millis(100);

/// The budget of `log.cleaner.io.max.bytes.per.second`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Throttle {
    /// When everything that was let through so far is paid for.
    paid_until: Monotonic,
}

impl Throttle {
    /// Takes note of `bytes` and returns until when the caller waits before it goes on. A rate of `None` has no limit.
    pub fn take(&mut self, now: Monotonic, bytes: u64, bytes_per_second: Option<u64>) -> Monotonic {
        let Some(rate) = bytes_per_second else {
            self.paid_until = now;
            return now;
        };
        let earliest = Monotonic(now.0.saturating_sub(u64::try_from(SAVED.as_nanos()).unwrap_or(u64::MAX)));
        let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(rate.max(1));
        let cost = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        self.paid_until = self.paid_until.max(earliest).after(cost);
        self.paid_until.max(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Monotonic = Monotonic(50_000_000_000);

    #[test]
    fn the_rate_is_kept_over_time() {
        let mut throttle = Throttle::default();
        let (mut now, mut taken) = (START, 0);
        while now.since(START) < Duration::from_secs(10) {
            taken += 64 << 10;
            now = throttle.take(now, 64 << 10, Some(1 << 20));
        }
        let most = (10 << 20) + (1 << 20) / 10 + (64 << 10);
        assert!((10 << 20..=most).contains(&taken), "{taken} bytes in 10 seconds at 1 MiB/s");
    }

    #[test]
    fn idle_time_is_not_saved_up() {
        let mut throttle = Throttle::default();
        throttle.take(START, 1 << 20, Some(1 << 20));
        let later = START.after(Duration::from_secs(3_600));
        let waits = throttle.take(later, 1 << 20, Some(1 << 20)).since(later);
        assert_eq!(waits, Duration::from_millis(900));
    }

    #[test]
    fn without_a_rate_nobody_waits() {
        let mut throttle = Throttle::default();
        assert_eq!(throttle.take(START, u64::MAX, None), START);
        assert!(throttle.take(START, u64::MAX, Some(0)) > START.after(Duration::from_secs(1_000)));
        assert_eq!(throttle.take(START, 1, None), START, "a limit that was lifted is forgotten");
    }
}
