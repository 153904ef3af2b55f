//! From a request to the group that it is for: which requests are in order, which make a group, who handles them.
//!
//! Runs on the shard that owns the partition. Nothing is held here. What must hold: a request is refused before
//! anything changed, or handled once.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::errors::ErrorCode;
use crate::group::config::GroupConfig;
use crate::group::describe;
use crate::group::group::Group;
use crate::group::heartbeat::refused_heartbeat;
use crate::group::join::refuse_join;
use crate::group::member::protocols_bytes;
use crate::group::offsets::{commit, delete};
use crate::group::partition::Partition;
use crate::group::reply::{DeleteReply, GroupReply, JoinReply, LeaveReply, LeftMember};
use crate::group::request::{CommitOffsets, DeleteOffsets, GroupRequest, JoinGroup, LeaveGroup};
use crate::group::step::{Arrival, Step, Then, Token};
use crate::group::sweep::append_tombstones;
use crate::group::sync::refuse_sync;
use crate::limits::{GROUP_MEMBER_METADATA_BYTES_MAX, GROUP_PROTOCOLS_MAX};

impl GroupRequest {
    /// The answer to a request that no group would accept.
    pub(crate) fn invalid(&self, config: &GroupConfig) -> Option<GroupReply> {
        let error = match self {
            GroupRequest::Join(request) => {
                let error = invalid_join(request, config)?;
                return Some(GroupReply::Join(JoinReply::refused(request.member_id.clone(), error)));
            }
            GroupRequest::Sync(_)
            | GroupRequest::Heartbeat(_)
            | GroupRequest::Leave(_)
            | GroupRequest::DeleteOffsets(_) => {
                self.group_id().is_some_and(str::is_empty).then_some(ErrorCode::InvalidGroupId)?
            }
            // Kafka lets the empty group id through here for the sake of very old clients.
            GroupRequest::CommitOffsets(_)
            | GroupRequest::FetchOffsets(_)
            | GroupRequest::Describe { .. }
            | GroupRequest::Delete { .. }
            | GroupRequest::List(_) => return None,
        };
        Some(self.refusal(error))
    }

    /// The answer when the coordinator itself is the reason.
    pub(crate) fn refused_by_coordinator(&self, error: ErrorCode) -> GroupReply {
        match self {
            GroupRequest::Heartbeat(_) => refused_heartbeat(error),
            GroupRequest::Join(_)
            | GroupRequest::Sync(_)
            | GroupRequest::Leave(_)
            | GroupRequest::CommitOffsets(_)
            | GroupRequest::FetchOffsets(_)
            | GroupRequest::Describe { .. }
            | GroupRequest::List(_)
            | GroupRequest::Delete { .. }
            | GroupRequest::DeleteOffsets(_) => self.refusal(error),
        }
    }

    /// Whether handling the request may add a group to `groups`.
    pub(crate) fn creates_group(&self, groups: &BTreeMap<Arc<str>, Group>) -> bool {
        match self {
            GroupRequest::Join(request) => {
                request.member_id.is_empty() && !groups.contains_key(request.group_id.as_str())
            }
            GroupRequest::CommitOffsets(request) => !groups.contains_key(request.group_id.as_str()),
            GroupRequest::Sync(_)
            | GroupRequest::Heartbeat(_)
            | GroupRequest::Leave(_)
            | GroupRequest::FetchOffsets(_)
            | GroupRequest::Describe { .. }
            | GroupRequest::List(_)
            | GroupRequest::Delete { .. }
            | GroupRequest::DeleteOffsets(_) => false,
        }
    }

    /// Whether the request makes records of a size that the client chooses and can be retried as it is.
    pub(crate) fn is_bulk_write(&self) -> bool {
        match self {
            GroupRequest::CommitOffsets(_) | GroupRequest::DeleteOffsets(_) | GroupRequest::Delete { .. } => {
                true
            }
            GroupRequest::Join(_)
            | GroupRequest::Sync(_)
            | GroupRequest::Heartbeat(_)
            | GroupRequest::Leave(_)
            | GroupRequest::FetchOffsets(_)
            | GroupRequest::Describe { .. }
            | GroupRequest::List(_) => false,
        }
    }
}

fn invalid_join(request: &JoinGroup, config: &GroupConfig) -> Option<ErrorCode> {
    let sessions = config.min_session_timeout_ms..=config.max_session_timeout_ms;
    if request.group_id.is_empty() {
        Some(ErrorCode::InvalidGroupId)
    } else if !sessions.contains(&request.session_timeout_ms) {
        Some(ErrorCode::InvalidSessionTimeout)
    } else if request.protocols.len() > GROUP_PROTOCOLS_MAX
        || protocols_bytes(&request.protocols) > GROUP_MEMBER_METADATA_BYTES_MAX
    {
        Some(ErrorCode::InvalidRequest)
    } else {
        None
    }
}

