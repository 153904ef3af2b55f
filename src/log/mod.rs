//! One partition's log as arithmetic: what is appended where, read from where, kept how long, and recovered how.
//!
//! Each [`Log`] belongs to its partition's owner shard. No file is touched here: the shell in `shards/` writes what
//! [`Appended`] and [`Roll`] say, reads what a plan names, and feeds bytes back. The bytes on disk are Kafka's own,
//! so that its tools read our directories and a start needs nothing but them.
//!
//! | module | decides |
//! |---|---|
//! | [`files`] | names of directories and files, `partition.metadata` |
//! | [`offset_index`], [`time_index`], [`txn_index`] | the three indexes of a segment |
//! | [`leader_epochs`] | which epoch wrote which offsets, and its checkpoint |
//! | [`producer_entry`], [`producers`], [`producer_snapshot`] | duplicates, gaps, fencing, open transactions |
//! | [`segment`], [`tail`] | when to roll; where the newest batches are |
//! | [`partition_log`], [`append`], [`read`] | offsets, appends and reads of the whole |
//! | [`timestamp`], [`aborted`] | which offset a timestamp has; which transactions a reader skips |
//! | [`retention`] | what goes: by age, by bytes, before the log start offset |
//! | [`cleaner`], [`replace`] | what compaction leaves of a log, and its place in it |
//! | [`journal`] | small durable writes of many partitions as one, and their way into the segments after a crash |
//! | [`recovery`], [`damage`], [`load`] | what of a segment counts, what was lost, and a start from the files |
//!
//! What the shell owes the core, besides doing what it is told: an offset is marked durable when its bytes are; a
//! recovery point is written after everything that a start from there reads; a reply waits for the offset that it
//! names, a duplicate's too; nothing stands behind the end of a log that a start would take for a batch.

pub mod aborted;
pub mod append;
pub mod cleaner;
pub mod config;
pub mod damage;
pub mod files;
pub mod journal;
pub mod leader_epochs;
pub mod load;
pub mod offset_index;
pub mod partition_log;
pub mod producer_entry;
pub mod producer_snapshot;
pub mod producers;
pub mod read;
pub mod recovery;
pub mod replace;
pub mod restore;
pub mod retention;
pub mod segment;
pub mod sparse_index;
pub mod tail;
pub mod time_index;
pub mod timestamp;
pub mod txn_index;

#[cfg(test)]
mod testing;

pub use append::{AppendError, AppendOutcome, Appended, NewBatch, Prepared, PreparedAppend, Roll};
pub use config::LogConfig;
pub use leader_epochs::{EpochEndOffset, LeaderEpochs};
pub use offset_index::{OffsetIndex, OffsetPosition};
pub use partition_log::{Log, LogOffsets};
pub use producers::{AppendOrigin, DuplicateBatch, Producers, TransactionCheck};
pub use read::{BatchWalk, ReadError, ReadPlan, ReadRequest, ReadSlice, WalkPlan, WalkStep};
pub use segment::{ActiveSegment, ClosedSegment, LogPosition, SegmentIndexes};
pub use sparse_index::CorruptIndex;
pub use time_index::{TimeIndex, TimestampOffset};
pub use txn_index::{AbortedTransaction, TransactionIndex};
