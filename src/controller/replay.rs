//! Replay: the only way that an image changes, for live batches and at start-up alike.
//!
//! Every shard replays a batch once it is durable; the rules are those of Kafka's control managers (`replay` of
//! `ReplicationControlManager`, `ClusterControlManager`, `ConfigurationControlManager`, `ProducerIdControlManager`).
//! Owned by no shard. Invariants: a batch applies as a whole or the replay fails; the same records give an equal image;
//! records between the begin and the end of a metadata transaction (KIP-868) count together or not at all.
//! What a log of Kafka's says beyond what is served stays in the log for the broker that serves it, and is counted so
//! that a start can name it: ACLs bind only an authorizer, which the configuration refuses here; credentials only
//! listeners with SASL; features only those who are told of them. A record that would be disobeyed fails the replay.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ottla_wire::MetadataRecord;
use ottla_wire::broker_registration_change_record::BrokerRegistrationChangeRecord;
use ottla_wire::config_record::ConfigRecord;
use ottla_wire::feature_level_record::FeatureLevelRecord;
use ottla_wire::partition_change_record::PartitionChangeRecord;
use ottla_wire::partition_record::PartitionRecord;
use ottla_wire::producer_ids_record::ProducerIdsRecord;
use ottla_wire::register_broker_record::RegisterBrokerRecord;
use ottla_wire::topic_record::TopicRecord;

use super::features;
use super::image::{
    BrokerImage, ConfigResource, ConfigResourceType, DIRECTORY_UNTOLD, Endpoint, FeatureRange, Image,
    PartitionImage, TopicImage,
};
use crate::ids::{LeaderEpoch, NodeId, Offset, ProducerId, TopicId, TopicIdPartition, Uuid};
use crate::limits::PARTITIONS_PER_TOPIC_MAX;

/// A leader that a `PartitionChangeRecord` does not change.
const LEADER_UNCHANGED: i32 = -2;

/// Why a record cannot be applied: the log is damaged, or was written by a broker that can more than this one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    /// The record contradicts those before it.
    #[error("the metadata log contradicts itself: {record}: {reason}")]
    Contradiction {
        /// Kafka's name of the record.
        record: &'static str,
        /// What does not fit, with the names and ids concerned.
        reason: String,
    },
    /// The record says something that this version does not know how to honour.
    #[error("the metadata log has a {record} that this version cannot apply: {reason}")]
    Unsupported {
        /// Kafka's name of the record.
        record: &'static str,
        /// What is not supported.
        reason: String,
    },
}

/// What one replay changed: what a shard must open, close, delete or look at again.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ImageDelta {
    /// Topics that are new.
    pub topics_created: BTreeSet<TopicId>,
    /// Topics that are gone, as they were: their logs are to be deleted.
    pub topics_removed: BTreeMap<TopicId, Arc<TopicImage>>,
    /// Partitions that are new, those of new topics among them: their logs are to be opened.
    pub partitions_added: BTreeSet<TopicIdPartition>,
    /// Partitions that were there before and have another leader, epoch or assignment.
    pub partitions_changed: BTreeSet<TopicIdPartition>,
    /// Resources whose overrides changed; those of removed topics are not among them.
    pub configs_changed: BTreeSet<ConfigResource>,
    /// Whether a broker was registered, changed or unregistered.
    pub brokers_changed: bool,
    /// Whether the finalized features changed.
    pub features_changed: bool,
    /// Whether a block of producer ids was handed out.
    pub producer_ids_changed: bool,
}

/// An image in the making.
#[derive(Clone, Debug)]
pub struct ImageBuilder {
    image: Image,
    delta: ImageDelta,
    /// What was before a transaction that has not ended.
    before_transaction: Option<Box<(Image, ImageDelta)>>,
    /// Records that nothing here acts on, by Kafka's name of their kind.
    without_effect: BTreeMap<&'static str, u64>,
}

impl ImageBuilder {
    /// Starts from an image, which stays what it is.
    #[must_use]
    pub fn new(base: &Image) -> ImageBuilder {
        ImageBuilder {
            image: base.clone(),
            delta: ImageDelta::default(),
            before_transaction: None,
            without_effect: BTreeMap::new(),
        }
    }

