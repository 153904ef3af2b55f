//! Alterations at run time: what a request's operations make of a resource's settings, or why not.
//!
//! Pure decisions on the shard that owns the metadata log, which writes the changes as config records; creation of
//! topics uses the same rules. Codes and words are those of Kafka's `ConfigurationControlManager`,
//! `ConfigAdminManager` and `DynamicBrokerConfig`.
//! Invariant: what comes out passed every rule together with what was there before, so that applying it cannot
//! fail.

use super::broker::BrokerConfig;
use super::groups::{SubscriptionError, validate_client_metrics, validate_group};
use super::key::{Scope, ValueType};
use super::settings::{Overrides, Settings};
use super::table::{self, Resource};
use super::threads;
use super::topic::TopicConfig;
use super::value::{ConfigError, Value};
use crate::errors::ErrorCode;

/// The longest value that a config record may hold, in bytes (Kafka's `Short.MAX_VALUE`, which it holds against UTF-16
/// units before the record holds it against bytes).
const VALUE_LENGTH_MAX: usize = 32_767;

/// What to do with one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i8)]
pub enum AlterOp {
    /// Give it this value.
    Set = 0,
    /// Go back to what holds without it.
    Delete = 1,
    /// Add entries to a list.
    Append = 2,
    /// Take entries from a list.
    Subtract = 3,
}

impl AlterOp {
    /// The operation of a number of the wire.
    #[must_use]
    pub fn from_code(code: i8) -> Option<AlterOp> {
        [AlterOp::Set, AlterOp::Delete, AlterOp::Append, AlterOp::Subtract]
            .into_iter()
            .find(|op| *op as i8 == code)
    }

    const fn name(self) -> &'static str {
        match self {
            AlterOp::Set => "SET",
            AlterOp::Delete => "DELETE",
            AlterOp::Append => "APPEND",
            AlterOp::Subtract => "SUBTRACT",
        }
    }
}

/// One operation of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alteration {
    /// The key.
    pub name: String,
    /// What to do.
    pub op: AlterOp,
    /// With what; only a deletion may have none.
    pub value: Option<String>,
}

/// A refusal for the peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlterError {
    /// The code of the answer.
    pub code: ErrorCode,
    /// Its message.
    pub message: String,
}

impl AlterError {
    fn config(error: impl ToString) -> AlterError {
        AlterError { code: ErrorCode::InvalidConfig, message: error.to_string() }
    }

    fn request(error: impl ToString) -> AlterError {
        AlterError { code: ErrorCode::InvalidRequest, message: error.to_string() }
    }
}

/// A decided alteration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Altered {
    /// All settings of the resource afterwards.
    pub overrides: Overrides,
    /// The config records to write, by key: the new value, or `None` for a deletion. For a topic, group or
    /// subscription only what differs; for a broker everything named, because a reload is wanted too (KAFKA-14136).
    pub changes: Vec<(String, Option<String>)>,
}

