//! The clients that users already have: Kafka's own Java tools, kcat, Python's confluent-kafka.
//!
//! `make clients` puts them under `target/clients`; a test that needs one that is not there says so and ends. The
//! real Kafka broker comes from the same jars, so that answers can be compared with its own.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Once;
use std::time::{Duration, Instant};

/// Kafka's logging in its tests: warnings and errors, one line each.
const LOGGING: &str = "status = error\nappender.err.type = Console\nappender.err.name = ERR\n\
                       appender.err.layout.type = PatternLayout\n\
                       appender.err.layout.pattern = %p %m (%c{1})%n\nrootLogger.level = warn\n\
                       rootLogger.appenderRef.err.ref = ERR\n";

/// How long one run of a tool may take on a loaded machine.
const TOOL_PATIENCE: Duration = Duration::from_secs(180);

/// Where `make clients` puts things.
#[must_use]
pub fn clients_dir() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the workspace");
    root.join("target/clients")
}

/// Kafka's jars, if they are there and Java is too.
#[must_use]
pub fn kafka_jars() -> Option<PathBuf> {
    let jars = clients_dir().join("kafka");
    let is_there = jars.join(".complete").exists() && which("java").is_some();
    if !is_there {
        eprintln!("skipped: Kafka's own tools are not here (make clients)");
    }
    is_there.then_some(jars)
}

/// kcat, if it is there.
#[must_use]
pub fn kcat() -> Option<PathBuf> {
    let found = which("kcat");
    if found.is_none() {
        eprintln!("skipped: kcat is not here (make clients)");
    }
    found
}

/// A Python that has confluent-kafka, if it is there.
#[must_use]
pub fn python() -> Option<PathBuf> {
    let python = clients_dir().join("python/bin/python");
    if !python.exists() {
        eprintln!("skipped: Python's confluent-kafka is not here (make clients)");
    }
    python.exists().then_some(python)
}

fn which(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|directory| directory.join(name)).find(|candidate| candidate.is_file())
}

/// The Java class behind one of Kafka's `kafka-<name>.sh`.
///
/// # Panics
/// For a tool that is not in the table.
#[must_use]
pub fn class_of(tool: &str) -> &'static str {
    match tool {
        "broker-api-versions" => "org.apache.kafka.tools.BrokerApiVersionsCommand",
        "client-metrics" => "org.apache.kafka.tools.ClientMetricsCommand",
        "cluster" => "org.apache.kafka.tools.ClusterTool",
        "configs" => "kafka.admin.ConfigCommand",
        "console-consumer" => "org.apache.kafka.tools.consumer.ConsoleConsumer",
        "console-producer" => "org.apache.kafka.tools.ConsoleProducer",
        "console-share-consumer" => "org.apache.kafka.tools.consumer.ConsoleShareConsumer",
        "consumer-groups" => "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand",
        "consumer-perf-test" => "org.apache.kafka.tools.ConsumerPerformance",
        "delete-records" => "org.apache.kafka.tools.DeleteRecordsCommand",
        "dump-log" => "org.apache.kafka.tools.DumpLogSegments",
        "e2e-latency" => "org.apache.kafka.tools.EndToEndLatency",
        "features" => "org.apache.kafka.tools.FeatureCommand",
        "get-offsets" => "org.apache.kafka.tools.GetOffsetShell",
        "groups" => "org.apache.kafka.tools.GroupsCommand",
        "leader-election" => "org.apache.kafka.tools.LeaderElectionCommand",
        "log-dirs" => "org.apache.kafka.tools.LogDirsCommand",
        "metadata-quorum" => "org.apache.kafka.tools.MetadataQuorumCommand",
        "producer-perf-test" => "org.apache.kafka.tools.ProducerPerformance",
        "reassign-partitions" => "org.apache.kafka.tools.reassign.ReassignPartitionsCommand",
        "share-groups" => "org.apache.kafka.tools.consumer.group.ShareGroupCommand",
        "storage" => "kafka.tools.StorageTool",
        "server" => "kafka.Kafka",
        "topics" => "org.apache.kafka.tools.TopicCommand",
        "transactions" => "org.apache.kafka.tools.TransactionsCommand",
        "verifiable-consumer" => "org.apache.kafka.tools.VerifiableConsumer",
        "verifiable-producer" => "org.apache.kafka.tools.VerifiableProducer",
        _ => panic!("no tool of Kafka's named {tool}"),
    }
}

