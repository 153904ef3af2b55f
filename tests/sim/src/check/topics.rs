//! Which topics exist: for sure, perhaps, or not any more.
//!
//! A name may live several times; each life has an id of its own. An id is learned from the reply to the creation or,
//! where that is lost, from a list of topics. What must hold: a creation that was acknowledged shows in every list
//! that begins after it, until a deletion begins; a deletion that was acknowledged, or was seen, is for good.

use std::collections::{BTreeMap, BTreeSet};

use ottla::errors::ErrorCode;
use ottla_wire::Uuid;

use super::{Invariant, Verdict, Violation, ensure};
use crate::client::{NewTopic, Outcome, SeenTopic};
use crate::history::{Answer, OpId};

/// What a topic's configuration means for its records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// An acknowledgement means "on disk".
    pub durable: bool,
    /// No record goes from the middle of the log: the topic is not compacted.
    pub dense: bool,
    /// Records may go by age or size.
    pub expires: bool,
    /// DeleteRecords is served: a log that is only compacted keeps the last value of each key.
    pub deletable: bool,
    /// Tombstones may go soon.
    pub tombstones_go: bool,
}

impl Default for Rules {
    fn default() -> Rules {
        Rules { durable: true, dense: true, expires: false, deletable: true, tombstones_go: false }
    }
}

