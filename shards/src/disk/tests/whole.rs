//! Append, read, roll, restart: what was acknowledged is what is read.

use std::io::{IoSlice, Read as _};
use std::rc::Rc;
use std::time::Duration;

use ottla::ids::{Offset, TimestampMs};
use ottla::log::LogConfig;
use ottla::log::timestamp::TimestampQuery;

use super::support::*;
use crate::disk::{DiskError, Slice};
use crate::host::{self, run_local};

#[test]
fn an_acknowledged_batch_is_in_the_file_and_is_read_back() {
    for tmpfs in [false, true] {
        let root = directory(tmpfs);
        run_local(async move {
            let broker = Broker::start(root.path()).await;
            assert_eq!(broker.dir.is_direct(), !tmpfs);
            let partition = broker.create(&name(0), LogConfig::default()).await;
            let first = batch(1, 100);
            let appended = produce(&partition, &first).await;
            assert_eq!((appended.base_offset, appended.end), (Offset(0), Offset(1)));
            let file = std::fs::read(&files(&root.path().join("topic-0"), ".log")[0]).expect("a segment");
            assert_eq!(file[..first.len()], stored(&first, 0, -1));
            assert_eq!(file.len(), 4096);
            assert_eq!(consume(&partition, 0, 1_000).await, [stored(&first, 0, -1)]);
            let end = partition.offsets().high_watermark;
            let empty = partition.read(request(1, end, 10)).await.expect("a read at the end");
            assert_eq!(empty.bytes, 0);
            let beyond = partition.read(request(2, end, 10)).await.expect_err("an offset behind the end");
            assert!(matches!(beyond, DiskError::OutOfRange { .. }));
        });
    }
}

#[test]
fn nothing_is_seen_before_it_is_on_disk() {
    let root = directory(false);
    run_local(async move {
        let broker = Broker::start(root.path()).await;
        let partition = broker.create(&name(0), LogConfig::default()).await;
        let appended = append(&partition, &batch(1, 100)).await.expect("an append");
        let offsets = partition.offsets();
        assert_eq!(
            (offsets.log_end, offsets.durable_end, offsets.high_watermark),
            (Offset(1), Offset(0), Offset(0))
        );
        partition.wait_high_watermark(Offset(1)).await.expect("a flush");
        let offsets = partition.offsets();
        assert_eq!((offsets.durable_end, offsets.high_watermark), (Offset(1), Offset(1)));
        assert_eq!(appended.end, Offset(1));
    });
}

#[test]
fn a_relaxed_log_is_read_at_once_and_written_soon() {
    let root = directory(false);
    run_local(async move {
        let broker = Broker::start(root.path()).await;
        let config = LogConfig { flush_messages: 10, flush_ms: Some(20), ..LogConfig::default() };
        let partition = broker.create(&name(0), config).await;
        produce(&partition, &batch(1, 100)).await;
        let offsets = partition.offsets();
        assert_eq!((offsets.durable_end, offsets.high_watermark), (Offset(0), Offset(1)));
        assert_eq!(consume(&partition, 0, 1_000).await.len(), 1);
        partition.wait_durable(Offset(1)).await.expect("flush.ms has a write made");
        for at in 2..12 {
            produce(&partition, &batch(at, 100)).await;
        }
        partition.wait_durable(Offset(11)).await.expect("flush.messages has a write made");
    });
}

/// One random history over several lives of the broker, against a list of what was acknowledged.
fn history(root: &std::path::Path, seed: u64) {
    let mut random = Random(seed);
    let config = LogConfig {
        segment_bytes: 8_000 + random.below(60_000),
        index_interval_bytes: 100 + random.below(5_000),
        ..LogConfig::default()
    };
    let mut expected: Vec<Vec<u8>> = Vec::new();
    for life in 0..4 {
        let (root, config) = (root.to_owned(), config.clone());
        let before = (Random(random.below(1 << 30)), expected);
        expected = run_local(async move { one_life(&root, config, life, before).await });
    }
}

