//! File bytes to a socket without a copy through this process, and without ever waiting for the disk on the core.
//!
//! `sendfile(2)` reads through the page cache and blocks the thread on a page that is not there. So `cachestat(2)`
//! is asked first; what is cold is requested ahead (`POSIX_FADV_WILLNEED`) and awaited in small steps, and what
//! does not come in time, or lies on a filesystem where the page cache cannot be asked, is read through the ring.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io::{self, IoSlice};
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::time::Duration;

use super::file::{File, SharedFd, checked};
use super::socket::{Stream, transferred};
use super::timer::sleep;

/// Bytes handed to the kernel before the other tasks get their turn.
const STEP_BYTES: u64 = 256 << 10;
/// How often a cold range is looked at again, and how many times before the ring reads it.
const COLD_WAIT: Duration = Duration::from_micros(200);
const COLD_WAITS_MAX: u32 = 25;
const PAGE_BYTES: u64 = 4096;

thread_local! {
    /// Devices whose files the kernel cannot tell about (an overlay reports an empty cache).
    static BLIND: RefCell<BTreeSet<u64>> = const { RefCell::new(BTreeSet::new()) };
}

/// What the page cache holds of a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Residency {
    All,
    Part,
    Unknown,
}

#[repr(C)]
struct CachestatRange {
    offset: u64,
    bytes: u64,
}

#[repr(C)]
#[derive(Default)]
struct Cachestat {
    cached: u64,
    dirty: u64,
    writeback: u64,
    evicted: u64,
    recently_evicted: u64,
}

/// `cachestat(2)`, Linux 6.5, the same number on all architectures.
const SYS_CACHESTAT: libc::c_long = 451;

fn residency(fd: &SharedFd, position: u64, bytes: u64) -> Residency {
    let range = CachestatRange { offset: position, bytes };
    let mut stat = Cachestat::default();
    // SAFETY: the pointers lead to a range and a record of the layout that the call expects.
    let result = unsafe { libc::syscall(SYS_CACHESTAT, fd.as_raw_fd(), &raw const range, &raw mut stat, 0) };
    if result != 0 {
        return Residency::Unknown;
    }
    let pages = (position + bytes).div_ceil(PAGE_BYTES) - position / PAGE_BYTES;
    if stat.cached >= pages { Residency::All } else { Residency::Part }
}

fn want(fd: &SharedFd, position: u64, bytes: u64) {
    let (position, bytes) = (position.cast_signed(), bytes.cast_signed());
    // SAFETY: no pointers are passed. The advice may be ignored, and so may its failure.
    let _ = unsafe { libc::posix_fadvise(fd.as_raw_fd(), position, bytes, libc::POSIX_FADV_WILLNEED) };
}

fn device(fd: &SharedFd) -> io::Result<u64> {
    // SAFETY: all zero bits are a value of the type.
    let mut stat: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer leads to `stat`.
    checked(unsafe { libc::fstat(fd.as_raw_fd(), &raw mut stat) })?;
    Ok(stat.st_dev)
}

fn is_blind(fd: &SharedFd) -> bool {
    BLIND.with(|blind| {
        let blind = blind.borrow();
        !blind.is_empty() && device(fd).is_ok_and(|device| blind.contains(&device))
    })
}

/// Asks for a range of a file that was opened without `direct` to be brought into the page cache, as far as it is not
/// there; whether and when it comes nobody says. The core is given away between steps.
pub async fn prefetch(fd: &SharedFd, range: Range<u64>) {
    let mut at = range.start;
    while at < range.end {
        let step = (range.end - at).min(STEP_BYTES);
        if residency(fd, at, step) == Residency::Part && !is_blind(fd) {
            want(fd, at, step);
        }
        at += step;
        super::yield_now().await;
    }
}

