//! ListGroups, versions 0 to 5: one coordinator request per shard.
//!
//! Stateless, on the connection's shard. What must hold: a listing that one shard cannot complete is an error as a
//! whole, because a client would take a missing group for a deleted one.

use std::borrow::Cow;

use ottla_wire::list_groups_request::ListGroupsRequest;
use ottla_wire::list_groups_response::{ListGroupsResponse, ListedGroup};

use super::{expect_reply, text};
use crate::errors::ErrorCode;
use crate::group::describe::CLASSIC_GROUP_TYPE;
use crate::group::reply::{GroupReply, ListReply};
use crate::group::request::{GroupRequest, ListGroups};

/// The request for every shard.
#[must_use]
pub fn decode(request: &ListGroupsRequest<'_>) -> GroupRequest {
    GroupRequest::List(ListGroups {
        states_filter: request.states_filter.iter().map(ToString::to_string).collect(),
        types_filter: request.types_filter.iter().map(ToString::to_string).collect(),
    })
}

/// The response of any version, from the replies of all shards.
///
/// # Panics
/// If a reply is of another kind.
#[must_use]
pub fn encode(replies: Vec<GroupReply>) -> ListGroupsResponse<'static> {
    let replies: Vec<ListReply> = replies.into_iter().map(|reply| expect_reply!(reply, List)).collect();
    let error = replies.iter().map(|reply| reply.error).find(|error| !error.is_none());
    if let Some(error) = error {
        return ListGroupsResponse { throttle_time_ms: 0, error_code: error.code(), groups: Vec::new() };
    }
    let groups = replies.into_iter().flat_map(|reply| reply.groups).map(|group| ListedGroup {
        group_id: text(group.group_id),
        protocol_type: text(group.protocol_type),
        group_state: Cow::Borrowed(group.state.name()),
        group_type: Cow::Borrowed(CLASSIC_GROUP_TYPE),
    });
    ListGroupsResponse { throttle_time_ms: 0, error_code: ErrorCode::None.code(), groups: groups.collect() }
}
