//! Starts from directories that crashes, lost files and damage have left behind.

use super::*;
use crate::ids::LeaderEpoch;
use crate::log::TransactionCheck;
use crate::log::damage::LaterBatch;
use crate::log::testing::disk::{Disk, NOW, WALL};
use crate::log::testing::{TestBatch, batch, control};
use crate::log::{NewBatch, ReadRequest};
use crate::protocol::records::{BatchIter, crc_is_valid};

fn config() -> LogConfig {
    LogConfig { segment_bytes: 2_000, index_interval_bytes: 150, ..LogConfig::default() }
}

/// A log of `count` batches of three records, producer 7 and rising timestamps, in segments of 20 batches.
fn written(count: i64) -> (Log, Disk) {
    let mut log = Log::new(config(), Offset(0), 1, NOW);
    let mut disk = Disk::new(&log);
    log.become_leader(LeaderEpoch(0));
    disk.epochs = Some(log.epochs().encode().into_bytes());
    write(&mut log, &mut disk, count);
    (log, disk)
}

fn write(log: &mut Log, disk: &mut Disk, count: i64) {
    for _ in 0..count {
        disk.append(log, next_batch(log));
    }
}

fn next_batch(log: &Log) -> TestBatch {
    let last = log.producers().get(crate::ids::ProducerId(7));
    let sequence = last.map_or(0, |entry| entry.last_sequence() + 1);
    batch(0, 3).bytes_total(100).timestamp(log.log_end_offset().0).producer(7, 0, sequence)
}

fn whole_batches(segment: &[u8]) -> usize {
    BatchIter::new(segment).map_while(Result::ok).take_while(|batch| crc_is_valid(batch.bytes)).count()
}

/// The newest sequence number of producer 7.
fn sequence(log: &Log) -> i32 {
    log.producers().get(crate::ids::ProducerId(7)).map_or(-1, |entry| entry.last_sequence())
}

#[test]
fn an_empty_directory_is_an_empty_log() {
    let mut disk = Disk { piece_bytes: 100, log_start_offset: Offset(17), ..Disk::default() };
    let loaded = disk.load(disk.input(&config(), false));
    assert_eq!(loaded.log.offsets().log_end, Offset(17));
    assert_eq!(loaded.log.active_segment().base_offset(), Offset(17));
}

/// The recovery point is where the segment was rolled next, and the crash came before the bytes behind it were cut.
#[test]
fn a_segment_that_was_rolled_at_the_recovery_point_is_cut() {
    let (mut log, mut disk) = written(20);
    disk.checkpoint(&mut log);
    write(&mut log, &mut disk, 1);
    assert_eq!(disk.segments.keys().copied().collect::<Vec<_>>(), [Offset(0), Offset(60)]);
    let rolled = disk.segments.get_mut(&Offset(0)).expect("it is there");
    let bytes = rolled.len();
    rolled.resize(bytes + 700, 0);
    let loaded = disk.load(disk.input(&config(), false));
    assert_eq!(loaded.log.offsets().log_end, Offset(63));
    assert_eq!(loaded.log.bytes(), bytes as u64 + 100);
    assert_eq!(loaded.cuts.len(), 1);
    assert_eq!((loaded.cuts[0].segment_base, loaded.cuts[0].bytes), (Offset(0), FilePosition(bytes as u64)));
    assert!(loaded.damage.is_empty());
}

#[test]
fn every_cut_of_the_last_segment_leaves_its_whole_batches() {
    let (_, disk) = written(15);
    let whole = disk.segments[&Offset(0)].clone();
    for cut in 0..=whole.len() {
        for zeros in [0, 700] {
            let mut disk = disk.clone();
            let segment = disk.segments.get_mut(&Offset(0)).expect("the only one");
            segment.truncate(cut);
            segment.resize(cut + zeros, 0);
            let expected = whole_batches(segment);
            let loaded = disk.load(disk.input(&config(), false));
            assert_eq!(loaded.damage, [], "cut at {cut}");
            assert_eq!(loaded.log.log_end_offset(), Offset(3 * i64::try_from(expected).expect("few")));
            assert_eq!(sequence(&loaded.log), 3 * i32::try_from(expected).expect("few") - 1);
            assert_eq!(disk.segments[&Offset(0)], whole[..expected * 100]);
        }
    }
}

