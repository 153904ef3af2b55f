//! A broker of a few threads for the tests: one node that keeps what is produced in memory.
//!
//! It answers on a port of the system's choice, follows a [`Script`] of faults, and remembers what it has seen.
//! It refuses what a real broker would refuse: bad batches, wrong sequences, topics that it does not have.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

use ottla::errors::ErrorCode;
use ottla::ids::{Offset, TimestampMs};
use ottla::protocol::compression::Decompressor;
use ottla::protocol::records::{
    BatchHeader, BatchIter, RecordIter, TimestampType, ValidationPolicy, edit, validate,
};
use ottla_wire::api_versions_response::{ApiVersion, ApiVersionsResponse};
use ottla_wire::create_topics_request::CreateTopicsRequest;
use ottla_wire::create_topics_response::{CreatableTopicResult, CreateTopicsResponse};
use ottla_wire::fetch_request::FetchRequest;
use ottla_wire::fetch_response::{FetchResponse, FetchableTopicResponse, PartitionData};
use ottla_wire::find_coordinator_request::FindCoordinatorRequest;
use ottla_wire::frame::{decode_request_header, encode_response};
use ottla_wire::init_producer_id_response::InitProducerIdResponse;
use ottla_wire::join_group_request::JoinGroupRequest;
use ottla_wire::list_offsets_request::ListOffsetsRequest;
use ottla_wire::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsResponse, ListOffsetsTopicResponse,
};
use ottla_wire::metadata_request::MetadataRequest;
use ottla_wire::metadata_response::{
    MetadataResponse, MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use ottla_wire::produce_request::{PartitionProduceData, ProduceRequest};
use ottla_wire::produce_response::{PartitionProduceResponse, ProduceResponse, TopicProduceResponse};
use ottla_wire::sync_group_request::SyncGroupRequest;
use ottla_wire::{ApiKey, Message, Reader, Records, Uuid};

mod command;
mod group;

pub use command::Command;

/// The only broker's id.
const NODE: i32 = 1;
/// The first fetch session's id is behind this one.
const SESSION_ID: i32 = 77;
/// A generator that waits for what never comes fails its test rather than to hang it.
const PATIENCE: Duration = Duration::from_secs(20);
const APIS: [ApiKey; 12] = [
    ApiKey::ApiVersions,
    ApiKey::Metadata,
    ApiKey::CreateTopics,
    ApiKey::InitProducerId,
    ApiKey::Produce,
    ApiKey::Fetch,
    ApiKey::ListOffsets,
    ApiKey::FindCoordinator,
    ApiKey::JoinGroup,
    ApiKey::SyncGroup,
    ApiKey::Heartbeat,
    ApiKey::LeaveGroup,
];

/// How the broker misbehaves.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    /// The last version of Produce that is offered.
    pub produce_version_max: i16,
    /// So many Metadata replies after the creation show a topic without leaders.
    pub leaderless_replies: u32,
    /// So many first ListOffsets and InitProducerId requests, each kind by itself, find the broker not ready.
    pub busy_replies: u32,
    /// Produce requests that a connection holds back until this many are there; 1 answers each at once.
    pub hold: usize,
    /// The Produce requests, counted from 0 over all connections, that are answered with the error.
    pub refuse: Option<(std::ops::Range<usize>, ErrorCode)>,
    /// The connection is closed in place of the answer to this Produce request, counted over all connections.
    pub close_at: Option<usize>,
    /// At this Produce request, counted over all connections, the broker reads nothing more for so long.
    pub deaf: Option<(usize, Duration)>,
    /// Fetches return batches with one flipped bit.
    pub corrupt: bool,
    /// The end of each partition is said to be so many offsets behind its last record.
    pub promised: i64,
    /// The high watermark stays at 0 until so many fetches behind the first question for it that finds records.
    pub watermark_lags: u32,
    /// Fetches of this partition are answered with the error.
    pub refuse_fetch: Option<(i32, ErrorCode)>,
    /// Batches get the time of their append.
    pub log_append_time: bool,
    /// Fetches return each batch twice.
    pub twice: bool,
    /// Of the batches that are kept, counted from 0, this one is acknowledged and forgotten.
    pub lose: Option<usize>,
    /// This one is kept twice.
    pub repeat: Option<usize>,
    /// This one, which is not the first, is kept before the one that came before it.
    pub swap: Option<usize>,
    /// Fetch sessions are forgotten after so many requests.
    pub session_requests: Option<i32>,
    /// Batches per partition in the answer to a fetch, the last of them cut in half where there are more.
    pub fetch_batches: usize,
    /// The first request of each of these kinds finds that the broker is the group's coordinator no more, and so do all
    /// others until somebody asks who is.
    pub coordinator_moves: Vec<ApiKey>,
    /// How long the answer to SyncGroup takes, but to so many first ones.
    pub sync_takes: Duration,
    /// See there.
    pub quick_syncs: usize,
    /// How long the answer to ApiVersions takes.
    pub greeting: Duration,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            produce_version_max: *ApiKey::Produce.versions().end(),
            leaderless_replies: 0,
            busy_replies: 0,
            hold: 1,
            refuse: None,
            close_at: None,
            deaf: None,
            corrupt: false,
            promised: 0,
            watermark_lags: 0,
            refuse_fetch: None,
            log_append_time: false,
            twice: false,
            lose: None,
            repeat: None,
            swap: None,
            session_requests: None,
            fetch_batches: 2,
            coordinator_moves: Vec::new(),
            sync_takes: Duration::ZERO,
            quick_syncs: 0,
            greeting: Duration::ZERO,
        }
    }
}

