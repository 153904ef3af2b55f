//! DeleteGroups, versions 0 to 3: one coordinator request per group.
//!
//! Stateless, on the connection's shard. What must hold: a group that is named twice is deleted and answered once.

use ottla_wire::delete_groups_request::DeleteGroupsRequest;
use ottla_wire::delete_groups_response::{DeletableGroupResult, DeleteGroupsResponse};

use super::{distinct, expect_reply, text};
use crate::group::reply::GroupReply;
use crate::group::request::GroupRequest;

/// The coordinators' requests, one per distinct group in the request's order.
#[must_use]
pub fn decode(request: &DeleteGroupsRequest<'_>) -> Vec<GroupRequest> {
    let group_ids = distinct(&request.groups_names);
    group_ids.map(|group_id| GroupRequest::Delete { group_id: group_id.to_owned() }).collect()
}

/// The response of any version.
///
/// # Panics
/// If a reply is of another kind.
#[must_use]
pub fn encode(replies: Vec<GroupReply>) -> DeleteGroupsResponse<'static> {
    let results = replies.into_iter().map(|reply| {
        let reply = expect_reply!(reply, Delete);
        DeletableGroupResult {
            group_id: text(reply.group_id),
            error_code: reply.error.code(),
            error_message: None,
        }
    });
    DeleteGroupsResponse { throttle_time_ms: 0, results: results.collect() }
}
