//! Reads a whole partition of the broker's own and replays its records: the metadata log, a partition of the offsets
//! topic.
//!
//! Runs on the owner shard before the partition is served. Memory is bounded by one read; control batches are skipped.

use std::fmt::Display;
use std::rc::Rc;

use ottla::errors::ErrorCode;
use ottla::ids::Offset;
use ottla::limits::DECOMPRESSED_BYTES_MAX;
use ottla::log::ReadRequest;
use ottla::protocol::compression::{Codec, decompress};
use ottla::protocol::records::record::Record;
use ottla::protocol::records::{Batch, BatchIter, RecordIter, crc_is_valid};

use crate::disk::partition::read::Slice;
use crate::disk::{DiskError, Partition};
use crate::host::{File, yield_now};

/// Bytes of batches that are read at a time.
const READ_BYTES: u64 = 1 << 20;

/// Why a partition could not be replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayFailure<E: Display> {
    /// The log cannot be read.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// A file range cannot be read.
    #[error("the log cannot be read: {0}")]
    Io(#[from] std::io::Error),
    /// A batch is not what it was.
    #[error("the batch at offset {offset} is damaged: {why}")]
    Damaged {
        /// Its base offset.
        offset: Offset,
        /// In which way.
        why: String,
    },
    /// A record cannot be used.
    #[error("the record at offset {offset}: {error}")]
    Record {
        /// Its offset.
        offset: Offset,
        /// Why not.
        error: E,
    },
}

impl<E: Display> ReplayFailure<E> {
    fn damaged(offset: Offset, why: impl Display) -> Self {
        Self::Damaged { offset, why: why.to_string() }
    }
}

/// Hands every record from the log start to the high watermark to `replay`, in order.
///
/// # Errors
/// The first failure; nothing after it is replayed.
pub async fn replay_records<E: Display>(
    partition: &Rc<Partition>,
    mut replay: impl FnMut(Offset, &Record<'_>) -> Result<(), E>,
) -> Result<(), ReplayFailure<E>> {
    let end = partition.offsets().high_watermark;
    let mut next = partition.offsets().log_start;
    while next < end {
        let request = ReadRequest { from: next, up_to: end, max_bytes: READ_BYTES, at_least_one: true };
        let mut bytes = Vec::new();
        for slice in partition.read(request).await?.slices {
            match slice {
                Slice::Memory(memory) => bytes.extend_from_slice(&memory),
                Slice::File { fd, position, bytes: count, .. } => {
                    let count = usize::try_from(count).expect("a read is bounded");
                    bytes.extend_from_slice(&File::from_shared(fd)?.read_at(position.0, count).await?);
                }
            }
        }
        let before = next;
        for batch in BatchIter::new(&bytes) {
            let batch = batch.map_err(|error| ReplayFailure::damaged(next, error))?;
            replay_batch(&batch, &mut replay)?;
            next = batch.header.next_offset();
        }
        if next == before {
            return Err(ReplayFailure::damaged(next, ErrorCode::CorruptMessage));
        }
        yield_now().await;
    }
    Ok(())
}

fn replay_batch<E: Display>(
    batch: &Batch<'_>,
    replay: &mut impl FnMut(Offset, &Record<'_>) -> Result<(), E>,
) -> Result<(), ReplayFailure<E>> {
    let at = batch.header.base_offset;
    if !crc_is_valid(batch.bytes) {
        return Err(ReplayFailure::damaged(at, "its CRC is wrong"));
    }
    if batch.header.attributes.is_control() {
        return Ok(());
    }
    let codec = batch.header.attributes.compression();
    let codec = codec.ok_or_else(|| ReplayFailure::damaged(at, "its codec is unknown"))?;
    let decompressed;
    let payload = match codec {
        Codec::None => batch.payload(),
        codec => {
            decompressed = decompress(codec, batch.payload(), DECOMPRESSED_BYTES_MAX)
                .map_err(|error| ReplayFailure::damaged(at, error))?;
            &decompressed
        }
    };
    for record in RecordIter::new(payload, batch.header.record_count) {
        let record = record.map_err(|error| ReplayFailure::damaged(at, error))?;
        let offset = record.offset(&batch.header);
        replay(offset, &record).map_err(|error| ReplayFailure::Record { offset, error })?;
    }
    Ok(())
}
