//! What the answers about one partition say, and whether they can be true.

use std::collections::BTreeSet;
use std::rc::Rc;

use ottla::errors::ErrorCode;

use super::partition::{Partition, Sent, View};
use super::{Invariant, Verdict, Violation, ensure};
use crate::client::{FoundOffset, OffsetQuery, Outcome, Unknown};
use crate::history::{Action, Answer, SeenRecords};
use crate::records::{BatchSpec, RecordSpec, Sequenced, Sighting};

impl Partition {
    /// Judges the end of an operation that began at `view`.
    pub(super) fn answered(&mut self, view: View, action: &Action, outcome: &Outcome<Answer>) -> Verdict {
        match (action, outcome) {
            (Action::Produce(_, batch), outcome) => self.append_ended(view, batch, outcome),
            (Action::Fetch(_, from), Outcome::Ok(Answer::Records(seen))) => self.fetched(view, *from, seen),
            (Action::Fetch(_, from), Outcome::Refused(ErrorCode::OffsetOutOfRange)) => {
                let readable = *from <= view.end_floor && *from >= self.start_ceiling;
                ensure(!readable || self.is_stale(view) || self.damaged, Invariant::Unreadable, || {
                    format!("offset {from} is refused; the log reaches {} for sure", view.end_floor)
                })
            }
            (Action::ReadBack(_), Outcome::Ok(Answer::Records(seen))) => self.read_back(view, seen),
            (Action::ListOffset(_, query), Outcome::Ok(Answer::Offset(found))) => {
                self.found(view, *query, *found)
            }
            (Action::DeleteRecords(_, before), Outcome::Ok(Answer::LowWatermark(low))) => {
                self.starts_at(view, *low)?;
                ensure(low >= before, Invariant::WrongOffset, || {
                    format!("deleted to {low}, not to {before}")
                })?;
                self.start_floor = self.start_floor.max(*low);
                Ok(())
            }
            (Action::DeleteRecords(_, before), Outcome::Refused(ErrorCode::OffsetOutOfRange)) => {
                let fits = *before <= view.end_floor && !self.is_stale(view);
                ensure(!fits, Invariant::Unreadable, || {
                    format!("records before {before} cannot be deleted; the log reaches {}", view.end_floor)
                })
            }
            _ => Ok(()),
        }
    }

    fn append_ended(&mut self, view: View, batch: &Rc<BatchSpec>, outcome: &Outcome<Answer>) -> Verdict {
        let sent = self.sent.get_mut(&batch.id).expect("begun");
        match outcome {
            Outcome::Ok(Answer::Appended(base)) => self.acknowledged(view, batch, *base),
            Outcome::Refused(code) => {
                sent.refused += 1;
                match code {
                    ErrorCode::OutOfOrderSequenceNumber | ErrorCode::DuplicateSequenceNumber => {
                        self.sequence_refused(view, batch)
                    }
                    _ => Ok(()),
                }
            }
            Outcome::NotSent => {
                sent.refused += 1;
                Ok(())
            }
            Outcome::Unknown(Unknown::Lost | Unknown::TimedOut | Unknown::Code(_) | Unknown::Unanswered)
            | Outcome::Ok(_)
            | Outcome::Garbled(_) => Ok(()),
        }
    }

    fn acknowledged(&mut self, view: View, batch: &BatchSpec, base: i64) -> Verdict {
        ensure(base >= 0, Invariant::WrongOffset, || format!("batch {} acknowledged at {base}", batch.id.0))?;
        if self.is_stale(view) {
            return Ok(());
        }
        self.locate(batch.id, base)?;
        self.reaches(base + batch.count());
        self.sent.get_mut(&batch.id).expect("it was just located").acknowledged = Some(base);
        Ok(())
    }

