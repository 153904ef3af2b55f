//! `ottla bench` as a user runs it: the real binary against a real broker, one test per mode, its counts beside those
//! of librdkafka on the same topic, and what it says where something is wrong.
//!
//! Nothing here depends on how fast anything is: no figure of time is looked at.

use std::path::Path;
use std::process::{Child, Command, Output};
use std::time::{Duration, Instant};

use ottla_tests::broker::{Broker, Options, binary};
use ottla_tests::kafka::free_port;
use ottla_tests::topics::create_topic;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

const PATIENCE: Duration = Duration::from_secs(60);

struct Setup {
    directory: tempfile::TempDir,
    broker: Broker,
}

impl Setup {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let broker = Broker::start(&Options::new(&directory.path().join("data")));
        Self { directory, broker }
    }

    fn bench(&self, flags: &str) -> Run {
        let (mode, flags) = flags.split_once(' ').unwrap_or((flags, ""));
        bench(&format!("{mode} --bootstrap-server {} {flags}", self.broker.address()))
    }

    fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.broker.address().to_string());
        config
    }
}

/// What a run printed and how it ended.
struct Run {
    code: Option<i32>,
    out: String,
    err: String,
}

fn bench(line: &str) -> Run {
    let mut command = Command::new(binary());
    let Output { status, stdout, stderr } =
        command.arg("bench").args(line.split_whitespace()).output().expect("the binary was just built");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    Run { code: status.code(), out: text(stdout), err: text(stderr) }
}

impl Run {
    /// Asserts that all was well.
    fn good(self) -> Self {
        assert_eq!(self.code, Some(0), "{}{}", self.out, self.err);
        assert_eq!(self.err, "", "without a terminal there is no live line");
        self
    }

    /// The number in a row of the table; 0 where there is no such row.
    fn figure(&self, name: &str) -> u64 {
        let row = self.out.lines().find(|line| line.starts_with(&format!("| {name} ")));
        let cell = row.and_then(|row| row.split('|').nth(2)).unwrap_or("0");
        cell.trim().replace(',', "").parse().unwrap_or_else(|_| panic!("no number for {name}:\n{}", self.out))
    }

    /// Asserts that the run was refused with one line.
    fn refused(&self) -> &str {
        assert_eq!((self.code, self.out.as_str()), (Some(1), ""), "{}", self.err);
        assert_eq!(self.err.lines().count(), 1, "{}", self.err);
        self.err.trim()
    }
}

#[test]
fn what_is_produced_is_what_librdkafka_reads() {
    let setup = Setup::new();
    create_topic(setup.broker.address(), "ours", 5, &[]);
    let loads = [
        "--num-records 2000 --record-size 100 --clients 3 --threads 2 --keys uniform:100",
        "--num-records 1000 --compression lz4 --idempotent --producer-props linger.ms=1 batch.size=4000",
        "--num-records 500 --compression zstd --acks 1 --partitioner round-robin --compressibility 0.5",
        "--num-records 300 --compression gzip --acks 0 --rate 5k",
        "--num-records 200 --compression snappy --record-size 10",
    ];
    for load in loads {
        let run = setup.bench(&format!("produce --topic ours {load}")).good();
        assert!(run.figure("produced, records") >= 200 && run.figure("errors") == 0, "{}", run.out);
    }
    let mut config = setup.client();
    config.set("group.id", "readers").set("auto.offset.reset", "earliest");
    let consumer: BaseConsumer = config.create().expect("the configuration is valid");
    consumer.subscribe(&["ours"]).expect("a valid name");
    let deadline = Instant::now() + PATIENCE;
    let (mut records, mut bytes) = (0, 0);
    while records < 4_000 {
        assert!(Instant::now() < deadline, "{records} of 4,000 records came");
        if let Some(message) = consumer.poll(Duration::from_millis(100)) {
            let message = message.expect("no error");
            records += 1;
            bytes += message.payload().map_or(0, <[u8]>::len);
        }
    }
    assert_eq!(bytes, 2_000 * 100 + 1_800 * 1_024 + 200 * 10);
    assert!(consumer.poll(Duration::from_millis(300)).is_none(), "no record beyond those that were counted");
}

