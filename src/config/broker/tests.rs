//! Tests of the broker's configuration: starts that must work as they are, and refusals in one line.

use super::*;

fn overrides(text: &str) -> Overrides {
    super::super::properties::parse(text).expect("a properties text")
}

fn from_file(text: &str) -> Result<BrokerConfig, ConfigError> {
    BrokerConfig::new(&Layers { file: Some(overrides(text)), ..Layers::default() })
}

fn config(text: &str) -> BrokerConfig {
    from_file(text).expect("the configuration is fine")
}

fn refusal(text: &str) -> String {
    let line = from_file(text).expect_err("the configuration is refused").to_string();
    assert!(!line.contains('\n'), "one line");
    line
}

#[test]
fn nothing_configured_is_a_node_on_9092() {
    let config = BrokerConfig::new(&Layers::default()).expect("no configuration is needed");
    assert_eq!(config.node_id, NodeId(1));
    assert_eq!(config.listeners.bound.len(), 1);
    assert_eq!(
        (config.listeners.bound[0].host.as_deref(), config.listeners.bound[0].port),
        (Some("localhost"), 9092)
    );
    assert_eq!(config.storage.log_dirs, ["./ottla-data"]);
    assert_eq!(config.storage.metadata_log_dir, "./ottla-data");
    assert_eq!(config.groups.initial_rebalance_delay_ms, 0);
    assert_eq!(config.log.flush_messages, 1);
    assert_eq!(config.offsets.replication_factor, 1);
    assert_eq!((config.offsets.partitions, config.offsets.retention_ms), (50, 7 * 24 * 3_600_000));
    assert_eq!(config.transactions.min_insync_replicas, 1);
    assert!(config.topics.auto_create && config.topics.deletion);
    assert_eq!((config.topics.partitions, config.topics.replication_factor), (1, 1));
    assert_eq!(config.start_notes(), StartNotes::default());
    assert_eq!((config.runtime.shards, config.runtime.cpus.len()), (None, 0));
}

/// The settings of the file that Kafka ships for a combined node.
const SHIPPED: &str = r"
process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=localhost:9093
listeners=PLAINTEXT://:9092,CONTROLLER://:9093
inter.broker.listener.name=PLAINTEXT
advertised.listeners=PLAINTEXT://localhost:9092,CONTROLLER://localhost:9093
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SSL:SSL,\
  SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL
num.network.threads=3
num.io.threads=8
socket.send.buffer.bytes=102400
socket.receive.buffer.bytes=102400
socket.request.max.bytes=104857600
log.dirs=/tmp/kraft-combined-logs
num.partitions=1
num.recovery.threads.per.data.dir=2
offsets.topic.replication.factor=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
log.retention.hours=168
log.segment.bytes=1073741824
log.retention.check.interval.ms=300000
";

#[test]
fn kafkas_shipped_file_starts_as_it_is() {
    let config = config(SHIPPED);
    assert_eq!(config.listeners.bound.len(), 2);
    assert_eq!(config.listeners.advertised.len(), 1);
    assert_eq!(config.listeners.advertised[0].host.as_deref(), Some("localhost"));
    assert_eq!(config.storage.log_dirs, ["/tmp/kraft-combined-logs"]);
    assert_eq!(config.groups.initial_rebalance_delay_ms, 3000);
    assert_eq!(config.network.send_buffer_bytes, Some(102_400));
    let notes = config.start_notes();
    assert_eq!(
        notes.without_effect,
        ["num.io.threads", "num.network.threads", "num.recovery.threads.per.data.dir"]
    );
    assert!(notes.unknown.is_empty());
    assert!(notes.not_yet.contains(&"transaction.state.log.min.isr".to_owned()));
}

#[test]
fn kafkas_compose_file_starts_as_it_is() {
    let environment = super::super::env::from_variables([
        ("KAFKA_NODE_ID", "1"),
        (
            "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP",
            "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,PLAINTEXT_HOST:PLAINTEXT",
        ),
        ("KAFKA_ADVERTISED_LISTENERS", "PLAINTEXT_HOST://localhost:9092,PLAINTEXT://broker:19092"),
        ("KAFKA_PROCESS_ROLES", "broker,controller"),
        ("KAFKA_CONTROLLER_QUORUM_VOTERS", "1@broker:29093"),
        ("KAFKA_LISTENERS", "CONTROLLER://:29093,PLAINTEXT_HOST://:9092,PLAINTEXT://:19092"),
        ("KAFKA_INTER_BROKER_LISTENER_NAME", "PLAINTEXT"),
        ("KAFKA_CONTROLLER_LISTENER_NAMES", "CONTROLLER"),
        ("CLUSTER_ID", "4L6g3nShT-eMCtK--X86sw"),
        ("KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS", "0"),
        ("KAFKA_LOG_DIRS", "/tmp/kraft-combined-logs"),
        ("KAFKA_HEAP_OPTS", "-Xmx1g"),
    ]);
    let layers = Layers { environment: environment.settings, ..Layers::default() };
    let config = BrokerConfig::new(&layers).expect("Kafka's own compose file");
    assert_eq!(config.listeners.for_clients().count(), 2);
    assert_eq!(config.voters.len(), 1);
    assert!(config.start_notes().unknown.is_empty());
}

