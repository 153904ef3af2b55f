//! One member of a group: joins, takes its assignment, sends heartbeats, joins again when it is told to, leaves.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use ottla::errors::ErrorCode;
use ottla_shards::host::{self, sync::Notify};
use ottla_tools::client::ClientError;
use ottla_wire::ApiKey;
use ottla_wire::heartbeat_request::HeartbeatRequest;
use ottla_wire::heartbeat_response::HeartbeatResponse;
use ottla_wire::join_group_request::{JoinGroupRequest, JoinGroupRequestProtocol};
use ottla_wire::join_group_response::JoinGroupResponse;
use ottla_wire::leave_group_request::{LeaveGroupRequest, MemberIdentity};
use ottla_wire::leave_group_response::LeaveGroupResponse;
use ottla_wire::sync_group_request::{SyncGroupRequest, SyncGroupRequestAssignment};
use ottla_wire::sync_group_response::SyncGroupResponse;

use super::Setup;
use super::coordinator::{Coordinator, is_elsewhere};
use super::rebalance::Rebalances;
use crate::engine::Shard;
use crate::error::{code_name, reason};
use crate::link::Link;
use crate::tally::{Kind, nanos};

const PROTOCOL_TYPE: &str = "consumer";
const PROTOCOL: &str = "range";
/// How long members may take to join again, in milliseconds: `max.poll.interval.ms`.
const REBALANCE_TIMEOUT_MS: i32 = 300_000;
/// The first version of LeaveGroup that names members in a list (KIP-345).
const LEAVE_LIST_VERSION_MIN: i16 = 3;
/// The pause before a coordinator that is not ready is asked again.
const PAUSE: Duration = Duration::from_millis(20);
/// How long after the end of the load a member looks for the coordinator to say goodbye to.
const GOODBYE_PATIENCE: Duration = Duration::from_secs(5);

/// A member.
pub(super) struct Member {
    setup: Arc<Setup>,
    coordinator: Rc<Coordinator>,
    rebalances: Rc<Rebalances>,
    shard: Rc<Shard>,
    leaving: Cell<bool>,
    wake: Notify,
    id: RefCell<String>,
}

/// What comes of trying to join.
enum Joined {
    /// A place in this generation.
    Generation(i32),
    /// Try again.
    Again,
    /// Find the coordinator and try again: this broker is not the one, or not yet.
    Elsewhere(i16),
    /// The coordinator does not want the member.
    Refused(i16),
}

impl Member {
    /// Starts a member's task.
    pub(super) fn start(
        setup: &Arc<Setup>,
        coordinator: &Rc<Coordinator>,
        rebalances: &Rc<Rebalances>,
        shard: &Rc<Shard>,
    ) -> Rc<Member> {
        let member = Rc::new(Member {
            setup: Arc::clone(setup),
            coordinator: Rc::clone(coordinator),
            rebalances: Rc::clone(rebalances),
            shard: Rc::clone(shard),
            leaving: Cell::new(false),
            wake: Notify::new(),
            id: RefCell::default(),
        });
        rebalances.count_member(true);
        host::spawn_detached(Rc::clone(&member).run());
        member
    }

    /// Has the member leave as soon as it has its assignment.
    pub(super) fn leave(&self) {
        self.leaving.set(true);
        self.wake.notify_one();
    }

    async fn run(self: Rc<Self>) {
        if let Err(error) = self.live().await {
            self.shard.meter().failed(reason(&error), 1);
        }
        self.rebalances.count_member(false);
    }

    async fn live(&self) -> Result<(), ClientError> {
        let mut link = self.coordinator.connect().await?;
        let mut began = self.shard.shared.now();
        loop {
            match self.join(&mut link).await? {
                Joined::Generation(generation) => {
                    self.count_join(began);
                    if self.stay(&mut link, generation).await? {
                        return self.say_goodbye(&mut link).await;
                    }
                    began = self.shard.shared.now();
                }
                Joined::Again => {}
                Joined::Elsewhere(_) if !self.leaving.get() && self.follow(&mut link).await? => {}
                Joined::Elsewhere(code) | Joined::Refused(code) => {
                    self.shard.meter().failed(code_name(code), 1);
                    return Ok(());
                }
            }
        }
    }

    fn count_join(&self, began: u64) {
        self.shard.took(Kind::Join, began, self.shard.shared.now());
    }

