//! One partition: where batches lie, how far the log reaches for sure, and where it may begin.
//!
//! A batch lies at a base offset once an acknowledgement or a reader has said so. `end_floor` is the end below which
//! nothing can vanish: records that were acknowledged as durable, or that a reader saw. Where the topic relaxes its
//! acknowledgements, a crash may take everything behind the last clean stop: what was known there is then in doubt,
//! until a reader meets it again (it stayed) or something else in its place (it is lost, and so is all behind it).

use std::collections::BTreeMap;
use std::rc::Rc;

use super::topics::Rules;
use super::{Invariant, Verdict, ensure};
use crate::records::{BatchId, BatchSpec, RecordId, Sequenced};

/// What was certain of a partition when an operation began.
#[derive(Clone, Copy, Debug)]
pub(super) struct View {
    /// No later answer may show an end below this.
    pub end_floor: i64,
    /// No later answer may show a start below this.
    pub start_floor: i64,
    /// How many crashes could have taken records before.
    pub crashes: u32,
    /// How many attempts to append had begun, where every one had been acknowledged or refused.
    pub settled: Option<u32>,
}

/// A batch that was sent to the partition.
#[derive(Debug)]
pub(super) struct Sent {
    pub spec: Rc<BatchSpec>,
    /// How often it was begun to be sent.
    pub attempts: u32,
    /// Attempts that certainly had no effect.
    pub refused: u32,
    /// How many processes had ended when it was first sent, and when it was last sent.
    pub boots: (u32, u32),
    /// The end that was certain when it was first sent: it cannot lie below.
    pub floor: i64,
    /// How many crashes there had been when it was first sent.
    pub sent_after: u32,
    /// Where it lies.
    pub bases: Vec<i64>,
    /// The base offset of an acknowledgement that nothing has put in doubt.
    pub acknowledged: Option<i64>,
    /// A crash took it.
    pub is_lost: bool,
}

impl Sent {
    /// How often it may lie in the log: a plain producer that sends again has asked for it twice.
    fn copies_max(&self) -> usize {
        match self.spec.producer {
            Some(_) => 1,
            None => (self.attempts - self.refused) as usize,
        }
    }
}

/// A batch at its place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Located {
    pub batch: BatchId,
    pub end: i64,
    /// How many crashes there had been when it was last seen there.
    pub seen_after: u32,
}

/// Everything known of one partition.
#[derive(Debug)]
pub struct Partition {
    pub(super) rules: Rules,
    pub(super) sent: BTreeMap<BatchId, Sent>,
    /// What lies where, by base offset.
    pub(super) located: BTreeMap<i64, Located>,
    /// Base offsets by sequence number, of each producer id and epoch.
    sequences: BTreeMap<(i64, i16), BTreeMap<i32, i64>>,
    pub(super) end_floor: i64,
    pub(super) start_floor: i64,
    /// No start above this has a cause.
    pub(super) start_ceiling: i64,
    /// The end at the last clean stop: no crash takes what lies before.
    safe_end: i64,
    /// Crashes that could take records: none where acknowledgements are durable.
    pub(super) crashes: u32,
    /// Bytes of it were destroyed on disk.
    pub damaged: bool,
    /// `delete.retention.ms` was changed: tombstones may go soon.
    pub(super) tombstones_go: bool,
}

impl Partition {
    pub(super) fn new(rules: Rules) -> Partition {
        Partition {
            rules,
            sent: BTreeMap::new(),
            located: BTreeMap::new(),
            sequences: BTreeMap::new(),
            end_floor: 0,
            start_floor: 0,
            start_ceiling: if rules.expires { i64::MAX } else { 0 },
            safe_end: 0,
            crashes: 0,
            damaged: false,
            tombstones_go: rules.tombstones_go,
        }
    }

    /// The end below which every offset is, or was, readable.
    #[must_use]
    pub fn sure_end(&self) -> i64 {
        self.end_floor
    }

