//! Config overrides: what clients set for a topic, a broker, all brokers, a group or a metrics subscription.
//!
//! The values are texts as they were set; `config/` knows types, defaults and how the levels combine. Owned by no
//! shard. Invariants: a resource without any override has no entry; `bytes` is the sum over all of them.

use std::sync::Arc;

use crate::config::Overrides;
use crate::controller::chunked::ChunkMap;

/// What can have a config (Kafka's `ConfigResource.Type`, with its number).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(i8)]
pub enum ConfigResourceType {
    /// A topic, by name.
    Topic = 2,
    /// A broker by its id, or all of them by the empty name.
    Broker = 4,
    /// The log levels of a broker's loggers; they live in its process and not in the metadata.
    BrokerLogger = 8,
    /// A subscription of client metrics.
    ClientMetrics = 16,
    /// A group, by name.
    Group = 32,
}

impl ConfigResourceType {
    /// Every type, in the order of the numbers.
    pub const ALL: [ConfigResourceType; 5] = [
        ConfigResourceType::Topic,
        ConfigResourceType::Broker,
        ConfigResourceType::BrokerLogger,
        ConfigResourceType::ClientMetrics,
        ConfigResourceType::Group,
    ];

    /// The type with a number of the wire.
    #[must_use]
    pub fn from_code(code: i8) -> Option<ConfigResourceType> {
        Self::ALL.into_iter().find(|kind| kind.code() == code)
    }

    /// The number on the wire and in records.
    #[must_use]
    pub const fn code(self) -> i8 {
        self as i8
    }
}

/// One thing that can have a config.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConfigResource {
    /// What it is.
    pub kind: ConfigResourceType,
    /// Its name; empty for the default of all brokers.
    pub name: Arc<str>,
}

impl ConfigResource {
    /// The resource of this type and name.
    #[must_use]
    pub fn new(kind: ConfigResourceType, name: &str) -> ConfigResource {
        ConfigResource { kind, name: Arc::from(name) }
    }

    /// The topic of this name.
    #[must_use]
    pub fn topic(name: &str) -> ConfigResource {
        ConfigResource::new(ConfigResourceType::Topic, name)
    }

    /// What holds for all brokers unless one has its own.
    #[must_use]
    pub fn all_brokers() -> ConfigResource {
        ConfigResource::new(ConfigResourceType::Broker, "")
    }
}

/// Memory that an override takes beside its texts, roughly.
const OVERRIDE_BYTES: usize = 64;

/// The memory that a resource's overrides take, roughly: none if it has none.
pub(in crate::controller) fn override_bytes(resource: &ConfigResource, overrides: &Overrides) -> usize {
    let entries =
        overrides.iter().map(|(key, value)| key.len() + value.len() + OVERRIDE_BYTES).sum::<usize>();
    if overrides.is_empty() { 0 } else { entries + resource.name.len() + OVERRIDE_BYTES }
}

/// The overrides of every resource that has any.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ConfigsImage {
    overrides: ChunkMap<ConfigResource, Arc<Overrides>>,
    bytes: usize,
}

impl ConfigsImage {
    /// The overrides of a resource; `None` if it has none.
    #[must_use]
    pub fn of(&self, resource: &ConfigResource) -> Option<&Overrides> {
        self.overrides.get(resource).map(|overrides| &**overrides)
    }

    /// The overrides of a resource, as an owned empty map if it has none.
    #[must_use]
    pub fn of_or_empty(&self, resource: &ConfigResource) -> Arc<Overrides> {
        self.overrides.get(resource).cloned().unwrap_or_default()
    }

    /// The names of the resources of a type that have overrides, in order.
    pub fn names(&self, kind: ConfigResourceType) -> impl Iterator<Item = &str> {
        self.overrides
            .iter_from(&ConfigResource::new(kind, ""))
            .take_while(move |(resource, _)| resource.kind == kind)
            .map(|(resource, _)| &*resource.name)
    }

    /// The memory that all overrides take, roughly.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Sets a key of a resource, or takes its override away.
    pub(in crate::controller) fn set(&mut self, resource: &ConfigResource, key: &str, value: Option<&str>) {
        if !self.overrides.contains_key(resource) {
            if value.is_none() {
                return;
            }
            self.overrides.insert(resource.clone(), Arc::default());
        }
        let overrides =
            Arc::make_mut(self.overrides.get_mut(resource).expect("it is there or was just inserted"));
        self.bytes -= override_bytes(resource, overrides);
        match value {
            Some(value) => drop(overrides.insert(key.to_owned(), value.to_owned())),
            None => drop(overrides.remove(key)),
        }
        self.bytes += override_bytes(resource, overrides);
        if overrides.is_empty() {
            self.overrides.remove(resource);
        }
    }

    /// Takes all overrides of a resource away, as a deleted topic needs it.
    pub(in crate::controller) fn remove(&mut self, resource: &ConfigResource) {
        if let Some(overrides) = self.overrides.remove(resource) {
            self.bytes -= override_bytes(resource, &overrides);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn an_override_comes_and_goes() {
        let mut configs = ConfigsImage::default();
        let topic = ConfigResource::topic("t");
        configs.set(&topic, "retention.ms", None);
        assert!(configs.of(&topic).is_none());
        configs.set(&topic, "retention.ms", Some("5"));
        configs.set(&topic, "segment.ms", Some("6"));
        assert_eq!(configs.of(&topic).map(BTreeMap::len), Some(2));
        configs.set(&topic, "retention.ms", None);
        assert_eq!(configs.of(&topic).and_then(|o| o.get("segment.ms")).map(String::as_str), Some("6"));
        configs.set(&topic, "segment.ms", None);
        assert!(configs == ConfigsImage::default());
    }

    #[test]
    fn names_are_of_one_type_only() {
        let mut configs = ConfigsImage::default();
        for (kind, name) in [
            (ConfigResourceType::Topic, "t"),
            (ConfigResourceType::Broker, ""),
            (ConfigResourceType::Broker, "1"),
            (ConfigResourceType::Group, "g2"),
            (ConfigResourceType::Group, "g1"),
        ] {
            configs.set(&ConfigResource::new(kind, name), "k", Some("v"));
        }
        let names = |kind| configs.names(kind).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(names(ConfigResourceType::Broker), ["", "1"]);
        assert_eq!(names(ConfigResourceType::Group), ["g1", "g2"]);
        assert!(names(ConfigResourceType::ClientMetrics).is_empty());
        assert_eq!(ConfigResourceType::from_code(32), Some(ConfigResourceType::Group));
        assert_eq!(ConfigResourceType::from_code(3), None);
    }
}
