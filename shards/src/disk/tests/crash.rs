//! What a crash leaves: copies of a directory taken at any moment, files cut and bytes turned.

use std::cell::{Cell, RefCell};
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use ottla::ids::{LeaderEpoch, Offset};
use ottla::log::LogConfig;

use super::support::*;
use crate::disk::{DiskSettings, Found, Partition};
use crate::host::{self, run_local};

/// Loads the one partition of a directory, damage allowed; returns its batches and how many damages were reported.
fn recover(root: &Path, config: LogConfig) -> (Vec<Vec<u8>>, usize) {
    let root = root.to_owned();
    run_local(async move {
        let broker = Broker::start(&root).await;
        let found: Found = broker.found[0].clone();
        let loaded = broker.disk.load(&broker.dir, found, with(config)).await.expect("a load");
        let partition = loaded.partition;
        let start = partition.offsets().log_start.0;
        let batches = consume_what_is_there(&partition, start, 3_000).await;
        // The log goes on where it ends, and what it takes now is what the next start finds.
        let (next, end) = (batch(777, 50), partition.offsets().log_end);
        let appended = produce(&partition, &next).await;
        assert_eq!(appended.base_offset, end);
        let again = consume_what_is_there(&partition, start, 1_000).await;
        assert_eq!(again.len(), batches.len() + 1);
        abandon(partition).await;
        (batches, loaded.damage.len())
    })
}

fn written(root: &Path, count: u64, bytes: usize, config: LogConfig) -> Vec<Vec<u8>> {
    let root = root.to_owned();
    run_local(async move {
        let broker = Broker::start(&root).await;
        let partition = broker.create(&name(0), config).await;
        let mut expected = Vec::new();
        for at in 0..count {
            let bytes = batch(at, bytes);
            produce(&partition, &bytes).await;
            expected.push(stored(&bytes, at as i64, -1));
        }
        abandon(partition).await;
        expected
    })
}

#[test]
fn a_tail_torn_at_any_byte_is_cut_to_whole_batches() {
    let source = directory(false);
    let expected = written(source.path(), 5, 40, LogConfig::default());
    let bytes = expected[0].len();
    for cut in 0..=5 * bytes {
        let root = directory(true);
        copy_dir(source.path(), root.path());
        let segment = &files(&root.path().join("topic-0"), ".log")[0];
        let file = std::fs::OpenOptions::new().write(true).open(segment).expect("a segment");
        file.set_len(cut as u64).expect("a cut");
        let (found, damage) = recover(root.path(), LogConfig::default());
        assert!(found == expected[..cut / bytes], "cut at byte {cut}");
        assert_eq!(damage, 0, "nothing says that more was on disk");
    }
}

#[test]
fn a_turned_byte_takes_its_batch_out_of_the_log() {
    let source = directory(false);
    let expected = written(source.path(), 4, 40, LogConfig::default());
    let bytes = expected[0].len();
    for at in (0..4 * bytes).step_by(3) {
        // Offset and epoch stand outside the CRC; another offset is noticed only where it does not follow.
        if at % bytes < 8 || (12..16).contains(&(at % bytes)) {
            continue;
        }
        let root = directory(true);
        copy_dir(source.path(), root.path());
        let segment = &files(&root.path().join("topic-0"), ".log")[0];
        let mut content = std::fs::read(segment).expect("a segment");
        content[at] ^= 0x10;
        std::fs::write(segment, &content).expect("a segment");
        let (found, _) = recover(root.path(), LogConfig::default());
        let mut rest = expected.clone();
        rest.remove(at / bytes);
        assert!(found == rest, "turned byte {at}");
    }
}

#[test]
fn a_crash_between_segments_keeps_both() {
    let config = small_segments(300);
    let source = directory(false);
    let expected = written(source.path(), 20, 40, config.clone());
    let segments = files(&source.path().join("topic-0"), ".log");
    assert!(segments.len() > 4);
    let (found, damage) = recover(source.path(), config.clone());
    assert!(found == expected);
    assert_eq!(damage, 0);
    // Where one in the middle is torn the later ones are no part of what was torn: they stay.
    let root = directory(false);
    let expected = written(root.path(), 20, 40, config.clone());
    let path = root.path().join("topic-0");
    let second = &files(&path, ".log")[1];
    let file = std::fs::OpenOptions::new().write(true).open(second).expect("a segment");
    file.set_len(150).expect("a cut");
    let third = files(&path, ".log")[2].file_stem().expect("a name").to_string_lossy().parse::<usize>();
    let (found, damage) = recover(root.path(), config);
    assert!(found == [&expected[..3], &expected[third.expect("an offset")..]].concat());
    assert_eq!(damage, 1, "records are missing: that is said");
}

