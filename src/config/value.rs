//! A configuration value: from text by its key's type and rules, and back to the text that Kafka would print.
//!
//! Pure arithmetic on texts, used by every shard. Kafka's `ConfigDef` is the authority for what is accepted and
//! for the words of a refusal. Nothing of it is on disk.
//! Invariant: a secret appears in no text that this module makes.

use std::fmt;

use thiserror::Error;

use super::key::{ConfigKey, Rule, Validity, ValueType};
use super::quorum::HostPort;

/// Why a configuration is refused; the text names key and value and says what is allowed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ConfigError {
    /// One value breaks its key's type or rule.
    #[error("Invalid value {value} for configuration {name}: {allowed}")]
    Invalid {
        /// The key.
        name: String,
        /// The value as it was given, or as it was understood.
        value: String,
        /// What would have been accepted.
        allowed: String,
    },
    /// Several values do not go together, or a key as a whole is refused.
    #[error("{0}")]
    Rule(String),
}

impl ConfigError {
    /// The refusal of one value.
    pub fn invalid(name: &str, value: impl fmt::Display, allowed: impl Into<String>) -> ConfigError {
        ConfigError::Invalid { name: name.to_owned(), value: value.to_string(), allowed: allowed.into() }
    }

    /// A refusal in a sentence of its own.
    pub fn rule(text: impl Into<String>) -> ConfigError {
        ConfigError::Rule(text.into())
    }
}

/// A secret that prints as stars.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[hidden]")
    }
}

/// A parsed value.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Value {
    Boolean(bool),
    String(String),
    Int(i32),
    Short(i16),
    Long(i64),
    Double(f64),
    List(Vec<String>),
    Class(String),
    Password(Secret),
}

impl Value {
    /// Reads `text` as the type of `key` and checks the key's rule.
    ///
    /// # Errors
    /// With Kafka's words, naming key, value and what is allowed.
    pub fn parse(key: &ConfigKey, text: &str) -> Result<Value, ConfigError> {
        let value = Value::parse_type(key, text)?;
        check(key, value)
    }

    /// Reads `text` as the type of `key` alone.
    ///
    /// # Errors
    /// When the text is not of the type.
    pub fn parse_type(key: &ConfigKey, text: &str) -> Result<Value, ConfigError> {
        let trimmed = trim(text);
        let not_a_number = || {
            ConfigError::invalid(key.name, text, format!("Not a number of type {}", key.value_type.name()))
        };
        Ok(match key.value_type {
            ValueType::Boolean => Value::Boolean(parse_boolean(key.name, text)?),
            ValueType::String => Value::String(trimmed.to_owned()),
            ValueType::Int => Value::Int(trimmed.parse().map_err(|_| not_a_number())?),
            ValueType::Short => Value::Short(trimmed.parse().map_err(|_| not_a_number())?),
            ValueType::Long => Value::Long(trimmed.parse().map_err(|_| not_a_number())?),
            ValueType::Double => Value::Double(parse_double(trimmed).ok_or_else(not_a_number)?),
            ValueType::List => Value::List(split_list(trimmed)),
            ValueType::Class => Value::Class(trimmed.to_owned()),
            ValueType::Password => Value::Password(Secret(trimmed.to_owned())),
        })
    }

    /// The number of a whole-number type; `None` for every other type.
    #[must_use]
    pub fn as_long(&self) -> Option<i64> {
        match self {
            Value::Int(number) => Some(i64::from(*number)),
            Value::Short(number) => Some(i64::from(*number)),
            Value::Long(number) => Some(*number),
            Value::Boolean(_)
            | Value::String(_)
            | Value::Double(_)
            | Value::List(_)
            | Value::Class(_)
            | Value::Password(_) => None,
        }
    }

    /// The text that Kafka prints for the value; `None` for a secret.
    #[must_use]
    pub fn to_text(&self) -> Option<String> {
        Some(match self {
            Value::Boolean(value) => value.to_string(),
            Value::String(text) | Value::Class(text) => text.clone(),
            Value::Int(number) => number.to_string(),
            Value::Short(number) => number.to_string(),
            Value::Long(number) => number.to_string(),
            Value::Double(number) => double_text(*number),
            Value::List(entries) => entries.join(","),
            Value::Password(_) => return None,
        })
    }
}

