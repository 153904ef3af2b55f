//! What is asked of one log besides records: offsets by timestamp, ends of epochs, a new log start offset.

use std::rc::Rc;

use ottla::errors::ErrorCode;
use ottla::ids::Offset;
use ottla::log::EpochEndOffset;
use ottla::log::timestamp::{FoundOffset, TimestampQuery};
use ottla::request::delete_records::DeleteRecordsPart;
use ottla::request::list_offsets::{ListOffsetsPart, NOT_FOUND, OffsetSpec};
use ottla::request::offset_for_leader_epoch::EpochPart;

use crate::disk::Partition;
use crate::drive::read::check_epoch;

/// Looks one offset up.
pub async fn offset(partition: &Rc<Partition>, part: ListOffsetsPart) -> Result<FoundOffset, ErrorCode> {
    check_epoch(partition, part.current_leader_epoch)?;
    let offsets = partition.offsets();
    let up_to = if part.read_committed { offsets.last_stable } else { offsets.high_watermark };
    let query = match part.spec {
        OffsetSpec::Latest => TimestampQuery::Latest,
        OffsetSpec::Earliest | OffsetSpec::EarliestLocal => TimestampQuery::Earliest,
        OffsetSpec::MaxTimestamp => TimestampQuery::Largest,
        OffsetSpec::At(timestamp) => TimestampQuery::AtOrAfter(timestamp),
        // Nothing is tiered here, and nothing is about to be.
        OffsetSpec::LatestTiered | OffsetSpec::EarliestPendingUpload => return Ok(NOT_FOUND),
    };
    let found = partition.offset_for_timestamp(query, up_to).await.map_err(|error| {
        tracing::error!(partition = %partition.name(), %error, "a search by timestamp failed");
        error.code()
    })?;
    Ok(found.unwrap_or(NOT_FOUND))
}

/// Finds where an epoch ends.
pub fn epoch_end(partition: &Partition, part: EpochPart) -> Result<EpochEndOffset, ErrorCode> {
    check_epoch(partition, part.current_leader_epoch)?;
    Ok(partition.epoch_end_offset(part.leader_epoch))
}

/// Moves the log start offset and returns the new low watermark. A log that is compacted and never deleted from keeps
/// the last value of each key, whatever offset is asked for (Kafka's `Partition.deleteRecordsOnLeader`).
pub async fn delete_records(partition: &Rc<Partition>, part: DeleteRecordsPart) -> Result<Offset, ErrorCode> {
    if partition.with_log(|log| log.config().compact && !log.config().delete) {
        return Err(ErrorCode::PolicyViolation);
    }
    if part.before.is_some_and(|before| before < Offset::ZERO) {
        return Err(ErrorCode::OffsetOutOfRange);
    }
    let before = part.before.unwrap_or(Offset::NONE);
    partition.delete_records(before).await.map_err(|error| error.code())
}
