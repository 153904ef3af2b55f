//! A reader of whole partitions, from the log start to the high watermark, that checks what it reads.

use std::net::SocketAddr;
use std::ops::Range;

use ottla::protocol::compression::{Codec, decompress};
use ottla::protocol::records::record::{Record, RecordIter};
use ottla::protocol::records::{BatchHeader, crc_is_valid};
use ottla_tools::client::Client;
use ottla_wire::fetch_request::{FetchPartition, FetchRequest, FetchTopic};
use ottla_wire::fetch_response::FetchResponse;
use ottla_wire::list_offsets_request::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};
use ottla_wire::list_offsets_response::ListOffsetsResponse;
use ottla_wire::{ApiKey, Records};

/// The version of Fetch that names topics by name.
const FETCH_VERSION: i16 = 12;
/// The version of ListOffsets used here.
const LIST_OFFSETS_VERSION: i16 = 5;

/// The first version of ListOffsets that finds the largest timestamp.
const LARGEST_TIMESTAMP_VERSION: i16 = 7;

/// The first or last offset of a partition (`timestamp` -2 or -1).
///
/// # Panics
/// When the broker refuses to tell.
#[must_use]
pub fn offset_of(client: &mut Client, topic: &str, partition: i32, timestamp: i64) -> i64 {
    let asked = ListOffsetsPartition { partition_index: partition, timestamp, ..Default::default() };
    let topics = vec![ListOffsetsTopic { name: topic.into(), partitions: vec![asked] }];
    let request = ListOffsetsRequest { replica_id: -1, topics, ..Default::default() };
    let reply: ListOffsetsResponse<'_> =
        client.call(ApiKey::ListOffsets, LIST_OFFSETS_VERSION, &request).expect("the broker answers");
    let found = &reply.topics[0].partitions[0];
    assert_eq!(found.error_code, 0, "ListOffsets of {topic}-{partition}");
    found.offset
}

/// The largest timestamp of a partition and the offset of the first record that has it (KIP-734); -1 for both where no
/// record has a timestamp.
///
/// # Panics
/// When the broker refuses to tell.
#[must_use]
pub fn largest_timestamp(client: &mut Client, topic: &str, partition: i32) -> (i64, i64) {
    let asked = ListOffsetsPartition { partition_index: partition, timestamp: -3, ..Default::default() };
    let topics = vec![ListOffsetsTopic { name: topic.into(), partitions: vec![asked] }];
    let request = ListOffsetsRequest { replica_id: -1, topics, ..Default::default() };
    let reply: ListOffsetsResponse<'_> =
        client.call(ApiKey::ListOffsets, LARGEST_TIMESTAMP_VERSION, &request).expect("the broker answers");
    let found = &reply.topics[0].partitions[0];
    assert_eq!(found.error_code, 0, "ListOffsets of {topic}-{partition}");
    (found.timestamp, found.offset)
}

/// Every record of a partition: its offset and its value, in order.
///
/// # Panics
/// When an offset is missing, a CRC is wrong or the broker refuses.
#[must_use]
pub fn read_partition(address: SocketAddr, topic: &str, partition: i32) -> Vec<(i64, Vec<u8>)> {
    let mut values = Vec::new();
    let offsets = for_each_record(address, (topic, partition), |offset, record| {
        values.push((offset, record.value.unwrap_or_default().to_vec()));
    });
    // Somebody may still be producing.
    let next = values.last().map_or(offsets.end, |(offset, _)| offsets.end.max(offset + 1));
    assert!(values.iter().map(|(offset, _)| *offset).eq(offsets.start..next), "offsets have no gap");
    values
}

/// Hands over every record of a partition from the log start to the high watermark with its offset, in order, whatever
/// gaps there are. Returns the offsets from the one to the other.
///
/// # Panics
/// When a CRC is wrong, nothing comes below the high watermark or the broker refuses.
pub(crate) fn for_each_record(
    address: SocketAddr,
    (topic, partition): (&str, i32),
    mut take: impl FnMut(i64, &Record<'_>),
) -> Range<i64> {
    let mut client = Client::connect(address, "reader").expect("the broker listens");
    let end = offset_of(&mut client, topic, partition, -1);
    let start = offset_of(&mut client, topic, partition, -2);
    let mut next = start;
    while next < end {
        let bytes = fetch(&mut client, (topic, partition), next);
        let before = next;
        next = take_batches(&bytes, next, &mut take);
        assert!(next > before, "{topic}-{partition}: nothing at {next} below the end {end}");
    }
    start..end
}

/// What one Fetch has of a partition from `offset` on.
fn fetch(client: &mut Client, (topic, partition): (&str, i32), offset: i64) -> Vec<u8> {
    let asked = FetchPartition {
        partition,
        fetch_offset: offset,
        partition_max_bytes: 4 << 20,
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
    assert_eq!(data.error_code, 0, "Fetch of {topic}-{partition} at {offset}");
    let Some(Records::Inline(bytes)) = &data.records else { panic!("records are inline") };
    bytes.to_vec()
}

/// Takes the records of whole batches at or after `next` and returns the offset after the last batch.
fn take_batches(mut bytes: &[u8], mut next: i64, take: &mut impl FnMut(i64, &Record<'_>)) -> i64 {
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
            if offset >= next {
                take(offset, &record);
            }
        }
        next = next.max(header.next_offset().0);
        bytes = rest;
    }
    next
}