#[test]
fn increasing_numbers_arrive_as_text() {
    let setup = Setup::new();
    let run =
        setup.bench("produce --topic numbers --payload-monotonic --num-records 700 --clients 2 --threads 2");
    assert_eq!(run.good().figure("produced, records"), 700);
    let mut config = setup.client();
    config.set("group.id", "readers").set("auto.offset.reset", "earliest");
    let consumer: BaseConsumer = config.create().expect("the configuration is valid");
    consumer.subscribe(&["numbers"]).expect("a valid name");
    let deadline = Instant::now() + PATIENCE;
    let mut numbers: Vec<u64> = Vec::new();
    while numbers.len() < 700 {
        assert!(Instant::now() < deadline, "{} of 700 records came", numbers.len());
        if let Some(message) = consumer.poll(Duration::from_millis(100)) {
            let message = message.expect("no error");
            let text = std::str::from_utf8(message.payload().expect("a value")).expect("text");
            numbers.push(text.parse().expect("a number"));
        }
    }
    numbers.sort_unstable();
    assert_eq!(numbers, (0..700).collect::<Vec<_>>());
}

#[test]
fn what_librdkafka_produces_is_what_is_consumed() {
    let setup = Setup::new();
    create_topic(setup.broker.address(), "theirs", 4, &[]);
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let mut config = setup.client();
        config.set("compression.type", codec).set("linger.ms", "2");
        let producer: BaseProducer = config.create().expect("the configuration is valid");
        for number in 0..700 {
            let (key, value) = (format!("k{number}"), format!("{number} {}", "x".repeat(number % 300)));
            producer.send(BaseRecord::to("theirs").key(&key).payload(&value)).expect("the queue has room");
        }
        producer.flush(PATIENCE).expect("everything is acknowledged");
    }
    for flags in ["", "--clients 3 --threads 2", "--no-fetch-session --partition-max-bytes 20000 --clients 9"]
    {
        let run = setup.bench(&format!("consume --topic theirs {flags}")).good();
        assert_eq!((run.figure("consumed, records"), run.figure("errors")), (3_500, 0), "{}", run.out);
        let whole = "3,500 records, every batch whole and no offset missing";
        assert!(run.out.contains(whole), "nobody knows what was sent: {}", run.out);
    }
}

#[test]
fn end_to_end_sees_every_record_and_writes_its_files() {
    let setup = Setup::new();
    let path = |name: &str| setup.directory.path().join(name).display().to_string();
    let (json, page, hgrm) = (path("run.json"), path("run.html"), path("run.hgrm"));
    let flags = format!(
        "end-to-end --num-records 3000 --rate 3k --clients 2 --consumers 3 --partitions 7 --compression zstd \
         --json {json} --report {page} --hgrm {hgrm}"
    );
    let run = setup.bench(&flags);
    assert_eq!(run.figure("produced, records"), 3_000, "{}{}", run.out, run.err);
    assert_eq!(run.figure("consumed, records"), 3_000);
    assert!(run.out.contains("3,000 records, all as sent") && run.out.contains("end to end p99.9, ms"));
    assert!(std::fs::read_to_string(&json).expect("a result").contains("\"end_to_end\""));
    let overlay = path("both.html");
    let both = bench(&format!("report {json} {json} --output {overlay}"));
    assert_eq!(both.code, Some(0), "{}", both.err);
    for page in [page, overlay] {
        assert!(std::fs::read_to_string(page).expect("a page").contains("<svg"));
    }
}

#[test]
fn a_cold_reader_stands_beside_live_traffic() {
    let setup = Setup::new();
    setup.bench("produce --topic cold --num-records 5000").good();
    let flags =
        "mixed --topic live --cold-topic cold --rate 500 --duration 2s --threads 2 --cold-delay 200ms";
    let run = setup.bench(flags);
    assert_eq!(
        (run.figure("cold read, records"), run.figure("produced, records")),
        (5_000, 1_000),
        "{}",
        run.out
    );
    assert_eq!((run.figure("consumed, records"), run.figure("errors")), (1_000, 0));
    let missing = setup.bench("mixed --topic live --cold-topic nowhere");
    assert_eq!(missing.refused(), "ottla: topic nowhere: does not exist");
}

#[test]
fn the_highest_rate_is_found_one_way_and_the_other() {
    let setup = Setup::new();
    let run = setup.bench("max --duration 1s --clients 2 --batch-size 64k");
    assert_eq!((run.code, run.figure("errors")), (Some(0), 0), "{}{}", run.out, run.err);
    assert!(run.figure("produced, records/s") > 0);
    let run = setup.bench("max --duration 500ms --p99 20s --round 200ms");
    assert!(
        run.out.contains("closed loop: ") && run.out.contains(" records/s: p99 "),
        "{}{}",
        run.out,
        run.err
    );
}

