//! Where a load runs: executors of the shards' own kind, one per core of load, with many connections on each.
//!
//! A load is a list of [`Job`]s, one per client; they are dealt out to the shards in turn. The calling thread watches.
//! What must hold: no job begins its load before all of them are connected; what a shard counts is its own meter's.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::ops::Range;
use std::rc::{Rc, Weak};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, mpsc};
use std::time::{Duration, SystemTime};

use ottla::ids::{ShardId, TimestampMs};
use ottla::time::Monotonic;
use ottla_shards::host::{self, LocalBoxFuture, ShardSpec, sync::Notify};

use crate::backlog::Progress;
use crate::cut::{Cut, Cuts, Role, Why};
use crate::error::BenchError;
use crate::stamp::LaneId;
use crate::tally::{Kind, Meter, Phase, Tally, nanos};
use crate::verify::{Fault, Finding, Sent};

/// Findings that are kept word for word.
const FINDINGS_MAX: usize = 20;
/// How often a job that is ready looks whether all others are.
const READY_LOOK: Duration = Duration::from_millis(1);
/// How often it looks whether the load ends before its time.
const END_LOOK: Duration = Duration::from_millis(50);

/// One client of a load, to be run on some shard.
pub(crate) type Job = Box<dyn FnOnce(Rc<Shard>) -> LocalBoxFuture<()> + Send>;

/// What each lane sent to the partitions of one topic.
type SentByPartition = BTreeMap<i32, Vec<(LaneId, Sent)>>;

/// What all shards of a run share, and the watching thread.
#[derive(Debug)]
pub(crate) struct Shared {
    /// A random number that tells this run's records from others'.
    pub run: u32,
    /// The wall clock at the monotonic clock's zero, in nanoseconds.
    wall_at_zero: u64,
    start: OnceLock<Monotonic>,
    jobs: AtomicUsize,
    /// Producers that have not ended.
    pub producers_left: AtomicUsize,
    /// Records of this load that came without the time at which they were due.
    pub undated: AtomicU64,
    /// The load ends before its time.
    ending: AtomicBool,
    window: Window,
    /// Cold readers that are at work.
    cold_readers: AtomicUsize,
    /// When the first cold reader began and the last one ended, in nanoseconds from the start.
    cold: [AtomicU64; 2],
    /// Consumers fetch nothing.
    pub holding: AtomicBool,
    /// When the producers end, in nanoseconds from the start; `u64::MAX` where only their plan says it.
    producers_end: AtomicU64,
    /// Connections that are to stay and are open.
    pub opened: AtomicU64,
    /// Records that were acknowledged.
    pub acknowledged: AtomicU64,
    /// Records that consumers have fetched.
    pub fetched: AtomicU64,
    /// Records that producers have made.
    pub made: AtomicU64,
    /// The last answer that counted, in nanoseconds from the start.
    last: AtomicU64,
    meters: Vec<Meter>,
    cpu: Vec<Cpu>,
    /// By topic and partition.
    sent: Mutex<BTreeMap<String, SentByPartition>>,
    findings: Mutex<Findings>,
    cuts: Mutex<Cuts>,
    backlog: Mutex<Option<Progress>>,
    /// What does not come, in sentences.
    stuck: Mutex<Vec<String>>,
}

/// CPU time of a shard's thread in nanoseconds, as it was noted.
#[derive(Debug, Default)]
struct Cpu {
    /// At the start of the load.
    start: AtomicU64,
    /// At the end of the warm-up; 0 before.
    begin: AtomicU64,
    /// At the end of the load.
    last: AtomicU64,
}

/// What of a load is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    /// Nothing of this time.
    pub warmup: Duration,
    /// What has a time at which it is due is measured by that, and not by when its answer came: what a stall keeps
    /// waiting across the end of the warm-up is the warm-up's, as what it keeps waiting across the end of the load is
    /// the measurement's. In a closed loop nothing is due, and answers decide.
    pub by_due: bool,
}

/// What verification has found.
#[derive(Clone, Debug, Default)]
pub(crate) struct Findings {
    /// Records by what is wrong with them.
    pub records: BTreeMap<Fault, u64>,
    /// The first ones.
    pub first: Vec<Finding>,
    /// Partitions that were read, and those of them that were given up before their ends.
    pub partitions: u64,
    pub incomplete: u64,
    /// Batches that are damaged.
    pub damaged_batches: u64,
    /// Records that were checked, and those of them without a number that says what was sent.
    pub checked: u64,
    pub unnumbered: u64,
    /// Neither offsets nor numbers were looked at.
    pub only_batches: bool,
}

