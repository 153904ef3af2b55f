//! Loading a partition, giving it up, and the limits of the coordinator.

use super::harness::{GROUP, World, commit, join, join_static, leaving, protocol, sync, topic_id};
use crate::errors::ErrorCode;
use crate::group::offsets::CommittedOffset;
use crate::group::records::Change;
use crate::group::{
    CommitOffsets, DeletedTopic, GroupConfig, GroupReply, GroupRequest, GroupState, Heartbeat, JoinGroup,
    LeaveGroup,
};
use crate::ids::{Offset, TimestampMs};

#[test]
fn who_does_not_own_the_partition_says_so_and_who_loads_it_as_well() {
    let mut world = World::unloaded(GroupConfig::default());
    let ask = |world: &mut World| {
        let token = world.send(GroupRequest::Join(join("")));
        let join_error = world.joined(token).error;
        let commit_error = world.commit(commit("", -1, "topic", 0, 1));
        let heartbeat_error = world.heartbeat("m", 1);
        let leave_error = world.leave(vec![leaving("m")]).error;
        let describe_error = world.describe(GROUP).error;
        let fetch_error = world.fetch(None).error;
        [join_error, commit_error, heartbeat_error, leave_error, describe_error, fetch_error]
    };
    assert_eq!(ask(&mut world), [ErrorCode::NotCoordinator; 6]);
    world.coordinator.start_loading(0);
    let mut loading = [ErrorCode::CoordinatorLoadInProgress; 6];
    loading[2] = ErrorCode::None;
    assert_eq!(ask(&mut world), loading, "a heartbeat cannot be answered yet and is believed");
    world.coordinator.finish_loading(world.clock(), 0);
    assert_eq!(world.commit(commit("", -1, "topic", 0, 1)), ErrorCode::None);
    world.coordinator.unload(world.clock(), 0);
    assert_eq!(ask(&mut world), [ErrorCode::NotCoordinator; 6]);
}

#[test]
fn a_loaded_group_goes_on_where_it_was() {
    let mut world = World::new();
    let members = world.stable(vec![join(""), join_static("i")]);
    world.commit(commit(&members[0].member_id, 1, "topic", 0, 5));
    let before = world.describe(GROUP);
    let mut world = world.restarted(GroupConfig::default());
    assert_eq!(world.describe(GROUP), before);
    assert_eq!(world.offset("topic", 0), 5);
    world.advance(9_999);
    assert_eq!(world.heartbeat(&members[0].member_id, 1), ErrorCode::None, "a session began with the load");
    world.advance(1);
    assert_eq!(
        world.heartbeat(&members[0].member_id, 1),
        ErrorCode::RebalanceInProgress,
        "the other one is gone"
    );
}

/// One shard may have loaded its groups long before another is done and clients are let in.
#[test]
fn a_session_begins_when_members_can_be_heard() {
    let mut world = World::new();
    let members = world.stable(vec![join(""), join_static("i")]);
    let mut world = world.restarted(GroupConfig::default());
    world.now = world.now.after_ms(60_000);
    world.wall += 60_000;
    world.coordinator.on_serving(world.clock());
    world.advance(9_999);
    for member in &members {
        assert_eq!(world.heartbeat(&member.member_id, 1), ErrorCode::None);
    }
    world.advance(10_000);
    assert_eq!(world.heartbeat(&members[0].member_id, 1), ErrorCode::UnknownMemberId);
}

#[test]
fn a_commit_of_a_transaction_loses_to_one_that_was_written_before_its_end() {
    let mut world = World::unloaded(GroupConfig::default());
    world.coordinator.start_loading(0);
    let mut replay = |offset: i64, at: i64| {
        let value = CommittedOffset {
            offset,
            leader_epoch: -1,
            metadata: "".into(),
            committed_at: TimestampMs(1),
            expires_at: None,
            topic_id: topic_id("topic"),
            record_offset: Offset(at),
        };
        let change =
            Change::Offset { group: GROUP.into(), topic: "topic".into(), partition: 0, value: Some(value) };
        let record = change.encode();
        world.coordinator.replay(0, &record.key, record.value.as_deref(), Offset(at)).expect("it is known");
    };
    // The log has the transaction's at 3, a plain one at 4, the transaction's end at 5.
    replay(40, 4);
    replay(30, 3);
    world.coordinator.finish_loading(world.clock(), 0);
    assert_eq!(world.offset("topic", 0), 40);
}

