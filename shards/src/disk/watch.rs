//! An offset that only rises, and tasks that wait for it to pass a mark: durable ends and high watermarks.
//!
//! Owned by one partition on its owner shard. A waiter names the offset that it knows, so no wake-up is ever lost: a
//! mark that was passed before the wait began is passed.
//!
//! Invariants: the offset never falls; a waiter whose mark is reached is woken by the very call that reached it; what
//! closes or fails wakes everybody.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use ottla::ids::Offset;

use super::error::DiskError;
use crate::host::sync::Notify;

/// What is done for a waiter when its mark is reached.
enum Wake {
    /// A task of its own, and where its answer goes.
    Task(Rc<Slot>),
    /// One of many marks of a task that waits for any.
    Any(Rc<Notify>),
}

#[derive(Default)]
struct Slot {
    answer: RefCell<Option<Result<(), DiskError>>>,
    waker: RefCell<Option<Waker>>,
}

impl Slot {
    fn set(&self, answer: Result<(), DiskError>) {
        *self.answer.borrow_mut() = Some(answer);
        let waker = self.waker.borrow_mut().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// A rising offset with its waiters.
pub struct OffsetWatch {
    offset: Cell<Offset>,
    /// By mark, then by arrival.
    waiters: RefCell<BTreeMap<(Offset, u64), Wake>>,
    arrivals: Cell<u64>,
    ended: RefCell<Option<DiskError>>,
}

impl OffsetWatch {
    /// An offset that nobody waits for yet.
    #[must_use]
    pub fn new(offset: Offset) -> Rc<OffsetWatch> {
        Rc::new(OffsetWatch {
            offset: Cell::new(offset),
            waiters: RefCell::default(),
            arrivals: Cell::new(0),
            ended: RefCell::new(None),
        })
    }

    /// The offset now.
    #[must_use]
    pub fn get(&self) -> Offset {
        self.offset.get()
    }

    /// Moves the offset on and wakes those whose mark it reaches; an offset that is not higher changes nothing.
    pub fn advance(&self, offset: Offset) {
        if offset <= self.offset.get() {
            return;
        }
        self.offset.set(offset);
        let reached = {
            let mut waiters = self.waiters.borrow_mut();
            let beyond = waiters.split_off(&(Offset(offset.0.saturating_add(1)), 0));
            std::mem::replace(&mut *waiters, beyond)
        };
        for wake in reached.into_values() {
            match wake {
                Wake::Task(slot) => slot.set(Ok(())),
                Wake::Any(notify) => notify.notify_one(),
            }
        }
    }

    /// Gives all who wait now this error; those who come later wait on.
    pub fn fail(&self, error: &DiskError) {
        let waiters = self.waiters.take();
        for wake in waiters.into_values() {
            match wake {
                Wake::Task(slot) => slot.set(Err(error.clone())),
                Wake::Any(notify) => notify.notify_one(),
            }
        }
    }

    /// Gives this error to all who wait now or later for a mark that was not reached. The first error stays.
    pub fn end(&self, error: &DiskError) {
        self.ended.borrow_mut().get_or_insert_with(|| error.clone());
        self.fail(error);
    }

    /// Why the offset will not move any more, if so.
    #[must_use]
    pub fn ended(&self) -> Option<DiskError> {
        self.ended.borrow().clone()
    }

    /// Waits until the offset is at least `mark`.
    ///
    /// # Errors
    /// When it will not get there.
    pub fn reach(self: &Rc<Self>, mark: Offset) -> Reach {
        Reach { watch: Rc::clone(self), mark, slot: None }
    }

    /// Tells `notify` once when the offset is at least `mark`, or at once if it is; for a task that waits for any of
    /// many. Ends with the value that it returns.
    pub fn subscribe(self: &Rc<Self>, mark: Offset, notify: &Rc<Notify>) -> Subscription {
        if self.offset.get() >= mark || self.ended.borrow().is_some() {
            notify.notify_one();
            return Subscription { watch: Rc::clone(self), key: None };
        }
        let key = self.add(mark, Wake::Any(Rc::clone(notify)));
        Subscription { watch: Rc::clone(self), key: Some(key) }
    }

    fn add(&self, mark: Offset, wake: Wake) -> (Offset, u64) {
        let key = (mark, self.arrivals.get());
        self.arrivals.set(key.1 + 1);
        self.waiters.borrow_mut().insert(key, wake);
        key
    }

    /// Tasks and subscriptions that wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiters.borrow().len()
    }
}

/// A place among the waiters; dropping it gives the place up.
#[must_use = "waits only while it is kept"]
pub struct Subscription {
    watch: Rc<OffsetWatch>,
    key: Option<(Offset, u64)>,
}

impl Drop for Subscription {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            self.watch.waiters.borrow_mut().remove(&key);
        }
    }
}

