//! Batches that real clients wrote and a real broker stored, byte for byte.
//!
//! The hexadecimal files are segments of an Apache Kafka 4.3.1 broker: `java-*` were sent by its console producer
//! (idempotent), `rdkafka-*` by librdkafka 2.16, each with the same five records, and `transactions` holds a
//! committed and an aborted transaction of one record each.

use super::*;
use crate::ids::{Offset, ProducerId, TimestampMs};
use crate::protocol::compression::{Codec, Decompressor, decompress};

/// The bytes of a fixture.
macro_rules! fixture {
    ($name:literal) => {
        bytes_of(include_str!(concat!("fixtures/", $name, ".hex")))
    };
}

fn bytes_of(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    let pair = |pair: &[u8]| std::str::from_utf8(pair).expect("ASCII").to_owned();
    digits.chunks(2).map(|p| u8::from_str_radix(&pair(p), 16).expect("hexadecimal")).collect()
}

/// Every batch of the five records, with its codec.
pub(super) fn five_records() -> Vec<(&'static str, Codec, Vec<u8>)> {
    vec![
        ("java-none", Codec::None, fixture!("java-none")),
        ("java-gzip", Codec::Gzip, fixture!("java-gzip")),
        ("java-snappy", Codec::Snappy, fixture!("java-snappy")),
        ("java-lz4", Codec::Lz4, fixture!("java-lz4")),
        ("java-zstd", Codec::Zstd, fixture!("java-zstd")),
        ("rdkafka-none", Codec::None, fixture!("rdkafka-none")),
        ("rdkafka-gzip", Codec::Gzip, fixture!("rdkafka-gzip")),
        ("rdkafka-snappy", Codec::Snappy, fixture!("rdkafka-snappy")),
        ("rdkafka-lz4", Codec::Lz4, fixture!("rdkafka-lz4")),
        ("rdkafka-zstd", Codec::Zstd, fixture!("rdkafka-zstd")),
    ]
}

type Row = (Option<&'static str>, Option<String>, Vec<(&'static str, &'static str)>);

/// The records as they were given to the producers: key, value, headers.
fn expected() -> Vec<Row> {
    vec![
        (Some("key-0"), Some(format!("value-0 {}", "abc ".repeat(40))), vec![("a", "1"), ("b", "two")]),
        (Some("key-1"), Some(format!("value-1 {}", "abc ".repeat(40))), vec![("x", "")]),
        (None, Some("value-2".to_owned()), vec![]),
        (Some("key-3"), None, vec![]),
        (Some("key-4"), Some(format!("ünïcode {}", "xyz ".repeat(30))), vec![("z", "ü")]),
    ]
}

#[test]
fn batches_of_java_and_librdkafka_are_read() {
    for (name, codec, bytes) in five_records() {
        let header = BatchHeader::parse(&bytes).expect(name);
        assert_eq!(header.batch_bytes, bytes.len(), "{name}");
        assert!(crc_is_valid(&bytes), "{name}");
        assert_eq!(header.attributes.compression(), Some(codec), "{name}");
        assert_eq!((header.base_offset, header.next_offset()), (Offset(0), Offset(5)), "{name}");
        assert_eq!(header.has_producer_id(), name.starts_with("java"), "{name}");
        let payload = decompress(codec, &bytes[61..], 10_000).expect(name);
        let mut latest = TimestampMs::NONE;
        let mut records = RecordIter::new(&payload, header.record_count);
        for (key, value, headers) in expected() {
            let record = records.next().expect(name).expect(name);
            assert_eq!(record.headers.check(), Ok(()), "{name}");
            assert_eq!(record.key, key.map(str::as_bytes), "{name}");
            assert_eq!(record.value, value.as_deref().map(str::as_bytes), "{name}");
            let read: Vec<_> = record.headers.iter().map(|header| header.expect(name)).collect();
            let given: Vec<_> = headers
                .iter()
                .map(|(key, value)| RecordHeader { key: key.as_bytes(), value: Some(value.as_bytes()) })
                .collect();
            assert_eq!(read, given, "{name}");
            latest = latest.max(record.timestamp(&header));
        }
        assert!(records.next().is_none(), "{name}");
        assert_eq!(latest, header.max_timestamp, "{name}");
    }
}

#[test]
fn the_builder_writes_what_librdkafka_writes() {
    let theirs = fixture!("rdkafka-none");
    let header = BatchHeader::parse(&theirs).expect("a header");
    let mut builder = BatchBuilder::new().leader_epoch(header.partition_leader_epoch);
    for (index, (key, value, headers)) in (0..).zip(expected()) {
        let headers: Vec<_> = headers
            .iter()
            .map(|(key, value)| RecordHeader { key: key.as_bytes(), value: Some(value.as_bytes()) })
            .collect();
        builder.append(&NewRecord {
            timestamp: TimestampMs(header.base_timestamp.0 + index),
            key: key.map(str::as_bytes),
            value: value.as_deref().map(str::as_bytes),
            headers: &headers,
        });
    }
    assert_eq!(builder.build(), theirs);
}

#[test]
fn markers_of_a_real_coordinator_are_read() {
    let segment = fixture!("transactions");
    let batches: Vec<_> = BatchIter::new(&segment).map(|batch| batch.expect("whole")).collect();
    assert_eq!(batches.len(), 4);
    for (batch, control) in batches.iter().zip([false, true, false, true]) {
        assert!(crc_is_valid(batch.bytes));
        assert!(batch.header.attributes.is_transactional());
        assert_eq!(batch.header.attributes.is_control(), control);
        assert!(batch.header.producer_id > ProducerId(0));
        assert_eq!(batch.header.base_sequence < 0, control);
    }
    for (batch, committed) in [(&batches[1], true), (&batches[3], false)] {
        let record = RecordIter::new(batch.payload(), 1).next().expect("one").expect("whole");
        let marker = EndTransactionMarker { committed, coordinator_epoch: 0 };
        assert_eq!(EndTransactionMarker::from_record(&record), Some(marker));
        let header = &batch.header;
        let mut ours = BatchBuilder::new()
            .base_offset(header.base_offset)
            .leader_epoch(header.partition_leader_epoch)
            .producer(header.producer_id, header.producer_epoch, -1)
            .transactional()
            .control();
        assert_eq!(ours.append_marker(header.max_timestamp, &marker).build(), batch.bytes);
    }
}

#[test]
fn real_batches_pass_validation_untouched() {
    for (name, _, bytes) in five_records() {
        let header = BatchHeader::parse(&bytes).expect(name);
        let policy = validate::tests::policy(header.max_timestamp);
        let validated = validate(&policy, &bytes, &mut Decompressor::new()).expect(name);
        assert_eq!(validated.rewritten, None, "{name}");
        assert_eq!(validated.max_timestamp, header.max_timestamp, "{name}");
        let mut applied = bytes.clone();
        validated.apply(&mut applied);
        assert_eq!(applied, bytes, "{name}");
    }
}
