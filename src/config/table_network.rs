//! Configuration keys (table): listeners, sockets and connections.
//!
//! Constants without an owner; every shard reads them. Names, types, ranges and defaults are facts of Kafka 4.4,
//! checked by a test against a dump of Kafka's own tables; the sentences are ours. Nothing of it is on disk.

use super::key::{ConfigKey, int, list, long, string};

/// The keys of this area.
pub static KEYS: &[ConfigKey] = &[
    list("listeners")
        .or("PLAINTEXT://:9092")
        .not_empty()
        .high()
        .per_broker()
        .acts("Where the broker listens: NAME://host:port entries; an empty host means every address."),
    list("advertised.listeners")
        .not_empty()
        .high()
        .acts("The addresses that clients are told to use; those of listeners when not given."),
    string("listener.security.protocol.map")
        .or("SASL_SSL:SASL_SSL,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT")
        .low()
        .per_broker()
        .acts("Which security protocol each listener name speaks, as NAME:PROTOCOL pairs."),
    string("inter.broker.listener.name").acts("The listener that brokers use among themselves."),
    string("security.inter.broker.protocol")
        .or("PLAINTEXT")
        .one_of(&["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"])
        .acts("The protocol between brokers where no listener is named for it."),
    list("controller.listener.names")
        .or("")
        .not_empty()
        .high()
        .acts("Which of the listeners belong to the controller, not to clients."),
    int("socket.send.buffer.bytes")
        .or("102400")
        .high()
        .acts("The kernel's send buffer of a connection, in bytes; -1 leaves it to the system."),
    int("socket.receive.buffer.bytes")
        .or("102400")
        .high()
        .acts("The kernel's receive buffer of a connection, in bytes; -1 leaves it to the system."),
    int("socket.request.max.bytes")
        .or("104857600")
        .at_least(1)
        .high()
        .acts("The largest request frame that is read, in bytes; a larger one ends the connection."),
    int("socket.listen.backlog.size")
        .or("50")
        .at_least(1)
        .without_effect("How many connections may wait to be accepted; here the system's own limit does."),
    int("max.connections")
        .or("2147483647")
        .at_least(0)
        .cluster_wide()
        .acts("The most open connections of this broker; a listener may have its own limit."),
    int("max.connections.per.ip")
        .or("2147483647")
        .at_least(0)
        .cluster_wide()
        .acts("The most open connections from one address."),
    string("max.connections.per.ip.overrides")
        .or("")
        .cluster_wide()
        .acts("Other limits for single addresses or names, as host:count pairs."),
    int("max.connection.creation.rate")
        .or("2147483647")
        .at_least(0)
        .cluster_wide()
        .not_yet("The most new connections per second."),
    long("connections.max.idle.ms")
        .or("600000")
        .acts("A connection without a request for this long is closed, in milliseconds."),
    long("connections.max.reauth.ms")
        .or("0")
        .not_yet("How long a SASL session lasts until it must authenticate again; 0 for ever."),
    int("connection.failed.authentication.delay.ms")
        .or("100")
        .at_least(0)
        .low()
        .not_yet("How long the answer to a failed authentication is held back, in milliseconds."),
    int("queued.max.requests")
        .or("500")
        .at_least(1)
        .high()
        .without_effect("Kafka's queue of requests in front of its threads; here bytes bound it."),
    long("queued.max.request.bytes").or("-1").acts(
        "Memory for requests in flight, in bytes; beyond it sockets are not read. -1: 128 MiB per shard.",
    ),
    int("num.network.threads")
        .or("3")
        .at_least(1)
        .high()
        .cluster_wide()
        .without_effect("Kafka's socket threads; here one shard per core does this work (see shards)."),
    long("socket.connection.setup.timeout.ms")
        .or("10000")
        .not_yet("How long the first attempt to reach another node may take, in milliseconds."),
    long("socket.connection.setup.timeout.max.ms")
        .or("30000")
        .not_yet("How long repeated attempts to reach another node may take, in milliseconds."),
];
