//! A log put back together from a note of how it was left, without a look at any file.
//!
//! Owned by the partition's owner shard. The shell writes the note at a clean stop and checks that it is the right one;
//! what stands in it is what [`Log`] said of itself. A note that contradicts itself is refused, and the log is loaded
//! from its files instead.

use std::collections::BTreeSet;

use super::config::LogConfig;
use super::leader_epochs::LeaderEpochs;
use super::partition_log::Log;
use super::producer_snapshot::decode_snapshot;
use super::producers::Producers;
use super::segment::{ActiveSegment, ClosedSegment, ResumedSegment};
use crate::ids::Offset;
use crate::time::Monotonic;

/// How a log was left by a clean stop.
#[derive(Clone, Debug)]
pub struct LeftLog {
    /// The log start offset.
    pub log_start_offset: Offset,
    /// The log end offset, all of it on disk.
    pub log_end_offset: Offset,
    /// The high watermark, for a log with followers; `None` for one without.
    pub high_watermark: Option<Offset>,
    /// The closed segments, oldest first.
    pub closed: Vec<ClosedSegment>,
    /// The base offset of the active segment.
    pub active_base: Offset,
    /// The active segment, its indexes with at least their last entries.
    pub active: ResumedSegment,
    /// The leader epochs.
    pub epochs: LeaderEpochs,
    /// The producer snapshot at the log's end.
    pub producers: Vec<u8>,
    /// The offsets of the snapshots on disk.
    pub snapshots: BTreeSet<Offset>,
    /// A random number, for `segment.jitter.ms`.
    pub jitter_seed: u64,
}

impl LeftLog {
    /// Whether the parts fit together.
    fn is_consistent(&self) -> bool {
        let bases = self.closed.iter().map(|segment| segment.base_offset);
        let bases: Vec<_> = bases.chain(std::iter::once(self.active_base)).collect();
        let rising = bases.windows(2).all(|pair| pair[0] < pair[1]);
        let indexes = &self.active.indexes;
        let known_ends = |len: usize, last: bool| len == 0 || last;
        rising
            && bases[0].0 >= 0
            && self.active_base <= self.log_end_offset
            && self.log_start_offset <= self.log_end_offset
            && self.log_start_offset >= bases[0]
            && self.high_watermark.is_none_or(|mark| mark <= self.log_end_offset)
            && known_ends(indexes.offsets.len(), indexes.offsets.last_entry().is_some())
            && known_ends(indexes.times.len(), indexes.times.last_entry().is_some())
    }
}

impl Log {
    /// The log that was left so; `None` where the note contradicts itself.
    #[must_use]
    pub fn restore(config: LogConfig, left: LeftLog, now: Monotonic) -> Option<Log> {
        let producers = decode_snapshot(&left.producers, now).ok()?;
        if !left.is_consistent() {
            return None;
        }
        let (start, end) = (left.log_start_offset, left.log_end_offset);
        let mut log = Log::new(config, start, left.jitter_seed, now);
        log.closed = left.closed.into();
        let active = ActiveSegment::resume(left.active_base, left.active, now);
        log.active = active.with_index_bytes_max(log.config.segment_index_bytes);
        log.log_end_offset = end;
        log.durable_end_offset = end;
        log.recovery_point = end;
        log.replicated = left.high_watermark.is_some();
        log.high_watermark = left.high_watermark.unwrap_or(end).max(start);
        log.leader_epoch = left.epochs.latest_epoch();
        log.epochs = left.epochs;
        log.producers = Producers::from_snapshot(producers, end, log.config.producers_max);
        log.producers.on_high_watermark(log.high_watermark);
        log.snapshots = left.snapshots;
        Some(log)
    }

    /// Whether followers decide the high watermark.
    #[must_use]
    pub fn is_replicated(&self) -> bool {
        self.replicated
    }
}
