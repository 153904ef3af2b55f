//! Static members (KIP-345) and leaders that skip the assignment (KIP-814).

use super::harness::{GROUP, World, commit, join, join_static, protocol, sync};
use crate::errors::ErrorCode;
use crate::group::{
    DeleteOffsets, GroupConfig, GroupReply, GroupRequest, GroupState, Heartbeat, JoinGroup, JoinReply,
};

fn heartbeat(world: &mut World, member_id: &str, instance_id: &str) -> ErrorCode {
    let request = Heartbeat {
        group_id: GROUP.to_owned(),
        member_id: member_id.to_owned(),
        group_instance_id: Some(instance_id.to_owned()),
        generation_id: 1,
    };
    let token = world.send(GroupRequest::Heartbeat(request));
    let GroupReply::Heartbeat(error) = world.answer(token) else { panic!("not a heartbeat") };
    error
}

fn pair(world: &mut World) -> (JoinReply, JoinReply) {
    let members = world.stable(vec![join_static("a"), join_static("b")]);
    assert!(members[0].member_id.starts_with("a-"));
    let [a, b] = members.try_into().expect("two members");
    (a, b)
}

#[test]
fn a_static_member_joins_at_once_even_where_ids_are_required() {
    let mut world = World::eager();
    let token = world.send(GroupRequest::Join(JoinGroup { requires_member_id: true, ..join_static("a") }));
    assert_eq!(world.joined(token).error, ErrorCode::None);
}

#[test]
fn a_restarted_member_takes_its_place_without_a_rebalance_and_fences_the_old_one() {
    let mut world = World::new();
    let (a, b) = pair(&mut world);
    let records_before = world.log[&0].len();
    let token = world.send(GroupRequest::Join(join_static("b")));
    let reply = world.joined(token);
    assert_eq!((reply.error, reply.generation_id), (ErrorCode::None, 1));
    assert_ne!(reply.member_id, b.member_id);
    assert_eq!(world.log[&0].len(), records_before + 1, "the new member id is on disk");
    assert_eq!(world.describe(GROUP).state, Some(GroupState::Stable));
    assert_eq!(heartbeat(&mut world, &b.member_id, "b"), ErrorCode::FencedInstanceId);
    assert_eq!(world.heartbeat(&b.member_id, 1), ErrorCode::UnknownMemberId);
    assert_eq!(heartbeat(&mut world, &reply.member_id, "b"), ErrorCode::None);
    assert_eq!(heartbeat(&mut world, &a.member_id, "a"), ErrorCode::None);
    let token = world.send(sync(&reply, Vec::new()));
    assert_eq!(world.synced(token).assignment, b.member_id, "the predecessor's assignment is kept");
    let mut old = commit(&b.member_id, 1, "topic", 0, 1);
    old.group_instance_id = Some("b".to_owned());
    assert_eq!(world.commit(old), ErrorCode::FencedInstanceId);
}

#[test]
fn a_restarted_leader_is_told_to_skip_the_assignment_or_who_led_before() {
    for supports_skip_assignment in [true, false] {
        let mut world = World::new();
        let (a, _) = pair(&mut world);
        let instance = if a.leader == a.member_id { "a" } else { "b" };
        let request = JoinGroup { supports_skip_assignment, ..join_static(instance) };
        let token = world.send(GroupRequest::Join(request));
        let reply = world.joined(token);
        assert_eq!(reply.generation_id, 1);
        if supports_skip_assignment {
            assert!(reply.skip_assignment);
            assert_eq!(reply.leader, reply.member_id);
            assert_eq!(reply.members.len(), 2);
        } else {
            assert!(!reply.skip_assignment);
            assert_eq!(reply.leader, a.leader, "so that the client does not believe to lead");
            assert!(reply.members.is_empty());
        }
        let token = world.send(sync(&reply, Vec::new()));
        assert_eq!(world.synced(token).error, ErrorCode::None);
    }
}

#[test]
fn the_reply_waits_for_the_disk_and_a_failure_brings_the_old_member_back() {
    let mut world = World::new();
    let (_, b) = pair(&mut world);
    world.persists = false;
    let changed = JoinGroup { protocols: vec![protocol("range", &["other"])], ..join_static("b") };
    let token = world.send(GroupRequest::Join(changed));
    assert!(!world.is_answered(token));
    world.fail_next(ErrorCode::NotLeaderOrFollower);
    let reply = world.joined(token);
    assert_eq!((reply.error, reply.member_id.as_str()), (ErrorCode::NotCoordinator, ""));
    assert_eq!(heartbeat(&mut world, &b.member_id, "b"), ErrorCode::None);
    let members = world.describe(GROUP).members;
    let member = members.iter().find(|member| member.member_id == b.member_id).expect("b is back");
    assert_eq!(member.metadata, protocol("range", &["topic"]).metadata);
}

