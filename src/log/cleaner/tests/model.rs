//! Any history, cleaned again and again while time moves on, holds the last value of every key (the idea of Kafka's
//! `LogCompactionTester`), and its offsets, producers and transactions are as they were.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::support::*;
use crate::ids::{Offset, ProducerId, TimestampMs};
use crate::log::read::ReadRequest;
use crate::log::testing::disk::{NOW, WALL};
use crate::log::{AppendOutcome, Log, LogConfig, NewBatch};
use crate::protocol::compression::Codec;
use crate::protocol::records::{BatchBuilder, BatchHeader, ControlRecordType};

const RETENTION_MS: i64 = 1_000;

/// A key of few, or none; a value, or none.
type KeyAndValue = (Option<u8>, Option<u8>);

#[derive(Clone, Debug)]
enum Op {
    Plain(Vec<KeyAndValue>, Codec),
    Sequenced(i64, Vec<KeyAndValue>, Codec),
    Transactional(i64, Vec<KeyAndValue>, Codec),
    End(i64, bool),
    NewEpoch(i64),
    Roll,
    Clean { after_ms: i64, keys: usize },
    Restart { lose_snapshots: bool },
}

fn records() -> impl Strategy<Value = Vec<KeyAndValue>> {
    let key = prop_oneof![20 => (0_u8..12).prop_map(Some), 1 => Just(None)];
    let value = prop_oneof![4 => any::<u8>().prop_map(Some), 1 => Just(None)];
    prop::collection::vec((key, value), 1..6)
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let codec = || prop::sample::select(Codec::ALL.to_vec());
    let op = prop_oneof![
        6 => (records(), codec()).prop_map(|(records, codec)| Op::Plain(records, codec)),
        4 => (0_i64..3, records(), codec()).prop_map(|(id, records, codec)| Op::Sequenced(id, records, codec)),
        5 => (10_i64..13, records(), codec()).prop_map(|(id, records, codec)| Op::Transactional(id, records, codec)),
        4 => (10_i64..13, any::<bool>()).prop_map(|(id, committed)| Op::End(id, committed)),
        1 => prop_oneof![0_i64..3, 10_i64..13].prop_map(Op::NewEpoch),
        2 => Just(Op::Roll),
        3 => (prop_oneof![0_i64..300, 500_i64..1_500], 1_usize..16)
            .prop_map(|(after_ms, keys)| Op::Clean { after_ms, keys }),
        1 => any::<bool>().prop_map(|lose_snapshots| Op::Restart { lose_snapshots }),
    ];
    prop::collection::vec(op, 1..90)
}

/// A record that was appended.
#[derive(Clone, Debug)]
struct Written {
    found: Found,
    batch: Offset,
    /// The transaction, by its number.
    transaction: Option<usize>,
}

struct Model {
    world: World,
    now: i64,
    written: BTreeMap<i64, Written>,
    /// How each transaction ended; `None` while it is open.
    ended: Vec<Option<bool>>,
    open: BTreeMap<i64, usize>,
    /// Next sequence number and epoch.
    producers: BTreeMap<i64, (i32, i16)>,
    /// When the tombstones of a batch may go.
    horizons: BTreeMap<Offset, i64>,
}

impl Model {
    fn new(config: LogConfig) -> Model {
        Model {
            world: World::new(config),
            now: 10_000,
            written: BTreeMap::new(),
            ended: Vec::new(),
            open: BTreeMap::new(),
            producers: BTreeMap::new(),
            horizons: BTreeMap::new(),
        }
    }

