//! DescribeGroups and ListGroups: what a group looks like from outside.
//!
//! Reads on the shard that owns the group; nothing is held or stored. What must hold: an unknown group is described as
//! Dead, subscriptions are shown only of a stable group, as Kafka does it.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use crate::errors::ErrorCode;
use crate::group::group::Group;
use crate::group::partition::Partition;
use crate::group::reply::{DescribeReply, DescribedMember, GroupReply, ListReply, ListedGroup};
use crate::group::request::ListGroups;
use crate::group::state::GroupState;

/// The type of every group that this coordinator serves, as tools spell it.
pub(crate) const CLASSIC_GROUP_TYPE: &str = "classic";

/// Describes `group`, `None` for one that does not exist.
pub(crate) fn describe(group_id: String, group: Option<&Group>) -> DescribeReply {
    let Some(group) = group else { return DescribeReply::refused(group_id, ErrorCode::GroupIdNotFound) };
    let protocol = group.protocol.as_deref().filter(|_| group.is(GroupState::Stable));
    let members = group.members.values().map(|member| DescribedMember {
        member_id: member.member_id.clone(),
        group_instance_id: member.group_instance_id.clone(),
        client_id: member.client_id.clone(),
        client_host: member.client_host.clone(),
        metadata: protocol.map_or_else(Bytes::new, |protocol| member.metadata(protocol)),
        assignment: member.assignment.clone(),
    });
    DescribeReply {
        group_id,
        error: ErrorCode::None,
        state: Some(group.state),
        protocol_type: group.protocol_type.clone().unwrap_or_default(),
        protocol: protocol.unwrap_or_default().to_owned(),
        members: members.collect(),
    }
}

/// The filters of a ListGroups, made comparable.
pub(crate) struct ListFilter {
    states: BTreeSet<String>,
    lets_classic_through: bool,
}

impl ListFilter {
    /// Case does not matter, nor blanks around a state; a type that does not exist lets nothing through.
    pub(crate) fn new(request: &ListGroups) -> Self {
        let states = request.states_filter.iter().map(|state| state.to_lowercase().trim().to_owned());
        let types = &request.types_filter;
        let lets_classic_through =
            types.is_empty() || types.iter().any(|kind| kind.eq_ignore_ascii_case(CLASSIC_GROUP_TYPE));
        ListFilter { states: states.collect(), lets_classic_through }
    }

    /// The listing's line for `group`, if the filter lets it through.
    pub(crate) fn list(&self, group: &Group) -> Option<ListedGroup> {
        let state = group.state.name().to_lowercase();
        let listed = self.lets_classic_through && (self.states.is_empty() || self.states.contains(&state));
        listed.then(|| ListedGroup {
            group_id: group.id.to_string(),
            protocol_type: group.protocol_type.clone().unwrap_or_default(),
            state: group.state,
        })
    }
}

/// Lists the groups of all partitions of a shard; while one is loading the answer would be incomplete.
pub(crate) fn list(request: &ListGroups, partitions: &BTreeMap<i32, Partition>) -> GroupReply {
    if partitions.values().any(|partition| !partition.is_active()) {
        let error = ErrorCode::CoordinatorLoadInProgress;
        return GroupReply::List(ListReply { error, groups: Vec::new() });
    }
    let filter = ListFilter::new(request);
    let groups = partitions.values().flat_map(|partition| partition.groups.values());
    let groups = groups.filter_map(|group| filter.list(group)).collect();
    GroupReply::List(ListReply { error: ErrorCode::None, groups })
}
