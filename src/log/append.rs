//! The append of a batch: decided first, so that a refused batch changes nothing, then done.
//!
//! Owned by the partition's owner shard. [`Log::prepare`] checks sizes, offsets and the producer and says what would
//! become of the batch; [`Log::apply`] does it in the core, at once and without a way to fail. The shell then writes
//! the assigned offset and epoch into the bytes, copies them to the tail, and acknowledges when
//! [`Log::mark_durable`] has passed them. Coordinators and replication append by the same two steps.
//!
//! What must hold: between the two steps nothing else is appended; a batch never lies in two segments.

use thiserror::Error;

use super::partition_log::Log;
use super::producers::{
    AppendOrigin, DuplicateBatch, ProducerBatch, ProducerError, TransactionCheck, Verdict,
};
use super::segment::{ActiveSegment, ClosedSegment, LogPosition, RollReason, SegmentIndexes};
use crate::errors::ErrorCode;
use crate::ids::{FilePosition, LeaderEpoch, Offset, TimestampMs};
use crate::limits::{BATCH_HEADER_BYTES, SEGMENT_BYTES_MAX};
use crate::protocol::records::{BatchHeader, EndTransactionMarker};
use crate::time::Monotonic;

/// A batch that is to be appended, as far as the log looks at it.
///
/// Whoever makes one has validated the batch: CRC, counts, deltas, timestamps. Where the topic uses append times,
/// the header carries the append time already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewBatch {
    /// The header; its offset and epoch count only for a replicated batch.
    pub header: BatchHeader,
    /// Who appends.
    pub origin: AppendOrigin,
    /// What is known of the transaction.
    pub transaction: TransactionCheck,
    /// The marker of a control batch that ends a transaction.
    pub marker: Option<EndTransactionMarker>,
}

impl NewBatch {
    /// A producer's batch outside of any transaction that its coordinator has confirmed.
    #[must_use]
    pub fn of_client(header: BatchHeader) -> NewBatch {
        NewBatch {
            header,
            origin: AppendOrigin::Client,
            transaction: TransactionCheck::default(),
            marker: None,
        }
    }

    /// A coordinator's batch.
    #[must_use]
    pub fn of_coordinator(header: BatchHeader) -> NewBatch {
        NewBatch { origin: AppendOrigin::Coordinator, ..NewBatch::of_client(header) }
    }

    /// A batch with the offset and epoch that a leader gave it.
    #[must_use]
    pub fn replicated(header: BatchHeader, marker: Option<EndTransactionMarker>) -> NewBatch {
        NewBatch { origin: AppendOrigin::Replication, marker, ..NewBatch::of_client(header) }
    }
}

/// Why a batch is not appended. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum AppendError {
    /// The batch passes `max.message.bytes`.
    #[error("the batch has {bytes} bytes where max.message.bytes is {max}")]
    TooLarge {
        /// Bytes of the batch.
        bytes: usize,
        /// The setting.
        max: usize,
    },
    /// The batch passes `segment.bytes`, so no segment can hold it.
    #[error("the batch has {bytes} bytes where segment.bytes is {max}")]
    LargerThanSegment {
        /// Bytes of the batch.
        bytes: usize,
        /// The setting.
        max: u64,
    },
    /// The header is none that a broker may store.
    #[error("the batch spans {delta} offsets in {bytes} bytes")]
    Malformed {
        /// The last offset delta.
        delta: i32,
        /// Bytes of the batch.
        bytes: usize,
    },
    /// No offsets are left, or a replicated batch does not continue the log.
    #[error("the batch begins at {got} where the log ends at {end}")]
    Offsets {
        /// The batch's first offset.
        got: Offset,
        /// The log end offset.
        end: Offset,
    },
    /// The producer's state forbids it.
    #[error(transparent)]
    Producer(#[from] ProducerError),
}

impl AppendError {
    /// The code of the reply.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        match self {
            AppendError::TooLarge { .. } => ErrorCode::MessageTooLarge,
            AppendError::LargerThanSegment { .. } => ErrorCode::RecordListTooLarge,
            AppendError::Malformed { .. } => ErrorCode::CorruptMessage,
            AppendError::Offsets { .. } => ErrorCode::OffsetOutOfRange,
            AppendError::Producer(error) => error.code(),
        }
    }
}

