//! Loads of records against a broker of a few threads: nothing here depends on how fast either of them is.

use std::time::Duration;

use clap::Parser;

use super::{Kind, Mode};
use crate::fake::{Command, FakeBroker, Script};
use crate::{BenchCommand, BenchError, Interrupt};
use ottla::errors::ErrorCode;

mod ending;
mod reading;
mod unacknowledged;

fn try_bench(broker: &FakeBroker, flags: &str) -> Result<(u8, String), BenchError> {
    let (mode, flags) = flags.split_once(' ').unwrap_or((flags, ""));
    broker.run(mode, &format!("--topic t {flags}"))
}

/// Runs a load and gives its exit code and its report.
fn bench(broker: &FakeBroker, flags: &str) -> (u8, String) {
    try_bench(broker, flags).expect("the load begins")
}

/// The number in a row of a report; 0 where there is no such row.
fn figure(report: &str, name: &str) -> u64 {
    let row = report.lines().find(|line| line.starts_with(&format!("| {name} ")));
    let cell = row.and_then(|row| row.split('|').nth(2)).unwrap_or("0");
    cell.trim().replace(',', "").parse().unwrap_or_else(|_| panic!("no {name} in {report}"))
}

fn produced(report: &str) -> (u64, u64) {
    (figure(report, "produced, records"), figure(report, "errors"))
}

/// Flags of records of 100 bytes, ten to a batch.
const TENS: &str = "--record-size 100 --batch-size 1390 --partitioner round-robin --linger 0";

#[test]
fn exactly_the_records_arrive_over_all_clients_and_partitions() {
    let broker = FakeBroker::start(Script::default());
    let (code, report) =
        bench(&broker, &format!("produce {TENS} --num-records 1003 --clients 3 --partitions 4"));
    assert_eq!((code, produced(&report)), (0, (1_003, 0)), "{report}");
    let seen = broker.seen();
    assert_eq!(seen.records(), 1_003);
    assert!(seen.acks.iter().all(|acks| *acks == -1));
    assert_eq!(seen.partitions().count(), 4);
    assert!(seen.partitions().all(|(records, _)| *records > 200), "every partition got its share");
    assert!(seen.wide_requests > 0, "a request carries batches of several partitions");
    assert!(report.starts_with("produce t (4 partitions); 3 producers of 100 bytes"), "{report}");
}

#[test]
fn batches_are_filled_and_never_passed() {
    let broker = FakeBroker::start(Script::default());
    let (code, report) = bench(&broker, &format!("produce {TENS} --num-records 2000 --partitions 1"));
    assert_eq!((code, produced(&report)), (0, (2_000, 0)), "{report}");
    let seen = broker.seen();
    assert!((9..=12).contains(&seen.batch_records_max), "{} records", seen.batch_records_max);
    assert!(seen.produce_requests >= 2_000 / 12);
}

#[test]
fn a_window_is_filled_and_never_passed() {
    // The broker answers none of a connection's requests before four are there: fewer in flight would hang, and five
    // would be seen. Each request has one batch, so that their number is known.
    let broker = FakeBroker::start(Script { hold: 4, ..Script::default() });
    let flags = "produce --record-size 100 --batch-size 0 --num-records 400 --partitions 1 --in-flight 4";
    let (code, report) = bench(&broker, flags);
    assert_eq!((code, produced(&report)), (0, (400, 0)), "{report}");
    let seen = broker.seen();
    assert_eq!((seen.in_flight_max, seen.produce_requests), (4, 400));
}

#[test]
fn one_in_flight_means_one() {
    let broker = FakeBroker::start(Script::default());
    let (code, _) = bench(&broker, &format!("produce {TENS} --num-records 200 --clients 2 --in-flight 1"));
    assert_eq!((code, broker.seen().in_flight_max), (0, 1));
}

#[test]
fn refused_batches_are_errors_and_the_others_are_not() {
    let refuse = Some((5..8, ErrorCode::NotEnoughReplicas));
    let broker = FakeBroker::start(Script { refuse, ..Script::default() });
    let flags = "produce --record-size 100 --batch-size 0 --num-records 200 --partitions 1";
    let (code, report) = bench(&broker, flags);
    assert_eq!((code, produced(&report)), (1, (197, 3)), "{report}");
    assert_eq!(figure(&report, "errors: NOT_ENOUGH_REPLICAS"), 3);
    assert_eq!(broker.seen().records(), 197);
}

#[test]
fn what_a_lost_connection_leaves_unanswered_is_an_error() {
    let broker = FakeBroker::start(Script { close_at: Some(7), ..Script::default() });
    let flags = "produce --record-size 100 --batch-size 0 --num-records 200 --partitions 1 --in-flight 3";
    let (code, report) = bench(&broker, flags);
    let (records, errors) = produced(&report);
    assert_eq!((code, records, broker.seen().records()), (1, 7, 7), "{report}");
    // The request that got no answer, up to two behind it, and what was made for the next.
    assert!((1..=10).contains(&errors), "{report}");
    assert_eq!(records + errors + figure(&report, "due and unsent records"), 200, "{report}");
}

