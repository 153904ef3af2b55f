//! Configurations that were written for Kafka in KRaft mode start as they are, and format themselves.

use std::path::Path;

use ottla_tests::broker::Broker;
use ottla_tests::kafka::free_port;
use ottla_tests::topics::create_topic;

use crate::support::{cluster_id, count, line_of, produce, start};

/// The settings that Kafka ships for one node, with the ports and the directory of a test.
fn shipped(quorum: &str, port: u16, controller: u16, data: &Path) -> String {
    format!(
        "process.roles=broker,controller\n\
         node.id=1\n\
         {quorum}\n\
         listeners=PLAINTEXT://:{port},CONTROLLER://:{controller}\n\
         inter.broker.listener.name=PLAINTEXT\n\
         advertised.listeners=PLAINTEXT://localhost:{port},CONTROLLER://localhost:{controller}\n\
         controller.listener.names=CONTROLLER\n\
         listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SSL:SSL,\
         SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL\n\
         num.network.threads=3\n\
         num.io.threads=8\n\
         socket.send.buffer.bytes=102400\n\
         socket.receive.buffer.bytes=102400\n\
         socket.request.max.bytes=104857600\n\
         log.dirs={}\n\
         num.partitions=1\n\
         num.recovery.threads.per.data.dir=1\n\
         offsets.topic.replication.factor=1\n\
         share.coordinator.state.topic.replication.factor=1\n\
         share.coordinator.state.topic.min.isr=1\n\
         transaction.state.log.replication.factor=1\n\
         transaction.state.log.min.isr=1\n\
         #log.flush.interval.messages=10000\n\
         log.retention.hours=168\n\
         log.segment.bytes=1073741824\n\
         log.retention.check.interval.ms=300000\n",
        data.display()
    )
}

#[test]
fn a_file_as_kafka_ships_it_starts_twice() {
    let (port, controller) = (free_port(), free_port());
    for quorum in [
        format!("controller.quorum.bootstrap.servers=localhost:{controller}"),
        format!("controller.quorum.voters=1@localhost:{controller}"),
    ] {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let data = directory.path().join("kraft-combined-logs");
        let text = shipped(&quorum, port, controller, &data);
        std::fs::write(directory.path().join("server.properties"), text).expect("the test's own directory");
        let broker = Broker::run(start(directory.path(), &["server.properties"]));
        assert_eq!(broker.address().port(), port);
        assert!(!broker.output().contains("unknown"), "every key is Kafka's:\n{}", broker.output());
        let address = ([127, 0, 0, 1], port).into();
        create_topic(address, "t", 1, &[]);
        produce(address, "t", 0, "p", 5);
        let id = cluster_id(address);
        assert_eq!(broker.stop(), 0);
        let broker = Broker::run(start(directory.path(), &["server.properties"]));
        assert_eq!((count(address, "t", 0), cluster_id(address)), (5, id));
        assert_eq!(broker.stop(), 0);
    }
}

/// The environment of a container of one node, as Kafka's compose examples have it.
fn compose(port: u16, inner: u16, controller: u16, data: &Path) -> Vec<(&'static str, String)> {
    vec![
        ("KAFKA_NODE_ID", "1".into()),
        (
            "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP",
            "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,PLAINTEXT_HOST:PLAINTEXT".into(),
        ),
        (
            "KAFKA_ADVERTISED_LISTENERS",
            format!("PLAINTEXT_HOST://localhost:{port},PLAINTEXT://broker:{inner}"),
        ),
        ("KAFKA_PROCESS_ROLES", "broker,controller".into()),
        ("KAFKA_CONTROLLER_QUORUM_VOTERS", format!("1@broker:{controller}")),
        (
            "KAFKA_LISTENERS",
            format!("CONTROLLER://:{controller},PLAINTEXT_HOST://:{port},PLAINTEXT://:{inner}"),
        ),
        ("KAFKA_INTER_BROKER_LISTENER_NAME", "PLAINTEXT".into()),
        ("KAFKA_CONTROLLER_LISTENER_NAMES", "CONTROLLER".into()),
        ("CLUSTER_ID", "4L6g3nShT-eMCtK--X86sw".into()),
        ("KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR", "1".into()),
        ("KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS", "0".into()),
        ("KAFKA_TRANSACTION_STATE_LOG_MIN_ISR", "1".into()),
        ("KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR", "1".into()),
        ("KAFKA_SHARE_COORDINATOR_STATE_TOPIC_REPLICATION_FACTOR", "1".into()),
        ("KAFKA_SHARE_COORDINATOR_STATE_TOPIC_MIN_ISR", "1".into()),
        ("KAFKA_HEAP_OPTS", "-Xmx1G -Xms1G".into()),
        ("KAFKA_LOG_DIRS", data.display().to_string()),
    ]
}

#[test]
fn an_environment_as_in_a_compose_file_formats_itself_with_the_given_id() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let data = directory.path().join("kraft-combined-logs");
    let (port, inner, controller) = (free_port(), free_port(), free_port());
    let environment = compose(port, inner, controller, &data);
    let run = || {
        let mut command = start(directory.path(), &[]);
        command.env_clear().envs(environment.iter().map(|(name, value)| (name, value)));
        Broker::run(command)
    };
    let broker = run();
    let address = ([127, 0, 0, 1], port).into();
    assert_eq!(cluster_id(address), "4L6g3nShT-eMCtK--X86sw");
    let meta = std::fs::read_to_string(data.join("meta.properties")).expect("the start wrote it");
    assert!(meta.contains("cluster.id=4L6g3nShT-eMCtK--X86sw\n") && meta.contains("node.id=1\n"), "{meta}");
    assert!(!broker.output().contains("unknown"), "{}", broker.output());
    create_topic(address, "t", 1, &[]);
    produce(([127, 0, 0, 1], inner).into(), "t", 0, "p", 2);
    assert_eq!(broker.stop(), 0);
    let broker = run();
    assert_eq!(cluster_id(address), "4L6g3nShT-eMCtK--X86sw");
    assert_eq!(count(address, "t", 0), 2);
    assert!(!line_of(&broker, "log dir").contains("new"));
    assert_eq!(broker.stop(), 0);
}
