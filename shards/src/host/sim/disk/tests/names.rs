//! Which names are durable, and what each crash model leaves of those that are not.

use super::*;

#[test]
fn a_synced_file_is_lost_with_its_name() {
    let mut disk = Disk::new(1);
    let file = open(&mut disk, "/a");
    write(&mut disk, file, 0, b"bytes");
    disk.sync_all(file).expect("a sync");
    assert!(names(&after(&disk, CrashModel::DropAll)).is_empty());
    disk.sync_dir(p("/")).expect("a sync");
    let left = after(&disk, CrashModel::DropAll);
    assert_eq!(file_bytes(&left, "/a").as_deref(), Some(&b"bytes"[..]));
}

#[test]
fn a_name_without_synced_bytes_is_an_empty_file() {
    let mut disk = Disk::new(1);
    let file = open(&mut disk, "/a");
    write(&mut disk, file, 0, b"bytes");
    disk.sync_dir(p("/")).expect("a sync");
    assert_eq!(file_bytes(&after(&disk, CrashModel::DropAll), "/a"), Some(Vec::new()));
}

#[test]
fn a_name_needs_every_directory_above_it() {
    let mut disk = Disk::new(1);
    disk.create_dir(p("/d")).expect("a directory");
    let file = open(&mut disk, "/d/a");
    write_durably(&mut disk, file, 0, b"bytes");
    disk.sync_dir(p("/d")).expect("a sync");
    assert!(names(&after(&disk, CrashModel::DropAll)).is_empty());
    let directory = disk.open(p("/"), READ).expect("a directory");
    disk.sync_all(directory).expect("a sync of an open directory");
    assert_eq!(names(&after(&disk, CrashModel::DropAll)), ["/d/a"]);
}

#[test]
fn a_file_replaced_by_a_rename_is_the_old_or_the_new_one() {
    let (mut disk, _) = disk_with(b"old");
    let file = open(&mut disk, "/f.tmp");
    write(&mut disk, file, 0, b"new");
    disk.sync_all(file).expect("a sync");
    disk.rename(p("/f.tmp"), p("/f")).expect("a rename");
    for model in CrashModel::ALL {
        for left in outcomes(&disk, model, |disk| file_bytes(disk, "/f")) {
            let left = left.expect("the name is there in any case");
            assert!(left == b"old" || left == b"new", "{model:?}");
        }
    }
    assert_eq!(file_bytes(&after(&disk, CrashModel::DropAll), "/f").as_deref(), Some(&b"old"[..]));
    disk.sync_dir(p("/")).expect("a sync");
    for model in CrashModel::ALL {
        let left = after(&disk, model);
        assert_eq!(names(&left), ["/f"]);
        assert_eq!(file_bytes(&left, "/f").as_deref(), Some(&b"new"[..]), "{model:?}");
    }
}

#[test]
fn a_rename_between_directories_needs_both_synced() {
    let mut disk = Disk::new(1);
    for dir in ["/d", "/e"] {
        disk.create_dir(p(dir)).expect("a directory");
    }
    open(&mut disk, "/d/a");
    disk.sync_file_system(p("/")).expect("a sync");
    disk.rename(p("/d/a"), p("/e/b")).expect("a rename");
    disk.sync_dir(p("/e")).expect("a sync");
    assert_eq!(names(&after(&disk, CrashModel::DropAll)), ["/d/a"]);
    for model in CrashModel::ALL {
        assert!(outcomes(&disk, model, names).iter().all(|names| names.len() == 1), "{model:?}");
    }
    disk.sync_dir(p("/d")).expect("a sync");
    assert_eq!(names(&after(&disk, CrashModel::DropAll)), ["/e/b"]);
}

#[test]
fn what_a_synced_name_rests_on_is_durable_too() {
    let mut disk = Disk::new(1);
    for dir in ["/d", "/e"] {
        disk.create_dir(p(dir)).expect("a directory");
    }
    open(&mut disk, "/d/a");
    disk.sync_file_system(p("/")).expect("a sync");
    disk.rename(p("/d/a"), p("/e/a")).expect("a rename");
    disk.rename(p("/e/a"), p("/e/b")).expect("a rename");
    disk.sync_dir(p("/e")).expect("a sync");
    assert_eq!(names(&after(&disk, CrashModel::DropAll)), ["/e/b"]);
    disk.rename(p("/e/b"), p("/c")).expect("a rename");
    disk.remove_dir(p("/e")).expect("an empty directory");
    disk.sync_dir(p("/")).expect("a sync");
    let mut left = after(&disk, CrashModel::DropAll);
    assert_eq!(names(&left), ["/c"], "the directory went, so the file had left it");
    assert_eq!(left.read_dir(p("/")).expect("names"), [("c".into(), false), ("d".into(), true)]);
}

#[test]
fn a_removal_is_pending_until_its_directory_is_synced() {
    let (mut disk, file) = disk_with(b"old");
    disk.remove_file(p("/f")).expect("a removal");
    assert_eq!(disk.len(file).expect("it is still open"), 3);
    disk.close(file);
    assert!(!disk.exists(p("/f")).expect("an answer"));
    assert_eq!(file_bytes(&after(&disk, CrashModel::DropAll), "/f").as_deref(), Some(&b"old"[..]));
    assert_eq!(outcomes(&disk, CrashModel::Reordered, |disk| names(disk).len()), [0, 1]);
    disk.sync_dir(p("/")).expect("a sync");
    assert!(names(&after(&disk, CrashModel::DropAll)).is_empty());
    assert_eq!(disk.tree.inodes.len(), 1, "nobody needs the file any more");
}

