//! OffsetCommit, OffsetFetch and OffsetDelete.

use super::harness::{GROUP, World, commit, fetch, join, sync, topic_id};
use crate::errors::ErrorCode;
use crate::group::{
    CommitOffsets, DeleteOffsets, DeleteOffsetsReply, DeletedTopic, FetchTopic, GroupConfig, GroupReply,
    GroupRequest, GroupState, JoinGroup,
};
use crate::ids::Uuid;

fn delete(world: &mut World, topics: &[(&str, &[i32])]) -> DeleteOffsetsReply {
    let topics = topics.iter().map(|(topic, partitions)| ((*topic).to_owned(), partitions.to_vec()));
    let request = DeleteOffsets { group_id: GROUP.to_owned(), topics: topics.collect() };
    let token = world.send(GroupRequest::DeleteOffsets(request));
    let GroupReply::DeleteOffsets(reply) = world.answer(token) else { panic!("not a deletion") };
    reply
}

#[test]
fn a_commit_is_acknowledged_and_visible_once_it_is_durable() {
    let mut world = World::eager();
    let member = world.stable(vec![join("")]).remove(0);
    world.persists = false;
    let token = world.send(GroupRequest::CommitOffsets(commit(&member.member_id, 1, "topic", 0, 42)));
    assert!(!world.is_answered(token));
    assert_eq!(world.offset("topic", 0), -1);
    world.persist_next();
    assert_eq!(world.committed(token).topics[0].partitions, [(0, ErrorCode::None)]);
    assert_eq!(world.offset("topic", 0), 42);
}

#[test]
fn a_commit_that_cannot_be_written_is_refused_and_leaves_the_old_offset() {
    let mut world = World::eager();
    assert_eq!(world.commit(commit("", -1, "topic", 0, 1)), ErrorCode::None);
    world.persists = false;
    let mut request = commit("", -1, "topic", 0, 2);
    request.topics[0].partitions[0].metadata = Some("x".repeat(5_000));
    request.topics.push(commit("", -1, "other", 3, 4).topics.remove(0));
    let token = world.send(GroupRequest::CommitOffsets(request));
    world.fail_next(ErrorCode::KafkaStorageError);
    let reply = world.committed(token);
    assert_eq!(reply.topics[0].partitions, [(0, ErrorCode::OffsetMetadataTooLarge)], "its own error stays");
    assert_eq!(reply.topics[1].partitions, [(3, ErrorCode::NotCoordinator)]);
    assert_eq!(world.offset("topic", 0), 1);
}

#[test]
fn durability_takes_effect_in_the_order_of_the_log() {
    let mut world = World::eager();
    world.persists = false;
    let first = world.send(GroupRequest::CommitOffsets(commit("", -1, "topic", 0, 1)));
    let second = world.send(GroupRequest::CommitOffsets(commit("", -1, "topic", 0, 2)));
    let ((first_id, ..), (second_id, ..)) = (world.appends[0].clone(), world.appends[1].clone());
    world.coordinator.on_persisted(world.clock(), second_id, Ok(crate::ids::Offset(1)));
    world.settle();
    assert!(!world.is_answered(second), "the write before it may still be after it in effect");
    world.coordinator.on_persisted(world.clock(), first_id, Ok(crate::ids::Offset(0)));
    world.settle();
    assert!(world.is_answered(first) && world.is_answered(second));
    assert_eq!(world.offset("topic", 0), 2);
    world.coordinator.on_persisted(world.clock(), first_id, Ok(crate::ids::Offset(0)));
    world.settle();
    assert_eq!(world.offset("topic", 0), 2, "a second report changes nothing");
}

