//! What DescribeConfigs says about a topic, a broker, the defaults of all brokers, a group or a subscription.
//!
//! Pure, on the shard that has the request; nothing of it is on disk. Which keys are listed, which source wins and
//! which synonyms stand beside it follow Kafka's `ConfigHelper`, its oddities included: a synonym list begins with
//! the key's first name or is empty, and what has no known type counts as a secret.
//! Invariant: no answer carries the value of a secret. Names are sorted.

use super::key::{ConfigKey, ValueType};
use super::settings::{Overrides, Settings, default_value};
use super::table::{self, Resource};
use super::topic::topic_value;
use super::value::{ConfigError, Value};

/// Where a value comes from, by its number in DescribeConfigs answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i8)]
pub enum Source {
    /// Set on the topic.
    Topic = 1,
    /// Set at run time for this broker.
    DynamicBroker = 2,
    /// Set at run time for all brokers.
    DynamicDefaultBroker = 3,
    /// Set in the file, the environment or the command line.
    StaticBroker = 4,
    /// Set by nobody.
    Default = 5,
    /// Set on the client metrics subscription.
    ClientMetrics = 7,
    /// Set on the group.
    Group = 8,
}

impl Source {
    /// The number of the wire.
    #[must_use]
    pub const fn code(self) -> i8 {
        self as i8
    }
}

/// A name under which a value was looked for, and what was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribedSynonym {
    /// The name.
    pub name: String,
    /// The text as it was set; `None` for a secret.
    pub value: Option<String>,
    /// Where it was set.
    pub source: Source,
}

/// One setting of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// The key.
    pub name: String,
    /// The value that holds; `None` for null and for a secret.
    pub value: Option<String>,
    /// Where it comes from.
    pub source: Source,
    /// Whether it cannot be altered at run time.
    pub read_only: bool,
    /// Whether the value is withheld.
    pub sensitive: bool,
    /// The type; `None` for a key that is unknown here.
    pub value_type: Option<ValueType>,
    /// Every place where a value was found, the strongest first.
    pub synonyms: Vec<DescribedSynonym>,
    /// One line for people; `None` for a key that is unknown here.
    pub doc: Option<&'static str>,
}

impl Described {
    /// The type's number on the wire; 0 for unknown.
    #[must_use]
    pub fn type_code(&self) -> i8 {
        self.value_type.map_or(0, ValueType::code)
    }
}

/// Which keys an answer is to have.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a>(Option<&'a [&'a str]>);

impl<'a> Wanted<'a> {
    /// All keys.
    pub const ALL: Wanted<'static> = Wanted(None);

    /// These keys, in the order of their names; all when there is none (null and empty mean the same to Kafka). Names
    /// that no key has are left out of the answer.
    #[must_use]
    pub fn these(names: &'a [&'a str]) -> Wanted<'a> {
        assert!(names.is_sorted(), "looked up by halves, for a request may have very many");
        Wanted(Some(names).filter(|names| !names.is_empty()))
    }

    fn has(self, name: &str) -> bool {
        self.0.is_none_or(|names| names.binary_search(&name).is_ok())
    }
}

/// Describes a topic.
///
/// # Errors
/// When the settings break a rule, which those of the metadata log do not.
pub fn topic(
    broker: &Settings,
    overrides: &Overrides,
    wanted: Wanted<'_>,
) -> Result<Vec<Described>, ConfigError> {
    let shown = |key: &ConfigKey| !key.internal || overrides.contains_key(key.name);
    let mut all = Vec::new();
    for key in table::keys(Resource::Topic).iter().filter(|key| wanted.has(key.name) && shown(key)) {
        let value = topic_value(broker, overrides, key)?.and_then(|value| value.to_text());
        let synonyms =
            key.synonyms.first().map_or_else(Vec::new, |first| broker_values(broker, first.name, false));
        all.push(of_resource(key, value, overrides, synonyms, Source::Topic));
    }
    Ok(all)
}

/// Describes a group.
///
/// # Errors
/// When the settings break a rule, which those of the metadata log do not.
pub fn group(
    broker: &Settings,
    overrides: &Overrides,
    wanted: Wanted<'_>,
) -> Result<Vec<Described>, ConfigError> {
    let shown = |key: &ConfigKey| {
        let broker_name = key.synonyms.first().map(|first| first.name);
        !key.internal
            || overrides.contains_key(key.name)
            || broker_name.is_some_and(|name| broker.is_set(name))
    };
    let mut all = Vec::new();
    for key in table::keys(Resource::Group).iter().filter(|key| wanted.has(key.name) && shown(key)) {
        let value = match topic_value(broker, overrides, key)? {
            // A group names one assignor where the broker lists several: the first is the default.
            Some(Value::List(entries)) if key.value_type != ValueType::List => entries.into_iter().next(),
            value => value.and_then(|value| value.to_text()),
        };
        let synonyms = match key.synonyms.first() {
            Some(first) => broker_values(broker, first.name, false),
            None => default_synonym(key),
        };
        all.push(of_resource(key, value, overrides, synonyms, Source::Group));
    }
    Ok(all)
}

