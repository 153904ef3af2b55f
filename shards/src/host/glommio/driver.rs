//! The task that turns a shard's ring, timers and doorbells, and puts the shard to sleep.
//!
//! It stands in the foreground queue behind the tasks that are ready: one turn per round of tasks. When a round
//! brought nothing it spins for a moment, if spinning has paid lately, and then sleeps inside `io_uring_enter` until
//! an operation ends, another shard rings, or the first timer is due. So the thread sleeps in *our* ring, in one
//! system call; glommio's own sleep, with its three rings and about ten system calls, is never reached.
//!
//! Nobody can be ready while the driver sleeps. The foreground queue is first in, first out: if no task was polled
//! between two turns, and the turn itself woke none, then the queue holds the driver alone. The background queue is
//! asked by a probe task that stands behind everything that is ready there. Wakers are woken on their own shard only;
//! other threads ring a [`Bell`](super::Bell).
//!
//! glommio can put its thread to sleep with a ready task when its preemption timer fires before any task has run. That
//! timer is a second long here, for nothing depends on it, so that only a thread that loses its CPU for a second at
//! that very moment is concerned; two timers of glommio's own, of which one is always pending, bound such a sleep.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;

use io_uring::squeue;
use ottla::ids::ShardId;
use ottla::time::Monotonic;

use super::bell::{Listener, ShardWake};
use super::cold::ColdReads;
use super::committer::Committer;
use super::op::Hold;
use super::ring::{Ring, new_eventfd};
use super::timer::{Timers, now};
use super::turns::Turns;
use crate::host::slots::Slots;

/// How long the driver looks for work before it sleeps, when looking has paid lately.
const SPIN: Duration = Duration::from_micros(4);
/// The best score of spinning; each catch adds two, each miss takes one.
const SPIN_SCORE_MAX: u32 = 16;
/// At score zero, one in so many sleeps is preceded by a spin all the same, to notice that traffic has come.
const SPIN_PROBE_EVERY: u32 = 32;
/// The longest sleep, should anything ever not wake us.
const SLEEP_MAX: Duration = Duration::from_secs(5);
/// The period of each of the two timers that bound glommio's own sleep. glommio looks at its timers at least every
/// [`SLEEP_MAX`], so that half a period apart they are never both due at one look.
const HEARTBEAT: Duration = Duration::from_secs(20);
const _: () = assert!(HEARTBEAT.as_secs() >= 4 * SLEEP_MAX.as_secs());
/// glommio's weights of the queues: the default queue, ours for the foreground, has 1,000.
const BACKGROUND_SHARES: usize = 100;

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
    pub(super) committer: Committer,
    pub(super) slots: Slots,
    pub(super) cold: ColdReads,
    pub(super) turns: Turns,
    spin: Spin,
    probe: Probe,
    listeners: RefCell<Vec<Weak<Listener>>>,
    /// Task polls so far: two looks that see the same number know that nothing ran in between.
    polls: Cell<u64>,
    sleeps: Cell<u64>,
    background_tasks: Cell<usize>,
    stopped: Cell<bool>,
}

