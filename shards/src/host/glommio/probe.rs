//! Whether this machine lets a broker run, told in one line before anything is started.

use std::io;
use std::sync::Once;

use io_uring::{IoUring, Probe, opcode};

use super::executor::available_cpus;
use crate::host::types::ShardSpec;

/// Locked memory that the executors ask for at least, in bytes.
const MEMLOCK_BYTES_MIN: u64 = 512 << 10;

/// Why the broker cannot run here; its text names the setting and what to do.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// The kernel has no io_uring.
    #[error("this kernel has no io_uring: Linux 5.11 or later is needed, 6.1 or later is recommended")]
    NoIoUring,
    /// The administrator has switched io_uring off.
    #[error(
        "io_uring is refused: sysctl kernel.io_uring_disabled is {value}; \
        set it to 0 (sysctl -w kernel.io_uring_disabled=0)"
    )]
    IoUringDisabled {
        /// The setting's value.
        value: u8,
    },
    /// Something else, most often a container's seccomp profile, forbids io_uring.
    #[error(
        "io_uring is refused ({error}), most likely by a container's seccomp profile: \
        allow io_uring_setup, io_uring_enter and io_uring_register (docker run --security-opt seccomp=unconfined)"
    )]
    IoUringRefused {
        /// What the system said.
        error: io::Error,
    },
    /// Too little memory may be locked.
    #[error(
        "the locked-memory limit is {limit} bytes and {needed} are needed: raise it (ulimit -l, LimitMEMLOCK=)"
    )]
    MemoryLock {
        /// The hard limit.
        limit: u64,
        /// The least that works.
        needed: u64,
    },
    /// A CPU that the process may not use.
    #[error("cpus: this process may not use cpu {cpu}, only {}; change `cpus` or the cpuset", list(.available))]
    UnknownCpu {
        /// The CPU asked for.
        cpu: usize,
        /// The process's own.
        available: Vec<usize>,
    },
}

/// Numbers as `0-3,6`.
fn list(numbers: &[usize]) -> String {
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for &number in numbers {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == number => *last = number,
            Some(_) | None => runs.push((number, number)),
        }
    }
    let text = |&(first, last): &(usize, usize)| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    };
    runs.iter().map(text).collect::<Vec<_>>().join(",")
}

/// Checks that shards as in `specs` can run here. Raises the process's soft limit of locked memory where that is all
/// it takes.
///
/// Call it first in `main`, while the process has one thread: it also prepares a barrier that is dear to prepare later.
pub fn probe(specs: &[ShardSpec]) -> Result<(), ProbeError> {
    super::executor::register_barrier();
    let available = available_cpus();
    if let Some(cpu) = specs.iter().filter_map(|spec| spec.cpu).find(|cpu| !available.contains(cpu)) {
        return Err(ProbeError::UnknownCpu { cpu, available });
    }
    let limit = raise_limit(libc::RLIMIT_MEMLOCK);
    if limit < MEMLOCK_BYTES_MIN {
        return Err(ProbeError::MemoryLock { limit, needed: MEMLOCK_BYTES_MIN });
    }
    match IoUring::new(2) {
        Ok(_) => Ok(()),
        Err(error) => Err(refusal(error, disabled_setting())),
    }
}

/// The ring's operations that a broker cannot do without and this kernel lacks, by their names in `io_uring.h`.
///
/// # Errors
/// The system's, where there is no ring or it does not tell.
pub fn missing_operations() -> io::Result<Vec<&'static str>> {
    let needed = [
        ("IORING_OP_WRITEV", opcode::Writev::CODE),
        ("IORING_OP_READ", opcode::Read::CODE),
        ("IORING_OP_FSYNC", opcode::Fsync::CODE),
        ("IORING_OP_FALLOCATE", opcode::Fallocate::CODE),
        ("IORING_OP_OPENAT", opcode::OpenAt::CODE),
        ("IORING_OP_STATX", opcode::Statx::CODE),
        ("IORING_OP_RENAMEAT", opcode::RenameAt::CODE),
        ("IORING_OP_UNLINKAT", opcode::UnlinkAt::CODE),
        ("IORING_OP_MKDIRAT", opcode::MkDirAt::CODE),
        ("IORING_OP_POLL_ADD", opcode::PollAdd::CODE),
        ("IORING_OP_ASYNC_CANCEL", opcode::AsyncCancel::CODE),
    ];
    let (ring, mut probe) = (IoUring::new(2)?, Probe::new());
    ring.submitter().register_probe(&mut probe)?;
    Ok(needed.into_iter().filter(|(_, code)| !probe.is_supported(*code)).map(|(name, _)| name).collect())
}

