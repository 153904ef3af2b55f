//! `ottla bench connections`: connections that come, ask two questions and go, and connections that only stay.
//!
//! The first are an open loop: each has its time by the rate, and its latency counts from then, however long those
//! before it took. The second are opened before the load begins and must still be open at its end.

use std::cell::{Cell, RefCell};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::BytesMut;
use ottla_shards::host::{self, Stream};
use ottla_tools::client::ClientError;
use ottla_wire::ApiKey;
use ottla_wire::api_versions_request::ApiVersionsRequest;
use ottla_wire::api_versions_response::ApiVersionsResponse;
use ottla_wire::metadata_request::MetadataRequest;
use ottla_wire::metadata_response::MetadataResponse;

use crate::args::check::refused;
use crate::args::plan::{ConnectionsPlan, Mode};
use crate::cluster::Cluster;
use crate::engine::{self, Job, Shard, Shared, Window};
use crate::error::{BenchError, reason};
use crate::link::Link;
use crate::outcome;
use crate::pace::{Pace, Share};
use crate::places::resolve;
use crate::result::table::grouped;
use crate::screen::Screen;
use crate::tally::{Kind, nanos};
use crate::verdict::{Evidence, judge};
use crate::watch::{Goal, Lines, Watched, watch};

/// How often the end of the last connections is looked for.
const END_LOOK: Duration = Duration::from_millis(5);
/// Connections of one shard that may be under way; those that are due wait beyond it.
const UNDER_WAY_MAX: usize = 10_000;
/// Connections of one shard that are opened at the same time before the load.
const OPENING_MAX: u64 = 64;
/// The failure of a connection that was to stay.
const CLOSED: &str = "an idle connection that the broker closed";
/// Linux' numbers for what runs out where connections are many.
const ENFILE: i32 = 23;
const EMFILE: i32 = 24;
const EADDRNOTAVAIL: i32 = 99;

/// Runs the load and prints its report.
pub(crate) fn run(plan: &ConnectionsPlan, out: &mut dyn Write) -> Result<u8, BenchError> {
    let cluster = Cluster::open(&plan.bootstrap)?;
    let asks = Arc::new(Asks {
        addresses: resolve(cluster.address())?,
        metadata_version: cluster.version(ApiKey::Metadata)?,
        pace: plan.pace,
        end: plan.run.end().expect("connections have a length"),
        exhausted: OnceLock::new(),
    });
    let shards = plan.run.cores.count;
    let jobs = (0..shards as u64).map(|client| -> Job {
        let share = Share { client, clients: shards as u64 };
        let (asks, idle) = (Arc::clone(&asks), share.of(plan.idle));
        Box::new(move |shard| Box::pin(Churn { asks, share, shard, under_way: Cell::new(0) }.run(idle)))
    });
    let shared = Shared::measuring(Window { warmup: plan.run.warmup, by_due: true }, (shards, 0), shards);
    let mut result = outcome::begin(Mode::Connections, &title(plan));
    result.settings = outcome::settings(&plan.bootstrap, &plan.run);
    result.settings.insert("rate".to_owned(), churn_words(plan));
    result.settings.insert("idle.connections".to_owned(), plan.idle.to_string());
    let watched = watch_jobs(plan, &shared, jobs.collect(), out)?;
    if let Some(why) = asks.exhausted.get() {
        let opened = grouped(shared.opened.load(Ordering::Relaxed));
        let allowed = format!("{opened} are open and no more can be: {why}");
        return Err(refused("--idle", grouped(plan.idle), allowed));
    }
    let end = shared.producers_end().unwrap_or(asks.end);
    let due = plan.pace.and_then(|pace| Some((pace.due_before(end)?, end)));
    let mut verdict = judge(&Evidence {
        what: "connections",
        due,
        made: shared.made.load(Ordering::Relaxed),
        elapsed: shared.last_answer(),
        lag_p99: Duration::from_nanos(watched.total.lag.value_at_quantile(0.99)),
        cpu: watched.fullest_core(),
    });
    let stayed = shared.opened.load(Ordering::Relaxed);
    let closed = watched.total.errors.contains_key(CLOSED);
    verdict.lines.extend(idle_lines((stayed, plan.idle), closed.then(|| shared.last_answer())));
    let opened = watched.total.records(Kind::Connect);
    result.counters.insert("connections".to_owned(), opened);
    let per_second = opened as f64 / watched.measured.as_secs_f64().max(1e-9);
    result.counters.insert("connections_per_second".to_owned(), per_second as u64);
    result.counters.insert("idle_connections".to_owned(), stayed);
    outcome::fill(&mut result, watched, &shared);
    outcome::finish(result, verdict, &plan.run, out)
}

