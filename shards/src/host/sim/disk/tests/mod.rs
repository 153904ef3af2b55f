//! The disk as a whole: what the processes see, what survives, and what goes wrong.

use std::path::Path;

use super::{CrashModel, Disk};
use crate::host::{Durability, OpenHow};

const WRITE: OpenHow = OpenHow { read: true, write: true, create: true, create_new: false, direct: false };

#[test]
fn what_is_not_synced_is_lost() {
    let mut disk = Disk::new(1);
    let file = disk.open(Path::new("/a"), WRITE).expect("a file");
    assert_eq!(disk.write(file, 0, b"hello", Durability::DataSync).expect("a write"), 5);
    let mut fork = disk.fork();
    fork.crash(CrashModel::DropAll);
    assert!(fork.files().is_empty());
    disk.sync_dir(Path::new("/")).expect("a sync");
    disk.crash(CrashModel::DropAll);
    assert_eq!(disk.peek(Path::new("/a")).expect("a file"), b"hello");
}