#[test]
fn a_clean_stop_leaves_one_index_interval_to_read() {
    let (mut log, mut disk) = written(75);
    disk.checkpoint(&mut log);
    let loaded = disk.load(disk.input(&config(), true));
    assert!(loaded.scanned_bytes <= 300, "{} bytes", loaded.scanned_bytes);
    assert_eq!(loaded.log.offsets(), log.offsets());
    assert_eq!(loaded.log.recovery_point(), log.log_end_offset());
    assert_eq!(loaded.log.producers(), log.producers());
    assert_eq!((loaded.cuts, loaded.epochs_changed, loaded.damage), (vec![], false, vec![]));
    let largest = loaded.log.active_segment().largest_timestamp();
    assert_eq!(largest, log.active_segment().largest_timestamp());
}

#[test]
fn a_crash_leaves_what_is_behind_the_recovery_point_to_scan() {
    let (mut log, mut disk) = written(12);
    disk.checkpoint(&mut log);
    write(&mut log, &mut disk, 4);
    let loaded = disk.load(disk.input(&config(), false));
    assert_eq!(loaded.log.log_end_offset(), log.log_end_offset());
    assert!(loaded.scanned_bytes <= 4 * 100 + 300, "{} bytes", loaded.scanned_bytes);
    assert_eq!(loaded.log.producers(), log.producers());
    assert_eq!(disk.indexes_of(Offset(0)).offsets, {
        let mut offsets = log.active_segment().indexes().offsets.clone();
        offsets.set_bytes_max(1 << 30);
        offsets
    });
}

#[test]
fn unusable_indexes_are_built_anew() {
    let (mut log, mut disk) = written(15);
    disk.checkpoint(&mut log);
    let good = disk.indexes[&Offset(0)].clone();
    let spoil: [fn(&mut crate::log::testing::disk::IndexFile); 5] = [
        |file| file.offsets.clear(),
        |file| file.offsets[9] ^= 0x7f,
        |file| file.times.truncate(17),
        // Plausible, but no batch begins there.
        |file| {
            let at = file.offsets.len() - 1;
            file.offsets[at] += 1;
        },
        // A batch begins there, but another.
        |file| {
            let at = file.offsets.len() - 5;
            file.offsets[at] += 1;
        },
    ];
    for spoil in spoil {
        for clean in [true, false] {
            let mut disk = disk.clone();
            spoil(disk.indexes.get_mut(&Offset(0)).expect("the only one"));
            let loaded = disk.load(disk.input(&config(), clean));
            assert_eq!(loaded.log.offsets(), log.offsets());
            assert_eq!(loaded.log.producers(), log.producers());
            assert_eq!(disk.indexes[&Offset(0)], good);
            assert_eq!(loaded.damage, []);
        }
    }
    // Without snapshots nothing but the misleading entry itself gives it away.
    let mut without = disk.clone();
    without.snapshots.clear();
    spoil[3](without.indexes.get_mut(&Offset(0)).expect("the only one"));
    let loaded = without.load(without.input(&config(), true));
    assert_eq!((loaded.log.offsets(), loaded.damage), (log.offsets(), vec![]));
    disk.indexes.clear();
    disk.load(disk.input(&config(), true));
    assert_eq!(disk.indexes[&Offset(0)], good);
}

#[test]
fn the_next_older_snapshot_takes_the_place_of_a_bad_one() {
    let (mut log, mut disk) = written(50);
    disk.checkpoint(&mut log);
    let newest = *disk.snapshots.keys().next_back().expect("there are some");
    for clean in [true, false] {
        let mut disk = disk.clone();
        disk.snapshots.get_mut(&newest).expect("the newest")[12] ^= 1;
        let loaded = disk.load(disk.input(&config(), clean));
        assert_eq!(loaded.log.producers(), log.producers());
        assert!(loaded.remove_snapshots.contains(&newest));
        assert!(loaded.scanned_bytes <= 2_000, "from the newest segment's base on");
        let mut disk = disk.clone();
        disk.snapshots.values_mut().for_each(|snapshot| snapshot[12] ^= 1);
        let loaded = disk.load(disk.input(&config(), clean));
        assert_eq!(loaded.log.producers(), log.producers());
        assert_eq!(loaded.scanned_bytes, log.bytes(), "everything");
    }
}

