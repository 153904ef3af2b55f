//! What happens at every bound: descriptors, unflushed bytes, cached chunks, a full disk, a failed write.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;
use std::time::Duration;

use ottla::errors::ErrorCode;
use ottla::ids::Offset;
use ottla::log::LogConfig;

use super::support::*;
use crate::disk::fds::Use;
use crate::disk::{DiskError, DiskSettings, LogDirs, Partition, ShardDisk};
use crate::host::{self, File, OpenHow, run_local};

async fn write_and_read_all(broker: &Broker, count: i32) -> Vec<Rc<Partition>> {
    let mut partitions: Vec<Rc<Partition>> = Vec::new();
    for at in 0..count {
        partitions.push(broker.create(&name(at), LogConfig::default()).await);
    }
    for round in 0..3 {
        for partition in &partitions {
            append(partition, &batch(round, 200)).await.expect("an append");
        }
        for partition in &partitions {
            partition.wait_durable(Offset(round as i64 + 1)).await.expect("a flush");
        }
    }
    while broker.disk.evict_for_test() {}
    for partition in &partitions {
        assert_eq!(consume(partition, 0, 10_000).await.len(), 3);
    }
    partitions
}

#[test]
fn many_partitions_share_few_open_files() {
    let root = directory(false);
    run_local(async move {
        let settings = DiskSettings { open_files_max: 8, ..DiskSettings::default() };
        let broker = Broker::start_with(root.path(), settings).await;
        write_and_read_all(&broker, 60).await;
        assert!(broker.disk.open_files() <= 8);
    });
}

/// Runs in a process of its own, which has hardly any descriptors.
#[test]
#[ignore = "started by `descriptors_that_run_out_are_waited_for`"]
fn child_with_few_descriptors() {
    let root = directory(false);
    run_local(async move {
        let broker = Broker::start(root.path()).await;
        let limit = libc::rlimit { rlim_cur: 48, rlim_max: 48 };
        // SAFETY: the pointer is to a value of the type.
        assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) }, 0);
        write_and_read_all(&broker, 150).await;
        assert!(broker.disk.open_files() < 48);
    });
}

#[test]
fn descriptors_that_run_out_are_waited_for() {
    let test = "disk::tests::limits::child_with_few_descriptors";
    let program = std::env::current_exe().expect("a program");
    let output = Command::new(program).args([test, "--exact", "--ignored"]).output().expect("a process");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"));
}

#[test]
fn appends_wait_for_the_budget_and_keep_their_order() {
    let root = directory(false);
    run_local(async move {
        let settings = DiskSettings { unflushed_bytes_max: 5_000, ..DiskSettings::default() };
        let broker = Broker::start_with(root.path(), settings).await;
        let partition = broker.create(&name(0), LogConfig::default()).await;
        let tasks: Vec<_> = (0..200_u64)
            .map(|at| {
                let partition = Rc::clone(&partition);
                host::spawn(async move {
                    let bytes = batch(at, [10, 1_000, 6_000][at as usize % 3]);
                    append(&partition, &bytes).await.expect("an append").base_offset
                })
            })
            .collect();
        let mut most = 0;
        for (at, task) in tasks.into_iter().enumerate() {
            most = most.max(partition.pending_bytes());
            assert_eq!(task.await, Offset(at as i64), "first come, first appended");
        }
        assert!(most <= 5_000 + 6_200, "pending bytes stay near the budget: {most}");
        partition.wait_durable(Offset(200)).await.expect("a flush");
        assert_eq!(broker.disk.unflushed_bytes(), 0);
    });
}

#[test]
fn a_block_that_is_brought_back_stays_until_the_batch_is_behind_it() {
    let root = directory(false);
    run_local(async move {
        // No room for any written chunk: each append finds its begun block gone.
        let settings = DiskSettings { cache_bytes_max: 0, ..DiskSettings::default() };
        let broker = Broker::start_with(root.path(), settings).await;
        let partition = broker.create(&name(0), LogConfig::default()).await;
        for at in 0..20 {
            let batch = batch(at, 300);
            let produced = host::timeout(Duration::from_secs(30), Box::pin(produce(&partition, &batch)));
            assert!(produced.await.is_ok(), "the block is not brought back for ever");
        }
        assert_eq!(consume_what_is_there(&partition, 0, 10_000).await.len(), 20);
    });
}

