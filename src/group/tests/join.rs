//! JoinGroup of dynamic members.

use super::harness::{GROUP, World, join, protocol, sync};
use crate::errors::ErrorCode;
use crate::group::{GroupConfig, GroupRequest, GroupState, JoinGroup, JoinReply};
use crate::limits::{GROUP_MEMBER_METADATA_BYTES_MAX, GROUP_PROTOCOLS_MAX};

fn refused(world: &mut World, request: JoinGroup) -> (ErrorCode, String) {
    let token = world.send(GroupRequest::Join(request));
    let reply = world.joined(token);
    assert_eq!((reply.generation_id, reply.leader.as_str()), (-1, ""));
    assert!(reply.members.is_empty());
    (reply.error, reply.member_id)
}

#[test]
fn what_no_group_accepts_is_refused_first() {
    let mut world = World::new();
    let nameless = JoinGroup { group_id: String::new(), ..join("m") };
    assert_eq!(refused(&mut world, nameless), (ErrorCode::InvalidGroupId, "m".to_owned()));
    for session_timeout_ms in [5_999, 1_800_001, -1] {
        let request = JoinGroup { session_timeout_ms, ..join("m") };
        assert_eq!(refused(&mut world, request), (ErrorCode::InvalidSessionTimeout, "m".to_owned()));
    }
    let many = (0..=GROUP_PROTOCOLS_MAX).map(|n| protocol(&n.to_string(), &[])).collect();
    assert_eq!(refused(&mut world, JoinGroup { protocols: many, ..join("") }).0, ErrorCode::InvalidRequest);
    let mut large = join("");
    large.protocols[0].metadata = vec![0; GROUP_MEMBER_METADATA_BYTES_MAX].into();
    assert_eq!(refused(&mut world, large).0, ErrorCode::InvalidRequest);
    assert_eq!(world.coordinator.group_count(), 0);
}

#[test]
fn an_unknown_member_of_an_unknown_group_is_unknown() {
    let mut world = World::new();
    assert_eq!(refused(&mut world, join("m")), (ErrorCode::UnknownMemberId, "m".to_owned()));
    assert_eq!(world.coordinator.group_count(), 0);
}

#[test]
fn a_dynamic_member_must_come_back_with_its_id() {
    let mut world = World::eager();
    let first = JoinGroup { requires_member_id: true, ..join("") };
    let (error, member_id) = refused(&mut world, first.clone());
    assert_eq!(error, ErrorCode::MemberIdRequired);
    assert!(member_id.starts_with("client-"));
    assert_eq!(world.describe(GROUP).state, Some(GroupState::Empty));
    let token = world.send(GroupRequest::Join(JoinGroup { member_id: member_id.clone(), ..first }));
    let reply = world.joined(token);
    assert_eq!((reply.error, reply.generation_id), (ErrorCode::None, 1));
    assert_eq!((reply.member_id.clone(), reply.leader), (member_id.clone(), member_id));
}

#[test]
fn an_id_that_nobody_comes_back_with_is_forgotten_after_the_session_timeout() {
    let mut world = World::eager();
    let first = JoinGroup { requires_member_id: true, ..join("") };
    let (_, member_id) = refused(&mut world, first.clone());
    world.advance(9_999);
    assert_eq!(world.coordinator.group_count(), 1);
    world.advance(1);
    assert_eq!(world.coordinator.group_count(), 0, "nothing of the group is left");
    let late = JoinGroup { member_id, ..first };
    assert_eq!(refused(&mut world, late).0, ErrorCode::UnknownMemberId);
    assert!(world.log.is_empty(), "a group that never had a generation leaves no record");
}

#[test]
fn a_promised_member_holds_a_rebalance_up_until_its_promise_ends() {
    let mut world = World::eager();
    let stable = world.stable(vec![join("")]);
    let (_, promised) = refused(&mut world, JoinGroup { requires_member_id: true, ..join("") });
    let again = world.send(GroupRequest::Join(join(&stable[0].member_id)));
    assert!(!world.is_answered(again), "the promised member may still come");
    world.advance(10_000);
    assert_eq!(world.joined(again).generation_id, 2);
    assert_eq!(refused(&mut world, join(&promised)).0, ErrorCode::UnknownMemberId);
}

