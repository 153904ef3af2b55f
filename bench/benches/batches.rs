//! The record batches that the questions are asked of: 16 records of 1 KiB, of which half compresses away.

use ottla::ids::TimestampMs;
use ottla::protocol::compression::Codec;
use ottla::protocol::records::{BatchBuilder, BatchHeader, NewRecord};

/// The records' time.
pub const NOW: TimestampMs = TimestampMs(1_700_000_000_000);
/// Records of a batch.
pub const RECORDS: usize = 16;
const RECORD_BYTES: usize = 1024;

/// The values of a batch: half of each is random, the other half one letter.
pub fn values() -> Vec<Vec<u8>> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    let mut value = || (0..RECORD_BYTES).map(|at| if at % 64 < 32 { random() } else { b'o' }).collect();
    (0..RECORDS).map(|_| value()).collect()
}

/// A batch of these values.
pub fn build(values: &[Vec<u8>], codec: Codec) -> Vec<u8> {
    let mut builder = BatchBuilder::new().compression(codec, None);
    for value in values {
        builder.append(&NewRecord { timestamp: NOW, key: None, value: Some(value), headers: &[] });
    }
    builder.build()
}

/// A batch's header.
pub fn header(batch: &[u8]) -> BatchHeader {
    BatchHeader::parse(batch).expect("the builder made it")
}
