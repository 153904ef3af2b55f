//! DescribeProducers (key 61, version 0): what partitions remember of their producers (KIP-664).
//!
//! The connection's shard owns a plan; the owner shards look into their logs. A topic whose name cannot be one is
//! INVALID_TOPIC_EXCEPTION for each of its partitions, as Kafka's `handleDescribeProducersRequest` has it. What must
//! hold: an answer has about [`DESCRIBED_PRODUCERS_MAX`] producers at most, however often a partition is named.

use std::borrow::Cow;

use ottla_wire::describe_producers_request::DescribeProducersRequest;
use ottla_wire::describe_producers_response::{
    DescribeProducersResponse, PartitionResponse, ProducerState, TopicResponse,
};

use crate::controller::image::Image;
use crate::controller::names;
use crate::errors::ErrorCode;
use crate::ids::{Offset, ProducerId, TopicIdPartition};
use crate::limits::DESCRIBED_PRODUCERS_MAX;
use crate::log::producer_entry::ProducerEntry;
use crate::request::partition_by_name;
use crate::request::places::Places;
use crate::sentences::{self, Sentences};

/// One partition's question for its owner shard.
#[derive(Clone, Copy, Debug)]
pub struct ProducersPart {
    /// The place in the plan that the outcome goes back to.
    pub slot: u32,
    /// The partition.
    pub partition: TopicIdPartition,
}

/// One partition's producers, by ascending id, or why they are not told.
pub type ProducersOutcome = Result<Vec<ProducerState>, ErrorCode>;

/// An error and, where Kafka has one, a sentence for it.
type Refusal = (ErrorCode, Option<Cow<'static, str>>);

/// A DescribeProducers request between its frame and its reply.
#[derive(Debug)]
pub struct ProducersPlan {
    places: Places<Result<Vec<ProducerState>, Refusal>>,
    described: usize,
}

impl ProducersPlan {
    /// Cuts a request into questions for owner shards.
    #[must_use]
    pub fn new(image: &Image, request: &DescribeProducersRequest<'_>) -> (Self, Vec<ProducersPart>) {
        let mut places = Places::default();
        let mut parts = Vec::new();
        let mut sentences = Sentences::default();
        for topic in &request.topics {
            places.topic(&topic.name, ottla_wire::Uuid::ZERO);
            let refused = topic_refusal(image, &topic.name);
            for index in &topic.partition_indexes {
                let slot = places.partition(*index);
                let found = match &refused {
                    Some((error, sentence)) => Err((*error, sentences.tell(|| sentence.clone()))),
                    None => partition_by_name(image, &topic.name, *index).map_err(|error| (error, None)),
                };
                match found {
                    Ok(partition) => parts.push(ProducersPart { slot, partition }),
                    Err(refused) => places.answer(slot, Err(refused)),
                }
            }
        }
        (Self { places, described: 0 }, parts)
    }

    /// Puts one part's outcome into its place, unless the answer is full.
    pub fn answer(&mut self, slot: u32, outcome: ProducersOutcome) {
        let outcome = match outcome {
            Ok(producers) if self.described + producers.len() > DESCRIBED_PRODUCERS_MAX => {
                Err((ErrorCode::PolicyViolation, Some(too_many())))
            }
            Ok(producers) => {
                self.described += producers.len();
                Ok(producers)
            }
            Err(error) => Err((error, None)),
        };
        self.places.answer(slot, outcome);
    }

    /// The reply, in the request's order.
    #[must_use]
    pub fn into_reply(self) -> DescribeProducersResponse<'static> {
        let topics = self.places.into_topics().map(|topic| TopicResponse {
            name: topic.name.into(),
            partitions: topic.partitions.into_iter().map(partition_reply).collect(),
        });
        DescribeProducersResponse { topics: topics.collect(), ..DescribeProducersResponse::default() }
    }
}

/// What a log remembers of one producer, as the wire has it: -1 for a sequence number, a timestamp, a coordinator's
/// epoch or an open transaction that there is none of.
#[must_use]
pub fn state_of(id: ProducerId, entry: &ProducerEntry) -> ProducerState {
    ProducerState {
        producer_id: id.0,
        producer_epoch: i32::from(entry.epoch.0),
        last_sequence: entry.last_sequence(),
        last_timestamp: entry.last_timestamp.0,
        coordinator_epoch: entry.coordinator_epoch,
        current_txn_start_offset: entry.transaction_first_offset.unwrap_or(Offset::NONE).0,
    }
}

/// What refuses every partition of a topic alike.
fn topic_refusal(image: &Image, topic: &str) -> Option<(ErrorCode, Cow<'static, str>)> {
    if let Some(reason) = names::invalid_reason(topic) {
        return Some((ErrorCode::InvalidTopicException, sentences::cut(reason)));
    }
    let is_there = image.topics.by_name(topic).is_some();
    let unknown = "This server does not host this topic-partition.";
    (!is_there).then_some((ErrorCode::UnknownTopicOrPartition, Cow::Borrowed(unknown)))
}

fn too_many() -> Cow<'static, str> {
    Cow::Owned(format!(
        "An answer describes {DESCRIBED_PRODUCERS_MAX} producers at most: ask for fewer partitions at a time."
    ))
}