#[test]
fn a_file_made_anew_under_its_old_name_is_the_old_or_the_new_or_none() {
    let (mut disk, _) = disk_with(b"old");
    disk.remove_file(p("/f")).expect("a removal");
    let file = open(&mut disk, "/f");
    write_durably(&mut disk, file, 0, b"new");
    let look = |disk: &Disk| file_bytes(disk, "/f");
    let expected = [None, Some(b"new".to_vec()), Some(b"old".to_vec())];
    assert_eq!(outcomes(&disk, CrashModel::Reordered, look), expected);
    assert_eq!(outcomes(&disk, CrashModel::Torn512, look), expected);
    disk.sync_dir(p("/")).expect("a sync");
    assert_eq!(outcomes(&disk, CrashModel::Reordered, look), expected[1..2]);
}

#[test]
fn torn_names_end_somewhere_and_reordered_ones_are_any_of_them() {
    let mut disk = Disk::new(1);
    open(&mut disk, "/a");
    open(&mut disk, "/b");
    let none: [&str; 0] = [];
    let torn = outcomes(&disk, CrashModel::Torn4096, names);
    assert_eq!(torn, [none.to_vec(), vec!["/a"], vec!["/a", "/b"]]);
    let reordered = outcomes(&disk, CrashModel::Reordered, names);
    assert_eq!(reordered, [none.to_vec(), vec!["/a"], vec!["/a", "/b"], vec!["/b"]]);
}

#[test]
fn directories_that_move_into_each_other_close_no_circle() {
    let mut disk = Disk::new(1);
    for dir in ["/a", "/b"] {
        disk.create_dir(p(dir)).expect("a directory");
    }
    open(&mut disk, "/a/x");
    open(&mut disk, "/b/y");
    disk.sync_file_system(p("/")).expect("a sync");
    disk.rename(p("/a"), p("/b/a")).expect("a rename");
    disk.rename(p("/b/a"), p("/a")).expect("a rename");
    disk.rename(p("/b"), p("/a/b")).expect("a rename");
    for left in outcomes(&disk, CrashModel::Reordered, names) {
        assert_eq!(left.len(), 2, "{left:?}");
    }
    disk.sync_dir(p("/")).expect("a sync");
    disk.sync_dir(p("/a")).expect("a sync");
    assert_eq!(names(&after(&disk, CrashModel::DropAll)), ["/a/b/y", "/a/x"]);
}

#[test]
fn a_sync_of_a_file_system_takes_its_device_and_no_other() {
    let mut disk = Disk::new(1);
    disk.add_device(p("/data/one"), 1 << 30);
    disk.add_device(p("/data/two"), 1 << 30);
    for dir in ["/data/one", "/data/two"] {
        disk.create_dir(&p(dir).join("d")).expect("a directory");
        let file = disk.open(&p(dir).join("d/f"), WRITE).expect("a file");
        write(&mut disk, file, 0, b"bytes");
    }
    disk.sync_file_system(p("/data/one/d")).expect("a sync");
    for model in CrashModel::ALL {
        assert_eq!(file_bytes(&after(&disk, model), "/data/one/d/f").as_deref(), Some(&b"bytes"[..]));
    }
    let mut left = after(&disk, CrashModel::DropAll);
    assert_eq!(names(&left), ["/data/one/d/f"]);
    assert!(left.exists(p("/data/two")).expect("an answer"), "a mount point is always there");
}

#[test]
fn states_tell_where_a_file_would_be() {
    let (mut disk, file) = disk_with(b"old");
    disk.rename(p("/f"), p("/g")).expect("a rename");
    write(&mut disk, file, 3, b"more");
    let state = disk.files().remove(0);
    assert_eq!((state.path.as_path(), state.bytes), (p("/g"), 7));
    assert_eq!((state.durable_path.as_deref(), state.durable_bytes), (Some(p("/f")), 3));
    assert_eq!(state.pending, 1);
}

#[test]
fn a_rename_into_a_new_directory_loses_nothing() {
    let (mut disk, _) = disk_with(b"old");
    disk.create_dir(p("/d")).expect("a directory");
    disk.create_dir(p("/d/e")).expect("a directory");
    disk.rename(p("/f"), p("/d/e/f")).expect("a rename");
    let expected = [vec!["/d/e/f"], vec!["/f"]];
    assert_eq!(outcomes(&disk, CrashModel::Reordered, names), expected);
    let mut later = disk.fork();
    for dir in ["/d/e", "/"] {
        disk.sync_dir(p(dir)).expect("a sync");
    }
    assert_eq!(names(&after(&disk, CrashModel::DropAll)), ["/d/e/f"], "though /d was not synced");
    later.fail_nth(1, crate::host::sim::disk::Which::of(crate::host::sim::disk::Ops::Syncs), libc::EIO);
    assert_eq!(code(later.sync_dir(p("/d"))), libc::EIO);
    for dir in ["/d/e", "/"] {
        later.sync_dir(p(dir)).expect("a sync");
    }
    assert_eq!(names(&after(&later, CrashModel::KeepAll)), ["/f"], "the directory was lost, the file is not");
}
