//! How long a start takes, and what partitions cost in memory. The figures are printed; that everything is there is
//! judged.

use ottla_tests::broker::{Broker, Options};
use ottla_tests::topics::create_topic;

use crate::load::{check_rounds, produce_round};

fn start(what: &str, options: &Options) -> Broker {
    let broker = Broker::start(options);
    let output = broker.output();
    let ready = output.lines().find(|line| line.contains("ready in")).unwrap_or_default();
    eprintln!("{what}: {}, {} MB", ready.trim(), broker.resident_bytes() / 1_000_000);
    broker
}

#[test]
fn a_thousand_partitions_start_after_a_crash_and_after_a_clean_stop() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let options = Options::new(directory.path());
    let broker = start("1,000 partitions: none yet", &options);
    create_topic(broker.address(), "many", 1_000, &[]);
    eprintln!("1,000 partitions: created, {} MB", broker.resident_bytes() / 1_000_000);
    produce_round(broker.address(), "many", 0..1_000, 0);
    eprintln!("1,000 partitions: a record in each, {} MB", broker.resident_bytes() / 1_000_000);
    broker.kill();
    for round in 1..4 {
        let broker = start("1,000 partitions: after kill -9", &options);
        check_rounds(broker.address(), "many", 0..1_000, round);
        produce_round(broker.address(), "many", 0..1_000, round);
        broker.kill();
    }
    for _ in 0..3 {
        assert_eq!(start("1,000 partitions: one more start", &options).stop(), 0);
    }
    let broker = start("1,000 partitions: after a clean stop", &options);
    check_rounds(broker.address(), "many", 0..1_000, 4);
    assert_eq!(broker.stop(), 0);
}
