//! Settings in environment variables, as Kafka's container image maps them to `server.properties`.
//!
//! Pure over (name, value) pairs; the caller reads the environment, once, at start. The rules are those of Kafka's
//! `KafkaDockerWrapper` and of the image's start scripts: `KAFKA_LOG_DIRS` is `log.dirs`, `__` stands for `_` and
//! `___` for `-`; some names are for the JVM and its tools; `CLUSTER_ID` is the cluster's id; `listeners` follow
//! from `advertised.listeners` when they are not given.

use std::collections::BTreeMap;

use super::properties;

/// Names that begin with `KAFKA_` and are no settings of a broker.
const EXCLUDED: [&str; 12] = [
    "KAFKA_VERSION",
    "KAFKA_HEAP_OPTS",
    "KAFKA_LOG4J_OPTS",
    "KAFKA_OPTS",
    "KAFKA_JMX_OPTS",
    "KAFKA_JMX_PORT",
    "KAFKA_JMX_HOSTNAME",
    "KAFKA_JVM_PERFORMANCE_OPTS",
    "KAFKA_GC_LOG_OPTS",
    "KAFKA_LOG4J_ROOT_LOGLEVEL",
    "KAFKA_LOG4J_LOGGERS",
    "KAFKA_TOOLS_LOG4J_LOGLEVEL",
];

/// What the environment says about the broker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment {
    /// Settings by Kafka's names.
    pub settings: BTreeMap<String, String>,
    /// The cluster's id for a first start, from `CLUSTER_ID`.
    pub cluster_id: Option<String>,
}

/// Takes the broker's settings out of environment variables.
#[must_use]
pub fn from_variables<'a>(variables: impl IntoIterator<Item = (&'a str, &'a str)>) -> Environment {
    let mut environment = Environment::default();
    for (name, value) in variables {
        if name == "CLUSTER_ID" && !value.is_empty() {
            environment.cluster_id = Some(value.to_owned());
        }
        let Some(key) = name.strip_prefix("KAFKA_").filter(|_| !EXCLUDED.contains(&name)) else { continue };
        // The image writes the value into a properties file, where it is read with its escapes.
        let value = properties::unescape_value(value).unwrap_or_else(|| value.to_owned());
        environment.settings.insert(key_name(key), value);
    }
    derive_listeners(&mut environment.settings);
    environment
}

/// `LOG_DIRS` → `log.dirs`, `A__B` → `a_b`, `A___B` → `a-b`.
fn key_name(variable: &str) -> String {
    variable.to_lowercase().replace('_', ".").replace("...", "-").replace("..", "_")
}

/// Without `listeners`, a broker listens on every address at the ports that it advertises.
fn derive_listeners(settings: &mut BTreeMap<String, String>) {
    let given = |key: &str| settings.get(key).filter(|value| !value.is_empty());
    let controller_only = given("process.roles").is_some_and(|roles| roles == "controller");
    let Some(advertised) = given("advertised.listeners").filter(|_| !controller_only) else { return };
    if given("listeners").is_some() {
        return;
    }
    let listeners: Vec<String> = advertised.split(',').map(on_every_address).collect();
    settings.insert("listeners".to_owned(), listeners.join(","));
}

fn on_every_address(listener: &str) -> String {
    match (listener.split_once("://"), listener.rsplit_once(':')) {
        (Some((name, _)), Some((_, port))) => format!("{name}://0.0.0.0:{port}"),
        _ => listener.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(variables: &[(&str, &str)]) -> Vec<(String, String)> {
        from_variables(variables.iter().copied()).settings.into_iter().collect()
    }

    fn is(key: &str, value: &str) -> (String, String) {
        (key.to_owned(), value.to_owned())
    }

    #[test]
    fn names_are_mapped() {
        assert_eq!(settings(&[("KAFKA_LOG_DIRS", "/data")]), vec![is("log.dirs", "/data")]);
        assert_eq!(settings(&[("KAFKA_A__B___C_D", "1")]), vec![is("a_b-c.d", "1")]);
        assert_eq!(
            settings(&[("KAFKA_LISTENER_NAME_CLIENT_SASL_ENABLED_MECHANISMS", "PLAIN")]),
            vec![is("listener.name.client.sasl.enabled.mechanisms", "PLAIN")]
        );
    }

    #[test]
    fn other_names_are_left_alone() {
        let others = EXCLUDED.map(|name| (name, "x"));
        assert!(settings(&others).is_empty());
        assert!(settings(&[("PATH", "/bin"), ("KAFKAESQUE", "1"), ("LOG_DIR", "/x")]).is_empty());
    }

    #[test]
    fn the_cluster_id_is_no_setting() {
        let environment = from_variables([("CLUSTER_ID", "4L6g3nShT-eMCtK--X86sw")]);
        assert_eq!(environment.cluster_id.as_deref(), Some("4L6g3nShT-eMCtK--X86sw"));
        assert!(environment.settings.is_empty());
        assert_eq!(from_variables([("CLUSTER_ID", "")]).cluster_id, None);
    }

    #[test]
    fn values_are_read_as_in_a_properties_file() {
        assert_eq!(settings(&[("KAFKA_X", r"  a\tb")]), vec![is("x", "a\tb")]);
        assert_eq!(settings(&[("KAFKA_X", r"\uZZ")]), vec![is("x", r"\uZZ")]);
        assert_eq!(settings(&[("KAFKA_X", "")]), vec![is("x", "")]);
    }

    #[test]
    fn listeners_follow_from_advertised_listeners() {
        let advertised = ("KAFKA_ADVERTISED_LISTENERS", "PLAINTEXT://broker:19092,OTHER://[::1]:9092");
        let derived = is("listeners", "PLAINTEXT://0.0.0.0:19092,OTHER://0.0.0.0:9092");
        assert!(settings(&[advertised]).contains(&derived));
        assert!(settings(&[advertised, ("KAFKA_LISTENERS", "")]).contains(&derived));
        let given = ("KAFKA_LISTENERS", "PLAINTEXT://:1");
        assert!(settings(&[advertised, given]).contains(&is("listeners", "PLAINTEXT://:1")));
        let controller = settings(&[advertised, ("KAFKA_PROCESS_ROLES", "controller")]);
        assert!(controller.iter().all(|(key, _)| key != "listeners"));
    }
}
