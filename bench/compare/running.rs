//! A broker that runs: on its CPUs, in a directory and a process group of its own.
//!
//! CPU and memory are those of every process of the group. What must hold: the group is gone when this is dropped,
//! and the watchdog knows it as long as it is not.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use ottla_tests::kafka::free_port;

use super::driver::Driver;
use super::field::Field;
use super::first;

/// How long a broker may take to acknowledge, start or end.
const PATIENCE: Duration = Duration::from_secs(180);

/// A broker and what it runs on.
#[derive(Debug)]
pub struct Running<'f> {
    field: &'f Field,
    driver: Driver,
    directory: PathBuf,
    address: SocketAddr,
    second_port: u16,
    child: Option<Child>,
}

impl<'f> Running<'f> {
    /// Prepares a fresh directory and starts the broker there; gives it once it acknowledges, with the time from its
    /// start to that.
    #[must_use]
    pub fn fresh(field: &'f Field, driver: &Driver) -> (Self, Duration) {
        let directory = field.directory(driver);
        let _ = fs::remove_dir_all(&directory);
        fs::create_dir_all(&directory).expect("the directory of the comparison can be written");
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let mut running = Self {
            field,
            driver: driver.clone(),
            directory,
            address,
            second_port: second_port(address),
            child: None,
        };
        if let Some(script) = &driver.prepare {
            let mut shell = field.surroundings.shell(script);
            running.fill(&mut shell);
            let status = shell.stdin(Stdio::null()).status().expect("every system has a shell");
            assert!(status.success(), "{} is prepared, see {}", driver.name, running.log().display());
        }
        let time = running.start();
        (running, time)
    }

    /// Starts it again on what stands there; gives the time from its start to its first acknowledgement.
    ///
    /// The shell and what pins it run before the time does.
    pub fn start(&mut self) -> Duration {
        assert!(self.child.is_none(), "it runs once at a time");
        let script = format!("read -r go\nexec </dev/null\n{}", self.driver.start);
        let mut command = Command::new("taskset");
        command.args(["--cpu-list", &self.field.broker_cpus, "sh", "-ec", &script]);
        self.field.surroundings.fill(&mut command);
        self.fill(&mut command);
        let mut child =
            command.stdin(Stdio::piped()).process_group(0).spawn().expect("taskset is part of util-linux");
        self.field.watchdog.watch(child.id());
        let go = child.stdin.take().expect("it is piped");
        self.child = Some(child);
        std::thread::sleep(Duration::from_millis(100));
        let started = Instant::now();
        std::io::Write::write_all(&mut { go }, b"go\n").expect("the shell reads");
        while !first::is_acknowledged(self.address) {
            assert!(self.is_running(), "{} ended, see {}", self.driver.name, self.log().display());
            assert!(
                started.elapsed() < PATIENCE,
                "{} acknowledges, see {}",
                self.driver.name,
                self.log().display()
            );
            std::thread::sleep(Duration::from_micros(200));
        }
        started.elapsed()
    }

    fn fill(&self, command: &mut Command) {
        let log = fs::File::options().create(true).append(true).open(self.log());
        let log = log.expect("the directory of the comparison can be written");
        command.current_dir(&self.directory).env("ADDRESS", self.address.to_string());
        command.env("PORT", self.address.port().to_string()).env("SECOND_PORT", self.second_port.to_string());
        command.env("SETTINGS", &self.driver.settings);
        command.stdout(log.try_clone().expect("a file can be cloned")).stderr(log);
    }

    /// What it printed.
    fn log(&self) -> PathBuf {
        self.directory.join("broker.log")
    }

    fn is_running(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// Where clients connect.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where its files are.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// What it runs in.
    #[must_use]
    pub fn field(&self) -> &'f Field {
        self.field
    }

    fn group(&self) -> u32 {
        self.child.as_ref().expect("it runs").id()
    }

    /// User and system time of its processes so far, to the hundredth of a second.
    #[must_use]
    pub fn cpu(&self) -> Duration {
        // Behind the name, utime and stime are the 12th and 13th fields in units of USER_HZ, 100 per second.
        let ticks = processes_of(self.group()).values().map(|stat| stat[11] + stat[12]).sum::<u64>();
        Duration::from_millis(ticks * 10)
    }

    /// Time on a CPU of every thread that its processes have now, in nanoseconds: for idle times, in which none ends.
    #[must_use]
    pub fn thread_nanos(&self) -> u64 {
        let threads = processes_of(self.group()).into_keys().flat_map(|pid| {
            let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
            tasks.filter_map(|task| {
                let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
                text.split_whitespace().next()?.parse::<u64>().ok()
            })
        });
        threads.sum()
    }

    /// Memory that its processes hold now.
    #[must_use]
    pub fn resident_bytes(&self) -> u64 {
        let kibibytes =
            processes_of(self.group()).into_keys().map(|pid| ottla_tests::broker::proc_status(pid, "VmRSS:"));
        kibibytes.sum::<u64>() * 1024
    }

    /// Ends it at once, as a crash of its processes does.
    pub fn kill(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        signal("KILL", &format!("-{}", child.id()));
        let _ = child.wait();
        self.field.watchdog.forget(child.id());
    }

    /// Ends it in order, and removes its files.
    pub fn stop(mut self) {
        let deadline = Instant::now() + PATIENCE;
        signal(&self.driver.stop, &self.group().to_string());
        while self.is_running() {
            assert!(Instant::now() < deadline, "{} ends, see {}", self.driver.name, self.log().display());
            std::thread::sleep(Duration::from_millis(20));
        }
        self.kill();
        fs::remove_dir_all(&self.directory).expect("the directory is the comparison's own");
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Sends a signal through the system's own command; one that nobody can take any more is none.
fn signal(name: &str, to: &str) {
    let mut kill = Command::new("kill");
    let status = kill.arg(format!("-{name}")).arg("--").arg(to).stderr(Stdio::null()).status();
    status.expect("kill is part of every system");
}

/// A port that is not the first one's.
fn second_port(first: SocketAddr) -> u16 {
    loop {
        let port = free_port();
        if port != first.port() {
            return port;
        }
        // The search begins at a place that the time decides.
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The processes of a group with the numbers behind their names in `/proc/<pid>/stat`, state excluded as 0.
fn processes_of(group: u32) -> BTreeMap<u32, Vec<u64>> {
    let entries = fs::read_dir("/proc").expect("there is a /proc").flatten();
    let stats = entries.filter_map(|entry| {
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
        let fields = stat.rsplit_once(')')?.1.split_whitespace();
        let fields: Vec<u64> = fields.map(|field| field.parse().unwrap_or(0)).collect();
        (fields.len() > 20 && fields[2] == u64::from(group)).then_some((pid, fields))
    });
    stats.collect()
}
