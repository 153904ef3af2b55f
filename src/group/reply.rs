//! What a group coordinator answers: one owned value per request and group.
//!
//! The values travel back to the shard that owns the connection, where `group/wire` turns them into the response of
//! the request's version. Nothing here is on disk. What must hold: a reply that promises durability leaves the
//! coordinator only after the records that it stands for are durable.

use bytes::Bytes;

use crate::errors::ErrorCode;
use crate::group::state::GroupState;
use crate::ids::TopicId;

/// The answer to one [`GroupRequest`](crate::group::GroupRequest), of the same kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupReply {
    /// To a Join.
    Join(JoinReply),
    /// To a Sync.
    Sync(SyncReply),
    /// To a Heartbeat.
    Heartbeat(ErrorCode),
    /// To a Leave.
    Leave(LeaveReply),
    /// To a CommitOffsets.
    CommitOffsets(CommitReply),
    /// To a FetchOffsets.
    FetchOffsets(FetchReply),
    /// To a Describe.
    Describe(DescribeReply),
    /// To a List, with the groups of one shard.
    List(ListReply),
    /// To a Delete.
    Delete(DeleteReply),
    /// To a DeleteOffsets.
    DeleteOffsets(DeleteOffsetsReply),
}

/// What the leader is told about a member of the new generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinedMember {
    /// The member's id.
    pub member_id: String,
    /// Its `group.instance.id`.
    pub group_instance_id: Option<String>,
    /// Its subscription for the protocol that was chosen.
    pub metadata: Bytes,
}

/// The answer to a JoinGroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinReply {
    /// NONE, or why the member is not in a generation.
    pub error: ErrorCode,
    /// The generation; -1 with an error.
    pub generation_id: i32,
    /// The group's protocol type.
    pub protocol_type: Option<String>,
    /// The assignor that all members support and most prefer.
    pub protocol_name: Option<String>,
    /// The leader's member id; empty with an error.
    pub leader: String,
    /// The leader is to use the assignment that it gets from SyncGroup instead of computing one (KIP-814).
    pub skip_assignment: bool,
    /// The member's id, also the one that MEMBER_ID_REQUIRED hands out.
    pub member_id: String,
    /// All members for the leader, nobody for the others.
    pub members: Vec<JoinedMember>,
}

impl JoinReply {
    /// A refusal.
    #[must_use]
    pub fn refused(member_id: String, error: ErrorCode) -> Self {
        JoinReply {
            error,
            generation_id: -1,
            protocol_type: None,
            protocol_name: None,
            leader: String::new(),
            skip_assignment: false,
            member_id,
            members: Vec::new(),
        }
    }
}

/// The answer to a SyncGroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncReply {
    /// NONE, or why there is no assignment.
    pub error: ErrorCode,
    /// The group's protocol type; `None` with an error.
    pub protocol_type: Option<String>,
    /// The generation's assignor; `None` with an error.
    pub protocol_name: Option<String>,
    /// The member's assignment; empty bytes when the leader gave it none.
    pub assignment: Bytes,
}

impl SyncReply {
    /// A refusal.
    #[must_use]
    pub fn refused(error: ErrorCode) -> Self {
        SyncReply { error, protocol_type: None, protocol_name: None, assignment: Bytes::new() }
    }
}

/// What became of one leaving member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftMember {
    /// As in the request.
    pub member_id: String,
    /// As in the request.
    pub group_instance_id: Option<String>,
    /// NONE, UNKNOWN_MEMBER_ID or FENCED_INSTANCE_ID.
    pub error: ErrorCode,
}

/// The answer to a LeaveGroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaveReply {
    /// An error of the whole request.
    pub error: ErrorCode,
    /// One per member of the request, in its order; nobody with an error of the whole.
    pub members: Vec<LeftMember>,
}

/// What became of the offsets of one topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommittedTopic {
    /// As in the request.
    pub name: String,
    /// As in the request.
    pub topic_id: TopicId,
    /// Partition index and its error, in the request's order.
    pub partitions: Vec<(i32, ErrorCode)>,
}

/// The answer to an OffsetCommit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommitReply {
    /// One per topic of the request, in its order.
    pub topics: Vec<CommittedTopic>,
}

