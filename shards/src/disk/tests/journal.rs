//! Small commits through the journal: announced when they are in it, in the segments later, and there after any crash.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use ottla::errors::ErrorCode;
use ottla::ids::{Offset, Uuid};
use ottla::log::LogConfig;
use ottla::log::files::PARTITION_METADATA;
use ottla::log::journal::{frame, is_journal_file};

use super::limits::SmallDisk;
use super::support::*;
use crate::disk::{DiskSettings, JournalUse, OpenWith, Partition};
use crate::host::{self, File, OpenHow, run_local};

const COUNT: i32 = 12;

fn forced() -> DiskSettings {
    DiskSettings { journal: JournalUse::Always, journal_bytes: 1 << 20, ..DiskSettings::default() }
}

/// A broker whose commits all go through the journal where they can.
async fn start(path: &Path, settings: DiskSettings) -> Broker {
    let broker = Broker::start_with(path, settings).await;
    broker.disk.journals()[0].ready_for_test(&broker.disk).await;
    broker
}

/// Makes partitions that the journal takes from now on.
async fn create(broker: &Broker, count: i32, config: &LogConfig) -> Vec<Rc<Partition>> {
    let mut partitions = Vec::new();
    for at in 0..count {
        let partition = broker.create(&name(at), config.clone()).await;
        while !partition.suits_journal() {
            host::sleep(Duration::from_millis(1)).await;
        }
        partitions.push(partition);
    }
    partitions
}

/// Appends a batch to each partition at once and waits until all are acknowledged.
async fn round(partitions: &[Rc<Partition>], seed: u64, bytes: usize) {
    for partition in partitions {
        append(partition, &batch(seed, bytes)).await.expect("an append");
    }
    for partition in partitions {
        let end = partition.offsets().log_end;
        partition.wait_acknowledged(end).await.expect("an acknowledgement");
    }
}

fn journals(root: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(root).expect("a directory").map(|entry| entry.expect("an entry"));
    entries.filter(|entry| is_journal_file(&entry.file_name().to_string_lossy())).map(|e| e.path()).collect()
}

/// Every batch of the partitions of a directory, loaded as after a crash.
fn recovered(root: &Path, config: &LogConfig) -> Vec<Vec<Vec<u8>>> {
    let (root, config) = (root.to_owned(), config.clone());
    run_local(async move {
        let broker = Broker::start(&root).await;
        assert!(journals(&root).is_empty(), "they are played, and go");
        let mut all = Vec::new();
        for found in &broker.found {
            let partition = broker.load(&found.partition, config.clone()).await;
            all.push(consume(&partition, 0, 5_000).await);
            abandon(partition).await;
        }
        all
    })
}

fn expected(count: u64, bytes: usize) -> Vec<Vec<u8>> {
    (0..count).map(|seed| stored(&batch(seed, bytes), seed as i64, -1)).collect()
}

#[test]
fn many_partitions_share_a_frame_and_reach_their_segments_later() {
    let root = directory(false);
    let base = root.path().to_owned();
    run_local(async move {
        let broker = start(&base, forced()).await;
        let partitions = create(&broker, COUNT, &LogConfig::default()).await;
        for seed in 0..10 {
            round(&partitions, seed, 100).await;
        }
        let journal = &broker.disk.journals()[0];
        assert_eq!(journal.frames_written(), 10, "one for all partitions");
        assert_eq!(broker.disk.unflushed_bytes(), 0);
        for partition in &partitions {
            assert_eq!(partition.offsets().durable_end, Offset(10));
            assert!(!partition.segment_path(Offset(0)).exists(), "nothing was written back");
            assert_eq!(consume(partition, 0, 1_000).await, expected(10, 100));
        }
        broker.disk.checkpoint_now().await;
        assert_eq!(journal.used_bytes(), 0, "all is in the segments");
        for partition in &partitions {
            let file = std::fs::read(partition.segment_path(Offset(0))).expect("a segment");
            assert!(file.starts_with(&expected(10, 100).concat()));
        }
        for partition in partitions {
            partition.close().await.expect("a close");
            abandon(partition).await;
        }
        broker.dir.finish_clean().await.expect("a clean stop");
        assert!(journals(&base).is_empty(), "a clean stop leaves no journal");
    });
}