/// A wait for an offset.
#[must_use = "waits only when awaited"]
pub struct Reach {
    watch: Rc<OffsetWatch>,
    mark: Offset,
    slot: Option<(Rc<Slot>, Subscription)>,
}

impl Future for Reach {
    type Output = Result<(), DiskError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if self.watch.offset.get() >= self.mark {
            return Poll::Ready(Ok(()));
        }
        if let Some((slot, _)) = &self.slot {
            if let Some(answer) = slot.answer.borrow_mut().take() {
                return Poll::Ready(answer);
            }
            *slot.waker.borrow_mut() = Some(cx.waker().clone());
            return Poll::Pending;
        }
        if let Some(error) = self.watch.ended() {
            return Poll::Ready(Err(error));
        }
        let slot = Rc::new(Slot::default());
        *slot.waker.borrow_mut() = Some(cx.waker().clone());
        let key = self.watch.add(self.mark, Wake::Task(Rc::clone(&slot)));
        let place = Subscription { watch: Rc::clone(&self.watch), key: Some(key) };
        self.slot = Some((slot, place));
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;
    use std::task::Poll::{Pending, Ready};

    fn poll(reach: &mut Reach) -> Poll<Result<(), DiskError>> {
        Pin::new(reach).poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn a_mark_that_was_passed_needs_no_wait() {
        let watch = OffsetWatch::new(Offset(5));
        assert_eq!(poll(&mut watch.reach(Offset(5))), Ready(Ok(())));
        let mut six = watch.reach(Offset(6));
        let mut seven = watch.reach(Offset(7));
        assert_eq!((poll(&mut six), poll(&mut seven)), (Pending, Pending));
        watch.advance(Offset(6));
        watch.advance(Offset(2));
        assert_eq!(watch.get(), Offset(6));
        assert_eq!((poll(&mut six), poll(&mut seven)), (Ready(Ok(())), Pending));
        assert_eq!(watch.waiting(), 1);
        drop(seven);
        assert_eq!(watch.waiting(), 0, "a dropped wait leaves its place");
    }

    #[test]
    fn a_failure_reaches_those_who_wait_and_an_end_also_the_later() {
        let watch = OffsetWatch::new(Offset(0));
        let full = DiskError::Full { dir: PathBuf::from("/d") };
        let mut first = watch.reach(Offset(1));
        assert_eq!(poll(&mut first), Pending);
        watch.fail(&full);
        assert_eq!(poll(&mut first), Ready(Err(full)));
        let mut second = watch.reach(Offset(1));
        assert_eq!(poll(&mut second), Pending);
        watch.end(&DiskError::Closed);
        assert_eq!(poll(&mut second), Ready(Err(DiskError::Closed)));
        assert_eq!(poll(&mut watch.reach(Offset(1))), Ready(Err(DiskError::Closed)));
        assert_eq!(poll(&mut watch.reach(Offset(0))), Ready(Ok(())), "what was reached stays reached");
    }

    #[test]
    fn one_notification_serves_many_marks() {
        let (a, b) = (OffsetWatch::new(Offset(0)), OffsetWatch::new(Offset(0)));
        let notify = Rc::new(Notify::new());
        let places = (a.subscribe(Offset(1), &notify), b.subscribe(Offset(1), &notify));
        let mut told = Box::pin(notify.notified());
        let context = &mut Context::from_waker(Waker::noop());
        assert!(told.as_mut().poll(context).is_pending());
        b.advance(Offset(3));
        assert!(told.as_mut().poll(context).is_ready());
        drop(told);
        drop(places);
        assert_eq!((a.waiting(), b.waiting()), (0, 0));
        let _place = b.subscribe(Offset(2), &notify);
        assert!(Box::pin(notify.notified()).as_mut().poll(context).is_ready(), "told at once");
    }
}
