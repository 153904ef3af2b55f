//! The kernel: its version, io_uring, the process's limits, the clock.

use super::finding::Finding;
use super::root::Root;
use super::surroundings::Surroundings;

/// Descriptors below which a broker with many partitions reopens files.
const DESCRIPTORS_WANTED: u64 = 100_000;
/// Below this a few hundred connections are too many.
const DESCRIPTORS_MIN: u64 = 4_096;
/// Locked memory of one executor's rings, roughly, in bytes: 512 KiB and some more for each shard.
const MEMLOCK_BYTES_PER_SHARD: u64 = 512 << 10;

/// What the system itself says of io_uring, for whatever asks it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ring {
    /// A ring was made. The operations that are missing, and whether completions can be deferred.
    Works {
        /// Operations that a broker needs and this kernel lacks.
        missing: Vec<String>,
        /// The cheapest kind of ring, since Linux 6.1.
        deferred: bool,
    },
    /// None was; why, in one line that says what to do.
    Refused(String),
}

/// All of them. `shards`: as many as will run.
#[must_use]
pub fn check(root: &Root, at: Surroundings, ring: &Ring, shards: u64) -> Vec<Finding> {
    let mut findings = vec![version(root), io_uring(root, at, ring)];
    findings.extend(seccomp(root));
    let limits = root.text("/proc/self/limits").unwrap_or_default();
    findings.push(memory_lock(&limits, shards));
    findings.push(descriptors(&limits));
    findings.extend(clock(root, at));
    findings
}

/// `6.18` as (6, 18).
fn version_of(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

fn version(root: &Root) -> Finding {
    let text = root.text("/proc/sys/kernel/osrelease").unwrap_or_else(|| "unknown".to_owned());
    let found = format!("Linux {text}");
    match version_of(&text) {
        Some(version) if version >= (6, 1) => Finding::fine("kernel", found),
        Some(version) if version >= (5, 11) => {
            Finding::better("kernel", found, "6.1 and later complete I/O without interrupting the shard")
                .mend("install a kernel of 6.1 or later")
        }
        Some(_) => Finding::problem("kernel", found, "5.11 is the oldest that works")
            .mend("install a kernel of 6.1 or later"),
        None => Finding::better("kernel", found, "the version cannot be read"),
    }
}

fn io_uring(root: &Root, at: Surroundings, ring: &Ring) -> Finding {
    let setting = root.number("/proc/sys/kernel/io_uring_disabled");
    match ring {
        Ring::Refused(why) => {
            let finding = Finding::problem("io_uring", "refused", why.clone());
            match setting {
                Some(1..) => finding.mend(at.on_kernel("sysctl -w kernel.io_uring_disabled=0")),
                Some(0) | None if at.container => finding.mend(
                    "docker run --security-opt seccomp=unconfined … (or a profile that allows io_uring_*)",
                ),
                Some(0) | None => finding,
            }
        }
        Ring::Works { missing, .. } if !missing.is_empty() => {
            Finding::problem("io_uring", format!("without {}", missing.join(", ")), "the broker needs them")
                .mend("install a kernel of 6.1 or later")
        }
        Ring::Works { deferred: false, .. } => {
            Finding::better("io_uring", "works, with interrupts", "deferred completions came with Linux 6.1")
                .mend("install a kernel of 6.1 or later")
        }
        Ring::Works { .. } if setting == Some(1) => Finding::better(
            "io_uring",
            "works for this user alone",
            "kernel.io_uring_disabled is 1: others are refused",
        )
        .mend(at.on_kernel("sysctl -w kernel.io_uring_disabled=0")),
        Ring::Works { .. } => Finding::fine("io_uring", "allowed, with every operation that is needed"),
    }
}

/// A filter costs a little at each system call, and is worth a line only where there is one.
fn seccomp(root: &Root) -> Option<Finding> {
    let status = root.text("/proc/self/status")?;
    let mode = status.lines().find_map(|line| line.strip_prefix("Seccomp:"))?.trim();
    (mode == "2").then(|| {
        Finding::fine("seccomp", "a filter is in place")
            .because("it lets io_uring through, or the line above says so")
    })
}

/// The hard limit in a line of `/proc/self/limits`; `None` where there is none, and `u64::MAX` for no limit.
fn hard_limit(limits: &str, name: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix(name))?;
    match line.split_whitespace().nth(1)? {
        "unlimited" => Some(u64::MAX),
        number => number.parse().ok(),
    }
}

fn limit_text(limit: u64) -> String {
    if limit == u64::MAX { "no limit".to_owned() } else { limit.to_string() }
}

fn memory_lock(limits: &str, shards: u64) -> Finding {
    let Some(limit) = hard_limit(limits, "Max locked memory") else {
        return Finding::better("memlock", "unknown", "the limit cannot be read");
    };
    let (name, found) =
        ("memlock", if limit == u64::MAX { limit_text(limit) } else { super::root::bytes(limit) });
    let wanted = MEMLOCK_BYTES_PER_SHARD.saturating_mul(shards.max(1));
    let command = "ulimit -l unlimited (systemd: LimitMEMLOCK=infinity; docker: --ulimit memlock=-1)";
    if limit < MEMLOCK_BYTES_PER_SHARD {
        Finding::problem(name, found, "the rings are locked memory: no shard starts").mend(command)
    } else if limit < wanted {
        Finding::better(name, found, format!("the rings of {shards} shards may not fit")).mend(command)
    } else {
        Finding::fine(name, found)
    }
}

fn descriptors(limits: &str) -> Finding {
    let Some(limit) = hard_limit(limits, "Max open files") else {
        return Finding::better("nofile", "unknown", "the limit cannot be read");
    };
    let (name, found) = ("nofile", limit_text(limit));
    let command = "ulimit -Hn 1048576 (systemd: LimitNOFILE=1048576; docker: --ulimit nofile=1048576)";
    match limit {
        0..DESCRIPTORS_MIN => {
            Finding::problem(name, found, "connections and segment files share them").mend(command)
        }
        DESCRIPTORS_MIN..DESCRIPTORS_WANTED => {
            let why = format!("half for connections, half for segment files: {} files stay open", limit / 2);
            Finding::better(name, found, why).mend(command)
        }
        _ => Finding::fine(name, found),
    }
}

fn clock(root: &Root, at: Surroundings) -> Option<Finding> {
    const FOLDER: &str = "/sys/devices/system/clocksource/clocksource0";
    let current = root.text(&format!("{FOLDER}/current_clocksource"))?;
    let (name, why) = ("clock source", "the broker reads the clock several times a request");
    if !matches!(current.as_str(), "hpet" | "acpi_pm" | "jiffies" | "refined-jiffies" | "xen") {
        return Some(Finding::fine(name, current).because("read without a system call"));
    }
    let available = root.text(&format!("{FOLDER}/available_clocksource")).unwrap_or_default();
    let finding =
        Finding::better(name, current, format!("{why}, and this one is a system call or a slow device"));
    let better = ["tsc", "kvm-clock", "hyperv_clocksource_tsc_page", "arch_sys_counter"];
    let best = available.split_whitespace().find(|name| better.contains(name));
    Some(match best {
        Some(best) => finding.mend(at.on_kernel(&format!("echo {best} > {FOLDER}/current_clocksource"))),
        None => finding.mend("the kernel offers no better one: look for why tsc is unstable in dmesg"),
    })
}
