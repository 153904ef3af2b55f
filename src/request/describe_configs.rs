//! DescribeConfigs (key 32, versions 1-4): settings, their values, where these come from and what they mean.
//!
//! | version | change |
//! |---|---|
//! | 1 | where a value comes from, and every place where one was found |
//! | 3 | types and documentation |
//!
//! No keys, or an empty list of them, means every key. Which keys a resource has and what is said of each is
//! decided in `config/describe`; which resources there are, and the words for those that are not, follow Kafka's
//! `ConfigHelper`. A type of resource that does not exist refuses the whole request.

use std::borrow::Cow;

use ottla_wire::describe_configs_request::{DescribeConfigsRequest, DescribeConfigsResource};
use ottla_wire::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResponse, DescribeConfigsResult, DescribeConfigsSynonym,
};

use crate::config::describe::{self, Described, DescribedSynonym, Wanted};
use crate::config::{BrokerConfig, ConfigError};
use crate::controller::image::{ConfigResource, ConfigResourceType, Image};
use crate::controller::loggers::Logger;
use crate::controller::names;
use crate::errors::ErrorCode;
use crate::limits::DESCRIBED_CONFIGS_MAX;

/// The source of a logger's level (`DYNAMIC_BROKER_LOGGER_CONFIG`).
const LOGGER_SOURCE: i8 = 6;

/// Kafka's words for INVALID_REQUEST where it has no others.
const MALFORMED: &str = "This most likely occurs because of a request being malformed by the client library or the \
                         message was sent to an incompatible broker. See the broker logs for more details.";

type Entry = DescribeConfigsResourceResult<'static>;

/// Answers a request; `loggers` are those of this process.
#[must_use]
pub fn handle<'a>(
    image: &Image,
    config: &BrokerConfig,
    loggers: &[Logger],
    request: &'a DescribeConfigsRequest<'_>,
) -> DescribeConfigsResponse<'a> {
    let is_known = |resource: &DescribeConfigsResource<'_>| {
        ConfigResourceType::from_code(resource.resource_type).is_some()
    };
    let all_known = request.resources.iter().all(is_known);
    let description = Description { image, config, loggers, request };
    let mut described = 0;
    let results = request.resources.iter().map(|resource| {
        let outcome = match ConfigResourceType::from_code(resource.resource_type) {
            Some(_) if described > DESCRIBED_CONFIGS_MAX => Err((ErrorCode::PolicyViolation, too_many())),
            Some(kind) if all_known => description.resource(kind, resource),
            _ => Err((ErrorCode::InvalidRequest, MALFORMED.to_owned())),
        };
        described += outcome.as_ref().map_or(0, Vec::len);
        let (error, message, configs) = match outcome {
            Ok(configs) => (ErrorCode::None, String::new(), configs),
            Err((error, message)) => (error, message, Vec::new()),
        };
        DescribeConfigsResult {
            error_code: error.code(),
            error_message: Some(Cow::Owned(message)),
            resource_type: resource.resource_type,
            resource_name: Cow::Borrowed(&*resource.resource_name),
            configs,
        }
    });
    DescribeConfigsResponse { results: results.collect(), ..Default::default() }
}

/// One answer in the making.
struct Description<'a> {
    image: &'a Image,
    config: &'a BrokerConfig,
    loggers: &'a [Logger],
    request: &'a DescribeConfigsRequest<'a>,
}

type Refusal = (ErrorCode, String);

fn invalid(text: impl Into<String>) -> Refusal {
    (ErrorCode::InvalidRequest, text.into())
}

/// A short request can ask for a long answer, which memory must have room for.
fn too_many() -> String {
    format!(
        "An answer describes about {DESCRIBED_CONFIGS_MAX} settings at most: ask for fewer resources at a time."
    )
}

/// The settings in force passed every rule, so this is a mistake of ours: the client hears of it all the same.
fn broken(error: ConfigError) -> Refusal {
    (ErrorCode::InvalidConfig, error.to_string())
}

