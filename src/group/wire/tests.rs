//! Every version of every API through the real encoding, both ways.

use std::borrow::Cow;

use bytes::Bytes;
use ottla_wire::delete_groups_request::DeleteGroupsRequest;
use ottla_wire::describe_groups_request::DescribeGroupsRequest;
use ottla_wire::find_coordinator_request::FindCoordinatorRequest;
use ottla_wire::join_group_request::{JoinGroupRequest, JoinGroupRequestProtocol};
use ottla_wire::leave_group_request::{LeaveGroupRequest, MemberIdentity};
use ottla_wire::list_groups_request::ListGroupsRequest;
use ottla_wire::offset_commit_request::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use ottla_wire::offset_delete_request::{
    OffsetDeleteRequest, OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use ottla_wire::offset_fetch_request::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use ottla_wire::sync_group_request::SyncGroupRequest;
use ottla_wire::{Message, Reader, Writer};

use super::*;
use crate::errors::ErrorCode;
use crate::group::{
    CommitReply, CommittedTopic, DeleteOffsetsReply, DeleteReply, DescribeReply, DescribedMember, FetchReply,
    FetchedPartition, FetchedTopic, GroupReply, GroupRequest, GroupState, JoinReply, JoinedMember,
    LeaveReply, LeftMember, ListReply, ListedGroup, SyncReply,
};
use crate::ids::Uuid;
use crate::request::operations;

const TOPIC_ID: Uuid = Uuid([9; 16]);
const UNKNOWN_ID: Uuid = Uuid([8; 16]);
const NONE: i16 = 0;
const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;
const UNKNOWN_TOPIC_ID: i16 = 100;

/// One topic of two partitions.
struct Names;

impl TopicNames for Names {
    fn name_of(&self, topic_id: TopicId) -> Option<&str> {
        (topic_id == TOPIC_ID).then_some("topic")
    }

    fn id_of(&self, name: &str) -> Option<TopicId> {
        (name == "topic").then_some(TOPIC_ID)
    }

    fn has_partition(&self, topic_id: TopicId, partition: i32) -> bool {
        topic_id == TOPIC_ID && (0..2).contains(&partition)
    }
}

/// The bytes of `message` in `version`; what the version cannot carry fails the test.
fn bytes_of<'a, M: Message<'a>>(message: &M, version: i16) -> Vec<u8> {
    let size = message.size(version).unwrap_or_else(|why| panic!("{} version {version}: {why}", M::NAME));
    let mut writer = Writer::with_capacity(size);
    message.encode(&mut writer, version);
    let (bytes, splices) = (writer.buf, writer.splices);
    assert!(splices.is_empty());
    bytes
}

/// What a peer reads that speaks `version`.
fn read<'a, M: Message<'a>>(bytes: &'a [u8], version: i16) -> M {
    let mut reader = Reader::new(bytes);
    let message = M::decode(&mut reader, version).expect("what was written is readable");
    reader.finish().expect("and nothing more");
    message
}

fn str(text: &str) -> Cow<'_, str> {
    Cow::Borrowed(text)
}

fn client() -> Client<'static> {
    Client { id: "client", host: "/127.0.0.1" }
}

