//! Whether what a partition gave back is what was sent: every batch whole, every record once, in order.
//!
//! Pure; owned by the consumer of the partition. Records of ours carry a number per lane and partition (see
//! [`crate::stamp`]); all others are checked by their offsets, which have no holes in a partition that is not
//! compacted and has no transactions. What must hold: whatever is wrong is counted and the first places are named;
//! nothing is wrong twice.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use ottla::ids::{Offset, TimestampMs};
use ottla::protocol::compression::{Codec, Decompressor};
use ottla::protocol::records::{Batch, BatchHeader, RecordIter, TimestampType, crc_is_valid};

use crate::stamp::{LaneId, Stamp};

/// A batch may decompress to so many bytes: far above what a broker takes.
const DECOMPRESSED_BYTES_MAX: usize = 1 << 30;
/// Gaps that a lane remembers, to tell a late record from a second one.
const GAPS_MAX: usize = 10_000;

/// What can be wrong with a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// It was acknowledged, or lies between others, and is not there.
    Lost,
    /// It came a second time.
    Duplicate,
    /// It came behind a later one.
    Reordered,
    /// Its batch is not what was written.
    Damaged,
    /// A number of another run that is not there: nobody here knows whether its record was ever acknowledged.
    Unknown,
    /// It came beside as many as were sent, without a number: a second time, or from somebody else.
    Surplus,
}

impl Fault {
    /// In one word, as the report has it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Fault::Lost => "lost",
            Fault::Duplicate => "duplicate",
            Fault::Reordered => "out of order",
            Fault::Damaged => "damaged",
            Fault::Unknown => "not there",
            Fault::Surplus => "too many",
        }
    }

    /// Whether it says that something is wrong for certain.
    pub(crate) fn is_certain(self) -> bool {
        match self {
            Fault::Lost | Fault::Duplicate | Fault::Reordered | Fault::Damaged => true,
            Fault::Unknown | Fault::Surplus => false,
        }
    }
}

/// One thing that is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    /// What.
    pub fault: Fault,
    /// Records concerned.
    pub records: u64,
    /// The topic.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: i32,
    /// The offset at which it was found.
    pub offset: Offset,
    /// In a few words.
    pub detail: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, records) = (self.fault.name(), self.records);
        let noun = if records == 1 { "record" } else { "records" };
        let Finding { topic, partition, offset: Offset(offset), detail, .. } = self;
        write!(f, "{records} {noun} {name}: partition {partition} of {topic} at offset {offset}: {detail}")
    }
}

/// Numbers of a lane's records, from one to before another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    /// The first.
    pub from: u64,
    /// Behind the last.
    pub to: u64,
}

/// What a lane sent to one partition, as its producer knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sent {
    /// Records sent.
    pub records: u64,
    /// Those whose sending failed: they may be there or not.
    pub doubtful: Vec<Span>,
}

impl Sent {
    /// Records that have to be there.
    fn least(&self) -> u64 {
        self.records.saturating_sub(self.doubtful.iter().map(|span| span.to - span.from).sum())
    }

    /// Behind the last number that has to be there.
    fn last_certain(&self) -> u64 {
        let certain = without(Span { from: 0, to: self.records }, &self.doubtful);
        certain.iter().map(|span| span.to).max().unwrap_or(0)
    }
}

/// How one lane's records have come so far.
#[derive(Debug)]
struct Lane {
    next: u64,
    /// The offset of its last record; before the first one that was asked for where none came.
    last: Offset,
    /// Numbers that were passed over, with the offset of the record behind them.
    gaps: Vec<(Span, Offset)>,
    /// So many of them lie in holes, which were told when they were found.
    told: u64,
}

/// Offsets whose records were told to be lost or damaged.
#[derive(Clone, Copy, Debug)]
struct Hole {
    from: Offset,
    to: Offset,
    /// Records of it that no lane has missed yet.
    left: u64,
}

/// One record of ours as it came.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Received {
    /// When it was due, in nanoseconds of the wall clock; in whole milliseconds where it has no stamp, and `None` where
    /// it has the broker's time besides.
    pub due_nanos: Option<u64>,
    /// The run that sent it; `None` without a stamp.
    pub run: Option<u32>,
    /// Bytes of its key and its value.
    pub bytes: u64,
}

