//! What people read of a comparison: a table in the terminal, a page, and the numbers as JSON.

use std::fmt::Write as _;

use comfy_table::{CellAlignment, Table, presets};
use ottla_bench::html::runs::{by_percentile, over_time, throughput};
use ottla_bench::html::{self, Cell, Ladder, Page, Rung, Tone};
use ottla_bench::result::{Machine, RunResult};
use serde_json::json;

use super::driver::Driver;
use super::field::Field;
use super::figures::{BASELINE, FIGURES, Figure, QUESTIONS, Want};
use super::samples::Samples;

/// The driver file whose ratios to the others are shown.
const OURS: &str = "ottla";

/// The loads that are drawn over each other, with their questions.
const DRAWN: [(&str, &str, &str); 12] = [
    ("small", "small", "ack"),
    ("small-seen", "small", "end_to_end"),
    ("single", "single", "ack"),
    ("single-seen", "single", "end_to_end"),
    ("max", "max", "throughput"),
    ("max", "max", "ack"),
    ("max100", "max100", "throughput"),
    ("max100", "max100", "ack"),
    ("drain-alone", "drain", "ack"),
    ("drain-beside", "drain", "ack"),
    ("drain-alone", "drain", "end_to_end"),
    ("drain-beside", "drain", "end_to_end"),
];

/// A row of a table.
struct Row {
    cells: Vec<Cell>,
}

/// A question's table.
struct Part {
    question: &'static str,
    about: &'static str,
    header: Vec<String>,
    rows: Vec<Row>,
}

/// Writes the page and the numbers, and gives the text for the terminal.
///
/// # Errors
/// One line where something cannot be written.
pub fn write(field: &Field, drivers: &[Driver], rounds: usize, samples: &Samples) -> Result<String, String> {
    let parts = parts(drivers, samples);
    let conditions = conditions(field, drivers, rounds);
    let numbers = field.kept.join("compare.json");
    let document = json!({
        "conditions": conditions,
        "commands": *field.commands.borrow(),
        "failures": samples.failures,
        "notes": samples.notes,
        "figures": samples.to_json(),
    });
    std::fs::write(&numbers, format!("{document:#}\n"))
        .map_err(|error| format!("{}: {error}", numbers.display()))?;
    let page = page(field, drivers, samples, (&parts, &conditions));
    html::write(&page, &field.kept.join("compare.html")).map_err(|error| error.to_string())?;
    Ok(text(&parts, &conditions, samples))
}

fn parts(drivers: &[Driver], samples: &Samples) -> Vec<Part> {
    let part = |&(question, about): &(&'static str, &'static str)| {
        let figures: Vec<&Figure> = FIGURES.iter().filter(|figure| figure.question() == question).collect();
        let shows =
            |driver: &&Driver| figures.iter().any(|figure| samples.median(figure.id, &driver.id).is_some());
        let shown: Vec<&Driver> = drivers.iter().filter(shows).collect();
        if shown.is_empty() {
            return None;
        }
        let others: Vec<&Driver> = shown.iter().copied().filter(|driver| driver.id != OURS).collect();
        let mut header = vec![question.to_owned()];
        header.extend(shown.iter().map(|driver| driver.name.clone()));
        for other in &others {
            header.extend([format!("Ottla ÷ {}", other.name), "wanted".to_owned()]);
        }
        let seen =
            |figure: &&Figure| shown.iter().any(|driver| samples.median(figure.id, &driver.id).is_some());
        let seen = figures.iter().copied().filter(seen);
        let rows = seen.map(|figure| row(figure, &shown, &others, samples)).collect();
        Some(Part { question, about, header, rows })
    };
    QUESTIONS.iter().filter_map(part).collect()
}

