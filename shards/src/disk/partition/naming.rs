//! A segment's file from nothing to a durable name.
//!
//! To make a file is dear beside a commit: the file system looks for an inode, reads its block, and the shard's core
//! does all that. So the file of the next segment is made ahead, empty and under a name that is none of a segment's,
//! when the active segment is half full. What is left for the roll is to give it its name, and that is made durable
//! while the segment's first bytes are; the flush is over when both are. Where there is no such file, as in the first
//! segment of a log, or behind one that time has closed, it is made by who needs it.
//!
//! A start that looks into the directory removes a file under the name of those made ahead, as it does everything that
//! ends so: it is empty, for it has another name before anything is written to it. One that stays is replaced when the
//! next is made.
//!
//! What must hold: a segment's name is durable before anything in it is acknowledged; one task at a time gives names in
//! a partition.

use std::path::PathBuf;
use std::rc::Rc;

use ottla::canary::{self, Canary};
use ottla::ids::Offset;

use super::Partition;
use crate::disk::error::{Context as _, IoFailure};
use crate::disk::fds::Use;
use crate::disk::patient;
use crate::host::sync::Permit;
use crate::host::{self, File, OpenHow};

/// The file made ahead, in a partition's directory. Kafka takes no notice of it.
const SPARE_FILE: &str = "next-segment.tmp";

/// The file made ahead of the next roll.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::disk) enum Spare {
    /// There is none.
    #[default]
    Unmade,
    /// It is being made.
    Making,
    /// It is there.
    Ready,
    /// It could not be made, and is not tried again before the next roll.
    Refused,
}

/// The turn to give names in a partition's directory.
#[must_use]
#[derive(Debug)]
#[expect(dead_code, reason = "held until it is dropped")]
pub(in crate::disk) struct NamingTurn {
    own: Permit,
    /// Who has made a file needs another descriptor for its directory: few at a time may hold one and want one.
    among_few: Permit,
}

impl Partition {
    fn spare_path(&self) -> PathBuf {
        self.path.join(SPARE_FILE)
    }

    /// A segment's file for reads and writes of whole blocks, created if the segment is new; its name is durable.
    pub(in crate::disk) async fn block_file(&self, base: Offset) -> Result<File, IoFailure> {
        let (file, unnamed) = self.open_blocks(base).await?;
        if let Some(turn) = unnamed {
            self.name_segment(base, turn).await?;
        }
        Ok(file)
    }

    /// A segment's file for reads and writes of whole blocks, created if the segment is new. With a turn its
    /// name is not durable, and so nothing in it, before [`name_segment`](Partition::name_segment).
    pub(in crate::disk) async fn open_blocks(
        &self,
        base: Offset,
    ) -> Result<(File, Option<NamingTurn>), IoFailure> {
        self.wait_settled(base).await;
        if self.is_created(base) {
            return Ok((self.open_at(base, self.dir.open_blocks()).await?, None));
        }
        let own = self.naming.acquire(1).await;
        let turn = NamingTurn { own, among_few: self.disk.naming.acquire(1).await };
        if self.is_created(base) {
            return Ok((self.open_at(base, self.dir.open_blocks()).await?, None));
        }
        let (is_there, turn) = self.take_spare(base, turn).await?;
        let file = self.open_at(base, OpenHow { create: !is_there, ..self.dir.open_blocks() }).await?;
        Ok((file, Some(turn)))
    }

    async fn open_at(&self, base: Offset, how: OpenHow) -> Result<File, IoFailure> {
        let key = self.fd_key(base, Use::Blocks);
        self.disk.fds.open(key, || self.segment_path(base), how).await
    }

    fn is_created(&self, base: Offset) -> bool {
        self.state.borrow_mut().tail_of(base).is_none_or(|segment| segment.created)
    }

