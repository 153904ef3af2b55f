//! The sockets that clients connect to, bound before anything is loaded so that a taken port is known at once.
//!
//! Owned by shard 0, which accepts for all. Nothing is accepted before the broker is ready.

use std::sync::Arc;
use std::time::Duration;

use ottla::config::BrokerConfig;
use ottla::config::listeners::{Listener as Setting, SecurityProtocol};
use ottla::controller::image::Endpoint;

use super::shard::Starting;
#[cfg(not(feature = "sim"))]
use crate::host::exit_start;
use crate::host::{Listener, host_name, now, sleep};
#[cfg(not(feature = "sim"))]
use crate::metrics;

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

/// The socket of `metrics.listener`. A simulated machine has none.
pub struct MetricsListener(#[cfg(not(feature = "sim"))] Option<Listener>);

impl MetricsListener {
    /// Binds it where the setting says so; a place that cannot be bound ends the start.
    #[cfg(not(feature = "sim"))]
    pub async fn bind(config: &BrokerConfig) -> MetricsListener {
        let Some(place) = &config.runtime.metrics_listener else { return MetricsListener(None) };
        let bound = metrics::bind(place).await;
        MetricsListener(Some(bound.unwrap_or_else(|error| exit_start(&error))))
    }

    /// Where it is, for people.
    #[cfg(not(feature = "sim"))]
    pub fn url(&self) -> Option<String> {
        let address = self.0.as_ref()?.addresses().first()?;
        Some(format!("http://{address}/metrics"))
    }

    /// Serves the broker's metrics from now on.
    #[cfg(not(feature = "sim"))]
    pub fn serve(self, starting: &Starting) {
        if let Some(listener) = self.0 {
            metrics::Server::start(starting.shard(), starting.plan().started, listener);
        }
    }

    #[cfg(feature = "sim")]
    pub async fn bind(_: &BrokerConfig) -> MetricsListener {
        MetricsListener()
    }

    #[cfg(feature = "sim")]
    pub fn url(&self) -> Option<String> {
        None
    }

    #[cfg(feature = "sim")]
    pub fn serve(self, _: &Starting) {}
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
