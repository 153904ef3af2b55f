//! LeaveGroup: members go at once instead of when their session ends; administrators remove static members.
//!
//! Runs on the shard that owns the group. If the last member leaves, the answer waits until the log says that the
//! group is empty. What must hold: one result per asked member, in the request's order.

use crate::errors::ErrorCode;
use crate::group::group::Group;
use crate::group::reply::{GroupReply, LeaveReply, LeftMember};
use crate::group::request::{LeaveGroup, LeavingMember};
use crate::group::state::GroupState;
use crate::group::step::{Step, Token};

impl Group {
    /// Handles a LeaveGroup.
    pub(crate) fn leave(&mut self, step: &mut Step<'_>, token: Token, request: LeaveGroup) {
        if self.is(GroupState::Dead) {
            let reply = LeaveReply { error: ErrorCode::CoordinatorNotAvailable, members: Vec::new() };
            return step.reply(token, GroupReply::Leave(reply));
        }
        let size_before = self.members.len();
        let members = request.members.into_iter().map(|leaving| {
            let error = self.leave_one(step, &leaving).err().unwrap_or(ErrorCode::None);
            LeftMember { member_id: leaving.member_id, group_instance_id: leaving.group_instance_id, error }
        });
        let members = members.collect();
        match self.state {
            GroupState::Stable | GroupState::CompletingRebalance => {
                if self.members.len() < size_before {
                    self.prepare_rebalance(step);
                }
            }
            GroupState::PreparingRebalance => self.maybe_complete_join(step),
            GroupState::Empty | GroupState::Dead => {}
        }
        let reply = LeaveReply { error: ErrorCode::None, members };
        step.reply_after_appends(token, GroupReply::Leave(reply));
    }

    fn leave_one(&mut self, step: &mut Step<'_>, leaving: &LeavingMember) -> Result<(), ErrorCode> {
        let instance_id = leaving.group_instance_id.as_deref();
        if leaving.member_id.is_empty() {
            // An administrator names a static member by its instance id alone.
            let holder = instance_id.and_then(|id| self.static_members.get(id)).cloned();
            let member_id = holder.ok_or(ErrorCode::UnknownMemberId)?;
            self.drop_member(step, &member_id);
        } else if self.pending_joins.contains_key(&leaving.member_id) {
            self.pending_joins.remove(&leaving.member_id);
        } else {
            self.validate_member(&leaving.member_id, instance_id)?;
            self.drop_member(step, &leaving.member_id);
        }
        Ok(())
    }
}