    /// The log start offset that the log has at least.
    #[must_use]
    pub fn sure_start(&self) -> i64 {
        self.start_floor
    }

    pub(super) fn view(&self) -> View {
        let Partition { end_floor, start_floor, crashes, .. } = *self;
        View { end_floor, start_floor, crashes, settled: self.settled() }
    }

    /// How many attempts to append there were, if each has been acknowledged or refused.
    pub(super) fn settled(&self) -> Option<u32> {
        let is_settled = |sent: &Sent| sent.acknowledged.is_some() || sent.attempts == sent.refused;
        let attempts = self.sent.values().map(|sent| sent.attempts).sum();
        self.sent.values().all(is_settled).then_some(attempts)
    }

    /// Takes it that a batch is about to be sent to the process that follows `boot` others.
    pub(super) fn begin_append(&mut self, batch: &Rc<BatchSpec>, boot: u32) {
        let (floor, sent_after) = (self.end_floor, self.crashes);
        let sent = self.sent.entry(batch.id).or_insert_with(|| Sent {
            spec: Rc::clone(batch),
            attempts: 0,
            refused: 0,
            boots: (boot, boot),
            floor,
            sent_after,
            bases: Vec::new(),
            acknowledged: None,
            is_lost: false,
        });
        sent.attempts += 1;
        sent.boots.1 = boot;
        // What a crash took and is sent again may come to lie elsewhere.
        sent.is_lost = false;
    }

    pub(super) fn begin_delete(&mut self, before: i64) {
        let ceiling = if before < 0 { i64::MAX } else { before };
        self.start_ceiling = self.start_ceiling.max(ceiling);
    }

    /// The process crashed.
    pub(super) fn crashed(&mut self) {
        if !self.rules.durable {
            self.crashes += 1;
            self.end_floor = self.end_floor.min(self.safe_end);
            for sent in self.sent.values_mut() {
                sent.acknowledged = sent.acknowledged.filter(|&base| base < self.safe_end);
                sent.floor = sent.floor.min(self.safe_end);
            }
        }
    }

    /// The process ended well: everything that it acknowledged is on disk.
    pub(super) fn closed(&mut self) {
        self.safe_end = self.safe_end.max(self.end_floor);
    }

    /// Whether what an operation that began at `view` says may be out of date: a crash came between.
    pub(super) fn is_stale(&self, view: View) -> bool {
        view.crashes != self.crashes
    }

    /// Takes it that the log reaches to `end` and that nothing below can vanish any more.
    pub(super) fn reaches(&mut self, end: i64) {
        self.end_floor = self.end_floor.max(end);
    }

    /// Takes it that the log ends at `end`: what a crash put in doubt behind it is lost.
    pub(super) fn ends_at(&mut self, end: i64) {
        let behind: Vec<i64> = self.located.range(end..).map(|(base, _)| *base).collect();
        for base in behind {
            if self.located[&base].seen_after < self.crashes {
                self.lose(base);
            }
        }
    }

    fn lose(&mut self, base: i64) {
        let located = self.located.remove(&base).expect("only what is located can be lost");
        let sent = self.sent.get_mut(&located.batch).expect("only what was sent is located");
        sent.bases.retain(|other| *other != base);
        sent.is_lost = true;
        if let Some(producer) = sent.spec.producer {
            let key = (producer.producer_id, producer.epoch);
            if let Some(sequences) = self.sequences.get_mut(&key) {
                sequences.remove(&producer.sequence);
            }
        }
    }

    /// Takes it that a record was seen at an offset.
    pub(super) fn saw(&mut self, record: RecordId, offset: i64) -> Verdict {
        let base = offset - i64::from(record.index);
        self.locate(record.batch, base)
    }

