//! What a builder writes is what the readers read, for every codec and every kind of batch.

use proptest::prelude::*;

use super::*;
use crate::protocol::compression::decompress;
use crate::protocol::records::{Batch, BatchIter, RecordError, RecordIter, crc_is_valid};

type OwnedHeader = (Vec<u8>, Option<Vec<u8>>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Owned {
    timestamp: i64,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<OwnedHeader>,
}

fn records() -> impl Strategy<Value = Vec<Owned>> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..200);
    let headers = prop::collection::vec((bytes(), prop::option::of(bytes())), 0..4);
    let record = (any::<i64>(), prop::option::of(bytes()), prop::option::of(bytes()), headers)
        .prop_map(|(timestamp, key, value, headers)| Owned { timestamp, key, value, headers });
    prop::collection::vec(record, 1..40)
}

fn append(builder: &mut BatchBuilder, record: &Owned) {
    let headers: Vec<RecordHeader<'_>> =
        record.headers.iter().map(|(key, value)| RecordHeader { key, value: value.as_deref() }).collect();
    builder.append(&NewRecord {
        timestamp: TimestampMs(record.timestamp),
        key: record.key.as_deref(),
        value: record.value.as_deref(),
        headers: &headers,
    });
}

fn payload_of(batch: &Batch<'_>) -> Vec<u8> {
    let codec = batch.header.attributes.compression().expect("a codec");
    decompress(codec, batch.payload(), 1 << 26).expect("what was compressed")
}

fn owned(header: &BatchHeader, record: &Record<'_>) -> Owned {
    let headers = record.headers.iter().map(|header| {
        let header = header.expect("a whole header");
        (header.key.to_vec(), header.value.map(<[u8]>::to_vec))
    });
    Owned {
        timestamp: record.timestamp(header).0,
        key: record.key.map(<[u8]>::to_vec),
        value: record.value.map(<[u8]>::to_vec),
        headers: headers.collect(),
    }
}

fn read_back(bytes: &[u8]) -> (BatchHeader, Vec<Owned>) {
    let batch = BatchIter::new(bytes).next().expect("a batch").expect("a whole one");
    assert_eq!(batch.bytes.len(), bytes.len());
    assert!(crc_is_valid(bytes));
    let payload = payload_of(&batch);
    let mut all = Vec::new();
    for (index, record) in RecordIter::new(&payload, batch.header.record_count).enumerate() {
        let record = record.expect("a whole record");
        assert_eq!(record.headers.check(), Ok(()));
        assert_eq!(record.offset_delta, i32::try_from(index).expect("few records"));
        all.push(owned(&batch.header, &record));
    }
    (batch.header, all)
}

proptest! {
    #[test]
    fn every_batch_reads_back(records in records(), codec in 0_u8..5, offset in 0..i64::MAX / 2) {
        let codec = Codec::from_id(codec).expect("a codec");
        let mut builder = BatchBuilder::new()
            .compression(codec, None)
            .base_offset(Offset(offset))
            .leader_epoch(LeaderEpoch(3))
            .producer(ProducerId(77), ProducerEpoch(5), 9)
            .transactional();
        for record in &records {
            append(&mut builder, record);
        }
        let batch = builder.build();
        let (header, read) = read_back(&batch);
        prop_assert_eq!(&read, &records);
        prop_assert_eq!(header.attributes.compression(), Some(codec));
        prop_assert!(header.attributes.is_transactional() && !header.attributes.is_control());
        let count = i64::try_from(records.len()).expect("few records");
        prop_assert_eq!(header.next_offset(), Offset(offset + count));
        prop_assert_eq!(Some(header.max_timestamp.0), records.iter().map(|record| record.timestamp).max());
        prop_assert_eq!(header.base_timestamp.0, records[0].timestamp);
        prop_assert_eq!((header.producer_id, header.producer_epoch), (ProducerId(77), ProducerEpoch(5)));
        prop_assert_eq!(i64::from(header.last_sequence()), 9 + count - 1);
        if codec == Codec::None {
            prop_assert_eq!(builder.uncompressed_bytes(), batch.len());
        }
    }

    #[test]
    fn copied_records_are_the_same_records(records in records()) {
        let mut builder = BatchBuilder::new().base_offset(Offset(50));
        records.iter().for_each(|record| append(&mut builder, record));
        let source = builder.build();
        let batch = BatchIter::new(&source).next().expect("a batch").expect("a whole one");
        let mut copy = BatchBuilder::like(&batch.header);
        let mut kept = Vec::new();
        for record in RecordIter::new(batch.payload(), batch.header.record_count).step_by(2) {
            let record = record.expect("a whole record");
            copy.append_copy(record.offset_delta, record.timestamp(&batch.header), &record);
            kept.push((record.offset_delta, owned(&batch.header, &record)));
        }
        let target = copy.build();
        prop_assert!(crc_is_valid(&target));
        let copied = BatchIter::new(&target).next().expect("a batch").expect("a whole one");
        prop_assert_eq!(copied.header.last_offset(), batch.header.last_offset());
        let read: Vec<_> = RecordIter::new(copied.payload(), copied.header.record_count)
            .map(|record| record.expect("a whole record"))
            .map(|record| (record.offset_delta, owned(&copied.header, &record)))
            .collect();
        prop_assert_eq!(read, kept);
    }

    #[test]
    fn no_bytes_make_the_walk_panic(bytes in prop::collection::vec(any::<u8>(), 0..400), count in -2..50) {
        for record in RecordIter::new(&bytes, count).flatten() {
            let _ = record.headers.check();
            prop_assert!(record.headers.iter().count() <= bytes.len());
        }
        prop_assert!(BatchIter::new(&bytes).count() <= 7);
    }
}

