//! ApiVersions (key 18, versions 0-4): what this broker speaks; the first request of nearly every client.
//!
//! | version | change |
//! |---|---|
//! | 1 | throttle time |
//! | 3 | flexible; the client's software name and version; features |
//! | 4 | features whose lowest level is 0 are named (older clients fail on them) |
//!
//! The response's header is version 0 for ever. A version that is not known is answered in version 0 with
//! UNSUPPORTED_VERSION and the range of this API alone, so that the client can try again (KIP-511). A software name or
//! version that breaks Kafka's pattern is INVALID_REQUEST, and the connection stays open.

use ottla_wire::ApiKey;
use ottla_wire::api_versions_request::ApiVersionsRequest;
use ottla_wire::api_versions_response::{
    ApiVersion, ApiVersionsResponse, FinalizedFeatureKey, SupportedFeatureKey,
};

use super::RequestContext;
use super::served::{self, SERVED, Served};
use crate::controller::{Image, features};
use crate::errors::ErrorCode;

/// From this version on a feature may have 0 as its lowest level.
const FEATURES_FROM_ZERO: i16 = 4;
/// From this version on the client names its software.
const SOFTWARE_NAMED: i16 = 3;

/// Answers a request of a served version.
#[must_use]
pub fn handle<'a>(
    context: &RequestContext<'_>,
    image: &'a Image,
    request: &ApiVersionsRequest<'_>,
) -> ApiVersionsResponse<'a> {
    let named = context.version >= SOFTWARE_NAMED;
    let software = [&request.client_software_name, &request.client_software_version];
    if named && !software.into_iter().all(|text| is_software_text(text)) {
        return ApiVersionsResponse { error_code: ErrorCode::InvalidRequest.code(), ..Default::default() };
    }
    ApiVersionsResponse {
        api_keys: SERVED.iter().map(api_version).collect(),
        supported_features: supported_features(context.version),
        finalized_features_epoch: image.offset.0,
        finalized_features: finalized_features(image),
        ..Default::default()
    }
}

/// Answers a request of any other version, whose body was not read. To be encoded in version 0.
#[must_use]
pub fn unsupported_version() -> ApiVersionsResponse<'static> {
    let own = served::row(ApiKey::ApiVersions).expect("this API is served");
    ApiVersionsResponse {
        error_code: ErrorCode::UnsupportedVersion.code(),
        api_keys: vec![api_version(own)],
        ..Default::default()
    }
}

fn api_version(row: &Served) -> ApiVersion {
    ApiVersion { api_key: row.api.code(), min_version: row.advertised_min, max_version: row.max }
}

fn supported_features(version: i16) -> Vec<SupportedFeatureKey<'static>> {
    features::SUPPORTED
        .iter()
        .filter(|(_, min, _)| *min > 0 || version >= FEATURES_FROM_ZERO)
        .map(|(name, min, max)| SupportedFeatureKey {
            name: (*name).into(),
            min_version: *min,
            max_version: *max,
        })
        .collect()
}

fn finalized_features(image: &Image) -> Vec<FinalizedFeatureKey<'_>> {
    image
        .features
        .iter()
        .filter(|(name, _)| features::is_served(name))
        .map(|(name, level)| FinalizedFeatureKey {
            name: (&**name).into(),
            max_version_level: *level,
            min_version_level: *level,
        })
        .collect()
}

/// Kafka's pattern: letters and digits, with `-` and `.` between them.
fn is_software_text(text: &str) -> bool {
    let bytes = text.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else { return false };
    first.is_ascii_alphanumeric()
        && last.is_ascii_alphanumeric()
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'))
}

#[cfg(test)]
mod tests {
    use ottla_wire::{Message, Reader, Writer};

    use super::*;
    use crate::request::tests::{context, image};

    fn request(name: &'static str, version: &'static str) -> ApiVersionsRequest<'static> {
        ApiVersionsRequest {
            client_software_name: name.into(),
            client_software_version: version.into(),
            ..Default::default()
        }
    }

    #[test]
    fn lists_what_is_served_and_only_what_is_finalized() {
        let mut image = image();
        // A log of Kafka's has it; a producer that heard of it would begin transactions.
        image.features.insert("transaction.version".into(), 2);
        let reply = handle(&context(ApiKey::ApiVersions, 4), &image, &request("apache-kafka-java", "4.4.0"));
        assert_eq!(reply.error_code, 0);
        assert_eq!(reply.api_keys.len(), SERVED.len());
        let key = |api: ApiKey| reply.api_keys.iter().find(|row| row.api_key == api.code()).cloned();
        assert_eq!(key(ApiKey::Produce), Some(ApiVersion { api_key: 0, min_version: 0, max_version: 13 }));
        assert_eq!(
            key(ApiKey::ApiVersions),
            Some(ApiVersion { api_key: 18, min_version: 0, max_version: 4 })
        );
        assert_eq!(key(ApiKey::PushTelemetry), None);
        assert_eq!(reply.finalized_features_epoch, image.offset.0);
        let finalized: Vec<_> = reply
            .finalized_features
            .iter()
            .map(|f| (&*f.name, f.min_version_level, f.max_version_level))
            .collect();
        assert_eq!(finalized, [("metadata.version", 30, 30)]);
        let supported: Vec<_> =
            reply.supported_features.iter().map(|f| (&*f.name, f.min_version, f.max_version)).collect();
        assert_eq!(supported, [("metadata.version", 7, 30)]);
    }

    #[test]
    fn every_version_can_carry_the_answer() {
        let image = image();
        for version in 0..=4 {
            let reply = handle(&context(ApiKey::ApiVersions, version), &image, &request("a", "1"));
            let mut writer = Writer::with_capacity(reply.size(version).expect("the version carries it"));
            reply.encode(&mut writer, version);
            let decoded =
                ApiVersionsResponse::decode(&mut Reader::new(&writer.buf), version).expect("it is whole");
            assert_eq!(decoded.api_keys, reply.api_keys);
            assert_eq!(decoded.finalized_features.len(), usize::from(version >= 3));
        }
    }

    #[test]
    fn software_names_follow_the_pattern_from_version_3_on() {
        let image = image();
        for (name, version, good) in [
            ("librdkafka", "2.11.1", true),
            ("a", "1", true),
            ("", "1", false),
            ("a", "", false),
            ("-a", "1", false),
            ("a.", "1", false),
            ("a b", "1", false),
            ("a_b", "1", false),
        ] {
            let reply = handle(&context(ApiKey::ApiVersions, 3), &image, &request(name, version));
            assert_eq!(reply.error_code == 0, good, "{name:?} {version:?}");
            assert_eq!(reply.api_keys.is_empty(), !good);
            assert_eq!(
                handle(&context(ApiKey::ApiVersions, 2), &image, &request(name, version)).error_code,
                0
            );
        }
        let reply = handle(&context(ApiKey::ApiVersions, 4), &image, &request("", ""));
        assert_eq!(reply.error_code, ErrorCode::InvalidRequest.code());
    }

    #[test]
    fn an_unknown_version_gets_version_0_with_the_own_range() {
        let reply = unsupported_version();
        let mut writer = Writer::with_capacity(64);
        reply.encode(&mut writer, 0);
        // What Apache Kafka answers a version 9 with: error 35, one key, 18 from 0 to 4.
        assert_eq!(writer.buf, [0, 35, 0, 0, 0, 1, 0, 18, 0, 0, 0, 4]);
    }
}
