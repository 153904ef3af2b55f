//! `crash`: takes the power away at every operation of every workload, and replays the crash that went wrong.

use std::process::ExitCode;

use clap::Parser;
use ottla_shards::host::sim::CrashModel;
use ottla_sim::crash::{Options, Replay, Workload, all, replay, run};

/// Crashes small workloads at every operation on their disk, and judges what the real broker makes of what is left
#[derive(Parser)]
struct Args {
    /// Replay one crash with a trace on standard error: WORKLOAD OPERATION MODEL, and OPERATION MODEL again for a
    /// second crash in its recovery
    #[arg(num_args = 0..=5)]
    at: Vec<String>,
    /// Run this workload alone; may be given several times
    #[arg(long)]
    only: Vec<String>,
    /// Decides everything that is random
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Each crash point under one model in turn, instead of under all five
    #[arg(long)]
    one_model: bool,
    /// Take every so-manieth crash point
    #[arg(long, default_value_t = 1)]
    stride: usize,
    /// Threads; as many as cores where it is not said
    #[arg(long)]
    jobs: Option<usize>,
    /// Stop after so many failures
    #[arg(long, default_value_t = 10)]
    failures: usize,
    /// Name the workloads and exit
    #[arg(long)]
    list: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    if args.list {
        all().iter().for_each(|workload| println!("{}", workload.name));
        return ExitCode::SUCCESS;
    }
    let done = if args.at.is_empty() { many(&args) } else { one(&args) };
    done.unwrap_or_else(|line| {
        eprintln!("{line}");
        ExitCode::from(2)
    })
}

fn named(name: &str) -> Result<Workload, String> {
    let found = all().into_iter().find(|workload| workload.name == name);
    found.ok_or_else(|| format!("there is no workload {name}; --list names them"))
}

fn many(args: &Args) -> Result<ExitCode, String> {
    let workloads = if args.only.is_empty() {
        all()
    } else {
        args.only.iter().map(|name| named(name)).collect::<Result<Vec<Workload>, String>>()?
    };
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let options = Options {
        seed: args.seed,
        all_models: !args.one_model,
        stride: args.stride.max(1),
        jobs: args.jobs.unwrap_or(cores).max(1),
        failures_max: args.failures.max(1),
        progress: true,
    };
    let totals = run(&workloads, options);
    print!("{}", totals.table());
    totals.failed.iter().for_each(|failed| println!("{failed}"));
    Ok(if totals.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn one(args: &Args) -> Result<ExitCode, String> {
    let (name, crashes) = args.at.split_first().expect("it is not empty");
    let workload = named(name)?;
    let crashes: Vec<(u64, CrashModel)> = crashes.chunks(2).map(crash_of).collect::<Result<_, String>>()?;
    let first = *crashes.first().ok_or("which operation, and which model?")?;
    let what = Replay { first, second: crashes.get(1).copied() };
    Ok(match replay(&workload, args.seed, what) {
        Ok(()) => {
            println!("{} recovers", args.at.join(" "));
            ExitCode::SUCCESS
        }
        Err(failure) => {
            println!("{}: {}", args.at.join(" "), failure.violation);
            print!("{}", failure.story);
            ExitCode::FAILURE
        }
    })
}

fn crash_of(words: &[String]) -> Result<(u64, CrashModel), String> {
    let [operation, model] = words else { return Err("an operation has a model".to_owned()) };
    let number = operation.parse().map_err(|_| format!("{operation} is no operation"))?;
    let named = |wanted: &CrashModel| format!("{wanted:?}").eq_ignore_ascii_case(model);
    let model = CrashModel::ALL.into_iter().find(named);
    Ok((number, model.ok_or_else(|| format!("the models are {:?}", CrashModel::ALL))?))
}