impl Partition {
    /// Handles a request for a group of this partition that is in order.
    pub(crate) fn handle(&mut self, step: &mut Step<'_>, arrival: Arrival, request: GroupRequest) {
        let token = arrival.token;
        match request {
            GroupRequest::Join(request) => self.join(step, arrival, request),
            GroupRequest::Sync(request) => match self.groups.get_mut(request.group_id.as_str()) {
                Some(group) => group.sync(step, token, request),
                None => refuse_sync(step, token, ErrorCode::UnknownMemberId),
            },
            GroupRequest::Heartbeat(request) => {
                let group = self.groups.get_mut(request.group_id.as_str());
                let answer = group.map(|group| group.heartbeat(step.clock.now, &request));
                step.reply(token, GroupReply::Heartbeat(answer.unwrap_or(ErrorCode::UnknownMemberId)));
            }
            GroupRequest::Leave(request) => match self.groups.get_mut(request.group_id.as_str()) {
                Some(group) => group.leave(step, token, request),
                None => step.reply(token, GroupReply::Leave(left_nothing(request))),
            },
            GroupRequest::CommitOffsets(request) => self.commit(step, token, &request),
            GroupRequest::FetchOffsets(request) => {
                if let Some(reply) = self.fetch(token, request) {
                    step.reply(token, reply);
                }
            }
            GroupRequest::Describe { group_id } => {
                let group = self.groups.get(group_id.as_str());
                step.reply(token, GroupReply::Describe(describe::describe(group_id, group)));
            }
            GroupRequest::Delete { group_id } => self.delete(step, token, group_id),
            GroupRequest::DeleteOffsets(request) => self.delete_offsets(step, token, &request),
            GroupRequest::List(_) => unreachable!("a listing is for the shard, not for a partition"),
        }
    }

    fn join(&mut self, step: &mut Step<'_>, arrival: Arrival, request: JoinGroup) {
        if let Some(group) = self.groups.get_mut(request.group_id.as_str()) {
            return group.join(step, arrival, request);
        }
        if !request.member_id.is_empty() {
            return refuse_join(step, arrival.token, request.member_id, ErrorCode::UnknownMemberId);
        }
        let group_id: Arc<str> = Arc::from(request.group_id.as_str());
        let mut group = Group::new(group_id.clone(), Some(step.clock.wall));
        group.join(step, arrival, request);
        self.groups.insert(group_id, group);
    }

    fn commit(&mut self, step: &mut Step<'_>, token: Token, request: &CommitOffsets) {
        let group = self.groups.get_mut(request.group_id.as_str());
        if let Err(error) = commit::validate(group.as_deref(), request) {
            return step.reply(token, GroupReply::CommitOffsets(request.refusal(error)));
        }
        if let Some(group) = group.filter(|group| commit::keeps_session(group)) {
            group.reset_session(step.clock.now, &request.member_id);
        }
        let (changes, reply) = commit::decide(request, step.clock, step.config.offset_metadata_bytes_max);
        if !changes.is_empty() {
            step.append(changes, Then::Nothing);
        }
        step.reply_after_appends(token, GroupReply::CommitOffsets(reply));
    }

    fn delete(&mut self, step: &mut Step<'_>, token: Token, group_id: String) {
        let found = delete::validate_group(self.groups.get(group_id.as_str()));
        if let Err(error) = found {
            return step.reply(token, GroupReply::Delete(DeleteReply { group_id, error }));
        }
        let keys = self.offset_keys(&group_id);
        let group = self.groups.get_mut(group_id.as_str()).expect("the group was just seen to be empty");
        group.become_state_dead(step);
        let changes = delete::group_tombstones(&group.id, &keys);
        append_tombstones(step, changes, Then::Bury(vec![group.id.clone()]));
        let reply = DeleteReply { group_id, error: ErrorCode::None };
        step.reply_after_appends(token, GroupReply::Delete(reply));
    }

    fn delete_offsets(&mut self, step: &mut Step<'_>, token: Token, request: &DeleteOffsets) {
        let keys = self.offset_keys(&request.group_id);
        let group = self.groups.get(request.group_id.as_str());
        let (changes, reply) = delete::decide(group, request, &keys);
        if !changes.is_empty() {
            step.append(changes, Then::Nothing);
        }
        step.reply_after_appends(token, GroupReply::DeleteOffsets(reply));
    }
}

/// Nobody can leave a group that does not exist: each asked member is unknown.
fn left_nothing(request: LeaveGroup) -> LeaveReply {
    let members = request.members.into_iter().map(|leaving| LeftMember {
        member_id: leaving.member_id,
        group_instance_id: leaving.group_instance_id,
        error: ErrorCode::UnknownMemberId,
    });
    LeaveReply { error: ErrorCode::None, members: members.collect() }
}