/// Leaves a directory as a crash does, with everything in the journal; returns the batches of each partition.
fn crashed(root: &Path, rounds: u64, config: &LogConfig) -> Vec<Vec<u8>> {
    let (root, config) = (root.to_owned(), config.clone());
    run_local(async move {
        let broker = start(&root, forced()).await;
        let partitions = create(&broker, 3, &config).await;
        for seed in 0..rounds {
            round(&partitions, seed, 100).await;
        }
        for partition in partitions {
            abandon(partition).await;
        }
    });
    expected(rounds, 100)
}

#[test]
fn a_crash_loses_nothing_that_is_in_the_journal_alone() {
    for config in [LogConfig::default(), small_segments(600)] {
        let root = directory(false);
        let all = crashed(root.path(), 20, &config);
        // A second crash during the start finds the journal again, and the segments as far as they came.
        let second = directory(false);
        copy_dir(root.path(), second.path());
        assert_eq!(recovered(root.path(), &config), vec![all.clone(); 3]);
        for file in journals(second.path()) {
            std::fs::copy(&file, root.path().join(file.file_name().expect("a name"))).expect("a copy");
        }
        assert_eq!(recovered(root.path(), &config), vec![all.clone(); 3], "played again");
        assert_eq!(recovered(second.path(), &config), vec![all; 3]);
    }
}

#[test]
fn the_newest_frame_torn_anywhere_loses_that_frame_alone() {
    let source = directory(false);
    let all = crashed(source.path(), 4, &LogConfig::default());
    let journal = journals(source.path()).remove(0);
    let whole = std::fs::read(&journal).expect("a journal");
    // Four frames of one block each, behind the two headers.
    let newest = 5 * 4096;
    let used = whole[newest..newest + 4096].iter().rposition(|&byte| byte != 0).expect("a frame") + 1;
    for cut in (0..used).step_by(37).chain([used - 1, used]) {
        let mut torn = whole.clone();
        torn[newest + cut..newest + 4096].fill(0);
        std::fs::write(&journal, &torn).expect("a journal");
        let root = directory(false);
        copy_dir(source.path(), root.path());
        let kept = if cut < used { 3 } else { 4 };
        assert_eq!(recovered(root.path(), &LogConfig::default()), vec![all[..kept].to_vec(); 3], "cut {cut}");
    }
}

#[test]
fn a_segment_cut_anywhere_is_filled_up_from_the_journal() {
    let source = directory(false);
    let all = crashed(source.path(), 4, &LogConfig::default());
    let whole = all.concat();
    let path = |root: &Path| root.join("topic-0/00000000000000000000.log");
    for cut in (0..whole.len()).step_by(29) {
        let root = directory(false);
        copy_dir(source.path(), root.path());
        std::fs::write(path(root.path()), &whole[..cut]).expect("a segment");
        assert_eq!(recovered(root.path(), &LogConfig::default())[0], all, "cut {cut}");
        // A write back that was torn: the first sectors are missing, the last are there.
        let root = directory(false);
        copy_dir(source.path(), root.path());
        let mut torn = vec![0; cut / 512 * 512];
        torn.extend_from_slice(&whole[torn.len()..]);
        std::fs::write(path(root.path()), &torn).expect("a segment");
        assert_eq!(recovered(root.path(), &LogConfig::default())[0], all, "torn {cut}");
    }
}

