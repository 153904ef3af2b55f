//! An actor's place: its connection, its generator, and every operation with its two entries in the history.

use std::cell::Ref;
use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use ottla_shards::host::{now, sleep};
use ottla_wire::Uuid;

use super::{Desk, Topic};
use crate::client::{
    Acks, CommittedOffset, Connection, FetchAsk, FoundOffset, NewTopic, OffsetQuery, Outcome, SeenTopic,
    TopicName,
};
use crate::history::{Action, Answer, OpId, Place, SeenRecords};
use crate::random::Random;
use crate::records::{self, BatchSpec};

/// One actor.
pub struct Seat {
    /// What it shares with the others.
    pub desk: Rc<Desk>,
    /// What it draws from.
    pub random: Random,
    name: String,
    connection: Option<Rc<Connection>>,
}

/// The batches of one request, with their partitions.
pub type Parts = Vec<(i32, Rc<BatchSpec>)>;

/// How much a fetch asks for.
#[derive(Clone, Copy, Debug)]
pub struct Portion {
    /// The most bytes.
    pub bytes_max: i32,
    /// How long the broker may wait for one byte, in milliseconds.
    pub wait_ms: i32,
}

impl Seat {
    /// An actor of this name, which decides what it draws.
    #[must_use]
    pub fn new(desk: &Rc<Desk>, random: &Random, name: &str) -> Seat {
        Seat { desk: Rc::clone(desk), random: random.fork(name), name: name.to_owned(), connection: None }
    }

    /// Sleeps for up to `ms_max` milliseconds.
    pub async fn pause(&mut self, ms_max: u64) {
        let micros = self.random.within(0..ms_max * 1000 + 1);
        sleep(Duration::from_micros(micros)).await;
    }

    /// A connection to the broker, if one can be had now. After a failure it waits a little.
    async fn connection(&mut self) -> Option<Rc<Connection>> {
        if let Some(connection) = self.connection.as_ref().filter(|connection| !connection.is_closed()) {
            return Some(Rc::clone(connection));
        }
        match Connection::open(self.desk.address, &self.name, self.desk.patience).await {
            Ok(connection) => {
                let connection = Rc::new(connection);
                self.connection = Some(Rc::clone(&connection));
                Some(connection)
            }
            Err(_) => {
                self.connection = None;
                self.pause(30).await;
                None
            }
        }
    }

    /// Lets go of the connection, as a client does that has lost its trust in it.
    pub fn hang_up(&mut self) {
        self.connection = None;
    }

    fn begin(&self, action: Action) -> OpId {
        self.desk.history.begin(now(), action)
    }

    fn end<T: Clone>(
        &mut self,
        op: OpId,
        outcome: Outcome<T>,
        answer: impl FnOnce(T) -> Answer,
    ) -> Outcome<T> {
        if outcome.ends_connection() {
            self.hang_up();
        }
        self.desk.history.end(now(), op, outcome.clone().map(answer));
        outcome
    }

    /// Performs one operation on one connection.
    async fn perform<T: Clone, F: Future<Output = Outcome<T>>>(
        &mut self,
        action: Action,
        ask: impl FnOnce(Rc<Connection>) -> F,
        answer: impl FnOnce(T) -> Answer,
    ) -> Outcome<T> {
        let Some(connection) = self.connection().await else { return Outcome::NotSent };
        let op = self.begin(action);
        let outcome = ask(connection).await;
        self.end(op, outcome, answer)
    }

    /// Makes a topic.
    pub async fn create(&mut self, topic: &NewTopic) -> Outcome<Uuid> {
        let action = Action::CreateTopic(topic.clone());
        self.perform(action, async |it| it.create_topic(topic).await, Answer::Created).await
    }

    /// Deletes a topic.
    pub async fn delete(&mut self, id: Uuid) -> Outcome<()> {
        let action = Action::DeleteTopic(id);
        self.perform(action, async |it| it.delete_topic(id).await, |()| Answer::Done).await
    }

    /// Lists the topics.
    pub async fn list(&mut self) -> Outcome<Vec<SeenTopic>> {
        self.perform(Action::ListTopics, async |it| it.topics().await, Answer::Topics).await
    }

    /// Makes the broker ready for groups; nothing of it is judged.
    pub async fn find_coordinator(&mut self, group: &str) -> bool {
        let Some(connection) = self.connection().await else { return false };
        let outcome = connection.find_coordinator(group).await;
        if outcome.ends_connection() {
            self.hang_up();
        }
        outcome.ok().is_some()
    }

    /// Takes a producer id.
    pub async fn producer_id(&mut self) -> Outcome<(i64, i16)> {
        let action = Action::InitProducerId;
        self.perform(action, async |it| it.init_producer_id().await, |(id, _)| Answer::ProducerId(id)).await
    }

    /// Sets a configuration key.
    pub async fn set_config(&mut self, topic: &Topic, key: &str, value: &str) -> Outcome<()> {
        let action = Action::SetConfig(topic.id, key.to_owned(), value.to_owned());
        let name = &topic.new.name;
        self.perform(action, async |it| it.set_config(name, key, value).await, |()| Answer::Done).await
    }