#[test]
fn a_load_that_lost_its_broker_says_so_and_blames_nobody_for_the_rate() {
    let broker = FakeBroker::start(Script { close_at: Some(7), ..Script::default() });
    let flags = "--rate 100 --duration 30s --batch-size 0 --linger 0 --partitions 1";
    for mode in ["produce", "end-to-end"] {
        let (code, report) = bench(&broker, &format!("{mode} {flags}"));
        let lost =
            format!("s of 30 s: the connection to {} was lost (connection closed by", broker.address());
        assert!(code == 1 && report.contains(&lost), "{report}");
        assert!(report.contains("\nthe load ended after ") && report.contains("\nuntil then "), "{report}");
        assert!(!report.contains("the limit") && !report.contains("rate not reached"), "{report}");
        broker.seen().produce_requests = 0;
    }
}

#[test]
fn a_soak_comes_back_to_its_broker_and_tells_what_became_of_the_records() {
    let flags = "soak --rate 100 --duration 3s --batch-size 0 --linger 0 --partitions 1";
    for more in ["", " --idempotent"] {
        let broker = FakeBroker::start(Script { close_at: Some(7), ..Script::default() });
        let (code, report) = bench(&broker, &format!("{flags}{more}"));
        let (records, errors) = produced(&report);
        assert_eq!((code, records + errors), (1, 300), "what got no answer is an error: {report}");
        assert!(records > 200 && records as i64 == broker.seen().records(), "{report}");
        assert!(report.contains("\n1 connection was lost and opened again, after "), "{report}");
        assert!(report.contains("records, all as sent") && !report.contains("ended after"), "{report}");
    }
    let forgetful = Script { close_at: Some(7), lose: Some(30), ..Script::default() };
    let (code, report) = bench(&FakeBroker::start(forgetful), flags);
    assert!(code == 1 && report.contains("1 record lost: "), "{report}");
}

#[test]
fn a_ramp_is_measured_from_its_first_rate_on() {
    let broker = FakeBroker::start(Script::default());
    let flags = "produce --rate 1k..3k --warmup 200ms --duration 400ms --batch-size 0 --record-size 30";
    let (code, report) = bench(&broker, flags);
    assert_eq!((code, broker.seen().records()), (0, 200 + 800), "{report}");
    assert!(report.contains(" 1,000 to 3,000 records/s, "), "{report}");
}

#[test]
fn the_other_clients_carry_on_behind_a_lost_one() {
    let broker = FakeBroker::start(Script { close_at: Some(3), ..Script::default() });
    let (code, report) =
        bench(&broker, &format!("produce {TENS} --num-records 2000 --clients 4 --partitions 2"));
    let (records, errors) = produced(&report);
    assert_eq!(code, 1);
    assert!(records >= 1_500, "three of four shares: {report}");
    assert!(report.contains("\n1 of 4 producers ended after "), "{report}");
    assert_eq!(records + errors + figure(&report, "due and unsent records"), 2_000, "{report}");
}

#[test]
fn acks_0_counts_what_was_sent_and_all_of_it_arrives() {
    let broker = FakeBroker::start(Script::default());
    let (code, report) = bench(&broker, &format!("produce {TENS} --num-records 500 --acks 0 --clients 2"));
    assert_eq!((code, produced(&report)), (0, (500, 0)), "{report}");
    assert!(broker.seen().acks.iter().all(|acks| *acks == 0));
    assert_eq!(broker.seen().records(), 500, "the load ends when the broker has read everything");
}

#[test]
fn an_idempotent_load_keeps_its_sequences() {
    let broker = FakeBroker::start(Script::default());
    let flags = format!(
        "produce {TENS} --num-records 1200 --idempotent --clients 3 --partitions 2 --compression lz4"
    );
    let (code, report) = bench(&broker, &flags);
    assert_eq!((code, produced(&report)), (0, (1_200, 0)), "{report}");
    assert_eq!(broker.seen().records(), 1_200);
}

#[test]
fn an_idempotent_client_stops_at_its_first_error() {
    let refuse = Some((4..5, ErrorCode::NotLeaderOrFollower));
    let broker = FakeBroker::start(Script { refuse, ..Script::default() });
    let flags = "produce --record-size 100 --batch-size 0 --num-records 100k --idempotent --partitions 1";
    let (code, report) = bench(&broker, flags);
    assert_eq!((code, figure(&report, "produced, records")), (1, 4), "{report}");
    assert_eq!(figure(&report, "errors: NOT_LEADER_OR_FOLLOWER"), 1);
    // Behind the gap come only those that were in flight with it.
    assert!(broker.seen().produce_requests <= 10, "{report}");
}