#[test]
fn a_journal_for_which_a_full_disk_has_no_room_is_kept_and_played_later() {
    let Some(disk) = SmallDisk::mount() else { return };
    let root = disk.0.path().to_owned();
    // The segments of all three are in the journal alone, but for the first's.
    let source = directory(false);
    let all = crashed(source.path(), 20, &LogConfig::default());
    std::fs::write(source.path().join("topic-0/00000000000000000000.log"), all.concat()).expect("a segment");
    copy_dir(source.path(), &root);
    let ballast = root.join("ballast");
    let _ = std::fs::write(&ballast, vec![1; 4 << 20]);
    run_local({
        let root = root.clone();
        async move {
            let broker = Broker::start(&root).await;
            assert_eq!(journals(&root).len(), 1, "it is kept");
            let first = broker.load(&name(0), LogConfig::default()).await;
            assert_eq!(consume(&first, 0, 5_000).await, all, "that one lacks nothing");
            let load = async |at: usize| {
                let found = broker.found[at].clone();
                let loaded = broker.disk.load(&broker.dir, found, with(LogConfig::default())).await;
                loaded.map(|loaded| loaded.partition)
            };
            for at in [1, 2] {
                let error = load(at).await.expect_err("nothing is served without its last records");
                assert!(error.may_be_retried() && !broker.dir.is_offline(), "{error}");
            }
            std::fs::remove_file(&ballast).expect("a file");
            for at in [1, 2] {
                assert_eq!(journals(&root).len(), 1, "somebody still needs it");
                let partition = load(at).await.expect("there is room");
                assert_eq!(consume(&partition, 0, 5_000).await, all);
                abandon(partition).await;
            }
            assert!(journals(&root).is_empty(), "all of it was played");
            abandon(first).await;
        }
    });
}

#[test]
fn entries_of_a_deleted_topic_reach_no_other_of_its_name() {
    let root = directory(false);
    let base = root.path().to_owned();
    run_local(async move {
        let broker = start(&base, forced()).await;
        let partitions = create(&broker, 2, &LogConfig::default()).await;
        round(&partitions, 0, 300).await;
        partitions[0].delete(Duration::ZERO).await.expect("a deletion");
        let other = OpenWith { topic_id: Uuid(*b"another-topic-id"), ..with(LogConfig::default()) };
        let again = broker.disk.create(&broker.dir, &name(0), other).await.expect("a new partition");
        produce(&again, &batch(7, 20)).await;
        for partition in partitions.into_iter().chain([again]) {
            abandon(partition).await;
        }
    });
    run_local(async move {
        let broker = Broker::start(root.path()).await;
        let other = OpenWith { topic_id: Uuid(*b"another-topic-id"), ..with(LogConfig::default()) };
        let loaded = broker.disk.load(&broker.dir, broker.found[0].clone(), other).await.expect("a load");
        assert_eq!(consume(&loaded.partition, 0, 1_000).await, [stored(&batch(7, 20), 0, -1)]);
        let kept = broker.load(&name(1), LogConfig::default()).await;
        assert_eq!(consume(&kept, 0, 1_000).await, expected(1, 300));
        abandon(loaded.partition).await;
        abandon(kept).await;
    });
}

#[test]
fn a_partition_that_does_not_say_its_topic_gets_what_the_journal_has() {
    for damage in [None, Some(""), Some("\0\0\0\0"), Some("version: 1\ntopic_id: x")] {
        let root = directory(false);
        let base = root.path().to_owned();
        run_local(async move {
            let broker = start(&base, forced()).await;
            let partitions = create(&broker, 2, &LogConfig::default()).await;
            round(&partitions, 0, 300).await;
            for partition in partitions {
                abandon(partition).await;
            }
        });
        let metadata = root.path().join(name(0).to_string()).join(PARTITION_METADATA);
        match damage {
            Some(text) => std::fs::write(&metadata, text).expect("the directory is the test's own"),
            None => std::fs::remove_file(&metadata).expect("it is there"),
        }
        run_local(async move {
            let broker = Broker::start(root.path()).await;
            assert_eq!(journals(root.path()).len(), 1, "it is needed until the partition is loaded");
            for found in &broker.found {
                let with = with(LogConfig::default());
                let loaded = broker.disk.load(&broker.dir, found.clone(), with).await.expect("a load");
                assert_eq!(consume(&loaded.partition, 0, 1_000).await, expected(1, 300), "{damage:?}");
                abandon(loaded.partition).await;
            }
            assert_eq!(journals(root.path()), Vec::<PathBuf>::new(), "everything was played");
        });
    }
}