#[test]
fn the_first_generation_waits_for_the_initial_delay_and_longer_while_members_come() {
    let mut world = World::new();
    let first = world.send(GroupRequest::Join(join("")));
    world.advance(2_999);
    assert!(!world.is_answered(first));
    let second = world.send(GroupRequest::Join(join("")));
    world.advance(1);
    assert!(!world.is_answered(first), "a member came: another delay");
    world.advance(2_999);
    assert!(!world.is_answered(second));
    world.advance(1);
    let (first, second) = (world.joined(first), world.joined(second));
    assert_eq!((first.generation_id, second.generation_id), (1, 1));
    assert_eq!(first.leader, second.leader);
    assert_eq!(first.members.len() + second.members.len(), 2, "the leader alone is told the members");
}

#[test]
fn the_initial_delay_is_bounded_by_the_rebalance_timeout() {
    let mut world = World::new();
    let request = || GroupRequest::Join(JoinGroup { rebalance_timeout_ms: 7_000, ..join("") });
    let first = world.send(request());
    for _ in 0..3 {
        world.advance(1_000);
        world.send(request());
        world.advance(1_000);
    }
    world.advance(999);
    assert!(
        !world.is_answered(first),
        "two delays of 3 s, and of a third what is left of the rebalance timeout"
    );
    world.advance(1);
    assert!(world.is_answered(first));
}

#[test]
fn no_initial_delay_means_at_once() {
    let mut world = World::eager();
    let token = world.send(GroupRequest::Join(join("")));
    assert_eq!(world.joined(token).generation_id, 1);
}

#[test]
fn protocols_must_be_common_and_of_one_type() {
    let mut world = World::eager();
    let none = JoinGroup { protocols: Vec::new(), ..join("") };
    assert_eq!(refused(&mut world, none).0, ErrorCode::InconsistentGroupProtocol);
    let untyped = JoinGroup { protocol_type: String::new(), ..join("") };
    assert_eq!(refused(&mut world, untyped).0, ErrorCode::InconsistentGroupProtocol);
    assert_eq!(world.coordinator.group_count(), 0);
    let member = world.stable(vec![join("")]).remove(0);
    let connect = JoinGroup { protocol_type: "connect".to_owned(), ..join("") };
    assert_eq!(refused(&mut world, connect).0, ErrorCode::InconsistentGroupProtocol);
    let other = JoinGroup { protocols: vec![protocol("sticky", &[])], ..join("") };
    assert_eq!(refused(&mut world, other).0, ErrorCode::InconsistentGroupProtocol);
    let changed = JoinGroup { protocols: vec![protocol("sticky", &[])], ..join(&member.member_id) };
    assert_eq!(refused(&mut world, changed).0, ErrorCode::InconsistentGroupProtocol);
    assert_eq!(world.describe(GROUP).state, Some(GroupState::Stable));
}

#[test]
fn members_vote_among_the_protocols_that_all_have() {
    let offers = |names: &[&str]| JoinGroup {
        protocols: names.iter().map(|name| protocol(name, &[name])).collect(),
        ..join("")
    };
    let chosen = |requests: Vec<JoinGroup>| {
        let replies = World::new().stable(requests);
        replies[0].protocol_name.clone().expect("a protocol")
    };
    assert_eq!(chosen(vec![offers(&["a", "b"]), offers(&["b", "a"]), offers(&["b", "a"])]), "b");
    assert_eq!(chosen(vec![offers(&["a", "b", "c"]), offers(&["c", "b"])]), "b", "the leader decides a tie");
    assert_eq!(chosen(vec![offers(&["a", "c"]), offers(&["c", "b"])]), "c");
}

#[test]
fn a_duplicate_protocol_counts_once() {
    let mut world = World::eager();
    let twice =
        JoinGroup { protocols: vec![protocol("range", &["x"]), protocol("range", &["y"])], ..join("") };
    let first = world.stable(vec![twice]).remove(0);
    assert_eq!(first.members[0].metadata, protocol("range", &["x"]).metadata);
    let second = world.send(GroupRequest::Join(join("")));
    let again = world.send(GroupRequest::Join(join(&first.member_id)));
    assert_eq!(world.joined(second).error, ErrorCode::None);
    assert_eq!(world.joined(again).error, ErrorCode::None);
}

