//! Made-up machines: what is said of each, and what a run does with it.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Parser;
use ottla_shards::tune::{Figure, Load, Measured, STEPS, Step};
use tempfile::TempDir;

use super::finding::{Finding, Level};
use super::kernel::Ring;
use super::root::Root;
use super::surroundings::Surroundings;
use super::*;

const LIMITS: &str = "Limit                     Soft Limit           Hard Limit           Units     \n\
    Max open files            1024                 1048576              files     \n\
    Max locked memory         unlimited            unlimited            bytes     \n";

/// A server with nothing to complain of: 4 cpus, ext4 on an NVMe disk whose cache is safe.
struct Machine {
    dir: TempDir,
    ring: Ring,
}

impl Machine {
    fn new() -> Machine {
        let ring = Ring::Works { missing: Vec::new(), deferred: true };
        let machine = Machine { dir: tempfile::tempdir().expect("it is there"), ring };
        for (path, text) in [
            ("proc/sys/kernel/osrelease", "6.12.4-generic\n"),
            ("proc/sys/kernel/io_uring_disabled", "0\n"),
            ("proc/self/limits", LIMITS),
            ("proc/self/status", "Name:\tottla\nSeccomp:\t0\nCpus_allowed_list:\t0-3\n"),
            ("proc/self/cgroup", "0::/system.slice/ottla.service\n"),
            ("proc/self/mountinfo", "27 1 259:2 / / rw,noatime - ext4 /dev/nvme0n1p2 rw\n"),
            ("proc/cpuinfo", "processor\t: 0\nflags\t\t: fpu sse4_2\n"),
            ("proc/meminfo", "MemTotal:       32768000 kB\nMemFree: 1 kB\n"),
            ("proc/loadavg", "0.20 0.10 0.10 1/99 4242\n"),
            ("proc/swaps", "Filename\tType\tSize\tUsed\tPriority\n"),
            ("proc/sys/vm/dirty_ratio", "20\n"),
            ("proc/sys/vm/dirty_background_ratio", "10\n"),
            ("proc/sys/net/core/somaxconn", "4096\n"),
            ("proc/sys/net/core/wmem_max", "4194304\n"),
            ("proc/sys/net/core/rmem_max", "4194304\n"),
            ("proc/sys/net/ipv4/tcp_slow_start_after_idle", "0\n"),
            ("sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never\n"),
            ("sys/devices/system/clocksource/clocksource0/current_clocksource", "tsc\n"),
            ("sys/devices/system/clocksource/clocksource0/available_clocksource", "tsc hpet acpi_pm\n"),
            ("sys/devices/system/cpu/online", "0-3\n"),
            ("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "performance\n"),
            ("sys/devices/system/cpu/cpu3/cpufreq/scaling_governor", "performance\n"),
            ("sys/devices/system/node/node0/cpulist", "0-3\n"),
            ("sys/fs/cgroup/cpu.max", "max 100000\n"),
            ("sys/devices/pci0/nvme0n1/queue/write_cache", "write through\n"),
            ("sys/devices/pci0/nvme0n1/queue/fua", "0\n"),
            ("sys/devices/pci0/nvme0n1/queue/scheduler", "[none] mq-deadline\n"),
            ("sys/devices/pci0/nvme0n1/queue/read_ahead_kb", "128\n"),
            ("sys/devices/pci0/nvme0n1/queue/rotational", "0\n"),
            ("sys/devices/pci0/nvme0n1/nvme0n1p2/partition", "2\n"),
        ] {
            machine.set(path, text);
        }
        std::fs::create_dir_all(machine.path("sys/dev/block")).expect("it is there");
        symlink("../../devices/pci0/nvme0n1/nvme0n1p2", machine.path("sys/dev/block/259:2"))
            .expect("it is there");
        machine
    }

    fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    fn set(&self, path: &str, text: &str) {
        std::fs::create_dir_all(self.path(path).parent().expect("it is there")).expect("it is there");
        std::fs::write(self.path(path), text).expect("it is there");
    }

    /// Everything that is said, with log dirs at `/srv/data`.
    fn findings(&self) -> Vec<Finding> {
        let root = Root::new(self.dir.path());
        let (at, shards) = (Surroundings::of(&root), Cpus::of(&root).shards());
        let mut findings = kernel::check(&root, at, &self.ring, shards);
        findings.extend(cpu::check(&root, at, Shards { count: shards, configured: false }));
        findings.extend(memory::check(&root, at, shards));
        findings.extend(network::check(&root, at, 102_400));
        findings.extend(disk::check(&root, at, Path::new("/srv/data")));
        findings
    }

    /// What is not fine.
    fn complaints(&self) -> Vec<Finding> {
        self.findings().into_iter().filter(|finding| finding.level != Level::Fine).collect()
    }

    /// The machine with one file changed: the one complaint about it.
    fn complaint(path: &str, text: &str) -> Finding {
        let machine = Machine::new();
        machine.set(path, text);
        let mut complaints = machine.complaints();
        assert_eq!(complaints.len(), 1, "{path}: {complaints:#?}");
        complaints.remove(0)
    }
}

fn assert_says(finding: &Finding, level: Level, parts: [&str; 2]) {
    assert_eq!(finding.level, level, "{finding:?}");
    let text = finding.text();
    assert!(parts.iter().all(|part| text.contains(part)), "{parts:?} in {text}");
}

#[test]
fn a_good_machine_is_fine_throughout() {
    let machine = Machine::new();
    assert_eq!(machine.complaints(), []);
    let names: Vec<String> = machine.findings().into_iter().map(|finding| finding.name).collect();
    for name in ["kernel", "io_uring", "memlock", "nofile", "clock source", "cpu governor", "NUMA", "swap"] {
        assert!(names.iter().any(|known| known == name), "{name} in {names:?}");
    }
    for name in ["transparent huge pages", "file system", "write cache", "I/O scheduler", "read-ahead"] {
        assert!(names.iter().any(|known| known == name), "{name} in {names:?}");
    }
}

const NVME: &str = "sys/devices/pci0/nvme0n1/queue";
const CLOCK: &str = "sys/devices/system/clocksource/clocksource0/current_clocksource";
const GOVERNOR: &str = "sys/devices/system/cpu/cpu3/cpufreq/scaling_governor";
const NODE: &str = "sys/devices/system/node/node1/cpulist";
const QUOTA: &str = "sys/fs/cgroup/system.slice/cpu.max";
const MEMORY: &str = "sys/fs/cgroup/system.slice/ottla.service/memory.max";
const HUGE_PAGES: &str = "sys/kernel/mm/transparent_hugepage/enabled";
const IO_URING: &str = "proc/sys/kernel/io_uring_disabled";

/// A file of a good machine, another text for it, and what is said then.
type Case<'a> = (&'a str, &'a str, Level, [&'a str; 2]);

