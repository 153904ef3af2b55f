//! Listening sockets of a machine.

use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::task::Poll;

use super::engine::{engine, engine_of, this_process};
use super::process::{Process, ProcessId};
use super::socket::StreamSeed;

/// A listening socket, or several that count as one.
pub struct Listener {
    world: u64,
    process: ProcessId,
    listener: u64,
    addresses: Vec<SocketAddr>,
}

impl Listener {
    /// Listens on `host` and `port` as a broker's `listeners` setting means them: `localhost` on 127.0.0.1 and ::1;
    /// an empty host, `0.0.0.0` and `::` on every address of both families; the machine's name on its address. With
    /// port 0 the machine chooses one.
    ///
    /// # Errors
    /// `AddrInUse` when the port is taken, `AddrNotAvailable` for what is not this machine's.
    pub async fn bind(host: &str, port: u16) -> io::Result<Listener> {
        let process = this_process();
        let addresses = own_addresses(&process, host)?;
        // Ports given to who connects are never taken twice; a listener's may be.
        let mut last = io::Error::from_raw_os_error(libc::EADDRINUSE);
        for _ in 0..if port == 0 { 64 } else { 1 } {
            let port = if port == 0 { process.node.take_port() } else { port };
            match Listener::open(&process, &addresses, port) {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => last = error,
                outcome => return outcome,
            }
        }
        Err(last)
    }

    fn open(process: &Process, addresses: &[IpAddr], port: u16) -> io::Result<Listener> {
        process.one_more_descriptor()?;
        let engine = engine();
        let listener = engine.network.borrow_mut().listen(&engine, process, addresses.to_vec(), port)?;
        process.listeners.borrow_mut().insert(listener);
        let shown = match addresses {
            [] => vec![SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port)],
            all => all.iter().map(|address| SocketAddr::new(*address, port)).collect(),
        };
        engine.note(|| format!("listening on {shown:?}"));
        Ok(Listener { world: engine.id, process: process.id, listener, addresses: shown })
    }

    /// The addresses listened on, with the port that was chosen.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The port, which is the same for all addresses.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.addresses[0].port()
    }

    /// The next connection.
    ///
    /// # Errors
    /// `EMFILE` when descriptors run out: wait before the next call.
    pub async fn accept(&self) -> io::Result<StreamSeed> {
        poll_fn(|cx| {
            let (engine, process) = (engine(), this_process());
            let mut network = engine.network.borrow_mut();
            let state =
                network.listeners.get_mut(&self.listener).expect("a listener lives as long as its process");
            if state.queue.is_empty() {
                state.waiter = Some(cx.waker().clone());
                return Poll::Pending;
            }
            if let Err(error) = process.one_more_descriptor() {
                return Poll::Ready(Err(error));
            }
            let connection = state.queue.pop_front().expect("it was looked at");
            drop(network);
            let seed = StreamSeed::accepted(&process, connection);
            engine.note(|| format!("accepted {}", seed.peer()));
            Poll::Ready(Ok(seed))
        })
        .await
    }
}

/// The addresses that `host` stands for: `localhost` for 127.0.0.1 and ::1, an address for itself, the machine's own
/// name for its address.
///
/// # Errors
/// `NotFound` of any other name.
pub async fn resolve(host: &str) -> io::Result<Vec<IpAddr>> {
    match without_brackets(host).parse() {
        Ok(address) => Ok(vec![address]),
        Err(_) => own_addresses(&this_process(), host),
    }
}

fn without_brackets(host: &str) -> &str {
    host.trim_start_matches('[').trim_end_matches(']')
}

/// The machine's addresses that `host` stands for; none for all of them.
fn own_addresses(process: &Process, host: &str) -> io::Result<Vec<IpAddr>> {
    let host = without_brackets(host);
    if host.is_empty() {
        return Ok(Vec::new());
    }
    let address = match host.parse::<IpAddr>() {
        Ok(address) if address.is_unspecified() => return Ok(Vec::new()),
        Ok(address) => address,
        Err(_) if host.eq_ignore_ascii_case("localhost") => {
            return Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
        }
        Err(_) if host == process.node.name => process.node.address,
        Err(_) => return Err(io::Error::new(io::ErrorKind::NotFound, "no machine has this name")),
    };
    if address.is_loopback() || address == process.node.address {
        return Ok(vec![address]);
    }
    Err(io::Error::from_raw_os_error(libc::EADDRNOTAVAIL))
}

impl Drop for Listener {
    fn drop(&mut self) {
        let Some(engine) = engine_of(self.world) else { return };
        let process = engine.process(self.process);
        // The system closes what a process held when it ended.
        if process.is_alive() && process.listeners.borrow_mut().remove(&self.listener) {
            let forgotten = engine.network.borrow_mut().stop_listening(&engine, self.listener);
            drop(forgotten);
        }
    }
}
