//! One seed as it runs: the world, the broker's process, and the order of things.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use ottla::time::Monotonic;
use ottla_shards::host::sim::{CrashModel, NodeId, ProcessId, ProcessState, World};

use super::RunOptions;
use super::faults::Fault;
use crate::check::{Invariant, Violation};
use crate::history::{Happening, History};
use crate::random::Random;
use crate::workload::{Desk, Plan, verify};

/// The port of the broker's only listener.
const PORT: u16 = 9092;
/// How long a client waits for a reply.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a broker that nothing hinders may take until the topics of the plan are made, under load.
const FOUNDING: Duration = Duration::from_secs(3);
/// How long a broker that was started counts as one that may not have its directories yet.
const STARTING: Duration = Duration::from_secs(1);
/// How long a broker that nothing hinders may take to stop, and the actors to come to an end.
const ENDING: Duration = Duration::from_secs(120);
/// How long the reckoning may take: longer than its own patience, which says more.
const RECKONING: Duration = Duration::from_secs(3600);
/// Bytes of one device.
const DEVICE_BYTES: u64 = 64 << 30;

/// One seed.
pub(super) struct Scenario {
    pub world: World,
    pub history: History,
    pub random: Random,
    pub node: NodeId,
    pub client_node: NodeId,
    /// The log directories, each a device.
    pub dirs: Vec<PathBuf>,
    /// Something that the running process cannot forgive may have failed.
    pub has_broken_disk: bool,
    /// A device may be full.
    pub has_full_disk: bool,
    /// A device was full while the running broker started: the directory may be offline until the next start.
    pub has_begun_full: bool,
    /// How long the running broker counts as starting.
    pub starting_until: Monotonic,
    is_traced: bool,
    settings: BTreeMap<String, String>,
    broker: Option<ProcessId>,
    desk: Rc<Desk>,
    plan: Plan,
    reached: BTreeMap<String, u64>,
}

impl Scenario {
    /// Draws a scenario; nothing has happened yet.
    pub fn new(seed: u64, options: RunOptions) -> Scenario {
        let random = Random::new(seed);
        let world = World::new(seed);
        world.trace(options.trace);
        let (node, client_node) = (world.add_node("broker"), world.add_node("client"));
        let history = History::default();
        if options.trace {
            history.print();
        }
        let plan = Plan::draw(&mut random.fork("plan"), options.plan);
        let mut random = random.fork("scenario");
        let dirs: Vec<PathBuf> =
            (0..random.within(1..3)).map(|number| PathBuf::from(format!("/d{number}"))).collect();
        world.with_disk(node, |disk| dirs.iter().for_each(|dir| disk.add_device(dir, DEVICE_BYTES)));
        let address = SocketAddr::new(world.address(node), PORT);
        let settings = draw_settings(&mut random, address, &dirs);
        let desk = Desk::new(address, history.clone(), PATIENCE);
        Scenario {
            world,
            history,
            random,
            node,
            client_node,
            dirs,
            has_broken_disk: false,
            has_full_disk: false,
            has_begun_full: false,
            starting_until: Monotonic::ZERO,
            is_traced: options.trace,
            settings,
            broker: None,
            desk,
            plan,
            reached: BTreeMap::new(),
        }
    }

    /// Runs it to its end, or to the first violation.
    pub fn run(&mut self) {
        self.start();
        let client = Rc::clone(&self.desk).work(self.plan.clone(), self.random.fork("actors"));
        self.world.start_client(self.client_node, client);
        // In some seeds the first fault comes before anything is there.
        if !self.random.one_in(4) {
            let desk = Rc::clone(&self.desk);
            if !self.wait(FOUNDING, move |_| desk.is_founded()) {
                return self.stuck("the first topics are not made".to_owned());
            }
        }
        let weights = Fault::draw_weights(&mut self.random);
        for _ in 0..self.random.log_within(2..12) {
            self.run_a_moment(800_000);
            if self.history.is_broken() {
                return;
            }
            self.tend();
            let fault = Fault::ALL[self.random.weighted(&weights)];
            if self.is_traced {
                eprintln!("++++ {fault:?}");
            }
            self.count(fault.name());
            self.strike(fault);
            self.tend();
        }
        self.run_a_moment(1_000_000);
        self.reckon();
    }

