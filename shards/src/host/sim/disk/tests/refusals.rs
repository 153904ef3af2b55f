//! What is refused, with the system's error numbers, and what room there is.

use super::*;
use crate::host::sim::disk::Space;

const DIRECT: OpenHow = OpenHow { direct: true, ..WRITE };

#[test]
fn opening_is_refused_as_the_system_refuses_it() {
    let mut disk = Disk::new(1);
    disk.create_dir(p("/d")).expect("a directory");
    open(&mut disk, "/f");
    let create_new = OpenHow { create_new: true, ..WRITE };
    let cases = [
        ("/nothing", READ, libc::ENOENT),
        ("/nowhere/f", WRITE, libc::ENOENT),
        ("/f/x", WRITE, libc::ENOTDIR),
        ("/f", create_new, libc::EEXIST),
        ("/d", WRITE, libc::EISDIR),
        ("/d", OpenHow { direct: true, ..READ }, libc::EINVAL),
        ("/f", OpenHow::default(), libc::EINVAL),
        ("", READ, libc::ENOENT),
    ];
    for (path, how, expected) in cases {
        assert_eq!(code(disk.open(p(path), how)), expected, "{path}");
    }
    let long = "x".repeat(256);
    assert_eq!(code(disk.open(p(&long), WRITE)), libc::ENAMETOOLONG);
    assert_eq!(disk.open_files(), 1);
    disk.open(p("/d/../f"), READ).expect("the same file");
}

#[test]
fn there_are_only_so_many_open_files() {
    let mut disk = Disk::new(1);
    disk.set_open_max(1);
    let file = open(&mut disk, "/a");
    assert_eq!(code(disk.open(p("/b"), WRITE)), libc::EMFILE);
    assert!(!disk.exists(p("/b")).expect("an answer"), "it was not created either");
    disk.close(file);
    open(&mut disk, "/b");
}

#[test]
fn open_files_do_what_they_were_opened_for() {
    let mut disk = Disk::new(1);
    let file = open(&mut disk, "/f");
    let reader = disk.open(p("/f"), READ).expect("a file");
    assert_eq!(code(disk.write(reader, 0, b"x", Durability::None)), libc::EBADF);
    assert_eq!(code(disk.set_len(reader, 0)), libc::EINVAL);
    assert_eq!(code(disk.allocate(reader, 0, 1)), libc::EBADF);
    disk.sync_all(reader).expect("whoever has it open may sync it");
    let writer = disk.open(p("/f"), OpenHow { read: false, ..WRITE }).expect("a file");
    assert_eq!(code(disk.read(writer, 0, &mut [0])), libc::EBADF);
    let directory = disk.open(p("/"), READ).expect("a directory");
    assert_eq!(code(disk.read(directory, 0, &mut [0])), libc::EISDIR);
    assert_eq!(code(disk.allocate(file, 0, 0)), libc::EINVAL);
    assert_eq!(code(disk.set_len(file, u64::MAX)), libc::EFBIG);
    assert_eq!(code(disk.write(file, u64::MAX, b"x", Durability::None)), libc::EFBIG);
    disk.close(file);
    assert_eq!(code(disk.sync_data(file)), libc::EBADF);
}

#[test]
fn direct_operations_are_made_of_blocks() {
    let mut disk = Disk::new(1);
    let file = disk.open(p("/f"), DIRECT).expect("a file");
    assert_eq!(code(disk.write(file, 512, &[1; 4096], Durability::DataSync)), libc::EINVAL);
    assert_eq!(code(disk.write(file, 0, &[1; 512], Durability::DataSync)), libc::EINVAL);
    write(&mut disk, file, 0, &[1; 8192]);
    disk.set_len(file, 5000).expect("a cut");
    let mut block = [0; 4096];
    assert_eq!(code(disk.read(file, 1, &mut block)), libc::EINVAL);
    assert_eq!(code(disk.read(file, 0, &mut block[..4095])), libc::EINVAL);
    assert_eq!(disk.read(file, 4096, &mut block).expect("the end"), 904);
    assert_eq!(disk.read(file, 8192, &mut block).expect("behind the end"), 0);
}

#[test]
fn names_are_refused_as_the_system_refuses_them() {
    let mut disk = Disk::new(1);
    disk.add_device(p("/other"), 1 << 20);
    disk.create_dir(p("/d")).expect("a directory");
    disk.create_dir(p("/empty")).expect("a directory");
    open(&mut disk, "/d/f");
    open(&mut disk, "/f");
    assert_eq!(code(disk.create_dir(p("/d"))), libc::EEXIST);
    assert_eq!(code(disk.create_dir(p("/"))), libc::EEXIST);
    assert_eq!(code(disk.create_dir(p("/x/y"))), libc::ENOENT);
    assert_eq!(code(disk.remove_dir(p("/d"))), libc::ENOTEMPTY);
    assert_eq!(code(disk.remove_dir(p("/f"))), libc::ENOTDIR);
    assert_eq!(code(disk.remove_dir(p("/other"))), libc::EBUSY);
    assert_eq!(code(disk.remove_file(p("/d"))), libc::EISDIR);
    assert_eq!(code(disk.remove_file(p("/x"))), libc::ENOENT);
    assert_eq!(code(disk.rename(p("/x"), p("/y"))), libc::ENOENT);
    assert_eq!(code(disk.rename(p("/f"), p("/other/f"))), libc::EXDEV);
    assert_eq!(code(disk.rename(p("/f"), p("/d"))), libc::EISDIR);
    assert_eq!(code(disk.rename(p("/d"), p("/f"))), libc::ENOTDIR);
    assert_eq!(code(disk.rename(p("/empty"), p("/d"))), libc::ENOTEMPTY);
    assert_eq!(code(disk.rename(p("/d"), p("/d/e"))), libc::EINVAL);
    assert_eq!(code(disk.read_dir(p("/f"))), libc::ENOTDIR);
    assert_eq!(code(disk.sync_dir(p("/f"))), libc::ENOTDIR);
    assert_eq!(code(disk.exists(p("/f/x"))), libc::ENOTDIR);
    disk.rename(p("/f"), p("/f")).expect("nothing to do");
    disk.rename(p("/d"), p("/empty")).expect("over an empty directory");
    assert_eq!(names(&disk), ["/empty/f", "/f"]);
}

