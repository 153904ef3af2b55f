//! A world: machines, processes and a network, run event by event from one seed.
//!
//! What must hold: two worlds of one seed that are asked the same things in the same order have the same events, and
//! so the same fingerprint. One world at a time runs on a thread.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use ottla::config::{BrokerConfig, Layers};
use ottla::ids::{ShardId, TimestampMs};
use ottla::time::Monotonic;

use super::disk::{CrashModel, Disk};
use super::engine::Engine;
use super::executor::start_shard;
use super::network::{CLIENT, ConnectionInfo, NetworkFaults, SERVER};
use super::process::{self, End, Node, NodeId, Process, ProcessId, ProcessState};
use crate::boot::{Broker, Start};
use crate::host::buffer::trim_pool;
use crate::host::types::Signal;

/// Where a broker's data lies when its settings do not say.
const LOG_DIRS: &str = "/data";

/// Whether anything took place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// One event.
    Ran,
    /// Nothing can ever happen by itself.
    Idle,
}

/// A simulated world; clones are the same one. When the last is dropped everything in it ends.
#[derive(Clone)]
pub struct World(Rc<Handle>);

struct Handle(Rc<Engine>);

impl Drop for Handle {
    fn drop(&mut self) {
        let entered = self.0.enter();
        let processes = self.0.processes.borrow().clone();
        processes.iter().for_each(|process| process::end(&self.0, process, End::Killed));
        drop(entered);
        // Shards and their engine know each other.
        drop(self.0.shards.take());
        processes.iter().for_each(|process| drop(process.shards.take()));
    }
}

impl World {
    /// An empty world.
    #[must_use]
    pub fn new(seed: u64) -> World {
        process::catch_panics();
        // What buffers hold before they are written is then the same for each world of a seed.
        trim_pool();
        World(Rc::new(Handle(Engine::new(seed))))
    }

    fn engine(&self) -> &Rc<Engine> {
        &self.0.0
    }

    /// Adds a machine with an empty disk and an address of its own; other machines find it by that.
    pub fn add_node(&self, name: &str) -> NodeId {
        let engine = self.engine();
        let id = NodeId(u32::try_from(engine.nodes.borrow().len()).expect("far fewer machines"));
        let node = Rc::new(Node::new(engine, id, name));
        engine.nodes.borrow_mut().push(node);
        id
    }

    /// Every machine.
    pub fn nodes(&self) -> impl Iterator<Item = NodeId> + use<> {
        (0..u32::try_from(self.engine().nodes.borrow().len()).expect("far fewer machines")).map(NodeId)
    }

    /// Every process that there ever was.
    pub fn processes(&self) -> impl Iterator<Item = ProcessId> + use<> {
        (0..u32::try_from(self.engine().processes.borrow().len()).expect("far fewer processes"))
            .map(ProcessId)
    }

    /// The address of a machine.
    #[must_use]
    pub fn address(&self, node: NodeId) -> IpAddr {
        self.engine().node(node).address
    }

    /// Starts a broker as a process of `node`, as `ottla start` does with these settings. `log.dirs` is `/data` where
    /// they do not say; a setting that is refused makes the process one that gave up.
    pub fn start_broker(&self, node: NodeId, shards: u16, settings: BTreeMap<String, String>) -> ProcessId {
        let engine = self.engine();
        let process = Process::new(engine, &engine.node(node), "broker", usize::from(shards));
        let mut settings = settings;
        if !settings.contains_key("log.dirs") && !settings.contains_key("log.dir") {
            settings.insert("log.dirs".to_owned(), LOG_DIRS.to_owned());
        }
        let layers = Layers { command_line: settings, ..Layers::default() };
        let entered = engine.enter();
        engine.note(|| format!("{} starts", process.label()));
        *engine.starting.borrow_mut() = Some(Rc::clone(&process));
        let started = BrokerConfig::new(&layers).map_err(|error| error.to_string()).and_then(|config| {
            Broker::prepare(Start { config, cluster_id: None }, engine.now()).and_then(Broker::run)
        });
        *engine.starting.borrow_mut() = None;
        if let Err(line) = started {
            process::end(engine, &process, End::GaveUp(line));
        }
        drop(entered);
        process.id
    }

    /// Starts a process of one shard that runs `main` and ends with it.
    pub fn start_client(&self, node: NodeId, main: impl Future<Output = ()> + 'static) -> ProcessId {
        let engine = self.engine();
        let process = Process::new(engine, &engine.node(node), "client", 1);
        let entered = engine.enter();
        start_shard(engine, &process, ShardId(0), Box::pin(main));
        drop(entered);
        process.id
    }

    /// SIGTERM: a broker ends in order; a second one ends it at once.
    pub fn stop(&self, process: ProcessId) {
        let engine = self.engine();
        let entered = engine.enter();
        engine.process(process).signal(engine, Signal::Terminate);
        drop(entered);
    }

    /// kill -9: the process is gone; each of its operations in flight takes place or not.
    pub fn kill(&self, process: ProcessId) {
        let engine = self.engine();
        let entered = engine.enter();
        process::end(engine, &engine.process(process), End::Killed);
        drop(entered);
    }

