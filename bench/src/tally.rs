//! What a load counts: records, bytes, latencies, errors, how late the generator itself was.
//!
//! Each shard counts into a [`Meter`] of its own, and the watching thread collects all of them once a second. What
//! must hold: a record is counted once, as answered or as failed; what was collected is gone from the meter.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::result;

/// Latencies below this are told apart no further, in nanoseconds.
const LATENCY_NANOS_MIN: u64 = 1_000;
/// Latencies above this, an hour, count as this, in nanoseconds.
const LATENCY_NANOS_MAX: u64 = 3_600_000_000_000;
/// Significant decimal digits of a latency.
const LATENCY_DIGITS: u8 = 3;

/// What is counted apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// Records that were acknowledged.
    Ack,
    /// Those of them that were due while a cold reader was at work.
    AckBesideCold,
    /// Records that a consumer saw.
    EndToEnd,
    /// Fetches that were answered.
    Fetch,
    /// Fetches of a cold reader that were answered.
    Cold,
    /// Connections that were opened, asked two questions and closed.
    Connect,
    /// Members that came from a JoinGroup to their assignment.
    Join,
    /// From the cause of a rebalance until all members had their assignments.
    Rebalance,
}

impl Kind {
    /// All of them: each has latencies.
    pub(crate) const LATENCIES: [Kind; 8] = [
        Kind::Ack,
        Kind::AckBesideCold,
        Kind::EndToEnd,
        Kind::Fetch,
        Kind::Cold,
        Kind::Connect,
        Kind::Join,
        Kind::Rebalance,
    ];

    /// What its latencies are called in results.
    pub(crate) fn latency_name(self) -> &'static str {
        match self {
            Kind::Ack => result::ACK,
            Kind::AckBesideCold => "ack_beside_cold_reader",
            Kind::EndToEnd => result::END_TO_END,
            Kind::Fetch => "fetch",
            Kind::Cold => "cold_fetch",
            Kind::Connect => "connect",
            Kind::Join => "join",
            Kind::Rebalance => "rebalance",
        }
    }

    /// What its records are called in results; `None` where it counts no records.
    pub(crate) fn flow_name(self) -> Option<&'static str> {
        match self {
            Kind::Ack | Kind::AckBesideCold => Some(result::PRODUCED),
            Kind::EndToEnd | Kind::Fetch => Some(result::CONSUMED),
            Kind::Cold => Some(result::COLD_READ),
            Kind::Connect | Kind::Join | Kind::Rebalance => None,
        }
    }
}

/// Which part of a load something belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// What runs before anything is measured.
    WarmUp,
    /// What is measured.
    Measured,
}

/// An empty histogram of latencies in nanoseconds, as all of them are.
pub(crate) fn new_histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(LATENCY_NANOS_MIN, LATENCY_NANOS_MAX, LATENCY_DIGITS)
        .expect("the bounds and the digits are within what a histogram takes")
}

/// What was counted of one kind.
#[derive(Clone, Debug)]
pub(crate) struct Counts {
    /// Latencies in nanoseconds: one per record, fetch, connection or rebalance.
    pub latency: Histogram<u64>,
    /// Records, or connections and rebalances.
    pub records: u64,
    /// Bytes of their keys and values.
    pub bytes: u64,
}

impl Counts {
    fn new() -> Self {
        Self { latency: new_histogram(), records: 0, bytes: 0 }
    }

    fn add(&mut self, other: &Counts) {
        self.latency.add(&other.latency).expect("all histograms have the same bounds");
        self.records += other.records;
        self.bytes += other.bytes;
    }

    fn clear(&mut self) {
        self.latency.reset();
        (self.records, self.bytes) = (0, 0);
    }

    /// Counts one latency.
    pub(crate) fn took(&mut self, nanos: u64) {
        self.latency.saturating_record(nanos);
    }
}

/// What was counted.
#[derive(Clone, Debug)]
pub(crate) struct Tally {
    /// What is measured, by kind.
    pub kinds: BTreeMap<Kind, Counts>,
    /// The same of the warm-up.
    pub warm_up: BTreeMap<Kind, Counts>,
    /// What failed, by reason, in records or requests.
    pub errors: BTreeMap<String, u64>,
    /// How late records were made though nothing but the generator stood in the way, in nanoseconds.
    pub lag: Histogram<u64>,
    /// Records that waited until the broker had room for them.
    pub held_back: u64,
    /// Requests that produced.
    pub requests: u64,
    /// Bytes of the batches in them, as they went over the wire.
    pub sent_batch_bytes: u64,
    /// Bytes of the batches that came, as they did.
    pub fetched_batch_bytes: u64,
}

impl Tally {
    pub(crate) fn new() -> Self {
        let (kinds, warm_up, errors) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let (sent_batch_bytes, fetched_batch_bytes) = (0, 0);
        let lag = new_histogram();
        Self { kinds, warm_up, errors, lag, held_back: 0, requests: 0, sent_batch_bytes, fetched_batch_bytes }
    }

    /// What was measured of `kind`.
    #[cfg(test)]
    pub(crate) fn of(&mut self, kind: Kind) -> &mut Counts {
        self.in_phase(Phase::Measured, kind)
    }

    /// What was counted of `kind` in a phase.
    pub(crate) fn in_phase(&mut self, phase: Phase, kind: Kind) -> &mut Counts {
        let kinds = match phase {
            Phase::WarmUp => &mut self.warm_up,
            Phase::Measured => &mut self.kinds,
        };
        kinds.entry(kind).or_insert_with(Counts::new)
    }