#[test]
fn a_lock_is_held_by_one_until_it_closes() {
    let mut disk = Disk::new(1);
    let (first, second) = (open(&mut disk, "/l"), open(&mut disk, "/l"));
    assert!(disk.try_lock(first).expect("an answer"));
    assert!(!disk.try_lock(second).expect("an answer"));
    assert!(disk.try_lock(first).expect("an answer"), "again");
    disk.close(first);
    assert!(disk.try_lock(second).expect("an answer"));
}

#[test]
fn a_read_only_device_changes_no_more() {
    let (mut disk, file) = disk_with(b"old");
    disk.set_read_only(p("/"), true);
    assert_eq!(code(disk.write(file, 0, b"x", Durability::None)), libc::EROFS);
    assert_eq!(code(disk.set_len(file, 0)), libc::EROFS);
    assert_eq!(code(disk.open(p("/new"), WRITE)), libc::EROFS);
    assert_eq!(code(disk.open(p("/f"), WRITE)), libc::EROFS);
    assert_eq!(code(disk.create_dir(p("/d"))), libc::EROFS);
    assert_eq!(code(disk.remove_file(p("/f"))), libc::EROFS);
    assert_eq!(code(disk.rename(p("/f"), p("/g"))), libc::EROFS);
    disk.open(p("/f"), READ).expect("it can be read");
    disk.set_read_only(p("/"), false);
    write(&mut disk, file, 0, b"x");
}

fn available(disk: &mut Disk) -> u64 {
    disk.space(p("/d")).expect("room").available / 4096
}

#[test]
fn room_is_taken_by_pages_and_given_back() {
    let mut disk = Disk::new(1);
    disk.add_device(p("/d"), 10 * 4096);
    assert_eq!(disk.space(p("/d")).expect("room"), Space { available: 40_960, total: 40_960 });
    let file = open(&mut disk, "/d/f");
    write(&mut disk, file, 4000, &[1; 200]);
    assert_eq!(available(&mut disk), 8, "two pages");
    disk.set_len(file, 1 << 20).expect("a hole");
    assert_eq!(available(&mut disk), 8, "which costs nothing");
    disk.allocate(file, 0, 5 * 4096).expect("room");
    assert_eq!(available(&mut disk), 5);
    assert_eq!(code(disk.allocate(file, 0, 11 * 4096)), libc::ENOSPC);
    disk.set_len(file, 4096).expect("a cut");
    assert_eq!(available(&mut disk), 9);
    disk.remove_file(p("/d/f")).expect("a removal");
    assert_eq!(available(&mut disk), 9, "it is still open");
    write(&mut disk, file, 4096, &[1; 1]);
    assert_eq!(available(&mut disk), 8);
    disk.close(file);
    assert_eq!(available(&mut disk), 10);
    let mut left = after(&disk, CrashModel::KeepAll);
    assert_eq!(available(&mut left), 10);
    disk.sync_dir(p("/d")).expect("a sync");
    assert_eq!(disk.tree.inodes.len(), 2, "the root and the mount point");
}

#[test]
fn a_file_that_is_renamed_over_gives_its_room_back() {
    let mut disk = Disk::new(1);
    disk.add_device(p("/d"), 10 * 4096);
    for name in ["/d/a", "/d/b"] {
        let file = open(&mut disk, name);
        write(&mut disk, file, 0, &[1; 3 * 4096]);
        disk.close(file);
    }
    disk.rename(p("/d/a"), p("/d/b")).expect("a rename");
    assert_eq!(available(&mut disk), 7);
    disk.fill_up(p("/d"), 2 * 4096);
    assert_eq!(available(&mut disk), 2);
    disk.remove_file(p("/d/b")).expect("a removal");
    assert_eq!(available(&mut disk), 5);
    disk.fill_up(p("/d"), u64::MAX);
    assert_eq!(available(&mut disk), 10);
    let mut left = after(&disk, CrashModel::DropAll);
    assert_eq!(available(&mut left), 10, "neither name was ever synced");
}

#[test]
fn a_change_has_its_time() {
    let mut disk = Disk::new(1);
    disk.set_now(ottla::time::Monotonic(5));
    let file = open(&mut disk, "/f");
    disk.set_now(ottla::time::Monotonic(9));
    assert_eq!(disk.metadata(p("/f")).expect("a file").modified.0, 5);
    write(&mut disk, file, 0, b"four");
    disk.set_now(ottla::time::Monotonic(12));
    disk.sync_all(file).expect("a sync");
    let metadata = disk.metadata(p("/f")).expect("a file");
    assert_eq!((metadata.modified.0, metadata.bytes, metadata.is_dir), (9, 4, false));
    assert!(disk.metadata(p("/")).expect("a directory").is_dir);
}
