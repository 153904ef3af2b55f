//! From two pages to what happened in between: rates per shard, and where requests spent their time.
//!
//! Pure; no shard owns it and nothing is on disk. What must hold: a counter that has fallen (the broker was started
//! anew) makes no figures but a new beginning; the time between is the broker's own, not that of whoever looks.

use std::collections::BTreeMap;

use super::text::Sample;

/// Counts by bound, as they add up; the last bound is infinite.
pub(super) type Buckets = Vec<(f64, f64)>;

/// Times of one kind in an interval.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Spread {
    /// How many there were.
    pub count: f64,
    /// Their sum in seconds.
    pub sum: f64,
    pub(super) buckets: Buckets,
}

impl Spread {
    /// The time, in seconds, that this part of all did not pass; `None` where there were none. Inside a bucket it is
    /// taken for evenly spread, as Prometheus does; what has passed every bound is at the last.
    #[must_use]
    pub fn quantile(&self, part: f64) -> Option<f64> {
        let rank = part * self.buckets.last().filter(|(_, count)| *count > 0.0)?.1;
        let (mut lower, mut below) = (0.0, 0.0);
        for &(bound, count) in &self.buckets {
            if count >= rank && count > below {
                let inside = (rank - below) / (count - below);
                return Some(if bound.is_finite() { lower + (bound - lower) * inside } else { lower });
            }
            (lower, below) = (if bound.is_finite() { bound } else { lower }, count);
        }
        None
    }

    fn add(&mut self, other: &Spread) {
        self.count += other.count;
        self.sum += other.sum;
        if self.buckets.is_empty() {
            self.buckets = other.buckets.clone();
            return;
        }
        for (mine, theirs) in self.buckets.iter_mut().zip(&other.buckets) {
            mine.1 += theirs.1;
        }
    }
}

/// What a page says, by name, shard and the metric's own label.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    values: BTreeMap<(String, String, String), f64>,
    buckets: BTreeMap<(String, String, String), Buckets>,
    version: String,
}

/// The metric's own label: the first of those that Ottla uses.
fn own_label(sample: &Sample) -> String {
    let own = ["stage", "kind", "source", "error", "api"];
    own.iter().map(|name| sample.label(name)).find(|value| !value.is_empty()).unwrap_or("").to_owned()
}

impl Reading {
    /// Sorts the samples of a page.
    #[must_use]
    pub fn new(samples: Vec<Sample>) -> Reading {
        let mut reading = Reading::default();
        for sample in samples {
            let (shard, own) = (sample.label("shard").to_owned(), own_label(&sample));
            if sample.name == "ottla_build_info" {
                reading.version = sample.label("version").to_owned();
            }
            if let Some(name) = sample.name.strip_suffix("_bucket") {
                let bound = match sample.label("le") {
                    "+Inf" => f64::INFINITY,
                    bound => bound.parse().unwrap_or(f64::NAN),
                };
                let key = (name.to_owned(), shard, own);
                reading.buckets.entry(key).or_default().push((bound, sample.value));
            } else {
                // Several lines of one kind, such as requests by API, are told apart by a label that is no matter here.
                *reading.values.entry((sample.name, shard, own)).or_default() += sample.value;
            }
        }
        for buckets in reading.buckets.values_mut() {
            buckets.sort_by(|one, other| one.0.total_cmp(&other.0));
        }
        reading
    }

    /// Whether the page is Ottla's.
    #[must_use]
    pub fn is_ottlas(&self) -> bool {
        !self.version.is_empty()
    }

    /// Whether the broker has a shard of this number.
    #[must_use]
    pub fn has_shard(&self, shard: u16) -> bool {
        self.shards().contains(&shard.to_string())
    }

    /// One value; 0 where there is none.
    fn value(&self, name: &str, shard: &str, own: &str) -> f64 {
        self.values.get(&(name.to_owned(), shard.to_owned(), own.to_owned())).copied().unwrap_or(0.0)
    }

    /// The values of a name and shard, whatever their own label.
    fn total(&self, name: &str, shard: &str) -> f64 {
        let from = (name.to_owned(), shard.to_owned(), String::new());
        let of = self.values.range(from..).take_while(|((its, of, _), _)| its == name && of == shard);
        of.map(|(_, value)| value).sum()
    }

    fn shards(&self) -> Vec<String> {
        let connections = self.values.keys().filter(|(name, ..)| name == "ottla_connections");
        let mut shards: Vec<String> = connections.map(|(_, shard, _)| shard.clone()).collect();
        shards.sort_by_key(|shard| shard.parse::<u32>().unwrap_or(u32::MAX));
        shards
    }

    fn up(&self) -> f64 {
        self.value("ottla_up_seconds", "", "")
    }

