//! What the Metadata of 1,000 topics with 10 partitions each costs: the answer from the image, its bytes, and reading
//! them, as a client does.

use std::hint::black_box;

use ottla::controller::image::{Endpoint, Image};
use ottla::controller::registration::{Registration, activate};
use ottla::controller::replay::ImageBuilder;
use ottla::ids::{NodeId, Offset, TimestampMs, Uuid};
use ottla::request::{RequestContext, metadata};
use ottla::time::Monotonic;
use ottla_wire::metadata_request::MetadataRequest;
use ottla_wire::metadata_response::MetadataResponse;
use ottla_wire::partition_record::PartitionRecord;
use ottla_wire::topic_record::TopicRecord;
use ottla_wire::{ApiKey, Message, MetadataRecord, Reader};

use crate::suite::Suite;
use crate::wire::encode;

/// Topics of the image.
pub const TOPICS: u64 = 1_000;
const PARTITIONS: i32 = 10;
const VERSION: i16 = 13;
const DIRECTORY: Uuid = Uuid([7; 16]);

/// The id of a topic.
pub fn topic_id(number: u64) -> Uuid {
    Uuid((u128::from(number) + (1 << 64)).to_be_bytes())
}

fn registration() -> Registration {
    let endpoint =
        Endpoint { listener: "PLAINTEXT".into(), host: "localhost".into(), port: 9092, security_protocol: 0 };
    Registration {
        incarnation_id: Uuid([9; 16]),
        endpoints: vec![endpoint],
        rack: None,
        log_dirs: vec![DIRECTORY],
        found: std::collections::BTreeMap::new(),
        shortened: std::collections::BTreeSet::new(),
    }
}

/// The image of one broker with all the topics.
pub fn image() -> Image {
    let empty = Image::empty("cluster-id", NodeId(1));
    let mut builder = ImageBuilder::new(&empty);
    let mut apply = |record: &MetadataRecord<'_>| builder.apply(record).expect("the records fit");
    activate(&empty, &registration(), Offset(0)).iter().for_each(&mut apply);
    for number in 0..TOPICS {
        let (name, topic_id) = (format!("orders.of.customer.{number}"), topic_id(number));
        apply(&MetadataRecord::TopicRecord(TopicRecord { name: name.into(), topic_id }));
        for partition_id in 0..PARTITIONS {
            apply(&MetadataRecord::PartitionRecord(PartitionRecord {
                partition_id,
                topic_id,
                replicas: vec![1],
                isr: vec![1],
                leader: 1,
                directories: vec![DIRECTORY],
                ..Default::default()
            }));
        }
    }
    builder.finish(Offset(20_000)).0
}

pub fn measure(suite: &mut Suite) {
    let (image, request) = (image(), MetadataRequest { topics: None, ..Default::default() });
    let context = RequestContext {
        api: ApiKey::Metadata,
        version: VERSION,
        correlation_id: 1,
        client_id: Some("bench"),
        client_host: "127.0.0.1",
        listener: "PLAINTEXT",
        now: Monotonic::ZERO,
        now_wall: TimestampMs(0),
    };
    let answer = || metadata::handle(&context, black_box(&image), false, &request).response;
    suite.time("Metadata of 10,000 partitions, answer", answer);
    let reply = answer();
    assert_eq!(reply.topics.len() as u64, TOPICS);
    let bytes = encode(&reply, VERSION);
    suite.time("Metadata of 10,000 partitions, encode", || encode(black_box(&reply), VERSION));
    let decode =
        || MetadataResponse::decode(&mut Reader::with_memory(black_box(&bytes), usize::MAX), VERSION);
    assert_eq!(decode().as_ref(), Ok(&reply), "what is measured works");
    suite.time("Metadata of 10,000 partitions, decode", || decode().is_ok());
}
