//! CreateTopics (key 19, versions 2-7) and the creation of topics that a client merely asked about.
//!
//! | version | change |
//! |---|---|
//! | 4 | -1 partitions or replicas: the broker's default (older clients that send it get it too) |
//! | 5 | the response tells partitions, replicas and the topic's whole configuration |
//! | 7 | the response tells the topic's id |
//!
//! Every topic of a request is answered, and the good ones of a mixed request are created. The checks, their order and
//! their words are those of Kafka's `ReplicationControlManager.createTopics` and `ControllerApis.createTopics`. As in
//! Kafka a name collides with existing topics alone and not with others of the same request.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use ottla_wire::MetadataRecord;
use ottla_wire::config_record::ConfigRecord;
use ottla_wire::create_topics_request::{CreatableTopic, CreatableTopicConfig, CreateTopicsRequest};
use ottla_wire::create_topics_response::{CreatableTopicConfigs, CreatableTopicResult, CreateTopicsResponse};
use ottla_wire::topic_record::TopicRecord;

use super::assign::{Assigner, Assignment};
use super::configs::bytes_after;
use super::image::{ConfigResource, ConfigResourceType, Image};
use super::names::{self, CLUSTER_METADATA, CONSUMER_OFFSETS};
use super::{ApiError, Decision, Random};
use crate::config::alter::{self, AlterOp, Alteration, Target};
use crate::config::describe::{self, Wanted};
use crate::config::{BrokerConfig, Overrides};
use crate::errors::ErrorCode;
use crate::ids::{TopicId, Uuid};
use crate::limits::{PARTITIONS_PER_REQUEST_MAX, PARTITIONS_TOTAL_MAX};

/// From this version on the response describes the created topic.
const DESCRIBED: i16 = 5;

/// Kafka's answer to a request that creates more than [`PARTITIONS_PER_REQUEST_MAX`] partitions.
pub(super) const TOO_MANY: &str = "Excessively large number of partitions per request.";

/// Decides a request of `version`.
#[must_use]
pub fn create(
    image: &Image,
    config: &BrokerConfig,
    version: i16,
    request: &CreateTopicsRequest<'_>,
    random: Random<'_>,
) -> Decision<CreateTopicsResponse<'static>> {
    let duplicates = duplicates(request.topics.iter().map(|topic| &*topic.name));
    let wanted: Vec<&CreatableTopic<'_>> = request
        .topics
        .iter()
        .filter(|topic| !duplicates.contains(&*topic.name) && topic.name != CLUSTER_METADATA)
        .collect();
    if partitions_wanted(config, &wanted) > PARTITIONS_PER_REQUEST_MAX {
        let refused = |name: &str| failed(name, ApiError::new(ErrorCode::PolicyViolation, TOO_MANY));
        let topics = request.topics.iter().map(|topic| refused(&topic.name)).collect();
        return Decision {
            records: Vec::new(),
            reply: CreateTopicsResponse { topics, ..Default::default() },
        };
    }
    let mut creation = Creation {
        image,
        config,
        describe: version >= DESCRIBED,
        assigner: Assigner::new(image),
        ids: BTreeSet::new(),
        partitions: image.topics.partition_count(),
        config_bytes: image.configs.bytes(),
        last_described: None,
        records: Vec::new(),
    };
    let mut topics: Vec<CreatableTopicResult<'static>> = Vec::with_capacity(request.topics.len());
    for topic in wanted {
        topics.push(creation.topic(topic, random).unwrap_or_else(|error| failed(&topic.name, error)));
    }
    for name in &duplicates {
        topics.push(failed(name, ApiError::new(ErrorCode::InvalidRequest, "Duplicate topic name.")));
    }
    if request.topics.iter().any(|topic| topic.name == CLUSTER_METADATA)
        && !duplicates.contains(CLUSTER_METADATA)
    {
        let text = format!("Creation of internal topic {CLUSTER_METADATA} is prohibited.");
        topics.push(failed(CLUSTER_METADATA, ApiError::new(ErrorCode::InvalidRequest, text)));
    }
    let records = if request.validate_only { Vec::new() } else { creation.records };
    Decision { records, reply: CreateTopicsResponse { topics, ..Default::default() } }
}