    /// Takes it that a batch lies at a base offset.
    pub(super) fn locate(&mut self, batch: BatchId, base: i64) -> Verdict {
        let crashes = self.crashes;
        let Some(sent) = self.sent.get(&batch) else {
            return ensure(false, Invariant::Phantom, || {
                format!("batch {} at {base} was sent to another partition", batch.0)
            });
        };
        if sent.bases.contains(&base) {
            self.located.get_mut(&base).expect("both say the same").seen_after = crashes;
            return Ok(());
        }
        let (id, end) = (batch.0, base + sent.spec.count());
        ensure(!sent.is_lost, Invariant::CameBack, || format!("batch {id} at {base} was lost in a crash"))?;
        ensure(sent.attempts > sent.refused, Invariant::RefusedButStored, || {
            format!("batch {id} at {base} was refused")
        })?;
        if sent.sent_after == crashes {
            // The log ended here when it came, after the last crash.
            self.ends_at(base);
        }
        self.clear_doubtful(base, end);
        let copies_max = self.sent[&batch].copies_max();
        if self.sent[&batch].bases.len() >= copies_max {
            self.forget_doubtful(batch);
        }
        let sent = &self.sent[&batch];
        ensure(sent.bases.len() < copies_max, Invariant::Duplicate, || {
            format!("batch {id} lies at {:?} and at {base}", sent.bases)
        })?;
        self.check_room(batch, base, end)?;
        ensure(base >= sent.floor, Invariant::Reordered, || {
            format!("batch {id} lies at {base}, and the log reached {} before it was sent", sent.floor)
        })?;
        self.check_order(batch, base)?;
        self.check_boots(batch, base)?;
        self.located.insert(base, Located { batch, end, seen_after: crashes });
        let sent = self.sent.get_mut(&batch).expect("it was just looked at");
        sent.bases.push(base);
        Ok(())
    }

    /// Something lies from `base` to `end`: what a crash put in doubt there, and all behind it, is lost.
    fn clear_doubtful(&mut self, base: i64, end: i64) {
        let overlapping = self.located.range(..end).rev().take_while(|(_, located)| located.end > base);
        let doubtful = overlapping.filter(|(_, located)| located.seen_after < self.crashes);
        let taken: Vec<(i64, u32)> = doubtful.map(|(at, located)| (*at, located.seen_after)).collect();
        for (at, seen_after) in taken {
            self.lose_from(at, seen_after);
        }
    }

    /// A crash has taken what was last seen at `base` after so many crashes, and with it all behind that is known from
    /// then or before; what was put there by a later process may have come after that crash.
    fn lose_from(&mut self, base: i64, seen_after: u32) {
        let behind = self.located.range(base..).filter(|(_, located)| located.seen_after <= seen_after);
        let lost: Vec<i64> = behind.map(|(at, _)| *at).collect();
        for base in lost {
            self.lose(base);
        }
    }

    /// The batch turns up at a new place: where a crash has put its old one in doubt, it is there no longer.
    fn forget_doubtful(&mut self, batch: BatchId) {
        for base in self.sent[&batch].bases.clone() {
            if let Some(seen_after) = self.located.get(&base).map(|located| located.seen_after)
                && seen_after < self.crashes
            {
                self.lose_from(base, seen_after);
            }
        }
        self.sent.get_mut(&batch).expect("it was just looked at").is_lost = false;
    }

    fn check_room(&self, batch: BatchId, base: i64, end: i64) -> Verdict {
        let before = self.located.range(..end).next_back();
        let taken = before.filter(|(_, located)| located.end > base);
        ensure(taken.is_none(), Invariant::OffsetReused, || {
            let (at, located) = taken.expect("it is there");
            format!("batch {} at {base}..{end}, where batch {} lies from {at}", batch.0, located.batch.0)
        })
    }

