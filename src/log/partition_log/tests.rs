//! A whole log against a plain list of batches: appends, rolls, reads, deletions, stops, crashes and truncations.

use proptest::prelude::*;

use super::*;
use crate::log::append::{AppendError, AppendOutcome, NewBatch, Prepared};
use crate::log::load::EntryCounts;
use crate::log::load::Truncation;
use crate::log::retention::Retention;
use crate::log::testing::disk::{Disk, NOW, WALL};
use crate::log::testing::{TestBatch, batch};

fn config() -> LogConfig {
    LogConfig { segment_bytes: 2_000, index_interval_bytes: 200, ..LogConfig::default() }
}

fn log() -> (Log, Disk) {
    let mut log = Log::new(config(), Offset(0), 1, NOW);
    let mut disk = Disk::new(&log);
    assert!(log.become_leader(LeaderEpoch(0)));
    disk.epochs = Some(log.epochs().encode().into_bytes());
    (log, disk)
}

fn request(from: i64, up_to: Offset, max_bytes: u64) -> ReadRequest {
    ReadRequest { from: Offset(from), up_to, max_bytes, at_least_one: true }
}

#[test]
fn a_refused_batch_changes_nothing() {
    let (mut log, mut disk) = log();
    disk.append(&mut log, batch(0, 2).producer(5, 1, 0));
    let before = log.clone();
    let refused = |batch: TestBatch| {
        let error = log.prepare(&NewBatch::of_client(batch.header()), NOW).expect_err("it is refused");
        error.code().name()
    };
    let max = log.config().max_message_bytes;
    assert_eq!(refused(batch(0, 1).bytes_total(max + 1)), "MESSAGE_TOO_LARGE");
    assert_eq!(refused(batch(0, 1).bytes_total(2_001)), "RECORD_LIST_TOO_LARGE");
    assert_eq!(refused(batch(0, 0)), "CORRUPT_MESSAGE");
    assert_eq!(refused(batch(0, 1).bytes_total(60)), "CORRUPT_MESSAGE");
    assert_eq!(refused(batch(0, 1).producer(5, 1, 7)), "OUT_OF_ORDER_SEQUENCE_NUMBER");
    assert_eq!(refused(batch(0, 1).producer(5, 0, 2)), "INVALID_PRODUCER_EPOCH");
    let behind = NewBatch::replicated(batch(1, 1).header(), None);
    assert_eq!(log.prepare(&behind, NOW), Err(AppendError::Offsets { got: Offset(1), end: Offset(2) }));
    let full = NewBatch::replicated(batch(i64::MAX - 9, 1).header(), None);
    assert!(matches!(log.prepare(&full, NOW), Err(AppendError::Offsets { .. })));
    let again = NewBatch::of_client(batch(0, 2).producer(5, 1, 0).header());
    assert!(matches!(log.prepare(&again, NOW), Ok(Prepared::Duplicate(_))));
    assert!(matches!(log.append(&again, NOW, WALL), Ok(AppendOutcome::Duplicate(_))));
    assert_eq!(log, before);
}

#[test]
fn max_message_bytes_bounds_clients_alone() {
    let (mut log, mut disk) = log();
    log.set_config(LogConfig { max_message_bytes: 100, ..config() });
    let large = batch(0, 1).bytes_total(150);
    assert!(log.prepare(&NewBatch::of_client(large.header()), NOW).is_err());
    disk.append_as(&mut log, large, NewBatch::of_coordinator(large.header()));
    let copied = batch(1, 1).bytes_total(150);
    disk.append_as(&mut log, copied, NewBatch::replicated(copied.header(), None));
    assert_eq!(log.log_end_offset(), Offset(2));
}

