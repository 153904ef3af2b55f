//! The idempotent and transactional producers of one partition: which batch is next, which transaction is open.
//!
//! Owned by the partition's owner shard, as part of its [`Log`](super::partition_log::Log). On disk as
//! `<offset>.snapshot` ([`producer_snapshot`](super::producer_snapshot)); whatever lies behind the newest snapshot
//! is rebuilt from the batches. The rules are those of Kafka's `ProducerAppendInfo.java` and
//! `ProducerStateManager.java` (KIP-98, KIP-360, KIP-890), with two differences: idleness counts monotonic time
//! since the last append instead of the producers' own timestamps, and the number of producers is bounded.
//!
//! [`check`](Producers::check) decides and changes nothing; [`apply`](Producers::apply) is the only mutator, for
//! live appends, replication and recovery alike.
//!
//! Invariants: each open transaction belongs to exactly one producer, whose entry names its first offset; a
//! producer with an open transaction is never forgotten.

use std::collections::BTreeMap;
use std::time::Duration;

use thiserror::Error;

use super::producer_entry::{NO_SEQUENCE, ProducerEntry, SequencedBatch};
use super::txn_index::AbortedTransaction;
use crate::canary::{self, Canary};
use crate::errors::ErrorCode;
use crate::ids::{Offset, ProducerEpoch, ProducerId, TimestampMs};
use crate::protocol::records::{BatchHeader, EndTransactionMarker};
use crate::time::Monotonic;

/// Who appends: how far the append is checked (Kafka's `AppendOrigin`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppendOrigin {
    /// A producer: epochs and sequence numbers are checked, and repetitions found.
    Client,
    /// A coordinator of this cluster, with offset commits or transaction markers: epochs are checked.
    Coordinator,
    /// The metadata log's leader: no producer at all.
    RaftLeader,
    /// A copy of what a leader has accepted, by replication or recovery: nothing is refused.
    Replication,
}

/// What the append of a transactional batch knows of the transaction (KIP-890).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TransactionCheck {
    /// The transaction coordinator has confirmed that this partition is part of the producer's transaction.
    /// Without it no transactional batch begins a transaction here.
    pub verified: bool,
    /// The client bumps its epoch with every transaction (version 2): one without state here begins at sequence 0.
    pub epoch_bump: bool,
    /// The transaction version of a marker, from WriteTxnMarkers: from 2 on its epoch is above the batches' own.
    pub marker_version: i16,
}

/// A batch as the producers see it; its offsets are assigned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerBatch<'a> {
    /// The batch.
    pub header: &'a BatchHeader,
    /// Its marker, where it is a control batch that ends a transaction.
    pub marker: Option<EndTransactionMarker>,
}

/// A batch that was appended before: the answer is that of its first append.
///
/// It may not be durable yet: acknowledge it only once `last_offset` is, as a first append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DuplicateBatch {
    /// Its first offset.
    pub base_offset: Offset,
    /// Its last offset.
    pub last_offset: Offset,
    /// Its max timestamp: the append time where the topic uses append times.
    pub timestamp: TimestampMs,
}

/// What becomes of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is new and in order.
    Append,
    /// It is there already.
    Duplicate(DuplicateBatch),
}

/// Why a batch is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ProducerError {
    /// A newer instance of the producer has been here.
    #[error("producer epoch {got} is behind the last seen epoch {current}")]
    StaleEpoch {
        /// The batch's epoch.
        got: ProducerEpoch,
        /// The producer's.
        current: ProducerEpoch,
    },
    /// A batch between the last one and this one is missing, or is another than it was.
    #[error("sequence number {got} does not follow {last}")]
    OutOfOrder {
        /// The batch's first sequence number.
        got: i32,
        /// The last of the producer's epoch, -1 for none.
        last: i32,
    },
    /// A record outside a transaction came while one is open, or one that belongs to none.
    #[error("the batch does not fit the state of the producer's transaction")]
    TransactionState,
    /// The marker comes from a transaction coordinator that has been replaced.
    #[error("coordinator epoch {got} is behind {current}")]
    CoordinatorFenced {
        /// The marker's coordinator epoch.
        got: i32,
        /// The newest one seen.
        current: i32,
    },
    /// As many producers as the partition may have are in the middle of a transaction.
    #[error("all {0} producers that the partition remembers have open transactions")]
    TooManyProducers(usize),
}

