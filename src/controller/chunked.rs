//! A sorted map whose copies share what they have in common.
//!
//! The image of the metadata is copied for every batch of records while every shard still holds the one before. The
//! entries lie sorted in chunks of at most [`CHUNK_ENTRIES_MAX`], each behind an `Arc`: a copy costs one count per
//! chunk, a change clones one chunk. Owned by no shard, nothing of it is on disk. Invariants: no chunk is empty, keys
//! rise strictly within a chunk and from one chunk to the next, and `entries` is their number.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

/// A chunk that would grow beyond this many entries is split into halves.
const CHUNK_ENTRIES_MAX: usize = 128;

type Chunk<K, V> = Vec<(K, V)>;

/// A sorted map that is cheap to copy: one reference count per 64 to 128 entries.
#[derive(Clone)]
pub struct ChunkMap<K, V> {
    chunks: Vec<Arc<Chunk<K, V>>>,
    entries: usize,
}

impl<K, V> Default for ChunkMap<K, V> {
    fn default() -> Self {
        ChunkMap { chunks: Vec::new(), entries: 0 }
    }
}

/// Where a key is, or where it would be inserted.
enum Place {
    At(usize, usize),
    Before(usize, usize),
}

impl<K: Ord + Clone, V: Clone> ChunkMap<K, V> {
    /// The number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries
    }

    /// Whether there is no entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries == 0
    }

    /// The value of a key.
    #[must_use]
    pub fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        match self.place(key) {
            Place::At(chunk, slot) => Some(&self.chunks[chunk][slot].1),
            Place::Before(..) => None,
        }
    }

    /// Whether the key has a value.
    #[must_use]
    pub fn contains_key<Q: Ord + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        matches!(self.place(key), Place::At(..))
    }

    /// The value of a key, to be changed: clones its chunk if another map shares it.
    pub fn get_mut<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        match self.place(key) {
            Place::At(chunk, slot) => Some(&mut Arc::make_mut(&mut self.chunks[chunk])[slot].1),
            Place::Before(..) => None,
        }
    }

    /// Sets the value of a key and returns the one before.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        match self.place(&key) {
            Place::At(chunk, slot) => {
                let entry = &mut Arc::make_mut(&mut self.chunks[chunk])[slot].1;
                Some(std::mem::replace(entry, value))
            }
            Place::Before(chunk, slot) => {
                self.insert_before(chunk, slot, (key, value));
                None
            }
        }
    }

    /// Takes a key out and returns its value.
    pub fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let Place::At(chunk, slot) = self.place(key) else { return None };
        let entries = Arc::make_mut(&mut self.chunks[chunk]);
        let (_, value) = entries.remove(slot);
        if entries.is_empty() {
            self.chunks.remove(chunk);
        }
        self.entries -= 1;
        Some(value)
    }

    /// All entries in the order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.chunks.iter().flat_map(|chunk| chunk.iter()).map(|(key, value)| (key, value))
    }

    /// The entries from `key` on, that one included, in the order of their keys.
    pub fn iter_from<'a, Q: Ord + ?Sized>(
        &'a self,
        key: &Q,
    ) -> impl Iterator<Item = (&'a K, &'a V)> + use<'a, Q, K, V>
    where
        K: Borrow<Q>,
    {
        let (Place::At(chunk, slot) | Place::Before(chunk, slot)) = self.place(key);
        let first = self.chunks.get(chunk).map_or(&[][..], |entries| &entries[slot..]);
        let rest = self.chunks.get(chunk + 1..).unwrap_or(&[]).iter().flat_map(|entries| entries.iter());
        first.iter().chain(rest).map(|(key, value)| (key, value))
    }

    /// A key behind the last of its chunk belongs before the next chunk's first: that is the slot after the last.
    fn place<Q: Ord + ?Sized>(&self, key: &Q) -> Place
    where
        K: Borrow<Q>,
    {
        let after = self.chunks.partition_point(|entries| entries[0].0.borrow() <= key);
        let Some(chunk) = after.checked_sub(1) else { return Place::Before(0, 0) };
        match self.chunks[chunk].binary_search_by(|(other, _)| other.borrow().cmp(key)) {
            Ok(slot) => Place::At(chunk, slot),
            Err(slot) => Place::Before(chunk, slot),
        }
    }

    fn insert_before(&mut self, chunk: usize, slot: usize, entry: (K, V)) {
        self.entries += 1;
        let Some(entries) = self.chunks.get_mut(chunk) else {
            assert!(self.chunks.is_empty(), "only an empty map has no chunk to insert into");
            self.chunks.push(Arc::new(vec![entry]));
            return;
        };
        let entries = Arc::make_mut(entries);
        entries.insert(slot, entry);
        if entries.len() > CHUNK_ENTRIES_MAX {
            let upper = entries.split_off(entries.len() / 2);
            self.chunks.insert(chunk + 1, Arc::new(upper));
        }
    }
}

