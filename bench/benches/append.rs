//! What one append costs the log's arithmetic, without a byte moved: for plain and for idempotent producers.

use std::hint::black_box;

use ottla::ids::{LeaderEpoch, Offset, ProducerEpoch, ProducerId};
use ottla::log::{AppendOutcome, Log, LogConfig, NewBatch};
use ottla::protocol::compression::Codec;
use ottla::protocol::records::BatchHeader;
use ottla::protocol::records::header::sequence_plus;
use ottla::time::Monotonic;

use crate::batches::{self, NOW, RECORDS};
use crate::suite::Suite;

/// A log that leads and is empty.
pub fn leader() -> Log {
    let mut log = Log::new(LogConfig::default(), Offset::ZERO, 1, Monotonic::ZERO);
    assert!(log.become_leader(LeaderEpoch(0)), "the epoch is its first");
    log
}

/// Appends the batch and lets the disk have it.
pub fn append(log: &mut Log, header: BatchHeader) {
    let outcome = log.append(&NewBatch::of_client(header), Monotonic::ZERO, NOW).expect("nothing forbids it");
    let AppendOutcome::Appended(appended) = outcome else { panic!("no batch is sent twice") };
    log.mark_durable(appended.last_offset.plus(1));
    black_box(appended.at);
}

pub fn measure(suite: &mut Suite) {
    let header = batches::header(&batches::build(&batches::values(), Codec::None));
    let mut log = leader();
    suite.time("append, plain producer", || append(&mut log, black_box(header)));
    let mut log = leader();
    let mut batches = 0_i32;
    suite.time("append, 100 idempotent producers in turn", || {
        let (producer, round) = (batches % 100, batches / 100);
        batches = batches.wrapping_add(1);
        let records = i32::try_from(RECORDS).expect("few");
        let sequenced = BatchHeader {
            producer_id: ProducerId(i64::from(producer)),
            producer_epoch: ProducerEpoch(0),
            base_sequence: sequence_plus(0, round.wrapping_mul(records)),
            ..header
        };
        append(&mut log, black_box(sequenced));
    });
}
