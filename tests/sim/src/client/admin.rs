//! Requests about the cluster: Metadata, CreateTopics, DeleteTopics, configurations, InitProducerId.

use ottla_wire::create_topics_request::{CreatableTopic, CreatableTopicConfig, CreateTopicsRequest};
use ottla_wire::create_topics_response::CreateTopicsResponse;
use ottla_wire::delete_topics_request::{DeleteTopicState, DeleteTopicsRequest};
use ottla_wire::delete_topics_response::DeleteTopicsResponse;
use ottla_wire::describe_configs_request::{DescribeConfigsRequest, DescribeConfigsResource};
use ottla_wire::describe_configs_response::DescribeConfigsResponse;
use ottla_wire::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
};
use ottla_wire::incremental_alter_configs_response::IncrementalAlterConfigsResponse;
use ottla_wire::init_producer_id_request::InitProducerIdRequest;
use ottla_wire::init_producer_id_response::InitProducerIdResponse;
use ottla_wire::metadata_request::MetadataRequest;
use ottla_wire::metadata_response::MetadataResponse;
use ottla_wire::{ApiKey, Uuid};

use super::outcome::{of_read, of_write};
use super::{CallError, Connection, Outcome, ReplyBody};

/// The version of CreateTopics that returns the topic's id.
const CREATE_TOPICS: i16 = 7;
/// The version of DeleteTopics that takes ids.
const DELETE_TOPICS: i16 = 6;
/// The version of Metadata used here: ids in both directions.
const METADATA: i16 = 12;
/// The version of DescribeConfigs used here.
const DESCRIBE_CONFIGS: i16 = 4;
/// The version of IncrementalAlterConfigs used here.
const ALTER_CONFIGS: i16 = 1;
/// The version of InitProducerId used here.
const INIT_PRODUCER_ID: i16 = 4;
/// Kafka's number for a topic among the resources that have configurations.
const TOPIC_RESOURCE: i8 = 2;
/// The operation of IncrementalAlterConfigs that sets a value.
const SET: i8 = 0;

/// A topic to be created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTopic {
    /// Its name.
    pub name: String,
    /// How many partitions it has.
    pub partitions: i32,
    /// Its configuration, as key and value.
    pub configs: Vec<(String, String)>,
}

/// A topic as Metadata shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenTopic {
    /// Its name.
    pub name: String,
    /// Its id.
    pub id: Uuid,
    /// Its partitions.
    pub partitions: Vec<SeenPartition>,
}

/// A partition as Metadata shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeenPartition {
    /// Its index.
    pub index: i32,
    /// Whether it has a leader.
    pub has_leader: bool,
    /// The epoch of its leader.
    pub leader_epoch: i32,
}

