//! Kafka's own command-line tools, each against this broker and against the real Kafka: what they print is the same
//! where it does not depend on ports, ids, sizes and times.

use std::path::Path;
use std::process::Command;

use ottla_tests::broker::{Broker, Options};
use ottla_tests::kafka::{Printed, RealKafka, kafka_jars, run, tool};

/// One run of a tool.
struct Step {
    /// The tool's name, without `kafka-` and `.sh`.
    tool: &'static str,
    /// Its arguments; `@` stands for the broker's address.
    args: &'static [&'static str],
    /// Its standard input.
    input: &'static str,
    /// Whether its output is the same on both brokers once ids and addresses are masked.
    same: bool,
    /// A piece of its output that must be there.
    expect: &'static str,
}

const fn step(tool: &'static str, args: &'static [&'static str], expect: &'static str) -> Step {
    Step { tool, args, input: "", same: true, expect }
}

const fn differs(step: Step) -> Step {
    Step { same: false, ..step }
}

const PLAIN: &str = "--bootstrap-server";

/// The walk through the tools, in order: later steps rely on earlier ones.
const STEPS: &[Step] = &[
    differs(step("broker-api-versions", &[PLAIN, "@"], "Produce(0): 0 to 13")),
    step("topics", &[PLAIN, "@", "--create", "--topic", "walk", "--partitions", "3"], "Created topic walk."),
    step("topics", &[PLAIN, "@", "--create", "--topic", "walk", "--if-not-exists"], ""),
    step("topics", &[PLAIN, "@", "--create", "--topic", "one", "--partitions", "1"], "Created topic one."),
    step("topics", &[PLAIN, "@", "--list"], "walk"),
    step("topics", &[PLAIN, "@", "--describe", "--topic", "walk"], "PartitionCount: 3"),
    step("topics", &[PLAIN, "@", "--alter", "--topic", "walk", "--partitions", "5"], ""),
    step("topics", &[PLAIN, "@", "--describe", "--topic", "walk"], "PartitionCount: 5"),
    step(
        "configs",
        &[
            PLAIN,
            "@",
            "--alter",
            "--entity-type",
            "topics",
            "--entity-name",
            "walk",
            "--add-config",
            "retention.ms=3600000,cleanup.policy=[compact,delete]",
        ],
        "Completed updating config for topic walk.",
    ),
    step(
        "configs",
        &[PLAIN, "@", "--describe", "--entity-type", "topics", "--entity-name", "walk"],
        "retention.ms=3600000",
    ),
    step(
        "configs",
        &[
            PLAIN,
            "@",
            "--alter",
            "--entity-type",
            "topics",
            "--entity-name",
            "walk",
            "--delete-config",
            "retention.ms,cleanup.policy",
        ],
        "Completed updating config for topic walk.",
    ),
    differs(step(
        "configs",
        &[PLAIN, "@", "--describe", "--all", "--entity-type", "brokers", "--entity-name", "1"],
        "log.segment.bytes=1073741824",
    )),
    Step {
        tool: "console-producer",
        args: &[
            PLAIN,
            "@",
            "--topic",
            "one",
            "--property",
            "parse.key=true",
            "--property",
            "key.separator=:",
        ],
        input: "a:1\nb:2\na:3\n",
        same: false,
        expect: "",
    },
    step(
        "console-consumer",
        &[
            PLAIN,
            "@",
            "--topic",
            "one",
            "--from-beginning",
            "--max-messages",
            "3",
            "--group",
            "readers",
            "--property",
            "print.key=true",
            "--property",
            "print.offset=true",
        ],
        "Offset:2\ta\t3",
    ),
    step("get-offsets", &[PLAIN, "@", "--topic", "one"], "one:0:3"),
    step("get-offsets", &[PLAIN, "@", "--topic", "one", "--time", "-2"], "one:0:0"),
    differs(step("get-offsets", &[PLAIN, "@", "--topic", "one", "--time", "-3"], "one:0:2")),
    step("consumer-groups", &[PLAIN, "@", "--list"], "readers"),
    step("consumer-groups", &[PLAIN, "@", "--describe", "--group", "readers"], "one"),
    step("consumer-groups", &[PLAIN, "@", "--describe", "--group", "readers", "--state"], "Empty"),
    step(
        "consumer-groups",
        &[
            PLAIN,
            "@",
            "--reset-offsets",
            "--group",
            "readers",
            "--topic",
            "one",
            "--to-offset",
            "1",
            "--execute",
        ],
        "one",
    ),
    step(
        "consumer-groups",
        &[PLAIN, "@", "--delete-offsets", "--group", "readers", "--topic", "one"],
        "Successful",
    ),
    step("consumer-groups", &[PLAIN, "@", "--delete", "--group", "readers"], "were successful"),
    differs(step(
        "producer-perf-test",
        &[
            PLAIN,
            "@",
            "--topic",
            "walk",
            "--num-records",
            "20000",
            "--record-size",
            "100",
            "--throughput",
            "-1",
        ],
        "20000 records sent",
    )),
    differs(step(
        "consumer-perf-test",
        &[PLAIN, "@", "--topic", "walk", "--num-records", "20000"],
        "data.consumed.in.MB",
    )),
    differs(step(
        "e2e-latency",
        &[
            PLAIN,
            "@",
            "--topic",
            "one",
            "--num-records",
            "200",
            "--producer-acks",
            "all",
            "--record-size",
            "100",
        ],
        "Percentiles",
    )),
    differs(step(
        "verifiable-producer",
        &[PLAIN, "@", "--topic", "walk", "--max-messages", "100", "--acks", "-1"],
        "\"sent\":100",
    )),
    differs(step(
        "verifiable-consumer",
        &[
            PLAIN,
            "@",
            "--topic",
            "walk",
            "--group-id",
            "verified",
            "--max-messages",
            "100",
            "--reset-policy",
            "earliest",
        ],
        "partitions_assigned",
    )),
    differs(step(
        "log-dirs",
        &[PLAIN, "@", "--describe", "--topic-list", "walk"],
        "\"partition\":\"walk-0\"",
    )),
    differs(step("metadata-quorum", &[PLAIN, "@", "describe", "--status"], "LeaderId:")),
    step("topics", &[PLAIN, "@", "--delete", "--topic", "one"], ""),
    step("topics", &[PLAIN, "@", "--describe", "--topic", "one"], ""),
];

#[test]
fn kafkas_own_tools_print_the_same() {
    let Some(jars) = kafka_jars() else { return };
    let directory = tempfile::tempdir().expect("a temporary directory");
    // The tools of a broker with Kafka's default number of partitions and its node id.
    let options = Options::new(&directory.path().join("ours")).set("node.id", 1);
    let ours = Broker::start(&options);
    let kafka_directory = directory.path().join("kafka");
    std::fs::create_dir(&kafka_directory).expect("it is new");
    let theirs = RealKafka::start(&jars, &kafka_directory, &[]);
    let (our_address, their_address) = (ours.address().to_string(), theirs.address());
    for step in STEPS {
        let name = format!("{} {}", step.tool, step.args.join(" "));
        let our_output = perform(&jars, step, &our_address);
        assert!(our_output.code == 0 || !step.same, "{name}: {our_output:?}");
        let printed = format!("{}{}", our_output.stdout, our_output.stderr);
        assert!(printed.contains(step.expect), "{name} prints no {:?}:\n{printed}", step.expect);
        assert!(!printed.contains("Exception"), "{name}:\n{printed}");
        if step.same {
            let their_output = perform(&jars, step, &their_address);
            assert_eq!(our_output.code, their_output.code, "{name}");
            let (our_text, their_text) =
                (masked(&our_output.stdout, &our_address), masked(&their_output.stdout, &their_address));
            assert_eq!(our_text, their_text, "{name}: ours, then Kafka's");
        }
        eprintln!("ok {name}");
    }
    assert_eq!(ours.stop(), 0);
}

fn perform(jars: &Path, step: &Step, address: &str) -> Printed {
    let mut command: Command = tool(jars, step.tool);
    command.args(step.args.iter().map(|arg| if *arg == "@" { address } else { arg }));
    run(&mut command, step.input.as_bytes())
}

/// The output without what differs between any two brokers: addresses, topic ids, and the order of lines that come
/// from an unordered map.
fn masked(text: &str, address: &str) -> String {
    let mut lines: Vec<String> = text
        .replace(address, "ADDRESS")
        .lines()
        .map(|line| {
            let words = line.split('\t').map(|word| match word.strip_prefix("TopicId: ") {
                Some(_) => "TopicId: ID".to_owned(),
                None => word.trim_end().to_owned(),
            });
            words.collect::<Vec<_>>().join("\t")
        })
        .collect();
    lines.sort();
    lines.join("\n")
}