#[test]
fn the_command_line_wins() {
    let layers = Layers {
        file: Some(overrides("num.partitions=2\nlog.dirs=/file")),
        environment: overrides("num.partitions=3"),
        command_line: overrides("log.dirs=/line"),
    };
    let config = BrokerConfig::new(&layers).expect("fine");
    assert_eq!(config.topics.partitions, 3);
    assert_eq!(config.storage.log_dirs, ["/line"]);
}

#[test]
fn more_than_this_node_is_refused_in_one_line() {
    assert_eq!(
        refusal("controller.quorum.voters=1@a:9093,2@b:9093,3@c:9093"),
        "Invalid value 1@a:9093,2@b:9093,3@c:9093 for configuration controller.quorum.voters: a cluster of \
         several controllers is not here yet; this node alone is allowed"
    );
    assert_eq!(
        refusal("node.id=4\ncontroller.quorum.voters=1@a:9093"),
        "If process.roles contains the 'controller' role, the node id 4 must be included in the set of voters \
         controller.quorum.voters=1@a:9093"
    );
    assert!(refusal("controller.quorum.bootstrap.servers=a:1,b:1").starts_with("Invalid value a:1,b:1 for"));
    assert_eq!(
        refusal("process.roles=broker"),
        "Invalid value broker for configuration process.roles: a cluster of several nodes is not here yet; \
         broker,controller is allowed"
    );
    assert!(refusal("process.roles=controller").contains("process.roles"));
    assert!(config("process.roles=controller,broker").voters.is_empty());
    assert_eq!(
        refusal("process.roles=worker"),
        "Invalid value worker for configuration process.roles: String must be one of: broker, controller"
    );
}

#[test]
fn what_would_be_dangerous_to_ignore_is_refused() {
    let text = refusal("authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer");
    assert!(text.contains("for configuration authorizer.class.name: authorization is not here yet"));
    assert!(refusal("listeners=SSL://:9093").contains("its security protocol is SSL"));
    assert!(refusal("remote.log.storage.system.enable=true").contains("remote storage is not here yet"));
    assert!(refusal("zookeeper.connect=z:2181\nbroker.id=1").starts_with("zookeeper.connect is set"));
    assert!(config("authorizer.class.name=").start_notes().not_yet.len() == 1);
}

#[test]
fn a_bad_value_is_named_with_its_key_and_what_is_allowed() {
    assert_eq!(
        refusal("num.partitions=0"),
        "Invalid value 0 for configuration num.partitions: Value must be at least 1"
    );
    assert_eq!(
        refusal("log.cleaner.io.buffer.size=many"),
        "Invalid value many for configuration log.cleaner.io.buffer.size: Not a number of type INT"
    );
    assert!(
        refusal("listener.name.plaintext.max.connections=x").contains("for configuration max.connections")
    );
    assert!(refusal("shards=0").contains("for configuration shards: Value must be at least 1"));
    assert!(
        refusal("cpus=a-b").starts_with("Invalid value a-b for configuration cpus: Expected core numbers")
    );
}

#[test]
fn rules_between_settings() {
    for (text, start) in [
        ("node.id=1\nbroker.id=2", "`node.id` and `broker.id` must be set to the same value."),
        ("log.roll.ms=0", "log.roll.ms must be greater than or equal to 1"),
        ("log.roll.jitter.ms=-1", "log.roll.jitter.ms must be greater than or equal to 0"),
        ("log.flush.interval.ms=-5", "Invalid value -5 for configuration flush.ms: Value must be at least 0"),
        ("log.retention.ms=0", "log.retention.ms must be unlimited (-1) or,"),
        ("log.cleaner.dedupe.buffer.size=1000", "log.cleaner.dedupe.buffer.size must be at least 1MB"),
        ("replica.fetch.wait.max.ms=31000", "replica.socket.timeout.ms should always be at least"),
        ("replica.lag.time.max.ms=100", "replica.fetch.wait.max.ms should always be less than or equal to"),
        ("queued.max.request.bytes=5", "queued.max.request.bytes must be larger or equal to"),
        ("max.connections.per.ip=0", "max.connections.per.ip can be set to zero only if"),
        ("max.connections.per.ip.overrides=h", "Invalid value h for configuration max.connections.per.ip"),
        ("connections.max.idle.ms=50", "connection.failed.authentication.delay.ms=100 should always be less"),
        ("cordoned.log.dirs=/x", "All entries in cordoned.log.dirs must be present in log.dirs or log.dir."),
        ("cordoned.log.dirs=*,/x", "When cordoned.log.dirs is set to *,"),
        (
            "group.coordinator.rebalance.protocols=consumer",
            "Disabling the 'CLASSIC' protocol is not supported.",
        ),
        ("log.cleaner.min.compaction.lag.ms=9\nlog.cleaner.max.compaction.lag.ms=5", "conflict topic config"),
        (
            "group.consumer.session.timeout.ms=1",
            "group.consumer.session.timeout.ms must be greater than or equal",
        ),
        (
            "group.share.heartbeat.interval.ms=60000\ngroup.share.max.heartbeat.interval.ms=60000",
            "group.share.heartbeat.interval.ms must be less than group.share.session.timeout.ms",
        ),
        (
            "group.share.max.size=1000\ngroup.share.max.share.sessions=1",
            "group.share.max.share.sessions must be",
        ),
    ] {
        assert!(refusal(text).starts_with(start), "{text}: {}", refusal(text));
    }
}

