//! From the start of the process to its first durable acknowledgement, on a fresh directory and on an existing one.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use ottla::ids::TimestampMs;
use ottla::protocol::records::builder::{BatchBuilder, NewRecord};
use ottla_tests::broker::binary;
use ottla_tests::kafka::free_port;
use ottla_tools::client::Client;
use ottla_wire::metadata_request::{MetadataRequest, MetadataRequestTopic};
use ottla_wire::metadata_response::MetadataResponse;
use ottla_wire::produce_request::{PartitionProduceData, ProduceRequest, TopicProduceData};
use ottla_wire::produce_response::ProduceResponse;
use ottla_wire::{ApiKey, Records};

use crate::{Figure, median};

const ROUNDS: usize = 15;
const METADATA_VERSION: i16 = 9;
const PRODUCE_VERSION: i16 = 9;

/// Both figures.
pub fn measure() -> Vec<Figure> {
    let fresh = (0..ROUNDS).map(|_| {
        let directory = tempfile::tempdir().expect("a temporary directory");
        first_acknowledgement_ms(&directory.path().join("data"))
    });
    let fresh = median(fresh.collect());
    let directory = tempfile::tempdir().expect("a temporary directory");
    let data = directory.path().join("data");
    first_acknowledgement_ms(&data);
    let existing = median((0..ROUNDS).map(|_| first_acknowledgement_ms(&data)).collect());
    vec![
        Figure::ours("spawn to first durable ack, fresh directory", format!("{fresh:.1} ms")),
        Figure::ours("spawn to first durable ack, existing directory", format!("{existing:.1} ms")),
    ]
}

/// Starts a broker, produces one record with acks=all as soon as that works, and ends the broker.
fn first_acknowledgement_ms(data: &std::path::Path) -> f64 {
    let port = free_port();
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let started = Instant::now();
    let mut child = Command::new(binary())
        .args(["start", "--override", &format!("listeners=PLAINTEXT://{address}")])
        .args(["--override", "shards=2", "--data"])
        .arg(data)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the binary was built");
    let mut client = loop {
        match Client::connect(address, "figures") {
            Ok(client) => break client,
            Err(_) => assert!(started.elapsed().as_secs() < 30, "the broker listens"),
        }
    };
    while !try_produce(&mut client) {
        assert!(started.elapsed().as_secs() < 30, "the broker acknowledges");
    }
    let elapsed = started.elapsed();
    stop(&mut child);
    elapsed.as_secs_f64() * 1e3
}

/// Asks for the topic, which creates it where it is not there, and produces one record.
fn try_produce(client: &mut Client) -> bool {
    let topic = MetadataRequestTopic { name: Some("first".into()), ..Default::default() };
    let request =
        MetadataRequest { topics: Some(vec![topic]), allow_auto_topic_creation: true, ..Default::default() };
    let reply: MetadataResponse<'_> =
        client.call(ApiKey::Metadata, METADATA_VERSION, &request).expect("the broker answers");
    if reply.topics[0].error_code != 0 {
        return false;
    }
    let mut batch = BatchBuilder::new();
    batch.append(&NewRecord { timestamp: TimestampMs(1), key: None, value: Some(b"first"), headers: &[] });
    let batch = batch.build();
    let data = PartitionProduceData { index: 0, records: Some(Records::Inline(batch.as_slice().into())) };
    let topic = TopicProduceData { name: "first".into(), partition_data: vec![data], ..Default::default() };
    let request =
        ProduceRequest { acks: -1, timeout_ms: 30_000, topic_data: vec![topic], ..Default::default() };
    let reply: ProduceResponse<'_> =
        client.call(ApiKey::Produce, PRODUCE_VERSION, &request).expect("the broker answers");
    reply.responses[0].partition_responses[0].error_code == 0
}

fn stop(child: &mut Child) {
    let killed = Command::new("kill").arg(child.id().to_string()).status();
    assert!(killed.expect("kill is there").success(), "the broker takes a signal");
    child.wait().expect("a child can be waited for");
}
