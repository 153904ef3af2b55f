//! One io_uring ring of one shard, and the operations that are under way in it.
//!
//! Made, used and dropped on the shard's own thread (`IORING_SETUP_SINGLE_ISSUER`). With `DEFER_TASKRUN` the kernel
//! posts completions only while this thread is inside `io_uring_enter`, and tells by a flag in the ring that it has
//! some to post. An eventfd is written when completions wait, but only while the shard is parked.
//!
//! Invariant: what an operation points to (buffers, paths, descriptors) is owned by its slot from submission to
//! completion, whatever became of the future that asked for it.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{Ordering, fence};
use std::task::Waker;

use io_uring::{IoUring, opcode, squeue, types};

use super::op::Hold;

/// Entries of the submission queue; more than this in one turn waits in a list.
const SQ_ENTRIES: u32 = 256;
/// Entries of the completion queue; the kernel keeps what does not fit (`IORING_FEAT_NODROP`).
const CQ_ENTRIES: u32 = 1024;
/// Kernel workers that one ring may have for calls that would block: files, then everything else.
const WORKERS: [u32; 2] = [4, 4];
/// Rounds of submit and reap in one turn before the tasks get the core back.
const ROUNDS_PER_TURN: usize = 8;

/// The completion of nobody's operation: a cancellation or an outdated timeout.
const NOBODY: u64 = u64::MAX;

/// An operation under way.
enum Slot {
    /// Free; the next free slot.
    Free(Option<u32>),
    /// In the kernel or on its way there.
    Waiting { waker: Option<Waker>, hold: Hold },
    /// Ended; the future has yet to fetch the result.
    Done { result: i32, hold: Hold },
    /// In the kernel; nobody waits for the result any more. The hold is kept for the kernel.
    Abandoned { _hold: Hold },
}

#[derive(Default)]
struct Slots {
    slots: Vec<Slot>,
    free: Option<u32>,
    /// Operations that have not completed.
    under_way: usize,
}

impl Slots {
    fn insert(&mut self, slot: Slot) -> u32 {
        self.under_way += 1;
        if let Some(key) = self.free {
            let Slot::Free(next) = self.slots[key as usize] else { panic!("the free list holds free slots") };
            self.free = next;
            self.slots[key as usize] = slot;
            return key;
        }
        let key = u32::try_from(self.slots.len()).expect("fewer than 2^32 operations are under way");
        self.slots.push(slot);
        key
    }

    fn replace(&mut self, key: u32, slot: Slot) -> Slot {
        std::mem::replace(&mut self.slots[key as usize], slot)
    }

    fn release(&mut self, key: u32) -> Slot {
        let free = self.free.replace(key);
        self.replace(key, Slot::Free(free))
    }
}

/// The ring. All methods are called on the shard's thread.
pub(super) struct Ring {
    io: RefCell<IoUring>,
    slots: RefCell<Slots>,
    /// Entries that did not fit in the submission queue, in order.
    backlog: RefCell<VecDeque<squeue::Entry>>,
    /// Entries pushed since the last submission, with the backlog.
    unsubmitted: Cell<usize>,
    probe: io_uring::Probe,
    eventfd: OwnedFd,
}

impl Ring {
    /// A ring for this thread whose kernel workers may run on `cpus`, away from the shard's own core.
    pub(super) fn new(eventfd: OwnedFd, cpus: &libc::cpu_set_t) -> io::Result<Ring> {
        let io = Ring::build()?;
        let mut probe = io_uring::Probe::new();
        io.submitter().register_probe(&mut probe)?;
        io.submitter().register_eventfd(eventfd.as_raw_fd())?;
        // Both only improve the placement of kernel workers; an older kernel does without.
        let _ = io.submitter().register_iowq_aff(cpus);
        let _ = io.submitter().register_iowq_max_workers(&mut WORKERS.clone());
        let ring = Ring {
            io: RefCell::new(io),
            slots: RefCell::default(),
            backlog: RefCell::default(),
            unsubmitted: Cell::new(0),
            probe,
            eventfd,
        };
        ring.eventfd_off();
        Ok(ring)
    }