    fn spread(&self, name: &str, shard: &str, own: &str) -> Spread {
        let key = (name.to_owned(), shard.to_owned(), own.to_owned());
        Spread {
            count: self.value(&format!("{name}_count"), shard, own),
            sum: self.value(&format!("{name}_sum"), shard, own),
            buckets: self.buckets.get(&key).cloned().unwrap_or_default(),
        }
    }
}

/// One shard's interval, or that of all.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ShardRow {
    /// Its number.
    pub shard: String,
    /// Per second.
    pub requests: f64,
    /// Records of producers per second.
    pub records: f64,
    /// Records sent to consumers from memory per second.
    pub fetched: f64,
    /// Bytes of records sent from files per second: these are not counted.
    pub fetched_uncounted: f64,
    /// Bytes per second from clients.
    pub bytes_in: f64,
    /// Bytes per second to clients.
    pub bytes_out: f64,
    /// Connections that are open.
    pub connections: f64,
    /// Commits per second, to the journal and to segments.
    pub commits: f64,
    /// The longest turn of the loop in the last while, in seconds.
    pub stall: f64,
    /// Messages to other shards and partitions that wait.
    pub queued: f64,
}

impl ShardRow {
    fn add(&mut self, other: &ShardRow) {
        self.requests += other.requests;
        self.records += other.records;
        self.fetched += other.fetched;
        self.fetched_uncounted += other.fetched_uncounted;
        self.bytes_in += other.bytes_in;
        self.bytes_out += other.bytes_out;
        self.connections += other.connections;
        self.commits += other.commits;
        self.stall = self.stall.max(other.stall);
        self.queued += other.queued;
    }
}

/// A stage of a kind of request.
#[derive(Clone, Debug, PartialEq)]
pub struct Stage {
    /// Its name.
    pub name: &'static str,
    /// The requests' times in it.
    pub spread: Spread,
    /// Its part of the time of all stages together; waiting for records that are not there is no part of it.
    pub share: f64,
}

/// A kind of request and its stages.
#[derive(Clone, Debug, PartialEq)]
pub struct Journey {
    /// The kind.
    pub name: &'static str,
    /// From the first byte to the last.
    pub whole: Spread,
    /// In the order in which a request meets them.
    pub stages: Vec<Stage>,
}

impl Journey {
    /// Whether there was no request of the kind, not even one under way that has passed a stage.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.whole.count <= 0.0 && self.stages.iter().all(|stage| stage.spread.count <= 0.0)
    }
}

/// What happened between two pages.
#[derive(Clone, Debug, PartialEq)]
pub struct Figures {
    /// The broker's version.
    pub version: String,
    /// How long it has run, in seconds.
    pub up: f64,
    /// How long the interval was, in seconds.
    pub interval: f64,
    /// CPU time per time: 1 is one core.
    pub cpu: f64,
    /// Resident memory in bytes.
    pub resident: f64,
    /// Each shard.
    pub shards: Vec<ShardRow>,
    /// All of them.
    pub all: ShardRow,
    /// Produce and Fetch.
    pub journeys: Vec<Journey>,
    /// Durable writes by kind.
    pub commits: Vec<(&'static str, Spread)>,
    /// Errors per second, of replies and of Produce requests without one.
    pub errors: f64,
    /// Log directories that are offline.
    pub offline_dirs: f64,
}

/// The stages of a Produce request.
const PRODUCE: &[&str] =
    &["receive", "decode", "mesh", "append", "commit_wait", "commit", "reply", "order", "send"];
/// The stages of a Fetch request.
const FETCH: &[&str] = &["receive", "plan", "mesh", "read", "wait", "reply", "order", "send"];
/// The stage that is no work of the broker.
const LONG_POLL: &str = "wait";

impl Figures {
    /// What happened between two pages of one broker; of one shard's requests where `shard` names it. `None` where the
    /// broker was started anew in between.
    #[must_use]
    pub fn between(before: &Reading, now: &Reading, shard: Option<&str>) -> Option<Figures> {
        let interval = now.up() - before.up();
        let has_fallen = |(key, was): (&(String, String, String), &f64)| {
            key.0.ends_with("_total") && now.values.get(key).is_some_and(|is| is < was)
        };
        if interval <= 0.0 || before.values.iter().any(has_fallen) {
            return None;
        }
        let between = Between { before, now, interval };
        let shards = now.shards();
        let rows: Vec<ShardRow> = shards.iter().map(|shard| between.row(shard)).collect();
        let mut all = ShardRow { shard: "all".to_owned(), ..ShardRow::default() };
        rows.iter().for_each(|row| all.add(row));
        let chosen: Vec<String> =
            shards.iter().filter(|it| shard.is_none_or(|shard| shard == it.as_str())).cloned().collect();
        let commits = ["journal", "segment", "write_back"];
        Some(Figures {
            version: now.version.clone(),
            up: now.up(),
            interval,
            cpu: between.rate("process_cpu_seconds_total", ""),
            resident: now.value("process_resident_memory_bytes", "", ""),
            journeys: vec![
                between.journey("Produce", "ottla_produce_stage_seconds", PRODUCE, &chosen),
                between.journey("Fetch", "ottla_fetch_stage_seconds", FETCH, &chosen),
            ],
            commits: commits
                .map(|kind| (kind, between.spread("ottla_commit_seconds", kind, &chosen)))
                .to_vec(),
            errors: shards.iter().map(|shard| between.rate("ottla_errors_total", shard)).sum(),
            offline_dirs: shards.iter().map(|shard| now.total("ottla_log_dirs_offline", shard)).sum(),
            shards: rows,
            all,
        })
    }
}

struct Between<'a> {
    before: &'a Reading,
    now: &'a Reading,
    interval: f64,
}

