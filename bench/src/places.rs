//! A topic as a load needs it on its shards: which partition is led by whom, at which addresses, in which versions.

use std::net::{SocketAddr, ToSocketAddrs};

use ottla_wire::{ApiKey, Uuid};

use crate::cluster::{Cluster, Topic};
use crate::error::BenchError;

/// A partition and its leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// The partition.
    pub partition: i32,
    /// Its leader, as its number among [`Places::nodes`].
    pub node: usize,
}

/// Where the partitions of a topic are.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    topic: Topic,
    /// The addresses of each broker that leads a partition.
    pub nodes: Vec<Vec<SocketAddr>>,
    /// The same as people read them: `HOST:PORT`.
    pub node_names: Vec<String>,
    /// All partitions, in their order.
    pub partitions: Vec<Place>,
    /// The version of Produce.
    pub produce_version: i16,
    /// The version of Fetch.
    pub fetch_version: i16,
    /// The version of ListOffsets.
    pub list_version: i16,
    /// The version of InitProducerId; `None` where there is none.
    pub init_version: Option<i16>,
}

impl Places {
    /// Those of `topic`.
    pub(crate) fn of(cluster: &Cluster, topic: &Topic) -> Result<Places, BenchError> {
        let (mut nodes, mut node_names) = (Vec::new(), Vec::new());
        let mut partitions = Vec::new();
        for (node, (id, led)) in topic.leaders.iter().enumerate() {
            nodes.push(resolve(cluster.broker_address(*id))?);
            node_names.push(cluster.broker_address(*id).to_owned());
            partitions.extend(led.iter().map(|partition| Place { partition: *partition, node }));
        }
        partitions.sort_by_key(|place| place.partition);
        Ok(Places {
            nodes,
            node_names,
            partitions,
            produce_version: cluster.version_for(ApiKey::Produce, topic)?,
            fetch_version: cluster.version_for(ApiKey::Fetch, topic)?,
            list_version: cluster.version(ApiKey::ListOffsets)?,
            init_version: cluster.version(ApiKey::InitProducerId).ok(),
            topic: topic.clone(),
        })
    }

    /// The topic.
    pub(crate) fn topic(&self) -> &Topic {
        &self.topic
    }

    /// The topic's name.
    pub(crate) fn name(&self) -> &str {
        &self.topic.name
    }

    /// How a request of this version names the topic: by name or by id.
    pub(crate) fn named(&self, version: i16) -> (&str, Uuid) {
        self.topic.named(version)
    }
}

/// All addresses of `address`, which is `host:port`.
pub(crate) fn resolve(address: &str) -> Result<Vec<SocketAddr>, BenchError> {
    let failed = |error| BenchError::Connect { address: address.to_owned(), error };
    Ok(address.to_socket_addrs().map_err(failed)?.collect())
}
