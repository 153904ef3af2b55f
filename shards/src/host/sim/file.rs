//! Files of a machine's disk. Reads and writes take place at their completion.

use std::cell::RefCell;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use ottla::limits::BLOCK_BYTES;

use super::disk::{FileId, Op};
use super::disk_op::{Cost, Fate, InFlightWrite, LookAtWrite, begin};
use super::engine::{Engine, engine, engine_of, here, this_process};
use super::process::{Node, ProcessId};
use crate::host::buffer::{AlignedBuf, WriteSlice};
use crate::host::types::{Durability, OpenHow};

/// A write that takes its bytes when it completes rather than when it begins: a kernel may do either.
const LATE_PER_MILLION: u32 = 300_000;

/// An open file, closed on drop.
#[derive(Debug)]
struct OpenFile {
    world: u64,
    process: ProcessId,
    file: FileId,
    direct: bool,
    path: Box<Path>,
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        let Some(engine) = engine_of(self.world) else { return };
        let process = engine.process(self.process);
        // The system closes what a process held when it ended.
        if !process.is_alive() {
            return;
        }
        if process.held.borrow().iter().any(|(_, file)| *file == self.file) {
            process.held_only.borrow_mut().insert(self.file);
            return;
        }
        if process.files.borrow_mut().remove(&self.file) {
            process.node.disk.borrow_mut().close(self.file);
        }
    }
}

/// A descriptor that may cross shards; the file closes with its last owner.
#[derive(Clone, Debug)]
pub struct SharedFd(Arc<OpenFile>);

/// An open file of this shard; clones share it, and it closes with the last of them and of its [`SharedFd`]s.
#[derive(Clone, Debug)]
pub struct File {
    fd: SharedFd,
    _local: std::marker::PhantomData<Rc<()>>,
}

/// Keeps files open until every operation that this shard has in flight has ended, even when the process is killed:
/// a killed process may linger, and its writes take place yet. Once per shard.
///
/// # Errors
/// `EBUSY` when the shard holds files already.
pub fn hold_until_the_end(files: &[SharedFd]) -> io::Result<()> {
    let shard = here();
    let mut held = shard.process.held.borrow_mut();
    if held.iter().any(|(holder, _)| *holder == shard.key()) {
        return Err(io::Error::from_raw_os_error(libc::EBUSY));
    }
    held.extend(files.iter().map(|file| (shard.key(), file.id())));
    Ok(())
}

/// Lets go of the files of [`hold_until_the_end`], on a shard that has awaited everything it began.
///
/// # Errors
/// None in a world.
pub fn release_held() -> io::Result<()> {
    let shard = here();
    let process = &shard.process;
    let mut held = process.held.borrow_mut();
    held.retain(|(holder, _)| *holder != shard.key());
    let is_free = |file: &FileId| !held.iter().any(|(_, other)| other == file);
    let free: Vec<FileId> = process.held_only.borrow().iter().filter(|file| is_free(file)).copied().collect();
    for file in free {
        process.held_only.borrow_mut().remove(&file);
        process.files.borrow_mut().remove(&file);
        process.node.disk.borrow_mut().close(file);
    }
    Ok(())
}

/// Asks for what follows `at` before somebody reads it. A simulated machine has no cold pages: nothing is to be seen.
pub fn read_ahead(_fd: &SharedFd, _at: u64, _end: u64) {}

/// Copies what a reader has left of the file in memory: nothing, here.
pub fn peek_piece(_fd: &SharedFd, _at: u64, _into: &mut [u8]) -> impl Future<Output = bool> {
    std::future::ready(false)
}

impl SharedFd {
    /// The same for all clones, and another for every other file that is open at the time.
    #[must_use]
    pub fn identity(&self) -> usize {
        Arc::as_ptr(&self.0).addr()
    }

    /// The file's size in bytes now, without giving way.
    ///
    /// # Errors
    /// The disk's.
    pub fn bytes(&self) -> io::Result<u64> {
        let node = Rc::clone(&engine().process(self.0.process).node);
        node.disk.borrow_mut().len(self.id())
    }

    /// Where the file is, for what is told of it.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.0.path.to_path_buf()
    }

    pub(super) fn id(&self) -> FileId {
        self.0.file
    }

    fn text(&self) -> impl FnOnce() -> String + 'static {
        let fd = self.clone();
        move || fd.0.path.display().to_string()
    }
}