#[test]
fn who_may_commit() {
    let mut world = World::eager();
    let old = |request: CommitOffsets| CommitOffsets { knows_group_id_not_found: false, ..request };
    assert_eq!(world.commit(commit("m", 1, "topic", 0, 1)), ErrorCode::GroupIdNotFound);
    assert_eq!(world.commit(old(commit("m", 1, "topic", 0, 1))), ErrorCode::IllegalGeneration);
    let token = world.send(GroupRequest::Join(join("")));
    let member = world.joined(token);
    let m = member.member_id.as_str();
    assert_eq!(
        world.commit(commit(m, 1, "topic", 0, 1)),
        ErrorCode::RebalanceInProgress,
        "it has no assignment"
    );
    let token = world.send(sync(&member, Vec::new()));
    assert_eq!(world.synced(token).error, ErrorCode::None);
    assert_eq!(world.commit(commit(m, 1, "topic", 0, 1)), ErrorCode::None);
    assert_eq!(world.commit(commit(m, 0, "topic", 0, 1)), ErrorCode::IllegalGeneration);
    assert_eq!(world.commit(commit(m, 2, "topic", 0, 1)), ErrorCode::IllegalGeneration);
    assert_eq!(world.commit(commit("stranger", 1, "topic", 0, 1)), ErrorCode::UnknownMemberId);
    assert_eq!(
        world.commit(commit("", -1, "topic", 0, 1)),
        ErrorCode::UnknownMemberId,
        "the group is active"
    );
    assert_eq!(world.commit(commit(m, -1, "topic", 0, 1)), ErrorCode::IllegalGeneration);
    let instance = CommitOffsets { group_instance_id: Some("i".to_owned()), ..commit(m, 1, "topic", 0, 1) };
    assert_eq!(world.commit(instance), ErrorCode::UnknownMemberId);
    world.advance(10_000);
    assert_eq!(world.describe(GROUP).state, Some(GroupState::Empty));
    assert_eq!(world.commit(commit("", -1, "topic", 0, 7)), ErrorCode::None, "nobody is there any more");
    assert_eq!(world.commit(commit(m, 1, "topic", 0, 8)), ErrorCode::UnknownMemberId);
    assert_eq!(world.offset("topic", 0), 7);
}

#[test]
fn a_member_may_commit_what_it_consumed_before_a_rebalance() {
    let mut world = World::new();
    let members = world.stable(vec![join(""), join("")]);
    world.send(GroupRequest::Join(join(&members[0].leader)));
    let follower = members.iter().find(|m| m.member_id != m.leader).expect("a follower");
    assert_eq!(world.commit(commit(&follower.member_id, 1, "topic", 0, 5)), ErrorCode::None);
}

#[test]
fn commits_keep_the_session() {
    let mut world = World::eager();
    let member = world.stable(vec![join("")]).remove(0);
    for offset in 0..5 {
        world.advance(9_000);
        assert_eq!(world.commit(commit(&member.member_id, 1, "topic", 0, offset)), ErrorCode::None);
    }
    assert_eq!(world.heartbeat(&member.member_id, 1), ErrorCode::None);
}

#[test]
fn committing_without_members_makes_a_simple_group() {
    let mut world = World::eager();
    assert_eq!(world.commit(commit("", -1, "topic", 0, 5)), ErrorCode::None);
    let description = world.describe(GROUP);
    assert_eq!((description.state, description.protocol_type.as_str()), (Some(GroupState::Empty), ""));
    let mut world = world.restarted(GroupConfig::default());
    assert_eq!(world.offset("topic", 0), 5);
    assert_eq!(world.describe(GROUP).state, Some(GroupState::Empty));
}

#[test]
fn metadata_and_epoch_come_back_and_the_metadata_has_a_limit() {
    let mut world = World::eager();
    let with = |metadata: Option<String>| {
        let mut request = commit("", -1, "topic", 0, 5);
        request.topics[0].partitions[0].leader_epoch = 9;
        request.topics[0].partitions[0].metadata = metadata;
        request
    };
    let longest = "é".repeat(4_096);
    assert_eq!(world.commit(with(Some(longest.clone()))), ErrorCode::None, "4,096 characters of two bytes");
    let mut world = world.restarted(GroupConfig::default());
    let reply = world.fetch(None);
    let partition = &reply.topics[0].partitions[0];
    assert_eq!((partition.offset, partition.leader_epoch, &partition.metadata), (5, 9, &longest));
    assert_eq!(world.commit(with(Some("x".repeat(4_097)))), ErrorCode::OffsetMetadataTooLarge);
    assert_eq!(world.commit(with(None)), ErrorCode::None);
    assert_eq!(world.fetch(None).topics[0].partitions[0].metadata, "");
}