#[test]
fn a_broker_that_is_not_ready_is_waited_for() {
    let broker = FakeBroker::start(Script { busy_replies: 2, ..Script::default() });
    let (code, report) =
        bench(&broker, &format!("produce {TENS} --num-records 100 --idempotent --partitions 2"));
    assert_eq!((code, produced(&report)), (0, (100, 0)), "{report}");
    assert_eq!(broker.seen().busy_answers, 4, "two for the leader, two for the producer id");
}

#[test]
fn a_rate_and_a_count_send_everything_that_is_due() {
    let broker = FakeBroker::start(Script::default());
    let (_, report) = bench(&broker, &format!("produce {TENS} --num-records 300 --rate 10k"));
    assert_eq!(produced(&report), (300, 0), "{report}");
    assert!(report.contains("10,000 records/s"), "{report}");
    let (_, report) = bench(&broker, &format!("produce {TENS} --rate 1k..3k --duration 200ms --clients 2"));
    assert_eq!(produced(&report), (400, 0), "the integral of the ramp: {report}");
}

#[test]
fn keys_choose_their_partitions() {
    let broker = FakeBroker::start(Script::default());
    let flags = "produce --record-size 50 --keys sequential:1 --num-records 500 --partitions 6";
    let (code, report) = bench(&broker, flags);
    assert_eq!((code, produced(&report)), (0, (500, 0)), "{report}");
    let counts: Vec<i64> = broker.seen().partitions().map(|(records, _)| *records).collect();
    let own = crate::keys::partition_of(b"key-0", 6);
    assert_eq!((counts[own], counts.iter().sum::<i64>()), (500, 500));
}

#[test]
fn increasing_numbers_are_the_values_over_all_clients() {
    let broker = FakeBroker::start(Script::default());
    let flags = "produce --payload-monotonic --num-records 1200 --clients 3 --partitions 2";
    let (code, report) = bench(&broker, flags);
    assert_eq!((code, produced(&report)), (0, (1_200, 0)), "{report}");
    assert!(report.contains("3 producers of increasing numbers as fast as"), "{report}");
    let mut numbers: Vec<u64> =
        broker.seen().values().iter().map(|value| value.parse().expect("a number")).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..1_200).collect::<Vec<_>>());
    let (code, report) = bench(&broker, "end-to-end --payload-monotonic --num-records 300");
    assert_eq!((code, figure(&report, "consumed, records")), (0, 300), "{report}");
}

#[test]
fn old_versions_name_the_topic_and_new_ones_its_id() {
    for produce_version_max in [3, 9, 12, 13] {
        let broker = FakeBroker::start(Script { produce_version_max, ..Script::default() });
        let (code, report) = bench(&broker, &format!("produce {TENS} --num-records 20"));
        assert_eq!((code, produced(&report)), (0, (20, 0)), "version {produce_version_max}");
    }
}

#[test]
fn a_topic_that_is_not_as_asked_is_one_line() {
    let broker = FakeBroker::start(Script::default());
    let error = try_bench(&broker, "consume --no-create").expect_err("nothing was produced");
    assert_eq!(error.to_string(), "topic t: does not exist");
    let error = try_bench(&broker, "produce --no-create").expect_err("nothing was produced");
    assert_eq!(error.to_string(), "topic t: does not exist");
    bench(&broker, "produce --num-records 1 --partitions 2");
    let error = try_bench(&broker, "produce --partitions 3").expect_err("2 are not 3");
    assert_eq!(error.to_string(), "topic t: has 2 partitions, and --partitions says 3");
}

/// A broker with 300 records in 5 partitions.
fn filled(script: Script) -> FakeBroker {
    let broker = FakeBroker::start(script);
    let (_, report) = bench(&broker, &format!("produce {TENS} --num-records 300 --partitions 5"));
    assert_eq!(produced(&report), (300, 0), "{report}");
    broker
}

fn consumed(report: &str) -> (u64, u64) {
    (figure(report, "consumed, records"), figure(report, "errors"))
}

#[test]
fn all_records_come_once_whatever_the_consumers_and_their_sessions() {
    let broker = filled(Script::default());
    for clients in [1, 2, 5, 9] {
        let (code, report) = bench(&broker, &format!("consume --clients {clients} --no-fetch-session"));
        assert_eq!((code, consumed(&report)), (0, (300, 0)), "{report}");
        assert!(report.contains("300 records, all as sent"), "{report}");
    }
    assert_eq!(broker.seen().session_fetches, 0);
    let (code, report) = bench(&broker, "consume");
    assert_eq!((code, consumed(&report)), (0, (300, 0)), "{report}");
    assert!(broker.seen().session_fetches > 0);
}

