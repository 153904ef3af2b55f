//! What the host's contract says of tasks, time, files and processes, in a simulated world.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::path::Path;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use ottla_shards::disk::patient;
use ottla_shards::host::sim::{CrashModel, ProcessState, World};
use ottla_shards::host::{
    self, AlignedBuf, Doorbell, Durability, File, OpenHow, Queue, WriteSlice, run_local,
};

const LIMIT: Duration = Duration::from_secs(60);
const HOW: OpenHow =
    OpenHow { read: true, write: true, create: true, create_new: false, direct: false, exact: false };

fn slices(bytes: &[u8]) -> Vec<WriteSlice> {
    vec![AlignedBuf::copy_of(bytes).into()]
}

#[test]
fn spawned_tasks_run_after_the_spawner_gives_way_and_in_order() {
    run_local(async {
        let seen = Rc::new(RefCell::new(Vec::new()));
        for number in 0..10 {
            let seen = Rc::clone(&seen);
            host::spawn_detached(async move { seen.borrow_mut().push(number) });
        }
        assert!(seen.borrow().is_empty());
        host::yield_now().await;
        assert_eq!(*seen.borrow(), (0..10).collect::<Vec<_>>());
    });
}

#[test]
fn the_background_gets_a_small_share_and_never_two_turns_in_a_row() {
    run_local(async {
        let turns = Rc::new(RefCell::new(Vec::new()));
        let spin = |queue, mark: char| {
            let turns = Rc::clone(&turns);
            host::spawn_in(queue, async move {
                for _ in 0..2_000 {
                    turns.borrow_mut().push(mark);
                    host::yield_now().await;
                }
            })
        };
        let front = spin(Queue::Foreground, 'f');
        let back = spin(Queue::Background, 'b');
        front.await;
        let ran: String = turns.borrow().iter().collect();
        let behind = ran.matches('b').count();
        assert!((100..400).contains(&behind), "{behind}");
        assert!(!ran.contains("bb"));
        back.await;
    });
}

#[test]
fn a_cancelled_task_is_dropped_and_a_finished_one_gives_its_value() {
    struct Told(Rc<Cell<bool>>);
    impl Drop for Told {
        fn drop(&mut self) {
            self.0.set(true);
        }
    }
    run_local(async {
        assert_eq!(host::spawn(async { 7 }).await, 7);
        let dropped = Rc::new(Cell::new(false));
        let told = Told(Rc::clone(&dropped));
        let task = host::spawn(async move {
            let _told = told;
            std::future::pending::<()>().await;
        });
        host::yield_now().await;
        task.cancel();
        assert!(!dropped.get(), "at its next turn");
        host::sleep(Duration::from_millis(1)).await;
        assert!(dropped.get());
    });
}

#[test]
fn time_is_virtual_and_sleeps_end_after_their_deadline() {
    let world = World::new(1);
    let node = world.add_node("one");
    world.start_client(node, async {
        let (begun, wall) = (host::now(), host::wall_ms());
        host::sleep(Duration::from_secs(3_600)).await;
        let took = host::now().since(begun);
        assert!(took >= Duration::from_secs(3_600) && took < Duration::from_secs(3_601));
        assert!(host::wall_ms().0 - wall.0 >= 3_600_000);
        let never = host::timeout(Duration::from_millis(5), pin!(std::future::pending::<()>())).await;
        assert!(never.is_err());
        assert_eq!(host::timeout(Duration::ZERO, pin!(async { 4 })).await, Ok(4));
    });
    let before = world.wall_ms(node);
    world.jump_wall(node, -5_000);
    assert_eq!(world.wall_ms(node).0, before.0 - 5_000);
    world.run_for(Duration::from_secs(7_200));
    assert_eq!(world.now().0, 7_200_000_000_000);
}

#[test]
fn a_bell_is_heard_and_rings_before_that_are_one() {
    run_local(async {
        let doorbell = Doorbell::new();
        let bell = doorbell.bell();
        (0..3).for_each(|_| bell.ring());
        doorbell.rung().await;
        let mut again = Box::pin(doorbell.rung());
        assert_eq!(poll(again.as_mut()), Poll::Pending);
        drop(again);
        bell.ring();
        doorbell.rung().await;
    });
}

fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn a_dropped_write_takes_place_all_the_same() {
    run_local(async {
        let file = File::open("/a", HOW).await.expect("opens");
        let mut write = Box::pin(file.write_at(slices(b"written"), 0, Durability::None));
        assert!(poll(write.as_mut()).is_pending());
        drop(write);
        assert_eq!(file.len().await.expect("is asked"), 0, "not yet");
        host::sleep(Duration::from_millis(100)).await;
        assert_eq!(&file.read_at(0, 100).await.expect("reads")[..], b"written");
    });
}

#[test]
fn blocking_jobs_run_later_and_their_panics_are_the_waiters() {
    run_local(async {
        let job = host::spawn_blocking(|| 3);
        assert_eq!(job.await, 3);
    });
    let world = World::new(2);
    let node = world.add_node("one");
    let client = world.start_client(node, async {
        host::spawn_blocking(|| panic!("a job's reason")).await;
    });
    world.run_for(LIMIT);
    assert!(matches!(world.state(client), ProcessState::Panicked(text) if text.contains("a job's reason")));
}

