//! `ottla bench groups`: consumers that join and leave a group, and how long a rebalance takes.
//!
//! The members speak the classic protocol (JoinGroup, SyncGroup, Heartbeat, LeaveGroup); the leader shares out the
//! topic's partitions. At every change one member leaves and another one comes; the rebalance has ended once as many
//! members as there are to be have their assignments in one generation. What must hold: in such a generation every
//! partition is somebody's, and nobody else's.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use ottla_shards::host;
use ottla_wire::ApiKey;

use crate::args::plan::{GroupsPlan, Mode};
use crate::cluster::Cluster;
use crate::engine::{self, Job, Shard, Shared, Window};
use crate::error::BenchError;
use crate::outcome;
use crate::places::resolve;
use crate::screen::Screen;
use crate::tally::{Kind, Phase, nanos};
use crate::traffic::{counted, find_topic};
use crate::verdict::Verdict;
use crate::watch::{Goal, Lines, watch};

mod coordinator;
mod member;
mod rebalance;

use coordinator::Coordinator;
use member::Member;
use rebalance::Rebalances;

/// How often the end of the last members is looked for.
const END_LOOK: Duration = Duration::from_millis(5);
/// How long members may take to leave.
const END_PATIENCE: Duration = if cfg!(test) { Duration::from_millis(500) } else { Duration::from_secs(30) };

/// What all members of the group know.
#[derive(Debug)]
struct Setup {
    group: String,
    topic: String,
    partitions: Vec<i32>,
    /// The coordinator as it was found before the load, and the broker that was asked.
    coordinator: Vec<SocketAddr>,
    brokers: Vec<SocketAddr>,
    find_version: i16,
    join_version: i16,
    sync_version: i16,
    heartbeat_version: i16,
    leave_version: i16,
    members: usize,
    change_every: Duration,
    heartbeat: Duration,
    session_timeout_ms: i32,
    end: Duration,
    /// Changes of the measured time that fell due while a rebalance was under way.
    left_out: AtomicU64,
    /// The last rebalance did not end.
    is_stuck: AtomicBool,
}

/// Runs the load and prints its report.
pub(crate) fn run(plan: &GroupsPlan, out: &mut dyn Write) -> Result<u8, BenchError> {
    let setup = Arc::new(set_up(plan)?);
    // A coordinator is one shard's work, and so is its load.
    let for_job = Arc::clone(&setup);
    let job: Job = Box::new(move |shard| Box::pin(lead(for_job, shard)));
    let cores = engine::Cores { count: 1, ..plan.run.cores.clone() };
    let shared = Shared::measuring(Window { warmup: plan.run.warmup, by_due: true }, (1, 0), 1);
    let title = format!(
        "groups: {} of {} read {} ({}), a change every {} ms",
        counted(setup.members, "member"),
        setup.group,
        setup.topic,
        counted(setup.partitions.len(), "partition"),
        setup.change_every.as_millis(),
    );
    let mut result = outcome::begin(Mode::Groups, &title);
    result.settings = outcome::settings(&plan.target.bootstrap, &plan.run);
    result.settings.extend(settings(&setup));
    let goal = Goal {
        warmup: plan.run.warmup,
        end: plan.run.end(),
        records: None,
        opening: 0,
        kind: Kind::Rebalance,
    };
    let mut stderr = io::stderr();
    let mut screen = Screen::on(&mut stderr, plan.run.quiet);
    let mut lines = Lines { out: &mut *out, every: None, interrupt: &plan.run.interrupt };
    let watched = engine::run(&shared, &cores, vec![job], |running| {
        watch(&shared, goal, running, &mut screen, &mut lines)
    })?;
    let rebalances = watched.total.records(Kind::Rebalance);
    result.counters.insert("rebalances".to_owned(), rebalances);
    result.counters.insert("joins".to_owned(), watched.total.records(Kind::Join));
    outcome::fill(&mut result, watched, &shared);
    let left_out = setup.left_out.load(Ordering::Relaxed);
    if left_out > 0 {
        result.counters.insert("changes_left_out".to_owned(), left_out);
        let changes = counted(left_out as usize, "change");
        result.notes.push(format!("{changes} fell due while a rebalance was under way, and were left out"));
    }
    let failed = |line: String| Verdict { lines: vec![line], failed: true };
    let verdict = match rebalances {
        0 => failed("no rebalance came to its end".to_owned()),
        _ if setup.is_stuck.load(Ordering::Relaxed) => {
            failed(format!("the last rebalance did not end within {} s", END_PATIENCE.as_secs_f64()))
        }
        _ => Verdict::default(),
    };
    outcome::finish(result, verdict, &plan.run, out)
}

/// What a group was told to be.
fn settings(setup: &Setup) -> impl Iterator<Item = (String, String)> {
    let settings = [
        ("threads", "1".to_owned()),
        ("topic", setup.topic.clone()),
        ("partitions", setup.partitions.len().to_string()),
        ("group.id", setup.group.clone()),
        ("members", setup.members.to_string()),
        ("change.every.ms", setup.change_every.as_millis().to_string()),
        ("heartbeat.interval.ms", setup.heartbeat.as_millis().to_string()),
        ("session.timeout.ms", setup.session_timeout_ms.to_string()),
    ];
    settings.into_iter().map(|(name, value)| (name.to_owned(), value))
}

