//! The text exposition format of Prometheus, version 0.0.4, of all shards together.
//!
//! Written in parts, so that whoever writes can give others their turn in between: a part is one row of the tables,
//! with its samples of every shard. What must hold: HELP and TYPE come before a family's samples, whose lines stand
//! together; no two lines have the same name and labels; a histogram that nobody has observed does not appear, one that
//! was ever observed has all of its buckets.

use std::fmt::{self, Write};

use super::histogram::{BUCKETS, Times, bucket_bound_micros};
use super::shard::Snapshot;
use super::table::{Counter, Gauge, Row, Timing};

/// The content type of the format.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

const REQUESTS: Row = Row { name: "ottla_requests_total", help: "Requests by API.", label: None };
const ERRORS: Row = Row {
    name: "ottla_errors_total",
    help: "Errors by API, one for each partition or group that has one: those of replies, and those of Produce \
           requests with acks=0, which have none.",
    label: None,
};

/// What the process as a whole takes, under the names that Prometheus's own clients have.
#[derive(Clone, Copy, Debug, Default)]
pub struct Process {
    /// CPU time, user and system, in seconds.
    pub cpu_seconds: f64,
    /// Resident memory in bytes.
    pub resident_bytes: u64,
    /// Seconds from the start to now.
    pub up_seconds: f64,
}

/// Everything that is told at one moment.
#[derive(Clone, Debug)]
pub struct Page {
    /// The version of this program.
    pub version: &'static str,
    /// A copy of each shard's cells, in the order of the shards.
    pub shards: Vec<Snapshot>,
    /// The process.
    pub process: Process,
}

impl Page {
    /// How many parts the text has.
    #[must_use]
    pub fn parts(&self) -> usize {
        3 + Counter::ALL.len() + Gauge::ALL.len() + Timing::ALL.len()
    }

    /// Writes one part behind the parts before it.
    ///
    /// # Panics
    /// For a part that there is not.
    pub fn write_part(&self, part: usize, text: &mut String) {
        let written = match part {
            0 => self.write_process(text),
            1 => self.write_requests(text),
            2 => self.write_errors(text),
            _ => self.write_row(part - 3, text),
        };
        written.expect("a string takes everything");
    }

