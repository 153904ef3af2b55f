//! A producer that takes every answer as it comes: what was acknowledged, and what the errors were.

use std::net::SocketAddr;

use ottla::errors::ErrorCode;
use ottla::ids::TimestampMs;
use ottla::protocol::records::builder::{BatchBuilder, NewRecord};
use ottla_tools::client::Client;
use ottla_wire::produce_request::{PartitionProduceData, ProduceRequest, TopicProduceData};
use ottla_wire::produce_response::ProduceResponse;
use ottla_wire::{ApiKey, Records};

/// The version that names topics by name.
const PRODUCE_VERSION: i16 = 11;

/// Sends numbered records to partition 0 of topics.
pub struct Sender {
    client: Client,
    value_bytes: usize,
}

impl Sender {
    /// Records have values of `value_bytes`, the first eight of which are the number.
    pub fn new(address: SocketAddr, value_bytes: usize) -> Sender {
        Sender { client: Client::connect(address, "disk").expect("the broker listens"), value_bytes }
    }

    /// The value of record `number`.
    pub fn value(&self, number: u64) -> Vec<u8> {
        let mut value = vec![b'.'; self.value_bytes];
        value[..8].copy_from_slice(&number.to_be_bytes());
        value
    }

    /// Sends one record and gives the broker's answer.
    pub fn send(&mut self, topic: &str, number: u64) -> ErrorCode {
        let value = self.value(number);
        let mut batch = BatchBuilder::new();
        batch.append(&NewRecord { timestamp: TimestampMs(1), key: None, value: Some(&value), headers: &[] });
        let batch = batch.build();
        let records = Some(Records::Inline(batch.as_slice().into()));
        let partition_data = vec![PartitionProduceData { index: 0, records }];
        let topic_data = vec![TopicProduceData { name: topic.into(), partition_data, ..Default::default() }];
        let request = ProduceRequest { acks: -1, timeout_ms: 30_000, topic_data, ..Default::default() };
        let reply: ProduceResponse<'_> =
            self.client.call(ApiKey::Produce, PRODUCE_VERSION, &request).expect("the broker answers");
        let code = reply.responses[0].partition_responses[0].error_code;
        ErrorCode::from_code(code).expect("the broker sends known codes")
    }
}
