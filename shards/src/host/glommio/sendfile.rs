//! File bytes to a socket without ever waiting for the disk on the core, and without a copy where the page cache has
//! them.
//!
//! `sendfile(2)` reads through the page cache and blocks the thread on a page that is not there. So `cachestat(2)`
//! is asked first, and then for the last page, which may still be on its way, a read that does not wait. What is cold
//! is read into memory ([`cold`](super::cold)) and sent from there.

use std::io::{self, IoSlice};
use std::os::fd::AsRawFd;
use std::sync::OnceLock;
use std::time::Duration;

use super::cold::{keep_rest, piece_at};
use super::file::SharedFd;
use super::socket::{Stream, transferred};
use super::timer::timeout;

/// Bytes handed to the kernel before the other tasks get their turn.
const STEP_BYTES: u64 = 256 << 10;
/// How long a peer that takes nothing keeps bytes in memory that could be read again.
const PATIENCE: Duration = Duration::from_millis(20);

/// What the page cache holds of a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Residency {
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

pub(super) fn residency(fd: &SharedFd, position: u64, bytes: u64) -> Residency {
    let range = CachestatRange { offset: position, bytes };
    let mut stat = Cachestat::default();
    // SAFETY: the pointers lead to a range and a record of the layout that the call expects.
    let result = unsafe { libc::syscall(SYS_CACHESTAT, fd.as_raw_fd(), &raw const range, &raw mut stat, 0) };
    if result != 0 {
        return Residency::Unknown;
    }
    if stat.cached >= pages_of(position, bytes, page_bytes()) && has_come(fd, position + bytes - 1) {
        Residency::All
    } else {
        Residency::Part
    }
}

/// How many pages of `page` bytes a range touches.
fn pages_of(position: u64, bytes: u64, page: u64) -> u64 {
    (position + bytes).div_ceil(page) - position / page
}

/// Bytes of one of the kernel's pages, which it counts by: 4 KiB, or up to 64 KiB on AArch64.
fn page_bytes() -> u64 {
    static PAGE_BYTES: OnceLock<u64> = OnceLock::new();
    // SAFETY: no pointers are passed.
    *PAGE_BYTES.get_or_init(|| match unsafe { libc::sysconf(libc::_SC_PAGESIZE) } {
        bytes @ 1.. => bytes.cast_unsigned(),
        _ => 4096,
    })
}

/// Whether a byte that the page cache counts as there is not still on its way: of what is read together the last page
/// comes last.
fn has_come(fd: &SharedFd, at: u64) -> bool {
    let mut byte = 0_u8;
    let slice = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
    // SAFETY: the pointers lead to one slice of one byte.
    let read =
        unsafe { libc::preadv2(fd.as_raw_fd(), &raw const slice, 1, at.cast_signed(), libc::RWF_NOWAIT) };
    // A file that cannot be read like that is not one that waits for its disk.
    read != -1 || io::Error::last_os_error().kind() != io::ErrorKind::WouldBlock
}

impl Stream {
    /// Sends bytes `position .. position + bytes` of a file that was opened without `direct`. The core is given away
    /// between steps of 256 KiB and while bytes come from the disk or the peer does not read. Returns how many of them
    /// were not in the page cache.
    ///
    /// # Errors
    /// `UnexpectedEof` when the file is shorter; the socket's and the file's own errors. Part of the range may have
    /// been sent.
    pub async fn send_file(&self, fd: &SharedFd, position: u64, bytes: u64) -> io::Result<u64> {
        let end = position.checked_add(bytes).ok_or(io::ErrorKind::InvalidInput)?;
        let (mut at, mut cold) = (position, 0);
        while at < end {
            let step = (end - at).min(STEP_BYTES);
            if residency(fd, at, step) == Residency::All {
                self.send_step(fd, at, step).await?;
                at += step;
            } else {
                let sent = self.send_piece(fd, at, end).await?;
                cold += sent - at;
                at = sent;
            }
            if at < end {
                super::yield_now().await;
            }
        }
        Ok(cold)
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

    /// What the piece of memory that has byte `at` has of the file before `end`, or less of it where the peer takes
    /// nothing for a while; returns where to go on.
    async fn send_piece(&self, fd: &SharedFd, at: u64, end: u64) -> io::Result<u64> {
        let piece = piece_at(fd, at, end).await?;
        let bytes = piece.from(at, end);
        if bytes.is_empty() {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
        }
        let mut sent = 0;
        while sent < bytes.len() {
            match self.try_send(&[IoSlice::new(&bytes[sent..])], at + (bytes.len() as u64) < end)? {
                Some(more) => sent += more,
                None => match timeout(PATIENCE, self.writable()).await {
                    Ok(ready) => ready?,
                    Err(_) => break,
                },
            }
        }
        let (is_stalled, at) = (sent < bytes.len(), at + sent as u64);
        // Whoever takes little at a time finds it there: read again for each little, it would look like many readers.
        keep_rest(fd, piece, at);
        if is_stalled {
            self.writable().await?;
        }
        Ok(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_counted_as_large_as_the_kernel_has_them() {
        for (position, bytes, page, pages) in
            [(0, 1, 4096, 1), (0, 4096, 4096, 1), (4095, 2, 4096, 2), (4096, 262_144, 4096, 64)]
        {
            assert_eq!(pages_of(position, bytes, page), pages, "{position} {bytes} {page}");
        }
        assert_eq!(pages_of(4096, 262_144, 65_536), 5);
        assert_eq!(pages_of(65_536, 262_144, 65_536), 4);
        assert!(page_bytes().is_power_of_two());
    }
}
