//! `ottla bench produce`: connections that keep their windows of requests full, or that send what is due.
//!
//! Each connection has a thread that sends and, unless nothing is answered, one that receives. Between them go two
//! queues: slots of the window one way, what was sent the other. What must hold: no more requests than slots are
//! unanswered; every batch that was drawn and sent is counted once, as answered or as failed; an idempotent
//! connection ends with its first error, since nothing behind a gap could succeed.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, Sender, SyncSender};
use std::thread::{self, Scope};
use std::time::{Duration, Instant, SystemTime};

use ottla::errors::ErrorCode;
use ottla::ids::{ProducerEpoch, ProducerId, TimestampMs};
use ottla::protocol::records::header::sequence_plus;
use ottla_tools::client::{Client, ClientError};
use ottla_wire::produce_request::{PartitionProduceData, ProduceRequest, TopicProduceData};
use ottla_wire::produce_response::ProduceResponse;
use ottla_wire::{ApiKey, Records};

use crate::args::ProducePlan;
use crate::cluster::{Cluster, Topic, spread};
use crate::error::{BenchError, code_name, reason};
use crate::payload::{Payload, Sequence};
use crate::replies::Replies;
use crate::report::{Progress, Report, counted, grouped};
use crate::schedule::{Departure, Ticket};
use crate::tally::{Meter, watch};

/// Partitions of a topic that the load creates, where none were asked for.
const PARTITIONS_DEFAULT: i32 = 6;
/// How long replicas may take, in milliseconds: Kafka's `request.timeout.ms`.
const TIMEOUT_MS: i32 = 30_000;
/// How long a broker may refuse to read before its connection counts as failed.
const WRITE_TIMEOUT: Duration = Duration::from_secs(60);

/// Runs the load and prints its report.
pub(crate) fn run(plan: &ProducePlan, out: &mut dyn Write) -> Result<u8, BenchError> {
    let mut cluster = Cluster::open(&plan.bootstrap)?;
    let topic = cluster.find_or_create(&plan.topic, plan.partitions.unwrap_or(PARTITIONS_DEFAULT))?;
    if let Some(asked) = plan.partitions.filter(|asked| *asked as usize != topic.partition_count()) {
        let what = format!("has {} partitions, and --partitions says {asked}", topic.partition_count());
        return Err(BenchError::Topic { name: topic.name, what });
    }
    let lanes = open_lanes(plan, &mut cluster, &topic)?;
    let load = Load {
        plan,
        version: cluster.version_for(ApiKey::Produce, &topic)?,
        payload: Payload::new(plan.payload),
        next_ticket: AtomicU64::new(0),
        start: Instant::now(),
        topic: &topic,
    };
    let meters: Vec<Meter> = lanes.iter().map(|_| Meter::new()).collect();
    let (working, running) = mpsc::channel::<Infallible>();
    let mut stderr = io::stderr();
    let mut progress = Progress::on(&mut stderr);
    let tally = thread::scope(|scope| {
        for (lane, meter) in lanes.into_iter().zip(&meters) {
            lane.spawn(scope, &load, meter, &working);
        }
        drop(working);
        watch(load.start, &meters, &running, &mut progress)
    });
    let elapsed = load.start.elapsed();
    let sent = tally.records + tally.error_count();
    let latency_of = if plan.acks == 0 { "until the socket took it" } else { "latency" };
    let unsent = plan.schedule.records_due().map(|due| due.saturating_sub(sent));
    let title = title(plan, &topic);
    Report { title: &title, latency_of, tally: &tally, elapsed, unsent }.print(out)?;
    Ok(u8::from(tally.error_count() > 0))
}

fn title(plan: &ProducePlan, topic: &Topic) -> String {
    let acks = if plan.acks == -1 { "all".to_owned() } else { plan.acks.to_string() };
    let pace = match plan.schedule.rate {
        Some(rate) => format!("{} records/s offered", grouped(rate)),
        None => "as fast as answers come".to_owned(),
    };
    format!(
        "produce to {} ({}): acks {acks}{}, compression {}, {} of {} bytes to a batch\n{} with {} in flight, {pace}",
        topic.name,
        counted(topic.partition_count(), "partition"),
        if plan.idempotent { ", idempotent" } else { "" },
        plan.payload.codec.name(),
        counted(plan.payload.batch_records as usize, "record"),
        grouped(plan.payload.record_bytes as u64),
        counted(plan.connections, "connection"),
        counted(plan.in_flight, "request"),
    )
}

