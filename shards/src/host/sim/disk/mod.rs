//! The disk of a simulated machine: one tree of files over several devices, what of it is durable, and what can go
//! wrong with it.
//!
//! The model is pure: no clock, no threads, no real files. Its owner is the simulated machine, which gives each
//! operation its moment; an operation takes effect as one step, when it is called.
//!
//! # What holds
//! - Processes see the newest state always. Beside it the model keeps what is durable and, per file and per device,
//!   the operations between, in their order.
//! - Bytes are durable after a sync of their file, or when they were written with [`Durability::DataSync`]; names are
//!   durable after a sync of their directory, and a file is found after a crash only when its own name and those of
//!   all directories above it are. Nothing else is promised: neither does a synced file's name follow its bytes, nor
//!   do renamed bytes come before their name.
//! - The same seed and the same calls give the same state, errors and crashes.
//! - A copy ([`Disk::fork`]) shares all pages with its original and neither sees what happens to the other.
//!
//! # What it leaves out
//! Links of both kinds, permissions, the blocks of directories and inodes, and access through memory maps. Nothing is
//! written back on its own: what is not synced stays pending until a crash decides.
//!
//! [`Durability::DataSync`]: crate::host::Durability::DataSync

mod content;
mod crash;
mod faults;
mod file;
mod files;
mod latency;
mod names;
mod paths;
mod piece;
mod rng;
#[cfg(test)]
mod tests;
mod trace;
mod tree;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla::time::Monotonic;

use crate::host::OpenHow;
use faults::Faults;
use rng::Rng;
use trace::Trace;
use tree::{Ino, Kind, Tree, normal};

pub use crash::CrashModel;
pub use faults::{Op, Ops, Which};
pub use paths::{Metadata, Space};

/// Bytes of the device that every machine has from the start.
const FIRST_DEVICE_BYTES: u64 = 1 << 40;

/// Open files at once, until [`Disk::set_open_max`] says otherwise.
const OPEN_MAX: usize = 1 << 20;

/// An open description: what `open` gives, with the rights that it was opened with. Never given twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId(u64);

#[derive(Clone, Debug)]
struct Handle {
    ino: Ino,
    how: OpenHow,
    path: Arc<Path>,
}

/// What there is about a file besides its bytes, for tests to look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileState {
    /// Its name, as processes see it.
    pub path: PathBuf,
    /// Its length in bytes, as processes see it.
    pub bytes: u64,
    /// Where it would be if nothing unsynced stayed; `None` when it would be gone.
    pub durable_path: Option<PathBuf>,
    /// The length in bytes that it would have then.
    pub durable_bytes: u64,
    /// Writes, cuts and allocations of it that nothing has synced.
    pub pending: usize,
}

/// The storage of one machine.
#[derive(Clone, Debug)]
pub struct Disk {
    tree: Tree,
    handles: BTreeMap<FileId, Handle>,
    files_opened: u64,
    open_max: usize,
    faults: Faults,
    /// Draws what a crash leaves.
    chance: Rng,
    /// Draws how much of a failing operation takes effect.
    mishap: Rng,
    /// Draws how long operations take.
    timing: Rng,
    trace: Trace,
}

fn errno(number: i32) -> io::Error {
    io::Error::from_raw_os_error(number)
}

impl Disk {
    /// An empty disk: the root directory on a device of 1 TiB.
    #[must_use]
    pub fn new(seed: u64) -> Disk {
        Disk {
            tree: Tree::new(FIRST_DEVICE_BYTES),
            handles: BTreeMap::new(),
            files_opened: 0,
            open_max: OPEN_MAX,
            faults: Faults::default(),
            chance: Rng::new(seed, 1),
            mishap: Rng::new(seed, 2),
            timing: Rng::new(seed, 3),
            trace: Trace::default(),
        }
    }

    /// Mounts an empty device at `mount`, where nothing may be yet. That directory and those above it are durable.
    /// Capacity counts in blocks of 4,096 bytes.
    pub fn add_device(&mut self, mount: &Path, capacity_bytes: u64) {
        let mount = normal(mount).expect("a mount point has a name");
        self.tree.add_device(&mount, capacity_bytes);
    }

    /// A copy of the whole disk, open files, pending operations, waiting faults and random numbers included: it
    /// costs as much as there are files, not bytes, until one of the two is written.
    #[must_use]
    pub fn fork(&self) -> Disk {
        self.clone()
    }

    /// Draws from now on what crashes leave, what failing operations do and how long everything takes as `seed` has
    /// it: forks of one disk end differently with different seeds.
    pub fn reseed(&mut self, seed: u64) {
        (self.chance, self.mishap, self.timing) = (Rng::new(seed, 1), Rng::new(seed, 2), Rng::new(seed, 3));
    }

    /// Sets the clock, which files carry as the time of their last change and which ends a device's slowness.
    pub fn set_now(&mut self, now: Monotonic) {
        self.tree.now = now;
    }

