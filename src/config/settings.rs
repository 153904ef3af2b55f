//! The broker's settings as texts: from which layer each comes, and which text holds in the end.
//!
//! Made at start on one shard; an alteration at run time makes a new value, which every shard then holds. The
//! layers beside the fixed ones are what the metadata log's config records say; nothing else of it is on disk.
//! Invariants: a later layer hides an earlier one key by key; a dynamic setting hides its coarser synonyms
//! (`log.retention.ms` hides `log.retention.hours`), as in Kafka's `DynamicBrokerConfig`. No secret is printed.

use std::collections::BTreeMap;
use std::fmt;

use super::key::ConfigKey;
use super::table::{self, Resource};
use super::value::{ConfigError, Value};

/// Settings by name, as texts.
pub type Overrides = BTreeMap<String, String>;

/// Settings that hold only where neither a file nor the environment configures anything: a broker that somebody
/// tries out. A new group then needs no three seconds for its first member (Kafka's default of
/// `group.initial.rebalance.delay.ms` is 3000, and so it is with any file), and nobody but this machine reaches a
/// broker
/// that asks for no password.
const EMBEDDED: &[(&str, &str)] =
    &[("group.initial.rebalance.delay.ms", "0"), ("listeners", "PLAINTEXT://localhost:9092")];

/// Where a fixed setting was made, weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// By Ottla itself, for a start without any configuration.
    Embedded,
    /// In the properties file.
    File,
    /// In an environment variable.
    Environment,
    /// On the command line.
    CommandLine,
}

/// The sources of a start, weakest first.
#[derive(Clone, Default)]
pub struct Layers {
    /// The parsed properties file, if one was named.
    pub file: Option<Overrides>,
    /// What the environment says.
    pub environment: Overrides,
    /// `--override`, `--data` and their like.
    pub command_line: Overrides,
}

/// All layers, and what follows from them.
#[derive(Clone)]
pub struct Settings {
    fixed: BTreeMap<String, (Origin, String)>,
    cluster: Overrides,
    broker: Overrides,
    effective: Overrides,
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.effective.keys()).finish()
    }
}

impl Settings {
    /// The fixed settings of a start, without dynamic ones.
    #[must_use]
    pub fn new(layers: &Layers) -> Settings {
        let mut fixed = BTreeMap::new();
        if layers.file.is_none() && layers.environment.is_empty() {
            for (name, value) in EMBEDDED {
                fixed.insert((*name).to_owned(), (Origin::Embedded, (*value).to_owned()));
            }
        }
        let file = layers.file.iter().map(|file| (Origin::File, file));
        let others =
            [(Origin::Environment, &layers.environment), (Origin::CommandLine, &layers.command_line)];
        for (origin, layer) in file.chain(others) {
            for (name, value) in layer {
                fixed.insert(name.clone(), (origin, value.clone()));
            }
        }
        pair_ids(&mut fixed);
        Settings { fixed, cluster: Overrides::new(), broker: Overrides::new(), effective: Overrides::new() }
            .settled()
    }

    /// The same with other dynamic settings: those of all brokers, and those of this one.
    #[must_use]
    pub fn with_dynamic(&self, cluster: Overrides, broker: Overrides) -> Settings {
        Settings { fixed: self.fixed.clone(), cluster, broker, effective: Overrides::new() }.settled()
    }

    fn settled(mut self) -> Settings {
        let mut effective: Overrides =
            self.fixed.iter().map(|(name, (_, value))| (name.clone(), value.clone())).collect();
        for (name, value) in self.cluster.iter().chain(&self.broker) {
            if table::find(Resource::Broker, name).is_some() {
                for synonym in table::broker_synonyms(name) {
                    effective.remove(synonym);
                }
            }
            effective.insert(name.clone(), value.clone());
        }
        self.effective = effective;
        self
    }

