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

/// The configuration of a topic, for its partitions' logs.
///
/// # Errors
/// When an override that was made under another file contradicts the broker's settings of now: the broker's own
/// settings are then what to go by.
pub fn topic_config(image: &Image, config: &BrokerConfig, topic: &str) -> Result<TopicConfig, ConfigError> {
    TopicConfig::new(config.settings(), &image.configs.of_or_empty(&ConfigResource::topic(topic)))
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
        let topic = topic_config(&image, &config, "t").expect("it is good");
        assert_eq!((topic.retention_ms, topic.message_bytes_max), (Some(6000), 77));
        let other = topic_config(&image, &config, "other").expect("it is good");
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
    fn an_image_and_its_delta_cross_threads() {
        fn crosses<T: Send + Sync + 'static>() {}
        crosses::<Image>();
        crosses::<crate::controller::ImageDelta>();
    }
}
