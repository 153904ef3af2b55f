//! What a replay refuses, what it says has changed, and that an image stays what it was.

use ottla_wire::abort_transaction_record::AbortTransactionRecord;
use ottla_wire::access_control_entry_record::AccessControlEntryRecord;
use ottla_wire::begin_transaction_record::BeginTransactionRecord;
use ottla_wire::client_quota_record::ClientQuotaRecord;
use ottla_wire::end_transaction_record::EndTransactionRecord;
use ottla_wire::no_op_record::NoOpRecord;
use ottla_wire::remove_topic_record::RemoveTopicRecord;
use ottla_wire::unfence_broker_record::UnfenceBrokerRecord;
use ottla_wire::unregister_broker_record::UnregisterBrokerRecord;

use super::*;
use crate::controller::testing::{DIR, image, image_with, replayed, setting, topic};
use crate::ids::Uuid;

fn partition(topic: u8, index: i32) -> PartitionRecord {
    PartitionRecord {
        partition_id: index,
        topic_id: Uuid([topic; 16]),
        replicas: vec![1],
        isr: vec![1],
        leader: 1,
        leader_epoch: 0,
        partition_epoch: 0,
        directories: vec![DIR],
        ..Default::default()
    }
}

fn change(topic: u8, index: i32) -> PartitionChangeRecord {
    PartitionChangeRecord { partition_id: index, topic_id: Uuid([topic; 16]), ..Default::default() }
}

fn remove(topic: u8) -> MetadataRecord<'static> {
    MetadataRecord::RemoveTopicRecord(RemoveTopicRecord { topic_id: Uuid([topic; 16]) })
}

fn feature(name: &'static str, level: i16) -> MetadataRecord<'static> {
    MetadataRecord::FeatureLevelRecord(FeatureLevelRecord { name: name.into(), feature_level: level })
}

fn refusal(record: &MetadataRecord<'_>) -> ReplayError {
    let image = image_with(&[topic("t", 1, 2)]);
    ImageBuilder::new(&image).apply(record).expect_err("it does not fit")
}

#[test]
fn contradictions_name_what_does_not_fit() {
    use MetadataRecord as R;
    let epoch = image().brokers[&NodeId(1)].epoch;
    let topic_record = |name: &'static str, id: u8| {
        R::TopicRecord(TopicRecord { name: name.into(), topic_id: Uuid([id; 16]) })
    };
    for (record, part) in [
        (topic_record("t", 2), "topic t exists with id"),
        (topic_record("u", 1), "of topic u is that of t"),
        (R::PartitionRecord(partition(1, 3)), "comes before its predecessors"),
        (R::PartitionRecord(partition(9, 0)), "there is no partition 0 of topic id"),
        (R::PartitionRecord(partition(1, -1)), "outside what a topic can have"),
        (
            R::PartitionRecord(PartitionRecord { leader_epoch: -1, ..partition(1, 0) }),
            "goes back from leader epoch 0",
        ),
        (R::PartitionChangeRecord(change(1, 2)), "there is no partition 2"),
        (R::PartitionChangeRecord(change(9, 0)), "there is no partition 0"),
        (remove(9), "there is no topic with id"),
        (
            R::ProducerIdsRecord(ProducerIdsRecord { next_producer_id: 0, ..Default::default() }),
            "next producer id 0 is not above 0",
        ),
        (R::UnfenceBrokerRecord(UnfenceBrokerRecord { id: 2, epoch }), "broker 2 is not registered"),
        (
            R::UnfenceBrokerRecord(UnfenceBrokerRecord { id: 1, epoch: epoch + 1 }),
            "broker 1 is registered with epoch",
        ),
    ] {
        let error = refusal(&record);
        assert!(matches!(error, ReplayError::Contradiction { .. }), "{error}");
        assert!(error.to_string().contains(part), "{error} lacks {part:?}");
    }
}

