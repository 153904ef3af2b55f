//! `sim`: runs seeds, says what they reached, and replays the one that failed.

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;
use ottla_sim::run::{RunOptions, SeedResult, Totals, run_seed_safely};

/// How often the progress line comes.
const PROGRESS: Duration = Duration::from_secs(5);

/// Runs whole brokers in simulated worlds and judges what they answer
#[derive(Parser)]
struct Args {
    /// Replay this seed, with a trace of everything on standard error
    replay: Option<u64>,
    /// Run this seed alone
    #[arg(long, conflicts_with = "replay")]
    seed: Option<u64>,
    /// With --seed: a line for every operation and every change of the world
    #[arg(long)]
    trace: bool,
    /// How many seeds to run
    #[arg(long, default_value_t = 1000)]
    seeds: u64,
    /// The first of them
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Stop after so many seconds, whatever has been run
    #[arg(long)]
    seconds: Option<u64>,
    /// Run for so many hours instead of a number of seeds
    #[arg(long)]
    hours: Option<f64>,
    /// Threads; as many as cores where it is not said
    #[arg(long)]
    jobs: Option<usize>,
    /// Go on after a seed has failed
    #[arg(long)]
    keep_going: bool,
    /// Leave compacted topics out
    #[arg(long)]
    no_compaction: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let mut options = RunOptions { trace: args.trace || args.replay.is_some(), ..RunOptions::default() };
    options.plan.compaction = !args.no_compaction;
    match args.replay.or(args.seed) {
        Some(seed) => one(seed, options),
        None => many(&args, options),
    }
}

fn one(seed: u64, options: RunOptions) -> ExitCode {
    let begun = Instant::now();
    if options.trace {
        // The broker's own words, among the operations.
        let words = tracing_subscriber::fmt().without_time().with_target(false).with_ansi(false);
        words.with_max_level(tracing::Level::DEBUG).with_writer(std::io::stderr).init();
    }
    let result = run_seed_safely(seed, options);
    let mut totals = Totals::default();
    totals.add(&result);
    println!("seed {seed}: fingerprint {:016x}, {} events", result.fingerprint, result.events);
    eprintln!("{}", totals.line(begun.elapsed()));
    if options.trace {
        eprint!("{}", totals.table());
    }
    report(&result)
}

/// Prints a failure, and turns the result into an exit code.
fn report(result: &SeedResult) -> ExitCode {
    let Some(failure) = &result.failure else { return ExitCode::SUCCESS };
    println!("seed {} failed: {}", result.seed, failure.violation);
    print!("{}", failure.story);
    println!("make sim SEED={}", result.seed);
    ExitCode::FAILURE
}

/// What the threads share.
struct Progress {
    next: AtomicU64,
    stop: AtomicBool,
    totals: Mutex<(Totals, Vec<SeedResult>, Instant)>,
}

fn many(args: &Args, options: RunOptions) -> ExitCode {
    let begun = Instant::now();
    let limit = args.hours.map(|hours| Duration::from_secs_f64(hours * 3600.0));
    let limit = limit.or(args.seconds.map(Duration::from_secs)).unwrap_or(Duration::MAX);
    let end = if args.hours.is_some() { u64::MAX } else { args.from.saturating_add(args.seeds) };
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let progress = Progress {
        next: AtomicU64::new(args.from),
        stop: AtomicBool::new(false),
        totals: Mutex::new((Totals::default(), Vec::new(), begun)),
    };
    std::thread::scope(|scope| {
        for _ in 0..args.jobs.unwrap_or(cores) {
            scope.spawn(|| {
                while begun.elapsed() < limit && !progress.stop.load(Ordering::Relaxed) {
                    let seed = progress.next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end {
                        break;
                    }
                    take_in(&progress, run_seed_safely(seed, options), begun, args.keep_going);
                }
            });
        }
    });
    let (totals, mut failed, _) = progress.totals.into_inner().expect("no thread panics");
    println!("{}\n{}", totals.line(begun.elapsed()), totals.table());
    failed.sort_by_key(|result| result.seed);
    for result in &failed {
        report(result);
    }
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn take_in(progress: &Progress, result: SeedResult, begun: Instant, keep_going: bool) {
    let mut shared = progress.totals.lock().expect("no thread panics");
    let (totals, failed, told) = &mut *shared;
    totals.add(&result);
    if let Some(failure) = &result.failure {
        eprintln!("seed {} failed: {}", result.seed, failure.violation);
        failed.push(result);
        progress.stop.fetch_or(!keep_going, Ordering::Relaxed);
    }
    if told.elapsed() >= PROGRESS {
        *told = Instant::now();
        eprintln!("{}", totals.line(begun.elapsed()));
    }
}
