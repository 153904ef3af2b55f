//! Requests that one connection sends without waiting for answers: appends take their places in the order of the
//! requests, in every partition that they name, also where one partition makes its part of a request wait; and every
//! other request sees what those before it have done.

use ottla_tests::broker::{Broker, Options};
use ottla_tests::topics::create_topic;
use ottla_wire::create_topics_request::{CreatableTopic, CreateTopicsRequest};
use ottla_wire::create_topics_response::CreateTopicsResponse;
use ottla_wire::list_offsets_request::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};
use ottla_wire::list_offsets_response::ListOffsetsResponse;
use ottla_wire::metadata_request::{MetadataRequest, MetadataRequestTopic};
use ottla_wire::metadata_response::MetadataResponse;
use ottla_wire::produce_request::{PartitionProduceData, ProduceRequest, TopicProduceData};
use ottla_wire::produce_response::ProduceResponse;
use ottla_wire::{ApiKey, Records};

use super::{METADATA_VERSION, PRODUCE_VERSION, batch, client, start};

/// The partition whose newest block is not in memory any more.
const COLD: i32 = 0;

/// A partition that nothing makes wait.
const WARM: i32 = 1;

/// The partition whose records take the memory.
const LARGE: i32 = 2;

fn request<'a>(batches: &[(i32, &'a [u8])]) -> ProduceRequest<'a> {
    let data = batches
        .iter()
        .map(|(index, batch)| PartitionProduceData {
            index: *index,
            records: Some(Records::Inline((*batch).into())),
        })
        .collect();
    let topic = TopicProduceData { name: "t".into(), partition_data: data, ..Default::default() };
    ProduceRequest { acks: -1, timeout_ms: 30_000, topic_data: vec![topic], ..Default::default() }
}

/// The base offset that each partition of a reply names.
fn base_offsets(reply: &ProduceResponse<'_>) -> Vec<(i32, i64)> {
    let parts = &reply.responses[0].partition_responses;
    parts
        .iter()
        .map(|part| {
            assert_eq!(part.error_code, 0, "{:?}", part.error_message);
            (part.index, part.base_offset)
        })
        .collect()
}

#[test]
fn a_part_that_waits_lets_no_later_request_pass_the_other_parts() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let options = Options::new(directory.path()).set("shards", 1).set("ottla.tail.cache.bytes", 1 << 20);
    let broker = Broker::start(&options);
    create_topic(broker.address(), "t", 3, &[]);
    let (small, large) = (batch(1), batch(25_000));
    let mut producer = client(&broker);
    for round in 0..10 {
        // What the other partitions hold leaves memory: the next append to the cold one reads its last block first.
        for _ in 0..8 {
            let reply: ProduceResponse<'_> = producer
                .call(ApiKey::Produce, PRODUCE_VERSION, &request(&[(LARGE, &large)]))
                .expect("the broker answers");
            base_offsets(&reply);
        }
        let mut pipelined = client(&broker);
        let first = request(&[(COLD, &small), (WARM, &small)]);
        pipelined.send(ApiKey::Produce, PRODUCE_VERSION, &first).expect("it is sent");
        pipelined.send(ApiKey::Produce, PRODUCE_VERSION, &request(&[(WARM, &small)])).expect("it is sent");
        let reply: ProduceResponse<'_> =
            pipelined.receive(ApiKey::Produce, PRODUCE_VERSION).expect("the first answer");
        assert_eq!(base_offsets(&reply), [(COLD, round), (WARM, 2 * round)], "round {round}");
        let reply: ProduceResponse<'_> =
            pipelined.receive(ApiKey::Produce, PRODUCE_VERSION).expect("the second answer");
        assert_eq!(base_offsets(&reply), [(WARM, 2 * round + 1)], "round {round}");
    }
    assert_eq!(broker.stop(), 0);
}

#[test]
fn an_end_that_is_asked_for_behind_an_append_is_behind_it() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let broker = start(&directory, &[]);
    let small = batch(1);
    let partition = ListOffsetsPartition { partition_index: 0, timestamp: -1, ..Default::default() };
    let topic = ListOffsetsTopic { name: "t".into(), partitions: vec![partition] };
    let ends = ListOffsetsRequest { replica_id: -1, topics: vec![topic], ..Default::default() };
    let mut client = client(&broker);
    for round in 0..20 {
        for _ in 0..2 {
            client.send(ApiKey::Produce, PRODUCE_VERSION, &request(&[(0, &small)])).expect("it is sent");
        }
        client.send(ApiKey::ListOffsets, 7, &ends).expect("it is sent");
        for at in 0..2 {
            let reply: ProduceResponse<'_> =
                client.receive(ApiKey::Produce, PRODUCE_VERSION).expect("the append's answer");
            assert_eq!(base_offsets(&reply), [(0, 2 * round + at)]);
        }
        let reply: ListOffsetsResponse<'_> = client.receive(ApiKey::ListOffsets, 7).expect("the end");
        assert_eq!(reply.topics[0].partitions[0].offset, 2 * round + 2, "round {round}");
    }
    assert_eq!(broker.stop(), 0);
}

#[test]
fn a_topic_that_was_ordered_is_there_for_the_next_request() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let broker = start(&directory, &[]);
    let mut client = client(&broker);
    for number in 0..10 {
        let name = format!("made-{number}");
        let topic = CreatableTopic {
            name: name.as_str().into(),
            num_partitions: 1,
            replication_factor: 1,
            ..Default::default()
        };
        let creation = CreateTopicsRequest { topics: vec![topic], timeout_ms: 30_000, ..Default::default() };
        client.send(ApiKey::CreateTopics, 5, &creation).expect("it is sent");
        let topic = MetadataRequestTopic { name: Some(name.as_str().into()), ..Default::default() };
        let question = MetadataRequest { topics: Some(vec![topic]), ..Default::default() };
        client.send(ApiKey::Metadata, METADATA_VERSION, &question).expect("it is sent");
        let reply: CreateTopicsResponse<'_> = client.receive(ApiKey::CreateTopics, 5).expect("the creation");
        assert_eq!(reply.topics[0].error_code, 0, "{:?}", reply.topics[0].error_message);
        let reply: MetadataResponse<'_> =
            client.receive(ApiKey::Metadata, METADATA_VERSION).expect("the metadata");
        assert_eq!(reply.topics[0].error_code, 0, "{name} is known");
    }
    assert_eq!(broker.stop(), 0);
}
