//! Machines and the processes on them: how a process starts to exist, what it holds, and how it ends.
//!
//! What must hold: a process that has ended runs nothing more: its tasks are dropped. Its operations in flight are
//! decided at once, or it lingers: they take place yet, and until then its locks and sockets are held. Afterwards it
//! holds nothing.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::fmt::{self, Display};
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::panic::resume_unwind;
use std::rc::Rc;
use std::sync::Once;

use ottla::ids::TimestampMs;
use ottla::time::Monotonic;

use super::bell::{Bell, Doorbell};
use super::disk::{Disk, FileId};
use super::engine::{Engine, Event, current, engine, this_process};
use super::executor::Shard;
use super::random::Random;
use super::{disk_op, network};
use crate::host::types::{ProcessUsage, ShardSpec, Signal};

/// A machine of a world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub(super) u32);

/// A process of a world; numbers are never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProcessId(pub(super) u32);

/// What has become of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProcessState {
    /// It runs.
    Running,
    /// It has ended by itself: every shard has.
    Ended,
    /// It has ended with exit code 1 during its start, and said why.
    GaveUp(String),
    /// A task of it has panicked: the message and its place in the source.
    Panicked(String),
    /// It was killed, or its machine lost its power.
    Killed,
}

/// A machine: an address, a disk and a clock on the wall.
pub(super) struct Node {
    pub(super) id: NodeId,
    pub(super) name: String,
    pub(super) address: IpAddr,
    pub(super) disk: RefCell<Disk>,
    /// What its wall clock shows at the world's beginning.
    pub(super) wall_at_start_ms: Cell<i64>,
    pub(super) next_port: Cell<u16>,
}

/// The wall clock of a machine at a world's beginning: 2025-01-01T00:00:00Z.
const WALL_MS: i64 = 1_735_689_600_000;
/// The first port that is given to who asks for none.
const PORT_FIRST: u16 = 32_768;
/// How often a killed process lingers, how long at least, and how soon the system looks again, in nanoseconds.
const LINGERING_PER_MILLION: u32 = 500_000;
const LINGER_NANOS_MAX: u64 = 30_000_000;
const LET_GO_AGAIN_NANOS: u64 = 1_000_000;
/// Descriptors that a process may have open, unless the world says otherwise.
const DESCRIPTORS: u64 = 65_536;

impl Node {
    pub(super) fn new(engine: &Engine, id: NodeId, name: &str) -> Node {
        let [high, low] = u16::try_from(id.0 + 1).expect("far fewer machines").to_be_bytes();
        Node {
            id,
            name: name.to_owned(),
            address: IpAddr::V4(Ipv4Addr::new(10, 0, high, low)),
            disk: RefCell::new(Disk::new(Random::new(engine.seed, 0x1000 + u64::from(id.0)).next())),
            wall_at_start_ms: Cell::new(WALL_MS),
            next_port: Cell::new(PORT_FIRST),
        }
    }

    /// A port that nobody who connects has had lately.
    pub(super) fn take_port(&self) -> u16 {
        let port = self.next_port.get();
        self.next_port.set(if port == u16::MAX { PORT_FIRST } else { port + 1 });
        port
    }

    pub(super) fn wall_ms(&self, now: Monotonic) -> TimestampMs {
        let since = i64::try_from(now.0 / 1_000_000).unwrap_or(i64::MAX);
        TimestampMs(self.wall_at_start_ms.get().saturating_add(since))
    }
}

/// A process and what the system keeps for it.
pub(super) struct Process {
    pub(super) id: ProcessId,
    pub(super) node: Rc<Node>,
    kind: &'static str,
    cpus: usize,
    state: RefCell<ProcessState>,
    pub(super) shards: RefCell<Vec<Rc<Shard>>>,
    pub(super) random: RefCell<Random>,
    pub(super) output: RefCell<String>,
    signal: Cell<Option<Signal>>,
    signal_waiters: RefCell<Vec<Bell>>,
    pub(super) descriptors_max: Cell<u64>,
    pub(super) files: RefCell<BTreeSet<FileId>>,
    /// The ends of connections that it holds: the connection's number and the side.
    pub(super) sockets: RefCell<BTreeSet<(u64, u8)>>,
    pub(super) listeners: RefCell<BTreeSet<u64>>,
    /// Files that shards hold until the end, by shard.
    pub(super) held: RefCell<BTreeSet<(u32, FileId)>>,
    /// Held files that nobody has open any more.
    pub(super) held_only: RefCell<BTreeSet<FileId>>,
    /// It has ended, and the system has not taken everything apart yet.
    lingers: Cell<bool>,
}

