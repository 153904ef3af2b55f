//! Load over very many partitions: several of them in each request, each record saying where it belongs.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::Range;
use std::time::{Duration, Instant};

use ottla::errors::ErrorCode;
use ottla::ids::TimestampMs;
use ottla::protocol::records::BatchHeader;
use ottla::protocol::records::builder::{BatchBuilder, NewRecord};
use ottla::protocol::records::record::RecordIter;
use ottla_tools::client::Client;
use ottla_wire::fetch_request::{FetchPartition, FetchRequest, FetchTopic};
use ottla_wire::fetch_response::FetchResponse;
use ottla_wire::metadata_request::{MetadataRequest, MetadataRequestTopic};
use ottla_wire::metadata_response::MetadataResponse;
use ottla_wire::produce_request::{PartitionProduceData, ProduceRequest, TopicProduceData};
use ottla_wire::produce_response::ProduceResponse;
use ottla_wire::{ApiKey, Records};

/// Partitions of one request.
const PARTITIONS_PER_REQUEST: usize = 250;
/// How long one request may take where descriptors are scarce.
const PATIENCE: Duration = Duration::from_secs(120);

/// What stands in a record: its partition and the round that wrote it.
fn value_of(partition: i32, round: i64) -> String {
    format!("partition {partition} round {round}")
}

fn client(address: SocketAddr) -> Client {
    let client = Client::connect(address, "scale").expect("the broker listens");
    client.set_timeout(Some(PATIENCE)).expect("a socket takes a timeout");
    client
}

fn requests(partitions: Range<i32>) -> impl Iterator<Item = Range<i32>> {
    let end = partitions.end;
    let step = i32::try_from(PARTITIONS_PER_REQUEST).expect("few");
    partitions.step_by(PARTITIONS_PER_REQUEST).map(move |first| first..end.min(first + step))
}

/// Appends one record to every partition, acknowledged by acks=all.
pub fn produce_round(address: SocketAddr, topic: &str, partitions: Range<i32>, round: i64) {
    let mut client = client(address);
    for some in requests(partitions) {
        let partition_data = some.map(|index| {
            let mut batch = BatchBuilder::new();
            let value = value_of(index, round);
            let timestamp = TimestampMs(1_700_000_000_000 + round);
            batch.append(&NewRecord { timestamp, key: None, value: Some(value.as_bytes()), headers: &[] });
            PartitionProduceData { index, records: Some(Records::Inline(batch.build().into())) }
        });
        let topic = TopicProduceData {
            name: topic.into(),
            partition_data: partition_data.collect(),
            ..Default::default()
        };
        let request =
            ProduceRequest { acks: -1, timeout_ms: 110_000, topic_data: vec![topic], ..Default::default() };
        let reply: ProduceResponse<'_> =
            client.call(ApiKey::Produce, 9, &request).expect("the broker answers");
        for partition in &reply.responses[0].partition_responses {
            let error = ErrorCode::from_code(partition.error_code).expect("a known code");
            assert_eq!(error, ErrorCode::None, "partition {}", partition.index);
            assert_eq!(partition.base_offset, round, "partition {}", partition.index);
        }
    }
}

/// Reads every partition from its start and checks that it holds exactly the records of the rounds before `rounds`.
pub fn check_rounds(address: SocketAddr, topic: &str, partitions: Range<i32>, rounds: i64) {
    let mut client = client(address);
    for some in requests(partitions) {
        let mut next: BTreeMap<i32, i64> = some.map(|partition| (partition, 0)).collect();
        while !next.is_empty() {
            let wanted = next.iter().map(|(&partition, &fetch_offset)| FetchPartition {
                partition,
                fetch_offset,
                partition_max_bytes: 1 << 20,
                ..Default::default()
            });
            let topics =
                vec![FetchTopic { topic: topic.into(), partitions: wanted.collect(), ..Default::default() }];
            let request = FetchRequest {
                max_wait_ms: 1000,
                min_bytes: 1,
                max_bytes: 50 << 20,
                session_epoch: -1,
                topics,
                ..Default::default()
            };
            let reply: FetchResponse<'_> =
                client.call(ApiKey::Fetch, 12, &request).expect("the broker answers");
            take_rounds(&reply, &mut next);
            next.retain(|_, round| *round < rounds);
        }
    }
}