#[test]
fn a_session_that_the_broker_forgot_is_begun_anew() {
    let broker = filled(Script { session_requests: Some(1), fetch_batches: 1, ..Script::default() });
    let (code, report) = bench(&broker, "consume");
    assert_eq!((code, consumed(&report)), (0, (300, 0)), "{report}");
    assert!(broker.seen().session_fetches > 0, "a second request of some session was taken");
}

#[test]
fn enough_records_end_a_consumer() {
    let broker = filled(Script { fetch_batches: 1, ..Script::default() });
    let (code, report) = bench(&broker, "consume --num-records 20");
    let (records, _) = consumed(&report);
    assert_eq!(code, 0, "{report}");
    assert!((20..200).contains(&records), "one batch of each partition: {report}");
}

#[test]
fn a_consumer_that_sees_nothing_has_its_time_and_its_rows() {
    let broker = filled(Script::default());
    let (code, report) = bench(&broker, "consume --from latest --duration 250ms --warmup 50ms");
    assert_eq!((code, consumed(&report)), (0, (0, 0)), "{report}");
    let row = |name: &str| report.lines().find(|line| line.starts_with(name)).expect(name).to_owned();
    assert!(row("| seconds ").ends_with(" 0.25 |"), "{report}");
    for figure in ["| consumed, records ", "| consumed, records/s "] {
        assert!(row(figure).ends_with(" 0 |"), "{report}");
    }
    assert!(row("| consumed, MB/s ").ends_with(" 0.0 |") && report.contains("\nno record came"), "{report}");
    let (code, report) = bench(&broker, "consume --from latest --duration 100ms --num-records 5");
    assert!(code == 1 && report.contains("\n0 of 5 records came"), "{report}");
}

#[test]
fn damage_is_found_and_fails_the_run() {
    let broker = filled(Script { corrupt: true, fetch_batches: 100, ..Script::default() });
    let (code, report) = bench(&broker, "consume");
    assert_eq!(code, 1, "{report}");
    assert!(report.contains("damaged: partition") && report.contains("at offset 0"), "{report}");
    assert!(report.contains("| FAILED: 5 batches corrupt of "), "one of each partition: {report}");
}

#[test]
fn batches_that_an_answer_has_twice_fail_the_run() {
    let broker = filled(Script { twice: true, ..Script::default() });
    let (code, report) = bench(&broker, "consume");
    assert_eq!((code, consumed(&report)), (1, (300, 0)), "{report}");
    assert!(report.contains("FAILED: 300 repeated of 300 records"), "{report}");
}

#[test]
fn end_to_end_everything_comes_back() {
    let broker = FakeBroker::start(Script::default());
    let short = "--record-size 10 --batch-size 500";
    let cases = [
        TENS,
        &format!("{TENS} --compression zstd --clients 3 --consumers 2"),
        short,
        &format!("{TENS} --acks 0"),
    ];
    for flags in cases {
        let (code, report) = bench(&broker, &format!("end-to-end --num-records 600 {flags}"));
        assert_eq!(
            (code, produced(&report), figure(&report, "consumed, records")),
            (0, (600, 0), 600),
            "{report}"
        );
        assert!(report.contains("600 records, all as sent"), "{report}");
        assert!(report.contains("end to end p99, ms"), "{report}");
    }
}

#[test]
fn a_broker_that_loses_repeats_or_reorders_is_found_out() {
    let faults = [
        (Script { lose: Some(3), ..Script::default() }, "lost: partition"),
        (Script { repeat: Some(3), ..Script::default() }, "duplicate: partition"),
        (Script { swap: Some(9), ..Script::default() }, "out of order: partition"),
    ];
    for (script, finding) in faults {
        let broker = FakeBroker::start(script);
        let (code, report) = bench(&broker, &format!("end-to-end {TENS} --num-records 400 --partitions 1"));
        assert_eq!((code, produced(&report)), (1, (400, 0)), "{report}");
        assert!(report.contains(finding) && report.contains("at offset"), "{report}");
    }
}

#[test]
fn records_without_stamps_are_counted() {
    let broker = FakeBroker::start(Script { lose: Some(7), ..Script::default() });
    let flags = "end-to-end --record-size 10 --batch-size 0 --num-records 40 --partitions 1";
    let (code, report) = bench(&broker, flags);
    assert_eq!(code, 1, "{report}");
    assert!(report.contains("40 records were acknowledged and 39 came"), "{report}");
}

#[test]
fn a_lost_last_batch_is_found_out() {
    // 400 records of 100 bytes, one to a batch.
    let broker = FakeBroker::start(Script { lose: Some(399), ..Script::default() });
    let flags = "end-to-end --record-size 100 --batch-size 0 --num-records 400 --partitions 1";
    let (code, report) = bench(&broker, flags);
    assert_eq!(code, 1, "{report}");
    assert!(report.contains("1 record lost: partition 0 of t at offset 399: records 399 to 399"), "{report}");
}

