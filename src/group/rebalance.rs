//! The joining phase: when a group prepares a new generation, how long it waits, and who is in it.
//!
//! Runs on the shard that owns the group; only the record of a group that became empty goes to the log from here.
//! What must hold: a group in this phase always has a join timer; the generation grows by one each time the phase
//! ends; every parked JoinGroup of the phase is answered when it ends.

use crate::errors::ErrorCode;
use crate::group::group::{Group, JoinTimer};
use crate::group::records::Change;
use crate::group::reply::{GroupReply, JoinReply, JoinedMember, SyncReply};
use crate::group::state::GroupState;
use crate::group::step::{Step, Then, Token};

use bytes::Bytes;

impl Group {
    /// Starts a rebalance where the state allows it, else ends the joining phase if everyone is there.
    pub(crate) fn prepare_or_complete(&mut self, step: &mut Step<'_>) {
        if self.state.may_become(GroupState::PreparingRebalance) {
            self.prepare_rebalance(step);
        } else {
            self.maybe_complete_join(step);
        }
    }

    /// Ends the joining phase if everyone is there; the first generation waits for its delay in any case.
    pub(crate) fn maybe_complete_join(&mut self, step: &mut Step<'_>) {
        let waiting = self.is(GroupState::PreparingRebalance) && self.previous_state != GroupState::Empty;
        if waiting && self.has_all_members_joined() {
            self.complete_join(step);
        }
    }

    /// Enters the joining phase.
    pub(crate) fn prepare_rebalance(&mut self, step: &mut Step<'_>) {
        if self.is(GroupState::CompletingRebalance) {
            self.refuse_syncs(step, ErrorCode::RebalanceInProgress);
        }
        self.pending_syncs.clear();
        self.sync_deadline = None;
        self.assignment_in_flight = false;
        let is_initial = self.is(GroupState::Empty);
        self.become_state(GroupState::PreparingRebalance, step.clock.wall);
        if is_initial {
            self.new_member_added = false;
            let delay_ms = step.config.initial_rebalance_delay_ms;
            let remaining_ms = (self.rebalance_timeout_ms() - delay_ms).max(0);
            self.wait_initially(step, delay_ms, remaining_ms);
        } else if self.has_all_members_joined() {
            self.complete_join(step);
        } else {
            self.wait_for_members(step);
        }
    }

    fn wait_initially(&mut self, step: &Step<'_>, delay_ms: i32, remaining_ms: i32) {
        let deadline = step.clock.now.after_ms(i64::from(delay_ms));
        self.join_timer = Some(JoinTimer::Initial { deadline, delay_ms, remaining_ms });
        self.note_deadline(deadline);
    }

    fn wait_for_members(&mut self, step: &Step<'_>) {
        let deadline = step.clock.now.after_ms(i64::from(self.rebalance_timeout_ms()));
        self.join_timer = Some(JoinTimer::Rebalance { deadline });
        self.note_deadline(deadline);
    }

    /// The join timer fired: the first generation waits on while members keep coming, any other ends the phase.
    pub(crate) fn expire_join(&mut self, step: &mut Step<'_>) {
        match self.join_timer {
            Some(JoinTimer::Initial { delay_ms, remaining_ms, .. })
                if self.new_member_added && remaining_ms != 0 =>
            {
                self.new_member_added = false;
                let next_delay_ms = step.config.initial_rebalance_delay_ms.min(remaining_ms);
                self.wait_initially(step, next_delay_ms, (remaining_ms - delay_ms).max(0));
            }
            Some(JoinTimer::Initial { .. } | JoinTimer::Rebalance { .. }) => self.complete_join(step),
            None => {}
        }
    }

    /// Ends the joining phase: who has not come back is out, static members excepted, and the rest is the next
    /// generation. Where no member at all came back, the phase starts over until sessions end.
    pub(crate) fn complete_join(&mut self, step: &mut Step<'_>) {
        assert!(
            self.is(GroupState::PreparingRebalance),
            "only a group that prepares a rebalance completes it"
        );
        self.join_timer = None;
        let absent =
            self.members.values().filter(|m| m.awaiting_join.is_none() && m.group_instance_id.is_none());
        let absent: Vec<String> = absent.map(|member| member.member_id.clone()).collect();
        for member_id in absent {
            self.remove(&member_id);
        }
        if !self.members.is_empty() && !self.elect_joined_leader() {
            self.wait_for_members(step);
            return;
        }
        self.generation_id = self.generation_id.checked_add(1).unwrap_or(1);
        self.pending_syncs.clear();
        if self.members.is_empty() {
            self.complete_empty(step);
        } else {
            self.complete_generation(step);
        }
    }

