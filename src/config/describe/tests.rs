//! Tests of descriptions, against what a real Kafka answered for the same settings.

use super::super::properties;
use super::super::settings::Layers;
use super::*;

fn settings(file: &str) -> Settings {
    let file = properties::parse(file).expect("a properties text");
    Settings::new(&Layers { file: Some(file), ..Layers::default() })
}

fn overrides(text: &str) -> Overrides {
    properties::parse(text).expect("a properties text")
}

/// `value|SOURCE|ro or rw|secret or open|TYPE|SOURCE:name=value …`, as the capture of Kafka's answers has it.
fn line(described: &Described) -> String {
    let source = |source: Source| match source {
        Source::Topic => "DYNAMIC_TOPIC_CONFIG",
        Source::DynamicBroker => "DYNAMIC_BROKER_CONFIG",
        Source::DynamicDefaultBroker => "DYNAMIC_DEFAULT_BROKER_CONFIG",
        Source::StaticBroker => "STATIC_BROKER_CONFIG",
        Source::Default => "DEFAULT_CONFIG",
        Source::ClientMetrics => "DYNAMIC_CLIENT_METRICS_CONFIG",
        Source::Group => "DYNAMIC_GROUP_CONFIG",
    };
    let null = "null".to_owned();
    let synonyms: Vec<String> = described
        .synonyms
        .iter()
        .map(|s| format!("{}:{}={}", source(s.source), s.name, s.value.as_ref().unwrap_or(&null)))
        .collect();
    format!(
        "{}|{}|{}|{}|{}|{}",
        described.value.as_ref().unwrap_or(&null),
        source(described.source),
        if described.read_only { "ro" } else { "rw" },
        if described.sensitive { "secret" } else { "open" },
        described.value_type.map_or("UNKNOWN", ValueType::name),
        synonyms.join(" ")
    )
}

fn one(all: &[Described], name: &str) -> String {
    line(all.iter().find(|described| described.name == name).unwrap_or_else(|| panic!("{name} is described")))
}

/// The fixed settings of the captured broker.
const FILE: &str = "node.id=1\nlog.retention.hours=24\nsasl.jaas.config=secret\ncompression.zstd.level=5\n\
                    log.roll.ms=1000000\nmy.custom.key=hello\nlistener.name.plaintext.sasl.jaas.config=zz\n";

#[test]
fn a_topic_as_kafka_describes_it() {
    let own =
        overrides("cleanup.policy=compact\nretention.ms= 5000\nflush.messages=10000\npreallocate=TRUE\n");
    let all = topic(&settings(FILE), &own, Wanted::ALL).expect("the settings are fine");
    for (name, expected) in [
        (
            "cleanup.policy",
            "compact|DYNAMIC_TOPIC_CONFIG|rw|open|LIST|DYNAMIC_TOPIC_CONFIG:cleanup.policy=compact \
             DEFAULT_CONFIG:log.cleanup.policy=delete",
        ),
        ("retention.ms", "5000|DYNAMIC_TOPIC_CONFIG|rw|open|LONG|DYNAMIC_TOPIC_CONFIG:retention.ms=5000"),
        (
            "preallocate",
            "true|DYNAMIC_TOPIC_CONFIG|rw|open|BOOLEAN|DYNAMIC_TOPIC_CONFIG:preallocate=true \
             DEFAULT_CONFIG:log.preallocate=false",
        ),
        (
            "compression.zstd.level",
            "5|STATIC_BROKER_CONFIG|rw|open|INT|STATIC_BROKER_CONFIG:compression.zstd.level=5 \
             DEFAULT_CONFIG:compression.zstd.level=3",
        ),
        (
            "segment.ms",
            "1000000|STATIC_BROKER_CONFIG|rw|open|LONG|STATIC_BROKER_CONFIG:log.roll.ms=1000000 \
             DEFAULT_CONFIG:log.roll.hours=168",
        ),
        ("flush.ms", "9223372036854775807|DEFAULT_CONFIG|rw|open|LONG|"),
        ("segment.jitter.ms", "0|DEFAULT_CONFIG|rw|open|LONG|"),
        ("remote.storage.enable", "false|DEFAULT_CONFIG|rw|open|BOOLEAN|"),
        (
            "min.cleanable.dirty.ratio",
            "0.5|DEFAULT_CONFIG|rw|open|DOUBLE|DEFAULT_CONFIG:log.cleaner.min.cleanable.ratio=0.5",
        ),
    ] {
        assert_eq!(one(&all, name), expected, "{name}");
    }
    assert_eq!(all.len(), 36, "every key but the internal one");
    assert!(all.iter().all(|described| described.doc.is_some()));
    let none = topic(&settings(FILE), &Overrides::new(), Wanted::ALL).expect("fine");
    assert_eq!(one(&none, "retention.ms"), "86400000|DEFAULT_CONFIG|rw|open|LONG|");
}