impl Process {
    pub(super) fn new(engine: &Engine, node: &Rc<Node>, kind: &'static str, cpus: usize) -> Rc<Process> {
        let mut processes = engine.processes.borrow_mut();
        let id = ProcessId(u32::try_from(processes.len()).expect("far fewer processes"));
        let process = Rc::new(Process {
            id,
            node: Rc::clone(node),
            kind,
            cpus,
            state: RefCell::new(ProcessState::Running),
            shards: RefCell::default(),
            random: RefCell::new(Random::new(engine.seed, 0x2000_0000 + u64::from(id.0))),
            output: RefCell::default(),
            signal: Cell::new(None),
            signal_waiters: RefCell::default(),
            descriptors_max: Cell::new(DESCRIPTORS),
            files: RefCell::default(),
            sockets: RefCell::default(),
            listeners: RefCell::default(),
            held: RefCell::default(),
            held_only: RefCell::default(),
            lingers: Cell::new(false),
        });
        processes.push(Rc::clone(&process));
        process
    }

    pub(super) fn state(&self) -> ProcessState {
        self.state.borrow().clone()
    }

    pub(super) fn is_alive(&self) -> bool {
        matches!(*self.state.borrow(), ProcessState::Running)
    }

    /// Its machine, kind and number, for people.
    pub(super) fn label(&self) -> String {
        format!("{}/{}{}", self.node.name, self.kind, self.id.0)
    }

    pub(super) fn all_shards_have_ended(&self) -> bool {
        self.shards.borrow().iter().all(|shard| shard.has_ended())
    }

    /// Refuses one more descriptor than the process may have.
    pub(super) fn one_more_descriptor(&self) -> io::Result<()> {
        let open = self.files.borrow().len() + self.sockets.borrow().len() + self.listeners.borrow().len();
        if (open as u64) < self.descriptors_max.get() {
            return Ok(());
        }
        Err(io::Error::from_raw_os_error(libc::EMFILE))
    }

    /// A signal comes: the first is for the process to see, the second ends it.
    pub(super) fn signal(self: &Rc<Self>, engine: &Rc<Engine>, signal: Signal) {
        if !self.is_alive() {
            return;
        }
        if self.signal.get().is_some() {
            end(engine, self, End::Killed);
            return;
        }
        self.signal.set(Some(signal));
        let waiting = self.signal_waiters.borrow().clone();
        waiting.iter().for_each(Bell::ring);
    }
}

/// How a process ends.
pub(super) enum End {
    /// Its shards have ended.
    Itself,
    GaveUp(String),
    Panicked(String),
    Killed,
    /// With its machine: nobody is told.
    PowerCut,
}

impl End {
    /// What a task's panic stands for.
    pub(super) fn of_panic(panic: Box<dyn Any + Send>) -> End {
        let message = match panic.downcast::<GaveUp>() {
            Ok(gave_up) => return End::GaveUp(gave_up.0),
            Err(other) => match other.downcast_ref::<&str>() {
                Some(text) => (*text).to_owned(),
                None => other.downcast_ref::<String>().cloned().unwrap_or_else(|| "no text".to_owned()),
            },
        };
        let place = PANIC_PLACE.take();
        End::Panicked(if place.is_empty() { message } else { format!("{message} ({place})") })
    }

    fn state(self) -> ProcessState {
        match self {
            End::Itself => ProcessState::Ended,
            End::GaveUp(line) => ProcessState::GaveUp(line),
            End::Panicked(text) => ProcessState::Panicked(text),
            End::Killed | End::PowerCut => ProcessState::Killed,
        }
    }
}

/// Ends a process that runs: see the module's text.
pub(super) fn end(engine: &Rc<Engine>, process: &Rc<Process>, end: End) {
    if !process.is_alive() {
        return;
    }
    // A machine without power lets nothing linger, and a process that ends by itself has waited for everything.
    let is_sudden = !matches!(end, End::Itself);
    let lingers_never = matches!(end, End::PowerCut);
    let state = end.state();
    engine.note(|| format!("{}: {state:?}", process.label()));
    engine.mark(30, u64::from(process.id.0));
    *process.state.borrow_mut() = state;
    let lingers = is_sudden && !lingers_never && engine.draw(|random| random.chance(LINGERING_PER_MILLION));
    process.lingers.set(lingers);
    if is_sudden && !lingers {
        disk_op::cut(engine, process);
    } else if !is_sudden {
        disk_op::finish(engine, process);
    }
    engine.jobs.borrow_mut().retain(|_, (owner, _)| *owner != process.id);
    let shards = process.shards.borrow().clone();
    for shard in shards {
        let on = engine.on(Some(&shard));
        // A killed process drops nothing, so that what its values say about it is of no interest.
        let _ = shard.drop_tasks();
        drop(on);
    }
    if lingers {
        engine.after(engine.draw(|random| random.below(LINGER_NANOS_MAX)), Event::LetGo(process.id.0));
    } else {
        release(engine, process);
    }
}