    /// Whether the records end inside a transaction. Its begin is in the log for good: whoever writes next aborts it.
    #[must_use]
    pub fn is_in_transaction(&self) -> bool {
        self.before_transaction.is_some()
    }

    /// How many records of each kind stay in the log and are not acted on, by Kafka's name of the kind.
    #[must_use]
    pub fn without_effect(&self) -> &BTreeMap<&'static str, u64> {
        &self.without_effect
    }

    /// The image up to the record before.
    #[must_use]
    pub fn image(&self) -> &Image {
        &self.image
    }

    /// The image, which now knows everything up to `last_offset`, and what differs from the one it started from.
    /// A transaction that has not ended has changed nothing.
    #[must_use]
    pub fn finish(mut self, last_offset: Offset) -> (Image, ImageDelta) {
        self.restore_before_transaction();
        assert!(last_offset >= self.image.offset, "a replay never goes back");
        self.image.offset = last_offset;
        (self.image, self.delta)
    }

    /// Applies one record. After an error the builder is to be dropped.
    pub fn apply(&mut self, record: &MetadataRecord<'_>) -> Result<(), ReplayError> {
        match record {
            MetadataRecord::TopicRecord(r) => self.topic(r),
            MetadataRecord::PartitionRecord(r) => self.partition(r),
            MetadataRecord::PartitionChangeRecord(r) => self.partition_change(r),
            MetadataRecord::RemoveTopicRecord(r) => self.remove_topic(r.topic_id),
            MetadataRecord::ConfigRecord(r) => self.config(r),
            MetadataRecord::ProducerIdsRecord(r) => self.producer_ids(r),
            MetadataRecord::RegisterBrokerRecord(r) => self.register_broker(r),
            MetadataRecord::BrokerRegistrationChangeRecord(r) => self.registration_change(r),
            MetadataRecord::UnfenceBrokerRecord(r) => {
                self.change_broker("UnfenceBrokerRecord", r.id, r.epoch, |broker| broker.fenced = false)
            }
            MetadataRecord::FenceBrokerRecord(r) => {
                self.change_broker("FenceBrokerRecord", r.id, r.epoch, |broker| broker.fenced = true)
            }
            MetadataRecord::UnregisterBrokerRecord(r) => self.unregister_broker(r.broker_id, r.broker_epoch),
            MetadataRecord::FeatureLevelRecord(r) => self.feature(r),
            MetadataRecord::BeginTransactionRecord(_) => self.begin_transaction(),
            MetadataRecord::EndTransactionRecord(_) => {
                let ended = self.before_transaction.take();
                ended.map(drop).ok_or_else(|| contradiction(record.name(), "no transaction has begun"))
            }
            MetadataRecord::AbortTransactionRecord(_) => {
                let aborted = self.restore_before_transaction();
                aborted.then_some(()).ok_or_else(|| contradiction(record.name(), "no transaction has begun"))
            }
            // A broker needs neither the heartbeat of the log nor to know which controllers there are; it keeps no
            // eligible leader replicas that could be cleared. Kafka 4 has no migration that could be under way.
            MetadataRecord::NoOpRecord(_)
            | MetadataRecord::RegisterControllerRecord(_)
            | MetadataRecord::UnregisterControllerRecord(_)
            | MetadataRecord::ClearElrRecord(_)
            | MetadataRecord::ZkMigrationStateRecord(_) => Ok(()),
            MetadataRecord::AccessControlEntryRecord(_)
            | MetadataRecord::RemoveAccessControlEntryRecord(_)
            | MetadataRecord::ClientQuotaRecord(_)
            | MetadataRecord::UserScramCredentialRecord(_)
            | MetadataRecord::RemoveUserScramCredentialRecord(_)
            | MetadataRecord::DelegationTokenRecord(_)
            | MetadataRecord::RemoveDelegationTokenRecord(_) => {
                *self.without_effect.entry(record.name()).or_default() += 1;
                Ok(())
            }
        }
    }

    fn begin_transaction(&mut self) -> Result<(), ReplayError> {
        if self.is_in_transaction() {
            return Err(contradiction("BeginTransactionRecord", "the transaction before it has not ended"));
        }
        self.before_transaction = Some(Box::new((self.image.clone(), self.delta.clone())));
        Ok(())
    }

    /// Goes back to before the transaction that has not ended; says whether there was one.
    fn restore_before_transaction(&mut self) -> bool {
        let Some(before) = self.before_transaction.take() else { return false };
        (self.image, self.delta) = *before;
        true
    }

    fn topic(&mut self, record: &TopicRecord<'_>) -> Result<(), ReplayError> {
        const NAME: &str = "TopicRecord";
        if let Some(existing) = self.image.topics.by_name(&record.name) {
            let reason =
                format!("topic {} exists with id {}, not {}", record.name, existing.id, record.topic_id);
            return Err(contradiction(NAME, reason));
        }
        if let Some(existing) = self.image.topics.by_id(record.topic_id) {
            let reason =
                format!("id {} of topic {} is that of {}", record.topic_id, record.name, existing.name);
            return Err(contradiction(NAME, reason));
        }
        let topic =
            TopicImage { name: Arc::from(&*record.name), id: record.topic_id, partitions: Vec::new() };
        self.image.topics.insert(topic);
        self.delta.topics_created.insert(record.topic_id);
        Ok(())
    }

    fn partition(&mut self, record: &PartitionRecord) -> Result<(), ReplayError> {
        const NAME: &str = "PartitionRecord";
        if !record.removing_replicas.is_empty() || !record.adding_replicas.is_empty() {
            return Err(unsupported(NAME, "a reassignment of replicas is under way"));
        }
        let partition = PartitionImage {
            leader: NodeId(record.leader),
            leader_epoch: LeaderEpoch(record.leader_epoch),
            partition_epoch: record.partition_epoch,
            replicas: node_ids(&record.replicas),
            isr: node_ids(&record.isr),
            directories: directories(&record.directories, record.replicas.len()),
        };
        let key = TopicIdPartition { topic_id: record.topic_id, partition: record.partition_id };
        let index = partition_index(NAME, key)?;
        let added = self.image.topics.change(key.topic_id, |partitions| {
            if index > partitions.len() {
                return Err(contradiction(NAME, format!("{} comes before its predecessors", place(key))));
            }
            if index == partitions.len() {
                partitions.push(partition);
                return Ok(true);
            }
            never_back(NAME, key, &partitions[index], partition.leader_epoch)?;
            partitions[index] = partition;
            Ok(false)
        });
        if added.ok_or_else(|| no_such(NAME, key))?? {
            self.delta.partitions_added.insert(key);
        } else if !self.delta.partitions_added.contains(&key) {
            self.delta.partitions_changed.insert(key);
        }
        Ok(())
    }

    fn partition_change(&mut self, record: &PartitionChangeRecord) -> Result<(), ReplayError> {
        const NAME: &str = "PartitionChangeRecord";
        if [&record.removing_replicas, &record.adding_replicas]
            .into_iter()
            .flatten()
            .any(|list| !list.is_empty())
        {
            return Err(unsupported(NAME, "a reassignment of replicas is under way"));
        }
        let key = TopicIdPartition { topic_id: record.topic_id, partition: record.partition_id };
        let index = partition_index(NAME, key)?;
        let changed = self.image.topics.change(key.topic_id, |partitions| {
            partitions.get_mut(index).map(|partition| merge(partition, record))
        });
        changed.flatten().ok_or_else(|| no_such(NAME, key))?;
        if !self.delta.partitions_added.contains(&key) {
            self.delta.partitions_changed.insert(key);
        }
        Ok(())
    }

    fn remove_topic(&mut self, id: TopicId) -> Result<(), ReplayError> {
        let Some(topic) = self.image.topics.remove(id) else {
            return Err(contradiction("RemoveTopicRecord", format!("there is no topic with id {id}")));
        };
        let resource = ConfigResource::topic(&topic.name);
        self.image.configs.remove(&resource);
        self.delta.configs_changed.remove(&resource);
        for key in topic.partition_keys() {
            self.delta.partitions_added.remove(&key);
            self.delta.partitions_changed.remove(&key);
        }
        // A topic that came and went within one replay never had a log. Of a topic that was there before, a partition
        // may have come with this replay alone: who deletes its log finds none.
        if !self.delta.topics_created.remove(&id) {
            self.delta.topics_removed.insert(id, topic);
        }
        Ok(())
    }

    fn config(&mut self, record: &ConfigRecord<'_>) -> Result<(), ReplayError> {
        let Some(kind) = ConfigResourceType::from_code(record.resource_type) else {
            return Err(unsupported(
                "ConfigRecord",
                format!("resource type {} is unknown", record.resource_type),
            ));
        };
        let resource = ConfigResource::new(kind, &record.resource_name);
        self.image.configs.set(&resource, &record.name, record.value.as_deref());
        self.delta.configs_changed.insert(resource);
        Ok(())
    }

    fn producer_ids(&mut self, record: &ProducerIdsRecord) -> Result<(), ReplayError> {
        let next = ProducerId(record.next_producer_id);
        if next <= self.image.next_producer_id {
            let reason = format!("next producer id {next} is not above {}", self.image.next_producer_id);
            return Err(contradiction("ProducerIdsRecord", reason));
        }
        self.image.next_producer_id = next;
        self.delta.producer_ids_changed = true;
        Ok(())
    }

    fn register_broker(&mut self, record: &RegisterBrokerRecord<'_>) -> Result<(), ReplayError> {
        if record.cordoned_log_dirs.as_ref().is_some_and(|dirs| !dirs.is_empty()) {
            return Err(unsupported("RegisterBrokerRecord", "log directories are cordoned"));
        }
        let endpoints = record.end_points.iter().map(|endpoint| Endpoint {
            listener: Arc::from(&*endpoint.name),
            host: Arc::from(&*endpoint.host),
            port: endpoint.port,
            security_protocol: endpoint.security_protocol,
        });
        let features = record.features.iter().map(|feature| FeatureRange {
            name: Arc::from(&*feature.name),
            min: feature.min_supported_version,
            max: feature.max_supported_version,
        });
        let broker = BrokerImage {
            id: NodeId(record.broker_id),
            epoch: record.broker_epoch,
            incarnation_id: record.incarnation_id,
            endpoints: endpoints.collect(),
            rack: record.rack.as_deref().map(Arc::from),
            fenced: record.fenced,
            in_controlled_shutdown: record.in_controlled_shutdown,
            log_dirs: record.log_dirs.clone(),
            features: features.collect(),
        };
        self.image.brokers.insert(broker.id, Arc::new(broker));
        self.delta.brokers_changed = true;
        Ok(())
    }

    fn registration_change(&mut self, record: &BrokerRegistrationChangeRecord) -> Result<(), ReplayError> {
        const NAME: &str = "BrokerRegistrationChangeRecord";
        if record.cordoned_log_dirs.as_ref().is_some_and(|dirs| !dirs.is_empty()) {
            return Err(unsupported(NAME, "log directories are cordoned"));
        }
        if !(-1..=1).contains(&record.fenced) || !(0..=1).contains(&record.in_controlled_shutdown) {
            let reason = format!("fenced {}, shutdown {}", record.fenced, record.in_controlled_shutdown);
            return Err(contradiction(NAME, reason));
        }
        self.change_broker(NAME, record.broker_id, record.broker_epoch, |broker| {
            match record.fenced {
                1 => broker.fenced = true,
                -1 => broker.fenced = false,
                _ => {}
            }
            if record.in_controlled_shutdown == 1 {
                broker.in_controlled_shutdown = true;
            }
            if !record.log_dirs.is_empty() {
                broker.log_dirs.clone_from(&record.log_dirs);
            }
        })
    }

    fn change_broker(
        &mut self,
        record: &'static str,
        id: i32,
        epoch: i64,
        change: impl FnOnce(&mut BrokerImage),
    ) -> Result<(), ReplayError> {
        let Some(broker) = self.image.brokers.get_mut(&NodeId(id)) else {
            return Err(contradiction(record, format!("broker {id} is not registered")));
        };
        if broker.epoch != epoch {
            let reason = format!("broker {id} is registered with epoch {}, not {epoch}", broker.epoch);
            return Err(contradiction(record, reason));
        }
        change(Arc::make_mut(broker));
        self.delta.brokers_changed = true;
        Ok(())
    }

    fn unregister_broker(&mut self, id: i32, epoch: i64) -> Result<(), ReplayError> {
        self.change_broker("UnregisterBrokerRecord", id, epoch, |_| ())?;
        self.image.brokers.remove(&NodeId(id));
        Ok(())
    }

    fn feature(&mut self, record: &FeatureLevelRecord<'_>) -> Result<(), ReplayError> {
        let level = record.feature_level;
        let mut known = features::SUPPORTED.iter().chain(features::KEPT);
        match known.find(|(name, ..)| *name == record.name) {
            _ if level == 0 => drop(self.image.features.remove(&*record.name)),
            Some((_, min, max)) if (*min..=*max).contains(&level) => {
                self.image.features.insert(Arc::from(&*record.name), level);
            }
            Some((_, min, max)) => {
                let reason = format!("{} is at {level}, and this version knows {min} to {max}", record.name);
                return Err(unsupported("FeatureLevelRecord", reason));
            }
            None => return Err(unsupported("FeatureLevelRecord", format!("{} is at {level}", record.name))),
        }
        self.delta.features_changed = true;
        Ok(())
    }
}

