//! One producer's connection to one broker: a window of Produce requests and what their answers mean.
//!
//! What must hold: answers are those of the oldest unanswered request; a request that gets none is a failure of each
//! of its records; with `acks=0` records count when the last byte of their request was handed to the system.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use ottla::errors::ErrorCode;
use ottla_shards::host::{Stream, sync::Notify};
use ottla_tools::client::ClientError;
use ottla_wire::api_versions_request::ApiVersionsRequest;
use ottla_wire::api_versions_response::ApiVersionsResponse;
use ottla_wire::frame::encode_request;
use ottla_wire::produce_request::{PartitionProduceData, ProduceRequest, TopicProduceData};
use ottla_wire::produce_response::ProduceResponse;
use ottla_wire::{ApiKey, Records};

use crate::cluster::CLIENT_ID;
use crate::cut::Why;
use crate::engine::Shard;
use crate::error::{code_name, reason};
use crate::link::{Inbox, Outbox, PATIENCE, decode_reply};
use crate::places::Places;
use crate::producer::ProducePlan;
use crate::tally::{Kind, Phase};
use crate::verify::Span;

/// How long replicas may take, in milliseconds: Kafka's `request.timeout.ms`.
const TIMEOUT_MS: i32 = 30_000;

/// A batch that was sent.
#[derive(Debug)]
pub(crate) struct SentBatch {
    /// Its partition.
    pub partition: i32,
    /// The number of its first record among those of its lane and partition.
    pub first: u64,
    /// When each record was due, in nanoseconds from the start.
    pub due: Vec<u64>,
    /// Bytes of the keys and values.
    pub own_bytes: u64,
}

/// A request that waits for its answer.
#[derive(Debug)]
struct Pending {
    api: ApiKey,
    correlation_id: i32,
    batches: Vec<SentBatch>,
}

/// The connection.
pub(crate) struct Peer {
    plan: Arc<ProducePlan>,
    places: Arc<Places>,
    /// The broker, as its number among the places' nodes.
    node: usize,
    outbox: Rc<Outbox>,
    pending: RefCell<VecDeque<Pending>>,
    /// With `acks=0`, what is in the frames that have not left.
    unsent: RefCell<VecDeque<Vec<SentBatch>>>,
    next_correlation_id: Cell<i32>,
    broken: Cell<bool>,
    /// What broke it, for its producer to tell.
    why: RefCell<Option<Why>>,
    closing: Cell<bool>,
    /// Woken when an answer came or the connection ended.
    wake: Rc<Notify>,
    doubtful: RefCell<BTreeMap<i32, Vec<Span>>>,
}

impl Peer {
    pub(crate) fn new(
        plan: &Arc<ProducePlan>,
        (places, node): (&Arc<Places>, usize),
        outbox: Rc<Outbox>,
        wake: Rc<Notify>,
    ) -> Rc<Peer> {
        if plan.settings.acks == 0 {
            outbox.wake_when_sent(&wake);
        }
        Rc::new(Peer {
            plan: Arc::clone(plan),
            places: Arc::clone(places),
            node,
            outbox,
            pending: RefCell::default(),
            unsent: RefCell::default(),
            next_correlation_id: Cell::new(0),
            broken: Cell::new(false),
            why: RefCell::default(),
            closing: Cell::new(false),
            wake,
            doubtful: RefCell::default(),
        })
    }

    /// What goes out through it.
    pub(crate) fn outbox(&self) -> &Rc<Outbox> {
        &self.outbox
    }

    /// Whether another request may be sent.
    pub(crate) fn has_room(&self) -> bool {
        let in_flight = if self.plan.settings.acks == 0 { self.outbox.waiting() } else { self.unanswered() };
        !self.broken.get() && in_flight < self.plan.settings.in_flight
    }

    /// Requests that wait for their answers.
    pub(crate) fn unanswered(&self) -> usize {
        self.pending.borrow().len()
    }

    /// Whether nothing more can be sent.
    pub(crate) fn is_broken(&self) -> bool {
        self.broken.get()
    }

    /// What broke it and at which broker; nothing where it was closed.
    pub(crate) fn broken_by(&self) -> Option<(&str, Why)> {
        let why = self.why.borrow().clone()?;
        Some((&self.places.node_names[self.node], why))
    }

    /// What lost the connection, where that is what broke it: an answer that ends a producer is another matter.
    pub(crate) fn is_lost(&self) -> bool {
        matches!(*self.why.borrow(), Some(Why::Lost(_)))
    }

    /// Takes over what is doubtful of the connection before this one.
    pub(crate) fn take_over(&self, before: &Peer) {
        self.doubtful.replace(before.doubtful.take());
    }