impl Connection {
    /// Every topic that is not the broker's own.
    pub async fn topics(&self) -> Outcome<Vec<SeenTopic>> {
        let request = MetadataRequest { topics: None, ..Default::default() };
        match self.call(ApiKey::Metadata, METADATA, &request).await {
            Ok(reply) => match reply.read::<MetadataResponse<'_>>() {
                Ok(reply) => topics_of(&reply),
                Err(error) => error.into(),
            },
            Err(error) => error.into(),
        }
    }

    /// Creates a topic and returns its id.
    pub async fn create_topic(&self, topic: &NewTopic) -> Outcome<Uuid> {
        let config = |(key, value): &(String, String)| CreatableTopicConfig {
            name: key.clone().into(),
            value: Some(value.clone().into()),
        };
        let creatable = CreatableTopic {
            name: topic.name.clone().into(),
            num_partitions: topic.partitions,
            replication_factor: 1,
            configs: topic.configs.iter().map(config).collect(),
            ..Default::default()
        };
        let request =
            CreateTopicsRequest { topics: vec![creatable], timeout_ms: 30_000, validate_only: false };
        answer(self.call(ApiKey::CreateTopics, CREATE_TOPICS, &request).await, |reply| {
            let reply = reply.read::<CreateTopicsResponse<'_>>()?;
            let created = reply.topics.first().ok_or_else(nothing)?;
            Ok(if created.error_code == 0 {
                Outcome::Ok(created.topic_id)
            } else {
                of_write(created.error_code)
            })
        })
    }

    /// Deletes the topic of this id.
    pub async fn delete_topic(&self, id: Uuid) -> Outcome<()> {
        let topics = vec![DeleteTopicState { name: None, topic_id: id }];
        let request = DeleteTopicsRequest { topics, timeout_ms: 30_000, ..Default::default() };
        answer(self.call(ApiKey::DeleteTopics, DELETE_TOPICS, &request).await, |reply| {
            let reply = reply.read::<DeleteTopicsResponse<'_>>()?;
            Ok(done(reply.responses.first().ok_or_else(nothing)?.error_code))
        })
    }

    /// Sets one key of a topic's configuration.
    pub async fn set_config(&self, topic: &str, key: &str, value: &str) -> Outcome<()> {
        let configs =
            vec![AlterableConfig { name: key.into(), config_operation: SET, value: Some(value.into()) }];
        let resource =
            AlterConfigsResource { resource_type: TOPIC_RESOURCE, resource_name: topic.into(), configs };
        let request = IncrementalAlterConfigsRequest { resources: vec![resource], validate_only: false };
        answer(self.call(ApiKey::IncrementalAlterConfigs, ALTER_CONFIGS, &request).await, |reply| {
            let reply = reply.read::<IncrementalAlterConfigsResponse<'_>>()?;
            Ok(done(reply.responses.first().ok_or_else(nothing)?.error_code))
        })
    }

    /// Reads one key of a topic's configuration.
    pub async fn config(&self, topic: &str, key: &str) -> Outcome<String> {
        let resource = DescribeConfigsResource {
            resource_type: TOPIC_RESOURCE,
            resource_name: topic.into(),
            configuration_keys: Some(vec![key.into()]),
        };
        let request = DescribeConfigsRequest { resources: vec![resource], ..Default::default() };
        answer(self.call(ApiKey::DescribeConfigs, DESCRIBE_CONFIGS, &request).await, |reply| {
            let reply = reply.read::<DescribeConfigsResponse<'_>>()?;
            let described = reply.results.first().ok_or_else(nothing)?;
            if described.error_code != 0 {
                return Ok(of_read(described.error_code));
            }
            let config = described.configs.first().ok_or_else(nothing)?;
            Ok(Outcome::Ok(config.value.as_deref().unwrap_or_default().to_owned()))
        })
    }

    /// Takes a producer id and its epoch.
    pub async fn init_producer_id(&self) -> Outcome<(i64, i16)> {
        let request = InitProducerIdRequest {
            transactional_id: None,
            transaction_timeout_ms: i32::MAX,
            producer_id: -1,
            producer_epoch: -1,
            ..Default::default()
        };
        answer(self.call(ApiKey::InitProducerId, INIT_PRODUCER_ID, &request).await, |reply| {
            let reply = reply.read::<InitProducerIdResponse>()?;
            Ok(match reply.error_code {
                0 => Outcome::Ok((reply.producer_id, reply.producer_epoch)),
                code => of_write(code),
            })
        })
    }
}

/// The outcome of a call whose reply `read` understands.
pub(super) fn answer<T>(
    reply: Result<ReplyBody, CallError>,
    read: impl FnOnce(&ReplyBody) -> Result<Outcome<T>, CallError>,
) -> Outcome<T> {
    reply.and_then(|reply| read(&reply)).unwrap_or_else(Outcome::from)
}

/// A reply that leaves out what was asked for.
pub(super) fn nothing() -> CallError {
    CallError::Garbled("a reply without what was asked for".to_owned())
}

/// A success without a value, or the error of a change.
pub(super) fn done(code: i16) -> Outcome<()> {
    if code == 0 { Outcome::Ok(()) } else { of_write(code) }
}

fn topics_of(reply: &MetadataResponse<'_>) -> Outcome<Vec<SeenTopic>> {
    let mut topics = Vec::with_capacity(reply.topics.len());
    for topic in reply.topics.iter().filter(|topic| !topic.is_internal) {
        if topic.error_code != 0 {
            return of_read(topic.error_code);
        }
        let partition =
            |partition: &ottla_wire::metadata_response::MetadataResponsePartition| SeenPartition {
                index: partition.partition_index,
                has_leader: partition.leader_id >= 0,
                leader_epoch: partition.leader_epoch,
            };
        let mut partitions: Vec<SeenPartition> = topic.partitions.iter().map(partition).collect();
        partitions.sort_by_key(|partition| partition.index);
        let name = topic.name.as_deref().unwrap_or_default().to_owned();
        topics.push(SeenTopic { name, id: topic.topic_id, partitions });
    }
    Outcome::Ok(topics)
}
