//! `canaries`: plants bugs one after the other and runs seeds until each is caught.

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;
use ottla::canary::Canary;
use ottla_sim::canaries::{Budget, Hunt, hunt, hunt_crashes, run_planted, table};
use ottla_sim::run::RunOptions;

/// How often a hunt says how far it is.
const PROGRESS: Duration = Duration::from_secs(10);

/// Proves that the simulator is not blind: plants bugs, and runs seeds until each is caught
#[derive(Parser)]
struct Args {
    /// Hunt this bug alone; may be given more than once
    #[arg(long = "canary")]
    canaries: Vec<u16>,
    /// The most seeds for one bug
    #[arg(long, default_value_t = 10_000)]
    seeds: u64,
    /// The most seconds for one bug
    #[arg(long, default_value_t = 600)]
    seconds: u64,
    /// The first seed
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// How many of the same seeds have to be green without any bug
    #[arg(long, default_value_t = 200)]
    green: u64,
    /// Threads; as many as cores where it is not said
    #[arg(long)]
    jobs: Option<usize>,
    /// With one bug: run this seed alone and tell its story
    #[arg(long)]
    seed: Option<u64>,
    /// With --seed: a line for every operation and every change of the world
    #[arg(long)]
    trace: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let mut chosen = Vec::new();
    for number in &args.canaries {
        match Canary::by_number(*number) {
            Some(canary) => chosen.push(canary),
            None => {
                eprintln!("canaries: there is no canary {number}");
                return ExitCode::FAILURE;
            }
        }
    }
    match (args.seed, chosen.as_slice()) {
        (Some(seed), [canary]) => one(*canary, seed, args.trace),
        (_, []) => many(&args, Canary::ALL),
        (_, chosen) => many(&args, chosen),
    }
}

fn one(canary: Canary, seed: u64, trace: bool) -> ExitCode {
    let options = RunOptions { trace, ..RunOptions::default() };
    let (result, struck) = run_planted(Some(canary), seed, options);
    println!("{canary:?}, seed {seed}: reached {struck} times, {} events", result.events);
    let Some(failure) = result.failure else { return ExitCode::SUCCESS };
    println!("{}\n{}", failure.violation, failure.story);
    ExitCode::FAILURE
}

/// Runs `work` on as many threads as are asked for.
fn on_threads(jobs: Option<usize>, work: impl Fn() + Sync) {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..jobs.unwrap_or(cores) {
            scope.spawn(&work);
        }
    });
}

fn many(args: &Args, chosen: &[Canary]) -> ExitCode {
    let budget =
        Budget { from: args.from, seeds_max: args.seeds, time_max: Duration::from_secs(args.seconds) };
    let (next, hunts) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    on_threads(args.jobs, || {
        while let Some(canary) = chosen.get(next.fetch_add(1, Ordering::Relaxed)) {
            let hunted = told_hunt(*canary, budget);
            hunts.lock().expect("no thread panics").push(hunted);
        }
    });
    let red = red_seeds(args);
    let mut hunts = hunts.into_inner().expect("no thread panics");
    hunts.sort_by_key(|hunt: &Hunt| hunt.canary);
    print!("{}", table(&hunts));
    let caught = hunts.iter().filter(|hunt| hunt.catch.is_some()).count();
    println!(
        "{caught} of {} caught; {} of {} seeds fail without any: {red:?}",
        hunts.len(),
        red.len(),
        args.green
    );
    if caught == hunts.len() && red.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn told_hunt(canary: Canary, budget: Budget) -> Hunt {
    let mut told = Instant::now();
    let mut hunted = hunt(canary, budget, RunOptions::default(), |hunt| {
        if told.elapsed() >= PROGRESS {
            told = Instant::now();
            eprintln!("{canary:?}: {} seeds, reached in {}, {} red", hunt.seeds, hunt.struck, hunt.red.len());
        }
    });
    if hunted.catch.is_none() {
        hunt_crashes(&mut hunted, budget.time_max);
    }
    let seen = hunted.catch.as_ref().map_or("NOT CAUGHT".to_owned(), |catch| catch.seen_by());
    eprintln!("{} {canary:?}: {seen} after {} seeds, {:?}", canary.number(), hunted.seeds, hunted.took);
    hunted
}

/// The first seeds once more with nothing planted: none may fail.
fn red_seeds(args: &Args) -> Vec<u64> {
    let (next, red) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    on_threads(args.jobs, || {
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed) as u64;
            if at >= args.green {
                break;
            }
            let (result, _) = run_planted(None, args.from + at, RunOptions::default());
            if result.failure.is_some() {
                red.lock().expect("no thread panics").push(result.seed);
            }
        }
    });
    let mut red = red.into_inner().expect("no thread panics");
    red.sort_unstable();
    red
}
