//! One broker on one machine, and a client that speaks to it in frames.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::Future;
use std::io::IoSlice;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use ottla::ids::TimestampMs;
use ottla::protocol::records::record::RecordIter;
use ottla::protocol::records::{BatchBuilder, BatchIter, NewRecord};
use ottla_shards::host::Stream;
use ottla_shards::host::sim::{NodeId, ProcessId, ProcessState, World};
use ottla_wire::api_versions_request::ApiVersionsRequest;
use ottla_wire::api_versions_response::ApiVersionsResponse;
use ottla_wire::create_topics_request::{CreatableTopic, CreateTopicsRequest};
use ottla_wire::create_topics_response::CreateTopicsResponse;
use ottla_wire::fetch_request::{FetchPartition, FetchRequest, FetchTopic};
use ottla_wire::fetch_response::FetchResponse;
use ottla_wire::frame::{decode_response_header, encode_request};
use ottla_wire::produce_request::{PartitionProduceData, ProduceRequest, TopicProduceData};
use ottla_wire::produce_response::ProduceResponse;
use ottla_wire::{ApiKey, Message, Reader, Records};

/// The most virtual time that anything here may take.
pub const LIMIT: Duration = Duration::from_secs(60);
/// The port of the broker's only listener.
const PORT: u16 = 9092;

/// A world with one broker.
pub struct Cluster {
    pub world: World,
    pub node: NodeId,
    pub broker: ProcessId,
    settings: &'static [(&'static str, &'static str)],
}

impl Cluster {
    /// A broker of two shards that is ready.
    pub fn new(seed: u64) -> Cluster {
        Cluster::with(seed, &[])
    }

    /// The same with more settings.
    pub fn with(seed: u64, settings: &'static [(&'static str, &'static str)]) -> Cluster {
        let world = World::new(seed);
        world.trace(std::env::var_os("TRACE").is_some());
        let node = world.add_node("one");
        let broker = start(&world, node, settings);
        let cluster = Cluster { world, node, broker, settings };
        cluster.wait_until_ready();
        cluster
    }

    /// Starts the broker again, with other code on the same disk if need be, and waits until it is ready.
    pub fn start_again(&mut self) {
        assert_ne!(self.world.state(self.broker), ProcessState::Running);
        self.broker = start(&self.world, self.node, self.settings);
        self.wait_until_ready();
    }

    pub fn wait_until_ready(&self) {
        let (world, broker) = (&self.world, self.broker);
        let ready = world.run_until(|| world.output(broker).contains("ready in"), LIMIT);
        assert!(ready, "{:?} at {:?}", world.state(broker), world.now());
    }

    /// Where clients reach the broker.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::new(self.world.address(self.node), PORT)
    }

    /// Runs `main` as a client on the broker's own machine to its end.
    pub fn run<T: 'static, F: Future<Output = T> + 'static>(&self, main: impl FnOnce(SocketAddr) -> F) -> T {
        let address = self.address();
        let output = Rc::new(RefCell::new(None));
        let (place, future) = (Rc::clone(&output), main(address));
        let client = self.world.start_client(self.node, async move {
            let value = future.await;
            *place.borrow_mut() = Some(value);
        });
        let ended = self.world.run_until(|| self.world.state(client) != ProcessState::Running, LIMIT);
        assert!(ended, "the client is not done at {:?}", self.world.now());
        assert_eq!(self.world.state(client), ProcessState::Ended);
        output.take().expect("the client has ended by itself")
    }
}

fn start(world: &World, node: NodeId, settings: &[(&str, &str)]) -> ProcessId {
    let pairs = settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    let mut settings: BTreeMap<String, String> = pairs.collect();
    settings.insert("listeners".to_owned(), format!("PLAINTEXT://0.0.0.0:{PORT}"));
    settings.insert("advertised.listeners".to_owned(), format!("PLAINTEXT://{}:{PORT}", world.address(node)));
    world.start_broker(node, 2, settings)
}

/// A connection that sends one request at a time.
pub struct Client {
    stream: Stream,
}

impl Client {
    pub async fn connect(address: SocketAddr) -> Client {
        Client { stream: Stream::connect(address).await.expect("the broker listens") }
    }

