//! Calls that block: they run whole, at an event of their own some time later.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::thread;

use super::engine::{Event, engine, here};

/// How long a job takes, in nanoseconds.
const JOB_NANOS: (u64, u64) = (20_000, 1_500_000);

struct Place<T> {
    result: RefCell<Option<thread::Result<T>>>,
    waker: RefCell<Option<Waker>>,
}

/// Runs `job` apart from the shard's tasks, and resolves to its result. The job runs also when the future is dropped.
/// A panic of the job is a panic of the awaiting task.
pub fn spawn_blocking<T: Send + 'static>(
    job: impl FnOnce() -> T + Send + 'static,
) -> impl Future<Output = T> {
    let (engine, shard) = (engine(), here());
    let place = Rc::new(Place { result: RefCell::new(None), waker: RefCell::new(None) });
    let (there, on) = (Rc::clone(&place), Rc::clone(&shard));
    let run = Box::new(move || {
        let engine = super::engine::engine();
        let on = engine.on(Some(&on));
        *there.result.borrow_mut() = Some(catch_unwind(AssertUnwindSafe(job)));
        let waker = there.waker.borrow_mut().take();
        if let Some(waker) = waker {
            waker.wake();
        }
        drop(on);
    });
    let number = engine.number();
    engine.jobs.borrow_mut().insert(number, (shard.process.id, run));
    let delay = engine.draw(|random| random.between(JOB_NANOS.0, JOB_NANOS.1));
    engine.after(delay, Event::Job(number));
    poll_fn(move |cx| match place.result.borrow_mut().take() {
        Some(Ok(result)) => Poll::Ready(result),
        Some(Err(panic)) => resume_unwind(panic),
        None => {
            *place.waker.borrow_mut() = Some(cx.waker().clone());
            Poll::Pending
        }
    })
}