#[test]
fn a_clean_directory_without_snapshots_never_had_producers() {
    let (mut log, mut disk) = written(50);
    disk.checkpoint(&mut log);
    disk.snapshots.clear();
    let loaded = disk.load(disk.input(&config(), true));
    assert!(loaded.scanned_bytes <= 300);
    assert_eq!((loaded.log.producers().len(), loaded.log.offsets()), (0, log.offsets()));
}

#[test]
fn a_lost_epoch_checkpoint_is_rebuilt_from_the_batches() {
    let (mut log, mut disk) = written(10);
    for epoch in [2, 5] {
        log.become_leader(LeaderEpoch(epoch));
        write(&mut log, &mut disk, 20);
    }
    disk.checkpoint(&mut log);
    for lost in [None, Some(b"1\nrubbish".to_vec())] {
        let mut disk = disk.clone();
        disk.epochs = lost;
        let loaded = disk.load(disk.input(&config(), true));
        assert_eq!(loaded.log.epochs(), log.epochs());
        assert!(loaded.epochs_changed);
    }
}

#[test]
fn epochs_beyond_the_end_go() {
    let (mut log, mut disk) = written(10);
    disk.checkpoint(&mut log);
    log.become_leader(LeaderEpoch(4));
    disk.epochs = Some(log.epochs().encode().into_bytes());
    let loaded = disk.load(disk.input(&config(), true));
    assert!(loaded.epochs_changed);
    assert_eq!(loaded.log.epochs().latest_epoch(), LeaderEpoch(0));
}

/// A log with an aborted and an open transaction, and a snapshot between them.
fn with_transactions() -> (Log, Disk) {
    let (mut log, mut disk) = written(3);
    let verified = TransactionCheck { verified: true, ..TransactionCheck::default() };
    let data = |log: &mut Log, disk: &mut Disk, producer, sequence| {
        let data = batch(0, 2).producer(producer, 0, sequence).transactional();
        let new = NewBatch { transaction: verified, ..NewBatch::of_client(data.header()) };
        disk.append_as(log, data, new);
    };
    let end = |log: &mut Log, disk: &mut Disk, producer, committed| {
        let marker = control(0, producer, 0).marker(committed, 0);
        let new = NewBatch { marker: marker.end_marker(), ..NewBatch::of_coordinator(marker.header()) };
        disk.append_as(log, marker, new).aborted
    };
    data(&mut log, &mut disk, 8, 0);
    data(&mut log, &mut disk, 9, 0);
    assert!(end(&mut log, &mut disk, 8, false));
    disk.checkpoint(&mut log);
    write(&mut log, &mut disk, 2);
    assert!(end(&mut log, &mut disk, 9, false));
    data(&mut log, &mut disk, 8, 2);
    assert!(!end(&mut log, &mut disk, 8, true));
    data(&mut log, &mut disk, 9, 2);
    write(&mut log, &mut disk, 2);
    log.mark_durable(log.log_end_offset());
    (log, disk)
}

#[test]
fn transactions_survive_a_crash_and_a_lost_index() {
    let (log, disk) = with_transactions();
    let aborted = &log.active_segment().indexes().aborted;
    assert_eq!(aborted.len(), 2);
    let spoil: [fn(&mut Disk); 5] = [
        |_| {},
        |disk| {
            disk.indexes.clear();
            disk.snapshots.clear();
        },
        |disk| disk.indexes.get_mut(&Offset(0)).expect("the only one").aborted.truncate(33),
        |disk| disk.indexes.get_mut(&Offset(0)).expect("the only one").offsets.clear(),
        |disk| disk.epochs = None,
    ];
    for spoil in spoil {
        let mut disk = disk.clone();
        spoil(&mut disk);
        let loaded = disk.load(disk.input(&config(), false));
        assert_eq!(&loaded.log.active_segment().indexes().aborted, aborted);
        assert_eq!(disk.indexes_of(Offset(0)).aborted.encode_from(0), aborted.encode_from(0));
        assert_eq!(loaded.log.last_stable_offset(), log.last_stable_offset());
        assert_eq!(loaded.log.producers(), log.producers());
    }
}

