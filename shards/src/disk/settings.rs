//! What bounds one shard's use of memory, descriptors and disk: plain numbers, fixed at start.
//!
//! Boot divides what the process may use among its shards; the defaults suit one shard of a small broker.

use std::time::Duration;

/// Which way small commits take to the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum JournalUse {
    /// Through the journal when several partitions commit at the same time, else into their segments.
    #[default]
    Auto,
    /// Through the journal whenever it takes them; for tests and measurements.
    Always,
    /// Into their segments.
    Never,
}

/// The budgets of one shard.
#[derive(Clone, Debug)]
pub struct DiskSettings {
    /// Bytes that were appended and are not on disk, over all partitions: beyond it appends wait.
    pub unflushed_bytes_max: usize,
    /// Bytes of written chunks that stay in memory for readers, over all partitions; the oldest go first.
    pub cache_bytes_max: usize,
    /// A written chunk that is this old goes even when there is room, so that an idle broker is a small one.
    pub cache_idle: Duration,
    /// Bytes that writes of segments may have in flight.
    pub write_bytes_in_flight_max: usize,
    /// Partitions that may have a flush in flight.
    pub flushes_in_flight_max: usize,
    /// Segment files that stay open.
    pub open_files_max: usize,
    /// Segment files that one answer may hold: it waits for the next with those in hand, and others do the same.
    pub files_of_answer_max: usize,
    /// Bytes of index entries of closed segments that stay in memory.
    pub index_cache_bytes_max: usize,
    /// Bytes that may be zeroed ahead of the logs' ends.
    pub zeroed_bytes_max: u64,
    /// Which way small commits take.
    pub journal: JournalUse,
    /// Bytes of the journal of each log dir. It also bounds what is on disk there and not in its segment.
    pub journal_bytes: u64,
    /// Small commits that have to be under way at once for the journal to take them.
    pub journal_commits_min: usize,
    /// Segments that are written from the journal's backlog at once.
    pub write_backs_in_flight_max: usize,
    /// Closed segments that are finished at once.
    pub finished_together_max: usize,
    /// `log.flush.offset.checkpoint.interval.ms`: the longest that a change waits for its checkpoint.
    pub checkpoint_interval: Duration,
    /// A checkpoint is made before this much was written since the last: it bounds what a start after a crash scans.
    pub checkpoint_bytes: u64,
    /// How long a relaxed partition's records wait for a write when neither `flush.ms` nor size asks for one.
    pub relaxed_flush: Duration,
    /// How long to wait before a write that met a full disk is tried again.
    pub full_retry: Duration,
    /// Partitions that are loaded at once.
    pub loads_in_flight_max: usize,
    /// Partitions that are created, checkpointed, closed or deleted at once.
    pub together_max: usize,
}

impl Default for DiskSettings {
    fn default() -> DiskSettings {
        DiskSettings {
            unflushed_bytes_max: 64 << 20,
            cache_bytes_max: 64 << 20,
            cache_idle: Duration::from_secs(10),
            write_bytes_in_flight_max: 8 << 20,
            flushes_in_flight_max: 64,
            open_files_max: 4_096,
            files_of_answer_max: 512,
            index_cache_bytes_max: 16 << 20,
            zeroed_bytes_max: 256 << 20,
            journal: JournalUse::Auto,
            journal_bytes: 16 << 20,
            journal_commits_min: 8,
            write_backs_in_flight_max: 16,
            finished_together_max: 4,
            checkpoint_interval: Duration::from_secs(60),
            checkpoint_bytes: 256 << 20,
            relaxed_flush: Duration::from_secs(1),
            full_retry: Duration::from_secs(1),
            loads_in_flight_max: 64,
            together_max: 64,
        }
    }
}