/// The records of one partition, checked as they come.
#[derive(Debug)]
pub(crate) struct Verifier {
    /// As findings name it.
    topic: Arc<str>,
    partition: i32,
    /// The offset of the first record.
    first: Offset,
    /// The offset that the next record has.
    next: Offset,
    /// Whether the first record of a lane has to be its number 0.
    from_start: bool,
    /// The run whose lanes begin behind the position in any case.
    own_run: u32,
    /// Whether offsets and numbers are looked at.
    orders: bool,
    lanes: BTreeMap<LaneId, Lane>,
    holes: Vec<Hole>,
    /// No batch of the answer at hand has counted.
    is_first: bool,
    findings: Vec<Finding>,
    decompressor: Decompressor,
}

impl Verifier {
    /// A check of `partition` from offset `next`. `from_start`: nothing of the partition was before that.
    /// The lanes of `own_run` begin behind that in any case.
    pub(crate) fn new(partition: i32, next: Offset, from_start: bool, own_run: u32) -> Verifier {
        Verifier {
            topic: "".into(),
            partition,
            first: next,
            next,
            from_start,
            own_run,
            orders: true,
            lanes: BTreeMap::new(),
            holes: Vec::new(),
            is_first: true,
            findings: Vec::new(),
            decompressor: Decompressor::new(),
        }
    }

    /// Looks at nothing but whether batches are whole: a compacted partition has holes.
    pub(crate) fn only_bytes(self) -> Verifier {
        Verifier { orders: false, ..self }
    }

    /// The same of a partition of `topic`, for the findings.
    pub(crate) fn of(self, topic: &Arc<str>) -> Verifier {
        Verifier { topic: Arc::clone(topic), ..self }
    }

    /// The offset behind everything that was checked.
    pub(crate) fn next(&self) -> Offset {
        self.next
    }

    /// What was found since this was last asked.
    pub(crate) fn take_findings(&mut self) -> Vec<Finding> {
        std::mem::take(&mut self.findings)
    }

    /// Says that the next batch is the first of an answer.
    pub(crate) fn answer(&mut self) {
        self.is_first = true;
    }

    /// Checks the next batch and passes each of its records on; gives the number of records that count. Records
    /// before the position, as a broker may send them with the batch that holds it, are passed over: no answer has
    /// them but at its beginning, and none has a batch that ends before the position.
    pub(crate) fn batch(&mut self, batch: &Batch<'_>, mut each: impl FnMut(Received)) -> u64 {
        let header = &batch.header;
        self.check_repeated(header);
        if header.next_offset() <= self.next {
            return 0;
        }
        self.is_first = false;
        let count = u64::try_from(header.record_count).unwrap_or(0);
        self.check_hole(header.base_offset);
        let from = self.next.max(header.base_offset);
        self.next = header.next_offset();
        if !crc_is_valid(batch.bytes) {
            self.damaged((from, count), header, "the batch is not that of its CRC".to_owned());
            return 0;
        }
        if header.attributes.is_control() {
            return 0;
        }
        let mut decompressor = std::mem::take(&mut self.decompressor);
        let payload = match header.attributes.compression() {
            Some(Codec::None) => Ok(batch.payload()),
            Some(codec) => decompressor
                .decompress(codec, batch.payload(), DECOMPRESSED_BYTES_MAX)
                .map_err(|error| error.to_string()),
            None => Err("a compression that does not exist".to_owned()),
        };
        let good = match payload {
            Ok(payload) => self.records(payload, batch, from, &mut each),
            Err(reason) => {
                self.damaged((from, count), header, reason);
                0
            }
        };
        self.decompressor = decompressor;
        good
    }

    /// Whether records of what lanes had sent are still to come: those behind each lane's last one, or, of records
    /// without numbers, as many as were acknowledged.
    pub(crate) fn lacks(&self, sent: &[(LaneId, Sent)], numbered: bool) -> bool {
        if !(numbered && self.orders) {
            return self.came() < sent.iter().map(|(_, sent)| sent.least()).sum();
        }
        sent.iter().any(|(lane, sent)| self.lanes.get(lane).map_or(0, |lane| lane.next) < sent.last_certain())
    }

    /// Offsets from the first one to behind the last: those that were passed over are lost records already.
    fn came(&self) -> u64 {
        (self.next.0 - self.first.0) as u64
    }

