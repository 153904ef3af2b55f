//! Partitions that start and stop with many others, and directories that are not what the metadata says.

use std::rc::Rc;

use ottla::ids::{Offset, Uuid};
use ottla::log::LogConfig;

use super::support::*;
use crate::disk::{DiskError, OffsetsKind, OpenWith, Partition, Synced};
use crate::host::run_local;

const COUNT: i32 = 12;

async fn create_with_records(broker: &Broker) -> Vec<Rc<Partition>> {
    let mut partitions = Vec::new();
    for at in 0..COUNT {
        let partition = broker.create(&name(at), small_segments(2_000)).await;
        for record in 0..at {
            let bytes = sequenced(7, record, 300);
            produce(&partition, &bytes).await;
        }
        partitions.push(partition);
    }
    partitions
}

async fn check(broker: &Broker, synced: Synced) -> Vec<Rc<Partition>> {
    let mut partitions = Vec::new();
    for found in &broker.found {
        let with = with(small_segments(2_000));
        let loaded = broker.disk.load_synced(&broker.dir, found.clone(), with, synced).await.expect("a load");
        assert_eq!(loaded.damage, []);
        partitions.push(loaded.partition);
    }
    let is_running = || broker.disk.checkpoints.is_running();
    assert!(synced == Synced::OneByOne || !is_running(), "nothing that was loaded is durable yet");
    broker.disk.sync_loaded().await;
    assert!(synced == Synced::OneByOne || is_running(), "what was scanned is due");
    assert_eq!(partitions.len(), COUNT as usize);
    for partition in &partitions {
        let records = partition.name().partition;
        assert_eq!(consume(partition, 0, 1_000).await.len(), records as usize);
        if records > 0 {
            let again = append(partition, &sequenced(7, records - 1, 300)).await.expect("a duplicate");
            assert!(again.duplicate.is_some(), "the producer's state is there");
        }
    }
    partitions
}

#[test]
fn what_is_closed_with_others_is_left_as_by_a_clean_stop() {
    for tmpfs in [false, true] {
        let root = directory(tmpfs);
        let base = root.path().to_owned();
        run_local(async move {
            let broker = Broker::start(&base).await;
            for partition in create_with_records(&broker).await {
                let before = broker.dir.offset(OffsetsKind::RecoveryPoint, partition.name());
                partition.close_with_others().await.expect("a close");
                let after = broker.dir.offset(OffsetsKind::RecoveryPoint, partition.name());
                assert_eq!(before, after, "no checkpoint relies on what is not synced");
                abandon(partition).await;
            }
            broker.dir.finish_clean().await.expect("a clean stop");
            let last = broker.dir.offset(OffsetsKind::RecoveryPoint, &name(COUNT - 1));
            assert_eq!(last, Some(Offset(i64::from(COUNT) - 1)));
        });
        for index in 0..COUNT {
            let partition = root.path().join(name(index).to_string());
            let count = |suffix| files(&partition, suffix).len();
            assert_eq!(count(".log") > 0, index > 0, "one without records has no segment yet");
            assert_eq!((count(".index"), count(".timeindex")), (count(".log"), count(".log")), "{index}");
        }
        let base = root.path().to_owned();
        run_local(async move {
            let broker = Broker::start(&base).await;
            assert!(broker.found.iter().all(|found| found.clean.is_some()));
            for partition in check(&broker, Synced::OneByOne).await {
                assert!(partition.is_as_left(), "nobody wrote to it");
                partition.close().await.expect("a close");
                abandon(partition).await;
            }
            broker.dir.finish_clean().await.expect("a clean stop");
        });
        let base = root.path().to_owned();
        run_local(async move {
            let broker = Broker::start(&base).await;
            assert!(broker.found.iter().all(|found| found.clean.is_some()));
            for partition in check(&broker, Synced::OneByOne).await {
                abandon(partition).await;
            }
        });
    }
}

#[test]
fn loads_that_are_synced_together_find_everything_after_a_crash() {
    let root = directory(false);
    for life in 0..3 {
        let base = root.path().to_owned();
        run_local(async move {
            let broker = Broker::start(&base).await;
            let partitions = match life {
                0 => create_with_records(&broker).await,
                _ => check(&broker, Synced::Together).await,
            };
            for partition in partitions {
                abandon(partition).await;
            }
        });
    }
}

#[test]
fn an_unfinished_directory_is_finished_and_that_of_another_topic_refused() {
    let root = directory(false);
    let base = root.path().to_owned();
    run_local(async move {
        let broker = Broker::start(&base).await;
        let partition = broker.create(&name(0), LogConfig::default()).await;
        produce(&partition, &batch(1, 10)).await;
        abandon(partition).await;
    });
    let metadata = root.path().join("topic-0/partition.metadata");
    let written = std::fs::read(&metadata).expect("a file");
    for left in [Vec::new(), vec![0; 40], b"version: 0\nto".to_vec(), b"x".repeat(100)] {
        std::fs::write(&metadata, left).expect("a file");
        let base = root.path().to_owned();
        run_local(async move {
            let broker = Broker::start(&base).await;
            let found = broker.found[0].clone();
            let loaded = broker.disk.load(&broker.dir, found, with(LogConfig::default())).await;
            let partition = loaded.expect("a load").partition;
            assert_eq!(consume(&partition, 0, 1_000).await.len(), 1);
            abandon(partition).await;
        });
        assert_eq!(std::fs::read(&metadata).expect("a file"), written);
    }
    let base = root.path().to_owned();
    run_local(async move {
        let broker = Broker::start(&base).await;
        let other = OpenWith { topic_id: Uuid(*b"another-topic-id"), ..with(LogConfig::default()) };
        let refused = broker.disk.load(&broker.dir, broker.found[0].clone(), other).await;
        assert!(matches!(refused, Err(DiskError::Corrupt { .. })));
        assert!(!broker.dir.is_offline(), "the other partitions go on");
    });
}

#[test]
fn a_stray_has_another_name_at_once() {
    let root = directory(false);
    run_local(async move {
        let broker = Broker::start(root.path()).await;
        let partition = broker.create(&name(0), LogConfig::default()).await;
        produce(&partition, &batch(1, 10)).await;
        abandon(partition).await;
        broker.dir.remove_stray(&name(0)).await.expect("a rename");
        let partition = broker.create(&name(0), LogConfig::default()).await;
        assert_eq!(produce(&partition, &batch(2, 10)).await.base_offset, Offset(0));
        abandon(partition).await;
    });
}
