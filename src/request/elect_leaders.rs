//! ElectLeaders (key 43, versions 0-2): leaders for partitions, as far as one node has a choice (KIP-460).
//!
//! | version | change |
//! |---|---|
//! | 1 | the type of the election, and an error of the whole request |
//!
//! The one replica of a partition leads it while it can, so that no election is needed or none can succeed; nothing
//! is ever changed. A request for all partitions (null) names every topic, and of its partitions only those whose
//! leader is not the one that is wanted, as Kafka's `ReplicationControlManager.electLeaders` has it.

use std::borrow::Cow;

use ottla_wire::elect_leaders_request::{ElectLeadersRequest, TopicPartitions};
use ottla_wire::elect_leaders_response::{ElectLeadersResponse, PartitionResult, ReplicaElectionResult};

use crate::controller::image::{Image, PartitionImage};
use crate::errors::ErrorCode;
use crate::sentences::Sentences;

/// What the numbers of the wire ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ElectionType {
    /// The first of the replicas shall lead.
    Preferred,
    /// Some live replica shall lead where none does, complete or not.
    Unclean,
}

/// Answers a request.
#[must_use]
pub fn handle<'a>(image: &'a Image, request: &'a ElectLeadersRequest<'_>) -> ElectLeadersResponse<'a> {
    let election = match request.election_type {
        0 => ElectionType::Preferred,
        1 => ElectionType::Unclean,
        other => return refusal(request, other),
    };
    let results = match &request.topic_partitions {
        None => everything(image, election),
        Some(topics) => {
            of_each(topics, |topic, id, sentences| elect(image, election, (topic, id), sentences))
        }
    };
    ElectLeadersResponse { replica_election_results: results, ..ElectLeadersResponse::default() }
}

/// Why there is no new leader: an error and Kafka's sentence for it.
type Told = (ErrorCode, Option<Cow<'static, str>>);

const NOT_NEEDED: Told =
    (ErrorCode::ElectionNotNeeded, Some(Cow::Borrowed("Leader election not needed for topic partition.")));
const PREFERRED_NOT_AVAILABLE: Told =
    (ErrorCode::PreferredLeaderNotAvailable, Some(Cow::Borrowed("The preferred leader was not available.")));
const NONE_ELIGIBLE: Told = (
    ErrorCode::EligibleLeadersNotAvailable,
    Some(Cow::Borrowed("Eligible topic partition leaders are not available.")),
);

/// The request's partitions, and what each is told by its topic's name and its number.
fn of_each<'a>(
    topics: &'a [TopicPartitions<'_>],
    told: impl Fn(&str, i32, &mut Sentences) -> Told,
) -> Vec<ReplicaElectionResult<'a>> {
    let mut sentences = Sentences::default();
    let topic = |topic: &'a TopicPartitions<'_>| ReplicaElectionResult {
        topic: Cow::Borrowed(&*topic.topic),
        partition_result: topic
            .partitions
            .iter()
            .map(|id| partition_result(*id, told(&topic.topic, *id, &mut sentences)))
            .collect(),
    };
    topics.iter().map(topic).collect()
}

/// Every topic, with the partitions that do not have the leader that is wanted.
fn everything(image: &Image, election: ElectionType) -> Vec<ReplicaElectionResult<'_>> {
    let topics = image.topics.iter().map(|topic| {
        let told = (0..).zip(&topic.partitions).map(|(id, partition)| (id, outcome(election, partition)));
        let news = told.filter(|(_, (error, _))| *error != ErrorCode::ElectionNotNeeded);
        ReplicaElectionResult {
            topic: Cow::Borrowed(&*topic.name),
            partition_result: news.map(|(id, told)| partition_result(id, told)).collect(),
        }
    });
    topics.collect()
}

/// What one partition of the request is told.
fn elect(image: &Image, election: ElectionType, (topic, id): (&str, i32), sentences: &mut Sentences) -> Told {
    let found = image.topics.by_name(topic);
    if let Some(partition) = found.and_then(|topic| topic.partition(id)) {
        return outcome(election, partition);
    }
    let sentence = sentences.tell(|| match found {
        None => format!("No such topic as {topic}"),
        Some(_) => format!("No such partition as {topic}-{id}"),
    });
    (ErrorCode::UnknownTopicOrPartition, sentence)
}

fn outcome(election: ElectionType, partition: &PartitionImage) -> Told {
    let has_leader = partition.leader.0 >= 0;
    let is_preferred = has_leader && partition.replicas.first() == Some(&partition.leader);
    match election {
        ElectionType::Preferred if is_preferred => NOT_NEEDED,
        ElectionType::Preferred => PREFERRED_NOT_AVAILABLE,
        ElectionType::Unclean if has_leader => NOT_NEEDED,
        ElectionType::Unclean => NONE_ELIGIBLE,
    }
}

fn partition_result(partition_id: i32, (error, sentence): Told) -> PartitionResult<'static> {
    PartitionResult { partition_id, error_code: error.code(), error_message: sentence }
}

/// The answer to a type of election that does not exist.
fn refusal<'a>(request: &'a ElectLeadersRequest<'_>, election_type: i8) -> ElectLeadersResponse<'a> {
    let refused = |sentences: &mut Sentences| {
        (ErrorCode::InvalidRequest, sentences.tell(|| format!("Unknown election type {election_type}")))
    };
    let topics = request.topic_partitions.as_deref().unwrap_or_default();
    ElectLeadersResponse {
        error_code: ErrorCode::InvalidRequest.code(),
        replica_election_results: of_each(topics, |_, _, sentences| refused(sentences)),
        ..ElectLeadersResponse::default()
    }
}

#[cfg(test)]
mod tests;
