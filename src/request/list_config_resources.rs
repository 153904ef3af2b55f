//! ListConfigResources (key 74, versions 0-1): what has, or could have, a configuration (KIP-1142).
//!
//! | version | change |
//! |---|---|
//! | 0 | client metrics subscriptions alone |
//! | 1 | every type, or those that are asked for |
//!
//! Groups and subscriptions are listed when something is set for them; topics and brokers always. A type that does not
//! exist is UNSUPPORTED_VERSION.

use std::borrow::Cow;

use ottla_wire::list_config_resources_request::ListConfigResourcesRequest;
use ottla_wire::list_config_resources_response::{ConfigResource, ListConfigResourcesResponse};

use super::RequestContext;
use crate::controller::image::{ConfigResourceType, Image};
use crate::errors::ErrorCode;

/// Kafka's order of the types in the answer.
const ORDER: [ConfigResourceType; 5] = [
    ConfigResourceType::Group,
    ConfigResourceType::ClientMetrics,
    ConfigResourceType::BrokerLogger,
    ConfigResourceType::Broker,
    ConfigResourceType::Topic,
];

/// Answers a request.
#[must_use]
pub fn handle<'a>(
    context: &RequestContext<'_>,
    image: &'a Image,
    request: &ListConfigResourcesRequest,
) -> ListConfigResourcesResponse<'a> {
    let known: &[ConfigResourceType] =
        if context.version == 0 { &[ConfigResourceType::ClientMetrics] } else { &ORDER };
    let is_known = |code: &i8| known.iter().any(|kind| kind.code() == *code);
    if !request.resource_types.iter().all(is_known) {
        return ListConfigResourcesResponse {
            error_code: ErrorCode::UnsupportedVersion.code(),
            ..Default::default()
        };
    }
    let is_asked = |kind: &&ConfigResourceType| {
        request.resource_types.is_empty() || request.resource_types.contains(&kind.code())
    };
    let config_resources =
        known.iter().filter(is_asked).flat_map(|kind| of_type(image, context.listener, *kind)).collect();
    ListConfigResourcesResponse { config_resources, ..Default::default() }
}

fn of_type<'a>(image: &'a Image, listener: &str, kind: ConfigResourceType) -> Vec<ConfigResource<'a>> {
    let resource = |resource_name| ConfigResource { resource_name, resource_type: kind.code() };
    match kind {
        ConfigResourceType::Topic => {
            image.topics.iter().map(|topic| resource(Cow::Borrowed(&*topic.name))).collect()
        }
        ConfigResourceType::Broker | ConfigResourceType::BrokerLogger => {
            let brokers = image.brokers.values().filter(|broker| broker.endpoint(listener).is_some());
            brokers.map(|broker| resource(Cow::Owned(broker.id.to_string()))).collect()
        }
        ConfigResourceType::ClientMetrics | ConfigResourceType::Group => {
            image.configs.names(kind).map(|name| resource(Cow::Borrowed(name))).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use ottla_wire::{ApiKey, Message};

    use super::*;
    use crate::controller::testing;
    use crate::request::tests::{context, image_with};

    fn names(version: i16, types: &[i8]) -> (i16, Vec<(String, i8)>) {
        let image = image_with(&[
            testing::topic("t2", 2, 1),
            testing::topic("t1", 1, 1),
            testing::setting(32, "g", "consumer.session.timeout.ms", "50000"),
            testing::setting(16, "m", "interval.ms", "1000"),
            testing::setting(4, "", "log.retention.ms", "1000"),
        ]);
        let request = ListConfigResourcesRequest { resource_types: types.to_vec() };
        let reply = handle(&context(ApiKey::ListConfigResources, version), &image, &request);
        reply.size(version).expect("the version carries it");
        let resources = reply.config_resources.iter().map(|r| (r.resource_name.to_string(), r.resource_type));
        (reply.error_code, resources.collect())
    }

    #[test]
    fn every_type_in_kafkas_order() {
        let all = [("g", 32), ("m", 16), ("1", 8), ("1", 4), ("t1", 2), ("t2", 2)];
        let all: Vec<(String, i8)> = all.iter().map(|(name, kind)| ((*name).to_owned(), *kind)).collect();
        assert_eq!(names(1, &[]), (0, all.clone()));
        assert_eq!(names(1, &[2]), (0, all[4..].to_vec()));
        assert_eq!(names(1, &[4, 8]), (0, all[2..4].to_vec()));
        assert_eq!(names(1, &[16, 16]), (0, all[1..2].to_vec()));
    }

    #[test]
    fn version_0_lists_subscriptions_alone() {
        let (error, resources) = names(0, &[]);
        assert_eq!(error, 0);
        assert_eq!(resources, [("m".to_owned(), 16)]);
    }

    #[test]
    fn unknown_types_are_refused_as_a_whole() {
        assert_eq!(names(1, &[3]), (35, Vec::new()));
        assert_eq!(names(1, &[2, 77]), (35, Vec::new()));
    }
}
