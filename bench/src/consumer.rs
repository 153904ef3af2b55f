//! One consumer: fetches its partitions from one broker with long polls and verifies what comes.
//!
//! A task of its shard with one request at a time, as Kafka's own. With a fetch session (KIP-227) a request names only
//! the partitions whose position has moved; without one it names all, each first in turn. What must hold: a record
//! counts once, and only from a batch whose CRC is right; a partition that answers with an error is an error and is
//! left out from then on.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ottla::errors::ErrorCode;
use ottla::ids::Offset;
use ottla::protocol::records::{BatchError, BatchIter};
use ottla_shards::host;
use ottla_tools::client::ClientError;
use ottla_wire::api_versions_request::ApiVersionsRequest;
use ottla_wire::api_versions_response::ApiVersionsResponse;
use ottla_wire::fetch_request::{FetchPartition, FetchRequest, FetchTopic};
use ottla_wire::fetch_response::{FetchResponse, PartitionData};
use ottla_wire::list_offsets_response::ListOffsetsResponse;
use ottla_wire::{ApiKey, Records};

use crate::comeback::Comeback;
use crate::cut::{Role, Why};
use crate::engine::{Shard, Shared};
use crate::error::{code_name, reason};
use crate::link::Link;
use crate::offsets::{End, list_request};
use crate::places::Places;
use crate::producer::EARLY_PATIENCE;
use crate::stamp::LaneId;
use crate::tally::{Kind, Phase, nanos};
use crate::verify::{Finding, Received, Sent, Verifier};

/// The pause behind the second answer in a row that came early and brought nothing: nobody asks as fast as such answers
/// come.
const FRUITLESS_PAUSE: Duration = Duration::from_millis(10);
/// How often a consumer that is held looks whether it still is, and how long it says nothing to its broker.
const HELD_LOOK: Duration = Duration::from_millis(10);
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// Bytes that are checked before the other tasks of the shard get their turn.
const TURN_BYTES: usize = 128 << 10;
/// How long a consumer that waits for a number of records waits for more, as Kafka's perf tool does.
const MORE_PATIENCE: Duration = Duration::from_secs(10);

/// A consume load whose flags were checked.
#[derive(Clone, Debug)]
pub(crate) struct ConsumePlan {
    /// `fetch.max.wait.ms`.
    pub max_wait_ms: i32,
    /// `fetch.min.bytes`.
    pub min_bytes: i32,
    /// `fetch.max.bytes`.
    pub max_bytes: i32,
    /// `max.partition.fetch.bytes`.
    pub partition_max_bytes: i32,
    /// With a fetch session.
    pub session: bool,
    /// How long records that are there may take to come.
    pub patience: Duration,
    /// Looks at offsets and numbers too, and not at CRCs alone.
    pub verify: bool,
    /// When it ends, from the start of the load.
    pub end: Option<Duration>,
    /// All consumers end after this many records.
    pub records: Option<u64>,
    /// A connection that is lost is opened again.
    pub comes_back: bool,
}

/// What ends a consumer beside its plan's time and records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Until {
    /// Every position's end.
    Ends,
    /// The end of all producers, and then everything that they sent.
    Producers,
    /// Nothing.
    Never,
}

/// Where a consumer begins in one partition, and where it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    /// The partition.
    pub partition: i32,
    /// The first offset.
    pub next: Offset,
    /// Behind the last; `None` for no end.
    pub end: Option<Offset>,
    /// Nothing of the partition is before the first offset.
    pub from_start: bool,
}

/// One consumer of a load, before it runs.
pub(crate) struct ConsumerJob {
    /// How it fetches.
    pub plan: Arc<ConsumePlan>,
    /// Its topic.
    pub places: Arc<Places>,
    /// The broker, as its number among the places' nodes.
    pub node: usize,
    /// Its partitions.
    pub positions: Vec<Position>,
    /// What ends it.
    pub until: Until,
    /// As what its fetches count.
    pub kind: Kind,
    /// It begins so long after the load.
    pub delay: Duration,
    /// Records of this load carry their numbers.
    pub numbered: bool,
}