#[test]
fn what_cannot_be_honoured_is_refused_and_what_need_not_be_is_skipped() {
    use MetadataRecord as R;
    let reassigned = PartitionRecord { adding_replicas: vec![2], ..partition(1, 0) };
    for record in [
        R::PartitionRecord(reassigned),
        R::ConfigRecord(ConfigRecord { resource_type: 3, ..Default::default() }),
        feature("metadata.version", 31),
        feature("metadata.version", 6),
        feature("transaction.version", 3),
        feature("unheard.of.version", 1),
    ] {
        let error = refusal(&record);
        assert!(matches!(error, ReplayError::Unsupported { .. }), "{error}");
        assert!(error.to_string().contains(record.name()), "{error}");
    }
    let before = image();
    let (after, delta) = replayed(&before, &[R::NoOpRecord(NoOpRecord {}), feature("group.version", 0)]);
    assert_eq!(after.offset, Offset(before.offset.0 + 2));
    assert!(after == Image { offset: after.offset, ..before });
    assert_eq!(delta, ImageDelta { features_changed: true, ..Default::default() });
}

#[test]
fn what_a_log_of_kafkas_says_beyond_what_is_served_stays_and_is_counted() {
    use MetadataRecord as R;
    let before = image();
    let mut builder = ImageBuilder::new(&before);
    let acl = R::AccessControlEntryRecord(AccessControlEntryRecord::default());
    let quota = R::ClientQuotaRecord(ClientQuotaRecord::default());
    for record in [&acl, &quota, &acl, &feature("transaction.version", 2)] {
        builder.apply(record).expect("it is kept");
    }
    let counted: Vec<_> = builder.without_effect().iter().map(|(name, count)| (*name, *count)).collect();
    assert_eq!(counted, [("AccessControlEntryRecord", 2), ("ClientQuotaRecord", 1)]);
    let (after, _) = builder.finish(Offset(before.offset.0 + 4));
    assert_eq!(after.features.get("transaction.version"), Some(&2), "its level is as it was");
}

