//! The generator against a broker of a few threads: nothing here depends on how fast either of them is.

use super::*;
use crate::fake::{FakeBroker, Script};
use crate::{BenchArgs, BenchCommand, ProduceArgs};
use clap::Parser;

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    bench: BenchArgs,
}

/// Runs `bench produce` with these flags and gives its exit code and its report.
fn produce(broker: &FakeBroker, flags: &str) -> (u8, String) {
    let line =
        format!("bench produce --topic t --record-size 100 --bootstrap-server {} {flags}", broker.address());
    let command = Command::try_parse_from(line.split_whitespace()).expect("the flags exist");
    let mut out = Vec::new();
    let code = crate::run(&command.bench, &mut out).expect("the load begins");
    (code, String::from_utf8(out).expect("text"))
}

/// The number in a row of a report.
fn figure(report: &str, name: &str) -> u64 {
    let row = report.lines().find(|line| line.starts_with(&format!("| {name} ")));
    let cell = row.and_then(|row| row.split('|').nth(2)).unwrap_or_else(|| panic!("no {name} in {report}"));
    cell.trim().replace(',', "").parse().expect("a number")
}

#[test]
fn exactly_the_records_arrive_over_all_connections_and_partitions() {
    let broker = FakeBroker::start(Script::default());
    let (code, report) = produce(&broker, "--records 1003 --batch-records 10 --connections 3 --partitions 4");
    assert_eq!((code, figure(&report, "records"), figure(&report, "errors")), (0, 1_003, 0));
    let seen = broker.seen();
    assert_eq!((seen.records(), seen.produce_requests), (1_003, 101));
    assert!(seen.acks.iter().all(|acks| *acks == -1));
    assert_eq!(seen.partitions.len(), 4);
    assert!(seen.partitions.iter().all(|(records, _)| *records > 0), "every partition got its share");
    let title = "produce to t (4 partitions): acks all, compression none, 10 records of 100 bytes to a batch\n\
                 3 connections with 5 requests in flight, as fast as answers come\n";
    assert!(report.starts_with(title), "{report}");
}

#[test]
fn a_window_is_filled_and_never_passed() {
    // The broker answers none of a connection's requests before four are there: fewer in flight would hang, and five
    // would be seen.
    let broker = FakeBroker::start(Script { hold: 4, ..Script::default() });
    let (code, report) = produce(&broker, "--records 400 --batch-records 1 --connections 1 --in-flight 4");
    assert_eq!((code, figure(&report, "records")), (0, 400));
    assert_eq!(broker.seen().in_flight_max, 4);
}

#[test]
fn one_in_flight_means_one() {
    let broker = FakeBroker::start(Script::default());
    let (code, _) = produce(&broker, "--records 200 --batch-records 1 --connections 2 --in-flight 1");
    assert_eq!((code, broker.seen().in_flight_max), (0, 1));
}

#[test]
fn refused_batches_are_errors_and_the_others_are_not() {
    let refuse = Some((5..8, ErrorCode::NotEnoughReplicas));
    let broker = FakeBroker::start(Script { refuse, ..Script::default() });
    let (code, report) = produce(&broker, "--records 200 --batch-records 10");
    assert_eq!((code, figure(&report, "records"), figure(&report, "errors")), (1, 170, 30));
    assert_eq!(figure(&report, "errors: NOT_ENOUGH_REPLICAS"), 30);
    assert_eq!(broker.seen().records(), 170);
}

#[test]
fn what_a_lost_connection_leaves_unanswered_is_an_error() {
    let broker = FakeBroker::start(Script { close_at: Some(7), ..Script::default() });
    let (code, report) = produce(&broker, "--records 200 --batch-records 10 --connections 1 --in-flight 3");
    assert_eq!((code, figure(&report, "records")), (1, 70));
    // The request that got no answer, and up to two behind it.
    let errors = figure(&report, "errors");
    assert!((10..=30).contains(&errors) && errors.is_multiple_of(10), "{report}");
    assert_eq!(broker.seen().records(), 70);
}

#[test]
fn the_other_connections_carry_on_behind_a_lost_one() {
    let broker = FakeBroker::start(Script { close_at: Some(3), ..Script::default() });
    let (code, report) = produce(&broker, "--records 2000 --batch-records 10 --connections 4 --in-flight 2");
    assert_eq!(code, 1);
    assert_eq!(figure(&report, "records") + figure(&report, "errors"), 2_000, "{report}");
    assert!(figure(&report, "errors") <= 20, "{report}");
}

