//! Records with keys: producing them, and reading what compaction has left of them.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use ottla::ids::TimestampMs;
use ottla::protocol::compression::{Codec, decompress};
use ottla::protocol::records::builder::{BatchBuilder, NewRecord};
use ottla::protocol::records::record::RecordIter;
use ottla::protocol::records::{BatchHeader, crc_is_valid};
use ottla_tools::client::Client;
use ottla_wire::fetch_request::{FetchPartition, FetchRequest, FetchTopic};
use ottla_wire::fetch_response::FetchResponse;
use ottla_wire::produce_request::{PartitionProduceData, ProduceRequest, TopicProduceData};
use ottla_wire::produce_response::ProduceResponse;
use ottla_wire::{ApiKey, Records};

use crate::reader::offset_of;

/// The version of Produce that names topics by name.
const PRODUCE_VERSION: i16 = 11;
/// The version of Fetch that names topics by name.
const FETCH_VERSION: i16 = 12;

/// Key and value of a record.
pub type KeyAndValue = (Option<Vec<u8>>, Option<Vec<u8>>);

/// A record that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keyed {
    /// Its offset.
    pub offset: i64,
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its value; `None` for a tombstone.
    pub value: Option<Vec<u8>>,
}

/// Produces one batch to partition 0; returns the error code, the numbers of the records at fault, and the offset of
/// the first record.
///
/// # Panics
/// When the broker does not answer.
pub fn produce(
    client: &mut Client,
    topic: &str,
    timestamp: i64,
    codec: Codec,
    records: &[KeyAndValue],
) -> (i16, Vec<i32>, i64) {
    let mut batch = BatchBuilder::new().compression(codec, None);
    for (key, value) in records {
        let (key, value) = (key.as_deref(), value.as_deref());
        batch.append(&NewRecord { timestamp: TimestampMs(timestamp), key, value, headers: &[] });
    }
    let bytes = batch.build();
    let data = PartitionProduceData { index: 0, records: Some(Records::Inline(bytes.as_slice().into())) };
    let topic = TopicProduceData { name: topic.into(), partition_data: vec![data], ..Default::default() };
    let request =
        ProduceRequest { acks: -1, timeout_ms: 30_000, topic_data: vec![topic], ..Default::default() };
    let reply: ProduceResponse<'_> =
        client.call(ApiKey::Produce, PRODUCE_VERSION, &request).expect("the broker answers");
    let partition = &reply.responses[0].partition_responses[0];
    let at_fault = partition.record_errors.iter().map(|error| error.batch_index).collect();
    (partition.error_code, at_fault, partition.base_offset)
}

/// Every record of a partition from the log start to the high watermark, whatever gaps there are.
///
/// # Panics
/// When a CRC is wrong, offsets go back or the broker refuses.
#[must_use]
pub fn read_keyed(address: SocketAddr, topic: &str, partition: i32) -> Vec<Keyed> {
    let mut client = Client::connect(address, "keyed").expect("the broker listens");
    let end = offset_of(&mut client, topic, partition, -1);
    let mut next = offset_of(&mut client, topic, partition, -2);
    let mut records = Vec::new();
    while next < end {
        let asked = FetchPartition {
            partition,
            fetch_offset: next,
            partition_max_bytes: 1 << 20,
            ..Default::default()
        };
        let topics = vec![FetchTopic { topic: topic.into(), partitions: vec![asked], ..Default::default() }];
        let request = FetchRequest {
            max_wait_ms: 1_000,
            min_bytes: 1,
            max_bytes: 8 << 20,
            session_epoch: -1,
            topics,
            ..Default::default()
        };
        let reply: FetchResponse<'_> =
            client.call(ApiKey::Fetch, FETCH_VERSION, &request).expect("the broker answers");
        let data = &reply.responses[0].partitions[0];
        assert_eq!(data.error_code, 0, "Fetch of {topic}-{partition} at {next}");
        let Some(Records::Inline(bytes)) = &data.records else { panic!("records are inline") };
        let before = next;
        next = take(bytes, next, &mut records);
        assert!(next > before, "{topic}-{partition}: nothing at {next} below the end {end}");
    }
    records
}

fn take(mut bytes: &[u8], mut next: i64, records: &mut Vec<Keyed>) -> i64 {
    while let Ok(header) = BatchHeader::parse(bytes)
        && header.batch_bytes <= bytes.len()
    {
        let (batch, rest) = bytes.split_at(header.batch_bytes);
        assert!(crc_is_valid(batch), "the CRC of the batch at {}", header.base_offset);
        let payload = &batch[ottla::limits::BATCH_HEADER_BYTES..];
        let payload = match header.attributes.compression().expect("a known codec") {
            Codec::None => payload.to_vec(),
            codec => decompress(codec, payload, 256 << 20).expect("the batch decompresses"),
        };
        for record in RecordIter::new(&payload, header.record_count) {
            let record = record.expect("the record is whole");
            let offset = header.base_offset.0 + i64::from(record.offset_delta);
            if offset < next {
                continue;
            }
            let (key, value) = (record.key.map(<[u8]>::to_vec), record.value.map(<[u8]>::to_vec));
            records.push(Keyed { offset, key, value });
        }
        next = next.max(header.next_offset().0);
        bytes = rest;
    }
    next
}

/// Asks until the answer is one, for as long as a loaded machine may need.
///
/// # Panics
/// When it never is; the message carries `what` was waited for.
pub fn wait_for<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(120);
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
