//! IncrementalAlterConfigs (key 44, versions 0-1) and AlterConfigs (key 33, versions 0-2): settings at run time.
//!
//! The versions differ in their encoding alone. A request names topics, brokers (by id, or all by the empty name),
//! groups, client metrics subscriptions and, incrementally, loggers; each resource is decided for itself, as a whole,
//! and answered in the order of the request. What a value may be is decided in `config/`; codes, order and words are
//! those of Kafka's `ConfigAdminManager` and `ConfigurationControlManager`. Where Kafka's controller fails on an
//! operation that does not exist with UNKNOWN_SERVER_ERROR, this is the INVALID_REQUEST that its broker knows for it.

use std::borrow::Cow;
use std::collections::BTreeMap;

use ottla_wire::MetadataRecord;
use ottla_wire::alter_configs_request::AlterConfigsRequest;
use ottla_wire::alter_configs_response::{AlterConfigsResourceResponse as OldResult, AlterConfigsResponse};
use ottla_wire::config_record::ConfigRecord;
use ottla_wire::incremental_alter_configs_request::{AlterConfigsResource, IncrementalAlterConfigsRequest};
use ottla_wire::incremental_alter_configs_response::{
    AlterConfigsResourceResponse, IncrementalAlterConfigsResponse,
};

use super::image::{ConfigResource, ConfigResourceType, Image};
use super::loggers::{self, Logger, LoggerChange};
use super::{ApiError, Decision, names};
use crate::config::alter::{self, AlterError, AlterOp, Alteration, Altered, Target};
use crate::config::{BrokerConfig, Overrides};
use crate::errors::ErrorCode;
use crate::limits::CONFIG_BYTES_MAX;

/// The reply to an IncrementalAlterConfigs request, and what it does beside the metadata.
#[derive(Clone, Debug, PartialEq)]
pub struct IncrementalReply {
    /// What the client hears.
    pub response: IncrementalAlterConfigsResponse<'static>,
    /// The log levels that change.
    pub loggers: Vec<LoggerChange>,
}

/// Decides an IncrementalAlterConfigs request; `loggers` are those of this process.
#[must_use]
pub fn incremental(
    image: &Image,
    config: &BrokerConfig,
    loggers: &[Logger],
    request: &IncrementalAlterConfigsRequest<'_>,
) -> Decision<IncrementalReply> {
    let repeated = repeated(request.resources.iter().map(|r| (r.resource_type, &*r.resource_name)));
    let mut alterer = Alterer::new(image, config);
    let mut responses = Vec::with_capacity(request.resources.len());
    let mut changes = Vec::new();
    for resource in &request.resources {
        let place = (resource.resource_type, &*resource.resource_name);
        let outcome = match ConfigResourceType::from_code(resource.resource_type) {
            _ if repeated.contains(&place) => Err(at_most_once()),
            Some(ConfigResourceType::BrokerLogger) => check_keys(resource)
                .and_then(|()| loggers::changes(image.node_id, loggers, resource))
                .map(|more| changes.extend(more)),
            Some(kind) => alterer.alter(kind, &resource.resource_name, |target, current| {
                alter::incremental(target, current, &alterations(resource)?)
            }),
            None => Err(unknown_type(resource.resource_type)),
        };
        responses.push(result(place, outcome));
    }
    let mut decision = Decision {
        records: alterer.records,
        reply: IncrementalReply {
            response: IncrementalAlterConfigsResponse { responses, ..Default::default() },
            loggers: changes,
        },
    };
    if request.validate_only {
        decision.records.clear();
        decision.reply.loggers.clear();
    }
    decision
}