#[test]
fn a_generation_that_was_not_synced_is_not_in_the_log() {
    let mut world = World::eager();
    let member = world.stable(vec![join("")]).remove(0);
    let token = world.send(GroupRequest::Join(join(&member.member_id)));
    assert_eq!(world.joined(token).generation_id, 2);
    let mut world = world.restarted(GroupConfig::default());
    assert_eq!(world.heartbeat(&member.member_id, 2), ErrorCode::IllegalGeneration, "the member joins again");
    assert_eq!(world.heartbeat(&member.member_id, 1), ErrorCode::None);
}

#[test]
fn a_loaded_member_offers_only_the_protocol_of_the_log() {
    let mut world = World::eager();
    let both =
        JoinGroup { protocols: vec![protocol("range", &["topic"]), protocol("sticky", &[])], ..join("") };
    let member = world.stable(vec![both.clone()]).remove(0);
    let mut world = world.restarted(GroupConfig::default());
    let token = world.send(GroupRequest::Join(JoinGroup { member_id: member.member_id, ..both }));
    let reply = world.joined(token);
    assert_eq!((reply.error, reply.generation_id), (ErrorCode::None, 2));
}

#[test]
fn a_group_above_a_lowered_maximum_rebalances_when_it_is_loaded() {
    let mut world = World::new();
    let members = world.stable(vec![join(""), join(""), join("")]);
    let mut world = world.restarted(GroupConfig { max_size: 2, ..GroupConfig::default() });
    assert_eq!(world.describe(GROUP).state, Some(GroupState::PreparingRebalance));
    let tokens: Vec<_> = members.iter().map(|m| world.send(GroupRequest::Join(join(&m.member_id)))).collect();
    let errors: Vec<ErrorCode> = tokens.into_iter().map(|token| world.joined(token).error).collect();
    assert_eq!(errors, [ErrorCode::None, ErrorCode::None, ErrorCode::GroupMaxSizeReached]);
}

#[test]
fn topics_that_are_deleted_while_a_partition_loads_are_forgotten_afterwards() {
    let mut world = World::eager();
    world.commit(commit("", -1, "topic", 0, 5));
    let records = world.log[&0].clone();
    let mut world = World::unloaded(GroupConfig::default());
    world.coordinator.start_loading(0);
    world
        .coordinator
        .replay(0, &records[0].key, records[0].value.as_deref(), crate::ids::Offset(0))
        .expect("valid");
    let deleted = DeletedTopic { name: "topic".to_owned(), topic_id: topic_id("topic") };
    world.coordinator.on_topics_deleted(world.clock(), &[deleted]);
    world.coordinator.finish_loading(world.clock(), 0);
    world.log.insert(0, records);
    world.settle();
    assert_eq!(world.offset("topic", 0), -1);
    assert_eq!(world.log[&0].len(), 2, "by a tombstone");
}

#[test]
fn giving_a_partition_up_answers_everything_that_waits() {
    let mut world = World::new();
    let tokens = [world.send(GroupRequest::Join(join(""))), world.send(GroupRequest::Join(join("")))];
    world.advance(6_000);
    let members = tokens.map(|token| world.joined(token));
    let follower = members.iter().find(|m| m.member_id != m.leader).expect("a follower");
    let syncing = world.send(sync(follower, Vec::new()));
    world.persists = false;
    let committing = CommitOffsets { group_id: "simple".to_owned(), ..commit("", -1, "topic", 0, 1) };
    let committing = world.send(GroupRequest::CommitOffsets(committing));
    let joining = world.send(GroupRequest::Join(JoinGroup { group_id: "new".to_owned(), ..join("") }));
    let stable_fetch =
        crate::group::FetchOffsets { group_id: "simple".to_owned(), require_stable: true, topics: None };
    let fetching = world.send(GroupRequest::FetchOffsets(stable_fetch));
    world.coordinator.unload(world.clock(), 0);
    world.settle();
    assert_eq!(world.synced(syncing).error, ErrorCode::NotCoordinator);
    assert_eq!(world.committed(committing).topics[0].partitions[0].1, ErrorCode::NotCoordinator);
    assert_eq!(world.joined(joining).error, ErrorCode::NotCoordinator);
    let GroupReply::FetchOffsets(reply) = world.answer(fetching) else { panic!("not a fetch") };
    assert_eq!(reply.error, ErrorCode::NotCoordinator);
    assert_eq!(world.coordinator.bytes_in_flight(), 0);
    assert_eq!(world.coordinator.next_deadline(), None);
    let (late, ..) = world.appends.pop_front().expect("the commit's append");
    world.coordinator.on_persisted(world.clock(), late, Ok(crate::ids::Offset(0)));
    assert_eq!(world.coordinator.poll(), None, "a late report concerns nobody");
}

