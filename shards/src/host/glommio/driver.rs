//! The task that turns a shard's ring, timers and doorbells, and puts the shard to sleep.
//!
//! It stands in the foreground queue behind the tasks that are ready: one turn per round of tasks. When a round
//! brought nothing, it spins for a moment if spinning has paid lately, and then parks: it leaves the run queue and is
//! woken by the shard's eventfd (a completion, another shard), by a local kick (a task that asked the ring for
//! something), or by a timeout in the ring (the first timer).
//!
//! glommio can put its thread to sleep with a ready task when its preemption timer fires before any task has run.
//! A heartbeat timer of glommio's own bounds that sleep: 1 ms while there is work, up to 100 ms when there is none.
//!
//! Invariant: while `parked` is set, whatever makes work for the driver kicks it.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::pin::pin;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use glommio::io::PollableFd;
use glommio::timer::Timer;
use io_uring::squeue;
use ottla::ids::ShardId;
use ottla::time::Monotonic;

use super::bell::{Listener, ShardWake};
use super::op::Hold;
use super::ring::{Ring, new_eventfd};
use super::timer::{Timers, now, to_timespec};

/// How long the driver looks for work before it parks, when looking has paid lately.
const SPIN: Duration = Duration::from_micros(40);
/// The best score of spinning; each catch adds two, each miss takes one.
const SPIN_SCORE_MAX: u32 = 16;
/// At score zero, one in so many parks is preceded by a spin all the same, to notice that traffic has come.
const SPIN_PROBE_EVERY: u32 = 32;
/// The heartbeat while there is work, and its longest period.
const HEARTBEAT_MIN: Duration = Duration::from_millis(1);
const HEARTBEAT_MAX: Duration = Duration::from_millis(100);
/// Rounds without any task or event after which the shard counts as idle.
const IDLE_ROUNDS: u32 = 2;

thread_local! {
    static CURRENT: RefCell<Option<Rc<Driver>>> = const { RefCell::new(None) };
}

/// The driver of the shard that runs on this thread.
///
/// # Panics
/// On a thread that is no shard.
pub(super) fn current() -> Rc<Driver> {
    let driver = CURRENT.with(|current| current.borrow().clone());
    driver.expect("called on a shard: inside run_shards or run_local")
}

/// The parts of one shard's host.
pub(super) struct Driver {
    pub(super) shard: ShardId,
    pub(super) ring: Ring,
    pub(super) timers: Timers,
    pub(super) wake: Arc<ShardWake>,
    pub(super) background: glommio::TaskQueueHandle,
    /// Waiters for the pool of blocking threads, woken together.
    pub(super) blocking: super::blocking::Waiters,
    spin: Spin,
    listeners: RefCell<Vec<Weak<Listener>>>,
    parked: Cell<bool>,
    kicked: Cell<bool>,
    waker: RefCell<Option<Waker>>,
    /// Task polls so far: two looks that see the same number know that nothing ran in between.
    polls: Cell<u64>,
    background_tasks: Cell<usize>,
    /// The deadline of the earliest timeout in the ring that has not passed.
    armed: Cell<Option<Monotonic>>,
    heartbeat_waker: RefCell<Option<Waker>>,
    heartbeat_slow: Cell<bool>,
    /// Turns so far; the heartbeat tells from it whether the shard has had work.
    turns: Cell<u64>,
}

impl Driver {
    /// Makes the driver of this thread's shard. `spins`: whether the shard has a core to itself.
    pub(super) fn start(shard: ShardId, spins: bool, cpus: &libc::cpu_set_t) -> io::Result<Rc<Driver>> {
        let eventfd = new_eventfd()?;
        let wake = Arc::new(ShardWake::new(eventfd.try_clone()?));
        let background = glommio::executor().create_task_queue(
            glommio::Shares::Static(100),
            glommio::Latency::NotImportant,
            "background",
        );
        let driver = Rc::new(Driver {
            shard,
            ring: Ring::new(eventfd, cpus)?,
            timers: Timers::default(),
            wake,
            background,
            blocking: super::blocking::Waiters::default(),
            spin: Spin::new(spins),
            listeners: RefCell::default(),
            parked: Cell::new(false),
            kicked: Cell::new(false),
            waker: RefCell::new(None),
            polls: Cell::new(0),
            background_tasks: Cell::new(0),
            armed: Cell::new(None),
            heartbeat_waker: RefCell::new(None),
            heartbeat_slow: Cell::new(false),
            turns: Cell::new(0),
        });
        CURRENT.with(|current| {
            let before = current.borrow_mut().replace(Rc::clone(&driver));
            assert!(before.is_none(), "one shard per thread");
        });
        spawn_plain(Rc::clone(&driver).drive());
        spawn_plain(Rc::clone(&driver).listen_to_eventfd());
        spawn_plain(Rc::clone(&driver).heartbeat());
        Ok(driver)
    }