/// Decides the creation of topics that were asked about and do not exist (`auto.create.topics.enable`), with the
/// broker's defaults. Kafka's own topics get what their coordinators need; of these only the offsets' topic has one
/// here, and the others are left out until theirs are. A topic that cannot be created is so in the reply alone, for
/// the log: the client asks again.
#[must_use]
pub fn auto_create(
    image: &Image,
    config: &BrokerConfig,
    names: &[&str],
    random: Random<'_>,
) -> Decision<CreateTopicsResponse<'static>> {
    let names = names.iter().copied().filter(|name| *name == CONSUMER_OFFSETS || !names::is_internal(name));
    let mut topics = Vec::new();
    let mut later = Vec::new();
    let mut partitions = 0;
    for name in names.filter(|name| image.topics.by_name(name).is_none()) {
        let topic = automatic(image, config, name);
        // One request of a client may name more topics than one batch of records should create: the rest waits for
        // the client to ask again.
        partitions += partitions_wanted(config, &[&topic]);
        if partitions > PARTITIONS_PER_REQUEST_MAX { later.push(name) } else { topics.push(topic) }
    }
    let request = CreateTopicsRequest { topics, ..Default::default() };
    let mut decision = create(image, config, 0, &request, random);
    let later =
        later.into_iter().map(|name| failed(name, ApiError::new(ErrorCode::PolicyViolation, TOO_MANY)));
    decision.reply.topics.extend(later);
    decision
}

/// The offsets' topic is compacted and never recompressed (`GroupCoordinatorService.groupMetadataTopicConfigs`). Its
/// replication factor, by default 3, is as many as there are: one broker alone must be able to serve groups.
fn automatic<'a>(image: &Image, config: &BrokerConfig, name: &'a str) -> CreatableTopic<'a> {
    if name != CONSUMER_OFFSETS {
        let (num_partitions, replication_factor) = (-1, -1);
        return CreatableTopic {
            name: Cow::Borrowed(name),
            num_partitions,
            replication_factor,
            ..Default::default()
        };
    }
    let brokers = i16::try_from(image.alive_brokers().count()).unwrap_or(i16::MAX).max(1);
    let setting = |name, value| CreatableTopicConfig { name: Cow::Borrowed(name), value: Some(value) };
    CreatableTopic {
        name: Cow::Borrowed(name),
        num_partitions: config.offsets.partitions,
        replication_factor: config.offsets.replication_factor.min(brokers),
        assignments: Vec::new(),
        configs: vec![
            setting("cleanup.policy", Cow::Borrowed("compact")),
            setting("compression.type", Cow::Borrowed("producer")),
            setting("segment.bytes", Cow::Owned(config.offsets.segment_bytes.to_string())),
        ],
    }
}

/// The partitions that a request would create, before anything else is checked.
fn partitions_wanted(config: &BrokerConfig, topics: &[&CreatableTopic<'_>]) -> usize {
    let wanted = |topic: &&CreatableTopic<'_>| match topic.num_partitions {
        _ if !topic.assignments.is_empty() => topic.assignments.len(),
        -1 => usize::try_from(config.topics.partitions).unwrap_or(0),
        count => usize::try_from(count).unwrap_or(0),
    };
    topics.iter().map(wanted).fold(0, usize::saturating_add)
}

/// The names that come more than once.
pub(super) fn duplicates<'a>(names: impl Iterator<Item = &'a str>) -> BTreeSet<&'a str> {
    let mut seen = BTreeSet::new();
    names.filter(|name| !seen.insert(*name)).collect()
}

fn failed(name: &str, error: ApiError) -> CreatableTopicResult<'static> {
    CreatableTopicResult {
        name: Cow::Owned(name.to_owned()),
        error_code: error.code.code(),
        error_message: error.message,
        ..Default::default()
    }
}

/// One request's creations: what the topics before have already taken.
struct Creation<'a> {
    image: &'a Image,
    config: &'a BrokerConfig,
    describe: bool,
    assigner: Assigner<'a>,
    ids: BTreeSet<TopicId>,
    partitions: usize,
    config_bytes: usize,
    last_described: Option<(Overrides, Vec<CreatableTopicConfigs<'static>>)>,
    records: Vec<MetadataRecord<'static>>,
}

