//! Keys of records and the partitions that they choose, as Kafka's Java producer does it.
//!
//! Pure; each client has a generator of its own, seeded by its number, so that two runs send the same keys. A key is
//! `key-` and a number. The partition of a key is `murmur2(key)` without its sign bit, modulo the partitions (Kafka's
//! `BuiltInPartitioner`); records without a key stay with one partition for `batch.size` bytes (KIP-794) or go round.

use std::sync::Arc;

use crate::values;

/// The most keys of a zipf distribution: its table has eight bytes for each.
const ZIPF_KEYS_MAX: u64 = 1_000_000;

/// Which keys the records of a load have.
#[derive(Clone, Debug)]
pub(crate) enum KeySpec {
    /// None.
    None,
    /// Any of so many, each as often as the others.
    Uniform(u64),
    /// By rank: key `r` as often as 1 / (r + 1)^s, as a table of the ranks' sums.
    Zipf(Arc<[f64]>),
    /// One after the other, from the first again after so many.
    Sequential(u64),
}

impl KeySpec {
    /// `none`, `uniform:N`, `zipf:N:S` or `sequential:N`.
    pub(crate) fn parse(text: &str) -> Option<KeySpec> {
        let mut parts = text.split(':');
        let kind = parts.next()?;
        let mut number = || parts.next().and_then(values::count).filter(|n| *n > 0);
        let spec = match kind {
            "none" => KeySpec::None,
            "uniform" => KeySpec::Uniform(number()?),
            "sequential" => KeySpec::Sequential(number()?),
            "zipf" => {
                let keys = number().filter(|keys| *keys <= ZIPF_KEYS_MAX)?;
                let exponent: f64 = parts.next()?.parse().ok()?;
                KeySpec::Zipf(zipf_sums(keys, Some(exponent).filter(|s| (0.0..=10.0).contains(s))?))
            }
            _ => return None,
        };
        parts.next().is_none().then_some(spec)
    }
}

/// The sums of the weights of the ranks up to each, the last of which is 1.
fn zipf_sums(keys: u64, exponent: f64) -> Arc<[f64]> {
    let mut sum = 0.0;
    let sums: Vec<f64> = (1..=keys)
        .map(|rank| {
            sum += (rank as f64).powf(-exponent);
            sum
        })
        .collect();
    sums.iter().map(|part| part / sum).collect()
}

/// The keys of one client.
#[derive(Debug)]
pub(crate) struct Keys {
    spec: KeySpec,
    random: Random,
    key: Vec<u8>,
}

impl Keys {
    /// Those of client `client`.
    pub(crate) fn new(spec: KeySpec, client: u64) -> Keys {
        Keys { spec, random: Random::new(client), key: Vec::new() }
    }

