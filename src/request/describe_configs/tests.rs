//! DescribeConfigs, with the answers of Apache Kafka 4.3.1 to the same requests.

use ottla_wire::Message;

use super::*;
use crate::config::Overrides;
use crate::controller::loggers::LogLevel;
use crate::controller::testing::{config, image_with, setting, topic};

const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const LOGGER: i8 = 8;
const METRICS: i8 = 16;
const GROUP: i8 = 32;

fn image() -> Image {
    image_with(&[
        topic("at", 1, 1),
        setting(TOPIC, "at", "retention.ms", "7"),
        setting(GROUP, "g1", "consumer.session.timeout.ms", "50000"),
    ])
}

fn loggers() -> Vec<Logger> {
    [("root", LogLevel::Info), ("ottla::log", LogLevel::Warn)]
        .map(|(name, level)| Logger { name: name.to_owned(), level })
        .to_vec()
}

fn ask(kind: i8, name: &'static str, keys: Option<&[&'static str]>) -> DescribeConfigsRequest<'static> {
    let configuration_keys = keys.map(|keys| keys.iter().map(|key| Cow::Borrowed(*key)).collect());
    DescribeConfigsRequest {
        resources: vec![DescribeConfigsResource {
            resource_type: kind,
            resource_name: name.into(),
            configuration_keys,
        }],
        include_synonyms: true,
        include_documentation: false,
    }
}

