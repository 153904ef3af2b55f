//! Log dirs on real file systems: the disk of the temporary directory, and a tmpfs.

use std::io;
use std::sync::Arc;

use ottla::ids::{Offset, TopicPartition};

use super::open::PROBE_FILE;
use super::*;
use crate::disk::clean::{CleanActive, CleanIndex, CleanTimestamp, MARKER_FILE};
use crate::disk::offsets_file;
use crate::host::run_local;

fn partition(topic: &str, partition: i32) -> TopicPartition {
    TopicPartition { topic: topic.into(), partition }
}

fn clean_of(tp: &TopicPartition) -> CleanPartition {
    CleanPartition {
        topic: tp.topic.to_string(),
        partition: tp.partition,
        topic_id: [1; 16],
        log_start_offset: 0,
        log_end_offset: 0,
        high_watermark: 0,
        closed: Vec::new(),
        active: CleanActive {
            base_offset: 0,
            created: false,
            bytes: 0,
            largest: CleanTimestamp { timestamp_ms: -1, offset: 0 },
            first_timestamp_ms: None,
            modified_ms: -1,
            bytes_since_entry: 0,
            offsets: CleanIndex::default(),
            times: CleanIndex::default(),
            aborted: Vec::new(),
        },
        epochs: Vec::new(),
        producers: Vec::new(),
        snapshots: Vec::new(),
    }
}

#[test]
fn a_directory_is_locked_while_it_is_open() {
    let root = tempfile::tempdir().expect("a temporary directory");
    run_local(async move {
        let path = root.path().join("new/data");
        let first = LogDir::open(&path).await.expect("a log dir");
        let error = LogDir::open(&path).await.expect_err("it is locked");
        assert!(matches!(error, OpenError::InUse(_)));
        assert!(error.to_string().contains("log.dirs"), "{error}");
        drop(first);
        LogDir::open(&path).await.expect("a log dir");
        let twice = LogDirs::open(&[path.clone(), root.path().join("new/../new/data")]).await;
        assert!(matches!(twice, Err(OpenError::Twice(_))));
    });
}

#[test]
fn a_checkpoint_that_cannot_be_read_is_not_done_without() {
    let root = tempfile::tempdir().expect("a temporary directory");
    run_local(async move {
        let path = root.path().join(OffsetsKind::LogStart.file_name());
        std::fs::write(&path, "no checkpoint").expect("the directory is the test's own");
        let dir = LogDir::open(root.path()).await.expect("a log dir");
        dir.scan().await.expect("other contents are done without");
        std::fs::remove_file(&path).expect("it was just written");
        // What stands there can be opened and not be read.
        std::fs::create_dir(&path).expect("the directory is the test's own");
        let error = dir.scan().await.expect_err("deleted records would be back");
        assert!(error.to_string().contains(OffsetsKind::LogStart.file_name()), "{error}");
    });
}

#[test]
fn a_tmpfs_is_written_through_the_page_cache() {
    let root = tempfile::tempdir_in("/dev/shm").expect("a temporary directory");
    run_local(async move {
        let dir = LogDir::open(root.path()).await.expect("a log dir");
        assert!(!dir.is_direct());
        assert!(dir.space().await.expect("room").free > 0);
        assert!(!root.path().join(PROBE_FILE).exists());
    });
}

#[test]
fn a_file_in_the_way_is_one_line() {
    let root = tempfile::tempdir().expect("a temporary directory");
    run_local(async move {
        let path = root.path().join("file");
        std::fs::write(&path, b"").expect("a file");
        let error = LogDir::open(&path).await.expect_err("a file is no directory");
        assert!(error.to_string().starts_with("log directory is unusable: cannot open"), "{error}");
    });
}

#[test]
fn checkpoints_survive_and_follow_the_directories() {
    let root = tempfile::tempdir().expect("a temporary directory");
    run_local(async move {
        let (kept, gone) = (partition("a-b", 3), partition("gone", 0));
        {
            let dir = LogDir::open(root.path()).await.expect("a log dir");
            std::fs::create_dir(root.path().join(kept.to_string())).expect("a directory");
            std::fs::create_dir(root.path().join("x-1.abc-delete")).expect("a directory");
            std::fs::create_dir(root.path().join("lost+found")).expect("a directory");
            dir.set_offset(OffsetsKind::RecoveryPoint, &kept, Offset(7));
            dir.set_offset(OffsetsKind::RecoveryPoint, &gone, Offset(9));
            dir.set_offset(OffsetsKind::HighWatermark, &kept, Offset(6));
            dir.write_offsets(OffsetsKind::RecoveryPoint).await.expect("a checkpoint");
            dir.write_offsets(OffsetsKind::HighWatermark).await.expect("a checkpoint");
        }
        let text = std::fs::read_to_string(root.path().join("recovery-point-offset-checkpoint"));
        assert_eq!(text.expect("a file"), "0\n2\na-b 3 7\ngone 0 9\n");
        let dir = LogDir::open(root.path()).await.expect("a log dir");
        let found = dir.scan().await.expect("a scan");
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].partition, kept);
        assert_eq!(found[0].recovery_point, Offset(7));
        assert_eq!(found[0].log_start, Offset(0));
        assert_eq!(found[0].high_watermark, Some(Offset(6)));
        assert!(found[0].clean.is_none());
        assert_eq!(dir.offset(OffsetsKind::RecoveryPoint, &gone), None);
        for _ in 0..200 {
            host::sleep(Duration::from_millis(5)).await;
            if !root.path().join("x-1.abc-delete").exists() {
                return;
            }
        }
        panic!("a directory that waits for removal is removed by the next start");
    });
}

