//! Alterations, with the answers of Apache Kafka 4.3.1 to the same requests.

use ottla_wire::Message;
use ottla_wire::alter_configs_request::{AlterConfigsResource as OldResource, AlterableConfig as OldConfig};
use ottla_wire::incremental_alter_configs_request::AlterableConfig;

use super::*;
use crate::controller::loggers::LogLevel;
use crate::controller::testing::{config, image_with, replayed, setting, topic};

const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const LOGGER: i8 = 8;
const METRICS: i8 = 16;
const GROUP: i8 = 32;

type Op<'a> = (&'a str, i8, Option<&'a str>);
type Heard = (i16, Option<String>);

fn image() -> Image {
    image_with(&[topic("at", 1, 1), topic("bt", 2, 1)])
}

fn resource<'a>(kind: i8, name: &'a str, ops: &[Op<'a>]) -> AlterConfigsResource<'a> {
    let configs = ops
        .iter()
        .map(|(name, op, value)| AlterableConfig {
            name: (*name).into(),
            config_operation: *op,
            value: value.map(Cow::Borrowed),
        })
        .collect();
    AlterConfigsResource { resource_type: kind, resource_name: name.into(), configs }
}

fn old(
    kind: i8,
    name: &'static str,
    settings: &[(&'static str, Option<&'static str>)],
) -> OldResource<'static> {
    let configs = settings
        .iter()
        .map(|(name, value)| OldConfig { name: (*name).into(), value: value.map(Cow::Borrowed) })
        .collect();
    OldResource { resource_type: kind, resource_name: name.into(), configs }
}

fn loggers() -> Vec<Logger> {
    [("root", LogLevel::Info), ("ottla::log", LogLevel::Warn)]
        .map(|(name, level)| Logger { name: name.to_owned(), level })
        .to_vec()
}

fn decide(image: &Image, resources: Vec<AlterConfigsResource<'_>>) -> Decision<IncrementalReply> {
    let request = IncrementalAlterConfigsRequest { resources, validate_only: false };
    let decision = incremental(image, &config(&[]), &loggers(), &request);
    for version in 0..=1 {
        decision.reply.response.size(version).expect("the version carries it");
    }
    decision
}

fn heard(decision: &Decision<IncrementalReply>) -> Vec<Heard> {
    let responses = decision.reply.response.responses.iter();
    responses.map(|r| (r.error_code, r.error_message.as_deref().map(str::to_owned))).collect()
}

