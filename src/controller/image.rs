//! The metadata of the cluster at one offset of the metadata log: what every shard asks for topics, configs, brokers.
//!
//! An image is a value: it is made by replaying records (`replay.rs`, the only mutator), put behind an `Arc` and handed
//! to every shard; a later image shares with it whatever did not change. On disk is only the log it comes from.
//! Invariants: a topic has one name and one id and is found by both; its partitions are numbered from 0 without a gap;
//! a config override of a topic exists only while the topic does.

mod brokers;
mod configs;
mod topics;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use brokers::{BrokerImage, Endpoint, FeatureRange};
pub(super) use configs::override_bytes;
pub use configs::{ConfigResource, ConfigResourceType, ConfigsImage};
pub use topics::{DIRECTORY_UNTOLD, PartitionImage, TopicImage, TopicsImage};

use crate::ids::{LeaderEpoch, NodeId, Offset, ProducerId};
use crate::placement::CLUSTER_METADATA_LEADER_EPOCH;

/// Everything that the metadata log says, up to one offset.
#[derive(Clone, Debug, PartialEq)]
pub struct Image {
    /// The cluster's id, as `meta.properties` has it.
    pub cluster_id: Arc<str>,
    /// This broker's `node.id`.
    pub node_id: NodeId,
    /// The offset of the last record that the image knows; [`Offset::NONE`] before the first.
    pub offset: Offset,
    /// The epoch of the quorum in which this node writes the log.
    pub epoch: LeaderEpoch,
    /// The registered brokers.
    pub brokers: BTreeMap<NodeId, Arc<BrokerImage>>,
    /// The topics and their partitions.
    pub topics: TopicsImage,
    /// What was set beyond the static configuration and the defaults.
    pub configs: ConfigsImage,
    /// The finalized level of each feature that has one; a level of 0 is no entry.
    pub features: BTreeMap<Arc<str>, i16>,
    /// The first producer id that no block contains yet.
    pub next_producer_id: ProducerId,
}

impl Image {
    /// The image before the first record.
    #[must_use]
    pub fn empty(cluster_id: &str, node_id: NodeId) -> Image {
        Image {
            cluster_id: Arc::from(cluster_id),
            node_id,
            offset: Offset::NONE,
            epoch: CLUSTER_METADATA_LEADER_EPOCH,
            brokers: BTreeMap::new(),
            topics: TopicsImage::default(),
            configs: ConfigsImage::default(),
            features: BTreeMap::new(),
            next_producer_id: ProducerId(0),
        }
    }

    /// A broker that serves clients: registered and not fenced.
    #[must_use]
    pub fn alive_broker(&self, id: NodeId) -> Option<&BrokerImage> {
        self.brokers.get(&id).map(|broker| &**broker).filter(|broker| !broker.fenced)
    }

    /// The brokers that serve clients, in the order of their ids.
    pub fn alive_brokers(&self) -> impl Iterator<Item = &BrokerImage> {
        self.brokers.values().map(|broker| &**broker).filter(|broker| !broker.fenced)
    }

    /// The broker that is named as controller to clients: any that is alive, because all of them accept every request
    /// of an admin client (Kafka names a random one). -1 if there is none.
    #[must_use]
    pub fn controller_for_clients(&self) -> NodeId {
        let own = self.alive_broker(self.node_id);
        own.or_else(|| self.alive_brokers().next()).map_or(NodeId(-1), |broker| broker.id)
    }
}
