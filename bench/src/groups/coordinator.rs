//! Which broker coordinates the group now: found once before the load, and again when that one says that it does not.
//!
//! Owned by the load's shard and shared by its members. A coordinator moves while a load runs, and the one of the
//! first group of a cluster is not ready yet when it is named: its partition of `__consumer_offsets` was only just
//! made. Clients of Kafka's ask again, and so do these.

use std::cell::RefCell;
use std::net::SocketAddr;

use ottla::errors::ErrorCode;
use ottla_tools::client::ClientError;
use ottla_wire::ApiKey;
use ottla_wire::find_coordinator_response::FindCoordinatorResponse;

use super::Setup;
use crate::cluster::{find_request, found_coordinator};
use crate::link::Link;
use crate::places::resolve;

/// The group's coordinator.
#[derive(Debug)]
pub(super) struct Coordinator {
    addresses: RefCell<Vec<SocketAddr>>,
}

impl Coordinator {
    /// As it was found before the load.
    pub(super) fn new(setup: &Setup) -> Coordinator {
        Coordinator { addresses: RefCell::new(setup.coordinator.clone()) }
    }

    /// A connection to it.
    pub(super) async fn connect(&self) -> Result<Link, ClientError> {
        let addresses = self.addresses.borrow().clone();
        Ok(Link::open(&addresses).await?)
    }

    /// Asks a broker which one it is now; whether there is one.
    pub(super) async fn look_up(&self, setup: &Setup) -> Result<bool, ClientError> {
        let mut link = Link::open(&setup.brokers).await?;
        let version = setup.find_version;
        let request = find_request(&setup.group, version);
        let reply: FindCoordinatorResponse<'_> =
            link.call(ApiKey::FindCoordinator, version, &request).await?;
        let (code, address) = found_coordinator(&reply);
        if code != ErrorCode::None.code() {
            return Ok(false);
        }
        // A name that the system has to ask others for stops the shard for that long: what it is asked for has no
        // coordinator anyway.
        let Ok(addresses) = resolve(&address) else { return Ok(false) };
        *self.addresses.borrow_mut() = addresses;
        Ok(true)
    }
}

/// Whether a code says that another broker is, or will be, the coordinator.
pub(super) fn is_elsewhere(code: i16) -> bool {
    let elsewhere = [ErrorCode::NotCoordinator, ErrorCode::CoordinatorNotAvailable];
    elsewhere.iter().any(|error| error.code() == code)
}
