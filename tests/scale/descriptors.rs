//! Descriptors: far fewer than segments, and how that is felt.

use std::time::{Duration, Instant};

use ottla_tests::broker::{Broker, Options, cpu_time};
use ottla_tests::topics::create_topic;

use crate::load::{check_rounds, fetch_all_at_once, produce_large, produce_round, wait_for_leaders};

/// What the broker says when it has to wait for a descriptor.
const STARVED: &str = "waiting for a descriptor";

fn measured<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let begun = Instant::now();
    let result = work();
    eprintln!("{what}: {:.2} s", begun.elapsed().as_secs_f64());
    result
}

fn start(what: &str, options: &Options) -> Broker {
    let broker = Broker::start(options);
    let ready = broker.output();
    let ready = ready.lines().find(|line| line.contains("ready in")).unwrap_or_default().trim().to_owned();
    eprintln!("{what}: {ready}, {} MB", broker.resident_bytes() / 1_000_000);
    broker
}

/// Produces to every partition, reads all back, crashes, reads again, stops, reads again.
fn live_through(options: &Options, partitions: i32) {
    let count = usize::try_from(partitions).expect("positive");
    let broker = start("first start", options);
    measured("create", || create_topic(broker.address(), "wide", partitions, &[]));
    wait_for_leaders(broker.address(), "wide", count);
    eprintln!("with {partitions} empty partitions: {} MB", broker.resident_bytes() / 1_000_000);
    measured("first records", || produce_round(broker.address(), "wide", 0..partitions, 0));
    measured("second records", || produce_round(broker.address(), "wide", 0..partitions, 1));
    measured("read back", || check_rounds(broker.address(), "wide", 0..partitions, 2));
    eprintln!("with records in each: {} MB", broker.resident_bytes() / 1_000_000);
    assert_nothing_offline(&broker);
    broker.kill();

    let broker = start("after kill -9", options);
    measured("read back", || check_rounds(broker.address(), "wide", 0..partitions, 2));
    produce_round(broker.address(), "wide", 0..partitions, 2);
    assert_nothing_offline(&broker);
    measured("clean stop", || assert_eq!(broker.stop(), 0));

    let broker = start("after a clean stop", options);
    measured("read back", || check_rounds(broker.address(), "wide", 0..partitions, 3));
    produce_round(broker.address(), "wide", 0..partitions, 3);
    assert_nothing_offline(&broker);
    assert_eq!(broker.stop(), 0);
}

fn assert_nothing_offline(broker: &Broker) {
    let output = broker.output();
    for word in ["offline", "ERROR", "panicked"] {
        assert!(!output.contains(word), "{word} in\n{output}");
    }
}

#[test]
fn ten_thousand_partitions_with_records_live_under_twenty_thousand_descriptors() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let options = Options::new(directory.path()).descriptors(20_000);
    live_through(&options, 10_000);
}

#[test]
fn two_thousand_partitions_live_under_512_descriptors() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let options = Options::new(directory.path()).descriptors(512);
    live_through(&options, 2_000);
}

#[test]
fn running_out_of_descriptors_is_waiting_and_one_line() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    // The cache would keep far more files open than the process may have.
    let options = Options::new(directory.path()).descriptors(96).set("ottla.segment.files.open.max", 100_000);
    let broker = start("with 96 descriptors", &options);
    create_topic(broker.address(), "starved", 300, &[]);
    produce_round(broker.address(), "starved", 0..300, 0);
    produce_round(broker.address(), "starved", 0..300, 1);
    check_rounds(broker.address(), "starved", 0..300, 2);
    let before = cpu_time(broker.pid());
    std::thread::sleep(Duration::from_secs(2));
    let idle = cpu_time(broker.pid()) - before;
    assert!(idle < Duration::from_millis(200), "no spin: {idle:?} of CPU in two idle seconds");
    assert_nothing_offline(&broker);
    let output = broker.output();
    let told = output.matches(STARVED).count();
    // One line per shard and spell, and a spell lasts at least a second.
    assert!((1..=20).contains(&told), "{told} lines:\n{output}");
    broker.kill();
    let broker = start("again", &options);
    check_rounds(broker.address(), "starved", 0..300, 2);
    assert_nothing_offline(&broker);
    assert_eq!(broker.stop(), 0);
}

/// An answer that held every descriptor would wait for one more for ever.
#[test]
fn one_fetch_of_more_segments_than_descriptors_is_answered() {
    const PARTITIONS: i32 = 300;
    let directory = tempfile::tempdir().expect("a temporary directory");
    let options = Options::new(directory.path()).descriptors(96);
    let broker = start("with 96 descriptors", &options);
    create_topic(broker.address(), "cold", PARTITIONS, &[]);
    produce_large(broker.address(), "cold", 0..PARTITIONS);
    assert_eq!(broker.stop(), 0);
    let broker = start("again", &options);
    let answered = fetch_all_at_once(broker.address(), "cold", 0..PARTITIONS);
    assert!(answered > 0, "some have records, and the others are asked for again");
    create_topic(broker.address(), "other", 1, &[]);
    produce_round(broker.address(), "other", 0..1, 0);
    assert_eq!(broker.stop(), 0);
}
