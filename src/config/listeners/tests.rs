//! Tests of listener settings: forms, defaults and refusals.

use super::*;

const DEFAULT_MAP: &str = "SASL_SSL:SASL_SSL,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT";

fn settings(listeners: &str) -> ListenerSettings<'static> {
    ListenerSettings {
        listeners: split_list(listeners),
        advertised: None,
        protocol_map: DEFAULT_MAP,
        protocol_map_is_given: false,
        controller_names: vec![],
        inter_broker_name: None,
        inter_broker_protocol: "PLAINTEXT",
        inter_broker_protocol_is_given: false,
    }
}

fn refusal(settings: &ListenerSettings<'_>) -> String {
    Listeners::new(settings).expect_err("the settings are refused").to_string()
}

fn plain(name: &str, host: Option<&str>, port: u16) -> Listener {
    Listener {
        name: name.to_owned(),
        protocol: SecurityProtocol::Plaintext,
        host: host.map(str::to_owned),
        port,
        is_controller: false,
    }
}

#[test]
fn kafkas_default_listens_everywhere() {
    let listeners = Listeners::new(&settings("PLAINTEXT://:9092")).expect("Kafka's default is fine");
    assert_eq!(listeners.bound, vec![plain("PLAINTEXT", None, 9092)]);
    assert_eq!(listeners.advertised, listeners.bound);
    assert_eq!(listeners.inter_broker_name, "PLAINTEXT");
}

#[test]
fn a_combined_node_has_a_controller_listener() {
    let mut settings = settings("PLAINTEXT://:9092,CONTROLLER://:9093");
    settings.controller_names = vec!["CONTROLLER".into()];
    let listeners = Listeners::new(&settings).expect("the usual combined node");
    assert_eq!(listeners.bound.len(), 2);
    assert!(listeners.bound[1].is_controller);
    assert_eq!(listeners.bound[1].protocol, SecurityProtocol::Plaintext);
    assert_eq!(listeners.advertised, vec![plain("PLAINTEXT", None, 9092)]);
    assert_eq!(listeners.for_clients().count(), 1);
}

#[test]
fn a_controller_name_is_not_added_to_a_map_that_was_given() {
    let mut settings = settings("PLAINTEXT://:9092,CONTROLLER://:9093");
    settings.controller_names = vec!["CONTROLLER".into()];
    settings.protocol_map_is_given = true;
    assert!(refusal(&settings).contains(": No security protocol defined for listener CONTROLLER;"));
    settings.protocol_map = "controller:plaintext, PLAINTEXT:PLAINTEXT";
    assert!(Listeners::new(&settings).is_ok());
}

#[test]
fn the_listeners_of_a_compose_file() {
    let mut settings = settings("CONTROLLER://:29093,PLAINTEXT_HOST://:9092,PLAINTEXT://:19092");
    settings.advertised = Some(split_list("PLAINTEXT_HOST://localhost:9092,PLAINTEXT://broker:19092"));
    settings.protocol_map = "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,PLAINTEXT_HOST:PLAINTEXT";
    settings.protocol_map_is_given = true;
    settings.controller_names = vec!["CONTROLLER".into()];
    settings.inter_broker_name = Some("PLAINTEXT");
    let listeners = Listeners::new(&settings).expect("Kafka's own compose file");
    assert_eq!(
        listeners.advertised,
        vec![plain("PLAINTEXT_HOST", Some("localhost"), 9092), plain("PLAINTEXT", Some("broker"), 19092)]
    );
    assert_eq!(listeners.bound.len(), 3);
}

#[test]
fn hosts_and_ports() {
    let of = |text: &str| parse_host_port(text).map(|address| (address.host, address.port));
    assert_eq!(of("[::1]:9092"), Some(("::1".into(), 9092)));
    assert_eq!(of("fe80::1%eth0:9092"), Some(("fe80::1%eth0".into(), 9092)));
    assert_eq!(of(":0"), Some((String::new(), 0)));
    for text in ["host", "host:", "host:x", "host:-1", "host:65536", "[::1:9092", "a b:1", "host:+1"] {
        assert_eq!(of(text), None, "{text}");
    }
}

