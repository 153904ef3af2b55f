//! Requests about groups: FindCoordinator, and offsets committed without membership, as simple consumers do.

use ottla_wire::ApiKey;
use ottla_wire::find_coordinator_request::FindCoordinatorRequest;
use ottla_wire::find_coordinator_response::FindCoordinatorResponse;
use ottla_wire::offset_commit_request::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use ottla_wire::offset_commit_response::OffsetCommitResponse;
use ottla_wire::offset_fetch_request::{OffsetFetchRequest, OffsetFetchRequestTopic};
use ottla_wire::offset_fetch_response::OffsetFetchResponse;

use super::admin::{answer, done, nothing};
use super::outcome::of_read;
use super::{Connection, Outcome};

/// The last version of FindCoordinator with a single key.
const FIND_COORDINATOR: i16 = 3;
/// A version of OffsetCommit that names topics by name.
const OFFSET_COMMIT: i16 = 8;
/// The last version of OffsetFetch with a single group.
const OFFSET_FETCH: i16 = 7;

/// A committed offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommittedOffset {
    /// The offset.
    pub offset: i64,
    /// The text that the committer left with it.
    pub metadata: String,
}

impl Connection {
    /// Asks for a group's coordinator, which also makes the broker's own topic where it is not there yet.
    pub async fn find_coordinator(&self, group: &str) -> Outcome<()> {
        let request = FindCoordinatorRequest { key: group.into(), key_type: 0, ..Default::default() };
        answer(self.call(ApiKey::FindCoordinator, FIND_COORDINATOR, &request).await, |reply| {
            let reply = reply.read::<FindCoordinatorResponse<'_>>()?;
            Ok(if reply.error_code == 0 { Outcome::Ok(()) } else { of_read(reply.error_code) })
        })
    }

    /// Commits an offset for a group without members.
    pub async fn commit(
        &self,
        group: &str,
        (topic, partition): (&str, i32),
        commit: &CommittedOffset,
    ) -> Outcome<()> {
        let part = OffsetCommitRequestPartition {
            partition_index: partition,
            committed_offset: commit.offset,
            committed_leader_epoch: -1,
            committed_metadata: Some(commit.metadata.as_str().into()),
        };
        let topic =
            OffsetCommitRequestTopic { name: topic.into(), partitions: vec![part], ..Default::default() };
        let request = OffsetCommitRequest {
            group_id: group.into(),
            generation_id_or_member_epoch: -1,
            retention_time_ms: -1,
            topics: vec![topic],
            ..Default::default()
        };
        answer(self.call(ApiKey::OffsetCommit, OFFSET_COMMIT, &request).await, |reply| {
            let reply = reply.read::<OffsetCommitResponse<'_>>()?;
            let partition = reply.topics.first().and_then(|topic| topic.partitions.first());
            Ok(done(partition.ok_or_else(nothing)?.error_code))
        })
    }

    /// The committed offset of a partition; `None` where there is none.
    pub async fn committed(
        &self,
        group: &str,
        (topic, partition): (&str, i32),
    ) -> Outcome<Option<CommittedOffset>> {
        let asked = OffsetFetchRequestTopic { name: topic.into(), partition_indexes: vec![partition] };
        let request = OffsetFetchRequest {
            group_id: group.into(),
            topics: Some(vec![asked]),
            require_stable: true,
            ..Default::default()
        };
        answer(self.call(ApiKey::OffsetFetch, OFFSET_FETCH, &request).await, |reply| {
            let reply = reply.read::<OffsetFetchResponse<'_>>()?;
            if reply.error_code != 0 {
                return Ok(of_read(reply.error_code));
            }
            let found = reply.topics.first().and_then(|topic| topic.partitions.first());
            let found = found.ok_or_else(nothing)?;
            if found.error_code != 0 {
                return Ok(of_read(found.error_code));
            }
            let metadata = found.metadata.as_deref().unwrap_or_default().to_owned();
            let offset = found.committed_offset;
            Ok(Outcome::Ok((offset >= 0).then_some(CommittedOffset { offset, metadata })))
        })
    }
}