/// Decides an AlterConfigs request, which replaces all settings of a resource.
#[must_use]
pub fn replace(
    image: &Image,
    config: &BrokerConfig,
    request: &AlterConfigsRequest<'_>,
) -> Decision<AlterConfigsResponse<'static>> {
    let repeated = repeated(request.resources.iter().map(|r| (r.resource_type, &*r.resource_name)));
    let mut alterer = Alterer::new(image, config);
    let mut responses = Vec::with_capacity(request.resources.len());
    for resource in &request.resources {
        let place = (resource.resource_type, &*resource.resource_name);
        let settings = || -> Vec<(String, Option<String>)> {
            let pair = |name: &str, value: Option<&str>| (name.to_owned(), value.map(str::to_owned));
            resource.configs.iter().map(|config| pair(&config.name, config.value.as_deref())).collect()
        };
        let outcome = match ConfigResourceType::from_code(resource.resource_type) {
            _ if repeated.contains(&place) => Err(at_most_once()),
            None | Some(ConfigResourceType::BrokerLogger) => Err(unknown_type(resource.resource_type)),
            Some(kind) => alterer.alter(kind, &resource.resource_name, |target, current| {
                alter::replace(target, current, &settings())
            }),
        };
        let AlterConfigsResourceResponse { error_code, error_message, resource_type, resource_name } =
            result(place, outcome);
        responses.push(OldResult { error_code, error_message, resource_type, resource_name });
    }
    let records = if request.validate_only { Vec::new() } else { alterer.records };
    Decision { records, reply: AlterConfigsResponse { responses, ..Default::default() } }
}

type Place<'a> = (i8, &'a str);

/// The resources that a request names more than once.
fn repeated<'a>(places: impl Iterator<Item = Place<'a>>) -> Vec<Place<'a>> {
    let mut counts: BTreeMap<Place<'a>, usize> = BTreeMap::new();
    for place in places {
        *counts.entry(place).or_default() += 1;
    }
    counts.into_iter().filter(|(_, count)| *count > 1).map(|(place, _)| place).collect()
}

fn at_most_once() -> ApiError {
    ApiError::new(ErrorCode::InvalidRequest, "Each resource must appear at most once.")
}

fn unknown_type(code: i8) -> ApiError {
    ApiError::new(ErrorCode::InvalidRequest, format!("Unknown resource type {code}"))
}

fn result((kind, name): Place<'_>, outcome: Result<(), ApiError>) -> AlterConfigsResourceResponse<'static> {
    let (code, message) = match outcome {
        Ok(()) => (ErrorCode::None, None),
        Err(error) => (error.code, error.message),
    };
    AlterConfigsResourceResponse {
        error_code: code.code(),
        error_message: message,
        resource_type: kind,
        resource_name: Cow::Owned(name.to_owned()),
    }
}

fn alterations(resource: &AlterConfigsResource<'_>) -> Result<Vec<Alteration>, AlterError> {
    let alteration = |config: &ottla_wire::incremental_alter_configs_request::AlterableConfig<'_>| {
        let code = config.config_operation;
        let op = AlterOp::from_code(code).ok_or_else(|| AlterError {
            code: ErrorCode::InvalidRequest,
            message: format!("Unknown operations type {code}"),
        })?;
        let value = config.value.as_deref().map(str::to_owned);
        Ok(Alteration { name: config.name.clone().into_owned(), op, value })
    };
    resource.configs.iter().map(alteration).collect()
}

/// A resource of loggers names each once and gives every one a level that is to have one.
fn check_keys(resource: &AlterConfigsResource<'_>) -> Result<(), ApiError> {
    let mut names: Vec<&str> = resource.configs.iter().map(|config| &*config.name).collect();
    names.sort_unstable();
    let invalid = |text| Err(ApiError::new(ErrorCode::InvalidRequest, text));
    if names.windows(2).any(|pair| pair[0] == pair[1]) {
        return invalid("Error due to duplicate config keys".to_owned());
    }
    let lacks_value = |config: &&ottla_wire::incremental_alter_configs_request::AlterableConfig<'_>| {
        config.value.is_none() && config.config_operation != AlterOp::Delete as i8
    };
    let lacking: Vec<&str> =
        resource.configs.iter().filter(lacks_value).map(|config| &*config.name).collect();
    if lacking.is_empty() {
        Ok(())
    } else {
        invalid(format!("Null value not supported for : {}", lacking.join(", ")))
    }
}