    /// After the load: everything heals, the actors end, and what exists for sure is looked at.
    fn reckon(&mut self) {
        self.heal();
        if self.has_broken_disk || self.has_begun_full || self.random.one_in(3) {
            self.end_somehow();
        }
        self.tend();
        self.desk.stop();
        let desk = Rc::clone(&self.desk);
        if !self.wait(ENDING, move |_| desk.is_idle()) {
            return self.stuck("the actors have not come to an end".to_owned());
        }
        self.look(true);
        if self.history.is_broken() {
            return;
        }
        self.stop();
        self.start();
        self.look(false);
        if !self.history.is_broken() {
            self.history.finish();
        }
    }

    fn look(&mut self, write: bool) {
        let (desk, random) = (Rc::clone(&self.desk), self.random.fork("reckoning"));
        let look = async move { verify(&desk, &random, write).await };
        let client = self.world.start_client(self.client_node, look);
        let done = move |world: &World| world.state(client) != ProcessState::Running;
        if !self.wait(RECKONING, done) {
            self.stuck("the reckoning does not end".to_owned());
        }
        if let ProcessState::Panicked(text) = self.world.state(client) {
            self.stuck(format!("the verifier panicked: {text}"));
        }
    }

    /// Runs until something is true or a violation is found; says whether it is true.
    fn wait(&mut self, limit: Duration, is_done: impl Fn(&World) -> bool) -> bool {
        let (world, history, broker) = (self.world.clone(), self.history.clone(), self.broker);
        let has_died =
            |world: &World| broker.is_some_and(|broker| world.state(broker) != ProcessState::Running);
        self.world.run_until(|| is_done(&world) || history.is_broken() || has_died(&world), limit);
        if has_died(&self.world) && !is_done(&self.world) {
            self.tend();
            return !self.history.is_broken() && self.wait(limit, is_done);
        }
        is_done(&self.world)
    }

    /// Lets up to so many microseconds pass, many or few alike.
    pub fn run_a_moment(&mut self, micros_max: u64) {
        let moment = Duration::from_micros(self.random.log_within(1..micros_max));
        let (history, broker, world) = (self.history.clone(), self.broker, self.world.clone());
        let has_died = || broker.is_some_and(|broker| world.state(broker) != ProcessState::Running);
        self.world.run_until(|| history.is_broken() || has_died(), moment);
    }

    /// Sees to it that a broker runs: one that has ended for a reason is started again.
    fn tend(&mut self) {
        let Some(broker) = self.broker else {
            if !self.history.is_broken() {
                self.run_a_moment(300_000);
                self.start();
            }
            return;
        };
        match self.world.state(broker) {
            ProcessState::Running => {}
            ProcessState::Panicked(text) => self.stuck(format!("the broker panicked: {text}")),
            ProcessState::Ended | ProcessState::GaveUp(_) | ProcessState::Killed
                if self.has_broken_disk || self.has_full_disk =>
            {
                self.count("broker gave up on its disks".to_owned());
                self.broker = None;
                self.happened(Happening::Ended);
                self.heal();
                self.start();
            }
            // A process that was killed lets go of its locks in its own time.
            ProcessState::GaveUp(line) if line.contains("is in use by another broker") => {
                self.count("locks of a killed process".to_owned());
                self.broker = None;
                self.happened(Happening::Ended);
                self.run_a_moment(300_000);
                self.start();
            }
            state => self.stuck(format!("the broker ended: {state:?}")),
        }
    }

    fn stuck(&mut self, detail: String) {
        self.history.blame(Violation::new(Invariant::Stuck, detail));
    }

    pub fn happened(&self, happening: Happening) {
        self.history.happened(self.world.now(), happening);
    }

    fn count(&mut self, what: String) {
        *self.reached.entry(what).or_insert(0) += 1;
    }

    /// Starts a broker, where none runs. Disks that had failed are replaced by good ones with the same contents.
    fn start(&mut self) {
        assert!(self.broker.is_none(), "one broker at a time");
        // A disk that is full may stay so.
        let stays_full = self.has_full_disk && !self.has_broken_disk && self.random.one_in(2);
        if (self.has_broken_disk || self.has_full_disk) && !stays_full {
            self.heal();
        }
        if self.has_broken_disk {
            // What a failed sync has lost looks whole until the machine starts anew: whoever gets a new disk does that.
            let model = *self.random.pick(&CrashModel::ALL);
            self.world.power_cut(self.node, model);
            self.happened(Happening::PowerCut);
        }
        (self.has_broken_disk, self.has_full_disk, self.has_begun_full) = (false, stays_full, stays_full);
        self.happened(if self.has_full_disk { Happening::DisksFail } else { Happening::DisksHeal });
        self.happened(Happening::Started);
        let shards = u16::try_from(self.random.within(1..4)).expect("few");
        self.starting_until = self.world.now().after(STARTING);
        self.broker = Some(self.world.start_broker(self.node, shards, self.settings.clone()));
    }

