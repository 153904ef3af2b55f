//! What faults do, and what stays of an operation that fails.

use std::collections::BTreeSet;

use super::*;
use crate::host::sim::disk::{Op, Ops, Which};

fn of(op: Op) -> Which {
    Which::of(Ops::One(op))
}

#[test]
fn a_failed_sync_loses_what_was_pending_and_the_next_one_says_nothing() {
    let (mut disk, file) = disk_with(b"old bytes");
    write(&mut disk, file, 0, b"new");
    disk.fail_nth(1, of(Op::SyncData), libc::EIO);
    assert_eq!(code(disk.sync_data(file)), libc::EIO);
    disk.sync_data(file).expect("as if nothing had been");
    assert_eq!(file_bytes(&disk, "/f").as_deref(), Some(&b"new bytes"[..]), "it is still seen");
    disk.sync_file_system(p("/")).expect("nor does this bring it back");
    for model in CrashModel::ALL {
        assert_eq!(file_bytes(&after(&disk, model), "/f").as_deref(), Some(&b"old bytes"[..]), "{model:?}");
    }
    write(&mut disk, file, 4, b"later");
    disk.sync_data(file).expect("a sync");
    let left = after(&disk, CrashModel::DropAll);
    assert_eq!(file_bytes(&left, "/f").as_deref(), Some(&b"old later"[..]), "what comes later is not lost");
}

#[test]
fn a_failed_sync_of_a_directory_loses_its_names_and_what_is_built_on_them() {
    let mut disk = Disk::new(1);
    open(&mut disk, "/a");
    disk.fail_nth(1, of(Op::SyncDir), libc::EIO);
    assert_eq!(code(disk.sync_dir(p("/"))), libc::EIO);
    disk.rename(p("/a"), p("/b")).expect("it is still seen");
    open(&mut disk, "/c");
    disk.sync_dir(p("/")).expect("as if nothing had been");
    assert_eq!(names(&disk), ["/b", "/c"]);
    for model in CrashModel::ALL {
        assert_eq!(names(&after(&disk, model)), ["/c"], "{model:?}");
    }
}

#[test]
fn a_failed_sync_of_a_file_system_loses_everything_that_was_pending() {
    let (mut disk, file) = disk_with(b"old");
    write(&mut disk, file, 0, b"new");
    open(&mut disk, "/a");
    disk.fail_nth(1, Which::of(Ops::Syncs), libc::EIO);
    assert_eq!(code(disk.sync_file_system(p("/"))), libc::EIO);
    disk.sync_file_system(p("/")).expect("as if nothing had been");
    let left = after(&disk, CrashModel::KeepAll);
    assert_eq!(names(&left), ["/f"]);
    assert_eq!(file_bytes(&left, "/f").as_deref(), Some(&b"old"[..]));
}

#[test]
fn a_failed_write_may_have_come_some_way() {
    let (disk, file) = disk_with(&[1; 4 * 4096]);
    let mut seen = BTreeSet::new();
    let mut lost = 0;
    for seed in 0..200 {
        let mut disk = disk.fork();
        disk.reseed(seed);
        disk.fail_nth(1, of(Op::Write), libc::EIO);
        let result = disk.write(file, 0, &[2; 4 * 4096], Durability::DataSync);
        assert_eq!(code(result), libc::EIO);
        let pages = |disk: &Disk| -> Vec<u8> {
            let bytes = file_bytes(disk, "/f").expect("a file");
            assert!(bytes.chunks(4096).all(|page| page.iter().all(|&byte| byte == page[0])));
            bytes.iter().copied().step_by(4096).collect()
        };
        let now = pages(&disk);
        let kept = pages(&after(&disk, CrashModel::KeepAll));
        assert!(kept == now || kept == [1; 4], "all of what is seen, or nothing");
        assert_eq!(pages(&after(&disk, CrashModel::DropAll)), [1; 4], "it was not durable in any case");
        lost += u32::from(kept != now);
        seen.insert(now);
    }
    for pages in [[1, 1, 1, 1], [2, 1, 1, 1], [2, 2, 2, 2], [1, 2, 1, 2]] {
        assert!(seen.contains(&pages[..]), "{pages:?}");
    }
    assert!(lost > 20, "{lost}");
}

#[test]
fn a_full_disk_refuses_a_write_or_takes_its_beginning() {
    let mut disk = Disk::new(1);
    disk.add_device(p("/d"), 3 * 4096);
    let file = open(&mut disk, "/d/f");
    write(&mut disk, file, 4096, &[1; 4096]);
    let mut outcomes = BTreeSet::new();
    for seed in 0..60 {
        let mut disk = disk.fork();
        disk.reseed(seed);
        let result = disk.write(file, 0, &[2; 4 * 4096], Durability::DataSync);
        let written = result.map_err(|error| error.raw_os_error());
        let bytes = file_bytes(&disk, "/d/f").expect("a file");
        outcomes.insert((written, bytes.iter().filter(|&&byte| byte == 2).count()));
        write(&mut disk, file, 4096, &[3; 4096]);
    }
    let refused = Err(Some(libc::ENOSPC));
    let expected = [(Ok(12_288), 12_288), (refused, 0), (refused, 12_288)];
    assert_eq!(outcomes.into_iter().collect::<Vec<_>>(), expected);
    disk.fill_up(p("/d"), 0);
    assert_eq!(code(disk.write(file, 8192, b"x", Durability::None)), libc::ENOSPC);
    write(&mut disk, file, 8191, b"x");
}

