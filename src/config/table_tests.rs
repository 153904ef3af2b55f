//! Tests of the table against a dump of Kafka 4.4's own definitions (`fixtures/kafka-4.4-keys.txt`).
//!
//! The dump has a line per key: resource, name, type, default (`=text`, `null` or `required`), validity, importance,
//! `public` or `internal`, where it may be changed, and the broker keys that stand in for it with their factor. It was
//! printed by `fixtures/KafkaKeys.java`. Every difference of ours is listed here.

use std::collections::BTreeMap;

use super::super::key::{Effect, Importance, Rule, Scope, Validity};
use super::super::settings::default_value;
use super::super::{table_ottla, table_resource};
use super::*;

const FACTS: &str = include_str!("fixtures/kafka-4.4-keys.txt");

/// Keys whose default is not Kafka's: ours, and why.
const OTHER_DEFAULTS: [(&str, &str); 12] = [
    // An acknowledgement means "on disk".
    ("log.flush.interval.messages", "1"),
    ("flush.messages", "1"),
    // There is one node.
    ("offsets.topic.replication.factor", "1"),
    ("transaction.state.log.replication.factor", "1"),
    ("transaction.state.log.min.isr", "1"),
    ("share.coordinator.state.topic.replication.factor", "1"),
    ("share.coordinator.state.topic.min.isr", "1"),
    // A broker starts without a configuration.
    ("node.id", "1"),
    ("broker.id", "1"),
    ("process.roles", "broker,controller"),
    ("controller.listener.names", ""),
    ("log.dir", "./ottla-data"),
];

struct Fact {
    resource: &'static str,
    name: &'static str,
    value_type: &'static str,
    default: &'static str,
    validity: &'static str,
    importance: &'static str,
    internal: bool,
    mode: &'static str,
    synonyms: &'static str,
}

fn facts() -> Vec<Fact> {
    let fact = |line: &'static str| {
        let parts: Vec<&str> = line.split('|').collect();
        assert_eq!(parts.len(), 9, "{line}");
        Fact {
            resource: parts[0],
            name: parts[1],
            value_type: parts[2],
            default: parts[3],
            validity: parts[4],
            importance: parts[5],
            internal: parts[6] == "internal",
            mode: parts[7],
            synonyms: parts[8],
        }
    };
    FACTS.lines().map(fact).collect()
}

fn resource(fact: &Fact) -> Resource {
    match fact.resource {
        "broker" | "broker-dynamic-only" => Resource::Broker,
        "topic" => Resource::Topic,
        "group" => Resource::Group,
        "client-metrics" => Resource::ClientMetrics,
        other => panic!("unknown resource {other}"),
    }
}

fn ours(fact: &Fact) -> &'static ConfigKey {
    find(resource(fact), fact.name).unwrap_or_else(|| panic!("{} is missing", fact.name))
}

/// The dump's words for a rule. Whether a list may be null is not said: a text never is.
fn validity_words(key: &ConfigKey) -> String {
    match key.validity {
        Validity::Any => "any".into(),
        Validity::AtLeast(low) => format!("range {low} null"),
        Validity::Between(low, high) => format!("range {low} {high}"),
        Validity::ShareBetween(low, high) => format!("range {low} {high}"),
        Validity::OneOf(words) => format!("in {}", words.join(",")),
        Validity::OneOfAnyCase(words) => format!("in-any-case {}", words.join(",")),
        Validity::NotEmptyText => "class NonEmptyString".into(),
        Validity::DistinctList { may_be_empty, of } => {
            format!("list {} {}", if may_be_empty { "empty" } else { "nonempty" }, of.join(","))
        }
        Validity::Rule(Rule::GzipLevel) => "class LambdaValidator".into(),
        Validity::Rule(Rule::ThrottledReplicas) => "class ThrottledReplicaListValidator".into(),
        Validity::Rule(Rule::ShareOffsetReset) => "class Validator".into(),
        Validity::Rule(Rule::QuorumVoters) => "class ControllerQuorumVotersValidator".into(),
        Validity::Rule(Rule::BootstrapServers) => "class ControllerQuorumBootstrapServersValidator".into(),
        Validity::Rule(Rule::CpuList | Rule::HostPort) => panic!("Kafka has no such rule"),
    }
}

fn kafkas_validity(fact: &Fact) -> String {
    // A text is never null, so that this rule of Kafka's says nothing.
    let words = if fact.validity == "class NonNullValidator" { "any" } else { fact.validity };
    words.replacen(" nonnull", "", 1).replacen(" null ", " ", if words.starts_with("list") { 1 } else { 0 })
}

#[test]
fn every_key_of_kafkas_is_here_and_no_other_but_our_own() {
    let mut expected: BTreeMap<Resource, Vec<&str>> = BTreeMap::new();
    for fact in facts() {
        expected.entry(resource(&fact)).or_default().push(fact.name);
    }
    let own = table_ottla::KEYS.iter().map(|key| key.name);
    expected.entry(Resource::Broker).or_default().extend(own);
    for (resource, mut names) in expected {
        names.sort_unstable();
        let found: Vec<&str> = keys(resource).iter().map(|key| key.name).collect();
        assert_eq!(found, names, "{resource:?}");
    }
    assert_eq!(keys(Resource::Broker).len(), 378 + 3 + 6);
    assert_eq!(keys(Resource::Topic).len(), 37);
}