/// What the broker has and has seen.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub topics_created: u32,
    pub produce_requests: usize,
    /// Requests that found the broker not ready.
    pub busy_answers: u32,
    pub acks: Vec<i16>,
    /// The most Produce requests of one connection that were there and unanswered.
    pub in_flight_max: usize,
    /// In the order in which they were made.
    pub topics: Vec<Kept>,
    /// Produce requests with more than one partition.
    pub wide_requests: usize,
    /// Records of the largest batch.
    pub batch_records_max: i32,
    /// Partitions that fetches have named.
    pub fetch_partitions: usize,
    /// Fetches.
    pub fetches: usize,
    /// Fetches with a session that was there.
    pub session_fetches: usize,
    /// ApiVersions requests, and the most of them that waited for their answers at the same time.
    pub greetings: usize,
    pub greetings_at_once: usize,
    greeting_now: usize,
    /// Of groups.
    pub groups: group::Groups,
    batches: usize,
    /// A batch that is kept behind the next one, with its topic and partition.
    late: Option<(usize, i32, Vec<u8>)>,
    sessions: BTreeMap<i32, Session>,
    next_session: i32,
    sequences: BTreeMap<(i64, Uuid, i32), i32>,
    leaderless_left: u32,
    offset_requests: u32,
    producer_requests: u32,
    /// Fetches that find no high watermark yet, once there was a question for it.
    lag_left: Option<u32>,
}

/// A topic and what it has.
#[derive(Debug)]
pub(crate) struct Kept {
    pub name: String,
    id: Uuid,
    /// Per partition the records' count and the batches with their offsets.
    pub partitions: Vec<(i64, Vec<Vec<u8>>)>,
}

/// A fetch session, of one topic.
#[derive(Debug)]
struct Session {
    next_epoch: i32,
    topic: usize,
    positions: BTreeMap<i32, i64>,
}

/// What a fetch reads: the number of its topic, partitions with offsets, and its session if it has one.
#[derive(Debug, Default)]
struct Asked {
    topic: usize,
    positions: Vec<(i32, i64)>,
    session: i32,
}

impl Kept {
    /// Gives the batches of a partition their offsets.
    fn renumber(&mut self, partition: i32) {
        let (end, batches) = &mut self.partitions[partition as usize];
        *end = 0;
        for batch in batches {
            edit::set_base_offset(batch, Offset(*end));
            *end += i64::from(BatchHeader::parse(batch).expect("kept whole").record_count);
        }
    }

