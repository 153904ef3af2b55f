//! What a run ran on, read from `/proc` and `/sys`. Nothing here is required: what cannot be read is left empty.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// A machine, as far as it says what it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Machine {
    /// The processor's name.
    pub cpu_model: Option<String>,
    /// CPUs that are online, hyper-threads counted.
    pub cpus: Option<u64>,
    /// Memory.
    pub memory_bytes: Option<u64>,
    /// The kernel's release.
    pub kernel: Option<String>,
    /// File system and mount options of the data, as `ext4 (rw,relatime)`, where the data is on this machine.
    pub filesystem: Option<String>,
    /// The disk under it, as `vda, 274.9 GB`.
    pub disk: Option<String>,
}

impl Machine {
    /// This machine, with the disk that a directory lies on.
    #[must_use]
    pub fn here(data: Option<&Path>) -> Self {
        let cpuinfo = read("/proc/cpuinfo");
        let mount = data.and_then(Mount::of);
        Self {
            cpu_model: cpuinfo.as_deref().and_then(|text| field(text, "model name")).map(str::to_owned),
            cpus: cpuinfo.as_deref().map(cpus).filter(|cpus| *cpus > 0),
            memory_bytes: read("/proc/meminfo").as_deref().and_then(memory_bytes),
            kernel: read("/proc/sys/kernel/osrelease").map(|release| format!("Linux {}", release.trim())),
            filesystem: mount.as_ref().map(|mount| format!("{} ({})", mount.filesystem, mount.options)),
            disk: mount.as_ref().and_then(|mount| disk(&mount.device)),
        }
    }

    /// What is known, name and value, for a table.
    #[must_use]
    pub fn rows(&self) -> Vec<(&'static str, String)> {
        let memory = self.memory_bytes.map(|bytes| format!("{:.1} GB", bytes as f64 / 1e9));
        let rows = [
            ("CPU", self.cpu_model.clone()),
            ("CPUs", self.cpus.map(|cpus| cpus.to_string())),
            ("memory", memory),
            ("kernel", self.kernel.clone()),
            ("file system", self.filesystem.clone()),
            ("disk", self.disk.clone()),
        ];
        rows.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }
}

fn read(path: impl AsRef<Path>) -> Option<String> {
    fs::read_to_string(path).ok()
}

/// What stands behind the first `name :` of a file in `/proc`.
fn field<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == name).then(|| value.trim())
    })
}

fn cpus(cpuinfo: &str) -> u64 {
    cpuinfo.lines().filter(|line| line.starts_with("processor")).count() as u64
}

fn memory_bytes(meminfo: &str) -> Option<u64> {
    let kibibytes: u64 = field(meminfo, "MemTotal")?.split_whitespace().next()?.parse().ok()?;
    kibibytes.checked_mul(1024)
}

/// Where a directory is mounted from.
#[derive(Debug, PartialEq, Eq)]
struct Mount {
    /// `major:minor`.
    device: String,
    filesystem: String,
    options: String,
}

impl Mount {
    fn of(directory: &Path) -> Option<Self> {
        let device = fs::metadata(directory).ok()?.dev();
        // The kernel's encoding of a device number in 64 bits.
        let major = (device >> 8 & 0xfff) | (device >> 32 & !0xfff);
        let minor = (device & 0xff) | (device >> 12 & !0xff);
        Self::find(&read("/proc/self/mountinfo")?, &format!("{major}:{minor}"))
    }

    /// The last mount of a device in `/proc/self/mountinfo`: identity, parent, device, root, point, options, any
    /// number of further fields, a dash, and the file system's type.
    fn find(mountinfo: &str, device: &str) -> Option<Self> {
        let mut mounts = mountinfo.lines().rev().filter_map(|line| {
            let (left, right) = line.split_once(" - ")?;
            let mut left = left.split(' ').skip(2);
            let found = left.next()?;
            let options = left.nth(2)?;
            let filesystem = right.split(' ').next()?;
            let mount = || Self {
                device: found.to_owned(),
                filesystem: filesystem.to_owned(),
                options: options.to_owned(),
            };
            (found == device).then(mount)
        });
        mounts.next()
    }
}

/// The name, model and size of a block device; of the whole disk where it is a partition of one.
fn disk(device: &str) -> Option<String> {
    let path = fs::canonicalize(Path::new("/sys/dev/block").join(device)).ok()?;
    let path = if path.join("partition").exists() { path.parent()?.to_owned() } else { path };
    let mut parts = vec![path.file_name()?.to_string_lossy().into_owned()];
    let model = read(path.join("device/model")).map(|model| model.trim().to_owned());
    parts.extend(model.filter(|model| !model.is_empty()));
    let sectors = read(path.join("size")).and_then(|size| size.trim().parse::<u64>().ok());
    parts.extend(sectors.map(|sectors| format!("{:.1} GB", sectors as f64 * 512.0 / 1e9)));
    if let Some(rotational) = read(path.join("queue/rotational")) {
        parts.push(if rotational.trim() == "1" { "rotational" } else { "solid state" }.to_owned());
    }
    Some(parts.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_mount_of_a_device_counts() {
        let mountinfo = "22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/root rw\n\
                         30 22 0:26 / /tmp rw,nosuid shared:12 master:3 - tmpfs tmpfs rw,size=1k\n\
                         31 22 254:0 /x /data ro,noatime - ext4 /dev/root rw\n";
        let mount = Mount::find(mountinfo, "254:0").expect("it is there");
        assert_eq!((mount.filesystem.as_str(), mount.options.as_str()), ("ext4", "ro,noatime"));
        let mount = Mount::find(mountinfo, "0:26").expect("it is there");
        assert_eq!((mount.filesystem.as_str(), mount.options.as_str()), ("tmpfs", "rw,nosuid"));
        assert_eq!(Mount::find(mountinfo, "1:2"), None);
        assert_eq!(Mount::find("damaged\n1 2 254:0 - \n", "254:0"), None);
    }

    #[test]
    fn processors_and_memory_are_counted() {
        let cpuinfo = "processor\t: 0\nmodel name\t: A CPU\n\nprocessor\t: 1\nmodel name\t: A CPU\n";
        assert_eq!((cpus(cpuinfo), field(cpuinfo, "model name")), (2, Some("A CPU")));
        assert_eq!(memory_bytes("MemTotal:       1000 kB\nMemFree: 1 kB\n"), Some(1_024_000));
        assert_eq!(memory_bytes("MemTotal: many\n"), None);
    }

    #[test]
    fn this_machine_has_a_kernel_and_rows_for_what_is_known() {
        let here = Machine::here(Some(Path::new("/")));
        assert!(here.kernel.as_deref().is_some_and(|kernel| kernel.starts_with("Linux ")), "{here:?}");
        assert!(here.rows().iter().any(|(name, _)| *name == "kernel"));
        assert!(Machine::default().rows().is_empty());
    }
}