    /// A producer may be refused only where a batch before this one may be missing.
    fn sequence_refused(&self, view: View, batch: &BatchSpec) -> Verdict {
        let Some(producer) = batch.producer else {
            return Err(Violation::new(Invariant::SequenceRefused, "a plain batch has no sequence"));
        };
        let sequence_of = |sent: &Sent| {
            let same = |it: &Sequenced| (it.producer_id, it.epoch) == (producer.producer_id, producer.epoch);
            sent.spec.producer.filter(same).map(|it| it.sequence)
        };
        let is_before = |sent: &&Sent| sequence_of(sent).is_some_and(|sequence| sequence < producer.sequence);
        let all_before = self.sent.values().filter(is_before).all(|sent| sent.acknowledged.is_some());
        // As with Kafka, the broker takes any number for the first of a producer that it does not know: where the
        // first batch failed, a later one that was sent with it came before its second attempt.
        let is_first = !self.sent.values().any(|sent| is_before(&sent));
        let may_lie_there = |sent: &Sent| sent.attempts > sent.refused;
        let is_after = |sent: &Sent| sequence_of(sent).is_some_and(|sequence| sequence > producer.sequence);
        // And of a producer whose batches were compacted a start without a snapshot knows the last one alone: what was
        // stored before it is a duplicate that nobody can tell any more.
        let is_forgotten = |sent: &Sent| !self.rules.dense && sent.boots.0 < sent.boots.1;
        let is_overtaken = self
            .sent
            .get(&batch.id)
            .is_some_and(|sent| sent.attempts > 1 && (is_first || is_forgotten(sent)))
            && self.sent.values().any(|sent| is_after(sent) && may_lie_there(sent));
        let excused = self.rules.expires
            || self.crashes > 0
            || self.start_ceiling > 0
            || is_overtaken
            || self.is_stale(view);
        ensure(!all_before || excused || self.damaged, Invariant::SequenceRefused, || {
            format!("batch {} of {producer:?}; everything before is acknowledged", batch.id.0)
        })
    }

    /// The log is seen to end, for readers, at `end`.
    fn ends(&mut self, view: View, end: i64) -> Verdict {
        if self.is_stale(view) {
            return Ok(());
        }
        ensure(end >= view.end_floor || self.damaged, Invariant::EndWentBack, || {
            format!("the log ends at {end}; it reached {} before", view.end_floor)
        })?;
        self.ends_at(end);
        self.reaches(end);
        Ok(())
    }

    /// The log is seen to start at `start`.
    fn starts_at(&mut self, view: View, start: i64) -> Verdict {
        ensure(start <= self.start_ceiling || self.damaged, Invariant::StartMoved, || {
            format!("the log starts at {start}; nothing was deleted beyond {}", self.start_ceiling)
        })?;
        ensure(start >= view.start_floor || self.damaged, Invariant::StartWentBack, || {
            format!("the log starts at {start}; it was deleted to {}", view.start_floor)
        })
    }

    fn fetched(&mut self, view: View, from: i64, seen: &SeenRecords) -> Verdict {
        let SeenRecords { high_watermark, log_start, records, .. } = seen;
        self.starts_at(view, *log_start)?;
        self.ends(view, *high_watermark)?;
        let mut next = None;
        for record in records {
            let offset = record.offset;
            ensure(offset < *high_watermark, Invariant::AboveHighWatermark, || {
                format!("offset {offset} with the high watermark {high_watermark}")
            })?;
            let in_order = match next {
                None => true,
                Some(next) if self.rules.dense && !self.damaged => offset == next,
                Some(next) => offset >= next,
            };
            ensure(in_order, Invariant::Gap, || format!("offset {offset} where {next:?} is due"))?;
            next = Some(offset + 1);
        }
        let first = records.iter().map(|record| record.offset).find(|&offset| offset >= from);
        let begins = first.is_none_or(|first| first == from) || !self.rules.dense || self.damaged;
        ensure(begins, Invariant::Gap, || format!("asked for {from}, got {first:?} and later"))?;
        let fresh = !self.is_stale(view);
        for record in records {
            self.sighted(&record.sighting, record.offset, fresh)?;
        }
        Ok(())
    }

    fn sighted(&mut self, sighting: &Sighting, offset: i64, fresh: bool) -> Verdict {
        match sighting {
            Sighting::Known(record) if fresh => self.saw(*record, offset),
            Sighting::Known(record) => {
                let sent_here = self.sent.contains_key(&record.batch);
                ensure(sent_here, Invariant::Phantom, || format!("batch {} at {offset}", record.batch.0))
            }
            Sighting::Altered(record, what) => Err(Violation::new(
                Invariant::Altered,
                format!("record {} of batch {} at {offset}: another {what}", record.index, record.batch.0),
            )),
            Sighting::Stranger => {
                Err(Violation::new(Invariant::Phantom, format!("the record at {offset} is nobody's")))
            }
        }
    }

