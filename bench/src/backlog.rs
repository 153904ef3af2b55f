//! A backlog that a load builds and drains, as OpenMessaging's `WorkloadGenerator` does it: from the end of the warm-up
//! on consumers fetch nothing until enough bytes wait for them, then they drain it while production goes on, and the
//! load lasts its whole duration from there.
//!
//! [`Backlog`] decides and is arithmetic alone: times are passed in. A job of the load asks it and does what it says
//! through what all shards share. What must hold: the load ends, also where the backlog does not grow, where it does
//! not shrink and where the producers are gone, and the outcome says which of these it was.

use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ottla_shards::host;

use crate::engine::Shard;
use crate::result::table::grouped;

/// How often the counts are looked at.
const LOOK: Duration = Duration::from_millis(10);
/// A backlog that neither grows while it is built nor shrinks while it is drained is given up after this.
const PATIENCE: Duration = Duration::from_secs(60);
/// A backlog of this many records or fewer is none: what is on its way is not told from it.
const EMPTY_RECORDS: u64 = 1_000;

/// A backlog that is to be built.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct BacklogPlan {
    /// Bytes of values that wait, each as often as there are subscriptions that have not read it.
    pub bytes: u64,
    /// Bytes of each value, at least 1.
    pub record_bytes: u64,
    /// Groups that read each record.
    pub subscriptions: u64,
    /// The part of it that is to be drained, 0 to 1.
    pub drain_ratio: f64,
    /// When it begins, from the start of the load.
    pub begin: Duration,
    /// How long the load lasts from the drain on.
    pub after: Duration,
}

impl BacklogPlan {
    /// The records that are to wait.
    fn records(&self) -> u64 {
        self.bytes.div_ceil(self.record_bytes)
    }

    /// Records that may be left of a drained one.
    fn left_max(&self) -> u64 {
        let left = (1.0 - self.drain_ratio) * (self.bytes / self.record_bytes) as f64;
        EMPTY_RECORDS.max(left as u64)
    }
}

/// The counts of a load.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counted {
    /// Records that the broker has acknowledged.
    pub acknowledged: u64,
    /// Records that came, by all subscriptions.
    pub fetched: u64,
    /// Whether some producer is at work.
    pub producing: bool,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Consumers fetch nothing from now on.
    Hold,
    /// They fetch again.
    Release,
    /// They fetch, and nothing falls due from this moment of the load on.
    End(Duration),
}

/// How far a backlog came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// The most records that waited.
    pub records: u64,
    /// How long the building took; `None` where it came to nothing.
    pub built: Option<Duration>,
    /// How long the drain took; `None` where it came to nothing.
    pub drained: Option<Duration>,
    /// Records that waited at its end.
    pub left: u64,
}

/// How far a backlog is while it is built or drained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Progress {
    /// It is drained, and no longer built.
    pub drains: bool,
    /// Bytes that wait.
    pub waiting: u64,
    /// Bytes that were to wait, or those that waited at most where it is drained.
    pub of: u64,
}

