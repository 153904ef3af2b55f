//! The one table of every configuration key, put together from the tables of each area and searched by name.
//!
//! Constants without an owner; every shard reads them. Nothing of it is on disk.
//! Invariant: within one resource a name stands once, and the keys are sorted by name.

use std::sync::LazyLock;

use super::key::{ConfigKey, Synonym};
use super::{
    table_group, table_log, table_network, table_ottla, table_quorum, table_remote, table_replication,
    table_resource, table_security, table_server, table_share, table_topic, table_transaction,
};

/// What a configuration belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Resource {
    /// A broker, or the defaults of all brokers.
    Broker,
    /// A topic.
    Topic,
    /// A group.
    Group,
    /// A client metrics subscription.
    ClientMetrics,
}

type Table = Vec<&'static ConfigKey>;

static BROKER: LazyLock<Table> = LazyLock::new(|| {
    sorted(&[
        table_server::KEYS,
        table_network::KEYS,
        table_log::KEYS,
        table_replication::KEYS,
        table_quorum::KEYS,
        table_group::KEYS,
        table_share::KEYS,
        table_transaction::KEYS,
        table_remote::KEYS,
        table_security::KEYS,
        table_resource::THROTTLE_KEYS,
        table_ottla::KEYS,
    ])
});
static TOPIC: LazyLock<Table> = LazyLock::new(|| sorted(&[table_topic::KEYS]));
static GROUP: LazyLock<Table> = LazyLock::new(|| sorted(&[table_resource::GROUP_KEYS]));
static CLIENT_METRICS: LazyLock<Table> = LazyLock::new(|| sorted(&[table_resource::CLIENT_METRICS_KEYS]));

fn sorted(areas: &[&'static [ConfigKey]]) -> Table {
    let mut keys: Table = areas.iter().flat_map(|area| area.iter()).collect();
    keys.sort_unstable_by_key(|key| key.name);
    let distinct = keys.windows(2).all(|pair| pair[0].name < pair[1].name);
    assert!(distinct, "a configuration key stands twice in the tables");
    keys
}

/// Every key of a resource, sorted by name.
#[must_use]
pub fn keys(resource: Resource) -> &'static [&'static ConfigKey] {
    match resource {
        Resource::Broker => &BROKER,
        Resource::Topic => &TOPIC,
        Resource::Group => &GROUP,
        Resource::ClientMetrics => &CLIENT_METRICS,
    }
}

/// The key of exactly this name.
#[must_use]
pub fn find(resource: Resource, name: &str) -> Option<&'static ConfigKey> {
    let keys = keys(resource);
    keys.binary_search_by_key(&name, |key| key.name).ok().map(|at| keys[at])
}

/// The key behind a broker setting's name: itself, or for `listener.name.<listener>.[<mechanism>.]<key>` the key
/// that the listener overrides.
#[must_use]
pub fn find_broker(name: &str) -> Option<&'static ConfigKey> {
    find(Resource::Broker, name).or_else(|| find(Resource::Broker, listener_override(name)?))
}

/// Keys that a listener takes per SASL mechanism (Kafka's `LISTENER_MECHANISM_CONFIGS`).
const MECHANISM_KEYS: [&str; 5] = [
    "sasl.jaas.config",
    "sasl.login.callback.handler.class",
    "sasl.login.class",
    "sasl.server.callback.handler.class",
    "connections.max.reauth.ms",
];

/// The key that `listener.name.<listener>.[<mechanism>.]<key>` overrides for one listener.
#[must_use]
pub fn listener_override(name: &str) -> Option<&str> {
    let (_, base) = name.strip_prefix("listener.name.")?.split_once('.')?;
    Some(MECHANISM_KEYS.into_iter().find(|key| base.ends_with(key)).unwrap_or(base))
}

/// The names under which Kafka looks a broker key's value up, first to last
/// (`DynamicBrokerConfig.brokerConfigSynonyms`).
#[must_use]
pub fn broker_synonyms(name: &str) -> Vec<&str> {
    match find(Resource::Broker, name) {
        Some(key) if !key.synonyms.is_empty() => {
            key.synonyms.iter().map(|Synonym { name, .. }| *name).collect()
        }
        Some(_) => vec![name],
        None => listener_override(name).map_or_else(|| vec![name], |base| vec![name, base]),
    }
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
