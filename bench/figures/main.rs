//! Figures that the side-by-side (`make compare`) does not have: Kafka's own producer as the load, idle connections,
//! starts over a lot of data.
//!
//! Nothing here passes or fails; the table is for tuning.md. Each figure is a median of several runs. Kafka's own
//! producer-perf-test is the load where both brokers are measured, so that neither is favoured by our client.
//! Words on the command line choose among `footprint`, `throughput` and `recovery`.

use comfy_table::{Table, presets};
use ottla_tests::broker::{Broker, Options};

mod footprint;
mod recovery;
mod throughput;

/// One line of the report.
struct Figure {
    what: String,
    ours: String,
    theirs: String,
}

impl Figure {
    fn ours(what: &str, ours: String) -> Self {
        Self { what: what.to_owned(), ours, theirs: String::new() }
    }
}

fn main() {
    // `cargo bench` passes flags of the built-in harness, which mean nothing here.
    let mut figures = Vec::new();
    let chosen: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let is_chosen = |name: &str| chosen.is_empty() || chosen.iter().any(|word| word == name);
    if is_chosen("footprint") {
        eprintln!("footprint: idle connections …");
        figures.extend(footprint::measure());
    }
    if is_chosen("throughput") {
        eprintln!("throughput: Kafka's producer-perf-test …");
        figures.extend(throughput::measure());
    }
    if is_chosen("recovery") {
        eprintln!("recovery: starts over a lot of data …");
        figures.extend(recovery::measure());
    }
    let mut table = Table::new();
    table.load_preset(presets::ASCII_MARKDOWN).set_header(["figure", "Ottla", "Apache Kafka"]);
    for figure in figures {
        table.add_row([figure.what, figure.ours, figure.theirs]);
    }
    println!("{table}");
}

/// The middle one of several measurements.
fn median(mut values: Vec<f64>) -> f64 {
    assert!(!values.is_empty(), "something was measured");
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// A broker with the settings of a plain start.
fn broker(directory: &std::path::Path) -> Broker {
    Broker::start(&Options::new(directory))
}

fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}
