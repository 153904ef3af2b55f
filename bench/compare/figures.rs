//! Every figure of a comparison, with what is wanted of it.
//!
//! A ratio is Ottla's figure over another broker's of the same round; what is wanted of it is a target of this
//! project and no result.

/// What a figure should be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Want {
    /// This or less.
    AtMost(f64),
    /// This or more.
    AtLeast(f64),
}

impl Want {
    /// Whether a value is what is wanted.
    #[must_use]
    pub fn is_met(self, value: f64) -> bool {
        match self {
            Want::AtMost(most) => value <= most,
            Want::AtLeast(least) => value >= least,
        }
    }

    /// As people write it.
    #[must_use]
    pub fn text(self) -> String {
        match self {
            Want::AtMost(most) => format!("≤ {most}"),
            Want::AtLeast(least) => format!("≥ {least}"),
        }
    }
}

/// A figure.
#[derive(Clone, Copy, Debug)]
pub struct Figure {
    /// `question.figure`.
    pub id: &'static str,
    /// What it is.
    pub what: &'static str,
    /// What it counts.
    pub unit: &'static str,
    /// What the ratio to the broker of a driver file should be.
    pub ratios: &'static [(&'static str, Want)],
    /// What Ottla's own figure should be.
    pub value: Option<Want>,
}

const fn figure(id: &'static str, what: &'static str, unit: &'static str) -> Figure {
    Figure { id, what, unit, ratios: &[], value: None }
}

impl Figure {
    const fn ratios(self, ratios: &'static [(&'static str, Want)]) -> Figure {
        Figure { ratios, ..self }
    }

    const fn value(self, want: Want) -> Figure {
        Figure { value: Some(want), ..self }
    }
}

use Want::{AtLeast, AtMost};

/// The driver file that everything is held against.
pub const BASELINE: &str = "kafka";
/// The one that syncs before it acknowledges.
const FLUSHED: &str = "kafka-flush";
/// No broker, but what the kernel and the disk take: a tenth above it is as near as it gets.
const LEAST: (&str, Want) = ("least", AtMost(1.1));

const SMALL: &str = "5,000/s of 1 KiB, 12 partitions, linger 1 ms";
const SINGLE: &str = "10,000/s of 1 KiB, one partition, linger 0";

/// All figures, in the order of the report.
pub const FIGURES: &[Figure] = &[
    figure("small.cpu", "CPU per record", "µs").ratios(&[(BASELINE, AtMost(0.35)), LEAST]),
    figure("small.ack_p50", "ack p50", "ms").ratios(&[LEAST]),
    figure("small.ack_p99", "ack p99", "ms").ratios(&[
        (BASELINE, AtMost(0.10)),
        (FLUSHED, AtMost(0.03)),
        LEAST,
    ]),
    figure("small.ack_p999", "ack p99.9", "ms").ratios(&[(BASELINE, AtMost(0.10)), LEAST]),
    figure("small.seen_p50", "end to end p50", "ms"),
    figure("small.seen_p99", "end to end p99", "ms"),
    figure("small.seen_p999", "end to end p99.9", "ms"),
    figure("small.memory", "memory after it", "MB"),
    figure("single.cpu", "CPU per record", "µs").ratios(&[(BASELINE, AtMost(0.40)), LEAST]),
    figure("single.ack_p50", "ack p50", "ms").ratios(&[(BASELINE, AtMost(0.15)), LEAST]),
    figure("single.ack_p99", "ack p99", "ms").ratios(&[(BASELINE, AtMost(0.08)), LEAST]),
    figure("single.ack_p999", "ack p99.9", "ms").ratios(&[(BASELINE, AtMost(0.10)), LEAST]),
    figure("single.seen_p50", "end to end p50", "ms"),
    figure("single.seen_p99", "end to end p99", "ms"),
    figure("single.seen_p999", "end to end p99.9", "ms"),
    figure("max.rate", "records/s", "k").ratios(&[(BASELINE, AtLeast(2.0)), (FLUSHED, AtLeast(4.0))]),
    figure("max.cpu", "CPU per record", "µs").ratios(&[(BASELINE, AtMost(0.40))]),
    figure("max.ack_p99", "ack p99", "ms"),
    figure("max.memory", "memory after it", "MB"),
    figure("max100.rate", "records/s", "k").ratios(&[(BASELINE, AtLeast(1.5))]),
    figure("max100.cpu", "CPU per record", "µs").ratios(&[(BASELINE, AtMost(0.50))]),
    figure("max100.ack_p99", "ack p99", "ms"),
    figure("fetch.hot_cpu", "just produced: CPU per GB", "s").ratios(&[(BASELINE, AtMost(0.25))]),
    figure("fetch.hot_rate", "just produced", "MB/s"),
    figure("fetch.cold_cpu", "cold: CPU per GB", "s").ratios(&[(BASELINE, AtMost(0.35))]),
    figure("fetch.cold_rate", "cold", "MB/s").ratios(&[(BASELINE, AtLeast(1.0))]),
    figure("fetch.of_ceiling", "cold, of the disk's read ceiling", "%").value(AtLeast(90.0)),
    figure("drain.alone_p99", "live ack p99, alone", "ms"),
    figure("drain.beside_p99", "live ack p99, beside a cold drain", "ms"),
    figure("drain.moved", "moved by", "×").value(AtMost(1.3)),
    figure("drain.seen_alone_p99", "live end to end p99, alone", "ms"),
    figure("drain.seen_beside_p99", "live end to end p99, beside a cold drain", "ms"),
    figure("drain.seen_moved", "moved by", "×").value(AtMost(1.3)),
    figure("start.fresh", "start to first acknowledgement", "ms").ratios(&[(BASELINE, AtMost(0.008))]),
    figure("start.killed", "the same after kill -9", "ms"),
    figure("start.memory", "idle memory", "MB").ratios(&[(BASELINE, AtMost(0.05))]),
    figure("start.cpu", "CPU per idle second", "ms").ratios(&[(BASELINE, AtMost(0.04))]),
    figure("many.written", "1,000 partitions created and written once", "s")
        .ratios(&[(BASELINE, AtMost(0.1))]),
    figure("many.memory", "memory with them", "MB").ratios(&[(BASELINE, AtMost(0.08))]),
    figure("many.killed", "start after kill -9 with them", "s").ratios(&[(BASELINE, AtMost(0.05))]),
];

/// What each question is about.
pub const QUESTIONS: &[(&str, &str)] = &[
    ("small", SMALL),
    ("single", SINGLE),
    ("max", "as many 1 KiB records as it takes, batches of 128 KiB, 12 partitions"),
    ("max100", "as many 100 B records as it takes, batches of 128 KiB, 12 partitions"),
    ("fetch", "fetching 1 KiB records, 4 partitions"),
    (
        "drain",
        "1,000/s of 1 KiB, linger 0, consumed as they come, while another topic is read from a cold disk",
    ),
    ("start", "starting, and doing nothing"),
    ("many", "1,000 partitions"),
];

impl Figure {
    /// The question that it belongs to.
    #[must_use]
    pub fn question(&self) -> &'static str {
        self.id.split('.').next().unwrap_or(self.id)
    }
}
