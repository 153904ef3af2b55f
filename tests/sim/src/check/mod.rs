//! The judge: what a correct broker could not have answered.
//!
//! A [`Checker`] is fed the events of a history one by one and keeps the least that it must know: where batches lie,
//! how far logs reach for sure, which topics exist for sure, what registers (committed offsets, configurations) may
//! hold. It never guesses: what is unknown may have happened or not, at any time until the broker's process ended.
//! It belongs to one history and reads no clock. What must hold: no history of a correct broker is refused, and every
//! anomaly of [`Invariant`] is found in a history that has it (the tests make one for each).

mod answers;
mod partition;
mod register;
mod topics;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use ottla::errors::ErrorCode;
use ottla_wire::Uuid;

use crate::client::{CommittedOffset, Outcome};
use crate::history::{Action, Answer, Event, Happening, OpId, Place, What};

pub use partition::Partition;
pub use topics::{Rules, Topics};

use partition::View;
use register::Register;
use topics::TopicsView;

/// What a correct broker never does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Invariant {
    /// A log ends before records that were acknowledged or seen: they are lost.
    EndWentBack,
    /// A batch that was sent to be stored once lies at two places.
    Duplicate,
    /// Records lie in another order than they were sent in, one after the other's acknowledgement.
    Reordered,
    /// A record that nobody sent, or that was sent to another partition.
    Phantom,
    /// A record differs from what was sent, or bytes are no batch.
    Altered,
    /// Offsets are missing, or come in the wrong order.
    Gap,
    /// Two batches at the same offset.
    OffsetReused,
    /// A batch that was refused, or never sent, lies in the log.
    RefusedButStored,
    /// A batch that a crash took is back.
    CameBack,
    /// A batch of an idempotent producer lies in the log and the one before it does not.
    SequenceGap,
    /// An idempotent producer was refused although everything before was acknowledged.
    SequenceRefused,
    /// A reader saw records above the high watermark.
    AboveHighWatermark,
    /// The log starts later than retention and deletion allow.
    StartMoved,
    /// The log starts earlier than it was acknowledged to.
    StartWentBack,
    /// A readable offset was refused.
    Unreadable,
    /// A search by time or for the ends of a log found the wrong offset.
    WrongOffset,
    /// A committed offset is not the last one, nor one whose fate is unknown.
    WrongCommit,
    /// A configuration is not the last one that was set, nor one whose fate is unknown.
    WrongConfig,
    /// A producer id was given twice.
    ProducerIdReused,
    /// A topic that was acknowledged is not there.
    TopicLost,
    /// A topic that was deleted, or never made, is there.
    TopicPhantom,
    /// Compaction took a record that no later one of its key replaces.
    CompactedAway,
    /// The broker sent what is no reply.
    Garbled,
    /// An error that nothing explains.
    UnexpectedError,
    /// The broker did not start, ended on its own, or did not answer within its time although nothing hinders it.
    Stuck,
}

/// An invariant that a history breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which one.
    pub invariant: Invariant,
    /// The partition, where it is about one.
    pub place: Option<Place>,
    /// The operation whose answer shows it.
    pub op: Option<OpId>,
    /// Offsets, batches, names.
    pub detail: String,
}

impl Violation {
    /// A violation that is about no partition.
    #[must_use]
    pub fn new(invariant: Invariant, detail: impl Into<String>) -> Violation {
        Violation { invariant, place: None, op: None, detail: detail.into() }
    }

    fn at(self, place: Place) -> Violation {
        Violation { place: Some(place), ..self }
    }
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.invariant)?;
        if let Some(place) = self.place {
            write!(f, " in {place}")?;
        }
        if let Some(op) = self.op {
            write!(f, " (operation {})", op.0)?;
        }
        write!(f, ": {}", self.detail)
    }
}

/// What a check says.
pub type Verdict = Result<(), Violation>;

/// Fails with a violation unless `holds`.
fn ensure(holds: bool, invariant: Invariant, detail: impl FnOnce() -> String) -> Verdict {
    if holds { Ok(()) } else { Err(Violation::new(invariant, detail())) }
}

/// An operation that has begun, with what was certain then.
struct Open {
    action: Action,
    /// The number of the event that began it.
    since: u64,
    /// How often the broker's process had ended.
    boot: u32,
    /// What was certain of the partition.
    view: Option<View>,
    /// What was certain of the topics.
    topics: Option<TopicsView>,
    /// Whether the topic existed for sure.
    existed: bool,
}

