//! Fetch sessions: what an incremental reply leaves out, whose turn it is, and when a session ends.

use super::*;

fn partition(index: i32) -> PartitionRef {
    PartitionRef { topic: TopicRef::Name(Arc::from("t")), partition: index }
}

fn wanted(offset: i64) -> Wanted {
    Wanted { fetch_offset: Offset(offset), max_bytes: 1024, current_leader_epoch: -1, last_fetched_epoch: -1 }
}

fn told(high_watermark: i64, has_news: bool) -> Told {
    Told {
        error: ErrorCode::None,
        high_watermark: Offset(high_watermark),
        last_stable_offset: Offset(high_watermark),
        log_start_offset: Offset(0),
        has_news,
    }
}

fn request(session_id: i32, epoch: i32) -> SessionRequest {
    SessionRequest { session_id, epoch, uses_topic_ids: false }
}

/// A session with partitions 0 and 1, told the high watermark 5.
fn session(sessions: &mut FetchSessions) -> i32 {
    let list = vec![(partition(0), wanted(5)), (partition(1), wanted(5))];
    let plan = sessions.begin(Monotonic::ZERO, request(0, 0), list, &[]).expect("a new session");
    let told: Vec<_> = plan.partitions.into_iter().map(|(p, w)| (p, w, told(5, false))).collect();
    let (id, include) = sessions.finish(Monotonic::ZERO, plan.kind, &told, 77);
    assert_eq!((id, include), (77, vec![true, true]));
    id
}

#[test]
fn an_incremental_reply_has_only_the_news() {
    let mut sessions = FetchSessions::new(10, 100);
    let id = session(&mut sessions);
    let plan = sessions.begin(Monotonic::ZERO, request(id, 1), Vec::new(), &[]).expect("the next epoch");
    let order: Vec<_> = plan.partitions.iter().map(|(p, _)| p.partition).collect();
    assert_eq!(order, vec![0, 1]);
    let answers = [(partition(0), wanted(5), told(5, false)), (partition(1), wanted(5), told(9, true))];
    let (_, include) = sessions.finish(Monotonic::ZERO, plan.kind, &answers, 0);
    assert_eq!(include, vec![false, true]);
}

#[test]
fn a_partition_with_records_goes_to_the_end_of_the_line() {
    let mut sessions = FetchSessions::new(10, 100);
    let id = session(&mut sessions);
    let plan = sessions.begin(Monotonic::ZERO, request(id, 1), Vec::new(), &[]).expect("the next epoch");
    let answers = [(partition(0), wanted(5), told(9, true)), (partition(1), wanted(5), told(5, false))];
    sessions.finish(Monotonic::ZERO, plan.kind, &answers, 0);
    let plan = sessions.begin(Monotonic::ZERO, request(id, 2), Vec::new(), &[]).expect("the next epoch");
    let order: Vec<_> = plan.partitions.iter().map(|(p, _)| p.partition).collect();
    assert_eq!(order, vec![1, 0]);
}

#[test]
fn a_wrong_number_or_epoch_is_refused_and_changes_nothing() {
    let mut sessions = FetchSessions::new(10, 100);
    let id = session(&mut sessions);
    let unknown = sessions.begin(Monotonic::ZERO, request(id + 1, 1), Vec::new(), &[]);
    assert_eq!(unknown.map(|_| ()), Err(ErrorCode::FetchSessionIdNotFound));
    let stale = sessions.begin(Monotonic::ZERO, request(id, 2), Vec::new(), &[]);
    assert_eq!(stale.map(|_| ()), Err(ErrorCode::InvalidFetchSessionEpoch));
    let mixed = SessionRequest { session_id: id, epoch: 1, uses_topic_ids: true };
    let mixed = sessions.begin(Monotonic::ZERO, mixed, Vec::new(), &[]);
    assert_eq!(mixed.map(|_| ()), Err(ErrorCode::FetchSessionTopicIdError));
    assert!(sessions.begin(Monotonic::ZERO, request(id, 1), Vec::new(), &[]).is_ok());
}

#[test]
fn forgetting_everything_ends_the_session() {
    let mut sessions = FetchSessions::new(10, 100);
    let id = session(&mut sessions);
    let forgotten = [partition(0), partition(1)];
    let plan =
        sessions.begin(Monotonic::ZERO, request(id, 1), Vec::new(), &forgotten).expect("the next epoch");
    assert_eq!(plan.kind, SessionKind::Sessionless);
    assert!(sessions.is_empty());
}

