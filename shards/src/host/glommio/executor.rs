//! Starting shards, and the tasks that run on them.
//!
//! A shard is one thread, pinned to one CPU where there are enough of them, with one glommio executor. The process
//! ends with the first panic of any shard: half a broker is worse than none.

use std::backtrace::Backtrace;
use std::cell::Cell;
use std::future::Future;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Condvar, Mutex, Once, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use glommio::{LocalExecutor, LocalExecutorBuilder, Placement};
use ottla::ids::ShardId;
use ottla::time::Monotonic;

use super::driver::{self, Driver};
use super::probe::give_huge_pages_to_buffers;
use super::punctual::be_punctual;
use super::timer::now;
use crate::host::types::{LoopTimes, Queue, ShardSpec, ShardStats};

/// How long the task queues run before glommio looks at its own I/O, of which there is next to none; see the driver.
const PREEMPT_TIMER: Duration = Duration::from_secs(1);
/// glommio's own rings carry next to nothing.
const GLOMMIO_RING_DEPTH: usize = 16;
/// glommio's registered buffers are not used; this is its minimum.
const GLOMMIO_IO_MEMORY: usize = 64 << 10;

/// Why a shard did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The executor or its ring could not be made.
    #[error("shard {shard} does not start: {reason}")]
    Executor {
        /// The shard.
        shard: ShardId,
        /// What the system said, in one line.
        reason: String,
    },
    /// The thread could not be pinned.
    #[error("shard {shard} cannot run on cpu {cpu}: {error}; this process may use cpus {available:?}")]
    Pin {
        /// The shard.
        shard: ShardId,
        /// The CPU asked for.
        cpu: usize,
        /// The CPUs of the process's set.
        available: Vec<usize>,
        /// What the system said.
        error: io::Error,
    },
    /// The thread itself could not be made.
    #[error("no thread for shard {shard}: {error}")]
    Thread {
        /// The shard.
        shard: ShardId,
        /// What the system said.
        error: io::Error,
    },
}

thread_local! {
    /// Whether a panic of this thread ends the process.
    static FATAL: Cell<bool> = const { Cell::new(false) };
}

/// The CPUs that the process may use, as it was started: threads pin themselves, the process does not.
pub(in crate::host) fn process_cpus() -> libc::cpu_set_t {
    static CPUS: OnceLock<libc::cpu_set_t> = OnceLock::new();
    *CPUS.get_or_init(|| {
        // SAFETY: all zero bits are an empty set.
        let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
        // SAFETY: the pointer and size describe `set`.
        let result = unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &raw mut set) };
        assert_eq!(result, 0, "a thread may ask for its own cpus: {}", io::Error::last_os_error());
        set
    })
}

/// The numbers of the CPUs that the process may use (cpuset and affinity), ascending.
#[must_use]
pub fn available_cpus() -> Vec<usize> {
    let set = process_cpus();
    let limit = usize::try_from(libc::CPU_SETSIZE).expect("a positive constant");
    // SAFETY: every number is below CPU_SETSIZE.
    (0..limit).filter(|&cpu| unsafe { libc::CPU_ISSET(cpu, &set) }).collect()
}

