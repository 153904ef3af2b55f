//! Appends that a full disk keeps in memory: answered as failed, and in force once they are on disk.

use super::harness::*;
use crate::errors::ErrorCode;
use crate::group::{GroupConfig, GroupReply, GroupRequest, GroupState};

#[test]
fn a_commit_that_is_on_disk_late_is_in_force_from_then_on() {
    let mut world = World::eager();
    world.commit(commit("", -1, "topic", 0, 1));
    world.persists = false;
    let token = world.send(GroupRequest::CommitOffsets(commit("", -1, "topic", 0, 2)));
    let late = world.delay_next();
    assert_eq!(
        world.committed(token).topics[0].partitions,
        [(0, ErrorCode::CoordinatorNotAvailable)],
        "the client tries again"
    );
    assert_eq!(world.offset("topic", 0), 1, "as the client was told");
    world.written_late(late);
    assert_eq!(world.offset("topic", 0), 2);
    assert_eq!(world.restarted(GroupConfig::default()).offset("topic", 0), 2);
    world.written_late(late);
    assert_eq!(world.offset("topic", 0), 2, "a second report changes nothing");
}

#[test]
fn what_never_reaches_the_disk_is_forgotten() {
    let mut world = World::eager();
    world.persists = false;
    world.send(GroupRequest::CommitOffsets(commit("", -1, "topic", 0, 2)));
    let (late, _) = world.delay_next();
    world.coordinator.on_written_late(world.clock(), late, Err(ErrorCode::KafkaStorageError));
    assert_eq!(world.offset("topic", 0), -1);
    assert_eq!(world.coordinator.group_count(), 0);
}

#[test]
fn what_comes_behind_a_late_append_takes_effect_behind_it() {
    let mut world = World::eager();
    world.persists = false;
    world.send(GroupRequest::CommitOffsets(commit("", -1, "topic", 0, 1)));
    let late = world.delay_next();
    let token = world.send(GroupRequest::CommitOffsets(commit("", -1, "topic", 0, 2)));
    world.persist_next();
    assert!(!world.is_answered(token), "the one before it is on disk, too, and not in force");
    world.written_late(late);
    assert!(world.is_answered(token));
    assert_eq!(world.offset("topic", 0), 2);
    let failing = world.send(GroupRequest::CommitOffsets(commit("", -1, "topic", 0, 3)));
    let late = world.delay_next();
    assert!(world.is_answered(failing));
    let refused = world.send(GroupRequest::CommitOffsets(commit("", -1, "topic", 0, 4)));
    world.fail_next(ErrorCode::KafkaStorageError);
    assert!(world.is_answered(refused), "what is not in the log waits for nothing");
    world.written_late(late);
    assert_eq!(world.offset("topic", 0), 3);
}

#[test]
fn a_deletion_that_is_on_disk_late_ends_the_group() {
    let mut world = World::eager();
    world.commit(commit("", -1, "topic", 0, 5));
    world.persists = false;
    let token = world.send(GroupRequest::Delete { group_id: GROUP.to_owned() });
    let late = world.delay_next();
    let GroupReply::Delete(reply) = world.answer(token) else { panic!("not a deletion") };
    assert_eq!(reply.error, ErrorCode::CoordinatorNotAvailable);
    assert_eq!(world.describe(GROUP).state, Some(GroupState::Empty));
    world.written_late(late);
    assert_eq!(world.coordinator.group_count(), 0);
    assert_eq!(world.restarted(GroupConfig::default()).offset("topic", 0), -1);
}

#[test]
fn a_deletion_takes_a_commit_along_that_is_still_late() {
    let mut world = World::eager();
    world.commit(commit("", -1, "topic", 0, 5));
    world.persists = false;
    world.send(GroupRequest::CommitOffsets(commit("", -1, "topic", 1, 6)));
    let late = world.delay_next();
    let token = world.send(GroupRequest::Delete { group_id: GROUP.to_owned() });
    world.persist_next();
    world.written_late(late);
    let GroupReply::Delete(reply) = world.answer(token) else { panic!("not a deletion") };
    assert_eq!(reply.error, ErrorCode::None);
    assert_eq!(world.coordinator.group_count(), 0);
    assert_eq!(world.restarted(GroupConfig::default()).offset("topic", 1), -1);
}

/// Its own record comes behind the tombstone, which ends nothing that lives.
#[test]
fn a_group_that_has_members_again_outlives_its_late_deletion() {
    let mut world = World::eager();
    world.commit(commit("", -1, "topic", 0, 5));
    world.persists = false;
    world.send(GroupRequest::Delete { group_id: GROUP.to_owned() });
    let late = world.delay_next();
    let token = world.send(GroupRequest::Join(join("")));
    world.advance(3_000);
    let member = world.joined(token);
    assert_eq!(member.error, ErrorCode::None);
    world.written_late(late);
    assert_eq!(world.offset("topic", 0), -1, "its offsets are gone");
    assert_eq!(world.heartbeat(&member.member_id, member.generation_id), ErrorCode::None);
}

#[test]
fn a_partition_that_is_given_up_forgets_what_is_late() {
    let mut world = World::eager();
    world.persists = false;
    world.send(GroupRequest::CommitOffsets(commit("", -1, "topic", 0, 2)));
    let late = world.delay_next();
    world.coordinator.unload(world.clock(), 0);
    world.written_late(late);
    assert_eq!(world.coordinator.group_count(), 0);
}
