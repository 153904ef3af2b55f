//! The shards of a world and the tasks that run on them.
//!
//! A turn polls one task. How long a poll takes is drawn, so that shards overtake each other; now and then one takes
//! as long as a thread that lost its core. A shard belongs to a process, and a panic of any of its tasks ends that
//! process alone.
//!
//! Invariants: the ready tasks of a queue run in the order in which they became ready; a background task never runs
//! twice in a row while the foreground has work.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use ottla::ids::ShardId;
use ottla::time::Monotonic;

use super::engine::{Engine, Event, engine, engine_of, here, this_process};
use super::process::{self, End, Process};
use crate::host::slots::Slots;
use crate::host::types::{LocalBoxFuture, LoopTimes, Queue, ShardSpec, ShardStats};

/// Why a shard did not start; in a world every shard does.
#[derive(Debug, thiserror::Error)]
#[error("shard {0} does not start")]
pub struct StartError(ShardId);

/// What one poll takes, in nanoseconds.
const POLL_NANOS: (u64, u64) = (150, 2_000);
/// A long poll: one in so many, and its length.
const LONG_PER_MILLION: u32 = 4_000;
const LONG_NANOS_MAX: u64 = 60_000;
/// A shard that loses its core for a while.
const PREEMPTED_PER_MILLION: u32 = 60;
const PREEMPTED_NANOS_MAX: u64 = 4_000_000;
/// How long a shard that slept takes to begin, in nanoseconds.
const WAKE_NANOS_MAX: u64 = 1_500;
/// The background queue's share while both queues have work.
const BACKGROUND_PER_MILLION: u32 = 90_909;

struct Slot {
    /// How many tasks have stood here.
    count: u32,
    task: Option<Task>,
}

struct Task {
    /// Away while it is polled.
    future: Option<LocalBoxFuture<()>>,
    waker: Waker,
    wake: Arc<TaskWake>,
    cancelled: bool,
}

/// What a task's wakers share.
struct TaskWake {
    world: u64,
    shard: u32,
    place: u32,
    count: u32,
    queue: Queue,
    /// Whether the task stands among the ready ones.
    ready: AtomicBool,
}

impl Wake for TaskWake {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.ready.swap(true, Ordering::Relaxed) {
            return;
        }
        if let Some(engine) = engine_of(self.world) {
            let shard = Rc::clone(&engine.shards.borrow()[self.shard as usize]);
            shard.make_ready(&engine, self);
        }
    }
}

/// One simulated shard.
pub(super) struct Shard {
    key: u32,
    pub(super) id: ShardId,
    pub(super) process: Rc<Process>,
    pub(super) slots: Slots,
    tasks: RefCell<Vec<Slot>>,
    free: RefCell<Vec<u32>>,
    ready: [RefCell<VecDeque<(u32, u32)>>; 2],
    turn_is_due: Cell<bool>,
    busy_until: Cell<u64>,
    was_background: Cell<bool>,
    /// Its main future has ended.
    has_ended: Cell<bool>,
    polls: Cell<u64>,
    sleeps: Cell<u64>,
}

impl Shard {
    /// Its process and number, for people.
    pub(super) fn name(&self) -> String {
        format!("{}/{}", self.process.label(), self.id.0)
    }

    /// Its number among all shards of the world.
    pub(super) fn key(&self) -> u32 {
        self.key
    }

    pub(super) fn has_ended(&self) -> bool {
        self.has_ended.get()
    }

    fn make_ready(&self, engine: &Engine, wake: &TaskWake) {
        if !self.process.is_alive() || self.has_ended.get() {
            return;
        }
        if let Some(waking) = engine.here() {
            assert_eq!(waking.key, self.key, "a waker is woken on its own shard");
        }
        self.ready[place_of(wake.queue)].borrow_mut().push_back((wake.place, wake.count));
        if !self.turn_is_due.get() {
            let delay = engine.draw(|random| random.below(WAKE_NANOS_MAX));
            let at = self.busy_until.get().max(engine.now().0 + delay);
            self.turn_is_due.set(true);
            engine.at(at, Event::Turn(self.key));
        }
    }

