//! Indexes of a segment that are missing or do not fit it, built anew from its batches, as Kafka does at a start
//! (`LogSegment.recover`): nothing that they say is lost with them.
//!
//! What a transaction index says begins before its segment: whose transactions were open there. The producer snapshot
//! of the roll knows that; without it the log is read from its start.
//!
//! What must hold: who builds has the turn for housekeeping, and what was built is in the files, or is on its way
//! there, before anybody else builds. A transaction index is replaced whole: the beginning of one would be believed.

use std::rc::Rc;

use ottla::ids::{FilePosition, Offset};
use ottla::limits::WHOLE_FILE_BYTES_MAX;
use ottla::log::files::SegmentFileKind;
use ottla::log::producer_snapshot::decode_snapshot;
use ottla::log::producers::Producers;
use ottla::log::recovery::{BatchSink, FollowTransactions, IgnoreBatches, ScanBounds, SegmentScan};
use ottla::log::txn_index::ABORTED_ENTRY_BYTES;
use ottla::log::{ClosedSegment, SegmentIndexes, TransactionIndex};

use super::files::{IndexBytes, IndexWrite};
use super::{IndexFiles, Partition};
use crate::disk::error::{DiskError, IoFailure};
use crate::disk::patient;
use crate::host;

/// Bytes of a segment that are read at a time.
const SCAN_BYTES: u64 = 1 << 20;

impl Partition {
    /// Builds the indexes of a segment anew from its batches, and writes them.
    pub(super) async fn rebuild_indexes(
        self: &Rc<Self>,
        base: Offset,
        reason: &str,
    ) -> Result<SegmentIndexes, DiskError> {
        let turn = self.housekeeping_turn().await?;
        let (written, behind) = self.entries_in_memory(base);
        if let Ok(Ok(indexes)) = self.read_indexes(base, written, &behind).await {
            // Another reader has met it too, and was first.
            return Ok(indexes);
        }
        tracing::warn!("{}: the indexes of segment {base} are built anew: {reason}", self.name);
        let known = self.known_aborted(base, written, &behind).await?;
        let is_damaged = known.is_none();
        let (closed, mut indexes) = match known {
            Some(aborted) => {
                let (closed, indexes) = self.scan_for_indexes(base, &mut IgnoreBatches).await?;
                (closed, SegmentIndexes { aborted, ..indexes })
            }
            None => {
                let mut transactions = self.transactions_before(base).await?;
                self.scan_for_indexes(base, &mut transactions).await?
            }
        };
        self.disk.indexes.forget((self.number, base));
        if self.renew_in_memory(base, &mut indexes) {
            // A segment that was closed meanwhile is finished with all of them.
            let written = self.write_active_indexes(IndexWrite::Synced).await;
            if let Err(DiskError::Io(failure)) = written {
                self.housekeeping_failed(&failure);
            }
        } else {
            self.state.borrow_mut().log.set_largest_timestamp(base, closed.largest_timestamp);
            let mut entries = IndexBytes::behind(IndexFiles::default(), &indexes);
            let aborted = std::mem::take(&mut entries.aborted);
            let mut written = self.write_indexes(base, &entries, IndexWrite::Synced).await;
            if is_damaged && written.is_ok() {
                written = self.replace_aborted(base, &aborted).await;
            }
            // Names and bytes of others may have gone with a sync that fails.
            written.inspect_err(|failure| self.housekeeping_failed(failure))?;
        }
        drop(turn);
        Ok(indexes)
    }

    /// The aborted transactions that the segment's file has, with those behind them in memory; `None` where they have
    /// to be found anew.
    async fn known_aborted(
        &self,
        base: Offset,
        written: Option<IndexFiles>,
        behind: &IndexBytes,
    ) -> Result<Option<TransactionIndex>, DiskError> {
        let kind = SegmentFileKind::TransactionIndex;
        let bytes = written.map(|files| files.aborted * ABORTED_ENTRY_BYTES);
        let mut entries = self.read_index_file(base, kind, bytes).await?;
        entries.extend_from_slice(&behind.aborted);
        match TransactionIndex::decode(base, &entries) {
            Ok(aborted) => Ok(Some(aborted)),
            // What is in memory goes on from what the file has: both are read together at the next start.
            Err(error) if written.is_some() => Err(DiskError::corrupt(&self.file_path(base, kind), error)),
            Err(_) => Ok(None),
        }
    }

