//! Scans of generated segments, whole, cut and damaged.

use super::*;
use crate::log::testing::{TestBatch, batch, control};
use crate::protocol::records::edit;
use proptest::prelude::*;

/// Collects what a scan finds.
#[derive(Default)]
struct Collect(Vec<ScannedBatch>);

impl BatchSink for Collect {
    fn batch(&mut self, batch: &ScannedBatch) -> Option<AbortedTransaction> {
        self.0.push(*batch);
        None
    }
}

fn config() -> LogConfig {
    LogConfig { index_interval_bytes: 150, ..LogConfig::default() }
}

fn scan(bytes: &[u8], piece: usize, limit: Option<Offset>) -> (SegmentScan, Collect) {
    let bounds = ScanBounds { file_bytes: bytes.len() as u64, modified: TimestampMs(5), limit };
    let mut scan = SegmentScan::new(Offset(100), bounds, &config());
    let mut found = Collect::default();
    for piece in bytes.chunks(piece) {
        if !scan.feed(piece, &mut found) {
            break;
        }
    }
    (scan, found)
}

fn segment(batches: &[TestBatch]) -> Vec<u8> {
    batches.iter().flat_map(TestBatch::bytes).collect()
}

fn some_batches() -> Vec<TestBatch> {
    vec![
        batch(100, 3).bytes_total(90).timestamp(10),
        batch(103, 1).bytes_total(61).timestamp(30),
        control(104, 7, 2).marker(false, 9),
        batch(105, 2).bytes_total(200).timestamp(20).leader_epoch(4),
        batch(110, 1).bytes_total(75),
    ]
}

#[test]
fn every_batch_is_found_in_pieces_of_any_size() {
    let bytes = segment(&some_batches());
    for piece in [1, 7, 61, 1_000] {
        let (scan, found) = scan(&bytes, piece, None);
        assert_eq!((scan.end(), scan.valid_end().0), (PrefixEnd::Whole, bytes.len() as u64));
        assert_eq!(scan.next_offset(), Offset(111));
        let bases: Vec<_> = found.0.iter().map(|batch| batch.header.base_offset.0).collect();
        assert_eq!(bases, [100, 103, 104, 105, 110]);
        assert_eq!(found.0[3].position.0, 90 + 61 + 78);
        let marker = EndTransactionMarker { committed: false, coordinator_epoch: 9 };
        assert_eq!(found.0.iter().filter_map(|batch| batch.marker).collect::<Vec<_>>(), [marker]);
        let (closed, indexes) = scan.into_closed();
        assert_eq!((closed.bytes, closed.modified), (bytes.len() as u64, TimestampMs(5)));
        assert_eq!(closed.largest_timestamp.expect("it was scanned").timestamp, TimestampMs(1_000));
        assert_eq!(
            indexes.offsets.encode_from(0),
            [[0, 0, 0, 4, 0, 0, 0, 151], [0, 0, 0, 10, 0, 0, 1, 173]].concat()
        );
    }
}

#[test]
fn a_cut_anywhere_leaves_the_whole_batches_before_it() {
    let batches = some_batches();
    let bytes = segment(&batches);
    for cut in 0..bytes.len() {
        for zeros in [0, 1, 61, 300] {
            let mut torn = bytes[..cut].to_vec();
            torn.resize(cut + zeros, 0);
            let (scan, found) = scan(&torn, 64, None);
            let mut ends = batches.iter().scan(0, |end, batch| {
                *end += batch.header().batch_bytes;
                Some(*end)
            });
            // Zeros may happen to be just what was cut off.
            let same = bytes.iter().zip(&torn).take_while(|(byte, torn)| byte == torn).count();
            let whole = ends.by_ref().take_while(|&end| end <= same).count();
            assert_eq!(found.0.len(), whole, "cut at {cut}, {zeros} zeros");
            assert!(scan.valid_end().0 <= cut.max(same) as u64);
        }
    }
}

#[test]
fn a_flipped_bit_anywhere_ends_the_prefix_there() {
    let batches = some_batches();
    let bytes = segment(&batches);
    let third_end = 90 + 61 + 78;
    // The base offset and the epoch are not under the CRC: their faults show in the order alone.
    for at in third_end + 8..third_end + 200 {
        if (third_end + 12..third_end + 16).contains(&at) {
            continue;
        }
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x04;
        let (scan, found) = scan(&damaged, 50, None);
        assert_eq!((found.0.len(), scan.valid_end().0), (3, third_end as u64), "byte {at}");
        assert_ne!(scan.end(), PrefixEnd::Whole);
    }
}

