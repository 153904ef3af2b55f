//! One io_uring ring of one shard, and the operations that are under way in it.
//!
//! Made, used and dropped on the shard's own thread (`IORING_SETUP_SINGLE_ISSUER`). With `DEFER_TASKRUN` the kernel
//! posts completions only while this thread is inside `io_uring_enter`, and tells by a flag in the ring that it has
//! some to post. The shard sleeps inside `io_uring_enter` too ([`Ring::wait`]): a read of the shard's eventfd stands
//! in the ring then, so that another shard can end the sleep.
//!
//! Invariant: what an operation points to (buffers, paths, descriptors) is owned by its slot from submission to
//! completion, whatever became of the future that asked for it.

use std::cell::{Cell, RefCell, UnsafeCell};
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::task::Waker;
use std::time::Duration;

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

/// The completion of nobody's operation: a cancellation.
const NOBODY: u64 = u64::MAX;
/// The completion of the read of the shard's eventfd.
const WOKEN: u64 = u64::MAX - 1;

/// An operation under way.
enum Slot {
    /// Free; the next free slot.
    Free(Option<u32>),
    /// In the kernel or on its way there.
    Waiting { waker: Option<Waker>, hold: Hold },
    /// Ended; the future has yet to fetch the result.
    Done { result: i32, hold: Hold },
    /// In the kernel; nobody waits for the result any more. The hold is kept for the kernel.
    Abandoned { hold: Hold },
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

/// How the kernel tells a ring's thread of completions.
#[derive(Clone, Copy, Debug)]
enum Kind {
    /// Only while the thread is in `io_uring_enter` (Linux 6.1).
    Deferred,
    /// At the thread's next system call (Linux 5.19).
    Cooperative,
    /// By an interrupt.
    Plain,
}

impl Kind {
    fn build(self) -> io::Result<IoUring> {
        let mut builder = IoUring::builder();
        builder.setup_cqsize(CQ_ENTRIES);
        match self {
            Kind::Deferred => builder.setup_single_issuer().setup_defer_taskrun().setup_taskrun_flag(),
            Kind::Cooperative => builder.setup_coop_taskrun().setup_taskrun_flag(),
            Kind::Plain => &mut builder,
        };
        builder.build(SQ_ENTRIES)
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
    /// Where the kernel puts the eventfd's count; nobody reads it.
    count: Box<UnsafeCell<u64>>,
    /// Whether the read of the eventfd is in the ring.
    listening: Cell<bool>,
}

impl Ring {
    /// A ring for this thread whose sleeps end when `eventfd` (a blocking one) is written, and whose kernel workers
    /// may run on all of `cpus`, away from the shard's own core. Of the best kind that the kernel has.
    pub(super) fn new(eventfd: OwnedFd, cpus: &libc::cpu_set_t) -> io::Result<Ring> {
        let refused = |error: &io::Error| error.raw_os_error() == Some(libc::EINVAL);
        for kind in [Kind::Deferred, Kind::Cooperative] {
            match kind.build() {
                Err(error) if refused(&error) => {}
                io => return Ring::with(io?, eventfd, cpus),
            }
        }
        Ring::with(Kind::Plain.build()?, eventfd, cpus)
    }

    fn with(io: IoUring, eventfd: OwnedFd, cpus: &libc::cpu_set_t) -> io::Result<Ring> {
        let mut probe = io_uring::Probe::new();
        io.submitter().register_probe(&mut probe)?;
        // Both only improve the placement of kernel workers; an older kernel does without.
        let _ = io.submitter().register_iowq_aff(cpus);
        let _ = io.submitter().register_iowq_max_workers(&mut WORKERS.clone());
        Ok(Ring {
            io: RefCell::new(io),
            slots: RefCell::default(),
            backlog: RefCell::default(),
            unsubmitted: Cell::new(0),
            probe,
            eventfd,
            count: Box::new(UnsafeCell::new(0)),
            listening: Cell::new(false),
        })
    }

    /// Keeps files open until the kernel has ended the ring, and with it every operation that was in flight.
    pub(super) fn hold_files(&self, fds: &[RawFd]) -> io::Result<()> {
        self.io.borrow().submitter().register_files(fds)
    }

    /// Lets go of what [`Ring::hold_files`] holds.
    pub(super) fn release_files(&self) -> io::Result<()> {
        self.io.borrow().submitter().unregister_files()
    }

    /// Whether the kernel knows the operation.
    pub(super) fn supports(&self, code: u8) -> bool {
        self.probe.is_supported(code)
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
        let Slot::Done { result, hold } = slots.release(key) else {
            panic!("a polled operation is not abandoned")
        };
        Some((result, hold))
    }

