//! Logs: one line each on standard error, written by a thread of their own so that no shard ever waits for a terminal.
//!
//! The queue is bounded; when it is full, lines are dropped rather than a shard held up.

use std::io::IsTerminal;

use tracing::Level;
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};

/// Lines that may wait for the terminal.
const LINES_MAX: usize = 4096;

/// Starts the logs. They are flushed when the guard is dropped. `OTTLA_LOG` sets the level: error, warn, info, debug or
/// trace.
#[must_use]
pub fn start() -> WorkerGuard {
    let level = std::env::var("OTTLA_LOG").ok().and_then(|text| text.parse::<Level>().ok()).unwrap_or(Level::INFO);
    let (writer, guard) = NonBlockingBuilder::default()
        .buffered_lines_limit(LINES_MAX)
        .thread_name("logs")
        .finish(std::io::stderr());
    tracing_subscriber::fmt()
        .with_writer(writer)
        .with_max_level(level)
        .with_target(false)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    guard
}
