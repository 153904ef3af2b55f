//! `ottla bench`: a load generator for any broker that speaks Kafka's protocol.
//!
//! It runs in a process of its own, on executors of the shards' kind: one per core of load, with many connections on
//! each. Nothing is on disk but the files that it is told to write. What must hold: a record counts as produced once
//! the broker said so (with `acks=0`: once it was handed to the socket); a record that failed is an error and never a
//! latency; latency is counted from the moment at which a record was due, so that a stalled broker cannot hide the
//! records that it kept waiting (coordinated omission); what is read is verified.
//!
//! | module | does |
//! |---|---|
//! | [`args`] | the flags, and the plans that they make |
//! | `pace`, `keys`, `stamp`, `filler`, `batch`, `batcher` | what is due when, and what is sent: arithmetic alone |
//! | `cluster`, `offsets`, `places` | versions, topics, leaders, producer ids, where logs begin and end |
//! | `engine`, `link` | the executors and their connections |
//! | `producer`, `peer`, `consumer`, `verify` | those who produce and consume, and what they find |
//! | `comeback` | how they come back to a broker that they have lost, where they are to |
//! | `traffic`, `backlog`, `max`, `connections`, `groups` | the modes |
//! | `tally`, `watch`, `screen`, `cut`, `verdict`, `outcome` | the counting, and what people read |
//! | `interrupt` | what ends a load before its time |
//! | [`result`], [`html`], [`workload`] | results as values, files and pages; descriptions of loads as files |
//! | [`budget`] | the budget sheet of tuning.md, for the benches beside this library |

use std::io::Write;

pub mod args;
mod backlog;
mod batch;
mod batcher;
pub mod budget;
mod cluster;
mod comeback;
mod connections;
mod consumer;
mod cut;
mod engine;
mod error;
#[cfg(test)]
mod fake;
mod filler;
mod groups;
pub mod html;
mod interrupt;
mod keys;
mod link;
pub mod mapping;
mod max;
mod offsets;
mod outcome;
mod pace;
mod peer;
mod places;
mod producer;
pub mod result;
mod screen;
mod stamp;
mod tally;
mod traffic;
mod values;
mod verdict;
mod verify;
mod watch;
pub mod workload;

pub use args::{BenchArgs, BenchCommand};
pub use error::BenchError;
pub use interrupt::Interrupt;

use args::plan::Mode;

/// Runs a load, prints its report to `out`, and gives the exit code: 0, or 1 where some of the load failed, or that of
/// the signal that ended it before its time.
///
/// Once a second a line of progress goes to standard error, if that is a terminal.
///
/// # Errors
/// [`BenchError`] where the load could not begin: a bad flag, no broker, no topic.
pub fn run(args: &BenchArgs, interrupt: &Interrupt, out: &mut dyn Write) -> Result<u8, BenchError> {
    let interrupt = interrupt.clone();
    let mut traffic = match &args.command {
        BenchCommand::Produce(args) => args.plan(Mode::Produce)?,
        BenchCommand::Consume(args) => args.plan()?,
        BenchCommand::EndToEnd(args) => args.plan(Mode::EndToEnd)?,
        BenchCommand::Mixed(args) => args.plan()?,
        BenchCommand::Soak(args) => args.plan()?,
        BenchCommand::Workload(args) => args.plan()?,
        BenchCommand::Max(args) => {
            let mut plan = args.plan()?;
            plan.traffic.run.interrupt = interrupt;
            return max::run(&plan, out);
        }
        BenchCommand::Connections(args) => {
            let mut plan = args.plan()?;
            plan.run.interrupt = interrupt;
            return connections::run(&plan, out);
        }
        BenchCommand::Groups(args) => {
            let mut plan = args.plan()?;
            plan.run.interrupt = interrupt;
            return groups::run(&plan, out);
        }
        BenchCommand::Report(args) => {
            args.check()?;
            html::overlay(&args.results, &args.output)?;
            return Ok(0);
        }
    };
    traffic.run.interrupt = interrupt;
    traffic::run(&traffic, out)
}
