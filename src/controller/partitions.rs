//! CreatePartitions (key 37, versions 0-3): more partitions for topics that exist.
//!
//! The versions differ in their encoding alone. Every topic of a request gets one result, duplicates one together; the
//! checks, their order and their words are those of Kafka's `ReplicationControlManager.createPartitions`. Kafka fails
//! with UNKNOWN_SERVER_ERROR where a request adds too many partitions for one batch; here it is POLICY_VIOLATION.

use std::borrow::Cow;

use ottla_wire::MetadataRecord;
use ottla_wire::create_partitions_request::{CreatePartitionsRequest, CreatePartitionsTopic};
use ottla_wire::create_partitions_response::{CreatePartitionsResponse, CreatePartitionsTopicResult};

use super::assign::{Assigner, Assignment};
use super::image::{Image, TopicImage};
use super::topics::{TOO_MANY, duplicates, too_many_in_total};
use super::{ApiError, Decision};
use crate::errors::ErrorCode;
use crate::limits::{PARTITIONS_PER_REQUEST_MAX, PARTITIONS_PER_TOPIC_MAX, PARTITIONS_TOTAL_MAX};

/// Decides a request.
#[must_use]
pub fn create(
    image: &Image,
    request: &CreatePartitionsRequest<'_>,
) -> Decision<CreatePartitionsResponse<'static>> {
    let duplicates = duplicates(request.topics.iter().map(|topic| &*topic.name));
    let mut growth = Growth { image, assigner: Assigner::new(image), added: 0, records: Vec::new() };
    let mut results: Vec<CreatePartitionsTopicResult<'static>> = Vec::with_capacity(request.topics.len());
    for name in &duplicates {
        results.push(result(name, Err(ApiError::new(ErrorCode::InvalidRequest, "Duplicate topic name."))));
    }
    for topic in request.topics.iter().filter(|topic| !duplicates.contains(&*topic.name)) {
        results.push(result(&topic.name, growth.topic(topic)));
    }
    let records = if request.validate_only { Vec::new() } else { growth.records };
    Decision { records, reply: CreatePartitionsResponse { results, ..Default::default() } }
}

fn result(name: &str, outcome: Result<(), ApiError>) -> CreatePartitionsTopicResult<'static> {
    let (code, message) = match outcome {
        Ok(()) => (ErrorCode::None, None),
        Err(error) => (error.code, error.message),
    };
    CreatePartitionsTopicResult {
        name: Cow::Owned(name.to_owned()),
        error_code: code.code(),
        error_message: message,
    }
}

/// One request's growth: what the topics before have already taken.
struct Growth<'a> {
    image: &'a Image,
    assigner: Assigner<'a>,
    added: usize,
    records: Vec<MetadataRecord<'static>>,
}

impl Growth<'_> {
    fn topic(&mut self, wanted: &CreatePartitionsTopic<'_>) -> Result<(), ApiError> {
        let topic = self.image.topics.by_name(&wanted.name);
        let topic = topic.ok_or(ApiError::bare(ErrorCode::UnknownTopicOrPartition))?;
        let additional = self.additional(topic, wanted)?;
        let first = topic.partition_count();
        let assignments = self.assignments(topic, wanted, additional)?;
        self.added += assignments.len();
        self.records.extend((first..).zip(&assignments).map(|(index, to)| to.record(topic.id, index)));
        Ok(())
    }

    fn additional(&self, topic: &TopicImage, wanted: &CreatePartitionsTopic<'_>) -> Result<i32, ApiError> {
        let (now, count) = (topic.partition_count(), wanted.count);
        let invalid = |text| Err(ApiError::new(ErrorCode::InvalidPartitions, text));
        if count == now {
            return invalid(format!("Topic already has {now} partition(s)."));
        }
        if count < now {
            return invalid(format!(
                "The topic {} currently has {now} partition(s); {count} would not be an increase.",
                wanted.name
            ));
        }
        let additional = count - now;
        if let Some(given) = wanted.assignments.as_ref().map(Vec::len)
            && usize::try_from(additional) != Ok(given)
        {
            let text = format!(
                "Attempted to add {additional} additional partition(s), but only {given} assignment(s) were specified."
            );
            return Err(ApiError::new(ErrorCode::InvalidReplicaAssignment, text));
        }
        if count > PARTITIONS_PER_TOPIC_MAX {
            return invalid(format!("A topic can have at most {PARTITIONS_PER_TOPIC_MAX} partitions."));
        }
        let added = self.added + usize::try_from(additional).expect("it was found to be positive");
        if added > PARTITIONS_PER_REQUEST_MAX {
            return Err(ApiError::new(ErrorCode::PolicyViolation, TOO_MANY));
        }
        let total = self.image.topics.partition_count();
        if total + added > PARTITIONS_TOTAL_MAX {
            Err(too_many_in_total(total + self.added))
        } else {
            Ok(additional)
        }
    }

    /// New partitions have as many replicas as the topic's first one.
    fn assignments(
        &mut self,
        topic: &TopicImage,
        wanted: &CreatePartitionsTopic<'_>,
        additional: i32,
    ) -> Result<Vec<Assignment>, ApiError> {
        let replicas = topic.partitions.first().map_or(1, |partition| partition.replicas.len());
        let factor = i16::try_from(replicas).expect("it was an i16 when the topic was created");
        let first = topic.partition_count();
        match &wanted.assignments {
            None => self.assigner.place(first, additional, factor),
            Some(wanted) => (first..)
                .zip(wanted)
                .map(|(index, wanted)| self.assigner.manual(index, &wanted.broker_ids, Some(factor)))
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests;
