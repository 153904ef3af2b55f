//! TCP connections: non-blocking calls first, the ring only to wait.
//!
//! An idle connection costs one poll in the ring and no buffer: receiving is tried, and only when nothing is there
//! does a readiness poll go to the kernel. Sending works the same way.
//!
//! A socket's descriptor may move to another shard as a [`StreamSeed`]; a [`Stream`] stays where it was made.

use std::future::Future;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::{BufMut, BytesMut};
use io_uring::{opcode, types};

use super::address::{self, local_address, new_socket, set_option};
use super::file::checked;
use super::op::{Hold, Op};
use crate::host::types::Shutdown;

/// Slices that one system call takes.
const SLICES_MAX: usize = 1024;

/// An accepted connection that has no shard yet; it may cross threads.
#[derive(Debug)]
pub struct StreamSeed {
    fd: OwnedFd,
    peer: SocketAddr,
}

impl StreamSeed {
    pub(super) fn new(fd: OwnedFd, peer: SocketAddr) -> StreamSeed {
        StreamSeed { fd, peer }
    }

    /// The other end's address; an IPv4 peer of a dual-stack socket has its IPv4 address.
    #[must_use]
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }
}

/// One TCP connection on its shard. Clones share the socket, which closes with the last.
#[derive(Clone, Debug)]
pub struct Stream {
    fd: Rc<OwnedFd>,
    peer: SocketAddr,
}

impl Stream {
    /// Takes an accepted connection to the current shard.
    #[must_use]
    pub fn from_seed(seed: StreamSeed) -> Stream {
        Stream { fd: Rc::new(seed.fd), peer: seed.peer }
    }

    /// Connects to `address`, without a limit of time of its own.
    pub async fn connect(address: SocketAddr) -> io::Result<Stream> {
        let fd = Rc::new(new_socket(address)?);
        set_option(fd.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_NODELAY, 1)?;
        if !address::start_connect(fd.as_raw_fd(), address)? {
            Ready::new(&fd, libc::POLLOUT).await?;
            address::take_error(fd.as_raw_fd())?;
        }
        Ok(Stream { fd, peer: address })
    }

    /// The other end's address.
    #[must_use]
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// This end's address.
    pub fn local(&self) -> io::Result<SocketAddr> {
        local_address(self.fd.as_raw_fd())
    }

    /// Sets the kernel's send and receive buffers in bytes (`socket.send.buffer.bytes` and its sibling); `None`
    /// leaves one to the kernel, which then sizes it by the traffic.
    pub fn set_buffers(&self, send: Option<usize>, receive: Option<usize>) -> io::Result<()> {
        for (option, bytes) in [(libc::SO_SNDBUF, send), (libc::SO_RCVBUF, receive)] {
            if let Some(bytes) = bytes {
                let bytes = libc::c_int::try_from(bytes).unwrap_or(libc::c_int::MAX);
                set_option(self.fd.as_raw_fd(), libc::SOL_SOCKET, option, bytes)?;
            }
        }
        Ok(())
    }

    pub(super) fn raw(&self) -> RawFd {
        self.fd.as_raw_fd()
    }

    /// Waits until a receive would not block: bytes, the end of the stream or an error.
    pub fn readable(&self) -> Ready {
        Ready::new(&self.fd, libc::POLLIN | libc::POLLRDHUP)
    }

    /// Waits until a send would not block: room, or an error.
    pub fn writable(&self) -> Ready {
        Ready::new(&self.fd, libc::POLLOUT)
    }

    /// Whether the other end has ended its direction, or the connection is broken. What was received before may still
    /// wait to be read.
    #[must_use]
    pub fn is_hung_up(&self) -> bool {
        let mut polled = libc::pollfd { fd: self.fd.as_raw_fd(), events: libc::POLLRDHUP, revents: 0 };
        // SAFETY: one entry, which is borrowed mutably for a call that does not wait.
        unsafe { libc::poll(&raw mut polled, 1, 0) > 0 }
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
        let spare = first.spare_capacity_mut();
        let limit = first_limit.min(spare.len());
        let mut parts = [
            libc::iovec { iov_base: spare.as_mut_ptr().cast(), iov_len: limit },
            libc::iovec { iov_base: second.as_mut_ptr().cast(), iov_len: second.len() },
        ];
        assert!(limit + second.len() > 0, "there is somewhere to put bytes");
        // SAFETY: a zeroed header is an empty one.
        let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
        header.msg_iov = parts.as_mut_ptr();
        header.msg_iovlen = parts.len();
        // SAFETY: the header leads to two buffers that are borrowed mutably here.
        let got = unsafe { libc::recvmsg(self.fd.as_raw_fd(), &raw mut header, libc::MSG_DONTWAIT) };
        let Some(got) = transferred(got)? else { return Ok(None) };
        let into_first = got.min(limit);
        // SAFETY: the kernel has filled this many bytes of the spare capacity.
        unsafe { first.advance_mut(into_first) };
        Ok(Some((into_first, got - into_first)))
    }

    /// Receives into `buffer`, waiting until there is something. Zero: the end of the stream.
    pub async fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if let Some((_, got)) = self.try_receive(&mut BytesMut::new(), 0, buffer)? {
                return Ok(got);
            }
            self.readable().await?;
        }
    }

    /// Sends what the kernel takes of `slices` now; `None` when it takes nothing. `more` says that more follows at
    /// once, so that the last bytes may wait for it. At most 1,024 slices are looked at.
    pub fn try_send(&self, slices: &[IoSlice<'_>], more: bool) -> io::Result<Option<usize>> {
        // SAFETY: a zeroed header is an empty one.
        let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
        // An IoSlice has the layout of an iovec, and the kernel only reads.
        header.msg_iov = slices.as_ptr().cast_mut().cast();
        header.msg_iovlen = slices.len().min(SLICES_MAX);
        let more = if more { libc::MSG_MORE } else { 0 };
        let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL | more;
        // SAFETY: the header leads to the slices, which are borrowed for the call.
        transferred(unsafe { libc::sendmsg(self.fd.as_raw_fd(), &raw const header, flags) })
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

    /// Ends one or both directions; waits of other tasks on the socket end.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        let how = match how {
            Shutdown::Write => libc::SHUT_WR,
            Shutdown::Both => libc::SHUT_RDWR,
        };
        // SAFETY: no pointers are passed.
        checked(unsafe { libc::shutdown(self.fd.as_raw_fd(), how) })
    }
}

/// A wait for a socket's readiness; see [`Stream::readable`].
#[must_use = "waits only when awaited"]
pub struct Ready(Op);

impl Ready {
    pub(super) fn new(fd: &Rc<OwnedFd>, events: libc::c_short) -> Ready {
        let events = u32::from(events.cast_unsigned());
        let entry = opcode::PollAdd::new(types::Fd(fd.as_raw_fd()), events).build();
        Ready(Op::begin(entry, Hold::File(Rc::clone(fd))).cancel_on_drop())
    }
}

impl Future for Ready {
    type Output = io::Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll(cx).map(|(result, _)| match result {
            ..0 => Err(io::Error::from_raw_os_error(-result)),
            0.. => Ok(()),
        })
    }
}

/// The result of a non-blocking transfer: `None` where it would have blocked.
pub(super) fn transferred(result: isize) -> io::Result<Option<usize>> {
    if let Ok(bytes) = usize::try_from(result) {
        return Ok(Some(bytes));
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        Some(libc::EAGAIN | libc::EINTR) => Ok(None),
        _ => Err(error),
    }
}
