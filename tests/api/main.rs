//! What real clients rely on beyond the shapes of messages, asked of a running broker over the wire.

mod compaction;
mod connections;
mod delete_records;
mod describe_producers;
mod fetch_limits;
mod lookups;
mod metrics;
mod order;

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use ottla::errors::ErrorCode;
use ottla::ids::TimestampMs;
use ottla::protocol::records::builder::{BatchBuilder, NewRecord};
use ottla_tests::broker::{Broker, Options};
use ottla_tests::topics::create_topic;
use ottla_tools::client::Client;
use ottla_wire::api_versions_request::ApiVersionsRequest;
use ottla_wire::api_versions_response::ApiVersionsResponse;
use ottla_wire::fetch_request::{FetchPartition, FetchRequest, FetchTopic};
use ottla_wire::fetch_response::FetchResponse;
use ottla_wire::init_producer_id_request::InitProducerIdRequest;
use ottla_wire::init_producer_id_response::InitProducerIdResponse;
use ottla_wire::metadata_request::MetadataRequest;
use ottla_wire::metadata_response::MetadataResponse;
use ottla_wire::produce_request::{PartitionProduceData, ProduceRequest, TopicProduceData};
use ottla_wire::produce_response::ProduceResponse;
use ottla_wire::{ApiKey, Message, Reader, Records};

const FETCH_VERSION: i16 = 12;
const METADATA_VERSION: i16 = 9;
const PRODUCE_VERSION: i16 = 9;

/// A broker of two shards with a topic `t` of one partition.
fn start(directory: &tempfile::TempDir, configs: &[(&str, &str)]) -> Broker {
    let broker = Broker::start(&Options::new(directory.path()));
    create_topic(broker.address(), "t", 1, configs);
    broker
}

fn client(broker: &Broker) -> Client {
    Client::connect(broker.address(), "api").expect("the broker listens")
}

/// A batch of `records` small records.
fn batch(records: i64) -> Vec<u8> {
    let mut batch = BatchBuilder::new();
    for record in 0..records {
        let value = record.to_be_bytes();
        batch.append(&NewRecord {
            timestamp: TimestampMs(1),
            key: Some(b"k"),
            value: Some(&value),
            headers: &[],
        });
    }
    batch.build()
}

fn produce_request(batch: &[u8], acks: i16) -> ProduceRequest<'_> {
    let data = PartitionProduceData { index: 0, records: Some(Records::Inline(batch.into())) };
    let topic = TopicProduceData { name: "t".into(), partition_data: vec![data], ..Default::default() };
    ProduceRequest { acks, timeout_ms: 30_000, topic_data: vec![topic], ..Default::default() }
}

fn produce(client: &mut Client, batch: &[u8]) -> i64 {
    let request = produce_request(batch, -1);
    let reply: ProduceResponse<'_> =
        client.call(ApiKey::Produce, PRODUCE_VERSION, &request).expect("the broker answers");
    let partition = &reply.responses[0].partition_responses[0];
    assert_eq!(partition.error_code, 0, "{:?}", partition.error_message);
    partition.base_offset
}

fn fetch_request(offset: i64, max_wait_ms: i32) -> FetchRequest<'static> {
    let partition = FetchPartition {
        partition: 0,
        fetch_offset: offset,
        partition_max_bytes: 1 << 20,
        ..Default::default()
    };
    let topic = FetchTopic { topic: "t".into(), partitions: vec![partition], ..Default::default() };
    FetchRequest {
        max_wait_ms,
        min_bytes: 1,
        max_bytes: 1 << 20,
        session_epoch: -1,
        topics: vec![topic],
        ..Default::default()
    }
}

/// The error code and the bytes of records of the one partition of a reply.
fn fetched(reply: &FetchResponse<'_>) -> (i16, usize) {
    let partition = &reply.responses[0].partitions[0];
    let Some(Records::Inline(bytes)) = &partition.records else { panic!("records are never null") };
    (partition.error_code, bytes.len())
}