#[test]
fn several_batches_are_walked_and_the_torn_one_reported() {
    let mut builder = BatchBuilder::new();
    builder.append(&NewRecord { value: Some(b"one"), ..NewRecord::default() });
    let one = builder.build();
    let two = builder.base_offset(Offset(1)).build();
    let mut log = [&one[..], &two[..], &two[..70]].concat();
    let mut walk = BatchIter::new(&log);
    assert_eq!(walk.next().expect("one").expect("whole").header.base_offset, Offset(0));
    let second = walk.next().expect("two").expect("whole");
    assert_eq!((second.header.base_offset, second.position), (Offset(1), one.len()));
    let torn = walk.next().expect("the tail").expect_err("torn");
    assert_eq!(torn, crate::protocol::records::BatchError::Partial { have: 70, need: two.len() });
    assert!(walk.next().is_none());
    assert_eq!((walk.position(), walk.rest().len()), (one.len() + two.len(), 70));
    log.truncate(one.len());
    log.resize(8_192, 0);
    let mut walk = BatchIter::new(&log);
    assert!(walk.next().expect("one").is_ok());
    assert!(walk.next().expect("zeroes").is_err());
    assert!(walk.next().is_none());
}

#[test]
fn an_emptied_batch_keeps_its_place_and_its_producer() {
    let mut builder = BatchBuilder::new()
        .base_offset(Offset(10))
        .producer(ProducerId(1), ProducerEpoch(2), 3)
        .compression(Codec::Zstd, Some(1))
        .delete_horizon(TimestampMs(900));
    builder.append(&NewRecord { timestamp: TimestampMs(500), ..NewRecord::default() });
    builder.append(&NewRecord { timestamp: TimestampMs(400), ..NewRecord::default() });
    let full = BatchHeader::parse(&builder.build()).expect("a header");
    assert_eq!(full.delete_horizon(), Some(TimestampMs(900)));
    let emptied = BatchBuilder::like(&full).build();
    assert_eq!(emptied.len(), BATCH_HEADER_BYTES);
    let header = BatchHeader::parse(&emptied).expect("a header");
    assert!(crc_is_valid(&emptied));
    assert_eq!((header.base_offset, header.last_offset()), (Offset(10), Offset(11)));
    assert_eq!((header.record_count, header.last_sequence()), (0, 4));
    assert_eq!((header.max_timestamp, header.base_timestamp), (TimestampMs(500), TimestampMs(-1)));
    assert_eq!((header.delete_horizon(), header.attributes.compression()), (None, Some(Codec::None)));
}

#[test]
fn a_marker_reads_back() {
    for committed in [true, false] {
        let marker = EndTransactionMarker { committed, coordinator_epoch: 0x0102_0304 };
        let mut builder =
            BatchBuilder::new().producer(ProducerId(8), ProducerEpoch(1), -1).transactional().control();
        let batch = builder.append_marker(TimestampMs(5), &marker).build();
        let header = BatchHeader::parse(&batch).expect("a header");
        assert!(header.attributes.is_control() && header.attributes.is_transactional());
        assert_eq!(header.last_sequence(), -1);
        let record = RecordIter::new(&batch[61..], 1).next().expect("a record").expect("whole");
        assert_eq!(EndTransactionMarker::from_record(&record), Some(marker));
        assert_eq!(record.key, Some(&[0, 0, 0, u8::from(committed)][..]));
        assert_eq!(record.value, Some(&[0, 0, 1, 2, 3, 4][..]));
    }
}

#[test]
fn append_time_is_every_records_time() {
    let mut builder = BatchBuilder::new().log_append_time(TimestampMs(1_000));
    builder.append(&NewRecord { timestamp: TimestampMs(7), ..NewRecord::default() });
    let (header, records) = read_back(&builder.build());
    assert_eq!(header.attributes.timestamp_type(), TimestampType::LogAppendTime);
    assert_eq!((header.max_timestamp, records[0].timestamp), (TimestampMs(1_000), 1_000));
}

#[test]
fn what_a_record_claims_must_be_there() {
    let walk = |bytes: &[u8], count| RecordIter::new(bytes, count).last().map(|last| last.err());
    // length 6, attributes, timestamp 0, offset 0, key null, value null, no headers
    let good = [12, 0, 0, 0, 1, 1, 0];
    assert_eq!(walk(&good, 1), Some(None));
    assert_eq!(walk(&good, 2), Some(Some(RecordError::End)));
    assert_eq!(walk(&good, 0), Some(Some(RecordError::PayloadTail(7))));
    assert_eq!(walk(&[], 0), None);
    assert_eq!(walk(&[1, 0], 1), Some(Some(RecordError::Length(-1))));
    assert_eq!(walk(&[12, 0, 0, 0, 1, 1, 1], 1), Some(Some(RecordError::HeaderCount(-1))));
    assert_eq!(walk(&[12, 0, 0, 0, 1, 1, 2], 1), Some(Some(RecordError::HeaderCount(1))));
    let headers = |bytes: &[u8]| RecordIter::new(bytes, 1).next().expect("one").expect("ok").headers.check();
    assert_eq!(headers(&[14, 0, 0, 0, 1, 1, 0, 9]), Err(RecordError::RecordTail(1)));
    assert_eq!(headers(&[14, 0, 0, 0, 1, 1, 2, 1]), Err(RecordError::HeaderKey));
    assert_eq!(headers(&[16, 0, 0, 0, 1, 1, 2, 0, 1]), Ok(()));
    assert_eq!(headers(&[16, 0, 0, 0, 1, 1, 2, 0, 2]), Err(RecordError::End));
}