    fn add(&self, engine: &Engine, queue: Queue, future: LocalBoxFuture<()>) -> (u32, u32) {
        let place = self.free.borrow_mut().pop().unwrap_or_else(|| {
            let mut tasks = self.tasks.borrow_mut();
            tasks.push(Slot { count: 0, task: None });
            u32::try_from(tasks.len() - 1).expect("far fewer tasks")
        });
        let mut tasks = self.tasks.borrow_mut();
        let slot = &mut tasks[place as usize];
        let wake = Arc::new(TaskWake {
            world: engine.id,
            shard: self.key,
            place,
            count: slot.count,
            queue,
            ready: AtomicBool::new(true),
        });
        let waker = Waker::from(Arc::clone(&wake));
        slot.task = Some(Task { future: Some(future), waker, wake: Arc::clone(&wake), cancelled: false });
        drop(tasks);
        self.make_ready(engine, &wake);
        (place, wake.count)
    }

    /// The ready task whose turn it is.
    fn next(&self, engine: &Engine) -> Option<(u32, u32)> {
        let (mut front, mut back) = (self.ready[0].borrow_mut(), self.ready[1].borrow_mut());
        let background = match (front.is_empty(), back.is_empty()) {
            (true, _) => true,
            (false, true) => false,
            (false, false) => {
                !self.was_background.get() && engine.draw(|random| random.chance(BACKGROUND_PER_MILLION))
            }
        };
        self.was_background.set(background);
        if background { back.pop_front() } else { front.pop_front() }
    }

    fn has_ready(&self) -> bool {
        self.ready.iter().any(|queue| !queue.borrow().is_empty())
    }

    /// One event of this shard: polls the task whose turn it is.
    pub(super) fn turn(self: &Rc<Self>, engine: &Rc<Engine>) {
        self.turn_is_due.set(false);
        if !self.process.is_alive() || self.has_ended.get() {
            return;
        }
        if let Some(key) = self.next(engine) {
            let on = engine.on(Some(self));
            self.run(engine, key);
            drop(on);
        }
        let cost = engine.draw(|random| {
            if random.chance(PREEMPTED_PER_MILLION) {
                random.below(PREEMPTED_NANOS_MAX)
            } else if random.chance(LONG_PER_MILLION) {
                random.below(LONG_NANOS_MAX)
            } else {
                random.between(POLL_NANOS.0, POLL_NANOS.1)
            }
        });
        self.busy_until.set(engine.now().0 + cost);
        if self.has_ready() && !self.turn_is_due.replace(true) {
            engine.after(cost, Event::Turn(self.key));
        } else if !self.has_ready() {
            self.sleeps.set(self.sleeps.get().wrapping_add(1));
        }
    }