async fn one_life(
    root: &std::path::Path,
    config: LogConfig,
    life: i32,
    (mut random, mut expected): (Random, Vec<Vec<u8>>),
) -> Vec<Vec<u8>> {
    let broker = Broker::start(root).await;
    let partition = match life {
        0 => broker.create(&name(0), config.clone()).await,
        _ => broker.load(&name(0), config.clone()).await,
    };
    let end = expected.len() as i64;
    assert_eq!(partition.offsets().log_end, Offset(end), "life {life}");
    assert_eq!(partition.offsets().high_watermark, Offset(end));
    for step in 0..40 {
        match random.below(10) {
            0..=5 => {
                let bytes = [10, 300, 3_000, 7_000][random.below(4) as usize];
                let count = 1 + random.below(6);
                for _ in 0..count {
                    let bytes = batch(expected.len() as u64, bytes);
                    append(&partition, &bytes).await.expect("an append");
                    expected.push(stored(&bytes, expected.len() as i64, -1));
                }
                if random.below(3) > 0 {
                    partition.wait_durable(Offset(expected.len() as i64)).await.expect("a flush");
                }
            }
            6 | 7 => {
                partition.wait_durable(Offset(expected.len() as i64)).await.expect("a flush");
                let from = random.below(expected.len() as u64 + 1);
                let max_bytes = 1 + random.below(20_000);
                let read = consume(&partition, from as i64, max_bytes).await;
                assert!(read == expected[from as usize..], "life {life}, step {step}, from {from}");
            }
            8 => while broker.disk.evict_for_test() {},
            _ => broker.disk.checkpoint_now().await,
        }
    }
    partition.wait_durable(Offset(expected.len() as i64)).await.expect("a flush");
    if random.below(2) == 0 {
        partition.close().await.expect("a close");
        broker.dir.finish_clean().await.expect("a clean shutdown");
        if random.below(3) == 0 {
            std::fs::remove_file(root.join("ottla.clean")).expect("an archive");
        }
    }
    abandon(partition).await;
    expected
}

#[test]
fn any_history_of_appends_reads_rolls_and_restarts_keeps_the_log() {
    for seed in 0..12 {
        let root = directory(seed % 3 == 2);
        history(root.path(), seed);
    }
}

#[test]
fn large_batches_cross_chunks_and_come_back_whole() {
    let root = directory(false);
    run_local(async move {
        let broker = Broker::start(root.path()).await;
        let config = LogConfig { max_message_bytes: 20 << 20, ..LogConfig::default() };
        let partition = broker.create(&name(0), config.clone()).await;
        let mut expected = Vec::new();
        for (at, bytes) in [10, 5 << 20, 100, (1 << 20) + 1, 10 << 20, 7].into_iter().enumerate() {
            let bytes = batch(at as u64, bytes);
            append(&partition, &bytes).await.expect("an append");
            expected.push(stored(&bytes, at as i64, -1));
        }
        partition.wait_durable(Offset(6)).await.expect("a flush");
        assert!(consume(&partition, 0, 1 << 20).await == expected);
        while broker.disk.evict_for_test() {}
        assert_eq!(broker.disk.chunk_bytes(), 0);
        assert!(consume(&partition, 0, 1 << 20).await == expected);
        let up_to = partition.offsets().high_watermark;
        let read = partition.read(request(0, up_to, 1 << 30)).await.expect("a read");
        let Slice::File { position, bytes, .. } = &read.slices[0] else { panic!("the front is in the file") };
        assert_eq!((position.0 + bytes) % 4096, 0, "file ranges of the active segment end at a block");
        assert!(matches!(read.slices[1], Slice::Memory(_)), "its last block comes from memory");
    });
}

