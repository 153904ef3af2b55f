//! One part of a Fetch request on the owner shard: fencing, then one read of the log.
//!
//! What must hold: high watermark, last stable offset and log start offset are those of the moment of the read;
//! nothing
//! at or behind the end that the isolation level may see is part of the answer.

use std::rc::Rc;

use ottla::canary::{self, Canary};
use ottla::errors::ErrorCode;
use ottla::ids::{LeaderEpoch, Offset};
use ottla::log::{EpochEndOffset, ReadRequest};
use ottla::request::fetch::FetchOutcome;
use ottla::request::fetch_session::Wanted;

use crate::disk::partition::read::{Read, Slice};
use crate::disk::{DiskError, Partition, told};
use crate::net::Piece;

/// The most bytes of one partition in one reply: a splice's length is a signed 32-bit number.
const BYTES_MAX: u64 = i32::MAX as u64 / 2;

/// What a request's limit leaves for one partition of it.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    /// Bytes of records.
    pub bytes: u32,
    /// Whether the first batch comes whole even where there is less room, or less is wanted of the partition: the
    /// first batch of an answer alone may (KIP-74).
    pub at_least_one: bool,
}

/// Reads what a client wants of one partition, as far as there is room for it.
pub async fn read(
    partition: &Rc<Partition>,
    wanted: Wanted,
    read_committed: bool,
    room: Room,
) -> FetchOutcome<Vec<Piece>> {
    if let Err(error) = check_epoch(partition, wanted.current_leader_epoch) {
        return FetchOutcome::refused(error);
    }
    match divergence(partition, wanted) {
        Ok(None) => {}
        Ok(diverging) => {
            let offsets = partition.offsets();
            return FetchOutcome {
                high_watermark: offsets.high_watermark,
                last_stable_offset: offsets.last_stable,
                log_start_offset: offsets.log_start,
                diverging,
                ..FetchOutcome::refused(ErrorCode::None)
            };
        }
        Err(error) => return FetchOutcome::refused(error),
    }
    match try_read(partition, wanted, read_committed, room).await {
        Ok(outcome) => outcome,
        Err(error) => {
            told::failure(partition.name(), "a read failed", &error);
            FetchOutcome::refused(error.code())
        }
    }
}

async fn try_read(
    partition: &Rc<Partition>,
    wanted: Wanted,
    read_committed: bool,
    room: Room,
) -> Result<FetchOutcome<Vec<Piece>>, DiskError> {
    let mut before = partition.offsets();
    let shown = canary::is(Canary::WatermarkReadTwice).then_some(before.high_watermark);
    if shown.is_some() {
        crate::host::yield_now().await;
        before = partition.offsets();
    }
    let up_to = if read_committed { before.last_stable } else { before.high_watermark };
    let wanted_bytes = u64::try_from(wanted.max_bytes).unwrap_or(0);
    let request = ReadRequest {
        from: wanted.fetch_offset,
        up_to,
        max_bytes: wanted_bytes.min(u64::from(room.bytes)).min(BYTES_MAX),
        at_least_one: room.at_least_one,
    };
    let (read, aborted) = match read_committed {
        true => partition.read_committed(request).await?,
        false => (partition.read(request).await?, Vec::new()),
    };
    let Read { slices, bytes, slice, withheld, offsets } = read;
    let limited = withheld || slice.is_some_and(|slice| slice.limited);
    let available = if limited { bytes.max(request.max_bytes) } else { bytes };
    let next = slice.and_then(|slice| partition.with_log(|log| log.next_segment(slice.segment_base)));
    Ok(FetchOutcome {
        high_watermark: shown.unwrap_or(offsets.high_watermark),
        last_stable_offset: offsets.last_stable,
        log_start_offset: offsets.log_start,
        aborted: aborted.iter().map(|aborted| (aborted.producer_id, aborted.first_offset)).collect(),
        records: slices.into_iter().map(piece).collect(),
        bytes: u32::try_from(bytes).expect("a read is bounded, and a batch is below 2 GiB"),
        available: u32::try_from(available).expect("no more than a part may want, or a batch"),
        is_behind: next.is_some_and(|next| next < up_to),
        ..FetchOutcome::refused(ErrorCode::None)
    })
}

fn piece(slice: Slice) -> Piece {
    match slice {
        Slice::Memory(bytes) => Piece::Bytes(bytes),
        Slice::File { fd, position, bytes, readable_end } => {
            let bytes = u32::try_from(bytes).expect("a segment is below 2 GiB");
            Piece::File { fd, position: position.0, bytes, readable_end: readable_end.0 }
        }
    }
}

/// Checks the leader epoch that a client knows against the log's.
///
/// # Errors
/// `FENCED_LEADER_EPOCH` when the client is behind, `UNKNOWN_LEADER_EPOCH` when this broker is (KIP-320).
pub fn check_epoch(partition: &Partition, known: i32) -> Result<(), ErrorCode> {
    let current = partition.with_log(ottla::log::Log::leader_epoch).0;
    match known {
        i32::MIN..0 => Ok(()),
        known if known < current => Err(ErrorCode::FencedLeaderEpoch),
        known if known > current => Err(ErrorCode::UnknownLeaderEpoch),
        _ => Ok(()),
    }
}

/// Where the client's log stopped being ours, if it did (KIP-595).
///
/// # Errors
/// `OFFSET_OUT_OF_RANGE` where this log cannot tell: it knows no epoch that old, or none that new (Kafka's
/// `Partition.readRecords`).
fn divergence(partition: &Partition, wanted: Wanted) -> Result<Option<(LeaderEpoch, Offset)>, ErrorCode> {
    if wanted.last_fetched_epoch < 0 {
        return Ok(None);
    }
    let last = LeaderEpoch(wanted.last_fetched_epoch);
    let end = partition.epoch_end_offset(last);
    if end == EpochEndOffset::UNDEFINED {
        return Err(ErrorCode::OffsetOutOfRange);
    }
    let diverges = end.epoch < last || end.end_offset < wanted.fetch_offset;
    Ok(diverges.then_some((end.epoch, end.end_offset)))
}