/// A segment that is read whole keeps the transactions that only its file knows, and has nothing of them to write
/// again.
#[test]
fn transactions_of_before_the_snapshot_stay_in_their_file() {
    let (log, mut disk) = with_transactions();
    let files = disk.indexes.get_mut(&Offset(0)).expect("the only one");
    files.offsets.clear();
    files.times.clear();
    let loaded = disk.load(disk.input(&config(), false));
    let aborted = &loaded.log.active_segment().indexes().aborted;
    assert_eq!(aborted, &log.active_segment().indexes().aborted);
    assert_eq!(loaded.index_entries_kept, EntryCounts { offsets: 0, times: 0, aborted: 1 });
}

#[test]
fn ends_above_the_high_watermark_of_a_replicated_log_stay_unstable() {
    let (log, mut disk) = with_transactions();
    // Producer 9 has 11 to 20 and 24 on, producer 8 has 21 to 23; before, all is old.
    for (high_watermark, stable) in [(11, 11), (20, 11), (21, 21), (23, 21), (24, 24), (30, 24)] {
        let mut input = disk.input(&config(), false);
        input.high_watermark = Some(Offset(high_watermark));
        let loaded = disk.load(input);
        assert_eq!(loaded.log.high_watermark(), Offset(high_watermark));
        assert_eq!(loaded.log.last_stable_offset(), Offset(stable), "{high_watermark}");
        assert_eq!(loaded.log.log_end_offset(), log.log_end_offset());
    }
}

#[test]
fn a_closed_segment_that_was_not_trimmed_is() {
    let (log, mut disk) = written(50);
    disk.segments.get_mut(&Offset(0)).expect("the first").extend([0; 5_000]);
    disk.segments.get_mut(&Offset(60)).expect("the second").extend([0xab; 70]);
    let loaded = disk.load(disk.input(&config(), false));
    assert_eq!(loaded.log.offsets().log_end, log.offsets().log_end);
    let cuts: Vec<_> = loaded.cuts.iter().map(|cut| (cut.segment_base.0, cut.bytes.0)).collect();
    assert_eq!((cuts, loaded.damage), (vec![(0, 2_000), (60, 2_000)], vec![]));
    assert_eq!(loaded.log.bytes(), log.bytes());
}

#[test]
fn the_log_goes_on_behind_a_damaged_batch() {
    let (mut log, disk) = written(15);
    for (recovery_point, at) in [(0, 780), (21, 780), (24, 780), (45, 700), (45, 708), (45, 770)] {
        let mut disk = disk.clone();
        log.mark_durable(log.log_end_offset());
        disk.write_active_indexes(&log);
        disk.recovery_point = Offset(recovery_point);
        let whole = disk.segments[&Offset(0)].clone();
        disk.segments.get_mut(&Offset(0)).expect("the only one")[at] ^= 1;
        let loaded = disk.load(disk.input(&config(), false));
        assert_eq!(loaded.log.log_end_offset(), Offset(45), "{at}");
        let [damage] = &loaded.damage[..] else { panic!("{:?}", loaded.damage) };
        assert_eq!(
            (damage.segment_base, damage.from, damage.next_offset),
            (Offset(0), FilePosition(700), Offset(21))
        );
        let later = LaterBatch { position: FilePosition(800), base_offset: Offset(24) };
        assert_eq!((damage.resumes, damage.resumes_at), (Some(later), Some(Offset(24))));
        assert!(damage.certain && damage.dropped_segments.is_empty());
        assert_eq!(disk.segments[&Offset(0)], whole[..700], "what is damaged is never served");
        assert_eq!(disk.segments[&Offset(24)], whole[800..]);
        assert_eq!(sequence(&loaded.log), 44);
        let all = ReadRequest { from: Offset(22), up_to: Offset(45), max_bytes: 1 << 20, at_least_one: true };
        assert_eq!(disk.read(&loaded.log, all).first(), Some(&(Offset(24), Offset(26))), "behind the hole");

        let again = disk.load(disk.input(&config(), false));
        assert_eq!((again.log.log_end_offset(), again.damage, again.cuts), (Offset(45), vec![], vec![]));
    }
}