    /// Records of all partitions.
    pub(crate) fn records(&self) -> i64 {
        self.partitions.iter().map(|(records, _)| records).sum()
    }
}

impl Seen {
    /// The number of the topic with this name or this id.
    fn topic(&self, name: &str, id: Uuid) -> Option<usize> {
        self.topics.iter().position(|topic| if name.is_empty() { topic.id == id } else { topic.name == name })
    }

    /// What a fetch reads: what it names, or what its session knows.
    fn asked(
        &mut self,
        request: &FetchRequest<'_>,
        session_requests: Option<i32>,
    ) -> Result<Asked, ErrorCode> {
        assert!(request.topics.len() <= 1, "a consumer has one topic");
        let named = request.topics.first();
        let topic =
            named.map(|topic| self.topic(&topic.topic, topic.topic_id).expect("a topic that is there"));
        let named = named.iter().flat_map(|topic| &topic.partitions);
        let positions: Vec<(i32, i64)> = named.map(|asked| (asked.partition, asked.fetch_offset)).collect();
        self.fetch_partitions += positions.len();
        match request.session_epoch {
            -1 => Ok(Asked { topic: topic.expect("it is named"), positions, session: 0 }),
            0 => {
                let topic = topic.expect("it is named");
                self.next_session += 1;
                let id = SESSION_ID + self.next_session;
                let session =
                    Session { next_epoch: 1, topic, positions: positions.iter().copied().collect() };
                self.sessions.insert(id, session);
                Ok(Asked { topic, positions, session: id })
            }
            epoch => {
                if session_requests.is_some_and(|most| epoch > most) {
                    self.sessions.remove(&request.session_id);
                }
                let session =
                    self.sessions.get_mut(&request.session_id).ok_or(ErrorCode::FetchSessionIdNotFound)?;
                if epoch != session.next_epoch {
                    return Err(ErrorCode::InvalidFetchSessionEpoch);
                }
                session.next_epoch += 1;
                session.positions.extend(positions);
                self.session_fetches += 1;
                let positions = session.positions.iter().map(|(partition, offset)| (*partition, *offset));
                let positions = positions.collect();
                Ok(Asked { topic: session.topic, positions, session: request.session_id })
            }
        }
    }

    /// The partitions of all topics.
    pub(crate) fn partitions(&self) -> impl Iterator<Item = &(i64, Vec<Vec<u8>>)> {
        self.topics.iter().flat_map(|topic| &topic.partitions)
    }

    /// Records of all topics.
    pub(crate) fn records(&self) -> i64 {
        self.topics.iter().map(Kept::records).sum()
    }

    /// The values of all records that are not compressed, as text.
    pub(crate) fn values(&self) -> Vec<String> {
        let mut values = Vec::new();
        for bytes in self.partitions().flat_map(|(_, batches)| batches) {
            let batch = BatchIter::new(bytes).next().expect("one").expect("kept whole");
            for record in RecordIter::new(batch.payload(), batch.header.record_count) {
                let value = record.expect("it was validated").value.expect("every record has one");
                values.push(String::from_utf8(value.to_vec()).expect("text"));
            }
        }
        values
    }
}

/// The broker; it ends when it is dropped.
pub(crate) struct FakeBroker {
    address: String,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

struct Shared {
    script: Script,
    seen: Mutex<Seen>,
    address: SocketAddr,
    stopped: AtomicBool,
}

impl FakeBroker {
    pub(crate) fn start(script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let seen = Mutex::new(Seen { leaderless_left: script.leaderless_replies, ..Seen::default() });
        let shared = Arc::new(Shared { script, seen, address, stopped: AtomicBool::new(false) });
        let for_acceptor = Arc::clone(&shared);
        let acceptor = std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                if for_acceptor.stopped.load(Ordering::SeqCst) {
                    return;
                }
                let shared = Arc::clone(&for_acceptor);
                std::thread::spawn(move || {
                    // A connection ends with an error when its client goes: that is how all of them end.
                    drop(Connection { stream, shared, held: Vec::new() }.serve());
                });
            }
        });
        Self { address: address.to_string(), shared, acceptor: Some(acceptor) }
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    pub(crate) fn seen(&self) -> MutexGuard<'_, Seen> {
        self.shared.seen.lock().expect("no handler panics")
    }
}

