//! What a shard's thread asks of the kernel's scheduler: to be woken when it said, and to run soon after.
//!
//! Each call changes the calling thread alone and needs no privilege. A kernel that refuses one costs punctuality
//! and nothing else, so that failures are passed over.

/// Sleeps may end so many nanoseconds late; the kernel's default is 50,000.
const TIMER_SLACK_NANOS: libc::c_ulong = 5_000;

/// The time for which the thread asks to run at once, in nanoseconds. The scheduler (EEVDF, `sched_setattr(2)`
/// since Linux 6.12) serves a request that is short sooner: a shard that wakes up for a small request then need not
/// wait until a busy neighbour on its core has used up a slice of milliseconds. Its part of the core stays the same.
const SLICE_NANOS: u64 = 100_000;

/// `struct sched_attr`, as `sched_setattr(2)` takes it.
#[repr(C)]
#[derive(Default)]
struct SchedulingAttributes {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime: u64,
    deadline: u64,
    period: u64,
}

/// Asks for both.
pub(super) fn be_punctual() {
    // SAFETY: the call takes a number and changes this thread alone.
    let _ = unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, TIMER_SLACK_NANOS) };
    let mut attributes =
        SchedulingAttributes { size: size_of::<SchedulingAttributes>() as u32, ..Default::default() };
    // SAFETY: the pointer and size describe `attributes`, of which the kernel fills what it knows.
    let known = unsafe { libc::syscall(libc::SYS_sched_getattr, 0, &raw mut attributes, attributes.size, 0) };
    if known != 0 || i64::from(attributes.policy) != i64::from(libc::SCHED_OTHER) {
        // Whoever chose another policy for the process meant it.
        return;
    }
    attributes.runtime = SLICE_NANOS;
    // SAFETY: the pointer leads to a record that tells its own size.
    let _ = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn niceness_and_policy_stay_as_they_were() {
        let look = || {
            let mut now = SchedulingAttributes::default();
            let size = size_of::<SchedulingAttributes>();
            // SAFETY: the pointer and size describe `now`.
            let result = unsafe { libc::syscall(libc::SYS_sched_getattr, 0, &raw mut now, size, 0) };
            assert_eq!(result, 0);
            (now.policy, now.nice)
        };
        std::thread::spawn(move || {
            let before = look();
            be_punctual();
            assert_eq!(look(), before);
        })
        .join()
        .expect("the thread ends");
    }
}
