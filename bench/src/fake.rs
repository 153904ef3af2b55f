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
use ottla::protocol::records::{BatchHeader, TimestampType, ValidationPolicy, edit, validate};
use ottla_wire::api_versions_response::{ApiVersion, ApiVersionsResponse};
use ottla_wire::create_topics_request::CreateTopicsRequest;
use ottla_wire::create_topics_response::{CreatableTopicResult, CreateTopicsResponse};
use ottla_wire::fetch_request::FetchRequest;
use ottla_wire::fetch_response::{FetchResponse, FetchableTopicResponse, PartitionData};
use ottla_wire::frame::{decode_request_header, encode_response};
use ottla_wire::init_producer_id_response::InitProducerIdResponse;
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
use ottla_wire::{ApiKey, Message, Reader, Records, Uuid};

/// The only topic's id, and the only broker's.
const TOPIC_ID: Uuid = Uuid([7; 16]);
const NODE: i32 = 1;
/// The only fetch session's id.
const SESSION_ID: i32 = 77;
/// A generator that waits for what never comes fails its test rather than to hang it.
const PATIENCE: Duration = Duration::from_secs(20);
const APIS: [ApiKey; 7] = [
    ApiKey::ApiVersions,
    ApiKey::Metadata,
    ApiKey::CreateTopics,
    ApiKey::InitProducerId,
    ApiKey::Produce,
    ApiKey::Fetch,
    ApiKey::ListOffsets,
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
    /// Fetches return batches with one flipped bit.
    pub corrupt: bool,
    /// Of the batches that are kept, counted from 0, this one is acknowledged and forgotten.
    pub lose: Option<usize>,
    /// This one is kept twice.
    pub repeat: Option<usize>,
    /// This one is kept before the one that came before it, if both are one partition's.
    pub swap: Option<usize>,
    /// Fetch sessions are forgotten after so many requests.
    pub session_requests: Option<i32>,
    /// Batches per partition in the answer to a fetch, the last of them cut in half where there are more.
    pub fetch_batches: usize,
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
            corrupt: false,
            lose: None,
            repeat: None,
            swap: None,
            session_requests: None,
            fetch_batches: 2,
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
    /// Per partition the records' count and the batches with their offsets.
    pub partitions: Vec<(i64, Vec<Vec<u8>>)>,
    /// Produce requests with more than one partition.
    pub wide_requests: usize,
    /// Records of the largest batch.
    pub batch_records_max: i32,
    /// Partitions that fetches have named.
    pub fetch_partitions: usize,
    /// Fetches with a session that was there.
    pub session_fetches: usize,
    batches: usize,
    /// The positions that the one fetch session knows, and its next epoch.
    session: Option<(i32, BTreeMap<i32, i64>)>,
    sequences: BTreeMap<(i64, i32), i32>,
    leaderless_left: u32,
    offset_requests: u32,
    producer_requests: u32,
    name: Option<String>,
}

impl Seen {
    /// Gives the batches of a partition their offsets.
    fn renumber(&mut self, partition: i32) {
        let (end, batches) = &mut self.partitions[partition as usize];
        *end = 0;
        for batch in batches {
            edit::set_base_offset(batch, Offset(*end));
            *end += i64::from(BatchHeader::parse(batch).expect("kept whole").record_count);
        }
    }

    /// What a fetch reads: what it names, or what its session knows.
    fn positions(
        &mut self,
        request: &FetchRequest<'_>,
        asked: Vec<(i32, i64)>,
        session_requests: Option<i32>,
    ) -> Result<Vec<(i32, i64)>, ErrorCode> {
        match request.session_epoch {
            -1 => Ok(asked),
            0 => {
                self.session = Some((1, asked.iter().copied().collect()));
                Ok(asked)
            }
            epoch => {
                self.session =
                    self.session.take().filter(|_| session_requests.is_none_or(|most| epoch <= most));
                let (next, known) = self.session.as_mut().ok_or(ErrorCode::FetchSessionIdNotFound)?;
                if (request.session_id, epoch) != (SESSION_ID, *next) {
                    return Err(ErrorCode::InvalidFetchSessionEpoch);
                }
                *next += 1;
                known.extend(asked);
                self.session_fetches += 1;
                Ok(known.iter().map(|(partition, offset)| (*partition, *offset)).collect())
            }
        }
    }

    /// Records of all partitions.
    pub(crate) fn records(&self) -> i64 {
        self.partitions.iter().map(|(records, _)| records).sum()
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
            ApiKey::ApiVersions => self.reply(head, &self.api_versions()),
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
        assert!(!request.allow_auto_topic_creation, "a load creates its topic itself");
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
        if seen.name.as_deref() != Some(name) {
            return MetadataResponseTopic { error_code: ErrorCode::UnknownTopicOrPartition.code(), ..topic };
        }
        let leaderless = seen.leaderless_left > 0;
        seen.leaderless_left = seen.leaderless_left.saturating_sub(1);
        let partitions = (0..seen.partitions.len()).map(|index| MetadataResponsePartition {
            partition_index: index as i32,
            leader_id: if leaderless { -1 } else { NODE },
            ..MetadataResponsePartition::default()
        });
        MetadataResponseTopic { topic_id: TOPIC_ID, partitions: partitions.collect(), ..topic }
    }

