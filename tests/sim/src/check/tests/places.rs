//! Histories of records: where they lie, whether they stay.

use super::*;
use crate::client::{FoundOffset, OffsetQuery};

#[test]
fn a_whole_life_without_a_fault() {
    let (mut tale, place) = Tale::with_topic(&[]);
    let (a, b, c) = (sequenced(1, 3, 0), sequenced(2, 2, 3), plain(3, 1));
    tale.ack(place, &a, 0);
    // Lost, sent again, found to have been stored the first time, with another producer's behind it.
    tale.run(Action::Produce(place, Rc::clone(&b)), LOST);
    tale.ack(place, &c, 5);
    tale.ack(place, &b, 3);
    tale.crash();
    tale.read(place, 0, 6, [at(0, &a), at(3, &b), at(5, &c)].concat());
    tale.read(place, 4, 6, [at(3, &b), at(5, &c)].concat());
    tale.read(place, 6, 6, vec![]);
    tale.holds();
}

#[test]
fn an_acknowledged_batch_is_lost() {
    let (mut tale, place) = Tale::with_topic(&[]);
    tale.ack(place, &plain(1, 3), 0);
    tale.crash();
    tale.read(place, 0, 0, vec![]);
    tale.breaks(Invariant::EndWentBack);

    // The same where the end is asked for.
    let (mut tale, place) = Tale::with_topic(&[]);
    tale.ack(place, &plain(1, 3), 0);
    let short = Answer::Offset(FoundOffset { offset: 2, timestamp: -1 });
    tale.done(Action::ListOffset(place, OffsetQuery::Latest), short);
    tale.breaks(Invariant::EndWentBack);

    // A batch of unknown fate may be lost.
    let (mut tale, place) = Tale::with_topic(&[]);
    tale.run(Action::Produce(place, plain(1, 3)), LOST);
    tale.crash();
    tale.read(place, 0, 0, vec![]);
    tale.holds();
}

#[test]
fn a_read_that_began_before_the_acknowledgement_may_be_older() {
    let (mut tale, place) = Tale::with_topic(&[]);
    let read = tale.begin(Action::Fetch(place, 0));
    tale.ack(place, &plain(1, 3), 0);
    tale.end(read, Outcome::Ok(Answer::Records(SeenRecords::default())));
    tale.holds();
}

#[test]
fn what_a_reader_saw_vanishes() {
    let (mut tale, place) = Tale::with_topic(&[]);
    let a = plain(1, 2);
    tale.run(Action::Produce(place, Rc::clone(&a)), LOST);
    tale.read(place, 0, 2, at(0, &a));
    tale.crash();
    tale.read(place, 0, 0, vec![]);
    tale.breaks(Invariant::EndWentBack);
}

#[test]
fn a_relaxed_topic_may_lose_its_tail_in_a_crash_and_nothing_else() {
    let relaxed = [("flush.messages", "1000")];
    let (a, b, c) = (plain(1, 2), plain(2, 2), plain(3, 2));
    let begin = || {
        let (mut tale, place) = Tale::with_topic(&relaxed);
        tale.ack(place, &a, 0);
        tale.world(Happening::Stopped);
        tale.world(Happening::Started);
        tale.ack(place, &b, 2);
        (tale, place)
    };
    // The tail is gone and its offsets are used again.
    let (mut tale, place) = begin();
    tale.crash();
    tale.ack(place, &c, 2);
    tale.read(place, 0, 4, [at(0, &a), at(2, &c)].concat());
    tale.holds();
    // Without a crash it may not go.
    let (mut tale, place) = begin();
    tale.read(place, 0, 2, at(0, &a));
    tale.breaks(Invariant::EndWentBack);
    // Nor what was there at the last clean stop.
    let (mut tale, place) = begin();
    tale.crash();
    tale.read(place, 0, 0, vec![]);
    tale.breaks(Invariant::EndWentBack);
    // Nor after a reader has met it again.
    let (mut tale, place) = begin();
    tale.crash();
    tale.read(place, 0, 4, [at(0, &a), at(2, &b)].concat());
    tale.ack(place, &c, 2);
    tale.breaks(Invariant::OffsetReused);
    // What is gone stays gone.
    let (mut tale, place) = begin();
    tale.crash();
    tale.read(place, 0, 2, at(0, &a));
    tale.read(place, 0, 4, [at(0, &a), at(2, &b)].concat());
    tale.breaks(Invariant::CameBack);
    // A batch that was lost and is sent again lies elsewhere.
    let (mut tale, place) = begin();
    tale.crash();
    tale.ack(place, &c, 2);
    tale.ack(place, &b, 4);
    tale.read(place, 2, 6, [at(2, &c), at(4, &b)].concat());
    tale.holds();
    // What a later process has put behind the cut is not taken by the crash before it.
    let (mut tale, place) = begin();
    tale.crash();
    let (d, e) = (plain(4, 1), plain(5, 1));
    tale.run(Action::Produce(place, Rc::clone(&d)), LOST);
    tale.ack(place, &e, 3);
    tale.crash();
    tale.read(place, 2, 4, [at(2, &d), at(3, &e)].concat());
    tale.holds();
    // One that stayed and is sent again by a plain producer lies there twice, and so does what came behind it.
    let (mut tale, place) = begin();
    tale.run(Action::Produce(place, Rc::clone(&c)), LOST);
    tale.read(place, 0, 6, [at(0, &a), at(2, &b), at(4, &c)].concat());
    tale.crash();
    tale.ack(place, &c, 6);
    tale.read(place, 0, 8, [at(0, &a), at(2, &b), at(4, &c), at(6, &c)].concat());
    tale.holds();
}