#[test]
fn a_second_restart_while_the_first_is_written_fences_the_first() {
    let mut world = World::new();
    let (_, b) = pair(&mut world);
    world.persists = false;
    let first = world.send(GroupRequest::Join(join_static("b")));
    let second = world.send(GroupRequest::Join(join_static("b")));
    assert_eq!(world.joined(first).error, ErrorCode::FencedInstanceId);
    world.fail_next(ErrorCode::KafkaStorageError);
    assert!(!world.is_answered(second), "the failure of the first write does not concern the second");
    world.persist_next();
    let reply = world.joined(second);
    assert_eq!(reply.error, ErrorCode::None);
    assert_eq!(heartbeat(&mut world, &reply.member_id, "b"), ErrorCode::None);
    assert_eq!(heartbeat(&mut world, &b.member_id, "b"), ErrorCode::FencedInstanceId);
}

#[test]
fn a_rebalance_that_begins_while_the_new_id_is_written_answers_the_join_itself() {
    let mut world = World::new();
    let (a, _) = pair(&mut world);
    world.persists = false;
    let restarted = world.send(GroupRequest::Join(join_static("b")));
    let new = world.send(GroupRequest::Join(join("")));
    world.persist_next();
    assert!(!world.is_answered(restarted), "it waits for the new generation");
    world.send(GroupRequest::Join(JoinGroup { member_id: a.member_id, ..join_static("a") }));
    let reply = world.joined(restarted);
    assert_eq!((reply.error, reply.generation_id), (ErrorCode::None, 2));
    assert_eq!(world.joined(new).generation_id, 2);
}

#[test]
fn a_member_that_is_out_while_its_new_id_is_written_hears_so() {
    let patient = |instance| JoinGroup { session_timeout_ms: 120_000, ..join_static(instance) };
    let mut world = World::new();
    let tokens = ["a", "b"].map(|instance| world.send(GroupRequest::Join(patient(instance))));
    world.advance(6_000);
    let [a, b] = tokens.map(|token| world.joined(token));
    let leader = if a.leader == a.member_id { &a } else { &b };
    let absent = if a.leader == a.member_id { "b" } else { "a" };
    world.send(sync(leader, Vec::new()));
    assert_eq!(world.describe(GROUP).state, Some(GroupState::Stable), "the other one owes its SyncGroup");
    world.advance(59_000);
    world.persists = false;
    let restarted = world.send(GroupRequest::Join(patient(absent)));
    assert!(!world.is_answered(restarted), "its new id is not on disk");
    world.advance(2_000);
    assert_eq!(world.joined(restarted).error, ErrorCode::UnknownMemberId);
    world.persist_next();
    assert_eq!(world.describe(GROUP).state, Some(GroupState::PreparingRebalance));
    assert_eq!(world.describe(GROUP).members.len(), 1);
}

#[test]
fn a_change_of_the_chosen_protocol_rebalances() {
    let mut world = World::new();
    let both = |instance: &str| JoinGroup {
        protocols: vec![protocol("range", &[]), protocol("sticky", &[])],
        ..join_static(instance)
    };
    world.stable(vec![both("a"), both("b")]);
    let only = JoinGroup { protocols: vec![protocol("sticky", &[])], ..join_static("b") };
    let token = world.send(GroupRequest::Join(only));
    assert!(!world.is_answered(token));
    assert_eq!(world.describe(GROUP).state, Some(GroupState::PreparingRebalance));
}

#[test]
fn a_restart_while_the_assignment_is_computed_rebalances() {
    let mut world = World::new();
    let tokens = ["a", "b"].map(|instance| world.send(GroupRequest::Join(join_static(instance))));
    world.advance(6_000);
    let [a, b] = tokens.map(|token| world.joined(token));
    let waiting = world.send(sync(&b, Vec::new()));
    let restarted = world.send(GroupRequest::Join(join_static("b")));
    assert_eq!(world.synced(waiting).error, ErrorCode::FencedInstanceId);
    assert!(!world.is_answered(restarted));
    assert_eq!(world.heartbeat(&a.member_id, 1), ErrorCode::RebalanceInProgress);
}