#[test]
fn the_final_epoch_closes_the_session() {
    let mut sessions = FetchSessions::new(10, 100);
    let id = session(&mut sessions);
    let plan = sessions.begin(Monotonic::ZERO, request(id, -1), vec![(partition(0), wanted(0))], &[]);
    assert_eq!(plan.expect("always allowed").kind, SessionKind::Sessionless);
    assert!(sessions.is_empty());
}

#[test]
fn a_full_cache_evicts_only_what_is_old() {
    let mut sessions = FetchSessions::new(1, 100);
    session(&mut sessions);
    let later = Monotonic::ZERO.after(EVICTION_AGE_MIN);
    for (now, id_expected) in [(Monotonic::ZERO, 0), (later, 78)] {
        let list = vec![(partition(0), wanted(0))];
        let plan = sessions.begin(now, request(0, 0), list, &[]).expect("a new session");
        let answers = [(partition(0), wanted(0), told(0, false))];
        let (id, _) = sessions.finish(now, plan.kind, &answers, 78);
        assert_eq!(id, id_expected);
        assert_eq!(sessions.len(), 1);
    }
}

#[test]
fn all_sessions_together_have_so_many_partitions() {
    let mut sessions = FetchSessions::new(10, 3);
    let id = session(&mut sessions);
    let open = |sessions: &mut FetchSessions, now, wants: std::ops::Range<i32>| {
        let list = wants.map(|index| (partition(index), wanted(5))).collect();
        let plan = sessions.begin(now, request(0, 0), list, &[]).expect("anybody may ask for everything");
        let told: Vec<_> = plan.partitions.into_iter().map(|(p, w)| (p, w, told(5, false))).collect();
        sessions.finish(now, plan.kind, &told, 78).0
    };
    assert_eq!(open(&mut sessions, Monotonic::ZERO, 0..2), 0, "no room for two more");
    assert_eq!(open(&mut sessions, Monotonic::ZERO, 0..1), 78, "for one there is");
    let close = sessions.begin(Monotonic::ZERO, request(78, -1), Vec::new(), &[]);
    assert_eq!(close.expect("it is closed").kind, SessionKind::Sessionless);

    let swap =
        sessions.begin(Monotonic::ZERO, request(id, 1), vec![(partition(2), wanted(0))], &[partition(0)]);
    assert_eq!(swap.expect("one goes, one comes").partitions.len(), 2);
    let more = (3..5).map(|index| (partition(index), wanted(0))).collect();
    let grown = sessions.begin(Monotonic::ZERO, request(id, 2), more, &[]);
    assert_eq!(grown.expect_err("four are too many"), ErrorCode::FetchSessionIdNotFound);
    assert!(sessions.is_empty(), "the client begins anew");

    assert_eq!(open(&mut sessions, Monotonic::ZERO, 0..3), 78, "what is gone has left its room");
    assert_eq!(open(&mut sessions, Monotonic::ZERO, 0..4), 0, "never that many");
    assert_eq!(open(&mut sessions, Monotonic::ZERO.after(EVICTION_AGE_MIN), 0..3), 0, "its number is taken");
    let later = Monotonic::ZERO.after(EVICTION_AGE_MIN);
    let list: Vec<_> = (0..2).map(|index| (partition(index), wanted(5), told(5, false))).collect();
    let kind = SessionKind::New { uses_topic_ids: false };
    assert_eq!(sessions.finish(later, kind, &list, 79).0, 79, "the unused one makes room");
    assert_eq!(sessions.len(), 1);
}

#[test]
fn names_that_no_topic_has_are_not_remembered() {
    let mut sessions = FetchSessions::new(10, 100);
    let long = PartitionRef { topic: TopicRef::Name(Arc::from("n".repeat(250))), partition: 0 };
    let kind = SessionKind::New { uses_topic_ids: false };
    let everything = [(partition(0), wanted(0), told(5, false)), (long.clone(), wanted(0), told(-1, false))];
    assert_eq!(sessions.finish(Monotonic::ZERO, kind, &everything, 7), (0, vec![true, true]));
    let id = session(&mut sessions);
    let refused = sessions.begin(Monotonic::ZERO, request(id, 1), vec![(long, wanted(0))], &[]);
    assert_eq!(refused.map(|plan| plan.partitions), Err(ErrorCode::FetchSessionIdNotFound));
    let gone = sessions.begin(Monotonic::ZERO, request(id, 1), Vec::new(), &[]);
    assert_eq!(gone.map(|plan| plan.partitions), Err(ErrorCode::FetchSessionIdNotFound));
}
