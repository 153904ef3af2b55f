//! Rules between settings, and what Ottla cannot do yet: each broken one is a single clear line.
//!
//! Pure, at start and at every dynamic alteration. The rules are those of Kafka's `KafkaConfig.validateValues`,
//! `GroupCoordinatorConfig` and `ShareGroupConfig`. Nothing of it is on disk.

use super::broker::log_dirs;
use super::quorum::{BOOTSTRAP_SERVERS, VOTERS, parse_voters};
use super::settings::{Overrides, Reader, Settings};
use super::table::{self, Resource};
use super::topic::topic_value;
use super::value::{ConfigError, split_list};
use crate::ids::NodeId;

/// Checks everything that concerns more than one setting.
pub(super) fn check(settings: &Settings) -> Result<(), ConfigError> {
    let read = Reader(settings);
    roles(settings)?;
    quorum(read)?;
    refusals(read)?;
    log(settings)?;
    replication(read)?;
    connections(read)?;
    orders(read)?;
    protocols(read)
}

fn demand(holds: bool, text: impl FnOnce() -> String) -> Result<(), ConfigError> {
    if holds { Ok(()) } else { Err(ConfigError::rule(text())) }
}

fn roles(settings: &Settings) -> Result<(), ConfigError> {
    let read = Reader(settings);
    if settings.is_set("zookeeper.connect") && !settings.is_set("process.roles") {
        return Err(ConfigError::rule(
            "zookeeper.connect is set and process.roles is not: this configuration is for a cluster with \
             ZooKeeper. Allowed is a configuration for KRaft mode, with process.roles=broker,controller",
        ));
    }
    let node_id = read.int("node.id")?;
    demand(node_id == read.int("broker.id")?, || {
        "`node.id` and `broker.id` must be set to the same value. `broker.id` is deprecated, please use \
         `node.id` instead."
            .to_owned()
    })?;
    let roles = read.list("process.roles")?;
    let has = |role: &str| roles.iter().any(|name| name == role);
    if has("broker") && has("controller") {
        return Ok(());
    }
    let allowed = "a cluster of several nodes is not here yet; broker,controller is allowed";
    Err(ConfigError::invalid("process.roles", roles.join(","), allowed))
}

fn quorum(read: Reader<'_>) -> Result<(), ConfigError> {
    let node_id = NodeId(read.int("node.id")?);
    let entries = read.list(VOTERS)?;
    let voters = parse_voters(&entries)?;
    let alone = "a cluster of several controllers is not here yet; this node alone is allowed";
    if voters.len() > 1 {
        return Err(ConfigError::invalid(VOTERS, entries.join(","), alone));
    }
    demand(voters.iter().all(|voter| voter.node_id == node_id), || {
        format!(
            "If process.roles contains the 'controller' role, the node id {node_id} must be included in the \
             set of voters {VOTERS}={}",
            entries.join(",")
        )
    })?;
    let servers = read.list(BOOTSTRAP_SERVERS)?;
    if servers.len() > 1 {
        return Err(ConfigError::invalid(BOOTSTRAP_SERVERS, servers.join(","), alone));
    }
    Ok(())
}

/// Settings that it would be dangerous to accept and not to follow.
fn refusals(read: Reader<'_>) -> Result<(), ConfigError> {
    let authorizer = read.text("authorizer.class.name")?;
    if !authorizer.is_empty() {
        let allowed = "authorization is not here yet, and without it everybody may do everything; \
                       only an empty value is allowed";
        return Err(ConfigError::invalid("authorizer.class.name", authorizer, allowed));
    }
    const REMOTE: &str = "remote.log.storage.system.enable";
    if read.boolean(REMOTE)? {
        return Err(ConfigError::invalid(REMOTE, "true", "remote storage is not here yet; false is allowed"));
    }
    Ok(())
}

fn log(settings: &Settings) -> Result<(), ConfigError> {
    let read = Reader(settings);
    let topic = |name: &str| -> Result<i64, ConfigError> {
        let key = table::find(Resource::Topic, name).expect("only keys of the table are read");
        let value = topic_value(settings, &Overrides::new(), key)?;
        Ok(value.and_then(|value| value.as_long()).expect("the key is a number with a default"))
    };
    demand(topic("segment.ms")? >= 1, || "log.roll.ms must be greater than or equal to 1".to_owned())?;
    demand(topic("segment.jitter.ms")? >= 0, || {
        "log.roll.jitter.ms must be greater than or equal to 0".to_owned()
    })?;
    demand(topic("retention.ms")? != 0, || {
        "log.retention.ms must be unlimited (-1) or, greater than or equal to 1".to_owned()
    })?;
    let threads = read.long("log.cleaner.threads")?.max(1);
    demand(read.long("log.cleaner.dedupe.buffer.size")? / threads > 1024 * 1024, || {
        "log.cleaner.dedupe.buffer.size must be at least 1MB per cleaner thread.".to_owned()
    })?;
    cordoned_dirs(read)
}

