//! A log dir at start: what the process before has left in it.
//!
//! Runs on shard 0, before any partition is loaded. What must hold: the clean marker is gone, durably, before anything
//! of the directory is appended to; what was in journals is in the segments, or told with the partitions that it is
//! for; names that are relied on are durable.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla::canary::{self, Canary};
use ottla::ids::{Offset, TopicId, TopicPartition, Uuid};
use ottla::limits::WHOLE_FILE_BYTES_MAX;
use ottla::log::files::{DirStage, PARTITION_METADATA, PartitionDir, decode_partition_metadata};

use super::{LogDir, OffsetsKind};
use crate::disk::clean::{self, CLEAN_FILE, CleanPartition, MARKER_FILE};
use crate::disk::error::{Context as _, DiskError, IoFailure};
use crate::disk::journal::Unplayed;
use crate::disk::left::{self, FileSizes};
use crate::disk::offsets_file::{self, Offsets};
use crate::disk::patient;
use crate::host::{self, DirEntry, Queue};

/// A partition that a directory holds, with what its checkpoints say about it.
#[derive(Clone, Debug)]
pub struct Found {
    /// The partition, by the name of its directory.
    pub partition: TopicPartition,
    /// How it was left, where the clean shutdown left a note.
    pub clean: Option<CleanPartition>,
    /// The sizes now of the files that the note relies on; `None` where they cannot be had.
    pub sizes: Option<FileSizes>,
    /// What has to be brought from journals into its segments before it is loaded; nothing unless the disk is full or
    /// its directory does not say its topic.
    pub unplayed: Vec<Arc<Unplayed>>,
    /// Whether the last shutdown was a clean one: the files are whole.
    pub was_clean: bool,
    /// Where recovery begins; zero when nothing is known.
    pub recovery_point: Offset,
    /// The checkpointed log start offset; zero when there is none.
    pub log_start: Offset,
    /// The checkpointed high watermark, if there is one.
    pub high_watermark: Option<Offset>,
}

impl LogDir {
    /// Reads what the directory holds, at start: its partitions, and what the checkpoints and the clean archive say
    /// of them. Afterwards the marker is gone, and what was in journals is in the segments where there was room.
    /// Directories that were waiting for removal are removed meanwhile.
    ///
    /// # Errors
    /// When the directory or a checkpoint in it cannot be read, or the marker cannot be removed. A checkpoint that is
    /// not there, or holds something else, is named in the log and done without.
    pub async fn scan(&self) -> Result<Vec<Found>, DiskError> {
        let (was_clean, mut clean) = self.take_clean().await?;
        if !was_clean && !canary::is(Canary::NamesUnsynced) {
            // The process before may have been killed between making a name and syncing it: what is found here is
            // relied on from now on, and must not go with the next loss of power.
            patient::sync_dir(&self.path).await?;
        }
        let entries = patient::read_dir(&self.path).await?;
        let mut unplayed = self.play_journals(&entries, was_clean).await?;
        let mut live = Vec::new();
        for entry in entries.iter().filter(|entry| entry.is_dir) {
            let name = entry.name.to_string_lossy();
            match PartitionDir::parse(&name) {
                Some(PartitionDir { topic, partition, stage: DirStage::Live }) => {
                    live.push(TopicPartition { topic: topic.into(), partition });
                }
                Some(PartitionDir { stage: DirStage::Delete, .. }) => {
                    remove_in_background(self.path.join(&entry.name));
                }
                Some(_) | None => {
                    tracing::warn!("{}: {name} is no partition of ours; left alone", self.path.display());
                }
            }
        }
        live.sort();
        self.note_unloaded(live.iter().cloned());
        for kind in OffsetsKind::ALL {
            let offsets = self.read_offsets(kind).await?;
            self.checkpoint(kind).start_with(offsets, |partition| live.binary_search(partition).is_ok());
        }
        let mut sizes = left::sizes_of(&self.path, &clean).await;
        let found = live.into_iter().map(|partition| Found {
            sizes: sizes.remove(&partition),
            clean: clean.remove(&partition),
            unplayed: unplayed.remove(&partition).unwrap_or_default(),
            was_clean,
            recovery_point: self.offset(OffsetsKind::RecoveryPoint, &partition).unwrap_or(Offset::ZERO),
            log_start: self.offset(OffsetsKind::LogStart, &partition).unwrap_or(Offset::ZERO),
            high_watermark: self.offset(OffsetsKind::HighWatermark, &partition),
            partition,
        });
        Ok(found.collect())
    }

    /// Removes a partition whose topic was deleted: it has another name when this returns, so that a topic of its name
    /// may be made, and its bytes go in the background. What a crash leaves of it is found again by the next scan.
    ///
    /// # Errors
    /// When it can neither be renamed nor removed.
    pub async fn remove_stray(&self, partition: &TopicPartition) -> Result<(), DiskError> {
        tracing::info!("{}: the topic of {partition} was deleted; it is removed", self.path.display());
        self.remove(partition).await
    }

    async fn remove(&self, partition: &TopicPartition) -> Result<(), DiskError> {
        if let Some(gone) = self.take_away(partition).await? {
            remove_in_background(gone);
        }
        Ok(())
    }

