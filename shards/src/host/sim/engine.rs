//! The world's clock and its queue of events: what happens next, on which shard, and what all of it adds up to.
//!
//! One thread runs everything. An event is one poll of a task, one completion of the disk, one arrival on the
//! network, one timer or one ring of a bell. Each has a moment of virtual time and, against others of the same
//! moment, a random rank, so that the seed alone decides the order.
//!
//! Invariants: time never goes back; the queue holds at most one turn per shard; every event that takes place goes
//! into the fingerprint.

use std::cell::{Cell, RefCell};
use std::cmp::Ordering;
use std::collections::{BTreeMap, BinaryHeap};
use std::rc::Rc;

use ottla::time::Monotonic;

use super::bell::BellState;
use super::disk_op::Operation;
use super::executor::Shard;
use super::network::Network;
use super::process::{Node, NodeId, Process, ProcessId};
use super::random::{Random, mix};
use super::timer::Timers;

/// Cancelled timers that may lie in the queue before it is cleared of them.
const STALE_MAX: usize = 4_096;

thread_local! {
    static CURRENT: RefCell<Option<Rc<Engine>>> = const { RefCell::new(None) };
    static WORLDS: Cell<u64> = const { Cell::new(0) };
}

/// Something that takes place at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// A shard polls its next ready task.
    Turn(u32),
    /// A timer is due: its place and the count that tells it from earlier ones there.
    Timer(u32, u32),
    /// A doorbell hears that it was rung.
    Ring(u64),
    /// A disk operation completes.
    Disk(u64),
    /// A job of `spawn_blocking` runs.
    Job(u64),
    /// Something arrives on one direction of a connection.
    Arrive(u64, u8),
    /// A request to connect reaches its machine.
    Knock(u64),
    /// A sender learns that there is room again.
    Room(u64, u8),
    /// The answer to a request to connect comes back.
    Answer(u64),
    /// What a process that was killed still held may be let go.
    LetGo(u32),
    /// The peers of a machine that lost its power are told so.
    Orphan(u64, u8),
}

impl Event {
    /// The event as numbers, for the fingerprint.
    fn numbers(self) -> (u64, u64) {
        match self {
            Event::Turn(shard) => (1, u64::from(shard)),
            Event::Timer(place, count) => (2, u64::from(place) << 32 | u64::from(count)),
            Event::Ring(bell) => (3, bell),
            Event::Disk(operation) => (4, operation),
            Event::Job(job) => (5, job),
            Event::Arrive(connection, side) => (6, connection << 1 | u64::from(side)),
            Event::Knock(connect) => (7, connect),
            Event::Answer(connect) => (8, connect),
            Event::LetGo(process) => (11, u64::from(process)),
            Event::Room(connection, side) => (10, connection << 1 | u64::from(side)),
            Event::Orphan(connection, side) => (9, connection << 1 | u64::from(side)),
        }
    }
}

/// A job of `spawn_blocking`, and whose it is.
type Job = (ProcessId, Box<dyn FnOnce()>);

struct Entry {
    at: u64,
    /// Random, so that events of one moment come in any order.
    rank: u64,
    /// Unique, so that the order is total.
    sequence: u64,
    event: Event,
}

impl Entry {
    fn key(&self) -> (u64, u64, u64) {
        (self.at, self.rank, self.sequence)
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Entry) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Entry) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    /// Backwards: the heap gives out its greatest.
    fn cmp(&self, other: &Entry) -> Ordering {
        other.key().cmp(&self.key())
    }
}

/// Everything that a world has.
pub(super) struct Engine {
    /// Tells the worlds of a thread apart.
    pub(super) id: u64,
    pub(super) seed: u64,
    now: Cell<u64>,
    events: Cell<u64>,
    fingerprint: Cell<u64>,
    queue: RefCell<BinaryHeap<Entry>>,
    sequence: Cell<u64>,
    stale: Cell<usize>,
    random: RefCell<Random>,
    here: RefCell<Option<Rc<Shard>>>,
    pub(super) trace: Cell<bool>,
    /// The process whose start is under way outside of any shard.
    pub(super) starting: RefCell<Option<Rc<Process>>>,
    pub(super) nodes: RefCell<Vec<Rc<Node>>>,
    pub(super) processes: RefCell<Vec<Rc<Process>>>,
    pub(super) shards: RefCell<Vec<Rc<Shard>>>,
    pub(super) timers: Timers,
    pub(super) bells: RefCell<BTreeMap<u64, Rc<BellState>>>,
    pub(super) operations: RefCell<BTreeMap<u64, Operation>>,
    pub(super) jobs: RefCell<BTreeMap<u64, Job>>,
    pub(super) network: RefCell<Network>,
    numbers: Cell<u64>,
}

