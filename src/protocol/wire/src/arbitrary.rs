//! Random messages for tests: every field that a version has, filled from one seed.

use std::borrow::Cow;

use crate::uuid::Uuid;

/// A value that can be made at random in a version of its message.
pub trait Arbitrary {
    /// Makes one. The same generator state makes the same value.
    fn arbitrary(rng: &mut Rng, version: i16) -> Self;
}

/// SplitMix64: small, and good enough to fill fields.
#[derive(Clone, Debug)]
pub struct Rng {
    state: u64,
    depth: u32,
}

impl Rng {
    /// From a seed.
    pub fn new(seed: u64) -> Rng {
        Rng { state: seed, depth: 0 }
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`, which is not zero.
    pub fn below(&mut self, n: u64) -> u64 {
        self.bits() % n
    }

    /// An integer: often a small or an extreme one.
    fn integer(&mut self) -> u64 {
        match self.below(8) {
            0 => 0,
            1 => u64::MAX,
            2 => 1,
            3 => 0x8000_8000_8000_8080,
            4 => 0x7fff_7fff_7fff_ff7f,
            _ => self.bits(),
        }
    }

    /// Any truth value.
    pub fn bool(&mut self) -> bool {
        self.bits() & 1 == 1
    }
    /// Any integer of its type.
    pub fn i8(&mut self) -> i8 {
        self.integer() as i8
    }
    /// Any integer of its type.
    pub fn i16(&mut self) -> i16 {
        self.integer() as i16
    }
    /// Any integer of its type.
    pub fn u16(&mut self) -> u16 {
        self.integer() as u16
    }
    /// Any integer of its type.
    pub fn i32(&mut self) -> i32 {
        self.integer() as i32
    }
    /// Any integer of its type.
    pub fn u32(&mut self) -> u32 {
        self.integer() as u32
    }
    /// Any integer of its type.
    pub fn i64(&mut self) -> i64 {
        self.integer() as i64
    }
    /// A finite number: a value must equal itself.
    pub fn f64(&mut self) -> f64 {
        self.i32() as f64 / 8.0
    }
    /// Any id, sometimes that of none.
    pub fn uuid(&mut self) -> Uuid {
        if self.below(4) == 0 {
            return Uuid::ZERO;
        }
        let (high, low) = (self.bits(), self.bits());
        Uuid((u128::from(high) << 64 | u128::from(low)).to_be_bytes())
    }

    fn len(&mut self) -> u64 {
        match self.below(16) {
            0 => 120 + self.below(16),
            1 => 250 + self.below(20),
            _ => self.below(12),
        }
    }

    /// A string, not always of ASCII.
    pub fn text(&mut self) -> Cow<'static, str> {
        let len = self.len();
        let letters = ['a', 'b', 'Z', '0', '-', '.', 'ä', '字'];
        Cow::Owned((0..len).map(|_| letters[self.below(letters.len() as u64) as usize]).collect())
    }

    /// Some bytes.
    pub fn bytes(&mut self) -> Cow<'static, [u8]> {
        let len = self.len();
        Cow::Owned((0..len).map(|_| self.bits() as u8).collect())
    }

    /// Null one time in four.
    pub fn maybe<T>(&mut self, make: impl FnOnce(&mut Rng) -> T) -> Option<T> {
        if self.below(4) == 0 { None } else { Some(make(self)) }
    }

    /// An array: none to three elements, fewer deeper inside.
    pub fn many<T>(&mut self, mut make: impl FnMut(&mut Rng) -> T) -> Vec<T> {
        let most = 4u64.saturating_sub(u64::from(self.depth / 2)).max(2);
        let count = self.below(most);
        self.depth += 1;
        let values = (0..count).map(|_| make(self)).collect();
        self.depth -= 1;
        values
    }
}
