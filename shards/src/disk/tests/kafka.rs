//! Directories for Kafka's own tools, and figures; both by hand.
//!
//! `OTTLA_KEEP=DIR cargo test -p ottla-shards --lib segments_for_kafka -- --ignored` writes partitions to DIR for
//! `kafka dump-log`; `cargo test --release -p ottla-shards --lib figures -- --ignored --nocapture` prints figures.

use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use ottla::ids::{Offset, TimestampMs};
use ottla::log::{LogConfig, NewBatch};
use ottla::protocol::compression::Codec;
use ottla::protocol::records::{BatchBuilder, BatchHeader, NewRecord};

use super::support::*;
use crate::disk::{DiskSettings, Partition};
use crate::host::{self, run_local};

fn compressed(seed: u64, codec: Codec) -> Vec<u8> {
    let mut builder = BatchBuilder::new().compression(codec, None);
    for record in 0..20_i64 {
        let value = vec![b'a' + (seed % 26) as u8; 100 + record as usize];
        let timestamp = TimestampMs(1_700_000_000_000 + seed as i64 * 1_000 + record);
        builder.append(&NewRecord { timestamp, key: Some(b"key"), value: Some(&value), headers: &[] });
    }
    builder.build()
}

#[test]
#[ignore = "writes a directory for Kafka's tools"]
fn segments_for_kafka() {
    let keep = PathBuf::from(std::env::var_os("OTTLA_KEEP").expect("OTTLA_KEEP names a directory"));
    run_local(async move {
        let broker = Broker::start(&keep).await;
        let config = LogConfig { segment_bytes: 200_000, ..small_segments(0) };
        let partition = broker.create(&name(0), config.clone()).await;
        let codecs = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];
        for seed in 0..600_u64 {
            append(&partition, &compressed(seed, codecs[seed as usize % 5])).await.expect("an append");
            if seed % 100 == 50 {
                broker.disk.checkpoint_now().await;
            }
        }
        let idempotent = broker.create(&name(1), config).await;
        for sequence in 0..500 {
            produce(&idempotent, &sequenced(sequence as i64 % 7, sequence / 7, 300)).await;
        }
        let transactional = broker.create(&name(2), small_segments(2_000)).await;
        for transaction in 0..40 {
            transaction_of(&transactional, 9, transaction, transaction % 2 == 0).await;
        }
        transactional.close().await.expect("a close");
        partition.close().await.expect("a close");
        idempotent.close().await.expect("a close");
        broker.dir.finish_clean().await.expect("a clean shutdown");
    });
}

/// Durable appends per second of `writers` tasks that each wait for their acknowledgement.
async fn rate(partitions: &[Rc<Partition>], writers: usize, bytes: usize, time: Duration) -> (f64, f64) {
    let batch = Rc::new(batch(1, bytes));
    let header = BatchHeader::parse(&batch).expect("a batch");
    let (start, cpu) = (host::now(), cpu_seconds());
    let tasks: Vec<_> = (0..writers)
        .map(|writer| {
            let (partition, batch) = (Rc::clone(&partitions[writer % partitions.len()]), Rc::clone(&batch));
            host::spawn(async move {
                let mut count = 0_u64;
                while host::now().since(start) < time {
                    let appended =
                        partition.append(&batch, NewBatch::of_client(header)).await.expect("an append");
                    partition.wait_acknowledged(appended.end).await.expect("an acknowledgement");
                    count += 1;
                }
                count
            })
        })
        .collect();
    let mut count = 0;
    for task in tasks {
        count += task.await;
    }
    let seconds = host::now().since(start).as_secs_f64();
    (count as f64 / seconds, (cpu_seconds() - cpu) / count as f64 * 1e6)
}

fn cpu_seconds() -> f64 {
    // SAFETY: all zero bits are a value of the type.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to a value of the type.
    assert_eq!(unsafe { libc::getrusage(libc::RUSAGE_SELF, &raw mut usage) }, 0);
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    seconds(usage.ru_utime) + seconds(usage.ru_stime)
}

#[test]
#[ignore = "prints figures"]
fn figures_of_durable_appends() {
    let root = directory(false);
    run_local(async move {
        let broker = Broker::start_with(root.path(), DiskSettings::default()).await;
        let config = LogConfig { max_message_bytes: 8 << 20, ..LogConfig::default() };
        let mut partitions = Vec::new();
        for at in 0..100 {
            partitions.push(broker.create(&name(at), config.clone()).await);
        }
        for (count, writers, bytes) in [
            (1, 1, 100),
            (1, 1, 1 << 10),
            (1, 1, 64 << 10),
            (1, 1, 1 << 20),
            (1, 16, 100),
            (1, 16, 1 << 10),
            (1, 16, 64 << 10),
            (1, 8, 1 << 20),
            (100, 100, 100),
            (100, 100, 16 << 10),
        ] {
            let (rate, micros) = rate(&partitions[..count], writers, bytes, Duration::from_secs(2)).await;
            let mib = rate * bytes as f64 / f64::from(1 << 20);
            eprintln!(
                "{count:>4} partitions, {writers:>3} writers, {bytes:>8} B: {rate:>9.0} durable appends/s, \
                 {mib:>7.1} MiB/s, {micros:>6.1} us CPU each"
            );
        }
    });
}

#[test]
#[ignore = "prints figures"]
fn figures_of_starts() {
    for clean in [false, true] {
        let root = directory(false);
        let base = root.path().to_owned();
        run_local(async move {
            let broker = Broker::start(&base).await;
            let mut partitions = Vec::new();
            for at in 0..1_000 {
                partitions.push(broker.create(&name(at), LogConfig::default()).await);
            }
            for round in 0..10_u64 {
                for partition in &partitions {
                    append(partition, &batch(round, 1_000)).await.expect("an append");
                }
            }
            for partition in &partitions {
                partition.wait_durable(Offset(10)).await.expect("a flush");
            }
            if clean {
                let start = host::now();
                assert_eq!(broker.disk.close_all().await, []);
                broker.dir.finish_clean().await.expect("a clean shutdown");
                eprintln!("1,000 partitions close in {:?}", host::now().since(start));
            }
            for partition in partitions {
                abandon(partition).await;
            }
        });
        let base = root.path().to_owned();
        run_local(async move {
            let start = host::now();
            let broker = Broker::start(&base).await;
            let mut all = Vec::new();
            for found in &broker.found {
                broker.dir.topic_id(found).await.expect("a topic id");
                all.push((std::sync::Arc::clone(&broker.dir), found.clone(), with(LogConfig::default())));
            }
            let loaded = broker.disk.load_all(all).await;
            assert!(loaded.iter().all(|(_, result)| result.is_ok()));
            eprintln!("{} partitions start (clean: {clean}) in {:?}", loaded.len(), host::now().since(start));
        });
    }
}
