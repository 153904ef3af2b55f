//! Logs: one line each on standard error, written by a thread of their own so that no shard ever waits for a terminal.
//!
//! The queue is bounded; when it is full, lines are dropped rather than a shard held up. There is one logger, `root`,
//! whose level is the process's and may change while it runs (`kafka-configs --entity-type broker-loggers`).

use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use ottla::controller::loggers::{LogLevel, Logger};
use tracing::Level;
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::dynamic_filter_fn;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::terminal::wants_colours;

/// Lines that may wait for the terminal.
const LINES_MAX: usize = 4096;
/// The one logger's name, as log4j calls it.
const ROOT: &str = "root";
/// The level without a setting.
const LEVEL_DEFAULT: LogLevel = LogLevel::Info;

/// log4j's levels, from the quietest, with what they let through here.
const LEVELS: [(LogLevel, Level); 6] = [
    (LogLevel::Error, Level::ERROR),
    (LogLevel::Warn, Level::WARN),
    (LogLevel::Info, Level::INFO),
    (LogLevel::Debug, Level::DEBUG),
    (LogLevel::Trace, Level::TRACE),
    (LogLevel::Fatal, Level::ERROR),
];

/// The loggers of one process with their levels; clones share them.
#[derive(Clone, Debug)]
pub struct Loggers {
    /// The level in force, as its place in [`LEVELS`].
    level: Arc<AtomicU8>,
}

impl Loggers {
    /// At the level without a setting.
    #[must_use]
    pub fn new() -> Loggers {
        let loggers = Loggers { level: Arc::default() };
        loggers.set_level(None);
        loggers
    }

    fn current(&self) -> (LogLevel, Level) {
        LEVELS[usize::from(self.level.load(Ordering::Relaxed))]
    }

    /// The loggers with their levels.
    #[must_use]
    pub fn list(&self) -> Vec<Logger> {
        vec![Logger { name: ROOT.to_owned(), level: self.current().0 }]
    }

    /// Changes the level; `None` for the default.
    pub fn set_level(&self, level: Option<LogLevel>) {
        let wanted = level.unwrap_or(LEVEL_DEFAULT);
        let place =
            LEVELS.iter().position(|(level, _)| *level == wanted).expect("every level is in the table");
        self.level.store(u8::try_from(place).expect("there are six"), Ordering::Relaxed);
    }
}

impl Default for Loggers {
    fn default() -> Loggers {
        Loggers::new()
    }
}

/// Starts the logs at the levels of `loggers`, for the whole process. They are flushed when the guard is dropped.
/// `OTTLA_LOG` sets the level: error, warn, info, debug or trace.
pub fn start(loggers: &Loggers) -> WorkerGuard {
    let wanted = std::env::var("OTTLA_LOG").unwrap_or_default();
    let level = LEVELS.iter().find(|(level, _)| level.name().eq_ignore_ascii_case(&wanted));
    loggers.set_level(level.map(|(level, _)| *level));
    let (writer, guard) = NonBlockingBuilder::default()
        .buffered_lines_limit(LINES_MAX)
        .thread_name("logs")
        .finish(std::io::stderr());
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(writer)
        .with_target(false)
        .with_ansi(std::io::stderr().is_terminal() && wants_colours());
    let loggers = loggers.clone();
    tracing_subscriber::registry()
        .with(dynamic_filter_fn(move |metadata, _| *metadata.level() <= loggers.current().1))
        .with(lines)
        .init();
    guard
}
