//! The parts of a comparison without brokers: driver files, figures, what is made of them, and that nothing is left.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use hdrhistogram::Histogram;
use ottla_bench::result::{ACK, RunResult};
use ottla_tests::topics::create_topic;

#[allow(dead_code)]
#[path = "main.rs"]
mod compare;

use compare::driver::{Driver, Surroundings};
use compare::field::{self, Field, Lengths};
use compare::figures::{BASELINE, FIGURES, QUESTIONS};
use compare::questions::Answer;
use compare::report;
use compare::samples::Samples;
use compare::watchdog::Watchdog;

fn surroundings() -> Surroundings {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned();
    Surroundings { root, ottla: PathBuf::from("/bin/true") }
}

fn built_in(name: &str) -> Driver {
    let path = surroundings().root.join(format!("bench/compare/brokers/{name}.yaml"));
    Driver::read(&path, &surroundings()).expect("our own files are right")
}

#[test]
fn our_own_driver_files_are_right() {
    let (ottla, kafka, flushed) = (built_in("ottla"), built_in("kafka"), built_in("kafka-flush"));
    assert_eq!((ottla.id.as_str(), ottla.name.as_str(), ottla.prepare.as_deref()), ("ottla", "Ottla", None));
    assert_eq!((kafka.id.as_str(), kafka.settings.as_str()), (BASELINE, ""));
    assert_eq!(
        (flushed.start.as_str(), flushed.prepare.as_deref()),
        (kafka.start.as_str(), kafka.prepare.as_deref())
    );
    assert_eq!(flushed.settings, "--override log.flush.interval.messages=1");
    assert!(kafka.answers("many") && flushed.answers("max") && !flushed.answers("many"));
    let known = |name: &String| QUESTIONS.iter().any(|(question, _)| question == name);
    assert!(flushed.questions.iter().all(known));
    let least = built_in("least");
    assert!(kafka.fetches && !least.fetches && least.questions.iter().all(known));
}

#[test]
fn the_least_program_answers_when_the_bytes_are_in_its_file() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("data").display().to_string();
    let address = SocketAddr::from(([127, 0, 0, 1], ottla_tests::kafka::free_port()));
    // It has no end, but that of this process.
    std::thread::spawn(move || compare::least::serve(&address.to_string(), &file));
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while !compare::first::is_acknowledged(address) {
        assert!(std::time::Instant::now() < deadline, "it acknowledges");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    create_topic(address, "wide", 3, &[]);
    compare::many::write_once(address, "wide", 3);
    let files = std::fs::read_dir(directory.path()).expect("it is there").flatten();
    // Everything is at the beginning of the zeros.
    let files = files.map(|file| std::fs::read(file.path()).expect("it can be read")[..8192].to_vec());
    let files: Vec<Vec<u8>> = files.collect();
    let has = |word: &[u8]| files.iter().any(|file| file.windows(word.len()).any(|bytes| bytes == word));
    assert!(has(b"first") && has(b"once") && !has(b"twice"));
}

#[test]
fn a_driver_file_is_taken_whole_or_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    let read = |name: &str, text: &str| {
        std::fs::write(directory.path().join(name), text).expect("it is written");
        Driver::read(&directory.path().join(name), &surroundings())
    };
    let base =
        read("base.yaml", "name: A\nversion: echo 1.2; echo more\nstart: exec a $SETTINGS\nstop: INT\n");
    let base = base.expect("it is right");
    assert_eq!((base.version.as_str(), base.stop.as_str(), base.answers("any")), ("1.2", "INT", true));
    let like = read("like.yaml", "like: base.yaml\nname: B\nsettings: -x\n").expect("it is right");
    assert_eq!((like.id.as_str(), like.name.as_str(), like.stop.as_str()), ("like", "B", "INT"));
    assert_eq!((&like.start, like.settings.as_str()), (&base.start, "-x"));
    let failing = read("failing.yaml", "name: C\nversion: exit 3\nstart: exec c\n").expect("it is right");
    assert_eq!((failing.version.as_str(), failing.stop.as_str()), ("unknown", "TERM"));
    let needy = read("needy.yaml", "name: D\nstart: d\nneeds: no/such/file\n").expect("it is right");
    assert_eq!((needy.lacks(&surroundings()), base.lacks(&surroundings())), (Some("no/such/file"), None));
    for (text, what) in [
        ("name: A\n", "start is missing"),
        ("start: a\n", "name is missing"),
        ("name: A\nstart: a\nend: b\n", "line 3: unknown key \"end\""),
        ("like: nothing.yaml\nname: A\n", "No such file"),
        ("- a\n", "line 1"),
    ] {
        let line = read("bad.yaml", text).expect_err(text);
        assert!(line.contains(what), "{line}");
    }
}

#[test]
fn every_figure_belongs_to_a_question() {
    for (number, figure) in FIGURES.iter().enumerate() {
        assert!(QUESTIONS.iter().any(|(question, _)| *question == figure.question()), "{}", figure.id);
        assert!(FIGURES[..number].iter().all(|other| other.id != figure.id), "{} is there twice", figure.id);
    }
    for (question, _) in QUESTIONS {
        assert!(FIGURES.iter().any(|figure| figure.question() == *question), "{question} has no figure");
    }
}

