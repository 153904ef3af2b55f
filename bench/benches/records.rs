//! What a produced batch costs before it enters the log: its CRC, its validation, its compression.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ottla::ids::TimestampMs;
use ottla::protocol::compression::{Codec, Decompressor};
use ottla::protocol::records::{
    BatchBuilder, BatchHeader, NewRecord, TimestampType, ValidationPolicy, validate,
};

const NOW: TimestampMs = TimestampMs(1_700_000_000_000);
const RECORDS: usize = 16;
const RECORD_BYTES: usize = 1024;

/// 16 values of 1 KiB of letters, which compress to about 60 %.
fn values() -> Vec<Vec<u8>> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut letter = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        b'A' + ((state >> 32) % 26) as u8
    };
    (0..RECORDS).map(|_| (0..RECORD_BYTES).map(|_| letter()).collect()).collect()
}

fn build(values: &[Vec<u8>], codec: Codec) -> Vec<u8> {
    let mut builder = BatchBuilder::new().compression(codec, None);
    for value in values {
        builder.append(&NewRecord { timestamp: NOW, key: None, value: Some(value), headers: &[] });
    }
    builder.build()
}

fn policy() -> ValidationPolicy {
    ValidationPolicy {
        compacted: false,
        timestamp_type: TimestampType::CreateTime,
        before_max_ms: i64::MAX,
        after_max_ms: 3_600_000,
        max_message_bytes: 1024 * 1024 + 12,
        compression: None,
        now: NOW,
        zstd_allowed: true,
    }
}

fn validation(c: &mut Criterion) {
    let mut group = c.benchmark_group("validate 16 × 1 KiB");
    group.throughput(Throughput::Bytes((RECORDS * RECORD_BYTES) as u64));
    let policy = policy();
    for codec in [Codec::None, Codec::Lz4] {
        let batch = build(&values(), codec);
        let mut scratch = Decompressor::new();
        assert!(validate(&policy, &batch, &mut scratch).is_ok(), "what is measured works");
        group.bench_function(codec.name(), |b| {
            b.iter(|| validate(&policy, black_box(&batch), &mut scratch).is_ok());
        });
    }
    group.finish();
}

fn header(c: &mut Criterion) {
    let batch = build(&values(), Codec::None);
    c.bench_function("header of a batch, parse", |b| {
        b.iter(|| BatchHeader::parse(black_box(&batch)).is_ok());
    });
}

fn crc(c: &mut Criterion) {
    let mut group = c.benchmark_group("crc32c");
    for bytes in [128, 4 * 1024, 16 * 1024, 1024 * 1024] {
        let buffer = vec![0x5a; bytes];
        group.throughput(Throughput::Bytes(bytes as u64));
        group.bench_function(format!("{bytes} bytes"), |b| {
            b.iter(|| crc32c::crc32c(black_box(&buffer)));
        });
    }
    group.finish();
}

fn building(c: &mut Criterion) {
    let mut group = c.benchmark_group("build 16 × 1 KiB");
    group.throughput(Throughput::Bytes((RECORDS * RECORD_BYTES) as u64));
    let values = values();
    for codec in [Codec::None, Codec::Lz4] {
        group.bench_function(codec.name(), |b| b.iter(|| build(black_box(&values), codec)));
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
    targets = crc, header, validation, building
}
criterion_main!(benches);