    fn perform(&mut self, op: Op) {
        self.now += 1;
        match op {
            Op::Plain(records, codec) => self.append(BatchBuilder::new(), &records, codec, None),
            Op::Sequenced(id, records, codec) => self.append_of(id, &records, codec, None),
            Op::Transactional(id, records, codec) => {
                let count = self.ended.len();
                let number = *self.open.entry(id).or_insert(count);
                if number == count {
                    self.ended.push(None);
                }
                self.append_of(id, &records, codec, Some(number));
            }
            Op::End(id, committed) => {
                if let Some(number) = self.open.remove(&id) {
                    self.ended[number] = Some(committed);
                    let (_, epoch) = self.producers[&id];
                    self.world.end(id, epoch, committed);
                }
            }
            Op::NewEpoch(id) => {
                if !self.open.contains_key(&id) {
                    let (sequence, epoch) = self.producers.entry(id).or_default();
                    (*sequence, *epoch) = (0, *epoch + 1);
                }
            }
            Op::Roll => self.world.roll(),
            Op::Clean { after_ms, keys } => {
                self.now += after_ms;
                self.clean(keys);
            }
            Op::Restart { lose_snapshots } => self.restart(lose_snapshots),
        }
    }

    fn append_of(&mut self, id: i64, records: &[KeyAndValue], codec: Codec, transaction: Option<usize>) {
        let (sequence, epoch) = self.producers.entry(id).or_default();
        let producer = (ProducerId(id), crate::ids::ProducerEpoch(*epoch));
        let mut builder = BatchBuilder::new().producer(producer.0, producer.1, *sequence);
        *sequence += i32::try_from(records.len()).expect("few");
        if transaction.is_some() {
            builder = builder.transactional();
        }
        self.append(builder, records, codec, transaction);
    }

    fn append(
        &mut self,
        builder: BatchBuilder,
        records: &[KeyAndValue],
        codec: Codec,
        transaction: Option<usize>,
    ) {
        let keys: Vec<_> = records.iter().map(|(key, _)| key.map(|key| vec![b'k', key])).collect();
        let values: Vec<_> = records.iter().map(|(_, value)| value.map(|value| vec![value; 9])).collect();
        let rows: Vec<Row<'_>> =
            keys.iter().zip(&values).map(|(key, value)| (key.as_deref(), value.as_deref())).collect();
        let appended = self.world.append(with_codec(rows_of(builder, self.now, &rows), codec), None);
        for (at, (key, value)) in (0..).zip(keys.into_iter().zip(values)) {
            let offset = appended.base_offset.0 + at;
            let found = Found { offset, timestamp: self.now + at, key, value };
            self.written.insert(offset, Written { found, batch: appended.base_offset, transaction });
        }
    }

    /// Whether a reader of committed records gets the record, now or ever.
    fn counts(&self, written: &Written) -> bool {
        written.transaction.is_none_or(|number| self.ended[number] == Some(true))
    }

    fn clean(&mut self, keys: usize) {
        let upper = self.world.look(self.now).upper;
        let from = self.world.clean_to;
        let bases: Vec<Offset> = self.world.disk.segments.keys().copied().collect();
        let end = self.world.clean(self.now, keys).end();
        assert!(end <= upper.max(from.unwrap_or_default()), "no further than it may");
        assert!(from.is_none_or(|from| end > from || from >= upper), "a cleaning gets on");
        if from.is_some_and(|from| from >= upper) {
            assert_eq!(Some(end.max(upper)), from, "nothing was dirty");
        }
        // Whole segments are filtered, those that the map reached.
        let filtered =
            bases.into_iter().filter(|base| *base >= end).min().map_or(upper, |base| base.min(upper));
        self.forget_what_went(end, filtered);
        self.check_batches(upper);
    }