#[test]
fn calls_that_have_nothing_to_do_do_nothing() {
    let mut world = World::new();
    let members = world.stable(vec![join("")]);
    for _ in 0..3 {
        world.coordinator.on_timeout(world.clock());
        world.coordinator.on_persisted(
            world.clock(),
            crate::group::AppendId(999),
            Err(ErrorCode::KafkaStorageError),
        );
        world.coordinator.unload(world.clock(), 33);
        assert_eq!(world.coordinator.poll(), None);
    }
    assert_eq!(world.heartbeat(&members[0].member_id, 1), ErrorCode::None);
    let deadline = world.coordinator.next_deadline().expect("a session");
    assert!(deadline > world.now);
}

#[test]
fn heartbeats_do_not_move_the_armed_timer_and_it_fires_without_effect() {
    let mut world = World::eager();
    let member = world.stable(vec![join("")]).remove(0);
    let armed = world.coordinator.next_deadline();
    world.advance(5_000);
    assert_eq!(world.heartbeat(&member.member_id, 1), ErrorCode::None);
    assert_eq!(world.coordinator.next_deadline(), armed);
    world.advance(5_000);
    assert_eq!(world.heartbeat(&member.member_id, 1), ErrorCode::None);
    assert!(world.coordinator.next_deadline() > armed);
}

#[test]
fn too_many_bytes_under_way_push_back_without_a_search_for_another_coordinator() {
    let mut world = World::eager();
    world.persists = false;
    let mut large = commit("", -1, "topic", 0, 1);
    let mut partition = large.topics[0].partitions.remove(0);
    partition.metadata = Some("x".repeat(4_096));
    for index in 0..4_000 {
        partition.partition = index;
        large.topics[0].partitions.push(partition.clone());
    }
    let mut refused = None;
    for _ in 0..6 {
        let token = world.send(GroupRequest::CommitOffsets(large.clone()));
        if world.is_answered(token) {
            refused = Some(world.committed(token).topics[0].partitions[0].1);
        }
    }
    assert_eq!(refused, Some(ErrorCode::CoordinatorLoadInProgress));
    while !world.appends.is_empty() {
        world.persist_next();
    }
    assert_eq!(world.coordinator.bytes_in_flight(), 0);
    world.persists = true;
    assert_eq!(world.commit(commit("", -1, "topic", 0, 2)), ErrorCode::None);
}

#[test]
fn a_refusal_by_the_shell_has_the_shape_of_the_request() {
    let request = GroupRequest::CommitOffsets(commit("", -1, "topic", 3, 1));
    let GroupReply::CommitOffsets(reply) = request.refusal(ErrorCode::CoordinatorNotAvailable) else {
        panic!("not a commit")
    };
    assert_eq!(reply.topics[0].partitions, [(3, ErrorCode::CoordinatorNotAvailable)]);
    let request = GroupRequest::Leave(LeaveGroup { group_id: GROUP.to_owned(), members: vec![leaving("m")] });
    let GroupReply::Leave(reply) = request.refusal(ErrorCode::NotCoordinator) else { panic!("not a leave") };
    assert_eq!((reply.error, reply.members.len()), (ErrorCode::NotCoordinator, 0));
    let heartbeat = Heartbeat {
        group_id: GROUP.to_owned(),
        member_id: "m".to_owned(),
        group_instance_id: None,
        generation_id: 1,
    };
    let reply = GroupRequest::Heartbeat(heartbeat).refusal(ErrorCode::NotCoordinator);
    assert_eq!(reply, GroupReply::Heartbeat(ErrorCode::NotCoordinator));
}
