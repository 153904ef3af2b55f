//! The simulator sees planted bugs of several kinds within few seeds. `make canaries` hunts for all of them.

use std::time::Duration;

use ottla::canary::Canary;
use ottla_sim::canaries::{Budget, hunt, run_planted};
use ottla_sim::run::RunOptions;

/// Seeds in which each of these has to be caught: several times as many as it took.
const BUDGET: Budget = Budget { from: 0, seeds_max: 150, time_max: Duration::MAX };

fn is_caught(canary: Canary) {
    is_caught_within(BUDGET, canary);
}

fn is_caught_within(budget: Budget, canary: Canary) {
    let hunted = hunt(canary, budget, RunOptions::default(), |_| ());
    assert!(hunted.catch.is_some(), "{canary:?}: reached in {} of {} seeds", hunted.struck, hunted.seeds);
}

#[test]
fn an_answer_before_the_write_is_seen() {
    is_caught(Canary::AckedBeforeWritten);
}

#[test]
fn a_flush_without_a_sync_is_seen() {
    is_caught(Canary::FlushUnsynced);
}

#[test]
fn readers_that_see_too_much_are_seen() {
    is_caught(Canary::DirtyRead);
}

#[test]
fn a_topic_that_comes_back_is_seen() {
    is_caught(Canary::DeletedTopicBack);
}

#[test]
fn a_note_of_a_clean_stop_that_is_believed_twice_is_seen() {
    is_caught(Canary::CleanMarkerKept);
}

#[test]
fn appends_that_pass_each_other_are_seen() {
    is_caught(Canary::AppendedOutOfTurn);
}

#[test]
fn requests_that_pass_each_other_in_one_of_their_partitions_are_seen() {
    // One partition has to wait for its disk in the moment in which the other one's next request comes: 361 seeds.
    is_caught_within(Budget { seeds_max: 1_500, ..BUDGET }, Canary::PartsOneByOne);
}

#[test]
fn a_bug_that_is_planted_and_never_reached_changes_nothing() {
    let plain = run_planted(None, 1, RunOptions::default()).0;
    let (planted, struck) = run_planted(Some(Canary::FullDiskIgnored), 1, RunOptions::default());
    assert_eq!(struck, 0, "seed 1 fills no disk");
    assert_eq!(plain.fingerprint, planted.fingerprint);
    assert!(plain.failure.is_none());
}
