//! Histories made by hand: for every invariant one that breaks it, and beside it the nearest one that does not.

mod places;
mod registers;

use std::rc::Rc;

use ottla::errors::ErrorCode;
use ottla::protocol::compression::Codec;
use ottla::time::Monotonic;
use ottla_wire::Uuid;

use super::{Checker, Invariant, Verdict};
use crate::client::{NewTopic, Outcome, SeenPartition, SeenTopic, Unknown};
use crate::history::{Action, Answer, Event, Happening, OpId, Place, SeenRecords, What};
use crate::records::{BatchId, BatchSpec, RecordId, RecordSpec, SeenRecord, Sequenced, Sighting};

pub(super) const LOST: Outcome<Answer> = Outcome::Unknown(Unknown::Lost);

/// A history in the making, judged as it grows.
pub(super) struct Tale {
    checker: Checker,
    verdict: Verdict,
    next: u32,
}

impl Tale {
    pub fn new() -> Tale {
        Tale { checker: Checker::default(), verdict: Ok(()), next: 0 }
    }

    /// A tale with a topic of one partition.
    pub fn with_topic(configs: &[(&str, &str)]) -> (Tale, Place) {
        let mut tale = Tale::new();
        let place = tale.create(1, "t", configs);
        (tale, place)
    }

    pub fn create(&mut self, id: u64, name: &str, configs: &[(&str, &str)]) -> Place {
        let place = Place { topic: uuid(id), partition: 0 };
        self.done(Action::CreateTopic(new_topic(name, configs)), Answer::Created(place.topic));
        place
    }

    fn note(&mut self, what: What) {
        if self.verdict.is_ok() {
            self.verdict = self.checker.apply(&Event { at: Monotonic::ZERO, what });
        }
    }

    pub fn begin(&mut self, action: Action) -> OpId {
        self.next += 1;
        self.note(What::Begin(OpId(self.next), action));
        OpId(self.next)
    }

    pub fn end(&mut self, op: OpId, outcome: Outcome<Answer>) {
        self.note(What::End(op, outcome));
    }

    pub fn run(&mut self, action: Action, outcome: Outcome<Answer>) {
        let op = self.begin(action);
        self.end(op, outcome);
    }

    pub fn done(&mut self, action: Action, answer: Answer) {
        self.run(action, Outcome::Ok(answer));
    }

    pub fn refused(&mut self, action: Action, code: ErrorCode) {
        self.run(action, Outcome::Refused(code));
    }

    pub fn world(&mut self, happening: Happening) {
        self.note(What::World(happening));
    }

    pub fn crash(&mut self) {
        self.world(Happening::PowerCut);
        self.world(Happening::Started);
    }

    pub fn ack(&mut self, place: Place, batch: &Rc<BatchSpec>, base: i64) {
        self.done(Action::Produce(place, Rc::clone(batch)), Answer::Appended(base));
    }

    /// A read from `from` of a log that reaches from 0 to `end`.
    pub fn read(&mut self, place: Place, from: i64, end: i64, records: Vec<SeenRecord>) {
        let seen = SeenRecords { high_watermark: end, records, ..SeenRecords::default() };
        self.done(Action::Fetch(place, from), Answer::Records(seen));
    }

    pub fn holds(self) {
        self.verdict.expect("a correct broker could do this");
        self.checker.finish().expect("a correct broker could end so");
    }

    pub fn breaks(self, invariant: Invariant) {
        let verdict = self.verdict.and_then(|()| self.checker.finish());
        let violation = verdict.expect_err("no correct broker could do this");
        assert_eq!(violation.invariant, invariant, "{violation}");
    }
}

pub(super) fn uuid(number: u64) -> Uuid {
    let mut bytes = [0; 16];
    bytes[8..].copy_from_slice(&number.to_be_bytes());
    Uuid(bytes)
}

pub(super) fn new_topic(name: &str, configs: &[(&str, &str)]) -> NewTopic {
    let configs = configs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    NewTopic { name: name.to_owned(), partitions: 1, configs }
}

pub(super) fn listed(name: &str, id: u64) -> SeenTopic {
    let partitions = vec![SeenPartition { index: 0, has_leader: true, leader_epoch: 0 }];
    SeenTopic { name: name.to_owned(), id: uuid(id), partitions }
}

/// A plain batch of `count` records with the keys 0, 1, 2, … and the times 100, 101, 102, ….
pub(super) fn plain(id: u32, count: u32) -> Rc<BatchSpec> {
    let record =
        |key: u32| RecordSpec { key: Some(key), value_bytes: Some(10), timestamp: 100 + i64::from(key) };
    let records = (0..count).map(record).collect();
    Rc::new(BatchSpec { id: BatchId(id), producer: None, codec: Codec::None, records })
}

/// A batch of producer 7 from a sequence number on.
pub(super) fn sequenced(id: u32, count: u32, sequence: i32) -> Rc<BatchSpec> {
    let producer = Some(Sequenced { producer_id: 7, epoch: 0, sequence });
    Rc::new(BatchSpec { producer, ..(*plain(id, count)).clone() })
}

/// All records of a batch at its base offset.
pub(super) fn at(base: i64, batch: &BatchSpec) -> Vec<SeenRecord> {
    let count = u32::try_from(batch.records.len()).expect("few");
    let record = |index: u32| SeenRecord {
        offset: base + i64::from(index),
        sighting: Sighting::Known(RecordId { batch: batch.id, index }),
    };
    (0..count).map(record).collect()
}