    async fn join(&self, link: &mut Link) -> Result<Joined, ClientError> {
        let metadata = subscription(&self.setup.topic);
        let protocol = JoinGroupRequestProtocol { name: PROTOCOL.into(), metadata: Cow::Borrowed(&metadata) };
        let id = self.id.borrow().clone();
        let request = JoinGroupRequest {
            group_id: self.setup.group.as_str().into(),
            session_timeout_ms: self.setup.session_timeout_ms,
            rebalance_timeout_ms: REBALANCE_TIMEOUT_MS,
            member_id: id.as_str().into(),
            protocol_type: PROTOCOL_TYPE.into(),
            protocols: vec![protocol],
            ..JoinGroupRequest::default()
        };
        let version = self.setup.join_version;
        let (generation, leads, members) = {
            let reply: JoinGroupResponse<'_> = link.call(ApiKey::JoinGroup, version, &request).await?;
            match ErrorCode::from_code(reply.error_code) {
                Some(ErrorCode::None | ErrorCode::MemberIdRequired) => {
                    *self.id.borrow_mut() = reply.member_id.to_string();
                }
                _ => return self.again(reply.error_code).await,
            }
            if reply.error_code != ErrorCode::None.code() {
                return Ok(Joined::Again);
            }
            let members: Vec<String> =
                reply.members.iter().map(|member| member.member_id.to_string()).collect();
            (reply.generation_id, reply.leader == reply.member_id, members)
        };
        if leads {
            self.rebalances.led(generation, members.len());
        }
        self.sync(link, generation, &members).await
    }

    async fn sync(
        &self,
        link: &mut Link,
        generation: i32,
        members: &[String],
    ) -> Result<Joined, ClientError> {
        let shares = shares(&self.setup, members);
        let id = self.id.borrow().clone();
        let assignments = members.iter().zip(&shares).map(|(member, share)| SyncGroupRequestAssignment {
            member_id: member.as_str().into(),
            assignment: Cow::Borrowed(share),
        });
        let version = self.setup.sync_version;
        let (protocol_type, protocol_name) =
            if version >= 5 { (Some(PROTOCOL_TYPE.into()), Some(PROTOCOL.into())) } else { (None, None) };
        let request = SyncGroupRequest {
            group_id: self.setup.group.as_str().into(),
            generation_id: generation,
            member_id: id.as_str().into(),
            protocol_type,
            protocol_name,
            assignments: assignments.collect(),
            ..SyncGroupRequest::default()
        };
        let code = {
            let reply: SyncGroupResponse<'_> = link.call(ApiKey::SyncGroup, version, &request).await?;
            if reply.error_code == ErrorCode::None.code() {
                self.rebalances.assigned(generation, &assigned(&reply.assignment));
            }
            reply.error_code
        };
        if code == ErrorCode::None.code() {
            Ok(Joined::Generation(generation))
        } else {
            self.again(code).await
        }
    }