/// Whether the kernel has the kind of ring that costs least: completions only when the shard asks for them (Linux 6.1).
#[must_use]
pub fn has_deferred_completions() -> bool {
    let mut builder = IoUring::builder();
    builder.setup_single_issuer().setup_defer_taskrun().setup_taskrun_flag();
    let ring: io::Result<IoUring> = builder.build(2);
    ring.is_ok()
}

fn refusal(error: io::Error, disabled: Option<u8>) -> ProbeError {
    match (error.raw_os_error(), disabled) {
        (Some(libc::ENOSYS), _) => ProbeError::NoIoUring,
        (_, Some(value @ 1..)) => ProbeError::IoUringDisabled { value },
        (_, Some(0) | None) => ProbeError::IoUringRefused { error },
    }
}

/// Has the kernel give huge pages to what asks for them, which is the disk's buffers, and ordinary ones to everything
/// else. A shard's idle memory is scattered thinly over its allocator's arenas, which huge pages would fill: 16 MB
/// resident instead of 8 with two idle shards. So the allocator is built to ask for none and to refuse them for the
/// process when that starts; where the kernel gives them only who asks, that is taken back. Where it gives them to
/// everybody and is older than Linux 6.18, none are taken at all.
pub(super) fn give_huge_pages_to_buffers() {
    const PR_THP_DISABLE_EXCEPT_ADVISED: libc::c_ulong = 1 << 1;
    static ONCE: Once = Once::new();
    // SAFETY: the calls take numbers. Their failure costs some memory, or some throughput.
    let refuse = |refused: libc::c_ulong, but: libc::c_ulong| unsafe {
        libc::prctl(libc::PR_SET_THP_DISABLE, refused, but, 0, 0)
    };
    ONCE.call_once(|| {
        let setting = std::fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled");
        if !setting.unwrap_or_default().contains("[always]") {
            refuse(0, 0);
        } else if refuse(1, PR_THP_DISABLE_EXCEPT_ADVISED) != 0 {
            refuse(1, 0);
        }
    });
}

fn disabled_setting() -> Option<u8> {
    std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled").ok()?.trim().parse().ok()
}

/// Raises the process's soft limit of descriptors to its hard limit, and returns it.
pub fn raise_descriptor_limit() -> u64 {
    raise_limit(libc::RLIMIT_NOFILE)
}

/// The limit after the soft one was raised as far as it goes.
fn raise_limit(resource: libc::__rlimit_resource_t) -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer leads to `limit`.
    if unsafe { libc::getrlimit(resource, &raw mut limit) } != 0 {
        return 0;
    }
    if limit.rlim_cur < limit.rlim_max {
        let raised = libc::rlimit { rlim_cur: limit.rlim_max, ..limit };
        // SAFETY: the pointer leads to `raised`.
        if unsafe { libc::setrlimit(resource, &raw const raised) } == 0 {
            return limit.rlim_max;
        }
    }
    limit.rlim_cur
}

#[cfg(test)]
mod tests {
    use ottla::ids::ShardId;

    use super::*;

    #[test]
    fn this_machine_runs_shards_but_not_on_cpus_that_it_lacks() {
        let first = available_cpus()[0];
        let spec = |cpu| ShardSpec { shard: ShardId(0), cpu };
        probe(&[spec(Some(first)), spec(None)]).expect("tests run where brokers do");
        let error = probe(&[spec(Some(100_000))]).expect_err("no machine has so many");
        assert!(error.to_string().starts_with("cpus: this process may not use cpu 100000, only "), "{error}");
        assert_eq!(missing_operations().expect("a ring"), [""; 0]);
    }

    #[test]
    fn refusals_name_what_to_change() {
        let refused = |number, disabled| refusal(io::Error::from_raw_os_error(number), disabled).to_string();
        assert!(refused(libc::ENOSYS, None).contains("no io_uring"));
        assert!(refused(libc::EPERM, Some(2)).contains("kernel.io_uring_disabled is 2"));
        assert!(refused(libc::EPERM, Some(0)).contains("seccomp"));
        assert!(refused(libc::EPERM, None).contains("seccomp"));
        let limit = ProbeError::MemoryLock { limit: 65_536, needed: MEMLOCK_BYTES_MIN };
        assert!(limit.to_string().contains("ulimit -l"));
        for text in [refused(libc::ENOSYS, None), refused(libc::EPERM, Some(1)), limit.to_string()] {
            assert!(!text.contains('\n'));
        }
    }

    #[test]
    fn numbers_are_listed_as_runs() {
        assert_eq!(list(&[0, 1, 2, 5, 7, 8]), "0-2,5,7-8");
        assert_eq!(list(&[3]), "3");
    }
}