#[test]
fn who_reads_on_after_it_was_sent_finds_the_batch_that_follows() {
    let root = directory(false);
    let sink = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = sink.local_addr().expect("an address");
    let received = std::thread::spawn(move || {
        let mut received = Vec::new();
        sink.accept().expect("a connection").0.read_to_end(&mut received).expect("bytes");
        received
    });
    let base = root.path().to_owned();
    let stored = run_local(async move {
        let broker = Broker::start(&base).await;
        let partition = broker.create(&name(0), small_segments(3 << 20)).await;
        let mut all = Vec::new();
        for at in 0..200_usize {
            let bytes = batch(at as u64, 10 + at * 7_919 % 90_000);
            append(&partition, &bytes).await.expect("an append");
            all.push(stored(&bytes, at as i64, -1));
        }
        partition.wait_durable(Offset(200)).await.expect("a flush");
        abandon(partition).await;
        all
    });
    let (whole, mut wanted) = (stored.concat(), Vec::new());
    let wanted = run_local(async move {
        let stream = host::Stream::connect(address).await.expect("a connection");
        let broker = Broker::start(root.path()).await;
        let partition = broker.load(&name(0), small_segments(3 << 20)).await;
        let up_to = partition.offsets().high_watermark;
        let (mut next, mut at) = (0, 0);
        while next < stored.len() {
            let read = partition.read(request(next as i64, up_to, 300 << 10)).await.expect("a read");
            for slice in &read.slices {
                match slice {
                    Slice::Memory(bytes) => {
                        stream.send_vectored(&[IoSlice::new(bytes)]).await.expect("is sent");
                    }
                    Slice::File { fd, position, bytes, readable_end } => {
                        stream.send_file(fd, position.0, *bytes).await.expect("is sent");
                        host::read_ahead(fd, position.0 + bytes, readable_end.0);
                    }
                }
            }
            let bytes = usize::try_from(read.bytes).expect("small");
            wanted.extend_from_slice(&whole[at..at + bytes]);
            let end = at + bytes;
            while next < stored.len() && at + stored[next].len() <= end {
                at += stored[next].len();
                next += 1;
            }
            assert!(at > end - bytes, "at least one batch");
        }
        wanted
    });
    assert!(received.join().expect("no panic") == wanted);
}

#[test]
fn timestamps_find_offsets_in_every_segment() {
    let root = directory(false);
    run_local(async move {
        let broker = Broker::start(root.path()).await;
        let partition = broker.create(&name(0), small_segments(1_000)).await;
        for at in 0..50_u64 {
            append(&partition, &batch_at(at, 100, 1_000 + 10 * at as i64)).await.expect("an append");
        }
        partition.wait_durable(Offset(50)).await.expect("a flush");
        for restarted in [false, true] {
            let find = async |query| {
                let found = partition.offset_for_timestamp(query, Offset(50)).await.expect("a search");
                found.map(|found| (found.offset.0, found.timestamp.0))
            };
            for at in 0..50 {
                let query = TimestampQuery::AtOrAfter(TimestampMs(1_000 + 10 * at - 3));
                assert_eq!(find(query).await, Some((at, 1_000 + 10 * at)), "after a restart: {restarted}");
            }
            assert_eq!(find(TimestampQuery::AtOrAfter(TimestampMs(9_999))).await, None);
            assert_eq!(find(TimestampQuery::Largest).await, Some((49, 1_490)));
            assert_eq!(find(TimestampQuery::Earliest).await, Some((0, -1)));
            assert_eq!(find(TimestampQuery::Latest).await, Some((50, -1)));
        }
    });
}

/// How a life of a partition begins.
#[derive(Clone, Copy, Debug)]
enum Begin {
    New,
    ByNote,
    FromFiles,
    AfterCrash,
}

/// One life with a clean end: appends records with these timestamps. Returns the time index that is left.
async fn life_with(root: &std::path::Path, begin: Begin, timestamps: &[i64]) -> Vec<(i64, i64)> {
    let remove = |name: &str| std::fs::remove_file(root.join(name)).expect("a clean stop leaves it");
    match begin {
        Begin::New | Begin::ByNote => {}
        Begin::FromFiles => remove("ottla.clean"),
        Begin::AfterCrash => remove(".kafka_cleanshutdown"),
    }
    let broker = Broker::start(root).await;
    let partition = match begin {
        Begin::New => broker.create(&name(0), LogConfig::default()).await,
        Begin::ByNote | Begin::FromFiles | Begin::AfterCrash => {
            broker.load(&name(0), LogConfig::default()).await
        }
    };
    for &timestamp in timestamps {
        produce(&partition, &batch_at(1, 10, timestamp)).await;
    }
    broker.end_cleanly(partition).await;
    let bytes = std::fs::read(&files(&root.join("topic-0"), ".timeindex")[0]).expect("a time index");
    let index = ottla::log::TimeIndex::decode(Offset(0), usize::MAX, &bytes).expect("entries that rise");
    assert_eq!(index.len() * 12, bytes.len());
    let entries = bytes.chunks_exact(12).map(|entry| {
        let (timestamp, offset) = entry.split_at(8);
        let offset = u32::from_be_bytes(offset.try_into().expect("4 bytes"));
        (i64::from_be_bytes(timestamp.try_into().expect("8 bytes")), i64::from(offset))
    });
    entries.collect()
}