    /// Takes out of the model what a cleaning up to `end` must have removed.
    fn forget_what_went(&mut self, end: Offset, filtered: Offset) {
        let mut last: BTreeMap<Vec<u8>, i64> = BTreeMap::new();
        for written in self.written.values() {
            if written.found.offset < end.0
                && self.counts(written)
                && let Some(key) = &written.found.key
            {
                last.insert(key.clone(), written.found.offset);
            }
        }
        let mut settled = BTreeSet::new();
        let (now, horizons, ended) = (self.now, &self.horizons, &self.ended);
        self.written.retain(|&offset, written| {
            let is_aborted = written.transaction.is_some_and(|number| ended[number] == Some(false));
            if is_aborted && offset < filtered.0 {
                return false;
            }
            let Some(key) = &written.found.key else { return offset >= end.0 };
            if offset >= end.0 || last.get(key) != Some(&offset) {
                return offset >= end.0;
            }
            let horizon = horizons.get(&written.batch).copied().filter(|_| written.found.value.is_none());
            let stays = horizon.is_none_or(|horizon| now < horizon);
            if stays && written.found.value.is_none() {
                settled.insert(written.batch);
            }
            stays
        });
        for batch in settled {
            self.horizons.entry(batch).or_insert(now + RETENTION_MS);
        }
    }

    fn check_batches(&self, upper: Offset) {
        let batches = self.world.batches();
        let has_end = |end: Offset| batches.iter().any(|batch| batch.header.next_offset() == end);
        assert!(upper == Offset(0) || has_end(upper), "the last batch of what is cleaned stays");
        for (id, entry) in self.world.log.producers().iter() {
            let last = entry.batches().last().expect("each has sent something");
            let batch = batches.iter().find(|batch| batch.header.last_offset() == last.last_offset);
            let header = batch.expect("the last batch of each producer stays").header;
            assert_eq!((header.producer_id, header.last_sequence()), (id, last.last_sequence));
            assert_eq!(header.producer_epoch, entry.epoch);
        }
    }

    /// What is there is what the model says, and what readers of committed records make of it is the truth.
    fn check(&self, truth: &BTreeMap<Vec<u8>, Option<Vec<u8>>>) {
        let left: Vec<Found> = self.written.values().map(|written| written.found.clone()).collect();
        assert_eq!(self.world.records(), left);
        let mut seen = consume(&self.world);
        seen.retain(|_, value| value.is_some());
        let mut truth = truth.clone();
        truth.retain(|_, value| value.is_some());
        assert_eq!(seen, truth, "the last value of each key");
        let log = &self.world.log;
        for from in (0..log.log_end_offset().0).step_by(7) {
            let request = ReadRequest {
                from: Offset(from),
                up_to: log.log_end_offset(),
                max_bytes: 1,
                at_least_one: true,
            };
            if let Some((_, last)) = self.world.disk.read(log, request).first() {
                assert!(*last >= Offset(from), "a read begins at or behind what it was asked for");
            }
        }
    }

    fn restart(&mut self, lose_snapshots: bool) {
        let world = &mut self.world;
        if lose_snapshots {
            world.disk.snapshots.clear();
            world.clean_to = None;
        }
        let before = world.log.clone();
        let loaded = world.disk.load(world.disk.input(before.config(), false));
        assert_eq!(loaded.damage, []);
        world.log = loaded.log;
        let log = &world.log;
        assert_eq!(log.offsets(), before.offsets());
        if log.log_end_offset() > Offset(0) {
            assert_eq!(log.epochs(), before.epochs());
        }
        let states = |log: &Log| -> Vec<_> {
            let entries = log.producers().iter();
            entries.map(|(id, e)| (id, e.epoch, e.last_sequence(), e.transaction_first_offset)).collect()
        };
        assert_eq!(states(log), states(&before));
        for (id, entry) in before.producers().iter() {
            let last = entry.batches().last().expect("each has sent something");
            check_duplicate(log, id, entry.epoch, last);
        }
    }

    /// The last value of each key among the records that are committed below the last stable offset.
    fn truth(&self, history: &BTreeMap<i64, Written>) -> BTreeMap<Vec<u8>, Option<Vec<u8>>> {
        let stable = self.world.log.last_stable_offset().0;
        let committed = history.range(..stable).filter(|(_, written)| self.counts(written));
        let keyed = committed.filter_map(|(_, written)| {
            written.found.key.clone().map(|key| (key, written.found.value.clone()))
        });
        keyed.collect()
    }
}

