//! Making a journal file: its space written once, so that a frame never makes the file system commit anything, its
//! headers, its name; each durable before the next, and all before the first frame.

use std::path::Path;
use std::rc::Rc;

use ottla::limits::BLOCK_BYTES;
use ottla::log::journal::{JournalHeader, journal_file_name};

use super::{Journal, Stage};
use crate::disk::error::{Context as _, IoFailure};
use crate::disk::patient;
use crate::disk::shard_disk::ShardDisk;
use crate::host::{self, AlignedBuf, Durability, File, OpenHow, Queue, WriteSlice};

/// Bytes of zeros that are written at a time: what a commit may have to wait for.
const PIECE_BYTES: u64 = 256 << 10;

impl Journal {
    /// Begins to make the file in the background, unless that was done or makes no sense.
    pub(in crate::disk) fn prepare(self: &Rc<Self>, disk: &Rc<ShardDisk>) {
        if !self.is_unmade() || !self.is_usable() || self.dir.is_offline() {
            return;
        }
        *self.stage.borrow_mut() = Stage::Making;
        let path = self.dir.path().join(journal_file_name(host::shard_id().0));
        self.dir.add_journal(path.clone());
        let (how, bytes) = (self.dir.open_blocks(), disk.settings.journal_bytes);
        let journal = Rc::downgrade(self);
        drop(host::spawn_in(Queue::Background, async move {
            // Nothing of the shard is kept alive by this.
            let made = make(&path, OpenHow { create_new: true, ..how }, bytes).await;
            let Some(journal) = journal.upgrade() else { return };
            *journal.stage.borrow_mut() = match made {
                Ok((file, epoch)) => Stage::Ready { file, epoch },
                Err(failure) => {
                    journal.cannot_be_made(&failure);
                    Stage::Unmade
                }
            };
        }));
    }

    fn cannot_be_made(&self, failure: &IoFailure) {
        self.rest();
        if failure.may_be_retried() || failure.is_there() {
            tracing::warn!("no journal in {}: {failure}; doing without", self.dir.path().display());
        } else {
            self.dir.fail(failure);
        }
    }
}

async fn make(path: &Path, how: OpenHow, bytes: u64) -> Result<(File, u64), IoFailure> {
    let file = patient::open(path, how).await?;
    match fill(&file, path, bytes).await {
        Ok(epoch) => {
            patient::sync_dir(path.parent().expect("it lies in a log dir")).await?;
            Ok((file, epoch))
        }
        Err(failure) => {
            // Another attempt makes it anew.
            let _ = host::remove_file(path).await;
            Err(failure)
        }
    }
}

async fn fill(file: &File, path: &Path, bytes: u64) -> Result<u64, IoFailure> {
    let file_bytes = bytes / BLOCK_BYTES as u64 * BLOCK_BYTES as u64;
    // In one piece where the file system can; what it has no room for the writes find out.
    let _ = file.allocate(0, file_bytes).await;
    let piece = AlignedBuf::zeroed(usize::try_from(PIECE_BYTES).expect("a piece is small")).freeze();
    let mut at = 0;
    while at < file_bytes {
        let length = PIECE_BYTES.min(file_bytes - at);
        let zeros = piece.slice(..usize::try_from(length).expect("a piece is small"));
        let slices: Vec<WriteSlice> = vec![zeros.into()];
        file.write_at(slices, at, Durability::None).await.at("write", path)?;
        at += length;
    }
    file.sync_all().await.at("sync", path)?;
    let epoch = host::random_u64();
    let header = JournalHeader { epoch, file_bytes }.encode();
    for copy in 0..2 {
        let mut block = AlignedBuf::zeroed(BLOCK_BYTES);
        block[..header.len()].copy_from_slice(&header);
        let slices: Vec<WriteSlice> = vec![block.into()];
        let position = copy * BLOCK_BYTES as u64;
        file.write_at(slices, position, Durability::DataSync).await.at("write", path)?;
    }
    Ok(epoch)
}
