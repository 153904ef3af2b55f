//! When offsets and groups end by themselves (KIP-211).

use super::harness::{GROUP, World, commit, join, leaving, protocol};
use crate::errors::ErrorCode;
use crate::group::{CommitOffsets, GroupConfig, GroupRequest, GroupState, JoinGroup};
use crate::limits::{GROUP_SWEEP_GROUPS_MAX, GROUP_TOMBSTONES_PER_APPEND_MAX};

const DAY_MS: i64 = 24 * 60 * 60 * 1_000;
const INTERVAL_MS: i64 = 600_000;

#[test]
fn offsets_without_a_group_expire_seven_days_after_the_commit() {
    let mut world = World::eager();
    world.commit(commit("", -1, "topic", 0, 5));
    world.advance(3 * DAY_MS);
    world.commit(commit("", -1, "topic", 1, 6));
    world.advance(4 * DAY_MS - INTERVAL_MS);
    assert_eq!(world.offset("topic", 0), 5);
    world.advance(2 * INTERVAL_MS);
    assert_eq!((world.offset("topic", 0), world.offset("topic", 1)), (-1, 6));
    world.advance(3 * DAY_MS);
    assert_eq!(world.coordinator.group_count(), 0, "the group ends with its last offset");
    let tombstones = world.log[&0].iter().filter(|record| record.value.is_none()).count();
    assert_eq!(tombstones, 3, "two offsets and the group");
    assert_eq!(world.restarted(GroupConfig::default()).coordinator.group_count(), 0);
}

#[test]
fn offsets_of_a_group_expire_seven_days_after_its_last_member_left() {
    let mut world = World::eager();
    let patient = JoinGroup { session_timeout_ms: 1_800_000, ..join("") };
    let member = world.stable(vec![patient]).remove(0);
    world.commit(commit(&member.member_id, 1, "topic", 0, 5));
    for _ in 0..(10 * DAY_MS / 1_500_000) {
        world.advance(1_500_000);
        assert_eq!(world.heartbeat(&member.member_id, 1), ErrorCode::None);
    }
    assert_eq!(world.offset("topic", 0), 5, "what an active member reads does not expire");
    world.leave(vec![leaving(&member.member_id)]);
    world.advance(7 * DAY_MS - INTERVAL_MS);
    let mut world = world.restarted(GroupConfig::default());
    assert_eq!(world.offset("topic", 0), 5, "a restart does not prolong it");
    world.advance(2 * INTERVAL_MS);
    assert_eq!(world.offset("topic", 0), -1);
    assert_eq!(world.coordinator.group_count(), 0);
}

#[test]
fn an_active_group_loses_the_offsets_of_topics_that_it_no_longer_reads() {
    let mut world = World::eager();
    let patient = |topics: &[&str]| JoinGroup {
        session_timeout_ms: 1_800_000,
        protocols: vec![protocol("range", topics)],
        ..join("")
    };
    world.commit(commit("", -1, "old", 0, 5));
    let member = world.stable(vec![patient(&["new"])]).remove(0);
    world.commit(commit(&member.member_id, 1, "new", 0, 6));
    for _ in 0..(8 * DAY_MS / 1_500_000) {
        world.advance(1_500_000);
        world.heartbeat(&member.member_id, 1);
    }
    assert_eq!((world.offset("old", 0), world.offset("new", 0)), (-1, 6));
    assert_eq!(world.describe(GROUP).state, Some(GroupState::Stable));
}

#[test]
fn nothing_of_an_active_group_expires_whose_subscriptions_are_unknown() {
    for kind in ["connect", "consumer"] {
        let mut world = World::eager();
        world.commit(commit("", -1, "old", 0, 5));
        let mut request =
            JoinGroup { session_timeout_ms: 1_800_000, protocol_type: kind.to_owned(), ..join("") };
        request.protocols[0].metadata = "?".into();
        let member = world.stable(vec![request]).remove(0);
        for _ in 0..(8 * DAY_MS / 1_500_000) {
            world.advance(1_500_000);
            world.heartbeat(&member.member_id, 1);
        }
        assert_eq!(world.offset("old", 0), 5, "{kind}");
    }
}

#[test]
fn a_retention_given_by_the_client_beats_the_rule_both_ways() {
    let mut world = World::eager();
    let with = |retention_ms, partition| CommitOffsets {
        retention_time_ms: Some(retention_ms),
        ..commit("", -1, "topic", partition, 5)
    };
    world.commit(with(DAY_MS, 0));
    world.commit(with(30 * DAY_MS, 1));
    let mut world = world.restarted(GroupConfig::default());
    world.advance(DAY_MS + INTERVAL_MS);
    assert_eq!((world.offset("topic", 0), world.offset("topic", 1)), (-1, 5));
    world.advance(20 * DAY_MS);
    assert_eq!(world.offset("topic", 1), 5);
    world.advance(10 * DAY_MS);
    assert_eq!(world.offset("topic", 1), -1);
}