#[test]
fn a_clean_stop_leaves_the_largest_timestamp_in_the_time_index() {
    for begin in [Begin::ByNote, Begin::FromFiles, Begin::AfterCrash] {
        let root = directory(false);
        run_local(async move {
            let root = root.path();
            assert_eq!(life_with(root, Begin::New, &[100, 300, 200]).await, [(300, 1)]);
            assert_eq!(life_with(root, begin, &[]).await, [(300, 1)], "{begin:?}");
            assert_eq!(life_with(root, begin, &[250, 300]).await, [(300, 1)], "{begin:?}");
            let left = life_with(root, begin, &[400]).await;
            // Where the files are read, only entries that an interval has made stay.
            let kept: &[_] = match begin {
                Begin::ByNote => &[(300, 1), (400, 5)],
                Begin::New | Begin::FromFiles | Begin::AfterCrash => &[(400, 5)],
            };
            assert_eq!(left, kept, "{begin:?}");
            let broker = Broker::start(root).await;
            let partition = broker.load(&name(0), LogConfig::default()).await;
            for (query, expected) in [
                (TimestampQuery::Largest, Some(5)),
                (TimestampQuery::AtOrAfter(TimestampMs(100)), Some(0)),
                (TimestampQuery::AtOrAfter(TimestampMs(201)), Some(1)),
                (TimestampQuery::AtOrAfter(TimestampMs(301)), Some(5)),
                (TimestampQuery::AtOrAfter(TimestampMs(401)), None),
            ] {
                let found = partition.offset_for_timestamp(query, Offset(6)).await.expect("a search");
                assert_eq!(found.map(|found| found.offset.0), expected, "{query:?}, {begin:?}");
            }
        });
    }
}

#[test]
fn retention_removes_files_and_the_end_survives() {
    let root = directory(false);
    let base = root.path().to_owned();
    run_local(async move {
        let path = base.join("topic-0");
        {
            let broker = Broker::start(&base).await;
            let config = LogConfig { retention_ms: Some(1), ..small_segments(1_000) };
            let partition = broker.create(&name(0), config).await;
            for at in 0..50 {
                append(&partition, &batch(at, 100)).await.expect("an append");
            }
            partition.wait_durable(Offset(50)).await.expect("a flush");
            assert!(files(&path, ".log").len() > 5);
            let removed = partition.enforce_retention(Duration::from_millis(30)).await.expect("a retention");
            assert!(removed > 5);
            let offsets = partition.offsets();
            assert_eq!((offsets.log_start, offsets.log_end), (Offset(50), Offset(50)));
            assert_eq!(files(&path, ".log").len(), 1, "the empty active segment remembers the end");
            assert!(!files(&path, ".deleted").is_empty());
            // How long that takes is the machine's; that it comes is ours.
            while !files(&path, ".deleted").is_empty() {
                host::sleep(Duration::from_millis(10)).await;
            }
        }
    });
    run_local(async move {
        let broker = Broker::start(root.path()).await;
        let partition = broker.load(&name(0), LogConfig::default()).await;
        let offsets = partition.offsets();
        assert_eq!((offsets.log_start, offsets.log_end), (Offset(50), Offset(50)));
        assert_eq!(produce(&partition, &batch(1, 10)).await.base_offset, Offset(50));
    });
}

#[test]
fn deleted_records_stay_deleted_after_a_crash() {
    let root = directory(false);
    let base = root.path().to_owned();
    run_local(async move {
        {
            let broker = Broker::start(&base).await;
            let partition = broker.create(&name(0), small_segments(1_000)).await;
            for at in 0..50 {
                append(&partition, &batch(at, 100)).await.expect("an append");
            }
            partition.wait_durable(Offset(50)).await.expect("a flush");
            assert_eq!(partition.delete_records(Offset(23)).await, Ok(Offset(23)));
            assert!(partition.delete_records(Offset(51)).await.is_err());
            let removed = partition.enforce_retention(Duration::ZERO).await.expect("a retention");
            assert!(removed >= 2);
        }
    });
    run_local(async move {
        let broker = Broker::start(root.path()).await;
        let partition = broker.load(&name(0), small_segments(1_000)).await;
        assert_eq!(partition.offsets().log_start, Offset(23));
        assert_eq!(consume(&partition, 23, 500).await.len(), 27);
        let gone = partition.read(request(22, Offset(50), 10)).await.expect_err("it was deleted");
        assert!(matches!(gone, DiskError::OutOfRange { .. }));
    });
}