    /// The whole text.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        (0..self.parts()).for_each(|part| self.write_part(part, &mut text));
        text
    }

    fn write_process(&self, text: &mut String) -> fmt::Result {
        let Process { cpu_seconds, resident_bytes, up_seconds } = self.process;
        let mut plain = |name, kind, help, value: &dyn fmt::Display| {
            head(text, name, kind, help)?;
            writeln!(text, "{name} {value}")
        };
        plain(
            "process_cpu_seconds_total",
            "counter",
            "CPU time of the process, user and system.",
            &cpu_seconds,
        )?;
        plain("process_resident_memory_bytes", "gauge", "Resident memory of the process.", &resident_bytes)?;
        plain("ottla_up_seconds", "gauge", "How long the broker has run.", &up_seconds)?;
        plain("ottla_shards", "gauge", "Shards of this broker.", &self.shards.len())?;
        head(text, "ottla_build_info", "gauge", "Always 1; the label says the version.")?;
        writeln!(text, "ottla_build_info{{version=\"{}\"}} 1", Escaped(self.version))
    }

    fn write_requests(&self, text: &mut String) -> fmt::Result {
        head(text, REQUESTS.name, "counter", REQUESTS.help)?;
        for Snapshot { shard, requests, .. } in &self.shards {
            for (api, count) in requests {
                writeln!(text, "{}{{shard=\"{shard}\",api=\"{api}\"}} {count}", REQUESTS.name)?;
            }
        }
        Ok(())
    }

    fn write_errors(&self, text: &mut String) -> fmt::Result {
        head(text, ERRORS.name, "counter", ERRORS.help)?;
        for Snapshot { shard, errors, .. } in &self.shards {
            for (api, error, count) in errors {
                let name = ERRORS.name;
                writeln!(text, "{name}{{shard=\"{shard}\",api=\"{api}\",error=\"{error}\"}} {count}")?;
            }
        }
        Ok(())
    }

    fn write_row(&self, at: usize, text: &mut String) -> fmt::Result {
        let (gauges, timings) = (Counter::ALL.len(), Counter::ALL.len() + Gauge::ALL.len());
        if at < gauges {
            let rows = (before(Counter::ALL, at).map(Counter::row), Counter::ALL[at].row());
            return self.write_values(rows, "counter", text, |shard| Some(shard.counters[at] as f64));
        }
        if at < timings {
            let at = at - gauges;
            let rows = (before(Gauge::ALL, at).map(Gauge::row), Gauge::ALL[at].row());
            return self.write_values(rows, "gauge", text, |shard| shard.gauges[at]);
        }
        let at = at - timings;
        let row = Timing::ALL[at].row();
        if before(Timing::ALL, at).is_none_or(|before| before.row().name != row.name) {
            head(text, row.name, "histogram", row.help)?;
        }
        for shard in &self.shards {
            let times = &shard.timings[at];
            if times.count() > 0 {
                write_times(text, row.name, &labels(shard.shard, row.label), times)?;
            }
        }
        Ok(())
    }

    /// One row of plain values, `rows` being the one before it and itself.
    fn write_values(
        &self,
        (before, row): (Option<Row>, Row),
        kind: &str,
        text: &mut String,
        value: impl Fn(&Snapshot) -> Option<f64>,
    ) -> fmt::Result {
        if before.is_none_or(|before| before.name != row.name) {
            head(text, row.name, kind, row.help)?;
        }
        for shard in &self.shards {
            if let Some(value) = value(shard) {
                writeln!(text, "{}{{{}}} {value}", row.name, labels(shard.shard, row.label))?;
            }
        }
        Ok(())
    }
}

/// The row in front of another.
fn before<T: Copy>(rows: &[T], at: usize) -> Option<T> {
    rows.get(at.checked_sub(1)?).copied()
}

fn head(text: &mut String, name: &str, kind: &str, help: &str) -> fmt::Result {
    writeln!(text, "# HELP {name} {}\n# TYPE {name} {kind}", EscapedHelp(help))
}

fn labels(shard: u16, label: Option<(&str, &str)>) -> String {
    match label {
        Some((name, value)) => format!("shard=\"{shard}\",{name}=\"{}\"", Escaped(value)),
        None => format!("shard=\"{shard}\""),
    }
}

/// One histogram: the buckets as they add up, the sum, the count.
fn write_times(text: &mut String, name: &str, labels: &str, times: &Times) -> fmt::Result {
    let mut count = 0;
    for (bucket, observed) in times.buckets.iter().enumerate() {
        count += observed;
        if bucket < BUCKETS {
            let bound = bucket_bound_micros(bucket) as f64 / 1e6;
            writeln!(text, "{name}_bucket{{{labels},le=\"{bound}\"}} {count}")?;
        } else {
            writeln!(text, "{name}_bucket{{{labels},le=\"+Inf\"}} {count}")?;
        }
    }
    let sum = times.sum_nanos as f64 / 1e9;
    writeln!(text, "{name}_sum{{{labels}}} {sum}\n{name}_count{{{labels}}} {count}")
}

/// A label's value: backslash, quote and line break are escaped.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|letter| match letter {
            '"' => f.write_str("\\\""),
            other => write_escaped(f, other),
        })
    }
}

/// A help text: backslash and line break are escaped.
struct EscapedHelp<'a>(&'a str);

impl fmt::Display for EscapedHelp<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|letter| write_escaped(f, letter))
    }
}

