//! Kafka's record batches, magic 2: the unit that producers send, that disks hold and that consumers fetch.
//!
//! A batch is a header of 61 bytes and a payload of records, which may be compressed. The log reads and writes
//! headers alone ([`header`], [`edit`]); whoever needs the records themselves walks them with [`record`] or makes
//! them with [`builder`]. The layout is that of Kafka's `DefaultRecordBatch`; every number is big-endian:
//!
//! | at | bytes | field | under the CRC |
//! |---|---|---|---|
//! | 0 | 8 | base offset | no |
//! | 8 | 4 | length of everything behind this field | no |
//! | 12 | 4 | partition leader epoch | no |
//! | 16 | 1 | magic, 2 | no |
//! | 17 | 4 | CRC-32C of byte 21 to the end | no |
//! | 21 | 2 | attributes | yes |
//! | 23 | 4 | last offset delta | yes |
//! | 27 | 8 | base timestamp | yes |
//! | 35 | 8 | max timestamp | yes |
//! | 43 | 8 | producer id | yes |
//! | 51 | 2 | producer epoch | yes |
//! | 53 | 4 | base sequence | yes |
//! | 57 | 4 | record count | yes |
//! | 61 | | the records | yes |

pub mod builder;
pub mod control;
pub mod edit;
#[cfg(test)]
mod fixtures;
pub mod header;
pub mod iter;
pub mod record;
pub mod validate;
mod varint;

pub use builder::{BatchBuilder, NewRecord};
pub use control::{ControlRecordType, EndTransactionMarker};
pub use header::{Attributes, BatchError, BatchHeader, TimestampType, crc_is_valid, peek_batch_bytes};
pub use iter::{Batch, BatchIter};
pub use record::{Record, RecordError, RecordHeader, RecordIter};
pub use validate::{InvalidBatch, InvalidRecord, Recompression, Validated, ValidationPolicy, validate};

/// Where the fields of the header stand, in bytes from the start of the batch.
pub(crate) mod at {
    pub const BASE_OFFSET: usize = 0;
    pub const LENGTH: usize = 8;
    pub const LEADER_EPOCH: usize = 12;
    pub const MAGIC: usize = 16;
    pub const CRC: usize = 17;
    pub const ATTRIBUTES: usize = 21;
    pub const LAST_OFFSET_DELTA: usize = 23;
    pub const BASE_TIMESTAMP: usize = 27;
    pub const MAX_TIMESTAMP: usize = 35;
    pub const PRODUCER_ID: usize = 43;
    pub const PRODUCER_EPOCH: usize = 51;
    pub const BASE_SEQUENCE: usize = 53;
    pub const RECORD_COUNT: usize = 57;
}

/// Bytes of the base offset and the length: what the length itself does not count.
pub const LENGTH_PREFIX_BYTES: usize = 12;

/// The only batch format that is written or accepted (KIP-98); Kafka 4 dropped 0 and 1 (KIP-724).
pub const MAGIC: i8 = 2;
