//! Group commit: what partitions have appended, as one frame, and the announcement that it is on disk.

use std::rc::Rc;

use ottla::canary::{self, Canary};
use ottla::ids::{FilePosition, Offset};
use ottla::limits::{BLOCK_BYTES, JOURNAL_FRAME_BYTES_MAX};
use ottla::log::journal::frame::{FRAME_HEADER_BYTES, FrameWriter, RING_START, entry_bytes};
use ottla::log::journal::{EntryHead, FrameStamp, Reserved};
use ottla::metrics::{Counter, Timing};
use ottla::time::Monotonic;

use super::{FRAME_BYTES, Journal, Journaled, Members, SMALL_BYTES_MAX, Stage};
use crate::disk::error::{Context as _, IoFailure};
use crate::disk::partition::{CommitSpan, FlushState, Partition, State};
use crate::disk::shard_disk::ShardDisk;
use crate::host::sync::Permit;
use crate::host::{self, AlignedBuf, Durability, File, WriteSlice};

/// Bytes of one segment that go into a frame.
#[derive(Clone, Copy)]
struct Piece {
    base: Offset,
    from: FilePosition,
    to: FilePosition,
}

/// A partition's part of a frame.
struct Part {
    partition: Rc<Partition>,
    pieces: Vec<Piece>,
    /// The log's end that the frame makes durable.
    end: Offset,
    /// Its share of the budget of unflushed bytes.
    share: Option<Permit>,
}

/// What goes into a frame.
struct Gathered {
    parts: Vec<(Rc<Partition>, Vec<Piece>)>,
    bytes: usize,
    entries: u32,
}

/// A frame on its way.
struct Commit {
    parts: Vec<Part>,
    entries: u32,
    reserved: Reserved,
    buffer: AlignedBuf,
    file: File,
    at: Monotonic,
}

/// What a partition says when its turn comes.
enum Offer {
    /// It has nothing to commit any more.
    Nothing,
    /// It takes the other way.
    TooLarge,
    /// These, of so many bytes in a frame.
    Pieces(Vec<Piece>, usize),
}

/// From so many waiting partitions on, the first of two frames leaves half of them to the second.
const SPLIT_FROM: usize = 16;

impl ShardDisk {
    /// Commits some of those who wait for the journal, in one frame. False where none of them could be.
    pub(in crate::disk) fn commit_journal(self: &Rc<Self>, journal: &Rc<Journal>) -> bool {
        let Some(commit) = journal.begin_commit(self) else { return false };
        let (disk, journal) = (Rc::clone(self), Rc::clone(journal));
        host::spawn_detached(async move {
            let Commit { parts, entries, reserved, buffer, file, at } = commit;
            let bytes = buffer.len() as u64;
            let result = journal.write(&file, buffer, reserved).await;
            journal.frames_in_flight.set(journal.frames_in_flight.get() - 1);
            journal.committing.set(journal.committing.get() - parts.len());
            if result.is_ok() {
                let span = CommitSpan { begun: at, ended: host::now() };
                disk.metrics.span(Timing::CommitJournal, span.begun, span.ended);
                disk.metrics.add(Counter::JournalBytes, bytes);
                disk.pace.note_commit(span.ended);
                parts.iter().for_each(|part| part.partition.last_commit.set(span));
            }
            journal.end_commit(&disk, parts, (reserved.sequence, entries), result);
            // Those who were just told append again in this turn, and come along.
            host::yield_now().await;
            disk.sort_arrived();
            disk.serve_journals();
        });
        true
    }
}

impl Journal {
    /// Takes partitions out of the queue until a frame is full; those with nothing to commit, or with too much, do not
    /// count.
    fn gather(&self, disk: &ShardDisk) -> Gathered {
        let waiting = self.waiting();
        let is_split = self.frames_in_flight.get() == 0 && waiting >= SPLIT_FROM;
        let parts_max = if is_split { waiting.div_ceil(2) } else { waiting };
        let mut gathered =
            Gathered { parts: Vec::with_capacity(parts_max), bytes: FRAME_HEADER_BYTES, entries: 0 };
        while gathered.parts.len() < parts_max {
            let Some(partition) = self.waiting.borrow_mut().pop_front() else { break };
            match partition.offer() {
                Offer::Nothing => {}
                Offer::TooLarge => disk.flushes.add_direct(partition),
                Offer::Pieces(_, more)
                    if gathered.bytes + more > FRAME_BYTES && !gathered.parts.is_empty() =>
                {
                    self.waiting.borrow_mut().push_front(partition);
                    break;
                }
                Offer::Pieces(pieces, more) => {
                    gathered.bytes += more;
                    gathered.entries +=
                        u32::try_from(pieces.len()).expect("a log has few segments in memory");
                    gathered.parts.push((partition, pieces));
                }
            }
        }
        gathered
    }

