//! Transaction indexes that are damaged between two lives: built anew, as they were, from whatever else is there; and
//! indexes in the cache, which are not those of the segment once it has grown.

use std::path::Path;

use ottla::ids::Offset;
use ottla::log::AbortedTransaction;

use super::support::*;
use crate::host::run_local;

/// Transactions of three producers that overlap each other and the segments; every other one is aborted.
async fn write_transactions(path: &Path) -> Vec<AbortedTransaction> {
    let broker = Broker::start(path).await;
    let partition = broker.create(&name(0), small_segments(1_000)).await;
    for round in 0..30 {
        for producer in 0..3 {
            // The third producer's transactions are open for three rounds.
            let is_last = producer < 2 || round % 3 == 2;
            in_transaction(&partition, producer, round).await;
            if is_last {
                end_transaction(&partition, producer, (i64::from(round) + producer) % 2 == 0).await;
            }
        }
    }
    let end = partition.offsets().log_end;
    let aborted = partition.aborted_between(Offset(0), end).await.expect("they are known");
    broker.end_cleanly(partition).await;
    aborted
}

fn flipped(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[12] ^= 0x40;
    bytes
}

fn cut(bytes: &[u8]) -> Vec<u8> {
    bytes[..bytes.len() - 5].to_vec()
}

fn zeros(bytes: &[u8]) -> Vec<u8> {
    vec![0; bytes.len() + 34]
}

#[test]
fn a_damaged_transaction_index_is_built_anew_as_it_was() {
    for damage in [flipped, cut, zeros] {
        for with_snapshots in [true, false] {
            let root = directory(false);
            let path = root.path().join("topic-0");
            let base = root.path().to_owned();
            let aborted = run_local(async move { write_transactions(&base).await });
            let indexes = files(&path, ".txnindex");
            assert!(aborted.len() > 20 && indexes.len() > 5, "{} in {}", aborted.len(), indexes.len());
            // The last segment's index is in the note of the clean stop.
            let damaged = &indexes[..indexes.len() - 1];
            let whole: Vec<Vec<u8>> =
                damaged.iter().map(|path| std::fs::read(path).expect("an index")).collect();
            for (path, bytes) in damaged.iter().zip(&whole) {
                std::fs::write(path, damage(bytes)).expect("an index");
            }
            if !with_snapshots {
                files(&path, ".snapshot")
                    .iter()
                    .for_each(|path| std::fs::remove_file(path).expect("it goes"));
            }
            let base = root.path().to_owned();
            run_local(async move {
                let broker = Broker::start(&base).await;
                let partition = broker.load(&name(0), small_segments(1_000)).await;
                let end = partition.offsets().log_end;
                let found = partition.aborted_between(Offset(0), end).await.expect("they are found");
                assert_eq!(found, aborted, "with snapshots: {with_snapshots}");
                assert_eq!(consume(&partition, 0, 1 << 20).await.concat().len() as u64, partition.bytes());
                abandon(partition).await;
            });
            for (path, bytes) in damaged.iter().zip(&whole) {
                assert_eq!(std::fs::read(path).expect("an index"), *bytes, "{}", path.display());
            }
        }
    }
}

#[test]
fn an_index_of_no_aborted_transaction_is_none() {
    let root = directory(false);
    let base = root.path().to_owned();
    run_local(async move {
        let broker = Broker::start(&base).await;
        let partition = broker.create(&name(0), small_segments(1_000)).await;
        for sequence in 0..30 {
            transaction_of(&partition, 7, sequence, true).await;
        }
        broker.end_cleanly(partition).await;
    });
    let index = files(&root.path().join("topic-0"), ".log")[0].with_extension("txnindex");
    std::fs::write(&index, [0; 34]).expect("an index");
    run_local(async move {
        let broker = Broker::start(root.path()).await;
        let partition = broker.load(&name(0), small_segments(1_000)).await;
        let end = partition.offsets().log_end;
        assert_eq!(partition.aborted_between(Offset(0), end).await.expect("none is found"), []);
        assert_eq!(consume(&partition, 0, 1 << 20).await.concat().len() as u64, partition.bytes());
        abandon(partition).await;
    });
}

#[test]
fn what_is_cached_of_an_active_segments_indexes_goes_with_its_roll() {
    let root = directory(false);
    run_local(async move {
        let broker = Broker::start(root.path()).await;
        let partition = broker.create(&name(0), small_segments(400_000)).await;
        let mut at = 0;
        while at < 1_000 {
            produce(&partition, &batch(at, 200)).await;
            at += 1;
        }
        broker.disk.checkpoint_now().await;
        let key = (partition.number, Offset(0));
        let up_to = partition.offsets().high_watermark;
        partition.read(request(10, up_to, 1)).await.expect("a read");
        assert!(broker.disk.indexes.get(key).is_some(), "the reader's place is looked up in the file");
        while partition.with_log(|log| log.active_segment().base_offset()) == Offset(0) {
            produce(&partition, &batch(at, 200)).await;
            at += 1;
        }
        partition.wait_finished().await.expect("its indexes are whole");
        let up_to = partition.offsets().high_watermark;
        partition.read(request(i64::try_from(at).expect("small") - 3, up_to, 1)).await.expect("a read");
        let entries = std::fs::metadata(root.path().join("topic-0/00000000000000000000.index"));
        let entries = entries.expect("an index").len() / 8;
        if let Some(cached) = broker.disk.indexes.get(key) {
            assert_eq!(cached.offsets.len() as u64, entries, "whoever looks again finds all of it");
        }
        abandon(partition).await;
    });
}
