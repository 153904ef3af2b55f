//! What a process says, uses and how it ends, and the name of its machine.

use std::fmt::Display;
use std::io::Write;
use std::time::Duration;

use crate::host::types::ProcessUsage;

/// Prints `text` on standard output. A broker whose standard output was closed runs on.
pub fn say(text: &str) {
    let mut output = std::io::stdout();
    let _ = output.write_all(text.as_bytes());
    let _ = output.flush();
}

/// Says in one line on standard error why the process ends. Its exit code says it too where nobody is there to be told.
pub fn say_why(line: &dyn Display) {
    let _ = writeln!(std::io::stderr(), "ottla: {}", one_line(&line.to_string()));
}

/// `text` with its control characters written out: what a setting's value has must not end the line or paint it.
fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for character in text.chars() {
        match character.is_control() {
            true => line.extend(character.escape_debug()),
            false => line.push(character),
        }
    }
    line
}

/// Says in one line on standard error why the process cannot go on with its start, and ends it with exit code 1.
pub fn exit_start(line: &dyn Display) -> ! {
    say_why(line);
    std::process::exit(1);
}

/// This machine's name, as Kafka advertises it where nothing is configured.
#[must_use]
pub fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match name.trim() {
        "" => "localhost".to_owned(),
        name => name.to_owned(),
    }
}

/// What this process has used so far; zero where the system does not say.
#[must_use]
pub fn process_usage() -> ProcessUsage {
    // SAFETY: all zero bits are a record of nothing used.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer leads to a record of this frame, which the kernel fills.
    let _ = unsafe { libc::getrusage(libc::RUSAGE_SELF, &raw mut usage) };
    let time = |time: libc::timeval| {
        let micros = time.tv_sec.saturating_mul(1_000_000).saturating_add(time.tv_usec);
        Duration::from_micros(u64::try_from(micros).unwrap_or(0))
    };
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0);
    // SAFETY: no pointers are passed.
    let page_bytes = u64::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(0);
    ProcessUsage { cpu: time(usage.ru_utime) + time(usage.ru_stime), resident_bytes: pages * page_bytes }
}
