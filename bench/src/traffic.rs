//! Loads of records: who produces, who consumes, who reads what is cold; and how it went.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ottla::ids::Offset;
use ottla_shards::host;
use ottla_tools::client::{Client, ClientError};
use ottla_wire::ApiKey;
use ottla_wire::api_versions_request::ApiVersionsRequest;
use ottla_wire::api_versions_response::ApiVersionsResponse;

use crate::args::plan::{ConsumerPlan, Mode, ProducersPlan, StartAt, Target, TrafficPlan};
use crate::backlog::{BacklogJob, Outcome};
use crate::cluster::{CLIENT_ID, Cluster, NewTopic, Topic};
use crate::consumer::{ConsumePlan, ConsumerJob, Position, Until};
use crate::cut::{Cuts, Whole};
use crate::engine::{self, Job, Shared, Window};
use crate::error::BenchError;
use crate::filler::Filler;
use crate::offsets::{End, Offsets};
use crate::outcome;
use crate::pace::{Pace, Share};
use crate::places::{Places, resolve};
use crate::producer::{ProducePlan, ProducerJob};
use crate::result::table::grouped;
use crate::result::{COLD_READ_MILLISECONDS, RunResult};
use crate::screen::Screen;
use crate::stamp::STAMP_BYTES;
use crate::tally::Kind;
use crate::verdict::{Evidence, Verdict, judge};
use crate::watch::{Goal, Lines, Watched, watch};

/// Partitions of a topic that a load creates, where none were asked for.
const PARTITIONS_DEFAULT: i32 = 6;
/// How long a broker that was lost may take to show that it is back.
const ANSWER_PATIENCE: Duration = Duration::from_secs(1);
/// How often it is looked for.
const ANSWER_LOOK: Duration = Duration::from_millis(50);

/// Runs a load and prints its report.
pub(crate) fn run(plan: &TrafficPlan, out: &mut dyn Write) -> Result<u8, BenchError> {
    let (result, verdict) = measure(plan, out)?;
    outcome::finish(result, verdict, &plan.run, out)
}

/// Runs a load.
pub(crate) fn measure(plan: &TrafficPlan, out: &mut dyn Write) -> Result<(RunResult, Verdict), BenchError> {
    host::raise_descriptor_limit();
    let mut cluster = Cluster::open(&plan.target.bootstrap)?;
    let topics = find_topics(&mut cluster, &plan.target)?;
    let mut jobs = Jobs::default();
    // Consumers first: their positions are from before anything is produced.
    if let Some(consumers) = &plan.consumers {
        for topic in &topics {
            jobs.add_consumers(&cluster, topic, consumers, plan)?;
        }
    }
    if let Some(cold) = &plan.cold {
        let missing = BenchError::Topic { name: cold.topic.clone(), what: "does not exist".to_owned() };
        let cold_topic = cluster.find_topic(&cold.topic)?.ok_or(missing)?;
        jobs.add_cold_readers(&cluster, &Arc::new(Places::of(&cluster, &cold_topic)?), plan)?;
    }
    if let Some(producers) = &plan.producers {
        jobs.add_producers(&mut cluster, &topics, producers)?;
    }
    let backlog = Arc::new(Mutex::new(Outcome::default()));
    if let Some(plan) = plan.backlog {
        let job = BacklogJob { plan, outcome: Arc::clone(&backlog) };
        jobs.jobs.push(Box::new(move |shard| Box::pin(job.run(shard))));
    }
    let title = title(plan, &topics, &jobs);
    let clients = (jobs.producers, jobs.consumers);
    let window = Window {
        warmup: plan.run.warmup,
        by_due: plan.producers.as_ref().is_some_and(|producers| producers.produce.pace != Pace::Free),
    };
    let shared = Shared::measuring(window, (jobs.jobs.len(), jobs.producers), plan.run.cores.count);
    let mut result = outcome::begin(plan.mode, &title);
    result.settings = settings(plan, &topics);
    let watched = run_jobs(plan, &shared, jobs.jobs, out)?;
    let plan = &ended(plan, &shared);
    let mut verdict = verdict(plan, &shared, (&watched, clients));
    add_counters(plan, &shared, &mut result);
    let stuck = shared.stuck();
    verdict.failed |= !stuck.is_empty();
    verdict.lines.extend(stuck);
    let undated = shared.undated.load(Ordering::Relaxed);
    if undated > 0 {
        let is_all = watched.total.latency(Kind::EndToEnd).is_none();
        verdict.failed |= is_all;
        verdict.lines.push(undated_line(undated, is_all));
    }
    if let Some(plan) = &plan.backlog {
        let outcome = *backlog.lock().expect("nobody panics with it");
        result
            .counters
            .extend(outcome.counters(plan).into_iter().map(|(name, count)| (name.to_owned(), count)));
        verdict.failed |= outcome.drained.is_none();
        verdict.lines.push(outcome.line(plan));
    }
    outcome::fill(&mut result, watched, &shared);
    if let Some(time) = shared.cold_time() {
        let milliseconds = u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1);
        result.counters.insert(COLD_READ_MILLISECONDS.to_owned(), milliseconds);
    }
    // What a load is about has its rows, also where nothing of it came.
    for flow in flows_of(plan) {
        result.totals.entry(flow.to_owned()).or_default();
    }
    Ok((result, verdict))
}