#[test]
fn files_are_written_and_drawn() {
    let broker = FakeBroker::start(Script::default());
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = |name: &str| directory.path().join(name).display().to_string();
    let (json, page, hgrm) = (path("a.json"), path("a.html"), path("a.hgrm"));
    let flags = format!("produce {TENS} --num-records 50 --json {json} --report {page} --hgrm {hgrm}");
    assert_eq!(bench(&broker, &flags).0, 0);
    let result = crate::result::read(json.as_ref()).expect("a result");
    assert_eq!(result.totals.get("produced").map(|flow| (flow.records, flow.bytes)), Some((50, 5_000)));
    assert_eq!(result.latencies_ns.get("ack").map(hdrhistogram::Histogram::len), Some(50));
    assert!(std::fs::read_to_string(page).expect("a page").contains("<svg"));
    assert!(std::fs::read_to_string(hgrm).expect("percentiles").contains("Percentile"));
}

#[test]
fn both_sides_count_the_bytes_of_keys_and_values() {
    let broker = FakeBroker::start(Script::default());
    let directory = tempfile::tempdir().expect("a temporary directory");
    let json = directory.path().join("run.json");
    for (flags, bytes) in
        [("--keys none", 60_000), ("--keys uniform:10 --compression zstd --compressibility 0", 0)]
    {
        let flags = format!("end-to-end {TENS} --num-records 600 {flags} --json {}", json.display());
        let (code, report) = bench(&broker, &flags);
        assert_eq!(code, 0, "{report}");
        let result = crate::result::read(&json).expect("a result");
        let totals = ["produced", "consumed"].map(|flow| result.totals[flow].bytes);
        assert_eq!(totals[0], totals[1], "{report}");
        assert!(if bytes > 0 { totals[0] == bytes } else { totals[0] > 60_000 }, "{report}");
        let (sent, fetched) = (result.counters["sent_batch_bytes"], result.counters["fetched_batch_bytes"]);
        assert_eq!(sent, fetched, "{report}");
        assert_eq!(sent > totals[0], bytes > 0, "headers add to it, compression takes away: {report}");
    }
}

#[test]
fn a_file_that_cannot_be_written_is_told_before_the_load() {
    let broker = FakeBroker::start(Script::default());
    let directory = tempfile::tempdir().expect("a temporary directory");
    let nowhere = directory.path().join("nowhere/run");
    for flag in ["--json", "--hgrm", "--report"] {
        let flags = format!("produce --num-records 5 {flag} {}", nowhere.display());
        let line = try_bench(&broker, &flags).expect_err("there is no such directory").to_string();
        assert_eq!(line, format!("{flag} {}: No such file or directory (os error 2)", nowhere.display()));
    }
    assert_eq!(broker.seen().topics_created, 0, "nothing was asked of the broker");
}

#[test]
fn a_file_that_fails_at_the_end_takes_no_other_with_it() {
    let broker = FakeBroker::start(Script::default());
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = |name: &str| directory.path().join(name).display().to_string();
    let (page, hgrm) = (path("a.html"), path("a.hgrm"));
    let flags = format!("produce --num-records 5 --json /dev/full --report {page} --hgrm {hgrm}");
    let line = try_bench(&broker, &flags).expect_err("a device without room").to_string();
    assert!(line.starts_with("/dev/full: "), "{line}");
    assert!(std::fs::read_to_string(page).expect("a page").contains("<svg"));
    assert!(std::fs::read_to_string(hgrm).expect("percentiles").contains("Percentile"));
}

/// Runs a workload file with these lines before what all of them say, and gives its exit code and its report.
fn workload(broker: &FakeBroker, lines: &str, flags: &str) -> (u8, String) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("load.yaml");
    let text = format!("{lines}testDurationMinutes: 1\nwarmupDurationMinutes: 0\n");
    std::fs::write(&file, text).expect("a file");
    broker.run("workload", &format!("{} {flags}", file.display())).expect("the load begins")
}

const THREE_TOPICS: &str = "topics: 3\npartitionsPerTopic: 2\nsubscriptionsPerTopic: 2\n\
                            consumerPerSubscription: 2\nproducersPerTopic: 2\nproducerRate: 3000\n";

