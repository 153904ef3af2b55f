//! The scan of a segment's bytes: which prefix of them is whole batches, and what its indexes must say.
//!
//! Owned by the partition's owner shard at a start, after a truncation and when an index file is corrupt. Nothing
//! here reads: [`SegmentScan`] is fed with a segment's bytes in order, in pieces of any size, and holds no more than
//! a header and a running CRC, whatever a length field claims. A segment may be preallocated: zeros behind the last
//! batch end it as the end of the file does.
//!
//! What must hold (Kafka's `LogSegment.recover`): a batch counts if it is whole, of magic 2, with a true CRC, and
//! its offsets follow those before it. The first bytes that are no such batch end the valid prefix. Whether that is
//! a torn write or damage to acknowledged records is for [`DamageSearch`](super::damage::DamageSearch) to find out.

use thiserror::Error;

use super::config::LogConfig;
use super::producers::{ProducerBatch, Producers};
use super::segment::{ActiveSegment, ClosedSegment, ResumedSegment, SegmentIndexes};
use super::txn_index::AbortedTransaction;
use crate::canary::{self, Canary};
use crate::ids::{FilePosition, Offset, TimestampMs};
use crate::limits::{BATCH_HEADER_BYTES, SEGMENT_BYTES_MAX};
use crate::protocol::records::{BatchHeader, EndTransactionMarker, RecordIter};
use crate::time::Monotonic;

/// Bytes of a control batch that are kept to read its marker: Kafka's take 17.
const MARKER_BYTES_MAX: usize = 256;

/// Where the CRC of a batch begins to count.
const CRC_FROM: usize = 21;

/// Why the valid prefix of a segment ends where it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PrefixEnd {
    /// The file ends with a whole batch.
    #[error("the segment ends with a whole batch")]
    Whole,
    /// The offset that a truncation asked for was reached.
    #[error("the offset to truncate to is reached")]
    Limit,
    /// What follows begins like space that was never written.
    #[error("zeros follow")]
    Zeros,
    /// The file ends within a batch.
    #[error("the file ends within a batch")]
    Torn,
    /// A batch is there but its CRC is not that of its bytes.
    #[error("the CRC of a batch is wrong")]
    Crc,
    /// The bytes do not begin like a batch.
    #[error("what follows is no batch")]
    NoBatch,
    /// The batch's offsets go back, or are out of the segment's reach.
    #[error("the offsets of a batch do not follow those before it")]
    Offsets,
}

/// A batch that a scan found to be whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScannedBatch {
    /// Its header.
    pub header: BatchHeader,
    /// Its first byte.
    pub position: FilePosition,
    /// The marker of a control batch that ends a transaction.
    pub marker: Option<EndTransactionMarker>,
}

impl ScannedBatch {
    /// The batch as the producers see it.
    #[must_use]
    pub fn sequenced(&self) -> ProducerBatch<'_> {
        ProducerBatch { header: &self.header, marker: self.marker }
    }
}

/// Takes note of the batches that a scan finds; an aborted transaction comes back for the index.
pub trait BatchSink {
    /// Called for each valid batch, in order.
    fn batch(&mut self, batch: &ScannedBatch) -> Option<AbortedTransaction>;
}

/// Takes note of nothing: for the rebuild of indexes alone, which then have no aborted transactions.
#[derive(Clone, Copy, Debug, Default)]
pub struct IgnoreBatches;

impl BatchSink for IgnoreBatches {
    fn batch(&mut self, _: &ScannedBatch) -> Option<AbortedTransaction> {
        None
    }
}

/// Follows the transactions of a log, for a transaction index that is built anew; everything else that producers do is
/// forgotten.
#[derive(Clone, Debug)]
pub struct FollowTransactions {
    producers: Producers,
}

impl FollowTransactions {
    /// Goes on from the `producers` as they were where the scan begins, or before.
    #[must_use]
    pub fn new(producers: Producers) -> FollowTransactions {
        FollowTransactions { producers }
    }
}

