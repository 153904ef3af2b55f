//! Names, directories and devices: what a path leads to, and who still needs a file.
//!
//! A directory has two maps from names to inodes: the one that processes see and the durable one. What lies between
//! is in its device's list of name operations ([`super::names`]).
//!
//! Invariants: an inode has at most one name in each of the two trees, as there are no hard links; it lives while it
//! has a name in either, is open, or a pending operation speaks of it; a device counts the blocks that are seen of
//! every file with a name or an opener.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use ottla::time::Monotonic;

use super::file::FileNode;
use super::names::NameOp;
use super::piece::PAGE;
use super::{FileId, errno};

/// Bytes of a name that Linux takes.
const NAME_BYTES_MAX: usize = 255;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ino(u64);

#[derive(Clone, Debug, Default)]
pub(super) struct DirNode {
    pub(super) visible: BTreeMap<OsString, Ino>,
    pub(super) durable: BTreeMap<OsString, Ino>,
}

#[derive(Clone, Debug)]
pub(super) enum Kind {
    File(FileNode),
    Dir(DirNode),
}

#[derive(Clone, Debug)]
pub(super) struct Inode {
    pub(super) device: usize,
    pub(super) kind: Kind,
    /// Open descriptions of it.
    pub(super) opens: u32,
    /// Name operations that speak of it.
    pub(super) pending: u32,
    /// Whether it has a name that processes see.
    pub(super) is_named: bool,
    /// Whether it has a durable name.
    pub(super) is_durably_named: bool,
    pub(super) lock: Option<FileId>,
    pub(super) modified: Monotonic,
}

impl Inode {
    pub(super) fn new(device: usize, kind: Kind, modified: Monotonic) -> Inode {
        Inode {
            device,
            kind,
            opens: 0,
            pending: 0,
            is_named: false,
            is_durably_named: false,
            lock: None,
            modified,
        }
    }

    pub(super) fn is_dir(&self) -> bool {
        matches!(self.kind, Kind::Dir(_))
    }

    /// Whether its blocks count.
    fn is_counted(&self) -> bool {
        self.is_named || self.opens > 0
    }

    pub(super) fn blocks(&self) -> u64 {
        match &self.kind {
            Kind::File(file) => file.visible().blocks(),
            Kind::Dir(_) => 0,
        }
    }
}

/// A file system with its blocks.
#[derive(Clone, Debug)]
pub(super) struct Device {
    pub(super) mount: PathBuf,
    pub(super) root: Ino,
    pub(super) pages: u64,
    /// Pages that somebody else has filled.
    pub(super) foreign: u64,
    pub(super) used: u64,
    pub(super) is_read_only: bool,
    /// Operations take so many times as long, until then.
    pub(super) slow: Option<(u32, Monotonic)>,
    /// What was done to names and is not durable, in its order.
    pub(super) names: Vec<NameOp>,
    /// Files that a crash can change.
    pub(super) dirty: BTreeSet<Ino>,
}

impl Device {
    fn new(mount: PathBuf, root: Ino, bytes: u64) -> Device {
        Device {
            mount,
            root,
            pages: bytes / PAGE,
            foreign: 0,
            used: 0,
            is_read_only: false,
            slow: None,
            names: Vec::new(),
            dirty: BTreeSet::new(),
        }
    }

    /// Pages that can still be allocated.
    pub(super) fn room(&self) -> u64 {
        self.pages.saturating_sub(self.used + self.foreign)
    }
}

