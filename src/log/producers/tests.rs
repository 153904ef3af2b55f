//! What the producers of a partition are allowed: each rule of Kafka's by itself, and all against a plain history.

use std::time::Duration;

use super::*;
use crate::log::testing::{TestBatch, batch, control};
use proptest::prelude::*;

const NOW: Monotonic = Monotonic(1_000_000_000);
const OPEN: TransactionCheck = TransactionCheck { verified: true, epoch_bump: false, marker_version: 0 };

fn producers() -> Producers {
    Producers::new(Offset(0), 100)
}

/// Checks a client's batch and, where it may be, appends it.
fn client(producers: &mut Producers, batch: TestBatch) -> Result<Verdict, ErrorCode> {
    append(producers, batch, AppendOrigin::Client, TransactionCheck::default()).map(|(verdict, _)| verdict)
}

fn append(
    producers: &mut Producers,
    batch: TestBatch,
    origin: AppendOrigin,
    transaction: TransactionCheck,
) -> Result<(Verdict, Option<CompletedTransaction>), ErrorCode> {
    let header = batch.header();
    let sequenced = ProducerBatch { header: &header, marker: batch.end_marker() };
    let before = producers.clone();
    let verdict = producers.check(sequenced, origin, transaction).map_err(|error| error.code());
    assert_eq!(*producers, before, "a check changes nothing");
    let completed = match verdict? {
        Verdict::Append => producers.apply(sequenced, NOW),
        Verdict::Duplicate(_) => None,
    };
    Ok((verdict?, completed))
}

fn in_transaction(producers: &mut Producers, batch: TestBatch) -> Result<Verdict, ErrorCode> {
    append(producers, batch.transactional(), AppendOrigin::Client, OPEN).map(|(verdict, _)| verdict)
}

fn mark(
    producers: &mut Producers,
    marker: TestBatch,
    version: i16,
) -> Result<Option<CompletedTransaction>, ErrorCode> {
    let transaction = TransactionCheck { marker_version: version, ..OPEN };
    append(producers, marker, AppendOrigin::Coordinator, transaction).map(|(_, completed)| completed)
}

const GAP: Result<Verdict, ErrorCode> = Err(ErrorCode::OutOfOrderSequenceNumber);
const STALE: Result<Verdict, ErrorCode> = Err(ErrorCode::InvalidProducerEpoch);
const TXN: Result<Verdict, ErrorCode> = Err(ErrorCode::InvalidTxnState);

fn duplicate(base_offset: i64, last_offset: i64) -> Result<Verdict, ErrorCode> {
    let (base_offset, last_offset) = (Offset(base_offset), Offset(last_offset));
    Ok(Verdict::Duplicate(DuplicateBatch { base_offset, last_offset, timestamp: TimestampMs(1_000) }))
}

#[test]
fn the_last_five_batches_are_told_from_new_ones() {
    let mut producers = producers();
    for at in 0..6 {
        let sequence = i32::try_from(at * 3).expect("small");
        assert_eq!(client(&mut producers, batch(at * 3, 3).producer(7, 0, sequence)), Ok(Verdict::Append));
    }
    for at in 1..6 {
        let sequence = i32::try_from(at * 3).expect("small");
        let again = batch(99, 3).producer(7, 0, sequence);
        assert_eq!(client(&mut producers, again), duplicate(at * 3, at * 3 + 2));
    }
    assert_eq!(client(&mut producers, batch(99, 3).producer(7, 0, 0)), GAP, "the sixth is forgotten");
    assert_eq!(client(&mut producers, batch(99, 2).producer(7, 0, 15)), GAP, "not the same batch");
}

#[test]
fn a_gap_is_refused_and_numbers_wrap_to_zero() {
    let mut producers = producers();
    assert_eq!(client(&mut producers, batch(0, 2).producer(7, 0, i32::MAX - 2)), Ok(Verdict::Append));
    assert_eq!(client(&mut producers, batch(2, 1).producer(7, 0, 0)), GAP);
    assert_eq!(client(&mut producers, batch(2, 1).producer(7, 0, i32::MAX)), Ok(Verdict::Append));
    assert_eq!(client(&mut producers, batch(3, 1).producer(7, 0, 1)), GAP);
    assert_eq!(client(&mut producers, batch(3, 4).producer(7, 0, 0)), Ok(Verdict::Append));
    assert_eq!(client(&mut producers, batch(9, 1).producer(7, 0, i32::MAX)), duplicate(2, 2));
    let spanning = batch(7, 6).producer(8, 0, i32::MAX - 1);
    assert_eq!(client(&mut producers, spanning), Ok(Verdict::Append));
    assert_eq!(client(&mut producers, batch(99, 6).producer(8, 0, i32::MAX - 1)), duplicate(7, 12));
    assert_eq!(client(&mut producers, batch(13, 1).producer(8, 0, 4)), Ok(Verdict::Append));
}