fn cordoned_dirs(read: Reader<'_>) -> Result<(), ConfigError> {
    let cordoned = read.list("cordoned.log.dirs")?;
    if cordoned.iter().any(|dir| dir == "*") {
        return demand(cordoned.len() == 1, || {
            "When cordoned.log.dirs is set to *, it must not contain other values".to_owned()
        });
    }
    let dirs = log_dirs(read)?;
    let missing: Vec<&str> = cordoned.iter().filter(|dir| !dirs.contains(dir)).map(String::as_str).collect();
    demand(missing.is_empty(), || {
        let missing = missing.join(", ");
        format!(
            "All entries in cordoned.log.dirs must be present in log.dirs or log.dir. Missing entries : {missing}"
        )
    })
}

fn replication(read: Reader<'_>) -> Result<(), ConfigError> {
    let wait = read.long("replica.fetch.wait.max.ms")?;
    demand(wait <= read.long("replica.socket.timeout.ms")?, || {
        "replica.socket.timeout.ms should always be at least replica.fetch.wait.max.ms to prevent unnecessary \
         socket timeouts"
            .to_owned()
    })?;
    demand(wait <= read.long("replica.lag.time.max.ms")?, || {
        "replica.fetch.wait.max.ms should always be less than or equal to replica.lag.time.max.ms to prevent \
         frequent changes in ISR"
            .to_owned()
    })
}

fn connections(read: Reader<'_>) -> Result<(), ConfigError> {
    let (queued, frame) = (read.long("queued.max.request.bytes")?, read.long("socket.request.max.bytes")?);
    demand(queued <= 0 || queued >= frame, || {
        "queued.max.request.bytes must be larger or equal to socket.request.max.bytes".to_owned()
    })?;
    let overrides = per_ip_overrides(read)?;
    demand(read.long("max.connections.per.ip")? != 0 || !overrides.is_empty(), || {
        "max.connections.per.ip can be set to zero only if max.connections.per.ip.overrides property is set."
            .to_owned()
    })?;
    let (idle, delay) =
        (read.long("connections.max.idle.ms")?, read.long("connection.failed.authentication.delay.ms")?);
    demand(idle < 0 || delay < idle, || {
        format!(
            "connection.failed.authentication.delay.ms={delay} should always be less than \
             connections.max.idle.ms={idle} to prevent failed authentication responses from timing out"
        )
    })
}

/// `max.connections.per.ip.overrides` as pairs of host and limit.
pub(super) fn per_ip_overrides(read: Reader<'_>) -> Result<Vec<(String, u32)>, ConfigError> {
    const KEY: &str = "max.connections.per.ip.overrides";
    let is_host = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '%' | '.' | '_' | ':');
    let pair = |entry: String| {
        let refused = || ConfigError::invalid(KEY, &entry, "Expected host:count pairs");
        let (host, limit) = entry.rsplit_once(':').ok_or_else(refused)?;
        if host.is_empty() || !host.chars().all(is_host) {
            return Err(refused());
        }
        Ok((host.to_owned(), limit.parse().map_err(|_| refused())?))
    };
    split_list(&read.text(KEY)?).into_iter().map(pair).collect()
}

/// Settings that must not be above (or, where marked, not even equal to) another.
fn orders(read: Reader<'_>) -> Result<(), ConfigError> {
    for kind in ["consumer", "share", "streams"] {
        for what in ["heartbeat.interval.ms", "session.timeout.ms", "assignment.interval.ms"] {
            let name = |bound: &str| format!("group.{kind}.{bound}{what}");
            not_above(read, &name("min."), &name("max."))?;
            not_above(read, &name("min."), &name(""))?;
            not_above(read, &name(""), &name("max."))?;
        }
        let (heartbeat, session) =
            (format!("group.{kind}.heartbeat.interval.ms"), format!("group.{kind}.session.timeout.ms"));
        demand(read.long(&heartbeat)? < read.long(&session)?, || {
            format!("{heartbeat} must be less than {session}")
        })?;
    }
    for (low, high) in [
        ("group.share.delivery.count.limit", "group.share.max.delivery.count.limit"),
        ("group.share.min.delivery.count.limit", "group.share.delivery.count.limit"),
        ("group.share.partition.max.record.locks", "group.share.max.partition.max.record.locks"),
        ("group.share.min.partition.max.record.locks", "group.share.partition.max.record.locks"),
        ("group.share.record.lock.duration.ms", "group.share.max.record.lock.duration.ms"),
        ("group.share.min.record.lock.duration.ms", "group.share.record.lock.duration.ms"),
        ("group.share.max.size", "group.share.max.share.sessions"),
        ("group.streams.num.standby.replicas", "group.streams.max.standby.replicas"),
        ("group.streams.min.task.offset.interval.ms", "group.streams.task.offset.interval.ms"),
        ("group.streams.num.warmup.replicas", "group.streams.max.warmup.replicas"),
    ] {
        not_above(read, low, high)?;
    }
    Ok(())
}

fn not_above(read: Reader<'_>, low: &str, high: &str) -> Result<(), ConfigError> {
    demand(read.long(low)? <= read.long(high)?, || format!("{high} must be greater than or equal to {low}"))
}

fn protocols(read: Reader<'_>) -> Result<(), ConfigError> {
    let protocols = read.list("group.coordinator.rebalance.protocols")?;
    demand(protocols.iter().any(|protocol| protocol == "classic"), || {
        "Disabling the 'CLASSIC' protocol is not supported.".to_owned()
    })
}
