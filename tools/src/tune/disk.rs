//! A log directory's file system, its mount and the disk below it.

use std::path::Path;

use super::finding::Finding;
use super::mounts::{self, Disk, Mount};
use super::root::{Root, chosen};
use super::surroundings::Surroundings;

/// All that can be told without writing. `dir`: absolute and without links.
#[must_use]
pub fn check(root: &Root, at: Surroundings, dir: &Path) -> Vec<Finding> {
    let mounts = mounts::parse(&root.text("/proc/self/mountinfo").unwrap_or_default());
    let Some(mount) = mounts::of(&mounts, dir) else {
        return vec![Finding::better("file system", "unknown", "/proc/self/mountinfo does not name it")];
    };
    let disk = Disk::of(root, mount);
    let mut findings = vec![file_system(mount)];
    findings.extend(options(mount, at, disk.as_ref()));
    match &disk {
        Some(disk) => findings.extend(device(disk, at)),
        None if has_disk(mount) => {
            let found = format!("{} is not in /sys", mount.source);
            findings.push(Finding::better(
                "disk",
                found,
                "its queue and its write cache cannot be looked at",
            ));
        }
        None => {}
    }
    findings
}

fn has_disk(mount: &Mount) -> bool {
    !matches!(
        mount.kind.as_str(),
        "tmpfs" | "ramfs" | "nfs" | "nfs4" | "cifs" | "9p" | "virtiofs" | "overlay"
    ) && !mount.kind.starts_with("fuse")
}

fn file_system(mount: &Mount) -> Finding {
    let (name, found) = ("file system", format!("{} on {}", mount.kind, mount.source));
    let elsewhere = "set log.dirs to a directory on ext4 or xfs";
    match mount.kind.as_str() {
        "ext4" | "xfs" => Finding::fine(name, found),
        "tmpfs" | "ramfs" => {
            Finding::problem(name, found, "it is memory: an acknowledged record is gone after a restart")
                .mend(elsewhere)
        }
        "nfs" | "nfs4" | "cifs" | "smb3" | "9p" => Finding::problem(
            name,
            found,
            "the network is in every acknowledgement, and locks are not to be relied on",
        )
        .mend(elsewhere),
        "overlay" => Finding::better(
            name,
            found,
            "a container's own layer: gone with the container, and one more layer to pass",
        )
        .mend("docker run -v DIRECTORY_ON_EXT4_OR_XFS:/data …, and log.dirs=/data"),
        "btrfs" | "bcachefs" => Finding::better(
            name,
            found,
            "copy on write: what is written in place is written anew, with its metadata",
        )
        .mend(elsewhere),
        "zfs" => {
            Finding::better(name, found, "direct I/O goes through its cache, and each sync through its log")
                .mend(elsewhere)
        }
        kind if kind.starts_with("fuse") || kind == "virtiofs" => {
            Finding::better(name, found, "every write goes through another program").mend(elsewhere)
        }
        _ => Finding::better(name, found, "only ext4 and xfs are tested").mend(elsewhere),
    }
}

