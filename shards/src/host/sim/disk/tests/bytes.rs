//! Which bytes are durable, and what each crash model leaves of those that are not.

use super::*;
use crate::host::sim::disk::piece::PAGE_BYTES;

#[test]
fn a_write_is_seen_at_once_and_durable_after_a_sync() {
    let (mut disk, file) = disk_with(b"old");
    write(&mut disk, file, 0, b"newer");
    assert_eq!(file_bytes(&disk, "/f").as_deref(), Some(&b"newer"[..]));
    assert_eq!(file_bytes(&after(&disk, CrashModel::DropAll), "/f").as_deref(), Some(&b"old"[..]));
    assert_eq!(file_bytes(&after(&disk, CrashModel::KeepAll), "/f").as_deref(), Some(&b"newer"[..]));
    disk.sync_data(file).expect("a sync");
    for model in CrashModel::ALL {
        assert_eq!(file_bytes(&after(&disk, model), "/f").as_deref(), Some(&b"newer"[..]), "{model:?}");
    }
}

#[test]
fn a_durable_write_takes_no_other_write_with_it() {
    let (mut disk, file) = disk_with(&[1; 3 * PAGE_BYTES]);
    write(&mut disk, file, 0, &[2; 10]);
    write(&mut disk, file, 4 * 4096, &[3; 10]);
    write_durably(&mut disk, file, 4096, &[4; PAGE_BYTES]);
    let left = file_bytes(&after(&disk, CrashModel::DropAll), "/f").expect("a file");
    assert_eq!(left.len(), 3 * PAGE_BYTES, "the length covers the durable write, not the pending one");
    assert!(left[..PAGE_BYTES].iter().all(|&byte| byte == 1));
    assert!(left[PAGE_BYTES..2 * PAGE_BYTES].iter().all(|&byte| byte == 4));
}

#[test]
fn a_durable_write_behind_the_end_brings_its_length() {
    let (mut disk, file) = disk_with(b"");
    disk.allocate(file, 0, 1 << 30).expect("room");
    write(&mut disk, file, 0, &[1; 4096]);
    write_durably(&mut disk, file, 8192, &[2; 4096]);
    let left = after(&disk, CrashModel::DropAll);
    assert_eq!(left.files()[0].bytes, 1 << 30, "an allocation is metadata, which a durable write commits");
    assert_eq!(left.peek_at(p("/f"), 4095, 2).expect("bytes"), [0, 0], "the pending write is lost");
    assert_eq!(left.peek_at(p("/f"), 8192, 1).expect("bytes"), [2]);
}

#[test]
fn a_durable_write_is_not_undone_by_an_older_pending_one() {
    let (mut disk, file) = disk_with(&[0; 8192]);
    write(&mut disk, file, 0, &[1; 8192]);
    write_durably(&mut disk, file, 4096, &[2; 100]);
    for model in CrashModel::ALL {
        for left in outcomes(&disk, model, |disk| file_bytes(disk, "/f").expect("a file")) {
            assert!(left[4096..4196].iter().all(|&byte| byte == 2), "{model:?}");
        }
    }
}

#[test]
fn what_was_cut_off_before_a_durable_write_stays_cut_off() {
    let (mut disk, file) = disk_with(&[1; 8192]);
    write(&mut disk, file, 0, &[2; 8192]);
    disk.set_len(file, 0).expect("a cut");
    write_durably(&mut disk, file, 4096, &[3; 10]);
    for model in CrashModel::ALL {
        for left in outcomes(&disk, model, |disk| file_bytes(disk, "/f").expect("a file")) {
            assert_eq!(left.len(), 4106, "{model:?}");
            assert!(left[..4096].iter().all(|&byte| byte == 0), "{model:?}");
        }
    }
}

#[test]
fn a_cut_is_pending_like_a_write() {
    let (mut disk, file) = disk_with(&[1; 5000]);
    disk.set_len(file, 100).expect("a cut");
    disk.set_len(file, 300).expect("a hole");
    assert_eq!(file_bytes(&after(&disk, CrashModel::DropAll), "/f"), Some(vec![1; 5000]));
    let lengths = outcomes(&disk, CrashModel::Reordered, |disk| disk.files()[0].bytes);
    assert_eq!(lengths, [100, 300, 5000]);
    disk.sync_all(file).expect("a sync");
    let left = file_bytes(&after(&disk, CrashModel::DropAll), "/f").expect("a file");
    assert_eq!((left.len(), left.iter().filter(|&&byte| byte == 1).count()), (300, 100));
}

