//! Wake-ups between shards, as events: a ring is heard a moment later, and rings before that are one.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

use super::engine::{Engine, Event, engine_of, here};

/// How long a ring takes to be heard, in nanoseconds.
const RING_NANOS_MAX: u64 = 4_000;
/// One ring in so many finds its shard asleep, and takes longer.
const SLEEPER_PER_MILLION: u32 = 30_000;
const SLEEPER_NANOS_MAX: u64 = 80_000;

/// One doorbell's state.
pub(super) struct BellState {
    /// Whether a ring is on its way.
    rung: Cell<bool>,
    heard: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

/// The ringing end: any shard may have a copy.
#[derive(Clone)]
pub struct Bell {
    world: u64,
    bell: u64,
}

impl Bell {
    /// Wakes the doorbell's listener. Rings that come before the listener has woken are one ring.
    pub fn ring(&self) {
        let Some(engine) = engine_of(self.world) else { return };
        let state = engine.bells.borrow().get(&self.bell).cloned();
        let Some(state) = state.filter(|state| !state.rung.replace(true)) else { return };
        drop(state);
        let delay = engine.draw(|random| match random.chance(SLEEPER_PER_MILLION) {
            true => random.below(SLEEPER_NANOS_MAX),
            false => random.below(RING_NANOS_MAX),
        });
        engine.after(delay, Event::Ring(self.bell));
    }
}

/// A ring reaches its doorbell.
pub(super) fn hear(engine: &Engine, bell: u64) {
    let state = engine.bells.borrow().get(&bell).cloned();
    let Some(state) = state else { return };
    state.rung.set(false);
    state.heard.set(true);
    let waker = state.waker.borrow_mut().take();
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// The listening end: stays on the shard that made it, and has one waiter at a time.
pub struct Doorbell {
    bell: Bell,
    state: Rc<BellState>,
}

impl Doorbell {
    /// A doorbell of the current shard.
    #[must_use]
    pub fn new() -> Doorbell {
        let engine = super::engine::engine();
        drop(here());
        let bell = Bell { world: engine.id, bell: engine.number() };
        let state =
            Rc::new(BellState { rung: Cell::new(false), heard: Cell::new(false), waker: RefCell::new(None) });
        engine.bells.borrow_mut().insert(bell.bell, Rc::clone(&state));
        Doorbell { bell, state }
    }

    /// A ringing end.
    #[must_use]
    pub fn bell(&self) -> Bell {
        self.bell.clone()
    }

    /// Waits for a ring; at once when there was one since the last time.
    pub async fn rung(&self) {
        poll_fn(|cx| {
            if self.state.heard.take() {
                return Poll::Ready(());
            }
            *self.state.waker.borrow_mut() = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

impl Default for Doorbell {
    fn default() -> Doorbell {
        Doorbell::new()
    }
}

impl Drop for Doorbell {
    fn drop(&mut self) {
        if let Some(engine) = engine_of(self.bell.world) {
            let state = engine.bells.borrow_mut().remove(&self.bell.bell);
            drop(state);
        }
    }
}