impl Drop for FakeBroker {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.shared.address));
        if let Some(acceptor) = self.acceptor.take() {
            acceptor.join().expect("the acceptor does not panic");
        }
    }
}

struct Connection {
    stream: TcpStream,
    shared: Arc<Shared>,
    /// The answers that are held back.
    held: Vec<Vec<u8>>,
}

/// A request's api, version and correlation id.
type Head = (ApiKey, i16, i32);

impl Connection {
    fn serve(mut self) -> io::Result<()> {
        self.stream.set_read_timeout(Some(PATIENCE))?;
        self.stream.set_nodelay(true)?;
        loop {
            let mut length = [0; 4];
            self.stream.read_exact(&mut length)?;
            let mut frame = vec![0; u32::from_be_bytes(length) as usize];
            self.stream.read_exact(&mut frame)?;
            let (header, body) = decode_request_header(&frame).expect("a header");
            let api = ApiKey::from_code(header.request_api_key).expect("an api");
            let head = (api, header.request_api_version, header.correlation_id);
            self.answer(head, &frame[body..])?;
        }
    }

    fn answer(&mut self, head: Head, body: &[u8]) -> io::Result<()> {
        let (api, version, _) = head;
        let mut r = Reader::with_memory(body, usize::MAX);
        match api {
            ApiKey::ApiVersions => {
                self.greet();
                self.reply(head, &self.api_versions())
            }
            ApiKey::Metadata => {
                let request = MetadataRequest::decode(&mut r, version).expect("a request");
                let reply = self.metadata(&request);
                self.reply(head, &reply)
            }
            ApiKey::CreateTopics => {
                let request = CreateTopicsRequest::decode(&mut r, version).expect("a request");
                let reply = self.create_topics(&request);
                self.reply(head, &reply)
            }
            ApiKey::InitProducerId => {
                let reply = self.init_producer_id();
                self.reply(head, &reply)
            }
            ApiKey::Produce => {
                let request = ProduceRequest::decode(&mut r, version).expect("a request");
                self.produce(head, &request)
            }
            ApiKey::Fetch => {
                let request = FetchRequest::decode(&mut r, version).expect("a request");
                let reply = self.fetch(&request);
                self.reply(head, &reply)
            }
            ApiKey::ListOffsets => {
                let request = ListOffsetsRequest::decode(&mut r, version).expect("a request");
                let reply = self.list_offsets(&request);
                self.reply(head, &reply)
            }
            ApiKey::FindCoordinator => {
                let request = FindCoordinatorRequest::decode(&mut r, version).expect("a request");
                self.reply(head, &self.find_coordinator(&request))
            }
            ApiKey::JoinGroup => {
                let request = JoinGroupRequest::decode(&mut r, version).expect("a request");
                self.reply(head, &self.join_group(&request))
            }
            ApiKey::SyncGroup => {
                let request = SyncGroupRequest::decode(&mut r, version).expect("a request");
                if self.is_slow_sync() {
                    std::thread::sleep(self.shared.script.sync_takes);
                }
                self.reply(head, &self.sync_group(&request))
            }
            ApiKey::Heartbeat => self.reply(head, &self.heartbeat()),
            ApiKey::LeaveGroup => self.reply(head, &self.leave_group()),
            other => panic!("{other} was not offered"),
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.shared.seen.lock().expect("no handler panics")
    }

    fn reply<'a, M: Message<'a>>(&self, (api, version, correlation_id): Head, body: &M) -> io::Result<()> {
        let frame =
            encode_response(api, version, correlation_id, body).expect("a reply that its version allows");
        (&self.stream).write_all(&frame.head)
    }

    /// Takes as long as it is to take.
    fn greet(&self) {
        {
            let mut seen = self.seen();
            seen.greetings += 1;
            seen.greeting_now += 1;
            seen.greetings_at_once = seen.greetings_at_once.max(seen.greeting_now);
        }
        std::thread::sleep(self.shared.script.greeting);
        self.seen().greeting_now -= 1;
    }

    fn api_versions(&self) -> ApiVersionsResponse<'static> {
        let offered = APIS.into_iter().map(|api| {
            let versions = api.versions();
            let last = match api {
                ApiKey::Produce => self.shared.script.produce_version_max,
                _ => *versions.end(),
            };
            ApiVersion { api_key: api.code(), min_version: (*versions.start()).min(last), max_version: last }
        });
        ApiVersionsResponse { api_keys: offered.collect(), ..ApiVersionsResponse::default() }
    }

