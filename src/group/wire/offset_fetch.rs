//! OffsetFetch, versions 1 to 10: one coordinator request per group.
//!
//! On the connection's shard; the plan lives as long as the request. What must hold: groups and topics stand in the
//! request's order; version 1 has errors only at partitions, versions 2 to 7 one for the response, later ones one per
//! group; from version 10 on a topic without an id is left out; before, a name is the topic that has it now, so that
//! what was committed to a deleted one is not its offset; what is named again is answered once, so that a few
//! bytes of a request are never a whole group or a commit's metadata of the reply.

use std::collections::BTreeSet;

use ottla_wire::offset_fetch_request::{OffsetFetchRequest, OffsetFetchRequestTopics};
use ottla_wire::offset_fetch_response::{
    OffsetFetchResponse, OffsetFetchResponseGroup, OffsetFetchResponsePartition,
    OffsetFetchResponsePartitions, OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};

use super::{TopicNames, expect_reply, text};
use crate::errors::ErrorCode;
use crate::group::reply::{FetchReply, FetchedPartition, FetchedTopic, GroupReply};
use crate::group::request::{FetchOffsets, FetchTopic, GroupRequest, NO_TOPIC_ID};
use crate::ids::TopicId;

/// The response has an error of its own.
const TOP_LEVEL_ERROR_FROM: i16 = 2;
/// A request names several groups (KIP-709).
const BATCHED_FROM: i16 = 8;
/// Topics are named by id (KIP-848).
const TOPIC_IDS_FROM: i16 = 10;

/// What the response will say, as far as it is known without the coordinator.
#[derive(Debug)]
pub struct FetchPlan {
    groups: Vec<PlannedGroup>,
}

#[derive(Debug)]
struct PlannedGroup {
    /// `None`: all topics were asked for.
    topics: Option<Vec<PlannedTopic>>,
}

#[derive(Debug)]
enum PlannedTopic {
    /// The coordinator answers.
    Asked,
    /// No topic has this id.
    Unknown(FetchedTopic),
}

/// The partitions of one group that have been named.
#[derive(Default)]
struct Named<'a>(BTreeSet<(&'a str, TopicId, i32)>);

impl<'a> Named<'a> {
    /// Those of `partitions` that are named for the first time.
    fn first(&mut self, name: &'a str, topic_id: TopicId, partitions: &[i32]) -> Vec<i32> {
        partitions.iter().copied().filter(|partition| self.0.insert((name, topic_id, *partition))).collect()
    }
}

/// The plan, and the coordinators' requests, one per distinct group in the request's order.
#[must_use]
pub fn decode(
    version: i16,
    request: &OffsetFetchRequest<'_>,
    names: &impl TopicNames,
) -> (FetchPlan, Vec<GroupRequest>) {
    if version >= BATCHED_FROM {
        let mut seen = BTreeSet::new();
        let groups = request.groups.iter().filter(|group| seen.insert(&*group.group_id)).map(|group| {
            let topics = group.topics.as_deref().map(|topics| plan_topics(version, topics, names));
            ask(group.group_id.to_string(), request.require_stable, topics)
        });
        let (groups, requests) = groups.unzip();
        return (FetchPlan { groups }, requests);
    }
    let mut named = Named::default();
    let topics = request.topics.as_deref().map(|topics| {
        let topics = topics.iter().map(|topic| FetchTopic {
            name: topic.name.to_string(),
            topic_id: named_now(&topic.name, names),
            partitions: named.first(&topic.name, NO_TOPIC_ID, &topic.partition_indexes),
        });
        topics.map(|topic| (PlannedTopic::Asked, Some(topic))).collect()
    });
    let (group, request) = ask(request.group_id.to_string(), request.require_stable, topics);
    (FetchPlan { groups: vec![group] }, vec![request])
}

fn ask(
    group_id: String,
    require_stable: bool,
    topics: Option<Vec<(PlannedTopic, Option<FetchTopic>)>>,
) -> (PlannedGroup, GroupRequest) {
    let (planned, asked) = topics.map(|topics| topics.into_iter().unzip::<_, _, Vec<_>, Vec<_>>()).unzip();
    let topics = asked.map(|topics| topics.into_iter().flatten().collect());
    let request = GroupRequest::FetchOffsets(FetchOffsets { group_id, require_stable, topics });
    (PlannedGroup { topics: planned }, request)
}

/// The topic that a client means which knows names alone: the one that has the name now.
fn named_now(name: &str, names: &impl TopicNames) -> TopicId {
    names.id_of(name).unwrap_or(NO_TOPIC_ID)
}