/// Appends as fast as the disk takes it, with rolls, while the directory is copied several times.
async fn produce_and_copy(root: &Path, copies: &[std::path::PathBuf], config: LogConfig) -> Vec<usize> {
    let settings = DiskSettings {
        checkpoint_interval: Duration::from_millis(15),
        zeroed_bytes_max: 64 << 20,
        ..DiskSettings::default()
    };
    let broker = Broker::start_with(root, settings).await;
    let partition = broker.create(&name(0), config).await;
    let acknowledged = Rc::new(Cell::new(0_usize));
    let stop = Rc::new(Cell::new(false));
    let tasks: Vec<_> = (0..4_i64)
        .map(|producer| {
            let (partition, acknowledged, stop) =
                (Rc::clone(&partition), Rc::clone(&acknowledged), Rc::clone(&stop));
            host::spawn(async move {
                let mut sequence = 0;
                while !stop.get() {
                    let bytes = sequenced(producer, sequence, 20 + (sequence as usize * 37) % 2_000);
                    let appended = append(&partition, &bytes).await.expect("an append");
                    partition.wait_acknowledged(appended.end).await.expect("an acknowledgement");
                    acknowledged.set(acknowledged.get().max(appended.end.0 as usize));
                    sequence += 1;
                }
            })
        })
        .collect();
    let mut known = Vec::new();
    for copy in copies {
        host::sleep(Duration::from_millis(40)).await;
        known.push(acknowledged.get());
        copy_as_killed(root, copy);
    }
    stop.set(true);
    for task in tasks {
        task.await;
    }
    abandon(partition).await;
    known
}

#[test]
fn every_acknowledged_batch_is_in_a_copy_taken_under_load() {
    for tmpfs in [false, true] {
        let config = LogConfig { segment_bytes: 300_000, ..LogConfig::default() };
        let root = directory(tmpfs);
        let copies: Vec<_> = (0..6).map(|_| directory(tmpfs)).collect();
        let paths: Vec<_> = copies.iter().map(|copy| copy.path().to_owned()).collect();
        let (source, settings) = (root.path().to_owned(), config.clone());
        let known = run_local(async move { produce_and_copy(&source, &paths, settings).await });
        for (copy, acknowledged) in copies.iter().zip(known) {
            assert!(acknowledged > 0);
            let (found, _) = recover(copy.path(), config.clone());
            assert!(found.len() >= acknowledged, "{} of {acknowledged} are there", found.len());
            let total: i32 = sequences(&found).iter().sum();
            assert_eq!(total as usize, found.len(), "nothing twice, nothing missing, in order");
        }
    }
}

/// What each producer has in a log, which must be 0, 1, 2, … without a gap.
fn sequences(batches: &[Vec<u8>]) -> Vec<i32> {
    let mut next = vec![0; 4];
    for bytes in batches {
        let header = ottla::protocol::records::BatchHeader::parse(bytes).expect("a batch");
        if header.has_producer_id() {
            let producer = header.producer_id.0 as usize;
            assert_eq!(header.base_sequence, next[producer]);
            next[producer] += 1;
        }
    }
    next
}

#[test]
fn an_idempotent_producer_goes_on_after_a_crash() {
    let root = directory(false);
    let base = root.path().to_owned();
    run_local(async move {
        let broker = Broker::start(&base).await;
        let partition = broker.create(&name(0), small_segments(500)).await;
        for sequence in 0..30 {
            if sequence == 17 {
                broker.disk.checkpoint_now().await;
            }
            produce(&partition, &sequenced(1, sequence, 30)).await;
        }
        abandon(partition).await;
    });
    let base = root.path().to_owned();
    run_local(async move {
        let broker = Broker::start(&base).await;
        assert_eq!(broker.found[0].recovery_point, Offset(17));
        let partition = broker.load(&name(0), small_segments(500)).await;
        let again = produce(&partition, &sequenced(1, 28, 30)).await;
        assert_eq!((again.base_offset, again.duplicate.is_some()), (Offset(28), true));
        let gap = append(&partition, &sequenced(1, 31, 30)).await.expect_err("a gap");
        assert_eq!(gap.code(), ottla::errors::ErrorCode::OutOfOrderSequenceNumber);
        assert_eq!(produce(&partition, &sequenced(1, 30, 30)).await.base_offset, Offset(30));
        let batches = consume(&partition, 0, 10_000).await;
        assert_eq!(sequences(&batches)[1], 31);
        abandon(partition).await;
    });
}

