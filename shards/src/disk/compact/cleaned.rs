//! A cleaned segment on its way into the log: written under `.cleaned` names, renamed to `.swap`, then to its own.
//!
//! On disk, in the partition's directory. The order is Kafka's (`LocalLog.replaceSegments`), with the names made
//! durable between two steps, so that a crash leaves what [`SwapPlan`](ottla::log::cleaner::SwapPlan) knows:
//!
//! 1. `.log.cleaned` and its indexes are written and synced;
//! 2. all of them become `.swap`: from here on a start finishes what was begun;
//! 3. the files of the segments that are replaced become `.deleted`;
//! 4. the `.log.swap` gets its own name, then its indexes do;
//! 5. readers go over; the `.deleted` files are removed `file.delete.delay.ms` later.
//!
//! What must hold: a failure before 3, and want of room at any step, leaves the log whole: 2 is taken back. Any other
//! takes the log dir offline.

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use ottla::canary::{self, Canary};
use ottla::ids::{FilePosition, Offset};
use ottla::limits::BLOCK_BYTES;
use ottla::log::cleaner::CleanedGroup;
use ottla::log::files::{FileStage, SegmentFile, SegmentFileKind};

use super::probe;
use crate::disk::error::{Context as _, DiskError, IoFailure};
use crate::disk::partition::Partition;
use crate::disk::patient;
use crate::disk::tail::block_floor;
use crate::host::{self, AlignedBuf, Durability, File, OpenHow, WriteSlice};

/// The files of a cleaned segment: its log and its indexes.
const KINDS: [SegmentFileKind; 4] = [
    SegmentFileKind::Log,
    SegmentFileKind::OffsetIndex,
    SegmentFileKind::TimeIndex,
    SegmentFileKind::TransactionIndex,
];

/// Bytes that are written at a time.
const WRITE_BYTES: usize = 1 << 20;

/// A `.log.cleaned` file that is being written in whole blocks.
pub(super) struct CleanedFile {
    partition: Rc<Partition>,
    base: Offset,
    path: PathBuf,
    file: File,
    /// Bytes in the file, whole blocks.
    written: u64,
    /// Bytes behind them.
    pending: Vec<u8>,
}

fn staged(partition: &Partition, base: Offset, kind: SegmentFileKind, stage: FileStage) -> PathBuf {
    partition.path.join(SegmentFile { base_offset: base, kind, stage }.to_string())
}

impl CleanedFile {
    /// A new file; what an earlier cleaning left under its name is gone.
    pub async fn create(partition: &Rc<Partition>, base: Offset) -> Result<CleanedFile, IoFailure> {
        remove_cleaned(partition, base).await;
        let path = staged(partition, base, SegmentFileKind::Log, FileStage::Cleaned);
        let how = OpenHow { create: true, ..partition.dir.open_blocks() };
        let file = patient::open(&path, how).await?;
        file.set_len(0).await.at("cut", &path)?;
        let partition = Rc::clone(partition);
        Ok(CleanedFile { partition, base, path, file, written: 0, pending: Vec::new() })
    }

    /// Appends bytes; those that fill blocks are written.
    pub async fn append(&mut self, bytes: &[u8]) -> Result<(), IoFailure> {
        self.pending.extend_from_slice(bytes);
        while self.pending.len() >= WRITE_BYTES {
            self.write(WRITE_BYTES).await?;
        }
        Ok(())
    }

    async fn write(&mut self, bytes: usize) -> Result<(), IoFailure> {
        let slices: Vec<WriteSlice> = vec![AlignedBuf::copy_of(&self.pending[..bytes]).into()];
        self.file.write_at(slices, self.written, Durability::None).await.at("write", &self.path)?;
        self.pending.drain(..bytes);
        self.written += bytes as u64;
        probe("a piece was written");
        Ok(())
    }

    /// Writes the rest, then the indexes of the segment; everything is durable but the names.
    pub async fn finish(mut self, group: &CleanedGroup) -> Result<(), IoFailure> {
        let bytes = self.written + self.pending.len() as u64;
        assert_eq!(bytes, group.segment.bytes, "everything that came out was appended");
        let whole = self.pending.len().next_multiple_of(BLOCK_BYTES);
        self.pending.resize(whole, 0);
        if whole > 0 {
            self.write(whole).await?;
        }
        self.file.set_len(bytes).await.at("cut", &self.path)?;
        self.file.sync_all().await.at("sync", &self.path)?;
        let indexes = &group.indexes;
        let aborted = (!indexes.aborted.is_empty()).then(|| indexes.aborted.encode_from(0));
        let files = [
            (SegmentFileKind::OffsetIndex, Some(indexes.offsets.encode_from(0))),
            (SegmentFileKind::TimeIndex, Some(indexes.times.encode_from(0))),
            (SegmentFileKind::TransactionIndex, aborted),
        ];
        for (kind, bytes) in files {
            if let Some(bytes) = bytes {
                probe("an index is written");
                write_synced(&staged(&self.partition, self.base, kind, FileStage::Cleaned), &bytes).await?;
            }
        }
        Ok(())
    }
}

/// Writes a small file whole, synced whatever else is synced later.
async fn write_synced(path: &Path, bytes: &[u8]) -> Result<(), IoFailure> {
    let how = OpenHow { write: true, create: true, ..OpenHow::default() };
    let file = patient::open(path, how).await?;
    file.set_len(0).await.at("cut", path)?;
    if !bytes.is_empty() {
        let slices: Vec<WriteSlice> = vec![AlignedBuf::copy_of(bytes).into()];
        file.write_at(slices, 0, Durability::None).await.at("write", path)?;
    }
    file.sync_all().await.at("sync", path)
}

