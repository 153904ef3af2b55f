//! Produce and InitProducerId on the connection's shard: cut, ask the owners, merge.
//!
//! What must hold: parts of two requests of one connection for the same partition reach its owner in the order of
//! the requests, because each request's queries are sent before the next request is begun.

use std::rc::Rc;

use ottla::errors::ErrorCode;
use ottla::ids::ProducerId;
use ottla::metrics::Timing;
use ottla::request::init_producer_id;
use ottla::request::produce::{Acks, ProducePlan};
use ottla_wire::init_producer_id_request::InitProducerIdRequest;
use ottla_wire::produce_request::ProduceRequest;

use crate::drive::dispatch::{Body, count_errors};
use crate::drive::fan_out::{ask_all, by_owner};
use crate::drive::messages::{self, AppendQuery, Query};
use crate::drive::{CONTROLLER_SHARD, Shard, stages};
use crate::host::now;
use crate::net::Answer;

/// Serves one Produce request.
pub async fn produce(shard: &Rc<Shard>, body: Body<'_>) -> Answer {
    let (metrics, taken) = (&shard.metrics, body.context.now);
    metrics.span(Timing::ProduceReceive, body.ready, taken);
    let (mut plan, parts) = match body.decode::<ProduceRequest<'_>>() {
        Ok(request) => ProducePlan::new(&body.context, &shard.image(), body.frame, &request),
        Err(answer) => return answer,
    };
    let (wait, asked) = (plan.acks != Acks::None, now());
    metrics.span(Timing::ProduceDecode, taken, asked);
    let queries = by_owner(parts, shard.shards, |part| part.partition)
        .into_iter()
        .map(|(owner, parts)| (owner, Query::Append(AppendQuery { wait, asked, parts })));
    let mut last = None;
    for answer in ask_all(shard, queries.collect()).await {
        let messages::Answer::Appended(outcomes, times) = answer else {
            unreachable!("an append is answered by one")
        };
        last = Some(stages::later(last, times));
        for (slot, outcome) in outcomes {
            plan.answer(slot, outcome);
        }
    }
    let since = last.map_or(asked, |times| {
        let here = if times.visit.is_some() { now() } else { asked };
        stages::produced(metrics, asked, times, here)
    });
    match plan.acks {
        Acks::None if plan.has_error() => {
            // Nobody is told but the counters, as in Kafka's `RequestChannel.closeConnection`.
            count_errors(metrics, body.context.api, &plan.into_reply());
            Answer::Close
        }
        Acks::None => Answer::Silence,
        Acks::Leader | Acks::All => body.reply_since(&plan.into_reply(), since),
    }
}

/// Serves one InitProducerId request from this shard's block of ids.
pub async fn init_producer_id(shard: &Rc<Shard>, body: Body<'_>) -> Answer {
    let checked = match body.decode::<InitProducerIdRequest<'_>>() {
        Ok(request) => init_producer_id::check(&request),
        Err(answer) => return answer,
    };
    let outcome = match checked {
        Ok(()) => take_producer_id(shard).await,
        Err(error) => Err(error),
    };
    body.reply(&init_producer_id::reply(outcome))
}

/// Takes an id, after a new block from the controller where the old one is used up.
async fn take_producer_id(shard: &Rc<Shard>) -> Result<ProducerId, ErrorCode> {
    loop {
        let id = shard.producer_ids.borrow_mut().take();
        if let Some(id) = id {
            return Ok(id);
        }
        // One request asks for a block while others wait for it.
        let _turn = shard.producer_ids_turn.acquire(1).await;
        let id = shard.producer_ids.borrow_mut().take();
        if let Some(id) = id {
            return Ok(id);
        }
        let answer = shard.mesh.call(CONTROLLER_SHARD, Query::ProducerIds).await;
        let messages::Answer::ProducerIds(block) = answer else { unreachable!("asked for producer ids") };
        let (first, count) = block?;
        *shard.producer_ids.borrow_mut() = init_producer_id::ProducerIdBlock::new(first, count);
    }
}
