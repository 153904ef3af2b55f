//! FindCoordinator, versions 0 to 6: which broker serves a group.
//!
//! Stateless, on the connection's shard, answered from the metadata image alone. What must hold: a kind of coordinator
//! that is not served here is an error with a reason, for transactions one that clients take as final.

use std::borrow::Cow;

use ottla_wire::find_coordinator_request::FindCoordinatorRequest;
use ottla_wire::find_coordinator_response::{Coordinator, FindCoordinatorResponse};

use super::text;
use crate::errors::ErrorCode;

/// Several keys in one request (KIP-699).
const BATCHED_FROM: i16 = 4;
/// Share coordinators exist (KIP-932).
const SHARE_FROM: i16 = 6;

const KEY_TYPE_GROUP: i8 = 0;
const KEY_TYPE_TRANSACTION: i8 = 1;
const KEY_TYPE_SHARE: i8 = 2;

/// A broker, at the address of the listener that the request came through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoordinatorNode {
    /// Its `node.id`.
    pub node_id: i32,
    /// Its advertised host.
    pub host: String,
    /// Its advertised port.
    pub port: i32,
}

/// One key's answer.
struct Found {
    error: ErrorCode,
    message: Option<Cow<'static, str>>,
    node: CoordinatorNode,
}

/// Whether a request asks for the coordinator of a group, for which `__consumer_offsets` has to be there.
#[must_use]
pub fn needs_offsets_topic(request: &FindCoordinatorRequest<'_>) -> bool {
    request.key_type == KEY_TYPE_GROUP
}

/// The response; `coordinator_of` names the broker of a group, or nobody while `__consumer_offsets` is not ready.
#[must_use]
pub fn answer(
    version: i16,
    request: &FindCoordinatorRequest<'_>,
    coordinator_of: impl Fn(&str) -> Option<CoordinatorNode>,
) -> FindCoordinatorResponse<'static> {
    if version >= BATCHED_FROM {
        let coordinators = request.coordinator_keys.iter().map(|key| {
            let found = find(version, request.key_type, key, &coordinator_of);
            Coordinator {
                key: text(key.to_string()),
                node_id: found.node.node_id,
                host: text(found.node.host),
                port: found.node.port,
                error_code: found.error.code(),
                error_message: found.message,
            }
        });
        return FindCoordinatorResponse { coordinators: coordinators.collect(), ..nobody() };
    }
    let found = find(version, request.key_type, &request.key, &coordinator_of);
    FindCoordinatorResponse {
        throttle_time_ms: 0,
        error_code: found.error.code(),
        // Kafka says NONE here rather than nothing.
        error_message: found.message.or(Some(Cow::Borrowed(found.error.name()))),
        node_id: found.node.node_id,
        host: text(found.node.host),
        port: found.node.port,
        coordinators: Vec::new(),
    }
}

/// The fields that a batched response does not have, at their defaults.
fn nobody() -> FindCoordinatorResponse<'static> {
    FindCoordinatorResponse::default()
}

fn find(
    version: i16,
    key_type: i8,
    key: &str,
    coordinator_of: impl Fn(&str) -> Option<CoordinatorNode>,
) -> Found {
    let (error, message) = match key_type {
        KEY_TYPE_GROUP => match coordinator_of(key) {
            Some(node) => return Found { error: ErrorCode::None, message: None, node },
            None => (ErrorCode::CoordinatorNotAvailable, "The topic of committed offsets is not ready yet."),
        },
        // Both the Java client and librdkafka take this code as final; "not available" would be tried for ever.
        KEY_TYPE_TRANSACTION => {
            (ErrorCode::TransactionalIdAuthorizationFailed, "This broker does not serve transactions yet.")
        }
        KEY_TYPE_SHARE if version >= SHARE_FROM => {
            (ErrorCode::CoordinatorNotAvailable, "This broker does not serve share groups yet.")
        }
        _ => (ErrorCode::InvalidRequest, "There is no coordinator of this type."),
    };
    let node = CoordinatorNode { node_id: -1, host: String::new(), port: -1 };
    Found { error, message: Some(Cow::Borrowed(message)), node }
}
