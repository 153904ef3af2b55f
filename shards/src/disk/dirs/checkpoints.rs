//! Kafka's offset checkpoints of one log dir: set by the shards that own its partitions, written whole by one of them.
//!
//! What must hold: a checkpoint file on disk is at least as new as the last [`LogDir::write_offsets`] that returned;
//! and since its entries have names and no ids, none of a partition that is gone is there when another one of its name
//! is made.

use std::collections::BTreeMap;
use std::sync::MutexGuard;

use ottla::canary::{self, Canary};
use ottla::ids::{Offset, TopicPartition};

use super::{LogDir, TURN_WAIT, Turn, locked};
use crate::disk::error::DiskError;
use crate::disk::offsets_file::{self, Offsets};
use crate::disk::patient;
use crate::host;

/// Which of Kafka's offset checkpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum OffsetsKind {
    /// Up to here a partition is known to be on disk with its indexes; recovery begins here.
    RecoveryPoint,
    /// The first offset that is still served.
    LogStart,
    /// The high watermark.
    HighWatermark,
    /// The first offset that compaction has not seen yet.
    FirstDirty,
}

impl OffsetsKind {
    /// Every kind.
    pub const ALL: [OffsetsKind; 4] = [
        OffsetsKind::RecoveryPoint,
        OffsetsKind::LogStart,
        OffsetsKind::HighWatermark,
        OffsetsKind::FirstDirty,
    ];

    /// Kafka's file name.
    #[must_use]
    pub const fn file_name(self) -> &'static str {
        match self {
            OffsetsKind::RecoveryPoint => "recovery-point-offset-checkpoint",
            OffsetsKind::LogStart => "log-start-offset-checkpoint",
            OffsetsKind::HighWatermark => "replication-offset-checkpoint",
            OffsetsKind::FirstDirty => "cleaner-offset-checkpoint",
        }
    }
}

/// The content of one checkpoint file and how far it is on disk.
#[derive(Default)]
pub(super) struct Checkpoint {
    pub(super) offsets: Offsets,
    /// Counts changes of `offsets`.
    pub(super) version: u64,
    /// The version that is on disk.
    pub(super) written: u64,
    /// Some shard is writing.
    pub(super) writing: bool,
    /// Partitions that the file may still name though they are gone, with the version without them.
    gone: BTreeMap<TopicPartition, u64>,
}

impl Checkpoint {
    /// Takes what the file says at a start; `is_live` tells whether a partition is there.
    pub(super) fn start_with(&mut self, offsets: Offsets, is_live: impl Fn(&TopicPartition) -> bool) {
        self.offsets = offsets;
        let gone: Vec<_> = self.offsets.keys().filter(|partition| !is_live(partition)).cloned().collect();
        gone.iter().for_each(|partition| self.forget(partition));
    }

    fn forget(&mut self, partition: &TopicPartition) {
        if self.offsets.remove(partition).is_some() {
            self.version += 1;
            self.gone.insert(partition.clone(), self.version);
        }
    }

    fn is_written(&mut self, version: u64) {
        self.written = self.written.max(version);
        self.gone.retain(|_, without| *without > version);
    }
}

impl LogDir {
    pub(super) fn checkpoint(&self, kind: OffsetsKind) -> MutexGuard<'_, Checkpoint> {
        locked(&self.checkpoints[kind as usize])
    }

    /// The offset of a partition that the next [`write_offsets`](LogDir::write_offsets) writes.
    #[must_use]
    pub fn offset(&self, kind: OffsetsKind, partition: &TopicPartition) -> Option<Offset> {
        self.checkpoint(kind).offsets.get(partition).copied()
    }

    /// Sets it.
    pub fn set_offset(&self, kind: OffsetsKind, partition: &TopicPartition, offset: Offset) {
        let mut checkpoint = self.checkpoint(kind);
        if let Some(known) = checkpoint.offsets.get_mut(partition) {
            if *known == offset {
                return;
            }
            *known = offset;
        } else {
            checkpoint.offsets.insert(partition.clone(), offset);
        }
        checkpoint.version += 1;
    }

    /// Takes a deleted partition out of every checkpoint.
    pub fn forget(&self, partition: &TopicPartition) {
        self.note_loaded(partition);
        for kind in OffsetsKind::ALL {
            self.checkpoint(kind).forget(partition);
        }
    }

    /// Sees to it that no checkpoint on disk says anything of a partition of this name that is gone: a start would take
    /// it for what was said of the one that is to be made.
    ///
    /// # Errors
    /// Those of [`write_offsets`](LogDir::write_offsets).
    pub async fn forget_durably(&self, partition: &TopicPartition) -> Result<(), DiskError> {
        for kind in OffsetsKind::ALL {
            let is_named = self.checkpoint(kind).gone.contains_key(partition);
            if is_named && !canary::is(Canary::NamesakeOffsets) {
                self.write_offsets(kind).await?;
            }
        }
        Ok(())
    }

    /// Writes a checkpoint file if anything was set since it was last written; every offset that was set before the
    /// call is on disk when it returns. Shards that call at the same time share one write.
    ///
    /// # Errors
    /// When the directory is offline or goes offline by this.
    pub async fn write_offsets(&self, kind: OffsetsKind) -> Result<(), DiskError> {
        let wanted = self.checkpoint(kind).version;
        loop {
            self.check()?;
            let (bytes, version) = match self.begin_write(kind, wanted) {
                Turn::Done => return Ok(()),
                Turn::Wait => {
                    host::sleep(TURN_WAIT).await;
                    continue;
                }
                Turn::Mine(content) => content,
            };
            let path = self.path.join(kind.file_name());
            let turn = WriterTurn { dir: self, kind };
            let result = patient::write_whole_durably(&path, &bytes).await;
            drop(turn);
            result.map_err(DiskError::from).inspect_err(|error| self.fail_unless_full(error))?;
            self.checkpoint(kind).is_written(version);
        }
    }

    fn begin_write(&self, kind: OffsetsKind, wanted: u64) -> Turn<(Vec<u8>, u64)> {
        let mut checkpoint = self.checkpoint(kind);
        if checkpoint.written >= wanted {
            return Turn::Done;
        }
        if std::mem::replace(&mut checkpoint.writing, true) {
            return Turn::Wait;
        }
        Turn::Mine((offsets_file::encode(&checkpoint.offsets), checkpoint.version))
    }
}

/// The right to write one checkpoint file; given up on drop, also when the writing task is dropped.
struct WriterTurn<'a> {
    dir: &'a LogDir,
    kind: OffsetsKind,
}

impl Drop for WriterTurn<'_> {
    fn drop(&mut self) {
        self.dir.checkpoint(self.kind).writing = false;
    }
}
