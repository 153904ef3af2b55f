//! Listeners: where the broker listens, what it tells clients, and which protocol each listener speaks.
//!
//! Pure parsing at start, on one shard; the result is shared with all. Nothing of it is on disk. The rules and the
//! words of refusals follow Kafka's `AbstractKafkaConfig` and `SocketServerConfigs`.
//! Invariants: names are upper case and distinct; at least one bound listener is for clients, and every advertised
//! one is bound; two listeners share a port only as one IPv4 and one IPv6 address.

use core::net::{Ipv4Addr, Ipv6Addr};
use std::collections::BTreeMap;

use super::quorum::HostPort;
use super::value::{ConfigError, split_list, trim};

/// What is spoken on a connection before and around Kafka's protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecurityProtocol {
    /// Neither encrypted nor authenticated.
    Plaintext,
    /// TLS.
    Ssl,
    /// SASL without encryption.
    SaslPlaintext,
    /// SASL inside TLS.
    SaslSsl,
}

impl SecurityProtocol {
    /// Kafka's name, which is also the name of the default listener that speaks it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            SecurityProtocol::Plaintext => "PLAINTEXT",
            SecurityProtocol::Ssl => "SSL",
            SecurityProtocol::SaslPlaintext => "SASL_PLAINTEXT",
            SecurityProtocol::SaslSsl => "SASL_SSL",
        }
    }

    /// The protocol of a name in any case.
    #[must_use]
    pub fn of(name: &str) -> Option<SecurityProtocol> {
        [Self::Plaintext, Self::Ssl, Self::SaslPlaintext, Self::SaslSsl]
            .into_iter()
            .find(|protocol| protocol.name().eq_ignore_ascii_case(name))
    }
}

/// One listener, bound or advertised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Its name, in upper case.
    pub name: String,
    /// What is spoken on it.
    pub protocol: SecurityProtocol,
    /// A name or an address, IPv6 without its brackets. `None` on a bound listener means every address; on an
    /// advertised one it means this machine's own name.
    pub host: Option<String>,
    /// The TCP port. 0 on a bound listener means any free one; on an advertised one, the port that was bound.
    pub port: u16,
    /// Whether it belongs to the controller instead of clients.
    pub is_controller: bool,
}

/// The settings that listeners are made from.
#[derive(Clone, Debug)]
pub struct ListenerSettings<'a> {
    /// `listeners`.
    pub listeners: Vec<String>,
    /// `advertised.listeners`, if given.
    pub advertised: Option<Vec<String>>,
    /// `listener.security.protocol.map`.
    pub protocol_map: &'a str,
    /// Whether that map was given, so that nothing is added to it.
    pub protocol_map_is_given: bool,
    /// `controller.listener.names`.
    pub controller_names: Vec<String>,
    /// `inter.broker.listener.name`, if given.
    pub inter_broker_name: Option<&'a str>,
    /// `security.inter.broker.protocol`.
    pub inter_broker_protocol: &'a str,
    /// Whether that protocol was given, which excludes a name.
    pub inter_broker_protocol_is_given: bool,
}

/// Every listener of this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listeners {
    /// What is bound, in the order of the setting, the controller's included.
    pub bound: Vec<Listener>,
    /// What clients are told, in the order of the setting, without the controller's.
    pub advertised: Vec<Listener>,
    /// The names that belong to the controller.
    pub controller_names: Vec<String>,
    /// The name of the listener between brokers.
    pub inter_broker_name: String,
}

impl Listeners {
    /// Reads and checks the settings.
    ///
    /// # Errors
    /// With Kafka's words where Kafka refuses; and where a listener speaks TLS or SASL, which are not here yet.
    pub fn new(settings: &ListenerSettings<'_>) -> Result<Listeners, ConfigError> {
        let controller_names: Vec<String> =
            settings.controller_names.iter().map(|name| name.to_uppercase()).collect();
        let map = protocol_map(settings, &controller_names)?;
        let parse = |key: &str, entries: &[String]| parse_all(key, entries, &map, &controller_names);
        let bound = parse("listeners", &settings.listeners)?;
        check_ports(&bound, &settings.listeners)?;
        refuse_security(&bound, &settings.listeners)?;
        let mut advertised = match &settings.advertised {
            Some(entries) => parse("advertised.listeners", entries)?,
            None => bound.clone(),
        };
        advertised.retain(|listener| !listener.is_controller);
        let inter_broker_name = inter_broker_name(settings, &map)?;
        let listeners = Listeners { bound, advertised, controller_names, inter_broker_name };
        listeners.check()?;
        Ok(listeners)
    }