/// What explains errors at this moment.
#[derive(Clone, Copy, Debug, Default)]
struct Excuses {
    /// The disks fail, or failed since the process started.
    disks: bool,
    /// The process has been told to stop.
    stopping: bool,
}

/// The judge of one history.
#[derive(Default)]
pub struct Checker {
    events: u64,
    /// Numbers of the events at which a process ended.
    boot_ends: Vec<u64>,
    open: BTreeMap<OpId, Open>,
    topics: Topics,
    partitions: BTreeMap<Place, Partition>,
    committed: BTreeMap<(String, Place), Register<CommittedOffset>>,
    configs: BTreeMap<(Uuid, String), Register<String>>,
    producer_ids: BTreeSet<i64>,
    /// Topics whose `delete.retention.ms` was changed.
    tombstones_go: BTreeSet<Uuid>,
    excuses: Excuses,
}

impl Checker {
    /// Takes the next event.
    ///
    /// # Errors
    /// The invariant that it shows to be broken.
    pub fn apply(&mut self, event: &Event) -> Verdict {
        self.events += 1;
        match &event.what {
            What::Begin(op, action) => {
                self.begin(*op, action);
                Ok(())
            }
            What::End(op, outcome) => {
                let open = self.open.remove(op).expect("an operation ends once, after its beginning");
                self.end(*op, &open, outcome).map_err(|violation| Violation {
                    op: Some(*op),
                    place: violation.place.or(open.action.place()),
                    ..violation
                })
            }
            What::World(happening) => {
                self.happened(*happening);
                Ok(())
            }
        }
    }

    /// Checks what can only be said when everything has been read.
    ///
    /// # Errors
    /// The invariant that is broken.
    pub fn finish(&self) -> Verdict {
        for (place, partition) in &self.partitions {
            partition.finish().map_err(|violation| violation.at(*place))?;
        }
        Ok(())
    }

    /// What is known of the topics.
    #[must_use]
    pub fn topics(&self) -> &Topics {
        &self.topics
    }

    /// What is known of a partition.
    #[must_use]
    pub fn partition(&self, place: Place) -> Option<&Partition> {
        self.partitions.get(&place)
    }

    /// Tells that bytes of a partition were destroyed on disk: its records may be missing from now on, and a reader
    /// may be refused, but what it gets is right.
    pub fn damaged(&mut self, place: Place) {
        self.partition_of(place).damaged = true;
    }

    fn partition_of(&mut self, place: Place) -> &mut Partition {
        let (rules, tombstones_go) =
            (self.topics.rules(place.topic), self.tombstones_go.contains(&place.topic));
        let partition = self.partitions.entry(place).or_insert_with(|| Partition::new(rules));
        partition.tombstones_go |= tombstones_go;
        partition
    }

    fn begin(&mut self, op: OpId, action: &Action) {
        let since = self.events;
        let existed = action.topic().is_some_and(|topic| self.topics.surely_exists(topic));
        let mut open =
            Open { action: action.clone(), since, boot: self.boot(), view: None, topics: None, existed };
        match action {
            Action::CreateTopic(topic) => self.topics.begin_create(op, topic),
            Action::DeleteTopic(id) => self.topics.begin_delete(op, *id),
            Action::Commit(group, place, commit) => {
                let register = self.committed.entry((group.clone(), *place)).or_default();
                register.begin(op, since, commit.clone());
            }
            Action::SetConfig(topic, key, value) => {
                let register = self.configs.entry((*topic, key.clone())).or_default();
                register.begin(op, since, value.clone());
                if key == "delete.retention.ms" {
                    let of_topic = self.partitions.iter_mut().filter(|(place, _)| place.topic == *topic);
                    of_topic.for_each(|(_, partition)| partition.tombstones_go = true);
                    self.tombstones_go.insert(*topic);
                }
            }
            Action::Produce(place, batch) => {
                let boot = self.boot();
                let partition = self.partition_of(*place);
                partition.begin_append(batch, boot);
                open.view = Some(partition.view());
            }
            Action::DeleteRecords(place, before) => {
                let partition = self.partition_of(*place);
                partition.begin_delete(*before);
                open.view = Some(partition.view());
            }
            Action::Fetch(place, _) | Action::ListOffset(place, _) | Action::ReadBack(place) => {
                open.view = Some(self.partition_of(*place).view());
            }
            Action::ListTopics => {}
            Action::InitProducerId | Action::GetConfig(..) | Action::GetCommitted(..) => {}
        }
        if matches!(action, Action::CreateTopic(_) | Action::ListTopics) {
            open.topics = Some(self.topics.view());
        }
        self.open.insert(op, open);
    }