/// A batch that may be appended, to the log as it was when this was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct PreparedAppend {
    header: BatchHeader,
    marker: Option<EndTransactionMarker>,
    log_end_offset: Offset,
    roll: Option<RollReason>,
}

impl PreparedAppend {
    /// The offset that the first record gets.
    #[must_use]
    pub fn base_offset(&self) -> Offset {
        self.header.base_offset
    }

    /// Why a new segment begins with this batch, if it does.
    #[must_use]
    pub fn roll(&self) -> Option<RollReason> {
        self.roll
    }
}

/// What becomes of a batch that is not refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prepared {
    /// It may be appended.
    Append(PreparedAppend),
    /// It was appended before; acknowledge it once its last offset is durable.
    Duplicate(DuplicateBatch),
}

/// A batch that was appended in the core: what the shell has to do.
#[derive(Debug, PartialEq, Eq)]
pub struct Appended {
    /// The offset to store in the batch.
    pub base_offset: Offset,
    /// The offset of the last record.
    pub last_offset: Offset,
    /// The epoch to store in the batch.
    pub leader_epoch: LeaderEpoch,
    /// Where the batch goes.
    pub at: LogPosition,
    /// The log's end behind it.
    pub end: LogPosition,
    /// The offset and time index gained an entry, which may be written whenever it suits.
    pub indexed: bool,
    /// The transaction index gained an entry.
    pub aborted: bool,
    /// The batch is the first of its epoch: the leader epoch checkpoint changed.
    pub epochs_changed: bool,
    /// The batch begins a new segment; what it closes has to be finished.
    pub roll: Option<Box<Roll>>,
}

/// A segment that was closed and its successor.
#[derive(Debug, PartialEq, Eq)]
pub struct Roll {
    /// The segment that was closed. Where it has no bytes it is no part of the log any more: delete its files.
    pub closed: ClosedSegment,
    /// Its indexes; what is not in their files yet has to be written.
    pub indexes: SegmentIndexes,
    /// The base offset of the new segment, and of the snapshot.
    pub new_base: Offset,
    /// The contents of the producer snapshot at `new_base`.
    pub snapshot: Vec<u8>,
}

impl Log {
    /// What would become of the batch; changes nothing.
    ///
    /// # Errors
    /// [`AppendError`], whose code is that of the reply.
    pub fn prepare(&self, batch: &NewBatch, now: Monotonic) -> Result<Prepared, AppendError> {
        let header = self.place(batch)?;
        let sequenced = ProducerBatch { header: &header, marker: batch.marker };
        if let Verdict::Duplicate(duplicate) =
            self.producers.check(sequenced, batch.origin, batch.transaction)?
        {
            return Ok(Prepared::Duplicate(duplicate));
        }
        let roll = self.active.should_roll(&self.config, &header, self.roll_ms(), now);
        Ok(Prepared::Append(PreparedAppend {
            header,
            marker: batch.marker,
            log_end_offset: self.log_end_offset,
            roll,
        }))
    }

    /// The header with its offset and epoch, if the batch can be stored at all.
    fn place(&self, batch: &NewBatch) -> Result<BatchHeader, AppendError> {
        let (mut header, bytes) = (batch.header, batch.header.batch_bytes);
        if header.last_offset_delta < 0 || bytes < BATCH_HEADER_BYTES {
            return Err(AppendError::Malformed { delta: header.last_offset_delta, bytes });
        }
        if batch.origin == AppendOrigin::Client && bytes > self.config.max_message_bytes {
            return Err(AppendError::TooLarge { bytes, max: self.config.max_message_bytes });
        }
        let segment_bytes = self.config.segment_bytes.min(SEGMENT_BYTES_MAX);
        if bytes as u64 > segment_bytes {
            return Err(AppendError::LargerThanSegment { bytes, max: segment_bytes });
        }
        let end = self.log_end_offset;
        if batch.origin != AppendOrigin::Replication {
            header.base_offset = end;
            header.partition_leader_epoch = self.leader_epoch;
        }
        let room = i64::MAX - i64::from(i32::MAX) - 1;
        if header.base_offset < end || header.base_offset.0 > room {
            return Err(AppendError::Offsets { got: header.base_offset, end });
        }
        Ok(header)
    }

