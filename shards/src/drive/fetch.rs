//! Fetch on the connection's shard: ask the owners, wait as the request allows, send slices.
//!
//! What must hold: an answer never mixes two reads of one partition; a wait begins only from ends that were read, so
//! that no append between reading and waiting is slept through; a wait ends with its connection.

use std::rc::Rc;

use bytes::Bytes;
use ottla::ids::{Offset, TopicIdPartition};
use ottla::limits::BATCH_HEADER_BYTES;
use ottla::metrics::{Counter, ShardMetrics, Timing};
use ottla::protocol::records::BatchHeader;
use ottla::request::RequestContext;
use ottla::request::fetch::{FetchParams, FetchPlan, FetchQuestion, refusal};
use ottla::time::Monotonic;
use ottla_wire::fetch_request::FetchRequest;
use ottla_wire::fetch_response::FetchResponse;

use crate::drive::Shard;
use crate::drive::dispatch::{Body, count_errors, frame_of};
use crate::drive::fan_out::{ask_all, by_owner, first_of};
use crate::drive::messages::{Answer, Query, ReadQuery, Visit, WatchId, WatchQuery};
use crate::drive::stages::{FetchTimes, last_visit};
use crate::host::{LocalBoxFuture, now, random_u64};
use crate::net::{ConnectionContext, Piece, Reply};

/// Serves one Fetch request.
pub async fn fetch(shard: &Rc<Shard>, body: Body<'_>) -> crate::net::Answer {
    let (context, metrics) = (body.context, &shard.metrics);
    metrics.span(Timing::FetchReceive, body.ready, context.now);
    let question = match body.decode::<FetchRequest<'_>>() {
        Ok(request) => FetchQuestion::new(&context, &request, shard.config().fetch.bytes_max),
        Err(answer) => return answer,
    };
    let plan = {
        let mut sessions = shard.sessions.borrow_mut();
        sessions.begin(context.now, question.session, question.wanted, &question.forgotten)
    };
    let plan = match plan {
        Ok(plan) => plan,
        Err(error) => return body.reply(&refusal(error)),
    };
    let image = shard.image();
    let mut fetch = FetchPlan::new(&image, question.params, plan.partitions);
    let deadline = context.now.after_ms(i64::from(question.params.max_wait_ms));
    let asked = now();
    metrics.span(Timing::FetchPlan, context.now, asked);
    let since = read_until_due(shard, &mut fetch, asked, (deadline, body.connection)).await;
    fetch.limit();

    let told = fetch.told();
    let candidate = random_u64() as u32;
    let (session_id, include) = shard.sessions.borrow_mut().finish(now(), plan.kind, &told, candidate);
    let (response, records) = fetch.into_reply(context.version, session_id, &include);
    count_errors(metrics, context.api, &response);
    match spliced(&context, &response, records, metrics) {
        crate::net::Answer::Reply(reply) => crate::net::Answer::Reply(reply.counted_from(since)),
        other => other,
    }
}

/// Reads until the reply is due, its time has come or its connection wants no waiting; returns when that was. The
/// first round begins at `asked`.
async fn read_until_due(
    shard: &Rc<Shard>,
    fetch: &mut FetchPlan<Vec<Piece>>,
    asked: Monotonic,
    (deadline, connection): (Monotonic, &Rc<ConnectionContext>),
) -> Monotonic {
    let (mut asked, mut times) = (asked, FetchTimes::default());
    loop {
        let (seen, visit) = read(shard, fetch).await;
        let read_at = now();
        times.read(asked, visit, read_at);
        let is_time = read_at >= deadline || connection.is_hurried() || shard.stopping.get();
        if fetch.is_due() || seen.is_empty() || is_time {
            times.observe(&shard.metrics);
            return read_at;
        }
        // Who waits holds no memory of the log's and no file of it.
        fetch.forget();
        wait(shard, seen, (deadline, connection)).await;
        asked = now();
        times.waited(read_at, asked);
    }
}

/// Asks every owner once and returns each partition with the high watermark that it had, and the last visit to another
/// shard.
async fn read(
    shard: &Rc<Shard>,
    fetch: &mut FetchPlan<Vec<Piece>>,
) -> (Vec<(TopicIdPartition, Offset)>, Option<Visit>) {
    let FetchParams { read_committed, max_bytes, .. } = fetch.params;
    let parts = fetch.parts();
    let partitions: Vec<_> = parts.iter().map(|part| (part.slot, part.partition)).collect();
    let queries = by_owner(parts, shard.shards, |part| part.partition)
        .into_iter()
        .map(|(owner, parts)| (owner, Query::Read(ReadQuery { read_committed, max_bytes, parts })));
    let (mut seen, mut last) = (Vec::with_capacity(partitions.len()), None);
    for answer in ask_all(shard, queries.collect()).await {
        let Answer::Read(outcomes, visit) = answer else { unreachable!("a read is answered by a read") };
        last = last_visit(last, visit);
        for (slot, outcome) in outcomes {
            let place =
                partitions.binary_search_by_key(&slot, |(slot, _)| *slot).expect("a slot that was asked");
            seen.push((partitions[place].1, outcome.high_watermark));
            fetch.answer(slot, outcome);
        }
    }
    (seen, last)
}

