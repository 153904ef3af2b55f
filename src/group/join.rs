//! JoinGroup: who may become a member, under which id, and whether that starts a rebalance.
//!
//! Runs on the shard that owns the group. Only a static member that takes its predecessor's place in a stable group
//! writes a record from here (KIP-345). What must hold: an instance id has one member; a member that was told an id
//! is either promised, a member, or expired; a request is answered or parked, never both.

use crate::errors::ErrorCode;
use crate::group::config::GroupConfig;
use crate::group::group::Group;
use crate::group::member::{Member, distinct, protocols_bytes};
use crate::group::records::Change;
use crate::group::reply::{GroupReply, JoinReply};
use crate::group::request::JoinGroup;
use crate::group::state::GroupState;
use crate::group::step::{Arrival, StaticReplacement, Step, Then, Token, append_error_to_response};
use crate::limits::{
    GROUP_MEMBER_ID_NAME_BYTES_MAX, GROUP_MEMBERS_MAX, GROUP_METADATA_BYTES_MAX, GROUP_PENDING_MEMBERS_MAX,
};

impl Group {
    /// Handles a JoinGroup whose group id and session timeout are in order.
    pub(crate) fn join(&mut self, step: &mut Step<'_>, arrival: Arrival, request: JoinGroup) {
        if !self.accepts(step.config, &request) {
            refuse_join(step, arrival.token, String::new(), ErrorCode::GroupMaxSizeReached);
            self.remove(&request.member_id);
            self.maybe_complete_join(step);
            return;
        }
        if let Some(error) = self.join_error(&request) {
            refuse_join(step, arrival.token, request.member_id, error);
        } else if request.member_id.is_empty() {
            self.join_new(step, arrival, request);
        } else {
            self.join_known(step, arrival.token, request);
        }
    }

    /// Whether `group.max.size` has room. While a rebalance is prepared only members that came back count, so that a
    /// group above a lowered maximum loses its last comers. A static member that comes back is not one more.
    fn accepts(&self, config: &GroupConfig, request: &JoinGroup) -> bool {
        let max = members_max(config);
        let returning = request.group_instance_id.as_ref().filter(|_| request.member_id.is_empty());
        let returning = returning.and_then(|instance_id| self.static_members.get(instance_id));
        let member = self.members.get(returning.unwrap_or(&request.member_id));
        match self.state {
            GroupState::Empty | GroupState::Dead => true,
            GroupState::PreparingRebalance => {
                member.is_some_and(|m| m.awaiting_join.is_some()) || self.awaiting_join_count < max
            }
            GroupState::CompletingRebalance | GroupState::Stable => {
                member.is_some() || self.members.len() < max
            }
        }
    }

    /// What every JoinGroup is refused for.
    fn join_error(&self, request: &JoinGroup) -> Option<ErrorCode> {
        if self.is(GroupState::Dead) {
            return Some(ErrorCode::CoordinatorNotAvailable);
        }
        if !self.supports(&request.protocol_type, &request.protocols) {
            return Some(ErrorCode::InconsistentGroupProtocol);
        }
        let bytes_before = self.members.get(&request.member_id).map_or(0, Member::metadata_bytes);
        let bytes = self.metadata_bytes() - bytes_before + protocols_bytes(&request.protocols);
        (bytes > GROUP_METADATA_BYTES_MAX).then_some(ErrorCode::GroupMaxSizeReached)
    }

    fn join_new(&mut self, step: &mut Step<'_>, arrival: Arrival, request: JoinGroup) {
        if let Some(instance_id) = request.group_instance_id.clone() {
            let member_id = member_id(&instance_id, arrival.random);
            match self.static_members.get(&instance_id).cloned() {
                Some(old) => self.replace_static(step, arrival.token, request, [old, member_id]),
                None => self.add_and_rebalance(step, arrival.token, member_id, request),
            }
            return;
        }
        let member_id = member_id(&request.client_id, arrival.random);
        if request.requires_member_id {
            self.promise(step, arrival.token, member_id, &request);
        } else {
            self.add_and_rebalance(step, arrival.token, member_id, request);
        }
    }