impl Progress {
    /// In a few words, for the live line.
    pub(crate) fn text(&self) -> String {
        let megabytes = |bytes: u64| format!("{}.{}", grouped(bytes / 1_000_000), bytes / 100_000 % 10);
        let (waiting, of) = (megabytes(self.waiting), megabytes(self.of));
        match self.drains {
            false => format!("building a backlog, {waiting} of {of} MB"),
            true => format!("draining the backlog, {waiting} of {of} MB left"),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Before,
    Building,
    Draining,
    Over,
}

/// A backlog and how far it is.
#[derive(Debug)]
pub(crate) struct Backlog {
    plan: BacklogPlan,
    phase: Phase,
    /// When the phase began.
    since: Duration,
    /// The best count of the phase, and since when.
    best: u64,
    best_at: Duration,
    /// Records that waited at the last look.
    waiting: u64,
    outcome: Outcome,
}

impl Backlog {
    pub(crate) fn new(plan: BacklogPlan) -> Self {
        assert!(plan.record_bytes > 0, "records without bytes make no backlog, and were refused");
        let (phase, since) = (Phase::Before, Duration::ZERO);
        Self { plan, phase, since, best: 0, best_at: since, waiting: 0, outcome: Outcome::default() }
    }

    /// How far it came.
    pub(crate) fn outcome(&self) -> Outcome {
        self.outcome
    }

    /// How far it is; `None` before it is built and after it was drained.
    pub(crate) fn progress(&self) -> Option<Progress> {
        let bytes = |records: u64| records.saturating_mul(self.plan.record_bytes);
        let waiting = bytes(self.waiting);
        match self.phase {
            Phase::Building => Some(Progress { drains: false, waiting, of: self.plan.bytes }),
            Phase::Draining => Some(Progress { drains: true, waiting, of: bytes(self.outcome.records) }),
            Phase::Before | Phase::Over => None,
        }
    }

    /// What the counts of this moment of the load ask for.
    pub(crate) fn look(&mut self, now: Duration, counted: Counted) -> Option<Step> {
        let waiting = counted.acknowledged.saturating_mul(self.plan.subscriptions);
        let waiting = waiting.saturating_sub(counted.fetched);
        self.waiting = waiting;
        if self.phase != Phase::Over {
            self.outcome.records = self.outcome.records.max(waiting);
        }
        match self.phase {
            Phase::Before if now < self.plan.begin && counted.producing => None,
            Phase::Before => {
                self.outcome.records = waiting;
                self.enter(Phase::Building, now, waiting);
                Some(Step::Hold)
            }
            Phase::Building if waiting >= self.plan.records() => {
                self.outcome.built = Some(now.saturating_sub(self.since));
                self.enter(Phase::Draining, now, waiting);
                Some(Step::Release)
            }
            Phase::Draining if waiting <= self.plan.left_max() => {
                self.outcome.drained = Some(now.saturating_sub(self.since));
                Some(self.end(now + self.plan.after, waiting))
            }
            Phase::Building | Phase::Draining => {
                let is_better = match self.phase {
                    Phase::Draining => waiting < self.best,
                    Phase::Building | Phase::Before | Phase::Over => waiting > self.best,
                };
                if is_better {
                    (self.best, self.best_at) = (waiting, now);
                }
                let is_stuck = now.saturating_sub(self.best_at) > PATIENCE;
                (is_stuck || !counted.producing).then(|| self.end(now, waiting))
            }
            Phase::Over => None,
        }
    }

    fn enter(&mut self, phase: Phase, now: Duration, waiting: u64) {
        (self.phase, self.since, self.best, self.best_at) = (phase, now, waiting, now);
    }

    fn end(&mut self, at: Duration, waiting: u64) -> Step {
        self.phase = Phase::Over;
        self.outcome.left = waiting;
        Step::End(at)
    }
}

impl Outcome {
    /// What became of it in one line.
    pub(crate) fn line(&self, plan: &BacklogPlan) -> String {
        let (most, left) = (grouped(self.records), grouped(self.left));
        let seconds = |time: Duration| format!("{:.2} s", time.as_secs_f64());
        let Some(built) = self.built else {
            return format!(
                "backlog not built: {most} of {} records waited at most",
                grouped(plan.records())
            );
        };
        let megabytes = self.bytes(plan) as f64 / 1e6;
        let built = format!("{most} records ({megabytes:.1} MB) built in {}", seconds(built));
        match self.drained {
            Some(drained) => {
                let drained = seconds(drained);
                format!("backlog: {built}, drained to {left} in {drained} while production went on")
            }
            None => format!("backlog not drained: {built}, and {left} waited at the end"),
        }
    }

    /// Bytes of the values that waited at most.
    pub(crate) fn bytes(&self, plan: &BacklogPlan) -> u64 {
        self.records.saturating_mul(plan.record_bytes)
    }

    /// Its figures by the names that they have in results.
    pub(crate) fn counters(&self, plan: &BacklogPlan) -> Vec<(&'static str, u64)> {
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let times = [("backlog_build_ms", self.built), ("backlog_drain_ms", self.drained)];
        let times = times.into_iter().filter_map(|(name, time)| Some((name, ms(time?))));
        [("backlog_records", self.records), ("backlog_bytes", self.bytes(plan))]
            .into_iter()
            .chain(times)
            .collect()
    }
}

/// The job that builds and drains a backlog.
pub(crate) struct BacklogJob {
    /// What is to be built.
    pub plan: BacklogPlan,
    /// Where it says how far it came, at its end.
    pub outcome: Arc<Mutex<Outcome>>,
}

impl BacklogJob {
    /// Runs it to its end.
    pub(crate) async fn run(self, shard: Rc<Shard>) {
        let shared = Arc::clone(&shard.shared);
        if self.plan.begin.is_zero() {
            // Nobody fetches before the first look.
            shared.holding.store(true, Ordering::Relaxed);
        }
        shard.ready().await;
        let mut backlog = Backlog::new(self.plan);
        loop {
            let counted = Counted {
                acknowledged: shared.acknowledged.load(Ordering::Relaxed),
                fetched: shared.fetched.load(Ordering::Relaxed),
                producing: shared.producers_left.load(Ordering::Acquire) > 0,
            };
            let step = backlog.look(Duration::from_nanos(shared.now()), counted);
            shared.note_backlog(backlog.progress());
            match step {
                Some(Step::Hold) => shared.holding.store(true, Ordering::Relaxed),
                Some(Step::Release) => shared.holding.store(false, Ordering::Relaxed),
                Some(Step::End(at)) => {
                    shared.end_producers(at);
                    shared.holding.store(false, Ordering::Relaxed);
                    break;
                }
                None => {}
            }
            host::sleep(LOOK).await;
        }
        *self.outcome.lock().expect("nobody panics with it") = backlog.outcome();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    /// 10,000 records of 100 bytes, as two subscriptions see them.
    const PLAN: BacklogPlan = BacklogPlan {
        bytes: 1_000_000,
        record_bytes: 100,
        subscriptions: 2,
        drain_ratio: 1.0,
        begin: SECOND,
        after: Duration::from_secs(5),
    };

    fn counted(acknowledged: u64, fetched: u64) -> Counted {
        Counted { acknowledged, fetched, producing: true }
    }

    #[test]
    fn it_is_built_after_the_warm_up_drained_and_followed_by_the_whole_duration() {
        let mut backlog = Backlog::new(PLAN);
        let text = |backlog: &Backlog| backlog.progress().map(|progress| progress.text());
        assert_eq!(backlog.look(SECOND / 2, counted(6_000, 0)), None, "this is the warm-up");
        assert_eq!(text(&backlog), None);
        assert_eq!(backlog.look(SECOND, counted(10_000, 20_000)), Some(Step::Hold));
        assert_eq!(backlog.look(2 * SECOND, counted(14_999, 20_000)), None);
        assert_eq!(text(&backlog).as_deref(), Some("building a backlog, 0.9 of 1.0 MB"));
        assert_eq!(backlog.look(3 * SECOND, counted(15_001, 20_000)), Some(Step::Release));
        assert_eq!(backlog.look(4 * SECOND, counted(20_000, 38_999)), None, "1,001 wait");
        assert_eq!(text(&backlog).as_deref(), Some("draining the backlog, 0.1 of 1.0 MB left"));
        let end = backlog.look(5 * SECOND, counted(20_500, 40_000));
        assert_eq!(end, Some(Step::End(10 * SECOND)));
        assert_eq!(backlog.look(6 * SECOND, counted(90_000, 0)), None, "it is over");
        assert_eq!(text(&backlog), None);
        let outcome = Outcome { left: 1_000, ..backlog.outcome() };
        let expected =
            Outcome { records: 10_002, built: Some(2 * SECOND), drained: Some(2 * SECOND), left: 1_000 };
        assert_eq!(outcome, expected);
        let line = "backlog: 10,002 records (1.0 MB) built in 2.00 s, drained to 1,000 in 2.00 s while \
                    production went on";
        assert_eq!(outcome.line(&PLAN), line);
        let counters = [
            ("backlog_records", 10_002),
            ("backlog_bytes", 1_000_200),
            ("backlog_build_ms", 2_000),
            ("backlog_drain_ms", 2_000),
        ];
        assert_eq!(outcome.counters(&PLAN), counters);
    }

    #[test]
    fn a_ratio_leaves_a_part_of_it() {
        let mut backlog = Backlog::new(BacklogPlan { drain_ratio: 0.75, begin: Duration::ZERO, ..PLAN });
        assert_eq!(backlog.look(Duration::ZERO, counted(0, 0)), Some(Step::Hold));
        assert_eq!(backlog.look(SECOND, counted(5_000, 0)), Some(Step::Release));
        assert_eq!(backlog.look(2 * SECOND, counted(6_000, 9_499)), None, "2,501 wait");
        assert_eq!(backlog.look(3 * SECOND, counted(6_000, 9_500)), Some(Step::End(8 * SECOND)));
    }

    #[test]
    fn what_does_not_grow_or_shrink_is_given_up() {
        let stuck = PATIENCE + SECOND;
        let mut backlog = Backlog::new(PLAN);
        backlog.look(SECOND, counted(0, 0));
        assert_eq!(backlog.look(2 * SECOND, counted(100, 0)), None);
        assert_eq!(backlog.look(stuck, counted(101, 0)), None, "it grew");
        assert_eq!(backlog.look(2 * stuck, counted(101, 0)), Some(Step::End(2 * stuck)));
        assert_eq!(backlog.outcome().line(&PLAN), "backlog not built: 202 of 10,000 records waited at most");
        let mut backlog = Backlog::new(PLAN);
        backlog.look(SECOND, counted(0, 0));
        assert_eq!(backlog.look(2 * SECOND, counted(6_000, 0)), Some(Step::Release));
        assert_eq!(backlog.look(3 * SECOND, counted(9_000, 5_000)), None);
        assert_eq!(
            backlog.look(3 * SECOND + stuck, counted(9_000, 4_000)),
            Some(Step::End(3 * SECOND + stuck))
        );
        let line =
            "backlog not drained: 14,000 records (1.4 MB) built in 1.00 s, and 14,000 waited at the end";
        assert_eq!(backlog.outcome().line(&PLAN), line);
    }

    #[test]
    fn without_producers_it_ends_in_every_phase() {
        let gone = |fetched| Counted { producing: false, ..counted(6_000, fetched) };
        let mut backlog = Backlog::new(PLAN);
        assert_eq!(backlog.look(Duration::ZERO, gone(10_000)), Some(Step::Hold), "the warm-up is cut short");
        assert_eq!(backlog.look(SECOND, gone(10_000)), Some(Step::End(SECOND)));
        let mut backlog = Backlog::new(PLAN);
        backlog.look(SECOND, counted(0, 0));
        backlog.look(SECOND, counted(6_000, 0));
        assert_eq!(backlog.look(2 * SECOND, gone(10_000)), Some(Step::End(2 * SECOND)));
        assert_eq!(backlog.outcome().drained, None);
    }
}
