//! Metadata, with the answers of Apache Kafka 4.3.1 to the same requests.

use std::sync::Arc;

use ottla_wire::metadata_request::MetadataRequestTopic;
use ottla_wire::partition_change_record::PartitionChangeRecord;
use ottla_wire::{ApiKey, Message, MetadataRecord};

use super::*;
use crate::controller::testing::{image_with, replayed, topic};
use crate::request::tests::context;

const ID: Uuid = Uuid([1; 16]);

fn image() -> Image {
    image_with(&[topic("m1", 1, 2), topic("m2", 2, 1), topic(names::CONSUMER_OFFSETS, 3, 1)])
}

fn named(names: &[&'static str]) -> MetadataRequest<'static> {
    let topics = names
        .iter()
        .map(|name| MetadataRequestTopic { name: Some(Cow::Borrowed(*name)), ..Default::default() });
    MetadataRequest { topics: Some(topics.collect()), ..Default::default() }
}

fn listed(topics: &[(Option<&'static str>, Uuid)]) -> MetadataRequest<'static> {
    let topics =
        topics.iter().map(|(name, id)| MetadataRequestTopic { topic_id: *id, name: name.map(Cow::Borrowed) });
    MetadataRequest { topics: Some(topics.collect()), ..Default::default() }
}

fn ask<'a>(image: &'a Image, version: i16, request: &'a MetadataRequest<'_>) -> MetadataPlan<'a> {
    let plan = handle(&context(ApiKey::Metadata, version), image, true, request);
    plan.response.size(version).expect("the version carries it");
    plan
}

fn of_partition(partition_id: i32) -> PartitionChangeRecord {
    PartitionChangeRecord { partition_id, topic_id: ID, ..Default::default() }
}

fn changed(image: &Image, record: PartitionChangeRecord) -> Image {
    replayed(image, &[MetadataRecord::PartitionChangeRecord(record)]).0
}

type Seen = (Option<String>, u8, i16, usize);

/// What a client sees of each topic: name, id, error and number of partitions.
fn seen(response: &MetadataResponse<'_>) -> Vec<Seen> {
    let topics = response.topics.iter();
    topics
        .map(|t| (t.name.as_deref().map(str::to_owned), t.topic_id.0[0], t.error_code, t.partitions.len()))
        .collect()
}

fn is(name: &str, id: u8, error: i16, partitions: usize) -> Seen {
    (Some(name.to_owned()), id, error, partitions)
}

#[test]
fn none_and_all() {
    let image = image();
    let all = [is("__consumer_offsets", 3, 0, 1), is("m1", 1, 0, 2), is("m2", 2, 0, 1)];
    let null = MetadataRequest { topics: None, ..Default::default() };
    let empty = named(&[]);
    assert_eq!(seen(&ask(&image, 0, &empty).response), all);
    for version in 1..=13 {
        assert!(ask(&image, version, &empty).response.topics.is_empty());
        let plan = ask(&image, version, &null);
        assert_eq!(seen(&plan.response), all);
        assert!(plan.create.is_empty());
        assert_eq!(
            plan.response.topics.iter().map(|t| t.is_internal).collect::<Vec<_>>(),
            [true, false, false]
        );
    }
}

#[test]
fn the_brokers_of_the_clients_listener() {
    let image = image();
    let request = named(&[]);
    let response = ask(&image, 13, &request).response;
    let broker = &response.brokers[0];
    assert_eq!(
        (broker.node_id, &*broker.host, broker.port, broker.rack.as_deref()),
        (1, "inside", 9092, Some("r1"))
    );
    assert_eq!((response.controller_id, response.cluster_id.as_deref()), (1, Some("cluster-id")));
    let other = RequestContext { listener: "EXTERNAL", ..context(ApiKey::Metadata, 13) };
    let broker = handle(&other, &image, true, &request).response.brokers.remove(0);
    assert_eq!((&*broker.host, broker.port), ("outside", 19092));
}

#[test]
fn a_partition_and_its_leader() {
    let mut image = image();
    let request = named(&["m1"]);
    let partition = ask(&image, 13, &request).response.topics.remove(0).partitions.remove(1);
    let expected = MetadataResponsePartition {
        error_code: 0,
        partition_index: 1,
        leader_id: 1,
        leader_epoch: 0,
        replica_nodes: vec![1],
        isr_nodes: vec![1],
        offline_replicas: vec![],
    };
    assert_eq!(partition, expected);
    image = changed(&image, PartitionChangeRecord { leader: -1, ..of_partition(1) });
    let partition = ask(&image, 13, &request).response.topics.remove(0).partitions.remove(1);
    let expected = MetadataResponsePartition { error_code: 5, leader_id: -1, leader_epoch: 1, ..expected };
    assert_eq!(partition, expected, "LEADER_NOT_AVAILABLE");
}

#[test]
fn a_listener_that_the_leader_lacks() {
    let image = image();
    let request = named(&["m1"]);
    for (version, error) in [(0, 5), (5, 5), (6, 72), (13, 72)] {
        let context = RequestContext { listener: "ABSENT", ..context(ApiKey::Metadata, version) };
        let response = handle(&context, &image, true, &request).response;
        let partition = &response.topics[0].partitions[0];
        assert_eq!((partition.error_code, partition.leader_id), (error, -1), "version {version}");
        assert_eq!(partition.replica_nodes.is_empty(), version == 0);
        assert_eq!(partition.offline_replicas, [1]);
        assert!(response.brokers.is_empty());
    }
}

#[test]
fn replicas_that_are_away() {
    let mut image = image();
    image = changed(&image, PartitionChangeRecord { replicas: Some(vec![1, 2]), ..of_partition(0) });
    image =
        changed(&image, PartitionChangeRecord { directories: Some(vec![Uuid([8; 16])]), ..of_partition(1) });
    let request = named(&["m1"]);
    for (version, error, replicas) in [(0, 9, vec![1]), (1, 0, vec![1, 2])] {
        let partition = ask(&image, version, &request).response.topics.remove(0).partitions.remove(0);
        assert_eq!((partition.error_code, partition.replica_nodes), (error, replicas), "version {version}");
        assert_eq!(partition.offline_replicas, [2]);
    }
    let partition = ask(&image, 9, &request).response.topics.remove(0).partitions.remove(1);
    assert_eq!((partition.error_code, partition.offline_replicas), (0, vec![1]), "its directory failed");
}

#[test]
fn fenced_brokers_are_not_shown() {
    let mut image = image();
    let mut broker = (*image.brokers[&NodeId(1)]).clone();
    broker.fenced = true;
    image.brokers.insert(NodeId(1), Arc::new(broker));
    let request = named(&["m1"]);
    let response = ask(&image, 12, &request).response;
    assert!(response.brokers.is_empty());
    assert_eq!(response.controller_id, -1);
    assert_eq!(response.topics[0].partitions[0].offline_replicas, [1]);
}

#[test]
fn missing_topics_are_created_where_that_is_allowed() {
    let image = image();
    let request = named(&["nope", "a b", "m1", "m1", "nope", ""]);
    let plan = ask(&image, 9, &request);
    assert_eq!(
        seen(&plan.response),
        [is("m1", 1, 0, 2), is("", 0, 17, 0), is("a b", 0, 17, 0), is("nope", 0, 3, 0)]
    );
    assert_eq!(plan.create, ["nope"]);
    assert_eq!(ask(&image, 0, &request).create, ["nope"], "the version before the flag means yes");
    let quiet = MetadataRequest { allow_auto_topic_creation: false, ..request.clone() };
    assert!(ask(&image, 9, &quiet).create.is_empty());
    assert_eq!(seen(&ask(&image, 9, &quiet).response), seen(&plan.response));
    assert!(handle(&context(ApiKey::Metadata, 9), &image, false, &request).create.is_empty());
}

#[test]
fn topics_by_id() {
    let image = image();
    let request = listed(&[(None, ID), (None, Uuid([9; 16])), (None, ID)]);
    let plan = ask(&image, 12, &request);
    assert_eq!(seen(&plan.response), [(None, 9, 100, 0), is("m1", 1, 0, 2)]);
    assert!(plan.create.is_empty());
    // An id beats a name, also the name of another topic.
    let mixed = listed(&[(Some("m2"), ID), (Some("m2"), Uuid::ZERO)]);
    assert_eq!(seen(&ask(&image, 13, &mixed).response), [is("m1", 1, 0, 2)]);
    for version in [10, 11] {
        for request in [listed(&[(Some("m1"), ID)]), listed(&[(None, Uuid::ZERO)])] {
            let response = ask(&image, version, &request).response;
            assert_eq!(response.topics[0].error_code, 42);
            assert!(response.brokers.is_empty() && response.cluster_id.is_none());
            assert_eq!(response.controller_id, -1);
        }
    }
    let unnamed = listed(&[(None, Uuid::ZERO), (Some("m1"), Uuid::ZERO)]);
    assert_eq!(seen(&ask(&image, 12, &unnamed).response), [is("", 0, 42, 0), is("m1", 0, 42, 0)]);
    assert_eq!(ask(&image, 13, &unnamed).response.error_code, 42);
}

#[test]
fn operations_where_asked_for() {
    let image = image();
    let request = MetadataRequest {
        include_cluster_authorized_operations: true,
        include_topic_authorized_operations: true,
        ..named(&["m1", "nope"])
    };
    for version in 0..=13 {
        let response = ask(&image, version, &request).response;
        let cluster = if (8..=10).contains(&version) { 8096 } else { i32::MIN };
        let topic = if version >= 8 { 3576 } else { i32::MIN };
        assert_eq!(response.cluster_authorized_operations, cluster, "version {version}");
        assert!(response.topics.iter().all(|t| t.topic_authorized_operations == topic), "version {version}");
    }
    let plain = named(&["m1"]);
    let response = ask(&image, 9, &plain).response;
    assert_eq!(response.cluster_authorized_operations, i32::MIN);
    assert_eq!(response.topics[0].topic_authorized_operations, i32::MIN);
}