/// One of Kafka's tools, ready for its arguments.
///
/// Java maps the classes that every tool loads from an archive, which takes half a second from each run. It is made
/// once, beside the jars; a Java that cannot use it goes on without.
#[must_use]
pub fn tool(jars: &Path, name: &str) -> Command {
    let archive = jars.with_extension("jsa");
    static ARCHIVED: Once = Once::new();
    ARCHIVED.call_once(|| {
        if !archive.exists() {
            archive_classes(jars, &archive);
        }
    });
    let mut command = java(jars, &[&format!("-XX:SharedArchiveFile={}", archive.display())]);
    command.arg(class_of(name));
    command
}

/// A Java that has Kafka's jars, ready for the name of a class.
fn java(jars: &Path, options: &[&str]) -> Command {
    let mut command = Command::new("java");
    command.args(["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]).args(options);
    command.arg("-cp").arg(jars.join("*")).stdin(Stdio::null());
    command
}

/// Archives the classes that a tool has loaded by the time it finds nobody at its address: those of a producer and a
/// configuration. Test processes that do this at the same time each write a file of their own.
fn archive_classes(jars: &Path, archive: &Path) {
    let own = archive.with_extension(format!("jsa.{}", std::process::id()));
    let mut command = java(jars, &[&format!("-XX:ArchiveClassesAtExit={}", own.display())]);
    command.arg(class_of("get-offsets"));
    command.args(["--bootstrap-server", "127.0.0.1:9", "--command-config"]);
    let config = archive.with_extension("properties");
    std::fs::write(&config, "default.api.timeout.ms=1000\nrequest.timeout.ms=1000\n")
        .expect("it can be written");
    let _ = run(command.arg(&config), b"");
    let _ = std::fs::rename(&own, archive);
}

/// What a finished tool printed.
#[derive(Debug)]
pub struct Printed {
    /// Its exit code; -1 when a signal ended it.
    pub code: i32,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Printed {
    /// The standard output of a run that must have succeeded.
    ///
    /// # Panics
    /// When it failed; the message carries what it printed.
    pub fn success(self) -> String {
        assert_eq!(self.code, 0, "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self.stdout
    }
}

/// Runs a command to its end with `input` on its standard input.
///
/// # Panics
/// When it cannot be started or does not end in time.
#[must_use]
pub fn run(command: &mut Command, input: &[u8]) -> Printed {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let mut stdin = child.stdin.take().expect("it is piped");
    let input = input.to_vec();
    let writer = std::thread::spawn(move || {
        use std::io::Write;
        // A tool that ends early closes its input; what it printed then tells more than this error.
        let _ = stdin.write_all(&input);
    });
    let pid = child.id();
    let watchdog = Watchdog::start(pid);
    let Output { status, stdout, stderr } = child.wait_with_output().expect("a child can be waited for");
    writer.join().expect("the writer does not panic");
    assert!(!watchdog.stop(), "{command:?} did not end in time");
    Printed {
        code: status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&stdout).into_owned(),
        stderr: String::from_utf8_lossy(&stderr).into_owned(),
    }
}

/// Ends a tool that takes too long.
struct Watchdog {
    done: std::sync::Arc<std::sync::atomic::AtomicBool>,
    thread: std::thread::JoinHandle<bool>,
}

impl Watchdog {
    fn start(pid: u32) -> Self {
        let done = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let seen = std::sync::Arc::clone(&done);
        let deadline = Instant::now() + TOOL_PATIENCE;
        let thread = std::thread::spawn(move || {
            while !seen.load(std::sync::atomic::Ordering::Acquire) {
                if Instant::now() > deadline {
                    let _ = Command::new("kill").arg("-KILL").arg(pid.to_string()).status();
                    return true;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            false
        });
        Self { done, thread }
    }

    /// Whether it had to step in.
    fn stop(self) -> bool {
        self.done.store(true, std::sync::atomic::Ordering::Release);
        self.thread.join().expect("the watchdog does not panic")
    }
}

/// The real Kafka, one node on a free port, with its data under `dir/data`.
#[derive(Debug)]
pub struct RealKafka {
    child: Child,
    port: u16,
}

impl RealKafka {
    /// Formats `dir` and starts a broker there. The feature of eligible leader replicas is off: with it, Kafka writes a
    /// `min.insync.replicas` for the whole cluster that then shows in what many tools print.
    ///
    /// # Panics
    /// When it does not answer in time.
    #[must_use]
    pub fn start(jars: &Path, dir: &Path, settings: &[&str]) -> Self {
        Self::open_with(jars, dir, settings, &["--feature", "eligible.leader.replicas.version=0"])
    }

    /// Starts a broker on what stands in `dir`, or formats it with every feature at its default where nothing does.
    /// What the broker warns of goes to `dir/server.log`, which every start begins anew.
    ///
    /// # Panics
    /// When it does not answer in time.
    #[must_use]
    pub fn open(jars: &Path, dir: &Path, settings: &[&str]) -> Self {
        Self::open_with(jars, dir, settings, &[])
    }

    fn open_with(jars: &Path, dir: &Path, settings: &[&str], features: &[&str]) -> Self {
        let (port, controller) = (free_port(), free_port());
        let mut properties = format!(
            "process.roles=broker,controller\nnode.id=1\n\
             listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}\n\
             advertised.listeners=PLAINTEXT://127.0.0.1:{port}\ncontroller.listener.names=CONTROLLER\n\
             controller.quorum.voters=1@127.0.0.1:{controller}\nlog.dirs={}\n\
             offsets.topic.replication.factor=1\ntransaction.state.log.replication.factor=1\n\
             transaction.state.log.min.isr=1\ngroup.initial.rebalance.delay.ms=0\n",
            dir.join("data").display()
        );
        for setting in settings {
            properties.push_str(setting);
            properties.push('\n');
        }
        let file = dir.join("server.properties");
        std::fs::write(&file, properties).expect("the directory is the test's own");
        if !dir.join("data/meta.properties").exists() {
            let cluster = ["format", "-t", "AAAAAAAAAAAAAAAAAAAAAQ"];
            run(tool(jars, "storage").args(cluster).args(features).arg("-c").arg(&file), b"").success();
        }
        let logging = dir.join("log4j2.properties");
        std::fs::write(&logging, LOGGING).expect("the directory is the test's own");
        let log = std::fs::File::create(dir.join("server.log")).expect("the directory is the test's own");
        let mut server = Command::new("java");
        server.arg(format!("-Dlog4j2.configurationFile={}", logging.display()));
        server.args(["-Xmx512m", "-cp"]).arg(jars.join("*")).arg(class_of("server")).arg(&file);
        server.stdin(Stdio::null()).stdout(log.try_clone().expect("a file can be cloned")).stderr(log);
        let mut broker = Self { child: server.spawn().expect("java is there"), port };
        let deadline = Instant::now() + TOOL_PATIENCE;
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(matches!(broker.child.try_wait(), Ok(None)), "Kafka ended, see {}", dir.display());
            assert!(Instant::now() < deadline, "Kafka did not answer, see {}", dir.display());
            std::thread::sleep(Duration::from_millis(100));
        }
        broker
    }

    /// Ends it in order, as its own script does.
    ///
    /// # Panics
    /// When it does not end in time.
    pub fn stop(mut self) {
        let told = Command::new("kill").arg("-TERM").arg(self.pid().to_string()).status();
        assert!(told.expect("kill is there").success(), "Kafka takes a signal");
        let deadline = Instant::now() + TOOL_PATIENCE;
        while matches!(self.child.try_wait(), Ok(None)) {
            assert!(Instant::now() < deadline, "Kafka did not end");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ends it at once, as a crash of the process does.
    pub fn kill(self) {
        drop(self);
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Where clients connect.
    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}

impl Drop for RealKafka {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port of the loopback interface that was free a moment ago. It lies below the range from which the system takes
/// the ports of outgoing connections: a client that knocks there while nobody listens must not get it for itself.
#[must_use]
pub fn free_port() -> u16 {
    let seed = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |time| time.subsec_nanos());
    let first =
        10_000 + u16::try_from((seed ^ std::process::id()) % 20_000).expect("a remainder below 20,000");
    let mut ports = (first..30_000).chain(10_000..first);
    let is_free = |port: &u16| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok();
    ports.find(is_free).expect("one of 20,000 ports is free")
}
