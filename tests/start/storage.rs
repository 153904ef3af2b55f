//! `ottla storage` and the directories that it leaves, with Kafka's words and exit codes.

use std::path::Path;

use ottla_tests::broker::Broker;

use crate::support::{FREE, cluster_id, line_of, refusal, start, storage};

const ID: &str = "AAAAAAAAAAAAAAAAAAAAAQ";

/// Writes a properties file over two directories and returns its path.
fn properties(directory: &Path) -> String {
    let file = directory.join("server.properties");
    let dirs = [directory.join("a").display().to_string(), directory.join("b").display().to_string()];
    std::fs::write(&file, format!("node.id=7\nlog.dirs={}\n", dirs.join(",")))
        .expect("the test's own directory");
    file.display().to_string()
}

#[test]
fn a_formatted_directory_starts_with_its_id() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = properties(directory.path());
    let (code, stdout, stderr) = storage(&["format", "-t", ID, "-c", &file]);
    assert_eq!((code, stderr.as_str()), (0, ""), "{stdout}");
    for dir in ["a", "b"] {
        assert!(stdout.contains(&format!("/{dir} with metadata.version ")), "{stdout}");
    }
    let broker = Broker::run(start(directory.path(), &[&file, "--override", FREE]));
    assert_eq!(cluster_id(broker.address()), ID);
    assert_eq!(line_of(&broker, "node"), format!("7 of cluster {ID}"));
    assert!(!broker.output().contains("new)"), "{}", broker.output());
    assert_eq!(broker.stop(), 0);
}

#[test]
fn a_second_format_is_refused_and_may_be_ignored() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = properties(directory.path());
    assert_eq!(storage(&["format", "-t", ID, "-c", &file]).0, 0);
    let (code, stdout, stderr) = storage(&["format", "--cluster-id", ID, "--config", &file]);
    let first = directory.path().join("a");
    let expected = format!(
        "ottla: Log directory {} is already formatted. Use --ignore-formatted to ignore this directory and format \
         the others.\n",
        first.display()
    );
    assert_eq!((code, stdout.as_str(), stderr), (1, "", expected));
    std::fs::remove_dir_all(directory.path().join("b")).expect("it was just made");
    let (code, stdout, _) = storage(&["format", "-t", ID, "-c", &file, "--ignore-formatted"]);
    assert!(code == 0 && stdout.contains("/b with metadata.version ") && !stdout.contains("/a "), "{stdout}");
    let (code, stdout, _) = storage(&["format", "-t", ID, "-c", &file, "-g"]);
    assert_eq!((code, stdout.as_str()), (0, "All of the log directories are already formatted.\n"));
    let (code, _, stderr) = storage(&["format", "-t", "BBBBBBBBBBBBBBBBBBBBBB", "-c", &file, "-g"]);
    assert!(code == 1 && stderr.contains("Invalid cluster.id in: "), "{stderr}");
}

#[test]
fn random_ids_are_ids_and_differ() {
    let one = storage(&["random-uuid"]);
    let two = storage(&["random-uuid"]);
    assert_eq!((one.0, two.0), (0, 0));
    assert_eq!(one.1.trim_end().len(), 22);
    assert_ne!(one.1, two.1);
}

#[test]
fn info_names_directories_ids_and_problems() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = properties(directory.path());
    let (code, stdout, _) = storage(&["info", "-c", &file]);
    assert!(
        code == 1 && stdout.contains("/a does not exist") && stdout.contains("/b does not exist"),
        "{stdout}"
    );
    assert_eq!(storage(&["format", "-t", ID, "-c", &file]).0, 0);
    let (code, stdout, _) = storage(&["info", "-c", &file]);
    assert!(code == 0 && stdout.starts_with("Found log directories:\n"), "{stdout}");
    assert!(stdout.contains(&format!("cluster.id={ID}")) && stdout.contains("node.id=7"), "{stdout}");
    assert!(!stdout.contains("problem"), "{stdout}");
}

#[test]
fn a_directory_of_another_cluster_or_node_is_refused() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = properties(directory.path());
    assert_eq!(storage(&["format", "-t", ID, "-c", &file]).0, 0);
    let mut other = start(directory.path(), &[&file, "--override", FREE]);
    other.env("CLUSTER_ID", "4L6g3nShT-eMCtK--X86sw");
    let line = refusal(other);
    assert!(
        line.contains("a/meta.properties. Expected 4L6g3nShT-eMCtK--X86sw, but read AAAAAAAAAAAAAAAAAAAAAQ"),
        "{line}"
    );
    let line = refusal(start(directory.path(), &[&file, "--override", FREE, "--override", "node.id=8"]));
    assert!(line.starts_with("Stored node id 7 doesn't match previous node id 8 in "), "{line}");
    std::fs::write(directory.path().join("a/meta.properties"), "version=1\n").expect("it is there");
    let line = refusal(start(directory.path(), &[&file, "--override", FREE]));
    assert!(line.ends_with("a/meta.properties: cluster.id was not found."), "{line}");
}
