//! A registered broker: where it listens, which log directories it has online, whether it serves.
//!
//! Plain values inside an image, owned by no shard.

use std::sync::Arc;

use crate::ids::{NodeId, Uuid};

/// One registration, as `RegisterBrokerRecord` and the changes after it say.
#[derive(Clone, Debug, PartialEq)]
pub struct BrokerImage {
    /// The broker's `node.id`.
    pub id: NodeId,
    /// The offset of the record that registered this incarnation.
    pub epoch: i64,
    /// The id of the process that registered.
    pub incarnation_id: Uuid,
    /// Its advertised listeners, in the order of registration.
    pub endpoints: Vec<Endpoint>,
    /// Its `broker.rack`.
    pub rack: Option<Arc<str>>,
    /// Whether it must not be shown to clients.
    pub fenced: bool,
    /// Whether it is about to stop.
    pub in_controlled_shutdown: bool,
    /// The ids of its log directories that are online.
    pub log_dirs: Vec<Uuid>,
    /// The features it supports.
    pub features: Vec<FeatureRange>,
}

impl BrokerImage {
    /// Where clients of a listener reach the broker; listener names compare without regard to case.
    #[must_use]
    pub fn endpoint(&self, listener: &str) -> Option<&Endpoint> {
        self.endpoints.iter().find(|endpoint| endpoint.listener.eq_ignore_ascii_case(listener))
    }
}

/// One advertised listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The listener's name, for example `PLAINTEXT`.
    pub listener: Arc<str>,
    /// The advertised host.
    pub host: Arc<str>,
    /// The advertised port.
    pub port: u16,
    /// Kafka's number of the protocol: 0 PLAINTEXT, 1 SSL, 2 SASL_PLAINTEXT, 3 SASL_SSL.
    pub security_protocol: i16,
}

/// A feature and the levels of it that a broker can run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeatureRange {
    /// The feature's name, for example `metadata.version`.
    pub name: Arc<str>,
    /// The lowest level.
    pub min: i16,
    /// The highest level.
    pub max: i16,
}