    fn create_topics(&self, request: &CreateTopicsRequest<'_>) -> CreateTopicsResponse<'static> {
        let mut seen = self.seen();
        let topic = request.topics.first().expect("one topic");
        assert_eq!(request.topics.len(), 1, "a load creates one topic");
        seen.name = Some(topic.name.to_string());
        seen.topics_created += 1;
        seen.partitions = vec![(0, Vec::new()); topic.num_partitions as usize];
        let created = CreatableTopicResult {
            name: topic.name.to_string().into(),
            topic_id: TOPIC_ID,
            num_partitions: topic.num_partitions,
            replication_factor: 1,
            ..CreatableTopicResult::default()
        };
        CreateTopicsResponse { topics: vec![created], ..CreateTopicsResponse::default() }
    }

    /// Appends, and answers once as many requests are there as the script holds back.
    fn produce(&mut self, head: Head, request: &ProduceRequest<'_>) -> io::Result<()> {
        let topic = request.topic_data.first().expect("one topic");
        assert_eq!(request.topic_data.len(), 1, "a load has one topic");
        let number = {
            let mut seen = self.seen();
            let named = if head.1 >= 13 {
                topic.topic_id == TOPIC_ID
            } else {
                Some(&*topic.name) == seen.name.as_deref()
            };
            assert!(named, "the topic is named as version {} has it", head.1);
            seen.acks.push(request.acks);
            seen.wide_requests += usize::from(topic.partition_data.len() > 1);
            seen.produce_requests += 1;
            seen.produce_requests - 1
        };
        let script = &self.shared.script;
        if script.close_at == Some(number) {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        let answer = |data: &PartitionProduceData<'_>| {
            let error = match &script.refuse {
                Some((numbers, error)) if numbers.contains(&number) => *error,
                _ => self.append(data.index, data.records.as_ref()),
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

    fn append(&self, partition: i32, records: Option<&Records<'_>>) -> ErrorCode {
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
            let next = seen.sequences.entry((header.producer_id.0, partition)).or_insert(0);
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
        let (_, batches) = &mut seen.partitions[partition as usize];
        batches.extend((0..copies).map(|_| bytes.to_vec()));
        let last = batches.len().saturating_sub(1);
        if script.swap == Some(number) && last > 0 {
            batches.swap(last - 1, last);
        }
        seen.renumber(partition);
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
        let partitions = topic.partitions.iter().map(|asked| ListOffsetsPartitionResponse {
            partition_index: asked.partition_index,
            error_code: error.code(),
            offset: if asked.timestamp == -2 { 0 } else { seen.partitions[asked.partition_index as usize].0 },
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
        let topic = request.topics.first();
        let asked: Vec<(i32, i64)> = topic
            .map(|topic| topic.partitions.iter().map(|asked| (asked.partition, asked.fetch_offset)).collect())
            .unwrap_or_default();
        seen.fetch_partitions += asked.len();
        let positions = match seen.positions(request, asked, self.shared.script.session_requests) {
            Ok(positions) => positions,
            Err(error) => return FetchResponse { error_code: error.code(), ..FetchResponse::default() },
        };
        let session_id = if request.session_epoch == -1 { 0 } else { SESSION_ID };
        let partitions = positions.into_iter().map(|(partition_index, offset)| PartitionData {
            partition_index,
            records: Some(Records::Inline(self.read(&seen, partition_index, offset).into())),
            ..PartitionData::default()
        });
        let topic = seen.name.clone().unwrap_or_default();
        let answer = FetchableTopicResponse {
            topic: topic.into(),
            topic_id: TOPIC_ID,
            partitions: partitions.collect(),
        };
        FetchResponse { session_id, responses: vec![answer], ..FetchResponse::default() }
    }

    fn read(&self, seen: &Seen, partition: i32, from: i64) -> Vec<u8> {
        let script = &self.shared.script;
        let behind = |batch: &&Vec<u8>| BatchHeader::parse(batch).expect("kept whole").next_offset().0 > from;
        let mut batches = seen.partitions[partition as usize].1.iter().filter(behind);
        let mut bytes: Vec<u8> = batches.by_ref().take(script.fetch_batches).flatten().copied().collect();
        if script.corrupt && !bytes.is_empty() {
            bytes[40] ^= 1;
        }
        if let Some(cut) = batches.next() {
            bytes.extend_from_slice(&cut[..cut.len() / 2]);
        }
        bytes
    }
}
