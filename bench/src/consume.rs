//! `ottla bench consume`: connections that fetch their partitions of a topic with long polls.
//!
//! Each connection is one thread with one request at a time. What must hold: a record counts once, and only from a
//! batch whose CRC is right; a partition that answers with an error, or with bytes that are no batches, is an error
//! and is left out from then on.

use std::convert::Infallible;
use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

use ottla::errors::ErrorCode;
use ottla::ids::Offset;
use ottla::protocol::records::{Batch, BatchError, BatchIter, crc_is_valid};
use ottla_tools::client::{Client, ClientError};
use ottla_wire::fetch_request::{FetchPartition, FetchRequest, FetchTopic};
use ottla_wire::fetch_response::{FetchResponse, PartitionData};
use ottla_wire::{ApiKey, Records};

use crate::args::{ConsumePlan, StartAt};
use crate::cluster::{Cluster, Topic, spread};
use crate::error::{BenchError, code_name, reason};
use crate::offsets::{End, Offsets};
use crate::report::{Progress, Report, counted, grouped};
use crate::tally::{Meter, watch};

/// Runs the load and prints its report.
pub(crate) fn run(plan: &ConsumePlan, out: &mut dyn Write) -> Result<u8, BenchError> {
    let mut cluster = Cluster::open(&plan.bootstrap)?;
    let missing = || BenchError::Topic { name: plan.topic.clone(), what: "does not exist".to_owned() };
    let topic = cluster.find_topic(&plan.topic)?.ok_or_else(missing)?;
    let lanes = open_lanes(plan, &cluster, &topic)?;
    let version = cluster.version_for(ApiKey::Fetch, &topic)?;
    let load = Load { plan, topic: &topic, version, records: AtomicU64::new(0), start: Instant::now() };
    let meters: Vec<Meter> = lanes.iter().map(|_| Meter::new()).collect();
    let title = format!(
        "consume from {} ({}): {}, answers of {} to {} bytes within {} ms",
        topic.name,
        counted(topic.partition_count(), "partition"),
        counted(lanes.len(), "connection"),
        grouped(plan.min_bytes as u64),
        grouped(plan.max_bytes as u64),
        plan.max_wait_ms,
    );
    let (working, running) = mpsc::channel::<Infallible>();
    let mut stderr = io::stderr();
    let mut progress = Progress::on(&mut stderr);
    let tally = thread::scope(|scope| {
        for (lane, meter) in lanes.into_iter().zip(&meters) {
            let (load, working) = (&load, working.clone());
            scope.spawn(move || {
                lane.run(load, meter);
                drop(working);
            });
        }
        drop(working);
        watch(load.start, &meters, &running, &mut progress)
    });
    let elapsed = load.start.elapsed();
    Report { title: &title, latency_of: "fetch", tally: &tally, elapsed, unsent: None }.print(out)?;
    Ok(u8::from(tally.error_count() > 0))
}

/// What all connections share.
struct Load<'p> {
    plan: &'p ConsumePlan,
    topic: &'p Topic,
    version: i16,
    /// Records that all connections have fetched.
    records: AtomicU64,
    start: Instant,
}

impl Load<'_> {
    /// How long the next fetch may wait, in milliseconds; `None` where the load is over.
    fn wait_ms(&self) -> Option<i32> {
        if self.plan.records.is_some_and(|records| self.records.load(Ordering::Relaxed) >= records) {
            return None;
        }
        let Some(end) = self.plan.end else { return Some(self.plan.max_wait_ms) };
        let left = end.checked_sub(self.start.elapsed()).filter(|left| !left.is_zero())?;
        let left = i32::try_from(left.as_millis()).unwrap_or(i32::MAX);
        Some(left.min(self.plan.max_wait_ms))
    }
}

/// Where a consumer is in one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Position {
    partition: i32,
    next: Offset,
    /// Where it stops; `None` for never.
    end: Option<Offset>,
}

impl Position {
    fn is_at_end(&self) -> bool {
        self.end.is_some_and(|end| self.next >= end)
    }
}

/// One connection and its partitions.
struct Lane {
    client: Client,
    positions: Vec<Position>,
}

/// Connects all connections of the load and finds where they begin.
fn open_lanes(plan: &ConsumePlan, cluster: &Cluster, topic: &Topic) -> Result<Vec<Lane>, BenchError> {
    let nodes = spread(topic, plan.connections)?;
    let mut lanes = Vec::with_capacity(nodes.len());
    for (node, led) in &topic.leaders {
        let connections = nodes.iter().filter(|other| *other == node).count();
        // More connections than partitions leave some without work.
        for nth in 0..connections.min(led.len()) {
            let partitions: Vec<i32> = led.iter().copied().skip(nth).step_by(connections).collect();
            let mut client = cluster.connect(*node)?;
            let mut offsets = Offsets::of(cluster, *node, &mut client, topic)?;
            let positions = positions(plan, &mut offsets, &partitions)?;
            lanes.push(Lane { client, positions });
        }
    }
    Ok(lanes)
}