/// The request lives as long as the test process, so that the answer may borrow from it.
fn answer(config: &BrokerConfig, request: DescribeConfigsRequest<'static>) -> DescribeConfigsResult<'static> {
    let mut response = handle(&image(), config, &loggers(), Box::leak(Box::new(request)));
    for version in 1..=4 {
        response.size(version).expect("the version carries it");
    }
    response.results.remove(0)
}

fn refused(kind: i8, name: &'static str) -> (i16, String) {
    let result = answer(&config(&[]), ask(kind, name, None));
    assert!(result.configs.is_empty());
    (result.error_code, result.error_message.expect("an error has a text").into_owned())
}

#[test]
fn refusals_are_kafkas() {
    let bad_char = "Topic name is invalid: 'a b' contains one or more characters other than ASCII alphanumerics, \
                    '.', '_' and '-'";
    for (kind, name, code, text) in [
        (TOPIC, "none", 3, ""),
        (TOPIC, "a b", 17, bad_char),
        (TOPIC, "", 17, "Topic name is invalid: the empty string is not allowed"),
        (BROKER, "7", 42, "Unexpected broker id, expected 1 or empty string, but received 7"),
        (BROKER, "x", 42, "Broker id must be an integer, but it is: x"),
        (LOGGER, "", 42, "Broker id must not be empty"),
        (LOGGER, "2", 42, "Unexpected broker id, expected 1 but received 2"),
        (GROUP, "", 42, "Group name must not be empty"),
        (METRICS, "", 42, "Client metrics subscription name must not be empty"),
        (0, "at", 42, MALFORMED),
        (3, "at", 42, MALFORMED),
    ] {
        assert_eq!(refused(kind, name), (code, text.to_owned()));
    }
}

#[test]
fn an_unknown_type_refuses_the_request_as_a_whole() {
    let mut request = ask(TOPIC, "at", None);
    request.resources.extend(ask(9, "x", None).resources);
    let image = image();
    let response = handle(&image, &config(&[]), &[], &request);
    assert_eq!(response.results.iter().map(|result| result.error_code).collect::<Vec<_>>(), [42, 42]);
}

#[test]
fn a_topic_in_full_and_in_part() {
    let config = config(&[("log.retention.ms", "1234")]);
    for keys in [None, Some(&[][..])] {
        let result = answer(&config, ask(TOPIC, "at", keys));
        assert_eq!((result.error_code, result.error_message.as_deref()), (0, Some("")));
        assert!(result.configs.len() >= 33, "{} keys", result.configs.len());
        assert!(
            result
                .configs
                .iter()
                .all(|entry| entry.value.is_some() && !entry.read_only && !entry.is_sensitive)
        );
    }
    let result = answer(&config, ask(TOPIC, "at", Some(&["retention.ms", "cleanup.policy", "zzz"])));
    let names: Vec<&str> = result.configs.iter().map(|entry| &*entry.name).collect();
    assert_eq!(names, ["cleanup.policy", "retention.ms"]);
    let retention = &result.configs[1];
    assert_eq!(
        (retention.value.as_deref(), retention.config_source, retention.config_type),
        (Some("7"), 1, 5)
    );
    let synonyms: Vec<_> =
        retention.synonyms.iter().map(|s| (&*s.name, s.value.as_deref(), s.source)).collect();
    assert_eq!(synonyms[..2], [("retention.ms", Some("7"), 1), ("log.retention.ms", Some("1234"), 4)]);
    assert_eq!(retention.documentation, None);
}

#[test]
fn synonyms_and_documentation_where_asked_for() {
    let mut request = ask(TOPIC, "at", Some(&["retention.ms"]));
    request.include_synonyms = false;
    request.include_documentation = true;
    let entry = answer(&config(&[]), request).configs.remove(0);
    assert!(entry.synonyms.is_empty());
    assert!(entry.documentation.is_some_and(|text| !text.is_empty()));
    assert_eq!(entry.config_source, 1);
}

#[test]
fn the_broker_and_the_defaults_of_all() {
    let fixed = config(&[("log.retention.ms", "1234"), ("ssl.key.password", "swordfish")]);
    let cluster = Overrides::from([("log.cleaner.threads".to_owned(), "2".to_owned())]);
    let config = fixed.with_dynamic(cluster, Overrides::new()).expect("they are good");
    let result = answer(&config, ask(BROKER, "1", None));
    assert!(result.configs.len() > 300, "{} keys", result.configs.len());
    let entry =
        |name: &str| result.configs.iter().find(|entry| entry.name == name).expect("every key is listed");
    assert_eq!((entry("node.id").read_only, entry("node.id").config_source), (true, 4));
    let password = entry("ssl.key.password");
    assert_eq!((password.is_sensitive, password.value.as_deref()), (true, None));
    let threads = entry("log.cleaner.threads");
    assert_eq!((threads.value.as_deref(), threads.config_source, threads.read_only), (Some("2"), 3, false));
    let defaults = answer(&config, ask(BROKER, "", None));
    assert_eq!(
        defaults.configs.iter().map(|entry| &*entry.name).collect::<Vec<_>>(),
        ["log.cleaner.threads"]
    );
}

#[test]
fn loggers_groups_and_subscriptions() {
    let config = config(&[]);
    let result = answer(&config, ask(LOGGER, "1", None));
    let levels: Vec<_> =
        result.configs.iter().map(|e| (&*e.name, e.value.as_deref(), e.config_source)).collect();
    assert_eq!(levels, [("root", Some("INFO"), 6), ("ottla::log", Some("WARN"), 6)]);
    assert_eq!(answer(&config, ask(LOGGER, "1", Some(&["root", "x"]))).configs.len(), 1);
    let group = answer(&config, ask(GROUP, "g1", Some(&["consumer.session.timeout.ms"]))).configs.remove(0);
    assert_eq!((group.value.as_deref(), group.config_source), (Some("50000"), 8));
    let other = answer(&config, ask(GROUP, "gg", Some(&["consumer.session.timeout.ms"]))).configs.remove(0);
    assert_eq!((other.value.as_deref(), other.config_source), (Some("45000"), 5));
    let subscription = answer(&config, ask(METRICS, "mm", None));
    assert_eq!(
        subscription.configs.iter().map(|entry| &*entry.name).collect::<Vec<_>>(),
        ["interval.ms", "match", "metrics"]
    );
}

#[test]
fn an_answer_has_an_end() {
    let mut request = ask(BROKER, "1", None);
    request.include_synonyms = false;
    let resource = request.resources[0].clone();
    request.resources.resize(2_000, resource);
    let image = image();
    let response = handle(&image, &config(&[]), &[], &request);
    let described: usize = response.results.iter().map(|result| result.configs.len()).sum();
    assert!((DESCRIBED_CONFIGS_MAX..DESCRIBED_CONFIGS_MAX + 1_000).contains(&described), "{described}");
    assert_eq!(response.results.len(), 2_000);
    let last = response.results.last().expect("there are 2,000");
    assert_eq!((last.error_code, last.configs.len()), (ErrorCode::PolicyViolation.code(), 0));
}