#[test]
fn what_was_never_committed_is_minus_one_without_an_error() {
    let mut world = World::eager();
    let asked =
        |name: &str| FetchTopic { name: name.to_owned(), topic_id: Uuid::ZERO, partitions: vec![1, 0] };
    let reply = world.fetch(Some(vec![asked("topic")]));
    let found: Vec<_> = reply.topics[0].partitions.iter().map(|p| (p.partition, p.offset, p.error)).collect();
    assert_eq!(found, [(1, -1, ErrorCode::None), (0, -1, ErrorCode::None)]);
    assert!(world.fetch(None).topics.is_empty());
    world.commit(commit("", -1, "topic", 0, 5));
    let reply = world.fetch(Some(vec![asked("other"), asked("topic")]));
    let offsets: Vec<i64> = reply.topics.iter().flat_map(|t| &t.partitions).map(|p| p.offset).collect();
    assert_eq!(offsets, [-1, -1, -1, 5], "in the order of the request");
}

#[test]
fn all_topics_come_with_their_ids() {
    let mut world = World::eager();
    for (topic, partition) in [("b", 1), ("a", 0), ("b", 0)] {
        assert_eq!(world.commit(commit("", -1, topic, partition, 5)), ErrorCode::None);
    }
    let reply = world.fetch(None);
    let topics: Vec<_> =
        reply.topics.iter().map(|t| (t.name.as_str(), t.topic_id, t.partitions.len())).collect();
    assert_eq!(topics, [("a", topic_id("a"), 1), ("b", topic_id("b"), 2)]);
}

#[test]
fn an_offset_of_a_topic_that_was_made_again_is_not_given_to_it() {
    let mut world = World::eager();
    world.commit(commit("", -1, "topic", 0, 5));
    let ask = |topic_id| Some(vec![FetchTopic { name: "topic".to_owned(), topic_id, partitions: vec![0] }]);
    assert_eq!(world.fetch(ask(topic_id("topic"))).topics[0].partitions[0].offset, 5);
    assert_eq!(world.fetch(ask(Uuid::ZERO)).topics[0].partitions[0].offset, 5);
    assert_eq!(world.fetch(ask(topic_id("again"))).topics[0].partitions[0].offset, -1);
}

#[test]
fn a_stable_fetch_waits_for_the_commits_before_it() {
    let mut world = World::eager();
    world.commit(commit("", -1, "topic", 0, 1));
    world.persists = false;
    let commit_token = world.send(GroupRequest::CommitOffsets(commit("", -1, "topic", 0, 2)));
    let stable = world.send(fetch(None, true));
    let loose = world.send(fetch(None, false));
    let later = world.send(GroupRequest::CommitOffsets(commit("", -1, "topic", 0, 3)));
    assert!(!world.is_answered(stable));
    let GroupReply::FetchOffsets(reply) = world.answer(loose) else { panic!("not a fetch") };
    assert_eq!(reply.topics[0].partitions[0].offset, 1, "what is durable");
    world.persist_next();
    assert!(world.is_answered(commit_token) && !world.is_answered(later));
    let GroupReply::FetchOffsets(reply) = world.answer(stable) else { panic!("not a fetch") };
    assert_eq!(reply.topics[0].partitions[0].offset, 2, "later commits are not waited for");
    world.persist_next();
    let stable = world.send(fetch(None, true));
    assert!(world.is_answered(stable), "nothing is under way");
}

#[test]
fn a_stable_fetch_does_not_wait_for_other_groups() {
    let mut world = World::eager();
    world.persists = false;
    let other = CommitOffsets { group_id: "other".to_owned(), ..commit("", -1, "topic", 0, 1) };
    world.send(GroupRequest::CommitOffsets(other));
    let stable = world.send(fetch(None, true));
    assert!(world.is_answered(stable));
}

#[test]
fn the_empty_group_id_may_keep_offsets() {
    let mut world = World::eager();
    let nameless = CommitOffsets { group_id: String::new(), ..commit("", -1, "topic", 0, 5) };
    assert_eq!(world.commit(nameless), ErrorCode::None);
    assert_eq!(world.describe("").state, Some(GroupState::Empty));
}

#[test]
fn offsets_are_deleted_with_a_tombstone() {
    let mut world = World::eager();
    assert_eq!(delete(&mut world, &[("topic", &[0])]).error, ErrorCode::GroupIdNotFound);
    world.commit(commit("", -1, "topic", 0, 5));
    world.commit(commit("", -1, "topic", 1, 6));
    let records = world.log[&0].len();
    let reply = delete(&mut world, &[("topic", &[1, 7]), ("other", &[0])]);
    assert_eq!(reply.error, ErrorCode::None);
    assert_eq!(reply.topics[0], ("topic".to_owned(), vec![(1, ErrorCode::None), (7, ErrorCode::None)]));
    assert_eq!(world.log[&0].len(), records + 1, "only what exists needs a tombstone");
    assert!(world.log[&0].last().expect("a record").value.is_none());
    assert_eq!((world.offset("topic", 0), world.offset("topic", 1)), (5, -1));
    let mut world = world.restarted(GroupConfig::default());
    assert_eq!((world.offset("topic", 0), world.offset("topic", 1)), (5, -1));
}