impl ProducerError {
    /// The code of the reply. A stale epoch is not `PRODUCER_FENCED`: the client may abort and go on (KIP-588).
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        match self {
            ProducerError::StaleEpoch { .. } => ErrorCode::InvalidProducerEpoch,
            ProducerError::OutOfOrder { .. } => ErrorCode::OutOfOrderSequenceNumber,
            ProducerError::TransactionState => ErrorCode::InvalidTxnState,
            ProducerError::CoordinatorFenced { .. } => ErrorCode::TransactionCoordinatorFenced,
            ProducerError::TooManyProducers(_) => ErrorCode::RequestTimedOut,
        }
    }
}

/// A transaction that a marker has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompletedTransaction {
    /// How it ended, for the transaction index: first record, marker, and the last stable offset behind it.
    pub transaction: AbortedTransaction,
    /// Whether it was aborted, and so belongs into the index.
    pub aborted: bool,
}

/// Every producer of one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Producers {
    entries: BTreeMap<ProducerId, ProducerEntry>,
    /// Open transactions by their first offset.
    ongoing: BTreeMap<Offset, ProducerId>,
    /// Ended transactions by their first offset, with their markers' offsets, until the high watermark passes those.
    unreplicated: BTreeMap<Offset, Offset>,
    /// The offset up to which batches are accounted for.
    end_offset: Offset,
    producers_max: usize,
}

impl Producers {
    /// No producer, in a log that ends at `end_offset`; at most `producers_max` are remembered.
    #[must_use]
    pub fn new(end_offset: Offset, producers_max: usize) -> Producers {
        assert!(producers_max > 0, "a partition remembers at least one producer");
        Producers {
            entries: BTreeMap::new(),
            ongoing: BTreeMap::new(),
            unreplicated: BTreeMap::new(),
            end_offset,
            producers_max,
        }
    }

    /// The producers of a snapshot that was taken when the log ended at `end_offset`.
    #[must_use]
    pub fn from_snapshot(
        entries: BTreeMap<ProducerId, ProducerEntry>,
        end_offset: Offset,
        producers_max: usize,
    ) -> Producers {
        let mut producers = Producers::new(end_offset, producers_max);
        for (id, entry) in entries {
            if let Some(first_offset) = entry.transaction_first_offset {
                producers.ongoing.insert(first_offset, id);
            }
            producers.entries.insert(id, entry);
        }
        while producers.entries.len() > producers_max && producers.evict() {}
        producers
    }

    /// How many producers are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether no producer is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The offset up to which batches are accounted for: where a snapshot would be taken.
    #[must_use]
    pub fn end_offset(&self) -> Offset {
        self.end_offset
    }

    /// Every producer by ascending id.
    pub fn iter(&self) -> impl Iterator<Item = (ProducerId, &ProducerEntry)> {
        self.entries.iter().map(|(&id, entry)| (id, entry))
    }

    /// What is remembered of one producer.
    #[must_use]
    pub fn get(&self, producer_id: ProducerId) -> Option<&ProducerEntry> {
        self.entries.get(&producer_id)
    }

    /// Takes over a changed setting; producers above the limit go with the next new one.
    pub fn set_producers_max(&mut self, producers_max: usize) {
        assert!(producers_max > 0, "a partition remembers at least one producer");
        self.producers_max = producers_max;
    }

    /// Whether the batch may be appended, is there already, or is refused; changes nothing.
    ///
    /// # Errors
    /// [`ProducerError`], never for a replicated batch.
    pub fn check(
        &self,
        batch: ProducerBatch<'_>,
        origin: AppendOrigin,
        transaction: TransactionCheck,
    ) -> Result<Verdict, ProducerError> {
        if !batch.header.has_producer_id() || origin == AppendOrigin::Replication {
            return Ok(Verdict::Append);
        }
        let entry = self.entries.get(&batch.header.producer_id);
        if batch.header.attributes.is_control() {
            check_marker(entry, batch, transaction)?;
        } else {
            if origin == AppendOrigin::Client
                && let Some(duplicate) = entry.and_then(|entry| entry.find_duplicate(batch.header))
            {
                return Ok(Verdict::Duplicate(DuplicateBatch {
                    base_offset: duplicate.first_offset(),
                    last_offset: duplicate.last_offset,
                    timestamp: duplicate.timestamp,
                }));
            }
            check_verified(entry, batch.header, transaction)?;
            check_epoch(entry, batch.header.producer_epoch)?;
            if origin == AppendOrigin::Client {
                check_sequence(entry, batch.header, transaction)?;
            }
            check_inside(entry, batch.header)?;
        }
        self.check_room(entry)?;
        Ok(Verdict::Append)
    }

    fn check_room(&self, entry: Option<&ProducerEntry>) -> Result<(), ProducerError> {
        let full = entry.is_none() && self.ongoing.len() >= self.producers_max;
        if full { Err(ProducerError::TooManyProducers(self.producers_max)) } else { Ok(()) }
    }