impl Stream {
    /// Sends bytes `position .. position + bytes` of a file that was opened without `direct`. The core is given away
    /// between steps of 256 KiB and while bytes come from the disk or the peer does not read.
    ///
    /// # Errors
    /// `UnexpectedEof` when the file is shorter; the socket's and the file's own errors. Part of the range may have
    /// been sent.
    pub async fn send_file(&self, fd: &SharedFd, position: u64, bytes: u64) -> io::Result<()> {
        let end = position.checked_add(bytes).ok_or(io::ErrorKind::InvalidInput)?;
        let mut at = position;
        let mut ahead = false;
        while at < end {
            let step = (end - at).min(STEP_BYTES);
            let resident = match residency(fd, at, step) {
                Residency::All => true,
                Residency::Part if is_blind(fd) => false,
                Residency::Part => {
                    ahead = true;
                    want(fd, at, step);
                    becomes_resident(fd, at, step).await
                }
                Residency::Unknown => false,
            };
            if resident {
                if ahead && at + step < end {
                    want(fd, at + step, (end - at - step).min(STEP_BYTES));
                }
                self.send_step(fd, at, step).await?;
            } else {
                self.send_read(fd, at, step).await?;
            }
            at += step;
            if at < end {
                super::yield_now().await;
            }
        }
        Ok(())
    }

    /// One resident step.
    async fn send_step(&self, fd: &SharedFd, position: u64, bytes: u64) -> io::Result<()> {
        let mut at = position.cast_signed();
        let end = (position + bytes).cast_signed();
        while at < end {
            let left = usize::try_from(end - at).expect("one step");
            // SAFETY: the pointer leads to `at`.
            let sent = unsafe { libc::sendfile(self.raw(), fd.as_raw_fd(), &raw mut at, left) };
            match transferred(sent)? {
                Some(0) => return Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
                Some(_) => {}
                None => self.writable().await?,
            }
        }
        Ok(())
    }

    /// One step that is not in the page cache, through memory.
    async fn send_read(&self, fd: &SharedFd, position: u64, bytes: u64) -> io::Result<()> {
        let file = File::from_shared(SharedFd::clone(fd))?;
        let wanted = usize::try_from(bytes).expect("one step");
        let read = file.read_at(position, wanted).await?;
        if read.len() < wanted {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
        }
        // A buffered read has just filled the cache; if it does not show, it never will.
        if residency(fd, position, bytes) == Residency::Part {
            let device = device(fd)?;
            BLIND.with(|blind| blind.borrow_mut().insert(device));
        }
        self.send_vectored(&[IoSlice::new(&read)]).await
    }
}

/// Waits a bounded time for a range to come.
async fn becomes_resident(fd: &SharedFd, position: u64, bytes: u64) -> bool {
    for _ in 0..COLD_WAITS_MAX {
        if residency(fd, position, bytes) == Residency::All {
            return true;
        }
        sleep(COLD_WAIT).await;
    }
    residency(fd, position, bytes) == Residency::All
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::{self, AlignedBuf, Durability, Listener, OpenHow, WriteSlice};

    #[test]
    fn files_whose_cache_cannot_be_asked_are_sent_through_memory() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("segment");
        host::run_local(async move {
            let bytes: Vec<u8> = (0..1_000_000u32).map(|at| (at ^ at >> 8) as u8).collect();
            let how = OpenHow { read: true, write: true, create: true, ..OpenHow::default() };
            let file = File::open(&path, how).await.expect("opens");
            let slices: Vec<WriteSlice> = vec![AlignedBuf::copy_of(&bytes).into()];
            file.write_at(slices, 0, Durability::None).await.expect("writes");
            let fd = file.shared_fd();
            let device = device(&fd).expect("a device");
            assert!(!is_blind(&fd));
            BLIND.with(|blind| blind.borrow_mut().insert(device));
            assert!(is_blind(&fd));
            let listener = Listener::bind("127.0.0.1", 0).await.expect("binds");
            let client = Stream::connect(listener.addresses()[0]).await.expect("connects");
            let server = Stream::from_seed(listener.accept().await.expect("accepts"));
            let sender = host::spawn(async move { server.send_read(&fd, 1, 999_999).await.expect("sends") });
            let (mut got, mut at) = (vec![0; 999_999], 0);
            while at < got.len() {
                at += client.receive(&mut got[at..]).await.expect("receives");
            }
            sender.await;
            assert!(got == bytes[1..]);
            let error = client.send_read(&file.shared_fd(), 999_999, 2).await.expect_err("is too short");
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        });
    }
}
