//! One cleaning of one log: first the dirty section is read for its keys, then every segment is filtered.
//!
//! Owned by the partition's owner shard for as long as the cleaning takes. [`Cleaning::step`] says what the shell has
//! to do next. The segments that it names are closed and do not change meanwhile: retention lets the log alone. What
//! comes out of a group of neighbours is one segment, written to `.cleaned` files and swapped in before the next group
//! is begun (Kafka's `Cleaner.doClean`).
//!
//! What must hold: memory is bounded by the map, one window of a segment and what comes out of it; a cleaning that
//! ends early has changed nothing but the groups that were swapped in; a dirty section that is larger than the map is
//! cleaned up to the first record that did not fit, which is at least one record further on (KAFKA-3894).

use std::collections::BTreeMap;

use thiserror::Error;

use super::dirty::Cleanable;
use super::filter::{BatchFilter, Filtered, LastRecord, check_batch, control_kind, uncompressed};
use super::groups::{GroupLimits, group_segments};
use super::offset_map::{MapBounds, OffsetMap};
use super::transactions::CleanedTransactions;
use crate::ids::{FilePosition, Offset, ProducerId, TimestampMs};
use crate::limits::{BATCH_HEADER_BYTES, CLEANED_BATCH_BYTES_MAX, SEGMENT_BYTES_MAX};
use crate::log::config::LogConfig;
use crate::log::partition_log::Log;
use crate::log::segment::{ActiveSegment, ClosedSegment, SegmentIndexes};
use crate::log::txn_index::AbortedTransaction;
use crate::protocol::compression::Decompressor;
use crate::protocol::records::{Batch, BatchError, BatchHeader, RecordIter};
use crate::time::Monotonic;

/// Bytes of batches behind which [`Cleaning::feed`] returns, so that others run.
const STEP_BYTES: usize = 16 * 1024;

/// Why a log cannot be cleaned: it is left as it is from there on, and not tried again before the next start.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CleanError {
    /// Bytes of a segment are not those that were written.
    #[error("segment {segment_base} is damaged at byte {position}: {reason}")]
    Corrupt {
        /// The segment's base offset.
        segment_base: Offset,
        /// Where the batch begins that cannot be read.
        position: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// A batch has the format of Kafka before 0.11, which is left unchanged.
    #[error("segment {segment_base} has a batch of the old format {magic} at byte {position}")]
    OldFormat {
        /// The segment's base offset.
        segment_base: Offset,
        /// Where the batch begins.
        position: u64,
        /// Its magic, 0 or 1.
        magic: i8,
    },
    /// Batches became larger by being compressed anew, so that the cleaned segment would pass 2 GiB.
    #[error("the cleaned segment {segment_base} would be larger than a segment may be")]
    TooLarge {
        /// The base offset of the cleaned segment.
        segment_base: Offset,
    },
}

/// What a cleaning begins with, taken from a log at one moment.
#[derive(Clone, Debug)]
pub struct CleaningInput {
    /// The closed segments below [`upper`](Cleanable::upper), oldest first.
    pub segments: Vec<ClosedSegment>,
    /// What is to be cleaned.
    pub cleanable: Cleanable,
    /// The last records of the active producers.
    pub last_records: BTreeMap<ProducerId, LastRecord>,
    /// The settings of the log.
    pub config: LogConfig,
    /// The wall clock.
    pub now: TimestampMs,
    /// How large the map of keys may be.
    pub map: MapBounds,
    /// Sixteen random bytes.
    pub secret: [u8; 16],
    /// Bytes of a segment that are read at a time.
    pub window_bytes: u64,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CleanStep {
    /// Look for the aborted transactions that overlap these offsets, and call [`Cleaning::aborted`].
    Aborted {
        /// The first offset of a segment.
        from: Offset,
        /// The first offset behind it.
        to: Offset,
    },
    /// Read just so many bytes of the segment, or call [`Cleaning::short_read`] where the file ends before, and call
    /// [`Cleaning::feed`] with them, again with what it did not use for as long as it uses any.
    Read {
        /// The segment's base offset.
        segment_base: Offset,
        /// Where the window begins.
        from: FilePosition,
        /// Bytes of the window.
        bytes: u64,
    },
    /// Take what [`Cleaning::take_output`] has and append it to the `.log.cleaned` file of this segment.
    Write {
        /// The base offset of the cleaned segment.
        segment_base: Offset,
    },
    /// Take the cleaned segment by [`Cleaning::take_group`] and put it in the place of its sources.
    Swap,
    /// The log is clean up to [`Cleaning::end`].
    Done,
}

/// A cleaned segment whose bytes were all written.
#[derive(Debug, PartialEq, Eq)]
pub struct CleanedGroup {
    /// The base offsets of the segments that it replaces; the first is its own.
    pub sources: Vec<Offset>,
    /// The segment.
    pub segment: ClosedSegment,
    /// Its indexes.
    pub indexes: SegmentIndexes,
    /// It is the one source byte for byte: throw the cleaned files away.
    pub is_unchanged: bool,
}

/// What a cleaning has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CleanerStats {
    /// Bytes that were read for their keys.
    pub map_bytes_read: u64,
    /// Bytes that were filtered.
    pub bytes_read: u64,
    /// Bytes that came out.
    pub bytes_written: u64,
    /// Records that were filtered.
    pub records_read: u64,
    /// Those of them that stayed.
    pub records_kept: u64,
    /// Records without a key that were dropped.
    pub keyless: u64,
    /// Keys in the map.
    pub keys: usize,
    /// The map was full before the dirty section ended.
    pub map_full: bool,
}

