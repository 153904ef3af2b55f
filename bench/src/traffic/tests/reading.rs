//! Loads that read: what is taken for whose, and what is said to be missing.

use ottla::errors::ErrorCode;

use super::{FakeBroker, Script, TENS, bench, figure, produced};

#[test]
fn what_is_read_cold_is_no_answer_of_the_load_beside_it() {
    let broker = FakeBroker::start(Script::default());
    broker.run("produce", &format!("--topic old {TENS} --num-records 500")).expect("the load begins");
    let flags = "--cold-topic old --num-records 100 --rate 1k --duration 1600ms --cold-delay 1300ms";
    let (code, report) = bench(&broker, &format!("mixed {flags} --linger 0"));
    assert_eq!((code, produced(&report)), (0, (100, 0)), "{report}");
    assert_eq!(figure(&report, "cold read, records"), 500, "{report}");
    assert!(!report.contains("not reached"), "{report}");
}

#[test]
fn a_high_watermark_that_is_behind_is_waited_for() {
    for (size, repeat) in [(100, None), (10, None), (100, Some(39))] {
        let broker = FakeBroker::start(Script { watermark_lags: 3, repeat, ..Script::default() });
        let flags = format!("--record-size {size} --batch-size 0 --num-records 40 --partitions 1 --acks 1");
        let (code, report) = bench(&broker, &format!("end-to-end {flags}"));
        assert_eq!(produced(&report), (40, 0), "{report}");
        assert!(!report.contains(" lost"), "{report}");
        assert_eq!(
            (code, report.contains("1 record duplicate: ")),
            match repeat {
                None => (0, false),
                Some(_) => (1, true),
            },
            "what is behind the first end that was said is read, too: {report}"
        );
    }
}

#[test]
fn an_answer_without_records_is_no_fetch_with_a_latency() {
    let broker = FakeBroker::start(Script::default());
    bench(&broker, &format!("produce {TENS} --num-records 20"));
    let (code, report) = bench(&broker, "consume --from latest --duration 100ms");
    assert!(code == 0 && !report.contains("| fetch p50"), "{report}");
    assert!(bench(&broker, "consume").1.contains("| fetch p50"), "one with records has");
}

#[test]
fn numbers_that_an_earlier_run_got_no_answer_for_are_not_called_lost() {
    let refuse = Some((3..5, ErrorCode::NotEnoughReplicas));
    let broker = FakeBroker::start(Script { refuse, ..Script::default() });
    let flags = "--record-size 100 --batch-size 0 --num-records 50 --partitions 1";
    assert_eq!(produced(&bench(&broker, &format!("produce {flags}")).1), (48, 2));
    let (code, report) = bench(&broker, "consume");
    assert_eq!((code, figure(&report, "consumed, records")), (0, 48), "{report}");
    assert!(report.contains("48 records, all as sent; 2 numbers of other runs never acknowledged, or lost"));
    assert!(report.contains(": numbers that were never acknowledged by that run, or lost"), "{report}");
}
