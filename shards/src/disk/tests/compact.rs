//! Compaction on real files: what stays, what readers see meanwhile, and a crash at every step of a swap.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use ottla::config::broker::CleanerConfig;
use ottla::ids::{Offset, TimestampMs};
use ottla::log::LogConfig;
use ottla::log::timestamp::TimestampQuery;
use ottla::protocol::compression::{Codec, decompress};
use ottla::protocol::records::{BatchBuilder, BatchHeader, NewRecord, RecordIter};

use super::limits::SmallDisk;
use super::support::*;
use crate::disk::compact::{CleanWith, Cleaned, PROBE};
use crate::disk::dirs::OffsetsKind;
use crate::disk::{DiskError, Partition};
use crate::host::{self, run_local};

/// The last value of each key, and the first offset where a record is missing from the original history.
type Values = BTreeMap<Vec<u8>, Vec<u8>>;

fn config() -> LogConfig {
    LogConfig {
        segment_bytes: 3_000,
        index_interval_bytes: 300,
        compact: true,
        delete: false,
        min_cleanable_millionths: 10_000,
        ..LogConfig::default()
    }
}

fn with(delete_delay: Duration) -> CleanWith {
    let config = CleanerConfig {
        enabled: true,
        threads: 1,
        dedupe_buffer_bytes: 1 << 20,
        load_factor: 0.9,
        // Windows of a block: smaller than a segment.
        io_buffer_bytes: 0,
        io_bytes_per_second_max: f64::MAX,
        backoff_ms: 1,
    };
    CleanWith { config, delete_delay }
}

fn keyed(key: u64, value: u64, codec: Codec) -> Vec<u8> {
    let mut builder = BatchBuilder::new().compression(codec, None);
    for part in 0..3_u64 {
        let key = format!("key-{}", (key + part) % 20);
        let value = format!("value-{value}-{part}");
        builder.append(&NewRecord {
            timestamp: TimestampMs(1_000 + i64::try_from(value.len()).expect("small")),
            key: Some(key.as_bytes()),
            value: Some(value.as_bytes()),
            headers: &[],
        });
    }
    builder.build()
}

/// Appends so many batches of three records each over twenty keys.
async fn fill(partition: &Rc<Partition>, random: &mut Random, batches: u64) {
    for at in 0..batches {
        let codec = Codec::ALL[usize::try_from(random.below(5)).expect("small")];
        produce(
            partition,
            &keyed(random.below(20), partition.offsets().log_end.0.unsigned_abs() + at, codec),
        )
        .await;
    }
}

fn last_values(batches: &[Vec<u8>]) -> Values {
    let mut values = Values::new();
    for batch in batches {
        let header = BatchHeader::parse(batch).expect("a batch");
        let codec = header.attributes.compression().expect("a codec");
        let payload = match header.record_count {
            0 => Vec::new(),
            _ => decompress(codec, &batch[61..], 1 << 20).expect("own bytes"),
        };
        for record in RecordIter::new(&payload, header.record_count) {
            let record = record.expect("own bytes");
            let value = record.value.expect("no tombstones here").to_vec();
            values.insert(record.key.expect("a key").to_vec(), value);
        }
    }
    values
}

async fn clean(partition: &Rc<Partition>, delay: Duration) -> Option<Cleaned> {
    let job = partition.disk.next_to_clean(vec![Rc::clone(partition)]).await?;
    Some(job.run(&with(delay)).await)
}

async fn values_of(partition: &Rc<Partition>) -> Values {
    last_values(&consume_what_is_there(partition, partition.offsets().log_start.0, 4_000).await)
}

fn names(root: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(root.join("topic-0")).expect("a directory");
    entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect()
}

fn count(root: &Path, suffix: &str) -> usize {
    names(root).iter().filter(|name| name.ends_with(suffix)).count()
}