impl Findings {
    /// All records with a fault that is certain.
    pub(crate) fn count(&self) -> u64 {
        self.records.iter().filter(|(fault, _)| fault.is_certain()).map(|(_, records)| records).sum()
    }
}

impl Shared {
    /// For a run of `jobs` jobs, `producers` of which produce, on `shards` shards, without a warm-up.
    #[cfg(test)]
    pub(crate) fn new(jobs: usize, producers: usize, shards: usize) -> Arc<Shared> {
        let window = Window { warmup: Duration::ZERO, by_due: true };
        Self::measuring(window, (jobs, producers), shards)
    }

    /// For a run of `jobs` jobs, `producers` of which produce, on `shards` shards.
    pub(crate) fn measuring(window: Window, (jobs, producers): (usize, usize), shards: usize) -> Arc<Shared> {
        let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let wall = u64::try_from(wall.as_nanos()).unwrap_or(u64::MAX);
        Arc::new(Shared {
            run: host::random_u64() as u32,
            wall_at_zero: wall.saturating_sub(host::now().0),
            start: OnceLock::new(),
            jobs: AtomicUsize::new(jobs),
            producers_left: AtomicUsize::new(producers),
            undated: AtomicU64::new(0),
            ending: AtomicBool::new(false),
            window,
            cold_readers: AtomicUsize::new(0),
            cold: [AtomicU64::new(u64::MAX), AtomicU64::new(0)],
            holding: AtomicBool::new(false),
            producers_end: AtomicU64::new(u64::MAX),
            opened: AtomicU64::new(0),
            acknowledged: AtomicU64::new(0),
            fetched: AtomicU64::new(0),
            made: AtomicU64::new(0),
            last: AtomicU64::new(0),
            meters: (0..shards).map(|_| Meter::new()).collect(),
            cpu: (0..shards).map(|_| Cpu::default()).collect(),
            sent: Mutex::default(),
            findings: Mutex::default(),
            cuts: Mutex::default(),
            backlog: Mutex::default(),
            stuck: Mutex::default(),
        })
    }

    /// When the load began; `None` before.
    pub(crate) fn started(&self) -> Option<Monotonic> {
        self.start.get().copied()
    }

    /// Nanoseconds since the load began.
    pub(crate) fn now(&self) -> u64 {
        self.at(host::now())
    }

    /// A moment, in nanoseconds since the load began.
    pub(crate) fn at(&self, moment: Monotonic) -> u64 {
        self.started().map_or(0, |start| moment.0.saturating_sub(start.0))
    }

    /// Which part of the load something belongs to that was due at a moment, if it has one, and is answered now.
    pub(crate) fn phase(&self, due: Option<u64>, now: u64) -> Phase {
        let decides = due.filter(|_| self.window.by_due).unwrap_or(now);
        if decides < nanos(self.window.warmup) { Phase::WarmUp } else { Phase::Measured }
    }

    /// A moment of the wall clock, in nanoseconds from the start of the load.
    pub(crate) fn since_start(&self, wall: u64) -> u64 {
        wall.saturating_sub(self.wall(0))
    }

    /// A moment of the load by the wall clock, in nanoseconds.
    pub(crate) fn wall(&self, nanos: u64) -> u64 {
        self.wall_at_zero + self.started().map_or(0, |start| start.0) + nanos
    }

    /// The same as records carry it.
    pub(crate) fn timestamp(&self, nanos: u64) -> TimestampMs {
        TimestampMs(i64::try_from(self.wall(nanos) / 1_000_000).unwrap_or(i64::MAX))
    }

    /// Ends the producers of a load: nothing falls due from this moment on, or from an earlier one that was given.
    pub(crate) fn end_producers(&self, at: Duration) {
        self.producers_end.fetch_min(nanos(at), Ordering::Relaxed);
    }

    /// Ends the load before its time, at this moment of it.
    pub(crate) fn end_early(&self, at: Duration) {
        self.end_producers(at);
        self.ending.store(true, Ordering::Release);
    }

    /// Whether the load ends before its time.
    pub(crate) fn is_ending(&self) -> bool {
        self.ending.load(Ordering::Acquire)
    }

    /// The end of the producers, where they were given one while they ran.
    pub(crate) fn producers_end(&self) -> Option<Duration> {
        let end = self.producers_end.load(Ordering::Relaxed);
        (end < u64::MAX).then(|| Duration::from_nanos(end))
    }

