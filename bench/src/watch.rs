//! The calling thread while a load runs: collects what the shards count, once a second, and shows how it is going.
//!
//! What must hold: everything that was measured is in the sum once, and nothing of the warm-up is; errors count at any
//! time.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io::{self, Write};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use crate::cut::short;
use crate::engine::Shared;
use crate::interrupt::Interrupt;
use crate::result::table::{grouped, milliseconds};
use crate::result::{Flow, Interval, IntervalLatency};
use crate::screen::Screen;
use crate::tally::{Counts, Kind, Tally};

/// How often the meters are collected.
const INTERVAL: Duration = Duration::from_secs(1);
/// How often the thread looks whether the load has begun.
const START_LOOK: Duration = Duration::from_millis(10);
/// How often it looks whether the load is to end before its time.
const INTERRUPT_LOOK: Duration = Duration::from_millis(50);
/// Every so many of these looks is shown.
const LOOKS_PER_LINE: u64 = 20;

/// What a load is to become, as far as the watch has to know.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Goal {
    /// What runs before anything counts.
    pub warmup: Duration,
    /// When the load ends, from its start.
    pub end: Option<Duration>,
    /// The records that end it.
    pub records: Option<u64>,
    /// Connections that are opened before it begins, and stay.
    pub opening: u64,
    /// What the live line shows.
    pub kind: Kind,
}

/// What was counted in all.
#[derive(Debug)]
pub(crate) struct Watched {
    /// Everything from the end of the warm-up.
    pub total: Tally,
    /// The same by seconds.
    pub intervals: Vec<Interval>,
    /// When what is measured begins, from the start.
    pub began: Duration,
    /// From the end of the warm-up to the load's end, or to the last answer where that came later or the load ended
    /// before its time.
    pub measured: Duration,
    /// CPU time of the shards in this time.
    pub cpu: Vec<Duration>,
    /// What ended the load before its time, in a line.
    pub early: Option<String>,
}

impl Watched {
    /// The fullest core of load, as a part of its time.
    pub(crate) fn fullest_core(&self) -> f64 {
        let most = self.cpu.iter().max().copied().unwrap_or_default();
        most.as_secs_f64() / self.measured.as_secs_f64().max(1e-9)
    }
}

/// Lines that go to standard output while a long load runs.
pub(crate) struct Lines<'o> {
    /// Where to.
    pub out: &'o mut dyn Write,
    /// How often; `None` for never.
    pub every: Option<Duration>,
    /// What ends the load before its time: a signal, and lines that cannot be printed.
    pub interrupt: &'o Interrupt,
}

/// Watches until every holder of the other end of `running` is gone.
pub(crate) fn watch(
    shared: &Shared,
    goal: Goal,
    running: &Receiver<Infallible>,
    screen: &mut Screen<'_>,
    lines: &mut Lines<'_>,
) -> Watched {
    lines.interrupt.begin();
    let mut watch = Watch::new(shared, goal);
    loop {
        let ended = match running.recv_timeout(watch.patience()) {
            Ok(never) => match never {},
            Err(RecvTimeoutError::Timeout) => false,
            Err(RecvTimeoutError::Disconnected) => true,
        };
        if lines.interrupt.code().is_some() && !ended {
            watch.end_early("interrupted");
        }
        if shared.started().is_none() && !ended {
            watch.show_opening(screen);
            continue;
        }
        if watch.now() < watch.next() && !ended {
            continue;
        }
        let is_whole = watch.collect(ended);
        if ended {
            screen.clear();
            return watch.end();
        }
        if !is_whole {
            continue;
        }
        if let Some(every) = lines.every
            && watch.watched.early.is_none()
        {
            // Both may go to the same terminal.
            screen.clear();
            if let Err(error) = watch.print_line(every, lines.out) {
                watch.end_early(&format!("no line can be printed ({error}): the load ended"));
                lines.interrupt.unprinted();
            }
        }
        watch.show(screen);
        watch.interval.clear();
    }
}