#[test]
fn what_is_relaxed_is_seen() {
    let all = topic(&settings(""), &Overrides::new(), Wanted::ALL).expect("fine");
    assert_eq!(
        one(&all, "flush.messages"),
        "1|DEFAULT_CONFIG|rw|open|LONG|DEFAULT_CONFIG:log.flush.interval.messages=1"
    );
    let relaxed = topic(&settings(""), &overrides("flush.messages=1000"), Wanted::ALL).expect("fine");
    assert!(one(&relaxed, "flush.messages").starts_with("1000|DYNAMIC_TOPIC_CONFIG|"));
}

#[test]
fn internal_keys_are_shown_when_set() {
    let names = |own: &Overrides| -> Vec<String> {
        let all = topic(&settings(""), own, Wanted::these(&["internal.segment.bytes"])).expect("fine");
        all.into_iter().map(|described| described.name).collect()
    };
    assert!(names(&Overrides::new()).is_empty());
    assert_eq!(names(&overrides("internal.segment.bytes=100000")), ["internal.segment.bytes"]);
}

#[test]
fn named_keys_only_and_unknown_ones_left_out() {
    let all =
        topic(&settings(""), &Overrides::new(), Wanted::these(&["nosuch", "retention.ms"])).expect("fine");
    assert_eq!(all.len(), 1);
    assert_eq!(topic(&settings(""), &Overrides::new(), Wanted::these(&[])).expect("fine").len(), 36);
}

#[test]
fn a_broker_as_kafka_describes_it() {
    let all = broker(&settings(FILE), Wanted::ALL).expect("the settings are fine");
    for (name, expected) in [
        (
            "broker.id",
            "1|STATIC_BROKER_CONFIG|ro|open|INT|STATIC_BROKER_CONFIG:broker.id=1 DEFAULT_CONFIG:broker.id=1",
        ),
        ("early.start.listeners", "null|DEFAULT_CONFIG|ro|open|LIST|"),
        (
            "listeners",
            "PLAINTEXT://:9092|DEFAULT_CONFIG|rw|open|LIST|DEFAULT_CONFIG:listeners=PLAINTEXT://:9092",
        ),
        (
            "listener.name.plaintext.sasl.jaas.config",
            "null|STATIC_BROKER_CONFIG|ro|secret|PASSWORD|\
             STATIC_BROKER_CONFIG:listener.name.plaintext.sasl.jaas.config=null \
             STATIC_BROKER_CONFIG:sasl.jaas.config=null",
        ),
        (
            "sasl.jaas.config",
            "null|STATIC_BROKER_CONFIG|rw|secret|PASSWORD|STATIC_BROKER_CONFIG:sasl.jaas.config=null",
        ),
        (
            "my.custom.key",
            "null|STATIC_BROKER_CONFIG|ro|secret|UNKNOWN|STATIC_BROKER_CONFIG:my.custom.key=null",
        ),
        ("log.retention.ms", "null|DEFAULT_CONFIG|rw|open|LONG|"),
        ("log.retention.minutes", "null|DEFAULT_CONFIG|ro|open|INT|"),
        (
            "log.retention.hours",
            "24|STATIC_BROKER_CONFIG|ro|open|INT|STATIC_BROKER_CONFIG:log.retention.hours=24 \
             DEFAULT_CONFIG:log.retention.hours=168",
        ),
        ("log.roll.hours", "168|DEFAULT_CONFIG|ro|open|INT|DEFAULT_CONFIG:log.roll.hours=168"),
        (
            "log.roll.ms",
            "1000000|STATIC_BROKER_CONFIG|rw|open|LONG|STATIC_BROKER_CONFIG:log.roll.ms=1000000 \
             DEFAULT_CONFIG:log.roll.hours=168",
        ),
        ("ssl.key.password", "null|DEFAULT_CONFIG|rw|secret|PASSWORD|"),
    ] {
        assert_eq!(one(&all, name), expected, "{name}");
    }
    let names: Vec<&str> = all.iter().map(|described| described.name.as_str()).collect();
    assert!(names.is_sorted());
    assert!(
        !names.contains(&"unstable.api.versions.enable")
            && !names.contains(&"leader.replication.throttled.rate")
    );
}

