//! What was measured of a disk: the table for people, the figures for machines, and the verdict on its syncs.

use std::path::PathBuf;
use std::time::Duration;

use comfy_table::{Table, presets};
use ottla_shards::tune::{Figure, Load, Measured, Step};
use serde_json::{Value, json};

use super::finding::Finding;
use super::surroundings::Surroundings;

/// A durable write of 4 KiB that is no slower needs no remark.
const SYNC_FINE: Duration = Duration::from_micros(300);
/// One that is slower makes every acknowledgement as slow as a mechanical disk's.
const SYNC_PROBLEM: Duration = Duration::from_millis(20);
/// A tail so many times longer than the middle is worth a remark.
const TAIL_TIMES: u32 = 10;

/// The figures of one directory.
#[derive(Clone, Debug)]
pub struct Ceiling {
    /// The directory.
    pub dir: PathBuf,
    /// Every step's.
    pub measured: Vec<Measured>,
}

fn load_of(step: Step) -> Load {
    match step {
        Step::InPlace(load) | Step::Append(load) | Step::Read(load) => load,
    }
}

fn operation(step: Step) -> &'static str {
    match step {
        Step::InPlace(_) => "durable write in place",
        Step::Append(_) => "durable write, appended",
        Step::Read(_) => "direct read",
    }
}

/// A duration in the unit that suits it.
pub(super) fn time(duration: Duration) -> String {
    let micros = duration.as_secs_f64() * 1e6;
    match micros {
        ..1e3 => format!("{micros:.0} µs"),
        1e3..1e4 => format!("{:.2} ms", micros / 1e3),
        _ => format!("{:.0} ms", micros / 1e3),
    }
}

impl Ceiling {
    fn figure(&self, wanted: impl Fn(Step) -> bool) -> Option<&Figure> {
        self.measured.iter().find(|part| wanted(part.step)).map(|part| &part.figure)
    }

    /// Bytes per second of durable appends.
    #[must_use]
    pub fn appended(&self) -> Option<f64> {
        self.figure(|step| matches!(step, Step::Append(_))).map(Figure::bytes_per_second)
    }

    /// Bytes per second of direct reads.
    #[must_use]
    pub fn read(&self) -> Option<f64> {
        self.figure(|step| matches!(step, Step::Read(_))).map(Figure::bytes_per_second)
    }

    /// How long an acknowledgement waits for this disk at least.
    #[must_use]
    pub fn sync_cost(&self, at: Surroundings) -> Option<Finding> {
        let figure =
            self.figure(|step| matches!(step, Step::InPlace(load) if load.bytes == 4096 && load.depth == 1))?;
        let found = format!("p50 {}, p99 {} for 4 KiB in place", time(figure.p50), time(figure.p99));
        let name = "durable write";
        let why =
            "every acknowledgement waits for one: linger.ms and larger batches at the producers share it";
        let mend = at.on_disk("a disk with power-loss protection answers a flush from its cache");
        if figure.p50 >= SYNC_PROBLEM {
            return Some(Finding::problem(name, found, why).mend(mend));
        }
        if figure.p50 > SYNC_FINE {
            return Some(Finding::better(name, found, why).mend(mend));
        }
        if figure.p99 > figure.p50 * TAIL_TIMES && figure.p99 > SYNC_FINE {
            let why =
                "the tail of every acknowledgement: something else writes to this disk, or it is throttled";
            return Some(Finding::better(name, found, why).mend("log.dirs on a disk of its own"));
        }
        Some(Finding::fine(name, found))
    }

    /// The table.
    #[must_use]
    pub fn table(&self) -> String {
        let mut table = Table::new();
        table.load_preset(presets::ASCII_MARKDOWN);
        table.set_header(["operation", "bytes", "at a time", "per second", "MB/s", "p50", "p99"]);
        for Measured { step, figure } in &self.measured {
            let load = load_of(*step);
            table.add_row([
                operation(*step).to_owned(),
                format!("{} KiB", load.bytes >> 10),
                load.depth.to_string(),
                format!("{:.0}", figure.per_second()),
                format!("{:.1}", figure.bytes_per_second() / 1e6),
                time(figure.p50),
                time(figure.p99),
            ]);
        }
        table.to_string()
    }

    /// The same for machines.
    #[must_use]
    pub fn json(&self) -> Value {
        let rows = self.measured.iter().map(|Measured { step, figure }| {
            let load = load_of(*step);
            json!({
                "operation": operation(*step),
                "bytes": load.bytes,
                "depth": load.depth,
                "per_second": figure.per_second(),
                "bytes_per_second": figure.bytes_per_second(),
                "p50_us": figure.p50.as_secs_f64() * 1e6,
                "p99_us": figure.p99.as_secs_f64() * 1e6,
            })
        });
        json!({ "dir": self.dir.display().to_string(), "measured": rows.collect::<Vec<_>>() })
    }
}
