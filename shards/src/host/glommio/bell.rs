//! Wake-ups between shards that cost nothing while the other side is awake.
//!
//! Each shard has one state that every thread may write: awake, rung or parked. Ringing an awake shard is a store
//! that it sees at its next turn; only a parked shard costs a write to its eventfd.
//!
//! No wake-up is lost. The ringer publishes its value, fences, and reads or swaps the flags; the shard swaps the
//! flags back, fences, and looks for values. Whichever fence comes first in the total order, either the ringer sees
//! the flag already taken back (and sets it again) or the shard sees the value. A shard parks only by a
//! compare-and-swap from awake to parked, which a ring before it makes fail; a ring after it sees "parked" and
//! writes the eventfd.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering, fence};
use std::task::{Poll, Waker};

use super::driver;
use super::ring::ring_eventfd;

const AWAKE: u8 = 0;
const RUNG: u8 = 1;
const PARKED: u8 = 2;

/// The state of one shard that other threads write.
pub(super) struct ShardWake {
    state: AtomicU8,
    eventfd: OwnedFd,
}

impl ShardWake {
    pub(super) fn new(eventfd: OwnedFd) -> ShardWake {
        ShardWake { state: AtomicU8::new(AWAKE), eventfd }
    }

    /// Called by any thread after it has published what the shard is to find.
    pub(super) fn ring(&self) {
        if self.state.swap(RUNG, Ordering::SeqCst) == PARKED {
            ring_eventfd(&self.eventfd);
        }
    }

    fn is_parked(&self) -> bool {
        self.state.load(Ordering::Relaxed) == PARKED
    }

    /// Called by the shard: whether somebody rang since the last call.
    pub(super) fn take_rung(&self) -> bool {
        if self.state.load(Ordering::Relaxed) != RUNG {
            return false;
        }
        self.state.swap(AWAKE, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        true
    }

    /// Called by the shard before it sleeps; false when somebody has rung.
    pub(super) fn park(&self) -> bool {
        let parked = self.state.compare_exchange(AWAKE, PARKED, Ordering::SeqCst, Ordering::SeqCst).is_ok();
        fence(Ordering::SeqCst);
        parked
    }

    /// Called by the shard after its sleep; a ring in between stays to be taken.
    pub(super) fn unpark(&self) {
        // Fails when it was rung: the next turn takes that.
        let _ = self.state.compare_exchange(PARKED, AWAKE, Ordering::SeqCst, Ordering::SeqCst);
    }
}

/// What both ends of one doorbell share.
struct Button {
    rung: AtomicBool,
    shard: Arc<ShardWake>,
}

/// The ringing end: any thread may have a copy.
#[derive(Clone)]
pub struct Bell(Arc<Button>);

impl Bell {
    /// Wakes the doorbell's listener. Whatever this thread has published before (with at least release ordering)
    /// is visible to the listener when it wakes. Rings that come before the listener has woken are one ring.
    pub fn ring(&self) {
        fence(Ordering::SeqCst);
        let has_rung = self.0.rung.load(Ordering::Relaxed) || self.0.rung.swap(true, Ordering::SeqCst);
        // Who has pushed the button may have lost its core before it came to wake the shard.
        if !has_rung || self.0.shard.is_parked() {
            self.0.shard.ring();
        }
    }
}

/// The listening end's local half, which the driver looks at when its shard was rung.
pub(super) struct Listener {
    button: Arc<Button>,
    heard: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Listener {
    /// Called by the driver when the shard was rung.
    pub(super) fn check(&self) {
        if self.button.rung.load(Ordering::Relaxed) && self.button.rung.swap(false, Ordering::SeqCst) {
            fence(Ordering::SeqCst);
            self.heard.set(true);
            let waker = self.waker.borrow_mut().take();
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }
}

/// The listening end: stays on the shard that made it, and has one waiter at a time.
pub struct Doorbell(Rc<Listener>);

impl Doorbell {
    /// A doorbell of the current shard.
    #[must_use]
    pub fn new() -> Doorbell {
        let driver = driver::current();
        let button = Arc::new(Button { rung: AtomicBool::new(false), shard: Arc::clone(&driver.wake) });
        let listener = Rc::new(Listener { button, heard: Cell::new(false), waker: RefCell::new(None) });
        driver.add_listener(&listener);
        Doorbell(listener)
    }

    /// A ringing end.
    #[must_use]
    pub fn bell(&self) -> Bell {
        Bell(Arc::clone(&self.0.button))
    }

    /// Waits for a ring; at once when there was one since the last time.
    pub async fn rung(&self) {
        poll_fn(|cx| {
            if self.0.heard.take() {
                return Poll::Ready(());
            }
            *self.0.waker.borrow_mut() = Some(cx.waker().clone());
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
