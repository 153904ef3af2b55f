//! Every row of what a produced batch may not be, with the error that Kafka 4.3 was seen to answer.

use proptest::prelude::*;

use super::*;
use crate::ids::{ProducerEpoch, ProducerId};
use crate::protocol::compression::decompress;
use crate::protocol::records::{BatchBuilder, NewRecord, RecordHeader, at};

const NOW: TimestampMs = TimestampMs(1_700_000_000_000);

/// Kafka's defaults for a topic, with zstd allowed.
pub(in crate::protocol::records) fn policy(now: TimestampMs) -> ValidationPolicy {
    ValidationPolicy {
        compacted: false,
        timestamp_type: TimestampType::CreateTime,
        before_max_ms: i64::MAX,
        after_max_ms: 3_600_000,
        max_message_bytes: 1_048_588,
        compression: None,
        now,
        zstd_allowed: true,
    }
}

fn check(policy: &ValidationPolicy, batch: &[u8]) -> Result<Validated, InvalidBatch> {
    validate(policy, batch, &mut Decompressor::new())
}

fn refused(policy: &ValidationPolicy, batch: &[u8]) -> ErrorCode {
    check(policy, batch).expect_err("this batch is refused").error
}

fn record(timestamp: TimestampMs) -> NewRecord<'static> {
    NewRecord { timestamp, key: Some(b"k"), value: Some(b"v"), headers: &[] }
}

fn three(codec: Codec) -> BatchBuilder {
    let mut builder = BatchBuilder::new().compression(codec, None);
    for _ in 0..3 {
        builder.append(&record(NOW));
    }
    builder
}

/// The batch with `bytes` stored at `from` and a CRC that fits.
fn patched(mut batch: Vec<u8>, from: usize, bytes: &[u8]) -> Vec<u8> {
    batch[from..from + bytes.len()].copy_from_slice(bytes);
    edit::set_crc(&mut batch);
    batch
}

/// The batch with another payload, length and CRC.
fn with_payload(batch: &[u8], payload: &[u8]) -> Vec<u8> {
    let header = BatchHeader::parse(batch).expect("a header");
    edit::assemble(&header, payload).expect("short")
}

#[test]
fn a_good_batch_stays_as_it_is() {
    for codec in Codec::ALL {
        let batch = three(codec).build();
        let validated = check(&policy(NOW), &batch).expect("a good batch");
        assert_eq!(
            validated,
            Validated {
                rewritten: None,
                timestamp_type: TimestampType::CreateTime,
                max_timestamp: NOW,
                max_timestamp_offset_delta: 0,
                log_append_time: TimestampMs::NONE,
            }
        );
        let mut applied = batch.clone();
        validated.apply(&mut applied);
        assert_eq!(applied, batch);
    }
}

#[test]
fn there_is_one_whole_batch_of_magic_2() {
    let (good, policy) = (three(Codec::None).build(), policy(NOW));
    assert_eq!(refused(&policy, b""), ErrorCode::InvalidRecord);
    for bytes in [10, 13, 60, good.len() - 1] {
        assert_eq!(refused(&policy, &good[..bytes]), ErrorCode::InvalidRecord, "{bytes}");
    }
    let twice = [&good[..], &good[..]].concat();
    assert_eq!(refused(&policy, &twice), ErrorCode::InvalidRecord);
    assert_eq!(refused(&policy, &[&good[..], b"12345"].concat()), ErrorCode::InvalidRecord);
    for (magic, error) in [(0, ErrorCode::InvalidRecord), (1, ErrorCode::InvalidRecord)] {
        assert_eq!(refused(&policy, &patched(good.clone(), at::MAGIC, &[magic])), error);
    }
    for magic in [3, 0xff] {
        let error = ErrorCode::CorruptMessage;
        assert_eq!(refused(&policy, &patched(good.clone(), at::MAGIC, &[magic])), error);
    }
    for length in [-1_i32, 0, 5, 48] {
        let bad = patched(good.clone(), at::LENGTH, &length.to_be_bytes());
        assert_eq!(refused(&policy, &bad), ErrorCode::CorruptMessage, "{length}");
    }
}

