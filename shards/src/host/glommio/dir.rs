//! Names in directories: through the ring where the kernel has the call, else on a blocking thread.

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
use crate::host::buffer::{AlignedBuf, WriteSlice};
use crate::host::types::{Durability, OpenHow};

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
    if !driver::current().ring.supports(opcode::RenameAt::CODE) {
        let (from, to) = (from.as_ref().to_path_buf(), to.as_ref().to_path_buf());
        return spawn_blocking(move || std::fs::rename(from, to)).await;
    }
    let (from, to) = (c_path(from.as_ref())?, c_path(to.as_ref())?);
    let entry = opcode::RenameAt::new(HERE, from.as_ptr(), HERE, to.as_ptr()).build();
    Op::begin(entry, Hold::Paths(from, to)).result().await?;
    Ok(())
}

/// Removes a file's name. Open descriptors keep its bytes.
pub async fn remove_file(path: impl AsRef<Path>) -> io::Result<()> {
    if !driver::current().ring.supports(opcode::UnlinkAt::CODE) {
        let path = path.as_ref().to_path_buf();
        return spawn_blocking(move || std::fs::remove_file(path)).await;
    }
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

/// What a directory holds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DirEntry {
    /// The name, without the directory.
    pub name: std::ffi::OsString,
    /// Whether it is a directory itself; links are not followed.
    pub is_dir: bool,
    /// Bytes of the file, as it was when the directory was read.
    pub bytes: u64,
    /// When the file was last changed, by the wall clock.
    pub modified: TimestampMs,
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

/// Bytes that are asked for first of a whole file: most are small.
const WHOLE_BYTES_FIRST: usize = 4 << 10;
/// Bytes that are asked for at a time after that.
const WHOLE_BYTES: usize = 1 << 20;

/// The whole of a file.
///
/// # Errors
/// `FileTooLarge` when it holds more than `limit` bytes.
pub async fn read_whole(path: impl AsRef<Path>, limit: usize) -> io::Result<Vec<u8>> {
    let file = File::open(path, OpenHow { read: true, ..OpenHow::default() }).await?;
    let mut whole = Vec::new();
    let mut step = WHOLE_BYTES_FIRST;
    loop {
        let piece = file.read_at(whole.len() as u64, step).await?;
        if whole.len() + piece.len() > limit {
            return Err(io::Error::from(io::ErrorKind::FileTooLarge));
        }
        whole.extend_from_slice(&piece);
        // A read of a file is short at its end alone.
        if piece.len() < step {
            return Ok(whole);
        }
        step = WHOLE_BYTES;
    }
}

/// Replaces the file `path` by one with these bytes, so that after a crash at any moment the name leads to the old
/// bytes or to the new ones, and after the return to the new ones. Uses `<path>.tmp` on the way.
pub async fn write_whole_durably(path: impl AsRef<Path>, bytes: &[u8]) -> io::Result<()> {
    let path = path.as_ref();
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) | None => Path::new("."),
    };
    let mut temporary = PathBuf::from(path).into_os_string();
    temporary.push(".tmp");
    let how = OpenHow { write: true, create: true, ..OpenHow::default() };
    let file = File::open(&temporary, how).await?;
    file.set_len(0).await?;
    let slices: Vec<WriteSlice> = vec![AlignedBuf::copy_of(bytes).into()];
    file.write_at(slices, 0, Durability::None).await?;
    file.sync_all().await?;
    rename(&temporary, path).await?;
    sync_dir(parent).await
}

/// A filesystem's room, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskSpace {
    /// What this process may still write.
    pub free: u64,
    /// What the filesystem holds in all.
    pub total: u64,
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