impl BatchSink for FollowTransactions {
    fn batch(&mut self, batch: &ScannedBatch) -> Option<AbortedTransaction> {
        self.producers.replay(batch.sequenced(), Monotonic::ZERO, None)
    }
}

/// The part of a batch that the scan has seen.
#[derive(Clone, Debug)]
enum Stage {
    Header { bytes: [u8; BATCH_HEADER_BYTES], have: usize },
    Payload { header: BatchHeader, crc: u32, left: usize, marker: Vec<u8> },
    Over(PrefixEnd),
}

impl Stage {
    const START: Stage = Stage::Header { bytes: [0; BATCH_HEADER_BYTES], have: 0 };
}

/// The scan of one segment, from its start or from a batch that its index names.
#[derive(Clone, Debug)]
pub struct SegmentScan {
    segment: ActiveSegment,
    next_offset: Offset,
    file_bytes: u64,
    limit: Option<Offset>,
    index_interval_bytes: u64,
    stage: Stage,
    /// Bytes of the batch with the wrong CRC at which the scan has ended.
    damaged_bytes: u64,
}

/// What a scan goes by, apart from the bytes.
#[derive(Clone, Copy, Debug)]
pub struct ScanBounds {
    /// Bytes of the file, zeros and all.
    pub file_bytes: u64,
    /// When the file was last changed.
    pub modified: TimestampMs,
    /// Where a truncation wants the log to end: no batch counts that holds this offset or a later one.
    pub limit: Option<Offset>,
}

impl SegmentScan {
    /// A scan from the segment's first byte, that builds its indexes anew.
    #[must_use]
    pub fn new(base_offset: Offset, bounds: ScanBounds, config: &LogConfig) -> SegmentScan {
        let indexes = SegmentIndexes::new(base_offset, usize::MAX);
        let resumed = ResumedSegment::empty(base_offset, bounds.modified, indexes);
        SegmentScan::resume(base_offset, resumed, base_offset, bounds, config)
    }

    /// A scan from the byte where `resumed` ends, of batches from `next_offset` on, that completes its indexes.
    #[must_use]
    pub fn resume(
        base_offset: Offset,
        resumed: ResumedSegment,
        next_offset: Offset,
        bounds: ScanBounds,
        config: &LogConfig,
    ) -> SegmentScan {
        assert!(next_offset >= base_offset, "a segment's batches begin at its base or later");
        SegmentScan {
            segment: ActiveSegment::resume(base_offset, resumed, Monotonic::ZERO),
            next_offset,
            file_bytes: bounds.file_bytes.min(SEGMENT_BYTES_MAX),
            limit: bounds.limit,
            index_interval_bytes: config.index_interval_bytes,
            stage: Stage::START,
            damaged_bytes: 0,
        }
    }

    /// Bytes of the batch at the end of the prefix, by its own header, where only its CRC is wrong; else zero.
    #[must_use]
    pub fn damaged_bytes(&self) -> u64 {
        self.damaged_bytes
    }

    /// The segment's base offset.
    #[must_use]
    pub fn base_offset(&self) -> Offset {
        self.segment.base_offset()
    }

    /// Where the valid prefix ends so far: feed the bytes from here on after [`resume`](SegmentScan::resume).
    #[must_use]
    pub fn valid_end(&self) -> FilePosition {
        FilePosition(self.segment.bytes())
    }

    /// The offset behind the last valid batch.
    #[must_use]
    pub fn next_offset(&self) -> Offset {
        self.next_offset
    }

