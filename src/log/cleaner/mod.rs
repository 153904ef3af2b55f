//! Compaction: which log is cleaned next, how far, and what of each batch stays.
//!
//! Owned by the partition's owner shard, as its log is. Nothing here reads or writes: [`Cleaning`] names what the
//! shell has to read or write next, as the start of a log does, and what comes out is one cleaned segment after the
//! other, each to be swapped in before the next one is begun. The rules are those of Kafka's `LogCleaner` and
//! `LogCleanerManager`, and KIP-534 for tombstones and markers.
//!
//! | module | decides |
//! |---|---|
//! | [`dirty`] | what of a log is dirty, what may be cleaned, and which log is the dirtiest |
//! | [`offset_map`] | the last offset of each key, in memory that never grows |
//! | [`transactions`] | whose records were aborted, and which markers still have records |
//! | [`filter`] | what of one batch stays, and in which bytes |
//! | [`groups`] | which segments become one |
//! | [`pass`] | one cleaning of one log from its first dirty offset on |
//! | [`swap`] | how a start finishes a swap that a crash has interrupted |
//! | [`throttle`] | the bytes per second of all cleanings together |
//!
//! What must hold: a record goes only if a later record of its key stays behind it, if it is a tombstone whose delete
//! horizon has passed, if its transaction was aborted, or if it has no key; offsets never change; the last batch of
//! each producer and of what is cleaned stays, empty if need be; a batch that is not as it was written ends the
//! cleaning, and nothing that was swapped in before is lost by that.

pub mod dirty;
pub mod filter;
pub mod groups;
pub mod offset_map;
pub mod pass;
pub mod swap;
pub mod throttle;
pub mod transactions;

pub use dirty::{Cleanable, DirtyLook};
pub use filter::LastRecord;
pub use offset_map::{MapBounds, OffsetMap};
pub use pass::{CleanError, CleanStep, CleanedGroup, CleanerStats, Cleaning, CleaningInput};
pub use swap::{SwapPlan, SwapSegment};
pub use throttle::Throttle;

#[cfg(test)]
mod tests;
