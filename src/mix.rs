//! Spreading the bits of a number: for tables and for numbers that only have to look random.

/// One step of SplitMix64's output function: mixes all bits of a number into all bits of the result, each of which
/// comes from one number alone.
#[must_use]
pub const fn mix(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}