    /// The bound listeners that clients connect to.
    pub fn for_clients(&self) -> impl Iterator<Item = &Listener> {
        self.bound.iter().filter(|listener| !listener.is_controller)
    }

    fn check(&self) -> Result<(), ConfigError> {
        for name in &self.controller_names {
            if !self.bound.iter().any(|listener| listener.name == *name) {
                return Err(ConfigError::rule(
                    "controller.listener.names must only contain values appearing in the 'listeners' \
                     configuration when running the KRaft controller role",
                ));
            }
        }
        if self.advertised.is_empty() {
            return Err(ConfigError::rule(
                "There must be at least one broker advertised listener. Perhaps all listeners appear in \
                 controller.listener.names?",
            ));
        }
        let names = |listeners: &[Listener]| {
            listeners.iter().map(|listener| listener.name.as_str()).collect::<Vec<_>>().join(",")
        };
        if !self.advertised.iter().any(|listener| listener.name == self.inter_broker_name) {
            return Err(ConfigError::rule(format!(
                "inter.broker.listener.name must be a listener name defined in advertised.listeners. \
                 The valid options based on currently configured listeners are {}",
                names(&self.advertised)
            )));
        }
        if !self.advertised.iter().all(|told| self.bound.iter().any(|listener| listener.name == told.name)) {
            return Err(ConfigError::rule(format!(
                "advertised.listeners listener names must be equal to or a subset of the ones defined in \
                 listeners. Found {}. The valid options based on the current configuration are {}",
                names(&self.advertised),
                names(&self.bound)
            )));
        }
        if self.advertised.iter().any(|listener| listener.host.as_deref() == Some("0.0.0.0")) {
            return Err(ConfigError::rule(
                "advertised.listeners cannot use the nonroutable meta-address 0.0.0.0. Use a routable IP \
                 address.",
            ));
        }
        Ok(())
    }
}

type ProtocolMap = BTreeMap<String, SecurityProtocol>;

fn protocol_map(
    settings: &ListenerSettings<'_>,
    controller_names: &[String],
) -> Result<ProtocolMap, ConfigError> {
    const KEY: &str = "listener.security.protocol.map";
    let mut map = ProtocolMap::new();
    for entry in split_list(settings.protocol_map) {
        let Some((name, protocol)) = entry.rsplit_once(':') else {
            return Err(ConfigError::invalid(KEY, entry, "Expected NAME:PROTOCOL pairs"));
        };
        let protocol = SecurityProtocol::of(trim(protocol)).ok_or_else(|| {
            ConfigError::rule(format!("Invalid security protocol `{}` defined in {KEY}", trim(protocol)))
        })?;
        map.insert(trim(name).to_uppercase(), protocol);
    }
    let is_secure =
        |name: &str| !matches!(SecurityProtocol::of(name), None | Some(SecurityProtocol::Plaintext));
    let listener_name = |entry: &String| entry.split(':').next().unwrap_or_default().to_owned();
    let any_secure = controller_names.iter().any(|name| is_secure(name))
        || settings.listeners.iter().any(|entry| is_secure(&listener_name(entry)));
    if !settings.protocol_map_is_given && !any_secure {
        for name in controller_names {
            map.insert(name.clone(), SecurityProtocol::Plaintext);
        }
    }
    Ok(map)
}

fn inter_broker_name(settings: &ListenerSettings<'_>, map: &ProtocolMap) -> Result<String, ConfigError> {
    const PROTOCOL_KEY: &str = "security.inter.broker.protocol";
    match settings.inter_broker_name {
        Some(_) if settings.inter_broker_protocol_is_given => Err(ConfigError::rule(format!(
            "Only one of inter.broker.listener.name and {PROTOCOL_KEY} should be set."
        ))),
        Some(name) if map.contains_key(&name.to_uppercase()) => Ok(name.to_uppercase()),
        Some(name) => Err(ConfigError::rule(format!(
            "Listener with name {} defined in inter.broker.listener.name not found in \
             listener.security.protocol.map.",
            name.to_uppercase()
        ))),
        None => SecurityProtocol::of(settings.inter_broker_protocol)
            .map(|protocol| protocol.name().to_owned())
            .ok_or_else(|| {
                let name = settings.inter_broker_protocol;
                ConfigError::rule(format!("Invalid security protocol `{name}` defined in {PROTOCOL_KEY}"))
            }),
    }
}