/// The names of the flows that a load is about.
fn flows_of(plan: &TrafficPlan) -> impl Iterator<Item = &'static str> {
    let produced = plan.producers.as_ref().map(|_| Kind::Ack);
    let consumed = plan.consumers.as_ref().map(|_| Kind::Fetch);
    let cold = plan.cold.as_ref().map(|_| Kind::Cold);
    [produced, consumed, cold].into_iter().flatten().filter_map(Kind::flow_name)
}

/// The plan with the end that the producers were given while they ran.
fn ended(plan: &TrafficPlan, shared: &Shared) -> TrafficPlan {
    let mut plan = plan.clone();
    if let (Some(producers), Some(end)) = (&mut plan.producers, shared.producers_end()) {
        producers.produce.end = Some(end);
    }
    plan
}

fn run_jobs(
    plan: &TrafficPlan,
    shared: &Arc<Shared>,
    jobs: Vec<Job>,
    out: &mut dyn Write,
) -> Result<Watched, BenchError> {
    let goal = Goal {
        warmup: plan.run.warmup,
        // Nobody knows when a backlog will be drained.
        end: plan.run.end().filter(|_| plan.backlog.is_none()),
        records: match (&plan.producers, &plan.consumers) {
            (Some(producers), _) => producers.produce.records,
            (None, Some(consumers)) => consumers.fetch.records,
            (None, None) => None,
        },
        opening: 0,
        kind: live_kind(plan),
    };
    let mut stderr = io::stderr();
    let mut screen = Screen::on(&mut stderr, plan.run.quiet);
    let mut lines = Lines { out, every: plan.line_every, interrupt: &plan.run.interrupt };
    engine::run(shared, &plan.run.cores, jobs, |running| {
        watch(shared, goal, running, &mut screen, &mut lines)
    })
}

/// What the live line shows. A workload without subscriptions is one end to end that nobody reads.
fn live_kind(plan: &TrafficPlan) -> Kind {
    match plan.mode {
        Mode::Consume => Kind::Fetch,
        Mode::EndToEnd | Mode::Soak if plan.consumers.is_some() => Kind::EndToEnd,
        Mode::EndToEnd | Mode::Soak => Kind::Ack,
        Mode::Produce | Mode::Mixed | Mode::Max | Mode::Connections | Mode::Groups => Kind::Ack,
    }
}

/// All topics of the load, made where that is allowed.
fn find_topics(cluster: &mut Cluster, target: &Target) -> Result<Vec<Arc<Places>>, BenchError> {
    let place = |name: &String| {
        let topic = find_topic_named(cluster, target, name)?;
        Places::of(cluster, &topic).map(Arc::new)
    };
    target.names().iter().map(place).collect()
}

