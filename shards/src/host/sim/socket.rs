//! TCP connections of the simulated network, on their shard.
//!
//! As on a machine, a try may give less than there is, or say that nothing is there although something is; waiting is
//! for readiness.

use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::{BufMut, BytesMut};

use super::engine::{engine, engine_of, this_process};
use super::executor::yield_now;
use super::file::{File, SharedFd, read_now};
use super::network::{CLIENT, SERVER};
use super::process::{Process, ProcessId};
use crate::host::types::Shutdown;

/// Slices that one system call takes.
const SLICES_MAX: usize = 1024;
/// Bytes of a file handed over before the other tasks get their turn.
const STEP_BYTES: u64 = 256 << 10;
/// Steps of a file that the page cache does not hold.
const COLD_PER_MILLION: u32 = 200_000;

/// One end of a connection, closed on drop.
#[derive(Debug)]
struct Socket {
    world: u64,
    process: ProcessId,
    connection: u64,
    side: u8,
}

impl Socket {
    fn new(process: &Process, connection: u64, side: u8) -> Socket {
        process.sockets.borrow_mut().insert((connection, side));
        Socket { world: engine().id, process: process.id, connection, side }
    }

    fn end(&self) -> (u64, u8) {
        (self.connection, self.side)
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let Some(engine) = engine_of(self.world) else { return };
        let process = engine.process(self.process);
        // The system closes what a process held when it ended.
        if process.is_alive() && process.sockets.borrow_mut().remove(&self.end()) {
            let forgotten = engine.network.borrow_mut().close(&engine, self.connection, self.side);
            drop(forgotten);
        }
    }
}

/// An accepted connection that has no shard yet; it may cross shards.
#[derive(Debug)]
pub struct StreamSeed {
    socket: Socket,
    peer: SocketAddr,
}

impl StreamSeed {
    pub(super) fn accepted(process: &Process, connection: u64) -> StreamSeed {
        let addresses = engine().network.borrow().addresses(connection, SERVER);
        let (_, peer) = addresses.expect("a connection that was not accepted yet is there");
        StreamSeed { socket: Socket::new(process, connection, SERVER), peer }
    }

    /// The other end's address.
    #[must_use]
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }
}

/// One TCP connection on its shard. Clones share the socket, which closes with the last.
#[derive(Clone, Debug)]
pub struct Stream {
    socket: Rc<Socket>,
    peer: SocketAddr,
}

/// A request to connect that may be given up.
struct Connecting {
    connect: u64,
    is_over: bool,
}

impl Drop for Connecting {
    fn drop(&mut self) {
        if let (false, Some(engine)) = (self.is_over, super::engine::current()) {
            engine.network.borrow_mut().give_up_connect(&engine, self.connect);
        }
    }
}

impl Stream {
    /// Takes an accepted connection to the current shard.
    #[must_use]
    pub fn from_seed(seed: StreamSeed) -> Stream {
        Stream { socket: Rc::new(seed.socket), peer: seed.peer }
    }

    /// Connects to `address`, without a limit of time of its own.
    pub async fn connect(address: SocketAddr) -> io::Result<Stream> {
        let (engine, process) = (engine(), this_process());
        process.one_more_descriptor()?;
        let node = &process.node;
        let port = node.take_port();
        let is_inside = address.ip().is_loopback() || address.ip().is_unspecified();
        let own = if is_inside { IpAddr::V4(Ipv4Addr::LOCALHOST) } else { node.address };
        let local = SocketAddr::new(own, port);
        let connect = engine.network.borrow_mut().connect(&engine, node.id, local, address);
        let mut connecting = Connecting { connect, is_over: false };
        let result = poll_fn(|cx| {
            match super::engine::engine().network.borrow_mut().poll_connect(connect, cx.waker()) {
                Some(result) => Poll::Ready(result),
                None => Poll::Pending,
            }
        })
        .await;
        connecting.is_over = true;
        match result {
            Ok(connection) => {
                let socket = Rc::new(Socket::new(&process, connection, CLIENT));
                Ok(Stream { socket, peer: address })
            }
            Err(errno) => Err(io::Error::from_raw_os_error(errno)),
        }
    }

    /// The other end's address.
    #[must_use]
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// This end's address.
    pub fn local(&self) -> io::Result<SocketAddr> {
        let addresses = engine().network.borrow().addresses(self.socket.connection, self.socket.side);
        addresses.map(|(own, _)| own).ok_or_else(|| io::Error::from_raw_os_error(libc::ENOTCONN))
    }

    /// Sets what each direction of the connection holds, in bytes; `None` leaves one as it is.
    pub fn set_buffers(&self, send: Option<usize>, receive: Option<usize>) -> io::Result<()> {
        let (connection, side) = self.socket.end();
        engine().network.borrow_mut().set_buffers(connection, side, send, receive);
        Ok(())
    }

    /// Waits until a receive would not block: bytes, the end of the stream or an error.
    pub fn readable(&self) -> Ready {
        Ready::new(&self.socket, false)
    }

    /// Waits until a send would not block: room, or an error.
    pub fn writable(&self) -> Ready {
        Ready::new(&self.socket, true)
    }

    /// Whether the other end has ended its direction, or the connection is broken. What was received before may still
    /// wait to be read.
    #[must_use]
    pub fn is_hung_up(&self) -> bool {
        let (connection, side) = self.socket.end();
        engine().network.borrow().is_hung_up(connection, side)
    }

    fn try_take(&self, into: &mut [u8]) -> io::Result<Option<usize>> {
        let engine = engine();
        let mut network = engine.network.borrow_mut();
        let got = network.receive(self.socket.connection, self.socket.side, into)?;
        if got.is_some_and(|got| got > 0) {
            network.tell_of_room(&engine, self.socket.connection, self.socket.side);
        }
        drop(network);
        if let Some(got) = got {
            engine.mark(50, self.socket.connection << 32 | got as u64);
            engine.note(|| format!("received {got} from {}", self.peer));
        }
        Ok(got)
    }