fn parse_all(
    key: &str,
    entries: &[String],
    map: &ProtocolMap,
    controller_names: &[String],
) -> Result<Vec<Listener>, ConfigError> {
    let creating = |why: String| {
        let all = entries.join(",");
        ConfigError::rule(format!("Error creating broker listeners from '{all}': {why} (see {key})"))
    };
    let mut listeners: Vec<Listener> = Vec::with_capacity(entries.len());
    for entry in entries {
        let (name, host, port) = parse_entry(entry).ok_or_else(|| {
            creating(format!("Unable to parse {entry} to a broker endpoint; NAME://host:port is allowed"))
        })?;
        let protocol = *map.get(&name).ok_or_else(|| {
            let what = format!("No security protocol defined for listener {name}");
            creating(format!("{what}; listener.security.protocol.map is to name it"))
        })?;
        if listeners.iter().any(|other| other.name == name) {
            let all = entries.join(",");
            return Err(creating(format!("Each listener must have a different name, listeners: {all}")));
        }
        let is_controller = controller_names.contains(&name);
        listeners.push(Listener { name, protocol, host, port, is_controller });
    }
    Ok(listeners)
}

/// Name, host and port of `NAME://host:port`.
fn parse_entry(entry: &str) -> Option<(String, Option<String>, u16)> {
    let (name, address) = entry.split_once("://")?;
    let HostPort { host, port } = parse_host_port(address)?;
    let host = if host.is_empty() { None } else { Some(host) };
    Some((name.to_uppercase(), host, port))
}

/// Host and port of `host:port`, `[IPv6]:port` or `:port`; `None` for any other text.
#[must_use]
pub fn parse_host_port(text: &str) -> Option<HostPort> {
    let (host, port) = text.rsplit_once(':')?;
    let host = match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']')?,
        None => host,
    };
    let is_host = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '%' | '.' | '_' | ':');
    if !host.chars().all(is_host) || !port.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some(HostPort { host: host.to_owned(), port: port.parse().ok()? })
}

/// Two listeners on one port are allowed only as one IPv4 and one IPv6 address. Port 0 is no port.
fn check_ports(listeners: &[Listener], entries: &[String]) -> Result<(), ConfigError> {
    let all = entries.join(",");
    let refused = |why: &str, port: u16| {
        ConfigError::rule(format!(
            "Error creating broker listeners from '{all}': {why}, listeners: {all}, port: {port}"
        ))
    };
    let mut by_port: BTreeMap<u16, Vec<&Listener>> = BTreeMap::new();
    for listener in listeners.iter().filter(|listener| listener.port != 0) {
        by_port.entry(listener.port).or_default().push(listener);
    }
    for (port, sharing) in by_port {
        let is = |wanted: fn(&str) -> bool| {
            sharing.iter().filter(|listener| listener.host.as_deref().is_some_and(wanted)).count()
        };
        let (v4, v6) = (is(is_ipv4), is(is_ipv6));
        match (sharing.len(), v4 + v6) {
            (1, _) => {}
            (2, 2) if v4 == 1 => {}
            (_, 2) => {
                let why =
                    "If you have two listeners on the same port then one needs to be IPv4 and the other IPv6";
                return Err(refused(why, port));
            }
            (_, 0 | 1) => return Err(refused("Each listener must have a different port", port)),
            _ => {
                let why = "Each listener must have a different port unless exactly one listener has an IPv4 \
                           address and the other IPv6 address";
                return Err(refused(why, port));
            }
        }
    }
    Ok(())
}

fn is_ipv4(host: &str) -> bool {
    host.parse::<Ipv4Addr>().is_ok()
}

fn is_ipv6(host: &str) -> bool {
    host.parse::<Ipv6Addr>().is_ok()
}

/// Refuses what is not spoken here; `entries` are the texts of `listeners`.
fn refuse_security(listeners: &[Listener], entries: &[String]) -> Result<(), ConfigError> {
    let mut both = listeners.iter().zip(entries);
    match both.find(|(listener, _)| listener.protocol != SecurityProtocol::Plaintext) {
        None => Ok(()),
        Some((listener, entry)) => Err(ConfigError::invalid(
            "listeners",
            entry,
            format!(
                "its security protocol is {}, and TLS and SASL are not here yet; PLAINTEXT is allowed",
                listener.protocol.name()
            ),
        )),
    }
}

#[cfg(test)]
mod tests;