#[test]
fn a_duplicate() {
    let (mut tale, place) = Tale::with_topic(&[]);
    let a = sequenced(1, 2, 0);
    tale.run(Action::Produce(place, Rc::clone(&a)), LOST);
    tale.ack(place, &a, 2);
    tale.read(place, 0, 4, [at(0, &a), at(2, &a)].concat());
    tale.breaks(Invariant::Duplicate);

    // A plain producer that sends again asks for it twice, and not three times.
    for (copies, fine) in [(2, true), (3, false)] {
        let (mut tale, place) = Tale::with_topic(&[]);
        let a = plain(1, 2);
        tale.run(Action::Produce(place, Rc::clone(&a)), LOST);
        tale.ack(place, &a, 2);
        let records: Vec<_> = (0..copies).flat_map(|copy| at(copy * 2, &a)).collect();
        tale.read(place, 0, copies * 2, records);
        if fine { tale.holds() } else { tale.breaks(Invariant::Duplicate) }
    }
}

#[test]
fn another_order_than_that_of_acknowledgements() {
    let (mut tale, place) = Tale::with_topic(&[]);
    tale.ack(place, &plain(1, 2), 2);
    tale.ack(place, &plain(2, 2), 0);
    tale.breaks(Invariant::Reordered);

    // Both at once: any order.
    let (mut tale, place) = Tale::with_topic(&[]);
    let first = tale.begin(Action::Produce(place, plain(1, 2)));
    let second = tale.begin(Action::Produce(place, plain(2, 2)));
    tale.end(first, Outcome::Ok(Answer::Appended(2)));
    tale.end(second, Outcome::Ok(Answer::Appended(0)));
    tale.holds();

    // Both at once, and numbered by their producer: one order.
    let (mut tale, place) = Tale::with_topic(&[]);
    let first = tale.begin(Action::Produce(place, sequenced(1, 2, 0)));
    let second = tale.begin(Action::Produce(place, sequenced(2, 2, 2)));
    tale.end(first, Outcome::Ok(Answer::Appended(2)));
    tale.end(second, Outcome::Ok(Answer::Appended(0)));
    tale.breaks(Invariant::Reordered);
}

#[test]
fn an_offset_is_used_twice() {
    let (mut tale, place) = Tale::with_topic(&[]);
    let first = tale.begin(Action::Produce(place, plain(1, 3)));
    let second = tale.begin(Action::Produce(place, plain(2, 3)));
    tale.end(first, Outcome::Ok(Answer::Appended(0)));
    tale.end(second, Outcome::Ok(Answer::Appended(2)));
    tale.breaks(Invariant::OffsetReused);

    // What is read differs from what was acknowledged at the offset.
    let (mut tale, place) = Tale::with_topic(&[]);
    let (a, b) = (plain(1, 2), plain(2, 2));
    let open = tale.begin(Action::Produce(place, Rc::clone(&b)));
    tale.ack(place, &a, 0);
    tale.end(open, LOST);
    tale.read(place, 0, 2, at(0, &b));
    tale.breaks(Invariant::OffsetReused);
}

