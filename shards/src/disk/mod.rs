//! The disk: from an append to "on disk", back to readers, and over restarts.
//!
//! | module | does |
//! |---|---|
//! | [`dirs`] | log directories: lock, probe, checkpoints, going offline; shared by all shards |
//! | [`shard_disk`], [`settings`] | what the partitions of one shard share, and its bounds |
//! | [`partition`] | one partition: append, read, search, roll, delete, close |
//! | [`tail`] | a segment's bytes in memory: pending, being written, kept for readers |
//! | [`flush`] | group commit: pending bytes to disk, many partitions at a time |
//! | [`journal`] | small commits of many partitions as one write |
//! | [`prealloc`] | zeroing ahead of busy segments |
//! | [`checkpoint`] | index files, snapshots and recovery points |
//! | [`left`] | what a clean stop has left, and whether it is still there |
//! | [`recover`] | making partitions and loading them after a stop or a crash |
//! | [`compact`] | compaction: cleaned segments, their swap, and its end after a crash |
//! | [`clean`], [`offsets_file`] | the formats of the clean archive and of Kafka's offset checkpoints |
//! | [`cache`], [`fds`], [`index_cache`] | what stays in memory or open, and for how long |
//! | [`pace`] | how background work leaves the disk to commits |
//! | [`told`] | what is said of damage, once in a while |
//! | [`patient`] | waiting for a descriptor when there is none |
//! | [`watch`] | waiting for a durable end or a high watermark |
//!
//! The path of a batch: [`Partition::append`](partition::Partition::append) copies it into the tail and queues the
//! partition; the [`flush`] queue has it written, to its segment or to the [`journal`]; then the durable
//! end passes it, the high watermark follows, and both wake who waits:
//! an acknowledgement in [`Partition::wait_acknowledged`](partition::Partition::wait_acknowledged), a long
//! poll in [`Partition::subscribe`](partition::Partition::subscribe).

pub mod cache;
pub mod checkpoint;
pub mod clean;
pub mod compact;
pub mod dirs;
pub mod error;
pub mod fds;
pub mod flush;
pub mod index_cache;
pub mod journal;
pub mod left;
pub mod offsets_file;
pub mod pace;
pub mod partition;
pub mod patient;
pub mod prealloc;
pub mod recover;
pub mod settings;
pub mod shard_disk;
pub mod tail;
pub mod told;
pub mod watch;

pub use dirs::{Found, LogDir, LogDirs, OffsetsKind, OpenError};
pub use error::{DiskError, IoFailure};
pub use left::Changes;
pub use partition::append::{AppendFailure, AppendedBatch};
pub use partition::read::{Read, Slice};
pub use partition::{CommitSpan, Partition};
pub use recover::{LoadedPartition, OpenWith, Synced};
pub use settings::{DiskSettings, JournalUse};
pub use shard_disk::ShardDisk;

#[cfg(all(test, not(feature = "sim")))]
pub(crate) mod tests;