impl Rules {
    /// The rules of a topic with these settings, over a broker's defaults of Kafka.
    #[must_use]
    pub fn of(configs: &[(String, String)]) -> Rules {
        let mut rules = Rules::default();
        for (key, value) in configs {
            match key.as_str() {
                "flush.messages" => rules.durable = value == "1",
                "cleanup.policy" => {
                    (rules.dense, rules.deletable) = (!value.contains("compact"), value != "compact");
                }
                "delete.retention.ms" => rules.tombstones_go = true,
                "retention.ms" | "retention.bytes" => rules.expires |= value != "-1",
                _ => {}
            }
        }
        rules
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Creation {
    /// Begun, or of unknown fate: the topic may be there or may come.
    Perhaps,
    /// It is there, or was.
    Done,
}

/// One life of a name.
#[derive(Debug)]
struct Life {
    topic: NewTopic,
    op: OpId,
    id: Option<Uuid>,
    creation: Creation,
    /// The reply to its creation has come, so that its id is its own.
    is_acknowledged: bool,
    /// Deletions that have begun and may have taken effect.
    deletions: BTreeSet<OpId>,
    /// It does not exist any more, for sure.
    is_gone: bool,
}

impl Life {
    fn surely_exists(&self) -> bool {
        self.creation == Creation::Done && self.deletions.is_empty() && !self.is_gone
    }
}

/// What was certain of the topics when an operation began.
#[derive(Clone, Debug)]
pub(super) struct TopicsView {
    surely: BTreeSet<OpId>,
    gone: BTreeSet<OpId>,
    known: BTreeSet<OpId>,
}

/// Every topic that was ever asked for.
#[derive(Debug, Default)]
pub struct Topics {
    lives: BTreeMap<OpId, Life>,
    ids: BTreeMap<Uuid, OpId>,
}

impl Topics {
    /// The rules of the topic of this id.
    #[must_use]
    pub fn rules(&self, id: Uuid) -> Rules {
        self.life(id).map_or_else(Rules::default, |life| Rules::of(&life.topic.configs))
    }

    /// What the topic of this id was made as.
    #[must_use]
    pub fn made_as(&self, id: Uuid) -> Option<&NewTopic> {
        self.life(id).map(|life| &life.topic)
    }

    /// Whether the reply to the topic's creation has come.
    #[must_use]
    pub fn is_acknowledged(&self, id: Uuid) -> bool {
        self.life(id).is_some_and(|life| life.is_acknowledged)
    }

    /// Whether the topic exists, whatever is still under way.
    #[must_use]
    pub fn surely_exists(&self, id: Uuid) -> bool {
        self.life(id).is_some_and(Life::surely_exists)
    }

    /// Whether the topic may exist.
    #[must_use]
    pub fn may_exist(&self, id: Uuid) -> bool {
        self.life(id).is_some_and(|life| !life.is_gone)
    }

    /// The topics that exist for sure, in the order in which they were asked for.
    pub fn sure(&self) -> impl Iterator<Item = (Uuid, &NewTopic)> {
        self.lives
            .values()
            .filter(|life| life.surely_exists())
            .filter_map(|life| life.id.map(|id| (id, &life.topic)))
    }

    fn life(&self, id: Uuid) -> Option<&Life> {
        self.ids.get(&id).and_then(|op| self.lives.get(op))
    }

    pub(super) fn view(&self) -> TopicsView {
        let ops = |which: &dyn Fn(&Life) -> bool| {
            self.lives.iter().filter(|(_, life)| which(life)).map(|(op, _)| *op).collect()
        };
        TopicsView {
            surely: ops(&Life::surely_exists),
            gone: ops(&|life| life.is_gone),
            known: ops(&|life| life.creation == Creation::Done),
        }
    }

    pub(super) fn begin_create(&mut self, op: OpId, topic: &NewTopic) {
        let life = Life {
            topic: topic.clone(),
            op,
            id: None,
            creation: Creation::Perhaps,
            is_acknowledged: false,
            deletions: BTreeSet::new(),
            is_gone: false,
        };
        self.lives.insert(op, life);
    }

    /// Returns the id of a topic that was made.
    pub(super) fn end_create(
        &mut self,
        op: OpId,
        view: &TopicsView,
        outcome: &Outcome<Answer>,
    ) -> Result<Option<Uuid>, Violation> {
        match outcome {
            Outcome::Ok(Answer::Created(id)) => {
                let name = self.lives[&op].topic.name.clone();
                let twin = self.lives.values().find(|life| {
                    life.op != op
                        && life.topic.name == name
                        && life.surely_exists()
                        && view.surely.contains(&life.op)
                });
                ensure(twin.is_none(), Invariant::TopicPhantom, || format!("{name} was made a second time"))?;
                self.unbind_guess(op, *id);
                self.bind(op, *id)?;
                self.lives.get_mut(&op).expect("begun").is_acknowledged = true;
                Ok(Some(*id))
            }
            Outcome::Refused(code) => {
                let life = self.lives.remove(&op).expect("begun");
                let name = &life.topic.name;
                ensure(life.id.is_none(), Invariant::TopicPhantom, || {
                    format!("{name} was refused and made")
                })?;
                let may_exist = |life: &Life| life.topic.name == *name && !view.gone.contains(&life.op);
                let twin = self.lives.values().any(may_exist);
                ensure(*code != ErrorCode::TopicAlreadyExists || twin, Invariant::TopicPhantom, || {
                    format!("{name} is said to exist")
                })?;
                Ok(None)
            }
            Outcome::NotSent => {
                self.lives.remove(&op);
                Ok(None)
            }
            Outcome::Ok(_) | Outcome::Unknown(_) | Outcome::Garbled(_) => Ok(None),
        }
    }

    pub(super) fn begin_delete(&mut self, op: OpId, id: Uuid) {
        if let Some(life) = self.ids.get(&id).and_then(|op| self.lives.get_mut(op)) {
            life.deletions.insert(op);
        }
    }

    pub(super) fn end_delete(
        &mut self,
        op: OpId,
        id: Uuid,
        existed: bool,
        outcome: &Outcome<Answer>,
    ) -> Verdict {
        let Some(life) = self.ids.get(&id).and_then(|op| self.lives.get_mut(op)) else { return Ok(()) };
        match outcome {
            Outcome::Ok(_) => {
                life.is_gone = true;
                Ok(())
            }
            Outcome::Refused(ErrorCode::UnknownTopicId | ErrorCode::UnknownTopicOrPartition) => {
                let alone = life.deletions.len() == 1;
                life.is_gone = true;
                ensure(!(existed && alone), Invariant::TopicLost, || {
                    format!("{} is not there to be deleted", life.topic.name)
                })
            }
            Outcome::Refused(_) | Outcome::NotSent => {
                life.deletions.remove(&op);
                Ok(())
            }
            Outcome::Unknown(_) | Outcome::Garbled(_) => Ok(()),
        }
    }

    /// Judges a list of all topics that began when `view` was taken.
    pub(super) fn listed(&mut self, view: &TopicsView, seen: &[SeenTopic]) -> Verdict {
        for topic in seen {
            let op = match self.ids.get(&topic.id) {
                Some(op) => *op,
                None => self.recognise(topic)?,
            };
            let life = &self.lives[&op];
            ensure(life.topic.name == topic.name, Invariant::TopicPhantom, || {
                format!("{} has the id of {}", topic.name, life.topic.name)
            })?;
            ensure(!view.gone.contains(&op), Invariant::TopicPhantom, || {
                format!("{} ({}) is there after its deletion", topic.name, topic.id)
            })?;
            let indexes = topic.partitions.iter().map(|partition| partition.index);
            ensure(indexes.eq(0..life.topic.partitions), Invariant::TopicLost, || {
                format!("{} has the partitions {:?}", topic.name, topic.partitions)
            })?;
        }
        let ids: BTreeSet<Uuid> = seen.iter().map(|topic| topic.id).collect();
        for (op, life) in &mut self.lives {
            let Some(id) = life.id else { continue };
            if ids.contains(&id) {
                continue;
            }
            let lost = view.surely.contains(op) && life.surely_exists();
            ensure(!lost, Invariant::TopicLost, || format!("{} ({id}) is not there", life.topic.name))?;
            if view.known.contains(op) && !life.deletions.is_empty() {
                life.is_gone = true;
            }
        }
        Ok(())
    }

    /// Finds the creation of unknown fate that made a topic.
    fn recognise(&mut self, topic: &SeenTopic) -> Result<OpId, Violation> {
        let made = self.lives.values().find(|life| life.id.is_none() && life.topic.name == topic.name);
        let Some(op) = made.map(|life| life.op) else {
            let detail = format!("nobody made {} ({})", topic.name, topic.id);
            return Err(Violation::new(Invariant::TopicPhantom, detail));
        };
        self.bind(op, topic.id)?;
        Ok(op)
    }

    /// An id that was seen in a list may have been taken for that of another creation of the name.
    fn unbind_guess(&mut self, op: OpId, id: Uuid) {
        let Some(guess) = self.ids.get(&id).copied().filter(|guess| *guess != op) else { return };
        let name = self.lives[&op].topic.name.clone();
        let life = self.lives.get_mut(&guess).expect("an id has its life");
        if !life.is_acknowledged && life.topic.name == name {
            life.id = None;
            life.creation = Creation::Perhaps;
            self.ids.remove(&id);
        }
    }

    fn bind(&mut self, op: OpId, id: Uuid) -> Verdict {
        let other = self.ids.insert(id, op);
        ensure(other.is_none_or(|other| other == op), Invariant::TopicPhantom, || {
            format!("two topics with the id {id}")
        })?;
        let life = self.lives.get_mut(&op).expect("only lives are bound");
        let before = life.id.replace(id);
        life.creation = Creation::Done;
        ensure(before.is_none_or(|before| before == id), Invariant::TopicPhantom, || {
            format!("{} is {before:?} and {id}", life.topic.name)
        })
    }
}