    /// Appends a batch as it was prepared.
    pub fn apply(&mut self, prepared: PreparedAppend, now: Monotonic, now_wall: TimestampMs) -> Appended {
        let header = &prepared.header;
        assert_eq!(prepared.log_end_offset, self.log_end_offset, "nothing is appended between the two steps");
        let epoch = header.partition_leader_epoch;
        let epochs_changed = epoch > LeaderEpoch::NONE && self.epochs.assign(epoch, header.base_offset);
        let roll = prepared.roll.map(|_| Box::new(self.roll_to(header.base_offset, now)));
        let segment_base = self.active.base_offset();
        let (position, indexed) = self.active.append(header, self.config.index_interval_bytes, now_wall);
        let at = LogPosition { offset: header.base_offset, segment_base, position };
        self.tail.push(at, header.last_offset(), self.high_watermark);
        let completed = self.producers.apply(ProducerBatch { header, marker: prepared.marker }, now);
        let aborted = completed.filter(|completed| completed.aborted);
        if let Some(completed) = aborted {
            self.active.indexes_mut().aborted.append(completed.transaction);
        }
        self.measure_appended(header);
        self.log_end_offset = header.next_offset();
        assert!(self.log_end_offset > prepared.log_end_offset, "an append moves the log's end");
        self.follow_high_watermark();
        Appended {
            base_offset: header.base_offset,
            last_offset: header.last_offset(),
            leader_epoch: epoch,
            at,
            end: self.end_position(),
            indexed,
            aborted: aborted.is_some(),
            epochs_changed,
            roll,
        }
    }

    /// Both steps in one.
    ///
    /// # Errors
    /// [`AppendError`]; nothing has changed then.
    pub fn append(
        &mut self,
        batch: &NewBatch,
        now: Monotonic,
        now_wall: TimestampMs,
    ) -> Result<AppendOutcome, AppendError> {
        Ok(match self.prepare(batch, now)? {
            Prepared::Append(prepared) => AppendOutcome::Appended(self.apply(prepared, now, now_wall)),
            Prepared::Duplicate(duplicate) => AppendOutcome::Duplicate(duplicate),
        })
    }

    /// Closes the active segment and begins another at the log's end or, behind a gap, at `new_base`.
    pub(super) fn roll_to(&mut self, new_base: Offset, now: Monotonic) -> Roll {
        assert!(new_base >= self.log_end_offset, "a segment begins where the log ends, or behind a gap");
        assert!(new_base > self.active.base_offset(), "two segments never share their base offset");
        let snapshot = super::producer_snapshot::encode_snapshot(&self.producers);
        let next = ActiveSegment::new(new_base, &self.config, now);
        let (closed, indexes) = std::mem::replace(&mut self.active, next).close();
        self.measured = None;
        if closed.bytes > 0 {
            self.closed.push_back(closed);
        }
        self.snapshots.insert(new_base);
        Roll { closed, indexes, new_base, snapshot }
    }

    /// Closes the active segment though no batch asks for it; `None` where it is empty.
    pub fn roll(&mut self, now: Monotonic) -> Option<Roll> {
        (self.active.bytes() > 0).then(|| self.roll_to(self.log_end_offset, now))
    }
}

/// What became of a batch that was not refused.
#[derive(Debug, PartialEq, Eq)]
pub enum AppendOutcome {
    /// It was appended.
    Appended(Appended),
    /// It was appended before; acknowledge it once its last offset is durable.
    Duplicate(DuplicateBatch),
}

/// Where a segment ends.
pub(super) fn segment_end(segment: &ActiveSegment) -> FilePosition {
    FilePosition(segment.bytes())
}
