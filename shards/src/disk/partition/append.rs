//! Appends: the one copy of a batch, into the tail, with its offset and epoch; then the flush that makes it durable.
//!
//! An append that finds room runs through without giving way. One that has to wait — for the budget of unflushed
//! bytes, or for the begun last block of a tail that was dropped from memory — keeps the partition's turn meanwhile,
//! so that batches are appended in the order in which they were handed in.
//!
//! Durability: the copy goes to a chunk that no write has taken. The flush that takes it later
//! writes whole blocks from the last written block boundary on; only when that write has ended well is the offset
//! announced. Until then nobody outside sees the batch, unless `flush.messages` above 1 says otherwise.

use std::pin::pin;
use std::rc::Rc;

use ottla::canary::{self, Canary};
use ottla::errors::ErrorCode;
use ottla::ids::{LeaderEpoch, Offset, TimestampMs};
use ottla::limits::{BATCH_HEADER_BYTES, BLOCK_BYTES};
use ottla::log::append::Prepared;
use ottla::log::{AppendError, DuplicateBatch, NewBatch};
use ottla::protocol::records::edit;
use thiserror::Error;

use super::{Partition, State};
use crate::disk::error::{Context as _, DiskError};
use crate::host;
use crate::host::sync::Permit;

/// Closed segments of a partition that are not finished: each has its indexes in memory, beyond its bytes.
const SEGMENTS_UNFINISHED_MAX: usize = 64;

/// Why a batch was not appended.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum AppendFailure {
    /// The log refuses the batch; nothing has changed.
    #[error(transparent)]
    Refused(#[from] AppendError),
    /// The disk does not take it.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

impl AppendFailure {
    /// The code of the reply.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            AppendFailure::Refused(error) => error.code(),
            AppendFailure::Disk(error) => error.code(),
        }
    }
}

/// A batch that is in the log. It may be acknowledged after [`Partition::wait_acknowledged`] of its `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AppendedBatch {
    /// The offset of its first record.
    pub base_offset: Offset,
    /// The offset behind its last record: what has to be durable before the reply.
    pub end: Offset,
    /// The log start offset, which the reply carries.
    pub log_start: Offset,
    /// The batch was in the log before, with this timestamp; nothing was appended.
    pub duplicate: Option<TimestampMs>,
}

