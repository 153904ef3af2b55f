//! Whole brokers in a simulated world: they start, serve, stop, and keep what they acknowledged through a kill and a
//! power cut.

mod support;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use ottla_shards::host::sim::{CrashModel, NetworkFaults, ProcessState, World};
use support::{Client, Cluster, LIMIT};

const MODELS: [CrashModel; 5] = [
    CrashModel::DropAll,
    CrashModel::KeepAll,
    CrashModel::Torn512,
    CrashModel::Torn4096,
    CrashModel::Reordered,
];

/// Creates a topic, produces to each of its partitions and reads that back.
fn load(cluster: &Cluster) {
    cluster.run(|address| async move {
        let client = Client::connect(address).await;
        assert!(client.apis().await > 20);
        client.create_topic("topic", 4).await;
        for partition in 0..4 {
            assert_eq!(client.produce("topic", partition, b"first").await, 0);
            assert_eq!(client.produce("topic", partition, b"second").await, 1);
            assert_eq!(client.fetch("topic", partition, 0).await, [b"first".to_vec(), b"second".to_vec()]);
        }
    });
}

/// Asserts that what [`load`] has produced is there.
fn verify(cluster: &Cluster) {
    cluster.run(|address| async move {
        let client = Client::connect(address).await;
        for partition in 0..4 {
            assert_eq!(client.fetch("topic", partition, 0).await, [b"first".to_vec(), b"second".to_vec()]);
            assert_eq!(client.produce("topic", partition, b"third").await, 2);
        }
    });
}

#[test]
fn a_broker_serves_until_a_signal_ends_it_and_leaves_a_clean_mark() {
    let mut cluster = Cluster::new(1);
    load(&cluster);
    let world = cluster.world.clone();
    world.stop(cluster.broker);
    assert!(world.run_until(|| world.state(cluster.broker) != ProcessState::Running, LIMIT));
    assert_eq!(world.state(cluster.broker), ProcessState::Ended);
    let mark = Path::new("/data/.kafka_cleanshutdown");
    assert!(world.with_disk(cluster.node, |disk| disk.exists(mark)).expect("the disk is asked"));
    cluster.start_again();
    verify(&cluster);
    assert!(!world.with_disk(cluster.node, |disk| disk.exists(mark)).expect("the disk is asked"));
}

#[test]
fn what_was_acknowledged_outlives_a_kill() {
    for seed in 0..4 {
        let mut cluster = Cluster::new(seed);
        load(&cluster);
        cluster.world.kill(cluster.broker);
        assert_eq!(cluster.world.state(cluster.broker), ProcessState::Killed);
        cluster.start_again();
        verify(&cluster);
    }
}

#[test]
fn what_was_acknowledged_outlives_a_power_cut_of_any_kind() {
    for (seed, model) in (10..).zip(MODELS) {
        let mut cluster = Cluster::new(seed);
        load(&cluster);
        cluster.world.power_cut(cluster.node, model);
        assert_eq!(cluster.world.state(cluster.broker), ProcessState::Killed);
        cluster.start_again();
        verify(&cluster);
    }
}

/// The world is not blind: what is not synced is lost.
#[test]
fn a_broker_that_is_told_not_to_sync_loses_what_it_acknowledged() {
    let mut cluster = Cluster::with(30, &[("log.flush.interval.messages", "1000000")]);
    load(&cluster);
    cluster.world.power_cut(cluster.node, CrashModel::DropAll);
    cluster.start_again();
    cluster.run(|address| async move {
        let client = Client::connect(address).await;
        for partition in 0..4 {
            assert_eq!(client.produce("topic", partition, b"first again").await, 0);
        }
    });
}

#[test]
fn a_seed_decides_everything() {
    let run = |seed| {
        let mut cluster = Cluster::new(seed);
        load(&cluster);
        cluster.world.power_cut(cluster.node, CrashModel::Torn512);
        cluster.start_again();
        verify(&cluster);
        (cluster.world.fingerprint(), cluster.world.events(), cluster.world.now())
    };
    let first = run(21);
    assert_eq!(first, run(21));
    assert_ne!(first.0, run(22).0);
}

#[test]
fn a_second_broker_on_the_same_directory_gives_up_and_says_why() {
    let cluster = Cluster::new(3);
    let world = &cluster.world;
    let settings = BTreeMap::from([("listeners".to_owned(), "PLAINTEXT://:9192".to_owned())]);
    let second = world.start_broker(cluster.node, 1, settings);
    assert!(world.run_until(|| world.state(second) != ProcessState::Running, LIMIT));
    let ProcessState::GaveUp(line) = world.state(second) else { panic!("{:?}", world.state(second)) };
    assert!(line.contains("/data"), "{line}");
    assert_eq!(world.state(cluster.broker), ProcessState::Running);
    let refused = BTreeMap::from([("num.partitions".to_owned(), "many".to_owned())]);
    let third = world.start_broker(cluster.node, 1, refused);
    assert!(matches!(world.state(third), ProcessState::GaveUp(line) if line.contains("num.partitions")));
}

/// Where a client has noted the acknowledged records of each partition: offset and value.
type Acknowledged = Rc<RefCell<Vec<(i32, i64, Vec<u8>)>>>;