    /// Notes that a cold reader begins or ends.
    pub(crate) fn cold_reader(&self, begins: bool) {
        let now = self.now();
        self.cold[0].fetch_min(now, Ordering::Relaxed);
        self.cold[1].fetch_max(now, Ordering::Relaxed);
        // Whoever sees that the last one has ended sees when that was.
        match begins {
            true => self.cold_readers.fetch_add(1, Ordering::Release),
            false => self.cold_readers.fetch_sub(1, Ordering::Release),
        };
    }

    /// From when to when cold readers are at work as far as is known, in nanoseconds from the start.
    pub(crate) fn beside_cold(&self) -> Range<u64> {
        let is_going_on = self.cold_readers.load(Ordering::Acquire) > 0;
        let [from, until] = [&self.cold[0], &self.cold[1]].map(|at| at.load(Ordering::Relaxed));
        from..if is_going_on { u64::MAX } else { until }
    }

    /// How long cold readers were at work in the measured time; `None` where none was.
    pub(crate) fn cold_time(&self) -> Option<Duration> {
        let [from, until] = [&self.cold[0], &self.cold[1]].map(|at| at.load(Ordering::Relaxed));
        let time = until.checked_sub(from.max(nanos(self.window.warmup)))?;
        (time > 0).then(|| Duration::from_nanos(time))
    }

    /// Notes an answer that counted.
    pub(crate) fn answered(&self, now: u64) {
        self.last.fetch_max(now, Ordering::Relaxed);
    }

    /// The last answer that counted, from the start of the load.
    pub(crate) fn last_answer(&self) -> Duration {
        Duration::from_nanos(self.last.load(Ordering::Relaxed))
    }

    /// CPU time of each shard from the end of the warm-up on, or from the start of a load that did not outlast it.
    pub(crate) fn cpu(&self) -> Vec<Duration> {
        let of = |cpu: &Cpu| {
            let [start, begin, last] =
                [&cpu.start, &cpu.begin, &cpu.last].map(|at| at.load(Ordering::Relaxed));
            Duration::from_nanos(last.saturating_sub(if begin > 0 { begin } else { start }))
        };
        self.cpu.iter().map(of).collect()
    }

    /// Notes what a lane sent to each partition of a topic, for whoever reads it.
    pub(crate) fn note_sent(&self, topic: &str, lane: LaneId, sent: impl Iterator<Item = (i32, Sent)>) {
        let mut all = self.sent.lock().expect("nobody panics with it");
        let of_topic = all.entry(topic.to_owned()).or_default();
        for (partition, sent) in sent.filter(|(_, sent)| sent.records > 0) {
            of_topic.entry(partition).or_default().push((lane, sent));
        }
    }

    /// What was sent to a partition, by lane.
    pub(crate) fn sent_to(&self, topic: &str, partition: i32) -> Vec<(LaneId, Sent)> {
        let all = self.sent.lock().expect("nobody panics with it");
        all.get(topic).and_then(|of_topic| of_topic.get(&partition)).cloned().unwrap_or_default()
    }

    /// Adds what a verification has found, and how many records it looked at.
    pub(crate) fn note_findings(&self, found: Vec<Finding>, checked: u64) {
        let mut findings = self.lock_findings();
        findings.checked += checked;
        for finding in found {
            *findings.records.entry(finding.fault).or_default() += finding.records;
            // A damaged batch is one finding.
            findings.damaged_batches += u64::from(finding.fault == Fault::Damaged);
            if findings.first.len() < FINDINGS_MAX {
                findings.first.push(finding);
            } else if finding.fault.is_certain()
                && let Some(less) = findings.first.iter_mut().rfind(|known| !known.fault.is_certain())
            {
                *less = finding;
            }
        }
    }

    /// Notes how little is known of records: so many have no number, or nobody looked at any.
    pub(crate) fn note_unknown(&self, unnumbered: u64, only_batches: bool) {
        let mut findings = self.lock_findings();
        findings.unnumbered += unnumbered;
        findings.only_batches |= only_batches;
    }

    /// Notes that a partition is read no further, and whether that is before its end.
    pub(crate) fn note_read(&self, is_incomplete: bool) {
        let mut findings = self.lock_findings();
        findings.partitions += 1;
        findings.incomplete += u64::from(is_incomplete);
    }

