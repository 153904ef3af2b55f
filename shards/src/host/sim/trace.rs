//! The log lines of simulated processes, between the lines of what they do.

use std::fmt;
use std::io;

use tracing::Level;
use tracing_subscriber::filter::dynamic_filter_fn;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use super::engine::current;

/// Shows virtual time and the shard in place of the time of day.
struct VirtualTime;

impl FormatTime for VirtualTime {
    fn format_time(&self, writer: &mut Writer<'_>) -> fmt::Result {
        let stamp = current().map(|engine| engine.stamp()).unwrap_or_default();
        writer.write_str(&stamp)
    }
}

/// Prints the log lines of the world that runs on the calling thread, while it is traced. Does nothing where the
/// program has logs of its own.
pub(super) fn show_logs() {
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(io::stderr)
        .with_target(false)
        .with_ansi(false)
        .with_timer(VirtualTime);
    let is_shown = |metadata: &tracing::Metadata<'_>| {
        *metadata.level() <= Level::DEBUG && current().is_some_and(|engine| engine.trace.get())
    };
    let subscriber = tracing_subscriber::registry()
        .with(dynamic_filter_fn(move |metadata, _| is_shown(metadata)))
        .with(lines);
    // Another thread's world may have been first, or the program itself.
    let _ = subscriber.try_init();
}