/// The world that runs on this thread.
///
/// # Panics
/// Outside of a world.
pub(super) fn engine() -> Rc<Engine> {
    current().expect("called in a simulated world")
}

/// The world that runs on this thread, if one does.
pub(super) fn current() -> Option<Rc<Engine>> {
    CURRENT.try_with(|current| current.borrow().clone()).ok().flatten()
}

/// The world of this number, if it runs on this thread.
pub(super) fn engine_of(world: u64) -> Option<Rc<Engine>> {
    current().filter(|engine| engine.id == world)
}

/// The shard that runs now.
///
/// # Panics
/// Outside of a shard.
pub(super) fn here() -> Rc<Shard> {
    engine().here().expect("called on a shard")
}

/// The process that runs, or starts, now.
pub(super) fn this_process() -> Rc<Process> {
    let engine = engine();
    let starting = engine.starting.borrow().clone();
    starting.unwrap_or_else(|| Rc::clone(&here().process))
}

/// What was current before, put back on drop.
pub(super) struct Entered(Option<Rc<Engine>>);

impl Drop for Entered {
    fn drop(&mut self) {
        let before = self.0.take();
        let last = CURRENT.try_with(|current| std::mem::replace(&mut *current.borrow_mut(), before));
        drop(last);
    }
}

/// The shard that ran before, put back on drop.
pub(super) struct OnShard<'a>(&'a Engine, Option<Rc<Shard>>);

impl Drop for OnShard<'_> {
    fn drop(&mut self) {
        let before = self.1.take();
        let last = std::mem::replace(&mut *self.0.here.borrow_mut(), before);
        drop(last);
    }
}

impl Engine {
    pub(super) fn new(seed: u64) -> Rc<Engine> {
        let id = WORLDS.get() + 1;
        WORLDS.set(id);
        Rc::new(Engine {
            id,
            seed,
            now: Cell::new(0),
            events: Cell::new(0),
            fingerprint: Cell::new(mix(seed)),
            queue: RefCell::default(),
            sequence: Cell::new(0),
            stale: Cell::new(0),
            random: RefCell::new(Random::new(seed, 1)),
            here: RefCell::new(None),
            trace: Cell::new(false),
            starting: RefCell::new(None),
            nodes: RefCell::default(),
            processes: RefCell::default(),
            shards: RefCell::default(),
            timers: Timers::default(),
            bells: RefCell::default(),
            operations: RefCell::default(),
            jobs: RefCell::default(),
            network: RefCell::new(Network::new(seed)),
            numbers: Cell::new(0),
        })
    }

    /// Makes this the thread's world until the result is dropped.
    pub(super) fn enter(self: &Rc<Self>) -> Entered {
        Entered(CURRENT.with(|current| current.borrow_mut().replace(Rc::clone(self))))
    }

