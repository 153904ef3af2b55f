//! What a load counts: records, bytes, latencies, errors.
//!
//! Each connection counts into a [`Meter`] of its own, and the main thread collects all of them once a second. What
//! must hold: a record is counted once, as answered or as failed; what was collected is gone from the meter.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::report::Progress;

/// Latencies below this are told apart no further, in nanoseconds.
const LATENCY_NANOS_MIN: u64 = 1_000;
/// Latencies above this, an hour, count as this, in nanoseconds.
const LATENCY_NANOS_MAX: u64 = 3_600_000_000_000;
/// Significant decimal digits of a latency.
const LATENCY_DIGITS: u8 = 3;
/// How often the meters are collected and the progress is shown.
const INTERVAL: Duration = Duration::from_secs(1);

/// What was counted.
#[derive(Clone, Debug)]
pub(crate) struct Tally {
    /// Latencies in nanoseconds, one per record that was produced or per fetch that was answered.
    pub latency: Histogram<u64>,
    /// Records that were answered.
    pub records: u64,
    /// Their bytes.
    pub bytes: u64,
    /// What failed, by reason.
    pub errors: BTreeMap<String, u64>,
}

impl Tally {
    pub(crate) fn new() -> Self {
        let latency = Histogram::new_with_bounds(LATENCY_NANOS_MIN, LATENCY_NANOS_MAX, LATENCY_DIGITS)
            .expect("the bounds and the digits are within what a histogram takes");
        Self { latency, records: 0, bytes: 0, errors: BTreeMap::new() }
    }

    /// Counts records whose batch was answered after `latency`, each with that latency.
    pub(crate) fn produced(&mut self, records: u32, bytes: u64, latency: Duration) {
        self.records += u64::from(records);
        self.bytes += bytes;
        self.latency.saturating_record_n(nanos(latency), u64::from(records));
    }

    /// Counts one fetch and the records that it brought.
    pub(crate) fn fetched(&mut self, records: u64, bytes: u64, latency: Duration) {
        self.records += records;
        self.bytes += bytes;
        self.latency.saturating_record(nanos(latency));
    }

    /// Counts `count` failures.
    pub(crate) fn failed(&mut self, reason: String, count: u64) {
        *self.errors.entry(reason).or_default() += count;
    }

    /// All failures.
    pub(crate) fn error_count(&self) -> u64 {
        self.errors.values().sum()
    }

    /// Adds what another tally counted.
    pub(crate) fn add(&mut self, other: &Tally) {
        self.latency.add(&other.latency).expect("all histograms have the same bounds");
        self.records += other.records;
        self.bytes += other.bytes;
        for (reason, count) in &other.errors {
            self.failed(reason.clone(), *count);
        }
    }

    fn clear(&mut self) {
        self.latency.reset();
        self.records = 0;
        self.bytes = 0;
        self.errors.clear();
    }
}

fn nanos(latency: Duration) -> u64 {
    u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX)
}

/// The tally of one connection since it was last collected.
#[derive(Debug)]
pub(crate) struct Meter(Mutex<Tally>);

impl Meter {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(Tally::new()))
    }

    /// The tally, to count into.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Tally> {
        self.0.lock().expect("nobody panics while counting")
    }

    /// Swaps what was counted with `empty`.
    fn collect(&self, empty: &mut Tally) {
        std::mem::swap(&mut *self.lock(), empty);
    }
}

/// Collects the meters once a second until every holder of the other end of `running` is gone; gives the sum.
pub(crate) fn watch(
    start: Instant,
    meters: &[Meter],
    running: &Receiver<Infallible>,
    progress: &mut Progress<'_>,
) -> Tally {
    let (mut total, mut interval, mut one) = (Tally::new(), Tally::new(), Tally::new());
    loop {
        let ended = match running.recv_timeout(INTERVAL) {
            Ok(never) => match never {},
            Err(RecvTimeoutError::Timeout) => false,
            Err(RecvTimeoutError::Disconnected) => true,
        };
        for meter in meters {
            meter.collect(&mut one);
            interval.add(&one);
            one.clear();
        }
        total.add(&interval);
        if ended {
            progress.clear();
            return total;
        }
        progress.show(start.elapsed(), &interval);
        interval.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_has_everything_once() {
        let (mut a, mut b) = (Tally::new(), Tally::new());
        a.produced(10, 1_000, Duration::from_millis(2));
        a.failed("NOT_LEADER_OR_FOLLOWER".to_owned(), 3);
        b.produced(30, 3_000, Duration::from_millis(4));
        b.failed("NOT_LEADER_OR_FOLLOWER".to_owned(), 4);
        b.failed("no answer in time".to_owned(), 1);
        a.add(&b);
        assert_eq!((a.records, a.bytes, a.error_count()), (40, 4_000, 8));
        assert_eq!(a.latency.len(), 40);
        assert!(a.latency.value_at_quantile(0.25) < 3_000_000);
        assert!(a.latency.value_at_quantile(0.26) > 3_000_000);
        assert_eq!(a.errors.get("NOT_LEADER_OR_FOLLOWER"), Some(&7));
    }

    #[test]
    fn latencies_beyond_the_bounds_still_count() {
        let mut tally = Tally::new();
        tally.produced(1, 1, Duration::ZERO);
        tally.produced(1, 1, Duration::from_secs(1_000_000));
        assert_eq!(tally.latency.len(), 2);
    }

    #[test]
    fn watching_ends_with_the_last_worker_and_loses_nothing() {
        let meters = [Meter::new(), Meter::new()];
        let (working, running) = std::sync::mpsc::channel::<Infallible>();
        let total = std::thread::scope(|scope| {
            for meter in &meters {
                let working = working.clone();
                scope.spawn(move || {
                    meter.lock().produced(5, 50, Duration::from_millis(1));
                    drop(working);
                });
            }
            drop(working);
            watch(Instant::now(), &meters, &running, &mut Progress::off())
        });
        assert_eq!((total.records, total.bytes), (10, 100));
        assert!(meters.iter().all(|meter| meter.lock().records == 0));
    }
}
