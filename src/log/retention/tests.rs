//! What retention keeps: by age, by bytes, by the log start offset, and never above the high watermark.

use super::*;
use crate::ids::LeaderEpoch;
use crate::log::testing::batch;
use crate::log::testing::disk::{Disk, NOW, WALL};
use crate::log::{LogConfig, TimestampOffset};

fn config() -> LogConfig {
    LogConfig { segment_bytes: 400, index_interval_bytes: 100, ..LogConfig::default() }
}

/// Four segments of four batches of 100 bytes and one record each; segment n has timestamps around 1000 n.
fn written() -> (Log, Disk) {
    let mut log = Log::new(config(), Offset(0), 1, NOW);
    let mut disk = Disk::new(&log);
    log.become_leader(LeaderEpoch(0));
    for at in 0..16 {
        let timestamp = at / 4 * 1_000 + 3 - at % 4;
        disk.append(&mut log, batch(0, 1).bytes_total(100).timestamp(timestamp));
    }
    log.mark_durable(Offset(16));
    (log, disk)
}

fn enforce(log: &mut Log, disk: &mut Disk, now_wall: i64) -> Retired {
    let Retention::Done(retired) = log.enforce_retention(NOW, TimestampMs(now_wall)) else {
        panic!("every timestamp is known");
    };
    disk.retire(log, &retired);
    retired
}

fn kept(log: &Log) -> (i64, usize) {
    (log.log_start_offset().0, log.closed_segments().count() + 1)
}

#[test]
fn by_age_of_the_latest_record() {
    let (mut log, mut disk) = written();
    log.set_config(LogConfig { retention_ms: Some(1_000), ..config() });
    assert!(enforce(&mut log, &mut disk, 1_003).is_empty());
    assert_eq!(enforce(&mut log, &mut disk, 1_004).segments.len(), 1);
    assert_eq!(kept(&log), (4, 3));
    assert_eq!(enforce(&mut log, &mut disk, 3_003).segments.len(), 1);
    assert_eq!((kept(&log), log.epochs().entries()[0].start_offset), ((8, 2), Offset(8)));
    assert_eq!(disk.snapshots.keys().copied().collect::<Vec<_>>(), [Offset(8), Offset(12)]);
}

#[test]
fn the_active_segment_goes_last_and_leaves_an_empty_one() {
    let (mut log, mut disk) = written();
    log.set_config(LogConfig { retention_ms: Some(10), ..config() });
    let retired = enforce(&mut log, &mut disk, 1_000_000);
    assert_eq!(retired.segments.len(), 4);
    assert_eq!(retired.roll.expect("the active one went").new_base, Offset(16));
    assert_eq!((kept(&log), log.bytes()), ((16, 1), 0));
    assert!(enforce(&mut log, &mut disk, 2_000_000).is_empty(), "an empty log stays as it is");
    disk.append(&mut log, batch(0, 1).timestamp(5));
    assert_eq!(kept(&log), (16, 1));
}

#[test]
fn by_bytes() {
    let (mut log, mut disk) = written();
    let limited = |bytes| LogConfig { retention_ms: None, retention_bytes: Some(bytes), ..config() };
    log.set_config(limited(1_201));
    assert!(enforce(&mut log, &mut disk, 0).is_empty(), "a segment goes when the others are enough");
    log.set_config(limited(1_200));
    assert_eq!(enforce(&mut log, &mut disk, 0).segments.len(), 1);
    log.set_config(limited(1));
    assert_eq!(enforce(&mut log, &mut disk, 0).segments.len(), 2);
    assert_eq!(kept(&log), (12, 1));
}

#[test]
fn never_at_or_above_the_high_watermark() {
    let (mut log, mut disk) = written();
    let mut replicated = Log::new(config(), Offset(0), 1, NOW);
    replicated.set_replicated(true);
    std::mem::swap(&mut log, &mut replicated);
    let mut files = Disk::new(&log);
    for at in 0..16 {
        files.append(&mut log, batch(0, 1).bytes_total(100).timestamp(at));
    }
    log.set_config(LogConfig { retention_ms: Some(10), ..config() });
    log.advance_high_watermark(Offset(7));
    assert_eq!(enforce(&mut log, &mut files, 1_000_000).segments.len(), 1);
    log.advance_high_watermark(Offset(15));
    assert_eq!(enforce(&mut log, &mut files, 1_000_000).segments.len(), 2, "up to the active one");
    log.advance_high_watermark(Offset(16));
    assert_eq!(enforce(&mut log, &mut files, 1_000_000).segments.len(), 1);
    assert!(enforce(&mut replicated, &mut disk, 0).is_empty());
}

#[test]
fn before_the_log_start_whatever_the_policy() {
    let (mut log, mut disk) = written();
    log.set_config(LogConfig { delete: false, compact: true, retention_ms: Some(0), ..config() });
    assert!(enforce(&mut log, &mut disk, 1_000_000).is_empty(), "compaction alone deletes no segment");
    log.delete_records_to(Offset(7)).expect("below the high watermark");
    assert_eq!(enforce(&mut log, &mut disk, 0).segments.len(), 1);
    assert_eq!(kept(&log), (7, 3));
    log.delete_records_to(Offset::NONE).expect("the high watermark");
    assert_eq!(enforce(&mut log, &mut disk, 0).segments.len(), 2);
    assert_eq!(kept(&log), (16, 1));
    assert_eq!(log.active_segment().base_offset(), Offset(12));
}

