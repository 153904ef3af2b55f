//! What a broker writes about itself: at its start, and when a log directory fails.
//!
//! The first start finalizes the features and registers the broker; a later one writes only what changed, so that a
//! plain restart waits for no disk. Kafka registers a new incarnation every time, which tells its controller apart from
//! its brokers; this node is both, and its leader epochs stay what they were, but where consumers may have read what a
//! crash has taken: they find out by the higher epoch (KIP-320). A partition leads from a log directory that is online,
//! and has no leader otherwise: a directory that comes back brings the leader back with a higher epoch. Decided on the
//! controller shard.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ottla_wire::MetadataRecord;
use ottla_wire::broker_registration_change_record::BrokerRegistrationChangeRecord;
use ottla_wire::feature_level_record::FeatureLevelRecord;
use ottla_wire::partition_change_record::PartitionChangeRecord;
use ottla_wire::register_broker_record::{BrokerEndpoint, BrokerFeature, RegisterBrokerRecord};

use super::features::{METADATA_VERSION, METADATA_VERSION_MAX, SUPPORTED};
use super::image::{BrokerImage, Endpoint, Image, PartitionImage};
use crate::ids::{NodeId, Offset, TopicPartition, Uuid};

/// `PartitionChangeRecord`'s word for a leader that stays.
const LEADER_UNCHANGED: i32 = -2;
/// `BrokerRegistrationChangeRecord`'s word for "no longer fenced".
const UNFENCE: i8 = -1;

/// What a broker says of itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Registration {
    /// An id for this process, random.
    pub incarnation_id: Uuid,
    /// The advertised listeners, with the ports that are really bound.
    pub endpoints: Vec<Endpoint>,
    /// `broker.rack`.
    pub rack: Option<Arc<str>>,
    /// The ids of the log directories that are online; at least one.
    pub log_dirs: Vec<Uuid>,
    /// The log directory in which each partition was found on disk.
    pub found: BTreeMap<TopicPartition, Uuid>,
    /// Those of them that may have lost records which consumers have read: relaxed logs behind a crash.
    pub shortened: BTreeSet<TopicPartition>,
}

/// The records that a start needs before it may serve, `next_offset` being the first one's; none when all is as it was.
#[must_use]
pub fn activate(image: &Image, node: &Registration, next_offset: Offset) -> Vec<MetadataRecord<'static>> {
    assert!(!node.log_dirs.is_empty(), "a broker without a log directory does not start");
    assert!(!node.endpoints.is_empty(), "a broker without a listener does not start");
    let mut records = Vec::new();
    if !image.features.contains_key(METADATA_VERSION) {
        records.push(MetadataRecord::FeatureLevelRecord(FeatureLevelRecord {
            name: METADATA_VERSION.into(),
            feature_level: METADATA_VERSION_MAX,
        }));
    }
    let registered = image.brokers.get(&image.node_id);
    if !registered.is_some_and(|broker| is_as_before(broker, node)) {
        let records_before = i64::try_from(records.len()).expect("it is at most one");
        register(image.node_id, node, next_offset.plus(records_before), &mut records);
    }
    records.extend(leaderships(image, &node.log_dirs, &node.found, &node.shortened));
    records
}

/// The records for a change of the log directories that are online while the broker runs. `online` may be empty: then
/// every partition loses its leader, and the registration keeps the directories, for a record cannot say "none".
#[must_use]
pub fn log_dirs_changed(image: &Image, online: &[Uuid]) -> Vec<MetadataRecord<'static>> {
    let broker = image.brokers.get(&image.node_id).expect("a broker that runs has registered");
    let mut records = Vec::new();
    if broker.log_dirs != online && !online.is_empty() {
        records.push(MetadataRecord::BrokerRegistrationChangeRecord(BrokerRegistrationChangeRecord {
            broker_id: broker.id.0,
            broker_epoch: broker.epoch,
            log_dirs: online.to_vec(),
            ..Default::default()
        }));
    }
    records.extend(leaderships(image, online, &BTreeMap::new(), &BTreeSet::new()));
    records
}

fn is_as_before(broker: &BrokerImage, node: &Registration) -> bool {
    let features = broker.features.iter().map(|feature| (&*feature.name, feature.min, feature.max));
    !broker.fenced
        && !broker.in_controlled_shutdown
        && broker.endpoints == node.endpoints
        && broker.rack == node.rack
        && broker.log_dirs == node.log_dirs
        && features.eq(SUPPORTED.iter().copied())
}