#[test]
fn an_api_versions_request_of_a_version_to_come_is_answered_in_version_0() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let broker = start(&directory, &[]);
    let mut stream = std::net::TcpStream::connect(broker.address()).expect("the broker listens");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a positive time");
    let request = [0, 0, 0, 14, 0, 18, 0, 99, 0, 0, 0, 7, 0xff, 0xff, 0, 0x7f, 0x7f, 0x7f];
    stream.write_all(&request).expect("the broker reads");
    let mut length = [0; 4];
    stream.read_exact(&mut length).expect("the broker answers");
    let mut reply = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut reply).expect("the broker answers whole");
    assert_eq!(reply[..4], [0, 0, 0, 7], "the correlation id, and no tagged fields behind it");
    let body = ApiVersionsResponse::decode(&mut Reader::new(&reply[4..]), 0).expect("version 0");
    assert_eq!(body.error_code, ErrorCode::UnsupportedVersion.code());
    assert!(body.api_keys.iter().any(|api| api.api_key == 18), "the client learns which versions there are");
    // The same connection goes on.
    let mut again = client(&broker);
    let request = ApiVersionsRequest {
        client_software_name: "api".into(),
        client_software_version: "1".into(),
        ..Default::default()
    };
    let reply: ApiVersionsResponse<'_> = again.call(ApiKey::ApiVersions, 4, &request).expect("it is served");
    let produce = reply.api_keys.iter().find(|api| api.api_key == 0).expect("Produce is served");
    assert_eq!((produce.min_version, produce.max_version), (0, 13), "librdkafka reads the range");
    assert_eq!(broker.stop(), 0);
}

#[test]
fn replies_keep_their_order_behind_a_long_poll() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let broker = start(&directory, &[]);
    let mut pipelined = client(&broker);
    pipelined.send(ApiKey::Fetch, FETCH_VERSION, &fetch_request(0, 30_000)).expect("it is sent");
    let all = MetadataRequest { topics: None, ..Default::default() };
    pipelined.send(ApiKey::Metadata, METADATA_VERSION, &all).expect("it is sent");
    produce(&mut client(&broker), &batch(1));
    let reply: FetchResponse<'_> =
        pipelined.receive(ApiKey::Fetch, FETCH_VERSION).expect("the long poll is first");
    assert_eq!(fetched(&reply).0, 0);
    assert!(fetched(&reply).1 > 0, "the append ended the wait");
    let reply: MetadataResponse<'_> =
        pipelined.receive(ApiKey::Metadata, METADATA_VERSION).expect("then the metadata");
    assert_eq!(reply.topics.len(), 1);
    assert_eq!(broker.stop(), 0);
}

/// A client that asks for what is not served sees a connection end, as with Kafka; why, the broker's log says.
#[test]
fn what_is_not_served_is_told_in_the_log() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let broker = start(&directory, &[]);
    let mut stream = std::net::TcpStream::connect(broker.address()).expect("the broker listens");
    // DescribeUserScramCredentials, version 0, of a client without a name.
    stream.write_all(&[0, 0, 0, 12, 0, 50, 0, 0, 0, 0, 0, 1, 0xff, 0xff, 0, 0]).expect("it is sent");
    assert_eq!(stream.read(&mut [0; 4]).expect("an end"), 0);
    let told = "DescribeUserScramCredentials version 0 is not served; the connection was closed";
    let deadline = Instant::now() + Duration::from_secs(20);
    while !broker.output().contains(told) {
        assert!(Instant::now() < deadline, "{}", broker.output());
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(broker.stop(), 0);
}

#[test]
fn acks_0_is_silent_and_an_error_closes_the_connection() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let broker = start(&directory, &[("max.message.bytes", "2000")]);
    let mut silent = client(&broker);
    let small = batch(3);
    silent.send(ApiKey::Produce, PRODUCE_VERSION, &produce_request(&small, 0)).expect("it is sent");
    silent.expect_silence();
    assert_eq!(end_offset(&mut silent, 3), 3, "the next reply is that of the next request");
    let large = batch(500);
    silent.send(ApiKey::Produce, PRODUCE_VERSION, &produce_request(&large, 0)).expect("it is sent");
    silent.expect_silence();
    let all = MetadataRequest { topics: None, ..Default::default() };
    let after = silent.call::<_, MetadataResponse<'_>>(ApiKey::Metadata, METADATA_VERSION, &all);
    assert!(after.is_err(), "a refused batch without a reply ends the connection");
    assert_eq!(broker.stop(), 0);
}

