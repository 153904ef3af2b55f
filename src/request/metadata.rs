//! Metadata (key 3, versions 0-13): the brokers, and the leaders of topics; how every client finds its way.
//!
//! | version | change |
//! |---|---|
//! | 0 | no topics means all of them; a replica that cannot be reached is an error of the partition |
//! | 1 | null topics means all, none means none; rack, controller, whether a topic is internal |
//! | 2 | cluster id |
//! | 3 | throttle time |
//! | 4 | the client says whether topics may be created (before: yes) |
//! | 5 | offline replicas |
//! | 6 | a leader without the client's listener is LISTENER_NOT_FOUND (before: LEADER_NOT_AVAILABLE) |
//! | 7 | leader epoch |
//! | 8 | authorized operations of topics and, until version 10, of the cluster |
//! | 9 | flexible |
//! | 10 | topic ids in the response; in the request only from version 12 on |
//! | 13 | an error for the whole response |
//!
//! A topic that does not exist and may be created is answered with UNKNOWN_TOPIC_OR_PARTITION and named in the plan:
//! the client asks again, as with Kafka. The controller that clients are told is this broker.

use std::borrow::Cow;
use std::collections::BTreeSet;

use ottla_wire::metadata_request::MetadataRequest;
use ottla_wire::metadata_response::{
    MetadataResponse, MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};

use super::{RequestContext, operations, replicas};
use crate::controller::image::{Image, PartitionImage, TopicImage};
use crate::controller::names;
use crate::errors::ErrorCode;
use crate::ids::{NodeId, Uuid};

/// From this version on the response can say that a leader lacks the listener.
const LISTENER_ERRORS: i16 = 6;
/// The versions whose response has the cluster's operations begin here.
const OPERATIONS: i16 = 8;
/// The last version whose response has the cluster's operations.
const CLUSTER_OPERATIONS_LAST: i16 = 10;
/// From this version on a request may name topics by id.
const TOPIC_IDS: i16 = 12;

/// What a request leads to.
#[derive(Clone, Debug, PartialEq)]
pub struct MetadataPlan<'a> {
    /// The answer; it does not wait for the topics that are to be created.
    pub response: MetadataResponse<'a>,
    /// The names of topics to create, each once and valid, with the broker's defaults.
    pub create: Vec<&'a str>,
}

/// Answers a request. `auto_create` is `auto.create.topics.enable`.
#[must_use]
pub fn handle<'a>(
    context: &RequestContext<'_>,
    image: &'a Image,
    auto_create: bool,
    request: &'a MetadataRequest<'_>,
) -> MetadataPlan<'a> {
    if let Some(error) = refusal(context.version, request) {
        return MetadataPlan { response: refused(request, error), create: Vec::new() };
    }
    let answer = Answer {
        image,
        listener: context.listener,
        version: context.version,
        with_operations: context.version >= OPERATIONS && request.include_topic_authorized_operations,
    };
    let may_create = auto_create && request.allow_auto_topic_creation;
    let mut create = Vec::new();
    let topics = match &request.topics {
        None => answer.all(),
        Some(topics) if topics.is_empty() && context.version == 0 => answer.all(),
        Some(topics) if topics.iter().any(|topic| !topic.topic_id.is_zero()) => {
            answer.by_ids(topics.iter().map(|topic| topic.topic_id))
        }
        Some(topics) => {
            let names: BTreeSet<&str> = topics.iter().filter_map(|topic| topic.name.as_deref()).collect();
            let (found, missing): (Vec<&str>, Vec<&str>) =
                names.into_iter().partition(|name| image.topics.by_name(name).is_some());
            if may_create {
                create.extend(missing.iter().copied().filter(|name| names::is_valid(name)));
            }
            answer.by_names(&found, &missing)
        }
    };
    let response = MetadataResponse {
        brokers: answer.brokers(),
        cluster_id: Some(Cow::Borrowed(&*image.cluster_id)),
        controller_id: image.controller_for_clients().0,
        topics,
        cluster_authorized_operations: cluster_operations(context.version, request),
        ..Default::default()
    };
    MetadataPlan { response, create }
}

/// Why Kafka refuses the request as a whole.
fn refusal(version: i16, request: &MetadataRequest<'_>) -> Option<ErrorCode> {
    let topics = request.topics.iter().flatten();
    let unnamed =
        |name: &Option<Cow<'_, str>>, id: Uuid| name.is_none() && (version < TOPIC_IDS || id.is_zero());
    let mut topics = topics.map(|topic| (&topic.name, topic.topic_id));
    topics
        .any(|(name, id)| unnamed(name, id) || (version < TOPIC_IDS && !id.is_zero()))
        .then_some(ErrorCode::InvalidRequest)
}

/// The error on every topic, and nothing else.
fn refused<'a>(request: &'a MetadataRequest<'_>, error: ErrorCode) -> MetadataResponse<'a> {
    let topics = request.topics.iter().flatten().map(|topic| MetadataResponseTopic {
        error_code: error.code(),
        name: Some(Cow::Borrowed(topic.name.as_deref().unwrap_or(""))),
        topic_id: topic.topic_id,
        ..Default::default()
    });
    MetadataResponse { topics: topics.collect(), error_code: error.code(), ..Default::default() }
}

