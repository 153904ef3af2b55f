//! Tests of the real machine: tasks, timers, files, names.

mod processes;
mod registered;
pub(super) mod sockets;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use ottla::ids::ShardId;

use crate::disk::patient;
use crate::host::{self, AlignedBuf, Durability, File, OpenHow, Queue, ShardSpec, WriteSlice};

const READ_WRITE: OpenHow =
    OpenHow { read: true, write: true, create: true, create_new: false, direct: false, exact: false };

#[test]
fn spawned_tasks_run_after_the_spawner_gives_way_and_in_order() {
    host::run_local(async {
        let seen = Rc::new(RefCell::new(Vec::new()));
        let handles: Vec<_> = (0..3)
            .map(|number| {
                let seen = Rc::clone(&seen);
                host::spawn(async move { seen.borrow_mut().push(number) })
            })
            .collect();
        assert!(seen.borrow().is_empty());
        for handle in handles {
            handle.await;
        }
        assert_eq!(*seen.borrow(), [0, 1, 2]);
        assert_eq!(host::shard_id(), ShardId(0));
    });
}

#[test]
fn sleeps_end_in_the_order_of_their_deadlines() {
    host::run_local(async {
        let start = host::now();
        let seen = Rc::new(RefCell::new(Vec::new()));
        let handles: Vec<_> = [30u64, 10, 20]
            .into_iter()
            .map(|ms| {
                let seen = Rc::clone(&seen);
                host::spawn(async move {
                    host::sleep(Duration::from_millis(ms)).await;
                    seen.borrow_mut().push(ms);
                })
            })
            .collect();
        for handle in handles {
            handle.await;
        }
        assert_eq!(*seen.borrow(), [10, 20, 30]);
        assert!(host::now().since(start) >= Duration::from_millis(30));
    });
}

#[test]
fn a_timeout_ends_a_wait_and_spares_what_is_ready() {
    host::run_local(async {
        let never = Box::pin(std::future::pending::<()>());
        assert_eq!(host::timeout(Duration::from_millis(2), never).await, Err(host::TimedOut));
        let ready = Box::pin(async { 5 });
        assert_eq!(host::timeout(Duration::ZERO, ready).await, Ok(5));
    });
}

#[test]
fn background_tasks_run_and_leave_the_foreground_its_turn() {
    host::run_local(async {
        let stop = Rc::new(Cell::new(false));
        let steps = Rc::new(Cell::new(0u64));
        let background = {
            let (stop, steps) = (Rc::clone(&stop), Rc::clone(&steps));
            host::spawn_in(Queue::Background, async move {
                while !stop.get() {
                    steps.set(steps.get() + 1);
                    host::yield_now().await;
                }
            })
        };
        for _ in 0..20 {
            host::sleep(Duration::from_micros(300)).await;
        }
        assert!(steps.get() > 0);
        stop.set(true);
        background.await;
        assert!(steps.get() > 0);
    });
}

/// A background task that only waits must not keep the shard awake.
#[test]
fn a_shard_with_nothing_ready_sleeps_though_background_tasks_live() {
    host::run_local(async {
        let never = host::spawn_in(Queue::Background, std::future::pending::<()>());
        host::sleep(Duration::from_millis(1)).await;
        for _ in 0..5 {
            sleeps_while_it_waits().await;
        }
        never.cancel();
    });
}

/// Holds that the shard's thread sleeps in the kernel while its tasks have to wait.
async fn sleeps_while_it_waits() {
    let before = host::shard_stats();
    // Whoever is kept from running meanwhile finds the time over and has nothing to sleep for.
    for _ in 0..100 {
        host::sleep(Duration::from_millis(1)).await;
        if host::shard_stats().sleeps > before.sleeps {
            return;
        }
    }
    panic!("it spins: {before:?} {:?}", host::shard_stats());
}

/// What a dropped future gives back makes another task ready: the shard must not sleep over it.
#[test]
fn dropping_a_task_wakes_who_waits_for_what_it_held() {
    host::run_local(async {
        let budget = host::sync::Semaphore::new(1);
        let permit = budget.try_acquire(1).expect("is free");
        let holder = host::spawn(async move {
            let _permit = permit;
            std::future::pending::<()>().await;
        });
        let waiter = host::spawn(async move { drop(budget.acquire(1).await) });
        host::sleep(Duration::from_millis(1)).await;
        holder.cancel();
        waiter.await;
    });
}

#[test]
fn more_operations_than_the_queues_hold_all_end() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("a");
    host::run_local(async move {
        let file = File::open(&path, READ_WRITE).await.expect("opens");
        let slices: Vec<WriteSlice> = vec![AlignedBuf::copy_of(&[7; 5_000]).into()];
        file.write_at(slices, 0, Durability::None).await.expect("writes");
        let reads: Vec<_> = (0..5_000u64)
            .map(|at| {
                let file = file.clone();
                host::spawn(async move { file.read_at(at, 1).await.expect("reads").len() })
            })
            .collect();
        for read in reads {
            assert_eq!(read.await, 1);
        }
    });
}