#[test]
fn unknown_settings_are_named_once() {
    let text = "my.key=1\nlistener.name.x.nosuch=2\nssl.protocol=TLSv1.3\nmy.\u{1b}[31mred=1";
    let notes = config(text).start_notes();
    assert_eq!(notes.unknown, ["listener.name.x.nosuch", r"my.\u{1b}[31mred", "my.key"]);
    assert_eq!(notes.not_yet, ["ssl.protocol"]);
}

#[test]
fn request_memory_is_shared_by_the_shards() {
    let memory = |text: &str, shards: u16| config(text).network.request_memory_bytes(shards);
    assert_eq!(memory("", 1), 128 << 20);
    assert_eq!(memory("", 8), 128 << 20);
    assert_eq!(memory("queued.max.request.bytes=1073741824", 4), 256 << 20);
    assert_eq!(memory("queued.max.request.bytes=104857600", 4), 100 << 20, "one frame always fits");
    assert_eq!(memory("socket.request.max.bytes=200000000", 2), 200_000_000);
}

#[test]
fn metrics_are_served_where_the_setting_says() {
    let place = |text: &str| config(&format!("metrics.listener={text}")).runtime.metrics_listener;
    let some = |host: &str, port| Some(HostPort { host: host.to_owned(), port });
    assert_eq!(config("").runtime.metrics_listener, None);
    assert_eq!(place(""), None);
    assert_eq!(place("localhost:9644"), some("localhost", 9644));
    assert_eq!(place(":0"), some("", 0));
    assert_eq!(place("[::1]:1"), some("::1", 1));
}

#[test]
fn special_values_become_none() {
    let config = config(
        "socket.send.buffer.bytes=-1\nlog.retention.bytes=-1\nottla.segment.files.open.max=-1\n\
         max.connections.per.ip.overrides=127.0.0.1:5,::1:7\ncpus=3,0-1\nshards=2\nmetadata.log.dir=/m",
    );
    assert_eq!(config.network.send_buffer_bytes, None);
    assert_eq!(config.log.retention_bytes, None);
    assert_eq!(config.runtime.segment_files_open_max, None);
    assert_eq!(
        config.network.connections_per_ip_overrides,
        [("127.0.0.1".to_owned(), 5), ("::1".to_owned(), 7)]
    );
    assert_eq!((config.runtime.shards, config.runtime.cpus), (Some(2), vec![0, 1, 3]));
    assert_eq!(config.storage.metadata_log_dir, "/m");
}

#[test]
fn dynamic_settings_make_a_new_configuration_or_none() {
    let config = config("log.retention.hours=24");
    let changed = config
        .with_dynamic(overrides("log.retention.ms=5"), overrides("message.max.bytes=9"))
        .expect("both are dynamic");
    assert_eq!((changed.log.retention_ms, changed.log.message_bytes_max), (Some(5), 9));
    assert_eq!(config.log.retention_ms, Some(86_400_000));
    assert!(config.with_dynamic(overrides("log.retention.ms=0"), Overrides::new()).is_err());
}

#[test]
fn no_text_of_any_key_ends_in_a_panic() {
    let texts = [
        "",
        " ",
        "-1",
        "0",
        "1",
        "5",
        "100",
        "32767",
        "2147483647",
        "-2147483648",
        "9223372036854775807",
        "a",
        ",",
        "a,a",
        "true",
        "*",
        ":",
        "://:",
        "A://[:1",
        "1.5",
        "\u{e9}",
        "@",
        "1@h:1",
        "h:1",
        "-",
        "0-65535",
    ];
    let mut accepted = 0;
    for key in table::keys(Resource::Broker) {
        for text in texts {
            let line = Overrides::from([(key.name.to_owned(), text.to_owned())]);
            match BrokerConfig::new(&Layers { command_line: line, ..Layers::default() }) {
                Ok(_) => accepted += 1,
                Err(error) => assert!(!error.to_string().is_empty()),
            }
        }
    }
    assert!(accepted > 1000, "{accepted}");
}
