//! The end of a swap that a crash has interrupted, ours or Kafka's, before a partition is loaded.
//!
//! On disk, in the partition's directory. [`SwapPlan`] decides; every `.log.swap` is read whole before anything that it
//! replaces goes, so that a file that is not whole costs nothing but a message. Each step is durable before the next,
//! and a crash in between is met by the same plan again.

use std::path::Path;

use ottla::log::LogConfig;
use ottla::log::cleaner::{SwapPlan, SwapSegment};
use ottla::log::files::{FileStage, SegmentFile};
use ottla::log::recovery::{IgnoreBatches, PrefixEnd, ScanBounds, SegmentScan};

use super::probe;
use crate::disk::error::{Context as _, DiskError, IoFailure};
use crate::disk::patient;
use crate::host::{self, OpenHow};

/// Bytes that are read at a time.
const READ_BYTES: usize = 1 << 20;

/// Finishes or undoes what was interrupted in the directory at `path`, which holds `files`. Returns whether names have
/// changed, so that the directory has to be read again; files that are only left over are not touched.
///
/// # Errors
/// The disk's failures, and a cleaned segment that is not whole.
pub async fn finish_swap(path: &Path, files: &[SegmentFile]) -> Result<bool, DiskError> {
    let plan = SwapPlan::new(files);
    if plan.is_quiet() {
        return Ok(false);
    }
    if !plan.invalid.is_empty() {
        tracing::info!("{}: a compaction that had not come to its swap is undone", path.display());
        remove_all(path, &plan.invalid).await?;
    }
    let mut ends = Vec::with_capacity(plan.logs.len());
    for log in &plan.logs {
        ends.push(read_swap(path, *log).await?);
    }
    if !ends.is_empty() || !plan.others.is_empty() {
        tracing::info!("{}: the swap of a compaction is finished", path.display());
    }
    remove_all(path, &SwapPlan::replaced(files, &ends)).await?;
    rename_all(path, &plan.logs).await?;
    rename_all(path, &plan.others).await?;
    Ok(true)
}

async fn remove_all(path: &Path, files: &[SegmentFile]) -> Result<(), IoFailure> {
    for file in files {
        probe("a start removes a file");
        let path = path.join(file.to_string());
        host::remove_file(&path).await.at("remove", &path)?;
    }
    sync(path, files.len()).await
}

async fn rename_all(path: &Path, files: &[SegmentFile]) -> Result<(), IoFailure> {
    for file in files {
        probe("a start renames a file");
        let (from, to) = (path.join(file.to_string()), path.join(file.at_stage(FileStage::Live).to_string()));
        host::rename(&from, &to).await.at("rename", &from)?;
    }
    sync(path, files.len()).await
}

async fn sync(path: &Path, changes: usize) -> Result<(), IoFailure> {
    if changes == 0 {
        return Ok(());
    }
    patient::sync_dir(path).await
}

/// Reads a cleaned segment whole.
async fn read_swap(path: &Path, file: SegmentFile) -> Result<SwapSegment, DiskError> {
    let path = path.join(file.to_string());
    let source = patient::open(&path, OpenHow { read: true, ..OpenHow::default() }).await?;
    let file_bytes = source.len().await.at("examine", &path)?;
    let bounds = ScanBounds { file_bytes, modified: host::wall_ms(), limit: None };
    let mut scan = SegmentScan::new(file.base_offset, bounds, &LogConfig::default());
    let mut at = 0;
    while at < file_bytes {
        let piece = source.read_at(at, READ_BYTES).await.at("read", &path)?;
        if piece.is_empty() || !scan.feed(&piece, &mut IgnoreBatches) {
            break;
        }
        at += piece.len() as u64;
        host::yield_now().await;
    }
    if scan.end() != PrefixEnd::Whole || scan.valid_end().0 != file_bytes {
        let reason = format!(
            "{} at byte {}: a cleaned segment is whole before its swap",
            scan.end(),
            scan.valid_end()
        );
        return Err(DiskError::corrupt(&path, reason));
    }
    Ok(SwapSegment { base_offset: file.base_offset, next_offset: scan.next_offset() })
}