impl CommitReply {
    /// The same answer after the write of its records failed: what would have been NONE becomes `error`.
    #[must_use]
    pub(crate) fn failed(mut self, error: ErrorCode) -> Self {
        for (_, outcome) in self.topics.iter_mut().flat_map(|topic| &mut topic.partitions) {
            if outcome.is_none() {
                *outcome = error;
            }
        }
        self
    }
}

/// One committed offset; -1 without an error where there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchedPartition {
    /// The partition's index.
    pub partition: i32,
    /// NONE also for a partition without an offset: clients then use `auto.offset.reset`.
    pub error: ErrorCode,
    /// The committed offset, or -1.
    pub offset: i64,
    /// The leader epoch of the commit, or -1.
    pub leader_epoch: i32,
    /// The metadata of the commit, empty for none.
    pub metadata: String,
}

impl FetchedPartition {
    /// No offset.
    #[must_use]
    pub fn none(partition: i32, error: ErrorCode) -> Self {
        FetchedPartition { partition, error, offset: -1, leader_epoch: -1, metadata: String::new() }
    }
}

/// The committed offsets of one topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchedTopic {
    /// The topic's name.
    pub name: String,
    /// As in the request; the stored one when all topics were asked for.
    pub topic_id: TopicId,
    /// The partitions, in the request's order, else ascending.
    pub partitions: Vec<FetchedPartition>,
}

/// The answer to an OffsetFetch for one group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchReply {
    /// The group.
    pub group_id: String,
    /// An error of the whole group; the partitions carry it too.
    pub error: ErrorCode,
    /// The topics, in the request's order, else ascending.
    pub topics: Vec<FetchedTopic>,
}

/// One member in a description.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribedMember {
    /// The member's id.
    pub member_id: String,
    /// Its `group.instance.id`.
    pub group_instance_id: Option<String>,
    /// The client's id.
    pub client_id: String,
    /// The client's address, as `/127.0.0.1`.
    pub client_host: String,
    /// Its subscription for the chosen protocol; empty unless the group is stable.
    pub metadata: Bytes,
    /// Its assignment.
    pub assignment: Bytes,
}

/// The answer to a DescribeGroups for one group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribeReply {
    /// The group.
    pub group_id: String,
    /// GROUP_ID_NOT_FOUND for an unknown group; version 5 and below know it by the state Dead alone.
    pub error: ErrorCode,
    /// The state; `None` where the coordinator could not say.
    pub state: Option<GroupState>,
    /// The protocol type; empty for a group of self-assigning consumers.
    pub protocol_type: String,
    /// The chosen assignor of a stable group, else empty.
    pub protocol: String,
    /// The members, by member id.
    pub members: Vec<DescribedMember>,
}

impl DescribeReply {
    /// A refusal.
    #[must_use]
    pub fn refused(group_id: String, error: ErrorCode) -> Self {
        let state = (error == ErrorCode::GroupIdNotFound).then_some(GroupState::Dead);
        DescribeReply {
            group_id,
            error,
            state,
            protocol_type: String::new(),
            protocol: String::new(),
            members: Vec::new(),
        }
    }
}

/// One group in a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedGroup {
    /// The group.
    pub group_id: String,
    /// The protocol type; empty for a group of self-assigning consumers.
    pub protocol_type: String,
    /// The state.
    pub state: GroupState,
}

/// The answer to a ListGroups: the groups of one shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListReply {
    /// COORDINATOR_LOAD_IN_PROGRESS while a partition of the shard is loading.
    pub error: ErrorCode,
    /// The groups, by partition and id.
    pub groups: Vec<ListedGroup>,
}

/// The answer to a DeleteGroups for one group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeleteReply {
    /// The group.
    pub group_id: String,
    /// NONE, GROUP_ID_NOT_FOUND, NON_EMPTY_GROUP or a coordinator's error.
    pub error: ErrorCode,
}

/// The answer to an OffsetDelete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeleteOffsetsReply {
    /// An error of the whole request.
    pub error: ErrorCode,
    /// Topic, and each partition with its error, in the request's order.
    pub topics: Vec<(String, Vec<(i32, ErrorCode)>)>,
}