    /// Hands out a member id that the client must come back with (KIP-394), so that a client that retries does not
    /// leave members behind that every rebalance waits for.
    fn promise(&mut self, step: &mut Step<'_>, token: Token, member_id: String, request: &JoinGroup) {
        if self.pending_joins.len() >= GROUP_PENDING_MEMBERS_MAX {
            return refuse_join(step, token, String::new(), ErrorCode::GroupMaxSizeReached);
        }
        assert!(!self.members.contains_key(&member_id), "a generated member id is unique");
        let deadline = step.clock.now.after_ms(i64::from(request.session_timeout_ms.max(1)));
        self.pending_joins.insert(member_id.clone(), deadline);
        self.note_deadline(deadline);
        refuse_join(step, token, member_id, ErrorCode::MemberIdRequired);
    }

    fn join_known(&mut self, step: &mut Step<'_>, token: Token, request: JoinGroup) {
        let member_id = request.member_id.clone();
        if self.pending_joins.contains_key(&member_id) && request.group_instance_id.is_none() {
            return self.add_and_rebalance(step, token, member_id, request);
        }
        if let Err(error) = self.validate_member(&member_id, request.group_instance_id.as_deref()) {
            return refuse_join(step, token, member_id, error);
        }
        let same = self.members.get(&member_id).is_some_and(|m| m.protocols == request.protocols);
        match self.state {
            GroupState::CompletingRebalance if same => {
                // The member may have missed the first answer.
                let reply = self.joined_reply(&member_id);
                step.reply(token, GroupReply::Join(reply));
            }
            GroupState::Stable if same && !self.is_leader(&member_id) => {
                let reply = self.joined_reply(&member_id);
                step.reply(token, GroupReply::Join(reply));
            }
            GroupState::PreparingRebalance | GroupState::CompletingRebalance | GroupState::Stable => {
                // A leader that joins again wants a rebalance even if nothing of its own changed: topics may have.
                self.update_member(step, &member_id, request, token);
                self.prepare_or_complete(step);
            }
            GroupState::Empty | GroupState::Dead => {
                refuse_join(step, token, member_id, ErrorCode::UnknownMemberId);
            }
        }
    }

    /// Whether the member exists, and holds the instance id if it names one.
    pub(crate) fn validate_member(
        &self,
        member_id: &str,
        instance_id: Option<&str>,
    ) -> Result<(), ErrorCode> {
        if let Some(instance_id) = instance_id {
            match self.static_members.get(instance_id) {
                None => return Err(ErrorCode::UnknownMemberId),
                Some(holder) if holder != member_id => return Err(ErrorCode::FencedInstanceId),
                Some(_) => {}
            }
        }
        if self.members.contains_key(member_id) { Ok(()) } else { Err(ErrorCode::UnknownMemberId) }
    }

    fn update_member(&mut self, step: &mut Step<'_>, member_id: &str, request: JoinGroup, token: Token) {
        self.change(member_id, |member| {
            member.protocols = distinct(request.protocols);
            member.rebalance_timeout_ms = request.rebalance_timeout_ms;
            member.session_timeout_ms = request.session_timeout_ms;
        });
        self.park_join(step, member_id, token);
    }

    fn add_and_rebalance(
        &mut self,
        step: &mut Step<'_>,
        token: Token,
        member_id: String,
        request: JoinGroup,
    ) {
        if self.is(GroupState::PreparingRebalance) && self.previous_state == GroupState::Empty {
            self.new_member_added = true;
        }
        if self.members.is_empty() {
            self.protocol_type = Some(request.protocol_type.clone());
        }
        self.insert(Member::joining(member_id.clone(), request));
        self.park_join(step, &member_id, token);
        // The member does not know its id yet and cannot heartbeat, and a connection that is gone shows nowhere:
        // the parked request itself gets a deadline.
        self.expire_session_after(step.clock.now, &member_id, step.config.new_member_join_timeout_ms);
        self.prepare_or_complete(step);
    }