#[test]
fn phantoms() {
    let (mut tale, place) = Tale::with_topic(&[]);
    tale.read(place, 0, 1, vec![SeenRecord { offset: 0, sighting: Sighting::Stranger }]);
    tale.breaks(Invariant::Phantom);

    // A record of another partition.
    let (mut tale, place) = Tale::with_topic(&[]);
    let a = plain(1, 1);
    tale.ack(Place { partition: 1, ..place }, &a, 0);
    tale.read(place, 0, 1, at(0, &a));
    tale.breaks(Invariant::Phantom);

    for outcome in [Outcome::Refused(ErrorCode::InvalidTimestamp), Outcome::NotSent] {
        let (mut tale, place) = Tale::with_topic(&[]);
        tale.run(Action::Produce(place, Rc::clone(&a)), outcome);
        tale.read(place, 0, 1, at(0, &a));
        tale.breaks(Invariant::RefusedButStored);
    }
}

#[test]
fn another_byte() {
    let (mut tale, place) = Tale::with_topic(&[]);
    tale.ack(place, &plain(1, 1), 0);
    let record = RecordId { batch: BatchId(1), index: 0 };
    tale.read(place, 0, 1, vec![SeenRecord { offset: 0, sighting: Sighting::Altered(record, "value") }]);
    tale.breaks(Invariant::Altered);

    let (mut tale, place) = Tale::with_topic(&[]);
    tale.run(Action::Fetch(place, 0), Outcome::Garbled("a wrong CRC".to_owned()));
    tale.breaks(Invariant::Garbled);
}

#[test]
fn a_gap() {
    let (a, b) = (plain(1, 3), plain(2, 1));
    let begin = |configs: &[(&str, &str)]| {
        let (mut tale, place) = Tale::with_topic(configs);
        tale.ack(place, &a, 0);
        tale.ack(place, &b, 3);
        (tale, place)
    };
    let mut holed = [at(0, &a), at(3, &b)].concat();
    holed.remove(1);
    let (mut tale, place) = begin(&[]);
    tale.read(place, 0, 4, holed.clone());
    tale.breaks(Invariant::Gap);
    // A compacted topic has gaps.
    let (mut tale, place) = begin(&[("cleanup.policy", "compact")]);
    tale.read(place, 0, 4, holed);
    tale.holds();
    // The first record is not the one that was asked for.
    let (mut tale, place) = begin(&[]);
    tale.read(place, 2, 4, at(3, &b));
    tale.breaks(Invariant::Gap);
    // Going back.
    let (mut tale, place) = begin(&[("cleanup.policy", "compact")]);
    tale.read(place, 0, 4, [at(3, &b), at(0, &a)].concat());
    tale.breaks(Invariant::Gap);
    // A whole read that ends too early.
    let (mut tale, place) = begin(&[]);
    let seen = SeenRecords { high_watermark: 4, records: at(0, &a), ..SeenRecords::default() };
    tale.done(Action::ReadBack(place), Answer::Records(seen));
    tale.breaks(Invariant::Gap);
}

#[test]
fn records_above_the_high_watermark() {
    let (mut tale, place) = Tale::with_topic(&[]);
    let a = plain(1, 3);
    let open = tale.begin(Action::Produce(place, Rc::clone(&a)));
    tale.read(place, 0, 2, at(0, &a));
    tale.end(open, LOST);
    tale.breaks(Invariant::AboveHighWatermark);
}

