//! The signals that end a process which has something to do first: `ottla top`, which has taken the terminal, puts it
//! back; `ottla bench` ends its load in order.
//!
//! A thread of its own waits for them, so that what is put back may take locks and write, as a signal's handler may
//! not. Nothing of it is on disk. What must hold: the process ends by the signal that came, whatever becomes of what
//! was to be done before, and within [`PATIENCE`]; a signal that whoever started the process has switched off stays
//! off.

use std::io;
use std::sync::mpsc;
use std::time::Duration;

use crate::host::{is_ignored, mask, signals, wait_for};

/// How long the end waits for what is to be done before it: a terminal that takes nothing must not keep the process.
const PATIENCE: Duration = Duration::from_secs(1);
/// `kill` alone, Ctrl-C where the terminal makes a signal of it, and a terminal that was closed.
const ENDING: [libc::c_int; 3] = [libc::SIGTERM, libc::SIGINT, libc::SIGHUP];

/// Has `last` done before SIGTERM, SIGINT or SIGHUP ends the process. Call it before other threads are started: they
/// inherit that these signals are left to the thread that this starts.
///
/// # Errors
/// When the signals cannot be left to it, or it cannot be started.
pub fn before_a_signal_ends(last: impl FnOnce() + Send + 'static) -> io::Result<()> {
    take_signals(move |set| {
        let number = wait_for(&set);
        // What does not come back in time, and what panics, is given up.
        let (done, is_done) = mpsc::channel();
        let begun = std::thread::Builder::new().spawn(move || {
            last();
            let _ = done.send(());
        });
        if begun.is_ok() {
            let _ = is_done.recv_timeout(PATIENCE);
        }
        end_by(number)
    })
}

/// Passes SIGTERM, SIGINT and SIGHUP on to `take`, by their numbers; the first that it does not want ends the process.
/// Call it before other threads are started, as [`before_a_signal_ends`].
///
/// # Errors
/// As [`before_a_signal_ends`].
pub fn unless_taken_a_signal_ends(take: impl Fn(i32) -> bool + Send + 'static) -> io::Result<()> {
    take_signals(move |set| {
        loop {
            let number = wait_for(&set);
            if !take(number) {
                end_by(number)
            }
        }
    })
}

/// Leaves the signals to a thread that is started for them.
fn take_signals(wait: impl FnOnce(libc::sigset_t) + Send + 'static) -> io::Result<()> {
    let set = signals(ENDING.into_iter().filter(|number| !is_ignored(*number)));
    mask(libc::SIG_BLOCK, &set)?;
    std::thread::Builder::new().name("signals".into()).spawn(move || wait(set))?;
    Ok(())
}

/// Ends the process as the signal does where nobody takes it.
fn end_by(number: libc::c_int) -> ! {
    let _ = mask(libc::SIG_UNBLOCK, &signals(std::iter::once(number)));
    // SAFETY: the signal has the action that it began with, which is to end the process; the exit stands behind it for
    // a process that no signal ends, the first one of a container.
    unsafe {
        libc::raise(number);
        libc::_exit(128 + number)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::process::{CommandExt, ExitStatusExt};
    use std::process::{Command, Output};
    use std::time::Instant;

    use super::*;

    /// Runs as a process of its own (see below): takes the signals and waits for one.
    #[test]
    #[ignore = "ends its process"]
    fn child() {
        let way = std::env::var("WAY").expect("it is set");
        let last = move || {
            writeln!(io::stdout(), "put back").expect("somebody reads");
            match way.as_str() {
                "plain" => {}
                "panics" => panic!("it cannot be put back"),
                _ => std::thread::sleep(Duration::from_secs(3_600)),
            }
        };
        if std::env::var("WAY").as_deref() == Ok("takes the first") {
            let take = |number| {
                writeln!(io::stdout(), "put back {number}").expect("somebody reads");
                number == libc::SIGHUP
            };
            unless_taken_a_signal_ends(take).expect("the thread starts");
        } else {
            before_a_signal_ends(last).expect("the thread starts");
        }
        for number in [libc::SIGHUP, libc::SIGTERM] {
            // SAFETY: a signal to this very process.
            assert_eq!(unsafe { libc::kill(libc::getpid(), number) }, 0);
            std::thread::sleep(Duration::from_millis(if number == libc::SIGHUP { 200 } else { 60_000 }));
        }
        println!("still here");
    }

    /// What becomes of a process that takes the signals and gets SIGHUP, and then, if it is still there, SIGTERM.
    fn run(way: &str, hangup: libc::sighandler_t) -> Output {
        let me = std::env::current_exe().expect("tests are a file");
        let name = concat!(module_path!(), "::child");
        let name = name.split_once("::").expect("a crate and a path").1;
        let mut child = Command::new(me);
        child.args(["--exact", name, "--ignored", "--nocapture"]).env("WAY", way);
        // The test harness has threads of its own before the test runs: here they inherit the blocked signals from
        // the process's start.
        let prepare = move || {
            // SAFETY: one of the two actions that need no function.
            unsafe { libc::signal(libc::SIGHUP, hangup) };
            mask(libc::SIG_BLOCK, &signals(ENDING.into_iter()))
        };
        // SAFETY: the closure only makes system calls.
        unsafe { child.pre_exec(prepare) };
        child.output().expect("the child runs")
    }

    #[test]
    fn the_last_is_done_and_the_signal_ends_the_process() {
        for way in ["plain", "panics", "hangs"] {
            let began = Instant::now();
            let output = run(way, libc::SIG_DFL);
            let text = String::from_utf8_lossy(&output.stdout);
            assert!(text.contains("put back") && !text.contains("still here"), "{way}: {text}");
            assert_eq!(output.status.signal(), Some(libc::SIGHUP), "{way}");
            assert!(began.elapsed() < Duration::from_secs(50), "{way}: not the end of its sleep");
        }
    }

    #[test]
    fn a_signal_that_is_taken_ends_nothing_and_the_next_does() {
        let output = run("takes the first", libc::SIG_DFL);
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.contains("put back 1\n") && text.contains("put back 15\n"), "{text}");
        assert_eq!(output.status.signal(), Some(libc::SIGTERM));
    }

    #[test]
    fn a_signal_that_was_switched_off_stays_off() {
        let output = run("plain", libc::SIG_IGN);
        assert!(String::from_utf8_lossy(&output.stdout).contains("put back"));
        assert_eq!(output.status.signal(), Some(libc::SIGTERM), "the hangup was none");
    }
}