    /// Reads a configuration key.
    pub async fn config(&mut self, topic: &Topic, key: &str) -> Outcome<String> {
        let action = Action::GetConfig(topic.id, key.to_owned());
        let name = &topic.new.name;
        self.perform(action, async |it| it.config(name, key).await, Answer::Config).await
    }

    /// Commits an offset.
    pub async fn commit(&mut self, group: &str, spot: (&Topic, i32), commit: CommittedOffset) -> Outcome<()> {
        let (topic, partition) = spot;
        let action = Action::Commit(group.to_owned(), place(topic, partition), commit.clone());
        let name = topic.new.name.as_str();
        let ask = async |it: Rc<Connection>| it.commit(group, (name, partition), &commit).await;
        self.perform(action, ask, |()| Answer::Done).await
    }

    /// Reads a committed offset.
    pub async fn committed(&mut self, group: &str, spot: (&Topic, i32)) -> Outcome<Option<CommittedOffset>> {
        let (topic, partition) = spot;
        let action = Action::GetCommitted(group.to_owned(), place(topic, partition));
        let name = topic.new.name.as_str();
        let ask = async |it: Rc<Connection>| it.committed(group, (name, partition)).await;
        self.perform(action, ask, Answer::Committed).await
    }

    /// Asks for an offset of a topic whose name means it.
    pub async fn offset(&mut self, spot: (&Topic, i32), query: OffsetQuery) -> Outcome<FoundOffset> {
        let (topic, partition) = spot;
        assert!(topic.is_permanent, "names mean permanent topics");
        let action = Action::ListOffset(place(topic, partition), query);
        let name = &topic.new.name;
        let ask = async |it: Rc<Connection>| it.list_offset(name, partition, query).await;
        self.perform(action, ask, Answer::Offset).await
    }

    /// Deletes records of a topic whose name means it.
    pub async fn delete_records(&mut self, spot: (&Topic, i32), before: i64) -> Outcome<i64> {
        let (topic, partition) = spot;
        assert!(topic.is_permanent, "names mean permanent topics");
        let action = Action::DeleteRecords(place(topic, partition), before);
        let name = &topic.new.name;
        let ask = async |it: Rc<Connection>| it.delete_records(name, partition, before).await;
        self.perform(action, ask, Answer::LowWatermark).await
    }

    /// Reads from an offset on.
    pub async fn fetch(&mut self, spot: (&Topic, i32), from: i64, portion: Portion) -> Outcome<SeenRecords> {
        let (topic, partition) = spot;
        let name = self.name_of(topic);
        let Some(connection) = self.connection().await else { return Outcome::NotSent };
        let op = self.begin(Action::Fetch(place(topic, partition), from));
        let outcome = fetch_on(&connection, &self.desk, (name, partition), from, portion).await;
        self.end(op, outcome, Answer::Records)
    }

    /// Reads a whole log: from its start to the high watermark. Nobody writes meanwhile.
    pub async fn read_back(&mut self, spot: (&Topic, i32)) -> Outcome<SeenRecords> {
        let (topic, partition) = spot;
        let Some(connection) = self.connection().await else { return Outcome::NotSent };
        let op = self.begin(Action::ReadBack(place(topic, partition)));
        let outcome = read_back_on(&connection, &self.desk, topic, partition).await;
        self.end(op, outcome, Answer::Records)
    }

    /// Sends batches to a partition, each in a request of its own, without waiting in between, and returns what
    /// became of each, in their order.
    pub async fn produce(
        &mut self,
        (topic, partition): (&Topic, i32),
        acks: Acks,
        batches: &[Rc<BatchSpec>],
    ) -> Vec<Outcome<i64>> {
        let requests = batches.iter().map(|batch| vec![(partition, Rc::clone(batch))]).collect();
        self.produce_parts(topic, acks, requests).await
    }

    /// Sends requests, each with batches for some partitions, without waiting in between, and returns what became of
    /// each batch, in their order.
    pub async fn produce_parts(
        &mut self,
        topic: &Topic,
        acks: Acks,
        requests: Vec<Parts>,
    ) -> Vec<Outcome<i64>> {
        let name = self.name_of(topic);
        let mut begun = Vec::with_capacity(requests.len());
        let connection = self.connection().await;
        for parts in requests {
            // What follows a batch that was not sent is not sent either: the order is the producer's.
            let Some(connection) = connection.as_ref().filter(|it| !it.is_closed()) else {
                begun.push((parts, None));
                continue;
            };
            let begin = |(partition, batch): &(i32, Rc<BatchSpec>)| {
                self.begin(Action::Produce(place(topic, *partition), Rc::clone(batch)))
            };
            let ops: Vec<OpId> = parts.iter().map(begin).collect();
            let encoded: Vec<_> = parts.iter().map(|(to, batch)| (*to, batch.encode())).collect();
            begun.push((parts, Some((ops, connection.produce(&name, acks, &encoded)))));
        }
        let mut outcomes = Vec::with_capacity(begun.len());
        for (parts, sent) in begun {
            let Some((ops, sent)) = sent else {
                parts.iter().for_each(|_| self.desk.count("batches held back"));
                outcomes.resize(outcomes.len() + parts.len(), Outcome::NotSent);
                continue;
            };
            let partitions: Vec<i32> = parts.iter().map(|(partition, _)| *partition).collect();
            let of_parts = match sent {
                Ok(producing) => producing.base_offsets(&partitions).await,
                Err(error) => vec![error.into(); parts.len()],
            };
            for (op, outcome) in ops.into_iter().zip(of_parts) {
                outcomes.push(self.end(op, outcome, Answer::Appended));
            }
        }
        outcomes
    }

