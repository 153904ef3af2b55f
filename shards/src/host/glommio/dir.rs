//! Names in directories: through the ring where it has the call, else on a blocking thread.

use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use io_uring::{opcode, types};
use ottla::ids::TimestampMs;

use super::blocking::spawn_blocking;
use super::driver;
use super::file::{File, c_path, checked};
use super::op::{Hold, Op};
use crate::host::types::{DirEntry, DiskSpace, OpenHow};

const HERE: types::Fd = types::Fd(libc::AT_FDCWD);

/// Creates the directory `path` in one that is there. Nothing is synced.
///
/// # Errors
/// `AlreadyExists` when the name is taken.
pub async fn create_dir(path: impl AsRef<Path>) -> io::Result<()> {
    if !driver::current().ring.supports(opcode::MkDirAt::CODE) {
        let path = path.as_ref().to_path_buf();
        return spawn_blocking(move || std::fs::create_dir(path)).await;
    }
    let path = c_path(path.as_ref())?;
    let entry = opcode::MkDirAt::new(HERE, path.as_ptr()).mode(0o777).build();
    Op::begin(entry, Hold::Path(path)).result().await?;
    Ok(())
}

/// Creates `path` and the directories above it; those that are there stay as they are. Nothing is synced.
pub async fn create_dir_all(path: impl AsRef<Path>) -> io::Result<()> {
    let path = path.as_ref().to_path_buf();
    spawn_blocking(move || std::fs::create_dir_all(path)).await
}

/// Renames `from` to `to`, replacing a file that is there. Durable after [`sync_dir`] of both directories.
pub async fn rename(from: impl AsRef<Path>, to: impl AsRef<Path>) -> io::Result<()> {
    let (from, to) = (c_path(from.as_ref())?, c_path(to.as_ref())?);
    let entry = opcode::RenameAt::new(HERE, from.as_ptr(), HERE, to.as_ptr()).build();
    Op::begin(entry, Hold::Paths(from, to)).result().await?;
    Ok(())
}

/// Removes a file's name. Open descriptors keep its bytes.
pub async fn remove_file(path: impl AsRef<Path>) -> io::Result<()> {
    let path = c_path(path.as_ref())?;
    let entry = opcode::UnlinkAt::new(HERE, path.as_ptr()).build();
    Op::begin(entry, Hold::Path(path)).result().await?;
    Ok(())
}

/// Removes a directory with everything in it. Symbolic links are removed, not followed.
pub async fn remove_dir_all(path: impl AsRef<Path>) -> io::Result<()> {
    let path = path.as_ref().to_path_buf();
    spawn_blocking(move || std::fs::remove_dir_all(path)).await
}

/// The entries of a directory, in the order of their names.
pub async fn read_dir(path: impl AsRef<Path>) -> io::Result<Vec<DirEntry>> {
    let path = path.as_ref().to_path_buf();
    spawn_blocking(move || {
        let mut entries = Vec::new();
        for entry in std::fs::read_dir(path)? {
            let entry = entry?;
            let metadata = match entry.metadata() {
                Ok(metadata) => metadata,
                // Removed since it was listed.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            let modified = metadata.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
            entries.push(DirEntry {
                name: entry.file_name(),
                is_dir: metadata.is_dir(),
                bytes: metadata.len(),
                modified: TimestampMs(i64::try_from(modified).unwrap_or(i64::MAX)),
            });
        }
        entries.sort();
        Ok(entries)
    })
    .await
}

/// The sizes of files in bytes, in their order; `None` for a name that leads nowhere. What cannot be examined for
/// another reason fails.
pub async fn file_sizes(paths: Vec<PathBuf>) -> io::Result<Vec<Option<u64>>> {
    spawn_blocking(move || {
        let size = |path: &PathBuf| match std::fs::symlink_metadata(path) {
            Ok(metadata) => Ok(Some(metadata.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        };
        paths.iter().map(size).collect()
    })
    .await
}

/// Makes the names in directory `path` durable: files created, renamed and removed in it.
pub async fn sync_dir(path: impl AsRef<Path>) -> io::Result<()> {
    let directory = File::open(path, OpenHow { read: true, ..OpenHow::default() }).await?;
    directory.sync_all().await
}

/// Makes everything durable that was written before on the filesystem of directory `path`, by anybody: one wait
/// for very many files.
pub async fn sync_file_system(path: impl AsRef<Path>) -> io::Result<()> {
    let directory = File::open(path, OpenHow { read: true, ..OpenHow::default() }).await?.shared_fd();
    spawn_blocking(move || {
        // SAFETY: no pointers are passed and the descriptor is open.
        checked(unsafe { libc::syncfs(directory.as_raw_fd()) }).map(|_| ())
    })
    .await
}

/// Whether `path` names anything.
pub async fn exists(path: impl AsRef<Path>) -> io::Result<bool> {
    let path = path.as_ref().to_path_buf();
    spawn_blocking(move || path.try_exists()).await
}

/// The one absolute path, without links, of what `path` leads to.
pub async fn canonicalize(path: impl AsRef<Path>) -> io::Result<PathBuf> {
    let path = path.as_ref().to_path_buf();
    spawn_blocking(move || std::fs::canonicalize(path)).await
}

/// The room of the filesystem that `path` lies on.
pub async fn disk_space(path: impl AsRef<Path>) -> io::Result<DiskSpace> {
    let path = c_path(path.as_ref())?;
    spawn_blocking(move || {
        // SAFETY: all zero bits are a value of the type.
        let mut stat: libc::statvfs = unsafe { std::mem::zeroed() };
        // SAFETY: the pointers lead to a path that ends with a zero and to `stat`.
        checked(unsafe { libc::statvfs(path.as_ptr(), &raw mut stat) })?;
        Ok(DiskSpace { free: stat.f_bavail * stat.f_frsize, total: stat.f_blocks * stat.f_frsize })
    })
    .await
}

/// The name of the kind of the filesystem that `path` lies on, where it matters to us: one that keeps its files in the
/// page cache, or that passes writes on to another.
pub async fn indirect_file_system(path: impl AsRef<Path>) -> io::Result<Option<&'static str>> {
    let path = c_path(path.as_ref())?;
    spawn_blocking(move || {
        // SAFETY: all zero bits are a value of the type.
        let mut stat: libc::statfs = unsafe { std::mem::zeroed() };
        // SAFETY: the pointers lead to a path that ends with a zero and to `stat`.
        checked(unsafe { libc::statfs(path.as_ptr(), &raw mut stat) })?;
        Ok(match stat.f_type {
            libc::TMPFS_MAGIC => Some("tmpfs"),
            libc::OVERLAYFS_SUPER_MAGIC => Some("overlayfs"),
            libc::FUSE_SUPER_MAGIC => Some("FUSE"),
            libc::NFS_SUPER_MAGIC => Some("NFS"),
            _ => None,
        })
    })
    .await
}
