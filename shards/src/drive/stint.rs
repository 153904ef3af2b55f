//! How much of producers' records a shard looks at before its other tasks have a turn.
//!
//! A batch is checked to its last record where its bytes are in hand, and a few bytes of a request may be very many
//! when they are decompressed. Owned by the shard. What must hold: whoever comes when the stint is over waits for
//! the next one, which begins when every task that was ready had a turn; and the memory of a large batch is given
//! back then.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use ottla::protocol::compression::Decompressor;

use crate::host;

/// Bytes of one stint, decompressed ones among them: some milliseconds.
const STINT_BYTES: usize = 8 << 20;

/// A shard's stint, and what it decompresses with.
#[derive(Debug, Default)]
pub struct Stint {
    /// Bytes that were looked at.
    spent: Cell<usize>,
    decompressor: RefCell<Decompressor>,
}

impl Stint {
    /// Looks at `bytes` of records, and at what is decompressed of them.
    pub fn spend<T>(self: &Rc<Self>, bytes: usize, look: impl FnOnce(&mut Decompressor) -> T) -> T {
        let mut decompressor = self.decompressor.borrow_mut();
        let seen = look(&mut decompressor);
        let was_over = self.is_over();
        self.spent.set(self.spent.get().saturating_add(bytes + decompressor.take_produced()));
        if self.is_over() && !was_over {
            let stint = Rc::clone(self);
            host::spawn_detached(async move {
                host::yield_now().await;
                stint.decompressor.borrow_mut().rest();
                stint.spent.set(0);
            });
        }
        seen
    }

    /// Whether what comes now has to wait.
    pub fn is_over(&self) -> bool {
        self.spent.get() >= STINT_BYTES
    }

    /// Waits until the shard's other tasks had a turn, if the stint is over.
    pub async fn begun(&self) {
        while self.is_over() {
            host::yield_now().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use ottla::protocol::compression::{Codec, compress};

    use super::*;

    #[test]
    fn who_looked_at_much_gives_way() {
        host::run_local(async {
            let stint = Rc::new(Stint::default());
            let bomb = compress(Codec::Zstd, None, &vec![0; STINT_BYTES]);
            assert!(bomb.len() < 4096, "few bytes are many");
            let look = |decompressor: &mut Decompressor| {
                let seen = decompressor.decompress(Codec::Zstd, &bomb, STINT_BYTES).map(<[u8]>::len);
                assert_eq!(seen.ok(), Some(STINT_BYTES));
            };
            stint.spend(STINT_BYTES - 1, |_| ());
            assert!(!stint.is_over(), "a little more fits");
            stint.begun().await;
            stint.spend(bomb.len(), look);
            assert!(stint.is_over());
            let turns = Rc::new(Cell::new(0));
            let other = Rc::clone(&turns);
            host::spawn_detached(async move { other.set(1) });
            stint.begun().await;
            assert_eq!(turns.get(), 1, "others had a turn");
            let kept = stint.decompressor.borrow().kept_bytes();
            assert!(kept <= 1 << 20, "{kept} bytes are kept");
            // What was too much to be taken was looked at as well.
            stint.spend(0, |decompressor| {
                decompressor.decompress(Codec::Zstd, &bomb, STINT_BYTES - 1).expect_err("beyond the limit");
            });
            let spent = stint.spent.get();
            stint.spend(0, |decompressor| {
                let cut = &bomb[..bomb.len() - 1];
                decompressor.decompress(Codec::Zstd, cut, STINT_BYTES).expect_err("cut short");
            });
            assert!(stint.spent.get() >= spent);
        });
    }
}
