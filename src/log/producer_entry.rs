//! What a partition remembers of one producer: enough to tell the next batch from a repeated or a lost one.
//!
//! Owned by the partition's owner shard, in its [`Producers`](super::producers::Producers); on disk in the producer
//! snapshot. The rules are those of Kafka's `ProducerStateEntry.java` and `BatchMetadata.java`.
//!
//! Invariants: the remembered batches are all of the entry's producer epoch, at most five, by ascending offset.

use crate::ids::{Offset, ProducerEpoch, TimestampMs};
use crate::limits::PRODUCER_BATCHES_RETAINED;
use crate::protocol::records::BatchHeader;
use crate::protocol::records::header::sequence_plus;
use crate::time::Monotonic;

/// The sequence number of a producer that has sent nothing in its epoch.
pub const NO_SEQUENCE: i32 = -1;

/// The coordinator epoch of a producer that has ended no transaction here.
pub const NO_COORDINATOR_EPOCH: i32 = -1;

/// A batch that was appended for a producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SequencedBatch {
    /// The sequence number of the last record.
    pub last_sequence: i32,
    /// The offset of the last record.
    pub last_offset: Offset,
    /// The last offset less the first; also the last sequence number less the first.
    pub offset_delta: i32,
    /// The batch's max timestamp.
    pub timestamp: TimestampMs,
}

impl SequencedBatch {
    /// What is remembered of a batch whose offsets are assigned.
    #[must_use]
    pub fn of(header: &BatchHeader) -> SequencedBatch {
        SequencedBatch {
            last_sequence: header.last_sequence(),
            last_offset: header.last_offset(),
            offset_delta: header.last_offset_delta,
            timestamp: header.max_timestamp,
        }
    }

    /// The sequence number of the first record.
    #[must_use]
    pub fn first_sequence(&self) -> i32 {
        sequence_plus(self.last_sequence, self.offset_delta.wrapping_neg())
    }

    /// The offset of the first record.
    #[must_use]
    pub fn first_offset(&self) -> Offset {
        Offset(self.last_offset.0 - i64::from(self.offset_delta))
    }
}

/// What is remembered of one producer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProducerEntry {
    /// The newest epoch seen.
    pub epoch: ProducerEpoch,
    /// The epoch of the transaction coordinator that wrote the producer's last marker here.
    pub coordinator_epoch: i32,
    /// The timestamp of the last batch or marker, as the snapshot carries it.
    pub last_timestamp: TimestampMs,
    /// Where the open transaction began, if one is open.
    pub transaction_first_offset: Option<Offset>,
    /// When the producer last appended; after a start, when it was loaded. Expiry counts from here and not from
    /// timestamps, which are the producer's own (KAFKA-9144).
    pub last_used: Monotonic,
    batches: Vec<SequencedBatch>,
}

impl ProducerEntry {
    /// A producer of which nothing is known but its epoch.
    #[must_use]
    pub fn new(epoch: ProducerEpoch, now: Monotonic) -> ProducerEntry {
        ProducerEntry {
            epoch,
            coordinator_epoch: NO_COORDINATOR_EPOCH,
            last_timestamp: TimestampMs::NONE,
            transaction_first_offset: None,
            last_used: now,
            batches: Vec::new(),
        }
    }

    /// The newest batches of the current epoch, oldest first.
    #[must_use]
    pub fn batches(&self) -> &[SequencedBatch] {
        &self.batches
    }

    /// The sequence number of the newest record of the current epoch; -1 where there is none.
    #[must_use]
    pub fn last_sequence(&self) -> i32 {
        self.batches.last().map_or(NO_SEQUENCE, |batch| batch.last_sequence)
    }

    /// The remembered batch that has just these sequence numbers and this epoch: the append of it is a repetition.
    #[must_use]
    pub fn find_duplicate(&self, header: &BatchHeader) -> Option<SequencedBatch> {
        if header.producer_epoch != self.epoch {
            return None;
        }
        let (first, last) = (header.base_sequence, header.last_sequence());
        let same = |batch: &&SequencedBatch| batch.first_sequence() == first && batch.last_sequence == last;
        self.batches.iter().find(same).copied()
    }

    /// Whether `first_sequence` is the one that follows the last; 0 follows 2^31 - 1.
    #[must_use]
    pub fn is_next(&self, first_sequence: i32) -> bool {
        match self.last_sequence() {
            NO_SEQUENCE => first_sequence == 0,
            last => first_sequence == sequence_plus(last, 1),
        }
    }

    /// Remembers a batch that was appended; one of a new epoch replaces those of the old.
    pub fn add_batch(&mut self, epoch: ProducerEpoch, batch: SequencedBatch) {
        self.enter_epoch(epoch);
        assert!(
            self.batches.last().is_none_or(|last| last.last_offset < batch.last_offset),
            "a producer's batches are remembered in the order of the log"
        );
        if self.batches.len() == PRODUCER_BATCHES_RETAINED {
            self.batches.remove(0);
        }
        self.batches.push(batch);
        self.last_timestamp = batch.timestamp;
    }

    /// Notes that a marker ended the producer's transaction, if one was open.
    pub fn end_transaction(&mut self, epoch: ProducerEpoch, coordinator_epoch: i32, timestamp: TimestampMs) {
        self.enter_epoch(epoch);
        self.coordinator_epoch = coordinator_epoch;
        self.transaction_first_offset = None;
        self.last_timestamp = timestamp;
    }

    fn enter_epoch(&mut self, epoch: ProducerEpoch) {
        if self.epoch != epoch {
            self.batches.clear();
            self.epoch = epoch;
        }
        assert!(self.batches.len() <= PRODUCER_BATCHES_RETAINED, "few batches are remembered");
    }
}