impl File {
    /// Opens `path`.
    pub async fn open(path: impl AsRef<Path>, how: OpenHow) -> io::Result<File> {
        if !how.read && !how.write {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        let path: Box<Path> = path.as_ref().into();
        let (engine, process) = (engine(), this_process());
        let (world, id) = (engine.id, process.id);
        let (at, name) = (path.clone(), path.display().to_string());
        let what = move || format!("open {name} {}", flags(how));
        let opened = begin(
            Cost { op: Op::Open, also: None, bytes: 0, path: &at, fd: None, write: None },
            what,
            move |node, fate| {
                process.one_more_descriptor()?;
                let file = node.disk.borrow_mut().open(&path, how)?;
                if fate == Fate::IsCut || !process.is_alive() {
                    node.disk.borrow_mut().close(file);
                    return Err(io::Error::from_raw_os_error(libc::ECANCELED));
                }
                process.files.borrow_mut().insert(file);
                Ok(SharedFd(Arc::new(OpenFile { world, process: id, file, direct: how.direct, path })))
            },
        );
        File::from_shared(opened.await?)
    }

    /// A file of this shard from a descriptor that another shard opened.
    ///
    /// # Errors
    /// None in a world.
    pub fn from_shared(fd: SharedFd) -> io::Result<File> {
        Ok(File { fd, _local: std::marker::PhantomData })
    }

    /// The descriptor, for another shard or for `Stream::send_file`; for the latter the file must have been opened
    /// without `direct`.
    #[must_use]
    pub fn shared_fd(&self) -> SharedFd {
        self.fd.clone()
    }

    /// Whether the file bypasses the page cache.
    #[must_use]
    pub fn is_direct(&self) -> bool {
        self.fd.0.direct
    }

    fn cost(&self, op: Op, bytes: u64) -> Cost<'_> {
        Cost { op, also: None, bytes, path: &self.fd.0.path, fd: Some(&self.fd), write: None }
    }

    /// Reads `bytes` bytes from `position`; fewer when the file ends before. On a direct file both must be
    /// multiples of 4,096.
    pub async fn read_at(&self, position: u64, bytes: usize) -> io::Result<AlignedBuf> {
        if self.is_direct() {
            let aligned = position.is_multiple_of(BLOCK_BYTES as u64) && bytes.is_multiple_of(BLOCK_BYTES);
            assert!(aligned, "a direct read begins and ends on a block");
        }
        let mut buf = AlignedBuf::zeroed(bytes);
        let mut done = 0;
        while done < bytes {
            let (file, from, text) = (self.fd.id(), position + done as u64, self.fd.text());
            let what = move || format!("read {}+{} of {}", from, bytes - done, text());
            let wait = begin(self.cost(Op::Read, (bytes - done) as u64), what, move |node, _| {
                let read = node.disk.borrow_mut().read(file, from, &mut buf[done..])?;
                Ok((buf, read))
            });
            let (back, read) = wait.await?;
            buf = back;
            done += read;
            // A direct read that ends off a block boundary has met the end of the file.
            if read == 0 || (self.is_direct() && !done.is_multiple_of(BLOCK_BYTES)) {
                break;
            }
        }
        buf.set_len(done);
        Ok(buf)
    }

    /// Writes `slices` one after the other from `position` on. Short writes are continued; the slices stay alive
    /// until the write has taken place, even when this future is dropped. On a direct file the position and every
    /// slice must be aligned.
    ///
    /// # Errors
    /// After an error any part of the bytes may have been written, and none need be durable.
    pub async fn write_at(
        &self,
        slices: impl Into<Vec<WriteSlice>>,
        position: u64,
        durability: Durability,
    ) -> io::Result<()> {
        let slices: Vec<WriteSlice> = slices.into();
        if self.is_direct() {
            assert!(position.is_multiple_of(BLOCK_BYTES as u64), "a direct write begins on a block");
            assert!(slices.iter().all(WriteSlice::is_aligned), "a direct write is made of whole blocks");
        }
        let total: usize = slices.iter().map(WriteSlice::len).sum();
        let slices = Rc::new(slices);
        let mut done = 0;
        while done < total {
            let written = self.write_once(&slices, done, position, durability).await?;
            if written == 0 {
                return Err(io::Error::from(io::ErrorKind::WriteZero));
            }
            done += written;
        }
        Ok(())
    }

    /// One system call's worth: what follows the first `skip` bytes; the bytes written.
    async fn write_once(
        &self,
        slices: &Rc<Vec<WriteSlice>>,
        skip: usize,
        position: u64,
        durability: Durability,
    ) -> io::Result<usize> {
        let engine = engine();
        let is_late = engine.draw(|random| random.chance(LATE_PER_MILLION));
        let bytes = Rc::new(RefCell::new((!is_late).then(|| gathered(slices, skip))));
        let slices = Rc::clone(slices);
        let (file, at, text) = (self.fd.id(), position + skip as u64, self.fd.text());
        let (taken, from) = (Rc::clone(&bytes), Rc::clone(&slices));
        let look: LookAtWrite = Box::new(move || {
            let bytes = taken.borrow().clone().unwrap_or_else(|| gathered(&from, skip));
            InFlightWrite { file, position: at, bytes }
        });
        let left = slices.iter().map(WriteSlice::len).sum::<usize>() - skip;
        let what = move || format!("write {at}+{left} of {} {durability:?}", text());
        let also = match durability {
            Durability::None => None,
            Durability::DataSync => Some(Op::SyncData),
        };
        let cost = Cost { also, write: Some(look), ..self.cost(Op::Write, left as u64) };
        let wait = begin(cost, what, move |node, fate| {
            let bytes = bytes.take().unwrap_or_else(|| gathered(&slices, skip));
            write(node, fate, (file, at), &bytes, durability)
        });
        wait.await
    }