/// Waits until one of the partitions has moved past what was seen, until the deadline, or until the connection
/// wants it.
async fn wait(
    shard: &Rc<Shard>,
    seen: Vec<(TopicIdPartition, Offset)>,
    (deadline, connection): (Monotonic, &Rc<ConnectionContext>),
) {
    let id = WatchId(shard.next_watch.get());
    shard.next_watch.set(id.0 + 1);
    let groups = by_owner(seen, shard.shards, |(partition, _)| *partition);
    let owners: Vec<_> = groups.iter().map(|(owner, _)| *owner).collect();
    let waits = groups.into_iter().map(|(owner, partitions)| -> LocalBoxFuture<()> {
        let query = Query::Watch(WatchQuery { id, deadline, partitions });
        let call = shard.mesh.call(owner, query);
        Box::pin(async move {
            let _: Answer = call.await;
        })
    });
    let connection = Rc::clone(connection);
    let hurried: LocalBoxFuture<()> = Box::pin(async move { connection.hurried().await });
    first_of(waits.chain([hurried]).collect()).await;
    for owner in owners.into_iter().filter(|_| now() < deadline) {
        shard.mesh.cast(owner, Query::Unwatch(id)).await;
    }
}

/// Puts the records where the reply's splice points are.
fn spliced(
    context: &RequestContext<'_>,
    response: &FetchResponse<'static>,
    records: Vec<Vec<Piece>>,
    metrics: &ShardMetrics,
) -> crate::net::Answer {
    let frame = match frame_of(context, response) {
        Ok(frame) => frame,
        Err(answer) => return answer,
    };
    assert_eq!(frame.splices.len(), records.len(), "each splice point has its records");
    let head = Bytes::from(frame.head);
    let mut pieces = Vec::with_capacity(2 * records.len() + 1);
    let (mut from, mut in_memory, mut counted) = (0, 0, 0);
    for (splice, records) in frame.splices.iter().zip(records) {
        let bytes: usize = records.iter().map(Piece::len).sum();
        assert_eq!(bytes, splice.bytes as usize, "the length that was announced is what is sent");
        pieces.push(Piece::Bytes(head.slice(from..splice.at)));
        counted += records_in_memory(&records);
        in_memory += records.iter().filter(|piece| piece.is_memory()).map(Piece::len).sum::<usize>();
        pieces.extend(records);
        from = splice.at;
    }
    pieces.push(Piece::Bytes(head.slice(from..)));
    metrics.add(Counter::FetchedMemory, in_memory as u64);
    metrics.add(Counter::FetchedRecordsMemory, counted);
    crate::net::Answer::Reply(Reply::new(pieces))
}

/// The records of a partition's batches, as far as these are whole and their headers in memory, without the marks of
/// transactions' ends. Behind a range of a file nothing is counted: where a batch begins there, only the file knows.
fn records_in_memory(pieces: &[Piece]) -> u64 {
    let mut left: usize = pieces.iter().map(Piece::len).sum();
    // What is not counted yet, of which the first piece is left from `skip` on.
    let (mut rest, mut skip, mut records) = (pieces, 0, 0);
    while let Some(header) = header_at(rest, skip).filter(|header| header.batch_bytes <= left) {
        if !header.attributes.is_control() {
            records += u64::try_from(header.record_count).unwrap_or(0);
        }
        left -= header.batch_bytes;
        skip += header.batch_bytes;
        while let [first, others @ ..] = rest
            && first.len() <= skip
        {
            skip -= first.len();
            rest = others;
        }
    }
    records
}

/// The header behind so many bytes of the first piece, which may go on in the next.
fn header_at(pieces: &[Piece], mut skip: usize) -> Option<BatchHeader> {
    let (mut header, mut filled) = ([0; BATCH_HEADER_BYTES], 0);
    for piece in pieces {
        let Piece::Bytes(bytes) = piece else { return None };
        let part = bytes.get(skip..).unwrap_or_default();
        let taken = part.len().min(BATCH_HEADER_BYTES - filled);
        header[filled..filled + taken].copy_from_slice(&part[..taken]);
        (filled, skip) = (filled + taken, 0);
        if filled == BATCH_HEADER_BYTES {
            break;
        }
    }
    BatchHeader::parse(&header[..filled]).ok()
}

#[cfg(test)]
mod tests {
    use ottla::ids::TimestampMs;
    use ottla::protocol::records::builder::{BatchBuilder, NewRecord};

    use super::*;

    fn batch(records: usize) -> Vec<u8> {
        let mut batch = BatchBuilder::new();
        for _ in 0..records {
            let record = NewRecord { timestamp: TimestampMs(1), key: None, value: Some(b"v"), headers: &[] };
            batch.append(&record);
        }
        batch.build()
    }

    fn memory(bytes: &[u8]) -> Piece {
        Piece::Bytes(Bytes::copy_from_slice(bytes))
    }

    #[test]
    fn whole_batches_count_wherever_their_pieces_part() {
        let sent = [batch(3), batch(1), batch(40)].concat();
        for at in 0..=sent.len() {
            let (one, other) = sent.split_at(at);
            assert_eq!(records_in_memory(&[memory(one), memory(other)]), 44, "parted at {at}");
        }
        let bytes: Vec<Piece> = sent.chunks(1).map(memory).collect();
        assert_eq!(records_in_memory(&bytes), 44);
    }

    #[test]
    fn a_batch_that_is_cut_is_none() {
        let (first, second) = (batch(3), batch(2));
        let sent = [first.as_slice(), &second].concat();
        for end in first.len()..sent.len() {
            assert_eq!(records_in_memory(&[memory(&sent[..end])]), 3, "cut at {end}");
        }
        assert_eq!(records_in_memory(&[memory(&first[..first.len() - 1])]), 0);
        assert_eq!((records_in_memory(&[]), records_in_memory(&[memory(&[])])), (0, 0));
    }

    #[test]
    fn marks_of_transactions_are_no_records() {
        let mut marked = batch(1);
        // The attributes are 16 bits at byte 21; bit 5 says that the batch is a mark.
        marked[22] |= 0x20;
        let sent = [batch(2), marked, batch(5)].concat();
        assert_eq!(records_in_memory(&[memory(&sent)]), 7);
    }
}
