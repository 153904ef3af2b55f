//! The records of `__consumer_offsets` against those that Apache Kafka 4.3.1 wrote.
//!
//! The bytes are a broker's: a static consumer with the console consumer's defaults that joined, committed and was
//! removed, and an OffsetCommit of version 2 with a retention of a day whose group was then deleted.

use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;

use super::harness::{World, topic_id};
use crate::errors::ErrorCode;
use crate::group::offsets::CommittedOffset;
use crate::group::records::{Change, GroupMetadata, MemberMetadata};
use crate::group::{GroupConfig, GroupState, Replayed};
use crate::ids::{Offset, TimestampMs, Uuid};

/// Key and value of each record, in the order of the log.
const KAFKAS: [(&str, Option<&str>); 8] = [
    ("0002000c676f6c64656e2d67726f7570", Some("0003000000000000ffffffff000001a1fb31cd0d00000000")),
    (
        "0002000c676f6c64656e2d67726f7570",
        Some(concat!(
            "00030008636f6e73756d657200000001000572616e6765002b696e73742d312d62666133353531632d653933392d3434",
            "36342d393835642d323362396434643166643961000001a1fb31cd2100000001002b696e73742d312d62666133353531",
            "632d653933392d343436342d393835642d3233623964346431666439610006696e73742d31000d676f6c64656e2d636c",
            "69656e74000a2f3132372e302e302e31000493e00000afc80000001c0003000000010006676f6c64656effffffff0000",
            "0000ffffffffffff0000001e0003000000010006676f6c64656e000000020000000000000001ffffffff",
        )),
    ),
    (
        "0001000c676f6c64656e2d67726f75700006676f6c64656e00000001",
        Some("00040000000000000000ffffffff01000001a1fb31ce13010010f47c970e03f849079017dec5b41981aa"),
    ),
    (
        "0001000c676f6c64656e2d67726f75700006676f6c64656e00000000",
        Some("000400000000000000030000000001000001a1fb31ce13010010f47c970e03f849079017dec5b41981aa"),
    ),
    (
        "000100096f6c642d67726f75700006676f6c64656e00000001",
        Some("0001000000000000004d00046e6f7465000001a1fb320691000001a200586291"),
    ),
    (
        "0002000c676f6c64656e2d67726f7570",
        Some("00030008636f6e73756d657200000002ffffffff000001a1fb320d1800000000"),
    ),
    ("000100096f6c642d67726f75700006676f6c64656e00000001", None),
    ("000200096f6c642d67726f7570", None),
];

fn unhex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks(2);
    digits
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).expect("ascii"), 16).expect("hex"))
        .collect()
}

#[test]
fn kafkas_records_are_read_and_written_byte_for_byte() {
    for (key, value) in KAFKAS {
        let (key, value) = (unhex(key), value.map(unhex));
        let change =
            Change::decode(&key, value.as_deref()).expect("readable").expect("a kind that is served");
        let record = change.encode();
        assert_eq!((record.key, record.value), (key, value), "{change:?}");
    }
}

#[test]
fn kafkas_records_mean_what_kafka_meant() {
    let mut world = World::unloaded(GroupConfig::default());
    world.wall = 1_795_215_707_667;
    world.coordinator.start_loading(0);
    for (offset, (key, value)) in KAFKAS.iter().enumerate().take(5) {
        let offset = Offset(i64::try_from(offset).expect("few"));
        let value = value.map(unhex);
        let replayed = world.coordinator.replay(0, &unhex(key), value.as_deref(), offset);
        assert_eq!(replayed, Ok(Replayed::Applied));
    }
    world.coordinator.finish_loading(world.clock(), 0);
    let group = world.describe("golden-group");
    assert_eq!((group.error, group.state), (ErrorCode::None, Some(GroupState::Stable)));
    assert_eq!((group.protocol_type.as_str(), group.protocol.as_str()), ("consumer", "range"));
    let member = &group.members[0];
    assert_eq!(member.member_id, "inst-1-bfa3551c-e939-4464-985d-23b9d4d1fd9a");
    assert_eq!(member.group_instance_id.as_deref(), Some("inst-1"));
    assert_eq!((member.client_id.as_str(), member.client_host.as_str()), ("golden-client", "/127.0.0.1"));
    assert_eq!(crate::group::subscription::topics(&member.metadata), Some(vec!["golden".to_owned()]));
    assert_eq!(world.describe("old-group").state, Some(GroupState::Empty));
}

