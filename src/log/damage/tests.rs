//! Searches behind torn writes, damaged bytes and records that look like batches.

use super::*;
use crate::log::testing::batch;
use proptest::prelude::*;

fn search(bytes: &[u8], search_bytes: u64, piece: usize) -> (Option<LaterBatch>, bool) {
    let mut search =
        DamageSearch::new(Offset(100), Offset(110), FilePosition(0), bytes.len() as u64, search_bytes);
    for piece in bytes.chunks(piece) {
        if !search.feed(piece) {
            break;
        }
    }
    search.outcome()
}

fn found(position: u64, base_offset: i64) -> (Option<LaterBatch>, bool) {
    (Some(LaterBatch { position: FilePosition(position), base_offset: Offset(base_offset) }), true)
}

const NOTHING: (Option<LaterBatch>, bool) = (None, true);

#[test]
fn a_later_batch_is_found_wherever_it_begins() {
    for gap in [0, 1, 60, 61, 777] {
        let mut bytes = vec![0xee; gap];
        bytes.extend(batch(112, 3).bytes_total(300).bytes());
        bytes.extend([0; 90]);
        for piece in [1, 16, 61, 100, 5_000] {
            assert_eq!(search(&bytes, u64::MAX, piece), found(gap as u64, 112), "{gap} {piece}");
        }
    }
}

#[test]
fn what_is_no_later_batch_is_not_found() {
    let older = batch(109, 1).bytes_total(300).bytes();
    assert_eq!(search(&older, u64::MAX, 100), NOTHING, "its offset was seen before");
    let far = batch(101 + i64::from(i32::MAX), 1).bytes();
    assert_eq!(search(&far, u64::MAX, 100), NOTHING, "it belongs to another segment");
    let mut torn = batch(112, 1).bytes_total(300).bytes();
    assert_eq!(search(&torn[..299], u64::MAX, 100), NOTHING);
    torn[200] ^= 1;
    assert_eq!(search(&torn, u64::MAX, 100), NOTHING);
    assert_eq!(search(&[0; 10_000], u64::MAX, 100), NOTHING);
    assert_eq!(search(&[2; 10_000], u64::MAX, 100), NOTHING);
}

#[test]
fn the_search_ends_where_it_was_told_to() {
    let mut bytes = vec![0; 500];
    bytes.extend(batch(112, 1).bytes_total(300).bytes());
    assert_eq!(search(&bytes, 500, 64), NOTHING);
    assert_eq!(search(&bytes, 501, 64), found(500, 112), "a batch that begins within is looked at whole");
    let mut search = DamageSearch::new(Offset(100), Offset(110), FilePosition(0), 800, 100);
    assert!(search.feed(&[0; 60]));
    assert!(!search.feed(&[0; 101]), "no header could begin before the end any more");
}

#[test]
fn a_torn_batch_that_spans_a_whole_one_does_not_hide_it() {
    let mut bytes = batch(110, 1).bytes_total(2_000).bytes();
    bytes.truncate(400);
    bytes.extend(batch(111, 1).bytes_total(100).bytes());
    bytes.extend([0; 3_000]);
    assert_eq!(search(&bytes, u64::MAX, 90), found(400, 111));
}

#[test]
fn more_headers_than_can_be_followed_are_admitted() {
    // Headers of large batches, one behind the other: each claims bytes that are not its own.
    let mut bytes = Vec::new();
    for at in 0..=CANDIDATES_MAX as i64 {
        let header = batch(112 + at, 1).bytes_total(5_000).bytes();
        bytes.extend_from_slice(&header[..61]);
    }
    bytes.resize(8_000, 0xee);
    assert_eq!(search(&bytes, u64::MAX, 100), (None, false));
}

proptest! {
    #[test]
    fn the_first_whole_batch_behind_noise_is_found(
        noise in prop::collection::vec(any::<u8>(), 0..300),
        bytes in 61_usize..400,
        offset in 110_i64..5_000,
        piece in 1_usize..200,
    ) {
        let mut all = noise.clone();
        all.extend(batch(offset, 1).bytes_total(bytes).bytes());
        prop_assert_eq!(search(&all, u64::MAX, piece), found(noise.len() as u64, offset));
        prop_assert_eq!(search(&noise, u64::MAX, piece).0, None);
    }
}

#[test]
fn a_sector_of_zeros_is_the_sign_of_a_torn_write() {
    let later = batch(112, 3).bytes_total(300).bytes();
    let torn = |gap: &[u8], from: u64| {
        let bytes = [gap, &later].concat();
        let all = [1, 61, 5_000].map(|piece| {
            let mut search = DamageSearch::new(
                Offset(100),
                Offset(110),
                FilePosition(from),
                from + bytes.len() as u64,
                u64::MAX,
            );
            let _ = bytes.chunks(piece).all(|piece| search.feed(piece));
            assert!(search.outcome().0.is_some());
            search.looks_torn()
        });
        assert!(all.iter().all(|&one| one == all[0]));
        all[0]
    };
    let gap = |bytes: usize, zeros: std::ops::Range<usize>| {
        let mut gap = vec![0xee; bytes];
        gap[zeros].fill(0);
        gap
    };
    assert!(!torn(&gap(2_000, 0..0), 0));
    assert!(torn(&gap(2_000, 512..1_024), 0));
    assert!(!torn(&gap(2_000, 513..1_535), 0), "no sector is whole");
    assert!(torn(&gap(2_000, 511..1_024), 1), "the same sector, where the prefix ends at byte 1");
    assert!(!torn(&gap(2_000, 1_536..2_000), 0), "the later batch was written in that sector");
    assert!(torn(&gap(2_000, 0..12), 500), "the rest of the sector in which the prefix ends");
    assert!(!torn(&gap(2_000, 0..7), 505), "a base offset begins with zeros");
    assert!(torn(&gap(468, 0..468), 43), "the later batch begins with the last byte of that sector, a zero");
    assert!(!torn(&gap(468, 0..467), 43), "not all of what is before it was left out");
    assert!(!torn(&gap(512, 508..512), 1_020), "those zeros may be of the batch before");
}

#[test]
fn nothing_is_looked_for_within_a_batch_that_is_whole_but_for_its_crc() {
    let inner = batch(112, 1).bytes_total(200).bytes();
    let bytes = [vec![0xee; 61], inner.clone(), batch(120, 1).bytes_total(100).bytes()].concat();
    let search = DamageSearch::new(Offset(100), Offset(110), FilePosition(0), bytes.len() as u64, 10);
    let mut behind = search.behind(261);
    behind.feed(&bytes);
    assert_eq!(behind.outcome(), found(261, 120));
}
