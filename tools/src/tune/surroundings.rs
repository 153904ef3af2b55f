//! What kind of machine this is, for the commands that mend: in a container the host's settings are the host's to
//! change, in a virtual machine the disk's.

use super::root::Root;

/// Where the process runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// In a container: kernel settings are the host's.
    pub container: bool,
    /// In a virtual machine: disks and clocks are the hypervisor's.
    pub virtual_machine: bool,
}

impl Surroundings {
    /// Looks for the traces that they leave.
    #[must_use]
    pub fn of(root: &Root) -> Surroundings {
        let cpus = root.text("/proc/cpuinfo").unwrap_or_default();
        let has_flag = cpus
            .lines()
            .filter(|line| line.starts_with("flags"))
            .any(|line| line.split_whitespace().any(|flag| flag == "hypervisor"));
        let mounts = root.text("/proc/self/mountinfo").unwrap_or_default();
        let root_is_overlay =
            super::mounts::parse(&mounts).iter().any(|mount| mount.point == "/" && mount.kind == "overlay");
        let container = root.has("/.dockerenv") || root.has("/run/.containerenv") || root_is_overlay;
        Surroundings { container, virtual_machine: has_flag || root.has("/sys/hypervisor/type") }
    }

    /// A command that changes a setting of the kernel.
    #[must_use]
    pub fn on_kernel(self, command: &str) -> String {
        if self.container { format!("on the host: {command}") } else { command.to_owned() }
    }

    /// A command that changes what a disk does.
    #[must_use]
    pub fn on_disk(self, command: &str) -> String {
        match (self.virtual_machine, self.container) {
            (true, _) => "the disk is the hypervisor's: nothing that is set in here changes it".to_owned(),
            (false, true) => format!("on the host: {command}"),
            (false, false) => command.to_owned(),
        }
    }

    /// In words.
    #[must_use]
    pub fn text(self) -> &'static str {
        match (self.container, self.virtual_machine) {
            (true, true) => "a container in a virtual machine",
            (true, false) => "a container",
            (false, true) => "a virtual machine",
            (false, false) => "a machine of its own",
        }
    }
}