#[test]
fn a_lost_answer_is_given_again_while_the_generation_is_completed() {
    let mut world = World::eager();
    let token = world.send(GroupRequest::Join(join("")));
    let first = world.joined(token);
    let token = world.send(GroupRequest::Join(join(&first.member_id)));
    assert_eq!(world.joined(token), first);
}

#[test]
fn new_metadata_while_a_generation_is_completed_starts_over() {
    let mut world = World::new();
    let members = joined_pair(&mut world);
    let follower = members.iter().find(|m| m.member_id != m.leader).expect("a follower");
    let leader = members.iter().find(|m| m.member_id == m.leader).expect("a leader");
    let waiting = world.send(sync(follower, Vec::new()));
    let changed = JoinGroup { protocols: vec![protocol("range", &["other"])], ..join(&leader.member_id) };
    let rejoined = world.send(GroupRequest::Join(changed));
    assert_eq!(world.synced(waiting).error, ErrorCode::RebalanceInProgress);
    assert!(!world.is_answered(rejoined));
    let token = world.send(GroupRequest::Join(join(&follower.member_id)));
    assert_eq!(world.joined(token).generation_id, 2);
    assert_eq!(world.joined(rejoined).generation_id, 2);
}

fn joined_pair(world: &mut World) -> Vec<JoinReply> {
    let tokens = [world.send(GroupRequest::Join(join(""))), world.send(GroupRequest::Join(join("")))];
    world.advance(6_000);
    tokens.map(|token| world.joined(token)).to_vec()
}

#[test]
fn in_a_stable_group_the_leader_or_new_metadata_rebalances_and_a_mere_follower_does_not() {
    let mut world = World::new();
    let members = world.stable(vec![join(""), join("")]);
    let follower = members.iter().find(|m| m.member_id != m.leader).expect("a follower");
    let leader = members.iter().find(|m| m.member_id == m.leader).expect("a leader");

    let token = world.send(GroupRequest::Join(join(&follower.member_id)));
    assert_eq!(world.joined(token).generation_id, 1);
    assert_eq!(world.describe(GROUP).state, Some(GroupState::Stable));

    let changed = JoinGroup { protocols: vec![protocol("range", &["new"])], ..join(&follower.member_id) };
    world.send(GroupRequest::Join(changed));
    assert_eq!(world.describe(GROUP).state, Some(GroupState::PreparingRebalance));
    world.send(GroupRequest::Join(join(&leader.member_id)));
    assert_eq!(world.describe(GROUP).state, Some(GroupState::CompletingRebalance));
}

#[test]
fn the_leader_that_joins_again_rebalances_without_any_change() {
    let mut world = World::eager();
    let leader = world.stable(vec![join("")]).remove(0);
    let token = world.send(GroupRequest::Join(join(&leader.member_id)));
    assert_eq!(world.joined(token).generation_id, 2);
}

#[test]
fn who_does_not_come_back_within_the_rebalance_timeout_is_out() {
    let mut world = World::new();
    let members = world.stable(vec![join(""), join("")]);
    let follower = members.iter().find(|m| m.member_id != m.leader).expect("a follower");
    let leader = members.iter().find(|m| m.member_id == m.leader).expect("a leader");
    // The absent leader heartbeats all the time, which does not save it.
    let changed = JoinGroup { protocols: vec![protocol("range", &["new"])], ..join(&follower.member_id) };
    let token = world.send(GroupRequest::Join(changed));
    for _ in 0..19 {
        world.advance(3_000);
        assert_eq!(world.heartbeat(&leader.member_id, 1), ErrorCode::RebalanceInProgress);
        assert!(!world.is_answered(token));
    }
    world.advance(3_000);
    let reply = world.joined(token);
    assert_eq!((reply.generation_id, &reply.leader), (2, &follower.member_id));
    assert_eq!(world.heartbeat(&leader.member_id, 1), ErrorCode::UnknownMemberId);
}