fn one(kind: i8, name: &str, ops: &[Op<'_>]) -> Heard {
    let decision = decide(&image(), vec![resource(kind, name, ops)]);
    let heard = heard(&decision).remove(0);
    assert!(heard.0 == 0 || decision.records.is_empty(), "an error writes nothing");
    heard
}

fn refused(code: i16, message: &str) -> Heard {
    (code, Some(message.to_owned()))
}

#[test]
fn refusals_for_topics_are_kafkas() {
    let set = |key, value| [(key, SET, Some(value))];
    let good = &set("retention.ms", "1");
    let not_long = "Invalid value x for configuration retention.ms: Not a number of type LONG";
    let bad_char = "Topic name is invalid: 'a b' contains one or more characters other than ASCII alphanumerics, \
                    '.', '_' and '-'";
    assert_eq!(one(TOPIC, "at", good), (0, None));
    assert_eq!(one(TOPIC, "at", &[]), (0, None));
    assert_eq!(one(TOPIC, "at", &[("nope", DELETE, None)]), (0, None));
    assert_eq!(one(TOPIC, "at", &[("retention.ms", DELETE, Some("zz"))]), (0, None));
    assert_eq!(one(TOPIC, "at", &set("retention.ms", "x")), refused(40, not_long));
    assert_eq!(one(TOPIC, "at", &set("nope", "5")), refused(40, "Unknown topic config name: nope"));
    assert_eq!(
        one(TOPIC, "at", &[("retention.ms", SET, None)]),
        refused(42, "Null value not supported for : retention.ms")
    );
    assert_eq!(
        one(TOPIC, "at", &[("retention.ms", APPEND, Some("5"))]),
        refused(40, "Can't APPEND to key retention.ms because its type is not LIST.")
    );
    assert_eq!(
        one(TOPIC, "at", &[("retention.ms", SET, Some("1")), ("retention.ms", SET, Some("2"))]),
        refused(42, "Error due to duplicate config keys")
    );
    assert_eq!(one(TOPIC, "none", good), refused(3, "The topic 'none' does not exist."));
    assert_eq!(one(TOPIC, "none", &set("retention.ms", "x")), refused(40, not_long));
    assert_eq!(one(TOPIC, "", good), refused(42, "Default topic resources are not allowed."));
    assert_eq!(one(TOPIC, "a b", good), refused(17, bad_char));
    assert_eq!(
        one(TOPIC, "at", &[("cleanup.policy", 9, Some("x"))]),
        refused(42, "Unknown operations type 9")
    );
    assert_eq!(one(99, "at", good), refused(42, "Unknown resource type 99"));
    assert_eq!(one(0, "at", good), refused(42, "Unknown resource type 0"));
}

#[test]
fn refusals_for_brokers_are_kafkas() {
    let threads = |value| [("log.cleaner.threads", SET, Some(value))];
    assert_eq!(one(BROKER, "1", &threads("2")), (0, None));
    assert_eq!(one(BROKER, "", &threads("2")), (0, None));
    assert_eq!(one(BROKER, "", &[("some.plugins.key", SET, Some("2"))]), (0, None));
    assert_eq!(
        one(BROKER, "1", &threads("x")),
        refused(42, "Invalid value x for configuration log.cleaner.threads: Not a number of type INT")
    );
    assert_eq!(
        one(BROKER, "2", &threads("2")),
        refused(42, "Unexpected broker id, expected 1, but received 2")
    );
    assert_eq!(one(BROKER, "x", &threads("2")), refused(42, "Node id must be an integer, but it is: x"));
    assert_eq!(
        one(BROKER, "1", &[("node.id", SET, Some("2"))]),
        refused(42, "Cannot update these configs dynamically: [node.id]")
    );
    assert_eq!(one(BROKER, "", &[("nope", APPEND, Some("x"))]), refused(40, "Unknown config name: nope"));
    assert_eq!(
        one(BROKER, "1", &[("listeners", SET, Some("PLAINTEXT://:1"))]),
        refused(42, "Cannot update these configs dynamically: [listeners]")
    );
}

#[test]
fn refusals_for_groups_and_subscriptions_are_kafkas() {
    let timeout = |value| [("consumer.session.timeout.ms", SET, Some(value))];
    assert_eq!(one(GROUP, "g", &timeout("50000")), (0, None));
    assert_eq!(one(GROUP, "", &timeout("50000")), refused(42, "Default group resources are not allowed."));
    assert_eq!(one(GROUP, "g", &[("nope", SET, Some("5"))]), refused(40, "Unknown group config name: nope"));
    let (code, message) = one(GROUP, "g", &timeout("5"));
    assert!(
        code == 40 && message.is_some_and(|text| text.starts_with("consumer.session.timeout.ms must be"))
    );
    let interval = |value| [("interval.ms", SET, Some(value))];
    assert_eq!(one(METRICS, "m", &interval("50000")), (0, None));
    assert_eq!(one(METRICS, "", &interval("50000")), refused(42, "Subscription name can't be empty"));
    assert_eq!(
        one(METRICS, "m", &interval("5")),
        refused(42, "Invalid value 5 for interval.ms, interval must be between 100 and 3600000 (1 hour)")
    );
}

#[test]
fn lists_grow_and_shrink() {
    let mut image = image();
    let policy = |image: &Image| {
        let overrides = image.configs.of(&ConfigResource::topic("at"));
        overrides.and_then(|overrides| overrides.get("cleanup.policy")).cloned()
    };
    for (op, value, after) in [
        (APPEND, "compact", "delete,compact"),
        (APPEND, "compact", "delete,compact"),
        (SUBTRACT, "delete", "compact"),
        (SUBTRACT, "compact", ""),
    ] {
        let decision = decide(&image, vec![resource(TOPIC, "at", &[("cleanup.policy", op, Some(value))])]);
        assert_eq!(heard(&decision), [(0, None)]);
        image = replayed(&image, &decision.records).0;
        assert_eq!(policy(&image).as_deref(), Some(after));
    }
    let decision = decide(&image, vec![resource(TOPIC, "at", &[("cleanup.policy", DELETE, None)])]);
    assert_eq!(policy(&replayed(&image, &decision.records).0), None);
}

#[test]
fn resources_are_decided_for_themselves_and_answered_in_order() {
    let decision = decide(
        &image(),
        vec![
            resource(TOPIC, "at", &[("retention.ms", SET, Some("11"))]),
            resource(TOPIC, "bt", &[("retention.ms", SET, Some("q"))]),
            resource(TOPIC, "none", &[]),
            resource(BROKER, "", &[("log.retention.ms", SET, Some("9"))]),
        ],
    );
    assert_eq!(heard(&decision).into_iter().map(|(code, _)| code).collect::<Vec<_>>(), [0, 40, 3, 0]);
    let (after, delta) = replayed(&image(), &decision.records);
    assert_eq!(delta.configs_changed.len(), 2);
    assert!(after.configs.of(&ConfigResource::topic("bt")).is_none());
    let names: Vec<&str> = decision.reply.response.responses.iter().map(|r| &*r.resource_name).collect();
    assert_eq!(names, ["at", "bt", "none", ""]);
}

#[test]
fn a_resource_that_comes_twice_is_refused_each_time() {
    let twice = || resource(TOPIC, "at", &[("retention.ms", SET, Some("1"))]);
    let decision = decide(&image(), vec![twice(), resource(TOPIC, "bt", &[]), twice()]);
    let error = refused(42, "Each resource must appear at most once.");
    assert_eq!(heard(&decision), [error.clone(), (0, None), error]);
    assert!(decision.records.is_empty());
}

#[test]
fn validation_alone_changes_nothing() {
    let request = IncrementalAlterConfigsRequest {
        resources: vec![
            resource(TOPIC, "at", &[("retention.ms", SET, Some("1"))]),
            resource(LOGGER, "1", &[("root", SET, Some("DEBUG"))]),
            resource(TOPIC, "bt", &[("retention.ms", SET, Some("x"))]),
        ],
        validate_only: true,
    };
    let decision = incremental(&image(), &config(&[]), &loggers(), &request);
    assert_eq!(heard(&decision).into_iter().map(|(code, _)| code).collect::<Vec<_>>(), [0, 0, 40]);
    assert!(decision.records.is_empty() && decision.reply.loggers.is_empty());
}

#[test]
fn loggers_change_in_the_process_alone() {
    let decision = decide(
        &image(),
        vec![resource(LOGGER, "1", &[("root", SET, Some("DEBUG")), ("ottla::log", DELETE, None)])],
    );
    assert!(decision.records.is_empty());
    let change = |name: &str, level| LoggerChange { name: name.to_owned(), level };
    assert_eq!(decision.reply.loggers, [change("root", Some(LogLevel::Debug)), change("ottla::log", None)]);
    let levels = "Valid log levels are DEBUG, ERROR, FATAL, INFO, TRACE, WARN";
    let bogus =
        format!("Cannot set the log level of root to BOGUS as it is not a supported log level. {levels}");
    for (name, op, heard) in [
        ("1", ("kafka.nope", SET, Some("DEBUG")), refused(40, "Logger kafka.nope does not exist!")),
        ("1", ("root", SET, Some("BOGUS")), refused(40, &bogus)),
        ("1", ("root", SET, Some("debug")), refused(40, &bogus.replace("BOGUS", "debug"))),
        ("1", ("root", SET, None), refused(42, "Null value not supported for : root")),
        (
            "1",
            ("root", DELETE, None),
            refused(42, "Removing the log level of the root logger is not allowed"),
        ),
        (
            "1",
            ("root", APPEND, Some("INFO")),
            refused(42, "APPEND operation is not allowed for the BROKER_LOGGER resource"),
        ),
        ("2", ("root", SET, Some("INFO")), refused(42, "Unexpected node id. Expected 1, but received 2")),
        ("", ("root", SET, Some("INFO")), refused(42, "Node id must be an integer, but it is: ")),
    ] {
        assert_eq!(one(LOGGER, name, &[op]), heard);
    }
}

#[test]
fn the_old_request_replaces_everything() {
    let image = image_with(&[topic("at", 1, 1), setting(TOPIC, "at", "retention.ms", "7")]);
    let decide = |resources| {
        let request = AlterConfigsRequest { resources, validate_only: false };
        let decision = replace(&image, &config(&[]), &request);
        for version in 0..=2 {
            decision.reply.size(version).expect("the version carries it");
        }
        decision
    };
    let decision = decide(vec![old(TOPIC, "at", &[("segment.ms", Some("7777777"))])]);
    let (after, _) = replayed(&image, &decision.records);
    let overrides = after.configs.of(&ConfigResource::topic("at")).expect("one is set");
    assert_eq!(
        overrides.iter().map(|(k, v)| (&k[..], &v[..])).collect::<Vec<_>>(),
        [("segment.ms", "7777777")]
    );
    let heard = |resource| {
        let reply = decide(vec![resource]).reply;
        let response = &reply.responses[0];
        (response.error_code, response.error_message.as_deref().map(str::to_owned))
    };
    let null = "Null value not supported for : segment.ms";
    assert_eq!(heard(old(TOPIC, "at", &[("segment.ms", None)])), refused(42, null));
    assert_eq!(
        heard(old(TOPIC, "at", &[("nope", Some("1"))])),
        refused(40, "Unknown topic config name: nope")
    );
    assert_eq!(heard(old(TOPIC, "none", &[])), refused(3, "The topic 'none' does not exist."));
    assert_eq!(heard(old(LOGGER, "1", &[("root", Some("INFO"))])), refused(42, "Unknown resource type 8"));
    assert_eq!(heard(old(77, "1", &[])), refused(42, "Unknown resource type 77"));
    assert_eq!(heard(old(BROKER, "2", &[])), refused(42, "Unexpected broker id, expected 1, but received 2"));
    let twice = decide(vec![old(TOPIC, "at", &[]), old(TOPIC, "at", &[])]);
    assert!(twice.records.is_empty() && twice.reply.responses.iter().all(|r| r.error_code == 42));
}

#[test]
fn overrides_take_so_much_memory_and_no_more() {
    let long = "x".repeat(32_000);
    let mut image = image();
    for n in 0.. {
        let names: Vec<String> = (0..20).map(|m| format!("plugin.{n}.{m}")).collect();
        let ops: Vec<Op<'_>> = names.iter().map(|name| (name.as_str(), SET, Some(long.as_str()))).collect();
        let decision = decide(&image, vec![resource(BROKER, "", &ops)]);
        if heard(&decision)[0].0 != 0 {
            assert_eq!(heard(&decision)[0].0, ErrorCode::PolicyViolation.code());
            assert!(decision.records.is_empty());
            break;
        }
        image = replayed(&image, &decision.records).0;
    }
    assert!(image.configs.bytes() <= CONFIG_BYTES_MAX);
    assert!(image.configs.bytes() > CONFIG_BYTES_MAX - 20 * 33_000);
    let smaller = decide(&image, vec![resource(BROKER, "", &[("plugin.0.0", DELETE, None)])]);
    assert_eq!(heard(&smaller), [(0, None)]);
}
