//! Requests that one connection sends without waiting for answers are appended in their order, in every partition that
//! they name, also where one partition makes its part of a request wait.

use ottla_tests::broker::{Broker, Options};
use ottla_tests::topics::create_topic;
use ottla_wire::produce_request::{PartitionProduceData, ProduceRequest, TopicProduceData};
use ottla_wire::produce_response::ProduceResponse;
use ottla_wire::{ApiKey, Records};

use super::{PRODUCE_VERSION, batch, client};

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
