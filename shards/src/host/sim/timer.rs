//! Virtual time: the clock, the timers and random numbers of the world.
//!
//! A timer fires at its deadline or a little later, as on a machine. Timers of one moment fire in any order.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use ottla::ids::TimestampMs;
use ottla::time::Monotonic;

use super::engine::{Engine, Event, engine, engine_of, this_process};
use crate::host::types::TimedOut;

/// How much later than its deadline a timer may fire, in nanoseconds.
const LATE_NANOS_MAX: u64 = 60_000;

/// The world's time; the same clock on every shard of every machine.
#[must_use]
pub fn now() -> Monotonic {
    engine().now()
}

/// The machine's wall clock, which the world may set.
#[must_use]
pub fn wall_ms() -> TimestampMs {
    this_process().node.wall_ms(engine().now())
}

/// A random number of the process's own stream.
#[must_use]
pub fn random_u64() -> u64 {
    this_process().random.borrow_mut().next()
}

/// Sixteen random bytes, for an id.
#[must_use]
pub fn random_bytes() -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&random_u64().to_be_bytes());
    bytes[8..].copy_from_slice(&random_u64().to_be_bytes());
    bytes
}

#[derive(Default)]
struct Slot {
    /// How many timers have stood here.
    count: u32,
    waker: Option<Waker>,
}

/// The timers of a world.
#[derive(Default)]
pub(super) struct Timers {
    slots: RefCell<Vec<Slot>>,
    free: RefCell<Vec<u32>>,
}

impl Timers {
    /// Whether the timer of this place and count waits.
    pub(super) fn is_waiting(&self, place: u32, count: u32) -> bool {
        let slots = self.slots.borrow();
        slots.get(place as usize).is_some_and(|slot| slot.count == count && slot.waker.is_some())
    }

    /// Wakes the task whose timer it is.
    pub(super) fn fire(&self, place: u32) {
        let waker = self.slots.borrow_mut()[place as usize].waker.take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn add(&self, engine: &Engine, deadline: Monotonic, waker: &Waker) -> (u32, u32) {
        let place = self.free.borrow_mut().pop().unwrap_or_else(|| {
            let mut slots = self.slots.borrow_mut();
            slots.push(Slot::default());
            u32::try_from(slots.len() - 1).expect("far fewer timers")
        });
        let mut slots = self.slots.borrow_mut();
        let slot = &mut slots[place as usize];
        slot.waker = Some(waker.clone());
        let count = slot.count;
        drop(slots);
        let late = engine.draw(|random| random.below(LATE_NANOS_MAX));
        engine.at(deadline.0.saturating_add(late), Event::Timer(place, count));
        (place, count)
    }

    fn update(&self, (place, count): (u32, u32), waker: &Waker) -> bool {
        let mut slots = self.slots.borrow_mut();
        let slot = &mut slots[place as usize];
        assert_eq!(slot.count, count, "a timer keeps its place until its sleep lets it go");
        let Some(known) = &mut slot.waker else { return false };
        known.clone_from(waker);
        true
    }

    fn remove(&self, engine: &Engine, place: u32) {
        let mut slots = self.slots.borrow_mut();
        let slot = &mut slots[place as usize];
        slot.count = slot.count.wrapping_add(1);
        let waker = slot.waker.take();
        drop(slots);
        self.free.borrow_mut().push(place);
        if waker.is_some() {
            engine.outdate();
        }
    }
}

/// A wait for a moment; see [`sleep_until`].
#[must_use = "a sleep waits only when awaited"]
pub struct Sleep {
    world: u64,
    deadline: Monotonic,
    key: Option<(u32, u32)>,
}

impl Sleep {
    /// When it ends.
    #[must_use]
    pub fn deadline(&self) -> Monotonic {
        self.deadline
    }

    /// Waits for `deadline` instead; may be called again after the sleep has ended.
    pub fn reset(&mut self, deadline: Monotonic) {
        self.forget();
        self.deadline = deadline;
    }

    fn forget(&mut self) {
        let key = self.key.take();
        if let (Some((place, _)), Some(engine)) = (key, engine_of(self.world)) {
            engine.timers.remove(&engine, place);
        }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let engine = engine();
        if engine.now() >= self.deadline {
            self.forget();
            return Poll::Ready(());
        }
        let known = self.key.is_some_and(|key| engine.timers.update(key, cx.waker()));
        if !known {
            self.forget();
            self.key = Some(engine.timers.add(&engine, self.deadline, cx.waker()));
        }
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.forget();
    }
}

/// Waits for `duration`, and a little longer.
pub fn sleep(duration: Duration) -> Sleep {
    sleep_until(now().after(duration))
}

/// Waits until `deadline`; ready at once when it has passed.
pub fn sleep_until(deadline: Monotonic) -> Sleep {
    Sleep { world: engine().id, deadline, key: None }
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
