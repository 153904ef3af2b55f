//! Listening sockets.

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;

use super::address::{self, listen_on, local_address, set_option};
use super::blocking::spawn_blocking;
use super::socket::{Ready, StreamSeed};

/// The addresses that `host` stands for: `localhost` for 127.0.0.1 and ::1, an address for itself, a name for all that
/// it resolves to.
///
/// # Errors
/// The system's: of a name that nobody knows, or that cannot be asked for.
pub async fn resolve(host: &str) -> io::Result<Vec<IpAddr>> {
    let host = without_brackets(host);
    if host.eq_ignore_ascii_case("localhost") {
        return Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
    }
    if let Ok(address) = host.parse() {
        return Ok(vec![address]);
    }
    let name = host.to_owned();
    let resolved: io::Result<Vec<SocketAddr>> =
        spawn_blocking(move || (name.as_str(), 0).to_socket_addrs().map(Iterator::collect)).await;
    let mut addresses: Vec<IpAddr> = resolved?.iter().map(SocketAddr::ip).collect();
    addresses.sort();
    addresses.dedup();
    Ok(addresses)
}

fn without_brackets(host: &str) -> &str {
    host.trim_start_matches('[').trim_end_matches(']')
}

/// A listening socket, or several that count as one.
pub struct Listener {
    sockets: Vec<Rc<OwnedFd>>,
    addresses: Vec<SocketAddr>,
    /// The socket that is tried first: all get their turn.
    turn: Cell<usize>,
}

impl Listener {
    /// Listens on `host` and `port` as a broker's `listeners` setting means them: `localhost` on 127.0.0.1 and ::1;
    /// an empty host, `0.0.0.0` and `::` on every address of both families; a name on all addresses that it
    /// resolves to. With port 0 the system chooses one port for all of them.
    ///
    /// # Errors
    /// The system's; `AddrInUse` when the port is taken.
    pub async fn bind(host: &str, port: u16) -> io::Result<Listener> {
        let host = without_brackets(host);
        if host.is_empty() || host.parse().is_ok_and(|address: IpAddr| address.is_unspecified()) {
            return Listener::bind_wildcard(port);
        }
        Listener::bind_all(&resolve(host).await?, port)
    }

    fn bind_wildcard(port: u16) -> io::Result<Listener> {
        match listen_on(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)), false) {
            Ok(socket) => Listener::from_sockets(vec![socket]),
            Err(error) if lacks_address(&error) => {
                let socket = listen_on(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)), false)?;
                Listener::from_sockets(vec![socket])
            }
            Err(error) => Err(error),
        }
    }

    /// All of `addresses`, but those that this machine does not have.
    fn bind_all(addresses: &[IpAddr], port: u16) -> io::Result<Listener> {
        // Another process may hold the second address's port when the system has chosen one for the first.
        const TRIES: usize = 16;
        for _ in 1..if port == 0 { TRIES } else { 1 } {
            match Listener::bind_once(addresses, port) {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
                outcome => return outcome,
            }
        }
        Listener::bind_once(addresses, port)
    }

    fn bind_once(addresses: &[IpAddr], port: u16) -> io::Result<Listener> {
        let mut sockets = Vec::new();
        let mut port = port;
        let mut missing = io::Error::from(io::ErrorKind::AddrNotAvailable);
        for &address in addresses {
            match listen_on(SocketAddr::new(address, port), true) {
                Ok(socket) => {
                    port = local_address(socket.as_raw_fd())?.port();
                    sockets.push(socket);
                }
                Err(error) if lacks_address(&error) => missing = error,
                Err(error) => return Err(error),
            }
        }
        if sockets.is_empty() { Err(missing) } else { Listener::from_sockets(sockets) }
    }

    fn from_sockets(sockets: Vec<OwnedFd>) -> io::Result<Listener> {
        let local = |socket: &OwnedFd| local_address(socket.as_raw_fd());
        let addresses = sockets.iter().map(local).collect::<io::Result<_>>()?;
        let sockets = sockets.into_iter().map(Rc::new).collect();
        Ok(Listener { sockets, addresses, turn: Cell::new(0) })
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

    /// The next connection, with `TCP_NODELAY` and keep-alive set. Connections that ended before they were accepted
    /// are skipped.
    ///
    /// # Errors
    /// `EMFILE` and `ENFILE` when descriptors run out: wait before the next call.
    pub async fn accept(&self) -> io::Result<StreamSeed> {
        loop {
            for _ in 0..self.sockets.len() {
                let at = self.turn.get() % self.sockets.len();
                self.turn.set(at + 1);
                if let Some(seed) = try_accept(self.sockets[at].as_raw_fd())? {
                    return Ok(seed);
                }
            }
            self.acceptable().await?;
        }
    }

    /// Waits until one of the sockets has a connection.
    async fn acceptable(&self) -> io::Result<()> {
        let mut waits: Vec<Ready> =
            self.sockets.iter().map(|socket| Ready::new(socket, libc::POLLIN)).collect();
        poll_fn(|cx| {
            let ready = waits.iter_mut().find_map(|wait| match Pin::new(wait).poll(cx) {
                Poll::Ready(result) => Some(result),
                Poll::Pending => None,
            });
            ready.map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }
}

/// Whether the error says that this machine lacks the address or its family.
fn lacks_address(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL | libc::EPFNOSUPPORT))
}

fn try_accept(listener: RawFd) -> io::Result<Option<StreamSeed>> {
    loop {
        match address::accept(listener) {
            Ok((fd, peer)) => {
                set_option(fd.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_NODELAY, 1)?;
                set_option(fd.as_raw_fd(), libc::SOL_SOCKET, libc::SO_KEEPALIVE, 1)?;
                return Ok(Some(StreamSeed::new(fd, peer)));
            }
            Err(error) => match error.raw_os_error() {
                Some(libc::EAGAIN) => return Ok(None),
                // The connection ended before we took it, or the network failed for it alone (accept(2)).
                Some(
                    libc::ECONNABORTED | libc::EINTR | libc::EPROTO | libc::ENETDOWN | libc::EHOSTUNREACH,
                ) => {}
                _ => return Err(error),
            },
        }
    }
}
