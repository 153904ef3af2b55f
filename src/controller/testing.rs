//! What the tests of the controller and of the request handlers share: records, images, random numbers.
//!
//! Compiled for tests alone.

use std::collections::{BTreeMap, BTreeSet};

use ottla_wire::MetadataRecord;
use ottla_wire::config_record::ConfigRecord;
use ottla_wire::partition_record::PartitionRecord;
use ottla_wire::topic_record::TopicRecord;

use super::image::{Endpoint, Image};
use super::registration::{Registration, activate};
use super::replay::{ImageBuilder, ImageDelta};
use crate::config::{BrokerConfig, Layers, Overrides};
use crate::ids::{NodeId, Offset, Uuid};

/// The id of the log directory of the test's broker.
pub(crate) const DIR: Uuid = Uuid([7; 16]);

/// Random bytes that differ from call to call, the same in every run with the same seed.
pub(crate) fn random(seed: u64) -> impl FnMut() -> [u8; 16] {
    let mut state = seed;
    move || {
        let mut next = || {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        };
        let (high, low) = (next(), next());
        ((u128::from(high) << 64) | u128::from(low)).to_be_bytes()
    }
}

/// Broker 1 with two listeners in rack r1.
pub(crate) fn registration() -> Registration {
    let endpoint = |listener: &str, host: &str, port| Endpoint {
        listener: listener.into(),
        host: host.into(),
        port,
        security_protocol: 0,
    };
    Registration {
        incarnation_id: Uuid([9; 16]),
        endpoints: vec![endpoint("PLAINTEXT", "inside", 9092), endpoint("EXTERNAL", "outside", 19092)],
        rack: Some("r1".into()),
        log_dirs: vec![DIR],
        found: BTreeMap::new(),
        shortened: BTreeSet::new(),
    }
}

/// The image with these records behind its last one.
pub(crate) fn replayed(image: &Image, records: &[MetadataRecord<'_>]) -> (Image, ImageDelta) {
    let mut builder = ImageBuilder::new(image);
    for record in records {
        builder.apply(record).expect("the test's records fit");
    }
    let count = i64::try_from(records.len()).expect("a test has few records");
    builder.finish(Offset(image.offset.0 + count))
}

/// The image after a first start.
pub(crate) fn image() -> Image {
    let empty = Image::empty("cluster-id", NodeId(1));
    replayed(&empty, &activate(&empty, &registration(), Offset(0))).0
}

/// The image after a first start and these records.
pub(crate) fn image_with(records: &[Vec<MetadataRecord<'static>>]) -> Image {
    replayed(&image(), &records.concat()).0
}

/// The configuration of broker 1 with these settings in its file.
pub(crate) fn config(settings: &[(&str, &str)]) -> BrokerConfig {
    let mut file: Overrides =
        settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    file.entry("node.id".to_owned()).or_insert_with(|| "1".to_owned());
    file.entry("log.dirs".to_owned()).or_insert_with(|| "/data".to_owned());
    BrokerConfig::new(&Layers { file: Some(file), ..Layers::default() })
        .expect("the test's settings are good")
}

/// The records of a topic, whose id is 16 times `id`, led by broker 1.
pub(crate) fn topic(name: &'static str, id: u8, partitions: i32) -> Vec<MetadataRecord<'static>> {
    let topic_id = Uuid([id; 16]);
    let partition = |partition_id| {
        MetadataRecord::PartitionRecord(PartitionRecord {
            partition_id,
            topic_id,
            replicas: vec![1],
            isr: vec![1],
            leader: 1,
            leader_epoch: 0,
            partition_epoch: 0,
            directories: vec![DIR],
            ..Default::default()
        })
    };
    let topic = MetadataRecord::TopicRecord(TopicRecord { name: name.into(), topic_id });
    std::iter::once(topic).chain((0..partitions).map(partition)).collect()
}

/// The record of one override.
pub(crate) fn setting(
    kind: i8,
    resource: &'static str,
    key: &'static str,
    value: &'static str,
) -> Vec<MetadataRecord<'static>> {
    vec![MetadataRecord::ConfigRecord(ConfigRecord {
        resource_type: kind,
        resource_name: resource.into(),
        name: key.into(),
        value: Some(value.into()),
    })]
}
