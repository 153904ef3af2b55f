//! What making a batch costs: the coordinators' records, the cleaner's output, and the load generator's payload.

use std::hint::black_box;

use ottla::protocol::compression::Codec;

use crate::batches;
use crate::suite::Suite;

pub fn measure(suite: &mut Suite) {
    let values = batches::values();
    suite.time("build of 16 × 1 KiB", || batches::build(black_box(&values), Codec::None));
}