    /// Gives up on operation `key`; with `cancel` the kernel is asked to end it at once.
    pub(super) fn abandon(&self, key: u32, cancel: bool) {
        let mut slots = self.slots.borrow_mut();
        // A hold may close a descriptor and a waker may free a task: both go after the borrow.
        match slots.replace(key, Slot::Free(None)) {
            Slot::Waiting { waker, hold } => {
                slots.replace(key, Slot::Abandoned { hold });
                drop(slots);
                drop(waker);
                if cancel {
                    self.push(opcode::AsyncCancel::new(u64::from(key)).build().user_data(NOBODY));
                }
            }
            Slot::Done { result, hold } => {
                slots.release(key);
                drop(slots);
                hold.discard(result);
            }
            Slot::Free(_) | Slot::Abandoned { .. } => panic!("an operation is abandoned once"),
        }
    }

    /// Whether entries wait to be submitted.
    fn has_unsubmitted(&self) -> bool {
        self.unsubmitted.get() > 0
    }

    /// Submits what is waiting and wakes whose operations have ended. Returns whether anything had, or is still to be
    /// submitted.
    pub(super) fn turn(&self) -> bool {
        let mut any = false;
        for _ in 0..ROUNDS_PER_TURN {
            if self.has_unsubmitted() || self.needs_enter() {
                self.enter(0, None);
            }
            let reaped = self.reap();
            any |= reaped;
            if !reaped && !self.has_unsubmitted() {
                break;
            }
        }
        any || self.has_unsubmitted()
    }

    fn needs_enter(&self) -> bool {
        let mut io = self.io.borrow_mut();
        let queue = io.submission();
        queue.taskrun() || queue.cq_overflow()
    }

    /// Submits what is waiting and sleeps until an operation has ended, the eventfd was written, or `limit` has
    /// passed. The caller turns the ring afterwards.
    pub(super) fn wait(&self, limit: Duration) {
        if !self.listening.replace(true) {
            let fd = types::Fd(self.eventfd.as_raw_fd());
            let entry = opcode::Read::new(fd, self.count.get().cast(), 8).build();
            self.push(entry.user_data(WOKEN));
        }
        self.enter(1, Some(limit));
    }

    /// One `io_uring_enter` that submits, runs deferred work and waits for `want` completions, `limit` at most.
    fn enter(&self, want: usize, limit: Option<Duration>) {
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
        let waiting = u32::try_from(queue.len()).expect("a queue of 256");
        drop(queue);
        let result = match limit {
            Some(limit) => {
                let limit = types::Timespec::from(limit);
                io.submitter().submit_with_args(want, &types::SubmitArgs::new().timespec(&limit))
            }
            None => {
                const GETEVENTS: u32 = 1;
                let want = u32::try_from(want).expect("few");
                // SAFETY: no argument is passed beside the numbers.
                unsafe { io.submitter().enter::<libc::sigset_t>(waiting, want, GETEVENTS, None) }
            }
        };
        if let Err(error) = result {
            match error.raw_os_error() {
                // The time has passed, the completion queue is full, memory is short for now, or a signal came: the
                // next turn goes on.
                Some(libc::ETIME | libc::EBUSY | libc::EAGAIN | libc::EINTR) => {}
                _ => panic!("io_uring_enter failed: {error}"),
            }
        }
        self.unsubmitted.set(io.submission().len() + backlog.len());
    }

    /// Takes every completion that is there; wakes outside of all borrows.
    fn reap(&self) -> bool {
        let mut any = false;
        loop {
            let Some(done) = self.io.borrow_mut().completion().next() else { break };
            any = true;
            match done.user_data() {
                NOBODY => {}
                WOKEN => self.listening.set(false),
                key => self.complete(u32::try_from(key).expect("a slot's number"), done.result()),
            }
        }
        any
    }

    fn complete(&self, key: u32, result: i32) {
        let mut slots = self.slots.borrow_mut();
        slots.under_way -= 1;
        match slots.replace(key, Slot::Free(None)) {
            Slot::Waiting { waker, hold } => {
                slots.replace(key, Slot::Done { result, hold });
                drop(slots);
                if let Some(waker) = waker {
                    waker.wake();
                }
            }
            Slot::Abandoned { hold } => {
                slots.release(key);
                drop(slots);
                hold.discard(result);
            }
            Slot::Free(_) | Slot::Done { .. } => panic!("one completion per operation"),
        }
    }