#[test]
fn older_versions_of_the_values_are_read() {
    let string = |text: &str| [&(text.len() as i16).to_be_bytes(), text.as_bytes()].concat();
    let key =
        |kind: i16| [&kind.to_be_bytes()[..], &string("g"), &string("t"), &3_i32.to_be_bytes()].concat();
    let start = |version: i16| [&version.to_be_bytes()[..], &42_i64.to_be_bytes()].concat();
    let (metadata, committed) = (string("note"), 1_000_i64.to_be_bytes());
    let values = [
        (0, [&start(0)[..], &metadata, &committed].concat(), -1, None),
        (1, [&start(0)[..], &metadata, &committed].concat(), -1, None),
        (1, [&start(1)[..], &metadata, &committed, &2_000_i64.to_be_bytes()].concat(), -1, Some(2_000)),
        (1, [&start(2)[..], &metadata, &committed].concat(), -1, None),
        (1, [&start(3)[..], &7_i32.to_be_bytes(), &metadata, &committed].concat(), 7, None),
    ];
    for (kind, value, leader_epoch, expires_at) in values {
        let change = Change::decode(&key(kind), Some(&value)).expect("readable").expect("served");
        let Change::Offset { group, topic, partition, value: Some(offset) } = change else {
            panic!("an offset")
        };
        assert_eq!((&*group, &*topic, partition), ("g", "t", 3));
        assert_eq!((offset.offset, offset.leader_epoch, &*offset.metadata), (42, leader_epoch, "note"));
        assert_eq!((offset.committed_at.0, offset.expires_at.map(|at| at.0)), (1_000, expires_at));
        assert_eq!(offset.topic_id, Uuid::ZERO);
    }
    let member = |rest: &[u8]| [&string("m")[..], &string("c"), &string("/h"), rest].concat();
    let blobs = [&1_i32.to_be_bytes()[..], b"s", &1_i32.to_be_bytes(), b"a"].concat();
    let group = |version: i16, since: &[u8], member: Vec<u8>| {
        let head = [&version.to_be_bytes()[..], &string("consumer"), &5_i32.to_be_bytes()].concat();
        [&head[..], &string("range"), &string("m"), since, &1_i32.to_be_bytes(), &member].concat()
    };
    let session = 10_000_i32.to_be_bytes();
    let v0 = group(0, &[], member(&[&session[..], &blobs].concat()));
    let timeouts = [&60_000_i32.to_be_bytes()[..], &session, &blobs].concat();
    let v1 = group(1, &[], member(&timeouts));
    let v2 = group(2, &9_i64.to_be_bytes(), member(&timeouts));
    let key = [&2_i16.to_be_bytes()[..], &string("g")].concat();
    for (value, rebalance_timeout_ms, since) in
        [(v0, 10_000, None), (v1, 60_000, None), (v2, 60_000, Some(9))]
    {
        let change = Change::decode(&key, Some(&value)).expect("readable").expect("served");
        let Change::Group { value: Some(group), .. } = change else { panic!("a group") };
        assert_eq!((group.generation_id, group.state_since.map(|at| at.0)), (5, since));
        let member = &group.members[0];
        assert_eq!(member.rebalance_timeout_ms, rebalance_timeout_ms, "version 0 takes the session timeout");
        assert_eq!((member.session_timeout_ms, &member.group_instance_id), (10_000, &None));
        assert_eq!((&*member.subscription, &*member.assignment), (&b"s"[..], &b"a"[..]));
    }
}

#[test]
fn what_is_not_served_is_skipped_and_what_is_broken_is_an_error() {
    let mut world = World::unloaded(GroupConfig::default());
    world.coordinator.start_loading(0);
    for kind in 3..=20_i16 {
        let key = [&kind.to_be_bytes()[..], b"\0\x01g"].concat();
        assert_eq!(
            world.coordinator.replay(0, &key, Some(b"\0\0whatever"), Offset(0)),
            Ok(Replayed::Skipped)
        );
        assert_eq!(world.coordinator.replay(0, &key, None, Offset(1)), Ok(Replayed::Skipped));
    }
    for (key, value) in KAFKAS {
        let (key, value) = (unhex(key), value.map(unhex));
        for cut in 0..key.len() {
            assert!(
                world.coordinator.replay(0, &key[..cut], value.as_deref(), Offset(0)).is_err(),
                "key of {cut}"
            );
        }
        for cut in 0..value.as_ref().map_or(0, Vec::len) {
            let value = value.as_ref().map(|value| &value[..cut]);
            assert!(world.coordinator.replay(0, &key, value, Offset(0)).is_err(), "value of {cut}");
        }
        let mut future = value.clone().unwrap_or_default();
        if !future.is_empty() {
            future[1] = 99;
            assert!(
                world.coordinator.replay(0, &key, Some(&future), Offset(0)).is_err(),
                "a version to come"
            );
        }
    }
    assert_eq!(world.coordinator.group_count(), 0);
}

