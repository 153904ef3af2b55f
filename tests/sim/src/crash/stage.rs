//! The world of a workload or of a recovery: one broker's machine, one client's machine, and the keeping of moments.
//!
//! While moments are kept, one is begun after each operation that changes the disk or makes something durable, and
//! grows with the world until the next: it has the state of the disk after that operation, and the writes under way
//! and the history as they are right before the next one.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use ottla::time::Monotonic;
use ottla_shards::host::sim::disk::Op;
use ottla_shards::host::sim::{
    CrashModel, Disk, InFlightWrite, NodeId, ProcessId, ProcessState, Step, World,
};

use super::hand::Hand;
use crate::check::{Invariant, Violation};
use crate::history::{Happening, History};
use crate::random::Random;
use crate::workload::Desk;

/// The port of the broker's only listener.
const PORT: u16 = 9092;
/// How long a client waits for a reply.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long anything may take that nothing hinders.
const LIMIT: Duration = Duration::from_secs(300);
/// Bytes of one device.
const DEVICE_BYTES: u64 = 64 << 30;
/// Operations of the recorded disk that a trace tells of.
const TRACED_OPERATIONS: usize = 60;
/// What is an operation of its own: whatever changes the disk, and whatever makes changes durable.
const COUNTED: [Op; 12] = [
    Op::Open,
    Op::Write,
    Op::SetLen,
    Op::Allocate,
    Op::CreateDir,
    Op::Rename,
    Op::RemoveFile,
    Op::RemoveDir,
    Op::SyncData,
    Op::SyncAll,
    Op::SyncDir,
    Op::SyncFs,
];

/// How a workload's broker is set up.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Shards.
    pub shards: u16,
    /// Log directories, each a device.
    pub dirs: Vec<&'static str>,
    /// Broker settings besides.
    pub settings: Vec<(&'static str, String)>,
}

/// A moment of a workload: everything that a power cut at it needs.
#[derive(Debug)]
pub struct Moment {
    /// How many operations the disk had carried out, of every kind.
    pub operation: u64,
    /// The disk after the last of them.
    pub disk: Disk,
    /// Writes that have begun.
    pub in_flight: Vec<InFlightWrite>,
    /// When it is.
    pub now: Monotonic,
    /// Events of the history by then.
    pub events: usize,
}

/// A world that was played, with its moments.
pub struct Recording {
    /// How its broker was set up.
    pub setup: Setup,
    /// What was asked and answered.
    pub history: History,
    /// In their order.
    pub moments: Vec<Moment>,
}

/// The world while it is played.
pub struct Stage {
    world: World,
    node: NodeId,
    client_node: NodeId,
    desk: Rc<Desk>,
    setup: Setup,
    random: Random,
    broker: Option<ProcessId>,
    is_kept: bool,
    moments: Vec<Moment>,
    counted: u64,
    begun: u64,
}

impl Stage {
    /// A machine with empty disks.
    #[must_use]
    pub fn new(setup: &Setup, seed: u64, trace: bool) -> Stage {
        let stage = Stage::with(setup, seed, History::default(), trace);
        stage.world.with_disk(stage.node, |disk| {
            setup.dirs.iter().for_each(|dir| disk.add_device(Path::new(dir), DEVICE_BYTES));
            disk.trace_last(if trace { TRACED_OPERATIONS } else { 0 });
        });
        stage
    }

    /// The machine of a recording after the power went at a moment.
    #[must_use]
    pub fn after(recording: &Recording, at: usize, model: CrashModel, seed: u64, trace: bool) -> Stage {
        let moment = &recording.moments[at];
        let history = recording.history.cut_off(moment.events, moment.now);
        let stage = Stage::with(&recording.setup, seed, history, trace);
        stage.world.run_for(Duration::from_nanos(moment.now.0));
        let mut random = stage.random.fork("crash");
        stage.world.with_disk(stage.node, |disk| {
            *disk = moment.disk.fork();
            disk.reseed(random.next_u64());
            for write in &moment.in_flight {
                begin_write(disk, write, &mut random);
            }
            if trace {
                disk.trace().for_each(|line| eprintln!("  before the crash: {line}"));
            }
            disk.crash(model);
            if trace {
                disk.files()
                    .iter()
                    .for_each(|file| eprintln!("  left: {} {}", file.path.display(), file.bytes));
            }
        });
        stage.happened(Happening::PowerCut);
        stage
    }