    /// Notes that all batches were read and that `lane` had sent `sent` to this partition.
    pub(crate) fn conclude(&mut self, lane: LaneId, sent: &Sent) {
        if !self.orders {
            return;
        }
        let Lane { next, last, gaps: mut missing, mut told } =
            self.lanes.remove(&lane).unwrap_or_else(|| self.unseen(0));
        if next < sent.records {
            told += self.take_holes((last, self.next), sent.records - next);
            missing.push((Span { from: next, to: sent.records }, self.next));
        }
        for (span, offset) in missing {
            for part in without(span, &sent.doubtful) {
                self.missed(Fault::Lost, (lane, part), (offset, &mut told));
            }
        }
    }

    /// Notes that all batches were read, to which the lanes had sent `sent` without numbers: their count is what is
    /// left to check.
    pub(crate) fn conclude_count(&mut self, sent: &[(LaneId, Sent)]) {
        if !self.orders {
            return;
        }
        let most: u64 = sent.iter().map(|(_, sent)| sent.records).sum();
        let least = sent.iter().map(|(_, sent)| sent.least()).sum();
        let came = self.came();
        if (least..=most).contains(&came) {
            return;
        }
        let detail = format!("{least} records were acknowledged and {came} came");
        if came < least {
            return self.found(Fault::Lost, least - came, self.next, detail);
        }
        let detail = format!("{detail}: some of them twice, or somebody else wrote to it");
        self.found(Fault::Surplus, came - most, self.next, detail);
    }

    /// Notes that no more will come of any lane: what was passed over is lost, or was never acknowledged to its run.
    pub(crate) fn conclude_rest(&mut self) {
        for (lane, mut seen) in std::mem::take(&mut self.lanes) {
            for (span, offset) in seen.gaps {
                self.missed(self.fault_of_gap(lane), (lane, span), (offset, &mut seen.told));
            }
        }
    }

    fn records(
        &mut self,
        payload: &[u8],
        batch: &Batch<'_>,
        from: Offset,
        each: &mut impl FnMut(Received),
    ) -> u64 {
        let header = &batch.header;
        let is_sender_s = header.attributes.timestamp_type() == TimestampType::CreateTime;
        let mut good = 0;
        for record in RecordIter::new(payload, header.record_count) {
            let record = match record {
                Ok(record) => record,
                Err(error) => {
                    let left = u64::try_from(header.record_count).unwrap_or(0).saturating_sub(good);
                    let from = Offset(from.0 + i64::try_from(good).unwrap_or(0));
                    self.damaged((from, left.max(1)), header, error.to_string());
                    break;
                }
            };
            let offset = record.offset(header);
            if offset < from {
                continue;
            }
            good += 1;
            let stamp = record.value.and_then(Stamp::of);
            if let Some(stamp) = stamp.filter(|_| self.orders) {
                self.number(&stamp, offset);
            }
            let timestamp = || is_sender_s.then(|| nanos(record.timestamp(header)));
            let due_nanos = stamp.map(|stamp| stamp.due_nanos).or_else(timestamp);
            let bytes = record.key.map_or(0, <[u8]>::len) + record.value.map_or(0, <[u8]>::len);
            let run = stamp.map(|stamp| stamp.lane.run);
            each(Received { due_nanos, run, bytes: bytes as u64 });
        }
        good
    }

    /// Whether the offsets go on without a hole.
    fn check_hole(&mut self, base: Offset) {
        if base > self.next && self.orders {
            let records = (base.0 - self.next.0) as u64;
            let detail = format!("offsets {} to {} are not there", self.next.0, base.0 - 1);
            self.found(Fault::Lost, records, self.next, detail);
            self.hole(Hole { from: self.next, to: base, left: records });
        }
    }

    /// Whether what the batch has came before.
    fn check_repeated(&mut self, header: &BatchHeader) {
        let (base, next) = (header.base_offset, header.next_offset());
        let records = u64::try_from(header.record_count).unwrap_or(0);
        let is_behind = next <= self.next;
        if !self.orders || base >= self.next || records == 0 || (self.is_first && !is_behind) {
            return;
        }
        let again = if is_behind { records } else { records.min((self.next.0 - base.0) as u64) };
        let detail = format!("offsets {} to {} came where {} was next", base.0, next.0 - 1, self.next.0);
        self.found(Fault::Duplicate, again, base, detail);
    }

    /// Notes that records of a batch, from this offset on, are not what was written.
    fn damaged(&mut self, (from, records): (Offset, u64), header: &BatchHeader, reason: String) {
        self.found(Fault::Damaged, records, header.base_offset, reason);
        self.hole(Hole { from, to: header.next_offset(), left: records });
    }

