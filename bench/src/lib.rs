//! `ottla bench`: a load generator for any broker that speaks Kafka's protocol.
//!
//! It runs in a process of its own, with plain blocking sockets and one or two threads per connection; no shard owns
//! it and it keeps nothing on disk. What must hold: a record counts as produced once the broker said so (with
//! `acks=0`: once the socket took it); a record that failed is an error and never a latency; with a rate, latency is
//! counted from the moment at which a record was due, so that a stalled broker cannot hide the records that it kept
//! waiting (coordinated omission).
//!
//! | module | does |
//! |---|---|
//! | [`args`] | the flags, and what they may be |
//! | `schedule` | when which batch is due: arithmetic alone |
//! | `payload` | the batches that are sent |
//! | `cluster`, `offsets` | versions, topics, leaders, producer ids, where logs begin and end |
//! | `produce`, `consume` | the threads and their sockets |
//! | `tally`, `report` | the counting, and what people read |

use std::io::Write;

pub mod args;
mod batch;
mod batcher;
mod cluster;
mod consume;
mod error;
#[cfg(test)]
mod fake;
mod filler;
pub mod html;
mod keys;
mod offsets;
mod pace;
mod payload;
mod produce;
mod replies;
mod report;
pub mod result;
mod schedule;
mod stamp;
mod tally;
mod values;
mod verify;
pub mod workload;

pub use args::{BenchArgs, BenchCommand, ConsumeArgs, ProduceArgs};
pub use error::BenchError;

/// Runs a load, prints its report to `out`, and gives the exit code: 0, or 1 where some of the load failed.
///
/// Once a second a line of progress goes to standard error, if that is a terminal.
///
/// # Errors
/// [`BenchError`] where the load could not begin: a bad flag, no broker, no topic.
pub fn run(args: &BenchArgs, out: &mut dyn Write) -> Result<u8, BenchError> {
    match &args.command {
        BenchCommand::Produce(args) => produce::run(&args.plan()?, out),
        BenchCommand::Consume(args) => consume::run(&args.plan()?, out),
    }
}