fn options(mount: &Mount, at: Surroundings, disk: Option<&Disk>) -> Vec<Finding> {
    let remount = |option: &str| at.on_kernel(&format!("mount -o remount,{option} {}", mount.point));
    let mut findings = Vec::new();
    if mount.has("ro") {
        findings.push(Finding::problem("mount", "ro", "nothing can be written").mend(remount("rw")));
    }
    if mount.has("nobarrier") || mount.has("barrier=0") {
        let is_safe =
            disk.and_then(|disk| disk.queue("write_cache")).is_some_and(|kind| kind == "write through");
        let why = "a sync does not empty the disk's cache: a power cut loses acknowledged records";
        findings.push(match is_safe {
            true => {
                Finding::fine("mount", "nobarrier").because("the disk has no cache that a power cut empties")
            }
            false => Finding::problem("mount", "nobarrier", why).mend(remount("barrier")),
        });
    }
    if mount.has("data=journal") {
        let why = "every byte is written twice, and direct I/O is refused or ignored";
        let mend = format!("take data=journal out of /etc/fstab for {} and mount it anew", mount.point);
        findings.push(Finding::problem("mount", "data=journal", why).mend(mend));
    }
    if mount.has("sync") || mount.has("dirsync") {
        let why = "the broker syncs what must be synced; this syncs everything";
        findings.push(Finding::better("mount", "sync", why).mend(remount("async")));
    }
    if mount.has("discard") {
        let why = "the blocks of a deleted segment are discarded at once, beside the writes of others";
        let mend = format!("{} (and systemctl enable --now fstrim.timer)", remount("nodiscard"));
        findings.push(Finding::better("mount", "discard", why).mend(mend));
    }
    if mount.has("strictatime") || (!mount.has("noatime") && !mount.has("relatime")) {
        let why = "each read of a segment becomes a write of its inode";
        findings.push(Finding::better("mount", "atime", why).mend(remount("noatime")));
    }
    if findings.is_empty() {
        findings.push(Finding::fine("mount", mount.options.join(",")));
    }
    findings
}

fn device(disk: &Disk, at: Surroundings) -> Vec<Finding> {
    let mut findings = Vec::new();
    let parts = disk.parts();
    if !parts.is_empty() {
        let why = "look at their queues, too: /sys/block/NAME/queue";
        findings.push(Finding::fine("disk", format!("{} on {}", disk.name, parts.join(", "))).because(why));
    }
    findings.extend(write_cache(disk, at));
    // What a virtual disk says of itself is nothing to go by.
    let rotates = !at.virtual_machine && disk.queue("rotational").as_deref() == Some("1");
    findings.extend(scheduler(disk, at, rotates));
    findings.extend(read_ahead(disk, at));
    if rotates {
        let why = "each commit waits for the platter: producers need linger.ms and large batches";
        findings.push(Finding::better("disk", format!("{} says that it rotates", disk.name), why));
    }
    findings
}

fn write_cache(disk: &Disk, at: Surroundings) -> Option<Finding> {
    let kind = disk.queue("write_cache")?;
    let name = "write cache";
    if kind == "write through" {
        return Some(Finding::fine(name, kind).because("a durable write is one write"));
    }
    if disk.queue("fua").as_deref() == Some("1") {
        return Some(
            Finding::fine(name, format!("{kind}, with FUA")).because("a durable write in place is one write"),
        );
    }
    let why = "volatile and without FUA: each durable write is a write and a flush";
    let command = format!(
        "only with power-loss protection: echo \"write through\" > /sys/block/{}/queue/write_cache",
        disk.name
    );
    Some(Finding::better(name, kind, why).mend(at.on_disk(&command)))
}

/// A disk that rotates gains from an elevator.
fn scheduler(disk: &Disk, at: Surroundings, rotates: bool) -> Option<Finding> {
    let text = disk.queue("scheduler")?;
    let current = chosen(&text).to_owned();
    if rotates || matches!(current.as_str(), "none" | "noop") {
        return Some(Finding::fine("I/O scheduler", current));
    }
    let why = "the broker orders its own writes; a second order costs CPU and holds commits back";
    let command = format!("echo none > /sys/block/{}/queue/scheduler", disk.name);
    Some(Finding::better("I/O scheduler", current, why).mend(at.on_kernel(&command)))
}

fn read_ahead(disk: &Disk, at: Surroundings) -> Option<Finding> {
    let kib: u64 = disk.queue("read_ahead_kb")?.parse().ok()?;
    let found = format!("{kib} KiB");
    if kib <= 4_096 {
        let why = "old records are read directly, with the broker's own read-ahead";
        return Some(Finding::fine("read-ahead", found).because(why));
    }
    let why = "what goes through the page cache reads far more than it needs";
    let command = format!("echo 128 > /sys/block/{}/queue/read_ahead_kb", disk.name);
    Some(Finding::better("read-ahead", found, why).mend(at.on_kernel(&command)))
}