/// Where a walk over the segments stands.
#[derive(Clone, Copy, Debug)]
struct Place {
    /// The segment, by its number in the input.
    segment: usize,
    position: FilePosition,
    /// The next batch begins at no offset below.
    least: Offset,
    /// Bytes that the next window needs.
    needs: u64,
    aborted_known: bool,
}

impl Place {
    fn start_of(segment: usize) -> Place {
        // Its first batch is held against the segment's base.
        Place { segment, position: FilePosition(0), least: Offset::ZERO, needs: 0, aborted_known: false }
    }
}

/// The cleaned segment that is being filled.
#[derive(Debug)]
struct Output {
    segment: ActiveSegment,
    /// The numbers of its sources in the input.
    sources: std::ops::Range<usize>,
    bytes: Vec<u8>,
    is_unchanged: bool,
}

#[derive(Debug)]
enum Phase {
    Map(Place),
    Filter(Place),
    /// Every batch of the group was filtered.
    Grouped,
    Done,
}

/// One cleaning.
#[derive(Debug)]
pub struct Cleaning {
    input: CleaningInput,
    filter: BatchFilter,
    phase: Phase,
    /// Transactions of the walk for the map, which is one of its own.
    map_transactions: CleanedTransactions,
    /// Groups that are still to come, last first, as ranges of segments.
    groups: Vec<std::ops::Range<usize>>,
    output: Option<Output>,
    stats: CleanerStats,
}

impl Log {
    /// What a cleaning of the log begins with; the caller adds what is not the log's.
    #[must_use]
    pub fn cleaning_input(&self, cleanable: Cleanable, bounds: MapBounds, now: TimestampMs) -> CleaningInput {
        let below = self.closed.iter().filter(|segment| segment.base_offset < cleanable.upper);
        CleaningInput {
            segments: below.copied().collect(),
            cleanable,
            last_records: LastRecord::of_all(&self.producers),
            config: self.config.clone(),
            now,
            map: bounds,
            secret: [0; 16],
            window_bytes: 256 * 1024,
        }
    }
}

impl Cleaning {
    /// The cleaning that `input` describes.
    #[must_use]
    pub fn new(mut input: CleaningInput) -> Cleaning {
        input.window_bytes = input.window_bytes.max(BATCH_HEADER_BYTES as u64);
        let Cleanable { first_dirty, upper, .. } = input.cleanable;
        let keys_max = u64::try_from(upper.0.saturating_sub(first_dirty.0)).unwrap_or(0);
        let filter = BatchFilter {
            map: OffsetMap::new(input.map, keys_max, input.secret),
            map_end: upper,
            upper,
            now: input.now,
            delete_retention_ms: input.config.delete_retention_ms,
            last_records: input.last_records.clone(),
            transactions: CleanedTransactions::new(),
        };
        let after = input.segments.partition_point(|segment| segment.base_offset <= first_dirty);
        let mut cleaning = Cleaning {
            filter,
            phase: Phase::Map(Place::start_of(after.saturating_sub(1))),
            map_transactions: CleanedTransactions::new(),
            groups: Vec::new(),
            output: None,
            stats: CleanerStats::default(),
            input,
        };
        cleaning.settle();
        cleaning
    }

