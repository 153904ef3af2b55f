//! Searches by timestamp over true records, against a look at each of them.

use super::*;
use crate::log::testing::batch;
use crate::log::testing::disk::{Disk, NOW, WALL};
use crate::log::{AppendOutcome, LogConfig, NewBatch};
use crate::protocol::records::{BatchBuilder, NewRecord, edit};
use proptest::prelude::*;

/// A record as the model knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Known {
    offset: i64,
    timestamp: i64,
    epoch: i32,
}

struct World {
    log: Log,
    disk: Disk,
    records: Vec<Known>,
}

impl World {
    fn new() -> World {
        let config = LogConfig { segment_bytes: 900, index_interval_bytes: 150, ..LogConfig::default() };
        let mut log = Log::new(config, Offset(0), 1, NOW);
        let disk = Disk { piece_bytes: 64, ..Disk::new(&log) };
        log.become_leader(LeaderEpoch(0));
        World { log, disk, records: Vec::new() }
    }

    fn append(&mut self, timestamps: &[i64], codec: Codec, append_time: Option<i64>) {
        let mut builder = BatchBuilder::new().compression(codec, None);
        for &timestamp in timestamps {
            let value = [7; 20];
            let timestamp = TimestampMs(timestamp);
            builder.append(&NewRecord { timestamp, value: Some(&value), ..NewRecord::default() });
        }
        let mut bytes = builder.build();
        if let Some(now) = append_time {
            edit::set_log_append_time(&mut bytes, TimestampMs(now));
        }
        let new = NewBatch::of_client(BatchHeader::parse(&bytes).expect("own bytes"));
        let AppendOutcome::Appended(appended) = self.log.append(&new, NOW, WALL).expect("in order") else {
            panic!("a duplicate");
        };
        if let Some(roll) = &appended.roll {
            self.disk.roll(roll);
        }
        edit::set_base_offset(&mut bytes, appended.base_offset);
        edit::set_leader_epoch(&mut bytes, appended.leader_epoch);
        let segment = self.disk.segments.get_mut(&appended.at.segment_base).expect("the active segment");
        segment.extend_from_slice(&bytes);
        for (at, &timestamp) in timestamps.iter().enumerate() {
            self.records.push(Known {
                offset: appended.base_offset.0 + i64::try_from(at).expect("few"),
                timestamp: append_time.unwrap_or(timestamp),
                epoch: appended.leader_epoch.0,
            });
        }
    }

    /// Answers as the shell does.
    fn ask(&mut self, query: TimestampQuery, up_to: Offset) -> Option<FoundOffset> {
        let mut plan = self.log.timestamp_plan(query, up_to);
        for _ in 0..1_000 {
            plan = match plan {
                TimestampPlan::Found(found) => return Some(found),
                TimestampPlan::NotFound => return None,
                TimestampPlan::NeedsLargest { segment_base } => {
                    let largest = self.disk.indexes_of(segment_base).times.last_entry();
                    self.log.set_largest_timestamp(segment_base, largest);
                    self.log.timestamp_plan(query, up_to)
                }
                TimestampPlan::Measure(search) => {
                    let index = self.indexes(search.segment_base).offsets;
                    self.measure(search.with_index(&index));
                    self.log.timestamp_plan(query, up_to)
                }
                TimestampPlan::Search(search) => match self.search(search) {
                    Ok(Some(found)) => return Some(found),
                    Ok(None) => self.log.timestamp_plan_behind(search.segment_base, query, up_to),
                    Err(cut) => {
                        self.measure(cut);
                        self.log.timestamp_plan(query, up_to)
                    }
                },
            };
        }
        panic!("a search comes to an end");
    }

    fn measure(&mut self, search: LargestSearch) {
        let segment = &self.disk.segments[&search.segment_base];
        let step = search.walk().feed(FilePosition(0), segment);
        let LargestStep::Done(largest) = step.expect("own bytes") else {
            panic!("the walk has the whole segment");
        };
        self.log.set_largest_timestamp(search.segment_base, Some(largest));
    }

    fn indexes(&mut self, base: Offset) -> SegmentIndexes {
        self.disk.write_active_indexes(&self.log);
        self.disk.indexes_of(base)
    }