impl ConsumerJob {
    /// Runs the consumer to its end.
    pub(crate) async fn run(self, shard: Rc<Shard>) {
        let link = Link::open(&self.places.nodes[self.node]).await;
        shard.ready().await;
        let link = match link {
            Ok(link) => link,
            Err(error) => {
                let reason = reason(&error.into());
                shard.meter().failed(reason.clone(), 1);
                let address = &self.places.node_names[self.node];
                return shard.shared.note_cut(Role::Consumer, address, Why::Unreachable(reason));
            }
        };
        let is_cold = self.kind == Kind::Cold;
        if is_cold {
            shard.sleep_until(self.delay).await;
            shard.shared.cold_reader(true);
        }
        let shared = Arc::clone(&shard.shared);
        let mut consumer = Consumer::new(self, shard, link);
        loop {
            match consumer.consume().await {
                Ok(()) => break consumer.conclude(),
                Err(error) if consumer.come_back(&error).await => {}
                Err(error) => break consumer.cut_off(&error),
            }
        }
        if is_cold {
            shared.cold_reader(false);
        }
    }
}

/// A fetch session as the consumer knows it.
#[derive(Debug, Default)]
struct Session {
    id: i32,
    epoch: i32,
    /// The positions that the broker knows.
    told: BTreeMap<i32, Offset>,
}

/// A partition that is being read.
#[derive(Debug)]
struct Reading {
    partition: i32,
    end: Option<Offset>,
    verifier: Verifier,
    /// It was given up before its end.
    is_incomplete: bool,
    /// What the producers of the load had sent to it, once they have ended.
    sent: Vec<(LaneId, Sent)>,
    /// Some of that was behind what the broker called the end.
    is_behind: bool,
}

impl Reading {
    fn is_at_end(&self) -> bool {
        self.end.is_some_and(|end| self.verifier.next() >= end)
    }
}

struct Consumer {
    job: ConsumerJob,
    shard: Rc<Shard>,
    link: Link,
    readings: Vec<Reading>,
    /// Those that have nothing more to fetch.
    done: Vec<Reading>,
    session: Option<Session>,
    ends_known: bool,
    /// When something last came, in nanoseconds from the start.
    last_came: u64,
    /// Answers in a row that came early and brought nothing.
    fruitless: u32,
}

impl Consumer {
    fn new(mut job: ConsumerJob, shard: Rc<Shard>, link: Link) -> Consumer {
        let run = shard.shared.run;
        let verify = job.plan.verify;
        let topic: Arc<str> = job.places.name().into();
        let reading = |position: Position| {
            let Position { partition, next, end, from_start } = position;
            let verifier = Verifier::new(partition, next, from_start, run).of(&topic);
            let verifier = if verify { verifier } else { verifier.only_bytes() };
            Reading { partition, end, verifier, is_incomplete: false, sent: Vec::new(), is_behind: false }
        };
        let readings = std::mem::take(&mut job.positions).into_iter().map(reading).collect();
        let session = job.plan.session.then(Session::default);
        let ends_known = job.until != Until::Producers;
        let last_came = shard.shared.now();
        Consumer {
            job,
            shard,
            link,
            readings,
            done: Vec::new(),
            session,
            ends_known,
            last_came,
            fruitless: 0,
        }
    }

    async fn consume(&mut self) -> Result<(), ClientError> {
        loop {
            self.wait_while_held().await?;
            if !self.ends_known && self.shard.shared.producers_left.load(Ordering::Acquire) == 0 {
                self.learn_ends().await?;
            }
            self.retire();
            let Some(wait_ms) = self.wait_ms() else { return Ok(()) };
            self.fetch(wait_ms).await?;
        }
    }

    /// Opens a connection that was lost again, where that is wanted: what was asked for and did not come is asked for
    /// again. While producers are there it never gives up.
    async fn come_back(&mut self, error: &ClientError) -> bool {
        let is_lost = matches!(error, ClientError::Io(_));
        if !is_lost || !self.job.plan.comes_back || self.readings.is_empty() {
            return false;
        }
        let partitions: Vec<i32> = self.readings.iter().map(|reading| reading.partition).collect();
        let comeback = Comeback { places: &self.job.places, node: self.job.node, partitions: &partitions };
        let shared = &self.shard.shared;
        let lost = shared.now();
        let is_over = || {
            let patience = if shared.is_ending() { EARLY_PATIENCE } else { self.job.plan.patience };
            let is_alone = shared.producers_left.load(Ordering::Acquire) == 0;
            is_alone && shared.now().saturating_sub(lost) > nanos(patience)
        };
        let Some(link) = comeback.link(is_over).await else { return false };
        self.link = link;
        self.session = self.session.take().map(|_| Session::default());
        self.last_came = shared.now();
        self.shard.meter().failed(reason(error), 1);
        shared.note_return(lost);
        true
    }

