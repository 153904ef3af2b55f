//! Random administration: whatever is asked, the invariants of an image hold, and its log replays to it.

use std::collections::{BTreeMap, BTreeSet};

use ottla_wire::MetadataRecord;
use ottla_wire::alter_configs_request::AlterConfigsRequest;
use ottla_wire::create_partitions_request::{CreatePartitionsRequest, CreatePartitionsTopic};
use ottla_wire::create_topics_request::{CreatableTopic, CreatableTopicConfig, CreateTopicsRequest};
use ottla_wire::delete_topics_request::{DeleteTopicState, DeleteTopicsRequest};
use ottla_wire::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
};
use proptest::prelude::*;

use super::image::{ConfigResource, ConfigResourceType};
use super::registration::{Registration, activate};
use super::testing::{DIR, config, image, random, registration, replayed};
use super::*;
use crate::config::BrokerConfig;
use crate::ids::{NodeId, Offset, TopicId};

const NAMES: [&str; 6] = ["a", "b.c", "b_c", "b.d", "bad name", names::CONSUMER_OFFSETS];

#[derive(Clone, Debug)]
enum Step {
    Create(Vec<(usize, i32, bool)>),
    Ask(Vec<usize>),
    Grow(usize, i32),
    Delete(Vec<usize>),
    DeleteById(usize),
    Alter(usize, i8, &'static str, Option<&'static str>),
    Replace(usize),
    ProducerIds,
    Restart(bool),
}

fn step() -> impl Strategy<Value = Step> {
    let name = 0..NAMES.len();
    let value = prop_oneof![
        Just(("retention.ms", Some("5"))),
        Just(("retention.ms", None)),
        Just(("cleanup.policy", Some("compact"))),
        Just(("nonsense", Some("1"))),
    ];
    prop_oneof![
        4 => prop::collection::vec((name.clone(), -1..6i32, any::<bool>()), 1..4).prop_map(Step::Create),
        1 => prop::collection::vec(name.clone(), 1..4).prop_map(Step::Ask),
        2 => (name.clone(), 0..9i32).prop_map(|(name, count)| Step::Grow(name, count)),
        2 => prop::collection::vec(name.clone(), 1..3).prop_map(Step::Delete),
        1 => name.clone().prop_map(Step::DeleteById),
        3 => (name.clone(), 0..5i8, value).prop_map(|(name, op, (key, value))| Step::Alter(name, op, key, value)),
        1 => name.prop_map(Step::Replace),
        1 => Just(Step::ProducerIds),
        1 => any::<bool>().prop_map(Step::Restart),
    ]
}

fn create_request(topics: &[(usize, i32, bool)]) -> CreateTopicsRequest<'static> {
    let topic = |(name, partitions, with_config): &(usize, i32, bool)| CreatableTopic {
        name: NAMES[*name].into(),
        num_partitions: *partitions,
        replication_factor: 1,
        configs: with_config
            .then(|| CreatableTopicConfig { name: "segment.ms".into(), value: Some("60000".into()) })
            .into_iter()
            .collect(),
        ..Default::default()
    };
    CreateTopicsRequest { topics: topics.iter().map(topic).collect(), ..Default::default() }
}

fn alter_request(
    name: usize,
    op: i8,
    key: &'static str,
    value: Option<&'static str>,
) -> IncrementalAlterConfigsRequest<'static> {
    let config = AlterableConfig { name: key.into(), config_operation: op, value: value.map(Cow::Borrowed) };
    let resource = AlterConfigsResource {
        resource_type: ConfigResourceType::Topic.code(),
        resource_name: NAMES[name].into(),
        configs: vec![config],
    };
    IncrementalAlterConfigsRequest { resources: vec![resource], validate_only: false }
}

