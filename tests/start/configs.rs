//! Settings that change while the broker runs: what topics describe, and what producers meet.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use ottla::ids::{ProducerEpoch, ProducerId, TimestampMs};
use ottla::protocol::records::builder::{BatchBuilder, NewRecord};
use ottla_tests::broker::{Broker, Options};
use ottla_tests::topics::create_topic;
use ottla_tools::client::Client;
use ottla_wire::describe_configs_request::{DescribeConfigsRequest, DescribeConfigsResource};
use ottla_wire::describe_configs_response::DescribeConfigsResponse;
use ottla_wire::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
};
use ottla_wire::incremental_alter_configs_response::IncrementalAlterConfigsResponse;
use ottla_wire::produce_request::{PartitionProduceData, ProduceRequest, TopicProduceData};
use ottla_wire::produce_response::ProduceResponse;
use ottla_wire::{ApiKey, Records};

use crate::support::count;

const TOPIC: i8 = 2;
const BROKER: i8 = 4;
/// MESSAGE_TOO_LARGE.
const TOO_LARGE: i16 = 10;

/// Sets a key of a resource, or deletes the setting; returns the error code.
fn alter(address: SocketAddr, kind: i8, name: &str, key: &str, value: Option<&str>) -> i16 {
    let mut client = Client::connect(address, "tests").expect("the broker listens");
    let config = AlterableConfig {
        name: key.into(),
        config_operation: i8::from(value.is_none()),
        value: value.map(Into::into),
    };
    let resource =
        AlterConfigsResource { resource_type: kind, resource_name: name.into(), configs: vec![config] };
    let request = IncrementalAlterConfigsRequest { resources: vec![resource], validate_only: false };
    let reply: IncrementalAlterConfigsResponse<'_> =
        client.call(ApiKey::IncrementalAlterConfigs, 1, &request).expect("the broker answers");
    reply.responses[0].error_code
}

/// A key's value and its source.
fn described(address: SocketAddr, kind: i8, name: &str, key: &str) -> (String, i8) {
    let mut client = Client::connect(address, "tests").expect("the broker listens");
    let resource = DescribeConfigsResource {
        resource_type: kind,
        resource_name: name.into(),
        configuration_keys: Some(vec![key.into()]),
    };
    let request = DescribeConfigsRequest { resources: vec![resource], ..Default::default() };
    let reply: DescribeConfigsResponse<'_> =
        client.call(ApiKey::DescribeConfigs, 4, &request).expect("the broker answers");
    assert_eq!(reply.results[0].error_code, 0);
    let config = &reply.results[0].configs[0];
    (config.value.as_deref().unwrap_or("null").to_owned(), config.config_source)
}

fn is(value: &str, source: i8) -> (String, i8) {
    (value.to_owned(), source)
}

#[test]
fn a_setting_of_all_brokers_changes_what_topics_have_and_outlives_a_restart() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let options = Options::new(directory.path()).set("log.retention.ms", 86_400_000);
    let broker = Broker::start(&options);
    let address = broker.address();
    create_topic(address, "t", 2, &[]);
    create_topic(address, "own", 1, &[("retention.ms", "5000")]);
    let of = |address, topic| described(address, TOPIC, topic, "retention.ms");
    assert_eq!(of(address, "t"), is("86400000", 4));
    assert_eq!(alter(address, BROKER, "", "log.retention.ms", Some("70000")), 0);
    assert_eq!(of(address, "t"), is("70000", 3));
    assert_eq!(of(address, "own"), is("5000", 1));
    assert_eq!(described(address, BROKER, "1", "log.retention.ms"), is("70000", 3));
    assert_eq!(alter(address, BROKER, "1", "log.retention.ms", Some("60000")), 0);
    assert_eq!(of(address, "t"), is("60000", 2));
    assert_eq!(alter(address, BROKER, "", "log.retention.ms", Some("many")), 42, "INVALID_REQUEST");
    assert_eq!(broker.stop(), 0);

    let broker = Broker::start(&options);
    let address = broker.address();
    assert_eq!(of(address, "t"), is("60000", 2));
    assert_eq!(alter(address, BROKER, "1", "log.retention.ms", None), 0);
    assert_eq!(of(address, "t"), is("70000", 3));
    assert_eq!(alter(address, BROKER, "", "log.retention.ms", None), 0);
    assert_eq!(of(address, "t"), is("86400000", 4));
    assert_eq!(broker.stop(), 0);
}

