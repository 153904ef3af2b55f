//! The cells of one shard, and a copy of them that may leave it.
//!
//! Owner: the shard, which alone reads and writes the cells; about 12 KiB. A [`Snapshot`] is a value.
//! Invariant: counting never allocates but for the first error of its kind.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use ottla_wire::ApiKey;

use super::histogram::{Histogram, Times};
use super::table::{Counter, Gauge, Timing};
use crate::errors::ErrorCode;
use crate::time::Monotonic;

/// Numbers of APIs that are counted: all that Kafka has, with room for more.
const APIS: usize = 128;

/// What one shard counts.
#[derive(Debug)]
pub struct ShardMetrics {
    counters: [Cell<u64>; Counter::ALL.len()],
    timings: [Histogram; Timing::ALL.len()],
    requests: [Cell<u64>; APIS],
    errors: RefCell<BTreeMap<(ApiKey, ErrorCode), u64>>,
}

impl Default for ShardMetrics {
    fn default() -> ShardMetrics {
        ShardMetrics {
            counters: std::array::from_fn(|_| Cell::new(0)),
            timings: std::array::from_fn(|_| Histogram::default()),
            requests: std::array::from_fn(|_| Cell::new(0)),
            errors: RefCell::default(),
        }
    }
}

impl ShardMetrics {
    /// Adds to a counter.
    #[inline]
    pub fn add(&self, counter: Counter, amount: u64) {
        let cell = &self.counters[counter as usize];
        cell.set(cell.get().wrapping_add(amount));
    }

    /// What a counter stands at.
    #[must_use]
    pub fn get(&self, counter: Counter) -> u64 {
        self.counters[counter as usize].get()
    }

    /// Counts the time between two moments; zero where the second is not after the first.
    #[inline]
    pub fn span(&self, timing: Timing, from: Monotonic, to: Monotonic) {
        self.timings[timing as usize].observe_span(from, to);
    }

    /// The same for a time in nanoseconds that was put together.
    #[inline]
    pub fn nanos(&self, timing: Timing, nanos: u64) {
        self.timings[timing as usize].observe(nanos);
    }

    /// Counts a request.
    #[inline]
    pub fn request(&self, api: ApiKey) {
        if let Some(cell) = usize::try_from(api as i16).ok().and_then(|api| self.requests.get(api)) {
            cell.set(cell.get() + 1);
        }
    }

    /// Counts an error of a reply, or what would be one if the client had asked for it; none is no matter.
    #[inline]
    pub fn error(&self, api: ApiKey, error: ErrorCode) {
        if !error.is_none() {
            *self.errors.borrow_mut().entry((api, error)).or_default() += 1;
        }
    }

    /// Counts an error by its number on the wire; one that the table does not have is no matter.
    #[inline]
    pub fn error_code(&self, api: ApiKey, code: i16) {
        if code != 0
            && let Some(error) = ErrorCode::from_code(code)
        {
            self.error(api, error);
        }
    }

    /// A copy of everything that is counted here; the gauges are for the caller to set.
    #[must_use]
    pub fn snapshot(&self, shard: u16) -> Snapshot {
        let requests = ApiKey::ALL.iter().filter_map(|api| {
            let count = self.requests.get(usize::try_from(*api as i16).ok()?)?.get();
            (count > 0).then_some((*api, count))
        });
        Snapshot {
            shard,
            counters: self.counters.each_ref().map(Cell::get),
            gauges: [None; Gauge::ALL.len()],
            timings: self.timings.iter().map(Histogram::times).collect(),
            requests: requests.collect(),
            errors: self.errors.borrow().iter().map(|((api, error), count)| (*api, *error, *count)).collect(),
        }
    }
}

/// What a shard had counted at one moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The shard's number.
    pub shard: u16,
    pub(super) counters: [u64; Counter::ALL.len()],
    pub(super) gauges: [Option<f64>; Gauge::ALL.len()],
    pub(super) timings: Vec<Times>,
    pub(super) requests: Vec<(ApiKey, u64)>,
    pub(super) errors: Vec<(ApiKey, ErrorCode, u64)>,
}

impl Snapshot {
    /// Sets a gauge, in its base unit. One that is never set does not appear.
    pub fn set(&mut self, gauge: Gauge, value: f64) {
        self.gauges[gauge as usize] = Some(value);
    }

    /// Sets a counter that somebody else keeps.
    pub fn set_counter(&mut self, counter: Counter, value: u64) {
        self.counters[counter as usize] = value;
    }

    /// Sets times that somebody else keeps.
    pub fn set_times(&mut self, timing: Timing, times: Times) {
        self.timings[timing as usize] = times;
    }

    /// What a counter stood at.
    #[must_use]
    pub fn counter(&self, counter: Counter) -> u64 {
        self.counters[counter as usize]
    }

    /// The times of a histogram.
    #[must_use]
    pub fn times(&self, timing: Timing) -> &Times {
        &self.timings[timing as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_has_what_was_counted_and_nothing_else() {
        let metrics = ShardMetrics::default();
        metrics.add(Counter::SentBytes, 7);
        metrics.add(Counter::SentBytes, 5);
        metrics.span(Timing::ProduceTotal, Monotonic(1_000), Monotonic(4_000));
        metrics.request(ApiKey::Produce);
        metrics.request(ApiKey::Produce);
        metrics.error(ApiKey::Produce, ErrorCode::None);
        metrics.error(ApiKey::Produce, ErrorCode::CorruptMessage);
        let mut snapshot = metrics.snapshot(3);
        snapshot.set(Gauge::Connections, 2.0);
        assert_eq!((snapshot.shard, snapshot.counter(Counter::SentBytes)), (3, 12));
        assert_eq!(snapshot.counter(Counter::ReceivedBytes), 0);
        assert_eq!(
            (snapshot.times(Timing::ProduceTotal).count(), snapshot.times(Timing::FetchTotal).count()),
            (1, 0)
        );
        assert_eq!(snapshot.requests, [(ApiKey::Produce, 2)]);
        assert_eq!(snapshot.errors, [(ApiKey::Produce, ErrorCode::CorruptMessage, 1)]);
        assert_eq!(snapshot.gauges.iter().flatten().count(), 1);
    }

    #[test]
    fn the_cells_of_a_shard_are_a_few_pages() {
        assert!(size_of::<ShardMetrics>() <= 16 << 10, "{}", size_of::<ShardMetrics>());
    }

    #[test]
    fn every_api_has_its_cell() {
        assert!(ApiKey::ALL.iter().all(|api| (*api as i16) < APIS as i16));
    }
}