    /// A static member without a member id came back: it takes its predecessor's place, and the predecessor, if it
    /// still runs, is fenced.
    fn replace_static(&mut self, step: &mut Step<'_>, token: Token, request: JoinGroup, ids: [String; 2]) {
        let [old_member_id, new_member_id] = ids;
        let previous_leader = self.leader.clone().unwrap_or_default();
        let predecessor = self.take_predecessor(step, &old_member_id);
        let mut successor = predecessor.clone();
        successor.member_id.clone_from(&new_member_id);
        self.put_successor(&old_member_id, successor);
        self.reset_session(step.clock.now, &new_member_id);
        let supports_skip_assignment = request.supports_skip_assignment;
        let group_instance_id =
            request.group_instance_id.clone().expect("a static member has an instance id");
        self.update_member(step, &new_member_id, request, token);
        match self.state {
            GroupState::Stable if self.select_protocol() == self.protocol => {
                let metadata = self.metadata(|member| member.assignment.clone());
                let change = Change::Group { group: self.id.clone(), value: Some(metadata) };
                let replacement = StaticReplacement {
                    group_id: self.id.clone(),
                    generation_id: self.generation_id,
                    group_instance_id,
                    new_member_id,
                    token,
                    predecessor,
                    previous_leader,
                    supports_skip_assignment,
                };
                step.append(vec![change], Then::ReplaceStatic(Box::new(replacement)));
            }
            // The leader may already have the old id in the assignment that it computes.
            GroupState::Stable | GroupState::CompletingRebalance => self.prepare_rebalance(step),
            GroupState::PreparingRebalance => self.maybe_complete_join(step),
            GroupState::Empty | GroupState::Dead => {
                unreachable!("a static member exists, so the group has members")
            }
        }
    }

    /// Removes a member without electing another leader, fencing whoever waits under its id.
    fn take_predecessor(&mut self, step: &mut Step<'_>, member_id: &str) -> Member {
        let fenced = JoinReply::refused(member_id.to_owned(), ErrorCode::FencedInstanceId);
        self.answer_join(step, member_id, fenced);
        self.answer_sync(step, member_id, ErrorCode::FencedInstanceId);
        let leader = self.leader.take();
        let pending_sync = self.pending_syncs.contains(member_id);
        let mut member = self.remove(member_id).expect("the static index names a member");
        member.is_new = false;
        self.leader = leader;
        if pending_sync {
            self.pending_syncs.insert(member_id.to_owned());
        }
        member
    }

    /// Puts `successor` where `old_member_id` was: as leader, and among those who owe a SyncGroup.
    fn put_successor(&mut self, old_member_id: &str, successor: Member) {
        let new_member_id = successor.member_id.clone();
        if self.is_leader(old_member_id) {
            self.leader = Some(new_member_id.clone());
        }
        if self.pending_syncs.remove(old_member_id) {
            self.pending_syncs.insert(new_member_id);
        }
        self.insert(successor);
    }

    /// The record of a static member's new id is durable, or could not be written: then the predecessor is back,
    /// unless yet another member took its place or a rebalance began, which writes the members anyway.
    pub(crate) fn static_replaced(
        &mut self,
        step: &mut Step<'_>,
        replaced: StaticReplacement,
        result: Result<(), ErrorCode>,
    ) {
        let member_id = replaced.new_member_id.clone();
        let waiting = self.members.get(&member_id).and_then(|member| member.awaiting_join);
        let unchanged = self.is(GroupState::Stable) && self.generation_id == replaced.generation_id;
        if !unchanged || waiting != Some(replaced.token) {
            return;
        }
        match result {
            Ok(()) => {
                self.subscribed_topics = self.compute_subscribed_topics();
                let reply = self.replaced_reply(&replaced);
                self.answer_join(step, &member_id, reply);
                self.reset_session(step.clock.now, &member_id);
            }
            Err(error) => self.undo_replacement(step, replaced, append_error_to_response(error)),
        }
    }

