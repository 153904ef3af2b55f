//! JoinGroup, versions 0 to 9.
//!
//! Stateless, on the connection's shard. What must hold: before version 1 the session timeout is the rebalance
//! timeout; before version 7 the protocol's name is never null, from then on never empty.

use ottla_wire::join_group_request::JoinGroupRequest;
use ottla_wire::join_group_response::{JoinGroupResponse, JoinGroupResponseMember};

use super::{Client, blob, bytes, expect_reply, owned, text};
use crate::group::reply::GroupReply;
use crate::group::request::{GroupRequest, JoinGroup, Protocol};

/// Dynamic members must come back with the id that they are given (KIP-394).
const MEMBER_ID_REQUIRED_FROM: i16 = 4;
/// The protocol's name may be null (KIP-559).
const NULL_PROTOCOL_FROM: i16 = 7;
/// The leader can be told to skip the assignment (KIP-814).
const SKIP_ASSIGNMENT_FROM: i16 = 9;

/// The coordinator's request.
#[must_use]
pub fn decode(version: i16, request: &JoinGroupRequest<'_>, client: Client<'_>) -> GroupRequest {
    let protocols = request
        .protocols
        .iter()
        .map(|protocol| Protocol { name: protocol.name.to_string(), metadata: bytes(&protocol.metadata) });
    GroupRequest::Join(JoinGroup {
        group_id: request.group_id.to_string(),
        member_id: request.member_id.to_string(),
        group_instance_id: owned(&request.group_instance_id),
        client_id: client.id.to_owned(),
        client_host: client.host.to_owned(),
        session_timeout_ms: request.session_timeout_ms,
        rebalance_timeout_ms: match version {
            0 => request.session_timeout_ms,
            _ => request.rebalance_timeout_ms,
        },
        protocol_type: request.protocol_type.to_string(),
        protocols: protocols.collect(),
        requires_member_id: version >= MEMBER_ID_REQUIRED_FROM,
        supports_skip_assignment: version >= SKIP_ASSIGNMENT_FROM,
    })
}

/// The response.
///
/// # Panics
/// If the reply is of another kind.
#[must_use]
pub fn encode(version: i16, reply: GroupReply) -> JoinGroupResponse<'static> {
    let reply = expect_reply!(reply, Join);
    let protocol_name = match version {
        NULL_PROTOCOL_FROM.. => reply.protocol_name.filter(|name| !name.is_empty()),
        _ => Some(reply.protocol_name.unwrap_or_default()),
    };
    let members = reply.members.into_iter().map(|member| JoinGroupResponseMember {
        member_id: text(member.member_id),
        group_instance_id: member.group_instance_id.map(text),
        metadata: blob(&member.metadata),
    });
    JoinGroupResponse {
        throttle_time_ms: 0,
        error_code: reply.error.code(),
        generation_id: reply.generation_id,
        protocol_type: reply.protocol_type.map(text),
        protocol_name: protocol_name.map(text),
        leader: text(reply.leader),
        skip_assignment: reply.skip_assignment && version >= SKIP_ASSIGNMENT_FROM,
        member_id: text(reply.member_id),
        members: members.collect(),
    }
}
