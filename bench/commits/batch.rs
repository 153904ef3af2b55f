//! What the measurements of commits append: one batch, made once.
//!
//! Belongs to the benches `commits` and `budget`.

use std::rc::Rc;

use ottla::ids::TimestampMs;
use ottla::protocol::records::{BatchBuilder, BatchHeader, NewRecord};

/// One batch of one record with a value of `bytes` bytes, and its header.
pub fn batch(bytes: usize) -> Rc<(Vec<u8>, BatchHeader)> {
    let value: Vec<u8> = (0..bytes).map(|at| (at * 31 % 251) as u8).collect();
    let mut builder = BatchBuilder::new();
    builder.append(&NewRecord { timestamp: TimestampMs(1_000), value: Some(&value), ..NewRecord::default() });
    let bytes = builder.build();
    let header = BatchHeader::parse(&bytes).expect("a batch");
    Rc::new((bytes, header))
}