#[test]
fn direct_files_are_written_from_an_append_buffer_while_it_grows() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("segment");
    host::run_local(async move {
        let file = match File::open(&path, OpenHow { direct: true, ..READ_WRITE }).await {
            Ok(file) => file,
            // A filesystem without direct I/O, such as tmpfs.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => return,
            Err(error) => panic!("{error}"),
        };
        assert!(file.is_direct());
        file.allocate(0, 64 << 10).await.expect("allocates");
        let mut tail = host::AppendBuf::new(64 << 10);
        let mut written = 0;
        while tail.remaining() > 1_000 {
            tail.append(&[tail.len() as u8; 1_000]);
            let (start, end) = (written / 4096 * 4096, tail.len().next_multiple_of(4096));
            let slice = tail.write_slice(start..end);
            file.write_at(vec![slice], start as u64, Durability::DataSync).await.expect("writes");
            written = tail.len();
        }
        let read = file.read_at(0, 64 << 10).await.expect("reads");
        assert_eq!(&read[..written], tail.filled());
        assert!(read[written..].iter().all(|&byte| byte == 0));
        let beyond = file.read_at(64 << 10, 4096).await.expect("reads nothing");
        assert!(beyond.is_empty());
    });
}

#[test]
fn an_open_that_nobody_awaits_leaves_no_descriptor() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("only-here");
    host::run_local(async move {
        let links = |path: &std::path::Path| {
            let open = std::fs::read_dir("/proc/self/fd").expect("lists");
            open.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok())
                .filter(|link| link == path)
                .count()
        };
        for _ in 0..20 {
            let mut open = Box::pin(File::open(&path, READ_WRITE));
            assert_eq!(host::timeout(Duration::ZERO, open.as_mut()).await.err(), Some(host::TimedOut));
        }
        let kept = File::open(&path, READ_WRITE).await.expect("opens");
        while links(&path) > 1 {
            host::sleep(Duration::from_millis(1)).await;
        }
        drop(kept);
        assert_eq!(links(&path), 0);
    });
}

#[test]
fn a_lock_keeps_other_open_files_out_until_it_closes() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join(".lock");
    host::run_local(async move {
        let first = File::open(&path, READ_WRITE).await.expect("opens");
        assert!(first.try_lock().expect("locks"));
        let second = File::open(&path, READ_WRITE).await.expect("opens");
        assert!(!second.try_lock().expect("tries"));
        drop(first);
        assert!(second.try_lock().expect("locks"));
        let space = host::disk_space(&path).await.expect("measures");
        assert!(space.free <= space.total);
        assert!(space.total > 0);
        assert!(host::disk_space("/nowhere/at/all").await.is_err());
        assert_eq!(host::indirect_file_system("/dev/shm").await.expect("a tmpfs"), Some("tmpfs"));
    });
}

#[test]
fn files_are_written_read_and_measured() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("a");
    host::run_local(async move {
        let file = File::open(&path, READ_WRITE).await.expect("opens");
        let parts: Vec<WriteSlice> = (0u8..5)
            .map(|number| WriteSlice::from(AlignedBuf::copy_of(&vec![number; 1000 * (1 + number as usize)])))
            .collect();
        file.write_at(parts, 10, Durability::DataSync).await.expect("writes");
        assert_eq!(file.len().await.expect("measures"), 15_010);
        let all = file.read_at(0, 20_000).await.expect("reads");
        assert_eq!(all.len(), 15_010);
        assert_eq!(all[9], 0);
        assert_eq!(all[10 + 1000], 1);
        assert_eq!(all[15_009], 4);
        file.set_len(100).await.expect("cuts");
        assert_eq!(file.read_at(90, 100).await.expect("reads").len(), 10);
        file.allocate(0, 8192).await.expect("allocates");
        assert_eq!(file.len().await.expect("measures"), 8192);
        file.sync_data().await.expect("syncs");
        file.sync_all().await.expect("syncs");
        let again = OpenHow { create_new: true, ..READ_WRITE };
        let error = File::open(&path, again).await.expect_err("it is there");
        assert_eq!(error.kind(), std::io::ErrorKind::AlreadyExists);
    });
}

#[test]
fn more_slices_than_one_call_takes_are_written_in_order() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("a");
    host::run_local(async move {
        let file = File::open(&path, READ_WRITE).await.expect("opens");
        let whole = bytes::Bytes::from((0..3000u32).flat_map(u32::to_le_bytes).collect::<Vec<u8>>());
        let slices: Vec<WriteSlice> = (0..3000).map(|at| whole.slice(at * 4..at * 4 + 4).into()).collect();
        file.write_at(slices, 0, Durability::None).await.expect("writes");
        assert_eq!(&file.read_at(0, 12_000).await.expect("reads")[..], &whole[..]);
    });
}

