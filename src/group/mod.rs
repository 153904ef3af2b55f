//! The group coordinator: classic consumer groups and their committed offsets.
//!
//! A group belongs to one partition of `__consumer_offsets` ([`partition_for_group`]) and so to the shard that owns
//! that partition; that shard's [`Coordinator`] decides everything about it. On disk are the records of that partition
//! in Kafka's format, one per committed offset and one per group.
//!
//! The way of a request: the connection's shard decodes it into one [`GroupRequest`] per group (`wire`) → the mesh →
//! [`Coordinator::on_request`] → records out ([`Output::Append`]) → the log → [`Coordinator::on_persisted`], which
//! replays the records and lets the reply out ([`Output::Reply`]) → the mesh → the response (`wire`).
//!
//! Two kinds of state, with one rule each:
//! - *Committed offsets and the existence of groups* are hard: only a durable record changes them, and start-up and
//!   live traffic share the code that replays it.
//! - *Membership* is soft: it changes with every event, and the log gets the outcome of each rebalance. An assignment
//!   is handed out only after it is durable.
//!
//! What must hold: a member of an old generation changes nothing; a partition has one owner per generation if the
//! leader's assignment says so; no acknowledgement of what a restart would not know. Sources: Kafka's
//! `group-coordinator` module; KIP-62, 211, 345, 389, 394, 496, 518, 559, 800, 814, 848 (not served), 1043.

mod config;
mod coordinator;
mod describe;
#[allow(clippy::module_inception)]
mod group;
mod handle;
mod heartbeat;
mod join;
mod leave;
mod member;
mod offsets;
mod partition;
mod rebalance;
mod records;
mod reply;
mod request;
mod state;
mod step;
mod subscription;
mod sweep;
mod sync;
mod timers;
pub mod wire;

#[cfg(test)]
mod tests;

pub use config::GroupConfig;
pub use coordinator::{AppendId, Coordinator, Output, Replayed};
pub use partition::DeletedTopic;
pub use records::{CoordinatorRecord, ReplayError};
pub use reply::{
    CommitReply, CommittedTopic, DeleteOffsetsReply, DeleteReply, DescribeReply, DescribedMember, FetchReply,
    FetchedPartition, FetchedTopic, GroupReply, JoinReply, JoinedMember, LeaveReply, LeftMember, ListReply,
    ListedGroup, SyncReply,
};
pub use request::{
    CommitOffsets, CommitPartition, CommitTopic, DeleteOffsets, FetchOffsets, FetchTopic, GroupRequest,
    Heartbeat, JoinGroup, LeaveGroup, LeavingMember, ListGroups, Protocol, SyncGroup,
};
pub use state::GroupState;
pub use step::{Clock, Token};

/// The partition of `__consumer_offsets` that holds `group_id`, of `partitions` (`offsets.topic.num.partitions`): the
/// absolute value of Java's hash of the string, which goes over UTF-16 units.
///
/// # Panics
/// If there are no partitions.
#[must_use]
pub fn partition_for_group(group_id: &str, partitions: i32) -> i32 {
    assert!(partitions > 0, "__consumer_offsets has partitions");
    let hash =
        group_id.encode_utf16().fold(0_i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)));
    // Kafka's abs, where the one number without a positive counterpart becomes 0.
    hash.checked_abs().unwrap_or(0) % partitions
}