#[test]
fn connections_come_and_go_and_stay() {
    let setup = Setup::new();
    let run = setup.bench("connections --rate 200 --idle 40 --duration 1s --threads 2");
    assert_eq!((run.figure("connections"), run.figure("errors")), (200, 0), "{}{}", run.out, run.err);
    assert_eq!(run.figure("idle connections"), 40);
}

#[test]
fn members_join_and_leave_a_group() {
    let setup = Setup::new();
    let flags = "groups --members 4 --partitions 6 --change-every 300ms --heartbeat 20ms --duration 2s";
    let run = setup.bench(flags).good();
    assert!(run.figure("rebalances") >= 2, "the first, and one of a change: {}", run.out);
    assert!(run.figure("joins") >= 5 && run.figure("errors") == 0, "{}", run.out);
}

#[test]
fn a_soak_prints_its_lines_and_verifies() {
    let setup = Setup::new();
    let run = setup.bench("soak --rate 500 --duration 3s --warmup 1s --line-every 1s");
    let lines = run.out.lines().filter(|line| line.contains("0 errors  0 records bad")).count();
    assert!(lines >= 2, "{}{}", run.out, run.err);
    assert!(run.out.contains(", all as sent"), "{}", run.out);
}

/// A soak of a topic that is to go on until it is told to end, and its broker, which can be started again where it was.
struct Soak {
    _directory: tempfile::TempDir,
    options: Options,
    address: String,
    load: Option<Child>,
}

impl Soak {
    fn begin(topic: &str) -> (Self, Broker) {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let options = Options { port: free_port(), ..Options::new(&directory.path().join("data")) };
        let broker = Broker::start(&options);
        let address = broker.address().to_string();
        create_topic(broker.address(), topic, 3, &[]);
        let mut load = Command::new(binary());
        load.args(["bench", "soak", "--rate", "500", "--duration", "12h", "--idempotent", "--topic", topic])
            .args(["--bootstrap-server", &address])
            .stdout(std::process::Stdio::piped());
        let load = load.spawn().expect("the binary was just built");
        let soak = Self { _directory: directory, options, address, load: Some(load) };
        soak.wait(topic);
        (soak, broker)
    }

    /// Once its records can be read it is under way.
    fn wait(&self, topic: &str) {
        let flags = "--from latest --num-records 200 --duration 10m";
        bench(&format!("consume --bootstrap-server {} --topic {topic} {flags}", self.address)).good();
    }

    /// Ends it in order, and gives its report.
    fn end(mut self) -> String {
        let load = self.load.take().expect("it ends once");
        let sent = Command::new("kill").args(["-s", "TERM", &load.id().to_string()]).status();
        assert!(sent.expect("kill is there").success());
        let output = load.wait_with_output().expect("it ends");
        assert_eq!(output.status.code(), Some(143));
        String::from_utf8(output.stdout).expect("text")
    }
}

impl Drop for Soak {
    fn drop(&mut self) {
        // A test that failed leaves nothing behind.
        if let Some(mut load) = self.load.take() {
            load.kill().expect("it is a child of this process");
            load.wait().expect("it was killed");
        }
    }
}

#[test]
fn a_soak_outlives_a_killed_broker_and_misses_nothing() {
    let (soak, broker) = Soak::begin("outlived");
    broker.kill();
    let broker = Broker::start(&soak.options);
    soak.wait("outlived");
    let text = soak.end();
    assert!(text.contains("\n2 connections were lost and opened again, after "), "{text}");
    assert!(text.contains(", all as sent") && !text.contains("ended after"), "{text}");
    drop(broker);
}

#[test]
fn a_soak_whose_broker_stays_away_says_so() {
    let (soak, broker) = Soak::begin("left");
    broker.kill();
    let text = soak.end();
    assert!(text.contains("\nthe load ended after ") && text.contains("was lost ("), "{text}");
    assert!(text.contains("; nobody answers there now") && !text.contains("opened again"), "{text}");
}