    /// The answer, or what has to be measured first.
    fn search(&mut self, search: TimestampSearch) -> Result<Option<FoundOffset>, LargestSearch> {
        let indexes = self.indexes(search.segment_base);
        let search = if search.start.is_none() { search.with_indexes(&indexes) } else { search };
        let mut walk = search.walk();
        let (mut at, mut window): (_, &[u8]) = (FilePosition(0), &[]);
        loop {
            match walk.feed(at, window).expect("own bytes") {
                TimestampStep::Nothing => return Ok(None),
                TimestampStep::Need(position) => {
                    (at, window) = (position, self.disk.window(search.segment_base, position));
                }
                TimestampStep::Candidate(batch) => {
                    let segment = &self.disk.segments[&search.segment_base];
                    let place = |position: FilePosition| usize::try_from(position.0).expect("small");
                    let bytes = &segment[place(batch.position)..place(batch.end())];
                    let whole = Batch { header: batch.header, position: place(batch.position), bytes };
                    let found = search.find_in(&whole).expect("own bytes");
                    if let Some(cut) = search.cut(&batch, found) {
                        return Err(cut);
                    }
                    if found.is_some() {
                        return Ok(found);
                    }
                }
            }
        }
    }

    fn visible(&self, up_to: Offset) -> impl DoubleEndedIterator<Item = &Known> {
        let start = self.log.log_start_offset().0;
        self.records.iter().filter(move |record| record.offset >= start && record.offset < up_to.0)
    }
}

fn answer(known: Option<&Known>) -> Option<FoundOffset> {
    known.map(|known| FoundOffset {
        timestamp: TimestampMs(known.timestamp),
        offset: Offset(known.offset),
        leader_epoch: LeaderEpoch(known.epoch),
    })
}

#[test]
fn special_timestamps_need_no_search() {
    let mut world = World::new();
    world.append(&[5, 6], Codec::None, None);
    world.log.become_leader(LeaderEpoch(3));
    world.append(&[7], Codec::None, None);
    world.log.mark_durable(Offset(3));
    world.log.delete_records_to(Offset(1)).expect("below the high watermark");
    let special = |offset, epoch| {
        let (timestamp, offset, leader_epoch) = (TimestampMs::NONE, Offset(offset), LeaderEpoch(epoch));
        Some(FoundOffset { timestamp, offset, leader_epoch })
    };
    assert_eq!(world.ask(TimestampQuery::Latest, Offset(2)), special(2, 3));
    assert_eq!(world.ask(TimestampQuery::Earliest, Offset(3)), special(1, 0), "the record's own epoch");
    assert_eq!(world.ask(TimestampQuery::AtOrAfter(TimestampMs(8)), Offset(3)), None);
    assert_eq!(World::new().ask(TimestampQuery::Largest, Offset(0)), None);
}

#[test]
fn the_leader_epoch_is_that_of_the_record() {
    let mut world = World::new();
    world.append(&[10, 20], Codec::None, None);
    world.log.become_leader(LeaderEpoch(9));
    world.append(&[30], Codec::None, None);
    let found = world.ask(TimestampQuery::AtOrAfter(TimestampMs(15)), Offset(3)).expect("there is one");
    assert_eq!((found.offset, found.leader_epoch), (Offset(1), LeaderEpoch(0)));
}

#[test]
fn a_segment_whose_candidates_were_deleted_is_passed_over() {
    let mut world = World::new();
    world.append(&[900, 5], Codec::None, None);
    world.append(&[6, 7], Codec::None, None);
    let roll = world.log.roll(NOW).expect("it has batches");
    world.disk.roll(&roll);
    world.append(&[8, 950], Codec::None, None);
    world.log.mark_durable(Offset(6));
    world.log.delete_records_to(Offset(1)).expect("below the high watermark");
    let found = world.ask(TimestampQuery::AtOrAfter(TimestampMs(100)), Offset(6)).expect("there is one");
    assert_eq!((found.offset, found.timestamp), (Offset(5), TimestampMs(950)));
    world.append(&[9], Codec::None, None);
    let largest = world.ask(TimestampQuery::Largest, Offset(5)).map(|found| found.offset);
    assert_eq!(largest, Some(Offset(5)), "whoever may not see it yet waits for it");
}

#[test]
fn a_batch_that_cannot_be_read_is_an_error() {
    let mut world = World::new();
    world.append(&[10], Codec::Zstd, None);
    let TimestampPlan::Search(search) = world.log.timestamp_plan(TimestampQuery::Largest, Offset(1)) else {
        panic!("a search");
    };
    let mut bytes = world.disk.segments[&Offset(0)].clone();
    bytes[70] ^= 0xff;
    let header = BatchHeader::parse(&bytes).expect("own bytes");
    let error = search.find_in(&Batch { header, position: 0, bytes: &bytes });
    assert!(matches!(error, Err(SearchError::Compression(Offset(0), _))), "{error:?}");
    let plain = batch(0, 1).bytes();
    let header = BatchHeader::parse(&plain).expect("own bytes");
    let error = search.find_in(&Batch { header, position: 0, bytes: &plain });
    assert!(matches!(error, Err(SearchError::Records(Offset(0), _))), "{error:?}");
}

