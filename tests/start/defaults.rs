//! A start without any configuration, and what a start prints.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};

use ottla_tests::broker::Broker;
use ottla_tests::topics::create_topic;

use crate::support::{FREE, count, line_of, produce, start, start_with};

/// Whether this machine has ::1.
fn has_ipv6() -> bool {
    std::net::TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok()
}

#[test]
fn localhost_is_both_families_on_one_port_and_data_lies_in_the_working_directory() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let broker = Broker::run(start_with(directory.path(), &["listeners=PLAINTEXT://localhost:0"]));
    let addresses: Vec<SocketAddr> = broker.listeners().into_iter().map(|(_, address)| address).collect();
    let port = addresses[0].port();
    let mut expected: Vec<SocketAddr> = vec![(Ipv4Addr::LOCALHOST, port).into()];
    expected.extend(has_ipv6().then(|| SocketAddr::from((Ipv6Addr::LOCALHOST, port))));
    assert_eq!(addresses, expected);
    create_topic(addresses[0], "t", 1, &[]);
    produce(addresses[0], "t", 0, "p", 3);
    for address in expected {
        assert_eq!(count(address, "t", 0), 3, "{address}");
    }
    for name in ["meta.properties", "__cluster_metadata-0", "t-0"] {
        assert!(directory.path().join("ottla-data").join(name).exists(), "{name}");
    }
    assert_eq!(broker.stop(), 0);
}

#[test]
fn nothing_configured_is_port_9092_of_localhost() {
    let taken =
        [SocketAddr::from((Ipv4Addr::LOCALHOST, 9092)), SocketAddr::from((Ipv6Addr::LOCALHOST, 9092))];
    if taken.iter().any(|address| TcpStream::connect(address).is_ok()) {
        eprintln!("skipped: something listens on port 9092 here");
        return;
    }
    let directory = tempfile::tempdir().expect("a temporary directory");
    let broker = Broker::run(start(directory.path(), &[]));
    assert_eq!(broker.address(), taken[0]);
    assert!(directory.path().join("ottla-data/meta.properties").exists());
    assert_eq!(broker.stop(), 0);
}

#[test]
fn a_start_says_what_runs_where_and_what_acknowledged_means() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let broker = Broker::run(start_with(directory.path(), &[FREE, "shards=1", "cpus=0"]));
    let output = broker.output();
    assert!(output.starts_with(&format!("Ottla {}\n", env!("CARGO_PKG_VERSION"))), "{output}");
    assert_eq!(line_of(&broker, "listening"), format!("PLAINTEXT://{}", broker.address()));
    assert_eq!(line_of(&broker, "shards"), "1 on cpu 0");
    let dir = line_of(&broker, "log dir");
    assert!(dir.starts_with("./ottla-data (") && dir.contains("GB free") && dir.ends_with(", new)"), "{dir}");
    assert_eq!(
        line_of(&broker, "node"),
        format!("1 of cluster {}", crate::support::cluster_id(broker.address()))
    );
    assert_eq!(line_of(&broker, "acknowledged"), "means on disk, for acks=1 and acks=all");
    let took = line_of(&broker, "ready in");
    let number = took.strip_suffix(" ms").expect("milliseconds");
    assert!(number.parse::<u64>().is_ok(), "{took}");
    assert_eq!(broker.stop(), 0);
}

#[test]
fn a_relaxed_acknowledgement_is_said_and_a_second_start_is_not_new() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let relaxed = [FREE, "log.flush.interval.messages=1000"];
    let broker = Broker::run(start_with(directory.path(), &relaxed));
    let line = line_of(&broker, "acknowledged");
    assert!(line.contains("memory") && line.contains("log.flush.interval.messages"), "{line}");
    assert_eq!(broker.stop(), 0);
    let broker = Broker::run(start_with(directory.path(), &relaxed));
    assert!(!line_of(&broker, "log dir").contains("new"));
    assert_eq!(broker.stop(), 0);
}

#[test]
fn settings_that_do_not_act_are_named_once() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("server.properties");
    let text =
        "num.network.threads=3\nno.such.key=1\nanother=2\nsasl.enabled.mechanisms=PLAIN\nnum.partitions=2\n";
    std::fs::write(&file, text).expect("the directory is the test's own");
    let mut command = start(directory.path(), &["server.properties", "--data", "d"]);
    command.args(["--override", FREE, "--override", "no.such.key=3"]);
    let broker = Broker::run(command);
    assert_eq!(line_of(&broker, "unknown"), "another, no.such.key");
    assert_eq!(line_of(&broker, "no effect"), "num.network.threads");
    assert_eq!(line_of(&broker, "not yet here"), "sasl.enabled.mechanisms");
    let output = broker.output();
    for name in ["no.such.key", "num.network.threads", "sasl.enabled.mechanisms"] {
        assert_eq!(output.matches(name).count(), 1, "{name} in\n{output}");
    }
    assert!(!output.contains("num.partitions"), "{output}");
    assert_eq!(broker.stop(), 0);
}

#[test]
fn the_environment_wins_over_the_file_and_an_override_over_both() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("server.properties");
    std::fs::write(&file, "node.id=1\nlog.dirs=of-file\nshards=1\n")
        .expect("the directory is the test's own");
    let mut command = start(directory.path(), &["server.properties", "--override", FREE]);
    command
        .args(["--override", "node.id=3"])
        .env("KAFKA_LOG_DIRS", "of-environment")
        .env("KAFKA_NODE_ID", "2");
    let broker = Broker::run(command);
    assert!(line_of(&broker, "node").starts_with("3 of cluster"));
    assert!(line_of(&broker, "log dir").starts_with("of-environment "));
    assert!(line_of(&broker, "shards").starts_with("1 on"));
    assert!(!directory.path().join("of-file").exists());
    assert_eq!(broker.stop(), 0);
}
