//! Criterion with a budget: measures a question, says at once what of its budget it took, and keeps the figure.
//!
//! The figure is the median of the samples' times per iteration. Criterion keeps its own files and comparisons below
//! `target/criterion`.

use std::hint::black_box;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use criterion::Criterion;
use ottla_bench::budget::Sheet;

use crate::machine;

/// Samples of one question.
const SAMPLES: usize = 20;

pub struct Suite {
    criterion: Criterion,
    sheet: Sheet,
    is_trial: bool,
}

impl Suite {
    /// Reads the budgets, and takes criterion's own arguments.
    pub fn new() -> Suite {
        let text = std::fs::read_to_string(sheet_path()).expect("tuning.md stands at the root of the tree");
        let mut sheet = Sheet::parse(&text).unwrap_or_else(|error| panic!("tuning.md: {error}"));
        sheet.clear();
        let criterion = Criterion::default()
            .sample_size(SAMPLES)
            .warm_up_time(Duration::from_millis(300))
            .measurement_time(Duration::from_millis(1500))
            .configure_from_args();
        let is_trial = std::env::args().any(|word| word == "--test" || word == "--list");
        Suite { criterion, sheet, is_trial }
    }

    /// Measures one call of `step`.
    pub fn time<T>(&mut self, question: &str, mut step: impl FnMut() -> T) {
        self.time_many(question, |times| {
            let begun = Instant::now();
            for _ in 0..times {
                black_box(step());
            }
            begun.elapsed()
        });
    }

    /// Measures with a loop of its own: `run` takes how often, and returns how long that took.
    pub fn time_many(&mut self, question: &str, mut run: impl FnMut(u64) -> Duration) {
        let known = self.sheet.rows().iter().any(|row| row.question == question);
        assert!(known, "tuning.md has no budget for {question:?}");
        let mut each: Vec<f64> = Vec::new();
        self.criterion.bench_function(question, |bencher| {
            bencher.iter_custom(|times| {
                let took = run(times);
                each.push(took.as_nanos() as f64 / times as f64);
                took
            });
        });
        // The last ones are the samples, those before are criterion's warm-up.
        if self.is_trial || each.len() < SAMPLES {
            return;
        }
        let samples = &mut each.split_off(each.len() - SAMPLES);
        samples.sort_by(f64::total_cmp);
        let median = (samples[SAMPLES / 2 - 1] + samples[SAMPLES / 2]) / 2.0;
        self.sheet.measure(question, median).expect("looked up above");
        println!("{question}: {}\n", self.sheet.verdict(question));
    }

    /// Prints the table, and writes it into tuning.md where that is asked for and nothing is missing.
    pub fn finish(mut self) {
        self.criterion.final_summary();
        if self.is_trial {
            return;
        }
        self.sheet.machine = machine::line();
        println!("\n{}", self.sheet.table());
        let missing = self.sheet.missing();
        if !missing.is_empty() {
            println!("Not measured: {}. tuning.md stays as it is.", missing.join("; "));
        } else if std::env::var_os("OTTLA_BENCH_WRITE").is_some() {
            std::fs::write(sheet_path(), self.sheet.text()).expect("tuning.md can be written");
            println!("The table stands in tuning.md.");
        }
    }
}

fn sheet_path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tuning.md")
}