/// One request's alterations: how much the resources before have already taken.
struct Alterer<'a> {
    image: &'a Image,
    config: &'a BrokerConfig,
    bytes: usize,
    records: Vec<MetadataRecord<'static>>,
}

impl<'a> Alterer<'a> {
    fn new(image: &'a Image, config: &'a BrokerConfig) -> Alterer<'a> {
        Alterer { image, config, bytes: image.configs.bytes(), records: Vec::new() }
    }

    /// Decides one resource by a rule of `config/`.
    fn alter(
        &mut self,
        kind: ConfigResourceType,
        name: &str,
        rule: impl FnOnce(Target<'a>, &Overrides) -> Result<Altered, AlterError>,
    ) -> Result<(), ApiError> {
        let target = self.target(kind, name)?;
        let resource = ConfigResource::new(kind, name);
        let current = self.image.configs.of_or_empty(&resource);
        let altered = rule(target, &current).map_err(|error| ApiError::new(error.code, error.message))?;
        if kind == ConfigResourceType::Topic && self.image.topics.by_name(name).is_none() {
            let text = format!("The topic '{name}' does not exist.");
            return Err(ApiError::new(ErrorCode::UnknownTopicOrPartition, text));
        }
        self.bytes = bytes_after(self.bytes, &resource, &current, &altered.overrides)?;
        self.records.extend(altered.changes.into_iter().map(|(key, value)| {
            MetadataRecord::ConfigRecord(ConfigRecord {
                resource_type: kind.code(),
                resource_name: Cow::Owned(name.to_owned()),
                name: Cow::Owned(key),
                value: value.map(Cow::Owned),
            })
        }));
        Ok(())
    }

    fn target(&self, kind: ConfigResourceType, name: &str) -> Result<Target<'a>, ApiError> {
        let invalid = |text: String| Err(ApiError::new(ErrorCode::InvalidRequest, text));
        let settings = self.config.settings();
        match kind {
            ConfigResourceType::Topic if name.is_empty() => {
                invalid("Default topic resources are not allowed.".to_owned())
            }
            ConfigResourceType::Topic => match names::invalid_reason(name) {
                Some(reason) => Err(ApiError::new(ErrorCode::InvalidTopicException, reason)),
                None => Ok(Target::Topic(settings)),
            },
            ConfigResourceType::Broker if name.is_empty() => Ok(Target::Cluster(self.config)),
            ConfigResourceType::Broker => match name.parse::<i32>() {
                Ok(id) if id == self.image.node_id.0 => Ok(Target::Broker(self.config)),
                Ok(_) => invalid(format!(
                    "Unexpected broker id, expected {}, but received {name}",
                    self.image.node_id
                )),
                Err(_) => invalid(format!("Node id must be an integer, but it is: {name}")),
            },
            ConfigResourceType::Group if name.is_empty() => {
                invalid("Default group resources are not allowed.".to_owned())
            }
            ConfigResourceType::Group => Ok(Target::Group(settings)),
            ConfigResourceType::ClientMetrics if name.is_empty() => {
                invalid("Subscription name can't be empty".to_owned())
            }
            ConfigResourceType::ClientMetrics => Ok(Target::ClientMetrics),
            ConfigResourceType::BrokerLogger => Err(unknown_type(kind.code())),
        }
    }
}

/// The memory of all overrides when one resource's `current` become `next`; POLICY_VIOLATION where it would grow
/// beyond the limit.
pub(super) fn bytes_after(
    bytes: usize,
    resource: &ConfigResource,
    current: &Overrides,
    next: &Overrides,
) -> Result<usize, ApiError> {
    let of = |overrides: &Overrides| super::image::override_bytes(resource, overrides);
    let (before, after) = (of(current), of(next));
    let total = bytes - before + after;
    if after > before && total > CONFIG_BYTES_MAX {
        let text = format!(
            "All configuration overrides together may take {CONFIG_BYTES_MAX} bytes, and would {total}."
        );
        return Err(ApiError::new(ErrorCode::PolicyViolation, text));
    }
    Ok(total)
}

#[cfg(test)]
mod tests;
