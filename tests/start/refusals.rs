//! What makes a start impossible is one line that names the setting, its value and what is allowed, and exit code 1.

use std::net::TcpListener;
use std::process::Command;

use ottla_tests::broker::{Broker, Options, binary};

use crate::support::{FREE, refusal, start, start_with};

/// Asserts that a start with these overrides is refused with a line that has every part.
#[track_caller]
fn refused(overrides: &[&str], parts: &[&str]) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let line = refusal(start_with(directory.path(), overrides));
    for part in parts {
        assert!(line.contains(part), "{part} is not in: {line}");
    }
}

#[test]
fn values_that_are_not_allowed() {
    for (setting, parts) in [
        ("num.partitions=many", &["num.partitions", "many", "number"][..]),
        ("num.partitions=0", &["num.partitions", " 0 ", "at least 1"]),
        ("num.partitions=1\u{1b}[31m", &["num.partitions", r"1\u{1b}[31m"]),
        ("node.id=-1", &["node.id", "-1", "at least 0"]),
        ("log.dirs=", &["log.dirs", "non-empty"]),
        ("auto.create.topics.enable=maybe", &["auto.create.topics.enable", "maybe", "true"]),
        ("listeners=SSL://localhost:0", &["listeners", "SSL://localhost:0", "TLS", "PLAINTEXT is allowed"]),
        ("listeners=localhost:0", &["listeners", "localhost:0", "NAME://host:port is allowed"]),
        ("listeners=INNER://localhost:0", &["listeners", "INNER", "listener.security.protocol.map"]),
        (
            "advertised.listeners=PLAINTEXT://h:99999",
            &["advertised.listeners", "PLAINTEXT://h:99999", "allowed"],
        ),
        ("process.roles=broker", &["process.roles", "Invalid value broker", "broker,controller is allowed"]),
        ("metrics.listener=9644", &["metrics.listener", "9644", "HOST:PORT is allowed"]),
        ("metrics.listener=h:99999", &["metrics.listener", "h:99999", "HOST:PORT is allowed"]),
        ("authorizer.class.name=x.Y", &["authorizer.class.name", "x.Y", "allowed"]),
    ] {
        refused(&[FREE, setting], parts);
    }
}

#[test]
fn more_than_one_voter() {
    let voters = "1@localhost:9093,2@other:9093";
    let parts = ["controller.quorum.voters", voters, "this node alone is allowed"];
    refused(&[FREE, &format!("controller.quorum.voters={voters}")], &parts);
    let servers = "localhost:9093,other:9093";
    let parts = ["controller.quorum.bootstrap.servers", servers, "this node alone is allowed"];
    refused(&[FREE, &format!("controller.quorum.bootstrap.servers={servers}")], &parts);
}

#[test]
fn cpus_and_shards_that_there_are_not() {
    refused(&[FREE, "cpus=999"], &["cpus", "cpu 999", "only 0"]);
    refused(&[FREE, "cpus=0,999", "shards=3"], &["cpus", "cpu 999", "only 0"]);
    refused(&[FREE, "cpus=3-1"], &["cpus", "3-1", "such as 0,2-5"]);
    refused(&[FREE, "shards=0"], &["shards", "Invalid value 0", "at least 1"]);
    refused(&[FREE, "shards=100000"], &["shards", "100000", "1 to "]);
}

#[test]
fn overrides_and_files_that_are_none() {
    refused(&["num.partitions"], &["--override num.partitions", "key=value"]);
    refused(&["=1"], &["--override =1", "key=value"]);
    let directory = tempfile::tempdir().expect("a temporary directory");
    let line = refusal(start(directory.path(), &["no-such.properties"]));
    assert!(line.starts_with("no-such.properties: "), "{line}");
    let line = refusal(start(directory.path(), &["."]));
    assert!(line.starts_with(".: "), "{line}");
    let broken = directory.path().join("broken.properties");
    std::fs::write(&broken, "num.partitions=\\uZZZZ\n").expect("the directory is the test's own");
    let line = refusal(start(directory.path(), &["broken.properties"]));
    assert!(line.starts_with("broken.properties: "), "{line}");
}

