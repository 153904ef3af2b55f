//! A segment's file from nothing to a durable name.
//!
//! To make a file is dear beside a commit: the file system looks for an inode, reads its block, and the shard's core
//! does all that. So the file of the next segment is made ahead, empty and under a name that is none of a segment's,
//! when the active segment is half full. What is left for the roll is to give it its name, and that is made durable
//! while the segment's first bytes are; the flush is over when both are. Where there is no such file, as in the first
//! segment of a log, or behind one that time has closed, it is made by who needs it.
//!
//! A start that finds a file under the name of those made ahead removes it, as it does everything that ends so: it is
//! empty, for it has another name before anything is written to it.
//!
//! What must hold: a segment's name is durable before anything in it is acknowledged; one task at a time gives names in
//! a partition.

use std::path::PathBuf;
use std::rc::Rc;

use ottla::canary::{self, Canary};
use ottla::ids::Offset;

use super::Partition;
use crate::disk::error::IoFailure;
use crate::disk::fds::Use;
use crate::disk::patient;
use crate::host::sync::Permit;
use crate::host::{self, File, OpenHow, Queue};

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
        let key = self.fd_key(base, Use::Blocks);
        if self.is_created(base) {
            let file = self.disk.fds.open(key, || self.segment_path(base), self.dir.open_blocks()).await?;
            return Ok((file, None));
        }
        let own = self.naming.acquire(1).await;
        let turn = NamingTurn { own, among_few: self.disk.naming.acquire(1).await };
        let turn = (!self.is_created(base)).then_some(turn);
        let is_to_be_made = turn.is_some() && !self.take_spare(base).await;
        let how = OpenHow { create: is_to_be_made, ..self.dir.open_blocks() };
        let file = self.disk.fds.open(key, || self.segment_path(base), how).await?;
        Ok((file, turn))
    }

    fn is_created(&self, base: Offset) -> bool {
        self.state.borrow_mut().tail_of(base).is_none_or(|segment| segment.created)
    }

    /// Gives the file made ahead the name of this segment, if there is one. Where that is refused another one is made.
    async fn take_spare(&self, base: Offset) -> bool {
        if self.state.borrow().spare != Spare::Ready {
            return false;
        }
        self.state.borrow_mut().spare = Spare::Unmade;
        // What may be open under this name is another file.
        self.disk.fds.forget(self.fd_key(base, Use::Blocks));
        let renamed = host::rename(&self.spare_path(), &self.segment_path(base)).await;
        renamed.inspect_err(|error| tracing::debug!("{}: no file made ahead: {error}", self.name)).is_ok()
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

    /// Has the file of the next segment made, once a flush of segment `base` has filled half of it.
    pub(in crate::disk) fn consider_spare(self: &Rc<Self>, base: Offset) {
        {
            let mut state = self.state.borrow_mut();
            let half = state.log.config().segment_bytes / 2;
            let active = state.active();
            let is_due = active.base == base && active.tail.end().0 > half;
            if !is_due || state.closed || state.spare != Spare::Unmade {
                return;
            }
            state.spare = Spare::Making;
        }
        let partition = Rc::clone(self);
        drop(host::spawn_in(Queue::Background, async move {
            let turn = partition.naming.acquire(1).await;
            let made = partition.make_spare().await;
            // Without room there is just none, and who takes no file now will take none for the roll either.
            partition.state.borrow_mut().spare = match made {
                Ok(()) => Spare::Ready,
                Err(failure) => {
                    tracing::debug!("{}: no file is made ahead: {failure}", partition.name);
                    Spare::Refused
                }
            };
            drop(turn);
        }));
    }

    async fn make_spare(&self) -> Result<(), IoFailure> {
        if self.state.borrow().closed {
            // Its directory may be that of another partition by now.
            return Ok(());
        }
        let path = self.spare_path();
        let how = OpenHow { create_new: true, ..self.dir.open_blocks() };
        match patient::open(&path, how).await {
            Err(failure) if failure.is_there() => {
                self.remove_if_there(&path).await?;
                patient::open(&path, how).await.map(drop)
            }
            made => made.map(drop),
        }
    }

    /// Removes what was made ahead, at the end of the partition.
    pub(super) async fn remove_spare(&self) -> Result<(), IoFailure> {
        let turn = self.naming.acquire(1).await;
        if self.state.borrow().spare == Spare::Ready {
            self.remove_if_there(&self.spare_path()).await?;
            self.state.borrow_mut().spare = Spare::Unmade;
        }
        drop(turn);
        Ok(())
    }
}