#[test]
fn acks_0_counts_what_was_sent() {
    let broker = FakeBroker::start(Script::default());
    let (code, report) = produce(&broker, "--records 500 --batch-records 10 --acks 0 --connections 2");
    assert_eq!((code, figure(&report, "records")), (0, 500));
    assert!(report.contains("until the socket took it p99, ms"), "{report}");
    assert!(broker.seen().acks.iter().all(|acks| *acks == 0));
}

#[test]
fn an_idempotent_load_keeps_its_sequences() {
    let broker = FakeBroker::start(Script::default());
    let flags =
        "--records 1200 --batch-records 7 --idempotent --connections 3 --partitions 2 --compression lz4";
    let (code, report) = produce(&broker, flags);
    assert_eq!((code, figure(&report, "records")), (0, 1_200), "{report}");
    assert_eq!(broker.seen().records(), 1_200);
}

#[test]
fn an_idempotent_connection_stops_at_its_first_error() {
    let refuse = Some((4..5, ErrorCode::NotLeaderOrFollower));
    let broker = FakeBroker::start(Script { refuse, ..Script::default() });
    let flags =
        "--records 100000 --batch-records 1 --idempotent --connections 1 --partitions 1 --in-flight 5";
    let (code, report) = produce(&broker, flags);
    assert_eq!((code, figure(&report, "records")), (1, 4), "{report}");
    assert_eq!(figure(&report, "errors: NOT_LEADER_OR_FOLLOWER"), 1);
    // Behind the gap come only those that were in flight with it.
    assert!(broker.seen().produce_requests <= 10, "{report}");
}

#[test]
fn a_broker_that_is_not_ready_is_waited_for() {
    let broker = FakeBroker::start(Script { busy_replies: 2, ..Script::default() });
    let flags = "--records 100 --batch-records 10 --idempotent --partitions 2 --connections 1";
    let (code, report) = produce(&broker, flags);
    assert_eq!((code, figure(&report, "records")), (0, 100), "{report}");
    assert_eq!(broker.seen().busy_answers, 4, "two for the leader, two for the producer id");
}

#[test]
fn a_rate_and_a_count_send_everything_that_is_due() {
    let broker = FakeBroker::start(Script::default());
    let (code, report) = produce(&broker, "--records 300 --batch-records 3 --rate 100000");
    assert_eq!((code, figure(&report, "records")), (0, 300));
    assert!(report.contains("100,000 records/s offered"), "{report}");
    let (_, report) = produce(&broker, "--records 300 --batch-records 3 --rate 100000 --seconds 60");
    assert_eq!(figure(&report, "due and never sent, records"), 0, "{report}");
}

#[test]
fn old_versions_name_the_topic_and_new_ones_its_id() {
    for produce_version_max in [3, 9, 12, 13] {
        let broker = FakeBroker::start(Script { produce_version_max, ..Script::default() });
        let (code, report) = produce(&broker, "--records 20 --batch-records 5");
        assert_eq!((code, figure(&report, "records")), (0, 20), "version {produce_version_max}");
    }
}

#[test]
fn a_topic_of_another_size_is_refused() {
    let broker = FakeBroker::start(Script::default());
    produce(&broker, "--records 1 --partitions 2");
    let line = format!("bench produce --topic t --partitions 3 --bootstrap-server {}", broker.address());
    let command = Command::try_parse_from(line.split_whitespace()).expect("the flags exist");
    let error = crate::run(&command.bench, &mut Vec::new()).expect_err("2 are not 3");
    assert_eq!(error.to_string(), "topic t: has 2 partitions, and --partitions says 3");
}

#[test]
fn sequences_go_on_per_partition_and_wrap() {
    let mut producer =
        Producer { id: ProducerId(1), epoch: ProducerEpoch(0), next_sequences: BTreeMap::new() };
    assert_eq!(producer.sequence(0, 5).base_sequence, 0);
    assert_eq!(producer.sequence(1, 5).base_sequence, 0);
    assert_eq!(producer.sequence(0, 5).base_sequence, 5);
    producer.next_sequences.insert(0, i32::MAX);
    assert_eq!(producer.sequence(0, 2).base_sequence, i32::MAX);
    assert_eq!(producer.sequence(0, 2).base_sequence, 1);
}

#[test]
fn the_example_is_one_of_produce() {
    let command = Command::try_parse_from(["bench", "produce"]).expect("no flag is needed");
    assert!(matches!(command.bench.command, BenchCommand::Produce(ProduceArgs { idempotent: false, .. })));
}
