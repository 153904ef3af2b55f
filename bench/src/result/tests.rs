//! Documents and tables of a run, and what is said of files that are none.

use std::path::Path;

use super::*;

/// A run of two seconds with everything in it, and with text that is dangerous in a page.
pub(crate) fn sample(title: &str, base_ns: u64) -> RunResult {
    let mut result = RunResult::begin("produce", title);
    result.duration_seconds = 2.0;
    result.generator_cpu_seconds = 0.5;
    result.broker = BrokerInfo { name: Some("Ottla".to_owned()), version: Some("0.1.0".to_owned()) };
    result.settings.insert("topic".to_owned(), "<script>alert('&\"')</script>".to_owned());
    result.totals.insert(PRODUCED.to_owned(), Flow { records: 2_000, bytes: 2_048_000 });
    let mut histogram = Histogram::new_with_bounds(1_000, 3_600_000_000_000, 3).expect("bounds");
    for step in 0..2_000_u64 {
        histogram.record(base_ns + step * step * 10).expect("within the bounds");
    }
    for second in 0..2 {
        let mut interval = Interval {
            start_seconds: f64::from(second),
            length_seconds: 1.0,
            errors: 1,
            ..Interval::default()
        };
        interval.flows.insert(PRODUCED.to_owned(), Flow { records: 1_000, bytes: 1_024_000 });
        interval.latencies.insert(ACK.to_owned(), IntervalLatency::of(&histogram).expect("it has values"));
        result.intervals.push(interval);
    }
    result.latencies_ns.insert(ACK.to_owned(), histogram);
    result.counters.insert("requests".to_owned(), 125);
    result.errors.insert("NOT_LEADER_OR_FOLLOWER".to_owned(), 2);
    result.verification = Some(Verification { checked_records: 2_000, ..Verification::default() });
    result.notes.push("the generator was the limit: 99 % of one CPU".to_owned());
    result
}

fn read_text(text: &str) -> Result<RunResult, String> {
    file::from_json(text.as_bytes(), Path::new("a.json")).map_err(|error| error.to_string())
}

#[test]
fn a_document_gives_back_what_was_written() {
    let result = sample("a run", 1_000_000);
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("run.json");
    write(&result, &path).expect("it is written");
    let back = read(&path).expect("it is read");
    assert_eq!(back, result);
    let (before, after) = (&result.latencies_ns[ACK], &back.latencies_ns[ACK]);
    assert_eq!((before.len(), before.max(), before.min()), (after.len(), after.max(), after.min()));
    assert!(before.iter_recorded().eq(after.iter_recorded()));
}

#[test]
fn what_is_no_result_is_one_clear_line() {
    let whole = file::to_json(&sample("a run", 1_000_000));
    let newer = whole.replacen("\"schema_version\":1", "\"schema_version\":7", 1);
    let line = read_text(&newer).expect_err("another schema");
    assert_eq!(line, "a.json: schema version 7, and this program reads version 1: run the load again");
    for (text, word) in [
        ("", "EOF"),
        ("{}", "schema_version"),
        ("[1,2]", "not a result"),
        (&whole[..whole.len() / 2], "EOF"),
        (&whole.replacen("\"mode\"", "\"mood\"", 1), "mood"),
        (&whole.replacen("\"significant_digits\":3", "\"significant_digits\":5", 1), "latency ack"),
        (&whole.replacen("\"highest_ns\":3600000000000", "\"highest_ns\":4", 1), "latency ack"),
        (&whole.replacen("\"lowest_ns\":1000", "\"lowest_ns\":0", 1), "latency ack"),
    ] {
        let line = read_text(text).expect_err("damaged");
        assert!(line.starts_with("a.json: not a result of `ottla bench`: "), "{line}");
        assert!(line.contains(word) && !line.contains('\n'), "{word} in {line}");
    }
    let missing = read(Path::new("/nowhere/run.json")).expect_err("not there").to_string();
    assert!(missing.starts_with("/nowhere/run.json: No such file"), "{missing}");
}

