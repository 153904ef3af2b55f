//! Random numbers of one seed: everything that a scenario draws comes from here, so that a seed is a scenario.
//!
//! A generator is forked for every actor by name, so that what one actor draws never shifts what another draws.

use std::ops::Range;

pub use ottla::mix::mix;

/// A generator (splitmix64): small, seeded, the same on every machine.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The generator of a seed.
    #[must_use]
    pub const fn new(seed: u64) -> Random {
        Random(mix(seed ^ 0x0771_a051_7e55_eed5))
    }

    /// A generator of its own for `name`, which depends on the seed and the name and not on what was drawn before.
    #[must_use]
    pub fn fork(&self, name: &str) -> Random {
        let hash = name.bytes().fold(self.0, |hash, byte| mix(hash ^ u64::from(byte)));
        Random(mix(hash))
    }

    /// The next number.
    pub const fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// A number of the range, which is not empty.
    pub fn within(&mut self, range: Range<u64>) -> u64 {
        assert!(range.start < range.end, "a range to draw from is not empty");
        range.start + self.next_u64() % (range.end - range.start)
    }

    /// An index below `length`, which is above zero.
    pub fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.within(0..length as u64)).expect("an index is a usize")
    }

    /// True once in `once_in` draws, on average.
    pub fn one_in(&mut self, once_in: u64) -> bool {
        self.within(0..once_in) == 0
    }

    /// True with a probability in thousandths.
    pub fn per_mille(&mut self, thousandths: u32) -> bool {
        self.within(0..1000) < u64::from(thousandths)
    }

    /// One of `choices`, which is not empty.
    pub fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.index(choices.len())]
    }

    /// An index of `weights`, each as likely as its weight says; at least one weight is above zero.
    pub fn weighted(&mut self, weights: &[u32]) -> usize {
        let total: u64 = weights.iter().map(|&weight| u64::from(weight)).sum();
        let mut left = self.within(0..total);
        for (index, &weight) in weights.iter().enumerate() {
            match left.checked_sub(u64::from(weight)) {
                Some(rest) => left = rest,
                None => return index,
            }
        }
        unreachable!("what was drawn is below the sum")
    }

    /// A number of the range whose logarithm is spread evenly: small ones often, large ones sometimes.
    pub fn log_within(&mut self, range: Range<u64>) -> u64 {
        assert!(range.start < range.end, "a range to draw from is not empty");
        let bits = |number: u64| u64::from(64 - number.leading_zeros());
        let wanted = self.within(bits(range.start)..bits(range.end - 1) + 1);
        let low = if wanted == 0 { 0 } else { 1 << (wanted - 1) };
        let high = if wanted == 64 { u64::MAX } else { 1 << wanted };
        self.within(low.max(range.start)..high.min(range.end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_a_sequence_and_forks_are_their_own() {
        let draw = |mut random: Random| -> Vec<u64> { (0..8).map(|_| random.next_u64()).collect() };
        assert_eq!(draw(Random::new(7)), draw(Random::new(7)));
        assert_ne!(draw(Random::new(7)), draw(Random::new(8)));
        let root = Random::new(7);
        assert_eq!(draw(root.fork("a")), draw(root.fork("a")));
        assert_ne!(draw(root.fork("a")), draw(root.fork("b")));
    }

    #[test]
    fn ranges_hold_and_are_filled() {
        let mut random = Random::new(1);
        let mut seen = [false; 5];
        for _ in 0..1000 {
            seen[usize::try_from(random.within(3..8)).expect("small") - 3] = true;
            let large = random.log_within(1..200_000);
            assert!((1..200_000).contains(&large), "{large}");
            assert!((0..3).contains(&random.log_within(0..3)));
        }
        assert_eq!(seen, [true; 5]);
        let drawn: Vec<usize> = (0..100).map(|_| random.weighted(&[0, 3, 0, 1])).collect();
        assert!(drawn.contains(&1) && drawn.contains(&3));
        assert!(drawn.iter().all(|index| [1, 3].contains(index)));
    }

    #[test]
    fn small_numbers_are_as_likely_as_large_ones() {
        let mut random = Random::new(3);
        let small = (0..1000).filter(|_| random.log_within(1..1 << 20) < 1 << 10).count();
        assert!((400..600).contains(&small), "{small}");
    }
}
