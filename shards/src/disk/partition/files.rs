//! A partition's files: where they are, opening them, and writing the small ones.
//!
//! Segments are opened through the shard's descriptor cache, in two ways: whole blocks past the page cache for the
//! active segment's writes and its last block, and buffered for readers of what will not change any more.
//!
//! What must hold: a segment's name is durable before the first record in it is acknowledged, and before any older
//! segment is removed; index entries and snapshots only ever describe bytes that are on disk before them.

use std::path::{Path, PathBuf};

use ottla::ids::Offset;
use ottla::log::SegmentIndexes;
use ottla::log::files::{LEADER_EPOCH_CHECKPOINT, SegmentFile, SegmentFileKind};
use ottla::log::offset_index::OFFSET_ENTRY_BYTES;
use ottla::log::time_index::TIME_ENTRY_BYTES;
use ottla::log::txn_index::ABORTED_ENTRY_BYTES;

use super::{IndexFiles, Partition};
use crate::disk::error::{Context as _, DiskError, IoFailure};
use crate::disk::fds::Use;
use crate::disk::patient;
use crate::host::{self, File, OpenHow};

impl Partition {
    /// The path of a live file.
    pub(in crate::disk) fn file_path(&self, base: Offset, kind: SegmentFileKind) -> PathBuf {
        self.path.join(SegmentFile::live(base, kind).to_string())
    }

    /// The path of a segment's `.log` file.
    pub(in crate::disk) fn segment_path(&self, base: Offset) -> PathBuf {
        self.file_path(base, SegmentFileKind::Log)
    }

    /// A segment's file for readers.
    pub(in crate::disk) async fn read_file(&self, base: Offset) -> Result<File, IoFailure> {
        let how = OpenHow { read: true, exact: true, ..OpenHow::default() };
        loop {
            self.wait_settled(base).await;
            let key = self.fd_key(base, Use::Cached);
            let result = self.disk.fds.open(key, || self.segment_path(base), how).await;
            // Opened while its name began to lead elsewhere, it may be either file.
            if key == self.fd_key(base, Use::Cached) {
                return result;
            }
        }
    }

    /// Drops the descriptors and cached indexes of a segment.
    pub(in crate::disk) fn forget_files(&self, base: Offset) {
        self.disk.fds.forget(self.fd_key(base, Use::Blocks));
        self.disk.fds.forget(self.fd_key(base, Use::Cached));
        self.disk.indexes.forget((self.number, base));
    }

    /// Writes index entries behind those that the files have.
    pub(in crate::disk) async fn write_indexes(
        &self,
        base: Offset,
        entries: &IndexBytes,
        how: IndexWrite,
    ) -> Result<(), IoFailure> {
        let from = entries.begin;
        let parts = [
            (SegmentFileKind::OffsetIndex, &entries.offsets, from.offsets * OFFSET_ENTRY_BYTES),
            (SegmentFileKind::TimeIndex, &entries.times, from.times * TIME_ENTRY_BYTES),
            (SegmentFileKind::TransactionIndex, &entries.aborted, from.aborted * ABORTED_ENTRY_BYTES),
        ];
        for (kind, bytes, position) in parts {
            // Of a finished segment the first two files are there even when they are empty, as Kafka has them.
            let is_last = matches!(how, IndexWrite::Rolled | IndexWrite::Finished);
            let create = is_last && kind != SegmentFileKind::TransactionIndex;
            let anything = match how {
                IndexWrite::Spilled => !bytes.is_empty(),
                IndexWrite::Synced | IndexWrite::Rolled | IndexWrite::Finished => {
                    position > 0 || !bytes.is_empty()
                }
            };
            if anything || create {
                self.write_index(&self.file_path(base, kind), bytes, position, how).await?;
            }
        }
        Ok(())
    }

    async fn write_index(
        &self,
        path: &Path,
        bytes: &[u8],
        position: usize,
        how: IndexWrite,
    ) -> Result<(), IoFailure> {
        if how == IndexWrite::Rolled {
            self.rest_between_files().await;
        }
        // Behind the entries that count is whatever an earlier life of the file has left. Cut before them it might stay
        // without those that are written anew, of which an index of transactions is the only one to tell.
        let file = patient::write_unsynced(path, position as u64, bytes).await?;
        match how {
            IndexWrite::Spilled | IndexWrite::Rolled => Ok(()),
            IndexWrite::Synced | IndexWrite::Finished => self.sync_file(&file, path).await,
        }
    }