#[test]
fn a_partition_can_be_deleted_at_any_moment() {
    for delay in 0..12_u64 {
        let root = directory(false);
        run_local(async move {
            let settings = crate::disk::DiskSettings { open_files_max: 1, ..Default::default() };
            let broker = Broker::start_with(root.path(), settings).await;
            let other = broker.create(&name(1), LogConfig::default()).await;
            let partition = broker.create(&name(0), small_segments(2_000)).await;
            let writer = host::spawn({
                let (partition, other) = (std::rc::Rc::clone(&partition), std::rc::Rc::clone(&other));
                async move {
                    for at in 0..1_000 {
                        produce(&other, &batch(at, 10)).await;
                        let Ok(appended) = append(&partition, &batch(at, 300)).await else { return at };
                        if at % 7 == 0 && partition.wait_acknowledged(appended.end).await.is_err() {
                            return at;
                        }
                    }
                    1_000
                }
            });
            host::sleep(Duration::from_micros(delay * 1_500)).await;
            partition.delete(Duration::ZERO).await.expect("a deletion");
            writer.await;
            assert!(!broker.dir.is_offline(), "a deleted partition takes nothing else with it");
            let again = broker.create(&name(0), LogConfig::default()).await;
            assert_eq!(produce(&again, &batch(3, 10)).await.base_offset, Offset(0));
            abandon(partition).await;
            assert!(!broker.dir.is_offline());
            assert_eq!(broker.disk.close_all().await, []);
            broker.dir.finish_clean().await.expect("a clean shutdown");
        });
    }
}

#[test]
fn a_deleted_partition_ends_for_everybody_and_its_name_is_free() {
    let root = directory(false);
    run_local(async move {
        let broker = Broker::start(root.path()).await;
        let partition = broker.create(&name(0), LogConfig::default()).await;
        produce(&partition, &batch(1, 10)).await;
        let waiting = host::spawn(partition.wait_high_watermark(Offset(2)));
        host::yield_now().await;
        partition.delete(Duration::from_millis(20)).await.expect("a deletion");
        assert_eq!(waiting.await, Err(DiskError::Closed));
        assert!(append(&partition, &batch(2, 10)).await.is_err());
        assert!(!root.path().join("topic-0").exists());
        let again = broker.create(&name(0), LogConfig::default()).await;
        assert_eq!(produce(&again, &batch(3, 10)).await.base_offset, Offset(0));
        for _ in 0..200 {
            host::sleep(Duration::from_millis(10)).await;
            if files(root.path(), "-delete").is_empty() {
                return;
            }
        }
        panic!("the directory is removed in the end");
    });
}

#[test]
fn aborted_transactions_are_named_before_and_after_a_restart() {
    let root = directory(false);
    let base = root.path().to_owned();
    let ends = run_local(async move {
        let broker = Broker::start(&base).await;
        let partition = broker.create(&name(0), small_segments(1_000)).await;
        let mut ends = Vec::new();
        for transaction in 0..20 {
            ends.push(transaction_of(&partition, 9, transaction, transaction % 3 == 0).await);
        }
        check_aborted(&partition, &ends).await;
        broker.disk.checkpoint_now().await;
        transaction_of(&partition, 9, 20, true).await;
        abandon(partition).await;
        ends
    });
    for clean in [false, true] {
        let (base, ends) = (root.path().to_owned(), ends.clone());
        run_local(async move {
            let broker = Broker::start(&base).await;
            let partition = broker.load(&name(0), small_segments(1_000)).await;
            check_aborted(&partition, &ends).await;
            if !clean {
                partition.close().await.expect("a close");
                broker.dir.finish_clean().await.expect("a clean shutdown");
            }
            abandon(partition).await;
        });
    }
}

