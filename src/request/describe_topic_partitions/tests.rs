//! DescribeTopicPartitions, with the answers of Apache Kafka 4.3.1 to the same requests.

use ottla_wire::describe_topic_partitions_request::{Cursor as AskedCursor, TopicRequest};
use ottla_wire::{ApiKey, Message};

use super::*;
use crate::controller::testing::{image_with, topic};
use crate::request::tests::context;

const LIMIT: i32 = 2000;

fn image() -> Image {
    image_with(&[topic("m1", 1, 2), topic("m2", 2, 2), topic("m3", 3, 1)])
}

fn ask(
    topics: &[&'static str],
    limit: i32,
    cursor: Option<(&'static str, i32)>,
) -> DescribeTopicPartitionsRequest<'static> {
    DescribeTopicPartitionsRequest {
        topics: topics.iter().map(|name| TopicRequest { name: Cow::Borrowed(*name) }).collect(),
        response_partition_limit: limit,
        cursor: cursor.map(|(name, index)| AskedCursor { topic_name: name.into(), partition_index: index }),
    }
}

type Seen = (Vec<(String, i16, Vec<i32>)>, Option<(String, i32)>);

fn answer(image: &Image, request: &DescribeTopicPartitionsRequest<'_>) -> Seen {
    let response = handle(&context(ApiKey::DescribeTopicPartitions, 0), image, LIMIT, request);
    response.size(0).expect("the version carries it");
    let topics = response.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|partition| partition.partition_index).collect();
        (topic.name.as_deref().expect("every topic is named").to_owned(), topic.error_code, partitions)
    });
    let cursor = response.next_cursor.as_ref().map(|c| (c.topic_name.to_string(), c.partition_index));
    (topics.collect(), cursor)
}

fn page(topics: &[(&str, i16, &[i32])], cursor: Option<(&str, i32)>) -> Seen {
    let topics = topics.iter().map(|(name, error, list)| ((*name).to_owned(), *error, list.to_vec()));
    (topics.collect(), cursor.map(|(name, index)| (name.to_owned(), index)))
}

#[test]
fn topics_are_sorted_and_each_comes_once() {
    let request = ask(&["m2", "nope", "m1", "a b", "m1"], LIMIT, None);
    let expected = page(&[("a b", 17, &[]), ("m1", 0, &[0, 1]), ("m2", 0, &[0, 1]), ("nope", 3, &[])], None);
    assert_eq!(answer(&image(), &request), expected);
}

#[test]
fn pages_end_where_the_limit_is_reached() {
    let image = image();
    let two = ["m2", "m1"];
    for (limit, expected) in [
        (3, page(&[("m1", 0, &[0, 1]), ("m2", 0, &[0])], Some(("m2", 1)))),
        (2, page(&[("m1", 0, &[0, 1])], Some(("m2", 0)))),
        (1, page(&[("m1", 0, &[0])], Some(("m1", 1)))),
        (0, page(&[("m1", 0, &[0])], Some(("m1", 1)))),
        (-1, page(&[("m1", 0, &[0])], Some(("m1", 1)))),
        (4, page(&[("m1", 0, &[0, 1]), ("m2", 0, &[0, 1])], None)),
    ] {
        assert_eq!(answer(&image, &ask(&two, limit, None)), expected, "limit {limit}");
    }
    let request = ask(&two, LIMIT, None);
    let response = handle(&context(ApiKey::DescribeTopicPartitions, 0), &image, 3, &request);
    assert!(response.next_cursor.is_some(), "the broker's limit holds as well");
}

#[test]
fn a_cursor_goes_on() {
    let image = image();
    let two = ["m2", "m1"];
    for (cursor, expected) in [
        (("m1", 1), page(&[("m1", 0, &[1]), ("m2", 0, &[0, 1])], None)),
        (("m2", 1), page(&[("m2", 0, &[1])], None)),
        (("m2", 7), page(&[("m2", 0, &[])], None)),
    ] {
        assert_eq!(answer(&image, &ask(&two, LIMIT, Some(cursor))), expected, "{cursor:?}");
    }
    for cursor in [("m2", -1), ("m1x", 0), ("zzz", 0)] {
        let expected = page(&[("m2", 42, &[]), ("m1", 42, &[])], None);
        assert_eq!(answer(&image, &ask(&two, LIMIT, Some(cursor))), expected, "{cursor:?}");
    }
}

#[test]
fn all_topics_page_by_page() {
    let image = image();
    assert_eq!(answer(&image, &ask(&[], 1, Some(("m1x", 1)))), page(&[("m2", 0, &[0])], Some(("m2", 1))));
    assert_eq!(answer(&image, &ask(&[], 1, Some(("zzz", 0)))), page(&[], None));
    let mut all = Vec::new();
    let mut cursor: Option<(String, i32)> = None;
    loop {
        let mut request = ask(&[], 1, None);
        request.cursor =
            cursor.map(|(name, index)| AskedCursor { topic_name: name.into(), partition_index: index });
        let (topics, next) = answer(&image, &request);
        all.extend(
            topics.into_iter().flat_map(|(name, _, list)| list.into_iter().map(move |i| (name.clone(), i))),
        );
        cursor = next;
        if cursor.is_none() {
            break;
        }
    }
    let expected =
        [("m1", 0), ("m1", 1), ("m2", 0), ("m2", 1), ("m3", 0)].map(|(name, i)| (name.to_owned(), i));
    assert_eq!(all, expected);
}

#[test]
fn a_partition_in_full() {
    let image = image();
    let request = ask(&["m3"], LIMIT, None);
    let response = handle(&context(ApiKey::DescribeTopicPartitions, 0), &image, LIMIT, &request);
    let topic = &response.topics[0];
    assert_eq!((topic.topic_id.0[0], topic.is_internal, topic.topic_authorized_operations), (3, false, 3576));
    let expected = DescribeTopicPartitionsResponsePartition {
        error_code: 0,
        partition_index: 0,
        leader_id: 1,
        leader_epoch: 0,
        replica_nodes: vec![1],
        isr_nodes: vec![1],
        eligible_leader_replicas: Some(vec![]),
        last_known_elr: Some(vec![]),
        offline_replicas: vec![],
    };
    assert_eq!(topic.partitions, [expected]);
    let absent = RequestContext { listener: "ABSENT", ..context(ApiKey::DescribeTopicPartitions, 0) };
    let response = handle(&absent, &image, LIMIT, &request);
    let partition = &response.topics[0].partitions[0];
    assert_eq!(
        (partition.error_code, partition.leader_id, &partition.offline_replicas[..]),
        (0, -1, &[1][..])
    );
}