fn row(figure: &Figure, shown: &[&Driver], others: &[&Driver], samples: &Samples) -> Row {
    let mut cells = vec![Cell::from(format!("{}, {}", figure.what, figure.unit))];
    for driver in shown {
        let median = samples.median(figure.id, &driver.id);
        let text = median.map_or_else(|| "-".to_owned(), number);
        cells.push(match (figure.value.filter(|_| driver.id == OURS), median) {
            (Some(want), Some(value)) => Cell::toned(format!("{text} ({})", want.text()), tone(want, value)),
            _ => Cell::from(text),
        });
    }
    for other in others {
        let ratio = samples.ratio(figure.id, OURS, &other.id);
        let want = figure.ratios.iter().find(|(id, _)| *id == other.id).map(|(_, want)| *want);
        let tone = want.zip(ratio).map_or(Tone::Plain, |(want, ratio)| tone(want, ratio));
        cells.push(Cell::toned(ratio.map(number).unwrap_or_default(), tone));
        cells.push(Cell::toned(want.map(Want::text).unwrap_or_default(), Tone::Quiet));
    }
    Row { cells }
}

fn tone(want: Want, value: f64) -> Tone {
    if want.is_met(value) { Tone::Good } else { Tone::Bad }
}

/// A figure with three digits that count.
fn number(value: f64) -> String {
    let digits = match value.abs() {
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 1.0 => 2,
        size if size >= 0.1 => 3,
        _ => 4,
    };
    format!("{value:.digits$}")
}

/// What must stand beside the figures.
fn conditions(field: &Field, drivers: &[Driver], rounds: usize) -> Vec<(String, String)> {
    let machine = Machine::here(Some(&field.kept));
    let mut rows: Vec<(String, String)> =
        machine.rows().into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    rows.push(("broker's CPUs".to_owned(), field.broker_cpus.clone()));
    rows.push(("load's CPUs".to_owned(), field.load_cpus.clone()));
    let lengths = field.lengths;
    let times = format!(
        "{rounds} rounds, brokers in turn; {} s of load after {} s of warm-up; medians, of ratios those of the rounds",
        lengths.load.as_secs(),
        lengths.warm_up.as_secs(),
    );
    rows.push(("measured".to_owned(), times));
    let gigabytes = |bytes: u64| bytes as f64 / 1e9;
    let fetched = format!(
        "{} GB hot, {} GB cold, {} GB beside a live load",
        gigabytes(lengths.hot_bytes),
        gigabytes(lengths.cold_bytes),
        gigabytes(lengths.drained_bytes),
    );
    rows.push(("fetched".to_owned(), fetched));
    let priority = if field.can_be_urgent { "real-time" } else { "none: its own delays are measured, too" };
    rows.push(("priority of the live load beside a drain".to_owned(), priority.to_owned()));
    rows.extend(drivers.iter().map(|driver| (driver.name.clone(), driver.version.clone())));
    rows
}

fn text(parts: &[Part], conditions: &[(String, String)], samples: &Samples) -> String {
    let mut text = String::new();
    for (name, value) in conditions {
        writeln!(text, "{name}: {value}").expect("text takes what is written");
    }
    for part in parts {
        let mut table = Table::new();
        table.load_preset(presets::ASCII_MARKDOWN).set_header(&part.header);
        for row in &part.rows {
            table.add_row(row.cells.iter().map(|cell| match cell.tone {
                Tone::Bad => format!("{} !", cell.text),
                Tone::Plain | Tone::Good | Tone::Marked | Tone::Quiet => cell.text.clone(),
            }));
        }
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        write!(text, "\n{}\n\n{table}\n", part.about).expect("text takes what is written");
    }
    for failure in &samples.failures {
        writeln!(text, "\nfailed: {failure}").expect("text takes what is written");
    }
    for note in &samples.notes {
        writeln!(text, "\n{note}").expect("text takes what is written");
    }
    text
}