    fn hole(&mut self, hole: Hole) {
        if self.holes.len() < GAPS_MAX {
            self.holes.push(hole);
        }
    }

    /// Records of holes between two offsets, at most so many, that no lane has missed before.
    fn take_holes(&mut self, (last, behind): (Offset, Offset), most: u64) -> u64 {
        let mut taken = 0;
        for hole in self.holes.iter_mut().filter(|hole| hole.from > last && hole.to <= behind) {
            let part = hole.left.min(most - taken);
            hole.left -= part;
            taken += part;
        }
        self.holes.retain(|hole| hole.left > 0);
        taken
    }

    /// A lane of which nothing came, and whose next record has this number.
    fn unseen(&self, next: u64) -> Lane {
        Lane { next, last: Offset(self.first.0 - 1), gaps: Vec::new(), told: 0 }
    }

    fn number(&mut self, stamp: &Stamp, offset: Offset) {
        let first = if self.from_start || stamp.lane.run == self.own_run { 0 } else { stamp.sequence };
        let unseen = self.unseen(first);
        let lane = self.lanes.entry(stamp.lane).or_insert(unseen);
        let sequence = stamp.sequence;
        if sequence >= lane.next {
            let (gap, last) = (Span { from: lane.next, to: sequence }, lane.last);
            (lane.next, lane.last) = (sequence + 1, offset);
            if gap.from < gap.to {
                self.passed_over(stamp.lane, (gap, last), offset);
            }
            return;
        }
        let next = lane.next;
        let late = fill(&mut lane.gaps, sequence);
        let detail = format!("record {sequence} of client {} came behind {}", stamp.lane.client, next - 1);
        self.found(if late { Fault::Reordered } else { Fault::Duplicate }, 1, offset, detail);
    }

    /// Notes numbers that a lane has not between the offset of its last record and this one.
    fn passed_over(&mut self, lane: LaneId, (gap, last): (Span, Offset), offset: Offset) {
        let mut told = self.take_holes((last, offset), gap.to - gap.from);
        let of_lane = self.lanes.get_mut(&lane).expect("a record of it has just come");
        if of_lane.gaps.len() < GAPS_MAX {
            of_lane.gaps.push((gap, offset));
            of_lane.told += told;
        } else {
            self.missed(self.fault_of_gap(lane), (lane, gap), (offset, &mut told));
        }
    }

    /// What a gap in a lane's numbers is where the offsets have none. Of another run nobody knows which batches were
    /// refused or went unanswered.
    fn fault_of_gap(&self, lane: LaneId) -> Fault {
        if lane.run == self.own_run { Fault::Lost } else { Fault::Unknown }
    }

    /// Notes that records of a lane are not there, but for those that were told.
    fn missed(&mut self, fault: Fault, (lane, span): (LaneId, Span), (offset, told): (Offset, &mut u64)) {
        let known = (*told).min(span.to - span.from);
        *told -= known;
        if known < span.to - span.from {
            let (from, last, client) = (span.from, span.to - 1, lane.client);
            let mut detail = format!("records {from} to {last} of client {client} are not before it");
            if fault == Fault::Unknown {
                detail.push_str(": numbers that were never acknowledged by that run, or lost");
            }
            self.found(fault, span.to - span.from - known, offset, detail);
        }
    }

    fn found(&mut self, fault: Fault, records: u64, offset: Offset, detail: String) {
        let (topic, partition) = (Arc::clone(&self.topic), self.partition);
        self.findings.push(Finding { fault, records, topic, partition, offset, detail });
    }
}

/// Takes a number out of the gaps; false where it is in none.
fn fill(gaps: &mut Vec<(Span, Offset)>, number: u64) -> bool {
    let Some(at) = gaps.iter().position(|(span, _)| (span.from..span.to).contains(&number)) else {
        return false;
    };
    let (span, offset) = gaps.swap_remove(at);
    for part in without(span, &[Span { from: number, to: number + 1 }]) {
        gaps.push((part, offset));
    }
    true
}

/// The parts of `span` that are in none of `others`.
fn without(span: Span, others: &[Span]) -> Vec<Span> {
    let mut parts = vec![span];
    for other in others {
        let cut = |part: Span| {
            let before = Span { from: part.from, to: part.to.min(other.from) };
            let behind = Span { from: part.from.max(other.to), to: part.to };
            [before, behind].into_iter().filter(|part| part.from < part.to)
        };
        parts = parts.into_iter().flat_map(cut).collect();
    }
    parts
}

