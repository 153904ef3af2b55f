//! What of one batch stays, and in which bytes.
//!
//! Owned by one cleaning. A batch is given whole, with the CRC checked here; what comes out goes into the cleaned
//! segment. The rules are those of Kafka's `Cleaner.cleanInto` and `MemoryRecords.filterTo` (KIP-98, KIP-534), but that
//! a tombstone gets its delete horizon only from a cleaning that knew it as the last record of its key.
//!
//! What must hold: a batch that stays keeps its base and last offset, its leader epoch, its producer and its sequence
//! numbers; its codec too, unless it is emptied; a batch that loses nothing keeps its bytes.

use std::collections::BTreeMap;

use super::offset_map::OffsetMap;
use super::transactions::CleanedTransactions;
use crate::canary::{self, Canary};
use crate::ids::{Offset, ProducerEpoch, ProducerId, TimestampMs};
use crate::limits::DECOMPRESSED_BYTES_MAX;
use crate::log::producers::Producers;
use crate::log::txn_index::AbortedTransaction;
use crate::protocol::compression::{Codec, Decompressor};
use crate::protocol::records::{
    Batch, BatchBuilder, BatchHeader, ControlRecordType, Record, RecordIter, crc_is_valid,
};

/// The record of an active producer by which duplicates and gaps are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastRecord {
    /// The last offset of its newest batch; `None` where only a marker of its epoch is left.
    pub last_data_offset: Option<Offset>,
    /// Its epoch.
    pub epoch: ProducerEpoch,
}

impl LastRecord {
    /// Those of every producer that is remembered.
    #[must_use]
    pub fn of_all(producers: &Producers) -> BTreeMap<ProducerId, LastRecord> {
        let last = producers.iter().map(|(id, entry)| {
            let last_data_offset = entry.batches().last().map(|batch| batch.last_offset);
            (id, LastRecord { last_data_offset, epoch: entry.epoch })
        });
        last.collect()
    }
}

/// What becomes of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filtered {
    /// It goes.
    Nothing,
    /// It stays as it is.
    Unchanged,
    /// These bytes take its place.
    Rewritten(Vec<u8>),
}

/// A batch that is done with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilteredBatch {
    /// What stays of it.
    pub batch: Filtered,
    /// Its records.
    pub records: u64,
    /// Those of them that stay.
    pub records_kept: u64,
    /// Those of them that go because they have no key, which no log of a compacted topic should hold.
    pub keyless: u64,
    /// The entry that the transaction index of the cleaned segment gets.
    pub aborted: Option<AbortedTransaction>,
}

/// What a cleaning goes by.
#[derive(Debug)]
pub struct BatchFilter {
    /// The last offset of each key of the dirty section.
    pub map: OffsetMap,
    /// The offset up to which the map knows every record.
    pub map_end: Offset,
    /// The base offset of the first segment that is not cleaned.
    pub upper: Offset,
    /// When the cleaning began, by the wall clock.
    pub now: TimestampMs,
    /// `delete.retention.ms`.
    pub delete_retention_ms: i64,
    /// The last records of the active producers.
    pub last_records: BTreeMap<ProducerId, LastRecord>,
    /// The transactions of the walk so far.
    pub transactions: CleanedTransactions,
}

/// What is known of a batch before its records are looked at.
struct Fate {
    /// All of its records go.
    discards: bool,
    /// The batch stays though no record does.
    stays_empty: bool,
    /// It holds a marker of a transaction that has no batch any more.
    is_idle_marker: bool,
    aborted: Option<AbortedTransaction>,
}

impl BatchFilter {
    /// Filters one whole batch.
    ///
    /// # Errors
    /// Why the batch is not as it was written.
    pub fn filter(
        &mut self,
        batch: &Batch<'_>,
        decompressor: &mut Decompressor,
    ) -> Result<FilteredBatch, String> {
        let header = &batch.header;
        let codec = check_batch(batch)?;
        let mut done = FilteredBatch {
            batch: Filtered::Unchanged,
            records: u64::try_from(header.record_count).unwrap_or(0),
            records_kept: 0,
            keyless: 0,
            aborted: None,
        };
        let payload = uncompressed(batch, codec, decompressor)?;
        let fate = self.fate(header, payload)?;
        done.aborted = fate.aborted;
        if fate.discards && !fate.stays_empty {
            done.batch = Filtered::Nothing;
            return Ok(done);
        }
        let kept = self.look_at_records(header, payload, &fate, &mut done)?;
        done.batch = self.rebuild(header, payload, &fate, kept)?;
        Ok(done)
    }

    fn fate(&mut self, header: &BatchHeader, payload: &[u8]) -> Result<Fate, String> {
        let is_control = header.attributes.is_control();
        let (may_go, aborted) = if is_control {
            let verdict = self.transactions.on_marker(header, control_kind(header, payload)?);
            (verdict.may_go, verdict.entry)
        } else {
            (self.transactions.on_batch(header), None)
        };
        let past_horizon = header.delete_horizon().is_some_and(|horizon| horizon <= self.now);
        Ok(Fate {
            discards: may_go && (!is_control || past_horizon),
            stays_empty: header.next_offset() == self.upper || self.is_last_of_producer(header),
            is_idle_marker: may_go && is_control,
            aborted,
        })
    }