/// The producer's last batch is a duplicate when it comes again.
fn check_duplicate(
    log: &Log,
    id: ProducerId,
    epoch: crate::ids::ProducerEpoch,
    last: &crate::log::producer_entry::SequencedBatch,
) {
    let mut builder = BatchBuilder::new().producer(id, epoch, last.first_sequence());
    for _ in 0..=last.offset_delta {
        builder.append(&crate::protocol::records::NewRecord { key: Some(b"k"), ..Default::default() });
    }
    let header = BatchHeader::parse(&builder.build()).expect("a batch");
    let outcome = log.clone().append(&NewBatch::of_client(header), NOW, WALL).expect("it is not refused");
    let AppendOutcome::Duplicate(duplicate) = outcome else { panic!("it was appended again") };
    assert_eq!(duplicate.last_offset, last.last_offset);
}

/// What a consumer of committed records makes of the log: the algorithm of Kafka's own.
fn consume(world: &World) -> BTreeMap<Vec<u8>, Option<Vec<u8>>> {
    let end = world.log.last_stable_offset();
    let mut aborted = world.disk.aborted(&world.log, Offset(0), end);
    let mut skipped = BTreeSet::new();
    let mut values = BTreeMap::new();
    for batch in world.batches().into_iter().filter(|batch| batch.header.last_offset() < end) {
        let header = batch.header;
        aborted.retain(|transaction| {
            let is_ahead = transaction.first_offset > header.last_offset();
            if !is_ahead {
                skipped.insert(transaction.producer_id);
            }
            is_ahead
        });
        if header.attributes.is_control() {
            let kind =
                batch.records.first().and_then(|record| ControlRecordType::from_key(record.key.as_ref()?));
            if kind == Some(ControlRecordType::Abort) {
                skipped.remove(&header.producer_id);
            }
        } else if !(header.attributes.is_transactional() && skipped.contains(&header.producer_id)) {
            let keyed = batch.records.into_iter().filter_map(|record| Some((record.key?, record.value)));
            values.extend(keyed);
        }
    }
    values
}

fn run(ops: Vec<Op>, config: LogConfig) {
    let mut model = Model::new(config);
    let mut history = BTreeMap::new();
    for op in ops {
        let is_check = matches!(op, Op::Clean { .. } | Op::Restart { .. });
        model.perform(op);
        for (offset, written) in &model.written {
            history.entry(*offset).or_insert_with(|| written.clone());
        }
        if is_check {
            model.check(&model.truth(&history));
        }
    }
    let open: Vec<i64> = model.open.keys().copied().collect();
    open.into_iter().for_each(|id| model.perform(Op::End(id, true)));
    model.perform(Op::Roll);
    for _ in 0..3 {
        model.perform(Op::Clean { after_ms: RETENTION_MS, keys: 100 });
        model.check(&model.truth(&history));
    }
    model.perform(Op::Restart { lose_snapshots: true });
    model.check(&model.truth(&history));
    let alive = model.truth(&history).values().filter(|value| value.is_some()).count();
    assert_eq!(model.world.records().len(), alive, "one record of each key is left, and no tombstone");
    let stamp = TimestampMs(model.now);
    assert!(
        model
            .world
            .batches()
            .iter()
            .all(|batch| batch.header.max_timestamp <= stamp.max(TimestampMs(20_000)))
    );
}

proptest! {
    #[test]
    fn a_compacted_log_is_the_map_of_last_values(
        ops in ops(),
        segment_bytes in 250_u64..3_000,
        index_interval_bytes in 0_u64..400,
    ) {
        run(ops, LogConfig { segment_bytes, index_interval_bytes, delete_retention_ms: RETENTION_MS, ..config() });
    }
}