fn cluster_operations(version: i16, request: &MetadataRequest<'_>) -> i32 {
    let has_field = (OPERATIONS..=CLUSTER_OPERATIONS_LAST).contains(&version);
    if has_field && request.include_cluster_authorized_operations {
        operations::CLUSTER_ALL
    } else {
        operations::NOT_ASKED
    }
}

/// One answer in the making.
struct Answer<'a, 'c> {
    image: &'a Image,
    listener: &'c str,
    version: i16,
    with_operations: bool,
}

impl<'a> Answer<'a, '_> {
    fn brokers(&self) -> Vec<MetadataResponseBroker<'a>> {
        let brokers = self.image.alive_brokers();
        let reachable = brokers.filter_map(|broker| Some((broker, broker.endpoint(self.listener)?)));
        reachable
            .map(|(broker, endpoint)| MetadataResponseBroker {
                node_id: broker.id.0,
                host: Cow::Borrowed(&*endpoint.host),
                port: i32::from(endpoint.port),
                rack: broker.rack.as_deref().map(Cow::Borrowed),
            })
            .collect()
    }

    fn all(&self) -> Vec<MetadataResponseTopic<'a>> {
        self.image.topics.iter().map(|topic| self.topic(topic)).collect()
    }

    /// Unknown ids first, as Kafka has them; each id once.
    fn by_ids(&self, ids: impl Iterator<Item = Uuid>) -> Vec<MetadataResponseTopic<'a>> {
        let ids: BTreeSet<Uuid> = ids.filter(|id| !id.is_zero()).collect();
        let unknown = ids.iter().filter(|id| self.image.topics.by_id(**id).is_none());
        let unknown = unknown.map(|id| MetadataResponseTopic {
            error_code: ErrorCode::UnknownTopicId.code(),
            name: None,
            topic_id: *id,
            ..Default::default()
        });
        let known = ids.iter().filter_map(|id| self.image.topics.by_id(*id)).map(|topic| self.topic(topic));
        unknown.chain(known).collect()
    }

    fn by_names(&self, found: &[&'a str], missing: &[&'a str]) -> Vec<MetadataResponseTopic<'a>> {
        let found = found.iter().filter_map(|name| self.image.topics.by_name(name));
        let found = found.map(|topic| self.topic(topic));
        found.chain(missing.iter().map(|name| self.missing(name))).collect()
    }

    fn missing(&self, name: &'a str) -> MetadataResponseTopic<'a> {
        let valid = names::is_valid(name);
        let error = if valid { ErrorCode::UnknownTopicOrPartition } else { ErrorCode::InvalidTopicException };
        MetadataResponseTopic {
            error_code: error.code(),
            name: Some(Cow::Borrowed(name)),
            is_internal: names::is_internal(name),
            topic_authorized_operations: self.operations(),
            ..Default::default()
        }
    }

    fn topic(&self, topic: &'a TopicImage) -> MetadataResponseTopic<'a> {
        MetadataResponseTopic {
            error_code: ErrorCode::None.code(),
            name: Some(Cow::Borrowed(&*topic.name)),
            topic_id: topic.id,
            is_internal: names::is_internal(&topic.name),
            partitions: (0..).zip(&topic.partitions).map(|(i, p)| self.partition(i, p)).collect(),
            topic_authorized_operations: self.operations(),
        }
    }

    fn operations(&self) -> i32 {
        if self.with_operations { operations::TOPIC_ALL } else { operations::NOT_ASKED }
    }

    fn partition(&self, index: i32, partition: &PartitionImage) -> MetadataResponsePartition {
        // Version 0 has no list of offline replicas: it leaves them out and says that some are missing.
        let nodes = |ids: &[NodeId]| match self.version {
            0 => replicas::reachable(self.image, ids, self.listener),
            _ => replicas::all(ids),
        };
        let (replica_nodes, isr_nodes) = (nodes(&partition.replicas), nodes(&partition.isr));
        let complete =
            replica_nodes.len() == partition.replicas.len() && isr_nodes.len() == partition.isr.len();
        let (error, leader) = match replicas::leader(self.image, partition, self.listener) {
            Ok(leader) if complete => (ErrorCode::None, leader),
            Ok(leader) => (ErrorCode::ReplicaNotAvailable, leader),
            Err(_) if self.version < LISTENER_ERRORS => (ErrorCode::LeaderNotAvailable, NodeId(-1)),
            Err(error) => (error, NodeId(-1)),
        };
        MetadataResponsePartition {
            error_code: error.code(),
            partition_index: index,
            leader_id: leader.0,
            leader_epoch: partition.leader_epoch.0,
            replica_nodes,
            isr_nodes,
            offline_replicas: replicas::offline(self.image, partition, self.listener),
        }
    }
}

#[cfg(test)]
mod tests;