    /// Ends everything under way and forgets all waiters, while the executor still lives.
    pub(super) fn stop(&self) {
        self.ring.quiesce();
        self.timers.clear();
        self.blocking.clear();
        drop(self.waker.take());
        drop(self.heartbeat_waker.take());
    }

    /// The thread is no shard any more.
    pub(super) fn leave_thread() {
        drop(CURRENT.with(|current| current.borrow_mut().take()));
    }

    /// Begins an operation of the ring.
    pub(super) fn begin(&self, entry: squeue::Entry, hold: Hold) -> u32 {
        let key = self.ring.begin(entry, hold);
        self.kick_if_parked();
        key
    }

    /// Gives up on an operation of the ring.
    pub(super) fn abandon(&self, key: u32, cancel: bool) {
        self.ring.abandon(key, cancel);
        if cancel {
            self.kick_if_parked();
        }
    }

    /// Called when a timer was added.
    pub(super) fn timer_added(&self, deadline: Monotonic) {
        if self.parked.get() && self.armed.get().is_none_or(|armed| deadline < armed) {
            self.kick();
        }
    }

    /// Registers a doorbell; it leaves when it is dropped.
    pub(super) fn add_listener(&self, listener: &Rc<Listener>) {
        let mut listeners = self.listeners.borrow_mut();
        listeners.retain(|known| known.strong_count() > 0);
        listeners.push(Rc::downgrade(listener));
    }

    /// Called after each poll of a task.
    pub(super) fn task_polled(&self) {
        self.polls.set(self.polls.get().wrapping_add(1));
        if self.parked.get() && (self.wake.is_rung() || self.ring.has_completions()) {
            self.kick();
        }
    }

    /// Called when a background task begins (+1) and ends (-1).
    pub(super) fn count_background(&self, change: isize) {
        let count = self.background_tasks.get().checked_add_signed(change);
        self.background_tasks.set(count.expect("every background task that ends has begun"));
    }

    fn kick_if_parked(&self) {
        if self.parked.get() {
            self.kick();
        }
    }

