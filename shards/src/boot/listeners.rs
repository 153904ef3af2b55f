//! The sockets that clients connect to, bound before anything is loaded so that a taken port is known at once.
//!
//! Owned by shard 0, which accepts for all. Nothing is accepted before the broker is ready.

use std::sync::Arc;
use std::time::Duration;

use ottla::config::BrokerConfig;
use ottla::config::listeners::{Listener as Setting, SecurityProtocol};
use ottla::controller::image::Endpoint;

use crate::host::{Listener, host_name, now, sleep};

/// How long a port may stay taken by a process that was killed.
const PATIENCE: Duration = Duration::from_secs(2);

/// One bound listener.
pub struct Bound {
    /// Its name in upper case, as connections carry it.
    pub name: Arc<str>,
    /// The sockets.
    pub listener: Listener,
}

/// Binds every listener for clients.
///
/// # Errors
/// One line that names the listener and what to do.
pub async fn bind(config: &BrokerConfig) -> Result<Vec<Bound>, String> {
    let mut bound = Vec::new();
    for setting in config.listeners.for_clients() {
        let host = setting.host.as_deref().unwrap_or("");
        let listener = bind_patiently(host, setting.port).await.map_err(|error| {
            let place = format!("{}://{host}:{}", setting.name, setting.port);
            match error.kind() {
                std::io::ErrorKind::AddrInUse => format!(
                    "listeners: {place}: port {} is taken; stop what uses it or set another, \
                     for example --override listeners={}://{host}:{}",
                    setting.port,
                    setting.name,
                    setting.port.wrapping_add(10)
                ),
                _ => format!("listeners: {place} cannot be bound: {error}"),
            }
        })?;
        bound.push(Bound { name: Arc::from(setting.name.as_str()), listener });
    }
    if bound.is_empty() {
        return Err("listeners: at least one is needed that is not the controller's".to_owned());
    }
    Ok(bound)
}

/// Binds, and tries again for a while where the port is taken: the kernel ends the requests of a killed process's
/// ring, and
/// with them its sockets, a moment after the process itself is gone.
async fn bind_patiently(host: &str, port: u16) -> std::io::Result<Listener> {
    let deadline = now().after(PATIENCE);
    loop {
        match Listener::bind(host, port).await {
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse && now() < deadline => {
                sleep(Duration::from_millis(5)).await;
            }
            outcome => return outcome,
        }
    }
}

/// What clients are told: the advertised listeners, with the ports that are really bound and, where no host is
/// given, this machine's name.
pub fn advertised(config: &BrokerConfig, bound: &[Bound]) -> Vec<Endpoint> {
    let endpoint = |setting: &Setting| {
        let socket = bound.iter().find(|bound| *bound.name == *setting.name);
        let port = match setting.port {
            0 => socket.map_or(0, |bound| bound.listener.port()),
            port => port,
        };
        let host = setting.host.clone().unwrap_or_else(host_name);
        let security_protocol = protocol_number(setting.protocol);
        Endpoint {
            listener: Arc::from(setting.name.as_str()),
            host: Arc::from(host),
            port,
            security_protocol,
        }
    };
    config.listeners.advertised.iter().map(endpoint).collect()
}

/// Kafka's numbers of the security protocols.
fn protocol_number(protocol: SecurityProtocol) -> i16 {
    match protocol {
        SecurityProtocol::Plaintext => 0,
        SecurityProtocol::Ssl => 1,
        SecurityProtocol::SaslPlaintext => 2,
        SecurityProtocol::SaslSsl => 3,
    }
}
