//! Compacted segments, read by Kafka's own dump tool.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use ottla::protocol::compression::Codec;
use ottla_tests::broker::{Broker, Options};
use ottla_tests::kafka::{kafka_jars, run, tool};
use ottla_tests::keyed::{KeyAndValue, produce, read_keyed, wait_for};
use ottla_tests::topics::create_topic;
use ottla_tools::client::Client;

#[test]
fn kafka_reads_compacted_segments_and_their_indexes() {
    let Some(jars) = kafka_jars() else { return };
    let directory = tempfile::tempdir().expect("a temporary directory");
    let options = Options::new(directory.path()).set("log.cleaner.backoff.ms", 20);
    let broker = Broker::start(&options.set("log.cleaner.delete.retention.ms", 3_600_000));
    let configs = [
        ("cleanup.policy", "compact"),
        ("min.cleanable.dirty.ratio", "0.01"),
        ("segment.ms", "1"),
        ("index.interval.bytes", "100"),
    ];
    create_topic(broker.address(), "dump", 1, &configs);
    let mut client = Client::connect(broker.address(), "compacted").expect("the broker listens");
    let mut send = |at: i64, keys: i64| {
        let codec = Codec::ALL[usize::try_from(at % 5).expect("small")];
        let record = |part: i64| -> KeyAndValue {
            let key = format!("key-{}", (at * 7 + part * 3) % keys).into_bytes();
            // A tombstone now and then: cleaned batches with a delete horizon.
            (Some(key), (part % 5 != 4).then(|| vec![b'v'; 200]))
        };
        let records: Vec<KeyAndValue> = (0..20).map(record).collect();
        assert_eq!(produce(&mut client, "dump", at * 1_000, codec, &records).0, 0);
    };
    (0..60).for_each(|at| send(at, 50));
    let mut at = 60;
    wait_for("a compacted topic", || {
        send(at, 50);
        at += 1;
        (read_keyed(broker.address(), "dump", 0).len() < 120).then_some(())
    });
    let left = read_keyed(broker.address(), "dump", 0);
    assert_eq!(broker.stop(), 0);

    let partition = directory.path().join("dump-0");
    let files = |ending: &str| -> Vec<String> {
        let entries = std::fs::read_dir(&partition).expect("the partition has a directory");
        let paths = entries.map(|entry| entry.expect("it can be read").path());
        let is_wanted = |path: &PathBuf| path.extension().is_some_and(|extension| extension == ending);
        let names: BTreeSet<_> = paths.filter(is_wanted).map(|path| path.display().to_string()).collect();
        names.into_iter().collect()
    };
    let segments = files("log");
    let dumped = run(tool(&jars, "dump-log").args(["--deep-iteration", "--files", &segments.join(",")]), b"")
        .success();
    let offsets: Vec<i64> = dumped
        .lines()
        .filter_map(|line| line.strip_prefix("| offset: "))
        .map(|rest| rest.split(' ').next().and_then(|offset| offset.parse().ok()).expect("an offset"))
        .collect();
    let first = left[0].offset;
    let read: Vec<i64> = left.iter().map(|record| record.offset).collect();
    // The last cleaning may have come between the reading and the stop: what it removed is no longer dumped.
    assert!(offsets.iter().all(|offset| *offset < first || read.contains(offset)), "{offsets:?}");
    assert!(offsets.len() > 40, "{dumped}");
    assert!(dumped.contains("deleteHorizonMs: OptionalLong["), "a batch has its delete horizon: {dumped}");
    assert!(!dumped.contains("isvalid: false"), "every CRC is right: {dumped}");
    check_indexes(&jars, segments.len(), &files);
}

/// Kafka checks every index of the partition against its segment.
fn check_indexes(jars: &Path, segments: usize, files: &dyn Fn(&str) -> Vec<String>) {
    for ending in ["index", "timeindex"] {
        let indexes = files(ending);
        // The one that was still taking records may have had nothing to index.
        assert!(indexes.len() + 1 >= segments, "each segment has its {ending}");
        let checked =
            run(tool(jars, "dump-log").args(["--index-sanity-check", "--files", &indexes.join(",")]), b"")
                .success();
        let fine = checked.matches("passed sanity check").count() + checked.matches(" is empty").count();
        assert_eq!(fine, indexes.len(), "{checked}");
        assert!(checked.contains("passed sanity check"), "{checked}");
        let verified = run(tool(jars, "dump-log").args(["--files", &indexes.join(",")]), b"").success();
        for sign in ["Found timestamp mismatch", "Found out of order", "Mismatches", "mismatch"] {
            assert!(!verified.contains(sign), "{sign} in {verified}");
        }
    }
}