impl Driver {
    /// Makes the driver of this thread's shard. `spins`: whether the shard has a core to itself.
    pub(super) fn start(shard: ShardId, spins: bool, cpus: &libc::cpu_set_t) -> io::Result<Rc<Driver>> {
        let eventfd = new_eventfd()?;
        let wake = Arc::new(ShardWake::new(eventfd.try_clone()?));
        let background = glommio::executor().create_task_queue(
            glommio::Shares::Static(BACKGROUND_SHARES),
            glommio::Latency::NotImportant,
            "background",
        );
        let driver = Rc::new(Driver {
            shard,
            ring: Ring::new(eventfd, cpus)?,
            timers: Timers::default(),
            committer: Committer::new(Arc::clone(&wake)),
            wake,
            background,
            blocking: super::blocking::Waiters::default(),
            slots: Slots::default(),
            cold: ColdReads::default(),
            turns: Turns::default(),
            spin: Spin::new(spins),
            probe: Probe::default(),
            listeners: RefCell::default(),
            polls: Cell::new(0),
            sleeps: Cell::new(0),
            background_tasks: Cell::new(0),
            stopped: Cell::new(false),
        });
        CURRENT.with(|current| {
            let before = current.borrow_mut().replace(Rc::clone(&driver));
            assert!(before.is_none(), "one shard per thread");
        });
        let foreground = glommio::TaskQueueHandle::default();
        spawn_plain(Rc::clone(&driver).drive(), foreground);
        spawn_plain(Rc::clone(&driver).answer_probes(), background);
        spawn_plain(heartbeat(Duration::ZERO), background);
        spawn_plain(heartbeat(HEARTBEAT / 2), background);
        Ok(driver)
    }

    /// Ends everything under way and forgets all waiters, while the executor still lives.
    pub(super) fn stop(&self) {
        self.stopped.set(true);
        self.ring.quiesce();
        self.committer.stop();
        self.timers.clear();
        self.blocking.clear();
        self.probe.clear();
        self.slots.clear();
    }

    /// The thread is no shard any more.
    pub(super) fn leave_thread() {
        drop(CURRENT.with(|current| current.borrow_mut().take()));
    }

    /// Begins an operation of the ring.
    pub(super) fn begin(&self, entry: squeue::Entry, hold: Hold) -> u32 {
        self.ring.begin(entry, hold)
    }

    /// Registers a doorbell; it leaves when it is dropped.
    pub(super) fn add_listener(&self, listener: &Rc<Listener>) {
        let mut listeners = self.listeners.borrow_mut();
        listeners.retain(|known| known.strong_count() > 0);
        listeners.push(Rc::downgrade(listener));
    }

    /// Called after each poll of a task, and when a task's future was dropped.
    pub(super) fn task_polled(&self) {
        self.polls.set(self.polls.get().wrapping_add(1));
    }

    /// Called when a background task begins (+1) and ends (-1).
    pub(super) fn count_background(&self, change: isize) {
        let count = self.background_tasks.get().checked_add_signed(change);
        self.background_tasks.set(count.expect("every background task that ends has begun"));
    }

    /// One look at everything that can make a task ready; returns when it was and whether anything did.
    fn turn(&self) -> (Monotonic, bool) {
        let mut any = self.ring.turn();
        let now = now();
        if self.wake.take_rung() {
            any = true;
            self.ring_doorbells();
        }
        if let Some(first) = self.timers.first() {
            any |= first <= now && self.timers.fire(now);
        }
        (now, any)
    }

    fn ring_doorbells(&self) {
        self.blocking.wake_all();
        self.committer.look();
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
        let mut slept = false;
        while !self.stopped.get() {
            let (now, any) = self.turn();
            let ran = std::mem::replace(&mut seen_polls, self.polls.get()) != self.polls.get();
            self.turns.turned(now, ran);
            if any {
                self.spin.caught();
            }
            if any || ran {
                self.probe.outdated();
            } else if !slept && !self.spin.goes_on() && self.background_is_idle() {
                self.sleep();
                // Whatever ended the sleep, the queue goes round once before the next.
                slept = true;
                continue;
            }
            slept = false;
            self.give_way().await;
        }
    }

    fn background_is_idle(&self) -> bool {
        self.background_tasks.get() == 0 || self.probe.says_idle()
    }

    /// Lets the ready tasks run; the background queue too when it has tasks.
    async fn give_way(&self) {
        if self.background_tasks.get() > 0 {
            glommio::executor().yield_task_queue_now().await;
        } else {
            glommio::executor().yield_now().await;
        }
    }