fn partition_reply(
    (partition_index, outcome): (i32, Result<Vec<ProducerState>, Refusal>),
) -> PartitionResponse<'static> {
    let (error, sentence, active_producers) = match outcome {
        Ok(producers) => (ErrorCode::None, None, producers),
        Err((error, sentence)) => (error, sentence, Vec::new()),
    };
    PartitionResponse { partition_index, error_code: error.code(), error_message: sentence, active_producers }
}

#[cfg(test)]
mod tests {
    use ottla_wire::Message;
    use ottla_wire::describe_producers_request::TopicRequest;

    use super::*;
    use crate::controller::testing::{image_with, topic};
    use crate::ids::{ProducerEpoch, TimestampMs};
    use crate::log::producer_entry::SequencedBatch;
    use crate::time::Monotonic;

    fn request(topics: &[(&'static str, &[i32])]) -> DescribeProducersRequest<'static> {
        let topic = |(name, indexes): &(&'static str, &[i32])| TopicRequest {
            name: (*name).into(),
            partition_indexes: indexes.to_vec(),
        };
        DescribeProducersRequest { topics: topics.iter().map(topic).collect() }
    }

    /// What Kafka 4.3.1 answered to the same request.
    #[test]
    fn each_partition_has_its_answer() {
        let image = image_with(&[topic("t", 1, 2)]);
        let request = request(&[("t", &[1, 7, -1]), ("nope", &[0]), ("..", &[1]), ("t", &[1])]);
        let (mut plan, parts) = ProducersPlan::new(&image, &request);
        assert_eq!(
            parts.iter().map(|part| (part.slot, part.partition.partition)).collect::<Vec<_>>(),
            [(0, 1), (5, 1)]
        );
        plan.answer(5, Ok(Vec::new()));
        plan.answer(0, Ok(vec![ProducerState { producer_id: 9, ..Default::default() }]));
        let reply = plan.into_reply();
        reply.size(0).expect("version 0 carries it");
        let seen = reply.topics.iter().flat_map(|topic| {
            topic.partitions.iter().map(|partition| {
                let sentence = partition.error_message.as_deref();
                let producers = partition.active_producers.len();
                (&*topic.name, partition.partition_index, partition.error_code, sentence, producers)
            })
        });
        let unknown = Some("This server does not host this topic-partition.");
        let expected = [
            ("t", 1, 0, None, 1),
            ("t", 7, 3, None, 0),
            ("t", -1, 3, None, 0),
            ("nope", 0, 3, unknown, 0),
            ("..", 1, 17, Some("Topic name is invalid: '..' is not allowed"), 0),
            ("t", 1, 0, None, 0),
        ];
        assert_eq!(seen.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_producer_is_told_as_the_log_remembers_it() {
        let mut entry = ProducerEntry::new(ProducerEpoch(3), Monotonic(0));
        let none = ProducerState {
            producer_id: 7,
            producer_epoch: 3,
            last_sequence: -1,
            last_timestamp: -1,
            coordinator_epoch: -1,
            current_txn_start_offset: -1,
        };
        assert_eq!(state_of(ProducerId(7), &entry), none);
        let batch = SequencedBatch {
            last_sequence: 41,
            last_offset: Offset(99),
            offset_delta: 1,
            timestamp: TimestampMs(5),
        };
        entry.add_batch(ProducerEpoch(4), batch);
        entry.transaction_first_offset = Some(Offset(98));
        let told = state_of(ProducerId(7), &entry);
        assert_eq!((told.producer_epoch, told.last_sequence, told.last_timestamp), (4, 41, 5));
        assert_eq!((told.coordinator_epoch, told.current_txn_start_offset), (-1, 98));
    }

    #[test]
    fn an_answer_has_an_end() {
        let image = image_with(&[topic("t", 1, 1)]);
        let (mut plan, parts) = ProducersPlan::new(&image, &request(&[("t", &[0, 0, 0])]));
        let producers = vec![ProducerState::default(); DESCRIBED_PRODUCERS_MAX - 1];
        for (part, producers) in
            parts.iter().zip([producers.clone(), producers[..2].to_vec(), producers[..1].to_vec()])
        {
            plan.answer(part.slot, Ok(producers));
        }
        let reply = plan.into_reply();
        let codes: Vec<_> = reply.topics[0].partitions.iter().map(|partition| partition.error_code).collect();
        assert_eq!(codes, [0, ErrorCode::PolicyViolation.code(), 0]);
    }

    #[test]
    fn few_bytes_of_a_request_are_not_many_of_its_answer() {
        let name = "n".repeat(32_000);
        let topic = TopicRequest { name: name.as_str().into(), partition_indexes: vec![0; 100_000] };
        let request = DescribeProducersRequest { topics: vec![topic] };
        let (plan, parts) = ProducersPlan::new(&image_with(&[]), &request);
        assert!(parts.is_empty());
        let reply = plan.into_reply();
        let bytes = reply.size(0).expect("each sentence can be written");
        assert!(bytes < 4 << 20, "{bytes}");
    }
}