#[test]
fn a_rebalance_waits_for_the_longest_rebalance_timeout() {
    let mut world = World::new();
    let slow = JoinGroup { rebalance_timeout_ms: 300_000, session_timeout_ms: 600_000, ..join("") };
    let members = world.stable(vec![slow, join("")]);
    let leader = members.iter().find(|m| m.member_id == m.leader).expect("a leader").clone();
    let request = JoinGroup { session_timeout_ms: 600_000, ..join(&leader.member_id) };
    // Whoever leads joins again; the other one never does.
    let other_is_slow = leader.member_id != members[0].member_id;
    let token = world.send(GroupRequest::Join(request));
    world.advance(if other_is_slow { 299_999 } else { 9_999 });
    assert!(!world.is_answered(token));
    world.advance(1);
    assert!(world.is_answered(token));
}

#[test]
fn a_new_member_whose_join_is_parked_expires_after_five_minutes() {
    let mut world = World::new();
    let patient = || JoinGroup { rebalance_timeout_ms: 900_000, session_timeout_ms: 900_000, ..join("") };
    let stable = world.stable(vec![patient()]);
    let parked = world.send(GroupRequest::Join(patient()));
    world.advance(299_999);
    assert!(!world.is_answered(parked));
    world.advance(1);
    assert_eq!(world.joined(parked).error, ErrorCode::UnknownMemberId);
    let again =
        world.send(GroupRequest::Join(JoinGroup { member_id: stable[0].member_id.clone(), ..patient() }));
    assert_eq!(world.joined(again).members.len(), 1, "the member that was there is alone again");
}

#[test]
fn a_second_join_of_one_member_releases_the_first() {
    let mut world = World::new();
    let members = world.stable(vec![join(""), join("")]);
    let first = world.send(GroupRequest::Join(join(&members[0].leader)));
    assert!(!world.is_answered(first));
    let second = world.send(GroupRequest::Join(join(&members[0].leader)));
    assert_eq!(world.joined(first).error, ErrorCode::RebalanceInProgress);
    assert!(!world.is_answered(second));
    world.advance(60_000);
    assert_eq!(world.joined(second).error, ErrorCode::None);
}

#[test]
fn a_full_group_refuses_new_members_and_keeps_its_own() {
    let mut world = World::with(GroupConfig { max_size: 2, ..GroupConfig::default() });
    let members = world.stable(vec![join(""), join("")]);
    assert_eq!(refused(&mut world, join("")).0, ErrorCode::GroupMaxSizeReached);
    let first = world.send(GroupRequest::Join(join(&members[0].leader)));
    let follower = members.iter().find(|m| m.member_id != m.leader).expect("a follower");
    let second = world.send(GroupRequest::Join(join(&follower.member_id)));
    assert_eq!(world.joined(first).error, ErrorCode::None);
    assert_eq!(world.joined(second).error, ErrorCode::None);
}

#[test]
fn while_a_rebalance_is_prepared_the_first_to_come_back_have_the_places() {
    let mut world = World::with(GroupConfig { max_size: 2, ..GroupConfig::default() });
    let members = world.stable(vec![join(""), join("")]);
    let follower = members.iter().find(|m| m.member_id != m.leader).expect("a follower");
    let leader = world.send(GroupRequest::Join(join(&follower.leader)));
    let new = world.send(GroupRequest::Join(join("")));
    assert!(!world.is_answered(new), "one place is free: the follower has not come back");
    assert_eq!(refused(&mut world, join(&follower.member_id)).0, ErrorCode::GroupMaxSizeReached);
    assert_eq!(world.joined(leader).generation_id, 2, "nobody else is waited for");
    assert_eq!(world.joined(new).generation_id, 2);
    assert_eq!(world.heartbeat(&follower.member_id, 1), ErrorCode::UnknownMemberId);
}

#[test]
fn when_nobody_comes_back_sessions_end_the_group() {
    let mut world = World::new();
    let members = world.stable(vec![join(""), join("")]);
    world.advance(10_000);
    let description = world.describe(GROUP);
    assert_eq!(description.state, Some(GroupState::Empty));
    assert!(description.members.is_empty());
    assert_eq!(world.heartbeat(&members[0].member_id, 1), ErrorCode::UnknownMemberId);
    let token = world.send(GroupRequest::Join(join("")));
    world.advance(3_000);
    assert_eq!(world.joined(token).generation_id, 3, "the empty group was a generation too");
}
