//! Configuration: every key of Kafka's, where its value comes from, what it means here, and how it is described
//! and altered.
//!
//! One table per area (`table_*.rs`) drives the parser, DescribeConfigs, AlterConfigs and the documentation.
//! [`BrokerConfig`] is made at start from file, environment and command line and shared with all shards;
//! [`TopicConfig`] is one topic's settings over it. Dynamic settings are config records of the metadata log; the
//! properties file is only read. All of it is pure: texts come in, values and refusals go out.

pub mod alter;
pub mod broker;
mod checks;
pub mod describe;
pub mod env;
pub mod groups;
pub mod key;
pub mod listeners;
pub mod meta_properties;
pub mod properties;
pub mod quorum;
pub mod settings;
pub mod table;
mod table_group;
mod table_log;
mod table_network;
mod table_ottla;
mod table_quorum;
mod table_remote;
mod table_replication;
mod table_resource;
mod table_security;
mod table_server;
mod table_share;
mod table_topic;
mod table_transaction;
mod threads;
pub mod topic;
pub mod value;
mod views;

pub use broker::BrokerConfig;
pub use settings::{Layers, Overrides, Settings};
pub use topic::TopicConfig;
pub use value::ConfigError;