/// What is left of a write that a kill or a power cut meets, as it is found an hour later.
fn met_by(seed: u64, end: impl Fn(&World)) -> Vec<u8> {
    let world = World::new(seed);
    let node = world.add_node("one");
    let has_begun = Rc::new(Cell::new(false));
    let begun = Rc::clone(&has_begun);
    world.start_client(node, async move {
        let file = File::open("/a", HOW).await.expect("opens");
        host::sync_dir("/").await.expect("syncs");
        begun.set(true);
        file.write_at(slices(&[1; 4096]), 0, Durability::DataSync).await.expect("writes");
        std::future::pending::<()>().await;
    });
    assert!(world.run_until(|| has_begun.get(), LIMIT));
    end(&world);
    world.run_for(Duration::from_secs(3_600));
    world.with_disk(node, |disk| disk.peek(Path::new("/a"))).expect("the file is there")
}

#[test]
fn a_write_in_flight_takes_place_or_not_at_a_kill() {
    let kill = |seed| {
        met_by(seed, |world| {
            let client = world.processes().next().expect("the client");
            world.kill(client);
        })
    };
    let found: BTreeSet<Vec<u8>> = (0..40).map(kill).collect();
    assert!(found.contains(&Vec::new()), "it may never take place");
    assert!(found.contains(&vec![1; 4096]), "it may");
}

#[test]
fn a_write_in_flight_is_an_unsynced_one_at_a_power_cut() {
    let cut = |model| {
        let end = |world: &World| {
            let node = world.nodes().next().expect("the machine");
            world.power_cut(node, model);
        };
        (0..40).map(|seed| met_by(seed, end)).collect::<BTreeSet<_>>()
    };
    assert_eq!(cut(CrashModel::DropAll), BTreeSet::from([Vec::new()]));
    assert!(cut(CrashModel::KeepAll).contains(&vec![1; 4096]));
    let torn = cut(CrashModel::Torn512);
    assert!(torn.iter().any(|bytes| bytes.contains(&0) && bytes.contains(&1)), "{}", torn.len());
}

#[test]
fn a_lock_is_held_until_a_killed_process_has_let_go_of_its_writes() {
    let mut lingered = 0;
    for seed in 0..20 {
        let world = World::new(seed);
        let node = world.add_node("one");
        let is_held = Rc::new(Cell::new(false));
        let held = Rc::clone(&is_held);
        let first = world.start_client(node, async move {
            let lock = File::open("/lock", HOW).await.expect("opens");
            assert!(lock.try_lock().expect("locks"));
            host::hold_until_the_end(&[lock.shared_fd()]).expect("holds");
            drop(lock);
            let data = File::open("/data", HOW).await.expect("opens");
            held.set(true);
            data.write_at(slices(&[1; 4096]), 0, Durability::DataSync).await.expect("writes");
            std::future::pending::<()>().await;
        });
        assert!(world.run_until(|| is_held.get(), LIMIT));
        world.kill(first);
        let tries = Rc::new(Cell::new(0));
        let tried = Rc::clone(&tries);
        let second = world.start_client(node, async move {
            let lock = File::open("/lock", HOW).await.expect("opens");
            while !lock.try_lock().expect("tries") {
                tried.set(tried.get() + 1);
                host::sleep(Duration::from_millis(1)).await;
            }
            let seen = host::read_whole("/data", 1 << 20).await.expect("reads");
            host::sleep(Duration::from_secs(1)).await;
            assert_eq!(
                seen,
                host::read_whole("/data", 1 << 20).await.expect("reads"),
                "nobody writes any more"
            );
        });
        assert!(world.run_until(|| world.state(second) != ProcessState::Running, LIMIT));
        assert_eq!(world.state(second), ProcessState::Ended);
        lingered += usize::from(tries.get() > 0);
    }
    assert!((1..20).contains(&lingered), "{lingered}");
}

#[test]
fn descriptors_run_out_and_come_back() {
    let world = World::new(3);
    let node = world.add_node("one");
    let client = world.start_client(node, async {
        let first = File::open("/a", HOW).await.expect("opens");
        let second = File::open("/b", HOW).await.expect("opens");
        let error = File::open("/c", HOW).await.expect_err("is one too many");
        assert_eq!(error.raw_os_error(), Some(24));
        drop((first, second));
        File::open("/c", HOW).await.expect("opens");
    });
    world.limit_descriptors(client, 2);
    world.run_for(LIMIT);
    assert_eq!(world.state(client), ProcessState::Ended);
}

#[test]
fn whole_trees_are_made_and_removed() {
    run_local(async {
        host::create_dir_all("/a/b/c").await.expect("makes");
        let written = patient::write_whole_durably(Path::new("/a/b/file"), b"whole").await;
        written.expect("writes");
        assert_eq!(host::read_whole("/a/b/file", 100).await.expect("reads"), b"whole");
        let names: Vec<_> =
            host::read_dir("/a/b").await.expect("reads").into_iter().map(|e| e.name).collect();
        assert_eq!(names, ["c", "file"]);
        host::remove_dir_all("/a").await.expect("removes");
        assert!(!host::exists("/a").await.expect("looks"));
        assert!(host::disk_space("/").await.expect("measures").free > 0);
    });
}
