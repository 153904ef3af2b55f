//! Single rules of a cleaning, each with the records that show it.

use super::support::*;
use crate::ids::{Offset, ProducerEpoch, ProducerId, TimestampMs};
use crate::log::LogConfig;
use crate::log::cleaner::{CleanError, Cleaning};
use crate::log::read::ReadRequest;
use crate::protocol::compression::Codec;
use crate::protocol::records::{BatchBuilder, BatchHeader, TimestampType};

const A: Option<&[u8]> = Some(b"a");
const B: Option<&[u8]> = Some(b"b");
const C: Option<&[u8]> = Some(b"c");
const V: Option<&[u8]> = Some(b"value");

#[test]
fn the_last_record_of_each_key_stays_where_it_was() {
    let mut world = World::new(config());
    world.put(&[(A, V), (B, V), (A, V)]);
    world.put(&[(B, V), (C, V)]);
    world.roll();
    world.put(&[(C, V)]);
    let cleaning = world.clean(100, 100);
    assert_eq!(cleaning.end(), Offset(5));
    assert_eq!(world.offsets(), [2, 3, 4, 5], "the active segment is not cleaned, nor known to the map");
    let headers: Vec<_> = world.batches().iter().map(|batch| batch.header).collect();
    let spans: Vec<_> = headers.iter().map(|header| (header.base_offset.0, header.last_offset().0)).collect();
    assert_eq!(spans, [(0, 2), (3, 4), (5, 5)], "batches keep their first and last offsets");
    assert_eq!(headers[0].max_timestamp, TimestampMs(12));
    assert!(headers.iter().all(|header| header.partition_leader_epoch.0 == 3));
    let stats = cleaning.stats();
    assert_eq!((stats.records_read, stats.records_kept, stats.keys), (5, 3, 3));
    assert!(stats.bytes_written < stats.bytes_read);
    assert!(!stats.map_full);
}

#[test]
fn a_batch_that_loses_nothing_keeps_its_bytes_and_a_segment_its_files() {
    let mut world = World::new(config());
    world.append(with_codec(rows_of(BatchBuilder::new(), 10, &[(A, V), (B, V)]), Codec::Zstd), None);
    world.roll();
    let before = world.disk.segments.clone();
    let segment = *world.log.closed_segments().next().expect("a closed segment");
    world.clean(100, 100);
    assert_eq!(world.disk.segments, before);
    assert_eq!(world.log.closed_segments().next(), Some(&segment));
}

#[test]
fn tombstones_stay_until_their_horizon_and_go_behind_it() {
    let mut world = World::new(config());
    world.put(&[(A, V), (B, V)]);
    world.put(&[(A, None)]);
    world.roll();
    world.clean(5_000, 100);
    assert_eq!(world.offsets(), [1, 2], "what the tombstone deletes goes at once");
    let batch = world.batches().into_iter().find(|batch| batch.header.base_offset == Offset(2));
    let batch = batch.expect("the tombstone is there");
    assert_eq!(batch.header.delete_horizon(), Some(TimestampMs(6_000)));
    assert_eq!((batch.header.max_timestamp, batch.records[0].timestamp), (TimestampMs(10), 10));
    world.put(&[(C, V)]);
    world.roll();
    world.clean(5_999, 100);
    assert_eq!(world.offsets(), [1, 2, 3], "the horizon is not moved by another cleaning, nor reached");
    world.put(&[(C, V)]);
    world.roll();
    world.clean(6_000, 100);
    assert_eq!(world.offsets(), [1, 4]);
}

#[test]
fn a_tombstone_that_the_map_did_not_reach_gets_no_horizon() {
    let mut world = World::new(config());
    world.put(&[(A, V), (B, V)]);
    world.put(&[(C, None)]);
    world.roll();
    let cleaning = world.clean(5_000, 2);
    assert_eq!((cleaning.end(), cleaning.stats().map_full), (Offset(2), true));
    assert!(world.batches().iter().all(|batch| batch.header.delete_horizon().is_none()));
    world.clean(7_000, 2);
    let horizons: Vec<_> = world.batches().iter().map(|batch| batch.header.delete_horizon()).collect();
    assert_eq!(horizons, [None, Some(TimestampMs(8_000))]);
}

