//! A group's deadlines: sessions, promised member ids, the end of joining, the end of syncing.
//!
//! Held by the shard that owns the group, all monotonic, none on disk: a loaded group starts its sessions anew. A
//! heartbeat only moves one number: the coordinator keeps one armed moment per group that is never later than the
//! group's first deadline, and what fires too early finds nothing due and is armed again.

use crate::group::group::{Group, JoinTimer};
use crate::group::step::Step;
use crate::time::Monotonic;

/// A deadline of a group, in the order in which those of one moment are served.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    Session(String),
    Promise(String),
    Join,
    Sync,
}

impl Group {
    /// Remembers that something of the group is due at `deadline`.
    pub(crate) fn note_deadline(&mut self, deadline: Monotonic) {
        self.earliest_deadline = Some(self.earliest_deadline.map_or(deadline, |known| known.min(deadline)));
    }

    /// Starts a member's session anew.
    pub(crate) fn reset_session(&mut self, now: Monotonic, member_id: &str) {
        if let Some(member) = self.members.get(member_id) {
            self.expire_session_after(now, member_id, member.session_timeout_ms);
        }
    }

    /// Lets a member's session end `timeout_ms` from now, at least a millisecond.
    pub(crate) fn expire_session_after(&mut self, now: Monotonic, member_id: &str, timeout_ms: i32) {
        let deadline = now.after_ms(i64::from(timeout_ms.max(1)));
        if let Some(member) = self.members.get_mut(member_id) {
            member.session_deadline = Some(deadline);
            self.note_deadline(deadline);
        }
    }

    /// Starts every member's session: what a group that was loaded from the log needs.
    pub(crate) fn reset_all_sessions(&mut self, now: Monotonic) {
        let members: Vec<String> = self.members.keys().cloned().collect();
        for member_id in members {
            self.reset_session(now, &member_id);
        }
    }

    /// The first of the group's deadlines.
    pub(crate) fn next_deadline(&self) -> Option<Monotonic> {
        let sessions = self.members.values().filter_map(|member| member.session_deadline);
        let promises = self.pending_joins.values().copied();
        let join = self.join_timer.map(JoinTimer::deadline);
        sessions.chain(promises).chain(join).chain(self.sync_deadline).min()
    }

    /// Serves every deadline that has passed, the earliest first.
    pub(crate) fn fire(&mut self, step: &mut Step<'_>) {
        let now = step.clock.now;
        for (deadline, due) in self.due(now) {
            match due {
                Due::Session(member_id) => {
                    let still = self.members.get(&member_id).and_then(|m| m.session_deadline);
                    if still == Some(deadline) {
                        self.expire_session(step, &member_id);
                    }
                }
                Due::Promise(member_id) => {
                    if self.pending_joins.get(&member_id) == Some(&deadline) {
                        self.expire_promise(step, &member_id);
                    }
                }
                Due::Join => {
                    if self.join_timer.is_some_and(|timer| timer.deadline() == deadline) {
                        self.expire_join(step);
                    }
                }
                Due::Sync => {
                    if self.sync_deadline == Some(deadline) {
                        self.expire_sync(step);
                    }
                }
            }
        }
        self.earliest_deadline = self.next_deadline();
    }

    fn due(&self, now: Monotonic) -> Vec<(Monotonic, Due)> {
        let sessions = self.members.values().filter_map(|member| {
            let deadline = member.session_deadline.filter(|deadline| *deadline <= now)?;
            Some((deadline, Due::Session(member.member_id.clone())))
        });
        let promises = self.pending_joins.iter().filter(|(_, deadline)| **deadline <= now);
        let promises = promises.map(|(member_id, deadline)| (*deadline, Due::Promise(member_id.clone())));
        let join = self.join_timer.map(JoinTimer::deadline).filter(|deadline| *deadline <= now);
        let sync = self.sync_deadline.filter(|deadline| *deadline <= now);
        let mut due: Vec<(Monotonic, Due)> = sessions.chain(promises).collect();
        due.extend(join.map(|deadline| (deadline, Due::Join)));
        due.extend(sync.map(|deadline| (deadline, Due::Sync)));
        due.sort();
        due
    }
}
