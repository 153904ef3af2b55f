//! ElectLeaders, with the answers of Apache Kafka 4.3.1 on one node to the same requests.

use ottla_wire::partition_change_record::PartitionChangeRecord;
use ottla_wire::{Message, MetadataRecord, Uuid};

use super::*;
use crate::controller::testing::{image_with, replayed, topic};

fn image() -> Image {
    image_with(&[topic("b", 1, 2), topic("a", 2, 1)])
}

fn request(election_type: i8, topics: Option<&[(&'static str, &[i32])]>) -> ElectLeadersRequest<'static> {
    let topic = |(name, partitions): &(&'static str, &[i32])| TopicPartitions {
        topic: (*name).into(),
        partitions: partitions.to_vec(),
    };
    let topic_partitions = topics.map(|topics| topics.iter().map(topic).collect());
    ElectLeadersRequest { election_type, topic_partitions, ..Default::default() }
}

/// The error of the whole, and each partition's topic, number, error and sentence.
fn seen(image: &Image, request: &ElectLeadersRequest<'_>) -> (i16, Vec<(String, i32, i16, String)>) {
    let reply = handle(image, request);
    for version in 0..=2 {
        let fits = reply.size(version).is_ok();
        assert_eq!(fits, version > 0 || reply.error_code == 0, "version {version}");
    }
    let results = reply.replica_election_results.iter().flat_map(|topic| {
        topic.partition_result.iter().map(|partition| {
            let sentence = partition.error_message.as_deref().unwrap_or_default().to_owned();
            (topic.topic.to_string(), partition.partition_id, partition.error_code, sentence)
        })
    });
    (reply.error_code, results.collect())
}

fn is(topic: &str, id: i32, error: ErrorCode, sentence: &str) -> (String, i32, i16, String) {
    (topic.to_owned(), id, error.code(), sentence.to_owned())
}

#[test]
fn who_leads_goes_on_leading() {
    let image = image();
    let not_needed = "Leader election not needed for topic partition.";
    for election_type in [0, 1] {
        let request = request(election_type, Some(&[("b", &[1, 5, -1, 1]), ("nope", &[0]), ("", &[0])]));
        let expected = vec![
            is("b", 1, ErrorCode::ElectionNotNeeded, not_needed),
            is("b", 5, ErrorCode::UnknownTopicOrPartition, "No such partition as b-5"),
            is("b", -1, ErrorCode::UnknownTopicOrPartition, "No such partition as b--1"),
            is("b", 1, ErrorCode::ElectionNotNeeded, not_needed),
            is("nope", 0, ErrorCode::UnknownTopicOrPartition, "No such topic as nope"),
            is("", 0, ErrorCode::UnknownTopicOrPartition, "No such topic as "),
        ];
        assert_eq!(seen(&image, &request), (0, expected));
    }
}

#[test]
fn all_topics_are_named_and_of_their_partitions_only_the_news() {
    let image = image();
    let all = request(0, None);
    let reply = handle(&image, &all);
    let topics: Vec<_> = reply.replica_election_results.iter().map(|topic| &*topic.topic).collect();
    assert_eq!(topics, ["a", "b"]);
    assert_eq!(seen(&image, &all), (0, Vec::new()));
    assert!(handle(&image, &request(0, Some(&[]))).replica_election_results.is_empty(), "none is not all");
}

#[test]
fn who_cannot_lead_is_not_elected() {
    let gone = |partition_id| {
        MetadataRecord::PartitionChangeRecord(PartitionChangeRecord {
            partition_id,
            topic_id: Uuid([1; 16]),
            leader: -1,
            ..Default::default()
        })
    };
    let image = replayed(&image(), &[gone(1)]).0;
    let preferred =
        is("b", 1, ErrorCode::PreferredLeaderNotAvailable, "The preferred leader was not available.");
    assert_eq!(seen(&image, &request(0, None)), (0, vec![preferred.clone()]));
    assert_eq!(seen(&image, &request(0, Some(&[("b", &[1])]))), (0, vec![preferred]));
    let unclean = is(
        "b",
        1,
        ErrorCode::EligibleLeadersNotAvailable,
        "Eligible topic partition leaders are not available.",
    );
    assert_eq!(seen(&image, &request(1, None)), (0, vec![unclean]));
}

#[test]
fn there_are_two_types_of_elections() {
    for (election_type, sentence) in [(2, "Unknown election type 2"), (-1, "Unknown election type -1")] {
        let code = ErrorCode::InvalidRequest.code();
        let named = request(election_type, Some(&[("b", &[0])]));
        assert_eq!(seen(&image(), &named), (code, vec![is("b", 0, ErrorCode::InvalidRequest, sentence)]));
        assert_eq!(seen(&image(), &request(election_type, None)), (code, Vec::new()));
    }
}

/// A name is repeated for each number of a partition that the request has of its topic, of four bytes each.
#[test]
fn few_bytes_of_a_request_are_not_many_of_its_answer() {
    let image = image();
    let name = "n".repeat(32_000);
    for election_type in [0, 1, 9] {
        let topic = TopicPartitions { topic: name.as_str().into(), partitions: vec![0; 100_000] };
        let request =
            ElectLeadersRequest { election_type, topic_partitions: Some(vec![topic]), ..Default::default() };
        let reply = handle(&image, &request);
        let partitions = &reply.replica_election_results[0].partition_result;
        assert_eq!(partitions.len(), 100_000);
        let told = partitions.iter().filter_map(|partition| partition.error_message.as_ref());
        let bytes: usize = told.map(|sentence| sentence.len()).sum();
        assert!((1 << 20..2 << 20).contains(&bytes), "{bytes} bytes of sentences");
        assert!(reply.size(2).is_ok(), "each can be written");
    }
}