#[test]
fn a_crash_between_the_split_and_the_cut_changes_nothing() {
    let (_, mut disk) = written(15);
    let rest = disk.segments[&Offset(0)][800..].to_vec();
    disk.segments.get_mut(&Offset(0)).expect("the only one")[780] ^= 1;
    disk.segments.insert(Offset(24), rest.clone());
    let loaded = disk.load(disk.input(&config(), false));
    assert_eq!(loaded.log.log_end_offset(), Offset(45));
    assert_eq!((disk.segments[&Offset(0)].len(), &disk.segments[&Offset(24)]), (700, &rest));
    assert_eq!(loaded.damage[0].resumes_at, Some(Offset(24)));
}

#[test]
fn the_half_of_a_write_ends_the_log_whatever_stands_behind_it() {
    let mut log = Log::new(LogConfig { segment_bytes: 100_000, ..config() }, Offset(0), 1, NOW);
    let mut disk = Disk::new(&log);
    for _ in 0..4 {
        disk.append(&mut log, batch(0, 1).bytes_total(2_000));
    }
    // Batches begin at 2,000, 4,000 and 6,000; a sector that was not written holds zeros.
    for (sector, valid) in [(3, 1), (7, 2)] {
        for (recovery_point, end) in [(0, valid), (valid, valid), (valid + 1, 4)] {
            let mut disk = disk.clone();
            disk.segments.get_mut(&Offset(0)).expect("the only one")[sector * 512..(sector + 1) * 512]
                .fill(0);
            disk.recovery_point = Offset(recovery_point);
            let loaded = disk.load(disk.input(&config(), false));
            assert_eq!(loaded.log.log_end_offset(), Offset(end), "{sector} {recovery_point}");
        }
    }
}

#[test]
fn damage_before_later_segments_leaves_a_hole() {
    let (_, mut disk) = written(50);
    disk.segments.get_mut(&Offset(60)).expect("the second").truncate(1_050);
    let loaded = disk.load(disk.input(&config(), false));
    assert_eq!(loaded.log.log_end_offset(), Offset(150));
    assert!(loaded.remove_segments.is_empty());
    let [damage] = &loaded.damage[..] else { panic!("{:?}", loaded.damage) };
    assert_eq!((damage.next_offset, damage.resumes_at), (Offset(90), Some(Offset(120))));
    assert_eq!((damage.end, damage.resumes, damage.certain), (PrefixEnd::Torn, None, true));
    assert_eq!(loaded.log.active_segment().base_offset(), Offset(120));
    assert_eq!(disk.segments[&Offset(60)].len(), 1_000);
    let next = ReadRequest { from: Offset(100), up_to: Offset(150), max_bytes: 1, at_least_one: true };
    assert_eq!(disk.read(&loaded.log, next), [(Offset(120), Offset(122))]);
}

#[test]
fn a_later_segment_without_a_batch_is_dropped() {
    let (_, mut disk) = written(15);
    disk.segments.get_mut(&Offset(0)).expect("the first").truncate(1_050);
    disk.segments.insert(Offset(45), Vec::new());
    let loaded = disk.load(disk.input(&config(), false));
    assert_eq!((loaded.log.log_end_offset(), loaded.remove_segments), (Offset(30), vec![Offset(45)]));
}

#[test]
fn a_log_that_ends_before_its_recovery_point_was_damaged() {
    let (mut log, mut disk) = written(15);
    disk.checkpoint(&mut log);
    disk.segments.get_mut(&Offset(0)).expect("the only one").truncate(1_200);
    for clean in [true, false] {
        let mut disk = disk.clone();
        let loaded = disk.load(disk.input(&config(), clean));
        assert_eq!(loaded.log.log_end_offset(), Offset(36));
        let [damage] = &loaded.damage[..] else { panic!("{:?}", loaded.damage) };
        assert!(damage.certain);
        assert_eq!((damage.next_offset, damage.end), (Offset(36), PrefixEnd::Whole));
        assert_eq!(sequence(&loaded.log), 35, "the snapshot is ahead and was not taken");
        assert!(loaded.remove_snapshots.contains(&Offset(45)));
    }
}