#[test]
fn a_new_epoch_begins_at_zero_and_fences_the_old() {
    let mut producers = producers();
    assert_eq!(client(&mut producers, batch(0, 1).producer(7, 3, 40)), Ok(Verdict::Append));
    assert_eq!(client(&mut producers, batch(1, 1).producer(7, 4, 41)), GAP);
    assert_eq!(client(&mut producers, batch(1, 1).producer(7, 4, 0)), Ok(Verdict::Append));
    assert_eq!(client(&mut producers, batch(2, 1).producer(7, 3, 41)), STALE);
    assert_eq!(client(&mut producers, batch(2, 1).producer(7, 3, 40)), STALE, "nor is it a duplicate");
}

#[test]
fn an_unknown_producer_begins_anywhere_unless_its_epochs_are_bumped() {
    let bumped = TransactionCheck { epoch_bump: true, ..OPEN };
    let begin = |sequence, transaction| {
        let begin = batch(0, 1).producer(7, 0, sequence).transactional();
        append(&mut producers(), begin, AppendOrigin::Client, transaction).map(|(verdict, _)| verdict)
    };
    assert_eq!(begin(33, OPEN), Ok(Verdict::Append));
    assert_eq!(begin(33, bumped), GAP);
    assert_eq!(begin(0, bumped), Ok(Verdict::Append));
}

#[test]
fn coordinators_have_epochs_but_no_sequences() {
    let mut producers = producers();
    let commit = |producers: &mut Producers, offset, epoch| {
        let commit = batch(offset, 1).producer(7, epoch, -1).transactional();
        append(producers, commit, AppendOrigin::Coordinator, OPEN).map(|(verdict, _)| verdict)
    };
    assert_eq!(commit(&mut producers, 0, 1), Ok(Verdict::Append));
    assert_eq!(commit(&mut producers, 1, 1), Ok(Verdict::Append));
    assert_eq!(commit(&mut producers, 2, 0), STALE);
}

#[test]
fn replication_refuses_nothing() {
    let mut producers = producers();
    for (offset, epoch, sequence) in [(0, 3, 5), (1, 1, 99), (2, 1, 99)] {
        let header = batch(offset, 1).producer(7, epoch, sequence).header();
        let copied = ProducerBatch { header: &header, marker: None };
        let verdict = producers.check(copied, AppendOrigin::Replication, TransactionCheck::default());
        assert_eq!(verdict, Ok(Verdict::Append));
        producers.apply(copied, NOW);
    }
    assert_eq!(producers.get(ProducerId(7)).expect("it appended").epoch, ProducerEpoch(1));
}

#[test]
fn batches_without_a_producer_are_always_new() {
    let mut producers = producers();
    assert_eq!(client(&mut producers, batch(0, 1)), Ok(Verdict::Append));
    assert_eq!(client(&mut producers, batch(1, 1)), Ok(Verdict::Append));
    assert_eq!((producers.len(), producers.end_offset()), (0, Offset(2)));
}

#[test]
fn a_transaction_needs_its_coordinators_word_and_keeps_others_out() {
    let mut producers = producers();
    let begin = batch(0, 2).producer(7, 0, 0);
    assert_eq!(client(&mut producers, begin.transactional()), TXN);
    assert_eq!(in_transaction(&mut producers, begin), Ok(Verdict::Append));
    assert_eq!(client(&mut producers, batch(2, 1).producer(7, 0, 2).transactional()), Ok(Verdict::Append));
    assert_eq!(client(&mut producers, batch(3, 1).producer(7, 0, 3)), TXN, "not outside of it");
    assert!(producers.has_open_transaction(ProducerId(7)));
    assert_eq!(producers.first_unstable_offset(), Some(Offset(0)));
    assert_eq!(client(&mut producers, begin.transactional()), duplicate(0, 1), "a repetition is one anyway");
}

