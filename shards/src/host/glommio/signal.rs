//! SIGTERM, SIGINT and SIGHUP, as Kafka takes them: the first asks for a controlled stop, the second ends the process
//! at once. A hangup that was switched off stays off.
//!
//! A thread of its own waits for them, so that the second one works however stuck the shards are.

use std::io;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Mutex, PoisonError};

use super::bell::{Bell, Doorbell};
use crate::host::types::Signal;

/// The first signal that came; zero for none.
static FIRST: AtomicI32 = AtomicI32::new(0);
/// Who waits for it.
static WAITING: Mutex<Vec<Bell>> = Mutex::new(Vec::new());

fn from_number(number: libc::c_int) -> Option<Signal> {
    match number {
        libc::SIGTERM => Some(Signal::Terminate),
        libc::SIGINT => Some(Signal::Interrupt),
        libc::SIGHUP => Some(Signal::Hangup),
        _ => None,
    }
}

/// The signals that ask a broker to stop.
fn stop_signals() -> libc::sigset_t {
    let hangup = (!is_ignored(libc::SIGHUP)).then_some(libc::SIGHUP);
    signals([libc::SIGTERM, libc::SIGINT].into_iter().chain(hangup))
}

/// Whether whoever started the process has switched the signal off, as `nohup` does. Who waits for it would see it all
/// the same: a signal that is blocked is never ignored.
pub(crate) fn is_ignored(number: libc::c_int) -> bool {
    // SAFETY: all zero bits are a value of the type; the call below fills it.
    let mut now: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: nothing is set, and the pointer leads to `now`.
    let result = unsafe { libc::sigaction(number, std::ptr::null(), &raw mut now) };
    result == 0 && now.sa_sigaction == libc::SIG_IGN
}

/// A set of signals.
pub(crate) fn signals(numbers: impl Iterator<Item = libc::c_int>) -> libc::sigset_t {
    // SAFETY: all zero bits are a value of the type; the call below empties it.
    let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer leads to `set`.
    unsafe { libc::sigemptyset(&raw mut set) };
    for number in numbers {
        // SAFETY: the pointer leads to `set`, and the number is a signal's.
        unsafe { libc::sigaddset(&raw mut set, number) };
    }
    set
}

/// Changes which signals this thread, and those that it starts, leave to others.
pub(crate) fn mask(how: libc::c_int, set: &libc::sigset_t) -> io::Result<()> {
    // SAFETY: the pointer leads to a set.
    let result = unsafe { libc::pthread_sigmask(how, std::ptr::from_ref(set), std::ptr::null_mut()) };
    if result == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(result)) }
}

/// Waits for one of the signals.
pub(crate) fn wait_for(set: &libc::sigset_t) -> libc::c_int {
    loop {
        let mut number = 0;
        // SAFETY: the pointers lead to a set and to `number`.
        if unsafe { libc::sigwait(std::ptr::from_ref(set), &raw mut number) } == 0 {
            return number;
        }
    }
}

/// Takes the signals from now on. Call it once, on the process's first thread, before it starts others: they
/// inherit that the signals are left to the thread that this starts.
pub fn catch_signals() -> io::Result<()> {
    mask(libc::SIG_BLOCK, &stop_signals())?;
    super::executor::register_barrier();
    std::thread::Builder::new().name("signals".into()).stack_size(64 << 10).spawn(wait_for_signals)?;
    Ok(())
}

fn wait_for_signals() {
    let set = stop_signals();
    loop {
        let number = wait_for(&set);
        let is_first = FIRST.compare_exchange(0, number, Ordering::SeqCst, Ordering::SeqCst).is_ok();
        if !is_first && number == libc::SIGHUP {
            // A terminal that is closed may say so twice, by its shell and by itself.
            continue;
        }
        if !is_first {
            // SAFETY: ends the process without running anything else of it, which is what is wanted.
            unsafe { libc::_exit(128 + number) };
        }
        let waiting = WAITING.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.iter().for_each(Bell::ring);
    }
}

/// Waits for the first signal; at once when it has come. Any number of tasks of any shards may wait.
pub async fn stop_signal() -> Signal {
    let doorbell = Doorbell::new();
    WAITING.lock().unwrap_or_else(PoisonError::into_inner).push(doorbell.bell());
    loop {
        if let Some(signal) = from_number(FIRST.load(Ordering::SeqCst)) {
            return signal;
        }
        doorbell.rung().await;
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt;
    use std::process::{Command, Stdio};

    use super::*;

    /// Runs as a process of its own (see below): sends itself one signal, sees it, and sends another.
    #[test]
    #[ignore = "ends its process"]
    fn child() {
        catch_signals().expect("the thread starts");
        let send = |number| {
            // SAFETY: a signal to this very process.
            assert_eq!(unsafe { libc::kill(libc::getpid(), number) }, 0);
        };
        super::super::run_local(async move {
            send(libc::SIGTERM);
            assert_eq!(stop_signal().await, Signal::Terminate);
            assert_eq!(stop_signal().await, Signal::Terminate);
            println!("seen");
            send(libc::SIGINT);
            std::future::pending::<()>().await;
        });
    }

    #[test]
    fn the_first_signal_is_seen_and_the_second_ends_the_process() {
        let me = std::env::current_exe().expect("tests are a file");
        let name = concat!(module_path!(), "::child");
        let name = name.split_once("::").expect("a crate and a path").1;
        let mut child = Command::new(me);
        child.args(["--exact", name, "--ignored", "--nocapture"]).stderr(Stdio::inherit());
        // The test harness has threads of its own before the test runs: here they inherit the blocked signals from
        // the process's start.
        // SAFETY: the closure only makes a system call.
        unsafe { child.pre_exec(|| mask(libc::SIG_BLOCK, &stop_signals())) };
        let output = child.output().expect("the child runs");
        assert!(String::from_utf8_lossy(&output.stdout).contains("seen"));
        assert_eq!(output.status.code(), Some(128 + libc::SIGINT));
    }
}
