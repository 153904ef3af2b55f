//! Kafka's own command-line tools, each against this broker and against the real Kafka: what they print is the same
//! where it does not depend on ports, ids, sizes and times.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use ottla_tests::broker::{Broker, Options};
use ottla_tests::kafka::{Printed, RealKafka, kafka_jars, run, tool};

mod steps;

/// How long a tool may take to say that what it asks for is not served, on a loaded machine.
const REFUSAL_PATIENCE: Duration = Duration::from_secs(40);
/// How long a consumer may take to become the member of a group, on a loaded machine.
const MEMBER_PATIENCE: Duration = Duration::from_secs(60);

/// What is known of a step's output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Check {
    /// It succeeds, with the same output from both brokers.
    Same,
    /// It prints the same error from both brokers, with the same exit code; some tools exit with 0 even so.
    Refused,
    /// It succeeds on both, with output that depends on the broker, its age or the time.
    Differs,
    /// It ends soon, with an error, on ours alone: an API that is not there yet.
    Unserved,
}

/// One run of a tool.
struct Step {
    check: Check,
    /// The tool's name, without `kafka-` and `.sh`.
    tool: &'static str,
    /// Its arguments, with the broker's address before them or at their end.
    args: &'static str,
    /// Its standard input, or what the file in its arguments holds.
    input: &'static str,
    /// A piece of its masked output that must be there.
    expect: &'static str,
}

/// One of the two brokers, as the tools see it.
struct Target<'a> {
    jars: &'a Path,
    directory: &'a Path,
    address: String,
}

/// Keys whose lines in `configs --describe --all` are not the same, with the reason.
const DIFFERENT_KEYS: &[(&str, &[&str])] = &[
    ("a record is durable when it is acknowledged", &["flush.messages", "log.flush.interval.messages"]),
    (
        "this broker's own",
        &[
            "cpus",
            "metrics.listener",
            "ottla.journal.commits.min",
            "ottla.segment.files.open.max",
            "ottla.tail.cache.bytes",
            "shards",
        ],
    ),
    (
        "the test's own addresses and directories",
        &["advertised.listeners", "listeners", "log.dir", "log.dirs"],
    ),
    (
        "defaults of one node that needs no configuration",
        &[
            "broker.id",
            "controller.listener.names",
            "controller.quorum.voters",
            "node.id",
            "offsets.topic.replication.factor",
            "process.roles",
            "share.coordinator.state.topic.min.isr",
            "share.coordinator.state.topic.replication.factor",
            "transaction.state.log.min.isr",
            "transaction.state.log.replication.factor",
        ],
    ),
    (
        "in Kafka 4.4, whose table this broker has; the Kafka under test is 4.3",
        &[
            "errors.deadletterqueue.auto.create.topics.enable",
            "errors.deadletterqueue.group.enable",
            "errors.deadletterqueue.topic.name.prefix",
            "group.streams.assignors",
            "group.streams.rack.aware.assignment.tags",
            "group.streams.topology.description.plugin.class",
            "log.remote.copy.lag.bytes",
            "log.remote.copy.lag.ms",
            "remote.copy.lag.bytes",
            "remote.copy.lag.ms",
            "sasl.oauthbearer.allow.unverified.audience",
            "sasl.oauthbearer.allow.unverified.issuer",
        ],
    ),
];

#[test]
fn kafkas_own_tools_print_the_same() {
    let Some(jars) = kafka_jars() else { return };
    let directory = tempfile::tempdir().expect("a temporary directory");
    let directory = directory.path();
    // A broker with Kafka's default number of partitions and its node id.
    let broker = Broker::start(&Options::new(&directory.join("ours")).set("node.id", 1));
    let kafka_directory = directory.join("kafka");
    std::fs::create_dir(&kafka_directory).expect("it is new");
    let kafka = RealKafka::start(&jars, &kafka_directory, &[]);
    let target = |address| Target { jars: &jars, directory, address };
    let (ours, theirs) = (target(broker.address().to_string()), target(kafka.address()));
    for steps in [steps::TOPICS, steps::CONFIGS, steps::RECORDS, steps::GROUPS] {
        walk(steps, &ours, &theirs);
    }
    with_a_live_member(&ours, &theirs);
    for steps in [steps::LOAD, steps::CLUSTER] {
        walk(steps, &ours, &theirs);
    }
    assert_eq!(broker.stop(), 0);
}

fn walk(steps: &[Step], ours: &Target<'_>, theirs: &Target<'_>) {
    for step in steps {
        let start = Instant::now();
        match step.check {
            Check::Unserved => check_unserved(step, ours),
            Check::Same | Check::Refused | Check::Differs => check_both(step, ours, theirs),
        }
        eprintln!("{:>6} ms  {:?} {} {}", start.elapsed().as_millis(), step.check, step.tool, step.args);
    }
}

