//! SyncGroup: members wait for the assignment, the leader hands it in, and it is handed out once it is durable.
//!
//! Runs on the shard that owns the group. On disk: the group's record with every member's assignment, written when
//! the leader syncs. What must hold: nobody gets an assignment that a restart would not know; one write per
//! generation is under way; a member that the leader left out gets empty bytes.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::errors::ErrorCode;
use crate::group::group::Group;
use crate::group::records::Change;
use crate::group::reply::{GroupReply, SyncReply};
use crate::group::request::SyncGroup;
use crate::group::state::GroupState;
use crate::group::step::{Assignment, Step, Then, Token, append_error_to_response};

impl Group {
    /// Handles a SyncGroup.
    pub(crate) fn sync(&mut self, step: &mut Step<'_>, token: Token, request: SyncGroup) {
        if let Err(error) = self.validate_sync(&request) {
            return refuse_sync(step, token, error);
        }
        match self.state {
            GroupState::Dead => refuse_sync(step, token, ErrorCode::CoordinatorNotAvailable),
            GroupState::Empty => refuse_sync(step, token, ErrorCode::UnknownMemberId),
            GroupState::PreparingRebalance => refuse_sync(step, token, ErrorCode::RebalanceInProgress),
            GroupState::CompletingRebalance => self.park_sync(step, token, request),
            GroupState::Stable => {
                self.synced(&request.member_id);
                self.reset_session(step.clock.now, &request.member_id);
                let reply = self.assigned_reply(&request.member_id);
                step.reply(token, GroupReply::Sync(reply));
            }
        }
    }

    fn validate_sync(&self, request: &SyncGroup) -> Result<(), ErrorCode> {
        match self.state {
            GroupState::Dead => return Err(ErrorCode::CoordinatorNotAvailable),
            GroupState::Empty => return Err(ErrorCode::UnknownMemberId),
            GroupState::PreparingRebalance | GroupState::CompletingRebalance | GroupState::Stable => {}
        }
        self.validate_member(&request.member_id, request.group_instance_id.as_deref())?;
        if request.generation_id != self.generation_id {
            return Err(ErrorCode::IllegalGeneration);
        }
        let differs =
            |asked: &Option<String>, own: &Option<String>| asked.is_some() && own.is_some() && asked != own;
        if differs(&request.protocol_type, &self.protocol_type)
            || differs(&request.protocol_name, &self.protocol)
        {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        Ok(())
    }

    fn park_sync(&mut self, step: &mut Step<'_>, token: Token, request: SyncGroup) {
        let member = self.members.get_mut(&request.member_id).expect("the request's member was checked");
        if let Some(previous) = member.awaiting_sync.replace(token) {
            refuse_sync(step, previous, ErrorCode::RebalanceInProgress);
        }
        // A leader that asks again while its first assignment is being written waits for that one.
        if self.is_leader(&request.member_id) && !self.assignment_in_flight {
            self.write_assignment(step, request.assignments);
        }
        self.synced(&request.member_id);
    }

    fn write_assignment(&mut self, step: &mut Step<'_>, assignments: Vec<(String, Bytes)>) {
        let mut by_member: BTreeMap<String, Bytes> = assignments.into_iter().collect();
        by_member.retain(|member_id, _| self.members.contains_key(member_id));
        let metadata = self.metadata(|member| by_member.get(&member.member_id).cloned().unwrap_or_default());
        let change = Change::Group { group: self.id.clone(), value: Some(metadata) };
        let group_id = self.id.clone();
        let assignment = Assignment { group_id, generation_id: self.generation_id, by_member };
        self.assignment_in_flight = true;
        step.append(vec![change], Then::Assign(assignment));
    }

    /// The member asked for its assignment: the group no longer waits for that.
    fn synced(&mut self, member_id: &str) {
        self.pending_syncs.remove(member_id);
        if self.pending_syncs.is_empty() {
            self.sync_deadline = None;
        }
    }

    /// The assignment is durable, or could not be written; a rebalance that began meanwhile made it worthless.
    pub(crate) fn assigned(
        &mut self,
        step: &mut Step<'_>,
        written: Assignment,
        result: Result<(), ErrorCode>,
    ) {
        let current = self.is(GroupState::CompletingRebalance) && self.generation_id == written.generation_id;
        if !current || !self.assignment_in_flight {
            return;
        }
        self.assignment_in_flight = false;
        match result {
            Ok(()) => self.hand_out(step, written.by_member),
            Err(error) => {
                self.refuse_syncs(step, append_error_to_response(error));
                self.prepare_rebalance(step);
            }
        }
    }

    fn hand_out(&mut self, step: &mut Step<'_>, mut by_member: BTreeMap<String, Bytes>) {
        let members: Vec<String> = self.members.keys().cloned().collect();
        for member_id in members {
            let member = self.members.get_mut(&member_id).expect("the keys were just read");
            member.assignment = by_member.remove(&member_id).unwrap_or_default();
            if let Some(token) = member.awaiting_sync.take() {
                let reply = self.assigned_reply(&member_id);
                step.reply(token, GroupReply::Sync(reply));
                self.reset_session(step.clock.now, &member_id);
            }
        }
        self.become_state(GroupState::Stable, step.clock.wall);
    }

    fn assigned_reply(&self, member_id: &str) -> SyncReply {
        SyncReply {
            error: ErrorCode::None,
            protocol_type: self.protocol_type.clone(),
            protocol_name: self.protocol.clone(),
            assignment: self.members.get(member_id).map(|m| m.assignment.clone()).unwrap_or_default(),
        }
    }

    /// Refuses a member's parked SyncGroup, if there is one.
    pub(crate) fn answer_sync(&mut self, step: &mut Step<'_>, member_id: &str, error: ErrorCode) {
        let member = self.members.get_mut(member_id);
        if let Some(token) = member.and_then(|member| member.awaiting_sync.take()) {
            refuse_sync(step, token, error);
        }
    }

    /// Members had a rebalance timeout's time to ask for their assignment: those that did not are out.
    pub(crate) fn expire_sync(&mut self, step: &mut Step<'_>) {
        self.sync_deadline = None;
        let absent = std::mem::take(&mut self.pending_syncs);
        assert!(!absent.is_empty(), "the deadline stands only while someone is missing");
        for member_id in absent {
            // A static member that came back meanwhile has a JoinGroup parked until its new id is on disk.
            self.drop_member(step, &member_id);
        }
        self.prepare_rebalance(step);
    }
}

/// Answers a SyncGroup with `error`.
pub(crate) fn refuse_sync(step: &mut Step<'_>, token: Token, error: ErrorCode) {
    step.reply(token, GroupReply::Sync(SyncReply::refused(error)));
}
