//! The broker's configuration as the broker uses it: parsed, checked, in one value.
//!
//! Made at start on one shard and shared with all; a dynamic alteration makes a new value. On disk are only the
//! properties file, which Ottla never writes, and the config records of the metadata log. Names, defaults and the
//! words of refusals are Kafka's.
//! Invariants: every known setting passed its rule; this node is the only controller; every bound listener speaks
//! plaintext.

use std::collections::BTreeMap;

use super::checks;
use super::key::Effect;
use super::listeners::{ListenerSettings, Listeners};
use super::quorum::{HostPort, Voter, parse_bootstrap_servers, parse_voters};
use super::settings::{Layers, Origin, Overrides, Reader, Settings};
use super::table::{self, Resource};
use super::topic::TopicConfig;
use super::value::{ConfigError, Value, parse_cpu_list, parse_place};
use crate::ids::NodeId;

/// Everything that is configured about this broker.
#[derive(Clone, Debug)]
pub struct BrokerConfig {
    settings: Settings,
    /// `node.id`.
    pub node_id: NodeId,
    /// `broker.rack`.
    pub rack: Option<String>,
    /// `controller.quorum.voters`: none, or this node alone.
    pub voters: Vec<Voter>,
    /// `controller.quorum.bootstrap.servers`: none, or one.
    pub bootstrap_servers: Vec<HostPort>,
    /// Where to listen and what to advertise.
    pub listeners: Listeners,
    /// Directories, and how often they are tended.
    pub storage: StorageConfig,
    /// Compaction.
    pub cleaner: CleanerConfig,
    /// Sockets and connections.
    pub network: NetworkConfig,
    /// Topics as such.
    pub topics: TopicsConfig,
    /// The configuration of a topic that sets nothing itself.
    pub log: TopicConfig,
    /// Fetches.
    pub fetch: FetchConfig,
    /// Classic groups.
    pub groups: GroupsConfig,
    /// Committed offsets.
    pub offsets: OffsetsConfig,
    /// What is remembered about idempotent producers.
    pub producers: ProducersConfig,
    /// Transactions.
    pub transactions: TransactionsConfig,
    /// Shards, cores and their memory.
    pub runtime: RuntimeConfig,
}

/// Directories, and how often they are tended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StorageConfig {
    /// `log.dirs`, else `log.dir`; at least one, without repetition.
    pub log_dirs: Vec<String>,
    /// `metadata.log.dir`, else the first of `log_dirs`; not necessarily one of them.
    pub metadata_log_dir: String,
    /// `log.retention.check.interval.ms`.
    pub retention_check_interval_ms: i64,
    /// `log.flush.offset.checkpoint.interval.ms`.
    pub recovery_point_checkpoint_interval_ms: i64,
    /// `metadata.log.segment.bytes`.
    pub metadata_segment_bytes: u32,
}

/// Compaction.
#[derive(Clone, Debug, PartialEq)]
pub struct CleanerConfig {
    /// `log.cleaner.enable`.
    pub enabled: bool,
    /// `log.cleaner.threads`: logs that are cleaned at a time, in the whole process; 0 for none.
    pub threads: u32,
    /// `log.cleaner.dedupe.buffer.size`, of all cleanings together.
    pub dedupe_buffer_bytes: u64,
    /// `log.cleaner.io.buffer.load.factor`.
    pub load_factor: f64,
    /// `log.cleaner.io.buffer.size`, of all cleanings together.
    pub io_buffer_bytes: u32,
    /// `log.cleaner.io.max.bytes.per.second`, of all cleanings together.
    pub io_bytes_per_second_max: f64,
    /// `log.cleaner.backoff.ms`.
    pub backoff_ms: i64,
}