/// Without blanks and control characters at both ends, as Java's `trim` has it.
#[must_use]
pub fn trim(text: &str) -> &str {
    text.trim_matches(|c| c <= ' ')
}

/// The entries of a comma-separated list; none for an empty text.
#[must_use]
pub fn split_list(text: &str) -> Vec<String> {
    let text = trim(text);
    if text.is_empty() { Vec::new() } else { text.split(',').map(|entry| trim(entry).to_owned()).collect() }
}

fn parse_boolean(name: &str, text: &str) -> Result<bool, ConfigError> {
    let trimmed = trim(text);
    if trimmed.eq_ignore_ascii_case("true") {
        Ok(true)
    } else if trimmed.eq_ignore_ascii_case("false") {
        Ok(false)
    } else {
        Err(ConfigError::invalid(name, text, "Expected value to be either true or false"))
    }
}

/// Decimal numbers, with the type letter that Java allows behind them, and its names of what is none. Ranges refuse
/// infinities; NaN is in every range, as Kafka compares.
fn parse_double(text: &str) -> Option<f64> {
    match text.strip_prefix(['+', '-']).unwrap_or(text) {
        "NaN" => return Some(f64::NAN),
        "Infinity" if text.starts_with('-') => return Some(f64::NEG_INFINITY),
        "Infinity" => return Some(f64::INFINITY),
        _ => {}
    }
    let digits = text.strip_suffix(['d', 'D', 'f', 'F']).unwrap_or(text);
    if !digits.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.')) {
        return None;
    }
    digits.parse::<f64>().ok()
}

/// A floating-point number as Java's `Double.toString` prints it: at least one decimal, and an exponent outside
/// 10^-3 to 10^7.
fn double_text(number: f64) -> String {
    let size = number.abs();
    if !size.is_finite() {
        let name = if size.is_nan() { "NaN" } else { "Infinity" };
        return if number < 0.0 { format!("-{name}") } else { name.to_owned() };
    }
    if size == 0.0 || (1e-3..1e7).contains(&size) {
        return format!("{number:?}");
    }
    let text = format!("{number:E}");
    let (digits, exponent) = text.split_once('E').expect("the exponent format has an E");
    let point = if digits.contains('.') { "" } else { ".0" };
    format!("{digits}{point}E{exponent}")
}

/// Checks the key's rule; gives the value back without repeated list entries.
fn check(key: &ConfigKey, value: Value) -> Result<Value, ConfigError> {
    let value = match (key.validity, value) {
        (Validity::DistinctList { may_be_empty, of }, Value::List(entries)) => {
            Value::List(check_list(key.name, entries, may_be_empty, of)?)
        }
        (_, value) => value,
    };
    match key.validity {
        Validity::Any | Validity::DistinctList { .. } => {}
        Validity::AtLeast(low) => check_bounds(key.name, &value, low as f64, f64::MAX)?,
        Validity::Between(low, high) => check_bounds(key.name, &value, low as f64, high as f64)?,
        Validity::ShareBetween(low, high) => check_bounds(key.name, &value, low, high)?,
        Validity::OneOf(words) => check_word(key.name, &text_of(&value), words)?,
        Validity::OneOfAnyCase(words) => check_word_any_case(key.name, &text_of(&value), words)?,
        Validity::NotEmptyText => {
            if text_of(&value).is_empty() {
                return Err(ConfigError::invalid(key.name, "", "String must be non-empty"));
            }
        }
        Validity::Rule(rule) => check_rule(key.name, rule, &value)?,
    }
    Ok(value)
}

fn text_of(value: &Value) -> String {
    value.to_text().unwrap_or_default()
}

fn check_bounds(name: &str, value: &Value, low: f64, high: f64) -> Result<(), ConfigError> {
    let number = match value {
        Value::Double(number) => *number,
        other => other.as_long().expect("a range belongs to a number") as f64,
    };
    if number < low {
        return Err(ConfigError::invalid(name, text_of(value), format!("Value must be at least {low}")));
    }
    if number > high {
        return Err(ConfigError::invalid(name, text_of(value), format!("Value must be no more than {high}")));
    }
    Ok(())
}

fn check_word(name: &str, text: &str, words: &[&str]) -> Result<(), ConfigError> {
    if words.contains(&text) {
        return Ok(());
    }
    Err(ConfigError::invalid(name, text, format!("String must be one of: {}", words.join(", "))))
}

