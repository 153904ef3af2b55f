//! What bounds the coordinator's memory and the work of one call.

use super::harness::{GROUP, WALL_START, commit, fetch, join, protocol, topic_id};
use crate::errors::ErrorCode;
use crate::group::offsets::CommittedOffset;
use crate::group::records::Change;
use crate::group::{
    Clock, CommitOffsets, Coordinator, GroupConfig, GroupReply, GroupRequest, JoinGroup, Output, Token,
};
use crate::ids::{Offset, TimestampMs};
use crate::limits::{
    GROUP_FETCHES_PARKED_MAX, GROUP_METADATA_BYTES_MAX, GROUP_PENDING_MEMBERS_MAX, GROUP_TIMERS_PER_CALL_MAX,
    GROUPS_PER_SHARD_MAX,
};
use crate::time::Monotonic;

fn clock(ms: i64) -> Clock {
    Clock { now: Monotonic::ZERO.after_ms(ms), wall: TimestampMs(WALL_START + ms) }
}

/// A coordinator whose invariants are not checked after each of very many events.
fn coordinator() -> Coordinator {
    let mut coordinator = Coordinator::new(GroupConfig::default());
    coordinator.start_loading(0);
    coordinator
}

/// Sends a request and returns what is answered at once.
fn ask(coordinator: &mut Coordinator, n: u64, request: GroupRequest) -> Option<GroupReply> {
    coordinator.on_request(clock(0), u128::from(n), Token(n), 0, request);
    std::iter::from_fn(|| coordinator.poll()).find_map(|output| match output {
        Output::Reply { token, reply } if token == Token(n) => Some(reply),
        Output::Reply { .. } | Output::Append { .. } => None,
    })
}

fn join_error(reply: Option<GroupReply>) -> ErrorCode {
    match reply {
        Some(GroupReply::Join(reply)) => reply.error,
        other => panic!("not a join: {other:?}"),
    }
}

#[test]
fn groups_of_a_shard_are_bounded_and_loaded_ones_are_kept() {
    let mut coordinator = coordinator();
    for n in 0..GROUPS_PER_SHARD_MAX {
        let value = CommittedOffset {
            offset: 1,
            leader_epoch: -1,
            metadata: "".into(),
            committed_at: TimestampMs(WALL_START),
            expires_at: None,
            topic_id: topic_id("topic"),
            record_offset: Offset::NONE,
        };
        let (group, topic) = (format!("g{n}").into(), "topic".into());
        let record = Change::Offset { group, topic, partition: 0, value: Some(value) }.encode();
        coordinator.replay(0, &record.key, record.value.as_deref(), Offset(0)).expect("valid");
    }
    coordinator.finish_loading(clock(0), 0);
    assert_eq!(coordinator.group_count(), GROUPS_PER_SHARD_MAX);
    let reply = ask(&mut coordinator, 1, GroupRequest::Join(join("")));
    assert_eq!(join_error(reply), ErrorCode::CoordinatorNotAvailable);
    let reply = ask(&mut coordinator, 2, GroupRequest::CommitOffsets(commit("", -1, "topic", 0, 1)));
    let Some(GroupReply::CommitOffsets(reply)) = reply else { panic!("not a commit") };
    assert_eq!(reply.topics[0].partitions[0].1, ErrorCode::CoordinatorNotAvailable);
    let known = JoinGroup { group_id: "g7".to_owned(), requires_member_id: true, ..join("") };
    let reply = ask(&mut coordinator, 3, GroupRequest::Join(known));
    assert_eq!(join_error(reply), ErrorCode::MemberIdRequired, "a group that exists goes on");
}

#[test]
fn promised_members_are_bounded() {
    let mut coordinator = coordinator();
    coordinator.finish_loading(clock(0), 0);
    let request = || GroupRequest::Join(JoinGroup { requires_member_id: true, ..join("") });
    for n in 0..GROUP_PENDING_MEMBERS_MAX as u64 {
        assert_eq!(join_error(ask(&mut coordinator, n, request())), ErrorCode::MemberIdRequired);
    }
    let reply = ask(&mut coordinator, u64::MAX, request());
    assert_eq!(join_error(reply), ErrorCode::GroupMaxSizeReached);
    coordinator.assert_consistent();
    coordinator.on_timeout(clock(10_000));
    assert_eq!(coordinator.group_count(), 0, "all promises end together");
}

#[test]
fn the_metadata_of_a_groups_members_is_bounded_together() {
    let mut coordinator = coordinator();
    coordinator.finish_loading(clock(0), 0);
    let size = GROUP_METADATA_BYTES_MAX / 9;
    let large = || {
        let mut request = join("");
        request.protocols = vec![protocol("range", &[])];
        request.protocols[0].metadata = vec![0; size].into();
        GroupRequest::Join(request)
    };
    for n in 0..8 {
        assert_eq!(ask(&mut coordinator, n, large()), None, "parked");
    }
    assert_eq!(join_error(ask(&mut coordinator, 8, large())), ErrorCode::GroupMaxSizeReached);
    assert_eq!(ask(&mut coordinator, 9, GroupRequest::Join(join(""))), None, "a small one fits");
    coordinator.assert_consistent();
}

#[test]
fn fetches_that_wait_are_bounded() {
    let mut coordinator = coordinator();
    coordinator.finish_loading(clock(0), 0);
    assert_eq!(ask(&mut coordinator, 0, GroupRequest::CommitOffsets(commit("", -1, "topic", 0, 1))), None);
    for n in 1..=GROUP_FETCHES_PARKED_MAX as u64 {
        assert_eq!(ask(&mut coordinator, n, fetch(None, true)), None);
    }
    let reply = ask(&mut coordinator, u64::MAX, fetch(None, true));
    let Some(GroupReply::FetchOffsets(reply)) = reply else { panic!("not a fetch") };
    assert_eq!(reply.error, ErrorCode::UnstableOffsetCommit);
}

#[test]
fn one_call_serves_a_bounded_number_of_timers_and_says_that_more_are_due() {
    let mut coordinator = coordinator();
    coordinator.finish_loading(clock(0), 0);
    let groups = GROUP_TIMERS_PER_CALL_MAX as u64 + 10;
    for n in 0..groups {
        let request = JoinGroup { group_id: format!("g{n}"), requires_member_id: true, ..join("") };
        assert_eq!(
            join_error(ask(&mut coordinator, n, GroupRequest::Join(request))),
            ErrorCode::MemberIdRequired
        );
    }
    let due = clock(10_000);
    coordinator.on_timeout(due);
    assert_eq!(coordinator.group_count(), 10);
    assert!(coordinator.next_deadline().is_some_and(|deadline| deadline <= due.now));
    coordinator.on_timeout(due);
    assert_eq!(coordinator.group_count(), 0);
    assert!(coordinator.next_deadline().is_none_or(|deadline| deadline > due.now));
}

#[test]
fn refused_requests_leave_nothing_behind() {
    let mut coordinator = coordinator();
    coordinator.finish_loading(clock(0), 0);
    let stranger = CommitOffsets { group_id: "other".to_owned(), ..commit("m", 1, "topic", 0, 1) };
    ask(&mut coordinator, 0, GroupRequest::CommitOffsets(stranger));
    ask(&mut coordinator, 1, GroupRequest::Join(JoinGroup { protocols: Vec::new(), ..join("") }));
    ask(&mut coordinator, 2, GroupRequest::Describe { group_id: GROUP.to_owned() });
    ask(&mut coordinator, 3, fetch(None, true));
    assert_eq!(coordinator.group_count(), 0);
}
