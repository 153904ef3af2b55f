//! Signals: the first ends in order and answers what waits, the second ends at once.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use ottla_tests::broker::{Broker, Options};
use ottla_tests::topics::create_topic;
use ottla_tools::client::Client;
use ottla_wire::ApiKey;
use ottla_wire::fetch_request::{FetchPartition, FetchRequest, FetchTopic};
use ottla_wire::fetch_response::FetchResponse;
use ottla_wire::find_coordinator_request::FindCoordinatorRequest;
use ottla_wire::find_coordinator_response::FindCoordinatorResponse;
use ottla_wire::join_group_request::{JoinGroupRequest, JoinGroupRequestProtocol};
use ottla_wire::join_group_response::JoinGroupResponse;

use crate::support::{FREE, count, produce, start_with};

/// Ends well before any timeout of the requests below.
const STOP_SECONDS_MAX: u64 = 8;
/// What the requests below are willing to wait.
const PATIENCE_MS: i32 = 50_000;
/// NOT_COORDINATOR.
const NOT_COORDINATOR: i16 = 16;

/// Asks for records that are not there yet; returns once the broker has read the request.
fn long_poll(broker: &Broker, offset: i64) -> Client {
    let mut client = Client::connect(broker.address(), "poll").expect("the broker listens");
    let partition = FetchPartition {
        partition: 0,
        fetch_offset: offset,
        partition_max_bytes: 1 << 20,
        ..Default::default()
    };
    let topics = vec![FetchTopic { topic: "t".into(), partitions: vec![partition], ..Default::default() }];
    let request = FetchRequest {
        max_wait_ms: PATIENCE_MS,
        min_bytes: 1,
        max_bytes: 1 << 20,
        session_epoch: -1,
        topics,
        ..Default::default()
    };
    client.send(ApiKey::Fetch, 12, &request).expect("the broker reads");
    client
}

/// Joins a group whose first rebalance is delayed: the answer waits for it.
fn parked_member(broker: &Broker) -> Client {
    let mut client = Client::connect(broker.address(), "member").expect("the broker listens");
    let find = FindCoordinatorRequest { key: "g".into(), key_type: 0, ..Default::default() };
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let reply: FindCoordinatorResponse<'_> =
            client.call(ApiKey::FindCoordinator, 2, &find).expect("the broker answers");
        if reply.error_code == 0 {
            break;
        }
        assert!(Instant::now() < deadline, "no coordinator: {}", reply.error_code);
        std::thread::sleep(Duration::from_millis(20));
    }
    let protocols = vec![JoinGroupRequestProtocol { name: "range".into(), metadata: (&[][..]).into() }];
    let join = JoinGroupRequest {
        group_id: "g".into(),
        session_timeout_ms: 60_000,
        rebalance_timeout_ms: 60_000,
        protocol_type: "consumer".into(),
        protocols,
        ..Default::default()
    };
    client.send(ApiKey::JoinGroup, 3, &join).expect("the broker reads");
    client
}

#[test]
fn a_stop_answers_what_waits_and_leaves_nothing_to_recover() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let options = Options::new(directory.path()).set("group.initial.rebalance.delay.ms", PATIENCE_MS);
    let broker = Broker::start(&options);
    create_topic(broker.address(), "t", 1, &[]);
    produce(broker.address(), "t", 0, "p", 10);
    let (mut poll, mut member) = (long_poll(&broker, 10), parked_member(&broker));
    for client in [&poll, &member] {
        let timeout = client.set_timeout(Some(Duration::from_millis(300)));
        timeout.expect("a socket takes a timeout");
    }
    let mut byte = [0];
    let waits = |client: &Client, byte: &mut [u8]| client.stream().peek(byte).is_err();
    assert!(waits(&poll, &mut byte) && waits(&member, &mut byte), "nothing is answered yet");
    for client in [&poll, &member] {
        client.set_timeout(Some(Duration::from_secs(STOP_SECONDS_MAX))).expect("a socket takes a timeout");
    }
    let began = Instant::now();
    broker.signal("TERM");
    let reply: FetchResponse<'_> = poll.receive(ApiKey::Fetch, 12).expect("the long poll is answered");
    assert_eq!((reply.error_code, reply.responses.len()), (0, 1));
    assert_eq!(reply.responses[0].partitions[0].error_code, 0);
    let reply: JoinGroupResponse<'_> =
        member.receive(ApiKey::JoinGroup, 3).expect("the parked member is answered");
    assert_eq!(reply.error_code, NOT_COORDINATOR);
    assert_eq!(broker.wait(), 0);
    assert!(began.elapsed() < Duration::from_secs(STOP_SECONDS_MAX), "took {:?}", began.elapsed());

    let broker = Broker::start(&options);
    assert_eq!(count(broker.address(), "t", 0), 10);
    assert!(!broker.output().contains("recover"), "{}", broker.output());
    assert_eq!(broker.stop(), 0);
}

#[test]
fn an_interrupt_stops_in_order_too() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let broker = Broker::start(&Options::new(directory.path()));
    broker.signal("INT");
    assert_eq!(broker.wait(), 0);
    assert!(directory.path().join(".kafka_cleanshutdown").exists());
}

/// Runs the broker through another command, which takes its path and its arguments.
fn run_through(data: &Path, command: &[&str]) -> Broker {
    let (program, arguments) = command.split_first().expect("a command");
    let plain = start_with(data, &[FREE, "log.dirs=data"]);
    let mut through = Command::new(program);
    through.args(arguments).arg(plain.get_program()).args(plain.get_args()).current_dir(data);
    Broker::run(through)
}

#[test]
fn a_closed_terminal_stops_in_order_unless_that_was_switched_off() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    // Whatever runs this test may itself be deaf to a hangup.
    let broker = run_through(directory.path(), &["env", "--default-signal=HUP"]);
    // The shell and the terminal may both say it.
    broker.signal("HUP");
    broker.signal("HUP");
    assert_eq!(broker.wait(), 0);
    assert!(directory.path().join("data").join(".kafka_cleanshutdown").exists());

    let mut broker = run_through(directory.path(), &["sh", "-c", "trap '' HUP; exec \"$0\" \"$@\""]);
    broker.signal("HUP");
    create_topic(broker.address(), "t", 1, &[]);
    assert!(broker.is_running() && !broker.output().contains("stopping"), "as with nohup");
    assert_eq!(broker.stop(), 0);
}

#[test]
fn a_second_signal_ends_at_once() {
    for (first, second, code) in [("TERM", "TERM", 143), ("INT", "INT", 130), ("TERM", "INT", 130)] {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let broker = Broker::start(&Options::new(directory.path()));
        // A request that has begun to arrive holds an orderly end back for as long as the broker is patient.
        let mut client = Client::connect(broker.address(), "slow").expect("the broker listens");
        create_topic(broker.address(), "t", 1, &[]);
        half_a_request(&mut client);
        broker.signal(first);
        wait_for(&broker, "stopping");
        broker.signal(second);
        let began = Instant::now();
        assert_eq!(broker.wait(), code, "{first}, then {second}");
        assert!(began.elapsed() < Duration::from_secs(2), "took {:?}", began.elapsed());
    }
}

fn half_a_request(client: &mut Client) {
    use std::io::Write;
    client.stream().write_all(&[0, 0, 1, 0, 0, 3]).expect("the broker reads");
}

#[track_caller]
fn wait_for(broker: &Broker, word: &str) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !broker.output().contains(word) {
        assert!(Instant::now() < deadline, "{word} was never said:\n{}", broker.output());
        std::thread::sleep(Duration::from_millis(1));
    }
}