#[test]
fn topics_share_the_rate_and_every_subscription_reads_all_of_its_topic() {
    for values in
        ["messageSize: 100\n", "messageSize: 10\n", "messageSize: 50\nkeyDistributor: KEY_ROUND_ROBIN\n"]
    {
        let broker = FakeBroker::start(Script::default());
        let (code, report) =
            workload(&broker, &format!("{THREE_TOPICS}{values}"), "--duration 200ms --topic load");
        assert_eq!((code, produced(&report)), (0, (600, 0)), "{report}");
        assert_eq!(figure(&report, "consumed, records"), 1_200, "two subscriptions: {report}");
        assert!(report.contains("1,200 records, all as sent"), "{report}");
        assert!(
            report.starts_with(
                "end-to-end 3 topics load-0000000 to load-0000002 (2 partitions each); 6 producers of "
            ) && report.contains("; 12 consumers\n"),
            "{report}"
        );
        let seen = broker.seen();
        let kept: Vec<_> = seen.topics.iter().map(|topic| (topic.name.as_str(), topic.records())).collect();
        assert_eq!(kept, [("load-0000000", 200), ("load-0000001", 200), ("load-0000002", 200)]);
    }
}

#[test]
fn a_fault_in_one_of_several_topics_is_found_and_its_topic_named() {
    let driver = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(driver.path(), "producerConfig: |\n  batch.size=0\n").expect("a file");
    let flags = format!("--duration 100ms --topic load --driver {}", driver.path().display());
    let lose = Script { lose: Some(30), ..Script::default() };
    let repeat = Script { repeat: Some(40), ..Script::default() };
    // Without a number in each record and with one; without, one too many may be somebody else's.
    let lost = (1, "1 record lost: ");
    let faults = [(lose, [lost; 2]), (repeat, [(0, "1 record too many: "), (1, "1 record duplicate: ")])];
    for (script, found) in faults {
        for (size, (expected, fault)) in [10, 100].into_iter().zip(found) {
            let broker = FakeBroker::start(script.clone());
            let (code, report) = workload(&broker, &format!("{THREE_TOPICS}messageSize: {size}\n"), &flags);
            assert_eq!((code, produced(&report)), (expected, (300, 0)), "{report}");
            let found = report.lines().filter(|line| line.starts_with(fault));
            let named = found.filter(|line| line.contains(" of load-000000")).count();
            assert_eq!(named, 2, "each subscription finds it: {report}");
        }
    }
}

#[test]
fn a_backlog_is_built_and_drained_over_all_topics_and_subscriptions() {
    let broker = FakeBroker::start(Script::default());
    // 3,000 records wait in all, of each topic as much as of the others; below 1,000 nothing counts as waiting.
    let lines = format!("{THREE_TOPICS}messageSize: 100\n").replace("3000", "6000");
    let (code, report) = workload(&broker, &lines, "--duration 300ms --topic load --backlog 300000");
    assert_eq!((code, figure(&report, "errors")), (0, 0), "{report}");
    let records = figure(&report, "backlog records");
    assert!(records >= 3_000 && figure(&report, "backlog bytes") == records * 100, "{report}");
    assert!(figure(&report, "backlog build ms") > 0, "1,500 records at 6,000 a second: {report}");
    assert!(
        report.contains("| backlog drain ms ") && report.contains("while production went on"),
        "{report}"
    );
    let (produced, _) = produced(&report);
    assert!(produced >= 1_500 + 1_700, "the whole duration follows: {report}");
    assert_eq!(figure(&report, "consumed, records"), 2 * produced, "{report}");
    assert!(report.contains("records, all as sent") && report.contains("; a backlog of 300,000 bytes"));
    assert_eq!(broker.seen().records() as u64, produced);
}

#[test]
fn a_backlog_that_producers_cannot_build_fails_the_run() {
    let driver = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(driver.path(), "producerConfig: |\n  enable.idempotence=true\n").expect("a file");
    let refuse = Some((2..9_999, ErrorCode::NotEnoughReplicas));
    let broker = FakeBroker::start(Script { refuse, ..Script::default() });
    let flags = format!("--duration 100ms --backlog 1m --driver {}", driver.path().display());
    let (code, report) = workload(&broker, &format!("{THREE_TOPICS}messageSize: 100\n"), &flags);
    assert_eq!(code, 1, "{report}");
    assert!(report.contains("\nbacklog not built: "), "{report}");
}

#[test]
fn a_record_is_measured_by_when_it_was_due() {
    // Of 600 records in 600 ms the broker answers the first 300 when the last of them is there, which is behind the
    // warm-up, and the others at the end.
    let broker = FakeBroker::start(Script { hold: 300, ..Script::default() });
    let directory = tempfile::tempdir().expect("a temporary directory");
    let json = directory.path().join("run.json");
    let flags = format!(
        "--rate 1k --warmup 200ms --duration 400ms --batch-size 0 --record-size 100 --partitions 1 --in-flight 300 \
         --json {}",
        json.display()
    );
    for mode in ["produce", "end-to-end"] {
        let (_, report) = bench(&broker, &format!("{mode} {flags}"));
        assert_eq!(produced(&report), (400, 0), "{report}");
        let result = crate::result::read(&json).expect("a result");
        for (flow, latency) in [("produced", "ack"), ("consumed", "end_to_end")] {
            let Some(total) = result.totals.get(flow) else { continue };
            assert_eq!((total.records, total.bytes), (400, 40_000), "{flow}: {report}");
            assert_eq!(result.latencies_ns[latency].len(), 400, "{report}");
            let in_intervals = result.intervals.iter().filter_map(|interval| interval.flows.get(flow));
            assert_eq!(in_intervals.map(|flow| flow.records).sum::<u64>(), 400, "{flow}: {report}");
        }
        broker.seen().topics.clear();
    }
}