/// The resource to alter, and what its rules need to know.
#[derive(Clone, Copy, Debug)]
pub enum Target<'a> {
    /// A topic under this broker.
    Topic(&'a Settings),
    /// A group under this broker.
    Group(&'a Settings),
    /// A client metrics subscription.
    ClientMetrics,
    /// All brokers.
    Cluster(&'a BrokerConfig),
    /// This broker.
    Broker(&'a BrokerConfig),
}

impl Target<'_> {
    fn resource(self) -> Resource {
        match self {
            Target::Topic(_) => Resource::Topic,
            Target::Group(_) => Resource::Group,
            Target::ClientMetrics => Resource::ClientMetrics,
            Target::Cluster(_) | Target::Broker(_) => Resource::Broker,
        }
    }

    const fn is_broker(self) -> bool {
        matches!(self, Target::Cluster(_) | Target::Broker(_))
    }
}

/// IncrementalAlterConfigs: the outcome of `operations` on a resource whose settings are `current`.
///
/// # Errors
/// `INVALID_REQUEST` or `INVALID_CONFIG` with Kafka's words; then nothing of the resource changes.
pub fn incremental(
    target: Target<'_>,
    current: &Overrides,
    operations: &[Alteration],
) -> Result<Altered, AlterError> {
    let named: Vec<(&str, bool)> = operations
        .iter()
        .map(|alteration| {
            let lacks_value = alteration.op != AlterOp::Delete && alteration.value.is_none();
            (alteration.name.as_str(), lacks_value)
        })
        .collect();
    check_names(&named)?;
    let mut overrides = current.clone();
    let mut changes = Vec::new();
    for alteration in operations {
        let old = current.get(&alteration.name);
        let new = outcome(target, old, alteration)?;
        apply(&mut overrides, &alteration.name, new.clone());
        if target.is_broker() || old != new.as_ref() {
            changes.push((alteration.name.clone(), new));
        }
    }
    finish(target, overrides, changes)
}

/// AlterConfigs, the old way: these settings instead of all of the resource's own.
///
/// # Errors
/// As [`incremental`].
pub fn replace(
    target: Target<'_>,
    current: &Overrides,
    settings: &[(String, Option<String>)],
) -> Result<Altered, AlterError> {
    let named: Vec<(&str, bool)> =
        settings.iter().map(|(name, value)| (name.as_str(), value.is_none())).collect();
    check_names(&named)?;
    let mut overrides = Overrides::new();
    let mut changes = Vec::new();
    for (name, value) in settings {
        apply(&mut overrides, name, value.clone());
        if target.is_broker() || current.get(name) != value.as_ref() {
            changes.push((name.clone(), value.clone()));
        }
    }
    for name in current.keys().filter(|name| !overrides.contains_key(*name)) {
        changes.push((name.clone(), None));
    }
    finish(target, overrides, changes)
}

/// Checks settings as a whole: those of a topic to be created, or what an alteration leaves.
///
/// # Errors
/// As [`incremental`].
pub fn validate(target: Target<'_>, overrides: &Overrides) -> Result<(), AlterError> {
    match target {
        Target::Topic(broker) => TopicConfig::new(broker, overrides).map(|_| ()).map_err(AlterError::config),
        Target::Group(broker) => validate_group(broker, overrides).map_err(AlterError::config),
        Target::ClientMetrics => validate_client_metrics(overrides).map_err(|error| match error {
            SubscriptionError::Request(message) => AlterError::request(message),
            SubscriptionError::Config(error) => AlterError::config(error),
        }),
        Target::Cluster(config) => validate_broker(overrides, false)
            .and_then(|()| config.with_dynamic(overrides.clone(), config.settings().broker().clone()))
            .and_then(|altered| threads::check_alteration(config.settings(), altered.settings()))
            .map_err(AlterError::request),
        Target::Broker(config) => validate_broker(overrides, true)
            .and_then(|()| config.with_dynamic(config.settings().cluster().clone(), overrides.clone()))
            .and_then(|altered| threads::check_alteration(config.settings(), altered.settings()))
            .map_err(AlterError::request),
    }
}

/// Splits dynamic broker settings that were stored, perhaps by another release, into those that can be applied
/// and the names of those that are ignored.
#[must_use]
pub fn usable_broker_settings(stored: &Overrides, per_broker: bool) -> (Overrides, Vec<String>) {
    let mut usable = Overrides::new();
    let mut ignored = Vec::new();
    for (name, value) in stored {
        let one = Overrides::from([(name.clone(), value.clone())]);
        if validate_broker(&one, per_broker).is_ok() {
            usable.extend(one);
        } else {
            ignored.push(name.clone());
        }
    }
    (usable, ignored)
}

fn finish(
    target: Target<'_>,
    overrides: Overrides,
    changes: Vec<(String, Option<String>)>,
) -> Result<Altered, AlterError> {
    let too_long = |(_, value): &(String, Option<String>)| {
        value.as_ref().is_some_and(|value| value.len() > VALUE_LENGTH_MAX)
    };
    if changes.iter().any(too_long) {
        return Err(AlterError::config(format!(
            "The configuration value cannot be added because it exceeds the maximum value size of \
             {VALUE_LENGTH_MAX} bytes."
        )));
    }
    validate(target, &overrides)?;
    Ok(Altered { overrides, changes })
}

fn apply(overrides: &mut Overrides, name: &str, value: Option<String>) {
    match value {
        Some(value) => overrides.insert(name.to_owned(), value),
        None => overrides.remove(name),
    };
}

/// A request names each key once and gives every key that needs one a value.
fn check_names(named: &[(&str, bool)]) -> Result<(), AlterError> {
    let mut names: Vec<&str> = named.iter().map(|(name, _)| *name).collect();
    names.sort_unstable();
    if names.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(AlterError::request("Error due to duplicate config keys"));
    }
    let lacking: Vec<&str> = named.iter().filter(|(_, lacks)| *lacks).map(|(name, _)| *name).collect();
    if lacking.is_empty() {
        return Ok(());
    }
    Err(AlterError::request(format!("Null value not supported for : {}", lacking.join(", "))))
}

/// The value of one key after one operation.
fn outcome(
    target: Target<'_>,
    old: Option<&String>,
    alteration: &Alteration,
) -> Result<Option<String>, AlterError> {
    let value = alteration.value.as_deref().unwrap_or_default();
    match alteration.op {
        AlterOp::Set => Ok(Some(value.to_owned())),
        AlterOp::Delete => Ok(None),
        AlterOp::Append | AlterOp::Subtract => {
            let default = check_is_list(target, alteration)?;
            let old = old.map_or(default.unwrap_or_default(), String::as_str);
            let mut entries: Vec<&str> = old.split(',').filter(|entry| !entry.is_empty()).collect();
            for entry in value.split(',') {
                let at = entries.iter().position(|other| *other == entry);
                match (alteration.op, at) {
                    (AlterOp::Append, None) => entries.push(entry),
                    (AlterOp::Subtract, Some(at)) => drop(entries.remove(at)),
                    _ => {}
                }
            }
            Ok(Some(entries.join(",")))
        }
    }
}

/// Only lists have entries; gives the default of the list.
fn check_is_list(target: Target<'_>, alteration: &Alteration) -> Result<Option<&'static str>, AlterError> {
    let (name, op) = (&alteration.name, alteration.op.name());
    let key = table::find(target.resource(), name);
    if target.is_broker() {
        let key = key.ok_or_else(|| AlterError::config(format!("Unknown config name: {name}")))?;
        if key.value_type == ValueType::List {
            return Ok(key.default);
        }
        let op = op.to_lowercase();
        return Err(AlterError::config(format!("Config value {op} is not allowed for config key: {name}")));
    }
    match key {
        // Kafka's controller does not know the types of subscriptions.
        Some(key) if key.value_type == ValueType::List && target.resource() != Resource::ClientMetrics => {
            Ok(key.default)
        }
        _ => Err(AlterError::config(format!("Can't {op} to key {name} because its type is not LIST."))),
    }
}

/// Keys that change at run time only under a listener's prefix (`SslConfigs.RECONFIGURABLE_CONFIGS`).
const PER_LISTENER: [&str; 10] = [
    "ssl.keystore.type",
    "ssl.keystore.location",
    "ssl.keystore.password",
    "ssl.key.password",
    "ssl.truststore.type",
    "ssl.truststore.location",
    "ssl.truststore.password",
    "ssl.keystore.certificate.chain",
    "ssl.keystore.key",
    "ssl.truststore.certificates",
];

/// Keys that may be set for a listener of all brokers.
const LISTENER_OF_ALL: [&str; 3] = ["max.connections", "max.connection.creation.rate", "num.network.threads"];

/// Keys that Kafka takes at run time and that are read here at the start alone, when the sockets are bound. A change
/// that does nothing would be advertised to clients all the same.
const AT_START: [&str; 2] = ["listeners", "listener.security.protocol.map"];

/// Whether each of these may be set at run time at all, and at this level, and has a value of its type.
fn validate_broker(overrides: &Overrides, per_broker: bool) -> Result<(), ConfigError> {
    let scope = |name: &str| table::find(Resource::Broker, name).map(|key| key.scope);
    refuse(overrides, "Cannot update these configs dynamically", |name| {
        scope(name) == Some(Scope::BrokerReadOnly) || AT_START.contains(&name)
    })?;
    refuse(
        overrides,
        "These security configs can be dynamically updated only per-listener using the listener prefix",
        |name| PER_LISTENER.contains(&name),
    )?;
    for (name, text) in overrides {
        if let Some(key) = table::find_broker(name) {
            Value::parse(key, text)?;
        }
    }
    if per_broker {
        return Ok(());
    }
    let needs_broker = |name: &str| match scope(name) {
        Some(scope) => scope == Scope::BrokerDynamic,
        None => table::listener_override(name).is_some_and(|base| !LISTENER_OF_ALL.contains(&base)),
    };
    refuse(
        overrides,
        "Cannot update these configs at default cluster level, broker id must be specified",
        needs_broker,
    )
}

fn refuse(overrides: &Overrides, why: &str, refused: impl Fn(&str) -> bool) -> Result<(), ConfigError> {
    let names: Vec<&str> = overrides.keys().map(String::as_str).filter(|name| refused(name)).collect();
    if names.is_empty() {
        return Ok(());
    }
    Err(ConfigError::rule(format!("{why}: [{}]", names.join(", "))))
}

#[cfg(test)]
mod tests;
