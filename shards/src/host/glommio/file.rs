//! Files, through the shard's ring.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::{Arc, OnceLock};

use io_uring::{opcode, types};
use ottla::limits::BLOCK_BYTES;

use super::blocking::spawn_blocking;
use super::committer::commit;
use super::driver;
use super::op::{Hold, Op, WriteJob};
use super::synced::{SyncedWrite, reads_go_on};
use crate::host::buffer::{AlignedBuf, WriteSlice};
use crate::host::types::{Durability, OpenHow};

/// Slices that one system call takes (`IOV_MAX`); longer lists are written in several.
const SLICES_MAX: usize = 1024;

/// An open file, and the same past the page cache once that was needed.
#[derive(Debug)]
pub(super) struct Descriptor {
    fd: OwnedFd,
    twin: OnceLock<Option<SharedFd>>,
}

impl Descriptor {
    /// How the kernel shall read ahead.
    fn advise(&self, how: libc::c_int) {
        // SAFETY: no pointers are passed. Without the advice it reads as it likes.
        let _ = unsafe { libc::posix_fadvise(self.fd.as_raw_fd(), 0, 0, how) };
    }
}

impl AsRawFd for Descriptor {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

/// A descriptor that may cross shards; the file closes with its last owner.
#[derive(Clone, Debug)]
pub struct SharedFd(Arc<Descriptor>);

impl SharedFd {
    /// The same for all clones, and another for every other file that is open at the time.
    #[must_use]
    pub fn identity(&self) -> usize {
        Arc::as_ptr(&self.0).addr()
    }

    /// The file's size in bytes now, without giving way: the system has it in memory while the file is open.
    ///
    /// # Errors
    /// The system's.
    pub fn bytes(&self) -> io::Result<u64> {
        // SAFETY: all zero bits are a value of the type.
        let mut stat: libc::stat = unsafe { std::mem::zeroed() };
        // SAFETY: the pointer leads to `stat`.
        if unsafe { libc::fstat(self.as_raw_fd(), &raw mut stat) } != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(stat.st_size.cast_unsigned())
    }

    /// Where the file is, for what is told of it; empty where the system does not say.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        std::fs::read_link(format!("/proc/self/fd/{}", self.as_raw_fd())).unwrap_or_default()
    }

    /// The kernel may read ahead as it likes; see [`OpenHow::exact`].
    pub(super) fn let_read_ahead(&self) {
        self.0.advise(libc::POSIX_FADV_NORMAL);
    }

    /// The descriptor for direct reads; `None` where it cannot be opened.
    pub(super) fn twin(&self) -> &OnceLock<Option<SharedFd>> {
        &self.0.twin
    }
}

impl AsRawFd for SharedFd {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// Bytes that one system call is asked to read.
const READ_BYTES_MAX: usize = 1 << 30;

const _: () = assert!(READ_BYTES_MAX.is_multiple_of(BLOCK_BYTES));

/// An open file of this shard; clones share it, and it closes with the last of them and of its [`SharedFd`]s.
#[derive(Clone, Debug)]
pub struct File {
    fd: Arc<Descriptor>,
    direct: bool,
    _local: std::marker::PhantomData<Rc<()>>,
}

/// Keeps files open until every operation that this shard has in flight has ended, even when the process is killed: the
/// kernel lets go of them when it has taken the shard's ring apart, which waits for writes on their way to the disk. A
/// lock on such a file therefore says that nobody writes any more. Once per shard.
///
/// # Errors
/// The system's.
pub fn hold_until_the_end(files: &[SharedFd]) -> io::Result<()> {
    let fds: Vec<_> = files.iter().map(AsRawFd::as_raw_fd).collect();
    driver::current().ring.hold_files(&fds)
}

/// Lets go of the files of [`hold_until_the_end`], on a shard that has awaited everything it began.
///
/// # Errors
/// The system's.
pub fn release_held() -> io::Result<()> {
    driver::current().ring.release_files()
}

/// `path` as the kernel takes it.
pub(super) fn c_path(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))
}

impl File {
    /// Opens `path`. New files get mode 0644.
    pub async fn open(path: impl AsRef<Path>, how: OpenHow) -> io::Result<File> {
        let flags = open_flags(how)?;
        let path = c_path(path.as_ref())?;
        let at = types::Fd(libc::AT_FDCWD);
        let entry = opcode::OpenAt::new(at, path.as_ptr()).flags(flags).mode(0o644).build();
        let (fd, _) = Op::begin(entry, Hold::Opening(path)).result().await?;
        // SAFETY: the kernel has just made this descriptor for us.
        let fd = unsafe { OwnedFd::from_raw_fd(fd.cast_signed()) };
        let file = File::from_fd(Arc::new(Descriptor { fd, twin: OnceLock::new() }), how.direct);
        if how.exact {
            file.fd.advise(libc::POSIX_FADV_RANDOM);
        }
        Ok(file)
    }