    /// Accounts for a batch that is appended; returns the transaction that its marker ended, if any.
    pub fn apply(&mut self, batch: ProducerBatch<'_>, now: Monotonic) -> Option<CompletedTransaction> {
        let header = batch.header;
        assert!(header.base_offset >= self.end_offset, "batches are accounted for in the order of the log");
        self.end_offset = header.next_offset();
        if !header.has_producer_id() {
            return None;
        }
        if header.attributes.is_control() {
            // The cleaner leaves a control batch without its marker where the whole transaction is gone.
            let marker = batch.marker?;
            self.end_transaction(header, marker, now)
        } else {
            self.add_batch(header, now);
            None
        }
    }

    /// Accounts for a batch that a scan of the log has found; one before the end offset is accounted for already.
    ///
    /// Returns the transaction that it aborted. `high_watermark` is `None` without followers: then everything that is
    /// on disk is replicated.
    pub fn replay(
        &mut self,
        batch: ProducerBatch<'_>,
        now: Monotonic,
        high_watermark: Option<Offset>,
    ) -> Option<AbortedTransaction> {
        if batch.header.base_offset < self.end_offset {
            return None;
        }
        let completed = self.apply(batch, now)?;
        self.on_high_watermark(high_watermark.unwrap_or(batch.header.next_offset()));
        completed.aborted.then_some(completed.transaction)
    }

    fn add_batch(&mut self, header: &BatchHeader, now: Monotonic) {
        let (epoch, first_offset) = (header.producer_epoch, header.base_offset);
        let entry = self.entry_mut(header.producer_id, epoch, now);
        entry.last_used = now;
        entry.add_batch(epoch, SequencedBatch::of(header));
        if header.attributes.is_transactional() && entry.transaction_first_offset.is_none() {
            entry.transaction_first_offset = Some(first_offset);
            self.ongoing.insert(first_offset, header.producer_id);
        }
    }

    fn end_transaction(
        &mut self,
        header: &BatchHeader,
        marker: EndTransactionMarker,
        now: Monotonic,
    ) -> Option<CompletedTransaction> {
        let entry = self.entry_mut(header.producer_id, header.producer_epoch, now);
        let began = entry.transaction_first_offset;
        entry.last_used = now;
        entry.end_transaction(header.producer_epoch, marker.coordinator_epoch, header.max_timestamp);
        let first_offset = began?;
        let owner = self.ongoing.remove(&first_offset);
        assert_eq!(owner, Some(header.producer_id), "an open transaction is listed under its first offset");
        // The marker itself may lie behind the offset that a reader may pass: other transactions may still be open.
        let stable = self.ongoing.first_key_value().map_or(header.next_offset(), |(&first, _)| first);
        self.unreplicated.insert(first_offset, header.last_offset());
        Some(CompletedTransaction {
            transaction: AbortedTransaction {
                producer_id: header.producer_id,
                first_offset,
                last_offset: header.base_offset,
                last_stable_offset: stable,
            },
            aborted: !marker.committed,
        })
    }

    fn entry_mut(&mut self, id: ProducerId, epoch: ProducerEpoch, now: Monotonic) -> &mut ProducerEntry {
        if self.entries.len() >= self.producers_max && !self.entries.contains_key(&id) {
            self.evict();
        }
        self.entries.entry(id).or_insert_with(|| ProducerEntry::new(epoch, now))
    }

    /// Forgets the idlest sixteenth of the producers without an open transaction: a flood of new producers then
    /// costs a look at few entries each. False where every producer has one open.
    fn evict(&mut self) -> bool {
        let idle = self.entries.iter().filter(|(_, entry)| entry.transaction_first_offset.is_none());
        let mut idle: Vec<_> = idle.map(|(&id, entry)| (entry.last_used, id)).collect();
        if idle.is_empty() {
            return false;
        }
        let surplus = (self.entries.len() + 1).saturating_sub(self.producers_max);
        let count = (idle.len() / 16).max(surplus).clamp(1, idle.len());
        idle.select_nth_unstable(count - 1);
        for (_, id) in &idle[..count] {
            self.entries.remove(id);
        }
        true
    }

    /// Forgets the producers that have been idle for `expiration` and have no transaction open; returns how many.
    pub fn remove_expired(&mut self, now: Monotonic, expiration: Duration) -> usize {
        let before = self.entries.len();
        self.entries.retain(|_, entry| {
            entry.transaction_first_offset.is_some() || now.since(entry.last_used) < expiration
        });
        before - self.entries.len()
    }

