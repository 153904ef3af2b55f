//! One operation of the ring as a future, and what it keeps alive.

use std::ffi::CString;
use std::future::Future;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use io_uring::squeue;

use super::driver::{self, Driver};
use super::file::Descriptor;
use crate::host::buffer::{AlignedBuf, WriteSlice};

/// What an operation points to: owned by the operation until its completion. The fields are for the kernel; those
/// that the future wants back are read.
#[allow(dead_code)]
pub(super) enum Hold {
    Nothing,
    Path(CString),
    /// The path of an open: the descriptor that comes of it is closed when nobody wants it any more.
    Opening(CString),
    Paths(CString, CString),
    File(Rc<OwnedFd>),
    Shared(Arc<Descriptor>),
    Read(Arc<Descriptor>, AlignedBuf),
    Write(Arc<Descriptor>, Box<WriteJob>),
    Stat(Arc<Descriptor>, Box<libc::statx>),
}

impl Hold {
    /// Lets go of an operation's hold and of what its `result` stands for.
    pub(super) fn discard(self, result: i32) {
        if let (Hold::Opening(_), 0..) = (&self, result) {
            // SAFETY: the kernel has made this descriptor for us, and nobody else has taken it.
            drop(unsafe { OwnedFd::from_raw_fd(result) });
        }
    }
}

/// A gathered write: the slices, and the vector that the kernel reads.
pub(super) struct WriteJob {
    pub(super) slices: Vec<WriteSlice>,
    pub(super) iovecs: Vec<libc::iovec>,
}

// SAFETY: the vector leads to the slices, which may be sent and which the job keeps.
unsafe impl Send for WriteJob {}

/// An operation under way; resolves to the system call's result (negative: an error number) and the hold.
pub(super) struct Op {
    driver: Rc<Driver>,
    key: Option<u32>,
    cancel: bool,
}

impl Op {
    /// Begins `entry`, whose pointers all lead into `hold`.
    pub(super) fn begin(entry: squeue::Entry, hold: Hold) -> Op {
        let driver = driver::current();
        let key = Some(driver.begin(entry, hold));
        Op { driver, key, cancel: false }
    }

    /// The kernel is asked to end the operation when the future is dropped; for waits, which may last for ever.
    pub(super) fn cancel_on_drop(mut self) -> Op {
        self.cancel = true;
        self
    }

    /// Awaits the end; a negative result becomes the error that it stands for.
    pub(super) async fn result(self) -> io::Result<(u32, Hold)> {
        let (result, hold) = self.await;
        let number = u32::try_from(result).map_err(|_| io::Error::from_raw_os_error(-result))?;
        Ok((number, hold))
    }
}

impl Future for Op {
    type Output = (i32, Hold);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<(i32, Hold)> {
        let key = self.key.expect("an operation is not polled after its end");
        match self.driver.ring.poll(key, cx.waker()) {
            Some(done) => {
                self.key = None;
                Poll::Ready(done)
            }
            None => Poll::Pending,
        }
    }
}

impl Drop for Op {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            self.driver.ring.abandon(key, self.cancel);
        }
    }
}
