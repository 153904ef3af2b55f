//! A few threads for calls that block and that the ring does not have.
//!
//! The threads belong to the process, start when first needed and end when idle for a while. They run on any CPU of
//! the process, whichever shard asked.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;

use super::bell::ShardWake;
use super::driver;
use super::executor::{pin_thread, process_cpus};

/// The most threads; more jobs wait in order.
const THREADS_MAX: usize = 4;
/// How long an idle thread stays.
const LINGER: Duration = Duration::from_secs(5);

type Job = Box<dyn FnOnce() + Send>;

struct Pool {
    jobs: VecDeque<Job>,
    threads: usize,
    idle: usize,
}

static POOL: Mutex<Pool> = Mutex::new(Pool { jobs: VecDeque::new(), threads: 0, idle: 0 });
static ARRIVED: Condvar = Condvar::new();

/// The pool's lock; jobs run outside it, so that it is never poisoned half-way.
fn pool() -> MutexGuard<'static, Pool> {
    POOL.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The waiters of one shard, woken together whenever the shard was rung.
#[derive(Default)]
pub(super) struct Waiters(std::cell::RefCell<Vec<Waker>>);

impl Waiters {
    pub(super) fn wake_all(&self) {
        let all = self.0.take();
        all.into_iter().for_each(Waker::wake);
    }

    pub(super) fn clear(&self) {
        drop(self.0.take());
    }
}

/// Runs `job` on a thread that may block, and resolves to its result. The job runs also when the future is dropped.
/// A panic of the job is a panic of the awaiting task.
pub fn spawn_blocking<T: Send + 'static>(
    job: impl FnOnce() -> T + Send + 'static,
) -> impl Future<Output = T> {
    let driver = driver::current();
    let place = Arc::new(Mutex::new(None));
    submit(Box::new({
        let (place, wake): (_, Arc<ShardWake>) = (Arc::clone(&place), Arc::clone(&driver.wake));
        move || {
            let result = catch_unwind(AssertUnwindSafe(job));
            *place.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
            wake.ring();
        }
    }));
    poll_fn(move |cx| {
        let done = place.lock().unwrap_or_else(PoisonError::into_inner).take();
        match done {
            Some(Ok(result)) => Poll::Ready(result),
            Some(Err(panic)) => resume_unwind(panic),
            None => {
                driver.blocking.0.borrow_mut().push(cx.waker().clone());
                Poll::Pending
            }
        }
    })
}

fn submit(job: Job) {
    let mut pool = pool();
    pool.jobs.push_back(job);
    if pool.idle >= pool.jobs.len() || pool.threads == THREADS_MAX {
        ARRIVED.notify_one();
        return;
    }
    pool.threads += 1;
    drop(pool);
    if std::thread::Builder::new().name("blocking".into()).spawn(work).is_err() {
        without_a_thread();
    }
}

/// The system has no room for another thread: those that there are do the work, and without any the caller does, which
/// holds up its shard for once.
fn without_a_thread() {
    let mut pool = pool();
    pool.threads -= 1;
    if pool.threads > 0 {
        ARRIVED.notify_one();
        return;
    }
    while let Some(job) = pool.jobs.pop_front() {
        drop(pool);
        job();
        pool = self::pool();
    }
}

fn work() {
    // The thread inherits the shard's pin; it is to run anywhere but there.
    let _ = pin_thread(&process_cpus());
    let mut pool = pool();
    loop {
        while let Some(job) = pool.jobs.pop_front() {
            drop(pool);
            job();
            pool = self::pool();
        }
        pool.idle += 1;
        let (woken, timeout) = ARRIVED.wait_timeout(pool, LINGER).unwrap_or_else(PoisonError::into_inner);
        pool = woken;
        pool.idle -= 1;
        if timeout.timed_out() && pool.jobs.is_empty() {
            pool.threads -= 1;
            return;
        }
    }
}