#[test]
fn a_load_that_does_not_outlast_its_warm_up_has_its_figures_all_the_same() {
    let broker = FakeBroker::start(Script::default());
    let (code, report) = bench(&broker, &format!("produce {TENS} --num-records 500 --warmup 10m"));
    assert_eq!((code, produced(&report)), (0, (500, 0)), "{report}");
}

#[test]
fn a_broker_s_own_time_is_nobody_s_latency() {
    let broker = FakeBroker::start(Script { log_append_time: true, ..Script::default() });
    let flags = "end-to-end --num-records 50 --linger 0";
    let (code, report) = bench(&broker, &format!("{flags} --record-size 10"));
    assert_eq!((code, figure(&report, "consumed, records")), (1, 50), "{report}");
    assert!(report.contains("50 records, all as sent") && !report.contains("| end to end p50"), "{report}");
    assert!(report.contains("\nthe latency end to end could not be measured: "), "{report}");
    let (code, report) = bench(&broker, &format!("{flags} --record-size 100"));
    assert!(code == 0 && report.contains("| end to end p50"), "{report}");
    assert!(!report.contains("could not be measured"), "a stamp has the time: {report}");
}

#[test]
fn a_closed_loop_that_failed_is_no_ceiling() {
    let flags = "max --duration 200ms --p99 1s --round 100ms --partitions 1";
    let broker = FakeBroker::start(Script { close_at: Some(7), ..Script::default() });
    let (code, report) = bench(&broker, flags);
    assert!(code == 1 && report.contains("\nthe load ended after "), "{report}");
    assert!(!report.contains("closed loop: ") && !report.contains("no rate that was tried"), "{report}");
    let refuse = Some((0..usize::MAX, ErrorCode::NotEnoughReplicas));
    let broker = FakeBroker::start(Script { refuse, ..Script::default() });
    let (code, report) = bench(&broker, flags);
    assert!(code == 1 && report.contains("| errors: NOT_ENOUGH_REPLICAS"), "{report}");
    assert!(
        report.contains("\nno rate was tried: ") && report.contains(" records of the closed loop failed")
    );
}

#[test]
fn a_partition_that_does_not_come_to_its_end_is_given_up_and_named() {
    let broker = filled(Script { promised: 3, ..Script::default() });
    let line = format!("bench consume --topic t --bootstrap-server {}", broker.address());
    let command = Command::try_parse_from(line.split_whitespace()).expect("the flags exist");
    let BenchCommand::Consume(args) = command.bench.command else { panic!("it consumes") };
    let mut plan = args.plan().expect("allowed");
    plan.consumers.as_mut().expect("some").fetch.patience = Duration::from_millis(200);
    let mut out = Vec::new();
    let before = broker.seen().fetches;
    let code = super::run(&plan, &mut out).expect("the load begins");
    let report = String::from_utf8(out).expect("text");
    assert_eq!((code, consumed(&report)), (1, (300, 0)), "{report}");
    let line = "\npartition 0 of t stands at offset 60, and 63 is its end: no answer brought more for 0.2 s";
    assert!(report.contains(line), "{report}");
    assert!(report.contains("; 5 of 5 partitions not read to the end"), "{report}");
    let fetches = broker.seen().fetches - before;
    assert!(fetches < 150, "one in ten milliseconds once nothing comes: {fetches}");
}

#[test]
fn a_partition_that_ended_with_an_error_is_not_all_as_sent() {
    let refuse_fetch = Some((2, ErrorCode::NotLeaderOrFollower));
    let broker = filled(Script { refuse_fetch, ..Script::default() });
    let (code, report) = bench(&broker, "consume");
    assert_eq!((code, consumed(&report)), (1, (240, 1)), "{report}");
    let row = "| incomplete: 240 records as sent; 1 of 5 partitions not read to the end |";
    assert!(report.contains(row), "{report}");
    let refuse_fetch = Some((2, ErrorCode::NotLeaderOrFollower));
    let broker = FakeBroker::start(Script { refuse_fetch, ..Script::default() });
    let (code, report) = bench(&broker, &format!("end-to-end {TENS} --num-records 300 --partitions 5"));
    assert!(code == 1 && !report.contains(" lost"), "nobody knows what is missing: {report}");
    assert!(report.contains("1 of 5 partitions not read to the end"), "{report}");
}