impl Between<'_> {
    fn rate(&self, name: &str, shard: &str) -> f64 {
        (self.now.total(name, shard) - self.before.total(name, shard)).max(0.0) / self.interval
    }

    fn row(&self, shard: &str) -> ShardRow {
        let rate_of = |name, own| {
            let count = |reading: &Reading| reading.value(name, shard, own);
            (count(self.now) - count(self.before)).max(0.0) / self.interval
        };
        let commits = |kind| rate_of("ottla_commit_seconds_count", kind);
        let fetched = |source| rate_of("ottla_fetched_bytes_total", source);
        let gauge = |name| self.now.total(name, shard);
        ShardRow {
            shard: shard.to_owned(),
            requests: self.rate("ottla_requests_total", shard),
            records: self.rate("ottla_appended_records_total", shard),
            fetched: self.rate("ottla_fetched_records_total", shard),
            fetched_uncounted: fetched("page_cache") + fetched("disk"),
            bytes_in: self.rate("ottla_received_bytes_total", shard),
            bytes_out: self.rate("ottla_sent_bytes_total", shard),
            connections: gauge("ottla_connections"),
            commits: commits("journal") + commits("segment"),
            stall: gauge("ottla_loop_turn_max_seconds"),
            queued: gauge("ottla_mesh_queue_messages") + gauge("ottla_flush_queue_partitions"),
        }
    }

    /// What came to a histogram, over the shards.
    fn spread(&self, name: &str, own: &str, shards: &[String]) -> Spread {
        let mut all = Spread::default();
        for shard in shards {
            let (before, mut now) = (self.before.spread(name, shard, own), self.now.spread(name, shard, own));
            now.count -= before.count;
            now.sum -= before.sum;
            for (now, before) in now.buckets.iter_mut().zip(&before.buckets) {
                now.1 -= before.1;
            }
            all.add(&now);
        }
        all
    }

    fn journey(
        &self,
        name: &'static str,
        metric: &str,
        stages: &'static [&'static str],
        shards: &[String],
    ) -> Journey {
        let spread = |stage: &&'static str| (*stage, self.spread(metric, stage, shards));
        let spreads: Vec<(&'static str, Spread)> = stages.iter().map(spread).collect();
        let is_work = |stage: &str| stage != LONG_POLL;
        let sums = spreads.iter().filter(|(stage, _)| is_work(stage)).map(|(_, spread)| spread.sum);
        let work: f64 = sums.sum();
        let stages = spreads.into_iter().map(|(name, spread)| {
            let share = if work > 0.0 && is_work(name) { spread.sum / work } else { 0.0 };
            Stage { name, spread, share }
        });
        Journey { name, stages: stages.collect(), whole: self.spread("ottla_request_seconds", name, shards) }
    }
}

#[cfg(test)]
mod tests {
    use ottla::metrics::{Counter, Gauge, Page, Process, ShardMetrics, Timing};
    use ottla::wire::ApiKey;

    use super::super::text::parse;
    use super::*;

    /// What a broker of two shards that has run for so many seconds says.
    fn reading(metrics: &[ShardMetrics; 2], up_seconds: f64) -> Reading {
        let shards = metrics.iter().zip(0..).map(|(metrics, shard)| {
            let mut snapshot = metrics.snapshot(shard);
            snapshot.set(Gauge::Connections, 3.0);
            snapshot.set(Gauge::LoopTurnMax, 0.001 * f64::from(shard));
            snapshot
        });
        let process = Process { cpu_seconds: up_seconds / 4.0, resident_bytes: 1 << 20, up_seconds };
        let page = Page { version: "7", shards: shards.collect(), process };
        Reading::new(parse(&page.text()).expect("our own text"))
    }