    /// Notes what does not come, of which the first ones are told.
    pub(crate) fn note_stuck(&self, what: String) {
        let mut stuck = self.stuck.lock().expect("nobody panics with it");
        if stuck.len() < FINDINGS_MAX {
            stuck.push(what);
        }
    }

    /// What does not come.
    pub(crate) fn stuck(&self) -> Vec<String> {
        self.stuck.lock().expect("nobody panics with it").clone()
    }

    /// What was found so far.
    pub(crate) fn findings(&self) -> Findings {
        self.lock_findings().clone()
    }

    /// Notes that a client can go on no longer, now.
    pub(crate) fn note_cut(&self, role: Role, address: &str, why: Why) {
        let at = Duration::from_nanos(self.now());
        let cut = Cut { at, address: address.to_owned(), why };
        self.cuts.lock().expect("nobody panics with it").note(role, cut);
    }

    /// Notes that a client is back, now, that lost its connection at a moment of the load.
    pub(crate) fn note_return(&self, lost: u64) {
        let away = Duration::from_nanos(self.now().saturating_sub(lost));
        self.cuts.lock().expect("nobody panics with it").note_return(away);
    }

    /// Notes how far a backlog is.
    pub(crate) fn note_backlog(&self, progress: Option<Progress>) {
        *self.backlog.lock().expect("nobody panics with it") = progress;
    }

    /// How far a backlog is, while there is one.
    pub(crate) fn backlog(&self) -> Option<Progress> {
        *self.backlog.lock().expect("nobody panics with it")
    }

    /// Who was cut off so far.
    pub(crate) fn cuts(&self) -> Cuts {
        self.cuts.lock().expect("nobody panics with it").clone()
    }

    fn lock_findings(&self) -> MutexGuard<'_, Findings> {
        self.findings.lock().expect("nobody panics with it")
    }

    /// Moves what the meters have counted into `into`; `empty` is empty before and after.
    pub(crate) fn collect(&self, into: &mut Tally, empty: &mut Tally) {
        for meter in &self.meters {
            meter.collect(empty);
            into.add(empty);
            empty.clear();
        }
    }
}

/// A job's view of the shard that it runs on.
#[derive(Debug)]
pub(crate) struct Shard {
    /// What all shards share.
    pub shared: Arc<Shared>,
    index: usize,
    /// Whoever is to be woken when the load ends before its time.
    sleepers: RefCell<Vec<Weak<Notify>>>,
}

impl Shard {
    /// The shard's tally, to count into.
    pub(crate) fn meter(&self) -> MutexGuard<'_, Tally> {
        self.shared.meters[self.index].lock()
    }

    /// Counts one of `kind` that was due at a moment and is done now.
    pub(crate) fn took(&self, kind: Kind, due: u64, now: u64) {
        let mut meter = self.meter();
        let counts = meter.in_phase(self.shared.phase(Some(due), now), kind);
        counts.records += 1;
        counts.took(now.saturating_sub(due));
    }

    /// Says that a job is connected, and waits until all are: then the load begins.
    pub(crate) async fn ready(&self) {
        let shared = &self.shared;
        if shared.jobs.fetch_sub(1, Ordering::AcqRel) == 1 {
            let first = shared.start.set(host::now());
            assert!(first.is_ok(), "one job is the last to be ready");
        }
        while shared.started().is_none() {
            host::sleep(READY_LOOK).await;
        }
    }

    /// Sleeps until this moment of the load, which has begun; false where it ends before that.
    pub(crate) async fn sleep_until(&self, moment: Duration) -> bool {
        let start = self.shared.started().expect("it has begun");
        while !self.shared.is_ending() {
            let left = nanos(moment).saturating_sub(self.shared.now());
            if left <= nanos(END_LOOK) {
                host::sleep_until(start.after(moment)).await;
                return true;
            }
            host::sleep(END_LOOK).await;
        }
        false
    }

    /// Has this woken when the load ends before its time.
    pub(crate) fn wake_at_the_end(&self, sleeper: &Rc<Notify>) {
        self.sleepers.borrow_mut().push(Rc::downgrade(sleeper));
    }

    /// Wakes all who sleep when the load ends before its time.
    async fn wait_for_the_end(self: Rc<Self>) {
        while !self.shared.is_ending() {
            host::sleep(END_LOOK).await;
        }
        for sleeper in self.sleepers.take().iter().filter_map(Weak::upgrade) {
            sleeper.notify_one();
        }
    }

    /// Notes the CPU time of this thread when the load begins and when its warm-up ends.
    async fn note_cpu(self: Rc<Self>) {
        while self.shared.started().is_none() {
            host::sleep(READY_LOOK).await;
        }
        let cpu = &self.shared.cpu[self.index];
        cpu.start.store(thread_cpu_nanos(), Ordering::Relaxed);
        if self.sleep_until(self.shared.window.warmup).await {
            cpu.begin.store(thread_cpu_nanos(), Ordering::Relaxed);
        }
    }

    /// The same at its end.
    fn note_last_cpu(&self) {
        self.shared.cpu[self.index].last.store(thread_cpu_nanos(), Ordering::Relaxed);
    }
}