fn decide(
    image: &Image,
    config: &BrokerConfig,
    step: &Step,
    random: Random<'_>,
) -> Vec<MetadataRecord<'static>> {
    match step {
        Step::Create(list) => topics::create(image, config, 7, &create_request(list), random).records,
        Step::Ask(list) => {
            // A plan names each topic once.
            let list: BTreeSet<&str> = list.iter().map(|name| NAMES[*name]).collect();
            topics::auto_create(image, config, &list.into_iter().collect::<Vec<_>>(), random).records
        }
        Step::Grow(name, count) => {
            let topic = CreatePartitionsTopic { name: NAMES[*name].into(), count: *count, assignments: None };
            let request = CreatePartitionsRequest { topics: vec![topic], ..Default::default() };
            partitions::create(image, &request).records
        }
        Step::Delete(list) => {
            let topic_names = list.iter().map(|name| NAMES[*name].into()).collect();
            delete::delete(image, config, 5, &DeleteTopicsRequest { topic_names, ..Default::default() })
                .records
        }
        Step::DeleteById(name) => {
            let topic_id = image.topics.by_name(NAMES[*name]).map_or(Uuid([5; 16]), |topic| topic.id);
            let topics = vec![DeleteTopicState { name: None, topic_id }];
            delete::delete(image, config, 6, &DeleteTopicsRequest { topics, ..Default::default() }).records
        }
        Step::Alter(name, op, key, value) => {
            configs::incremental(image, config, &[], &alter_request(*name, *op, key, *value)).records
        }
        Step::Replace(name) => {
            let resource = ottla_wire::alter_configs_request::AlterConfigsResource {
                resource_type: ConfigResourceType::Topic.code(),
                resource_name: NAMES[*name].into(),
                configs: Vec::new(),
            };
            let request = AlterConfigsRequest { resources: vec![resource], validate_only: false };
            configs::replace(image, config, &request).records
        }
        Step::ProducerIds => {
            producer_ids::next_block(image, NodeId(1)).expect("the broker is registered").records
        }
        Step::Restart(with_dir) => {
            let log_dirs = vec![if *with_dir { DIR } else { Uuid([8; 16]) }];
            let node = Registration { log_dirs, ..registration() };
            activate(image, &node, Offset(image.offset.0 + 1))
        }
    }
}

fn check_invariants(image: &Image, before: &Image, ids: &mut BTreeMap<TopicId, String>) {
    let mut partitions = 0;
    for topic in image.topics.iter() {
        partitions += topic.partitions.len();
        assert!(!topic.partitions.is_empty() && names::is_valid(&topic.name));
        assert_eq!(image.topics.by_id(topic.id).map(|other| &other.name), Some(&topic.name));
        let first_name = ids.entry(topic.id).or_insert_with(|| topic.name.to_string());
        assert_eq!(**first_name, *topic.name, "an id is never given again");
        for (index, partition) in topic.partitions.iter().enumerate() {
            assert_eq!((&partition.replicas[..], partition.directories.len()), (&[NodeId(1)][..], 1));
            if let Some(old) = before.topics.by_id(topic.id).and_then(|topic| topic.partitions.get(index)) {
                assert!(partition.leader_epoch >= old.leader_epoch, "an epoch never goes back");
                assert!(partition.leader == old.leader || partition.leader_epoch > old.leader_epoch);
            }
        }
    }
    assert_eq!(image.topics.partition_count(), partitions);
    assert!(image.next_producer_id >= before.next_producer_id);
    let mut bytes = 0;
    for name in image.configs.names(ConfigResourceType::Topic) {
        assert!(image.topics.by_name(name).is_some(), "settings of {name} without the topic");
        let resource = ConfigResource::topic(name);
        bytes += image::override_bytes(&resource, image.configs.of(&resource).expect("it is listed"));
    }
    assert_eq!(image.configs.bytes(), bytes);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn any_administration_keeps_the_invariants(steps in prop::collection::vec(step(), 1..40), seed in any::<u64>()) {
        let config = config(&[("offsets.topic.num.partitions", "3")]);
        let mut random = random(seed);
        let first = image();
        let mut live = first.clone();
        let mut ids = BTreeMap::new();
        let mut log: Vec<Vec<u8>> = Vec::new();
        for step in &steps {
            let records = decide(&live, &config, step, &mut random);
            log.extend(records.iter().map(|record| record.encode(record_version(record))));
            let (next, delta) = replayed(&live, &records);
            check_invariants(&next, &live, &mut ids);
            let added = delta.partitions_added.len();
            let removed: usize = delta.topics_removed.values().map(|topic| topic.partitions.len()).sum();
            prop_assert_eq!(next.topics.partition_count() + removed, live.topics.partition_count() + added);
            live = next;
        }
        let records: Vec<MetadataRecord<'_>> =
            log.iter().map(|bytes| MetadataRecord::decode(bytes).expect("it was written by us")).collect();
        let (replayed_at_once, _) = replayed(&first, &records);
        prop_assert_eq!(replayed_at_once, live);
    }
}

#[test]
fn ids_are_random_and_printable() {
    let mut random = random(11);
    let ids: BTreeSet<Uuid> = (0..1000).map(|_| random_uuid(&mut random)).collect();
    assert_eq!(ids.len(), 1000);
    for id in ids {
        assert!(!id.to_string().contains('-'));
        assert_eq!((id.0[6] >> 4, id.0[8] >> 6), (4, 2));
    }
}

#[test]
#[should_panic(expected = "stuck")]
fn a_random_source_that_repeats_itself_is_noticed() {
    random_uuid(&mut || [0xff; 16]);
}