#[test]
fn the_high_watermark_waits_for_the_disk_unless_relaxed() {
    let (mut log, mut disk) = log();
    disk.append(&mut log, batch(0, 3));
    assert_eq!(log.high_watermark(), Offset(0));
    assert_eq!(log.read_plan(request(0, log.high_watermark(), 999)), Ok(ReadPlan::Empty));
    disk.append(&mut log, batch(0, 2));
    log.mark_durable(Offset(3));
    assert_eq!((log.high_watermark(), log.durable_end_offset()), (Offset(3), Offset(3)));
    assert_eq!(disk.read(&log, request(0, log.high_watermark(), 999)), [(Offset(0), Offset(2))]);
    log.mark_durable(Offset(1));
    assert_eq!(log.durable_end_offset(), Offset(3), "an old flush changes nothing");
    log.set_config(LogConfig { flush_messages: 100, ..config() });
    assert_eq!((log.high_watermark(), log.durable_end_offset()), (Offset(5), Offset(3)));
    disk.append(&mut log, batch(0, 1));
    assert_eq!(log.offsets().high_watermark, Offset(6));
}

#[test]
fn followers_decide_the_high_watermark_of_a_replicated_log() {
    let (mut log, mut disk) = log();
    log.set_replicated(true);
    disk.append(&mut log, batch(0, 3));
    log.mark_durable(Offset(3));
    assert_eq!(log.high_watermark(), Offset(0));
    log.advance_high_watermark(Offset(2));
    log.advance_high_watermark(Offset(1));
    assert_eq!(log.high_watermark(), Offset(2), "it never goes back");
    log.advance_high_watermark(Offset(99));
    assert_eq!(log.high_watermark(), Offset(3), "nor beyond the end");
}

#[test]
fn offsets_out_of_range_and_at_the_end() {
    let (mut log, mut disk) = log();
    for _ in 0..5 {
        disk.append(&mut log, batch(0, 2));
    }
    log.mark_durable(Offset(10));
    log.delete_records_to(Offset(3)).expect("below the high watermark");
    let plan = |from| log.read_plan(request(from, Offset(10), 999));
    for got in [2, 11] {
        let (got, start, end) = (Offset(got), Offset(3), Offset(10));
        assert_eq!(plan(got.0), Err(ReadError::OutOfRange { got, start, end }));
    }
    assert_eq!(plan(10), Ok(ReadPlan::Empty));
    assert_eq!(disk.read(&log, request(3, Offset(10), 1)), [(Offset(2), Offset(3))], "the whole batch");
    let withheld = ReadRequest { at_least_one: false, ..request(3, Offset(10), 69) };
    assert_eq!(log.read_plan(withheld), Ok(ReadPlan::Withheld));
    let nothing = ReadRequest { max_bytes: 0, ..withheld };
    assert_eq!(log.read_plan(nothing), Ok(ReadPlan::Empty));
}

#[test]
fn the_last_stable_offset_stays_within_the_log() {
    let (mut log, mut disk) = log();
    let begin = batch(0, 4).producer(7, 0, 0).transactional();
    let new = NewBatch {
        transaction: crate::log::TransactionCheck { verified: true, ..Default::default() },
        ..NewBatch::of_client(begin.header())
    };
    disk.append(&mut log, batch(0, 2));
    disk.append_as(&mut log, begin, new);
    assert_eq!(log.last_stable_offset(), Offset(0), "not above the high watermark");
    log.mark_durable(Offset(6));
    assert_eq!(log.last_stable_offset(), Offset(2));
    log.delete_records_to(Offset(5)).expect("below the high watermark");
    assert_eq!(log.offsets().last_stable, Offset(5), "not below the log start offset");
}

#[test]
fn a_gap_in_the_offsets_begins_a_new_segment_only_where_it_must() {
    let (mut log, mut disk) = log();
    let mut copy = |log: &mut Log, offset| {
        let copied = batch(offset, 1);
        disk.append_as(log, copied, NewBatch::replicated(copied.header(), None))
    };
    assert!(copy(&mut log, 10).roll.is_none());
    assert_eq!(copy(&mut log, 20).base_offset, Offset(20));
    let far = 10 + i64::from(i32::MAX);
    let appended = copy(&mut log, far + 1);
    let roll = appended.roll.expect("the offset is out of the first segment's reach");
    assert_eq!((roll.closed.base_offset, roll.new_base), (Offset(0), Offset(far + 1)));
    let mut empty = Log::new(config(), Offset(0), 1, NOW);
    let copied = batch(1 << 40, 1);
    let outcome = empty.append(&NewBatch::replicated(copied.header(), None), NOW, WALL).expect("in order");
    let AppendOutcome::Appended(appended) = outcome else { panic!("a duplicate") };
    let roll = appended.roll.expect("the empty segment's base is too low");
    assert_eq!((roll.closed.bytes, empty.closed_segments().count()), (0, 0));
}