fn check_both(step: &Step, ours: &Target<'_>, theirs: &Target<'_>) {
    let name = format!("{} {}", step.tool, step.args);
    let (our_output, their_output) = std::thread::scope(|scope| {
        let theirs = scope.spawn(|| theirs.perform(step));
        (ours.perform(step), theirs.join().expect("a tool's run does not panic"))
    });
    let (our_text, their_text) = (ours.masked(&our_output), theirs.masked(&their_output));
    assert!(our_text.contains(step.expect), "{name}: no {:?} in:\n{our_text}", step.expect);
    assert_eq!(our_output.code, their_output.code, "{name}:\n{our_text}\nKafka's:\n{their_text}");
    if step.check != Check::Refused {
        assert_eq!(our_output.code, 0, "{name}:\n{our_text}");
        assert!(!our_text.contains("Exception"), "{name}:\n{our_text}");
    }
    if step.check != Check::Differs {
        assert_eq!(comparable(&our_text), comparable(&their_text), "{name}: ours, then Kafka's");
    }
}

fn check_unserved(step: &Step, ours: &Target<'_>) {
    let start = Instant::now();
    let text = ours.masked(&ours.perform(step));
    assert!(text.contains(step.expect), "{} {}: no {:?} in:\n{text}", step.tool, step.args, step.expect);
    assert!(start.elapsed() < REFUSAL_PATIENCE, "{} {} took {:?}", step.tool, step.args, start.elapsed());
}

/// A group with a member: described with what the member has, and what a group with members forbids.
fn with_a_live_member(ours: &Target<'_>, theirs: &Target<'_>) {
    let _members = [ours, theirs].map(Member::start);
    let members = Step {
        check: Check::Same,
        tool: "consumer-groups",
        args: "--describe --group live --members --verbose",
        input: "",
        expect: "live console-consumer /127.0.0.1 console-consumer 5 - walk:0,1,2,3,4",
    };
    let deadline = Instant::now() + MEMBER_PATIENCE;
    for target in [ours, theirs] {
        while !target.masked(&target.perform(&members)).contains(members.expect) {
            assert!(Instant::now() < deadline, "{:?}", target.perform(&members));
        }
    }
    walk(&[members], ours, theirs);
    walk(steps::LIVE, ours, theirs);
}

/// A console consumer in the background.
struct Member(Child);

impl Member {
    fn start(target: &Target<'_>) -> Self {
        let mut command = tool(target.jars, "console-consumer");
        command.args(["--bootstrap-server", &target.address, "--topic", "walk", "--group", "live"]);
        // Offsets are committed when it closes, which it never does in order: the group has none while it lives.
        command.args(["--command-property", "enable.auto.commit=false"]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        Self(command.spawn().expect("java is there"))
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Target<'_> {
    fn perform(&self, step: &Step) -> Printed {
        let mut command: Command = tool(self.jars, step.tool);
        if !step.args.ends_with(" @") {
            command.args(["--bootstrap-server", &self.address]);
        }
        let file = self.directory.join("input");
        for word in step.args.split_whitespace() {
            if word == "@FILE" {
                std::fs::write(&file, step.input).expect("the directory is the test's own");
                command.arg(&file);
            } else if word == "@" {
                command.arg(&self.address);
            } else {
                command.arg(word.replace('+', " "));
            }
        }
        run(&mut command, step.input.as_bytes())
    }

    /// What a tool printed, without what differs between any two brokers: addresses, ids, the time before an error's
    /// line, the width of columns, and the order of lines that come from an unordered map.
    fn masked(&self, printed: &Printed) -> String {
        let text = format!("{}\n{}", printed.stdout, printed.stderr).replace(&self.address, "ADDRESS");
        let mut lines: Vec<String> = text.lines().map(mask).collect();
        lines.sort();
        lines.join("\n")
    }
}

fn comparable(text: &str) -> String {
    text.lines().filter(|line| !has_different_key(line)).collect::<Vec<_>>().join("\n")
}

fn has_different_key(line: &str) -> bool {
    let key = line.trim_start().split('=').next().unwrap_or_default();
    line.contains(" sensitive=") && DIFFERENT_KEYS.iter().any(|(_, keys)| keys.contains(&key))
}

fn mask(line: &str) -> String {
    let is_time =
        |word: &str| word.len() == 12 && word.starts_with(|c: char| c.is_ascii_digit()) && word.contains(':');
    let mut words: Vec<&str> = line.split(' ').filter(|word| !word.is_empty()).collect();
    if words.first().is_some_and(|word| is_time(word)) {
        words[0] = "TIME";
    }
    let line = words.iter().map(|word| mask_member(word)).collect::<Vec<_>>().join(" ");
    let words = line
        .split('\t')
        .map(|word| if word.starts_with("TopicId: ") { "TopicId: ID" } else { word.trim_end() });
    words.collect::<Vec<_>>().join("\t")
}

/// A member's id is its client's name and a random uuid.
fn mask_member(word: &str) -> &str {
    const NAME: &str = "console-consumer";
    if word.starts_with(NAME) { NAME } else { word }
}