#[test]
fn join_group() {
    for version in 0..=9 {
        let request = JoinGroupRequest {
            group_id: str("g"),
            session_timeout_ms: 7_000,
            rebalance_timeout_ms: if version == 0 { -1 } else { 60_000 },
            member_id: str("m"),
            group_instance_id: (version >= 5).then(|| str("i")),
            protocol_type: str("consumer"),
            protocols: vec![JoinGroupRequestProtocol {
                name: str("range"),
                metadata: Cow::Borrowed(b"meta"),
            }],
            reason: None,
        };
        let sent = bytes_of(&request, version);
        let decoded = join_group::decode(version, &read(&sent, version), client());
        let GroupRequest::Join(decoded) = decoded else { panic!("not a join") };
        assert_eq!(decoded.rebalance_timeout_ms, if version == 0 { 7_000 } else { 60_000 });
        assert_eq!(decoded.requires_member_id, version >= 4);
        assert_eq!(decoded.supports_skip_assignment, version >= 9);
        assert_eq!(decoded.group_instance_id.as_deref(), (version >= 5).then_some("i"));
        assert_eq!((decoded.client_id.as_str(), decoded.client_host.as_str()), ("client", "/127.0.0.1"));
        assert_eq!(decoded.protocols[0].metadata, "meta");

        let members = vec![JoinedMember {
            member_id: "m".to_owned(),
            group_instance_id: Some("i".to_owned()),
            metadata: Bytes::from_static(b"meta"),
        }];
        let reply = JoinReply {
            error: ErrorCode::None,
            generation_id: 3,
            protocol_type: Some("consumer".to_owned()),
            protocol_name: Some("range".to_owned()),
            leader: "m".to_owned(),
            skip_assignment: true,
            member_id: "m".to_owned(),
            members,
        };
        let answered = bytes_of(&join_group::encode(version, GroupReply::Join(reply)), version);
        let response: ottla_wire::join_group_response::JoinGroupResponse = read(&answered, version);
        assert_eq!((response.generation_id, response.skip_assignment), (3, version >= 9));
        assert_eq!(response.protocol_type.as_deref(), (version >= 7).then_some("consumer"));
        assert_eq!(response.members[0].group_instance_id.as_deref(), (version >= 5).then_some("i"));

        let refused = GroupReply::Join(JoinReply::refused(String::new(), ErrorCode::UnknownMemberId));
        let answered = bytes_of(&join_group::encode(version, refused), version);
        let response: ottla_wire::join_group_response::JoinGroupResponse = read(&answered, version);
        assert_eq!(response.error_code, ErrorCode::UnknownMemberId.code());
        assert_eq!(response.protocol_name.as_deref(), if version >= 7 { None } else { Some("") });
    }
}

#[test]
fn sync_group() {
    for version in 0..=5 {
        let request = SyncGroupRequest {
            group_id: str("g"),
            generation_id: 3,
            member_id: str("m"),
            group_instance_id: (version >= 3).then(|| str("i")),
            protocol_type: (version >= 5).then(|| str("consumer")),
            protocol_name: (version >= 5).then(|| str("range")),
            assignments: Vec::new(),
        };
        let sent = bytes_of(&request, version);
        let Ok(GroupRequest::Sync(decoded)) = sync_group::decode(version, &read(&sent, version)) else {
            panic!("not a sync")
        };
        assert_eq!((decoded.generation_id, decoded.member_id.as_str()), (3, "m"));

        let nameless = SyncGroupRequest { protocol_type: None, ..request };
        let decoded = sync_group::decode(version, &nameless);
        let refused = GroupReply::Sync(SyncReply::refused(ErrorCode::InconsistentGroupProtocol));
        assert_eq!(decoded.err(), (version >= 5).then_some(refused));
        let reply = SyncReply {
            error: ErrorCode::None,
            protocol_type: Some("consumer".to_owned()),
            protocol_name: Some("range".to_owned()),
            assignment: Bytes::from_static(b"part"),
        };
        for (reply, assignment) in
            [(reply, &b"part"[..]), (SyncReply::refused(ErrorCode::NotCoordinator), b"")]
        {
            let answered = bytes_of(&sync_group::encode(GroupReply::Sync(reply)), version);
            let response: ottla_wire::sync_group_response::SyncGroupResponse = read(&answered, version);
            assert_eq!(&*response.assignment, assignment);
        }
    }
}

