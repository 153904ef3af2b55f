//! Loads that end before their time, by a signal or because nobody takes what they print.

use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use super::{FakeBroker, Script, figure};
use crate::result::{self, RunResult};
use crate::{BenchError, Interrupt};

const SIGINT: i32 = 2;
const SIGTERM: i32 = 15;

/// Whether a broker has seen enough of a load.
type Enough = fn(&FakeBroker) -> bool;

/// An output that takes nothing.
struct Full;

impl Write for Full {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::StorageFull.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Runs a load that is given a signal once the broker has seen enough; its exit code, report and result.
fn ended_by(signal: i32, broker: &FakeBroker, flags: &str, enough: Enough) -> (u8, String, RunResult) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let json = directory.path().join("run.json");
    let (mode, flags) = flags.split_once(' ').expect("a mode and flags");
    let (interrupt, mut out) = (Interrupt::default(), Vec::new());
    let code = std::thread::scope(|scope| {
        let for_signal = interrupt.clone();
        scope.spawn(move || {
            while !(enough(broker) && for_signal.take(signal)) {
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        let flags = format!("{flags} --json {}", json.display());
        broker.run_to(mode, &flags, (&interrupt, &mut out)).expect("the load begins")
    });
    (code, String::from_utf8(out).expect("text"), read(&json))
}

fn read(json: &Path) -> RunResult {
    result::read(json).expect("a result")
}

#[test]
fn a_signal_ends_every_kind_of_load_in_order() {
    let produced: Enough = |broker| broker.seen().produce_requests > 20;
    let loads: [(&str, Enough); 7] = [
        ("produce --topic t --rate 500", produced),
        ("produce --topic t --in-flight 1 --batch-size 0", produced),
        ("end-to-end --topic t --rate 500 --linger 0", produced),
        ("soak --topic t --rate 500", produced),
        ("consume --topic t --from latest", |broker| broker.seen().session_fetches > 20),
        ("connections --rate 100 --idle 3", |broker| broker.seen().greetings > 20),
        ("groups --topic t --members 1 --change-every 10ms --heartbeat 5ms", |broker| {
            broker.seen().groups.goodbyes > 3
        }),
    ];
    for (flags, enough) in loads {
        let broker = FakeBroker::start(Script::default());
        if flags.starts_with("consume") {
            broker.run("produce", "--topic t --num-records 10").expect("the load begins");
        }
        let (code, report, result) = ended_by(SIGINT, &broker, &format!("{flags} --duration 10m"), enough);
        assert_eq!(code, 130, "{flags}: {report}");
        assert!(
            report.contains("\ninterrupted after ") && report.contains(" s of 600 s: "),
            "{flags}: {report}"
        );
        assert!(!report.contains("FAILED"), "{flags}: {report}");
        // A slow machine may fall behind; over the ten minutes that were asked for, anything would come to nothing.
        assert!(!report.contains("not reached: 0 of"), "only what was due until the signal counts: {report}");
        assert_eq!((figure(&report, "errors"), result.error_count()), (0, 0), "{flags}: {report}");
        if let Some(flow) = result.totals.get("produced") {
            assert_eq!(
                flow.records as i64,
                broker.seen().records(),
                "all that was sent is counted: {report}"
            );
        }
    }
}

#[test]
fn what_was_sent_is_read_to_its_end_before_a_signal_ends_a_load() {
    let broker = FakeBroker::start(Script::default());
    let enough: Enough = |broker| broker.seen().produce_requests > 50;
    let (code, report, result) =
        ended_by(SIGTERM, &broker, "end-to-end --topic t --rate 2k --duration 10m", enough);
    assert_eq!(code, 143, "{report}");
    assert!(report.contains("records, all as sent"), "{report}");
    assert_eq!(result.totals["consumed"].records, result.totals["produced"].records, "{report}");
}

#[test]
fn a_search_that_a_signal_ends_keeps_what_it_has() {
    let broker = FakeBroker::start(Script::default());
    let flags = "max --topic t --duration 100ms --p99 1us --round 10m";
    let enough: Enough = |broker| broker.seen().produce_requests > 0;
    let (code, report, _) = ended_by(SIGTERM, &broker, flags, enough);
    assert_eq!(code, 143, "{report}");
    assert!(report.contains("interrupted after "), "{report}");
}

#[test]
fn connections_that_a_signal_kept_from_being_opened_do_not_count_as_idle() {
    let broker = FakeBroker::start(Script { greeting: Duration::from_millis(100), ..Script::default() });
    let enough: Enough = |broker| broker.seen().greetings > 80;
    let flags = "connections --rate 0 --idle 1000 --duration 10m";
    let (code, report, _) = ended_by(SIGINT, &broker, flags, enough);
    let idle = figure(&report, "idle connections");
    assert!(code == 130 && (1..1_000).contains(&idle), "{report}");
    assert!(
        report.contains(&format!("\n{idle} of 1,000 connections that were to stay were opened")),
        "{report}"
    );
}

/// An output that interrupts a search once it says that a rate is good.
struct EndsGood {
    interrupt: Interrupt,
    written: Vec<u8>,
}

impl Write for EndsGood {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.written.write(text)
    }

    fn flush(&mut self) -> io::Result<()> {
        let is_good = self.written.ends_with(b" ms, good\n");
        assert!(!is_good || self.interrupt.take(SIGINT), "a search is under way");
        Ok(())
    }
}

#[test]
fn a_search_that_a_signal_ends_says_that_it_found_no_highest_rate() {
    let interrupt = Interrupt::default();
    let mut out = EndsGood { interrupt: interrupt.clone(), written: Vec::new() };
    let flags = "--topic t --duration 100ms --p99 1h --round 50ms --record-size 100";
    let broker = FakeBroker::start(Script::default());
    let code = broker.run_to("max", flags, (&interrupt, &mut out)).expect("the load begins");
    let report = String::from_utf8(out.written).expect("text");
    assert_eq!(code, 130, "{report}");
    assert!(report.contains("\nthe search was interrupted: a higher rate may be good, too"), "{report}");
    assert!(report.contains("\nthe highest rate that was tried and has its p99 below"), "{report}");
}

#[test]
fn an_output_that_takes_nothing_costs_no_file() {
    let broker = FakeBroker::start(Script::default());
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = |name: &str| directory.path().join(name).display().to_string();
    let files = format!("--json {} --report {} --hgrm {}", path("a.json"), path("a.html"), path("a.hgrm"));
    let loads = [
        ("produce", format!("--topic t --num-records 50 {files}")),
        ("soak", format!("--topic t --rate 200 --duration 10m --line-every 1s {files}")),
    ];
    for (mode, flags) in loads {
        let error = broker.run_to(mode, &flags, (&Interrupt::default(), &mut Full)).expect_err("it is full");
        assert!(matches!(error, BenchError::Io(_)), "{error}");
        let result = read(path("a.json").as_ref());
        assert!(result.totals["produced"].records >= 50, "{result:?}");
        let early = result.notes.iter().any(|note| note.starts_with("no line can be printed ("));
        assert_eq!(early, mode == "soak", "{:?}", result.notes);
        let files: Vec<_> = std::fs::read_dir(directory.path()).expect("it is there").flatten().collect();
        assert!(files.len() >= 3, "{files:?}");
        files.iter().for_each(|file| std::fs::remove_file(file.path()).expect("it is there"));
    }
}