struct Watch<'s> {
    shared: &'s Shared,
    goal: Goal,
    watched: Watched,
    /// The last interval, and what was summed up since the last line.
    interval: Tally,
    line: Tally,
    fresh: Tally,
    empty: Tally,
    /// When the last interval ended and the next line is due, from the start.
    mark: Duration,
    /// How long the last interval was.
    length: Duration,
    line_mark: Duration,
    warm: bool,
    /// How often it was looked whether the load has begun.
    looks: u64,
}

impl<'s> Watch<'s> {
    fn new(shared: &'s Shared, goal: Goal) -> Self {
        let measured = Duration::ZERO;
        Watch {
            shared,
            goal,
            watched: Watched {
                total: Tally::new(),
                intervals: Vec::new(),
                began: Duration::ZERO,
                measured,
                cpu: Vec::new(),
                early: None,
            },
            interval: Tally::new(),
            line: Tally::new(),
            fresh: Tally::new(),
            length: Duration::ZERO,
            empty: Tally::new(),
            mark: Duration::ZERO,
            line_mark: Duration::ZERO,
            warm: goal.warmup.is_zero(),
            looks: 0,
        }
    }

    fn now(&self) -> Duration {
        Duration::from_nanos(self.shared.now())
    }

    /// How long to wait for the end of the load before the next look.
    fn patience(&self) -> Duration {
        if self.shared.started().is_none() {
            return START_LOOK;
        }
        self.next().saturating_sub(self.now()).min(INTERRUPT_LOOK)
    }

    /// When the meters are to be collected next, from the start.
    fn next(&self) -> Duration {
        let next = self.mark + INTERVAL;
        if self.warm { next } else { next.min(self.goal.warmup) }
    }

    /// Ends the load now, once.
    fn end_early(&mut self, what: &str) {
        if self.watched.early.is_some() {
            return;
        }
        let now = self.now();
        let of = self.goal.end.map(|end| format!(" of {} s", short(end))).unwrap_or_default();
        self.watched.early =
            Some(format!("{what} after {} s{of}: the figures are those until then", short(now)));
        self.shared.end_early(now);
    }

    /// Collects what was counted; false where that is the beginning of an interval and no whole one.
    fn collect(&mut self, ended: bool) -> bool {
        let now = self.now();
        self.shared.collect(&mut self.fresh, &mut self.empty);
        for sum in [&mut self.watched.total, &mut self.line, &mut self.interval] {
            sum.add(&self.fresh);
        }
        self.fresh.clear();
        if !self.warm && now >= self.goal.warmup {
            self.begin_to_measure();
            if !ended {
                return false;
            }
        }
        self.length = now.saturating_sub(self.mark);
        if self.warm {
            let start = self.mark.saturating_sub(self.goal.warmup);
            self.watched.intervals.push(interval(start, self.length, &self.interval));
        }
        self.mark = now;
        true
    }

    /// The warm-up is over: what was measured since then is the beginning of the first interval.
    fn begin_to_measure(&mut self) {
        self.warm = true;
        self.watched.total.clear_events();
        self.interval.errors.clear();
        self.interval.warm_up.clear();
        self.mark = self.goal.warmup;
    }

    /// How long the load lasted: to the last answer that counted, and to its own end at least if it was there, or to
    /// the moment at which somebody ended it.
    fn length(&self) -> Duration {
        let now = self.now();
        let last = self.shared.last_answer();
        let is_whole = self.shared.cuts().first.is_none();
        match self.goal.end.filter(|end| is_whole && now >= *end) {
            Some(end) => last.max(end),
            None if is_whole && self.shared.is_ending() => {
                last.max(self.shared.producers_end().unwrap_or(now))
            }
            None if last.is_zero() => now,
            None => last,
        }
    }

    fn end(mut self) -> Watched {
        let warmup = if self.warm { self.goal.warmup } else { Duration::ZERO };
        if !self.warm {
            self.watched.total.measure_warm_up();
        }
        self.watched.began = warmup;
        self.watched.measured = self.length().saturating_sub(warmup);
        self.watched.cpu = self.shared.cpu();
        self.watched
    }