/// What there is to say of the connections that stay: that they are fewer than asked for, and why a broker may have
/// closed some that said nothing for so long.
fn idle_lines((opened, wanted): (u64, u64), silent: Option<Duration>) -> Vec<String> {
    let fewer = (opened < wanted).then(|| {
        let (opened, wanted) = (grouped(opened), grouped(wanted));
        format!("{opened} of {wanted} connections that were to stay were opened")
    });
    let closed = silent.map(|silent| {
        let seconds = silent.as_secs_f64();
        format!(
            "connections that stay say nothing: a broker closes them by right where its connections.max.idle.ms is \
             below the {seconds:.0} s that they were silent"
        )
    });
    fewer.into_iter().chain(closed).collect()
}

fn watch_jobs(
    plan: &ConnectionsPlan,
    shared: &Arc<Shared>,
    jobs: Vec<Job>,
    out: &mut dyn Write,
) -> Result<Watched, BenchError> {
    let goal = Goal {
        warmup: plan.run.warmup,
        end: plan.run.end(),
        records: None,
        opening: plan.idle,
        kind: Kind::Connect,
    };
    let mut stderr = io::stderr();
    let mut screen = Screen::on(&mut stderr, plan.run.quiet);
    let mut lines = Lines { out, every: None, interrupt: &plan.run.interrupt };
    engine::run(shared, &plan.run.cores, jobs, |running| {
        watch(shared, goal, running, &mut screen, &mut lines)
    })
}

fn title(plan: &ConnectionsPlan) -> String {
    let (churn, idle) = (churn_words(plan), grouped(plan.idle));
    format!("connections to {}: {churn} that come and go, {idle} that stay", plan.bootstrap)
}

fn churn_words(plan: &ConnectionsPlan) -> String {
    match plan.pace {
        Some(Pace::Steady(rate)) => format!("{} connections/s", grouped(rate)),
        Some(Pace::Ramp { from, to, .. }) => {
            format!("{} to {} connections/s", grouped(from as u64), grouped(to as u64))
        }
        Some(Pace::Free) | None => "no connections".to_owned(),
    }
}

/// What each connection is about.
struct Asks {
    addresses: Vec<SocketAddr>,
    metadata_version: i16,
    pace: Option<Pace>,
    end: Duration,
    /// What this machine has no more of, where that kept connections from being opened.
    exhausted: OnceLock<String>,
}

/// Connections that one shard opens before the load.
struct Opening {
    left: Cell<u64>,
    staying: RefCell<Vec<Stream>>,
}

/// What this machine has no more of, if that is why a connection failed: nothing that a broker could help.
fn exhausted(error: &ClientError) -> Option<String> {
    let ClientError::Io(error) = error else { return None };
    let what = match error.raw_os_error()? {
        EMFILE => "descriptors of this process: ulimit -n",
        ENFILE => "descriptors of this machine: sysctl fs.file-max",
        EADDRNOTAVAIL => "ports towards one address: sysctl net.ipv4.ip_local_port_range",
        _ => return None,
    };
    Some(format!("{error}; {what}"))
}

/// One shard's part of the load.
struct Churn {
    asks: Arc<Asks>,
    share: Share,
    shard: Rc<Shard>,
    under_way: Cell<usize>,
}

impl Churn {
    async fn run(self, idle: u64) {
        let churn = Rc::new(self);
        let staying = churn.open(idle).await;
        churn.shard.ready().await;
        if churn.asks.exhausted.get().is_some() {
            return;
        }
        if let Some(pace) = churn.asks.pace {
            churn.come_and_go(pace).await;
        }
        churn.shard.sleep_until(churn.asks.end).await;
        while churn.under_way.get() > 0 {
            host::sleep(END_LOOK).await;
        }
        churn.shard.shared.answered(churn.shard.shared.now());
        for stream in staying {
            churn.check_open(&stream);
        }
    }

    /// Opens the connections that are to stay, several at a time.
    async fn open(self: &Rc<Self>, count: u64) -> Vec<Stream> {
        let opening = Rc::new(Opening { left: Cell::new(count), staying: RefCell::default() });
        let openers = count.min(OPENING_MAX);
        let open = || host::spawn(Rc::clone(self).open_in_turn(Rc::clone(&opening)));
        for opener in (0..openers).map(|_| open()).collect::<Vec<_>>() {
            opener.await;
        }
        opening.staying.take()
    }

    async fn open_in_turn(self: Rc<Self>, opening: Rc<Opening>) {
        let is_over = || self.asks.exhausted.get().is_some() || self.shard.shared.is_ending();
        while opening.left.get() > 0 && !is_over() {
            opening.left.set(opening.left.get() - 1);
            match self.greet().await {
                Ok(link) => {
                    // Without its buffers: there may be very many.
                    opening.staying.borrow_mut().push(link.split().0);
                    self.shard.shared.opened.fetch_add(1, Ordering::Relaxed);
                }
                Err(error) => match exhausted(&error) {
                    // The first one is told.
                    Some(why) => drop(self.asks.exhausted.set(why)),
                    None => self.shard.meter().failed(reason(&error), 1),
                },
            }
        }
    }