    /// Whether the state of an active producer would be lost with this batch.
    fn is_last_of_producer(&self, header: &BatchHeader) -> bool {
        if !header.has_producer_id() {
            return false;
        }
        match self.last_records.get(&header.producer_id) {
            Some(LastRecord { last_data_offset: Some(last), .. }) => header.last_offset() == *last,
            Some(LastRecord { last_data_offset: None, epoch }) => {
                header.attributes.is_control() && header.producer_epoch == *epoch
            }
            None => false,
        }
    }

    /// Counts the records that stay, and whether a tombstone is among them that waits for its horizon.
    fn look_at_records(
        &self,
        header: &BatchHeader,
        payload: &[u8],
        fate: &Fate,
        done: &mut FilteredBatch,
    ) -> Result<Kept, String> {
        let mut kept = Kept { records: 0, settled_tombstone: false };
        let mut lowest = 0;
        for record in RecordIter::new(payload, header.record_count) {
            let record = record.map_err(|error| error.to_string())?;
            record.headers.check().map_err(|error| error.to_string())?;
            if record.offset_delta < lowest || record.offset_delta > header.last_offset_delta {
                return Err(format!("a record has the offset delta {}", record.offset_delta));
            }
            lowest = record.offset_delta.saturating_add(1);
            let stays = !fate.discards && self.stays(header, &record);
            if stays {
                kept.records += 1;
                let is_settled = record.offset(header) < self.map_end && !header.attributes.is_control();
                kept.settled_tombstone |= record.value.is_none() && is_settled;
            } else if !fate.discards && record.key.is_none() {
                done.keyless += 1;
            }
        }
        done.records_kept = u64::try_from(kept.records).expect("a count");
        Ok(kept)
    }

    fn stays(&self, header: &BatchHeader, record: &Record<'_>) -> bool {
        let offset = record.offset(header);
        if header.attributes.is_control() || offset >= self.map_end {
            return true;
        }
        let Some(key) = record.key else { return false };
        let is_last = self.map.get(key).is_none_or(|last| offset >= last);
        let is_last = is_last != canary::is(Canary::LastValueDropped);
        let waits = header.delete_horizon().is_none_or(|horizon| self.now < horizon);
        is_last && (record.value.is_some() || (waits && !canary::is(Canary::TombstonesDropped)))
    }

    fn rebuild(
        &self,
        header: &BatchHeader,
        payload: &[u8],
        fate: &Fate,
        kept: Kept,
    ) -> Result<Filtered, String> {
        if kept.records == 0 {
            let is_empty_already = header.record_count == 0;
            return Ok(match (fate.stays_empty, is_empty_already) {
                (false, _) => Filtered::Nothing,
                (true, true) => Filtered::Unchanged,
                (true, false) => Filtered::Rewritten(BatchBuilder::like(header).build()),
            });
        }
        let needs_horizon =
            (kept.settled_tombstone || fate.is_idle_marker) && header.delete_horizon().is_none();
        if kept.records == header.record_count && !needs_horizon {
            return Ok(Filtered::Unchanged);
        }
        let mut builder = BatchBuilder::like(header);
        if needs_horizon {
            let horizon = self.now.0.saturating_add(self.delete_retention_ms.max(0));
            builder = builder.delete_horizon(TimestampMs(horizon));
        }
        for record in RecordIter::new(payload, header.record_count) {
            let record = record.map_err(|error| error.to_string())?;
            if self.stays(header, &record) {
                builder.append_copy(record.offset_delta, record.timestamp(header), &record);
            }
        }
        assert_eq!(builder.record_count(), kept.records, "both walks keep the same records");
        Ok(Filtered::Rewritten(builder.build()))
    }
}

struct Kept {
    records: i32,
    settled_tombstone: bool,
}

/// Checks the CRC and the counts of a batch; returns its codec.
///
/// # Errors
/// What is wrong with it.
pub fn check_batch(batch: &Batch<'_>) -> Result<Codec, String> {
    let header = &batch.header;
    if !crc_is_valid(batch.bytes) {
        return Err("the CRC of a batch is wrong".to_owned());
    }
    if header.last_offset_delta < 0 || header.record_count < 0 {
        let (count, delta) = (header.record_count, header.last_offset_delta);
        return Err(format!("a batch of {count} records has the last offset delta {delta}"));
    }
    header.attributes.compression().ok_or_else(|| "a batch names a codec that does not exist".to_owned())
}

/// The records of a batch without compression.
///
/// # Errors
/// Why they cannot be decompressed.
pub fn uncompressed<'a>(
    batch: &Batch<'a>,
    codec: Codec,
    decompressor: &'a mut Decompressor,
) -> Result<&'a [u8], String> {
    if codec == Codec::None || batch.header.record_count == 0 {
        return Ok(batch.payload());
    }
    let payload = decompressor.decompress(codec, batch.payload(), DECOMPRESSED_BYTES_MAX);
    payload.map_err(|error| error.to_string())
}

/// What the record of a control batch is about; `None` for a batch that was emptied.
///
/// # Errors
/// When it cannot be read.
pub fn control_kind(header: &BatchHeader, payload: &[u8]) -> Result<Option<ControlRecordType>, String> {
    if header.record_count == 0 {
        return Ok(None);
    }
    let record = RecordIter::new(payload, header.record_count).next();
    let record = record.expect("a batch with records has a first one").map_err(|error| error.to_string())?;
    let kind = record.key.and_then(ControlRecordType::from_key);
    kind.map(Some).ok_or_else(|| "a control record has no type".to_owned())
}
