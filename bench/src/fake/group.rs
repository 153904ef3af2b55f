//! The fake broker as a group's coordinator, of groups of one member: whoever joins leads a generation of its own.

use ottla::errors::ErrorCode;
use ottla_wire::ApiKey;
use ottla_wire::find_coordinator_request::FindCoordinatorRequest;
use ottla_wire::find_coordinator_response::{Coordinator, FindCoordinatorResponse};
use ottla_wire::heartbeat_response::HeartbeatResponse;
use ottla_wire::join_group_request::JoinGroupRequest;
use ottla_wire::join_group_response::{JoinGroupResponse, JoinGroupResponseMember};
use ottla_wire::leave_group_response::LeaveGroupResponse;
use ottla_wire::sync_group_request::SyncGroupRequest;
use ottla_wire::sync_group_response::SyncGroupResponse;

use super::{Connection, NODE};

/// What the broker has seen of groups.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    /// Times that the coordinator was asked for.
    pub lookups: u32,
    /// Members that said goodbye.
    pub goodbyes: u32,
    /// The kinds of requests that have found the coordinator gone.
    moved: Vec<ApiKey>,
    /// Nobody has asked for the coordinator since it was gone.
    is_elsewhere: bool,
    generation: i32,
    syncs: usize,
}

impl Connection {
    /// Whether the request finds another broker to be the coordinator.
    fn coordinator_code(&self, api: ApiKey) -> i16 {
        let groups = &mut self.seen().groups;
        if self.shared.script.coordinator_moves.contains(&api) && !groups.moved.contains(&api) {
            groups.moved.push(api);
            groups.is_elsewhere = true;
        }
        let code = if groups.is_elsewhere { ErrorCode::NotCoordinator } else { ErrorCode::None };
        code.code()
    }

    pub(super) fn find_coordinator(
        &self,
        request: &FindCoordinatorRequest<'_>,
    ) -> FindCoordinatorResponse<'static> {
        let groups = &mut self.seen().groups;
        groups.lookups += 1;
        groups.is_elsewhere = false;
        let group = request.coordinator_keys.first().expect("the newest version is spoken");
        let coordinator = Coordinator {
            key: group.to_string().into(),
            node_id: NODE,
            host: self.shared.address.ip().to_string().into(),
            port: i32::from(self.shared.address.port()),
            ..Coordinator::default()
        };
        FindCoordinatorResponse { coordinators: vec![coordinator], ..FindCoordinatorResponse::default() }
    }

    pub(super) fn join_group(&self, request: &JoinGroupRequest<'_>) -> JoinGroupResponse<'static> {
        let error_code = self.coordinator_code(ApiKey::JoinGroup);
        let groups = &mut self.seen().groups;
        groups.generation += 1;
        let member = match request.member_id.as_ref() {
            "" => format!("member-{}", groups.generation),
            known => known.to_owned(),
        };
        let joined = JoinGroupResponseMember { member_id: member.clone().into(), ..Default::default() };
        JoinGroupResponse {
            error_code,
            generation_id: groups.generation,
            leader: member.clone().into(),
            member_id: member.into(),
            members: vec![joined],
            ..JoinGroupResponse::default()
        }
    }

    /// Whether the answer to this SyncGroup takes its time.
    pub(super) fn is_slow_sync(&self) -> bool {
        let groups = &mut self.seen().groups;
        groups.syncs += 1;
        groups.syncs > self.shared.script.quick_syncs
    }

    pub(super) fn sync_group(&self, request: &SyncGroupRequest<'_>) -> SyncGroupResponse<'static> {
        let error_code = self.coordinator_code(ApiKey::SyncGroup);
        let own = request.assignments.iter().find(|share| share.member_id == request.member_id);
        let assignment = own.expect("the leader has assigned itself").assignment.to_vec().into();
        SyncGroupResponse { error_code, assignment, ..SyncGroupResponse::default() }
    }

    pub(super) fn heartbeat(&self) -> HeartbeatResponse {
        HeartbeatResponse {
            error_code: self.coordinator_code(ApiKey::Heartbeat),
            ..HeartbeatResponse::default()
        }
    }

    pub(super) fn leave_group(&self) -> LeaveGroupResponse<'static> {
        let error_code = self.coordinator_code(ApiKey::LeaveGroup);
        self.seen().groups.goodbyes += u32::from(error_code == ErrorCode::None.code());
        LeaveGroupResponse { error_code, ..LeaveGroupResponse::default() }
    }
}
