//! Processors: which of them the process may use, how fast they are allowed to be, and how memory hangs on them.

use ottla::config::BrokerConfig;

use super::finding::Finding;
use super::root::Root;
use super::surroundings::Surroundings;

/// What the process may use of the processors.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cpus {
    /// In its cpuset and affinity.
    pub allowed: u64,
    /// Cores' worth of time that its control group grants; none for no limit.
    pub quota: Option<f64>,
}

impl Cpus {
    /// Shards that run well: one per core, and no more than there is time for.
    #[must_use]
    pub fn shards(&self) -> u64 {
        let by_quota = self.quota.map_or(u64::MAX, |cores| cores.floor().max(1.0) as u64);
        self.allowed.clamp(1, by_quota.max(1))
    }

    /// Reads both.
    #[must_use]
    pub fn of(root: &Root) -> Cpus {
        let status = root.text("/proc/self/status").unwrap_or_default();
        let list =
            status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap_or_default();
        Cpus { allowed: count(list.trim()).max(1), quota: quota(root) }
    }
}

/// How many shards the broker runs or is to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shards {
    /// So many.
    pub count: u64,
    /// The configuration says it, by `shards` or by `cpus`.
    pub configured: bool,
}

impl Shards {
    /// As the broker counts them: `shards`, or one for each of `cpus`; where neither is said, as many as run well.
    #[must_use]
    pub fn of(config: &BrokerConfig, cpus: Cpus) -> Shards {
        let runtime = &config.runtime;
        let named = Some(runtime.cpus.len() as u64).filter(|named| *named > 0);
        let said = runtime.shards.map(u64::from).or(named);
        Shards { count: said.unwrap_or_else(|| cpus.shards()), configured: said.is_some() }
    }
}

/// Numbers in a list such as `0-3,6`.
fn count(list: &str) -> u64 {
    numbers(list).len() as u64
}

fn numbers(list: &str) -> Vec<u64> {
    let run = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.trim().parse::<u64>().ok()?..=last.trim().parse::<u64>().ok()?)
    };
    list.split(',').filter_map(run).flatten().collect()
}

/// The directories of the process's control group and of those above it, in the hierarchy of `controller` or in the
/// unified one.
pub(super) fn groups(root: &Root, controller: &str) -> Vec<String> {
    let own = root.text("/proc/self/cgroup").unwrap_or_default();
    let path_of = |wanted: &str| {
        own.lines().find_map(|line| {
            let mut parts = line.splitn(3, ':').skip(1);
            let (controllers, path) = (parts.next()?, parts.next()?);
            controllers.split(',').any(|name| name == wanted).then(|| path.to_owned())
        })
    };
    let (base, path) = match path_of(controller) {
        Some(path) => (format!("/sys/fs/cgroup/{controller}"), path),
        None => ("/sys/fs/cgroup".to_owned(), path_of("").unwrap_or_default()),
    };
    // In a container the path may be the host's and the files stand at the top.
    let mut folders = vec![base.clone()];
    let mut folder = base;
    for part in path.split('/').filter(|part| !part.is_empty() && *part != "..") {
        folder = format!("{folder}/{part}");
        folders.push(folder.clone());
    }
    folders
}

/// The tightest limit of time on the way up, in cores.
fn quota(root: &Root) -> Option<f64> {
    let of_group = |folder: String| {
        let (quota, period) = match root.text(&format!("{folder}/cpu.max")) {
            Some(text) => {
                let (quota, period) = text.split_once(' ')?;
                (quota.parse::<f64>().ok()?, period.parse::<f64>().ok()?)
            }
            None => {
                let read =
                    |name: &str| root.text(&format!("{folder}/cpu.cfs_{name}_us"))?.parse::<f64>().ok();
                (read("quota")?, read("period")?)
            }
        };
        (quota > 0.0 && period > 0.0).then(|| quota / period)
    };
    groups(root, "cpu").into_iter().filter_map(of_group).min_by(f64::total_cmp)
}

/// All of them, for a broker with these shards.
#[must_use]
pub fn check(root: &Root, at: Surroundings, shards: Shards) -> Vec<Finding> {
    let cpus = Cpus::of(root);
    let mut findings = vec![allowed(root, cpus, shards)];
    findings.extend(limit(cpus, shards));
    findings.extend(governor(root, at));
    findings.push(nodes(root, cpus));
    findings.extend(load(root, cpus));
    findings
}