#[test]
fn a_reader_of_the_tail_never_walks() {
    let mut log = Log::new(LogConfig { segment_bytes: 9_000, ..config() }, Offset(0), 1, NOW);
    let mut disk = Disk::new(&log);
    for _ in 0..600 {
        disk.append(&mut log, batch(0, 2));
    }
    for durable in [900, 1_150, 1_200] {
        log.mark_durable(Offset(durable));
        let up_to = log.high_watermark();
        for from in 1_200 - 2 * crate::limits::TAIL_BATCHES as i64..up_to.0 {
            let plan = log.read_plan(request(from, up_to, 300)).expect("in range");
            let ReadPlan::Slice(slice) = plan else { panic!("{from}: {plan:?}") };
            assert_eq!((slice.start.0 % 70, slice.end.0 % 70), (0, 0), "whole batches");
            assert!(slice.bytes() == 280 || !slice.limited, "its bytes limit it and nothing else");
            assert_eq!(disk.read(&log, request(from, up_to, 300))[0].0, Offset(from / 2 * 2));
        }
    }
    disk.append(&mut log, batch(0, 2));
    assert!(matches!(log.read_plan(request(3, Offset(1_200), 300)), Ok(ReadPlan::Walk(_))));
    assert!(size_of::<Log>() < 1_024, "{} bytes", size_of::<Log>());
}

#[test]
fn epochs_answer_where_logs_part() {
    let (mut log, mut disk) = log();
    disk.append(&mut log, batch(0, 5));
    assert!(log.become_leader(LeaderEpoch(3)));
    assert!(!log.become_leader(LeaderEpoch(3)));
    assert!(!disk.append(&mut log, batch(0, 1)).epochs_changed, "the election has noted it");
    let end = log.epoch_end_offset(LeaderEpoch(1));
    assert_eq!((end.epoch, end.end_offset), (LeaderEpoch(0), Offset(5)));
    assert_eq!(log.epoch_end_offset(LeaderEpoch(3)).end_offset, Offset(6));
}

/// What the model does next.
#[derive(Clone, Debug)]
enum Step {
    Append { records: i32, bytes: usize, timestamp: i64, producer: Option<i64> },
    Durable,
    Roll,
    Checkpoint,
    Release(usize),
    Delete(u8),
    Retain(u64),
    Elect,
    Stop,
    Crash { lose: usize, zeros: usize },
    Truncate(u8),
}

fn step() -> impl Strategy<Value = Step> {
    let append = (1_i32..6, 61_usize..500, 0_i64..2_000, prop::option::of(0_i64..3));
    prop_oneof![
        20 => append.prop_map(|(records, bytes, timestamp, producer)| {
            Step::Append { records, bytes, timestamp, producer }
        }),
        6 => Just(Step::Durable),
        1 => Just(Step::Roll),
        2 => Just(Step::Checkpoint),
        1 => (0_usize..4).prop_map(Step::Release),
        1 => any::<u8>().prop_map(Step::Delete),
        1 => (0_u64..9_000).prop_map(Step::Retain),
        1 => Just(Step::Elect),
        1 => Just(Step::Stop),
        1 => (0_usize..900, 0_usize..200).prop_map(|(lose, zeros)| Step::Crash { lose, zeros }),
        1 => any::<u8>().prop_map(Step::Truncate),
    ]
}

/// The plain truth: every batch that is in the log, and the next sequence number of each producer.
struct Model {
    log: Log,
    disk: Disk,
    batches: Vec<(Offset, Offset, LeaderEpoch)>,
    epoch: i32,
}

impl Model {
    fn new(piece_bytes: usize) -> Model {
        let (log, mut disk) = log();
        disk.piece_bytes = piece_bytes;
        Model { log, disk, batches: Vec::new(), epoch: 0 }
    }

    fn end(&self) -> Offset {
        self.batches.last().map_or(Offset(0), |batch| batch.1.plus(1)).max(self.log.log_start_offset())
    }