/// What all connections share.
struct Load<'p> {
    plan: &'p ProducePlan,
    topic: &'p Topic,
    version: i16,
    payload: Payload,
    next_ticket: AtomicU64,
    start: Instant,
}

impl Load<'_> {
    /// The next batch, once it is due, and from when its latency counts; `None` at the end of the load.
    fn depart(&self) -> Option<(Ticket, Duration)> {
        let number = self.next_ticket.fetch_add(1, Ordering::Relaxed);
        let ticket = self.plan.schedule.ticket(number)?;
        loop {
            match self.plan.schedule.departure(&ticket, self.start.elapsed()) {
                Departure::Go { intended } => return Some((ticket, intended)),
                Departure::Wait(time) => thread::sleep(time),
                Departure::Over => return None,
            }
        }
    }

    /// Bytes that `records` records count as: those of their values.
    fn bytes(&self, records: u32) -> u64 {
        u64::from(records) * self.plan.payload.record_bytes as u64
    }
}

/// One connection, before its threads run.
struct Lane {
    client: Client,
    /// What is received; `None` with `acks=0`, which is not answered.
    replies: Option<Replies>,
    partitions: Partitions,
    producer: Option<Producer>,
}

/// The partitions that a connection produces to, in turn.
struct Partitions {
    indexes: Vec<i32>,
    next: usize,
}

impl Partitions {
    fn take(&mut self) -> i32 {
        let index = self.indexes[self.next % self.indexes.len()];
        self.next += 1;
        index
    }
}

/// The idempotent producer of one connection.
struct Producer {
    id: ProducerId,
    epoch: ProducerEpoch,
    next_sequences: BTreeMap<i32, i32>,
}

impl Producer {
    /// The place of `records` records that go to `partition` now.
    fn sequence(&mut self, partition: i32, records: u32) -> Sequence {
        let next = self.next_sequences.entry(partition).or_insert(0);
        let base_sequence = *next;
        *next = sequence_plus(base_sequence, i32::try_from(records).expect("a batch has at most a million"));
        Sequence { producer_id: self.id, producer_epoch: self.epoch, base_sequence }
    }
}

/// Connects all connections of the load.
fn open_lanes(plan: &ProducePlan, cluster: &mut Cluster, topic: &Topic) -> Result<Vec<Lane>, BenchError> {
    let nodes = spread(topic, plan.connections)?;
    let mut lanes = Vec::with_capacity(nodes.len());
    for (number, node) in nodes.into_iter().enumerate() {
        let client = cluster.connect(node)?;
        client.stream().set_write_timeout(Some(WRITE_TIMEOUT))?;
        let indexes = topic.leaders.get(&node).expect("connections go to leaders").clone();
        let producer = match plan.idempotent {
            false => None,
            true => {
                let (id, epoch) = cluster.producer_id()?;
                Some(Producer { id, epoch, next_sequences: BTreeMap::new() })
            }
        };
        let replies = if plan.acks == 0 { None } else { Some(Replies::of(&client)?) };
        // Connections to one broker begin with different partitions.
        lanes.push(Lane { client, replies, partitions: Partitions { indexes, next: number }, producer });
    }
    Ok(lanes)
}

/// A request that waits for its answer.
struct Pending {
    records: u32,
    intended: Duration,
}

/// The sender's ends of the queues to its receiver.
struct Window {
    slots: Receiver<()>,
    pending: Sender<Pending>,
}

