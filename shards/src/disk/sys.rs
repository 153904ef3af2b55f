//! The three system calls on files that the host does not have: lock a file, ask a file system for its room and kind.
//!
//! They are made when log dirs are opened or described, never on the path of a record.

use std::ffi::CString;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::host::SharedFd;

/// What a file system has room for, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// Bytes that this process may still write.
    pub available: u64,
    /// Bytes of the whole file system.
    pub total: u64,
}

/// Locks an open file for this process alone. `false`: somebody else holds it. The lock ends with the descriptor,
/// so that a killed broker leaves none behind.
///
/// # Errors
/// What the system says on file systems that cannot lock.
pub fn try_lock(file: &SharedFd) -> io::Result<bool> {
    // SAFETY: no pointers are passed and the descriptor is open.
    let result = unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) };
    if result == 0 {
        return Ok(true);
    }
    let error = io::Error::last_os_error();
    if error.raw_os_error() == Some(libc::EWOULDBLOCK) { Ok(false) } else { Err(error) }
}

/// The room on the file system of `path`.
///
/// # Errors
/// What the system says.
pub fn space(path: &Path) -> io::Result<Space> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: all zero bits are a value of the type.
    let mut stat: libc::statvfs = unsafe { std::mem::zeroed() };
    // SAFETY: the path ends with a zero byte and the record outlives the call.
    let result = unsafe { libc::statvfs(path.as_ptr(), &raw mut stat) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    let unit = stat.f_frsize;
    Ok(Space { available: stat.f_bavail.saturating_mul(unit), total: stat.f_blocks.saturating_mul(unit) })
}

/// The name of the file system's kind where it matters to us: one that keeps its files in the page cache, or that
/// passes writes on to another.
///
/// # Errors
/// What the system says.
pub fn indirect_kind(path: &Path) -> io::Result<Option<&'static str>> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: all zero bits are a value of the type.
    let mut stat: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: the path ends with a zero byte and the record outlives the call.
    let result = unsafe { libc::statfs(path.as_ptr(), &raw mut stat) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(match stat.f_type {
        libc::TMPFS_MAGIC => Some("tmpfs"),
        libc::OVERLAYFS_SUPER_MAGIC => Some("overlayfs"),
        libc::FUSE_SUPER_MAGIC => Some("FUSE"),
        libc::NFS_SUPER_MAGIC => Some("NFS"),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn a_lock_is_held_once() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let open = || -> SharedFd {
            let file = std::fs::File::create(dir.path().join("lock")).expect("a file");
            Arc::new(file.into())
        };
        let (first, second) = (open(), open());
        assert!(try_lock(&first).expect("a lock"));
        assert!(!try_lock(&second).expect("an answer"));
        drop(first);
        assert!(try_lock(&second).expect("a lock"));
    }

    #[test]
    fn a_file_system_has_room_and_a_kind() {
        let space = space(Path::new("/")).expect("a root");
        assert!(space.total >= space.available);
        assert!(space.total > 0);
        assert!(super::space(Path::new("/nowhere/at/all")).is_err());
        assert_eq!(indirect_kind(Path::new("/dev/shm")).expect("a tmpfs"), Some("tmpfs"));
    }
}
