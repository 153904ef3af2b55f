//! The disk's own random numbers: SplitMix64, so that a seed means the same on every machine and in every version.
//!
//! Invariant: the numbers depend on the seed and on how many were drawn, on nothing else.

/// A stream of random numbers.
#[derive(Clone, Debug)]
pub(super) struct Rng(u64);

impl Rng {
    /// The stream `stream` of `seed`; the streams of one seed have nothing to do with each other.
    pub(super) fn new(seed: u64, stream: u64) -> Rng {
        let mut rng = Rng(seed ^ stream.wrapping_mul(0xD1B5_4A32_D192_ED03));
        rng.next();
        rng
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`, which is not zero.
    pub(super) fn below(&mut self, limit: u64) -> u64 {
        assert!(limit > 0, "there is no number below zero");
        u64::try_from((u128::from(self.next()) * u128::from(limit)) >> 64).expect("less than the limit")
    }

    /// A number from `low` to `high`, both included.
    pub(super) fn between(&mut self, low: u64, high: u64) -> u64 {
        assert!(low <= high, "a range has an order");
        low + self.below(high - low + 1)
    }

    /// True `times` times `out_of`.
    pub(super) fn chance(&mut self, times: u64, out_of: u64) -> bool {
        self.below(out_of) < times
    }

    /// How many of `all` things in a row came through before the end: often none, often all, else any number.
    pub(super) fn prefix(&mut self, all: u64) -> u64 {
        match self.below(4) {
            0 => 0,
            1 => all,
            _ => self.below(all + 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_always_means_the_same_and_its_streams_differ() {
        let draw = |seed, stream| {
            let mut rng = Rng::new(seed, stream);
            (0..8).map(|_| rng.between(10, 99)).collect::<Vec<_>>()
        };
        assert_eq!(draw(1, 1), draw(1, 1));
        assert_ne!(draw(1, 1), draw(1, 2));
        assert_ne!(draw(1, 1), draw(2, 1));
        assert!(draw(3, 3).iter().all(|number| (10..=99).contains(number)));
    }

    #[test]
    fn chances_come_true_about_as_often_as_they_say() {
        let mut rng = Rng::new(7, 0);
        let hits = (0..10_000).filter(|_| rng.chance(1, 4)).count();
        assert!((2_200..2_800).contains(&hits), "{hits}");
        assert!(!rng.chance(0, 1));
        assert!(rng.chance(1, 1));
    }
}