impl Lane {
    /// Starts the threads of the connection; each holds `working` until it ends.
    fn spawn<'scope>(
        self,
        scope: &'scope Scope<'scope, '_>,
        load: &'scope Load<'_>,
        meter: &'scope Meter,
        working: &Sender<Infallible>,
    ) {
        let mut lane = self;
        let window = lane.replies.take().map(|replies| {
            let (window, answers) = answers(load, meter, replies);
            let working = working.clone();
            scope.spawn(move || {
                answers.receive();
                drop(working);
            });
            window
        });
        let working = working.clone();
        scope.spawn(move || {
            match window {
                Some(window) => lane.send(load, &window),
                None => lane.send_silently(load, meter),
            }
            drop(working);
        });
    }

    /// Sends one batch after the other, each into a free slot of the window.
    fn send(mut self, load: &Load<'_>, window: &Window) {
        // The slot comes first: what waits for one is late from when it was due, and is nobody else's meanwhile.
        while window.slots.recv().is_ok() {
            let Some((ticket, intended)) = load.depart() else { return };
            if window.pending.send(Pending { records: ticket.records, intended }).is_err() {
                return;
            }
            if self.send_batch(load, &ticket).is_err() {
                // The receiver sees the end of the connection and counts what is unanswered as failed.
                drop(self.client.stream().shutdown(std::net::Shutdown::Both));
                return;
            }
        }
    }

    /// Sends one batch after the other and awaits nothing, as `acks=0` has it.
    fn send_silently(mut self, load: &Load<'_>, meter: &Meter) {
        while let Some((ticket, intended)) = load.depart() {
            if let Err(error) = self.send_batch(load, &ticket) {
                meter.lock().failed(reason(&error), u64::from(ticket.records));
                return;
            }
            let latency = load.start.elapsed().saturating_sub(intended);
            meter.lock().produced(ticket.records, load.bytes(ticket.records), latency);
        }
    }

    fn send_batch(&mut self, load: &Load<'_>, ticket: &Ticket) -> Result<(), ClientError> {
        let (turn, index) = (self.partitions.next, self.partitions.take());
        let sequence = self.producer.as_mut().map(|producer| producer.sequence(index, ticket.records));
        let batch = load.payload.batch(turn, ticket.records, wall_clock(), sequence);
        let partition = PartitionProduceData { index, records: Some(Records::Inline(batch.into())) };
        let (name, topic_id) = load.topic.named(load.version);
        let topic = TopicProduceData { name: name.into(), topic_id, partition_data: vec![partition] };
        let request = ProduceRequest {
            transactional_id: None,
            acks: load.plan.acks,
            timeout_ms: TIMEOUT_MS,
            topic_data: vec![topic],
        };
        self.client.send(ApiKey::Produce, load.version, &request)
    }
}

fn wall_clock() -> TimestampMs {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    TimestampMs(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// The receiving thread of a connection.
struct Answers<'l> {
    load: &'l Load<'l>,
    meter: &'l Meter,
    replies: Replies,
    pending: Receiver<Pending>,
    /// Gone once the sender is to stop.
    slots: Option<SyncSender<()>>,
}

/// The two ends of a window with all of its slots free.
fn answers<'l>(load: &'l Load<'_>, meter: &'l Meter, replies: Replies) -> (Window, Answers<'l>) {
    let (free, slots) = mpsc::sync_channel(load.plan.in_flight);
    for _ in 0..load.plan.in_flight {
        free.send(()).expect("the other end is here");
    }
    let (sent, pending) = mpsc::channel();
    (Window { slots, pending: sent }, Answers { load, meter, replies, pending, slots: Some(free) })
}

impl Answers<'_> {
    /// Awaits the answer to each request, until the sender has stopped and all are answered.
    fn receive(mut self) {
        while let Ok(request) = self.pending.recv() {
            match self.await_answer() {
                Ok(code) => self.count(&request, code),
                Err(error) => return self.fail(request, &reason(&error)),
            }
        }
    }

    /// The error code of the next answer.
    fn await_answer(&mut self) -> Result<i16, ClientError> {
        let reply: ProduceResponse<'_> = self.replies.next(ApiKey::Produce, self.load.version)?;
        let partition = reply.responses.first().and_then(|topic| topic.partition_responses.first());
        // A request has one partition; an answer without it says nothing about the batch.
        Ok(partition.map_or(ErrorCode::UnknownServerError.code(), |partition| partition.error_code))
    }

    fn count(&mut self, request: &Pending, code: i16) {
        let latency = self.load.start.elapsed().saturating_sub(request.intended);
        if code == ErrorCode::None.code() {
            self.meter.lock().produced(request.records, self.load.bytes(request.records), latency);
        } else {
            self.meter.lock().failed(code_name(code), u64::from(request.records));
            if self.load.plan.idempotent {
                self.slots = None;
            }
        }
        if let Some(slots) = &self.slots
            && slots.send(()).is_err()
        {
            // The sender has stopped by itself.
            self.slots = None;
        }
    }

    /// Counts everything that was sent and not answered as failed.
    fn fail(mut self, request: Pending, reason: &str) {
        self.slots = None;
        self.replies.close();
        let unanswered = std::iter::once(request).chain(self.pending.iter());
        for request in unanswered {
            self.meter.lock().failed(reason.to_owned(), u64::from(request.records));
        }
    }
}

#[cfg(test)]
mod tests;
