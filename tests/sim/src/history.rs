//! What was asked, what was answered and what befell the broker, in the order in which the client learned it.
//!
//! A [`History`] is shared by the actors of one seed, all on one thread. Every event goes to the [`Checker`] at once;
//! the first that no correct broker could have caused is kept with its history. What must hold: an operation begins
//! before anything of it is sent, and ends once, after everything that will ever be known of it is known.

use std::cell::{Ref, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::rc::Rc;

use ottla::time::Monotonic;
use ottla_wire::Uuid;

use crate::check::{Checker, Violation};
use crate::client::{CommittedOffset, FoundOffset, NewTopic, OffsetQuery, Outcome, SeenTopic, Unknown};
use crate::records::{BatchId, BatchSpec, Batches, SeenRecord};

/// An operation's number, in the order of their beginnings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OpId(pub u32);

/// A partition of one life of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The topic's id.
    pub topic: Uuid,
    /// The partition's index.
    pub partition: i32,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

/// Something that was asked of the broker.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// A topic to be made.
    CreateTopic(NewTopic),
    /// The topic of this id to be deleted.
    DeleteTopic(Uuid),
    /// All topics to be listed.
    ListTopics,
    /// A batch to be appended.
    Produce(Place, Rc<BatchSpec>),
    /// Records from an offset on.
    Fetch(Place, i64),
    /// An offset.
    ListOffset(Place, OffsetQuery),
    /// Every record from the log start to the end, by as many fetches as it takes.
    ReadBack(Place),
    /// Everything before an offset to be deleted, -1 for the high watermark.
    DeleteRecords(Place, i64),
    /// A producer id.
    InitProducerId,
    /// A topic's configuration key to be set.
    SetConfig(Uuid, String, String),
    /// A topic's configuration key.
    GetConfig(Uuid, String),
    /// A group's offset to be committed.
    Commit(String, Place, CommittedOffset),
    /// A group's committed offset.
    GetCommitted(String, Place),
}

/// What the broker answered when it did what it was asked.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// It is done; there is nothing else to say.
    Done,
    /// The new topic's id.
    Created(Uuid),
    /// The topics there are.
    Topics(Vec<SeenTopic>),
    /// The offset of the batch's first record.
    Appended(i64),
    /// Records, and where the log begins and ends for readers.
    Records(SeenRecords),
    /// An offset.
    Offset(FoundOffset),
    /// The new log start offset.
    LowWatermark(i64),
    /// A producer id.
    ProducerId(i64),
    /// A configuration value.
    Config(String),
    /// A committed offset, or none.
    Committed(Option<CommittedOffset>),
}

/// What a reader got to see.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SeenRecords {
    /// The high watermark.
    pub high_watermark: i64,
    /// The log start offset.
    pub log_start: i64,
    /// The records in the order in which they came.
    pub records: Vec<SeenRecord>,
    /// The offset behind the last batch, which may have lost its records to compaction; 0 where no batch came.
    pub batches_end: i64,
}

/// What befell the broker, as far as it excuses anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Happening {
    /// Its process was killed; the machine went on.
    Killed,
    /// The power went.
    PowerCut,
    /// It was told to stop.
    Stopping,
    /// It ended after it was told to stop, and said that all is well.
    Stopped,
    /// It ended on its own.
    Ended,
    /// A process was started.
    Started,
    /// Its disks begin to fail or to fill.
    DisksFail,
    /// Its disks are as new for the next process that starts; the running one may have given up on them.
    DisksHeal,
}

/// One event of a history.
#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// An operation began.
    Begin(OpId, Action),
    /// An operation ended.
    End(OpId, Outcome<Answer>),
    /// Something befell the broker.
    World(Happening),
}

/// An event with its time.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// When the client learned of it.
    pub at: Monotonic,
    /// What it is.
    pub what: What,
}

/// The history of one seed. Clones share it.
#[derive(Clone, Default)]
pub struct History(Rc<RefCell<Inner>>);