#[test]
fn writers_of_one_checkpoint_share_it() {
    let root = tempfile::tempdir().expect("a temporary directory");
    run_local(async move {
        let dir = std::rc::Rc::new(LogDir::open(root.path()).await.expect("a log dir"));
        let tasks: Vec<_> = (0..20)
            .map(|at| {
                let dir = std::rc::Rc::clone(&dir);
                host::spawn(async move {
                    dir.set_offset(OffsetsKind::LogStart, &partition("t", at), Offset(i64::from(at)));
                    dir.write_offsets(OffsetsKind::LogStart).await.expect("a checkpoint");
                    let bytes =
                        std::fs::read(dir.path().join("log-start-offset-checkpoint")).expect("a file");
                    let offsets = offsets_file::decode(&bytes).expect("a checkpoint");
                    assert_eq!(offsets.get(&partition("t", at)), Some(&Offset(i64::from(at))));
                })
            })
            .collect();
        for task in tasks {
            task.await;
        }
        let checkpoint = dir.checkpoint(OffsetsKind::LogStart);
        assert_eq!((checkpoint.version, checkpoint.written, checkpoint.writing), (20, 20, false));
    });
}

#[test]
fn a_clean_shutdown_is_believed_once() {
    let root = tempfile::tempdir().expect("a temporary directory");
    run_local(async move {
        let tp = partition("t", 0);
        std::fs::create_dir(root.path().join("t-0")).expect("a directory");
        {
            let dir = LogDir::open(root.path()).await.expect("a log dir");
            dir.add_closed(clean_of(&tp));
            dir.finish_clean().await.expect("a clean shutdown");
        }
        {
            let dir = LogDir::open(root.path()).await.expect("a log dir");
            let found = dir.scan().await.expect("a scan");
            assert_eq!(found[0].clean, Some(clean_of(&tp)));
            assert!(!root.path().join(MARKER_FILE).exists());
        }
        {
            let dir = LogDir::open(root.path()).await.expect("a log dir");
            assert!(dir.scan().await.expect("a scan")[0].clean.is_none(), "that was a crash");
            let error =
                dir.finish_clean().await.expect_err("what the crash has left of it nobody has looked at");
            assert_eq!(error.to_string(), "1 of its partitions could not be loaded");
            assert!(!root.path().join(MARKER_FILE).exists());
            dir.note_loaded(&tp);
            dir.add_open();
            let error = dir.finish_clean().await.expect_err("it is open");
            assert_eq!(
                error.to_string(),
                "1 of its partitions could not be closed",
                "the directory is online"
            );
            dir.remove_open();
            dir.add_closed(clean_of(&tp));
            dir.finish_clean().await.expect("a clean shutdown");
        }
        std::fs::write(root.path().join(MARKER_FILE), b"{\"version\":0,\"brokerEpoch\":4}")
            .expect("a marker");
        let dir = LogDir::open(root.path()).await.expect("a log dir");
        assert!(dir.scan().await.expect("a scan")[0].clean.is_none(), "Kafka has used the directory since");
    });
}

#[test]
fn whoever_fails_finds_the_directory_offline_whoever_was_first() {
    const THREADS: usize = 4;
    let failure = IoFailure::new("write", Path::new("/d"), &io::Error::from_raw_os_error(libc::EIO));
    for _ in 0..2_000 {
        let dir = LogDir::assemble(Path::new("/d"), false, None);
        let together = std::sync::Barrier::new(THREADS);
        std::thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    together.wait();
                    dir.fail(&failure);
                    dir.check().expect_err("it has just gone offline");
                });
            }
        });
    }
}

#[test]
fn a_broker_cannot_work_without_its_metadata_or_any_directory_for_topics() {
    let root = tempfile::tempdir().expect("a temporary directory");
    run_local(async move {
        let paths = [root.path().join("a"), root.path().join("b")];
        let metadata = root.path().join("m");
        let failure = IoFailure::new("write", root.path(), &io::Error::from_raw_os_error(libc::EIO));
        let dirs = LogDirs::open_with_metadata(&paths, &metadata).await.expect("log dirs");
        assert_eq!(dirs.check(), Ok(()));
        dirs.all()[1].fail(&failure);
        assert_eq!(dirs.check(), Ok(()), "another one takes records");
        dirs.all()[0].fail(&failure);
        assert!(dirs.check().expect_err("none takes records").to_string().contains("/a is offline"));
        drop(dirs);
        let dirs = LogDirs::open_with_metadata(&paths, &metadata).await.expect("log dirs");
        dirs.metadata().fail(&failure);
        assert!(dirs.check().expect_err("no metadata").to_string().contains("/m is offline"));
    });
}

#[test]
fn an_offline_directory_stays_offline_and_tells_once() {
    let root = tempfile::tempdir().expect("a temporary directory");
    run_local(async move {
        let dir = LogDir::open(root.path()).await.expect("a log dir");
        let told = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let tell = || {
            let told = Arc::clone(&told);
            move || {
                told.fetch_add(1, Ordering::Relaxed);
            }
        };
        dir.on_offline(tell());
        assert!(dir.check().is_ok());
        let failure = |errno| IoFailure::new("write", root.path(), &io::Error::from_raw_os_error(errno));
        dir.fail(&failure(libc::EIO));
        dir.fail(&failure(libc::EROFS));
        assert_eq!(told.load(Ordering::Relaxed), 1);
        dir.on_offline(tell());
        assert_eq!(told.load(Ordering::Relaxed), 2);
        let error = dir.check().expect_err("it is offline");
        assert!(error.to_string().contains("Input/output error"), "{error}");
        assert!(dir.write_offsets(OffsetsKind::LogStart).await.is_err());
        assert!(dir.finish_clean().await.is_err());
        assert!(!root.path().join(MARKER_FILE).exists());
    });
}
