//! What Kafka's clients and disks agree on: record batches and their compression.
//!
//! The requests and responses themselves are generated ([`crate::wire`]); here stands what they carry opaquely.
//! Everything is a function of bytes, so no shard owns any of it, and nothing here allocates from a number that a
//! peer wrote.

pub mod compression;
pub mod records;