    /// Ends all operations, so that the kernel lets go of their memory, and forgets who waited for them.
    pub(super) fn quiesce(&self) {
        let under_way: Vec<u32> = {
            let slots = self.slots.borrow();
            let ends = |slot: &Slot| matches!(slot, Slot::Waiting { .. } | Slot::Abandoned { .. });
            (0u32..).zip(&slots.slots).filter(|(_, slot)| ends(slot)).map(|(key, _)| key).collect()
        };
        // One by one: only Linux 5.19 and later cancel all with one entry.
        for key in under_way {
            let waker = match &mut self.slots.borrow_mut().slots[key as usize] {
                Slot::Waiting { waker, .. } => waker.take(),
                Slot::Free(_) | Slot::Done { .. } | Slot::Abandoned { .. } => None,
            };
            drop(waker);
            self.push(opcode::AsyncCancel::new(u64::from(key)).build().user_data(NOBODY));
        }
        if self.listening.get() {
            // Not cancelled but answered, as another shard would.
            ring_eventfd(&self.eventfd);
        }
        for _ in 0..1_000 {
            self.turn();
            if self.slots.borrow().under_way == 0 && !self.listening.get() {
                return;
            }
            self.enter(1, Some(Duration::from_millis(10)));
        }
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        self.quiesce();
        if self.slots.borrow().under_way > 0 || self.listening.get() {
            // The kernel still holds pointers into these: leaking them is the only safe end.
            std::mem::forget(self.slots.take());
            std::mem::forget(std::mem::take(&mut self.count));
        }
    }
}

/// Ends the sleep, or the next one, of the shard that reads the eventfd.
pub(super) fn ring_eventfd(eventfd: &OwnedFd) {
    let one = 1u64;
    // SAFETY: the pointer leads to the eight bytes of `one`.
    let written = unsafe { libc::write(eventfd.as_raw_fd(), (&raw const one).cast(), 8) };
    assert_eq!(written, 8, "an eventfd takes a one: {}", io::Error::last_os_error());
}

/// A new eventfd. It blocks: the ring's read of a non-blocking one would fail instead of waiting.
pub(super) fn new_eventfd() -> io::Result<OwnedFd> {
    // SAFETY: no pointers are passed.
    let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is new and owned by nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::super::executor::process_cpus;
    use super::*;

    fn ring_of(kind: Kind) -> Option<(Ring, std::fs::File)> {
        let io = match kind.build() {
            // A kernel that lacks this kind.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => return None,
            io => io.expect("io_uring is there"),
        };
        let eventfd = new_eventfd().expect("descriptors are there");
        let bell = std::fs::File::from(eventfd.try_clone().expect("descriptors are there"));
        Some((Ring::with(io, eventfd, &process_cpus()).expect("can be set up"), bell))
    }

    #[test]
    fn every_kind_of_ring_completes_operations_and_ends_sleeps() {
        for kind in [Kind::Deferred, Kind::Cooperative, Kind::Plain] {
            let Some((ring, mut bell)) = ring_of(kind) else { continue };
            let keys: Vec<u32> =
                (0..1_000).map(|_| ring.begin(opcode::Nop::new().build(), Hold::Nothing)).collect();
            while ring.slots.borrow().under_way > 0 {
                assert!(ring.turn(), "operations that do nothing end at once");
            }
            for key in keys {
                let (result, _) = ring.poll(key, Waker::noop()).expect("has ended");
                assert_eq!(result, 0);
            }
            ring.wait(Duration::from_millis(1));
            assert!(!ring.turn(), "the sleep ended by time");
            let ringer = std::thread::spawn(move || {
                std::thread::sleep(Duration::from_millis(2));
                bell.write_all(&1u64.to_ne_bytes()).expect("rings");
            });
            ring.wait(Duration::from_secs(1_000));
            assert!(ring.turn(), "the sleep ended by the bell");
            ringer.join().expect("no panic");
        }
    }

    #[test]
    fn a_ring_lets_go_of_everything_at_its_end() {
        for kind in [Kind::Deferred, Kind::Cooperative, Kind::Plain] {
            let Some((ring, bell)) = ring_of(kind) else { continue };
            let fd = std::rc::Rc::new(OwnedFd::from(bell));
            for _ in 0..300 {
                let poll = opcode::PollAdd::new(types::Fd(fd.as_raw_fd()), libc::POLLIN as u32).build();
                ring.begin(poll, Hold::File(std::rc::Rc::clone(&fd)));
            }
            ring.turn();
            ring.wait(Duration::from_millis(1));
            assert_eq!(std::rc::Rc::strong_count(&fd), 301);
            assert!(ring.listening.get(), "the sleep reads the eventfd");
            ring.quiesce();
            assert_eq!((ring.slots.borrow().under_way, ring.listening.get()), (0, false));
            drop(ring);
            assert_eq!(std::rc::Rc::strong_count(&fd), 1);
        }
    }
}
