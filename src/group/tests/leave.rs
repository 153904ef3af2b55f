//! LeaveGroup.

use super::harness::{GROUP, World, join, join_static, leaving};
use crate::errors::ErrorCode;
use crate::group::{GroupReply, GroupRequest, GroupState, JoinGroup, LeaveGroup, LeavingMember};

#[test]
fn leaving_starts_a_rebalance_at_once() {
    let mut world = World::new();
    let members = world.stable(vec![join(""), join("")]);
    let reply = world.leave(vec![leaving(&members[0].member_id)]);
    assert_eq!((reply.error, reply.members[0].error), (ErrorCode::None, ErrorCode::None));
    assert_eq!(world.heartbeat(&members[1].member_id, 1), ErrorCode::RebalanceInProgress);
    assert_eq!(world.heartbeat(&members[0].member_id, 1), ErrorCode::UnknownMemberId);
}

#[test]
fn the_last_member_is_gone_only_when_the_log_says_so() {
    let mut world = World::eager();
    let member = world.stable(vec![join("")]).remove(0);
    world.persists = false;
    let request = LeaveGroup { group_id: GROUP.to_owned(), members: vec![leaving(&member.member_id)] };
    let token = world.send(GroupRequest::Leave(request.clone()));
    assert!(!world.is_answered(token));
    world.persist_next();
    assert!(world.is_answered(token));
    assert_eq!(world.describe(GROUP).state, Some(GroupState::Empty));

    world.persists = true;
    let member = world.stable(vec![join("")]).remove(0);
    world.persists = false;
    let members = vec![leaving(&member.member_id)];
    let token = world.send(GroupRequest::Leave(LeaveGroup { members, ..request }));
    world.fail_next(ErrorCode::KafkaStorageError);
    let GroupReply::Leave(reply) = world.answer(token) else { panic!("not a leave") };
    assert_eq!(reply.error, ErrorCode::NotCoordinator);
}

#[test]
fn each_member_of_a_batch_has_its_own_result() {
    let mut world = World::new();
    let members = world.stable(vec![join(""), join_static("i"), join_static("j")]);
    let instance = |member_id: &str, instance_id: &str| LeavingMember {
        member_id: member_id.to_owned(),
        group_instance_id: Some(instance_id.to_owned()),
    };
    let reply = world.leave(vec![
        leaving("stranger"),
        instance("", "i"),
        instance("", "unknown"),
        leaving(""),
        instance(&members[0].member_id, "j"),
        instance("stranger", "unknown"),
        leaving(&members[0].member_id),
    ]);
    let errors: Vec<ErrorCode> = reply.members.iter().map(|member| member.error).collect();
    let expected = [
        ErrorCode::UnknownMemberId,
        ErrorCode::None,
        ErrorCode::UnknownMemberId,
        ErrorCode::UnknownMemberId,
        ErrorCode::FencedInstanceId,
        ErrorCode::UnknownMemberId,
        ErrorCode::None,
    ];
    assert_eq!(errors, expected);
    assert_eq!(reply.members[1].group_instance_id.as_deref(), Some("i"));
    let left = world.describe(GROUP).members;
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].member_id, members[2].member_id);
}

#[test]
fn of_an_unknown_group_every_member_is_unknown() {
    let mut world = World::new();
    let reply = world.leave(vec![leaving("a"), leaving("b")]);
    assert_eq!(reply.error, ErrorCode::None);
    assert!(reply.members.iter().all(|member| member.error == ErrorCode::UnknownMemberId));
    let request = LeaveGroup { group_id: String::new(), members: vec![leaving("a")] };
    let token = world.send(GroupRequest::Leave(request));
    let GroupReply::Leave(reply) = world.answer(token) else { panic!("not a leave") };
    assert_eq!(reply.error, ErrorCode::InvalidGroupId);
}

#[test]
fn a_promised_member_that_leaves_disturbs_nobody() {
    let mut world = World::eager();
    let member = world.stable(vec![join("")]).remove(0);
    let token = world.send(GroupRequest::Join(JoinGroup { requires_member_id: true, ..join("") }));
    let promised = world.joined(token).member_id;
    let reply = world.leave(vec![leaving(&promised)]);
    assert_eq!(reply.members[0].error, ErrorCode::None);
    assert_eq!(world.heartbeat(&member.member_id, 1), ErrorCode::None);
    let token = world.send(GroupRequest::Join(join(&promised)));
    assert_eq!(world.joined(token).error, ErrorCode::UnknownMemberId);
}

#[test]
fn a_promised_member_that_leaves_lets_a_rebalance_go_on() {
    let mut world = World::eager();
    let member = world.stable(vec![join("")]).remove(0);
    let token = world.send(GroupRequest::Join(JoinGroup { requires_member_id: true, ..join("") }));
    let promised = world.joined(token).member_id;
    let parked = world.send(GroupRequest::Join(join(&member.member_id)));
    assert!(!world.is_answered(parked));
    world.leave(vec![leaving(&promised)]);
    assert_eq!(world.joined(parked).generation_id, 2);
}

#[test]
fn a_member_that_leaves_with_a_parked_join_answers_it() {
    let mut world = World::new();
    let members = world.stable(vec![join(""), join("")]);
    let leader = members[0].leader.clone();
    let parked = world.send(GroupRequest::Join(join(&leader)));
    world.leave(vec![leaving(&leader)]);
    assert_eq!(world.joined(parked).error, ErrorCode::UnknownMemberId);
}

#[test]
fn members_that_leave_during_the_first_delay_leave_an_empty_group() {
    let mut world = World::new();
    let parked = world.send(GroupRequest::Join(join("")));
    let member_id = world.describe(GROUP).members[0].member_id.clone();
    world.leave(vec![leaving(&member_id)]);
    assert_eq!(world.joined(parked).error, ErrorCode::UnknownMemberId);
    assert_eq!(world.describe(GROUP).state, Some(GroupState::PreparingRebalance));
    world.advance(3_000);
    assert_eq!(world.describe(GROUP).state, Some(GroupState::Empty));
}
