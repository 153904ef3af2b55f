//! LeaveGroup, versions 0 to 5.
//!
//! Stateless, on the connection's shard. What must hold: before version 3 one member leaves, and its error is the
//! response's.

use ottla_wire::leave_group_request::LeaveGroupRequest;
use ottla_wire::leave_group_response::{LeaveGroupResponse, MemberResponse};

use super::{expect_reply, owned, text};
use crate::group::reply::GroupReply;
use crate::group::request::{GroupRequest, LeaveGroup, LeavingMember};

/// Several members leave with one request (KIP-345).
const BATCHED_FROM: i16 = 3;

/// The coordinator's request. The reason of version 5 is for people and goes no further.
#[must_use]
pub fn decode(version: i16, request: &LeaveGroupRequest<'_>) -> GroupRequest {
    let members = if version >= BATCHED_FROM {
        let members = request.members.iter().map(|member| LeavingMember {
            member_id: member.member_id.to_string(),
            group_instance_id: owned(&member.group_instance_id),
        });
        members.collect()
    } else {
        vec![LeavingMember { member_id: request.member_id.to_string(), group_instance_id: None }]
    };
    GroupRequest::Leave(LeaveGroup { group_id: request.group_id.to_string(), members })
}

/// The response.
///
/// # Panics
/// If the reply is of another kind.
#[must_use]
pub fn encode(version: i16, reply: GroupReply) -> LeaveGroupResponse<'static> {
    let reply = expect_reply!(reply, Leave);
    if version < BATCHED_FROM {
        let first = reply.members.first().map_or(reply.error, |member| member.error);
        let error = if reply.error.is_none() { first } else { reply.error };
        return LeaveGroupResponse { throttle_time_ms: 0, error_code: error.code(), members: Vec::new() };
    }
    let members = reply.members.into_iter().map(|member| MemberResponse {
        member_id: text(member.member_id),
        group_instance_id: member.group_instance_id.map(text),
        error_code: member.error.code(),
    });
    LeaveGroupResponse { throttle_time_ms: 0, error_code: reply.error.code(), members: members.collect() }
}