#[test]
fn two_files_in_one_place_are_refused_before_the_load() {
    let broker = FakeBroker::start(Script::default());
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = |name: &str| directory.path().join(name).display().to_string();
    let (same, roundabout) = (path("x"), path("./x"));
    let refused = |flags: &str| {
        try_bench(&broker, &format!("produce --num-records 5 {flags}")).expect_err("one file").to_string()
    };
    let line = refused(&format!("--json {same} --report {roundabout}"));
    assert_eq!(line, format!("--report {roundabout}: is the file of --json: give it another one"));
    let line = refused(&format!("--json {same} --hgrm {same}"));
    assert_eq!(line, format!("--hgrm {same}: is the file of --json: give it another one"));
    let line = refused(&format!("--json {} --hgrm {}", path("a-ack.hgrm"), path("a.hgrm")));
    assert!(line.ends_with("a-ack.hgrm: is the file of --json: give it another one"), "{line}");
    std::fs::create_dir(path("b-fetch.hgrm")).expect("a directory");
    let line = refused(&format!("--hgrm {}", path("b.hgrm")));
    assert!(line.ends_with("b-fetch.hgrm: is a directory"), "one of several latencies: {line}");
    assert_eq!(broker.seen().topics_created, 0, "nothing was asked of the broker");
    let devices = "--json /dev/null --report /dev/null --hgrm /dev/null";
    assert_eq!(bench(&broker, &format!("end-to-end --num-records 5 {devices}")).0, 0);
    assert!(!std::path::Path::new("/dev/null-ack.hgrm").exists(), "a device has no files beside it");
}

#[test]
fn a_page_is_not_written_over_its_result() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (json, roundabout) = (directory.path().join("a.json"), directory.path().join("./a.json"));
    crate::result::write(&crate::result::tests::sample("a run", 1), &json).expect("it is written");
    let words =
        ["bench", "report", &json.display().to_string(), "--output", &roundabout.display().to_string()];
    let command = Command::try_parse_from(words).expect("the flags exist");
    let error = crate::run(&command.bench, &Interrupt::default(), &mut Vec::new()).expect_err("one file");
    assert!(error.to_string().ends_with(": is one of the results: give it another one"), "{error}");
    crate::result::read(&json).expect("it is as it was");
}

#[test]
fn the_live_line_is_about_what_there_is() {
    let command = Command::try_parse_from(["bench", "end-to-end"]).expect("the flags exist");
    let BenchCommand::EndToEnd(args) = command.bench.command else { panic!("it is end to end") };
    let mut plan = args.plan(Mode::EndToEnd).expect("allowed");
    assert_eq!(super::live_kind(&plan), Kind::EndToEnd);
    plan.consumers = None;
    assert_eq!(super::live_kind(&plan), Kind::Ack, "a workload without subscriptions");
}

#[test]
fn a_measurement_begins_behind_its_warm_up() {
    let broker = FakeBroker::start(Script::default());
    let json = tempfile::NamedTempFile::new().expect("a file");
    let begun = std::time::SystemTime::now();
    let flags = format!("--rate 100 --warmup 1100ms --duration 100ms --json {}", json.path().display());
    bench(&broker, &format!("produce {flags}"));
    let started = crate::result::read(json.path()).expect("a result").started_at;
    assert!(started >= crate::result::rfc3339(begun + Duration::from_millis(1_100)), "{started}");
}

#[test]
fn settings_say_what_was_sent_and_how_fast() {
    let broker = FakeBroker::start(Script::default());
    let directory = tempfile::tempdir().expect("a temporary directory");
    let json = directory.path().join("run.json");
    let settings = |flags: &str| {
        let flags = format!("produce --num-records 20 {flags} --json {}", json.display());
        let (code, report) = bench(&broker, &flags);
        assert_eq!(code, 0, "{report}");
        let result = crate::result::read(&json).expect("a result");
        let names = ["rate", "keys", "payload", "partitioner"];
        (
            names.map(|name| result.settings[name].clone()),
            report.contains("\nacks=0: nothing is acknowledged"),
        )
    };
    let plain = ["as fast as answers come", "none", "random letters", "sticky"].map(str::to_owned);
    assert_eq!(settings(""), (plain, false));
    let flags = "--rate 1k --keys zipf:10:1.1 --compressibility 0.5 --partitioner round-robin --acks 0";
    let all = ["1,000 records/s", "zipf:10:1.1", "compressibility 0.5", "round-robin"].map(str::to_owned);
    assert_eq!(settings(flags), (all, true));
    assert_eq!(settings("--payload-monotonic").0[2], "increasing numbers");
}