    /// Takes the warm-up for what is measured: a load that did not outlast it has nothing else.
    pub(crate) fn measure_warm_up(&mut self) {
        for (kind, counts) in std::mem::take(&mut self.warm_up) {
            self.in_phase(Phase::Measured, kind).add(&counts);
        }
    }

    /// What was counted of `kind` in both phases; of acknowledgements, those beside a cold reader too.
    pub(crate) fn all(&self, kind: Kind) -> Counts {
        let is_same = |other: Kind| other == kind || (kind, other) == (Kind::Ack, Kind::AckBesideCold);
        let mut all = Counts::new();
        let counted = self.warm_up.iter().chain(&self.kinds);
        counted.filter(|(other, _)| is_same(**other)).for_each(|(_, counts)| all.add(counts));
        all
    }

    /// Records of `kind`; 0 where none came.
    pub(crate) fn records(&self, kind: Kind) -> u64 {
        self.kinds.get(&kind).map_or(0, |counts| counts.records)
    }

    /// The latencies of `kind`, if any came.
    pub(crate) fn latency(&self, kind: Kind) -> Option<&Histogram<u64>> {
        self.kinds.get(&kind).map(|counts| &counts.latency).filter(|latency| !latency.is_empty())
    }

    /// Counts `count` failures.
    pub(crate) fn failed(&mut self, reason: impl Into<String>, count: u64) {
        *self.errors.entry(reason.into()).or_default() += count;
    }

    /// All failures.
    pub(crate) fn error_count(&self) -> u64 {
        self.errors.values().sum()
    }

    /// Adds what another tally counted.
    pub(crate) fn add(&mut self, other: &Tally) {
        for (kind, counts) in &other.kinds {
            self.in_phase(Phase::Measured, *kind).add(counts);
        }
        for (kind, counts) in &other.warm_up {
            self.in_phase(Phase::WarmUp, *kind).add(counts);
        }
        for (reason, count) in &other.errors {
            self.failed(reason.clone(), *count);
        }
        self.lag.add(&other.lag).expect("all histograms have the same bounds");
        self.held_back += other.held_back;
        self.requests += other.requests;
        self.sent_batch_bytes += other.sent_batch_bytes;
        self.fetched_batch_bytes += other.fetched_batch_bytes;
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        self.kinds.values_mut().chain(self.warm_up.values_mut()).for_each(Counts::clear);
        self.errors.clear();
        self.clear_events();
    }

    /// Forgets what has no phase, but for errors.
    pub(crate) fn clear_events(&mut self) {
        self.lag.reset();
        (self.held_back, self.requests) = (0, 0);
        (self.sent_batch_bytes, self.fetched_batch_bytes) = (0, 0);
    }
}

/// A time as the histograms count it.
pub(crate) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// The tally of one shard since it was last collected.
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
    pub(crate) fn collect(&self, empty: &mut Tally) {
        std::mem::swap(&mut *self.lock(), empty);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(tally: &mut Tally, kind: Kind, records: u64, latency: Duration) {
        let counts = tally.of(kind);
        counts.records += records;
        counts.bytes += records * 100;
        for _ in 0..records {
            counts.took(nanos(latency));
        }
    }

    #[test]
    fn a_sum_has_everything_once() {
        let (mut a, mut b) = (Tally::new(), Tally::new());
        count(&mut a, Kind::Ack, 10, Duration::from_millis(2));
        a.failed("NOT_LEADER_OR_FOLLOWER", 3);
        count(&mut b, Kind::Ack, 30, Duration::from_millis(4));
        count(&mut b, Kind::Fetch, 1, Duration::from_millis(9));
        b.failed("NOT_LEADER_OR_FOLLOWER", 4);
        b.failed("no answer in time", 1);
        b.held_back = 5;
        a.add(&b);
        assert_eq!((a.records(Kind::Ack), a.records(Kind::Fetch), a.error_count()), (40, 1, 8));
        let latency = a.latency(Kind::Ack).expect("some came");
        assert_eq!(latency.len(), 40);
        assert!(latency.value_at_quantile(0.25) < 3_000_000);
        assert!(latency.value_at_quantile(0.26) > 3_000_000);
        assert_eq!((a.errors.get("NOT_LEADER_OR_FOLLOWER"), a.held_back), (Some(&7), 5));
        a.clear();
        assert_eq!((a.records(Kind::Ack), a.error_count(), a.latency(Kind::Ack)), (0, 0, None));
    }

    #[test]
    fn latencies_beyond_the_bounds_still_count() {
        let mut tally = Tally::new();
        count(&mut tally, Kind::Join, 1, Duration::ZERO);
        count(&mut tally, Kind::Join, 1, Duration::from_secs(1_000_000));
        assert_eq!(tally.latency(Kind::Join).map(Histogram::len), Some(2));
    }

    #[test]
    fn all_acknowledgements_are_those_beside_a_cold_reader_too() {
        let mut tally = Tally::new();
        count(&mut tally, Kind::Ack, 3, Duration::from_millis(1));
        count(&mut tally, Kind::AckBesideCold, 5, Duration::from_millis(9));
        count(&mut tally, Kind::Fetch, 7, Duration::from_millis(9));
        let all = tally.all(Kind::Ack);
        assert_eq!((all.records, all.bytes, all.latency.len()), (8, 800, 8));
        assert_eq!(tally.all(Kind::AckBesideCold).records, 5);
    }

    #[test]
    fn what_was_collected_is_gone_from_the_meter() {
        let meter = Meter::new();
        count(&mut meter.lock(), Kind::Ack, 5, Duration::from_millis(1));
        let mut collected = Tally::new();
        meter.collect(&mut collected);
        assert_eq!((collected.records(Kind::Ack), meter.lock().records(Kind::Ack)), (5, 0));
    }
}
