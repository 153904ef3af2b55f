//! The calls in progress of one shard, and the futures that await them.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// What is known of a call.
enum Entry<R> {
    /// No call; the next such entry.
    Free(Option<u32>),
    /// No reply yet.
    Waiting(Option<Waker>),
    /// The reply, not yet fetched.
    Ready(R),
    /// The caller has given up; the reply is still to come.
    GivenUp,
}

struct Table<R> {
    entries: Vec<Entry<R>>,
    free: Option<u32>,
}

/// The calls in progress of one shard. A number is free again when its reply has come *and* been fetched or dropped.
pub(super) struct Calls<R>(RefCell<Table<R>>);

impl<R> Default for Calls<R> {
    fn default() -> Calls<R> {
        Calls(RefCell::new(Table { entries: Vec::new(), free: None }))
    }
}

impl<R> Table<R> {
    fn replace(&mut self, call: u32, entry: Entry<R>) -> Entry<R> {
        std::mem::replace(&mut self.entries[call as usize], entry)
    }

    fn release(&mut self, call: u32) -> Entry<R> {
        let next = self.free.replace(call);
        self.replace(call, Entry::Free(next))
    }
}

impl<R> Calls<R> {
    pub(super) fn begin(&self) -> u32 {
        let mut table = self.0.borrow_mut();
        if let Some(call) = table.free {
            let Entry::Free(next) = table.replace(call, Entry::Waiting(None)) else {
                panic!("the free list leads to free entries")
            };
            table.free = next;
            return call;
        }
        let call = u32::try_from(table.entries.len()).expect("fewer than 2^32 calls are in progress");
        table.entries.push(Entry::Waiting(None));
        call
    }

    pub(super) fn finish(&self, call: u32, answer: R) {
        let mut table = self.0.borrow_mut();
        match table.replace(call, Entry::Free(None)) {
            Entry::Waiting(waker) => {
                table.replace(call, Entry::Ready(answer));
                drop(table);
                if let Some(waker) = waker {
                    waker.wake();
                }
            }
            Entry::GivenUp => {
                table.release(call);
                drop(table);
                drop(answer);
            }
            Entry::Free(_) | Entry::Ready(_) => panic!("a call has one reply"),
        }
    }

    fn poll(&self, call: u32, cx: &Context<'_>) -> Poll<R> {
        let mut table = self.0.borrow_mut();
        if let Entry::Waiting(waker) = &mut table.entries[call as usize] {
            match waker {
                Some(known) if known.will_wake(cx.waker()) => {}
                Some(_) | None => *waker = Some(cx.waker().clone()),
            }
            return Poll::Pending;
        }
        let Entry::Ready(answer) = table.release(call) else {
            panic!("a call is awaited until its reply, once")
        };
        Poll::Ready(answer)
    }

    fn give_up(&self, call: u32) {
        let mut table = self.0.borrow_mut();
        let old = match &table.entries[call as usize] {
            Entry::Waiting(_) => table.replace(call, Entry::GivenUp),
            Entry::Ready(_) => table.release(call),
            Entry::Free(_) | Entry::GivenUp => panic!("a call is given up once"),
        };
        drop(table);
        drop(old);
    }
}

/// A call's reply to come; see [`Mesh::call`](super::Mesh::call).
#[must_use = "the reply comes to whoever awaits it"]
pub struct Call<R> {
    calls: Rc<Calls<R>>,
    call: Option<u32>,
}

impl<R> Call<R> {
    pub(super) fn new(calls: Rc<Calls<R>>, call: u32) -> Call<R> {
        Call { calls, call: Some(call) }
    }
}

impl<R> Future for Call<R> {
    type Output = R;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<R> {
        let call = self.call.expect("a call is not polled after its reply");
        let answer = self.calls.poll(call, cx);
        if answer.is_ready() {
            self.call = None;
        }
        answer
    }
}

impl<R> Drop for Call<R> {
    fn drop(&mut self) {
        if let Some(call) = self.call {
            self.calls.give_up(call);
        }
    }
}