/// Where the consumer begins and ends in each of `partitions`.
fn positions(
    plan: &ConsumePlan,
    offsets: &mut Offsets<'_>,
    partitions: &[i32],
) -> Result<Vec<Position>, BenchError> {
    let latest = offsets.list(End::Latest, partitions)?;
    let begin = match plan.from {
        StartAt::Latest => latest.clone(),
        StartAt::Earliest => offsets.list(End::Earliest, partitions)?,
    };
    let positions = partitions.iter().zip(begin).zip(latest).map(|((partition, next), end)| Position {
        partition: *partition,
        next,
        end: plan.to_log_end().then_some(end),
    });
    Ok(positions.collect())
}

impl Lane {
    fn run(mut self, load: &Load<'_>, meter: &Meter) {
        self.positions.retain(|position| !position.is_at_end());
        while !self.positions.is_empty() {
            let Some(wait_ms) = load.wait_ms() else { return };
            if let Err(error) = self.fetch(load, meter, wait_ms) {
                meter.lock().failed(reason(&error), 1);
                return;
            }
            self.positions.retain(|position| !position.is_at_end());
            if !self.positions.is_empty() {
                // A broker fills its answer in the order of the request: each partition comes first in turn.
                self.positions.rotate_left(1);
            }
        }
    }

    /// Fetches once, moves the positions, and leaves out the partitions that failed.
    fn fetch(&mut self, load: &Load<'_>, meter: &Meter, wait_ms: i32) -> Result<(), ClientError> {
        let request = request(load, &self.positions, wait_ms);
        let sent = Instant::now();
        let reply: FetchResponse<'_> = self.client.call(ApiKey::Fetch, load.version, &request)?;
        let latency = sent.elapsed();
        if reply.error_code != ErrorCode::None.code() {
            meter.lock().failed(code_name(reply.error_code), 1);
            self.positions.clear();
            return Ok(());
        }
        let mut fetched = Fetched::default();
        for data in reply.responses.iter().flat_map(|topic| &topic.partitions) {
            let Some(at) = self.positions.iter().position(|p| p.partition == data.partition_index) else {
                continue;
            };
            if let Err(reason) = fetched.take(data, &mut self.positions[at]) {
                meter.lock().failed(reason, 1);
                self.positions.remove(at);
            }
        }
        load.records.fetch_add(fetched.records, Ordering::Relaxed);
        meter.lock().fetched(fetched.records, fetched.bytes, latency);
        Ok(())
    }
}

fn request<'l>(load: &'l Load<'_>, positions: &[Position], wait_ms: i32) -> FetchRequest<'l> {
    let partitions = positions.iter().map(|position| FetchPartition {
        partition: position.partition,
        current_leader_epoch: -1,
        fetch_offset: position.next.0,
        last_fetched_epoch: -1,
        log_start_offset: -1,
        partition_max_bytes: load.plan.partition_max_bytes,
        ..FetchPartition::default()
    });
    let (name, topic_id) = load.topic.named(load.version);
    FetchRequest {
        max_wait_ms: wait_ms,
        min_bytes: load.plan.min_bytes,
        max_bytes: load.plan.max_bytes,
        session_epoch: -1,
        topics: vec![FetchTopic { topic: name.into(), topic_id, partitions: partitions.collect() }],
        ..FetchRequest::default()
    }
}

/// What one answer brought.
#[derive(Debug, Default, PartialEq, Eq)]
struct Fetched {
    records: u64,
    /// Bytes of whole batches, as they came.
    bytes: u64,
}

impl Fetched {
    /// Counts one partition's batches and moves its position behind them; or says in a few words what is wrong.
    fn take(&mut self, data: &PartitionData<'_>, position: &mut Position) -> Result<(), String> {
        if data.error_code != ErrorCode::None.code() {
            return Err(code_name(data.error_code));
        }
        let bytes: &[u8] = match &data.records {
            Some(Records::Inline(bytes)) => bytes,
            Some(Records::Splice { .. }) | None => &[],
        };
        for (whole_batches, batch) in BatchIter::new(bytes).enumerate() {
            match batch {
                Ok(batch) => self.take_batch(&batch, position)?,
                // Brokers cut the last batch where the answer is full.
                Err(BatchError::Partial { .. }) if whole_batches > 0 => break,
                Err(BatchError::Partial { .. }) => {
                    return Err("a batch that --partition-max-bytes cut".to_owned());
                }
                Err(error @ (BatchError::Length(_) | BatchError::Magic(_))) => return Err(error.to_string()),
            }
        }
        Ok(())
    }

    fn take_batch(&mut self, batch: &Batch<'_>, position: &mut Position) -> Result<(), String> {
        if !crc_is_valid(batch.bytes) {
            return Err("a batch without its CRC".to_owned());
        }
        let header = &batch.header;
        if header.next_offset() <= position.next {
            // A batch before the position, as a broker may send that looks up where to begin.
            return Ok(());
        }
        let records = u64::try_from(header.record_count).unwrap_or(0);
        let before = u64::try_from(position.next.0.saturating_sub(header.base_offset.0)).unwrap_or(0);
        if !header.attributes.is_control() {
            self.records += records.saturating_sub(before);
        }
        self.bytes += batch.bytes.len() as u64;
        position.next = header.next_offset();
        Ok(())
    }
}

#[cfg(test)]
mod tests;
