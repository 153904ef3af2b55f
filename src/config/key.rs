//! What the tables say about one configuration key, and the small words that they are written in.
//!
//! Constants without an owner; every shard reads them. Nothing of it is on disk.
//! Invariant: a key's default text is of the key's type (a test walks every table).

/// The types of Kafka's `ConfigDef.Type`; the number is the one of DescribeConfigs answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i8)]
pub enum ValueType {
    /// `true` or `false` in any case.
    Boolean = 1,
    /// Text, trimmed.
    String = 2,
    /// A 32-bit number.
    Int = 3,
    /// A 16-bit number.
    Short = 4,
    /// A 64-bit number.
    Long = 5,
    /// A floating-point number.
    Double = 6,
    /// Texts between commas, each trimmed.
    List = 7,
    /// The name of a Java class; kept as text.
    Class = 8,
    /// A secret: never shown, neither in answers nor in errors nor in logs.
    Password = 9,
}

impl ValueType {
    /// The type code of a DescribeConfigs answer (v3 and later).
    #[must_use]
    pub const fn code(self) -> i8 {
        self as i8
    }

    /// Kafka's upper-case name, as its error messages print it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            ValueType::Boolean => "BOOLEAN",
            ValueType::String => "STRING",
            ValueType::Int => "INT",
            ValueType::Short => "SHORT",
            ValueType::Long => "LONG",
            ValueType::Double => "DOUBLE",
            ValueType::List => "LIST",
            ValueType::Class => "CLASS",
            ValueType::Password => "PASSWORD",
        }
    }
}

/// How much a setting matters, in Kafka's three steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Importance {
    High,
    Medium,
    Low,
}

/// Where a key may be set, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// In the broker's file, environment or command line only.
    BrokerReadOnly,
    /// Also at run time, for one broker (Kafka's "per-broker").
    BrokerDynamic,
    /// Also at run time, for one broker or as the cluster's default (Kafka's "cluster-wide").
    ClusterDynamic,
    /// On a topic, a group or a subscription.
    Resource,
}

/// Whether Ottla does what a key says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It acts as documented.
    Acts,
    /// Accepted, and nothing here could follow it: thread pools and other workings of the JVM.
    WithoutEffect,
    /// Accepted, and it will act when the feature that it belongs to is here.
    NotYet,
}

/// A check that no range or list of words expresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// 1 to 9, or -1 for the codec's own default.
    GzipLevel,
    /// `partition:broker` pairs, or `*` alone.
    ThrottledReplicas,
    /// `earliest`, `latest` or `by_duration:` and an ISO 8601 duration.
    ShareOffsetReset,
    /// `id@host:port` entries.
    QuorumVoters,
    /// `host:port` entries.
    BootstrapServers,
    /// `host:port`, or nothing.
    HostPort,
    /// Core numbers and ranges of them: `0,2-5`.
    CpuList,
}

/// What a value must satisfy beyond its type.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Validity {
    /// Any value of the type.
    Any,
    /// A number not below this.
    AtLeast(i64),
    /// A number within these bounds, both included.
    Between(i64, i64),
    /// A floating-point number within these bounds, both included.
    ShareBetween(f64, f64),
    /// Exactly one of these texts.
    OneOf(&'static [&'static str]),
    /// One of these texts in any case.
    OneOfAnyCase(&'static [&'static str]),
    /// A text that is not empty.
    NotEmptyText,
    /// A list whose entries are not empty; a repeated entry counts once.
    DistinctList {
        /// Whether the list itself may be empty.
        may_be_empty: bool,
        /// The entries that are allowed; any when empty.
        of: &'static [&'static str],
    },
    /// A special check.
    Rule(Rule),
}

/// A broker key from which a value is taken, and what it must be multiplied by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Synonym {
    /// The broker key.
    pub name: &'static str,
    /// 1, or how many milliseconds the broker key's unit has.
    pub factor: i64,
}

/// The broker key of this name, in the same unit.
pub const fn same(name: &'static str) -> Synonym {
    Synonym { name, factor: 1 }
}

/// The broker key of this name, which counts minutes.
pub const fn minutes(name: &'static str) -> Synonym {
    Synonym { name, factor: 60_000 }
}

/// The broker key of this name, which counts hours.
pub const fn hours(name: &'static str) -> Synonym {
    Synonym { name, factor: 3_600_000 }
}

/// Keys for the age of a segment, first to last.
pub const ROLL: &[Synonym] = &[same("log.roll.ms"), hours("log.roll.hours")];
/// Keys for the randomness of that age, first to last.
pub const ROLL_JITTER: &[Synonym] = &[same("log.roll.jitter.ms"), hours("log.roll.jitter.hours")];
/// Keys for the age of records, first to last.
pub const RETENTION: &[Synonym] =
    &[same("log.retention.ms"), minutes("log.retention.minutes"), hours("log.retention.hours")];
/// Keys for the time until a sync, first to last.
pub const FLUSH_INTERVAL: &[Synonym] =
    &[same("log.flush.interval.ms"), same("log.flush.scheduler.interval.ms")];

