//! What the wire costs: a Produce request, a Fetch request and its reply.

use std::hint::black_box;

use ottla_wire::fetch_request::{FetchPartition, FetchRequest, FetchTopic};
use ottla_wire::fetch_response::{FetchResponse, FetchableTopicResponse, PartitionData};
use ottla_wire::produce_request::{PartitionProduceData, ProduceRequest, TopicProduceData};
use ottla_wire::{Message, Reader, Records, Uuid, Writer};

use crate::suite::Suite;

const PRODUCE_VERSION: i16 = 13;
const FETCH_VERSION: i16 = 17;
const BATCH_BYTES: usize = 16 * 1024;
const PARTITIONS: i32 = 6;

/// The bytes of a message.
pub fn encode<'a, M: Message<'a>>(message: &M, version: i16) -> Vec<u8> {
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

pub fn measure(suite: &mut Suite) {
    let batch = vec![b'x'; BATCH_BYTES];
    let bytes = encode(&produce(&batch), PRODUCE_VERSION);
    suite.time("Produce of 6 × 16 KiB, decode", || {
        ProduceRequest::decode(&mut Reader::new(black_box(&bytes)), PRODUCE_VERSION).is_ok()
    });
    let bytes = encode(&fetch(), FETCH_VERSION);
    suite.time("Fetch of 100 partitions, decode", || {
        FetchRequest::decode(&mut Reader::new(black_box(&bytes)), FETCH_VERSION).is_ok()
    });
    let reply = fetched();
    suite.time("Fetch reply with 6 splices, encode", || encode(black_box(&reply), FETCH_VERSION));
}