#[test]
fn a_marker_ends_the_transaction_and_the_high_watermark_releases_it() {
    let mut producers = producers();
    in_transaction(&mut producers, batch(0, 2).producer(7, 0, 0)).expect("a beginning");
    in_transaction(&mut producers, batch(2, 1).producer(8, 0, 0)).expect("another");
    let completed = mark(&mut producers, control(3, 7, 0).marker(false, 5), 0).expect("it is in order");
    let transaction = AbortedTransaction {
        producer_id: ProducerId(7),
        first_offset: Offset(0),
        last_offset: Offset(3),
        last_stable_offset: Offset(2),
    };
    assert_eq!(completed, Some(CompletedTransaction { transaction, aborted: true }));
    assert_eq!(producers.first_unstable_offset(), Some(Offset(0)), "the marker is not replicated");
    producers.on_high_watermark(Offset(3));
    assert_eq!(producers.first_unstable_offset(), Some(Offset(0)));
    producers.on_high_watermark(Offset(4));
    assert_eq!(producers.first_unstable_offset(), Some(Offset(2)));
    let completed = mark(&mut producers, control(4, 8, 0).marker(true, 5), 0).expect("it is in order");
    let completed = completed.expect("it ended one");
    assert_eq!((completed.aborted, completed.transaction.last_stable_offset), (false, Offset(5)));
    producers.on_high_watermark(Offset(5));
    assert_eq!(producers.first_unstable_offset(), None);
    assert_eq!(mark(&mut producers, control(5, 8, 0).marker(true, 5), 0), Ok(None), "nothing was open");
}

#[test]
fn stale_markers_and_zombie_coordinators_are_refused() {
    let mut producers = producers();
    in_transaction(&mut producers, batch(0, 1).producer(7, 2, 0)).expect("a beginning");
    let refused = |code| Err::<Option<CompletedTransaction>, _>(code);
    let stale = refused(ErrorCode::InvalidProducerEpoch);
    assert_eq!(mark(&mut producers, control(1, 7, 1), 0), stale);
    assert_eq!(mark(&mut producers, control(1, 7, 2), 2), stale, "version 2 has a higher epoch");
    assert!(mark(&mut producers, control(1, 7, 3).marker(true, 6), 2).expect("in order").is_some());
    assert_eq!(mark(&mut producers, control(2, 7, 3).marker(true, 6), 2), Ok(None), "a repetition");
    let fenced = refused(ErrorCode::TransactionCoordinatorFenced);
    assert_eq!(mark(&mut producers, control(3, 7, 4).marker(true, 5), 2), fenced);
    assert_eq!(client(&mut producers, batch(3, 1).producer(7, 3, 1)), GAP, "the new epoch begins at zero");
    assert_eq!(client(&mut producers, batch(3, 1).producer(7, 3, 0)), Ok(Verdict::Append));
}

#[test]
fn an_emptied_control_batch_ends_nothing() {
    let mut producers = producers();
    in_transaction(&mut producers, batch(0, 1).producer(7, 0, 0)).expect("a beginning");
    let header = control(1, 7, 0).header();
    assert_eq!(producers.apply(ProducerBatch { header: &header, marker: None }, NOW), None);
    assert!(producers.has_open_transaction(ProducerId(7)));
}

#[test]
fn the_idle_expire_but_not_in_a_transaction() {
    let mut producers = producers();
    client(&mut producers, batch(0, 1).producer(7, 0, 0)).expect("new");
    in_transaction(&mut producers, batch(1, 1).producer(8, 0, 0)).expect("new");
    let hour = Duration::from_secs(3_600);
    assert_eq!(producers.remove_expired(NOW.after(hour - Duration::from_nanos(1)), hour), 0);
    assert_eq!(producers.remove_expired(NOW.after(hour), hour), 1);
    assert_eq!(producers.iter().map(|(id, _)| id.0).collect::<Vec<_>>(), [8]);
}

#[test]
fn a_flood_of_producers_evicts_the_idlest() {
    let mut producers = Producers::new(Offset(0), 32);
    for id in 0..1_000 {
        let header = batch(id, 1).producer(id, 0, 0).header();
        producers.apply(ProducerBatch { header: &header, marker: None }, NOW.after_ms(id));
        assert!(producers.len() <= 32);
    }
    let ids: Vec<_> = producers.iter().map(|(id, _)| id.0).collect();
    assert_eq!(ids, (1_000 - ids.len() as i64..1_000).collect::<Vec<_>>());
    assert!(ids.len() >= 30);
}

