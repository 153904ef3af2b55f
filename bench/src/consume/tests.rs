//! The consumer against a broker of a few threads, and its counting alone.

use super::*;
use crate::fake::{FakeBroker, Script};
use crate::{BenchArgs, BenchCommand};
use clap::Parser;
use ottla::ids::TimestampMs;
use ottla::protocol::records::{BatchBuilder, NewRecord};

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    bench: BenchArgs,
}

fn bench(broker: &FakeBroker, command: &str) -> Result<(u8, String), BenchError> {
    let line = format!("bench {command} --topic t --bootstrap-server {}", broker.address());
    let command: BenchCommand =
        Command::try_parse_from(line.split_whitespace()).expect("the flags exist").bench.command;
    let mut out = Vec::new();
    let code = crate::run(&BenchArgs { command }, &mut out)?;
    Ok((code, String::from_utf8(out).expect("text")))
}

/// A broker with 300 records in 5 partitions.
fn filled(script: Script) -> FakeBroker {
    let broker = FakeBroker::start(script);
    let flags = "--records 300 --batch-records 7 --partitions 5 --connections 1";
    bench(&broker, &format!("produce {flags}")).expect("a load");
    broker
}

fn figure(report: &str, name: &str) -> u64 {
    let row = report.lines().find(|line| line.starts_with(&format!("| {name} ")));
    let cell = row.and_then(|row| row.split('|').nth(2)).unwrap_or_else(|| panic!("no {name} in {report}"));
    cell.trim().replace(',', "").parse().expect("a number")
}

#[test]
fn all_records_come_once_whatever_the_connections() {
    let broker = filled(Script::default());
    for connections in [1, 2, 5, 9] {
        let (code, report) = bench(&broker, &format!("consume --connections {connections}")).expect("a load");
        assert_eq!((code, figure(&report, "records"), figure(&report, "errors")), (0, 300, 0), "{report}");
    }
}

#[test]
fn enough_records_end_the_load() {
    let broker = filled(Script { fetch_batches: 1, ..Script::default() });
    let (code, report) = bench(&broker, "consume --records 20").expect("a load");
    let records = figure(&report, "records");
    // The first answer has one batch of 7 from each of 5 partitions.
    assert_eq!((code, records), (0, 35), "{report}");
}

#[test]
fn damage_is_an_error_and_no_record() {
    let broker = filled(Script { corrupt: true, ..Script::default() });
    let (code, report) = bench(&broker, "consume").expect("a load");
    assert_eq!((code, figure(&report, "records")), (1, 0));
    assert_eq!(figure(&report, "errors: a batch without its CRC"), 5);
}

#[test]
fn a_missing_topic_is_one_line() {
    let broker = FakeBroker::start(Script::default());
    let error = bench(&broker, "consume").expect_err("nothing was produced");
    assert_eq!(error.to_string(), "topic t: does not exist");
}

fn batch(base_offset: i64, records: usize) -> Vec<u8> {
    let mut builder = BatchBuilder::new().base_offset(Offset(base_offset));
    for _ in 0..records {
        let timestamp = TimestampMs(1);
        builder.append(&NewRecord { timestamp, key: None, value: Some(b"value"), headers: &[] });
    }
    builder.build()
}

fn take(bytes: &[u8], position: &mut Position) -> (Fetched, Result<(), String>) {
    let records = Some(Records::Inline(bytes.into()));
    let data = PartitionData { records, ..PartitionData::default() };
    let mut fetched = Fetched::default();
    let result = fetched.take(&data, position);
    (fetched, result)
}

#[test]
fn records_before_the_position_do_not_count() {
    let mut position = Position { partition: 0, next: Offset(13), end: Some(Offset(25)) };
    let bytes = [batch(0, 10), batch(10, 10), batch(20, 5)].concat();
    let (fetched, result) = take(&bytes, &mut position);
    assert_eq!((fetched.records, result), (12, Ok(())));
    assert_eq!(fetched.bytes, (batch(10, 10).len() + batch(20, 5).len()) as u64);
    assert!(position.is_at_end());
}

#[test]
fn a_cut_batch_ends_an_answer_but_does_not_begin_one() {
    let mut position = Position { partition: 0, next: Offset(0), end: None };
    let (whole, cut) = (batch(0, 10), batch(10, 10));
    let (fetched, result) = take(&[&whole[..], &cut[..70]].concat(), &mut position);
    assert_eq!((fetched.records, result, position.next), (10, Ok(()), Offset(10)));
    let (fetched, result) = take(&cut[..70], &mut position);
    assert_eq!(fetched, Fetched::default());
    assert_eq!(result, Err("a batch that --partition-max-bytes cut".to_owned()));
    assert_eq!(position.next, Offset(10));
}

#[test]
fn a_partition_s_error_is_named() {
    let mut position = Position { partition: 0, next: Offset(0), end: None };
    let error_code = ErrorCode::OffsetOutOfRange.code();
    let data = PartitionData { error_code, ..PartitionData::default() };
    assert_eq!(Fetched::default().take(&data, &mut position), Err("OFFSET_OUT_OF_RANGE".to_owned()));
}