    fn end(&mut self, op: OpId, open: &Open, outcome: &Outcome<Answer>) -> Verdict {
        if let Outcome::Garbled(text) = outcome {
            return Err(Violation::new(Invariant::Garbled, text.clone()));
        }
        self.check_error(open, outcome)?;
        match &open.action {
            Action::CreateTopic(topic) => {
                let view = open.topics.as_ref().expect("taken at the beginning");
                let created = self.topics.end_create(op, view, outcome)?;
                for (key, value) in created.iter().flat_map(|_| &topic.configs) {
                    let id = created.expect("there is one per round");
                    let register = self.configs.entry((id, key.clone())).or_default();
                    register.begin(op, open.since, value.clone());
                    register.end(op, self.events, outcome);
                }
                Ok(())
            }
            Action::DeleteTopic(id) => self.topics.end_delete(op, *id, open.existed, outcome),
            Action::ListTopics => match outcome {
                Outcome::Ok(Answer::Topics(seen)) => {
                    self.topics.listed(open.topics.as_ref().expect("taken at the beginning"), seen)
                }
                _ => Ok(()),
            },
            Action::Commit(group, place, _) => {
                let register =
                    self.committed.get_mut(&(group.clone(), *place)).expect("made at the beginning");
                register.end(op, self.events, outcome);
                Ok(())
            }
            Action::SetConfig(topic, key, _) => {
                let register = self.configs.get_mut(&(*topic, key.clone())).expect("made at the beginning");
                register.end(op, self.events, outcome);
                Ok(())
            }
            Action::GetCommitted(group, place) => self.committed_is(group, *place, open, outcome),
            Action::GetConfig(topic, key) => self.config_is(*topic, key, open, outcome),
            Action::InitProducerId => match outcome {
                Outcome::Ok(Answer::ProducerId(id)) => {
                    let is_new = self.producer_ids.insert(*id);
                    ensure(is_new, Invariant::ProducerIdReused, || format!("producer id {id}"))
                }
                _ => Ok(()),
            },
            Action::Produce(place, _)
            | Action::Fetch(place, _)
            | Action::ListOffset(place, _)
            | Action::ReadBack(place)
            | Action::DeleteRecords(place, _) => {
                let view = open.view.expect("taken at the beginning");
                let partition = self.partitions.get_mut(place).expect("made at the beginning");
                partition.answered(view, &open.action, outcome)
            }
        }
    }

    fn committed_is(&mut self, group: &str, place: Place, open: &Open, outcome: &Outcome<Answer>) -> Verdict {
        let Outcome::Ok(Answer::Committed(value)) = outcome else { return Ok(()) };
        let register = self.committed.entry((group.to_owned(), place)).or_default();
        let seen = register.read(open.since, &self.boot_ends, value.as_ref());
        ensure(seen, Invariant::WrongCommit, || {
            format!(
                "group {group} has {value:?}; it may have {}",
                register.candidates(open.since, &self.boot_ends)
            )
        })
    }

    fn config_is(&mut self, topic: Uuid, key: &str, open: &Open, outcome: &Outcome<Answer>) -> Verdict {
        let Outcome::Ok(Answer::Config(value)) = outcome else { return Ok(()) };
        // A key that was never set has the broker's default, which is not known here.
        let Some(register) = self.configs.get_mut(&(topic, key.to_owned())) else { return Ok(()) };
        let seen = register.read(open.since, &self.boot_ends, Some(value));
        ensure(seen || !register.is_certain(open.since), Invariant::WrongConfig, || {
            format!("{key} is {value:?}; it may be {}", register.candidates(open.since, &self.boot_ends))
        })
    }

    fn boot(&self) -> u32 {
        u32::try_from(self.boot_ends.len()).expect("a broker ends few times")
    }