    async fn call<'q, Q: Message<'q>>(&self, api: ApiKey, version: i16, request: &Q) -> (Vec<u8>, usize) {
        let frame = encode_request(api, version, 7, Some("smoke"), request).expect("a request");
        assert!(frame.splices.is_empty(), "records are inline");
        self.stream.send_vectored(&[IoSlice::new(&frame.head)]).await.expect("is sent");
        let mut length = [0; 4];
        self.receive_all(&mut length).await;
        let mut reply = vec![0; u32::from_be_bytes(length) as usize];
        self.receive_all(&mut reply).await;
        let (correlation, at) = decode_response_header(&reply, api, version).expect("a header");
        assert_eq!(correlation, 7);
        (reply, at)
    }

    async fn receive_all(&self, into: &mut [u8]) {
        let mut at = 0;
        while at < into.len() {
            let got = self.stream.receive(&mut into[at..]).await.expect("bytes come");
            assert!(got > 0, "the broker answers before it closes");
            at += got;
        }
    }

    /// How many APIs the broker serves.
    pub async fn apis(&self) -> usize {
        let request = ApiVersionsRequest {
            client_software_name: "smoke".into(),
            client_software_version: "1".into(),
            ..Default::default()
        };
        let (reply, at) = self.call(ApiKey::ApiVersions, 3, &request).await;
        let reply = ApiVersionsResponse::decode(&mut Reader::new(&reply[at..]), 3).expect("a reply");
        assert_eq!(reply.error_code, 0);
        reply.api_keys.len()
    }

    pub async fn create_topic(&self, name: &str, partitions: i32) {
        let topic = CreatableTopic {
            name: name.into(),
            num_partitions: partitions,
            replication_factor: 1,
            ..Default::default()
        };
        let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 30_000, ..Default::default() };
        let (reply, at) = self.call(ApiKey::CreateTopics, 7, &request).await;
        let reply = CreateTopicsResponse::decode(&mut Reader::new(&reply[at..]), 7).expect("a reply");
        assert_eq!(reply.topics[0].error_code, 0, "{:?}", reply.topics[0].error_message);
    }

    /// Produces one record with acks=all and returns its offset.
    pub async fn produce(&self, topic: &str, partition: i32, value: &[u8]) -> i64 {
        let mut builder = BatchBuilder::new();
        builder.append(&NewRecord { timestamp: TimestampMs(1), key: None, value: Some(value), headers: &[] });
        let batch = builder.build();
        let data =
            PartitionProduceData { index: partition, records: Some(Records::Inline((&batch[..]).into())) };
        let topic_data =
            TopicProduceData { name: topic.into(), partition_data: vec![data], ..Default::default() };
        let request = ProduceRequest {
            acks: -1,
            timeout_ms: 30_000,
            topic_data: vec![topic_data],
            ..Default::default()
        };
        let (reply, at) = self.call(ApiKey::Produce, 9, &request).await;
        let reply = ProduceResponse::decode(&mut Reader::new(&reply[at..]), 9).expect("a reply");
        let partition = &reply.responses[0].partition_responses[0];
        assert_eq!(partition.error_code, 0);
        partition.base_offset
    }

    /// The values of a partition's records from `offset` on.
    pub async fn fetch(&self, topic: &str, partition: i32, offset: i64) -> Vec<Vec<u8>> {
        let partition = FetchPartition {
            partition,
            current_leader_epoch: -1,
            fetch_offset: offset,
            partition_max_bytes: 1 << 20,
            ..Default::default()
        };
        let topic = FetchTopic { topic: topic.into(), partitions: vec![partition], ..Default::default() };
        let request = FetchRequest {
            replica_id: -1,
            max_wait_ms: 500,
            min_bytes: 1,
            max_bytes: 1 << 20,
            session_epoch: -1,
            topics: vec![topic],
            ..Default::default()
        };
        let (reply, at) = self.call(ApiKey::Fetch, 12, &request).await;
        let reply = FetchResponse::decode(&mut Reader::new(&reply[at..]), 12).expect("a reply");
        let partition = &reply.responses[0].partitions[0];
        assert_eq!(partition.error_code, 0);
        let Some(Records::Inline(bytes)) = &partition.records else { return Vec::new() };
        let mut values = Vec::new();
        for batch in BatchIter::new(bytes) {
            let batch = batch.expect("a whole batch");
            for record in RecordIter::new(batch.payload(), batch.header.record_count) {
                values.push(record.expect("a whole record").value.expect("a value").to_vec());
            }
        }
        values
    }
}