    /// Waits while consumers are to fetch nothing. Now and then it asks something, for brokers close a connection that
    /// is silent for `connections.max.idle.ms`.
    async fn wait_while_held(&mut self) -> Result<(), ClientError> {
        let shared = Arc::clone(&self.shard.shared);
        let mut asked = shared.now();
        while shared.holding.load(Ordering::Relaxed) && !shared.is_ending() {
            host::sleep(HELD_LOOK).await;
            self.last_came = shared.now();
            if self.last_came.saturating_sub(asked) > nanos(SILENCE_MAX) {
                asked = self.last_came;
                let request = ApiVersionsRequest::default();
                let _: ApiVersionsResponse<'_> = self.link.call(ApiKey::ApiVersions, 0, &request).await?;
            }
        }
        Ok(())
    }

    /// Puts aside the partitions that were read to their ends. An end is the high watermark, which may be behind what
    /// was acknowledged: until all of that has come, and the end was asked for again, there is more to read.
    fn retire(&mut self) {
        let numbered = self.job.numbered;
        for reading in self.readings.iter_mut().filter(|reading| reading.is_at_end()) {
            let lacks = reading.verifier.lacks(&reading.sent, numbered);
            if reading.is_behind && !lacks {
                reading.end = None;
                self.ends_known = false;
            }
            reading.is_behind = lacks;
        }
        let is_done = |reading: &Reading| reading.is_at_end() && !reading.is_behind;
        let (done, rest) = std::mem::take(&mut self.readings).into_iter().partition(is_done);
        self.readings = rest;
        let done: Vec<Reading> = done;
        if let (false, Some(session)) = (done.is_empty(), &mut self.session) {
            // A session without them is a new one.
            *session = Session::default();
        }
        self.done.extend(done);
    }

    /// How long the next fetch may wait, in milliseconds; `None` where there is to be none.
    fn wait_ms(&mut self) -> Option<i32> {
        let (shared, plan) = (&self.shard.shared, &self.job.plan);
        // What was sent is read to its end, also where the load ends before its time.
        let is_ending = self.job.until != Until::Producers && shared.is_ending();
        if self.readings.is_empty() || is_ending {
            return None;
        }
        if plan.records.is_some_and(|records| shared.fetched.load(Ordering::Relaxed) >= records) {
            return None;
        }
        let now = shared.now();
        let idle = now.saturating_sub(self.last_came);
        if plan.records.is_some() && plan.end.is_none() && idle > nanos(MORE_PATIENCE) {
            return None;
        }
        let patience = if shared.is_ending() { EARLY_PATIENCE.min(plan.patience) } else { plan.patience };
        if self.job.until != Until::Never && self.ends_known && idle > nanos(patience) {
            self.give_up();
            return None;
        }
        let Some(end) = plan.end else { return Some(plan.max_wait_ms) };
        let left = nanos(end).checked_sub(now).filter(|left| *left > 0)?;
        let left = i32::try_from(left.div_ceil(1_000_000)).unwrap_or(i32::MAX);
        Some(left.min(plan.max_wait_ms))
    }

    /// Says which partitions do not come to their ends; what producers of the load had sent there is lost, and is told
    /// as such.
    fn give_up(&mut self) {
        if self.job.until == Until::Producers {
            return;
        }
        for reading in &mut self.readings {
            reading.is_incomplete = true;
            let (partition, topic) = (reading.partition, self.job.places.name());
            let (Offset(next), Offset(end)) = (reading.verifier.next(), reading.end.unwrap_or_default());
            let patience = self.job.plan.patience.as_secs_f64();
            self.shard.shared.note_stuck(format!(
                "partition {partition} of {topic} stands at offset {next}, and {end} is its end: no answer brought \
                 more for {patience} s"
            ));
        }
    }