/// Lets the calling thread run on `cpus` alone.
pub(in crate::host) fn pin_thread(cpus: &libc::cpu_set_t) -> io::Result<()> {
    // SAFETY: the pointer and size describe `cpus`.
    let result = unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), cpus) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn single_cpu(cpu: usize) -> io::Result<libc::cpu_set_t> {
    if cpu >= usize::try_from(libc::CPU_SETSIZE).expect("a positive constant") {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    // SAFETY: all zero bits are an empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: the number is below CPU_SETSIZE.
    unsafe { libc::CPU_SET(cpu, &mut set) };
    Ok(set)
}

/// Registers the process for the kernel's barrier that glommio uses. Done while the process has one thread it costs
/// nothing; later each executor's start would wait some 15 ms for all cores to pass a quiet moment.
pub(super) fn register_barrier() {
    const REGISTER_PRIVATE_EXPEDITED: libc::c_int = 1 << 4;
    // SAFETY: no pointers are passed. A kernel that refuses makes glommio use another kind of barrier.
    let _ = unsafe { libc::syscall(libc::SYS_membarrier, REGISTER_PRIVATE_EXPEDITED, 0, 0) };
}

/// Runs one shard per spec, each with the future that `main` makes for it, and returns when all have ended. A shard
/// ends when its future does; its other tasks are dropped then.
///
/// # Errors
/// When a shard does not start; then none does.
pub fn run_shards<M, Fut>(specs: Vec<ShardSpec>, main: M) -> Result<(), StartError>
where
    M: Fn(ShardId) -> Fut + Send + Clone + 'static,
    Fut: Future<Output = ()> + 'static,
{
    register_barrier();
    let _ = (process_cpus(), now());
    abort_on_shard_panic();
    let gate = Arc::new(StartGate::new(specs.len()));
    let mut threads = Vec::with_capacity(specs.len());
    for spec in specs {
        let (main, shard_gate) = (main.clone(), Arc::clone(&gate));
        let thread = std::thread::Builder::new().name(format!("shard-{}", spec.shard));
        let started = thread.spawn(move || {
            FATAL.set(true);
            // A panic that was caught elsewhere and goes on here has not met the hook that aborts.
            let ended = catch_unwind(AssertUnwindSafe(|| shard_thread(spec, main, &shard_gate)));
            ended.unwrap_or_else(|_| std::process::abort())
        });
        if let Err(error) = started {
            gate.arrive(false);
            return Err(StartError::Thread { shard: spec.shard, error });
        }
        threads.extend(started);
    }
    let mut outcome = Ok(());
    for thread in threads {
        let ended = thread.join().expect("a shard's panic has ended the process");
        outcome = outcome.and(ended);
    }
    outcome
}

/// Where the shards of a process wait for each other: all of them start, or none does.
struct StartGate {
    shards: usize,
    /// Those that are ready, and whether one has failed.
    state: Mutex<(usize, bool)>,
    changed: Condvar,
}

impl StartGate {
    fn new(shards: usize) -> StartGate {
        StartGate { shards, state: Mutex::new((0, false)), changed: Condvar::new() }
    }

    /// Says whether this shard is ready, and waits until all are or one is not; returns whether all are.
    fn arrive(&self, ready: bool) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.0 += 1;
        state.1 |= !ready;
        self.changed.notify_all();
        while state.0 < self.shards && !state.1 {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        !state.1
    }
}

fn shard_thread<M, Fut>(spec: ShardSpec, main: M, gate: &StartGate) -> Result<(), StartError>
where
    M: Fn(ShardId) -> Fut,
    Fut: Future<Output = ()> + 'static,
{
    let shard = spec.shard;
    let executor = match pin_shard(spec).and_then(|()| make_executor(shard)) {
        Ok(executor) => executor,
        Err(error) => {
            gate.arrive(false);
            return Err(error);
        }
    };
    let start = |started: bool| gate.arrive(started).then(|| main(shard));
    run_on(&executor, shard, spec.cpu.is_some(), start).map(|_| ())
}

fn pin_shard(spec: ShardSpec) -> Result<(), StartError> {
    let ShardSpec { shard, cpu } = spec;
    be_punctual();
    let Some(cpu) = cpu else { return Ok(()) };
    let pinned = single_cpu(cpu).and_then(|set| pin_thread(&set));
    pinned.map_err(|error| StartError::Pin { shard, cpu, available: available_cpus(), error })
}

fn make_executor(shard: ShardId) -> Result<LocalExecutor, StartError> {
    give_huge_pages_to_buffers();
    LocalExecutorBuilder::new(Placement::Unbound)
        .io_memory(GLOMMIO_IO_MEMORY)
        .ring_depth(GLOMMIO_RING_DEPTH)
        .preempt_timer(PREEMPT_TIMER)
        .make()
        .map_err(|error| StartError::Executor { shard, reason: error.to_string() })
}

/// Runs the future that `main` makes when told whether the shard has started; `None` if it makes none.
fn run_on<T: 'static, Fut>(
    executor: &LocalExecutor,
    shard: ShardId,
    spins: bool,
    main: impl FnOnce(bool) -> Option<Fut>,
) -> Result<Option<T>, StartError>
where
    Fut: Future<Output = T> + 'static,
{
    let result = executor.run(async move {
        let driver = match Driver::start(shard, spins, &process_cpus()) {
            Ok(driver) => driver,
            Err(error) => {
                main(false);
                return Err(StartError::Executor { shard, reason: format!("no io_uring ring: {error}") });
            }
        };
        let mut output = None;
        if let Some(future) = main(true) {
            output = Some(Watched::new(future, Rc::clone(&driver), false).await);
        }
        driver.stop();
        Ok(output)
    });
    Driver::leave_thread();
    result
}

/// Runs one future as shard 0 on the calling thread, unpinned, and returns its output; for tests and tools. A panic
/// of the future's own task reaches the caller.
///
/// # Panics
/// When the machine has no io_uring for us; see `probe`.
pub fn run_local<F: Future + 'static>(future: F) -> F::Output
where
    F::Output: 'static,
{
    let shard = ShardId(0);
    let executor = make_executor(shard).unwrap_or_else(|error| panic!("{error}"));
    match catch_unwind(AssertUnwindSafe(|| run_on(&executor, shard, false, |_| Some(future)))) {
        Ok(Ok(output)) => output.expect("the future was made above"),
        Ok(Err(error)) => panic!("{error}"),
        Err(panic) => {
            Driver::leave_thread();
            std::panic::resume_unwind(panic)
        }
    }
}