/// A path without `.` and `..`, from the root. There are no links, so words are enough.
pub(super) fn normal(path: &Path) -> io::Result<PathBuf> {
    if path.as_os_str().is_empty() {
        return Err(errno(libc::ENOENT));
    }
    let mut normal = PathBuf::from("/");
    for component in path.components() {
        match component {
            Component::Normal(name) if name.len() > NAME_BYTES_MAX => return Err(errno(libc::ENAMETOOLONG)),
            Component::Normal(name) => normal.push(name),
            Component::ParentDir => {
                normal.pop();
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    Ok(normal)
}

#[derive(Clone, Debug)]
pub(super) struct Tree {
    pub(super) inodes: BTreeMap<Ino, Arc<Inode>>,
    pub(super) devices: Vec<Device>,
    pub(super) root: Ino,
    next: u64,
    pub(super) now: Monotonic,
}

impl Tree {
    /// A root directory on a device with so many bytes.
    pub(super) fn new(bytes: u64) -> Tree {
        let root = Ino(1);
        let devices = vec![Device::new(PathBuf::from("/"), root, bytes)];
        let mut tree = Tree { inodes: BTreeMap::new(), devices, root, next: 1, now: Monotonic::ZERO };
        tree.add_mount(0);
        tree
    }

    pub(super) fn add(&mut self, device: usize, kind: Kind) -> Ino {
        let ino = Ino(self.next);
        self.next += 1;
        self.inodes.insert(ino, Arc::new(Inode::new(device, kind, self.now)));
        ino
    }

    /// A directory with a name in both trees from the start.
    fn add_mount(&mut self, device: usize) -> Ino {
        let ino = self.add(device, Kind::Dir(DirNode::default()));
        let inode = self.inode_mut(ino);
        (inode.is_named, inode.is_durably_named) = (true, true);
        ino
    }

    /// Puts a device at `mount`, a normal path; the directories above it are made, durably.
    pub(super) fn add_device(&mut self, mount: &Path, bytes: u64) {
        let device = self.devices.len();
        let mut at = self.root;
        let mut path = PathBuf::from("/");
        for name in mount.iter().skip(1) {
            path.push(name);
            let is_mount = path == mount;
            let known = self.child(at, name).expect("what is above a mount point is a directory");
            assert!(known.is_none() || !is_mount, "a mount point is new");
            at = match known {
                Some(ino) => ino,
                None => {
                    let on = if is_mount { device } else { self.inode(at).device };
                    let ino = self.add_mount(on);
                    let dir = self.dir_mut(at);
                    dir.visible.insert(name.to_owned(), ino);
                    dir.durable.insert(name.to_owned(), ino);
                    ino
                }
            };
        }
        assert!(at != self.root, "the root has its device");
        self.devices.push(Device::new(mount.to_owned(), at, bytes));
    }

    /// The device that holds a normal path, whether or not the path exists.
    pub(super) fn device_of(&self, path: &Path) -> usize {
        let holding = self.devices.iter().enumerate().filter(|(_, device)| path.starts_with(&device.mount));
        holding.max_by_key(|(_, device)| device.mount.iter().count()).map_or(0, |(number, _)| number)
    }

    pub(super) fn inode(&self, ino: Ino) -> &Inode {
        self.inodes.get(&ino).expect("an inode lives while anything leads to it")
    }

    pub(super) fn inode_mut(&mut self, ino: Ino) -> &mut Inode {
        Arc::make_mut(self.inodes.get_mut(&ino).expect("an inode lives while anything leads to it"))
    }

    /// The directory `ino`.
    ///
    /// # Errors
    /// `ENOTDIR`.
    pub(super) fn dir(&self, ino: Ino) -> io::Result<&DirNode> {
        match &self.inode(ino).kind {
            Kind::Dir(dir) => Ok(dir),
            Kind::File(_) => Err(errno(libc::ENOTDIR)),
        }
    }

    pub(super) fn dir_mut(&mut self, ino: Ino) -> &mut DirNode {
        match &mut self.inode_mut(ino).kind {
            Kind::Dir(dir) => dir,
            Kind::File(_) => panic!("names stand in directories"),
        }
    }

    pub(super) fn file(&self, ino: Ino) -> io::Result<&FileNode> {
        match &self.inode(ino).kind {
            Kind::File(file) => Ok(file),
            Kind::Dir(_) => Err(errno(libc::EISDIR)),
        }
    }

    /// Changes a file and keeps count of its blocks.
    pub(super) fn change(&mut self, ino: Ino, change: impl FnOnce(&mut FileNode)) {
        let inode = self.inode_mut(ino);
        let (device, is_counted, before) = (inode.device, inode.is_counted(), inode.blocks());
        let Kind::File(file) = &mut inode.kind else { panic!("bytes stand in files") };
        change(file);
        let (after, is_dirty) = (file.visible().blocks(), file.is_dirty());
        let device = &mut self.devices[device];
        if is_counted {
            device.used = device.used + after - before;
        }
        if is_dirty {
            device.dirty.insert(ino);
        } else {
            device.dirty.remove(&ino);
        }
    }

    /// [`Tree::change`] by a process, which moves the time of the last change.
    pub(super) fn modify(&mut self, ino: Ino, change: impl FnOnce(&mut FileNode)) {
        let now = self.now;
        self.inode_mut(ino).modified = now;
        self.change(ino, change);
    }

    pub(super) fn child(&self, dir: Ino, name: &OsStr) -> io::Result<Option<Ino>> {
        Ok(self.dir(dir)?.visible.get(name).copied())
    }

    /// What a normal path leads to.
    pub(super) fn find(&self, path: &Path) -> io::Result<Ino> {
        let mut at = self.root;
        for name in path.iter().skip(1) {
            at = self.child(at, name)?.ok_or_else(|| errno(libc::ENOENT))?;
        }
        Ok(at)
    }

    /// The directory that a normal path's last name stands in, and that name.
    ///
    /// # Errors
    /// `EBUSY` for the root; `ENOENT` and `ENOTDIR` for what is above the name.
    pub(super) fn place<'a>(&self, path: &'a Path) -> io::Result<(Ino, &'a OsStr)> {
        let (Some(above), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(errno(libc::EBUSY));
        };
        let dir = self.find(above)?;
        self.dir(dir)?;
        Ok((dir, name))
    }

    /// # Errors
    /// `EROFS`.
    pub(super) fn must_be_writable(&self, ino: Ino) -> io::Result<()> {
        let device = &self.devices[self.inode(ino).device];
        if device.is_read_only { Err(errno(libc::EROFS)) } else { Ok(()) }
    }

    /// Changes who needs an inode, counts its blocks accordingly, and forgets it when nobody does.
    pub(super) fn hold(&mut self, ino: Ino, change: impl FnOnce(&mut Inode)) {
        let inode = self.inode_mut(ino);
        let was_counted = inode.is_counted();
        change(inode);
        let (is_counted, blocks, device) = (inode.is_counted(), inode.blocks(), inode.device);
        let is_needed = is_counted || inode.is_durably_named || inode.pending > 0;
        let device = &mut self.devices[device];
        match (was_counted, is_counted) {
            (true, false) => device.used -= blocks,
            (false, true) => device.used += blocks,
            (true, true) | (false, false) => {}
        }
        if !is_needed {
            device.dirty.remove(&ino);
            self.forget(ino);
        }
    }

    fn forget(&mut self, ino: Ino) {
        let inode = self.inodes.remove(&ino).expect("it was just there");
        if let Kind::Dir(dir) = &inode.kind {
            for &child in dir.durable.values() {
                self.hold(child, |child| child.is_durably_named = false);
            }
        }
    }

    /// Everything that has a name, parents first, in the order of the names: as processes see it, or what is durable.
    pub(super) fn walk(&self, durable: bool) -> Vec<(PathBuf, Ino)> {
        let mut found = Vec::new();
        let mut stack = vec![(PathBuf::from("/"), self.root)];
        while let Some((path, ino)) = stack.pop() {
            if let Kind::Dir(dir) = &self.inode(ino).kind {
                let names = if durable { &dir.durable } else { &dir.visible };
                stack.extend(names.iter().rev().map(|(name, &child)| (path.join(name), child)));
            }
            found.push((path, ino));
        }
        found
    }
}