    fn close(one: f64, other: f64) -> bool {
        (one - other).abs() < 1e-9
    }

    #[test]
    fn rates_are_of_the_interval_alone() {
        let metrics = [ShardMetrics::default(), ShardMetrics::default()];
        let work = || {
            for (metrics, times) in metrics.iter().zip([1, 3]) {
                (0..10 * times).for_each(|_| metrics.request(ApiKey::Produce));
                metrics.request(ApiKey::Fetch);
                metrics.add(Counter::AppendedRecords, 100);
                metrics.add(Counter::FetchedRecordsMemory, 30 * times);
                metrics.add(Counter::FetchedMemory, 1);
                metrics.add(Counter::FetchedPageCache, 3);
                metrics.add(Counter::FetchedDisk, 5);
                metrics.nanos(Timing::CommitJournal, 1_000_000);
                metrics.nanos(Timing::CommitSegment, 1_000_000);
                metrics.nanos(Timing::WriteBack, 1_000_000);
            }
        };
        work();
        let before = reading(&metrics, 10.0);
        work();
        let figures = Figures::between(&before, &reading(&metrics, 12.0), None).expect("time has passed");
        let [first, second] = figures.shards.as_slice() else { panic!("two shards") };
        assert!(close(first.requests, 11.0 / 2.0) && close(second.requests, 31.0 / 2.0), "{figures:?}");
        assert!(close(figures.all.records, 100.0) && close(figures.all.connections, 6.0));
        assert!(close(second.fetched, 45.0) && close(figures.all.fetched, 60.0), "{figures:?}");
        assert!(close(second.fetched_uncounted, 4.0) && close(figures.all.fetched_uncounted, 8.0));
        assert!(close(figures.all.commits, 2.0), "a write back commits nothing new");
        assert!(close(figures.all.stall, 0.001) && close(figures.cpu, 0.25));
        assert_eq!(figures.version, "7");
        assert_eq!(Figures::between(&reading(&metrics, 12.0), &before, None), None, "started anew");
        let anew = [ShardMetrics::default(), ShardMetrics::default()];
        let later = reading(&anew, 40.0);
        assert_eq!(Figures::between(&reading(&metrics, 12.0), &later, None), None, "and up for longer since");
    }

    #[test]
    fn shares_are_of_the_work_and_quantiles_of_the_interval() {
        let metrics = [ShardMetrics::default(), ShardMetrics::default()];
        metrics[0].nanos(Timing::ProduceCommit, 90_000_000_000);
        let before = reading(&metrics, 1.0);
        for _ in 0..100 {
            metrics[0].nanos(Timing::ProduceCommit, 3_000_000);
            metrics[1].nanos(Timing::ProduceAppend, 1_000_000);
            metrics[0].nanos(Timing::FetchWait, 500_000_000);
            metrics[0].nanos(Timing::FetchRead, 1_000_000);
        }
        let now = reading(&metrics, 2.0);
        let figures = Figures::between(&before, &now, None).expect("time has passed");
        let stage = |journey: usize, name: &str| {
            let mut stages = figures.journeys[journey].stages.iter();
            stages.find(|stage| stage.name == name).expect("a stage of this name").clone()
        };
        let commit = stage(0, "commit");
        assert!(close(commit.share, 0.75) && close(commit.spread.count, 100.0), "{commit:?}");
        let p50 = commit.spread.quantile(0.5).expect("there are some");
        assert!((0.002_048..=0.003_072).contains(&p50), "{p50}");
        assert!(close(stage(0, "append").share, 0.25));
        assert_eq!(stage(0, "mesh").spread.quantile(0.5), None, "never met");
        assert!(close(stage(1, "read").share, 1.0) && close(stage(1, "wait").share, 0.0));
        let second = Figures::between(&before, &now, Some("1")).expect("time has passed");
        assert!(close(second.journeys[0].stages[3].share, 1.0), "the append is all of shard 1");
    }

    #[test]
    fn quantiles_are_inside_their_bucket() {
        let buckets = vec![(1.0, 0.0), (2.0, 10.0), (4.0, 20.0), (f64::INFINITY, 21.0)];
        let spread = Spread { count: 21.0, sum: 0.0, buckets };
        assert!(close(spread.quantile(10.0 / 21.0).expect("some"), 2.0));
        assert!(close(spread.quantile(15.0 / 21.0).expect("some"), 3.0));
        assert!(close(spread.quantile(1.0).expect("some"), 4.0), "above every bound: the last");
        assert!(close(spread.quantile(0.0).expect("some"), 1.0));
        assert_eq!(Spread::default().quantile(0.5), None);
    }
}
