//! When which record of a load is due: arithmetic alone, with no clock of its own.
//!
//! All records of a load are numbered from 0; the clients take them in turn (client `c` of `n` has those whose
//! number is `c` modulo `n`), so that nothing is shared between them. What must hold: the time at which a record is due
//! depends on its number and on the rate, never on how earlier records fared.

use std::time::Duration;

use crate::values::RateSpec;

const NANOS_PER_SECOND: u128 = 1_000_000_000;

/// How fast the records of a load fall due.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Pace {
    /// Each as soon as the window of its client allows.
    Free,
    /// So many per second.
    Steady(u64),
    /// At one rate at first, then from that one to another, evenly over a time, and at the last rate from then on.
    Ramp {
        /// Seconds before it begins.
        after: f64,
        /// Records per second at the start.
        from: f64,
        /// Records per second at the end.
        to: f64,
        /// Seconds from there to the end.
        over: f64,
    },
}

impl Pace {
    /// The pace of this rate in a load of this length behind its warm-up; a ramp without a length is none.
    pub(crate) fn new(rate: Option<RateSpec>, warmup: Duration, length: Option<Duration>) -> Option<Pace> {
        match rate {
            None => Some(Pace::Free),
            Some(rate) if rate.from == rate.to => Some(Pace::Steady(rate.from)),
            Some(rate) => {
                let (after, over) = (warmup.as_secs_f64(), length?.as_secs_f64());
                Some(Pace::Ramp { after, from: rate.from as f64, to: rate.to as f64, over })
            }
        }
    }

    /// When record `number` is due, from the start; `None` for at once.
    pub(crate) fn due(&self, number: u64) -> Option<Duration> {
        match *self {
            Pace::Free => None,
            Pace::Steady(rate) => {
                let nanos = u128::from(number) * NANOS_PER_SECOND / u128::from(rate);
                Some(Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)))
            }
            Pace::Ramp { after, from, to, over } => {
                let before = from * after;
                let number = number as f64;
                Some(seconds(if number < before {
                    number / from
                } else {
                    after + ramp_time(number - before, from, to, over)
                }))
            }
        }
    }

    /// Records that are due before `end`; `None` where none is due at any time.
    pub(crate) fn due_before(&self, end: Duration) -> Option<u64> {
        match *self {
            Pace::Free => None,
            Pace::Steady(rate) => {
                let records = (end.as_nanos() * u128::from(rate)).div_ceil(NANOS_PER_SECOND);
                Some(u64::try_from(records).unwrap_or(u64::MAX))
            }
            Pace::Ramp { after, from, to, over } => {
                let (before, behind) = (end.as_secs_f64().min(after), (end.as_secs_f64() - after).max(0.0));
                let mut number = (from * before + ramp_records(behind, from, to, over)) as u64;
                // The estimate is off by a rounding at most; behind the last number there is none.
                while number < u64::MAX && self.due(number).is_some_and(|due| due < end) {
                    number += 1;
                }
                while number > 0 && self.due(number - 1).is_some_and(|due| due >= end) {
                    number -= 1;
                }
                Some(number)
            }
        }
    }
}

/// Records due after `time` seconds: the integral of the rate.
fn ramp_records(time: f64, from: f64, to: f64, over: f64) -> f64 {
    let inside = time.min(over);
    let beyond = (time - over).max(0.0);
    from * inside + (to - from) * inside * inside / (2.0 * over) + to * beyond
}

/// The inverse of [`ramp_records`].
fn ramp_time(number: f64, from: f64, to: f64, over: f64) -> f64 {
    let all = ramp_records(over, from, to, over);
    if number >= all {
        return over + (number - all) / to;
    }
    let slope = (to - from) / over;
    // The root of slope/2·t² + from·t = number, in the form that does not cancel for small slopes.
    2.0 * number / (from + (from * from + 2.0 * slope * number).max(0.0).sqrt())
}

fn seconds(seconds: f64) -> Duration {
    Duration::from_nanos((seconds * 1e9) as u64)
}

/// Which records of a load are one client's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Share {
    /// The client.
    pub client: u64,
    /// All clients of the load.
    pub clients: u64,
}

impl Share {
    /// The number in the whole load of this client's record `nth`.
    pub(crate) fn number(&self, nth: u64) -> u64 {
        nth.saturating_mul(self.clients).saturating_add(self.client)
    }