fn assert_cases(cases: &[Case<'_>]) {
    for (path, text, level, parts) in cases {
        assert_says(&Machine::complaint(path, text), *level, *parts);
    }
}

#[test]
fn kernel_and_limits_that_could_be_better_have_their_commands() {
    use Level::{Better, Problem};
    let no_lock = |bytes: &str| LIMITS.replace("unlimited            bytes", &format!("{bytes} bytes"));
    let files = |count: &str| LIMITS.replace("1048576", count);
    assert_cases(&[
        ("proc/sys/kernel/osrelease", "5.15.0-91", Better, ["Linux 5.15", "6.1 or later"]),
        ("proc/sys/kernel/osrelease", "5.4.0", Problem, ["Linux 5.4", "6.1 or later"]),
        (IO_URING, "1", Better, ["io_uring", "sysctl -w kernel.io_uring_disabled=0"]),
        (CLOCK, "hpet", Better, ["hpet", "echo tsc > /sys/devices/system/clocksource"]),
        ("proc/self/limits", &files("20000"), Better, ["20000", "LimitNOFILE=1048576"]),
        ("proc/self/limits", &files("1024"), Problem, ["1024", "LimitNOFILE=1048576"]),
        ("proc/self/limits", &no_lock("65536"), Problem, ["64 KiB", "ulimit -l"]),
        ("proc/self/limits", &no_lock("1048576"), Better, ["4 shards", "LimitMEMLOCK"]),
    ]);
}

#[test]
fn processors_memory_and_network_that_could_be_better_have_their_commands() {
    use Level::Better;
    let swap = "Filename\n/swapfile file 1 0 -2\n";
    assert_cases(&[
        (GOVERNOR, "powersave", Better, ["powersave", "-g performance"]),
        (NODE, "2-3", Better, ["2 nodes", "numactl --cpunodebind=0 --membind=0"]),
        (QUOTA, "150000 100000", Better, ["1.50 cores", "shards=1"]),
        ("proc/loadavg", "3.10 1.0 1.0 4/100 99", Better, ["3.1 of 4", "others"]),
        (MEMORY, "268435456", Better, ["256 MiB, by the control", "ottla.tail.cache.bytes"]),
        ("proc/swaps", swap, Better, ["/swapfile", "sysctl -w vm.swappiness=1"]),
        (HUGE_PAGES, "always madvise [never]", Better, ["page by page", "echo madvise > /sys"]),
        (HUGE_PAGES, "[always] madvise never", Better, ["6.18", "echo madvise > /sys"]),
        ("proc/sys/net/core/somaxconn", "128", Better, ["128", "sysctl -w net.core.somaxconn=4096"]),
        ("proc/sys/net/core/wmem_max", "65536", Better, ["100 KiB", "net.core.wmem_max=102400"]),
        ("proc/sys/net/ipv4/tcp_slow_start_after_idle", "1", Better, ["idle", "tcp_slow_start_after_idle=0"]),
    ]);
}

#[test]
fn a_disk_s_queue_that_could_be_better_has_its_command() {
    use Level::Better;
    let queue = |setting: &str| format!("{NVME}/{setting}");
    assert_cases(&[
        (
            &queue("scheduler"),
            "none [mq-deadline]",
            Better,
            ["mq-deadline", "echo none > /sys/block/nvme0n1/"],
        ),
        (
            &queue("read_ahead_kb"),
            "16384",
            Better,
            ["16384 KiB", "echo 128 > /sys/block/nvme0n1/queue/read_"],
        ),
        (
            &queue("write_cache"),
            "write back",
            Better,
            ["a write and a flush", "protection: echo \"write through\""],
        ),
        (&queue("rotational"), "1", Better, ["rotates", "linger.ms"]),
    ]);
}

#[test]
fn mounts_and_file_systems_are_told_apart() {
    use Level::{Better, Fine, Problem};
    let on = |kind_and_source: &str, options: &str| {
        format!("27 1 259:2 / / rw,relatime - {kind_and_source} rw{options}\n")
    };
    for (mounts, level, parts) in [
        (on("tmpfs tmpfs", ""), Problem, ["memory", "log.dirs"]),
        (on("nfs4 server:/x", ""), Problem, ["network", "log.dirs"]),
        (on("btrfs /dev/nvme0n1p2", ""), Better, ["copy on write", "ext4 or xfs"]),
        (on("fuse.sshfs host:/", ""), Better, ["another program", "ext4 or xfs"]),
        (on("ext4 /dev/nvme0n1p2", ",data=journal"), Problem, ["data=journal", "/etc/fstab for /"]),
        (on("ext4 /dev/nvme0n1p2", ",discard"), Better, ["discard", "mount -o remount,nodiscard /"]),
        (on("ext4 /dev/nvme0n1p2", ",sync"), Better, ["syncs everything", "mount -o remount,async /"]),
        ("27 1 259:2 / / rw - ext4 /dev/nvme0n1p2 rw\n".to_owned(), Better, ["atime", "remount,noatime"]),
    ] {
        assert_says(&Machine::complaint("proc/self/mountinfo", &mounts), level, parts);
    }
    let machine = Machine::new();
    machine.set("proc/self/mountinfo", &on("ext4 /dev/nvme0n1p2", ",nobarrier"));
    assert_eq!(machine.complaints(), [], "this disk's cache is safe");
    machine.set("sys/devices/pci0/nvme0n1/queue/write_cache", "write back");
    machine.set("sys/devices/pci0/nvme0n1/queue/fua", "1");
    assert_says(&machine.complaints()[0], Problem, ["power cut", "mount -o remount,barrier /"]);
    let cache =
        machine.findings().into_iter().find(|finding| finding.name == "write cache").expect("it is there");
    assert_says(&cache, Fine, ["with FUA", "one write"]);
    // Another mount below, over the first, decides for the path.
    let below = "30 27 0:50 / /srv rw,noatime - tmpfs none rw\n";
    machine.set("proc/self/mountinfo", &(on("ext4 /dev/nvme0n1p2", "") + below));
    assert_says(&machine.complaints()[0], Problem, ["tmpfs on none", "memory"]);
}

#[test]
fn commands_say_where_they_are_to_be_run() {
    let machine = Machine::new();
    machine.set(".dockerenv", "");
    machine.set("proc/sys/net/core/somaxconn", "128");
    assert_says(&machine.complaints()[0], Level::Better, ["128", "on the host: sysctl -w"]);
    machine.set("proc/cpuinfo", "flags\t\t: fpu hypervisor\n");
    machine.set("proc/sys/net/core/somaxconn", "4096");
    machine.set("sys/devices/pci0/nvme0n1/queue/write_cache", "write back");
    assert_says(
        &machine.complaints()[0],
        Level::Better,
        ["flush", "the hypervisor's: nothing that is set in here"],
    );
    assert_eq!(Surroundings::of(&Root::new(machine.dir.path())).text(), "a container in a virtual machine");
}

#[test]
fn a_refused_ring_is_a_problem_with_the_cause_that_is_known() {
    let mut machine = Machine::new();
    machine.ring = Ring::Refused("io_uring is refused".into());
    machine.set("proc/sys/kernel/io_uring_disabled", "2");
    assert_says(
        &machine.complaints()[0],
        Level::Problem,
        ["refused", "sysctl -w kernel.io_uring_disabled=0"],
    );
    machine.set("proc/sys/kernel/io_uring_disabled", "0");
    machine.set("run/.containerenv", "");
    assert_says(&machine.complaints()[0], Level::Problem, ["refused", "seccomp=unconfined"]);
    machine.ring = Ring::Works { missing: vec!["IORING_OP_FALLOCATE".into()], deferred: true };
    assert_says(&machine.complaints()[0], Level::Problem, ["IORING_OP_FALLOCATE", "6.1 or later"]);
    machine.ring = Ring::Works { missing: Vec::new(), deferred: false };
    assert_says(&machine.complaints()[0], Level::Better, ["interrupts", "6.1 or later"]);
}

#[test]
fn the_first_version_of_control_groups_is_read_too() {
    let machine = Machine::new();
    machine.set("proc/self/cgroup", "5:memory:/box\n4:cpu,cpuacct:/box\n0::/\n");
    machine.set("sys/fs/cgroup/cpu/box/cpu.cfs_quota_us", "50000");
    machine.set("sys/fs/cgroup/cpu/box/cpu.cfs_period_us", "100000");
    machine.set("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712");
    machine.set("sys/fs/cgroup/memory/box/memory.limit_in_bytes", "8589934592");
    let root = Root::new(machine.dir.path());
    assert_eq!(Cpus::of(&root), Cpus { allowed: 4, quota: Some(0.5) });
    assert_eq!(Cpus::of(&root).shards(), 1);
    assert_eq!(memory::limit(&root), Some(8 << 30));
    machine.set("sys/fs/cgroup/cpu/box/cpu.cfs_quota_us", "-1");
    assert_eq!(Cpus::of(&root).quota, None);
}

#[test]
fn an_empty_tree_is_told_of_and_no_panic() {
    let machine =
        Machine { dir: tempfile::tempdir().expect("it is there"), ring: Ring::Refused("no".into()) };
    let complaints = machine.complaints();
    assert!(complaints.iter().any(|finding| finding.found == "Linux unknown"), "{complaints:#?}");
    assert!(complaints.iter().all(|finding| !finding.why.is_empty()), "{complaints:#?}");
}

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    args: TuneArgs,
}

