//! What the schemas say of an api beyond its messages: versions and headers.

use std::fmt;
use std::ops::RangeInclusive;

use crate::ApiKey;

/// One row of the generated table.
pub(crate) struct ApiFacts {
    pub low: i16,
    pub high: i16,
    pub unstable: bool,
    pub request_flexible: i16,
    pub response_flexible: i16,
}

impl ApiKey {
    /// The number on the wire.
    pub const fn code(self) -> i16 {
        self as i16
    }

    /// The versions that a broker may offer; empty for an api that no longer exists. A last version that Kafka still
    /// calls unstable is not among them.
    pub fn versions(self) -> RangeInclusive<i16> {
        let facts = self.facts();
        facts.low..=facts.high - i16::from(facts.unstable)
    }

    /// All versions of the schema.
    pub fn versions_with_unstable(self) -> RangeInclusive<i16> {
        let facts = self.facts();
        facts.low..=facts.high
    }

    /// The first version of the request with compact lengths and tagged fields; `i16::MAX` when there is none.
    pub const fn flexible_from(self) -> i16 {
        self.facts().request_flexible
    }

    /// The version of the request header before a request of this version: 1 or 2. It is defined for versions that do
    /// not exist as well, because an ApiVersions request of any version must be answered.
    pub const fn request_header_version(self, version: i16) -> i16 {
        if version >= self.facts().request_flexible { 2 } else { 1 }
    }

    /// The version of the response header before a response of this version: 0 or 1. ApiVersions keeps 0 for ever, so
    /// that a client can read the answer before it knows what the broker speaks (KIP-511).
    pub const fn response_header_version(self, version: i16) -> i16 {
        match self {
            ApiKey::ApiVersions => 0,
            _ if version >= self.facts().response_flexible => 1,
            _ => 0,
        }
    }
}

impl fmt::Display for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names() {
        assert_eq!(ApiKey::from_code(0), Some(ApiKey::Produce));
        assert_eq!(ApiKey::from_code(18), Some(ApiKey::ApiVersions));
        assert_eq!(ApiKey::from_code(-1), None);
        assert_eq!(ApiKey::from_code(9999), None);
        assert_eq!(ApiKey::ALL.len(), 95);
        for api in ApiKey::ALL {
            assert_eq!(ApiKey::from_code(api.code()), Some(api));
        }
    }

    #[test]
    fn unstable_and_absent_versions_are_not_offered() {
        assert_eq!(ApiKey::InitProducerId.versions(), 0..=5);
        assert_eq!(ApiKey::InitProducerId.versions_with_unstable(), 0..=6);
        assert_eq!(ApiKey::Produce.versions(), 3..=13);
        assert!(ApiKey::LeaderAndIsr.versions().is_empty());
    }

    #[test]
    fn headers() {
        assert_eq!(ApiKey::Produce.request_header_version(8), 1);
        assert_eq!(ApiKey::Produce.request_header_version(9), 2);
        assert_eq!(ApiKey::Produce.response_header_version(9), 1);
        assert_eq!(ApiKey::ApiVersions.request_header_version(99), 2);
        assert_eq!(ApiKey::ApiVersions.response_header_version(4), 0);
        assert_eq!(ApiKey::SaslHandshake.request_header_version(1), 1);
        assert_eq!(ApiKey::SaslHandshake.response_header_version(1), 0);
    }
}
