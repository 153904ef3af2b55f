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
        let mut each: Vec<f64> = Vec::new();
        self.run(question, |times| {
            let took = run(times);
            each.push(took.as_nanos() as f64 / times as f64);
            took
        });
        self.keep(question, &each);
    }

    /// The same beside the question that the budget is a multiple of: both in turn within each sample, so that a
    /// machine that others use, too, is the same for both.
    pub fn time_beside(
        &mut self,
        [reference, question]: [&str; 2],
        mut run_reference: impl FnMut(u64) -> Duration,
        mut run: impl FnMut(u64) -> Duration,
    ) {
        let (mut references, mut each): (Vec<f64>, Vec<f64>) = (Vec::new(), Vec::new());
        self.run(question, |times| {
            references.push(run_reference(times).as_nanos() as f64 / times as f64);
            let took = run(times);
            each.push(took.as_nanos() as f64 / times as f64);
            took
        });
        self.keep(reference, &references);
        self.keep(question, &each);
    }

    fn run(&mut self, question: &str, mut run: impl FnMut(u64) -> Duration) {
        self.criterion.bench_function(question, |bencher| bencher.iter_custom(&mut run));
    }

    /// Keeps the median of the samples: the last times measured, those before are criterion's warm-up.
    fn keep(&mut self, question: &str, each: &[f64]) {
        let known = self.sheet.rows().iter().any(|row| row.question == question);
        assert!(known, "tuning.md has no budget for {question:?}");
        if self.is_trial || each.len() < SAMPLES {
            return;
        }
        let mut samples = each[each.len() - SAMPLES..].to_vec();
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
        let missing: Vec<String> = self.sheet.missing().into_iter().map(str::to_owned).collect();
        let is_measured =
            |line: &&str| !missing.iter().any(|question| line.starts_with(&format!("| {question} |")));
        println!();
        self.sheet.table().lines().filter(is_measured).for_each(|line| println!("{line}"));
        if !missing.is_empty() {
            println!("\n{} rows were not measured: tuning.md stays as it is.", missing.len());
        } else if std::env::var_os("OTTLA_BENCH_WRITE").is_some() {
            std::fs::write(sheet_path(), self.sheet.text()).expect("tuning.md can be written");
            println!("The table stands in tuning.md.");
        }
    }
}

fn sheet_path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tuning.md")
}