    /// Asks where the logs end, now that all producers have their answers, and notes what they had sent.
    async fn learn_ends(&mut self) -> Result<(), ClientError> {
        let version = self.job.places.list_version;
        let partitions = self.readings.iter().map(|reading| reading.partition);
        let request = list_request(self.job.places.name(), End::Latest, partitions);
        let reply: ListOffsetsResponse<'_> = self.link.call(ApiKey::ListOffsets, version, &request).await?;
        for answer in reply.topics.iter().flat_map(|topic| &topic.partitions) {
            if let Some(reading) =
                self.readings.iter_mut().find(|reading| reading.partition == answer.partition_index)
            {
                match answer.error_code {
                    0 => reading.end = Some(Offset(answer.offset)),
                    code => self.shard.meter().failed(code_name(code), 1),
                }
            }
        }
        for reading in self.readings.iter_mut().filter(|reading| reading.sent.is_empty()) {
            reading.sent = self.shard.shared.sent_to(self.job.places.name(), reading.partition);
        }
        self.ends_known = true;
        self.last_came = self.shard.shared.now();
        Ok(())
    }

    /// Fetches once, checks what came, and leaves out the partitions that failed.
    async fn fetch(&mut self, wait_ms: i32) -> Result<(), ClientError> {
        let request = self.request(wait_ms);
        let sent = self.shard.shared.now();
        let version = self.job.places.fetch_version;
        let reply: FetchResponse<'_> = self.link.call(ApiKey::Fetch, version, &request).await?;
        let now = self.shard.shared.now();
        let code = reply.error_code;
        if code != ErrorCode::None.code() {
            drop(reply);
            return self.refused(code);
        }
        if let Some(session) = &mut self.session {
            session.opened_or_went_on(reply.session_id);
        }
        let mut came = Came { kind: self.job.kind, numbered: self.job.numbered, now, ..Came::default() };
        let mut failed = Vec::new();
        let mut moved = false;
        for data in reply.responses.iter().flat_map(|topic| &topic.partitions) {
            let reading = self.readings.iter_mut().find(|r| r.partition == data.partition_index);
            let Some(reading) = reading else { continue };
            let before = reading.verifier.next();
            if let Err(reason) = came.take(data, reading, &self.shard).await {
                self.shard.meter().failed(reason, 1);
                reading.is_incomplete = true;
                failed.push(data.partition_index);
            }
            moved |= reading.verifier.next() > before;
        }
        drop(reply);
        let took = now.saturating_sub(sent);
        self.count(came, took);
        self.note_fruit(moved, (took, wait_ms)).await;
        if !failed.is_empty() {
            let (lost, rest) = std::mem::take(&mut self.readings)
                .into_iter()
                .partition(|reading| failed.contains(&reading.partition));
            self.readings = rest;
            let lost: Vec<Reading> = lost;
            self.done.extend(lost);
            self.session = self.session.take().map(|_| Session::default());
        }
        if self.session.is_none() && !self.readings.is_empty() {
            // A broker fills its answer in the order of the request.
            self.readings.rotate_left(1);
        }
        Ok(())
    }

    /// Notes whether an answer brought something, and pauses where answers do not.
    async fn note_fruit(&mut self, moved: bool, (took, wait_ms): (u64, i32)) {
        let wait = Duration::from_millis(u64::try_from(wait_ms).unwrap_or(0));
        if moved {
            self.last_came = self.last_came.max(self.shard.shared.now());
        }
        let is_early = !moved && took < nanos(wait / 2);
        self.fruitless = if is_early { self.fruitless + 1 } else { 0 };
        if self.fruitless > 1 {
            host::sleep(FRUITLESS_PAUSE).await;
        }
    }

    fn count(&mut self, came: Came, latency: u64) {
        let shared = &self.shard.shared;
        if came.records > 0 {
            self.last_came = came.now;
            shared.fetched.fetch_add(came.records, Ordering::Relaxed);
            // What is read cold says nothing about how long the load beside it took.
            if self.job.kind != Kind::Cold {
                shared.answered(came.now);
            }
        }
        shared.note_findings(came.findings, came.records);
        // Of what the load itself has sent it knows the count.
        let unnumbered = if self.job.until == Until::Producers { 0 } else { came.unnumbered };
        shared.note_unknown(unnumbered, !self.job.plan.verify);
        let mut meter = self.shard.meter();
        meter.fetched_batch_bytes += came.batch_bytes;
        for (phase, amount) in [(Phase::WarmUp, came.before), (Phase::Measured, came.measured)] {
            let counts = meter.in_phase(phase, self.job.kind);
            counts.records += amount.records;
            counts.bytes += amount.bytes;
        }
        // A long poll that brought nothing took as long as it was told to.
        if came.batch_bytes > 0 {
            // The latencies of the way end to end are those of records.
            let kind = if self.job.kind == Kind::EndToEnd { Kind::Fetch } else { self.job.kind };
            meter.in_phase(shared.phase(None, came.now), kind).took(latency);
        }
    }