#[test]
fn a_directory_that_was_never_finished_has_no_topic_id() {
    let root = directory(false);
    std::fs::create_dir(root.path().join("topic-0")).expect("a directory");
    std::fs::create_dir(root.path().join("topic-1")).expect("a directory");
    std::fs::write(root.path().join("topic-1/partition.metadata"), b"").expect("a file");
    run_local(async move {
        let broker = Broker::start(root.path()).await;
        for found in &broker.found {
            assert_eq!(broker.dir.topic_id(found).await, Ok(None));
        }
        let partition = broker.create(&name(0), LogConfig::default()).await;
        assert_eq!(produce(&partition, &batch(1, 10)).await.base_offset, Offset(0));
        let occupied = broker.disk.create(&broker.dir, &name(0), with(LogConfig::default())).await;
        assert!(occupied.is_err(), "records are never overwritten by a new partition");
    });
}

#[test]
fn records_lost_for_certain_are_kept_aside() {
    let root = directory(false);
    let base = root.path().to_owned();
    run_local(async move {
        let broker = Broker::start(&base).await;
        let partition = broker.create(&name(0), LogConfig::default()).await;
        for at in 0..10 {
            produce(&partition, &batch(at, 40)).await;
        }
        broker.disk.checkpoint_now().await;
        abandon(partition).await;
    });
    let segment = &files(&root.path().join("topic-0"), ".log")[0];
    let mut content = std::fs::read(segment).expect("a segment");
    let bytes = batch(0, 40).len();
    content[bytes * 4 + 70] ^= 1;
    std::fs::write(segment, &content).expect("a segment");
    let (found, damage) = recover(root.path(), LogConfig::default());
    assert_eq!((found.len(), damage), (9, 1));
    let kept = files(&root.path().join("topic-0"), &format!(".log.damaged-{}", bytes * 4));
    assert_eq!(std::fs::read(&kept[0]).expect("what was there")[..], content[bytes * 4..bytes * 5]);
}

/// A partition whose tasks were all left in flight, as a dropped executor leaves them.
#[test]
fn partitions_recover_in_parallel() {
    let root = directory(false);
    let base = root.path().to_owned();
    run_local(async move {
        let broker = Broker::start(&base).await;
        let partitions: Vec<Rc<Partition>> = {
            let mut partitions = Vec::new();
            for at in 0..100 {
                partitions.push(broker.create(&name(at), LogConfig::default()).await);
            }
            partitions
        };
        for (at, partition) in partitions.iter().enumerate() {
            for seed in 0..=(at as u64 % 4) {
                append(partition, &batch(seed, 100)).await.expect("an append");
            }
        }
        for (at, partition) in partitions.into_iter().enumerate() {
            partition.wait_durable(Offset(at as i64 % 4 + 1)).await.expect("a flush");
            abandon(partition).await;
        }
    });
    let base = root.path().to_owned();
    run_local(async move {
        let settings = DiskSettings { loads_in_flight_max: 7, ..DiskSettings::default() };
        let broker = Rc::new(Broker::start_with(&base, settings).await);
        let ends = Rc::new(RefCell::new(vec![0; 100]));
        let tasks: Vec<_> = (0..100)
            .map(|at| {
                let (broker, ends) = (Rc::clone(&broker), Rc::clone(&ends));
                host::spawn(async move {
                    let partition = broker.load(&name(at), LogConfig::default()).await;
                    ends.borrow_mut()[at as usize] = partition.offsets().log_end.0;
                })
            })
            .collect();
        for task in tasks {
            task.await;
        }
        assert!(ends.borrow().iter().enumerate().all(|(at, end)| *end == at as i64 % 4 + 1));
    });
}

/// An epoch that no metadata knows: a flipped bit in the checkpoint, or metadata from an older copy.
#[test]
fn a_log_that_knows_a_later_epoch_is_led_in_the_one_that_the_metadata_says() {
    let root = directory(false);
    let base = root.path().to_owned();
    run_local(async move {
        let broker = Broker::start(&base).await;
        let partition = broker.create(&name(0), LogConfig::default()).await;
        partition.become_leader(LeaderEpoch(0)).await.expect("nothing is in the way");
        for at in 0..10 {
            produce(&partition, &batch(at, 40)).await;
        }
        broker.disk.checkpoint_now().await;
        abandon(partition).await;
    });
    let checkpoint = root.path().join("topic-0/leader-epoch-checkpoint");
    assert_eq!(std::fs::read_to_string(&checkpoint).expect("it was written"), "0\n1\n0 0\n");
    std::fs::write(&checkpoint, "0\n1\n9 0\n").expect("a file");
    for start in 0..2 {
        let base = root.path().to_owned();
        run_local(async move {
            let broker = Broker::start(&base).await;
            let partition = broker.load(&name(0), LogConfig::default()).await;
            partition.become_leader(LeaderEpoch(0)).await.expect("nothing is in the way");
            assert_eq!(partition.with_log(|log| log.epochs().latest_epoch()), LeaderEpoch(0));
            produce(&partition, &batch(10, 40)).await;
            assert_eq!(consume(&partition, 0, 10_000).await.len(), 11 + start);
            broker.disk.checkpoint_now().await;
            abandon(partition).await;
        });
    }
}