    fn begin_commit(self: &Rc<Self>, disk: &Rc<ShardDisk>) -> Option<Commit> {
        let Stage::Ready { file, epoch } = self.stage.borrow().clone() else { return None };
        let Gathered { parts, bytes, entries } = self.gather(disk);
        if parts.is_empty() {
            return None;
        }
        let Some(reserved) = self.reserve(bytes, entries) else {
            self.pressure.notify_one();
            // Commits into segments take what was journaled along, and so make room for those who stay.
            let mut waiting = self.waiting.borrow_mut();
            for (partition, _) in parts.into_iter().rev() {
                waiting.push_front(partition);
            }
            let leaving = disk.flushes.room().min(waiting.len());
            waiting.drain(..leaving).for_each(|partition| disk.flushes.add_direct(partition));
            return None;
        };
        let partitions = parts.iter().map(|(partition, _)| Rc::downgrade(partition)).collect();
        let at = host::now();
        self.members.borrow_mut().push_back(Members { at, partitions });
        let parts: Vec<Part> =
            parts.into_iter().map(|(partition, pieces)| Part::begin(partition, pieces)).collect();
        self.frames_in_flight.set(self.frames_in_flight.get() + 1);
        self.committing.set(self.committing.get() + parts.len());
        let buffer = encode(&parts, bytes, epoch, reserved);
        Some(Commit { parts, entries, reserved, buffer, file, at })
    }

    async fn write(&self, file: &File, buffer: AlignedBuf, reserved: Reserved) -> Result<(), IoFailure> {
        let slices: Vec<WriteSlice> = vec![buffer.into()];
        let durability =
            if canary::is(Canary::JournalUnsynced) { Durability::None } else { Durability::DataSync };
        let result = file.write_at(slices, position_of(reserved), durability).await;
        result.at("write", &self.dir.path().join("the journal"))
    }

    fn end_commit(
        self: &Rc<Self>,
        disk: &Rc<ShardDisk>,
        parts: Vec<Part>,
        (sequence, entries): (u64, u32),
        result: Result<(), IoFailure>,
    ) {
        match result {
            Ok(()) => {
                self.frames_written.set(self.frames_written.get() + 1);
                for part in parts {
                    part.partition.journaled(&part, sequence);
                }
                self.note_frame(disk);
            }
            Err(failure) if failure.may_be_retried() => {
                tracing::warn!("{failure}; committing without a journal");
                self.rest();
                for part in parts {
                    part.partition.commits_otherwise(part.share);
                }
                self.release_entries(sequence, entries);
            }
            Err(failure) => {
                self.dir.fail(&failure);
                let error = self.dir.check().expect_err("it has just gone offline");
                for part in parts {
                    part.partition.state.borrow_mut().flush = FlushState::Idle;
                    part.partition.end_waits(&error);
                }
            }
        }
    }
}

fn position_of(reserved: Reserved) -> u64 {
    RING_START + reserved.block * BLOCK_BYTES as u64
}

fn encode(parts: &[Part], bytes: usize, epoch: u64, reserved: Reserved) -> AlignedBuf {
    let mut buffer = AlignedBuf::new(bytes.next_multiple_of(BLOCK_BYTES));
    let mut writer = FrameWriter::new(&mut buffer);
    for part in parts {
        let partition = &part.partition;
        let mut state = partition.state.borrow_mut();
        for piece in &part.pieces {
            let head = EntryHead {
                id: partition.id(),
                topic: &partition.name.topic,
                segment_base: piece.base,
                position: piece.from,
            };
            let tail = &state.tail_of(piece.base).expect("its bytes are in memory").tail;
            let length = usize::try_from(piece.to.0 - piece.from.0).expect("a frame is small");
            writer.entry(&head, length, |into| {
                assert_eq!(tail.peek(piece.from, into), Some(length), "pending bytes are in memory");
            });
        }
    }
    let Reserved { sequence, oldest, .. } = reserved;
    writer.finish(FrameStamp { epoch, sequence, oldest, position: position_of(reserved) });
    buffer
}

impl Part {
    fn begin(partition: Rc<Partition>, pieces: Vec<Piece>) -> Part {
        let mut state = partition.state.borrow_mut();
        let end = state.log.log_end_offset();
        state.flush = FlushState::Running;
        state.relaxed_until = end;
        let share = state.pending.take();
        drop(state);
        Part { partition, pieces, end, share }
    }
}

