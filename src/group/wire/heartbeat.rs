//! Heartbeat, versions 0 to 4.
//!
//! Stateless, on the connection's shard; all versions have the same meaning.

use ottla_wire::heartbeat_request::HeartbeatRequest;
use ottla_wire::heartbeat_response::HeartbeatResponse;

use super::{expect_reply, owned};
use crate::group::reply::GroupReply;
use crate::group::request::{GroupRequest, Heartbeat};

/// The coordinator's request.
#[must_use]
pub fn decode(request: &HeartbeatRequest<'_>) -> GroupRequest {
    GroupRequest::Heartbeat(Heartbeat {
        group_id: request.group_id.to_string(),
        member_id: request.member_id.to_string(),
        group_instance_id: owned(&request.group_instance_id),
        generation_id: request.generation_id,
    })
}

/// The response of any version.
///
/// # Panics
/// If the reply is of another kind.
#[must_use]
pub fn encode(reply: GroupReply) -> HeartbeatResponse {
    let error = expect_reply!(reply, Heartbeat);
    HeartbeatResponse { throttle_time_ms: 0, error_code: error.code() }
}
