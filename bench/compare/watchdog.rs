//! Ends every process and removes every file that a comparison has left, however it ends.
//!
//! A shell of its own process group reads what there is to end from a pipe. Once the other end is closed, which the
//! kernel does even for a process that was killed, it kills the groups that it knows and removes the data.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};

const SCRIPT: &str = r#"
trap '' INT TERM HUP
groups=' '
while read -r what group; do
  case $what in
    watch) groups="$groups$group " ;;
    forget) groups=$(printf %s "$groups" | sed "s/ $group / /") ;;
  esac
done
for group in $groups; do kill -s KILL -- "-$group" 2>/dev/null; done
sleep 0.2
rm -rf -- "$1"
"#;

/// The watchdog. Every clone speaks to the same one.
#[derive(Clone, Debug)]
pub struct Watchdog(Arc<Mutex<Pipe>>);

#[derive(Debug)]
struct Pipe {
    /// Gone once it is to do its work.
    speech: Option<ChildStdin>,
    child: Child,
}

impl Watchdog {
    /// Starts it for the data below `directory`.
    #[must_use]
    pub fn start(directory: &Path) -> Self {
        let mut shell = Command::new("sh");
        shell.args(["-c", SCRIPT, "watchdog"]).arg(directory).process_group(0);
        shell.stdin(Stdio::piped()).stdout(Stdio::null());
        let mut child = shell.spawn().expect("every system has a shell");
        let speech = child.stdin.take();
        Self(Arc::new(Mutex::new(Pipe { speech, child })))
    }

    /// A process group that must not outlive this process.
    pub fn watch(&self, group: u32) {
        self.say(&format!("watch {group}\n"));
    }

    /// A process group that has ended.
    pub fn forget(&self, group: u32) {
        self.say(&format!("forget {group}\n"));
    }

    fn say(&self, line: &str) {
        let mut pipe = self.0.lock().expect("nobody panics while speaking");
        let speech = pipe.speech.as_mut().expect("it listens until it is dropped");
        speech.write_all(line.as_bytes()).expect("it listens");
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        drop(self.speech.take());
        let _ = self.child.wait();
    }
}
