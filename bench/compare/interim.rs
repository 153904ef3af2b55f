//! The generator's flags and table of before, until it has those of `load.rs`.

use std::path::Path;

use ottla_bench::result::{ACK, CONSUMED, Flow, PRODUCED, RunResult};

/// Translates flags.
pub fn words(words: &[String]) -> Vec<String> {
    let mut translated = vec![words[0].clone()];
    let value = |name: &str| words.iter().position(|word| word == name).map(|at| words[at + 1].clone());
    let number = |name: &str| value(name).and_then(|text| text.parse::<u64>().ok());
    for (new, old) in [
        ("--topic", "--topic"),
        ("--record-size", "--record-size"),
        ("--throughput", "--rate"),
        ("--num-records", "--records"),
        ("--clients", "--connections"),
    ] {
        if let Some(value) = value(new) {
            translated.extend([old.to_owned(), value]);
        }
    }
    if let Some(time) = value("--duration") {
        translated.extend(["--seconds".to_owned(), time.trim_end_matches('s').to_owned()]);
    }
    if words[0] == "produce" {
        let records = if number("--throughput").is_some() {
            1
        } else {
            number("--batch-size").unwrap_or(1) / number("--record-size").unwrap_or(1)
        };
        translated.extend(["--batch-records".to_owned(), records.to_string()]);
    }
    translated
}

/// Whether there is a mode `end-to-end`.
pub const HAS_END_TO_END: bool = false;

/// Reads its table.
pub fn read(table: &Path) -> RunResult {
    let text = std::fs::read_to_string(table).expect("it was written");
    let value = |figure: &str| {
        let row = text.lines().find(|line| line.starts_with(&format!("| {figure} ")));
        row.and_then(|row| row.split('|').nth(2)?.trim().replace(',', "").parse::<f64>().ok()).unwrap_or(0.0)
    };
    let mut run = RunResult::begin("interim", text.lines().next().unwrap_or_default());
    run.duration_seconds = value("seconds");
    let flow = if text.starts_with("produce") { PRODUCED } else { CONSUMED };
    let bytes = value("MB/s") * 1e6 * run.duration_seconds;
    run.totals.insert(flow.to_owned(), Flow { records: value("records") as u64, bytes: bytes as u64 });
    let mut histogram =
        hdrhistogram::Histogram::<u64>::new_with_bounds(1_000, 3_600_000_000_000, 3).expect("bounds");
    for (name, count) in
        [("p50", 5000), ("p90", 4000), ("p99", 900), ("p99.9", 90), ("p99.99", 9), ("max", 1)]
    {
        histogram
            .record_n((value(&format!("latency {name}, ms")) * 1e6).max(1e3) as u64, count)
            .expect("bounds");
    }
    run.latencies_ns.insert(ACK.to_owned(), histogram);
    run
}