#[test]
fn a_workload_file_is_run() {
    let setup = Setup::new();
    let write = |name: &str, text: &str| {
        let path = setup.directory.path().join(name);
        std::fs::write(&path, text).expect("a file");
        path
    };
    let load = "topics: 2\npartitionsPerTopic: 3\nmessageSize: 100\nuseRandomizedPayloads: true\n\
                randomBytesRatio: 0.5\nrandomizedPayloadPoolSize: 10\nsubscriptionsPerTopic: 2\n\
                consumerPerSubscription: 2\nproducersPerTopic: 2\nproducerRate: 500\ntestDurationMinutes: 1\n";
    let load = write("load.yaml", load);
    let driver =
        write("driver.yaml", "topicConfig: |\n  retention.ms=100000\nproducerConfig: |\n  linger.ms=1\n");
    let run = |load: &Path| {
        let (load, driver) = (load.display(), driver.display());
        setup.bench(&format!("workload {load} --driver {driver} --duration 1s --warmup 0s"))
    };
    let result = run(&load);
    assert_eq!(result.figure("produced, records"), 500, "{}{}", result.out, result.err);
    assert_eq!(result.figure("consumed, records"), 1_000, "two subscriptions read everything");
    assert!(
        result.out.contains("end-to-end 2 topics ottla-bench-")
            && result.out.contains("1,000 records, all as sent")
    );
    let bad = std::fs::read_to_string(&load).expect("it was just written").replace("e: 100", "e: many");
    let bad = run(&write("bad.yaml", &bad));
    assert!(bad.refused().contains("bad.yaml: line 3: messageSize"), "{}", bad.err);
}

#[test]
fn a_backlog_is_built_and_drained_while_production_goes_on() {
    let setup = Setup::new();
    let load = setup.directory.path().join("backlog.yaml");
    let text = "topics: 3\npartitionsPerTopic: 2\nmessageSize: 200\nsubscriptionsPerTopic: 2\n\
                consumerPerSubscription: 2\nproducersPerTopic: 1\nproducerRate: 4000\n\
                consumerBacklogSizeGB: 1\ntestDurationMinutes: 1\nwarmupDurationMinutes: 0\n";
    std::fs::write(&load, text).expect("a file");
    let run = |flags: &str| setup.bench(&format!("workload {} {flags}", load.display()));
    let result = run("--topic late --backlog 1m --duration 500ms --warmup 200ms --threads 2");
    assert!(
        result.out.contains(", drained to ") && result.out.contains(" while production went on"),
        "{}{}",
        result.out,
        result.err
    );
    let (records, bytes) = (result.figure("backlog records"), result.figure("backlog bytes"));
    assert!(records >= 5_243 && bytes == 200 * records, "1 MiB of 200 bytes: {}", result.out);
    assert_eq!(result.figure("errors"), 0, "{}", result.out);
    assert!(result.out.contains(" records, all as sent"), "{}", result.out);
    // What was produced, the warm-up included, is in the topics; every subscription has read all of it.
    let there: u64 = (0..3)
        .map(|topic| {
            setup.bench(&format!("consume --topic late-000000{topic}")).good().figure("consumed, records")
        })
        .sum();
    let checked = result.out.lines().find(|line| line.starts_with("| verification ")).expect("a row");
    let checked: String = checked.chars().filter(char::is_ascii_digit).collect();
    assert_eq!(checked.parse(), Ok(2 * there), "{}", result.out);
    let bad = run("--backlog some");
    assert!(bad.refused().starts_with("ottla: --backlog \"some\": must be 0 to "), "{}", bad.err);
}

#[test]
fn what_cannot_be_done_is_one_line() {
    let setup = Setup::new();
    let refusals = [
        ("produce --topic a/b", "ottla: --topic \"a/b\": must be"),
        ("produce --rate fast", "ottla: --rate \"fast\": must be a rate above 0"),
        (
            "produce --payload-monotonic --record-size 9",
            "ottla: --record-size 9: --payload-monotonic says what",
        ),
        ("produce --acks 7", "ottla: --acks 7: must be 0, 1 or all"),
        ("consume --topic nowhere", "ottla: topic nowhere: does not exist"),
        ("produce --topic nowhere --no-create", "ottla: topic nowhere: does not exist"),
        ("consume --from latest", "ottla: --from latest: needs --duration or --num-records"),
    ];
    for (flags, line) in refusals {
        let run = setup.bench(flags);
        assert!(run.refused().starts_with(line), "{}", run.err);
    }
    let nobody = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.local_addr().expect("it is bound")
    };
    let run = bench(&format!("produce --bootstrap-server {nobody}"));
    assert!(run.refused().starts_with(&format!("ottla: no broker at {nobody}: ")), "{}", run.err);
}

