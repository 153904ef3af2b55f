//! DescribeGroups, ListGroups and DeleteGroups.

use super::harness::{GROUP, World, commit, join, join_static, leaving, protocol};
use crate::errors::ErrorCode;
use crate::group::{
    DeleteReply, GroupConfig, GroupReply, GroupRequest, GroupState, JoinGroup, ListGroups, ListReply,
};
use crate::limits::GROUP_TOMBSTONES_PER_APPEND_MAX;

fn list(world: &mut World, states: &[&str], types: &[&str]) -> ListReply {
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let request = ListGroups { states_filter: owned(states), types_filter: owned(types) };
    let token = world.send(GroupRequest::List(request));
    let GroupReply::List(reply) = world.answer(token) else { panic!("not a listing") };
    reply
}

fn delete(world: &mut World, group_id: &str) -> ErrorCode {
    let token = world.send(GroupRequest::Delete { group_id: group_id.to_owned() });
    let GroupReply::Delete(DeleteReply { error, .. }) = world.answer(token) else { panic!("not a deletion") };
    error
}

#[test]
fn a_description_shows_subscriptions_only_of_a_stable_group() {
    let mut world = World::new();
    let unknown = world.describe(GROUP);
    assert_eq!((unknown.error, unknown.state), (ErrorCode::GroupIdNotFound, Some(GroupState::Dead)));
    let members = world.stable(vec![join_static("i"), join("")]);
    let stable = world.describe(GROUP);
    assert_eq!(stable.state, Some(GroupState::Stable));
    assert_eq!((stable.protocol_type.as_str(), stable.protocol.as_str()), ("consumer", "range"));
    let fixed =
        stable.members.iter().find(|m| m.member_id == members[0].member_id).expect("the static member");
    assert_eq!(fixed.group_instance_id.as_deref(), Some("i"));
    assert_eq!((fixed.client_id.as_str(), fixed.client_host.as_str()), ("client", "/127.0.0.1"));
    assert_eq!(fixed.metadata, protocol("range", &["topic"]).metadata);
    assert_eq!(fixed.assignment, members[0].member_id.as_bytes());
    world.send(GroupRequest::Join(join("")));
    let preparing = world.describe(GROUP);
    assert_eq!((preparing.state, preparing.protocol.as_str()), (Some(GroupState::PreparingRebalance), ""));
    assert!(preparing.members.iter().all(|member| member.metadata.is_empty()));
    assert_eq!(preparing.members.len(), 3);
}

#[test]
fn a_listing_filters_by_state_and_type_in_any_case() {
    let mut world = World::eager();
    world.stable(vec![join("")]);
    world.commit(crate::group::CommitOffsets {
        group_id: "simple".to_owned(),
        ..commit("", -1, "topic", 0, 1)
    });
    let names = |reply: ListReply| reply.groups.into_iter().map(|group| group.group_id).collect::<Vec<_>>();
    assert_eq!(names(list(&mut world, &[], &[])), ["group", "simple"]);
    assert_eq!(names(list(&mut world, &["stable"], &[])), ["group"]);
    assert_eq!(names(list(&mut world, &[" EMPTY ", "Dead"], &[])), ["simple"]);
    assert_eq!(names(list(&mut world, &["PreparingRebalance"], &[])), Vec::<String>::new());
    assert_eq!(names(list(&mut world, &[], &["Classic"])), ["group", "simple"]);
    assert_eq!(names(list(&mut world, &[], &["consumer"])), Vec::<String>::new());
    assert_eq!(names(list(&mut world, &[], &["consumer", "classic"])), ["group", "simple"]);
    assert_eq!(names(list(&mut world, &["Empty"], &["share"])), Vec::<String>::new());
    let all = list(&mut world, &[], &[]);
    assert_eq!((all.groups[0].protocol_type.as_str(), all.groups[0].state), ("consumer", GroupState::Stable));
    assert_eq!((all.groups[1].protocol_type.as_str(), all.groups[1].state), ("", GroupState::Empty));
}

#[test]
fn a_listing_covers_all_partitions_and_waits_for_none() {
    let mut world = World::eager();
    world.commit(commit("", -1, "topic", 0, 1));
    world.coordinator.start_loading(7);
    assert_eq!(list(&mut world, &[], &[]).error, ErrorCode::CoordinatorLoadInProgress);
    world.coordinator.finish_loading(world.clock(), 7);
    let other = crate::group::CommitOffsets { group_id: "other".to_owned(), ..commit("", -1, "topic", 0, 1) };
    world.send_to(7, GroupRequest::CommitOffsets(other));
    assert_eq!(list(&mut world, &[], &[]).groups.len(), 2);
}