#[test]
fn a_compacted_partition_keeps_the_last_values_over_every_kind_of_end() {
    let root = directory(false);
    // Segments of several windows.
    let config = || LogConfig { segment_bytes: 9_000, ..config() };
    let path = root.path().to_owned();
    let (expected, left) = run_local(async move {
        let broker = Broker::start(&path).await;
        let partition = broker.create(&name(0), config()).await;
        fill(&partition, &mut Random(1), 250).await;
        let history = consume(&partition, 0, 5_000).await;
        let before = partition.offsets();
        let bytes = partition.bytes();
        let Some(Cleaned::UpTo(end)) = clean(&partition, Duration::ZERO).await else { panic!("it is dirty") };
        assert!(end > Offset(200) && partition.bytes() < bytes / 2);
        assert_eq!(partition.offsets(), before);
        assert_eq!(broker.dir.offset(OffsetsKind::FirstDirty, &name(0)), Some(end));
        let checkpoint =
            std::fs::read_to_string(path.join("cleaner-offset-checkpoint")).expect("it is there");
        assert_eq!(checkpoint, format!("0\n1\ntopic 0 {end}\n"));
        assert!(clean(&partition, Duration::ZERO).await.is_none(), "it is clean");
        let left = consume_what_is_there(&partition, 0, 2_000).await;
        assert!(left.len() < history.len());
        assert_eq!(last_values(&left), last_values(&history));
        let found = partition.offset_for_timestamp(TimestampQuery::AtOrAfter(TimestampMs(0)), before.log_end);
        let first = BatchHeader::parse(&left[0]).expect("a batch");
        assert!(found.await.expect("an answer").expect("a record").offset >= first.base_offset);
        partition.close().await.expect("a close");
        broker.dir.finish_clean().await.expect("a clean shutdown");
        (last_values(&history), left)
    });
    assert_eq!((count(root.path(), ".cleaned"), count(root.path(), ".swap")), (0, 0));
    for clean_stop in [true, false, false] {
        let (path, expected, left) = (root.path().to_owned(), expected.clone(), left.clone());
        run_local(async move {
            let broker = Broker::start(&path).await;
            let partition = broker.load(&name(0), config()).await;
            assert!(consume_what_is_there(&partition, 0, 2_000).await == left);
            assert_eq!(values_of(&partition).await, expected);
            assert!(clean(&partition, Duration::ZERO).await.is_none(), "the checkpoint was read");
            if clean_stop {
                // The note of the next start is gone: it is a load from files.
                std::fs::remove_file(path.join("recovery-point-offset-checkpoint")).expect("a checkpoint");
            }
            abandon(partition).await;
        });
    }
}

#[test]
fn a_crash_at_every_step_of_a_swap_is_recovered_and_so_is_a_crash_of_the_recovery() {
    let root = directory(true);
    let copies = directory(true);
    let (path, to) = (root.path().to_owned(), copies.path().to_owned());
    let (expected, offsets, steps) = run_local(async move {
        let broker = Broker::start(&path).await;
        let partition = broker.create(&name(0), config()).await;
        fill(&partition, &mut Random(7), 80).await;
        for at in 0..4 {
            transaction_of_key(&partition, at).await;
        }
        partition.disk.checkpoint_now().await;
        let expected = values_of_committed(&partition).await;
        assert!(!expected.contains_key(&b"in doubt"[..]), "what was aborted does not count");
        let steps = copy_at_each_step(&path, &to);
        clean(&partition, Duration::ZERO).await.expect("it is dirty");
        PROBE.with(|probe| probe.borrow_mut().take());
        (expected, partition.offsets(), steps.get())
    });
    assert!(steps > 30, "{steps} steps");
    let mut seen = [false; 3];
    for step in 0..steps {
        let copy = copies.path().join(step.to_string());
        seen[0] |= count(&copy, ".cleaned") > 0;
        seen[1] |= count(&copy, ".log.swap") > 0;
        seen[2] |= count(&copy, ".swap") > 0 && count(&copy, ".log.swap") == 0;
        let again = directory(true);
        let more = check_recovery(&copy, &expected, offsets.log_end, Some(again.path()));
        for step in 0..more {
            check_recovery(&again.path().join(step.to_string()), &expected, offsets.log_end, None);
        }
    }
    assert_eq!(seen, [true; 3], "the copies show every state of a swap");
}