    fn metadata(&self, request: &MetadataRequest<'_>) -> MetadataResponse<'static> {
        let names_none = request.topics.as_ref().is_some_and(Vec::is_empty);
        assert!(!request.allow_auto_topic_creation || names_none, "a load creates its topic itself");
        let asked = request.topics.iter().flatten().filter_map(|topic| topic.name.as_deref());
        let topics = asked.map(|name| self.describe(name)).collect();
        let broker = MetadataResponseBroker {
            node_id: NODE,
            host: self.shared.address.ip().to_string().into(),
            port: i32::from(self.shared.address.port()),
            rack: None,
        };
        MetadataResponse { brokers: vec![broker], topics, ..MetadataResponse::default() }
    }

    fn describe(&self, name: &str) -> MetadataResponseTopic<'static> {
        let mut seen = self.seen();
        let topic = MetadataResponseTopic { name: Some(name.to_owned().into()), ..Default::default() };
        let Some(number) = seen.topic(name, Uuid::ZERO) else {
            return MetadataResponseTopic { error_code: ErrorCode::UnknownTopicOrPartition.code(), ..topic };
        };
        let leaderless = seen.leaderless_left > 0;
        seen.leaderless_left = seen.leaderless_left.saturating_sub(1);
        let kept = &seen.topics[number];
        let partitions = (0..kept.partitions.len()).map(|index| MetadataResponsePartition {
            partition_index: index as i32,
            leader_id: if leaderless { -1 } else { NODE },
            ..MetadataResponsePartition::default()
        });
        MetadataResponseTopic { topic_id: kept.id, partitions: partitions.collect(), ..topic }
    }

