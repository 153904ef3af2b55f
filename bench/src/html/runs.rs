//! The page of one run or several: what was measured, drawn and in figures, and how.
//!
//! Each run has a colour in every plot. Figures that differ in kind between runs (another mode, another latency) stand
//! in the rows that they have; a setting that differs between runs is marked.

use crate::result::{Interval, RunResult, hgrm, table};

use super::{Axis, Cell, GAP, Line, Page, Plot, Stroke, Tone};

/// The quantiles that are drawn over time.
const OVER_TIME: [(&str, Stroke); 3] =
    [("p50", Stroke::Thin), ("p99", Stroke::Solid), ("p99.9", Stroke::Dotted)];
/// An interval has a rate of its own from this part of the longest one on.
const PART_DRAWN_MIN: f64 = 0.25;
/// How flows are told apart in one plot.
const FLOWS: [Stroke; 3] = [Stroke::Solid, Stroke::Dashed, Stroke::Dotted];

/// The whole page of runs; at least one.
#[must_use]
pub fn page(runs: &[RunResult]) -> String {
    let title = match runs {
        [one] => one.title.clone(),
        several => format!("{} runs of ottla bench", several.len()),
    };
    let mut page = Page::new(&title);
    add(&mut page, runs);
    page.heading("How it was run");
    page.table(&header("", runs), &conditions(runs));
    for run in runs {
        page.verbatim(&run.command_line.join(" "));
    }
    page.finish()
}

/// Notes, plots and figures of runs.
pub fn add(page: &mut Page, runs: &[RunResult]) {
    let several = runs.len() > 1;
    for run in runs {
        let whose = if several { format!("{}: ", run.title) } else { String::new() };
        for note in &run.notes {
            page.warning(&format!("{whose}{note}"));
        }
        for (reason, count) in &run.errors {
            page.warning(&format!("{whose}{}: {reason}", table::errors(*count)));
        }
        if let Some(found) = run.verification.as_ref().filter(|found| !found.is_clean()) {
            page.warning(&format!("{whose}verification {}", table::verified(found)));
            found.details.iter().for_each(|detail| page.warning(detail));
        }
    }
    if several {
        page.legend(&runs.iter().map(|run| run.title.clone()).collect::<Vec<_>>());
    }
    plots(runs).iter().for_each(|plot| page.plot(plot));
    page.heading("Figures");
    page.table(&header("figure", runs), &figures(runs));
}

/// All plots of runs: each latency by percentile and over time, then throughput, then errors where there are any.
#[must_use]
pub fn plots(runs: &[RunResult]) -> Vec<Plot> {
    let mut plots = Vec::new();
    for name in names(runs.iter().map(|run| run.latencies_ns.keys())) {
        plots.push(by_percentile(&name, runs));
        plots.push(over_time(&name, runs));
    }
    plots.push(throughput(runs));
    if runs.iter().any(|run| run.intervals.iter().any(|interval| interval.errors > 0)) {
        plots.push(errors(runs));
    }
    plots
}

/// One latency of each run by percentile.
#[must_use]
pub fn by_percentile(name: &str, runs: &[RunResult]) -> Plot {
    let lines = runs.iter().enumerate().filter_map(|(colour, run)| {
        let steps = hgrm::distribution(run.latencies_ns.get(name)?);
        let most = steps.last()?.count as f64;
        let mut points: Vec<(f64, f64)> =
            steps.iter().map(|step| (step.percentile, step.value_ns as f64)).collect();
        // The longest of n lies at a distance of one in n from 100 %.
        if let Some((percentile, _)) = points.pop()
            && percentile >= 100.0
        {
            let before = points.last().map_or(0.0, |point| point.0);
            points.push(((100.0 - 100.0 / most).max(before), steps.last()?.value_ns as f64));
        }
        Some(Line { name: run.title.clone(), colour, stroke: Stroke::Solid, points })
    });
    let title = format!("Latency by percentile: {}", table::words(name));
    Plot { title, x: Axis::Percentile, y: Axis::Nanos, lines: lines.collect() }
}

/// One latency of each run over time.
#[must_use]
pub fn over_time(name: &str, runs: &[RunResult]) -> Plot {
    let mut lines = Vec::new();
    for (colour, run) in runs.iter().enumerate() {
        for (quantile, stroke) in OVER_TIME {
            let points = run.intervals.iter().map(|interval| {
                let nanos = interval.latencies.get(name).map_or(GAP, |latency| match quantile {
                    "p50" => latency.p50_ns as f64,
                    "p99" => latency.p99_ns as f64,
                    _ => latency.p999_ns as f64,
                });
                (interval.start_seconds + interval.length_seconds / 2.0, nanos)
            });
            let points = points.collect();
            lines.push(Line { name: format!("{quantile} {}", run.title), colour, stroke, points });
        }
    }
    let title = format!(
        "Latency over time: {} (p50 thin, p99 full, p99.9 dotted; as each interval had it)",
        table::words(name)
    );
    Plot { title, x: Axis::Seconds, y: Axis::Nanos, lines }
}