#[test]
fn a_record_of_a_group_that_contradicts_itself_makes_a_consistent_group() {
    let member = |member_id: &str, instance: Option<&str>| MemberMetadata {
        member_id: member_id.to_owned(),
        group_instance_id: instance.map(str::to_owned),
        client_id: String::new(),
        client_host: String::new(),
        rebalance_timeout_ms: -5,
        session_timeout_ms: 0,
        subscription: Bytes::new(),
        assignment: Bytes::new(),
    };
    let metadata = GroupMetadata {
        protocol_type: Some("consumer".to_owned()),
        generation_id: i32::MAX,
        protocol: None,
        leader: Some("nobody".to_owned()),
        state_since: None,
        members: vec![member("a", Some("i")), member("a", None), member("b", Some("i")), member("c", None)],
    };
    let record = Change::Group { group: Arc::from("g"), value: Some(metadata) }.encode();
    let mut world = World::unloaded(GroupConfig::default());
    world.coordinator.start_loading(0);
    world.coordinator.replay(0, &record.key, record.value.as_deref(), Offset(0)).expect("readable");
    world.coordinator.finish_loading(world.clock(), 0);
    world.settle();
    assert_eq!(world.describe("g").members.len(), 2);
    world.advance(10);
    assert_eq!(world.describe("g").state, Some(GroupState::Empty));
}

prop_compose! {
    fn offsets()(
        offset in any::<i64>(), leader_epoch in any::<i32>(), metadata in ".{0,40}", committed_at in any::<i64>(),
        expires_at in proptest::option::of(0..i64::MAX), with_id in any::<bool>(),
    ) -> CommittedOffset {
        let plain = expires_at.is_none();
        CommittedOffset {
            offset,
            leader_epoch: if plain { leader_epoch } else { -1 },
            metadata: metadata.into(),
            committed_at: TimestampMs(committed_at),
            expires_at: expires_at.map(TimestampMs),
            topic_id: if with_id && plain { topic_id("some") } else { Uuid::ZERO },
            record_offset: Offset::NONE,
        }
    }
}

prop_compose! {
    fn members()(
        ids in [".{0,9}", ".{0,9}", ".{0,9}"], group_instance_id in proptest::option::of(".{0,9}"),
        rebalance_timeout_ms in 0..i32::MAX, session_timeout_ms in any::<i32>(),
        subscription in any::<Vec<u8>>(), assignment in any::<Vec<u8>>(),
    ) -> MemberMetadata {
        let [member_id, client_id, client_host] = ids;
        MemberMetadata {
            member_id, group_instance_id, client_id, client_host, rebalance_timeout_ms, session_timeout_ms,
            subscription: Bytes::from(subscription), assignment: Bytes::from(assignment),
        }
    }
}

prop_compose! {
    fn groups()(
        protocol_type in proptest::option::of(".{1,9}"), generation_id in any::<i32>(),
        protocol in proptest::option::of(".{0,9}"), leader in proptest::option::of(".{0,9}"),
        state_since in proptest::option::of(0..i64::MAX), members in proptest::collection::vec(members(), 0..4),
    ) -> GroupMetadata {
        let state_since = state_since.map(TimestampMs);
        GroupMetadata { protocol_type, generation_id, protocol, leader, state_since, members }
    }
}

proptest! {
    #[test]
    fn every_change_is_read_back_as_it_was_written(
        names in (".{0,20}", ".{0,20}"), partition in any::<i32>(),
        offset in proptest::option::of(offsets()), group in proptest::option::of(groups()),
    ) {
        let (name, topic) = (Arc::<str>::from(names.0), Arc::<str>::from(names.1));
        for change in [
            Change::Offset { group: name.clone(), topic, partition, value: offset },
            Change::Group { group: name, value: group },
        ] {
            let record = change.encode();
            prop_assert_eq!(Change::decode(&record.key, record.value.as_deref()), Ok(Some(change)));
        }
    }
}