#[test]
fn the_crc_is_the_batchs_own() {
    let good = three(Codec::Gzip).build();
    for byte in at::CRC..good.len() {
        let mut bad = good.clone();
        bad[byte] ^= 1;
        let error = refused(&policy(NOW), &bad);
        // A flipped bit of the codec may name one that does not exist before the CRC is looked at.
        assert!(
            error == ErrorCode::CorruptMessage || error == ErrorCode::UnsupportedCompressionType,
            "{byte}: {error}"
        );
    }
}

#[test]
fn the_base_offset_is_0() {
    let batch = three(Codec::None).base_offset(Offset(7)).build();
    assert_eq!(refused(&policy(NOW), &batch), ErrorCode::InvalidRecord);
}

#[test]
fn the_size_is_that_of_the_compressed_batch() {
    let mut builder = BatchBuilder::new();
    builder.append(&NewRecord { value: Some(&[b'x'; 300]), ..record(NOW) });
    let plain = builder.build();
    let packed = builder.compression(Codec::Gzip, None).build();
    let mut policy = ValidationPolicy { max_message_bytes: 200, ..policy(NOW) };
    assert_eq!(refused(&policy, &plain), ErrorCode::MessageTooLarge);
    assert!(check(&policy, &packed).is_ok());
    policy.max_message_bytes = plain.len();
    assert!(check(&policy, &plain).is_ok());
    policy.max_message_bytes = plain.len() - 1;
    assert_eq!(refused(&policy, &plain), ErrorCode::MessageTooLarge);
    policy.compression = Some(Recompression { codec: Codec::None, level: None });
    assert_eq!(refused(&policy, &packed), ErrorCode::MessageTooLarge);
}

#[test]
fn counts_and_deltas_are_those_of_the_records() {
    for codec in [Codec::None, Codec::Gzip, Codec::Zstd] {
        let good = three(codec).build();
        for (last, count) in [(5, 3), (2, 4), (1, 3), (-5, 3), (-1, 0), (2, 0), (2, -3), (i32::MAX, i32::MIN)]
        {
            let bad = patched(good.clone(), at::LAST_OFFSET_DELTA, &i32::to_be_bytes(last));
            let bad = patched(bad, at::RECORD_COUNT, &i32::to_be_bytes(count));
            assert_eq!(refused(&policy(NOW), &bad), ErrorCode::InvalidRecord, "{last} {count}");
        }
        // Header and header agree, the records do not.
        for count in [2, 4, i32::MAX] {
            let bad = patched(good.clone(), at::LAST_OFFSET_DELTA, &i32::to_be_bytes(count - 1));
            let bad = patched(bad, at::RECORD_COUNT, &i32::to_be_bytes(count));
            assert_eq!(refused(&policy(NOW), &bad), ErrorCode::InvalidRecord, "{count}");
        }
        let mut gap = BatchBuilder::new().compression(codec, None).last_offset_delta(1);
        gap.append_at(0, &record(NOW)).append_at(2, &record(NOW));
        assert_eq!(refused(&policy(NOW), &gap.build()), ErrorCode::InvalidRecord);
        let mut late = BatchBuilder::new().compression(codec, None).last_offset_delta(0);
        late.append_at(1, &record(NOW));
        assert_eq!(refused(&policy(NOW), &late.build()), ErrorCode::InvalidRecord);
    }
}

#[test]
fn records_fill_their_lengths() {
    let batch = three(Codec::None).build();
    // The last record's length, one byte more than it has, and that byte.
    let mut payload = batch[61..].to_vec();
    let record_bytes = payload.len() / 3;
    let last = payload.len() - record_bytes;
    payload[last] += 2;
    payload.push(0);
    assert_eq!(refused(&policy(NOW), &with_payload(&batch, &payload)), ErrorCode::InvalidRecord);
    let packed = compress(Codec::Lz4, None, &payload);
    let bad = with_payload(&three(Codec::Lz4).build(), &packed);
    assert_eq!(refused(&policy(NOW), &bad), ErrorCode::InvalidRecord);
}

