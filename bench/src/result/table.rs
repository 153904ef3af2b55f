//! A run as a table for a terminal, in Markdown, so that it can be pasted into a document as it is.
//!
//! A megabyte is 1,000,000 bytes; latencies are milliseconds.

use std::io::{self, Write};

use comfy_table::{CellAlignment, Table, presets};
use hdrhistogram::Histogram;

use super::{Flow, RunResult, Verification};

/// The quantiles that people read.
pub const QUANTILES: [(&str, f64); 5] =
    [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("p99.99", 0.9999)];

/// Prints what was asked, the table, and what must stand beside it.
///
/// # Errors
/// Those of `out`.
pub fn print(result: &RunResult, out: &mut dyn Write) -> io::Result<()> {
    let mut table = Table::new();
    table.load_preset(presets::ASCII_MARKDOWN).set_header(["figure", "value"]);
    for (figure, value) in rows(result) {
        table.add_row([figure, value]);
    }
    if let Some(values) = table.column_mut(1) {
        values.set_cell_alignment(CellAlignment::Right);
    }
    writeln!(out, "{}\n\n{table}", result.title)?;
    for note in &result.notes {
        writeln!(out, "\n{note}")?;
    }
    Ok(())
}

/// All figures with their values.
#[must_use]
pub fn rows(result: &RunResult) -> Vec<(String, String)> {
    let mut rows = vec![("seconds".to_owned(), format!("{:.2}", result.duration_seconds))];
    for (flow, Flow { records, .. }) in &result.totals {
        let (records_per_second, bytes_per_second) = result.rate(flow);
        let flow = words(flow);
        rows.push((format!("{flow}, records"), grouped(*records)));
        rows.push((format!("{flow}, records/s"), grouped(records_per_second as u64)));
        rows.push((format!("{flow}, MB/s"), format!("{:.1}", bytes_per_second / 1e6)));
    }
    for (name, histogram) in &result.latencies_ns {
        rows.extend(latency_rows(&words(name), histogram));
    }
    rows.extend(result.counters.iter().map(|(name, count)| (words(name), grouped(*count))));
    rows.push(("errors".to_owned(), grouped(result.error_count())));
    rows.extend(result.errors.iter().map(|(reason, count)| (format!("errors: {reason}"), grouped(*count))));
    if let Some(verification) = &result.verification {
        rows.push(("verification".to_owned(), verified(verification)));
    }
    rows.push(("generator CPU, s".to_owned(), format!("{:.2}", result.generator_cpu_seconds)));
    rows
}

fn latency_rows(name: &str, histogram: &Histogram<u64>) -> Vec<(String, String)> {
    let shown = |nanos| if histogram.is_empty() { "-".to_owned() } else { milliseconds(nanos) };
    let quantiles =
        QUANTILES.iter().map(|(label, quantile)| (*label, histogram.value_at_quantile(*quantile)));
    let values = quantiles.chain([("max", histogram.max())]);
    values.map(|(label, nanos)| (format!("{name} {label}, ms"), shown(nanos))).collect()
}

/// What a verification found, in a few words.
#[must_use]
pub fn verified(verification: &Verification) -> String {
    let checked = grouped(verification.checked_records);
    let Verification { read_partitions, incomplete_partitions, .. } = *verification;
    let mut left = match incomplete_partitions {
        0 => String::new(),
        some => format!("; {} of {} partitions not read to the end", grouped(some), grouped(read_partitions)),
    };
    let uncertain = [
        (verification.unknown_records, "numbers of other runs never acknowledged, or lost"),
        (verification.surplus_records, "more than were sent, or somebody else's"),
    ];
    for (count, what) in uncertain.iter().filter(|(count, _)| *count > 0) {
        left.push_str(&format!("; {} {what}", grouped(*count)));
    }
    if verification.is_clean() && incomplete_partitions > 0 {
        return format!("incomplete: {checked} records as sent{left}");
    }
    if verification.is_clean() {
        return format!("{checked} records, {}{left}", as_it_was(verification));
    }
    let batches_corrupt = if verification.corrupt_batches == 1 { "batch corrupt" } else { "batches corrupt" };
    let findings = [
        (verification.lost_records, "lost"),
        (verification.repeated_records, "repeated"),
        (verification.disordered_records, "out of order"),
        (verification.corrupt_batches, batches_corrupt),
    ];
    let found = findings.iter().filter(|(count, _)| *count > 0);
    let found: Vec<String> = found.map(|(count, what)| format!("{} {what}", grouped(*count))).collect();
    format!("FAILED: {} of {checked} records{left}", found.join(", "))
}

/// What is known of records that have nothing wrong with them.
fn as_it_was(verification: &Verification) -> String {
    let numbered = verification.checked_records.saturating_sub(verification.unnumbered_records);
    match (verification.only_batches, verification.unnumbered_records, numbered) {
        (true, ..) => "every batch whole; offsets and numbers were not looked at".to_owned(),
        (false, 0, _) => "all as sent".to_owned(),
        (false, _, 0) => "every batch whole and no offset missing".to_owned(),
        (false, _, numbered) => {
            format!(
                "every batch whole and no offset missing; {} with numbers, all as sent",
                grouped(numbered)
            )
        }
    }
}

/// A number of errors in words.
#[must_use]
pub fn errors(count: u64) -> String {
    if count == 1 { "1 error".to_owned() } else { format!("{} errors", grouped(count)) }
}

/// A name as people read it.
#[must_use]
pub fn words(name: &str) -> String {
    name.replace('_', " ")
}

/// Nanoseconds as milliseconds with microseconds behind the point.
#[must_use]
pub fn milliseconds(nanos: u64) -> String {
    format!("{:.3}", nanos as f64 / 1e6)
}

/// A number with a comma at every thousand.
#[must_use]
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
