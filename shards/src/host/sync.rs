//! Waiting for other tasks of the same shard: a notification, a value, a channel, a budget.
//!
//! Nothing here crosses threads and nothing knows the host: plain futures over `Rc` and `Cell`.
//!
//! Invariant: a wake-up that a dropped waiter was given goes to the next one.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// One waiter in a queue of waiters.
struct Waiter {
    waker: RefCell<Option<Waker>>,
    granted: Cell<bool>,
    /// What the waiter asks for; only the semaphore uses it.
    amount: usize,
}

impl Waiter {
    fn new(amount: usize) -> Rc<Waiter> {
        Rc::new(Waiter { waker: RefCell::new(None), granted: Cell::new(false), amount })
    }

    fn grant(&self) {
        self.granted.set(true);
        let waker = self.waker.borrow_mut().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.granted.get() {
            return Poll::Ready(());
        }
        *self.waker.borrow_mut() = Some(cx.waker().clone());
        Poll::Pending
    }
}

/// Waiters in the order in which they came; those that gave up are removed when they do.
#[derive(Default)]
struct Waiters(RefCell<VecDeque<Rc<Waiter>>>);

impl Waiters {
    fn add(&self, amount: usize) -> Rc<Waiter> {
        let waiter = Waiter::new(amount);
        self.0.borrow_mut().push_back(Rc::clone(&waiter));
        waiter
    }

    fn remove(&self, waiter: &Rc<Waiter>) {
        self.0.borrow_mut().retain(|other| !Rc::ptr_eq(other, waiter));
    }

    fn pop(&self) -> Option<Rc<Waiter>> {
        self.0.borrow_mut().pop_front()
    }

    fn is_empty(&self) -> bool {
        self.0.borrow().is_empty()
    }
}

/// Tells waiting tasks that something changed. A notification that nobody waits for is kept for the next waiter;
/// several such are one.
#[derive(Default)]
pub struct Notify {
    waiters: Waiters,
    kept: Cell<bool>,
}

impl Notify {
    /// With no notification kept.
    #[must_use]
    pub fn new() -> Notify {
        Notify::default()
    }

    /// Wakes the task that has waited longest, or keeps the notification.
    pub fn notify_one(&self) {
        match self.waiters.pop() {
            Some(waiter) => waiter.grant(),
            None => self.kept.set(true),
        }
    }

    /// Wakes every task that waits now, and keeps nothing.
    pub fn notify_all(&self) {
        let all = self.waiters.0.take();
        all.iter().for_each(|waiter| waiter.grant());
    }

    /// Waits for a notification. The wait begins when the future is first polled.
    pub fn notified(&self) -> Notified<'_> {
        Notified { notify: self, waiter: None }
    }
}

/// A wait on a [`Notify`].
#[must_use = "waits only when awaited"]
pub struct Notified<'a> {
    notify: &'a Notify,
    waiter: Option<Rc<Waiter>>,
}

impl Future for Notified<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let notify = self.notify;
        if self.waiter.is_none() {
            if notify.kept.take() {
                return Poll::Ready(());
            }
            self.waiter = Some(notify.waiters.add(0));
        }
        let waiter = self.waiter.as_ref().expect("set above");
        let polled = waiter.poll(cx);
        if polled.is_ready() {
            self.waiter = None;
        }
        polled
    }
}

impl Drop for Notified<'_> {
    fn drop(&mut self) {
        let Some(waiter) = self.waiter.take() else { return };
        if waiter.granted.get() {
            self.notify.notify_one();
        } else {
            self.notify.waiters.remove(&waiter);
        }
    }
}

/// The other end of a channel is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed;

impl std::fmt::Display for Closed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the other end is gone")
    }
}

impl std::error::Error for Closed {}

struct OneCell<T> {
    value: RefCell<Option<T>>,
    waker: RefCell<Option<Waker>>,
    sender_gone: Cell<bool>,
}

/// The end that gives one value. Dropping it unused closes the channel.
pub struct OneSender<T>(Rc<OneCell<T>>);

/// The end that awaits one value.
pub struct OneReceiver<T>(Rc<OneCell<T>>);

/// A channel for one value.
#[must_use]
pub fn oneshot<T>() -> (OneSender<T>, OneReceiver<T>) {
    let cell = Rc::new(OneCell {
        value: RefCell::new(None),
        waker: RefCell::new(None),
        sender_gone: Cell::new(false),
    });
    (OneSender(Rc::clone(&cell)), OneReceiver(cell))
}

impl<T> OneSender<T> {
    /// Gives the value; lost if nobody awaits it any more.
    pub fn send(self, value: T) {
        *self.0.value.borrow_mut() = Some(value);
    }

    /// Whether the receiver is gone.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        Rc::strong_count(&self.0) == 1
    }
}

