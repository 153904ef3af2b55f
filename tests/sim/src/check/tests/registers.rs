//! Histories of what is overwritten, made, deleted and given out once.

use super::*;
use crate::client::CommittedOffset;

fn commit(offset: i64) -> CommittedOffset {
    CommittedOffset { offset, metadata: format!("at {offset}") }
}

fn committing(place: Place, offset: i64) -> Action {
    Action::Commit("g".to_owned(), place, commit(offset))
}

fn committed(tale: &mut Tale, place: Place, offset: Option<i64>) {
    let answer = Answer::Committed(offset.map(commit));
    tale.done(Action::GetCommitted("g".to_owned(), place), answer);
}

#[test]
fn a_commit_goes_back() {
    for (seen, fine) in [(Some(2), true), (Some(1), false), (None, false), (Some(3), false)] {
        let (mut tale, place) = Tale::with_topic(&[]);
        tale.done(committing(place, 1), Answer::Done);
        tale.done(committing(place, 2), Answer::Done);
        tale.crash();
        committed(&mut tale, place, seen);
        if fine { tale.holds() } else { tale.breaks(Invariant::WrongCommit) }
    }
}

#[test]
fn a_commit_of_unknown_fate_may_be_there_or_not() {
    for seen in [Some(1), Some(2)] {
        let (mut tale, place) = Tale::with_topic(&[]);
        tale.done(committing(place, 1), Answer::Done);
        tale.run(committing(place, 2), LOST);
        tale.crash();
        committed(&mut tale, place, seen);
        tale.holds();
    }
    // Until a later one is acknowledged by another process: the old one's requests ended with it.
    let after = |crash: bool| {
        let (mut tale, place) = Tale::with_topic(&[]);
        tale.run(committing(place, 2), LOST);
        if crash {
            tale.crash();
        }
        tale.done(committing(place, 3), Answer::Done);
        committed(&mut tale, place, Some(2));
        tale
    };
    after(false).holds();
    after(true).breaks(Invariant::WrongCommit);
    // A refused one never.
    let (mut tale, place) = Tale::with_topic(&[]);
    tale.refused(committing(place, 2), ErrorCode::CoordinatorLoadInProgress);
    committed(&mut tale, place, Some(2));
    tale.breaks(Invariant::WrongCommit);
}

#[test]
fn a_configuration_is_the_last_one_that_was_set() {
    let key = "max.message.bytes".to_owned();
    let ask = |tale: &mut Tale, place: Place, value: &str| {
        tale.done(Action::GetConfig(place.topic, key.clone()), Answer::Config(value.to_owned()));
    };
    for (value, fine) in [("2000", true), ("1000", false), ("1048588", false)] {
        let (mut tale, place) = Tale::with_topic(&[("max.message.bytes", "1000")]);
        ask(&mut tale, place, "1000");
        let set = Action::SetConfig(place.topic, key.clone(), "2000".to_owned());
        tale.done(set, Answer::Done);
        tale.crash();
        ask(&mut tale, place, value);
        if fine { tale.holds() } else { tale.breaks(Invariant::WrongConfig) }
    }
}

#[test]
fn a_producer_id_is_given_once() {
    let mut tale = Tale::new();
    tale.done(Action::InitProducerId, Answer::ProducerId(1));
    tale.done(Action::InitProducerId, Answer::ProducerId(2));
    tale.crash();
    tale.done(Action::InitProducerId, Answer::ProducerId(1));
    tale.breaks(Invariant::ProducerIdReused);
}

