//! What is asked of logs besides records: offsets, the ends of epochs, producers, deletion of records, sizes on disk.
//!
//! Each request is cut by owner shard and merged in its own order, on the connection's shard.

use std::rc::Rc;

use ottla::request::delete_records::DeleteRecordsPlan;
use ottla::request::describe_log_dirs;
use ottla::request::describe_producers::ProducersPlan;
use ottla::request::list_offsets::ListOffsetsPlan;
use ottla::request::offset_for_leader_epoch::EpochPlan;
use ottla_wire::delete_records_request::DeleteRecordsRequest;
use ottla_wire::describe_log_dirs_request::DescribeLogDirsRequest;
use ottla_wire::describe_producers_request::DescribeProducersRequest;
use ottla_wire::list_offsets_request::ListOffsetsRequest;
use ottla_wire::offset_for_leader_epoch_request::OffsetForLeaderEpochRequest;

use crate::drive::Shard;
use crate::drive::dispatch::Body;
use crate::drive::fan_out::{ask_all, ask_everyone, by_owner};
use crate::drive::messages::{self, Query};
use crate::net::Answer;

/// Serves one ListOffsets request.
pub async fn list_offsets(shard: &Rc<Shard>, body: Body<'_>) -> Answer {
    let (mut plan, parts) = match body.decode::<ListOffsetsRequest<'_>>() {
        Ok(request) => ListOffsetsPlan::new(&body.context, &shard.image(), &request),
        Err(answer) => return answer,
    };
    let groups = by_owner(parts, shard.shards, |part| part.partition);
    let queries = groups.into_iter().map(|(owner, parts)| (owner, Query::ListOffsets(parts)));
    for answer in ask_all(shard, queries.collect()).await {
        let messages::Answer::Offsets(outcomes) = answer else { unreachable!("asked for offsets") };
        for (slot, outcome) in outcomes {
            plan.answer(slot, outcome);
        }
    }
    body.reply(&plan.into_reply())
}

/// Serves one OffsetForLeaderEpoch request.
pub async fn epoch_ends(shard: &Rc<Shard>, body: Body<'_>) -> Answer {
    let (mut plan, parts) = match body.decode::<OffsetForLeaderEpochRequest<'_>>() {
        Ok(request) => EpochPlan::new(&shard.image(), &request),
        Err(answer) => return answer,
    };
    let groups = by_owner(parts, shard.shards, |part| part.partition);
    let queries = groups.into_iter().map(|(owner, parts)| (owner, Query::EpochEnds(parts)));
    for answer in ask_all(shard, queries.collect()).await {
        let messages::Answer::EpochEnds(outcomes) = answer else { unreachable!("asked for ends of epochs") };
        for (slot, outcome) in outcomes {
            plan.answer(slot, outcome);
        }
    }
    body.reply(&plan.into_reply())
}

/// Serves one DeleteRecords request.
pub async fn delete_records(shard: &Rc<Shard>, body: Body<'_>) -> Answer {
    let (mut plan, parts) = match body.decode::<DeleteRecordsRequest<'_>>() {
        Ok(request) => DeleteRecordsPlan::new(&shard.image(), &request),
        Err(answer) => return answer,
    };
    let groups = by_owner(parts, shard.shards, |part| part.partition);
    let queries = groups.into_iter().map(|(owner, parts)| (owner, Query::DeleteRecords(parts)));
    for answer in ask_all(shard, queries.collect()).await {
        let messages::Answer::RecordsDeleted(outcomes) = answer else { unreachable!("asked for a deletion") };
        for (slot, outcome) in outcomes {
            plan.answer(slot, outcome);
        }
    }
    body.reply(&plan.into_reply())
}

/// Serves one DescribeProducers request.
pub async fn describe_producers(shard: &Rc<Shard>, body: Body<'_>) -> Answer {
    let (mut plan, parts) = match body.decode::<DescribeProducersRequest<'_>>() {
        Ok(request) => ProducersPlan::new(&shard.image(), &request),
        Err(answer) => return answer,
    };
    let groups = by_owner(parts, shard.shards, |part| part.partition);
    let queries = groups.into_iter().map(|(owner, parts)| (owner, Query::Producers(parts)));
    for answer in ask_all(shard, queries.collect()).await {
        let messages::Answer::Producers(outcomes) = answer else { unreachable!("asked for producers") };
        for (slot, outcome) in outcomes {
            plan.answer(slot, outcome);
        }
    }
    body.reply(&plan.into_reply())
}

/// Serves one DescribeLogDirs request.
pub async fn describe_log_dirs(shard: &Rc<Shard>, body: Body<'_>) -> Answer {
    let request = match body.decode::<DescribeLogDirsRequest<'_>>() {
        Ok(request) => request,
        Err(answer) => return answer,
    };
    let mut usages = Vec::new();
    for answer in ask_everyone(shard, || Query::LogDirs).await {
        let messages::Answer::LogDirs(usage) = answer else { unreachable!("asked for log directories") };
        usages.extend(usage);
    }
    body.reply(&describe_log_dirs::reply(&request, usages))
}
