//! Memory: how much there is, swap, huge pages, and the page cache's dirty pages.

use super::cpu;
use super::finding::Finding;
use super::root::{Root, bytes, chosen};
use super::surroundings::Surroundings;

/// What a broker may take for itself at most with the defaults, in bytes: tuning.md has the sum.
#[must_use]
pub fn wanted(shards: u64) -> u64 {
    const MIB: u64 = 1 << 20;
    // Newest blocks, unwritten ones, requests, replies, fetch sessions, index entries, old records on their way, free
    // buffers.
    let each = (32 + 64 + 128 + 128 + 24 + 16 + 16 + 50) * MIB;
    // The cleaner's keys, and everything that does not grow with load.
    let once = (128 + 64) * MIB;
    shards.saturating_mul(each).saturating_add(once)
}

/// The tightest limit of memory on the way up, in bytes; none for no limit.
#[must_use]
pub fn limit(root: &Root) -> Option<u64> {
    let of_group = |folder: String| {
        let text = root.text(&format!("{folder}/memory.max"));
        let text = text.or_else(|| root.text(&format!("{folder}/memory.limit_in_bytes")))?;
        // The first version of control groups says "no limit" with a number near 2^63.
        text.parse::<u64>().ok().filter(|limit| *limit < 1 << 60)
    };
    cpu::groups(root, "memory").into_iter().filter_map(of_group).min()
}

/// The machine's memory, in bytes.
#[must_use]
pub fn total(root: &Root) -> Option<u64> {
    let text = root.text("/proc/meminfo")?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}

/// All of them. `shards`: as many as will run.
#[must_use]
pub fn check(root: &Root, at: Surroundings, shards: u64) -> Vec<Finding> {
    let mut findings = vec![room(root, shards)];
    findings.push(swap(root, at));
    findings.extend(huge_pages(root));
    findings.extend(dirty(root));
    findings
}

fn room(root: &Root, shards: u64) -> Finding {
    let (limit, total) = (limit(root), total(root));
    let available = limit.into_iter().chain(total).min();
    let Some(available) = available else {
        return Finding::better("memory", "unknown", "neither a limit nor the total can be read");
    };
    let by = if limit == Some(available) { ", by the control group" } else { "" };
    let (found, wanted) = (format!("{}{by}", bytes(available)), wanted(shards));
    let may = format!("{shards} shards take up to {} under the heaviest load", bytes(wanted));
    if available < wanted {
        Finding::better("memory", found, may)
            .mend("run fewer shards, or lower ottla.tail.cache.bytes and log.cleaner.dedupe.buffer.size")
    } else {
        Finding::fine("memory", found).because(format!("{may}; the page cache has the rest"))
    }
}

fn swap(root: &Root, at: Surroundings) -> Finding {
    let swaps = root.text("/proc/swaps").unwrap_or_default();
    let areas: Vec<&str> = swaps.lines().skip(1).filter_map(|line| line.split_whitespace().next()).collect();
    if areas.is_empty() {
        return Finding::fine("swap", "none");
    }
    let swappiness = root.number("/proc/sys/vm/swappiness").unwrap_or(60);
    let found = format!("{}, vm.swappiness {swappiness}", areas.join(", "));
    if swappiness <= 1 {
        return Finding::fine("swap", found);
    }
    Finding::better("swap", found, "an idle partition's memory comes back one page fault at a time")
        .mend(at.on_kernel("sysctl -w vm.swappiness=1"))
}

/// The disk's buffers ask for them; anything else of the broker does better without.
fn huge_pages(root: &Root) -> Option<Finding> {
    const NAME: &str = "transparent huge pages";
    const MEND: &str = "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled";
    let text = root.text("/sys/kernel/mm/transparent_hugepage/enabled")?;
    let found = chosen(&text);
    let loses = match found {
        "madvise" => {
            return Some(
                Finding::fine(NAME, found).because("the disk's buffers get them, nothing else does"),
            );
        }
        "always" => "before Linux 6.18 the broker refuses them all: they would fill its idle memory",
        _ => "a disk takes large reads and writes page by page: more requests, less throughput",
    };
    Some(Finding::better(NAME, found, loses).mend(MEND))
}

/// Segments are written past the page cache; what is left are indexes and checkpoints.
fn dirty(root: &Root) -> Option<Finding> {
    let read = |name: &str| root.number(&format!("/proc/sys/vm/{name}"));
    let (ratio, background) = (read("dirty_ratio")?, read("dirty_background_ratio")?);
    let found = format!("vm.dirty_ratio {ratio}, vm.dirty_background_ratio {background}");
    Some(
        Finding::fine("dirty pages", found)
            .because("segments are written past the page cache: only other programs' matter"),
    )
}
