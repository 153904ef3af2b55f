//! The aborted transactions of reads, against a look at every batch.

use super::*;
use crate::ids::{LeaderEpoch, ProducerId};
use crate::log::load::EntryCounts;
use crate::log::read::{ReadPlan, ReadRequest};
use crate::log::testing::disk::{Disk, NOW};
use crate::log::testing::{batch, control};
use crate::log::{LogConfig, NewBatch, TransactionCheck};
use proptest::prelude::*;

fn append(log: &mut Log, disk: &mut Disk, producer: i64, what: u8) -> bool {
    let open = log.producers().has_open_transaction(ProducerId(producer));
    let last = log.producers().get(ProducerId(producer)).map_or(-1, |entry| entry.last_sequence());
    let verified = TransactionCheck { verified: true, ..TransactionCheck::default() };
    let next = match what {
        0 => batch(0, 2).bytes_total(120),
        1..=4 => batch(0, 2).producer(producer, 0, last + 1).transactional().bytes_total(120),
        5.. => control(0, producer, 0).marker(what == 5, 0),
    };
    let marker = next.end_marker();
    let new = if marker.is_some() {
        NewBatch { marker, ..NewBatch::of_coordinator(next.header()) }
    } else {
        NewBatch { transaction: verified, ..NewBatch::of_client(next.header()) }
    };
    disk.append_as(log, next, new).aborted && open
}

fn search(log: &Log, disk: &Disk, request: ReadRequest) -> Option<(Vec<AbortedTransaction>, Offset)> {
    let slice = match log.read_plan(request).expect("in range") {
        ReadPlan::Slice(slice) => slice,
        ReadPlan::Empty | ReadPlan::Withheld | ReadPlan::Walk(_) => return None,
    };
    let index = disk.indexes_of(slice.segment_base).offsets;
    let mut search = log.aborted_search(request.from, &slice, Some(&index));
    let to = search.to;
    loop {
        match search.step(log) {
            AbortedStep::ReadIndex { segment_base } => {
                search.feed(log, &disk.indexes_of(segment_base).aborted);
            }
            AbortedStep::Done(found) => return Some((found, to)),
        }
    }
}

proptest! {
    #[test]
    fn every_aborted_transaction_that_overlaps_is_named(
        steps in prop::collection::vec((0_i64..3, 0_u8..7), 1..90),
        from in 0_i64..150,
        max_bytes in 0_u64..1_500,
        release in any::<bool>(),
    ) {
        let config = LogConfig { segment_bytes: 900, index_interval_bytes: 100, ..LogConfig::default() };
        let mut log = Log::new(config, Offset(0), 1, NOW);
        let mut disk = Disk { piece_bytes: 99, ..Disk::new(&log) };
        log.become_leader(LeaderEpoch(0));
        let mut aborted = Vec::new();
        for (producer, what) in steps {
            let entry = log.producers().get(ProducerId(producer));
            let first_offset = entry.and_then(|entry| entry.transaction_first_offset);
            let marker = log.log_end_offset();
            if append(&mut log, &mut disk, producer, what) {
                aborted.push((first_offset.expect("it was open"), marker));
            }
        }
        log.mark_durable(log.log_end_offset());
        disk.write_active_indexes(&log);
        if release {
            log.release_indexes(0, EntryCounts { offsets: usize::MAX, times: usize::MAX, aborted: usize::MAX });
        }
        let from = Offset(from % (log.log_end_offset().0 + 1));
        let up_to = log.last_stable_offset();
        let request = ReadRequest { from, up_to, max_bytes, at_least_one: true };
        if let Some((found, to)) = search(&log, &disk, request) {
            let last = disk.read(&log, request).last().expect("a slice holds a batch").1;
            prop_assert!(last < to);
            let found: Vec<_> = found.iter().map(|entry| (entry.first_offset, entry.last_offset)).collect();
            prop_assert!(found.is_sorted());
            for entry in &found {
                prop_assert!(aborted.contains(entry) && entry.1 >= from && entry.0 < to);
            }
            for entry in aborted.iter().filter(|entry| entry.1 >= from && entry.0 <= last) {
                prop_assert!(found.contains(entry), "{:?} is missing in {:?}", entry, found);
            }
        }
    }
}
