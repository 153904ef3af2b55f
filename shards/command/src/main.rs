//! The `ottla` command: `start` runs the broker, the others are Kafka's tools under their own names.
//!
//! Owns nothing: it parses the command line and hands over.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use ottla_bench::{BenchArgs, BenchError, Interrupt};
use ottla_shards::boot::{self, StartArgs};
use ottla_shards::host::say_why;
use ottla_shards::last_words::unless_taken_a_signal_ends;
use ottla_tools::log_dump::{self, LogArgs};
use ottla_tools::storage::{self, StorageArgs};
use ottla_tools::top::{self, TopArgs};
use ottla_tools::tune::{self, TuneArgs};

/// Small objects come from many short requests; mimalloc frees across cores at a fifth of the price.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A Kafka-protocol broker: one shard per core, acknowledgements that mean "on disk"
#[derive(Parser)]
#[command(name = "ottla", version, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run a broker; without a file, a single node on localhost:9092 with its data in ./ottla-data
    Start(StartArgs),
    /// Format log directories, make ids, show what is there (Kafka's kafka-storage.sh)
    Storage(StorageArgs),
    /// Print what stands in the files of a log (Kafka's kafka-dump-log.sh)
    Log(LogArgs),
    /// Show what a broker does now, shard by shard, and where its requests spend their time
    Top(TopArgs),
    /// Put load on a broker and measure it
    Bench(Box<BenchArgs>),
    /// Check this machine, measure its disks, and write the settings that follow
    Tune(TuneArgs),
}

fn main() -> ExitCode {
    let cli = Cli::try_parse().unwrap_or_else(|error| {
        // Nobody is there to be told if this cannot be printed.
        let _ = error.print();
        std::process::exit(usage_code(error.exit_code()))
    });
    match cli.command {
        Command::Start(args) => boot::start(&args),
        Command::Bench(args) => exit(bench(&args)),
        Command::Log(args) => {
            let output = log_dump::Output { out: std::io::stdout().lock(), err: std::io::stderr().lock() };
            exit(log_dump::run(&args, output))
        }
        Command::Top(args) => exit(top::run(&args, &mut std::io::stdout())),
        Command::Tune(args) => exit(tune::run(&args, &mut std::io::stdout().lock())),
        Command::Storage(args) => exit(storage::run(&args, &mut std::io::stdout().lock())),
    }
}

/// Runs a load that the first signal ends in order.
fn bench(args: &BenchArgs) -> Result<u8, BenchError> {
    let interrupt = Interrupt::default();
    let for_signals = interrupt.clone();
    unless_taken_a_signal_ends(move |signal| for_signals.take(signal))?;
    ottla_bench::run(args, &interrupt, &mut std::io::stdout())
}

/// The exit code for arguments that are not understood: Kafka's dump tool has 1, as for everything else.
fn usage_code(code: i32) -> i32 {
    let is_kafkas =
        std::env::args_os().nth(1).is_some_and(|command| command == "log" || command == "storage");
    if is_kafkas { code.min(1) } else { code }
}

/// A tool's exit code; what it refuses is one line and 1.
fn exit<E: std::fmt::Display>(outcome: Result<u8, E>) -> ExitCode {
    outcome.map_or_else(
        |error| {
            say_why(&error);
            ExitCode::from(1)
        },
        ExitCode::from,
    )
}
