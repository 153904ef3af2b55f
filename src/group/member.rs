//! One member of a classic group (Kafka's `ClassicGroupMember`).
//!
//! Held by the shard that owns the group. On disk, in the group's record: ids, client, timeouts, the subscription for
//! the chosen protocol and the assignment; the other assignors, parked requests and deadlines are lost with the
//! shard. What must hold: at most one JoinGroup and one SyncGroup are parked, and a member without a session deadline
//! has one of them parked.

use bytes::Bytes;

use crate::group::request::{JoinGroup, Protocol};
use crate::group::step::Token;
use crate::time::Monotonic;

/// A member: what it said when it joined, and what it waits for.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) member_id: String,
    pub(crate) group_instance_id: Option<String>,
    pub(crate) client_id: String,
    pub(crate) client_host: String,
    pub(crate) rebalance_timeout_ms: i32,
    pub(crate) session_timeout_ms: i32,
    /// Without duplicate names, the preferred one first.
    pub(crate) protocols: Vec<Protocol>,
    /// The assignment of the last generation that was made durable.
    pub(crate) assignment: Bytes,
    /// The parked JoinGroup.
    pub(crate) awaiting_join: Option<Token>,
    /// The parked SyncGroup.
    pub(crate) awaiting_sync: Option<Token>,
    /// Never part of a generation: such a member cannot heartbeat, so its parked JoinGroup itself expires.
    pub(crate) is_new: bool,
    /// When the member is dropped unless it is heard of before.
    pub(crate) session_deadline: Option<Monotonic>,
}

impl Member {
    /// The member that `request` describes, under the id that the coordinator chose or knows.
    pub(crate) fn joining(member_id: String, request: JoinGroup) -> Self {
        Member {
            member_id,
            group_instance_id: request.group_instance_id,
            client_id: request.client_id,
            client_host: request.client_host,
            rebalance_timeout_ms: request.rebalance_timeout_ms,
            session_timeout_ms: request.session_timeout_ms,
            protocols: distinct(request.protocols),
            assignment: Bytes::new(),
            awaiting_join: None,
            awaiting_sync: None,
            is_new: true,
            session_deadline: None,
        }
    }

    /// The subscription for `protocol`; empty bytes if the member does not offer it.
    pub(crate) fn metadata(&self, protocol: &str) -> Bytes {
        let offered = self.protocols.iter().find(|p| p.name == protocol);
        offered.map(|p| p.metadata.clone()).unwrap_or_default()
    }

    /// Whether a passed session deadline is forgiven: a member whose request is parked cannot heartbeat. A new
    /// member's parked JoinGroup is what expires, so it is never forgiven.
    pub(crate) fn has_satisfied_heartbeat(&self) -> bool {
        !self.is_new && (self.awaiting_join.is_some() || self.awaiting_sync.is_some())
    }

    /// The first of the member's assignors that is among `candidates`.
    pub(crate) fn vote(&self, candidates: &[&str]) -> Option<&str> {
        self.protocols.iter().map(|p| p.name.as_str()).find(|name| candidates.contains(name))
    }

    /// Bytes of the member's subscriptions, which a limit bounds.
    pub(crate) fn metadata_bytes(&self) -> usize {
        protocols_bytes(&self.protocols)
    }
}

/// Bytes that `protocols` carry.
pub(crate) fn protocols_bytes(protocols: &[Protocol]) -> usize {
    protocols.iter().map(|p| p.name.len() + p.metadata.len()).sum()
}

/// The first protocol of each name. Counting a name twice would make a group believe that more members support it
/// than there are.
pub(crate) fn distinct(protocols: Vec<Protocol>) -> Vec<Protocol> {
    let mut kept: Vec<Protocol> = Vec::with_capacity(protocols.len());
    for protocol in protocols {
        if kept.iter().all(|p| p.name != protocol.name) {
            kept.push(protocol);
        }
    }
    kept
}
