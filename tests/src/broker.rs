//! A broker under test: the real binary, started as a user starts it, on a free port and a directory of its own.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, Once};
use std::time::{Duration, Instant};

/// How long a broker may take to say where it listens, on a loaded machine.
const START_PATIENCE: Duration = Duration::from_secs(60);
/// How long a broker may take to end after SIGTERM.
const STOP_PATIENCE: Duration = Duration::from_secs(60);

/// The binary `ottla` of this build, built once per test process.
#[must_use]
pub fn binary() -> PathBuf {
    static BUILT: Once = Once::new();
    if let Some(path) = std::env::var_os("OTTLA_BINARY") {
        // Brokers run in directories of their own.
        return Path::new(&path).canonicalize().expect("OTTLA_BINARY names a file");
    }
    let test = std::env::current_exe().expect("a test knows its own path");
    let profile = test.parent().and_then(Path::parent).expect("tests lie in target/<profile>/deps");
    BUILT.call_once(|| {
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.args(["build", "--quiet", "-p", "ottla-command", "--bin", "ottla"]);
        if profile.ends_with("release") {
            cargo.arg("--release");
        }
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the workspace");
        let status = cargo.current_dir(root).status().expect("cargo is there: it started this test");
        assert!(status.success(), "the broker builds");
    });
    profile.join("ottla")
}

/// How a broker is started.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where its data lies.
    pub data: PathBuf,
    /// `--override` settings, as `key=value`.
    pub overrides: Vec<String>,
    /// Environment variables besides those of the test.
    pub environment: Vec<(String, String)>,
    /// The port; 0 for any free one.
    pub port: u16,
    /// How many descriptors the process may have; as many as the test where it is not set.
    pub descriptors: Option<u64>,
}

impl Options {
    /// Two shards on a free port of the loopback interface.
    #[must_use]
    pub fn new(data: &Path) -> Self {
        let overrides = ["shards=2", "group.initial.rebalance.delay.ms=0"].map(str::to_owned).to_vec();
        Self { data: data.to_owned(), overrides, environment: Vec::new(), port: 0, descriptors: None }
    }

    /// Limits the descriptors of the process.
    #[must_use]
    pub fn descriptors(mut self, limit: u64) -> Self {
        self.descriptors = Some(limit);
        self
    }

    /// Adds a setting.
    #[must_use]
    pub fn set(mut self, key: &str, value: impl std::fmt::Display) -> Self {
        self.overrides.push(format!("{key}={value}"));
        self
    }
}

/// A running broker.
#[derive(Debug)]
pub struct Broker {
    child: Child,
    address: SocketAddr,
    output: Arc<Mutex<String>>,
}

impl Broker {
    /// Starts a broker and waits until it says where it listens.
    ///
    /// # Panics
    /// When it ends or stays silent instead; the message carries what it printed.
    #[must_use]
    pub fn start(options: &Options) -> Self {
        let mut command = command_of(options);
        command.arg("start");
        if !options.overrides.iter().any(|setting| setting.starts_with("log.dirs=")) {
            command.arg("--data").arg(&options.data);
        }
        command.args(["--override", &format!("listeners=PLAINTEXT://127.0.0.1:{}", options.port)]);
        for setting in &options.overrides {
            command.args(["--override", setting]);
        }
        command.envs(options.environment.iter().map(|(name, value)| (name, value)));
        Self::run(command)
    }

    /// Runs a command that starts a broker, and waits until it says where it listens.
    ///
    /// # Panics
    /// When it ends or stays silent instead; the message carries what it printed.
    #[must_use]
    pub fn run(mut command: Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary was just built");
        let output = Arc::new(Mutex::new(String::new()));
        gather(child.stdout.take().expect("it is piped"), &output);
        gather(child.stderr.take().expect("it is piped"), &output);
        let address = wait_for_address(&mut child, &output);
        Self { child, address, output }
    }

