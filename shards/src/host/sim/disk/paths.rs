//! Operations on names: what is created, renamed, removed, listed and made durable by its path.
//!
//! Paths are taken from the root, whether or not they begin there. Errors are those of the system calls.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use ottla::time::Monotonic;

use super::faults::Op;
use super::file::FileNode;
use super::names::{Renaming, Slot};
use super::piece::PAGE;
use super::tree::{DirNode, Ino, Kind, normal};
use super::{Disk, errno};

/// What a name leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// Whether it is a directory.
    pub is_dir: bool,
    /// Bytes of the file; 0 for a directory.
    pub bytes: u64,
    /// When it was last changed, by [`Disk::set_now`].
    pub modified: Monotonic,
}

/// The room of a device, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// What can still be written.
    pub available: u64,
    /// What the device holds in all.
    pub total: u64,
}

impl Disk {
    /// Creates a directory in one that is there.
    ///
    /// # Errors
    /// `EEXIST`, `ENOENT`, `ENOTDIR`, `EROFS`, and what faults say.
    pub fn create_dir(&mut self, path: &Path) -> io::Result<()> {
        let result = normal(path).and_then(|path| self.try_create_dir(&path));
        self.tell(Op::CreateDir, path, format_args!(""), result)
    }

    fn try_create_dir(&mut self, path: &Path) -> io::Result<()> {
        self.admit(Op::CreateDir, &[path])?;
        if path.parent().is_none() {
            return Err(errno(libc::EEXIST));
        }
        let (dir, name) = self.tree.place(path)?;
        if self.tree.child(dir, name)?.is_some() {
            return Err(errno(libc::EEXIST));
        }
        self.tree.must_be_writable(dir)?;
        self.tree.link(dir, name, Kind::Dir(DirNode::default()));
        Ok(())
    }

    /// Renames a file or a directory, over a file or an empty directory if that is there: atomically, now and in a
    /// crash. Durable after a sync of both directories.
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR`, `EISDIR`, `ENOTEMPTY`, `EXDEV`, `EROFS`, `EINVAL` into itself, `EBUSY` for mount points,
    /// and what faults say.
    pub fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let result = self.try_rename(from, to);
        self.tell(Op::Rename, from, format_args!(" to {}", to.display()), result)
    }

    fn try_rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let (from, to) = (normal(from)?, normal(to)?);
        self.admit(Op::Rename, &[&from, &to])?;
        let slot = |(dir, name): (Ino, &std::ffi::OsStr)| Slot { dir, name: name.to_owned() };
        let (from, place) = (slot(self.tree.place(&from)?), slot(self.tree.place(&to)?));
        let above: io::Result<Vec<Ino>> = to.ancestors().skip(1).map(|dir| self.tree.find(dir)).collect();
        let (above, to) = (above?, place);
        let renaming = self.tree.check_rename(&from, &to)?;
        self.tree.must_be_writable(from.dir)?;
        if renaming == Renaming::Move {
            self.tree.rename(from, to, above);
        }
        Ok(())
    }

    /// Removes a file's name; its bytes stay for those who have it open.
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR`, `EISDIR`, `EROFS`, and what faults say.
    pub fn remove_file(&mut self, path: &Path) -> io::Result<()> {
        let result = normal(path).and_then(|path| self.try_remove(Op::RemoveFile, &path));
        self.tell(Op::RemoveFile, path, format_args!(""), result)
    }

    /// Removes an empty directory.
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR`, `ENOTEMPTY`, `EROFS`, `EBUSY` for mount points, and what faults say.
    pub fn remove_dir(&mut self, path: &Path) -> io::Result<()> {
        let result = normal(path).and_then(|path| self.try_remove(Op::RemoveDir, &path));
        self.tell(Op::RemoveDir, path, format_args!(""), result)
    }

    fn try_remove(&mut self, op: Op, path: &Path) -> io::Result<()> {
        self.admit(op, &[path])?;
        let (dir, name) = self.tree.place(path)?;
        let ino = self.tree.child(dir, name)?.ok_or_else(|| errno(libc::ENOENT))?;
        match &self.tree.inode(ino).kind {
            Kind::File(_) if op == Op::RemoveDir => return Err(errno(libc::ENOTDIR)),
            Kind::Dir(_) if op == Op::RemoveFile => return Err(errno(libc::EISDIR)),
            Kind::Dir(_) if self.tree.is_mount(ino) => return Err(errno(libc::EBUSY)),
            Kind::Dir(node) if !node.visible.is_empty() => return Err(errno(libc::ENOTEMPTY)),
            Kind::File(_) | Kind::Dir(_) => {}
        }
        self.tree.must_be_writable(dir)?;
        self.tree.unlink(dir, name);
        Ok(())
    }

    /// The names in a directory, in their order, and whether each is a directory.
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR`, and what faults say.
    pub fn read_dir(&mut self, path: &Path) -> io::Result<Vec<(OsString, bool)>> {
        let result = normal(path).and_then(|path| {
            self.admit(Op::ReadDir, &[&path])?;
            let dir = self.tree.dir(self.tree.find(&path)?)?;
            let names = dir.visible.iter();
            Ok(names.map(|(name, &ino)| (name.clone(), self.tree.inode(ino).is_dir())).collect::<Vec<_>>())
        });
        self.tell(Op::ReadDir, path, format_args!(""), result)
    }

