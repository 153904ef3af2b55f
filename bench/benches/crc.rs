//! What the checksum of a batch costs, small and large.

use std::hint::black_box;

use crate::suite::Suite;

pub fn measure(suite: &mut Suite) {
    for (question, bytes) in [("CRC of 128 B", 128), ("CRC of 16 KiB", 16 << 10), ("CRC of 1 MiB", 1 << 20)] {
        let buffer = vec![0x5a; bytes];
        suite.time(question, || crc32c::crc32c(black_box(&buffer)));
    }
}