    /// How far the load's connections are, a few times a second.
    fn show_opening(&mut self, screen: &mut Screen<'_>) {
        self.looks += 1;
        if self.goal.opening > 0 && self.looks.is_multiple_of(LOOKS_PER_LINE) {
            screen.show(&opening(self.shared.opened.load(Ordering::Relaxed), self.goal.opening));
        }
    }

    fn show(&self, screen: &mut Screen<'_>) {
        let done = self.part_done();
        let mut text = format!(
            "{:>5} s  {}",
            self.mark.as_secs(),
            figures(&self.interval, self.goal.kind, self.length.as_secs_f64())
        );
        if !self.warm {
            text.push_str(&warming_up(self.goal.warmup.saturating_sub(self.mark)));
        }
        if let Some(progress) = self.shared.backlog() {
            text.push_str(&format!("  {}", progress.text()));
        }
        if let Some(done) = done {
            text.push_str(&format!("  {:>3.0} %", done * 100.0));
            if done > 0.0 {
                let left = self.mark.as_secs_f64() * (1.0 - done) / done;
                text.push_str(&format!("  ETA {left:.0} s"));
            }
        }
        screen.show(&text);
    }

    fn part_done(&self) -> Option<f64> {
        // A load with a backlog learns its end once that is drained.
        let end = self.goal.end.or_else(|| self.shared.producers_end());
        let by_time = end.map(|end| self.mark.as_secs_f64() / end.as_secs_f64());
        let counted = self.watched.total.all(self.goal.kind).records;
        let by_records = self.goal.records.map(|records| counted as f64 / records.max(1) as f64);
        let part = match (by_time, by_records) {
            (Some(time), Some(records)) => time.max(records),
            (time, records) => time.or(records)?,
        };
        Some(part.clamp(0.0, 1.0))
    }

    fn print_line(&mut self, every: Duration, out: &mut dyn Write) -> io::Result<()> {
        let length = self.mark.saturating_sub(self.line_mark);
        if length + INTERVAL / 2 < every {
            return Ok(());
        }
        let figures = figures(&self.line, self.goal.kind, length.as_secs_f64());
        let found = self.shared.findings();
        writeln!(out, "{:>7} s  {figures}  {} records bad", self.mark.as_secs(), grouped(found.count()))?;
        out.flush()?;
        self.line.clear();
        self.line_mark = self.mark;
        Ok(())
    }
}

/// That nothing counts yet, and for how long.
fn warming_up(left: Duration) -> String {
    format!("  warming up, {} s left", grouped(left.as_secs_f64().ceil() as u64))
}

/// How far the connections are that a load opens before it begins.
fn opening(opened: u64, all: u64) -> String {
    format!("opening {} of {}", grouped(opened), grouped(all))
}

/// The figures of a stretch of time in one line.
fn figures(tally: &Tally, kind: Kind, seconds: f64) -> String {
    let Counts { latency, records, bytes } = tally.all(kind);
    let quantile = |q| match latency.is_empty() {
        true => "-".to_owned(),
        false => milliseconds(latency.value_at_quantile(q)),
    };
    let seconds = seconds.max(f64::MIN_POSITIVE);
    format!(
        "{:>11}/s  {:>8.1} MB/s  p50 {} p99 {} p99.9 {} ms  {} errors",
        grouped((records as f64 / seconds) as u64),
        bytes as f64 / 1e6 / seconds,
        quantile(0.5),
        quantile(0.99),
        quantile(0.999),
        grouped(tally.error_count()),
    )
}

/// Records and bytes by the names of the flows.
pub(crate) fn flows(tally: &Tally) -> BTreeMap<String, Flow> {
    let mut flows: BTreeMap<String, Flow> = BTreeMap::new();
    for (kind, counts) in tally.kinds.iter().filter(|(_, counts)| counts.records > 0) {
        let Some(name) = kind.flow_name() else { continue };
        let flow = flows.entry(name.to_owned()).or_default();
        flow.records += counts.records;
        flow.bytes += counts.bytes;
    }
    flows
}

