//! Whoever plays a workload's script: a seat whose operations must succeed, because nothing hinders the broker.

use std::collections::BTreeMap;
use std::rc::Rc;

use ottla::protocol::compression::Codec;
use ottla_shards::host::wall_ms;

use crate::client::{Acks, CommittedOffset, NewTopic, Outcome};
use crate::history::Place;
use crate::random::Random;
use crate::records::{BatchSpec, RecordSpec, Sequenced};
use crate::workload::{Desk, Seat, Topic, place};

/// Keys that records have in turn; the first of them is none where the topic allows that.
const KEYS: usize = 7;

/// An actor of a script.
pub struct Hand {
    /// For everything that is not here.
    pub seat: Seat,
    producer: Option<Identity>,
}

/// An idempotent producer's id, epoch and sequence numbers.
struct Identity {
    id: i64,
    epoch: i16,
    next: BTreeMap<Place, i32>,
}

/// What a batch consists of.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Records of one batch.
    pub records: usize,
    /// Bytes of a value.
    pub value_bytes: u32,
    /// How it is compressed.
    pub codec: Codec,
    /// How many milliseconds ago its records were made.
    pub age_ms: i64,
    /// Every record has a key, as compaction wants it, and some are tombstones.
    pub is_keyed: bool,
}

impl Load {
    /// Fresh records without compression.
    pub const fn of(records: usize, value_bytes: u32) -> Load {
        Load { records, value_bytes, codec: Codec::None, age_ms: 0, is_keyed: false }
    }
}

impl Hand {
    pub(super) fn new(desk: &Rc<Desk>, random: &Random, name: &str) -> Hand {
        Hand { seat: Seat::new(desk, random, name), producer: None }
    }

    /// Another actor on the same shard.
    pub fn another(&self, name: &str) -> Hand {
        Hand { seat: Seat::new(&self.seat.desk, &self.seat.random, name), producer: None }
    }

    /// Makes a topic.
    pub async fn topic(&mut self, name: &str, partitions: i32, configs: &[(&str, &str)]) -> Rc<Topic> {
        let configs = configs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let new = NewTopic { name: name.to_owned(), partitions, configs };
        let id = must("create a topic", self.seat.create(&new).await);
        Rc::new(Topic { id, new, is_permanent: true, batch_bytes_max: 0, in_blocks: false })
    }

    /// Deletes a topic.
    pub async fn delete(&mut self, topic: &Topic) {
        must("delete a topic", self.seat.delete(topic.id).await);
    }

    /// Takes a producer id; what is produced from now on has sequence numbers.
    pub async fn become_idempotent(&mut self) {
        let (id, epoch) = must("take a producer id", self.seat.producer_id().await);
        self.producer = Some(Identity { id, epoch, next: BTreeMap::new() });
    }

    /// Produces one batch with acks=all and waits for it.
    pub async fn produce(&mut self, topic: &Topic, partition: i32, load: Load) {
        self.pipeline(topic, partition, &[load]).await;
    }

    /// Produces batches that are in flight together, and waits for all.
    pub async fn pipeline(&mut self, topic: &Topic, partition: i32, loads: &[Load]) {
        let batches: Vec<Rc<BatchSpec>> =
            loads.iter().map(|load| self.batch(place(topic, partition), *load)).collect();
        for outcome in self.seat.produce((topic, partition), Acks::All, &batches).await {
            must("produce", outcome);
        }
    }

    /// Sends batches with acks=0: nobody will say what became of them.
    pub async fn unanswered(&mut self, topic: &Topic, partition: i32, loads: &[Load]) {
        let batches: Vec<Rc<BatchSpec>> =
            loads.iter().map(|load| self.batch(place(topic, partition), *load)).collect();
        self.seat.produce((topic, partition), Acks::None, &batches).await;
    }

    fn batch(&mut self, place: Place, load: Load) -> Rc<BatchSpec> {
        let Load { records, value_bytes, codec, age_ms, is_keyed } = load;
        let now = wall_ms().0 - age_ms;
        let record = |index: usize| RecordSpec {
            key: u32::try_from(index % KEYS).ok().filter(|key| *key > 0 || is_keyed),
            value_bytes: (!is_keyed || index % KEYS != 2).then_some(value_bytes),
            timestamp: now,
        };
        let records: Vec<RecordSpec> = (0..records).map(record).collect();
        let count = i32::try_from(records.len()).expect("few");
        let producer = self.producer.as_mut().map(|it| {
            let next = it.next.entry(place).or_insert(0);
            let sequence = *next;
            *next += count;
            Sequenced { producer_id: it.id, epoch: it.epoch, sequence }
        });
        self.seat.desk.history.new_batch(|id| BatchSpec { id, producer, codec, records })
    }

    /// Commits an offset, once the group's coordinator is there.
    pub async fn commit(&mut self, group: &str, topic: &Topic, partition: i32, offset: i64) {
        let commit = CommittedOffset { offset, metadata: format!("{group} at {offset}") };
        for _ in 0..200 {
            if self.seat.commit(group, (topic, partition), commit.clone()).await.ok().is_some() {
                return;
            }
            self.seat.find_coordinator(group).await;
            self.seat.pause(20).await;
        }
        panic!("the coordinator of {group} takes no commit");
    }

    /// Sets a configuration key.
    pub async fn configure(&mut self, topic: &Topic, key: &str, value: &str) {
        must("set a configuration", self.seat.set_config(topic, key, value).await);
    }

    /// Deletes the records before an offset.
    pub async fn delete_records(&mut self, topic: &Topic, partition: i32, before: i64) {
        must("delete records", self.seat.delete_records((topic, partition), before).await);
    }
}

fn must<T: std::fmt::Debug>(what: &str, outcome: Outcome<T>) -> T {
    match outcome {
        Outcome::Ok(value) => value,
        other => panic!("the broker did not {what}: {other:?}"),
    }
}