    /// What failed of a partition's records.
    pub(crate) fn take_doubtful(&self, partition: i32) -> Vec<Span> {
        self.doubtful.borrow_mut().remove(&partition).unwrap_or_default()
    }

    /// Sends one request with these batches; false where the connection has failed.
    pub(crate) fn send(&self, batches: Vec<(SentBatch, Vec<u8>)>, shard: &Shard) -> bool {
        let (sent, bytes): (Vec<SentBatch>, Vec<Vec<u8>>) = batches.into_iter().unzip();
        let version = self.places.produce_version;
        let correlation_id = self.correlation_id();
        let request = self.request(&sent, &bytes);
        let frame = encode_request(ApiKey::Produce, version, correlation_id, Some(CLIENT_ID), &request);
        drop(request);
        let frame = frame.expect("the request is within what its version allows");
        let batch_bytes: usize = bytes.iter().map(Vec::len).sum();
        let result = self.outbox.send(&frame, bytes);
        {
            let mut meter = shard.meter();
            meter.requests += 1;
            meter.sent_batch_bytes += batch_bytes as u64;
        }
        let is_acked = self.plan.settings.acks != 0;
        match result {
            Ok(()) if is_acked => {
                let pending = Pending { api: ApiKey::Produce, correlation_id, batches: sent };
                self.pending.borrow_mut().push_back(pending);
            }
            Ok(()) => {
                self.unsent.borrow_mut().push_back(sent);
                self.count_left(shard);
            }
            Err(error) => {
                let reason = reason(&ClientError::Io(error));
                self.break_off(Some(Why::Lost(reason.clone())));
                self.fail(&sent, &reason, shard);
                self.fail_unsent(&reason, shard);
                return false;
            }
        }
        true
    }

    /// Sends a request without records, whose answer shows that all before it were read.
    pub(crate) fn ask(&self, api: ApiKey) {
        let correlation_id = self.correlation_id();
        let request = ApiVersionsRequest::default();
        let frame = encode_request(api, 0, correlation_id, Some(CLIENT_ID), &request);
        let frame = frame.expect("version 0 is empty");
        if self.outbox.send(&frame, Vec::new()).is_ok() {
            let pending = Pending { api, correlation_id, batches: Vec::new() };
            self.pending.borrow_mut().push_back(pending);
        } else {
            self.break_off(None);
        }
    }

    /// Ends the connection; what it says from now on is no error.
    pub(crate) fn close(&self) {
        self.closing.set(true);
        self.outbox.close();
    }

    /// Receives answers until the connection ends.
    pub(crate) async fn receive(self: Rc<Self>, stream: Stream, mut inbox: Inbox, shard: Rc<Shard>) {
        loop {
            let frame = match inbox.frame(&stream, PATIENCE).await {
                Ok(frame) => frame,
                Err(ClientError::Io(error)) if self.is_idle(&error) => continue,
                Err(error) => return self.ended(&error, &shard),
            };
            let Some(request) = self.pending.borrow_mut().pop_front() else {
                let nothing = io::Error::other("an answer to no request");
                return self.ended(&ClientError::Io(nothing), &shard);
            };
            if let Err(error) = self.answered(frame, &request, &shard) {
                self.pending.borrow_mut().push_front(request);
                return self.ended(&error, &shard);
            }
            self.wake.notify_one();
        }
    }

    fn is_idle(&self, error: &io::Error) -> bool {
        error.kind() == io::ErrorKind::TimedOut && self.pending.borrow().is_empty()
    }

    fn answered(&self, frame: &[u8], request: &Pending, shard: &Shard) -> Result<(), ClientError> {
        if request.api != ApiKey::Produce {
            let _: ApiVersionsResponse<'_> = decode_reply(frame, request.api, 0, request.correlation_id)?;
            return Ok(());
        }
        let version = self.places.produce_version;
        let reply: ProduceResponse<'_> =
            decode_reply(frame, ApiKey::Produce, version, request.correlation_id)?;
        let now = shard.shared.now();
        let answers = || reply.responses.iter().flat_map(|topic| &topic.partition_responses);
        for batch in &request.batches {
            let answer = answers().find(|answer| answer.index == batch.partition);
            // An answer that leaves a batch out says nothing about it.
            match answer.map_or(ErrorCode::UnknownServerError.code(), |answer| answer.error_code) {
                0 => count(batch, now, shard),
                code => {
                    self.fail(std::slice::from_ref(batch), &code_name(code), shard);
                    if self.plan.settings.idempotent {
                        self.break_off(Some(Why::Refused(code_name(code))));
                    }
                }
            }
        }
        shard.shared.answered(now);
        Ok(())
    }