#[test]
fn the_largest_timestamp_after_deletion_is_measured_again() {
    let mut world = World::new();
    world.append(&[500], Codec::None, None);
    world.append(&[100, 90], Codec::None, None);
    world.append(&[80], Codec::None, None);
    world.log.mark_durable(Offset(4));
    world.log.delete_records_to(Offset(1)).expect("below the high watermark");
    let largest = world.ask(TimestampQuery::Largest, Offset(4)).expect("there is one");
    assert_eq!((largest.offset, largest.timestamp), (Offset(1), TimestampMs(100)));
    world.append(&[110], Codec::None, None);
    let largest = world.ask(TimestampQuery::Largest, Offset(5)).expect("there is one");
    assert_eq!(largest.offset, Offset(4));
}

#[test]
fn a_batch_that_is_cut_offers_what_is_left_of_it() {
    let mut world = World::new();
    world.append(&[500, 70, 90], Codec::Lz4, None);
    world.append(&[80], Codec::None, None);
    world.log.mark_durable(Offset(4));
    world.log.delete_records_to(Offset(1)).expect("below the high watermark");
    let largest = |world: &mut World, end| {
        let found = world.ask(TimestampQuery::Largest, Offset(end)).expect("there is one");
        (found.offset.0, found.timestamp.0)
    };
    assert_eq!(largest(&mut world, 4), (2, 90));
    assert_eq!(largest(&mut world, 4), (2, 90), "and again, with what was measured");
    world.log.delete_records_to(Offset(3)).expect("below the high watermark");
    assert_eq!(largest(&mut world, 4), (3, 80));
    world.append(&[60, 95], Codec::None, None);
    assert_eq!(largest(&mut world, 6), (5, 95));
}

proptest! {
    #[test]
    fn the_first_record_that_is_late_enough_is_found(
        batches in prop::collection::vec(
            (prop::collection::vec(0_i64..400, 1..5), 0_u8..3, prop::option::weighted(0.1, 0_i64..400)),
            1..40,
        ),
        target in 0_i64..420,
        deleted in 0_i64..100,
        hidden in 0_i64..20,
        reload in any::<bool>(),
    ) {
        let mut world = World::new();
        for (timestamps, codec, append_time) in batches {
            let codec = [Codec::None, Codec::Lz4, Codec::Zstd][usize::from(codec)];
            world.append(&timestamps, codec, append_time);
        }
        let end = world.log.log_end_offset();
        world.log.mark_durable(end);
        if reload {
            world.disk.checkpoint(&mut world.log);
            let loaded = world.disk.load(world.disk.input(world.log.config(), true));
            world.log = loaded.log;
        }
        let up_to = Offset((end.0 - hidden).max(0));
        let to = Offset(deleted % (end.0 + 1));
        world.log.delete_records_to(to).expect("at most the end");
        let up_to = up_to.max(world.log.log_start_offset());
        let expected = answer(world.visible(up_to).find(|record| record.timestamp >= target));
        prop_assert_eq!(world.ask(TimestampQuery::AtOrAfter(TimestampMs(target)), up_to), expected);
        // The largest is exact whatever is hidden, also behind a batch that the log start cuts.
        let largest = world.visible(end).map(|record| record.timestamp).max();
        let first = world.visible(end).find(|record| Some(record.timestamp) == largest);
        let expected = answer(first);
        prop_assert_eq!(world.ask(TimestampQuery::Largest, up_to), expected);
        if hidden == 0 {
            // What was measured goes on with what comes.
            let before = largest.unwrap_or(-1);
            for timestamp in [before - 1, before + 1] {
                world.append(&[timestamp.max(0)], Codec::None, None);
            }
            let end = world.log.log_end_offset();
            world.log.mark_durable(end);
            let largest = world.visible(end).map(|record| record.timestamp).max();
            let first = world.visible(end).find(|record| Some(record.timestamp) == largest);
            let expected = answer(first);
            prop_assert_eq!(world.ask(TimestampQuery::Largest, end), expected);
        }
    }
}