    /// A file of this shard from a descriptor that another shard opened.
    pub fn from_shared(fd: SharedFd) -> io::Result<File> {
        // SAFETY: no pointers are passed.
        let flags = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) };
        if flags < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(File::from_fd(fd.0, flags & libc::O_DIRECT != 0))
    }

    fn from_fd(fd: Arc<Descriptor>, direct: bool) -> File {
        File { fd, direct, _local: std::marker::PhantomData }
    }

    /// The descriptor, for another shard or for `Stream::send_file`; for the latter the file must have been opened
    /// without `direct`.
    #[must_use]
    pub fn shared_fd(&self) -> SharedFd {
        SharedFd(Arc::clone(&self.fd))
    }

    /// Whether the file bypasses the page cache.
    #[must_use]
    pub fn is_direct(&self) -> bool {
        self.direct
    }

    #[cfg(test)]
    pub(super) fn descriptor(&self) -> Arc<Descriptor> {
        Arc::clone(&self.fd)
    }

    fn target(&self) -> types::Fd {
        types::Fd(self.fd.as_raw_fd())
    }

    /// Reads `bytes` bytes from `position`; fewer when the file ends before. On a direct file both must be
    /// multiples of 4,096.
    pub async fn read_at(&self, position: u64, bytes: usize) -> io::Result<AlignedBuf> {
        if self.direct {
            let aligned = position.is_multiple_of(BLOCK_BYTES as u64) && bytes.is_multiple_of(BLOCK_BYTES);
            assert!(aligned, "a direct read begins and ends on a block");
        }
        let mut buf = AlignedBuf::new(bytes);
        let mut done = 0;
        while done < bytes {
            let left = u32::try_from((bytes - done).min(READ_BYTES_MAX)).expect("at most 1 GiB");
            let start = buf[done..].as_mut_ptr();
            let entry = opcode::Read::new(self.target(), start, left).offset(position + done as u64).build();
            let (read, hold) = Op::begin(entry, Hold::Read(Arc::clone(&self.fd), buf)).result().await?;
            let Hold::Read(_, back) = hold else { unreachable!("a read comes back with its buffer") };
            buf = back;
            done += read as usize;
            // A direct read that ends off a block boundary has met the end of the file.
            if read == 0 || (self.direct && !done.is_multiple_of(BLOCK_BYTES)) {
                break;
            }
        }
        buf.set_len(done);
        Ok(buf)
    }

    /// Writes `slices` one after the other from `position` on. Short writes are continued; the slices stay alive
    /// until the kernel is done with them, even when this future is dropped. On a direct file the position and
    /// every slice must be aligned.
    ///
    /// # Errors
    /// After an error any part of the bytes may have been written, and none need be durable.
    pub async fn write_at(
        &self,
        slices: impl Into<Vec<WriteSlice>>,
        position: u64,
        durability: Durability,
    ) -> io::Result<()> {
        let mut slices: Vec<WriteSlice> = slices.into();
        if self.direct {
            assert!(position.is_multiple_of(BLOCK_BYTES as u64), "a direct write begins on a block");
            assert!(slices.iter().all(WriteSlice::is_aligned), "a direct write is made of whole blocks");
        }
        let mut position = position;
        let mut skip = 0;
        loop {
            while slices.first().is_some_and(|first| skip >= first.len()) {
                skip -= slices.remove(0).len();
            }
            if slices.is_empty() {
                return Ok(());
            }
            let (written, back) = self.write_once(slices, skip, position, durability).await?;
            slices = back;
            skip += written;
            position += written as u64;
        }
    }

    /// One system call's worth: the bytes written (never zero) and the slices.
    async fn write_once(
        &self,
        slices: Vec<WriteSlice>,
        skip: usize,
        position: u64,
        durability: Durability,
    ) -> io::Result<(usize, Vec<WriteSlice>)> {
        let skips = std::iter::once(skip).chain(std::iter::repeat(0));
        let iovecs =
            slices.iter().zip(skips).take(SLICES_MAX).map(|(slice, skip)| slice.iovec(skip)).collect();
        let job = Box::new(WriteJob { slices, iovecs });
        let (written, job) = match durability {
            Durability::None => self.write_by_ring(job, position, 0).await?,
            Durability::DataSync => self.write_synced(job, position).await?,
        };
        if written == 0 {
            return Err(io::Error::from(io::ErrorKind::WriteZero));
        }
        Ok((written, job.slices))
    }

    async fn write_synced(&self, job: Box<WriteJob>, position: u64) -> io::Result<(usize, Box<WriteJob>)> {
        let _under_way = SyncedWrite::begin();
        let commit = if reads_go_on() { commit(&self.fd, job, position) } else { Err(job) };
        match commit {
            Ok(commit) => {
                let (written, job) = commit.await;
                Ok((written?, job))
            }
            Err(job) => self.write_by_ring(job, position, libc::RWF_DSYNC).await,
        }
    }

    async fn write_by_ring(
        &self,
        job: Box<WriteJob>,
        position: u64,
        flags: libc::c_int,
    ) -> io::Result<(usize, Box<WriteJob>)> {
        let count = u32::try_from(job.iovecs.len()).expect("at most IOV_MAX");
        let entry = opcode::Writev::new(self.target(), job.iovecs.as_ptr(), count)
            .offset(position)
            .rw_flags(flags)
            .build();
        let (written, hold) = Op::begin(entry, Hold::Write(Arc::clone(&self.fd), job)).result().await?;
        let Hold::Write(_, job) = hold else { unreachable!("a write comes back with its slices") };
        Ok((written as usize, job))
    }

    /// Makes the file's bytes, and the size needed to read them back, durable (`fdatasync`).
    pub async fn sync_data(&self) -> io::Result<()> {
        let _under_way = SyncedWrite::begin();
        self.sync(types::FsyncFlags::DATASYNC).await
    }

    /// Makes the file's bytes and all its metadata durable (`fsync`).
    pub async fn sync_all(&self) -> io::Result<()> {
        self.sync(types::FsyncFlags::empty()).await
    }

    async fn sync(&self, flags: types::FsyncFlags) -> io::Result<()> {
        let entry = opcode::Fsync::new(self.target()).flags(flags).build();
        Op::begin(entry, Hold::Shared(Arc::clone(&self.fd))).result().await?;
        Ok(())
    }

    /// Cuts or extends (with a hole) the file to `bytes`.
    pub async fn set_len(&self, bytes: u64) -> io::Result<()> {
        let length = i64::try_from(bytes).map_err(|_| io::Error::from_raw_os_error(libc::EFBIG))?;
        if driver::current().ring.supports(opcode::Ftruncate::CODE) {
            let entry = opcode::Ftruncate::new(self.target(), bytes).build();
            Op::begin(entry, Hold::Shared(Arc::clone(&self.fd))).result().await?;
            return Ok(());
        }
        let fd = Arc::clone(&self.fd);
        // SAFETY: no pointers are passed; the descriptor is kept open by the closure.
        let call = move || checked(unsafe { libc::ftruncate(fd.as_raw_fd(), length) });
        spawn_blocking(call).await
    }

    /// The file's size in bytes.
    pub async fn len(&self) -> io::Result<u64> {
        const EMPTY: &std::ffi::CStr = c"";
        // SAFETY: a statx of zero bits is a value of the type.
        let mut stat: Box<libc::statx> = Box::new(unsafe { std::mem::zeroed() });
        let place: *mut types::statx = (&raw mut *stat).cast();
        let entry = opcode::Statx::new(self.target(), EMPTY.as_ptr(), place)
            .flags(libc::AT_EMPTY_PATH)
            .mask(libc::STATX_SIZE)
            .build();
        let (_, hold) = Op::begin(entry, Hold::Stat(Arc::clone(&self.fd), stat)).result().await?;
        let Hold::Stat(_, stat) = hold else { unreachable!("a statx comes back with its record") };
        Ok(stat.stx_size)
    }

    /// Reserves blocks for bytes `position .. position + bytes` and extends the file over them; they read as zeros.
    /// The extents stay "unwritten" until they are written once, which costs the first synced write of each a
    /// journal commit.
    pub async fn allocate(&self, position: u64, bytes: u64) -> io::Result<()> {
        let entry = opcode::Fallocate::new(self.target(), bytes).offset(position).mode(0).build();
        Op::begin(entry, Hold::Shared(Arc::clone(&self.fd))).result().await?;
        Ok(())
    }
}