fn page(
    field: &Field,
    drivers: &[Driver],
    samples: &Samples,
    (parts, conditions): (&[Part], &[(String, String)]),
) -> String {
    let mut page = Page::new("Ottla beside Apache Kafka");
    for failure in &samples.failures {
        page.warning(&format!("failed: {failure}"));
    }
    samples.notes.iter().for_each(|note| page.warning(note));
    page.ladder(&ladder(samples));
    for part in parts {
        page.heading(part.about);
        let rows: Vec<Vec<Cell>> = part.rows.iter().map(|row| row.cells.clone()).collect();
        page.table(&part.header, &rows);
        draw(&mut page, part.question, drivers, samples);
    }
    page.heading("How it was measured");
    let pair =
        |(name, value): &(String, String)| vec![Cell::toned(name.clone(), Tone::Quiet), value.clone().into()];
    page.table(&["".to_owned(), "".to_owned()], &conditions.iter().map(pair).collect::<Vec<_>>());
    for driver in drivers {
        page.text(&format!("{} was started by", driver.name));
        let settings = if driver.settings.is_empty() {
            String::new()
        } else {
            format!("SETTINGS='{}'\n", driver.settings)
        };
        page.verbatim(&format!(
            "{}{settings}{}",
            driver.prepare.as_deref().unwrap_or_default(),
            driver.start
        ));
    }
    page.text("The loads:");
    page.verbatim(&field.commands.borrow().join("\n"));
    ranges(&mut page, drivers, samples);
    page.finish()
}

/// All brokers' loads of a question over each other.
fn draw(page: &mut Page, question: &str, drivers: &[Driver], samples: &Samples) {
    let drawn = DRAWN.iter().filter(|(_, of, _)| *of == question);
    let mut named = false;
    for (label, _, what) in drawn {
        let runs: Vec<RunResult> = samples.runs(label, drivers);
        if runs.is_empty() {
            continue;
        }
        if !named {
            page.legend(&runs.iter().map(|run| run.title.clone()).collect::<Vec<_>>());
            named = true;
        }
        let plots = if *what == "throughput" {
            vec![throughput(&runs)]
        } else {
            vec![by_percentile(what, &runs), over_time(what, &runs)]
        };
        for mut plot in plots {
            plot.title = format!("{label}: {}", plot.title);
            page.plot(&plot);
        }
    }
}

/// Every ratio that something is wanted of.
fn ladder(samples: &Samples) -> Ladder {
    let rungs = FIGURES.iter().flat_map(|figure| {
        figure.ratios.iter().filter_map(|(other, want)| {
            let ratio = samples.ratio(figure.id, OURS, other)?;
            let against = if *other == BASELINE { String::new() } else { format!(" ÷ {other}") };
            let wanted = match want {
                Want::AtMost(most) => *most,
                Want::AtLeast(least) => *least,
            };
            Some(Rung {
                name: format!("{}: {}{against}", figure.question(), figure.what),
                value: ratio,
                wanted,
                is_met: want.is_met(ratio),
            })
        })
    });
    Ladder { title: "Ottla ÷ Kafka; the tick is what is wanted".to_owned(), rungs: rungs.collect() }
}

/// How far the rounds lie apart.
fn ranges(page: &mut Page, drivers: &[Driver], samples: &Samples) {
    page.heading("Least and greatest of the rounds");
    let mut header = vec!["figure".to_owned()];
    header.extend(drivers.iter().map(|driver| driver.name.clone()));
    let rows = FIGURES.iter().filter_map(|figure| {
        let ranges: Vec<Option<(f64, f64)>> =
            drivers.iter().map(|driver| samples.range(figure.id, &driver.id)).collect();
        ranges.iter().any(Option::is_some).then(|| {
            let text = |range: &Option<(f64, f64)>| {
                range
                    .map_or_else(String::new, |(least, most)| format!("{} – {}", number(least), number(most)))
            };
            let name =
                Cell::toned(format!("{}: {}, {}", figure.question(), figure.what, figure.unit), Tone::Quiet);
            std::iter::once(name)
                .chain(ranges.iter().map(|range| Cell::from(text(range))))
                .collect::<Vec<_>>()
        })
    });
    page.table(&header, &rows.collect::<Vec<_>>());
}