async fn check_aborted(partition: &std::rc::Rc<crate::disk::Partition>, ends: &[(i64, i64)]) {
    let offsets = partition.offsets();
    assert_eq!(offsets.last_stable, offsets.high_watermark, "every transaction is decided");
    for (transaction, (first, last)) in ends.iter().enumerate() {
        let read = partition.read(request(*first, offsets.last_stable, 1)).await.expect("a read");
        let slice = read.slice.expect("there is something to read");
        let aborted = partition.aborted_transactions(Offset(*first), &slice).await.expect("an answer");
        let named =
            aborted.iter().any(|aborted| (aborted.first_offset.0, aborted.last_offset.0) == (*first, *last));
        assert_eq!(named, transaction % 3 != 0, "transaction {transaction}");
    }
}

#[test]
fn entries_that_left_memory_are_found_in_their_file() {
    let root = directory(false);
    let base = root.path().to_owned();
    let config = LogConfig { index_interval_bytes: 50, ..LogConfig::default() };
    let settings = config.clone();
    run_local(async move {
        let broker = Broker::start(&base).await;
        let partition = broker.create(&name(0), settings).await;
        for round in 0..60_u64 {
            for at in 0..100 {
                append(&partition, &batch(round * 100 + at, 20)).await.expect("an append");
            }
            partition.wait_durable(Offset((round as i64 + 1) * 100)).await.expect("a flush");
        }
        let released = partition.with_log(|log| log.active_segment().indexes().offsets.released());
        assert!(released > 2_000, "old entries are in the file alone: {released}");
        check_spread(&partition).await;
        broker.disk.checkpoint_now().await;
        let released = partition.with_log(|log| log.active_segment().indexes().offsets.released());
        assert!(released > 5_000);
        check_spread(&partition).await;
        broker.end_cleanly(partition).await;
    });
    run_local(async move {
        let broker = Broker::start(root.path()).await;
        let partition = broker.load(&name(0), config).await;
        check_spread(&partition).await;
        assert_eq!(produce(&partition, &batch(1, 20)).await.base_offset, Offset(6_000));
        check_spread(&partition).await;
    });
}

/// Reads and searches all over a log of 6,000 batches.
async fn check_spread(partition: &std::rc::Rc<crate::disk::Partition>) {
    let up_to = partition.offsets().high_watermark;
    for at in (0..6_000_i64).step_by(497) {
        let read = partition.read(request(at, up_to, 1)).await.expect("a read");
        assert_eq!(bytes_of(&read), stored(&batch(at as u64, 20), at, -1));
        let query = TimestampQuery::AtOrAfter(TimestampMs(1_000 + at));
        let found = partition.offset_for_timestamp(query, up_to).await.expect("a search");
        assert_eq!(found.map(|found| found.offset), Some(Offset(at)));
    }
}

#[test]
fn index_files_that_are_lost_or_broken_are_built_anew() {
    let root = directory(false);
    let base = root.path().to_owned();
    run_local(async move {
        let broker = Broker::start(&base).await;
        let partition = broker.create(&name(0), small_segments(20_000)).await;
        for at in 0..600 {
            append(&partition, &batch(at, 60)).await.expect("an append");
        }
        partition.wait_durable(Offset(600)).await.expect("a flush");
        broker.end_cleanly(partition).await;
    });
    let path = root.path().join("topic-0");
    let indexes = files(&path, ".index");
    let whole = std::fs::read(&indexes[0]).expect("an index");
    assert!(whole.len() > 100);
    std::fs::remove_file(&indexes[0]).expect("an index");
    std::fs::write(&indexes[1], vec![0; whole.len()]).expect("an index");
    std::fs::remove_file(&files(&path, ".timeindex")[1]).expect("a time index");
    run_local(async move {
        let broker = Broker::start(root.path()).await;
        let partition = broker.load(&name(0), small_segments(20_000)).await;
        let up_to = partition.offsets().high_watermark;
        for at in (0..600_i64).step_by(7) {
            let read = partition.read(request(at, up_to, 1)).await.expect("a read");
            assert_eq!(bytes_of(&read), stored(&batch(at as u64, 60), at, -1));
        }
        assert_eq!(std::fs::read(&indexes[0]).expect("an index"), whole);
        assert!(files(&path, ".timeindex").len() == indexes.len());
    });
}