fn nanos(timestamp: TimestampMs) -> u64 {
    u64::try_from(timestamp.0).unwrap_or(0).saturating_mul(1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ottla::protocol::records::{BatchBuilder, BatchIter, NewRecord, edit};

    const LANE: LaneId = LaneId { run: 5, client: 1 };

    fn batch(base: i64, numbers: impl IntoIterator<Item = u64>) -> Vec<u8> {
        coded(base, numbers, Codec::None)
    }

    fn coded(base: i64, numbers: impl IntoIterator<Item = u64>, codec: Codec) -> Vec<u8> {
        let mut builder = BatchBuilder::new().base_offset(Offset(base)).compression(codec, None);
        for sequence in numbers {
            let value = Stamp { lane: LANE, sequence, due_nanos: 77 }.to_bytes();
            let timestamp = TimestampMs(9);
            builder.append(&NewRecord { timestamp, key: None, value: Some(&value), headers: &[] });
        }
        builder.build()
    }

    fn check(verifier: &mut Verifier, bytes: &[u8]) -> u64 {
        let mut passed = 0;
        let mut counted = 0;
        verifier.answer();
        for batch in BatchIter::new(bytes) {
            counted += verifier.batch(&batch.expect("whole batches"), |_| passed += 1);
        }
        assert_eq!(counted, passed, "what counts is passed on");
        counted
    }

    fn faults(verifier: &mut Verifier) -> Vec<(Fault, u64, i64)> {
        let findings = verifier.take_findings();
        findings.iter().map(|finding| (finding.fault, finding.records, finding.offset.0)).collect()
    }

    fn sent(records: u64) -> Sent {
        Sent { records, doubtful: Vec::new() }
    }

    #[test]
    fn what_is_whole_has_no_findings() {
        for codec in Codec::ALL {
            let mut verifier = Verifier::new(3, Offset(0), true, 1);
            let bytes = [coded(0, 0..10, codec), coded(10, 10..15, codec)].concat();
            assert_eq!(check(&mut verifier, &bytes), 15);
            verifier.conclude(LANE, &sent(15));
            assert_eq!((faults(&mut verifier), verifier.next()), (vec![], Offset(15)));
        }
    }

    #[test]
    fn a_hole_in_the_offsets_and_one_in_the_numbers_are_losses() {
        let mut verifier = Verifier::new(3, Offset(0), true, 1);
        check(&mut verifier, &[batch(0, 0..2), batch(5, 2..4), batch(7, 6..7)].concat());
        assert_eq!(faults(&mut verifier), [(Fault::Lost, 3, 2)]);
        verifier.conclude(LANE, &sent(9));
        assert_eq!(faults(&mut verifier), [(Fault::Lost, 2, 7), (Fault::Lost, 2, 8)]);
    }

    #[test]
    fn what_failed_may_be_missing() {
        let mut verifier = Verifier::new(3, Offset(0), true, 1);
        check(&mut verifier, &[batch(0, 0..2), batch(2, 5..7)].concat());
        let doubtful = vec![Span { from: 2, to: 4 }, Span { from: 7, to: 9 }];
        verifier.conclude(LANE, &Sent { records: 9, doubtful });
        assert_eq!(faults(&mut verifier), [(Fault::Lost, 1, 2)]);
    }

    #[test]
    fn what_was_acknowledged_and_did_not_come_yet_is_lacking() {
        let mut verifier = Verifier::new(3, Offset(0), true, LANE.run);
        let with = |records, from, to| [(LANE, Sent { records, doubtful: vec![Span { from, to }] })];
        let lacks = |verifier: &Verifier, sent: &[(LaneId, Sent)]| {
            [true, false].map(|numbered| verifier.lacks(sent, numbered))
        };
        assert_eq!(lacks(&verifier, &with(5, 0, 5)), [false; 2], "none of it has to come");
        assert_eq!(lacks(&verifier, &with(5, 0, 1)), [true; 2]);
        check(&mut verifier, &batch(0, [0, 1, 3]));
        assert_eq!(lacks(&verifier, &with(6, 4, 6)), [false, true], "a gap is no end");
        assert_eq!(lacks(&verifier, &with(6, 2, 5)), [true, false]);
        assert_eq!(lacks(&verifier, &with(6, 3, 6)), [false; 2]);
    }

    #[test]
    fn a_lane_that_never_came_is_lost_whole() {
        let mut verifier = Verifier::new(3, Offset(0), true, 1);
        verifier.conclude(LANE, &sent(4));
        assert_eq!(faults(&mut verifier), [(Fault::Lost, 4, 0)]);
        verifier.conclude(LANE, &sent(0));
        assert_eq!(faults(&mut verifier), []);
    }

    #[test]
    fn second_comings_and_late_ones_are_told_apart() {
        let mut verifier = Verifier::new(3, Offset(0), true, 1);
        check(&mut verifier, &batch(0, [0, 1, 1, 4, 2, 2, 3, 5]));
        let expected = [
            (Fault::Duplicate, 1, 2),
            (Fault::Reordered, 1, 4),
            (Fault::Duplicate, 1, 5),
            (Fault::Reordered, 1, 6),
        ];
        assert_eq!(faults(&mut verifier), expected);
        verifier.conclude(LANE, &sent(6));
        assert_eq!(faults(&mut verifier), []);
    }

    #[test]
    fn one_flipped_bit_is_damage_and_no_record() {
        let mut verifier = Verifier::new(3, Offset(0), true, 1);
        let mut bytes = batch(0, 0..5);
        bytes[80] ^= 4;
        assert_eq!(check(&mut verifier, &bytes), 0);
        assert_eq!(faults(&mut verifier), [(Fault::Damaged, 5, 0)]);
        let mut bytes = coded(5, 5..9, Codec::Gzip);
        let end = bytes.len() - 8;
        bytes[end] ^= 4;
        edit::set_crc(&mut bytes);
        assert_eq!(check(&mut verifier, &bytes), 0, "a right CRC over a wrong payload");
        assert_eq!(faults(&mut verifier), [(Fault::Damaged, 4, 5)]);
    }

    #[test]
    fn a_start_in_the_middle_takes_the_first_number_as_it_is() {
        let mut verifier = Verifier::new(3, Offset(12), false, 1);
        assert_eq!(check(&mut verifier, &batch(10, 40..45)), 3, "two are before the position");
        check(&mut verifier, &batch(15, 46..47));
        verifier.conclude_rest();
        assert_eq!(faults(&mut verifier), [(Fault::Unknown, 1, 15)], "another run may have got no answer");
        let mut verifier = Verifier::new(3, Offset(12), false, LANE.run);
        check(&mut verifier, &[batch(12, 0..3), batch(15, 4..5)].concat());
        verifier.conclude_rest();
        assert_eq!(faults(&mut verifier), [(Fault::Lost, 1, 15)], "the run's own has");
    }

    #[test]
    fn what_is_missing_or_damaged_is_wrong_once() {
        let mut verifier = Verifier::new(3, Offset(0), true, 1);
        check(&mut verifier, &[batch(0, 0..6), batch(12, 12..18)].concat());
        assert_eq!(faults(&mut verifier), [(Fault::Lost, 6, 6)], "a batch that is not there");
        let mut damaged = batch(18, 18..24);
        damaged[80] ^= 4;
        check(&mut verifier, &[damaged, batch(24, 24..30)].concat());
        assert_eq!(faults(&mut verifier), [(Fault::Damaged, 6, 18)]);
        let mut last = batch(30, 30..33);
        last[80] ^= 4;
        check(&mut verifier, &last);
        verifier.conclude(LANE, &sent(33));
        assert_eq!(faults(&mut verifier), [(Fault::Damaged, 3, 30)], "also at the end");
        let mut verifier = Verifier::new(3, Offset(0), true, 1);
        check(&mut verifier, &batch(4, 6..8));
        verifier.conclude(LANE, &sent(8));
        assert_eq!(faults(&mut verifier), [(Fault::Lost, 4, 0), (Fault::Lost, 2, 4)], "two have no offset");
    }

    #[test]
    fn a_batch_that_came_before_is_repeated() {
        let mut verifier = Verifier::new(3, Offset(0), true, 1);
        let twice = [batch(0, 0..5), batch(0, 0..5), batch(5, 5..8)].concat();
        assert_eq!(check(&mut verifier, &twice), 8);
        assert_eq!(faults(&mut verifier), [(Fault::Duplicate, 5, 0)], "within one answer");
        assert_eq!(check(&mut verifier, &[batch(5, 5..8), batch(8, 8..9)].concat()), 1);
        assert_eq!(faults(&mut verifier), [(Fault::Duplicate, 3, 5)], "below the position");
        assert_eq!(check(&mut verifier, &[batch(9, 9..11), batch(10, 10..12)].concat()), 3);
        assert_eq!(faults(&mut verifier), [(Fault::Duplicate, 1, 10)], "in its first half");
        let mut verifier = Verifier::new(3, Offset(7), false, 1).only_bytes();
        check(&mut verifier, &[batch(0, 0..5), batch(5, 5..8)].concat());
        assert_eq!(faults(&mut verifier), [], "where nobody looks at offsets");
    }

    #[test]
    fn the_run_s_own_lanes_begin_behind_the_position() {
        let mut verifier = Verifier::new(3, Offset(12), false, LANE.run);
        check(&mut verifier, &batch(12, 2..4));
        verifier.conclude(LANE, &sent(4));
        assert_eq!(faults(&mut verifier), [(Fault::Lost, 2, 12)]);
    }

    #[test]
    fn in_a_compacted_partition_only_bytes_can_be_wrong() {
        let mut verifier = Verifier::new(3, Offset(0), true, 1).only_bytes();
        let mut bytes = [batch(3, 7..9), batch(9, 5..6)].concat();
        assert_eq!(check(&mut verifier, &bytes), 3);
        verifier.conclude_rest();
        assert_eq!(faults(&mut verifier), []);
        bytes = batch(20, 0..1);
        bytes[70] ^= 1;
        check(&mut verifier, &bytes);
        assert_eq!(faults(&mut verifier), [(Fault::Damaged, 1, 20)]);
    }

    #[test]
    fn values_that_are_not_ours_are_checked_by_their_offsets() {
        let mut builder = BatchBuilder::new().base_offset(Offset(0));
        for value in [&b"short"[..], &[0; 100]] {
            let record = NewRecord { timestamp: TimestampMs(2), key: None, value: Some(value), headers: &[] };
            builder.append(&record);
        }
        let mut verifier = Verifier::new(0, Offset(0), true, 1);
        let bytes = builder.build();
        let batch = BatchIter::new(&bytes).next().expect("one").expect("whole");
        let mut due = Vec::new();
        assert_eq!(verifier.batch(&batch, |received| due.push((received.due_nanos, received.run))), 2);
        assert_eq!(due, [(Some(2_000_000), None); 2]);
        assert_eq!(faults(&mut verifier), []);
    }

    #[test]
    fn records_without_numbers_are_counted_but_for_the_doubtful() {
        let sent = |records, doubtful: &[Span]| (LANE, Sent { records, doubtful: doubtful.to_vec() });
        let span = |from, to| Span { from, to };
        let came = |count: i64, sent: &[(LaneId, Sent)]| {
            let mut verifier = Verifier::new(3, Offset(12), false, 1);
            verifier.next = Offset(12 + count);
            verifier.conclude_count(sent);
            let findings = verifier.take_findings();
            findings.iter().map(|finding| (finding.fault, finding.records)).collect::<Vec<_>>()
        };
        let all = [sent(30, &[]), sent(10, &[span(2, 5)])];
        assert_eq!((came(37, &all), came(40, &all)), (Vec::new(), Vec::new()));
        assert_eq!(came(36, &all), [(Fault::Lost, 1)]);
        assert_eq!(came(42, &all), [(Fault::Surplus, 2)]);
        assert_eq!((came(0, &[]), came(1, &[])), (Vec::new(), vec![(Fault::Surplus, 1)]));
    }

    #[test]
    fn where_only_bytes_are_looked_at_no_count_is_wrong() {
        let mut verifier = Verifier::new(3, Offset(0), true, 1).only_bytes();
        let sent = Sent { records: 5, doubtful: Vec::new() };
        verifier.conclude(LANE, &sent);
        verifier.conclude_count(&[(LANE, sent)]);
        assert_eq!(faults(&mut verifier), []);
    }

    #[test]
    fn a_finding_reads_like_a_sentence() {
        let finding = Finding {
            fault: Fault::Lost,
            records: 2,
            topic: "t".into(),
            partition: 4,
            offset: Offset(17),
            detail: "records 5 to 6 of client 1 are not before it".to_owned(),
        };
        let text =
            "2 records lost: partition 4 of t at offset 17: records 5 to 6 of client 1 are not before it";
        assert_eq!(finding.to_string(), text);
    }
}