/// Which of the units of a file full of 1 that is being overwritten with 2 are new.
fn torn(model: CrashModel) -> Vec<Vec<usize>> {
    let (mut disk, file) = disk_with(&[1; 8192]);
    write(&mut disk, file, 0, &[2; 8192]);
    outcomes(&disk, model, |disk| {
        let left = file_bytes(disk, "/f").expect("a file");
        left.chunks(512).map(|unit| unit.iter().filter(|&&byte| byte == 2).count()).collect()
    })
}

#[test]
fn a_torn_write_is_old_or_new_in_each_of_its_units() {
    let outcomes = torn(CrashModel::Torn512);
    assert!(outcomes.len() > 30, "seeds differ");
    assert!(outcomes.iter().flatten().all(|&new| new == 0 || new == 512));
    assert!(outcomes.iter().any(|units| units[0] != units[1]), "within one page");
    let outcomes = torn(CrashModel::Torn4096);
    assert_eq!(outcomes.len(), 4, "two pages, each old or new");
    assert!(outcomes.iter().all(|units| units[..8].iter().all(|&new| new == units[0])));
}

#[test]
fn a_torn_extension_has_any_length_and_zeros_where_nothing_was_written() {
    let (mut disk, file) = disk_with(&[1; 600]);
    write(&mut disk, file, 600, &[2; 3000]);
    let outcomes = outcomes(&disk, CrashModel::Torn512, |disk| file_bytes(disk, "/f").expect("a file"));
    let lengths: std::collections::BTreeSet<_> = outcomes.iter().map(Vec::len).collect();
    assert!(lengths.contains(&600) && lengths.contains(&3600), "{lengths:?}");
    assert!(lengths.iter().any(|&bytes| bytes > 600 && bytes < 3600), "{lengths:?}");
    let holes = outcomes.iter().filter(|left| left[600.min(left.len())..].contains(&0)).count();
    assert!(holes > 5, "the length came and the bytes did not");
    assert!(outcomes.iter().all(|left| left[..600] == [1; 600]));
}

#[test]
fn a_unit_that_was_written_twice_may_have_any_of_its_versions() {
    let (mut disk, file) = disk_with(&[1; 512]);
    write(&mut disk, file, 0, &[2; 512]);
    write(&mut disk, file, 100, &[3; 100]);
    let outcomes = outcomes(&disk, CrashModel::Torn512, |disk| {
        let left = file_bytes(disk, "/f").expect("a file");
        (left[0], left[150])
    });
    assert_eq!(outcomes, [(1, 1), (2, 2), (2, 3)], "the second is never there without the first");
}

#[test]
fn reordered_writes_are_whole_or_not_there_in_any_combination() {
    let (mut disk, file) = disk_with(&[1; 2 * PAGE_BYTES]);
    write(&mut disk, file, 0, &[2; PAGE_BYTES]);
    write(&mut disk, file, 4096, &[3; PAGE_BYTES]);
    let outcomes = outcomes(&disk, CrashModel::Reordered, |disk| {
        let left = file_bytes(disk, "/f").expect("a file");
        assert!(left[..PAGE_BYTES].iter().all(|&byte| byte == left[0]));
        assert!(left[PAGE_BYTES..].iter().all(|&byte| byte == left[PAGE_BYTES]));
        (left[0], left[PAGE_BYTES])
    });
    assert_eq!(outcomes, [(1, 1), (1, 3), (2, 1), (2, 3)]);
}

#[test]
fn a_sync_orders_what_comes_before_it() {
    let (mut disk, file) = disk_with(&[1; 2 * PAGE_BYTES]);
    write(&mut disk, file, 0, &[2; PAGE_BYTES]);
    disk.sync_data(file).expect("a sync");
    write(&mut disk, file, 4096, &[3; PAGE_BYTES]);
    let look = |disk: &Disk| file_bytes(disk, "/f").expect("a file")[0];
    assert_eq!(outcomes(&disk, CrashModel::Reordered, look), [2]);
}

