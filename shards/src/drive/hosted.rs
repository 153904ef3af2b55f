//! A partition that this shard owns, with what its topic's configuration says to the log and to the validation.
//!
//! The settings are replaced whole when the image brings another configuration; the log takes them over from the next
//! append on.

use std::cell::RefCell;
use std::rc::Rc;

use ottla::config::TopicConfig;
use ottla::config::broker::ProducersConfig;
use ottla::ids::TimestampMs;
use ottla::protocol::records::validate::ValidationPolicy;

use crate::disk::Partition;

/// One partition of this shard.
pub struct Hosted {
    /// Its log.
    pub partition: Rc<Partition>,
    config: RefCell<Rc<TopicConfig>>,
}

impl Hosted {
    /// A partition whose log has its settings already.
    pub fn new(partition: Rc<Partition>, config: Rc<TopicConfig>) -> Rc<Self> {
        Rc::new(Self { partition, config: RefCell::new(config) })
    }

    /// Takes over another configuration.
    pub fn set_config(&self, config: Rc<TopicConfig>, producers: &ProducersConfig) {
        self.partition.set_config(config.log_config(producers));
        self.config.replace(config);
    }

    /// The configuration in force.
    pub fn config(&self) -> Rc<TopicConfig> {
        Rc::clone(&self.config.borrow())
    }

    /// How batches of clients are validated now, in a request that may carry zstd or not.
    pub fn policy(&self, now: TimestampMs, zstd_allowed: bool) -> ValidationPolicy {
        self.config.borrow().validation_policy(now, zstd_allowed)
    }
}
