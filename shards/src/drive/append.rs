//! One part of a Produce request on the owner shard: validated as the topic demands, appended, awaited.
//!
//! What must hold: a batch that is refused changes nothing; the bytes appended are the producer's own unless the topic
//! demands another compression or the broker's time; the outcome names the offset only after the acknowledgement. A
//! part that was [begun](begin) has its place in its partition's log: what is begun later comes behind it, however
//! long it has to wait.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

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

use crate::disk::partition::append::{AppendedBatch, Turn};
use crate::disk::{AppendFailure, CommitSpan, DiskError, Partition, told};
use crate::drive::Shard;
use crate::drive::hosted::Hosted;
use crate::host::{LocalBoxFuture, wall_ms};

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

/// What became of an append: the batch is in the log, or will never be.
pub type Appended = Result<Appending, ProduceOutcome>;

/// A part that has its place in its partition's log.
pub enum Begun {
    /// It is there, or refused.
    Done(Appended),
    /// It waits for its turn, for memory or for the disk.
    Waiting(LocalBoxFuture<Appended>),
}

impl Begun {
    /// Whether it is still waiting once it was polled.
    fn is_waiting(&mut self, context: &mut Context<'_>) -> bool {
        let Begun::Waiting(future) = self else { return false };
        match future.as_mut().poll(context) {
            Poll::Ready(appended) => {
                *self = Begun::Done(appended);
                false
            }
            Poll::Pending => true,
        }
    }
}

