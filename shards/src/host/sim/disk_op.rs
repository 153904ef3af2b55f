//! Operations on a machine's disk that are under way: each takes place at its completion.
//!
//! What must hold: an operation takes place once or never; when its process is killed or its machine loses power,
//! chance decides which; a write that a power cut meets is then one that was never synced.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::disk::{FileId, Op};
use super::engine::{Engine, Event, engine, this_process};
use super::executor::Shard;
use super::file::SharedFd;
use super::process::{Node, Process, ProcessId};

/// How an operation ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// As the caller asked.
    Completes,
    /// As the caller asked, after the end of its process: nobody hears how. A sync may as well not take place then,
    /// and does not: one that failed would be a failure that nobody heard of, which the kernel tells the next who asks.
    Unheard,
    /// It takes place, but its caller is gone before it ended.
    IsCut,
}

/// A write that has begun and not completed.
#[derive(Clone, Debug)]
pub struct InFlightWrite {
    /// The file, as its process has it open.
    pub file: FileId,
    /// Where the bytes go.
    pub position: u64,
    /// What it would write if it took place now.
    pub bytes: Vec<u8>,
}

/// Says what a write would write now.
pub(super) type LookAtWrite = Box<dyn Fn() -> InFlightWrite>;

/// An operation under way.
pub(super) struct Operation {
    process: ProcessId,
    shard: Rc<Shard>,
    /// Keeps the file open.
    _fd: Option<SharedFd>,
    write: Option<LookAtWrite>,
    run: Run,
}

/// Lets an operation take place.
type Run = Box<dyn FnOnce(&Engine, Fate)>;

struct Outcome<T> {
    result: RefCell<Option<io::Result<T>>>,
    waker: RefCell<Option<Waker>>,
    is_awaited: Cell<bool>,
}

/// The wait for an operation; dropping it changes nothing about the operation.
#[must_use = "an operation's outcome is awaited"]
pub(super) struct DiskWait<T>(Rc<Outcome<T>>);

impl<T> Future for DiskWait<T> {
    type Output = io::Result<T>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        if let Some(result) = self.0.result.borrow_mut().take() {
            return Poll::Ready(result);
        }
        *self.0.waker.borrow_mut() = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl<T> Drop for DiskWait<T> {
    fn drop(&mut self) {
        self.0.is_awaited.set(false);
        drop(self.0.waker.borrow_mut().take());
    }
}

/// What an operation is and where; this decides how long it takes.
pub(super) struct Cost<'a> {
    pub(super) op: Op,
    /// What it does after that in one go.
    pub(super) also: Option<Op>,
    pub(super) bytes: u64,
    pub(super) path: &'a Path,
    /// Stays open meanwhile.
    pub(super) fd: Option<&'a SharedFd>,
    /// For a write: what it is about to do.
    pub(super) write: Option<LookAtWrite>,
}

/// Begins an operation of the calling shard's process; `what` says for people what it is.
pub(super) fn begin<T: 'static>(
    cost: Cost<'_>,
    what: impl FnOnce() -> String + 'static,
    call: impl FnOnce(&Rc<Node>, Fate) -> io::Result<T> + 'static,
) -> DiskWait<T> {
    let (engine, process) = (engine(), this_process());
    let Cost { op, also, bytes, path, fd, write } = cost;
    let shard = super::engine::here();
    let latency = {
        let mut disk = process.node.disk.borrow_mut();
        disk.set_now(engine.now());
        let mut cost_of = |op| match fd {
            Some(fd) => disk.latency_of(op, fd.id(), bytes),
            None => disk.latency(op, path, bytes),
        };
        let first = cost_of(op);
        first + also.map_or(Duration::ZERO, cost_of)
    };
    let number = engine.number();
    engine.mark(40, number << 8 | op as u64);
    let outcome = Rc::new(Outcome {
        result: RefCell::new(None),
        waker: RefCell::new(None),
        is_awaited: Cell::new(true),
    });
    let place = Rc::clone(&outcome);
    let node = Rc::clone(&process.node);
    let run = Box::new(move |engine: &Engine, fate| {
        node.disk.borrow_mut().set_now(engine.now());
        let result = call(&node, fate);
        engine.mark(41, number << 1 | u64::from(result.is_ok()));
        engine.note(|| match &result {
            Ok(_) => what(),
            Err(error) => format!("{}: {error}", what()),
        });
        if place.is_awaited.get() {
            *place.result.borrow_mut() = Some(result);
        }
        let waker = place.waker.borrow_mut().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    });
    let operation = Operation { process: process.id, shard, _fd: fd.cloned(), write, run };
    engine.operations.borrow_mut().insert(number, operation);
    engine.after(u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX), Event::Disk(number));
    DiskWait(outcome)
}

/// An operation completes.
pub(super) fn complete(engine: &Rc<Engine>, number: u64) {
    let operation = engine.operations.borrow_mut().remove(&number);
    let Some(operation) = operation else { return };
    let on = engine.on(Some(&operation.shard));
    let is_heard = engine.process(operation.process).is_alive();
    (operation.run)(engine, if is_heard { Fate::Completes } else { Fate::Unheard });
    drop(on);
}

/// The writes under way of the processes that `is_meant`, in the order in which they began.
pub(super) fn writes_in_flight(engine: &Engine, is_meant: impl Fn(ProcessId) -> bool) -> Vec<InFlightWrite> {
    let all = engine.operations.borrow();
    let meant = all.values().filter(|operation| is_meant(operation.process));
    meant.filter_map(|operation| operation.write.as_ref().map(|look| look())).collect()
}

/// The operations of a process that are under way.
fn take_all(engine: &Engine, process: &Process) -> Vec<Operation> {
    let mut all = engine.operations.borrow_mut();
    let of_process = all.iter().filter(|(_, operation)| operation.process == process.id);
    let numbers: Vec<u64> = of_process.map(|(number, _)| *number).collect();
    numbers.iter().filter_map(|number| all.remove(number)).collect()
}

/// Whether a process has operations under way.
pub(super) fn is_busy(engine: &Engine, process: &Process) -> bool {
    engine.operations.borrow().values().any(|operation| operation.process == process.id)
}

/// Decides what becomes of the operations of a process that is gone from one moment to the next.
pub(super) fn cut(engine: &Rc<Engine>, process: &Process) {
    for operation in take_all(engine, process) {
        if engine.draw(|random| random.chance(500_000)) {
            (operation.run)(engine, Fate::IsCut);
        }
    }
}

/// Lets the operations take place of a process that ends by itself.
pub(super) fn finish(engine: &Rc<Engine>, process: &Process) {
    for operation in take_all(engine, process) {
        (operation.run)(engine, Fate::Completes);
    }
}
