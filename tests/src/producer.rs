//! An idempotent producer that survives the broker's crashes: it sends a batch, and sends it again after every
//! broken connection, until the broker has acknowledged it or the test ends.
//!
//! Each record's value is `<producer> <number>`, numbered from 0 per partition, so that a reader can say which were
//! lost, duplicated or reordered.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use ottla::errors::ErrorCode;
use ottla::ids::{ProducerEpoch, ProducerId, TimestampMs};
use ottla::protocol::records::builder::{BatchBuilder, NewRecord};
use ottla_tools::client::{Client, ClientError};
use ottla_wire::init_producer_id_request::InitProducerIdRequest;
use ottla_wire::init_producer_id_response::InitProducerIdResponse;
use ottla_wire::produce_request::{PartitionProduceData, ProduceRequest, TopicProduceData};
use ottla_wire::produce_response::ProduceResponse;
use ottla_wire::{ApiKey, Records};

/// The version that names topics by name and has everything else.
const PRODUCE_VERSION: i16 = 11;

/// One partition's stream of numbered records from one producer.
#[derive(Debug)]
pub struct IdempotentProducer {
    address: SocketAddr,
    topic: String,
    partition: i32,
    name: String,
    id: ProducerId,
    client: Option<Client>,
    next_record: i64,
    acknowledged: i64,
}

impl IdempotentProducer {
    /// Gets a producer id and begins at record 0.
    ///
    /// # Errors
    /// Those of the connection.
    pub fn new(address: SocketAddr, topic: &str, partition: i32, name: &str) -> Result<Self, ClientError> {
        let mut client = Client::connect(address, name)?;
        let request = InitProducerIdRequest {
            transactional_id: None,
            transaction_timeout_ms: i32::MAX,
            ..Default::default()
        };
        let reply: InitProducerIdResponse = client.call(ApiKey::InitProducerId, 4, &request)?;
        assert_eq!(reply.error_code, 0, "a producer id is given");
        Ok(Self {
            address,
            topic: topic.to_owned(),
            partition,
            name: name.to_owned(),
            id: ProducerId(reply.producer_id),
            client: Some(client),
            next_record: 0,
            acknowledged: 0,
        })
    }

    /// How many records were acknowledged.
    #[must_use]
    pub fn acknowledged(&self) -> i64 {
        self.acknowledged
    }

    /// Sends the next `records` records as one batch until they are acknowledged or `deadline` passes. What was not
    /// acknowledged is sent again, as the same batch, by the next call, which must ask for as many.
    ///
    /// # Panics
    /// When the broker answers with an error that no crash explains.
    pub fn send(&mut self, records: i64, deadline: Instant) {
        let batch = self.batch(records);
        while Instant::now() < deadline {
            match self.try_send(&batch) {
                Ok(ErrorCode::None) => {
                    self.next_record += records;
                    self.acknowledged = self.next_record;
                    return;
                }
                Ok(ErrorCode::NotLeaderOrFollower | ErrorCode::UnknownTopicOrPartition) => {}
                Ok(error) => panic!("{} at record {}: {error}", self.name, self.next_record),
                Err(_) => self.client = None,
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn batch(&self, records: i64) -> Vec<u8> {
        let sequence =
            i32::try_from(self.next_record % (i64::from(i32::MAX) + 1)).expect("the remainder fits");
        let mut builder = BatchBuilder::new().producer(self.id, ProducerEpoch(0), sequence);
        for record in self.next_record..self.next_record + records {
            let value = format!("{} {record}", self.name);
            builder.append(&NewRecord {
                timestamp: TimestampMs(1_700_000_000_000 + record),
                key: Some(self.name.as_bytes()),
                value: Some(value.as_bytes()),
                headers: &[],
            });
        }
        builder.build()
    }

    fn try_send(&mut self, batch: &[u8]) -> Result<ErrorCode, ClientError> {
        let client = match &mut self.client {
            Some(client) => client,
            None => {
                let client = Client::connect(self.address, &self.name)?;
                client.set_timeout(Some(Duration::from_secs(10)))?;
                self.client.insert(client)
            }
        };
        let data =
            PartitionProduceData { index: self.partition, records: Some(Records::Inline(batch.into())) };
        let topic = TopicProduceData {
            name: self.topic.as_str().into(),
            partition_data: vec![data],
            ..Default::default()
        };
        let request =
            ProduceRequest { acks: -1, timeout_ms: 30_000, topic_data: vec![topic], ..Default::default() };
        let reply: ProduceResponse<'_> = client.call(ApiKey::Produce, PRODUCE_VERSION, &request)?;
        let code = reply.responses[0].partition_responses[0].error_code;
        Ok(ErrorCode::from_code(code).expect("the broker sends known codes"))
    }
}