/// Removes what is left of a cleaning that did not come to its swap; a start would do the same.
pub(super) async fn remove_cleaned(partition: &Partition, base: Offset) {
    for kind in KINDS {
        let path = staged(partition, base, kind, FileStage::Cleaned);
        match host::remove_file(&path).await {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                tracing::debug!("cannot remove {}: {error}", path.display());
            }
            Ok(()) | Err(_) => {}
        }
    }
}

impl Partition {
    /// Puts a cleaned segment, whose files are durable under their `.cleaned` names, in the place of its sources.
    pub(super) async fn swap_in(
        self: &Rc<Self>,
        group: &CleanedGroup,
        delay: Duration,
    ) -> Result<(), DiskError> {
        let turn = self.housekeeping_turn().await?;
        // What only the batches that go could tell of the epochs is in the checkpoint before they go.
        self.write_epochs().await?;
        self.sync_directory().await?;
        self.check()?;
        self.untouched.set(false);
        if let Some(failure) = self.begin_swap(group.segment.base_offset).await? {
            return Err(failure.into());
        }
        let result = self.rename_all(group, delay).await;
        drop(turn);
        result.inspect_err(|failure| self.dir.fail(failure))?;
        Ok(())
    }

    /// Gives the cleaned files the names by which a start finishes what was begun. Returns why a full disk did not take
    /// them: nothing is begun then.
    async fn begin_swap(&self, base: Offset) -> Result<Option<IoFailure>, IoFailure> {
        let begun = match self.restage_to_swap(base).await {
            Err(failure) if failure.may_be_retried() => {
                // The log first: without it no start takes the others for a swap.
                let undone = self.remove_swap(base).await;
                undone.map(|()| Some(failure))
            }
            begun => begun.map(|()| None),
        };
        begun.inspect_err(|failure| self.dir.fail(failure))
    }

    async fn restage_to_swap(&self, base: Offset) -> Result<(), IoFailure> {
        for kind in KINDS {
            self.restage(base, kind, FileStage::Cleaned, FileStage::Swap).await?;
        }
        self.sync_directory().await
    }

    async fn remove_swap(&self, base: Offset) -> Result<(), IoFailure> {
        for kind in KINDS {
            self.remove_if_there(&staged(self, base, kind, FileStage::Swap)).await?;
        }
        self.sync_directory().await
    }

    async fn rename_all(self: &Rc<Self>, group: &CleanedGroup, delay: Duration) -> Result<(), IoFailure> {
        let base = group.segment.base_offset;
        let moving = self.begin_moving(&group.sources);
        let mut deleted = Vec::new();
        for &source in &group.sources {
            for kind in KINDS {
                match self.restage(source, kind, FileStage::Live, FileStage::Deleted).await {
                    Ok(true) => deleted.push(staged(self, source, kind, FileStage::Deleted)),
                    Ok(false) => {}
                    // No block for the longer name: it goes at once.
                    Err(failure) if failure.may_be_retried() => {
                        self.remove_if_there(&staged(self, source, kind, FileStage::Live)).await?;
                    }
                    Err(failure) => return Err(failure),
                }
            }
        }
        self.sync_directory().await?;
        self.restage(base, SegmentFileKind::Log, FileStage::Swap, FileStage::Live).await?;
        self.sync_directory().await?;
        for kind in &KINDS[1..] {
            self.restage(base, *kind, FileStage::Swap, FileStage::Live).await?;
        }
        self.sync_directory().await?;
        moving.finish(group.segment);
        probe("readers have gone over");
        self.disk.remove_later(deleted, delay);
        Ok(())
    }

    /// Renames a file from one stage to another; false where there is none, as not every segment has every file.
    async fn restage(
        &self,
        base: Offset,
        kind: SegmentFileKind,
        from: FileStage,
        to: FileStage,
    ) -> Result<bool, IoFailure> {
        probe("a file is renamed");
        let (from, to) = (staged(self, base, kind, from), staged(self, base, kind, to));
        match host::rename(&from, &to).await {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && kind != SegmentFileKind::Log => {
                Ok(false)
            }
            result => result.at("rename", &from).map(|()| true),
        }
    }

    async fn sync_directory(&self) -> Result<(), IoFailure> {
        if canary::is(Canary::SwapUnsynced) {
            return Ok(());
        }
        probe("names are synced");
        patient::sync_dir(&self.path).await
    }
}

/// A closed segment's file for the cleaner, read past the page cache, which is for readers.
pub(super) struct SourceFile {
    pub base: Offset,
    path: PathBuf,
    file: File,
}

impl SourceFile {
    pub async fn open(partition: &Partition, base: Offset) -> Result<SourceFile, IoFailure> {
        let path = partition.segment_path(base);
        let how = OpenHow { write: false, ..partition.dir.open_blocks() };
        let file = patient::open(&path, how).await?;
        Ok(SourceFile { base, path, file })
    }

    /// So many bytes from `from` on, fewer at the end of the file.
    pub async fn read(&self, from: FilePosition, bytes: u64) -> Result<Vec<u8>, IoFailure> {
        let floor = block_floor(from);
        let skip = usize::try_from(from.0 - floor.0).expect("less than a block");
        let wanted = usize::try_from(bytes).expect("a segment is below 2 GiB");
        let whole = (skip + wanted).next_multiple_of(BLOCK_BYTES);
        let read = self.file.read_at(floor.0, whole).await.at("read", &self.path)?;
        let end = read.len().min(skip + wanted);
        Ok(read.get(skip..end).unwrap_or(&[]).to_vec())
    }
}