    /// The text that was set for a key and holds; `None` where its default does.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.effective.get(name).map(String::as_str)
    }

    /// Whether the key was set by anybody, embedded settings included.
    #[must_use]
    pub fn is_set(&self, name: &str) -> bool {
        self.effective.contains_key(name)
    }

    /// Every setting that holds and is no default.
    #[must_use]
    pub fn effective(&self) -> &Overrides {
        &self.effective
    }

    /// The settings of all brokers that the metadata log holds.
    #[must_use]
    pub fn cluster(&self) -> &Overrides {
        &self.cluster
    }

    /// The settings of this broker that the metadata log holds.
    #[must_use]
    pub fn broker(&self) -> &Overrides {
        &self.broker
    }

    /// The settings of the start, with where each was made.
    pub fn fixed(&self) -> impl Iterator<Item = (&str, Origin, &str)> {
        self.fixed.iter().map(|(name, (origin, value))| (name.as_str(), *origin, value.as_str()))
    }

    /// The text of one fixed setting.
    #[must_use]
    pub fn fixed_value(&self, name: &str) -> Option<&str> {
        self.fixed.get(name).map(|(_, value)| value.as_str())
    }

    /// The value that holds for a broker key, its default included; `None` where Kafka has null.
    ///
    /// # Errors
    /// When the text that was set breaks the key's type or rule.
    pub fn value(&self, key: &ConfigKey) -> Result<Option<Value>, ConfigError> {
        match self.get(key.name) {
            Some(text) => Value::parse(key, text).map(Some),
            None => default_value(key),
        }
    }
}

/// The default of a key. Rules are not applied: Kafka has defaults that could not be set.
///
/// # Errors
/// Never, as long as the tables are right; the type is that of the caller.
pub fn default_value(key: &ConfigKey) -> Result<Option<Value>, ConfigError> {
    key.default.map(|text| Value::parse_type(key, text)).transpose()
}

/// `broker.id` is another name of `node.id`: where one is set, so is the other (Kafka's `populateSynonyms`).
fn pair_ids(fixed: &mut BTreeMap<String, (Origin, String)>) {
    for (from, to) in [("node.id", "broker.id"), ("broker.id", "node.id")] {
        if let Some(value) = fixed.get(from).cloned() {
            fixed.entry(to.to_owned()).or_insert(value);
        }
    }
}

/// Typed reads of broker keys by name. A name that the table does not have, or a null that the caller does not
/// expect, is a mistake of ours.
#[derive(Clone, Copy)]
pub struct Reader<'a>(pub &'a Settings);