#[test]
fn records_that_were_deleted_stay_so() {
    let root = directory(false);
    let config = small_segments(700);
    let (base, settings) = (root.path().to_owned(), config.clone());
    run_local(async move {
        let broker = start(&base, forced()).await;
        let partitions = create(&broker, 1, &settings).await;
        for seed in 0..30 {
            round(&partitions, seed, 100).await;
        }
        partitions[0].delete_records(Offset(25)).await.expect("a deletion");
        partitions[0].enforce_retention(Duration::ZERO).await.expect("retention");
        assert!(partitions[0].with_log(|log| log.closed_segments().count()) < 3);
        for partition in partitions {
            abandon(partition).await;
        }
    });
    run_local(async move {
        let broker = Broker::start(root.path()).await;
        let partition = broker.load(&name(0), config).await;
        assert_eq!(partition.offsets().log_start, Offset(25));
        assert_eq!(consume(&partition, 25, 1_000).await, expected(30, 100)[25..]);
        abandon(partition).await;
    });
}

#[test]
fn a_journal_beside_a_clean_marker_is_not_believed() {
    let root = directory(false);
    let all = crashed(root.path(), 3, &LogConfig::default());
    let old = directory(false);
    copy_dir(root.path(), old.path());
    assert_eq!(recovered(root.path(), &LogConfig::default()), vec![all; 3]);
    // Another broker used the directory and stopped in order.
    for partition in 0..3 {
        let path = root.path().join(format!("topic-{partition}/00000000000000000000.log"));
        std::fs::OpenOptions::new().write(true).open(path).expect("a segment").set_len(0).expect("a cut");
    }
    let file = journals(old.path()).remove(0);
    std::fs::copy(&file, root.path().join(file.file_name().expect("a name"))).expect("a copy");
    std::fs::write(root.path().join(".kafka_cleanshutdown"), b"{\"version\":0,\"brokerEpoch\":1}")
        .expect("a file");
    assert!(recovered(root.path(), &LogConfig::default()).iter().all(Vec::is_empty));
}

#[test]
fn a_small_ring_goes_round_and_round() {
    let root = directory(false);
    let base = root.path().to_owned();
    run_local(async move {
        let settings = DiskSettings { journal_bytes: 64 << 10, ..forced() };
        let broker = start(&base, settings).await;
        let partitions = create(&broker, COUNT, &LogConfig::default()).await;
        for seed in 0..300 {
            round(&partitions, seed, 100).await;
            assert!(broker.disk.journals()[0].used_bytes() <= 64 << 10);
        }
        assert!(broker.disk.journals()[0].frames_written() > 30, "several laps");
        for partition in &partitions {
            assert_eq!(consume(partition, 0, 100_000).await, expected(300, 100));
        }
        for partition in partitions {
            abandon(partition).await;
        }
    });
    assert_eq!(recovered(root.path(), &LogConfig::default()), vec![expected(300, 100); COUNT as usize]);
}