impl Creation<'_> {
    fn topic(
        &mut self,
        topic: &CreatableTopic<'_>,
        random: &mut dyn FnMut() -> [u8; 16],
    ) -> Result<CreatableTopicResult<'static>, ApiError> {
        self.check_name(&topic.name)?;
        let overrides = self.overrides(topic)?;
        let assignments = self.assignments(topic)?;
        let partitions = self.partitions + assignments.len();
        if partitions > PARTITIONS_TOTAL_MAX {
            return Err(too_many_in_total(self.partitions));
        }
        let resource = ConfigResource::topic(&topic.name);
        let config_bytes = bytes_after(self.config_bytes, &resource, &Overrides::new(), &overrides)?;
        let result = self.result(topic, &overrides, &assignments, random)?;
        self.partitions = partitions;
        self.config_bytes = config_bytes;
        self.write(&topic.name, result.topic_id, overrides, &assignments);
        Ok(result)
    }

    fn check_name(&self, name: &str) -> Result<(), ApiError> {
        if self.image.topics.by_name(name).is_some() {
            return Err(ApiError::new(
                ErrorCode::TopicAlreadyExists,
                format!("Topic '{name}' already exists."),
            ));
        }
        if let Some(other) = self.image.topics.colliding(name) {
            let text = format!("Topic '{name}' collides with existing topic: {other}");
            return Err(ApiError::new(ErrorCode::InvalidTopicException, text));
        }
        match names::invalid_reason(name) {
            Some(reason) => Err(ApiError::new(ErrorCode::InvalidTopicException, reason)),
            None => Ok(()),
        }
    }

    /// Of a key that comes twice the last value counts, as in Kafka.
    fn overrides(&self, topic: &CreatableTopic<'_>) -> Result<Overrides, ApiError> {
        if topic.configs.is_empty() {
            return Ok(Overrides::new());
        }
        let nulls: Vec<&str> = topic
            .configs
            .iter()
            .filter(|config| config.value.is_none())
            .map(|config| &*config.name)
            .collect();
        if !nulls.is_empty() {
            let text = format!("Null value not supported for topic configs: {}", nulls.join(","));
            return Err(ApiError::new(ErrorCode::InvalidConfig, text));
        }
        let by_name: BTreeMap<&str, Option<&str>> =
            topic.configs.iter().map(|config| (&*config.name, config.value.as_deref())).collect();
        let alterations: Vec<Alteration> = by_name
            .into_iter()
            .map(|(name, value)| Alteration {
                name: name.to_owned(),
                op: AlterOp::Set,
                value: value.map(str::to_owned),
            })
            .collect();
        let target = Target::Topic(self.config.settings());
        let altered = alter::incremental(target, &Overrides::new(), &alterations)
            .map_err(|error| ApiError::new(error.code, error.message))?;
        Ok(altered.overrides)
    }

    fn assignments(&mut self, topic: &CreatableTopic<'_>) -> Result<Vec<Assignment>, ApiError> {
        let refused = |code, text: &'static str| Err(ApiError::new(code, text));
        if !topic.assignments.is_empty() {
            return self.manual_assignments(topic);
        }
        if topic.replication_factor < -1 || topic.replication_factor == 0 {
            let text = "Replication factor must be larger than 0, or -1 to use the default value.";
            return refused(ErrorCode::InvalidReplicationFactor, text);
        }
        if topic.num_partitions < -1 || topic.num_partitions == 0 {
            let text = "Number of partitions was set to an invalid non-positive value.";
            return refused(ErrorCode::InvalidPartitions, text);
        }
        let defaults = &self.config.topics;
        let partitions = if topic.num_partitions == -1 { defaults.partitions } else { topic.num_partitions };
        let replicas = match topic.replication_factor {
            -1 => i16::try_from(defaults.replication_factor).unwrap_or(i16::MAX),
            replicas => replicas,
        };
        if replicas <= 0 {
            // As Kafka's `StripedReplicaPlacer` says it.
            let text = format!(
                "Unable to replicate the partition {replicas} time(s): Invalid replication factor {replicas}: the \
                 replication factor must be positive."
            );
            return Err(ApiError::new(ErrorCode::InvalidReplicationFactor, text));
        }
        self.assigner.place(0, partitions, replicas).map_err(|error| {
            let reason = error.message.unwrap_or_default();
            ApiError::new(
                error.code,
                format!("Unable to replicate the partition {replicas} time(s): {reason}"),
            )
        })
    }

    fn manual_assignments(&mut self, topic: &CreatableTopic<'_>) -> Result<Vec<Assignment>, ApiError> {
        let refused = |code, text: String| Err(ApiError::new(code, text));
        for (is_set, what) in [
            (topic.replication_factor != -1, "replication factor"),
            (topic.num_partitions != -1, "numPartitions"),
        ] {
            if is_set {
                let text =
                    format!("A manual partition assignment was specified, but {what} was not set to -1.");
                return refused(ErrorCode::InvalidRequest, text);
            }
        }
        let mut assignments = BTreeMap::new();
        let mut factor = None;
        for wanted in &topic.assignments {
            let index = wanted.partition_index;
            if assignments.contains_key(&index) {
                let text = format!("Found multiple manual partition assignments for partition {index}");
                return refused(ErrorCode::InvalidReplicaAssignment, text);
            }
            let assignment = self.assigner.manual(index, &wanted.broker_ids, factor)?;
            factor = Some(assignment.replication_factor());
            assignments.insert(index, assignment);
        }
        if !assignments.keys().copied().eq(0..i32::try_from(assignments.len()).unwrap_or(i32::MAX)) {
            let text = "partitions should be a consecutive 0-based integer sequence".to_owned();
            return refused(ErrorCode::InvalidReplicaAssignment, text);
        }
        Ok(assignments.into_values().collect())
    }

    fn result(
        &mut self,
        topic: &CreatableTopic<'_>,
        overrides: &Overrides,
        assignments: &[Assignment],
        random: &mut dyn FnMut() -> [u8; 16],
    ) -> Result<CreatableTopicResult<'static>, ApiError> {
        let configs = if self.describe { Some(self.described(overrides)?) } else { None };
        let first = assignments.first().expect("a topic has at least one partition");
        Ok(CreatableTopicResult {
            name: Cow::Owned(topic.name.clone().into_owned()),
            topic_id: self.fresh_id(random),
            error_message: None,
            num_partitions: i32::try_from(assignments.len()).expect("a request creates few enough"),
            replication_factor: first.replication_factor(),
            configs,
            ..Default::default()
        })
    }

    /// The topics of one request mostly have the same settings: the last description is kept.
    fn described(&mut self, overrides: &Overrides) -> Result<Vec<CreatableTopicConfigs<'static>>, ApiError> {
        match &self.last_described {
            Some((same, described)) if same == overrides => Ok(described.clone()),
            _ => {
                let described = describe_topic(self.config, overrides)?;
                self.last_described = Some((overrides.clone(), described.clone()));
                Ok(described)
            }
        }
    }

    /// An id that no topic has and no tool takes for an option: Kafka prints ids without a `-` in them.
    fn fresh_id(&mut self, random: &mut dyn FnMut() -> [u8; 16]) -> TopicId {
        loop {
            let id = super::random_uuid(random);
            if self.image.topics.by_id(id).is_none() && self.ids.insert(id) {
                return id;
            }
        }
    }

    /// The configs come between the topic and its partitions, as Kafka writes them.
    fn write(&mut self, name: &str, id: Uuid, overrides: Overrides, assignments: &[Assignment]) {
        let topic = TopicRecord { name: Cow::Owned(name.to_owned()), topic_id: id };
        self.records.push(MetadataRecord::TopicRecord(topic));
        self.records.extend(overrides.into_iter().map(|(key, value)| {
            MetadataRecord::ConfigRecord(ConfigRecord {
                resource_type: ConfigResourceType::Topic.code(),
                resource_name: Cow::Owned(name.to_owned()),
                name: Cow::Owned(key),
                value: Some(Cow::Owned(value)),
            })
        }));
        self.records.extend((0..).zip(assignments).map(|(index, assignment)| assignment.record(id, index)));
    }
}

/// The whole configuration of a topic with these settings of its own, sorted by name.
fn describe_topic(
    config: &BrokerConfig,
    overrides: &Overrides,
) -> Result<Vec<CreatableTopicConfigs<'static>>, ApiError> {
    let described = describe::topic(config.settings(), overrides, Wanted::ALL)
        .map_err(|error| ApiError::new(ErrorCode::InvalidConfig, error.to_string()))?;
    let entry = |entry: describe::Described| CreatableTopicConfigs {
        name: Cow::Owned(entry.name),
        value: entry.value.map(Cow::Owned),
        read_only: entry.read_only,
        config_source: entry.source.code(),
        is_sensitive: entry.sensitive,
    };
    Ok(described.into_iter().map(entry).collect())
}

pub(super) fn too_many_in_total(partitions: usize) -> ApiError {
    let text =
        format!("The cluster has {partitions} partitions of the {PARTITIONS_TOTAL_MAX} that it can have.");
    ApiError::new(ErrorCode::PolicyViolation, text)
}

#[cfg(test)]
mod tests;