    /// Where clients connect.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Every listener's name with each address that it has, in the order of the settings.
    ///
    /// # Panics
    /// When the broker's words about them are not understood.
    #[must_use]
    pub fn listeners(&self) -> Vec<(String, SocketAddr)> {
        listeners_in(&self.output())
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has printed so far.
    ///
    /// # Panics
    /// When a thread that gathers output panicked.
    #[must_use]
    pub fn output(&self) -> String {
        self.output.lock().expect("gathering does not panic").clone()
    }

    /// Where it serves metrics, as `HOST:PORT`.
    ///
    /// # Panics
    /// When it was started without `metrics.listener`.
    #[must_use]
    pub fn metrics_place(&self) -> String {
        let output = self.output();
        let url = output.lines().find_map(|line| line.trim().strip_prefix("metrics"));
        let url = url.expect("a line says where").trim();
        let place = url.strip_prefix("http://").and_then(|url| url.strip_suffix("/metrics"));
        place.expect("a URL").to_owned()
    }

    /// Resident memory in bytes.
    #[must_use]
    pub fn resident_bytes(&self) -> u64 {
        proc_status(self.pid(), "VmRSS:") * 1024
    }

    /// Whether the process still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Ends it at once, as a crash of the process does.
    ///
    /// # Panics
    /// When it cannot be reaped.
    pub fn kill(mut self) {
        self.child.kill().expect("a child can be killed");
        self.child.wait().expect("a killed child is reaped");
    }

    /// Ends it with SIGTERM and returns its exit code.
    ///
    /// # Panics
    /// When it does not end in time or by a signal; the message carries what it printed.
    pub fn stop(self) -> i32 {
        self.signal("TERM");
        self.wait()
    }

    /// Sends it a signal, by name, through the shell's own command, so that this crate needs no unsafe code.
    ///
    /// # Panics
    /// When it is gone.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").arg(format!("-{name}")).arg(self.pid().to_string()).status();
        assert!(status.expect("kill is there").success(), "the broker takes a signal");
    }

    /// Waits until it has ended, which it was told to, and returns its exit code.
    ///
    /// # Panics
    /// When it does not end in time or by a signal; the message carries what it printed.
    pub fn wait(mut self) -> i32 {
        let deadline = Instant::now() + STOP_PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("a child can be waited for") {
                return status.code().unwrap_or_else(|| panic!("ended by a signal:\n{}", self.output()));
            }
            assert!(Instant::now() < deadline, "the broker did not end after SIGTERM:\n{}", self.output());
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// The command that runs the broker, by way of a shell where descriptors are to be limited.
fn command_of(options: &Options) -> Command {
    let Some(limit) = options.descriptors else { return Command::new(binary()) };
    let mut command = Command::new("sh");
    command.args(["-c", &format!("ulimit -n {limit}; exec \"$0\" \"$@\"")]).arg(binary());
    command
}

/// User and system time of a process so far, in steps of ten milliseconds.
///
/// # Panics
/// When the process is gone.
#[must_use]
pub fn cpu_time(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process runs");
    let after_name = stat.rsplit_once(')').expect("the name is in parentheses").1;
    let fields = after_name.split_whitespace().skip(11).take(2);
    let ticks: u64 = fields.map(|field| field.parse::<u64>().expect("a number of ticks")).sum();
    // The kernel's unit for user space, USER_HZ, is 100 per second on every Linux that this runs on.
    Duration::from_millis(ticks * 10)
}

/// One number of `/proc/<pid>/status`, in the unit that stands there; 0 when the process is gone.
#[must_use]
pub fn proc_status(pid: u32, field: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// The listeners in a start's words: `listening  PLAINTEXT://127.0.0.1:43211, PLAINTEXT://[::1]:43211`.
fn listeners_in(text: &str) -> Vec<(String, SocketAddr)> {
    let line = text.lines().find_map(|line| line.trim().strip_prefix("listening"));
    let listeners = line.expect("the listeners are named").split(',').map(|listener| {
        let (name, address) = listener.trim().split_once("://").expect("a name and an address");
        (name.to_owned(), address.parse().expect("a bound address"))
    });
    listeners.collect()
}

fn gather(stream: impl std::io::Read + Send + 'static, output: &Arc<Mutex<String>>) {
    let output = Arc::clone(output);
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            let mut output = output.lock().expect("gathering does not panic");
            output.push_str(&line);
            output.push('\n');
        }
    });
}

/// Waits for the lines of a start that is done, and takes the first listener's address.
fn wait_for_address(child: &mut Child, output: &Arc<Mutex<String>>) -> SocketAddr {
    let deadline = Instant::now() + START_PATIENCE;
    loop {
        let text = output.lock().expect("gathering does not panic").clone();
        if text.contains("ready in") {
            return listeners_in(&text)[0].1;
        }
        if let Ok(Some(status)) = child.try_wait() {
            std::thread::sleep(Duration::from_millis(50));
            panic!("the broker ended with {status}:\n{}", output.lock().expect("gathering does not panic"));
        }
        assert!(Instant::now() < deadline, "the broker did not start:\n{text}");
        std::thread::sleep(Duration::from_millis(2));
    }
}