    /// What a name leads to.
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR`, and what faults say.
    pub fn metadata(&mut self, path: &Path) -> io::Result<Metadata> {
        let result = normal(path).and_then(|path| {
            self.admit(Op::Lookup, &[&path])?;
            let inode = self.tree.inode(self.tree.find(&path)?);
            let bytes = match &inode.kind {
                Kind::File(file) => file.visible().len(),
                Kind::Dir(_) => 0,
            };
            Ok(Metadata { is_dir: inode.is_dir(), bytes, modified: inode.modified })
        });
        self.tell(Op::Lookup, path, format_args!(""), result)
    }

    /// Whether a name leads to anything.
    ///
    /// # Errors
    /// `ENOTDIR` when a file stands in the way, and what faults say.
    pub fn exists(&mut self, path: &Path) -> io::Result<bool> {
        match self.metadata(path) {
            Ok(_) => Ok(true),
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The one path from the root that leads where `path` leads. Not an operation: nothing is counted.
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR`.
    pub fn canonicalize(&self, path: &Path) -> io::Result<PathBuf> {
        let path = normal(path)?;
        self.tree.find(&path)?;
        Ok(path)
    }

    /// Makes the names in a directory durable: created, renamed and removed ones.
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR`, and what faults say: the names are lost then, with all that is built on them, though they
    /// are still seen, and the next call is `Ok`.
    pub fn sync_dir(&mut self, path: &Path) -> io::Result<()> {
        let result = normal(path).and_then(|path| {
            let failure = self.faults.admit(Op::SyncDir, &[&path]);
            let ino = self.tree.find(&path)?;
            self.tree.dir(ino)?;
            self.sync_inode(ino, failure)
        });
        self.tell(Op::SyncDir, path, format_args!(""), result)
    }

    /// Makes everything durable that is on the device of `path`: bytes, lengths and names.
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR`, and what faults say: everything that was pending is lost then.
    pub fn sync_file_system(&mut self, path: &Path) -> io::Result<()> {
        let result = normal(path).and_then(|path| self.try_sync_file_system(&path));
        self.tell(Op::SyncFs, path, format_args!(""), result)
    }

    fn try_sync_file_system(&mut self, path: &Path) -> io::Result<()> {
        let failure = self.faults.admit(Op::SyncFs, &[path]);
        let device = self.tree.inode(self.tree.find(path)?).device;
        let dirty = self.tree.devices[device].dirty.clone();
        for ino in dirty {
            self.tree.change(ino, |file| if failure.is_none() { file.sync() } else { file.lose() });
        }
        self.tree.settle_all(device, || failure.is_none());
        failure.map_or(Ok(()), |failure| Err(errno(failure)))
    }

    pub(super) fn sync_inode(&mut self, ino: Ino, failure: Option<i32>) -> io::Result<()> {
        match (self.tree.inode(ino).is_dir(), failure) {
            (true, None) => self.tree.sync_names(ino),
            (true, Some(_)) => self.tree.lose_names(ino),
            (false, None) => self.tree.change(ino, FileNode::sync),
            (false, Some(_)) => self.tree.change(ino, FileNode::lose),
        }
        failure.map_or(Ok(()), |failure| Err(errno(failure)))
    }

    /// The room of the device of `path`.
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR`, and what faults say.
    pub fn space(&mut self, path: &Path) -> io::Result<Space> {
        let result = normal(path).and_then(|path| {
            self.admit(Op::Space, &[&path])?;
            let device = &self.tree.devices[self.tree.inode(self.tree.find(&path)?).device];
            Ok(Space { available: device.room() * PAGE, total: device.pages * PAGE })
        });
        self.tell(Op::Space, path, format_args!(""), result)
    }
}