    /// Files that may be open at once on the whole machine; beyond, `open` says `EMFILE`.
    pub fn set_open_max(&mut self, files: usize) {
        self.open_max = files;
    }

    /// Files that are open.
    #[must_use]
    pub fn open_files(&self) -> usize {
        self.handles.len()
    }

    /// Operations so far, of every kind and outcome.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.faults.total()
    }

    /// Operations of one kind so far.
    #[must_use]
    pub fn operations_of(&self, op: Op) -> u64 {
        self.faults.count(op)
    }

    /// Fails the `n`-th operation from now that `which` means (1 is the next one), once.
    ///
    /// A write that fails may have come some way; a sync that fails loses what it should have made durable, and the
    /// next one says `Ok`; everything else has no effect.
    pub fn fail_nth(&mut self, n: u64, which: Which, errno: i32) {
        self.faults.add(which, Some(n), errno);
    }

    /// Fails every operation from now on that `which` means: with [`Ops::Any`] and a mount point, a dead device.
    pub fn fail_always(&mut self, which: Which, errno: i32) {
        self.faults.add(which, None, errno);
    }

    /// Forgets all faults that are waiting. What they have done stays.
    pub fn heal(&mut self) {
        self.faults.clear();
    }

    /// Faults that are waiting to strike.
    #[must_use]
    pub fn faults_waiting(&self) -> usize {
        self.faults.waiting()
    }

    /// Turns bit `bit` (0 to 7) of the byte at `position` over, as seen and on the device.
    ///
    /// # Errors
    /// `EINVAL` behind the file's end; those of finding the file.
    pub fn flip_bit(&mut self, path: &Path, position: u64, bit: u8) -> io::Result<()> {
        assert!(bit < 8, "a byte has eight bits");
        let ino = self.tree.find(&normal(path)?)?;
        if position >= self.tree.file(ino)?.visible().len() {
            return Err(errno(libc::EINVAL));
        }
        self.tree.change(ino, |file| file.flip(position, 1 << bit));
        self.trace.push(|| format!("flip bit {bit} of byte {position} of {}", path.display()));
        Ok(())
    }

    /// Takes all room of the device of `path` but for `left_bytes`, as somebody else's files would. A later call
    /// counts anew: with `u64::MAX` everything is given back.
    pub fn fill_up(&mut self, path: &Path, left_bytes: u64) {
        let device = self.device_at(path);
        let device = &mut self.tree.devices[device];
        device.foreign = 0;
        device.foreign = device.room().saturating_sub(left_bytes / piece::PAGE);
    }

    /// Makes the device of `path` refuse changes with `EROFS`, or take them again.
    pub fn set_read_only(&mut self, path: &Path, is_read_only: bool) {
        let device = self.device_at(path);
        self.tree.devices[device].is_read_only = is_read_only;
    }

    fn device_at(&self, path: &Path) -> usize {
        self.tree.device_of(&normal(path).expect("a device is named by a path"))
    }

    /// Keeps lines about the last `operations` operations; 0 keeps none.
    pub fn trace_last(&mut self, operations: usize) {
        self.trace.keep(operations);
    }

    /// The lines that are kept, the oldest first: what was done, where, and what came of it.
    pub fn trace(&self) -> impl Iterator<Item = &str> {
        self.trace.lines()
    }

    /// Every file that has a name, in the order of the paths' components. Not an operation: nothing is counted.
    #[must_use]
    pub fn files(&self) -> Vec<FileState> {
        let mut durable: BTreeMap<Ino, PathBuf> =
            self.tree.walk(true).into_iter().map(|(path, ino)| (ino, path)).collect();
        let mut files = Vec::new();
        for (path, ino) in self.tree.walk(false) {
            let Kind::File(file) = &self.tree.inode(ino).kind else { continue };
            files.push(FileState {
                path,
                bytes: file.visible().len(),
                durable_path: durable.remove(&ino),
                durable_bytes: file.durable().len(),
                pending: file.pending(),
            });
        }
        files
    }

    /// The bytes of a file, as processes see them. Not an operation: nothing is counted.
    ///
    /// # Errors
    /// Those of finding the file.
    pub fn peek(&self, path: &Path) -> io::Result<Vec<u8>> {
        Ok(self.tree.file(self.tree.find(&normal(path)?)?)?.visible().to_vec())
    }

    /// Some bytes of a file, as processes see them; fewer where it ends. Not an operation: nothing is counted.
    ///
    /// # Errors
    /// Those of finding the file.
    pub fn peek_at(&self, path: &Path, position: u64, bytes: usize) -> io::Result<Vec<u8>> {
        let file = self.tree.file(self.tree.find(&normal(path)?)?)?;
        let mut into = vec![0; bytes];
        let read = file.visible().read(position, &mut into);
        into.truncate(read);
        Ok(into)
    }
}
