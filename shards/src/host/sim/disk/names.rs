//! What was done to names: seen at once, durable when the directories concerned are synced.
//!
//! Each operation takes a name away, gives one, or both at once (a rename is atomic). A device keeps those that are
//! not durable in their order. Syncing a directory makes its operations durable, with everything that they rest on: a
//! name's earlier operations, whatever emptied a directory that is removed, and for a rename the names of the
//! directories that lead to the new name. A rename from one directory to another is durable when both are synced.
//!
//! Invariants: what has a durable name that leads to it from the root keeps one until it is removed. An operation
//! becomes durable only in a tree that it fits: the name it takes leads to its inode, the one it gives is free or
//! leads to what it replaces, and nothing moves to where nothing leads. An operation that does not fit, because one
//! before it was lost, is lost too.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::io;

use super::errno;
use super::tree::{Ino, Kind, Tree};

/// A name in a directory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Slot {
    pub(super) dir: Ino,
    pub(super) name: OsString,
}

/// A name that was given, taken, or moved.
#[derive(Clone, Debug)]
pub(super) struct NameOp {
    inode: Ino,
    is_dir: bool,
    from: Option<Slot>,
    to: Option<Slot>,
    /// What the name led to before.
    replaced: Option<Ino>,
    /// Of a rename, the directories that lead to its new name: were one of them lost, so would be what had a durable
    /// name before.
    above: Vec<Ino>,
    /// Directories that were synced since, of a rename between two.
    synced: BTreeSet<Ino>,
}

impl NameOp {
    fn slots(&self) -> impl Iterator<Item = &Slot> {
        self.from.iter().chain(&self.to)
    }

    fn is_synced(&self) -> bool {
        self.slots().all(|slot| self.synced.contains(&slot.dir))
    }

    /// The directory that it moves something to from another one.
    fn moves_to(&self) -> Option<Ino> {
        match (&self.from, &self.to) {
            (Some(from), Some(to)) if from.dir != to.dir => Some(to.dir),
            (Some(_) | None, Some(_) | None) => None,
        }
    }

    /// Whether it moves a directory to another one, and could thus close a circle.
    fn moves_dir(&self) -> bool {
        self.is_dir && self.moves_to().is_some()
    }

    /// Directories that it needs empty.
    fn emptied(&self) -> impl Iterator<Item = Ino> {
        let removed = (self.to.is_none() && self.is_dir).then_some(self.inode);
        let replaced = if self.is_dir { self.replaced } else { None };
        removed.into_iter().chain(replaced)
    }
}

/// Extends `chosen` by everything that the chosen operations rest on.
fn with_what_they_rest_on(names: &[NameOp], chosen: &mut [bool]) {
    let mut slots: BTreeSet<&Slot> = BTreeSet::new();
    let mut emptied: BTreeSet<Ino> = BTreeSet::new();
    let mut above: BTreeSet<Ino> = BTreeSet::new();
    let mut dirs_move = false;
    for (operation, is_chosen) in names.iter().zip(chosen).rev() {
        let rests = operation.slots().any(|slot| slots.contains(slot) || emptied.contains(&slot.dir));
        let leads = above.contains(&operation.inode);
        *is_chosen |= rests || leads || (dirs_move && operation.moves_dir());
        if !*is_chosen {
            continue;
        }
        slots.extend(operation.slots());
        emptied.extend(operation.emptied());
        above.extend(&operation.above);
        dirs_move |= operation.moves_dir();
    }
}

impl Tree {
    /// Makes a new inode visible.
    pub(super) fn link(&mut self, dir: Ino, name: &OsStr, kind: Kind) -> Ino {
        let inode = self.add(self.inode(dir).device, kind);
        let to = Slot { dir, name: name.to_owned() };
        self.dir_mut(dir).visible.insert(to.name.clone(), inode);
        self.inode_mut(inode).is_named = true;
        self.note(inode, None, Some(to), None);
        inode
    }

    /// Takes a visible name away.
    pub(super) fn unlink(&mut self, dir: Ino, name: &OsStr) {
        let inode = self.dir_mut(dir).visible.remove(name).expect("the name was looked up");
        self.note(inode, Some(Slot { dir, name: name.to_owned() }), None, None);
        self.hold(inode, |inode| inode.is_named = false);
    }

    /// Moves a visible name, over another one if that is there; `above` are the directories down to the new one.
    pub(super) fn rename(&mut self, from: Slot, to: Slot, above: Vec<Ino>) {
        let inode = self.dir_mut(from.dir).visible.remove(&from.name).expect("the name was looked up");
        let replaced = self.dir_mut(to.dir).visible.insert(to.name.clone(), inode);
        self.note(inode, Some(from), Some(to), replaced);
        let device = self.inode(inode).device;
        let operation = self.devices[device].names.last_mut().expect("the one just noted");
        operation.above = above;
        if let Some(replaced) = replaced {
            self.hold(replaced, |inode| inode.is_named = false);
        }
    }

    fn note(&mut self, inode: Ino, from: Option<Slot>, to: Option<Slot>, replaced: Option<Ino>) {
        let now = self.now;
        let dirs: Vec<Ino> = from.iter().chain(&to).map(|slot| slot.dir).collect();
        for dir in dirs {
            self.inode_mut(dir).modified = now;
        }
        for held in [Some(inode), replaced].into_iter().flatten() {
            self.hold(held, |inode| inode.pending += 1);
        }
        let (device, is_dir) = (self.inode(inode).device, self.inode(inode).is_dir());
        let (above, synced) = (Vec::new(), BTreeSet::new());
        let operation = NameOp { inode, is_dir, from, to, replaced, above, synced };
        self.devices[device].names.push(operation);
    }