    /// Makes `shard` the one that runs until the result is dropped.
    pub(super) fn on(&self, shard: Option<&Rc<Shard>>) -> OnShard<'_> {
        let before = std::mem::replace(&mut *self.here.borrow_mut(), shard.cloned());
        OnShard(self, before)
    }

    pub(super) fn here(&self) -> Option<Rc<Shard>> {
        self.here.borrow().clone()
    }

    pub(super) fn now(&self) -> Monotonic {
        Monotonic(self.now.get())
    }

    pub(super) fn events(&self) -> u64 {
        self.events.get()
    }

    pub(super) fn fingerprint(&self) -> u64 {
        self.fingerprint.get()
    }

    /// A number that nothing else of this world has.
    pub(super) fn number(&self) -> u64 {
        let number = self.numbers.get();
        self.numbers.set(number + 1);
        number
    }

    pub(super) fn node(&self, node: NodeId) -> Rc<Node> {
        Rc::clone(&self.nodes.borrow()[node.0 as usize])
    }

    pub(super) fn process(&self, process: ProcessId) -> Rc<Process> {
        Rc::clone(&self.processes.borrow()[process.0 as usize])
    }

    /// Draws from the scheduler's random numbers.
    pub(super) fn draw<T>(&self, how: impl FnOnce(&mut Random) -> T) -> T {
        how(&mut self.random.borrow_mut())
    }

    /// Lets `event` take place `nanos` from now.
    pub(super) fn after(&self, nanos: u64, event: Event) {
        self.at(self.now.get().saturating_add(nanos), event);
    }

    /// Lets `event` take place at a moment that is not over.
    pub(super) fn at(&self, at: u64, event: Event) {
        assert!(at >= self.now.get(), "nothing takes place in the past");
        let sequence = self.sequence.get();
        self.sequence.set(sequence + 1);
        let rank = self.random.borrow_mut().next();
        self.queue.borrow_mut().push(Entry { at, rank, sequence, event });
    }

    /// Says that an event of the queue will do nothing any more.
    pub(super) fn outdate(&self) {
        self.stale.set(self.stale.get() + 1);
        let mut queue = self.queue.borrow_mut();
        if self.stale.get() > STALE_MAX.max(queue.len() / 2) {
            queue.retain(|entry| match entry.event {
                Event::Timer(place, count) => self.timers.is_waiting(place, count),
                _ => true,
            });
            self.stale.set(0);
        }
    }

    /// When the next event takes place.
    pub(super) fn next_at(&self) -> Option<u64> {
        loop {
            let mut queue = self.queue.borrow_mut();
            let first = queue.peek()?;
            match first.event {
                Event::Timer(place, count) if !self.timers.is_waiting(place, count) => {
                    queue.pop();
                    self.stale.set(self.stale.get().saturating_sub(1));
                }
                _ => return Some(first.at),
            }
        }
    }

    /// Moves the clock on without an event, no further than to the next one.
    pub(super) fn pass(&self, until: u64) {
        let next = self.next_at().unwrap_or(u64::MAX);
        self.now.set(until.min(next).max(self.now.get()));
    }

    /// Lets the next event take place; false when there is none.
    pub(super) fn step(self: &Rc<Self>) -> bool {
        if self.next_at().is_none() {
            return false;
        }
        let entry = self.queue.borrow_mut().pop().expect("it was looked at");
        self.now.set(entry.at);
        self.events.set(self.events.get() + 1);
        let (kind, what) = entry.event.numbers();
        self.mark(kind, what);
        self.happen(entry.event);
        true
    }

    fn happen(self: &Rc<Self>, event: Event) {
        match event {
            Event::Turn(shard) => {
                let shard = Rc::clone(&self.shards.borrow()[shard as usize]);
                shard.turn(self);
            }
            Event::Timer(place, _) => self.timers.fire(place),
            Event::Ring(bell) => super::bell::hear(self, bell),
            Event::Disk(operation) => super::disk_op::complete(self, operation),
            Event::Job(job) => {
                let job = self.jobs.borrow_mut().remove(&job);
                if let Some((_, job)) = job {
                    job();
                }
            }
            Event::Arrive(connection, side) => super::network::arrive(self, connection, side),
            Event::Knock(connect) => super::network::knock(self, connect),
            Event::Answer(connect) => super::network::answer(self, connect),
            Event::Room(connection, side) => super::network::has_room(self, connection, side),
            Event::LetGo(process) => super::process::let_go(self, process),
            Event::Orphan(connection, side) => super::network::orphan(self, connection, side),
        }
    }

    /// Adds something that happened to the fingerprint.
    pub(super) fn mark(&self, kind: u64, what: u64) {
        let so_far = self.fingerprint.get();
        self.fingerprint.set(mix(so_far ^ self.now.get().rotate_left(17) ^ mix(kind << 56 ^ what)));
    }

    /// Prints a line of what happens, while somebody wants to read it.
    pub(super) fn note(&self, line: impl FnOnce() -> String) {
        if self.trace.get() {
            eprintln!("{} {}", self.stamp(), line());
        }
    }

    /// The virtual time and the shard that runs, for people.
    pub(super) fn stamp(&self) -> String {
        let nanos = self.now.get();
        let place = self.here().map_or_else(String::new, |shard| shard.name());
        format!("{:>6}.{:06} {place:<16}", nanos / 1_000_000_000, nanos / 1_000 % 1_000_000)
    }
}
