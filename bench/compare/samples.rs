//! What all rounds showed: the figures of each broker by round, and the loads that they came from.
//!
//! What must hold: a ratio is made of two figures of one round; a broker that failed in a round has no figure there.

use std::collections::BTreeMap;
use std::path::Path;

use ottla_bench::result::RunResult;
use serde_json::{Value, json};

use super::driver::Driver;
use super::load;
use super::questions::Answer;

/// Everything that was seen.
#[derive(Debug, Default)]
pub struct Samples {
    /// By figure and broker, a value per round.
    figures: BTreeMap<(&'static str, String), BTreeMap<usize, f64>>,
    /// By load and broker: all rounds in one.
    runs: BTreeMap<&'static str, BTreeMap<String, RunResult>>,
    /// Questions that a broker failed at.
    pub failures: Vec<String>,
    /// What the generator says must stand beside its figures.
    pub notes: Vec<String>,
}

impl Samples {
    /// Takes what a broker showed in a round, and keeps its loads below `kept`.
    pub fn take(&mut self, driver: &Driver, round: usize, answer: Answer, kept: &Path) {
        for (id, value) in answer.figures {
            self.figures.entry((id, driver.id.clone())).or_default().insert(round, value);
        }
        for (label, mut run) in answer.runs {
            run.broker.name = Some(driver.name.clone());
            run.broker.version = Some(driver.version.clone());
            run.title.clone_from(&driver.name);
            let notes =
                run.notes.iter().map(|note| format!("{label}, {}, round {round}: {note}", driver.name));
            self.notes.extend(notes);
            load::keep(&run, &kept.join(format!("{label}-{}-{round}.json", driver.id)));
            let whole = self.runs.entry(label).or_default().entry(driver.id.clone());
            whole.and_modify(|whole| add(whole, &run)).or_insert(run);
        }
    }

    /// The median of a broker's figure over all rounds.
    #[must_use]
    pub fn median(&self, id: &str, broker: &str) -> Option<f64> {
        middle(self.rounds(id, broker)?.values().copied().collect())
    }

    /// The least and the greatest of a broker's figure.
    #[must_use]
    pub fn range(&self, id: &str, broker: &str) -> Option<(f64, f64)> {
        let values = self.rounds(id, broker)?.values();
        let least = values.clone().copied().fold(f64::INFINITY, f64::min);
        Some((least, values.copied().fold(f64::NEG_INFINITY, f64::max)))
    }

    /// The median of the rounds' ratios of two brokers' figures.
    #[must_use]
    pub fn ratio(&self, id: &str, broker: &str, other: &str) -> Option<f64> {
        let others = self.rounds(id, other)?;
        let ratios = self.rounds(id, broker)?.iter().filter_map(|(round, value)| {
            let other = others.get(round).filter(|other| **other > 0.0)?;
            Some(value / other)
        });
        middle(ratios.collect())
    }

    /// The loads with a label, one per broker, with the latencies of all rounds in each.
    #[must_use]
    pub fn runs(&self, label: &str, brokers: &[Driver]) -> Vec<RunResult> {
        let Some(runs) = self.runs.get(label) else { return Vec::new() };
        brokers.iter().filter_map(|driver| runs.get(&driver.id).cloned()).collect()
    }

    /// All figures as JSON: by figure and broker, a value per round.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut figures = serde_json::Map::new();
        for ((id, broker), rounds) in &self.figures {
            let brokers = figures.entry(*id).or_insert_with(|| json!({}));
            brokers[broker.as_str()] = rounds.values().copied().collect();
        }
        Value::Object(figures)
    }

    fn rounds(&self, id: &str, broker: &str) -> Option<&BTreeMap<usize, f64>> {
        // The key holds a name of this program, so that only one of the same text is found.
        self.figures.iter().find(|((figure, of), _)| *figure == id && of == broker).map(|(_, rounds)| rounds)
    }
}

/// Adds the latencies and counts of another round; what happened when is left as the first round had it.
fn add(whole: &mut RunResult, round: &RunResult) {
    for (name, histogram) in &round.latencies_ns {
        if let Some(sum) = whole.latencies_ns.get_mut(name) {
            sum.add(histogram).expect("all rounds have the same bounds");
        }
    }
}

/// The middle one of some values, the mean of two.
fn middle(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let (below, above) = (values.get(values.len().checked_sub(1)? / 2)?, values.get(values.len() / 2)?);
    Some((below + above) / 2.0)
}