    /// Sleeps, with the whole thread, until there may be work.
    fn sleep(&self) {
        if !self.wake.park() {
            return;
        }
        let limit = self.timers.first().map_or(SLEEP_MAX, |first| first.since(now()).min(SLEEP_MAX));
        self.sleeps.set(self.sleeps.get().wrapping_add(1));
        self.turns.sleeps();
        self.ring.wait(limit);
        self.wake.unpark();
    }

    /// Task polls and sleeps so far.
    pub(super) fn counts(&self) -> (u64, u64) {
        (self.polls.get(), self.sleeps.get())
    }

    /// The task behind the ready tasks of the background queue.
    async fn answer_probes(self: Rc<Driver>) {
        while !self.stopped.get() {
            poll_fn(|cx| self.probe.poll_asked(cx.waker())).await;
        }
    }
}

/// Whether the background queue has nothing ready: asked of a task that stands behind everything that is.
#[derive(Default)]
struct Probe {
    state: Cell<Asked>,
    waker: RefCell<Option<Waker>>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Asked {
    /// Not asked.
    #[default]
    No,
    /// Asked, and no task has run since.
    Fresh,
    /// Asked, but tasks have run since: the answer will say nothing.
    Outdated,
    /// Answered, and no task has run since it was asked.
    Idle,
}

impl Probe {
    /// A task has run, or was made ready.
    fn outdated(&self) {
        self.state.set(match self.state.get() {
            Asked::No | Asked::Idle => Asked::No,
            Asked::Fresh | Asked::Outdated => Asked::Outdated,
        });
    }

    /// Whether the queue is known to be idle; asks if not.
    fn says_idle(&self) -> bool {
        if self.state.get() == Asked::No {
            let waker = self.waker.borrow_mut().take();
            // No waker: the probe task has yet to begin, ahead of tasks that were spawned after it.
            if let Some(waker) = waker {
                self.state.set(Asked::Fresh);
                waker.wake();
            }
        }
        self.state.get() == Asked::Idle
    }

    /// Polled by the probe task: notes that its turn has come, and waits for the next question.
    fn poll_asked(&self, waker: &Waker) -> Poll<()> {
        self.state.set(match self.state.get() {
            Asked::Fresh => Asked::Idle,
            Asked::Outdated | Asked::No => Asked::No,
            Asked::Idle => Asked::Idle,
        });
        *self.waker.borrow_mut() = Some(waker.clone());
        Poll::Pending
    }

    fn clear(&self) {
        drop(self.waker.take());
    }
}

/// Whether to look for work a little longer before sleeping: only where that has paid lately.
struct Spin {
    allowed: bool,
    until: Cell<Option<Monotonic>>,
    score: Cell<u32>,
    sleeps: Cell<u32>,
}

impl Spin {
    fn new(allowed: bool) -> Spin {
        Spin { allowed, until: Cell::new(None), score: Cell::new(0), sleeps: Cell::new(0) }
    }

    /// Something came; if that was during a spin, spinning pays.
    fn caught(&self) {
        if self.until.take().is_some() {
            self.score.set((self.score.get() + 2).min(SPIN_SCORE_MAX));
        }
    }

    /// Begins or continues a spin; false when it is time to sleep.
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
        self.sleeps.set(self.sleeps.get().wrapping_add(1));
        let begins = self.score.get() > 0 || self.sleeps.get().is_multiple_of(SPIN_PROBE_EVERY);
        if begins {
            self.until.set(Some(now().after(SPIN)));
        }
        begins
    }
}

/// Keeps a glommio timer pending; see the module's text.
async fn heartbeat(apart: Duration) {
    glommio::timer::Timer::new(apart).await;
    loop {
        glommio::timer::Timer::new(HEARTBEAT).await;
    }
}

/// Spawns one of the host's own tasks, whose polls do not count as work.
fn spawn_plain(future: impl Future<Output = ()> + 'static, queue: glommio::TaskQueueHandle) {
    glommio::spawn_local_into(future, queue).expect("both queues live as long as the shard").detach();
}