    /// Deferred task work where the kernel has it (6.1), else cooperative (5.19), else plain.
    fn build() -> io::Result<IoUring> {
        let mut deferred = IoUring::builder();
        deferred.setup_single_issuer().setup_defer_taskrun().setup_taskrun_flag().setup_cqsize(CQ_ENTRIES);
        let mut cooperative = IoUring::builder();
        cooperative.setup_coop_taskrun().setup_taskrun_flag().setup_cqsize(CQ_ENTRIES);
        let mut plain = IoUring::builder();
        plain.setup_cqsize(CQ_ENTRIES);
        let refused = |error: &io::Error| error.raw_os_error() == Some(libc::EINVAL);
        match deferred.build(SQ_ENTRIES) {
            Err(error) if refused(&error) => match cooperative.build(SQ_ENTRIES) {
                Err(error) if refused(&error) => plain.build(SQ_ENTRIES),
                built => built,
            },
            built => built,
        }
    }

    /// Whether the kernel knows the operation.
    pub(super) fn supports(&self, code: u8) -> bool {
        self.probe.is_supported(code)
    }

    /// The eventfd that is written while completions wait and [`Ring::eventfd_on`] holds.
    pub(super) fn eventfd(&self) -> RawFd {
        self.eventfd.as_raw_fd()
    }

    /// Begins an operation whose pointers all lead into `hold` (or to memory that lives as long as the process).
    /// It reaches the kernel at the next turn.
    pub(super) fn begin(&self, entry: squeue::Entry, hold: Hold) -> u32 {
        let key = self.slots.borrow_mut().insert(Slot::Waiting { waker: None, hold });
        self.push(entry.user_data(u64::from(key)));
        key
    }

    fn push(&self, entry: squeue::Entry) {
        self.unsubmitted.set(self.unsubmitted.get() + 1);
        let mut backlog = self.backlog.borrow_mut();
        // SAFETY: everything that the entry points to is owned by its slot (see `begin`) until its completion.
        if !backlog.is_empty() || unsafe { self.io.borrow_mut().submission().push(&entry) }.is_err() {
            backlog.push_back(entry);
        }
    }

    /// The result and hold of operation `key` if it has ended; else `waker` is woken when it has.
    pub(super) fn poll(&self, key: u32, waker: &Waker) -> Option<(i32, Hold)> {
        let mut slots = self.slots.borrow_mut();
        if let Slot::Waiting { waker: waiting, .. } = &mut slots.slots[key as usize] {
            match waiting {
                Some(known) if known.will_wake(waker) => {}
                Some(_) | None => *waiting = Some(waker.clone()),
            }
            return None;
        }
        let Slot::Done { result, hold } = slots.release(key) else { panic!("a polled operation is not abandoned") };
        Some((result, hold))
    }

    /// Gives up on operation `key`; with `cancel` the kernel is asked to end it at once.
    pub(super) fn abandon(&self, key: u32, cancel: bool) {
        let mut slots = self.slots.borrow_mut();
        let (under_way, dropped) = match slots.replace(key, Slot::Free(None)) {
            Slot::Waiting { waker, hold } => {
                slots.replace(key, Slot::Abandoned { _hold: hold });
                (true, Slot::Waiting { waker, hold: Hold::Nothing })
            }
            done @ Slot::Done { .. } => {
                slots.release(key);
                (false, done)
            }
            Slot::Free(_) | Slot::Abandoned { .. } => panic!("an operation is abandoned once"),
        };
        // A hold may close a descriptor and a waker may free a task: after the borrow.
        drop(slots);
        drop(dropped);
        if cancel && under_way {
            self.push(opcode::AsyncCancel::new(u64::from(key)).build().user_data(NOBODY));
        }
    }

    /// Completes nobody's operation at `deadline` (nanoseconds of `CLOCK_MONOTONIC`), to end a sleep. `deadline`
    /// must live until the next turn has submitted it.
    pub(super) fn timeout(&self, deadline: types::Timespec) {
        let hold = Hold::Timespec(Box::new(deadline));
        let Hold::Timespec(spec) = &hold else { unreachable!("made in the line above") };
        let entry = opcode::Timeout::new(&raw const **spec).flags(types::TimeoutFlags::ABS).build();
        let key = self.begin(entry, hold);
        self.abandon(key, false);
    }

    /// Whether entries wait to be submitted.
    pub(super) fn has_unsubmitted(&self) -> bool {
        self.unsubmitted.get() > 0
    }

    /// Whether a turn would find a completion.
    pub(super) fn has_completions(&self) -> bool {
        let mut io = self.io.borrow_mut();
        if !io.completion().is_empty() {
            return true;
        }
        let queue = io.submission();
        queue.taskrun() || queue.cq_overflow()
    }

    /// Submits what is waiting and wakes whose operations have ended. Returns whether anything had.
    pub(super) fn turn(&self) -> bool {
        let mut any = false;
        for _ in 0..ROUNDS_PER_TURN {
            if self.has_unsubmitted() || self.needs_enter() {
                self.enter(0);
            }
            let reaped = self.reap();
            any |= reaped;
            if !reaped && !self.has_unsubmitted() {
                break;
            }
        }
        any
    }

