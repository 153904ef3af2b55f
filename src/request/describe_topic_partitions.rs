//! DescribeTopicPartitions (key 75, version 0): topics page by page; what kafka-topics asks since 3.7 (KIP-966).
//!
//! Topics come in the order of their names, all of them or those asked for; at most as many partitions as the client
//! and `max.request.partition.size.limit` allow (and at least one), then a cursor says where to go on. A cursor beyond
//! the topics that were asked for, or with a negative partition, is INVALID_REQUEST on every topic of the request.

use std::borrow::Cow;
use std::collections::BTreeSet;

use ottla_wire::describe_topic_partitions_request::DescribeTopicPartitionsRequest;
use ottla_wire::describe_topic_partitions_response::{
    Cursor, DescribeTopicPartitionsResponse, DescribeTopicPartitionsResponsePartition,
    DescribeTopicPartitionsResponseTopic,
};

use super::{RequestContext, operations, replicas};
use crate::controller::image::{Image, PartitionImage, TopicImage};
use crate::controller::names;
use crate::errors::ErrorCode;

/// Answers a request. `partitions_max` is `max.request.partition.size.limit`.
#[must_use]
pub fn handle<'a>(
    context: &RequestContext<'_>,
    image: &'a Image,
    partitions_max: i32,
    request: &'a DescribeTopicPartitionsRequest<'_>,
) -> DescribeTopicPartitionsResponse<'a> {
    let from = request.cursor.as_ref().map_or("", |cursor| &*cursor.topic_name);
    let names: BTreeSet<&'a str> =
        request.topics.iter().map(|topic| &*topic.name).filter(|name| *name >= from).collect();
    let all = request.topics.is_empty();
    let first_partition = request.cursor.as_ref().map_or(0, |cursor| cursor.partition_index);
    if first_partition < 0 || (!all && request.cursor.is_some() && !names.contains(from)) {
        return refused(request);
    }
    let limit = partitions_max.min(request.response_partition_limit).max(1);
    let mut page = Page {
        image,
        listener: context.listener,
        cursor: request.cursor.as_ref().map(|cursor| (&*cursor.topic_name, cursor.partition_index)),
        partitions_left: usize::try_from(limit).expect("it is at least 1"),
        response: DescribeTopicPartitionsResponse::default(),
    };
    if all {
        page.fill(image.topics.iter_from(from).map(|topic| (&*topic.name, Some(&**topic))));
    } else {
        page.fill(names.into_iter().map(|name| (name, image.topics.by_name(name).map(|topic| &**topic))));
    }
    page.response
}

fn refused<'a>(request: &'a DescribeTopicPartitionsRequest<'_>) -> DescribeTopicPartitionsResponse<'a> {
    let topics = request.topics.iter().map(|topic| DescribeTopicPartitionsResponseTopic {
        error_code: ErrorCode::InvalidRequest.code(),
        name: Some(Cow::Borrowed(&*topic.name)),
        ..Default::default()
    });
    DescribeTopicPartitionsResponse { topics: topics.collect(), ..Default::default() }
}

/// One page in the making.
struct Page<'a, 'c> {
    image: &'a Image,
    listener: &'c str,
    cursor: Option<(&'a str, i32)>,
    partitions_left: usize,
    response: DescribeTopicPartitionsResponse<'a>,
}

impl<'a> Page<'a, '_> {
    fn fill(&mut self, topics: impl Iterator<Item = (&'a str, Option<&'a TopicImage>)>) {
        for (name, topic) in topics {
            if self.partitions_left == 0 {
                self.response.next_cursor = Some(cursor(name, 0));
                return;
            }
            match topic {
                Some(topic) => self.push(topic),
                None => self.response.topics.push(missing(name)),
            }
            if self.response.next_cursor.is_some() {
                return;
            }
        }
    }

    fn push(&mut self, topic: &'a TopicImage) {
        let first = match self.cursor {
            Some((name, partition)) if *name == *topic.name => {
                usize::try_from(partition).expect("it was checked")
            }
            _ => 0,
        };
        let end = first.saturating_add(self.partitions_left).min(topic.partitions.len());
        let shown = topic.partitions.get(first..end).unwrap_or(&[]);
        let index = i32::try_from(first).expect("it was an i32");
        let partitions: Vec<_> =
            (index..).zip(shown).map(|(index, partition)| self.partition(index, partition)).collect();
        if end < topic.partitions.len() {
            let next = i32::try_from(end).expect("a topic has at most PARTITIONS_PER_TOPIC_MAX partitions");
            self.response.next_cursor = Some(cursor(&topic.name, next));
        }
        self.partitions_left -= partitions.len();
        self.response.topics.push(DescribeTopicPartitionsResponseTopic {
            error_code: ErrorCode::None.code(),
            name: Some(Cow::Borrowed(&*topic.name)),
            topic_id: topic.id,
            is_internal: names::is_internal(&topic.name),
            partitions,
            topic_authorized_operations: operations::TOPIC_ALL,
        });
    }

    fn partition(&self, index: i32, partition: &PartitionImage) -> DescribeTopicPartitionsResponsePartition {
        let leader = replicas::leader(self.image, partition, self.listener);
        DescribeTopicPartitionsResponsePartition {
            error_code: ErrorCode::None.code(),
            partition_index: index,
            leader_id: leader.map_or(-1, |leader| leader.0),
            leader_epoch: partition.leader_epoch.0,
            replica_nodes: replicas::all(&partition.replicas),
            isr_nodes: replicas::all(&partition.isr),
            eligible_leader_replicas: Some(Vec::new()),
            last_known_elr: Some(Vec::new()),
            offline_replicas: replicas::offline(self.image, partition, self.listener),
        }
    }
}

fn missing(name: &str) -> DescribeTopicPartitionsResponseTopic<'_> {
    let valid = names::is_valid(name);
    let error = if valid { ErrorCode::UnknownTopicOrPartition } else { ErrorCode::InvalidTopicException };
    DescribeTopicPartitionsResponseTopic {
        error_code: error.code(),
        name: Some(Cow::Borrowed(name)),
        is_internal: names::is_internal(name),
        topic_authorized_operations: operations::TOPIC_ALL,
        ..Default::default()
    }
}

fn cursor(name: &str, partition_index: i32) -> Cursor<'_> {
    Cursor { topic_name: Cow::Borrowed(name), partition_index }
}

#[cfg(test)]
mod tests;