#[test]
fn heartbeat_and_leave() {
    for version in 0..=4 {
        let response = heartbeat::encode(GroupReply::Heartbeat(ErrorCode::RebalanceInProgress));
        assert_eq!(response.error_code, 27);
        bytes_of(&response, version);
    }
    let replies = |errors: &[ErrorCode]| {
        let members = errors.iter().map(|error| LeftMember {
            member_id: "m".to_owned(),
            group_instance_id: Some("i".to_owned()),
            error: *error,
        });
        GroupReply::Leave(LeaveReply { error: ErrorCode::None, members: members.collect() })
    };
    for version in 0..=5 {
        let identity =
            MemberIdentity { member_id: str("a"), group_instance_id: Some(str("i")), reason: None };
        let batched = version >= 3;
        let request = LeaveGroupRequest {
            group_id: str("g"),
            member_id: str(if batched { "" } else { "m" }),
            members: if batched { vec![identity.clone(), identity] } else { Vec::new() },
        };
        let sent = bytes_of(&request, version);
        let GroupRequest::Leave(decoded) = leave_group::decode(version, &read(&sent, version)) else {
            panic!("not a leave")
        };
        assert_eq!(decoded.members.len(), if batched { 2 } else { 1 });
        assert_eq!(decoded.members[0].member_id, if batched { "a" } else { "m" });

        let response = leave_group::encode(version, replies(&[ErrorCode::UnknownMemberId]));
        assert_eq!(response.error_code, if batched { NONE } else { 25 });
        assert_eq!(response.members.len(), usize::from(batched));
        bytes_of(&response, version);
        let refused = GroupReply::Leave(LeaveReply { error: ErrorCode::NotCoordinator, members: Vec::new() });
        let response = leave_group::encode(version, refused);
        assert_eq!(response.error_code, 16);
        bytes_of(&response, version);
    }
}

fn commit_request(version: i16) -> OffsetCommitRequest<'static> {
    let topic = |name: &'static str, topic_id| OffsetCommitRequestTopic {
        name: str(if version >= 10 { "" } else { name }),
        topic_id: if version >= 10 { topic_id } else { Uuid::ZERO },
        partitions: [1, 5, 0]
            .map(|partition_index| OffsetCommitRequestPartition {
                partition_index,
                committed_offset: i64::from(partition_index) + 40,
                committed_leader_epoch: if version >= 6 { 4 } else { -1 },
                committed_metadata: Some(str("note")),
            })
            .to_vec(),
    };
    OffsetCommitRequest {
        group_id: str("g"),
        generation_id_or_member_epoch: 3,
        member_id: str("m"),
        group_instance_id: (version >= 7).then(|| str("i")),
        retention_time_ms: if version <= 4 { 1_000 } else { -1 },
        topics: vec![topic("none", UNKNOWN_ID), topic("topic", TOPIC_ID)],
    }
}

#[test]
fn offset_commit() {
    for version in 2..=10 {
        let sent = bytes_of(&commit_request(version), version);
        let (plan, request) = offset_commit::decode(version, &read(&sent, version), &Names);
        let Some(GroupRequest::CommitOffsets(request)) = request else { panic!("something exists") };
        assert_eq!(request.topics.len(), 1, "the coordinator is asked for what exists");
        assert_eq!((request.topics[0].name.as_str(), request.topics[0].topic_id), ("topic", TOPIC_ID));
        let asked: Vec<_> = request.topics[0].partitions.iter().map(|p| (p.partition, p.offset)).collect();
        assert_eq!(asked, [(1, 41), (0, 40)]);
        assert_eq!(request.topics[0].partitions[0].leader_epoch, if version >= 6 { 4 } else { -1 });
        assert_eq!(request.retention_time_ms, (version <= 4).then_some(1_000));
        assert_eq!(request.knows_group_id_not_found, version >= 9);

        let outcomes = vec![(1, ErrorCode::None), (0, ErrorCode::OffsetMetadataTooLarge)];
        let topics =
            vec![CommittedTopic { name: "topic".to_owned(), topic_id: TOPIC_ID, partitions: outcomes }];
        let response = plan.encode(Some(GroupReply::CommitOffsets(CommitReply { topics })));
        let answered = bytes_of(&response, version);
        let response: ottla_wire::offset_commit_response::OffsetCommitResponse = read(&answered, version);
        let found: Vec<(i32, i16)> = response
            .topics
            .iter()
            .flat_map(|topic| topic.partitions.iter().map(|p| (p.partition_index, p.error_code)))
            .collect();
        let unknown = if version >= 10 { UNKNOWN_TOPIC_ID } else { UNKNOWN_TOPIC_OR_PARTITION };
        let expected =
            [(1, unknown), (5, unknown), (0, unknown), (1, NONE), (5, UNKNOWN_TOPIC_OR_PARTITION), (0, 12)];
        assert_eq!(found, expected, "version {version}");
        if version >= 10 {
            assert_eq!(
                response.topics.iter().map(|t| t.topic_id).collect::<Vec<_>>(),
                [UNKNOWN_ID, TOPIC_ID]
            );
        } else {
            assert_eq!(response.topics.iter().map(|t| &*t.name).collect::<Vec<_>>(), ["none", "topic"]);
        }
    }
}