/// What a disk that syncs in `p50` came to.
fn measured(p50: Duration) -> Vec<Measured> {
    let figure = |step: Step| {
        let (Step::InPlace(load) | Step::Append(load) | Step::Read(load)) = step;
        let load: Load = load;
        Figure { load, operations: 100, elapsed: Duration::from_secs(1), p50, p99: p50 * 2 }
    };
    STEPS.into_iter().map(|step| Measured { step, figure: figure(step) }).collect()
}

/// Runs with these words on the command line and a disk that syncs in `p50`: the code, and what was printed.
fn run_with(machine: &Machine, words: &[&str], p50: Duration) -> (Result<u8, TuneError>, String) {
    let args = Cli::parse_from(["tune"].iter().chain(words)).args;
    let measure = move |_: &Path, _: Duration| Ok(measured(p50));
    let root = Root::new(machine.dir.path());
    let mut out = Vec::new();
    let code = Tuner { args: &args, root, ring: machine.ring.clone(), measure: &measure }.run(&mut out);
    (code, String::from_utf8(out).expect("it is there"))
}

#[test]
fn a_run_prints_measures_and_writes_what_the_broker_accepts() {
    let (machine, data) = (Machine::new(), tempfile::tempdir().expect("it is there"));
    let output = data.path().join("found.properties");
    let words = [
        "--output",
        output.to_str().expect("it is there"),
        "--log-dirs",
        data.path().to_str().expect("it is there"),
    ];
    let (code, text) = run_with(&machine, &words, Duration::from_micros(90));
    assert_eq!(code.expect("it is there"), 0, "{text}");
    for part in ["✓ io_uring", "✓ durable write: p50 90 µs", "| direct read", "Written to", "0 problems."]
    {
        assert!(text.contains(part), "{part} in {text}");
    }
    let written = std::fs::read_to_string(&output).expect("it is there");
    assert!(written.contains("log.cleaner.io.max.bytes.per.second=26214400\n"), "{written}");
    let (code, _) = run_with(&machine, &words, Duration::from_micros(90));
    assert!(matches!(code, Err(TuneError::OutputExists(_))), "it is not overwritten unasked");
    let (code, text) = run_with(&machine, &[&words[..], &["--force"]].concat(), Duration::from_millis(30));
    assert_eq!(code.expect("it is there"), 1, "such a disk is a problem");
    assert!(text.contains("✗ durable write: p50 30 ms") && text.contains("1 problem."), "{text}");
}

