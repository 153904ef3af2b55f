//! Entries against segments that have them, lack them, have them torn, or have others.

use proptest::prelude::*;

use super::*;
use crate::ids::{FilePosition, TopicIdPartition, Uuid};
use crate::log::journal::EntryHead;
use crate::log::testing::batch;

fn batches(first: i64, count: i64, bytes: usize) -> Vec<u8> {
    (first..first + count).flat_map(|offset| batch(offset, 1).bytes_total(bytes).bytes()).collect()
}

fn entry(bytes: &[u8]) -> Entry<'_> {
    let head = EntryHead {
        id: TopicIdPartition { topic_id: Uuid([1; 16]), partition: 0 },
        topic: "topic",
        segment_base: Offset(0),
        position: FilePosition(0),
    };
    Entry { head, bytes }
}

/// Plays an entry into a segment's bytes, as the shell does, in windows of at least `window` bytes.
fn play(entry: &Entry<'_>, segment: &mut Vec<u8>, mut window: usize) -> bool {
    loop {
        let end = window.min(segment.len());
        match decide(entry, &segment[..end], end == segment.len()) {
            Replay::There => return true,
            Replay::Diverged => return false,
            Replay::Need { bytes } => {
                assert!(bytes > end, "it asks for more");
                window = bytes;
            }
            Replay::Write { from } => {
                segment.resize(segment.len().max(entry.bytes.len()), 0);
                segment[from..entry.bytes.len()].copy_from_slice(&entry.bytes[from..]);
            }
        }
    }
}

proptest! {
    /// A write back that was cut off leaves each sector old or new; what was old is zeros, or an earlier part of it.
    #[test]
    fn a_torn_write_back_is_made_whole(
        (count, bytes) in (1_i64..40, 61_usize..900),
        old_batches in 0_i64..40,
        unit in prop_oneof![Just(512_usize), Just(4096)],
        kept in any::<u64>(),
        shorter in any::<bool>(),
    ) {
        let ours = batches(0, count, bytes);
        let mut old = batches(0, old_batches.min(count), bytes);
        old.resize(if shorter { old.len() } else { ours.len().next_multiple_of(4096) }, 0);
        let mut new = ours.clone();
        new.resize(ours.len().next_multiple_of(4096), 0);
        let mut segment = old;
        for (at, sector) in new.chunks(unit).enumerate() {
            let from = at * unit;
            if kept >> (at % 64) & 1 == 1 {
                segment.resize(segment.len().max(from + sector.len()), 0);
                segment[from..from + sector.len()].copy_from_slice(sector);
            }
        }
        prop_assert!(play(&entry(&ours), &mut segment, ours.len()));
        prop_assert_eq!(&segment[..ours.len()], &ours[..]);
        prop_assert_eq!(decide(&entry(&ours), &segment, true), Replay::There);
    }
}

#[test]
fn a_cut_at_any_byte_is_filled_up_and_nothing_else_is_touched() {
    let ours = batches(5, 3, 100);
    for cut in 0..ours.len() {
        let whole = cut / 100 * 100;
        assert_eq!(decide(&entry(&ours), &ours[..cut], true), Replay::Write { from: whole });
    }
    assert_eq!(decide(&entry(&ours), &ours, true), Replay::There);
}

#[test]
fn the_log_of_another_broker_stays() {
    let ours = batches(5, 3, 100);
    for other in [batches(5, 3, 70), batches(5, 1, 2_000), batches(7, 2, 100)] {
        let mut segment = other.clone();
        assert!(!play(&entry(&ours), &mut segment, ours.len()));
        assert_eq!(segment, other);
        let mut later = [&ours[..100], &other].concat();
        let before = later.clone();
        assert!(!play(&entry(&ours), &mut later, ours.len()));
        assert_eq!(later, before);
    }
}

#[test]
fn a_batch_that_lacks_its_offset_alone_is_ours() {
    let ours = batches(300, 1, 200);
    let mut segment = ours.clone();
    segment[..8].fill(0);
    assert!(play(&entry(&ours), &mut segment, 200));
    assert_eq!(segment, ours);
}

#[test]
fn only_the_last_segment_and_later_ones_are_played_into() {
    assert!(is_played(Offset(5), None));
    assert!(is_played(Offset(5), Some(Offset(5))));
    assert!(is_played(Offset(6), Some(Offset(5))));
    assert!(!is_played(Offset(4), Some(Offset(5))));
}