fn check_word_any_case(name: &str, text: &str, words: &[&str]) -> Result<(), ConfigError> {
    if words.iter().any(|word| word.eq_ignore_ascii_case(text)) {
        return Ok(());
    }
    let allowed = format!("String must be one of (case insensitive): {}", words.join(", "));
    Err(ConfigError::invalid(name, text, allowed))
}

fn check_list(
    name: &str,
    entries: Vec<String>,
    may_be_empty: bool,
    of: &[&str],
) -> Result<Vec<String>, ConfigError> {
    if entries.is_empty() && !may_be_empty {
        let allowed =
            if of.is_empty() { "any non-empty value".to_owned() } else { format!("[{}]", of.join(", ")) };
        return Err(ConfigError::rule(format!(
            "Configuration '{name}' must not be empty. Valid values include: {allowed}"
        )));
    }
    let mut distinct: Vec<String> = Vec::with_capacity(entries.len());
    for entry in entries {
        if entry.is_empty() {
            return Err(ConfigError::rule(format!("Configuration '{name}' values must not be empty.")));
        }
        if !of.is_empty() {
            check_word(name, &entry, of)?;
        }
        if !distinct.contains(&entry) {
            distinct.push(entry);
        }
    }
    Ok(distinct)
}

fn check_rule(name: &str, rule: Rule, value: &Value) -> Result<(), ConfigError> {
    match rule {
        Rule::GzipLevel => match value.as_long() {
            Some(-1 | 1..=9) => Ok(()),
            _ => Err(ConfigError::invalid(
                name,
                text_of(value),
                "Value must be between 1 and 9 or equal to -1",
            )),
        },
        Rule::ThrottledReplicas => check_throttled(name, &text_of(value)),
        Rule::ShareOffsetReset => check_offset_reset(name, &text_of(value)),
        Rule::QuorumVoters => super::quorum::parse_voters(&split_list(&text_of(value))).map(|_| ()),
        Rule::BootstrapServers => {
            super::quorum::parse_bootstrap_servers(&split_list(&text_of(value))).map(|_| ())
        }
        Rule::HostPort => parse_place(name, &text_of(value)).map(|_| ()),
        Rule::CpuList => parse_cpu_list(name, &text_of(value)).map(|_| ()),
    }
}

fn check_throttled(name: &str, text: &str) -> Result<(), ConfigError> {
    let entries = split_list(text);
    let number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let is_pair = |entry: &String| {
        entry.is_empty() || entry.split_once(':').is_some_and(|(left, right)| number(left) && number(right))
    };
    if entries.iter().all(is_pair) || entries.concat() == "*" {
        return Ok(());
    }
    let allowed = format!(
        "{name} must be the literal '*' or a list of replicas in the following format: \
         [partitionId]:[brokerId],[partitionId]:[brokerId],..."
    );
    Err(ConfigError::invalid(name, format!("[{}]", entries.join(", ")), allowed))
}

fn check_offset_reset(name: &str, text: &str) -> Result<(), ConfigError> {
    let by_duration = text.strip_prefix("by_duration:").is_some_and(is_iso_duration);
    if by_duration || matches!(text, "earliest" | "latest") {
        return Ok(());
    }
    let allowed = "Value must be earliest, latest or by_duration:PnDTnHnMn.nS";
    Err(ConfigError::invalid(name, text, allowed))
}

/// Whether the text is a duration of ISO 8601 in days, hours, minutes and seconds, and not negative.
fn is_iso_duration(text: &str) -> bool {
    let text = text.to_ascii_uppercase();
    let Some(text) = text.strip_prefix('P') else { return false };
    let (days, time) = text.split_once('T').map_or((text, None), |(days, time)| (days, Some(time)));
    let parts = |text: &str, units: &str| -> Option<usize> {
        let (mut rest, mut units, mut count) = (text, units.chars(), 0);
        while !rest.is_empty() {
            let end = rest.find(|c: char| c.is_ascii_alphabetic())?;
            let (number, unit) = (&rest[..end], rest[end..].chars().next()?);
            let decimals = if unit == 'S' { '.' } else { '0' };
            number
                .parse::<f64>()
                .ok()
                .filter(|_| number.chars().all(|c| c.is_ascii_digit() || c == decimals))?;
            units.find(|u| *u == unit)?;
            count += 1;
            rest = &rest[end + 1..];
        }
        Some(count)
    };
    let days = parts(days, "D");
    let time = time.map_or(Some(0), |time| parts(time, "HMS").filter(|count| *count > 0));
    matches!((days, time), (Some(days), Some(time)) if days + time > 0)
}

