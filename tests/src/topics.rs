//! Topics for tests, made through the wire.

use std::net::SocketAddr;

use ottla_tools::client::Client;
use ottla_wire::ApiKey;
use ottla_wire::create_topics_request::{CreatableTopic, CreatableTopicConfig, CreateTopicsRequest};
use ottla_wire::create_topics_response::CreateTopicsResponse;
use ottla_wire::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
};
use ottla_wire::incremental_alter_configs_response::IncrementalAlterConfigsResponse;
use ottla_wire::metadata_request::{MetadataRequest, MetadataRequestTopic};
use ottla_wire::metadata_response::MetadataResponse;

/// The version used here.
const CREATE_VERSION: i16 = 5;
/// The version of Metadata that has topic ids.
const METADATA_VERSION: i16 = 12;

/// Creates a topic with `configs` as overrides.
///
/// # Panics
/// When the broker refuses it.
pub fn create_topic(address: SocketAddr, name: &str, partitions: i32, configs: &[(&str, &str)]) {
    create_topics(address, std::slice::from_ref(&name.to_owned()), partitions, configs);
}

/// Creates several topics in one request.
///
/// # Panics
/// When the broker refuses one.
pub fn create_topics(address: SocketAddr, names: &[String], partitions: i32, configs: &[(&str, &str)]) {
    let configs: Vec<_> = configs
        .iter()
        .map(|(key, value)| CreatableTopicConfig { name: (*key).into(), value: Some((*value).into()) })
        .collect();
    let topic = |name: &'_ String| CreatableTopic {
        name: name.clone().into(),
        num_partitions: partitions,
        replication_factor: -1,
        configs: configs.clone(),
        ..Default::default()
    };
    let request = CreateTopicsRequest {
        topics: names.iter().map(topic).collect(),
        timeout_ms: 30_000,
        ..Default::default()
    };
    let mut client = Client::connect(address, "tests").expect("the broker listens");
    let reply: CreateTopicsResponse<'_> =
        client.call(ApiKey::CreateTopics, CREATE_VERSION, &request).expect("the broker answers");
    for topic in &reply.topics {
        assert_eq!(topic.error_code, 0, "{}: {:?}", topic.name, topic.error_message);
    }
}

/// Sets one key of a topic's configuration.
///
/// # Panics
/// When the broker refuses it.
pub fn set_topic_config(address: SocketAddr, topic: &str, key: &str, value: &str) {
    set_config(address, (2, topic), key, value);
}

/// Sets one key of the configuration of all brokers.
///
/// # Panics
/// When the broker refuses it.
pub fn set_cluster_config(address: SocketAddr, key: &str, value: &str) {
    set_config(address, (4, ""), key, value);
}

fn set_config(address: SocketAddr, (resource_type, name): (i8, &str), key: &str, value: &str) {
    let config = AlterableConfig { name: key.into(), config_operation: 0, value: Some(value.into()) };
    let resource = AlterConfigsResource { resource_type, resource_name: name.into(), configs: vec![config] };
    let request = IncrementalAlterConfigsRequest { resources: vec![resource], validate_only: false };
    let mut client = Client::connect(address, "tests").expect("the broker listens");
    let reply: IncrementalAlterConfigsResponse<'_> =
        client.call(ApiKey::IncrementalAlterConfigs, 1, &request).expect("the broker answers");
    assert_eq!(reply.responses[0].error_code, 0, "{:?}", reply.responses[0].error_message);
}

/// The id of a topic, as Kafka prints it.
///
/// # Panics
/// When the broker does not know the topic.
#[must_use]
pub fn topic_id(address: &str, name: &str) -> String {
    let asked = MetadataRequestTopic { name: Some(name.to_owned().into()), ..Default::default() };
    let request = MetadataRequest { topics: Some(vec![asked]), ..Default::default() };
    let mut client = Client::connect(address, "tests").expect("the broker listens");
    let reply: MetadataResponse<'_> =
        client.call(ApiKey::Metadata, METADATA_VERSION, &request).expect("the broker answers");
    assert_eq!(reply.topics[0].error_code, 0, "{name}");
    reply.topics[0].topic_id.to_string()
}
