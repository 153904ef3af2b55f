//! What one append costs the log's arithmetic, without a byte moved: for plain and for idempotent producers.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use ottla::ids::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, TimestampMs};
use ottla::log::{AppendOutcome, Log, LogConfig, NewBatch};
use ottla::protocol::records::header::sequence_plus;
use ottla::protocol::records::{BatchBuilder, BatchHeader, NewRecord};
use ottla::time::Monotonic;

const NOW: TimestampMs = TimestampMs(1_700_000_000_000);
const RECORDS: i32 = 16;

/// The header of a batch of 16 records of 1 KiB.
fn header() -> BatchHeader {
    let mut builder = BatchBuilder::new();
    let value = [b'x'; 1024];
    for _ in 0..RECORDS {
        builder.append(&NewRecord { timestamp: NOW, key: None, value: Some(&value), headers: &[] });
    }
    BatchHeader::parse(&builder.build()).expect("the builder made it")
}

fn leader() -> Log {
    let mut log = Log::new(LogConfig::default(), Offset::ZERO, 1, Monotonic::ZERO);
    assert!(log.become_leader(LeaderEpoch(0)), "the epoch is its first");
    log
}

/// Appends the batch and lets the disk have it.
fn append(log: &mut Log, header: BatchHeader) {
    let outcome = log.append(&NewBatch::of_client(header), Monotonic::ZERO, NOW).expect("nothing forbids it");
    let AppendOutcome::Appended(appended) = outcome else { panic!("no batch is sent twice") };
    log.mark_durable(appended.last_offset.plus(1));
    black_box(appended.at);
}

fn appends(c: &mut Criterion) {
    let header = header();
    let mut group = c.benchmark_group("append");
    let mut log = leader();
    group.bench_function("plain producer", |b| b.iter(|| append(&mut log, black_box(header))));
    let mut log = leader();
    let mut batches = 0_i32;
    group.bench_function("100 idempotent producers in turn", |b| {
        b.iter(|| {
            let (producer, round) = (batches % 100, batches / 100);
            batches = batches.wrapping_add(1);
            let sequenced = BatchHeader {
                producer_id: ProducerId(i64::from(producer)),
                producer_epoch: ProducerEpoch(0),
                base_sequence: sequence_plus(0, round.wrapping_mul(RECORDS)),
                ..header
            };
            append(&mut log, black_box(sequenced));
        });
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
    targets = appends
}
criterion_main!(benches);
