//! Operations on open files.
//!
//! Errors are those of the system calls; positions and lengths on direct files are multiples of 4,096 bytes or
//! `EINVAL`. A read is short at the end of the file alone. A write is short when the device has run out of blocks.

use std::io;
use std::path::Path;
use std::sync::Arc;

use super::faults::Op;
use super::file::{Fate, FileNode};
use super::piece::{PAGE, in_memory};
use super::trace::Done;
use super::tree::{Kind, normal};
use super::{Disk, FileId, Handle, errno};
use crate::host::{Durability, OpenHow};

/// Bytes that a file can be long.
const LEN_MAX: u64 = i64::MAX as u64;

fn must_be_aligned(how: OpenHow, position: u64, bytes: usize) -> io::Result<()> {
    let is_aligned = position.is_multiple_of(PAGE) && (bytes as u64).is_multiple_of(PAGE);
    if how.direct && !is_aligned { Err(errno(libc::EINVAL)) } else { Ok(()) }
}

impl Disk {
    /// Opens a file, or a directory for reading (which can then be synced).
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR`, `EISDIR`, `EEXIST` for `create_new`, `EROFS`, `EMFILE` beyond [`Disk::set_open_max`],
    /// `EINVAL` for a file that is opened neither for reading nor for writing and for a direct directory.
    pub fn open(&mut self, path: &Path, how: OpenHow) -> io::Result<FileId> {
        let result = normal(path).and_then(|path| self.try_open(&path, how));
        self.tell(Op::Open, path, format_args!(" {how:?}"), result)
    }

    fn try_open(&mut self, path: &Path, how: OpenHow) -> io::Result<FileId> {
        self.admit(Op::Open, &[path])?;
        if !how.read && !how.write {
            return Err(errno(libc::EINVAL));
        }
        if self.handles.len() >= self.open_max {
            return Err(errno(libc::EMFILE));
        }
        let creates = how.create || how.create_new;
        let ino = match self.tree.find(path) {
            Ok(_) if how.create_new => return Err(errno(libc::EEXIST)),
            Ok(ino) if self.tree.inode(ino).is_dir() && (how.write || creates) => {
                return Err(errno(libc::EISDIR));
            }
            Ok(ino) if self.tree.inode(ino).is_dir() && how.direct => return Err(errno(libc::EINVAL)),
            Ok(ino) => ino,
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) && creates => {
                let (dir, name) = self.tree.place(path)?;
                self.tree.must_be_writable(dir)?;
                self.tree.link(dir, name, Kind::File(FileNode::default()))
            }
            Err(error) => return Err(error),
        };
        if how.write {
            self.tree.must_be_writable(ino)?;
        }
        self.tree.hold(ino, |inode| inode.opens += 1);
        self.files_opened += 1;
        let file = FileId(self.files_opened);
        self.handles.insert(file, Handle { ino, how, path: path.into() });
        Ok(file)
    }

    /// Closes a file and gives up its lock. A file without a name is gone, and its blocks are free, when the last
    /// that had it open closes it. One that is not open is left alone: a crash has closed it.
    pub fn close(&mut self, file: FileId) {
        let path = self.path_of(file);
        self.faults.admit(Op::Close, &[&path]);
        self.drop_handle(file);
        drop(self.tell(Op::Close, &path, format_args!(" {file:?}"), Ok(())));
    }

    pub(super) fn drop_handle(&mut self, file: FileId) {
        let Some(handle) = self.handles.remove(&file) else { return };
        self.tree.hold(handle.ino, |inode| {
            inode.opens -= 1;
            if inode.lock == Some(file) {
                inode.lock = None;
            }
        });
    }

    /// Reads from `position` until `into` is full or the file ends; the bytes read.
    ///
    /// # Errors
    /// `EBADF`, `EISDIR`, `EINVAL` for a direct read off the blocks, and what faults say.
    pub fn read(&mut self, file: FileId, position: u64, into: &mut [u8]) -> io::Result<usize> {
        let path = self.path_of(file);
        let detail = (position, into.len());
        let result = self.try_read(file, position, into);
        self.tell(Op::Read, &path, format_args!(" {}+{}", detail.0, detail.1), result)
    }

    fn try_read(&mut self, file: FileId, position: u64, into: &mut [u8]) -> io::Result<usize> {
        let handle = self.admit_open(Op::Read, file)?;
        if !handle.how.read {
            return Err(errno(libc::EBADF));
        }
        let node = self.tree.file(handle.ino)?;
        must_be_aligned(handle.how, position, into.len())?;
        Ok(node.visible().read(position, into))
    }

    /// Writes `bytes` at `position` and says how many it has written: fewer when the device has run out of blocks
    /// on the way. With [`Durability::DataSync`] they are durable, and so is a length that covers them.
    ///
    /// # Errors
    /// `EBADF`, `EROFS`, `EFBIG`, `EINVAL` for a direct write off the blocks, `ENOSPC`, and what faults say. After
    /// `ENOSPC` and after a fault the write may have come some way.
    pub fn write(
        &mut self,
        file: FileId,
        position: u64,
        bytes: &[u8],
        durability: Durability,
    ) -> io::Result<usize> {
        let path = self.path_of(file);
        let result = self.try_write(file, position, bytes, durability);
        self.tell(Op::Write, &path, format_args!(" {position}+{} {durability:?}", bytes.len()), result)
    }

    fn try_write(
        &mut self,
        file: FileId,
        position: u64,
        bytes: &[u8],
        durability: Durability,
    ) -> io::Result<usize> {
        let (handle, failure) = self.look(Op::Write, file)?;
        must_be_aligned(handle.how, position, bytes.len())?;
        let node = self.tree.file(handle.ino)?;
        let end = position.checked_add(bytes.len() as u64).filter(|&end| end <= LEN_MAX);
        let end = end.ok_or_else(|| errno(libc::EFBIG))?;
        if !handle.how.write {
            return Err(errno(libc::EBADF));
        }
        self.tree.must_be_writable(handle.ino)?;
        let room = self.tree.devices[self.tree.inode(handle.ino).device].room();
        let missing = node.visible().missing(&(position..end));
        let fitting = if missing <= room { end } else { node.visible().fitting(&(position..end), room) };
        let bytes_fitting = &bytes[..in_memory(fitting - position)];
        if let Some(failure) = failure {
            self.write_in_part(&handle, position, bytes_fitting);
            return Err(errno(failure));
        }
        if bytes.is_empty() {
            return Ok(0);
        }
        let fate = match durability {
            Durability::None => Fate::Pending,
            Durability::DataSync => Fate::Durable,
        };
        if fitting < end {
            return self.write_what_fits(&handle, position, bytes_fitting, fate);
        }
        self.tree.modify(handle.ino, |file| file.write(position, bytes, fate));
        Ok(bytes.len())
    }

    /// A write that the device has no blocks for: it fails at once, or it is short, or it fails after it was short.
    fn write_what_fits(
        &mut self,
        handle: &Handle,
        position: u64,
        fitting: &[u8],
        fate: Fate,
    ) -> io::Result<usize> {
        let outcome = self.mishap.below(3);
        if outcome == 0 || fitting.is_empty() {
            return Err(errno(libc::ENOSPC));
        }
        let fate = if outcome == 1 { fate } else { Fate::Pending };
        self.tree.modify(handle.ino, |file| file.write(position, fitting, fate));
        if outcome == 1 { Ok(fitting.len()) } else { Err(errno(libc::ENOSPC)) }
    }

    /// What a failing write leaves: nothing, the beginning, some of its pages, or all of it; pending, or seen until the
    /// next crash and never durable.
    fn write_in_part(&mut self, handle: &Handle, position: u64, bytes: &[u8]) {
        let outcome = self.mishap.below(4);
        let fate = if self.mishap.chance(1, 2) { Fate::Pending } else { Fate::Lost };
        let pages = (bytes.len() as u64).div_ceil(PAGE);
        let prefix = if outcome == 1 { self.mishap.below(pages + 1) } else { pages };
        for (page, bytes) in (0..prefix).zip(bytes.chunks(in_memory(PAGE))) {
            let is_written = outcome == 1 || outcome == 3 || (outcome == 2 && self.mishap.chance(1, 2));
            if is_written {
                self.tree.modify(handle.ino, |file| file.write(position + page * PAGE, bytes, fate));
            }
        }
    }

    /// Makes the file's bytes and its length durable (`fdatasync`).
    ///
    /// # Errors
    /// `EBADF`, and what faults say: what was pending is lost then, though it is still seen, and the next call is
    /// `Ok`.
    pub fn sync_data(&mut self, file: FileId) -> io::Result<()> {
        self.sync(Op::SyncData, file)
    }

    /// Makes a file's bytes and metadata durable (`fsync`); of a directory that is open, the names.
    ///
    /// # Errors
    /// As [`Disk::sync_data`].
    pub fn sync_all(&mut self, file: FileId) -> io::Result<()> {
        self.sync(Op::SyncAll, file)
    }

    fn sync(&mut self, op: Op, file: FileId) -> io::Result<()> {
        let path = self.path_of(file);
        let result = self.look(op, file).and_then(|(handle, failure)| self.sync_inode(handle.ino, failure));
        self.tell(op, &path, format_args!(""), result)
    }

    /// Cuts the file, or extends it with a hole.
    ///
    /// # Errors
    /// `EBADF`, `EINVAL` for a file that is not open for writing, `EFBIG`, `EROFS`, and what faults say.
    pub fn set_len(&mut self, file: FileId, bytes: u64) -> io::Result<()> {
        let path = self.path_of(file);
        let result = self.try_set_len(file, bytes);
        self.tell(Op::SetLen, &path, format_args!(" {bytes}"), result)
    }

    fn try_set_len(&mut self, file: FileId, bytes: u64) -> io::Result<()> {
        let handle = self.admit_open(Op::SetLen, file)?;
        if !handle.how.write {
            return Err(errno(libc::EINVAL));
        }
        if bytes > LEN_MAX {
            return Err(errno(libc::EFBIG));
        }
        self.tree.must_be_writable(handle.ino)?;
        self.tree.modify(handle.ino, |file| file.set_len(bytes));
        Ok(())
    }

    /// The file's length in bytes; 0 for a directory.
    ///
    /// # Errors
    /// `EBADF`, and what faults say.
    pub fn len(&mut self, file: FileId) -> io::Result<u64> {
        let path = self.path_of(file);
        let result = self.admit_open(Op::Len, file);
        let result = result.map(|handle| self.tree.file(handle.ino).map_or(0, |file| file.visible().len()));
        self.tell(Op::Len, &path, format_args!(""), result)
    }

    /// Reserves the blocks of `position .. position + bytes` and extends the file over them; they read as zeros
    /// where nothing was written.
    ///
    /// # Errors
    /// `EBADF`, `EINVAL` for no bytes, `EFBIG`, `EROFS`, `ENOSPC` (without effect), and what faults say.
    pub fn allocate(&mut self, file: FileId, position: u64, bytes: u64) -> io::Result<()> {
        let path = self.path_of(file);
        let result = self.try_allocate(file, position, bytes);
        self.tell(Op::Allocate, &path, format_args!(" {position}+{bytes}"), result)
    }

    fn try_allocate(&mut self, file: FileId, position: u64, bytes: u64) -> io::Result<()> {
        let handle = self.admit_open(Op::Allocate, file)?;
        if !handle.how.write {
            return Err(errno(libc::EBADF));
        }
        if bytes == 0 {
            return Err(errno(libc::EINVAL));
        }
        let end = position.checked_add(bytes).filter(|&end| end <= LEN_MAX);
        let range = position..end.ok_or_else(|| errno(libc::EFBIG))?;
        self.tree.must_be_writable(handle.ino)?;
        let room = self.tree.devices[self.tree.inode(handle.ino).device].room();
        if self.tree.file(handle.ino)?.visible().missing(&range) > room {
            return Err(errno(libc::ENOSPC));
        }
        self.tree.modify(handle.ino, |file| file.allocate(range));
        Ok(())
    }

    /// Takes the file's one lock, until it is closed; false when another open description has it.
    ///
    /// # Errors
    /// `EBADF`, and what faults say.
    pub fn try_lock(&mut self, file: FileId) -> io::Result<bool> {
        let path = self.path_of(file);
        let result = self.admit_open(Op::Lock, file).map(|handle| {
            let lock = &mut self.tree.inode_mut(handle.ino).lock;
            *lock.get_or_insert(file) == file
        });
        self.tell(Op::Lock, &path, format_args!(""), result)
    }

    /// Where a file was opened; the root for one that is not open.
    fn path_of(&self, file: FileId) -> Arc<Path> {
        self.handles.get(&file).map_or_else(|| Path::new("/").into(), |handle| Arc::clone(&handle.path))
    }

    /// Counts an operation on an open file; the file, and the error number that a fault wants.
    fn look(&mut self, op: Op, file: FileId) -> io::Result<(Handle, Option<i32>)> {
        let path = self.path_of(file);
        let failure = self.faults.admit(op, &[&path]);
        let handle = self.handles.get(&file).cloned().ok_or_else(|| errno(libc::EBADF))?;
        Ok((handle, failure))
    }

    fn admit_open(&mut self, op: Op, file: FileId) -> io::Result<Handle> {
        match self.look(op, file)? {
            (handle, None) => Ok(handle),
            (_, Some(failure)) => Err(errno(failure)),
        }
    }

    pub(super) fn admit(&mut self, op: Op, paths: &[&Path]) -> io::Result<()> {
        self.faults.admit(op, paths).map_or(Ok(()), |failure| Err(errno(failure)))
    }

    /// Puts an operation with its result into the trace.
    pub(super) fn tell<T: std::fmt::Debug>(
        &mut self,
        op: Op,
        path: &Path,
        detail: std::fmt::Arguments<'_>,
        result: io::Result<T>,
    ) -> io::Result<T> {
        let number = self.faults.total();
        self.trace.push(|| Done { number, op, path, detail }.line(&result));
        result
    }
}
