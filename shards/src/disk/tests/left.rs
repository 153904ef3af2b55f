//! What happens to the files of a broker that is stopped: a start finds it out, and names what is lost.

use std::path::Path;
use std::time::Duration;

use ottla::ids::Offset;
use ottla::log::timestamp::TimestampQuery;

use super::support::*;
use crate::disk::LoadedPartition;
use crate::disk::left::Change;
use crate::host::{self, run_local};

const COUNT: u64 = 44;

fn config() -> ottla::log::LogConfig {
    small_segments(1_000)
}

/// A log of several segments that was stopped in order; returns its batches.
fn stopped(root: &Path) -> Vec<Vec<u8>> {
    let root = root.to_owned();
    run_local(async move {
        let broker = Broker::start(&root).await;
        let partition = broker.create(&name(0), config()).await;
        partition.become_leader(ottla::ids::LeaderEpoch(0)).await.expect("an epoch");
        for at in 0..COUNT {
            produce(&partition, &sequenced(7, at as i32, 40)).await;
        }
        broker.end_cleanly(partition).await;
        (0..COUNT as i64).map(|at| stored(&sequenced(7, at as i32, 40), at, 0)).collect()
    })
}

/// Bases and sizes of the segments.
fn segments(root: &Path) -> Vec<(i64, u64)> {
    let paths = files(&root.join("topic-0"), ".log");
    let base = |path: &Path| path.file_stem().expect("a name").to_string_lossy().parse().expect("an offset");
    paths.iter().map(|path| (base(path), std::fs::metadata(path).expect("a segment").len())).collect()
}

fn cut(root: &Path, segment: usize, bytes: u64) {
    let path = &files(&root.join("topic-0"), ".log")[segment];
    let file = std::fs::OpenOptions::new().write(true).open(path).expect("a segment");
    file.set_len(bytes).expect("a cut");
}

async fn load(broker: &Broker) -> LoadedPartition {
    let found = broker.found[0].clone();
    assert!(found.clean.is_some(), "the stop was clean");
    broker.disk.load(&broker.dir, found, with(config())).await.expect("a load")
}

/// What a start finds, what is left for readers from the log's start on, and its end. The log goes on with the next
/// record of its producer, and the start after finds nothing more.
fn start(root: &Path) -> (Vec<Change>, usize, Vec<Vec<u8>>, i64) {
    let (first, again) = (root.to_owned(), root.to_owned());
    let (found, next) = run_local(async move {
        let broker = Broker::start(&first).await;
        let LoadedPartition { partition, damage, changes, .. } = load(&broker).await;
        let offsets = partition.offsets();
        let batches = consume_what_is_there(&partition, offsets.log_start.0, 700).await;
        let end = offsets.log_end.0;
        let next = produce(&partition, &sequenced(7, end as i32, 40)).await;
        assert_eq!(next.base_offset, Offset(end));
        broker.end_cleanly(partition).await;
        (
            (changes.as_slice().to_vec(), damage.len(), batches, end),
            stored(&sequenced(7, end as i32, 40), end, 0),
        )
    });
    run_local(async move {
        let broker = Broker::start(&again).await;
        let LoadedPartition { partition, scanned_bytes, changes, .. } = load(&broker).await;
        assert_eq!((changes.as_slice(), scanned_bytes), (&[][..], 0), "nothing is told twice");
        let start = partition.offsets().log_start.0;
        let batches = consume_what_is_there(&partition, start, 700).await;
        assert!(batches[..batches.len() - 1] == found.2);
        assert!(*batches.last().expect("at least one") == next);
        abandon(partition).await;
        found
    })
}