#[test]
fn a_dead_device_leaves_the_others_alone() {
    let mut disk = Disk::new(1);
    disk.add_device(p("/one"), 1 << 20);
    disk.add_device(p("/two"), 1 << 20);
    let (one, two) = (open(&mut disk, "/one/f"), open(&mut disk, "/two/f"));
    disk.fail_always(Which::of(Ops::Any).under("/one"), libc::EIO);
    assert_eq!(code(disk.write(one, 0, b"x", Durability::None)), libc::EIO);
    assert_eq!(code(disk.read(one, 0, &mut [0])), libc::EIO);
    assert_eq!(code(disk.open(p("/one/g"), WRITE)), libc::EIO);
    assert_eq!(code(disk.read_dir(p("/one"))), libc::EIO);
    assert_eq!(code(disk.rename(p("/two/f"), p("/one/f"))), libc::EIO);
    write(&mut disk, two, 0, b"x");
    disk.sync_dir(p("/two")).expect("a sync");
    assert_eq!(disk.faults_waiting(), 1);
    disk.heal();
    assert_eq!(names(&disk), ["/one/f", "/two/f"], "the failed open created nothing");
    disk.sync_dir(p("/one")).expect("a sync");
}

#[test]
fn a_flipped_bit_is_seen_and_stays() {
    let (mut disk, file) = disk_with(&[0; 10_000]);
    write(&mut disk, file, 4096, &[1; 4096]);
    disk.flip_bit(p("/f"), 5, 7).expect("a flip");
    disk.flip_bit(p("/f"), 4100, 0).expect("a flip");
    let flipped = |disk: &Disk| {
        let bytes = file_bytes(disk, "/f").expect("a file");
        (bytes[5], bytes[4100], bytes[4101], bytes[6])
    };
    assert_eq!(flipped(&disk), (0x80, 0, 1, 0));
    assert_eq!(
        flipped(&after(&disk, CrashModel::DropAll)),
        (0x80, 1, 0, 0),
        "the byte on the device, flipped"
    );
    disk.sync_data(file).expect("a sync");
    assert_eq!(flipped(&after(&disk, CrashModel::DropAll)), (0x80, 0, 1, 0));
    assert_eq!(code(disk.flip_bit(p("/f"), 10_000, 0)), libc::EINVAL);
    assert_eq!(code(disk.flip_bit(p("/g"), 0, 0)), libc::ENOENT);
}

#[test]
fn operations_are_counted_and_told() {
    let mut disk = Disk::new(1);
    disk.trace_last(3);
    let file = open(&mut disk, "/f");
    write_durably(&mut disk, file, 0, b"bytes");
    disk.fail_nth(1, of(Op::SyncAll), libc::EIO);
    assert_eq!(code(disk.sync_all(file)), libc::EIO);
    disk.rename(p("/f"), p("/g")).expect("a rename");
    assert_eq!((disk.operations(), disk.operations_of(Op::Write), disk.operations_of(Op::Read)), (4, 1, 0));
    let lines: Vec<&str> = disk.trace().collect();
    assert_eq!(lines.len(), 3);
    assert_eq!(lines[0], "2 Write /f 0+5 DataSync: 5");
    assert!(lines[1].starts_with("3 SyncAll /f: Input/output error"), "{}", lines[1]);
    assert_eq!(lines[2], "4 Rename /f to /g: ()");
    disk.crash(CrashModel::DropAll);
    assert_eq!(disk.operations(), 4, "a crash is none, and forgets none");
}

#[test]
fn a_name_given_again_after_its_removal_was_lost_is_lost_too() {
    let (mut disk, _) = disk_with(b"old");
    disk.remove_file(p("/f")).expect("a removal");
    disk.fail_nth(1, of(Op::SyncDir), libc::EIO);
    assert_eq!(code(disk.sync_dir(p("/"))), libc::EIO);
    let file = open(&mut disk, "/f");
    write_durably(&mut disk, file, 0, b"new");
    disk.sync_dir(p("/")).expect("as if nothing had been");
    assert_eq!(file_bytes(&disk, "/f").as_deref(), Some(&b"new"[..]));
    assert_eq!(file_bytes(&after(&disk, CrashModel::KeepAll), "/f").as_deref(), Some(&b"old"[..]));
}