#[test]
fn more_clients_than_descriptors_are_refused_before_the_load() {
    let line = format!("ulimit -n 400; exec {} bench produce --clients 300", binary().display());
    let output = Command::new("sh").args(["-c", &line]).output().expect("a shell is there");
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(
        text.starts_with("ottla: --clients 300: must be at most ") && text.contains("ulimit -Hn"),
        "{text}"
    );
}

#[test]
fn an_error_that_nobody_can_be_told_is_still_one() {
    for command in ["bench produce --rate fast", "start /nowhere/server.properties"] {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("a device without room");
        let status = Command::new(binary()).args(command.split_whitespace()).stderr(full).status();
        assert_eq!(status.expect("the binary was just built").code(), Some(1), "{command}");
    }
}

#[test]
fn a_broker_that_is_killed_is_named_and_nobody_else_is_blamed() {
    let setup = Setup::new();
    let address = setup.broker.address();
    for mode in ["produce", "end-to-end"] {
        create_topic(address, mode, 3, &[]);
    }
    let loads = ["produce", "end-to-end"].map(|mode| {
        let line = format!("{mode} --bootstrap-server {address} --topic {mode} --rate 200 --duration 10m");
        std::thread::spawn(move || bench(&line))
    });
    for topic in ["produce", "end-to-end"] {
        setup.bench(&format!("consume --topic {topic} --num-records 20 --duration 10m")).good();
    }
    setup.broker.kill();
    for load in loads {
        let run = load.join().expect("no panic");
        assert_eq!(run.code, Some(1), "{}{}", run.out, run.err);
        let lost = format!(" s of 600 s: the connection to {address} was lost (");
        assert!(run.out.contains("\nthe load ended after ") && run.out.contains(&lost), "{}", run.out);
        assert!(run.out.contains("; nobody answers there now"), "{}", run.out);
        let blames = ["was the limit", "rate not reached", "record lost", "records lost", "FAILED"];
        assert!(!blames.iter().any(|blame| run.out.contains(blame)), "{}", run.out);
    }
}

#[test]
fn too_few_records_and_a_rate_beyond_reach_fail() {
    let setup = Setup::new();
    setup.bench("produce --topic few --num-records 50").good();
    let run = setup.bench("consume --topic few --num-records 100 --duration 1s");
    assert_eq!(run.code, Some(1), "{}", run.out);
    assert!(run.out.contains("50 of 100 records came"), "{}", run.out);
    // A record of a megabyte every microsecond is more than any machine takes.
    let run = setup.bench("produce --topic big --record-size 900000 --rate 1M --duration 1s --partitions 1");
    assert_eq!(run.code, Some(1), "{}", run.out);
    assert!(run.out.contains("rate not reached: ") && run.out.contains("was the limit"), "{}", run.out);
}

/// Whether this process, and what it starts, ignores the signal of this number.
fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux has it");
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).expect("a line");
    u64::from_str_radix(ignored.trim(), 16).expect("a set of signals") >> (signal - 1) & 1 == 1
}

#[test]
fn a_signal_ends_a_load_with_its_report_and_its_files() {
    let setup = Setup::new();
    create_topic(setup.broker.address(), "ended", 2, &[]);
    for (signal, code) in [("INT", 130), ("TERM", 143), ("HUP", 129)] {
        if is_ignored(code - 128) {
            eprintln!("{signal} is ignored in what runs behind nohup or in a shell's background");
            continue;
        }
        let json = setup.directory.path().join(format!("{signal}.json"));
        let mut load = Command::new(binary());
        let address = setup.broker.address().to_string();
        load.args(["bench", "soak", "--topic", "ended", "--rate", "100", "--duration", "12h", "--json"])
            .arg(&json)
            .args(["--bootstrap-server", &address])
            .stdout(std::process::Stdio::piped());
        let load = load.spawn().expect("the binary was just built");
        // Once its records can be read it is under way.
        setup.bench("consume --topic ended --from latest --num-records 20 --duration 10m").good();
        let sent = Command::new("kill").args(["-s", signal, &load.id().to_string()]).status();
        assert!(sent.expect("kill is there").success());
        let output = load.wait_with_output().expect("it ends");
        let text = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(code), "{text}");
        assert!(text.contains("\ninterrupted after ") && text.contains(", all as sent"), "{text}");
        assert!(std::fs::read_to_string(&json).expect("a result").contains("\"end_to_end\""));
    }
}
