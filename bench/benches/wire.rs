//! What the wire costs: a Produce request, a Fetch request and its reply, and the Metadata of many topics.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ottla_wire::fetch_request::{FetchPartition, FetchRequest, FetchTopic};
use ottla_wire::fetch_response::{FetchResponse, FetchableTopicResponse, PartitionData};
use ottla_wire::metadata_response::{
    MetadataResponse, MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use ottla_wire::produce_request::{PartitionProduceData, ProduceRequest, TopicProduceData};
use ottla_wire::{Message, Reader, Records, Uuid, Writer};

const PRODUCE_VERSION: i16 = 13;
const FETCH_VERSION: i16 = 17;
const METADATA_VERSION: i16 = 13;
const BATCH_BYTES: usize = 16 * 1024;
const PARTITIONS: i32 = 6;

fn encode<'a, M: Message<'a>>(message: &M, version: i16) -> Vec<u8> {
    let size = message.size(version).expect("the version carries the message");
    let mut w = Writer::with_capacity(size);
    message.encode(&mut w, version);
    w.buf
}

/// A request with a batch for each of six partitions.
fn produce(batch: &[u8]) -> ProduceRequest<'_> {
    let partitions = (0..PARTITIONS)
        .map(|index| PartitionProduceData { index, records: Some(Records::Inline(batch.into())) });
    ProduceRequest {
        transactional_id: None,
        acks: -1,
        timeout_ms: 30_000,
        topic_data: vec![TopicProduceData {
            name: "".into(),
            topic_id: Uuid([7; 16]),
            partition_data: partitions.collect(),
        }],
    }
}

/// A request for 100 partitions, as a consumer's first of a session.
fn fetch() -> FetchRequest<'static> {
    let partitions = (0..100).map(|partition| FetchPartition {
        partition,
        fetch_offset: 1_000_000,
        partition_max_bytes: 1024 * 1024,
        ..FetchPartition::default()
    });
    let topic =
        FetchTopic { topic_id: Uuid([7; 16]), partitions: partitions.collect(), ..FetchTopic::default() };
    FetchRequest { max_wait_ms: 500, min_bytes: 1, topics: vec![topic], ..FetchRequest::default() }
}

/// A reply with a batch in each of six partitions, which are spliced in as a broker does it.
fn fetched() -> FetchResponse<'static> {
    let partitions = (0..PARTITIONS).map(|partition_index| PartitionData {
        partition_index,
        high_watermark: 1_000_000,
        records: Some(Records::Splice { bytes: BATCH_BYTES as u32 }),
        ..PartitionData::default()
    });
    let topic = FetchableTopicResponse {
        topic_id: Uuid([7; 16]),
        partitions: partitions.collect(),
        ..FetchableTopicResponse::default()
    };
    FetchResponse { responses: vec![topic], ..FetchResponse::default() }
}

/// 1,000 topics of 10 partitions on one broker.
fn metadata() -> MetadataResponse<'static> {
    let partitions = (0..10).map(|partition_index| MetadataResponsePartition {
        partition_index,
        leader_id: 1,
        leader_epoch: 3,
        replica_nodes: vec![1],
        isr_nodes: vec![1],
        ..MetadataResponsePartition::default()
    });
    let partitions: Vec<_> = partitions.collect();
    let topics = (0..1_000_u64).map(|number| MetadataResponseTopic {
        name: Some(format!("orders.of.customer.{number}").into()),
        topic_id: Uuid((u128::from(number) + 1).to_be_bytes()),
        partitions: partitions.clone(),
        ..MetadataResponseTopic::default()
    });
    MetadataResponse {
        brokers: vec![MetadataResponseBroker {
            node_id: 1,
            host: "localhost".into(),
            port: 9092,
            rack: None,
        }],
        topics: topics.collect(),
        ..MetadataResponse::default()
    }
}

fn wire(c: &mut Criterion) {
    let mut group = c.benchmark_group("wire");
    let batch = vec![b'x'; BATCH_BYTES];
    let bytes = encode(&produce(&batch), PRODUCE_VERSION);
    group.throughput(Throughput::Bytes(bytes.len() as u64));
    group.bench_function("Produce of 6 × 16 KiB, decode", |b| {
        b.iter(|| ProduceRequest::decode(&mut Reader::new(black_box(&bytes)), PRODUCE_VERSION).is_ok());
    });
    let request = produce(&batch);
    group.bench_function("Produce of 6 × 16 KiB, encode", |b| {
        b.iter(|| encode(black_box(&request), PRODUCE_VERSION));
    });
    let bytes = encode(&fetch(), FETCH_VERSION);
    group.throughput(Throughput::Elements(100));
    group.bench_function("Fetch of 100 partitions, decode", |b| {
        b.iter(|| FetchRequest::decode(&mut Reader::new(black_box(&bytes)), FETCH_VERSION).is_ok());
    });
    let reply = fetched();
    group.throughput(Throughput::Elements(PARTITIONS as u64));
    group.bench_function("Fetch reply with 6 splices, encode", |b| {
        b.iter(|| encode(black_box(&reply), FETCH_VERSION));
    });
    let reply = metadata();
    let bytes = encode(&reply, METADATA_VERSION);
    group.throughput(Throughput::Elements(10_000));
    group.bench_function("Metadata of 1,000 × 10 partitions, encode", |b| {
        b.iter(|| encode(black_box(&reply), METADATA_VERSION));
    });
    group.bench_function("Metadata of 1,000 × 10 partitions, decode", |b| {
        b.iter(|| {
            let mut r = Reader::with_memory(black_box(&bytes), usize::MAX);
            MetadataResponse::decode(&mut r, METADATA_VERSION).is_ok()
        });
    });
    let mut r = Reader::with_memory(&bytes, usize::MAX);
    assert_eq!(
        MetadataResponse::decode(&mut r, METADATA_VERSION).as_ref(),
        Ok(&reply),
        "what is measured works"
    );
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
    targets = wire
}
criterion_main!(benches);
