//! `ottla bench max`: the highest rate that a broker sustains, and the highest that it sustains below a latency.
//!
//! The first is a closed loop: every client keeps its window full. The second halves the interval between a rate that
//! was good and one that was not, each tried in an open loop; [`Search`] decides and is arithmetic alone.

use std::io::Write;
use std::time::Duration;

use crate::args::plan::{MaxPlan, TrafficPlan};
use crate::error::BenchError;
use crate::outcome;
use crate::pace::Pace;
use crate::result::table::{grouped, milliseconds};
use crate::result::{self, RunResult};
use crate::traffic;
use crate::verdict::Verdict;

/// The search ends when good and bad are so near to each other, as a part of the bad one.
const PRECISION: f64 = 0.05;
/// Rates that are tried at most.
const ROUNDS_MAX: u32 = 12;
/// What runs before a rate is measured, as a part of its time.
const WARMUP_PART: u32 = 5;

/// Runs the load and prints its report.
pub(crate) fn run(plan: &MaxPlan, out: &mut dyn Write) -> Result<u8, BenchError> {
    let (mut ceiling, verdict) = traffic::measure(&plan.traffic, out)?;
    let run = &plan.traffic.run;
    let (top, _) = ceiling.rate(result::PRODUCED);
    let Some((p99_max, round)) = plan.search.filter(|_| run.interrupt.code().is_none()) else {
        return outcome::finish(ceiling, verdict, run, out);
    };
    // A rate that was not reached in order is no ceiling for a search.
    let verdict = unfit(&ceiling, top, verdict);
    if verdict.failed {
        return outcome::finish(ceiling, verdict, run, out);
    }
    writeln!(out, "closed loop: {} records/s", grouped(top as u64))?;
    // Who was the limit of the closed loop is the limit of what can be found below it.
    let mut lines = verdict.lines;
    let mut search = Search::new(top as u64);
    let mut best: Option<(u64, RunResult, Vec<String>)> = None;
    while let Some(rate) = search.next() {
        let (result, verdict) = traffic::measure(&at_rate(&plan.traffic, rate, round), out)?;
        if run.interrupt.code().is_some() {
            ceiling.notes.extend(result.notes);
            lines.push("the search was interrupted: a higher rate may be good, too".to_owned());
            break;
        }
        let p99 = result.latencies_ns.get(result::ACK).map_or(u64::MAX, |ack| ack.value_at_quantile(0.99));
        let is_good = !verdict.failed && result.error_count() == 0 && u128::from(p99) <= p99_max.as_nanos();
        let word = if is_good { "good" } else { "too much" };
        writeln!(out, "{:>12} records/s: p99 {} ms, {word}", grouped(rate), milliseconds(p99))?;
        out.flush()?;
        search.answer(rate, is_good);
        if is_good {
            best = Some((rate, result, verdict.lines));
        }
    }
    let limit = format!("p99 below {} ms", p99_max.as_secs_f64() * 1e3);
    let Some((rate, mut result, of_best)) = best else {
        lines.push(format!("no rate that was tried has its {limit}"));
        return outcome::finish(ceiling, Verdict { lines, failed: true }, run, out);
    };
    result.counters.insert("highest_rate_records_per_second".to_owned(), rate);
    lines.extend(of_best);
    let what = match run.interrupt.code() {
        None => "the highest rate with",
        Some(_) => "the highest rate that was tried and has its",
    };
    lines.push(format!("{what} {limit}: {} records/s", grouped(rate)));
    outcome::finish(result, Verdict { lines, failed: false }, run, out)
}

/// What keeps a closed loop from being the ceiling of a search: it was cut off, some of it failed, or nothing came.
fn unfit(ceiling: &RunResult, top: f64, verdict: Verdict) -> Verdict {
    let Verdict { mut lines, mut failed } = verdict;
    let errors = ceiling.error_count();
    if errors > 0 {
        lines.push(format!("no rate was tried: {} records of the closed loop failed", grouped(errors)));
    } else if top < 1.0 {
        lines.push("no rate was tried: the closed loop got no record through".to_owned());
    }
    failed |= errors > 0 || top < 1.0;
    Verdict { lines, failed }
}

/// The same load in an open loop at this rate, for this time.
fn at_rate(plan: &TrafficPlan, rate: u64, round: Duration) -> TrafficPlan {
    let mut plan = plan.clone();
    plan.run.warmup = round / WARMUP_PART;
    plan.run.duration = Some(round);
    let end = plan.run.end();
    if let Some(producers) = &mut plan.producers {
        producers.produce.pace = Pace::Steady(rate);
        producers.produce.end = end;
        producers.produce.records = None;
    }
    plan
}

/// The search for the highest good rate.
#[derive(Debug)]
struct Search {
    good: u64,
    bad: u64,
    rounds: u32,
}

impl Search {
    /// Up to a rate that is taken for more than can be.
    fn new(top: u64) -> Search {
        Search { good: 0, bad: top.max(1), rounds: 0 }
    }

    /// The rate to try next.
    fn next(&mut self) -> Option<u64> {
        let apart = self.bad - self.good;
        if self.rounds >= ROUNDS_MAX || apart as f64 <= self.bad as f64 * PRECISION || apart < 2 {
            return None;
        }
        self.rounds += 1;
        Some(self.good + apart / 2)
    }

    fn answer(&mut self, rate: u64, is_good: bool) {
        if is_good { self.good = rate } else { self.bad = rate }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(top: u64, limit: u64) -> (u64, u32) {
        let mut search = Search::new(top);
        while let Some(rate) = search.next() {
            assert!(rate > 0 && rate < top);
            search.answer(rate, rate <= limit);
        }
        (search.good, search.rounds)
    }

    #[test]
    fn the_search_ends_below_the_limit_and_near_it() {
        for (top, limit) in [(1_000_000, 400_000), (1_000_000, 999_999), (100_000, 3_000), (50, 20)] {
            let (good, rounds) = found(top, limit);
            assert!(good <= limit && good as f64 >= limit as f64 * 0.9, "{good} for {limit} of {top}");
            assert!(rounds <= ROUNDS_MAX);
        }
    }

    #[test]
    fn where_nothing_is_good_it_ends_with_nothing() {
        assert_eq!(found(1_000_000, 0).0, 0);
        assert_eq!(found(0, 0), (0, 0));
    }
}