    /// Receives what is there into the spare capacity of `first`, at most `first_limit` bytes, and the rest into
    /// `second`. Returns how many bytes went into each (`first` has grown by its part; both zero: the end of the
    /// stream), or `None` when nothing is there.
    pub fn try_receive(
        &self,
        first: &mut BytesMut,
        first_limit: usize,
        second: &mut [u8],
    ) -> io::Result<Option<(usize, usize)>> {
        let limit = first_limit.min(first.capacity() - first.len());
        assert!(limit + second.len() > 0, "there is somewhere to put bytes");
        if limit == 0 {
            return Ok(self.try_take(second)?.map(|got| (0, got)));
        }
        let mut bytes = vec![0; limit + second.len()];
        let Some(got) = self.try_take(&mut bytes)? else { return Ok(None) };
        let into_first = got.min(limit);
        first.put_slice(&bytes[..into_first]);
        second[..got - into_first].copy_from_slice(&bytes[into_first..got]);
        Ok(Some((into_first, got - into_first)))
    }

    /// Receives into `buffer`, waiting until there is something. Zero: the end of the stream.
    pub async fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if let Some(got) = self.try_take(buffer)? {
                return Ok(got);
            }
            self.readable().await?;
        }
    }

    /// Sends what the network takes of `slices` now; `None` when it takes nothing. `more` says that more follows at
    /// once. At most 1,024 slices are looked at.
    pub fn try_send(&self, slices: &[IoSlice<'_>], _more: bool) -> io::Result<Option<usize>> {
        let engine = engine();
        let slices = &slices[..slices.len().min(SLICES_MAX)];
        let sent = engine.network.borrow_mut().offer(&engine, self.socket.end(), slices)?;
        if let Some(sent) = sent {
            engine.mark(51, self.socket.connection << 32 | sent as u64);
            engine.note(|| format!("sent {sent} to {}", self.peer));
        }
        Ok(sent)
    }

    /// Sends all of `slices`, waiting for room as needed.
    pub async fn send_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<()> {
        let (mut at, mut skip) = (0, 0);
        while at < slices.len() {
            let first = IoSlice::new(&slices[at][skip..]);
            let rest = slices[at + 1..].iter().map(|slice| IoSlice::new(slice));
            let step: Vec<IoSlice<'_>> = std::iter::once(first).chain(rest.take(SLICES_MAX - 1)).collect();
            match self.try_send(&step, false)? {
                Some(sent) => skip += sent,
                None => self.writable().await?,
            }
            while at < slices.len() && skip >= slices[at].len() {
                skip -= slices[at].len();
                at += 1;
            }
        }
        Ok(())
    }

    /// Sends bytes `position .. position + bytes` of a file that was opened without `direct`. The core is given away
    /// between steps and while bytes come from the disk or the peer does not read. Returns how many of them were read
    /// from the disk for it.
    ///
    /// # Errors
    /// `UnexpectedEof` when the file is shorter; the socket's and the file's own errors. Part of the range may have
    /// been sent.
    pub async fn send_file(&self, fd: &SharedFd, position: u64, bytes: u64) -> io::Result<u64> {
        let end = position.checked_add(bytes).ok_or(io::ErrorKind::InvalidInput)?;
        let file = File::from_shared(fd.clone())?;
        assert!(!file.is_direct(), "a file is sent from the page cache");
        let (mut at, mut cold) = (position, 0);
        while at < end {
            let step = usize::try_from((end - at).min(STEP_BYTES)).expect("one step");
            let is_cold = engine().draw(|random| random.chance(COLD_PER_MILLION));
            if is_cold {
                let read = file.read_at(at, step).await?;
                self.send_step(&read, step).await?;
                cold += step as u64;
            } else {
                let mut read = vec![0; step];
                let got = read_now(&engine(), fd, at, &mut read)?;
                self.send_step(&read[..got], step).await?;
            }
            at += step as u64;
            if at < end {
                yield_now().await;
            }
        }
        Ok(cold)
    }

    async fn send_step(&self, read: &[u8], wanted: usize) -> io::Result<()> {
        self.send_vectored(&[IoSlice::new(read)]).await?;
        if read.len() < wanted {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
        }
        Ok(())
    }

    /// Ends one or both directions; waits of other tasks on the socket end.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        let engine = engine();
        let read = how == Shutdown::Both;
        let woken = engine.network.borrow_mut().shut(&engine, self.socket.end(), read)?;
        woken.into_iter().for_each(std::task::Waker::wake);
        Ok(())
    }
}

/// A wait for a socket's readiness; see [`Stream::readable`].
#[must_use = "waits only when awaited"]
pub struct Ready {
    socket: Rc<Socket>,
    waiter: u64,
    write: bool,
}

impl Ready {
    fn new(socket: &Rc<Socket>, write: bool) -> Ready {
        Ready { socket: Rc::clone(socket), waiter: engine().number(), write }
    }
}

impl Future for Ready {
    type Output = io::Result<()>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let engine = engine();
        let mut network = engine.network.borrow_mut();
        if network.poll_ready(self.socket.end(), self.write, self.waiter, cx.waker()) {
            return Poll::Ready(Ok(()));
        }
        Poll::Pending
    }
}

impl Drop for Ready {
    fn drop(&mut self) {
        if let Some(engine) = engine_of(self.socket.world) {
            let forgotten = engine.network.borrow_mut().forget_waiter(self.socket.end(), self.waiter);
            drop(forgotten);
        }
    }
}