    /// With `acks=0`, counts what was handed to the system to its last byte, as of then.
    pub(crate) fn count_left(&self, shard: &Shard) {
        while let Some(left) = self.outbox.take_left() {
            // Behind the last frame with records comes a question.
            let Some(sent) = self.unsent.borrow_mut().pop_front() else { continue };
            let at = shard.shared.at(left);
            sent.iter().for_each(|batch| count(batch, at, shard));
            shard.shared.answered(at);
        }
    }

    /// Counts as failed what never left, and says of how many records that was.
    fn fail_unsent(&self, reason: &str, shard: &Shard) -> u64 {
        self.count_left(shard);
        let unsent = std::mem::take(&mut *self.unsent.borrow_mut());
        unsent.iter().for_each(|batches| self.fail(batches, reason, shard));
        unsent.iter().flatten().map(|batch| batch.due.len() as u64).sum()
    }

    fn request<'p>(&'p self, sent: &[SentBatch], bytes: &[Vec<u8>]) -> ProduceRequest<'p> {
        let partitions = sent.iter().zip(bytes).map(|(batch, bytes)| {
            let bytes = u32::try_from(bytes.len()).expect("a batch is below 2 GiB");
            PartitionProduceData { index: batch.partition, records: Some(Records::Splice { bytes }) }
        });
        let (name, topic_id) = self.places.named(self.places.produce_version);
        let partition_data = partitions.collect();
        ProduceRequest {
            transactional_id: None,
            acks: self.plan.settings.acks,
            timeout_ms: TIMEOUT_MS,
            topic_data: vec![TopicProduceData { name: name.into(), topic_id, partition_data }],
        }
    }

    fn correlation_id(&self) -> i32 {
        let id = self.next_correlation_id.get();
        self.next_correlation_id.set(id.wrapping_add(1));
        id
    }

    /// Nothing more is sent; what is in flight may still be answered.
    fn break_off(&self, why: Option<Why>) {
        self.broken.set(true);
        let mut first = self.why.borrow_mut();
        *first = first.take().or(why);
        self.wake.notify_one();
    }

    /// The connection is at its end: counts everything that was sent and not answered as failed.
    fn ended(&self, error: &ClientError, shard: &Shard) {
        let unanswered = std::mem::take(&mut *self.pending.borrow_mut());
        let why = (!self.closing.get()).then(|| Why::Lost(reason(error)));
        let reason = reason(error);
        let unsent = self.fail_unsent(&reason, shard);
        if !(self.closing.get() && unanswered.is_empty()) {
            for request in &unanswered {
                self.fail(&request.batches, &reason, shard);
            }
            if unsent == 0 && unanswered.iter().all(|request| request.batches.is_empty()) {
                shard.meter().failed(reason, 1);
            }
        }
        self.outbox.close();
        self.break_off(why);
    }

    fn fail(&self, batches: &[SentBatch], reason: &str, shard: &Shard) {
        for batch in batches {
            let records = batch.due.len() as u64;
            shard.meter().failed(reason, records);
            let span = Span { from: batch.first, to: batch.first + records };
            self.doubtful.borrow_mut().entry(batch.partition).or_default().push(span);
        }
    }
}

fn count(batch: &SentBatch, now: u64, shard: &Shard) {
    let (shared, due) = (&shard.shared, &batch.due[..]);
    shared.acknowledged.fetch_add(due.len() as u64, Ordering::Relaxed);
    // Records of a batch are due one after the other: what is counted apart are parts of it.
    let cold = shared.beside_cold();
    let is_before = |due: &u64| shared.phase(Some(*due), now) == Phase::WarmUp;
    let mut cuts = [
        0,
        due.partition_point(is_before),
        due.partition_point(|due| *due < cold.start),
        due.partition_point(|due| *due < cold.end),
        due.len(),
    ];
    cuts.sort_unstable();
    let bytes_up_to = |record: usize| batch.own_bytes * record as u64 / due.len() as u64;
    let mut meter = shard.meter();
    for cut in cuts.windows(2) {
        let Some(first) = due[cut[0]..cut[1]].first() else { continue };
        let kind = if cold.contains(first) { Kind::AckBesideCold } else { Kind::Ack };
        let phase = if is_before(first) { Phase::WarmUp } else { Phase::Measured };
        let counts = meter.in_phase(phase, kind);
        counts.records += (cut[1] - cut[0]) as u64;
        counts.bytes += bytes_up_to(cut[1]) - bytes_up_to(cut[0]);
        for due in &due[cut[0]..cut[1]] {
            counts.took(now.saturating_sub(*due));
        }
    }
}
