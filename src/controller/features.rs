//! Which level of Kafka's features this broker runs and finalizes, and which version of each record that implies.
//!
//! Clients read the finalized features in ApiVersions and change what they do: the Java producer speaks transactions V2
//! from `transaction.version` 2 on, a consumer uses the new group protocol from `group.version` 1 on. Only what is
//! served is finalized: that is `metadata.version` alone. Owned by no shard.

use ottla_wire::MetadataRecord;

/// The feature that stands for the format of the metadata log and the versions between brokers.
pub const METADATA_VERSION: &str = "metadata.version";
/// Kafka's 3.3-IV3, the lowest level that Kafka 4 runs.
pub const METADATA_VERSION_MIN: i16 = 7;
/// Kafka's 4.3-IV0, the highest that Kafka 4.4 calls production-ready.
pub const METADATA_VERSION_MAX: i16 = 30;

/// The features that this broker supports: name, lowest and highest level.
pub const SUPPORTED: &[(&str, i16, i16)] = &[(METADATA_VERSION, METADATA_VERSION_MIN, METADATA_VERSION_MAX)];

/// The features that a log of Kafka's may have finalized and that are not served: they stay in the log as they are and
/// no client is told of them. Name, lowest and highest level of Kafka 4.4's `Feature.java`.
pub const KEPT: &[(&str, i16, i16)] = &[
    ("eligible.leader.replicas.version", 0, 1),
    ("group.version", 0, 1),
    ("kraft.version", 0, 1),
    ("share.version", 0, 1),
    ("streams.version", 0, 1),
    ("transaction.version", 0, 2),
];

/// Whether clients may be told that a feature is finalized.
#[must_use]
pub fn is_served(name: &str) -> bool {
    SUPPORTED.iter().any(|(served, ..)| *served == name)
}

/// The version in which Kafka writes a record at metadata.version 30 (`MetadataVersion.java`).
#[must_use]
pub fn record_version(record: &MetadataRecord<'_>) -> i16 {
    match record {
        MetadataRecord::RegisterBrokerRecord(_) => 4,
        MetadataRecord::PartitionRecord(_) | MetadataRecord::PartitionChangeRecord(_) => 2,
        MetadataRecord::BrokerRegistrationChangeRecord(change) if change.cordoned_log_dirs.is_some() => 3,
        MetadataRecord::BrokerRegistrationChangeRecord(change) if !change.log_dirs.is_empty() => 2,
        MetadataRecord::BrokerRegistrationChangeRecord(change) if change.in_controlled_shutdown != 0 => 1,
        _ => 0,
    }
}