/// Records per second of each flow of each run.
#[must_use]
pub fn throughput(runs: &[RunResult]) -> Plot {
    let flows = names(runs.iter().map(|run| run.totals.keys()));
    let mut lines = Vec::new();
    for (colour, run) in runs.iter().enumerate() {
        for (flow, stroke) in flows.iter().zip(FLOWS.into_iter().cycle()) {
            // A run that is not about it has no line; one of which nothing came for a while has one at zero.
            let records = |interval: &Interval| interval.flows.get(flow).map_or(0, |flow| flow.records);
            let points = run.totals.get(flow).map(|_| rates(&run.intervals, records)).unwrap_or_default();
            let name = format!("{} {}", table::words(flow), run.title);
            lines.push(Line { name, colour, stroke, points });
        }
    }
    let kinds = ["full", "dashed", "dotted"];
    let flows = flows.iter().zip(kinds.into_iter().cycle());
    let flows: Vec<String> = flows.map(|(flow, kind)| format!("{} {kind}", table::words(flow))).collect();
    let title = format!("Throughput over time, records ({})", flows.join(", "));
    Plot { title, x: Axis::Seconds, y: Axis::PerSecond, lines }
}

/// Errors per second of each run.
#[must_use]
pub fn errors(runs: &[RunResult]) -> Plot {
    let lines = runs.iter().enumerate().map(|(colour, run)| Line {
        name: format!("errors {}", run.title),
        colour,
        stroke: Stroke::Solid,
        points: rates(&run.intervals, |interval| interval.errors),
    });
    let lines = lines.collect();
    Plot { title: "Errors over time".to_owned(), x: Axis::Seconds, y: Axis::PerSecond, lines }
}

/// What is counted per second, in the middle of each interval. One that is much shorter than others, as the last one
/// may be, has too few records for a rate: it is drawn with the one before it.
fn rates(intervals: &[Interval], count: impl Fn(&Interval) -> u64) -> Vec<(f64, f64)> {
    let longest = intervals.iter().map(|interval| interval.length_seconds).fold(0.0, f64::max);
    let mut stretches: Vec<(f64, f64, u64)> = Vec::new();
    for interval in intervals {
        let (start, length) = (interval.start_seconds, interval.length_seconds);
        let records = count(interval);
        match stretches.last_mut() {
            Some(before) if length < longest * PART_DRAWN_MIN => {
                *before = (before.0, start + length - before.0, before.2 + records);
            }
            _ => stretches.push((start, length, records)),
        }
    }
    let drawn = stretches.into_iter().filter(|(_, length, _)| *length > 0.0);
    drawn.map(|(start, length, records)| (start + length / 2.0, records as f64 / length)).collect()
}

/// Every name once, in the order in which the runs have them.
fn names<'r>(runs: impl Iterator<Item = impl Iterator<Item = &'r String>>) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for name in runs.flatten() {
        if !names.contains(name) {
            names.push(name.clone());
        }
    }
    names
}

fn header(first: &str, runs: &[RunResult]) -> Vec<String> {
    std::iter::once(first.to_owned()).chain(runs.iter().map(|run| run.title.clone())).collect()
}

fn figures(runs: &[RunResult]) -> Vec<Vec<Cell>> {
    rows_of(&runs.iter().map(table::rows).collect::<Vec<_>>(), false)
}

/// Settings, machine and broker of each run, with what differs marked.
fn conditions(runs: &[RunResult]) -> Vec<Vec<Cell>> {
    let of = |run: &RunResult| {
        let mut rows = vec![("mode".to_owned(), run.mode.clone())];
        let settings = run.settings.iter();
        rows.extend(settings.map(|(name, value)| (name.clone(), value.clone())));
        rows.extend(run.broker.name.clone().map(|name| ("broker".to_owned(), name)));
        rows.extend(run.broker.version.clone().map(|version| ("broker's version".to_owned(), version)));
        rows.push(("began".to_owned(), run.started_at.clone()));
        rows.extend(run.machine.rows().into_iter().map(|(name, value)| (name.to_owned(), value)));
        rows
    };
    rows_of(&runs.iter().map(of).collect::<Vec<_>>(), true)
}

/// The rows of several lists of names and values side by side.
fn rows_of(lists: &[Vec<(String, String)>], marks: bool) -> Vec<Vec<Cell>> {
    let names = names(lists.iter().map(|list| list.iter().map(|(name, _)| name)));
    let row = |name: &String| {
        let value = |list: &Vec<(String, String)>| {
            let found = list.iter().find(|(other, _)| other == name);
            found.map_or_else(String::new, |(_, value)| value.clone())
        };
        let values: Vec<String> = lists.iter().map(value).collect();
        let differ = marks && name != "began" && values.iter().any(|value| *value != values[0]);
        let tone = if differ { Tone::Marked } else { Tone::Plain };
        let cells = values.into_iter().map(|value| Cell::toned(value, tone));
        std::iter::once(Cell::toned(name.clone(), Tone::Quiet)).chain(cells).collect()
    };
    names.iter().map(row).collect()
}