fn interval(start: Duration, length: Duration, tally: &Tally) -> Interval {
    let latency = |kind: &Kind| {
        let latency = tally.latency(*kind).and_then(IntervalLatency::of)?;
        Some((kind.latency_name().to_owned(), latency))
    };
    Interval {
        start_seconds: start.as_secs_f64(),
        length_seconds: length.as_secs_f64(),
        flows: flows(tally),
        errors: tally.error_count(),
        latencies: tally.kinds.keys().filter_map(latency).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backlog::Progress;

    /// What a watch shows of an empty load of this goal, so long after its start.
    fn shown(shared: &Shared, goal: Goal, mark: Duration) -> String {
        let mut watch = Watch::new(shared, goal);
        watch.mark = mark;
        let mut written = Vec::new();
        watch.show(&mut Screen::to(&mut written));
        String::from_utf8(written).expect("text")
    }

    #[test]
    fn a_warm_up_says_how_long_it_lasts() {
        let (shared, seconds) = (Shared::new(1, 0, 1), Duration::from_secs);
        let goal =
            Goal { warmup: seconds(60), end: Some(seconds(62)), records: None, opening: 0, kind: Kind::Ack };
        let line = shown(&shared, goal, seconds(18));
        assert!(line.contains("  warming up, 42 s left  ") && line.ends_with("  29 %  ETA 44 s"), "{line}");
        let line = shown(&shared, Goal { warmup: Duration::ZERO, ..goal }, seconds(18));
        assert!(!line.contains("warming up"), "{line}");
    }

    #[test]
    fn a_backlog_is_on_the_line_and_then_the_end_that_follows_it() {
        let (shared, seconds) = (Shared::new(1, 0, 1), Duration::from_secs);
        let warmup = Duration::ZERO;
        let goal = Goal { warmup, end: None, records: None, opening: 0, kind: Kind::EndToEnd };
        shared.note_backlog(Some(Progress { drains: false, waiting: 512_340_000, of: 1_073_741_824 }));
        let line = shown(&shared, goal, seconds(5));
        assert!(line.ends_with(" 0 errors  building a backlog, 512.3 of 1,073.7 MB"), "{line}");
        shared.note_backlog(Some(Progress { drains: true, waiting: 0, of: 1_073_741_824 }));
        let line = shown(&shared, goal, seconds(6));
        assert!(line.ends_with("  draining the backlog, 0.0 of 1,073.7 MB left"), "{line}");
        shared.note_backlog(None);
        shared.end_producers(seconds(20));
        let line = shown(&shared, goal, seconds(10));
        assert!(line.ends_with(" 0 errors   50 %  ETA 10 s"), "{line}");
    }

    #[test]
    fn the_line_divides_by_the_time_that_it_is_about() {
        let shared = Shared::new(1, 0, 1);
        let goal = Goal { warmup: Duration::ZERO, end: None, records: None, opening: 0, kind: Kind::Ack };
        let mut watch = Watch::new(&shared, goal);
        watch.length = Duration::from_millis(250);
        watch.interval.of(Kind::Ack).records = 100;
        let mut written = Vec::new();
        watch.show(&mut Screen::to(&mut written));
        let line = String::from_utf8(written).expect("text");
        assert!(line.contains(" 400/s "), "{line}");
    }

    #[test]
    fn a_load_that_is_ended_lasted_until_then() {
        let shared = Shared::new(1, 0, 1);
        shared.answered(1_000_000);
        let end = Some(Duration::from_secs(60));
        let watch = Watch::new(
            &shared,
            Goal { warmup: Duration::ZERO, end, records: None, opening: 0, kind: Kind::Fetch },
        );
        assert_eq!(watch.length(), Duration::from_millis(1));
        shared.end_early(Duration::from_secs(30));
        assert_eq!(watch.length(), Duration::from_secs(30), "and nothing came in the rest of it");
    }

    #[test]
    fn the_opening_of_connections_is_counted() {
        assert_eq!(opening(5_012, 10_000), "opening 5,012 of 10,000");
    }
}