fn plan_topics(
    version: i16,
    topics: &[OffsetFetchRequestTopics<'_>],
    names: &impl TopicNames,
) -> Vec<(PlannedTopic, Option<FetchTopic>)> {
    let mut named = Named::default();
    let topics = topics.iter().map(|topic| {
        let partitions = named.first(&topic.name, topic.topic_id, &topic.partition_indexes);
        if version < TOPIC_IDS_FROM {
            let (name, topic_id) = (topic.name.to_string(), named_now(&topic.name, names));
            return (PlannedTopic::Asked, Some(FetchTopic { name, topic_id, partitions }));
        }
        let topic_id = topic.topic_id;
        match names.name_of(topic_id) {
            Some(name) => {
                (PlannedTopic::Asked, Some(FetchTopic { name: name.to_owned(), topic_id, partitions }))
            }
            None => {
                let partitions = partitions.into_iter();
                let partitions = partitions.map(|p| FetchedPartition::none(p, ErrorCode::UnknownTopicId));
                let unknown =
                    FetchedTopic { name: String::new(), topic_id, partitions: partitions.collect() };
                (PlannedTopic::Unknown(unknown), None)
            }
        }
    });
    topics.collect()
}

impl FetchPlan {
    /// The response, from one reply per group in the request's order.
    ///
    /// # Panics
    /// If a reply is of another kind, or there are not as many as groups.
    #[must_use]
    pub fn encode(
        self,
        version: i16,
        replies: Vec<GroupReply>,
        names: &impl TopicNames,
    ) -> OffsetFetchResponse<'static> {
        assert_eq!(self.groups.len(), replies.len(), "every group is answered");
        let replies = replies.into_iter().map(|reply| expect_reply!(reply, FetchOffsets));
        let mut replies = self.groups.into_iter().zip(replies).map(|(group, reply)| {
            let says_all = group.topics.is_none();
            let reply = group.merge(reply);
            match version {
                TOPIC_IDS_FROM.. if says_all => identified(reply, names),
                _ if says_all => of_today(reply, names),
                _ => reply,
            }
        });
        if version < BATCHED_FROM {
            let reply = replies.next().expect("a request before version 8 has one group");
            return single(version, reply);
        }
        let groups = replies.map(|reply| batched(version, reply));
        OffsetFetchResponse { groups: groups.collect(), ..OffsetFetchResponse::default() }
    }
}

impl PlannedGroup {
    /// Puts the topics that do not exist where the request had them.
    fn merge(self, reply: FetchReply) -> FetchReply {
        let Some(planned) = self.topics else { return reply };
        let mut answered = reply.topics.into_iter();
        let topics = planned.into_iter().map(|topic| match topic {
            PlannedTopic::Asked => answered.next().expect("every existing topic is answered"),
            PlannedTopic::Unknown(unknown) => unknown,
        });
        let topics = topics.collect();
        FetchReply { topics, ..reply }
    }
}

fn single(version: i16, reply: FetchReply) -> OffsetFetchResponse<'static> {
    let whole = version >= TOP_LEVEL_ERROR_FROM && !reply.error.is_none();
    if whole {
        return OffsetFetchResponse { error_code: reply.error.code(), ..OffsetFetchResponse::default() };
    }
    let topics = same_named_together(reply.topics).into_iter().map(|topic| {
        let partitions = topic.partitions.into_iter().map(|partition| OffsetFetchResponsePartition {
            partition_index: partition.partition,
            committed_offset: partition.offset,
            committed_leader_epoch: partition.leader_epoch,
            metadata: Some(text(partition.metadata)),
            error_code: partition.error.code(),
        });
        OffsetFetchResponseTopic { name: text(topic.name), partitions: partitions.collect() }
    });
    OffsetFetchResponse { topics: topics.collect(), ..OffsetFetchResponse::default() }
}

fn batched(version: i16, reply: FetchReply) -> OffsetFetchResponseGroup<'static> {
    let group_id = text(reply.group_id);
    if !reply.error.is_none() {
        return OffsetFetchResponseGroup { group_id, topics: Vec::new(), error_code: reply.error.code() };
    }
    let topics = match version {
        TOPIC_IDS_FROM.. => reply.topics,
        _ => same_named_together(reply.topics),
    };
    let topics = topics.into_iter().map(|topic| {
        let partitions = topic.partitions.into_iter().map(|partition| OffsetFetchResponsePartitions {
            partition_index: partition.partition,
            committed_offset: partition.offset,
            committed_leader_epoch: partition.leader_epoch,
            metadata: Some(text(partition.metadata)),
            error_code: partition.error.code(),
        });
        let partitions = partitions.collect();
        OffsetFetchResponseTopics { name: text(topic.name), topic_id: topic.topic_id, partitions }
    });
    OffsetFetchResponseGroup { group_id, topics: topics.collect(), error_code: ErrorCode::None.code() }
}

/// Offsets of all topics come by name and stored id: for a client that knows names alone they are one topic.
fn same_named_together(topics: Vec<FetchedTopic>) -> Vec<FetchedTopic> {
    together(topics, |a, b| a.name == b.name)
}

/// For a client that knows names alone: what is stored for a topic whose name another one has now is not said.
fn of_today(reply: FetchReply, names: &impl TopicNames) -> FetchReply {
    let mut topics = reply.topics;
    topics.retain(|topic| {
        let now = named_now(&topic.name, names);
        topic.topic_id == NO_TOPIC_ID || now == NO_TOPIC_ID || topic.topic_id == now
    });
    FetchReply { topics, ..reply }
}

/// For a client that knows ids alone: an offset stored without an id is of the topic that has the name now; a topic
/// that does not exist cannot be said.
fn identified(reply: FetchReply, names: &impl TopicNames) -> FetchReply {
    let topics = reply.topics.into_iter().filter_map(|mut topic| {
        if topic.topic_id == NO_TOPIC_ID {
            topic.topic_id = names.id_of(&topic.name)?;
        }
        names.name_of(topic.topic_id)?;
        Some(topic)
    });
    let topics = together(topics.collect(), |a, b| a.topic_id == b.topic_id);
    FetchReply { topics, ..reply }
}

/// Joins neighbours that are the same topic.
fn together(
    topics: Vec<FetchedTopic>,
    same: impl Fn(&FetchedTopic, &FetchedTopic) -> bool,
) -> Vec<FetchedTopic> {
    let mut joined: Vec<FetchedTopic> = Vec::with_capacity(topics.len());
    for topic in topics {
        match joined.last_mut().filter(|last| same(last, &topic)) {
            Some(last) => last.partitions.extend(topic.partitions),
            None => joined.push(topic),
        }
    }
    joined
}