impl<T> Drop for OneSender<T> {
    fn drop(&mut self) {
        self.0.sender_gone.set(true);
        let waker = self.0.waker.borrow_mut().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<T> OneReceiver<T> {
    /// Whether the value is there.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.0.value.borrow().is_some()
    }
}

impl<T> Future for OneReceiver<T> {
    type Output = Result<T, Closed>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<T, Closed>> {
        if let Some(value) = self.0.value.borrow_mut().take() {
            return Poll::Ready(Ok(value));
        }
        if self.0.sender_gone.get() {
            return Poll::Ready(Err(Closed));
        }
        *self.0.waker.borrow_mut() = Some(cx.waker().clone());
        Poll::Pending
    }
}

struct Pipe<T> {
    queue: RefCell<VecDeque<T>>,
    capacity: usize,
    senders: Cell<usize>,
    receiver_gone: Cell<bool>,
    filled: Notify,
    drained: Notify,
}

/// A sending end of a bounded channel; clones share it.
pub struct Sender<T>(Rc<Pipe<T>>);

/// The receiving end of a bounded channel.
pub struct Receiver<T>(Rc<Pipe<T>>);

/// A queue of at most `capacity` values between tasks of one shard.
#[must_use]
pub fn channel<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    assert!(capacity > 0, "a channel holds at least one value");
    let pipe = Rc::new(Pipe {
        queue: RefCell::new(VecDeque::new()),
        capacity,
        senders: Cell::new(1),
        receiver_gone: Cell::new(false),
        filled: Notify::new(),
        drained: Notify::new(),
    });
    (Sender(Rc::clone(&pipe)), Receiver(pipe))
}

impl<T> Sender<T> {
    /// Waits for room and sends.
    ///
    /// # Errors
    /// When the receiver is gone.
    pub async fn send(&self, value: T) -> Result<(), Closed> {
        let mut value = value;
        loop {
            match self.try_send(value) {
                Ok(()) => return Ok(()),
                Err(_) if self.0.receiver_gone.get() => return Err(Closed),
                Err(back) => value = back,
            }
            self.0.drained.notified().await;
        }
    }

    /// Sends if there is room and a receiver; else gives the value back.
    pub fn try_send(&self, value: T) -> Result<(), T> {
        let mut queue = self.0.queue.borrow_mut();
        if self.0.receiver_gone.get() || queue.len() >= self.0.capacity {
            return Err(value);
        }
        queue.push_back(value);
        drop(queue);
        self.0.filled.notify_one();
        Ok(())
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Sender<T> {
        self.0.senders.set(self.0.senders.get() + 1);
        Sender(Rc::clone(&self.0))
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.0.senders.set(self.0.senders.get() - 1);
        if self.0.senders.get() == 0 {
            self.0.filled.notify_one();
        }
    }
}

impl<T> Receiver<T> {
    /// The next value; `None` when the queue is empty and all senders are gone.
    pub async fn recv(&mut self) -> Option<T> {
        loop {
            if let Some(value) = self.try_recv() {
                return Some(value);
            }
            if self.0.senders.get() == 0 {
                return None;
            }
            self.0.filled.notified().await;
        }
    }

    /// The next value if one is there.
    pub fn try_recv(&mut self) -> Option<T> {
        let value = self.0.queue.borrow_mut().pop_front();
        if value.is_some() {
            self.0.drained.notify_one();
        }
        value
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.0.receiver_gone.set(true);
        let undelivered = self.0.queue.take();
        drop(undelivered);
        self.0.drained.notify_all();
    }
}

/// A budget, in bytes or anything else that is counted, with waiters served in the order in which they came.
///
/// A request larger than the whole budget is granted when everything else has been given back: it then runs alone.
/// What must be counted but cannot wait is [forced](Semaphore::force): it may put the budget in debt, and nothing else
/// is granted until the debt is paid.
pub struct Semaphore {
    total: usize,
    /// Below zero: debt.
    free: Cell<isize>,
    waiters: Waiters,
}

/// Budgets are far below the address space, of which half is signed.
fn signed(amount: usize) -> isize {
    isize::try_from(amount).expect("an amount below half the address space")
}

impl Semaphore {
    /// A budget of `total`, all of it free.
    #[must_use]
    pub fn new(total: usize) -> Rc<Semaphore> {
        Rc::new(Semaphore { total, free: Cell::new(signed(total)), waiters: Waiters::default() })
    }

    /// The whole budget.
    #[must_use]
    pub fn total(&self) -> usize {
        self.total
    }

    /// What is free now; zero in debt.
    #[must_use]
    pub fn free(&self) -> usize {
        usize::try_from(self.free.get()).unwrap_or(0)
    }

    /// Whether more is taken than there is, and by how much.
    #[must_use]
    pub fn debt(&self) -> usize {
        usize::try_from(-self.free.get()).unwrap_or(0)
    }

