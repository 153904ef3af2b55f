//! What a durable commit costs: the disk's own ceiling, commits into segments beside commits through the journal, and
//! rolls at half the disk's rate.
//!
//! The disk path is driven in-process by one shard, without a network, so that nothing else is measured. Each line of
//! the second table is closed loops: every partition has one batch in flight, or as many as `deep` says, and the next
//! follows its acknowledgement. The ways alternate, for other work on the machine meets both, and the medians
//! are shown. Nothing here passes or fails.
//!
//! Words on the command line choose among `ceiling`, `commits` and `roll`; `partitions=1,100`, `batch=100,1024`,
//! `deep=1,5`, `ways=never,auto,always`, `rounds=2`, `seconds=1.5`, `zeroed=0` (bytes zeroed ahead),
//! `rate=2e8` (bytes/s of `roll`) and `dir=/path` narrow it down.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use comfy_table::{Table, presets};
use ottla_shards::disk::{DiskSettings, JournalUse};

mod batch;
mod ceiling;
mod load;
mod roll;

/// What to measure, and how long.
#[derive(Clone)]
struct Plan {
    what: Vec<String>,
    partitions: Vec<usize>,
    batch_bytes: Vec<usize>,
    /// Batches of a partition in flight.
    deep: Vec<usize>,
    ways: Vec<JournalUse>,
    rounds: usize,
    time: Duration,
    dir: PathBuf,
    zeroed_bytes: u64,
    /// Bytes per second of the rolls; half of what one partition takes where it is not given.
    rate: Option<f64>,
}

impl Plan {
    fn from_args() -> Plan {
        let mut plan = Plan {
            what: Vec::new(),
            partitions: vec![1, 100, 1_000, 5_000],
            batch_bytes: vec![100, 1 << 10, 64 << 10],
            deep: vec![1],
            ways: vec![JournalUse::Never, JournalUse::Auto],
            rounds: 2,
            time: Duration::from_millis(1_500),
            dir: std::env::temp_dir(),
            zeroed_bytes: DiskSettings::default().zeroed_bytes_max,
            rate: None,
        };
        for word in std::env::args().skip(1).filter(|word| !word.starts_with('-')) {
            let numbers = |list: &str| list.split(',').map(|word| word.parse().expect("a number")).collect();
            match word.split_once('=') {
                None => plan.what.push(word),
                Some(("partitions", list)) => plan.partitions = numbers(list),
                Some(("batch", list)) => plan.batch_bytes = numbers(list),
                Some(("deep", list)) => plan.deep = numbers(list),
                Some(("ways", list)) => plan.ways = list.split(',').map(way).collect(),
                Some(("rounds", count)) => plan.rounds = count.parse().expect("a number"),
                Some(("seconds", time)) => {
                    plan.time = Duration::from_secs_f64(time.parse().expect("a number of seconds"));
                }
                Some(("zeroed", bytes)) => plan.zeroed_bytes = bytes.parse().expect("a number"),
                Some(("rate", rate)) => plan.rate = Some(rate.parse().expect("a number")),
                Some(("dir", dir)) => plan.dir = dir.into(),
                Some((name, _)) => panic!("{name} is not known"),
            }
        }
        plan
    }

    fn is_chosen(&self, name: &str) -> bool {
        self.what.is_empty() || self.what.iter().any(|word| word == name)
    }
}

fn way(name: &str) -> JournalUse {
    match name {
        "never" => JournalUse::Never,
        "auto" => JournalUse::Auto,
        "always" => JournalUse::Always,
        other => panic!("{other} is no way of committing"),
    }
}

fn way_name(way: JournalUse) -> &'static str {
    match way {
        JournalUse::Never => "segments",
        JournalUse::Auto => "auto",
        JournalUse::Always => "journal",
    }
}

fn way_word(way: JournalUse) -> &'static str {
    match way {
        JournalUse::Never => "never",
        JournalUse::Auto => "auto",
        JournalUse::Always => "always",
    }
}

fn main() {
    let plan = Plan::from_args();
    if plan.what.iter().any(|word| word == "child") {
        load::run_child(&plan);
        return;
    }
    if plan.is_chosen("ceiling") {
        ceiling::measure(&plan);
    }
    if plan.is_chosen("commits") {
        load::measure(&plan);
    }
    if plan.is_chosen("roll") {
        roll::measure(&plan);
    }
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::ASCII_MARKDOWN).set_header(header.iter().copied());
    table
}

fn directory(plan: &Plan) -> tempfile::TempDir {
    tempfile::tempdir_in(&plan.dir).expect("a temporary directory")
}

/// A directory whose own directories lie far apart on the disk, where the file system can be asked for that: ext4
/// without a journal passes one by one over inodes that were deleted within the last minutes, so that the files of one
/// round make those of the next dear.
fn spread_directory(plan: &Plan) -> tempfile::TempDir {
    let made = directory(plan);
    let _ = Command::new("chattr").arg("+T").arg(made.path()).stderr(Stdio::null()).status();
    made
}

fn thousands(rate: f64) -> String {
    if rate < 10_000.0 { format!("{rate:.0}") } else { format!("{:.1} k", rate / 1e3) }
}

/// The middle one of several rounds.
fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn micros(nanos: u64) -> String {
    let micros = nanos as f64 / 1e3;
    if micros < 10_000.0 { format!("{micros:.0} µs") } else { format!("{:.1} ms", micros / 1e3) }
}