fn allowed(root: &Root, cpus: Cpus, shards: Shards) -> Finding {
    let online = count(&root.text("/sys/devices/system/cpu/online").unwrap_or_default()).max(cpus.allowed);
    let found = format!("{} of {online}", cpus.allowed);
    let finding = Finding::fine("cpus", found);
    if cpus.allowed < online {
        finding.because("a cpuset or taskset keeps the process on them, and each shard on one")
    } else if shards.configured && shards.count != cpus.allowed {
        finding.because(format!("the configuration asks for {} shards", shards.count))
    } else {
        finding.because("one shard is pinned to each")
    }
}

/// What others do meanwhile: a shard whose core is busy waits for the kernel's tick to be woken.
fn load(root: &Root, cpus: Cpus) -> Option<Finding> {
    let text = root.text("/proc/loadavg")?;
    let load: f64 = text.split_whitespace().next()?.parse().ok()?;
    let (name, found) = ("load", format!("{load:.1} of {} cpus", cpus.allowed));
    if load <= cpus.allowed as f64 / 2.0 {
        return Some(Finding::fine(name, found));
    }
    let why = "others run on these cpus: what is measured now is theirs, too, and a shard waits to be woken";
    Some(
        Finding::better(name, found, why)
            .mend("top; then taskset or a cpuset to keep others off the shards' cpus"),
    )
}

fn limit(cpus: Cpus, shards: Shards) -> Option<Finding> {
    let quota = cpus.quota?;
    // A broker that is told nothing runs one on each.
    let run = if shards.configured { shards.count } else { cpus.allowed };
    let found = format!("{quota:.2} cores' worth of time");
    if quota >= run as f64 {
        return Some(Finding::fine("cpu limit", found));
    }
    let why = format!("{run} shards would be stopped in the middle of their work");
    let mend = format!("shards={} in server.properties; better a cpuset than a limit of time", cpus.shards());
    Some(Finding::better("cpu limit", found, why).mend(mend))
}

fn governor(root: &Root, at: Surroundings) -> Option<Finding> {
    const FOLDER: &str = "/sys/devices/system/cpu";
    let names = root.names(FOLDER);
    let cpus = names
        .iter()
        .filter(|name| name.strip_prefix("cpu").is_some_and(|number| number.parse::<u32>().is_ok()));
    let governors = cpus.filter_map(|cpu| root.text(&format!("{FOLDER}/{cpu}/cpufreq/scaling_governor")));
    let mut kinds: Vec<String> = governors.collect();
    kinds.sort();
    kinds.dedup();
    if kinds.is_empty() {
        return at.virtual_machine.then(|| {
            Finding::fine("cpu governor", "the hypervisor's")
                .because("a guest is not told, and cannot change it")
        });
    }
    let found = kinds.join(", ");
    if kinds == ["performance"] {
        return Some(Finding::fine("cpu governor", found));
    }
    let why = "a core that has slept is slow for the first requests";
    Some(
        Finding::better("cpu governor", found, why)
            .mend(at.on_kernel("cpupower frequency-set -g performance")),
    )
}

fn nodes(root: &Root, cpus: Cpus) -> Finding {
    const FOLDER: &str = "/sys/devices/system/node";
    let names = root.names(FOLDER);
    let nodes: Vec<&String> = names
        .iter()
        .filter(|name| name.strip_prefix("node").is_some_and(|number| number.parse::<u32>().is_ok()))
        .collect();
    let status = root.text("/proc/self/status").unwrap_or_default();
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap_or_default();
    let allowed = numbers(list.trim());
    let used: Vec<(&str, String)> = nodes
        .iter()
        .filter_map(|node| Some((node.as_str(), root.text(&format!("{FOLDER}/{node}/cpulist"))?)))
        .filter(|(_, list)| numbers(list).iter().any(|cpu| allowed.contains(cpu)))
        .collect();
    match used.as_slice() {
        [] | [_] => Finding::fine("NUMA", format!("the {} cpus share one node", cpus.allowed)),
        [(first, list), ..] => {
            let number = first.trim_start_matches("node");
            let found = format!("{} nodes", used.len());
            Finding::better("NUMA", found, "half of what shards send each other crosses the sockets").mend(format!(
                "one broker per node: numactl --cpunodebind={number} --membind={number} ottla start … (or cpus={list})"
            ))
        }
    }
}