    /// Makes sure that the leader is a member that came back; false if none did.
    fn elect_joined_leader(&mut self) -> bool {
        let joined =
            |member_id: &String| self.members.get(member_id).is_some_and(|m| m.awaiting_join.is_some());
        if self.leader.as_ref().is_some_and(joined) {
            return true;
        }
        let elected = self.members.values().find(|member| member.awaiting_join.is_some());
        let elected = elected.map(|member| member.member_id.clone());
        match elected {
            Some(member_id) => {
                self.leader = Some(member_id);
                true
            }
            None => false,
        }
    }

    fn complete_empty(&mut self, step: &mut Step<'_>) {
        self.protocol = None;
        self.become_state(GroupState::Empty, step.clock.wall);
        self.subscribed_topics = self.compute_subscribed_topics();
        let metadata = self.metadata(|_| Bytes::new());
        let change = Change::Group { group: self.id.clone(), value: Some(metadata) };
        step.append(vec![change], Then::Nothing);
    }

    fn complete_generation(&mut self, step: &mut Step<'_>) {
        let protocol =
            self.select_protocol().expect("every member that joined shares a protocol with all others");
        self.protocol = Some(protocol);
        self.subscribed_topics = self.compute_subscribed_topics();
        self.become_state(GroupState::CompletingRebalance, step.clock.wall);
        let members: Vec<String> = self.members.keys().cloned().collect();
        for member_id in members {
            let reply = self.joined_reply(&member_id);
            self.answer_join(step, &member_id, reply);
            self.reset_session(step.clock.now, &member_id);
            if let Some(member) = self.members.get_mut(&member_id) {
                member.is_new = false;
            }
            self.pending_syncs.insert(member_id);
        }
        let deadline = step.clock.now.after_ms(i64::from(self.rebalance_timeout_ms()));
        self.sync_deadline = Some(deadline);
        self.note_deadline(deadline);
    }

    /// What `member_id` is told about the present generation: the leader hears of all members.
    pub(crate) fn joined_reply(&self, member_id: &str) -> JoinReply {
        let members = if self.is_leader(member_id) { self.joined_members() } else { Vec::new() };
        JoinReply {
            error: ErrorCode::None,
            generation_id: self.generation_id,
            protocol_type: self.protocol_type.clone(),
            protocol_name: self.protocol.clone(),
            leader: self.leader.clone().unwrap_or_default(),
            skip_assignment: false,
            member_id: member_id.to_owned(),
            members,
        }
    }

    fn joined_members(&self) -> Vec<JoinedMember> {
        let protocol = self.protocol.as_deref().unwrap_or_default();
        let members = self.members.values().map(|member| JoinedMember {
            member_id: member.member_id.clone(),
            group_instance_id: member.group_instance_id.clone(),
            metadata: member.metadata(protocol),
        });
        members.collect()
    }

    /// Parks a JoinGroup. One that was parked for the same member is from a connection that the client gave up.
    pub(crate) fn park_join(&mut self, step: &mut Step<'_>, member_id: &str, token: Token) {
        let previous = self.change(member_id, |member| member.awaiting_join.replace(token));
        if let Some(previous) = previous {
            let reply = JoinReply::refused(member_id.to_owned(), ErrorCode::RebalanceInProgress);
            step.reply(previous, GroupReply::Join(reply));
        }
    }

    /// Answers a member's parked JoinGroup, if there is one.
    pub(crate) fn answer_join(&mut self, step: &mut Step<'_>, member_id: &str, reply: JoinReply) {
        let parked = self.change(member_id, |member| member.awaiting_join.take());
        if let Some(token) = parked {
            step.reply(token, GroupReply::Join(reply));
        }
    }

    /// Takes every assignment of the generation back and refuses the parked SyncGroups.
    pub(crate) fn refuse_syncs(&mut self, step: &mut Step<'_>, error: ErrorCode) {
        let members: Vec<String> = self.members.keys().cloned().collect();
        for member_id in members {
            let member = self.members.get_mut(&member_id).expect("the keys were just read");
            member.assignment = Bytes::new();
            if let Some(token) = member.awaiting_sync.take() {
                step.reply(token, GroupReply::Sync(SyncReply::refused(error)));
                self.reset_session(step.clock.now, &member_id);
            }
        }
    }

    /// Answers every parked request with NOT_COORDINATOR: the group is served elsewhere from now on.
    pub(crate) fn unload(&mut self, step: &mut Step<'_>) {
        let members: Vec<String> = self.members.keys().cloned().collect();
        for member_id in members {
            let reply = JoinReply::refused(member_id.clone(), ErrorCode::NotCoordinator);
            self.answer_join(step, &member_id, reply);
            self.answer_sync(step, &member_id, ErrorCode::NotCoordinator);
        }
    }
}