    fn run(&mut self, step: Step) {
        match step {
            Step::Append { records, bytes, timestamp, producer } => {
                let mut next = batch(0, records).bytes_total(bytes).timestamp(timestamp);
                if let Some(id) = producer {
                    let last = self.log.producers().get(crate::ids::ProducerId(id));
                    let sequence = last.map_or(0, |entry| entry.last_sequence() + 1);
                    next = next.producer(id, 0, sequence);
                }
                let appended = self.disk.append(&mut self.log, next);
                assert_eq!(appended.base_offset, self.end());
                self.batches.push((appended.base_offset, appended.last_offset, LeaderEpoch(self.epoch)));
            }
            Step::Durable => self.log.mark_durable(self.log.log_end_offset()),
            Step::Roll => {
                if let Some(roll) = self.log.roll(NOW) {
                    self.disk.roll(&roll);
                }
            }
            Step::Checkpoint => self.disk.checkpoint(&mut self.log),
            Step::Release(keep) => {
                self.disk.write_active_indexes(&self.log);
                let all = EntryCounts { offsets: usize::MAX, times: usize::MAX, aborted: usize::MAX };
                self.log.release_indexes(keep, all);
            }
            Step::Delete(part) => {
                let (start, end) = (self.log.log_start_offset().0, self.log.high_watermark().0);
                let to = Offset(start + (end - start) * i64::from(part) / 255);
                self.log.delete_records_to(to).expect("at most the high watermark");
                self.disk.log_start_offset = self.log.log_start_offset();
                self.disk.epochs = Some(self.log.epochs().encode().into_bytes());
            }
            Step::Retain(kept) => self.retain(kept),
            Step::Elect => {
                self.epoch += 1;
                self.log.become_leader(LeaderEpoch(self.epoch));
                self.disk.epochs = Some(self.log.epochs().encode().into_bytes());
            }
            Step::Stop => {
                self.disk.checkpoint(&mut self.log);
                self.reload(true);
            }
            Step::Crash { lose, zeros } => self.crash(lose, zeros),
            Step::Truncate(part) => self.truncate(part),
        }
    }

    fn retain(&mut self, kept: u64) {
        let config = LogConfig { retention_bytes: Some(kept), retention_ms: None, ..config() };
        self.log.set_config(config);
        let before = self.log.bytes();
        let Retention::Done(retired) = self.log.enforce_retention(NOW, WALL) else {
            panic!("bytes need no timestamp");
        };
        if self.log.needs_checkpoint_to_retire() {
            self.disk.checkpoint(&mut self.log);
        }
        self.disk.retire(&self.log, &retired);
        let gone: u64 = retired.segments.iter().map(|segment| segment.bytes).sum();
        assert_eq!(self.log.bytes() + gone, before);
        self.log.set_config(config_without_limits());
    }

    /// The power goes: bytes behind the durable end may be missing, and space may be preallocated.
    fn crash(&mut self, lose: usize, zeros: usize) {
        let active = self.log.active_segment().base_offset();
        let durable = self.log.durable_end_offset();
        let safe = self.batches.iter().take_while(|batch| batch.1 < durable).count();
        let segment = self.disk.segments.get_mut(&active).expect("the active segment");
        let floor: usize = BatchBytes::of(segment)
            .take_while(|batch| batch.0 < durable)
            .map(|batch| batch.1)
            .last()
            .unwrap_or(0);
        let kept = segment.len().saturating_sub(lose).max(floor);
        segment.truncate(kept);
        segment.resize(kept + zeros, 0);
        let whole = BatchBytes::of(segment).count();
        let in_segment = self.batches.iter().filter(|batch| batch.0 >= active).count();
        self.batches.truncate(self.batches.len() - in_segment + whole);
        assert!(self.batches.len() >= safe);
        self.reload(false);
    }