/// The topic of a load that has one, made where that is allowed.
pub(crate) fn find_topic(cluster: &mut Cluster, target: &Target) -> Result<Topic, BenchError> {
    find_topic_named(cluster, target, &target.topic)
}

fn find_topic_named(cluster: &mut Cluster, target: &Target, name: &str) -> Result<Topic, BenchError> {
    let topic = match target.create {
        true => cluster.find_or_create(
            name,
            &NewTopic {
                partitions: target.partitions.unwrap_or(PARTITIONS_DEFAULT),
                replication_factor: target.replication_factor,
                config: &target.topic_config,
            },
        )?,
        false => {
            let missing = BenchError::Topic { name: name.to_owned(), what: "does not exist".to_owned() };
            cluster.find_topic(name)?.ok_or(missing)?
        }
    };
    match target.partitions.filter(|asked| *asked as usize != topic.partition_count()) {
        None => Ok(topic),
        Some(asked) => {
            let (there, says) = (topic.partition_count(), target.partitions_name);
            let what = format!("has {there} partitions, and {says} says {asked}");
            Err(BenchError::Topic { name: topic.name, what })
        }
    }
}

/// The clients of a load.
#[derive(Default)]
struct Jobs {
    jobs: Vec<Job>,
    producers: usize,
    consumers: usize,
}

impl Jobs {
    fn add_producers(
        &mut self,
        cluster: &mut Cluster,
        topics: &[Arc<Places>],
        plan: &ProducersPlan,
    ) -> Result<(), BenchError> {
        assert_eq!(topics.len(), plan.produce.topics, "the plan is one of these topics");
        let produce = Arc::new(plan.produce.clone());
        let clients = produce.clients as u64;
        self.producers = produce.clients;
        for (client, places) in (0..clients).zip(topics.iter().cycle()) {
            let job = ProducerJob {
                plan: Arc::clone(&produce),
                places: Arc::clone(places),
                share: Share { client, clients },
                producer: if produce.settings.idempotent { Some(cluster.producer_id()?) } else { None },
                filler: plan.filler.clone(),
            };
            self.jobs.push(Box::new(move |shard| Box::pin(job.run(shard))));
        }
        Ok(())
    }

    fn add_consumers(
        &mut self,
        cluster: &Cluster,
        places: &Arc<Places>,
        plan: &ConsumerPlan,
        load: &TrafficPlan,
    ) -> Result<(), BenchError> {
        let (kind, until) = match load.producers {
            Some(_) => (Kind::EndToEnd, Until::Producers),
            None if plan.fetch.end.is_none() && plan.fetch.records.is_none() => (Kind::Fetch, Until::Ends),
            None => (Kind::Fetch, Until::Never),
        };
        let numbered = load.producers.as_ref().is_some_and(is_stamped);
        let role = Role { kind, until, from: plan.from, delay: Duration::ZERO, numbered };
        for _ in 0..plan.subscriptions {
            self.add(cluster, places, Readers { clients: plan.clients, fetch: plan.fetch.clone(), role })?;
        }
        Ok(())
    }

    fn add_cold_readers(
        &mut self,
        cluster: &Cluster,
        places: &Arc<Places>,
        load: &TrafficPlan,
    ) -> Result<(), BenchError> {
        let Some(cold) = &load.cold else { return Ok(()) };
        let from = StartAt::Earliest;
        let role = Role { kind: Kind::Cold, until: Until::Ends, from, delay: cold.delay, numbered: false };
        self.add(cluster, places, Readers { clients: cold.clients, fetch: cold.fetch.clone(), role })
    }

    fn add(&mut self, cluster: &Cluster, places: &Arc<Places>, readers: Readers) -> Result<(), BenchError> {
        let Readers { clients, fetch, role } = readers;
        let topic = places.topic();
        let fetch = Arc::new(fetch);
        for (node, (id, led)) in topic.leaders.iter().enumerate() {
            let mut positions = positions(cluster, *id, topic, led, &role)?;
            // More consumers than partitions leave some without work.
            let consumers = clients.div_ceil(topic.leaders.len()).min(led.len());
            for nth in 0..consumers {
                let job = ConsumerJob {
                    plan: Arc::clone(&fetch),
                    places: Arc::clone(places),
                    node,
                    positions: positions.iter().copied().skip(nth).step_by(consumers).collect(),
                    until: role.until,
                    kind: role.kind,
                    delay: role.delay,
                    numbered: role.numbered,
                };
                self.consumers += 1;
                self.jobs.push(Box::new(move |shard| Box::pin(job.run(shard))));
            }
            positions.clear();
        }
        Ok(())
    }
}

