//! The owner's side of the mesh: performs what other shards (or this one) ask of this shard's partitions.
//!
//! What must hold: a partition that this shard does not have is `UNKNOWN_TOPIC_OR_PARTITION`, never made up, or
//! `KAFKA_STORAGE_ERROR` when only its log is not there; every part of an append has its place in its partition's
//! log before anything is awaited, so that requests of one connection are appended in their order, in each of their
//! partitions.

use std::rc::Rc;

use ottla::canary::{self, Canary};
use ottla::errors::ErrorCode;
use ottla::ids::{Offset, ShardId};
use ottla::request::delete_records::DeleteRecordsPart;
use ottla::request::fetch::{FetchOutcome, FetchPart};
use ottla::request::offset_for_leader_epoch::EpochPart;
use ottla::request::produce::{ProduceOutcome, ProducePart};

use crate::disk::CommitSpan;
use crate::drive::append::Begun;
use crate::drive::messages::{Answer, AppendQuery, AppendTimes, Query, ReadQuery, Visit};
use crate::drive::read::Room;
use crate::drive::{Shard, append, control, lifecycle, lookup, read, watch};
use crate::host::{now, spawn_detached};
use crate::net::Piece;

/// Performs one query.
pub async fn perform(shard: Rc<Shard>, asker: ShardId, query: Query) -> Answer {
    match query {
        Query::Append(query) => {
            let (outcomes, times) = append_parts(&shard, asker, query).await;
            Answer::Appended(outcomes, times)
        }
        Query::Read(query) => {
            let taken = (asker != shard.id).then(now);
            let outcomes = read_parts(&shard, query).await;
            Answer::Read(outcomes, taken.map(|taken| Visit { taken, answered: now() }))
        }
        Query::Watch(query) => {
            watch::watch(&shard, asker, query).await;
            Answer::Done
        }
        Query::Unwatch(id) => {
            shard.watches.end(asker, id);
            Answer::Done
        }
        Query::ListOffsets(parts) => {
            let mut outcomes = Vec::with_capacity(parts.len());
            for part in parts {
                let outcome = match shard.find(part.partition) {
                    Ok(hosted) => lookup::offset(&hosted.partition, part).await,
                    Err(code) => Err(code),
                };
                outcomes.push((part.slot, outcome));
            }
            Answer::Offsets(outcomes)
        }
        Query::EpochEnds(parts) => {
            let outcome = |part: EpochPart| {
                let hosted = shard.find(part.partition)?;
                lookup::epoch_end(&hosted.partition, part)
            };
            Answer::EpochEnds(parts.into_iter().map(|part| (part.slot, outcome(part))).collect())
        }
        Query::DeleteRecords(parts) => Answer::RecordsDeleted(delete_records(&shard, parts).await),
        Query::Producers(parts) => Answer::Producers(lookup::producers(&shard, parts)),
        Query::LogDirs => Answer::LogDirs(lifecycle::log_dirs(&shard).await),
        Query::Group { partition, request } => {
            Answer::Group(shard.groups.ask(&shard, partition, request).await)
        }
        Query::Control(query) => Answer::Control(control::decide(&shard, query).await),
        Query::ProducerIds => Answer::ProducerIds(control::producer_ids(&shard).await),
        Query::AutoCreate(names) => {
            control::auto_create(&shard, names).await;
            Answer::Done
        }
        Query::Publish { image, delta } => {
            lifecycle::apply(&shard, image, &delta).await;
            Answer::Done
        }
        Query::Connection(accepted) => {
            shard.connections().adopt(*accepted);
            Answer::Done
        }
        Query::Metrics => Answer::Metrics(Box::new(crate::metrics::collect(&shard))),
        Query::Serve => serve(shard),
        Query::Quiesce => {
            lifecycle::quiesce(&shard).await;
            Answer::Done
        }
        Query::Close => {
            lifecycle::close(&shard).await;
            Answer::Done
        }
        Query::Begin(_) | Query::End => unreachable!("the start and the end of a shard are boot's"),
    }
}

