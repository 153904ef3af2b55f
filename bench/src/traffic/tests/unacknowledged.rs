//! Loads with `acks=0`, whose records count once the system has taken them.

use std::time::Duration;

use super::{FakeBroker, Script, bench, figure, produced};

/// Far more than sockets hold.
const MUCH: &str = "produce --acks 0 --num-records 20k --record-size 1k --partitions 2";

#[test]
fn a_broker_that_reads_nothing_for_a_while_is_waited_for() {
    let deaf = Some((1, Duration::from_millis(300)));
    let broker = FakeBroker::start(Script { deaf, ..Script::default() });
    for (flags, all) in [("", 20_000), (" --in-flight 1", 40_000)] {
        let (code, report) = bench(&broker, &format!("{MUCH}{flags}"));
        assert_eq!((code, produced(&report)), (0, (20_000, 0)), "{report}");
        assert_eq!(broker.seen().records(), all, "all of it has arrived");
    }
}

#[test]
fn what_was_never_handed_over_is_an_error_and_no_record() {
    let script = Script { deaf: Some((1, Duration::from_secs(1))), close_at: Some(1), ..Script::default() };
    let (code, report) = bench(&FakeBroker::start(script), MUCH);
    let (records, errors) = produced(&report);
    assert_eq!(code, 1, "{report}");
    assert_eq!(records + errors + figure(&report, "due and unsent records"), 20_000, "{report}");
    assert!(errors > figure(&report, "errors: made and never sent"), "{report}");
}