#[test]
fn lists_of_cpus_are_those_of_taskset() {
    assert_eq!(field::cpus("0-2,7\n"), [0, 1, 2, 7]);
    assert_eq!(field::list(&[0, 3]), "0,3");
    assert!(!field::allowed_cpus().is_empty());
}

/// Three rounds of two brokers; Kafka failed in the last one.
fn samples(kept: &Path) -> Samples {
    let mut samples = Samples::default();
    let (ottla, kafka) = (built_in("ottla"), built_in("kafka"));
    for (round, (ours, theirs)) in [(10.0, 100.0), (30.0, 60.0), (20.0, 0.0)].into_iter().enumerate() {
        let answer = |value: f64| {
            let mut run = RunResult::begin("produce", "a load");
            let mut histogram = Histogram::new_with_bounds(1_000, 3_600_000_000_000, 3).expect("bounds");
            histogram.record_n(value as u64 * 1_000_000, 5).expect("within the bounds");
            run.latencies_ns.insert(ACK.to_owned(), histogram);
            run.notes.push("<the generator was the limit>".to_owned());
            Answer { figures: vec![("small.cpu", value), ("drain.moved", 1.2)], runs: vec![("small", run)] }
        };
        samples.take(&ottla, round, answer(ours), kept);
        if theirs > 0.0 {
            samples.take(&kafka, round, answer(theirs), kept);
        }
    }
    samples.failures.push("small, Apache Kafka, round 3".to_owned());
    samples
}

#[test]
fn ratios_are_those_of_one_round() {
    let kept = tempfile::tempdir().expect("a directory");
    let samples = samples(kept.path());
    assert_eq!(samples.median("small.cpu", "ottla"), Some(20.0));
    assert_eq!(samples.median("small.cpu", "kafka"), Some(80.0));
    assert_eq!(samples.range("small.cpu", "ottla"), Some((10.0, 30.0)));
    // 0.1 and 0.5; the third round has no ratio.
    assert_eq!(samples.ratio("small.cpu", "ottla", "kafka"), Some(0.3));
    assert_eq!(samples.ratio("small.cpu", "ottla", "other"), None);
    assert_eq!(samples.median("max.rate", "ottla"), None);
    let runs = samples.runs("small", &[built_in("kafka"), built_in("ottla")]);
    let counts: Vec<u64> = runs.iter().map(|run| run.latencies_ns[ACK].len()).collect();
    assert_eq!(counts, [10, 15], "all rounds in one");
    assert!(kept.path().join("small-kafka-1.json").exists());
    assert_eq!(samples.notes.len(), 5);
}

#[test]
fn the_report_has_every_figure_and_what_is_wanted_of_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let data = directory.path().join("data");
    std::fs::create_dir(&data).expect("it is new");
    let field = Field {
        watchdog: Watchdog::start(&data),
        data,
        kept: directory.path().to_owned(),
        surroundings: surroundings(),
        broker_cpus: "0".to_owned(),
        load_cpus: "1".to_owned(),
        load_cpu_count: 1,
        can_be_urgent: false,
        lengths: Lengths::QUICK,
        commands: RefCell::new(vec!["ottla bench produce --topic '<a>'".to_owned()]),
    };
    let drivers = [built_in("ottla"), built_in("kafka")];
    let text = report::write(&field, &drivers, 3, &samples(directory.path())).expect("it is written");
    let line = |start: &str| {
        let line =
            text.lines().find(|line| line.starts_with(start)).unwrap_or_else(|| panic!("{start} in {text}"));
        line.split('|').map(str::trim).filter(|cell| !cell.is_empty()).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(line("| CPU per record"), ["CPU per record, µs", "20.0", "80.0", "0.300", "≤ 0.35"]);
    assert_eq!(line("| moved by"), ["moved by, ×", "1.20 (≤ 1.3)", "1.20", "1.00"]);
    assert!(text.contains("failed: small, Apache Kafka, round 3"));
    let page = std::fs::read_to_string(directory.path().join("compare.html")).expect("it is there");
    let options = roxmltree::ParsingOptions { allow_dtd: true, ..roxmltree::ParsingOptions::default() };
    let page = roxmltree::Document::parse_with_options(&page, options).expect("it is well-formed");
    assert!(page.descendants().filter(|node| node.has_tag_name("svg")).count() >= 2);
    let numbers = std::fs::read_to_string(directory.path().join("compare.json")).expect("it is there");
    let numbers: serde_json::Value = serde_json::from_str(&numbers).expect("it is JSON");
    assert_eq!(numbers["figures"]["small.cpu"]["kafka"], serde_json::json!([100.0, 60.0]));
}

#[test]
fn nothing_is_left_when_a_comparison_ends() {
    let directory = tempfile::tempdir().expect("a directory");
    let data = directory.path().join("data");
    std::fs::create_dir(&data).expect("it is new");
    let watchdog = Watchdog::start(&data);
    let start = || Command::new("sleep").arg("600").process_group(0).spawn().expect("sleep is there");
    let (mut watched, mut forgotten) = (start(), start());
    watchdog.watch(watched.id());
    watchdog.watch(forgotten.id());
    watchdog.forget(forgotten.id());
    drop(watchdog);
    assert!(!watched.wait().expect("it has ended").success(), "it was killed");
    assert!(!data.exists());
    assert!(matches!(forgotten.try_wait(), Ok(None)), "what is forgotten is let be");
    forgotten.kill().expect("it is ours");
    forgotten.wait().expect("it was killed");
}