#[test]
fn a_segment_that_was_cut_while_the_broker_was_stopped_has_a_hole_with_a_name() {
    let root = directory(false);
    let expected = stopped(root.path());
    let segments = segments(root.path());
    let [(base, bytes), (next, _)] = segments[2..4] else { panic!("more segments than {}", segments.len()) };
    cut(root.path(), 2, bytes - 10);
    let (changes, damage, batches, end) = start(root.path());
    let resized = Change::Resized { base: Offset(base), next: Offset(next), bytes: bytes - 10, left: bytes };
    assert_eq!(changes, [resized]);
    assert_eq!((damage, end), (1, COUNT as i64));
    let hole = next as usize - 1;
    assert!(batches == [&expected[..hole], &expected[hole + 1..]].concat());
}

#[test]
fn a_segment_that_was_cut_behind_a_batch_is_noticed_too() {
    let root = directory(false);
    let expected = stopped(root.path());
    let ([(_, bytes), (next, _)], one) =
        (segments(root.path())[2..4].try_into().expect("two"), expected[0].len());
    cut(root.path(), 2, bytes - one as u64);
    let (changes, _, batches, end) = start(root.path());
    assert_eq!((changes.len(), end), (1, COUNT as i64));
    let hole = next as usize - 1;
    assert!(batches == [&expected[..hole], &expected[hole + 1..]].concat());
}

#[test]
fn a_segment_that_was_removed_while_the_broker_was_stopped_is_named() {
    for at in [0, 2] {
        let root = directory(false);
        let expected = stopped(root.path());
        let segments = segments(root.path());
        let [(base, _), (next, _)] = segments[at..at + 2] else { panic!("two segments") };
        std::fs::remove_file(&files(&root.path().join("topic-0"), ".log")[at]).expect("a segment");
        let (changes, damage, batches, end) = start(root.path());
        assert_eq!(changes, [Change::Missing { base: Offset(base), next: Offset(next), is_lost: true }]);
        assert_eq!((damage, end), (0, COUNT as i64));
        assert!(batches == [&expected[..base as usize], &expected[next as usize..]].concat());
    }
}

#[test]
fn an_active_segment_that_was_cut_or_removed_ends_the_log_before() {
    for removed in [false, true] {
        let root = directory(false);
        let expected = stopped(root.path());
        let segments = segments(root.path());
        let (at, (base, bytes)) = (segments.len() - 1, *segments.last().expect("an active segment"));
        assert!(bytes > 0);
        let left = if removed {
            std::fs::remove_file(&files(&root.path().join("topic-0"), ".log")[at]).expect("a segment");
            base
        } else {
            cut(root.path(), at, bytes - 1);
            COUNT as i64 - 1
        };
        let (changes, damage, batches, end) = start(root.path());
        assert_eq!((changes.len(), damage, end), (1, 1, left), "removed: {removed}");
        assert!(batches == expected[..left as usize], "removed: {removed}");
    }
}

#[test]
fn an_index_of_the_active_segment_that_is_gone_is_built_anew() {
    let root = directory(false);
    let expected = stopped(root.path());
    let path = files(&root.path().join("topic-0"), ".index").pop().expect("an index");
    assert!(std::fs::metadata(&path).expect("an index").len() > 8, "more than the note has");
    std::fs::remove_file(path).expect("an index");
    let (changes, damage, batches, _) = start(root.path());
    assert!(matches!(changes[..], [Change::Index { .. }]), "{changes:?}");
    assert_eq!(damage, 0);
    assert!(batches == expected);
}

#[test]
fn a_segment_that_is_cut_under_the_broker_is_an_error_and_no_reply_without_an_end() {
    let root = directory(false);
    let expected = stopped(root.path());
    run_local(async move {
        let broker = Broker::start(root.path()).await;
        let partition = load(&broker).await.partition;
        let end = partition.offsets().high_watermark;
        let (next, bytes) = (segments(root.path())[2].0, segments(root.path())[1].1);
        let whole = partition.read(request(next - 1, end, 10)).await.expect("a read");
        assert_eq!(bytes_of(&whole), expected[next as usize - 1]);
        cut(root.path(), 1, bytes - 10);
        let error = partition.read(request(next - 1, end, 10)).await.expect_err("it is cut");
        assert_eq!(error.code(), ottla::errors::ErrorCode::CorruptMessage);
        assert!(error.to_string().contains(".log"), "{error}");
        assert_eq!(
            bytes_of(&partition.read(request(next, end, 10)).await.expect("a read")),
            expected[next as usize]
        );
        abandon(partition).await;
    });
}

