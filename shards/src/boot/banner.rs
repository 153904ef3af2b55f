//! The lines that a start prints: what runs, where, with what, and what its acknowledgements mean.

use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use ottla::config::BrokerConfig;

/// What a start has to say.
pub struct Banner<'a> {
    /// The settings.
    pub config: &'a BrokerConfig,
    /// The listeners as clients reach them: `PLAINTEXT://localhost:9092`.
    pub listeners: &'a [String],
    /// Where the metrics are served, if they are.
    pub metrics: Option<&'a str>,
    /// The CPUs of the shards; empty where the scheduler places them.
    pub cpus: &'a [usize],
    /// How many shards.
    pub shards: u16,
    /// Each log directory.
    pub dirs: &'a [DirLine<'a>],
    /// The cluster's id.
    pub cluster_id: &'a str,
    /// Topics and partitions that are there.
    pub topics: usize,
    /// The same for partitions.
    pub partitions: usize,
    /// From the start of the process to now.
    pub took: Duration,
}

/// What is said of a log directory.
pub struct DirLine<'a> {
    /// Its path.
    pub path: &'a Path,
    /// Whether it could not be read or written: nothing of it is served.
    pub is_offline: bool,
    /// Bytes that are free on its disk.
    pub free_bytes: Option<u64>,
    /// Whether writes bypass the page cache.
    pub is_direct: bool,
    /// Whether this start made it.
    pub is_new: bool,
}

impl Banner<'_> {
    /// The text, ending with a line break.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        let mut line = |name: &str, value: &str| {
            writeln!(text, "  {name:<13} {value}").expect("a string takes everything");
        };
        line("listening", &self.listeners.join(", "));
        if let Some(metrics) = self.metrics {
            line("metrics", metrics);
        }
        line("shards", &self.shards_text());
        for dir in self.dirs {
            line("log dir", &dir.text());
        }
        line("node", &format!("{} of cluster {}", self.config.node_id, self.cluster_id));
        line("topics", &format!("{}, {} partitions", self.topics, self.partitions));
        line("acknowledged", self.acknowledged_text());
        self.notes(&mut line);
        let version = env!("CARGO_PKG_VERSION");
        let took = self.took.as_secs_f64() * 1e3;
        format!("Ottla {version}\n{text}  ready in {took:.0} ms\n")
    }

    fn shards_text(&self) -> String {
        let cpus: Vec<String> = self.cpus.iter().map(ToString::to_string).collect();
        match cpus.as_slice() {
            [] => format!("{}, not pinned: there are fewer cpus", self.shards),
            [cpu] => format!("{} on cpu {cpu}", self.shards),
            cpus => format!("{} on cpus {}", self.shards, cpus.join(", ")),
        }
    }

    fn acknowledged_text(&self) -> &'static str {
        match self.config.log.flush_messages {
            1 => "means on disk, for acks=1 and acks=all",
            _ => "means in memory: log.flush.interval.messages relaxes it",
        }
    }

    /// Settings that somebody made and that do not act.
    fn notes(&self, line: &mut impl FnMut(&str, &str)) {
        let notes = self.config.start_notes();
        let lists = [
            ("unknown", notes.unknown),
            ("no effect", notes.without_effect),
            ("not yet here", notes.not_yet),
        ];
        for (name, keys) in lists.iter().filter(|(_, keys)| !keys.is_empty()) {
            line(name, &keys.join(", "));
        }
    }
}

impl DirLine<'_> {
    fn text(&self) -> String {
        if self.is_offline {
            return format!("{} (OFFLINE: its partitions are not served)", self.path.display());
        }
        let free = match self.free_bytes {
            Some(bytes) => format!("{:.1} GB free", bytes as f64 / 1e9),
            None => "free space unknown".to_owned(),
        };
        let how = if self.is_direct { "direct I/O" } else { "no direct I/O there: page cache and sync" };
        let new = if self.is_new { ", new" } else { "" };
        format!("{} ({free}, {how}{new})", self.path.display())
    }
}

#[cfg(test)]
mod tests {
    use ottla::config::Layers;

    use super::*;

    #[test]
    fn the_lines_name_what_matters() {
        let mut layers = Layers::default();
        layers.command_line.insert("no.such.key".to_owned(), "1".to_owned());
        let config = BrokerConfig::new(&layers).expect("unknown keys are no error");
        let dir = DirLine {
            path: Path::new("/d"),
            is_offline: false,
            free_bytes: Some(2_000_000_000),
            is_direct: true,
            is_new: true,
        };
        let banner = Banner {
            config: &config,
            listeners: &["PLAINTEXT://localhost:9092".to_owned()],
            metrics: Some("http://127.0.0.1:9644/metrics"),
            cpus: &[0, 1],
            shards: 2,
            dirs: &[dir],
            cluster_id: "c",
            topics: 1,
            partitions: 3,
            took: Duration::from_millis(12),
        };
        let text = banner.text();
        for part in [
            "PLAINTEXT://localhost:9092",
            "2 on cpus 0, 1",
            "2.0 GB free",
            "on disk",
            "no.such.key",
            "12 ms",
            "metrics       http://127.0.0.1:9644/metrics",
        ] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
    }
}