#[test]
fn delete_records_stays_in_bounds() {
    let (mut log, _) = written();
    assert_eq!(log.delete_records_to(Offset(17)), Err(ErrorCode::OffsetOutOfRange));
    assert_eq!(log.delete_records_to(Offset(-2)), Err(ErrorCode::OffsetOutOfRange));
    assert_eq!(log.delete_records_to(Offset(5)), Ok(true));
    assert_eq!(log.delete_records_to(Offset(4)), Ok(false), "it never goes back");
    assert_eq!(log.log_start_offset(), Offset(5));
}

#[test]
fn without_timestamps_the_file_ages() {
    let mut log = Log::new(config(), Offset(0), 1, NOW);
    let mut disk = Disk::new(&log);
    for _ in 0..5 {
        disk.append(&mut log, batch(0, 1).bytes_total(100).timestamp(-1));
    }
    log.mark_durable(Offset(5));
    log.set_config(LogConfig { retention_ms: Some(1_000), ..config() });
    assert!(enforce(&mut log, &mut disk, WALL.0 + 1_000).is_empty());
    assert_eq!(enforce(&mut log, &mut disk, WALL.0 + 1_001).segments.len(), 2);
}

#[test]
fn a_start_asks_for_the_timestamps_that_it_has_not_read() {
    let (mut log, mut disk) = written();
    disk.checkpoint(&mut log);
    let limited = LogConfig { retention_ms: Some(1_000), ..config() };
    let mut log = disk.load(disk.input(&limited, true)).log;
    let asked = log.enforce_retention(NOW, TimestampMs(1_004));
    assert_eq!(asked, Retention::NeedsLargest { segment_base: Offset(0) });
    let largest = disk.indexes_of(Offset(0)).times.last_entry();
    log.set_largest_timestamp(Offset(0), largest);
    let asked = log.enforce_retention(NOW, TimestampMs(1_004));
    assert_eq!(asked, Retention::NeedsLargest { segment_base: Offset(4) });
    log.set_largest_timestamp(Offset(4), disk.indexes_of(Offset(4)).times.last_entry());
    assert_eq!(enforce(&mut log, &mut disk, 1_004).segments.len(), 1);
}

/// The log whose second segment was emptied by the cleaner.
fn with_an_empty_segment() -> (Log, Disk) {
    let (mut log, mut disk) = written();
    let second = *log.closed_segments().nth(1).expect("three are closed");
    let none = TimestampOffset { timestamp: TimestampMs::NONE, offset: second.base_offset };
    let empty =
        ClosedSegment { bytes: 0, largest_timestamp: Some(none), modified: TimestampMs(900), ..second };
    log.replace_segments(&[second.base_offset], empty);
    disk.segments.insert(second.base_offset, Vec::new());
    (log, disk)
}

#[test]
fn an_emptied_segment_goes_by_its_age_like_any_other() {
    let (mut log, mut disk) = with_an_empty_segment();
    log.set_config(LogConfig { retention_ms: Some(1_000), compact: true, ..config() });
    assert_eq!(enforce(&mut log, &mut disk, 1_004).segments.len(), 1);
    assert!(
        enforce(&mut log, &mut disk, 1_900).is_empty(),
        "it has no records, and counts from its last change"
    );
    assert_eq!(enforce(&mut log, &mut disk, 1_901).segments.len(), 1);
    assert_eq!(kept(&log), (8, 2));
}

#[test]
fn an_emptied_segment_goes_when_the_log_has_just_its_size() {
    let (mut log, mut disk) = with_an_empty_segment();
    let limit = |bytes| LogConfig { retention_bytes: Some(bytes), retention_ms: None, ..config() };
    log.set_config(limit(1_201));
    assert!(enforce(&mut log, &mut disk, 0).is_empty());
    log.set_config(limit(1_200));
    assert!(enforce(&mut log, &mut disk, 0).is_empty(), "the first segment is not empty");
    log.set_config(limit(800));
    assert_eq!(enforce(&mut log, &mut disk, 0).segments.len(), 2, "the first, and the empty one behind it");
    assert_eq!((kept(&log), log.bytes()), ((8, 2), 800));
    log.set_config(LogConfig { delete: false, compact: true, ..limit(1) });
    assert!(
        enforce(&mut log, &mut disk, i64::MAX).is_empty(),
        "compaction alone deletes nothing by size or age"
    );
}

#[test]
fn a_segment_stamped_in_the_future_stays_and_keeps_those_behind_it() {
    let (mut log, mut disk) = written();
    log.set_config(LogConfig { retention_ms: Some(1_000), ..config() });
    log.set_largest_timestamp(
        Offset(0),
        Some(TimestampOffset { timestamp: TimestampMs(50_000), offset: Offset(3) }),
    );
    assert!(enforce(&mut log, &mut disk, 40_000).is_empty());
    assert!(enforce(&mut log, &mut disk, 51_000).is_empty());
    assert_eq!(enforce(&mut log, &mut disk, 51_001).segments.len(), 4);
}

#[test]
fn starting_anew_forgets_everything() {
    let (mut log, _) = written();
    log.become_leader(LeaderEpoch(2));
    let retired = log.start_anew(Offset(40), NOW);
    assert_eq!((retired.segments.len(), retired.snapshots.len()), (4, 3));
    assert!(retired.epochs_changed);
    let offsets = log.offsets();
    assert_eq!((offsets.log_start, offsets.log_end), (Offset(40), Offset(40)));
    assert_eq!((log.bytes(), log.producers().len(), log.epochs().entries().len()), (0, 0, 0));
    let mut disk = Disk::new(&log);
    assert_eq!(disk.append(&mut log, batch(0, 2)).base_offset, Offset(40));
}