/// Sockets and connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkConfig {
    /// `socket.request.max.bytes`: the largest frame.
    pub request_bytes_max: u32,
    /// `queued.max.request.bytes` of all shards together; `None` for Ottla's own budget.
    pub queued_request_bytes_max: Option<u64>,
    /// `connections.max.idle.ms`; negative for never.
    pub connection_idle_ms_max: i64,
    /// `max.connections`.
    pub connections_max: u32,
    /// `listener.name.<name>.max.connections`, by the listener's name in lower case.
    pub connections_of_listener_max: BTreeMap<String, u32>,
    /// `max.connections.per.ip`.
    pub connections_per_ip_max: u32,
    /// `max.connections.per.ip.overrides`: host or address, and its limit.
    pub connections_per_ip_overrides: Vec<(String, u32)>,
    /// `socket.send.buffer.bytes`; `None` leaves it to the system.
    pub send_buffer_bytes: Option<u32>,
    /// `socket.receive.buffer.bytes`; `None` leaves it to the system.
    pub receive_buffer_bytes: Option<u32>,
}

/// Memory for requests in flight per shard where `queued.max.request.bytes` is -1.
const REQUEST_MEMORY_BYTES_PER_SHARD: u64 = 128 * 1024 * 1024;

impl NetworkConfig {
    /// Memory for requests in flight on one of `shards` shards, in bytes: an equal part of
    /// `queued.max.request.bytes`, but always enough for one largest frame.
    #[must_use]
    pub fn request_memory_bytes(&self, shards: u16) -> u64 {
        let part = match self.queued_request_bytes_max {
            None => REQUEST_MEMORY_BYTES_PER_SHARD,
            Some(bytes) => bytes / u64::from(shards.max(1)),
        };
        part.max(u64::from(self.request_bytes_max))
    }
}

/// Topics as such.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicsConfig {
    /// `num.partitions`.
    pub partitions: i32,
    /// `default.replication.factor`.
    pub replication_factor: i32,
    /// `auto.create.topics.enable`.
    pub auto_create: bool,
    /// `delete.topic.enable`.
    pub deletion: bool,
}

/// Fetches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchConfig {
    /// `fetch.max.bytes`.
    pub bytes_max: u32,
    /// `max.incremental.fetch.session.cache.slots`.
    pub sessions_max: u32,
    /// `max.request.partition.size.limit`: partitions of one DescribeTopicPartitions answer.
    pub described_partitions_max: u32,
}

/// Classic groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupsConfig {
    /// `group.min.session.timeout.ms`.
    pub session_timeout_ms_min: i32,
    /// `group.max.session.timeout.ms`.
    pub session_timeout_ms_max: i32,
    /// `group.initial.rebalance.delay.ms`.
    pub initial_rebalance_delay_ms: i32,
    /// `group.max.size`: members of one group.
    pub members_max: i32,
}

/// Committed offsets and their topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OffsetsConfig {
    /// `offsets.topic.num.partitions`.
    pub partitions: i32,
    /// `offsets.topic.replication.factor`.
    pub replication_factor: i16,
    /// `offsets.topic.segment.bytes`.
    pub segment_bytes: u32,
    /// `offsets.retention.minutes`, in milliseconds.
    pub retention_ms: i64,
    /// `offsets.retention.check.interval.ms`.
    pub retention_check_interval_ms: i64,
    /// `offset.metadata.max.bytes`.
    pub metadata_bytes_max: i32,
}

/// What is remembered about idempotent producers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProducersConfig {
    /// `producer.id.expiration.ms`.
    pub expiration_ms: i64,
}

/// Transactions and their topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransactionsConfig {
    /// `transaction.max.timeout.ms`.
    pub timeout_ms_max: i32,
    /// `transactional.id.expiration.ms`.
    pub id_expiration_ms: i32,
    /// `transaction.state.log.num.partitions`.
    pub partitions: i32,
    /// `transaction.state.log.replication.factor`.
    pub replication_factor: i16,
    /// `transaction.state.log.min.isr`.
    pub min_insync_replicas: i32,
    /// `transaction.state.log.segment.bytes`.
    pub segment_bytes: u32,
    /// `transaction.abort.timed.out.transaction.cleanup.interval.ms`.
    pub abort_check_interval_ms: i32,
    /// `transaction.remove.expired.transaction.cleanup.interval.ms`.
    pub expiration_check_interval_ms: i32,
    /// `transaction.partition.verification.enable`.
    pub partition_verification: bool,
}