    async fn come_and_go(self: &Rc<Self>, pace: Pace) {
        let shared = &self.shard.shared;
        let all = self.share.of(pace.due_before(self.asks.end).unwrap_or(0));
        for nth in 0..all {
            let due = pace.due(self.share.number(nth)).unwrap_or_default();
            if !self.shard.sleep_until(due).await {
                return;
            }
            let mut free_since = 0;
            while self.under_way.get() >= UNDER_WAY_MAX {
                host::sleep(END_LOOK).await;
                free_since = shared.now();
            }
            let lag = shared.now().saturating_sub(nanos(due).max(free_since));
            self.shard.meter().lag.saturating_record(lag);
            shared.made.fetch_add(1, Ordering::Relaxed);
            self.under_way.set(self.under_way.get() + 1);
            host::spawn_detached(Rc::clone(self).one(nanos(due)));
        }
    }

    /// One connection, from its due time to its end.
    async fn one(self: Rc<Self>, due: u64) {
        let outcome = self.ask().await;
        let now = self.shard.shared.now();
        match outcome {
            Ok(()) => {
                self.shard.took(Kind::Connect, due, now);
            }
            Err(error) => self.shard.meter().failed(reason(&error), 1),
        }
        self.shard.shared.answered(now);
        self.under_way.set(self.under_way.get() - 1);
    }

    async fn ask(&self) -> Result<(), ClientError> {
        let mut link = self.greet().await?;
        // An empty list of topics asks for the brokers alone.
        let request = MetadataRequest { topics: Some(Vec::new()), ..MetadataRequest::default() };
        let version = self.asks.metadata_version;
        let _: MetadataResponse<'_> = link.call(ApiKey::Metadata, version, &request).await?;
        Ok(())
    }

    async fn greet(&self) -> Result<Link, ClientError> {
        let mut link = Link::open(&self.asks.addresses).await?;
        let request = ApiVersionsRequest::default();
        let _: ApiVersionsResponse<'_> = link.call(ApiKey::ApiVersions, 0, &request).await?;
        Ok(link)
    }

    /// A connection that nothing was said on has nothing to receive, its end least of all.
    fn check_open(&self, stream: &Stream) {
        let mut byte = [0];
        match stream.try_receive(&mut BytesMut::new(), 0, &mut byte) {
            Ok(None) => {}
            Ok(Some(_)) | Err(_) => self.shard.meter().failed(CLOSED, 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::{FakeBroker, Script};

    #[test]
    fn connections_that_stay_are_opened_several_at_a_time() {
        let greeting = Duration::from_millis(10);
        let broker = FakeBroker::start(Script { greeting, ..Script::default() });
        let flags = "--idle 200 --rate 0 --duration 50ms --threads 2";
        let (code, report) = broker.run("connections", flags).expect("the load begins");
        assert!(code == 0 && report.contains("| idle connections "), "{report}");
        let seen = broker.seen();
        assert_eq!(seen.greetings, 201, "each of them, and the one that asked for versions");
        assert!(seen.greetings_at_once > 1, "each waits for its own answer alone");
    }

    #[test]
    fn connections_that_stay_are_told_as_they_were() {
        assert_eq!(idle_lines((5, 5), None), Vec::<String>::new());
        let lines = idle_lines((1_500, 2_000), Some(Duration::from_secs(700)));
        assert_eq!(lines[0], "1,500 of 2,000 connections that were to stay were opened");
        assert!(lines[1].contains("connections.max.idle.ms is below the 700 s"), "{lines:?}");
    }

    #[test]
    fn settings_are_those_of_the_load() {
        let broker = FakeBroker::start(Script::default());
        let json = tempfile::NamedTempFile::new().expect("a file");
        let flags = format!("--idle 3 --rate 50 --duration 50ms --json {}", json.path().display());
        broker.run("connections", &flags).expect("the load begins");
        let settings = crate::result::read(json.path()).expect("a result").settings;
        let of = |name: &str| settings[name].as_str();
        assert_eq!((of("rate"), of("idle.connections"), of("threads")), ("50 connections/s", "3", "1"));
    }

    #[test]
    fn what_the_machine_has_no_more_of_is_told_from_what_a_broker_does() {
        let text = |code| exhausted(&ClientError::Io(io::Error::from_raw_os_error(code)));
        let line = "Too many open files (os error 24); descriptors of this process: ulimit -n";
        assert_eq!(text(EMFILE).as_deref(), Some(line));
        let line = "Cannot assign requested address (os error 99); ports towards one address: sysctl \
                    net.ipv4.ip_local_port_range";
        assert_eq!(text(EADDRNOTAVAIL).as_deref(), Some(line));
        let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
        assert_eq!((text(111), exhausted(&ClientError::Io(refused))), (None, None));
    }
}