/// A transaction with a record of a key of its own: the swap has a transaction index to move.
async fn transaction_of_key(partition: &Rc<Partition>, at: i32) {
    use ottla::ids::{ProducerEpoch, ProducerId};
    use ottla::log::{NewBatch, TransactionCheck};
    let mut records = BatchBuilder::new().transactional().producer(ProducerId(5), ProducerEpoch(0), at);
    let value = vec![b'v'; 900];
    records.append(&NewRecord {
        timestamp: TimestampMs(5),
        key: Some(b"in doubt"),
        value: Some(&value),
        ..Default::default()
    });
    let bytes = records.build();
    let transaction = TransactionCheck { verified: true, ..TransactionCheck::default() };
    partition.append(&bytes, NewBatch { transaction, ..new_batch(&bytes) }).await.expect("an append");
    end_transaction(partition, 5, false).await;
}

/// Copies a log dir before each step of the cleaner to directories named by numbers; returns how many there are.
fn copy_at_each_step(from: &Path, to: &Path) -> Rc<Cell<usize>> {
    let steps = Rc::new(Cell::new(0));
    let (counted, from, to) = (Rc::clone(&steps), from.to_owned(), to.to_owned());
    let copy = move |_: &'static str| {
        copy_dir(&from, &to.join(counted.get().to_string()));
        counted.set(counted.get() + 1);
    };
    PROBE.with(|probe| *probe.borrow_mut() = Some(Box::new(copy)));
    steps
}

/// Starts on a directory that a crash has left; with `copies`, a crash at each step of that is copied there.
fn check_recovery(root: &Path, expected: &Values, log_end: Offset, copies: Option<&Path>) -> usize {
    let (root, expected) = (root.to_owned(), expected.clone());
    let copies = copies.map(Path::to_owned);
    let path = root.clone();
    let steps = run_local(async move {
        let broker = Broker::start(&path).await;
        let steps = copies.map(|copies| copy_at_each_step(&path, &copies));
        let partition = broker.load(&name(0), config()).await;
        PROBE.with(|probe| probe.borrow_mut().take());
        assert_eq!(partition.offsets().log_end, log_end);
        let values = values_of_committed(&partition).await;
        assert_eq!(values, expected);
        // It is cleaned again where that had not come to its end, and goes on as any log does.
        let _ = clean(&partition, Duration::ZERO).await;
        assert_eq!(values_of_committed(&partition).await, expected);
        fill(&partition, &mut Random(3), 3).await;
        abandon(partition).await;
        steps.map_or(0, |steps| steps.get())
    });
    assert_eq!(count(&root, ".cleaned") + count(&root, ".swap"), 0, "nothing of the swap is left");
    steps
}

/// What a reader of committed records makes of the partition.
async fn values_of_committed(partition: &Rc<Partition>) -> Values {
    let end = partition.offsets().last_stable;
    let (mut batches, mut next) = (Vec::new(), partition.offsets().log_start.0);
    while next < end.0 {
        let (read, aborted) = partition.read_committed(request(next, end, 2_000)).await.expect("a read");
        let bytes = bytes_of(&read);
        let mut rest = bytes.as_slice();
        if rest.is_empty() {
            break;
        }
        while let Ok(header) = BatchHeader::parse(rest)
            && header.batch_bytes <= rest.len()
        {
            let is_aborted = aborted.iter().any(|aborted| {
                let within =
                    aborted.first_offset <= header.base_offset && header.base_offset < aborted.last_offset;
                within && header.attributes.is_transactional() && aborted.producer_id == header.producer_id
            });
            if !is_aborted && !header.attributes.is_control() {
                batches.push(rest[..header.batch_bytes].to_vec());
            }
            next = next.max(header.next_offset().0);
            rest = &rest[header.batch_bytes..];
        }
    }
    last_values(&batches)
}