    /// Writes a small file whole, synced; its name is durable after the next sync of the directory.
    pub(in crate::disk) async fn write_small(&self, path: &Path, bytes: &[u8]) -> Result<(), IoFailure> {
        let file = patient::write_unsynced(path, 0, bytes).await?;
        self.sync_file(&file, path).await
    }

    /// Puts a small file in the place of the one of this name, durable here or with those of many other partitions:
    /// after a crash it is the old or the new one.
    pub(super) async fn replace(&self, path: &Path, bytes: &[u8]) -> Result<(), IoFailure> {
        match self.synced_together.get() {
            true => self.replace_small(path, bytes).await,
            false => patient::write_whole_durably(path, bytes).await,
        }
    }

    /// Replaces a small file: after the end of this process it is the old or the new one.
    async fn replace_small(&self, path: &Path, bytes: &[u8]) -> Result<(), IoFailure> {
        let mut temporary = path.as_os_str().to_owned();
        temporary.push(".tmp");
        let temporary = PathBuf::from(temporary);
        self.write_small(&temporary, bytes).await?;
        host::rename(&temporary, path).await.at("rename", &temporary)
    }

    /// Makes a small file's bytes durable, here or with those of many other partitions.
    pub(in crate::disk) async fn sync_file(&self, file: &File, path: &Path) -> Result<(), IoFailure> {
        if self.synced_together.get() {
            return Ok(());
        }
        file.sync_data().await.at("sync", path)
    }

    /// Writes the leader epoch checkpoint if it differs from the log's epochs.
    pub(in crate::disk) async fn write_epochs(&self) -> Result<(), DiskError> {
        let text = {
            let mut state = self.state.borrow_mut();
            if !std::mem::take(&mut state.epochs_dirty) {
                return Ok(());
            }
            state.log.epochs().encode()
        };
        let path = self.path.join(LEADER_EPOCH_CHECKPOINT);
        let result = self.replace(&path, text.as_bytes()).await;
        if let Err(failure) = &result {
            self.state.borrow_mut().epochs_dirty = true;
            self.housekeeping_failed(failure);
        }
        Ok(result?)
    }

    pub(in crate::disk) async fn remove_if_there(&self, path: &Path) -> Result<(), IoFailure> {
        match host::remove_file(path).await {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(IoFailure::new("remove", path, &error))
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Makes the names in the partition's directory durable.
    pub(in crate::disk) async fn sync_names(&self) -> Result<(), IoFailure> {
        if self.synced_together.get() {
            return Ok(());
        }
        patient::sync_dir(&self.path).await
    }
}

/// How index entries are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::disk) enum IndexWrite {
    /// To free their memory; a later synced write makes them durable.
    Spilled,
    /// Durable, with everything that was spilled before.
    Synced,
    /// The last of a segment, durable when it is settled: the files are there from now on.
    Rolled,
    /// The same at the end of a run, and durable.
    Finished,
}

/// The bytes of index entries that are not in their files yet.
#[derive(Default)]
pub(in crate::disk) struct IndexBytes {
    begin: IndexFiles,
    pub offsets: Vec<u8>,
    pub times: Vec<u8>,
    pub aborted: Vec<u8>,
    /// What the files have when these are written.
    pub end: IndexFiles,
}

impl IndexBytes {
    /// Those of `indexes` behind what the files have.
    pub fn behind(written: IndexFiles, indexes: &SegmentIndexes) -> IndexBytes {
        IndexBytes {
            begin: written,
            offsets: indexes.offsets.encode_from(written.offsets),
            times: indexes.times.encode_from(written.times),
            aborted: indexes.aborted.encode_from(written.aborted),
            end: IndexFiles {
                offsets: indexes.offsets.len(),
                times: indexes.times.len(),
                aborted: indexes.aborted.len(),
            },
        }
    }
}