/// Everything known about one key.
#[derive(Clone, Copy, Debug)]
pub struct ConfigKey {
    /// Kafka's name, or Ottla's own.
    pub name: &'static str,
    /// The type of its values.
    pub value_type: ValueType,
    /// The text of the value that holds when nothing is set; `None` where Kafka has null.
    pub default: Option<&'static str>,
    /// What values must satisfy.
    pub validity: Validity,
    /// How much it matters.
    pub importance: Importance,
    /// Where it may be set.
    pub scope: Scope,
    /// Whether Ottla does what it says.
    pub effect: Effect,
    /// Not shown unless somebody set it (Kafka's `defineInternal`).
    pub internal: bool,
    /// For a topic or group key: the broker keys that give its value where it has none of its own. For a broker
    /// key: itself and the coarser ones behind it. First to last.
    pub synonyms: &'static [Synonym],
    /// One line for people.
    pub doc: &'static str,
}

impl ConfigKey {
    /// Whether its values must never be shown.
    #[must_use]
    pub const fn is_sensitive(&self) -> bool {
        matches!(self.value_type, ValueType::Password)
    }

    /// Whether it can be changed at run time, at least for one broker.
    #[must_use]
    pub const fn is_dynamic(&self) -> bool {
        !matches!(self.scope, Scope::BrokerReadOnly)
    }

    const fn new(name: &'static str, value_type: ValueType) -> ConfigKey {
        ConfigKey {
            name,
            value_type,
            default: None,
            validity: Validity::Any,
            importance: Importance::Medium,
            scope: Scope::BrokerReadOnly,
            effect: Effect::NotYet,
            internal: false,
            synonyms: &[],
            doc: "",
        }
    }

    pub(super) const fn or(mut self, default: &'static str) -> Self {
        self.default = Some(default);
        self
    }

    pub(super) const fn at_least(mut self, low: i64) -> Self {
        self.validity = Validity::AtLeast(low);
        self
    }

    pub(super) const fn between(mut self, low: i64, high: i64) -> Self {
        self.validity = Validity::Between(low, high);
        self
    }

    pub(super) const fn share_between(mut self, low: f64, high: f64) -> Self {
        self.validity = Validity::ShareBetween(low, high);
        self
    }

    pub(super) const fn one_of(mut self, words: &'static [&'static str]) -> Self {
        self.validity = Validity::OneOf(words);
        self
    }

    pub(super) const fn one_of_any_case(mut self, words: &'static [&'static str]) -> Self {
        self.validity = Validity::OneOfAnyCase(words);
        self
    }

    pub(super) const fn not_empty(mut self) -> Self {
        self.validity = match self.value_type {
            ValueType::List => Validity::DistinctList { may_be_empty: false, of: &[] },
            _ => Validity::NotEmptyText,
        };
        self
    }

    pub(super) const fn distinct(mut self) -> Self {
        self.validity = Validity::DistinctList { may_be_empty: true, of: &[] };
        self
    }

    pub(super) const fn of(mut self, words: &'static [&'static str]) -> Self {
        self.validity = match self.validity {
            Validity::DistinctList { may_be_empty, .. } => Validity::DistinctList { may_be_empty, of: words },
            _ => panic!("words belong to a list"),
        };
        self
    }

    pub(super) const fn rule(mut self, rule: Rule) -> Self {
        self.validity = Validity::Rule(rule);
        self
    }

    pub(super) const fn high(mut self) -> Self {
        self.importance = Importance::High;
        self
    }

    pub(super) const fn low(mut self) -> Self {
        self.importance = Importance::Low;
        self
    }

    pub(super) const fn internal(mut self) -> Self {
        self.internal = true;
        self
    }

    pub(super) const fn per_broker(mut self) -> Self {
        self.scope = Scope::BrokerDynamic;
        self
    }

    pub(super) const fn cluster_wide(mut self) -> Self {
        self.scope = Scope::ClusterDynamic;
        self
    }

    pub(super) const fn resource(mut self) -> Self {
        self.scope = Scope::Resource;
        self
    }

    pub(super) const fn from(mut self, synonyms: &'static [Synonym]) -> Self {
        self.synonyms = synonyms;
        self
    }

    pub(super) const fn acts(self, doc: &'static str) -> Self {
        self.with(Effect::Acts, doc)
    }

    pub(super) const fn without_effect(self, doc: &'static str) -> Self {
        self.with(Effect::WithoutEffect, doc)
    }

    pub(super) const fn not_yet(self, doc: &'static str) -> Self {
        self.with(Effect::NotYet, doc)
    }

    const fn with(mut self, effect: Effect, doc: &'static str) -> Self {
        self.effect = effect;
        self.doc = doc;
        self
    }
}

pub(super) const fn boolean(name: &'static str) -> ConfigKey {
    ConfigKey::new(name, ValueType::Boolean)
}

pub(super) const fn string(name: &'static str) -> ConfigKey {
    ConfigKey::new(name, ValueType::String)
}

pub(super) const fn int(name: &'static str) -> ConfigKey {
    ConfigKey::new(name, ValueType::Int)
}

pub(super) const fn short(name: &'static str) -> ConfigKey {
    ConfigKey::new(name, ValueType::Short)
}

pub(super) const fn long(name: &'static str) -> ConfigKey {
    ConfigKey::new(name, ValueType::Long)
}

pub(super) const fn double(name: &'static str) -> ConfigKey {
    ConfigKey::new(name, ValueType::Double)
}

pub(super) const fn list(name: &'static str) -> ConfigKey {
    ConfigKey::new(name, ValueType::List)
}

pub(super) const fn class(name: &'static str) -> ConfigKey {
    ConfigKey::new(name, ValueType::Class)
}

pub(super) const fn password(name: &'static str) -> ConfigKey {
    ConfigKey::new(name, ValueType::Password)
}