#[test]
fn a_directory_that_does_not_exist_is_no_silent_guess() {
    let (machine, data) = (Machine::new(), tempfile::tempdir().expect("it is there"));
    let place = data.path().canonicalize().expect("it is there");
    let (output, missing) = (place.join("found.properties"), place.join("not/yet"));
    let words =
        ["--output", output.to_str().expect("it is there"), "--log-dirs", missing.to_str().expect("text")];
    let (code, text) = run_with(&machine, &words, Duration::from_micros(90));
    assert_eq!(code.expect("it is there"), 0, "{text}");
    let (place, missing) = (place.display(), missing.display());
    let line = format!(
        "! log directory: {missing} does not exist (looked at {place} instead, which may be another disk)\n    \
         mkdir -p {missing}\n"
    );
    assert!(text.contains(&line), "{text}");
    let guess = format!("for {missing} does not exist: {place} was measured instead");
    assert!(text.contains(&format!("\n  a guess, {guess}\n")), "{text}");
    let written = std::fs::read_to_string(&output).expect("it is there");
    assert!(written.contains(&format!("\n# A guess, {guess}.\n")), "{written}");
}

#[test]
fn an_output_that_cannot_be_written_is_told_before_the_disks_are_measured() {
    let (machine, data) = (Machine::new(), tempfile::tempdir().expect("it is there"));
    let output = data.path().join("nowhere/found.properties");
    let (code, text) =
        run_with(&machine, &["--output", output.to_str().expect("it is there")], Duration::ZERO);
    let line = code.expect_err("there is no such directory").to_string();
    assert_eq!(line, format!("--output {}: No such file or directory (os error 2)", output.display()));
    assert_eq!(text, "", "nothing was looked at");
}

