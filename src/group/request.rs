//! What may be asked of a group coordinator: one owned value per request and group.
//!
//! The shard that owns the connection decodes the wire into these values (`group/wire`), one per group named in the
//! request, and sends each to the shard that owns the group's partition of `__consumer_offsets`: hence owned and
//! `Send`. Nothing here is on disk. What must hold: a value names exactly one group, except a listing.

use bytes::Bytes;

use crate::errors::ErrorCode;
use crate::group::reply::{
    CommitReply, CommittedTopic, DeleteOffsetsReply, DeleteReply, DescribeReply, FetchReply,
    FetchedPartition, FetchedTopic, GroupReply, JoinReply, LeaveReply, ListReply, SyncReply,
};
use crate::ids::{TopicId, Uuid};

/// One request to the coordinator of one group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupRequest {
    /// JoinGroup: become a member of the next generation, or be told the current one.
    Join(JoinGroup),
    /// SyncGroup: hand in (leader) and receive (everyone) the generation's assignment.
    Sync(SyncGroup),
    /// Heartbeat: stay a member.
    Heartbeat(Heartbeat),
    /// LeaveGroup: stop being a member, at once; also an administrator's removal of static members.
    Leave(LeaveGroup),
    /// OffsetCommit, with the topics that exist.
    CommitOffsets(CommitOffsets),
    /// OffsetFetch for one group.
    FetchOffsets(FetchOffsets),
    /// DescribeGroups for one group.
    Describe {
        /// The group; the empty id is allowed.
        group_id: String,
    },
    /// ListGroups: every group of the shard that is asked.
    List(ListGroups),
    /// DeleteGroups for one group.
    Delete {
        /// The group; the empty id is allowed.
        group_id: String,
    },
    /// OffsetDelete.
    DeleteOffsets(DeleteOffsets),
}

/// One assignor that a member can use, with what it tells the leader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Protocol {
    /// The assignor's name, as `range` or `cooperative-sticky`.
    pub name: String,
    /// The member's subscription, opaque to the coordinator except for the topics of consumers.
    pub metadata: Bytes,
}

/// A JoinGroup request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinGroup {
    /// The group; must not be empty.
    pub group_id: String,
    /// Empty for a client that has no member id yet.
    pub member_id: String,
    /// `group.instance.id` of a static member (KIP-345, version 5).
    pub group_instance_id: Option<String>,
    /// The client's id from the request header; empty for none.
    pub client_id: String,
    /// The client's address as Kafka prints it: `/127.0.0.1`.
    pub client_host: String,
    /// Milliseconds without a heartbeat after which the member is dropped.
    pub session_timeout_ms: i32,
    /// Milliseconds that a rebalance waits for this member (version 0: the session timeout).
    pub rebalance_timeout_ms: i32,
    /// `consumer`, `connect`, `sr`, …: all members of a group have the same.
    pub protocol_type: String,
    /// The assignors, the preferred one first.
    pub protocols: Vec<Protocol>,
    /// Version 4 and above: a dynamic member must come back with the id that it is given (KIP-394).
    pub requires_member_id: bool,
    /// Version 9 and above: the client understands `skip_assignment` (KIP-814).
    pub supports_skip_assignment: bool,
}

/// A SyncGroup request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncGroup {
    /// The group; must not be empty.
    pub group_id: String,
    /// The member.
    pub member_id: String,
    /// `group.instance.id` of a static member (version 3).
    pub group_instance_id: Option<String>,
    /// The generation that the member joined.
    pub generation_id: i32,
    /// Must be the group's where given (version 5).
    pub protocol_type: Option<String>,
    /// Must be the generation's where given (version 5).
    pub protocol_name: Option<String>,
    /// Member id and assignment; only the leader's are taken.
    pub assignments: Vec<(String, Bytes)>,
}

/// A Heartbeat request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    /// The group; must not be empty.
    pub group_id: String,
    /// The member.
    pub member_id: String,
    /// `group.instance.id` of a static member (version 3).
    pub group_instance_id: Option<String>,
    /// The generation that the member is in.
    pub generation_id: i32,
}

/// Who leaves: a member, or the holder of an instance id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeavingMember {
    /// Empty when an administrator removes a static member.
    pub member_id: String,
    /// `group.instance.id` of a static member (version 3).
    pub group_instance_id: Option<String>,
}

/// A LeaveGroup request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaveGroup {
    /// The group; must not be empty.
    pub group_id: String,
    /// One below version 3.
    pub members: Vec<LeavingMember>,
}

/// An OffsetCommit request, without the topics and partitions that do not exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitOffsets {
    /// The group; the empty id is allowed.
    pub group_id: String,
    /// Empty for a consumer that assigns itself.
    pub member_id: String,
    /// `group.instance.id` of a static member (version 7).
    pub group_instance_id: Option<String>,
    /// The member's generation; -1 for a consumer that assigns itself.
    pub generation_id: i32,
    /// Version 9 and above: an unknown group is GROUP_ID_NOT_FOUND instead of ILLEGAL_GENERATION.
    pub knows_group_id_not_found: bool,
    /// Versions 2 to 4: these offsets expire that many milliseconds from now.
    pub retention_time_ms: Option<i64>,
    /// What to commit.
    pub topics: Vec<CommitTopic>,
}