#[test]
fn a_restart_while_a_rebalance_is_prepared_fences_the_parked_join() {
    let mut world = World::new();
    let first = world.send(GroupRequest::Join(join_static("a")));
    let second = world.send(GroupRequest::Join(join_static("a")));
    let fenced = world.joined(first);
    assert_eq!(fenced.error, ErrorCode::FencedInstanceId);
    world.advance(6_000);
    let reply = world.joined(second);
    assert_eq!(reply.error, ErrorCode::None);
    assert_ne!(reply.member_id, fenced.member_id);
    assert_eq!(reply.leader, reply.member_id, "it also led in its predecessor's place");
}

#[test]
fn an_absent_static_member_stays_in_the_next_generation() {
    let mut world = World::new();
    let (a, b) = pair(&mut world);
    let again = |reply: &JoinReply, instance: &str| {
        let session_timeout_ms = 600_000;
        GroupRequest::Join(JoinGroup {
            member_id: reply.member_id.clone(),
            session_timeout_ms,
            ..join_static(instance)
        })
    };
    // Both get long sessions in a second generation, then only one comes back for the third.
    let tokens = [world.send(again(&a, "a")), world.send(again(&b, "b"))];
    let second = tokens.map(|token| world.joined(token));
    world.sync_all(&second);
    let leader = second.iter().find(|m| m.member_id == m.leader).expect("a leader");
    let instance = if leader.member_id == a.member_id { "a" } else { "b" };
    let token = world.send(again(leader, instance));
    world.advance(60_000);
    let reply = world.joined(token);
    assert_eq!((reply.generation_id, reply.members.len()), (3, 2));
}

#[test]
fn a_known_member_with_anothers_instance_is_fenced_and_an_unknown_instance_unknown() {
    let mut world = World::new();
    let (a, _) = pair(&mut world);
    let request = JoinGroup { member_id: a.member_id.clone(), ..join_static("b") };
    let token = world.send(GroupRequest::Join(request));
    assert_eq!(world.joined(token).error, ErrorCode::FencedInstanceId);
    let request = JoinGroup { member_id: a.member_id.clone(), ..join_static("c") };
    let token = world.send(GroupRequest::Join(request));
    assert_eq!(world.joined(token).error, ErrorCode::UnknownMemberId);
    assert_eq!(heartbeat(&mut world, &a.member_id, "b"), ErrorCode::FencedInstanceId);
}

#[test]
fn a_restarted_static_member_needs_no_free_place() {
    let mut world = World::with(GroupConfig { max_size: 2, ..GroupConfig::default() });
    pair(&mut world);
    let token = world.send(GroupRequest::Join(join_static("b")));
    assert_eq!(world.joined(token).error, ErrorCode::None);
    let token = world.send(GroupRequest::Join(join_static("c")));
    assert_eq!(world.joined(token).error, ErrorCode::GroupMaxSizeReached);
}

#[test]
fn after_a_restart_of_the_coordinator_the_instances_are_known() {
    let mut world = World::new();
    let (a, b) = pair(&mut world);
    let token = world.send(GroupRequest::Join(join_static("b")));
    let successor = world.joined(token);
    let mut world = world.restarted(GroupConfig::default());
    assert_eq!(heartbeat(&mut world, &successor.member_id, "b"), ErrorCode::None);
    assert_eq!(heartbeat(&mut world, &b.member_id, "b"), ErrorCode::FencedInstanceId);
    assert_eq!(heartbeat(&mut world, &a.member_id, "a"), ErrorCode::None);
}

#[test]
fn a_restarted_member_that_reads_other_topics_is_known_to_read_them() {
    let mut world = World::new();
    pair(&mut world);
    let changed = JoinGroup { protocols: vec![protocol("range", &["new"])], ..join_static("b") };
    let token = world.send(GroupRequest::Join(changed));
    assert_eq!(world.joined(token).error, ErrorCode::None);
    let request = DeleteOffsets { group_id: GROUP.to_owned(), topics: vec![("new".to_owned(), vec![0])] };
    let token = world.send(GroupRequest::DeleteOffsets(request));
    let GroupReply::DeleteOffsets(reply) = world.answer(token) else { panic!("not a deletion") };
    assert_eq!(reply.topics[0].1, [(0, ErrorCode::GroupSubscribedToTopic)]);
}