#[test]
fn a_log_start_behind_the_end_starts_anew() {
    let (_, mut disk) = written(15);
    disk.log_start_offset = Offset(99);
    let loaded = disk.load(disk.input(&config(), false));
    assert_eq!(loaded.log.offsets().log_start, Offset(99));
    assert_eq!(loaded.log.offsets().log_end, Offset(99));
    assert_eq!(loaded.remove_segments, [Offset(0)]);
    assert_eq!(loaded.damage.len(), 1);
}

#[test]
fn stale_batches_behind_zeros_are_seen_near_by_and_always_cut_off() {
    let (_, disk) = written(15);
    for (zeros, seen) in [(700, true), (70_000, false)] {
        let mut disk = disk.clone();
        let segment = disk.segments.get_mut(&Offset(0)).expect("the only one");
        let stale = segment[1_400..].to_vec();
        segment.truncate(1_400);
        segment.resize(1_400 + zeros, 0);
        segment.extend(stale);
        let loaded = disk.load(disk.input(&config(), false));
        assert_eq!(loaded.log.log_end_offset(), Offset(42));
        assert_eq!(loaded.damage.len(), usize::from(seen));
        assert_eq!(loaded.cuts[0].bytes, FilePosition(1_400));
        assert_eq!(disk.segments[&Offset(0)].len(), 1_400);
    }
}

#[test]
fn a_truncation_keeps_what_is_before_it() {
    let (log, disk) = written(50);
    for to in 0..=150 {
        let (mut log, mut disk) = (log.clone(), disk.clone());
        disk.write_active_indexes(&log);
        let Truncation::Load(input) = log.truncation(Offset(to)) else {
            assert!(to >= 150, "{to}");
            continue;
        };
        let loaded = disk.load(*input);
        assert_eq!(loaded.log.log_end_offset(), Offset(to / 3 * 3), "{to}");
        assert_eq!(sequence(&loaded.log), i32::try_from(to / 3 * 3 - 1).expect("small"));
        assert!(loaded.log.epochs().entries().len() <= 1);
        assert_eq!(loaded.damage, []);
        assert_eq!(loaded.log.active_segment().largest_timestamp().timestamp.0, {
            let in_segment = to / 3 * 3 - loaded.log.active_segment().base_offset().0;
            if in_segment == 0 { -1 } else { to / 3 * 3 - 3 }
        });
    }
}

#[test]
fn a_truncation_before_the_first_segment_starts_anew() {
    let mut log = Log::new(config(), Offset(40), 1, NOW);
    let mut disk = Disk::new(&log);
    write(&mut log, &mut disk, 3);
    assert!(matches!(log.truncation(Offset(39)), Truncation::Anew));
    let retired = log.start_anew(Offset(39), NOW);
    assert_eq!(retired.segments.len(), 1);
    assert_eq!(log.offsets().log_end, Offset(39));
    assert_eq!(log.offsets().log_start, Offset(39));
}

#[test]
fn an_election_without_records_is_forgotten_by_a_truncation_at_the_end() {
    let (mut log, _) = written(5);
    log.become_leader(LeaderEpoch(9));
    let truncation = log.truncation(log.log_end_offset());
    assert!(matches!(truncation, Truncation::Nothing { epochs_changed: true }));
    assert_eq!(log.epochs().latest_epoch(), LeaderEpoch(0));
}

#[test]
fn spurious_calls_do_nothing() {
    let (_, disk) = written(5);
    let mut loader = LogLoader::new(disk.input(&config(), false), NOW);
    let step = loader.step();
    loader.snapshot(None);
    loader.indexes(IndexFiles::default());
    assert_eq!(loader.take_rebuilt(), None);
    assert_eq!(loader.step(), step);
    assert_eq!(WALL, disk.input(&config(), false).segments[0].modified);
}
