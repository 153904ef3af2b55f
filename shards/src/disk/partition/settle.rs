//! What finishing closed segments leaves to the next checkpoint: to make their files durable.
//!
//! Every one of those syncs is a commit of the file system's journal, and each held up the synced writes of the active
//! segment behind it. A start after a crash needs none of them before the recovery point passes the segment: it scans
//! what lies behind the point, cuts files to their batches, builds their indexes anew and takes no newer snapshot. So
//! they come together, before the point moves, and before anything older is removed, because the snapshot of a roll
//! is then the only one to know the producers of what went. Together is not at once: while there are commits they come
//! at the shard's [`pace`](crate::disk::pace).
//!
//! A failure of the write-back in between is reported to the first sync of the file by any descriptor (Linux 4.16 and
//! later), so none stays open for it.
//!
//! What must hold: the recovery point passes no segment, and no segment is removed or cleaned, while a closed segment
//! before it is not settled.

use std::path::PathBuf;
use std::rc::Rc;

use ottla::canary::{self, Canary};
use ottla::ids::Offset;
use ottla::log::files::SegmentFileKind;

use super::Partition;
use crate::disk::error::{Context as _, DiskError, IoFailure};
use crate::disk::patient;
use crate::host::{self, OpenHow, Queue};

/// Files that are synced at once: what is under way together shares a commit of the file system's journal.
const TOGETHER: usize = 16;

/// The same among commits, which wait for all of it.
const TOGETHER_AMONG_COMMITS: usize = 4;

/// A closed segment whose files are whole and not durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::disk) struct Unsettled {
    pub base: Offset,
    /// The segment after it, whose producer snapshot was written with the roll.
    pub next: Offset,
}

impl Unsettled {
    fn files(self) -> impl Iterator<Item = (Offset, SegmentFileKind)> {
        let of_segment = [
            SegmentFileKind::Log,
            SegmentFileKind::OffsetIndex,
            SegmentFileKind::TimeIndex,
            SegmentFileKind::TransactionIndex,
        ];
        let of_segment = of_segment.into_iter().map(move |kind| (self.base, kind));
        of_segment.chain(std::iter::once((self.next, SegmentFileKind::ProducerSnapshot)))
    }
}

impl Partition {
    /// Makes the files of every finished segment durable, and the names in the directory. The caller has the turn
    /// for housekeeping, so that nobody replaces or removes one of them meanwhile. What is synced with the whole
    /// file system at the end is not settled before.
    ///
    /// # Errors
    /// When one cannot be synced; all of them count as not durable then.
    pub(in crate::disk) async fn settle(&self) -> Result<(), IoFailure> {
        if self.synced_together.get() {
            return Ok(());
        }
        let unsettled = self.state.borrow().unsettled.clone();
        let forgotten = canary::is(Canary::RollUnsettled);
        if !unsettled.is_empty() && !forgotten {
            let files = unsettled.iter().flat_map(|segment| segment.files());
            let paths: Vec<PathBuf> = files.map(|(offset, kind)| self.file_path(offset, kind)).collect();
            self.sync_in_steps(&paths).await?;
        }
        self.sync_names().await?;
        self.state.borrow_mut().unsettled.retain(|segment| !unsettled.contains(segment));
        Ok(())
    }

    /// Syncs files, among commits few at a time and with rests.
    async fn sync_in_steps(&self, mut paths: &[PathBuf]) -> Result<(), IoFailure> {
        while !paths.is_empty() {
            let is_paced = self.disk.pace.is_committing() && !self.is_housekeeping_awaited();
            let most = if is_paced { TOGETHER_AMONG_COMMITS } else { TOGETHER };
            let (some, others) = paths.split_at(paths.len().min(most));
            let step = if is_paced { Some(self.disk.pace.step().await) } else { None };
            sync_all(some).await?;
            if let Some(step) = step {
                step.rest().await;
            }
            paths = others;
        }
        Ok(())
    }

    /// Waits until every closed segment is finished, and settles them: before what is older goes.
    ///
    /// # Errors
    /// The disk's failures; a log dir that cannot sync is offline then.
    pub(in crate::disk) async fn finish_and_settle(self: &Rc<Self>) -> Result<(), DiskError> {
        self.wait_finished().await?;
        if self.state.borrow().unsettled.is_empty() {
            return Ok(());
        }
        let turn = self.housekeeping_turn().await?;
        let settled = self.settle().await;
        drop(turn);
        Ok(settled.inspect_err(|failure| self.housekeeping_failed(failure))?)
    }
}

/// Syncs files together; one that is not there has nothing to lose.
async fn sync_all(paths: &[PathBuf]) -> Result<(), IoFailure> {
    let sync = |path: PathBuf| async move {
        match patient::open(&path, OpenHow { read: true, ..OpenHow::default() }).await {
            Ok(file) => file.sync_data().await.at("sync", &path),
            Err(failure) if failure.is_missing() => Ok(()),
            Err(failure) => Err(failure),
        }
    };
    let tasks: Vec<_> =
        paths.iter().map(|path| host::spawn_in(Queue::Background, sync(path.clone()))).collect();
    // Every sync is awaited, also behind one that failed.
    let mut outcome = Ok(());
    for task in tasks {
        let result = task.await;
        outcome = outcome.and(result);
    }
    outcome
}