    /// The whole answer is an error: a lost session begins anew, anything else ends the consumer.
    fn refused(&mut self, code: i16) -> Result<(), ClientError> {
        let lost = [ErrorCode::FetchSessionIdNotFound, ErrorCode::InvalidFetchSessionEpoch];
        if self.session.is_some() && lost.iter().any(|error| error.code() == code) {
            self.session = Some(Session::default());
            return Ok(());
        }
        self.shard.meter().failed(code_name(code), 1);
        self.leave_all();
        Ok(())
    }

    fn request(&mut self, wait_ms: i32) -> FetchRequest<'static> {
        let plan = &self.job.plan;
        let mut partitions = Vec::new();
        for reading in &self.readings {
            let next = reading.verifier.next();
            let is_told = self.session.as_mut().is_some_and(|session| session.tell(reading.partition, next));
            if !is_told {
                partitions.push(FetchPartition {
                    partition: reading.partition,
                    current_leader_epoch: -1,
                    fetch_offset: next.0,
                    last_fetched_epoch: -1,
                    log_start_offset: -1,
                    partition_max_bytes: plan.partition_max_bytes,
                    ..FetchPartition::default()
                });
            }
        }
        let (name, topic_id) = self.job.places.named(self.job.places.fetch_version);
        let topic = FetchTopic { topic: name.to_owned().into(), topic_id, partitions };
        let (session_id, session_epoch) =
            self.session.as_ref().map_or((0, -1), |session| (session.id, session.epoch));
        FetchRequest {
            max_wait_ms: wait_ms,
            min_bytes: plan.min_bytes,
            max_bytes: plan.max_bytes,
            session_id,
            session_epoch,
            topics: if topic.partitions.is_empty() { Vec::new() } else { vec![topic] },
            ..FetchRequest::default()
        }
    }

    /// Reads no partition any further.
    fn leave_all(&mut self) {
        self.readings.iter_mut().for_each(|reading| reading.is_incomplete = true);
        self.done.append(&mut self.readings);
    }

    /// Without a connection nobody knows what is missing: what was found so far is all.
    fn cut_off(&mut self, error: &ClientError) {
        let reason = reason(error);
        self.shard.meter().failed(reason.clone(), 1);
        let address = &self.job.places.node_names[self.job.node];
        self.shard.shared.note_cut(Role::Consumer, address, Why::Lost(reason));
        self.leave_all();
        for reading in &mut self.done {
            self.shard.shared.note_findings(reading.verifier.take_findings(), 0);
            self.shard.shared.note_read(reading.is_incomplete);
        }
    }

    /// Holds what came against what was sent, where it was read to its end: of the rest nobody knows what is missing.
    fn conclude(&mut self) {
        self.done.append(&mut self.readings);
        let shared = &self.shard.shared;
        for reading in &mut self.done {
            if self.job.until == Until::Producers && !reading.is_incomplete {
                let sent = shared.sent_to(self.job.places.name(), reading.partition);
                match self.job.numbered {
                    true => sent.iter().for_each(|(lane, sent)| reading.verifier.conclude(*lane, sent)),
                    false => reading.verifier.conclude_count(&sent),
                }
            }
            reading.verifier.conclude_rest();
            shared.note_findings(reading.verifier.take_findings(), 0);
            shared.note_read(reading.is_incomplete);
        }
    }
}

impl Session {
    /// Notes that the broker will know this position; true where it did.
    fn tell(&mut self, partition: i32, next: Offset) -> bool {
        self.told.insert(partition, next) == Some(next)
    }

    fn opened_or_went_on(&mut self, id: i32) {
        // A broker without room for a session says 0: the next request names everything again.
        if id == 0 || id != self.id {
            self.epoch = 0;
        }
        self.id = id;
        if id == 0 {
            self.told.clear();
        } else {
            self.epoch = if self.epoch == i32::MAX { 1 } else { self.epoch + 1 };
        }
    }
}

