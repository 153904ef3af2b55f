//! What many seeds reached, and what they never did.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use super::{Fault, SeedResult};

/// What seeds ought to reach besides every kind of fault, by the names under which it is counted.
const STATES: [&str; 27] = [
    "batches acknowledged",
    "batches of unknown fate",
    "batches refused",
    "batches sent again",
    "broker gave up on its disks",
    "clean stops",
    "deletions of records",
    "empty fetches",
    "fetches",
    "fetches out of range",
    "readings from a time",
    "readings from the end",
    "readings from the middle",
    "readings from the start",
    "refused KAFKA_STORAGE_ERROR",
    "refused OFFSET_OUT_OF_RANGE",
    "refused TOPIC_ALREADY_EXISTS",
    "refused UNKNOWN_TOPIC_ID",
    "topics deleted",
    "topics found again",
    "topics made",
    "unknown KAFKA_STORAGE_ERROR",
    "unknown NOT_LEADER_OR_FOLLOWER",
    "Unknown(Lost)",
    "Unknown(TimedOut)",
    "Unknown(Unanswered)",
    "batches held back",
];

/// Sums over seeds.
#[derive(Clone, Debug, Default)]
pub struct Totals {
    /// Seeds.
    pub seeds: u64,
    /// Events of all worlds.
    pub events: u64,
    /// Operations of all clients.
    pub operations: u64,
    /// Virtual time of all worlds.
    pub virtual_time: Duration,
    reached: BTreeMap<String, u64>,
}

impl Totals {
    /// Takes a seed in.
    pub fn add(&mut self, result: &SeedResult) {
        self.seeds += 1;
        self.events += result.events;
        self.operations += result.operations;
        self.virtual_time += result.virtual_time;
        for (what, count) in &result.reached {
            *self.reached.entry(what.clone()).or_insert(0) += count;
        }
    }

    /// One line on how far it has come.
    #[must_use]
    pub fn line(&self, real: Duration) -> String {
        let seconds = real.as_secs_f64().max(1e-9);
        format!(
            "{} seeds, {:.2} simulated hours, {} operations, {:.0} seeds/s, {:.0} events/s",
            self.seeds,
            self.virtual_time.as_secs_f64() / 3600.0,
            self.operations,
            self.seeds as f64 / seconds,
            self.events as f64 / seconds,
        )
    }

    /// What was reached how often, and what never was.
    #[must_use]
    pub fn table(&self) -> String {
        let mut text = String::new();
        let faults: Vec<String> = Fault::ALL.iter().map(|fault| fault.name()).collect();
        for (what, count) in &self.reached {
            writeln!(text, "{count:>12}  {what}").expect("a string takes everything");
        }
        let wanted = faults.iter().map(String::as_str).chain(STATES);
        let never: Vec<&str> = wanted.filter(|what| !self.reached.contains_key(*what)).collect();
        let never = if never.is_empty() { "nothing".to_owned() } else { never.join(", ") };
        writeln!(text, "never reached: {never}").expect("a string takes everything");
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_never_reached_is_named() {
        let mut totals = Totals::default();
        let reached = BTreeMap::from([("Kill".to_owned(), 3), ("fetches".to_owned(), 7)]);
        totals.add(&SeedResult {
            seed: 1,
            events: 10,
            fingerprint: 0,
            virtual_time: Duration::from_secs(2),
            operations: 5,
            reached,
            failure: None,
        });
        let table = totals.table();
        let never = table.lines().last().expect("a line").to_owned();
        assert!(never.contains("KillInRecovery") && never.contains("topics made"), "{never}");
        assert!(!never.contains("Kill,") && !never.contains(" fetches,"), "{never}");
    }
}
