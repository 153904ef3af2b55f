//! What a produced batch costs before it may enter the log: its CRC, its records, its compression.

use std::hint::black_box;

use ottla::protocol::compression::{Codec, Decompressor};
use ottla::protocol::records::{TimestampType, ValidationPolicy, validate};

use crate::batches::{self, NOW};
use crate::suite::Suite;

fn policy() -> ValidationPolicy {
    ValidationPolicy {
        compacted: false,
        timestamp_type: TimestampType::CreateTime,
        before_max_ms: i64::MAX,
        after_max_ms: 3_600_000,
        max_message_bytes: 1024 * 1024 + 12,
        compression: None,
        now: NOW,
        zstd_allowed: true,
    }
}

pub fn measure(suite: &mut Suite) {
    let policy = policy();
    for (question, codec) in
        [("validation of 16 × 1 KiB", Codec::None), ("validation of 16 × 1 KiB in lz4", Codec::Lz4)]
    {
        let batch = batches::build(&batches::values(), codec);
        let mut scratch = Decompressor::new();
        assert!(validate(&policy, &batch, &mut scratch).is_ok(), "what is measured works");
        suite.time(question, || validate(&policy, black_box(&batch), &mut scratch).is_ok());
    }
    let small = batches::build(&[vec![b'o'; 100]], Codec::None);
    let mut scratch = Decompressor::new();
    assert!(validate(&policy, &small, &mut scratch).is_ok(), "what is measured works");
    suite.time("validation of 1 × 100 B", || validate(&policy, black_box(&small), &mut scratch).is_ok());
}