#[test]
fn what_is_old_or_fills_memory_is_written_back() {
    let root = directory(false);
    run_local(async move {
        let settings = DiskSettings { cache_idle: Duration::from_millis(40), ..forced() };
        let broker = start(root.path(), settings).await;
        let partitions = create(&broker, COUNT, &LogConfig::default()).await;
        round(&partitions, 0, 100).await;
        for _ in 0..500 {
            if broker.disk.chunk_bytes() == 0 && broker.disk.is_idle_for_test() {
                break;
            }
            host::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!((broker.disk.chunk_bytes(), broker.disk.journals()[0].used_bytes()), (0, 0));
    });
    let root = directory(false);
    run_local(async move {
        let settings = DiskSettings { cache_bytes_max: 20 << 10, ..forced() };
        let broker = start(root.path(), settings).await;
        let partitions = create(&broker, COUNT, &LogConfig::default()).await;
        round(&partitions, 0, 100).await;
        for _ in 0..500 {
            if broker.disk.chunk_bytes() <= 20 << 10 {
                return;
            }
            host::sleep(Duration::from_millis(10)).await;
        }
        panic!("memory is given back before anything is old");
    });
}

#[test]
fn a_failed_frame_takes_the_directory_offline() {
    let root = directory(false);
    run_local(async move {
        let broker = start(root.path(), forced()).await;
        let partitions = create(&broker, 2, &LogConfig::default()).await;
        round(&partitions, 0, 10).await;
        let path = journals(root.path()).remove(0);
        let how = OpenHow { read: true, direct: true, ..OpenHow::default() };
        broker.disk.journals()[0].replace_for_test(File::open(&path, how).await.expect("a file"));
        for partition in &partitions {
            append(partition, &batch(1, 10)).await.expect("an append");
        }
        for partition in &partitions {
            let error = partition.wait_acknowledged(Offset(2)).await.expect_err("it is not on disk");
            assert_eq!(error.code(), ErrorCode::KafkaStorageError);
            assert_eq!(partition.offsets().high_watermark, Offset(1));
        }
        assert!(broker.dir.is_offline());
    });
}

#[test]
fn without_a_journal_commits_go_to_the_segments() {
    let root = directory(false);
    run_local(async move {
        // A file in the way stands in for a disk without room.
        let broker = Broker::start_with(root.path(), forced()).await;
        std::fs::write(root.path().join("ottla-journal-0"), b"").expect("a file");
        let mut partitions = Vec::new();
        for at in 0..COUNT {
            partitions.push(broker.create(&name(at), LogConfig::default()).await);
        }
        for seed in 0..5 {
            round(&partitions, seed, 100).await;
        }
        assert_eq!(broker.disk.journals()[0].frames_written(), 0);
        assert!(!broker.dir.is_offline());
    });
}

/// Appends to many partitions as fast as the disk takes it while the directory is copied several times.
async fn produce_and_copy(root: &Path, copies: &[PathBuf], config: LogConfig) -> Vec<Vec<usize>> {
    let settings =
        DiskSettings { checkpoint_interval: Duration::from_millis(25), journal_bytes: 256 << 10, ..forced() };
    let broker = start(root, settings).await;
    let partitions = create(&broker, COUNT, &config).await;
    let stop = Rc::new(Cell::new(false));
    let acknowledged: Rc<Vec<Cell<usize>>> = Rc::new((0..COUNT).map(|_| Cell::new(0)).collect());
    let mut tasks = Vec::new();
    for (at, partition) in partitions.iter().enumerate() {
        let (partition, stop) = (Rc::clone(partition), Rc::clone(&stop));
        let acknowledged = Rc::clone(&acknowledged);
        tasks.push(host::spawn(async move {
            let mut sequence = 0;
            while !stop.get() {
                let bytes = sequenced(1, sequence, 20 + (sequence as usize * 37) % 900);
                let appended = append(&partition, &bytes).await.expect("an append");
                partition.wait_acknowledged(appended.end).await.expect("an acknowledgement");
                acknowledged[at].set(appended.end.0 as usize);
                sequence += 1;
            }
        }));
    }
    let mut known = Vec::new();
    for copy in copies {
        host::sleep(Duration::from_millis(60)).await;
        known.push(acknowledged.iter().map(Cell::get).collect());
        copy_as_killed(root, copy);
    }
    stop.set(true);
    for task in tasks {
        task.await;
    }
    for partition in partitions {
        abandon(partition).await;
    }
    known
}

#[test]
fn every_acknowledged_batch_is_in_a_copy_taken_under_load() {
    let config = LogConfig { segment_bytes: 60_000, ..LogConfig::default() };
    let root = directory(false);
    let copies: Vec<_> = (0..5).map(|_| directory(false)).collect();
    let paths: Vec<_> = copies.iter().map(|copy| copy.path().to_owned()).collect();
    let (source, settings) = (root.path().to_owned(), config.clone());
    let known = run_local(async move { produce_and_copy(&source, &paths, settings).await });
    for (copy, acknowledged) in copies.iter().zip(known) {
        let file = std::fs::read(&journals(copy.path())[0]).expect("a journal");
        assert!(frame::read(&file).expect("a header").frames > 0, "there is something to play");
        let found = recovered(copy.path(), &config);
        for at in 0..COUNT as usize {
            let batches = &found[at];
            assert!(batches.len() >= acknowledged[at], "{at}: {} of {}", batches.len(), acknowledged[at]);
            for (sequence, bytes) in batches.iter().enumerate() {
                let header = ottla::protocol::records::BatchHeader::parse(bytes).expect("a batch");
                assert_eq!((header.base_sequence, header.base_offset.0), (sequence as i32, sequence as i64));
            }
        }
    }
}