    /// What is taken now, debt included; a granted request counts as the whole budget at most.
    #[must_use]
    pub fn taken(&self) -> usize {
        usize::try_from(signed(self.total) - self.free.get()).expect("no more is free than there is")
    }

    /// Whether somebody waits.
    #[must_use]
    pub fn has_waiters(&self) -> bool {
        !self.waiters.is_empty()
    }

    fn take(self: &Rc<Self>, amount: usize) -> Permit {
        self.free.set(self.free.get() - signed(amount));
        Permit { semaphore: Rc::clone(self), amount }
    }

    /// Takes `amount` if it is free and nobody waits.
    #[must_use]
    pub fn try_acquire(self: &Rc<Self>, amount: usize) -> Option<Permit> {
        let amount = amount.min(self.total);
        let granted = self.waiters.is_empty() && signed(amount) <= self.free.get();
        granted.then(|| self.take(amount))
    }

    /// Takes `amount` whatever is free: for what is there already and can only be counted.
    #[must_use]
    pub fn force(self: &Rc<Self>, amount: usize) -> Permit {
        self.take(amount)
    }

    /// Waits for `amount`, behind those who wait already.
    pub async fn acquire(self: &Rc<Self>, amount: usize) -> Permit {
        let amount = amount.min(self.total);
        if let Some(permit) = self.try_acquire(amount) {
            return permit;
        }
        let mut wait = Acquire { semaphore: Rc::clone(self), waiter: Some(self.waiters.add(amount)) };
        poll_fn(|cx| wait.waiter.as_ref().expect("taken once, below").poll(cx)).await;
        wait.waiter = None;
        Permit { semaphore: Rc::clone(self), amount }
    }

    fn give_back(&self, amount: usize) {
        self.free.set(self.free.get() + signed(amount));
        assert!(self.free.get() <= signed(self.total), "no more is given back than was taken");
        self.serve();
    }

    fn serve(&self) {
        loop {
            let mut waiters = self.waiters.0.borrow_mut();
            let Some(first) = waiters.front() else { return };
            if signed(first.amount) > self.free.get() {
                return;
            }
            let first = waiters.pop_front().expect("there is a front");
            drop(waiters);
            self.free.set(self.free.get() - signed(first.amount));
            first.grant();
        }
    }
}

/// A wait for a budget; gives back what it was granted when it is dropped before it knows.
struct Acquire {
    semaphore: Rc<Semaphore>,
    waiter: Option<Rc<Waiter>>,
}

impl Drop for Acquire {
    fn drop(&mut self) {
        let Some(waiter) = self.waiter.take() else { return };
        if waiter.granted.get() {
            self.semaphore.give_back(waiter.amount);
        } else {
            self.semaphore.waiters.remove(&waiter);
            // The next one may ask for less.
            self.semaphore.serve();
        }
    }
}

/// A part of a [`Semaphore`]'s budget, given back on drop.
pub struct Permit {
    semaphore: Rc<Semaphore>,
    amount: usize,
}

impl Permit {
    /// What it holds.
    #[must_use]
    pub fn amount(&self) -> usize {
        self.amount
    }

    /// Gives back all but `amount`; holding less already is fine.
    pub fn shrink_to(&mut self, amount: usize) {
        if amount < self.amount {
            let back = self.amount - amount;
            self.amount = amount;
            self.semaphore.give_back(back);
        }
    }

    /// Moves up to `amount` of it into a permit of its own.
    #[must_use]
    pub fn split(&mut self, amount: usize) -> Permit {
        let amount = amount.min(self.amount);
        self.amount -= amount;
        Permit { semaphore: Rc::clone(&self.semaphore), amount }
    }

    /// Adds another permit of the same budget to this one.
    pub fn merge(&mut self, mut other: Permit) {
        assert!(Rc::ptr_eq(&self.semaphore, &other.semaphore), "permits of one budget");
        self.amount += std::mem::take(&mut other.amount);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if self.amount > 0 {
            self.semaphore.give_back(self.amount);
        }
    }
}

impl std::fmt::Debug for Permit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Permit({})", self.amount)
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use super::*;

    /// Polls once, without caring for wake-ups.
    fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn a_notification_is_kept_for_one_waiter() {
        let notify = Notify::new();
        notify.notify_one();
        notify.notify_one();
        assert!(poll(pin!(notify.notified())).is_ready());
        assert!(poll(pin!(notify.notified())).is_pending());
    }

    #[test]
    fn a_notification_given_to_a_dropped_waiter_goes_to_the_next() {
        let notify = Notify::new();
        let mut first = Box::pin(notify.notified());
        let mut second = Box::pin(notify.notified());
        assert!(poll(first.as_mut()).is_pending());
        assert!(poll(second.as_mut()).is_pending());
        notify.notify_one();
        drop(first);
        assert!(poll(second.as_mut()).is_ready());
    }