#[test]
fn a_transaction_counts_as_a_whole_or_not_at_all() {
    use MetadataRecord as R;
    let begin = R::BeginTransactionRecord(BeginTransactionRecord::default());
    let end = R::EndTransactionRecord(EndTransactionRecord {});
    let abort = R::AbortTransactionRecord(AbortTransactionRecord::default());
    let after = |records: &[&MetadataRecord<'static>]| {
        let mut builder = ImageBuilder::new(&image());
        for record in topic("t", 1, 1).iter().chain(records.iter().copied()).chain(&topic("u", 2, 1)) {
            builder.apply(record).expect("the test's records fit");
        }
        let open = builder.is_in_transaction();
        let (image, delta) = builder.finish(Offset(100));
        let names: Vec<String> = image.topics.iter().map(|topic| topic.name.to_string()).collect();
        assert_eq!(delta.topics_created.len(), names.len(), "image and delta go together");
        (names.join(" "), open)
    };
    let v = topic("v", 3, 1);
    let inside: Vec<_> = std::iter::once(&begin).chain(&v).collect();
    let with = |last: &[&'static str], closing: Option<&MetadataRecord<'static>>| {
        let records: Vec<_> = inside.iter().copied().chain(closing).collect();
        let (names, open) = after(&records);
        let mut sorted: Vec<_> = names.split(' ').collect();
        sorted.sort_unstable();
        assert_eq!(sorted, last);
        open
    };
    assert!(!with(&["t", "u", "v"], Some(&end)), "ended");
    assert!(!with(&["t", "u"], Some(&abort)), "aborted");
    assert!(with(&["t"], None), "never ended: what came after its begin is part of it");
    for (record, reason) in [(&end, "no transaction has begun"), (&abort, "no transaction has begun")] {
        assert!(refusal(record).to_string().contains(reason));
    }
    let mut twice = ImageBuilder::new(&image());
    twice.apply(&begin).expect("the first");
    assert!(twice.apply(&begin).is_err(), "transactions do not nest");
}

#[test]
fn a_change_of_leader_is_a_new_epoch_and_any_change_a_new_partition_epoch() {
    use MetadataRecord as R;
    let image = image_with(&[topic("t", 1, 2)]);
    let no_leader = R::PartitionChangeRecord(PartitionChangeRecord { leader: -1, ..change(1, 1) });
    let smaller = R::PartitionChangeRecord(PartitionChangeRecord { isr: Some(vec![]), ..change(1, 1) });
    let (after, delta) = replayed(&image, &[no_leader, smaller]);
    let key = TopicIdPartition { topic_id: Uuid([1; 16]), partition: 1 };
    let changed = after.topics.partition(key).expect("it exists");
    assert_eq!(
        (changed.leader, changed.leader_epoch, changed.partition_epoch),
        (NodeId(-1), LeaderEpoch(1), 2)
    );
    assert!(changed.isr.is_empty());
    assert_eq!(delta.partitions_changed.into_iter().collect::<Vec<_>>(), [key]);
    let before = image.topics.partition(key).expect("it exists");
    assert_eq!((before.leader, before.leader_epoch), (NodeId(1), LeaderEpoch(0)), "the other image stays");
}

#[test]
fn the_delta_names_what_shards_open_and_delete() {
    let image = image_with(&[topic("old", 1, 2), setting(2, "old", "retention.ms", "5")]);
    let mut records = topic("new", 2, 1);
    records.push(MetadataRecord::PartitionRecord(partition(1, 2)));
    records.extend(setting(2, "new", "retention.ms", "6"));
    records.extend(setting(4, "", "log.retention.ms", "7"));
    let (grown, delta) = replayed(&image, &records);
    let key = |topic, partition| TopicIdPartition { topic_id: Uuid([topic; 16]), partition };
    assert_eq!(delta.topics_created.iter().copied().collect::<Vec<_>>(), [Uuid([2; 16])]);
    assert_eq!(delta.partitions_added.iter().copied().collect::<Vec<_>>(), [key(1, 2), key(2, 0)]);
    let configs: Vec<_> = delta.configs_changed.iter().cloned().collect();
    assert_eq!(configs, [ConfigResource::topic("new"), ConfigResource::all_brokers()]);
    assert!(delta.partitions_changed.is_empty() && delta.topics_removed.is_empty() && !delta.brokers_changed);

    let mut records = setting(2, "old", "retention.ms", "9");
    records.push(remove(1));
    let (shrunk, delta) = replayed(&grown, &records);
    assert_eq!(delta.topics_removed[&Uuid([1; 16])].partitions.len(), 3);
    assert!(delta.configs_changed.is_empty(), "the settings of a topic that is gone are of no interest");
    assert_eq!((shrunk.topics.len(), shrunk.topics.partition_count()), (1, 1));
    assert!(shrunk.topics.colliding("old").is_none());
}

#[test]
fn what_comes_and_goes_within_one_replay_leaves_no_trace() {
    let mut records = topic("a.b", 3, 2);
    records.extend(setting(2, "a.b", "retention.ms", "6"));
    records.push(remove(3));
    let image = image();
    let (after, delta) = replayed(&image, &records);
    assert_eq!(delta, ImageDelta::default());
    assert!(after == Image { offset: after.offset, ..image });
}

#[test]
fn a_recreated_topic_is_removed_and_created() {
    let image = image_with(&[topic("t", 1, 2)]);
    let mut records = vec![remove(1)];
    records.extend(topic("t", 2, 1));
    let (after, delta) = replayed(&image, &records);
    assert_eq!(after.topics.by_name("t").map(|topic| topic.id), Some(Uuid([2; 16])));
    assert_eq!(delta.topics_removed.keys().copied().collect::<Vec<_>>(), [Uuid([1; 16])]);
    assert_eq!(delta.topics_created.into_iter().collect::<Vec<_>>(), [Uuid([2; 16])]);
}

#[test]
fn a_broker_comes_changes_and_goes() {
    let image = image();
    let epoch = image.brokers[&NodeId(1)].epoch;
    let gone =
        MetadataRecord::UnregisterBrokerRecord(UnregisterBrokerRecord { broker_id: 1, broker_epoch: epoch });
    let (after, delta) = replayed(&image, &[gone]);
    assert!(after.brokers.is_empty() && delta.brokers_changed);
    assert_eq!(after.controller_for_clients(), NodeId(-1));
    let stopping = BrokerRegistrationChangeRecord {
        broker_id: 1,
        broker_epoch: epoch,
        fenced: 1,
        in_controlled_shutdown: 1,
        ..Default::default()
    };
    let (after, _) = replayed(&image, &[MetadataRecord::BrokerRegistrationChangeRecord(stopping)]);
    let broker = &after.brokers[&NodeId(1)];
    assert!(broker.fenced && broker.in_controlled_shutdown);
    assert_eq!(broker.log_dirs, [DIR], "no directories in the record means no change");
    assert!(after.alive_broker(NodeId(1)).is_none());
}