/// Shards, cores and their memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuntimeConfig {
    /// `shards`; `None` for one per core.
    pub shards: Option<u32>,
    /// `cpus`, sorted; empty for all cores of the process.
    pub cpus: Vec<usize>,
    /// `ottla.tail.cache.bytes` of one shard.
    pub tail_cache_bytes: u64,
    /// `metrics.listener`, where no host means every address; `None` for nowhere.
    pub metrics_listener: Option<HostPort>,
    /// `ottla.segment.files.open.max`; `None` for half of the process's limit.
    pub segment_files_open_max: Option<u32>,
    /// `ottla.journal.commits.min`.
    pub journal_commits_min: u32,
}

/// Settings that deserve a line when the broker starts, each list sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StartNotes {
    /// Names that no key has.
    pub unknown: Vec<String>,
    /// Keys that nothing here could follow.
    pub without_effect: Vec<String>,
    /// Keys of features that are not here yet.
    pub not_yet: Vec<String>,
}

impl BrokerConfig {
    /// Reads and checks the settings of a start.
    ///
    /// # Errors
    /// One clear line about the first setting that is refused: its key, its value and what is allowed.
    pub fn new(layers: &Layers) -> Result<BrokerConfig, ConfigError> {
        BrokerConfig::from_settings(Settings::new(layers))
    }

    /// The configuration after the dynamic settings of all brokers and of this one became these.
    ///
    /// # Errors
    /// When they break a rule; the old configuration then stays in force.
    pub fn with_dynamic(&self, cluster: Overrides, broker: Overrides) -> Result<BrokerConfig, ConfigError> {
        BrokerConfig::from_settings(self.settings.with_dynamic(cluster, broker))
    }

    /// The settings as texts, for descriptions and alterations.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// What to name at start: settings that somebody made and that will not act.
    #[must_use]
    pub fn start_notes(&self) -> StartNotes {
        let mut notes = StartNotes::default();
        for (name, origin, _) in self.settings.fixed() {
            if origin == Origin::Embedded {
                continue;
            }
            match table::find_broker(name).map(|key| key.effect) {
                None => notes.unknown.push(name.escape_debug().to_string()),
                Some(Effect::Acts) => {}
                Some(Effect::WithoutEffect) => notes.without_effect.push(name.to_owned()),
                Some(Effect::NotYet) => notes.not_yet.push(name.to_owned()),
            }
        }
        notes
    }

    fn from_settings(settings: Settings) -> Result<BrokerConfig, ConfigError> {
        for (name, text) in settings.effective() {
            if let Some(key) = table::find_broker(name) {
                Value::parse(key, text)?;
            }
        }
        checks::check(&settings)?;
        let read = Reader(&settings);
        let config = BrokerConfig {
            node_id: NodeId(read.int("node.id")?),
            rack: read.text_or_null("broker.rack")?,
            voters: parse_voters(&read.list("controller.quorum.voters")?)?,
            bootstrap_servers: parse_bootstrap_servers(&read.list("controller.quorum.bootstrap.servers")?)?,
            listeners: listeners(&settings)?,
            storage: storage(read)?,
            cleaner: cleaner(read)?,
            network: network(read)?,
            topics: topics(read)?,
            log: TopicConfig::new(&settings, &Overrides::new())?,
            fetch: fetch(read)?,
            groups: groups(read)?,
            offsets: offsets(read)?,
            producers: producers(read)?,
            transactions: transactions(read)?,
            runtime: runtime(read)?,
            settings,
        };
        Ok(config)
    }
}

fn listeners(settings: &Settings) -> Result<Listeners, ConfigError> {
    let read = Reader(settings);
    Listeners::new(&ListenerSettings {
        listeners: read.list("listeners")?,
        advertised: read.list_or_null("advertised.listeners")?,
        protocol_map: &read.text("listener.security.protocol.map")?,
        protocol_map_is_given: settings.is_set("listener.security.protocol.map"),
        controller_names: read.list("controller.listener.names")?,
        inter_broker_name: read.text_or_null("inter.broker.listener.name")?.as_deref(),
        inter_broker_protocol: &read.text("security.inter.broker.protocol")?,
        inter_broker_protocol_is_given: settings.is_set("security.inter.broker.protocol"),
    })
}