#[test]
fn types_importance_and_rules_are_kafkas() {
    for fact in facts() {
        let key = ours(&fact);
        assert_eq!(key.value_type.name(), fact.value_type, "{}", fact.name);
        let importance = match key.importance {
            Importance::High => "HIGH",
            Importance::Medium => "MEDIUM",
            Importance::Low => "LOW",
        };
        assert_eq!(importance, fact.importance, "{}", fact.name);
        assert_eq!(validity_words(key), kafkas_validity(&fact), "{}", fact.name);
    }
}

#[test]
fn defaults_are_kafkas_but_for_those_listed() {
    let mut others: BTreeMap<&str, &str> = OTHER_DEFAULTS.into_iter().collect();
    for fact in facts() {
        let default = ours(&fact).default;
        let kafkas = fact.default.strip_prefix('=');
        match others.remove(fact.name) {
            Some(other) => {
                assert_eq!(default, Some(other), "{}", fact.name);
                assert_ne!(default, kafkas, "{} is no difference any more", fact.name);
            }
            None => {
                assert_ne!(fact.default, "required", "{}", fact.name);
                assert_eq!(default, kafkas, "{}", fact.name);
            }
        }
    }
    assert!(others.is_empty(), "not among Kafka's keys: {others:?}");
}

#[test]
fn defaults_are_of_their_type() {
    for resource in [Resource::Broker, Resource::Topic, Resource::Group, Resource::ClientMetrics] {
        for key in keys(resource) {
            let value = default_value(key).expect("the default is of the key's type");
            if let (Some(value), Some(text)) = (&value, key.default) {
                assert_eq!(value.to_text().as_deref(), Some(text), "{} prints as it is written", key.name);
            }
        }
    }
}

#[test]
fn scopes_and_visibility_are_kafkas() {
    for fact in facts() {
        let key = ours(&fact);
        let scope = match (fact.resource, fact.mode) {
            ("broker", "read-only") => Scope::BrokerReadOnly,
            ("broker", "per-broker") => Scope::BrokerDynamic,
            ("broker", "cluster-wide") | ("broker-dynamic-only", _) => Scope::ClusterDynamic,
            _ => Scope::Resource,
        };
        assert_eq!(key.scope, scope, "{}", fact.name);
        let hidden = fact.internal || fact.resource == "broker-dynamic-only";
        assert_eq!(key.internal, hidden, "{}", fact.name);
    }
}

#[test]
fn synonyms_are_kafkas() {
    for fact in facts() {
        let key = ours(&fact);
        let with_factors: Vec<String> =
            key.synonyms.iter().map(|synonym| format!("{}*{}", synonym.name, synonym.factor)).collect();
        let names: Vec<&str> = key.synonyms.iter().map(|synonym| synonym.name).collect();
        let found = if fact.resource == "topic" { with_factors.join(",") } else { names.join(",") };
        assert_eq!(found, fact.synonyms, "{}", fact.name);
        assert!(names.iter().all(|name| find(Resource::Broker, name).is_some()), "{}", fact.name);
    }
}

#[test]
fn every_key_has_one_line_of_documentation() {
    for resource in [Resource::Broker, Resource::Topic, Resource::Group, Resource::ClientMetrics] {
        for key in keys(resource) {
            assert!(key.doc.ends_with('.') && key.doc.len() > 15, "{}: {}", key.name, key.doc);
            assert!(key.doc.len() <= 100 && !key.doc.contains('\n'), "{}", key.name);
        }
    }
}

#[test]
fn what_is_promised_acts() {
    for name in ["flush.messages", "flush.ms", "retention.ms", "max.message.bytes", "min.insync.replicas"] {
        assert_eq!(find(Resource::Topic, name).map(|key| key.effect), Some(Effect::Acts), "{name}");
    }
    for name in ["num.io.threads", "num.network.threads", "background.threads"] {
        assert_eq!(find(Resource::Broker, name).map(|key| key.effect), Some(Effect::WithoutEffect), "{name}");
    }
    assert!(table_resource::THROTTLE_KEYS.iter().all(|key| key.effect == Effect::NotYet));
}

#[test]
fn listener_prefixes_lead_to_their_key() {
    assert_eq!(listener_override("listener.name.client.ssl.keystore.type"), Some("ssl.keystore.type"));
    assert_eq!(listener_override("listener.name.client.plain.sasl.jaas.config"), Some("sasl.jaas.config"));
    assert_eq!(listener_override("listener.name.client"), None);
    assert_eq!(listener_override("ssl.keystore.type"), None);
    assert_eq!(find_broker("listener.name.x.max.connections").map(|key| key.name), Some("max.connections"));
    assert!(find_broker("listener.name.x.nosuch").is_none());
    assert_eq!(
        broker_synonyms("log.retention.hours"),
        ["log.retention.ms", "log.retention.minutes", "log.retention.hours"]
    );
    assert_eq!(broker_synonyms("num.partitions"), ["num.partitions"]);
}