    /// Takes the directory of a partition away for good; returns the path at which it waits to be removed. A full disk
    /// may have no block for the longer name: then it is gone already.
    ///
    /// # Errors
    /// When it can neither be renamed nor removed.
    pub(in crate::disk) async fn take_away(
        &self,
        partition: &TopicPartition,
    ) -> Result<Option<PathBuf>, IoFailure> {
        match self.rename_away(partition, DirStage::Delete).await {
            Err(failure) if failure.may_be_retried() => {
                tracing::debug!("{failure}; it is removed at once");
                let path = self.path.join(partition.to_string());
                host::remove_dir_all(&path).await.at("remove", &path)?;
                self.forget(partition);
                Ok(None)
            }
            renamed => renamed.map(Some),
        }
    }

    /// Puts a directory aside that nobody knows, under the name by which Kafka does the same (KAFKA-16157): whether it
    /// is still wanted only the operator can tell. One that was made for a partition and never held anything else is
    /// removed.
    ///
    /// # Errors
    /// When it cannot be read or renamed.
    pub async fn put_aside(&self, partition: &TopicPartition, why: &str) -> Result<(), DiskError> {
        let entries = patient::read_dir(&self.path.join(partition.to_string())).await?;
        let is_of_birth = |entry: &DirEntry| !entry.is_dir && entry.name == PARTITION_METADATA;
        if entries.iter().all(is_of_birth) {
            return self.remove(partition).await;
        }
        let kept = self.rename_away(partition, DirStage::Stray).await?;
        tracing::warn!("{}: {partition}: {why}; kept as {}", self.path.display(), kept.display());
        Ok(())
    }

    /// Gives the directory of a partition the name of another stage; returns its path.
    async fn rename_away(&self, partition: &TopicPartition, stage: DirStage) -> Result<PathBuf, IoFailure> {
        let (from, to) = (self.path.join(partition.to_string()), self.staged(partition, stage));
        host::rename(&from, &to).await.at("rename", &from)?;
        self.forget(partition);
        Ok(to)
    }

    /// A new path for a partition that comes to another stage.
    fn staged(&self, partition: &TopicPartition, stage: DirStage) -> PathBuf {
        let unique = u128::from(host::random_u64()) << 64 | u128::from(host::random_u64());
        let name = PartitionDir::staged_name(&partition.topic, partition.partition, stage, unique);
        self.path.join(name)
    }

    /// A file that is not there, or holds something else, is done without, as Kafka does. One that is there and cannot
    /// be read is another matter: without the log start offsets, deleted records would be back.
    async fn read_offsets(&self, kind: OffsetsKind) -> Result<Offsets, DiskError> {
        let path = self.path.join(kind.file_name());
        let Some(bytes) = patient::read_if_there(&path, WHOLE_FILE_BYTES_MAX).await? else {
            return Ok(Offsets::new());
        };
        Ok(offsets_file::decode(&bytes).unwrap_or_else(|error| {
            tracing::warn!("{}: {error}; doing without", path.display());
            Offsets::new()
        }))
    }

    /// Reads and removes marker and archive. Without a marker there is no clean partition.
    async fn take_clean(&self) -> Result<(bool, BTreeMap<TopicPartition, CleanPartition>), DiskError> {
        let (marker_path, clean_path) = (self.path.join(MARKER_FILE), self.path.join(CLEAN_FILE));
        let marker = patient::read_if_there(&marker_path, WHOLE_FILE_BYTES_MAX).await?;
        let partitions = match (&marker, patient::read_whole(&clean_path, WHOLE_FILE_BYTES_MAX).await) {
            (None, _) => BTreeMap::new(),
            (Some(marker), Ok(bytes)) => clean::decode(&bytes, marker).unwrap_or_else(|error| {
                tracing::info!("{}: {error}; opening every partition instead", clean_path.display());
                BTreeMap::new()
            }),
            (Some(_), Err(_)) => BTreeMap::new(),
        };
        if marker.is_some() && !canary::is(Canary::CleanMarkerKept) {
            host::remove_file(&marker_path).await.at("remove", &marker_path)?;
            patient::sync_dir(&self.path).await?;
        }
        Ok((marker.is_some(), partitions))
    }

    /// The topic id of a partition that was found, from the note of a clean shutdown or from its file; `None` where
    /// its directory was made and never finished.
    ///
    /// # Errors
    /// When the file is there and cannot be read.
    pub async fn topic_id(&self, found: &Found) -> Result<Option<TopicId>, DiskError> {
        if let Some(clean) = &found.clean {
            return Ok(Some(Uuid(clean.topic_id)));
        }
        let path = self.path.join(found.partition.to_string()).join(PARTITION_METADATA);
        match patient::read_if_there(&path, 4096).await? {
            // A crash while the partition was made may leave the file empty.
            Some(bytes) if !bytes.is_empty() => match decode_partition_metadata(&bytes) {
                Ok(topic_id) => Ok(Some(topic_id)),
                Err(error) => Err(DiskError::corrupt(&path, error)),
            },
            Some(_) | None => Ok(None),
        }
    }
}

fn remove_in_background(path: PathBuf) {
    drop(host::spawn_in(Queue::Background, async move { remove_whole(&path).await }));
}

/// Removes the directory of a partition that is at its last stage.
pub(in crate::disk) async fn remove_whole(path: &Path) {
    if let Err(error) = host::remove_dir_all(path).await {
        tracing::warn!("cannot remove {}: {error}; the next start tries again", path.display());
    }
}
