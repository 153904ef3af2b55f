//! What each codec costs for 16 KiB of records, half of which compress away.

use std::hint::black_box;

use ottla::protocol::compression::{Codec, Decompressor, compress};

use crate::batches;
use crate::suite::Suite;

const LIMIT: usize = 1 << 20;

pub fn measure(suite: &mut Suite) {
    let input = batches::values().concat();
    for codec in Codec::ALL.into_iter().filter(|codec| *codec != Codec::None) {
        let name = codec.name();
        suite.time(&format!("{name}, compress 16 KiB"), || compress(codec, None, black_box(&input)));
        let packed = compress(codec, None, &input);
        let mut scratch = Decompressor::new();
        let same = scratch.decompress(codec, &packed, LIMIT).is_ok_and(|output| *output == *input);
        assert!(same && packed.len() < input.len(), "what is measured works");
        suite.time(&format!("{name}, decompress 16 KiB"), || {
            scratch.decompress(codec, black_box(&packed), LIMIT).is_ok()
        });
    }
}
