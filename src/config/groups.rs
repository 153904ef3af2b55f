//! Rules for the settings of a group and of a client metrics subscription.
//!
//! Pure, on the shard that decides an alteration; the settings are config records of the metadata log. The rules
//! are those of Kafka's `GroupConfig` (KIP-848, KIP-932, KIP-1071, KIP-1191) and `ClientMetricsConfigs` (KIP-714).

use super::settings::{Overrides, Reader, Settings};
use super::table::{self, Resource};
use super::value::{ConfigError, Value, split_list};

/// Checks the settings of a group against their types and the broker's bounds.
///
/// # Errors
/// With Kafka's words; the error code is `INVALID_CONFIG`.
pub fn validate_group(broker: &Settings, overrides: &Overrides) -> Result<(), ConfigError> {
    for (name, text) in overrides {
        let key = table::find(Resource::Group, name)
            .ok_or_else(|| ConfigError::rule(format!("Unknown group config name: {name}")))?;
        Value::parse(key, text)?;
    }
    let group = Group { broker: Reader(broker), overrides };
    for kind in ["consumer", "share", "streams"] {
        for what in ["heartbeat.interval.ms", "session.timeout.ms", "assignment.interval.ms"] {
            let bound = |which: &str| format!("group.{kind}.{which}.{what}");
            group.within(&format!("{kind}.{what}"), Some(&bound("min")), Some(&bound("max")))?;
        }
        group.session_above_heartbeat(kind)?;
    }
    for what in ["record.lock.duration.ms", "delivery.count.limit", "partition.max.record.locks"] {
        let bound = |which: &str| format!("group.share.{which}.{what}");
        group.within(&format!("share.{what}"), Some(&bound("min")), Some(&bound("max")))?;
    }
    group.within("streams.num.standby.replicas", None, Some("group.streams.max.standby.replicas"))?;
    group.within("streams.num.warmup.replicas", None, Some("group.streams.max.warmup.replicas"))?;
    let least = "group.streams.min.task.offset.interval.ms";
    group.within("streams.task.offset.interval.ms", Some(least), None)?;
    group.known_assignor()?;
    group.dead_letter_topic()
}

struct Group<'a> {
    broker: Reader<'a>,
    overrides: &'a Overrides,
}

impl Group<'_> {
    /// The group's own number, if it has one.
    fn own(&self, name: &str) -> Option<i64> {
        let key = table::find(Resource::Group, name)?;
        Value::parse(key, self.overrides.get(name)?).ok()?.as_long()
    }

    fn within(&self, name: &str, low: Option<&str>, high: Option<&str>) -> Result<(), ConfigError> {
        let Some(value) = self.own(name) else { return Ok(()) };
        let low = low.map(|key| self.broker.long(key)).transpose()?;
        let high = high.map(|key| self.broker.long(key)).transpose()?;
        if low.is_none_or(|low| low <= value) && high.is_none_or(|high| value <= high) {
            return Ok(());
        }
        Err(ConfigError::rule(match (low, high) {
            (Some(low), Some(high)) => format!("{name} must be in the range {low} to {high} inclusive."),
            (Some(low), None) => format!("{name} must be greater than or equal to {low}"),
            (None, high) => format!("{name} must be less than or equal to {}", high.unwrap_or(i64::MAX)),
        }))
    }

    fn session_above_heartbeat(&self, kind: &str) -> Result<(), ConfigError> {
        let (session, heartbeat) =
            (format!("{kind}.session.timeout.ms"), format!("{kind}.heartbeat.interval.ms"));
        let value = |name: &str| match self.own(name) {
            Some(value) => Ok(value),
            None => self.broker.long(&format!("group.{name}")),
        };
        if value(&session)? > value(&heartbeat)? {
            return Ok(());
        }
        Err(ConfigError::rule(format!("{session} must be greater than {heartbeat}")))
    }

    fn known_assignor(&self) -> Result<(), ConfigError> {
        const KEY: &str = "streams.assignor.name";
        let Some(name) = self.overrides.get(KEY) else { return Ok(()) };
        let known = self.broker.list("group.streams.assignors")?;
        if known.contains(name) {
            return Ok(());
        }
        Err(ConfigError::rule(format!(
            "{KEY} '{name}' is not a registered task assignor. Registered assignors are: [{}].",
            known.join(", ")
        )))
    }

    fn dead_letter_topic(&self) -> Result<(), ConfigError> {
        const KEY: &str = "errors.deadletterqueue.topic.name";
        if self.overrides.get(KEY).is_some_and(|topic| topic.starts_with("__")) {
            return Err(ConfigError::rule(format!("{KEY}: DLQ topic name must not start with '__'")));
        }
        Ok(())
    }
}

/// Why a subscription's settings are refused; Kafka answers with two different codes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SubscriptionError {
    /// `INVALID_REQUEST`.
    Request(String),
    /// `INVALID_CONFIG`.
    Config(ConfigError),
}

/// What a client can be matched by.
const MATCHED: [&str; 6] = [
    "client_instance_id",
    "client_id",
    "client_software_name",
    "client_software_version",
    "client_source_address",
    "client_source_port",
];

/// Checks the settings of a client metrics subscription. The regular expressions behind `match` are checked where
/// they are compiled, not here.
///
/// # Errors
/// With Kafka's words.
pub fn validate_client_metrics(overrides: &Overrides) -> Result<(), SubscriptionError> {
    for (name, text) in overrides {
        let key = table::find(Resource::ClientMetrics, name).ok_or_else(|| {
            SubscriptionError::Request(format!("Unknown client metrics configuration: {name}"))
        })?;
        let value = Value::parse(key, text).map_err(SubscriptionError::Config)?;
        if let Some(ms) = value.as_long().filter(|ms| !(100..=3_600_000).contains(ms)) {
            let allowed = "interval must be between 100 and 3600000 (1 hour)";
            return Err(SubscriptionError::Request(format!("Invalid value {ms} for {name}, {allowed}")));
        }
        if name == "match" {
            check_patterns(text).map_err(SubscriptionError::Config)?;
        }
    }
    Ok(())
}

fn check_patterns(text: &str) -> Result<(), ConfigError> {
    for pattern in split_list(text) {
        let parts: Vec<&str> = pattern.split('=').collect();
        if parts.len() != 2 || !MATCHED.contains(&parts[0].trim()) {
            return Err(ConfigError::rule(format!("Illegal client matching pattern: {pattern}")));
        }
    }
    Ok(())
}
