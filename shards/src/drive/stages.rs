//! Where requests spend their time: from moments to observations, on the connection's shard.
//!
//! Each request is observed once per stage, by the owner that answered last where there are several: that is the one
//! that the client waited for. Stages follow each other without a gap, so that their sums are the whole.

use ottla::metrics::{ShardMetrics, Timing};
use ottla::time::Monotonic;

use crate::disk::CommitSpan;
use crate::drive::messages::{AppendTimes, Visit};

/// The later of two owners' answers.
pub fn later(one: Option<AppendTimes>, other: AppendTimes) -> AppendTimes {
    let end = |times: &AppendTimes| times.commit.map_or(times.appended, |commit| commit.ended);
    one.filter(|one| end(one) > end(&other)).unwrap_or(other)
}

/// Observes what an owner did for a Produce request that was handed over at `asked` and whose answer is here `now`.
/// Returns from when on the time is the reply's.
pub fn produced(metrics: &ShardMetrics, asked: Monotonic, times: AppendTimes, now: Monotonic) -> Monotonic {
    let AppendTimes { appended, commit, visit } = times;
    metrics.span(Timing::ProduceAppend, visit.map_or(asked, |visit| visit.taken), appended);
    let mut done = appended;
    if let Some(CommitSpan { begun, ended }) = commit {
        let begun = begun.max(appended);
        metrics.span(Timing::ProduceCommitWait, appended, begun);
        metrics.span(Timing::ProduceCommit, begun, ended);
        done = ended;
    }
    let Some(visit) = visit else { return done };
    let underway = crossed(asked, visit, now);
    metrics.nanos(Timing::ProduceMesh, underway);
    // What the owner has taken for its answer is the reply's too.
    Monotonic(now.0.saturating_sub(visit.answered.0.saturating_sub(done.0)))
}

/// How long a question and its answer were between two shards, in nanoseconds.
fn crossed(asked: Monotonic, visit: Visit, now: Monotonic) -> u64 {
    let (there, back) = (visit.taken.0.saturating_sub(asked.0), now.0.saturating_sub(visit.answered.0));
    there + back
}

/// What the rounds of one Fetch request add up to, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FetchTimes {
    read: u64,
    mesh: Option<u64>,
    wait: Option<u64>,
}

impl FetchTimes {
    /// A round of reads, begun at `asked` and all answered `now`; `last` is the visit that ended last.
    pub fn read(&mut self, asked: Monotonic, last: Option<Visit>, now: Monotonic) {
        let whole = now.0.saturating_sub(asked.0);
        let underway = last.map_or(0, |visit| crossed(asked, visit, now).min(whole));
        self.read += whole - underway;
        if last.is_some() {
            *self.mesh.get_or_insert(0) += underway;
        }
    }

    /// A wait for records to come.
    pub fn waited(&mut self, from: Monotonic, to: Monotonic) {
        *self.wait.get_or_insert(0) += to.0.saturating_sub(from.0);
    }

    /// Observes them.
    pub fn observe(self, metrics: &ShardMetrics) {
        metrics.nanos(Timing::FetchRead, self.read);
        if let Some(mesh) = self.mesh {
            metrics.nanos(Timing::FetchMesh, mesh);
        }
        if let Some(wait) = self.wait {
            metrics.nanos(Timing::FetchWait, wait);
        }
    }
}

/// The later of two visits.
pub fn last_visit(one: Option<Visit>, other: Option<Visit>) -> Option<Visit> {
    one.into_iter().chain(other).max_by_key(|visit| visit.answered)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRODUCE: [Timing; 4] =
        [Timing::ProduceMesh, Timing::ProduceAppend, Timing::ProduceCommitWait, Timing::ProduceCommit];

    fn sums(metrics: &ShardMetrics, timings: &[Timing]) -> Vec<Option<u64>> {
        let snapshot = metrics.snapshot(0);
        let sum = |timing: &Timing| {
            let times = snapshot.times(*timing);
            (times.count() > 0).then_some(times.sum_nanos)
        };
        timings.iter().map(sum).collect()
    }

    fn commit(begun: u64, ended: u64) -> Option<CommitSpan> {
        Some(CommitSpan { begun: Monotonic(begun), ended: Monotonic(ended) })
    }

    #[test]
    fn the_stages_of_a_produce_have_no_gap() {
        let metrics = ShardMetrics::default();
        let visit = Visit { taken: Monotonic(130), answered: Monotonic(410) };
        let times = AppendTimes { appended: Monotonic(150), commit: commit(200, 400), visit: Some(visit) };
        let since = produced(&metrics, Monotonic(100), times, Monotonic(450));
        assert_eq!(sums(&metrics, &PRODUCE), [Some(30 + 40), Some(20), Some(50), Some(200)]);
        assert_eq!(since, Monotonic(440), "the owner took 10 for its answer");
        assert_eq!(since.0 - 100, 70 + 20 + 50 + 200, "all of it");
    }

    #[test]
    fn nothing_is_observed_that_did_not_take_place() {
        let metrics = ShardMetrics::default();
        let times = AppendTimes { appended: Monotonic(150), commit: None, visit: None };
        assert_eq!(produced(&metrics, Monotonic(100), times, Monotonic(160)), Monotonic(150));
        assert_eq!(sums(&metrics, &PRODUCE), [None, Some(50), None, None]);
    }

    #[test]
    fn a_commit_under_way_at_the_last_append_counts_from_there() {
        let metrics = ShardMetrics::default();
        let times = AppendTimes { appended: Monotonic(150), commit: commit(120, 400), visit: None };
        assert_eq!(produced(&metrics, Monotonic(100), times, Monotonic(450)), Monotonic(400));
        assert_eq!(sums(&metrics, &PRODUCE), [None, Some(50), Some(0), Some(250)]);
    }

    #[test]
    fn the_owner_that_ends_last_counts() {
        let times = |ended| AppendTimes { appended: Monotonic(1), commit: commit(2, ended), visit: None };
        assert_eq!(later(None, times(5)), times(5));
        assert_eq!(later(Some(times(9)), times(5)), times(9));
        assert_eq!(later(Some(times(5)), times(9)), times(9));
        let visit = |answered| Visit { taken: Monotonic(1), answered: Monotonic(answered) };
        assert_eq!(last_visit(Some(visit(3)), Some(visit(2))), Some(visit(3)));
        assert_eq!(last_visit(None, None), None);
    }

    #[test]
    fn the_rounds_of_a_fetch_add_up() {
        let metrics = ShardMetrics::default();
        let mut times = FetchTimes::default();
        times.read(Monotonic(0), None, Monotonic(10));
        times.waited(Monotonic(10), Monotonic(1_000));
        let visit = Visit { taken: Monotonic(1_010), answered: Monotonic(1_040) };
        times.read(Monotonic(1_000), Some(visit), Monotonic(1_060));
        times.observe(&metrics);
        let timings = [Timing::FetchRead, Timing::FetchMesh, Timing::FetchWait];
        assert_eq!(sums(&metrics, &timings), [Some(10 + 30), Some(10 + 20), Some(990)]);
    }
}
