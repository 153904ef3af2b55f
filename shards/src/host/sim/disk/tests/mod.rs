//! The disk as a whole: what processes see, what survives a crash, and what goes wrong.

mod bytes;
mod mishaps;
mod names;
mod random;
mod refusals;

use std::io;
use std::path::Path;

use super::{CrashModel, Disk, FileId};
use crate::host::{Durability, OpenHow};

const READ: OpenHow =
    OpenHow { read: true, write: false, create: false, create_new: false, direct: false, exact: false };
const WRITE: OpenHow =
    OpenHow { read: true, write: true, create: true, create_new: false, direct: false, exact: false };

/// Seeds with which a fork is crashed when the outcome is drawn.
const SEEDS: std::ops::Range<u64> = 0..60;

fn p(path: &str) -> &Path {
    Path::new(path)
}

fn open(disk: &mut Disk, path: &str) -> FileId {
    disk.open(p(path), WRITE).expect("a file")
}

fn write(disk: &mut Disk, file: FileId, position: u64, bytes: &[u8]) {
    let written = disk.write(file, position, bytes, Durability::None);
    assert_eq!(written.expect("a write"), bytes.len());
}

fn write_durably(disk: &mut Disk, file: FileId, position: u64, bytes: &[u8]) {
    let written = disk.write(file, position, bytes, Durability::DataSync);
    assert_eq!(written.expect("a write"), bytes.len());
}

/// A disk with the file `/f` of these bytes, all of it durable, and the file.
fn disk_with(bytes: &[u8]) -> (Disk, FileId) {
    let mut disk = Disk::new(11);
    let file = open(&mut disk, "/f");
    write(&mut disk, file, 0, bytes);
    disk.sync_file_system(p("/")).expect("a sync");
    (disk, file)
}

/// What a crash of a copy leaves.
fn after(disk: &Disk, model: CrashModel) -> Disk {
    let mut fork = disk.fork();
    fork.crash(model);
    fork
}

/// What crashes leave, with many seeds.
fn outcomes<T: Ord>(disk: &Disk, model: CrashModel, look: impl Fn(&Disk) -> T) -> Vec<T> {
    let mut outcomes: Vec<T> = SEEDS
        .map(|seed| {
            let mut fork = disk.fork();
            fork.reseed(seed);
            fork.crash(model);
            look(&fork)
        })
        .collect();
    outcomes.sort();
    outcomes.dedup();
    outcomes
}

fn file_bytes(disk: &Disk, path: &str) -> Option<Vec<u8>> {
    disk.peek(p(path)).ok()
}

fn names(disk: &Disk) -> Vec<String> {
    disk.files().into_iter().map(|file| file.path.display().to_string()).collect()
}

fn code<T: std::fmt::Debug>(result: io::Result<T>) -> i32 {
    result.expect_err("a refusal").raw_os_error().expect("a system's error")
}