#[derive(Default)]
struct Inner {
    events: Vec<Event>,
    batches: Batches,
    next_op: u32,
    next_batch: u32,
    checker: Checker,
    violation: Option<Violation>,
    /// Errors and unknown fates, by name.
    tally: BTreeMap<String, u64>,
    /// Prints events as they come.
    is_live: bool,
}

impl History {
    /// Notes that an operation begins.
    pub fn begin(&self, at: Monotonic, action: Action) -> OpId {
        let mut inner = self.0.borrow_mut();
        let op = OpId(inner.next_op);
        inner.next_op += 1;
        inner.note(Event { at, what: What::Begin(op, action) });
        op
    }

    /// Notes how an operation ended.
    pub fn end(&self, at: Monotonic, op: OpId, outcome: Outcome<Answer>) {
        self.0.borrow_mut().note(Event { at, what: What::End(op, outcome) });
    }

    /// Notes what befell the broker.
    pub fn happened(&self, at: Monotonic, happening: Happening) {
        self.0.borrow_mut().note(Event { at, what: What::World(happening) });
    }

    /// How many events there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.borrow().events.len()
    }

    /// Whether nothing was asked yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All events.
    #[must_use]
    pub fn events(&self) -> Ref<'_, [Event]> {
        Ref::map(self.0.borrow(), |inner| inner.events.as_slice())
    }

    /// A history of its own that had these first `events` events; what had not ended then ends at `at` with a lost
    /// connection.
    #[must_use]
    pub fn cut_off(&self, events: usize, at: Monotonic) -> History {
        let inner = self.0.borrow();
        let (next_op, next_batch, batches) = (inner.next_op, inner.next_batch, inner.batches.clone());
        let mut cut = Inner { next_op, next_batch, batches, ..Inner::default() };
        let mut open = BTreeSet::new();
        for event in &inner.events[..events] {
            match &event.what {
                What::Begin(op, _) => drop(open.insert(*op)),
                What::End(op, _) => drop(open.remove(op)),
                What::World(_) => {}
            }
            cut.note(event.clone());
        }
        for op in open {
            cut.note(Event { at, what: What::End(op, Outcome::Unknown(Unknown::Lost)) });
        }
        History(Rc::new(RefCell::new(cut)))
    }

    /// Gives a batch its number; `make` is told which.
    pub fn new_batch(&self, make: impl FnOnce(BatchId) -> BatchSpec) -> Rc<BatchSpec> {
        let mut inner = self.0.borrow_mut();
        let id = BatchId(inner.next_batch);
        inner.next_batch += 1;
        let batch = Rc::new(make(id));
        inner.batches.insert(id, Rc::clone(&batch));
        batch
    }

    /// Every batch so far.
    #[must_use]
    pub fn batches(&self) -> Ref<'_, Batches> {
        Ref::map(self.0.borrow(), |inner| &inner.batches)
    }

    /// The checker's view of the broker, to plan by.
    #[must_use]
    pub fn checker(&self) -> Ref<'_, Checker> {
        Ref::map(self.0.borrow(), |inner| &inner.checker)
    }

    /// Prints every event on standard error as it comes.
    pub fn print(&self) {
        self.0.borrow_mut().is_live = true;
    }

    /// How often operations ended with which error or in which doubt.
    #[must_use]
    pub fn tally(&self) -> BTreeMap<String, u64> {
        self.0.borrow().tally.clone()
    }

    /// Whether something was seen that no correct broker could have done.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.0.borrow().violation.is_some()
    }

    /// What no correct broker could have done, if it was seen.
    #[must_use]
    pub fn violation(&self) -> Option<Violation> {
        self.0.borrow().violation.clone()
    }

    /// Notes a violation that was found elsewhere, unless there is one already.
    pub fn blame(&self, violation: Violation) {
        self.0.borrow_mut().violation.get_or_insert(violation);
    }

    /// Checks what can only be said at the end.
    pub fn finish(&self) {
        let mut inner = self.0.borrow_mut();
        if let (None, Err(violation)) = (&inner.violation, inner.checker.finish()) {
            inner.violation = Some(violation);
        }
    }

    /// How many operations have begun.
    #[must_use]
    pub fn operations(&self) -> u32 {
        self.0.borrow().next_op
    }

    /// The last `count` events that concern `place`, or all events where it is `None`, one per line.
    #[must_use]
    pub fn tell(&self, place: Option<Place>, count: usize) -> String {
        let inner = self.0.borrow();
        let mut ops = BTreeSet::new();
        let mut chosen = Vec::new();
        for event in &inner.events {
            let concerns = match &event.what {
                What::Begin(op, action) => {
                    let concerns = place.is_none() || place == action.place();
                    if concerns {
                        ops.insert(*op);
                    }
                    concerns
                }
                What::End(op, _) => ops.contains(op),
                What::World(_) => true,
            };
            if concerns {
                chosen.push(event);
            }
        }
        let mut text = String::new();
        for event in chosen.iter().skip(chosen.len().saturating_sub(count)) {
            writeln!(text, "  {event}").expect("a string takes everything");
        }
        text
    }
}

