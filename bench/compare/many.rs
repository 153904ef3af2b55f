//! A record to each of a topic's partitions, in one request.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use ottla::ids::TimestampMs;
use ottla::protocol::records::builder::{BatchBuilder, NewRecord};
use ottla_tools::client::Client;
use ottla_wire::produce_request::{PartitionProduceData, ProduceRequest, TopicProduceData};
use ottla_wire::produce_response::ProduceResponse;
use ottla_wire::{ApiKey, Records};

const PRODUCE_VERSION: i16 = 9;
const PATIENCE: Duration = Duration::from_secs(120);

/// Writes one record to each partition of a topic, and again to those that refused it because they are still new.
///
/// # Panics
/// When one has not taken it in time.
pub fn write_once(address: SocketAddr, topic: &str, partitions: i32) {
    let mut client = Client::connect(address, "compare").expect("the broker listens");
    let deadline = Instant::now() + PATIENCE;
    let mut batch = BatchBuilder::new();
    batch.append(&NewRecord { timestamp: TimestampMs(1), key: None, value: Some(b"once"), headers: &[] });
    let batch = batch.build();
    let mut missing: Vec<i32> = (0..partitions).collect();
    while !missing.is_empty() {
        assert!(Instant::now() < deadline, "{} partitions take no record", missing.len());
        let data = missing.iter().map(|index| PartitionProduceData {
            index: *index,
            records: Some(Records::Inline(batch.as_slice().into())),
        });
        let topic =
            TopicProduceData { name: topic.into(), partition_data: data.collect(), ..Default::default() };
        let request =
            ProduceRequest { acks: -1, timeout_ms: 30_000, topic_data: vec![topic], ..Default::default() };
        let reply: ProduceResponse<'_> =
            client.call(ApiKey::Produce, PRODUCE_VERSION, &request).expect("the broker answers");
        let answers = reply.responses.iter().flat_map(|topic| &topic.partition_responses);
        missing = answers.filter(|answer| answer.error_code != 0).map(|answer| answer.index).collect();
    }
}