#[test]
fn written_chunks_stay_within_their_budget_and_go_when_idle() {
    let root = directory(false);
    run_local(async move {
        let settings = DiskSettings {
            cache_bytes_max: 200 << 10,
            cache_idle: Duration::from_millis(60),
            ..DiskSettings::default()
        };
        let broker = Broker::start_with(root.path(), settings).await;
        let mut partitions = Vec::new();
        for at in 0..10 {
            partitions.push(broker.create(&name(at), LogConfig::default()).await);
        }
        for round in 0..40 {
            for partition in &partitions {
                produce(partition, &batch(round, 3_000)).await;
            }
            assert!(broker.disk.chunk_bytes() <= (200 << 10) + (16 << 10));
        }
        let up_to = partitions[0].offsets().high_watermark;
        let last = partitions[0].read(request(39, up_to, 10)).await.expect("a read");
        assert!(matches!(last.slices[..], [crate::disk::Slice::Memory(_), ..]), "the newest are in memory");
        for _ in 0..200 {
            if broker.disk.chunk_bytes() == 0 {
                assert_eq!(consume(&partitions[3], 0, 5_000).await.len(), 40);
                assert_eq!(produce(&partitions[3], &batch(1, 10)).await.base_offset, Offset(40));
                return;
            }
            host::sleep(Duration::from_millis(10)).await;
        }
        panic!("idle chunks go");
    });
}

#[test]
fn a_failed_write_takes_the_directory_offline_for_good() {
    let root = directory(false);
    run_local(async move {
        let broker = Broker::start(root.path()).await;
        let partition = broker.create(&name(0), LogConfig::default()).await;
        let other = broker.create(&name(1), LogConfig::default()).await;
        produce(&partition, &batch(1, 10)).await;
        let waiting = host::spawn(other.wait_high_watermark(Offset(1)));
        host::yield_now().await;
        // A descriptor that cannot be written to stands in for a broken disk.
        let path = files(&root.path().join("topic-0"), ".log").remove(0);
        let how = OpenHow { read: true, direct: true, ..OpenHow::default() };
        let broken = File::open(&path, how).await.expect("a file");
        let key = partition.fd_key(Offset(0), Use::Blocks);
        broker.disk.fds.put_for_test(key, broken);
        let appended = append(&partition, &batch(2, 10)).await.expect("an append");
        let error = partition.wait_acknowledged(appended.end).await.expect_err("it is not on disk");
        assert_eq!(error.code(), ErrorCode::KafkaStorageError);
        assert!(broker.dir.is_offline());
        assert_eq!(broker.disk.end_offline().len(), 2, "every partition of the directory");
        assert_eq!(waiting.await.expect_err("it ends").code(), ErrorCode::KafkaStorageError);
        assert_eq!(
            append(&partition, &batch(3, 10)).await.expect_err("offline").code(),
            ErrorCode::KafkaStorageError
        );
        assert_eq!(
            append(&other, &batch(3, 10)).await.expect_err("offline").code(),
            ErrorCode::KafkaStorageError
        );
        assert_eq!(partition.offsets().high_watermark, Offset(1), "nothing more is announced");
        assert!(partition.close().await.is_err());
        assert!(broker.dir.finish_clean().await.is_err());
        assert!(!root.path().join(".kafka_cleanshutdown").exists());
    });
}

/// A tmpfs of two mebibytes; `None`, which is said, where this process may not mount.
pub(super) struct SmallDisk(pub tempfile::TempDir);

impl SmallDisk {
    pub fn mount() -> Option<SmallDisk> {
        let dir = directory(false);
        let mount =
            Command::new("mount").args(["-t", "tmpfs", "-o", "size=2m", "tmpfs"]).arg(dir.path()).status();
        if !mount.is_ok_and(|status| status.success()) {
            eprintln!("not run: this process may not mount a tmpfs");
            return None;
        }
        Some(SmallDisk(dir))
    }