/// What a change leaves out stays; another leader is another epoch, any change another partition epoch
/// (`PartitionRegistration.merge`).
fn merge(partition: &mut PartitionImage, record: &PartitionChangeRecord) {
    if record.leader != LEADER_UNCHANGED {
        partition.leader = NodeId(record.leader);
        partition.leader_epoch = LeaderEpoch(partition.leader_epoch.0 + 1);
    }
    if let Some(isr) = &record.isr {
        partition.isr = node_ids(isr);
    }
    if let Some(replicas) = &record.replicas {
        partition.replicas = node_ids(replicas);
    }
    let told = record.directories.as_deref().unwrap_or(&partition.directories);
    partition.directories = directories(told, partition.replicas.len());
    partition.partition_epoch += 1;
}

/// A directory for each replica, as Kafka's `PartitionRegistration` makes one up where a record has none.
fn directories(told: &[Uuid], replicas: usize) -> Box<[Uuid]> {
    let mut directories = told.to_vec();
    directories.resize(replicas, DIRECTORY_UNTOLD);
    directories.into_boxed_slice()
}

fn never_back(
    record: &'static str,
    key: TopicIdPartition,
    before: &PartitionImage,
    epoch: LeaderEpoch,
) -> Result<(), ReplayError> {
    if epoch >= before.leader_epoch {
        return Ok(());
    }
    let reason = format!("{} goes back from leader epoch {} to {epoch}", place(key), before.leader_epoch);
    Err(contradiction(record, reason))
}

fn partition_index(record: &'static str, key: TopicIdPartition) -> Result<usize, ReplayError> {
    if (0..PARTITIONS_PER_TOPIC_MAX).contains(&key.partition) {
        return Ok(usize::try_from(key.partition).expect("it is not negative"));
    }
    Err(contradiction(record, format!("{} is outside what a topic can have", place(key))))
}

fn node_ids(ids: &[i32]) -> Box<[NodeId]> {
    ids.iter().map(|id| NodeId(*id)).collect()
}

fn place(key: TopicIdPartition) -> String {
    format!("partition {} of topic id {}", key.partition, key.topic_id)
}

fn no_such(record: &'static str, key: TopicIdPartition) -> ReplayError {
    contradiction(record, format!("there is no {}", place(key)))
}

fn contradiction(record: &'static str, reason: impl Into<String>) -> ReplayError {
    ReplayError::Contradiction { record, reason: reason.into() }
}

fn unsupported(record: &'static str, reason: impl Into<String>) -> ReplayError {
    ReplayError::Unsupported { record, reason: reason.into() }
}

#[cfg(test)]
mod tests;