#[test]
fn readers_see_the_same_values_while_segments_are_replaced_under_them() {
    let root = directory(false);
    run_local(async move {
        let broker = Broker::start(root.path()).await;
        let partition = broker.create(&name(0), config()).await;
        let mut random = Random(11);
        fill(&partition, &mut random, 60).await;
        let stop = Rc::new(Cell::new(false));
        let reads = Rc::new(Cell::new(0_u64));
        let readers: Vec<_> = (0..4_u64)
            .map(|reader| {
                let (partition, stop, reads) = (Rc::clone(&partition), Rc::clone(&stop), Rc::clone(&reads));
                host::spawn(async move {
                    let mut random = Random(reader);
                    while !stop.get() {
                        let end = partition.offsets().high_watermark;
                        let from = i64::try_from(random.below(end.0.unsigned_abs())).expect("small");
                        let read = partition.read(request(from, end, 700)).await.expect("a read");
                        let bytes = bytes_of(&read);
                        let header = BatchHeader::parse(&bytes).expect("a batch");
                        assert!(header.last_offset().0 >= from, "the batch asked for, or one behind it");
                        assert!(ottla::protocol::records::crc_is_valid(&bytes[..header.batch_bytes]));
                        let query = TimestampQuery::AtOrAfter(TimestampMs(1_000));
                        let found = partition.offset_for_timestamp(query, end).await.expect("an answer");
                        assert!(found.is_some());
                        reads.set(reads.get() + 1);
                        // The cleaner and its checks have the core in between.
                        host::sleep(Duration::from_millis(1)).await;
                    }
                })
            })
            .collect();
        let mut cleanings = 0;
        while cleanings < 12 || reads.get() < 2_000 {
            fill(&partition, &mut random, 15).await;
            let before = values_of(&partition).await;
            if let Some(cleaned) = clean(&partition, Duration::from_millis(1)).await {
                assert!(matches!(cleaned, Cleaned::UpTo(_)));
                cleanings += 1;
            }
            assert_eq!(values_of(&partition).await, before);
        }
        stop.set(true);
        for reader in readers {
            reader.await;
        }
        partition.close().await.expect("a close");
    });
}

#[test]
fn a_reader_that_was_given_a_file_keeps_its_bytes() {
    let root = directory(false);
    run_local(async move {
        let broker = Broker::start(root.path()).await;
        let partition = broker.create(&name(0), config()).await;
        fill(&partition, &mut Random(5), 60).await;
        let end = partition.offsets().high_watermark;
        while broker.disk.evict_for_test() {}
        let read = partition.read(request(0, end, 2_500)).await.expect("a read");
        let before = bytes_of(&read);
        clean(&partition, Duration::from_millis(1)).await.expect("it is dirty");
        host::sleep(Duration::from_millis(50)).await;
        assert_eq!(bytes_of(&read), before);
        let now = partition.read(request(0, end, 2_500)).await.expect("a read");
        assert_ne!(bytes_of(&now), before);
        partition.close().await.expect("a close");
    });
}

#[test]
fn old_files_stay_for_the_delay_and_retention_lets_a_log_alone_that_is_cleaned() {
    let root = directory(false);
    let path = root.path().to_owned();
    run_local(async move {
        let broker = Broker::start(&path).await;
        let config = LogConfig { delete: true, retention_ms: Some(1), ..config() };
        let partition = broker.create(&name(0), config).await;
        fill(&partition, &mut Random(5), 60).await;
        let job = broker.disk.next_to_clean(vec![Rc::clone(&partition)]).await.expect("it is dirty");
        assert_eq!(partition.enforce_retention(Duration::ZERO).await.expect("no failure"), 0);
        assert!(broker.disk.next_to_clean(vec![Rc::clone(&partition)]).await.is_none(), "one at a time");
        let cleaned = job.run(&with(Duration::from_secs(60))).await;
        assert!(matches!(cleaned, Cleaned::UpTo(_)));
        assert!(count(&path, ".log.deleted") == 2, "{:?}", names(&path));
        let kept = partition.offsets().log_end;
        assert!(
            partition.enforce_retention(Duration::ZERO).await.expect("no failure") > 0,
            "both policies hold"
        );
        assert_eq!(partition.offsets().log_end, kept);
        partition.close().await.expect("a close");
    });
}

