//! Heartbeats, and what happens when they stay away.
//!
//! Runs on the shard that owns the group; nothing is written except what a rebalance writes. What must hold: only a
//! member of the present generation keeps its session; a member whose request is parked is not dropped for silence.

use crate::errors::ErrorCode;
use crate::group::group::Group;
use crate::group::reply::{GroupReply, JoinReply};
use crate::group::request::Heartbeat;
use crate::group::state::GroupState;
use crate::group::step::Step;
use crate::time::Monotonic;

impl Group {
    /// Handles a Heartbeat.
    pub(crate) fn heartbeat(&mut self, now: Monotonic, request: &Heartbeat) -> ErrorCode {
        if self.is(GroupState::Dead) {
            return ErrorCode::CoordinatorNotAvailable;
        }
        if let Err(error) = self.validate_member(&request.member_id, request.group_instance_id.as_deref()) {
            return error;
        }
        if request.generation_id != self.generation_id {
            return ErrorCode::IllegalGeneration;
        }
        match self.state {
            GroupState::Empty | GroupState::Dead => ErrorCode::UnknownMemberId,
            GroupState::PreparingRebalance => {
                self.reset_session(now, &request.member_id);
                ErrorCode::RebalanceInProgress
            }
            GroupState::CompletingRebalance | GroupState::Stable => {
                self.reset_session(now, &request.member_id);
                ErrorCode::None
            }
        }
    }

    /// A member's session ended: it is out, unless its own request is parked here.
    pub(crate) fn expire_session(&mut self, step: &mut Step<'_>, member_id: &str) {
        let member = self.members.get_mut(member_id).expect("only a member has a session");
        if member.has_satisfied_heartbeat() {
            member.session_deadline = None;
            return;
        }
        self.drop_member(step, member_id);
        match self.state {
            GroupState::Stable | GroupState::CompletingRebalance => self.prepare_rebalance(step),
            GroupState::PreparingRebalance => {
                if self.has_all_members_joined() {
                    self.complete_join(step);
                }
            }
            GroupState::Empty | GroupState::Dead => {}
        }
    }

    /// Removes a member, answering its parked requests: a client that is still there joins anew.
    pub(crate) fn drop_member(&mut self, step: &mut Step<'_>, member_id: &str) {
        let refusal = JoinReply::refused(String::new(), ErrorCode::UnknownMemberId);
        self.answer_join(step, member_id, refusal);
        self.answer_sync(step, member_id, ErrorCode::UnknownMemberId);
        self.remove(member_id);
    }
}

/// The answer to a heartbeat that finds no group to ask.
pub(crate) fn refused_heartbeat(error: ErrorCode) -> GroupReply {
    match error {
        // A group that is still loading cannot say that the member is gone: Kafka answers blindly.
        ErrorCode::CoordinatorLoadInProgress => GroupReply::Heartbeat(ErrorCode::None),
        other => GroupReply::Heartbeat(other),
    }
}