fn storage(read: Reader<'_>) -> Result<StorageConfig, ConfigError> {
    let log_dirs = log_dirs(read)?;
    let metadata_log_dir = read.text_or_null("metadata.log.dir")?;
    Ok(StorageConfig {
        metadata_log_dir: metadata_log_dir.unwrap_or_else(|| log_dirs[0].clone()),
        log_dirs,
        retention_check_interval_ms: read.long("log.retention.check.interval.ms")?,
        recovery_point_checkpoint_interval_ms: read.long("log.flush.offset.checkpoint.interval.ms")?,
        metadata_segment_bytes: unsigned(read, "metadata.log.segment.bytes")?,
    })
}

fn cleaner(read: Reader<'_>) -> Result<CleanerConfig, ConfigError> {
    Ok(CleanerConfig {
        enabled: read.boolean("log.cleaner.enable")?,
        threads: unsigned(read, "log.cleaner.threads")?,
        dedupe_buffer_bytes: u64::try_from(read.long("log.cleaner.dedupe.buffer.size")?).unwrap_or(0),
        load_factor: read.double("log.cleaner.io.buffer.load.factor")?,
        io_buffer_bytes: unsigned(read, "log.cleaner.io.buffer.size")?,
        io_bytes_per_second_max: read.double("log.cleaner.io.max.bytes.per.second")?,
        backoff_ms: read.long("log.cleaner.backoff.ms")?,
    })
}

/// `log.dirs`, else `log.dir`; never empty.
pub(super) fn log_dirs(read: Reader<'_>) -> Result<Vec<String>, ConfigError> {
    match read.list_or_null("log.dirs")? {
        Some(dirs) => Ok(dirs),
        None => read.list("log.dir"),
    }
}

fn network(read: Reader<'_>) -> Result<NetworkConfig, ConfigError> {
    let or_system = |bytes: i64| u32::try_from(bytes).ok();
    Ok(NetworkConfig {
        request_bytes_max: unsigned(read, "socket.request.max.bytes")?,
        queued_request_bytes_max: u64::try_from(read.long("queued.max.request.bytes")?)
            .ok()
            .filter(|bytes| *bytes > 0),
        connection_idle_ms_max: read.long("connections.max.idle.ms")?,
        connections_max: unsigned(read, "max.connections")?,
        connections_of_listener_max: listener_limits(read)?,
        connections_per_ip_max: unsigned(read, "max.connections.per.ip")?,
        connections_per_ip_overrides: checks::per_ip_overrides(read)?,
        send_buffer_bytes: or_system(read.long("socket.send.buffer.bytes")?),
        receive_buffer_bytes: or_system(read.long("socket.receive.buffer.bytes")?),
    })
}

/// `listener.name.<name>.max.connections` of every listener that has it.
fn listener_limits(read: Reader<'_>) -> Result<BTreeMap<String, u32>, ConfigError> {
    const KEY: &str = "max.connections";
    let key = table::find(Resource::Broker, KEY).expect("a key of the table");
    let mut limits = BTreeMap::new();
    for (name, text) in read.0.effective() {
        let listener =
            name.strip_prefix("listener.name.").and_then(|rest| rest.strip_suffix(KEY)?.strip_suffix('.'));
        if let Some(listener) = listener {
            let max = Value::parse(key, text)?.as_long().expect("the key is a number");
            limits.insert(
                listener.to_owned(),
                u32::try_from(max).expect("the key's type is INT, and not negative"),
            );
        }
    }
    Ok(limits)
}

fn topics(read: Reader<'_>) -> Result<TopicsConfig, ConfigError> {
    Ok(TopicsConfig {
        partitions: read.int("num.partitions")?,
        replication_factor: read.int("default.replication.factor")?,
        auto_create: read.boolean("auto.create.topics.enable")?,
        deletion: read.boolean("delete.topic.enable")?,
    })
}