/// Closes everything that a process still holds.
fn release(engine: &Engine, process: &Process) {
    network::end_process(engine, process);
    let files = process.files.take();
    let mut disk = process.node.disk.borrow_mut();
    files.into_iter().for_each(|file| disk.close(file));
}

/// The system takes apart what a killed process has left, once all that it had begun has taken place.
pub(super) fn let_go(engine: &Engine, process: u32) {
    let process = engine.process(ProcessId(process));
    if !process.lingers.get() {
        return;
    }
    if disk_op::is_busy(engine, &process) {
        engine.after(LET_GO_AGAIN_NANOS, Event::LetGo(process.id.0));
        return;
    }
    process.lingers.set(false);
    engine.note(|| format!("{} is taken apart", process.label()));
    release(engine, &process);
}

/// The machine of a process loses its power, whether the process runs, lingers or has ended.
pub(super) fn lose_power(engine: &Rc<Engine>, process: &Rc<Process>) {
    if process.is_alive() || process.lingers.get() {
        network::fall_silent(engine, process);
    }
    if process.is_alive() {
        end(engine, process, End::PowerCut);
    } else if process.lingers.replace(false) {
        disk_op::cut(engine, process);
        release(engine, process);
    }
}

/// What unwinds a task whose process has given up.
struct GaveUp(String);

thread_local! {
    /// Where the last panic of a simulated task began.
    static PANIC_PLACE: RefCell<String> = const { RefCell::new(String::new()) };
}

/// After this, a panic inside a world is kept for its process's state instead of being printed.
pub(super) fn catch_panics() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if current().and_then(|engine| engine.here()).is_none() {
                before(info);
                return;
            }
            let place = info.location().map(ToString::to_string).unwrap_or_default();
            if std::env::var_os("OTTLA_SIM_BACKTRACE").is_some() {
                eprintln!("{place}\n{}", std::backtrace::Backtrace::force_capture());
            }
            let _ = PANIC_PLACE.try_with(|known| *known.borrow_mut() = place);
        }));
    });
}

/// Adds `text` to what the process has printed.
pub fn say(text: &str) {
    engine().note(|| text.trim_end().to_owned());
    this_process().output.borrow_mut().push_str(text);
}

/// Adds why the process ends to what it has printed.
pub fn say_why(line: &dyn Display) {
    say(&format!("ottla: {line}\n"));
}

/// Ends the process because it cannot go on with its start, with one line that says why.
pub fn exit_start(line: &dyn Display) -> ! {
    resume_unwind(Box::new(GaveUp(line.to_string())))
}

/// The machine's name.
#[must_use]
pub fn host_name() -> String {
    this_process().node.name.clone()
}

/// Why a broker cannot run here; in a world it always can.
#[derive(Debug)]
pub struct ProbeError(());

impl Display for ProbeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("this machine runs no shards")
    }
}

impl std::error::Error for ProbeError {}

/// What a simulated process uses of the machine that simulates it is nobody's business.
#[must_use]
pub fn process_usage() -> ProcessUsage {
    ProcessUsage::default()
}

/// The CPUs that the process was started with.
#[must_use]
pub fn available_cpus() -> Vec<usize> {
    (0..this_process().cpus).collect()
}

/// Checks that shards as in `specs` can run here.
///
/// # Errors
/// None in a world.
pub fn probe(specs: &[ShardSpec]) -> Result<(), ProbeError> {
    assert!(!specs.is_empty(), "a process has a shard");
    Ok(())
}

/// The number of descriptors that the process may have.
pub fn raise_descriptor_limit() -> u64 {
    this_process().descriptors_max.get()
}

/// Takes SIGTERM and SIGINT from now on.
///
/// # Errors
/// None in a world.
pub fn catch_signals() -> io::Result<()> {
    Ok(())
}

/// Waits for the first signal; at once when it has come. Any number of tasks of any shards may wait.
pub async fn stop_signal() -> Signal {
    let (process, doorbell) = (this_process(), Doorbell::new());
    process.signal_waiters.borrow_mut().push(doorbell.bell());
    loop {
        if let Some(signal) = process.signal.get() {
            return signal;
        }
        doorbell.rung().await;
    }
}