#[test]
fn looking_alone_writes_nothing_and_json_is_json() {
    let (machine, data) = (Machine::new(), tempfile::tempdir().expect("it is there"));
    let output = data.path().join("found.properties");
    let config = data.path().join("server.properties");
    std::fs::write(&config, format!("node.id=1\nlog.dirs={}/not/yet\n", data.path().display()))
        .expect("it is there");
    let words = [
        "--config",
        config.to_str().expect("it is there"),
        "--output",
        output.to_str().expect("it is there"),
        "--json",
    ];
    let (code, text) = run_with(&machine, &[&words[..], &["--no-measure"]].concat(), Duration::ZERO);
    assert_eq!(code.expect("it is there"), 0, "{text}");
    assert!(!output.exists());
    let report: serde_json::Value = serde_json::from_str(&text).expect("it is there");
    assert_eq!(report["disks"], serde_json::json!([]));
    let parts = report["findings"]
        .as_array()
        .expect("it is there")
        .iter()
        .map(|finding| finding["part"].as_str().expect("it is there"));
    let dir = data.path().canonicalize().expect("it is there");
    assert!(
        parts.clone().any(|part| Path::new(part) == dir),
        "a directory to come is judged by the one above"
    );
    let (code, text) = run_with(&machine, &words, Duration::from_micros(500));
    assert_eq!(code.expect("it is there"), 0, "{text}");
    let report: serde_json::Value = serde_json::from_str(&text).expect("it is there");
    assert_eq!(report["disks"][0]["measured"].as_array().expect("it is there").len(), STEPS.len());
    assert_eq!(report["output"], output.to_str().expect("it is there"));
    let last = report["findings"].as_array().expect("it is there").last().expect("it is there");
    assert_eq!((&last["name"], &last["level"]), (&"durable write".into(), &"could be better".into()));
}