/// What one answer brought.
#[derive(Debug)]
struct Came {
    kind: Kind,
    /// Records of this load carry their numbers.
    numbered: bool,
    now: u64,
    records: u64,
    /// Those of them that carry no number.
    unnumbered: u64,
    /// What of it belongs to the warm-up, and what is measured.
    before: Amount,
    measured: Amount,
    /// Bytes of whole batches, as they came.
    batch_bytes: u64,
    findings: Vec<Finding>,
}

impl Default for Came {
    fn default() -> Self {
        let (before, measured) = (Amount::default(), Amount::default());
        let findings = Vec::new();
        Came {
            kind: Kind::Fetch,
            numbered: false,
            now: 0,
            records: 0,
            unnumbered: 0,
            before,
            measured,
            batch_bytes: 0,
            findings,
        }
    }
}

/// Records, and the bytes of their keys and values.
#[derive(Clone, Copy, Debug, Default)]
struct Amount {
    records: u64,
    bytes: u64,
}

impl Came {
    /// Checks and counts one partition's batches; or says in a few words what is wrong.
    /// Whoever else is ready on the shard gets a turn now and then.
    async fn take(
        &mut self,
        data: &PartitionData<'_>,
        reading: &mut Reading,
        shard: &Shard,
    ) -> Result<(), String> {
        if data.error_code != ErrorCode::None.code() {
            return Err(code_name(data.error_code));
        }
        let bytes: &[u8] = match &data.records {
            Some(Records::Inline(bytes)) => bytes,
            Some(Records::Splice { .. }) | None => &[],
        };
        let mut at_once = 0;
        reading.verifier.answer();
        for (whole_batches, batch) in BatchIter::new(bytes).enumerate() {
            match batch {
                Ok(batch) => {
                    let mut due = Vec::new();
                    let each = |received: Received| due.extend(self.saw(&received, &shard.shared));
                    let records = reading.verifier.batch(&batch, each);
                    self.records += records;
                    self.batch_bytes += batch.bytes.len() as u64;
                    self.findings.extend(reading.verifier.take_findings());
                    self.took(&due, shard);
                    at_once += batch.bytes.len();
                    if at_once >= TURN_BYTES {
                        at_once = 0;
                        host::yield_now().await;
                    }
                }
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

    /// Counts a record, and gives its phase and when it was due where it is one of this run's.
    fn saw(&mut self, received: &Received, shared: &Shared) -> Option<(Phase, u64)> {
        self.unnumbered += u64::from(received.run.is_none());
        // Where ours carry numbers, one without is somebody else's.
        let is_of_run = received.run.map_or(!self.numbered, |run| run == shared.run);
        let is_ours = self.kind == Kind::EndToEnd && is_of_run;
        let due = received.due_nanos.filter(|_| is_ours).map(|wall| shared.since_start(wall));
        if is_ours && due.is_none() {
            shared.undated.fetch_add(1, Ordering::Relaxed);
        }
        let phase = shared.phase(due, self.now);
        let amount = if phase == Phase::WarmUp { &mut self.before } else { &mut self.measured };
        amount.records += 1;
        amount.bytes += received.bytes;
        Some((phase, due?))
    }

    /// Counts the way of records from when they were due to here.
    fn took(&self, due: &[(Phase, u64)], shard: &Shard) {
        if due.is_empty() {
            return;
        }
        let mut meter = shard.meter();
        for (phase, due) in due {
            meter.in_phase(*phase, Kind::EndToEnd).took(self.now.saturating_sub(*due));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_of_somebody_else_is_nobody_s_latency() {
        let shared = Shared::new(0, 0, 1);
        let of = |run| Received { due_nanos: Some(shared.wall(7)), run, bytes: 5 };
        let is_ours = |numbered, received: Received| {
            let mut came = Came { kind: Kind::EndToEnd, numbered, ..Came::default() };
            let due = came.saw(&received, &shared);
            assert_eq!(came.before.records + came.measured.records, 1, "it has come all the same");
            due.is_some()
        };
        assert!(is_ours(true, of(Some(shared.run))) && !is_ours(true, of(Some(!shared.run))));
        assert!(is_ours(false, of(None)) && !is_ours(true, of(None)), "ours carry numbers, or none does");
        is_ours(true, Received { due_nanos: None, ..of(None) });
        assert_eq!(shared.undated.load(Ordering::Relaxed), 0, "whose time is missing is of no interest");
    }
}
