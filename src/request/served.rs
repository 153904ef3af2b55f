//! Which APIs this broker serves, and in which versions: the list that ApiVersions answers and requests are checked by.
//!
//! What is not here is not advertised and closes the connection, as an unknown key does in Kafka. The ranges are those
//! of Kafka 4.4 for the APIs that are here. Produce is advertised from version 0 although 0 to 2 are refused: clients
//! of librdkafka before 2.11.1 take a higher minimum for a broker that cannot compress (KAFKA-18659).

use ottla_wire::ApiKey;

/// One API that is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Served {
    /// The API.
    pub api: ApiKey,
    /// The lowest version that is answered.
    pub min: i16,
    /// The highest version that is answered.
    pub max: i16,
    /// The lowest version that ApiVersions names.
    pub advertised_min: i16,
}

const fn served(api: ApiKey, min: i16, max: i16) -> Served {
    Served { api, min, max, advertised_min: min }
}

/// Everything that is served, in the order of the keys.
pub const SERVED: &[Served] = &[
    Served { api: ApiKey::Produce, min: 3, max: 13, advertised_min: 0 },
    served(ApiKey::Fetch, 4, 18),
    served(ApiKey::ListOffsets, 1, 11),
    served(ApiKey::Metadata, 0, 13),
    served(ApiKey::OffsetCommit, 2, 10),
    served(ApiKey::OffsetFetch, 1, 10),
    served(ApiKey::FindCoordinator, 0, 6),
    served(ApiKey::JoinGroup, 0, 9),
    served(ApiKey::Heartbeat, 0, 4),
    served(ApiKey::LeaveGroup, 0, 5),
    served(ApiKey::SyncGroup, 0, 5),
    served(ApiKey::DescribeGroups, 0, 6),
    served(ApiKey::ListGroups, 0, 5),
    served(ApiKey::SaslHandshake, 0, 1),
    served(ApiKey::ApiVersions, 0, 4),
    served(ApiKey::CreateTopics, 2, 7),
    served(ApiKey::DeleteTopics, 1, 6),
    served(ApiKey::DeleteRecords, 0, 2),
    served(ApiKey::InitProducerId, 0, 5),
    served(ApiKey::OffsetForLeaderEpoch, 2, 4),
    served(ApiKey::DescribeAcls, 1, 3),
    served(ApiKey::CreateAcls, 1, 3),
    served(ApiKey::DeleteAcls, 1, 3),
    served(ApiKey::DescribeConfigs, 1, 4),
    served(ApiKey::AlterConfigs, 0, 2),
    served(ApiKey::DescribeLogDirs, 1, 5),
    served(ApiKey::SaslAuthenticate, 0, 2),
    served(ApiKey::CreatePartitions, 0, 3),
    served(ApiKey::DeleteGroups, 0, 3),
    served(ApiKey::ElectLeaders, 0, 2),
    served(ApiKey::IncrementalAlterConfigs, 0, 1),
    served(ApiKey::ListPartitionReassignments, 0, 0),
    served(ApiKey::OffsetDelete, 0, 0),
    served(ApiKey::DescribeQuorum, 0, 2),
    served(ApiKey::DescribeCluster, 0, 2),
    served(ApiKey::DescribeProducers, 0, 0),
    served(ApiKey::ListConfigResources, 0, 1),
    served(ApiKey::DescribeTopicPartitions, 0, 0),
];

/// The row of an API, if it is served at all.
#[must_use]
pub fn row(api: ApiKey) -> Option<&'static Served> {
    SERVED.binary_search_by_key(&api.code(), |row| row.api.code()).ok().map(|index| &SERVED[index])
}

/// Whether a request of this version is answered. An ApiVersions request is answered in any version, see
/// [`api_versions`](super::api_versions).
#[must_use]
pub fn accepts(api: ApiKey, version: i16) -> bool {
    row(api).is_some_and(|row| (row.min..=row.max).contains(&version))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_sorted_and_within_the_schemas() {
        assert!(SERVED.windows(2).all(|pair| pair[0].api.code() < pair[1].api.code()));
        for row in SERVED {
            let versions = row.api.versions();
            assert_eq!(row.min, *versions.start(), "{}", row.api);
            // Kafka 4.4 has an ApiVersions 5, which checks the cluster's id (KIP-1242); a broker may stop at 4.
            let max = if row.api == ApiKey::ApiVersions { 4 } else { *versions.end() };
            assert_eq!(row.max, max, "{}", row.api);
            assert!(row.advertised_min <= row.min);
        }
    }

    #[test]
    fn what_is_not_served_is_not_accepted() {
        assert!(accepts(ApiKey::Produce, 3) && accepts(ApiKey::Produce, 13));
        assert!(!accepts(ApiKey::Produce, 2), "advertised and refused");
        assert!(!accepts(ApiKey::Produce, 14));
        assert!(!accepts(ApiKey::Fetch, 3));
        assert!(!accepts(ApiKey::ConsumerGroupHeartbeat, 0));
        assert!(!accepts(ApiKey::GetTelemetrySubscriptions, 0));
        assert_eq!(row(ApiKey::DescribeClientQuotas), None);
    }
}
