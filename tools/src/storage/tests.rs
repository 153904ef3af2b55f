//! Tests of the storage tool over real directories, with the lines that Kafka's tool prints.

use std::fs;

use clap::Parser;
use ottla::config::meta_properties::{FILE_NAME, MetaProperties};
use ottla::ids::NodeId;
use tempfile::TempDir;

use super::*;

#[derive(Parser)]
struct CommandLine {
    #[command(flatten)]
    storage: StorageArgs,
}

/// Two log directories that do not exist yet, and a properties file for node 7.
struct Node {
    dir: TempDir,
}

impl Node {
    fn new(quorum: &str) -> Node {
        let dir = TempDir::new().expect("a temporary directory");
        let node = Node { dir };
        let text = format!(
            "process.roles=broker,controller\nnode.id=7\nlisteners=PLAINTEXT://:9092,CONTROLLER://:9093\n\
             controller.listener.names=CONTROLLER\nlog.dirs={},{}\n{quorum}\n",
            node.path("a"),
            node.path("b")
        );
        fs::write(node.path("server.properties"), text).expect("the file is written");
        node
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    /// What a command prints and its exit code, or its refusal.
    fn run(&self, args: &[&str]) -> Result<(String, u8), String> {
        let config = self.path("server.properties");
        let mut line = vec!["storage", args[0], "-c", &config];
        line.extend_from_slice(&args[1..]);
        let parsed = CommandLine::try_parse_from(line).map_err(|error| error.to_string())?;
        let mut out = Vec::new();
        let code = run(&parsed.storage, &mut out).map_err(|error| error.to_string())?;
        Ok((String::from_utf8(out).expect("the output is text"), code))
    }

    fn refusal(&self, args: &[&str]) -> String {
        self.run(args).expect_err("the command is refused")
    }

    fn meta(&self, dir: &str) -> MetaProperties {
        let text = fs::read_to_string(self.dir.path().join(dir).join(FILE_NAME)).expect("the file is there");
        MetaProperties::parse(&text).expect("the file is well formed")
    }

    /// The text with this node's directory printed as `DIR`.
    fn plain(&self, text: &str) -> String {
        text.replace(&self.dir.path().display().to_string(), "DIR")
    }
}

const STATIC: &str = "controller.quorum.voters=7@localhost:9093";
const DYNAMIC: &str = "controller.quorum.bootstrap.servers=localhost:9093";

#[test]
fn a_fresh_node_is_formatted_once() {
    let node = Node::new(STATIC);
    let (text, code) = node.run(&["format", "-t", "AAAAAAAAAAAAAAAAAAAAAQ"]).expect("the first format");
    assert_eq!(code, 0);
    assert_eq!(
        node.plain(&text),
        "Formatting metadata directory DIR/a with metadata.version 4.3-IV0.\n\
         Formatting data directory DIR/b with metadata.version 4.3-IV0.\n"
    );
    let (a, b) = (node.meta("a"), node.meta("b"));
    assert_eq!(a.cluster_id.as_deref(), Some("AAAAAAAAAAAAAAAAAAAAAQ"));
    assert_eq!((a.version, a.node_id), (1, Some(NodeId(7))));
    assert_ne!(a.directory_id, b.directory_id);
    let refusal = node.refusal(&["format", "--cluster-id", "AAAAAAAAAAAAAAAAAAAAAQ"]);
    assert_eq!(
        node.plain(&refusal),
        "Log directory DIR/a is already formatted. Use --ignore-formatted to ignore this directory and format the \
         others."
    );
    assert_eq!(node.meta("a"), a, "nothing was written");
    let entries: Vec<_> = fs::read_dir(node.path("a")).expect("a directory").collect();
    assert_eq!(entries.len(), 1, "no temporary file stays");
}

#[test]
fn formatted_directories_can_be_left_alone() {
    let node = Node::new(STATIC);
    node.run(&["format", "-t", "X"]).expect("the first format");
    let (text, _) = node.run(&["format", "-t", "X", "-g"]).expect("nothing to do");
    assert_eq!(text, "All of the log directories are already formatted.\n");
    fs::remove_dir_all(node.path("b")).expect("it was there");
    let before = node.meta("a");
    let (text, _) = node.run(&["format", "-t", "X", "--ignore-formatted"]).expect("one to format");
    assert_eq!(node.plain(&text), "Formatting data directory DIR/b with metadata.version 4.3-IV0.\n");
    assert_eq!(node.meta("a"), before);
}

#[test]
fn directories_of_another_cluster_or_node_are_refused() {
    let node = Node::new(STATIC);
    node.run(&["format", "-t", "X"]).expect("the first format");
    assert_eq!(
        node.plain(&node.refusal(&["format", "-t", "Y", "-g"])),
        "Invalid cluster.id in: DIR/a/meta.properties. Expected Y, but read X"
    );
    let mut other = node.meta("b");
    other.node_id = Some(NodeId(8));
    write_meta_properties(&node.dir.path().join("b"), &other).expect("written");
    assert!(
        node.refusal(&["format", "-t", "X", "-g"])
            .starts_with("Stored node id 8 doesn't match previous node id 7")
    );
}

#[test]
fn a_broken_directory_is_named_and_the_others_formatted() {
    let node = Node::new(STATIC);
    fs::create_dir(node.path("a")).expect("made");
    fs::write(node.dir.path().join("a").join(FILE_NAME), "version=7").expect("written");
    let (text, _) = node.run(&["format", "-t", "X"]).expect("b can be formatted");
    assert_eq!(
        node.plain(&text),
        "I/O error trying to read log directory DIR/a. Ignoring...\n\
         Formatting data directory DIR/b with metadata.version 4.3-IV0.\n"
    );
    fs::write(node.dir.path().join("b").join(FILE_NAME), "version=7").expect("written");
    assert_eq!(node.refusal(&["format", "-t", "X"]), "No available log directories to format.");
}

#[test]
fn a_dynamic_quorum_needs_a_flag() {
    let node = Node::new(DYNAMIC);
    assert!(
        node.refusal(&["format", "-t", "X"])
            .starts_with("Because controller.quorum.voters is not set on this")
    );
    let (text, _) = node.run(&["format", "-t", "X", "--standalone"]).expect("alone");
    assert!(text.starts_with("Formatting dynamic metadata voter directory "));
    let node = Node::new(DYNAMIC);
    assert!(node.run(&["format", "-t", "X", "--no-initial-controllers"]).is_ok());
    let node = Node::new(DYNAMIC);
    let id = "EOnLXkueO9QtNll3yhlzoQ";
    node.run(&["format", "-t", "X", "-I", &format!("7@localhost:9093:{id}")]).expect("this node alone");
    assert_eq!(node.meta("a").directory_id.map(|id| id.to_string()).as_deref(), Some(id));
    assert_ne!(node.meta("b").directory_id, node.meta("a").directory_id);
}

#[test]
fn first_controllers_other_than_this_node_are_refused() {
    let node = Node::new(DYNAMIC);
    let of = |text: &str| node.refusal(&["format", "-t", "X", "-I", text]);
    let id = "EOnLXkueO9QtNll3yhlzoQ";
    assert!(
        of(&format!("7@a:1:{id},8@b:1:{id}")).contains("a cluster of several controllers is not here yet")
    );
    assert!(of(&format!("8@a:1:{id}")).ends_with("the only controller must be this node, 7"));
    assert!(of("7@a:1:short").contains("the directory is no id"));
    for text in ["", "7", "7@a:1", "x@a:1:id"] {
        assert!(of(text).contains("expected id@host:port:directory"), "{text}: {}", of(text));
    }
    let node = Node::new(STATIC);
    assert!(
        node.refusal(&["format", "-t", "X", "-s"])
            .starts_with("You cannot specify controller.quorum.voters and")
    );
}

#[test]
fn a_configuration_of_our_own_needs_no_flag() {
    let node = Node::new("");
    assert!(node.run(&["format", "-t", "X"]).is_ok());
}

#[test]
fn flags_that_cannot_be_followed_are_refused_or_said() {
    let node = Node::new(STATIC);
    assert!(node.refusal(&["format"]).contains("--cluster-id"));
    assert!(node.refusal(&["format", "-t", "X", "-s", "-N"]).contains("cannot be used with"));
    assert!(
        node.refusal(&["format", "-t", "X", "-S", "SCRAM-SHA-256=[name=a,password=b]"])
            .starts_with("--add-scram")
    );
    assert!(node.refusal(&["format", "-t", "X", "-r", "9.9"]).starts_with("Unknown metadata.version '9.9'."));
    let (text, _) =
        node.run(&["format", "-t", "X", "-r", "4.0", "-f", "group.version=1"]).expect("both are known");
    assert!(
        text.contains("with metadata.version 4.0-IV3.")
            && text.ends_with("this release starts with its own.\n")
    );
}

#[test]
fn info_before_and_after() {
    let node = Node::new(STATIC);
    let (text, code) = node.run(&["info"]).expect("info always answers");
    assert_eq!(
        (node.plain(&text).as_str(), code),
        ("Found problems:\n  DIR/a does not exist\n  DIR/b does not exist\n\n", 1)
    );
    node.run(&["format", "-t", "X"]).expect("formatted");
    let (text, code) = node.run(&["info"]).expect("info");
    let id = node.meta("a").directory_id.expect("it has an id");
    let expected = format!(
        "Found log directories:\n  DIR/a\n  DIR/b\n\n\
         Found metadata: {{cluster.id=X, directory.id={id}, node.id=7, version=1}}\n\n"
    );
    assert_eq!((node.plain(&text), code), (expected, 0));
}

#[test]
fn info_names_what_is_wrong() {
    let node = Node::new(STATIC);
    node.run(&["format", "-t", "X"]).expect("formatted");
    let mut other = node.meta("b");
    other.cluster_id = Some("Y".to_owned());
    write_meta_properties(&node.dir.path().join("b"), &other).expect("written");
    let problem = || {
        let (text, code) = node.run(&["info"]).expect("info");
        assert_eq!(code, 1);
        node.plain(text.split_once("Found problem:\n  ").expect("there is one").1)
    };
    assert_eq!(problem(), "Mismatched cluster IDs between storage directories.\n\n");
    (other.cluster_id, other.node_id) = (Some("X".to_owned()), Some(NodeId(9)));
    write_meta_properties(&node.dir.path().join("b"), &other).expect("written");
    assert_eq!(problem(), "Mismatched node IDs between storage directories.\n\n");
    fs::write(node.dir.path().join("b").join(FILE_NAME), "version=1\nnode.id=7\n").expect("written");
    assert_eq!(problem(), "Error loading DIR/b/meta.properties: cluster.id was not found.\n\n");
    fs::remove_file(node.dir.path().join("b").join(FILE_NAME)).expect("it was there");
    assert_eq!(problem(), "DIR/b is not formatted.\n\n");
    fs::remove_dir(node.path("b")).expect("it is empty");
    fs::write(node.path("b"), "").expect("written");
    assert_eq!(problem(), "DIR/b is not a directory\n\n");
}

#[test]
fn random_ids_differ_and_can_be_parsed() {
    let print = || {
        let args = CommandLine::try_parse_from(["storage", "random-uuid"]).expect("no arguments are needed");
        let mut out = Vec::new();
        assert_eq!(run(&args.storage, &mut out).expect("printed"), 0);
        String::from_utf8(out).expect("text")
    };
    let (one, two) = (print(), print());
    assert_ne!(one, two);
    assert!(one.trim().parse::<ottla::ids::Uuid>().is_ok() && one.len() == 23);
}

#[test]
fn a_missing_or_refused_configuration_is_named() {
    let node = Node::new("controller.quorum.voters=7@a:1,8@b:1");
    assert!(node.refusal(&["info"]).starts_with("Invalid value 7@a:1,8@b:1 for configuration"));
    fs::remove_file(node.path("server.properties")).expect("it was there");
    assert!(node.plain(&node.refusal(&["info"])).starts_with("DIR/server.properties: No such file"));
}