#[test]
fn damage_ends_compaction_of_the_partition_and_changes_nothing() {
    let root = directory(false);
    let path = root.path().to_owned();
    run_local(async move {
        let broker = Broker::start(&path).await;
        let partition = broker.create(&name(0), config()).await;
        fill(&partition, &mut Random(5), 80).await;
        partition.disk.checkpoint_now().await;
        let segments = files(&path.join("topic-0"), ".log");
        let mut bytes = std::fs::read(&segments[1]).expect("a segment");
        let at = bytes.len() / 2;
        bytes[at] ^= 4;
        std::fs::write(&segments[1], &bytes).expect("a segment");
        let before: Vec<_> = segments.iter().map(|path| std::fs::read(path).expect("a segment")).collect();
        assert_eq!(clean(&partition, Duration::ZERO).await, Some(Cleaned::GivenUp));
        assert!(clean(&partition, Duration::ZERO).await.is_none(), "it is not tried again");
        let after: Vec<_> = segments.iter().map(|path| std::fs::read(path).expect("a segment")).collect();
        assert_eq!(after, before);
        assert!(!broker.dir.is_offline());
        assert_eq!(
            (count(&path, ".cleaned"), broker.dir.offset(OffsetsKind::FirstDirty, &name(0))),
            (0, None)
        );
        fill(&partition, &mut Random(6), 2).await;
        partition.close().await.expect("a close");
    });
}

#[test]
fn a_cleaned_segment_that_is_not_whole_costs_nothing() {
    let root = directory(true);
    let copies = directory(true);
    let (path, to) = (root.path().to_owned(), copies.path().to_owned());
    let steps = run_local(async move {
        let broker = Broker::start(&path).await;
        let partition = broker.create(&name(0), config()).await;
        fill(&partition, &mut Random(7), 40).await;
        let steps = copy_at_each_step(&path, &to);
        clean(&partition, Duration::ZERO).await.expect("it is dirty");
        PROBE.with(|probe| probe.borrow_mut().take());
        steps.get()
    });
    let swaps = (0..steps).map(|step| copies.path().join(step.to_string()));
    let swaps: Vec<PathBuf> = swaps.filter(|copy| count(copy, ".log.swap") > 0).collect();
    let copy = swaps[swaps.len() - 1].clone();
    let swap = files(&copy.join("topic-0"), ".log.swap").remove(0);
    let whole = std::fs::read(&swap).expect("a cleaned segment");
    std::fs::write(&swap, &whole[..whole.len() - 5]).expect("a cleaned segment");
    let before = names(&copy).len();
    run_local(async move {
        let broker = Broker::start(&copy).await;
        let found = broker.found[0].clone();
        let result = broker.disk.load(&broker.dir, found, super::support::with(config())).await;
        let error = result.expect_err("what it replaces must not go");
        assert!(matches!(error, DiskError::Corrupt { .. }), "{error}");
        assert_eq!(names(&copy).len(), before, "no file has gone");
    });
}