#[test]
fn dynamic_values_stand_before_fixed_ones() {
    let fixed = settings(FILE);
    let retention = |cluster: &str, own: &str| {
        let dynamic = fixed.with_dynamic(overrides(cluster), overrides(own));
        let wanted = Wanted::these(&["log.retention.hours", "log.retention.ms"]);
        let of_broker = broker(&dynamic, wanted).expect("fine");
        let of_topic = topic(&dynamic, &Overrides::new(), Wanted::these(&["retention.ms"])).expect("fine");
        (
            one(&of_broker, "log.retention.ms"),
            one(&of_broker, "log.retention.hours"),
            one(&of_topic, "retention.ms"),
        )
    };
    let fixed_ones = "STATIC_BROKER_CONFIG:log.retention.hours=24 DEFAULT_CONFIG:log.retention.hours=168";
    let (ms, hours, topic_ms) = retention("log.retention.ms=70000", "log.retention.ms=60000");
    let both = format!(
        "60000|DYNAMIC_BROKER_CONFIG|rw|open|LONG|DYNAMIC_BROKER_CONFIG:log.retention.ms=60000 \
         DYNAMIC_DEFAULT_BROKER_CONFIG:log.retention.ms=70000 {fixed_ones}"
    );
    assert_eq!((ms.as_str(), topic_ms.as_str()), (both.as_str(), both.as_str()));
    assert_eq!(hours, format!("168|STATIC_BROKER_CONFIG|ro|open|INT|{fixed_ones}"));
    let (ms, _, _) = retention("log.retention.ms=70000", "");
    assert!(ms.starts_with("70000|DYNAMIC_DEFAULT_BROKER_CONFIG|rw|open|LONG|DYNAMIC_DEFAULT"));
}

#[test]
fn dynamic_only_and_unknown_keys_are_shown_when_set() {
    let dynamic = settings("")
        .with_dynamic(Overrides::new(), overrides("leader.replication.throttled.rate=1000\nnosuch.key=5"));
    let all = broker(&dynamic, Wanted::ALL).expect("fine");
    assert_eq!(
        one(&all, "leader.replication.throttled.rate"),
        "1000|DYNAMIC_BROKER_CONFIG|rw|open|LONG|DYNAMIC_BROKER_CONFIG:leader.replication.throttled.rate=1000"
    );
    assert_eq!(
        one(&all, "nosuch.key"),
        "null|DYNAMIC_BROKER_CONFIG|ro|secret|UNKNOWN|DYNAMIC_BROKER_CONFIG:nosuch.key=null"
    );
}

#[test]
fn the_defaults_of_all_brokers_are_what_was_set_for_them() {
    let dynamic =
        settings(FILE).with_dynamic(overrides("log.retention.ms=70000"), overrides("log.retention.ms=1"));
    let all = broker_defaults(&dynamic, Wanted::ALL);
    assert_eq!(all.len(), 1);
    assert_eq!(
        line(&all[0]),
        "70000|DYNAMIC_DEFAULT_BROKER_CONFIG|rw|open|LONG|DYNAMIC_DEFAULT_BROKER_CONFIG:log.retention.ms=70000"
    );
    assert!(broker_defaults(&settings(FILE), Wanted::ALL).is_empty());
}

#[test]
fn groups_and_subscriptions() {
    let all =
        group(&settings(""), &overrides("consumer.session.timeout.ms=50000"), Wanted::ALL).expect("fine");
    assert_eq!(
        one(&all, "consumer.session.timeout.ms"),
        "50000|DYNAMIC_GROUP_CONFIG|rw|open|INT|DYNAMIC_GROUP_CONFIG:consumer.session.timeout.ms=50000 \
         DEFAULT_CONFIG:group.consumer.session.timeout.ms=45000"
    );
    assert_eq!(
        one(&all, "share.auto.offset.reset"),
        "latest|DEFAULT_CONFIG|rw|open|STRING|DEFAULT_CONFIG:share.auto.offset.reset=latest"
    );
    assert!(one(&all, "streams.assignor.name").starts_with("sticky|DEFAULT_CONFIG|"));
    assert!(all.iter().all(|described| described.name != "streams.num.warmup.replicas"));
    let all = client_metrics(&overrides("interval.ms=1000"), Wanted::ALL).expect("fine");
    assert_eq!(
        one(&all, "interval.ms"),
        "1000|DYNAMIC_CLIENT_METRICS_CONFIG|rw|open|INT|DYNAMIC_CLIENT_METRICS_CONFIG:interval.ms=1000"
    );
    assert_eq!(one(&all, "match"), "|DEFAULT_CONFIG|rw|open|LIST|");
}

#[test]
fn numbers_of_the_wire() {
    assert_eq!([Source::Topic.code(), Source::Default.code(), Source::Group.code()], [1, 5, 8]);
    let all = topic(&settings(""), &Overrides::new(), Wanted::these(&["cleanup.policy"])).expect("fine");
    assert_eq!(all[0].type_code(), 7);
}
