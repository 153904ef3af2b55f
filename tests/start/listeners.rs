//! Several listeners of both families: clients are told what the listener that they came through advertises.

use std::net::{Ipv6Addr, SocketAddr};

use ottla_tests::broker::Broker;
use ottla_tools::client::Client;
use ottla_wire::ApiKey;
use ottla_wire::metadata_request::MetadataRequest;
use ottla_wire::metadata_response::MetadataResponse;

use crate::support::start_with;

/// The host and port of the one broker, as the broker tells them to who connects to `address`.
fn told(address: SocketAddr) -> (String, i32) {
    let mut client = Client::connect(address, "tests").expect("the broker listens");
    let request = MetadataRequest { topics: Some(Vec::new()), ..Default::default() };
    let reply: MetadataResponse<'_> = client.call(ApiKey::Metadata, 9, &request).expect("the broker answers");
    let [broker] = reply.brokers.as_slice() else { panic!("there is one broker") };
    (broker.host.to_string(), broker.port)
}

const MAP: &str = "listener.security.protocol.map=INSIDE:PLAINTEXT,OUTSIDE:PLAINTEXT,SIX:PLAINTEXT";

#[test]
fn each_listener_tells_its_own_advertised_address() {
    if std::net::TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_err() {
        eprintln!("skipped: this machine has no ::1");
        return;
    }
    let directory = tempfile::tempdir().expect("a temporary directory");
    let overrides = [
        MAP,
        "inter.broker.listener.name=INSIDE",
        "listeners=INSIDE://127.0.0.1:0,OUTSIDE://127.0.0.1:0,SIX://[::1]:0",
        "advertised.listeners=INSIDE://inside.example:1111,OUTSIDE://outside.example:2222,SIX://[2001:db8::7]:3333",
    ];
    let broker = Broker::run(start_with(directory.path(), &overrides));
    let listeners = broker.listeners();
    let names: Vec<&str> = listeners.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["INSIDE", "OUTSIDE", "SIX"]);
    assert_eq!(told(listeners[0].1), ("inside.example".to_owned(), 1111));
    assert_eq!(told(listeners[1].1), ("outside.example".to_owned(), 2222));
    assert_eq!(told(listeners[2].1), ("2001:db8::7".to_owned(), 3333));
    assert_eq!(broker.stop(), 0);
}

#[test]
fn without_advertised_listeners_the_bound_address_is_told() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let overrides = [MAP, "inter.broker.listener.name=INSIDE", "listeners=INSIDE://127.0.0.1:0,OUTSIDE://:0"];
    let broker = Broker::run(start_with(directory.path(), &overrides));
    let listeners = broker.listeners();
    assert_eq!(told(listeners[0].1), ("127.0.0.1".to_owned(), i32::from(listeners[0].1.port())));
    let port = listeners[1].1.port();
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").expect("the kernel names the machine");
    // Every address of both families answers, and tells this machine's name.
    assert_eq!(told(([127, 0, 0, 1], port).into()), (name.trim().to_owned(), i32::from(port)));
    if std::net::TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok() {
        assert_eq!(told((Ipv6Addr::LOCALHOST, port).into()), (name.trim().to_owned(), i32::from(port)));
    }
    assert_eq!(broker.stop(), 0);
}