/// Consumers of one topic.
struct Readers {
    clients: usize,
    fetch: ConsumePlan,
    role: Role,
}

/// What consumers are there for.
#[derive(Clone, Copy)]
struct Role {
    kind: Kind,
    until: Until,
    from: StartAt,
    delay: Duration,
    /// Records of the load carry their numbers.
    numbered: bool,
}

/// Where a consumer begins and ends in each of `partitions`, which the broker `node` leads.
fn positions(
    cluster: &Cluster,
    node: i32,
    topic: &Topic,
    partitions: &[i32],
    role: &Role,
) -> Result<Vec<Position>, BenchError> {
    let mut client = cluster.connect(node)?;
    let mut offsets = Offsets::of(cluster, node, &mut client, topic)?;
    let latest = offsets.list(End::Latest, partitions)?;
    let begin = match role.from {
        StartAt::Latest => latest.clone(),
        StartAt::Earliest => offsets.list(End::Earliest, partitions)?,
    };
    let positions = partitions.iter().zip(begin).zip(latest).map(|((partition, next), end)| Position {
        partition: *partition,
        next,
        end: (role.until == Until::Ends).then_some(end),
        from_start: next == Offset(0),
    });
    Ok(positions.collect())
}

/// Whether the load was what was asked for, and what else there is to say of it.
fn verdict(plan: &TrafficPlan, shared: &Shared, load: (&Watched, (usize, usize))) -> Verdict {
    let cuts = shared.cuts();
    let mut verdict = verdict_of_load(plan, (shared, &cuts), load);
    verdict.lines.extend(cuts.returns_line());
    verdict
}

fn verdict_of_load(
    plan: &TrafficPlan,
    (shared, cuts): (&Shared, &Cuts),
    (watched, (producers, consumers)): (&Watched, (usize, usize)),
) -> Verdict {
    let made = shared.made.load(Ordering::Relaxed);
    if let Some(first) = &cuts.first {
        let end = plan.producers.as_ref().map_or(plan.run.end(), |producers| producers.produce.end);
        let whole = Whole { producers, consumers, end, answers: answers(&first.address) };
        let mut lines: Vec<String> = cuts.line(&whole).into_iter().collect();
        if let Some(producers) = plan.producers.as_ref().filter(|_| cuts.ended(&whole)) {
            lines.extend(rate_until(first.at, &producers.produce, made));
        }
        return Verdict { lines, failed: true };
    }
    if plan.producers.is_none() {
        return verdict_of_consumers(plan, shared);
    }
    let cpu = watched.fullest_core();
    let lag_p99 = Duration::from_nanos(watched.total.lag.value_at_quantile(0.99));
    let due = plan.producers.as_ref().and_then(|producers| due(&producers.produce));
    judge(&Evidence { what: "records", due, made, elapsed: shared.last_answer(), lag_p99, cpu })
}

/// What became of the rate in the time that a load ran.
fn rate_until(at: Duration, plan: &ProducePlan, made: u64) -> Option<String> {
    let due = plan.pace.due_before(at)?;
    let per_second = |records: u64| grouped((records as f64 / at.as_secs_f64().max(1e-9)).round() as u64);
    Some(format!("until then {} of {} records/s were made", per_second(made), per_second(due)))
}

