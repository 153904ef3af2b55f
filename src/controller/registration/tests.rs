//! What a start writes, and that a restart with nothing new writes nothing.

use super::*;
use crate::controller::record_version;
use crate::controller::testing::{DIR, image, image_with, registration, replayed, topic};
use crate::ids::{LeaderEpoch, TopicIdPartition};

const OTHER_DIR: Uuid = Uuid([8; 16]);

fn names(records: &[MetadataRecord<'_>]) -> Vec<&'static str> {
    records.iter().map(MetadataRecord::name).collect()
}

#[test]
fn a_first_start_finalizes_registers_and_unfences() {
    let empty = Image::empty("c", NodeId(1));
    let records = activate(&empty, &registration(), Offset(0));
    assert_eq!(
        names(&records),
        ["FeatureLevelRecord", "RegisterBrokerRecord", "BrokerRegistrationChangeRecord"]
    );
    assert_eq!(records.iter().map(record_version).collect::<Vec<_>>(), [0, 4, 0]);
    let (image, delta) = replayed(&empty, &records);
    assert!(delta.brokers_changed && delta.features_changed);
    assert_eq!(image.features.get(METADATA_VERSION), Some(&30));
    let broker = image.alive_broker(NodeId(1)).expect("it is unfenced");
    assert_eq!((broker.epoch, broker.rack.as_deref()), (1, Some("r1")));
    assert_eq!(broker.endpoint("external").map(|endpoint| endpoint.port), Some(19092));
    assert_eq!(image.offset, Offset(2));
}

#[test]
fn a_restart_writes_only_what_changed() {
    let image = image_with(&[topic("t", 1, 2)]);
    let again = Registration { incarnation_id: Uuid([3; 16]), ..registration() };
    assert!(activate(&image, &again, Offset(10)).is_empty());
    let moved = Registration { rack: None, ..again.clone() };
    let records = activate(&image, &moved, Offset(10));
    assert_eq!(names(&records), ["RegisterBrokerRecord", "BrokerRegistrationChangeRecord"]);
    let (after, _) = replayed(&image, &records);
    let broker = after.alive_broker(NodeId(1)).expect("it is unfenced");
    assert_eq!((broker.epoch, broker.incarnation_id, broker.rack.clone()), (10, Uuid([3; 16]), None));
    assert!(activate(&after, &moved, Offset(20)).is_empty());
    let mut other_port = again;
    other_port.endpoints[0].port = 1;
    assert_eq!(activate(&image, &other_port, Offset(10)).len(), 2);
}

#[test]
fn leader_epochs_stay_over_a_restart_and_rise_over_a_lost_directory() {
    let image = image_with(&[topic("t", 1, 2)]);
    let key = TopicIdPartition { topic_id: Uuid([1; 16]), partition: 0 };
    let state = |image: &Image| {
        let partition = image.topics.partition(key).expect("it exists");
        (partition.leader, partition.leader_epoch)
    };
    assert_eq!(state(&image), (NodeId(1), LeaderEpoch(0)));
    let elsewhere = Registration { log_dirs: vec![OTHER_DIR], ..registration() };
    let records = activate(&image, &elsewhere, Offset(10));
    assert_eq!(names(&records)[2..], ["PartitionChangeRecord", "PartitionChangeRecord"]);
    let (lost, delta) = replayed(&image, &records);
    assert_eq!(state(&lost), (NodeId(-1), LeaderEpoch(1)));
    assert_eq!(delta.partitions_changed.len(), 2);
    let (back, _) = replayed(&lost, &activate(&lost, &registration(), Offset(20)));
    assert_eq!(state(&back), (NodeId(1), LeaderEpoch(2)));
    assert!(activate(&back, &registration(), Offset(30)).is_empty());
}

/// Topics that were made below metadata.version 3.7-IV2 have records without directories, whatever runs them later.
#[test]
fn a_partition_of_before_directories_is_led_where_it_is() {
    let mut records = topic("t", 1, 2);
    for record in &mut records {
        if let MetadataRecord::PartitionRecord(partition) = record {
            partition.directories = Vec::new();
        }
    }
    let image = image_with(&[records]);
    let of = |image: &Image, partition: usize| {
        let topic = image.topics.by_name("t").expect("it exists");
        let PartitionImage { leader, leader_epoch, directories, .. } = &topic.partitions[partition];
        (*leader, *leader_epoch, directories.to_vec())
    };
    assert_eq!(of(&image, 0), (NodeId(1), LeaderEpoch(0), vec![Uuid::ZERO]));
    let name = TopicPartition { topic: Arc::from("t"), partition: 1 };
    let two = Registration { log_dirs: vec![DIR, OTHER_DIR], ..registration() };
    let node = Registration { found: [(name, OTHER_DIR)].into(), ..two };
    let (after, _) = replayed(&image, &activate(&image, &node, Offset(10)));
    assert_eq!(of(&after, 0), (NodeId(1), LeaderEpoch(0), vec![DIR]));
    assert_eq!(of(&after, 1), (NodeId(1), LeaderEpoch(0), vec![OTHER_DIR]));
    assert!(activate(&after, &node, Offset(20)).is_empty(), "once and for all");
}

#[test]
fn a_partition_that_may_be_shorter_is_led_anew() {
    let image = image_with(&[topic("t", 1, 2)]);
    let name = |partition| TopicPartition { topic: Arc::from("t"), partition };
    let shortened = Registration { shortened: [name(1)].into(), ..registration() };
    let records = activate(&image, &shortened, Offset(10));
    assert_eq!(names(&records), ["PartitionChangeRecord"]);
    let (after, _) = replayed(&image, &records);
    let states = |image: &Image| {
        let topic = image.topics.by_name("t").expect("it exists");
        let state = |partition: &PartitionImage| (partition.leader, partition.leader_epoch.0);
        topic.partitions.iter().map(state).collect::<Vec<_>>()
    };
    assert_eq!(states(&after), [(NodeId(1), 0), (NodeId(1), 1)]);
    let lost = Registration { log_dirs: vec![OTHER_DIR], ..shortened };
    let (after, _) = replayed(&image, &activate(&image, &lost, Offset(10)));
    assert_eq!(states(&after), [(NodeId(-1), 1); 2], "what cannot be led is not led anew");
}

#[test]
fn the_only_replica_leads_again_although_it_was_taken_out_of_the_in_sync_ones() {
    let mut image = image_with(&[topic("t", 1, 2)]);
    image.topics.change(Uuid([1; 16]), |partitions| {
        // As Kafka leaves a partition at its controlled shutdown with eligible leader replicas.
        partitions[0].leader = NodeId(-1);
        partitions[0].isr = Box::default();
        partitions[1] = partitions[0].clone();
        partitions[1].replicas = [NodeId(2), NodeId(1)].into();
        partitions[1].directories = [OTHER_DIR, DIR].into();
    });
    let records = activate(&image, &registration(), Offset(10));
    let [MetadataRecord::PartitionChangeRecord(change)] = &records[..] else { panic!("{records:?}") };
    assert_eq!((change.partition_id, change.leader), (0, 1), "another replica may know more: it stays");
    assert_eq!((&change.isr, &change.eligible_leader_replicas), (&Some(vec![1]), &Some(vec![])));
    assert_eq!(
        MetadataRecord::decode(&records[0].encode(record_version(&records[0]))).as_ref(),
        Ok(&records[0])
    );
    let (after, _) = replayed(&image, &records);
    let led = &after.topics.by_name("t").expect("it exists").partitions[0];
    assert_eq!((led.leader, led.leader_epoch, &*led.isr), (NodeId(1), LeaderEpoch(1), &[NodeId(1)][..]));
    assert!(activate(&after, &registration(), Offset(20)).is_empty());
}

#[test]
fn a_partition_that_was_moved_is_led_from_where_it_is() {
    let name = |partition| TopicPartition { topic: "t".into(), partition };
    let both = Registration { log_dirs: vec![DIR, OTHER_DIR], ..registration() };
    let (image, _) = replayed(&image_with(&[topic("t", 1, 2)]), &activate(&image(), &both, Offset(3)));
    let as_known = Registration { found: [(name(0), DIR), (name(1), DIR)].into(), ..both.clone() };
    assert!(activate(&image, &as_known, Offset(10)).is_empty());
    let moved = Registration { found: [(name(0), DIR), (name(1), OTHER_DIR)].into(), ..both };
    let records = activate(&image, &moved, Offset(10));
    assert_eq!(names(&records), ["PartitionChangeRecord"]);
    let (after, _) = replayed(&image, &records);
    let partitions = &after.topics.by_name("t").expect("it exists").partitions;
    assert_eq!((&*partitions[0].directories, &*partitions[1].directories), (&[DIR][..], &[OTHER_DIR][..]));
    assert_eq!((partitions[1].leader, partitions[1].leader_epoch), (NodeId(1), LeaderEpoch(0)));
    assert!(activate(&after, &moved, Offset(20)).is_empty());
    // Its old directory is of no matter to it any more; its new one is.
    let records = log_dirs_changed(&after, &[OTHER_DIR]);
    let (lost, _) = replayed(&after, &records);
    let leaders = &lost.topics.by_name("t").expect("it exists").partitions;
    assert_eq!((leaders[0].leader, leaders[1].leader), (NodeId(-1), NodeId(1)));
}

#[test]
fn a_directory_that_fails_takes_its_leaders_with_it() {
    let both = Registration { log_dirs: vec![DIR, OTHER_DIR], ..registration() };
    let (image, _) = replayed(&image(), &activate(&image(), &both, Offset(3)));
    let (image, _) = replayed(&image, &topic("t", 1, 1));
    assert!(log_dirs_changed(&image, &[DIR, OTHER_DIR]).is_empty());
    let records = log_dirs_changed(&image, &[OTHER_DIR]);
    assert_eq!(names(&records), ["BrokerRegistrationChangeRecord", "PartitionChangeRecord"]);
    assert_eq!(record_version(&records[0]), 2);
    let (after, _) = replayed(&image, &records);
    assert_eq!(after.brokers[&NodeId(1)].log_dirs, [OTHER_DIR]);
    assert_eq!(after.topics.by_name("t").expect("it exists").partitions[0].leader, NodeId(-1));
    let records = log_dirs_changed(&image, &[]);
    assert_eq!(names(&records), ["PartitionChangeRecord"]);
    assert!(!replayed(&image, &records).0.brokers[&NodeId(1)].fenced);
}

#[test]
fn every_record_has_a_version_that_carries_it() {
    let empty = Image::empty("c", NodeId(1));
    let mut records = activate(&empty, &registration(), Offset(0));
    records.extend(topic("t", 1, 1));
    for record in &records {
        let bytes = record.encode(record_version(record));
        assert_eq!(MetadataRecord::decode(&bytes).as_ref(), Ok(record));
    }
}