    /// What was sent to a process that has ended lies before everything that only a later one was sent.
    fn check_boots(&self, batch: BatchId, base: i64) -> Verdict {
        let is_sure = |(_, it): &(&i64, &Located)| it.seen_after == self.crashes;
        let before = self.located.range(..base).next_back().filter(is_sure);
        let after = self.located.range(base + 1..).next().filter(is_sure);
        let sent = |(_, it): (&i64, &Located)| &self.sent[&it.batch];
        let this = &self.sent[&batch];
        let is_early = before.map(sent).is_none_or(|other| this.boots.1 >= other.boots.0);
        let is_late = after.map(sent).is_none_or(|other| other.boots.1 >= this.boots.0);
        ensure((is_early && is_late) || self.damaged, Invariant::CameBack, || {
            format!(
                "batch {} at {base} is of another process than its neighbours {before:?} and {after:?}",
                batch.0
            )
        })
    }

    /// An idempotent producer's batches lie in the order of their sequence numbers.
    fn check_order(&mut self, batch: BatchId, base: i64) -> Verdict {
        let Some(producer) = self.sent[&batch].spec.producer else { return Ok(()) };
        let sequences = self.sequences.entry((producer.producer_id, producer.epoch)).or_default();
        // What a crash has put in doubt says nothing.
        let is_sure = |at: &i64| self.located.get(at).is_some_and(|it| it.seen_after == self.crashes);
        let earlier = sequences.range(..producer.sequence).rfind(|(_, at)| is_sure(at));
        let later = sequences.range(producer.sequence + 1..).find(|(_, at)| is_sure(at));
        let fits = earlier.is_none_or(|(_, at)| *at < base) && later.is_none_or(|(_, at)| *at > base);
        let neighbours = (earlier.map(|it| (*it.0, *it.1)), later.map(|it| (*it.0, *it.1)));
        sequences.insert(producer.sequence, base);
        ensure(fits, Invariant::Reordered, || {
            format!("producer {producer:?} at {base}, beside sequences at offsets {neighbours:?}")
        })
    }

    /// Whether the batch of the same producer with that sequence number is its first and was refused: as with Kafka,
    /// the broker takes any number for the first of a producer that it does not know, and refuses what was sent before
    /// that.
    fn is_refused_first(&self, spec: &BatchSpec, sequence: i32) -> bool {
        let wanted = spec.producer.map(|producer| Sequenced { sequence, ..producer });
        let mut sent = self.sent.values();
        sequence == 0 && sent.any(|sent| sent.spec.producer == wanted && sent.refused > 0)
    }

    /// Whether the batches of the same producer from sequence number `next` to this one lay in the log and went with
    /// its cleaning before anybody saw them: their fate is unknown, and `offsets` before this one are free for them.
    fn may_be_cleaned(&self, spec: &BatchSpec, next: i32, offsets: i64) -> bool {
        let this = spec.producer.expect("it has a sequence");
        let missing = i64::from(this.sequence - next);
        let first = Sequenced { sequence: next, ..this };
        let is_it = |sent: &Sent| {
            let is_of_unknown_fate = sent.acknowledged.is_none() && sent.attempts > sent.refused;
            sent.spec.producer == Some(first) && is_of_unknown_fate && sent.bases.is_empty()
        };
        !self.rules.dense && (1..=offsets).contains(&missing) && self.sent.values().any(is_it)
    }

    /// Checks what can be said when everything has been read: idempotent producers left no hole.
    pub(super) fn finish(&self) -> Verdict {
        if self.damaged {
            return Ok(());
        }
        for sequences in self.sequences.values() {
            let (mut next, mut before) = (0, 0);
            for base in sequences.values() {
                let located = &self.located[base];
                let spec = &self.sent[&located.batch].spec;
                let sequence = spec.producer.expect("it has a sequence").sequence;
                // What was below the start may never have been seen.
                let excused = before < self.start_ceiling
                    || self.crashes > 0
                    || self.is_refused_first(spec, next)
                    || self.may_be_cleaned(spec, next, *base - before);
                ensure(sequence == next || excused, Invariant::SequenceGap, || {
                    format!("sequence {sequence} of {:?} at {base}, where {next} is next", spec.producer)
                })?;
                next = sequence + i32::try_from(spec.records.len()).expect("few");
                before = located.end;
            }
        }
        Ok(())
    }
}