/// The offsets of one topic to commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitTopic {
    /// The topic's name.
    pub name: String,
    /// The topic's id, stored with the offset so that a recreated topic does not inherit it.
    pub topic_id: TopicId,
    /// The partitions.
    pub partitions: Vec<CommitPartition>,
}

/// One offset to commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitPartition {
    /// The partition's index.
    pub partition: i32,
    /// The next offset to consume.
    pub offset: i64,
    /// The epoch of the last consumed record; -1 for none.
    pub leader_epoch: i32,
    /// What the consumer wants to read back with the offset.
    pub metadata: Option<String>,
}

/// An OffsetFetch request for one group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchOffsets {
    /// The group; the empty id is allowed.
    pub group_id: String,
    /// Version 7 and above: commits that are under way are waited for.
    pub require_stable: bool,
    /// `None`: all topics with an offset.
    pub topics: Option<Vec<FetchTopic>>,
}

/// The partitions of one topic whose offsets are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchTopic {
    /// The topic's name.
    pub name: String,
    /// An offset of a topic of this name with another id counts as none; zero matches all.
    pub topic_id: TopicId,
    /// The partitions' indexes.
    pub partitions: Vec<i32>,
}

/// A ListGroups request; empty filters let everything through.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListGroups {
    /// States in any case, as `Stable` (version 4).
    pub states_filter: Vec<String>,
    /// Group types in any case, as `classic` (version 5).
    pub types_filter: Vec<String>,
}

/// An OffsetDelete request, without the topics and partitions that do not exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeleteOffsets {
    /// The group; must not be empty.
    pub group_id: String,
    /// Topic names and partition indexes.
    pub topics: Vec<(String, Vec<i32>)>,
}

impl GroupRequest {
    /// The group that is asked about; `None` for a listing.
    #[must_use]
    pub fn group_id(&self) -> Option<&str> {
        match self {
            GroupRequest::Join(r) => Some(&r.group_id),
            GroupRequest::Sync(r) => Some(&r.group_id),
            GroupRequest::Heartbeat(r) => Some(&r.group_id),
            GroupRequest::Leave(r) => Some(&r.group_id),
            GroupRequest::CommitOffsets(r) => Some(&r.group_id),
            GroupRequest::FetchOffsets(r) => Some(&r.group_id),
            GroupRequest::Describe { group_id } | GroupRequest::Delete { group_id } => Some(group_id),
            GroupRequest::List(_) => None,
            GroupRequest::DeleteOffsets(r) => Some(&r.group_id),
        }
    }

    /// The answer when the request as a whole is refused with `error`, also by a shell that cannot reach the owner.
    #[must_use]
    pub fn refusal(&self, error: ErrorCode) -> GroupReply {
        match self {
            GroupRequest::Join(_) => GroupReply::Join(JoinReply::refused(String::new(), error)),
            GroupRequest::Sync(_) => GroupReply::Sync(SyncReply::refused(error)),
            GroupRequest::Heartbeat(_) => GroupReply::Heartbeat(error),
            GroupRequest::Leave(_) => GroupReply::Leave(LeaveReply { error, members: Vec::new() }),
            GroupRequest::CommitOffsets(r) => GroupReply::CommitOffsets(r.refusal(error)),
            GroupRequest::FetchOffsets(r) => GroupReply::FetchOffsets(r.refusal(error)),
            GroupRequest::Describe { group_id } => {
                GroupReply::Describe(DescribeReply::refused(group_id.clone(), error))
            }
            GroupRequest::List(_) => GroupReply::List(ListReply { error, groups: Vec::new() }),
            GroupRequest::Delete { group_id } => {
                GroupReply::Delete(DeleteReply { group_id: group_id.clone(), error })
            }
            GroupRequest::DeleteOffsets(_) => {
                GroupReply::DeleteOffsets(DeleteOffsetsReply { error, topics: Vec::new() })
            }
        }
    }
}

impl CommitOffsets {
    /// Every partition of the request with `error`.
    #[must_use]
    pub fn refusal(&self, error: ErrorCode) -> CommitReply {
        let topics = self.topics.iter().map(|topic| CommittedTopic {
            name: topic.name.clone(),
            topic_id: topic.topic_id,
            partitions: topic.partitions.iter().map(|p| (p.partition, error)).collect(),
        });
        CommitReply { topics: topics.collect() }
    }
}

impl FetchOffsets {
    /// The group-level `error`, with every partition of the request as well for the versions that have no group
    /// level.
    #[must_use]
    pub fn refusal(&self, error: ErrorCode) -> FetchReply {
        let topics = self.topics.iter().flatten().map(|topic| FetchedTopic {
            name: topic.name.clone(),
            topic_id: topic.topic_id,
            partitions: topic.partitions.iter().map(|p| FetchedPartition::none(*p, error)).collect(),
        });
        FetchReply { group_id: self.group_id.clone(), error, topics: topics.collect() }
    }
}

/// The zero id: "any topic of that name".
pub(crate) const NO_TOPIC_ID: TopicId = Uuid::ZERO;
