//! Which brokers, and which of their log directories, a new partition is on.
//!
//! Automatic placement goes round the brokers that are alive and, within a broker, takes the directory that has the
//! fewest partitions (Kafka's `LogManager.nextLogDirs`). A manual assignment is checked as Kafka's
//! `validateManualPartitionAssignment` checks it, with its words. Decided on the controller shard, within one decision.

use std::collections::BTreeMap;

use ottla_wire::MetadataRecord;
use ottla_wire::partition_record::PartitionRecord;

use super::ApiError;
use super::image::{BrokerImage, Image};
use crate::errors::ErrorCode;
use crate::ids::{NodeId, TopicId, Uuid};

/// Where one new partition goes.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Assignment {
    replicas: Vec<NodeId>,
    isr: Vec<NodeId>,
    directories: Vec<Uuid>,
}

impl Assignment {
    /// The number of replicas, which is at most the number of brokers.
    pub fn replication_factor(&self) -> i16 {
        i16::try_from(self.replicas.len()).unwrap_or(i16::MAX)
    }

    /// The record that creates the partition, led by the first replica that is alive.
    pub fn record(&self, topic_id: TopicId, partition_id: i32) -> MetadataRecord<'static> {
        let ids = |nodes: &[NodeId]| nodes.iter().map(|node| node.0).collect();
        MetadataRecord::PartitionRecord(PartitionRecord {
            partition_id,
            topic_id,
            replicas: ids(&self.replicas),
            isr: ids(&self.isr),
            leader: self.isr.first().expect("an assignment has a replica that is alive").0,
            leader_epoch: 0,
            partition_epoch: 0,
            directories: self.directories.clone(),
            ..Default::default()
        })
    }
}

/// Assigns the partitions of one decision, each knowing of those before.
pub(super) struct Assigner<'a> {
    image: &'a Image,
    /// Partitions per directory, for brokers that have more than one.
    partitions_by_dir: BTreeMap<Uuid, usize>,
}

impl<'a> Assigner<'a> {
    pub fn new(image: &'a Image) -> Assigner<'a> {
        let mut partitions_by_dir = BTreeMap::new();
        if image.brokers.values().any(|broker| broker.log_dirs.len() > 1) {
            let partitions = image.topics.iter().flat_map(|topic| &topic.partitions);
            for dir in partitions.flat_map(|partition| &partition.directories) {
                *partitions_by_dir.entry(*dir).or_default() += 1;
            }
        }
        Assigner { image, partitions_by_dir }
    }

    /// Places `count` partitions from number `first` on; the error is INVALID_REPLICATION_FACTOR with Kafka's words.
    pub fn place(
        &mut self,
        first: i32,
        count: i32,
        replication_factor: i16,
    ) -> Result<Vec<Assignment>, ApiError> {
        let alive: Vec<&BrokerImage> = self.image.alive_brokers().collect();
        let wanted = usize::try_from(replication_factor).expect("it was checked to be positive");
        let registered = self.image.brokers.len();
        let reason = match () {
            () if alive.is_empty() => {
                "All brokers are currently fenced, or have all their log directories cordoned.".to_owned()
            }
            () if wanted > alive.len() => format!(
                "The target replication factor of {wanted} cannot be reached because only {registered} broker(s) are \
                 registered or some brokers have all their log directories cordoned."
            ),
            () => return Ok(self.round(&alive, first, count, wanted)),
        };
        Err(ApiError::new(ErrorCode::InvalidReplicationFactor, reason))
    }

    fn round(&mut self, alive: &[&BrokerImage], first: i32, count: i32, wanted: usize) -> Vec<Assignment> {
        let first = usize::try_from(first).expect("partitions are counted from 0");
        let count = usize::try_from(count).expect("a positive number of partitions is asked for");
        let mut assignments = Vec::with_capacity(count);
        for partition in first..first + count {
            let brokers: Vec<&BrokerImage> =
                (0..wanted).map(|replica| alive[(partition + replica) % alive.len()]).collect();
            assignments.push(self.assignment(&brokers));
        }
        assignments
    }

    /// Checks and takes the brokers that a client wants for a partition; `factor` is the number of replicas that its
    /// other partitions have. The error is INVALID_REPLICA_ASSIGNMENT with Kafka's words.
    pub fn manual(
        &mut self,
        partition: i32,
        ids: &[i32],
        factor: Option<i16>,
    ) -> Result<Assignment, ApiError> {
        let refused = |text: String| Err(ApiError::new(ErrorCode::InvalidReplicaAssignment, text));
        if ids.is_empty() {
            return refused("The manual partition assignment includes an empty replica list.".to_owned());
        }
        let mut sorted = ids.to_vec();
        sorted.sort_unstable();
        for (place, id) in sorted.iter().enumerate() {
            if !self.image.brokers.contains_key(&NodeId(*id)) {
                return refused(format!(
                    "The manual partition assignment includes broker {id}, but no such broker is registered."
                ));
            }
            if place > 0 && sorted[place - 1] == *id {
                return refused(format!(
                    "The manual partition assignment includes the broker {id} more than once."
                ));
            }
        }
        if let Some(factor) = factor.filter(|factor| usize::try_from(*factor) != Ok(ids.len())) {
            return refused(format!(
                "The manual partition assignment includes a partition with {} replica(s), but this is not consistent \
                 with previous partitions, which have {factor} replica(s).",
                ids.len()
            ));
        }
        let brokers: Vec<&BrokerImage> = ids.iter().map(|id| &*self.image.brokers[&NodeId(*id)]).collect();
        if brokers.iter().all(|broker| broker.fenced) {
            return refused(format!(
                "All brokers specified in the manual partition assignment for partition {partition} are fenced or in \
                 controlled shutdown."
            ));
        }
        Ok(self.assignment(&brokers))
    }

    fn assignment(&mut self, brokers: &[&BrokerImage]) -> Assignment {
        Assignment {
            replicas: brokers.iter().map(|broker| broker.id).collect(),
            isr: brokers.iter().filter(|broker| !broker.fenced).map(|broker| broker.id).collect(),
            directories: brokers.iter().map(|broker| self.directory(broker)).collect(),
        }
    }

    fn directory(&mut self, broker: &BrokerImage) -> Uuid {
        let partitions = |dir: &&Uuid| self.partitions_by_dir.get(*dir).copied().unwrap_or(0);
        let dir = *broker.log_dirs.iter().min_by_key(partitions).expect("a broker has a log directory");
        if broker.log_dirs.len() > 1 {
            *self.partitions_by_dir.entry(dir).or_default() += 1;
        }
        dir
    }
}
