//! SyncGroup, versions 0 to 5.
//!
//! Stateless, on the connection's shard. What must hold: from version 5 on a request names its protocol (KIP-559).

use ottla_wire::sync_group_request::SyncGroupRequest;
use ottla_wire::sync_group_response::SyncGroupResponse;

use super::{blob, bytes, expect_reply, owned, text};
use crate::errors::ErrorCode;
use crate::group::reply::{GroupReply, SyncReply};
use crate::group::request::{GroupRequest, SyncGroup};

/// Protocol type and name are mandatory.
const PROTOCOL_MANDATORY_FROM: i16 = 5;

/// The coordinator's request, or the reply to one that names no protocol though its version must.
#[allow(clippy::result_large_err, reason = "the error is the answer, and is made at most once per request")]
pub fn decode(version: i16, request: &SyncGroupRequest<'_>) -> Result<GroupRequest, GroupReply> {
    let named = request.protocol_type.is_some() && request.protocol_name.is_some();
    if version >= PROTOCOL_MANDATORY_FROM && !named {
        return Err(GroupReply::Sync(SyncReply::refused(ErrorCode::InconsistentGroupProtocol)));
    }
    let assignments = request.assignments.iter();
    let assignments = assignments.map(|a| (a.member_id.to_string(), bytes(&a.assignment)));
    Ok(GroupRequest::Sync(SyncGroup {
        group_id: request.group_id.to_string(),
        member_id: request.member_id.to_string(),
        group_instance_id: owned(&request.group_instance_id),
        generation_id: request.generation_id,
        protocol_type: owned(&request.protocol_type),
        protocol_name: owned(&request.protocol_name),
        assignments: assignments.collect(),
    }))
}

/// The response of any version.
///
/// # Panics
/// If the reply is of another kind.
#[must_use]
pub fn encode(reply: GroupReply) -> SyncGroupResponse<'static> {
    let reply = expect_reply!(reply, Sync);
    SyncGroupResponse {
        throttle_time_ms: 0,
        error_code: reply.error.code(),
        protocol_type: reply.protocol_type.map(text),
        protocol_name: reply.protocol_name.map(text),
        assignment: blob(&reply.assignment),
    }
}