#[test]
fn a_full_disk_pauses_compaction_and_another_failure_ends_the_log_dir() {
    let Some(disk) = SmallDisk::mount() else { return };
    let path = disk.0.path().to_owned();
    run_local(async move {
        let broker = Broker::start(&path).await;
        let config = LogConfig { segment_bytes: 300_000, ..config() };
        let partition = broker.create(&name(0), config.clone()).await;
        for at in 0..8 {
            let value = vec![at; 100_000];
            let mut builder = BatchBuilder::new();
            for key in [[at], [100]] {
                builder.append(&NewRecord { key: Some(&key), value: Some(&value), ..NewRecord::default() });
            }
            produce(&partition, &builder.build()).await;
        }
        let expected = values_of(&partition).await;
        let ballast = path.join("ballast");
        let free = broker.dir.space().await.expect("it is there").free;
        std::fs::write(&ballast, vec![1; usize::try_from(free - 60_000).expect("small")]).expect("a file");
        assert_eq!(clean(&partition, Duration::ZERO).await, Some(Cleaned::DiskFull));
        assert!(!broker.dir.is_offline());
        assert_eq!(count(&path, ".cleaned"), 0, "its files make room");
        assert_eq!(values_of(&partition).await, expected);
        std::fs::remove_file(&ballast).expect("a file");
        // A directory of that name stands in for a disk that refuses.
        let in_the_way = path.join("topic-0/00000000000000000000.log.cleaned");
        std::fs::create_dir(&in_the_way).expect("a directory");
        let other = broker.create(&name(1), config).await;
        assert_eq!(clean(&partition, Duration::ZERO).await, Some(Cleaned::GivenUp));
        assert!(broker.dir.is_offline());
        assert!(append(&other, &batch(1, 10)).await.is_err(), "the whole directory is offline");
    });
}

/// Segments that were closed while nothing could be written have no files to compact.
#[test]
fn compaction_waits_for_segments_that_a_full_disk_leaves_unfinished() {
    let Some(disk) = SmallDisk::mount() else { return };
    let path = disk.0.path().to_owned();
    run_local(async move {
        let broker = SmallDisk::broker(&path).await;
        let partition = broker.create(&name(0), LogConfig { segment_bytes: 250_000, ..config() }).await;
        let value = vec![7; 100_000];
        let record = |key: &'static [u8]| {
            let mut builder = BatchBuilder::new();
            builder.append(&NewRecord { key: Some(key), value: Some(&value), ..NewRecord::default() });
            builder.build()
        };
        for _ in 0..3 {
            produce(&partition, &record(b"first")).await;
        }
        let ballast = path.join("ballast");
        let free = broker.dir.space().await.expect("it is there").free;
        std::fs::write(&ballast, vec![1; usize::try_from(free - 60_000).expect("small")]).expect("a file");
        let mut end = partition.offsets().log_end;
        for _ in 0..6 {
            end = append(&partition, &record(b"second")).await.expect("memory takes it").end;
        }
        assert!(partition.wait_acknowledged(end).await.is_err(), "the disk is full");
        assert_eq!(clean(&partition, Duration::ZERO).await, Some(Cleaned::DiskFull));
        std::fs::remove_file(&ballast).expect("a file");
        partition.wait_durable(end).await.expect("room again");
        let cleaned = clean(&partition, Duration::ZERO).await;
        assert!(matches!(cleaned, Some(Cleaned::UpTo(_))), "{cleaned:?}");
        assert_eq!(values_of(&partition).await.len(), 2, "and nothing has gone");
        abandon(partition).await;
    });
}

#[test]
fn a_closed_or_deleted_partition_ends_its_cleaning() {
    for delete in [false, true] {
        let root = directory(false);
        let path = root.path().to_owned();
        run_local(async move {
            let broker = Broker::start(&path).await;
            let partition = broker.create(&name(0), config()).await;
            fill(&partition, &mut Random(7), 60).await;
            // So slow that it cannot come to its end.
            broker.disk.dirs().cleaners().set_rate(Some(1));
            let job = broker.disk.next_to_clean(vec![Rc::clone(&partition)]).await.expect("it is dirty");
            let ended = Rc::new(RefCell::new(None));
            let result = Rc::clone(&ended);
            let task = host::spawn(async move {
                let cleaned = job.run(&with(Duration::ZERO)).await;
                *result.borrow_mut() = Some(cleaned);
            });
            host::sleep(Duration::from_millis(30)).await;
            assert!(ended.borrow().is_none());
            if delete {
                partition.delete(Duration::ZERO).await.expect("a deletion");
            } else {
                partition.close().await.expect("a close");
                assert_eq!(count(&path, ".cleaned"), 0);
            }
            task.await;
            assert_eq!(*ended.borrow(), Some(Cleaned::GivenUp));
        });
    }
}
