//! One part of a Produce request on the owner shard: validated as the topic demands, appended, awaited.
//!
//! What must hold: a batch that is refused changes nothing; the bytes appended are the producer's own unless the topic
//! demands another compression or the broker's time; the outcome names the offset only after the acknowledgement.

use std::rc::Rc;

use bytes::Bytes;
use ottla::canary::{self, Canary};
use ottla::controller::names::CLUSTER_METADATA;
use ottla::errors::ErrorCode;
use ottla::ids::{Offset, TimestampMs};
use ottla::log::NewBatch;
use ottla::metrics::{Counter, ShardMetrics};
use ottla::protocol::records::BatchHeader;
use ottla::protocol::records::validate::{InvalidBatch, validate};
use ottla::request::produce::ProduceOutcome;

use crate::disk::partition::append::AppendedBatch;
use crate::disk::{AppendFailure, CommitSpan, DiskError, Partition};
use crate::drive::Shard;
use crate::drive::hosted::Hosted;
use crate::host::wall_ms;

/// A batch that is in the log and not yet acknowledged.
pub struct Appending {
    partition: Rc<Partition>,
    batch: AppendedBatch,
    log_append_time: TimestampMs,
}

impl Appending {
    /// Waits until the broker may vouch for the batch: it is on disk, unless the topic relaxes that.
    /// Returns the last commit of the partition with the outcome.
    pub async fn acknowledged(self) -> (ProduceOutcome, CommitSpan) {
        if self.batch.duplicate.is_some() && canary::is(Canary::RetryAckedEarly) {
            return (self.accepted(), CommitSpan::default());
        }
        let outcome = self.partition.wait_acknowledged(self.batch.end).await;
        let commit = self.partition.last_commit();
        match outcome {
            Ok(()) => (self.accepted(), commit),
            Err(error) => (ProduceOutcome::refused_because(error.code(), error.to_string()), commit),
        }
    }

    /// The outcome as it will be.
    pub fn accepted(self) -> ProduceOutcome {
        let log_append_time = match (self.batch.duplicate, self.log_append_time) {
            (Some(first), time) if time != TimestampMs::NONE => first,
            (_, time) => time,
        };
        ProduceOutcome {
            base_offset: self.batch.base_offset,
            log_append_time,
            log_start_offset: self.batch.log_start,
            ..ProduceOutcome::refused(ErrorCode::None)
        }
    }
}

/// Validates a batch and appends it.
pub async fn append(
    shard: &Shard,
    hosted: &Hosted,
    records: &Bytes,
    zstd_allowed: bool,
) -> Result<Appending, ProduceOutcome> {
    let policy = hosted.policy(wall_ms(), zstd_allowed);
    let validated = validate(&policy, records, &mut shard.decompressor.borrow_mut()).map_err(|refused| {
        shard.metrics.add(Counter::RejectedBatches, 1);
        invalid(refused)
    })?;
    // Usually the producer's own bytes; a copy only where the topic rewrites them.
    let mut header = BatchHeader::parse(records).expect("a validated batch has a header");
    let rewritten = match &validated.rewritten {
        Some(batch) => Some(batch.clone()),
        None => validated.changes(&header).then(|| {
            let mut batch = records.to_vec();
            validated.apply(&mut batch);
            batch
        }),
    };
    let batch = rewritten.as_deref().unwrap_or(records);
    if rewritten.is_some() {
        header = BatchHeader::parse(batch).expect("a rewritten batch has a header");
    }
    let appended = hosted.partition.append(batch, NewBatch::of_client(header)).await;
    count(&shard.metrics, &appended, records.len());
    match appended {
        Ok(batch) => {
            let partition = Rc::clone(&hosted.partition);
            Ok(Appending { partition, batch, log_append_time: validated.log_append_time })
        }
        Err(failure) => Err(refused(&hosted.partition, failure)),
    }
}

fn count(metrics: &ShardMetrics, appended: &Result<AppendedBatch, AppendFailure>, bytes: usize) {
    match appended {
        Ok(AppendedBatch { duplicate: Some(_), .. }) => metrics.add(Counter::DuplicateBatches, 1),
        Ok(batch) => {
            metrics.add(Counter::AppendedBatches, 1);
            metrics.add(Counter::AppendedRecords, (batch.end.0 - batch.base_offset.0).cast_unsigned());
            metrics.add(Counter::AppendedBytes, bytes as u64);
        }
        Err(_) => metrics.add(Counter::RejectedBatches, 1),
    }
}

/// Appends a batch of the broker's own and waits until it is durable.
pub async fn append_own(partition: Rc<Partition>, batch: Vec<u8>) -> Result<Offset, ErrorCode> {
    let header = BatchHeader::parse(&batch).expect("the broker builds whole batches");
    let appended = partition.append(&batch, NewBatch::of_coordinator(header)).await;
    let batch = appended.map_err(|failure| failure.code())?;
    if !is_answered_early(&partition) {
        partition.wait_durable(batch.end).await.map_err(|error: DiskError| error.code())?;
    }
    Ok(Offset(batch.end.0 - 1))
}

/// Planted bugs: the broker's own records count before they are durable.
fn is_answered_early(partition: &Partition) -> bool {
    let is_metadata = &*partition.name().topic == CLUSTER_METADATA;
    canary::is(if is_metadata { Canary::MetadataEarly } else { Canary::CommitEarly })
}

fn invalid(refused: InvalidBatch) -> ProduceOutcome {
    let errors = refused.record_errors.into_iter().map(|record| (record.batch_index, record.message));
    ProduceOutcome {
        record_errors: errors.collect(),
        ..ProduceOutcome::refused_because(refused.error, refused.message)
    }
}

fn refused(partition: &Partition, failure: AppendFailure) -> ProduceOutcome {
    let log_start_offset = partition.offsets().log_start;
    ProduceOutcome {
        log_start_offset,
        ..ProduceOutcome::refused_because(failure.code(), failure.to_string())
    }
}