#[test]
fn clients_write_no_control_batches() {
    let batch = three(Codec::None).control().build();
    assert_eq!(refused(&policy(NOW), &batch), ErrorCode::InvalidRecord);
}

#[test]
fn a_transaction_is_somebodys() {
    let batch = three(Codec::None).transactional();
    assert_eq!(refused(&policy(NOW), &batch.build()), ErrorCode::InvalidRecord);
    let batch = batch.producer(ProducerId(5), ProducerEpoch(0), 0).build();
    assert!(check(&policy(NOW), &batch).is_ok(), "whether it is open is the producer state's to say");
}

#[test]
fn an_idempotent_producer_counts() {
    let with = |id, sequence| three(Codec::None).producer(ProducerId(id), ProducerEpoch(0), sequence).build();
    assert_eq!(refused(&policy(NOW), &with(5, -1)), ErrorCode::InvalidRecord);
    assert_eq!(refused(&policy(NOW), &with(0, i32::MIN)), ErrorCode::InvalidRecord);
    for (id, sequence) in [(5, 0), (5, i32::MAX), (-1, -1), (-2, -1)] {
        assert!(check(&policy(NOW), &with(id, sequence)).is_ok(), "{id} {sequence}");
    }
}

#[test]
fn zstd_needs_a_version_that_has_it() {
    let old = ValidationPolicy { zstd_allowed: false, ..policy(NOW) };
    assert_eq!(refused(&old, &three(Codec::Zstd).build()), ErrorCode::UnsupportedCompressionType);
    assert!(check(&old, &three(Codec::Lz4).build()).is_ok());
    for codec in 5..8 {
        let bad = patched(three(Codec::None).build(), at::ATTRIBUTES, &[0, codec]);
        assert_eq!(refused(&policy(NOW), &bad), ErrorCode::UnsupportedCompressionType);
    }
}

#[test]
fn what_cannot_be_decompressed_is_refused() {
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let good = three(codec).build();
        let noise = with_payload(&good, b"abcdefghijklmnopqrstuvwxyz");
        assert_eq!(refused(&policy(NOW), &noise), ErrorCode::InvalidRecord, "{codec:?}");
        let empty = with_payload(&good, b"");
        assert_eq!(refused(&policy(NOW), &empty), ErrorCode::InvalidRecord, "{codec:?}");
    }
    let bomb = compress(Codec::Zstd, None, &vec![0; DECOMPRESSED_BYTES_MAX + 1]);
    let bomb = with_payload(&three(Codec::Zstd).build(), &bomb);
    assert_eq!(refused(&policy(NOW), &bomb), ErrorCode::MessageTooLarge);
}

#[test]
fn timestamps_stay_within_their_range() {
    let limited = ValidationPolicy { before_max_ms: 1_000, after_max_ms: 500, ..policy(NOW) };
    let at_time = |ms| {
        let mut builder = BatchBuilder::new();
        builder.append(&record(NOW)).append(&record(TimestampMs(ms))).append(&record(NOW));
        builder.build()
    };
    for good in [NOW.0, NOW.0 - 1_000, NOW.0 + 500, -1] {
        assert!(check(&limited, &at_time(good)).is_ok(), "{good}");
    }
    for bad in [NOW.0 - 1_001, NOW.0 + 501, 0, -2, i64::MIN, i64::MAX] {
        let error = check(&limited, &at_time(bad)).expect_err("out of range");
        assert_eq!(error.error, ErrorCode::InvalidTimestamp);
        assert_eq!(error.record_errors.len(), 1);
        assert_eq!(error.record_errors[0].batch_index, 1);
        assert!(error.record_errors[0].message.contains(&bad.to_string()));
        // The broker's time makes the producer's irrelevant.
        let appended = ValidationPolicy { timestamp_type: TimestampType::LogAppendTime, ..limited };
        assert!(check(&appended, &at_time(bad)).is_ok());
    }
    for old in [0, -5, i64::MIN] {
        assert!(check(&policy(NOW), &at_time(old)).is_ok(), "the default has no lower end: {old}");
    }
    assert_eq!(refused(&policy(NOW), &at_time(NOW.0 + 3_600_001)), ErrorCode::InvalidTimestamp);
}