impl Reader<'_> {
    fn value(self, name: &str) -> Result<Option<Value>, ConfigError> {
        let key = table::find(Resource::Broker, name).expect("only keys of the table are read");
        self.0.value(key)
    }

    /// A number of any width, or null.
    ///
    /// # Errors
    /// As [`Settings::value`].
    pub fn number_or_null(self, name: &str) -> Result<Option<i64>, ConfigError> {
        Ok(self.value(name)?.map(|value| value.as_long().expect("the key is a number")))
    }

    /// A number of any width that is never null.
    ///
    /// # Errors
    /// As [`Settings::value`].
    pub fn long(self, name: &str) -> Result<i64, ConfigError> {
        Ok(self.number_or_null(name)?.expect("the key has a default"))
    }

    /// A 32-bit (or narrower) number.
    ///
    /// # Errors
    /// As [`Settings::value`].
    pub fn int(self, name: &str) -> Result<i32, ConfigError> {
        Ok(i32::try_from(self.long(name)?).expect("the key's type is INT or SHORT"))
    }

    /// A floating-point number.
    ///
    /// # Errors
    /// As [`Settings::value`].
    pub fn double(self, name: &str) -> Result<f64, ConfigError> {
        match self.value(name)? {
            Some(Value::Double(number)) => Ok(number),
            _ => unreachable!("{name} is a DOUBLE with a default"),
        }
    }

    /// A boolean.
    ///
    /// # Errors
    /// As [`Settings::value`].
    pub fn boolean(self, name: &str) -> Result<bool, ConfigError> {
        match self.value(name)? {
            Some(Value::Boolean(value)) => Ok(value),
            _ => unreachable!("{name} is a BOOLEAN with a default"),
        }
    }

    /// A text or a class name, or null.
    ///
    /// # Errors
    /// As [`Settings::value`].
    pub fn text_or_null(self, name: &str) -> Result<Option<String>, ConfigError> {
        Ok(self.value(name)?.and_then(|value| value.to_text()))
    }

    /// A text that is never null.
    ///
    /// # Errors
    /// As [`Settings::value`].
    pub fn text(self, name: &str) -> Result<String, ConfigError> {
        Ok(self.text_or_null(name)?.expect("the key has a default and is no secret"))
    }

    /// A list, or null.
    ///
    /// # Errors
    /// As [`Settings::value`].
    pub fn list_or_null(self, name: &str) -> Result<Option<Vec<String>>, ConfigError> {
        match self.value(name)? {
            None => Ok(None),
            Some(Value::List(entries)) => Ok(Some(entries)),
            Some(_) => unreachable!("{name} is a LIST"),
        }
    }

    /// A list that is never null.
    ///
    /// # Errors
    /// As [`Settings::value`].
    pub fn list(self, name: &str) -> Result<Vec<String>, ConfigError> {
        Ok(self.list_or_null(name)?.expect("the key has a default"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn overrides(pairs: &[(&str, &str)]) -> Overrides {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_later_layer_hides_an_earlier_one() {
        let layers = Layers {
            file: Some(overrides(&[("num.partitions", "1"), ("log.dirs", "/a"), ("my.key", "x")])),
            environment: overrides(&[("num.partitions", "2"), ("log.dirs", "/b")]),
            command_line: overrides(&[("num.partitions", "3")]),
        };
        let settings = Settings::new(&layers);
        assert_eq!(settings.get("num.partitions"), Some("3"));
        assert_eq!(settings.get("log.dirs"), Some("/b"));
        assert_eq!(settings.get("my.key"), Some("x"));
        assert_eq!(settings.get("log.dir"), None);
        let origins: Vec<Origin> = settings.fixed().map(|(_, origin, _)| origin).collect();
        assert_eq!(origins, vec![Origin::Environment, Origin::File, Origin::CommandLine]);
    }

    #[test]
    fn embedded_settings_hold_only_without_file_and_environment() {
        const DELAY: &str = "group.initial.rebalance.delay.ms";
        let delay = |layers: &Layers| Reader(&Settings::new(layers)).int(DELAY).expect("a number");
        let mut layers = Layers::default();
        assert_eq!(delay(&layers), 0);
        layers.command_line = overrides(&[("listeners", "PLAINTEXT://:1")]);
        assert_eq!(delay(&layers), 0);
        layers.environment = overrides(&[("node.id", "1")]);
        assert_eq!(delay(&layers), 3000);
        layers = Layers { file: Some(Overrides::new()), ..Layers::default() };
        assert_eq!(delay(&layers), 3000);
        layers.command_line = overrides(&[(DELAY, "7")]);
        assert_eq!(delay(&layers), 7);
    }

    #[test]
    fn node_id_and_broker_id_stand_for_each_other() {
        let id = |name: &str| {
            let layers = Layers { file: Some(overrides(&[(name, "5")])), ..Layers::default() };
            let settings = Settings::new(&layers);
            (settings.get("node.id").map(str::to_owned), settings.get("broker.id").map(str::to_owned))
        };
        assert_eq!(id("node.id"), (Some("5".into()), Some("5".into())));
        assert_eq!(id("broker.id"), (Some("5".into()), Some("5".into())));
    }

    #[test]
    fn dynamic_settings_hide_coarser_synonyms_and_the_broker_hides_the_cluster() {
        let layers = Layers { file: Some(overrides(&[("log.retention.hours", "24")])), ..Layers::default() };
        let fixed = Settings::new(&layers);
        let cluster = overrides(&[("log.retention.ms", "70000")]);
        let one = fixed.with_dynamic(cluster.clone(), Overrides::new());
        assert_eq!(one.get("log.retention.ms"), Some("70000"));
        assert_eq!(one.get("log.retention.hours"), None);
        assert_eq!(one.fixed_value("log.retention.hours"), Some("24"));
        let both = one.with_dynamic(cluster, overrides(&[("log.retention.ms", "60000")]));
        assert_eq!(both.get("log.retention.ms"), Some("60000"));
        let none = both.with_dynamic(Overrides::new(), Overrides::new());
        assert_eq!(none.get("log.retention.hours"), Some("24"));
    }

    #[test]
    fn debug_shows_no_values() {
        let layers =
            Layers { file: Some(overrides(&[("ssl.key.password", "swordfish")])), ..Layers::default() };
        let text = format!("{:?}", Settings::new(&layers));
        assert!(text.contains("ssl.key.password") && !text.contains("swordfish"));
    }
}