/// The turn of one append: nobody else appends to its partition meanwhile.
#[must_use]
#[derive(Debug)]
pub struct Turn(#[expect(dead_code, reason = "held until it is dropped")] Option<Permit>);

impl Partition {
    /// Appends one validated batch. The future runs through at once when there is room; polled in the order of the
    /// calls, appends keep that order.
    ///
    /// # Errors
    /// The log's refusal, or the disk's state. The batch is not in the log then. While the disk is full every batch is
    /// refused for that, but those that are in the log already.
    pub async fn append(
        self: &Rc<Self>,
        batch: &[u8],
        new: NewBatch,
    ) -> Result<AppendedBatch, AppendFailure> {
        match self.append_at_once(batch, &new) {
            Some(appended) => appended,
            None => self.append_in(self.turn().await, batch, &new).await,
        }
    }

    /// Waits for the turn to append: whoever asks later comes behind.
    pub async fn turn(&self) -> Turn {
        let permit = self.turn.acquire(1).await;
        Turn(Some(permit).filter(|_| !canary::is(Canary::AppendedOutOfTurn)))
    }

    /// Appends one validated batch if nobody is before it and nothing has to be waited for; with `None` nothing has
    /// changed, and a [`turn`](Partition::turn) has to be waited for.
    pub fn append_at_once(
        self: &Rc<Self>,
        batch: &[u8],
        new: &NewBatch,
    ) -> Option<Result<AppendedBatch, AppendFailure>> {
        assert_eq!(batch.len(), new.header.batch_bytes, "exactly one batch is appended");
        let _turn = self.turn.try_acquire(1)?;
        if let Err(error) = self.check() {
            return Some(Err(error.into()));
        }
        if !self.may_roll() || self.state.borrow_mut().active().tail.missing_block().is_some() {
            return None;
        }
        let room = self.unflushed.try_acquire(batch.len())?;
        Some(self.append_now(batch, new, room))
    }

    /// Appends one validated batch in its turn.
    ///
    /// # Errors
    /// As [`append`](Partition::append).
    pub async fn append_in(
        self: &Rc<Self>,
        turn: Turn,
        batch: &[u8],
        new: &NewBatch,
    ) -> Result<AppendedBatch, AppendFailure> {
        let appended = match self.reserve(batch.len()).await {
            Ok(room) => self.append_now(batch, new, room),
            // A full disk refuses what is new; what is in the log already takes no room.
            Err(full @ DiskError::Full { .. }) => self.known(new).ok_or(full.into()),
            Err(error) => Err(error.into()),
        };
        drop(turn);
        appended
    }

    /// The place of a batch that the log knows already.
    fn known(&self, new: &NewBatch) -> Option<AppendedBatch> {
        let state = self.state.borrow();
        match state.log.prepare(new, host::now()) {
            Ok(Prepared::Duplicate(duplicate)) => Some(state.place_of(&duplicate)),
            Ok(Prepared::Append(_)) | Err(_) => None,
        }
    }

    /// Waits until the batch can be taken: budget, and the begun block in memory.
    async fn reserve(self: &Rc<Self>, bytes: usize) -> Result<Permit, DiskError> {
        self.check()?;
        while !self.may_roll() {
            let progress = Box::pin(self.progress.notified());
            let _ = host::timeout(self.disk.settings.full_retry, progress).await;
            self.check()?;
            if self.dir.is_full() {
                return Err(self.no_room());
            }
        }
        let room = match self.unflushed.try_acquire(bytes) {
            Some(room) => room,
            None => self.wait_for_room(bytes).await?,
        };
        while self.state.borrow_mut().active().tail.missing_block().is_some() {
            self.load_begun_block().await?;
        }
        self.check()?;
        Ok(room)
    }

    /// Whether another segment may be closed.
    fn may_roll(&self) -> bool {
        self.state.borrow().unfinished.len() < SEGMENTS_UNFINISHED_MAX
    }

    /// Waits for the budget; but not behind bytes that a full disk keeps in memory.
    async fn wait_for_room(&self, bytes: usize) -> Result<Permit, DiskError> {
        // One place in the queue, however long it takes.
        let mut room = pin!(self.unflushed.acquire(bytes));
        loop {
            if let Ok(room) = host::timeout(self.disk.settings.full_retry, room.as_mut()).await {
                return Ok(room);
            }
            self.check()?;
            if self.dir.is_full() {
                return Err(self.no_room());
            }
        }
    }

    /// Reads the begun last block back into memory.
    pub(in crate::disk) async fn load_begun_block(self: &Rc<Self>) -> Result<(), DiskError> {
        let (base, missing) = {
            let mut state = self.state.borrow_mut();
            let active = state.active();
            (active.base, active.tail.missing_block())
        };
        let Some(missing) = missing else { return Ok(()) };
        let file = self.block_file(base).await?;
        let path = self.segment_path(base);
        let block = file.read_at(missing.start.0, BLOCK_BYTES).await.at("read", &path)?;
        let wanted = usize::try_from(missing.end.0 - missing.start.0).expect("less than a block");
        let Some(bytes) = block.get(..wanted) else {
            return Err(DiskError::corrupt(&path, "it is shorter than it was left"));
        };
        let mut state = self.state.borrow_mut();
        let active = state.active();
        // Another reader may have loaded it, or a roll may have made it needless, while this one waited.
        if active.base == base && active.tail.missing_block() == Some(missing) {
            active.tail.load_block(bytes, host::now());
            drop(state);
            self.disk.note_loaded(self);
        }
        Ok(())
    }

    fn append_now(
        self: &Rc<Self>,
        batch: &[u8],
        new: &NewBatch,
        room: Permit,
    ) -> Result<AppendedBatch, AppendFailure> {
        let now = host::now();
        if self.state.borrow().full {
            // Before the sequence is looked at: what comes behind a refused batch is refused for the same reason.
            return self.known(new).ok_or_else(|| self.no_room().into());
        }
        let mut state = self.state.borrow_mut();
        let log_start = state.log.log_start_offset();
        let prepared = match state.log.prepare(new, now)? {
            Prepared::Append(prepared) => prepared,
            Prepared::Duplicate(duplicate) => return Ok(state.place_of(&duplicate)),
        };
        let appended = state.log.apply(prepared, now, host::wall_ms());
        match &mut state.pending {
            Some(pending) => pending.merge(room),
            none => *none = Some(room),
        }
        state.epochs_dirty |= appended.epochs_changed;
        let result = AppendedBatch {
            base_offset: appended.base_offset,
            end: appended.last_offset.plus(1),
            log_start,
            duplicate: None,
        };
        if let Some(roll) = appended.roll {
            self.begin_segment(&mut state, *roll);
        }
        state.store(batch, appended.base_offset, appended.leader_epoch);
        let end = appended.end;
        assert_eq!(state.active().base, end.segment_base, "the batch is in the active segment");
        assert_eq!(state.active().tail.end(), end.position, "memory and arithmetic agree on the end");
        drop(state);
        self.publish_high_watermark();
        self.disk.schedule_flush(self);
        Ok(result)
    }
}

impl State {
    /// What is answered for a batch that was in the log before.
    fn place_of(&self, duplicate: &DuplicateBatch) -> AppendedBatch {
        AppendedBatch {
            base_offset: duplicate.base_offset,
            end: duplicate.last_offset.plus(1),
            log_start: self.log.log_start_offset(),
            duplicate: Some(duplicate.timestamp),
        }
    }

    /// Copies the batch behind the tail, its offset and epoch written into the copy.
    fn store(&mut self, batch: &[u8], base_offset: Offset, epoch: LeaderEpoch) {
        let (header, records) =
            batch.split_first_chunk::<BATCH_HEADER_BYTES>().expect("a batch has a header");
        let mut header = *header;
        edit::set_base_offset(&mut header, base_offset);
        edit::set_leader_epoch(&mut header, epoch);
        self.active().tail.append([&header, records]);
    }
}
