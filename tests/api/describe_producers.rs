//! DescribeProducers: what the owners of partitions tell of their producers.

use ottla::ids::{ProducerEpoch, ProducerId};
use ottla_tests::broker::{Broker, Options};
use ottla_tests::topics::create_topic;
use ottla_tools::client::Client;
use ottla_wire::describe_producers_request::{DescribeProducersRequest, TopicRequest};
use ottla_wire::describe_producers_response::{DescribeProducersResponse, ProducerState};
use ottla_wire::produce_request::{PartitionProduceData, ProduceRequest, TopicProduceData};
use ottla_wire::produce_response::ProduceResponse;
use ottla_wire::{ApiKey, Records};

use crate::{BatchBuilder, NewRecord, PRODUCE_VERSION, TimestampMs, client};

/// Appends two records of a producer to one partition of `t`.
fn write(client: &mut Client, index: i32, producer: i64, epoch: i16, sequence: i32) {
    let mut batch = BatchBuilder::new().producer(ProducerId(producer), ProducerEpoch(epoch), sequence);
    for timestamp in [1_000, 2_000] {
        let timestamp = TimestampMs(timestamp + i64::from(sequence));
        batch.append(&NewRecord { timestamp, key: None, value: Some(b"v"), headers: &[] });
    }
    let batch = batch.build();
    let data = PartitionProduceData { index, records: Some(Records::Inline((&batch).into())) };
    let topic = TopicProduceData { name: "t".into(), partition_data: vec![data], ..Default::default() };
    let request =
        ProduceRequest { acks: -1, timeout_ms: 30_000, topic_data: vec![topic], ..Default::default() };
    let reply: ProduceResponse<'_> =
        client.call(ApiKey::Produce, PRODUCE_VERSION, &request).expect("the broker answers");
    assert_eq!(reply.responses[0].partition_responses[0].error_code, 0);
}

fn told(producer_id: i64, producer_epoch: i32, last_sequence: i32, last_timestamp: i64) -> ProducerState {
    let (coordinator_epoch, current_txn_start_offset) = (-1, -1);
    ProducerState {
        producer_id,
        producer_epoch,
        last_sequence,
        last_timestamp,
        coordinator_epoch,
        current_txn_start_offset,
    }
}

#[test]
fn partitions_tell_of_their_producers() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let broker = Broker::start(&Options::new(directory.path()));
    create_topic(broker.address(), "t", 3, &[]);
    let mut client = client(&broker);
    write(&mut client, 0, 70, 2, 0);
    write(&mut client, 0, 70, 2, 2);
    write(&mut client, 0, 9, 0, 0);
    write(&mut client, 1, 9, 0, 0);
    let topic = TopicRequest { name: "t".into(), partition_indexes: vec![1, 2, 0, 3] };
    let request = DescribeProducersRequest { topics: vec![topic] };
    let reply: DescribeProducersResponse<'_> =
        client.call(ApiKey::DescribeProducers, 0, &request).expect("it is served");
    let seen = reply.topics[0].partitions.iter();
    let seen: Vec<_> = seen.map(|p| (p.partition_index, p.error_code, p.active_producers.clone())).collect();
    let both = vec![told(9, 0, 1, 2_000), told(70, 2, 3, 2_002)];
    let expected = [(1, 0, vec![told(9, 0, 1, 2_000)]), (2, 0, Vec::new()), (0, 0, both), (3, 3, Vec::new())];
    assert_eq!(seen, expected);
    assert_eq!(broker.stop(), 0);
}
