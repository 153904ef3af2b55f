//! Heartbeats, sessions, and several groups side by side.

use super::harness::{GROUP, World, join};
use crate::errors::ErrorCode;
use crate::group::{GroupReply, GroupRequest, GroupState, Heartbeat, JoinGroup, partition_for_group};

#[test]
fn heartbeats_keep_a_session_and_silence_ends_it() {
    let mut world = World::new();
    let members = world.stable(vec![join(""), join("")]);
    let (a, b) = (&members[0].member_id, &members[1].member_id);
    for _ in 0..5 {
        world.advance(9_999);
        assert_eq!(world.heartbeat(a, 1), ErrorCode::None);
        assert_eq!(world.heartbeat(b, 1), ErrorCode::None);
    }
    world.advance(5_000);
    assert_eq!(world.heartbeat(a, 1), ErrorCode::None);
    world.advance(4_999);
    assert_eq!(world.describe(GROUP).members.len(), 2);
    world.advance(1);
    assert_eq!(world.describe(GROUP).members.len(), 1);
    assert_eq!(world.heartbeat(b, 1), ErrorCode::UnknownMemberId);
    assert_eq!(world.heartbeat(a, 1), ErrorCode::RebalanceInProgress);
}

#[test]
fn a_heartbeat_must_fit_the_generation() {
    let mut world = World::eager();
    assert_eq!(world.heartbeat("m", 1), ErrorCode::UnknownMemberId, "no such group");
    let member = world.stable(vec![join("")]).remove(0);
    assert_eq!(world.heartbeat(&member.member_id, 0), ErrorCode::IllegalGeneration);
    assert_eq!(world.heartbeat(&member.member_id, 2), ErrorCode::IllegalGeneration);
    assert_eq!(world.heartbeat("stranger", 1), ErrorCode::UnknownMemberId);
    let nameless = Heartbeat {
        group_id: String::new(),
        member_id: member.member_id.clone(),
        group_instance_id: None,
        generation_id: 1,
    };
    let token = world.send(GroupRequest::Heartbeat(nameless));
    assert_eq!(world.answer(token), GroupReply::Heartbeat(ErrorCode::InvalidGroupId));
}

#[test]
fn heartbeats_go_on_while_the_generation_is_completed() {
    let mut world = World::eager();
    let token = world.send(GroupRequest::Join(join("")));
    let member = world.joined(token);
    for _ in 0..5 {
        world.advance(9_000);
        assert_eq!(world.heartbeat(&member.member_id, 1), ErrorCode::None);
    }
    assert_eq!(world.describe(GROUP).state, Some(GroupState::CompletingRebalance));
}

#[test]
fn a_parked_join_of_a_known_member_outlives_its_session() {
    let mut world = World::new();
    let slow = JoinGroup { session_timeout_ms: 50_000, ..join("") };
    let members = world.stable(vec![slow.clone(), slow]);
    let leader = members[0].leader.clone();
    let follower = members.iter().find(|m| m.member_id != leader).expect("a follower").member_id.clone();
    // The leader now has a session of 10 s and waits for the follower for 40 s.
    let parked = world.send(GroupRequest::Join(join(&leader)));
    world.advance(40_000);
    assert!(!world.is_answered(parked));
    let other = world.send(GroupRequest::Join(join(&follower)));
    assert_eq!(world.joined(parked).error, ErrorCode::None);
    assert_eq!(world.joined(other).error, ErrorCode::None);
}

#[test]
fn the_expiry_of_the_last_absent_member_completes_a_rebalance() {
    let mut world = World::new();
    let members = world.stable(vec![join(""), join("")]);
    let leader = members[0].leader.clone();
    let parked = world.send(GroupRequest::Join(join(&leader)));
    world.advance(10_000);
    let reply = world.joined(parked);
    assert_eq!((reply.generation_id, reply.members.len()), (2, 1));
}

#[test]
fn groups_do_not_disturb_each_other() {
    let mut world = World::eager();
    let first = world.stable(vec![join("")]).remove(0);
    let elsewhere = JoinGroup { group_id: "other".to_owned(), ..join("") };
    let token = world.send(GroupRequest::Join(elsewhere));
    assert_eq!(world.joined(token).error, ErrorCode::None);
    assert_eq!(world.heartbeat(&first.member_id, 1), ErrorCode::None);
    assert_eq!(world.describe("other").members.len(), 1);
    assert_eq!(world.coordinator.group_count(), 2);
}

#[test]
fn the_partition_of_a_group_is_kafkas() {
    // "".hashCode() == 0, "a" == 97, "abc" == 96354, "ä" == 228; a pair of surrogates counts as two units.
    for (group_id, hash) in [("", 0), ("a", 97), ("abc", 96_354), ("ä", 228)] {
        assert_eq!(partition_for_group(group_id, 50), hash % 50, "{group_id}");
    }
    assert_eq!(partition_for_group("😀", 1_000_000_007), 0xd83d * 31 + 0xde00);
    // "polygenelubricants".hashCode() is the one number without a positive counterpart.
    assert_eq!(partition_for_group("polygenelubricants", 50), 0);
    // "console-consumer-1".hashCode() is negative.
    let negative = partition_for_group("console-consumer-12345", 50);
    assert!((0..50).contains(&negative));
}
