//! Fetch: what the broker's own limits make of the client's, and what several owners' answers make together.

use ottla_wire::ApiKey;

use super::*;
use crate::controller::testing::{image_with, topic};
use crate::request::tests::context;

fn params(request: &FetchRequest<'_>, bytes_max: u32) -> FetchParams {
    FetchQuestion::new(&context(ApiKey::Fetch, 12), request, bytes_max).params
}

#[test]
fn a_client_gets_no_more_than_the_broker_gives() {
    let asked = |min_bytes, max_bytes| FetchRequest { min_bytes, max_bytes, ..Default::default() };
    let cases = [((1, i32::MAX), (1, 2_000)), ((1, 1_999), (1, 1_999)), ((5_000, 9_000), (2_000, 2_000))];
    for ((min, max), (min_given, max_given)) in cases {
        let params = params(&asked(min, max), 2_000);
        assert_eq!((params.min_bytes, params.max_bytes), (min_given, max_given), "asked for {min}..{max}");
    }
    assert_eq!(
        params(&asked(9, 5), 2_000).min_bytes,
        5,
        "no answer can have more than its limit to wait for"
    );
    assert_eq!(params(&asked(1, i32::MAX), u32::MAX).max_bytes, i32::MAX);
}

/// A request for some partitions of a topic that has three, each up to `partition_max` bytes of it.
fn plan(asked: &FetchRequest<'_>, partitions: &[i32], partition_max: i32) -> FetchPlan<u32> {
    let partition = |&index| {
        let partition = PartitionRef { topic: TopicRef::Name(Arc::from("t")), partition: index };
        let (fetch_offset, max_bytes) = (Offset(0), partition_max);
        (partition, Wanted { fetch_offset, max_bytes, current_leader_epoch: -1, last_fetched_epoch: -1 })
    };
    let image = image_with(&[topic("t", 1, 3)]);
    FetchPlan::new(&image, params(asked, u32::MAX), partitions.iter().map(partition).collect())
}

/// The outcome of a read of so many bytes.
fn of_bytes(bytes: u32) -> FetchOutcome<u32> {
    FetchOutcome { bytes, records: bytes, available: bytes, ..FetchOutcome::refused(ErrorCode::None) }
}

/// What is left of partitions with so many bytes read, where each may have `partition_max` and all have `max_bytes`.
fn limited(read: &[u32], partition_max: i32, max_bytes: i32) -> Vec<u32> {
    let mut plan = plan(&FetchRequest { max_bytes, ..Default::default() }, &[0, 1, 2], partition_max);
    for (part, &bytes) in plan.parts().iter().zip(read) {
        plan.answer(part.slot, of_bytes(bytes));
    }
    plan.limit();
    plan.outcomes.iter().flatten().map(|outcome| outcome.records).collect()
}

#[test]
fn only_the_first_batch_of_all_passes_the_limits() {
    assert_eq!(limited(&[50, 50, 20], 100, 120), [50, 50, 20], "all of it fits");
    assert_eq!(limited(&[50, 50, 20], 100, 119), [50, 50, 0]);
    assert_eq!(limited(&[50, 50, 20], 100, 99), [50, 0, 20], "what fits behind it still comes");
    assert_eq!(limited(&[50, 50, 20], 100, 1), [50, 0, 0]);
    assert_eq!(limited(&[0, 50, 20], 100, 1), [0, 50, 0], "the first with records, wherever it stands");
    assert_eq!(limited(&[50, 50, 20], 20, 1000), [50, 0, 20], "the limit of a partition is one, too");
}

/// Whether a request that waits for 100 bytes of these partitions is due when its reads came to this.
fn is_due(partitions: &[i32], outcomes: &[FetchOutcome<u32>]) -> bool {
    let asked = FetchRequest { max_wait_ms: 500, min_bytes: 100, max_bytes: 1_000, ..Default::default() };
    let mut plan = plan(&asked, partitions, 1_000);
    let parts = plan.parts();
    assert_eq!(parts.len(), outcomes.len(), "those that are there are read");
    for (part, outcome) in parts.iter().zip(outcomes) {
        plan.answer(part.slot, outcome.clone());
    }
    plan.is_due()
}

#[test]
fn a_reply_is_due_when_there_is_enough_and_not_before() {
    assert!(!is_due(&[0, 1], &[of_bytes(60), of_bytes(39)]));
    assert!(is_due(&[0, 1], &[of_bytes(60), of_bytes(40)]));
    let cut = FetchOutcome { available: 100, ..of_bytes(70) };
    assert!(is_due(&[0], &[cut]), "a batch that does not fit any more is there all the same");
    let refused = FetchOutcome::refused(ErrorCode::OffsetOutOfRange);
    assert!(is_due(&[0, 1], &[of_bytes(0), refused]), "an error does not wait");
}

#[test]
fn a_reader_of_an_older_segment_waits_for_nothing() {
    let last_of_its_segment = FetchOutcome { is_behind: true, ..of_bytes(1) };
    assert!(is_due(&[0], &[last_of_its_segment]));
    assert!(!is_due(&[0], &[of_bytes(1)]));
}

#[test]
fn partitions_that_do_not_exist_hurry_nobody() {
    assert!(!is_due(&[0, 7], &[of_bytes(0)]), "the other one is waited for");
    assert!(is_due(&[7], &[]), "there is nothing to wait for");
    assert!(is_due(&[], &[]));
}