/// Describes a client metrics subscription.
///
/// # Errors
/// When the settings break a rule, which those of the metadata log do not.
pub fn client_metrics(overrides: &Overrides, wanted: Wanted<'_>) -> Result<Vec<Described>, ConfigError> {
    let mut all = Vec::new();
    for key in table::keys(Resource::ClientMetrics).iter().filter(|key| wanted.has(key.name)) {
        let value = match overrides.get(key.name) {
            Some(text) => Some(Value::parse(key, text)?),
            None => default_value(key)?,
        };
        let text = value.and_then(|value| value.to_text());
        all.push(of_resource(key, text, overrides, Vec::new(), Source::ClientMetrics));
    }
    Ok(all)
}

/// Describes this broker: every key, and whatever else was set.
///
/// # Errors
/// When the settings break a rule, which those that a broker runs with do not.
pub fn broker(settings: &Settings, wanted: Wanted<'_>) -> Result<Vec<Described>, ConfigError> {
    let mut all = Vec::new();
    for key in table::keys(Resource::Broker) {
        if !wanted.has(key.name) || (key.internal && !settings.is_set(key.name)) {
            continue;
        }
        let value = settings.value(key)?.and_then(|value| value.to_text());
        all.push(of_broker(key.name, value, broker_values(settings, key.name, key.is_sensitive())));
    }
    for (name, text) in settings.effective() {
        if wanted.has(name) && table::find(Resource::Broker, name).is_none() {
            let synonyms = broker_values(settings, name, is_sensitive(name));
            all.push(of_broker(name, Some(text.clone()), synonyms));
        }
    }
    all.sort_by(|left, right| left.name.cmp(&right.name));
    Ok(all)
}

/// Describes the defaults of all brokers: what was set for them at run time, and nothing else.
#[must_use]
pub fn broker_defaults(settings: &Settings, wanted: Wanted<'_>) -> Vec<Described> {
    let mut all = Vec::new();
    for (name, text) in settings.cluster().iter().filter(|(name, _)| wanted.has(name)) {
        let mut synonyms = broker_values(settings, name, is_sensitive(name));
        synonyms.retain(|synonym| synonym.source == Source::DynamicDefaultBroker);
        all.push(of_broker(name, Some(text.clone()), synonyms));
    }
    all
}

/// A key of unknown type may well be a secret.
fn is_sensitive(name: &str) -> bool {
    table::find_broker(name).is_none_or(ConfigKey::is_sensitive)
}

fn of_broker(name: &str, value: Option<String>, synonyms: Vec<DescribedSynonym>) -> Described {
    let key = table::find_broker(name);
    let sensitive = is_sensitive(name);
    Described {
        name: name.to_owned(),
        value: value.filter(|_| !sensitive),
        source: synonyms.first().map_or(Source::Default, |first| first.source),
        read_only: !table::find(Resource::Broker, name).is_some_and(ConfigKey::is_dynamic),
        sensitive,
        value_type: key.map(|key| key.value_type),
        synonyms,
        doc: key.map(|key| key.doc),
    }
}

fn of_resource(
    key: &'static ConfigKey,
    value: Option<String>,
    overrides: &Overrides,
    mut synonyms: Vec<DescribedSynonym>,
    own: Source,
) -> Described {
    if overrides.contains_key(key.name) {
        let name = key.name.to_owned();
        synonyms.insert(0, DescribedSynonym { name, value: value.clone(), source: own });
    }
    Described {
        name: key.name.to_owned(),
        value,
        source: synonyms.first().map_or(Source::Default, |first| first.source),
        read_only: false,
        sensitive: false,
        value_type: Some(key.value_type),
        synonyms,
        doc: Some(key.doc),
    }
}

fn default_synonym(key: &ConfigKey) -> Vec<DescribedSynonym> {
    let found = |text: &str| DescribedSynonym {
        name: key.name.to_owned(),
        value: Some(text.to_owned()),
        source: Source::Default,
    };
    key.default.map(found).into_iter().collect()
}

/// Every text that was found for a broker key and its coarser names, the strongest first. As in Kafka, what
/// precedes the first mention of `name` itself is left out.
fn broker_values(settings: &Settings, name: &str, sensitive: bool) -> Vec<DescribedSynonym> {
    let names = table::broker_synonyms(name);
    let mut found = Vec::new();
    let mut look = |source: Source, text_of: &dyn Fn(&str) -> Option<String>| {
        for name in &names {
            if let Some(text) = text_of(name) {
                let value = Some(text).filter(|_| !sensitive);
                found.push(DescribedSynonym { name: (*name).to_owned(), value, source });
            }
        }
    };
    look(Source::DynamicBroker, &|name| settings.broker().get(name).cloned());
    look(Source::DynamicDefaultBroker, &|name| settings.cluster().get(name).cloned());
    look(Source::StaticBroker, &|name| settings.fixed_value(name).map(str::to_owned));
    look(Source::Default, &|name| {
        let key = table::find(Resource::Broker, name).filter(|key| !is_dynamic_only(key))?;
        key.default.map(str::to_owned)
    });
    let first = found.iter().position(|synonym| synonym.name == name).unwrap_or(found.len());
    found.split_off(first)
}

/// Kafka's throttle rates are no part of its broker's own definition and have no default there.
fn is_dynamic_only(key: &ConfigKey) -> bool {
    super::table_resource::THROTTLE_KEYS.iter().any(|throttle| throttle.name == key.name)
}

#[cfg(test)]
mod tests;