    /// Gives the file made ahead the name of this segment, where there is one.
    async fn take_spare(&self, base: Offset, turn: NamingTurn) -> Result<(bool, NamingTurn), IoFailure> {
        if self.state.borrow().spare != Spare::Ready {
            return Ok((false, turn));
        }
        // What may be open under this name is another file.
        self.disk.fds.forget(self.fd_key(base, Use::Blocks));
        let (from, to) = (self.spare_path(), self.segment_path(base));
        let spare = from.clone();
        // A task keeps the turn until it is over: given up midway it might replace what another one has made.
        let (renamed, turn) = host::spawn(async move { (host::rename(&from, &to).await, turn) }).await;
        let is_there = match renamed.at("rename", &spare) {
            Err(failure) if failure.is_missing() => false,
            renamed => renamed.map(|()| true)?,
        };
        self.state.borrow_mut().spare = Spare::Unmade;
        Ok((is_there, turn))
    }

    /// Makes the name of a new segment's file durable.
    pub(in crate::disk) async fn name_segment(
        &self,
        base: Offset,
        turn: NamingTurn,
    ) -> Result<(), IoFailure> {
        if !canary::is(Canary::SegmentNameUnsynced) {
            patient::sync_dir(&self.path).await?;
        }
        if let Some(segment) = self.state.borrow_mut().tail_of(base) {
            segment.created = true;
        }
        drop(turn);
        Ok(())
    }

    /// Sees to it that a segment has its file, under a durable name.
    pub(in crate::disk) async fn create_segment(&self, base: Offset) -> Result<(), IoFailure> {
        if !self.is_created(base) && !canary::is(Canary::EndForgotten) {
            self.block_file(base).await?;
        }
        Ok(())
    }

    /// Has the file of the next segment made, when a flush of segment `base` has ended and more than half of that is
    /// appended. Few are made at a time; where it is not this one's turn the next flush asks again.
    pub(in crate::disk) fn consider_spare(self: &Rc<Self>, base: Offset) {
        let turns = {
            let mut state = self.state.borrow_mut();
            let half = state.log.config().segment_bytes / 2;
            let active = state.active();
            let is_due = active.base == base && active.tail.end().0 > half;
            if !is_due || state.closed || state.spare != Spare::Unmade {
                return;
            }
            let Some(among_few) = self.disk.spares.try_acquire(1) else { return };
            let Some(own) = self.naming.try_acquire(1) else { return };
            state.spare = Spare::Making;
            (own, among_few)
        };
        let partition = Rc::clone(self);
        // In the foreground: a roll may wait for it.
        host::spawn_detached(async move {
            let made = partition.make_spare().await;
            partition.state.borrow_mut().spare = match made {
                Ok(()) => Spare::Ready,
                // Those who need a descriptor go before.
                Err(failure) if failure.is_out_of_descriptors() => Spare::Unmade,
                // Without room there is just none, and whatever else it is meets the commits, too.
                Err(failure) => {
                    tracing::debug!("{}: no file is made ahead: {failure}", partition.name);
                    Spare::Refused
                }
            };
            drop(turns);
        });
    }

    async fn make_spare(&self) -> Result<(), IoFailure> {
        let path = self.spare_path();
        let how = OpenHow { create_new: true, ..self.dir.open_blocks() };
        match File::open(&path, how).await.at("open", &path) {
            Err(failure) if failure.is_there() => {
                self.remove_if_there(&path).await?;
                File::open(&path, how).await.at("open", &path).map(drop)
            }
            made => made.map(drop),
        }
    }

    /// Removes what was made ahead, at the end of the partition. A file that cannot be removed is in nobody's way.
    pub(super) async fn remove_spare(&self) {
        let turn = self.naming.acquire(1).await;
        let spare = std::mem::take(&mut self.state.borrow_mut().spare);
        if spare != Spare::Unmade
            && let Err(failure) = self.remove_if_there(&self.spare_path()).await
        {
            tracing::debug!("{}: {failure}", self.name);
        }
        drop(turn);
    }
}
