//! SyncGroup.

use bytes::Bytes;

use super::harness::{GROUP, World, join, sync};
use crate::errors::ErrorCode;
use crate::group::{GroupRequest, GroupState, JoinReply, SyncGroup};

fn joined_pair(world: &mut World) -> (JoinReply, JoinReply) {
    let tokens = [world.send(GroupRequest::Join(join(""))), world.send(GroupRequest::Join(join("")))];
    world.advance(6_000);
    let [a, b] = tokens.map(|token| world.joined(token));
    if a.member_id == a.leader { (a, b) } else { (b, a) }
}

fn with(joined: &JoinReply, change: impl FnOnce(&mut SyncGroup)) -> GroupRequest {
    match sync(joined, Vec::new()) {
        GroupRequest::Sync(mut request) => {
            change(&mut request);
            GroupRequest::Sync(request)
        }
        other => other,
    }
}

#[test]
fn followers_wait_for_the_leader_and_everyone_gets_its_part_once_it_is_durable() {
    let mut world = World::new();
    let (leader, follower) = joined_pair(&mut world);
    world.persists = false;
    let waiting = world.send(sync(&follower, vec![(follower.member_id.clone(), "mine".into())]));
    assert!(!world.is_answered(waiting) && world.appends.is_empty(), "a follower's assignment is not taken");
    let parts =
        vec![(leader.member_id.clone(), "lead".into()), (follower.member_id.clone(), "follow".into())];
    let leading = world.send(sync(&leader, parts));
    assert_eq!(world.appends.len(), 1);
    assert!(!world.is_answered(waiting) && !world.is_answered(leading), "nothing is on disk yet");
    assert_eq!(world.describe(GROUP).state, Some(GroupState::CompletingRebalance));
    world.persist_next();
    let (leading, waiting) = (world.synced(leading), world.synced(waiting));
    assert_eq!((leading.assignment, waiting.assignment), (Bytes::from("lead"), Bytes::from("follow")));
    assert_eq!(waiting.protocol_type.as_deref(), Some("consumer"));
    assert_eq!(waiting.protocol_name.as_deref(), Some("range"));
    assert_eq!(world.describe(GROUP).state, Some(GroupState::Stable));
    let again = world.send(sync(&follower, Vec::new()));
    assert_eq!(world.synced(again).assignment, "follow", "a stable group answers at once");
}

#[test]
fn a_member_that_the_leader_left_out_gets_empty_bytes_and_strangers_get_nothing() {
    let mut world = World::new();
    let (leader, follower) = joined_pair(&mut world);
    let waiting = world.send(sync(&follower, Vec::new()));
    world.send(sync(&leader, vec![("stranger".to_owned(), "x".into())]));
    let reply = world.synced(waiting);
    assert_eq!((reply.error, reply.assignment), (ErrorCode::None, Bytes::new()));
    assert_eq!(world.describe(GROUP).members.len(), 2);
}

#[test]
fn what_does_not_fit_the_generation_is_refused() {
    let mut world = World::new();
    let nobody = JoinReply::refused("m".to_owned(), ErrorCode::None);
    let token = world.send(sync(&nobody, Vec::new()));
    assert_eq!(world.synced(token).error, ErrorCode::UnknownMemberId, "no such group");
    let (leader, _) = joined_pair(&mut world);
    let cases = [
        (with(&leader, |r| r.group_id.clear()), ErrorCode::InvalidGroupId),
        (with(&leader, |r| r.member_id = "stranger".to_owned()), ErrorCode::UnknownMemberId),
        (with(&leader, |r| r.generation_id = 2), ErrorCode::IllegalGeneration),
        (with(&leader, |r| r.generation_id = 0), ErrorCode::IllegalGeneration),
        (
            with(&leader, |r| r.protocol_type = Some("connect".to_owned())),
            ErrorCode::InconsistentGroupProtocol,
        ),
        (
            with(&leader, |r| r.protocol_name = Some("sticky".to_owned())),
            ErrorCode::InconsistentGroupProtocol,
        ),
        (with(&leader, |r| r.group_instance_id = Some("static".to_owned())), ErrorCode::UnknownMemberId),
    ];
    for (request, error) in cases {
        let token = world.send(request);
        assert_eq!(world.synced(token).error, error);
    }
    let unnamed = with(&leader, |r| (r.protocol_type, r.protocol_name) = (None, None));
    let token = world.send(unnamed);
    assert_eq!(world.synced(token).error, ErrorCode::None, "before version 5 nothing is named");
}

#[test]
fn a_sync_while_a_rebalance_is_prepared_is_told_so() {
    let mut world = World::new();
    let members = world.stable(vec![join(""), join("")]);
    let follower = members.iter().find(|m| m.member_id != m.leader).expect("a follower");
    world.send(GroupRequest::Join(join(&follower.leader)));
    let token = world.send(sync(follower, Vec::new()));
    assert_eq!(world.synced(token).error, ErrorCode::RebalanceInProgress);
}

