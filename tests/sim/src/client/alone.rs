//! One broker and one client that does one thing, for a test that goes step by step: the world runs until it is done.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use ottla_shards::host::sim::{NodeId, ProcessId, ProcessState, World};
use ottla_shards::host::sleep;

use super::Connection;

/// The longest that one may take, in virtual time.
const LIMIT: Duration = Duration::from_secs(60);

/// Starts a broker that listens at `address` on its node, with these settings besides.
#[must_use]
pub fn start_alone(
    world: &World,
    (node, address): (NodeId, SocketAddr),
    shards: u16,
    settings: &[(&str, String)],
) -> ProcessId {
    let port = address.port();
    let mut all = BTreeMap::from([
        ("listeners".to_owned(), format!("PLAINTEXT://0.0.0.0:{port}")),
        ("advertised.listeners".to_owned(), format!("PLAINTEXT://{address}")),
    ]);
    all.extend(settings.iter().map(|(key, value)| ((*key).to_owned(), value.clone())));
    world.start_broker(node, shards, all)
}

/// Runs `main` on the node to its end with a connection to the broker at `address`, which may have to come up first.
///
/// # Panics
/// When it does not come to its end within a minute of virtual time.
pub fn run_alone<T: 'static, F: Future<Output = T> + 'static>(
    world: &World,
    (node, address): (NodeId, SocketAddr),
    main: impl FnOnce(Connection) -> F + 'static,
) -> T {
    let result = Rc::new(RefCell::new(None::<T>));
    let place = Rc::clone(&result);
    let client = world.start_client(node, async move {
        let connection = loop {
            match Connection::open(address, "alone", LIMIT).await {
                Ok(connection) => break connection,
                Err(_) => sleep(Duration::from_millis(1)).await,
            }
        };
        *place.borrow_mut() = Some(main(connection).await);
    });
    world.run_until(|| world.state(client) != ProcessState::Running, LIMIT);
    let ended = world.state(client);
    result.take().unwrap_or_else(|| panic!("the client comes to its end: {ended:?}"))
}
