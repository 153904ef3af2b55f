//! DescribeGroups, versions 0 to 6: one coordinator request per group.
//!
//! Stateless, on the connection's shard. What must hold: before version 6 an unknown group is no error, only Dead
//! (KIP-1043); a group that is named again is answered once, so that a few bytes of a request are never all its members
//! in the reply.

use std::borrow::Cow;

use ottla_wire::describe_groups_request::DescribeGroupsRequest;
use ottla_wire::describe_groups_response::{DescribeGroupsResponse, DescribedGroup, DescribedGroupMember};

use super::{blob, distinct, expect_reply, text};
use crate::errors::ErrorCode;
use crate::group::reply::{DescribeReply, DescribedMember, GroupReply};
use crate::group::request::GroupRequest;
use crate::request::operations::NOT_ASKED;
use crate::sentences;

/// An unknown group is GROUP_ID_NOT_FOUND, with a message.
const GROUP_ID_NOT_FOUND_FROM: i16 = 6;
/// The client can ask what it may do with a group.
const AUTHORIZED_OPERATIONS_FROM: i16 = 3;

/// The coordinators' requests, one per distinct group in the request's order.
#[must_use]
pub fn decode(request: &DescribeGroupsRequest<'_>) -> Vec<GroupRequest> {
    let group_ids = distinct(&request.groups);
    group_ids.map(|group_id| GroupRequest::Describe { group_id: group_id.to_owned() }).collect()
}

/// Whether the answer tells what the client may do with each group.
#[must_use]
pub fn asks_operations(version: i16, request: &DescribeGroupsRequest<'_>) -> bool {
    version >= AUTHORIZED_OPERATIONS_FROM && request.include_authorized_operations
}

/// The response; `operations` are the bits that the client may do with every group, or [`NOT_ASKED`].
///
/// # Panics
/// If a reply is of another kind.
#[must_use]
pub fn encode(version: i16, replies: Vec<GroupReply>, operations: i32) -> DescribeGroupsResponse<'static> {
    let groups = replies.into_iter().map(|reply| group(version, expect_reply!(reply, Describe), operations));
    DescribeGroupsResponse { throttle_time_ms: 0, groups: groups.collect() }
}

fn group(version: i16, reply: DescribeReply, operations: i32) -> DescribedGroup<'static> {
    let not_found = reply.error == ErrorCode::GroupIdNotFound;
    let error = if not_found && version < GROUP_ID_NOT_FOUND_FROM { ErrorCode::None } else { reply.error };
    let knows_messages = version >= GROUP_ID_NOT_FOUND_FROM && not_found;
    let error_message =
        knows_messages.then(|| sentences::cut(format!("Group {} not found.", reply.group_id)));
    DescribedGroup {
        error_code: error.code(),
        error_message,
        group_id: text(reply.group_id),
        group_state: Cow::Borrowed(reply.state.map_or("", |state| state.name())),
        protocol_type: text(reply.protocol_type),
        protocol_data: text(reply.protocol),
        members: reply.members.into_iter().map(member).collect(),
        authorized_operations: if error.is_none() { operations } else { NOT_ASKED },
    }
}

fn member(member: DescribedMember) -> DescribedGroupMember<'static> {
    DescribedGroupMember {
        member_id: text(member.member_id),
        group_instance_id: member.group_instance_id.map(text),
        client_id: text(member.client_id),
        client_host: text(member.client_host),
        member_metadata: blob(&member.metadata),
        member_assignment: blob(&member.assignment),
    }
}