    /// Ends every process of `node` at once, and leaves on its disk what `model` says of what was not synced. The
    /// machine is there again at once; peers find out in their own time.
    pub fn power_cut(&self, node: NodeId, model: CrashModel) {
        let engine = self.engine();
        let entered = engine.enter();
        engine.note(|| format!("{} loses its power: {model:?}", engine.node(node).name));
        let processes = engine.processes.borrow().clone();
        let here = processes.iter().filter(|process| process.node.id == node);
        here.for_each(|process| process::lose_power(engine, process));
        let node = engine.node(node);
        let mut disk = node.disk.borrow_mut();
        disk.set_now(engine.now());
        disk.crash(model);
        drop(disk);
        drop(entered);
    }

    /// What has become of a process.
    #[must_use]
    pub fn state(&self, process: ProcessId) -> ProcessState {
        self.engine().process(process).state()
    }

    /// What a process has printed: a broker's banner, once it is ready.
    #[must_use]
    pub fn output(&self, process: ProcessId) -> String {
        self.engine().process(process).output.borrow().clone()
    }

    /// Lets one event take place: one poll of a task, one completion, one timer, one arrival.
    pub fn step(&self) -> Step {
        let engine = self.engine();
        let entered = engine.enter();
        let ran = engine.step();
        drop(entered);
        if ran { Step::Ran } else { Step::Idle }
    }

    /// Lets everything take place that does within `virtual_time`, and moves the clock there.
    pub fn run_for(&self, virtual_time: Duration) {
        self.run_until(|| false, virtual_time);
    }

    /// Runs until `condition` holds, which is asked after every event, for at most `limit` of virtual time; returns
    /// whether it holds.
    pub fn run_until(&self, mut condition: impl FnMut() -> bool, limit: Duration) -> bool {
        let engine = self.engine();
        let entered = engine.enter();
        let until = engine.now().after(limit);
        let mut holds = condition();
        while !holds && engine.next_at().is_some_and(|next| next <= until.0) {
            engine.step();
            holds = condition();
        }
        if !holds {
            engine.pass(until.0);
        }
        drop(entered);
        holds
    }

    /// The virtual time.
    #[must_use]
    pub fn now(&self) -> Monotonic {
        self.engine().now()
    }

    /// Events so far.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.engine().events()
    }

    /// All events so far as one number: the same for the same seed and calls, and for hardly anything else.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        self.engine().fingerprint()
    }

    /// Looks at, or damages, the disk of a machine.
    pub fn with_disk<T>(&self, node: NodeId, look: impl FnOnce(&mut Disk) -> T) -> T {
        let node = self.engine().node(node);
        let mut disk = node.disk.borrow_mut();
        disk.set_now(self.engine().now());
        look(&mut disk)
    }

    /// What a machine's clock on the wall shows.
    #[must_use]
    pub fn wall_ms(&self, node: NodeId) -> TimestampMs {
        self.engine().node(node).wall_ms(self.now())
    }

    /// Moves a machine's clock on the wall, forwards or backwards.
    pub fn jump_wall(&self, node: NodeId, by_ms: i64) {
        let node = self.engine().node(node);
        node.wall_at_start_ms.set(node.wall_at_start_ms.get().saturating_add(by_ms));
    }

    /// Sets how many descriptors a process may have open.
    pub fn limit_descriptors(&self, process: ProcessId, descriptors: u64) {
        self.engine().process(process).descriptors_max.set(descriptors);
    }

    /// The network between the machines.
    #[must_use]
    pub fn network(&self) -> NetworkControl {
        NetworkControl(Rc::clone(self.engine()))
    }

    /// Prints a line on standard error for each operation, each change of a process and each of a broker's log lines,
    /// with the virtual time.
    pub fn trace(&self, on: bool) {
        if on {
            super::trace::show_logs();
        }
        self.engine().trace.set(on);
    }
}

/// What can be done to a world's network.
pub struct NetworkControl(Rc<Engine>);

impl NetworkControl {
    /// What goes wrong by chance from now on; at first nothing does.
    pub fn set_faults(&self, faults: NetworkFaults) {
        self.0.network.borrow_mut().faults = faults;
    }

    /// The open connections.
    #[must_use]
    pub fn connections(&self) -> Vec<ConnectionInfo> {
        self.0.network.borrow().connections()
    }

    /// Lets nothing more arrive on a connection for a while, in either direction.
    pub fn stall(&self, connection: u64, duration: Duration) {
        let until = self.0.now().after(duration).0;
        self.0.network.borrow_mut().stall(&self.0, connection, until);
    }

    /// Resets a connection when `after_bytes` more bytes have arrived at the server.
    pub fn cut_to_server(&self, connection: u64, after_bytes: usize) {
        self.0.network.borrow_mut().cut(&self.0, connection, SERVER, after_bytes);
    }

    /// Resets a connection when `after_bytes` more bytes have arrived at the client.
    pub fn cut_to_client(&self, connection: u64, after_bytes: usize) {
        self.0.network.borrow_mut().cut(&self.0, connection, CLIENT, after_bytes);
    }

    /// Keeps two machines from reaching each other; what they send waits.
    pub fn part(&self, one: NodeId, other: NodeId) {
        self.0.network.borrow_mut().set_parted(&self.0, [one, other], true);
    }

    /// Lets two machines reach each other again.
    pub fn join(&self, one: NodeId, other: NodeId) {
        self.0.network.borrow_mut().set_parted(&self.0, [one, other], false);
    }
}