    /// The first offset that a reader of committed records must not pass: a transaction there is open, or its end
    /// is above the high watermark.
    #[must_use]
    pub fn first_unstable_offset(&self) -> Option<Offset> {
        let undecided = self.ongoing.first_key_value().map(|(&first, _)| first);
        let unreplicated = self.unreplicated.first_key_value().map(|(&first, _)| first);
        match (undecided, unreplicated) {
            (Some(undecided), Some(unreplicated)) => Some(undecided.min(unreplicated)),
            (one, other) => one.or(other),
        }
    }

    /// The first offset of the oldest open transaction, wherever the high watermark is.
    #[must_use]
    pub fn first_undecided_offset(&self) -> Option<Offset> {
        self.ongoing.first_key_value().map(|(&first, _)| first)
    }

    /// Whether the producer has a transaction open here.
    #[must_use]
    pub fn has_open_transaction(&self, producer_id: ProducerId) -> bool {
        self.entries.get(&producer_id).is_some_and(|entry| entry.transaction_first_offset.is_some())
    }

    /// Lets go of the ended transactions whose markers the high watermark has passed.
    pub fn on_high_watermark(&mut self, high_watermark: Offset) {
        self.unreplicated.retain(|_, marker| *marker >= high_watermark);
    }

    /// Takes note of a log that now begins later: what lies before is decided for every reader.
    pub fn on_log_start_offset(&mut self, log_start_offset: Offset) {
        self.on_high_watermark(log_start_offset);
        self.end_offset = self.end_offset.max(log_start_offset);
    }

    /// Accounts for offsets up to `end_offset` that hold no batch any more, as behind the cleaner.
    pub fn skip_to(&mut self, end_offset: Offset) {
        assert!(end_offset >= self.end_offset, "a log that ends earlier is loaded anew");
        self.end_offset = end_offset;
    }
}

fn check_epoch(entry: Option<&ProducerEntry>, got: ProducerEpoch) -> Result<(), ProducerError> {
    match entry {
        Some(entry) if got < entry.epoch => Err(ProducerError::StaleEpoch { got, current: entry.epoch }),
        Some(_) | None => Ok(()),
    }
}

/// A transaction begins here only where its coordinator knows of it: else no marker would ever end it (KIP-890).
fn check_verified(
    entry: Option<&ProducerEntry>,
    header: &BatchHeader,
    transaction: TransactionCheck,
) -> Result<(), ProducerError> {
    let open = entry.is_some_and(|entry| entry.transaction_first_offset.is_some());
    let begins = header.attributes.is_transactional() && !open;
    if begins && !transaction.verified { Err(ProducerError::TransactionState) } else { Ok(()) }
}

/// While a transaction is open its producer sends nothing outside of it.
fn check_inside(entry: Option<&ProducerEntry>, header: &BatchHeader) -> Result<(), ProducerError> {
    let open = entry.is_some_and(|entry| entry.transaction_first_offset.is_some());
    if open && !header.attributes.is_transactional() {
        return Err(ProducerError::TransactionState);
    }
    Ok(())
}

/// Kafka's sequence rules: the next number in the same epoch, 0 in a new one, any number of an unknown producer,
/// whose records retention may have removed, unless its client begins every transaction with a new epoch.
fn check_sequence(
    entry: Option<&ProducerEntry>,
    header: &BatchHeader,
    transaction: TransactionCheck,
) -> Result<(), ProducerError> {
    let got = header.base_sequence;
    if canary::is(Canary::SequenceUnchecked) {
        return Ok(());
    }
    let last = entry.map_or(NO_SEQUENCE, ProducerEntry::last_sequence);
    let in_order = match entry {
        None => !transaction.epoch_bump || got == 0,
        Some(entry) if entry.epoch != header.producer_epoch => got == 0,
        Some(entry) => entry.is_next(got),
    };
    if in_order { Ok(()) } else { Err(ProducerError::OutOfOrder { got, last }) }
}

/// A marker of transaction version 2 has a higher epoch than the batches that it ends; the same epoch is a
/// repetition of a marker that was written already, and passes (KAFKA-19999).
fn check_marker(
    entry: Option<&ProducerEntry>,
    batch: ProducerBatch<'_>,
    transaction: TransactionCheck,
) -> Result<(), ProducerError> {
    let (Some(entry), Some(marker)) = (entry, batch.marker) else {
        return Ok(());
    };
    let (got, current) = (batch.header.producer_epoch, entry.epoch);
    let repeated = got == current && entry.transaction_first_offset.is_none();
    let stale = got < current || (transaction.marker_version >= 2 && got == current && !repeated);
    if stale {
        return Err(ProducerError::StaleEpoch { got, current });
    }
    if marker.coordinator_epoch < entry.coordinator_epoch {
        let current = entry.coordinator_epoch;
        return Err(ProducerError::CoordinatorFenced { got: marker.coordinator_epoch, current });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