    /// What to do next; asking again changes nothing.
    #[must_use]
    pub fn step(&self) -> CleanStep {
        let place = match &self.phase {
            Phase::Map(place) | Phase::Filter(place) => *place,
            Phase::Grouped => {
                let output = self.output.as_ref().expect("a group that was filtered has an output");
                let segment_base = output.segment.base_offset();
                return if output.bytes.is_empty() {
                    CleanStep::Swap
                } else {
                    CleanStep::Write { segment_base }
                };
            }
            Phase::Done => return CleanStep::Done,
        };
        if let Some(output) = &self.output
            && output.bytes.len() as u64 >= self.input.window_bytes
        {
            return CleanStep::Write { segment_base: output.segment.base_offset() };
        }
        let segment = &self.input.segments[place.segment];
        if !place.aborted_known {
            return CleanStep::Aborted { from: segment.base_offset, to: self.end_of(place.segment) };
        }
        let left = segment.bytes - place.position.0;
        let bytes = place.needs.max(self.input.window_bytes).min(left);
        CleanStep::Read { segment_base: segment.base_offset, from: place.position, bytes }
    }

    /// The offset up to which the log is clean when this has come to its end.
    #[must_use]
    pub fn end(&self) -> Offset {
        self.filter.map_end
    }

    /// What was done so far.
    #[must_use]
    pub fn stats(&self) -> CleanerStats {
        CleanerStats { keys: self.filter.map.len(), ..self.stats }
    }

    /// The first offset behind a segment.
    fn end_of(&self, segment: usize) -> Offset {
        let next = self.input.segments.get(segment + 1);
        next.map_or(self.input.cleanable.upper, |next| next.base_offset)
    }

    /// The aborted transactions that [`CleanStep::Aborted`] asked for.
    pub fn aborted(&mut self, aborted: Vec<AbortedTransaction>) {
        match &mut self.phase {
            Phase::Map(place) => {
                self.map_transactions.add(aborted);
                place.aborted_known = true;
            }
            Phase::Filter(place) => {
                self.filter.transactions.add(aborted);
                place.aborted_known = true;
            }
            Phase::Grouped | Phase::Done => {}
        }
        self.settle();
    }

    /// The window that [`CleanStep::Read`] asked for, or what is left of it. Returns how many bytes were used: those of
    /// one batch at least where the window begins with a whole one, and of as many as are a moment's work.
    ///
    /// # Errors
    /// [`CleanError`]: the cleaning has ended; what is in `.cleaned` files is worth nothing.
    pub fn feed(&mut self, window: &[u8], decompressor: &mut Decompressor) -> Result<usize, CleanError> {
        let mut used = 0;
        while used < STEP_BYTES
            && let Some(batch) = self.next_batch(window, used)?
        {
            used += batch.bytes.len();
            match self.phase {
                // The filtering begins with another segment: the rest of the window is of no use for it.
                Phase::Map(_) => {
                    if self.map_batch(&batch, decompressor)? {
                        break;
                    }
                }
                Phase::Filter(_) => self.filter_batch(&batch, decompressor)?,
                Phase::Grouped | Phase::Done => break,
            }
            let bytes = batch.bytes.len() as u64;
            if let Phase::Map(place) | Phase::Filter(place) = &mut self.phase {
                place.position = place.position.plus(bytes);
                place.least = batch.header.next_offset();
                place.needs = 0;
            }
        }
        self.settle();
        Ok(used)
    }

