//! The addresses of controllers in `controller.quorum.voters` and `controller.quorum.bootstrap.servers`.
//!
//! Pure parsing (Kafka's `QuorumConfig`), at start on one shard. Nothing of it is on disk.

use super::listeners::parse_host_port;
use super::value::ConfigError;
use crate::ids::NodeId;

/// The key of the voters.
pub const VOTERS: &str = "controller.quorum.voters";
/// The key of the first contacts.
pub const BOOTSTRAP_SERVERS: &str = "controller.quorum.bootstrap.servers";

/// A controller's address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPort {
    /// A name or an address, IPv6 without its brackets.
    pub host: String,
    /// The TCP port.
    pub port: u16,
}

/// One of the cluster's controllers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Voter {
    /// Its `node.id`.
    pub node_id: NodeId,
    /// Where it listens.
    pub address: HostPort,
}

/// Parses `id@host:port` entries.
///
/// # Errors
/// With Kafka's words when an entry has another form.
pub fn parse_voters(entries: &[String]) -> Result<Vec<Voter>, ConfigError> {
    let form = "Each entry should be in the form `{id}@{host}:{port}`.";
    let mut voters = Vec::with_capacity(entries.len());
    for entry in entries {
        let Some((id, address)) = entry.split_once('@').filter(|(_, address)| !address.contains('@')) else {
            return Err(ConfigError::rule(format!("Invalid configuration value for {VOTERS}. {form}")));
        };
        let node_id = id
            .parse()
            .map(NodeId)
            .map_err(|_| ConfigError::rule(format!("Failed to parse voter ID as an integer from {id}")))?;
        let address = parse_host_port(address).ok_or_else(|| {
            let what = "Failed to parse host name and port from entry";
            ConfigError::rule(format!("{what} {entry} for the configuration {VOTERS}. {form}"))
        })?;
        voters.push(Voter { node_id, address });
    }
    Ok(voters)
}

/// Parses `host:port` entries.
///
/// # Errors
/// With Kafka's words when an entry has another form.
pub fn parse_bootstrap_servers(entries: &[String]) -> Result<Vec<HostPort>, ConfigError> {
    let parse = |entry: &String| {
        parse_host_port(entry).ok_or_else(|| {
            ConfigError::rule(format!(
                "Failed to parse host name and port from {entry} for the configuration {BOOTSTRAP_SERVERS}. \
                 Each entry should be in the form \"{{host}}:{{port}}\""
            ))
        })
    };
    entries.iter().map(parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(entries: &[&str]) -> Vec<String> {
        entries.iter().map(|entry| (*entry).to_owned()).collect()
    }

    #[test]
    fn voters() {
        let voters =
            parse_voters(&texts(&["1@localhost:9093", "2@[::1]:9094"])).expect("both are well formed");
        assert_eq!(voters[0].node_id, NodeId(1));
        assert_eq!(voters[0].address, HostPort { host: "localhost".into(), port: 9093 });
        assert_eq!(voters[1].address, HostPort { host: "::1".into(), port: 9094 });
        let refusal = |entry: &str| parse_voters(&texts(&[entry])).expect_err("refused").to_string();
        assert!(
            refusal("localhost:9093")
                .starts_with("Invalid configuration value for controller.quorum.voters.")
        );
        assert!(refusal("1@2@h:1").starts_with("Invalid configuration value for"));
        assert_eq!(refusal("a@h:1"), "Failed to parse voter ID as an integer from a");
        assert!(refusal("1@h").contains("from entry 1@h for the configuration controller.quorum.voters"));
    }

    #[test]
    fn bootstrap_servers() {
        let servers = parse_bootstrap_servers(&texts(&["h:1"])).expect("well formed");
        assert_eq!(servers, vec![HostPort { host: "h".into(), port: 1 }]);
        assert!(parse_bootstrap_servers(&texts(&["h"])).is_err());
        assert!(parse_bootstrap_servers(&texts(&["h:70000"])).is_err());
    }
}