#[test]
fn topics_that_were_acknowledged_are_there() {
    let (mut tale, place) = Tale::with_topic(&[]);
    tale.done(Action::ListTopics, Answer::Topics(vec![listed("t", 1)]));
    tale.crash();
    let before_deletion = tale.begin(Action::ListTopics);
    let deletion = tale.begin(Action::DeleteTopic(place.topic));
    tale.end(before_deletion, Outcome::Ok(Answer::Topics(vec![])));
    tale.end(deletion, Outcome::Ok(Answer::Done));
    tale.done(Action::ListTopics, Answer::Topics(vec![]));
    tale.holds();

    let (mut tale, _) = Tale::with_topic(&[]);
    tale.crash();
    tale.done(Action::ListTopics, Answer::Topics(vec![]));
    tale.breaks(Invariant::TopicLost);

    let (mut tale, place) = Tale::with_topic(&[]);
    tale.refused(Action::Produce(place, plain(1, 1)), ErrorCode::UnknownTopicId);
    tale.breaks(Invariant::TopicLost);

    let (mut tale, place) = Tale::with_topic(&[]);
    tale.refused(Action::DeleteTopic(place.topic), ErrorCode::UnknownTopicId);
    tale.breaks(Invariant::TopicLost);
}

#[test]
fn topics_that_were_deleted_are_not_there() {
    let (mut tale, place) = Tale::with_topic(&[]);
    tale.done(Action::DeleteTopic(place.topic), Answer::Done);
    tale.crash();
    tale.done(Action::ListTopics, Answer::Topics(vec![listed("t", 1)]));
    tale.breaks(Invariant::TopicPhantom);

    // A deletion of unknown fate, seen, is for good.
    let (mut tale, place) = Tale::with_topic(&[]);
    tale.run(Action::DeleteTopic(place.topic), LOST);
    tale.done(Action::ListTopics, Answer::Topics(vec![]));
    tale.done(Action::ListTopics, Answer::Topics(vec![listed("t", 1)]));
    tale.breaks(Invariant::TopicPhantom);

    let mut tale = Tale::new();
    tale.done(Action::ListTopics, Answer::Topics(vec![listed("t", 1)]));
    tale.breaks(Invariant::TopicPhantom);
}

#[test]
fn a_name_lives_again_under_another_id() {
    let begin = || {
        let (mut tale, place) = Tale::with_topic(&[]);
        tale.done(Action::DeleteTopic(place.topic), Answer::Done);
        tale
    };
    let mut tale = begin();
    tale.create(2, "t", &[]);
    tale.done(Action::ListTopics, Answer::Topics(vec![listed("t", 2)]));
    tale.holds();

    let mut tale = begin();
    tale.create(1, "t", &[]);
    tale.breaks(Invariant::TopicPhantom);

    let mut tale = begin();
    tale.refused(Action::CreateTopic(new_topic("t", &[])), ErrorCode::TopicAlreadyExists);
    tale.breaks(Invariant::TopicPhantom);
}

#[test]
fn a_creation_of_unknown_fate_is_learned_from_a_list() {
    let begin = || {
        let mut tale = Tale::new();
        tale.run(Action::CreateTopic(new_topic("t", &[])), LOST);
        tale
    };
    let mut tale = begin();
    tale.done(Action::ListTopics, Answer::Topics(vec![]));
    tale.done(Action::ListTopics, Answer::Topics(vec![listed("t", 1)]));
    tale.crash();
    tale.refused(Action::CreateTopic(new_topic("t", &[])), ErrorCode::TopicAlreadyExists);
    tale.holds();

    let mut tale = begin();
    tale.done(Action::ListTopics, Answer::Topics(vec![listed("t", 1)]));
    tale.crash();
    tale.done(Action::ListTopics, Answer::Topics(vec![]));
    tale.breaks(Invariant::TopicLost);

    // The first attempt came to nothing: what a list shows is the second one's, whose reply comes later.
    let mut tale = begin();
    let second = tale.begin(Action::CreateTopic(new_topic("t", &[])));
    tale.done(Action::ListTopics, Answer::Topics(vec![listed("t", 1)]));
    tale.end(second, Outcome::Ok(Answer::Created(uuid(1))));
    tale.done(Action::ListTopics, Answer::Topics(vec![listed("t", 1)]));
    tale.holds();
}
