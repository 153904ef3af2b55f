//! The first acknowledgement of a broker that has just been started.

use std::net::SocketAddr;

use ottla::ids::TimestampMs;
use ottla::protocol::records::builder::{BatchBuilder, NewRecord};
use ottla_tools::client::{Client, ClientError};
use ottla_wire::metadata_request::{MetadataRequest, MetadataRequestTopic};
use ottla_wire::metadata_response::MetadataResponse;
use ottla_wire::produce_request::{PartitionProduceData, ProduceRequest, TopicProduceData};
use ottla_wire::produce_response::ProduceResponse;
use ottla_wire::{ApiKey, Records};

const METADATA_VERSION: i16 = 9;
const PRODUCE_VERSION: i16 = 9;
const TOPIC: &str = "first";

/// Tries once to produce a record with `acks=all` to a topic that comes into being when it is asked for.
#[must_use]
pub fn is_acknowledged(address: SocketAddr) -> bool {
    Client::connect(address, "compare").is_ok_and(|mut client| {
        let mut attempt = || Ok::<bool, ClientError>(topic_is_there(&mut client)? && produces(&mut client)?);
        // The topic takes a moment where asking for it is what makes it.
        (0..50).any(|number| {
            if number > 0 {
                std::thread::sleep(std::time::Duration::from_micros(500));
            }
            attempt().unwrap_or(false)
        })
    })
}

fn topic_is_there(client: &mut Client) -> Result<bool, ClientError> {
    let topic = MetadataRequestTopic { name: Some(TOPIC.into()), ..Default::default() };
    let request =
        MetadataRequest { topics: Some(vec![topic]), allow_auto_topic_creation: true, ..Default::default() };
    let reply: MetadataResponse<'_> = client.call(ApiKey::Metadata, METADATA_VERSION, &request)?;
    Ok(reply.topics.first().is_some_and(|topic| topic.error_code == 0))
}

fn produces(client: &mut Client) -> Result<bool, ClientError> {
    let mut batch = BatchBuilder::new();
    batch.append(&NewRecord { timestamp: TimestampMs(1), key: None, value: Some(b"first"), headers: &[] });
    let batch = batch.build();
    let data = PartitionProduceData { index: 0, records: Some(Records::Inline(batch.as_slice().into())) };
    let topic = TopicProduceData { name: TOPIC.into(), partition_data: vec![data], ..Default::default() };
    let request =
        ProduceRequest { acks: -1, timeout_ms: 30_000, topic_data: vec![topic], ..Default::default() };
    let reply: ProduceResponse<'_> = client.call(ApiKey::Produce, PRODUCE_VERSION, &request)?;
    let partition = reply.responses.first().and_then(|topic| topic.partition_responses.first());
    Ok(partition.is_some_and(|partition| partition.error_code == 0))
}