/// Whether a broker answers there, now or in a moment: one that was started again at once is back by then. That a
/// connection is taken says nothing: a process that was killed does that until the last of its sockets is gone.
fn answers(address: &str) -> bool {
    let asked = |address: &SocketAddr| -> Result<(), ClientError> {
        drop(TcpStream::connect_timeout(address, ANSWER_PATIENCE)?);
        let mut client = Client::connect(address, CLIENT_ID)?;
        client.set_timeout(Some(ANSWER_PATIENCE))?;
        let _: ApiVersionsResponse<'_> =
            client.call(ApiKey::ApiVersions, 0, &ApiVersionsRequest::default())?;
        Ok(())
    };
    let addresses = resolve(address).unwrap_or_default();
    let begun = Instant::now();
    while !addresses.iter().any(|address| asked(address).is_ok()) {
        if begun.elapsed() >= ANSWER_PATIENCE {
            return false;
        }
        std::thread::sleep(ANSWER_LOOK);
    }
    true
}

fn verdict_of_consumers(plan: &TrafficPlan, shared: &Shared) -> Verdict {
    let came = shared.fetched.load(Ordering::Relaxed);
    let wanted = plan.consumers.as_ref().and_then(|consumers| consumers.fetch.records).unwrap_or(0);
    if came >= wanted {
        let lines = if came == 0 { vec!["no record came".to_owned()] } else { Vec::new() };
        return Verdict { lines, failed: false };
    }
    let line = format!("{} of {} records came", grouped(came), grouped(wanted));
    Verdict { lines: vec![line], failed: true }
}

/// The records that fall due in a load, and how long that takes; `None` without a rate.
fn due(plan: &ProducePlan) -> Option<(u64, Duration)> {
    if plan.pace == Pace::Free {
        return None;
    }
    let records = plan.records_due()?;
    let last = plan.pace.due(records)?;
    Some((records, plan.end.map_or(last, |end| end.min(last))))
}

/// Whether records carry their numbers; of others there is nothing but their count.
fn is_stamped(plan: &ProducersPlan) -> bool {
    plan.filler.takes_stamps() && plan.produce.record_bytes >= STAMP_BYTES
}

fn add_counters(plan: &TrafficPlan, shared: &Shared, result: &mut RunResult) {
    let Some(producers) = &plan.producers else { return };
    let made = shared.made.load(Ordering::Relaxed);
    if let Some(due) = producers.produce.records_due()
        && due > made
    {
        result.counters.insert("due_and_unsent_records".to_owned(), due - made);
    }
    if producers.produce.settings.acks == 0 {
        let note = "acks=0: nothing is acknowledged, and the latency 'ack' is the one to when a record was handed over \
                    to the system";
        result.notes.push(note.to_owned());
    }
    if plan.consumers.is_some() && !is_stamped(producers) && shared.undated.load(Ordering::Relaxed) == 0 {
        let note = "records are too short or not ours to carry a stamp: counts, offsets and CRCs were verified, \
                    and times are those of whole milliseconds";
        result.notes.push(note.to_owned());
    }
}

/// That records came without the time at which they were due, and what helps.
fn undated_line(records: u64, is_all: bool) -> String {
    let of = if is_all { String::new() } else { format!(" of {} records", grouped(records)) };
    format!(
        "the latency end to end{of} could not be measured: the topic has message.timestamp.type=LogAppendTime, and the \
         records carry no stamp of their own: give it CreateTime, or records of {STAMP_BYTES} bytes or more that are \
         not from a file or numbers"
    )
}

fn title(plan: &TrafficPlan, topics: &[Arc<Places>], jobs: &Jobs) -> String {
    let partitions = counted(topics.first().map_or(0, |places| places.partitions.len()), "partition");
    let mut parts = vec![match topics.len() {
        1 => format!("{} {} ({partitions})", plan.mode.name(), names(topics)),
        many => format!("{} {many} topics {} ({partitions} each)", plan.mode.name(), names(topics)),
    }];
    if let Some(producers) = &plan.producers {
        parts.push(produce_title(producers));
    }
    if jobs.consumers > 0 {
        parts.push(counted(jobs.consumers, "consumer"));
    }
    if let Some(backlog) = &plan.backlog {
        parts.push(format!("a backlog of {} bytes", grouped(backlog.bytes)));
    }
    if let Some(cold) = &plan.cold {
        parts.push(format!("{} read cold after {} s", cold.topic, cold.delay.as_secs()));
    }
    parts.join("; ")
}

