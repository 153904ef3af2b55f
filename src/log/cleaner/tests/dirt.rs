//! What may be cleaned, and when.

use std::collections::BTreeMap;

use super::support::*;
use crate::ids::{Offset, TimestampMs};
use crate::log::LogConfig;
use crate::log::cleaner::{Cleanable, DirtyLook};
use crate::protocol::records::BatchBuilder;

/// A log with closed segments of one batch each at these timestamps, and an empty active one.
fn world(config: LogConfig, timestamps: &[i64]) -> World {
    let mut world = World::new(config);
    for &timestamp in timestamps {
        let key = timestamp.to_be_bytes();
        world.append(rows_of(BatchBuilder::new(), timestamp, &[(Some(&key), Some(b"v"))]).build(), None);
        world.roll();
    }
    world
}

fn found(world: &World, checkpoint: Option<i64>, now: i64) -> Cleanable {
    match world.log.look_for_dirt(checkpoint.map(Offset), TimestampMs(now), &BTreeMap::new()) {
        DirtyLook::Found(cleanable) => cleanable,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_checkpoint_parts_clean_from_dirty() {
    let world = world(config(), &[10, 20, 30, 40]);
    let bytes = world.log.closed_segments().next().expect("a segment").bytes;
    let look = found(&world, None, 100);
    assert_eq!((look.first_dirty, look.upper), (Offset(0), Offset(4)));
    assert_eq!((look.clean_bytes, look.dirty_bytes, look.is_reset), (0, 4 * bytes, false));
    let look = found(&world, Some(3), 100);
    assert_eq!((look.clean_bytes, look.dirty_bytes), (3 * bytes, bytes));
    let look = found(&world, Some(4), 100);
    assert_eq!((look.clean_bytes, look.dirty_bytes, look.upper), (4 * bytes, 0, Offset(4)));
    for lost in [5, -3] {
        let look = found(&world, Some(lost), 100);
        assert_eq!(
            (look.first_dirty, look.is_reset),
            (Offset(0), true),
            "an offset that the log does not have"
        );
    }
}

#[test]
fn a_log_is_due_when_more_than_the_ratio_is_dirty() {
    let cleanable = |clean_bytes, dirty_bytes, overdue_ms| Cleanable {
        first_dirty: Offset(0),
        upper: Offset(9),
        clean_bytes,
        dirty_bytes,
        overdue_ms,
        is_reset: false,
    };
    assert!(!cleanable(50, 50, 0).is_due(500_000), "exactly the ratio is not above it");
    assert!(cleanable(49, 50, 0).is_due(500_000));
    assert!(!cleanable(0, 0, 5).is_due(0), "there is nothing to clean");
    assert!(cleanable(1 << 40, 1, 0).is_due(0));
    assert!(cleanable(99, 1, 1).is_due(1_000_000), "an overdue record waits for no ratio");
    assert!(!cleanable(0, 10, 0).is_due(1_000_000));
    let mut logs = [cleanable(90, 10, 0), cleanable(0, 1, 0), cleanable(10, 90, 0)];
    logs.sort_by(Cleanable::compare);
    assert_eq!(logs.map(|log| log.dirty_bytes), [10, 90, 1], "the share counts, not the bytes");
}

#[test]
fn young_records_are_safe_and_everything_behind_them() {
    let world = world(LogConfig { min_compaction_lag_ms: 50, ..config() }, &[10, 80, 20, 30]);
    assert_eq!(found(&world, None, 59).upper, Offset(0), "10 is above 59 - 50");
    assert_eq!(found(&world, None, 60).upper, Offset(1));
    assert_eq!(found(&world, None, 130).upper, Offset(4));
    assert_eq!(found(&world, Some(2), 80).upper, Offset(4), "what is clean already does not count");
}

#[test]
fn overdue_records_force_a_cleaning() {
    let world = world(LogConfig { max_compaction_lag_ms: 100, ..config() }, &[50, 30, -1, 90]);
    let look = |first: &BTreeMap<Offset, TimestampMs>, now| {
        world.log.look_for_dirt(Some(Offset(1)), TimestampMs(now), first)
    };
    let mut first = BTreeMap::new();
    for (base, timestamp) in [(1, 30), (2, -1), (3, 90)] {
        assert_eq!(look(&first, 0), DirtyLook::NeedsFirst { segment_base: Offset(base) });
        first.insert(Offset(base), TimestampMs(timestamp));
    }
    let overdue = |now| match look(&first, now) {
        DirtyLook::Found(cleanable) => cleanable.overdue_ms,
        other => panic!("{other:?}"),
    };
    assert_eq!((overdue(130), overdue(131), overdue(400)), (0, 1, 270));
}

#[test]
fn after_a_start_the_largest_timestamps_are_asked_for() {
    let mut world = world(LogConfig { min_compaction_lag_ms: 50, ..config() }, &[10, 20]);
    world.disk.checkpoint(&mut world.log);
    let input = world.disk.input(world.log.config(), true);
    let mut log = world.disk.load(input).log;
    let look = |log: &crate::log::Log| log.look_for_dirt(None, TimestampMs(1_000), &BTreeMap::new());
    assert_eq!(look(&log), DirtyLook::NeedsLargest { segment_base: Offset(0) });
    for base in [0, 1] {
        log.set_largest_timestamp(Offset(base), world.disk.indexes_of(Offset(base)).times.last_entry());
    }
    assert!(matches!(look(&log), DirtyLook::Found(found) if found.upper == Offset(2)));
}

#[test]
fn the_first_dirty_offset_in_the_middle_of_a_segment_counts_it_twice_as_kafka_does() {
    let mut world = World::new(config());
    world.put(&[(Some(b"a"), Some(b"v")), (Some(b"b"), Some(b"v"))]);
    world.roll();
    let bytes = world.log.closed_segments().next().expect("a segment").bytes;
    let look = found(&world, Some(1), 100);
    assert_eq!((look.clean_bytes, look.dirty_bytes), (bytes, bytes));
}
