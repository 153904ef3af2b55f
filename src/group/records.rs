//! The records of `__consumer_offsets`, byte for byte as Kafka 4.x writes them.
//!
//! A key is two bytes that say what kind of record it is and the key's message; a value is two bytes of version and
//! the value's message; no value is a tombstone. Offsets are written as value version 4, or 1 where the client gave
//! an expiry; groups as version 3. Older versions are read, records of kinds that this coordinator does not serve
//! (consumer groups of KIP-848, share and streams groups) are skipped. What must hold: what is written is read back
//! as the same change.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use ottla_wire::group_metadata_key::GroupMetadataKey;
use ottla_wire::group_metadata_value::{self, GroupMetadataValue};
use ottla_wire::offset_commit_key::OffsetCommitKey;
use ottla_wire::offset_commit_value::OffsetCommitValue;
use ottla_wire::{DecodeError, Message, Reader, decode_version, encode_versioned};

use crate::group::offsets::CommittedOffset;
use crate::ids::{Offset, TimestampMs};

/// Written before Kafka 0.9; the key and the values are otherwise those of an offset commit.
const LEGACY_OFFSET_COMMIT: i16 = 0;
const OFFSET_COMMIT: i16 = 1;
const GROUP_METADATA: i16 = 2;

const KEY_VERSION: i16 = 0;
const OFFSET_COMMIT_VALUE_VERSION: i16 = 4;
/// The only version with an expiry; it has neither a leader epoch nor a topic id.
const OFFSET_COMMIT_VALUE_VERSION_WITH_EXPIRY: i16 = 1;
const GROUP_METADATA_VALUE_VERSION: i16 = 3;

/// What one record changes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Change {
    /// An offset was committed, or ended.
    Offset { group: Arc<str>, topic: Arc<str>, partition: i32, value: Option<CommittedOffset> },
    /// A group has this generation, or ended.
    Group { group: Arc<str>, value: Option<GroupMetadata> },
}

/// What the log says about a group.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct GroupMetadata {
    pub(crate) protocol_type: Option<String>,
    pub(crate) generation_id: i32,
    pub(crate) protocol: Option<String>,
    pub(crate) leader: Option<String>,
    pub(crate) state_since: Option<TimestampMs>,
    pub(crate) members: Vec<MemberMetadata>,
}

/// What the log says about a member.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct MemberMetadata {
    pub(crate) member_id: String,
    pub(crate) group_instance_id: Option<String>,
    pub(crate) client_id: String,
    pub(crate) client_host: String,
    pub(crate) rebalance_timeout_ms: i32,
    pub(crate) session_timeout_ms: i32,
    pub(crate) subscription: Bytes,
    pub(crate) assignment: Bytes,
}

/// One record to append to `__consumer_offsets`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoordinatorRecord {
    /// The record's key; compaction keeps the last record of each.
    pub key: Vec<u8>,
    /// The record's value; `None` is a tombstone.
    pub value: Option<Vec<u8>>,
}

impl CoordinatorRecord {
    /// Bytes of key and value.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.key.len() + self.value.as_ref().map_or(0, Vec::len)
    }
}

/// A record of `__consumer_offsets` that is not what its key says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    /// The key cannot be read.
    #[error("the key of a coordinator record: {0}")]
    Key(DecodeError),
    /// The value cannot be read.
    #[error("the value of a coordinator record of kind {kind}: {why}")]
    Value {
        /// The kind that the key names.
        kind: i16,
        /// What is wrong.
        why: DecodeError,
    },
}

impl Change {
    /// The group that changes.
    pub(crate) fn group(&self) -> &Arc<str> {
        match self {
            Change::Offset { group, .. } | Change::Group { group, .. } => group,
        }
    }

    /// The record that says so.
    pub(crate) fn encode(&self) -> CoordinatorRecord {
        match self {
            Change::Offset { group, topic, partition, value } => {
                let (group, topic) = (Cow::from(&**group), Cow::from(&**topic));
                let key = OffsetCommitKey { group, topic, partition: *partition };
                let value = value.as_ref().map(encode_offset);
                CoordinatorRecord { key: encode_key(OFFSET_COMMIT, &key), value }
            }
            Change::Group { group, value } => {
                let key = GroupMetadataKey { group: Cow::from(&**group) };
                let value = value.as_ref().map(encode_group);
                CoordinatorRecord { key: encode_key(GROUP_METADATA, &key), value }
            }
        }
    }

    /// The change that a record says; `None` for a kind that is not served.
    pub(crate) fn decode(key: &[u8], value: Option<&[u8]>) -> Result<Option<Change>, ReplayError> {
        let (kind, mut reader) = decode_version(key).map_err(ReplayError::Key)?;
        match kind {
            LEGACY_OFFSET_COMMIT | OFFSET_COMMIT => {
                let key: OffsetCommitKey = key_message(&mut reader)?;
                let value = value.map(|value| decode_value(kind, value, offset)).transpose()?;
                Ok(Some(offset_change(&key.group, &key.topic, key.partition, value)))
            }
            GROUP_METADATA => {
                let key: GroupMetadataKey = key_message(&mut reader)?;
                let value = value.map(|value| decode_value(kind, value, group)).transpose()?;
                Ok(Some(Change::Group { group: Arc::from(&*key.group), value }))
            }
            _ => Ok(None),
        }
    }
}