    /// Notes a batch that is never sent, though later ones are.
    pub fn forget(&mut self, (topic, partition): (&Topic, i32), batch: &Rc<BatchSpec>) {
        let op = self.begin(Action::Produce(place(topic, partition), Rc::clone(batch)));
        self.end(op, Outcome::NotSent, Answer::Appended);
    }

    /// A topic that can be deleted is named by its id alone; others by either.
    fn name_of(&mut self, topic: &Topic) -> TopicName {
        if topic.is_permanent && self.random.one_in(3) {
            TopicName::Name(topic.new.name.clone())
        } else {
            TopicName::Id(topic.id)
        }
    }

    /// The topics of the moment.
    pub fn topics(&self) -> Ref<'_, Vec<Rc<Topic>>> {
        self.desk.topics.borrow()
    }

    /// One of the topics of the moment, permanent or not as wanted, and one of its partitions.
    pub fn spot(&mut self, is_permanent: bool) -> Option<(Rc<Topic>, i32)> {
        let wanted: Vec<Rc<Topic>> =
            self.topics().iter().filter(|topic| topic.is_permanent == is_permanent).cloned().collect();
        if wanted.is_empty() {
            return None;
        }
        let topic = Rc::clone(self.random.pick(&wanted));
        let partitions = u64::try_from(topic.new.partitions).expect("a topic has partitions");
        let partition = i32::try_from(self.random.within(0..partitions)).expect("few");
        Some((topic, partition))
    }
}

/// The partition of a topic as a history names it.
#[must_use]
pub fn place(topic: &Topic, partition: i32) -> Place {
    Place { topic: topic.id, partition }
}

async fn fetch_on(
    connection: &Connection,
    desk: &Desk,
    (topic, partition): (TopicName, i32),
    from: i64,
    portion: Portion,
) -> Outcome<SeenRecords> {
    let Portion { bytes_max, wait_ms } = portion;
    let ask = FetchAsk { topic, partition, from, bytes_max, wait_ms, bytes_min: 1 };
    match connection.fetch(&ask).await {
        Outcome::Ok(fetched) => match records::read(&desk.history.batches(), &fetched.records) {
            Ok((records, batches_end)) => Outcome::Ok(SeenRecords {
                batches_end,
                high_watermark: fetched.high_watermark,
                log_start: fetched.log_start,
                records,
            }),
            Err(text) => Outcome::Garbled(text),
        },
        outcome => outcome.map(|_| unreachable!("a success was looked at before")),
    }
}

/// How often a reader asks again for an offset that must be there and gets nothing.
const EMPTY_READS_MAX: u32 = 50;

async fn read_back_on(
    connection: &Connection,
    desk: &Desk,
    topic: &Topic,
    partition: i32,
) -> Outcome<SeenRecords> {
    use ottla::errors::ErrorCode;
    let portion = Portion { bytes_max: 1 << 20, wait_ms: 5 };
    let mut whole = SeenRecords::default();
    let (mut next, mut empty_reads) = (0, 0);
    loop {
        let name = TopicName::Id(topic.id);
        let seen = match fetch_on(connection, desk, (name, partition), next, portion).await {
            Outcome::Ok(seen) => seen,
            // The log begins later than that: begin again where it does.
            Outcome::Refused(ErrorCode::OffsetOutOfRange) => {
                let found = match find_start(connection, topic, partition).await {
                    Outcome::Ok(found) if found > next => found,
                    Outcome::Ok(_) => return Outcome::Refused(ErrorCode::OffsetOutOfRange),
                    outcome => return outcome.map(|_| SeenRecords::default()),
                };
                whole = SeenRecords { log_start: found, ..SeenRecords::default() };
                next = found;
                continue;
            }
            outcome => return outcome,
        };
        whole.high_watermark = seen.high_watermark;
        let fresh = seen.records.into_iter().filter(|record| record.offset >= next);
        whole.records.extend(fresh);
        if seen.batches_end <= next {
            empty_reads += 1;
        }
        // Compaction may have left batches without records.
        next = next.max(seen.batches_end);
        if next >= whole.high_watermark || empty_reads > EMPTY_READS_MAX {
            return Outcome::Ok(whole);
        }
    }
}

/// Where the log starts. The topic exists for sure, so that its name means it.
async fn find_start(connection: &Connection, topic: &Topic, partition: i32) -> Outcome<i64> {
    let found = connection.list_offset(&topic.new.name, partition, OffsetQuery::Earliest).await;
    found.map(|found| found.offset)
}