#[test]
fn holes_in_a_producers_sequence() {
    let (mut tale, place) = Tale::with_topic(&[]);
    tale.ack(place, &sequenced(1, 2, 0), 0);
    tale.run(Action::Produce(place, sequenced(2, 2, 2)), LOST);
    tale.ack(place, &sequenced(3, 2, 4), 2);
    tale.breaks(Invariant::SequenceGap);

    // Cleaned away before anybody saw it, where there is room for it.
    for (configs, room, fine) in [(&[("cleanup.policy", "compact")][..], 2, true), (&[], 2, false)] {
        let (mut tale, place) = Tale::with_topic(configs);
        tale.ack(place, &sequenced(1, 2, 0), 0);
        tale.run(Action::Produce(place, sequenced(2, 2, 2)), LOST);
        tale.ack(place, &sequenced(3, 2, 4), 2 + room);
        if fine { tale.holds() } else { tale.breaks(Invariant::SequenceGap) }
    }

    // The first of a producer may come too late behind one that was sent with it, when it failed once.
    for (first, fine) in [(LOST, true), (Outcome::Ok(Answer::Appended(0)), false)] {
        let (mut tale, place) = Tale::with_topic(&[]);
        let (one, two) = (sequenced(1, 2, 0), sequenced(2, 2, 2));
        let second = if fine { 0 } else { 2 };
        tale.run(Action::Produce(place, Rc::clone(&one)), first);
        tale.run(Action::Produce(place, Rc::clone(&two)), Outcome::Ok(Answer::Appended(second)));
        let again = if fine { one } else { sequenced(3, 2, 4) };
        tale.refused(Action::Produce(place, again), ErrorCode::OutOfOrderSequenceNumber);
        if fine { tale.holds() } else { tale.breaks(Invariant::SequenceRefused) }
    }

    // One that was stored with a later one, compacted away, and forgotten by the next start.
    for (configs, crashes, fine) in [
        (&[("cleanup.policy", "compact")][..], true, true),
        (&[("cleanup.policy", "compact")], false, false),
        (&[], true, false),
    ] {
        let (mut tale, place) = Tale::with_topic(configs);
        let two = sequenced(2, 2, 2);
        tale.ack(place, &sequenced(1, 2, 0), 0);
        tale.run(Action::Produce(place, Rc::clone(&two)), LOST);
        tale.run(Action::Produce(place, sequenced(3, 2, 4)), LOST);
        if crashes {
            tale.crash();
        }
        tale.refused(Action::Produce(place, two), ErrorCode::OutOfOrderSequenceNumber);
        if fine { tale.holds() } else { tale.breaks(Invariant::SequenceRefused) }
    }

    // Refused although everything before was acknowledged; not so while something before is unknown.
    for (before, fine) in [(Outcome::Ok(Answer::Appended(0)), false), (LOST, true)] {
        let (mut tale, place) = Tale::with_topic(&[]);
        tale.run(Action::Produce(place, sequenced(1, 2, 0)), before);
        tale.refused(Action::Produce(place, sequenced(2, 2, 2)), ErrorCode::OutOfOrderSequenceNumber);
        if fine { tale.holds() } else { tale.breaks(Invariant::SequenceRefused) }
    }
}

#[test]
fn the_log_start_moves_by_deletion_and_retention_alone() {
    let start = |configs: &[(&str, &str)], deleted: Option<i64>, start: i64| {
        let (mut tale, place) = Tale::with_topic(configs);
        tale.ack(place, &plain(1, 9), 0);
        if let Some(before) = deleted {
            tale.done(Action::DeleteRecords(place, before), Answer::LowWatermark(before));
        }
        tale.crash();
        let found = Answer::Offset(FoundOffset { offset: start, timestamp: -1 });
        tale.done(Action::ListOffset(place, OffsetQuery::Earliest), found);
        tale
    };
    start(&[], None, 0).holds();
    start(&[], Some(5), 5).holds();
    start(&[("retention.ms", "1000")], None, 4).holds();
    start(&[], None, 4).breaks(Invariant::StartMoved);
    start(&[], Some(5), 6).breaks(Invariant::StartMoved);
    start(&[], Some(5), 4).breaks(Invariant::StartWentBack);
}

#[test]
fn a_readable_offset_is_refused() {
    let out = |from: i64, deleted: bool| {
        let (mut tale, place) = Tale::with_topic(&[]);
        tale.ack(place, &plain(1, 9), 0);
        if deleted {
            tale.done(Action::DeleteRecords(place, 5), Answer::LowWatermark(5));
        }
        tale.refused(Action::Fetch(place, from), ErrorCode::OffsetOutOfRange);
        tale
    };
    out(10, false).holds();
    out(4, true).holds();
    out(9, false).breaks(Invariant::Unreadable);
    out(4, false).breaks(Invariant::Unreadable);
    out(5, true).breaks(Invariant::Unreadable);

    let (mut tale, place) = Tale::with_topic(&[]);
    tale.refused(Action::Fetch(place, 0), ErrorCode::CorruptMessage);
    tale.breaks(Invariant::Unreadable);
    let (mut tale, place) = Tale::with_topic(&[]);
    tale.checker.damaged(place);
    tale.refused(Action::Fetch(place, 0), ErrorCode::CorruptMessage);
    tale.holds();
}