    fn create_topics(&self, request: &CreateTopicsRequest<'_>) -> CreateTopicsResponse<'static> {
        let mut seen = self.seen();
        let topic = request.topics.first().expect("one topic");
        assert_eq!(request.topics.len(), 1, "a load creates one topic at a time");
        assert_eq!(seen.topic(&topic.name, Uuid::ZERO), None, "a load looks before it creates");
        seen.topics_created += 1;
        let id = Uuid([seen.topics_created as u8; 16]);
        let partitions = vec![(0, Vec::new()); topic.num_partitions as usize];
        seen.topics.push(Kept { name: topic.name.to_string(), id, partitions });
        let created = CreatableTopicResult {
            name: topic.name.to_string().into(),
            topic_id: id,
            num_partitions: topic.num_partitions,
            replication_factor: 1,
            ..CreatableTopicResult::default()
        };
        CreateTopicsResponse { topics: vec![created], ..CreateTopicsResponse::default() }
    }

    /// Appends, and answers once as many requests are there as the script holds back.
    fn produce(&mut self, head: Head, request: &ProduceRequest<'_>) -> io::Result<()> {
        let topic = request.topic_data.first().expect("one topic");
        assert_eq!(request.topic_data.len(), 1, "a producer has one topic");
        let (number, kept) = {
            let mut seen = self.seen();
            assert_eq!(
                topic.name.is_empty(),
                head.1 >= 13,
                "the topic is named as version {} has it",
                head.1
            );
            let kept = seen.topic(&topic.name, topic.topic_id).expect("a topic that is there");
            seen.acks.push(request.acks);
            seen.wide_requests += usize::from(topic.partition_data.len() > 1);
            seen.produce_requests += 1;
            (seen.produce_requests - 1, kept)
        };
        let script = &self.shared.script;
        if let Some((_, time)) = script.deaf.filter(|(at, _)| *at == number) {
            std::thread::sleep(time);
        }
        if script.close_at == Some(number) {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        let answer = |data: &PartitionProduceData<'_>| {
            let error = match &script.refuse {
                Some((numbers, error)) if numbers.contains(&number) => *error,
                _ => self.append(kept, data.index, data.records.as_ref()),
            };
            PartitionProduceResponse {
                index: data.index,
                error_code: error.code(),
                base_offset: 0,
                ..PartitionProduceResponse::default()
            }
        };
        let partition_responses = topic.partition_data.iter().map(answer).collect();
        if request.acks == 0 {
            return Ok(());
        }
        let topic =
            TopicProduceResponse { name: topic.name.clone(), topic_id: topic.topic_id, partition_responses };
        let reply = ProduceResponse { responses: vec![topic], ..ProduceResponse::default() };
        let (api, version, correlation_id) = head;
        let frame = encode_response(api, version, correlation_id, &reply).expect("a reply");
        self.held.push(frame.head);
        self.release()
    }

    fn release(&mut self) -> io::Result<()> {
        let held = self.held.len();
        if held < self.shared.script.hold {
            return Ok(());
        }
        // More than the window allows would be readable by now, or soon: it is found by chance and never in error.
        self.stream.set_nonblocking(true)?;
        let more = self.stream.peek(&mut [0]).is_ok_and(|bytes| bytes > 0);
        self.stream.set_nonblocking(false)?;
        let mut seen = self.seen();
        seen.in_flight_max = seen.in_flight_max.max(held + usize::from(more));
        drop(seen);
        for frame in self.held.drain(..) {
            self.stream.write_all(&frame)?;
        }
        Ok(())
    }

    fn append(&self, topic: usize, partition: i32, records: Option<&Records<'_>>) -> ErrorCode {
        let Some(Records::Inline(bytes)) = records else { return ErrorCode::InvalidRecord };
        let policy = ValidationPolicy {
            compacted: false,
            timestamp_type: TimestampType::CreateTime,
            before_max_ms: i64::MAX,
            after_max_ms: i64::MAX,
            max_message_bytes: usize::MAX,
            compression: None,
            now: TimestampMs(0),
            zstd_allowed: true,
        };
        if let Err(invalid) = validate(&policy, bytes, &mut Decompressor::new()) {
            return invalid.error;
        }
        let header = BatchHeader::parse(bytes).expect("it was just validated");
        let mut seen = self.seen();
        if header.has_producer_id() {
            let id = seen.topics[topic].id;
            let next = seen.sequences.entry((header.producer_id.0, id, partition)).or_insert(0);
            if *next != header.base_sequence {
                return ErrorCode::OutOfOrderSequenceNumber;
            }
            *next += header.record_count;
        }
        seen.batch_records_max = seen.batch_records_max.max(header.record_count);
        let number = seen.batches;
        seen.batches += 1;
        let script = &self.shared.script;
        let copies = match number {
            _ if script.lose == Some(number) => 0,
            _ if script.repeat == Some(number) => 2,
            _ => 1,
        };
        let keep = |seen: &mut Seen, topic: usize, partition: i32, mut bytes: Vec<u8>| {
            if script.log_append_time {
                edit::set_log_append_time(&mut bytes, TimestampMs(7));
            }
            seen.topics[topic].partitions[partition as usize].1.push(bytes);
            seen.topics[topic].renumber(partition);
        };
        if script.swap == Some(number + 1) {
            // Nobody may read it where it would be without the swap.
            seen.late = Some((topic, partition, bytes.to_vec()));
            return ErrorCode::None;
        }
        (0..copies).for_each(|_| keep(&mut seen, topic, partition, bytes.to_vec()));
        if let Some((topic, partition, bytes)) = seen.late.take() {
            keep(&mut seen, topic, partition, bytes);
        }
        ErrorCode::None
    }

    fn init_producer_id(&self) -> InitProducerIdResponse {
        let mut seen = self.seen();
        seen.producer_requests += 1;
        if seen.producer_requests <= self.shared.script.busy_replies {
            seen.busy_answers += 1;
            let error_code = ErrorCode::CoordinatorLoadInProgress.code();
            return InitProducerIdResponse { error_code, ..InitProducerIdResponse::default() };
        }
        let producer_id = 1_000 + i64::from(seen.producer_requests);
        InitProducerIdResponse { producer_id, ..InitProducerIdResponse::default() }
    }

    fn list_offsets(&self, request: &ListOffsetsRequest<'_>) -> ListOffsetsResponse<'static> {
        let mut seen = self.seen();
        seen.offset_requests += 1;
        let busy = seen.offset_requests <= self.shared.script.busy_replies;
        seen.busy_answers += u32::from(busy);
        let error = if busy { ErrorCode::NotLeaderOrFollower } else { ErrorCode::None };
        let topic = request.topics.first().expect("one topic");
        let kept = seen.topic(&topic.name, Uuid::ZERO).expect("a topic that is there");
        let lags = self.shared.script.watermark_lags;
        if lags > 0 && seen.lag_left.is_none() && seen.topics[kept].records() > 0 {
            seen.lag_left = Some(lags);
        }
        let hidden = self.is_hidden(&seen);
        let ends = &seen.topics[kept].partitions;
        let partitions = topic.partitions.iter().map(|asked| ListOffsetsPartitionResponse {
            partition_index: asked.partition_index,
            error_code: error.code(),
            offset: match asked.timestamp {
                -2 => 0,
                _ if hidden => 0,
                _ => ends[asked.partition_index as usize].0 + self.shared.script.promised,
            },
            ..ListOffsetsPartitionResponse::default()
        });
        let topic = ListOffsetsTopicResponse {
            name: topic.name.to_string().into(),
            partitions: partitions.collect(),
        };
        ListOffsetsResponse { topics: vec![topic], ..ListOffsetsResponse::default() }
    }

    fn fetch(&self, request: &FetchRequest<'_>) -> FetchResponse<'static> {
        let mut seen = self.seen();
        let Asked { topic, positions, session } =
            match seen.asked(request, self.shared.script.session_requests) {
                Ok(asked) => asked,
                Err(error) => return FetchResponse { error_code: error.code(), ..FetchResponse::default() },
            };
        seen.fetches += 1;
        let hidden = self.is_hidden(&seen);
        seen.lag_left = seen.lag_left.map(|left| left.saturating_sub(1));
        let kept = &seen.topics[topic];
        let refused = |partition| match self.shared.script.refuse_fetch {
            Some((number, error)) if number == partition => error,
            _ => ErrorCode::None,
        };
        let partitions = positions.into_iter().map(|(partition_index, offset)| PartitionData {
            partition_index,
            error_code: refused(partition_index).code(),
            records: Some(Records::Inline(match hidden {
                true => Vec::new().into(),
                false => self.read(kept, partition_index, offset).into(),
            })),
            ..PartitionData::default()
        });
        let answer = FetchableTopicResponse {
            topic: kept.name.clone().into(),
            topic_id: kept.id,
            partitions: partitions.collect(),
        };
        FetchResponse { session_id: session, responses: vec![answer], ..FetchResponse::default() }
    }

    /// Whether nobody may read yet what is there.
    fn is_hidden(&self, seen: &Seen) -> bool {
        self.shared.script.watermark_lags > 0 && seen.lag_left != Some(0)
    }

    fn read(&self, kept: &Kept, partition: i32, from: i64) -> Vec<u8> {
        let script = &self.shared.script;
        let behind = |batch: &&Vec<u8>| BatchHeader::parse(batch).expect("kept whole").next_offset().0 > from;
        let mut batches = kept.partitions[partition as usize].1.iter().filter(behind);
        let mut bytes: Vec<u8> = batches
            .by_ref()
            .take(script.fetch_batches)
            .flat_map(|batch| batch.repeat(if script.twice { 2 } else { 1 }))
            .collect();
        if script.corrupt && !bytes.is_empty() {
            bytes[40] ^= 1;
        }
        if let Some(cut) = batches.next() {
            bytes.extend_from_slice(&cut[..cut.len() / 2]);
        }
        bytes
    }
}