    fn run(self: &Rc<Self>, engine: &Rc<Engine>, (place, count): (u32, u32)) {
        let taken = self.take(place, count);
        let Some((mut future, waker, cancelled)) = taken else { return };
        engine.mark(20, u64::from(self.key) << 32 | u64::from(place));
        self.polls.set(self.polls.get().wrapping_add(1));
        let polled = if cancelled {
            Ok(Poll::Ready(()))
        } else {
            let mut context = Context::from_waker(&waker);
            catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(&mut context)))
        };
        match polled {
            Ok(Poll::Pending) => self.put_back(place, count, future, waker),
            Ok(Poll::Ready(())) => {
                let ended = self.remove(place, count);
                let dropped = catch_unwind(AssertUnwindSafe(|| drop((future, ended))));
                if let Err(panic) = dropped {
                    process::end(engine, &self.process, End::of_panic(panic));
                } else if place == 0 && count == 0 {
                    self.main_has_ended(engine);
                }
            }
            Err(panic) => {
                // What the future holds is dropped like the rest of the process.
                process::end(engine, &self.process, End::of_panic(panic));
                let _ = catch_unwind(AssertUnwindSafe(|| drop(future)));
            }
        }
    }

    fn take(&self, place: u32, count: u32) -> Option<(LocalBoxFuture<()>, Waker, bool)> {
        let mut tasks = self.tasks.borrow_mut();
        let slot = tasks.get_mut(place as usize).filter(|slot| slot.count == count)?;
        let task = slot.task.as_mut()?;
        task.wake.ready.store(false, Ordering::Relaxed);
        let waker = std::mem::replace(&mut task.waker, Waker::noop().clone());
        Some((task.future.take()?, waker, task.cancelled))
    }

    fn put_back(&self, place: u32, count: u32, future: LocalBoxFuture<()>, waker: Waker) {
        let mut tasks = self.tasks.borrow_mut();
        let slot = tasks.get_mut(place as usize).filter(|slot| slot.count == count);
        match slot.and_then(|slot| slot.task.as_mut()) {
            Some(task) => {
                task.future = Some(future);
                task.waker = waker;
            }
            // The task has ended its own process.
            None => {
                drop(tasks);
                let _ = catch_unwind(AssertUnwindSafe(|| drop(future)));
            }
        }
    }

    fn remove(&self, place: u32, count: u32) -> Option<Task> {
        let mut tasks = self.tasks.borrow_mut();
        let slot = tasks.get_mut(place as usize).filter(|slot| slot.count == count)?;
        slot.count = slot.count.wrapping_add(1);
        self.free.borrow_mut().push(place);
        slot.task.take()
    }

    fn cancel(&self, place: u32, count: u32) {
        let mut tasks = self.tasks.borrow_mut();
        let slot = tasks.get_mut(place as usize).filter(|slot| slot.count == count);
        let Some(task) = slot.and_then(|slot| slot.task.as_mut()) else { return };
        task.cancelled = true;
        let wake = Arc::clone(&task.wake);
        drop(tasks);
        wake.wake_by_ref();
    }

    /// Drops the shard's tasks, and ends the process with its last shard.
    fn main_has_ended(self: &Rc<Self>, engine: &Rc<Engine>) {
        engine.note(|| "the shard has ended".to_owned());
        self.has_ended.set(true);
        match self.drop_tasks() {
            Some(panic) => process::end(engine, &self.process, End::of_panic(panic)),
            None if self.process.all_shards_have_ended() => process::end(engine, &self.process, End::Itself),
            None => {}
        }
    }

    /// Drops every task; returns the first panic of one that was dropped.
    pub(super) fn drop_tasks(&self) -> Option<Box<dyn std::any::Any + Send>> {
        let tasks: Vec<Slot> = self.tasks.take();
        self.free.borrow_mut().clear();
        self.ready.iter().for_each(|queue| queue.borrow_mut().clear());
        let mut first = None;
        for slot in tasks {
            let dropped = catch_unwind(AssertUnwindSafe(|| drop(slot.task)));
            first = first.or(dropped.err());
        }
        let dropped = catch_unwind(AssertUnwindSafe(|| self.slots.clear()));
        first.or(dropped.err())
    }
}

fn place_of(queue: Queue) -> usize {
    match queue {
        Queue::Foreground => 0,
        Queue::Background => 1,
    }
}

/// Makes a shard of `process` that runs `main`.
pub(super) fn start_shard(engine: &Rc<Engine>, process: &Rc<Process>, id: ShardId, main: LocalBoxFuture<()>) {
    let key = u32::try_from(engine.shards.borrow().len()).expect("far fewer shards");
    let shard = Rc::new(Shard {
        key,
        id,
        process: Rc::clone(process),
        slots: Slots::default(),
        tasks: RefCell::default(),
        free: RefCell::default(),
        ready: Default::default(),
        turn_is_due: Cell::new(false),
        busy_until: Cell::new(0),
        was_background: Cell::new(false),
        has_ended: Cell::new(false),
        polls: Cell::new(0),
        sleeps: Cell::new(0),
    });
    engine.shards.borrow_mut().push(Rc::clone(&shard));
    process.shards.borrow_mut().push(Rc::clone(&shard));
    let on = engine.on(Some(&shard));
    shard.add(engine, Queue::Foreground, main);
    drop(on);
}

/// Begins one shard per spec in the process that is being started, each with the future that `main` makes for it,
/// and returns: the world runs them.
///
/// # Errors
/// None in a world.
pub fn run_shards<M, Fut>(specs: Vec<ShardSpec>, main: M) -> Result<(), StartError>
where
    M: Fn(ShardId) -> Fut + Send + Clone + 'static,
    Fut: Future<Output = ()> + 'static,
{
    let (engine, process) = (engine(), this_process());
    assert!(process.shards.borrow().is_empty(), "a process runs its shards once");
    for spec in specs {
        let (main, id) = (main.clone(), spec.shard);
        start_shard(&engine, &process, id, Box::pin(async move { main(id).await }));
    }
    Ok(())
}

