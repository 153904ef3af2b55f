//! What a process says and how it ends, and the name of its machine.

use std::fmt::Display;
use std::io::Write;

/// Prints `text` on standard output. A broker whose standard output was closed runs on.
pub fn say(text: &str) {
    let mut output = std::io::stdout();
    let _ = output.write_all(text.as_bytes());
    let _ = output.flush();
}

/// Says in one line on standard error why the process cannot go on with its start, and ends it with exit code 1.
pub fn exit_start(line: &dyn Display) -> ! {
    eprintln!("ottla: {line}");
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