/// CPU time of the calling thread in nanoseconds, as the kernel's scheduler counts it; 0 where it does not tell.
fn thread_cpu_nanos() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split_whitespace().next().and_then(|nanos| nanos.parse().ok()).unwrap_or(0)
}

/// Where the executors of a load run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cores {
    /// How many.
    pub count: usize,
    /// The CPUs that they are pinned to in turn; none for wherever the system puts them.
    pub cpus: Vec<usize>,
}

impl Cores {
    fn specs(&self) -> Vec<ShardSpec> {
        let spec = |index: usize| ShardSpec {
            shard: ShardId(u16::try_from(index).expect("bounded with the flags")),
            cpu: self.cpus.get(index % self.cpus.len().max(1)).copied(),
        };
        (0..self.count).map(spec).collect()
    }
}

/// Runs `jobs` to their end; `watch` runs meanwhile on the calling thread, until the other end of its channel is gone.
pub(crate) fn run<T>(
    shared: &Arc<Shared>,
    cores: &Cores,
    jobs: Vec<Job>,
    watch: impl FnOnce(&mpsc::Receiver<Infallible>) -> T,
) -> Result<T, BenchError> {
    assert_eq!(shared.meters.len(), cores.count, "a meter for each shard");
    let mut dealt: Vec<Vec<Job>> = (0..cores.count).map(|_| Vec::new()).collect();
    for (number, job) in jobs.into_iter().enumerate() {
        dealt[number % cores.count].push(job);
    }
    let dealt = Arc::new(Mutex::new(dealt));
    let (working, running) = mpsc::channel::<Infallible>();
    let (for_shards, specs) = (Arc::clone(shared), cores.specs());
    let shards = std::thread::Builder::new().name("load".to_owned()).spawn(move || {
        let ended = host::run_shards(specs, move |shard| {
            let index = usize::from(shard.0);
            let jobs = std::mem::take(&mut dealt.lock().expect("nobody panics with it")[index]);
            let shared = Arc::clone(&for_shards);
            work(Rc::new(Shard { shared, index, sleepers: RefCell::default() }), jobs)
        });
        drop(working);
        ended
    })?;
    let watched = watch(&running);
    let ended = shards.join().expect("a shard's panic has ended the process");
    ended.map_err(|error| BenchError::Shards(error.to_string()))?;
    Ok(watched)
}

