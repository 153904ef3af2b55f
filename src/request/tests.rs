//! What the tests of the handlers share.

use ottla_wire::ApiKey;

use super::RequestContext;
pub(crate) use crate::controller::testing::{image, image_with};
use crate::ids::TimestampMs;
use crate::time::Monotonic;

/// A request of a client on the listener PLAINTEXT.
pub(crate) fn context(api: ApiKey, version: i16) -> RequestContext<'static> {
    RequestContext {
        api,
        version,
        correlation_id: 7,
        client_id: Some("test"),
        client_host: "127.0.0.1",
        listener: "PLAINTEXT",
        now: Monotonic(0),
        now_wall: TimestampMs(1_700_000_000_000),
    }
}