    pub fn kill(&mut self) {
        if let Some(broker) = self.broker.take() {
            self.world.kill(broker);
            self.happened(Happening::Killed);
        }
    }

    pub fn power_cut(&mut self, model: CrashModel) {
        self.broker = None;
        self.world.power_cut(self.node, model);
        self.happened(Happening::PowerCut);
    }

    /// Starts a broker and ends it at once: by the power with a model, or alone.
    pub fn start_and_crash(&mut self, model: Option<CrashModel>) {
        self.run_a_moment(300_000);
        self.start();
        self.run_a_moment(100_000);
        match model {
            Some(model) => self.power_cut(model),
            None => self.kill(),
        }
    }

    pub fn begin_stop(&mut self) {
        if let Some(broker) = self.broker {
            self.happened(Happening::Stopping);
            self.world.stop(broker);
        }
    }

    /// SIGTERM, and the wait for the end.
    pub fn stop(&mut self) {
        let Some(broker) = self.broker else { return };
        self.begin_stop();
        let (world, history) = (self.world.clone(), self.history.clone());
        let ends = || world.state(broker) != ProcessState::Running;
        self.world.run_until(|| ends() || history.is_broken(), ENDING);
        match self.world.state(broker) {
            ProcessState::Ended | ProcessState::GaveUp(_) if self.has_broken_disk || self.has_full_disk => {
                self.happened(Happening::Ended);
            }
            ProcessState::Ended => {
                self.count("clean stops".to_owned());
                self.happened(Happening::Stopped);
            }
            ProcessState::Running if self.history.is_broken() => return,
            ProcessState::Running if self.has_broken_disk || self.has_full_disk => return self.kill(),
            state => self.stuck(format!("{ENDING:?} after SIGTERM the broker is {state:?}")),
        }
        self.broker = None;
    }

    fn end_somehow(&mut self) {
        match self.random.index(3) {
            0 => self.kill(),
            1 => {
                let model = *self.random.pick(&CrashModel::ALL);
                self.power_cut(model);
            }
            _ => self.stop(),
        }
    }

    /// How often which fault and which state was reached.
    pub fn reached(&self) -> BTreeMap<String, u64> {
        let mut reached = self.reached.clone();
        for (what, count) in &*self.desk.counts.borrow() {
            *reached.entry((*what).to_owned()).or_insert(0) += count;
        }
        for (what, count) in self.history.tally() {
            *reached.entry(what).or_insert(0) += count;
        }
        reached
    }
}

/// The broker's settings: everything that is usually long or large is short and small.
fn draw_settings(random: &mut Random, address: SocketAddr, dirs: &[PathBuf]) -> BTreeMap<String, String> {
    let mut settings = BTreeMap::new();
    let mut set = |key: &str, value: String| settings.insert(key.to_owned(), value);
    let dirs: Vec<String> = dirs.iter().map(|dir| dir.display().to_string()).collect();
    set("listeners", format!("PLAINTEXT://0.0.0.0:{PORT}"));
    set("advertised.listeners", format!("PLAINTEXT://{address}"));
    set("log.dirs", dirs.join(","));
    set("log.retention.check.interval.ms", random.within(100..2000).to_string());
    set("log.flush.offset.checkpoint.interval.ms", random.within(100..5000).to_string());
    set("offsets.topic.num.partitions", random.within(1..4).to_string());
    set("offsets.topic.segment.bytes", (1 << random.within(20..24)).to_string());
    set("ottla.tail.cache.bytes", (1 << random.within(20..24)).to_string());
    if random.one_in(2) {
        set("ottla.segment.files.open.max", random.within(4..40).to_string());
    }
    // Few partitions ever have as many commits under way at once as it takes by default.
    if random.one_in(2) {
        set("ottla.journal.commits.min", random.within(1..5).to_string());
    }
    settings
}
