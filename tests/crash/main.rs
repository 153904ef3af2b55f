//! kill -9 at random moments under idempotent load: nothing acknowledged is lost, duplicated or reordered, and every
//! start works without help.
//!
//! `OTTLA_CRASH_ROUNDS` sets the rounds (20 without it); `OTTLA_CRASH_SEED` the moments.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ottla_tests::broker::{Broker, Options};
use ottla_tests::kafka::free_port;
use ottla_tests::producer::IdempotentProducer;
use ottla_tests::reader::read_partition;
use ottla_tests::topics::create_topic;

/// Producers, each with a partition that it shares with the others and a name of its own.
const PRODUCERS: usize = 4;
/// Partitions of the topic: fewer than producers, so that batches of several interleave.
const PARTITIONS: i32 = 3;
/// Records of one batch.
const BATCH_RECORDS: i64 = 7;

/// Tells the producers to stop when the rounds end, however they do.
struct StopAtEnd<'a>(&'a AtomicBool);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// A small generator, seeded, for the moments of the kills.
struct Moments(u64);

impl Moments {
    fn next_ms(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % below
    }
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

#[test]
fn killed_at_random_moments_nothing_is_lost_duplicated_or_reordered() {
    let rounds = setting("OTTLA_CRASH_ROUNDS", 20);
    let seed = setting("OTTLA_CRASH_SEED", 0x0771_a000);
    let mut moments = Moments(seed | 1);
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut options = Options::new(directory.path());
    options.port = free_port();
    let broker = Broker::start(&options);
    create_topic(broker.address(), "crash", PARTITIONS, &[]);

    let address = broker.address();
    let stop = AtomicBool::new(false);
    let (broker, acknowledged) = std::thread::scope(|scope| {
        let mut broker = broker;
        // A round that fails must not leave the producers at work for ever.
        let _stop = StopAtEnd(&stop);
        let producers: Vec<_> = (0..PRODUCERS)
            .map(|number| {
                scope.spawn({
                    let stop = &stop;
                    move || produce(address, number, stop)
                })
            })
            .collect();
        for round in 0..rounds {
            std::thread::sleep(Duration::from_millis(20 + moments.next_ms(300)));
            broker.kill();
            broker = Broker::start(&options);
            if round % 20 == 19 {
                eprintln!("round {} of {rounds}, seed {seed}", round + 1);
            }
        }
        std::thread::sleep(Duration::from_millis(200));
        stop.store(true, Ordering::Release);
        let acknowledged =
            producers.into_iter().map(|producer| producer.join().expect("a producer does not fail"));
        (broker, acknowledged.collect::<Vec<_>>())
    });

    let total: i64 = acknowledged.iter().sum();
    assert!(total > i64::try_from(rounds).expect("few"), "the load ran: {total} records");
    let found = read_everything(address);
    for (number, acknowledged) in acknowledged.iter().enumerate() {
        let name = format!("p{number}");
        let records = found.get(&name).map_or(&[][..], Vec::as_slice);
        for (index, record) in records.iter().enumerate() {
            assert_eq!(
                *record,
                i64::try_from(index).expect("few"),
                "{name}: lost, duplicated or reordered (seed {seed})"
            );
        }
        assert!(
            records.len() as i64 >= *acknowledged,
            "{name}: {} of {acknowledged} (seed {seed})",
            records.len()
        );
    }
    eprintln!("{rounds} rounds, {total} records acknowledged: 0 lost, 0 duplicated, 0 reordered");
    assert_eq!(broker.stop(), 0);
}

/// Produces until told to stop and returns the records acknowledged.
fn produce(address: SocketAddr, number: usize, stop: &AtomicBool) -> i64 {
    let partition = i32::try_from(number).expect("few") % PARTITIONS;
    let give_up = Instant::now() + Duration::from_secs(60);
    let mut producer = loop {
        match IdempotentProducer::new(address, "crash", partition, &format!("p{number}")) {
            Ok(producer) => break producer,
            Err(error) => assert!(Instant::now() < give_up, "no producer id: {error}"),
        }
    };
    while !stop.load(Ordering::Acquire) {
        producer.send(BATCH_RECORDS, Instant::now() + Duration::from_secs(30));
    }
    producer.acknowledged()
}

/// The numbers of every producer's records, in the order of the log.
fn read_everything(address: SocketAddr) -> BTreeMap<String, Vec<i64>> {
    let mut found: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    for partition in 0..PARTITIONS {
        for (_, value) in read_partition(address, "crash", partition) {
            let text = String::from_utf8(value).expect("the producers write text");
            let (name, record) = text.split_once(' ').expect("a name and a number");
            found.entry(name.to_owned()).or_default().push(record.parse().expect("a number"));
        }
    }
    found
}

#[test]
fn a_clean_stop_leaves_nothing_to_recover() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let options = Options::new(directory.path());
    let broker = Broker::start(&options);
    create_topic(broker.address(), "clean", 1, &[]);
    let mut producer = IdempotentProducer::new(broker.address(), "clean", 0, "p").expect("a producer id");
    producer.send(100, Instant::now() + Duration::from_secs(30));
    assert_eq!(broker.stop(), 0);
    let broker = Broker::start(&options);
    let values = read_partition(broker.address(), "clean", 0);
    assert_eq!(values.len(), 100);
    assert!(!broker.output().contains("recovered"), "a clean start scans nothing:\n{}", broker.output());
    assert_eq!(broker.stop(), 0);
}

#[test]
fn killed_during_its_very_first_start_it_starts_again() {
    for delay_ms in [0, 1, 2, 3, 5, 8, 12, 20, 30] {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut child = std::process::Command::new(ottla_tests::broker::binary())
            .args(["start", "--override", "listeners=PLAINTEXT://127.0.0.1:0", "--data"])
            .arg(directory.path().join("data"))
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .expect("the binary was just built");
        std::thread::sleep(Duration::from_millis(delay_ms));
        child.kill().expect("a child can be killed");
        child.wait().expect("a killed child is reaped");
        let broker = Broker::start(&Options::new(&directory.path().join("data")));
        create_topic(broker.address(), "first", 1, &[]);
        assert_eq!(broker.stop(), 0);
    }
}