/// The name of a topic, or the first and the last of several.
fn names(topics: &[Arc<Places>]) -> String {
    match topics {
        [] => String::new(),
        [one] => one.name().to_owned(),
        [first, .., last] => format!("{} to {}", first.name(), last.name()),
    }
}

fn produce_title(producers: &ProducersPlan) -> String {
    let plan = &producers.produce;
    let acks = if plan.settings.acks == -1 { "all".to_owned() } else { plan.settings.acks.to_string() };
    let pace = pace_words(&plan.pace);
    let values = match producers.filler {
        Filler::Numbers => "increasing numbers".to_owned(),
        Filler::Pool(_) | Filler::Drawn(..) | Filler::Lines(_) => {
            format!("{} bytes", grouped(plan.record_bytes as u64))
        }
    };
    format!(
        "{} of {values} {pace}, acks {acks}{}, linger {} ms, batches of {} bytes, compression {}",
        counted(plan.clients, "producer"),
        if plan.settings.idempotent { " idempotent" } else { "" },
        plan.settings.limits.linger_nanos as f64 / 1e6,
        grouped(plan.settings.limits.batch_bytes as u64),
        plan.settings.codec.name(),
    )
}

fn pace_words(pace: &Pace) -> String {
    match *pace {
        Pace::Steady(rate) => format!("{} records/s", grouped(rate)),
        Pace::Ramp { from, to, .. } => {
            format!("{} to {} records/s", grouped(from as u64), grouped(to as u64))
        }
        Pace::Free => "as fast as answers come".to_owned(),
    }
}

/// A number of things, in the singular where it is one.
pub(crate) fn counted(number: usize, thing: &str) -> String {
    format!("{} {thing}{}", grouped(number as u64), if number == 1 { "" } else { "s" })
}

fn settings(plan: &TrafficPlan, topics: &[Arc<Places>]) -> BTreeMap<String, String> {
    let mut settings = outcome::settings(&plan.target.bootstrap, &plan.run);
    let mut set = |name: &str, value: String| {
        settings.insert(name.to_owned(), value);
    };
    set("topic", names(topics));
    set("topics", topics.len().to_string());
    set("partitions", topics.iter().map(|places| places.partitions.len()).sum::<usize>().to_string());
    if let Some(producers) = &plan.producers {
        let produce = &producers.produce;
        set("producers", produce.clients.to_string());
        match producers.filler {
            Filler::Pool(_) | Filler::Drawn(..) | Filler::Lines(_) => {
                set("record.bytes", produce.record_bytes.to_string())
            }
            Filler::Numbers => set("payload.monotonic", true.to_string()),
        }
        set("payload", producers.payload.clone());
        set("rate", pace_words(&produce.pace));
        set("keys", produce.keys_name.clone());
        set("partitioner", if produce.settings.round_robin { "round-robin" } else { "sticky" }.to_owned());
        set("acks", produce.settings.acks.to_string());
        set("linger.ms", (produce.settings.limits.linger_nanos as f64 / 1e6).to_string());
        set("batch.size", produce.settings.limits.batch_bytes.to_string());
        set("max.request.size", produce.settings.limits.request_bytes.to_string());
        set("buffer.memory", produce.settings.buffer_bytes.to_string());
        set("compression.type", produce.settings.codec.name().to_owned());
        set("enable.idempotence", produce.settings.idempotent.to_string());
        set("max.in.flight.requests.per.connection", produce.settings.in_flight.to_string());
    }
    if let Some(consumers) = &plan.consumers {
        let fetch = &consumers.fetch;
        set("consumers", consumers.clients.to_string());
        set("subscriptions", consumers.subscriptions.to_string());
        set("fetch.max.wait.ms", fetch.max_wait_ms.to_string());
        set("fetch.min.bytes", fetch.min_bytes.to_string());
        set("fetch.max.bytes", fetch.max_bytes.to_string());
        set("max.partition.fetch.bytes", fetch.partition_max_bytes.to_string());
        set("fetch.session", fetch.session.to_string());
    }
    settings
}

#[cfg(test)]
mod tests;
