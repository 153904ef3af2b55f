//! What is asked besides records: the largest timestamp while records come, and leader epochs behind a crash.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use ottla::errors::ErrorCode;
use ottla::ids::TimestampMs;
use ottla::protocol::records::builder::{BatchBuilder, NewRecord};
use ottla_tests::broker::{Broker, Options};
use ottla_tests::reader::{largest_timestamp, offset_of};
use ottla_tests::topics::create_topic;
use ottla_tools::client::Client;
use ottla_wire::ApiKey;
use ottla_wire::fetch_response::FetchResponse;
use ottla_wire::metadata_request::{MetadataRequest, MetadataRequestTopic};
use ottla_wire::metadata_response::MetadataResponse;
use ottla_wire::offset_for_leader_epoch_request::{
    OffsetForLeaderEpochRequest, OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use ottla_wire::offset_for_leader_epoch_response::OffsetForLeaderEpochResponse;

use super::{
    FETCH_VERSION, METADATA_VERSION, PRODUCE_VERSION, batch, client, fetch_request, fetched, produce,
    produce_request, start,
};

/// The newest record is on its way to the disk when it is asked for: the answer waits for it.
#[test]
fn the_largest_timestamp_is_that_of_what_was_just_appended() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let broker = start(&directory, &[]);
    let mut client = client(&broker);
    let first = 1_700_000_000_000;
    let record = |offset| {
        let mut batch = BatchBuilder::new();
        let timestamp = TimestampMs(first + offset);
        batch.append(&NewRecord { timestamp, value: Some(b"v"), ..NewRecord::default() });
        batch.build()
    };
    produce(&mut client, &record(0));
    for offset in 1..50 {
        let request = record(offset);
        let request = produce_request(&request, 0);
        client.send(ApiKey::Produce, PRODUCE_VERSION, &request).expect("it is sent");
        client.expect_silence();
        let (timestamp, found) = largest_timestamp(&mut client, "t", 0);
        assert!((offset - 1..=offset).contains(&found), "{found} at {offset}: there is always one");
        assert_eq!(timestamp, first + found);
    }
    assert_eq!(broker.stop(), 0);
}

/// As Java reads it: a name in Latin-1 is one with a replacement in it.
#[test]
fn a_client_whose_name_is_not_utf8_is_served() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let broker = start(&directory, &[]);
    let mut stream = TcpStream::connect(broker.address()).expect("the broker listens");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a positive time");
    stream.write_all(&[0, 0, 0, 11, 0, 18, 0, 0, 0, 0, 0, 7, 0, 1, 0xe9]).expect("the broker reads");
    let mut reply = [0; 10];
    stream.read_exact(&mut reply).expect("the broker answers");
    assert_eq!(reply[4..], [0, 0, 0, 7, 0, 0], "to the request, and without an error");
    drop(stream);
    assert_eq!(broker.stop(), 0);
}

fn leader_epoch(client: &mut Client, topic: &str) -> i32 {
    let asked = MetadataRequestTopic { name: Some(topic.into()), ..Default::default() };
    let request = MetadataRequest { topics: Some(vec![asked]), ..Default::default() };
    let reply: MetadataResponse<'_> =
        client.call(ApiKey::Metadata, METADATA_VERSION, &request).expect("the broker answers");
    reply.topics[0].partitions[0].leader_epoch
}

fn end_of_epoch(client: &mut Client, leader_epoch: i32) -> (i32, i64) {
    let asked = OffsetForLeaderPartition { partition: 0, leader_epoch, ..Default::default() };
    let topics = vec![OffsetForLeaderTopic { topic: "t".into(), partitions: vec![asked] }];
    let request = OffsetForLeaderEpochRequest { replica_id: -1, topics };
    let reply: OffsetForLeaderEpochResponse<'_> =
        client.call(ApiKey::OffsetForLeaderEpoch, 4, &request).expect("the broker answers");
    let found = &reply.topics[0].partitions[0];
    (found.leader_epoch, found.end_offset)
}

/// A consumer has read what a crash takes from a relaxed log: the epoch tells it, though the log is as long again.
#[test]
fn a_relaxed_log_is_led_in_another_epoch_behind_a_crash() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let broker = start(&directory, &[("flush.messages", "1000000")]);
    create_topic(broker.address(), "durable", 1, &[]);
    produce(&mut client(&broker), &batch(10));
    assert_eq!(broker.stop(), 0);

    let broker = Broker::start(&Options::new(directory.path()));
    let mut connected = client(&broker);
    assert_eq!(leader_epoch(&mut connected, "t"), 0, "a stop in order loses nothing");
    produce(&mut connected, &batch(10));
    broker.kill();

    let broker = Broker::start(&Options::new(directory.path()));
    let mut connected = client(&broker);
    assert_eq!((leader_epoch(&mut connected, "t"), leader_epoch(&mut connected, "durable")), (1, 0));
    let left = offset_of(&mut connected, "t", 0, -1);
    assert!((10..=20).contains(&left), "{left}");
    produce(&mut connected, &batch(20));
    assert_eq!(end_of_epoch(&mut connected, 0), (0, left), "what came since is of another epoch");
    let mut request = fetch_request(20, 0);
    request.topics[0].partitions[0].current_leader_epoch = 0;
    let reply: FetchResponse<'_> =
        connected.call(ApiKey::Fetch, FETCH_VERSION, &request).expect("it is served");
    assert_eq!(fetched(&reply).0, ErrorCode::FencedLeaderEpoch.code());
    assert_eq!(broker.stop(), 0);
}