#[test]
fn a_group_without_its_last_offset_stays_empty_until_the_next_search() {
    let mut world = World::eager();
    world.commit(commit("", -1, "topic", 0, 5));
    assert_eq!(delete(&mut world, &[("topic", &[0])]).error, ErrorCode::None);
    let seen = world.describe(GROUP);
    assert_eq!((seen.error, seen.state), (ErrorCode::None, Some(GroupState::Empty)));
    let again = delete(&mut world, &[("topic", &[0])]);
    assert_eq!((again.error, again.topics[0].1[0].1), (ErrorCode::None, ErrorCode::None));
    assert_eq!(
        world.restarted(GroupConfig::default()).coordinator.group_count(),
        0,
        "the log has nothing of it"
    );
    world.advance(GroupConfig::default().offsets_retention_check_interval_ms);
    assert_eq!(world.describe(GROUP).error, ErrorCode::GroupIdNotFound);
    assert_eq!(world.coordinator.group_count(), 0);
}

#[test]
fn offsets_of_topics_that_members_read_are_not_deleted() {
    let mut world = World::eager();
    world.commit(commit("", -1, "old", 0, 5));
    world.stable(vec![join("")]);
    let reply = delete(&mut world, &[("topic", &[0]), ("old", &[0])]);
    assert_eq!(reply.topics[0].1, [(0, ErrorCode::GroupSubscribedToTopic)]);
    assert_eq!(reply.topics[1].1, [(0, ErrorCode::None)]);
    assert_eq!(world.offset("old", 0), -1);
}

#[test]
fn consumers_whose_subscriptions_are_unreadable_may_read_anything_and_others_are_never_asked() {
    let mut world = World::eager();
    world.commit(commit("", -1, "old", 0, 5));
    let mut unreadable = join("");
    unreadable.protocols[0].metadata = "?".into();
    world.stable(vec![unreadable]);
    assert_eq!(delete(&mut world, &[("old", &[0])]).topics[0].1, [(0, ErrorCode::GroupSubscribedToTopic)]);

    let mut world = World::eager();
    world.stable(vec![JoinGroup { protocol_type: "connect".to_owned(), ..join("") }]);
    assert_eq!(delete(&mut world, &[("old", &[0])]).error, ErrorCode::NonEmptyGroup);
}

#[test]
fn a_deletion_also_ends_commits_that_are_under_way() {
    let mut world = World::eager();
    world.commit(commit("", -1, "topic", 0, 5));
    world.persists = false;
    world.send(GroupRequest::CommitOffsets(commit("", -1, "topic", 1, 6)));
    let request =
        DeleteOffsets { group_id: GROUP.to_owned(), topics: vec![("topic".to_owned(), vec![0, 1])] };
    let token = world.send(GroupRequest::DeleteOffsets(request));
    world.persist_next();
    assert!(!world.is_answered(token));
    world.persist_next();
    assert!(world.is_answered(token));
    assert!(world.fetch(None).topics.is_empty());
}

#[test]
fn a_deleted_topic_takes_its_offsets_along_and_leaves_its_successors() {
    let mut world = World::eager();
    world.commit(commit("", -1, "topic", 0, 5));
    world.commit(commit("", -1, "other", 0, 6));
    let mut again = commit("", -1, "topic", 1, 7);
    again.topics[0].topic_id = topic_id("again");
    world.commit(again);
    world.persists = false;
    world.send(GroupRequest::CommitOffsets(commit("", -1, "topic", 2, 8)));
    world.persists = true;
    let deleted = DeletedTopic { name: "topic".to_owned(), topic_id: topic_id("topic") };
    world.coordinator.on_topics_deleted(world.clock(), &[deleted]);
    world.settle();
    let offsets = [0, 1, 2].map(|partition| world.offset("topic", partition));
    assert_eq!(offsets, [-1, 7, -1], "a commit under way is deleted as well");
    assert_eq!(world.offset("other", 0), 6);
}