impl Description<'_> {
    fn resource(
        &self,
        kind: ConfigResourceType,
        resource: &DescribeConfigsResource<'_>,
    ) -> Result<Vec<Entry>, Refusal> {
        let name = &*resource.resource_name;
        let mut keys: Vec<&str> = resource.configuration_keys.iter().flatten().map(|key| &**key).collect();
        keys.sort_unstable();
        keys.dedup();
        let wanted = Wanted::these(&keys);
        let settings = self.config.settings();
        let overrides = self.image.configs.of_or_empty(&ConfigResource::new(kind, name));
        let described = match kind {
            ConfigResourceType::Topic => {
                if let Some(reason) = names::invalid_reason(name) {
                    return Err((ErrorCode::InvalidTopicException, reason));
                }
                if self.image.topics.by_name(name).is_none() {
                    return Err((ErrorCode::UnknownTopicOrPartition, String::new()));
                }
                describe::topic(settings, &overrides, wanted).map_err(broken)?
            }
            ConfigResourceType::Broker if name.is_empty() => describe::broker_defaults(settings, wanted),
            ConfigResourceType::Broker => {
                self.own_id(name, " or empty string,")?;
                describe::broker(settings, wanted).map_err(broken)?
            }
            ConfigResourceType::BrokerLogger if name.is_empty() => {
                return Err(invalid("Broker id must not be empty"));
            }
            ConfigResourceType::BrokerLogger => {
                self.own_id(name, "")?;
                return Ok(self.levels(&keys));
            }
            ConfigResourceType::Group if name.is_empty() => {
                return Err(invalid("Group name must not be empty"));
            }
            ConfigResourceType::Group => describe::group(settings, &overrides, wanted).map_err(broken)?,
            ConfigResourceType::ClientMetrics if name.is_empty() => {
                return Err(invalid("Client metrics subscription name must not be empty"));
            }
            ConfigResourceType::ClientMetrics => {
                describe::client_metrics(&overrides, wanted).map_err(broken)?
            }
        };
        Ok(described.into_iter().map(|described| self.entry(described)).collect())
    }

    fn own_id(&self, name: &str, or_else: &str) -> Result<(), Refusal> {
        let id: i32 =
            name.parse().map_err(|_| invalid(format!("Broker id must be an integer, but it is: {name}")))?;
        if id == self.image.node_id.0 {
            return Ok(());
        }
        let own = self.image.node_id;
        Err(invalid(format!("Unexpected broker id, expected {own}{or_else} but received {name}")))
    }

    fn levels(&self, keys: &[&str]) -> Vec<Entry> {
        let wanted = self
            .loggers
            .iter()
            .filter(|logger| keys.is_empty() || keys.binary_search(&logger.name.as_str()).is_ok());
        wanted
            .map(|logger| Entry {
                name: Cow::Owned(logger.name.clone()),
                value: Some(Cow::Borrowed(logger.level.name())),
                config_source: LOGGER_SOURCE,
                documentation: Some(Cow::Borrowed("")),
                ..Default::default()
            })
            .collect()
    }

    fn entry(&self, described: Described) -> Entry {
        let config_type = described.type_code();
        let synonym = |synonym: DescribedSynonym| DescribeConfigsSynonym {
            name: Cow::Owned(synonym.name),
            value: synonym.value.map(Cow::Owned),
            source: synonym.source.code(),
        };
        let synonyms = described.synonyms.into_iter().filter(|_| self.request.include_synonyms).map(synonym);
        Entry {
            name: Cow::Owned(described.name),
            value: described.value.map(Cow::Owned),
            read_only: described.read_only,
            config_source: described.source.code(),
            is_sensitive: described.sensitive,
            synonyms: synonyms.collect(),
            config_type,
            documentation: described.doc.filter(|_| self.request.include_documentation).map(Cow::Borrowed),
        }
    }
}

#[cfg(test)]
mod tests;