    /// A broker there that soon tries again what the full disk has refused.
    pub async fn broker(path: &Path) -> Broker {
        let settings = DiskSettings { full_retry: Duration::from_millis(20), ..DiskSettings::default() };
        Broker::start_with(path, settings).await
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[test]
fn a_full_disk_is_an_error_until_there_is_room() {
    let Some(disk) = SmallDisk::mount() else { return };
    let path = disk.0.path().to_owned();
    run_local(async move {
        let settings = DiskSettings {
            full_retry: Duration::from_millis(20),
            unflushed_bytes_max: 150_000,
            ..DiskSettings::default()
        };
        let broker = Broker::start_with(&path, settings).await;
        let other = broker.create(&name(1), LogConfig::default()).await;
        let ballast = path.join("ballast");
        let partition = broker.create(&name(0), LogConfig::default()).await;
        std::fs::write(&ballast, vec![1; 1 << 20]).expect("a file");
        let mut acknowledged = 0;
        let error = loop {
            let appended = append(&partition, &batch(acknowledged, 100_000)).await.expect("an append");
            match partition.wait_acknowledged(appended.end).await {
                Ok(()) => acknowledged += 1,
                Err(error) => break error,
            }
            assert!(acknowledged < 100);
        };
        assert!(matches!(error, DiskError::Unwritten { .. }));
        assert_eq!(error.code(), ErrorCode::RequestTimedOut, "it is in the log and may become durable");
        assert!(!broker.dir.is_offline());
        let refused = append(&partition, &batch(99, 10)).await.expect_err("the disk is full");
        assert_eq!(refused.code(), ErrorCode::KafkaStorageError);
        let refused = append(&other, &batch(1, 90_000))
            .await
            .expect_err("memory is full of what the disk does not take");
        assert_eq!(refused.code(), ErrorCode::KafkaStorageError);
        assert_eq!(consume(&partition, 0, 10_000).await.len() as u64, acknowledged);
        std::fs::remove_file(&ballast).expect("a file");
        // What was refused an acknowledgement is still in the log, and becomes durable like everything else.
        let end = Offset(acknowledged as i64 + 1);
        if let Err(error) = partition.wait_durable(end).await {
            // The try that was under way began when there was no room.
            assert!(matches!(error, DiskError::Unwritten { .. }), "{error}");
            partition.wait_durable(end).await.expect("the next one finds room");
        }
        let next = produce(&partition, &batch(acknowledged + 1, 100_000)).await;
        assert_eq!(next.base_offset, Offset(acknowledged as i64 + 1));
        assert_eq!(consume(&partition, 0, 10_000).await.len() as u64, acknowledged + 2);
        abandon(partition).await;
    });
}

/// A checkpoint that found no room for its snapshot has none, and the next one makes it.
#[test]
fn a_snapshot_for_which_there_was_no_room_is_written_later() {
    let Some(disk) = SmallDisk::mount() else { return };
    let path = disk.0.path().to_owned();
    run_local(async move {
        let broker = SmallDisk::broker(&path).await;
        let partition = broker.create(&name(0), LogConfig::default()).await;
        produce(&partition, &sequenced(7, 0, 1_000)).await;
        let ballast = path.join("ballast");
        let mut file = std::fs::File::create(&ballast).expect("a file");
        while file.write_all(&[1; 512]).is_ok() {}
        partition.checkpoint().await.expect_err("the disk is full");
        let snapshots = || files(&path.join(name(0).to_string()), ".snapshot");
        let is_whole = |path: &PathBuf| std::fs::metadata(path).expect("a file").len() > 0;
        assert!(!snapshots().iter().any(is_whole), "{:?}", snapshots());
        drop(file);
        std::fs::remove_file(&ballast).expect("a file");
        partition.checkpoint().await.expect("there is room again");
        assert!(snapshots().iter().any(is_whole), "{:?}", snapshots());
        abandon(partition).await;
    });
}

/// What a full directory holds in memory is not taken from the budget of the others.
#[test]
fn a_full_directory_takes_no_memory_from_another() {
    let Some(disk) = SmallDisk::mount() else { return };
    let (path, other) = (disk.0.path().to_owned(), directory(false));
    run_local(async move {
        let settings = DiskSettings {
            full_retry: Duration::from_millis(20),
            unflushed_bytes_max: 150_000,
            ..DiskSettings::default()
        };
        let dirs = LogDirs::open(&[path.clone(), other.path().to_owned()]).await.expect("two log dirs");
        for dir in dirs.all() {
            dir.scan().await.expect("a scan");
        }
        let shard = ShardDisk::new(dirs.clone(), settings);
        let create = async |dir: usize, at| {
            let created = shard.create(&dirs.all()[dir], &name(at), with(LogConfig::default())).await;
            created.expect("a new partition")
        };
        let (full, healthy) = (create(0, 0).await, create(1, 1).await);
        std::fs::write(path.join("ballast"), vec![1; 1 << 20]).expect("a file");
        for seed in 0.. {
            let appended = append(&full, &batch(seed, 100_000)).await.expect("an append");
            if full.wait_acknowledged(appended.end).await.is_err() {
                break;
            }
            assert!(seed < 100);
        }
        for seed in 0..5 {
            let bytes = batch(seed, 90_000);
            let produced = Box::pin(produce(&healthy, &bytes));
            host::timeout(Duration::from_secs(60), produced).await.expect("it waits for nobody");
        }
        host::timeout(Duration::from_secs(60), Box::pin(healthy.close()))
            .await
            .expect("nor here")
            .expect("closes");
        abandon(healthy).await;
        drop(full);
    });
}

/// Each closed segment takes memory beyond its bytes until it is finished.
#[test]
fn segments_are_closed_no_faster_than_they_are_finished() {
    let root = directory(false);
    run_local(async move {
        let broker = Broker::start(root.path()).await;
        let config = LogConfig { segment_ms: 1, ..LogConfig::default() };
        let partition = broker.create(&name(0), config).await;
        let mut end = Offset(0);
        for at in 0..500 {
            // Every batch begins a segment.
            let batch = batch_at(at, 10, 1_000 + 2 * i64::try_from(at).expect("small"));
            end = append(&partition, &batch).await.expect("an append").end;
            let unfinished = partition.state.borrow().unfinished.len();
            assert!(unfinished <= 64, "{unfinished} segments wait to be finished");
        }
        partition.wait_durable(end).await.expect("a flush");
        assert_eq!(consume(&partition, 0, 1 << 20).await.len(), 500);
        abandon(partition).await;
    });
}

#[test]
fn a_full_disk_refuses_what_is_new_and_knows_what_it_has() {
    let Some(disk) = SmallDisk::mount() else { return };
    let path = disk.0.path().to_owned();
    run_local(async move {
        let broker = SmallDisk::broker(&path).await;
        let partition = broker.create(&name(0), LogConfig::default()).await;
        produce(&partition, &sequenced(1, 0, 1_000)).await;
        let ballast = path.join("ballast");
        std::fs::write(&ballast, vec![1; 1 << 20]).expect("a file");
        let mut next = 1;
        let waiting = loop {
            let appended = append(&partition, &sequenced(1, next, 100_000)).await.expect("an append");
            if partition.wait_acknowledged(appended.end).await.is_err() {
                break appended;
            }
            next += 1;
            assert!(next < 100);
        };
        let again = append(&partition, &sequenced(1, next, 100_000)).await.expect("it is in the log");
        assert_eq!((again.base_offset, again.duplicate.is_some()), (waiting.base_offset, true));
        let error = partition.wait_acknowledged(again.end).await.expect_err("it is not on disk");
        assert_eq!(error.code(), ErrorCode::RequestTimedOut);
        let known = append(&partition, &sequenced(1, next - 1, 100_000)).await.expect("it is in the log");
        partition.wait_acknowledged(known.end).await.expect("it is on disk");
        for sequence in [next + 1, next + 2] {
            let refused = append(&partition, &sequenced(1, sequence, 10)).await.expect_err("no room");
            assert_eq!(refused.code(), ErrorCode::KafkaStorageError, "whatever came before it");
        }
        std::fs::remove_file(&ballast).expect("a file");
        partition.wait_durable(waiting.end).await.expect("room again");
        let again = append(&partition, &sequenced(1, next, 100_000)).await.expect("it is in the log");
        assert_eq!(again.end, waiting.end);
        partition.wait_acknowledged(again.end).await.expect("it is on disk");
        let following = produce(&partition, &sequenced(1, next + 1, 10)).await;
        assert_eq!((following.base_offset, following.duplicate), (waiting.end, None));
        abandon(partition).await;
    });
}

#[test]
#[ignore = "takes a while: ten thousand partitions with data"]
fn ten_thousand_partitions_under_twenty_thousand_descriptors() {
    let root = directory(false);
    let base = root.path().to_owned();
    run_local(async move {
        let settings = DiskSettings { open_files_max: 8_000, ..DiskSettings::default() };
        let broker = Broker::start_with(&base, settings).await;
        let started = host::now();
        let partitions = write_and_read_all(&broker, 10_000).await;
        eprintln!("10,000 partitions written and read in {:?}", host::now().since(started));
        let started = host::now();
        assert_eq!(broker.disk.close_all().await, []);
        drop(partitions);
        broker.dir.finish_clean().await.expect("a clean shutdown");
        eprintln!("closed in {:?}", host::now().since(started));
    });
    let base = root.path().to_owned();
    run_local(async move {
        let started = host::now();
        let broker = Broker::start(&base).await;
        eprintln!("scanned in {:?}", host::now().since(started));
        let found = broker
            .found
            .iter()
            .map(|found| (std::sync::Arc::clone(&broker.dir), found.clone(), with(LogConfig::default())));
        let loaded = broker.disk.load_all(found.collect()).await;
        assert!(loaded.iter().all(|(_, result)| result.is_ok()));
        eprintln!("{} partitions start clean in {:?}", loaded.len(), host::now().since(started));
        let status = std::fs::read_to_string("/proc/self/status").expect("a status");
        eprintln!("{}", status.lines().find(|line| line.starts_with("VmRSS")).unwrap_or_default());
    });
}
