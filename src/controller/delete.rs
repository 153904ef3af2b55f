//! DeleteTopics (key 20, versions 1-6): topics by name or, from version 6 on, by id.
//!
//! | version | change |
//! |---|---|
//! | 3 | TOPIC_DELETION_DISABLED where `delete.topic.enable` is false (before: INVALID_REQUEST) |
//! | 5 | error messages |
//! | 6 | a list of topics with a name or an id each, instead of a list of names |
//!
//! The checks and their words are those of Kafka's `ControllerApis.deleteTopics`, which shuffles its answers: the order
//! here is that of its steps. A name and an id that mean the same topic cancel each other.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use ottla_wire::MetadataRecord;
use ottla_wire::delete_topics_request::DeleteTopicsRequest;
use ottla_wire::delete_topics_response::{DeletableTopicResult, DeleteTopicsResponse};
use ottla_wire::remove_topic_record::RemoveTopicRecord;

use super::image::Image;
use super::topics::duplicates;
use super::{ApiError, Decision};
use crate::config::BrokerConfig;
use crate::errors::ErrorCode;
use crate::ids::TopicId;

/// From this version on a broker can say that it does not delete topics.
const SAYS_DISABLED: i16 = 3;
/// From this version on topics come in the list that can name ids.
const IDS: i16 = 6;

/// Decides a request of `version`.
#[must_use]
pub fn delete(
    image: &Image,
    config: &BrokerConfig,
    version: i16,
    request: &DeleteTopicsRequest<'_>,
) -> Decision<DeleteTopicsResponse<'static>> {
    let (records, responses) = if config.topics.deletion {
        decide(image, request)
    } else {
        (Vec::new(), disabled(version, request))
    };
    Decision { records, reply: DeleteTopicsResponse { responses, ..Default::default() } }
}

fn disabled(version: i16, request: &DeleteTopicsRequest<'_>) -> Vec<DeletableTopicResult<'static>> {
    let code =
        if version < SAYS_DISABLED { ErrorCode::InvalidRequest } else { ErrorCode::TopicDeletionDisabled };
    let all: Vec<(Option<&str>, TopicId)> = if version < IDS {
        request.topic_names.iter().map(|name| (Some(&**name), TopicId::ZERO)).collect()
    } else {
        request.topics.iter().map(|topic| (topic.name.as_deref(), topic.topic_id)).collect()
    };
    all.into_iter().map(|(name, id)| result(name, id, Err(ApiError::bare(code)))).collect()
}

fn result(name: Option<&str>, id: TopicId, outcome: Result<(), ApiError>) -> DeletableTopicResult<'static> {
    let (code, message) = match outcome {
        Ok(()) => (ErrorCode::None, None),
        Err(error) => (error.code, error.message),
    };
    DeletableTopicResult {
        name: name.map(|name| Cow::Owned(name.to_owned())),
        topic_id: id,
        error_code: code.code(),
        error_message: message,
    }
}

fn invalid(text: &'static str) -> Result<(), ApiError> {
    Err(ApiError::new(ErrorCode::InvalidRequest, text))
}

type Decided = (Vec<MetadataRecord<'static>>, Vec<DeletableTopicResult<'static>>);

fn decide(image: &Image, request: &DeleteTopicsRequest<'_>) -> Decided {
    let mut responses = Vec::new();
    let (mut names, mut ids): (Vec<&str>, Vec<TopicId>) = (Vec::new(), Vec::new());
    names.extend(request.topic_names.iter().map(|name| &**name));
    for topic in &request.topics {
        match (topic.name.as_deref(), topic.topic_id) {
            (None, TopicId::ZERO) => {
                responses.push(result(
                    None,
                    TopicId::ZERO,
                    invalid("Neither topic name nor id were specified."),
                ));
            }
            (None, id) => ids.push(id),
            (Some(name), TopicId::ZERO) => names.push(name),
            (Some(name), id) => {
                responses.push(result(
                    Some(name),
                    id,
                    invalid("You may not specify both topic name and topic id."),
                ));
            }
        }
    }
    let repeated_names = duplicates(names.iter().copied());
    let repeated_ids: BTreeSet<TopicId> = {
        let mut seen = BTreeSet::new();
        ids.iter().copied().filter(|id| !seen.insert(*id)).collect()
    };
    for name in &repeated_names {
        responses.push(result(Some(name), TopicId::ZERO, invalid("Duplicate topic name.")));
    }
    for id in &repeated_ids {
        responses.push(result(None, *id, invalid("Duplicate topic id.")));
    }
    names.retain(|name| !repeated_names.contains(name));
    ids.retain(|id| !repeated_ids.contains(id));
    let mut doomed = find_ids(image, &ids, &mut responses);
    find_names(image, &names, &repeated_ids, &mut doomed, &mut responses);
    let records =
        doomed.keys().map(|id| MetadataRecord::RemoveTopicRecord(RemoveTopicRecord { topic_id: *id }));
    let records = records.collect();
    responses.extend(doomed.into_iter().map(|(id, name)| result(Some(name), id, Ok(()))));
    (records, responses)
}

fn find_ids<'a>(
    image: &'a Image,
    ids: &[TopicId],
    responses: &mut Vec<DeletableTopicResult<'static>>,
) -> BTreeMap<TopicId, &'a str> {
    let mut found = BTreeMap::new();
    for id in ids {
        match image.topics.by_id(*id) {
            Some(topic) => drop(found.insert(*id, &*topic.name)),
            None => {
                let error =
                    ApiError::new(ErrorCode::UnknownTopicId, "This server does not host this topic ID.");
                responses.push(result(None, *id, Err(error)));
            }
        }
    }
    found
}

fn find_names<'a>(
    image: &'a Image,
    names: &[&str],
    repeated_ids: &BTreeSet<TopicId>,
    doomed: &mut BTreeMap<TopicId, &'a str>,
    responses: &mut Vec<DeletableTopicResult<'static>>,
) {
    for name in names {
        let Some(topic) = image.topics.by_name(name) else {
            let text = "This server does not host this topic-partition.";
            let error = ApiError::new(ErrorCode::UnknownTopicOrPartition, text);
            responses.push(result(Some(name), TopicId::ZERO, Err(error)));
            continue;
        };
        if repeated_ids.contains(&topic.id) || doomed.insert(topic.id, &topic.name).is_some() {
            doomed.remove(&topic.id);
            let error = invalid("The provided topic name maps to an ID that was already supplied.");
            responses.push(result(Some(name), topic.id, error));
        }
    }
}

#[cfg(test)]
mod tests;
