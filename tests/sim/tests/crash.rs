//! Crashes at the operations of every workload: a sample of what `make crash` does, and the proof that it would see.

use ottla_shards::host::sim::CrashModel;
use ottla_sim::crash::{Crash, Moment, Options, Recording, Then, Workload, all, record, run};

const SEED: u64 = 1;

#[test]
fn brokers_recover_from_a_sample_of_all_crashes() {
    // A prime, so that the sample wanders through what the workloads repeat.
    let options =
        Options { seed: SEED, all_models: false, stride: 23, jobs: 2, failures_max: 3, progress: false };
    let totals = run(&all(), options);
    let failed: Vec<String> = totals.failed.iter().map(ToString::to_string).collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    assert_eq!(totals.workloads, all().len() as u64);
    let crashes: u64 = totals.crashes.values().sum();
    assert!(totals.crashes.len() == CrashModel::ALL.len() && crashes > 100, "{}", totals.table());
    assert!(totals.second_crashes > 20, "{}", totals.table());
}

fn recorded(workload: &Workload) -> Recording {
    let recording = record(workload, SEED, false);
    recording.unwrap_or_else(|failure| panic!("{}: {}", workload.name, failure.violation))
}

fn named(name: &str) -> Workload {
    all().into_iter().find(|workload| workload.name == name).expect("it is there")
}

/// A disk that has nothing of what a workload did is found out, whatever the workload did.
#[test]
fn a_disk_without_what_was_acknowledged_is_noticed() {
    // The moments of three are those of a start, which acknowledges nothing; what retention may take proves nothing.
    let silent = ["first-start", "truncate", "recovery", "retention"];
    for workload in all().iter().filter(|it| !silent.contains(&it.name)) {
        let mut recording = recorded(workload);
        let (last, old) = (recording.moments.len() - 1, recording.moments[0].disk.fork());
        recording.moments[last].disk = old;
        recording.moments[last].in_flight.clear();
        let crash = Crash::of(&recording, last, CrashModel::KeepAll, SEED);
        let found = crash.recover(&recording, Then::Nothing, false);
        assert!(found.is_err(), "{} recovers from the disk of its beginning", workload.name);
    }
}

/// A disk that is a few operations behind is found out as soon as one of them was waited for.
#[test]
fn a_disk_that_lags_behind_its_acknowledgements_is_noticed() {
    const BEHIND: usize = 20;
    let mut recording = recorded(&named("append"));
    let count = recording.moments.len();
    let mut noticed = 0;
    for at in (BEHIND..count).rev() {
        recording.moments[at].disk = recording.moments[at - BEHIND].disk.fork();
        recording.moments[at].in_flight.clear();
        let crash = Crash::of(&recording, at, CrashModel::KeepAll, SEED);
        noticed += usize::from(crash.recover(&recording, Then::Nothing, false).is_err());
    }
    assert!(noticed > count / 3, "{noticed} of {count} crashes");
}

#[test]
fn a_workload_is_the_same_every_time() {
    let told = |it: &Moment| (it.operation, it.now.0, it.events, it.in_flight.len());
    for workload in all().iter().filter(|it| it.name != "many") {
        let (one, other) = (recorded(workload), recorded(workload));
        assert!(one.moments.len() > 10, "{} writes", workload.name);
        let tell = |recording: &Recording| recording.moments.iter().map(told).collect::<Vec<_>>();
        assert_eq!(tell(&one), tell(&other), "{}", workload.name);
    }
}