/// Produces to four partitions at once until its connections break.
fn load_without_end(cluster: &Cluster, acknowledged: &Acknowledged) {
    for partition in 0..4 {
        let (address, acknowledged) = (cluster.address(), Rc::clone(acknowledged));
        cluster.world.start_client(cluster.node, async move {
            let client = Client::connect(address).await;
            for number in 0..u32::MAX {
                let value = vec![number as u8; 1 + number as usize % 3_000];
                let offset = client.produce("topic", partition, &value).await;
                acknowledged.borrow_mut().push((partition, offset, value));
            }
        });
    }
}

#[test]
fn acknowledged_records_outlive_an_end_at_any_moment() {
    let seeds = std::env::var("SEEDS").map_or(30, |seeds| seeds.parse().expect("a number"));
    for seed in 100..100 + seeds {
        let mut cluster = Cluster::new(seed);
        cluster.run(|address| async move { Client::connect(address).await.create_topic("topic", 4).await });
        let acknowledged = Acknowledged::default();
        for round in 0..3 {
            load_without_end(&cluster, &acknowledged);
            cluster.world.run_for(Duration::from_micros(20_000 + seed * 731 + round * 377));
            match (seed + round) % 6 {
                0 => cluster.world.kill(cluster.broker),
                kind => cluster.world.power_cut(cluster.node, MODELS[kind as usize - 1]),
            }
            cluster.start_again();
        }
        verify_all(&cluster, acknowledged.take(), seed);
    }
}

/// Asserts that every acknowledged record is where it was acknowledged.
fn verify_all(cluster: &Cluster, acknowledged: Vec<(i32, i64, Vec<u8>)>, seed: u64) {
    assert!(acknowledged.len() > 50, "{} of seed {seed}", acknowledged.len());
    cluster.run(move |address| async move {
        let client = Client::connect(address).await;
        for (partition, offset, value) in acknowledged {
            let found = client.fetch("topic", partition, offset).await;
            assert_eq!(found.first(), Some(&value), "{partition} at {offset} of seed {seed}");
        }
    });
}

#[test]
fn a_bad_network_ends_connections_and_no_broker() {
    for seed in 200..204 {
        let mut cluster = Cluster::new(seed);
        cluster.run(|address| async move { Client::connect(address).await.create_topic("topic", 4).await });
        cluster.world.network().set_faults(NetworkFaults {
            cut_per_million: 5_000,
            stall_per_million: 20_000,
            stall_max: Duration::from_millis(700),
            refuse_per_million: 100_000,
        });
        let acknowledged = Acknowledged::default();
        for _ in 0..8 {
            load_without_end(&cluster, &acknowledged);
            cluster.world.run_for(Duration::from_millis(250));
        }
        assert_eq!(cluster.world.state(cluster.broker), ProcessState::Running);
        cluster.world.network().set_faults(NetworkFaults::NONE);
        let world = cluster.world.clone();
        world.stop(cluster.broker);
        assert!(world.run_until(|| world.state(cluster.broker) != ProcessState::Running, LIMIT));
        assert_eq!(world.state(cluster.broker), ProcessState::Ended);
        cluster.start_again();
        verify_all(&cluster, acknowledged.take(), seed);
    }
}

#[test]
fn a_panic_of_a_task_ends_its_process_alone() {
    let world = World::new(5);
    let node = world.add_node("one");
    let other = world.start_client(node, std::future::pending());
    let client = world.start_client(node, async {
        ottla_shards::host::spawn_detached(async { panic!("the reason") });
        std::future::pending::<()>().await;
    });
    assert!(world.run_until(|| world.state(client) != ProcessState::Running, LIMIT));
    let ProcessState::Panicked(text) = world.state(client) else { panic!("{:?}", world.state(client)) };
    assert!(text.contains("the reason") && text.contains("boot.rs"), "{text}");
    assert_eq!(world.state(other), ProcessState::Running);
}

/// How many events a second a world runs: `cargo test -p ottla-simulated --test boot -- --ignored --nocapture`.
#[test]
#[ignore = "measures"]
fn events_per_second() {
    let cluster = Cluster::new(1);
    cluster.run(|address| async move {
        let client = Client::connect(address).await;
        client.create_topic("topic", 8).await;
    });
    let started = std::time::Instant::now();
    let before = cluster.world.events();
    cluster.run(|address| async move {
        let mut tasks = Vec::new();
        for partition in 0..8 {
            tasks.push(ottla_shards::host::spawn(async move {
                let client = Client::connect(address).await;
                for round in 0..1_500i64 {
                    assert_eq!(client.produce("topic", partition, &[7; 200]).await, round);
                    assert!(!client.fetch("topic", partition, round).await.is_empty());
                }
            }));
        }
        for task in tasks {
            task.await;
        }
    });
    let (took, events) = (started.elapsed(), cluster.world.events() - before);
    let per_second = events as f64 / took.as_secs_f64();
    eprintln!(
        "{events} events in {took:?}: {per_second:.0} a second; virtual time {:?}",
        cluster.world.now()
    );
}