    fn kick(&self) {
        self.kicked.set(true);
        let waker = self.waker.borrow_mut().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// One look at everything that can make a task ready; returns whether anything did.
    fn turn(&self) -> bool {
        let mut any = self.ring.turn();
        if self.wake.take_rung() {
            any = true;
            self.ring_doorbells();
        }
        if let Some(first) = self.timers.first() {
            let now = now();
            any |= first <= now && self.timers.fire(now);
        }
        any
    }

    fn ring_doorbells(&self) {
        self.blocking.wake_all();
        let mut at = 0;
        loop {
            let listener = match self.listeners.borrow().get(at) {
                Some(listener) => listener.upgrade(),
                None => return,
            };
            if let Some(listener) = listener {
                listener.check();
            }
            at += 1;
        }
    }

    async fn drive(self: Rc<Driver>) {
        let mut seen_polls = 0;
        let mut idle_rounds = 0;
        loop {
            self.turns.set(self.turns.get().wrapping_add(1));
            let any = self.turn();
            let ran = self.polls.get() != seen_polls;
            seen_polls = self.polls.get();
            if any {
                self.spin.caught();
            }
            idle_rounds = if any || ran { 0 } else { idle_rounds + 1 };
            if idle_rounds < IDLE_ROUNDS || self.spin.goes_on() {
                self.give_way().await;
                continue;
            }
            self.park().await;
            idle_rounds = 0;
        }
    }

    /// Lets the ready tasks run; the background queue too when it has tasks.
    async fn give_way(&self) {
        if self.background_tasks.get() > 0 {
            glommio::executor().yield_task_queue_now().await;
        } else {
            glommio::executor().yield_now().await;
        }
    }

    /// Sleeps until there may be work.
    async fn park(&self) {
        self.arm_timeout();
        self.ring.submit();
        if self.ring.has_unsubmitted() || !self.wake.park() {
            return;
        }
        self.ring.eventfd_on();
        self.kicked.set(false);
        self.parked.set(true);
        if !self.ring.has_completions() {
            poll_fn(|cx| {
                if self.kicked.get() {
                    return Poll::Ready(());
                }
                *self.waker.borrow_mut() = Some(cx.waker().clone());
                Poll::Pending
            })
            .await;
        }
        self.parked.set(false);
        self.ring.eventfd_off();
        self.wake.unpark();
        self.note_work();
    }

    /// Makes sure that the ring has a timeout for the first timer.
    fn arm_timeout(&self) {
        let armed = self.armed.get().filter(|&armed| armed > now());
        let first = self.timers.first();
        if let Some(first) = first.filter(|&first| armed.is_none_or(|armed| first < armed)) {
            self.ring.timeout(to_timespec(first));
            self.armed.set(Some(first));
        } else {
            self.armed.set(armed);
        }
    }

    /// Wakes the parked driver whenever the eventfd was written.
    async fn listen_to_eventfd(self: Rc<Driver>) {
        let fd = PollableFd::new(EventFd(self.ring.eventfd())).expect("glommio registers any descriptor");
        loop {
            if let Err(error) = fd.readable().await {
                panic!("the shard's eventfd cannot be polled: {error}");
            }
            drain_eventfd(self.ring.eventfd());
            self.kick();
        }
    }

    /// The shard has something to do: the heartbeat quickens.
    fn note_work(&self) {
        if self.heartbeat_slow.replace(false) {
            let waker = self.heartbeat_waker.borrow_mut().take();
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }

    /// Keeps a glommio timer pending; see the module's text.
    async fn heartbeat(self: Rc<Driver>) {
        let mut period = HEARTBEAT_MIN;
        loop {
            let before = self.turns.get();
            let slow = period > HEARTBEAT_MIN;
            self.heartbeat_slow.set(slow);
            let mut timer = pin!(Timer::new(period));
            poll_fn(|cx: &mut Context<'_>| {
                let quickened = slow && !self.heartbeat_slow.get();
                if quickened || timer.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(());
                }
                *self.heartbeat_waker.borrow_mut() = Some(cx.waker().clone());
                Poll::Pending
            })
            .await;
            let worked = self.turns.get() != before;
            period = if worked { HEARTBEAT_MIN } else { (period * 4).min(HEARTBEAT_MAX) };
        }
    }
}

/// Whether to look for work a little longer before parking: only where that has paid lately.
struct Spin {
    allowed: bool,
    until: Cell<Option<Monotonic>>,
    score: Cell<u32>,
    parks: Cell<u32>,
}

impl Spin {
    fn new(allowed: bool) -> Spin {
        Spin { allowed, until: Cell::new(None), score: Cell::new(0), parks: Cell::new(0) }
    }

    /// Something came; if that was during a spin, spinning pays.
    fn caught(&self) {
        if self.until.take().is_some() {
            self.score.set((self.score.get() + 2).min(SPIN_SCORE_MAX));
        }
    }

    /// Begins or continues a spin; false when it is time to park.
    fn goes_on(&self) -> bool {
        if !self.allowed {
            return false;
        }
        if let Some(until) = self.until.get() {
            let goes_on = now() < until;
            if !goes_on {
                self.until.set(None);
                self.score.set(self.score.get().saturating_sub(1));
            }
            return goes_on;
        }
        self.parks.set(self.parks.get().wrapping_add(1));
        let begins = self.score.get() > 0 || self.parks.get().is_multiple_of(SPIN_PROBE_EVERY);
        if begins {
            self.until.set(Some(now().after(SPIN)));
        }
        begins
    }
}

/// The eventfd for glommio's poll; the ring owns it and outlives the executor.
struct EventFd(RawFd);

impl AsRawFd for EventFd {
    fn as_raw_fd(&self) -> RawFd {
        self.0
    }
}

fn drain_eventfd(fd: RawFd) {
    let mut count = 0u64;
    // SAFETY: the pointer leads to the eight bytes of `count`; the descriptor does not block.
    let _ = unsafe { libc::read(fd, (&raw mut count).cast(), 8) };
}

/// Spawns one of the host's own tasks, whose polls do not count as work.
fn spawn_plain(future: impl Future<Output = ()> + 'static) {
    let queue = glommio::TaskQueueHandle::default();
    glommio::spawn_local_into(future, queue).expect("the default queue always exists").detach();
}