#[test]
fn a_group_that_was_left_without_offsets_ends_at_the_next_search() {
    let mut world = World::eager();
    let member = world.stable(vec![join("")]).remove(0);
    world.leave(vec![leaving(&member.member_id)]);
    assert_eq!(world.describe(GROUP).state, Some(GroupState::Empty));
    world.advance(INTERVAL_MS);
    assert_eq!(world.describe(GROUP).error, ErrorCode::GroupIdNotFound);
}

#[test]
fn a_group_with_a_commit_under_way_is_passed_over() {
    let mut world = World::eager();
    world.commit(commit("", -1, "topic", 0, 5));
    world.advance(7 * DAY_MS - INTERVAL_MS / 2);
    world.persists = false;
    let token = world.send(GroupRequest::CommitOffsets(commit("", -1, "topic", 0, 6)));
    world.advance(INTERVAL_MS);
    assert_eq!(world.appends.len(), 1, "no tombstone is written behind the commit");
    world.persist_next();
    assert!(world.is_answered(token));
    world.persists = true;
    world.advance(INTERVAL_MS);
    assert_eq!(world.offset("topic", 0), 6);
}

#[test]
fn while_its_tombstones_are_written_a_group_is_dead_and_if_they_fail_it_lives_on() {
    let mut world = World::eager();
    world.commit(commit("", -1, "topic", 0, 5));
    world.persists = false;
    world.advance(8 * DAY_MS);
    assert_eq!(world.describe(GROUP).state, Some(GroupState::Dead));
    let token = world.send(GroupRequest::Join(join("")));
    assert_eq!(world.joined(token).error, ErrorCode::CoordinatorNotAvailable);
    assert_eq!(world.commit(commit("", -1, "topic", 0, 6)), ErrorCode::CoordinatorNotAvailable);
    assert_eq!(world.heartbeat("m", 1), ErrorCode::CoordinatorNotAvailable);
    assert_eq!(world.leave(vec![leaving("m")]).error, ErrorCode::CoordinatorNotAvailable);
    assert_eq!(world.offset("topic", 0), 5, "nothing is deleted yet");
    world.fail_next(ErrorCode::KafkaStorageError);
    assert_eq!(world.describe(GROUP).state, Some(GroupState::Empty));
    assert_eq!(world.offset("topic", 0), 5);
    world.persists = true;
    world.advance(INTERVAL_MS);
    assert_eq!(world.coordinator.group_count(), 0);
}

#[test]
fn a_large_group_ends_in_several_appends_and_many_groups_in_several_steps() {
    let mut world = World::eager();
    let partitions = i32::try_from(GROUP_TOMBSTONES_PER_APPEND_MAX).expect("a small limit") + 500;
    let mut large = commit("", -1, "topic", 0, 5);
    let partition = large.topics[0].partitions.remove(0);
    for index in 0..partitions {
        let mut partition = partition.clone();
        partition.partition = index;
        large.topics[0].partitions.push(partition);
    }
    world.commit(large);
    for n in 0..GROUP_SWEEP_GROUPS_MAX + 10 {
        world.commit(CommitOffsets { group_id: format!("small-{n}"), ..commit("", -1, "topic", 0, 5) });
    }
    let appends_before = world.log[&0].len();
    world.advance(8 * DAY_MS);
    assert_eq!(world.coordinator.group_count(), 0);
    assert_eq!(world.log[&0].len(), appends_before * 2 + GROUP_SWEEP_GROUPS_MAX + 11, "a tombstone for each");
    assert_eq!(world.restarted(GroupConfig::default()).coordinator.group_count(), 0);
}

/// The tombstones of one search are several appends, and a disk that is full may refuse one and take the next.
#[test]
fn a_group_whose_part_of_a_search_is_refused_lives_on() {
    let mut world = World::eager();
    let groups = GROUP_TOMBSTONES_PER_APPEND_MAX / 2 - 100;
    for n in 0..groups {
        for partition in 0..2 {
            let request = commit("", -1, "topic", partition, 5);
            world.commit(CommitOffsets { group_id: format!("g-{n:04}"), ..request });
        }
    }
    world.persists = false;
    world.advance(8 * DAY_MS);
    assert!(world.appends.len() > 1, "the search is cut");
    world.fail_next(ErrorCode::KafkaStorageError);
    while !world.appends.is_empty() {
        world.persist_next();
    }
    let left = world.coordinator.group_count();
    assert!((1..groups).contains(&left), "{left} of {groups} groups live on");
    assert_eq!(world.describe("g-0000").state, Some(GroupState::Empty));
    world.persists = true;
    world.advance(INTERVAL_MS);
    assert_eq!(world.coordinator.group_count(), 0, "the next search ends them");
    assert_eq!(world.restarted(GroupConfig::default()).coordinator.group_count(), 0);
}

#[test]
fn a_clock_that_goes_back_expires_nothing() {
    let mut world = World::eager();
    world.commit(commit("", -1, "topic", 0, 5));
    world.wall -= 30 * DAY_MS;
    world.advance(2 * INTERVAL_MS);
    assert_eq!(world.offset("topic", 0), 5);
}
