//! How many bytes a fetch brings (KIP-74), with the numbers that Kafka 4.3.1 answers: only the first batch of an answer
//! may pass a limit, the request's, a partition's or the broker's.

use ottla_tests::broker::{Broker, Options};
use ottla_tests::topics::create_topic;
use ottla_tools::client::Client;
use ottla_wire::fetch_request::FetchPartition;
use ottla_wire::fetch_response::FetchResponse;
use ottla_wire::produce_request::{PartitionProduceData, ProduceRequest, TopicProduceData};
use ottla_wire::produce_response::ProduceResponse;
use ottla_wire::{ApiKey, Records};

use crate::{BatchBuilder, FETCH_VERSION, NewRecord, PRODUCE_VERSION, TimestampMs, client, fetch_request};

/// The value that makes batches of a little over 50,000 bytes.
const VALUE_BYTES: usize = 50_000;

/// A broker with ten batches in each of the three partitions of `t`, on one shard or on two.
fn start(directory: &tempfile::TempDir, shards: u16, fetch_max_bytes: u32) -> Broker {
    let options =
        Options::new(directory.path()).set("shards", shards).set("fetch.max.bytes", fetch_max_bytes);
    let broker = Broker::start(&options);
    create_topic(broker.address(), "t", 3, &[]);
    let mut batch = BatchBuilder::new();
    let value = vec![7; VALUE_BYTES];
    batch.append(&NewRecord { timestamp: TimestampMs(1), key: None, value: Some(&value), headers: &[] });
    let (batch, mut client) = (batch.build(), client(&broker));
    for _ in 0..10 {
        let data = |index| PartitionProduceData { index, records: Some(Records::Inline((&batch).into())) };
        let partition_data = (0..3).map(data).collect();
        let topic = TopicProduceData { name: "t".into(), partition_data, ..Default::default() };
        let request =
            ProduceRequest { acks: -1, timeout_ms: 30_000, topic_data: vec![topic], ..Default::default() };
        let reply: ProduceResponse<'_> =
            client.call(ApiKey::Produce, PRODUCE_VERSION, &request).expect("the broker answers");
        assert!(reply.responses[0].partition_responses.iter().all(|partition| partition.error_code == 0));
    }
    broker
}

/// The whole batches that each partition brings, read from these offsets on.
fn batches(client: &mut Client, from: [i64; 3], partition_max_bytes: i32, max_bytes: i32) -> [usize; 3] {
    let mut request = fetch_request(0, 0);
    request.max_bytes = max_bytes;
    request.topics[0].partitions = (0..)
        .zip(from)
        .map(|(partition, fetch_offset)| FetchPartition {
            partition,
            fetch_offset,
            partition_max_bytes,
            ..Default::default()
        })
        .collect();
    let reply: FetchResponse<'_> = client.call(ApiKey::Fetch, FETCH_VERSION, &request).expect("it is served");
    let mut bytes = [0; 3];
    for partition in &reply.responses[0].partitions {
        let Some(Records::Inline(records)) = &partition.records else { panic!("records are never null") };
        bytes[partition.partition_index as usize] = records.len();
    }
    let whole = bytes.map(|bytes| bytes / VALUE_BYTES);
    if whole.iter().sum::<usize>() > 1 {
        let sum: usize = bytes.iter().sum();
        assert!(sum <= max_bytes as usize, "{sum} bytes where {max_bytes} are asked for");
    }
    whole
}

#[test]
fn only_the_first_batch_passes_a_limit() {
    const MIB: i32 = 1 << 20;
    for shards in [1, 2] {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let broker = start(&directory, shards, 57_671_680);
        let mut client = client(&broker);
        let mut ask = |from, partition_max, max| batches(&mut client, from, partition_max, max);
        assert_eq!(ask([0; 3], MIB, 1), [1, 0, 0], "{shards} shards");
        assert_eq!(ask([0; 3], MIB, 60_000), [1, 0, 0], "{shards} shards");
        assert_eq!(ask([0; 3], MIB, 120_000), [2, 0, 0], "{shards} shards");
        assert_eq!(ask([0; 3], 1, MIB), [1, 0, 0], "{shards} shards: a partition's limit is one, too");
        assert_eq!(ask([0; 3], 120_000, 4 * MIB), [2, 2, 2], "{shards} shards");
        // A partition that has nothing does not hold the next one up.
        assert_eq!(ask([10, 0, 0], MIB, 1), [0, 1, 0], "{shards} shards");
        assert_eq!(ask([10, 10, 9], 1, 1), [0, 0, 1], "{shards} shards");
        assert_eq!(broker.stop(), 0);
    }
}

#[test]
fn the_broker_has_a_limit_of_its_own() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let broker = start(&directory, 2, 120_000);
    let mut client = client(&broker);
    assert_eq!(batches(&mut client, [0; 3], 1 << 20, i32::MAX), [2, 0, 0]);
    assert_eq!(broker.stop(), 0);
}
