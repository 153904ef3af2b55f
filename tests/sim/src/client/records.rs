//! Requests about records: Produce, Fetch, ListOffsets, DeleteRecords.

use ottla_wire::delete_records_request::{DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic};
use ottla_wire::delete_records_response::DeleteRecordsResponse;
use ottla_wire::fetch_request::{FetchPartition, FetchRequest, FetchTopic};
use ottla_wire::fetch_response::FetchResponse;
use ottla_wire::list_offsets_request::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};
use ottla_wire::list_offsets_response::ListOffsetsResponse;
use ottla_wire::produce_request::{PartitionProduceData, ProduceRequest, TopicProduceData};
use ottla_wire::produce_response::ProduceResponse;
use ottla_wire::{ApiKey, Records, Uuid};

use super::outcome::{of_read, of_write};
use super::{CallError, Connection, Outcome, Unknown, Waiting};

/// The last version of Produce that names topics by name.
const PRODUCE_BY_NAME: i16 = 12;
/// The version of Produce that names topics by id (KIP-516).
const PRODUCE_BY_ID: i16 = 13;
/// The last version of Fetch that names topics by name.
const FETCH_BY_NAME: i16 = 12;
/// A version of Fetch that names topics by id.
const FETCH_BY_ID: i16 = 16;
/// The version of ListOffsets used here: the one with the largest timestamp.
const LIST_OFFSETS: i16 = 7;
/// The version of DeleteRecords used here.
const DELETE_RECORDS: i16 = 2;

/// How a request names its topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TopicName {
    /// By name: whichever topic has it when the broker looks.
    Name(String),
    /// By id: this topic and no other.
    Id(Uuid),
}

/// What a produce request waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acks {
    /// Nothing: no reply comes.
    None,
    /// The leader.
    Leader,
    /// Every replica in sync.
    All,
}

/// What a fetch asks for.
#[derive(Clone, Debug)]
pub struct FetchAsk {
    /// The topic.
    pub topic: TopicName,
    /// The partition's index.
    pub partition: i32,
    /// The first offset wanted.
    pub from: i64,
    /// The most bytes of the partition.
    pub bytes_max: i32,
    /// How long the broker may wait for `bytes_min`, in milliseconds.
    pub wait_ms: i32,
    /// What the broker waits for.
    pub bytes_min: i32,
}

/// What a fetch brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// The high watermark.
    pub high_watermark: i64,
    /// The log start offset.
    pub log_start: i64,
    /// The batches as they came, the last perhaps in part.
    pub records: Vec<u8>,
}

/// What an offset is asked by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum OffsetQuery {
    /// The high watermark.
    Latest,
    /// The log start offset.
    Earliest,
    /// The record with the largest timestamp (KIP-734).
    Largest,
    /// The first record at or after a time in milliseconds.
    At(i64),
}

/// An offset that was found; -1 and -1 where there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoundOffset {
    /// The offset.
    pub offset: i64,
    /// The record's timestamp, where the query was by time.
    pub timestamp: i64,
}

/// A produce request in flight.
pub struct Producing(Option<Waiting>);

impl Producing {
    /// Waits for the base offsets of the request's parts, in their order, or for the end of the client's patience.
    /// Without acknowledgement they are [`Unknown::Unanswered`] at once.
    pub async fn base_offsets(self, partitions: &[i32]) -> Vec<Outcome<i64>> {
        let all = |outcome: Outcome<i64>| vec![outcome; partitions.len()];
        let Some(waiting) = self.0 else { return all(Outcome::Unknown(Unknown::Unanswered)) };
        let reply = match waiting.reply().await {
            Ok(reply) => reply,
            Err(error) => return all(error.into()),
        };
        let reply = match reply.read::<ProduceResponse<'_>>() {
            Ok(reply) => reply,
            Err(error) => return all(error.into()),
        };
        let parts = reply.responses.first().map(|topic| topic.partition_responses.as_slice());
        let of_part = |index: &i32| {
            let mut parts = parts.unwrap_or_default().iter();
            match parts.find(|part| part.index == *index) {
                Some(part) if part.error_code == 0 => Outcome::Ok(part.base_offset),
                Some(part) => of_write(part.error_code),
                None => Outcome::Garbled("a produce reply without the partition".to_owned()),
            }
        };
        partitions.iter().map(of_part).collect()
    }
}

impl Connection {
    /// Sends one batch to each of some partitions in one request; several requests may be in flight.
    ///
    /// # Errors
    /// [`CallError::NotSent`] on a closed connection.
    pub fn produce(
        &self,
        topic: &TopicName,
        acks: Acks,
        parts: &[(i32, Vec<u8>)],
    ) -> Result<Producing, CallError> {
        let data = |(index, batch): &(i32, Vec<u8>)| PartitionProduceData {
            index: *index,
            records: Some(Records::Inline(batch.clone().into())),
        };
        let partition_data = parts.iter().map(data).collect();
        let mut topic_data = TopicProduceData { partition_data, ..Default::default() };
        let version = match topic {
            TopicName::Name(name) => {
                topic_data.name = name.into();
                PRODUCE_BY_NAME
            }
            TopicName::Id(id) => {
                topic_data.topic_id = *id;
                PRODUCE_BY_ID
            }
        };
        let code = match acks {
            Acks::None => 0,
            Acks::Leader => 1,
            Acks::All => -1,
        };
        let request = ProduceRequest {
            acks: code,
            timeout_ms: 30_000,
            topic_data: vec![topic_data],
            ..Default::default()
        };
        match acks {
            Acks::None => {
                self.send_unanswered(ApiKey::Produce, version, &request)?;
                Ok(Producing(None))
            }
            Acks::Leader | Acks::All => Ok(Producing(Some(self.send(ApiKey::Produce, version, &request)?))),
        }
    }

