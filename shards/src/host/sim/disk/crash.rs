//! The end of processes and of power.
//!
//! What a crash leaves of names and of bytes is drawn apart: no file system orders the one by the other unless it is
//! synced. Names are journaled: with a torn crash they end after some operation of their device, with a reordered one
//! any of them may be missing that no other rests on.
//!
//! Invariant: after a crash nothing is open, locked or pending, and what is seen is what is durable.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Disk;
use super::rng::Rng;
use super::tree::{Ino, Inode, Kind, Tree};

/// What a power cut leaves of that which nothing has synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CrashModel {
    /// Nothing.
    DropAll,
    /// Everything, but for what a failed sync has lost.
    KeepAll,
    /// Of each unsynced 512 bytes of a file, aligned, any version since the last sync; the length likewise; names up
    /// to some operation.
    Torn512,
    /// The same with 4,096 bytes.
    Torn4096,
    /// Any of the unsynced operations, each whole or not at all, and of the names those that leave a tree.
    Reordered,
}

impl CrashModel {
    /// Every model.
    pub const ALL: [CrashModel; 5] = [
        CrashModel::DropAll,
        CrashModel::KeepAll,
        CrashModel::Torn512,
        CrashModel::Torn4096,
        CrashModel::Reordered,
    ];
}

impl Disk {
    /// Cuts the power. Every open file is gone, with its locks; only what the model leaves stays. Faults that are
    /// waiting go on waiting, and the operations go on being counted.
    pub fn crash(&mut self, model: CrashModel) {
        self.handles.clear();
        for device in 0..self.tree.devices.len() {
            self.tree.crash_names(device, model, &mut self.chance);
        }
        self.tree.crash_files(model, &mut self.chance);
        self.trace.push(|| format!("crash {model:?}"));
    }

    /// Ends every process of the machine: open files and locks are gone, everything written stays, synced or not.
    /// A machine with several processes closes the files of the one that ends instead.
    pub fn kill(&mut self) {
        let open: Vec<_> = self.handles.keys().copied().collect();
        for file in open {
            self.drop_handle(file);
        }
        self.trace.push(|| "kill".to_owned());
    }
}

impl Tree {
    fn crash_names(&mut self, device: usize, model: CrashModel, rng: &mut Rng) {
        let mut left = match model {
            CrashModel::Torn512 | CrashModel::Torn4096 => rng.prefix(self.devices[device].names.len() as u64),
            CrashModel::DropAll | CrashModel::KeepAll | CrashModel::Reordered => 0,
        };
        let odds = [1, 4, 7][usize::try_from(rng.below(3)).expect("an index")];
        self.settle_all(device, || match model {
            CrashModel::DropAll => false,
            CrashModel::KeepAll => true,
            CrashModel::Torn512 | CrashModel::Torn4096 => {
                let is_kept = left > 0;
                left = left.saturating_sub(1);
                is_kept
            }
            CrashModel::Reordered => rng.chance(odds, 8),
        });
    }

    fn crash_files(&mut self, model: CrashModel, rng: &mut Rng) {
        let dirty: BTreeSet<Ino> =
            self.devices.iter_mut().flat_map(|device| std::mem::take(&mut device.dirty)).collect();
        let mut old = std::mem::take(&mut self.inodes);
        let mut found: BTreeMap<Ino, Arc<Inode>> = BTreeMap::new();
        let mut stack = vec![self.root];
        while let Some(ino) = stack.pop() {
            let mut inode = old.remove(&ino).expect("a durable name keeps its inode");
            settle(&mut inode);
            if let Kind::Dir(dir) = &inode.kind {
                stack.extend(dir.durable.values());
            }
            found.insert(ino, inode);
        }
        for ino in dirty {
            let Some(inode) = found.get_mut(&ino) else { continue };
            if let Kind::File(file) = &mut Arc::make_mut(inode).kind {
                file.crash(model, rng);
            }
        }
        self.inodes = found;
        self.count_blocks();
    }

    fn count_blocks(&mut self) {
        for device in &mut self.devices {
            device.used = 0;
        }
        for inode in self.inodes.values() {
            self.devices[inode.device].used += inode.blocks();
        }
    }
}

/// Forgets who had the inode; copies it only if anybody had.
fn settle(inode: &mut Arc<Inode>) {
    let is_settled = match &inode.kind {
        Kind::Dir(dir) => dir.visible == dir.durable,
        Kind::File(_) => true,
    };
    if is_settled && inode.is_named && inode.opens == 0 && inode.lock.is_none() {
        return;
    }
    let inode = Arc::make_mut(inode);
    assert!(inode.is_durably_named, "what has a durable name knows it");
    assert!(inode.pending == 0, "every pending operation has ended");
    (inode.is_named, inode.opens, inode.lock) = (true, 0, None);
    if let Kind::Dir(dir) = &mut inode.kind {
        dir.visible = dir.durable.clone();
    }
}