#[test]
fn a_commit_of_nothing_that_exists_asks_no_coordinator() {
    let mut request = commit_request(8);
    request.topics.truncate(1);
    let (plan, asked) = offset_commit::decode(8, &request, &Names);
    assert_eq!(asked, None);
    assert_eq!(plan.encode(None).topics[0].partitions.len(), 3);
}

fn fetched(name: &str, topic_id: TopicId, partitions: &[i32]) -> FetchedTopic {
    let partitions = partitions.iter().map(|partition| FetchedPartition {
        offset: 42,
        leader_epoch: 4,
        metadata: "note".to_owned(),
        ..FetchedPartition::none(*partition, ErrorCode::None)
    });
    FetchedTopic { name: name.to_owned(), topic_id, partitions: partitions.collect() }
}

fn fetch_reply(error: ErrorCode, topics: Vec<FetchedTopic>) -> GroupReply {
    GroupReply::FetchOffsets(FetchReply { group_id: "g".to_owned(), error, topics })
}

#[test]
fn offset_fetch_of_one_group() {
    for version in 1..=7 {
        let topic = OffsetFetchRequestTopic { name: str("none"), partition_indexes: vec![3] };
        let request = OffsetFetchRequest {
            group_id: str("g"),
            topics: Some(vec![topic]),
            groups: Vec::new(),
            require_stable: version >= 7,
        };
        let sent = bytes_of(&request, version);
        let (plan, requests) = offset_fetch::decode(version, &read(&sent, version), &Names);
        let [GroupRequest::FetchOffsets(asked)] = &requests[..] else { panic!("one group") };
        assert_eq!(asked.require_stable, version >= 7);
        assert_eq!(
            asked.topics.as_ref().map(Vec::len),
            Some(1),
            "whether the topic exists does not matter here"
        );

        let reply = requests[0].refusal(ErrorCode::NotCoordinator);
        let answered = bytes_of(&plan.encode(version, vec![reply], &Names), version);
        let response: ottla_wire::offset_fetch_response::OffsetFetchResponse = read(&answered, version);
        if version >= 2 {
            assert_eq!((response.error_code, response.topics.len()), (16, 0));
        } else {
            assert_eq!(response.topics[0].partitions[0].error_code, 16);
        }
        let (plan, _) = offset_fetch::decode(version, &request, &Names);
        let reply = fetch_reply(ErrorCode::None, vec![fetched("none", Uuid::ZERO, &[3])]);
        let answered = bytes_of(&plan.encode(version, vec![reply], &Names), version);
        let response: ottla_wire::offset_fetch_response::OffsetFetchResponse = read(&answered, version);
        let partition = &response.topics[0].partitions[0];
        assert_eq!((partition.committed_offset, partition.metadata.as_deref()), (42, Some("note")));
        assert_eq!(partition.committed_leader_epoch, if version >= 5 { 4 } else { -1 });
    }
}