/// Runs one future as the only shard of the only machine of a world of its own, and returns its output.
///
/// # Panics
/// When the future's process ends in another way than with the future.
pub fn run_local<F: Future + 'static>(future: F) -> F::Output
where
    F::Output: 'static,
{
    let world = super::World::new(0);
    let node = world.add_node("local");
    let output = Rc::new(RefCell::new(None));
    let place = Rc::clone(&output);
    let process = world.start_client(node, async move {
        let value = future.await;
        *place.borrow_mut() = Some(value);
    });
    while output.borrow().is_none() && world.step() == super::Step::Ran {}
    let value = output.borrow_mut().take();
    value.unwrap_or_else(|| panic!("the future has no output: {:?}", world.state(process)))
}

/// The shard that the caller runs on.
#[must_use]
pub fn shard_id() -> ShardId {
    here().id
}

/// This shard's own value of a type, made when it is first asked for: what a thread-local would be where a shard is
/// a thread.
#[must_use]
pub fn shard_slot<T: Default + 'static>() -> Rc<T> {
    here().slots.get()
}

/// The current shard's counters.
#[must_use]
pub fn shard_stats() -> ShardStats {
    let shard = here();
    ShardStats { task_polls: shard.polls.get(), sleeps: shard.sleeps.get() }
}

/// When the loop has last looked for what can make a task ready: a world does nothing else.
#[must_use]
pub fn turn_began() -> Monotonic {
    super::timer::now()
}

/// The turns of the shard's loop, which take no time here.
#[must_use]
pub fn loop_times() -> LoopTimes {
    LoopTimes::default()
}

/// Where a task leaves its result.
struct Joined<T> {
    value: RefCell<Option<T>>,
    waiter: RefCell<Option<Waker>>,
    is_gone: Cell<bool>,
}

/// Marks the end of a task, whether it has run to it or was dropped.
struct Leaving<T>(Rc<Joined<T>>);

impl<T> Drop for Leaving<T> {
    fn drop(&mut self) {
        self.0.is_gone.set(true);
        let waiter = self.0.waiter.borrow_mut().take();
        if let Some(waiter) = waiter {
            waiter.wake();
        }
    }
}

/// A spawned task's result. Dropping the handle lets the task run on.
pub struct JoinHandle<T> {
    joined: Rc<Joined<T>>,
    shard: Rc<Shard>,
    key: Option<(u32, u32)>,
}

impl<T> std::fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "JoinHandle({:?} of shard {})", self.key, self.shard.id)
    }
}

impl<T> JoinHandle<T> {
    /// Drops the task's future at its next turn, unless it has ended; who awaits the handle then panics.
    pub fn cancel(&self) {
        if let Some((place, count)) = self.key {
            self.shard.cancel(place, count);
        }
    }
}

impl<T> Future for JoinHandle<T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        if let Some(value) = self.joined.value.borrow_mut().take() {
            return Poll::Ready(value);
        }
        assert!(!self.joined.is_gone.get(), "a cancelled task is not awaited");
        *self.joined.waiter.borrow_mut() = Some(cx.waker().clone());
        Poll::Pending
    }
}

/// Starts a task in the foreground queue of the current shard. It first runs after the caller has given way.
pub fn spawn<T: 'static>(future: impl Future<Output = T> + 'static) -> JoinHandle<T> {
    spawn_in(Queue::Foreground, future)
}

/// Like [`spawn`], for a task whose end nobody awaits.
pub fn spawn_detached(future: impl Future<Output = ()> + 'static) {
    let (engine, shard) = (engine(), here());
    if shard.process.is_alive() && !shard.has_ended.get() {
        shard.add(&engine, Queue::Foreground, Box::pin(future));
    }
}

/// Starts a task in `queue` of the current shard.
pub fn spawn_in<T: 'static>(queue: Queue, future: impl Future<Output = T> + 'static) -> JoinHandle<T> {
    let (engine, shard) = (engine(), here());
    let joined =
        Rc::new(Joined { value: RefCell::new(None), waiter: RefCell::new(None), is_gone: Cell::new(false) });
    let leaving = Leaving(Rc::clone(&joined));
    let task = async move {
        let value = future.await;
        *leaving.0.value.borrow_mut() = Some(value);
        drop(leaving);
    };
    // What a process's end drops may still spawn: it is not run any more.
    let is_running = shard.process.is_alive() && !shard.has_ended.get();
    let key = is_running.then(|| shard.add(&engine, queue, Box::pin(task)));
    JoinHandle { joined, shard, key }
}

/// Lets every other ready task of this queue run first.
pub async fn yield_now() {
    let mut has_yielded = false;
    poll_fn(|cx| {
        if has_yielded {
            return Poll::Ready(());
        }
        has_yielded = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