/// Moves the next round of each partition on by what a reply holds of it.
fn take_rounds(reply: &FetchResponse<'_>, next: &mut BTreeMap<i32, i64>) {
    for data in &reply.responses[0].partitions {
        let partition = data.partition_index;
        let error = ErrorCode::from_code(data.error_code).expect("a known code");
        assert_eq!(error, ErrorCode::None, "partition {partition}");
        let round = next.get_mut(&partition).expect("only what was asked for is answered");
        let Some(Records::Inline(records)) = &data.records else { panic!("records are inline") };
        let mut bytes: &[u8] = records;
        while let Ok(header) = BatchHeader::parse(bytes) {
            if header.batch_bytes > bytes.len() {
                break;
            }
            let (batch, rest) = bytes.split_at(header.batch_bytes);
            let payload = &batch[ottla::limits::BATCH_HEADER_BYTES..];
            for record in RecordIter::new(payload, header.record_count) {
                let value = record.expect("the record is whole").value.unwrap_or_default();
                assert_eq!(value, value_of(partition, *round).as_bytes());
                *round += 1;
            }
            bytes = rest;
        }
    }
}

/// Waits until every partition of the topic has its leader.
pub fn wait_for_leaders(address: SocketAddr, topic: &str, partitions: usize) {
    let mut client = client(address);
    let deadline = Instant::now() + PATIENCE;
    loop {
        let asked = MetadataRequestTopic { name: Some(topic.into()), ..Default::default() };
        let request = MetadataRequest { topics: Some(vec![asked]), ..Default::default() };
        let reply: MetadataResponse<'_> =
            client.call(ApiKey::Metadata, 9, &request).expect("the broker answers");
        let found = &reply.topics[0];
        let led = found.partitions.iter().filter(|partition| partition.error_code == 0).count();
        if found.error_code == 0 && led == partitions {
            return;
        }
        assert!(Instant::now() < deadline, "{led} of {partitions} partitions have a leader");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Appends a record of two blocks to every partition.
pub fn produce_large(address: SocketAddr, topic: &str, partitions: Range<i32>) {
    let mut client = client(address);
    let mut batch = BatchBuilder::new();
    let timestamp = TimestampMs(1_700_000_000_000);
    batch.append(&NewRecord { timestamp, key: None, value: Some(&[7; 8 << 10]), headers: &[] });
    let batch = batch.build();
    for some in requests(partitions) {
        let data =
            |index| PartitionProduceData { index, records: Some(Records::Inline((&batch[..]).into())) };
        let topic = TopicProduceData {
            name: topic.into(),
            partition_data: some.map(data).collect(),
            ..Default::default()
        };
        let request =
            ProduceRequest { acks: -1, timeout_ms: 100_000, topic_data: vec![topic], ..Default::default() };
        let reply: ProduceResponse<'_> =
            client.call(ApiKey::Produce, 9, &request).expect("the broker answers");
        assert!(reply.responses[0].partition_responses.iter().all(|partition| partition.error_code == 0));
    }
}

/// Asks for every partition in one request; returns how many have records in the answer.
pub fn fetch_all_at_once(address: SocketAddr, topic: &str, partitions: Range<i32>) -> usize {
    let wanted = |partition| FetchPartition { partition, partition_max_bytes: 1 << 20, ..Default::default() };
    let topic = FetchTopic {
        topic: topic.into(),
        partitions: partitions.map(wanted).collect(),
        ..Default::default()
    };
    let request = FetchRequest {
        min_bytes: 1,
        max_bytes: 50 << 20,
        session_epoch: -1,
        topics: vec![topic],
        ..Default::default()
    };
    let mut client = client(address);
    let reply: FetchResponse<'_> = client.call(ApiKey::Fetch, 12, &request).expect("the broker answers");
    let partitions = &reply.responses[0].partitions;
    assert!(partitions.iter().all(|partition| partition.error_code == 0));
    let has_records = |records: &Option<Records<'_>>| match records {
        Some(Records::Inline(bytes)) => !bytes.is_empty(),
        _ => false,
    };
    partitions.iter().filter(|partition| has_records(&partition.records)).count()
}