    fn reload(&mut self, clean: bool) {
        let before = self.log.clone();
        let loaded = self.disk.load(self.disk.input(before.config(), clean));
        assert_eq!(loaded.damage, [], "nothing acknowledged was lost");
        self.log = loaded.log;
        assert_eq!(self.log.log_end_offset(), self.end());
        assert_eq!(self.log.log_start_offset(), before.log_start_offset());
        if clean {
            assert!(loaded.scanned_bytes < 2_000, "a clean stop leaves little to scan");
            assert_eq!(self.log.producers().iter().count(), before.producers().iter().count());
            assert_eq!(self.log.snapshots(), before.snapshots());
        }
        if self.log.log_end_offset() == before.log_end_offset() {
            let entries = |log: &Log| -> Vec<_> {
                log.producers().iter().map(|(id, entry)| (id, entry.batches().to_vec())).collect()
            };
            assert_eq!(entries(&self.log), entries(&before));
            let (old, new) = (before.active_segment(), self.log.active_segment());
            assert_eq!(new.largest_timestamp(), old.largest_timestamp());
            let (old, new) = (old.indexes(), self.disk.indexes_of(new.base_offset()));
            let offsets = old.offsets.released();
            assert_eq!(new.offsets.encode_from(offsets), old.offsets.encode_from(offsets));
            let times = old.times.released();
            assert_eq!(new.times.encode_from(times), old.times.encode_from(times));
        }
        self.log.become_leader(LeaderEpoch(self.epoch));
        self.disk.epochs = Some(self.log.epochs().encode().into_bytes());
    }

    fn truncate(&mut self, part: u8) {
        let (start, end) = (self.log.log_start_offset().0, self.end().0);
        let to = Offset(start + (end - start) * i64::from(part) / 255);
        self.disk.write_active_indexes(&self.log);
        match self.log.truncation(to) {
            Truncation::Nothing { .. } => assert_eq!(to, self.end()),
            Truncation::Anew => panic!("the log start offset is in the log"),
            Truncation::Load(input) => {
                self.batches.retain(|batch| batch.1 < to);
                let loaded = self.disk.load(*input);
                assert_eq!(loaded.damage, []);
                self.log = loaded.log;
                self.disk.recovery_point = self.log.recovery_point();
                self.disk.log_start_offset = self.log.log_start_offset();
                assert!(self.log.log_end_offset() <= to);
                assert_eq!(self.log.log_end_offset(), self.end());
                self.log.become_leader(LeaderEpoch(self.epoch));
                self.disk.epochs = Some(self.log.epochs().encode().into_bytes());
            }
        }
    }

    /// Every offset of the log, read one by one and in bulk, is what the plain list says.
    fn check(&self, max_bytes: u64) {
        let offsets = self.log.offsets();
        assert_eq!(offsets.log_end, self.end());
        let up_to = offsets.high_watermark;
        let readable: Vec<_> =
            self.batches.iter().filter(|batch| batch.1 >= offsets.log_start && batch.1 < up_to).collect();
        for from in offsets.log_start.0..offsets.log_end.0 {
            let read = self.disk.read(&self.log, request(from, up_to, max_bytes));
            let expected: Vec<_> =
                readable.iter().filter(|batch| batch.1.0 >= from).map(|batch| (batch.0, batch.1)).collect();
            assert!(expected.starts_with(&read), "{read:?} from {from} to {up_to} of {expected:?}");
            assert_eq!(read.is_empty(), expected.is_empty(), "at least one from {from} to {up_to}");
        }
        for batch in readable {
            assert_eq!(self.log.epochs().epoch_for(batch.0.max(offsets.log_start)), batch.2);
        }
    }
}

/// The batches of a segment: last offset and end.
struct BatchBytes;

impl BatchBytes {
    fn of(segment: &[u8]) -> impl Iterator<Item = (Offset, usize)> {
        crate::protocol::records::BatchIter::new(segment)
            .map_while(Result::ok)
            .take_while(|batch| crate::protocol::records::crc_is_valid(batch.bytes))
            .map(|batch| (batch.header.last_offset(), batch.position + batch.bytes.len()))
    }
}

fn config_without_limits() -> LogConfig {
    LogConfig { retention_ms: None, ..config() }
}

proptest! {
    #[test]
    fn a_log_is_the_list_of_its_batches(
        steps in prop::collection::vec(step(), 1..120),
        piece_bytes in 1_usize..400,
        max_bytes in 0_u64..1_500,
    ) {
        let mut model = Model::new(piece_bytes);
        model.log.set_config(config_without_limits());
        for step in steps {
            model.run(step);
            let _ = model.log.offsets();
        }
        model.check(max_bytes);
        model.log.mark_durable(model.log.log_end_offset());
        model.check(max_bytes);
    }
}