#[test]
fn an_assignment_that_cannot_be_written_is_an_error_for_all_and_a_new_rebalance() {
    let errors = [
        (ErrorCode::KafkaStorageError, ErrorCode::NotCoordinator),
        (ErrorCode::NotLeaderOrFollower, ErrorCode::NotCoordinator),
        (ErrorCode::MessageTooLarge, ErrorCode::UnknownServerError),
        (ErrorCode::RequestTimedOut, ErrorCode::CoordinatorNotAvailable),
    ];
    for (written, answered) in errors {
        let mut world = World::new();
        let (leader, follower) = joined_pair(&mut world);
        world.persists = false;
        let waiting = world.send(sync(&follower, Vec::new()));
        let leading = world.send(sync(&leader, vec![(leader.member_id.clone(), "part".into())]));
        world.fail_next(written);
        assert_eq!(world.synced(waiting).error, answered);
        assert_eq!(world.synced(leading).error, answered);
        let description = world.describe(GROUP);
        assert_eq!(description.state, Some(GroupState::PreparingRebalance));
        assert!(description.members.iter().all(|member| member.assignment.is_empty()));
    }
}

#[test]
fn a_rebalance_that_begins_while_the_assignment_is_written_makes_it_worthless() {
    let mut world = World::new();
    let (leader, follower) = joined_pair(&mut world);
    world.persists = false;
    let waiting = world.send(sync(&follower, Vec::new()));
    let leading = world.send(sync(&leader, vec![(leader.member_id.clone(), "old".into())]));
    let new = world.send(GroupRequest::Join(join("")));
    assert_eq!(world.synced(waiting).error, ErrorCode::RebalanceInProgress);
    assert_eq!(world.synced(leading).error, ErrorCode::RebalanceInProgress);
    world.persist_next();
    assert_eq!(world.describe(GROUP).state, Some(GroupState::PreparingRebalance));
    let again = [&leader, &follower].map(|member| world.send(GroupRequest::Join(join(&member.member_id))));
    let replies = again.map(|token| world.joined(token));
    assert!(replies.iter().all(|reply| reply.generation_id == 2));
    assert_eq!(world.joined(new).generation_id, 2);
    assert!(world.describe(GROUP).members.iter().all(|member| member.assignment.is_empty()));
}

#[test]
fn a_leader_that_asks_again_waits_for_its_first_assignment() {
    let mut world = World::eager();
    let token = world.send(GroupRequest::Join(join("")));
    let leader = world.joined(token);
    world.persists = false;
    let first = world.send(sync(&leader, vec![(leader.member_id.clone(), "first".into())]));
    let second = world.send(sync(&leader, vec![(leader.member_id.clone(), "second".into())]));
    assert_eq!(world.synced(first).error, ErrorCode::RebalanceInProgress, "the connection was given up");
    assert_eq!(world.appends.len(), 1);
    world.persist_next();
    assert_eq!(world.synced(second).assignment, "first", "what is on disk is what is handed out");
}

#[test]
fn members_that_never_sync_are_out_after_the_rebalance_timeout() {
    let mut world = World::new();
    let (leader, follower) = joined_pair(&mut world);
    let token = world.send(sync(&leader, Vec::new()));
    assert_eq!(world.synced(token).error, ErrorCode::None);
    for _ in 0..19 {
        world.advance(3_000);
        assert_eq!(world.heartbeat(&leader.member_id, 1), ErrorCode::None);
        assert_eq!(world.heartbeat(&follower.member_id, 1), ErrorCode::None);
    }
    world.advance(3_000);
    assert_eq!(world.heartbeat(&leader.member_id, 1), ErrorCode::RebalanceInProgress);
    assert_eq!(world.heartbeat(&follower.member_id, 1), ErrorCode::UnknownMemberId);
}

#[test]
fn when_nobody_syncs_the_group_becomes_empty() {
    let mut world = World::new();
    let (leader, follower) = joined_pair(&mut world);
    for _ in 0..20 {
        world.advance(3_000);
        world.heartbeat(&leader.member_id, 1);
        world.heartbeat(&follower.member_id, 1);
    }
    assert_eq!(world.describe(GROUP).state, Some(GroupState::Empty));
}

#[test]
fn a_member_that_waits_for_its_assignment_is_not_dropped_for_silence() {
    let mut world = World::new();
    let (leader, follower) = joined_pair(&mut world);
    let waiting = world.send(sync(&follower, Vec::new()));
    for _ in 0..10 {
        world.advance(5_000);
        assert_eq!(world.heartbeat(&leader.member_id, 1), ErrorCode::None);
    }
    world.send(sync(&leader, Vec::new()));
    assert_eq!(world.synced(waiting).error, ErrorCode::None);
    world.advance(9_999);
    assert_eq!(world.heartbeat(&follower.member_id, 1), ErrorCode::None, "its session began with the answer");
}

#[test]
fn a_generation_that_is_given_up_takes_its_assignments_back() {
    let mut world = World::eager();
    let member = world.stable(vec![join("")]).remove(0);
    assert!(!world.describe(GROUP).members[0].assignment.is_empty());
    let token = world.send(GroupRequest::Join(join(&member.member_id)));
    assert_eq!(world.joined(token).generation_id, 2);
    assert!(!world.describe(GROUP).members[0].assignment.is_empty(), "until the new one is there");
    world.send(GroupRequest::Join(join("")));
    let members = world.describe(GROUP).members;
    assert!(members.iter().all(|member| member.assignment.is_empty()));
}