#[test]
fn a_port_that_is_taken() {
    let holder = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = holder.local_addr().expect("it is bound").port();
    let setting = format!("listeners=PLAINTEXT://127.0.0.1:{port}");
    let place = format!("PLAINTEXT://127.0.0.1:{port}");
    refused(&[&setting], &["listeners", &place, "is taken", "--override listeners="]);
    let setting = format!("metrics.listener=127.0.0.1:{port}");
    refused(
        &[FREE, &setting],
        &["metrics.listener", &port.to_string(), "is taken", "--override metrics.listener="],
    );
    refused(&[&format!("listeners=PLAINTEXT://localhost:{port}")], &["listeners", "localhost", "is taken"]);
    refused(&[&format!("listeners=PLAINTEXT://:{port}")], &["listeners", &format!("port {port} is taken")]);
}

#[test]
fn an_address_that_is_not_this_machines() {
    refused(&[FREE, "metrics.listener=192.0.2.1:0"], &["metrics.listener", "192.0.2.1", "cannot be bound"]);
    refused(
        &["listeners=PLAINTEXT://192.0.2.1:0"],
        &["listeners", "PLAINTEXT://192.0.2.1:0", "cannot be bound"],
    );
}

#[test]
fn a_directory_that_another_broker_holds() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let broker = Broker::start(&Options::new(directory.path()));
    let dir = directory.path().display().to_string();
    let line = refusal(start(directory.path(), &["--data", &dir, "--override", FREE]));
    for part in ["log.dirs", &dir, "in use by another broker", "stop that one"] {
        assert!(line.contains(part), "{part} is not in: {line}");
    }
    assert_eq!(broker.stop(), 0);
}

#[test]
fn a_directory_that_cannot_be_one() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("file");
    std::fs::write(&file, "").expect("the directory is the test's own");
    let (file, inside) = (file.display().to_string(), file.join("inside").display().to_string());
    for path in [&file, &inside] {
        refused(&[FREE, &format!("log.dirs={path}")], &["log.dirs", path, "Not a directory"]);
        refused(&[FREE, &format!("metadata.log.dir={path}")], &["metadata.log.dir", path, "Not a directory"]);
    }
    refused(&[FREE, "log.dirs=/proc/ottla"], &["log.dirs", "/proc/ottla", "may create and write"]);
    let twice = directory.path().join("twice").display().to_string();
    refused(&[FREE, &format!("log.dirs={twice},{twice}/../twice")], &["log.dirs", "twice"]);
}

#[test]
fn a_limit_of_locked_memory_that_is_too_low() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut command = Command::new("prlimit");
    command.arg("--memlock=65536:65536").arg(binary()).arg("start");
    command.args(["--override", FREE]).current_dir(directory.path());
    if Command::new("prlimit").arg("--version").output().is_err() {
        eprintln!("skipped: prlimit is not here");
        return;
    }
    let line = refusal(command);
    for part in ["locked-memory", "65536", "ulimit -l", "LimitMEMLOCK"] {
        assert!(line.contains(part), "{part} is not in: {line}");
    }
}

/// Has the kernel refuse io_uring_setup (call 425 everywhere) with EPERM, as containers do, and runs its arguments.
const WITHOUT_IO_URING: &str = r#"
import ctypes, os, struct, sys
code = [(0x20, 0, 0, 0), (0x15, 0, 1, 425), (0x06, 0, 0, 0x00050001), (0x06, 0, 0, 0x7fff0000)]
program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in code))
class Filter(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("code", ctypes.c_void_p)]
libc = ctypes.CDLL(None, use_errno=True)
libc.prctl.argtypes = [ctypes.c_int] + [ctypes.c_ulong] * 4
assert libc.prctl(38, 1, 0, 0, 0) == 0
filter = Filter(len(code), ctypes.addressof(program))
assert libc.prctl(22, 2, ctypes.addressof(filter), 0, 0) == 0, ctypes.get_errno()
os.execv(sys.argv[1], sys.argv[1:])
"#;

#[test]
fn io_uring_that_a_container_forbids() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    if Command::new("python3").arg("--version").output().is_err() {
        eprintln!("skipped: python3, which sets the filter, is not here");
        return;
    }
    let mut command = Command::new("python3");
    command.arg("-c").arg(WITHOUT_IO_URING).arg(binary()).args(["start", "--override", FREE]);
    command.current_dir(directory.path());
    let line = refusal(command);
    for part in ["io_uring is refused", "seccomp", "io_uring_setup"] {
        assert!(line.contains(part), "{part} is not in: {line}");
    }
}
