//! A thread for the synced writes of a shard, one at a time, while old bytes are read.
//!
//! The ring writes with `RWF_DSYNC` for less: some 40 µs of CPU. But where the disk has a volatile cache and no FUA the
//! kernel then flushes from a work queue on the CPU to which the disk's interrupt came, and that worker waits there,
//! until the next tick of 4 ms, behind whatever runs: who reads a lot keeps a CPU busy. A thread that waits in the call
//! itself is woken by the interrupt and flushes at once. A second write while one is under way takes the ring.
//!
//! What must hold: the thread owns what it writes from until the call is over, whatever became of the future that
//! asked; and it ends with the shard.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io;
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::bell::ShardWake;
use super::driver::{self, Driver};
use super::executor::{panics_are_fatal, pin_thread, process_cpus};
use super::file::Descriptor;
use super::op::WriteJob;
use super::punctual::be_punctual;

/// How long the end of a shard waits for a write that is under way.
const END_WAITS: Duration = Duration::from_secs(10);

/// A write, and what it is made of.
struct Write {
    file: Arc<Descriptor>,
    job: Box<WriteJob>,
    position: libc::off_t,
}

/// What both threads see.
enum Phase {
    /// The thread has yet to be made.
    Alone,
    /// It waits.
    Idle,
    /// There is a write for it.
    Asked(Write),
    /// It is in the call.
    Writing,
    /// The call is over: what it returned, or the error.
    Done(io::Result<usize>, Box<WriteJob>),
}

impl Phase {
    /// Whether the thread has a write that is not over.
    fn is_under_way(&self) -> bool {
        matches!(self, Phase::Asked(_) | Phase::Writing)
    }
}

struct State {
    phase: Phase,
    /// The thread is to end, behind what it does.
    ends: bool,
}

struct Shared {
    state: Mutex<State>,
    /// The state has changed.
    changed: Condvar,
    /// The core on which its last write ended.
    core: AtomicI32,
    shard: Arc<ShardWake>,
}

