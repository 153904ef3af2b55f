//! What a Fetch costs before a byte of a record moves: the request's plan, and where one partition's bytes are.

use std::hint::black_box;

use ottla::errors::ErrorCode;
use ottla::ids::Offset;
use ottla::log::read::{ReadPlan, ReadRequest};
use ottla::protocol::compression::Codec;
use ottla::request::fetch::{FetchOutcome, FetchParams, FetchPlan};
use ottla::request::fetch_session::{PartitionRef, TopicRef, Wanted};

use crate::append::{append, leader};
use crate::suite::Suite;
use crate::{batches, metadata};

const VERSION: i16 = 17;
const ASKED: u64 = 100;
const BYTES: u32 = 16 << 10;
/// Batches of the log, far more than its tail remembers.
const BATCHES: i64 = 20_000;

fn params() -> FetchParams {
    FetchParams {
        max_wait_ms: 500,
        min_bytes: 1,
        max_bytes: 50 << 20,
        read_committed: false,
        from_replica: false,
    }
}

/// A partition of each of 100 topics.
fn wanted() -> Vec<(PartitionRef, Wanted)> {
    let wanted = Wanted {
        fetch_offset: Offset(1_000),
        max_bytes: 1 << 20,
        current_leader_epoch: 0,
        last_fetched_epoch: -1,
    };
    let topic = |number| TopicRef::Id(metadata::topic_id(number * 7 % metadata::TOPICS));
    (0..ASKED).map(|number| (PartitionRef { topic: topic(number), partition: 3 }, wanted)).collect()
}

fn outcome() -> FetchOutcome<u64> {
    FetchOutcome {
        error: ErrorCode::None,
        high_watermark: Offset(2_000),
        last_stable_offset: Offset(2_000),
        log_start_offset: Offset(0),
        diverging: None,
        aborted: Vec::new(),
        records: 1,
        bytes: BYTES,
        available: BYTES,
        is_behind: false,
    }
}

fn plan(suite: &mut Suite) {
    let (image, wanted) = (metadata::image(), wanted());
    suite.time("Fetch of 100 partitions, plan and reply", || {
        let mut plan: FetchPlan<u64> = FetchPlan::new(&image, params(), black_box(&wanted).clone());
        for part in plan.parts() {
            plan.answer(part.slot, outcome());
        }
        assert!(plan.is_due(), "there are bytes");
        plan.limit();
        let told = plan.told();
        let (reply, splices) = plan.into_reply(VERSION, 0, &vec![true; told.len()]);
        assert_eq!(splices.len() as u64, ASKED, "every partition has records");
        reply
    });
}

fn read(suite: &mut Suite) {
    let header = batches::header(&batches::build(&batches::values(), Codec::None));
    let mut log = leader();
    (0..BATCHES).for_each(|_| append(&mut log, header));
    let end = log.log_end_offset();
    let request = |from| ReadRequest { from, up_to: end, max_bytes: 1 << 20, at_least_one: true };
    let (new, old) = (request(Offset(end.0 - 100)), request(Offset(end.0 / 2)));
    assert!(matches!(log.read_plan(new), Ok(ReadPlan::Slice(_))), "the tail knows it");
    assert!(matches!(log.read_plan(old), Ok(ReadPlan::Walk(_))), "the index knows it");
    suite.time("read plan in the tail", || log.read_plan(black_box(new)).is_ok());
    suite.time("read plan behind the tail", || log.read_plan(black_box(old)).is_ok());
}

pub fn measure(suite: &mut Suite) {
    plan(suite);
    read(suite);
}