#[test]
fn zeroing_a_gigabyte_is_cheap_and_tears_where_there_was_something() {
    let (mut disk, file) = disk_with(&[1; 4096]);
    let zeros = vec![0; 1 << 20];
    for megabyte in 0..1024 {
        write(&mut disk, file, megabyte << 20, &zeros);
    }
    write(&mut disk, file, 5 << 20, &[7; 4096]);
    let look = |disk: &Disk| {
        let first = disk.peek_at(p("/f"), 0, 1).expect("a file");
        let later = disk.peek_at(p("/f"), 5 << 20, 1).expect("a file");
        (first[0], later.first().copied())
    };
    let outcomes = outcomes(&disk, CrashModel::Torn4096, look);
    for left in [(0, Some(7)), (1, Some(0)), (0, None)] {
        assert!(outcomes.contains(&left), "{left:?} of {outcomes:?}");
    }
    disk.sync_data(file).expect("a sync");
    assert_eq!(look(&after(&disk, CrashModel::DropAll)), (0, Some(7)));
}

#[test]
fn a_crash_is_final_and_depends_on_the_seed_alone() {
    let (mut disk, file) = disk_with(&[1; 8192]);
    write(&mut disk, file, 0, &[2; 8192]);
    let (mut one, two) = (after(&disk, CrashModel::Torn512), after(&disk, CrashModel::Torn512));
    assert_eq!(one.files(), two.files());
    assert_eq!(file_bytes(&one, "/f"), file_bytes(&two, "/f"));
    let left = file_bytes(&one, "/f");
    one.crash(CrashModel::Torn512);
    assert_eq!(file_bytes(&one, "/f"), left, "nothing was pending any more");
    assert_eq!(one.open_files(), 0);
    assert_eq!(code(one.len(file)), libc::EBADF);
    assert_ne!(open(&mut one, "/f"), file, "an identity is never given twice");
}

#[test]
fn a_kill_keeps_every_write_and_no_open_file() {
    let (mut disk, file) = disk_with(b"old");
    assert!(disk.try_lock(file).expect("an answer"));
    write(&mut disk, file, 0, b"new");
    disk.kill();
    assert_eq!(disk.open_files(), 0);
    assert_eq!(file_bytes(&disk, "/f").as_deref(), Some(&b"new"[..]));
    let file = open(&mut disk, "/f");
    assert!(disk.try_lock(file).expect("an answer"));
    assert_eq!(file_bytes(&after(&disk, CrashModel::DropAll), "/f").as_deref(), Some(&b"old"[..]));
}

#[test]
fn copies_do_not_see_each_other() {
    let (mut disk, file) = disk_with(b"old");
    let mut fork = disk.fork();
    write(&mut disk, file, 0, b"one");
    write_durably(&mut fork, file, 0, b"two");
    fork.remove_file(p("/f")).expect("a removal");
    assert_eq!(file_bytes(&disk, "/f").as_deref(), Some(&b"one"[..]));
    assert_eq!(file_bytes(&after(&disk, CrashModel::DropAll), "/f").as_deref(), Some(&b"old"[..]));
    assert_eq!(file_bytes(&after(&fork, CrashModel::DropAll), "/f").as_deref(), Some(&b"two"[..]));
}

#[test]
fn a_unit_written_after_a_cut_has_nothing_from_before_it() {
    let (mut disk, file) = disk_with(&[1; 512]);
    write(&mut disk, file, 0, &[2; 512]);
    disk.set_len(file, 0).expect("a cut");
    write(&mut disk, file, 0, &[3; 50]);
    disk.set_len(file, 512).expect("a hole");
    let mut ends = outcomes(&disk, CrashModel::Torn512, |disk| {
        let left = file_bytes(disk, "/f").expect("a file");
        (left.first().copied(), left.get(60).copied())
    });
    ends.retain(|(first, _)| *first == Some(3));
    assert!(ends.contains(&(Some(3), Some(0))), "{ends:?}");
    assert!(ends.iter().all(|(_, behind)| matches!(behind, None | Some(0))), "{ends:?}");
}

#[test]
fn what_lies_behind_a_torn_length_is_gone() {
    let (mut disk, file) = disk_with(&[1; 100]);
    write(&mut disk, file, 100, &[2; 3 * PAGE_BYTES]);
    for seed in SEEDS {
        let mut left = disk.fork();
        left.reseed(seed);
        left.crash(CrashModel::Torn512);
        let bytes = left.files()[0].bytes;
        let file = open(&mut left, "/f");
        left.set_len(file, 5 * 4096).expect("a hole");
        let behind = left.peek_at(p("/f"), bytes, 5 * PAGE_BYTES).expect("bytes");
        assert!(behind.iter().all(|&byte| byte == 0), "behind {bytes}");
        assert!(left.tree.devices[0].used <= bytes.div_ceil(4096));
    }
}