    fn with(setup: &Setup, seed: u64, history: History, trace: bool) -> Stage {
        let world = World::new(seed);
        world.trace(trace);
        if trace {
            history.print();
        }
        let (node, client_node) = (world.add_node("broker"), world.add_node("client"));
        let address = SocketAddr::new(world.address(node), PORT);
        let desk = Desk::new(address, history, PATIENCE);
        let (setup, random) = (setup.clone(), Random::new(seed));
        let (is_kept, moments, counted, begun, broker) = (false, Vec::new(), 0, 0, None);
        Stage { world, node, client_node, desk, setup, random, broker, is_kept, moments, counted, begun }
    }

    /// What was asked and answered.
    #[must_use]
    pub fn history(&self) -> &History {
        &self.desk.history
    }

    /// What the clients share.
    #[must_use]
    pub fn desk(&self) -> &Rc<Desk> {
        &self.desk
    }

    /// A generator of the stage's seed.
    #[must_use]
    pub fn random(&self, name: &str) -> Random {
        self.random.fork(name)
    }

    /// Operations of the disk so far.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.world.with_disk(self.node, |disk| disk.operations())
    }

    fn happened(&self, happening: Happening) {
        self.desk.history.happened(self.world.now(), happening);
    }

    /// Keeps moments from now on, or no longer.
    pub fn keep(&mut self, is_kept: bool) {
        self.is_kept = is_kept;
        if is_kept {
            self.begin_moment();
        }
    }

    /// Ends the world.
    #[must_use]
    pub fn into_recording(self) -> Recording {
        let Stage { desk, setup, moments, .. } = self;
        Recording { setup, history: desk.history.clone(), moments }
    }

    fn begin_moment(&mut self) {
        let (operation, disk, counted) =
            self.world.with_disk(self.node, |disk| (disk.operations(), disk.fork(), counted(disk)));
        (self.counted, self.begun) = (counted, self.world.begun());
        let in_flight = self.world.writes_in_flight(self.node);
        let (now, events) = (self.world.now(), self.desk.history.len());
        self.moments.push(Moment { operation, disk, in_flight, now, events });
    }

    /// Lets one event take place.
    fn step(&mut self) -> Step {
        let step = self.world.step();
        if !self.is_kept {
            return step;
        }
        if self.world.with_disk(self.node, |disk| counted(disk)) != self.counted {
            self.begin_moment();
            return step;
        }
        let moment = self.moments.last_mut().expect("keeping begins with one");
        (moment.now, moment.events) = (self.world.now(), self.desk.history.len());
        if self.world.begun() != self.begun {
            self.begun = self.world.begun();
            moment.in_flight = self.world.writes_in_flight(self.node);
        }
        step
    }

    /// Lets the world run until something holds; says whether it does within the limit.
    fn until(&mut self, limit: Duration, mut holds: impl FnMut(&World) -> bool) -> bool {
        let end = self.world.now().after(limit);
        loop {
            if holds(&self.world) {
                return true;
            }
            if self.world.now() >= end || self.step() == Step::Idle {
                return false;
            }
        }
    }

    /// Lets virtual time pass.
    pub fn pass(&mut self, time: Duration) {
        self.until(time, |_| false);
    }

    /// Starts a broker and waits until it serves.
    ///
    /// # Errors
    /// What became of it instead.
    pub fn start(&mut self) -> Result<(), Violation> {
        assert!(self.broker.is_none(), "one broker at a time");
        self.happened(Happening::Started);
        let broker = self.world.start_broker(self.node, self.setup.shards, self.settings());
        self.broker = Some(broker);
        let ready = |world: &World| world.output(broker).contains("ready in");
        let ended = |world: &World| world.state(broker) != ProcessState::Running;
        self.until(LIMIT, |world| ready(world) || ended(world));
        self.must_run("did not start")
    }

    fn settings(&self) -> BTreeMap<String, String> {
        let address = self.desk.address;
        let mut settings = BTreeMap::from([
            ("listeners".to_owned(), format!("PLAINTEXT://0.0.0.0:{PORT}")),
            ("advertised.listeners".to_owned(), format!("PLAINTEXT://{address}")),
            ("log.dirs".to_owned(), self.setup.dirs.join(",")),
        ]);
        settings.extend(self.setup.settings.iter().map(|(key, value)| ((*key).to_owned(), value.clone())));
        settings
    }

    /// Says that the broker is stuck unless it runs and is ready.
    fn must_run(&self, what: &str) -> Result<(), Violation> {
        let broker = self.broker.expect("it was started");
        let state = self.world.state(broker);
        if state == ProcessState::Running && self.world.output(broker).contains("ready in") {
            return Ok(());
        }
        Err(Violation::new(Invariant::Stuck, format!("the broker {what}: {state:?}")))
    }

    /// Runs a client to its end.
    ///
    /// # Errors
    /// What the history or the broker's state says against the broker.
    pub fn act<T, F>(&mut self, name: &str, main: impl FnOnce(Hand) -> F) -> Result<T, Violation>
    where
        T: 'static,
        F: Future<Output = T> + 'static,
    {
        let output = Rc::new(RefCell::new(None));
        let (place, future) = (Rc::clone(&output), main(Hand::new(&self.desk, &self.random, name)));
        let client = self.world.start_client(self.client_node, async move {
            let value = future.await;
            *place.borrow_mut() = Some(value);
        });
        let (history, broker) = (self.desk.history.clone(), self.broker.expect("a broker runs"));
        self.until(LIMIT, |world| {
            world.state(client) != ProcessState::Running
                || history.is_broken()
                || world.state(broker) != ProcessState::Running
        });
        if let Some(violation) = self.desk.history.violation() {
            return Err(violation);
        }
        self.must_run("ended on its own")?;
        output.take().ok_or_else(|| {
            let state = self.world.state(client);
            Violation::new(Invariant::Stuck, format!("the client {name:?} is not done: {state:?}"))
        })
    }

    /// SIGTERM, and the wait for the end.
    ///
    /// # Errors
    /// It does not end, or not well.
    pub fn stop(&mut self) -> Result<(), Violation> {
        let broker = self.broker.take().expect("a broker runs");
        self.happened(Happening::Stopping);
        self.world.stop(broker);
        self.until(LIMIT, |world| world.state(broker) != ProcessState::Running);
        match self.world.state(broker) {
            ProcessState::Ended => {
                self.happened(Happening::Stopped);
                Ok(())
            }
            state => Err(Violation::new(Invariant::Stuck, format!("after SIGTERM the broker is {state:?}"))),
        }
    }

    /// kill -9.
    pub fn kill(&mut self) {
        self.world.kill(self.broker.take().expect("a broker runs"));
        self.happened(Happening::Killed);
    }

    /// The power of the broker's machine goes, and is there again at once.
    pub fn power_cut(&mut self, model: CrashModel) {
        self.broker = None;
        self.world.power_cut(self.node, model);
        self.happened(Happening::PowerCut);
    }
}

fn counted(disk: &Disk) -> u64 {
    COUNTED.iter().map(|op| disk.operations_of(*op)).sum()
}

/// Lets a write that the crash met take place in part: not at all, from its beginning up to some sector, or whole. It
/// was never synced.
fn begin_write(disk: &mut Disk, write: &InFlightWrite, random: &mut Random) {
    if random.one_in(3) {
        return;
    }
    let sectors = write.bytes.len().div_ceil(512) as u64;
    let kept = usize::try_from(random.within(0..sectors * 2 + 1)).expect("twice the sectors of a write");
    let kept = kept.saturating_mul(512).min(write.bytes.len());
    let durability = ottla_shards::host::Durability::None;
    // A full disk takes less, which is one of the things that a crash may leave too.
    let _ = disk.write(write.file, write.position, &write.bytes[..kept], durability);
}