#[test]
fn shards_that_the_configuration_names_are_those_that_a_limit_is_held_against() {
    let (machine, data) = (Machine::new(), tempfile::tempdir().expect("it is there"));
    machine.set(QUOTA, "250000 100000");
    let config = data.path().join("server.properties");
    let said = |shards: &str| {
        let text = format!("node.id=1\nlog.dirs={}\n{shards}\n", data.path().display());
        std::fs::write(&config, text).expect("it is there");
        let words = ["--config", config.to_str().expect("it is there"), "--no-measure"];
        run_with(&machine, &words, Duration::ZERO).1
    };
    assert!(said("").contains("4 shards would be stopped in the middle"));
    let (two, three) = (said("shards=2"), said("cpus=0-2"));
    assert!(
        !two.contains("would be stopped") && two.contains("the configuration asks for 2 shards"),
        "{two}"
    );
    assert!(three.contains("3 shards would be stopped in the middle"), "{three}");
}

#[test]
fn a_ring_that_is_refused_is_told_and_not_measured() {
    let (mut machine, data) = (Machine::new(), tempfile::tempdir().expect("it is there"));
    machine.ring = Ring::Refused("io_uring is refused".into());
    let output = data.path().join("found.properties");
    let (code, text) =
        run_with(&machine, &["--output", output.to_str().expect("it is there")], Duration::ZERO);
    assert_eq!(code.expect("it is there"), 1);
    assert!(text.contains("✗ io_uring: refused") && !text.contains("direct read"), "{text}");
    assert!(!output.exists());
}

#[test]
fn the_bar_s_template_is_one() {
    let outcome = measure_with_bar(Path::new("no-such-directory"), Duration::ZERO);
    assert!(outcome.is_err(), "there is nothing to measure, and the bar was made");
}
