//! What a partition looks like to the clients of one listener: its leader, its replicas, the ones they cannot reach.
//!
//! Shared by Metadata and DescribeTopicPartitions; the rules are those of Kafka's `KRaftMetadataCache`. Pure functions
//! of an image.

use crate::controller::image::{BrokerImage, Image, PartitionImage};
use crate::errors::ErrorCode;
use crate::ids::NodeId;

/// The leader, or why clients of the listener cannot use it.
pub(super) fn leader(image: &Image, partition: &PartitionImage, listener: &str) -> Result<NodeId, ErrorCode> {
    let broker = image.brokers.get(&partition.leader).ok_or(ErrorCode::LeaderNotAvailable)?;
    broker.endpoint(listener).map(|_| broker.id).ok_or(ErrorCode::ListenerNotFound)
}

/// The brokers among `replicas` that clients of the listener can reach.
pub(super) fn reachable(image: &Image, replicas: &[NodeId], listener: &str) -> Vec<i32> {
    let is_reachable =
        |id: &&NodeId| image.alive_broker(**id).is_some_and(|b| b.endpoint(listener).is_some());
    replicas.iter().filter(is_reachable).map(|id| id.0).collect()
}

/// The brokers among `replicas`, reachable or not.
pub(super) fn all(replicas: &[NodeId]) -> Vec<i32> {
    replicas.iter().map(|id| id.0).collect()
}

/// The replicas that cannot be read: their broker is fenced or gone or not on the listener, or their directory failed.
pub(super) fn offline(image: &Image, partition: &PartitionImage, listener: &str) -> Vec<i32> {
    let is_online = |broker: &BrokerImage| {
        let dir = partition.directory_of(broker.id);
        broker.endpoint(listener).is_some() && dir.is_some_and(|dir| broker.log_dirs.contains(&dir))
    };
    let offline = |id: &&NodeId| !image.alive_broker(**id).is_some_and(is_online);
    partition.replicas.iter().filter(offline).map(|id| id.0).collect()
}
