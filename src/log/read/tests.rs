//! Walks over segments that the cleaner has been through, and where their slices end.

use super::*;
use crate::log::testing::{TestBatch, batch};
use proptest::prelude::*;

/// Batches with gaps between and within, as the cleaner leaves them: (first, last, bytes).
fn segment(steps: &[(i64, i32, usize)]) -> (Vec<u8>, Vec<TestBatch>) {
    let mut offset = 50;
    let mut batches = Vec::new();
    for &(gap, records, bytes) in steps {
        offset += gap;
        batches.push(batch(offset, records).bytes_total(bytes));
        offset += i64::from(records);
    }
    (batches.iter().flat_map(TestBatch::bytes).collect(), batches)
}

fn plan(from: i64, up_to: i64, max_bytes: u64, bytes: usize) -> WalkPlan {
    let request = ReadRequest { from: Offset(from), up_to: Offset(up_to), max_bytes, at_least_one: true };
    let bytes = FilePosition(bytes as u64);
    let limit = WalkLimit::Offset { up_to: Offset(up_to), bytes };
    let (segment_base, start) = (Offset(50), WalkStart::At(FilePosition(0)));
    WalkPlan { segment_base, start, limit, request, before: Offset(i64::MAX), nearer: None }
}

fn walk(plan: WalkPlan, bytes: &[u8], window: usize) -> WalkStep {
    let mut walk = plan.walk();
    let (mut at, mut end) = (0, 0);
    for _ in 0..=bytes.len() {
        match walk.feed(FilePosition(at as u64), &bytes[at..end]).expect("whole batches") {
            WalkStep::Need(position) => {
                at = usize::try_from(position.0).expect("small");
                end = bytes.len().min(at + 61 + window);
            }
            done => return done,
        }
    }
    panic!("a walk comes to an end");
}

#[test]
fn a_limit_by_position_needs_one_header() {
    let (bytes, _) = segment(&[(0, 5, 100), (0, 5, 300), (0, 5, 100)]);
    let limit = WalkLimit::Position(FilePosition(400));
    let slice = |from, max_bytes| walk(WalkPlan { limit, ..plan(from, 60, max_bytes, 500) }, &bytes, 0);
    let found = |start, first_batch_end, end, limited| {
        let [start, first_batch_end, end] = [start, first_batch_end, end].map(FilePosition);
        WalkStep::Found(ReadSlice { segment_base: Offset(50), start, first_batch_end, end, limited })
    };
    assert_eq!(slice(50, 150), found(0, 100, 150, true), "a partial batch at the end");
    assert_eq!(slice(54, 1), found(0, 100, 100, true), "the first batch is whole");
    assert_eq!(slice(55, 9_999), found(100, 400, 400, false));
    assert_eq!(slice(55, 300), found(100, 400, 400, false), "just what there is");
    assert_eq!(slice(60, 9_999), WalkStep::Nothing);
    let request = ReadRequest { at_least_one: false, ..plan(55, 60, 299, 0).request };
    let withheld = WalkPlan { limit, request, ..plan(55, 60, 299, 500) };
    assert_eq!(walk(withheld, &bytes, 0), WalkStep::Withheld);
}

/// What a read of five batches of ten offsets from 50 on comes to when the base offset of one of them is another.
fn turned(batch: usize, base: i64, from: i64, start: u64) -> Result<WalkStep, ReadError> {
    let (mut bytes, _) = segment(&[(0, 10, 100); 5]);
    bytes[batch * 100..batch * 100 + 8].copy_from_slice(&base.to_be_bytes());
    let limit = WalkLimit::Position(FilePosition(500));
    let start = WalkStart::At(FilePosition(start));
    let plan = WalkPlan { limit, start, before: Offset(120), ..plan(from, 100, 9_999, 500) };
    plan.walk().feed(FilePosition(0), &bytes)
}

#[test]
fn a_base_offset_that_was_turned_is_an_error_wherever_it_is_seen() {
    let position = |result: Result<WalkStep, ReadError>| match result {
        Err(error @ ReadError::Offsets { position, .. }) => {
            assert_eq!(error.code(), ErrorCode::CorruptMessage);
            position
        }
        other => panic!("{other:?}"),
    };
    assert!(turned(2, 70, 70, 0).is_ok(), "as it was");
    assert_eq!(position(turned(2, 7, 70, 0)), 200, "lower: the reader would pass over it");
    assert_eq!(position(turned(2, 65, 75, 0)), 200, "lower by less than a batch");
    assert_eq!(position(turned(2, 7, 85, 0)), 200, "on the way");
    assert_eq!(position(turned(2, 111, 70, 0)), 200, "higher than the next segment's");
    assert_eq!(position(turned(2, 70 + (1 << 40), 70, 0)), 200, "far higher");
    assert_eq!(position(turned(2, 75, 70, 0)), 300, "higher: the one behind does not follow");
    assert_eq!(
        position(turned(2, 75, 70, 200)),
        200,
        "higher than the offset for which the index leads here"
    );
    assert_eq!(position(turned(0, 49, 50, 0)), 0, "before the segment");
    assert!(turned(4, 90, 60, 0).is_ok(), "what is not seen is not judged");
}

