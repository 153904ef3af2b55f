//! The host's socket as hyper wants one, with an end to its patience.
//!
//! Owned by the task of its connection. A client that does not finish what it has begun in time gets no more of it:
//! a deadline is set when something begins (a head, a reply, a rest between two requests) and no byte moves it.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::BytesMut;
use hyper::rt::{Read, ReadBufCursor, Write};
use ottla::time::Monotonic;

use crate::host::{self, Ready, Shutdown, Sleep, Stream};

/// For a request's head, from its first byte or the connection's beginning.
const HEAD_PATIENCE: Duration = Duration::from_secs(10);
/// For a reply, from the request to the last byte that the kernel takes.
const REPLY_PATIENCE: Duration = Duration::from_secs(30);
/// Between two requests; Prometheus comes once a minute if nobody tells it otherwise.
const REST_PATIENCE: Duration = Duration::from_secs(150);
/// Bytes that one receive takes.
const RECEIVE_BYTES: usize = 4 << 10;

/// What a connection does, and until when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doing {
    Head,
    Reply,
    Rest,
}

/// The clock of one connection.
pub(super) struct Watch {
    doing: Cell<Doing>,
    deadline: Cell<Monotonic>,
    sleep: RefCell<Option<Sleep>>,
}

impl Watch {
    pub(super) fn new() -> Rc<Watch> {
        let deadline = host::now().after(HEAD_PATIENCE);
        Rc::new(Watch {
            doing: Cell::new(Doing::Head),
            deadline: Cell::new(deadline),
            sleep: RefCell::default(),
        })
    }

    fn does(&self, doing: Doing) {
        let patience = match doing {
            Doing::Head => HEAD_PATIENCE,
            Doing::Reply => REPLY_PATIENCE,
            Doing::Rest => REST_PATIENCE,
        };
        self.doing.set(doing);
        self.deadline.set(host::now().after(patience));
    }

    /// A request is whole and is being answered.
    pub(super) fn answers(&self) {
        self.does(Doing::Reply);
    }

    fn received(&self) {
        if self.doing.get() == Doing::Rest {
            self.does(Doing::Head);
        }
    }

    fn flushed(&self) {
        if self.doing.get() == Doing::Reply {
            self.does(Doing::Rest);
        }
    }

    /// Ready with an error when the patience has ended; else wakes the task when it may have.
    fn poll_end(&self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let deadline = self.deadline.get();
        let mut sleep = self.sleep.borrow_mut();
        let sleep = sleep.get_or_insert_with(|| host::sleep_until(deadline));
        if sleep.deadline() != deadline {
            sleep.reset(deadline);
        }
        Pin::new(sleep).poll(cx).map(|()| io::ErrorKind::TimedOut.into())
    }
}

/// A connection as hyper reads and writes it.
pub(super) struct Socket {
    stream: Stream,
    watch: Rc<Watch>,
    readable: Option<Ready>,
    writable: Option<Ready>,
    /// Bytes have gone out since the last flush.
    wrote: bool,
}

impl Socket {
    pub(super) fn new(stream: Stream, watch: Rc<Watch>) -> Socket {
        Socket { stream, watch, readable: None, writable: None, wrote: false }
    }
}

/// Waits for readiness or the end of patience.
fn poll_ready(wait: &mut Option<Ready>, watch: &Watch, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
    let Some(ready) = wait else { return Poll::Ready(Ok(())) };
    if let Poll::Ready(outcome) = Pin::new(ready).poll(cx) {
        *wait = None;
        return Poll::Ready(outcome);
    }
    watch.poll_end(cx).map(Err)
}

impl Read for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            ready!(poll_ready(&mut this.readable, &this.watch, cx))?;
            let mut bytes = [0; RECEIVE_BYTES];
            let limit = buffer.remaining().min(RECEIVE_BYTES);
            if limit == 0 {
                return Poll::Ready(Ok(()));
            }
            match this.stream.try_receive(&mut BytesMut::new(), 0, &mut bytes[..limit])? {
                Some((_, got)) => {
                    this.watch.received();
                    buffer.put_slice(&bytes[..got]);
                    return Poll::Ready(Ok(()));
                }
                None => this.readable = Some(this.stream.readable()),
            }
        }
    }
}

impl Write for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        loop {
            ready!(poll_ready(&mut this.writable, &this.watch, cx))?;
            match this.stream.try_send(slices, false)? {
                Some(sent) => {
                    this.wrote |= sent > 0;
                    return Poll::Ready(Ok(sent));
                }
                None => this.writable = Some(this.stream.writable()),
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        if std::mem::take(&mut self.wrote) {
            self.watch.flushed();
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.stream.shutdown(Shutdown::Write))
    }
}