    /// Whether the file at a place can be renamed to another, by the rules of rename(2).
    pub(super) fn check_rename(&self, from: &Slot, to: &Slot) -> io::Result<Renaming> {
        let moved = self.child(from.dir, &from.name)?.ok_or_else(|| errno(libc::ENOENT))?;
        let replaced = self.child(to.dir, &to.name)?;
        if self.inode(from.dir).device != self.inode(to.dir).device {
            return Err(errno(libc::EXDEV));
        }
        if self.is_mount(moved) || replaced.is_some_and(|ino| self.is_mount(ino)) {
            return Err(errno(libc::EBUSY));
        }
        if replaced == Some(moved) {
            return Ok(Renaming::Nothing);
        }
        let is_dir = self.inode(moved).is_dir();
        if is_dir && self.lies_in(to.dir, moved, |tree, ino| tree.children(ino, false)) {
            return Err(errno(libc::EINVAL));
        }
        match replaced.map(|ino| (self.inode(ino).is_dir(), self.children(ino, false).is_empty())) {
            Some((true, _)) if !is_dir => Err(errno(libc::EISDIR)),
            Some((false, _)) if is_dir => Err(errno(libc::ENOTDIR)),
            Some((true, false)) => Err(errno(libc::ENOTEMPTY)),
            Some(_) | None => Ok(Renaming::Move),
        }
    }

    pub(super) fn is_mount(&self, ino: Ino) -> bool {
        self.devices.iter().any(|device| device.root == ino)
    }

    fn children(&self, ino: Ino, durable: bool) -> Vec<Ino> {
        let node = self.inodes.get(&ino).map(|inode| &inode.kind);
        match node {
            Some(Kind::Dir(dir)) if durable => dir.durable.values().copied().collect(),
            Some(Kind::Dir(dir)) => dir.visible.values().copied().collect(),
            Some(Kind::File(_)) | None => Vec::new(),
        }
    }

    /// Whether `ino` is `above` or lies beneath it.
    fn lies_in(&self, ino: Ino, above: Ino, children: impl Fn(&Tree, Ino) -> Vec<Ino>) -> bool {
        let mut stack = vec![above];
        while let Some(at) = stack.pop() {
            if at == ino {
                return true;
            }
            stack.extend(children(self, at));
        }
        false
    }

    /// Makes durable what was done to the names in a directory.
    pub(super) fn sync_names(&mut self, dir: Ino) {
        let device = self.inode(dir).device;
        for operation in &mut self.devices[device].names {
            if operation.slots().any(|slot| slot.dir == dir) {
                operation.synced.insert(dir);
            }
        }
        let names = std::mem::take(&mut self.devices[device].names);
        let mut chosen: Vec<bool> = names.iter().map(NameOp::is_synced).collect();
        with_what_they_rest_on(&names, &mut chosen);
        for (operation, is_chosen) in names.into_iter().zip(chosen) {
            if is_chosen {
                self.settle(&operation, true);
            } else {
                self.devices[device].names.push(operation);
            }
        }
    }

    /// Drops what was done to the names in a directory from what may become durable.
    pub(super) fn lose_names(&mut self, dir: Ino) {
        let device = self.inode(dir).device;
        let names = std::mem::take(&mut self.devices[device].names);
        for operation in names {
            if operation.slots().any(|slot| slot.dir == dir) {
                self.settle(&operation, false);
            } else {
                self.devices[device].names.push(operation);
            }
        }
    }

    /// Ends all pending name operations of a device: `keeps` says in their order which of them become durable.
    pub(super) fn settle_all(&mut self, device: usize, mut keeps: impl FnMut() -> bool) {
        for operation in std::mem::take(&mut self.devices[device].names) {
            let keep = keeps();
            self.settle(&operation, keep);
        }
    }

    /// Ends a pending operation: durable if it is to be kept and fits, else lost.
    fn settle(&mut self, operation: &NameOp, keep: bool) {
        if keep && self.fits(operation) {
            if let Some(from) = &operation.from {
                self.dir_mut(from.dir).durable.remove(&from.name);
            }
            if let Some(to) = &operation.to {
                self.dir_mut(to.dir).durable.insert(to.name.clone(), operation.inode);
            }
            let has_name = operation.to.is_some();
            self.hold(operation.inode, |inode| inode.is_durably_named = has_name);
            if let Some(replaced) = operation.replaced {
                self.hold(replaced, |inode| inode.is_durably_named = false);
            }
        }
        for held in [Some(operation.inode), operation.replaced].into_iter().flatten() {
            self.hold(held, |inode| inode.pending -= 1);
        }
    }

    fn fits(&self, operation: &NameOp) -> bool {
        let leads_to = |slot: &Slot| match self.inodes.get(&slot.dir).map(|inode| &inode.kind) {
            Some(Kind::Dir(dir)) => Some(dir.durable.get(&slot.name).copied()),
            Some(Kind::File(_)) | None => None,
        };
        let takes = operation.from.iter().all(|slot| leads_to(slot) == Some(Some(operation.inode)));
        let gives = operation.to.iter().all(|slot| leads_to(slot) == Some(operation.replaced));
        let durable = |tree: &Tree, ino| tree.children(ino, true);
        let is_led_to = || {
            operation.moves_to().is_none_or(|dir| {
                self.lies_in(dir, self.root, durable) && !self.lies_in(dir, operation.inode, durable)
            })
        };
        takes && gives && operation.emptied().all(|dir| self.children(dir, true).is_empty()) && is_led_to()
    }
}

/// What a rename comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Renaming {
    /// Both names are the same file's.
    Nothing,
    Move,
}
