//! What people read: a line of progress on a terminal, and a table at the end.
//!
//! A megabyte is 1,000,000 bytes. The table is Markdown, so that it can be pasted into a document as it is.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use comfy_table::{CellAlignment, Table, presets};

use crate::tally::Tally;

/// The quantiles of the table.
const QUANTILES: [(&str, f64); 5] =
    [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("p99.99", 0.9999)];

/// The line that shows how a load is going.
pub(crate) struct Progress<'w>(Option<&'w mut dyn Write>);

impl<'w> Progress<'w> {
    /// Shows nothing.
    pub(crate) fn off() -> Self {
        Self(None)
    }

    /// Shows a line on `stderr` if that is a terminal.
    pub(crate) fn on(stderr: &'w mut io::Stderr) -> Self {
        if stderr.is_terminal() { Self(Some(stderr)) } else { Self::off() }
    }

    /// Puts the last second's figures in place of those before.
    pub(crate) fn show(&mut self, elapsed: Duration, second: &Tally) {
        let line = progress_line(elapsed, second);
        self.write(&format!("\r\x1b[K{line}"));
    }

    /// Takes the line away.
    pub(crate) fn clear(&mut self) {
        self.write("\r\x1b[K");
    }

    /// A terminal that went away is no reason to end the load, only to show no more.
    fn write(&mut self, text: &str) {
        if let Some(out) = &mut self.0
            && out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_err()
        {
            self.0 = None;
        }
    }
}

fn progress_line(elapsed: Duration, second: &Tally) -> String {
    format!(
        "{:>5} s  {:>12} records/s  {:>9.1} MB/s  p50 {} ms  p99 {} ms  {} errors",
        elapsed.as_secs(),
        grouped(second.records),
        second.bytes as f64 / 1e6,
        milliseconds(second.latency.value_at_quantile(0.5)),
        milliseconds(second.latency.value_at_quantile(0.99)),
        grouped(second.error_count()),
    )
}

/// A load that has ended.
pub(crate) struct Report<'r> {
    /// What the load was, in a line or two.
    pub title: &'r str,
    /// What a latency is the latency of.
    pub latency_of: &'static str,
    /// What was counted.
    pub tally: &'r Tally,
    /// From the start to the last answer.
    pub elapsed: Duration,
    /// Records that were due and never sent, where a rate was asked for.
    pub unsent: Option<u64>,
}

impl Report<'_> {
    /// Prints title and table.
    ///
    /// # Errors
    /// Those of `out`.
    pub(crate) fn print(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut table = Table::new();
        table.load_preset(presets::ASCII_MARKDOWN).set_header(["figure", "value"]);
        for (figure, value) in self.rows() {
            table.add_row([figure, value]);
        }
        if let Some(values) = table.column_mut(1) {
            values.set_cell_alignment(CellAlignment::Right);
        }
        writeln!(out, "{}\n\n{table}", self.title)
    }

    fn rows(&self) -> Vec<(String, String)> {
        let Tally { latency, records, bytes, errors } = self.tally;
        let seconds = self.elapsed.as_secs_f64().max(f64::MIN_POSITIVE);
        let mut rows = vec![
            ("records".to_owned(), grouped(*records)),
            ("seconds".to_owned(), format!("{seconds:.2}")),
            ("records/s".to_owned(), grouped((*records as f64 / seconds) as u64)),
            ("MB/s".to_owned(), format!("{:.1}", *bytes as f64 / 1e6 / seconds)),
        ];
        let measured = |nanos| if latency.is_empty() { "-".to_owned() } else { milliseconds(nanos) };
        for (name, quantile) in QUANTILES {
            let value = measured(latency.value_at_quantile(quantile));
            rows.push((format!("{} {name}, ms", self.latency_of), value));
        }
        rows.push((format!("{} max, ms", self.latency_of), measured(latency.max())));
        if let Some(unsent) = self.unsent {
            rows.push(("due and never sent, records".to_owned(), grouped(unsent)));
        }
        rows.push(("errors".to_owned(), grouped(self.tally.error_count())));
        rows.extend(errors.iter().map(|(reason, count)| (format!("errors: {reason}"), grouped(*count))));
        rows
    }
}

/// Nanoseconds as milliseconds with microseconds behind the point.
fn milliseconds(nanos: u64) -> String {
    format!("{:.3}", nanos as f64 / 1e6)
}

/// A number with a comma at every thousand.
pub(crate) fn grouped(number: u64) -> String {
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

/// A number of things, in the singular where it is one.
pub(crate) fn counted(number: usize, thing: &str) -> String {
    format!("{} {thing}{}", grouped(number as u64), if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally() -> Tally {
        let mut tally = Tally::new();
        tally.produced(999, 999_000_000, Duration::from_millis(2));
        tally.produced(1, 1_000_000, Duration::from_millis(50));
        tally.failed("NOT_LEADER_OR_FOLLOWER".to_owned(), 16);
        tally
    }

    #[test]
    fn numbers_are_grouped_by_thousands() {
        for (number, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(number), text);
        }
        assert_eq!(
            (counted(1, "record"), counted(2_000, "record")),
            ("1 record".into(), "2,000 records".into())
        );
    }

    #[test]
    fn the_table_has_every_figure() {
        let tally = tally();
        let report = Report {
            title: "a load",
            latency_of: "latency",
            tally: &tally,
            elapsed: Duration::from_secs(4),
            unsent: Some(1_600),
        };
        let mut out = Vec::new();
        report.print(&mut out).expect("a write to memory");
        let text = String::from_utf8(out).expect("text");
        let value = |figure: &str| {
            let row = text.lines().find(|line| line.starts_with(&format!("| {figure} ")));
            let cell = row.and_then(|row| row.split('|').nth(2)).map(str::trim);
            cell.unwrap_or_else(|| panic!("no {figure} in {text}")).to_owned()
        };
        assert!(text.starts_with("a load\n"));
        assert_eq!(value("records"), "1,000");
        assert_eq!(value("records/s"), "250");
        assert_eq!(value("MB/s"), "250.0");
        assert!(value("latency p50, ms").starts_with("2.0"), "{text}");
        assert!(value("latency p99.9, ms").starts_with("2.0"), "{text}");
        assert!(value("latency p99.99, ms").starts_with("50.0"), "{text}");
        assert!(value("latency max, ms").starts_with("50.0"), "{text}");
        assert_eq!(value("due and never sent, records"), "1,600");
        assert_eq!(value("errors"), "16");
        assert_eq!(value("errors: NOT_LEADER_OR_FOLLOWER"), "16");
    }

    #[test]
    fn without_a_latency_there_is_no_figure_for_it() {
        let tally = Tally::new();
        let report =
            Report { title: "", latency_of: "fetch", tally: &tally, elapsed: Duration::ZERO, unsent: None };
        let rows = report.rows();
        assert!(rows.contains(&("fetch max, ms".to_owned(), "-".to_owned())));
        assert!(rows.contains(&("records/s".to_owned(), "0".to_owned())));
    }

    #[test]
    fn progress_replaces_its_line_and_ends_without_one() {
        let mut screen = Vec::new();
        let mut progress = Progress(Some(&mut screen));
        progress.show(Duration::from_secs(3), &tally());
        progress.clear();
        let text = String::from_utf8(screen).expect("text");
        assert!(text.starts_with("\r\x1b[K    3 s         1,000 records/s     1000.0 MB/s"), "{text:?}");
        assert!(text.ends_with("16 errors\r\x1b[K"), "{text:?}");
    }
}