    /// The key of the load's record `number`.
    pub(crate) fn next(&mut self, number: u64) -> Option<&[u8]> {
        let key = match &self.spec {
            KeySpec::None => return None,
            KeySpec::Uniform(keys) => self.random.below(*keys),
            KeySpec::Sequential(keys) => number % keys,
            KeySpec::Zipf(sums) => {
                let at = self.random.unit();
                sums.partition_point(|sum| *sum <= at).min(sums.len() - 1) as u64
            }
        };
        self.key.clear();
        self.key.extend_from_slice(b"key-");
        let start = self.key.len();
        let mut rest = key;
        loop {
            self.key.push(b'0' + (rest % 10) as u8);
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        self.key[start..].reverse();
        Some(&self.key)
    }
}

/// The partition of `key` among `partitions`.
pub(crate) fn partition_of(key: &[u8], partitions: usize) -> usize {
    (murmur2(key) & 0x7fff_ffff) as usize % partitions
}

/// Kafka's `Utils.murmur2`: Austin Appleby's MurmurHash2 with a fixed seed.
fn murmur2(data: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    const SEED: u32 = 0x9747_b28c;
    let mut hash = SEED ^ data.len() as u32;
    let (words, tail) = data.as_chunks::<4>();
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(M);
        k ^= k >> 24;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    if !tail.is_empty() {
        let mut last = [0; 4];
        last[..tail.len()].copy_from_slice(tail);
        hash = (hash ^ u32::from_le_bytes(last)).wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ (hash >> 15)
}

/// Where records without a key go.
#[derive(Debug)]
pub(crate) enum Keyless {
    /// Some partition for as long as its batches fill, then some other.
    Sticky {
        /// The partition.
        current: usize,
        /// Bytes since it was chosen.
        bytes: usize,
        /// What chooses the next.
        random: Random,
    },
    /// All partitions in turn.
    RoundRobin(usize),
}

impl Keyless {
    /// Sticky, as the Java producer does by itself.
    pub(crate) fn sticky(client: u64, partitions: usize) -> Keyless {
        let mut random = Random::new(!client);
        let current = random.below(partitions as u64) as usize;
        Keyless::Sticky { current, bytes: 0, random }
    }

    /// The partition of the next record. `is_open` says whether the present one has a batch that takes more.
    pub(crate) fn choose(&mut self, next: NextRecord, is_open: impl Fn(usize) -> bool) -> usize {
        match self {
            Keyless::RoundRobin(at) => {
                let partition = *at % next.partitions;
                *at = (partition + 1) % next.partitions;
                partition
            }
            Keyless::Sticky { current, bytes, random } => {
                let full = *bytes >= next.batch_bytes && !is_open(*current);
                if full || *bytes >= 2 * next.batch_bytes {
                    *current = random.below(next.partitions as u64) as usize;
                    *bytes = 0;
                }
                *bytes += next.bytes;
                *current
            }
        }
    }
}

/// A record without a key that is about to be appended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NextRecord {
    /// Its bytes.
    pub bytes: usize,
    /// `batch.size`.
    pub batch_bytes: usize,
    /// The topic's partitions.
    pub partitions: usize,
}

/// A xorshift generator.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(ottla::mix::mix(seed.wrapping_add(0x9e37_79b9_7f4a_7c15)) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `limit`.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(limit)) >> 64) as u64
    }

    /// A number from 0 to below 1.
    pub(crate) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn drawn(spec: &str, records: u64) -> BTreeMap<String, u64> {
        let mut keys = Keys::new(KeySpec::parse(spec).expect("a spec"), 3);
        let mut seen = BTreeMap::new();
        for number in 0..records {
            let key = String::from_utf8(keys.next(number).expect("a key").to_vec()).expect("text");
            *seen.entry(key).or_default() += 1;
        }
        seen
    }

    #[test]
    fn hashes_are_kafkas() {
        // Kafka's UtilsTest.testMurmur2.
        let known: [(&[u8], i32); 6] = [
            (b"21", -973_932_308),
            (b"foobar", -790_332_482),
            (b"a-little-bit-long-string", -985_981_536),
            (b"a-little-bit-longer-string", -1_486_304_829),
            (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            (b"abc", 479_470_107),
        ];
        for (key, hash) in known {
            assert_eq!(murmur2(key) as i32, hash);
        }
        assert_eq!(partition_of(b"abc", 7), 479_470_107 % 7);
    }

    #[test]
    fn specs_are_understood_or_refused() {
        for good in ["none", "uniform:1", "uniform:10k", "zipf:1000:1.1", "zipf:5:0", "sequential:7"] {
            assert!(KeySpec::parse(good).is_some(), "{good}");
        }
        for bad in ["", "uniform", "uniform:0", "zipf:10", "zipf:10:x", "zipf:2M:1", "sequential:1:2", "hot"]
        {
            assert!(KeySpec::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn uniform_keys_come_alike_and_sequential_ones_in_turn() {
        let seen = drawn("uniform:10", 10_000);
        assert_eq!(seen.len(), 10);
        assert!(seen.values().all(|n| (800..1_200).contains(n)), "{seen:?}");
        let seen = drawn("sequential:4", 10);
        assert_eq!(seen.get("key-0"), Some(&3));
        assert_eq!(seen.get("key-3"), Some(&2));
    }

    #[test]
    fn zipf_keys_come_by_rank() {
        let seen = drawn("zipf:1000:1", 100_000);
        let of = |rank: u64| *seen.get(&format!("key-{rank}")).unwrap_or(&0) as f64;
        // The harmonic number of 1,000 is 7.485.
        assert!((of(0) / (100_000.0 / 7.485) - 1.0).abs() < 0.05, "{}", of(0));
        assert!((of(0) / of(9) - 10.0).abs() < 1.5, "{} and {}", of(0), of(9));
        let flat = drawn("zipf:10:0", 10_000);
        assert!(flat.values().all(|n| (800..1_200).contains(n)), "{flat:?}");
    }

    #[test]
    fn sticky_records_stay_for_a_batch_and_then_move() {
        let mut keyless = Keyless::sticky(1, 16);
        let next = NextRecord { bytes: 100, batch_bytes: 1_000, partitions: 16 };
        let first: Vec<usize> = (0..10).map(|_| keyless.choose(next, |_| false)).collect();
        assert!(first.iter().all(|partition| *partition == first[0]), "{first:?}");
        let mut chosen: Vec<usize> = (0..1_000).map(|_| keyless.choose(next, |_| false)).collect();
        assert!(chosen.as_chunks::<10>().0.iter().all(|run| run.iter().all(|p| *p == run[0])));
        chosen.sort_unstable();
        chosen.dedup();
        assert!(chosen.len() > 12, "most partitions got their turn: {chosen:?}");
    }

    #[test]
    fn a_batch_that_takes_more_holds_its_partition_for_twice_its_size() {
        let mut keyless = Keyless::sticky(1, 1_000);
        let next = NextRecord { bytes: 100, batch_bytes: 1_000, partitions: 1_000 };
        let chosen: Vec<usize> = (0..21).map(|_| keyless.choose(next, |_| true)).collect();
        assert!(chosen[..20].iter().all(|partition| *partition == chosen[0]), "{chosen:?}");
        assert_ne!(chosen[20], chosen[0]);
        let mut turns = Keyless::RoundRobin(5);
        let next = NextRecord { partitions: 3, ..next };
        assert_eq!([0; 4].map(|_| turns.choose(next, |_| false)), [2, 0, 1, 2]);
    }
}