/// Waits for all of a request's parts, side by side.
pub async fn all(mut parts: Vec<(u32, Begun)>) -> Vec<(u32, Appended)> {
    poll_fn(|context| {
        // Every one is polled each time: each has to know this task's waker.
        let waiting: usize = parts.iter_mut().map(|(_, part)| usize::from(part.is_waiting(context))).sum();
        if waiting == 0 { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    let done = |part| match part {
        Begun::Done(appended) => appended,
        Begun::Waiting(_) => unreachable!("nothing waits any more"),
    };
    parts.into_iter().map(|(slot, part)| (slot, done(part))).collect()
}

/// A planted bug: each part begins when the one before it has ended.
pub async fn one_by_one(parts: impl Iterator<Item = (u32, Begun)>) -> Vec<(u32, Appended)> {
    let mut appended = Vec::new();
    for part in parts {
        appended.extend(all(vec![part]).await);
    }
    appended
}

/// A batch that may be appended.
struct Checked {
    /// The producer's own bytes, or a copy where the topic rewrites them.
    batch: Bytes,
    new: NewBatch,
    log_append_time: TimestampMs,
    /// Bytes that the producer sent.
    received: usize,
}

/// Validates a batch and appends it, or takes its place among those that wait.
pub fn begin(shard: &Rc<Shard>, hosted: &Rc<Hosted>, records: Bytes, zstd_allowed: bool) -> Begun {
    if shard.stint.is_over() {
        return waiting(check_later(Rc::clone(shard), Rc::clone(hosted), records, zstd_allowed));
    }
    let checked = match check(shard, hosted, records, zstd_allowed) {
        Ok(checked) => checked,
        Err(refused) => return Begun::Done(Err(refused)),
    };
    let partition = Rc::clone(&hosted.partition);
    if let Some(appended) = partition.append_at_once(&checked.batch, &checked.new) {
        return Begun::Done(conclude(&shard.metrics, &partition, &checked, appended));
    }
    let shard = Rc::clone(shard);
    waiting(async move {
        let turn = partition.turn().await;
        append_in(turn, &shard, &partition, &checked).await
    })
}

/// A part that waits. The first poll takes its place; whoever waits for it polls it again, with a waker.
fn waiting(part: impl Future<Output = Appended> + 'static) -> Begun {
    let mut waiting = Begun::Waiting(Box::pin(part));
    let _ = waiting.is_waiting(&mut Context::from_waker(Waker::noop()));
    waiting
}

/// Takes its place at once, and is validated when the shard's other tasks had a turn.
async fn check_later(shard: Rc<Shard>, hosted: Rc<Hosted>, records: Bytes, zstd_allowed: bool) -> Appended {
    let turn = hosted.partition.turn().await;
    shard.stint.begun().await;
    let checked = check(&shard, &hosted, records, zstd_allowed)?;
    append_in(turn, &shard, &hosted.partition, &checked).await
}

async fn append_in(turn: Turn, shard: &Shard, partition: &Rc<Partition>, checked: &Checked) -> Appended {
    let appended = partition.append_in(turn, &checked.batch, &checked.new).await;
    conclude(&shard.metrics, partition, checked, appended)
}

fn check(
    shard: &Shard,
    hosted: &Hosted,
    records: Bytes,
    zstd_allowed: bool,
) -> Result<Checked, ProduceOutcome> {
    let policy = hosted.policy(wall_ms(), zstd_allowed);
    let validated =
        shard.stint.spend(records.len(), |decompressor| validate(&policy, &records, decompressor));
    let validated = validated.map_err(|refused| {
        shard.metrics.add(Counter::RejectedBatches, 1);
        invalid(&hosted.partition, refused)
    })?;
    let (log_append_time, received) = (validated.log_append_time, records.len());
    let header = BatchHeader::parse(&records).expect("a validated batch has a header");
    let changes = validated.rewritten.is_none() && validated.changes(&header);
    let rewritten = if changes {
        let mut batch = records.to_vec();
        validated.apply(&mut batch);
        Some(batch)
    } else {
        validated.rewritten
    };
    let Some(batch) = rewritten else {
        return Ok(Checked { batch: records, new: NewBatch::of_client(header), log_append_time, received });
    };
    let header = BatchHeader::parse(&batch).expect("a rewritten batch has a header");
    Ok(Checked { batch: batch.into(), new: NewBatch::of_client(header), log_append_time, received })
}

fn conclude(
    metrics: &ShardMetrics,
    partition: &Rc<Partition>,
    checked: &Checked,
    appended: Result<AppendedBatch, AppendFailure>,
) -> Appended {
    count(metrics, &appended, checked.received);
    match appended {
        Ok(batch) => {
            let partition = Rc::clone(partition);
            Ok(Appending { partition, batch, log_append_time: checked.log_append_time })
        }
        Err(failure) => Err(refused(partition, failure)),
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

/// Appends a batch of the broker's own, and has it written at once. Returns the offset of its last record, of which
/// [`own_durable`] tells when it counts.
///
/// # Errors
/// The batch is not in the log.
pub async fn append_own(partition: &Rc<Partition>, batch: Vec<u8>) -> Result<Offset, ErrorCode> {
    let header = BatchHeader::parse(&batch).expect("the broker builds whole batches");
    let appended = partition.append(&batch, NewBatch::of_coordinator(header)).await;
    let batch = appended.inspect_err(|failure| tell(partition, failure)).map_err(|failure| failure.code())?;
    partition.hasten(batch.end);
    Ok(Offset(batch.end.0 - 1))
}

/// Waits until a batch of the broker's own is durable, for room on a full disk as long as `is_patient`: what is in the
/// log becomes durable some time, whatever is told of it.
///
/// # Errors
/// [`DiskError::Unwritten`] where it may still be later; any other where it will not.
pub async fn own_durable(
    partition: &Partition,
    last: Offset,
    is_patient: impl Fn() -> bool,
) -> Result<(), DiskError> {
    while !is_answered_early(partition) {
        match partition.wait_durable(last.plus(1)).await {
            Err(DiskError::Unwritten { .. }) if is_patient() => {}
            outcome => return outcome,
        }
    }
    Ok(())
}

/// Planted bugs: the broker's own records count before they are durable.
fn is_answered_early(partition: &Partition) -> bool {
    let is_metadata = &*partition.name().topic == CLUSTER_METADATA;
    canary::is(if is_metadata { Canary::MetadataEarly } else { Canary::CommitEarly })
}

/// Kafka looks at a request's records before it looks at the log, and at each of them with the log.
fn invalid(partition: &Partition, refused: InvalidBatch) -> ProduceOutcome {
    let is_by_record = !refused.record_errors.is_empty();
    let errors = refused.record_errors.into_iter().map(|record| (record.batch_index, record.message));
    ProduceOutcome {
        log_start_offset: if is_by_record { partition.offsets().log_start } else { Offset::NONE },
        record_errors: errors.collect(),
        ..ProduceOutcome::refused_because(refused.error, refused.message)
    }
}

/// Says what is wrong where the disk is to blame: a client hears an error that it retries, silent for minutes.
fn tell(partition: &Partition, failure: &AppendFailure) {
    if let AppendFailure::Disk(error) = failure {
        told::failure(partition.name(), "an append failed", error);
    }
}

/// Which refusals say where the log begins is Kafka's (`ReplicaManager.appendRecordsToLocalLog`).
fn refused(partition: &Partition, failure: AppendFailure) -> ProduceOutcome {
    tell(partition, &failure);
    let is_silent = matches!(
        failure.code(),
        ErrorCode::MessageTooLarge
            | ErrorCode::RecordListTooLarge
            | ErrorCode::CorruptMessage
            | ErrorCode::KafkaStorageError
            | ErrorCode::NotLeaderOrFollower
    );
    ProduceOutcome {
        log_start_offset: if is_silent { Offset::NONE } else { partition.offsets().log_start },
        ..ProduceOutcome::refused_because(failure.code(), failure.to_string())
    }
}
