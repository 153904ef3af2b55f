//! Changes to a batch in place, what a leader writes into the bytes that a producer sent; and whole new batches.
//!
//! Offset and leader epoch stand outside the CRC, so an append stores them without touching the payload; an append
//! time is under the CRC, which is then computed anew. Every function takes one whole batch and asserts that a
//! header is there: a caller has parsed it before.

use super::header::{Attributes, BatchHeader, TimestampType, crc_of};
use super::{LENGTH_PREFIX_BYTES, MAGIC, at};
use crate::ids::{LeaderEpoch, Offset, TimestampMs};
use crate::limits::BATCH_HEADER_BYTES;

/// Stores the offset of the batch's first record.
pub fn set_base_offset(batch: &mut [u8], base_offset: Offset) {
    store(batch, at::BASE_OFFSET, base_offset.0.to_be_bytes());
}

/// Stores the epoch of the leader that appends the batch.
pub fn set_leader_epoch(batch: &mut [u8], epoch: LeaderEpoch) {
    store(batch, at::LEADER_EPOCH, epoch.0.to_be_bytes());
}

/// Marks the batch as carrying the broker's time, stores `now` as its max timestamp and renews the CRC.
///
/// The base timestamp and the records stay: readers take the max timestamp for every record of such a batch.
pub fn set_log_append_time(batch: &mut [u8], now: TimestampMs) {
    set_max_timestamp(batch, TimestampType::LogAppendTime, now);
}

/// Stores whose clock the batch carries and its latest time, and renews the CRC unless both were so already.
pub fn set_max_timestamp(batch: &mut [u8], timestamp_type: TimestampType, max: TimestampMs) {
    let old = Attributes(i16::from_be_bytes(load(batch, at::ATTRIBUTES)));
    let new = old.with_timestamp_type(timestamp_type);
    if new == old && i64::from_be_bytes(load(batch, at::MAX_TIMESTAMP)) == max.0 {
        return;
    }
    store(batch, at::ATTRIBUTES, new.0.to_be_bytes());
    store(batch, at::MAX_TIMESTAMP, max.0.to_be_bytes());
    set_crc(batch);
}

/// The batch of this header and this payload; length and CRC are those of the bytes, whatever the header says.
///
/// `None` where the batch would pass 2 GiB, which its length could not say.
#[must_use]
pub fn assemble(header: &BatchHeader, payload: &[u8]) -> Option<Vec<u8>> {
    let bytes = BATCH_HEADER_BYTES.checked_add(payload.len())?;
    let length = i32::try_from(bytes - LENGTH_PREFIX_BYTES).ok()?;
    let mut batch = Vec::with_capacity(bytes);
    batch.extend_from_slice(&header.base_offset.0.to_be_bytes());
    batch.extend_from_slice(&length.to_be_bytes());
    batch.extend_from_slice(&header.partition_leader_epoch.0.to_be_bytes());
    batch.extend_from_slice(&MAGIC.to_be_bytes());
    batch.extend_from_slice(&[0; 4]);
    batch.extend_from_slice(&header.attributes.0.to_be_bytes());
    batch.extend_from_slice(&header.last_offset_delta.to_be_bytes());
    batch.extend_from_slice(&header.base_timestamp.0.to_be_bytes());
    batch.extend_from_slice(&header.max_timestamp.0.to_be_bytes());
    batch.extend_from_slice(&header.producer_id.0.to_be_bytes());
    batch.extend_from_slice(&header.producer_epoch.0.to_be_bytes());
    batch.extend_from_slice(&header.base_sequence.to_be_bytes());
    batch.extend_from_slice(&header.record_count.to_be_bytes());
    assert_eq!(batch.len(), BATCH_HEADER_BYTES, "the header is of its fixed length");
    batch.extend_from_slice(payload);
    set_crc(&mut batch);
    Some(batch)
}

/// Computes the CRC of the batch as it now stands and stores it.
pub fn set_crc(batch: &mut [u8]) {
    assert!(batch.len() >= BATCH_HEADER_BYTES, "a batch begins with a whole header");
    let crc = crc_of(batch);
    store(batch, at::CRC, crc.to_be_bytes());
}

fn store<const N: usize>(batch: &mut [u8], from: usize, value: [u8; N]) {
    assert!(batch.len() >= BATCH_HEADER_BYTES, "a batch begins with a whole header");
    batch[from..from + N].copy_from_slice(&value);
}

fn load<const N: usize>(batch: &[u8], from: usize) -> [u8; N] {
    assert!(batch.len() >= BATCH_HEADER_BYTES, "a batch begins with a whole header");
    batch[from..from + N].try_into().expect("a range of N bytes is an array of N")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::records::header::crc_is_valid;

    fn batch() -> Vec<u8> {
        let mut batch = vec![0; 70];
        batch[11] = 58;
        batch[16] = 2;
        set_crc(&mut batch);
        batch
    }

    #[test]
    fn offset_and_epoch_leave_the_crc_alone() {
        let mut batch = batch();
        let crc = BatchHeader::parse(&batch).expect("a header").crc;
        set_base_offset(&mut batch, Offset(0x0102_0304_0506_0708));
        set_leader_epoch(&mut batch, LeaderEpoch(9));
        let header = BatchHeader::parse(&batch).expect("a header");
        assert_eq!(header.base_offset, Offset(0x0102_0304_0506_0708));
        assert_eq!(header.partition_leader_epoch, LeaderEpoch(9));
        assert_eq!(header.crc, crc);
        assert!(crc_is_valid(&batch));
    }

    #[test]
    fn an_append_time_renews_the_crc() {
        let mut batch = batch();
        let before = BatchHeader::parse(&batch).expect("a header");
        set_log_append_time(&mut batch, TimestampMs(1_700_000_000_000));
        let after = BatchHeader::parse(&batch).expect("a header");
        assert_eq!(after.attributes.timestamp_type(), TimestampType::LogAppendTime);
        assert_eq!(after.max_timestamp, TimestampMs(1_700_000_000_000));
        assert_eq!(after.base_timestamp, before.base_timestamp);
        assert_ne!(after.crc, before.crc);
        assert!(crc_is_valid(&batch));
        set_max_timestamp(&mut batch, TimestampType::CreateTime, TimestampMs(0));
        assert_eq!(BatchHeader::parse(&batch).expect("a header"), before);
    }
}