    /// Judges a whole read of the log while nobody wrote.
    fn read_back(&mut self, view: View, seen: &SeenRecords) -> Verdict {
        self.fetched(view, seen.log_start, seen)?;
        let last = seen.records.last().map(|record| record.offset + 1);
        let complete = last.unwrap_or(seen.log_start) == seen.high_watermark;
        ensure(complete || !self.rules.dense || self.damaged, Invariant::Gap, || {
            format!("read to {last:?} of {}..{}", seen.log_start, seen.high_watermark)
        })?;
        if self.rules.dense || self.damaged { Ok(()) } else { self.compacted(seen) }
    }

    /// Every record that compaction took has a later one of its key, or was a tombstone whose time had come.
    fn compacted(&self, seen: &SeenRecords) -> Verdict {
        let there: BTreeSet<i64> = seen.records.iter().map(|record| record.offset).collect();
        let mut replaced = BTreeSet::new();
        for (base, located) in self.located.iter().rev() {
            let records = &self.sent[&located.batch].spec.records;
            for (index, RecordSpec { key, value_bytes, .. }) in records.iter().enumerate().rev() {
                let offset = base + i64::try_from(index).expect("a batch has few records");
                let is_out = offset < seen.log_start || offset >= seen.high_watermark;
                let may_go = value_bytes.is_none() && self.tombstones_go;
                let has_gone = !is_out && !there.contains(&offset) && !may_go;
                let is_needed = key.is_none_or(|key| !replaced.contains(&key));
                ensure(!(has_gone && is_needed), Invariant::CompactedAway, || {
                    format!("offset {offset} with key {key:?} is gone, and no later record replaces it")
                })?;
                replaced.extend(*key);
            }
        }
        Ok(())
    }

    fn found(&mut self, view: View, query: OffsetQuery, found: FoundOffset) -> Verdict {
        match query {
            OffsetQuery::Latest => self.ends(view, found.offset),
            OffsetQuery::Earliest => self.starts_at(view, found.offset),
            OffsetQuery::At(_) | OffsetQuery::Largest if !self.rules.dense || self.damaged => Ok(()),
            OffsetQuery::At(timestamp) => {
                ensure(found.offset < 0 || found.timestamp >= timestamp, Invariant::WrongOffset, || {
                    format!("{found:?} for the time {timestamp}")
                })?;
                self.is_the_record(found)?;
                let earlier = self
                    .sure_records(view)
                    .find(|(_, record)| record.timestamp >= timestamp)
                    .filter(|(offset, _)| found.offset < 0 || *offset < found.offset);
                ensure(earlier.is_none(), Invariant::WrongOffset, || {
                    format!("{found:?} for the time {timestamp}, and {earlier:?} comes before")
                })
            }
            OffsetQuery::Largest => {
                // As with Kafka, a record on its way that is newer than all others hides them.
                let is_quiet = view.settled.is_some() && view.settled == self.settled();
                if found.offset < 0 && !is_quiet {
                    return Ok(());
                }
                self.is_the_record(found)?;
                let larger = self.sure_records(view).find(|(_, record)| record.timestamp > found.timestamp);
                ensure(larger.is_none(), Invariant::WrongOffset, || {
                    format!("{found:?} as the largest time, and there is {larger:?}")
                })
            }
        }
    }

    /// The records that were there for sure at `view` and still are.
    fn sure_records(&self, view: View) -> impl Iterator<Item = (i64, &RecordSpec)> {
        let start = self.start_ceiling;
        let sure = view.end_floor.min(self.end_floor);
        let located = self.located.range(..sure).filter(|(_, it)| it.seen_after == self.crashes);
        located
            .flat_map(|(base, it)| (*base..).zip(&self.sent[&it.batch].spec.records))
            .filter(move |(offset, _)| (start..sure).contains(offset))
    }

    /// Where the record at an offset is known, its time is the one that was told.
    fn is_the_record(&self, found: FoundOffset) -> Verdict {
        let FoundOffset { offset, timestamp } = found;
        let Some((base, located)) = self.located.range(..=offset).next_back() else { return Ok(()) };
        if offset >= located.end || located.seen_after < self.crashes {
            return Ok(());
        }
        let index = usize::try_from(offset - base).expect("an offset in a batch is behind its base");
        let sent = &self.sent[&located.batch].spec.records[index];
        ensure(sent.timestamp == timestamp, Invariant::WrongOffset, || {
            format!("{found:?}, and the record there has the time {}", sent.timestamp)
        })
    }
}