fn offset_change(group: &str, topic: &str, partition: i32, value: Option<CommittedOffset>) -> Change {
    Change::Offset { group: Arc::from(group), topic: Arc::from(topic), partition, value }
}

fn key_message<'a, M: Message<'a>>(reader: &mut Reader<'a>) -> Result<M, ReplayError> {
    M::decode(reader, KEY_VERSION).map_err(ReplayError::Key)
}

fn decode_value<'a, M: Message<'a>, T>(
    kind: i16,
    value: &'a [u8],
    convert: impl FnOnce(M) -> T,
) -> Result<T, ReplayError> {
    let decoded = decode_version(value).and_then(|(version, mut reader)| {
        let message = M::decode(&mut reader, version)?;
        Ok(convert(message))
    });
    decoded.map_err(|why| ReplayError::Value { kind, why })
}

/// The number of a kind stands where a value has its version.
fn encode_key<'a, M: Message<'a>>(kind: i16, key: &M) -> Vec<u8> {
    let mut bytes = encode_versioned(key, KEY_VERSION);
    bytes[..2].copy_from_slice(&kind.to_be_bytes());
    bytes
}

fn encode_offset(value: &CommittedOffset) -> Vec<u8> {
    let version = match value.expires_at {
        Some(_) => OFFSET_COMMIT_VALUE_VERSION_WITH_EXPIRY,
        None => OFFSET_COMMIT_VALUE_VERSION,
    };
    let message = OffsetCommitValue {
        offset: value.offset,
        leader_epoch: value.leader_epoch,
        metadata: Cow::from(&*value.metadata),
        commit_timestamp: value.committed_at.0,
        expire_timestamp: value.expires_at.unwrap_or(TimestampMs::NONE).0,
        topic_id: value.topic_id,
    };
    encode_versioned(&message, version)
}

fn offset(message: OffsetCommitValue<'_>) -> CommittedOffset {
    CommittedOffset {
        offset: message.offset,
        leader_epoch: message.leader_epoch,
        metadata: message.metadata.into(),
        committed_at: TimestampMs(message.commit_timestamp),
        expires_at: given(message.expire_timestamp),
        topic_id: message.topic_id,
        record_offset: Offset::NONE,
    }
}

/// A timestamp, where -1 is none.
fn given(timestamp: i64) -> Option<TimestampMs> {
    (timestamp != TimestampMs::NONE.0).then_some(TimestampMs(timestamp))
}

fn encode_group(value: &GroupMetadata) -> Vec<u8> {
    let members = value.members.iter().map(|member| group_metadata_value::MemberMetadata {
        member_id: Cow::from(&member.member_id),
        group_instance_id: member.group_instance_id.as_deref().map(Cow::from),
        client_id: Cow::from(&member.client_id),
        client_host: Cow::from(&member.client_host),
        rebalance_timeout: member.rebalance_timeout_ms,
        session_timeout: member.session_timeout_ms,
        subscription: Cow::from(&*member.subscription),
        assignment: Cow::from(&*member.assignment),
    });
    let message = GroupMetadataValue {
        protocol_type: Cow::from(value.protocol_type.as_deref().unwrap_or_default()),
        generation: value.generation_id,
        protocol: value.protocol.as_deref().map(Cow::from),
        leader: value.leader.as_deref().map(Cow::from),
        current_state_timestamp: value.state_since.unwrap_or(TimestampMs::NONE).0,
        members: members.collect(),
    };
    encode_versioned(&message, GROUP_METADATA_VALUE_VERSION)
}

fn group(message: GroupMetadataValue<'_>) -> GroupMetadata {
    let protocol_type = message.protocol_type.into_owned();
    GroupMetadata {
        protocol_type: (!protocol_type.is_empty()).then_some(protocol_type),
        generation_id: message.generation,
        protocol: message.protocol.map(Cow::into_owned),
        leader: message.leader.map(Cow::into_owned),
        state_since: given(message.current_state_timestamp),
        members: message.members.into_iter().map(member).collect(),
    }
}

/// Version 0 has no rebalance timeout; the session timeout stood for it.
fn member(member: group_metadata_value::MemberMetadata<'_>) -> MemberMetadata {
    let session_timeout_ms = member.session_timeout;
    let given_ms = member.rebalance_timeout;
    MemberMetadata {
        member_id: member.member_id.into_owned(),
        group_instance_id: member.group_instance_id.map(Cow::into_owned),
        client_id: member.client_id.into_owned(),
        client_host: member.client_host.into_owned(),
        rebalance_timeout_ms: if given_ms == -1 { session_timeout_ms } else { given_ms },
        session_timeout_ms,
        subscription: Bytes::copy_from_slice(&member.subscription),
        assignment: Bytes::copy_from_slice(&member.assignment),
    }
}