impl File {
    /// Takes the lock that keeps other processes, real Kafka among them, from a directory (`.lock`); it is held until
    /// the file closes. False when another open file has it.
    pub fn try_lock(&self) -> io::Result<bool> {
        // SAFETY: all zero bits are a value of the type.
        let mut lock: libc::flock = unsafe { std::mem::zeroed() };
        lock.l_type = libc::c_short::try_from(libc::F_WRLCK).expect("a small constant");
        lock.l_whence = libc::c_short::try_from(libc::SEEK_SET).expect("a small constant");
        // SAFETY: the pointer leads to `lock`. This kind of lock belongs to the open file, and collides with those
        // that Java takes.
        let result = unsafe { libc::fcntl(self.fd.as_raw_fd(), libc::F_OFD_SETLK, &raw const lock) };
        match checked(result) {
            Ok(()) => Ok(true),
            Err(error) if matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EACCES)) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// The result of a system call that returns -1 for an error.
pub(super) fn checked(result: libc::c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn open_flags(how: OpenHow) -> io::Result<i32> {
    let access = match (how.read, how.write) {
        (true, true) => libc::O_RDWR,
        (true, false) => libc::O_RDONLY,
        (false, true) => libc::O_WRONLY,
        (false, false) => return Err(io::Error::from_raw_os_error(libc::EINVAL)),
    };
    let create = if how.create_new {
        libc::O_CREAT | libc::O_EXCL
    } else if how.create {
        libc::O_CREAT
    } else {
        0
    };
    let direct = if how.direct { libc::O_DIRECT } else { 0 };
    Ok(access | create | direct | libc::O_CLOEXEC)
}