/// After this, a panic on a shard's thread prints itself and its backtrace, and aborts the process.
fn abort_on_shard_panic() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            before(info);
            if FATAL.get() {
                eprintln!("a shard panicked; the process ends here\n{}", Backtrace::force_capture());
                std::process::abort();
            }
        }));
    });
}

/// A panic of the calling thread, which belongs to a shard, ends the process like one of the shard's own.
pub(super) fn panics_are_fatal() {
    FATAL.set(true);
}

/// The shard that the caller runs on.
#[must_use]
pub fn shard_id() -> ShardId {
    driver::current().shard
}

/// This shard's own value of a type, made when it is first asked for: what a thread-local would be where a shard is
/// a thread.
#[must_use]
pub fn shard_slot<T: Default + 'static>() -> Rc<T> {
    driver::current().slots.get()
}

/// The current shard's counters.
#[must_use]
pub fn shard_stats() -> ShardStats {
    let (task_polls, sleeps) = driver::current().counts();
    ShardStats { task_polls, sleeps }
}

/// When the shard's loop has last looked at the kernel: what is ready now has become ready before, or since by a task.
#[must_use]
pub fn turn_began() -> Monotonic {
    driver::current().turns.began()
}

/// How long the current shard's loop takes for its turns.
#[must_use]
pub fn loop_times() -> LoopTimes {
    driver::current().turns.times(now())
}

/// A spawned task's result. Dropping the handle lets the task run on.
#[derive(Debug)]
pub struct JoinHandle<T>(glommio::task::JoinHandle<T>);

impl<T> JoinHandle<T> {
    /// Drops the task's future at its next turn, unless it has ended; who awaits the handle then panics.
    pub fn cancel(&self) {
        self.0.cancel();
    }
}

impl<T> Future for JoinHandle<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        Pin::new(&mut self.0).poll(cx).map(|output| output.expect("a cancelled task is not awaited"))
    }
}

/// Starts a task in the foreground queue of the current shard. It first runs after the caller has given way.
pub fn spawn<T: 'static>(future: impl Future<Output = T> + 'static) -> JoinHandle<T> {
    spawn_in(Queue::Foreground, future)
}

/// Like [`spawn`], for a task whose end nobody awaits.
pub fn spawn_detached(future: impl Future<Output = ()> + 'static) {
    drop(spawn(future));
}

/// Starts a task in `queue` of the current shard.
pub fn spawn_in<T: 'static>(queue: Queue, future: impl Future<Output = T> + 'static) -> JoinHandle<T> {
    let driver = driver::current();
    let (handle, background) = match queue {
        Queue::Foreground => (glommio::TaskQueueHandle::default(), false),
        Queue::Background => (driver.background, true),
    };
    let watched = Watched::new(future, driver, background);
    let task = glommio::spawn_local_into(watched, handle).expect("both queues live as long as the shard");
    JoinHandle(task.detach())
}

/// Lets every other ready task of this queue run first.
pub async fn yield_now() {
    glommio::executor().yield_now().await;
}

/// A task's future that tells the driver about its polls.
struct Watched<F> {
    future: F,
    driver: Rc<Driver>,
    background: bool,
}

impl<F> Watched<F> {
    fn new(future: F, driver: Rc<Driver>, background: bool) -> Watched<F> {
        if background {
            driver.count_background(1);
        }
        Watched { future, driver, background }
    }
}

impl<F: Future> Future for Watched<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        // SAFETY: `future` is pinned whenever `self` is: it is never moved out, and `Watched` has no `Unpin` of its
        // own that would say otherwise.
        let (future, driver, background) = unsafe {
            let this = self.get_unchecked_mut();
            (Pin::new_unchecked(&mut this.future), &this.driver, this.background)
        };
        let result = future.poll(cx);
        driver.task_polled();
        if background {
            // The first poll of this future marks the queue as having had its turn; its waker is not needed.
            let executor = glommio::executor();
            let mut give_way = std::pin::pin!(executor.yield_task_queue_now());
            let _ = give_way.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        }
        result
    }
}

impl<F> Drop for Watched<F> {
    fn drop(&mut self) {
        if self.background {
            self.driver.count_background(-1);
        }
        // A future that is dropped unfinished may make other tasks ready.
        self.driver.task_polled();
    }
}
