//! Control records: what a broker writes between the records of applications, chiefly the ends of transactions.
//!
//! The key of a control record is a version and a type, 16 bits each; later versions may append to it. The value
//! is a version and the type's own structure.

use super::record::Record;

/// What a control record is about, by the number in its key (Kafka's `ControlRecordType`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ControlRecordType {
    /// 0: the producer's transaction is aborted.
    Abort,
    /// 1: the producer's transaction is committed.
    Commit,
    /// 2: the quorum's log has a new leader (KIP-595).
    LeaderChange,
    /// 3: a metadata snapshot begins (KIP-630).
    SnapshotHeader,
    /// 4: a metadata snapshot ends.
    SnapshotFooter,
    /// 5: the quorum's protocol version (KIP-853).
    KRaftVersion,
    /// 6: the quorum's voters.
    KRaftVoters,
    /// A number that a later Kafka has given out; readers pass over it.
    Unknown(i16),
}

impl ControlRecordType {
    /// The type in the key of a control record; `None` where the key has no 4 bytes or a negative version.
    #[must_use]
    pub fn from_key(key: &[u8]) -> Option<ControlRecordType> {
        let [version_high, version_low, high, low] = *key.first_chunk::<4>()?;
        if i16::from_be_bytes([version_high, version_low]) < 0 {
            return None;
        }
        Some(match i16::from_be_bytes([high, low]) {
            0 => ControlRecordType::Abort,
            1 => ControlRecordType::Commit,
            2 => ControlRecordType::LeaderChange,
            3 => ControlRecordType::SnapshotHeader,
            4 => ControlRecordType::SnapshotFooter,
            5 => ControlRecordType::KRaftVersion,
            6 => ControlRecordType::KRaftVoters,
            number => ControlRecordType::Unknown(number),
        })
    }

    /// The key that Kafka writes for the type: version 0 and the number.
    #[must_use]
    pub const fn key(self) -> [u8; 4] {
        let number = match self {
            ControlRecordType::Abort => 0,
            ControlRecordType::Commit => 1,
            ControlRecordType::LeaderChange => 2,
            ControlRecordType::SnapshotHeader => 3,
            ControlRecordType::SnapshotFooter => 4,
            ControlRecordType::KRaftVersion => 5,
            ControlRecordType::KRaftVoters => 6,
            ControlRecordType::Unknown(number) => number,
        };
        let [high, low] = number.to_be_bytes();
        [0, 0, high, low]
    }
}

/// The record that ends a transaction on one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndTransactionMarker {
    /// Whether the records before it count.
    pub committed: bool,
    /// The epoch of the coordinator that wrote it, which fences markers of an older one.
    pub coordinator_epoch: i32,
}

impl EndTransactionMarker {
    /// The marker in a control record; `None` for a record of another type or a value that is too short.
    #[must_use]
    pub fn from_record(record: &Record<'_>) -> Option<EndTransactionMarker> {
        let committed = match ControlRecordType::from_key(record.key?)? {
            ControlRecordType::Commit => true,
            ControlRecordType::Abort => false,
            ControlRecordType::LeaderChange
            | ControlRecordType::SnapshotHeader
            | ControlRecordType::SnapshotFooter
            | ControlRecordType::KRaftVersion
            | ControlRecordType::KRaftVoters
            | ControlRecordType::Unknown(_) => return None,
        };
        let (version, rest) = record.value?.split_first_chunk::<2>()?;
        if i16::from_be_bytes(*version) < 0 {
            return None;
        }
        let epoch = rest.first_chunk::<4>()?;
        Some(EndTransactionMarker { committed, coordinator_epoch: i32::from_be_bytes(*epoch) })
    }

    /// The key of the marker's record.
    #[must_use]
    pub const fn key(&self) -> [u8; 4] {
        if self.committed { ControlRecordType::Commit.key() } else { ControlRecordType::Abort.key() }
    }

    /// The value of the marker's record: version 0 and the coordinator's epoch.
    #[must_use]
    pub const fn value(&self) -> [u8; 6] {
        let [a, b, c, d] = self.coordinator_epoch.to_be_bytes();
        [0, 0, a, b, c, d]
    }
}
