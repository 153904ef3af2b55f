//! How many bytes a fetch brings (KIP-74), with the numbers that Kafka 4.3.1 answers: only the first batch of an answer
//! may pass a limit, the request's, a partition's or the broker's. And for how many it waits.

use std::time::{Duration, Instant};

use ottla_tests::broker::{Broker, Options};
use ottla_tests::topics::create_topic;
use ottla_tools::client::Client;
use ottla_wire::fetch_request::FetchPartition;
use ottla_wire::fetch_response::FetchResponse;
use ottla_wire::produce_request::{PartitionProduceData, ProduceRequest, TopicProduceData};
use ottla_wire::produce_response::ProduceResponse;
use ottla_wire::{ApiKey, Records};

use crate::{
    BatchBuilder, ErrorCode, FETCH_VERSION, NewRecord, PRODUCE_VERSION, TimestampMs, client, fetch_request,
};

/// The value that makes batches of a little over 50,000 bytes.
const VALUE_BYTES: usize = 50_000;

/// Appends ten batches to each of these partitions of `t`.
fn append(client: &mut Client, partitions: std::ops::Range<i32>) {
    let mut batch = BatchBuilder::new();
    let value = vec![7; VALUE_BYTES];
    batch.append(&NewRecord { timestamp: TimestampMs(1), key: None, value: Some(&value), headers: &[] });
    let batch = batch.build();
    for _ in 0..10 {
        let data = |index| PartitionProduceData { index, records: Some(Records::Inline((&batch).into())) };
        let partition_data = partitions.clone().map(data).collect();
        let topic = TopicProduceData { name: "t".into(), partition_data, ..Default::default() };
        let request =
            ProduceRequest { acks: -1, timeout_ms: 30_000, topic_data: vec![topic], ..Default::default() };
        let reply: ProduceResponse<'_> =
            client.call(ApiKey::Produce, PRODUCE_VERSION, &request).expect("the broker answers");
        assert!(reply.responses[0].partition_responses.iter().all(|partition| partition.error_code == 0));
    }
}

/// A broker with ten batches in each of the three partitions of `t`, on one shard or on two.
fn start(directory: &tempfile::TempDir, shards: u16, fetch_max_bytes: u32) -> Broker {
    let options =
        Options::new(directory.path()).set("shards", shards).set("fetch.max.bytes", fetch_max_bytes);
    let broker = Broker::start(&options);
    create_topic(broker.address(), "t", 3, &[]);
    append(&mut client(&broker), 0..3);
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

/// The whole batches of the first partition from an offset on, asked for with a patience that no test has.
fn batches_for_the_patient(client: &mut Client, from: i64, min_bytes: i32) -> usize {
    let mut request = fetch_request(from, i32::MAX);
    request.min_bytes = min_bytes;
    let reply: FetchResponse<'_> = client.call(ApiKey::Fetch, FETCH_VERSION, &request).expect("it is due");
    let Some(Records::Inline(records)) = &reply.responses[0].partitions[0].records else {
        panic!("no records")
    };
    records.len() / VALUE_BYTES
}

#[test]
fn a_fetch_waits_for_bytes_that_may_come_and_for_no_others() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let options = Options::new(directory.path());
    let mut broker = Broker::start(&options);
    create_topic(broker.address(), "t", 1, &[("segment.bytes", "1048576")]);
    let mut first = client(&broker);
    for _ in 0..3 {
        append(&mut first, 0..1);
    }
    for life in ["the newest in memory", "all of it in files"] {
        let mut client = client(&broker);
        // Twenty batches make a segment.
        assert_eq!(batches_for_the_patient(&mut client, 18, 2 * VALUE_BYTES as i32), 2, "{life}");
        assert_eq!(
            batches_for_the_patient(&mut client, 19, 2 * VALUE_BYTES as i32),
            1,
            "{life}: it will not grow"
        );
        assert_eq!(
            batches_for_the_patient(&mut client, 28, 2 * VALUE_BYTES as i32),
            2,
            "{life}: both are there"
        );
        assert_eq!(broker.stop(), 0);
        broker = Broker::start(&options);
    }
    assert_eq!(broker.stop(), 0);
}

#[test]
fn a_partition_that_does_not_exist_ends_no_wait() {
    const PATIENCE_MS: i32 = 300;
    let directory = tempfile::tempdir().expect("a temporary directory");
    let broker = start(&directory, 2, 57_671_680);
    let mut client = client(&broker);
    let mut request = fetch_request(10, PATIENCE_MS);
    let asked = Instant::now();
    request.topics[0].partitions.push(FetchPartition { partition: 99, ..Default::default() });
    let reply: FetchResponse<'_> = client.call(ApiKey::Fetch, FETCH_VERSION, &request).expect("it is served");
    assert!(
        asked.elapsed() >= Duration::from_millis(PATIENCE_MS.unsigned_abs().into()),
        "it waits for the other one"
    );
    let errors: Vec<i16> =
        reply.responses[0].partitions.iter().map(|partition| partition.error_code).collect();
    assert_eq!(errors, [0, ErrorCode::UnknownTopicOrPartition.code()]);
    assert_eq!(broker.stop(), 0);
}
