//! A producer: batches of all sizes, in flight together, sent again by the rules of Kafka's own producers.
//!
//! An idempotent one keeps batches whose fate is unknown and sends them again with the same sequence numbers, in
//! order, before anything new; when the broker refuses a batch it takes a new producer id. A plain one gives up, or
//! sends again and accepts that there may be two.

use std::collections::BTreeMap;
use std::rc::Rc;

use ottla::protocol::compression::Codec;
use ottla_shards::host::wall_ms;

use super::Topic;
use super::plan::ProducerPlan;
use super::seat::{Parts, Seat, place};
use crate::client::{Acks, Outcome};
use crate::history::Place;
use crate::records::{BatchSpec, IDENTITY_BYTES, RecordSpec, Sequenced};

/// Bytes that a record takes besides its value, at most.
const RECORD_OVERHEAD_BYTES: u64 = 48;
/// Bytes of the value of a batch's only record with which the batch fills one block of the disk, or two.
const VALUE_BYTES_IN_BLOCKS: [u32; 2] = [4096 - 70, 8192 - 70];
/// Keys are drawn from so many.
const KEYS: u64 = 20;

/// What the producer knows of one partition.
#[derive(Default)]
struct Line {
    next_sequence: i32,
    /// A batch was acknowledged: the broker knows the producer here.
    is_known: bool,
    /// Sent, and of unknown fate.
    unresolved: Vec<Rc<BatchSpec>>,
}

struct Producer {
    plan: ProducerPlan,
    /// Id and epoch, where it is idempotent.
    identity: Option<(i64, i16)>,
    lines: BTreeMap<Place, Line>,
}

/// Produces until the desk is closed.
pub async fn run(mut seat: Seat, plan: ProducerPlan) {
    let mut producer = Producer { plan, identity: None, lines: BTreeMap::new() };
    while !seat.desk.is_stopped() {
        seat.pause(producer.plan.pause_ms_max).await;
        let wants_fleeting = seat.random.per_mille(producer.plan.fleeting_per_mille);
        let Some((topic, partition)) = seat.spot(!wants_fleeting) else { continue };
        if producer.plan.is_idempotent && producer.identity.is_none() {
            producer.identity = seat.producer_id().await.ok();
            producer.lines.clear();
            if producer.identity.is_none() {
                continue;
            }
        }
        producer.round(&mut seat, &topic, partition).await;
    }
}

impl Producer {
    /// Sends what is unresolved, or something new, and takes in what became of it.
    async fn round(&mut self, seat: &mut Seat, topic: &Rc<Topic>, partition: i32) {
        let line = self.lines.entry(place(topic, partition)).or_default();
        let mut batches = std::mem::take(&mut line.unresolved);
        let is_new = batches.is_empty();
        if is_new {
            for _ in 0..seat.random.within(1..self.plan.in_flight_max + 1) {
                batches.push(self.new_batch(seat, topic, partition));
            }
            self.lose_one(seat, (topic, partition), &mut batches);
        } else {
            seat.desk.count("batches sent again");
        }
        let mut requests: Vec<Parts> = batches.into_iter().map(|batch| vec![(partition, batch)]).collect();
        if is_new {
            self.widen(seat, (topic, partition), &mut requests[0]);
        }
        let parts: Parts = requests.iter().flatten().cloned().collect();
        let outcomes = seat.produce_parts(topic, self.plan.acks, requests).await;
        for ((partition, batch), outcome) in parts.into_iter().zip(outcomes) {
            self.take_in(seat, place(topic, partition), batch, outcome);
        }
    }

    /// Often the first of some requests has a batch for another partition, before its own: the others must not pass it
    /// when that one has to wait.
    fn widen(&mut self, seat: &mut Seat, (topic, partition): (&Topic, i32), first: &mut Parts) {
        let others = u64::try_from(topic.new.partitions - 1).expect("a topic has a partition");
        if others == 0 || !seat.random.one_in(3) {
            return;
        }
        let other = i32::try_from(seat.random.within(0..others)).expect("few");
        let other = if other < partition { other } else { other + 1 };
        let line = self.lines.entry(place(topic, other)).or_default();
        if line.unresolved.is_empty() {
            seat.desk.count("requests for two partitions");
            first.insert(0, (other, self.new_batch(seat, topic, other)));
        }
    }