/// The core numbers of `0,2-5`, sorted and without repetition; none for an empty text.
///
/// # Errors
/// When an entry is neither a number nor a rising range, or a core number is above 65535.
pub fn parse_cpu_list(name: &str, text: &str) -> Result<Vec<usize>, ConfigError> {
    let refused =
        || ConfigError::invalid(name, text, "Expected core numbers and rising ranges of them, such as 0,2-5");
    let core = |text: &str| trim(text).parse::<u16>().map(usize::from).map_err(|_| refused());
    let mut cores = Vec::new();
    for entry in split_list(text) {
        match entry.split_once('-') {
            None => cores.push(core(&entry)?),
            Some((first, last)) => {
                let (first, last) = (core(first)?, core(last)?);
                if first > last {
                    return Err(refused());
                }
                cores.extend(first..=last);
            }
        }
    }
    cores.sort_unstable();
    cores.dedup();
    Ok(cores)
}

/// Parses `host:port`, where no host means every address; `None` for an empty text.
///
/// # Errors
/// When the text has another form.
pub fn parse_place(name: &str, text: &str) -> Result<Option<HostPort>, ConfigError> {
    let text = trim(text);
    if text.is_empty() {
        return Ok(None);
    }
    let place = super::listeners::parse_host_port(text);
    place
        .map(Some)
        .ok_or_else(|| ConfigError::invalid(name, text, "HOST:PORT is allowed, such as localhost:9644"))
}

#[cfg(test)]
mod tests {
    use super::super::key::{boolean, double, int, list, long, password, string};
    use super::*;

    fn refusal(key: &ConfigKey, text: &str) -> String {
        Value::parse(key, text).expect_err("the value is refused").to_string()
    }

    #[test]
    fn numbers_are_trimmed_and_checked_against_type_and_range() {
        let key = long("retention.ms").at_least(-1);
        assert_eq!(Value::parse(&key, " 5000 "), Ok(Value::Long(5000)));
        assert_eq!(
            refusal(&key, "abc"),
            "Invalid value abc for configuration retention.ms: Not a number of type LONG"
        );
        assert_eq!(
            refusal(&key, "-5"),
            "Invalid value -5 for configuration retention.ms: Value must be at least -1"
        );
        let level = int("compression.zstd.level").between(-131_072, 22);
        assert_eq!(
            refusal(&level, "99"),
            "Invalid value 99 for configuration compression.zstd.level: Value must be no more than 22"
        );
        assert_eq!(Value::parse(&level, "-131072"), Ok(Value::Int(-131_072)));
        assert!(refusal(&int("n"), "2147483648").ends_with("Not a number of type INT"));
        assert!(refusal(&int("n"), "").ends_with("Not a number of type INT"));
    }

    #[test]
    fn shares_print_as_java_prints_them() {
        let key = double("min.cleanable.dirty.ratio").share_between(0.0, 1.0);
        assert_eq!(Value::parse(&key, "0.50").expect("in range").to_text().as_deref(), Some("0.5"));
        assert_eq!(Value::parse(&key, "1").expect("in range").to_text().as_deref(), Some("1.0"));
        assert_eq!(
            refusal(&key, "2"),
            "Invalid value 2.0 for configuration min.cleanable.dirty.ratio: Value must be no more than 1"
        );
        for text in ["q", "nan", "inf", "infinity", "-inf", "NaNf", ""] {
            assert!(refusal(&key, text).ends_with("Not a number of type DOUBLE"), "{text}");
        }
        for text in ["NaN", "+NaN", "-NaN"] {
            assert_eq!(Value::parse(&key, text).expect("as in Kafka").to_text().as_deref(), Some("NaN"));
        }
        assert_eq!(
            refusal(&key, "+Infinity"),
            "Invalid value Infinity for configuration min.cleanable.dirty.ratio: Value must be no more than 1"
        );
        assert_eq!(
            refusal(&key, "-Infinity"),
            "Invalid value -Infinity for configuration min.cleanable.dirty.ratio: Value must be at least 0"
        );
        assert_eq!(Value::parse(&double("free"), "-Infinity"), Ok(Value::Double(f64::NEG_INFINITY)));
        assert_eq!(double_text(f64::MAX), "1.7976931348623157E308");
        assert_eq!(double_text(1e7), "1.0E7");
        assert_eq!(double_text(0.001), "0.001");
        assert_eq!(double_text(0.000_25), "2.5E-4");
        assert_eq!(double_text(0.0), "0.0");
    }

