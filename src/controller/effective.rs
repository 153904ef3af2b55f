//! From an image to the configuration in force: what was set at run time, over what the process was started with.
//!
//! Every shard does this whenever a replay says that configs changed. Settings that an image holds passed every rule
//! when they were made, but the file may have changed since: what the broker cannot follow any more is named and left
//! out, so that no stored setting keeps a broker from starting.

use super::image::{ConfigResource, ConfigResourceType, Image};
use crate::config::alter::usable_broker_settings;
use crate::config::{BrokerConfig, ConfigError, Overrides, TopicConfig};

/// The configuration of this broker.
#[derive(Clone, Debug)]
pub struct EffectiveConfig {
    /// What holds.
    pub config: BrokerConfig,
    /// Names of settings that the image holds and that are ignored, for the log.
    pub ignored: Vec<String>,
}

/// The broker's configuration with the image's settings for all brokers and for this one in place of those that
/// `config` has so far. If they contradict what the process was started with, none of them holds.
#[must_use]
pub fn broker_config(image: &Image, config: &BrokerConfig) -> EffectiveConfig {
    let own = ConfigResource::new(ConfigResourceType::Broker, &image.node_id.to_string());
    let stored = |resource: ConfigResource| image.configs.of_or_empty(&resource);
    let (for_all, mut ignored) = usable_broker_settings(&stored(ConfigResource::all_brokers()), false);
    let (for_this, ignored_here) = usable_broker_settings(&stored(own), true);
    ignored.extend(ignored_here);
    let names: Vec<String> = for_all.keys().chain(for_this.keys()).cloned().collect();
    let config = config.with_dynamic(for_all, for_this).unwrap_or_else(|_| {
        ignored.extend(names);
        config.with_dynamic(Overrides::new(), Overrides::new()).expect("the process was started with this")
    });
    ignored.sort_unstable();
    ignored.dedup();
    EffectiveConfig { config, ignored }
}

/// The configuration of a topic.
#[derive(Clone, Debug)]
pub struct EffectiveTopicConfig {
    /// What holds.
    pub config: TopicConfig,
    /// Overrides that the image holds and that are ignored, each with the reason, for the log.
    pub ignored: Vec<(String, ConfigError)>,
}

/// The configuration of a topic, for its partitions' logs. An override that was made under another file or another
/// release and cannot be followed now is left out, and the others hold.
#[must_use]
pub fn topic_config(image: &Image, config: &BrokerConfig, topic: &str) -> EffectiveTopicConfig {
    let stored = image.configs.of_or_empty(&ConfigResource::topic(topic));
    match TopicConfig::new(config.settings(), &stored) {
        Ok(config) => EffectiveTopicConfig { config, ignored: Vec::new() },
        Err(_) => topic_config_without_faults(config, &stored),
    }
}

/// Takes the overrides one by one: one that does not go with those before it is left out.
fn topic_config_without_faults(broker: &BrokerConfig, stored: &Overrides) -> EffectiveTopicConfig {
    let mut effective = EffectiveTopicConfig { config: broker.log.clone(), ignored: Vec::new() };
    let mut taken = Overrides::new();
    for (name, value) in stored {
        taken.insert(name.clone(), value.clone());
        match TopicConfig::new(broker.settings(), &taken) {
            Ok(config) => effective.config = config,
            Err(error) => {
                taken.remove(name);
                effective.ignored.push((name.clone(), error));
            }
        }
    }
    effective
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::testing::{config, image_with, setting, topic};

    #[test]
    fn what_is_set_at_run_time_holds() {
        let image = image_with(&[
            topic("t", 1, 1),
            setting(4, "", "log.retention.ms", "5000"),
            setting(4, "1", "message.max.bytes", "77"),
            setting(4, "2", "message.max.bytes", "78"),
            setting(2, "t", "retention.ms", "6000"),
        ]);
        let EffectiveConfig { config, ignored } =
            broker_config(&image, &config(&[("log.retention.hours", "1")]));
        assert!(ignored.is_empty());
        assert_eq!((config.log.retention_ms, config.log.message_bytes_max), (Some(5000), 77));
        let topic = topic_config(&image, &config, "t").config;
        assert_eq!((topic.retention_ms, topic.message_bytes_max), (Some(6000), 77));
        let other = topic_config(&image, &config, "other").config;
        assert_eq!(other.retention_ms, Some(5000));
        let gone = broker_config(&image_with(&[]), &config).config;
        assert_eq!(gone.log.retention_ms, Some(3_600_000));
    }

    #[test]
    fn what_cannot_be_followed_is_named_and_left_out() {
        let image = image_with(&[
            setting(4, "", "log.retention.ms", "x"),
            setting(4, "1", "node.id", "7"),
            setting(4, "1", "message.max.bytes", "77"),
        ]);
        let EffectiveConfig { config, ignored } = broker_config(&image, &config(&[]));
        assert_eq!(ignored, ["log.retention.ms", "node.id"]);
        assert_eq!((config.node_id, config.log.message_bytes_max), (image.node_id, 77));
    }

    #[test]
    fn of_a_topic_only_the_faults_are_left_out() {
        let image = image_with(&[
            topic("t", 1, 1),
            setting(2, "t", "cleanup.policy", "compact"),
            setting(2, "t", "max.message.bytes", "many"),
            setting(2, "t", "min.cleanable.dirty.ratio", "NaN"),
            setting(2, "t", "of.a.later.release", "1"),
            setting(2, "t", "retention.ms", "6000"),
        ]);
        let EffectiveTopicConfig { config, ignored } =
            topic_config(&image, &config(&[("message.max.bytes", "77")]), "t");
        assert_eq!((config.retention_ms, config.compact, config.delete), (Some(6000), true, false));
        assert_eq!(config.message_bytes_max, 77, "the broker's in place of the fault");
        assert!(config.min_cleanable_dirty_ratio.is_nan());
        let names: Vec<_> = ignored.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["max.message.bytes", "of.a.later.release"]);
        assert!(ignored[0].1.to_string().contains("Not a number of type INT"), "{}", ignored[0].1);
    }

    #[test]
    fn of_two_overrides_that_contradict_each_other_one_holds() {
        let image = image_with(&[
            topic("t", 1, 1),
            setting(2, "t", "max.compaction.lag.ms", "10"),
            setting(2, "t", "min.compaction.lag.ms", "20"),
            setting(2, "t", "retention.ms", "6000"),
        ]);
        let EffectiveTopicConfig { config, ignored } = topic_config(&image, &config(&[]), "t");
        assert_eq!((config.max_compaction_lag_ms, config.min_compaction_lag_ms), (10, 0));
        assert_eq!(config.retention_ms, Some(6000));
        assert_eq!(ignored.len(), 1);
        assert_eq!(ignored[0].0, "min.compaction.lag.ms");
    }

    #[test]
    fn an_image_and_its_delta_cross_threads() {
        fn crosses<T: Send + Sync + 'static>() {}
        crosses::<Image>();
        crosses::<crate::controller::ImageDelta>();
    }
}
