//! DeleteRecords and the topics that it may delete from, and who hears where a log begins, with the answers of Kafka
//! 4.3.1.

use ottla::errors::ErrorCode;
use ottla::protocol::records::{BatchBuilder, NewRecord};
use ottla_tests::broker::{Broker, Options};
use ottla_tests::topics::create_topic;
use ottla_tools::client::Client;
use ottla_wire::ApiKey;
use ottla_wire::Records;
use ottla_wire::delete_records_request::{DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic};
use ottla_wire::delete_records_response::DeleteRecordsResponse;
use ottla_wire::produce_request::{PartitionProduceData, ProduceRequest, TopicProduceData};
use ottla_wire::produce_response::ProduceResponse;

use crate::{PRODUCE_VERSION, batch, client};

const DELETE_VERSION: i16 = 2;

/// The error and the low watermark after a deletion before `offset`.
fn delete(client: &mut Client, topic: &'static str, offset: i64) -> (i16, i64) {
    let partitions = vec![DeleteRecordsPartition { partition_index: 0, offset }];
    let topic = DeleteRecordsTopic { name: topic.into(), partitions };
    let request = DeleteRecordsRequest { topics: vec![topic], timeout_ms: 30_000 };
    let reply: DeleteRecordsResponse<'_> =
        client.call(ApiKey::DeleteRecords, DELETE_VERSION, &request).expect("it is served");
    let partition = &reply.topics[0].partitions[0];
    (partition.error_code, partition.low_watermark)
}

fn write(client: &mut Client, topic: &'static str) {
    assert_eq!(produce(client, topic, &batch(10)).0, 0);
}

/// The error and the log start offset of a batch's answer.
fn produce(client: &mut Client, topic: &'static str, batch: &[u8]) -> (i16, i64) {
    let data = PartitionProduceData { index: 0, records: Some(Records::Inline(batch.into())) };
    let topic = TopicProduceData { name: topic.into(), partition_data: vec![data], ..Default::default() };
    let request =
        ProduceRequest { acks: -1, timeout_ms: 30_000, topic_data: vec![topic], ..Default::default() };
    let reply: ProduceResponse<'_> =
        client.call(ApiKey::Produce, PRODUCE_VERSION, &request).expect("the broker answers");
    let partition = &reply.responses[0].partition_responses[0];
    (partition.error_code, partition.log_start_offset)
}

#[test]
fn a_refused_batch_hears_where_the_log_begins_when_kafka_says_it() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let broker = Broker::start(&Options::new(directory.path()));
    let mut client = client(&broker);
    let configs = [("cleanup.policy", "compact,delete"), ("max.message.bytes", "1000")];
    create_topic(broker.address(), "t", 1, &configs);
    write(&mut client, "t");
    assert_eq!(delete(&mut client, "t", 4), (0, 4));
    let mut without_key = BatchBuilder::new();
    without_key.append(&NewRecord { value: Some(b"v"), ..NewRecord::default() });
    let refused = (ErrorCode::InvalidRecord.code(), 4);
    assert_eq!(produce(&mut client, "t", &without_key.build()), refused, "the log has looked at the record");
    let refused = (ErrorCode::MessageTooLarge.code(), -1);
    assert_eq!(produce(&mut client, "t", &batch(200)), refused);
    assert_eq!(produce(&mut client, "t", &batch(1)), (0, 4));
    assert_eq!(broker.stop(), 0);
}

#[test]
fn what_is_only_compacted_is_not_deleted_from() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let broker = Broker::start(&Options::new(directory.path()));
    let mut client = client(&broker);
    for (topic, policy) in [("d", "delete"), ("both", "compact,delete"), ("none", ""), ("c", "compact")] {
        create_topic(broker.address(), topic, 1, &[("cleanup.policy", policy)]);
        write(&mut client, topic);
    }
    for topic in ["d", "both", "none"] {
        assert_eq!(delete(&mut client, topic, 4), (0, 4), "{topic}");
        assert_eq!(delete(&mut client, topic, 11), (ErrorCode::OffsetOutOfRange.code(), -1), "{topic}");
        assert_eq!(delete(&mut client, topic, -2), (ErrorCode::OffsetOutOfRange.code(), -1), "{topic}");
        assert_eq!(delete(&mut client, topic, -1), (0, 10), "{topic}");
    }
    for offset in [4, 11, -1, -2] {
        let refused = (ErrorCode::PolicyViolation.code(), -1);
        assert_eq!(delete(&mut client, "c", offset), refused, "before the offset is looked at");
    }
    assert_eq!(ottla_tests::reader::offset_of(&mut client, "c", 0, -2), 0, "nothing has moved");
    assert_eq!(broker.stop(), 0);
}
