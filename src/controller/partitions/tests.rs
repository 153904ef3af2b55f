//! More partitions for topics, with the answers of Apache Kafka 4.3.1 to the same requests.

use ottla_wire::Message;
use ottla_wire::create_partitions_request::CreatePartitionsAssignment;

use super::*;
use crate::controller::testing::{image_with, replayed, topic};

fn grow(name: &'static str, count: i32) -> CreatePartitionsTopic<'static> {
    CreatePartitionsTopic { name: name.into(), count, assignments: None }
}

fn grow_on(name: &'static str, count: i32, assignments: &[&[i32]]) -> CreatePartitionsTopic<'static> {
    let assignments =
        assignments.iter().map(|ids| CreatePartitionsAssignment { broker_ids: ids.to_vec() }).collect();
    CreatePartitionsTopic { assignments: Some(assignments), ..grow(name, count) }
}

fn ask(topics: Vec<CreatePartitionsTopic<'static>>) -> CreatePartitionsRequest<'static> {
    CreatePartitionsRequest { topics, ..Default::default() }
}

fn heard(decision: &Decision<CreatePartitionsResponse<'_>>) -> Vec<(String, i16, Option<String>)> {
    let results = decision.reply.results.iter();
    results
        .map(|r| (r.name.to_string(), r.error_code, r.error_message.as_deref().map(str::to_owned)))
        .collect()
}

fn two() -> Image {
    image_with(&[topic("m1", 1, 2), topic("m2", 2, 2)])
}

#[test]
fn refusals_are_kafkas() {
    let manual = "The manual partition assignment includes";
    for (topic, code, message) in [
        (grow("m1", 2), 37, Some("Topic already has 2 partition(s).".to_owned())),
        (
            grow("m1", 1),
            37,
            Some("The topic m1 currently has 2 partition(s); 1 would not be an increase.".to_owned()),
        ),
        (
            grow("m1", -1),
            37,
            Some("The topic m1 currently has 2 partition(s); -1 would not be an increase.".to_owned()),
        ),
        (grow("nope", 3), 3, None),
        (grow("", 3), 3, None),
        (
            grow_on("m1", 3, &[&[1], &[1]]),
            39,
            Some(
                "Attempted to add 1 additional partition(s), but only 2 assignment(s) were specified."
                    .to_owned(),
            ),
        ),
        (
            grow_on("m1", 3, &[]),
            39,
            Some(
                "Attempted to add 1 additional partition(s), but only 0 assignment(s) were specified."
                    .to_owned(),
            ),
        ),
        (
            grow_on("m1", 3, &[&[2]]),
            39,
            Some(format!("{manual} broker 2, but no such broker is registered.")),
        ),
        (grow_on("m1", 3, &[&[]]), 39, Some(format!("{manual} an empty replica list."))),
        (grow_on("m1", 3, &[&[1, 1]]), 39, Some(format!("{manual} the broker 1 more than once."))),
        (grow("m1", 20_000), 44, Some(TOO_MANY.to_owned())),
        (grow("m1", 100_001), 37, Some("A topic can have at most 100000 partitions.".to_owned())),
        (grow("m1", i32::MAX), 37, Some("A topic can have at most 100000 partitions.".to_owned())),
    ] {
        let name = topic.name.to_string();
        let decision = create(&two(), &ask(vec![topic]));
        assert_eq!(heard(&decision), [(name, code, message)]);
        assert!(decision.records.is_empty());
    }
}

#[test]
fn every_topic_is_answered_and_the_good_ones_grow() {
    let request = ask(vec![grow("m1", 4), grow("nope", 3), grow_on("m2", 3, &[&[1]])]);
    let decision = create(&two(), &request);
    let codes: Vec<i16> = decision.reply.results.iter().map(|result| result.error_code).collect();
    assert_eq!(codes, [0, 3, 0]);
    let (after, delta) = replayed(&two(), &decision.records);
    assert_eq!(after.topics.by_name("m1").expect("it exists").partitions.len(), 4);
    assert_eq!(after.topics.by_name("m2").expect("it exists").partitions.len(), 3);
    assert_eq!(delta.partitions_added.iter().map(|key| key.partition).collect::<Vec<_>>(), [2, 3, 2]);
    assert!(delta.topics_created.is_empty() && delta.partitions_changed.is_empty());
}

#[test]
fn duplicates_are_answered_together_and_do_not_grow() {
    let decision = create(&two(), &ask(vec![grow("m2", 3), grow("m2", 4), grow("m1", 3)]));
    let duplicate = ("m2".to_owned(), 42, Some("Duplicate topic name.".to_owned()));
    assert_eq!(heard(&decision), [duplicate, ("m1".to_owned(), 0, None)]);
    assert_eq!(decision.records.len(), 1);
}

#[test]
fn validation_alone_writes_nothing() {
    let request =
        CreatePartitionsRequest { validate_only: true, ..ask(vec![grow("m1", 3), grow("nope", 1)]) };
    let decision = create(&two(), &request);
    assert_eq!(heard(&decision), [("m1".to_owned(), 0, None), ("nope".to_owned(), 3, None)]);
    assert!(decision.records.is_empty());
}

#[test]
fn one_request_adds_no_more_than_one_batch() {
    let decision = create(&two(), &ask(vec![grow("m1", 6_002), grow("m2", 4_003)]));
    let codes: Vec<i16> = decision.reply.results.iter().map(|result| result.error_code).collect();
    assert_eq!((codes, decision.records.len()), (vec![0, 44], 6_000));
    let decision = create(&two(), &ask(vec![grow("m1", 6_002), grow("m2", 4_002)]));
    assert_eq!(decision.records.len(), 10_000);
}

#[test]
fn every_version_can_carry_the_answer() {
    let decision = create(&two(), &ask(vec![grow("m1", 3), grow("nope", 1)]));
    for version in 0..=3 {
        decision.reply.size(version).expect("the version carries it");
    }
}