fn fetch(read: Reader<'_>) -> Result<FetchConfig, ConfigError> {
    Ok(FetchConfig {
        bytes_max: unsigned(read, "fetch.max.bytes")?,
        sessions_max: unsigned(read, "max.incremental.fetch.session.cache.slots")?,
        described_partitions_max: unsigned(read, "max.request.partition.size.limit")?,
    })
}

fn groups(read: Reader<'_>) -> Result<GroupsConfig, ConfigError> {
    Ok(GroupsConfig {
        session_timeout_ms_min: read.int("group.min.session.timeout.ms")?,
        session_timeout_ms_max: read.int("group.max.session.timeout.ms")?,
        initial_rebalance_delay_ms: read.int("group.initial.rebalance.delay.ms")?,
        members_max: read.int("group.max.size")?,
    })
}

fn offsets(read: Reader<'_>) -> Result<OffsetsConfig, ConfigError> {
    Ok(OffsetsConfig {
        partitions: read.int("offsets.topic.num.partitions")?,
        replication_factor: short(read, "offsets.topic.replication.factor")?,
        segment_bytes: unsigned(read, "offsets.topic.segment.bytes")?,
        retention_ms: read.long("offsets.retention.minutes")? * 60_000,
        retention_check_interval_ms: read.long("offsets.retention.check.interval.ms")?,
        metadata_bytes_max: read.int("offset.metadata.max.bytes")?,
    })
}

fn producers(read: Reader<'_>) -> Result<ProducersConfig, ConfigError> {
    Ok(ProducersConfig { expiration_ms: read.long("producer.id.expiration.ms")? })
}

fn transactions(read: Reader<'_>) -> Result<TransactionsConfig, ConfigError> {
    Ok(TransactionsConfig {
        timeout_ms_max: read.int("transaction.max.timeout.ms")?,
        id_expiration_ms: read.int("transactional.id.expiration.ms")?,
        partitions: read.int("transaction.state.log.num.partitions")?,
        replication_factor: short(read, "transaction.state.log.replication.factor")?,
        min_insync_replicas: read.int("transaction.state.log.min.isr")?,
        segment_bytes: unsigned(read, "transaction.state.log.segment.bytes")?,
        abort_check_interval_ms: read.int("transaction.abort.timed.out.transaction.cleanup.interval.ms")?,
        expiration_check_interval_ms: read
            .int("transaction.remove.expired.transaction.cleanup.interval.ms")?,
        partition_verification: read.boolean("transaction.partition.verification.enable")?,
    })
}

fn runtime(read: Reader<'_>) -> Result<RuntimeConfig, ConfigError> {
    let cpus = read.list_or_null("cpus")?.unwrap_or_default();
    Ok(RuntimeConfig {
        shards: read.number_or_null("shards")?.and_then(|shards| u32::try_from(shards).ok()),
        cpus: parse_cpu_list("cpus", &cpus.join(","))?,
        tail_cache_bytes: u64::try_from(read.long("ottla.tail.cache.bytes")?).expect("the rule forbids less"),
        metrics_listener: parse_place(
            "metrics.listener",
            &read.text_or_null("metrics.listener")?.unwrap_or_default(),
        )?,
        segment_files_open_max: u32::try_from(read.long("ottla.segment.files.open.max")?).ok(),
        journal_commits_min: u32::try_from(read.long("ottla.journal.commits.min")?)
            .expect("the rule forbids less"),
    })
}

/// A number whose rule in the table forbids negative values.
fn unsigned(read: Reader<'_>, name: &str) -> Result<u32, ConfigError> {
    let key = table::find(Resource::Broker, name).expect("only keys of the table are read");
    Ok(u32::try_from(read.long(key.name)?).expect("the key's rule forbids negative numbers"))
}

fn short(read: Reader<'_>, name: &str) -> Result<i16, ConfigError> {
    Ok(i16::try_from(read.long(name)?).expect("the key's type is SHORT"))
}

#[cfg(test)]
mod tests;
