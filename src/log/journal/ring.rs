//! The room of a journal: where the next frame goes, and which frames are still needed.
//!
//! Plain numbers, owned by one shard's journal. A frame is needed until every entry in it is durable in its segment;
//! the room of needed frames, and of those that stand between them, is never given out again. A frame lies in one
//! piece: where the end of the ring is too near, the ring goes on at its start.
//!
//! What must hold: no two frames that are needed share a block; sequence numbers have no gap; the oldest needed frame
//! never goes back.

use std::collections::VecDeque;

/// The place of a frame that is to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reserved {
    /// Its number.
    pub sequence: u64,
    /// The oldest frame that is needed, this one included.
    pub oldest: u64,
    /// Its first block, counted from the start of the ring.
    pub block: u64,
}

#[derive(Clone, Copy, Debug)]
struct Held {
    block: u64,
    /// Entries that are not in their segments.
    needed: u32,
}

/// The room of a ring of blocks.
#[derive(Clone, Debug)]
pub struct Ring {
    blocks: u64,
    /// Where the next frame goes if it fits.
    head: u64,
    /// From the oldest needed frame on.
    frames: VecDeque<Held>,
    next_sequence: u64,
}

impl Ring {
    /// An empty ring of `blocks` blocks.
    #[must_use]
    pub fn new(blocks: u64) -> Ring {
        assert!(blocks > 0, "a ring has room");
        Ring { blocks, head: 0, frames: VecDeque::new(), next_sequence: 1 }
    }

    /// Blocks of the ring.
    #[must_use]
    pub fn blocks(&self) -> u64 {
        self.blocks
    }

    /// Blocks that are not free.
    #[must_use]
    pub fn used_blocks(&self) -> u64 {
        match self.frames.front() {
            None => 0,
            Some(oldest) if self.head > oldest.block => self.head - oldest.block,
            Some(oldest) => self.blocks - oldest.block + self.head,
        }
    }

    /// The number of the oldest frame that is needed; that of the next one where none is.
    #[must_use]
    pub fn oldest(&self) -> u64 {
        self.next_sequence - self.frames.len() as u64
    }

    /// The number that the next frame will have.
    #[must_use]
    pub fn next_sequence(&self) -> u64 {
        self.next_sequence
    }

    /// Whether no frame is needed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// A place for a frame of `blocks` blocks with `entries` entries; `None` where there is none.
    pub fn reserve(&mut self, blocks: u64, entries: u32) -> Option<Reserved> {
        assert!(blocks > 0, "a frame has a block");
        assert!(entries > 0, "a frame has an entry");
        let block = match self.frames.front().map(|oldest| oldest.block) {
            None if self.head + blocks <= self.blocks => self.head,
            None if blocks <= self.blocks => 0,
            Some(oldest) if self.head > oldest && self.head + blocks <= self.blocks => self.head,
            Some(oldest) if self.head > oldest && blocks <= oldest => 0,
            Some(oldest) if self.head <= oldest && self.head + blocks <= oldest => self.head,
            None | Some(_) => return None,
        };
        self.head = block + blocks;
        self.frames.push_back(Held { block, needed: entries });
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        Some(Reserved { sequence, oldest: self.oldest(), block })
    }

    /// Notes that `entries` entries of the frame are not needed any more.
    pub fn release(&mut self, sequence: u64, entries: u32) {
        let oldest = self.oldest();
        assert!(sequence >= oldest, "a needed frame is held");
        let index = usize::try_from(sequence - oldest).expect("as many as there are blocks");
        let held = self.frames.get_mut(index).expect("a frame that was reserved");
        assert!(held.needed >= entries, "an entry is released once");
        held.needed -= entries;
        while self.frames.front().is_some_and(|frame| frame.needed == 0) {
            self.frames.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn needed_frames_never_share_a_block(
            blocks in 1_u64..40,
            steps in proptest::collection::vec((1_u64..12, 1_u32..4, any::<bool>(), any::<u16>()), 1..300),
        ) {
            let mut ring = Ring::new(blocks);
            let mut needed: BTreeMap<u64, (u64, u64, u32)> = BTreeMap::new();
            let mut last = 0;
            for (size, entries, reserve, pick) in steps {
                if reserve {
                    let before = ring.oldest();
                    let Some(reserved) = ring.reserve(size, entries) else {
                        prop_assert!(!needed.is_empty() || size > blocks, "an empty ring has room");
                        continue;
                    };
                    prop_assert_eq!(reserved.sequence, last + 1);
                    last = reserved.sequence;
                    prop_assert!(reserved.block + size <= blocks);
                    for (block, size_of, _) in needed.values() {
                        prop_assert!(reserved.block + size <= *block || block + size_of <= reserved.block);
                    }
                    needed.insert(reserved.sequence, (reserved.block, size, entries));
                    prop_assert_eq!(reserved.oldest, *needed.keys().next().expect("this one"));
                    prop_assert!(reserved.oldest >= before);
                } else if !needed.is_empty() {
                    let keys: Vec<u64> = needed.keys().copied().collect();
                    let sequence = keys[usize::from(pick) % keys.len()];
                    ring.release(sequence, 1);
                    let held = needed.get_mut(&sequence).expect("it is needed");
                    held.2 -= 1;
                    if held.2 == 0 {
                        needed.remove(&sequence);
                    }
                }
                let oldest = needed.keys().next().copied().unwrap_or(last + 1);
                prop_assert_eq!(ring.oldest(), oldest);
                prop_assert_eq!(ring.is_empty(), needed.is_empty());
                let taken: u64 = needed.values().map(|(_, size, _)| size).sum();
                prop_assert!(ring.used_blocks() >= taken && ring.used_blocks() <= blocks);
            }
        }
    }

    #[test]
    fn a_ring_is_filled_to_its_last_block_and_goes_round() {
        let mut ring = Ring::new(10);
        for sequence in 1..=5 {
            assert_eq!(ring.reserve(2, 1).map(|reserved| reserved.sequence), Some(sequence));
        }
        assert_eq!((ring.used_blocks(), ring.reserve(1, 1)), (10, None));
        ring.release(2, 1);
        assert_eq!(ring.reserve(1, 1), None, "the oldest is needed");
        ring.release(1, 1);
        assert_eq!(ring.used_blocks(), 6);
        assert_eq!(ring.reserve(4, 1), Some(Reserved { sequence: 6, oldest: 3, block: 0 }));
        assert_eq!(ring.used_blocks(), 10);
    }
}