#[test]
fn open_transactions_are_never_evicted() {
    let mut producers = Producers::new(Offset(0), 4);
    for id in 0..4 {
        in_transaction(&mut producers, batch(id, 1).producer(id, 0, 0)).expect("there is room");
    }
    let refused = in_transaction(&mut producers, batch(4, 1).producer(4, 0, 0));
    assert_eq!(refused, Err(ErrorCode::RequestTimedOut));
    assert_eq!(client(&mut producers, batch(4, 1).producer(5, 0, 0)), Err(ErrorCode::RequestTimedOut));
    mark(&mut producers, control(4, 2, 0), 0).expect("in order");
    in_transaction(&mut producers, batch(5, 1).producer(4, 0, 0)).expect("an ended one made room");
    assert_eq!(producers.iter().map(|(id, _)| id.0).collect::<Vec<_>>(), [0, 1, 3, 4]);
}

/// The rules again, from the whole history of one producer and in the words of KIP-98.
fn expected(
    history: &[(i16, i32, i32, i64)],
    epoch: i16,
    first: i32,
    last: i32,
) -> Result<Verdict, ErrorCode> {
    let Some(newest) = history.last() else {
        return Ok(Verdict::Append);
    };
    let of_epoch: Vec<_> = history.iter().rev().take_while(|entry| entry.0 == newest.0).take(5).collect();
    let same = of_epoch.iter().find(|entry| (entry.0, entry.1, entry.2) == (epoch, first, last));
    if let Some((_, first, last, offset)) = same {
        return duplicate(*offset, offset + i64::from(last - first));
    }
    match epoch.cmp(&newest.0) {
        std::cmp::Ordering::Less => STALE,
        std::cmp::Ordering::Equal if first == newest.2 + 1 => Ok(Verdict::Append),
        std::cmp::Ordering::Greater if first == 0 => Ok(Verdict::Append),
        std::cmp::Ordering::Equal | std::cmp::Ordering::Greater => GAP,
    }
}

proptest! {
    #[test]
    fn verdicts_follow_from_the_history(
        steps in prop::collection::vec((0_i64..3, -1_i16..2, -12_i32..3, 1_i32..4), 1..120),
    ) {
        let mut producers = producers();
        let mut histories = vec![Vec::new(); 3];
        let mut end = 0;
        for (id, epoch_step, back, records) in steps {
            let history = &mut histories[usize::try_from(id).expect("small")];
            let &(epoch, _, last, _) = history.last().unwrap_or(&(0, 0, -1, 0));
            let epoch = (epoch + epoch_step).max(0);
            let first = if epoch_step == 1 && back < -6 { 0 } else { (last + 1 + back.min(0)).max(0) };
            let last = first + records - 1;
            let verdict = client(&mut producers, batch(end, records).producer(id, epoch, first));
            prop_assert_eq!(verdict, expected(history, epoch, first, last));
            if verdict == Ok(Verdict::Append) {
                history.push((epoch, first, last, end));
                end += i64::from(records);
            }
        }
    }

    #[test]
    fn the_first_unstable_offset_is_that_of_the_oldest_open_transaction(
        steps in prop::collection::vec((0_i64..4, 0_u8..4), 1..100),
    ) {
        let mut producers = producers();
        let (mut open, mut next_sequence) = ([None; 4], [0; 4]);
        let (mut end, mut high_watermark) = (0, 0);
        let mut ended: Vec<(i64, i64)> = Vec::new();
        for (id, what) in steps {
            let slot = usize::try_from(id).expect("small");
            match what {
                0 | 1 => {
                    let data = batch(end, 1).producer(id, 0, next_sequence[slot]);
                    prop_assert_eq!(in_transaction(&mut producers, data), Ok(Verdict::Append));
                    open[slot].get_or_insert(end);
                    next_sequence[slot] += 1;
                    end += 1;
                }
                2 => {
                    let completed = mark(&mut producers, control(end, id, 0), 0).expect("in order");
                    prop_assert_eq!(completed.map(|completed| completed.transaction.first_offset.0), open[slot]);
                    ended.extend(open[slot].take().map(|first| (first, end)));
                    end += 1;
                }
                3.. => {
                    high_watermark = (high_watermark + end + 1) / 2;
                    producers.on_high_watermark(Offset(high_watermark));
                }
            }
            let undecided = open.iter().flatten().min().copied();
            let above = ended.iter().filter(|entry| entry.1 >= high_watermark).map(|entry| entry.0).min();
            let unstable = undecided.into_iter().chain(above).min();
            prop_assert_eq!(producers.first_undecided_offset().map(|offset| offset.0), undecided);
            prop_assert_eq!(producers.first_unstable_offset().map(|offset| offset.0), unstable);
        }
    }
}