#[test]
fn both_address_families_may_share_a_port() {
    assert!(Listeners::new(&settings("PLAINTEXT://127.0.0.1:9092,SSL://[::1]:9092")).is_err());
    let mut two = settings("PLAINTEXT://127.0.0.1:9092,LOCAL6://[::1]:9092");
    two.protocol_map = "PLAINTEXT:PLAINTEXT,LOCAL6:PLAINTEXT";
    two.protocol_map_is_given = true;
    let listeners = Listeners::new(&two).expect("one of each family");
    assert_eq!(listeners.bound[1].host.as_deref(), Some("::1"));
    for (entries, why) in [
        ("PLAINTEXT://:9092,LOCAL6://:9092", "Each listener must have a different port"),
        ("PLAINTEXT://127.0.0.1:9092,LOCAL6://127.0.0.2:9092", "one needs to be IPv4 and the other IPv6"),
        ("PLAINTEXT://h:9092,LOCAL6://[::1]:9092", "Each listener must have a different port"),
    ] {
        two.listeners = split_list(entries);
        assert!(refusal(&two).contains(why), "{entries}: {}", refusal(&two));
    }
    two.listeners = split_list("PLAINTEXT://:0,LOCAL6://:0");
    assert!(Listeners::new(&two).is_ok());
}

#[test]
fn malformed_and_repeated_listeners() {
    assert_eq!(
        refusal(&settings("PLAINTEXT//:9092")),
        "Error creating broker listeners from 'PLAINTEXT//:9092': Unable to parse PLAINTEXT//:9092 to a broker \
         endpoint; NAME://host:port is allowed (see listeners)"
    );
    assert!(
        refusal(&settings("PLAINTEXT://:1,plaintext://:2"))
            .contains("Each listener must have a different name")
    );
    assert!(refusal(&settings("FOO://:1")).contains(": No security protocol defined for listener FOO;"));
    let mut bad_map = settings("PLAINTEXT://:1");
    bad_map.protocol_map = "PLAINTEXT:PLAIN";
    assert_eq!(
        refusal(&bad_map),
        "Invalid security protocol `PLAIN` defined in listener.security.protocol.map"
    );
}

#[test]
fn tls_and_sasl_are_refused_by_name() {
    let text = refusal(&settings("PLAINTEXT://:9092,SASL_SSL://:9094"));
    assert_eq!(
        text,
        "Invalid value SASL_SSL://:9094 for configuration listeners: its security protocol is SASL_SSL, and TLS \
         and SASL are not here yet; PLAINTEXT is allowed"
    );
}

#[test]
fn advertised_listeners_must_fit() {
    let mut settings = settings("PLAINTEXT://:9092");
    settings.advertised = Some(split_list("PLAINTEXT://0.0.0.0:9092"));
    assert!(
        refusal(&settings)
            .starts_with("advertised.listeners cannot use the nonroutable meta-address 0.0.0.0.")
    );
    settings.advertised = Some(split_list("PLAINTEXT://a:1,SSL://b:2"));
    assert!(refusal(&settings).contains("Found PLAINTEXT,SSL. The valid options"));
    settings.advertised = Some(split_list("PLAINTEXT://a:1"));
    settings.inter_broker_name = Some("SSL");
    assert!(refusal(&settings).ends_with("based on currently configured listeners are PLAINTEXT"));
    settings.inter_broker_name = Some("nosuch");
    assert!(
        refusal(&settings).starts_with("Listener with name NOSUCH defined in inter.broker.listener.name")
    );
    settings.inter_broker_protocol_is_given = true;
    assert!(refusal(&settings).starts_with("Only one of inter.broker.listener.name and"));
}

#[test]
fn controller_names_must_be_listeners_and_leave_one_for_clients() {
    let mut settings = settings("PLAINTEXT://:9092");
    settings.controller_names = vec!["CONTROLLER".into()];
    assert!(
        refusal(&settings).starts_with("controller.listener.names must only contain values appearing in")
    );
    settings.controller_names = vec!["PLAINTEXT".into()];
    assert!(refusal(&settings).starts_with("There must be at least one broker advertised listener."));
}