#[test]
fn records_without_a_key_go_and_are_counted() {
    let mut world = World::new(config());
    world.put(&[(A, V), (None, V), (None, None)]);
    world.roll();
    let stats = world.clean(100, 100).stats();
    assert_eq!((world.offsets(), stats.keyless), (vec![0], 2));
}

#[test]
fn a_dirty_section_larger_than_the_map_is_cleaned_in_steps() {
    let mut world = World::new(config());
    let keys: Vec<_> = (0..10_u8).map(|key| [key]).collect();
    for _ in 0..2 {
        // Batches of two keys: the map of three is full in the middle of the second one.
        for pair in keys.chunks(2) {
            let rows: Vec<Row<'_>> = pair.iter().map(|key| (Some(&key[..]), V)).collect();
            world.put(&rows);
        }
    }
    world.roll();
    let mut ends = Vec::new();
    while world.clean_to != Some(Offset(20)) {
        ends.push(world.clean(100, 3).end().0);
        assert!(ends.len() < 20, "each cleaning gets on: {ends:?}");
    }
    assert_eq!(ends[..2], [3, 6]);
    assert_eq!(world.offsets(), (10..20).collect::<Vec<_>>());
}

#[test]
fn neighbours_become_one_segment_and_gaps_are_read_over() {
    let mut world = World::new(config());
    for round in 0..40_u8 {
        world.put(&[(A, V), (Some(&[b'k', round % 3]), V)]);
    }
    world.roll();
    let before = world.log.closed_segments().count();
    world.clean(100, 100);
    assert!(before > 3);
    assert_eq!(world.log.closed_segments().count(), 4, "groups go by the sizes before the cleaning");
    world.put(&[(B, V)]);
    world.roll();
    world.clean(100, 100);
    assert_eq!(world.log.closed_segments().count(), 1);
    let left = world.offsets();
    assert_eq!(left, [75, 77, 78, 79, 80]);
    for from in 0..=80 {
        let request = ReadRequest {
            from: Offset(from),
            up_to: world.log.log_end_offset(),
            max_bytes: 1,
            at_least_one: true,
        };
        let (base, last) = world.disk.read(&world.log, request)[0];
        assert!(last.0 >= from && base.0 <= *left.iter().find(|offset| **offset >= from).expect("later"));
    }
}

#[test]
fn a_segment_may_end_up_empty() {
    let mut world = World::new(LogConfig { segment_bytes: 100, ..config() });
    for _ in 0..5 {
        world.put(&[(A, V)]);
    }
    world.roll();
    world.clean(100, 100);
    let bytes: Vec<_> = world.log.closed_segments().map(|segment| segment.bytes).collect();
    assert_eq!(bytes[..4], [0; 4]);
    assert_eq!((world.offsets(), world.log.log_start_offset()), (vec![4], Offset(0)));
    let request = ReadRequest { from: Offset(1), up_to: Offset(5), max_bytes: 1_000, at_least_one: true };
    assert_eq!(world.disk.read(&world.log, request), [(Offset(4), Offset(4))]);
    let input = world.disk.input(world.log.config(), false);
    let loaded = world.disk.load(input);
    assert_eq!(loaded.log.offsets(), world.log.offsets());
    assert_eq!(loaded.damage, []);
}

#[test]
fn the_last_batch_of_a_producer_stays_for_its_sequence() {
    let mut world = World::new(config());
    world.append(sequenced(7, 0, 0, &[(A, V), (A, V)]).build(), None);
    world.append(sequenced(7, 0, 2, &[(A, V), (B, V)]).build(), None);
    world.append(sequenced(8, 0, 0, &[(A, V)]).build(), None);
    world.put(&[(A, V), (B, V)]);
    world.roll();
    world.clean(100, 100);
    let left = world.batches();
    let empty: Vec<_> =
        left.iter().filter(|batch| batch.records.is_empty()).map(|batch| batch.header).collect();
    let known: Vec<_> = empty.iter().map(|header| (header.producer_id.0, header.last_sequence())).collect();
    assert_eq!(known, [(7, 3), (8, 0)], "emptied, and still the last of their producers");
    assert_eq!(empty[0].max_timestamp, TimestampMs(11));
    assert_eq!(empty[0].last_offset(), Offset(3));
    world.append(sequenced(7, 0, 4, &[(C, V)]).build(), None);
    world.put(&[(C, V)]);
    world.roll();
    world.clean(100, 100);
    let ids: Vec<_> = world.batches().iter().map(|batch| batch.header.producer_id.0).collect();
    assert_eq!(ids, [8, -1, 7, -1], "an emptied batch goes when its producer has a later one");
}