    /// Reads a partition, waiting on the broker as `ask` says.
    pub async fn fetch(&self, ask: &FetchAsk) -> Outcome<Fetched> {
        let partition = FetchPartition {
            partition: ask.partition,
            current_leader_epoch: -1,
            fetch_offset: ask.from,
            partition_max_bytes: ask.bytes_max,
            ..Default::default()
        };
        let mut topic = FetchTopic { partitions: vec![partition], ..Default::default() };
        let version = match &ask.topic {
            TopicName::Name(name) => {
                topic.topic = name.into();
                FETCH_BY_NAME
            }
            TopicName::Id(id) => {
                topic.topic_id = *id;
                FETCH_BY_ID
            }
        };
        let request = FetchRequest {
            replica_id: -1,
            max_wait_ms: ask.wait_ms,
            min_bytes: ask.bytes_min,
            max_bytes: i32::MAX,
            session_epoch: -1,
            topics: vec![topic],
            ..Default::default()
        };
        match self.call(ApiKey::Fetch, version, &request).await {
            Ok(reply) => match reply.read::<FetchResponse<'_>>() {
                Ok(reply) => fetched(&reply),
                Err(error) => error.into(),
            },
            Err(error) => error.into(),
        }
    }

    /// Asks for one offset.
    pub async fn list_offset(&self, topic: &str, partition: i32, query: OffsetQuery) -> Outcome<FoundOffset> {
        let timestamp = match query {
            OffsetQuery::Latest => -1,
            OffsetQuery::Earliest => -2,
            OffsetQuery::Largest => -3,
            OffsetQuery::At(timestamp) => timestamp,
        };
        let asked = ListOffsetsPartition { partition_index: partition, current_leader_epoch: -1, timestamp };
        let topics = vec![ListOffsetsTopic { name: topic.into(), partitions: vec![asked] }];
        let request = ListOffsetsRequest { replica_id: -1, topics, ..Default::default() };
        let reply = match self.call(ApiKey::ListOffsets, LIST_OFFSETS, &request).await {
            Ok(reply) => reply,
            Err(error) => return error.into(),
        };
        let reply = match reply.read::<ListOffsetsResponse<'_>>() {
            Ok(reply) => reply,
            Err(error) => return error.into(),
        };
        match reply.topics.first().and_then(|topic| topic.partitions.first()) {
            Some(found) if found.error_code == 0 => {
                Outcome::Ok(FoundOffset { offset: found.offset, timestamp: found.timestamp })
            }
            Some(found) => of_read(found.error_code),
            None => Outcome::Garbled("a ListOffsets reply without the partition".to_owned()),
        }
    }

    /// Deletes what lies before an offset, -1 for the high watermark, and returns the new low watermark.
    pub async fn delete_records(&self, topic: &str, partition: i32, before: i64) -> Outcome<i64> {
        let asked = DeleteRecordsPartition { partition_index: partition, offset: before };
        let topics = vec![DeleteRecordsTopic { name: topic.into(), partitions: vec![asked] }];
        let request = DeleteRecordsRequest { topics, timeout_ms: 30_000 };
        let reply = match self.call(ApiKey::DeleteRecords, DELETE_RECORDS, &request).await {
            Ok(reply) => reply,
            Err(error) => return error.into(),
        };
        let reply = match reply.read::<DeleteRecordsResponse<'_>>() {
            Ok(reply) => reply,
            Err(error) => return error.into(),
        };
        match reply.topics.first().and_then(|topic| topic.partitions.first()) {
            Some(deleted) if deleted.error_code == 0 => Outcome::Ok(deleted.low_watermark),
            Some(deleted) => of_write(deleted.error_code),
            None => Outcome::Garbled("a DeleteRecords reply without the partition".to_owned()),
        }
    }
}

fn fetched(reply: &FetchResponse<'_>) -> Outcome<Fetched> {
    if reply.error_code != 0 {
        return of_read(reply.error_code);
    }
    let Some(partition) = reply.responses.first().and_then(|topic| topic.partitions.first()) else {
        return Outcome::Garbled("a fetch reply without the partition".to_owned());
    };
    if partition.error_code != 0 {
        return of_read(partition.error_code);
    }
    let records = match &partition.records {
        Some(Records::Inline(bytes)) => bytes.to_vec(),
        Some(Records::Splice { .. }) | None => {
            return Outcome::Garbled("a fetch reply without records".to_owned());
        }
    };
    Outcome::Ok(Fetched {
        high_watermark: partition.high_watermark,
        log_start: partition.log_start_offset,
        records,
    })
}