#[test]
fn a_compacted_topic_names_its_keyless_records() {
    let compacted = ValidationPolicy { compacted: true, ..policy(NOW) };
    let keyless = NewRecord { key: None, ..record(NOW) };
    for codec in Codec::ALL {
        let mut builder = BatchBuilder::new().compression(codec, None);
        builder.append(&record(NOW)).append(&keyless).append(&keyless);
        let error = check(&compacted, &builder.build()).expect_err("no key");
        assert_eq!(error.error, ErrorCode::InvalidRecord);
        let indexes: Vec<i32> = error.record_errors.iter().map(|record| record.batch_index).collect();
        assert_eq!(indexes, [1, 2]);
        assert!(check(&policy(NOW), &builder.build()).is_ok());
    }
    let empty_key = NewRecord { key: Some(b""), ..record(NOW) };
    let mut builder = BatchBuilder::new();
    assert!(check(&compacted, &builder.append(&empty_key).build()).is_ok());
    // One bad timestamp decides the code of the whole batch, and both records are named.
    builder.append(&keyless).append(&record(TimestampMs(i64::MAX)));
    let error = check(&compacted, &builder.build()).expect_err("no key and no such time");
    assert_eq!(error.error, ErrorCode::InvalidTimestamp);
    let indexes: Vec<i32> = error.record_errors.iter().map(|record| record.batch_index).collect();
    assert_eq!(indexes, [1, 2]);
}

#[test]
fn only_so_many_records_are_named() {
    let compacted = ValidationPolicy { compacted: true, ..policy(NOW) };
    let mut builder = BatchBuilder::new();
    for _ in 0..RECORD_ERRORS_MAX + 500 {
        builder.append(&NewRecord { key: None, ..record(NOW) });
    }
    let error = check(&compacted, &builder.build()).expect_err("no keys");
    assert_eq!(error.record_errors.len(), RECORD_ERRORS_MAX);
    assert!(error.message.contains("1500"), "{}", error.message);
}

#[test]
fn append_time_overwrites_and_is_not_the_producers_to_set() {
    let appended = ValidationPolicy { timestamp_type: TimestampType::LogAppendTime, ..policy(NOW) };
    for target in [None, Some(Recompression { codec: Codec::Lz4, level: None })] {
        let mut builder = BatchBuilder::new().compression(Codec::Gzip, None);
        builder.append(&record(TimestampMs(5))).append(&record(TimestampMs(4)));
        let mut batch = builder.build();
        let validated = check(&ValidationPolicy { compression: target, ..appended }, &batch).expect("good");
        assert_eq!((validated.max_timestamp, validated.log_append_time), (NOW, NOW));
        assert_eq!(validated.max_timestamp_offset_delta, 1);
        match &validated.rewritten {
            Some(bytes) => batch.clone_from(bytes),
            None => validated.apply(&mut batch),
        }
        let header = BatchHeader::parse(&batch).expect("a header");
        assert!(crc_is_valid(&batch));
        assert_eq!(header.attributes.timestamp_type(), TimestampType::LogAppendTime);
        assert_eq!((header.max_timestamp, header.base_timestamp), (NOW, TimestampMs(5)));
    }
    let theirs = three(Codec::None).log_append_time(TimestampMs(9)).build();
    let error = check(&appended, &theirs).expect_err("the producer's append time");
    assert_eq!((error.error, error.record_errors.len()), (ErrorCode::InvalidTimestamp, 3));
    // A topic with the producer's time takes the batch's one time for all records and clears the bit.
    let validated = check(&policy(NOW), &theirs).expect("Kafka takes it");
    let mut batch = theirs.clone();
    validated.apply(&mut batch);
    let header = BatchHeader::parse(&batch).expect("a header");
    assert_eq!(header.attributes.timestamp_type(), TimestampType::CreateTime);
    assert!(crc_is_valid(&batch) && header.max_timestamp == TimestampMs(9));
    let timeless = three(Codec::None).log_append_time(TimestampMs::NONE).build();
    assert_eq!(refused(&policy(NOW), &timeless), ErrorCode::InvalidTimestamp);
}