    fn take_in(&mut self, seat: &mut Seat, place: Place, batch: Rc<BatchSpec>, outcome: Outcome<i64>) {
        match outcome {
            Outcome::Ok(_) => {
                seat.desk.count("batches acknowledged");
                self.lines.entry(place).or_default().is_known = true;
            }
            Outcome::Refused(_) | Outcome::Garbled(_) => {
                seat.desk.count("batches refused");
                self.identity = None;
            }
            Outcome::Unknown(_) | Outcome::NotSent => {
                seat.desk.count("batches of unknown fate");
                if self.is_sent_again(seat) {
                    self.lines.entry(place).or_default().unresolved.push(batch);
                }
            }
        }
    }

    /// Now and then a client forgets a batch on its way: the broker has to refuse what follows it.
    fn lose_one(&self, seat: &mut Seat, spot: (&Topic, i32), batches: &mut Vec<Rc<BatchSpec>>) {
        let is_known = self.lines.get(&place(spot.0, spot.1)).is_some_and(|line| line.is_known);
        if self.identity.is_some() && is_known && batches.len() > 1 && seat.random.one_in(100) {
            seat.desk.count("batches forgotten");
            seat.forget(spot, &batches.remove(0));
        }
    }

    fn is_sent_again(&self, seat: &mut Seat) -> bool {
        match self.plan.acks {
            Acks::None => false,
            Acks::Leader | Acks::All => self.plan.is_idempotent || seat.random.one_in(3),
        }
    }

    fn new_batch(&mut self, seat: &mut Seat, topic: &Topic, partition: i32) -> Rc<BatchSpec> {
        let records = self.new_records(seat, topic);
        let count = i32::try_from(records.len()).expect("few");
        let line = self.lines.entry(place(topic, partition)).or_default();
        let producer = self.identity.map(|(producer_id, epoch)| {
            let sequence = line.next_sequence;
            line.next_sequence += count;
            Sequenced { producer_id, epoch, sequence }
        });
        let codec = if topic.in_blocks { Codec::None } else { self.plan.codec };
        seat.desk.history.new_batch(|id| BatchSpec { id, producer, codec, records })
    }

    fn new_records(&self, seat: &mut Seat, topic: &Topic) -> Vec<RecordSpec> {
        let is_compacted =
            topic.new.configs.iter().any(|(key, value)| key == "cleanup.policy" && value.contains("compact"));
        let random = &mut seat.random;
        if topic.in_blocks && !is_compacted {
            let fits = |bytes: &&u32| u64::from(**bytes) < topic.batch_bytes_max;
            let sizes: Vec<u32> = VALUE_BYTES_IN_BLOCKS.iter().filter(fits).copied().collect();
            let value_bytes = Some(*random.pick(&sizes));
            return vec![RecordSpec { key: None, value_bytes, timestamp: wall_ms().0 }];
        }
        let mut room = topic.batch_bytes_max;
        let mut records = Vec::new();
        for _ in 0..random.log_within(1..self.plan.records_max + 1) {
            let value_bytes = random.log_within(u64::from(IDENTITY_BYTES)..self.plan.value_bytes_max + 1);
            let value_bytes = value_bytes.min(topic.batch_bytes_max / 2);
            let needed = value_bytes + RECORD_OVERHEAD_BYTES;
            let Some(rest) = room.checked_sub(needed) else { break };
            room = rest;
            let is_tombstone = is_compacted && random.one_in(8);
            let has_key = is_compacted || random.one_in(2);
            // Mostly in order, now and then late by up to ten minutes.
            let late_ms = if random.one_in(8) { random.log_within(1..600_000) } else { random.within(0..3) };
            records.push(RecordSpec {
                key: has_key.then(|| u32::try_from(random.within(0..KEYS)).expect("few")),
                value_bytes: (!is_tombstone).then(|| u32::try_from(value_bytes).expect("small")),
                timestamp: wall_ms().0 - i64::try_from(late_ms).expect("ten minutes"),
            });
        }
        assert!(!records.is_empty(), "the first record fits: it is half a batch at most");
        records
    }
}