#[test]
fn the_table_has_every_figure() {
    let mut out = Vec::new();
    table::print(&sample("a run", 1_000_000), &mut out).expect("a write to memory");
    let text = String::from_utf8(out).expect("text");
    let value = |figure: &str| {
        let row = text.lines().find(|line| line.starts_with(&format!("| {figure} ")));
        let cell = row.and_then(|row| row.split('|').nth(2)).map(str::trim);
        cell.unwrap_or_else(|| panic!("no {figure} in {text}")).to_owned()
    };
    assert!(text.starts_with("a run\n"));
    assert_eq!(value("produced, records"), "2,000");
    assert_eq!(value("produced, records/s"), "1,000");
    assert_eq!(value("produced, MB/s"), "1.0");
    assert!(value("ack p50, ms").starts_with("10.9"), "{text}");
    assert!(value("ack max, ms").starts_with("40.9"), "{text}");
    assert_eq!(value("requests"), "125");
    assert_eq!(value("errors"), "2");
    assert_eq!(value("verification"), "2,000 records, all as sent");
    assert!(text.trim_end().ends_with("the generator was the limit: 99 % of one CPU"), "{text}");
}

#[test]
fn what_is_read_cold_has_a_time_of_its_own() {
    let mut result = RunResult::begin("mixed", "a reader that comes late and goes early");
    result.duration_seconds = 20.0;
    let flow = Flow { records: 6_000, bytes: 6_000_000 };
    result.totals = [PRODUCED, COLD_READ].map(|name| (name.to_owned(), flow)).into();
    assert_eq!((result.rate(PRODUCED), result.rate(COLD_READ)), ((300.0, 300_000.0), (300.0, 300_000.0)));
    result.counters.insert(COLD_READ_MILLISECONDS.to_owned(), 500);
    assert_eq!((result.rate(PRODUCED), result.rate(COLD_READ)), ((300.0, 300_000.0), (12_000.0, 12e6)));
}

#[test]
fn a_latency_that_nobody_measured_has_no_figure() {
    let mut result = RunResult::begin("consume", "nothing");
    result.latencies_ns.insert("fetch".to_owned(), Histogram::new(3).expect("digits"));
    let rows = table::rows(&result);
    assert!(rows.contains(&("fetch max, ms".to_owned(), "-".to_owned())));
    assert_eq!(result.rate(PRODUCED), (0.0, 0.0));
    assert_eq!(read_text(&file::to_json(&result)), Ok(result));
}

#[test]
fn no_more_is_said_of_records_than_is_known() {
    let known = |unnumbered_records, only_batches| {
        let checked_records = 1_000;
        table::verified(&Verification {
            checked_records,
            unnumbered_records,
            only_batches,
            ..Verification::default()
        })
    };
    assert_eq!(known(0, false), "1,000 records, all as sent");
    assert_eq!(known(1_000, false), "1,000 records, every batch whole and no offset missing");
    let some = "1,000 records, every batch whole and no offset missing; 600 with numbers, all as sent";
    assert_eq!(known(400, false), some);
    assert_eq!(known(0, true), "1,000 records, every batch whole; offsets and numbers were not looked at");
}

#[test]
fn what_is_wrong_with_the_records_is_said() {
    let verification = Verification {
        checked_records: 1_000,
        lost_records: 3,
        corrupt_batches: 1,
        ..Verification::default()
    };
    assert_eq!(table::verified(&verification), "FAILED: 3 lost, 1 batch corrupt of 1,000 records");
}

#[test]
fn moments_are_written_as_the_calendar_has_them() {
    for (seconds, text) in [
        (0, "1970-01-01T00:00:00Z"),
        (951_782_400, "2000-02-29T00:00:00Z"),
        (4_107_542_399, "2100-02-28T23:59:59Z"),
        (4_107_542_400, "2100-03-01T00:00:00Z"),
        (1_795_259_773, "2026-11-21T11:16:13Z"),
    ] {
        assert_eq!(rfc3339(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)), text);
    }
}
