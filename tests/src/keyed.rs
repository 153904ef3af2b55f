//! Records with keys: producing them, and reading what compaction has left of them.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use ottla::ids::TimestampMs;
use ottla::protocol::compression::Codec;
use ottla::protocol::records::builder::{BatchBuilder, NewRecord};
use ottla_tools::client::Client;
use ottla_wire::produce_request::{PartitionProduceData, ProduceRequest, TopicProduceData};
use ottla_wire::produce_response::ProduceResponse;
use ottla_wire::{ApiKey, Records};

use crate::reader::for_each_record;

/// The version of Produce that names topics by name.
const PRODUCE_VERSION: i16 = 11;

/// Key and value of a record.
pub type KeyAndValue = (Option<Vec<u8>>, Option<Vec<u8>>);

/// A record that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keyed {
    /// Its offset.
    pub offset: i64,
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its value; `None` for a tombstone.
    pub value: Option<Vec<u8>>,
}

/// Produces one batch to partition 0; returns the error code, the numbers of the records at fault, and the offset of
/// the first record.
///
/// # Panics
/// When the broker does not answer.
pub fn produce(
    client: &mut Client,
    topic: &str,
    timestamp: i64,
    codec: Codec,
    records: &[KeyAndValue],
) -> (i16, Vec<i32>, i64) {
    let mut batch = BatchBuilder::new().compression(codec, None);
    for (key, value) in records {
        let (key, value) = (key.as_deref(), value.as_deref());
        batch.append(&NewRecord { timestamp: TimestampMs(timestamp), key, value, headers: &[] });
    }
    let bytes = batch.build();
    let data = PartitionProduceData { index: 0, records: Some(Records::Inline(bytes.as_slice().into())) };
    let topic = TopicProduceData { name: topic.into(), partition_data: vec![data], ..Default::default() };
    let request =
        ProduceRequest { acks: -1, timeout_ms: 30_000, topic_data: vec![topic], ..Default::default() };
    let reply: ProduceResponse<'_> =
        client.call(ApiKey::Produce, PRODUCE_VERSION, &request).expect("the broker answers");
    let partition = &reply.responses[0].partition_responses[0];
    let at_fault = partition.record_errors.iter().map(|error| error.batch_index).collect();
    (partition.error_code, at_fault, partition.base_offset)
}

/// Every record of a partition from the log start to the high watermark, whatever gaps there are.
///
/// # Panics
/// When a CRC is wrong, offsets go back or the broker refuses.
#[must_use]
pub fn read_keyed(address: SocketAddr, topic: &str, partition: i32) -> Vec<Keyed> {
    let mut records = Vec::new();
    for_each_record(address, (topic, partition), |offset, record| {
        let (key, value) = (record.key.map(<[u8]>::to_vec), record.value.map(<[u8]>::to_vec));
        records.push(Keyed { offset, key, value });
    });
    records
}

/// Asks until the answer is one, for as long as a loaded machine may need.
///
/// # Panics
/// When it never is; the message carries `what` was waited for.
pub fn wait_for<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(120);
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
