//! Compaction of a running broker: a topic and the committed offsets. Segments are rolled by the records' own
//! timestamps, and every wait is for what the cleaner must come to, however long it takes.

use std::collections::BTreeMap;
use std::path::Path;

use ottla::errors::ErrorCode;
use ottla::protocol::compression::Codec;
use ottla_tests::broker::{Broker, Options};
use ottla_tests::keyed::{KeyAndValue, Keyed, produce, read_keyed, wait_for};
use ottla_tests::topics::{create_topic, set_topic_config};
use ottla_tools::client::Client;
use ottla_wire::ApiKey;
use ottla_wire::delete_groups_request::DeleteGroupsRequest;
use ottla_wire::delete_groups_response::DeleteGroupsResponse;
use ottla_wire::offset_commit_request::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use ottla_wire::offset_commit_response::OffsetCommitResponse;
use ottla_wire::offset_fetch_request::{OffsetFetchRequest, OffsetFetchRequestTopic};
use ottla_wire::offset_fetch_response::OffsetFetchResponse;

/// A broker whose cleaner looks for work all the time.
fn start(data: &Path) -> Broker {
    let options = Options::new(data).set("log.cleaner.backoff.ms", 20).set("log.roll.ms", 1);
    Broker::start(&options.set("offsets.topic.num.partitions", 1).set("log.cleaner.delete.retention.ms", 0))
}

fn client(broker: &Broker) -> Client {
    Client::connect(broker.address(), "compaction").expect("the broker listens")
}

const COMPACTED: [(&str, &str); 2] = [("cleanup.policy", "compact"), ("min.cleanable.dirty.ratio", "0.01")];

fn record(key: usize, value: &str) -> KeyAndValue {
    (Some(format!("key-{key}").into_bytes()), Some(value.as_bytes().to_vec()))
}

/// Produces the batches, each a second later than the one before, so that each begins a segment; returns what a map of
/// last values makes of them, with the offsets.
fn produce_all(
    client: &mut Client,
    topic: &str,
    from_s: i64,
    batches: &[Vec<KeyAndValue>],
) -> BTreeMap<Vec<u8>, Keyed> {
    let mut last = BTreeMap::new();
    for (at, (codec, batch)) in (0..).zip(Codec::ALL.into_iter().cycle().zip(batches)) {
        let (error, _, base) = produce(client, topic, (from_s + at) * 1_000, codec, batch);
        assert_eq!(error, 0);
        for (offset, (key, value)) in (base..).zip(batch) {
            let record = Keyed { offset, key: key.clone(), value: value.clone() };
            last.insert(key.clone().expect("a key"), record);
        }
    }
    last
}

fn by_offset(last: BTreeMap<Vec<u8>, Keyed>) -> Vec<Keyed> {
    let mut records: Vec<_> = last.into_values().collect();
    records.sort_by_key(|record| record.offset);
    records
}

#[test]
fn a_compacted_topic_comes_down_to_its_last_values() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let broker = start(directory.path());
    create_topic(broker.address(), "t", 1, &COMPACTED);
    let mut client = client(&broker);
    let batches: Vec<Vec<KeyAndValue>> = (0..40)
        .map(|at| (0..4).map(|part| record((at * 3 + part) % 10, &format!("{at}-{part}"))).collect())
        .collect();
    let mut last = produce_all(&mut client, "t", 1_000, &batches);
    // A tombstone: its key is gone for good when a later cleaning finds its horizon passed.
    let gone = [vec![(Some(b"key-3".to_vec()), None)]];
    last.extend(produce_all(&mut client, "t", 2_000, &gone));
    let mut at = 3_000;
    let left = wait_for("the last values alone", || {
        at += 1;
        // Something new each time: a cleaning begins only where something is dirty.
        last.extend(produce_all(&mut client, "t", at, &[vec![record(90, "again")]]));
        let left = read_keyed(broker.address(), "t", 0);
        let settled = left.iter().filter(|record| record.key != Some(b"key-90".to_vec()));
        (settled.count() == 9).then_some(left)
    });
    let mut expected = last.clone();
    expected.remove(&b"key-3"[..]);
    expected.remove(&b"key-90"[..]);
    let mut settled = left;
    settled.retain(|record| record.key != Some(b"key-90".to_vec()));
    assert_eq!(settled, by_offset(expected.clone()), "each where it was");

    let keyless = [record(1, "fine"), (None, Some(b"lost".to_vec())), record(2, "fine"), (None, None)];
    let (error, at_fault, _) = produce(&mut client, "t", 9_000_000, Codec::Zstd, &keyless);
    assert_eq!(
        (error, at_fault),
        (ErrorCode::InvalidRecord.code(), vec![1, 3]),
        "the whole batch is refused"
    );

    assert_eq!(broker.stop(), 0);
    let checkpoint = std::fs::read_to_string(directory.path().join("cleaner-offset-checkpoint"));
    assert!(checkpoint.expect("it is there").lines().any(|line| line.starts_with("t 0 ")));
    for crash in [true, false] {
        let broker = start(directory.path());
        let mut left = read_keyed(broker.address(), "t", 0);
        left.retain(|record| record.key != Some(b"key-90".to_vec()));
        assert_eq!(left, by_offset(expected.clone()), "after a start");
        if crash { broker.kill() } else { assert_eq!(broker.stop(), 0) }
    }
}