#[test]
fn offset_fetch_of_several_groups() {
    for version in 8..=10 {
        let by_id = version >= 10;
        let topic = |name: &'static str, topic_id| OffsetFetchRequestTopics {
            name: str(if by_id { "" } else { name }),
            topic_id: if by_id { topic_id } else { Uuid::ZERO },
            partition_indexes: vec![1],
        };
        let group = |group_id: &'static str, topics| OffsetFetchRequestGroup {
            group_id: str(group_id),
            topics,
            ..OffsetFetchRequestGroup::default()
        };
        let asked = vec![topic("none", UNKNOWN_ID), topic("topic", TOPIC_ID)];
        let request = OffsetFetchRequest {
            groups: vec![group("a", Some(asked)), group("b", None), group("c", None)],
            require_stable: true,
            ..OffsetFetchRequest::default()
        };
        let sent = bytes_of(&request, version);
        let (plan, requests) = offset_fetch::decode(version, &read(&sent, version), &Names);
        let ids: Vec<Option<&str>> = requests.iter().map(GroupRequest::group_id).collect();
        assert_eq!(ids, [Some("a"), Some("b"), Some("c")]);
        let GroupRequest::FetchOffsets(first) = &requests[0] else { panic!("a fetch") };
        let known = first.topics.as_ref().expect("topics").len();
        assert_eq!(known, if by_id { 1 } else { 2 });

        let mut first = vec![fetched("topic", TOPIC_ID, &[1])];
        if !by_id {
            first.insert(0, fetched("none", Uuid::ZERO, &[1]));
        }
        let all = vec![
            fetched("gone", UNKNOWN_ID, &[0]),
            fetched("topic", Uuid::ZERO, &[0]),
            fetched("topic", TOPIC_ID, &[1]),
        ];
        let replies = vec![
            fetch_reply(ErrorCode::None, first),
            fetch_reply(ErrorCode::None, all),
            fetch_reply(ErrorCode::NotCoordinator, Vec::new()),
        ];
        let answered = bytes_of(&plan.encode(version, replies, &Names), version);
        let response: ottla_wire::offset_fetch_response::OffsetFetchResponse = read(&answered, version);
        let [a, b, c] = &response.groups[..] else { panic!("three groups") };
        let error = if by_id { UNKNOWN_TOPIC_ID } else { NONE };
        assert_eq!(a.topics[0].partitions[0].error_code, error);
        assert_eq!(a.topics[1].partitions[0].committed_offset, 42);
        if by_id {
            assert_eq!((a.topics[0].topic_id, a.topics[1].topic_id), (UNKNOWN_ID, TOPIC_ID));
            assert_eq!(b.topics.len(), 1, "a topic that is gone cannot be said");
            assert_eq!((b.topics[0].topic_id, b.topics[0].partitions.len()), (TOPIC_ID, 2));
        } else {
            let topics: Vec<_> = b.topics.iter().map(|t| (&*t.name, t.partitions.len())).collect();
            assert_eq!(topics, [("gone", 1), ("topic", 2)]);
        }
        assert_eq!((c.error_code, c.topics.len()), (16, 0));
    }
}