impl Shared {
    fn new(shard: Arc<ShardWake>) -> Shared {
        let state = Mutex::new(State { phase: Phase::Alone, ends: false });
        Shared { state, changed: Condvar::new(), core: AtomicI32::new(-1), shard }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The thread's life.
    fn serve(&self) {
        // It inherits the shard's pin; where another core is free it is to run there.
        let _ = pin_thread(&process_cpus());
        be_punctual();
        panics_are_fatal();
        let mut state = self.state();
        loop {
            match std::mem::replace(&mut state.phase, Phase::Writing) {
                Phase::Asked(Write { file, job, position }) => {
                    drop(state);
                    let result = write(&file, &job, position);
                    drop(file);
                    self.core.store(this_core(), Ordering::Relaxed);
                    self.state().phase = Phase::Done(result, job);
                    self.shard.ring();
                    self.changed.notify_all();
                    state = self.state();
                }
                other => {
                    state.phase = other;
                    if state.ends {
                        return;
                    }
                    state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
    }
}

/// The core that the caller runs on.
fn this_core() -> libc::c_int {
    // SAFETY: the call takes nothing and has no effect.
    unsafe { libc::sched_getcpu() }
}

fn write(file: &Descriptor, job: &WriteJob, position: libc::off_t) -> io::Result<usize> {
    let count = libc::c_int::try_from(job.iovecs.len()).expect("at most IOV_MAX");
    loop {
        // SAFETY: the vector and what it leads to belong to `job`.
        let written = unsafe {
            libc::pwritev2(file.as_raw_fd(), job.iovecs.as_ptr(), count, position, libc::RWF_DSYNC)
        };
        match usize::try_from(written) {
            Ok(written) => return Ok(written),
            Err(_) => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::Interrupted => {}
                error => return Err(error),
            },
        }
    }
}

/// The shard's end.
pub(super) struct Committer {
    shared: Arc<Shared>,
    /// Whether a future waits for a result.
    taken: Cell<bool>,
    /// Nobody waits for the result of the write that is under way.
    is_left: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Committer {
    pub(super) fn new(shard: Arc<ShardWake>) -> Committer {
        let shared = Arc::new(Shared::new(shard));
        Committer { shared, taken: Cell::new(false), is_left: Cell::new(false), waker: RefCell::new(None) }
    }

    /// Whether the thread, made now where there is none, waits for work.
    fn is_free(&self) -> bool {
        if self.taken.get() {
            return false;
        }
        let mut state = self.shared.state();
        match &state.phase {
            _ if state.ends => false,
            Phase::Idle | Phase::Done(..) => true,
            Phase::Asked(_) | Phase::Writing => false,
            Phase::Alone => {
                let shared = Arc::clone(&self.shared);
                let thread = std::thread::Builder::new().name("commits".into());
                let made = thread.spawn(move || shared.serve()).is_ok();
                if made {
                    state.phase = Phase::Idle;
                }
                made
            }
        }
    }

    /// Called when the shard was rung.
    pub(super) fn look(&self) {
        if self.taken.get() {
            if matches!(&self.shared.state().phase, Phase::Done(..)) {
                let waker = self.waker.borrow_mut().take();
                waker.into_iter().for_each(Waker::wake);
            }
        } else if self.is_left.get() {
            self.forget();
        }
    }

    /// Drops what came of a write that nobody waits for any more, with what it was made of.
    fn forget(&self) {
        let mut state = self.shared.state();
        self.is_left.set(state.phase.is_under_way());
        if matches!(&state.phase, Phase::Done(..)) {
            let done = std::mem::replace(&mut state.phase, Phase::Idle);
            drop(state);
            drop(done);
        }
    }

    /// Lets the thread end, behind what it does.
    pub(super) fn stop(&self) {
        self.stop_within(END_WAITS);
    }

    /// Waits so long at most for a write that is under way.
    fn stop_within(&self, longest: Duration) {
        drop(self.waker.take());
        let mut state = self.shared.state();
        if state.ends {
            return;
        }
        state.ends = true;
        self.shared.changed.notify_all();
        let wait = |state: &mut State| state.phase.is_under_way();
        drop(self.shared.changed.wait_timeout_while(state, longest, wait));
    }
}

impl Drop for Committer {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Writes `job` durably; `Err` with the job where the thread is busy.
pub(super) fn commit(
    file: &Arc<Descriptor>,
    job: Box<WriteJob>,
    position: u64,
) -> Result<Commit, Box<WriteJob>> {
    let driver = driver::current();
    let Ok(position) = libc::off_t::try_from(position) else { return Err(job) };
    if !driver.committer.is_free() {
        return Err(job);
    }
    driver.committer.taken.set(true);
    let shared = &driver.committer.shared;
    shared.state().phase = Phase::Asked(Write { file: Arc::clone(file), job, position });
    shared.changed.notify_all();
    if shared.core.load(Ordering::Relaxed) == this_core() {
        // It needs 25 µs to hand the disk its write, and would wait up to four times as long for the shard to rest.
        std::thread::yield_now();
    }
    Ok(Commit { driver })
}

/// A write of the thread; resolves to the bytes written and the job.
pub(super) struct Commit {
    driver: Rc<Driver>,
}

impl Future for Commit {
    type Output = (io::Result<usize>, Box<WriteJob>);

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let committer = &self.driver.committer;
        let mut state = committer.shared.state();
        match std::mem::replace(&mut state.phase, Phase::Idle) {
            Phase::Done(result, job) => Poll::Ready((result, job)),
            other => {
                state.phase = other;
                // Behind the shard's end nobody would wake it: the waker would hold the driver, which holds the waker.
                let waker = (!state.ends).then(|| cx.waker().clone());
                drop(state);
                *committer.waker.borrow_mut() = waker;
                Poll::Pending
            }
        }
    }
}

impl Drop for Commit {
    fn drop(&mut self) {
        let committer = &self.driver.committer;
        committer.taken.set(false);
        committer.forget();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::buffer::{AlignedBuf, WriteSlice};
    use crate::host::glommio::file::File;
    use crate::host::glommio::ring::new_eventfd;
    use crate::host::{self, OpenHow};

    fn job(bytes: &[u8]) -> Box<WriteJob> {
        let slices: Vec<WriteSlice> = vec![AlignedBuf::copy_of(bytes).into()];
        let iovecs = slices.iter().map(|slice| slice.iovec(0)).collect();
        Box::new(WriteJob { slices, iovecs })
    }

    async fn open(path: &std::path::Path, write: bool) -> Arc<Descriptor> {
        let how = OpenHow { read: true, write, create: write, ..OpenHow::default() };
        File::open(path, how).await.expect("opens").descriptor()
    }

    #[test]
    fn writes_follow_each_other_and_a_second_one_is_given_back() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        host::run_local(async move {
            let path = dir.path().join("file");
            let file = open(&path, true).await;
            for (at, bytes) in [(0, b"first "), (6, b"second")] {
                let commit = commit(&file, job(bytes), at).ok().expect("the thread is free");
                let back = super::commit(&file, job(b"third"), 12).err().expect("it is busy");
                assert_eq!(back.slices[0].len(), 5);
                let (written, back) = commit.await;
                assert_eq!((written.expect("writes"), back.slices.len()), (6, 1));
            }
            assert_eq!(std::fs::read(&path).expect("reads"), b"first second");
        });
    }

    #[test]
    fn an_error_is_the_systems_and_the_next_write_goes_on() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        host::run_local(async move {
            let path = dir.path().join("file");
            let file = open(&path, true).await;
            let read_only = open(&path, false).await;
            let refused = commit(&read_only, job(b"bytes"), 0).ok().expect("the thread is free");
            assert_eq!(refused.await.0.expect_err("is refused").raw_os_error(), Some(libc::EBADF));
            let commit = commit(&file, job(b"bytes"), 0).ok().expect("the thread is free");
            assert_eq!(commit.await.0.expect("writes"), 5);
        });
    }

    #[test]
    fn who_no_longer_waits_is_in_nobodys_way_and_the_thread_ends_with_the_shard() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("file");
        let (file, shared) = host::run_local(async move {
            let file = open(&path, true).await;
            drop(commit(&file, job(b"left"), 0).ok().expect("the thread is free"));
            let shared = Arc::clone(&driver::current().committer.shared);
            let commit = loop {
                match commit(&file, job(b"awaited"), 4) {
                    Ok(commit) => break commit,
                    Err(_) => host::yield_now().await,
                }
            };
            assert_eq!(commit.await.0.expect("writes"), 7);
            drop(super::commit(&file, job(b"last"), 11).ok().expect("the thread is free"));
            (std::fs::File::open(&path).expect("opens"), shared)
        });
        assert!(shared.state().ends);
        assert_eq!(file.metadata().expect("its size").len(), 15, "the end waited for the last");
        while Arc::strong_count(&shared) > 1 {
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_thread_that_nobody_waited_for_ends_behind_its_write() {
        let eventfd = new_eventfd().expect("an eventfd");
        let committer = Committer::new(Arc::new(ShardWake::new(eventfd)));
        committer.shared.state().phase = Phase::Writing;
        committer.stop_within(Duration::ZERO);
        committer.shared.state().phase = Phase::Done(Ok(4), job(b"late"));
        committer.shared.serve();
    }

    #[test]
    fn a_result_is_there_behind_the_end_and_a_waker_is_not_kept() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        host::run_local(async move {
            let file = open(&dir.path().join("file"), true).await;
            let mut commit = commit(&file, job(b"bytes"), 0).ok().expect("the thread is free");
            let committer = &driver::current().committer;
            committer.stop();
            let mut cx = Context::from_waker(Waker::noop());
            assert!(matches!(Pin::new(&mut commit).poll(&mut cx), Poll::Ready((Ok(5), _))));
            assert!(Pin::new(&mut commit).poll(&mut cx).is_pending());
            assert!(committer.waker.borrow().is_none());
            assert!(super::commit(&file, job(b"more"), 5).is_err(), "no thread any more");
        });
    }

    #[test]
    fn what_nobody_waits_for_is_let_go_of() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        host::run_local(async move {
            let file = open(&dir.path().join("file"), true).await;
            drop(commit(&file, job(b"left"), 0).ok().expect("the thread is free"));
            let committer = || driver::current();
            while !matches!(committer().committer.shared.state().phase, Phase::Idle) {
                host::yield_now().await;
            }
            assert!(!committer().committer.is_left.get());
        });
    }

    #[test]
    fn a_panic_ends_the_thread_too() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let (sender, shared) = std::sync::mpsc::channel();
        let run = std::panic::AssertUnwindSafe(move || {
            host::run_local(async move {
                let file = open(&dir.path().join("file"), true).await;
                let commit = commit(&file, job(b"bytes"), 0).ok().expect("the thread is free");
                assert_eq!(commit.await.0.expect("writes"), 5);
                sender.send(Arc::clone(&driver::current().committer.shared)).expect("is received");
                panic!("what this test is about");
            })
        });
        assert!(std::panic::catch_unwind(run).is_err());
        let shared = shared.recv().expect("was sent");
        while Arc::strong_count(&shared) > 1 {
            std::thread::yield_now();
        }
    }
}