#[test]
fn the_end_says_why() {
    let end = |bytes: &[u8], limit| scan(bytes, 33, limit).0.end();
    let whole = segment(&some_batches());
    assert_eq!(end(&[], None), PrefixEnd::Whole);
    assert_eq!(end(&[0; 5], None), PrefixEnd::Zeros);
    assert_eq!(end(&[0; 500], None), PrefixEnd::Zeros);
    assert_eq!(end(&[1; 500], None), PrefixEnd::NoBatch);
    assert_eq!(end(&whole[..50], None), PrefixEnd::Torn);
    assert_eq!(end(&whole[..89], None), PrefixEnd::Torn);
    assert_eq!(end(&whole, Some(Offset(105))), PrefixEnd::Limit);
    assert_eq!(end(&whole, Some(Offset(111))), PrefixEnd::Whole);
    let mut bad_crc = whole.clone();
    bad_crc[80] ^= 1;
    assert_eq!(end(&bad_crc, None), PrefixEnd::Crc);
    let backwards = segment(&[batch(105, 1), batch(104, 1)]);
    assert_eq!(end(&backwards, None), PrefixEnd::Offsets);
    assert_eq!(end(&segment(&[batch(99, 1)]), None), PrefixEnd::Offsets);
    let far = segment(&[batch(101 + i64::from(i32::MAX), 1)]);
    assert_eq!(end(&far, None), PrefixEnd::Offsets);
}

#[test]
fn a_limit_cuts_the_batch_that_spans_it() {
    let whole = segment(&some_batches());
    for (limit, next) in [(100, 100), (102, 100), (103, 103), (106, 105), (107, 107), (110, 107), (111, 111)]
    {
        let (scan, _) = scan(&whole, 40, Some(Offset(limit)));
        assert_eq!(scan.next_offset(), Offset(next), "limit {limit}");
    }
}

#[test]
fn an_emptied_control_batch_has_no_marker() {
    let mut bytes = control(100, 7, 0).bytes();
    bytes.truncate(61);
    bytes[8..12].copy_from_slice(&49_i32.to_be_bytes());
    bytes[57..61].fill(0);
    edit::set_crc(&mut bytes);
    let (_, found) = scan(&bytes, 10, None);
    assert_eq!(found.0[0].marker, None);
}

#[test]
fn a_claimed_length_takes_no_memory() {
    let mut bytes = batch(100, 1).bytes();
    bytes[8..12].copy_from_slice(&i32::MAX.to_be_bytes());
    assert_eq!(scan(&bytes, 10, None).0.end(), PrefixEnd::Torn);
    let mut huge_control = control(100, 7, 0).bytes_total(100_000);
    huge_control = huge_control.without_marker();
    let (scan, found) = scan(&huge_control.bytes(), 4_096, None);
    assert_eq!((scan.end(), found.0.len(), found.0[0].marker), (PrefixEnd::Whole, 1, None));
}

proptest! {
    #[test]
    fn no_bytes_make_a_scan_panic(bytes in prop::collection::vec(any::<u8>(), 0..400), piece in 1_usize..100) {
        let (scan, found) = scan(&bytes, piece, None);
        prop_assert!(scan.valid_end().0 <= bytes.len() as u64);
        prop_assert!(found.0.is_empty(), "a CRC does not come about by chance");
    }

    #[test]
    fn a_scan_in_two_halves_is_a_whole_one(
        steps in prop::collection::vec((1_i32..5, 61_usize..400, 0_i64..3_000), 2..60),
        half in 0_usize..60,
    ) {
        let mut offset = 100;
        let mut batches = Vec::new();
        for (records, bytes, timestamp) in steps {
            batches.push(batch(offset, records).bytes_total(bytes).timestamp(timestamp));
            offset += i64::from(records);
        }
        let bytes = segment(&batches);
        let (whole, _) = scan(&bytes, 1 << 20, None);
        let (_, indexes) = whole.clone().into_closed();
        let entries = indexes.offsets.len();
        prop_assume!(entries > 0);
        let mut kept = indexes;
        let entry_at = half % entries;
        let file = kept.offsets.encode_from(0);
        let read = |at: usize| u32::from_be_bytes(file[at..at + 4].try_into().expect("4 bytes"));
        let (last, position) = (read(entry_at * 8), read(entry_at * 8 + 4));
        let behind = Offset(100 + i64::from(last) + 1);
        prop_assert!(kept.offsets.truncate_to(behind) && kept.times.truncate_to(behind));
        let largest = kept.times.last_entry();
        let resumed = ResumedSegment {
            bytes: u64::from(position),
            largest_timestamp: largest.unwrap_or(whole.clone().into_active().largest_timestamp()),
            first_timestamp: Some(batches[0].header().max_timestamp),
            modified: TimestampMs(5),
            bytes_since_entry: 0,
            indexes: kept,
        };
        let bounds = ScanBounds { file_bytes: bytes.len() as u64, modified: TimestampMs(5), limit: None };
        let mut rest = SegmentScan::resume(Offset(100), resumed, Offset(100), bounds, &config());
        let from = usize::try_from(rest.valid_end().0).expect("small");
        rest.feed(&bytes[from..], &mut IgnoreBatches);
        prop_assert_eq!(rest.into_closed(), whole.into_closed());
    }
}
