//! The file of the next segment: made ahead, named at the roll, and nowhere else when it is not wanted.

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use super::support::*;
use crate::disk::Partition;
use crate::disk::partition::naming::Spare;
use crate::host::{self, run_local};

const SEGMENT_BYTES: u64 = 100_000;

/// More than half of a segment; two of them do not fit into one.
const MUCH: usize = 60_000;

fn spare(partition: &Path) -> PathBuf {
    partition.join("next-segment.tmp")
}

/// Waits until the file made ahead is there.
async fn until_spare(partition: &Rc<Partition>) {
    for _ in 0..2_000 {
        if spare(partition.path()).exists() {
            return;
        }
        host::sleep(Duration::from_millis(1)).await;
    }
    panic!("a file is made ahead");
}

async fn fresh(root: &Path) -> (Broker, Rc<Partition>) {
    let broker = Broker::start(root).await;
    let partition = broker.create(&name(0), small_segments(SEGMENT_BYTES)).await;
    (broker, partition)
}

async fn half_full(root: &Path) -> (Broker, Rc<Partition>) {
    let (broker, partition) = fresh(root).await;
    produce(&partition, &batch(0, MUCH)).await;
    until_spare(&partition).await;
    (broker, partition)
}

fn logs(partition: &Rc<Partition>) -> usize {
    files(partition.path(), ".log").len()
}

#[test]
fn a_roll_takes_the_file_that_was_made_ahead() {
    let root = directory(false);
    run_local(async move {
        use std::os::unix::fs::MetadataExt;
        let (_broker, partition) = fresh(root.path()).await;
        produce(&partition, &batch(0, 1_000)).await;
        host::sleep(Duration::from_millis(5)).await;
        assert!(!spare(partition.path()).exists(), "the segment is not half full");
        for seed in 1..6 {
            produce(&partition, &batch(seed, MUCH)).await;
            until_spare(&partition).await;
            let made = std::fs::metadata(spare(partition.path())).expect("it is there");
            assert_eq!(made.len(), 0, "nothing is written to it under this name");
            produce(&partition, &batch(seed + 100, MUCH)).await;
            let newest = files(partition.path(), ".log").pop().expect("a segment");
            assert_eq!(std::fs::metadata(newest).expect("its file").ino(), made.ino());
        }
        assert_eq!(consume(&partition, 0, 1 << 20).await.len(), 11);
        abandon(partition).await;
    });
}

#[test]
fn what_was_made_ahead_goes_with_a_clean_stop_and_after_a_crash() {
    let (root, copy) = (directory(false), directory(false));
    run_local(async move {
        let (broker, partition) = half_full(root.path()).await;
        // As an earlier life may have left it that wrote under this name.
        std::fs::write(spare(partition.path()), batch(7, 5_000)).expect("a file");
        copy_as_killed(root.path(), copy.path());
        let path = partition.path().to_owned();
        broker.end_cleanly(partition).await;
        assert!(!spare(&path).exists(), "a clean stop leaves Kafka's files alone");

        let broker = Broker::start(copy.path()).await;
        let partition = broker.load(&name(0), small_segments(SEGMENT_BYTES)).await;
        assert!(!spare(partition.path()).exists(), "a start has removed it");
        produce(&partition, &batch(1, MUCH)).await;
        produce(&partition, &batch(2, 1_000)).await;
        assert_eq!((logs(&partition), consume(&partition, 0, 1 << 20).await.len()), (2, 3));
        abandon(partition).await;
    });
}

#[test]
fn a_roll_does_without_what_somebody_has_removed() {
    let root = directory(false);
    run_local(async move {
        let (broker, partition) = half_full(root.path()).await;
        std::fs::remove_file(spare(partition.path())).expect("it is there");
        produce(&partition, &batch(1, MUCH)).await;
        assert_eq!(logs(&partition), 2);
        until_spare(&partition).await;
        produce(&partition, &batch(2, MUCH)).await;
        assert_eq!((logs(&partition), consume(&partition, 0, 1 << 20).await.len()), (3, 3));
        assert!(!broker.dir.is_offline());
        abandon(partition).await;
    });
}

#[test]
fn a_roll_does_without_what_could_not_be_made() {
    let root = directory(false);
    run_local(async move {
        let (broker, partition) = fresh(root.path()).await;
        // A directory of this name can neither be removed as a file nor made one.
        std::fs::create_dir(spare(partition.path())).expect("a directory");
        for seed in 0..4 {
            produce(&partition, &batch(seed, MUCH)).await;
            while partition.state.borrow().spare == Spare::Making {
                host::sleep(Duration::from_millis(1)).await;
            }
            assert_eq!(partition.state.borrow().spare, Spare::Refused, "until the next roll");
        }
        assert_eq!((logs(&partition), consume(&partition, 0, 1 << 20).await.len()), (4, 4));
        assert!(!broker.dir.is_offline());
        std::fs::remove_dir(spare(partition.path())).expect("it is empty");
        produce(&partition, &batch(4, MUCH)).await;
        until_spare(&partition).await;
        abandon(partition).await;
    });
}

#[test]
fn rolls_wait_for_none_and_lose_nothing() {
    let root = directory(false);
    run_local(async move {
        let (broker, partition) = fresh(root.path()).await;
        // Each of them begins a segment, whatever became of the file made ahead.
        for seed in 0..40 {
            produce(&partition, &batch(seed, MUCH)).await;
        }
        assert_eq!((logs(&partition), consume(&partition, 0, 1 << 20).await.len()), (40, 40));
        let path = partition.path().to_owned();
        broker.end_cleanly(partition).await;
        drop(broker);
        assert!(!spare(&path).exists());
        let broker = Broker::start(root.path()).await;
        let partition = broker.load(&name(0), small_segments(SEGMENT_BYTES)).await;
        assert_eq!(consume(&partition, 0, 1 << 20).await.len(), 40);
        abandon(partition).await;
    });
}

#[test]
fn a_deletion_waits_for_names_that_are_being_given() {
    let root = directory(false);
    run_local(async move {
        let (_broker, partition) = fresh(root.path()).await;
        produce(&partition, &batch(0, 1_000)).await;
        let turn = partition.naming.acquire(1).await;
        let deleted = Rc::clone(&partition);
        let deletion = host::spawn(async move { deleted.delete(Duration::ZERO).await });
        host::sleep(Duration::from_millis(30)).await;
        assert!(partition.path().exists(), "a file may be on its way into the directory of this name");
        drop(turn);
        deletion.await.expect("a deletion");
        assert!(!partition.path().exists());
        abandon(partition).await;
    });
}