impl State {
    /// Bytes that are nowhere but in memory.
    pub(in crate::disk) fn uncommitted_bytes(&self) -> u64 {
        self.tails.iter().map(|segment| segment.tail.uncommitted_bytes()).sum()
    }
}

impl Partition {
    /// Whether the journal may take the next commit.
    pub(in crate::disk) fn suits_journal(self: &Rc<Self>) -> bool {
        if !self.journal.is_usable() {
            return false;
        }
        let is_small = self.state.borrow().uncommitted_bytes() < SMALL_BYTES_MAX;
        // Whether the journal pays is found out before anybody is made ready for it.
        is_small && (self.journal.is_unmade() || self.identified.get() || self.begin_to_identify())
    }

    fn offer(&self) -> Offer {
        let mut state = self.state.borrow_mut();
        assert_eq!(state.flush, FlushState::Queued, "the queue holds those that wait");
        let mut pieces = Vec::with_capacity(1);
        let mut bytes = 0;
        for segment in state.tails.iter().filter(|segment| segment.tail.uncommitted_bytes() > 0) {
            let (from, to) = (segment.tail.committed_end(), segment.tail.end());
            bytes += entry_bytes(&self.name.topic, usize::try_from(to.0 - from.0).unwrap_or(usize::MAX / 4));
            pieces.push(Piece { base: segment.base, from, to });
        }
        if FRAME_HEADER_BYTES + bytes > JOURNAL_FRAME_BYTES_MAX {
            return Offer::TooLarge;
        }
        let refused = self.dir.check();
        if !pieces.is_empty() && !state.closed && refused.is_ok() {
            return Offer::Pieces(pieces, bytes);
        }
        state.flush = FlushState::Idle;
        if pieces.is_empty() {
            state.pending = None;
        }
        let is_closed = state.closed;
        drop(state);
        if let (Err(error), false) = (refused, is_closed) {
            self.end_waits(&error);
        }
        Offer::Nothing
    }

    /// A frame with bytes of this partition is on disk.
    fn journaled(self: &Rc<Self>, part: &Part, sequence: u64) {
        let outcome = self.dir.check();
        let mut unneeded = 0;
        {
            let mut state = self.state.borrow_mut();
            let state = &mut *state;
            state.flush = FlushState::Idle;
            for piece in &part.pieces {
                let segment = state.tails.iter_mut().find(|segment| segment.base == piece.base);
                if let Some(segment) = segment.filter(|_| !state.closed && outcome.is_ok()) {
                    segment.tail.journal_done(piece.to);
                    if segment.tail.written_end() < piece.to && !canary::is(Canary::JournalReleasedEarly) {
                        let (base, end) = (piece.base, piece.to);
                        state.journaled.push_back(Journaled { sequence, base, end });
                        continue;
                    }
                }
                unneeded += 1;
            }
            if !state.closed && outcome.is_ok() {
                state.log.mark_durable(part.end);
            }
        }
        for _ in 0..unneeded {
            self.journal.release(sequence);
        }
        match outcome {
            _ if self.state.borrow().closed => {}
            Err(error) => self.end_waits(&error),
            Ok(()) => self.announce_journaled(part.end),
        }
    }

    fn announce_journaled(self: &Rc<Self>, end: Offset) {
        self.durable.advance(end);
        self.publish_high_watermark();
        self.progress.notify_all();
        self.disk.note_written(self, 0);
        // What came before a roll may have been in its file then: nothing else asks for that segment any more.
        self.finish_closed_segments();
        let (uncommitted, gathered, rolled) = {
            let state = self.state.borrow();
            // A closed segment is finished only when its file has all of it.
            let mut closed = state.tails.iter().rev().skip(1);
            let rolled = closed.any(|segment| segment.tail.pending_bytes() > 0);
            (state.uncommitted_bytes(), state.pending_bytes(), rolled)
        };
        if uncommitted > 0 {
            self.disk.schedule_flush(self);
        }
        if gathered >= SMALL_BYTES_MAX || rolled {
            self.request_write_back();
        }
    }

    /// The journal could not take what it was given: the segment has to.
    fn commits_otherwise(self: &Rc<Self>, share: Option<Permit>) {
        {
            let mut state = self.state.borrow_mut();
            state.flush = FlushState::Idle;
            state.give_back(share);
        }
        self.disk.enqueue_flush(self);
    }
}

impl State {
    /// Takes back the share of a flush that did not take place.
    pub(in crate::disk) fn give_back(&mut self, share: Option<Permit>) {
        match (&mut self.pending, share) {
            (Some(pending), Some(share)) => pending.merge(share),
            (none, share) => {
                if none.is_none() {
                    *none = share;
                }
            }
        }
    }
}
