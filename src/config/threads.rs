//! How far the numbers of Kafka's thread pools may be altered at a time at run time.
//!
//! Pure decisions beside [`alter`](super::alter). Most of these pools do not exist here, but an alteration that Kafka
//! refuses is refused here as well, with Kafka's words (`DynamicThreadPool` and `LogCleaner.validateReconfiguration`
//! of 4.3.1): a tool that is tried out here behaves the same there.

use super::settings::{Reader, Settings};
use super::value::ConfigError;

/// The pools that Kafka grows and shrinks at run time.
const POOLS: [&str; 5] = [
    "num.io.threads",
    "num.network.threads",
    "num.replica.fetchers",
    "num.recovery.threads.per.data.dir",
    "background.threads",
];

/// The cleaner's pool, which says the same in other words.
const CLEANER: &str = "log.cleaner.threads";

/// Whether every pool stays between half and double of what it is, in whole threads, and keeps one.
///
/// # Errors
/// With Kafka's words for the first pool that does not; the code for them is `INVALID_REQUEST`.
pub(super) fn check_alteration(current: &Settings, altered: &Settings) -> Result<(), ConfigError> {
    for name in POOLS {
        let (from, to) = (Reader(current).int(name)?, Reader(altered).int(name)?);
        let refused = |why: String| {
            Err(refusal(&format!(
                "Dynamic thread count update validation failed for {name}={to}, value should {why}"
            )))
        };
        match change(from, to) {
            Change::Allowed => {}
            Change::ToNone => return refused("be at least 1".to_owned()),
            Change::TooFew => return refused(format!("be at least half the current value {from}")),
            Change::TooMany => {
                return refused(format!("not be greater than double the current value {from}"));
            }
        }
    }
    let (from, to) = (Reader(current).int(CLEANER)?, Reader(altered).int(CLEANER)?);
    let why = match change(from, to) {
        Change::Allowed => return Ok(()),
        Change::ToNone => "should be at least 1".to_owned(),
        Change::TooFew => format!("cannot be reduced to less than half the current value {from}"),
        Change::TooMany => format!("cannot be increased to more than double the current value {from}"),
    };
    Err(refusal(&format!("Log cleaner threads {why}")))
}

/// What Kafka thinks of a change.
enum Change {
    Allowed,
    ToNone,
    TooFew,
    TooMany,
}

fn change(from: i32, to: i32) -> Change {
    if from == to {
        Change::Allowed
    } else if to < 1 {
        Change::ToNone
    } else if to < from / 2 {
        Change::TooFew
    } else if i64::from(to) > 2 * i64::from(from) {
        Change::TooMany
    } else {
        Change::Allowed
    }
}

/// The words as Kafka wraps them.
fn refusal(why: &str) -> ConfigError {
    ConfigError::rule(format!(
        "Invalid value org.apache.kafka.common.config.ConfigException: {why} for configuration Invalid dynamic \
         configuration"
    ))
}

#[cfg(test)]
mod tests {
    use super::super::BrokerConfig;
    use super::super::alter::{AlterOp, Alteration, Target, incremental};
    use super::super::settings::{Layers, Overrides};
    use super::*;
    use crate::errors::ErrorCode;

    fn overrides(pairs: &[(&str, &str)]) -> Overrides {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    /// Why a broker with these settings of all brokers and of its own does not take a value, or none for a deletion.
    fn refused(
        cluster: &[(&str, &str)],
        own: &[(&str, &str)],
        name: &str,
        value: Option<&str>,
    ) -> Option<String> {
        let broker = BrokerConfig::new(&Layers { file: Some(Overrides::new()), ..Layers::default() });
        let broker = broker.expect("defaults are fine").with_dynamic(overrides(cluster), overrides(own));
        let broker = broker.expect("what a broker runs with is fine");
        let op = if value.is_some() { AlterOp::Set } else { AlterOp::Delete };
        let alteration = Alteration { name: name.to_owned(), op, value: value.map(str::to_owned) };
        let altered = incremental(Target::Cluster(&broker), &overrides(cluster), &[alteration]);
        altered.err().map(|error| {
            assert_eq!(error.code, ErrorCode::InvalidRequest);
            error.message
        })
    }

    #[test]
    fn pools_grow_and_shrink_by_half_and_double() {
        let bounds = [
            ("num.io.threads", 4, 16, 8),
            ("num.network.threads", 1, 6, 3),
            ("num.replica.fetchers", 1, 2, 1),
            ("num.recovery.threads.per.data.dir", 1, 4, 2),
            ("background.threads", 5, 20, 10),
            ("log.cleaner.threads", 1, 2, 1),
        ];
        for (name, low, high, now) in bounds {
            for value in [low, now, high] {
                assert_eq!(refused(&[], &[], name, Some(&value.to_string())), None, "{name}={value}");
            }
            for value in [low - 1, high + 1] {
                assert!(refused(&[], &[], name, Some(&value.to_string())).is_some(), "{name}={value}");
            }
        }
    }

    #[test]
    fn refusals_have_kafkas_words() {
        let wrapped = |why: &str| {
            Some(format!(
                "Invalid value org.apache.kafka.common.config.ConfigException: {why} for configuration Invalid \
                 dynamic configuration"
            ))
        };
        let validation = "Dynamic thread count update validation failed for";
        assert_eq!(
            refused(&[], &[], "num.io.threads", Some("3")),
            wrapped(&format!(
                "{validation} num.io.threads=3, value should be at least half the current value 8"
            ))
        );
        assert_eq!(
            refused(&[], &[], "background.threads", Some("21")),
            wrapped(&format!(
                "{validation} background.threads=21, value should not be greater than double the current value 10"
            ))
        );
        assert_eq!(
            refused(&[], &[], "log.cleaner.threads", Some("3")),
            wrapped("Log cleaner threads cannot be increased to more than double the current value 1")
        );
        let zero = "Invalid value 0 for configuration num.io.threads: Value must be at least 1";
        assert_eq!(refused(&[], &[], "num.io.threads", Some("0")).as_deref(), Some(zero));
    }

    #[test]
    fn what_counts_is_what_the_broker_runs_with() {
        let (name, raised) = ("num.io.threads", [("num.io.threads", "32")]);
        assert!(refused(&raised, &[], name, None).is_some(), "back to 8 is too far as well");
        assert_eq!(refused(&raised, &[], name, Some("16")), None);
        assert_eq!(refused(&raised, &[("num.io.threads", "9")], name, Some("5")), None, "its own hides it");
        assert_eq!(
            refused(&raised, &[], "log.retention.ms", Some("60000")),
            None,
            "nobody asks for what stays"
        );
    }
}
