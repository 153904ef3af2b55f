//! Which file system a path lies on, and on which disk: out of `/proc/self/mountinfo` and `/sys`.

use std::path::{Path, PathBuf};

use super::root::{Root, names_in, text_of};

/// One line of `mountinfo` (proc(5)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// The device's numbers, as `254:0`; `0:…` where there is none of its own.
    pub device: String,
    /// Where it is mounted.
    pub point: String,
    /// The file system's kind.
    pub kind: String,
    /// What is mounted, such as `/dev/sda1`.
    pub source: String,
    /// The options of the mount and of the file system, together.
    pub options: Vec<String>,
}

impl Mount {
    /// Whether an option stands there.
    #[must_use]
    pub fn has(&self, option: &str) -> bool {
        self.options.iter().any(|known| known == option)
    }
}

/// The mounts in their order; lines that are none are left out.
#[must_use]
pub fn parse(text: &str) -> Vec<Mount> {
    text.lines().filter_map(parse_line).collect()
}

fn parse_line(line: &str) -> Option<Mount> {
    let (mount, system) = line.split_once(" - ")?;
    let mount: Vec<&str> = mount.split(' ').collect();
    let &[_, _, device, _, point, options, ..] = mount.as_slice() else { return None };
    let mut system = system.splitn(3, ' ');
    let (kind, source) = (system.next()?, system.next()?);
    let options = options.split(',').chain(system.next().unwrap_or_default().split(','));
    Some(Mount {
        device: device.to_owned(),
        point: unescape(point),
        kind: kind.to_owned(),
        source: unescape(source),
        options: options.filter(|option| !option.is_empty()).map(str::to_owned).collect(),
    })
}

/// Blanks and the like are octal in mountinfo.
fn unescape(text: &str) -> String {
    let mut plain = text.to_owned();
    for (octal, character) in [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")] {
        plain = plain.replace(octal, character);
    }
    plain
}

/// The mount that a path, absolute and without links, lies on: the longest that it begins with, of those the last.
#[must_use]
pub fn of<'a>(mounts: &'a [Mount], path: &Path) -> Option<&'a Mount> {
    let above = mounts.iter().filter(|mount| path.starts_with(&mount.point));
    above.max_by_key(|mount| Path::new(&mount.point).components().count())
}

/// A block device in `/sys`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disk {
    /// Its name, such as `nvme0n1`; a partition's disk, not the partition.
    pub name: String,
    path: PathBuf,
}

impl Disk {
    /// The disk below a mount, where it has one.
    #[must_use]
    pub fn of(root: &Root, mount: &Mount) -> Option<Disk> {
        let by_number = root.at(&format!("/sys/dev/block/{}", mount.device));
        let by_name = || {
            let name = mount.source.strip_prefix("/dev/")?;
            Some(root.at(&format!("/sys/class/block/{}", name.replace('/', "!"))))
        };
        let found = [Some(by_number), by_name()].into_iter().flatten();
        let path = found.filter_map(|path| path.canonicalize().ok()).next()?;
        let whole = if path.join("partition").exists() { path.parent()?.to_owned() } else { path };
        Some(Disk { name: whole.file_name()?.to_str()?.to_owned(), path: whole })
    }

    /// A setting of its queue.
    #[must_use]
    pub fn queue(&self, setting: &str) -> Option<String> {
        text_of(&self.path.join("queue").join(setting))
    }

    /// The disks that a mapped or striped one is made of.
    #[must_use]
    pub fn parts(&self) -> Vec<String> {
        names_in(&self.path.join("slaves"))
    }
}
