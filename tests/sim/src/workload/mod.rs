//! Load on one broker: actors that a seed draws, all writing into one history.
//!
//! A [`Plan`] says which topics there are and who does what how often; every seed turns some kinds off and others up
//! (swarm testing), because what never happens alone hides what it hides. The actors are tasks of one client process.
//! Each has a generator of its own and does one thing after the other; what they know of the broker they know from its
//! answers. What must hold: an operation is in the history before its bytes are sent; an outcome that is unknown is
//! retried by the rules of the real clients or left alone, never assumed.

mod clerk;
mod plan;
mod producer;
mod reader;
mod seat;
mod verify;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use ottla_shards::host::{sleep, spawn_detached};
use ottla_wire::Uuid;

use crate::client::NewTopic;
use crate::history::History;
use crate::random::Random;

pub use plan::{ClerkPlan, Kinds, Plan, PlanOptions, ProducerPlan, ReaderPlan, TopicPlan};
pub use seat::{Portion, Seat, place};
pub use verify::verify;

/// A topic that actors may use.
#[derive(Debug)]
pub struct Topic {
    /// Its id.
    pub id: Uuid,
    /// How it was made.
    pub new: NewTopic,
    /// It is never deleted, so that its name means it.
    pub is_permanent: bool,
    /// The most bytes of a batch for it.
    pub batch_bytes_max: u64,
    /// Every batch for it fills whole blocks of the disk.
    pub in_blocks: bool,
}

/// What the actors of a seed share.
pub struct Desk {
    /// Where the broker listens.
    pub address: SocketAddr,
    /// What was asked and answered.
    pub history: History,
    /// How long a reply may take.
    pub patience: Duration,
    /// The topics of the moment.
    pub topics: RefCell<Vec<Rc<Topic>>>,
    /// How often what happened.
    pub counts: RefCell<BTreeMap<&'static str, u64>>,
    /// No new operation begins.
    stop: Cell<bool>,
    /// Actors still at work.
    at_work: Cell<usize>,
    /// Every permanent topic is there.
    is_founded: Cell<bool>,
}

impl Desk {
    /// A desk without actors.
    #[must_use]
    pub fn new(address: SocketAddr, history: History, patience: Duration) -> Rc<Desk> {
        Rc::new(Desk {
            address,
            history,
            patience,
            topics: RefCell::default(),
            counts: RefCell::default(),
            stop: Cell::new(false),
            at_work: Cell::new(0),
            is_founded: Cell::new(false),
        })
    }

    /// Tells the actors to end after what they are at.
    pub fn stop(&self) {
        self.stop.set(true);
    }

    /// Whether the actors were told to end.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.stop.get()
    }

    /// Whether no actor is at work.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.at_work.get() == 0
    }

    /// Whether every permanent topic was made.
    #[must_use]
    pub fn is_founded(&self) -> bool {
        self.is_founded.get()
    }

    /// Counts something that happened.
    pub fn count(&self, what: &'static str) {
        *self.counts.borrow_mut().entry(what).or_insert(0) += 1;
    }

    /// Starts the actors of a plan on the shard that calls.
    pub fn start(self: &Rc<Self>, plan: &Plan, random: &Random) {
        for (number, producer) in plan.producers.iter().cloned().enumerate() {
            let seat = Seat::new(self, random, &format!("producer {number}"));
            self.employ(async move { producer::run(seat, producer).await });
        }
        for (number, reader) in plan.readers.iter().cloned().enumerate() {
            let seat = Seat::new(self, random, &format!("reader {number}"));
            self.employ(async move { reader::run(seat, reader).await });
        }
        for (number, clerk) in plan.clerks.iter().cloned().enumerate() {
            let seat = Seat::new(self, random, &format!("clerk {number}"));
            self.employ(async move { clerk::run(seat, number, clerk).await });
        }
    }

    /// Works until every actor has ended; a client's main task.
    pub async fn work(self: Rc<Self>, plan: Plan, random: Random) {
        self.start(&plan, &random);
        while !self.is_idle() {
            sleep(Duration::from_millis(50)).await;
        }
    }

    fn employ(self: &Rc<Self>, work: impl Future<Output = ()> + 'static) {
        self.at_work.set(self.at_work.get() + 1);
        let desk = Rc::clone(self);
        spawn_detached(async move {
            work.await;
            desk.at_work.set(desk.at_work.get() - 1);
        });
    }
}