/// A topic that was deleted and made again has none of the offsets that were committed to the one before.
#[test]
fn to_a_client_without_ids_a_name_is_the_topic_that_has_it_now() {
    let stored = || {
        vec![
            fetched("gone", UNKNOWN_ID, &[0]),
            fetched("topic", Uuid::ZERO, &[0]),
            fetched("topic", TOPIC_ID, &[1]),
            fetched("topic", UNKNOWN_ID, &[2]),
        ]
    };
    let all = |version| {
        let group = OffsetFetchRequestGroup {
            group_id: str("g"),
            topics: None,
            ..OffsetFetchRequestGroup::default()
        };
        match version {
            ..8 => OffsetFetchRequest { group_id: str("g"), topics: None, ..OffsetFetchRequest::default() },
            _ => OffsetFetchRequest { groups: vec![group], ..OffsetFetchRequest::default() },
        }
    };
    for version in [7, 8, 9] {
        let (plan, _) = offset_fetch::decode(version, &all(version), &Names);
        let response = plan.encode(version, vec![fetch_reply(ErrorCode::None, stored())], &Names);
        let topics: Vec<(String, usize)> = match response.groups.first() {
            Some(group) => group.topics.iter().map(|it| (it.name.to_string(), it.partitions.len())).collect(),
            None => response.topics.iter().map(|it| (it.name.to_string(), it.partitions.len())).collect(),
        };
        assert_eq!(topics, [("gone".to_owned(), 1), ("topic".to_owned(), 2)], "version {version}");
    }
    let topic = |name| OffsetFetchRequestTopic { name: str(name), partition_indexes: vec![0] };
    let some = OffsetFetchRequest {
        group_id: str("g"),
        topics: Some(vec![topic("topic"), topic("none")]),
        ..OffsetFetchRequest::default()
    };
    let (_, requests) = offset_fetch::decode(7, &some, &Names);
    let [GroupRequest::FetchOffsets(asked)] = &requests[..] else { panic!("one group") };
    let ids: Vec<TopicId> = asked.topics.iter().flatten().map(|topic| topic.topic_id).collect();
    assert_eq!(ids, [TOPIC_ID, Uuid::ZERO]);
}

#[test]
fn what_an_offset_fetch_names_again_is_answered_once() {
    let single = OffsetFetchRequest {
        group_id: str("g"),
        topics: Some(vec![
            OffsetFetchRequestTopic { name: str("a"), partition_indexes: vec![1, 1, 2] },
            OffsetFetchRequestTopic { name: str("a"), partition_indexes: vec![2, 3] },
            OffsetFetchRequestTopic { name: str("b"), partition_indexes: vec![1] },
        ]),
        ..OffsetFetchRequest::default()
    };
    let (_, requests) = offset_fetch::decode(7, &single, &Names);
    let [GroupRequest::FetchOffsets(asked)] = &requests[..] else { panic!("one group") };
    let asked = asked.topics.as_ref().expect("topics are named");
    let asked: Vec<_> = asked.iter().map(|topic| (topic.name.as_str(), topic.partitions.clone())).collect();
    assert_eq!(asked, [("a", vec![1, 2]), ("a", vec![3]), ("b", vec![1])]);
    for version in 8..=10 {
        let by_id = version >= 10;
        let topic = || OffsetFetchRequestTopics {
            name: str(if by_id { "" } else { "topic" }),
            topic_id: if by_id { TOPIC_ID } else { Uuid::ZERO },
            partition_indexes: vec![1, 1],
        };
        let group = |group_id: &'static str| OffsetFetchRequestGroup {
            group_id: str(group_id),
            topics: Some(vec![topic(), topic()]),
            ..OffsetFetchRequestGroup::default()
        };
        let request = OffsetFetchRequest {
            groups: vec![group("a"), group("b"), group("a")],
            ..OffsetFetchRequest::default()
        };
        let (plan, requests) = offset_fetch::decode(version, &request, &Names);
        assert_eq!(requests.len(), 2);
        let GroupRequest::FetchOffsets(first) = &requests[0] else { panic!("a fetch") };
        let partitions = first.topics.iter().flatten().map(|topic| topic.partitions.clone());
        assert_eq!(partitions.collect::<Vec<_>>(), [vec![1], vec![]], "version {version}");
        let topics = vec![fetched("topic", TOPIC_ID, &[1]), fetched("topic", TOPIC_ID, &[])];
        let replies = requests.iter().map(|_| fetch_reply(ErrorCode::None, topics.clone())).collect();
        assert_eq!(plan.encode(version, replies, &Names).groups.len(), 2);
    }
}