/// Clients are let in: what goes by the time of members begins.
fn serve(shard: Rc<Shard>) -> Answer {
    spawn_detached(async move { shard.groups.keep_time(&shard).await });
    Answer::Done
}

/// Appends every part, then waits until what the producer waits for has come true for all of them.
async fn append_parts(
    shard: &Rc<Shard>,
    asker: ShardId,
    query: AppendQuery,
) -> (Vec<(u32, ProduceOutcome)>, AppendTimes) {
    let taken = (asker != shard.id).then(now);
    // Every part has its place in its log before any is waited for: the next request of the connection comes behind.
    let begin = |ProducePart { slot, partition, records, zstd_allowed }| {
        let begun = match shard.find(partition) {
            Ok(hosted) => append::begin(shard, &hosted, records, zstd_allowed),
            Err(code) => Begun::Done(Err(ProduceOutcome::refused(code))),
        };
        (slot, begun)
    };
    let begun = match canary::is(Canary::PartsOneByOne) {
        true => append::one_by_one(query.parts.into_iter().map(begin)).await,
        false => append::all(query.parts.into_iter().map(begin).collect()).await,
    };
    let (appended_at, mut last) = (now(), CommitSpan::default());
    let mut outcomes = Vec::with_capacity(begun.len());
    for (slot, appended) in begun {
        let outcome = match appended {
            Ok(appended) if query.wait => {
                let (outcome, commit) = appended.acknowledged().await;
                if commit.ended > last.ended {
                    last = commit;
                }
                outcome
            }
            Ok(appended) => appended.accepted(),
            Err(refused) => refused,
        };
        outcomes.push((slot, outcome));
    }
    // An older one is not what was waited for: a batch that was there before, or a topic that does not wait.
    let commit = (last.ended >= appended_at).then_some(last);
    let visit = taken.map(|taken| Visit { taken, answered: now() });
    (outcomes, AppendTimes { appended: appended_at, commit, visit })
}

/// Reads every part, as long as there is room for more, and descriptors: an answer that holds all there are would wait
/// for one more for ever. Only the first batch of all may be larger than the room that the request gives; where parts
/// of one request lie with several owners, `FetchPlan::limit` keeps the merged answer to it.
async fn read_parts(shard: &Rc<Shard>, query: ReadQuery) -> Vec<(u32, FetchOutcome<Vec<Piece>>)> {
    let mut outcomes = Vec::with_capacity(query.parts.len());
    let mut left = query.max_bytes.max(0) as u32;
    let mut is_first = true;
    let mut files_left = shard.disk.files_of_answer_max();
    for FetchPart { slot, partition, wanted } in query.parts {
        let outcome = match shard.find(partition) {
            Ok(hosted) => {
                let room = Room { bytes: left, at_least_one: is_first };
                read::read(&hosted.partition, wanted, query.read_committed, room).await
            }
            Err(code) => FetchOutcome::refused(code),
        };
        if outcome.bytes > 0 {
            is_first = false;
            left = left.saturating_sub(outcome.bytes);
        }
        let files = outcome.records.iter().filter(|piece| matches!(piece, Piece::File { .. })).count();
        files_left = files_left.saturating_sub(files);
        if files_left == 0 {
            left = 0;
        }
        outcomes.push((slot, outcome));
    }
    outcomes
}

async fn delete_records(
    shard: &Rc<Shard>,
    parts: Vec<DeleteRecordsPart>,
) -> Vec<(u32, Result<Offset, ErrorCode>)> {
    let mut outcomes = Vec::with_capacity(parts.len());
    for part in parts {
        let outcome = match shard.find(part.partition) {
            Ok(hosted) => lookup::delete_records(&hosted.partition, part).await,
            Err(code) => Err(code),
        };
        outcomes.push((part.slot, outcome));
    }
    outcomes
}