    /// Submits what is waiting, without reaping.
    pub(super) fn submit(&self) {
        if self.has_unsubmitted() {
            self.enter(0);
        }
    }

    fn needs_enter(&self) -> bool {
        let mut io = self.io.borrow_mut();
        let queue = io.submission();
        queue.taskrun() || queue.cq_overflow()
    }

    /// One `io_uring_enter` that submits, runs deferred work and waits for `want` completions.
    fn enter(&self, want: u32) {
        const GETEVENTS: u32 = 1;
        let mut io = self.io.borrow_mut();
        let mut backlog = self.backlog.borrow_mut();
        let mut queue = io.submission();
        while let Some(entry) = backlog.front() {
            // SAFETY: as in `push`.
            if unsafe { queue.push(entry) }.is_err() {
                break;
            }
            backlog.pop_front();
        }
        queue.sync();
        let waiting = queue.len();
        drop(queue);
        let waiting = u32::try_from(waiting).expect("a queue of 256");
        // SAFETY: no argument is passed beside the numbers.
        let result = unsafe { io.submitter().enter::<libc::sigset_t>(waiting, want, GETEVENTS, None) };
        match result {
            Ok(_) => {}
            Err(error) => match error.raw_os_error() {
                // The completion queue is full, memory is short for now, or a signal came: the next turn goes on.
                Some(libc::EBUSY | libc::EAGAIN | libc::EINTR) => {}
                _ => panic!("io_uring_enter failed: {error}"),
            },
        }
        self.unsubmitted.set(io.submission().len() + backlog.len());
    }

    /// Takes every completion that is there; wakes outside of all borrows.
    fn reap(&self) -> bool {
        let mut any = false;
        loop {
            let Some(done) = self.io.borrow_mut().completion().next() else { break };
            any = true;
            if done.user_data() == NOBODY {
                continue;
            }
            let key = u32::try_from(done.user_data()).expect("user data is a slot's number");
            self.complete(key, done.result());
        }
        any
    }

    fn complete(&self, key: u32, result: i32) {
        let mut slots = self.slots.borrow_mut();
        slots.under_way -= 1;
        let old = match slots.replace(key, Slot::Free(None)) {
            Slot::Waiting { waker, hold } => {
                slots.replace(key, Slot::Done { result, hold });
                drop(slots);
                if let Some(waker) = waker {
                    waker.wake();
                }
                return;
            }
            abandoned @ Slot::Abandoned { .. } => {
                slots.release(key);
                abandoned
            }
            Slot::Free(_) | Slot::Done { .. } => panic!("one completion per operation"),
        };
        // A hold may close a descriptor or free a large buffer: after the borrow.
        drop(slots);
        drop(old);
    }

    /// From here on the eventfd is written when completions wait. The caller looks once more after this.
    pub(super) fn eventfd_on(&self) {
        self.io.borrow_mut().completion().enable_eventfd();
        fence(Ordering::SeqCst);
    }

    /// The eventfd stays silent: the shard is awake and looks by itself.
    pub(super) fn eventfd_off(&self) {
        self.io.borrow_mut().completion().disable_eventfd();
    }

    /// Ends all operations, so that the kernel lets go of their memory, and forgets who waited for them.
    pub(super) fn quiesce(&self) {
        let waiting: Vec<u32> = {
            let slots = self.slots.borrow();
            let numbered = (0u32..).zip(&slots.slots);
            numbered.filter(|(_, slot)| matches!(slot, Slot::Waiting { .. })).map(|(key, _)| key).collect()
        };
        for key in waiting {
            if let Slot::Waiting { waker, .. } = &mut self.slots.borrow_mut().slots[key as usize] {
                drop(waker.take());
            }
        }
        // Abandoned operations (timeouts, polls) must end too.
        let all = opcode::AsyncCancel2::new(types::CancelBuilder::any()).build().user_data(NOBODY);
        self.push(all);
        for _ in 0..100_000 {
            self.turn();
            if self.slots.borrow().under_way == 0 {
                return;
            }
            self.enter(1);
        }
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        self.quiesce();
        if self.slots.borrow().under_way > 0 {
            // The kernel still holds pointers into these: leaking them is the only safe end.
            std::mem::forget(self.slots.take());
        }
    }
}

/// A new non-blocking eventfd.
pub(super) fn new_eventfd() -> io::Result<OwnedFd> {
    // SAFETY: no pointers are passed.
    let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is new and owned by nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