    /// Goes on with the bytes that follow those fed before; returns whether it wants more.
    pub fn feed<S: BatchSink>(&mut self, mut bytes: &[u8], sink: &mut S) -> bool {
        while !bytes.is_empty() {
            let (used, next) = match &mut self.stage {
                Stage::Over(_) => return false,
                Stage::Header { bytes: header, have } => {
                    let used = bytes.len().min(header.len() - *have);
                    header[*have..*have + used].copy_from_slice(&bytes[..used]);
                    *have += used;
                    let whole = (*have == header.len()).then_some(*header);
                    (used, whole.map(|header| self.enter(&header)))
                }
                Stage::Payload { crc, left, marker, header } => {
                    let used = bytes.len().min(*left);
                    *crc = crc32c::crc32c_append(*crc, &bytes[..used]);
                    if header.attributes.is_control() {
                        let room = MARKER_BYTES_MAX - marker.len();
                        marker.extend_from_slice(&bytes[..used.min(room)]);
                    }
                    *left -= used;
                    (used, None)
                }
            };
            bytes = &bytes[used..];
            if let Some(stage) = next {
                self.stage = stage;
            }
            self.complete(sink);
        }
        !matches!(self.stage, Stage::Over(_))
    }

    /// What follows a whole header.
    fn enter(&self, bytes: &[u8; BATCH_HEADER_BYTES]) -> Stage {
        let Ok(header) = BatchHeader::parse(bytes) else {
            let zeros = bytes.iter().all(|&byte| byte == 0);
            return Stage::Over(if zeros { PrefixEnd::Zeros } else { PrefixEnd::NoBatch });
        };
        if self.segment.bytes() + header.batch_bytes as u64 > self.file_bytes {
            return Stage::Over(PrefixEnd::Torn);
        }
        let follows = header.last_offset_delta >= 0 && header.base_offset >= self.next_offset;
        if !follows || !self.segment.indexes().offsets.can_hold(header.last_offset()) {
            return Stage::Over(PrefixEnd::Offsets);
        }
        if self.limit.is_some_and(|limit| header.last_offset() >= limit) {
            return Stage::Over(PrefixEnd::Limit);
        }
        Stage::Payload {
            header,
            crc: crc32c::crc32c(&bytes[CRC_FROM..]),
            left: header.batch_bytes - BATCH_HEADER_BYTES,
            marker: Vec::new(),
        }
    }

    /// Takes in the batch whose last byte was fed.
    fn complete<S: BatchSink>(&mut self, sink: &mut S) {
        let Stage::Payload { header, crc, left: 0, marker } = &self.stage else {
            return;
        };
        if *crc != header.crc && !canary::is(Canary::CrcUnchecked) {
            self.damaged_bytes = header.batch_bytes as u64;
            self.stage = Stage::Over(PrefixEnd::Crc);
            return;
        }
        let header = *header;
        let marker = read_marker(&header, marker);
        let modified = self.segment.modified();
        let (position, _) = self.segment.append(&header, self.index_interval_bytes, modified);
        self.next_offset = header.next_offset();
        self.stage = Stage::START;
        if let Some(aborted) = sink.batch(&ScannedBatch { header, position, marker }) {
            self.segment.indexes_mut().aborted.append(aborted);
        }
    }

    /// Ends the scan, at the end of the file or before: why the valid prefix ends.
    #[must_use]
    pub fn end(&self) -> PrefixEnd {
        match &self.stage {
            Stage::Over(end) => *end,
            Stage::Header { have: 0, .. } => PrefixEnd::Whole,
            Stage::Header { bytes, have } if bytes[..*have].iter().all(|&byte| byte == 0) => PrefixEnd::Zeros,
            Stage::Header { .. } | Stage::Payload { .. } => PrefixEnd::Torn,
        }
    }

    /// The segment as one that is not appended to any more.
    #[must_use]
    pub fn into_closed(self) -> (ClosedSegment, SegmentIndexes) {
        self.segment.close()
    }

    /// The segment as the one that grows on.
    #[must_use]
    pub fn into_active(self) -> ActiveSegment {
        self.segment
    }
}

/// The marker of a control batch; `None` for a data batch, an emptied one and one of the metadata log.
fn read_marker(header: &BatchHeader, payload: &[u8]) -> Option<EndTransactionMarker> {
    if !header.attributes.is_control() || !header.has_producer_id() || header.record_count == 0 {
        return None;
    }
    let record = RecordIter::new(payload, header.record_count).next()?.ok()?;
    EndTransactionMarker::from_record(&record)
}

#[cfg(test)]
mod tests;