/// Asks on `client` until the log has `wanted` records; another connection may still be appending them.
fn end_offset(client: &mut Client, wanted: i64) -> i64 {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let end = ottla_tests::reader::offset_of(client, "t", 0, -1);
        if end >= wanted || Instant::now() > deadline {
            return end;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn an_offset_in_the_middle_of_a_batch_gives_the_whole_batch_whatever_the_limits() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let broker = start(&directory, &[]);
    let mut client = client(&broker);
    let records = batch(50);
    assert_eq!(produce(&mut client, &records), 0);
    assert_eq!(produce(&mut client, &records), 50);
    let mut request = fetch_request(60, 0);
    request.max_bytes = 1;
    request.topics[0].partitions[0].partition_max_bytes = 1;
    let reply: FetchResponse<'_> = client.call(ApiKey::Fetch, FETCH_VERSION, &request).expect("it is served");
    assert_eq!(fetched(&reply), (0, records.len()), "one whole batch, and no more");
    assert_eq!(reply.responses[0].partitions[0].high_watermark, 100);
    let reply: FetchResponse<'_> =
        client.call(ApiKey::Fetch, FETCH_VERSION, &fetch_request(100, 0)).expect("it is served");
    assert_eq!(fetched(&reply), (0, 0), "the end of the log is no error");
    let reply: FetchResponse<'_> =
        client.call(ApiKey::Fetch, FETCH_VERSION, &fetch_request(101, 0)).expect("it is served");
    assert_eq!(fetched(&reply), (ErrorCode::OffsetOutOfRange.code(), 0));
    assert_eq!(broker.stop(), 0);
}

/// As Kafka does since it converts nothing for old clients: those that read zstd without knowing version 10 go on.
/// The log's only epoch is 0; it knows where that ends, and nothing of one to come.
#[test]
fn an_epoch_that_the_log_does_not_know_is_an_offset_out_of_range() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let broker = start(&directory, &[]);
    let mut client = client(&broker);
    produce(&mut client, &batch(1));
    for (last_fetched_epoch, wanted) in
        [(-1, ErrorCode::None), (0, ErrorCode::None), (1, ErrorCode::OffsetOutOfRange)]
    {
        let mut request = fetch_request(0, 0);
        request.topics[0].partitions[0].last_fetched_epoch = last_fetched_epoch;
        let reply: FetchResponse<'_> =
            client.call(ApiKey::Fetch, FETCH_VERSION, &request).expect("it is served");
        let (error, bytes) = fetched(&reply);
        assert_eq!((error, bytes > 0), (wanted.code(), wanted.is_none()), "after epoch {last_fetched_epoch}");
    }
    assert_eq!(broker.stop(), 0);
}

#[test]
fn a_topic_of_zstd_is_sent_to_every_client() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let broker = start(&directory, &[("compression.type", "zstd")]);
    let mut client = client(&broker);
    produce(&mut client, &batch(10));
    for version in [4, 9, 10] {
        let reply: FetchResponse<'_> =
            client.call(ApiKey::Fetch, version, &fetch_request(0, 0)).expect("it is served");
        let (error, bytes) = fetched(&reply);
        assert!(error == 0 && bytes > 0, "version {version}: {error}, {bytes} bytes");
    }
    assert_eq!(broker.stop(), 0);
}

#[test]
fn an_incremental_fetch_leaves_out_what_did_not_change() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let broker = start(&directory, &[]);
    let mut client = client(&broker);
    let first = FetchRequest { session_epoch: 0, ..fetch_request(0, 0) };
    let reply: FetchResponse<'_> = client.call(ApiKey::Fetch, FETCH_VERSION, &first).expect("it is served");
    let session_id = reply.session_id;
    assert_ne!(session_id, 0, "there is room for a session");
    let next =
        |epoch| FetchRequest { session_id, session_epoch: epoch, topics: Vec::new(), ..fetch_request(0, 0) };
    let reply: FetchResponse<'_> = client.call(ApiKey::Fetch, FETCH_VERSION, &next(1)).expect("it is served");
    assert!(reply.responses.is_empty(), "nothing has changed");
    produce(&mut client, &batch(1));
    let reply: FetchResponse<'_> = client.call(ApiKey::Fetch, FETCH_VERSION, &next(2)).expect("it is served");
    assert!(fetched(&reply).1 > 0, "there is news");
    let reply: FetchResponse<'_> = client.call(ApiKey::Fetch, FETCH_VERSION, &next(2)).expect("it is served");
    assert_eq!(reply.error_code, ErrorCode::InvalidFetchSessionEpoch.code(), "an epoch is used once");
    assert_eq!(broker.stop(), 0);
}

#[test]
fn a_transactional_id_is_refused_for_good() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let broker = start(&directory, &[]);
    let request = InitProducerIdRequest { transactional_id: Some("x".into()), ..Default::default() };
    let reply: InitProducerIdResponse =
        client(&broker).call(ApiKey::InitProducerId, 4, &request).expect("it is served");
    assert_eq!(reply.error_code, ErrorCode::TransactionalIdAuthorizationFailed.code());
    assert_eq!(broker.stop(), 0);
}
