//! Times by size: two buckets per power of two, from a microsecond to two minutes.
//!
//! Owned by one shard, written by it alone. A bucket's bound is inclusive, as `le` is: 1, 2, 3, 4, 6, 8, 12, 16, … µs,
//! so that what a histogram says is at most a third above the truth. What is longer than the last bound goes into one
//! more bucket; what is shorter than a microsecond goes into the first, and counts with its nanoseconds in the sum.
//!
//! Invariant: the number of observations is the sum of the buckets; there is no second count that could differ.

use std::cell::Cell;

use crate::time::Monotonic;

/// Buckets with a bound; the last bound is 2^27 µs, 134 s. One more is without a bound.
pub const BUCKETS: usize = 54;

/// The bound of a bucket, in microseconds, inclusive.
///
/// # Panics
/// For the bucket that has none, and beyond.
#[must_use]
pub const fn bucket_bound_micros(bucket: usize) -> u64 {
    assert!(bucket < BUCKETS, "the last bucket has no bound");
    if bucket < 2 {
        return bucket as u64 + 1;
    }
    let (power, half) = (bucket / 2, (bucket % 2) as u64);
    (1 << power) + (half + 1) * (1 << (power - 1))
}

/// The bucket that a time belongs to.
const fn bucket_of(nanos: u64) -> usize {
    // The last whole microsecond that the time has passed: the bounds are inclusive.
    let below = nanos.saturating_sub(1) / 1_000;
    if below < 2 {
        return below as usize;
    }
    let power = below.ilog2();
    let half = (below >> (power - 1)) & 1;
    let bucket = 2 * power as usize + half as usize;
    if bucket < BUCKETS { bucket } else { BUCKETS }
}

/// The cells of one histogram.
#[derive(Debug)]
pub struct Histogram {
    buckets: [Cell<u64>; BUCKETS + 1],
    sum_nanos: Cell<u64>,
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram { buckets: std::array::from_fn(|_| Cell::new(0)), sum_nanos: Cell::new(0) }
    }
}

impl Histogram {
    /// Counts one time, in nanoseconds.
    #[inline]
    pub fn observe(&self, nanos: u64) {
        let bucket = &self.buckets[bucket_of(nanos)];
        bucket.set(bucket.get() + 1);
        self.sum_nanos.set(self.sum_nanos.get().wrapping_add(nanos));
    }

    /// Counts the time between two moments; nothing where the second is before the first.
    #[inline]
    pub fn observe_span(&self, from: Monotonic, to: Monotonic) {
        self.observe(to.0.saturating_sub(from.0));
    }

    /// A copy that may leave the shard.
    #[must_use]
    pub fn times(&self) -> Times {
        Times { buckets: self.buckets.each_ref().map(Cell::get), sum_nanos: self.sum_nanos.get() }
    }
}

/// A copy of a histogram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// Observations per bucket; the last is the one without a bound.
    pub buckets: [u64; BUCKETS + 1],
    /// The sum of all observations.
    pub sum_nanos: u64,
}

impl Default for Times {
    fn default() -> Times {
        Times { buckets: [0; BUCKETS + 1], sum_nanos: 0 }
    }
}

impl Times {
    /// How many observations there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_grow_by_half_and_a_third() {
        let bounds: Vec<u64> = (0..10).map(bucket_bound_micros).collect();
        assert_eq!(bounds, [1, 2, 3, 4, 6, 8, 12, 16, 24, 32]);
        assert_eq!(bucket_bound_micros(BUCKETS - 1), 1 << 27);
    }

    #[test]
    fn a_time_is_in_the_first_bucket_whose_bound_it_does_not_pass() {
        for bucket in 0..BUCKETS {
            let bound = bucket_bound_micros(bucket) * 1_000;
            assert_eq!(bucket_of(bound), bucket, "the bound is inclusive");
            assert_eq!(bucket_of(bound + 1), bucket + 1, "one nanosecond more is not");
        }
        assert_eq!(bucket_of(0), 0);
        assert_eq!(bucket_of(u64::MAX), BUCKETS);
    }

    #[test]
    fn observations_are_counted_once_and_summed_exactly() {
        let histogram = Histogram::default();
        for nanos in [0, 999, 1_000, 1_001, 5_000, 1 << 60] {
            histogram.observe(nanos);
        }
        histogram.observe_span(Monotonic(10), Monotonic(4));
        let times = histogram.times();
        assert_eq!(times.count(), 7);
        assert_eq!(times.sum_nanos, 999 + 1_000 + 1_001 + 5_000 + (1 << 60));
        assert_eq!((times.buckets[0], times.buckets[1], times.buckets[4]), (4, 1, 1));
        assert_eq!(times.buckets[BUCKETS], 1, "above all bounds");
    }
}