#[test]
fn a_wrong_max_timestamp_is_put_right() {
    let mut builder = BatchBuilder::new();
    for ms in [3, 9, 9, 4] {
        builder.append(&record(TimestampMs(ms)));
    }
    let mut batch = patched(builder.build(), at::MAX_TIMESTAMP, &i64::to_be_bytes(NOW.0 * 2));
    let validated = check(&policy(NOW), &batch).expect("Kafka takes it");
    assert_eq!((validated.max_timestamp, validated.max_timestamp_offset_delta), (TimestampMs(9), 1));
    validated.apply(&mut batch);
    assert_eq!(batch, builder.build());
    let mut timeless = BatchBuilder::new();
    timeless.append(&record(TimestampMs::NONE)).append(&record(TimestampMs::NONE));
    let validated = check(&policy(NOW), &timeless.build()).expect("no time is allowed");
    assert_eq!(validated.max_timestamp, TimestampMs::NONE);
}

#[test]
fn a_topics_codec_is_put_in_place_of_the_producers() {
    for from in Codec::ALL {
        for to in Codec::ALL {
            let headers = [RecordHeader { key: b"h", value: None }];
            let mut builder = three(from).producer(ProducerId(4), ProducerEpoch(1), 8).transactional();
            builder.append(&NewRecord { headers: &headers, ..record(NOW) });
            let batch = builder.build();
            let target = Some(Recompression { codec: to, level: None });
            let validated =
                check(&ValidationPolicy { compression: target, ..policy(NOW) }, &batch).expect("good");
            assert_eq!(validated.rewritten.is_none(), from == to);
            let kept = validated.rewritten.unwrap_or_else(|| batch.clone());
            let (old, new) = (BatchHeader::parse(&batch), BatchHeader::parse(&kept));
            let (old, new) = (old.expect("a header"), new.expect("a header"));
            assert!(crc_is_valid(&kept));
            assert_eq!(new.batch_bytes, kept.len());
            assert_eq!(new.attributes, old.attributes.with_compression(to));
            let restored = BatchHeader { attributes: old.attributes, ..old };
            assert_eq!(
                BatchHeader { attributes: old.attributes, batch_bytes: old.batch_bytes, crc: old.crc, ..new },
                restored
            );
            let records = |codec, bytes: &[u8]| decompress(codec, &bytes[61..], 10_000).expect("good");
            assert_eq!(records(to, &kept), records(from, &batch));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn damage_with_a_good_crc_never_panics_and_what_passes_is_sound(
        codec in 0_u8..5,
        damage in prop::collection::vec((16_usize..200, any::<u8>()), 1..4),
        target in prop::option::of(0_u8..5),
        compacted: bool,
    ) {
        let mut batch = three(Codec::from_id(codec).expect("a codec")).build();
        for (at, byte) in damage {
            let at = at % batch.len();
            batch[at] = byte;
        }
        edit::set_crc(&mut batch);
        let compression = target
            .and_then(Codec::from_id)
            .map(|codec| Recompression { codec, level: None });
        let policy = ValidationPolicy { compression, compacted, ..policy(NOW) };
        // Of a batch that claims the broker's time Kafka checks that one time alone, and clears the claim: what the
        // records themselves say is then seen for the first time.
        let claims_append_time = BatchHeader::parse(&batch)
            .is_ok_and(|header| header.attributes.timestamp_type() == TimestampType::LogAppendTime);
        if let Ok(validated) = check(&policy, &batch) {
            let kept = match validated.rewritten.clone() {
                Some(bytes) => bytes,
                None => {
                    validated.apply(&mut batch);
                    batch
                }
            };
            prop_assert!(crc_is_valid(&kept));
            if !claims_append_time {
                let again = check(&policy, &kept);
                prop_assert_eq!(again, Ok(Validated { rewritten: None, ..validated }));
            }
        }
    }
}