impl<K: Ord + Clone, V: Clone + PartialEq> PartialEq for ChunkMap<K, V> {
    /// Equal are maps of equal entries, however these are cut into chunks.
    fn eq(&self, other: &Self) -> bool {
        self.entries == other.entries && self.iter().eq(other.iter())
    }
}

impl<K: Ord + Clone + fmt::Debug, V: Clone + fmt::Debug> fmt::Debug for ChunkMap<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn check_invariants(map: &ChunkMap<u16, u32>) {
        assert!(map.chunks.iter().all(|entries| !entries.is_empty() && entries.len() <= CHUNK_ENTRIES_MAX));
        assert_eq!(map.chunks.iter().map(|entries| entries.len()).sum::<usize>(), map.entries);
        let keys: Vec<u16> = map.iter().map(|(key, _)| *key).collect();
        assert!(keys.windows(2).all(|pair| pair[0] < pair[1]), "{keys:?}");
    }

    proptest! {
        #[test]
        fn does_what_a_btree_map_does(steps in prop::collection::vec((0u16..700, any::<Option<u32>>()), 0..1500)) {
            let mut map = ChunkMap::default();
            let mut model = BTreeMap::new();
            for (key, value) in steps {
                match value {
                    Some(value) => prop_assert_eq!(map.insert(key, value), model.insert(key, value)),
                    None => prop_assert_eq!(map.remove(&key), model.remove(&key)),
                }
                prop_assert_eq!(map.get(&key), model.get(&key));
            }
            check_invariants(&map);
            prop_assert_eq!(map.len(), model.len());
            prop_assert!(map.iter().eq(model.iter()));
            for from in [0u16, 1, 63, 64, 128, 350, 699, 700] {
                prop_assert!(map.iter_from(&from).eq(model.range(from..)), "from {}", from);
            }
        }
    }

    #[test]
    fn a_copy_keeps_what_it_was_and_shares_the_rest() {
        let mut map = ChunkMap::default();
        for key in 0u16..1000 {
            map.insert(key, u32::from(key));
        }
        let before = map.clone();
        map.insert(500, 7);
        *map.get_mut(&501).expect("it was inserted") = 8;
        map.remove(&502);
        assert_eq!(before.get(&500), Some(&500));
        assert_eq!(before.get(&501), Some(&501));
        assert_eq!(before.get(&502), Some(&502));
        assert_eq!(before.len(), 1000);
        let shared =
            before.chunks.iter().filter(|chunk| map.chunks.iter().any(|c| Arc::ptr_eq(c, chunk))).count();
        assert!(shared + 2 >= before.chunks.len(), "{shared} of {} chunks are shared", before.chunks.len());
        assert!(map != before);
        check_invariants(&map);
    }

    #[test]
    fn equality_does_not_see_the_chunks() {
        let mut rising = ChunkMap::default();
        let mut falling = ChunkMap::default();
        for key in 0u16..400 {
            rising.insert(key, 0u32);
            falling.insert(399 - key, 0u32);
        }
        assert!(rising == falling);
        falling.insert(3, 1);
        assert!(rising != falling);
    }
}