#[test]
fn offset_delete() {
    let topic = |name: &'static str| OffsetDeleteRequestTopic {
        name: str(name),
        partitions: [0, 7].map(|partition_index| OffsetDeleteRequestPartition { partition_index }).to_vec(),
    };
    let request = OffsetDeleteRequest { group_id: str("g"), topics: vec![topic("none"), topic("topic")] };
    let sent = bytes_of(&request, 0);
    let (plan, asked) = offset_delete::decode(&read(&sent, 0), &Names);
    let GroupRequest::DeleteOffsets(asked) = asked else { panic!("a deletion") };
    assert_eq!(asked.topics, [("topic".to_owned(), vec![0])]);
    let topics = vec![("topic".to_owned(), vec![(0, ErrorCode::GroupSubscribedToTopic)])];
    let response =
        plan.encode(GroupReply::DeleteOffsets(DeleteOffsetsReply { error: ErrorCode::None, topics }));
    bytes_of(&response, 0);
    let found: Vec<(i32, i16)> = response
        .topics
        .iter()
        .flat_map(|topic| topic.partitions.iter().map(|p| (p.partition_index, p.error_code)))
        .collect();
    assert_eq!(found, [(0, 3), (7, 3), (0, 86), (7, 3)]);
    let (plan, _) = offset_delete::decode(&request, &Names);
    let refused = DeleteOffsetsReply { error: ErrorCode::NonEmptyGroup, topics: Vec::new() };
    let response = plan.encode(GroupReply::DeleteOffsets(refused));
    assert_eq!((response.error_code, response.topics.len()), (68, 0));
}

#[test]
fn describe_groups() {
    for version in 0..=6 {
        let request = DescribeGroupsRequest {
            groups: vec![str("a"), str("gone"), str("a"), str("c"), str("gone")],
            include_authorized_operations: version >= 3,
        };
        let sent = bytes_of(&request, version);
        let request: DescribeGroupsRequest = read(&sent, version);
        let asked = describe_groups::decode(&request);
        assert_eq!(asked.len(), 3, "what is named again is asked once");
        assert_eq!(describe_groups::asks_operations(version, &request), version >= 3);
        let member = DescribedMember {
            member_id: "m".to_owned(),
            group_instance_id: Some("i".to_owned()),
            client_id: "client".to_owned(),
            client_host: "/127.0.0.1".to_owned(),
            metadata: Bytes::from_static(b"meta"),
            assignment: Bytes::from_static(b"part"),
        };
        let described = DescribeReply {
            group_id: "a".to_owned(),
            error: ErrorCode::None,
            state: Some(GroupState::Stable),
            protocol_type: "consumer".to_owned(),
            protocol: "range".to_owned(),
            members: vec![member],
        };
        let replies = vec![
            GroupReply::Describe(described),
            GroupReply::Describe(DescribeReply::refused("gone".to_owned(), ErrorCode::GroupIdNotFound)),
            GroupReply::Describe(DescribeReply::refused("c".to_owned(), ErrorCode::NotCoordinator)),
        ];
        let operations = match version {
            3.. => operations::GROUP_ALL,
            _ => operations::NOT_ASKED,
        };
        let answered = bytes_of(&describe_groups::encode(version, replies, operations), version);
        let response: ottla_wire::describe_groups_response::DescribeGroupsResponse = read(&answered, version);
        let [a, gone, c] = &response.groups[..] else { panic!("three groups") };
        assert_eq!((&*a.group_state, &*a.members[0].member_assignment), ("Stable", &b"part"[..]));
        assert_eq!(a.authorized_operations, operations);
        assert_eq!(a.members[0].group_instance_id.as_deref(), (version >= 4).then_some("i"));
        assert_eq!((gone.error_code, &*gone.group_state), (if version >= 6 { 69 } else { 0 }, "Dead"));
        assert_eq!(gone.error_message.is_some(), version >= 6);
        assert_eq!((c.error_code, &*c.group_state), (16, ""));
    }
    assert_eq!(operations::GROUP_ALL, 3_400);
}

