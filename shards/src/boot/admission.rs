//! How many connections are taken: the broker's settings made into limits, at the start and whenever they change.
//!
//! Runs on the shard that listens. What must hold: the first connection is accepted within the settings as the metadata
//! log has them, not as the file has them; a change holds for connections to come, as in Kafka's `ConnectionQuotas`.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ottla::config::BrokerConfig;
use ottla::ids::ShardId;

use super::listeners::Bound;
use super::shard::Starting;
use crate::drive::Shard;
use crate::drive::messages::Query;
use crate::host::{resolve, spawn_detached};
use crate::net::{AcceptLimits, Accepted, Acceptor};

/// Accepts on every listener; each connection goes to the shard that has the fewest.
pub(super) async fn accept(starting: &Rc<Starting>, bound: Vec<Bound>) -> Rc<Acceptor> {
    let names: Vec<Arc<str>> = bound.iter().map(|bound| Arc::clone(&bound.name)).collect();
    let config = starting.shard().config();
    let acceptor = Acceptor::new(limits(&config, &names).await);
    spawn_detached(follow(Rc::clone(starting.shard()), Rc::clone(&acceptor), (config, names)));
    let shards = starting.plan().shards;
    let loads: Vec<Arc<AtomicUsize>> = (0..shards).map(|_| Arc::default()).collect();
    for (number, bound) in bound.into_iter().enumerate() {
        let (mesh, loads) = (Rc::clone(starting.mesh()), loads.clone());
        let place = move |mut accepted: Accepted| {
            let load = |shard: &u16| loads[usize::from(*shard)].load(Ordering::Relaxed);
            let to = (0..shards).min_by_key(load).expect("there is a shard");
            accepted.guard.count_with(&loads[usize::from(to)]);
            drop(mesh.cast(ShardId(to), Query::Connection(Box::new(accepted))));
        };
        spawn_detached(Rc::clone(&acceptor).run(bound.listener, number, place));
    }
    acceptor
}

/// Gives the acceptor the limits of every configuration that comes behind `config`, until the broker stops.
async fn follow(
    shard: Rc<Shard>,
    acceptor: Rc<Acceptor>,
    (mut config, names): (Arc<BrokerConfig>, Vec<Arc<str>>),
) {
    while let Some(changed) = shard.config_behind(&config).await {
        if changed.network != config.network {
            acceptor.set_limits(limits(&changed, &names).await);
        }
        config = changed;
    }
}

/// The limits of a configuration, for listeners of these names.
async fn limits(config: &BrokerConfig, names: &[Arc<str>]) -> AcceptLimits {
    let network = &config.network;
    let of_listener = |name: &Arc<str>| network.connections_of_listener_max.get(&name.to_lowercase());
    let mut per_ip_overrides = BTreeMap::new();
    for (host, max) in &network.connections_per_ip_overrides {
        for address in addresses(host).await {
            per_ip_overrides.insert(address, *max as usize);
        }
    }
    AcceptLimits {
        connections_max: network.connections_max as usize,
        per_listener: names.iter().map(|name| of_listener(name).map(|max| *max as usize)).collect(),
        connections_per_ip_max: network.connections_per_ip_max as usize,
        per_ip_overrides,
    }
}

/// What a host of `max.connections.per.ip.overrides` stands for; a name that nobody knows stands for nothing.
async fn addresses(host: &str) -> Vec<IpAddr> {
    let resolved = resolve(host).await;
    let resolved = resolved.inspect_err(|error| {
        tracing::warn!(host, %error, "a limit of max.connections.per.ip.overrides is not used");
    });
    resolved.unwrap_or_default().iter().map(IpAddr::to_canonical).collect()
}
