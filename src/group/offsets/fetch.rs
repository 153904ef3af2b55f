//! OffsetFetch: what is committed, as far as it is durable.
//!
//! Reads the group on the shard that owns it. A missing offset is no error: it is -1, and the client starts where
//! `auto.offset.reset` says. What must hold: an offset of a deleted topic is never given to a topic of the same name.

use std::collections::BTreeMap;

use crate::errors::ErrorCode;
use crate::group::group::Group;
use crate::group::offsets::CommittedOffset;
use crate::group::reply::{FetchReply, FetchedPartition, FetchedTopic};
use crate::group::request::{FetchOffsets, FetchTopic, NO_TOPIC_ID};
use crate::ids::TopicId;

/// The answer to `request` from `group`, `None` for a group that does not exist.
pub(crate) fn answer(group: Option<&Group>, request: &FetchOffsets) -> FetchReply {
    let topics = match &request.topics {
        Some(topics) => topics.iter().map(|topic| asked(group, topic)).collect(),
        None => group.map(all).unwrap_or_default(),
    };
    FetchReply { group_id: request.group_id.clone(), error: ErrorCode::None, topics }
}

fn asked(group: Option<&Group>, topic: &FetchTopic) -> FetchedTopic {
    let partitions = topic.partitions.iter().map(|partition| {
        let offset = group.and_then(|group| group.offsets.get(&topic.name, *partition));
        match offset.filter(|offset| same_topic(offset.topic_id, topic.topic_id)) {
            Some(offset) => found(*partition, offset),
            None => FetchedPartition::none(*partition, ErrorCode::None),
        }
    });
    FetchedTopic { name: topic.name.clone(), topic_id: topic.topic_id, partitions: partitions.collect() }
}

/// Whether two ids may be of one topic: records and clients from before topic ids have none.
fn same_topic(stored: TopicId, asked: TopicId) -> bool {
    stored == asked || stored == NO_TOPIC_ID || asked == NO_TOPIC_ID
}

/// Every offset of the group, by topic name and stored id: a topic that was deleted and made again may for a moment
/// have offsets of both.
fn all(group: &Group) -> Vec<FetchedTopic> {
    let mut topics = Vec::new();
    for (name, partitions) in group.offsets.topics() {
        let mut by_id: BTreeMap<TopicId, Vec<FetchedPartition>> = BTreeMap::new();
        for (partition, offset) in partitions {
            by_id.entry(offset.topic_id).or_default().push(found(*partition, offset));
        }
        let name = name.to_string();
        let of_name = by_id.into_iter();
        topics.extend(of_name.map(|(topic_id, partitions)| FetchedTopic {
            name: name.clone(),
            topic_id,
            partitions,
        }));
    }
    topics
}

fn found(partition: i32, offset: &CommittedOffset) -> FetchedPartition {
    FetchedPartition {
        partition,
        error: ErrorCode::None,
        offset: offset.offset,
        leader_epoch: offset.leader_epoch,
        metadata: offset.metadata.to_string(),
    }
}