async fn work(shard: Rc<Shard>, jobs: Vec<Job>) {
    host::spawn_detached(Rc::clone(&shard).note_cpu());
    host::spawn_detached(Rc::clone(&shard).wait_for_the_end());
    let running: Vec<_> = jobs.into_iter().map(|job| host::spawn(job(Rc::clone(&shard)))).collect();
    for job in running {
        job.await;
    }
    shard.note_last_cpu();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tally::Kind;
    use ottla::ids::Offset;

    fn job(future: impl FnOnce(Rc<Shard>) -> LocalBoxFuture<()> + Send + 'static) -> Job {
        Box::new(future)
    }

    #[test]
    fn cold_readers_are_at_work_until_the_last_has_ended() {
        let shared = Shared::new(0, 0, 1);
        assert!(shared.beside_cold().is_empty());
        let before = shared.now();
        shared.cold_reader(true);
        shared.cold_reader(true);
        shared.cold_reader(false);
        let going_on = shared.beside_cold();
        assert!(going_on.start >= before && going_on.end == u64::MAX, "one of two reads on");
        shared.cold_reader(false);
        let over = shared.beside_cold();
        assert!(
            over.start == going_on.start && over.end <= shared.now(),
            "what was due by then still counts"
        );
    }

    #[test]
    fn all_jobs_begin_together_and_all_that_they_count_is_collected() {
        let shared = Shared::new(7, 0, 2);
        let cores = Cores { count: 2, cpus: Vec::new() };
        let early = Arc::new(AtomicUsize::new(0));
        let jobs = (0..7).map(|number| {
            let early = Arc::clone(&early);
            job(move |shard| {
                Box::pin(async move {
                    host::sleep(Duration::from_millis(number)).await;
                    early.fetch_add(1, Ordering::SeqCst);
                    shard.ready().await;
                    assert_eq!(early.load(Ordering::SeqCst), 7, "nobody begins before the last is ready");
                    shard.meter().of(Kind::Connect).records += 1;
                    shard.shared.answered(shard.shared.now());
                })
            })
        });
        let jobs = jobs.collect();
        let ended = run(&shared, &cores, jobs, |running| running.recv().is_err()).expect("it runs");
        assert!(ended, "the channel ends with the last shard");
        let (mut all, mut empty) = (Tally::new(), Tally::new());
        shared.collect(&mut all, &mut empty);
        assert_eq!(all.records(Kind::Connect), 7);
        assert!(shared.started().is_some());
    }

    #[test]
    fn the_cpu_time_of_a_short_load_is_that_behind_its_warm_up() {
        const BUSY: u64 = 50_000_000;
        let busy = || {
            let (before, begun) = (thread_cpu_nanos(), std::time::Instant::now());
            while thread_cpu_nanos() < before + BUSY && begun.elapsed() < Duration::from_secs(10) {}
            thread_cpu_nanos() > before
        };
        if !busy() {
            return; // This system does not tell.
        }
        let window = Window { warmup: Duration::from_millis(100), by_due: true };
        let shared = Shared::measuring(window, (1, 0), 1);
        let cores = Cores { count: 1, cpus: Vec::new() };
        let jobs = vec![job(move |shard| {
            Box::pin(async move {
                shard.ready().await;
                busy();
                let cpu = &shard.shared.cpu[0];
                while cpu.begin.load(Ordering::Relaxed) == 0 {
                    host::sleep(READY_LOOK).await;
                }
                busy();
            })
        })];
        run(&shared, &cores, jobs, |running| running.recv().is_err()).expect("it runs");
        let [cpu] = shared.cpu()[..] else { panic!("one shard") };
        assert!((BUSY..2 * BUSY).contains(&nanos(cpu)), "{cpu:?}");
    }

    #[test]
    fn findings_are_counted_and_the_first_are_kept() {
        let shared = Shared::new(0, 0, 1);
        let finding = |offset| Finding {
            fault: Fault::Lost,
            records: 2,
            topic: "t".into(),
            partition: 0,
            offset: Offset(offset),
            detail: String::new(),
        };
        shared.note_findings((0..50).map(finding).collect(), 1_000);
        let findings = shared.findings();
        assert_eq!((findings.count(), findings.first.len(), findings.checked), (100, FINDINGS_MAX, 1_000));
        let shared = Shared::new(0, 0, 1);
        let unknown = |offset| Finding { fault: Fault::Unknown, ..finding(offset) };
        shared.note_findings((0..50).map(unknown).chain([finding(99)]).collect(), 1_000);
        let findings = shared.findings();
        assert_eq!((findings.count(), findings.records[&Fault::Unknown]), (2, 100));
        assert_eq!(findings.first.last(), Some(&finding(99)), "what is certain is told before what is not");
    }

    #[test]
    fn what_was_sent_is_known_by_topic_and_partition() {
        let shared = Shared::new(0, 0, 1);
        let lane = |client| LaneId { run: 1, client };
        let sent = |records| Sent { records, doubtful: Vec::new() };
        shared.note_sent("a", lane(0), [(0, sent(5)), (1, sent(0))].into_iter());
        shared.note_sent("a", lane(2), [(0, sent(6))].into_iter());
        shared.note_sent("b", lane(1), [(0, sent(7))].into_iter());
        assert_eq!(shared.sent_to("a", 0), [(lane(0), sent(5)), (lane(2), sent(6))]);
        assert_eq!(shared.sent_to("b", 0), [(lane(1), sent(7))]);
        assert_eq!((shared.sent_to("a", 1), shared.sent_to("c", 0)), (Vec::new(), Vec::new()));
    }

    #[test]
    fn cores_are_pinned_in_turn_or_not_at_all() {
        let cpus = |cores: Cores| cores.specs().iter().map(|spec| spec.cpu).collect::<Vec<_>>();
        assert_eq!(cpus(Cores { count: 3, cpus: vec![4, 6] }), [Some(4), Some(6), Some(4)]);
        assert_eq!(cpus(Cores { count: 2, cpus: vec![] }), [None, None]);
    }
}