fn set_up(plan: &GroupsPlan) -> Result<Setup, BenchError> {
    let mut cluster = Cluster::open(&plan.target.bootstrap)?;
    let topic = find_topic(&mut cluster, &plan.target)?;
    let group =
        plan.group.clone().unwrap_or_else(|| format!("ottla-bench-{:08x}", host::random_u64() as u32));
    let coordinator = cluster.coordinator(&group)?;
    let mut partitions: Vec<i32> = topic.leaders.values().flatten().copied().collect();
    partitions.sort_unstable();
    Ok(Setup {
        coordinator: resolve(&coordinator)?,
        brokers: resolve(cluster.address())?,
        find_version: cluster.version(ApiKey::FindCoordinator)?,
        join_version: cluster.version(ApiKey::JoinGroup)?,
        sync_version: cluster.version(ApiKey::SyncGroup)?,
        heartbeat_version: cluster.version(ApiKey::Heartbeat)?,
        leave_version: cluster.version(ApiKey::LeaveGroup)?,
        group,
        topic: topic.name,
        partitions,
        members: plan.members,
        change_every: plan.change_every,
        heartbeat: plan.heartbeat,
        session_timeout_ms: i32::try_from(plan.session_timeout.as_millis()).unwrap_or(i32::MAX),
        end: plan.run.end().expect("groups have a length"),
        left_out: AtomicU64::new(0),
        is_stuck: AtomicBool::new(false),
    })
}

/// Starts the members, changes them, and ends them.
async fn lead(setup: Arc<Setup>, shard: Rc<Shard>) {
    shard.ready().await;
    let shared = Arc::clone(&shard.shared);
    let rebalances = Rc::new(Rebalances::new(&setup, Rc::clone(&shard)));
    let coordinator = Rc::new(Coordinator::new(&setup));
    let start_member = || Member::start(&setup, &coordinator, &rebalances, &shard);
    let mut members: std::collections::VecDeque<Rc<Member>> = std::collections::VecDeque::new();
    rebalances.begins(shared.now());
    for _ in 0..setup.members {
        members.push_back(start_member());
    }
    let mut next = setup.change_every;
    while next < setup.end && shard.sleep_until(next).await {
        let is_measured = shared.phase(Some(nanos(next)), shared.now()) == Phase::Measured;
        next += setup.change_every;
        // A change in the middle of a rebalance would have no time of its own.
        if rebalances.is_under_way() {
            setup.left_out.fetch_add(u64::from(is_measured), Ordering::Relaxed);
        } else {
            rebalances.begins(shared.now());
            if let Some(oldest) = members.pop_front() {
                oldest.leave();
            }
            members.push_back(start_member());
        }
    }
    shard.sleep_until(setup.end).await;
    // One that is under way counts, the more the longer it takes.
    let last = host::now().after(END_PATIENCE);
    while rebalances.is_under_way() && !shared.is_ending() && host::now() < last {
        host::sleep(END_LOOK).await;
    }
    setup.is_stuck.store(rebalances.is_under_way() && !shared.is_ending(), Ordering::Relaxed);
    for member in &members {
        member.leave();
    }
    let last = host::now().after(END_PATIENCE);
    while rebalances.members() > 0 && host::now() < last {
        host::sleep(END_LOOK).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::{FakeBroker, Script};

    #[test]
    fn changes_that_a_rebalance_leaves_no_room_for_are_counted() {
        let broker = FakeBroker::start(Script { sync_takes: Duration::from_millis(60), ..Script::default() });
        let flags = "--topic t --members 1 --change-every 10ms --heartbeat 5ms --duration 300ms";
        let (code, report) = broker.run("groups", flags).expect("the load begins");
        assert_eq!(code, 0, "{report}");
        let row = report.lines().find(|line| line.starts_with("| changes left out ")).expect("a row");
        let left_out: String = row.chars().filter(char::is_ascii_digit).collect();
        assert!(left_out.parse::<u32>().expect("a number") >= 5, "of the first rebalance alone: {report}");
        assert!(report.contains(" changes fell due while a rebalance was under way"), "{report}");
    }

    #[test]
    fn settings_are_those_of_the_group() {
        let broker = FakeBroker::start(Script::default());
        let json = tempfile::NamedTempFile::new().expect("a file");
        let flags = "--topic t --members 1 --change-every 50ms --heartbeat 5ms --duration 100ms --json";
        broker.run("groups", &format!("{flags} {}", json.path().display())).expect("the load begins");
        let settings = crate::result::read(json.path()).expect("a result").settings;
        let of = |name: &str| settings[name].as_str();
        assert_eq!((of("topic"), of("members"), of("change.every.ms"), of("threads")), ("t", "1", "50", "1"));
    }

    #[test]
    fn a_rebalance_that_does_not_end_is_said() {
        let sync_takes = END_PATIENCE * 3;
        let broker = FakeBroker::start(Script { sync_takes, quick_syncs: 2, ..Script::default() });
        let flags = "--topic t --members 1 --change-every 50ms --heartbeat 5ms --duration 300ms";
        let (code, report) = broker.run("groups", flags).expect("the load begins");
        assert!(code == 1 && report.contains("the last rebalance did not end within "), "{report}");
    }

    #[test]
    fn a_coordinator_that_is_elsewhere_is_looked_up_again() {
        for moves in [
            vec![],
            vec![ApiKey::JoinGroup],
            vec![ApiKey::SyncGroup, ApiKey::Heartbeat],
            vec![ApiKey::JoinGroup, ApiKey::LeaveGroup],
        ] {
            let moved = moves.len() as u32;
            let broker = FakeBroker::start(Script { coordinator_moves: moves, ..Script::default() });
            let flags = "--topic t --members 1 --change-every 100ms --heartbeat 5ms --duration 300ms";
            let (code, report) = broker.run("groups", flags).expect("the load begins");
            assert!(code == 0 && report.contains("| rebalance p50, ms"), "{report}");
            let groups = &broker.seen().groups;
            assert!(groups.lookups > moved && groups.goodbyes >= 1, "{groups:?}");
        }
    }
}
