//! What is asked of logs besides records: offsets by timestamp, ends of epochs, producers, a new log start offset.

use std::rc::Rc;

use ottla::errors::ErrorCode;
use ottla::ids::Offset;
use ottla::limits::DESCRIBED_PRODUCERS_MAX;
use ottla::log::timestamp::{FoundOffset, TimestampQuery};
use ottla::log::{EpochEndOffset, LogOffsets};
use ottla::request::delete_records::DeleteRecordsPart;
use ottla::request::describe_producers::{ProducersOutcome, ProducersPart, state_of};
use ottla::request::list_offsets::{ListOffsetsPart, NOT_FOUND, OffsetSpec};
use ottla::request::offset_for_leader_epoch::EpochPart;

use crate::disk::Partition;
use crate::drive::Shard;
use crate::drive::read::check_epoch;

/// Looks one offset up.
pub async fn offset(partition: &Rc<Partition>, part: ListOffsetsPart) -> Result<FoundOffset, ErrorCode> {
    check_epoch(partition, part.current_leader_epoch)?;
    let visible = |offsets: LogOffsets| {
        if part.read_committed { offsets.last_stable } else { offsets.high_watermark }
    };
    let query = match part.spec {
        OffsetSpec::Latest => TimestampQuery::Latest,
        OffsetSpec::Earliest | OffsetSpec::EarliestLocal => TimestampQuery::Earliest,
        OffsetSpec::MaxTimestamp => TimestampQuery::Largest,
        OffsetSpec::At(timestamp) => TimestampQuery::AtOrAfter(timestamp),
        // Nothing is tiered here, and nothing is about to be.
        OffsetSpec::LatestTiered | OffsetSpec::EarliestPendingUpload => return Ok(NOT_FOUND),
    };
    let up_to = visible(partition.offsets());
    let found = partition.offset_for_timestamp(query, up_to).await.map_err(|error| {
        tracing::error!(partition = %partition.name(), %error, "a search by timestamp failed");
        error.code()
    })?;
    let Some(found) = found else { return Ok(NOT_FOUND) };
    if query == TimestampQuery::Largest && found.offset >= up_to {
        // In Kafka what one replica has appended is visible at once; here it is when it is on disk.
        let waited = partition.wait_acknowledged(found.offset.plus(1)).await;
        waited.map_err(|error| error.code())?;
        if found.offset >= visible(partition.offsets()) {
            return Ok(NOT_FOUND);
        }
    }
    Ok(found)
}

/// Finds where an epoch ends.
pub fn epoch_end(partition: &Partition, part: EpochPart) -> Result<EpochEndOffset, ErrorCode> {
    partition.dir().check().map_err(|error| error.code())?;
    check_epoch(partition, part.current_leader_epoch)?;
    Ok(partition.epoch_end_offset(part.leader_epoch))
}

/// Tells what the logs of these partitions remember of their producers. Once there are as many as an answer may have,
/// what is asked for behind them is refused unseen.
pub fn producers(shard: &Shard, parts: Vec<ProducersPart>) -> Vec<(u32, ProducersOutcome)> {
    let mut described = 0;
    let mut outcome = |part: ProducersPart| {
        let hosted = shard.find(part.partition)?;
        hosted.partition.dir().check().map_err(|error| error.code())?;
        if described > DESCRIBED_PRODUCERS_MAX {
            return Err(ErrorCode::PolicyViolation);
        }
        let producers: Vec<_> = hosted
            .partition
            .with_log(|log| log.producers().iter().map(|(id, entry)| state_of(id, entry)).collect());
        described += producers.len();
        Ok(producers)
    };
    parts.into_iter().map(|part| (part.slot, outcome(part))).collect()
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