    /// How many of the first `records` records are this client's.
    pub(crate) fn of(&self, records: u64) -> u64 {
        records.saturating_sub(self.client).div_ceil(self.clients)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_record_is_due_by_its_number_and_without_drift() {
        assert_eq!(Pace::Steady(3).due(1), Some(Duration::from_nanos(333_333_333)));
        assert_eq!(Pace::Steady(3).due(3_000_000), Some(Duration::from_secs(1_000_000)));
        assert_eq!(Pace::Steady(1_000).due(70), Some(70 * MS));
        assert_eq!(Pace::Free.due(7), None);
        assert_eq!(Pace::Free.due_before(MS), None);
    }

    #[test]
    fn what_is_due_before_a_moment_is_what_has_an_earlier_time() {
        let ramps = [(10.0, 2_000.0), (2_000.0, 10.0), (500.0, 501.0)];
        let later = ramps.map(|(from, to)| Pace::Ramp { after: 0.3, from, to, over: 0.5 });
        let ramps = ramps.map(|(from, to)| Pace::Ramp { after: 0.0, from, to, over: 0.8 });
        let paces = [Pace::Steady(1_000), Pace::Steady(3), Pace::Steady(7_777)].into_iter();
        let paces = paces.chain(ramps).chain(later);
        for pace in paces {
            for end in [Duration::ZERO, MS, 333 * MS, 800 * MS, 1_000 * MS] {
                let expected = (0..).take_while(|n| pace.due(*n).is_some_and(|due| due < end)).count();
                assert_eq!(pace.due_before(end), Some(expected as u64), "{pace:?} before {end:?}");
            }
        }
    }

    #[test]
    fn the_steepest_ramp_of_a_year_has_an_end() {
        let year = Duration::from_secs(366 * 24 * 60 * 60);
        let ramp = |from, to| Pace::Ramp { after: 0.0, from, to, over: year.as_secs_f64() };
        let half = ramp(1.0, 1e12).due_before(year).expect("some are due");
        assert!((half as f64 / (0.5e12 * year.as_secs_f64()) - 1.0).abs() < 1e-9, "{half}");
        assert_eq!(ramp(1e12 - 1.0, 1e12).due_before(year), Some(u64::MAX), "more than there are numbers");
    }

    #[test]
    fn a_ramp_goes_from_one_rate_to_the_other_and_stays_there() {
        let (rate, length) = (RateSpec { from: 1_000, to: 3_000 }, Some(Duration::from_secs(10)));
        let ramp = Pace::new(Some(rate), Duration::ZERO, length).expect("it has a length");
        let in_second = |ramp: &Pace, second: u64| {
            let until = |s| ramp.due_before(Duration::from_secs(s)).expect("a rate");
            until(second + 1) - until(second)
        };
        let per_second = |second| in_second(&ramp, second);
        let later = Pace::new(Some(rate), Duration::from_secs(2), length).expect("it has a length");
        let seconds = [0, 1, 2, 6, 11, 12].map(|second| in_second(&later, second));
        assert_eq!(seconds, [1_000, 1_000, 1_100, 1_900, 2_900, 3_000], "it begins behind the warm-up");
        assert_eq!([per_second(0), per_second(4), per_second(9)], [1_100, 1_900, 2_900]);
        assert_eq!(per_second(10), 3_000);
        assert_eq!(ramp.due_before(Duration::from_secs(10)), Some(20_000));
        let mut last = Duration::ZERO;
        for number in 0..30_000 {
            let due = ramp.due(number).expect("a rate");
            assert!(due >= last, "record {number} is due before the one before it");
            last = due;
        }
        assert_eq!(Pace::new(Some(RateSpec { from: 1, to: 2 }), Duration::ZERO, None), None);
        let flat = Pace::new(Some(RateSpec { from: 5, to: 5 }), Duration::ZERO, None);
        assert_eq!(flat, Some(Pace::Steady(5)));
    }

    #[test]
    fn shares_are_the_whole_and_disjoint() {
        for (clients, records) in [(1, 10), (3, 10), (7, 3), (4, 0)] {
            let mut all: Vec<u64> = (0..clients)
                .map(|client| Share { client, clients })
                .flat_map(|share| (0..share.of(records)).map(move |nth| share.number(nth)))
                .collect();
            all.sort_unstable();
            assert_eq!(all, (0..records).collect::<Vec<_>>(), "{records} records of {clients} clients");
        }
    }
}