#[test]
fn the_last_batch_of_what_is_cleaned_stays() {
    let mut world = World::new(config());
    world.put(&[(A, V)]);
    world.put(&[(None, V)]);
    world.roll();
    world.clean(100, 100);
    let last = world.batches().pop().expect("two batches");
    assert_eq!((last.header.last_offset(), last.records.len()), (Offset(1), 0));
}

#[test]
fn aborted_records_go_and_markers_wait_for_their_horizon() {
    let mut world = World::new(config());
    let begin = |sequence, key| sequenced(5, 0, sequence, &[(key, V)]).transactional().build();
    world.append(begin(0, A), None);
    world.end(5, 0, false);
    world.append(begin(1, B), None);
    world.end(5, 0, true);
    world.put(&[(C, V)]);
    world.roll();
    world.clean(1_000, 100);
    assert_eq!(world.offsets(), [2, 4], "the aborted record is gone");
    let controls = |world: &World| -> Vec<_> {
        let batches = world.batches().into_iter();
        let controls = batches.filter(|batch| batch.header.attributes.is_control());
        controls
            .map(|batch| (batch.header.base_offset.0, batch.header.delete_horizon().map(|ms| ms.0)))
            .collect()
    };
    assert_eq!(controls(&world), [(1, None), (3, None)], "a pass that met records keeps the markers");
    assert_eq!(world.disk.aborted(&world.log, Offset(0), Offset(9)).len(), 1);
    world.put(&[(C, V)]);
    world.roll();
    world.clean(2_000, 100);
    assert_eq!(controls(&world), [(1, Some(3_000)), (3, None)], "no batch of it is left: the horizon is set");
    assert_eq!(world.disk.aborted(&world.log, Offset(0), Offset(9)), []);
    world.put(&[(C, V)]);
    world.roll();
    world.clean(3_000, 100);
    assert_eq!(controls(&world), [(3, None)]);
}

#[test]
fn a_key_like_that_of_a_marker_removes_no_marker() {
    let mut world = World::new(config());
    world.append(sequenced(5, 0, 0, &[(A, V)]).transactional().build(), None);
    world.end(5, 0, true);
    world.put(&[(Some(&[0, 0, 0, 1]), V), (Some(&[0, 0, 0, 0]), V)]);
    world.roll();
    world.clean(100, 100);
    let controls = world.batches().iter().filter(|batch| batch.header.attributes.is_control()).count();
    assert_eq!(controls, 1);
}

#[test]
fn nothing_at_or_behind_an_open_transaction_is_cleaned() {
    let mut world = World::new(config());
    world.put(&[(A, V)]);
    world.put(&[(A, V)]);
    world.roll();
    world.append(sequenced(5, 0, 0, &[(B, V)]).transactional().build(), None);
    world.put(&[(B, V)]);
    world.roll();
    world.put(&[(B, V)]);
    world.roll();
    assert_eq!(world.look(100).upper, Offset(2));
    world.clean(100, 100);
    assert_eq!(world.offsets(), [1, 2, 3, 4]);
    world.end(5, 0, true);
    world.roll();
    assert_eq!(world.look(100).upper, Offset(6));
}