#[test]
fn a_damaged_index_of_the_active_segment_is_built_anew_and_takes_no_record_along() {
    for kind in [".index", ".timeindex"] {
        let root = directory(false);
        let config = LogConfig { index_interval_bytes: 50, ..LogConfig::default() };
        let (base, settings) = (root.path().to_owned(), config.clone());
        run_local(async move {
            let broker = Broker::start(&base).await;
            let partition = broker.create(&name(0), settings).await;
            for at in 0..6_000 {
                append(&partition, &batch(at, 20)).await.expect("an append");
            }
            partition.wait_durable(Offset(6_000)).await.expect("a flush");
            broker.end_cleanly(partition).await;
        });
        let file = files(&root.path().join("topic-0"), kind).remove(0);
        let whole = std::fs::read(&file).expect("an index");
        let mut damaged = whole.clone();
        damaged[whole.len() / 24 / 2 * 24] ^= 0x80;
        std::fs::write(&file, &damaged).expect("an index");
        let (base, settings) = (root.path().to_owned(), config.clone());
        run_local(async move {
            let broker = Broker::start(&base).await;
            let partition = broker.load(&name(0), settings).await;
            check_spread(&partition).await;
            assert_eq!(std::fs::read(&file).expect("an index"), whole, "it is mended");
            assert_eq!(produce(&partition, &batch(1, 20)).await.base_offset, Offset(6_000));
            check_spread(&partition).await;
            broker.end_cleanly(partition).await;
        });
        run_local(async move {
            let broker = Broker::start(root.path()).await;
            let found = broker.found[0].clone();
            let loaded = broker.disk.load(&broker.dir, found, with(config)).await.expect("a load");
            assert_eq!((loaded.changes.as_slice(), loaded.scanned_bytes), (&[][..], 0), "as it was left");
            check_spread(&loaded.partition).await;
        });
    }
}

#[test]
fn an_idle_shard_has_nothing_to_do() {
    let root = directory(false);
    run_local(async move {
        let settings = crate::disk::DiskSettings {
            cache_idle: Duration::from_millis(30),
            checkpoint_interval: Duration::from_millis(30),
            ..Default::default()
        };
        let broker = Broker::start_with(root.path(), settings).await;
        let partition = broker.create(&name(0), LogConfig::default()).await;
        produce(&partition, &batch(1, 100)).await;
        assert!(!broker.disk.is_idle_for_test());
        for _ in 0..300 {
            host::sleep(Duration::from_millis(10)).await;
            if broker.disk.is_idle_for_test() {
                assert_eq!(partition.with_log(|log| log.recovery_point()), Offset(1));
                let text = std::fs::read_to_string(root.path().join("recovery-point-offset-checkpoint"));
                assert_eq!(text.expect("a checkpoint"), "0\n1\ntopic 0 1\n");
                return;
            }
        }
        panic!("everything comes to rest");
    });
}

#[test]
fn retention_that_waits_does_not_bring_deleted_records_back() {
    let root = directory(false);
    let base = root.path().to_owned();
    run_local(async move {
        let broker = Broker::start(&base).await;
        let partition = broker.create(&name(0), small_segments(1_000)).await;
        for at in 0..50 {
            append(&partition, &batch(at, 100)).await.expect("an append");
        }
        partition.wait_durable(Offset(50)).await.expect("a flush");
        assert_eq!(partition.delete_records(Offset(23)).await, Ok(Offset(23)));
        // Whatever keeps retention waiting, a deletion may come meanwhile.
        let turn = partition.housekeeping.acquire(1).await;
        let retained = Rc::clone(&partition);
        let retention = host::spawn(async move { retained.enforce_retention(Duration::ZERO).await });
        host::sleep(Duration::from_millis(50)).await;
        assert_eq!(partition.delete_records(Offset(30)).await, Ok(Offset(30)));
        drop(turn);
        assert!(retention.await.expect("a retention") >= 2);
    });
    run_local(async move {
        let broker = Broker::start(root.path()).await;
        let partition = broker.load(&name(0), small_segments(1_000)).await;
        assert_eq!(partition.offsets().log_start, Offset(30));
    });
}