/// A registration and, as Kafka writes it, the end of its fencing. The broker's epoch is the offset of the former.
fn register(id: NodeId, node: &Registration, offset: Offset, records: &mut Vec<MetadataRecord<'static>>) {
    let end_points = node.endpoints.iter().map(|endpoint| BrokerEndpoint {
        name: endpoint.listener.to_string().into(),
        host: endpoint.host.to_string().into(),
        port: endpoint.port,
        security_protocol: endpoint.security_protocol,
    });
    let features = SUPPORTED.iter().map(|(name, min, max)| BrokerFeature {
        name: (*name).into(),
        min_supported_version: *min,
        max_supported_version: *max,
    });
    records.push(MetadataRecord::RegisterBrokerRecord(RegisterBrokerRecord {
        broker_id: id.0,
        incarnation_id: node.incarnation_id,
        broker_epoch: offset.0,
        end_points: end_points.collect(),
        features: features.collect(),
        rack: node.rack.as_deref().map(|rack| rack.to_owned().into()),
        fenced: true,
        log_dirs: node.log_dirs.clone(),
        ..Default::default()
    }));
    records.push(MetadataRecord::BrokerRegistrationChangeRecord(BrokerRegistrationChangeRecord {
        broker_id: id.0,
        broker_epoch: offset.0,
        fenced: UNFENCE,
        ..Default::default()
    }));
}

/// Takes this broker's leadership from partitions whose directory is not online, and gives it back to the others. A
/// partition that somebody moved to another directory is there from now on, and one whose directory the metadata never
/// knew is where it was found, or in the first (as by Kafka's `AssignReplicasToDirs`): records from before Kafka 3.7
/// know none. One that is `shortened` is led anew.
fn leaderships(
    image: &Image,
    online: &[Uuid],
    found: &BTreeMap<TopicPartition, Uuid>,
    shortened: &BTreeSet<TopicPartition>,
) -> Vec<MetadataRecord<'static>> {
    let mut records = Vec::new();
    for topic in image.topics.iter() {
        for (partition_id, partition) in (0..).zip(&topic.partitions) {
            let name = TopicPartition { topic: Arc::clone(&topic.name), partition: partition_id };
            let known = partition.directory_of(image.node_id);
            let is_here = partition.replicas.contains(&image.node_id);
            let first = || online.first().copied().filter(|_| known.is_none());
            let place = found.get(&name).copied().or_else(first).filter(|_| is_here);
            let moved_to = place.filter(|dir| known != Some(*dir));
            let leads_anew = shortened.contains(&name) && partition.leader == image.node_id;
            let leader = next_leader(partition, image.node_id, moved_to.or(known), online)
                .or(leads_anew.then_some(image.node_id));
            if moved_to.is_none() && leader.is_none() {
                continue;
            }
            // Kafka takes the last replica out of the in-sync ones where it keeps eligible leader replicas (KIP-966),
            // and it stays the only one that can lead.
            let rejoins = leader == Some(image.node_id) && !partition.isr.contains(&image.node_id);
            records.push(MetadataRecord::PartitionChangeRecord(PartitionChangeRecord {
                partition_id,
                topic_id: topic.id,
                isr: rejoins.then(|| vec![image.node_id.0]),
                eligible_leader_replicas: rejoins.then(Vec::new),
                last_known_elr: rejoins.then(Vec::new),
                leader: leader.map_or(LEADER_UNCHANGED, |leader| leader.0),
                directories: moved_to.map(|dir| with_directory(partition, image.node_id, dir)),
                ..Default::default()
            }));
        }
    }
    records
}

/// The directories of a partition's replicas with that of `node` replaced.
fn with_directory(partition: &PartitionImage, node: NodeId, dir: Uuid) -> Vec<Uuid> {
    let both = partition.replicas.iter().zip(&partition.directories);
    both.map(|(replica, known)| if *replica == node { dir } else { *known }).collect()
}

/// The other leader that a partition, which this node has in `dir`, is to have; `None` if it is to keep the one it has.
fn next_leader(
    partition: &PartitionImage,
    node: NodeId,
    dir: Option<Uuid>,
    online: &[Uuid],
) -> Option<NodeId> {
    let can_lead = dir.is_some_and(|dir| online.contains(&dir));
    match partition.leader {
        NodeId(-1) if can_lead && (partition.isr.contains(&node) || *partition.replicas == [node]) => {
            Some(node)
        }
        leader if leader == node && !can_lead => Some(NodeId(-1)),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