    /// Puts a transaction index in the place of a damaged one.
    async fn replace_aborted(&self, base: Offset, bytes: &[u8]) -> Result<(), IoFailure> {
        let path = self.file_path(base, SegmentFileKind::TransactionIndex);
        if !bytes.is_empty() {
            return self.replace(&path, bytes).await;
        }
        self.remove_if_there(&path).await?;
        self.sync_names().await
    }

    /// The transactions that are open where a closed segment begins.
    async fn transactions_before(self: &Rc<Self>, base: Offset) -> Result<FollowTransactions, DiskError> {
        let (first, producers_max, earlier) = {
            let state = self.state.borrow();
            let closed = state.log.closed_segments().map(|segment| segment.base_offset);
            let earlier: Vec<Offset> = closed.filter(|other| *other < base).collect();
            (state.log.first_base_offset(), state.log.config().producers_max, earlier)
        };
        let path = self.file_path(base, SegmentFileKind::ProducerSnapshot);
        if let Ok(bytes) = patient::read_whole(&path, WHOLE_FILE_BYTES_MAX).await
            && let Ok(entries) = decode_snapshot(&bytes, host::now())
        {
            return Ok(FollowTransactions::new(Producers::from_snapshot(entries, base, producers_max)));
        }
        let mut transactions = FollowTransactions::new(Producers::new(first, producers_max));
        for other in earlier {
            self.scan_for_indexes(other, &mut transactions).await?;
        }
        Ok(transactions)
    }

    /// Reads all batches of a segment, as far as it goes now.
    async fn scan_for_indexes<S: BatchSink>(
        self: &Rc<Self>,
        base: Offset,
        sink: &mut S,
    ) -> Result<(ClosedSegment, SegmentIndexes), DiskError> {
        let (config, end) = {
            let mut state = self.state.borrow_mut();
            let active = state.active();
            let active_end = (active.base == base).then(|| active.tail.end());
            let end = active_end.unwrap_or_else(|| self.closed_bytes(&state.log, base));
            (state.log.config().clone(), end)
        };
        let bounds = ScanBounds { file_bytes: end.0, modified: host::wall_ms(), limit: None };
        let mut scan = SegmentScan::new(base, bounds, &config);
        let mut at = FilePosition(0);
        while at < end {
            let window = self.window(base, at, SCAN_BYTES.min(end.0 - at.0)).await?;
            if window.is_empty() || !scan.feed(&window, sink) {
                break;
            }
            at = at.plus(window.len() as u64);
        }
        if scan.valid_end() != end {
            let reason = format!("{} at byte {} of {end}", scan.end(), scan.valid_end());
            return Err(DiskError::corrupt(&self.segment_path(base), reason));
        }
        Ok(scan.into_closed())
    }

    /// Puts indexes that were built anew in the place of those in memory, and completes them with what was appended
    /// since; false where the segment has none in memory. Their files are to be written from the beginning.
    fn renew_in_memory(&self, base: Offset, rebuilt: &mut SegmentIndexes) -> bool {
        let mut state = self.state.borrow_mut();
        let state = &mut *state;
        let files = if state.log.active_segment().base_offset() == base {
            state.log.renew_indexes(rebuilt);
            let now = state.log.active_segment().indexes();
            (rebuilt.offsets, rebuilt.times) = (now.offsets.clone(), now.times.clone());
            self.untouched.set(false);
            &mut state.index_files
        } else if let Some(unfinished) = state.unfinished.get_mut(&base) {
            let mut indexes = (*unfinished.indexes).clone();
            indexes.renew(rebuilt);
            (rebuilt.offsets, rebuilt.times) = (indexes.offsets.clone(), indexes.times.clone());
            unfinished.indexes = Rc::new(indexes);
            &mut unfinished.written
        } else {
            return false;
        };
        (files.offsets, files.times) = (0, 0);
        true
    }
}