    fn happened(&mut self, happening: Happening) {
        match happening {
            Happening::Killed | Happening::PowerCut | Happening::Ended => self.ended(true),
            Happening::Stopped => self.ended(false),
            Happening::Stopping => self.excuses.stopping = true,
            // Whatever hindered the process before has ended with it, but for disks that still fail.
            Happening::Started => self.excuses.stopping = false,
            Happening::DisksFail => self.excuses.disks = true,
            Happening::DisksHeal => self.excuses.disks = false,
        }
    }

    fn ended(&mut self, by_crash: bool) {
        self.boot_ends.push(self.events);
        for partition in self.partitions.values_mut() {
            if by_crash { partition.crashed() } else { partition.closed() }
        }
    }

    /// Whether an error is one that the moment explains.
    fn check_error(&self, open: &Open, outcome: &Outcome<Answer>) -> Verdict {
        use crate::client::Unknown;
        let code = match outcome {
            Outcome::Refused(code) | Outcome::Unknown(Unknown::Code(code)) => *code,
            Outcome::Ok(_) | Outcome::NotSent | Outcome::Unknown(_) | Outcome::Garbled(_) => return Ok(()),
        };
        let crossed_boots = open.boot != self.boot();
        // The broker may still be about to make the partitions of one whose creation nobody has heard of.
        let is_sure = |topic| self.topics.surely_exists(topic) && self.topics.is_acknowledged(topic);
        let topic_is_sure = open.existed && open.action.topic().is_some_and(is_sure);
        match code {
            ErrorCode::UnknownTopicOrPartition | ErrorCode::UnknownTopicId => {
                // A partition that could not be opened is not there until the next start.
                let excused = self.excuses.disks || self.excuses.stopping || crossed_boots || !topic_is_sure;
                ensure(excused, Invariant::TopicLost, || format!("{code} for a topic that exists"))
            }
            ErrorCode::KafkaStorageError
            | ErrorCode::NotLeaderOrFollower
            | ErrorCode::LeaderNotAvailable
            | ErrorCode::ReplicaNotAvailable
            | ErrorCode::NotController
            | ErrorCode::RequestTimedOut
            | ErrorCode::BrokerNotAvailable
            | ErrorCode::UnknownServerError => {
                let is_at_fault = topic_is_sure || open.action.topic().is_none();
                let excused = self.excuses.disks || self.excuses.stopping || crossed_boots || !is_at_fault;
                ensure(excused, Invariant::UnexpectedError, || format!("{code} with nothing to explain it"))
            }
            // The coordinator may be loading at any time; that it ends is a matter of patience.
            ErrorCode::CoordinatorLoadInProgress
            | ErrorCode::CoordinatorNotAvailable
            | ErrorCode::NotCoordinator => Ok(()),
            // Judged by the partition and by the topics.
            ErrorCode::OffsetOutOfRange
            | ErrorCode::OutOfOrderSequenceNumber
            | ErrorCode::TopicAlreadyExists => Ok(()),
            ErrorCode::PolicyViolation => {
                let place = match open.action {
                    Action::DeleteRecords(place, _) => Some(place),
                    _ => None,
                };
                let is_compacted = place.is_some_and(|place| !self.topics.rules(place.topic).deletable);
                ensure(is_compacted, Invariant::UnexpectedError, || format!("{code} without a policy"))
            }
            // The clock of the client is not that of the broker.
            ErrorCode::InvalidTimestamp => Ok(()),
            ErrorCode::CorruptMessage => {
                let place = open.action.place();
                let damaged =
                    place.and_then(|place| self.partitions.get(&place)).is_some_and(|it| it.damaged);
                ensure(damaged, Invariant::Unreadable, || "CORRUPT_MESSAGE for whole bytes".to_owned())
            }
            code => Err(Violation::new(Invariant::UnexpectedError, code.name())),
        }
    }
}

impl Action {
    /// The topic that it is about, by the id that the client knows.
    fn topic(&self) -> Option<Uuid> {
        match self {
            Action::DeleteTopic(topic) | Action::SetConfig(topic, ..) | Action::GetConfig(topic, _) => {
                Some(*topic)
            }
            Action::CreateTopic(_) | Action::ListTopics | Action::InitProducerId => None,
            Action::Produce(..)
            | Action::Fetch(..)
            | Action::ListOffset(..)
            | Action::ReadBack(_)
            | Action::DeleteRecords(..)
            | Action::Commit(..)
            | Action::GetCommitted(..) => self.place().map(|place| place.topic),
        }
    }
}