/// Produces one record of `bytes` bytes and returns the error code.
fn produce_one(address: SocketAddr, topic: &str, bytes: usize) -> i16 {
    produce_with(address, topic, bytes, BatchBuilder::new())
}

/// The same with a batch that may name a producer.
fn produce_with(address: SocketAddr, topic: &str, bytes: usize, mut builder: BatchBuilder) -> i16 {
    let value = vec![b'x'; bytes];
    let timestamp = TimestampMs(1_700_000_000_000);
    builder.append(&NewRecord { timestamp, key: None, value: Some(&value), headers: &[] });
    let batch = builder.build();
    let data = PartitionProduceData { index: 0, records: Some(Records::Inline(batch.as_slice().into())) };
    let topic = TopicProduceData { name: topic.into(), partition_data: vec![data], ..Default::default() };
    let request =
        ProduceRequest { acks: -1, timeout_ms: 30_000, topic_data: vec![topic], ..Default::default() };
    let mut client = Client::connect(address, "tests").expect("the broker listens");
    let reply: ProduceResponse<'_> = client.call(ApiKey::Produce, 11, &request).expect("the broker answers");
    reply.responses[0].partition_responses[0].error_code
}

#[test]
fn a_largest_batch_acts_at_once_from_topic_and_broker() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let broker = Broker::start(&Options::new(directory.path()));
    let address = broker.address();
    create_topic(address, "t", 1, &[]);
    create_topic(address, "u", 1, &[]);
    assert_eq!(produce_one(address, "t", 10_000), 0);
    assert_eq!(alter(address, TOPIC, "t", "max.message.bytes", Some("1000")), 0);
    assert_eq!((produce_one(address, "t", 10_000), produce_one(address, "t", 500)), (TOO_LARGE, 0));
    assert_eq!(produce_one(address, "u", 10_000), 0, "another topic is as it was");
    assert_eq!(alter(address, BROKER, "", "message.max.bytes", Some("2000")), 0);
    assert_eq!((produce_one(address, "u", 10_000), produce_one(address, "u", 1500)), (TOO_LARGE, 0));
    assert_eq!(alter(address, TOPIC, "t", "max.message.bytes", None), 0);
    assert_eq!((produce_one(address, "t", 1500), produce_one(address, "t", 10_000)), (0, TOO_LARGE));
    assert_eq!(alter(address, BROKER, "", "message.max.bytes", None), 0);
    assert_eq!(produce_one(address, "t", 10_000), 0);
    assert_eq!(broker.stop(), 0);
}

/// A batch that is sent again is a duplicate for as long as its producer is remembered.
#[test]
fn idle_producers_are_forgotten_after_their_time() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let options = Options::new(directory.path()).set("log.retention.check.interval.ms", 20);
    let broker = Broker::start(&options);
    let address = broker.address();
    create_topic(address, "t", 1, &[("retention.ms", "-1")]);
    let send = || {
        let batch = BatchBuilder::new().producer(ProducerId(7), ProducerEpoch(0), 0);
        assert_eq!(produce_with(address, "t", 10, batch), 0);
        count(address, "t", 0)
    };
    assert_eq!((send(), send()), (1, 1));
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(send(), 1, "a day is the default");
    assert_eq!(alter(address, BROKER, "1", "producer.id.expiration.ms", Some("50")), 0);
    let deadline = Instant::now() + Duration::from_secs(30);
    while send() == 1 {
        assert!(Instant::now() < deadline, "the producer was never forgotten");
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(broker.stop(), 0);
}