#[test]
fn a_dropped_write_keeps_its_memory_until_the_kernel_is_done() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("a");
    host::run_local(async move {
        let file = File::open(&path, READ_WRITE).await.expect("opens");
        let bytes = bytes::Bytes::from(vec![7u8; 4096]);
        let slices: Vec<WriteSlice> = vec![bytes.clone().into()];
        let mut write = Box::pin(file.write_at(slices, 0, Durability::None));
        let polled = std::future::poll_fn(|cx| std::task::Poll::Ready(write.as_mut().poll(cx))).await;
        assert!(polled.is_pending());
        drop(write);
        assert!(!bytes.is_unique(), "the ring holds the bytes");
        while !bytes.is_unique() {
            host::sleep(Duration::from_micros(100)).await;
        }
        assert_eq!(file.read_at(0, 5000).await.expect("reads").len(), 4096);
    });
}

#[test]
fn names_are_made_listed_renamed_and_removed() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let root = dir.path().to_path_buf();
    host::run_local(async move {
        let deep = root.join("x/y");
        host::create_dir_all(&deep).await.expect("makes directories");
        host::create_dir_all(&deep).await.expect("is content when they are there");
        patient::write_whole_durably(&deep.join("b"), b"first").await.expect("writes");
        patient::write_whole_durably(&deep.join("b"), b"2nd").await.expect("replaces");
        assert_eq!(host::read_whole(deep.join("b"), 3).await.expect("reads"), b"2nd");
        let error = host::read_whole(deep.join("b"), 2).await.expect_err("refuses");
        assert_eq!(error.kind(), std::io::ErrorKind::FileTooLarge);
        patient::write_whole_durably(&deep.join("a"), b"").await.expect("writes nothing");
        host::rename(deep.join("b"), deep.join("c")).await.expect("renames");
        host::sync_dir(&deep).await.expect("syncs");
        let names: Vec<_> = host::read_dir(&deep).await.expect("lists");
        let names: Vec<_> =
            names.iter().map(|entry| (entry.name.to_str().expect("plain"), entry.bytes)).collect();
        assert_eq!(names, [("a", 0), ("c", 3)]);
        host::remove_file(deep.join("a")).await.expect("removes");
        assert!(!host::exists(deep.join("a")).await.expect("looks"));
        host::remove_dir_all(root.join("x")).await.expect("removes");
        assert!(!host::exists(root.join("x")).await.expect("looks"));
        let error = host::remove_file(deep.join("a")).await.expect_err("is gone");
        assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
    });
}

#[test]
fn blocking_jobs_run_elsewhere_and_come_back() {
    host::run_local(async {
        let here = std::thread::current().id();
        let jobs: Vec<_> = (0..20)
            .map(|number| {
                host::spawn_blocking(move || {
                    std::thread::sleep(Duration::from_millis(1));
                    (number, std::thread::current().id())
                })
            })
            .collect();
        for (number, job) in jobs.into_iter().enumerate() {
            let (result, thread) = job.await;
            assert_eq!(result, number);
            assert_ne!(thread, here);
        }
    });
}

#[test]
fn shards_run_side_by_side_and_ring_each_other() {
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::sync::{Arc, Mutex};
    const ROUNDS: u64 = 2_000;
    let bells: Arc<[Mutex<Option<host::Bell>>; 2]> = Arc::default();
    let counter = Arc::new(AtomicU64::new(0));
    let specs = (0..2).map(|shard| ShardSpec { shard: ShardId(shard), cpu: None }).collect();
    let seen = Arc::clone(&counter);
    host::run_shards(specs, move |shard| {
        let (bells, counter) = (Arc::clone(&bells), Arc::clone(&counter));
        async move {
            let me = usize::from(shard.0);
            let doorbell = host::Doorbell::new();
            *bells[me].lock().expect("no panic") = Some(doorbell.bell());
            let other = loop {
                if let Some(bell) = bells[1 - me].lock().expect("no panic").clone() {
                    break bell;
                }
                host::sleep(Duration::from_micros(100)).await;
            };
            // The shards take turns: a lost ring would hang here.
            loop {
                let value = counter.load(Ordering::SeqCst);
                if value >= ROUNDS {
                    other.ring();
                    return;
                }
                if value % 2 == me as u64 {
                    counter.store(value + 1, Ordering::SeqCst);
                    other.ring();
                } else {
                    doorbell.rung().await;
                }
            }
        }
    })
    .expect("both shards start");
    assert_eq!(seen.load(std::sync::atomic::Ordering::SeqCst), ROUNDS);
}
