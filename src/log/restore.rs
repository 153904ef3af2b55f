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
use crate::canary::{self, Canary};
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
        let mut producers = decode_snapshot(&left.producers, now).ok()?;
        if !producers.is_empty() && canary::is(Canary::ProducersForgotten) {
            producers.clear();
        }
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

    /// Ends the active segment's time index as a clean stop leaves it: retention and searches of whoever opens the
    /// files next go by its last entry, this program's and Kafka's alike.
    pub fn index_largest_timestamp(&mut self) {
        self.active.index_largest_timestamp();
    }

    /// Whether followers decide the high watermark.
    #[must_use]
    pub fn is_replicated(&self) -> bool {
        self.replicated
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::LeaderEpoch;
    use crate::log::producer_snapshot::encode_snapshot;
    use crate::log::testing::batch;
    use crate::log::testing::disk::{Disk, NOW};

    fn config() -> LogConfig {
        LogConfig { segment_bytes: 900, index_interval_bytes: 150, ..LogConfig::default() }
    }

    fn stopped() -> (Log, Disk) {
        let mut log = Log::new(config(), Offset(0), 1, NOW);
        let mut disk = Disk::new(&log);
        log.become_leader(LeaderEpoch(2));
        for at in 0..30 {
            disk.append(
                &mut log,
                batch(0, 1).bytes_total(100).timestamp(at * 7 % 40).producer(7, 0, at as i32),
            );
        }
        log.index_largest_timestamp();
        disk.checkpoint(&mut log);
        (log, disk)
    }

    fn note(log: &Log) -> LeftLog {
        let active = log.active_segment();
        LeftLog {
            log_start_offset: log.log_start_offset(),
            log_end_offset: log.log_end_offset(),
            high_watermark: None,
            closed: log.closed_segments().copied().collect(),
            active_base: active.base_offset(),
            active: ResumedSegment {
                bytes: active.bytes(),
                largest_timestamp: active.largest_timestamp(),
                first_timestamp: active.first_timestamp(),
                modified: active.modified(),
                bytes_since_entry: active.bytes_since_entry(),
                indexes: active.indexes().clone(),
            },
            epochs: log.epochs().clone(),
            producers: encode_snapshot(log.producers()),
            snapshots: log.snapshots().clone(),
            jitter_seed: 1,
        }
    }

    #[test]
    fn a_note_gives_what_the_files_give() {
        let (log, mut disk) = stopped();
        let mut restored = Log::restore(config(), note(&log), NOW).expect("it fits together");
        let mut loaded = disk.load(disk.input(&config(), true)).log;
        loaded.index_largest_timestamp();
        for closed in log.closed_segments() {
            loaded.set_largest_timestamp(closed.base_offset, closed.largest_timestamp);
        }
        assert_eq!(restored, loaded);
        assert_eq!(restored.offsets(), log.offsets());
        let mut again = disk.clone();
        for at in 30..60 {
            let next = batch(0, 1).bytes_total(100).timestamp(at).producer(7, 0, at as i32);
            assert_eq!(disk.append(&mut restored, next), again.append(&mut loaded, next));
        }
    }

    #[test]
    fn a_note_that_contradicts_itself_is_refused() {
        let (log, _) = stopped();
        let spoil: [fn(&mut LeftLog); 6] = [
            |note| note.producers[12] ^= 1,
            |note| note.closed.swap(0, 1),
            |note| note.log_start_offset = Offset(31),
            |note| note.log_end_offset = note.active_base.plus(-1),
            |note| note.high_watermark = Some(Offset(31)),
            |note| note.closed.clear(),
        ];
        for spoil in spoil {
            let mut note = note(&log);
            spoil(&mut note);
            assert_eq!(Log::restore(config(), note, NOW), None);
        }
    }
}