#[test]
fn list_groups() {
    for version in 0..=5 {
        let request = ListGroupsRequest {
            states_filter: if version >= 4 { vec![str("Stable")] } else { Vec::new() },
            types_filter: if version >= 5 { vec![str("classic")] } else { Vec::new() },
        };
        let sent = bytes_of(&request, version);
        let GroupRequest::List(asked) = list_groups::decode(&read(&sent, version)) else {
            panic!("a listing")
        };
        assert_eq!(
            (asked.states_filter.len(), asked.types_filter.len()),
            (usize::from(version >= 4), usize::from(version >= 5))
        );
        let shard = |group_id: &str| {
            let group = ListedGroup {
                group_id: group_id.to_owned(),
                protocol_type: "consumer".to_owned(),
                state: GroupState::Stable,
            };
            GroupReply::List(ListReply { error: ErrorCode::None, groups: vec![group] })
        };
        let answered = bytes_of(&list_groups::encode(vec![shard("a"), shard("b")]), version);
        let response: ottla_wire::list_groups_response::ListGroupsResponse = read(&answered, version);
        assert_eq!(response.groups.len(), 2);
        assert_eq!(response.groups[1].group_state, if version >= 4 { "Stable" } else { "" });
        assert_eq!(response.groups[1].group_type, if version >= 5 { "classic" } else { "" });
        let loading = ListReply { error: ErrorCode::CoordinatorLoadInProgress, groups: Vec::new() };
        let response = list_groups::encode(vec![shard("a"), GroupReply::List(loading)]);
        assert_eq!((response.error_code, response.groups.len()), (14, 0));
    }
}

#[test]
fn delete_groups() {
    for version in 0..=3 {
        let request = DeleteGroupsRequest { groups_names: vec![str("a"), str("b"), str("a")] };
        let sent = bytes_of(&request, version);
        let asked = delete_groups::decode(&read(&sent, version));
        assert_eq!(asked.iter().filter_map(GroupRequest::group_id).collect::<Vec<_>>(), ["a", "b"]);
        let replies = asked.iter().map(|request| request.refusal(ErrorCode::NonEmptyGroup));
        let ok = GroupReply::Delete(DeleteReply { group_id: "c".to_owned(), error: ErrorCode::None });
        let answered = bytes_of(&delete_groups::encode(replies.chain([ok]).collect()), version);
        let response: ottla_wire::delete_groups_response::DeleteGroupsResponse = read(&answered, version);
        let found: Vec<_> = response.results.iter().map(|r| (&*r.group_id, r.error_code)).collect();
        assert_eq!(found, [("a", 68), ("b", 68), ("c", 0)]);
    }
}

#[test]
fn find_coordinator() {
    let node = |key: &str| {
        let node = find_coordinator::CoordinatorNode { node_id: 1, host: "host".to_owned(), port: 9092 };
        (key != "later").then_some(node)
    };
    for version in 0..=6 {
        let batched = version >= 4;
        // Key type, key, error.
        let mut cases = vec![(0, "g", NONE), (0, "later", 15), (0, "", NONE)];
        if version >= 1 {
            cases.extend([
                (1, "t", 53),
                (2, "g:AAAAAAAAAAAAAAAAAAAAAQ:0", if version >= 6 { 15 } else { 42 }),
                (9, "k", 42),
            ]);
        }
        for (key_type, key, error) in cases {
            let request = FindCoordinatorRequest {
                key: str(if batched { "" } else { key }),
                key_type,
                coordinator_keys: if batched { vec![str(key), str("g")] } else { Vec::new() },
            };
            let sent = bytes_of(&request, version);
            let response = find_coordinator::answer(version, &read(&sent, version), node);
            let answered = bytes_of(&response, version);
            let response: ottla_wire::find_coordinator_response::FindCoordinatorResponse =
                read(&answered, version);
            let node_id = if error == NONE { 1 } else { -1 };
            if batched {
                assert_eq!(response.coordinators.len(), 2);
                let first = &response.coordinators[0];
                assert_eq!((&*first.key, first.error_code, first.node_id), (key, error, node_id));
                assert_eq!(first.error_message.is_some(), error != NONE);
            } else {
                assert_eq!((response.error_code, response.node_id), (error, node_id));
            }
        }
    }
}