#[test]
fn a_base_offset_that_was_turned_at_rest_is_an_error_and_hides_no_record() {
    let source = directory(false);
    let expected = stopped(source.path());
    let (base, one) = (segments(source.path())[1].0, expected[0].len());
    for (at, bit) in [(2, 7), (3, 7), (3, 6), (4, 3), (2, 0)] {
        let root = directory(false);
        copy_dir(source.path(), root.path());
        let path = files(&root.path().join("topic-0"), ".log")[1].clone();
        let mut content = std::fs::read(&path).expect("a segment");
        content[at * one + bit] ^= 4;
        std::fs::write(&path, &content).expect("a segment");
        let expected = expected.clone();
        run_local(async move {
            let broker = Broker::start(root.path()).await;
            let partition = load(&broker).await.partition;
            let (end, turned) = (partition.offsets().high_watermark, base + at as i64);
            let error = partition.read(request(turned, end, 10)).await.expect_err("an offset was turned");
            assert_eq!(error.code(), ottla::errors::ErrorCode::CorruptMessage);
            assert!(error.to_string().contains(".log is corrupt: the batch at byte"), "{error}");
            let query = TimestampQuery::AtOrAfter(ottla::ids::TimestampMs(1_001));
            assert_eq!(partition.offset_for_timestamp(query, end).await.expect("a search"), None);
            let before = partition.read(request(base, end, 10)).await.expect("what is before it");
            assert_eq!(bytes_of(&before), expected[base as usize]);
            abandon(partition).await;
        });
    }
}

#[test]
fn what_an_earlier_run_has_left_below_the_log_start_goes_at_a_start() {
    let root = directory(false);
    let (base, aside) = (root.path().to_owned(), directory(false));
    stopped(&base);
    copy_dir(&base.join("topic-0"), aside.path());
    let first = base.clone();
    let kept = run_local(async move {
        let broker = Broker::start(&first).await;
        let partition = load(&broker).await.partition;
        partition.delete_records(Offset(30)).await.expect("a deletion");
        let gone = partition.enforce_retention(Duration::from_secs(3_600)).await.expect("a retention");
        assert!(gone > 2);
        broker.end_cleanly(partition).await;
        files(&first.join("topic-0"), ".log")
    });
    let path = base.join("topic-0");
    assert!(!files(&path, ".deleted").is_empty(), "they were to be removed later");
    for file in files(aside.path(), "log").into_iter().chain(files(aside.path(), "index")) {
        let to = path.join(file.file_name().expect("a name"));
        if !to.exists() {
            std::fs::copy(&file, to).expect("a copy");
        }
    }
    assert!(files(&path, ".log").len() > kept.len());
    run_local(async move {
        let broker = Broker::start(&base).await;
        let loaded = load(&broker).await;
        assert_eq!((loaded.changes.as_slice(), loaded.scanned_bytes), (&[][..], 0));
        for _ in 0..5_000 {
            if files(&path, ".log") == kept && files(&path, ".deleted").is_empty() {
                break;
            }
            host::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!((files(&path, ".log"), files(&path, ".deleted")), (kept.clone(), vec![]));
        assert_eq!(files(&path, ".index").len(), kept.len());
        let found = loaded.partition.offset_for_timestamp(TimestampQuery::Earliest, Offset(44)).await;
        assert_eq!(found.expect("a search").expect("there are records").offset, Offset(30));
        assert_eq!(consume(&loaded.partition, 30, 700).await.len(), 14);
        abandon(loaded.partition).await;
    });
}
