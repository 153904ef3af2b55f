//! What the tests of the start share: the command with its arguments, and a few questions to a running broker.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use ottla_tests::broker::{Broker, binary};
use ottla_tests::producer::IdempotentProducer;
use ottla_tests::reader::read_partition;
use ottla_tools::client::Client;
use ottla_wire::ApiKey;
use ottla_wire::describe_cluster_request::DescribeClusterRequest;
use ottla_wire::describe_cluster_response::DescribeClusterResponse;

/// A listener on a free port.
pub const FREE: &str = "listeners=PLAINTEXT://127.0.0.1:0";

/// `ottla start` in the working directory `dir`, with arguments.
pub fn start(dir: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(binary());
    command.current_dir(dir).arg("start").args(arguments).stdin(Stdio::null());
    command
}

/// `ottla start` with `--override` settings.
pub fn start_with(dir: &Path, overrides: &[&str]) -> Command {
    let mut command = start(dir, &[]);
    command.args(overrides.iter().flat_map(|setting| ["--override", setting]));
    command
}

/// `ottla storage` with arguments: its exit code, its standard output and its standard error.
pub fn storage(arguments: &[&str]) -> (i32, String, String) {
    let output = Command::new(binary()).arg("storage").args(arguments).output().expect("the binary runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().expect("no signal"), text(&output.stdout), text(&output.stderr))
}

/// Runs a start that must be refused and returns the one line that it prints on standard error.
#[track_caller]
pub fn refusal(mut command: Command) -> String {
    let mut child =
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the command is there");
    let deadline = Instant::now() + Duration::from_secs(60);
    while child.try_wait().expect("a child can be waited for").is_none() {
        if Instant::now() > deadline {
            child.kill().expect("a child can be killed");
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    let output = child.wait_with_output().expect("it has ended");
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(1), "stdout:\n{stdout}\nstderr:\n{stderr}");
    assert_eq!(stdout, "", "nothing is said on standard output");
    assert_eq!(stderr.lines().count(), 1, "one line is enough:\n{stderr}");
    let line = stderr.trim_end().strip_prefix("ottla: ").expect("it says who speaks");
    line.to_owned()
}

/// The line of a start that begins with `name`.
#[track_caller]
pub fn line_of(broker: &Broker, name: &str) -> String {
    let output = broker.output();
    let line = output.lines().find_map(|line| line.strip_prefix("  ")?.strip_prefix(name));
    line.unwrap_or_else(|| panic!("no line {name} in\n{output}")).trim().to_owned()
}

/// The cluster's id, as clients are told.
pub fn cluster_id(address: SocketAddr) -> String {
    let mut client = Client::connect(address, "tests").expect("the broker listens");
    let request = DescribeClusterRequest { endpoint_type: 1, ..Default::default() };
    let reply: DescribeClusterResponse<'_> =
        client.call(ApiKey::DescribeCluster, 1, &request).expect("the broker answers");
    assert_eq!(reply.error_code, 0);
    reply.cluster_id.into_owned()
}

/// Produces records of one producer into a partition.
pub fn produce(address: SocketAddr, topic: &str, partition: i32, producer: &str, records: i64) {
    let mut producer =
        IdempotentProducer::new(address, topic, partition, producer).expect("a producer id is given");
    producer.send(records, Instant::now() + Duration::from_secs(30));
    assert_eq!(producer.acknowledged(), records);
}

/// How many records a partition has.
pub fn count(address: SocketAddr, topic: &str, partition: i32) -> usize {
    read_partition(address, topic, partition).len()
}
