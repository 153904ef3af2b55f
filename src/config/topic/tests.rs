//! Tests of topic configurations: where values come from, and the rules between them.

use std::collections::BTreeMap;

use super::super::settings::Layers;
use super::*;

fn overrides(pairs: &[(&str, &str)]) -> Overrides {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn broker(pairs: &[(&str, &str)]) -> Settings {
    Settings::new(&Layers { file: Some(overrides(pairs)), ..Layers::default() })
}

fn topic(broker_pairs: &[(&str, &str)], topic_pairs: &[(&str, &str)]) -> TopicConfig {
    TopicConfig::new(&broker(broker_pairs), &overrides(topic_pairs)).expect("the settings are fine")
}

fn refusal(topic_pairs: &[(&str, &str)]) -> String {
    TopicConfig::new(&broker(&[]), &overrides(topic_pairs)).expect_err("the settings are refused").to_string()
}

#[test]
fn defaults_keep_the_promise_of_durability() {
    let config = topic(&[], &[]);
    assert_eq!(config.flush_messages, 1);
    assert_eq!(config.flush_ms, i64::MAX);
    assert_eq!(config.segment_bytes, 1 << 30);
    assert_eq!(config.segment_ms, 7 * 24 * 3_600_000);
    assert_eq!(config.retention_ms, Some(7 * 24 * 3_600_000));
    assert_eq!(config.retention_bytes, None);
    assert_eq!(config.message_bytes_max, 1_048_588);
    assert_eq!(config.compression, None);
    assert_eq!(config.timestamp_type, TimestampType::CreateTime);
    assert!(config.delete && !config.compact);
    assert!((config.min_cleanable_dirty_ratio - 0.5).abs() < f64::EPSILON);
}

#[test]
fn a_topics_own_settings_come_first_then_the_finest_of_the_brokers() {
    let retention = |broker: &[(&str, &str)], own: &[(&str, &str)]| topic(broker, own).retention_ms;
    assert_eq!(retention(&[("log.retention.hours", "2")], &[]), Some(7_200_000));
    let both = [("log.retention.hours", "2"), ("log.retention.minutes", "3")];
    assert_eq!(retention(&both, &[]), Some(180_000));
    let all = [("log.retention.hours", "2"), ("log.retention.minutes", "3"), ("log.retention.ms", "5")];
    assert_eq!(retention(&all, &[]), Some(5));
    assert_eq!(retention(&all, &[("retention.ms", "9")]), Some(9));
    assert_eq!(retention(&[("log.retention.minutes", "-1")], &[]), None);
    assert_eq!(retention(&[], &[("retention.ms", "-1")]), None);
    let config = topic(
        &[("log.roll.hours", "1"), ("log.roll.jitter.ms", "7"), ("log.flush.scheduler.interval.ms", "9")],
        &[],
    );
    assert_eq!((config.segment_ms, config.segment_jitter_ms, config.flush_ms), (3_600_000, 7, 9));
    assert_eq!(topic(&[("message.max.bytes", "5")], &[]).message_bytes_max, 5);
}

#[test]
fn every_broker_key_reaches_its_topic_key() {
    let fresh: BTreeMap<&str, &str> = [
        ("BOOLEAN", "true"),
        ("INT", "1048577"),
        ("LONG", "1048577"),
        ("DOUBLE", "0.25"),
        ("LIST", "compact"),
        ("STRING", "LogAppendTime"),
    ]
    .into_iter()
    .collect();
    for key in table::keys(Resource::Topic) {
        for synonym in key.synonyms {
            let text = match key.name {
                "compression.type" => "zstd",
                "compression.gzip.level" | "compression.lz4.level" | "compression.zstd.level" => "7",
                _ => fresh[key.value_type.name()],
            };
            let value = topic_value(&broker(&[(synonym.name, text)]), &Overrides::new(), key);
            let found = value.expect("the text fits").and_then(|value| value.to_text()).expect("no secret");
            let expected = match synonym.factor {
                1 => text.to_owned(),
                factor => (1_048_577 * factor).to_string(),
            };
            assert_eq!(found, expected, "{} from {}", key.name, synonym.name);
        }
    }
}

#[test]
fn compression_and_policy() {
    let compression = |pairs: &[(&str, &str)]| {
        let recompression = topic(&[], pairs).compression.expect("a codec is demanded");
        (recompression.codec, recompression.level)
    };
    assert_eq!(compression(&[("compression.type", "gzip")]), (Codec::Gzip, Some(-1)));
    assert_eq!(compression(&[("compression.type", "lz4")]), (Codec::Lz4, Some(9)));
    let zstd = [("compression.type", "zstd"), ("compression.zstd.level", "-5")];
    assert_eq!(compression(&zstd), (Codec::Zstd, Some(-5)));
    assert_eq!(compression(&[("compression.type", "snappy")]), (Codec::Snappy, None));
    assert_eq!(compression(&[("compression.type", "uncompressed")]), (Codec::None, None));
    let policy = |text: &str| {
        let config = topic(&[], &[("cleanup.policy", text)]);
        (config.compact, config.delete)
    };
    assert_eq!(policy("compact"), (true, false));
    assert_eq!(policy("delete, compact"), (true, true));
    assert_eq!(policy(""), (false, false));
}

#[test]
fn segments_of_compacted_topics_roll_in_time_for_compaction() {
    let mut config = topic(&[], &[("segment.ms", "1000"), ("max.compaction.lag.ms", "600")]);
    assert_eq!(config.segment_ms_max(), 1000);
    config.compact = true;
    assert_eq!(config.segment_ms_max(), 600);
    config.segment_jitter_ms = 100;
    assert_eq!(config.jittered_segment_ms(0), 600);
    assert_eq!(config.jittered_segment_ms(199), 501);
    config.segment_jitter_ms = 0;
    assert_eq!(config.jittered_segment_ms(u64::MAX), 600);
}

#[test]
fn a_test_may_make_segments_small() {
    assert_eq!(topic(&[], &[("internal.segment.bytes", "4096")]).segment_bytes, 4096);
    assert!(refusal(&[("internal.segment.bytes", "-1")]).starts_with("Invalid value -1 for"));
    assert_eq!(
        refusal(&[("segment.bytes", "5")]),
        "Invalid value 5 for configuration segment.bytes: Value must be at least 1048576"
    );
}

#[test]
fn refusals_in_kafkas_words() {
    assert_eq!(refusal(&[("nosuch", "1")]), "Unknown topic config name: nosuch");
    assert_eq!(
        refusal(&[("min.compaction.lag.ms", "10"), ("max.compaction.lag.ms", "5")]),
        "conflict topic config setting min.compaction.lag.ms (10) > max.compaction.lag.ms (5)"
    );
    assert_eq!(
        refusal(&[("remote.storage.enable", "true")]),
        "Tiered Storage functionality is disabled in the broker. Topic cannot be configured with remote log storage."
    );
}

#[test]
fn keys_without_effect_are_accepted() {
    let pairs = [
        ("unclean.leader.election.enable", "true"),
        ("preallocate", "true"),
        ("leader.replication.throttled.replicas", "*"),
        ("delete.retention.ms", "5"),
        ("local.retention.ms", "-2"),
        ("errors.deadletterqueue.group.enable", "true"),
    ];
    assert!(topic(&[], &pairs).unclean_leader_election);
}