impl Inner {
    fn note(&mut self, event: Event) {
        if self.is_live {
            eprintln!("{event}");
        }
        if let What::End(_, outcome) = &event.what
            && let Some(name) = name_of(outcome)
        {
            *self.tally.entry(name).or_insert(0) += 1;
        }
        if self.violation.is_none()
            && let Err(violation) = self.checker.apply(&event)
        {
            self.violation = Some(violation);
        }
        self.events.push(event);
    }
}

/// How an operation that did not succeed is counted.
fn name_of(outcome: &Outcome<Answer>) -> Option<String> {
    match outcome {
        Outcome::Ok(_) => None,
        Outcome::Refused(code) => Some(format!("refused {}", code.name())),
        Outcome::Unknown(Unknown::Code(code)) => Some(format!("unknown {}", code.name())),
        Outcome::NotSent | Outcome::Unknown(_) | Outcome::Garbled(_) => Some(format!("{outcome:?}")),
    }
}

impl Action {
    /// The partition that it is about.
    #[must_use]
    pub fn place(&self) -> Option<Place> {
        match self {
            Action::Produce(place, _)
            | Action::Fetch(place, _)
            | Action::ListOffset(place, _)
            | Action::ReadBack(place)
            | Action::DeleteRecords(place, _)
            | Action::Commit(_, place, _)
            | Action::GetCommitted(_, place) => Some(*place),
            Action::CreateTopic(_)
            | Action::DeleteTopic(_)
            | Action::ListTopics
            | Action::InitProducerId
            | Action::SetConfig(..)
            | Action::GetConfig(..) => None,
        }
    }
}

impl std::fmt::Display for Event {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let micros = self.at.0 / 1000;
        write!(f, "{:>6}.{:06} ", micros / 1_000_000, micros % 1_000_000)?;
        match &self.what {
            What::World(happening) => write!(f, "---- {happening:?}"),
            What::Begin(op, Action::Produce(place, batch)) => {
                let BatchSpec { id, producer, codec, records } = &**batch;
                write!(f, "{:>5} > produce {place} batch {} of {} ", op.0, id.0, records.len())?;
                write!(f, "{codec:?}")?;
                match producer {
                    Some(it) => write!(f, " id {} sequence {}", it.producer_id, it.sequence),
                    None => Ok(()),
                }
            }
            What::Begin(op, action) => write!(f, "{:>5} > {action:?}", op.0),
            What::End(op, Outcome::Ok(Answer::Records(seen))) => {
                let SeenRecords { high_watermark, log_start, records, .. } = seen;
                write!(f, "{:>5} < {log_start}..{high_watermark}: {} records", op.0, records.len())?;
                match (records.first(), records.last()) {
                    (Some(first), Some(last)) => write!(f, " {}..={}", first.offset, last.offset),
                    _ => Ok(()),
                }
            }
            What::End(op, outcome) => write!(f, "{:>5} < {outcome:?}", op.0),
        }
    }
}