#[test]
fn errors_need_a_reason() {
    let storage = |happening: Option<Happening>| {
        let (mut tale, place) = Tale::with_topic(&[]);
        if let Some(happening) = happening {
            tale.world(happening);
        }
        let code = Unknown::Code(ErrorCode::KafkaStorageError);
        tale.run(Action::Produce(place, plain(1, 1)), Outcome::Unknown(code));
        tale
    };
    storage(None).breaks(Invariant::UnexpectedError);
    storage(Some(Happening::DisksFail)).holds();
    storage(Some(Happening::DisksHeal)).breaks(Invariant::UnexpectedError);
}

#[test]
fn offsets_by_time() {
    let ask = |query: OffsetQuery, offset: i64, timestamp: i64| {
        let (mut tale, place) = Tale::with_topic(&[]);
        tale.ack(place, &plain(1, 9), 0);
        let found = Answer::Offset(FoundOffset { offset, timestamp });
        tale.done(Action::ListOffset(place, query), found);
        tale
    };
    ask(OffsetQuery::At(103), 3, 103).holds();
    ask(OffsetQuery::At(109), -1, -1).holds();
    ask(OffsetQuery::Largest, 8, 108).holds();
    ask(OffsetQuery::At(103), 4, 104).breaks(Invariant::WrongOffset);
    ask(OffsetQuery::At(103), 3, 102).breaks(Invariant::WrongOffset);
    ask(OffsetQuery::At(103), 2, 103).breaks(Invariant::WrongOffset);
    ask(OffsetQuery::At(108), -1, -1).breaks(Invariant::WrongOffset);
    ask(OffsetQuery::Largest, 7, 107).breaks(Invariant::WrongOffset);
    ask(OffsetQuery::Largest, -1, -1).breaks(Invariant::WrongOffset);
    // A newer record on its way hides the others.
    let (mut tale, place) = Tale::with_topic(&[]);
    tale.ack(place, &plain(1, 9), 0);
    tale.begin(Action::Produce(place, plain(2, 1)));
    let none = Answer::Offset(FoundOffset { offset: -1, timestamp: -1 });
    tale.done(Action::ListOffset(place, OffsetQuery::Largest), none);
    tale.holds();
}

#[test]
fn compaction_takes_what_is_replaced_and_nothing_else() {
    // Batches with the keys 0, 1, 2 and then 0, 1.
    let read = |kept: &[usize]| {
        let (mut tale, place) = Tale::with_topic(&[("cleanup.policy", "compact")]);
        let (a, b) = (plain(1, 3), plain(2, 2));
        tale.ack(place, &a, 0);
        tale.ack(place, &b, 3);
        let all = [at(0, &a), at(3, &b)].concat();
        let records = kept.iter().map(|&index| all[index].clone()).collect();
        let seen = SeenRecords { high_watermark: 5, records, ..SeenRecords::default() };
        tale.done(Action::ReadBack(place), Answer::Records(seen));
        tale
    };
    read(&[0, 1, 2, 3, 4]).holds();
    read(&[1, 2, 3, 4]).holds();
    read(&[2, 3, 4]).holds();
    read(&[3, 4]).breaks(Invariant::CompactedAway);
    read(&[0, 1, 2, 3]).breaks(Invariant::CompactedAway);
    read(&[]).breaks(Invariant::CompactedAway);
}

#[test]
fn compaction_takes_tombstones_where_they_may_go_soon() {
    let brief = [("cleanup.policy", "compact"), ("delete.retention.ms", "50")];
    let without = |settings: &[(&str, &str)], gone: usize| {
        let (mut tale, place) = Tale::with_topic(settings);
        let mut batch = BatchSpec::clone(&plain(1, 3));
        batch.records[1].value_bytes = None;
        let batch = Rc::new(batch);
        tale.ack(place, &batch, 0);
        let mut records = at(0, &batch);
        records.remove(gone);
        tale.done(
            Action::ReadBack(place),
            Answer::Records(SeenRecords { high_watermark: 3, records, ..SeenRecords::default() }),
        );
        tale
    };
    without(&brief, 1).holds();
    without(&brief, 0).breaks(Invariant::CompactedAway);
    without(&brief[..1], 1).breaks(Invariant::CompactedAway);
}