#[test]
fn a_changed_cleanup_policy_takes_effect() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let broker = start(directory.path());
    create_topic(broker.address(), "t", 1, &[("min.cleanable.dirty.ratio", "0.01")]);
    let mut client = client(&broker);
    let batches: Vec<Vec<KeyAndValue>> = (0..20).map(|at| vec![record(at % 2, "v"), (None, None)]).collect();
    for (at, batch) in (0..).zip(&batches) {
        let (error, ..) = produce(&mut client, "t", at * 1_000, Codec::None, batch);
        assert_eq!(error, 0, "without compaction a record needs no key");
    }
    assert_eq!(read_keyed(broker.address(), "t", 0).len(), 40);
    set_topic_config(broker.address(), "t", "cleanup.policy", "compact,delete");
    let (error, at_fault, _) = produce(&mut client, "t", 50_000, Codec::None, &batches[0]);
    assert_eq!((error, at_fault), (ErrorCode::InvalidRecord.code(), vec![1]));
    // What is in the active segment stays as it is; the records before lose their duplicates and what has no key.
    wait_for("a compacted topic", || {
        let left = read_keyed(broker.address(), "t", 0);
        (left.len() <= 4).then_some(())
    });
    assert_eq!(broker.stop(), 0);
}

fn commit(client: &mut Client, group: &str, topic: &str, offset: i64) {
    let partition = OffsetCommitRequestPartition {
        partition_index: 0,
        committed_offset: offset,
        committed_leader_epoch: -1,
        committed_metadata: Some("note".into()),
    };
    let topics = vec![OffsetCommitRequestTopic {
        name: topic.into(),
        partitions: vec![partition],
        ..Default::default()
    }];
    let request = OffsetCommitRequest {
        group_id: group.into(),
        generation_id_or_member_epoch: -1,
        topics,
        ..Default::default()
    };
    let code = wait_for("a coordinator", || {
        let reply: OffsetCommitResponse<'_> =
            client.call(ApiKey::OffsetCommit, 8, &request).expect("the broker answers");
        let code = reply.topics[0].partitions[0].error_code;
        let retry = [ErrorCode::CoordinatorNotAvailable, ErrorCode::NotCoordinator].map(ErrorCode::code);
        (!retry.contains(&code) && code != ErrorCode::CoordinatorLoadInProgress.code()).then_some(code)
    });
    assert_eq!(code, 0);
}

/// The committed offset of partition 0, -1 for none.
fn committed(client: &mut Client, group: &str, topic: &str) -> i64 {
    let topics = Some(vec![OffsetFetchRequestTopic { name: topic.into(), partition_indexes: vec![0] }]);
    let request = OffsetFetchRequest { group_id: group.into(), topics, ..Default::default() };
    wait_for("a loaded coordinator", || {
        let reply: OffsetFetchResponse<'_> =
            client.call(ApiKey::OffsetFetch, 7, &request).expect("the broker answers");
        let is_ready = reply.error_code == 0 && reply.topics[0].partitions[0].error_code == 0;
        is_ready.then(|| reply.topics[0].partitions[0].committed_offset)
    })
}

#[test]
fn committed_offsets_are_compacted_and_survive_it() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let broker = start(directory.path());
    create_topic(broker.address(), "t", 1, &[]);
    let mut client = client(&broker);
    // The topic of the offsets is made by whoever asks for a coordinator first.
    find_coordinator(&mut client);
    set_topic_config(broker.address(), "__consumer_offsets", "min.cleanable.dirty.ratio", "0.01");
    for offset in 0..60 {
        commit(&mut client, "kept", "t", offset);
        commit(&mut client, "deleted", "t", offset);
    }
    let request = DeleteGroupsRequest { groups_names: vec!["deleted".into()] };
    let reply: DeleteGroupsResponse<'_> =
        client.call(ApiKey::DeleteGroups, 2, &request).expect("the broker answers");
    assert_eq!(reply.results[0].error_code, 0);
    let mut offset = 60;
    wait_for("committed offsets of one group alone", || {
        commit(&mut client, "kept", "t", offset);
        offset += 1;
        let left = read_keyed(broker.address(), "__consumer_offsets", 0);
        let names = |record: &&Keyed| {
            let key = record.key.as_ref().expect("every record has a key");
            key.windows(7).any(|part| part == b"deleted")
        };
        let deleted = left.iter().filter(names).count();
        (deleted == 0 && left.len() < 20).then_some(())
    });
    assert_eq!(committed(&mut client, "kept", "t"), offset - 1);
    assert_eq!(committed(&mut client, "deleted", "t"), -1);
    broker.kill();
    let broker = start(directory.path());
    let mut client = self::client(&broker);
    assert_eq!(committed(&mut client, "kept", "t"), offset - 1, "after a crash");
    assert_eq!(committed(&mut client, "deleted", "t"), -1);
    commit(&mut client, "kept", "t", 5);
    assert_eq!(broker.stop(), 0);
    let broker = start(directory.path());
    assert_eq!(committed(&mut self::client(&broker), "kept", "t"), 5, "after a stop");
}

fn find_coordinator(client: &mut Client) {
    use ottla_wire::find_coordinator_request::FindCoordinatorRequest;
    use ottla_wire::find_coordinator_response::FindCoordinatorResponse;
    let request = FindCoordinatorRequest { key: "kept".into(), ..Default::default() };
    wait_for("a coordinator", || {
        let reply: FindCoordinatorResponse<'_> =
            client.call(ApiKey::FindCoordinator, 2, &request).expect("the broker answers");
        (reply.error_code == 0).then_some(())
    });
}