    #[test]
    fn all_waiters_are_notified_at_once_and_nothing_is_kept() {
        let notify = Notify::new();
        let mut waits: Vec<_> = (0..3).map(|_| Box::pin(notify.notified())).collect();
        for wait in &mut waits {
            assert!(poll(wait.as_mut()).is_pending());
        }
        notify.notify_all();
        for wait in &mut waits {
            assert!(poll(wait.as_mut()).is_ready());
        }
        assert!(poll(pin!(notify.notified())).is_pending());
    }

    #[test]
    fn one_value_or_none_at_all() {
        let (sender, mut receiver) = oneshot();
        assert!(poll(Pin::new(&mut receiver)).is_pending());
        sender.send(5);
        assert_eq!(poll(Pin::new(&mut receiver)), Poll::Ready(Ok(5)));
        let (sender, mut receiver) = oneshot::<u8>();
        assert!(!sender.is_closed());
        drop(sender);
        assert_eq!(poll(Pin::new(&mut receiver)), Poll::Ready(Err(Closed)));
        let (sender, receiver) = oneshot::<u8>();
        drop(receiver);
        assert!(sender.is_closed());
    }

    #[test]
    fn a_channel_is_bounded_and_closes_from_both_ends() {
        let (sender, mut receiver) = channel(2);
        assert_eq!(sender.try_send(1), Ok(()));
        assert_eq!(sender.try_send(2), Ok(()));
        assert_eq!(sender.try_send(3), Err(3));
        let mut third = Box::pin(sender.send(3));
        assert!(poll(third.as_mut()).is_pending());
        assert_eq!(receiver.try_recv(), Some(1));
        assert_eq!(poll(third.as_mut()), Poll::Ready(Ok(())));
        drop(third);
        drop(sender);
        assert_eq!(poll(pin!(receiver.recv())), Poll::Ready(Some(2)));
        assert_eq!(poll(pin!(receiver.recv())), Poll::Ready(Some(3)));
        assert_eq!(poll(pin!(receiver.recv())), Poll::Ready(None));
        let (sender, receiver) = channel(1);
        drop(receiver);
        assert_eq!(poll(pin!(sender.send(1))), Poll::Ready(Err(Closed)));
    }

    #[test]
    fn a_budget_serves_in_order_and_small_requests_do_not_overtake() {
        let budget = Semaphore::new(10);
        let most = budget.try_acquire(8).expect("is free");
        let mut large = Box::pin(budget.acquire(5));
        assert!(poll(large.as_mut()).is_pending());
        assert!(budget.has_waiters());
        assert!(budget.try_acquire(1).is_none(), "somebody waits");
        let mut small = Box::pin(budget.acquire(1));
        assert!(poll(small.as_mut()).is_pending());
        drop(most);
        let Poll::Ready(large) = poll(large.as_mut()) else { panic!("is free") };
        assert!(poll(small.as_mut()).is_ready());
        assert_eq!(large.amount(), 5);
        drop(small);
        assert_eq!(budget.free(), 5);
    }

    #[test]
    fn a_waiter_that_gives_up_lets_the_next_one_in() {
        let budget = Semaphore::new(10);
        let _most = budget.try_acquire(8).expect("is free");
        let mut large = Box::pin(budget.acquire(5));
        let mut small = Box::pin(budget.acquire(2));
        assert!(poll(large.as_mut()).is_pending());
        assert!(poll(small.as_mut()).is_pending());
        drop(large);
        assert!(poll(small.as_mut()).is_ready());
    }

    #[test]
    fn a_request_above_the_budget_runs_alone() {
        let budget = Semaphore::new(10);
        let one = budget.try_acquire(1).expect("is free");
        let mut all = Box::pin(budget.acquire(1_000));
        assert!(poll(all.as_mut()).is_pending());
        drop(one);
        let Poll::Ready(all) = poll(all.as_mut()) else { panic!("is free") };
        assert_eq!(all.amount(), 10);
        assert_eq!(budget.free(), 0);
    }

    #[test]
    fn what_is_forced_is_paid_back_before_anything_is_granted() {
        let budget = Semaphore::new(10);
        let mut forced = budget.force(25);
        assert_eq!((budget.free(), budget.taken()), (0, 25));
        assert!(budget.try_acquire(1).is_none());
        forced.shrink_to(10);
        assert!(budget.try_acquire(1).is_none());
        let part = forced.split(4);
        drop(part);
        assert_eq!(budget.free(), 4);
        let mut more = budget.try_acquire(4).expect("is free");
        more.merge(forced);
        assert_eq!(more.amount(), 10);
        drop(more);
        assert_eq!(budget.free(), 10);
    }
}
