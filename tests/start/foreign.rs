//! Directories that the metadata does not know, and metadata that is not whole: nothing of anybody's goes.

use std::fs;
use std::path::{Path, PathBuf};

use ottla_tests::broker::Broker;
use ottla_tests::topics::create_topic;

use crate::support::{FREE, count, produce, refusal, start_with, storage};

/// The segment of a log that has only one.
const SEGMENT: &str = "00000000000000000000.log";

fn start(directory: &Path) -> Broker {
    Broker::run(start_with(directory, &[FREE, "log.dirs=data"]))
}

fn refused(directory: &Path) -> String {
    refusal(start_with(directory, &[FREE, "log.dirs=data"]))
}

/// A directory with a topic of two partitions, of which one has records, and its broker.
fn filled() -> (tempfile::TempDir, PathBuf, Broker) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let broker = start(directory.path());
    create_topic(broker.address(), "t", 2, &[]);
    produce(broker.address(), "t", 0, "p", 20);
    let data = directory.path().join("data");
    (directory, data, broker)
}

/// What lies in a directory and is called `name`, `.`, some id and `-stray`.
fn put_aside(data: &Path, name: &str) -> PathBuf {
    let entries = fs::read_dir(data).expect("a directory").map(|entry| entry.expect("an entry"));
    let mut strays = entries.filter(|entry| {
        let entry = entry.file_name().to_string_lossy().into_owned();
        entry.starts_with(&format!("{name}.")) && entry.ends_with("-stray")
    });
    strays.next().unwrap_or_else(|| panic!("{name} is kept")).path()
}

#[test]
fn a_directory_that_nobody_knows_is_put_aside_whole() {
    let (directory, data, broker) = filled();
    assert_eq!(broker.stop(), 0);
    fs::create_dir_all(data.join("backup-2026").join("sub")).expect("the directory is the test's own");
    fs::write(data.join("backup-2026").join("sub").join("file"), "precious").expect("as before");
    fs::create_dir(data.join("copy-0")).expect("as before");
    for entry in fs::read_dir(data.join("t-0")).expect("it is there") {
        let entry = entry.expect("an entry");
        fs::copy(entry.path(), data.join("copy-0").join(entry.file_name())).expect("it is copied");
    }
    for other in ["t-00", "my t-0"] {
        fs::create_dir(data.join(other)).expect("as before");
    }
    let broker = start(directory.path());
    assert_eq!(count(broker.address(), "t", 0), 20);
    assert_eq!(broker.stop(), 0);
    let backup = put_aside(&data, "backup-2026").join("sub").join("file");
    assert_eq!(fs::read(backup).expect("it is there"), b"precious");
    let bytes = |dir: &Path| fs::read(dir.join(SEGMENT)).expect("it is there");
    assert_eq!(bytes(&put_aside(&data, "copy-0")), bytes(&data.join("t-0")));
    assert!(data.join("t-00").is_dir() && data.join("my t-0").is_dir(), "no names of partitions");
}

#[test]
fn a_metadata_log_that_is_not_whole_is_refused_and_costs_nobody_anything() {
    let (directory, data, broker) = filled();
    broker.kill();
    let log = data.join("__cluster_metadata-0").join(SEGMENT);
    let whole = fs::read(&log).expect("it is there");
    let mut damaged = whole.clone();
    // In the middle: what follows is valid.
    damaged[400] ^= 1;
    fs::write(&log, &damaged).expect("the directory is the test's own");
    for _ in 0..2 {
        let line = refused(directory.path());
        assert!(line.starts_with("the metadata log cannot be opened: "), "{line}");
        assert!(line.contains("records") && line.contains("are lost; put a copy of the log back"), "{line}");
        assert_eq!(fs::read(&log).expect("it is there"), damaged, "it stays as it is");
    }
    fs::write(&log, &whole).expect("as before");
    let broker = start(directory.path());
    assert_eq!(count(broker.address(), "t", 0), 20);
    assert_eq!(broker.stop(), 0);

    let away = directory.path().join("away");
    fs::rename(&log, &away).expect("it is there");
    let line = refused(directory.path());
    assert!(line.contains("ARE LOST") && line.contains("is gone since the last stop"), "{line}");
    // The note of the stop is read once.
    let line = refused(directory.path());
    assert!(line.contains("records from 0 to "), "{line}");
    fs::remove_file(data.join("recovery-point-offset-checkpoint")).expect("it is there");
    for bytes in [None, Some(vec![]), Some(vec![0; 4_096])] {
        if let Some(bytes) = bytes {
            fs::write(&log, bytes).expect("the directory is the test's own");
        }
        let line = refused(directory.path());
        assert!(line.contains("there is no metadata log in ") && line.contains("but data has t-"), "{line}");
    }
    fs::rename(&away, &log).expect("it was moved");
    let broker = start(directory.path());
    assert_eq!(count(broker.address(), "t", 0), 20);
    assert_eq!(broker.stop(), 0);
}

#[test]
fn data_without_its_meta_properties_is_refused_until_somebody_says_whose_it_is() {
    let (directory, data, broker) = filled();
    assert_eq!(broker.stop(), 0);
    let meta = data.join("meta.properties");
    let text = fs::read_to_string(&meta).expect("it is there");
    fs::remove_file(&meta).expect("it is there");
    let expected = "log.dirs: data has partitions and no meta.properties that names their cluster; put the file back, \
                    or name the cluster with: ottla storage format --cluster-id ID";
    assert_eq!(refused(directory.path()), expected);
    fs::write(&meta, "").expect("the directory is the test's own");
    assert_eq!(refused(directory.path()), expected);
    fs::remove_file(&meta).expect("it is there");
    let id = text.lines().find_map(|line| line.strip_prefix("cluster.id=")).expect("it has one");
    let config = directory.path().join("server.properties");
    fs::write(&config, format!("log.dirs={}\nnode.id=1\n", data.display())).expect("as before");
    let config = config.to_string_lossy();
    let (code, said, error) = storage(&["format", "--cluster-id", id, "--config", &config]);
    assert_eq!(code, 0, "{said}{error}");
    let broker = start(directory.path());
    assert_eq!(count(broker.address(), "t", 0), 20);
    assert_eq!(broker.stop(), 0);
}

#[test]
fn a_metadata_log_without_its_meta_properties_is_refused_whoever_else_has_one() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let start = || start_with(directory.path(), &[FREE, "log.dirs=data", "metadata.log.dir=meta"]);
    let broker = Broker::run(start());
    create_topic(broker.address(), "t", 1, &[]);
    assert_eq!(broker.stop(), 0);
    let file = directory.path().join("meta").join("meta.properties");
    let text = fs::read(&file).expect("it is there");
    fs::remove_file(&file).expect("it is there");
    assert!(refusal(start()).starts_with("log.dirs: meta has partitions and no meta.properties that names"));
    fs::write(&file, text).expect("the directory is the test's own");
    let broker = Broker::run(start());
    assert_eq!(count(broker.address(), "t", 0), 0);
    assert_eq!(broker.stop(), 0);
}