#[test]
fn only_an_empty_group_is_deleted_with_all_its_offsets() {
    let mut world = World::eager();
    assert_eq!(delete(&mut world, GROUP), ErrorCode::GroupIdNotFound);
    let member = world.stable(vec![join("")]).remove(0);
    world.commit(commit(&member.member_id, 1, "topic", 0, 5));
    assert_eq!(delete(&mut world, GROUP), ErrorCode::NonEmptyGroup);
    let token = world.send(GroupRequest::Join(join(&member.member_id)));
    world.joined(token);
    assert_eq!(delete(&mut world, GROUP), ErrorCode::NonEmptyGroup);
    world.leave(vec![leaving(&member.member_id)]);
    assert_eq!(delete(&mut world, GROUP), ErrorCode::None);
    assert_eq!(world.coordinator.group_count(), 0);
    assert_eq!(world.offset("topic", 0), -1);
    let records = &world.log[&0];
    let tombstones: Vec<_> = records.iter().rev().take(2).map(|record| record.value.is_none()).collect();
    assert_eq!(tombstones, [true, true]);
    assert_eq!(world.restarted(GroupConfig::default()).coordinator.group_count(), 0);
    let token = world.send(GroupRequest::Join(join("")));
    assert_eq!(world.joined(token).generation_id, 1, "a group of that name begins anew");
}

#[test]
fn a_deletion_is_answered_when_it_is_durable_and_ends_commits_under_way() {
    let mut world = World::eager();
    world.commit(commit("", -1, "topic", 0, 5));
    world.persists = false;
    let late = world.send(GroupRequest::CommitOffsets(commit("", -1, "topic", 1, 6)));
    let token = world.send(GroupRequest::Delete { group_id: GROUP.to_owned() });
    assert_eq!(delete(&mut world, GROUP), ErrorCode::GroupIdNotFound, "it is dying");
    assert!(!world.is_answered(token));
    world.persist_next();
    assert!(world.is_answered(late) && !world.is_answered(token));
    world.persist_next();
    assert!(world.is_answered(token));
    assert_eq!(world.coordinator.group_count(), 0);
}

#[test]
fn a_deletion_that_cannot_be_written_leaves_the_group() {
    let mut world = World::eager();
    world.commit(commit("", -1, "topic", 0, 5));
    world.persists = false;
    let token = world.send(GroupRequest::Delete { group_id: GROUP.to_owned() });
    world.fail_next(ErrorCode::KafkaStorageError);
    let GroupReply::Delete(reply) = world.answer(token) else { panic!("not a deletion") };
    assert_eq!(reply.error, ErrorCode::NotCoordinator);
    assert_eq!(world.describe(GROUP).state, Some(GroupState::Empty));
    assert_eq!(world.offset("topic", 0), 5);
}

#[test]
fn a_deletion_whose_first_part_fails_did_not_succeed() {
    let mut world = World::eager();
    let mut large = commit("", -1, "topic", 0, 5);
    let partition = large.topics[0].partitions.remove(0);
    for index in 0..i32::try_from(GROUP_TOMBSTONES_PER_APPEND_MAX).expect("a small limit") + 1 {
        let mut partition = partition.clone();
        partition.partition = index;
        large.topics[0].partitions.push(partition);
    }
    world.commit(large);
    world.persists = false;
    let token = world.send(GroupRequest::Delete { group_id: GROUP.to_owned() });
    assert_eq!(world.appends.len(), 2);
    world.fail_next(ErrorCode::MessageTooLarge);
    world.persist_next();
    let GroupReply::Delete(reply) = world.answer(token) else { panic!("not a deletion") };
    assert_eq!(reply.error, ErrorCode::CoordinatorNotAvailable);
    assert_eq!((world.offset("topic", 0), world.offset("topic", 1_000)), (5, -1));
    let mut restarted = world.restarted(GroupConfig::default());
    assert_eq!(
        (restarted.offset("topic", 0), restarted.offset("topic", 1_000)),
        (5, -1),
        "and so after a restart"
    );
    world.persists = true;
    assert_eq!(delete(&mut world, GROUP), ErrorCode::None);
}

#[test]
fn a_deleted_group_forgets_its_promises() {
    let mut world = World::eager();
    world.commit(commit("", -1, "topic", 0, 5));
    let token = world.send(GroupRequest::Join(JoinGroup { requires_member_id: true, ..join("") }));
    let promised = world.joined(token).member_id;
    assert_eq!(delete(&mut world, GROUP), ErrorCode::None);
    let token = world.send(GroupRequest::Join(join(&promised)));
    assert_eq!(world.joined(token).error, ErrorCode::UnknownMemberId);
    world.advance(20_000);
}