    /// Makes the file's bytes, and the size needed to read them back, durable (`fdatasync`).
    pub async fn sync_data(&self) -> io::Result<()> {
        let (file, text) = (self.fd.id(), self.fd.text());
        let what = move || format!("sync data of {}", text());
        begin(self.cost(Op::SyncData, 0), what, move |node, fate| match fate {
            Fate::Completes => node.disk.borrow_mut().sync_data(file),
            Fate::IsCut | Fate::Unheard => Ok(()),
        })
        .await
    }

    /// Makes the file's bytes and all its metadata durable (`fsync`).
    pub async fn sync_all(&self) -> io::Result<()> {
        let (file, text) = (self.fd.id(), self.fd.text());
        let what = move || format!("sync all of {}", text());
        begin(self.cost(Op::SyncAll, 0), what, move |node, fate| match fate {
            Fate::Completes => node.disk.borrow_mut().sync_all(file),
            Fate::IsCut | Fate::Unheard => Ok(()),
        })
        .await
    }

    /// Cuts or extends (with a hole) the file to `bytes`.
    pub async fn set_len(&self, bytes: u64) -> io::Result<()> {
        if i64::try_from(bytes).is_err() {
            return Err(io::Error::from_raw_os_error(libc::EFBIG));
        }
        let (file, text) = (self.fd.id(), self.fd.text());
        let what = move || format!("set length {bytes} of {}", text());
        let call = move |node: &Rc<Node>, _| node.disk.borrow_mut().set_len(file, bytes);
        begin(self.cost(Op::SetLen, 0), what, call).await
    }

    /// The file's size in bytes.
    pub async fn len(&self) -> io::Result<u64> {
        let (file, text) = (self.fd.id(), self.fd.text());
        let what = move || format!("length of {}", text());
        begin(self.cost(Op::Len, 0), what, move |node, _| node.disk.borrow_mut().len(file)).await
    }

    /// Reserves blocks for bytes `position .. position + bytes` and extends the file over them; they read as zeros.
    pub async fn allocate(&self, position: u64, bytes: u64) -> io::Result<()> {
        let (file, text) = (self.fd.id(), self.fd.text());
        let what = move || format!("allocate {position}+{bytes} of {}", text());
        let call = move |node: &Rc<Node>, _| node.disk.borrow_mut().allocate(file, position, bytes);
        begin(self.cost(Op::Allocate, bytes), what, call).await
    }

    /// Takes the lock that keeps other processes from a directory (`.lock`); it is held until the file closes. False
    /// when another open file has it.
    pub fn try_lock(&self) -> io::Result<bool> {
        let node = Rc::clone(&this_process().node);
        let mut disk = node.disk.borrow_mut();
        disk.try_lock(self.fd.id())
    }
}

/// The bytes of `slices` without the first `skip`.
fn gathered(slices: &[WriteSlice], skip: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(slices.iter().map(WriteSlice::len).sum());
    slices.iter().for_each(|slice| slice.copy_to(&mut bytes));
    bytes.drain(..skip);
    bytes
}

/// Lets a write take place. One that is cut is written from its beginning up to some place, and not synced.
fn write(
    node: &Node,
    fate: Fate,
    (file, position): (FileId, u64),
    bytes: &[u8],
    durability: Durability,
) -> io::Result<usize> {
    engine().mark(42, u64::from(crc32c::crc32c(bytes)));
    let mut disk = node.disk.borrow_mut();
    match fate {
        Fate::Completes | Fate::Unheard => disk.write(file, position, bytes, durability),
        Fate::IsCut => {
            let sectors = bytes.len().div_ceil(512);
            let kept = engine().draw(|random| random.between(0, sectors as u64 * 2));
            let kept = usize::try_from(kept).expect("twice the sectors of a write").saturating_mul(512);
            disk.write(file, position, &bytes[..kept.min(bytes.len())], Durability::None)
        }
    }
}

/// What a file is opened for, for people.
fn flags(how: OpenHow) -> String {
    let flags =
        [(how.read, "r"), (how.write, "w"), (how.create, "c"), (how.create_new, "n"), (how.direct, "d")];
    flags.iter().filter(|(set, _)| *set).map(|(_, flag)| *flag).collect()
}

/// Reads what processes see of a file now, without waiting.
pub(super) fn read_now(engine: &Engine, fd: &SharedFd, position: u64, into: &mut [u8]) -> io::Result<usize> {
    let node = Rc::clone(&engine.process(fd.0.process).node);
    let mut disk = node.disk.borrow_mut();
    disk.read(fd.id(), position, into)
}