    /// The batch at `from` of a window; `None` where the window does not hold it whole, or the segment has ended.
    fn next_batch<'a>(&mut self, window: &'a [u8], from: usize) -> Result<Option<Batch<'a>>, CleanError> {
        let end = match &self.phase {
            Phase::Map(place) | Phase::Filter(place) => self.end_of(place.segment),
            Phase::Grouped | Phase::Done => return Ok(None),
        };
        let (Phase::Map(place) | Phase::Filter(place)) = &mut self.phase else { return Ok(None) };
        let segment = &self.input.segments[place.segment];
        let (left, rest) = (segment.bytes - place.position.0, &window[from..]);
        let position = place.position.0;
        let corrupt =
            |reason: String| CleanError::Corrupt { segment_base: segment.base_offset, position, reason };
        if left == 0 {
            return Ok(None);
        }
        let header = match BatchHeader::parse(rest) {
            Ok(header) => header,
            Err(BatchError::Magic(magic @ (0 | 1))) => {
                return Err(CleanError::OldFormat { segment_base: segment.base_offset, position, magic });
            }
            Err(BatchError::Partial { .. }) if (rest.len() as u64) < left => {
                place.needs = BATCH_HEADER_BYTES as u64;
                return Ok(None);
            }
            Err(error) => return Err(corrupt(error.to_string())),
        };
        let bytes = header.batch_bytes;
        if bytes as u64 > left || bytes > CLEANED_BATCH_BYTES_MAX {
            return Err(corrupt(format!("a batch of {bytes} bytes where {left} are left")));
        }
        let Some(whole) = rest.get(..bytes) else {
            place.needs = bytes as u64;
            return Ok(None);
        };
        // Offsets are not under the CRC.
        let (base, last, least) =
            (header.base_offset, header.last_offset(), place.least.max(segment.base_offset));
        if base < least || last < base || last >= end {
            let (base, last, least, end) = (base.0, last.0, least.0, end.0);
            return Err(corrupt(format!("offsets {base} to {last} where {least} to {} may be", end - 1)));
        }
        Ok(Some(Batch { header, position: from, bytes: whole }))
    }

    /// Why the cleaning ends where [`CleanStep::Read`] could not be given all that it asked for.
    #[must_use]
    pub fn short_read(&self) -> CleanError {
        self.corrupt("the file is shorter than the segment was".to_owned())
    }

    fn corrupt(&self, reason: String) -> CleanError {
        let (Phase::Map(place) | Phase::Filter(place)) = &self.phase else {
            unreachable!("a batch is looked at in a segment");
        };
        let segment_base = self.input.segments[place.segment].base_offset;
        CleanError::Corrupt { segment_base, position: place.position.0, reason }
    }

    /// Notes the keys of a batch; at the first that does not fit the map ends before its record, and this says so.
    fn map_batch(&mut self, batch: &Batch<'_>, decompressor: &mut Decompressor) -> Result<bool, CleanError> {
        self.stats.map_bytes_read += batch.bytes.len() as u64;
        match self.note_keys(batch, decompressor) {
            Ok(None) => Ok(false),
            Ok(Some(end)) => {
                self.stats.map_full = true;
                self.filter.map_end = end;
                self.begin_filtering();
                Ok(true)
            }
            Err(reason) => Err(self.corrupt(reason)),
        }
    }

    fn note_keys(
        &mut self,
        batch: &Batch<'_>,
        decompressor: &mut Decompressor,
    ) -> Result<Option<Offset>, String> {
        let header = &batch.header;
        let codec = check_batch(batch)?;
        let payload = uncompressed(batch, codec, decompressor)?;
        if header.attributes.is_control() {
            self.map_transactions.on_marker(header, control_kind(header, payload)?);
            return Ok(None);
        }
        let is_aborted = self.map_transactions.on_batch(header);
        if is_aborted || header.last_offset() < self.input.cleanable.first_dirty {
            return Ok(None);
        }
        let mut lowest = header.base_offset.max(self.input.cleanable.first_dirty);
        for record in RecordIter::new(payload, header.record_count) {
            let record = record.map_err(|error| error.to_string())?;
            let offset = record.offset(header);
            if offset < lowest {
                continue;
            }
            if offset > header.last_offset() {
                return Err(format!("a record has the offset delta {}", record.offset_delta));
            }
            lowest = offset.plus(1);
            if let Some(key) = record.key
                && !self.filter.map.put(key, offset)
            {
                return Ok(Some(offset));
            }
        }
        Ok(None)
    }

    fn filter_batch(&mut self, batch: &Batch<'_>, decompressor: &mut Decompressor) -> Result<(), CleanError> {
        let done = match self.filter.filter(batch, decompressor) {
            Ok(done) => done,
            Err(reason) => return Err(self.corrupt(reason)),
        };
        self.stats.bytes_read += batch.bytes.len() as u64;
        self.stats.records_read += done.records;
        self.stats.records_kept += done.records_kept;
        self.stats.keyless += done.keyless;
        let output = self.output.as_mut().expect("a group that is filtered has an output");
        let bytes: &[u8] = match &done.batch {
            Filtered::Nothing => &[],
            Filtered::Unchanged => batch.bytes,
            Filtered::Rewritten(bytes) => bytes,
        };
        output.is_unchanged &= done.batch == Filtered::Unchanged;
        if !bytes.is_empty() {
            if output.segment.bytes() + bytes.len() as u64 > SEGMENT_BYTES_MAX {
                return Err(CleanError::TooLarge { segment_base: output.segment.base_offset() });
            }
            let header = BatchHeader::parse(bytes).expect("a filter gives whole batches");
            assert_eq!(header.base_offset, batch.header.base_offset, "offsets never change");
            assert_eq!(header.last_offset(), batch.header.last_offset(), "offsets never change");
            let modified = self.input.segments[output.sources.end - 1].modified;
            output.segment.append(&header, self.input.config.index_interval_bytes, modified);
            output.bytes.extend_from_slice(bytes);
            self.stats.bytes_written += bytes.len() as u64;
        }
        if let Some(entry) = done.aborted {
            output.segment.indexes_mut().aborted.append(entry);
        }
        Ok(())
    }

    /// Moves on over segments that are at their end, and from one phase to the next.
    fn settle(&mut self) {
        loop {
            match &mut self.phase {
                Phase::Map(place) => match self.input.segments.get(place.segment) {
                    None => self.begin_filtering(),
                    Some(segment) if place.position.0 < segment.bytes => return,
                    Some(_) => *place = Place::start_of(place.segment + 1),
                },
                Phase::Filter(place) => {
                    let segment = &self.input.segments[place.segment];
                    if place.position.0 < segment.bytes {
                        return;
                    }
                    let group = &self.output.as_ref().expect("a group has an output").sources;
                    if place.segment + 1 < group.end {
                        *place = Place::start_of(place.segment + 1);
                    } else {
                        self.phase = Phase::Grouped;
                    }
                }
                Phase::Grouped | Phase::Done => return,
            }
        }
    }

    fn begin_filtering(&mut self) {
        let end = self.filter.map_end;
        let count = self.input.segments.partition_point(|segment| segment.base_offset < end);
        let limits = GroupLimits::of(&self.input.config);
        let upper = if count < self.input.segments.len() {
            self.input.segments[count].base_offset
        } else {
            self.input.cleanable.upper
        };
        let mut at = 0;
        let groups = group_segments(&self.input.segments[..count], upper, limits);
        let ranges = groups.iter().map(|group| {
            at += group.len();
            at - group.len()..at
        });
        self.groups = ranges.collect();
        self.groups.reverse();
        self.begin_group();
    }

    fn begin_group(&mut self) {
        let Some(sources) = self.groups.pop() else {
            self.phase = Phase::Done;
            return;
        };
        let base = self.input.segments[sources.start].base_offset;
        // A single segment may have more index entries than the settings allow by now.
        let config = LogConfig { segment_index_bytes: usize::MAX, ..self.input.config.clone() };
        self.phase = Phase::Filter(Place::start_of(sources.start));
        self.output = Some(Output {
            segment: ActiveSegment::new(base, &config, Monotonic::ZERO),
            is_unchanged: sources.len() == 1,
            sources,
            bytes: Vec::new(),
        });
        self.settle();
    }

    /// What has come out and is not written yet.
    pub fn take_output(&mut self) -> Vec<u8> {
        self.output.as_mut().map(|output| std::mem::take(&mut output.bytes)).unwrap_or_default()
    }

    /// The cleaned segment that [`CleanStep::Swap`] names; the cleaning goes on with the next group.
    pub fn take_group(&mut self) -> Option<CleanedGroup> {
        if self.step() != CleanStep::Swap {
            return None;
        }
        let output = self.output.take().expect("a group that was filtered has an output");
        let sources = &self.input.segments[output.sources.clone()];
        let (mut segment, indexes) = output.segment.close();
        segment.modified = sources.last().expect("a group has a segment").modified;
        let bases = sources.iter().map(|source| source.base_offset).collect();
        let is_unchanged = output.is_unchanged;
        self.begin_group();
        Some(CleanedGroup { sources: bases, segment, indexes, is_unchanged })
    }
}