fn write_escaped(f: &mut fmt::Formatter<'_>, letter: char) -> fmt::Result {
    match letter {
        '\\' => f.write_str("\\\\"),
        '\n' => f.write_str("\\n"),
        other => f.write_char(other),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use ottla_wire::ApiKey;

    use super::*;
    use crate::errors::ErrorCode;
    use crate::metrics::ShardMetrics;

    fn page() -> Page {
        let shards = (0..2).map(|shard| {
            let metrics = ShardMetrics::default();
            metrics.add(Counter::FetchedDisk, 4_096);
            metrics.nanos(Timing::ProduceCommit, 1_500_000);
            metrics.nanos(Timing::ProduceCommit, 200_000_000_000);
            metrics.request(ApiKey::Fetch);
            metrics.error(ApiKey::Fetch, ErrorCode::OffsetOutOfRange);
            let mut snapshot = metrics.snapshot(shard);
            snapshot.set(Gauge::LoopTurnMax, 0.25);
            snapshot
        });
        let process = Process { cpu_seconds: 1.5, resident_bytes: 1 << 40, up_seconds: 0.125 };
        Page { version: "1.0\"\\\n", shards: shards.collect(), process }
    }

    #[test]
    fn every_kind_of_line_is_there() {
        let text = page().text();
        for line in [
            "process_resident_memory_bytes 1099511627776",
            "process_cpu_seconds_total 1.5",
            "ottla_build_info{version=\"1.0\\\"\\\\\\n\"} 1",
            "ottla_requests_total{shard=\"1\",api=\"Fetch\"} 1",
            "ottla_errors_total{shard=\"0\",api=\"Fetch\",error=\"OFFSET_OUT_OF_RANGE\"} 1",
            "# TYPE ottla_fetched_bytes_total counter",
            "ottla_fetched_bytes_total{shard=\"0\",source=\"disk\"} 4096",
            "ottla_loop_turn_max_seconds{shard=\"1\"} 0.25",
            "# TYPE ottla_produce_stage_seconds histogram",
            "ottla_produce_stage_seconds_bucket{shard=\"0\",stage=\"commit\",le=\"0.001024\"} 0",
            "ottla_produce_stage_seconds_bucket{shard=\"0\",stage=\"commit\",le=\"0.001536\"} 1",
            "ottla_produce_stage_seconds_bucket{shard=\"0\",stage=\"commit\",le=\"134.217728\"} 1",
            "ottla_produce_stage_seconds_bucket{shard=\"0\",stage=\"commit\",le=\"+Inf\"} 2",
            "ottla_produce_stage_seconds_sum{shard=\"0\",stage=\"commit\"} 200.0015",
            "ottla_produce_stage_seconds_count{shard=\"0\",stage=\"commit\"} 2",
        ] {
            assert!(text.lines().any(|it| it == line), "{line}\nis not in\n{text}");
        }
        assert!(!text.contains("ottla_connections{"), "a gauge that nobody set does not appear");
        assert!(!text.contains("stage=\"decode\""), "a histogram that nobody observed does not appear");
        assert!(text.contains("le=\"0.000001\"") && text.contains("le=\"0.000003\""), "bounds are exact");
    }

    #[test]
    fn families_are_told_once_and_no_line_twice() {
        let text = page().text();
        let mut families = BTreeSet::new();
        let mut series = BTreeSet::new();
        let mut current = "";
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                current = rest.split(' ').next().expect("a name");
                assert!(families.insert(current), "{current} is told once");
            } else if !line.starts_with('#') {
                let (name, value) = line.rsplit_once(' ').expect("a sample has a value");
                assert!(series.insert(name), "{name} stands once");
                assert!(name.starts_with(current), "{name} is not of {current}");
                assert!(value.parse::<f64>().is_ok(), "{line}");
            }
        }
    }

    #[test]
    fn the_parts_are_the_whole() {
        let page = page();
        let mut text = String::new();
        (0..page.parts()).for_each(|part| page.write_part(part, &mut text));
        assert_eq!(text, page.text());
        assert!(text.ends_with('\n'));
    }
}
