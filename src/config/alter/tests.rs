//! Tests of alterations, with the codes and words that a real Kafka answered.

use super::super::settings::Layers;
use super::*;
use AlterOp::{Append, Delete, Set, Subtract};
use ErrorCode::{InvalidConfig, InvalidRequest};

fn broker() -> BrokerConfig {
    BrokerConfig::new(&Layers { file: Some(Overrides::new()), ..Layers::default() })
        .expect("defaults are fine")
}

fn overrides(pairs: &[(&str, &str)]) -> Overrides {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn operation(name: &str, op: AlterOp, value: &str) -> Alteration {
    let value = Some(value.to_owned()).filter(|_| op != Delete);
    Alteration { name: name.to_owned(), op, value }
}

/// A topic's settings after operations on settings that were there.
fn topic(current: &[(&str, &str)], operations: &[(&str, AlterOp, &str)]) -> Result<Overrides, AlterError> {
    let operations: Vec<Alteration> =
        operations.iter().map(|(name, op, value)| operation(name, *op, value)).collect();
    let config = broker();
    incremental(Target::Topic(config.settings()), &overrides(current), &operations)
        .map(|altered| altered.overrides)
}

fn refusal<T: std::fmt::Debug>(result: Result<T, AlterError>) -> (ErrorCode, String) {
    let error = result.expect_err("the alteration is refused");
    (error.code, error.message)
}

fn refused(code: ErrorCode, message: &str) -> (ErrorCode, String) {
    (code, message.to_owned())
}

#[test]
fn lists_grow_and_shrink_from_kafkas_default() {
    let policy = |current: &[(&str, &str)], op, value| {
        let after = topic(current, &[("cleanup.policy", op, value)]).expect("cleanup.policy is a list");
        after.get("cleanup.policy").cloned()
    };
    assert_eq!(policy(&[], Append, "compact").as_deref(), Some("delete,compact"));
    assert_eq!(policy(&[], Append, "delete").as_deref(), Some("delete"));
    let both = [("cleanup.policy", "delete,compact")];
    assert_eq!(policy(&both, Subtract, "delete").as_deref(), Some("compact"));
    assert_eq!(policy(&both, Subtract, "delete,compact").as_deref(), Some(""));
    assert_eq!(policy(&both, Subtract, "nothere").as_deref(), Some("delete,compact"));
    assert_eq!(policy(&both, Delete, ""), None);
    assert_eq!(policy(&both, Set, "compact").as_deref(), Some("compact"));
    let replicas = "leader.replication.throttled.replicas";
    let after = topic(&[(replicas, "0:1")], &[(replicas, Append, "0:1,1:1")]).expect("a list");
    assert_eq!(after.get(replicas).map(String::as_str), Some("0:1,1:1"));
}

#[test]
fn only_lists_can_be_appended_to() {
    let append = |name: &str| refusal(topic(&[], &[(name, Append, "5")]));
    assert_eq!(
        append("retention.ms"),
        refused(InvalidConfig, "Can't APPEND to key retention.ms because its type is not LIST.")
    );
    assert_eq!(append("nosuch").1, "Can't APPEND to key nosuch because its type is not LIST.");
    assert_eq!(
        refusal(topic(&[], &[("retention.ms", Subtract, "5")])).1,
        "Can't SUBTRACT to key retention.ms because its type is not LIST."
    );
    let metrics = incremental(Target::ClientMetrics, &Overrides::new(), &[operation("metrics", Append, "a")]);
    assert_eq!(refusal(metrics).1, "Can't APPEND to key metrics because its type is not LIST.");
}

#[test]
fn refused_topic_settings() {
    let set = |name: &str, value: &str| refusal(topic(&[], &[(name, Set, value)]));
    assert_eq!(set("nosuch", "5"), refused(InvalidConfig, "Unknown topic config name: nosuch"));
    assert_eq!(
        set("retention.ms", "x"),
        refused(InvalidConfig, "Invalid value x for configuration retention.ms: Not a number of type LONG")
    );
    assert_eq!(
        set("cleanup.policy", "delete,,compact").1,
        "Configuration 'cleanup.policy' values must not be empty."
    );
    assert_eq!(
        refusal(topic(&[("min.compaction.lag.ms", "100")], &[("max.compaction.lag.ms", Set, "50")])).1,
        "conflict topic config setting min.compaction.lag.ms (100) > max.compaction.lag.ms (50)"
    );
    assert!(topic(&[], &[("nosuch", Delete, "")]).expect("nothing to delete is no error").is_empty());
}

#[test]
fn one_bad_operation_changes_nothing() {
    assert!(topic(&[], &[("retention.ms", Set, "1"), ("segment.ms", Set, "0")]).is_err());
}

#[test]
fn requests_that_make_no_sense() {
    let twice = [("retention.ms", Set, "1"), ("retention.ms", Set, "2")];
    assert_eq!(refusal(topic(&[], &twice)), refused(InvalidRequest, "Error due to duplicate config keys"));
    let null = Alteration { name: "retention.ms".into(), op: Set, value: None };
    let config = broker();
    let result = incremental(Target::Topic(config.settings()), &Overrides::new(), &[null]);
    assert_eq!(refusal(result), refused(InvalidRequest, "Null value not supported for : retention.ms"));
    let long = "x".repeat(32_768);
    let (code, message) = refusal(topic(&[], &[("cleanup.policy", Set, &long)]));
    assert_eq!(code, InvalidConfig);
    assert!(message.ends_with("it exceeds the maximum value size of 32767 bytes."));
    let appended = "ä".repeat(16_367);
    let result = alter_broker(false, "metric.reporters", Append, &appended);
    assert_eq!(refusal(result).0, InvalidConfig, "few characters, and more bytes than a record takes");
    assert_eq!(AlterOp::from_code(3), Some(Subtract));
    assert_eq!(AlterOp::from_code(4), None);
}

#[test]
fn only_what_differs_is_written_for_a_topic_and_all_for_a_broker() {
    let config = broker();
    let current = overrides(&[("retention.ms", "1")]);
    let same = [operation("retention.ms", Set, "1"), operation("flush.ms", Delete, "")];
    let altered = incremental(Target::Topic(config.settings()), &current, &same).expect("fine");
    assert!(altered.changes.is_empty());
    assert_eq!(altered.overrides, current);
    let current = overrides(&[("log.retention.ms", "1")]);
    let same = [operation("log.retention.ms", Set, "1")];
    let altered = incremental(Target::Broker(&config), &current, &same).expect("fine");
    assert_eq!(altered.changes, [("log.retention.ms".to_owned(), Some("1".to_owned()))]);
}

#[test]
fn the_old_request_replaces_everything() {
    let config = broker();
    let current = overrides(&[("retention.ms", "1"), ("flush.ms", "2")]);
    let new = [("retention.ms".to_owned(), Some("3".to_owned()))];
    let altered = replace(Target::Topic(config.settings()), &current, &new).expect("fine");
    assert_eq!(altered.overrides, overrides(&[("retention.ms", "3")]));
    assert_eq!(
        altered.changes,
        [("retention.ms".to_owned(), Some("3".to_owned())), ("flush.ms".to_owned(), None)]
    );
    let null = [("retention.ms".to_owned(), None)];
    assert_eq!(refusal(replace(Target::Topic(config.settings()), &current, &null)).0, InvalidRequest);
}

fn alter_broker(per_broker: bool, name: &str, op: AlterOp, value: &str) -> Result<Altered, AlterError> {
    let config = broker();
    let target = if per_broker { Target::Broker(&config) } else { Target::Cluster(&config) };
    incremental(target, &Overrides::new(), &[operation(name, op, value)])
}

#[test]
fn broker_settings_that_can_be_altered() {
    for (name, value) in [
        ("log.retention.ms", "60000"),
        ("max.connections", "77"),
        ("num.io.threads", "16"),
        ("leader.replication.throttled.rate", "1000"),
        ("nosuch.key", "5"),
        ("listener.name.plaintext.max.connections", "5"),
    ] {
        assert!(alter_broker(true, name, Set, value).is_ok(), "{name}");
        assert!(alter_broker(false, name, Set, value).is_ok(), "{name} for all brokers");
    }
    assert!(alter_broker(true, "listener.name.plaintext.ssl.keystore.type", Set, "JKS").is_ok());
    assert!(alter_broker(true, "sasl.jaas.config", Set, "x").is_ok());
    let grown = alter_broker(true, "log.cleanup.policy", Append, "compact").expect("a list");
    assert_eq!(grown.overrides, overrides(&[("log.cleanup.policy", "delete,compact")]));
}

#[test]
fn broker_settings_that_cannot() {
    for (per_broker, name, value, message) in [
        (true, "num.partitions", "3", "Cannot update these configs dynamically: [num.partitions]"),
        (false, "num.partitions", "3", "Cannot update these configs dynamically: [num.partitions]"),
        (
            true,
            "log.retention.minutes",
            "5",
            "Cannot update these configs dynamically: [log.retention.minutes]",
        ),
        (true, "shards", "5", "Cannot update these configs dynamically: [shards]"),
        (
            true,
            "log.retention.ms",
            "x",
            "Invalid value x for configuration log.retention.ms: Not a number of type LONG",
        ),
        (
            true,
            "log.retention.ms",
            "0",
            "log.retention.ms must be unlimited (-1) or, greater than or equal to 1",
        ),
        (
            true,
            "message.max.bytes",
            "-1",
            "Invalid value -1 for configuration message.max.bytes: Value must be at least 0",
        ),
        (true, "listeners", "PLAINTEXT://:1", "Cannot update these configs dynamically: [listeners]"),
        (
            true,
            "ssl.keystore.location",
            "/x",
            "These security configs can be dynamically updated only per-listener using the listener prefix: \
             [ssl.keystore.location]",
        ),
        (
            false,
            "listener.name.plaintext.ssl.keystore.location",
            "/x",
            "Cannot update these configs at default cluster level, broker id must be specified: \
             [listener.name.plaintext.ssl.keystore.location]",
        ),
    ] {
        assert_eq!(refusal(alter_broker(per_broker, name, Set, value)), refused(InvalidRequest, message));
    }
    assert_eq!(
        refusal(alter_broker(true, "nosuch.key", Append, "5")),
        refused(InvalidConfig, "Unknown config name: nosuch.key")
    );
    assert_eq!(
        refusal(alter_broker(true, "message.max.bytes", Append, "1")),
        refused(InvalidConfig, "Config value append is not allowed for config key: message.max.bytes")
    );
}

#[test]
fn stored_settings_that_cannot_be_applied_are_left_out() {
    let stored = overrides(&[("log.retention.ms", "5"), ("num.partitions", "3"), ("message.max.bytes", "x")]);
    let (usable, ignored) = usable_broker_settings(&stored, true);
    assert_eq!(usable, overrides(&[("log.retention.ms", "5")]));
    assert_eq!(ignored, ["message.max.bytes", "num.partitions"]);
    let (usable, _) = usable_broker_settings(&overrides(&[("listeners", "PLAINTEXT://:1")]), true);
    assert!(usable.is_empty());
}

#[test]
fn group_settings_stay_within_the_brokers_bounds() {
    let config = broker();
    let set = |pairs: &[(&str, &str)]| {
        let operations: Vec<Alteration> =
            pairs.iter().map(|(name, value)| operation(name, Set, value)).collect();
        incremental(Target::Group(config.settings()), &Overrides::new(), &operations)
    };
    assert!(set(&[("consumer.session.timeout.ms", "50000")]).is_ok());
    assert!(set(&[("share.auto.offset.reset", "by_duration:PT1H")]).is_ok());
    assert!(
        set(&[("streams.rack.aware.assignment.tags", "a,b"), ("streams.assignor.name", "sticky")]).is_ok()
    );
    for (pairs, message) in [
        (&[("nosuch", "x")][..], "Unknown group config name: nosuch"),
        (
            &[("consumer.session.timeout.ms", "5")],
            "consumer.session.timeout.ms must be in the range 45000 to 60000 inclusive.",
        ),
        (
            &[("streams.num.standby.replicas", "9")],
            "streams.num.standby.replicas must be less than or equal to 2",
        ),
        (
            &[("streams.task.offset.interval.ms", "5")],
            "streams.task.offset.interval.ms must be greater than or equal to 15000",
        ),
        (
            &[("errors.deadletterqueue.topic.name", "__x")],
            "errors.deadletterqueue.topic.name: DLQ topic name must not start with '__'",
        ),
        (
            &[("streams.assignor.name", "x")],
            "streams.assignor.name 'x' is not a registered task assignor. Registered assignors are: [sticky].",
        ),
    ] {
        assert_eq!(refusal(set(pairs)), refused(InvalidConfig, message));
    }
}

#[test]
fn subscriptions_have_two_codes() {
    let set = |name: &str, value: &str| {
        incremental(Target::ClientMetrics, &Overrides::new(), &[operation(name, Set, value)])
    };
    assert!(set("interval.ms", "1000").is_ok() && set("match", "client_id=a.*").is_ok());
    assert_eq!(
        refusal(set("interval.ms", "50")),
        refused(
            InvalidRequest,
            "Invalid value 50 for interval.ms, interval must be between 100 and 3600000 (1 hour)"
        )
    );
    assert_eq!(
        refusal(set("nosuch", "1")),
        refused(InvalidRequest, "Unknown client metrics configuration: nosuch")
    );
    assert_eq!(
        refusal(set("match", "foo=bar")),
        refused(InvalidConfig, "Illegal client matching pattern: foo=bar")
    );
    assert_eq!(refusal(set("interval.ms", "x")).0, InvalidConfig);
}
