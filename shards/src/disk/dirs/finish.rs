//! The clean end of a log dir: what the partitions have left, checkpoints, archive, marker.
//!
//! Shards add their closed partitions; shard 0 finishes when all have. What must hold: the marker comes last, when
//! everything that it vouches for is on disk, and never to a directory that has gone offline, nor to one with a
//! partition that could not be loaded: nobody knows what a crash before has left of that.

use std::path::PathBuf;
use std::sync::atomic::Ordering;

use ottla::canary::{self, Canary};
use ottla::ids::{Offset, TopicPartition};
use thiserror::Error;

use super::{LogDir, OffsetsKind, locked};
use crate::disk::clean::{self, CLEAN_FILE, CleanLog, CleanPartition, MARKER_FILE};
use crate::disk::error::{DiskError, IoFailure};
use crate::disk::patient;
use crate::host;

/// Why a log dir has no clean end; the next start recovers its partitions.
#[derive(Debug, Error)]
pub enum NotClean {
    /// Something cannot be written, or the directory is offline.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// Partitions were open whose end has failed, as on a full disk.
    #[error("{0} of its partitions could not be closed")]
    Open(usize),
    /// Partitions were never loaded.
    #[error("{0} of its partitions could not be loaded")]
    Unloaded(usize),
}

impl From<IoFailure> for NotClean {
    fn from(failure: IoFailure) -> Self {
        NotClean::Disk(failure.into())
    }
}

impl LogDir {
    /// Counts a partition that is open on some shard.
    pub(in crate::disk) fn add_open(&self) {
        self.open.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes one off that was closed in order or deleted.
    pub(in crate::disk) fn remove_open(&self) {
        let before = self.open.fetch_sub(1, Ordering::Relaxed);
        assert!(before > 0, "a partition that ends was open");
    }

    /// Notes partitions that are there and have to be loaded before the marker can vouch for them.
    pub(super) fn note_unloaded(&self, partitions: impl Iterator<Item = TopicPartition>) {
        locked(&self.unloaded).extend(partitions);
    }

    /// Notes that a partition was loaded, or is not there any more.
    pub(in crate::disk) fn note_loaded(&self, partition: &TopicPartition) {
        locked(&self.unloaded).remove(partition);
    }

    /// Notes how a partition was left; part of a clean shutdown.
    pub fn add_closed(&self, partition: CleanPartition) {
        locked(&self.closed).push(partition);
    }

    /// Notes a journal, which goes with the clean shutdown.
    pub(in crate::disk) fn add_journal(&self, path: PathBuf) {
        locked(&self.journals).push(path);
    }

    /// Has [`finish_clean`](LogDir::finish_clean) sync what partitions have left unsynced.
    pub(in crate::disk) fn sync_at_finish(&self) {
        self.sync_at_finish.store(true, Ordering::Relaxed);
    }

    /// Syncs the whole file system; only then may a checkpoint rely on what closed partitions have written.
    async fn sync_closed(&self) -> Result<(), DiskError> {
        let synced = patient::sync_file_system(&self.path).await;
        synced.inspect_err(|failure| self.fail(failure))?;
        for closed in locked(&self.closed).iter() {
            let name = TopicPartition { topic: closed.topic.as_str().into(), partition: closed.partition };
            self.set_offset(OffsetsKind::RecoveryPoint, &name, Offset(closed.log_end_offset));
            self.set_offset(OffsetsKind::HighWatermark, &name, Offset(closed.high_watermark));
        }
        Ok(())
    }

    /// Ends the clean shutdown, when every shard has closed its partitions: checkpoints, archive, marker, in this
    /// order, each durable before the next.
    ///
    /// # Errors
    /// When the directory is offline or a partition of it was not loaded or not closed; the next start recovers then.
    pub async fn finish_clean(&self) -> Result<(), NotClean> {
        let (open, unloaded) = (self.open.load(Ordering::Relaxed), locked(&self.unloaded).len());
        if (open > 0 || self.is_offline()) && canary::is(Canary::CleanDespiteFailure) {
            return self.mark_clean().await;
        }
        self.check()?;
        if open > 0 {
            return Err(NotClean::Open(open));
        }
        if unloaded > 0 && !canary::is(Canary::CleanThoughUnloaded) {
            return Err(NotClean::Unloaded(unloaded));
        }
        if self.sync_at_finish.load(Ordering::Relaxed) {
            self.sync_closed().await?;
        }
        for kind in OffsetsKind::ALL {
            self.write_offsets(kind).await?;
        }
        self.check()?;
        // Every partition was closed: everything is in the segments. With the marker a journal would not be believed.
        let journals = std::mem::take(&mut *locked(&self.journals));
        for path in journals {
            if let Err(error) = host::remove_file(&path).await {
                tracing::debug!("cannot remove {}: {error}", path.display());
            }
        }
        self.mark_clean().await
    }

    async fn mark_clean(&self) -> Result<(), NotClean> {
        let archive = clean::encode(&CleanLog { partitions: std::mem::take(&mut *locked(&self.closed)) });
        let (marker_path, clean_path) = (self.path.join(MARKER_FILE), self.path.join(CLEAN_FILE));
        patient::write_whole_durably(&clean_path, &archive).await?;
        let marker = clean::marker_for(&archive);
        patient::write_whole_durably(&marker_path, &marker).await?;
        Ok(())
    }
}