    /// A client that cannot skip the assignment is told the old leader's id, so that it does not believe to lead and
    /// hand in an assignment for a generation that has one.
    fn replaced_reply(&self, replaced: &StaticReplacement) -> JoinReply {
        let mut reply = self.joined_reply(&replaced.new_member_id);
        if replaced.supports_skip_assignment {
            reply.skip_assignment = self.is_leader(&replaced.new_member_id);
        } else {
            reply.leader.clone_from(&replaced.previous_leader);
            reply.members.clear();
        }
        reply
    }

    fn undo_replacement(&mut self, step: &mut Step<'_>, replaced: StaticReplacement, error: ErrorCode) {
        let holder = self.static_members.get(&replaced.group_instance_id);
        assert_eq!(holder, Some(&replaced.new_member_id), "a waiting successor holds its instance id");
        let reply = JoinReply {
            generation_id: self.generation_id,
            protocol_type: self.protocol_type.clone(),
            protocol_name: self.protocol.clone(),
            leader: replaced.previous_leader,
            ..JoinReply::refused(String::new(), error)
        };
        self.answer_join(step, &replaced.new_member_id, reply);
        self.take_predecessor(step, &replaced.new_member_id);
        let member_id = replaced.predecessor.member_id.clone();
        self.put_successor(&replaced.new_member_id, replaced.predecessor);
        self.reset_session(step.clock.now, &member_id);
    }

    /// A promised member id was not used in time.
    pub(crate) fn expire_promise(&mut self, step: &mut Step<'_>, member_id: &str) {
        self.pending_joins.remove(member_id);
        if self.is(GroupState::PreparingRebalance) && self.has_all_members_joined() {
            self.complete_join(step);
        }
    }

    /// A group that was loaded with more members than `group.max.size` allows rebalances, so that the last comers
    /// are refused after they could commit.
    pub(crate) fn shrink_if_over_capacity(&mut self, step: &mut Step<'_>) {
        if self.members.len() > members_max(step.config) {
            self.prepare_rebalance(step);
        }
    }
}

/// The most members of a group.
fn members_max(config: &GroupConfig) -> usize {
    usize::try_from(config.max_size).unwrap_or(1).min(GROUP_MEMBERS_MAX)
}

/// Answers a JoinGroup with `error`.
pub(crate) fn refuse_join(step: &mut Step<'_>, token: Token, member_id: String, error: ErrorCode) {
    step.reply(token, GroupReply::Join(JoinReply::refused(member_id, error)));
}

/// A member id as Kafka makes it: the client's or instance's name, a dash, and a random UUID.
fn member_id(name: &str, random: u128) -> String {
    let mut end = name.len().min(GROUP_MEMBER_ID_NAME_BYTES_MAX);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    let version_4 = (random & !(0xf << 76) & !(0b11 << 62)) | (0x4 << 76) | (0b10 << 62);
    let hex = format!("{version_4:032x}");
    let (a, b, c, d, e) = (&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]);
    format!("{}-{a}-{b}-{c}-{d}-{e}", &name[..end])
}

#[cfg(test)]
mod tests {
    use super::member_id;
    use crate::limits::GROUP_MEMBER_ID_NAME_BYTES_MAX;

    #[test]
    fn member_ids_are_a_name_and_a_random_uuid() {
        assert_eq!(member_id("client", 0), "client-00000000-0000-4000-8000-000000000000");
        assert_eq!(member_id("", u128::MAX), "-ffffffff-ffff-4fff-bfff-ffffffffffff");
        let long = "ä".repeat(GROUP_MEMBER_ID_NAME_BYTES_MAX);
        let id = member_id(&long, 7);
        assert_eq!(id.len(), GROUP_MEMBER_ID_NAME_BYTES_MAX + 37);
    }
}
