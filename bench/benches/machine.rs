//! The line that says which machine the figures come from.

use std::fs::read_to_string;

/// Kernel, processor and cores.
pub fn line() -> String {
    let kernel = read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    // A build's suffix says nothing to others.
    let kernel = kernel.trim().split('-').next().unwrap_or_default().to_owned();
    let cpus = read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    let model = model.map_or("unnamed processor", |(_, name)| name.trim());
    let is_guest = cpus.lines().any(|line| line.starts_with("flags") && line.contains(" hypervisor"));
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let kind = if is_guest { "a virtual machine" } else { "a machine" };
    format!("Measured by `make bench` on {kind} with {cores} cores ({model}), Linux {kernel}.")
}