    #[test]
    fn booleans_and_words() {
        assert_eq!(Value::parse(&boolean("preallocate"), " TRUE"), Ok(Value::Boolean(true)));
        assert_eq!(
            refusal(&boolean("preallocate"), "yes"),
            "Invalid value yes for configuration preallocate: Expected value to be either true or false"
        );
        let key = string("message.timestamp.type").one_of(&["CreateTime", "LogAppendTime"]);
        assert_eq!(
            refusal(&key, "createtime"),
            "Invalid value createtime for configuration message.timestamp.type: \
             String must be one of: CreateTime, LogAppendTime"
        );
        let key = string("policy").one_of_any_case(&["UPGRADE"]);
        assert_eq!(Value::parse(&key, "upgrade"), Ok(Value::String("upgrade".into())));
    }

    #[test]
    fn lists_are_split_and_repeated_entries_count_once() {
        let key = list("cleanup.policy").distinct().of(&["compact", "delete"]);
        assert_eq!(
            Value::parse(&key, "delete, compact").expect("ok").to_text().as_deref(),
            Some("delete,compact")
        );
        assert_eq!(Value::parse(&key, "delete,delete"), Ok(Value::List(vec!["delete".into()])));
        assert_eq!(Value::parse(&key, ""), Ok(Value::List(vec![])));
        assert_eq!(
            refusal(&key, "delete,,compact"),
            "Configuration 'cleanup.policy' values must not be empty."
        );
        assert_eq!(
            refusal(&key, "foo"),
            "Invalid value foo for configuration cleanup.policy: String must be one of: compact, delete"
        );
        let key = list("log.dirs").not_empty();
        assert_eq!(
            refusal(&key, " "),
            "Configuration 'log.dirs' must not be empty. Valid values include: any non-empty value"
        );
    }

    #[test]
    fn special_rules() {
        let key = list("leader.replication.throttled.replicas").rule(Rule::ThrottledReplicas);
        for text in ["", "*", "0:1,12:3"] {
            assert!(Value::parse(&key, text).is_ok(), "{text}");
        }
        for text in ["x", "*,0:1", "0:", "q:1"] {
            assert!(refusal(&key, text).contains("must be the literal '*' or a list"), "{text}");
        }
        assert!(refusal(&key, "*,0:1").starts_with("Invalid value [*, 0:1] for"));
        let key = int("compression.gzip.level").rule(Rule::GzipLevel);
        assert_eq!(
            refusal(&key, "0"),
            "Invalid value 0 for configuration compression.gzip.level: \
             Value must be between 1 and 9 or equal to -1"
        );
        assert!(Value::parse(&key, "-1").is_ok() && Value::parse(&key, "9").is_ok());
        let key = string("share.auto.offset.reset").rule(Rule::ShareOffsetReset);
        for text in ["earliest", "latest", "by_duration:PT1H", "by_duration:P1DT2H3M4.5S", "by_duration:p2d"]
        {
            assert!(Value::parse(&key, text).is_ok(), "{text}");
        }
        for text in
            ["none", "by_duration:", "by_duration:P", "by_duration:PT", "by_duration:PT-1H", "by_duration:xx"]
        {
            assert!(Value::parse(&key, text).is_err(), "{text}");
        }
    }

    #[test]
    fn cores() {
        assert_eq!(parse_cpu_list("cpus", "4, 0-2,1"), Ok(vec![0, 1, 2, 4]));
        assert_eq!(parse_cpu_list("cpus", ""), Ok(vec![]));
        for text in ["a", "3-1", "-1", "0--2", "70000"] {
            let refusal = parse_cpu_list("cpus", text).expect_err("refused").to_string();
            assert!(
                refusal.starts_with(&format!("Invalid value {text} for configuration cpus: Expected core"))
            );
        }
    }

    #[test]
    fn secrets_are_never_shown() {
        let value = Value::parse(&password("ssl.key.password"), "swordfish").expect("any text is a secret");
        assert_eq!(value.to_text(), None);
        assert!(!format!("{value:?}").contains("swordfish"));
    }
}