#[test]
fn codecs_stay_and_append_times_do_not_become_the_records_own() {
    for codec in Codec::ALL {
        let mut world = World::new(config());
        let rows = [(A, V), (B, V), (A, V)];
        world.append(with_codec(rows_of(BatchBuilder::new(), 10, &rows), codec), None);
        let at = BatchBuilder::new().log_append_time(TimestampMs(500));
        world.append(with_codec(rows_of(at, 10, &[(C, V), (A, V)]), codec), None);
        world.roll();
        world.put(&[(C, V)]);
        world.roll();
        world.clean(100, 100);
        let left = world.batches();
        assert_eq!(left.len(), 3);
        for batch in &left[..2] {
            assert_eq!(batch.header.attributes.compression(), Some(codec));
        }
        assert_eq!(left[0].header.max_timestamp, TimestampMs(11));
        assert_eq!(left[1].header.attributes.timestamp_type(), TimestampType::LogAppendTime);
        assert_eq!((left[1].header.max_timestamp, left[1].records[0].timestamp), (TimestampMs(500), 500));
    }
}

#[test]
fn any_damaged_byte_ends_the_cleaning_before_it_changes_anything() {
    let mut world = World::new(config());
    world.append(with_codec(rows_of(BatchBuilder::new(), 10, &[(A, V), (A, V)]), Codec::Lz4), None);
    world.put(&[(A, V)]);
    world.roll();
    let good = world.disk.segments.clone();
    let bytes = good[&Offset(0)].len();
    for at in 0..bytes {
        let first = BatchHeader::parse(&good[&Offset(0)]).expect("a batch").batch_bytes;
        let within = at % first;
        // The epoch is not under the CRC, as the offset, which has to follow.
        if (12..16).contains(&within) {
            continue;
        }
        let mut damaged = World { log: world.log.clone(), disk: world.disk.clone(), clean_to: None };
        let segment = damaged.disk.segments.get_mut(&Offset(0)).expect("a segment");
        segment[at] ^= 0x21;
        let changed = segment.clone();
        let error = damaged.try_clean(100, 100).expect_err("damage is noticed");
        assert!(matches!(error, CleanError::Corrupt { .. }), "byte {at}: {error}");
        assert_eq!(damaged.disk.segments[&Offset(0)], changed);
        assert_eq!(damaged.log, world.log);
    }
}

#[test]
fn an_old_format_is_named_and_left_alone() {
    let mut world = World::new(config());
    world.put(&[(A, V), (B, V)]);
    world.roll();
    world.disk.segments.get_mut(&Offset(0)).expect("a segment")[16] = 1;
    let error = world.try_clean(100, 100).expect_err("magic 1");
    assert_eq!(error, CleanError::OldFormat { segment_base: Offset(0), position: 0, magic: 1 });
}

#[test]
fn windows_of_any_size_give_the_same_bytes() {
    let mut world = World::new(LogConfig { segment_bytes: 20_000, ..config() });
    for at in 0..60_u8 {
        let value = vec![at; usize::from(at) * 20];
        world.put(&[(Some(&[at % 7]), Some(&value)), (Some(&[at % 11]), V)]);
    }
    world.roll();
    let cleaned = |window_bytes| {
        let mut world = World { log: world.log.clone(), disk: world.disk.clone(), clean_to: None };
        let mut input = world.log.cleaning_input(world.look(100), bounds(99), TimestampMs(100));
        input.window_bytes = window_bytes;
        let stats = world.disk.clean(&mut world.log, Cleaning::new(input)).expect("no damage").stats();
        (world.disk.segments, stats)
    };
    let whole = cleaned(1 << 20);
    for window_bytes in [0, 61, 62, 100, 1_000, 1_399, 16_384] {
        assert_eq!(cleaned(window_bytes), whole, "windows of {window_bytes} bytes");
    }
}

#[test]
fn a_replayed_sequence_is_still_a_duplicate_after_a_start() {
    let mut world = World::new(config());
    let last = sequenced(7, 2, 0, &[(A, V), (B, V)]).build();
    world.append(last.clone(), None);
    world.put(&[(A, V), (B, V)]);
    world.roll();
    world.clean(100, 100);
    world.disk.snapshots.clear();
    let input = world.disk.input(world.log.config(), false);
    let log = world.disk.load(input).log;
    let entry = log.producers().get(ProducerId(7)).expect("the producer is remembered");
    assert_eq!((entry.epoch, entry.last_sequence()), (ProducerEpoch(2), 1));
    let header = BatchHeader::parse(&last).expect("a batch");
    assert!(entry.find_duplicate(&header).is_some());
}