/// Where a read of five batches of ten offsets from 50 on begins with the header of the third at hand, which the index
/// knows; and where without.
fn begun(base: i64, from: i64) -> (WalkStart, WalkStart) {
    let (mut bytes, _) = segment(&[(0, 10, 100); 5]);
    bytes[200..208].copy_from_slice(&base.to_be_bytes());
    let mut index = OffsetIndex::new(Offset(50), 800);
    index.append(Offset(59), FilePosition(0));
    index.append(Offset(79), FilePosition(200));
    let without = plan(from, 100, 9_999, 500).with_index(&index);
    (without.begun_at(&bytes[200..]).start, without.start)
}

#[test]
fn a_walk_begins_nearer_only_at_the_batch_that_the_index_means() {
    let at = |position| WalkStart::At(FilePosition(position));
    assert_eq!(begun(70, 70), (at(200), at(0)));
    assert_eq!(begun(70, 79), (at(200), at(200)), "the index leads there itself");
    assert_eq!(begun(70, 69), (at(0), at(0)), "an earlier batch has it");
    assert_eq!(begun(69, 70), (at(0), at(0)), "turned: the walk will tell");
    assert_eq!(begun(70 + (1 << 40), 70), (at(0), at(0)));
    let (bytes, _) = segment(&[(0, 10, 100)]);
    let unknown = plan(70, 100, 9_999, 500);
    assert_eq!(unknown.begun_at(&bytes), unknown, "no index, no place");
    let mut index = OffsetIndex::new(Offset(50), 800);
    index.append(Offset(59), FilePosition(0));
    let known = unknown.with_index(&index);
    assert_eq!((known.nearer, known.begun_at(&bytes[..60])), (None, known));
}

#[test]
fn a_slice_is_cut_where_the_index_knows_a_batch() {
    let mut index = OffsetIndex::new(Offset(50), 800);
    index.append(Offset(60), FilePosition(300));
    index.append(Offset(70), FilePosition(700));
    let slice = |first_batch_end, end| ReadSlice {
        segment_base: Offset(50),
        start: FilePosition(100),
        first_batch_end: FilePosition(first_batch_end),
        end: FilePosition(end),
        limited: true,
    };
    assert_eq!(slice(200, 650).cut_by(&index), slice(200, 300));
    assert_eq!(slice(200, 700).cut_by(&index), slice(200, 700));
    assert_eq!(slice(350, 650).cut_by(&index), slice(350, 650), "the first batch stays whole");
    assert_eq!(slice(200, 250).cut_by(&index), slice(200, 250));
    assert_eq!(slice(200, 250).bytes(), 150);
    let whole = ReadSlice { limited: false, ..slice(200, 650) };
    assert_eq!(whole.cut_by(&index), whole, "the last batches of a segment may be behind its last entry");
}

#[test]
fn bytes_that_are_no_batch_are_an_error() {
    let (mut bytes, _) = segment(&[(0, 5, 100), (0, 5, 300)]);
    bytes[116] = 1;
    let mut walk = plan(55, 99, 100, 400).walk();
    let error = walk.feed(FilePosition(0), &bytes).expect_err("magic 1");
    assert_eq!(error, ReadError::Corrupt { position: 100, error: BatchError::Magic(1) });
    assert_eq!(error.code().name(), "CORRUPT_MESSAGE");
}

proptest! {
    #[test]
    fn a_walk_finds_what_a_look_at_every_batch_finds(
        steps in prop::collection::vec((0_i64..4, 1_i32..6, 61_usize..300), 0..30),
        from in 50_i64..200,
        readable in 0_i64..160,
        max_bytes in 0_u64..1_500,
        window in 0_usize..500,
    ) {
        let (bytes, batches) = segment(&steps);
        let up_to = from + readable;
        let mut position = 0;
        let mut places = Vec::new();
        for batch in &batches {
            let header = batch.header();
            let end = position + header.batch_bytes as u64;
            places.push((header, position, end));
            position = end;
        }
        let visible: Vec<_> =
            places.iter().take_while(|place| place.0.last_offset().0 < up_to).collect();
        let first = visible.iter().find(|place| place.0.last_offset().0 >= from);
        let expected = match first {
            None => WalkStep::Nothing,
            Some(&&(_, start, first_end)) => {
                let all = visible.last().expect("the first is one").2;
                let end = all.min((start + max_bytes).max(first_end));
                WalkStep::Found(ReadSlice {
                    segment_base: Offset(50),
                    start: FilePosition(start),
                    first_batch_end: FilePosition(first_end),
                    end: FilePosition(end),
                    limited: (start + max_bytes).max(first_end) < all,
                })
            }
        };
        prop_assert_eq!(walk(plan(from, up_to, max_bytes, bytes.len()), &bytes, window), expected);
    }
}
