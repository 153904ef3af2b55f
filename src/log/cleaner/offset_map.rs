//! The last offset of each key of a dirty section, in a table of fixed size.
//!
//! Owned by one cleaning at a time; nothing of it is on disk. Keys are not kept, only a SipHash-2-4 of 128 bits under
//! a random key (Kafka's `SkimpyOffsetMap` keeps an MD5): two keys of a log never share one, and nobody outside can
//! look for two that do. A slot takes 24 bytes, as in Kafka, and collisions go to the next free slot.
//!
//! Invariants: the table never grows, at least one slot stays free, so that a search ends; offsets of a key only rise.

use siphasher::sip128::{Hasher128, SipHasher24};
use std::hash::Hasher;

use crate::ids::Offset;

/// Bytes of memory that one slot takes.
pub const SLOT_BYTES: usize = 3 * size_of::<u64>();

/// How large a table may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapBounds {
    /// Memory in bytes: `log.cleaner.dedupe.buffer.size` divided by `log.cleaner.threads`.
    pub bytes_max: usize,
    /// `log.cleaner.io.buffer.load.factor` in thousandths: the share of the slots that may be taken.
    pub load_permille: u32,
}

/// The table. Three words per slot: the hash's halves, and the offset plus one, 0 for a free slot.
#[derive(Clone)]
pub struct OffsetMap {
    words: Vec<[u64; 3]>,
    entries: usize,
    entries_max: usize,
    secret: [u8; 16],
}

impl OffsetMap {
    /// An empty table for at most `keys_max` keys, smaller where the bounds say so; `secret` is random.
    #[must_use]
    pub fn new(bounds: MapBounds, keys_max: u64, secret: [u8; 16]) -> OffsetMap {
        let permille = bounds.load_permille.clamp(1, 1_000) as usize;
        let keys_max = usize::try_from(keys_max).unwrap_or(usize::MAX).max(1);
        let wanted = (keys_max.saturating_mul(1_000) / permille).saturating_add(2);
        let slots = (bounds.bytes_max / SLOT_BYTES).min(wanted).max(2);
        let entries_max = (slots.saturating_mul(permille) / 1_000).clamp(1, slots - 1);
        OffsetMap { words: vec![[0; 3]; slots], entries: 0, entries_max, secret }
    }

    /// Notes that `key` has a record at `offset`; false where the key is new and the table full, and nothing changed.
    #[must_use]
    pub fn put(&mut self, key: &[u8], offset: Offset) -> bool {
        let hash = self.hash(key);
        let slot = self.find(hash);
        let stored = offset.0.unsigned_abs() + 1;
        let [.., taken] = self.words[slot];
        if taken == 0 {
            if self.entries == self.entries_max {
                return false;
            }
            self.entries += 1;
        }
        assert!(stored > taken, "records come in the order of the log");
        self.words[slot] = [hash.0, hash.1, stored];
        true
    }

    /// The last offset that was noted for the key.
    #[must_use]
    pub fn get(&self, key: &[u8]) -> Option<Offset> {
        let [.., stored] = self.words[self.find(self.hash(key))];
        let offset = i64::try_from(stored.checked_sub(1)?).expect("an offset was stored");
        Some(Offset(offset))
    }

    /// Keys that are noted.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries
    }

    /// Whether no key is noted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries == 0
    }

    /// Bytes of memory that the table takes.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.words.capacity() * SLOT_BYTES
    }

    fn hash(&self, key: &[u8]) -> (u64, u64) {
        let mut hasher = SipHasher24::new_with_key(&self.secret);
        hasher.write(key);
        let hash = hasher.finish128();
        (hash.h1, hash.h2)
    }

    /// The slot of the hash, or the free one where it belongs.
    fn find(&self, hash: (u64, u64)) -> usize {
        let slots = self.words.len();
        let scaled = (u128::from(hash.0) * slots as u128) >> 64;
        let mut slot = usize::try_from(scaled).expect("below the number of slots");
        loop {
            let [first, second, stored] = self.words[slot];
            if stored == 0 || (first, second) == hash {
                return slot;
            }
            slot = if slot + 1 == slots { 0 } else { slot + 1 };
        }
    }
}

impl std::fmt::Debug for OffsetMap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "OffsetMap({} of {} keys)", self.entries, self.entries_max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn map(slots: usize, load_permille: u32) -> OffsetMap {
        let bounds = MapBounds { bytes_max: slots * SLOT_BYTES, load_permille };
        OffsetMap::new(bounds, u64::MAX, [7; 16])
    }

    #[test]
    fn the_table_is_as_large_as_asked_for_and_no_larger() {
        let bounds = MapBounds { bytes_max: 128 << 20, load_permille: 900 };
        assert!(OffsetMap::new(bounds, 100, [0; 16]).memory_bytes() < 4_096, "few keys take little");
        let full = OffsetMap::new(bounds, u64::MAX, [0; 16]);
        assert!(full.memory_bytes() <= bounds.bytes_max);
        assert_eq!(full.entries_max, (128 << 20) / 24 * 9 / 10);
        let tiny = OffsetMap::new(MapBounds { bytes_max: 0, load_permille: 0 }, 0, [0; 16]);
        assert_eq!((tiny.entries_max, tiny.words.len()), (1, 2), "one key always fits: a cleaning gets on");
    }

    #[test]
    fn a_full_table_takes_known_keys_alone() {
        let mut map = map(10, 500);
        for key in 0..5_u8 {
            assert!(map.put(&[key], Offset(i64::from(key))));
        }
        assert!(!map.put(&[9], Offset(9)));
        assert!(map.put(&[0], Offset(10)));
        assert_eq!((map.len(), map.get(&[0]), map.get(&[9])), (5, Some(Offset(10)), None));
        assert!(map.put(&[1], Offset(i64::MAX)), "the largest offset is one");
        assert_eq!(map.get(&[1]), Some(Offset(i64::MAX)));
    }

    #[test]
    fn another_secret_is_another_order() {
        let slot = |secret| {
            let map = OffsetMap::new(MapBounds { bytes_max: 1 << 16, load_permille: 900 }, 1 << 20, secret);
            map.find(map.hash(b"key"))
        };
        assert_ne!(slot([1; 16]), slot([2; 16]));
    }

    proptest! {
        #[test]
        fn it_agrees_with_a_map_until_it_is_full(
            keys in prop::collection::vec(0_u16..400, 0..600),
            slots in 2_usize..300,
        ) {
            let mut map = map(slots, 900);
            let mut model = BTreeMap::new();
            for (offset, key) in (0..).zip(keys) {
                let fits = model.contains_key(&key) || model.len() < map.entries_max;
                prop_assert_eq!(map.put(&key.to_be_bytes(), Offset(offset)), fits);
                if fits {
                    model.insert(key, Offset(offset));
                }
            }
            for key in 0_u16..400 {
                prop_assert_eq!(map.get(&key.to_be_bytes()), model.get(&key).copied());
            }
            prop_assert_eq!(map.len(), model.len());
        }
    }
}