    /// Connects to whoever is the coordinator now; false where there is none until some time after the load's end.
    async fn follow(&self, link: &mut Link) -> Result<bool, ClientError> {
        let last = nanos(self.setup.end + GOODBYE_PATIENCE);
        while self.shard.shared.now() < last {
            host::sleep(PAUSE).await;
            if self.coordinator.look_up(&self.setup).await? {
                *link = self.coordinator.connect().await?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// What an error of the coordinator means for who tries to join.
    async fn again(&self, code: i16) -> Result<Joined, ClientError> {
        match ErrorCode::from_code(code) {
            Some(ErrorCode::RebalanceInProgress | ErrorCode::IllegalGeneration) => Ok(Joined::Again),
            Some(ErrorCode::UnknownMemberId) => {
                self.id.borrow_mut().clear();
                Ok(Joined::Again)
            }
            Some(ErrorCode::CoordinatorLoadInProgress) if !self.leaving.get() => {
                host::sleep(PAUSE).await;
                Ok(Joined::Again)
            }
            _ if is_elsewhere(code) => Ok(Joined::Elsewhere(code)),
            _ => Ok(Joined::Refused(code)),
        }
    }

    /// Sends heartbeats until the member has to join again (`false`) or leaves (`true`).
    async fn stay(&self, link: &mut Link, generation: i32) -> Result<bool, ClientError> {
        loop {
            if !self.leaving.get() {
                self.pause().await;
            }
            if self.leaving.get() {
                return Ok(true);
            }
            let id = self.id.borrow().clone();
            let request = HeartbeatRequest {
                group_id: self.setup.group.as_str().into(),
                generation_id: generation,
                member_id: id.as_str().into(),
                ..HeartbeatRequest::default()
            };
            let reply: HeartbeatResponse =
                link.call(ApiKey::Heartbeat, self.setup.heartbeat_version, &request).await?;
            match ErrorCode::from_code(reply.error_code) {
                Some(ErrorCode::None) => {}
                Some(ErrorCode::RebalanceInProgress | ErrorCode::IllegalGeneration) => return Ok(false),
                _ if is_elsewhere(reply.error_code) && self.follow(link).await? => {}
                _ => {
                    self.shard.meter().failed(code_name(reply.error_code), 1);
                    self.id.borrow_mut().clear();
                    return Ok(false);
                }
            }
        }
    }

    /// Waits for the next heartbeat's time, or for the word to leave.
    async fn pause(&self) {
        let mut woken = pin!(self.wake.notified());
        let mut sleep = pin!(host::sleep(self.setup.heartbeat));
        poll_fn(|cx| match woken.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(()),
            Poll::Pending => sleep.as_mut().poll(cx),
        })
        .await;
    }

    async fn say_goodbye(&self, link: &mut Link) -> Result<(), ClientError> {
        let id = self.id.borrow().clone();
        let version = self.setup.leave_version;
        let listed = version >= LEAVE_LIST_VERSION_MIN;
        let identity = MemberIdentity { member_id: id.as_str().into(), ..MemberIdentity::default() };
        let request = LeaveGroupRequest {
            group_id: self.setup.group.as_str().into(),
            member_id: if listed { "".into() } else { id.as_str().into() },
            members: if listed { vec![identity] } else { Vec::new() },
        };
        loop {
            let code = {
                let reply: LeaveGroupResponse<'_> = link.call(ApiKey::LeaveGroup, version, &request).await?;
                reply.error_code
            };
            if is_elsewhere(code) && self.follow(link).await? {
                continue;
            }
            if code != ErrorCode::None.code() {
                self.shard.meter().failed(code_name(code), 1);
            }
            return Ok(());
        }
    }
}

/// The subscription to one topic, as Kafka's `ConsumerProtocolSubscription` version 0.
fn subscription(topic: &str) -> Vec<u8> {
    let mut bytes = vec![0, 0];
    bytes.extend_from_slice(&1_i32.to_be_bytes());
    put_text(&mut bytes, topic);
    bytes.extend_from_slice(&(-1_i32).to_be_bytes());
    bytes
}

/// Each member's share, as Kafka's `ConsumerProtocolAssignment` version 0: every member every so many partitions.
fn shares(setup: &Setup, members: &[String]) -> Vec<Vec<u8>> {
    let share = |nth: usize| {
        let own: Vec<i32> = setup.partitions.iter().copied().skip(nth).step_by(members.len()).collect();
        let mut bytes = vec![0, 0];
        bytes.extend_from_slice(&1_i32.to_be_bytes());
        put_text(&mut bytes, &setup.topic);
        bytes.extend_from_slice(&(own.len() as i32).to_be_bytes());
        own.iter().for_each(|partition| bytes.extend_from_slice(&partition.to_be_bytes()));
        bytes.extend_from_slice(&(-1_i32).to_be_bytes());
        bytes
    };
    (0..members.len()).map(share).collect()
}

fn put_text(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend_from_slice(&(text.len() as i16).to_be_bytes());
    bytes.extend_from_slice(text.as_bytes());
}

/// The partitions of an assignment that [`shares`] made; none where it is cut.
fn assigned(bytes: &[u8]) -> Vec<i32> {
    let number = |at: usize| bytes.get(at..at + 4)?.first_chunk().map(|part| i32::from_be_bytes(*part));
    let topic =
        bytes.get(6..8).and_then(|part| part.first_chunk()).map_or(0, |part| u16::from_be_bytes(*part));
    let at = 8 + usize::from(topic);
    let count = usize::try_from(number(at).unwrap_or(0)).unwrap_or(0);
    (0..count).map_while(|nth| number(at + 4 + 4 * nth)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_disjoint_and_whole_and_can_be_read() {
        let setup = Setup {
            group: "g".to_owned(),
            topic: "some-topic".to_owned(),
            partitions: (0..7).collect(),
            coordinator: Vec::new(),
            brokers: Vec::new(),
            find_version: 0,
            join_version: 0,
            sync_version: 0,
            heartbeat_version: 0,
            leave_version: 0,
            members: 3,
            change_every: Duration::ZERO,
            heartbeat: Duration::ZERO,
            session_timeout_ms: 0,
            end: Duration::ZERO,
            left_out: Default::default(),
            is_stuck: Default::default(),
        };
        let members = ["a", "b", "c"].map(str::to_owned);
        let shares: Vec<Vec<i32>> = shares(&setup, &members).iter().map(|share| assigned(share)).collect();
        assert_eq!(shares, [vec![0, 3, 6], vec![1, 4], vec![2, 5]]);
        assert!(assigned(&[]).is_empty());
        assert_eq!(subscription("ab"), [0, 0, 0, 0, 0, 1, 0, 2, b'a', b'b', 255, 255, 255, 255]);
    }
}
