//! When committed offsets end by themselves (KIP-211).
//!
//! Read on the shard that owns the group, with the wall clock, because retention is a promise in calendar time; a
//! clock that goes back only prolongs it. What must hold: an offset of a topic that an active member reads never
//! expires, and nothing expires of a group that is between generations.

use crate::group::group::Group;
use crate::group::offsets::CommittedOffset;
use crate::group::state::GroupState;
use crate::ids::TimestampMs;

/// From when the retention of a group's offsets counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Retention {
    /// Nothing expires now.
    Suspended,
    /// From the moment that the last member left.
    Since(TimestampMs),
    /// From each commit.
    SinceCommit,
}

/// The rule for `group` in its present state.
pub(crate) fn retention(group: &Group) -> Retention {
    if group.protocol_type.is_none() {
        // Consumers that assign themselves: nobody knows whether they still run.
        return if group.members.is_empty() { Retention::SinceCommit } else { Retention::Suspended };
    }
    match group.state {
        GroupState::Empty => group.state_since.map_or(Retention::SinceCommit, Retention::Since),
        GroupState::Stable if group.is_consumer() && group.subscribed_topics.is_some() => {
            Retention::SinceCommit
        }
        GroupState::Stable
        | GroupState::PreparingRebalance
        | GroupState::CompletingRebalance
        | GroupState::Dead => Retention::Suspended,
    }
}

/// Whether `offset` is past its retention. An expiry that the client gave beats the rule.
pub(crate) fn is_expired(
    rule: Retention,
    offset: &CommittedOffset,
    wall: TimestampMs,
    retention_ms: i64,
) -> bool {
    let since = match rule {
        Retention::Suspended => return false,
        Retention::Since(since) => since,
        Retention::SinceCommit => offset.committed_at,
    };
    match offset.expires_at {
        Some(expires_at) => wall >= expires_at,
        None => wall.0.saturating_sub(since.0) >= retention_ms,
    }
}
