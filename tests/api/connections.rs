//! How many connections a broker takes, as its settings are altered, and when one ends.

use std::time::{Duration, Instant};

use ottla_tests::broker::{Broker, Options};
use ottla_tests::topics::{create_topic, set_cluster_config};
use ottla_tools::client::Client;
use ottla_wire::ApiKey;
use ottla_wire::api_versions_request::ApiVersionsRequest;
use ottla_wire::api_versions_response::ApiVersionsResponse;

use super::{FETCH_VERSION, fetch_request};

/// How long a test waits for what must happen some time.
const PATIENCE: Duration = Duration::from_secs(60);

/// A connection that was answered; `None` when the broker closed it.
fn admitted(broker: &Broker) -> Option<Client> {
    let mut client = Client::connect(broker.address(), "api").ok()?;
    let request = ApiVersionsRequest::default();
    let reply: Result<ApiVersionsResponse<'_>, _> = client.call(ApiKey::ApiVersions, 0, &request);
    reply.is_ok().then_some(client)
}

/// Waits until a new connection is admitted and given in return, or until one is closed.
fn wait_until_admitted(broker: &Broker, wanted: bool) -> Option<Client> {
    let start = Instant::now();
    loop {
        let client = admitted(broker);
        if client.is_some() == wanted {
            return client;
        }
        assert!(
            start.elapsed() < PATIENCE,
            "a new connection is {}",
            if wanted { "closed" } else { "admitted" }
        );
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn limits_hold_when_they_are_altered_and_after_a_restart() {
    for (key, limit) in [
        ("max.connections", "2"),
        ("max.connections.per.ip", "2"),
        ("max.connections.per.ip.overrides", "localhost:2"),
        ("listener.name.plaintext.max.connections", "2"),
    ] {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let broker = Broker::start(&Options::new(directory.path()));
        let before: Vec<_> = (0..3).map(|_| admitted(&broker).expect("there is no limit")).collect();
        set_cluster_config(broker.address(), key, limit);
        drop(wait_until_admitted(&broker, false));
        drop(before);
        drop(wait_until_admitted(&broker, true));
        assert_eq!(broker.stop(), 0);

        let broker = Broker::start(&Options::new(directory.path()));
        let two = [admitted(&broker), admitted(&broker)];
        assert!(two.iter().all(Option::is_some), "{key}: two are within the limit");
        assert!(admitted(&broker).is_none(), "{key}: the first connection of all finds the limit");
        drop(two);
        assert_eq!(broker.stop(), 0);
    }
}

#[test]
fn a_fetch_that_waits_for_weeks_ends_with_its_connection() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let broker = Broker::start(&Options::new(directory.path()).set("max.connections", 1));
    create_topic(broker.address(), "t", 1, &[]);
    for _ in 0..3 {
        let mut client = wait_until_admitted(&broker, true).expect("the connection before is closed");
        client.send(ApiKey::Fetch, FETCH_VERSION, &fetch_request(0, i32::MAX)).expect("it is sent");
    }
    drop(wait_until_admitted(&broker, true));
    assert_eq!(broker.stop(), 0);
}
