//! Deletion of topics, with the answers of Apache Kafka 4.3.1 to the same requests.

use ottla_wire::Message;
use ottla_wire::delete_topics_request::DeleteTopicState;

use super::*;
use crate::controller::image::ConfigResource;
use crate::controller::testing::{config, image_with, replayed, setting, topic};
use crate::ids::Uuid;

fn by_names<'a>(names: &[&'a str]) -> DeleteTopicsRequest<'a> {
    DeleteTopicsRequest {
        topic_names: names.iter().map(|name| (*name).into()).collect(),
        ..Default::default()
    }
}

fn listed(topics: &[(Option<&'static str>, u8)]) -> DeleteTopicsRequest<'static> {
    let topics = topics
        .iter()
        .map(|(name, id)| DeleteTopicState { name: name.map(Cow::Borrowed), topic_id: Uuid([*id; 16]) })
        .collect();
    DeleteTopicsRequest { topics, ..Default::default() }
}

fn three() -> Image {
    image_with(&[
        topic("m1", 1, 2),
        topic("m2", 2, 2),
        topic("m.3", 3, 1),
        setting(2, "m2", "retention.ms", "5"),
    ])
}

type Heard = (Option<String>, u8, i16, Option<String>);

fn heard(decision: &Decision<DeleteTopicsResponse<'_>>) -> Vec<Heard> {
    let text = |text: &Option<Cow<'_, str>>| text.as_deref().map(str::to_owned);
    let responses = decision.reply.responses.iter();
    responses.map(|r| (text(&r.name), r.topic_id.0[0], r.error_code, text(&r.error_message))).collect()
}

fn of(name: Option<&str>, id: u8, code: i16, message: &str) -> Heard {
    (name.map(str::to_owned), id, code, Some(message.to_owned()))
}

fn gone(name: &str, id: u8) -> Heard {
    (Some(name.to_owned()), id, 0, None)
}

#[test]
fn by_name_and_by_id() {
    let image = three();
    let unknown = "This server does not host this topic-partition.";
    let decision = delete(&image, &config(&[]), 5, &by_names(&["nope", "m1", ""]));
    assert_eq!(
        heard(&decision),
        [of(Some("nope"), 0, 3, unknown), of(Some(""), 0, 3, unknown), gone("m1", 1)]
    );
    let decision = delete(&image, &config(&[]), 6, &listed(&[(None, 2), (Some("m.3"), 0), (None, 9)]));
    let no_id = "This server does not host this topic ID.";
    assert_eq!(heard(&decision), [of(None, 9, 100, no_id), gone("m2", 2), gone("m.3", 3)]);
    let (after, delta) = replayed(&image, &decision.records);
    assert!(after.topics.by_name("m2").is_none() && after.topics.by_id(Uuid([3; 16])).is_none());
    assert!(after.configs.of(&ConfigResource::topic("m2")).is_none(), "its settings go with it");
    assert_eq!(after.configs.bytes(), 0);
    assert_eq!(after.topics.partition_count(), 2);
    assert_eq!(delta.topics_removed.values().map(|topic| topic.partitions.len()).collect::<Vec<_>>(), [2, 1]);
}

#[test]
fn what_is_named_wrongly_or_twice_stays() {
    let image = three();
    let neither = "Neither topic name nor id were specified.";
    let both = "You may not specify both topic name and topic id.";
    let same = "The provided topic name maps to an ID that was already supplied.";
    for (request, expected) in [
        (listed(&[(None, 0)]), vec![of(None, 0, 42, neither)]),
        (listed(&[(Some("m2"), 2)]), vec![of(Some("m2"), 2, 42, both)]),
        (listed(&[(None, 2), (Some("m2"), 0)]), vec![of(Some("m2"), 2, 42, same)]),
        (listed(&[(None, 2), (None, 2)]), vec![of(None, 2, 42, "Duplicate topic id.")]),
        (
            listed(&[(None, 2), (None, 2), (Some("m2"), 0)]),
            vec![of(None, 2, 42, "Duplicate topic id."), of(Some("m2"), 2, 42, same)],
        ),
        (by_names(&["m2", "m2", "m2"]), vec![of(Some("m2"), 0, 42, "Duplicate topic name.")]),
        (by_names(&[]), vec![]),
    ] {
        let decision = delete(&image, &config(&[]), 6, &request);
        assert_eq!(heard(&decision), expected);
        assert!(decision.records.is_empty(), "{request:?}");
    }
}

#[test]
fn deletion_can_be_disabled() {
    let image = three();
    let config = config(&[("delete.topic.enable", "false")]);
    for (version, code) in [(1, 42), (2, 42), (3, 73), (5, 73)] {
        let decision = delete(&image, &config, version, &by_names(&["m1", "nope"]));
        assert!(decision.records.is_empty());
        let codes: Vec<i16> = decision.reply.responses.iter().map(|r| r.error_code).collect();
        assert_eq!(codes, [code, code]);
    }
    let decision = delete(&image, &config, 6, &listed(&[(None, 1), (Some("m2"), 0)]));
    assert_eq!(heard(&decision), [(None, 1, 73, None), (Some("m2".to_owned()), 0, 73, None)]);
}

#[test]
fn every_version_can_carry_the_answer() {
    for version in 1..=6 {
        let request =
            if version < 6 { by_names(&["m1", "nope"]) } else { listed(&[(None, 1), (Some("nope"), 0)]) };
        let decision = delete(&three(), &config(&[]), version, &request);
        decision.reply.size(version).expect("the version carries it");
        assert_eq!(decision.records.len(), 1);
    }
}
