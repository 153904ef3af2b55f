//! The clock, the shard's timers and its random numbers.
//!
//! Timers live in an ordered map of their shard; the driver fires those that are due and sleeps no longer than until
//! the first one.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::OnceLock;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ottla::ids::TimestampMs;
use ottla::time::Monotonic;

use super::driver::{self, Driver};
use crate::host::types::TimedOut;

/// `CLOCK_MONOTONIC` at the process's first look at it, in nanoseconds.
static START: OnceLock<u64> = OnceLock::new();

fn clock_nanos() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer leads to a timespec of this frame.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    assert_eq!(result, 0, "CLOCK_MONOTONIC can be read");
    let seconds = u64::try_from(time.tv_sec).expect("the clock starts at zero");
    seconds * 1_000_000_000 + u64::try_from(time.tv_nsec).expect("nanoseconds are positive")
}

fn start_nanos() -> u64 {
    *START.get_or_init(clock_nanos)
}

/// The time since the process first asked for it; the same clock on every shard.
#[must_use]
pub fn now() -> Monotonic {
    let start = start_nanos();
    Monotonic(clock_nanos().saturating_sub(start))
}

/// The wall clock, for what records carry. It may jump.
#[must_use]
pub fn wall_ms() -> TimestampMs {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    TimestampMs(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// A random number from the system's generator, drawn in blocks of a page's fraction per thread.
#[must_use]
pub fn random_u64() -> u64 {
    const DRAWN: usize = 16;
    thread_local! {
        static KEPT: Cell<([u64; DRAWN], usize)> = const { Cell::new(([0; DRAWN], 0)) };
    }
    let (mut numbers, mut left) = KEPT.get();
    if left == 0 {
        // SAFETY: the pointer and length describe `numbers`.
        let got = unsafe { libc::getrandom(numbers.as_mut_ptr().cast(), size_of_val(&numbers), 0) };
        assert_eq!(got, size_of_val(&numbers).cast_signed(), "256 bytes or fewer come whole from getrandom");
        left = DRAWN;
    }
    left -= 1;
    let number = std::mem::take(&mut numbers[left]);
    KEPT.set((numbers, left));
    number
}

/// Sixteen random bytes, for an id.
#[must_use]
pub fn random_bytes() -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&random_u64().to_be_bytes());
    bytes[8..].copy_from_slice(&random_u64().to_be_bytes());
    bytes
}

/// The timers of one shard.
#[derive(Default)]
pub(super) struct Timers {
    waiting: RefCell<BTreeMap<(Monotonic, u64), Waker>>,
    next_key: Cell<u64>,
}

impl Timers {
    /// When the first timer is due.
    pub(super) fn first(&self) -> Option<Monotonic> {
        self.waiting.borrow().first_key_value().map(|((deadline, _), _)| *deadline)
    }

    /// Wakes everything due at `now`; returns whether there was anything.
    pub(super) fn fire(&self, now: Monotonic) -> bool {
        let mut any = false;
        loop {
            let mut waiting = self.waiting.borrow_mut();
            let Some(entry) = waiting.first_entry().filter(|entry| entry.key().0 <= now) else { return any };
            let waker = entry.remove();
            drop(waiting);
            any = true;
            waker.wake();
        }
    }

    fn insert(&self, deadline: Monotonic, waker: Waker) -> u64 {
        let key = self.next_key.get();
        self.next_key.set(key + 1);
        self.waiting.borrow_mut().insert((deadline, key), waker);
        key
    }

    fn update(&self, deadline: Monotonic, key: u64, waker: &Waker) -> bool {
        let mut waiting = self.waiting.borrow_mut();
        let Some(known) = waiting.get_mut(&(deadline, key)) else { return false };
        if !known.will_wake(waker) {
            *known = waker.clone();
        }
        true
    }

    fn remove(&self, deadline: Monotonic, key: u64) {
        let removed = self.waiting.borrow_mut().remove(&(deadline, key));
        drop(removed);
    }

    /// Forgets every timer; for the end of a shard.
    pub(super) fn clear(&self) {
        let all = self.waiting.take();
        drop(all);
    }
}

/// A wait for a moment; see [`sleep_until`].
#[must_use = "a sleep waits only when awaited"]
pub struct Sleep {
    driver: Rc<Driver>,
    deadline: Monotonic,
    key: Option<u64>,
}

impl Sleep {
    /// When it ends.
    #[must_use]
    pub fn deadline(&self) -> Monotonic {
        self.deadline
    }

    /// Waits for `deadline` instead; may be called again after the sleep has ended.
    pub fn reset(&mut self, deadline: Monotonic) {
        if let Some(key) = self.key.take() {
            self.driver.timers.remove(self.deadline, key);
        }
        self.deadline = deadline;
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if now() >= self.deadline {
            if let Some(key) = self.key.take() {
                self.driver.timers.remove(self.deadline, key);
            }
            return Poll::Ready(());
        }
        let known = self.key.is_some_and(|key| self.driver.timers.update(self.deadline, key, cx.waker()));
        if !known {
            let key = self.driver.timers.insert(self.deadline, cx.waker().clone());
            self.key = Some(key);
        }
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            self.driver.timers.remove(self.deadline, key);
        }
    }
}

/// Waits for `duration`; at least that long, and as a rule less than 0.1 ms longer on an idle shard.
pub fn sleep(duration: Duration) -> Sleep {
    sleep_until(now().after(duration))
}

/// Waits until `deadline`; ready at once when it has passed.
pub fn sleep_until(deadline: Monotonic) -> Sleep {
    Sleep { driver: driver::current(), deadline, key: None }
}

/// `future` with a deadline; see [`timeout`].
#[must_use = "a timeout waits only when awaited"]
pub struct Timeout<F> {
    future: F,
    sleep: Sleep,
}

impl<F: Future + Unpin> Future for Timeout<F> {
    type Output = Result<F::Output, TimedOut>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Poll::Ready(output) = Pin::new(&mut self.future).poll(cx) {
            return Poll::Ready(Ok(output));
        }
        Pin::new(&mut self.sleep).poll(cx).map(|()| Err(TimedOut))
    }
}

/// Awaits `future` for at most `duration`, then drops it. A future that is ready wins over a deadline that has
/// passed. Pin the future (`std::pin::pin!` or `Box::pin`) if it is not `Unpin`.
pub fn timeout<F: Future + Unpin>(duration: Duration, future: F) -> Timeout<F> {
    Timeout { future, sleep: sleep(duration) }
}
