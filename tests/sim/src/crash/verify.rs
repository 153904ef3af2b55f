//! What is asked of a broker that has recovered: everything that it may not have lost, and then new work.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use ottla_shards::host::sleep;
use ottla_wire::Uuid;

use super::hand::Hand;
use crate::check::{Invariant, Violation};
use crate::client::{Acks, Outcome};
use crate::history::{Action, Answer, History, OpId, Place, What};
use crate::records::{BatchId, BatchSpec};
use crate::workload::{Topic, verify};

/// How often a coordinator that loads is asked again.
const ATTEMPTS: u32 = 500;
/// Unresolved batches of one producer that are sent again together: more than Kafka's producers have in flight.
const RESENT_MAX: usize = 5;

/// Reads every record, commit and configuration, and, with `write`, continues all idempotent producers, appends to
/// each partition, commits and takes a producer id. The history judges.
pub async fn look(mut hand: Hand, write: bool) {
    let (desk, random) = (Rc::clone(&hand.seat.desk), hand.seat.random.clone());
    let before = Known::of(&desk.history);
    verify(&desk, &random, write).await;
    if desk.history.is_broken() {
        return;
    }
    before.read_registers(&mut hand).await;
    if write {
        before.resume_producers(&mut hand).await;
    }
}

/// The batches of a producer for a partition by sequence number, and whether each was acknowledged.
type Line = BTreeMap<i32, (Rc<BatchSpec>, bool)>;

/// What the history tells of what there is to ask for.
#[derive(Default)]
struct Known {
    commits: BTreeSet<(String, Place)>,
    configs: BTreeSet<(Uuid, String)>,
    /// By partition, producer id and epoch.
    producers: BTreeMap<(Place, i64, i16), Line>,
}

impl Known {
    fn of(history: &History) -> Known {
        let mut known = Known::default();
        let mut produced: BTreeMap<OpId, (Place, Rc<BatchSpec>)> = BTreeMap::new();
        let mut acknowledged: BTreeSet<BatchId> = BTreeSet::new();
        for event in history.events().iter() {
            match &event.what {
                What::Begin(_, Action::Commit(group, place, _)) => {
                    known.commits.insert((group.clone(), *place));
                }
                What::Begin(_, Action::SetConfig(topic, key, _)) => {
                    known.configs.insert((*topic, key.clone()));
                }
                What::Begin(op, Action::Produce(place, batch)) => {
                    produced.insert(*op, (*place, Rc::clone(batch)));
                }
                What::End(op, Outcome::Ok(Answer::Appended(_))) => {
                    acknowledged.extend(produced.get(op).map(|(_, batch)| batch.id));
                }
                What::Begin(..) | What::End(..) | What::World(_) => {}
            }
        }
        for (place, batch) in produced.into_values() {
            if let Some(it) = batch.producer {
                let is_acknowledged = acknowledged.contains(&batch.id);
                let line = known.producers.entry((place, it.producer_id, it.epoch)).or_default();
                line.insert(it.sequence, (batch, is_acknowledged));
            }
        }
        known
    }

    async fn read_registers(&self, hand: &mut Hand) {
        for (group, place) in &self.commits {
            let Some(topic) = topic_of(hand, place.topic) else { continue };
            for attempt in 0.. {
                let spot = (&topic, place.partition);
                if hand.seat.committed(group, spot).await.ok().is_some() || hand.seat.desk.history.is_broken()
                {
                    break;
                }
                if attempt == ATTEMPTS {
                    return blame(hand, format!("the offsets of {group} cannot be read"));
                }
                hand.seat.find_coordinator(group).await;
                sleep(Duration::from_millis(20)).await;
            }
        }
        for (id, key) in &self.configs {
            let Some(topic) = topic_of(hand, *id) else { continue };
            if hand.seat.config(&topic, key).await.ok().is_none() {
                return blame(hand, format!("{key} of {} cannot be read", topic.new.name));
            }
        }
    }

    /// Each idempotent producer sends its last acknowledged batch again, which must be known, then what is of unknown
    /// fate, and then one more; then the partition is read.
    async fn resume_producers(&self, hand: &mut Hand) {
        for ((place, ..), line) in &self.producers {
            let Some(topic) = topic_of(hand, place.topic) else { continue };
            let spot = (&topic, place.partition);
            let known = line.values().rposition(|(_, is_acknowledged)| *is_acknowledged);
            let from = known.unwrap_or(0).max(line.len().saturating_sub(RESENT_MAX));
            let mut batches: Vec<Rc<BatchSpec>> =
                line.values().skip(from).map(|(batch, _)| Rc::clone(batch)).collect();
            batches.push(next_of(hand, batches.last().expect("a line has a batch")));
            for batch in batches {
                let outcomes = hand.seat.produce(spot, Acks::All, &[batch]).await;
                match outcomes.into_iter().next().expect("one batch, one outcome") {
                    Outcome::Ok(_) => {}
                    // The history judges whether there is a reason.
                    Outcome::Refused(_) => break,
                    outcome => return blame(hand, format!("a producer resumes and gets {outcome:?}")),
                }
            }
            if hand.seat.read_back(spot).await.ok().is_none() {
                return blame(hand, format!("{place} cannot be read"));
            }
        }
    }
}

/// A batch that follows another.
fn next_of(hand: &Hand, last: &BatchSpec) -> Rc<BatchSpec> {
    let mut producer = last.producer.expect("the line has sequence numbers");
    producer.sequence += i32::try_from(last.records.len()).expect("few");
    let (records, codec) = (last.records[..1].to_vec(), last.codec);
    hand.seat.desk.history.new_batch(|id| BatchSpec { id, producer: Some(producer), codec, records })
}

/// The topic of this id, if it exists for sure.
fn topic_of(hand: &Hand, id: Uuid) -> Option<Topic> {
    let checker = hand.seat.desk.history.checker();
    let topics = checker.topics();
    let new = topics.made_as(id).filter(|_| topics.surely_exists(id))?.clone();
    Some(Topic { id, new, is_permanent: true, batch_bytes_max: 0, in_blocks: false })
}

fn blame(hand: &Hand, detail: String) {
    hand.seat.desk.history.blame(Violation::new(Invariant::Stuck, detail));
}
